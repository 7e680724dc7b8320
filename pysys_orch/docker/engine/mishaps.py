"""What can happen to containers: each looks, begins, and says whether it is in force.

How each is undone is a matter of `healing`, which also the reaper knows.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.fault import (
    Action,
    Claim,
    Json,
    Link,
    Remedy,
    Squeeze,
    endpoint_of,
    plan_squeeze,
)
from pysys_orch.docker.engine.healing import files_of, network_of
from pysys_orch.docker.engine.leftover import find_place
from pysys_orch.docker.engine.links import (
    Delay,
    cgroup_limits,
    ip_versions,
    require_reach,
)
from pysys_orch.docker.engine.rules import Chain, addresses_of, cutting, queueing
from pysys_orch.errors import ConfigError, ContainerGoneError, FaultError, NotFoundError
from pysys_orch.inputs import nearest

_OF_A_TASK = "com.docker.swarm.task.id"
_OF_A_CONTAINER = "container:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A container that something happens to.

    Attributes:
        engine: The engine that it is on.
        container: Its id.
        name: What its test calls it.
    """

    engine: ApiEngine
    container: str
    name: str

    def inspect(self) -> Json:
        """Return its inspection.

        Raises:
            ContainerGoneError: It was removed.
        """
        try:
            return self.engine.inspect_container(self.container)
        except NotFoundError:
            message = f"container {self.name} was removed"
            raise ContainerGoneError(message) from None

    def inspect_running(self) -> Json:
        """Return its inspection.

        Raises:
            ContainerGoneError: It does not run, or is paused by somebody else.
        """
        found = self.inspect()
        if not found["State"]["Running"]:
            message = f"container {self.name} does not run: there is nothing to disturb"
            raise ContainerGoneError(message)
        return found


#: How something is undone, each where.
Remedies = tuple[tuple[Target, Remedy], ...]


class Mishap(Protocol):
    """Something that happens to containers, and can be undone.

    Attributes:
        kind: What people call it.
        words: With what, for people; empty if there is nothing to say.
        targets: To which containers it happens.
        lasts: Whether there is anything to undo.
    """

    kind: str
    words: str
    targets: Sequence[Target]
    lasts: bool

    def claims(self) -> tuple[Claim, ...]:
        """Return what it needs for itself, before the rest is looked at.

        Raises:
            OrchError: It cannot happen to these containers.
        """
        ...

    def prepare(self) -> Remedies:
        """Look at the containers, and say what undoes it; nothing happens yet.

        Raises:
            OrchError: It cannot happen to them.
        """
        ...

    def begin(self) -> None:
        """Have it happen."""
        ...

    def is_in_force(self) -> bool:
        """Return whether it is in force, by what engine and kernel say."""
        ...

    def is_healed(self) -> bool:
        """Return whether all is as it was."""
        ...

    def end(self) -> None:
        """End what of this process it needs, after it was undone."""
        ...


class _Simple:
    """What happens to one container, and takes nothing of this process."""

    kind = ""
    words = ""
    lasts = True

    def __init__(self, target: Target) -> None:
        self.targets: Sequence[Target] = (target,)
        self._target = target

    def claims(self) -> tuple[Claim, ...]:
        return self._claims()

    def is_in_force(self) -> bool:
        raise NotImplementedError

    def is_healed(self) -> bool:
        return not self.is_in_force()

    def end(self) -> None:
        pass

    def _claims(self, parts: Iterable[str] = ("",)) -> tuple[Claim, ...]:
        container = self._target.container
        return tuple(
            Claim(kind=self.kind, container=container, part=part) for part in parts
        )

    def _remedy(self, action: Action, **details: object) -> Remedies:
        container = self._target.container
        remedy = Remedy(action=action, container=container, details=details)
        return ((self._target, remedy),)


class Pause(_Simple):
    """All processes of a container are frozen."""

    kind = "pause"

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        if self._target.inspect_running()["State"]["Paused"]:
            message = f"container {self._target.name} is paused already"
            raise FaultError(message)
        return self._remedy(Action.UNPAUSE)

    def begin(self) -> None:
        """See `Mishap`."""
        self._target.engine.pause_container(self._target.container)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        return bool(self._target.inspect()["State"]["Paused"])


class Kill(_Simple):
    """The main process of a container is sent a signal that ends it."""

    kind = "kill"

    def __init__(self, target: Target, signal: str) -> None:
        super().__init__(target)
        self.words = signal
        self._signal = signal
        self._before = ""

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        found = self._target.inspect_running()
        require_end(found, self._signal)
        self._before = found["State"]["StartedAt"]
        # A swarm has another one take its place.
        self.lasts = _OF_A_TASK not in (found["Config"]["Labels"] or {})
        return self._remedy(Action.START) if self.lasts else ()

    def begin(self) -> None:
        """See `Mishap`."""
        self._target.engine.kill_container(self._target.container, self._signal)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        try:
            state = self._target.inspect()["State"]
        except ContainerGoneError:
            if self.lasts:
                raise
            return True
        return not state["Running"] and state["StartedAt"] == self._before

    def is_healed(self) -> bool:
        """See `Mishap`."""
        return not self.lasts or bool(self._target.inspect()["State"]["Running"])


class Restart(_Simple):
    """A container is stopped and started again: over when it has begun."""

    kind = "restart"
    lasts = False

    def __init__(self, target: Target, grace: float) -> None:
        super().__init__(target)
        self._grace = grace
        self._before = ""

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        self._before = self._target.inspect()["State"]["StartedAt"]
        return ()

    def begin(self) -> None:
        """See `Mishap`."""
        self._target.engine.restart_container(self._target.container, self._grace)

    def is_in_force(self) -> bool:
        """Return whether it was restarted, and runs."""
        state = self._target.inspect()["State"]
        return bool(state["Running"]) and state["StartedAt"] != self._before

    def is_healed(self) -> bool:
        """See `Mishap`."""
        return True


class Disconnect(_Simple):
    """A container is taken out of networks.

    Args:
        target: The container.
        network: Its name or id; None is all that it is in.
    """

    kind = "disconnect"

    def __init__(self, target: Target, network: str | None) -> None:
        super().__init__(target)
        self.words = network or "all networks"
        self._network = network
        self._wanted: dict[str, Json] = {}

    def claims(self) -> tuple[Claim, ...]:
        """See `Mishap`."""
        return self._claims(each["NetworkID"] for each in self._find().values())

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        self._wanted = self._find()
        return tuple(
            remedy
            for each in self._wanted.values()
            for remedy in self._remedy(
                Action.CONNECT,
                network=each["NetworkID"],
                endpoint=endpoint_of(self._target.container, each),
            )
        )

    def _find(self) -> dict[str, Json]:
        """Return the networks that it is taken out of, by their names.

        Raises:
            ConfigError: There is none.
            FaultError: It could not join one again.
        """
        target = self._target
        networks = target.inspect()["NetworkSettings"]["Networks"] or {}
        wanted = {
            name: each
            for name, each in networks.items()
            if self._network in {None, name, each["NetworkID"]}
        }
        if not wanted or "host" in wanted:
            known = ", ".join(sorted(networks)) or "none"
            hint = nearest(self._network or "", networks)
            message = (
                f"container {target.name} cannot be disconnected from {self.words}: "
                f"its networks are {known}{hint}"
            )
            raise ConfigError(message)
        for name, each in wanted.items():
            about = target.engine.inspect_network(each["NetworkID"])
            if about.get("Scope") == "swarm" and not about.get("Attachable"):
                message = (
                    f"a task cannot be connected again to network {name} of its swarm: "
                    "use partition, or make the network attachable"
                )
                raise FaultError(message)
        return wanted

    def begin(self) -> None:
        """See `Mishap`."""
        engine, container = self._target.engine, self._target.container
        for each in self._wanted.values():
            engine.disconnect_network(each["NetworkID"], container)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        return not self._there()

    def is_healed(self) -> bool:
        """See `Mishap`."""
        missing = self._wanted.keys() - self._there()
        return not any(map(self._exists, missing))

    def _there(self) -> set[str]:
        # By name, since one that has ended has no id of a network that it joins.
        networks = self._target.inspect()["NetworkSettings"]["Networks"] or {}
        return networks.keys() & self._wanted.keys()

    def _exists(self, name: str) -> bool:
        try:
            self._target.engine.inspect_network(self._wanted[name]["NetworkID"])
        except NotFoundError:
            return False
        return True


class Squeezed(_Simple):
    """A container has less CPU or memory than it had."""

    kind = "squeeze"

    def __init__(
        self, target: Target, *, cpus: float | None, memory: int | None
    ) -> None:
        super().__init__(target)
        self._cpus = cpus
        self._memory = memory
        self._squeeze = Squeeze(limits={}, former={})
        told = (("cpus", cpus), ("memory", memory))
        self.words = ", ".join(f"{key} {each}" for key, each in told if each)
        self._before: dict[str, int | None] | None = None

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        target = self._target
        found = target.inspect_running()
        self._squeeze = plan_squeeze(
            found["HostConfig"],
            cpus=self._cpus,
            memory=self._memory,
            cgroups=int(target.engine.info().get("CgroupVersion") or 1),
        )
        self._before = self._kernel(found)
        return self._remedy(Action.UPDATE, **self._squeeze.former)

    def begin(self) -> None:
        """See `Mishap`."""
        engine, container = self._target.engine, self._target.container
        engine.update_container(container, self._squeeze.limits)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        found = self._target.inspect()
        kernel = self._kernel(found)
        if kernel is not None:
            quota = None if self._cpus is None else round(self._cpus * 100_000)
            if quota is not None and not _is_near(kernel["cpus_us"], quota):
                return False
            if self._memory is not None and not _is_near(
                kernel["memory"], self._memory
            ):
                return False
        return _has(found, self._squeeze.limits)

    def is_healed(self) -> bool:
        """See `Mishap`."""
        found = self._target.inspect()
        is_as_before = self._kernel(found) == self._before or not self._before
        return _has(found, self._squeeze.former) and (
            is_as_before or not found["State"]["Running"]
        )

    def _kernel(self, found: Json) -> dict[str, int | None] | None:
        try:
            pid = require_reach(found, is_local=self._target.engine.is_local)
        except (FaultError, ContainerGoneError):
            return None
        return cgroup_limits(pid)


def _has(found: Json, limits: Json) -> bool:
    return all(found["HostConfig"].get(key) == each for key, each in limits.items())


def _is_near(said: int | None, wanted: int) -> bool:
    """Return whether a limit is what was asked for; memory is rounded to pages."""
    return said is not None and abs(said - wanted) <= max(4096, wanted // 100)


class Fill(_Simple):
    """A file system of a container has no space left."""

    kind = "fill"

    def __init__(self, target: Target, path: str) -> None:
        super().__init__(target)
        self.words = path
        self._path = path

    def claims(self) -> tuple[Claim, ...]:
        """See `Mishap`."""
        return self._claims([self._path])

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        target = self._target
        found = target.inspect_running()
        files_of(target.engine, target.container).check(self._path)
        place = find_place(target.engine, found, self._path)
        return self._remedy(Action.EMPTY, path=self._path, place=place.as_json())

    def begin(self) -> None:
        """See `Mishap`."""
        files_of(self._target.engine, self._target.container).fill(self._path)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        target = self._target
        return files_of(target.engine, target.container).is_full(self._path)


class Slow(_Simple):
    """What a container sends is late, or lost.

    Args:
        target: The container.
        link: What becomes of its packets.
        to: Containers and addresses to which it has to send them; None is all.
        chain: The name of a chain that nobody else has.
        queue: The number of a queue that nobody else has there.
    """

    kind = "link"

    def __init__(
        self,
        target: Target,
        link: Link,
        to: Sequence[Target | str] | None,
        *,
        chain: str,
        queue: int,
    ) -> None:
        super().__init__(target)
        self._link = link
        self._to = to
        self._name = chain
        self._queue = queue
        self._chain = queueing(chain, queue, ())
        self._addresses: list[str] | None = None
        self._delay: Delay | None = None
        names = [each if isinstance(each, str) else each.name for each in to or ()]
        self.words = f"{link}{' to ' + ', '.join(names) if names else ''}"

    def claims(self) -> tuple[Claim, ...]:
        """See `Mishap`."""
        if self._to is None:
            return self._claims()
        if not self._to:
            name = self._target.name
            message = f"a link of {name} is to nobody: leave `to` out for all"
            raise ConfigError(message)
        self._addresses = [
            address
            for each in self._to
            for address in ([each] if isinstance(each, str) else _addresses(each))
        ]
        return self._claims(self._addresses)

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        _require_own_network(self._target)
        versions = ip_versions()
        self._chain = queueing(self._name, self._queue, self._addresses, versions)
        return self._remedy(Action.RULES, **self._chain.as_json())

    def begin(self) -> None:
        """See `Mishap`."""
        network = network_of(self._target.engine, self._target.container)
        self._delay = Delay(network, self._queue, self._link)
        network.begin(self._chain)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        if self._delay is None or not self._delay.is_alive:
            return False
        network = network_of(self._target.engine, self._target.container)
        return network.has_whole(self._chain)

    def is_healed(self) -> bool:
        """See `Mishap`."""
        network = network_of(self._target.engine, self._target.container)
        return not network.has(self._chain)

    def end(self) -> None:
        """See `Mishap`."""
        if self._delay is not None:
            self._delay.end()
            self._delay = None


class Partition:
    """Containers on one side cannot talk to those on the other.

    Args:
        side: Containers.
        other: Other containers.
        chain: The name of a chain that nobody else has.
    """

    kind = "partition"
    lasts = True

    def __init__(
        self, side: Iterable[Target], other: Iterable[Target], *, chain: str
    ) -> None:
        self._sides = (tuple(side), tuple(other))
        self.targets: Sequence[Target] = self._sides[0] + self._sides[1]
        one, two = (" + ".join(each.name for each in part) for part in self._sides)
        self.words = f"{one} | {two}"
        self._name = chain
        self._chains: dict[Target, Chain] = {}

    def claims(self) -> tuple[Claim, ...]:
        """See `Mishap`."""
        # Each has a chain of its own: partitions go together, also twice the same.
        return ()

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        if not all(self._sides):
            message = f"a partition has containers on both sides, got {self.words!r}"
            raise ConfigError(message)
        for each in self.targets:
            _require_own_network(each)
        networks: list[set[int]] = []
        chains: dict[Target, Chain] = {}
        for mine, theirs in (self._sides, self._sides[::-1]):
            addresses = [address for each in theirs for address in _addresses(each)]
            networks.append(set())
            for each in mine:
                network = network_of(each.engine, each.container)
                networks[-1].add(network.identity())
                chains[each] = cutting(self._name, dict.fromkeys(addresses))
        if networks[0] & networks[1]:
            message = (
                f"{self.words} cannot be parted: a container is on both sides, or two "
                "share their network"
            )
            raise ConfigError(message)
        self._chains = chains
        return tuple(
            (
                target,
                Remedy(
                    action=Action.RULES,
                    container=target.container,
                    details=chain.as_json(),
                ),
            )
            for target, chain in chains.items()
        )

    def begin(self) -> None:
        """See `Mishap`."""
        for target, chain in self._chains.items():
            network_of(target.engine, target.container).begin(chain)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        return all(
            network_of(target.engine, target.container).has_whole(chain)
            for target, chain in self._chains.items()
        )

    def is_healed(self) -> bool:
        """See `Mishap`."""
        return not any(map(self._is_cut, self._chains.items()))

    def end(self) -> None:
        """See `Mishap`."""

    @staticmethod
    def _is_cut(each: tuple[Target, Chain]) -> bool:
        target, chain = each
        try:
            return network_of(target.engine, target.container).has(chain)
        except (ContainerGoneError, NotFoundError):
            return False


def require_end(found: Json, signal: str) -> None:
    """Make sure that a container that a signal ends stays as it is then.

    Args:
        found: Its inspection.
        signal: The signal, with or without SIG, or its number.

    Raises:
        FaultError: Its engine removes it then, or starts it again.
    """
    name, host = str(found["Name"]).lstrip("/"), found["HostConfig"]
    if host.get("AutoRemove"):
        message = (
            f"container {name} is removed once it ends, so that it could not be "
            "started again: run it without --rm"
        )
        raise FaultError(message)
    policy = (host.get("RestartPolicy") or {}).get("Name")
    wanted = found["Config"].get("StopSignal")
    # What ends by these is not started again by its engine.
    final = {"KILL", _signal_name(wanted or signal)}
    if policy in {"always", "on-failure"} and _signal_name(signal) not in final:
        message = (
            f"container {name} has the restart policy {policy}, so that {signal} does "
            f"not keep it down: use KILL, or its stop signal {wanted}"
        )
        raise FaultError(message)


def _signal_name(said: str) -> str:
    name = said.upper().removeprefix("SIG")
    if name.isdecimal() and int(name) in set(signals.Signals):
        name = signals.Signals(int(name)).name.removeprefix("SIG")
    return name


def _require_own_network(target: Target) -> None:
    found = target.inspect_running()
    joined = found["HostConfig"].get("NetworkMode") or ""
    while joined.startswith(_OF_A_CONTAINER):
        other = joined.removeprefix(_OF_A_CONTAINER)
        try:
            owner = target.engine.inspect_container(other)
        except NotFoundError:
            break  # what it had joined is there all the same
        joined = owner["HostConfig"].get("NetworkMode") or ""
    network = network_of(target.engine, target.container).identity()
    if joined == "host" or network == _network_of_host():
        message = (
            f"container {target.name} has the network of its host, which is not for a "
            "test to disturb: run it in a network"
        )
        raise FaultError(message)


def _network_of_host() -> int | None:
    try:
        return Path("/proc/1/ns/net").stat().st_ino
    except OSError:
        return None


def _addresses(target: Target) -> Sequence[str]:
    """Return the addresses of a container.

    Raises:
        FaultError: It has none.
    """
    found = addresses_of(target.inspect_running())
    if not found:
        message = f"container {target.name} has no address: have it join a network"
        raise FaultError(message)
    return found

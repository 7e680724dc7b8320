"""What can happen to containers: each looks, begins, and says whether it is in force.

How each is undone is a matter of `healing`, which also the reaper knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What has to be known before something happens.

    Attributes:
        claims: What it needs for itself.
        remedies: How it is undone, each where.
    """

    claims: tuple[Claim, ...] = ()
    remedies: tuple[tuple[Target, Remedy], ...] = ()


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

    def prepare(self) -> Plan:
        """Look at the containers, and say what it takes; nothing happens yet.

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

    def is_in_force(self) -> bool:
        raise NotImplementedError

    def is_healed(self) -> bool:
        return not self.is_in_force()

    def end(self) -> None:
        pass

    def _plan(self, remedy: Remedy | None, part: str = "") -> Plan:
        container = self._target.container
        claim = Claim(kind=self.kind, container=container, part=part)
        remedies = () if remedy is None else ((self._target, remedy),)
        return Plan(claims=(claim,), remedies=remedies)

    def _remedy(self, action: Action, **details: object) -> Remedy:
        container = self._target.container
        return Remedy(action=action, container=container, details=details)


class Pause(_Simple):
    """All processes of a container are frozen."""

    kind = "pause"

    def prepare(self) -> Plan:
        """See `Mishap`."""
        if self._target.inspect_running()["State"]["Paused"]:
            message = f"container {self._target.name} is paused already"
            raise FaultError(message)
        return self._plan(self._remedy(Action.UNPAUSE))

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

    def prepare(self) -> Plan:
        """See `Mishap`."""
        labels = self._target.inspect_running()["Config"]["Labels"] or {}
        # A swarm has another one take its place.
        self.lasts = _OF_A_TASK not in labels
        return self._plan(self._remedy(Action.START) if self.lasts else None)

    def begin(self) -> None:
        """See `Mishap`."""
        self._target.engine.kill_container(self._target.container, self._signal)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        try:
            return not self._target.inspect()["State"]["Running"]
        except ContainerGoneError:
            if self.lasts:
                raise
            return True

    def is_healed(self) -> bool:
        """See `Mishap`."""
        return not self.lasts or super().is_healed()


class Restart(_Simple):
    """A container is stopped and started again: over when it has begun."""

    kind = "restart"
    lasts = False

    def __init__(self, target: Target, grace: float) -> None:
        super().__init__(target)
        self._grace = grace
        self._before = ""

    def prepare(self) -> Plan:
        """See `Mishap`."""
        self._before = self._target.inspect()["State"]["StartedAt"]
        return self._plan(None)

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
        self._ids: tuple[str, ...] = ()

    def prepare(self) -> Plan:
        """See `Mishap`."""
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
        self._ids = tuple(each["NetworkID"] for each in wanted.values())
        remedies = [
            self._remedy(
                Action.CONNECT,
                network=each["NetworkID"],
                endpoint=endpoint_of(target.container, each),
            )
            for each in wanted.values()
        ]
        claims = [
            Claim(kind=self.kind, container=target.container, part=each)
            for each in self._ids
        ]
        return Plan(
            claims=tuple(claims), remedies=tuple((target, each) for each in remedies)
        )

    def begin(self) -> None:
        """See `Mishap`."""
        for each in self._ids:
            self._target.engine.disconnect_network(each, self._target.container)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        return not self._there()

    def is_healed(self) -> bool:
        """See `Mishap`."""
        return self._there() == set(self._ids)

    def _there(self) -> set[str]:
        networks = self._target.inspect()["NetworkSettings"]["Networks"] or {}
        return {each["NetworkID"] for each in networks.values()} & set(self._ids)


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

    def prepare(self) -> Plan:
        """See `Mishap`."""
        target = self._target
        found = target.inspect_running()
        self._squeeze = plan_squeeze(
            found["HostConfig"],
            cpus=self._cpus,
            memory=self._memory,
            cgroups=target.engine.cgroup_version(),
        )
        self._before = self._kernel(found)
        return self._plan(self._remedy(Action.UPDATE, **self._squeeze.former))

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

    def prepare(self) -> Plan:
        """See `Mishap`."""
        container = self._target.inspect_running()["Id"]
        files_of(self._target.engine, container).check(self._path)
        return self._plan(self._remedy(Action.EMPTY, path=self._path), self._path)

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
        self._delay: Delay | None = None
        names = [each if isinstance(each, str) else each.name for each in to or ()]
        self.words = f"{link}{' to ' + ', '.join(names) if names else ''}"

    def prepare(self) -> Plan:
        """See `Mishap`."""
        _require_own_network(self._target)
        addresses: list[str] | None = None
        if self._to is not None:
            addresses = []
            for each in self._to:
                known = [each] if isinstance(each, str) else _addresses(each)
                addresses += known
        self._chain = queueing(self._name, self._queue, addresses, ip_versions())
        network_of(self._target.engine, self._target.container)
        remedy = self._remedy(Action.RULES, **self._chain.as_json())
        claims = [
            Claim(kind=self.kind, container=self._target.container, part=part)
            for part in addresses or [""]
        ]
        return Plan(claims=tuple(claims), remedies=((self._target, remedy),))

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

    def prepare(self) -> Plan:
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
        remedies = tuple(
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
        # Each has a chain of its own: partitions go together, also twice the same.
        return Plan(remedies=remedies)

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


def _require_own_network(target: Target) -> None:
    found = target.inspect_running()
    if found["HostConfig"].get("NetworkMode") == "host":
        message = (
            f"container {target.name} has the network of its host, which is not for a "
            "test to disturb: run it in a network"
        )
        raise FaultError(message)


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

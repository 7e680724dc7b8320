"""What becomes of packets: they are late, or lost, or do not get to some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pysys_orch.docker.engine.fault import Action, Claim, Json, Link, Remedy
from pysys_orch.docker.engine.healing import network_of
from pysys_orch.docker.engine.links import Delay, Network, ip_versions
from pysys_orch.docker.engine.mishaps.mishap import Remedies, Simple, Target
from pysys_orch.docker.engine.rules import Chain, addresses_of, cutting, queueing
from pysys_orch.errors import ConfigError, ContainerGoneError, FaultError, NotFoundError

_OF_A_CONTAINER = "container:"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A chain in the network of a container.

    Attributes:
        chain: The chain.
        sharing: Those with that network: the container, and whom it has joined.
    """

    chain: Chain
    sharing: tuple[Target, ...]

    def remedies(self) -> Remedies:
        """Return what takes it away, whichever of them is still there."""
        return tuple(
            (
                each,
                Remedy(
                    action=Action.RULES,
                    container=each.container,
                    details=self.chain.as_json(),
                ),
            )
            for each in self.sharing
        )

    def begin(self) -> None:
        """Put it in force."""
        _network(self.sharing[0]).begin(self.chain)

    def is_whole(self) -> bool:
        """Return whether all of it is in force."""
        return _network(self.sharing[0]).has_whole(self.chain)

    def is_there(self) -> bool:
        """Return whether any of it is."""
        return any(map(self._is_in, self.sharing))

    def _is_in(self, target: Target) -> bool:
        try:
            return _network(target).has(self.chain)
        except (ContainerGoneError, NotFoundError):
            return False


class Slow(Simple):
    """What a container sends is late, or lost.

    Args:
        target: The container.
        link: What becomes of its packets.
        to: Containers and addresses to which it has to send them; None is all.
        chain: The name of a chain that nobody else has.
        queues: The numbers of queues that it may have, which others may have, too.
    """

    def __init__(
        self,
        target: Target,
        link: Link,
        to: Sequence[Target | str] | None,
        *,
        chain: str,
        queues: Sequence[int],
    ) -> None:
        super().__init__(target)
        self.kind = link.kind
        self._link = link
        self._to = to
        self._name = chain
        self._queues = queues
        self._placed: _Placed | None = None
        self._sharing: tuple[Target, ...] = ()
        self._addresses: list[str] | None = None
        self._delay: Delay | None = None
        names = [each if isinstance(each, str) else each.name for each in to or ()]
        self.words = f"{link}{' to ' + ', '.join(names) if names else ''}"

    def claims(self) -> tuple[Claim, ...]:
        """See `Mishap`."""
        if self._to is not None and not self._to:
            name = self.target.name
            message = f"a link of {name} is to nobody: leave `to` out for all"
            raise ConfigError(message)
        if self._to is not None:
            self._addresses = [
                address
                for each in self._to
                for address in ([each] if isinstance(each, str) else _addresses(each))
            ]
        self._sharing = _sharing(self.target)
        # Of those with one network, a packet finds the chain of one link only.
        container = self._sharing[-1].container
        return tuple(
            Claim(kind="link", container=container, part=part)
            for part in self._addresses or [""]
        )

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        return self._place(self._queues[0]).remedies()

    def begin(self) -> None:
        """See `Mishap`."""
        self._delay = Delay(_network(self.target), self._queues, self._link)
        self._place(self._delay.queue).begin()

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        if self._placed is None or self._delay is None or not self._delay.is_alive:
            return False
        return self._placed.is_whole()

    def is_healed(self) -> bool:
        """See `Mishap`."""
        return self._placed is None or not self._placed.is_there()

    def end(self) -> None:
        """See `Mishap`."""
        if self._delay is not None:
            self._delay.end()
            self._delay = None

    def _place(self, queue: int) -> _Placed:
        chain = queueing(self._name, queue, self._addresses, ip_versions())
        self._placed = _Placed(chain=chain, sharing=self._sharing)
        return self._placed


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
        self._placed: list[_Placed] = []

    def claims(self) -> tuple[Claim, ...]:
        """See `Mishap`."""
        # Each has a chain of its own: partitions go together, also twice the same.
        return ()

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        if not all(self._sides):
            message = f"a partition has containers on both sides, got {self.words!r}"
            raise ConfigError(message)
        sharing = {each: _sharing(each) for each in self.targets}
        networks: list[set[int]] = []
        placed: list[_Placed] = []
        for mine, theirs in (self._sides, self._sides[::-1]):
            addresses = [address for each in theirs for address in _addresses(each)]
            chain = cutting(self._name, dict.fromkeys(addresses))
            networks.append({_network(each).identity() for each in mine})
            placed += [_Placed(chain=chain, sharing=sharing[each]) for each in mine]
        if networks[0] & networks[1]:
            message = (
                f"{self.words} cannot be parted: a container is on both sides, or two "
                "share their network"
            )
            raise ConfigError(message)
        self._placed = placed
        return tuple(remedy for each in placed for remedy in each.remedies())

    def begin(self) -> None:
        """See `Mishap`."""
        for each in self._placed:
            each.begin()

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        return all(each.is_whole() for each in self._placed)

    def obstacle(self) -> str:
        """See `Mishap`."""
        return ""  # looking at one that has ended says so already

    def is_healed(self) -> bool:
        """See `Mishap`."""
        return not any(each.is_there() for each in self._placed)

    def end(self) -> None:
        """See `Mishap`."""


def _sharing(target: Target) -> tuple[Target, ...]:
    """Return who has the network of a container: itself, and whom it has joined.

    What is in that network stays when the container goes, and the others do not.

    Raises:
        FaultError: It is its host's.
    """
    network = _network(target).identity()
    joined = _joined(target)
    last = joined[-1] if joined else target
    if _mode(last.inspect()) == "host" or network == _network_of_host():
        message = (
            f"container {target.name} has the network of its host, which is not for a "
            "test to disturb: run it in a network"
        )
        raise FaultError(message)
    return (target, *(each for each in joined if _is_in(network, each)))


def _joined(target: Target) -> list[Target]:
    """Return those whose network a container has joined, and those that they have."""
    engine, found = target.engine, target.inspect_running()
    joined: list[Target] = []
    mode = _mode(found)
    while mode.startswith(_OF_A_CONTAINER):
        try:
            found = engine.inspect_container(mode.removeprefix(_OF_A_CONTAINER))
        except NotFoundError:
            break  # what it had joined is there all the same
        name = str(found["Name"]).lstrip("/")
        joined.append(Target(engine=engine, container=found["Id"], name=name))
        mode = _mode(found)
    return joined


def _is_in(network: int, target: Target) -> bool:
    """Return whether a container has that network; one that was restarted has not."""
    try:
        return _network(target).identity() == network
    except (ContainerGoneError, NotFoundError):
        return False


def _mode(found: Json) -> str:
    return found["HostConfig"].get("NetworkMode") or ""


def _network(target: Target) -> Network:
    return network_of(target.engine, target.container)


def _network_of_host() -> int | None:
    try:
        return Path("/proc/1/ns/net").stat().st_ino
    except OSError:
        return None


def _addresses(target: Target) -> Sequence[str]:
    """Return the addresses of a container, or of those whose network it has joined.

    Raises:
        FaultError: It has none.
    """
    for each in (target, *_joined(target)):
        if found := addresses_of(each.inspect()):
            return found
    message = f"container {target.name} has no address: have it join a network"
    raise FaultError(message)

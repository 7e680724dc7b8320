"""What becomes of packets: they are late, or lost, or do not get to some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pysys_orch.docker.engine.fault import Action, Claim, Link, Remedy
from pysys_orch.docker.engine.healing import network_of
from pysys_orch.docker.engine.links import Delay, ip_versions
from pysys_orch.docker.engine.mishaps.mishap import Remedies, Simple, Target
from pysys_orch.docker.engine.rules import Chain, addresses_of, cutting, queueing
from pysys_orch.errors import ConfigError, ContainerGoneError, FaultError, NotFoundError

_OF_A_CONTAINER = "container:"


class Slow(Simple):
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
            return self.claims_of([""])
        if not self._to:
            name = self.target.name
            message = f"a link of {name} is to nobody: leave `to` out for all"
            raise ConfigError(message)
        self._addresses = [
            address
            for each in self._to
            for address in ([each] if isinstance(each, str) else _addresses(each))
        ]
        return self.claims_of(self._addresses)

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        _require_own_network(self.target)
        versions = ip_versions()
        self._chain = queueing(self._name, self._queue, self._addresses, versions)
        return self.remedies(Action.RULES, **self._chain.as_json())

    def begin(self) -> None:
        """See `Mishap`."""
        network = network_of(self.target.engine, self.target.container)
        self._delay = Delay(network, self._queue, self._link)
        network.begin(self._chain)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        if self._delay is None or not self._delay.is_alive:
            return False
        network = network_of(self.target.engine, self.target.container)
        return network.has_whole(self._chain)

    def is_healed(self) -> bool:
        """See `Mishap`."""
        network = network_of(self.target.engine, self.target.container)
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

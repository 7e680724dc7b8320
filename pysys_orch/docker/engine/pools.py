"""Addresses for networks that run out: whose, who has them, and how to make room."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from pysys_orch.docker.engine.model import Found
from pysys_orch.docker.engine.networks import network_found
from pysys_orch.docker.engine.ownership import OWNER_LABEL, Owner, owner_of
from pysys_orch.errors import DockerError

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine

_T = TypeVar("_T")

log = logging.getLogger("pysys.orch.docker")

#: What is said here of a swarm, which says nothing, when it has no subnet left.
NO_POOL_OF_SWARM = "the swarm has no available address pool"

# What engines say when no subnet is left.
_EXHAUSTED = re.compile(
    r"non-overlapping IPv[46] address pool|predefined address pools have been fully"
    r"|no available (network|address pool)|failed to allocate network IP"
)
# What they say, Podman too, of a subnet that somebody else has.
_OVERLAPPING = re.compile(r"Pool overlaps with other|is already used on the host or by")
_WITHOUT_ADDRESSES = {"host", "none"}
_MOST_OWNERS = 3


class Pool(StrEnum):
    """Who gives networks their addresses, named after how far these networks span."""

    ENGINE = "local"
    SWARM = "swarm"


_HOLDERS = {
    Pool.ENGINE: "the engine has no addresses for another network",
    Pool.SWARM: "the swarm has no addresses for another overlay network",
}
_REMEDIES = {
    Pool.ENGINE: "give the engine more or smaller `default-address-pools`",
    Pool.SWARM: (
        "begin the swarm anew with more or smaller pools (`docker swarm init "
        "--default-addr-pool CIDR --default-addr-pool-mask-length BITS`)"
    ),
}


def exhausted_pool(words: str) -> Pool | None:
    """Return who says that there are no addresses for another network.

    Args:
        words: What an engine has said, or what was said of a swarm.

    Returns:
        None if that is not what is said.
    """
    if NO_POOL_OF_SWARM in words:
        return Pool.SWARM
    return Pool.ENGINE if _EXHAUSTED.search(words) else None


def is_overlapping(words: str) -> bool:
    """Return whether an engine says that somebody has the addresses asked for."""
    return _OVERLAPPING.search(words) is not None


def lacks_addresses(words: str) -> bool:
    """Return whether some are lacking, of any or of these, so that less may help."""
    return exhausted_pool(words) is not None or is_overlapping(words)


def told_overlapping(
    subnets: Sequence[str], listed: Iterable[Mapping[str, Any]], mine: Owner
) -> str:
    """Return who has the addresses that were asked for, and what to do.

    Args:
        subnets: What was asked for, in CIDR notation.
        listed: The networks, as the engine lists them.
        mine: Who asks.
    """
    advice = "ask for another one, or for none and the engine chooses one that is free"
    asked = [ipaddress.ip_network(each) for each in subnets]
    for network in listed:
        for pool in (network.get("IPAM") or {}).get("Config") or ():
            for net in asked:
                if pool.get("Subnet") and _overlap(net, pool["Subnet"]):
                    whose = _words_of(network_found(network), mine)
                    return (
                        f"the subnet {net} overlaps with {pool['Subnet']} of network "
                        f"{network['Name']}, of {whose}: {advice}"
                    )
    return (
        f"the subnet {', '.join(map(str, asked))} overlaps with addresses that are in "
        f"use, of no network that the engine tells of: {advice}"
    )


def told_exhausted(pool: Pool, networks: Iterable[Found], mine: Owner) -> str:
    """Return who has the networks that leave no addresses, and what to do.

    Args:
        pool: What has no addresses left.
        networks: Those that may have some of it.
        mine: Who asks.
    """
    holding = [
        found for found in networks if found.resource.name not in _WITHOUT_ADDRESSES
    ]
    owners = Counter(_words_of(found, mine) for found in holding)
    most = owners.most_common(_MOST_OWNERS)
    parts = [f"{count} of {words}" for words, count in most]
    if rest := len(holding) - sum(count for _, count in most):
        parts.append(f"{rest} of others")
    return (
        f"{_HOLDERS[pool]}: it has {len(holding)} ({', '.join(parts)}), and nothing "
        "that a dead run left is among them any more. Remove some (`docker network "
        f"ls`, `pysys-orch collect --kept`), {_REMEDIES[pool]}, or give the network a "
        "subnet"
    )


class Pools:
    """The addresses of engines and swarms, as one run takes of them. Threads share it.

    Args:
        owner: The run.
        collect: Removes from an engine what dead runs left there.
    """

    def __init__(self, owner: Owner, collect: Callable[[ApiEngine], object]) -> None:
        self._owner = owner
        self._collect = collect
        self._collecting = threading.Lock()

    def with_room(self, engine: ApiEngine, make: Callable[[], _T]) -> _T:
        """Make what takes addresses, and return what *make* returns.

        Where there are none left, or others have those that are wanted, what dead
        owners left is collected, and it is tried once more.

        Raises:
            DockerError: From *make*; or there are none left even so, with who has them.
        """
        try:
            return make()
        except DockerError as refusal:
            if not lacks_addresses(str(refusal)):
                raise
            self.make_room(engine)
        try:
            return make()
        except DockerError as refusal:
            pool = exhausted_pool(str(refusal))
            if pool is None:
                raise
            raise DockerError(self.told_exhausted(engine, pool)) from None

    def make_room(self, engine: ApiEngine) -> None:
        """Collect what dead owners left, since addresses are lacking."""
        log.info("Addresses for a network are lacking: collects what was left")
        with self._collecting:
            self._collect(engine)

    def told_exhausted(self, engine: ApiEngine, pool: Pool) -> str:
        """Return who has the networks that leave no addresses, and what to do."""
        return told_exhausted(pool, engine.networks(scope=pool), self._owner)


def _overlap(net: ipaddress.IPv4Network | ipaddress.IPv6Network, told: str) -> bool:
    other = ipaddress.ip_network(told, strict=False)
    return net.version == other.version and net.overlaps(other)


def _words_of(found: Found, mine: Owner) -> str:
    owner = owner_of(found)
    if owner is None:
        return "nobody known here"
    if owner == mine:
        return "this run"
    try:
        told = json.loads(found.labels[OWNER_LABEL])
        place = f" in {told['directory']} on {told['host']}"
    except (KeyError, TypeError, ValueError):
        place = ""
    return f"the run with process {owner.pid}{place}"

"""Addresses for networks that run out: whose, who has them, and how to make room."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from pysys_orch.docker.engine.model import Found
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

        Where there are none left, what dead owners left is collected, and it is tried
        once more.

        Raises:
            DockerError: From *make*; or there are none left even so, with who has them.
        """
        try:
            return make()
        except DockerError as refusal:
            if exhausted_pool(str(refusal)) is None:
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
        """Collect what dead owners left, since there are no addresses left."""
        log.info("There are no addresses for a network: collects what was left")
        with self._collecting:
            self._collect(engine)

    def told_exhausted(self, engine: ApiEngine, pool: Pool) -> str:
        """Return who has the networks that leave no addresses, and what to do."""
        return told_exhausted(pool, engine.networks(scope=pool), self._owner)


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

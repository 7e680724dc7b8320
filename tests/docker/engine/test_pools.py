"""Who has no addresses left is said, who has the networks, and what helps."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.ownership import Owner, owner_labels, resource_name
from pysys_orch.docker.engine.pools import (
    NO_POOL_OF_SWARM,
    Pool,
    exhausted_pool,
    told_exhausted,
)

ME = Owner(scope="42782f", pid=9677, start=15174315)
OTHER = Owner(scope="42782f", pid=77, start=15174315)


def network(name: str, labels: dict[str, str]) -> Found:
    """Return a network as an engine lists it."""
    return Found(
        resource=Resource(kind=Kind.NETWORK, id=name, name=name),
        created=datetime.min.replace(tzinfo=UTC),
        labels=labels,
    )


@pytest.mark.parametrize(
    ("words", "pool"),
    [
        (
            "could not find an available, non-overlapping IPv4 address pool",
            Pool.ENGINE,
        ),
        ("all predefined address pools have been fully subnetted", Pool.ENGINE),
        (f"{NO_POOL_OF_SWARM} for network n", Pool.SWARM),
        ("network with name n already exists", None),
        ("Pool overlaps with other one on this address space", None),
    ],
)
def test_only_a_lack_of_addresses_is_one(words: str, pool: Pool | None) -> None:
    """Whoever asks for addresses that somebody has is not helped by a collection."""
    assert exhausted_pool(words) is pool


def test_who_has_the_networks_is_told() -> None:
    """Those of this run first, if they are the most; none that take no addresses."""
    facts = {"host": "h", "directory": "/d"}
    other = owner_labels(OTHER, test_id="t", lease=1, facts=facts, keep=False)
    networks = [
        *(network(resource_name(ME, "t", "n", n), {}) for n in range(3)),
        network(resource_name(OTHER, "t", "n", 1), other),
        network("bridge", {}),
        network("none", {}),
    ]
    told = told_exhausted(Pool.ENGINE, networks, ME)
    words = "it has 5 (3 of this run, 1 of the run with process 77 in /d on h, "
    assert re.search(re.escape(words) + r"1 of nobody known here\)", told)


@pytest.mark.parametrize(
    ("pool", "says", "not_says"),
    [
        (Pool.ENGINE, "the engine has.*`default-address-pools`", "docker swarm"),
        (Pool.SWARM, "the swarm has.*`docker swarm init --default-addr-pool", "engine"),
    ],
)
def test_what_helps_depends_on_who_lacks_them(
    pool: Pool, says: str, not_says: str
) -> None:
    """Who gives an engine more addresses has not given its swarm any."""
    told = told_exhausted(pool, [network("n", {})], ME)
    assert re.search(says, told)
    assert not_says not in told

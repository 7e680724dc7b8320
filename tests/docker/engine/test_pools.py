"""Who has no addresses left is said, who has the networks, and what helps."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.ownership import Owner, owner_labels, resource_name
from pysys_orch.docker.engine.pools import (
    NO_POOL_OF_SWARM,
    Pool,
    exhausted_pool,
    is_overlapping,
    lacks_addresses,
    told_exhausted,
    told_overlapping,
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
    """Whoever asks for addresses that somebody has does not lack others."""
    assert exhausted_pool(words) is pool


@pytest.mark.parametrize(
    ("words", "overlapping", "lacking"),
    [
        ("Pool overlaps with other one on this address space", True, True),
        (
            "subnet 10.20.0.0/24 is already used on the host or by another config",
            True,
            True,
        ),
        ("all predefined address pools have been fully subnetted", False, True),
        ("network with name n already exists", False, False),
    ],
)
def test_addresses_that_somebody_has_are_lacking(
    words: str, *, overlapping: bool, lacking: bool
) -> None:
    """What a dead run has of them is given free, too."""
    assert is_overlapping(words) == overlapping
    assert lacks_addresses(words) == lacking


def test_who_has_the_addresses_is_told() -> None:
    """The first network that has some of them, whichever was asked for."""

    def network(name: str, *subnets: str) -> dict[str, Any]:
        config = [{"Subnet": each} for each in subnets] or None
        return {"Name": name, "Id": "1", "IPAM": {"Config": config}}

    mine = resource_name(ME, "t", "n", 1)
    listed = [
        network("host"),
        network("far", "10.21.0.0/16", "fd00:2::/64"),
        network(mine, "fd00:1::/64", "10.20.0.0/16"),
    ]
    words = "overlaps with {} of network {}, of {}: ask for another one, or for none"
    told = told_overlapping(["10.20.3.0/24", "fd00:3::/64"], listed, ME)
    expected = words.format("10.20.0.0/16", mine, "this run")
    assert told.startswith(f"the subnet 10.20.3.0/24 {expected}")
    told = told_overlapping(["fd00:3::/64", "fd00:2::/60"], listed, ME)
    expected = words.format("fd00:2::/64", "far", "nobody known here")
    assert told.startswith(f"the subnet fd00:2::/60 {expected}")
    told = told_overlapping(["10.22.0.0/24"], listed, ME)
    assert told.startswith("the subnet 10.22.0.0/24 overlaps with addresses that are")


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

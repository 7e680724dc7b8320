"""What is said of a network or a volume is what the engine is told."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.networks import (
    gateway_of,
    is_exhausted,
    is_overlapping,
    lacks_addresses,
    local_subnet,
    network_options,
    told_exhausted,
    told_overlapping,
    volume_options,
)
from pysys_orch.docker.engine.ownership import Owner, owner_labels, resource_name

ME = Owner(scope="42782f", pid=9677, start=15174315)
OTHER = Owner(scope="42782f", pid=77, start=15174315)


def test_a_plain_network_is_the_engine_s_own_choice() -> None:
    """Nothing is said of addresses that nobody asked for."""
    assert network_options("n") == {
        "Driver": "bridge",
        "Internal": False,
        "Attachable": False,
    }


def test_a_gateway_goes_with_its_subnet() -> None:
    """Their order does not matter."""
    options = network_options(
        "n",
        subnets=["10.20.0.0/24", "fd00:1::/64"],
        gateways=["fd00:1::9", "10.20.0.7"],
        driver_options={"mtu": 1400},
    )
    assert options["IPAM"]["Config"] == [
        {"Subnet": "10.20.0.0/24", "Gateway": "10.20.0.7"},
        {"Subnet": "fd00:1::/64", "Gateway": "fd00:1::9"},
    ]
    assert options["EnableIPv6"]
    assert options["Options"] == {"mtu": "1400"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"subnets": ["10.20.0.1/24"]}, "a subnet is like .*, got '10.20.0.1/24'"),
        ({"subnets": ["wide"]}, "got 'wide'"),
        ({"gateways": ["10.0.0.1"]}, "subnet of the network: none is given"),
        (
            {"subnets": ["10.20.0.0/24"], "gateways": ["10.21.0.1"]},
            "10.21.0.1 has to be in a subnet of the network: 10.20.0.0/24",
        ),
        ({"gateways": ["first"]}, "a gateway is an address like .*, got 'first'"),
    ],
)
def test_addresses_that_are_none_are_refused(given: dict[str, Any], words: str) -> None:
    """The message says what it has to be."""
    with pytest.raises(ValueError, match=words):
        network_options("n", **given)


@pytest.mark.parametrize(
    ("found", "gateway"),
    [
        ({"Driver": "bridge"}, "10.20.0.1"),
        ({"Driver": "bridge", "Internal": True}, ""),
        ({"Driver": "macvlan"}, ""),
        ({"Driver": "overlay"}, ""),
    ],
)
def test_a_gateway_that_nobody_tells_is_the_first_address(
    found: dict[str, Any], gateway: str
) -> None:
    """It is the host's on a bridge, unless that is kept from the host."""
    pools = [{"Subnet": "10.20.0.0/24"}, {"Subnet": "fd00:1::/64"}]
    assert gateway_of({**found, "IPAM": {"Config": pools}}) == gateway
    told = [{"Subnet": "10.20.0.0/24", "Gateway": "10.20.0.7/24"}]
    assert gateway_of({**found, "IPAM": {"Config": told}}) == "10.20.0.7"


def test_a_network_without_addresses_has_no_gateway() -> None:
    """As that of the host."""
    assert gateway_of({"Driver": "bridge", "IPAM": {"Config": None}}) == ""
    assert gateway_of({"Driver": "host"}) == ""


@given(st.text(), st.text())
def test_local_subnets_are_local_and_differ(name: str, other: str) -> None:
    """Two networks of IPv6 can be there at once, and neither is routed."""
    net = ipaddress.ip_network(local_subnet(name))
    assert net.subnet_of(ipaddress.ip_network("fd00::/8"))  # type: ignore[arg-type]
    assert net.prefixlen == 64
    assert (local_subnet(other) == str(net)) == (name == other)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {"Driver": "local"}),
        (
            {"size": "16m"},
            {
                "Driver": "local",
                "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=16m"},
            },
        ),
        (
            {"size": 4096, "driver_options": {"o": "uid=7"}},
            {
                "Driver": "local",
                "DriverOpts": {
                    "type": "tmpfs",
                    "device": "tmpfs",
                    "o": "size=4096,uid=7",
                },
            },
        ),
        (
            {"driver": "nfs", "driver_options": {"a": 1}},
            {"Driver": "nfs", "DriverOpts": {"a": "1"}},
        ),
    ],
)
def test_a_size_makes_a_volume_a_tmpfs(
    given: dict[str, Any], options: dict[str, Any]
) -> None:
    """What else the driver is told stays."""
    assert volume_options(**given) == options


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": "big"}, "bytes, or like '16m', got 'big'"),
        ({"size": 0}, "got 0"),
        ({"size": "-1"}, "got '-1'"),
        ({"size": "16m", "driver": "nfs"}, "a volume of size 16m is a tmpfs"),
        ({"size": "16m", "driver_options": {"type": "nfs"}}, "leave out size"),
    ],
)
def test_a_size_that_cannot_be_is_refused(given: dict[str, Any], words: str) -> None:
    """No engine is asked for what it would refuse later, when it is mounted."""
    with pytest.raises(ValueError, match=words):
        volume_options(**given)


@pytest.mark.parametrize(
    ("words", "exhausted", "overlapping"),
    [
        (
            "could not find an available, non-overlapping IPv4 address pool",
            True,
            False,
        ),
        ("all predefined address pools have been fully subnetted", True, False),
        ("network with name n already exists", False, False),
        ("Pool overlaps with other one on this address space", False, True),
        (
            "subnet 10.20.0.0/24 is already used on the host or by another config",
            False,
            True,
        ),
    ],
)
def test_only_a_lack_of_addresses_is_one(
    words: str, *, exhausted: bool, overlapping: bool
) -> None:
    """Whether it is of any, or of those that were asked for."""
    assert is_exhausted(words) == exhausted
    assert is_overlapping(words) == overlapping
    assert lacks_addresses(words) == (exhausted or overlapping)


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
    names = [resource_name(ME, "t", "n", n) for n in range(3)]
    listing = [
        Found(
            resource=Resource(kind=kind, id=name, name=name),
            created=datetime.min.replace(tzinfo=UTC),
            labels=labels,
        )
        for kind, name, labels in [
            *((Kind.NETWORK, name, {}) for name in names),
            (Kind.NETWORK, resource_name(OTHER, "t", "n", 1), other),
            (Kind.NETWORK, "bridge", {}),
            (Kind.NETWORK, "none", {}),
            (Kind.VOLUME, resource_name(ME, "t", "v", 9), {}),
        ]
    ]
    told = told_exhausted(listing, ME)
    words = "it has 5 (3 of this run, 1 of the run with process 77 in /d on h, "
    assert re.search(re.escape(words) + r"1 of nobody known here\)", told)

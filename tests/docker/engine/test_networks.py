"""What is said of a network or a volume is what the engine is told."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.networks import (
    gateway_of,
    local_subnet,
    network_options,
    volume_options,
)
from pysys_orch.errors import ConfigError


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
                "DriverOpts": {
                    "type": "tmpfs",
                    "device": "tmpfs",
                    "o": "size=16777216",
                },
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


@pytest.mark.parametrize("size", ["16m", "16MB", "16 MiB", "16384k", 2**24])
def test_a_size_is_what_people_write(size: str | int) -> None:
    """As that of memory."""
    assert volume_options(size=size)["DriverOpts"]["o"] == "size=16777216"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": "big"}, "of a volume has to be bytes, or like 64k, .*, got 'big'"),
        ({"size": "16t"}, "got '16t'"),
        ({"size": 0}, "got 0"),
        ({"size": "-1"}, "got '-1'"),
        ({"size": "16m", "driver": "nfs"}, "a volume of size 16m is a tmpfs"),
        ({"size": "16m", "driver_options": {"type": "nfs"}}, "leave out size"),
    ],
)
def test_a_size_that_cannot_be_is_refused(given: dict[str, Any], words: str) -> None:
    """No engine is asked for what it would refuse later, when it is mounted."""
    with pytest.raises(ConfigError, match=words):
        volume_options(**given)

"""Where a published port is reached follows from where engine and test are."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.reach import (
    Surroundings,
    addresses_within,
    choose_reach,
    default_gateway,
    is_in_sight,
    look_around,
    own_container,
)
from pysys_orch.errors import ConfigError, NotFoundError

SOCKET = "unix:///var/run/docker.sock"
ROOTLESS = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}
DESKTOP = {"OperatingSystem": "Docker Desktop"}
OUTSIDE = Surroundings()
KNOWN = Surroundings(
    is_contained=True, gateway="172.18.0.1", networks=frozenset({"net"})
)
STRANGE = Surroundings(is_contained=True, gateway="10.1.0.1")
NO_WAY_OUT = Surroundings(is_contained=True)
OF_HOST = Surroundings(is_contained=True, is_host_network=True, gateway="10.0.0.1")
LOOP, ALL = "127.0.0.1", "0.0.0.0"


@pytest.mark.parametrize(
    ("endpoint", "surroundings", "info", "override", "host", "publish"),
    [
        (SOCKET, OUTSIDE, {}, "", LOOP, LOOP),
        (SOCKET, OUTSIDE, ROOTLESS, "", LOOP, LOOP),
        (SOCKET, OUTSIDE, DESKTOP, "", LOOP, LOOP),
        ("npipe:////./pipe/docker_engine", OUTSIDE, DESKTOP, "", LOOP, LOOP),
        ("tcp://engine:2376", OUTSIDE, {}, "", "engine", ALL),
        ("tcp://10.0.0.7:2375", OUTSIDE, {}, "", "10.0.0.7", ALL),
        ("ssh://engine", OUTSIDE, {}, "", "engine", ALL),
        ("tcp://[fd00::7]:2375", OUTSIDE, {}, "", "fd00::7", "::"),
        ("tcp://127.0.0.1:2375", OUTSIDE, {}, "", LOOP, LOOP),
        ("tcp://localhost:2375", OUTSIDE, {}, "", "localhost", LOOP),
        ("tcp://docker:2376", STRANGE, {}, "", "docker", ALL),
        (SOCKET, KNOWN, {}, "", "172.18.0.1", "172.18.0.1"),
        (SOCKET, KNOWN, ROOTLESS, "", "172.18.0.1", ALL),
        (SOCKET, KNOWN, DESKTOP, "", "host.docker.internal", LOOP),
        (SOCKET, OF_HOST, {}, "", LOOP, LOOP),
        (SOCKET, STRANGE, {}, "", "10.1.0.1", ALL),
        (SOCKET, NO_WAY_OUT, {}, "", LOOP, LOOP),
        (SOCKET, KNOWN, {}, "ci-host", "ci-host", ALL),
        ("ssh://engine", OUTSIDE, {}, "127.0.0.1", LOOP, LOOP),
        ("ssh://engine", OUTSIDE, {}, "::1", "::1", "::1"),
    ],
)
def test_host_and_address_follow_from_the_facts(
    endpoint: str,
    surroundings: Surroundings,
    info: Mapping[str, Any],
    override: str,
    host: str,
    publish: str,
) -> None:
    """What is published can be reached, and by as few others as possible."""
    reach = choose_reach(endpoint, surroundings, info, override)
    assert (reach.host, reach.publish) == (host, publish)
    assert reach.reason


def test_what_nobody_can_reach_is_refused_with_a_way_out() -> None:
    """A rootless engine publishes where its own containers do not come."""
    reach = choose_reach(SOCKET, KNOWN, ROOTLESS)
    with pytest.raises(ConfigError, match="--network=host"):
        reach.required()
    for surroundings in (OUTSIDE, OF_HOST):
        assert choose_reach(SOCKET, surroundings, ROOTLESS).required().host == LOOP
    with pytest.raises(ConfigError, match="has no gateway"):
        choose_reach(SOCKET, NO_WAY_OUT, {}).required()
    told = choose_reach(SOCKET, KNOWN, ROOTLESS, "somewhere")
    assert told.required().host == "somewhere"


@given(
    st.sampled_from([SOCKET, "tcp://engine:1", "ssh://engine", "tcp://[::1]:1"]),
    st.builds(
        Surroundings,
        is_contained=st.booleans(),
        is_host_network=st.booleans(),
        gateway=st.sampled_from(["", "172.17.0.1"]),
    ),
    st.sampled_from([{}, ROOTLESS, DESKTOP]),
    st.sampled_from(["", "name", "10.0.0.1", "::1", "localhost"]),
)
def test_there_is_always_an_answer_that_an_engine_accepts(
    endpoint: str, surroundings: Surroundings, info: Mapping[str, Any], override: str
) -> None:
    """An override is kept to the letter, and ports are published on an address."""
    reach = choose_reach(endpoint, surroundings, info, override)
    assert reach.host
    assert ipaddress.ip_address(reach.publish).version in {4, 6}
    assert not override or reach.host == override


@pytest.mark.parametrize(
    ("endpoint", "surroundings", "info", "addresses"),
    [
        (SOCKET, OUTSIDE, {}, ["172.18.0.5", "172.19.0.5"]),
        (SOCKET, KNOWN, {}, ["172.18.0.5"]),
        (SOCKET, OUTSIDE, ROOTLESS, []),
        (SOCKET, OUTSIDE, DESKTOP, []),
        ("tcp://engine:1", OUTSIDE, {}, []),
    ],
)
def test_a_container_s_own_address_counts_only_where_it_is_its_own(
    endpoint: str,
    surroundings: Surroundings,
    info: Mapping[str, Any],
    addresses: list[str],
) -> None:
    """Elsewhere somebody else has the same address, and answers."""
    networks = {
        "a": {"NetworkID": "net", "IPAddress": "172.18.0.5"},
        "b": {"NetworkID": "other", "IPAddress": "172.19.0.5"},
        "c": {"NetworkID": "third", "IPAddress": ""},
    }
    found = {
        "HostConfig": {"NetworkMode": "a"},
        "NetworkSettings": {"Networks": networks},
    }
    reach = choose_reach(endpoint, surroundings, info)
    assert list(addresses_within(found, reach)) == addresses


ID = "0123456789abcdef" * 4


class Engine:
    """What an engine says of containers."""

    def __init__(self, path: str, containers: Mapping[str, Any]) -> None:
        self.endpoint = f"unix://{path}"
        self._containers = containers

    def info(self) -> Mapping[str, Any]:
        return {}

    def inspect_container(self, container: str) -> Mapping[str, Any]:
        if container not in self._containers:
            raise NotFoundError("inspect", 404, "no such container")
        found: Mapping[str, Any] = self._containers[container]
        return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a file system as containers have it."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/net").mkdir()
    (tmp_path / "proc/self/mountinfo").write_text(
        "1 0 0:1 / / rw - overlay overlay rw\n"
        f"2 1 8:1 /var/lib/docker/containers/{ID}/hostname "
        "/etc/hostname rw - ext4 x rw\n"
    )
    (tmp_path / "proc/net/route").write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\n"
        "eth0\t000011AC\t00000000\t0001\t0\n"
        "eth0\t00000000\t010013AC\t0003\t0\n"
    )
    return tmp_path


def network(number: int) -> dict[str, str]:
    return {"NetworkID": f"net{number}", "Gateway": f"172.{number}.0.1"}


def described(mode: str, *numbers: int) -> dict[str, Any]:
    networks = {f"n{number}": network(number) for number in numbers}
    return {
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": networks},
    }


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        (
            {ID: described("n18", 18)},
            Surroundings(
                is_contained=True, gateway="172.18.0.1", networks=frozenset({"net18"})
            ),
        ),
        (
            {ID: described("n18", 18, 19)},
            Surroundings(
                is_contained=True,
                gateway="172.19.0.1",
                networks=frozenset({"net18", "net19"}),
            ),
        ),
        (
            {ID: described("container:pause"), "pause": described("n18", 18)},
            Surroundings(
                is_contained=True, gateway="172.18.0.1", networks=frozenset({"net18"})
            ),
        ),
        ({}, Surroundings(is_contained=True, gateway="172.19.0.1")),
    ],
)
def test_a_container_finds_its_own_gateway(
    root: Path, containers: Mapping[str, Any], expected: Surroundings
) -> None:
    """Of several, the one by which it goes out; and the networks that it shares."""
    assert look_around(Engine("/none", containers), root=root) == expected


def test_a_machine_that_was_made_of_an_image_is_no_container(tmp_path: Path) -> None:
    """The mark is there, but the engine is among its own processes."""
    (tmp_path / ".dockerenv").touch()
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        listener.listen()
        assert look_around(Engine(f"{tmp_path}/s", {}), root=tmp_path) == OUTSIDE
    assert not is_in_sight(f"{tmp_path}/s")
    found = look_around(Engine(f"{tmp_path}/s", {}), root=tmp_path)
    assert found.is_contained


def test_what_is_not_there_is_no_gateway_and_no_container(tmp_path: Path) -> None:
    """Not every system has Linux's files."""
    assert default_gateway(tmp_path / "route") == ""
    assert own_container(tmp_path / "mountinfo") == ""

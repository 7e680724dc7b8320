"""Addresses for networks that run out: what dead runs left makes room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind
from pysys_orch.docker.engine.ownership import Owner, owner_labels, resource_name
from pysys_orch.docker.engine.pools import exhausted_pool
from pysys_orch.errors import DockerError
from tests.conftest import BUSYBOX
from tests.docker.owned import passing_owner
from tests.docker.private import PrivateEngine, private_engine
from tests.nested import NestedProject, Result

#: Room for four networks, of which docker's own bridge is one.
SMALL = {"default-address-pools": [{"base": "10.213.0.0/24", "size": 26}]}
PREDEFINED = {"bridge", "host", "none"}
COMPOSE = f"""\
services:
  one:
    image: {BUSYBOX}
    command: sleep 600
"""
#: Room for two, of which one is the swarm's own.
TWO_OVERLAYS = (
    *("--listen-addr=127.0.0.1:2377", "--advertise-addr=127.0.0.1"),
    *("--default-addr-pool=10.214.0.0/27", "--default-addr-pool-mask-length=28"),
)
FIXED = "self.docker.network(subnet='10.215.7.0/24')"
COMPOSE_FIXED = f"""\
{COMPOSE}networks:
  default:
    ipam:
      config:
        - subnet: 10.215.7.0/24
"""
UP_FIXED = "self.docker.composition('fixed.yml').up(extraArgs=['--pull=never'])"
UP = "self.docker.composition('compose.yml').up(extraArgs=['--pull=never'])"


@pytest.fixture(scope="module")
def cramped() -> Iterator[PrivateEngine]:
    """Run an engine that has few addresses."""
    with private_engine(SMALL) as engine:
        yield engine


@pytest.fixture
def full(cramped: PrivateEngine) -> Iterator[ApiEngine]:
    """Return that engine, and have it without a network afterwards."""
    engine = ApiEngine.connect(cramped.environment)
    yield engine
    for found in engine.listing():
        resource = found.resource
        if resource.kind is Kind.NETWORK and resource.name not in PREDEFINED:
            engine.remove(resource)


def fill(engine: ApiEngine, owner: Owner | None) -> int:
    """Make networks until there is no room; return how many that were."""
    labels: dict[str, str] = {}
    if owner is not None:
        facts = {"host": "here", "directory": "/somewhere"}
        labels = owner_labels(owner, test_id="t", lease=300, facts=facts, keep=False)
    for number in range(10):
        name = f"network-{number}"
        if owner is not None:
            name = resource_name(owner, "t", "network", number)
        try:
            engine.create_network(name, labels, {})
        except DockerError as refusal:
            if exhausted_pool(str(refusal)):
                return number
            raise
    raise AssertionError("there is always room")


def run(folder: Path, cramped: PrivateEngine, body: str) -> Result:
    """Run one test, in a run that collects nothing at its start."""
    nested = NestedProject(folder, plugin=False)
    nested.test("test", body, **{"compose.yml": COMPOSE, "fixed.yml": COMPOSE_FIXED})
    nested.run(environment=cramped.environment)
    return nested.results()["test"]


@pytest.mark.docker
@pytest.mark.parametrize("body", ["self.docker.network()", UP])
def test_what_a_dead_run_left_makes_room(
    cramped: PrivateEngine, full: ApiEngine, tmp_path: Path, body: str
) -> None:
    """Leftovers of yesterday do not break today's tests."""
    with passing_owner() as owner:
        assert fill(full, owner) == 3
        left = {resource_name(owner, "t", "network", n) for n in range(3)}
    result = run(tmp_path, cramped, body)
    assert (result.outcome, result.reason) == ("PASSED", "")
    assert left.isdisjoint(each.resource.name for each in full.listing())


@pytest.mark.docker
def test_a_swarm_s_addresses_are_made_room_for_too(
    cramped: PrivateEngine, full: ApiEngine, tmp_path: Path
) -> None:
    """It says nothing when it has none: the network is there, and of no use."""
    cramped.docker("swarm", "init", *TWO_OVERLAYS)
    try:
        with passing_owner() as owner:
            labels = owner_labels(owner, test_id="t", lease=300, facts={}, keep=False)
            for number in range(2):  # the swarm's own one takes another
                name = resource_name(owner, "t", "network", number)
                options = {"Driver": "overlay", "Attachable": True}
                full.create_network(name, labels, options)
        body = """
            network = self.docker.network(driver='overlay')
            self.docker.container('{}', network=network).run(['true'], foreground=True)
        """
        result = run(tmp_path, cramped, body.format(BUSYBOX))
        assert (result.outcome, result.reason) == ("PASSED", "")
    finally:
        cramped.docker("swarm", "leave", "--force")


@pytest.mark.docker
@pytest.mark.parametrize("body", ["self.docker.network()", UP])
def test_a_pool_full_of_what_lives_is_told(
    cramped: PrivateEngine, full: ApiEngine, tmp_path: Path, body: str
) -> None:
    """The reason says who has the networks, and what to do."""
    with passing_owner() as owner:
        assert fill(full, owner) == 3
        result = run(tmp_path, cramped, body)
        networks = {each.resource.name for each in full.listing()}
    assert result.outcome == "BLOCKED"
    assert re.search(
        r"the engine has no addresses for another network: it has 4 "
        rf"\(3 of the run with process {owner.pid} in /somewhere on here, "
        r"1 of nobody known here\).*pysys-orch collect.*default-address-pools",
        result.reason,
    )
    assert {resource_name(owner, "t", "network", n) for n in range(3)} <= networks


@pytest.mark.docker
def test_a_swarm_whose_pool_is_full_is_told(
    cramped: PrivateEngine, full: ApiEngine, tmp_path: Path
) -> None:
    """The reason counts the swarm's networks only, and says what gives it more."""
    cramped.docker("swarm", "init", *TWO_OVERLAYS)
    try:
        with passing_owner() as owner:
            facts = {"host": "here", "directory": "/somewhere"}
            labels = owner_labels(
                owner, test_id="t", lease=300, facts=facts, keep=False
            )
            name = resource_name(owner, "t", "network", 0)
            full.create_network(name, labels, {"Driver": "overlay"})
            result = run(tmp_path, cramped, "self.docker.network(driver='overlay')")
        assert result.outcome == "BLOCKED"
        told = re.fullmatch(
            r"the swarm has no addresses for another overlay network: it has 2 "
            r"\((.*), (.*)\), and .*pysys-orch collect.*"
            r"`docker swarm init --default-addr-pool .*",
            result.reason,
        )
        assert told is not None, result.reason
        assert set(told.groups()) == {
            f"1 of the run with process {owner.pid} in /somewhere on here",
            "1 of nobody known here",  # the swarm's own one
        }
        assert "default-address-pools" not in result.reason
    finally:
        cramped.docker("swarm", "leave", "--force")


def take(engine: ApiEngine, owner: Owner) -> str:
    """Make a network with the addresses of `FIXED`; return its name."""
    facts = {"host": "here", "directory": "/somewhere"}
    labels = owner_labels(owner, test_id="t", lease=300, facts=facts, keep=False)
    name = resource_name(owner, "t", "network", 0)
    pools = [{"Subnet": "10.215.0.0/16"}]
    engine.create_network(name, labels, {"IPAM": {"Config": pools}})
    return name


@pytest.mark.docker
@pytest.mark.parametrize("body", [FIXED, UP_FIXED])
def test_addresses_that_a_dead_run_has_are_given_free(
    cramped: PrivateEngine, full: ApiEngine, tmp_path: Path, body: str
) -> None:
    """Who has a subnet of their own gets it again after a run that was killed."""
    with passing_owner() as owner:
        taken = take(full, owner)
    result = run(tmp_path, cramped, body)
    assert (result.outcome, result.reason) == ("PASSED", "")
    assert taken not in {each.resource.name for each in full.listing()}


@pytest.mark.docker
def test_who_has_the_addresses_that_are_wanted_is_told(
    cramped: PrivateEngine, full: ApiEngine, tmp_path: Path
) -> None:
    """An engine says neither what was asked for nor who is in the way."""
    with passing_owner() as owner:
        taken = take(full, owner)
        result = run(tmp_path, cramped, FIXED)
        assert taken in {each.resource.name for each in full.listing()}
    assert result.outcome == "BLOCKED"
    assert result.reason == (
        f"the subnet 10.215.7.0/24 overlaps with 10.215.0.0/16 of network {taken}, of "
        f"the run with process {owner.pid} in /somewhere on here: ask for another one, "
        "or for none and the engine chooses one that is free"
    )

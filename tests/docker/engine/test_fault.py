"""What faults decide, without an engine."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.amounts import bits_of, bytes_of, seconds_of
from pysys_orch.docker.engine.delaying import Held, Shaper
from pysys_orch.docker.engine.fault import (
    UNLIMITED_BYTES,
    Action,
    Claim,
    Link,
    Remedy,
    endpoint_of,
    plan_squeeze,
)
from pysys_orch.docker.engine.rules import (
    Chain,
    addresses_of,
    cutting,
    queueing,
    queues_from,
)
from pysys_orch.errors import ConfigError

LINKS = st.builds(
    lambda delay, part, loss, rate: Link(
        delay=delay, jitter=delay * part, loss=loss, rate=rate
    ),
    st.floats(0.001, 10),
    st.floats(0, 1),
    st.floats(0, 1),
    st.none() | st.floats(1e3, 1e9),
)
PACKETS = st.lists(st.tuples(st.floats(0, 1), st.integers(20, 65_000)), max_size=50)


@given(link=LINKS, packets=PACKETS)
def test_packets_are_late_by_what_was_asked_and_stay_in_order(
    link: Link, packets: list[tuple[float, int]]
) -> None:
    """None goes on before its time, nor before one that came earlier."""
    shaper = Shaper(link, random.Random(1))
    now = last = 0.0
    for pause, size in packets:
        now += pause
        due = shaper.due(size, now)
        if due is None:
            assert link.loss > 0
            continue
        assert due >= last
        assert due >= now + link.delay - link.jitter
        if link.rate is None:
            assert due <= now + link.delay + link.jitter + 1e-6 or due == last
        last = due


@given(packets=PACKETS)
def test_what_waits_takes_no_more_memory_than_it_may(
    packets: list[tuple[float, int]],
) -> None:
    """What is taken comes out in its order and in time; what went makes room."""
    held = Held(100_000)
    now = 0.0
    inside: list[tuple[float, bytes]] = []
    for pause, size in packets:
        now += pause
        sent = list(held.take(now))
        assert sent == [packet for due, packet in inside if due <= now]
        inside = [(due, packet) for due, packet in inside if due > now]
        taken = sum(len(packet) for _, packet in inside)
        if held.has_room(size):
            inside.append((now + 0.5, bytes(size)))
            held.add(*inside[-1])
            assert taken + size <= 100_000
        else:
            assert taken + size + 200 * (len(inside) + 1) > 100_000
        assert held.next_due == (inside[0][0] if inside else None)


@given(rate=st.floats(1e3, 1e9), sizes=st.lists(st.integers(20, 65_000), min_size=1))
def test_a_rate_is_never_exceeded(rate: float, sizes: list[int]) -> None:
    """What comes at once takes as long as it has bits."""
    shaper = Shaper(Link(rate=rate), random.Random(1))
    dues = [shaper.due(size, 0.0) for size in sizes]
    assert dues[-1] == pytest.approx(sum(sizes) * 8 / rate)


def test_as_many_are_lost_as_was_asked_the_same_each_time() -> None:
    """A seed has the same packets lost."""

    def lost(seed: int) -> list[bool]:
        shaper = Shaper(Link(loss=0.25), random.Random(seed))
        return [shaper.due(100, 0.0) is None for _ in range(10_000)]

    assert lost(1) == lost(1)
    assert lost(1) != lost(2)
    assert 2_300 < sum(lost(1)) < 2_700


HOSTS: dict[str, tuple[dict[str, Any], int, dict[str, Any], dict[str, Any]]] = {
    "none": (
        {"NanoCpus": 0, "CpuQuota": 0, "CpuPeriod": 0, "Memory": 0, "MemorySwap": 0},
        1,
        {"CpuQuota": 50_000, "Memory": 2**25, "MemorySwap": 2**25},
        {"CpuQuota": -1, "Memory": UNLIMITED_BYTES, "MemorySwap": UNLIMITED_BYTES},
    ),
    "none, second cgroups": (
        {},
        2,
        {"CpuQuota": 50_000, "Memory": 2**25, "MemorySwap": 2**25},
        {"CpuQuota": -1, "Memory": UNLIMITED_BYTES, "MemorySwap": -1},
    ),
    "cpus": (
        {"NanoCpus": 1_500_000_000, "Memory": 2**26, "MemorySwap": 2**27},
        1,
        {"NanoCpus": 500_000_000, "Memory": 2**25, "MemorySwap": 2**25},
        {"NanoCpus": 1_500_000_000, "Memory": 2**26, "MemorySwap": 2**27},
    ),
    "quota": (
        {"CpuQuota": 40_000, "CpuPeriod": 50_000, "Memory": 2**26, "MemorySwap": -1},
        1,
        {"CpuQuota": 25_000, "Memory": 2**25, "MemorySwap": -1},
        {"CpuQuota": 40_000, "Memory": 2**26, "MemorySwap": -1},
    ),
}


@pytest.mark.parametrize("case", HOSTS)
def test_a_squeeze_changes_what_a_container_has_and_gives_it_back(case: str) -> None:
    """In the way that engines do not refuse."""
    host, cgroups, limits, former = HOSTS[case]
    machine = {"NCPU": 2, "MemTotal": 2**30, "CgroupVersion": str(cgroups)}
    found = plan_squeeze(host, cpus=0.5, memory=2**25, machine=machine)
    assert (found.limits, found.former) == (limits, former)


def test_a_squeeze_leaves_what_is_not_asked_for() -> None:
    """Neither limit is one of the other."""
    assert plan_squeeze({}, cpus=1, memory=None, machine={}).limits == {
        "CpuQuota": 100_000
    }
    found = plan_squeeze({}, cpus=None, memory=2**25, machine={})
    assert set(found.limits) == {"Memory", "MemorySwap"}


@pytest.mark.parametrize(("cpus", "memory"), [(0, None), (-1, None), (None, 0)])
def test_a_squeeze_to_nothing_is_refused(
    cpus: float | None, memory: int | None
) -> None:
    """An engine would take 0 for no change."""
    with pytest.raises(ConfigError, match="is at least"):
        plan_squeeze({}, cpus=cpus, memory=memory, machine={})


@pytest.mark.parametrize(
    ("host", "cpus", "memory", "words"),
    [
        ({}, 2, None, "cpus has to be less than the 2 that the machine has, got 2"),
        ({"CpuQuota": -1}, 1000, None, "the 2 that the machine has, got 1000"),
        ({"CpuQuota": 25_000, "CpuPeriod": 50_000}, 0.6, None, "container is limited"),
        (
            {"NanoCpus": 500_000_000},
            0.5,
            None,
            "cpus has to be less than the 0.5 that the container is limited to, got",
        ),
        (
            {"Memory": UNLIMITED_BYTES},
            None,
            2**40,
            "memory has to be less than the 1 GiB that the machine has, got 1024 GiB",
        ),
        (
            {"Memory": 2**26},
            None,
            2**27,
            "than the 64 MiB that the container is limited to, got 128 MiB",
        ),
    ],
)
def test_a_squeeze_that_takes_nothing_is_refused(
    host: dict[str, Any], cpus: float | None, memory: int | None, words: str
) -> None:
    """It would be in force, and the container would not notice."""
    machine = {"NCPU": 2, "MemTotal": 2**30}
    with pytest.raises(ConfigError, match=words):
        plan_squeeze(host, cpus=cpus, memory=memory, machine=machine)


def test_a_container_joins_again_as_it_had_joined() -> None:
    """Without the alias that an engine gives it anyway."""
    endpoint = {
        "IPAMConfig": {"IPv4Address": "10.0.0.7"},
        "Aliases": ["web", "0123456789ab"],
        "Links": None,
        "IPAddress": "10.0.0.7",
        "EndpointID": "e",
    }
    assert endpoint_of("0123456789abcdef", endpoint) == {
        "IPAMConfig": {"IPv4Address": "10.0.0.7"},
        "Aliases": ["web"],
    }
    assert endpoint_of("0123456789abcdef", {"Aliases": None}) == {}


@given(st.integers(min_value=0))
def test_queues_to_try_are_ones_that_others_do_not_begin_with(place: int) -> None:
    """They are enough, wherever they begin; and the next fault begins with another."""
    numbers = queues_from(place)
    assert len(set(numbers)) == 64
    assert all(16_384 <= each < 49_152 for each in numbers)
    assert queues_from(place + 1)[:-1] == numbers[1:]


def test_a_remedy_survives_a_line_of_json() -> None:
    """Whoever reads it can do what was meant."""
    chain = queueing("po-1", 7, ["10.0.0.1"])
    remedy = Remedy(action=Action.RULES, container="c", details=chain.as_json())
    assert Remedy.of(json.loads(json.dumps(remedy.as_json()))) == remedy
    saved = ":po-1 - [0:0]\n-A POSTROUTING -j po-1\n"
    assert Chain.of(remedy.details).end(saved) == chain.end(saved)


def test_claims_clash_on_one_container_and_one_part_of_it() -> None:
    """All of it clashes with each part."""

    def claim(part: str = "", container: str = "c", kind: str = "link") -> Claim:
        return Claim(kind=kind, container=container, part=part)

    assert claim("a").clashes(claim("a"))
    assert claim("a").clashes(claim())
    assert claim().clashes(claim("a"))
    assert not claim("a").clashes(claim("b"))
    assert not claim().clashes(claim(container="d"))
    assert not claim().clashes(claim(kind="pause"))


def test_a_cut_is_of_both_directions_and_both_versions() -> None:
    """As the program reads it."""
    chain = cutting("po-1", ["10.0.0.1", "fd00::1"])
    assert chain.begin(4) == (
        "*filter\n:po-1 - [0:0]\n"
        "-A po-1 -s 10.0.0.1 -j DROP\n-A po-1 -d 10.0.0.1 -j DROP\n"
        "-I INPUT -j po-1\n-I OUTPUT -j po-1\nCOMMIT\n"
    )
    assert "-A po-1 -s fd00::1 -j DROP" in chain.begin(6)
    saved = chain.begin(4).replace("-I", "-A")
    assert chain.end(saved) == (
        "*filter\n-D INPUT -j po-1\n-D OUTPUT -j po-1\n-F po-1\n-X po-1\nCOMMIT\n"
    )
    assert chain.end(saved.replace("-A INPUT -j po-1\n", "")) == (
        "*filter\n-D OUTPUT -j po-1\n-F po-1\n-X po-1\nCOMMIT\n"
    )


def test_a_chain_is_whole_when_all_of_it_is_said() -> None:
    """Half of it is not in force, and is there to be taken away."""
    chain = cutting("po-1", ["10.0.0.1"])
    whole = (
        "*filter\n:INPUT ACCEPT [0:0]\n:po-1 - [0:0]\n-A INPUT -j po-1\n"
        "-A OUTPUT -j po-1\n-A po-1 -s 10.0.0.1/32 -j DROP\n"
        "-A po-1 -d 10.0.0.1/32 -j DROP\nCOMMIT\n"
    )
    assert chain.is_whole_in(whole, 4)
    for line in ("-A OUTPUT -j po-1\n", "-A po-1 -s 10.0.0.1/32 -j DROP\n"):
        half = whole.replace(line, "")
        assert not chain.is_whole_in(half, 4)
        assert chain.is_in(half)
    assert not chain.is_in(whole.replace("po-1 ", "po-11 "))


def test_addresses_are_those_of_all_networks() -> None:
    """Of both versions, and none where there is none."""
    networks = {
        "a": {"IPAddress": "10.0.0.1", "GlobalIPv6Address": "fd00::1"},
        "b": {"IPAddress": "", "GlobalIPv6Address": ""},
    }
    found = {"NetworkSettings": {"Networks": networks}}
    assert addresses_of(found) == ("10.0.0.1", "fd00::1")
    assert addresses_of({"NetworkSettings": {"Networks": None}}) == ()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (seconds_of("d", "200ms"), 0.2),
        (seconds_of("d", 2), 2.0),
        (bits_of("1mbit"), 1e6),
        (bits_of("1.5 Gbit/s"), 1.5e9),
        (bits_of(64), 64.0),
        (bytes_of("m", "64m"), 2**26),
        (bytes_of("m", "1 GiB"), 2**30),
        (bytes_of("m", 7), 7),
        (bytes_of("m", "0.0001k"), 1),  # 0 is no limit at all to a tmpfs
    ],
)
def test_amounts_are_what_people_write(found: float, expected: float) -> None:
    """With a unit, or without."""
    assert found == expected


@pytest.mark.parametrize(
    ("link", "kind", "words"),
    [
        (Link(delay=0.2, jitter=0.1), "slow link", "delay 0.2 s, jitter 0.1 s"),
        (Link(loss=0.05), "lossy link", "loss 0.05"),
        (Link(rate=bits_of("1mbit")), "slow link", "rate 1 Mbit/s"),
        (Link(rate=1.5e12, loss=1), "slow and lossy link", "loss 1, rate 1500 Gbit/s"),
        (Link(rate=64), "slow link", "rate 64 bit/s"),
    ],
)
def test_a_link_is_told_as_people_would(link: Link, kind: str, words: str) -> None:
    """In the units in which they ask for it."""
    assert (link.kind, str(link)) == (kind, words)


@pytest.mark.parametrize("said", ["", "fast", "-1mbit", "1mb", 0, -1])
def test_a_rate_that_is_none_is_refused(said: float | str) -> None:
    """And the message says what would be one."""
    with pytest.raises(ConfigError, match="1mbit, got"):
        bits_of(said)

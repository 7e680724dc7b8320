"""What containers take: as docker stats has it, at a steady rate, in bounded memory."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.stats import (
    Sample,
    Spread,
    cpu_percent,
    next_tick,
    rates,
    read_sample,
)

# As engines of release 26.1 tell it, cut down to what counts.

OF_VERSION_1: dict[str, Any] = {
    "read": "2026-11-22T03:24:18.83220066Z",
    "pids_stats": {"current": 3},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 254, "minor": 0, "op": "Read", "value": 100},
            {"major": 254, "minor": 0, "op": "Write", "value": 20},
            {"major": 254, "minor": 0, "op": "Total", "value": 120},
            {"major": 8, "minor": 0, "op": "Read", "value": 1},
        ]
    },
    "cpu_stats": {"cpu_usage": {"total_usage": 81832368}, "online_cpus": 2},
    "memory_stats": {
        "usage": 1000,
        "stats": {"inactive_file": 1, "total_inactive_file": 300, "cache": 400},
        "limit": 25276502016,
    },
    "networks": {
        "eth0": {"rx_bytes": 366, "tx_bytes": 7},
        "eth1": {"rx_bytes": 1000, "tx_bytes": 1},
    },
}
OF_VERSION_2 = {
    **OF_VERSION_1,
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 254, "minor": 0, "op": "read", "value": 101},
            {"major": 254, "minor": 0, "op": "write", "value": 20},
        ]
    },
    "memory_stats": {
        "usage": 1000,
        "stats": {"inactive_file": 300, "file": 400},
        "limit": 25276502016,
    },
}
STOPPED = {
    "read": "0001-01-01T00:00:00Z",
    "pids_stats": {},
    "blkio_stats": {"io_service_bytes_recursive": None},
    "cpu_stats": {"cpu_usage": {"total_usage": 0}},
    "memory_stats": {},
}


def sample(told: dict[str, Any], **changed: object) -> Sample:
    """Return what *told* tells."""
    found = read_sample({**told, **changed})
    assert found is not None
    return found


def test_both_versions_of_cgroups_tell_the_same() -> None:
    """Their words differ, the container does not."""
    found = sample(OF_VERSION_1)
    assert found == sample(OF_VERSION_2)
    assert (found.memory, found.limit, found.pids) == (700, 25276502016, 3)
    assert (found.received, found.sent) == (1366, 8)
    assert (found.read, found.written) == (101, 20)


def test_what_does_not_run_takes_nothing() -> None:
    """That is no sample, rather than one of zeros."""
    assert read_sample(STOPPED) is None


def test_a_container_in_the_host_s_network_has_no_figures_of_it() -> None:
    """The engine leaves them out."""
    told = {key: each for key, each in OF_VERSION_1.items() if key != "networks"}
    assert sample(told).received == 0


def test_cpu_is_told_in_per_cent_of_one() -> None:
    """Half a second's work in a quarter of one is two CPUs."""
    before = sample(OF_VERSION_1)
    later = (before.at + timedelta(seconds=0.25)).isoformat()
    usage = {"cpu_usage": {"total_usage": before.cpu + 500_000_000}}
    after = sample(OF_VERSION_1, read=later, cpu_stats=usage)
    assert cpu_percent(before, after) == pytest.approx(200)


def test_after_a_restart_there_is_nothing_to_compare_with() -> None:
    """Its counter begins anew."""
    before = sample(OF_VERSION_1)
    later = (before.at + timedelta(seconds=1)).isoformat()
    usage = {"cpu_usage": {"total_usage": 5}}
    assert (
        cpu_percent(before, sample(OF_VERSION_1, read=later, cpu_stats=usage)) is None
    )
    assert cpu_percent(None, before) is None
    assert cpu_percent(before, before) is None


def test_after_a_restart_its_count_may_have_grown_beyond_what_it_was() -> None:
    """Of a life and a half no rate can be told; of each one it can."""
    before = sample(OF_VERSION_1)
    second = timedelta(seconds=1)
    usage = {"cpu_usage": {"total_usage": before.cpu + 500_000_000}}
    after = sample(OF_VERSION_1, read=(before.at + second).isoformat(), cpu_stats=usage)
    for started in (before.at + second / 2, after.at):
        assert cpu_percent(before, after, breaks=[started]) is None
    for started in (before.at - second, before.at, after.at + second):
        assert cpu_percent(before, after, breaks=[started]) == pytest.approx(50)


def test_io_is_told_per_second() -> None:
    """By the engine's clock, whatever the monitor's interval was to be."""
    before = sample(OF_VERSION_2)
    later = (before.at + timedelta(seconds=0.25)).isoformat()
    networks = {"eth0": {"rx_bytes": 1391, "tx_bytes": 8}}
    after = sample(OF_VERSION_1, read=later, networks=networks)
    found = rates(before, after)
    assert found == pytest.approx({"rx": 100, "tx": 0, "read": 0, "write": 0})


def test_what_shrinks_has_no_rate() -> None:
    """A network that was left takes its counters with it."""
    before = sample(OF_VERSION_2)
    later = (before.at + timedelta(seconds=1)).isoformat()
    networks = {"eth0": {"rx_bytes": 366, "tx_bytes": 10}}
    after = sample(OF_VERSION_2, read=later, networks=networks)
    assert rates(before, after) == pytest.approx({"tx": 2, "read": 0, "write": 0})
    assert rates(None, after) == {}
    usage = {"cpu_usage": {"total_usage": 5}}
    assert rates(before, sample(OF_VERSION_2, read=later, cpu_stats=usage)) == {}


@given(
    st.integers(0, 10**6),
    st.floats(0, 10**6),
    st.floats(0.1, 100),
)
def test_a_late_sample_never_shifts_the_later_ones(
    tick: int, late: float, interval: float
) -> None:
    """The next one is in time, and none that could be had is left out."""
    elapsed = tick * interval + late
    after = next_tick(tick, elapsed, interval)
    assert after > tick
    assert after * interval > elapsed or math.isclose(after * interval, elapsed)
    skipped = (after - 1) * interval
    assert after == tick + 1 or skipped < elapsed or math.isclose(skipped, elapsed)


@given(st.lists(st.just(0.0) | st.floats(0, 2**40), min_size=1))
def test_percentiles_are_exact_to_one_per_cent(values: list[float]) -> None:
    """They are values that there were, or very near, and the maximum is one."""
    spread = Spread()
    for each in values:
        spread.add(each)
    found = spread.figures()
    assert found["max"] == max(values)
    for percent in (50, 90, 99):
        rank = max(1, int(len(values) * percent / 100 + 0.5))
        exact = sorted(values)[rank - 1]
        assert found[f"p{percent}"] == pytest.approx(exact, rel=0.01, abs=1)


def test_nothing_counts_as_well() -> None:
    """Who sends once in a minute sends nothing half of the time."""
    spread = Spread()
    for value in [0.0] * 8 + [1000.0] + [0.0] * 91:
        spread.add(value)
    assert spread.figures() == {"p50": 0, "p90": 0, "p99": 0, "max": 1000}


def test_without_a_value_there_are_no_figures() -> None:
    """A container that never ran has none."""
    assert Spread().figures() == {}

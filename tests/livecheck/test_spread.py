"""Percentiles are right, and what they are computed from does not grow."""

from __future__ import annotations

import statistics
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.livecheck.spread import BOUNDS, Meter, Spread

durations = st.floats(min_value=1e-4, max_value=1e5)


@given(st.lists(durations, min_size=1, max_size=200))
def test_percentiles_are_exact_to_three_percent(found: list[float]) -> None:
    """The median is one of those in the middle, the longest is the longest."""
    meter = Meter()
    for each in found:
        meter.add(each)
    spread = meter.spread()
    assert spread.count == len(found)
    assert spread.total == pytest.approx(sum(found))
    assert spread.longest == max(found)
    assert spread.p50 == pytest.approx(statistics.median_low(found), rel=0.03)
    found = [spread.p50 or 0, spread.p90 or 0, spread.p99 or 0, spread.longest]
    assert found == sorted(found)


@given(st.lists(durations | st.sampled_from(BOUNDS), max_size=100))
def test_buckets_count_what_does_not_exceed_them(found: list[float]) -> None:
    """As Prometheus counts: each bucket has all of those before it."""
    meter = Meter()
    for each in found:
        meter.add(each)
    assert meter.spread().buckets == tuple(
        sum(each <= bound for each in found) for bound in BOUNDS
    )


def test_without_durations_there_are_no_percentiles() -> None:
    """Zero would be a very good one."""
    assert Meter().spread() == Spread()
    assert Spread().as_json() == {
        "count": 0,
        "p50": None,
        "p90": None,
        "p99": None,
        "max": None,
    }


def test_what_is_out_of_range_is_taken_down_as_well() -> None:
    """A clock that jumps costs no more than a strange figure."""
    meter = Meter()
    for each in (-1.0, 0.0, 1e-9, 1e9):
        meter.add(each)
    spread = meter.spread()
    assert spread.count == 4
    assert spread.longest == 1e9
    assert spread.p50 == pytest.approx(0, abs=1e-6)


def test_a_million_durations_take_no_more_memory_than_a_thousand() -> None:
    """It may run for a year."""

    def size(count: int) -> int:
        meter = Meter()
        for number in range(count):
            meter.add(number % 977 * 0.013)
        parts = [getattr(meter, name) for name in Meter.__slots__]
        return sum(sys.getsizeof(part) for part in parts) // 64

    assert size(1_000_000) == size(1_000)

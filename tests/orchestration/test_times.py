"""Times keep their size, however many there are, and whatever they are."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.orchestration.times import Times, percentiles

_SECONDS = st.floats(0, 1e6, allow_nan=False)


@given(st.lists(st.tuples(_SECONDS, _SECONDS), min_size=1, max_size=400))
def test_counts_are_right_to_a_thousandth(taken: list[tuple[float, float]]) -> None:
    """In order, each is within 0.1 % of what was added, and a few microseconds."""
    times = Times()
    for late, took in taken:
        times.add(late, took)
    found = times.counts()
    for name, wanted in (
        ("lateness", sorted(late for late, _ in taken)),
        ("duration", sorted(took for _, took in taken)),
        ("response", sorted(late + took for late, took in taken)),
    ):
        kept = sorted(found[name].elements())
        assert len(kept) == len(wanted)
        for micros, seconds in zip(kept, wanted, strict=True):
            assert abs(micros / 1e6 - seconds) < 0.001 * seconds + 3e-6


def test_there_are_not_many_more_the_longer_it_goes_on() -> None:
    """A soak of days holds what one of minutes does."""
    times = Times()
    for number in range(200_000):
        times.add((number * 7919 % 100_003) / 1e8, (number * 104_729 % 99_991) / 1e8)
    # What takes less than a millisecond has a thousand buckets.
    assert all(
        len(each) <= 1100 for each in times.counts().values() if max(each) < 1000
    )


def test_what_was_early_is_in_time() -> None:
    """Clocks of several processes may disagree."""
    times = Times()
    times.add(-0.001, 0.5)
    assert set(times.counts()["lateness"]) == {0}


def test_to_look_changes_nothing() -> None:
    """Others look while somebody adds."""
    times = Times()
    for number in range(1000):
        times.add(number / 1000, 0.25)
        if number % 7 == 0:
            times.counts()
    assert sum(times.counts()["lateness"].values()) == 1000


def test_percentiles_are_those_of_what_was_added() -> None:
    """Ninety fast ones, and ten slow ones."""
    times = Times()
    for number in range(100):
        times.add(0.0, 0.01 if number < 90 else 2.0)
    found = percentiles("duration", times.counts()["duration"])
    assert math.isclose(found["duration_p50_ms"], 10, rel_tol=0.002)
    assert math.isclose(found["duration_p99_ms"], 2000, rel_tol=0.002)
    assert percentiles("duration", {}) == {}

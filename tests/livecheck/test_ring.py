"""How many passed and failed of late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.livecheck.ring import PARTS, Ring

#: Parts of a second each.
WINDOW = float(PARTS)

gaps = st.sampled_from([0.0, 1.0, 20.0, 59.0, 60.0]) | st.floats(0, 40)
results = st.lists(st.tuples(gaps, st.booleans()), max_size=60)


def filled(steps: list[tuple[float, bool]], begin: float = 0.0) -> tuple[Ring, float]:
    at, ring = begin, Ring.begun(WINDOW, begin)
    for gap, has_failed in steps:
        at += gap
        ring = ring.add(at, has_failed=has_failed)
    return ring, at


@given(results, gaps)
def test_it_counts_what_a_list_would(
    steps: list[tuple[float, bool]], later: float
) -> None:
    """All of the last parts, and nothing of what was before them."""
    ring, at = filled(steps)
    now = at + later
    ring = ring.at(now)
    times = [sum(gap for gap, _ in steps[: each + 1]) for each in range(len(steps))]
    counted = [
        (time, has_failed)
        for time, (_, has_failed) in zip(times, steps, strict=True)
        if int(time) > int(now) - PARTS
    ]
    failures = [time for time, has_failed in counted if has_failed]
    assert ring.failed == len(failures)
    assert ring.count == len(counted)
    assert ring.failure_ratio == (len(failures) / len(counted) if failures else 0.0)
    assert ring.first_failure == (failures[0] if failures else None)


@given(results)
def test_it_does_not_grow(steps: list[tuple[float, bool]]) -> None:
    """However much happens, there is a part for each 60th of the window."""
    ring, _ = filled([(gap / 100, failed) for gap, failed in steps] * 20)
    assert len(ring.earlier) < PARTS


@given(results, st.integers(-1000, 1000))
def test_it_moves_with_the_clock(steps: list[tuple[float, bool]], by: int) -> None:
    """A window that was saved means the same on another clock."""
    steps = [(float(int(gap)), failed) for gap, failed in steps]
    ring, _ = filled(steps)
    moved, _ = filled(steps, begin=float(by))
    assert ring.shifted(by) == moved


def test_what_is_late_counts_as_now() -> None:
    """Clocks are set, and threads overtake each other."""
    ring = Ring.begun(WINDOW, 100.0).add(100.0, has_failed=False)
    late = ring.add(20.0, has_failed=True)
    assert [late.at(at).count for at in (100, 159, 160)] == [2, 2, 0]

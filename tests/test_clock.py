"""Both clocks keep the same promises: what waits can be tested without waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pysys_orch.clock import Bell, Clock, SystemClock
from pysys_orch.errors import ConfigError
from pysys_orch.testing import ManualClock

each_clock = pytest.mark.parametrize(
    "make", [SystemClock, ManualClock], ids=["system", "manual"]
)
Make = Callable[[], Clock]


def stop(*, is_set: bool = False) -> threading.Event:
    event = threading.Event()
    if is_set:
        event.set()
    return event


@each_clock
def test_an_instant_is_never_before_an_earlier_one(make: Make) -> None:
    """A duration is never negative."""
    clock = make()
    instants = [clock.instant() for _ in range(1000)]
    assert instants == sorted(instants)


@each_clock
def test_a_stamp_is_aware_and_in_utc(make: Make) -> None:
    """Stamps of any two sources can be compared."""
    assert make().stamp().utcoffset() == timedelta(0)


@each_clock
def test_a_wait_ends_at_its_instant_and_not_before(make: Make) -> None:
    """Who waits for an instant may rely on its having come."""
    clock = make()
    instant = clock.instant() + 0.02
    assert clock.wait_until(instant, stop())
    assert clock.instant() >= instant


@each_clock
def test_an_instant_that_is_past_is_not_waited_for(make: Make) -> None:
    """What is late is done at once."""
    clock = make()
    before = clock.instant()
    assert clock.wait_until(before - 3600.0, stop())
    assert clock.instant() - before < 1.0


@each_clock
def test_a_wait_that_was_stopped_says_so(make: Make) -> None:
    """What was called off is not done, however late it is."""
    clock = make()
    before = clock.instant()
    assert not clock.wait_until(before + 3600.0, stop(is_set=True))
    assert not clock.wait_until(before - 3600.0, stop(is_set=True))
    assert clock.instant() - before < 1.0


def test_a_wait_of_the_system_clock_ends_as_soon_as_it_is_stopped() -> None:
    """The end of a run does not wait for what was planned for later."""
    clock, over = SystemClock(), threading.Event()
    before = clock.instant()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(clock.wait_until, before + 60.0, over)
        over.set()
        assert waiting.result(timeout=10.0) is False
    assert clock.instant() - before < 10.0


def test_a_week_on_a_manual_clock_takes_no_time() -> None:
    """Instant and stamp move together, by exactly as much as was waited for."""
    clock = ManualClock(instant=5.0, stamp=datetime(2025, 1, 1, tzinfo=UTC))
    assert clock.wait_until(5.0 + 7 * 86400.0, stop())
    assert clock.instant() == 5.0 + 7 * 86400.0
    assert clock.stamp() == datetime(2025, 1, 8, tzinfo=UTC)


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    """A test says how much time passes, and nobody else."""
    clock = ManualClock()
    assert (clock.instant(), clock.stamp()) == (clock.instant(), clock.stamp())
    clock.advance(1.5)
    assert clock.instant() == 1.5


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_a_manual_clock_cannot_be_moved_backwards(seconds: float) -> None:
    """It is monotonic, as the real one."""
    clock = ManualClock()
    with pytest.raises(ConfigError, match="cannot be moved by"):
        clock.advance(seconds)
    assert clock.instant() == 0.0


def test_a_manual_clock_takes_aware_stamps_only() -> None:
    """A stamp without a time zone means something else on every machine."""
    berlin = timezone(timedelta(hours=1))
    clock = ManualClock(stamp=datetime(2025, 1, 1, 1, tzinfo=berlin))
    assert clock.stamp() == datetime(2025, 1, 1, tzinfo=UTC)
    assert clock.stamp().tzinfo is UTC
    with pytest.raises(ConfigError, match="needs a time zone"):
        ManualClock(stamp=datetime(2025, 1, 1))  # noqa: DTZ001 -- that is the point


def test_threads_move_a_manual_clock_without_losing_a_step() -> None:
    """Eight threads may share it."""
    clock = ManualClock()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: clock.advance(1.0), range(2000)))
    assert clock.instant() == 2000.0


@pytest.mark.parametrize("make", [Bell, threading.Event])
def test_a_bell_is_an_event(make: Callable[[], threading.Event]) -> None:
    """Set stays set, whoever looks and however often, until it is cleared."""
    bell = make()
    assert not bell.is_set()
    assert not bell.wait(0.0)
    bell.set()
    bell.set()
    assert (bell.is_set(), bell.wait(0.0), bell.wait()) == (True, True, True)
    bell.clear()
    bell.clear()
    assert (bell.is_set(), bell.wait(0.01)) == (False, False)


@pytest.mark.parametrize("make", [Bell, threading.Event])
def test_a_bell_that_many_ring_wakes_who_waits(
    make: Callable[[], threading.Event],
) -> None:
    """What was done before it was rung is seen after it woke: nothing is lost."""
    bell, done, seen = make(), [], 0

    def ring(number: int) -> None:
        done.append(number)
        bell.set()

    with ThreadPoolExecutor(8) as pool:
        pool.map(ring, range(5000))
        while seen < 5000:
            assert bell.wait(10.0)
            bell.clear()
            seen = len(done)
    assert seen == 5000

"""Events fire when they should, and whatever they do the run comes to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.orchestration.switch import KillSwitch
from tests.orchestration.stage import Stage, library, play, simulate


class Log:
    """What was called, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def says(self, words: str) -> Callable[[], None]:
        """Return an event that says something."""
        return lambda: self.said.append(words)


def nothing() -> None:
    """Do nothing."""


def fails() -> None:
    message = "no"
    raise ValueError(message)


def dues(stage: Stage, name: str) -> list[float]:
    return [each["due"] for each in stage.of(name)]


# When things fire.


def test_events_fire_at_the_startup_on_the_grid_and_at_the_end(tmp_path: Path) -> None:
    """In the order of the file where they are due together."""
    log = Log()
    stage = simulate(
        tmp_path,
        library(a=log.says("a"), b=log.says("b"), c=log.says("c")),
        {"name": "a", "interval_sec": 4},
        {"name": "b", "interval_sec": 2, "at_startup": False},
        {"name": "c", "at_startup": False, "at_teardown": True},
    )
    assert stage.reasons == []
    assert log.said == ["a", "b", "a", "b", "b", "a", "b", "c"]
    assert dues(stage, "a") == [0.0, 4.0, 8.0]
    assert dues(stage, "b") == [2.0, 4.0, 6.0, 8.0]
    assert stage.of("c", "teardown")[0]["due"] == 10.0


def test_three_hours_take_no_time_on_a_clock_that_stands_still(tmp_path: Path) -> None:
    """With the same code that runs in earnest."""
    stage = simulate(
        tmp_path,
        library(nothing),
        {"name": "nothing", "interval_sec": 1},
        total_hours=3,
    )
    assert len(stage.lines) == 3 * 3600
    assert stage.tail == {"ended": 3 * 3600.0, "why": "its time was over"}


def test_real_firings_do_not_drift(tmp_path: Path) -> None:
    """The last one is as punctual as the first."""
    stage = play(
        tmp_path,
        library(nothing),
        {"name": "nothing", "interval_sec": 0.01},
        duration=2,
    )
    assert len(stage.of("nothing")) == 200
    late = sorted(each["lateness"] for each in stage.of("nothing")[100:])
    assert late[50] < 0.05


def test_a_run_takes_as_long_as_it_says_also_if_nothing_is_left_to_do(
    tmp_path: Path,
) -> None:
    """And not a tick longer."""
    begin = time.monotonic()
    play(tmp_path, library(nothing), "nothing", duration=0.3)
    assert 0.3 <= time.monotonic() - begin < 3


def test_a_run_of_no_time_begins_and_ends(tmp_path: Path) -> None:
    """Startup events have all the time that a grace period is."""
    log = Log()

    def slow() -> None:
        time.sleep(0.2)
        log.said.append("slow")

    stage = play(
        tmp_path,
        library(slow, end=log.says("end")),
        "slow",
        {"name": "end", "at_startup": False, "at_teardown": True},
        total_hours=0,
    )
    assert stage.reasons == []
    assert log.said == ["slow", "end"]


# What becomes of failures.


class MuteError(Exception):
    """A failure that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ValueError("no"), "ValueError: no"),
        (AssertionError(), "AssertionError"),
        (SystemExit(3), "SystemExit: 3"),
        (MuteError(), "MuteError, of which str() fails with RuntimeError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_whatever_an_event_raises_the_test_fails(
    tmp_path: Path, failure: BaseException, words: str
) -> None:
    """And the schedule goes on."""

    def breaks() -> None:
        raise failure

    stage = play(
        tmp_path,
        library(breaks),
        {"name": "breaks", "interval_sec": 0.1},
        duration=0.25,
    )
    assert stage.reasons == [
        f"FAILED: breaks failed 3 of 3 times, first after 0.000 s: {words}"
    ]


def test_a_failure_of_a_teardown_event_counts(tmp_path: Path) -> None:
    """It is awaited, as all are."""
    stage = simulate(
        tmp_path,
        library(fails),
        {"name": "fails", "at_startup": False, "at_teardown": True},
    )
    assert stage.reasons == ["FAILED: fails failed in the teardown: ValueError: no"]


@pytest.mark.parametrize(
    ("policy", "fails_the_test"),
    [
        ("fail", True),
        ("ignore", False),
        ({"max_failures": 5}, False),
        ({"max_failures": 4}, True),
        ({"max_ratio": 0.5}, False),
        ({"max_ratio": 0.49}, True),
    ],
)
def test_a_description_says_how_much_may_fail(
    tmp_path: Path, policy: object, *, fails_the_test: bool
) -> None:
    """By number, by share, or not at all."""
    count = iter(range(10))

    def flaky() -> None:
        if next(count) % 2:
            raise ValueError

    stage = simulate(
        tmp_path,
        library(flaky),
        {"name": "flaky", "interval_sec": 1, "on_failure": policy},
    )
    assert stage.outcomes("flaky").count("failed") == 5
    assert bool(stage.reasons) is fails_the_test


def test_a_failure_may_stop_the_run(tmp_path: Path) -> None:
    """Teardown events fire all the same."""
    log = Log()
    begin = time.monotonic()
    stage = play(
        tmp_path,
        library(fails, end=log.says("end")),
        {"name": "fails", "on_failure": "stop", "start_after": 0.2},
        {"name": "end", "at_startup": False, "at_teardown": True},
        duration=60,
    )
    assert time.monotonic() - begin < 30
    assert log.said == ["end"]
    assert stage.tail["why"] == "an event failed that stops it"
    assert stage.reasons == ["FAILED: fails failed after 0.200 s: ValueError: no"]


def test_what_fails_is_tried_again_if_it_says_so(tmp_path: Path) -> None:
    """As a part of the same firing."""
    tries = []

    def third_time() -> None:
        tries.append(1)
        if len(tries) % 3:
            raise ValueError

    event = {"name": "third_time", "retries": 2, "retry_delay_sec": 0.5}
    stage = simulate(tmp_path, library(third_time), event)
    assert stage.reasons == []
    assert len(tries) == 3
    assert stage.of("third_time")[0]["ended"] == 1.0


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"retry_delay_sec": 0.5, "retry_backoff": 2}, [0, 0.5, 1.5, 3.5, 7.5]),
        ({"retry_delay_sec": 0.5, "retry_backoff": 1.5}, [0, 0.5, 1.25, 2.375, 4.0625]),
        ({"retry_delay_sec": 1}, [0, 1, 2, 3, 4]),
        ({"retry_delay_sec": 0, "retry_backoff": 2}, [0] * 5),
        # An hour is long enough, unless somebody wants more.
        ({"retry_delay_sec": 900, "retry_backoff": 3}, [0, 900, 3600, 7200, 10800]),
        (
            {"retry_delay_sec": 7200, "retry_backoff": 100},
            [0, 7200, 14400, 21600, 28800],
        ),
    ],
)
def test_it_is_tried_again_later_each_time_if_it_says_so(
    tmp_path: Path, keys: dict[str, Any], expected: list[float]
) -> None:
    """So that what is overloaded has time to recover."""
    tries = []

    def never(clock: Clock) -> None:
        tries.append(clock.instant())
        raise ValueError

    event = {"name": "never", "retries": 4, **keys}
    stage = simulate(tmp_path, library(never), event)
    assert tries == expected
    assert stage.outcomes("never") == ["failed"]


# What still runs when it is due again.


class Slow:
    """An event that runs until it is let go, and counts how many do at once."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.most = self.now = self.calls = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.calls += 1
            self.now += 1
            self.most = max(self.most, self.now)
        self.go.wait(0.5)
        with self._lock:
            self.now -= 1


def test_a_firing_that_is_due_while_the_event_runs_is_skipped(tmp_path: Path) -> None:
    """By default: counted, and never two at once."""
    slow = Slow()
    stage = play(
        tmp_path,
        library(slow=slow),
        {"name": "slow", "interval_sec": 0.1},
        duration=1.25,
    )
    assert slow.most == 1
    assert stage.outcomes("slow").count("skipped") >= 6
    assert stage.outcomes("slow").count("ok") >= 2
    assert len(stage.of("slow")) == 13
    assert stage.reasons == []


def test_a_firing_may_wait_for_the_one_before(tmp_path: Path) -> None:
    """As many as may wait; one more is skipped."""
    slow = Slow()
    event = {"name": "slow", "interval_sec": 0.1, "overlap": "queue", "max_queued": 2}
    stage = play(tmp_path, library(slow=slow), event, duration=1.25)
    assert slow.most == 1
    outcomes = stage.outcomes("slow")
    assert outcomes.count("skipped") >= 5
    assert outcomes.count("cancelled") <= 2
    assert len(outcomes) == 13
    waited = [each for each in stage.of("slow") if each["outcome"] == "ok"]
    assert max(each["lateness"] for each in waited) > 0.2


def test_firings_may_run_at_the_same_time(tmp_path: Path) -> None:
    """As many as are allowed."""
    slow = Slow()
    event = {
        "name": "slow",
        "interval_sec": 0.1,
        "overlap": "parallel",
        "max_parallel": 3,
    }
    stage = play(tmp_path, library(slow=slow), event, duration=1)
    assert slow.most == 3
    assert stage.outcomes("slow").count("skipped") >= 2


def test_a_firing_may_end_the_one_before(tmp_path: Path) -> None:
    """By its kill switch; then it is its own turn."""

    def until_told(kill_switch: KillSwitch) -> None:
        kill_switch.wait()

    event = {"name": "until_told", "interval_sec": 0.2, "overlap": "cancel"}
    stage = play(tmp_path, library(until_told), event, duration=0.7)
    assert stage.outcomes("until_told") == ["cancelled"] * 3 + ["ok"]
    assert stage.reasons == []


def test_no_firing_is_delayed_for_lack_of_workers_in_silence(tmp_path: Path) -> None:
    """After a second it is dropped, and counted."""
    hog = Slow()
    stage = play(
        tmp_path,
        library(
            nothing,
            hog=lambda: time.sleep(2.5),
        ),
        {"name": "hog"},
        {
            "name": "nothing",
            "interval_sec": 0.5,
            "at_startup": False,
            "overlap": "parallel",
        },
        duration=2.2,
        max_workers=1,
    )
    del hog
    # The first one waits as long as it has to.
    assert stage.outcomes("nothing")[0] == "ok"
    assert "dropped" in stage.outcomes("nothing")
    assert len(stage.of("nothing")) == 4


# What fires because of something else.


def test_an_event_may_fire_after_another_one(tmp_path: Path) -> None:
    """When that has succeeded, has failed, or in any case; at once or later."""
    count = iter(range(4))

    def flaky() -> None:
        if next(count) % 2:
            raise ValueError

    stage = simulate(
        tmp_path,
        library(flaky, good=nothing, bad=nothing, always=nothing),
        {"name": "flaky", "interval_sec": 2, "on_failure": "ignore", "count": 4},
        {"name": "good", "after": "flaky"},
        {"name": "bad", "after": {"event": "flaky", "on": "failure", "delay_sec": 0.5}},
        {"name": "always", "after": {"event": "flaky", "on": "any"}},
    )
    assert dues(stage, "good") == [0.0, 4.0]
    assert dues(stage, "bad") == [2.5, 6.5]
    assert dues(stage, "always") == [0.0, 2.0, 4.0, 6.0]


def test_a_fault_is_undone_after_its_duration(tmp_path: Path) -> None:
    """And at the end of the run, if that comes first."""
    log = Log()
    stage = simulate(
        tmp_path,
        library(cut=log.says("cut"), heal=log.says("heal")),
        {"name": "cut", "interval_sec": 4, "duration_sec": 3, "undo": "heal"},
    )
    assert log.said == ["cut", "heal"] * 3
    assert [each["due"] for each in stage.of("cut", "undo")] == [3.0, 7.0, 10.0]


def test_a_fault_that_failed_is_undone_at_once(tmp_path: Path) -> None:
    """It may be half done."""
    log = Log()
    stage = simulate(
        tmp_path,
        library(cut=fails, heal=log.says("heal")),
        {"name": "cut", "duration_sec": 3, "undo": "heal"},
    )
    assert log.said == ["heal"]
    assert dues(stage, "cut") == [0.0, 0.0]


def test_a_fault_that_hangs_is_undone(tmp_path: Path) -> None:
    """As soon as it is left alone."""
    log = Log()
    go = threading.Event()
    event = {
        "name": "cut",
        "timeout_sec": 0.1,
        "grace_sec": 0.1,
        "duration_sec": 60,
        "undo": "heal",
    }
    stage = play(
        tmp_path,
        library(cut=lambda: go.wait(60), heal=log.says("heal")),
        event,
        duration=1,
    )
    go.set()
    assert log.said == ["heal"]
    assert stage.of("cut", "undo")[0]["due"] < 0.9


def test_an_undo_that_is_under_way_is_waited_for(tmp_path: Path) -> None:
    """Before teardown events fire."""
    log = Log()

    def heal() -> None:
        time.sleep(0.5)
        log.said.append("healed")

    play(
        tmp_path,
        library(nothing, heal, end=log.says("end")),
        {"name": "nothing", "duration_sec": 0.2, "undo": "heal"},
        {"name": "end", "at_startup": False, "at_teardown": True},
        duration=0.4,
    )
    assert log.said == ["healed", "end"]


def test_what_cannot_be_undone_fails_the_test(tmp_path: Path) -> None:
    """Also if the fault itself went well."""
    stage = simulate(
        tmp_path,
        library(nothing, fails),
        {"name": "nothing", "duration_sec": 3, "undo": "fails", "on_failure": "ignore"},
    )
    assert stage.reasons == [
        "FAILED: nothing could not be undone by fails: ValueError: no"
    ]


# What does not end.


def test_a_call_over_its_time_is_told_to_end_and_the_schedule_goes_on(
    tmp_path: Path,
) -> None:
    """With the place in which it hangs."""

    def hangs(kill_switch: KillSwitch) -> None:
        kill_switch.wait(60)

    stage = play(
        tmp_path,
        library(hangs, nothing),
        {"name": "hangs", "timeout_sec": 0.2, "grace_sec": 5},
        {"name": "nothing", "interval_sec": 0.1},
        duration=0.95,
    )
    assert stage.outcomes("hangs") == ["timed out"]
    assert stage.outcomes("nothing") == ["ok"] * 10
    (reason,) = stage.reasons
    assert reason.startswith("TIMEDOUT: hangs did not end within 0.2 s after 0.000 s: ")
    assert "test_orchestrator.py" in reason


def test_a_call_that_listens_to_nobody_is_left_alone(tmp_path: Path) -> None:
    """The event is called again, in another thread; the run is not held up."""
    go = threading.Event()

    def hangs() -> None:
        go.wait(60)

    begin = time.monotonic()
    event = {"name": "hangs", "interval_sec": 0.4, "timeout_sec": 0.1, "grace_sec": 0.1}
    stage = play(tmp_path, library(hangs), event, duration=1)
    assert time.monotonic() - begin < 10
    go.set()
    assert stage.outcomes("hangs") == ["timed out"] * 3
    assert stage.reasons[0].startswith(
        "TIMEDOUT: hangs did not end within 0.1 s 3 of 3"
    )


def test_what_hangs_in_the_end_is_named(tmp_path: Path) -> None:
    """And the run ends nonetheless, after the grace period."""
    go = threading.Event()

    def hangs() -> None:
        go.wait(60)

    begin = time.monotonic()
    stage = play(
        tmp_path, library(hangs), {"name": "hangs", "grace_sec": 0.3}, duration=0.2
    )
    assert time.monotonic() - begin < 10
    go.set()
    assert stage.outcomes("hangs") == ["abandoned"]
    (reason,) = stage.reasons
    assert reason.startswith(
        "TIMEDOUT: hangs had not ended 0.3 s after the run did: File"
    )


def test_what_hangs_in_the_teardown_is_named(tmp_path: Path) -> None:
    """Others after it still fire."""
    log = Log()
    go = threading.Event()

    def hangs() -> None:
        go.wait(60)

    stage = play(
        tmp_path,
        library(hangs, end=log.says("end")),
        {
            "name": "hangs",
            "at_startup": False,
            "at_teardown": True,
            "timeout_sec": 0.2,
            "grace_sec": 0.1,
        },
        {"name": "end", "at_startup": False, "at_teardown": True},
        duration=0.1,
    )
    go.set()
    assert log.said == ["end"]
    assert stage.reasons[0].startswith(
        "TIMEDOUT: hangs did not end within 0.2 s in the"
    )


# How a run ends.


def test_a_kill_switch_that_is_set_ends_the_run_at_once(tmp_path: Path) -> None:
    """Teardown events fire, and the test fails."""
    log = Log()

    def pulls(kill_switch: KillSwitch) -> None:
        kill_switch.set()

    def end(kill_switch: KillSwitch) -> None:
        log.said.append(f"end {kill_switch.is_set()}")

    begin = time.monotonic()
    stage = play(
        tmp_path,
        library(pulls, end),
        {"name": "pulls", "at_startup": True, "start_after": 0.2},
        {"name": "end", "at_startup": False, "at_teardown": True},
        duration=60,
    )
    assert time.monotonic() - begin < 30
    assert log.said == ["end False"], "the end has a switch of its own"
    (reason,) = stage.reasons
    assert reason.startswith("FAILED: the kill switch was set after 0.2")


def test_the_switch_is_set_when_the_run_ends(tmp_path: Path) -> None:
    """Who waits for it ends well."""
    seen = []

    def plays(kill_switch: KillSwitch) -> None:
        seen.append(kill_switch.wait(60))

    stage = play(tmp_path, library(plays), "plays", duration=0.2)
    assert seen == [True]
    assert stage.outcomes("plays") == ["ok"]
    assert stage.reasons == []


def test_an_aborted_run_ends_in_good_order(tmp_path: Path) -> None:
    """Teardown events fire."""
    log = Log()
    aborting = threading.Event()
    stage = play(
        tmp_path,
        library(abort=aborting.set, end=log.says("end")),
        {"name": "abort", "start_after": 0.1},
        {"name": "end", "at_startup": False, "at_teardown": True},
        duration=60,
        is_aborting=aborting.is_set,
    )
    assert log.said == ["end"]
    assert stage.tail["why"] == "it was aborted"


def test_what_was_due_and_never_ran_fails_the_test(tmp_path: Path) -> None:
    """Nothing passes because nothing happened."""
    go = threading.Event()
    stage = play(
        tmp_path,
        library(nothing, hog=lambda: go.wait(60)),
        {"name": "hog", "grace_sec": 0.1},
        {"name": "nothing", "interval_sec": 0.1, "count": 3, "grace_sec": 0.1},
        duration=0.5,
        max_workers=1,
    )
    go.set()
    assert sorted(stage.outcomes("nothing")) == ["cancelled", "skipped", "skipped"]
    assert "FAILED: nothing was due and never ran: 1 cancelled, 2 skipped" in (
        stage.reasons
    )


def test_a_run_that_cannot_keep_up_says_what_it_missed(tmp_path: Path) -> None:
    """Firings that are a second late are not made up for."""

    def stops_the_clock(clock: Clock) -> None:
        clock.wait_until(clock.instant() + 5, threading.Event())

    stage = simulate(
        tmp_path,
        library(stops_the_clock, nothing),
        {"name": "stops_the_clock", "start_after": 2.5},
        {"name": "nothing", "interval_sec": 0.5},
    )
    outcomes = stage.outcomes("nothing")
    assert outcomes.count("missed") == 8
    assert outcomes.count("ok") == 12
    assert len(outcomes) == 20


def figures(stage: Stage, name: str) -> dict[str, Any]:
    (tally,) = [each for each in stage.report.tallies if each.name == name]
    return tally.figures()


def test_times_are_measured_from_when_firings_are_due(tmp_path: Path) -> None:
    """A service that hides its outages by not being asked is found out."""
    stage = play(
        tmp_path,
        library(slow=lambda: time.sleep(0.3)),
        {"name": "slow", "interval_sec": 0.1, "overlap": "queue"},
        duration=0.55,
        thresholds={"slow.response_p99_ms": "<400", "slow.ok_count": ">=1"},
    )
    found = figures(stage, "slow")
    assert 290 < found["duration_p50_ms"] < 400
    assert found["response_max_ms"] > 450
    (reason,) = stage.reasons
    assert reason.startswith("FAILED: slow.response_p99_ms < 400 does not hold: it is ")


# What is easily lost.


def test_what_takes_faults_back_and_ends_a_run_needs_no_free_worker(
    tmp_path: Path,
) -> None:
    """It is done though all workers hang."""
    log = Log()
    go = threading.Event()
    hang = {
        "name": "hang",
        "interval_sec": 0.2,
        "overlap": "parallel",
        "grace_sec": 0.1,
        "timeout_sec": 0.1,
        "on_failure": "ignore",
    }
    play(
        tmp_path,
        library(
            cut=log.says("cut"),
            heal=log.says("heal"),
            end=log.says("end"),
            hang=lambda: go.wait(60),
        ),
        {"name": "cut", "duration_sec": 60, "undo": "heal"},
        hang,
        {"name": "end", "at_startup": False, "at_teardown": True},
        duration=1,
        max_workers=1,
    )
    go.set()
    assert log.said == ["cut", "heal", "end"]


def test_who_waits_for_a_thread_gets_that_of_one_that_was_given_up(
    tmp_path: Path,
) -> None:
    """At once, and not when the next firing is due."""
    log = Log()
    go = threading.Event()
    stage = play(
        tmp_path,
        library(hang=lambda: go.wait(60), b=log.says("b")),
        {
            "name": "hang",
            "timeout_sec": 0.1,
            "grace_sec": 0.1,
            "on_failure": "ignore",
        },
        "b",
        duration=1,
        max_workers=1,
    )
    go.set()
    assert log.said == ["b"]
    assert stage.of("b")[0]["started"] < 0.9


@pytest.mark.parametrize(
    "event",
    [
        {"at_startup": False, "at_teardown": True},
        {"at_startup": True},
    ],
)
def test_a_kill_switch_that_is_set_late_fails_the_test_too(
    tmp_path: Path, event: dict[str, Any]
) -> None:
    """In the teardown, or when the time is over anyway."""

    def pulls(kill_switch: KillSwitch) -> None:
        time.sleep(0.1)
        kill_switch.set()

    stage = play(tmp_path, library(pulls), {"name": "pulls", **event}, duration=0)
    assert any("the kill switch was set" in each for each in stage.reasons)


def test_nothing_is_begun_any_more_when_a_run_ends(tmp_path: Path) -> None:
    """What would follow from its last events is written down as cancelled."""
    log = Log()
    go = threading.Event()
    stage = play(
        tmp_path,
        library(
            hang=lambda: go.wait(60),
            fine=nothing,
            later=log.says("x"),
            now=log.says("y"),
        ),
        {"name": "hang", "timeout_sec": 0.1, "grace_sec": 0.5, "on_failure": "ignore"},
        "fine",
        {"name": "now", "after": {"event": "hang", "on": "failure"}},
        {"name": "later", "after": {"event": "fine", "delay_sec": 60}},
        duration=0.3,
    )
    go.set()
    assert log.said == []
    assert stage.outcomes("now") == ["cancelled"]
    assert stage.outcomes("later") == ["cancelled"]


def test_what_fires_after_another_has_its_own_bounds(tmp_path: Path) -> None:
    """How often, and until when."""
    stage = simulate(
        tmp_path,
        library(tick=nothing, few=nothing, early=nothing),
        {"name": "tick", "interval_sec": 1},
        {"name": "few", "after": "tick", "count": 2},
        {"name": "early", "after": "tick", "start_after": 2, "end_after": 4},
    )
    assert dues(stage, "few") == [0.0, 1.0]
    assert dues(stage, "early") == [2.0, 3.0, 4.0]


def test_a_fault_in_force_is_not_made_again(tmp_path: Path) -> None:
    """However near its firings are: each has its own time."""
    log = Log()
    stage = simulate(
        tmp_path,
        library(tick=nothing, cut=log.says("cut"), heal=log.says("heal")),
        {"name": "tick", "interval_sec": 1},
        {"name": "cut", "after": "tick", "duration_sec": 2.5, "undo": "heal"},
    )
    assert log.said == ["cut", "heal"] * 4
    assert stage.outcomes("cut").count("skipped") == 6


def test_a_retry_is_not_waited_for_when_the_run_ends(tmp_path: Path) -> None:
    """And the failure is told, and no time-out."""
    begin = time.monotonic()
    event = {"name": "fails", "retries": 3, "retry_delay_sec": 60}
    stage = play(tmp_path, library(fails), event, duration=0.2)
    assert time.monotonic() - begin < 5
    assert stage.reasons == ["FAILED: fails failed after 0.000 s: ValueError: no"]


def test_a_call_that_was_given_up_is_not_tried_again(tmp_path: Path) -> None:
    """Others may run meanwhile."""
    tries = []
    go = threading.Event()

    def slow() -> None:
        tries.append(1)
        go.wait(0.6)
        raise ValueError

    event = {
        "name": "slow",
        "retries": 5,
        "retry_delay_sec": 0,
        "timeout_sec": 0.2,
        "grace_sec": 0.1,
    }
    play(tmp_path, library(slow), event, duration=1.5)
    assert len(tries) == 1


def test_calls_leave_no_files_open(tmp_path: Path) -> None:
    """Also those that have switches of their own, time-outs or undos, and fail."""

    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    most = []

    def looks(kill_switch: KillSwitch) -> None:
        most.append(opened())
        raise ValueError

    before = opened()
    play(
        tmp_path,
        library(looks, nothing),
        {
            "name": "looks",
            "interval_sec": 0.005,
            "timeout_sec": 60,
            "duration_sec": 0.001,
            "undo": "nothing",
            "on_failure": "ignore",
        },
        duration=2,
    )
    assert len(most) > 50
    assert max(most) - before < 100
    assert opened() - before < 20


def test_a_process_that_stood_still_blames_nobody(tmp_path: Path) -> None:
    """A call that had no time to end is not timed out."""
    clock = Jumping()
    stage = play(
        tmp_path,
        library(short=lambda: clock.jump(5)),
        {"name": "short", "timeout_sec": 1},
        duration=0.5,
        clock=clock,
    )
    assert stage.outcomes("short") == ["ok"]


class Jumping(SystemClock):
    """A clock of a process that was stopped for a while."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def instant(self) -> float:
        """Return monotonic seconds, and those that were lost."""
        return super().instant() + self._ahead

    def jump(self, seconds: float) -> None:
        """Lose some seconds, and go on for a moment."""
        self._ahead += seconds
        time.sleep(0.1)

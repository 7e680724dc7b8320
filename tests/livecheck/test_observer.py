"""What is shown of cases is right, and takes no more memory as time goes by."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from pysys_orch.livecheck import Case, Condition, LocalBus, Signal, State, Topic
from pysys_orch.livecheck.observer import FAILURES, OUTCOMES, Observer, Record
from tests.livecheck.stage import Stage, play


class Timed(Case):
    """Waits for a signal, and fails if that says so."""

    go: Signal[Any]
    never: Signal[int]
    probability = 1.0
    state_transition_delay = 10.0
    max_consecutive_failures = 3
    warn_stalled_after = 1000.0

    async def run(self, *_: Any) -> None:
        if await self.go.wait(timeout=100) != "good":
            raise AssertionError("it is bad\nvery bad")


async def run(stage: Stage, id_: str, value: str, after: float = 0.0) -> None:
    """Have a test executed that is sent a value after a while."""
    case = stage.app.cases["Timed"]
    await case.trigger(id_)
    await asyncio.sleep(after)
    await case.go.send(value, key=id_, force=True)  # type: ignore[attr-defined] # a signal
    await stage.idle()


def test_a_case_that_never_ran_is_shown() -> None:
    """All is empty, and nothing is zero that is not known."""

    async def scene(stage: Stage) -> None:
        observer = Observer(stage.app)
        stage.app.add_case(Timed)
        await asyncio.sleep(5)
        (view,) = observer.views()
        assert (view.status, view.condition) == (State.INIT, Condition.UNKNOWN)
        assert (view.executions, view.history, view.failures) == (0, (), ())
        assert view.last_test is None
        assert view.why is None
        assert view.runtime.p50 is None
        assert list(view.signals) == ["go", "never"]
        with pytest.raises(KeyError):
            observer.view("Tmed")

    play(scene)


def test_what_became_of_tests_is_shown() -> None:
    """Figures are of the right ones, and in the right order."""

    async def scene(stage: Stage) -> None:
        observer = Observer(stage.app)
        stage.app.add_case(Timed)
        await run(stage, "a", "good", after=2)
        await run(stage, "b", "bad", after=4)
        await run(stage, "c", "bad")
        stamp = stage.clock.stamp()
        view = observer.view("Timed")
        assert view.status is State.FAIL
        assert view.condition is Condition.HEALTHY
        assert [(each.test, each.state.value) for each in view.history] == [
            ("a", "PASS"),
            ("b", "FAIL"),
            ("c", "FAIL"),
        ]
        assert [each.runtime for each in view.history] == [2, 4, 0]
        assert view.history[-1].at == stamp
        assert [each.outcome.test for each in view.failures] == ["c", "b"]
        assert view.failures[0].error == "it is bad\nvery bad"
        assert "test_observer.py" in (view.failures[0].traceback or "")
        assert view.by_state[State.FAIL] == 2
        assert (view.consecutive_failures, view.total_failures) == (2, 2)
        assert (view.executions, view.waiting) == (3, 0)
        assert (view.last_test, view.failing_since) == (stamp, stamp)
        assert view.runtime.count == 1
        assert view.runtime.longest == 2
        assert view.signals["go"].count == 3
        assert view.signals["go"].longest == 4
        assert view.signals["never"].count == 0

    play(scene)


def test_conditions_are_shown_with_since_when_and_why() -> None:
    """From the first failure on, not from when there were enough of them."""

    async def scene(stage: Stage) -> None:
        observer = Observer(stage.app)
        stage.app.add_case(Timed)
        await run(stage, "a", "good")
        stamps = []
        for each in "bcd":
            await asyncio.sleep(7)
            await run(stage, each, "bad")
            stamps.append(stage.clock.stamp())
        view = observer.view("Timed")
        assert (view.condition, view.why) == (
            Condition.FAILING,
            "Failed after 3 (max=3)",
        )
        assert view.since == stamps[0]
        await asyncio.sleep(20)
        await run(stage, "e", "good")
        view = observer.view("Timed")
        assert (view.condition, view.why) == (Condition.HEALTHY, None)
        assert view.since == stage.clock.stamp()
        await asyncio.sleep(1100)
        view = observer.view("Timed")
        assert (view.condition, view.status) == (Condition.STALLED, State.STALL)
        assert (view.why, view.stalls) == ("no test for 1000 s (max=1000)", 1)
        assert view.transitions == {
            (Condition.UNKNOWN, Condition.HEALTHY): 1,
            (Condition.HEALTHY, Condition.FAILING): 1,
            (Condition.FAILING, Condition.HEALTHY): 1,
            (Condition.HEALTHY, Condition.STALLED): 1,
        }

    play(scene)


def test_a_mark_changes_when_the_view_does() -> None:
    """Nobody has to ask for what has not changed."""

    async def scene(stage: Stage) -> None:
        observer = Observer(stage.app)
        case = stage.app.add_case(Timed)
        await asyncio.sleep(1)
        first = observer.marks()
        assert observer.marks() == first
        await case.trigger("a")
        await asyncio.sleep(1)
        second = observer.marks()
        assert observer.view("Timed").waiting == 1
        await case.go.send("good", key="a", force=True)
        await stage.idle()
        third = observer.marks()
        assert observer.view("Timed").executions == 1
        assert first != second != third
        case.active = False
        assert observer.marks() != third
        assert not observer.view("Timed").is_active
        assert observer.view("Timed") is observer.view("Timed")

    play(scene)


def test_reports_of_others_and_what_is_no_report_leave_no_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The bus may carry those of many workers."""
    test = {"id": "a"}

    async def scene(stage: Stage) -> None:
        observer = Observer(stage.app)
        stage.app.add_case(Timed)
        before = observer.view("Timed").history
        for report in (
            {"case_name": "Other", "state": "PASS", "signal_latency": {}, "test": test},
            {"case_name": "Timed"},
            {"case_name": "Timed", "state": "WELL", "signal_latency": {}, "test": test},
            {},
        ):
            await stage.app.bus.send(Topic.REPORTS, "a", report)
        assert observer.view("Timed").history == before
        assert len(observer.views()) == 1

    # A stage reads all reports, and would not understand these.
    class Deaf(Stage):
        async def _hear(self, _key: str, message: dict[str, Any]) -> None:
            pass

    async def whole() -> None:
        from pysys_orch.testing import ManualClock

        stage = Deaf(ManualClock(), bus=LocalBus())
        async with stage.app:
            await scene(stage)

    asyncio.run(whole())
    assert caplog.text.count("ignored what is no report") == 2


def test_json_of_a_view_is_json_and_its_short_form_has_no_tracebacks() -> None:
    """The long form is for one case at a time."""

    async def scene(stage: Stage) -> None:
        observer = Observer(stage.app)
        stage.app.add_case(Timed)
        await run(stage, "a\ud800", "bad")
        view = observer.view("Timed")
        whole = json.loads(json.dumps(view.as_json()))
        short = json.loads(json.dumps(view.as_json(is_whole=False)))
        assert "test_observer.py" in whole["failures"][0].pop("traceback")
        assert whole == short
        assert whole["history"][0]["id"] == "a\ud800"
        assert whole["since"].endswith("Z")
        assert set(whole["signals"]["go"]) == {"count", "p50", "p90", "p99", "max"}

    play(scene)


def test_of_a_million_tests_no_more_is_kept_than_of_a_thousand() -> None:
    """It may run for a year, and fail all the time, with long words."""

    async def size(count: int) -> int:
        from pysys_orch.testing import ManualClock

        record = Record(latency={})
        stamp = ManualClock().stamp()
        words = "x" * 30_000
        for number in range(count):
            is_bad = number % 10 == 0
            report = {
                "state": "FAIL" if is_bad else "PASS",
                "signal_latency": {f"signal {number}": 1.0},
                "test": {"id": f"{number:020}" * 20},
                "runtime": 0.25,
                "error": words + str(number) if is_bad else None,
                "traceback": words + str(number) if is_bad else None,
            }
            record.hear(report, stamp)
        assert len(record.outcomes) == OUTCOMES
        assert len(record.failures) == FAILURES
        held = [*record.outcomes, *(each.outcome for each in record.failures)]
        texts = [each.test for each in held]
        texts += [each.error for each in record.failures]
        texts += [each.traceback or "" for each in record.failures]
        assert not record.latency
        return sum(map(sys.getsizeof, texts))

    small, large = asyncio.run(size(1_000)), asyncio.run(size(1_000_000))
    assert large == small
    assert large < 300_000

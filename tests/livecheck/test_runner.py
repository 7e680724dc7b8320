"""However a test ends, it is known how: by its hooks, its report, and the log."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from pysys_orch.livecheck import (
    Case,
    LiveCheckError,
    LiveCheckTestFailed,
    LiveCheckTestRaised,
    LiveCheckTestSkipped,
    LiveCheckTestTimeout,
    Signal,
    State,
    TestExecution,
    TestReport,
    TestRunner,
)
from tests.livecheck.stage import Stage, play


class Any_(Case):  # noqa: N801 -- a case that does as it is told
    never: Signal[int]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[str] = []

    async def run(self, does: str = "") -> None:
        self.calls.append("run")
        self.current_execution.log_info("100% done")  # type: ignore[union-attr]
        match does:
            case "fail":
                assert not does, "not equal"
            case "raise":
                raise KeyError("mine")
            case "timeout":
                await self.never.wait(timeout=1)
            case "skip":
                raise LiveCheckTestSkipped("not today")
            case "timeout of its own":
                raise TimeoutError
            case "hang":
                await asyncio.Event().wait()
            case "exit":
                raise SystemExit(3)
            case "refused":
                raise LiveCheckTestFailed("HTTP 404")

    async def on_test_start(self, runner: TestRunner) -> None:
        self.calls.append("start")

    async def on_test_skipped(self, runner: TestRunner) -> None:
        self.calls.append("skipped")

    async def on_test_failed(self, runner: TestRunner, exc: BaseException) -> None:
        self.calls.append("failed")

    async def on_test_error(self, runner: TestRunner, exc: BaseException) -> None:
        self.calls.append("error")

    async def on_test_timeout(self, runner: TestRunner, exc: BaseException) -> None:
        self.calls.append("timeout")

    async def on_test_pass(self, runner: TestRunner) -> None:
        self.calls.append("pass")

    async def post_report(self, report: TestReport) -> None:
        self.calls.append("report")
        await super().post_report(report)


def made(case: Case, *args: Any, age: float = 0.0, left: float = 60.0) -> TestExecution:
    stamp = case.clock.stamp()
    return TestExecution(
        "a",
        case.name,
        stamp - timedelta(seconds=age),
        [*args],
        {},
        stamp + timedelta(seconds=left),
    )


@pytest.mark.parametrize(
    ("does", "state", "hook", "error", "raises", "cause"),
    [
        ("", "PASS", "pass", None, None, None),
        ("fail", "FAIL", "failed", "not equal", LiveCheckTestFailed, AssertionError),
        ("refused", "FAIL", "failed", "HTTP 404", LiveCheckTestFailed, None),
        ("raise", "ERROR", "error", "'mine'", LiveCheckTestRaised, KeyError),
        ("exit", "ERROR", "error", "3", LiveCheckTestRaised, SystemExit),
        (
            "timeout of its own",
            "ERROR",
            "error",
            "TimeoutError",
            LiveCheckTestRaised,
            TimeoutError,
        ),
        (
            "timeout",
            "TIMEOUT",
            "timeout",
            "Timed out waiting for signal never (1.0)",
            LiveCheckTestTimeout,
            None,
        ),
        ("skip", "SKIP", "skipped", "not today", LiveCheckTestSkipped, None),
    ],
)
def test_each_end_has_its_state_hook_report_and_exception(
    does: str,
    state: str,
    hook: str,
    error: str | None,
    raises: type[LiveCheckError] | None,
    cause: type[BaseException] | None,
) -> None:
    """Started, outcome, report: in this order, for all of them."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Any_)
        raised: BaseException | None = None
        try:
            await case.execute(made(case, does))
        except LiveCheckError as failure:
            raised = failure
        assert case.calls == ["start", "run", hook, "report"]
        assert type(raised) is (raises or type(None))
        if raised is not None:
            assert type(raised.__cause__) is (cause or type(None))
        (report,) = stage.reports
        assert report.state is State(state)
        if error is None:
            assert report.error is report.traceback is None
        else:
            assert report.error is not None
            assert report.error.startswith(error)
            assert report.traceback is not None
            assert "in Any_.run" in report.traceback
        assert report.runtime == (1.0 if does == "timeout" else 0.0)
        assert case.total_by_state == Counter({State(state): 1})

    play(scene)


def test_a_traceback_shows_the_line_and_nothing_of_what_called_the_test() -> None:
    """Whoever reads it looks for the own code."""

    async def scene(stage: Stage) -> str | None:
        case = stage.app.add_case(Any_)
        with pytest.raises(LiveCheckTestFailed):
            await case.execute(made(case, "fail"))
        return stage.reports[0].traceback

    text = play(scene)
    assert text is not None
    assert 'assert not does, "not equal"' in text
    assert "livecheck/runner.py" not in text


@pytest.mark.parametrize(
    ("active", "left", "words"),
    [(True, 0.0, "the test expired at"), (False, 60.0, "the case is not active")],
)
def test_what_is_not_to_run_is_skipped_and_reported(
    *, active: bool, left: float, words: str
) -> None:
    """When it expires, it is expired; both say why nothing ran."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Any_, active=active)
        with pytest.raises(LiveCheckTestSkipped, match=words):
            await case.execute(made(case, left=left))
        assert case.calls == ["skipped", "report"]
        (report,) = stage.reports
        assert report.state is State.SKIP
        assert report.runtime is None
        assert report.error is not None
        assert report.error.startswith(words)
        assert case.total_by_state == Counter({State.SKIP: 1})
        assert case.last_test_received == stage.clock.instant()

    play(scene)


def test_a_test_that_hangs_ends_when_it_expires() -> None:
    """It holds its place no longer than anybody wants to know."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Any_)
        begin = stage.clock.instant()
        with pytest.raises(LiveCheckTestTimeout, match=r"expired after 10\.000 s"):
            await case.execute(made(case, "hang", age=5, left=10))
        assert stage.clock.instant() - begin == 10.0
        assert stage.states == ["TIMEOUT"]
        assert case.calls == ["start", "run", "timeout", "report"]

    play(scene)


def test_each_of_many_ends_when_it_expires() -> None:
    """One timer does for all, in whatever order they come."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Any_)
        ends: dict[int, float] = {}

        async def execute(left: int) -> None:
            with pytest.raises(LiveCheckTestTimeout):
                await case.execute(made(case, "hang", left=left))
            ends[left] = stage.clock.instant() - 1000.0

        lefts = [(each * 37) % 101 + 1 for each in range(101)]
        await asyncio.gather(*map(execute, lefts))
        assert ends == {left: pytest.approx(left) for left in lefts}

    play(scene)


def test_what_is_over_is_not_held_until_it_would_have_expired() -> None:
    """A million tests cost no more memory than a thousand."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Any_)
        for _ in range(1000):
            await case.execute(made(case, left=1e6))
            case.calls.clear()
        assert len(case.deadlines) < 200

    play(scene)


def test_a_test_that_is_cut_off_reports_that() -> None:
    """Nothing ends without a trace, and who cuts off is not deceived."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Any_)
        task = asyncio.create_task(case.execute(made(case, "hang")))
        await asyncio.sleep(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert case.calls == ["start", "run", "skipped", "report"]
        (report,) = stage.reports
        assert report.state is State.SKIP
        assert report.error == "cut off after 3.000 s"

    play(scene)


@pytest.mark.parametrize(
    "hook",
    ["on_test_start", "on_test_pass", "post_report"],
)
def test_a_hook_that_raises_changes_nothing(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the test passes all the same."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Any_)

        async def broken(*_: object) -> None:
            raise OSError("no disk")

        setattr(case, hook, broken)
        await case.execute(made(case))
        assert case.status is State.PASS
        assert len(stage.reports) == (0 if hook == "post_report" else 1)

    play(scene)
    assert "no disk" in caplog.text


def test_a_hook_that_hangs_is_cut_off_and_the_report_is_there() -> None:
    """Before the test until it expires, after it until the end of its patience."""

    class Hangs(Any_):
        async def on_test_start(self, runner: TestRunner) -> None:
            if runner.test.test_args:
                await asyncio.Event().wait()

        async def on_test_pass(self, runner: TestRunner) -> None:
            await asyncio.Event().wait()

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Hangs, test_expires=20)
        await case.trigger("before", "x")
        await case.trigger("after")
        await asyncio.sleep(25)
        assert stage.states == ["TIMEOUT"]
        await asyncio.sleep(6)
        assert stage.states == ["TIMEOUT", "PASS"]
        await case.trigger("end")
        await asyncio.sleep(1)
        await stage.app.stop()
        assert stage.states == ["TIMEOUT", "PASS", "PASS"]

    play(scene)


@pytest.mark.parametrize("does", ["fail", "raise", "timeout"])
def test_what_a_test_said_is_logged_with_its_failure(
    does: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log of a failure is what it is read for; a percent sign breaks nothing."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Any_)
        with pytest.raises(LiveCheckError):
            await case.execute(made(case, does))

    play(scene)
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert "[Any_:a] 100% done\n" in record.getMessage()
    assert "in Any_.run" in record.getMessage()


@pytest.mark.parametrize(("realtime", "count"), [(True, 2), (False, 0)])
def test_a_pass_is_logged_at_once_or_for_who_looks_closely(
    *, realtime: bool, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten thousand passes a minute are no news."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Any_, realtime_logs=realtime)
        await case.execute(made(case))

    with caplog.at_level(logging.INFO):
        play(scene)
    assert len(caplog.records) == count


def test_a_subclass_of_the_runner_is_used() -> None:
    """A case can have tests executed in another way."""

    class Mine(TestRunner):
        async def execute(self) -> None:
            self.case.name = "mine"
            await super().execute()

    class Own(Any_):
        Runner = Mine

    async def scene(stage: Stage) -> str:
        case = stage.app.add_case(Own)
        await case.execute(made(case))
        return case.name

    assert play(scene) == "mine"


def test_arguments_arrive_as_the_types_of_the_signature() -> None:
    """What was triggered with an order runs with one."""
    seen: list[Any] = []

    class Typed(Case):
        async def run(
            self, lasts: timedelta, name: str, *more: int, by: int = 0
        ) -> None:
            seen.extend([lasts, name, more, by])

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Typed)
        await case.trigger("a", timedelta(hours=1), "n", 3, by=4)
        await stage.idle()
        assert seen == [timedelta(hours=1), "n", (3,), 4]
        await case.trigger("b", "no time", "n")
        await stage.idle()
        assert stage.states == ["PASS", "ERROR"]

    play(scene)

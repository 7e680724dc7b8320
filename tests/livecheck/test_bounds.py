"""Whatever a user's code does, it holds up nothing else, and not for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pysys_orch.livecheck import Case, LiveCheck, State
from pysys_orch.livecheck.exceptions import SuiteFailed
from pysys_orch.livecheck.runner import TestRunner
from tests.livecheck.stage import Stage, play


class Lasts(Case):
    """Runs for a long time."""

    async def run(self, *_: Any) -> None:
        await asyncio.sleep(1000)


class Quick(Case):
    """Passes at once."""

    async def run(self, *_: Any) -> None:
        pass


class Nothing(BaseException):
    """As what pytest raises to skip a test."""


async def cancelled_by_nobody() -> None:
    """Wait for a task that was cancelled."""
    task = asyncio.create_task(asyncio.sleep(10))
    await asyncio.sleep(0)
    task.cancel()
    await task


def test_a_fake_request_that_does_not_end_holds_up_no_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Tests are cut off, the others skipped, and the end comes within its bound."""

    class Stubborn(Lasts):
        frequency = 1.0

        async def make_fake_request(self) -> None:
            for _ in range(3):
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    continue

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Stubborn)
        await case.trigger("a")
        await case.trigger("b")
        await asyncio.sleep(5)
        begin = stage.clock.instant()
        await stage.app.stop(timeout=3)
        assert stage.clock.instant() - begin == 3.0
        assert stage.states == ["SKIP", "SKIP"]
        await asyncio.sleep(1000)

    play(scene, concurrency=1)
    words = "1 tasks did not end within 3 s: livecheck Stubborn make_traffic"
    assert words in caplog.text


def test_whoever_hears_of_a_failure_may_end_the_application() -> None:
    """From what watches for silence as well as from a test."""

    class Ends(Lasts):
        warn_stalled_after = 30.0
        max_consecutive_failures = 1

        async def run(self, *args: Any) -> None:
            assert args
            await super().run()

        async def on_suite_fail(
            self, exc: SuiteFailed, new_state: State = State.FAIL
        ) -> None:
            await super().on_suite_fail(exc, new_state)
            assert isinstance(self.app, LiveCheck)
            await self.app.stop()

    async def scene(stage: Stage, *args: Any) -> tuple[list[str], list[str], float]:
        case = stage.app.add_case(Ends)
        runs = asyncio.create_task(stage.app.run())
        await case.trigger("a", *args)
        begin = stage.clock.instant()
        await asyncio.wait_for(runs, 100)
        return stage.suites, stage.states, stage.clock.instant() - begin

    silent = play(lambda stage: scene(stage, "lasts"))
    assert silent == (["STALL"], ["SKIP"], 30.0)
    assert play(scene) == (["FAIL"], ["FAIL"], 0.0)


@pytest.mark.parametrize("hook", ["on_test_pass", "post_report"])
def test_what_hangs_gives_back_its_place(hook: str) -> None:
    """A hook or a report takes 30 s at most, and other tests are executed."""

    async def hang(*_: object) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if stage_clock[0].clock.instant() > 1038:
                    raise

    stage_clock: list[Stage] = []

    async def scene(stage: Stage) -> None:
        stage_clock.append(stage)
        case = stage.app.add_case(Quick)
        setattr(case, hook, hang)
        await case.trigger("a")
        await case.trigger("b")
        assert await stage.app.wait_idle(100)
        assert case.total_by_state[State.PASS] == 2
        # It did not care for the first time, and was told again.
        assert stage.clock.instant() == 1070.0

    play(scene, concurrency=1)


def test_a_report_that_hangs_does_not_hold_up_what_triggers() -> None:
    """Not even of a test for which there is no place; nor the end for long."""

    class Hangs(Lasts):
        async def post_report(self, report: object) -> None:
            await asyncio.Event().wait()

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Hangs)
        begin = stage.clock.instant()
        for key in "abcd":
            await case.trigger(key)
        assert stage.clock.instant() == begin
        await stage.app.stop(timeout=4)
        assert stage.clock.instant() - begin <= 5.0

    play(scene, concurrency=1, max_pending=1)


def test_a_test_that_swallows_its_end_is_ended_again() -> None:
    """It does not hold its place for ever."""

    class Swallows(Case):
        test_expires = 60.0

        async def run(self, *_: Any) -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                await asyncio.Event().wait()

    async def scene(stage: Stage) -> tuple[list[str], float]:
        case = stage.app.add_case(Swallows)
        begin = stage.clock.instant()
        await case.trigger("a")
        assert await stage.app.wait_idle(100)
        return stage.states, stage.clock.instant() - begin

    assert play(scene) == (["TIMEOUT"], 70.0)


def test_a_cancellation_that_nobody_asked_for_is_an_error() -> None:
    """It is that of something the code waited for, and ends neither."""
    requests: list[float] = []

    class Waits(Case):
        frequency = 1.0

        async def run(self, *_: Any) -> None:
            await cancelled_by_nobody()

        async def make_fake_request(self) -> None:
            requests.append(self.clock.instant())
            await cancelled_by_nobody()

        async def on_test_error(self, runner: TestRunner, exc: BaseException) -> None:
            await cancelled_by_nobody()

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Waits)
        await case.trigger("a")
        await asyncio.sleep(20.5)
        return stage.states

    assert play(scene) == ["ERROR"]
    assert len(requests) == 20


@pytest.mark.parametrize("raised", [Nothing(), SystemExit(3)])
def test_a_hook_raises_what_it_likes(raised: BaseException) -> None:
    """The report is there, and the suite fails all the same."""

    class Fails(Case):
        max_consecutive_failures = 1

        async def run(self, *_: Any) -> None:
            raise AssertionError

        async def on_test_failed(self, runner: TestRunner, exc: BaseException) -> None:
            raise raised

    async def scene(stage: Stage) -> tuple[list[str], list[str]]:
        case = stage.app.add_case(Fails)
        await case.trigger("a")
        await stage.idle()
        return stage.states, stage.suites

    assert play(scene) == (["FAIL"], ["FAIL"])


def test_what_cannot_be_shown_costs_nothing_but_its_line() -> None:
    """The test counts, and is reported."""

    class Detached:
        def __str__(self) -> str:
            raise RuntimeError("detached")

        __repr__ = __str__

    class Says(Case):
        async def run(self, *_: Any) -> None:
            assert self.current_execution is not None
            self.current_execution.log_info("order %s", Detached())
            raise AssertionError

    async def scene(stage: Stage) -> tuple[list[str], int]:
        case = stage.app.add_case(Says)
        await case.trigger("a")
        await stage.idle()
        return stage.states, case.total_failures

    assert play(scene) == (["FAIL"], 1)


@pytest.mark.parametrize("period", [0.1, 0.7, 1 / 3])
@pytest.mark.parametrize("instant", [0.3, 1e6 + 0.1, 123456.789, 1e9 + 0.123])
def test_fake_requests_come_as_often_as_they_should(
    period: float, instant: float
) -> None:
    """Also where a float is as coarse as it can be: no more, and no less."""
    made: list[float] = []

    class Makes(Quick):
        async def make_fake_request(self) -> None:
            made.append(self.clock.instant())
            assert len(made) < 1000

    async def scene(stage: Stage) -> None:
        stage.clock.advance(instant)
        stage.app.add_case(Makes, frequency=period)
        await asyncio.sleep(period * 200.5)

    play(scene)
    assert len(made) == 200

"""Tests that come early, late, or too many."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from pysys_orch.errors import StateError
from pysys_orch.livecheck import Case, LiveCheck, Signal, State, TestExecution
from pysys_orch.livecheck.context import current_test
from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.models import TestReport
from pysys_orch.livecheck.runner import TestRunner
from pysys_orch.livecheck.tally import Tally
from tests.livecheck.stage import Stage, play


class Waits(Case):
    """Waits for a signal."""

    probability = 1.0
    test_expires = 60.0
    go: Signal[int]

    async def run(self, *keys: str) -> None:
        for key in keys or (None,):
            await self.go.wait(key=key, timeout=50)


class Fails(Case):
    """Fails at once, and makes traffic."""

    frequency = 1.0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.requests = 0

    async def run(self) -> None:
        raise AssertionError

    async def make_fake_request(self) -> None:
        self.requests += 1


class Memory:
    """Takes its time to say that there were 29 failures, or that it cannot."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.may_answer = threading.Event()
        self.failure = failure
        self.health = Health(tally=Tally(failed=29, failures=29, failing_since=0.0))
        self.histories: dict[str, list[float]] = {}

    def load(self, case_name: str) -> Memory:
        assert self.may_answer.wait(10)
        if self.failure is not None:
            raise self.failure
        return self

    def put(self, *_: object) -> None:
        pass

    def add(self, report: TestReport) -> None:
        pass

    def save(self, *_: object) -> Future[None]:
        saved = Future[None]()
        saved.set_result(None)
        return saved


def test_tests_of_a_case_wait_until_it_is_known_how_it_was() -> None:
    """What happens before is not forgotten by what is remembered."""
    memory = Memory()

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Fails)
        await case.trigger("a")
        assert stage.states == []
        memory.may_answer.set()
        await stage.idle()
        assert case.consecutive_failures == 30
        assert stage.suites == ["FAIL"]

    play(scene, store=memory)


def test_a_case_that_cannot_be_remembered_is_not_executed() -> None:
    """Its tests say why, those that come later, too."""
    memory = Memory(StateError("the disk is gone"))

    async def scene(stage: Stage) -> set[str | None]:
        case = stage.app.add_case(Fails)
        await case.trigger("a")
        memory.may_answer.set()
        await stage.idle()
        await case.trigger("b")
        await stage.idle()
        assert stage.states == ["SKIP", "SKIP"]
        return {each.error for each in stage.reports}

    assert play(scene, store=memory) == {"the case did not start: the disk is gone"}


def test_a_case_does_not_start_when_all_has_ended() -> None:
    """Its test is reported, and nothing is left that makes traffic."""
    memory = Memory()

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Fails)
        await case.trigger("a")
        await stage.app.stop()
        memory.may_answer.set()
        await asyncio.sleep(100)
        assert case.requests == 0
        assert stage.states == ["SKIP"]

    play(scene, store=memory)


def test_a_case_that_is_added_twice_is_looked_after_once() -> None:
    """The second time does nothing."""

    async def scene(stage: Stage) -> int:
        case = stage.app.add_case(Fails)
        assert stage.app.add_case(case) is case
        await asyncio.sleep(10.5)
        return case.requests

    assert play(scene) == 10


def test_a_test_for_which_there_is_no_place_is_one_of_the_case() -> None:
    """It is counted, its hook is called, and it was heard of."""
    skipped: list[str] = []

    class Hears(Waits):
        async def on_test_skipped(self, runner: TestRunner) -> None:
            skipped.append(runner.test.id)

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Hears)
        for number in range(4):
            await case.trigger(str(number))
        await asyncio.sleep(1)
        assert skipped == ["2", "3"]
        assert stage.app.dropped == 2
        assert case.total_by_state[State.SKIP] == 2

    play(scene, concurrency=1, max_pending=1)


def test_a_flood_of_skipped_tests_is_none_of_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also at the end, when nothing was dropped."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Waits)
        for _ in range(2001):
            await case.trigger()

    play(scene, concurrency=1)
    assert caplog.text.count("skipped: the application stops") == 2


# Signals of other tests


def test_a_signal_that_comes_too_late_is_not_for_the_next_test() -> None:
    """Not even if that is called the same."""

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Waits)
        await case.trigger("order-7")
        await asyncio.sleep(70)
        await case.go.send(1, key="order-7", force=True)
        assert len(case.arrivals) == 0
        await asyncio.sleep(20)
        await case.trigger("order-7")
        await stage.idle()
        await case.trigger("order-7")
        await case.go.send(1, key="order-7", force=True)
        await stage.idle()
        return stage.states

    assert play(scene) == ["TIMEOUT", "TIMEOUT", "PASS"]


def test_a_signal_under_a_shared_key_is_for_tests_that_run() -> None:
    """Two that run see it; one that begins after it was used does not."""

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Waits)
        await case.trigger("a", "customer")
        await case.trigger("b", "first", "customer")
        await asyncio.sleep(1)
        await case.go.send(1, key="customer", force=True)
        await asyncio.sleep(1)
        await case.go.send(1, key="first", force=True)
        await stage.idle()
        await asyncio.sleep(1)
        await case.trigger("c", "customer")
        await stage.idle()
        return stage.states

    assert play(scene) == ["PASS", "PASS", "TIMEOUT"]


def test_on_the_class_it_is_that_of_the_case_of_the_test() -> None:
    """Of one class there may be several cases."""

    async def scene(stage: Stage) -> list[str]:
        for name in ("eu", "us"):
            stage.app.add_case(Waits, name=name)
        for name in ("eu", "us"):
            async with stage.app.cases[name].maybe_trigger(name):
                await Waits.go.send(1)
        await stage.idle()
        return stage.states

    assert play(scene) == ["PASS", "PASS"]


def test_a_case_that_is_gone_is_not_sent_to() -> None:
    """The one before it is the last then."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Waits)
        LiveCheck(clock=stage.clock).add_case(Waits)
        gc.collect()
        await Waits.go.send(1, key="k", force=True)
        assert case.arrivals.find("go", "k") == 1

    play(scene)


def test_a_service_without_a_case_is_not_disturbed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Anybody may say in headers that a request is for a test."""

    class Nobody(Case):
        go: Signal[int]

    async def main() -> None:
        headers = {
            "LiveCheck-Test-Id": "x",
            "LiveCheck-Test-Name": "Nobody",
            "LiveCheck-Test-Timestamp": "2026-01-01T00:00:00Z",
            "LiveCheck-Test-Expires": "2026-01-01T00:00:01Z",
        }
        current_test.set(TestExecution.from_headers(headers))
        await Nobody.go.send(1)

    asyncio.run(main())
    assert "is not sent: no case has the signal 'go' yet" in caplog.text

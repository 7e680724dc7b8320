"""Trouble is told, whatever happens before it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from pysys_orch.livecheck import Case, Condition, LiveCheck, State, Topic
from pysys_orch.livecheck.exceptions import (
    LiveCheckTestFailed,
    ServiceDown,
    SuiteFailed,
    SuiteStalled,
)
from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.runner import TestRunner
from pysys_orch.testing import ManualClock, run_virtual
from tests.livecheck.stage import Stage, play


class Fails(Case):
    """Fails at once, and as a whole."""

    max_consecutive_failures = 1

    async def run(self, *_: Any) -> None:
        raise AssertionError("no")


class Slow(Fails):
    """Has a hook that takes a while."""

    async def on_test_failed(self, runner: TestRunner, exc: BaseException) -> None:
        await asyncio.sleep(3)


class Hangs(Fails):
    """Has somebody paged, who does not answer."""

    async def on_suite_fail(
        self, exc: SuiteFailed, new_state: State = State.FAIL
    ) -> None:
        await asyncio.Event().wait()


class Known:
    """What is known of a case."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.histories: dict[str, Sequence[float]] = {}


class Memory:
    """Remembers in this process, and as if it were killed after each word."""

    def __init__(self) -> None:
        self.health: Health | None = None

    def load(self, case_name: str) -> Known | None:
        return None if self.health is None else Known(self.health)

    def put(self, case_name: str, health: Health, _histories: object) -> None:
        self.health = health

    def add(self, report: object) -> None:
        pass

    def save(self, name: str, health: Health, histories: object) -> Future[None]:
        self.put(name, health, histories)
        saved = Future[None]()
        saved.set_result(None)
        return saved


def run(memory: Memory, cls: type[Case], times: int = 1, lasts: float = 1) -> list[str]:
    """Run an application; return what was reported of the case as a whole."""
    clock, told = ManualClock(), []

    async def hear(_key: str, message: dict[str, Any]) -> None:
        if message["test"] is None:
            told.append(message["state"])

    async def main() -> None:
        app = LiveCheck(clock=clock, store=memory)
        app.bus.subscribe(Topic.REPORTS, hear)
        case = app.add_case(cls, name="case")
        async with app:
            for _ in range(times):
                await case.trigger()
            await asyncio.sleep(lasts)

    run_virtual(main(), clock=clock)
    return told


def test_the_end_during_a_hook_leaves_nothing_untold() -> None:
    """What follows from a test is told, even if the test is cut off."""
    memory = Memory()
    assert run(memory, Slow) == ["FAIL"]
    assert run(memory, Slow, times=0) == []


def test_what_one_run_could_not_tell_the_next_one_does() -> None:
    """Once."""
    memory = Memory()
    assert run(memory, Hangs) == []
    assert memory.health is not None
    assert memory.health.condition is Condition.FAILING
    assert run(memory, Fails, times=0) == ["FAIL"]
    assert run(memory, Fails, times=0) == []


def test_a_memory_takes_no_virtual_time() -> None:
    """The clock stands still while another thread writes."""

    class Threaded(Memory):
        def save(self, name: str, health: Health, histories: object) -> Future[None]:
            import threading

            saved = Future[None]()
            timer = threading.Timer(0.05, saved.set_result, [None])
            timer.start()
            return saved

    async def scene(stage: Stage) -> float:
        case = stage.app.add_case(Fails)
        begin = stage.clock.instant()
        await case.trigger("a")
        await stage.idle()
        assert stage.suites == ["FAIL"]
        return stage.clock.instant() - begin

    assert play(scene, store=Threaded()) == 0.0


def test_a_hook_may_put_it_in_other_words() -> None:
    """What it hands on is reported."""

    class Adds(Fails):
        async def on_suite_fail(
            self, exc: SuiteFailed, new_state: State = State.FAIL
        ) -> None:
            more = SuiteFailed(f"{exc}: see the wiki")
            await asyncio.create_task(super().on_suite_fail(more, new_state))

    async def scene(stage: Stage) -> list[str | None]:
        case = stage.app.add_case(Adds)
        await case.trigger("a")
        await stage.idle()
        return [each.error for each in stage.reports if each.test is None]

    assert play(scene) == ["Failed after 1 (max=1): see the wiki"]


@pytest.mark.parametrize(
    ("exc", "state", "condition"),
    [
        (SuiteStalled("silent"), State.STALL, Condition.STALLED),
        (ServiceDown("closed"), State.FAIL, Condition.DOWN),
        (SuiteFailed("broken"), State.FAIL, Condition.FAILING),
    ],
)
def test_whoever_knows_better_says_what_is_wrong(
    exc: SuiteFailed, state: State, condition: Condition
) -> None:
    """The case shows it, and its health says the same."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Fails)
        await case.on_suite_fail(exc, state)
        assert (case.status, case.health.status, case.condition) == (
            state,
            state,
            condition,
        )

    play(scene)


def test_a_service_that_refuses_is_up() -> None:
    """4xx is no good answer, but it is one."""

    class Web:
        answers = [ServiceDown("down"), LiveCheckTestFailed("HTTP 404")]  # noqa: RUF012

        async def request(self, *_: object) -> bytes:
            raise self.answers.pop(0)

        async def close(self) -> None:
            pass

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Fails)
        assert await case.get_url("http://service") is None
        conditions = [case.condition]
        await asyncio.sleep(100)
        with pytest.raises(LiveCheckTestFailed):
            await case.get_url("http://service")
        conditions.append(case.condition)
        assert conditions == [Condition.DOWN, Condition.UNKNOWN]

    play(scene, web=Web())

"""A run goes on where another one ended."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.errors import StateError
from pysys_orch.livecheck import Case, Condition, LiveCheck, State, Topic
from pysys_orch.livecheck.store import Store
from pysys_orch.testing import ManualClock, run_virtual


class Fails(Case):
    """Fails unless it is told not to."""

    is_well = False

    async def run(self) -> None:
        await asyncio.sleep(1)
        assert self.is_well


class Run:
    """One run of an application that remembers."""

    def __init__(self, file: Path, clock: ManualClock) -> None:
        self._file = file
        self._clock = clock
        self.suites: list[str] = []

    def execute(self, times: int, *, is_well: bool = False) -> Case:
        """Execute the case so many times, and return it as it is then."""
        store = Store.at(str(self._file), "app", clock=self._clock)

        async def hear(_key: str, message: dict[str, Any]) -> None:
            if message["test"] is None:
                self.suites.append(message["state"])

        async def main() -> Case:
            app = LiveCheck(clock=self._clock, store=store)
            app.bus.subscribe(Topic.REPORTS, hear)
            case = app.add_case(Fails, max_consecutive_failures=30, max_history=5)
            case.is_well = is_well
            async with app:
                for _ in range(times):
                    await case.trigger()
                    assert await app.wait_idle(100)
            return case

        try:
            return run_virtual(main(), clock=self._clock)
        finally:
            store.close()


def test_failures_in_a_row_go_on_to_be_counted(tmp_path: Path) -> None:
    """29 before the restart and one after it are 30, and told once."""
    run = Run(tmp_path / "state.db", ManualClock())
    assert run.execute(29).consecutive_failures == 29
    assert run.suites == []
    case = run.execute(1)
    assert run.suites == ["FAIL"]
    assert case.condition is Condition.FAILING
    case = run.execute(0)
    assert case.status is State.FAIL
    assert case.total_by_state[State.FAIL] == 30
    assert run.suites == ["FAIL"]


def test_histories_are_kept_as_well(tmp_path: Path) -> None:
    """What was measured is measured; the time in between is no gap."""
    run = Run(tmp_path / "state.db", ManualClock())
    case = run.execute(3, is_well=True)
    assert list(case.runtime_history) == [1.0, 1.0, 1.0]
    case = run.execute(1, is_well=True)
    assert list(case.runtime_history) == [1.0] * 4
    assert list(case.frequency_history) == [1.0, 1.0]
    assert case.runtime_avg == 1.0


def test_a_disk_that_is_full_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The case fails all the same, and the log says that it is not remembered."""

    class Full:
        def load(self, case_name: str) -> None:
            return None

        def put(self, *_: object) -> None:
            pass

        def add(self, *_: object) -> None:
            pass

        def save(self, *_: object) -> Future[None]:
            future = Future[None]()
            future.set_exception(StateError("disk full"))
            return future

    async def main() -> Case:
        async with LiveCheck(clock=clock, store=Full()) as app:
            case = app.add_case(Fails, max_consecutive_failures=1)
            await case.trigger()
            assert await app.wait_idle(100)
        return case

    clock = ManualClock()
    assert run_virtual(main(), clock=clock).condition is Condition.FAILING
    assert "disk full" in caplog.text


def test_a_state_that_cannot_be_read_is_told_and_nothing_runs(tmp_path: Path) -> None:
    """A program that cannot know how its cases were does not begin anew."""
    file = tmp_path / "state.db"
    file.write_bytes(b"this is no database" * 100)

    async def main() -> None:
        app = LiveCheck(clock=clock, store=store)
        app.add_case(Fails)
        with pytest.raises(StateError):
            await app.start()
        assert len(asyncio.all_tasks()) == 1

    clock = ManualClock()
    store = Store.at(str(file), "app", clock=clock)
    run_virtual(main(), clock=clock)
    store.close()
    assert file.read_bytes() == b"this is no database" * 100

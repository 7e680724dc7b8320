"""Executions, signals and their cost, with pysys_orch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from pysys_orch.livecheck import (
    Case,
    LiveCheck,
    LiveCheckError,
    Signal,
    SignalEvent,
    TestExecution,
)


class Passes(Case):
    """All is well."""

    async def run(self) -> None:
        """Have nothing to say."""


class Fails(Case):
    """Nothing is well."""

    async def run(self) -> None:
        """Fail."""
        assert self.name == "", "it is not"


class Waits(Case):
    """What is waited for comes, or not."""

    signal: Signal[str]

    async def run(self) -> None:
        """Wait for a signal of its own."""
        await self.signal.wait(timeout=600)


def test_of(case: Case, number: int) -> TestExecution:
    """Return a test that does not expire soon."""
    stamp = case.clock.stamp()
    return TestExecution(
        str(number), case.name, stamp, [], {}, stamp + timedelta(hours=3)
    )


async def executed(cls: type[Case], number: int) -> float:
    """Return how many seconds it takes to execute tests, one after the other."""
    async with LiveCheck() as app:
        case = app.add_case(cls)
        tests = [test_of(case, each) for each in range(number)]
        begin = time.perf_counter()
        for test in tests:
            try:
                await case.execute(test)
            except LiveCheckError:
                continue
        took = time.perf_counter() - begin
        if case.total_by_state.total() != number:
            raise AssertionError(case.total_by_state)
        return took


async def resolved(number: int, look: Callable[[], Awaitable[None]]) -> float:
    """Return how many seconds it takes to resolve what is waited for.

    Args:
        number: How many executions wait, each for its own signal.
        look: Called while they do.
    """
    async with LiveCheck() as app:
        case = app.add_case(Waits)
        for each in range(number):
            await app.send_execution(test_of(case, each))
        await _turns()
        await look()
        begin = time.perf_counter()
        for each in range(number):
            event = SignalEvent("signal", case.name, str(each), "x")
            await app.send_signal(str(each), event)
            # As they come: one at a time.
            await asyncio.sleep(0)
        await app.wait_idle()
        took = time.perf_counter() - begin
        if case.total_failures:
            raise AssertionError(case.total_by_state)
        return took


async def _turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)

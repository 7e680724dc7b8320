"""The same with faust, whose Kafka is replaced by a list in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import faust
from faust.livecheck import Case, LiveCheck, Signal
from faust.livecheck.models import SignalEvent, TestExecution


class _Topic:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    async def send(self, *, value: object, **_: object) -> None:
        self.sent.append(value)


def _live() -> LiveCheck:
    app = faust.App("benchmark", store="memory://", broker="kafka://localhost")
    live, topic = app.LiveCheck(), _Topic()
    live.__dict__.update(reports=topic, pending_tests=topic, bus=topic)
    return live


def _passing(live: LiveCheck) -> Case:
    @live.case(name="passes")
    class Passes(Case):
        async def run(self) -> None:
            pass

    return Passes


def _failing(live: LiveCheck) -> Case:
    @live.case(name="fails")
    class Fails(Case):
        async def run(self) -> None:
            assert self.name == "", "it is not"

    return Fails


def _waiting(live: LiveCheck) -> Case:
    @live.case(name="waits")
    class Waits(Case):
        signal: Signal[str]

        async def run(self) -> None:
            await self.signal.wait(timeout=600.0)

    return Waits


def _test_of(case: Case, number: int) -> TestExecution:
    now = datetime.now(UTC)
    return TestExecution(
        id=str(number),
        case_name=case.name,
        timestamp=now,
        test_args=[],
        test_kwargs={},
        expires=now + timedelta(hours=3),
    )


async def executed(outcome: str, number: int) -> float:
    """Return how many seconds it takes to execute tests, one after the other."""
    case = {"passing": _passing, "failing": _failing}[outcome](_live())
    tests = [_test_of(case, each) for each in range(number)]
    begin = time.perf_counter()
    for test in tests:
        try:
            await case.execute(test)
        except Exception:  # noqa: BLE001 -- which is how it says that one failed
            continue
    return time.perf_counter() - begin


async def resolved(number: int, look: Callable[[], Awaitable[None]]) -> float:
    """Return how many seconds it takes to resolve what is waited for."""
    case = _waiting(_live())
    tasks = [
        asyncio.create_task(case.execute(_test_of(case, each)))
        for each in range(number)
    ]
    for _ in range(50):
        await asyncio.sleep(0)
    await look()
    begin = time.perf_counter()
    for each in range(number):
        event = SignalEvent(
            signal_name="signal", case_name="waits", key=str(each), value="x"
        )
        await case.resolve_signal(str(each), event)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return time.perf_counter() - begin

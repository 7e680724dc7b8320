"""How a case looks after itself while nothing happens."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Protocol

from pysys_orch.clock import Clock
from pysys_orch.livecheck.bounds import ended, guarded, names_of
from pysys_orch.livecheck.health import Health, stall_due
from pysys_orch.livecheck.policy import Policy

log = logging.getLogger("pysys.orch.livecheck")

_SAMPLE_EVERY = 10.0
_STOP_WITHIN = 10.0


class Tended(Protocol):
    """A case, as what looks after it sees it."""

    name: str
    health: Health
    policy: Policy
    period: float | None
    frequency_avg: float | None
    latency_avg: float | None
    runtime_avg: float | None

    @property
    def clock(self) -> Clock:
        """What tells the time."""
        ...

    @property
    def is_leader(self) -> bool:
        """Whether this is the one of many workers that makes fake requests."""
        ...

    async def check_silence(self) -> None:
        """Notice whether no test came for too long."""
        ...

    async def make_fake_request(self) -> None:
        """Make traffic."""
        ...

    def update_averages(self) -> None:
        """Bring the averages up to date."""
        ...


class Upkeep:
    """Looks after a case: for silence, for traffic, and for its averages.

    Args:
        case: The case.
    """

    def __init__(self, case: Tended) -> None:
        self._case = case
        self._tasks = set[asyncio.Task[None]]()

    def start(self) -> None:
        """Begin."""
        for work in (self._watch, self._make_traffic, self._sample):
            name = f"livecheck {self._case.name} {work.__name__.strip('_')}"
            task = asyncio.create_task(work(), name=name)
            self._tasks.add(task)
            task.add_done_callback(self._on_done)

    def cancel(self) -> set[asyncio.Task[None]]:
        """Have all of it end, and return what has to.

        Where this is called from one of them, that one ends by itself.
        """
        tasks, self._tasks = self._tasks, set()
        tasks.discard(_current())
        for task in tasks:
            task.cancel()
        return tasks

    async def stop(self, *, timeout: float = _STOP_WITHIN) -> None:
        """End. What does not want to is left alone, which is logged.

        Args:
            timeout: For how many seconds to wait for it, at most.
        """
        left = await ended(self.cancel(), timeout)
        if left:
            log.error("%s did not end within %g s", names_of(left), timeout)

    @property
    def _is_wanted(self) -> bool:
        return _current() in self._tasks

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            log.error("%s failed", task.get_name(), exc_info=failure)

    async def _watch(self) -> None:
        case = self._case
        while self._is_wanted:
            due = stall_due(case.health, case.policy)
            if due is None:
                return
            await asyncio.sleep(max(0.0, due - case.clock.instant()))
            await guarded(case.name, case.check_silence)

    async def _make_traffic(self) -> None:
        case, period = self._case, self._case.period
        if period is None:
            return
        begin, number = case.clock.instant(), 0
        while self._is_wanted:
            # From the beginning, so that nothing drifts; what was missed is left out.
            # Counted, since a quotient of floats may stay what it is at its very time.
            passed = case.clock.instant() - begin
            number = max(number, math.floor(passed / period)) + 1
            at = begin + number * period
            await asyncio.sleep(max(0.0, at - case.clock.instant()))
            if case.is_leader:
                await guarded(case.name, case.make_fake_request)

    async def _sample(self) -> None:
        case = self._case
        while self._is_wanted:
            await asyncio.sleep(_SAMPLE_EVERY)
            case.update_averages()
            log.debug(
                "[%s] medians: frequency %s, latency %s, runtime %s",
                case.name,
                case.frequency_avg,
                case.latency_avg,
                case.runtime_avg,
            )


def _current() -> asyncio.Task[None] | None:
    return asyncio.current_task()

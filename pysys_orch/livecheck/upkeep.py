"""How a case looks after itself while nothing happens."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from pysys_orch.clock import Clock
from pysys_orch.livecheck.health import Health, stall_due
from pysys_orch.livecheck.policy import Policy

log = logging.getLogger("pysys.orch.livecheck")

_SAMPLE_EVERY = 10.0


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
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        for work in (self._watch, self._make_traffic, self._sample):
            name = f"livecheck {self._case.name} {work.__name__.strip('_')}"
            self._tasks.append(asyncio.create_task(work(), name=name))

    async def stop(self) -> None:
        """End."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        case = self._case
        while (due := stall_due(case.health, case.policy)) is not None:
            await asyncio.sleep(max(0.0, due - case.clock.instant()))
            await case.check_silence()

    async def _make_traffic(self) -> None:
        case, period = self._case, self._case.period
        if period is None:
            return
        begin = case.clock.instant()
        while True:
            # From the beginning, so that nothing drifts; what was missed is left out.
            number = (case.clock.instant() - begin) // period + 1
            await asyncio.sleep(begin + number * period - case.clock.instant())
            if not case.is_leader:
                continue
            try:
                await case.make_fake_request()
            except Exception:
                log.exception("[%s] make_fake_request failed", case.name)

    async def _sample(self) -> None:
        case = self._case
        while True:
            await asyncio.sleep(_SAMPLE_EVERY)
            case.update_averages()
            log.debug(
                "[%s] medians: frequency %s, latency %s, runtime %s",
                case.name,
                case.frequency_avg,
                case.latency_avg,
                case.runtime_avg,
            )

"""A stage for live checks: an application on virtual time, and all that it reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

from pysys_orch.livecheck import LiveCheck, LocalBus, TestReport, Topic
from pysys_orch.testing import ManualClock, run_virtual
from pysys_orch.testing.loop import GRACE

T = TypeVar("T")


class Stage:
    """An application that is running.

    Attributes:
        app: The application.
        clock: Its clock.
        reports: What it reported, in order.
    """

    def __init__(self, clock: ManualClock, **options: Any) -> None:
        self.clock = clock
        self.reports: list[TestReport] = []
        bus = options.pop("bus", None) or LocalBus()
        bus.subscribe(Topic.REPORTS, self._hear)
        options.setdefault("random", Random(7))
        self.app = LiveCheck(clock=clock, bus=bus, **options)

    async def _hear(self, _key: str, message: dict[str, Any]) -> None:
        self.reports.append(TestReport.from_json(message))

    @property
    def states(self) -> list[str]:
        """How each of the tests ended, in order; reports of cases apart."""
        return [each.state.value for each in self.reports if each.test is not None]

    @property
    def suites(self) -> list[str]:
        """What was reported of cases as a whole, in order."""
        return [each.state.value for each in self.reports if each.test is None]

    async def idle(self) -> None:
        """Wait until nothing is executed."""
        assert await self.app.wait_idle("10d")


def play(
    scene: Callable[[Stage], Awaitable[T]], *, grace: float = GRACE, **options: Any
) -> T:
    """Run a scene on virtual time, with an application that was started."""
    clock = ManualClock(instant=1000.0)

    async def whole() -> T:
        stage = Stage(clock, **options)
        async with stage.app:
            return await scene(stage)

    return run_virtual(whole(), clock=clock, grace=grace)

"""What a case needs from whoever runs it, and what that needs to remember it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from random import Random
from typing import TYPE_CHECKING, Protocol

from pysys_orch.clock import Clock
from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.models import SignalEvent, TestExecution, TestReport

if TYPE_CHECKING:
    from pysys_orch.livecheck.requests import Web


class Host(Protocol):
    """An application, as its cases see it."""

    clock: Clock
    random: Random
    web: Web

    @property
    def is_leader(self) -> bool:
        """Whether this is the one of many workers that makes fake requests."""
        ...

    async def send_execution(self, test: TestExecution) -> None:
        """Have a test travel to whoever executes it."""
        ...

    async def send_signal(self, key: str, event: SignalEvent) -> None:
        """Have a signal travel to whoever waits for it."""
        ...

    async def post_report(self, report: TestReport) -> None:
        """Tell whoever wants to know."""
        ...

    def remember(
        self, name: str, health: Health, histories: Mapping[str, Iterable[float]]
    ) -> None:
        """Have it known how a case is when it is run again."""
        ...

    async def save(
        self, name: str, health: Health, histories: Mapping[str, Iterable[float]]
    ) -> None:
        """Have that known for sure, before anybody is told."""
        ...


class Recalled(Protocol):
    """What is known of a case from an earlier run."""

    @property
    def health(self) -> Health:
        """How it was, on the clock of this process."""
        ...

    @property
    def histories(self) -> Mapping[str, Iterable[float]]:
        """What it measured."""
        ...


class Memory(Protocol):
    """What outlives a run, as `pysys_orch.livecheck.store.Store` does."""

    def load(self, case_name: str) -> Recalled | None:
        """Return what is known of a case. It may take a while."""
        ...

    def put(
        self, case_name: str, health: Health, histories: Mapping[str, Iterable[float]]
    ) -> None:
        """Remember how a case is, in a moment."""
        ...

    def add(self, report: TestReport) -> None:
        """Remember a report, in a moment."""
        ...

    def save(
        self, case_name: str, health: Health, histories: Mapping[str, Iterable[float]]
    ) -> Future[None]:
        """Remember how a case is, and say when that is for sure."""
        ...

"""Which test a piece of code runs for.

Each task has its own: what a task sets, neither the one that started it nor any other
one sees; what it starts begins with what it has.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from pysys_orch.livecheck.models import TestExecution


class Execution(Protocol):
    """A test that is being executed, as its signals see it."""

    @property
    def test(self) -> TestExecution:
        """What is executed."""
        ...

    @property
    def started(self) -> float:
        """The instant at which it began."""
        ...

    @property
    def signal_latency(self) -> dict[str, float]:
        """How many seconds each signal was waited for."""
        ...

    def note_signal(self, name: str, key: str) -> None:
        """Take down that it got a signal under a key."""
        ...

    def log_info(self, msg: str, *args: object) -> None:
        """Say something about the test."""
        ...


#: The test that this code runs for: it executes it, or serves a request of it.
current_test: ContextVar[TestExecution | None] = ContextVar("test", default=None)

#: The execution that this code is a part of.
current_execution: ContextVar[Execution | None] = ContextVar("execution", default=None)

"""What stands in for a PySys test, where pytest itself wants to hold the helpers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from pysys_orch.docker.parent import Parent


class EndedError(Exception):
    """The test was ended with an outcome, whose reason this says."""


class StandIn:
    """A test and its run in one, with files in one folder.

    Args:
        folder: Where its files are.
    """

    defaultAbortOnError = True
    defaultIgnoreExitStatus = False
    isCleanupInProgress = False
    isRunnerAborting = False
    project = None

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.input = self.output = str(folder)
        self.failed = False
        self._cleanup: list[Callable[[], object]] = []

    def getXArg(self, key: str, default: Any) -> Any:
        return default

    def addCleanupFunction(
        self, fn: Callable[[], object], ignoreErrors: bool = False
    ) -> None:
        self._cleanup.append(fn)

    def addOutcome(self, outcome: Any, outcomeReason: str = "", **_: Any) -> None:
        self.failed = True
        raise EndedError(outcomeReason)

    def getOutcome(self) -> StandIn:
        return self

    def isFailure(self) -> bool:
        return self.failed

    def pollWait(self, secs: float) -> None:
        time.sleep(secs)

    def cleanup(self) -> None:
        """Do what PySys does when a test has ended: the last first."""
        while self._cleanup:
            self._cleanup.pop()()


@contextlib.contextmanager
def stand_in(folder: Path) -> Iterator[Parent]:
    """Give a test, cleaned up with the block."""
    made = StandIn(folder)
    try:
        yield cast(Parent, made)
    finally:
        made.cleanup()

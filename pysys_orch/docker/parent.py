"""What this wing asks of a PySys test or runner, and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pysys.utils.threadutils import createThreadInitializer


class Outcome(Protocol):
    """A PySys outcome."""

    def isFailure(self) -> bool:
        """Return whether the test has failed with it."""
        ...


class Parent(Protocol):
    """A `pysys.basetest.BaseTest` or `pysys.baserunner.BaseRunner`.

    Attributes:
        input: Absolute path of the input directory.
        output: Absolute path of the output directory.
        project: The PySys project.
        defaultAbortOnError: Whether a failure ends the test if nobody says.
        defaultIgnoreExitStatus: Whether any exit status will do if nobody says.
        isCleanupInProgress: Whether its cleanup functions are being called.
        isRunnerAborting: Whether the whole run is to end.
    """

    input: str
    output: str
    project: Any
    defaultAbortOnError: bool
    defaultIgnoreExitStatus: bool
    isCleanupInProgress: bool
    isRunnerAborting: bool

    def addCleanupFunction(
        self, fn: Callable[[], object], ignoreErrors: bool = False
    ) -> None:
        """Have *fn* called when it is cleaned up."""
        ...

    def addOutcome(
        self,
        outcome: Any,
        outcomeReason: str = "",
        *,
        abortOnError: bool | None = None,
        callRecord: list[str] | None = None,
    ) -> None:
        """Add an outcome, and end the test with it if it is a failure."""
        ...

    def allocateUniqueStdOutErr(self, processKey: str) -> tuple[str, str]:
        """Return paths for the output of a process."""
        ...

    def getDefaultEnvirons(self, command: str | None = None) -> dict[str, str]:
        """Return a clean environment for a process."""
        ...

    def getOutcome(self) -> Outcome:
        """Return the outcome so far."""
        ...

    def pollWait(self, secs: float) -> None:
        """Wait; raise if the run is being aborted."""
        ...

    def startProcess(
        self, command: str, arguments: Sequence[str], **options: Any
    ) -> Any:
        """Start a process."""
        ...


class Runner(Parent, Protocol):
    """A `pysys.baserunner.BaseRunner`.

    Attributes:
        runnerErrors: What makes the whole run fail.
    """

    runnerErrors: list[str]

    def getXArg(self, key: str, default: Any) -> Any:
        """Return the value of a ``-X`` argument, with the type of *default*."""
        ...


Environment = Mapping[str, str]


def logsOf(parent: Parent) -> Callable[[], object]:
    """Return what a thread calls first whose logging belongs to *parent*."""
    try:
        initializer: Callable[[], object] = createThreadInitializer(parent)
    except AssertionError:  # called in a thread whose logging belongs to nobody
        return lambda: None
    return initializer

"""How a single test is executed, and what becomes of it."""

from __future__ import annotations

import asyncio
import linecache
import logging
import traceback
from collections.abc import Awaitable, Callable
from datetime import datetime
from types import TracebackType
from typing import Any, ClassVar, Protocol

from pysys_orch.clock import Clock
from pysys_orch.livecheck.bounds import Limits, cancellations, guarded
from pysys_orch.livecheck.context import current_execution, current_test
from pysys_orch.livecheck.deadlines import Deadlines
from pysys_orch.livecheck.exceptions import (
    LiveCheckError,
    LiveCheckTestFailed,
    LiveCheckTestRaised,
    LiveCheckTestSkipped,
    LiveCheckTestTimeout,
)
from pysys_orch.livecheck.hooks import is_defined
from pysys_orch.livecheck.models import CUT_OFF, State, TestExecution, TestReport
from pysys_orch.livecheck.talk import Talk

log = logging.getLogger("pysys.orch.livecheck")

_MOST_LINES = 1000


class RunnerCase(Protocol):
    """A case, as its runners see it."""

    name: str
    active: bool
    realtime_logs: bool
    deadlines: Deadlines
    limits: Limits
    talk: Talk

    @property
    def clock(self) -> Clock:
        """What tells the time."""
        ...

    async def run(self, *test_args: Any, **test_kwargs: Any) -> None:
        """Be the test."""
        ...

    def arguments(self, test: TestExecution) -> tuple[list[Any], dict[str, Any]]:
        """Return what to call `run` with."""
        ...

    def begin(self, runner: TestRunner) -> None:
        """Take down that a test begins."""
        ...

    async def end(self, runner: TestRunner, *, report: TestReport) -> None:
        """Take down how a test ended, and tell whom it concerns."""
        ...

    async def on_test_start(self, runner: TestRunner) -> None:
        """Learn that a test starts."""
        ...


class TestRunner:
    """Executes one test.

    However it ends, also if it is cut off, it has a state, its hooks are called, and
    there is a report.

    Args:
        case: The case.
        test: What is to be executed.
        started: The instant.

    Attributes:
        state: How it ended; INIT until then.
        error: Why it did not pass.
        runtime: How many seconds it took; None if it was not executed.
        ended: The instant; None until then.
        signal_latency: How many seconds each signal was waited for; those that came.
        report: What became of it; None until then.
        consumed: Signals that it waited for under other keys than its id.
    """

    __test__: ClassVar[bool] = False  # nothing for pytest

    __slots__ = (
        "__weakref__",
        "_expirations",
        "_lines",
        "_task",
        "case",
        "consumed",
        "ended",
        "error",
        "issued",
        "report",
        "runtime",
        "signal_latency",
        "started",
        "state",
        "test",
    )

    def __init__(self, case: RunnerCase, test: TestExecution, started: float) -> None:
        self.case = case
        self.test = test
        self.started = started
        self.issued = started
        self.ended: float | None = None
        self.runtime: float | None = None
        self.state = State.INIT
        self.error: BaseException | None = None
        self.signal_latency: dict[str, float] = {}
        self.report: TestReport | None = None
        self.consumed: list[tuple[str, str]] | None = None
        self._expirations = 0
        self._task: asyncio.Task[Any] | None = None
        self._lines: list[tuple[str, tuple[object, ...]]] | None = None

    def __str__(self) -> str:
        return self.test.shortident

    async def execute(self) -> None:
        """Execute it, report what became of it, and raise if it did not pass.

        Raises:
            LiveCheckTestFailed: What has to hold did not; its cause says what.
            LiveCheckTestRaised: It raised something else; that is the cause.
            LiveCheckTestTimeout: A signal did not come in time, or it expired.
            LiveCheckTestSkipped: It was not to run, or not to go on.
            asyncio.CancelledError: It was cut off.
        """
        test_before = current_test.set(self.test)
        execution_before = current_execution.set(self)
        try:
            stamp = self.case.clock.stamp()
            age = (stamp - self.test.timestamp).total_seconds()
            self.issued = self.started - age
            words = self._not_to_run(stamp)
            if words is not None:
                self.state, self.error = State.SKIP, LiveCheckTestSkipped(words)
            else:
                await self._run(stamp)
            await self._finish()
        finally:
            current_execution.reset(execution_before)
            current_test.reset(test_before)
        if self.error is not None:
            self._raise(self.error)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.ended is not None

    def expire(self) -> None:
        """Have it end, since nobody wants to know any more."""
        if self._task is not None:
            self._expirations += 1
            self._task.cancel()

    def note_signal(self, name: str, key: str) -> None:
        """Take down that it got a signal under a key."""
        if key == self.test.id:
            return
        if self.consumed is None:
            self.consumed = []
        self.consumed.append((name, key))

    async def skip(self, words: str) -> None:
        """Do not execute it at all, and report that.

        Args:
            words: Why.
        """
        self.state, self.error = State.SKIP, LiveCheckTestSkipped(words)
        await self._finish()

    def log_info(self, msg: str, *args: object) -> None:
        """Say something that is logged with what becomes of the test.

        With ``realtime_logs`` it is logged at once.

        Args:
            msg: What; with *args*, as `logging` formats it.
            args: What belongs into it.
        """
        if self.case.realtime_logs:
            log.info("[%s] %s", self.test.shortident, _line(msg, args))
        elif self._lines is None:
            self._lines = [(msg, args)]
        elif len(self._lines) < _MOST_LINES:
            self._lines.append((msg, args))

    # Inside ---------------------------------------------------------------------------

    def _not_to_run(self, stamp: datetime) -> str | None:
        if not self.case.active:
            return "the case is not active"
        if self.test.expired_at(stamp):
            return f"the test expired at {self.test.expires.isoformat()}"
        return None

    async def _run(self, stamp: datetime) -> None:
        """Run it; whatever happens becomes its state."""
        case, test = self.case, self.test
        case.begin(self)
        left = (test.expires - stamp).total_seconds()
        self._task = task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        case.deadlines.add(self.started + left, self)
        try:
            if is_defined(case.on_test_start):
                await self.call_hook(case.on_test_start, self)
            args, kwargs = case.arguments(test)
            await case.run(*args, **kwargs)
        except (AssertionError, LiveCheckTestFailed) as failure:
            self.state, self.error = State.FAIL, failure
        except LiveCheckTestTimeout as failure:
            self.state, self.error = State.TIMEOUT, failure
        except LiveCheckTestSkipped as failure:
            self.state, self.error = State.SKIP, failure
        except asyncio.CancelledError as failure:
            # One that nobody asked for is that of something the test waited for.
            is_asked = cancellations() > before
            self.state = State.SKIP if is_asked else State.ERROR
            self.error = failure
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as failure:  # noqa: BLE001 -- a test raises what it likes, and must not end others
            self.state, self.error = State.ERROR, failure
        else:
            self.state = State.PASS
        self.ended = case.clock.instant()
        self.runtime = self.ended - self.started
        case.deadlines.note_over()
        if self.error is not None and self.error.__traceback__ is not None:
            # From the test on: and this frame, which holds the error, is held by none.
            inner = self.error.__traceback__.tb_next
            self.error = self.error.with_traceback(inner)
        if self._expirations and self._task is not None:
            for _ in range(self._expirations):
                self._task.uncancel()
            is_cut_off = cancellations() > before
            if self.state in {State.SKIP, State.PASS} and not is_cut_off:
                words = f"the test expired after {left:.3f} s"
                self.state, self.error = State.TIMEOUT, LiveCheckTestTimeout(words)
        self._task = None

    async def _finish(self) -> None:
        report = self.report = self._made_report()
        try:
            self._log(report)
        except Exception:
            log.exception("[%s] what it said is lost", self.test.shortident)
        await self.case.end(self, report=report)

    async def call_hook(
        self, hook: Callable[..., Awaitable[None]], *args: object
    ) -> None:
        """Call a hook; what it raises is logged, and it may take `HOOK_WITHIN`."""
        if is_defined(hook):
            await guarded(self, hook, *args, limits=self.case.limits)

    def _made_report(self) -> TestReport:
        name, failure = self.case.name, self.error
        if failure is None:
            return TestReport(
                name, self.state, self.signal_latency, self.test, self.runtime
            )
        words, place = _said(failure), None
        if self.state is State.SKIP and isinstance(failure, asyncio.CancelledError):
            words = f"{CUT_OFF} {self.runtime or 0.0:.3f} s"
        elif failure.__traceback__ is not None:
            place = "".join(_frames(failure.__traceback__))
        return TestReport(
            name,
            self.state,
            self.signal_latency,
            self.test,
            self.runtime,
            words,
            place,
        )

    def _log(self, report: TestReport) -> None:
        """Log how it ended, with all that it said: a pass only to who looks closely."""
        is_ok = report.state.is_ok()
        level = logging.DEBUG if is_ok else logging.ERROR
        if is_ok and self.case.realtime_logs:
            level = logging.INFO
        if not log.isEnabledFor(level):
            return
        left_out = 0 if is_ok else self.case.talk.due()
        if left_out is None:
            return
        ident = self.test.shortident
        took = "" if self.runtime is None else f" after {self.runtime:.3f} s"
        lines = [f"[{ident}] {_line(*each)}" for each in self._lines or ()]
        error = "" if report.error is None else f": {report.error}"
        more = f" ({left_out} more failed since the last one here)" if left_out else ""
        lines.append(f"[{ident}] {report.state.value}{took}{error}{more}")
        if report.traceback:
            lines.append(report.traceback.rstrip())
        log.log(level, "%s", "\n".join(lines))

    def _raise(self, failure: BaseException) -> None:
        try:
            match self.state:
                case State.FAIL if not isinstance(failure, LiveCheckError):
                    raise LiveCheckTestFailed(_said(failure)) from failure
                case State.ERROR if not isinstance(failure, LiveCheckError):
                    raise LiveCheckTestRaised(_said(failure)) from failure
                case _:
                    raise failure
        finally:
            # Its traceback holds this frame, which is not to hold it.
            del failure


def _line(msg: str, args: tuple[object, ...]) -> str:
    try:
        return msg % args if args else msg
    except (TypeError, ValueError):
        pass
    except Exception:  # noqa: BLE001 -- whatever a user's class raises
        return f"{msg} (what belongs into it cannot be shown)"
    try:
        return f"{msg} {args!r}"
    except Exception:  # noqa: BLE001 -- the same
        return "what cannot be shown"


def _said(failure: BaseException) -> str:
    try:
        return str(failure) or type(failure).__name__
    except Exception:  # noqa: BLE001 -- whatever a user's class raises
        return type(failure).__name__


def _frames(trace: TracebackType) -> list[str]:
    """Return where it happened, outermost first, from the test on."""
    found = []
    for frame, line in traceback.walk_tb(trace):
        code = frame.f_code
        place = f'  File "{code.co_filename}", line {line}, in {code.co_qualname}\n'
        # Much quicker than what the traceback module does for a pretty picture.
        source = linecache.getline(code.co_filename, line).strip()
        found.append(f"{place}    {source}\n" if source else place)
    return found

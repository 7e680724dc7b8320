"""Has tests executed: so many at once, the others in turn, too many not at all."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections import deque
from typing import Any

from pysys_orch.livecheck.bounds import guarded
from pysys_orch.livecheck.case import Case
from pysys_orch.livecheck.exceptions import LiveCheckError
from pysys_orch.livecheck.models import TestExecution

log = logging.getLogger("pysys.orch.livecheck")

# A flood of tests is not to be one of log lines.
_LOG_EACH = 1000

# So many reports of skipped tests are under way at once: one that hangs holds up few.
_REPORTERS = 100


class Crew:
    """Executes the tests of an application.

    Args:
        name: What the application is called.
        concurrency: How many tests are executed at the same time.
        max_pending: How many more may wait for that.

    Attributes:
        dropped: How many tests were skipped for want of a place.
    """

    def __init__(self, name: str, *, concurrency: int, max_pending: int) -> None:
        self._name = name
        self._concurrency = concurrency
        self._max_pending = max_pending
        self.dropped = 0
        self._skipped = 0
        self._pending: deque[tuple[Case, TestExecution]] = deque()
        self._held: dict[str, deque[tuple[Case, TestExecution]]] = {}
        self._skips: deque[tuple[Case, TestExecution, str]] = deque()
        self._running = set[asyncio.Task[None]]()
        self._reporters = set[asyncio.Task[None]]()
        self._ready = set[str]()
        self._refused: dict[str, str] = {}
        self._is_open = False
        self._context = contextvars.Context()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def tests(self) -> set[asyncio.Task[None]]:
        """The tests that are being executed."""
        return set(self._running)

    @property
    def reporters(self) -> set[asyncio.Task[None]]:
        """What reports tests that are not executed."""
        return set(self._reporters)

    @property
    def unreported(self) -> int:
        """How many tests that are not executed nobody has reported yet."""
        return len(self._skips)

    def open(self) -> None:
        """Begin to take tests; they begin with the context of who calls this."""
        # Of the loop that runs now, which may be another one than before.
        self._idle = asyncio.Event()
        self._idle.set()
        self._context = contextvars.copy_context()
        self._is_open = True

    def shut(self) -> None:
        """Take no more; those that came are executed."""
        self._is_open = False

    async def close(self) -> None:
        """Take no more: cut off those that are executed, skip those that wait.

        It does not wait for that: `tests` and `reporters` are what is still to end.
        """
        self._is_open = False
        waiting = [*self._pending]
        for held in self._held.values():
            waiting += held
        self._pending.clear()
        self._held.clear()
        self._ready.clear()
        self._refused.clear()
        # Those that did not begin yet have to, or they would say nothing.
        await asyncio.sleep(0)
        # A test may be the one that ends it.
        for task in self._running - {asyncio.current_task()}:
            task.cancel()
        for case, test in waiting:
            self._skip(case, test, "the application stops")

    def accept(self, name: str) -> None:
        """Have the tests of a case executed, from the first one that came."""
        self._ready.add(name)
        for case, test in self._held.pop(name, ()):
            self._place(case, test)
        self._look_around()

    def refuse(self, name: str, words: str) -> None:
        """Have the tests of a case skipped, from the first one that came."""
        self._refused[name] = words
        for case, test in self._held.pop(name, ()):
            self._skip(case, test, words)
        self._look_around()

    def take(self, case: Case, test: TestExecution) -> None:
        """Have a test executed, or skipped; nobody waits for it."""
        case.arrivals.expect_test(test.id)
        if not self._is_open:
            self._skip(case, test, "the application does not run")
        elif case.name in self._refused:
            self._skip(case, test, self._refused[case.name])
        elif case.name in self._ready:
            self._place(case, test)
        elif self._has_place():
            self._idle.clear()
            self._held.setdefault(case.name, deque()).append((case, test))
        else:
            self._drop(case, test)

    async def wait_idle(self, bound: float | None) -> bool:
        """Wait until nothing is executed, waits for that, or is to be reported."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound):
                await self._idle.wait()
        return self._idle.is_set()

    # Inside ---------------------------------------------------------------------------

    def _has_place(self) -> bool:
        held = sum(map(len, self._held.values())) if self._held else 0
        return len(self._pending) + held < self._max_pending

    def _place(self, case: Case, test: TestExecution) -> None:
        if len(self._running) < self._concurrency:
            self._idle.clear()
            self._spawn(case, test)
        elif self._has_place():
            self._pending.append((case, test))
        else:
            self._drop(case, test)

    def _spawn(self, case: Case, test: TestExecution) -> None:
        # A test begins with what the application has, not with what triggered it.
        context = self._context.copy()
        loop = asyncio.get_running_loop()
        task = loop.create_task(case.execute(test), name=test.id, context=context)
        self._running.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        failure = None if task.cancelled() else task.exception()
        # A test that did not pass has told already what became of it.
        if failure is not None and not isinstance(failure, LiveCheckError):
            log.error("%s: %s failed", self._name, task.get_name(), exc_info=failure)
        if self._pending:
            self._spawn(*self._pending.popleft())
        elif not self._running:
            self._look_around()

    def _look_around(self) -> None:
        has_work = self._running or self._pending or self._held
        if not has_work and not self._skips and not self._reporters:
            self._idle.set()

    def _drop(self, case: Case, test: TestExecution) -> None:
        self.dropped += 1
        words = f"{self._max_pending} tests wait already (max_pending)"
        self._skip(case, test, words)

    def _skip(self, case: Case, test: TestExecution, words: str) -> None:
        if self._skipped % _LOG_EACH == 0:
            log.warning(
                "[%s] skipped: %s (of these, one in %d is logged)",
                test.shortident,
                words,
                _LOG_EACH,
            )
        self._skipped += 1
        if len(self._skips) >= 2 * self._max_pending:
            # Whoever reports hangs: this one is counted, and no more.
            case.note_skip(test)
            return
        self._idle.clear()
        self._skips.append((case, test, words))
        if len(self._reporters) < min(_REPORTERS, len(self._skips)):
            loop = asyncio.get_running_loop()
            name = f"{self._name} reports skipped tests"
            task: asyncio.Task[Any] = loop.create_task(
                self._report_skips(), name=name, context=self._context.copy()
            )
            self._reporters.add(task)
            task.add_done_callback(self._on_reported)

    async def _report_skips(self) -> None:
        while self._skips:
            case, test, words = self._skips.popleft()
            await guarded(test.shortident, case.skip, test, words)

    def _on_reported(self, task: asyncio.Task[None]) -> None:
        self._reporters.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            log.error("%s failed", task.get_name(), exc_info=failure)
        self._look_around()

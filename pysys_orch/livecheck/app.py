"""The application: it knows the cases, and has tests executed."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Self, TypeVar, Unpack, overload

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.errors import ConfigError, StateError
from pysys_orch.inputs import nearest
from pysys_orch.livecheck.bus import Bus, LocalBus, Message, Topic
from pysys_orch.livecheck.case import Case
from pysys_orch.livecheck.context import current_test
from pysys_orch.livecheck.durations import Duration, seconds_of
from pysys_orch.livecheck.exceptions import LiveCheckError, MessageError
from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.host import Memory
from pysys_orch.livecheck.models import (
    SignalEvent,
    State,
    TestExecution,
    TestReport,
)
from pysys_orch.livecheck.options import Options
from pysys_orch.livecheck.requests import Web

log = logging.getLogger("pysys.orch.livecheck")

C = TypeVar("C", bound=Case)

_STOP_WITHIN = 10.0
_SAVE_WITHIN = 5.0

# A flood of tests is not to be one of log lines.
_LOG_EACH = 1000


class LiveCheck:
    """An application of live checks.

    It is an asynchronous context manager: within it, tests are executed.

    Args:
        name: What it is called, in logs.
        send_reports: Whether reports travel to whoever subscribed to them.
        concurrency: How many tests are executed at the same time.
        max_pending: How many more may wait for that. A further one is skipped, which
            its report says: what is watched does not wait for who watches.
        bus: How signals, executions and reports travel.
        store: What remembers the cases when they are run again. Whoever made it closes
            it, after the application has stopped.
        web: How cases make requests.
        clock: What tells the time. Timers are those of the running loop.
        random: Where ids and samples come from.

    Attributes:
        cases: The cases, by their names.
        dropped: How many tests were skipped for want of a place.

    Example:
        >>> import asyncio
        >>> from pysys_orch.livecheck import Case, LiveCheck
        >>> class Sum(Case):
        ...     async def run(self, total: int, *parts: int) -> None:
        ...         assert total == sum(parts)
        >>> async def main() -> None:
        ...     async with LiveCheck() as app:
        ...         case = app.add_case(Sum)
        ...         await case.trigger("a", 3, 1, 2)
        ...         await app.wait_idle()
        ...         print(case.status)
        >>> asyncio.run(main())
        PASS
    """

    def __init__(
        self,
        name: str = "livecheck",
        *,
        send_reports: bool = True,
        concurrency: int = 10_000,
        max_pending: int = 100_000,
        bus: Bus | None = None,
        store: Memory | None = None,
        web: Web | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        for what, count in (("concurrency", concurrency), ("max_pending", max_pending)):
            if count < 1:
                message = f"{what} has to be at least 1, got {count}"
                raise ConfigError(message)
        self.name = name
        self.send_reports = send_reports
        self.clock: Clock = SystemClock() if clock is None else clock
        self.random = Random() if random is None else random  # noqa: S311 -- not for secrets
        self.bus: Bus = LocalBus() if bus is None else bus
        self.web = Web() if web is None else web
        self.cases: dict[str, Case] = {}
        self._store = store
        self._recalled = set[str]()
        self.dropped = 0
        self._concurrency = concurrency
        self._max_pending = max_pending
        self._pending: deque[tuple[Case, TestExecution]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._chores: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = asyncio.Event()
        self._is_started = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.Context()
        self.bus.subscribe(Topic.EXECUTIONS, self._on_execution)
        self.bus.subscribe(Topic.SIGNALS, self._on_signal)

    # Cases ----------------------------------------------------------------------------

    @overload
    def case(self, cls: type[C], /) -> C: ...

    @overload
    def case(
        self, *, name: str | None = None, **options: Unpack[Options]
    ) -> Callable[[type[C]], C]: ...

    def case(  # type: ignore[misc] # it does accept them: mypy looks at no TypedDict
        self,
        cls: type[C] | None = None,
        /,
        *,
        name: str | None = None,
        **options: Any,
    ) -> C | Callable[[type[C]], C]:
        """Make a case of a class, and add it: ``@app.case`` or ``@app.case(...)``.

        What the class is called is the case then, not the class. mypy does not know
        that of decorators: with it, `add_case` is better.

        Args:
            cls: The class.
            name: What the case is called: as the class, by default.
            options: Options of the case, instead of those that the class has.

        Raises:
            ConfigError: There is one of that name, or an option makes no sense.
        """

        def add(cls: type[C]) -> C:
            return self.add_case(cls, name=name, **options)

        return add if cls is None else add(cls)

    def add_case(
        self, case: type[C] | C, *, name: str | None = None, **options: Unpack[Options]
    ) -> C:
        """Add a case, or one that is made of a class.

        Args:
            case: The case or the class.
            name: What it is called: as the class, by default.
            options: Options of the case, instead of those that the class has.

        Returns:
            The case.

        Raises:
            ConfigError: There is one of that name, or an option makes no sense.
        """
        given: object = case
        if isinstance(given, type) and not issubclass(given, Case):
            message = f"{given.__qualname__} has to be a subclass of Case"
            raise ConfigError(message)
        made = (
            case(app=self, name=name or name_of(case), **options)
            if isinstance(case, type)
            else case
        )
        if self.cases.get(made.name, made) is not made:
            message = (
                f"there is a case {made.name!r} already: give one of them another "
                "name, by name=..."
            )
            raise ConfigError(message)
        self.cases[made.name] = made
        if self._is_started:
            chore = asyncio.get_running_loop().create_task(self._start_case(made))
            self._chores.add(chore)
            chore.add_done_callback(self._on_chore_done)
        return made

    @property
    def current_test(self) -> TestExecution | None:
        """The test that this task runs for, if any."""
        return current_test.get()

    @property
    def is_leader(self) -> bool:
        """Whether this is the one of many workers that makes fake requests."""
        return self.bus.is_leader

    # Its life -------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to execute tests.

        Raises:
            StateError: What is known of the cases cannot be read.
        """
        if self._is_started:
            return
        self._is_started = True
        self._loop = asyncio.get_running_loop()
        # Of the loop that runs now, which may be another one than before.
        self._idle, self._stopped = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._context = contextvars.copy_context()
        try:
            await self.bus.start()
            for case in list(self.cases.values()):
                await self._start_case(case)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, *, timeout: Duration = _STOP_WITHIN) -> None:
        """End, within a bound: tests that are executed are cut off.

        These, and those that wait for that, are reported as skipped before it returns.

        Args:
            timeout: How long the tests may take to end, and then the bus to carry what
                was sent. Tests that do not end are left alone, which is logged.
        """
        if not self._is_started:
            return
        self._is_started = False
        bound = seconds_of(timeout, "timeout")
        waiting, self._pending = self._pending, deque()
        try:
            async with asyncio.timeout(bound):
                for case in list(self.cases.values()):
                    await case.stop()
                # Those that did not begin yet have to, or they would say nothing.
                await asyncio.sleep(0)
                # A test may be the one that ends it.
                others = self._running - {asyncio.current_task()}
                for task in others:
                    task.cancel()
                for case, test in waiting:
                    await self._report_skip(case, test, "the application stops")
                if others:
                    await asyncio.wait(others)
        except TimeoutError:
            log.error(  # noqa: TRY400 -- where this is says nothing
                "%s: %d tests did not end within %g s: %s",
                self.name,
                len(self._running),
                bound,
                ", ".join(sorted(task.get_name() for task in self._running)[:5]),
            )
        for close in (self.bus.stop, self.web.close):
            try:
                async with asyncio.timeout(bound):
                    await close()
            except Exception:
                log.exception("%s: %s failed", self.name, close.__qualname__)
        self._loop = None
        self._stopped.set()

    async def run(self) -> None:
        """Execute tests until somebody stops it, or the task is cancelled."""
        async with self:
            await self._stopped.wait()

    async def wait_idle(self, timeout: Duration | None = None) -> bool:
        """Wait until no test is executed, and none waits for that.

        Args:
            timeout: How long; None is as long as it takes.

        Returns:
            Whether that is so.
        """
        bound = None if timeout is None else seconds_of(timeout, "timeout")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound):
                await self._idle.wait()
        return self._idle.is_set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # What travels ---------------------------------------------------------------------

    async def send_execution(self, test: TestExecution) -> None:
        """Have a test travel to whoever executes it."""
        await self._send(Topic.EXECUTIONS, test.id, test.as_json())

    async def send_signal(self, key: str, event: SignalEvent) -> None:
        """Have a signal travel to whoever waits for it."""
        await self._send(Topic.SIGNALS, key, event.as_json())

    async def post_report(self, report: TestReport) -> None:
        """Tell whoever subscribed to reports."""
        if self._store is not None:
            self._store.add(report)
        if self.send_reports:
            key = report.case_name if report.test is None else report.test.id
            await self._send(Topic.REPORTS, key, report.as_json())

    # What is remembered ---------------------------------------------------------------

    def remember(
        self, name: str, health: Health, histories: Mapping[str, Iterable[float]]
    ) -> None:
        """Have it known how a case is when it is run again."""
        if self._store is not None:
            self._store.put(name, health, histories)

    async def save(
        self, name: str, health: Health, histories: Mapping[str, Iterable[float]]
    ) -> None:
        """Have that known for sure; if that cannot be, it is logged."""
        if self._store is None:
            return
        try:
            async with asyncio.timeout(_SAVE_WITHIN):
                await asyncio.wrap_future(self._store.save(name, health, histories))
        except (StateError, TimeoutError):
            log.exception("[%s] %s is not remembered", name, health.status.value)

    # Inside ---------------------------------------------------------------------------

    async def _start_case(self, case: Case) -> None:
        if self._store is not None and case.name not in self._recalled:
            known = await asyncio.to_thread(self._store.load, case.name)
            self._recalled.add(case.name)
            if known is not None:
                case.recall(known.health, known.histories)
        await case.start()

    async def _send(self, topic: Topic, key: str, message: Message) -> None:
        # What is watched is not to fail for being watched.
        try:
            sending = self.bus.send(topic, key, message)
            home = self._loop
            if home is None or home is asyncio.get_running_loop():
                await sending
            else:
                # A service may have a loop of its own, in another thread.
                await asyncio.wrap_future(
                    asyncio.run_coroutine_threadsafe(sending, home)
                )
        except Exception:
            log.exception("%s: could not send to %s: %s", self.name, topic.value, key)

    async def _on_signal(self, key: str, message: Message) -> None:
        try:
            event = SignalEvent.from_json(message)
        except MessageError as failure:
            log.error("%s: %s", self.name, failure)  # noqa: TRY400 -- it says all
            return
        case = self._find(event.case_name)
        if case is not None:
            await case.resolve_signal(key, event)

    async def _on_execution(self, _key: str, message: Message) -> None:
        try:
            test = TestExecution.from_json(message)
        except MessageError as failure:
            log.error("%s: %s", self.name, failure)  # noqa: TRY400 -- it says all
            return
        case = self._find(test.case_name)
        if case is None:
            return
        if not self._is_started:
            await self._report_skip(case, test, "the application does not run")
        elif len(self._running) < self._concurrency:
            self._idle.clear()
            self._spawn(case, test)
        elif len(self._pending) < self._max_pending:
            self._pending.append((case, test))
        else:
            self.dropped += 1
            words = f"{self._max_pending} tests wait already (max_pending)"
            await self._report_skip(case, test, words)

    def _find(self, name: str) -> Case | None:
        case = self.cases.get(name)
        if case is None:
            log.error(
                "%s: there is no case %r%s", self.name, name, nearest(name, self.cases)
            )
        return case

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
            log.error("%s: %s failed", self.name, task.get_name(), exc_info=failure)
        if self._pending:
            self._spawn(*self._pending.popleft())
        elif not self._running:
            self._idle.set()

    def _on_chore_done(self, chore: asyncio.Task[None]) -> None:
        self._chores.discard(chore)
        failure = None if chore.cancelled() else chore.exception()
        if failure is not None:
            log.error("%s: a case did not start", self.name, exc_info=failure)

    async def _report_skip(self, case: Case, test: TestExecution, words: str) -> None:
        if self.dropped % _LOG_EACH in {0, 1}:
            log.warning("[%s] skipped: %s", test.shortident, words)
        report = TestReport(case.name, State.SKIP, {}, test, error=words)
        try:
            await case.post_report(report)
        except Exception:
            log.exception("[%s] post_report failed", test.shortident)


def name_of(cls: type[Case]) -> str:
    """Return what a case of a class is called, unless somebody says it."""
    return cls.__qualname__.rpartition("<locals>.")[2]

"""The application: it knows the cases, and has tests executed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from random import Random
from typing import Any, Self, TypeVar, Unpack, cast, overload

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.errors import ConfigError, StateError
from pysys_orch.inputs import nearest
from pysys_orch.livecheck.bounds import Limits, ended, guarded, names_of
from pysys_orch.livecheck.bus import Bus, LocalBus, Message, Topic
from pysys_orch.livecheck.case import Case
from pysys_orch.livecheck.context import current_test
from pysys_orch.livecheck.crew import Crew
from pysys_orch.livecheck.durations import Duration, seconds_of
from pysys_orch.livecheck.exceptions import MessageError
from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.hooks import CaseHooks
from pysys_orch.livecheck.host import Memory
from pysys_orch.livecheck.models import SignalEvent, TestExecution, TestReport
from pysys_orch.livecheck.options import Options
from pysys_orch.livecheck.requests import Web

log = logging.getLogger("pysys.orch.livecheck")

C = TypeVar("C", bound=Case)

_STOP_WITHIN = 10.0
_SAVE_WITHIN = 5.0
_LAST = 1.0


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
            given: object = count
            if type(given) is not int or given < 1:
                message = f"{what} has to be a whole number from 1, got {count!r}"
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
        self._crew = Crew(name, concurrency=concurrency, max_pending=max_pending)
        self._chores: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()
        self._is_started = False
        self._loop: asyncio.AbstractEventLoop | None = None
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
        made = self._made(case, name, options)
        known = self.cases.get(made.name)
        if known is made:
            return made
        if known is not None:
            message = (
                f"there is a case {made.name!r} already: give one of them another "
                "name, by name=..."
            )
            raise ConfigError(message)
        if type(made).run is CaseHooks.run:
            words = "%s defines no run(): each of its tests will be an ERROR"
            log.warning(words, type(made).__qualname__)
        self.cases[made.name] = made
        if self._is_started:
            if self._is_known(made):
                self._crew.accept(made.name)
            chore = asyncio.get_running_loop().create_task(
                self._start_later(made), name=f"livecheck {made.name} start"
            )
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)
        return made

    @property
    def dropped(self) -> int:
        """How many tests were skipped for want of a place."""
        return self._crew.dropped

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
        self._stopped = asyncio.Event()
        self._crew.open()
        cases = list(self.cases.values())
        try:
            # Before anything comes: or it would be counted, and then forgotten.
            for case in cases:
                await self._recall(case)
            await self.bus.start()
            for case in cases:
                await self._start_case(case)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, *, timeout: Duration = _STOP_WITHIN) -> None:
        """End, within a bound: tests that are executed are cut off.

        These, and those that wait for that, are reported as skipped before it returns,
        and what is to be told of a case is told.

        Args:
            timeout: How long all of that may take to end, and then the bus to carry
                what was sent. What does not end is left alone, which is logged.
        """
        if not self._is_started:
            return
        self._is_started = False
        bound = seconds_of(timeout, "timeout")
        loop = asyncio.get_running_loop()
        end = loop.time() + bound
        cases = list(self.cases.values())
        # All at once, and first of all: nothing that does not end holds up the others.
        await self._crew.close()
        upkeep = set(self._chores) - {asyncio.current_task()}
        for chore in upkeep:
            chore.cancel()
        upkeep |= {task for case in cases for task in case.halt()}
        tests = self._crew.tests - {asyncio.current_task()}
        await ended(tests | upkeep | self._crew.reporters, end - loop.time())
        # What ended last may have had something to tell.
        tellers = {task for case in cases for task in case.tellers}
        await ended(tellers, end - loop.time())
        await self._give_up(tests, upkeep, self._crew.reporters | tellers, bound)
        limits = Limits(bound)
        for case in cases:
            await guarded(case.name, case.stop, limits=limits)
        for close in (self.bus.stop, self.web.close):
            await guarded(self.name, close, limits=limits)
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
        return await self._crew.wait_idle(bound)

    async def drain(self, timeout: Duration) -> bool:
        """Take no more tests, and wait until those that came have ended.

        Args:
            timeout: How long that may take.

        Returns:
            Whether they have.
        """
        self._crew.shut()
        return await self.wait_idle(timeout)

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
        saving = self._store.save(name, health, histories)
        loop = asyncio.get_running_loop()
        try:
            # In a thread, for which a loop on virtual time lets no time pass.
            await loop.run_in_executor(None, saving.result, _SAVE_WITHIN)
        except (StateError, TimeoutError, CancelledError):
            log.exception("[%s] %s is not remembered", name, health.status.value)

    # Inside ---------------------------------------------------------------------------

    def _made(
        self, case: type[C] | C, name: str | None, options: Mapping[str, Any]
    ) -> C:
        given: object = case
        if isinstance(given, type) and issubclass(given, Case):
            made: C = case(app=self, name=name or name_of(given), **options)  # type: ignore[operator] # a class
            return made
        if not isinstance(given, Case):
            named = given.__qualname__ if isinstance(given, type) else repr(given)
            message = f"{named} has to be a subclass of Case, or a case"
            raise ConfigError(message)
        if given.app is not self:
            message = (
                f"{given.label} is of another application: make it with app=..., or "
                "add its class"
            )
            raise ConfigError(message)
        if options or name not in {None, given.name}:
            words = ", ".join(["name", *options] if name else options)
            message = (
                f"{given.label} is made already: give {words} where it is made, or add "
                "its class"
            )
            raise ConfigError(message)
        return cast("C", given)

    async def _recall(self, case: Case) -> None:
        if self._store is not None and not self._is_known(case):
            known = await asyncio.to_thread(self._store.load, case.name)
            self._recalled.add(case.name)
            if known is not None:
                case.recall(known.health, known.histories)

    def _is_known(self, case: Case) -> bool:
        """Return whether all that is remembered of a case was recalled."""
        return self._store is None or case.name in self._recalled

    async def _start_case(self, case: Case) -> None:
        await case.start()
        self._crew.accept(case.name)

    async def _start_later(self, case: Case) -> None:
        """Start a case while the application runs; its tests wait for that."""
        try:
            await self._recall(case)
            await self._start_case(case)
        except Exception as failure:
            log.exception("%s: the case %r did not start", self.name, case.name)
            self._crew.refuse(case.name, f"the case did not start: {failure}")

    async def _give_up(
        self,
        tests: set[asyncio.Task[None]],
        upkeep: set[asyncio.Task[None]],
        reporters: set[asyncio.Task[None]],
        bound: float,
    ) -> None:
        """Log what did not end, and have what is of the application end at last."""
        here = asyncio.current_task()
        for kind, tasks in (("tests", tests), ("tasks", upkeep | reporters)):
            left = {task for task in tasks if not task.done() and task is not here}
            if left:
                words = f"{len(left)} {kind} did not end within {bound:g} s"
                log.error("%s: %s: %s", self.name, words, names_of(left))
        if self._crew.unreported:
            count = self._crew.unreported
            log.error("%s: %d skipped tests are not reported", self.name, count)
        for task in reporters - {here}:
            task.cancel()
        await ended(reporters, min(bound, _LAST))

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
        self._crew.take(case, test)

    def _find(self, name: str) -> Case | None:
        case = self.cases.get(name)
        if case is None:
            log.error(
                "%s: there is no case %r%s", self.name, name, nearest(name, self.cases)
            )
        return case


def name_of(cls: type[Case]) -> str:
    """Return what a case of a class is called, unless somebody says it."""
    return cls.__qualname__.rpartition("<locals>.")[2]

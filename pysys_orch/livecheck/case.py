"""Cases: what is to hold of live traffic, and whether it does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast
from uuid import UUID

from pysys_orch.clock import Clock
from pysys_orch.inputs import nearest
from pysys_orch.livecheck.arrivals import Arrivals
from pysys_orch.livecheck.bounds import Limits, ended, guarded
from pysys_orch.livecheck.context import current_execution, current_test
from pysys_orch.livecheck.deadlines import Deadlines
from pysys_orch.livecheck.declaring import bound, declared
from pysys_orch.livecheck.durations import Duration
from pysys_orch.livecheck.events import (
    Answered,
    Began,
    Condemned,
    Down,
    Ended,
    Event,
    Kind,
    Notice,
    Silent,
    Skipped,
    Started,
)
from pysys_orch.livecheck.exceptions import (
    LiveCheckTestFailed,
    ServiceDown,
    SuiteFailed,
    SuiteStalled,
)
from pysys_orch.livecheck.health import Health, step, unheard
from pysys_orch.livecheck.history import Histories, median
from pysys_orch.livecheck.hooks import CaseHooks, is_defined
from pysys_orch.livecheck.host import Host
from pysys_orch.livecheck.models import (
    SignalEvent,
    State,
    TestExecution,
    TestReport,
)
from pysys_orch.livecheck.options import CaseOptions
from pysys_orch.livecheck.runner import TestRunner
from pysys_orch.livecheck.signals import Signal
from pysys_orch.livecheck.talk import Talk
from pysys_orch.livecheck.telling import Teller
from pysys_orch.livecheck.troubles import Condition
from pysys_orch.livecheck.upkeep import Upkeep
from pysys_orch.livecheck.values import plain, readers_of

if TYPE_CHECKING:
    from yarl import URL

log = logging.getLogger("pysys.orch.livecheck")

_FAILURES: dict[Condition, type[SuiteFailed]] = {
    Condition.STALLED: SuiteStalled,
    Condition.DOWN: ServiceDown,
}

# What a case has besides what its class has: no signal can be called that.
_TAKEN = frozenset(
    {"app", "arrivals", "deadlines", "entered", "expires_after", "health", "limits"}
    | {"name", "period", "policy", "recalled_by_state", "signals", "talk", "_heard"}
    | {"_histories", "_readers", "_teller", "_upkeep"}
)

_STOP_WITHIN = 10.0


class Case(CaseHooks, CaseOptions):
    """A test that is run with live traffic, again and again.

    A subclass declares its signals and defines `run`. All durations are seconds, or
    anything that `pysys_orch.livecheck.durations.seconds_of` takes; options can be
    given on the class, and as keywords.

    What makes it fail and recover is settled when it is made; `active`, `probability`,
    `realtime_logs` and those of requests can be changed at any time.

    Args:
        app: The application that it is a part of.
        name: What it is called there.
        signals: Its signals, instead of those that the class declares.
        kwargs: Further options, by their names.

    Raises:
        ConfigError: An option is unknown or makes no sense.

    Attributes:
        status: How the last test ended, or what is wrong with the case.
        active: Whether tests are executed at all; they are skipped otherwise.
        probability: Which share of what comes along is tested, from 0 to 1.
        warn_stalled_after: After how long without a test it has stalled; None is
            never.
        test_expires: How long after it was issued a test is of interest. One that is
            still running then has timed out.
        frequency: How often `make_fake_request` is called; None is never.
        realtime_logs: Whether what a test says is logged at once, rather than together
            at its end.
        max_history: How many durations of each kind are kept.
        max_consecutive_failures: How many failures in a row make it fail.
        state_transition_delay: How long it has to be without trouble before it is well
            again, and after how long trouble is told again.
        passes_to_recover: How many passes in a row it takes for that.
        failure_ratio: A share of failures that makes it fail as well.
        budget: A budget of failures that it must not use up too fast.
        flapping: What holds back what is told while it changes all the time.
        url_timeout_total: How long a request may take; None or 0 is for ever.
        url_timeout_connect: How long it may take to connect; None or 0 is for ever.
        url_error_retries: How often a request is tried again.
        url_error_delay_min: How long is waited before the second attempt.
        url_error_delay_backoff: How many times longer before each further one.
        url_error_delay_max: How long at most.
        consecutive_failures: How many of the last tests did not pass.
        total_failures: How many ever did not.
        last_test_received: The instant at which the last test came.
        last_fail: The instant at which there was last trouble with the case.
        frequency_avg: The median of `frequency_history`, brought up to date every 10 s,
            as are the others.
        latency_avg: The median of `latency_history`.
        runtime_avg: The median of `runtime_history`.
        total_signals: How many signals it has.
        recalled_by_state: How many tests of earlier runs ended in each state.
        talk: How much is logged of what fails.
    """

    Runner: ClassVar[type[TestRunner]] = TestRunner

    status: State = State.INIT
    last_test_received: float | None = None
    last_fail: float | None = None
    runtime_avg: float | None = None
    latency_avg: float | None = None
    frequency_avg: float | None = None
    consecutive_failures: int = 0
    total_failures: int = 0
    total_signals: int = 0

    _declared: ClassVar[dict[str, Signal[Any]]] = {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._declared = declared(cls, Case.__mro__.__contains__, _is_taken)
        for name, each in cls._declared.items():
            setattr(cls, name, each)

    def __init__(
        self,
        *,
        app: Host,
        name: str,
        probability: float | None = None,
        warn_stalled_after: Duration | None = None,
        active: bool | None = None,
        signals: Iterable[Signal[Any]] | None = None,
        test_expires: Duration | None = None,
        frequency: Duration | None = None,
        realtime_logs: bool | None = None,
        max_history: int | None = None,
        max_consecutive_failures: int | None = None,
        url_timeout_total: Duration | None = None,
        url_timeout_connect: Duration | None = None,
        url_error_retries: int | None = None,
        url_error_delay_min: Duration | None = None,
        url_error_delay_backoff: float | None = None,
        url_error_delay_max: Duration | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app
        self.name = name
        self.settle(
            probability=probability,
            warn_stalled_after=warn_stalled_after,
            active=active,
            test_expires=test_expires,
            frequency=frequency,
            realtime_logs=realtime_logs,
            max_history=max_history,
            max_consecutive_failures=max_consecutive_failures,
            url_timeout_total=url_timeout_total,
            url_timeout_connect=url_timeout_connect,
            url_error_retries=url_error_retries,
            url_error_delay_min=url_error_delay_min,
            url_error_delay_backoff=url_error_delay_backoff,
            url_error_delay_max=url_error_delay_max,
            **kwargs,
        )
        self.health = Health()
        #: How often it came into each condition since it was made.
        self.entered = Counter[Condition]()
        self.limits = Limits()
        self.talk = Talk()
        self.recalled_by_state = Counter[State]()
        self._teller = Teller(
            name,
            limits=self.limits,
            save=self._save,
            tell=self._tell_of,
            note=self._remember,
        )
        self._histories = Histories(self.max_history)
        self._upkeep = Upkeep(self)
        self._heard: float | None = None
        self._readers = readers_of(type(self).run)
        self.arrivals = Arrivals(
            clock=app.clock, lifetime=self.expires_after.total_seconds(), name=name
        )
        self.deadlines = Deadlines(app.clock)
        own = bound(self, self._declared, signals, _is_taken)
        for attribute, each in own.items():
            setattr(self, attribute, each)
        self.signals = {each.name: each for each in own.values()}
        self.total_signals = len(self.signals)

    def __repr__(self) -> str:
        return f"<{self.label} {self.status.value}>"

    # What is told ---------------------------------------------------------------------

    async def on_suite_fail(
        self, exc: SuiteFailed, new_state: State = State.FAIL
    ) -> None:
        """Log and report that the case as a whole fails.

        It is called on a change of state, and while it lasts each time that there is
        trouble again after `state_transition_delay`. Whoever knows of trouble
        otherwise may call it as well: it says nothing that it said a moment ago. What
        it is then called with says what is wrong: a `SuiteStalled`, a `ServiceDown`, or
        any other SuiteFailed. It may take 30 s.

        Args:
            exc: What is wrong.
            new_state: What the status is then.
        """
        if not self._teller.is_telling:
            condition = _condition_of(exc, new_state)
            event = Condemned(self.clock.instant(), str(exc), condition)
            if not self._step(event):
                return
            await self._save()
        log.error("[%s] %s: %s", self.name, new_state.value, exc)
        report = TestReport(self.name, new_state, {}, error=str(exc), traceback=None)
        await guarded(self.name, self.post_report, report, limits=self.limits)

    async def post_report(self, report: TestReport) -> None:
        """Tell whoever wants to know what became of a test, or of the case."""
        await self.app.post_report(report)

    # Running tests --------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def maybe_trigger(
        self,
        id: str | None = None,  # noqa: A002 -- the seed's name
        *args: Any,
        **kwargs: Any,
    ) -> AsyncIterator[TestExecution | None]:
        """Have a test executed, or not, as `probability` says.

        Within the context it is the current test: signals that are sent are for it.

        Args:
            id: What it is called; a new one by default.
            args: What `run` is called with.
            kwargs: The same, by name.

        Yields:
            What is to be executed, or None.
        """
        if self.app.random.random() >= self.probability:
            yield None
            return
        test = await self.trigger(id, *args, **kwargs)
        before = current_test.set(test)
        try:
            yield test
        finally:
            # Some frameworks leave a context from another task than they enter it.
            with contextlib.suppress(ValueError):
                current_test.reset(before)

    async def trigger(
        self,
        id: str | None = None,  # noqa: A002 -- the seed's name
        *args: Any,
        **kwargs: Any,
    ) -> TestExecution:
        """Have a test executed as soon as possible.

        Args:
            id: What it is called; a new one by default.
            args: What `run` is called with. They travel as JSON.
            kwargs: The same, by name.

        Returns:
            What is to be executed.
        """
        stamp = self.clock.stamp()
        bits = self.app.random.getrandbits(128)
        test = TestExecution(
            str(id) if id not in {None, ""} else str(UUID(int=bits, version=4)),
            self.name,
            stamp,
            [plain(each) for each in args],
            {name: plain(each) for name, each in kwargs.items()},
            stamp + self.expires_after,
        )
        await self.app.send_execution(test)
        return test

    async def execute(self, test: TestExecution) -> None:
        """Execute a test, here and now.

        Raises:
            LiveCheckError: It did not pass; `TestRunner.execute` says how.
        """
        await self.Runner(self, test, started=self.clock.instant()).execute()

    async def skip(self, test: TestExecution, words: str) -> None:
        """Do not execute a test, but have its hook called, and report it.

        Args:
            test: The test.
            words: Why.
        """
        await self.Runner(self, test, started=self.clock.instant()).skip(words)

    async def resolve_signal(self, key: str, event: SignalEvent) -> None:
        """Tell those who wait for a signal, or will, that it came.

        One that the case does not have is logged.

        Args:
            key: For whom it is.
            event: The signal.
        """
        name = event.signal_name
        if name not in self.signals:
            log.error(
                "[%s] there is no signal %r%s",
                self.name,
                name,
                nearest(name, self.signals),
            )
            return
        self.arrivals.deliver(name, key, event.value)

    async def send_signal(self, key: str, event: SignalEvent) -> None:
        """Have a signal travel to whoever waits for it."""
        await self.app.send_signal(key, event)

    def arguments(self, test: TestExecution) -> tuple[list[Any], dict[str, Any]]:
        """Return what to call `run` with: of the types that its signature names.

        Raises:
            MessageError: An argument is none of its type.
        """
        if not self._readers:
            return test.test_args, test.test_kwargs
        positional = [*self._readers.values()][: len(test.test_args)]
        args = list(test.test_args)
        for index, read in enumerate(positional):
            args[index] = read(args[index])
        kwargs = {
            name: self._readers[name](each) if name in self._readers else each
            for name, each in test.test_kwargs.items()
        }
        return args, kwargs

    # What requests do -----------------------------------------------------------------

    async def get_url(self, url: str | URL, **kwargs: Any) -> bytes | None:
        """GET a URL; as `url_request`."""
        return await self.url_request("get", url, **kwargs)

    async def post_url(self, url: str | URL, **kwargs: Any) -> bytes | None:
        """POST to a URL; as `url_request`."""
        return await self.url_request("post", url, **kwargs)

    async def url_request(
        self, method: str, url: str | URL, **kwargs: Any
    ) -> bytes | None:
        """Make a request, with patience, and with the headers of the current test.

        It is tried again, `url_error_retries` times, if the service answers with 5xx,
        refuses or drops the connection, or takes too long.

        Args:
            method: As ``get``.
            url: A text, or a `yarl.URL`.
            kwargs: As of `aiohttp.ClientSession.request`.

        Returns:
            The body of the answer; None if there was none, however often it was tried.
            The case fails then.

        Raises:
            LiveCheckTestFailed: The service answers with 4xx: it is there, but does not
                do what it should. To ask again would not change that.
        """
        from pysys_orch.livecheck.requests import Patience

        patience = Patience.of(self)
        try:
            body = await self.app.web.request(method, url, patience, kwargs)
        except ServiceDown as failure:
            await self._take(Down(self.clock.instant(), str(failure)))
            return None
        except LiveCheckTestFailed:
            # It is no good answer, but it is one.
            await self._take(Answered(self.clock.instant()))
            raise
        await self._take(Answered(self.clock.instant()))
        return body

    # What is known of it --------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Whether this is the one of many workers that makes fake requests."""
        return self.app.is_leader

    @property
    def clock(self) -> Clock:
        """What tells the time."""
        return self.app.clock

    @property
    def seconds_since_last_fail(self) -> float | None:
        """For how long there was no trouble with the case; None if there never was."""
        last = self.health.troubles.last
        return None if last is None else self.clock.instant() - last

    @property
    def current_test(self) -> TestExecution | None:
        """The test that this task runs for, if any; perhaps one of another case."""
        return current_test.get()

    @property
    def current_execution(self) -> TestRunner | None:
        """What executes a test in this task, if anything does."""
        return cast("TestRunner | None", current_execution.get())

    @property
    def label(self) -> str:
        """A name for people."""
        return f"{type(self).__name__}: {self.name}"

    @property
    def condition(self) -> Condition:
        """What is wrong with it, and confirmed."""
        return self.health.condition

    @property
    def total_by_state(self) -> Counter[State]:
        """How many tests ended in each state."""
        return self.health.tally.by_state

    @property
    def frequency_history(self) -> deque[float]:
        """The last gaps between the starts of two tests, in seconds."""
        return self._histories.frequency

    @property
    def latency_history(self) -> deque[float]:
        """How much longer than `frequency` these were."""
        return self._histories.latency

    @property
    def runtime_history(self) -> deque[float]:
        """How many seconds the last tests took that passed."""
        return self._histories.runtime

    @property
    def histories(self) -> Mapping[str, Iterable[float]]:
        """The three histories, by their names."""
        return self._histories.by_name

    # Its life -------------------------------------------------------------------------

    def recall(self, health: Health, histories: Mapping[str, Iterable[float]]) -> None:
        """Go on where an earlier run of the case ended.

        Args:
            health: How it was then, on the clock of this process.
            histories: What `histories` was then.
        """
        self.health = health
        self.recalled_by_state = health.tally.by_state.copy()
        for name, seconds in histories.items():
            if name in self._histories.by_name:
                self._histories.by_name[name].extend(seconds)
        self._show()
        self.update_averages()

    async def start(self) -> None:
        """Begin to look after itself: whether tests come, and to make some."""
        self._teller.put(self._step(Began(self.clock.instant())))
        self._teller.start()
        self._upkeep.start()

    def halt(self) -> set[asyncio.Task[None]]:
        """Have all end that looks after it, and return what has to end."""
        return self._upkeep.cancel()

    @property
    def tellers(self) -> set[asyncio.Task[None]]:
        """What tells how it is, while there is something to tell."""
        return self._teller.tasks

    async def stop(self, *, timeout: float = _STOP_WITHIN) -> None:
        """End what `start` began. Signals that nobody waited for are dropped.

        Args:
            timeout: For how many seconds to wait until what looks after it ends.
        """
        await ended(self.halt(), timeout)
        if self.talk.left_out:
            words = "[%s] %d failures more are in the reports, and not logged"
            log.warning(words, self.name, self.talk.left_out)
        self.update_averages()
        self.arrivals.close()
        self.deadlines.close()

    async def check_silence(self) -> None:
        """Notice whether no test came for too long."""
        await self._take(Silent(self.clock.instant()))

    def update_averages(self) -> None:
        """Bring the averages up to date: they are medians."""
        self.frequency_avg = median(self.frequency_history)
        self.latency_avg = median(self.latency_history)
        self.runtime_avg = median(self.runtime_history)

    def begin(self, runner: TestRunner) -> None:
        """Take down that a test begins."""
        self.arrivals.begin_test(runner.test.id)
        before, self._heard = self._heard, runner.started
        if before is not None:
            self._histories.add_gap(runner.started - before, self.period)
        self._step(Started(runner.started))

    async def end(self, runner: TestRunner, *, report: TestReport) -> None:
        """Take down how a test ended, call its hook, report it, say what follows."""
        state, exc = runner.state, runner.error
        self._forget(runner)
        if runner.ended is None or state is State.SKIP:
            self._heard = self.clock.instant()
            notices = self._step(Skipped(self._heard))
        else:
            notices = self._step(Ended(runner.ended, state, runner.issued))
            if state is State.PASS:
                self._histories.runtime.append(runner.ended - runner.started)
        self._teller.put(notices)
        self._remember()
        try:
            # Of these there are very many: what nobody defined is not called.
            if exc is not None or is_defined(self.on_test_pass):
                await self._call_outcome(runner, state, exc)
        finally:
            # Also if it is cut off: no test is without a report, and no trouble untold.
            try:
                await runner.call_hook(self.post_report, report)
            finally:
                if notices:
                    await self._teller.tell()

    def note_skip(self, test: TestExecution) -> None:
        """Count a test that is not executed, and that nobody hears of."""
        self.arrivals.end_test(test.id)
        self._step(Skipped(self.clock.instant()))
        self._remember()

    # Inside ---------------------------------------------------------------------------

    def _forget(self, runner: TestRunner) -> None:
        """Drop what came for a test: it is for no other one."""
        for name in self.signals:
            self.arrivals.forget(name, runner.test.id)
        for name, key in runner.consumed or ():
            self.arrivals.retire(name, key)
        self.arrivals.end_test(runner.test.id)

    async def _call_outcome(
        self, runner: TestRunner, state: State, exc: BaseException | None
    ) -> None:
        if exc is None:
            await runner.call_hook(self.on_test_pass, runner)
        elif state is State.SKIP:
            await runner.call_hook(self.on_test_skipped, runner)
        elif state is State.FAIL:
            await runner.call_hook(self.on_test_failed, runner, exc)
        elif state is State.TIMEOUT:
            await runner.call_hook(self.on_test_timeout, runner, exc)
        else:
            await runner.call_hook(self.on_test_error, runner, exc)

    def _step(self, event: Event) -> tuple[Notice, ...]:
        before = self.health
        self.health, notices = step(before, event, self.policy)
        if not self.health.is_same(before):
            self.entered[self.health.condition] += 1
        self._show()
        return notices

    def _show(self) -> None:
        """Have the attributes say what the health does."""
        health = self.health
        self.status = health.status
        self.consecutive_failures = health.tally.failures
        self.total_failures = health.tally.total_failures
        self.last_fail = health.troubles.last
        self.last_test_received = health.watch.received

    async def _take(self, event: Event) -> None:
        """Take down an event, and say what follows from it."""
        notices = self._step(event)
        if notices:
            self._teller.put(notices)
            await self._teller.tell()

    def _remember(self) -> None:
        health = unheard(self.health, self._teller.untold)
        self.app.remember(self.name, health, self.histories)

    async def _save(self) -> None:
        health = unheard(self.health, self._teller.untold)
        await self.app.save(self.name, health, self.histories)

    async def _tell_of(self, notice: Notice) -> None:
        if notice.kind in {Kind.FAILED, Kind.CHANGED, Kind.STILL}:
            exc = _FAILURES.get(notice.condition, SuiteFailed)(notice.why)
            await self.on_suite_fail(exc, notice.condition.state)
            return
        log.warning("[%s] %s: %s", self.name, notice.kind.value, notice.why)
        if notice.kind is Kind.RECOVERED:
            await self.post_report(TestReport(self.name, State.PASS, {}))


def _condition_of(exc: SuiteFailed, new_state: State) -> Condition:
    """Return what is wrong, as somebody says who knows of it otherwise."""
    if isinstance(exc, ServiceDown):
        return Condition.DOWN
    if isinstance(exc, SuiteStalled) or new_state is State.STALL:
        return Condition.STALLED
    return Condition.FAILING


def _is_taken(name: str) -> bool:
    """Return whether a signal of that name would take the place of something else."""
    return name in _TAKEN or hasattr(Case, name)

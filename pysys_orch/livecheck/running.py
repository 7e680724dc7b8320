"""A live check that goes on beside a PySys test, as that test sees it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from pysys.constants import BLOCKED, TIMEDOUT, TIMEOUTS

from pysys_orch.callers import call_record
from pysys_orch.clock import SystemClock
from pysys_orch.errors import ConfigError, OrchError, StateError
from pysys_orch.inputs import nearest
from pysys_orch.livecheck.app import LiveCheck, name_of
from pysys_orch.livecheck.bus import Topic
from pysys_orch.livecheck.case import Case
from pysys_orch.livecheck.evidence import Evidence
from pysys_orch.livecheck.hosting import Hosting
from pysys_orch.livecheck.models import State, TestReport
from pysys_orch.livecheck.reach import address_for
from pysys_orch.livecheck.receiver import Receiver
from pysys_orch.livecheck.store import Store
from pysys_orch.livecheck.summary import EXECUTED, Summaries
from pysys_orch.livecheck.troubles import Condition
from pysys_orch.livecheck.verdict import Seen
from pysys_orch.livecheck.wire import iso_of

log = logging.getLogger("pysys.orch.livecheck")

T = TypeVar("T")

#: A case, by its name, its class, or itself.
CaseLike = str | type[Case] | Case

#: Where it listens in any case.
LOOPBACK = "127.0.0.1"

_STARTING = 30.0
_ENDING = 20.0
_LOOK_EVERY = 0.02

# Seconds for a thread that was waited for already.
_NO_MORE = 1


class RunningLiveCheck:
    """A live check that goes on until its test is over.

    What is said to be waited for notices when PySys is interrupted.

    Args:
        owner: The test.
        app: The application, with its cases.
        receiver: What lets signals in.
        folder: Where reports are written.
        initialize: Called first in threads, so that what they log is found.
        store: What the application remembers its cases in; None if in nothing.
        needs_token: Whether processes of this machine need the token, too.

    Attributes:
        app: The application. What it has is for its own loop: see `call`.
        receiver: What lets signals in.
        summaries: What became of the cases.
        number: Which live check of its test it is, from 1.
        is_judged: Whether its outcomes are told.
    """

    def __init__(
        self,
        owner: Any,
        app: LiveCheck,
        receiver: Receiver,
        *,
        folder: Path,
        initialize: Callable[[], None],
        store: Store | None = None,
        needs_token: bool = False,
    ) -> None:
        self.app = app
        self.receiver = receiver
        self.summaries = Summaries()
        self.number = 1
        self.is_judged = False
        self._owner = owner
        self._store = store
        self._needs_token = needs_token
        self._folder = folder
        self._evidence = Evidence(folder, initialize=initialize)
        self._hosting = Hosting(
            app, receiver, begun=self._take_down, initialize=initialize
        )
        self._clock = SystemClock()
        self._begin = self._clock.instant()
        self._before: dict[str, Counter[State]] = {}
        self._thread: Any = None
        self._stopping = threading.Lock()
        self._is_stopped = False

    def start(self) -> None:
        """Begin.

        Raises:
            OrchError: It cannot run.
        """
        self.app.bus.subscribe(Topic.REPORTS, self._on_report)
        self._owner.addCleanupFunction(self.stop)
        self._thread = self._owner.startBackgroundThread(
            f"livecheck-{self.app.name}",
            lambda stopping, log: self._hosting.run(stopping),
        )
        self._thread.joinTimeoutSecs = _ENDING
        while not self._hosting.wait_ready(_LOOK_EVERY):
            self._owner.pollWait(0)
            if self.seconds > _STARTING:
                message = f"the live check did not begin within {_STARTING:g} s"
                raise OrchError(message)
        if self._hosting.failure is not None:
            failure = self._hosting.failure
            message = f"the live check could not begin: {failure}"
            raise OrchError(message) from failure

    # Where it is ----------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where processes of this machine reach it, with the token if they need it."""
        if self._needs_token:
            return self.receiver.url_at(LOOPBACK)
        return self.receiver.url

    @property
    def token(self) -> str:
        """What lets in whoever is not on this machine: ``Authorization: Bearer``."""
        return self.receiver.token

    @property
    def urlForContainers(self) -> str:
        """Where containers reach it that are in no network of their own.

        The URL has the token in it, and is only for them: see `urlFor`.
        """
        return self.urlFor()

    def urlFor(self, network: Any = "bridge", *, hasToken: bool = True) -> str:
        """Return where the containers of a network reach it, and have it listen there.

        Args:
            network: The network: its name, or what ``self.docker.network()`` returned.
                ``host`` is that of this machine.
            hasToken: Whether the token is in the URL; if not, see `token`.

        Returns:
            A URL. It listens on the gateway of the network, not on all addresses of
            this machine. Containers of other networks, and hosts with a route to it,
            may reach that as well: it is the token that keeps them out.

        Raises:
            AbortExecution: It cannot be found out; the test is BLOCKED.
        """
        name = network.getName() if hasattr(network, "getName") else str(network)
        if name == "host":
            return self.url if hasToken else self.receiver.url
        try:
            address = address_for(name)
        except OrchError as failure:
            self._owner.abort(BLOCKED, str(failure), callRecord=call_record())
            raise
        return self.urlAt(address, hasToken=hasToken)

    def urlAt(self, address: str, *, hasToken: bool = True) -> str:
        """Return a URL at another address of this machine, and have it listen there.

        Args:
            address: The address.
            hasToken: Whether the token is in the URL; if not, see `token`.

        Returns:
            A URL.

        Raises:
            AbortExecution: It cannot listen there; the test is BLOCKED.
        """
        try:
            self.call(self.receiver.listen_on(address))
        except OrchError as failure:
            self._owner.abort(BLOCKED, str(failure), callRecord=call_record())
            raise

        return self.receiver.url_at(address, has_token=hasToken)

    # What is in it --------------------------------------------------------------------

    def case(self, case: CaseLike) -> Case:
        """Return a case.

        Args:
            case: Its name, or its class.

        Raises:
            ConfigError: There is none.
        """
        return self.app.cases[self._name(case)]

    def call(
        self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None
    ) -> T:
        """Have a coroutine run where the cases are, and wait for it.

        Args:
            coroutine: What is to be run, as ``live.case('Checkout').trigger('o-1')``.
            timeout: Seconds that it may take; those of PySys for a process by default.

        Returns:
            What it returns.

        Raises:
            TimeoutError: It took longer; it was cancelled.
            RuntimeError: The live check is over.
            Exception: Whatever it raises.
        """
        limit = TIMEOUTS["WaitForProcess"] if timeout is None else timeout
        begin = self._clock.instant()
        future = self._hosting.submit(coroutine)
        try:
            while not concurrent.futures.wait([future], _LOOK_EVERY).done:
                self._owner.pollWait(0)
                if self._hosting.has_ended and not future.done():
                    message = "the live check is over"
                    raise RuntimeError(message)
                if self._clock.instant() - begin > limit:
                    message = f"a call of the live check took longer than {limit:g} s"
                    raise TimeoutError(message)
            return future.result()
        finally:
            future.cancel()

    # Waiting --------------------------------------------------------------------------

    def waitForCount(
        self,
        case: CaseLike | None = None,
        state: State | str | None = None,
        n: int = 1,
        timeout: float | None = None,
        *,
        abortOnError: bool | None = None,
    ) -> bool:
        """Wait until so many tests have ended, since the beginning.

        It is reports that are counted.

        Args:
            case: Of which case; None is any.
            state: How; None is in any way but skipped.
            n: How many.
            timeout: Seconds; those of PySys for waiting by default.
            abortOnError: Whether the test ends if they do not; if nobody says, as in
                the rest of PySys.

        Returns:
            Whether they have. If not, the test is TIMEDOUT.

        Raises:
            ConfigError: There is no such case or state.
        """
        name = None if case is None else self._name(case)
        wanted = None if state is None else _state(state)
        what = f"{n} tests" if wanted is None else f"{n} x {wanted.value}"
        return self._wait(
            lambda: self.summaries.count(name, wanted) >= n,
            f"{what} of {'any case' if name is None else name}",
            timeout,
            abortOnError,
        )

    def waitUntil(
        self,
        condition: Callable[[], object],
        timeout: float | None = None,
        *,
        what: str = "a condition",
        abortOnError: bool | None = None,
    ) -> bool:
        """Wait until a condition holds.

        Args:
            condition: Called again and again, in this thread.
            timeout: Seconds; those of PySys for waiting by default.
            what: What is waited for, in words.
            abortOnError: As of `waitForCount`.

        Returns:
            Whether it holds. If not, the test is TIMEDOUT.
        """
        return self._wait(lambda: bool(condition()), what, timeout, abortOnError)

    def waitForIdle(
        self, timeout: float | None = None, *, abortOnError: bool | None = None
    ) -> bool:
        """Wait until no test is executed, and none waits for that.

        Args:
            timeout: Seconds; those of PySys for waiting by default.
            abortOnError: As of `waitForCount`.

        Returns:
            Whether that is so. If not, the test is TIMEDOUT.
        """
        return self._wait(
            lambda: self.call(self.app.wait_idle(0)),
            "all tests to end",
            timeout,
            abortOnError,
        )

    # Its end --------------------------------------------------------------------------

    def drain(self, within: float) -> None:
        """Take no more tests, and let those that are executed end.

        Args:
            within: Seconds that they may take.
        """
        if not self._is_stopped and not self._owner.isRunnerAborting:
            # What keeps them from it is found when it is stopped.
            with contextlib.suppress(TimeoutError, RuntimeError):
                self.call(self.app.drain(within), timeout=within + 1)

    def stop(self) -> None:
        """End it, within a bound: all that was reported is written then.

        Tests that are still executed are cut off, and reported as skipped. The cleanup
        of the test does this in any case.
        """
        with self._stopping:
            if self._is_stopped:
                return
            self._is_stopped = True
            if self._thread is not None:
                self._thread.stop()
                self._end_thread()
            if not self._evidence.close():
                self._say(BLOCKED, f"not all reports were written to {self._folder}")
            for name, count in self._evidence.omitted().items():
                log.warning("%s: %d reports were too many to be written", name, count)
            try:
                if self._store is not None:
                    self._store.close()
            except StateError as failure:
                self._say(BLOCKED, str(failure))
            if not self.is_judged and not self._owner.isRunnerAborting:
                for name, counts in self.summaries.all_counts().items():
                    if any(not state.is_ok() for state in counts):
                        log.warning(
                            "%s has failed, and nobody asks: see assertLiveCheck", name
                        )

    @property
    def is_stopped(self) -> bool:
        """Whether it has ended."""
        return self._is_stopped

    def seen(self) -> list[Seen]:
        """Return what is known of the cases, once it has ended."""
        return [self._seen(case) for case in self.app.cases.values()]

    def evidence_of(self, case: str) -> Path | None:
        """Return the file with the reports of a case; None if there are none."""
        name = self._evidence.name_of(case)
        return None if name is None else self._folder / name

    @property
    def seconds(self) -> float:
        """How long it has been there."""
        return self._clock.instant() - self._begin

    # Inside ---------------------------------------------------------------------------

    def _take_down(self) -> None:
        """Take down what the cases have seen in this process, but not in this run.

        What they remember of others is theirs: a case that is added later is not
        recalled yet.
        """
        self._before = {
            name: case.total_by_state - case.recalled_by_state
            for name, case in self.app.cases.items()
        }

    async def _on_report(self, _key: str, message: dict[str, Any]) -> None:
        report = TestReport.from_json(message)
        line = self._evidence.add(
            report.case_name,
            {"reported": iso_of(self._clock.stamp()), **message},
            is_ok=report.state.is_ok(),
        )
        self.summaries.add(report, line)

    def _seen(self, case: Case) -> Seen:
        summary = self.summaries.of(case.name)
        before = self._before.get(case.name, Counter())
        for state in EXECUTED:
            # A case may keep its reports to itself, but not how its tests ended.
            earlier = case.recalled_by_state[state] + before[state]
            count = case.total_by_state[state] - earlier
            summary.counts[state] = max(summary.counts[state], count)
        # Nor that it was in trouble.
        troubles = {
            State.STALL: (Condition.STALLED,),
            State.FAIL: (Condition.FAILING, Condition.DOWN),
        }
        for state, conditions in troubles.items():
            entered = sum(case.entered[each] for each in conditions)
            summary.told[state] = max(summary.told[state], entered)
        trouble = case.health.troubles.of(case.condition)
        file = self.evidence_of(case.name)
        return Seen(
            name=case.name,
            summary=summary,
            condition=case.condition,
            why="" if trouble is None else trouble.why,
            evidence="" if file is None else f"{self._folder.name}/{file.name}",
            refused=self.receiver.refusals.count,
        )

    def _name(self, case: CaseLike) -> str:
        name = case
        if isinstance(case, Case):
            name = case.name
        elif isinstance(case, type):
            name = name_of(case)
            of_class = [it.name for it in self.app.cases.values() if type(it) is case]
            if name not in of_class and len(of_class) == 1:
                name = of_class[0]
        if name not in self.app.cases:
            message = f"there is no case {name!r}{nearest(str(name), self.app.cases)}"
            raise ConfigError(message)
        return str(name)

    def _wait(
        self,
        condition: Callable[[], bool],
        what: str,
        timeout: float | None,
        abort: bool | None,
    ) -> bool:
        limit = TIMEOUTS["WaitForSignal"] if timeout is None else timeout
        begin = self._clock.instant()
        while not condition():
            if self._clock.instant() - begin > limit:
                words = f"Timed out waiting for {what} after {limit:g} s: {self}"
                self._say(TIMEDOUT, words, abort)
                return False
            if self._hosting.has_ended:
                words = f"Waited for {what}, but the live check is over: {self}"
                self._say(BLOCKED, words, abort)
                return False
            self._owner.pollWait(_LOOK_EVERY)
        return True

    def __str__(self) -> str:
        """Say what became of the cases so far."""
        counts = self.summaries.all_counts()
        told = []
        for name in self.app.cases:
            parts = [f"{n} {state.value}" for state, n in counts.get(name, {}).items()]
            told.append(f"{name} {', '.join(parts) or 'never ran'}")
        return "; ".join(told)

    def _say(self, outcome: Any, words: str, abort: bool | None = False) -> None:
        if abort is None:
            abort = bool(self._owner.defaultAbortOnError)
        self._owner.addOutcome(
            outcome, words, abortOnError=abort, callRecord=call_record()
        )

    def _end_thread(self) -> None:
        owner = self._owner
        # In a cleanup PySys has waited already, unless it is in a hurry.
        has_waited = owner.isCleanupInProgress and not owner.isRunnerAborting
        if self._hosting.wait_ended(_NO_MORE if has_waited else _ENDING):
            if self._hosting.blocked:
                places = ", ".join(self._hosting.blocked)
                words = f"the live check does not end: a thread of it is in {places}"
                self._say(TIMEDOUT, words)
            return
        self._thread.joinTimeoutSecs = _NO_MORE
        words = f"the live check does not end: it is in {self._hosting.place()}"
        self._say(TIMEDOUT, words)


def _state(state: State | str) -> State:
    try:
        return State(state)
    except ValueError:
        hint = nearest(str(state), [each.value for each in State])
        message = f"there is no state {state!r}{hint}"
        raise ConfigError(message) from None

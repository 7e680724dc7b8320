"""What PySys sees: tests that watch live traffic."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pysys.constants
from pysys.basetest import BaseTest
from pysys.constants import BLOCKED
from pysys.perf.api import PerformanceUnit
from pysys.utils.threadutils import createThreadInitializer

from pysys_orch.callers import call_record
from pysys_orch.clock import SystemClock
from pysys_orch.errors import ConfigError, OrchError
from pysys_orch.inputs import nearest
from pysys_orch.livecheck.app import LiveCheck
from pysys_orch.livecheck.case import Case
from pysys_orch.livecheck.receiver import Receiver
from pysys_orch.livecheck.records import Retention, retention_of
from pysys_orch.livecheck.results import report_result
from pysys_orch.livecheck.running import LOOPBACK, RunningLiveCheck
from pysys_orch.livecheck.store import Store
from pysys_orch.livecheck.thresholds import thresholds_of
from pysys_orch.livecheck.verdict import RANKS, Judgement, Result, Seen, judge
from pysys_orch.settings import setting

log = logging.getLogger("pysys.orch.livecheck")

T = TypeVar("T", str, int, float)

_FOLDER = "livecheck"
_REPORTED = ("p50", "p99", "max")
_MOST_REPORTED = 50


class LiveCheckFront:
    """Watches live traffic for one test.

    Reached as ``self.livecheck`` by tests that mix in `LiveCheckTestHelper`.
    """

    def setup(self, owner: Any) -> None:
        """Work for *owner*, a test; nothing is done until it is used."""
        self._owner = owner
        self._count = 0

    def startLiveCheck(
        self,
        cases: Iterable[type[Case]] = (),
        *,
        app: LiveCheck | None = None,
        state: str | None = None,
        token: str | None = None,
        port: int = 0,
        **options: Any,
    ) -> RunningLiveCheck:
        """Begin to execute tests of cases, and to receive signals.

        It goes on, in a thread of its own, until the test is over; what is logged gets
        into the log of the test.

        Args:
            cases: The classes of the cases.
            app: An application that has cases already, and has not begun; by default a
                new one that is called as the test.
            state: Where it is remembered how the cases are, for the next run to go on:
                the path of a file or the URL of a database; ``""`` is nowhere. By
                default what the property ``livecheckState`` of the project says, or
                ``-XlivecheckState=...``. How much is kept there,
                ``livecheckRetentionReports`` and ``livecheckRetentionDays`` say.
            token: What everybody has to know who sends something; by default a new one
                that processes of this machine need not know.
            port: Where it receives signals, on the loopback interface; by default one
                that is free.
            options: Those of `LiveCheck`, for a new one.

        Returns:
            What goes on.

        Raises:
            AbortExecution: It makes no sense, or cannot begin: the test is BLOCKED.
        """
        owner = self._owner
        try:
            _require_options(options)
            store, made = self._made(app, state, options)
            for each in _listed(cases):
                made.add_case(each)
            if not made.cases:
                message = "a live check needs cases: startLiveCheck(cases=[...])"
                raise ConfigError(message)
            self._count += 1
            suffix = "" if self._count == 1 else f".{self._count}"
            live = RunningLiveCheck(
                owner,
                made,
                Receiver(made, host=LOOPBACK, port=port, token=token),
                folder=Path(owner.output, f"{_FOLDER}{suffix}"),
                initialize=createThreadInitializer(owner),
                store=store,
                needs_token=token is not None,
            )
            live.number = self._count
            live.start()
        except (OrchError, OSError) as failure:
            self._block(failure)
        log.info(
            "Live check of %s: %s is at %s",
            made.name,
            ", ".join(made.cases),
            live.receiver.url,
        )
        return live

    def assertLiveCheck(
        self,
        live: RunningLiveCheck,
        *,
        thresholds: Mapping[str, str] | None = None,
        allowUnused: Sequence[str] = (),
        resultsPerCase: bool = False,
        endWithin: float = 10.0,
    ) -> bool:
        """End a live check, and add an outcome for each of its cases.

        A case is PASSED if all tests of it that were executed have passed, FAILED if
        one has failed, TIMEDOUT if one waited in vain or none came for too long
        (stalled), or one had not ended in the end, and BLOCKED if one raised anything
        else; the worst counts. It is FAILED if it never ran, and PASSED if all were
        skipped. Whatever went wrong at any time counts, unless a threshold says how
        much of that may be.

        Args:
            live: What goes on.
            thresholds: Figures that decide, as ``{"Checkout.failure_ratio": "<0.01",
                "*.runtime_p99_ms": "<500"}``.
            allowUnused: Names of cases that need not run.
            resultsPerCase: Whether each case has a result of its own, in the console,
                the exit status and for writers, as if it were a test. This test has
                the worst of them, too: its files are evidence.
            endWithin: Seconds for which tests that are executed may still go on; new
                ones are skipped meanwhile.

        Returns:
            Whether all of them passed.

        Raises:
            AbortExecution: There is no such case or figure: the test is BLOCKED.
        """
        owner = self._owner
        is_first, live.is_judged = not live.is_judged, True
        live.drain(endWithin)
        live.stop()
        names = {name: each.signals for name, each in live.app.cases.items()}
        try:
            limits = thresholds_of(thresholds or {}, names)
            _require_known(allowUnused, names)
        except ConfigError as failure:
            self._block(failure)
        every = live.seen()
        judgements = [
            judge(seen, limits, may_be_unused=seen.name in allowUnused)
            for seen in every
        ]
        told: list[Judgement] = []
        for each in judgements:
            if resultsPerCase and self._has_result(live, each):
                told.append(each)
                continue
            # PySys takes a test for skipped that has one part that was.
            is_good = each.result in _GOOD
            outcome = getattr(
                pysys.constants, Result.PASSED if is_good else each.result
            )
            owner.addOutcome(outcome, each.words, callRecord=_record(live, each))
        if told:
            bad = [each for each in told if each.result not in _GOOD]
            worst = max((each.result for each in bad), key=RANKS.index, default=None)
            words = f"{len(told)} cases have results of their own"
            words += f", {len(bad)} of them not passed" if bad else ""
            outcome = getattr(pysys.constants, worst or Result.PASSED)
            owner.addOutcome(outcome, words, callRecord=call_record())
        if is_first:
            good = {each.case for each in judgements if each.result in _GOOD}
            for seen in every:
                if seen.name in good and not owner.getOutcome().isFailure():
                    self._report_figures(live, seen)
        return all(each.result in _GOOD for each in judgements)

    # Inside ---------------------------------------------------------------------------

    def _made(
        self, app: LiveCheck | None, state: str | None, options: Mapping[str, Any]
    ) -> tuple[Store | None, LiveCheck]:
        """Return the application, and what it remembers its cases in."""
        owner = self._owner
        clock = SystemClock()
        if app is not None:
            if options or state:
                given = ", ".join([*options, *(["state"] if state else [])])
                message = f"{given}: say it where app is made"
                raise ConfigError(message)
            made, store = app, None
        else:
            place = state
            if place is None:
                place = self._setting("livecheckState", "")
            # Each live check of a test has a memory of its own.
            number = f" {self._count + 1}" if self._count else ""
            name = str(options.get("name", f"{owner.descriptor.id}{number}"))
            store = None
            if place:
                file = place
                if "://" not in place:
                    file = str(Path(owner.project.testRootDir, place))
                kept = Retention()
                days = kept.age / timedelta(days=1)
                retention = retention_of(
                    reports=self._setting("livecheckRetentionReports", kept.reports),
                    days=self._setting("livecheckRetentionDays", days),
                )
                store = Store.at(file, name, clock=clock, retention=retention)
            made = LiveCheck(**{"name": name, "store": store, **options})
        if not made.send_reports:
            message = "send_reports=False leaves nothing to judge a live check by"
            raise ConfigError(message)
        return store, made

    def _setting(self, name: str, default: T) -> T:
        owner = self._owner
        return setting(name, default, owner.project, owner.runner)

    def _has_result(self, live: RunningLiveCheck, judgement: Judgement) -> bool:
        """Report the result of a case on its own; return whether that is possible."""
        return report_result(
            self._owner,
            judgement.case,
            getattr(pysys.constants, judgement.result),
            judgement.words,
            clock=SystemClock(),
            seconds=live.seconds,
            record=_record(live, judgement),
        )

    def _report_figures(self, live: RunningLiveCheck, seen: Seen) -> None:
        # PySys wants keys that no other test has, nor this one in another mode.
        parts = [self._owner.descriptor.id, seen.name]
        if live.number > 1:
            parts.insert(1, str(live.number))
        name = " ".join(parts)
        summary = seen.summary
        figures = {"runtime": summary.figures()}
        figures |= {
            f"{signal} latency": summary.latencies(signal) for signal in summary.signals
        }
        for what, values in list(figures.items())[:_MOST_REPORTED]:
            time = what.rpartition(" ")[2]
            for percentile in _REPORTED:
                value = values.get(f"{time}_{percentile}_ms")
                if value is not None:
                    self._owner.reportPerformanceResult(
                        value * 1_000_000,
                        f"Live check {name}: {what} {percentile}",
                        PerformanceUnit("ns", biggerIsBetter=False),
                    )

    def _block(self, failure: Exception) -> NoReturn:
        self._owner.abort(BLOCKED, str(failure), callRecord=call_record())
        raise AssertionError(failure)  # to abort does not return


_GOOD = frozenset({Result.PASSED, Result.SKIPPED})


def _require_options(given: Iterable[str]) -> None:
    """Refuse keywords that `startLiveCheck` does not know.

    Raises:
        ConfigError: With the nearest that there is.
    """
    own = signature(LiveCheckFront.startLiveCheck).parameters.keys()
    known = {*signature(LiveCheck).parameters, *own} - {"self", "options"}
    for each in given:
        if each not in known:
            hint = nearest(each, sorted(known))
            message = f"startLiveCheck has no option {each!r}{hint}"
            raise ConfigError(message)


def _listed(cases: object) -> list[Any]:
    """Return the classes of cases that are given.

    Raises:
        ConfigError: It is not a list of anything.
    """
    if isinstance(cases, str | type) or not isinstance(cases, Iterable):
        shown = cases.__qualname__ if isinstance(cases, type) else repr(cases)
        example = shown if isinstance(cases, type) else "Checkout"
        message = f"cases has to be a list of classes, as [{example}], got {shown}"
        raise ConfigError(message)
    return list(cases)


def _require_known(unused: Iterable[str], names: Iterable[str]) -> None:
    """Refuse names of no case.

    Raises:
        ConfigError: With the nearest that there is.
    """
    known = list(names)
    for each in unused:
        if each not in known:
            message = f"allowUnused: there is no case {each!r}{nearest(each, known)}"
            raise ConfigError(message)


def _record(live: RunningLiveCheck, judgement: Judgement) -> list[str] | None:
    """Return the line of the evidence that a judgement is about, and of the test."""
    file, called = live.evidence_of(judgement.case), call_record()
    if file is None or judgement.line is None:
        return called
    return [f"{file}:{judgement.line}", *(called or ())]


class LiveCheckTestHelper:
    """Mix-in that gives a test ``self.livecheck``.

    Example::

        class PySysTest(LiveCheckTestHelper, DockerTestHelper, BaseTest):
            def execute(self):
                self.live = self.livecheck.startLiveCheck(cases=[Checkout])
                env = {'LIVECHECK_URL': self.live.urlForContainers}
                self.docker.container('shop', env=env).run()
                self.live.waitForCount(Checkout, 'PASS', 100)

            def validate(self):
                self.livecheck.assertLiveCheck(self.live)
    """

    HELPER_MIXIN_FIELD_NAME = "livecheck"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.livecheck = LiveCheckFront()
        self.livecheck.setup(self)


class LiveCheckTest(LiveCheckTestHelper, BaseTest):
    """A base class for tests that watch live traffic."""

    def startLiveCheck(
        self, cases: Iterable[type[Case]] = (), **options: Any
    ) -> RunningLiveCheck:
        """Begin to watch; see `LiveCheckFront.startLiveCheck`."""
        return self.livecheck.startLiveCheck(cases, **options)

    def assertLiveCheck(self, live: RunningLiveCheck, **options: Any) -> bool:
        """Add an outcome for each case; see `LiveCheckFront.assertLiveCheck`."""
        return self.livecheck.assertLiveCheck(live, **options)

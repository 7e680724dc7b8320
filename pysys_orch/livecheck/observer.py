"""What is known of the cases of an application, to be shown.

Cases know how they are; what became of each test is heard from the reports. Of a case
with a million tests no more is kept than of one with a thousand.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple, Protocol

from pysys_orch.clock import Clock
from pysys_orch.livecheck.bus import Bus, Message, Topic
from pysys_orch.livecheck.case import Case
from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.models import State
from pysys_orch.livecheck.spread import Meter
from pysys_orch.livecheck.troubles import Condition
from pysys_orch.livecheck.views import CaseView, Failure, Outcome
from pysys_orch.livecheck.wire import CUT

log = logging.getLogger("pysys.orch.livecheck")

#: How many outcomes, and how many failures, of each case are shown.
OUTCOMES = 50
FAILURES = 10

_LONGEST_ID = 200
_LONGEST_ERROR = 2_000
_LONGEST_TRACEBACK = 20_000

_FAILED = frozenset({State.FAIL, State.ERROR, State.TIMEOUT})


class Observed(Protocol):
    """An application, as it is observed."""

    name: str
    clock: Clock
    bus: Bus
    cases: dict[str, Case]


@dataclass(slots=True)
class Record:
    """What was heard of a case.

    Attributes:
        runtime: How long tests took that passed.
        latency: How long each signal was waited for, by its name.
        outcomes: How the last tests ended, oldest first.
        failures: The last ones that did not pass, oldest first.
        transitions: How often it went from one condition to another.
        stalls: How often no test came for too long.
        condition: Its condition when it was looked at last; None if it never was.
        changed: When that was first seen; None if it never was different.
        has_stalled: Whether it had stalled then.
        heard: How many reports there were.
    """

    latency: dict[str, Meter]
    runtime: Meter = field(default_factory=Meter)
    outcomes: deque[Outcome] = field(default_factory=lambda: deque(maxlen=OUTCOMES))
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=FAILURES))
    transitions: Counter[tuple[Condition, Condition]] = field(default_factory=Counter)
    stalls: int = 0
    condition: Condition | None = None
    changed: datetime | None = None
    has_stalled: bool = False
    heard: int = 0

    def look(self, health: Health, stamp: datetime) -> None:
        """Notice what has changed."""
        condition = health.condition
        if condition is not self.condition:
            if self.condition is not None:
                self.transitions[self.condition, condition] += 1
                self.changed = stamp
            self.condition = condition
        has_stalled = health.troubles.stalled is not None
        if has_stalled and not self.has_stalled:
            self.stalls += 1
        self.has_stalled = has_stalled

    def hear(self, report: Message, stamp: datetime) -> None:
        """Take down what a report says; one about the whole case says nothing new.

        Raises:
            KeyError: It is no report; so is a TypeError or a ValueError.
        """
        test, latency = report["test"], report["signal_latency"]
        if test is None:
            return
        state, runtime = State(report["state"]), report["runtime"]
        for name, seconds in latency.items():
            if name in self.latency:
                self.latency[name].add(seconds)
        if state is State.PASS and runtime is not None:
            self.runtime.add(runtime)
        outcome = Outcome(stamp, test["id"][:_LONGEST_ID], state, runtime)
        self.outcomes.append(outcome)
        if state in _FAILED:
            error = report["error"] or state.value
            if len(error) > _LONGEST_ERROR:
                error = error[:_LONGEST_ERROR] + CUT
            place = report["traceback"]
            if place is not None and len(place) > _LONGEST_TRACEBACK:
                place = CUT + place[-_LONGEST_TRACEBACK:]
            self.failures.append(Failure(outcome, error, place))


class Mark(NamedTuple):
    """What changes when the view of a case does.

    Attributes:
        heard: How many reports there were.
        health: How the case is.
        waiting: How many tests wait for a signal.
        lost: How many signals were lost.
        is_active: Whether tests are executed at all.
    """

    heard: int
    health: Health
    waiting: int
    lost: int
    is_active: bool


class Observer:
    """Hears what becomes of tests, and says how cases are.

    Of the cases of the application, that is: of no others, and of no signals that they
    do not have.

    Args:
        app: The application. It is heard from now on.
    """

    def __init__(self, app: Observed) -> None:
        self._app = app
        self._records: dict[str, Record] = {}
        self._views: dict[str, tuple[Mark, CaseView]] = {}
        app.bus.subscribe(Topic.REPORTS, self._hear)

    def marks(self) -> dict[str, Mark]:
        """Return for each case what changes when its view does."""
        return {name: self._mark(case) for name, case in self._app.cases.items()}

    def views(self) -> tuple[CaseView, ...]:
        """Return how all cases are, in the order in which they were added."""
        return tuple(self.view(name) for name in list(self._app.cases))

    def view(self, name: str) -> CaseView:
        """Return how a case is.

        Raises:
            KeyError: There is no such case.
        """
        case = self._app.cases[name]
        clock = self._app.clock
        record = self._record(case)
        record.look(case.health, clock.stamp())
        mark = self._mark(case)
        known = self._views.get(name)
        if known is not None and known[0] == mark:
            return known[1]
        view = view_of(case, record, clock.instant(), clock.stamp())
        self._views[name] = mark, view
        return view

    # Inside ---------------------------------------------------------------------------

    def _mark(self, case: Case) -> Mark:
        arrivals = case.arrivals
        heard = self._record(case).heard
        return Mark(heard, case.health, arrivals.waiting, arrivals.lost, case.active)

    def _record(self, case: Case) -> Record:
        record = self._records.get(case.name)
        if record is None:
            latency = {name: Meter() for name in case.signals}
            record = self._records[case.name] = Record(latency)
            if case.health.tally.executions <= 1:
                # It may be the first report of a case that makes it known.
                record.condition = Condition.UNKNOWN
            record.look(case.health, self._app.clock.stamp())
        return record

    async def _hear(self, _key: str, report: Message) -> None:
        case = self._app.cases.get(report.get("case_name", ""))
        if case is None:
            return
        stamp = self._app.clock.stamp()
        record = self._record(case)
        record.heard += 1
        record.look(case.health, stamp)
        try:
            record.hear(report, stamp)
        except (AttributeError, KeyError, TypeError, ValueError) as failure:
            log.warning("[%s] ignored what is no report: %r", case.name, failure)


def view_of(case: Case, record: Record, instant: float, stamp: datetime) -> CaseView:
    """Return how a case is.

    Args:
        case: The case.
        record: What was heard of it.
        instant: Now.
        stamp: Now.
    """

    def stamp_at(at: float | None) -> datetime | None:
        return None if at is None else stamp - timedelta(seconds=instant - at)

    health = case.health
    tally, troubles, condition = health.tally, health.troubles, health.condition
    trouble = troubles.of(condition)
    # How long it has been well nobody knows who was not there.
    since = record.changed or stamp_at(health.watch.began)
    return CaseView(
        name=case.name,
        is_active=case.active,
        status=health.status,
        condition=condition,
        is_flapping=health.is_flapping,
        why=None if trouble is None else trouble.why,
        since=since if trouble is None else stamp_at(trouble.since),
        failing_since=stamp_at(tally.failing_since),
        consecutive_failures=tally.failures,
        max_consecutive_failures=case.max_consecutive_failures,
        total_failures=tally.total_failures,
        executions=tally.executions,
        by_state=MappingProxyType(dict(tally.by_state)),
        last_test=stamp_at(health.watch.received),
        history=tuple(record.outcomes),
        failures=tuple(reversed(record.failures)),
        runtime=record.runtime.spread(),
        signals=MappingProxyType(
            {name: meter.spread() for name, meter in record.latency.items()}
        ),
        waiting=case.arrivals.waiting,
        lost=case.arrivals.lost,
        transitions=MappingProxyType(dict(record.transitions)),
        stalls=record.stalls,
    )

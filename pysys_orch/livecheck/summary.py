"""What became of cases in one run, however many tests there were."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pysys_orch.livecheck.models import CUT_OFF, State, TestReport
from pysys_orch.livecheck.spread import Meter
from pysys_orch.livecheck.thresholds import PERCENTILES

#: How a test can end that was executed.
EXECUTED = (State.PASS, State.FAIL, State.ERROR, State.TIMEOUT)
FAILURES = (State.FAIL, State.ERROR, State.TIMEOUT)

# What else a text is cut to that somebody may have made as long as he likes.
_LONGEST_WORDS = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that went wrong, on one line.

    Attributes:
        state: How it ended.
        ident: Which test it was; None if it was about the case.
        words: What was wrong.
        line: In which line of the evidence it is, from 1; None if it is not there.
    """

    state: State
    ident: str | None
    words: str
    line: int | None

    @classmethod
    def of(cls, report: TestReport, line: int | None) -> Failure:
        """Return what a report says."""
        ident = None if report.test is None else report.test.id
        words = " ".join((report.error or report.state.value).split())
        return cls(report.state, ident, words[:_LONGEST_WORDS], line)


@dataclass(slots=True)
class Summary:
    """What became of one case.

    Attributes:
        counts: How many tests ended how.
        told: In which states the case as a whole was told to be, each so often; PASS is
            that it was well again.
        first: The first test of each state that did not pass.
        first_told: The first of these for the case as a whole.
        cut_off: How many tests had not ended when the live check did.
        first_cut_off: The first of these.
        runtime: How long tests took that passed.
        latency: How long signals were waited for that came.
        signals: The same for each of them, by its name.
    """

    counts: Counter[State] = field(default_factory=Counter)
    told: Counter[State] = field(default_factory=Counter)
    first: dict[State, Failure] = field(default_factory=dict)
    first_told: dict[State, Failure] = field(default_factory=dict)
    cut_off: int = 0
    first_cut_off: Failure | None = None
    runtime: Meter = field(default_factory=Meter)
    latency: Meter = field(default_factory=Meter)
    signals: dict[str, Meter] = field(default_factory=dict)

    def add(self, report: TestReport, line: int | None) -> None:
        """Add a report, which is in this line of the evidence."""
        state = report.state
        counts, first = self.counts, self.first
        if report.test is None:
            counts, first = self.told, self.first_told
        counts[state] += 1
        if not state.is_ok() and state not in first:
            first[state] = Failure.of(report, line)
        if report.test is None:
            return
        if state is State.SKIP and (report.error or "").startswith(CUT_OFF):
            self.cut_off += 1
            self.first_cut_off = self.first_cut_off or Failure.of(report, line)
        if state is State.PASS and report.runtime is not None:
            self.runtime.add(report.runtime)
        for name, seconds in report.signal_latency.items():
            self.latency.add(seconds)
            meter = self.signals.get(name)
            if meter is None:
                meter = self.signals[name] = Meter()
            meter.add(seconds)

    @property
    def executed(self) -> int:
        """How many tests were executed."""
        return sum(self.counts[state] for state in EXECUTED)

    @property
    def failed(self) -> int:
        """How many of these did not pass."""
        return sum(self.counts[state] for state in FAILURES)

    def figures(self) -> dict[str, float]:
        """Return all that there is a figure for, by the names of thresholds.

        Shares are missing if no test was executed, times if nothing took any.
        """
        executed = self.executed
        found: dict[str, float] = {"executed": executed}
        named = {state.value.lower(): self.counts[state] for state in EXECUTED}
        named["failure"] = self.failed
        for name, count in named.items():
            found[f"{name}_count"] = count
            if executed:
                found[f"{name}_ratio"] = count / executed
        found["skip_count"] = self.counts[State.SKIP]
        found["cut_off_count"] = self.cut_off
        found["stall_count"] = self.told[State.STALL]
        found["suite_failure_count"] = self.told[State.FAIL]
        found |= _named("runtime", self.runtime)
        found |= _named("latency", self.latency)
        return found

    def latencies(self, signal: str) -> dict[str, float]:
        """Return the latency of a signal, by the names of thresholds."""
        meter = self.signals.get(signal)
        return {} if meter is None else _named("latency", meter)


def _named(name: str, meter: Meter) -> dict[str, float]:
    spread = meter.spread()
    values = (spread.p50, spread.p90, spread.p99, spread.longest)
    return {
        f"{name}_{percentile}_ms": seconds * 1000
        for percentile, seconds in zip(PERCENTILES, values, strict=True)
        if seconds is not None
    }


class Summaries:
    """The summaries of all cases. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cases: dict[str, Summary] = {}

    def add(self, report: TestReport, line: int | None) -> None:
        """Add a report, which is in this line of the evidence."""
        with self._lock:
            summary = self._cases.get(report.case_name)
            if summary is None:
                summary = self._cases[report.case_name] = Summary()
            summary.add(report, line)

    def count(self, case: str | None, state: State | None) -> int:
        """Return how many tests have ended.

        Args:
            case: Of which case; None is any.
            state: How; None is in any way in which one can end that was executed.
        """
        wanted = EXECUTED if state is None else (state,)
        with self._lock:
            return sum(
                summary.counts[each]
                for name, summary in self._cases.items()
                if case in {None, name}
                for each in wanted
            )

    def of(self, case: str) -> Summary:
        """Return the one of a case, which nothing is added to any more."""
        with self._lock:
            return self._cases.get(case) or Summary()

    def all_counts(self) -> Mapping[str, Counter[State]]:
        """Return how many tests of each case ended how."""
        with self._lock:
            return {name: each.counts.copy() for name, each in self._cases.items()}

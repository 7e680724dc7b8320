"""What became of an event's firings: counts and times, however many there were."""

from __future__ import annotations

from dataclasses import dataclass, field

from pysys_orch.orchestration.calls import Call, Kind, Outcome
from pysys_orch.orchestration.failures import trace_of, words_of
from pysys_orch.orchestration.times import Times, percentiles

_LONGEST_WORDS = 500
# Each time one looks into an enumeration it takes a while, and firings are many.
_OK, _UNDO = Outcome.OK, Kind.UNDO

_FIGURES = {
    Outcome.OK: "ok",
    Outcome.FAILED: "failure",
    Outcome.TIMED_OUT: "timeout",
    Outcome.SKIPPED: "skipped",
    Outcome.DROPPED: "dropped",
    Outcome.MISSED: "missed",
    Outcome.CANCELLED: "cancelled",
    Outcome.ABANDONED: "abandoned",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A firing that went wrong.

    Attributes:
        ordinal: Which firing it was, from 1.
        due: When it was due, in seconds since the beginning.
        kind: Why it fired.
        outcome: How it ended.
        words: What it raised, or where it hung, on one line.
        trace: The same with all there is to know.
        limit: After how many seconds it was told to end; None if it was not.
    """

    ordinal: int
    due: float
    kind: Kind
    outcome: Outcome
    words: str
    trace: str = ""
    limit: float | None = None


# As long as nothing happens, nothing is needed: there may be very many.
_NO_COUNTS = dict[Outcome, int]()


@dataclass(slots=True)
class Tally:
    """The firings of one event, taken together.

    Attributes:
        name: What the event is called.
        counts: How many ended how.
        times: How long they took; None as long as nothing was called.
        ran: How often the event was called.
        first: The first firing that went wrong.
        abandoned: The first one that still ran in the end.
        undone: The first undo that went wrong.
    """

    name: str
    counts: dict[Outcome, int] = field(default_factory=lambda: _NO_COUNTS)
    times: Times | None = None
    ran: int = 0
    first: Trouble | None = None
    abandoned: Trouble | None = None
    undone: Trouble | None = None

    def add(self, call: Call, begin: float) -> None:
        """Add a firing.

        Args:
            call: The firing.
            begin: The instant at which the run began.
        """
        outcome = call.outcome
        if outcome is not _OK and outcome.is_failure:
            self._trouble(call, begin)
        if call.kind is _UNDO:
            return
        counts = self.counts
        if not counts:
            counts = self.counts = {}
        counts[outcome] = counts.get(outcome, 0) + 1
        if not call.is_made:
            return
        self.ran += 1
        if call.ended:
            if self.times is None:
                self.times = Times()
            started = call.started
            self.times.add(started - call.due, call.ended - started)

    @property
    def fired(self) -> int:
        """How many firings were due."""
        return sum(tuple(self.counts.values()))

    @property
    def failed(self) -> int:
        """How often something went wrong with it."""
        return sum(
            count
            # Others may be counting.
            for outcome, count in tuple(self.counts.items())
            if outcome.is_failure
        )

    def figures(self) -> dict[str, float]:
        """Return all that there is a figure for, by the names of thresholds.

        Times are missing if there was no firing that ended.
        """
        fired = self.fired
        found: dict[str, float] = {"fired": fired}
        for outcome, name in _FIGURES.items():
            count = self.counts.get(outcome, 0)
            found[f"{name}_count"] = count
            found[f"{name}_ratio"] = count / fired if fired else 0.0
        if self.times is not None:
            for time, values in self.times.counts().items():
                found |= percentiles(time, values)
        return found

    def _trouble(self, call: Call, begin: float) -> None:
        if call.kind is Kind.UNDO:
            is_known = self.undone is not None
        else:
            is_known = self.first is not None
        if is_known and (self.abandoned or call.outcome is not Outcome.ABANDONED):
            return
        failure = None if call.ruling else call.failure
        words = " ".join("".join(call.stack.splitlines()[:2]).split())
        trace = call.stack
        if failure is not None:
            words, trace = words_of(failure), trace_of(failure)
        trouble = Trouble(
            ordinal=call.ordinal,
            due=call.due - begin,
            kind=call.kind,
            outcome=call.outcome,
            words=words[:_LONGEST_WORDS],
            trace=trace,
            limit=call.limit,
        )
        if call.kind is Kind.UNDO:
            self.undone = self.undone or trouble
        else:
            self.first = self.first or trouble
        if call.outcome is Outcome.ABANDONED:
            self.abandoned = self.abandoned or trouble

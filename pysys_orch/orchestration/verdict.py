"""What a run means for its test: a pure function of what became of the firings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pysys_orch.orchestration.calls import Kind, Outcome
from pysys_orch.orchestration.description import Description, Event, OnFailure
from pysys_orch.orchestration.orchestrator import Ending, Why
from pysys_orch.orchestration.tally import Tally, Trouble
from pysys_orch.orchestration.thresholds import Threshold


class Result(StrEnum):
    """What is wrong, in the words of PySys."""

    FAILED = "FAILED"
    TIMED_OUT = "TIMEDOUT"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Something for which a test does not pass.

    Attributes:
        result: What it is.
        words: Why, on one line.
        event: Which event of the description it is about, from 0; None if none.
    """

    result: Result
    words: str
    event: int | None = None


def judge(
    description: Description,
    tallies: Sequence[Tally],
    ending: Ending,
    *,
    reported: Sequence[str] = (),
    reported_count: int = 0,
    others: Sequence[str] = (),
) -> list[Judgement]:
    """Return all for which a test does not pass, the events in their order.

    Args:
        description: What was to happen.
        tallies: What did, for each event.
        ending: How the run ended.
        reported: What events reported as errors; some of it, if there was much.
        reported_count: How much there was.
        others: What else went wrong.
    """
    found = []
    for index, (event, tally) in enumerate(
        zip(description.events, tallies, strict=True)
    ):
        found += [
            Judgement(result, f"{event.name} {words}", index)
            for result, words in _about(event, tally)
        ]
    if ending.was_killed:
        when = _after(ending.at) if ending.why is Why.SWITCH else "in the end"
        found.append(Judgement(Result.FAILED, f"the kill switch was set {when}"))
    if reported:
        count = (
            "an error was" if reported_count == 1 else f"{reported_count} errors were"
        )
        first = "" if reported_count == 1 else ", the first"
        found.append(
            Judgement(Result.FAILED, f"{count} reported{first}: {reported[0]}")
        )
    found += [Judgement(Result.FAILED, each) for each in others]
    found += _beyond(description, tallies)
    return found


def _about(event: Event, tally: Tally) -> Iterator[tuple[Result, str]]:
    if tally.abandoned is not None:
        where = f": {tally.abandoned.words}" if tally.abandoned.words else ""
        yield (
            Result.TIMED_OUT,
            f"had not ended {event.grace_sec:g} s after the run did{where}",
        )
    first = tally.first
    if first is not None and first is not tally.abandoned and _counts(event, tally):
        result = Result.FAILED
        if first.outcome is Outcome.TIMED_OUT:
            result = Result.TIMED_OUT
        yield result, _failures(event, tally, first)
    if tally.undone is not None:
        yield (
            Result.FAILED,
            f"could not be undone by {event.undo}: {tally.undone.words}",
        )
    if tally.fired and not tally.ran:
        found = ", ".join(
            f"{count:,} {outcome}" for outcome, count in sorted(tally.counts.items())
        )
        yield Result.FAILED, f"was due and never ran: {found}"


def _counts(event: Event, tally: Tally) -> bool:
    """Return whether the failures of an event are more than are tolerated."""
    policy = event.on_failure
    if policy.max_failures is not None:
        return tally.failed > policy.max_failures
    if policy.max_ratio is not None:
        return tally.failed > policy.max_ratio * tally.ran
    return policy.policy is not OnFailure.IGNORE


def _failures(event: Event, tally: Tally, first: Trouble) -> str:
    how = "failed"
    if first.outcome is Outcome.TIMED_OUT:
        limit = event.grace_sec if first.limit is None else first.limit
        how = f"did not end within {limit:g} s"
    words = f": {first.words}" if first.words else ""
    when = "in the teardown" if first.kind is Kind.TEARDOWN else _after(first.due)
    if tally.failed == 1:
        return f"{how} {when}{words}"
    return f"{how} {tally.failed:,} of {tally.ran:,} times, first {when}{words}"


def _after(seconds: float) -> str:
    return f"after {seconds:.3f} s"


def _beyond(description: Description, tallies: Sequence[Tally]) -> Iterator[Judgement]:
    """Yield the figures that are beyond their thresholds."""
    for figure, limit in description.thresholds.items():
        threshold = Threshold.of(figure, limit)
        for index, tally in enumerate(tallies):
            if threshold.event not in {"*", tally.name}:
                continue
            value = tally.figures().get(threshold.figure)
            if value is None:
                if threshold.event != "*" or tally.ran:
                    words = (
                        f"{tally.name}.{threshold.figure} has no value: nothing ended"
                    )
                    yield Judgement(Result.FAILED, words, index)
            elif not threshold.holds(value):
                words = f"{tally.name}.{threshold} does not hold: it is {value:g}"
                yield Judgement(Result.FAILED, words, index)

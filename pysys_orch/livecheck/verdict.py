"""What a live check means for its test: a pure function of what became of its cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pysys_orch.livecheck.models import State
from pysys_orch.livecheck.summary import FAILURES, Failure, Summary
from pysys_orch.livecheck.thresholds import Threshold
from pysys_orch.livecheck.troubles import Condition


class Result(StrEnum):
    """What is to be said of a case, in the words of PySys."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMEDOUT"
    BLOCKED = "BLOCKED"
    SKIPPED = "SKIPPED"


#: What a test of a case means that ended so. PySys ranks them the same way.
RESULTS = {
    State.ERROR: Result.BLOCKED,
    State.TIMEOUT: Result.TIMED_OUT,
    State.FAIL: Result.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a case when it is judged.

    Attributes:
        name: What it is called.
        summary: What became of it in this run.
        condition: What is wrong with it now.
        why: In what words.
        evidence: Where its reports are, as a reader finds them.
        refused: How many requests the receiver refused, for whatever case.
    """

    name: str
    summary: Summary
    condition: Condition
    why: str = ""
    evidence: str = ""
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What comes of a case.

    Attributes:
        case: Which.
        result: What it is.
        words: Why, on one line.
        line: Which line of its evidence it is about, from 1; None if it is about none.
    """

    case: str
    result: Result
    words: str
    line: int | None = None


def judge(
    seen: Seen,
    thresholds: Sequence[Threshold] = (),
    *,
    may_be_unused: bool = False,
) -> Judgement:
    """Return what comes of a case.

    Whatever went wrong during the run counts, also if it is well again in the end,
    unless a threshold says how much of that may be. What is wrong in the end counts in
    any case. If there are several reasons, the worst one is the result.

    Args:
        seen: What is known of the case.
        thresholds: All that are given; those of other cases are left alone.
        may_be_unused: Whether it may be that it never ran.
    """
    summary, name = seen.summary, seen.name
    mine = [each for each in thresholds if _is_about(each, seen)]
    found = [
        *_of_tests(seen, mine),
        *_of_the_rest(seen, mine),
        *_of_the_case(seen, mine),
        *_of_figures(seen, mine),
    ]
    counts = _counts(summary)
    if found:
        words = "; ".join(each.words for each in found)
        worst = max(found, key=lambda each: RANKS.index(each.result))
        where = ""
        if seen.evidence:
            line = "" if worst.line is None else f":{worst.line}"
            where = f", see {seen.evidence}{line}"
        return Judgement(name, worst.result, f"{name}: {words}{where}", worst.line)
    if summary.executed:
        return Judgement(name, Result.PASSED, f"{name}: {counts}")
    if summary.counts[State.SKIP]:
        words = f"{name}: {counts}, and nothing else"
        return Judgement(name, Result.SKIPPED, words)
    if may_be_unused:
        return Judgement(name, Result.PASSED, f"{name}: never ran, which it need not")
    words = f"{name}: never ran: no test was triggered"
    if seen.refused:
        is_one = seen.refused == 1
        requests = "1 request was" if is_one else f"{seen.refused:,} requests were"
        words += f", but {requests} refused: see the log"
    return Judgement(name, Result.FAILED, words)


# Who has a way of their own to tell may not have told it here.
_UNTOLD = "no report says why"

RANKS = (Result.FAILED, Result.TIMED_OUT, Result.BLOCKED)


def _is_about(threshold: Threshold, seen: Seen) -> bool:
    if threshold.case == seen.name:
        return True
    if threshold.case == "*":
        # What never ran has no figures, and is judged for that.
        return seen.summary.executed > 0
    # `thresholds_of` has seen to it that what is neither is the signal of a case.
    return _signal(threshold, seen) is not None


def _signal(threshold: Threshold, seen: Seen) -> str | None:
    case, _, signal = threshold.case.rpartition(".")
    return signal if case == seen.name else None


def _of_tests(seen: Seen, mine: Sequence[Threshold]) -> list[Judgement]:
    """Return what comes of the tests, taken together: that of the worst of them."""
    summary = seen.summary
    bad = [
        state
        for state in FAILURES
        if summary.counts[state] and not _is_tolerated(state.value.lower(), seen, mine)
    ]
    if not bad:
        return []
    failures = [summary.first[state] for state in bad if state in summary.first]
    result = max((RESULTS[state] for state in bad), key=RANKS.index)
    worst = next((each for each in failures if RESULTS[each.state] is result), None)
    words = _counts(summary)
    if worst is not None:
        what = "it was" if summary.counts[worst.state] == 1 else "the first"
        words += f"; {what} {_said(worst)}"
    line = None if worst is None else worst.line
    return [Judgement(seen.name, result, words, line)]


def _of_the_rest(seen: Seen, mine: Sequence[Threshold]) -> list[Judgement]:
    """Return what comes of tests that had not ended: they have waited in vain."""
    summary, first = seen.summary, seen.summary.first_cut_off
    if not summary.cut_off or _is_tolerated("cut_off", seen, mine):
        return []
    tests = "1 test" if summary.cut_off == 1 else f"{summary.cut_off} tests"
    words = f"{tests} had not ended in the end"
    if first is not None:
        words += f", as {first.ident}: {first.words}"
    line = None if first is None else first.line
    return [Judgement(seen.name, Result.TIMED_OUT, words, line)]


def _of_the_case(seen: Seen, mine: Sequence[Threshold]) -> list[Judgement]:
    """Return what comes of the case as a whole: of silence, and of its own policy."""
    summary, name, condition = seen.summary, seen.name, seen.condition
    found = []
    stalled = summary.first_told.get(State.STALL)
    is_stalled = condition is Condition.STALLED
    has_stalled = summary.told[State.STALL] > 0
    if is_stalled or (has_stalled and not _is_tolerated("stall", seen, mine)):
        why = (seen.why or _UNTOLD) if stalled is None else stalled.words
        over = "" if is_stalled else ", though it was well again"
        line = None if stalled is None else stalled.line
        words = f"stalled: {why}{over}"
        found.append(Judgement(name, Result.TIMED_OUT, words, line))
    failed = summary.first_told.get(State.FAIL)
    is_failing = condition in {Condition.FAILING, Condition.DOWN}
    has_failed = summary.told[State.FAIL] > 0
    is_bad = has_failed and not _is_tolerated("suite_failure", seen, mine)
    if is_failing or is_bad:
        why = (seen.why or _UNTOLD) if failed is None else failed.words
        over = "" if is_failing else ", though it was well again"
        line = None if failed is None else failed.line
        words = f"failing as a whole: {why}{over}"
        found.append(Judgement(name, Result.FAILED, words, line))
    return found


def _of_figures(seen: Seen, mine: Sequence[Threshold]) -> list[Judgement]:
    """Return the figures that are beyond their thresholds."""
    found = []
    figures = seen.summary.figures() if mine else {}
    for each in mine:
        signal = None
        known = figures
        if each.case not in {"*", seen.name}:
            signal = _signal(each, seen)
            known = seen.summary.latencies(signal or "")
        value = known.get(each.figure)
        what = each.figure if signal is None else f"{signal}.{each.figure}"
        if value is None:
            if each.case == "*" or not seen.summary.executed:
                continue
            words = f"{what} has no value: there was nothing to measure"
        elif not each.holds(value):
            limit = str(each.limit)
            words = f"{what} {limit} does not hold: it is {value:.6g}"
        else:
            continue
        found.append(Judgement(seen.name, Result.FAILED, words))
    return found


def _is_tolerated(kind: str, seen: Seen, mine: Sequence[Threshold]) -> bool:
    """Return whether thresholds decide on that, and all of them hold."""
    deciding = [each for each in mine if each.decides(kind)]
    figures = seen.summary.figures() if deciding else {}
    return bool(deciding) and all(
        each.holds(figures.get(each.figure, 0.0)) for each in deciding
    )


def _counts(summary: Summary) -> str:
    """Return how many tests ended how, in words."""
    executed, failed = summary.executed, summary.failed
    skipped = summary.counts[State.SKIP]
    more = f", {skipped:,} skipped" if skipped else ""
    if not executed:
        return f"{skipped:,} tests were skipped" if skipped else "no test was executed"
    if not failed:
        return f"{executed:,} of {executed:,} tests passed{more}"
    bad = ", ".join(
        f"{summary.counts[state]:,} {state.value}"
        for state in FAILURES
        if summary.counts[state]
    )
    return f"{failed:,} of {executed:,} tests did not pass ({bad}){more}"


def _said(failure: Failure) -> str:
    return f"{failure.ident}: {failure.state.value}: {failure.words}"

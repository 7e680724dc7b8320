"""What becomes of a case: a table, and what holds in any case."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.errors import ConfigError
from pysys_orch.limits import Limit
from pysys_orch.livecheck.models import State, TestReport
from pysys_orch.livecheck.summary import EXECUTED, Summary
from pysys_orch.livecheck.thresholds import FIGURES, Threshold, thresholds_of
from pysys_orch.livecheck.troubles import Condition
from pysys_orch.livecheck.verdict import Judgement, Result, Seen, judge

CASES = {"Checkout": ["sent", "shipped"], "a.b": []}


def report(state: State, *, is_of_test: bool = True, **said: object) -> TestReport:
    """Return a report of the case Checkout."""
    test = {
        "id": "t",
        "case_name": "Checkout",
        "timestamp": "2024-02-29T12:00:00Z",
        "expires": "2024-02-29T13:00:00Z",
    }
    return TestReport.from_json(
        {
            "case_name": "Checkout",
            "state": state.value,
            "test": test if is_of_test else None,
            **said,
        }
    )


def seen(
    *states: State, told: tuple[State, ...] = (), condition: Condition | None = None
) -> Seen:
    """Return what is known of a case whose tests ended so."""
    summary = Summary()
    for line, state in enumerate(states, 1):
        summary.add(report(state, runtime=0.25, error="it was wrong"), line)
    for line, state in enumerate(told, len(states) + 1):
        summary.add(report(state, is_of_test=False, error="too much"), line)
    return Seen(
        name="Checkout",
        summary=summary,
        condition=condition or Condition.HEALTHY,
        why="so it is",
        evidence="livecheck/Checkout.jsonl",
    )


def judged(what: Seen, **thresholds: str) -> Judgement:
    """Judge it by thresholds for this case."""
    said = {f"Checkout.{figure}": limit for figure, limit in thresholds.items()}
    return judge(what, thresholds_of(said, CASES))


PASS, FAIL, ERROR = State.PASS, State.FAIL, State.ERROR
TIMEOUT, STALL, SKIP = State.TIMEOUT, State.STALL, State.SKIP


@pytest.mark.parametrize(
    ("what", "result"),
    [
        (seen(), Result.FAILED),
        (seen(PASS), Result.PASSED),
        (seen(SKIP), Result.SKIPPED),
        (seen(PASS, SKIP), Result.PASSED),
        (seen(FAIL, PASS), Result.FAILED),
        (seen(TIMEOUT, FAIL), Result.TIMED_OUT),
        (seen(ERROR, TIMEOUT, FAIL, PASS), Result.BLOCKED),
        (seen(PASS, told=(STALL, PASS)), Result.TIMED_OUT),
        (seen(PASS, condition=Condition.STALLED), Result.TIMED_OUT),
        (seen(condition=Condition.STALLED), Result.TIMED_OUT),
        (seen(PASS, told=(FAIL, PASS)), Result.FAILED),
        (seen(PASS, condition=Condition.DOWN), Result.FAILED),
        (seen(SKIP, condition=Condition.FAILING), Result.FAILED),
    ],
)
def test_the_worst_of_all_that_happened_counts(what: Seen, result: Result) -> None:
    """Not the last."""
    assert judged(what).result is result


def test_a_failure_is_told_with_where_its_report_is() -> None:
    """The first of the worst, since that one is to be looked at."""
    found = judged(seen(PASS, FAIL, ERROR, ERROR))
    assert found.line == 3
    assert found.words == (
        "Checkout: 3 of 4 tests did not pass (1 FAIL, 2 ERROR); the first t: ERROR: it "
        "was wrong, see livecheck/Checkout.jsonl:3"
    )


@pytest.mark.parametrize(
    ("what", "figure", "limit", "is_good"),
    [
        (seen(PASS, PASS, PASS, FAIL), "failure_ratio", "<=0.25", True),
        (seen(PASS, PASS, PASS, FAIL), "failure_ratio", "<0.25", False),
        (seen(PASS, PASS, PASS, FAIL), "fail_ratio", "<0.5", True),
        (seen(PASS, PASS, PASS, FAIL), "error_count", "<5", False),
        (seen(PASS, PASS, PASS, FAIL), "failure_count", ">=1", False),
        (seen(PASS, PASS, PASS, FAIL), "pass_count", "<=9", False),
        (seen(PASS, told=(STALL,)), "stall_count", "<=1", True),
        (seen(PASS, told=(STALL,)), "stall_count", "<1", False),
        (
            seen(PASS, told=(STALL,), condition=Condition.STALLED),
            "stall_count",
            "<=1",
            False,
        ),
        (seen(PASS, told=(FAIL,)), "suite_failure_count", "<2", True),
        (seen(PASS, told=(FAIL,)), "failure_ratio", "<0.5", False),
        (seen(PASS), "runtime_p99_ms", "<250.1", True),
        (seen(PASS), "runtime_max_ms", "<250", False),
        (seen(PASS), "executed", ">=2", False),
        (seen(FAIL), "runtime_p50_ms", "<1000", False),
        (seen(SKIP), "runtime_p50_ms", "<1000", True),
    ],
)
def test_a_threshold_allows_what_it_is_about_and_no_more(
    what: Seen, figure: str, limit: str, *, is_good: bool
) -> None:
    """What is wrong in the end is wrong whatever it says."""
    found = judged(what, **{figure: limit})
    assert (found.result in {Result.PASSED, Result.SKIPPED}) is is_good, found.words


def test_the_latency_of_each_signal_has_a_figure() -> None:
    """And so has that of all of them."""
    summary = Summary()
    latency = {"sent": 0.1, "shipped": 0.3}
    for _ in range(100):
        summary.add(report(PASS, signal_latency=latency, runtime=0.4), None)
    what = Seen(name="Checkout", summary=summary, condition=Condition.HEALTHY)

    def holds(figure: str, limit: str) -> bool:
        limits = thresholds_of({figure: limit}, CASES)
        return judge(what, limits).result is Result.PASSED

    assert holds("Checkout.sent.latency_p99_ms", "<105")
    assert not holds("Checkout.sent.latency_p99_ms", "<95")
    assert not holds("Checkout.shipped.latency_max_ms", "<299")
    assert holds("*.latency_p50_ms", "<105")
    assert not holds("*.latency_p90_ms", "<290")


@pytest.mark.parametrize(
    ("figure", "limit", "words"),
    [
        ("runtime_p99_ms", "<5", "has to be the name of a case or *, a dot"),
        ("Checkout.runtime", "<5", "there is no figure 'runtime'"),
        ("Checkout.executed", "5", "has to be <, <=, >, >= or == and a number"),
        ("Checkout.executed", "<nan", "has to be <, <=, >, >= or == and a number"),
        ("Chekout.executed", "<5", "no case 'Chekout', did you mean Checkout?"),
        ("Checkout.sent.executed", "<5", "a signal has no figures but its latency_*"),
        ("Checkout.snt.latency_max_ms", "<5", "did you mean Checkout.sent?"),
    ],
)
def test_a_threshold_that_says_nothing_is_told(
    figure: str, limit: str, words: str
) -> None:
    """With what may have been meant."""
    with pytest.raises(ConfigError) as caught:
        thresholds_of({figure: limit}, CASES)
    assert words in str(caught.value)


def test_a_case_whose_name_has_dots_has_thresholds() -> None:
    """As one in a module has."""
    (found,) = thresholds_of({"a.b.executed": "> 2.5"}, CASES)
    assert found == Threshold("a.b", "executed", Limit(">", 2.5))


@given(
    st.lists(st.sampled_from([*EXECUTED, SKIP]), max_size=30),
    st.sampled_from(Condition),
)
def test_nothing_passes_of_which_something_failed(
    states: list[State], condition: Condition
) -> None:
    """Without a threshold that allows it."""
    found = judge(seen(*states, condition=condition))
    counts = Counter(states)
    is_well = condition in {Condition.HEALTHY, Condition.UNKNOWN}
    is_good = is_well and bool(states) and not set(counts) - {PASS, SKIP}
    assert (found.result in {Result.PASSED, Result.SKIPPED}) is is_good
    assert found.words.startswith("Checkout: ")
    assert "\n" not in found.words


@given(st.lists(st.sampled_from([*EXECUTED, SKIP]), max_size=30))
def test_each_figure_is_one_that_a_threshold_can_have(states: list[State]) -> None:
    """And there is a figure for each, as soon as a test has passed."""
    figures = seen(*states).summary.figures()
    assert set(figures) <= set(FIGURES)
    timed = {each for each in FIGURES if each.startswith("latency_")}
    if PASS in states:
        assert set(figures) == set(FIGURES) - timed

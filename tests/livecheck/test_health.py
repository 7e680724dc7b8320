"""Whether a case is well."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import groupby

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
from pysys_orch.livecheck.health import Health, stall_due, step
from pysys_orch.livecheck.models import State
from pysys_orch.livecheck.policy import Budget, FailureRatio, Flapping, Policy
from pysys_orch.livecheck.recent import change_ratio
from pysys_orch.livecheck.troubles import Condition

FAILURES = (State.FAIL, State.ERROR, State.TIMEOUT)

#: Fails, recovers, stalls and flaps within a few events.
SHORT = Policy(
    max_consecutive_failures=3, state_transition_delay=10, warn_stalled_after=60
)
ALL = Policy(
    max_consecutive_failures=3,
    passes_to_recover=2,
    state_transition_delay=10,
    warn_stalled_after=60,
    failure_ratio=FailureRatio(limit=0.5, window=60, least=4),
    budget=Budget(objective=0.9, burn_rate=3, window=600, long=120, short=60, least=10),
    flapping=Flapping(),
)


def passed(at: float, issued: float | None = None) -> Ended:
    return Ended(at, State.PASS, at if issued is None else issued)


def failed(at: float, state: State = State.FAIL) -> Ended:
    return Ended(at, state, at)


def run(
    events: Iterable[Event], policy: Policy = SHORT, health: Health | None = None
) -> tuple[Health, list[Notice]]:
    """Return how a case is after events, and what is told of them."""
    health, told = health or Health(), list[Notice]()
    for event in events:
        health, notices = step(health, event, policy)
        told += notices
    return health, told


def kinds(notices: Sequence[Notice]) -> list[str]:
    return [each.kind.value for each in notices]


# Failing and recovering


def test_a_case_that_never_ran_is_unknown() -> None:
    """It is neither well nor not."""
    health = Health()
    assert (health.status, health.condition) == (State.INIT, Condition.UNKNOWN)
    assert health.status.is_ok()


def test_enough_failures_in_a_row_fail_it() -> None:
    """In the words of the original; it dates from the first of them."""
    health, told = run([passed(0), failed(1), failed(2, State.TIMEOUT)])
    assert (health.status, health.condition) == (State.TIMEOUT, Condition.HEALTHY)
    assert told == []
    health, told = run([failed(3, State.ERROR)], health=health)
    assert (health.status, health.condition) == (State.FAIL, Condition.FAILING)
    assert told == [
        Notice(
            kind=Kind.FAILED,
            at=3,
            why="Failed after 3 (max=3)",
            from_state=State.TIMEOUT,
            to_state=State.FAIL,
            condition=Condition.FAILING,
            since=1,
            failures=3,
            total_failures=3,
            executions=4,
        )
    ]


def test_a_pass_breaks_a_run_of_failures() -> None:
    """At any time: also soon after the case failed, when it is not well yet."""
    health, told = run([failed(1), failed(2), passed(3), failed(4), failed(5)])
    assert (told, health.tally.failures) == ([], 2)
    health, told = run([failed(6), passed(7)], health=health)
    assert kinds(told) == ["failed"]
    assert (health.tally.failures, health.tally.failing_since) == (0, None)
    assert (health.status, health.condition) == (State.FAIL, Condition.FAILING)


def test_it_is_well_again_some_time_after_the_last_trouble() -> None:
    """A pass within the delay does not say so, and one at its end does not either."""
    health, told = run([failed(1), failed(2), failed(3), passed(5), passed(13)])
    assert kinds(told) == ["failed"]
    assert health.status is State.FAIL
    health, (recovered,) = run([passed(13.5)], health=health)
    assert (health.status, health.condition) == (State.PASS, Condition.HEALTHY)
    assert (recovered.kind, recovered.since) == (Kind.RECOVERED, 1)
    assert (recovered.from_state, recovered.to_state) == (State.FAIL, State.PASS)
    assert health.troubles.last == 3


def test_a_test_issued_before_the_trouble_says_nothing_of_it() -> None:
    """It passed since it was early, not since anything is well again."""
    events = [failed(1), failed(2), failed(3)]
    health, told = run([*events, passed(100, issued=2.5)])
    assert health.condition is Condition.FAILING
    _, told = run([passed(101, issued=3.5)], health=health)
    assert kinds(told) == ["recovered"]


def test_several_passes_in_a_row_may_be_needed() -> None:
    """A failure between them begins anew."""
    policy = Policy(
        max_consecutive_failures=1, passes_to_recover=3, state_transition_delay=0
    )
    events = [failed(1), passed(2), passed(3), failed(4), passed(5), passed(6)]
    health, told = run(events, policy)
    assert "recovered" not in kinds(told)
    _, told = run([passed(7)], policy, health)
    assert [each.why for each in told] == ["passed 3 times in a row"]


def test_a_single_failure_breaks_a_run_of_passes() -> None:
    """Though it would not have been trouble."""
    policy = Policy(
        max_consecutive_failures=2, passes_to_recover=2, state_transition_delay=0
    )
    events = [failed(1), failed(2), passed(3), failed(4), passed(5)]
    health, told = run(events, policy)
    assert kinds(told) == ["failed"]
    _, told = run([passed(6)], policy, health)
    assert kinds(told) == ["recovered"]


def test_trouble_that_goes_on_is_told_once() -> None:
    """And again if there was none for a while, but it was not well either."""
    health, told = run(failed(at) for at in range(1, 300))
    assert kinds(told) == ["failed"]
    _, told = run([passed(301), *map(failed, (320, 321, 322))], health=health)
    assert kinds(told) == ["still"]
    assert told[0].since == 1


def test_each_test_is_counted_once() -> None:
    """The passes too, and those that were skipped."""
    events = [passed(at) for at in range(10)]
    health, _ = run([*events, failed(11), failed(12, State.ERROR), Skipped(13)])
    assert health.tally.by_state == Counter(
        {State.PASS: 10, State.FAIL: 1, State.ERROR: 1, State.TIMEOUT: 0, State.SKIP: 1}
    )
    assert (health.tally.total_failures, health.tally.executions) == (2, 12)


@pytest.mark.parametrize("state", [State.INIT, State.STALL, State.SKIP])
def test_no_test_ends_as_what_only_a_case_is(state: State) -> None:
    """Who says so is told, and nothing is counted."""
    with pytest.raises(ValueError, match=f"no test ends as {state}"):
        step(Health(), Ended(1, state, 1), SHORT)


def test_who_knows_better_can_say_that_it_fails() -> None:
    """In his own words; passing tests make it well again."""
    health, told = run([passed(1), Condemned(2, "the moon is full")])
    assert [(each.why, each.condition) for each in told] == [
        ("the moon is full", Condition.FAILING)
    ]
    assert health.status is State.FAIL
    _, told = run([passed(20)], health=health)
    assert kinds(told) == ["recovered"]


# Silence


def test_silence_is_noticed_after_one_period() -> None:
    """Of a case that had a test, and of one that never had any."""
    never, told = run([Began(5), Silent(64), Silent(65)])
    assert [(each.why, each.since) for each in told] == [
        ("no test for 60 s (max=60)", 5)
    ]
    assert (never.status, never.condition) == (State.STALL, Condition.STALLED)
    health, told = run([Began(5), Started(30), passed(31), Silent(65)])
    assert (told, health.watch.received) == ([], 30)
    assert stall_due(health, SHORT) == 90
    _, (stalled,) = run([Silent(90)], health=health)
    assert (stalled.to_state, stalled.since) == (State.STALL, 30)


def test_a_timer_may_be_a_moment_early() -> None:
    """Loops round their times; it is not noticed a whole period later for that."""
    _, told = run([Began(0), Silent(60 - 1e-6)])
    assert kinds(told) == ["failed"]


def test_a_look_at_a_case_that_is_not_silent_changes_nothing() -> None:
    """It forgives no failures, and a case that failed is not well for being busy."""
    events: list[Event] = []
    for at in range(80):
        events += [Started(at), failed(at), Silent(at + 0.5)]
    policy = Policy(warn_stalled_after=0.75, state_transition_delay=0)
    health, told = run(events, policy)
    assert kinds(told)[0] == "failed"
    assert "recovered" not in kinds(told)
    assert health.tally.failures == 80


def test_a_test_that_is_skipped_is_no_silence() -> None:
    """Somebody asked for it."""
    health, told = run([Began(0), Skipped(50), Silent(60)])
    assert (told, stall_due(health, SHORT)) == ([], 110)


def test_silence_that_goes_on_is_told_each_period() -> None:
    """And dates from the last test."""
    health, told = run([Began(0), Started(1), Silent(61), Silent(100), Silent(121)])
    assert kinds(told) == ["failed", "still"]
    assert stall_due(health, SHORT) == 181
    assert {each.since for each in told} == {1}


def test_silence_is_over_when_tests_pass() -> None:
    """Not when they come and fail, nor when they are skipped."""
    health, _ = run([Began(0), Silent(60), Skipped(100), Started(101), failed(102)])
    assert (health.status, health.condition) == (State.FAIL, Condition.STALLED)
    health, told = run([passed(103)], health=health)
    assert kinds(told) == ["recovered"]
    assert health.status is State.PASS


def test_what_was_not_watched_was_not_silent() -> None:
    """A run that goes on after a night begins a period anew."""
    health, told = run([Began(0), Started(1), Began(9000), Silent(9001)])
    assert (told, stall_due(health, SHORT)) == ([], 9060)


def test_a_case_may_be_silent_for_ever() -> None:
    """If the policy says so, or nobody has begun to watch."""
    policy = Policy(warn_stalled_after=None)
    health, told = run([Began(0), Silent(1e9)], policy)
    assert (told, stall_due(health, policy)) == ([], None)
    assert stall_due(Health(), SHORT) is None
    health, told = run([Silent(1e9)])
    assert (told, stall_due(health, SHORT)) == ([], 1e9 + 60)


# Services


def test_a_service_that_is_down_is_trouble() -> None:
    """Until it answers, the delay later; what the tests did stays as it was."""
    health, (down,) = run([failed(1), Down(5, "GET http://shop: refused")])
    assert (down.why, down.condition) == ("GET http://shop: refused", Condition.DOWN)
    assert health.status is State.FAIL
    health, told = run([Answered(15)], health=health)
    assert told == []
    health, told = run([Answered(15.1)], health=health)
    assert kinds(told) == ["recovered"]
    assert (health.status, health.tally.failures) == (State.FAIL, 1)
    assert health.condition is Condition.HEALTHY


def test_a_service_that_answers_forgives_no_failures() -> None:
    """However often it does."""
    policy = Policy(max_consecutive_failures=3, state_transition_delay=0)
    events: list[Event] = []
    for at in range(20):
        events += [failed(at), Answered(at + 0.5)]
    health, told = run(events, policy)
    assert (kinds(told)[0], told[0].at) == ("failed", 2)
    assert "recovered" not in kinds(told)
    assert health.tally.failures == 20


def test_trouble_of_another_kind_is_told() -> None:
    """The case is well when all of it is over, and what explains it names it."""
    events: list[Event] = [*map(failed, (1, 2, 3)), Down(4, "refused"), Answered(20)]
    health, told = run(events)
    assert kinds(told) == ["failed", "changed"]
    assert [each.condition for each in told] == [Condition.FAILING, Condition.DOWN]
    assert health.condition is Condition.FAILING
    _, told = run([passed(21)], health=health)
    assert [(each.kind, each.since) for each in told] == [(Kind.RECOVERED, 1)]


# Ratios


def test_too_large_a_share_of_failures_fails_it() -> None:
    """Though there are never many in a row; once there are enough to say so."""
    policy = Policy(
        failure_ratio=FailureRatio(limit=0.5, window=60, least=10),
        state_transition_delay=10,
    )
    events = [passed(at) if at % 2 else failed(at) for at in range(9)]
    health, told = run(events, policy)
    assert told == []
    health, told = run([passed(9), failed(10)], policy, health)
    assert [(each.why, each.since) for each in told] == [
        ("Failed 6 of 11 in 60 s: 0.545 (max=0.5)", 0)
    ]
    # The delay is over, but the share is not.
    health, told = run([passed(20.5)], policy, health)
    assert (told, health.condition) == ([], Condition.FAILING)
    _, told = run([passed(21)], policy, health)
    assert kinds(told) == ["recovered"]


def test_a_budget_that_burns_fails_it() -> None:
    """If it matters, and is not over yet."""
    budget = Budget(
        objective=0.99, burn_rate=10, window=6000, long=600, short=60, least=100
    )
    policy = Policy(budget=budget, state_transition_delay=0)
    health, told = run((passed(at) for at in range(500)), policy)
    assert health.recent.budget_left(500, budget) == 1
    # One in ten of the last ten minutes is ten times what is allowed.
    burning = [event for at in range(500, 600) for event in (failed(at), passed(at))]
    health, told = run(burning, policy, health)
    assert kinds(told)[0] == "failed"
    assert told[0].at == 562
    assert told[0].why.startswith("Uses up its error budget 10.1 times too fast")
    assert told[0].since == 500
    assert "recovered" not in kinds(told)
    assert health.recent.budget_left(600, budget) < 0
    # Soon after it is over, the short window says so.
    _, told = run((passed(at) for at in range(600, 700)), policy, health)
    (recovered,) = told
    assert (recovered.kind, 650 < recovered.at <= 660) == (Kind.RECOVERED, True)


def test_few_tests_say_nothing_about_many_nines() -> None:
    """One that fails of a few is no budget that burns."""
    policy = Policy(budget=Budget(objective=0.999, least=100))
    _, told = run((failed(at) if at % 2 else passed(at) for at in range(99)), policy)
    assert told == []


# Flapping


def as_nagios_does(results: Sequence[bool]) -> Fraction:
    """Return the share of changes as flapping.c has it, oldest result first."""
    history = [False] * 21 + list(results)
    states = history[-21:]
    low, high = Fraction("0.75"), Fraction("1.25")
    changes = Fraction(0)
    for number in range(1, 21):
        if states[number] != states[number - 1]:
            changes += (number - 1) * (high - low) / (21 - 2) + low
    return changes / 20


@given(st.lists(st.booleans(), max_size=60))
def test_changes_weigh_as_those_of_nagios(results: list[bool]) -> None:
    """Late ones more; it forgets what is longer ago than 21 results."""
    bits = 0
    for has_failed in results:
        bits = bits << 1 | has_failed
    assert change_ratio(bits) == float(as_nagios_does(results))


runs_of_results = st.lists(
    st.tuples(st.booleans(), st.sampled_from([1, 1, 1, 2, 3, 8])), max_size=50
).map(lambda runs: [failed for failed, length in runs for _ in range(length)])


@given(runs_of_results)
@example([True, False] * 15 + [True] * 25)
@example([True, False] * 3 + [True] * 25)
def test_flapping_begins_late_and_ends_late(results: list[bool]) -> None:
    """Between the thresholds it stays as it was."""
    health, was = Health(), False
    for at, has_failed in enumerate(results):
        event = failed(at) if has_failed else passed(at)
        health, _ = step(health, event, FLAPPING)
        ratio = as_nagios_does(results[: at + 1])
        if ratio >= Fraction("0.3"):
            was = True
        elif ratio <= Fraction("0.2"):
            was = False
        assert health.is_flapping is was


FLAPPING = Policy(
    max_consecutive_failures=3, state_transition_delay=0, flapping=Flapping()
)


def alternating(begin: int) -> list[Ended]:
    return [failed(at) if at % 2 else passed(at) for at in range(begin, begin + 30)]


def test_what_fails_while_it_flaps_is_told_when_that_is_over() -> None:
    """Not before: it may pass again at once."""
    health, told = run(alternating(0), FLAPPING)
    assert kinds(told) == ["flapping"]
    assert health.is_flapping
    health, told = run((failed(at) for at in range(30, 34)), FLAPPING, health)
    assert (told, health.condition) == ([], Condition.FAILING)
    health, told = run((failed(at) for at in range(34, 50)), FLAPPING, health)
    assert kinds(told)[:2] == ["steady", "failed"]
    assert told[1].since == 29
    _, told = run([passed(80)], FLAPPING, health)
    assert kinds(told) == ["recovered"]


def test_what_recovers_while_it_flaps_is_told_when_that_is_over() -> None:
    """Dated from the trouble that was told."""
    health, told = run((failed(at) for at in range(-3, 0)), FLAPPING)
    assert kinds(told) == ["failed"]
    # So that it flaps before it passes for the first time.
    hard = Policy(max_consecutive_failures=3, passes_to_recover=9, flapping=Flapping())
    health, told = run(alternating(0), hard, health)
    assert kinds(told) == ["flapping"]
    health, told = run((passed(at) for at in range(100, 120)), hard, health)
    assert kinds(told) == ["steady", "recovered"]
    assert told[1].since == -3
    assert health.condition is Condition.HEALTHY


def test_who_no_longer_looks_for_flapping_finds_none() -> None:
    """The next run may have another policy, and what was held back is told."""
    health, _ = run([*alternating(0), *map(failed, range(30, 34))], FLAPPING)
    assert health.is_flapping
    _, told = run([failed(34)], SHORT, health)
    assert kinds(told) == ["steady", "failed"]


def test_silence_is_told_of_while_it_flaps() -> None:
    """No result would come to end the flapping."""
    policy = Policy(
        max_consecutive_failures=30, warn_stalled_after=60, flapping=Flapping()
    )
    events = [failed(at) if at % 2 else passed(at) for at in range(40)]
    _, told = run([*events, Started(40), Silent(100)], policy)
    assert kinds(told) == ["flapping", "failed"]
    assert told[1].condition is Condition.STALLED


# Whatever happens


def happening(what: str, at: float, age: float) -> Event:
    match what:
        case "skip":
            return Skipped(at)
        case "start":
            return Started(at)
        case "silent":
            return Silent(at)
        case "down":
            return Down(at, "refused")
        case "answer":
            return Answered(at)
        case "begin":
            return Began(at)
        case "condemn":
            return Condemned(at, "said so")
        case _:
            return Ended(at, State(what), at - age)


def sequences() -> st.SearchStrategy[list[Event]]:
    """Return events of all kinds, in the order of their times.

    Some come many times in a row, or in turn with passes, or else there would hardly
    ever be enough of a kind.
    """
    others = ["skip", "start", "silent", "down", "answer", "begin", "condemn"]
    steps = st.tuples(
        st.sampled_from([0, 1, 2, 5, 11, 61, 700]),
        st.sampled_from([*["PASS"] * 6, *FAILURES * 2, *others]),
        st.sampled_from([0, 0, 3, 30]),
        st.sampled_from([1, 1, 1, 3, 25]),
        st.booleans(),
    )

    def made(chosen: list[tuple[int, str, int, int, bool]]) -> list[Event]:
        at, events = 0.0, list[Event]()
        for gap, what, age, times, is_mixed in chosen:
            for each in range(times):
                at += gap
                is_turned = is_mixed and each % 2
                events.append(happening("PASS" if is_turned else what, at, age))
        return events

    return st.lists(steps, max_size=20).map(made)


policies = st.sampled_from([SHORT, ALL, Policy(), Policy(max_consecutive_failures=1)])


@given(sequences(), policies)
def test_failing_and_recovering_are_told_in_turn(
    events: list[Event], policy: Policy
) -> None:
    """Nobody hears that it is well who did not hear that it was not, nor twice."""
    health, told = run(events, policy)
    is_in_trouble = is_flapping = False
    for each in told:
        match each.kind:
            case Kind.FAILED:
                assert not is_in_trouble
                is_in_trouble = True
            case Kind.RECOVERED:
                assert is_in_trouble
                assert not is_flapping
                assert each.to_state is not State.STALL
                is_in_trouble = False
            case Kind.CHANGED | Kind.STILL:
                assert is_in_trouble
            case Kind.FLAPPING:
                assert not is_flapping
                is_flapping = True
            case Kind.STEADY:
                assert is_flapping
                is_flapping = False
        assert each.since <= each.at
        assert each.why
        assert "\n" not in each.why
    assert is_in_trouble == health.troubles.is_told
    assert is_flapping == health.is_flapping
    if not is_flapping:
        assert is_in_trouble == health.troubles.is_any


@given(sequences(), policies)
def test_counts_are_those_of_a_list(events: list[Event], policy: Policy) -> None:
    """Whatever else happens between the tests."""
    health, _ = run(events, policy)
    states = [each.state for each in events if isinstance(each, Ended)]
    tally = health.tally
    skipped = sum(isinstance(each, Skipped) for each in events)
    assert tally.by_state == Counter({**Counter(states), State.SKIP: skipped})
    assert tally.executions == len(states)
    assert tally.total_failures == sum(each in FAILURES for each in states)
    runs = [(ok, len(list(group))) for ok, group in groupby(states, State.is_ok)]
    assert tally.failures == (runs[-1][1] if runs and not runs[-1][0] else 0)
    assert health.last == (states[-1] if states else State.INIT)


@given(sequences(), policies)
def test_no_state_is_impossible(events: list[Event], policy: Policy) -> None:
    """What is shown, what is wrong and what is known always fit together."""
    health = Health()
    for event in events:
        health, notices = step(health, event, policy)
        troubles, tally = health.troubles, health.tally
        assert (tally.failures == 0) == (tally.failing_since is None)
        if troubles.is_any:
            assert not health.status.is_ok()
            assert health.condition not in {Condition.HEALTHY, Condition.UNKNOWN}
            assert troubles.of(health.condition) is not None
            assert troubles.last is not None
        else:
            assert health.status is health.last
        if tally.failures >= policy.max_consecutive_failures:
            assert troubles.failing is not None
        for each in notices:
            assert each.to_state is health.status
            assert each.failures == tally.failures


@given(sequences(), policies)
def test_only_what_ends_trouble_ends_it(events: list[Event], policy: Policy) -> None:
    """A test that passes; for a service also that it answers. Nothing else."""
    health = Health()
    for event in events:
        before, (health, _) = health.troubles, step(health, event, policy)
        is_pass = isinstance(event, Ended) and event.state is State.PASS
        after = health.troubles
        if before.failing or before.stalled:
            assert after.failing or after.stalled or is_pass
        if before.down:
            assert after.down or is_pass or isinstance(event, Answered)


@given(sequences(), st.sampled_from([SHORT, Policy(passes_to_recover=4)]))
def test_it_gets_well_whatever_happened(events: list[Event], policy: Policy) -> None:
    """By enough passes, the delay after the last trouble."""
    health, _ = run(events, policy)
    at = (events[-1].at if events else 0.0) + 1000
    passes = [passed(at + each) for each in range(policy.passes_to_recover)]
    health, told = run(passes, policy, health)
    assert (health.status, health.condition) == (State.PASS, Condition.HEALTHY)
    assert not health.troubles.is_told
    assert set(kinds(told)) <= {"recovered"}


@given(sequences(), sequences(), policies, st.integers(-100_000, 100_000))
def test_it_means_the_same_on_another_clock(
    before: list[Event], after: list[Event], policy: Policy, by: int
) -> None:
    """A run that goes on in another process goes on as if it were the same."""
    # Whole parts of all windows: what is torn apart in them is not what this is about.
    by *= 10
    health, _ = run(before, policy)
    start = before[-1].at if before else 0.0
    later = [each._replace(at=each.at + start) for each in after]
    moved = [
        each._replace(at=each.at + by, issued=each.issued + by)
        if isinstance(each, Ended)
        else each._replace(at=each.at + by)
        for each in later
    ]
    there, told = run(later, policy, health)
    here, same = run(moved, policy, health.shifted(by))
    assert here == there.shifted(by)
    assert [(each.kind, each.why, each.at - by) for each in same] == [
        (each.kind, each.why, each.at) for each in told
    ]


def test_a_case_takes_no_more_memory_for_being_old() -> None:
    """What it knows of many tests is no more than what it knows of some."""
    generator = random.Random(6)

    def aged(health: Health, begin: int, count: int) -> Health:
        for at in range(begin, begin + count):
            state = State.FAIL if generator.random() < 0.2 else State.PASS
            health = step(health, Ended(at, state, at), ALL).health
        return health

    young = aged(Health(), 0, 1000)
    old = aged(young, 1000, 20_000)
    assert len(repr(old)) < 1.1 * len(repr(young))

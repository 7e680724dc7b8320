"""What becomes an incident, and what does not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.errors import ConfigError
from pysys_orch.escalation.incident import Action
from pysys_orch.escalation.rules import (
    OVERFLOW,
    Decision,
    GroupBy,
    History,
    Mute,
    Outcome,
    Policy,
    Reason,
    Run,
    TestRun,
    covered_by_overflow,
    decide,
    expired,
    name_of,
    tally,
)

BEGIN = datetime(2024, 2, 28, 3, tzinfo=UTC)
NIGHT = timedelta(days=1)

#: What a test does in a run, by one letter.
DID = {
    "P": TestRun(passed=1),
    "F": TestRun(failed=1, outcome="FAILED", reason="it broke"),
    "T": TestRun(failed=1, outcome="TIMED OUT"),
    "Y": TestRun(passed=1, failed=1, outcome="FAILED"),
    "-": TestRun(),  # skipped
}


def nights(
    *nights: str | Mapping[str, str],
    policy: Policy | None = None,
    history: History | None = None,
    known: bool = True,
) -> list[Decision]:
    """Decide night after night.

    Args:
        nights: What each test did, by a letter: ``{"a": "F"}``; or ``"F"`` for one test
            called ``t``; ``"!"`` for a run that was aborted. Blank is a test that was
            not selected.
        policy: The policy.
        history: What is known before the first night.
        known: Whether anything is.
    """
    found = []
    if history is None and known:
        history = History()
    for number, night in enumerate(nights):
        did = {"t": night} if isinstance(night, str) else night
        run = Run(
            at=BEGIN + number * NIGHT,
            tests={
                test: replace(DID[each], group=test[0])
                for test, each in did.items()
                if each.strip(" !")
            },
            aborted="!" in did.values(),
        )
        found.append(decide(history, run, policy or Policy()))
        history = found[-1].history
    return found


def told(decisions: Sequence[Decision]) -> list[list[str]]:
    """Return what services are told, a list for each night: ``+group``, ``-group``."""
    return [
        [
            f"{'+' if each.action is Action.TRIGGER else '-'}{name_of(each.group)}"
            for each in decision.told
        ]
        for decision in decisions
    ]


def letters(sequence: str, **policy: object) -> str:
    """Return what is told of one test, a letter for each night."""
    decisions = nights(*sequence, policy=Policy(**policy))  # type: ignore[arg-type] # its fields
    signs = {"+suite": "+", "-suite": "-"}
    return "".join(signs[each[0]] if each else "." for each in told(decisions))


# One test


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ("PPP", "..."),
        ("PFFFPP", ".+..-."),
        ("FPFP", "+-+-"),
        ("FTP", "+.-"),  # another kind of failure is no other incident
        ("FYP", "+.-"),
        ("YP", "+-"),
        ("YYP", "+.-"),
        ("F-P", "+.-"),  # what is skipped has not recovered
        ("F P", "+.-"),  # nor what was not selected
        ("F!P", "+.-"),
        ("!F!P", ".+.-"),
        ("-", "."),
    ],
)
def test_an_incident_is_opened_once_and_resolved_once(
    sequence: str, expected: str
) -> None:
    """Only what ran can have recovered."""
    assert letters(sequence) == expected


@pytest.mark.parametrize(
    ("sequence", "failures", "passes", "expected"),
    [
        ("FPFPFF", 2, 1, ".....+"),
        ("F-F", 2, 1, "..+"),
        ("FFF", 3, 1, "..+"),
        ("FPPP", 1, 2, "+.-."),
        ("FPFPP", 1, 2, "+...-"),
        ("FP-P", 1, 2, "+..-"),
        ("FFPFPP", 2, 2, ".+...-"),
    ],
)
def test_some_patience_may_be_asked_for(
    sequence: str, failures: int, passes: int, expected: str
) -> None:
    """In both directions; a test that fails again while it recovers is still open."""
    found = letters(
        sequence, failures_before_trigger=failures, passes_before_resolve=passes
    )
    assert found == expected


def test_an_open_incident_is_told_of_again_only_if_that_is_wanted() -> None:
    """After a week, for example; the new one has the same name."""
    assert letters("F" * 10 + "P") == "+.........-"
    repeated = letters("F" * 10 + "P", repeat_after=3 * NIGHT)
    assert repeated == "+..+..+..+-"


def test_a_test_that_is_gone_is_forgotten_after_some_runs() -> None:
    """Not to be selected is not to be gone."""
    assert letters("F" + " " * 7) == "+......-"
    assert letters("F" + " " * 6 + "F" + " " * 6 + "P") == "+" + "." * 13 + "-"
    (*_, last) = nights("F", *[" "] * 7)
    assert [each.reason for each in last.transitions] == [Reason.VANISHED] * 2


# Reasons


@pytest.mark.parametrize(
    ("sequence", "reasons"),
    [
        ("F", [Reason.STARTED]),
        ("FF", [Reason.STILL]),
        ("FT", [Reason.KIND]),
        ("FY", [Reason.KIND]),
        ("FP", [Reason.RECOVERED]),
        ("F-", []),
        ("F!", [Reason.ABORTED]),
    ],
)
def test_what_happens_to_a_test_has_a_reason(
    sequence: str, reasons: list[Reason]
) -> None:
    """Also where nobody is woken for it."""
    last = nights(*sequence)[-1]
    assert [each.reason for each in last.transitions if not each.action] == reasons


def test_the_words_say_since_when() -> None:
    """For who reads them in the morning."""
    first, second, third, fourth = nights("F", "F", "T", "P")
    assert [each.words for each in first.transitions] == [
        "t is FAILED",
        "1 test is failing",
    ]
    assert [each.words for each in second.transitions] == [
        "t is FAILED since 2024-02-28"
    ]
    assert [each.words for each in third.transitions] == [
        "t is TIMED OUT, before it is FAILED"
    ]
    assert [each.words for each in fourth.transitions] == [
        "t passed, after it is TIMED OUT since 2024-02-28",
        "all that was failing has passed",
    ]


# Many tests


def test_a_suite_has_one_incident_for_all_its_tests() -> None:
    """It is over when every test has passed again, on whatever night."""
    found = nights(
        {"a": "F", "b": "P"},
        {"a": "P", "b": "F"},
        {"a": "F", "b": "P"},
        {"a": "P"},
        {"b": "P"},
    )
    assert told(found) == [["+suite"], [], [], ["-suite"], []]


def test_groups_have_incidents_of_their_own() -> None:
    """What happens in one is nothing to another."""
    found = nights(
        {"a1": "F", "a2": "F", "b1": "F", "c1": "P"},
        {"a1": "P", "a2": "F", "b1": "P"},
        {"a2": "P", "c1": "F"},
        policy=Policy(group_by=GroupBy.GROUP),
    )
    assert told(found) == [["+a", "+b"], ["-b"], ["-a", "+c"]]
    assert list(found[0].failing["group a"]) == ["a1", "a2"]


def test_tests_may_have_incidents_of_their_own() -> None:
    """Under their names."""
    policy = Policy(group_by=GroupBy.TEST)
    found = nights({"a": "F", "b": "F"}, {"a": "P", "b": "F"}, policy=policy)
    assert told(found) == [["+a", "+b"], ["-a"]]


def test_a_flood_opens_one_incident_that_stands_for_the_rest() -> None:
    """It is over when all of those are well."""
    policy = Policy(group_by=GroupBy.TEST, max_incidents=2)
    broken = dict.fromkeys("abcde", "F")
    found = nights(
        broken,
        broken | {"a": "P", "c": "P", "f": "F"},
        {"d": "P", "e": "P", "b": "P"},
        {"g": "F", "h": "F", "i": "F"},
        policy=policy,
    )
    assert told(found) == [
        ["+a", "+b", f"+{OVERFLOW}"],
        ["-a", "+f"],
        ["-b", f"-{OVERFLOW}"],
        ["+g", "+h", f"+{OVERFLOW}"],
    ]
    assert list(covered_by_overflow(found[0])) == ["c", "d", "e"]
    assert list(covered_by_overflow(found[1])) == ["d", "e"]


def test_cycles_and_modes_are_taken_together() -> None:
    """The first failure speaks for the test, and flaky is told apart."""
    first = TestRun(failed=1, outcome="FAILED", reason="first", group="g")
    second = TestRun(failed=1, outcome="BLOCKED", reason="second")
    found = tally(
        [
            ("a", TestRun(passed=1, group="g")),
            ("b", DID["-"]),
            ("a", first),
            ("a", second),
            ("b", DID["P"]),
            ("c", DID["-"]),
        ]
    )
    assert found["a"] == TestRun(
        passed=1, failed=2, outcome="FAILED", reason="first", group="g"
    )
    assert [each.result for each in found.values()] == [
        Outcome.FLAKY,
        Outcome.PASSED,
        Outcome.NOT_RUN,
    ]


def test_a_mode_that_did_not_run_has_not_recovered() -> None:
    """Not even if another one has passed."""
    one, two = TestRun(passed=1, modes=("1",)), TestRun(passed=1, modes=("2",))
    broken = TestRun(failed=1, outcome="FAILED", modes=("2",), broken=("2",))
    runs = [one + broken, one, replace(broken, modes=("1",), broken=("1",)), one, two]
    history: History | None = History()
    found = []
    for number, ran in enumerate(runs):
        run = Run(at=BEGIN + number * NIGHT, tests={"t": ran})
        found.append(decide(history, run, Policy()))
        history = found[-1].history
    assert told(found) == [["+suite"], [], [], [], []]
    last = Run(at=BEGIN + 9 * NIGHT, tests={"t": one + two})
    assert told([decide(history, last, Policy())]) == [["-suite"]]


def test_a_flood_that_rises_is_told_of_again() -> None:
    """Nobody else tells of what it covers."""
    policy = Policy(group_by=GroupBy.TEST, max_incidents=1)
    found = nights(
        {"a": "F", "b": "F"}, {"c": "F", "d": "F"}, {"a": "F"}, policy=policy
    )
    assert told(found) == [["+a", f"+{OVERFLOW}"], ["+c", f"+{OVERFLOW}"], []]


# Another grouping


#: Tests, and the groups that they belong to: some of them are called like one another,
#: or like what stands for many.
CONFUSING = {"suite": "suite", "a": "b", "b": "a", OVERFLOW: OVERFLOW, "c": ""}


def service_after(*nights: tuple[GroupBy, str], limit: int) -> list[set[str]]:
    """Return what is open at a service, night after night.

    Args:
        nights: What there is one incident for, and which of `CONFUSING` fail, by their
            first letters.
        limit: How many incidents a night may open.
    """
    history: History | None = History()
    is_open: set[str] = set()
    found = []
    for number, (group_by, failing) in enumerate(nights):
        tests = {
            test: replace(DID["F" if test[0] in failing else "P"], group=group)
            for test, group in CONFUSING.items()
        }
        run = Run(at=BEGIN + number * NIGHT, tests=tests)
        policy = Policy(group_by=group_by, max_incidents=limit)
        decision = decide(history, run, policy)
        for each in decision.told:
            if each.action is Action.TRIGGER:
                assert each.group not in is_open or each.group == OVERFLOW
                is_open.add(each.group)
            else:
                assert each.group in is_open
                is_open.remove(each.group)
        assert decision.history is not None
        assert is_open == {
            group
            for group, opened in decision.history.opened.items()
            if not opened.covered
        }
        history = decision.history
        found.append(set(is_open))
    return found


SUITE, GROUP, TEST = GroupBy


def test_a_group_may_be_called_like_the_suite() -> None:
    """When the grouping is changed, the one is over and the other one begins."""
    assert service_after((SUITE, "s"), (GROUP, "s"), (TEST, "s"), limit=9) == [
        {"suite"},
        {"group suite"},
        {"test suite"},
    ]
    assert service_after((SUITE, "a"), (GROUP, "a"), (GROUP, ""), limit=9) == [
        {"suite"},
        {"group b"},
        set(),
    ]


def test_a_group_may_be_called_like_a_test() -> None:
    """As a test may be called like the group of another one."""
    assert service_after((GROUP, "a"), (TEST, "a"), (TEST, "b"), limit=9) == [
        {"group b"},
        {"test a"},
        {"test b"},
    ]


def test_a_group_may_be_called_like_what_stands_for_the_rest() -> None:
    """It has its own incident, and goes on being told of."""
    name = f"group {OVERFLOW}"
    assert service_after((GROUP, "("), (GROUP, "("), (GROUP, ""), limit=9) == [
        {name},
        {name},
        set(),
    ]
    nights = ((GROUP, "(abs"), (GROUP, "(ab"), (GROUP, "("), (GROUP, ""))
    assert service_after(*nights, limit=1) == [
        {name, OVERFLOW},
        {name, OVERFLOW},
        {name},
        set(),
    ]


def test_what_is_grouped_in_another_way_has_not_recovered() -> None:
    """Who reads that it is over reads why."""
    by_test = Policy(group_by=GroupBy.TEST, max_incidents=1)
    (before,) = nights({"a": "F", "b": "F"}, policy=by_test)
    (after,) = nights({"a": "F", "b": "P"}, history=before.history)
    assert told([before, after]) == [
        ["+a", f"+{OVERFLOW}"],
        ["-a", f"-{OVERFLOW}", "+suite"],
    ]
    assert [each.reason for each in after.told] == [
        Reason.REGROUPED,
        Reason.REGROUPED,
        Reason.STARTED,
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(GroupBy), st.text("sab(c", max_size=5)), min_size=1
    ),
    st.integers(1, 4),
)
def test_a_changed_grouping_leaves_nothing_open(
    nights: list[tuple[GroupBy, str]], limit: int
) -> None:
    """However often it changes: what is open is known, and is over in the end."""
    last, _ = nights[-1]
    assert service_after(*nights, (last, ""), limit=limit)[-1] == set()


# Mutes


MUTE = Mute(tests="t*", until=date(2024, 3, 1), reason="being repaired")


def test_a_muted_test_wakes_nobody_until_its_day_is_over() -> None:
    """If it still fails then, somebody is told."""
    policy = Policy(mutes=(MUTE,))
    assert told(nights("F", "F", "F", "F", policy=policy)) == [[], [], [], ["+suite"]]
    assert told(nights("F", "F", "P", "F", "P", policy=policy))[3:] == [
        ["+suite"],
        ["-suite"],
    ]


def test_what_else_fails_is_told_of() -> None:
    """A mute is for some tests only."""
    policy = Policy(mutes=(MUTE,))
    found = nights({"t": "F", "a": "F"}, {"t": "F", "a": "P"}, policy=policy)
    assert told(found) == [["+suite"], ["-suite"]]
    assert found[1].told[0].reason is Reason.MUTED
    assert found[1].told[0].words.endswith("until 2024-03-01: being repaired")


def test_mutes_that_are_over_are_found() -> None:
    """Somebody may want to take them out."""
    assert expired([MUTE], BEGIN + 2 * NIGHT) == []
    assert expired([MUTE], BEGIN + 3 * NIGHT) == [MUTE]


# Nothing is known


def test_an_incident_is_resolved_of_which_nothing_is_known() -> None:
    """A lost memory heals itself: the first green run resolves what may be open."""
    assert told(nights("P", "P", known=False)) == [["-suite"], []]
    assert told(nights("F", "P", known=False)) == [["+suite"], ["-suite"]]
    patient = Policy(failures_before_trigger=2)
    assert told(nights("F", "P", policy=patient, known=False)) == [[], ["-suite"]]
    assert told(nights("F", "F", policy=patient, known=False)) == [[], ["+suite"]]
    assert told(nights("!", "-", "P", known=False)) == [[], [], ["-suite"]]


def test_groups_are_resolved_blindly_as_fast_as_services_take_it() -> None:
    """Nobody takes thousands at once; all have their turn."""
    policy = Policy(group_by=GroupBy.TEST, max_incidents=3)
    few = nights({"a": "P", "b": "F", "c": "-"}, {"c": "P"}, policy=policy, known=False)
    assert told(few) == [["+b", f"-{OVERFLOW}", "-a"], ["-c"]]
    well = dict.fromkeys("abcd", "P")
    many = nights(well, well, well, policy=policy, known=False)
    assert told(many) == [[f"-{OVERFLOW}", "-a", "-b", "-c"], ["-d"], []]


# Values


@pytest.mark.parametrize(
    "field",
    [
        "failures_before_trigger",
        "passes_before_resolve",
        "max_incidents",
        "forget_after",
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(field: str) -> None:
    """The message says which number."""
    with pytest.raises(ConfigError, match=f"{field} has to be 1 or more, got 0"):
        Policy(**{field: 0})  # type: ignore[arg-type] # the one that is asked for
    with pytest.raises(ConfigError, match="repeat_after has to be more than 0"):
        Policy(repeat_after=timedelta(0))


# Whatever happens


def is_failing(did: Sequence[str], failures: int, passes: int) -> bool:
    """Say from all that a test ever did whether it is failing, as a pattern.

    It has failed often enough, and has not passed often enough since then.
    """
    ran = "".join("P" if each == "P" else "F" for each in did if each in "FTYP")
    return bool(re.search(f"F{{{failures}}}(?!.*P{{{passes}}})", ran))


NIGHTLY = st.lists(st.text("FTYP- ", min_size=3, max_size=3), min_size=1, max_size=20)


@given(NIGHTLY, st.integers(1, 3), st.integers(1, 3), st.sampled_from(GroupBy))
def test_what_is_open_is_what_fails(
    columns: list[str], failures: int, passes: int, group_by: GroupBy
) -> None:
    """After each night, of whatever the service was told until then."""
    policy = Policy(
        failures_before_trigger=failures,
        passes_before_resolve=passes,
        group_by=group_by,
        forget_after=100,
    )
    names = ["a1", "a2", "b1"]
    found = nights(
        *(dict(zip(names, column, strict=True)) for column in columns), policy=policy
    )
    service: set[str] = set()
    for number, decision in enumerate(found):
        for each in decision.told:
            if each.action is Action.TRIGGER:
                assert each.group not in service
                service.add(each.group)
            else:
                assert each.group in service
                service.remove(each.group)
        so_far = columns[: number + 1]
        assert service == {
            {"suite": "suite", "group": f"group {name[0]}", "test": f"test {name}"}[
                group_by
            ]
            for place, name in enumerate(names)
            if is_failing([each[place] for each in so_far], failures, passes)
        }


@given(NIGHTLY, NIGHTLY, st.sampled_from(GroupBy))
def test_a_lost_memory_heals_itself(
    before: list[str], after: list[str], group_by: GroupBy
) -> None:
    """Once every test has run again, the service shows what fails."""
    policy = Policy(group_by=group_by, forget_after=100)
    names = ["a1", "a2", "b1"]
    service: set[str] = set()

    def go(columns: list[str], *, known: bool) -> list[Decision]:
        rows = (dict(zip(names, column, strict=True)) for column in columns)
        decisions = nights(*rows, policy=policy, known=known)
        for decision in decisions:
            for each in decision.told:
                if each.action is Action.TRIGGER:
                    service.add(each.group)
                else:
                    service.discard(each.group)
        return decisions

    go(before, known=True)
    last = go([*after, "PPP"], known=False)[-1]
    assert service == set()
    assert last.history is not None
    assert (last.history.troubles, last.history.opened) == ({}, {})

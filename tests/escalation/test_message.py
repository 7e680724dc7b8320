"""What people read when they are woken."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pysys_orch.escalation.incident import Action, Event, event_id
from pysys_orch.escalation.message import Facts, compose, plain
from pysys_orch.escalation.rules import (
    OVERFLOW,
    Decision,
    GroupBy,
    History,
    Policy,
    Run,
    TestRun,
    decide,
)

NOW = datetime(2024, 2, 29, 3, 30, tzinfo=UTC)
NIGHT = timedelta(days=1)
WRONG = TestRun(
    failed=1,
    outcome="FAILED",
    reason="expected 1,\n\x1b[31mgot 2\x1b[0m",
    location="out/a",
    group="fast",
)
FLAKY = TestRun(failed=1, passed=2, outcome="TIMED OUT", group="slow")
FINE = TestRun(passed=1, group="fast")


def facts(at: datetime = NOW) -> Facts:
    return Facts(
        project="shop",
        stream="main linux",
        suite="nightly",
        ran=5012,
        at=at,
        link="https://ci/7",
        details={"hostname": "build1", "vcsCommit": "abc", "os": "Linux"},
    )


def events(decision: Decision, of: Facts) -> list[Event]:
    return [compose(of, each, decision) for each in decision.told]


def test_an_incident_says_what_where_and_since_when() -> None:
    """New failures come first, each with its outcome, its reason and its place."""
    before = decide(History(), Run(at=NOW - NIGHT, tests={"b": FLAKY}), Policy())
    run = Run(at=NOW, tests={"a": WRONG, "b": FLAKY, "c": FINE})
    again = Policy(repeat_after=NIGHT)
    (event,) = events(decide(before.history, run, again), facts())
    assert event == Event(
        key=event_id("shop", "main linux", "nightly", "suite"),
        action=Action.TRIGGER,
        summary="[main linux] nightly: 2 tests fail (1 new), 5012 ran; "
        "open since 2024-02-28",
        details="**still failing, told again**: open since 2024-02-28\n\n"
        "[The run](https://ci/7)\n\n"
        "- **a** FAILED since this run: expected 1, got 2 (out/a)\n"
        "- **b** TIMED OUT since 2024-02-28 03:30 UTC, flaky: it also passed: "
        "no reason given\n\n"
        "hostname: build1\nvcsCommit: abc\nos: Linux",
        tags={
            "project": "shop",
            "stream": "main linux",
            "suite": "nightly",
            "group": "suite",
            "reason": "still failing, told again",
            "outcome": "FAILED, TIMED OUT",
            "groups": "fast, slow",
            "host": "build1",
            "commit": "abc",
        },
        link="https://ci/7",
    )


def test_a_resolve_is_of_the_same_incident() -> None:
    """Whenever, and on whatever host."""
    first = decide(History(), Run(at=NOW, tests={"a": WRONG}), Policy())
    (opened,) = events(first, facts())
    assert opened.summary == "[main linux] nightly: 1 test fails, 5012 ran"
    later = NOW + NIGHT
    (resolved,) = events(
        decide(first.history, Run(at=later, tests={"a": FINE}), Policy()),
        facts(at=later),
    )
    assert (resolved.key, resolved.action) == (opened.key, Action.RESOLVE)
    assert resolved.summary == "[main linux] nightly: recovered"
    assert "**recovered**: all that was failing has passed" in resolved.details


def test_each_group_has_an_incident_of_its_own() -> None:
    """And those that are too many have one together."""
    of = facts()
    policy = Policy(group_by=GroupBy.TEST, max_incidents=1)
    run = Run(at=NOW, tests={"a": WRONG, "b": WRONG, "c": WRONG})
    first, rest = events(decide(History(), run, policy), of)
    assert first.summary == "[main linux] nightly: a: 1 test fails, 5012 ran"
    assert rest.summary == (
        "[main linux] nightly: more of the same: 2 tests fail, 5012 ran"
    )
    assert first.key != rest.key
    assert rest.tags["group"] == OVERFLOW
    assert [line[:7] for line in rest.details.split("\n") if line.startswith("-")] == [
        "- **b**",
        "- **c**",
    ]


def test_a_group_is_called_by_its_name() -> None:
    """Also one that is called like the suite, with which it is never confused."""
    tests = {"a": replace(WRONG, group="suite"), "b": replace(WRONG, group="")}
    of_suite = decide(History(), Run(at=NOW, tests=tests), Policy())
    policy = Policy(group_by=GroupBy.GROUP)
    by_group = decide(of_suite.history, Run(at=NOW, tests=tests), policy)
    over, none, named = events(by_group, facts())
    assert [over.summary, none.summary, named.summary] == [
        "[main linux] nightly: grouped in another way",
        "[main linux] nightly: no group: 1 test fails, 5012 ran",
        "[main linux] nightly: suite: 1 test fails, 5012 ran",
    ]
    assert [over.tags["group"], named.tags["group"]] == ["suite", "suite"]
    assert "group" not in none.tags
    assert len({over.key, none.key, named.key}) == 3


def test_what_tests_say_is_made_fit_to_be_shown() -> None:
    """On one line, and not longer than anybody reads."""
    assert plain(" a\n\tb\x00\x1b[1mc ", 10) == "a bc"
    assert plain("x" * 11, 10) == "x" * 9 + "…"


def test_an_event_is_read_as_it_was_written() -> None:
    """Equal events have equal bytes, whoever wrote them."""
    run = Run(at=NOW, tests={"\ud800 ü": WRONG})
    (event,) = events(decide(History(), run, Policy()), facts())
    assert Event.from_json(event.to_json()) == event
    assert Event.from_json(event.to_json()).to_json() == event.to_json()

"""Three months of nights, with all that happens in three months."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pysys_orch.escalation.incident import Answer, event_id
from pysys_orch.escalation.outbox import Status
from pysys_orch.escalation.rules import GroupBy, Policy, Run
from pysys_orch.testing import ManualClock
from tests.escalation.test_delivery import (
    BROKEN,
    FINE,
    STREAM,
    Remote,
    Suite,
    compose,
)

NIGHTS = 92
TESTS = ("a1", "a2", "b1", "b2", "b3", "c1")

GROUPS: dict[GroupBy, Callable[[str], str]] = {
    GroupBy.SUITE: lambda _: "suite",
    GroupBy.GROUP: lambda test: f"group {test[0]}",
    GroupBy.TEST: lambda test: f"test {test}",
}


def failing(did: str, failures: int, passes: int) -> bool:
    """Say whether a test is failing, from what it did in all its runs.

    Written apart from the rules, as a pattern: it failed often enough in a row, and has
    not passed often enough in a row since then.
    """
    return bool(re.search(f"F{{{failures}}}(?!.*P{{{passes}}})", did))


class Months:
    """What happens, and what is to be expected of it.

    Args:
        place: Where the state is.
        generator: What decides what happens.
        policy: The policy.
    """

    def __init__(self, place: Path, generator: random.Random, policy: Policy) -> None:
        self.clock = ManualClock()
        self.remote = Remote(clock=self.clock)
        self.opened = 0
        self._place = place
        self._generator = generator
        self._policy = policy
        self._did = dict.fromkeys(TESTS, "")
        self._open: set[str] = set()
        self._sick: set[str] = set()

    def night(self) -> None:
        """Run the suite once, or have it aborted, and send what can be sent."""
        self.clock.advance(86_400)
        for test in TESTS:
            is_sick = test in self._sick
            if self._generator.random() < (0.5 if is_sick else 0.04):
                self._sick ^= {test}
        ran = [test for test in TESTS if self._generator.random() < 0.9]
        aborted = self._generator.random() < 0.05
        tests = {}
        for test in ran:
            fails = test in self._sick or self._generator.random() < 0.01
            tests[test] = BROKEN if fails else FINE
            if not aborted:
                self._did[test] += "F" if fails else "P"
        suite = Suite(self._place, self.clock)
        run = Run(
            at=self.clock.stamp(),
            tests={test: replace(each, group=test[0]) for test, each in tests.items()},
            aborted=aborted,
        )
        suite.outbox.take_run(STREAM, run, self._policy, compose)
        self._expect()
        outage = self._generator.random() < 0.2
        self.remote._answers = iter([Answer(status=503)] * 100 if outage else [])
        suite.flush(self.remote)

    def _expect(self) -> None:
        group = GROUPS[self._policy.group_by]
        now = {
            group(test)
            for test, did in self._did.items()
            if failing(
                did,
                self._policy.failures_before_trigger,
                self._policy.passes_before_resolve,
            )
        }
        self.opened += len(now - self._open)
        self._open = now

    def check(self) -> None:
        """Compare, once everything could be sent."""
        self.remote._answers = iter(())
        suite = Suite(self._place, self.clock)
        assert suite.flush(self.remote)
        assert self.remote.open == {event_id(group) for group in self._open}
        assert suite.outbox.letters(Status.WAITING, Status.DEAD) == []


@pytest.mark.parametrize("group_by", GroupBy)
@pytest.mark.parametrize(("failures", "passes"), [(1, 1), (2, 1), (2, 2)])
def test_three_months_are_as_a_model_has_them(
    tmp_path: Path, group_by: GroupBy, failures: int, passes: int
) -> None:
    """Every incident opened once, and resolved, whatever was down in between."""
    policy = Policy(
        group_by=group_by,
        failures_before_trigger=failures,
        passes_before_resolve=passes,
        forget_after=NIGHTS,
    )
    generator = random.Random(f"{group_by} {failures} {passes}")
    months = Months(tmp_path / "state.db", generator, policy)
    for night in range(NIGHTS):
        months.night()
        if night % 10 == 9:
            months.check()
    months.check()
    told = [each for each in months.remote.told if each.startswith("202+")]
    assert len(told) == months.opened
    assert months.opened > 3, "nothing happened that could go wrong"

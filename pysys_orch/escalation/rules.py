"""What becomes an incident: pure functions of what was, what is, and the policy.

A test that fails goes through these states, each step being one run of the suite:

```text
          fails often enough           passes often enough
   well ───────────────────▶ failing ───────────────────▶ well
    │  ▲                     │     ▲
    │  │ passes       passes │     │ fails
    ▼  │                     ▼     │
   suspect                  recovering
```

A group of tests has an incident from the run in which the first of them is failing to
the run in which none is, neither failing nor recovering. Only what ran can change.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from pysys_orch.errors import ConfigError
from pysys_orch.escalation.incident import Action

#: What stands for all groups for which a run may open no incident any more. No group is
#: called like it, see `group_of`.
OVERFLOW = "(more)"


class Outcome(StrEnum):
    """What a test did in a run, its cycles and modes taken together."""

    PASSED = "passed"
    FAILED = "failed"
    FLAKY = "flaky"  # it failed and it passed
    NOT_RUN = "not run"


class GroupBy(StrEnum):
    """What there is one incident for."""

    SUITE = "suite"
    GROUP = "group"
    TEST = "test"


class Reason(StrEnum):
    """Why something is told, or noted and not told."""

    STARTED = "started failing"
    STILL = "still failing"
    KIND = "new kind of failure"
    REPEATED = "still failing, told again"
    RECOVERED = "recovered"
    VANISHED = "vanished"
    REGROUPED = "grouped in another way"
    MUTED = "muted"
    ABORTED = "run aborted"
    UNKNOWN = "nothing is known of earlier runs"


# Values.


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """Tests that wake nobody for a while.

    Attributes:
        tests: Which ones: an id, with ``*`` and ``?`` as in file names.
        until: The last day on which they are muted, in UTC.
        reason: Why, for whoever finds it in a year.
    """

    tests: str
    until: date
    reason: str

    def covers(self, test: str, now: datetime) -> bool:
        """Return whether it mutes a test at a time."""
        return not self.is_over(now) and fnmatch.fnmatchcase(test, self.tests)

    def is_over(self, now: datetime) -> bool:
        """Return whether its last day is over."""
        return now.date() > self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is worth an incident.

    Attributes:
        group_by: What there is one incident for.
        failures_before_trigger: In how many runs in a row a test has to fail.
        passes_before_resolve: In how many runs in a row it has to pass then.
        max_incidents: How many incidents one run may open; one more stands for all
            others.
        repeat_after: After what time an incident that is open is told of again; None
            is never.
        forget_after: How many runs without a test make it forgotten.
        mutes: Tests that wake nobody for a while.
    """

    group_by: GroupBy = GroupBy.SUITE
    failures_before_trigger: int = 1
    passes_before_resolve: int = 1
    max_incidents: int = 10
    repeat_after: timedelta | None = None
    forget_after: int = 7
    mutes: tuple[Mute, ...] = ()

    def __post_init__(self) -> None:
        for name in (
            "failures_before_trigger",
            "passes_before_resolve",
            "max_incidents",
            "forget_after",
        ):
            if (value := getattr(self, name)) < 1:
                message = f"{name} has to be 1 or more, got {value}"
                raise ConfigError(message)
        if self.repeat_after is not None and self.repeat_after <= timedelta(0):
            message = f"repeat_after has to be more than 0, got {self.repeat_after}"
            raise ConfigError(message)

    def mute(self, test: str, now: datetime) -> Mute | None:
        """Return what mutes a test at a time, or None."""
        return next((each for each in self.mutes if each.covers(test, now)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """What a test did in a run, its cycles and modes taken together.

    Attributes:
        group: The group it belongs to.
        passed: How often it passed.
        failed: How often it failed.
        outcome: What PySys calls the first failure, ``TIMED OUT`` for example; empty if
            there is none.
        reason: Why it failed, in the words of the test.
        location: Where its output is.
        modes: In which modes it ran, if it has any.
        broken: In which of them it failed.
    """

    __test__ = False  # for pytest, which takes it for a test

    group: str = ""
    passed: int = 0
    failed: int = 0
    outcome: str = ""
    reason: str = ""
    location: str = ""
    modes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def result(self) -> Outcome:
        """What it did, taken together."""
        if self.failed:
            return Outcome.FLAKY if self.passed else Outcome.FAILED
        return Outcome.PASSED if self.passed else Outcome.NOT_RUN

    def __add__(self, other: TestRun) -> TestRun:
        """Take two results of one test together; what failed first speaks for both."""
        first = self if self.failed or not other.failed else other
        return replace(
            first,
            group=self.group or other.group,
            passed=self.passed + other.passed,
            failed=self.failed + other.failed,
            modes=_both(self.modes, other.modes),
            broken=_both(self.broken, other.broken),
        )

    def leaves(self, broken: Iterable[str]) -> tuple[str, ...]:
        """Return those of the *broken* modes in which it did not run."""
        return tuple(each for each in broken if each not in self.modes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of the suite.

    Attributes:
        at: When it ended.
        tests: What ran, by test id. A test that is not there was not selected.
        aborted: Whether it was ended before its time.
    """

    at: datetime
    tests: Mapping[str, TestRun]
    aborted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A test that is not well.

    Attributes:
        since: When the first of the runs was over in which it failed.
        last: What it did the last time that it failed.
        flaky: Whether it also passed, that time.
        failures: In how many runs in a row it failed, until the last failure.
        passes: In how many runs in a row it passed, since then.
        missed: For how many runs it was not there.
        failing: Whether it has failed often enough.
    """

    since: datetime
    last: TestRun
    flaky: bool = False
    failures: int = 1
    passes: int = 0
    missed: int = 0
    failing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A group whose tests are failing, and of which somebody was told.

    Attributes:
        at: When.
        told: When the last time.
        covered: Whether it was told of as one of many, see `OVERFLOW`.
    """

    at: datetime
    told: datetime
    covered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is known of earlier runs.

    Attributes:
        troubles: Tests that are not well.
        opened: Groups that have an incident.
        settled: Groups of which it is known whether they have one; None if that is so
            of all. Where nothing was known at first, each of the others may have one
            from before.
    """

    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    opened: Mapping[str, Opened] = field(default_factory=dict)
    settled: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Something that has changed, or has not, though somebody may ask.

    Attributes:
        reason: Why it is here.
        group: The group that it is about; empty if it is about the run.
        test: The test that it is about; empty if it is about the whole group.
        action: What to tell a service; None if nothing.
        words: The same for people, on one line.
    """

    reason: Reason
    group: str = ""
    test: str = ""
    action: Action | None = None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from a run.

    Attributes:
        history: What is to be known in the next run; None if still nothing is.
        transitions: What has changed, in order. Those with an action are to be told.
        failing: The tests that are failing and not muted, by group.
    """

    history: History | None
    transitions: tuple[Transition, ...]
    failing: Mapping[str, Mapping[str, Trouble]] = field(default_factory=dict)

    @property
    def told(self) -> tuple[Transition, ...]:
        """Those that services are to be told of."""
        return tuple(each for each in self.transitions if each.action is not None)


# Deciding.


def decide(history: History | None, run: Run, policy: Policy) -> Decision:
    """Say what is to be told after a run, and what is to be remembered.

    Args:
        history: What was remembered after the last run; None if nothing is.
        run: The run.
        policy: What is worth an incident.
    """
    if run.aborted:
        words = "the run was aborted: what it did counts for nothing"
        aborted = Transition(reason=Reason.ABORTED, words=words)
        return Decision(history=history, transitions=(aborted,))
    before = history or History(settled=frozenset())
    tests = _Tests(before, run, policy)
    groups = _Groups(before, run, policy, tests)
    return Decision(
        history=History(
            troubles=tests.troubles,
            opened=groups.opened,
            settled=groups.settled,
        ),
        transitions=(*tests.transitions, *groups.transitions),
        failing=groups.failing,
    )


class _Tests:
    """What becomes of single tests."""

    def __init__(self, before: History, run: Run, policy: Policy) -> None:
        self.troubles: dict[str, Trouble] = {}
        self.transitions: list[Transition] = []
        self._before = before.troubles
        self._run = run
        self._policy = policy
        for test in sorted({*before.troubles, *run.tests}):
            self._test(test, before.troubles.get(test), run.tests.get(test))

    def _test(self, test: str, before: Trouble | None, now: TestRun | None) -> None:
        if now is None:
            if before is not None:
                self._miss(test, before)
        elif now.failed:
            self._fail(test, before, now)
        elif before is not None and now.passed and not now.leaves(before.last.broken):
            self._pass(test, before)
        elif before is not None:
            self.troubles[test] = replace(before, missed=0)

    def _miss(self, test: str, before: Trouble) -> None:
        missed = before.missed + 1
        if missed < self._policy.forget_after:
            self.troubles[test] = replace(before, missed=missed)
        elif before.failing:
            words = f"{test} was not there for {missed} runs"
            self._note(Reason.VANISHED, test, before, words)

    def _fail(self, test: str, before: Trouble | None, now: TestRun) -> None:
        is_again = before is not None and before.passes == 0
        failures = before.failures + 1 if before is not None and is_again else 1
        was_failing = before is not None and before.failing
        enough = failures >= self._policy.failures_before_trigger
        left = now.leaves(before.last.broken) if before is not None else ()
        trouble = Trouble(
            since=self._run.at if before is None else before.since,
            last=replace(now, broken=_both(now.broken, left)),
            flaky=now.result is Outcome.FLAKY,
            failures=failures,
            failing=was_failing or enough,
        )
        self.troubles[test] = trouble
        if before is None or not was_failing:
            if trouble.failing:
                words = f"{test} {_kind(trouble)}"
                self._note(Reason.STARTED, test, trouble, words)
        elif _kind(before) != _kind(trouble):
            words = f"{test} {_kind(trouble)}, before it {_kind(before)}"
            self._note(Reason.KIND, test, trouble, words)
        else:
            words = f"{test} {_kind(trouble)} since {before.since:%Y-%m-%d}"
            self._note(Reason.STILL, test, trouble, words)

    def _pass(self, test: str, before: Trouble) -> None:
        passes = before.passes + 1
        if not before.failing:
            return
        if passes < self._policy.passes_before_resolve:
            self.troubles[test] = replace(before, passes=passes, missed=0)
            return
        words = f"{test} passed, after it {_kind(before)} since {before.since:%Y-%m-%d}"
        self._note(Reason.RECOVERED, test, before, words)

    def _note(self, reason: Reason, test: str, trouble: Trouble, words: str) -> None:
        group = group_of(test, trouble.last, self._policy.group_by)
        self.transitions.append(
            Transition(reason=reason, group=group, test=test, words=words)
        )


class _Groups:
    """What becomes of groups, and who is told."""

    def __init__(
        self, before: History, run: Run, policy: Policy, tests: _Tests
    ) -> None:
        self.transitions: list[Transition] = []
        self.failing: dict[str, dict[str, Trouble]] = {}
        self._run = run
        self._policy = policy
        self._before = before.opened
        self._tests = tests
        for test, trouble in tests.troubles.items():
            if trouble.failing and not policy.mute(test, run.at):
                group = group_of(test, trouble.last, policy.group_by)
                self.failing.setdefault(group, {})[test] = trouble
        self.opened = {
            group: told
            for group, told in before.opened.items()
            if group in self.failing or group == OVERFLOW
        }
        self.settled = before.settled
        self._close()
        self._repeat()
        self._open()
        if before.settled is not None:
            self.settled = self._settle(before.settled)

    def _close(self) -> None:
        together = Reason.RECOVERED
        for group, told in sorted(self._before.items()):
            if group in self.opened or group == OVERFLOW:
                continue
            reason, words = self._why_closed(group)
            action = None if told.covered else Action.RESOLVE
            self._tell(reason, group, action, words)
            if told.covered:
                together = reason
        is_covering = any(each.covered for each in self.opened.values())
        if OVERFLOW in self.opened and not is_covering:
            del self.opened[OVERFLOW]
            words = "all that were told of together"
            self._tell(together, OVERFLOW, Action.RESOLVE, words)

    def _why_closed(self, group: str) -> tuple[Reason, str]:
        muted = [
            mute
            for test, trouble in self._tests.troubles.items()
            if trouble.failing
            and group_of(test, trouble.last, self._policy.group_by) == group
            and (mute := self._policy.mute(test, self._run.at))
        ]
        if muted:
            words = f"what still fails is muted until {muted[0].until}"
            return Reason.MUTED, f"{words}: {muted[0].reason}"
        reasons = {
            each.reason for each in self._tests.transitions if each.group == group
        }
        if Reason.RECOVERED in reasons:
            return Reason.RECOVERED, "all that was failing has passed"
        if Reason.VANISHED in reasons:
            return Reason.VANISHED, "what was failing is not there any more"
        words = (
            "its tests belong to other groups now: what still fails is told of there"
        )
        return Reason.REGROUPED, words

    def _repeat(self) -> None:
        after = self._policy.repeat_after
        if after is None:
            return
        for group, told in sorted(self.opened.items()):
            if not told.covered and self._run.at - told.told >= after:
                self.opened[group] = replace(told, told=self._run.at)
                words = f"open since {told.at:%Y-%m-%d}"
                self._tell(Reason.REPEATED, group, Action.TRIGGER, words)

    def _open(self) -> None:
        new = sorted(self.failing.keys() - self.opened.keys())
        told, covered = (
            new[: self._policy.max_incidents],
            new[self._policy.max_incidents :],
        )
        for group in new:
            self.opened[group] = Opened(
                at=self._run.at, told=self._run.at, covered=group in covered
            )
        for group in told:
            words = (
                _count(len(self.failing[group]), "test is", "tests are") + " failing"
            )
            self._tell(Reason.STARTED, group, Action.TRIGGER, words)
        if covered:
            # Told again if there are more: nobody else tells of these.
            known = self.opened.get(OVERFLOW)
            at = known.at if known is not None else self._run.at
            self.opened[OVERFLOW] = Opened(at=at, told=self._run.at)
            words = f"{_count(len(covered), 'more is', 'more are')} failing"
            self._tell(Reason.STARTED, OVERFLOW, Action.TRIGGER, words)

    def _settle(self, settled: frozenset[str]) -> frozenset[str]:
        """Resolve what is well and may be open, for all that is known.

        That a resolve is one too many does no harm; one that is missing leaves an
        incident open for ever.
        """
        of, tests = self._policy.group_by, self._run.tests
        suspect = {
            group_of(test, each.last, of) for test, each in self._tests.troubles.items()
        }
        well = {
            group_of(test, ran, of)
            for test, ran in tests.items()
            if ran.result is Outcome.PASSED
        } - suspect
        if of is not GroupBy.SUITE and tests and OVERFLOW not in self.opened:
            well.add(OVERFLOW)
        # Nobody takes thousands at once; the others have their turn in later runs.
        new = sorted(well - settled)[: self._policy.max_incidents + 1]
        for group in new:
            words = "whatever may be open: nothing is known of earlier runs"
            self._tell(Reason.UNKNOWN, group, Action.RESOLVE, words)
        return settled.union(new, self.opened)

    def _tell(
        self, reason: Reason, group: str, action: Action | None, words: str
    ) -> None:
        self.transitions.append(
            Transition(reason=reason, group=group, action=action, words=words)
        )


def group_of(test: str, ran: TestRun, group_by: GroupBy) -> str:
    """Return the group that a test has its incidents with.

    It says of what kind it is: groups of tests may be called like one of the tests, or
    like what stands for all of them.
    """
    if group_by is GroupBy.SUITE:
        return str(group_by)
    return f"{group_by} {test if group_by is GroupBy.TEST else ran.group}"


def name_of(group: str) -> str:
    """Return what a group is called, without its kind; empty if it has no name."""
    return group.partition(" ")[2] if " " in group else group


def covered_by_overflow(decision: Decision) -> dict[str, Trouble]:
    """Return the failing tests of all groups that are told of together."""
    opened = decision.history.opened if decision.history is not None else {}
    return {
        test: trouble
        for group, tests in decision.failing.items()
        if (told := opened.get(group)) is not None and told.covered
        for test, trouble in tests.items()
    }


def expired(mutes: Sequence[Mute], now: datetime) -> list[Mute]:
    """Return the mutes that mute nothing any more."""
    return [each for each in mutes if each.is_over(now)]


def tally(results: Iterable[tuple[str, TestRun]]) -> dict[str, TestRun]:
    """Take results together, by test."""
    found: dict[str, TestRun] = {}
    for test, ran in results:
        found[test] = found[test] + ran if test in found else ran
    return found


def _both(some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*some, *others}))


def _kind(trouble: Trouble) -> str:
    outcome = trouble.last.outcome or "FAILED"
    return f"is flaky ({outcome})" if trouble.flaky else f"is {outcome}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"

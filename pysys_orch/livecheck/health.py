"""Whether a case is well: a pure function of what was, what happens, and the policy.

```text
              too many failures, silence, a service that is down
   healthy ─────────────────────────────────────────────────────▶ in trouble
           ◀─────────────────────────────────────────────────────
              enough passes, the delay after the last trouble
```

What makes trouble ends it: failures and silence are over when tests pass again, a
service that was down when it answers, or when tests pass. Nothing else does: a service
that answers says nothing of tests that fail. Only a test counts that was issued after
the trouble, since what was under way before says nothing of what is now.

All times are instants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

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
from pysys_orch.livecheck.models import State
from pysys_orch.livecheck.policy import Policy
from pysys_orch.livecheck.recent import NOTHING, Recent
from pysys_orch.livecheck.tally import Tally, Watch
from pysys_orch.livecheck.troubles import NO_TROUBLES, Condition, Trouble, Troubles

#: By how much a timer may be early.
_EARLY = 1e-3


# What is remembered. It is made anew for each test: nothing is faster than a tuple.


class Health(NamedTuple):
    """How a case is. One that never ran is ``Health()``.

    It takes no more memory for being old.

    Attributes:
        status: What to show: how the last test ended, or what is wrong with the case.
        last: How the last test ended; INIT if there was none.
        tally: What became of all the tests.
        watch: When something was heard.
        troubles: What is wrong, and what was told of it.
        recent: What is looked at by the rules that look at more than the last test.
    """

    status: State = State.INIT
    last: State = State.INIT
    tally: Tally = Tally()
    watch: Watch = Watch()
    troubles: Troubles = NO_TROUBLES
    recent: Recent = NOTHING

    @property
    def condition(self) -> Condition:
        """What is wrong with it, and confirmed."""
        if self.troubles.is_any:
            return self.troubles.condition
        return Condition.UNKNOWN if self.last is State.INIT else Condition.HEALTHY

    def is_same(self, other: Health) -> bool:
        """Return whether the same is wrong with it as with another one."""
        # Nearly always nothing that could make a difference has changed.
        if self.troubles is other.troubles and self.last is other.last:
            return True
        return self.condition is other.condition

    @property
    def is_flapping(self) -> bool:
        """Whether it changes all the time."""
        return self.recent.is_flapping

    def shifted(self, seconds: float) -> Health:
        """Return it as on a clock that is so many *seconds* ahead of the present one.

        Instants mean nothing in another process, but what is between them does.
        """

        def moved(at: float | None) -> float | None:
            return None if at is None else at + seconds

        tally = self.tally._replace(failing_since=moved(self.tally.failing_since))
        watch = Watch(
            moved(self.watch.began),
            moved(self.watch.received),
            moved(self.watch.stalled),
        )
        return self._replace(
            tally=tally,
            watch=watch,
            troubles=self.troubles.shifted(seconds),
            recent=self.recent.shifted(seconds),
        )


class Step(NamedTuple):
    """What follows.

    Attributes:
        health: How the case is now.
        notices: What is to be told, in this order.
    """

    health: Health
    notices: tuple[Notice, ...] = ()


# What follows from what happens.


def step(health: Health, event: Event, policy: Policy) -> Step:
    """Return what follows from an event.

    Raises:
        ValueError: No test ends in that state.
    """
    then = _RULES[type(event)](health, event, policy)
    if then.health.recent.is_flapping != health.recent.is_flapping:
        then = _steadied(then, event.at)
    if not then.notices:
        return then
    before = health.status
    return Step(
        then.health,
        tuple(replace(notice, from_state=before) for notice in then.notices),
    )


def stall_due(health: Health, policy: Policy) -> float | None:
    """Return when a case will have stalled if no test comes.

    Returns:
        The instant for the next `Silent`; None if the policy knows no stalls, or nobody
        watches.
    """
    watch, period = health.watch, policy.warn_stalled_after
    heard = [
        at for at in (watch.began, watch.received, watch.stalled) if at is not None
    ]
    return max(heard) + period if heard and period is not None else None


def unheard(health: Health, untold: Sequence[Notice]) -> Health:
    """Return a health as it is to be remembered while something is not told yet.

    If this process ends before it is told, `Began` of the next one has it told.

    Args:
        health: How the case is.
        untold: What was not told yet, in order.
    """
    told = [each for each in untold if each.kind not in {Kind.FLAPPING, Kind.STEADY}]
    if not told:
        return health
    # Of trouble, that there is some; and that it is over, to whoever has heard of it.
    has_heard = not health.troubles.is_any and told[0].kind is not Kind.FAILED
    since = told[-1].since if has_heard else None
    return health._replace(troubles=replace(health.troubles, told_since=since))


def _began(health: Health, event: Began, _policy: Policy) -> Step:
    began = health._replace(watch=health.watch._replace(began=event.at))
    # Who watched before may have ended before it was told.
    return _caught_up(began, event.at, "passed before it was told")


def _started(health: Health, event: Started, _policy: Policy) -> Step:
    # Written out, as in `_passed`: of these there are very many.
    old = health.watch
    watch = Watch(old.began, event.at, old.stalled)
    troubles, recent = health.troubles, health.recent
    return Step(
        Health(health.status, health.last, health.tally, watch, troubles, recent)
    )


def _skipped(health: Health, event: Skipped, _policy: Policy) -> Step:
    watch = health.watch._replace(received=event.at)
    tally = health.tally._replace(skipped=health.tally.skipped + 1)
    return Step(health._replace(watch=watch, tally=tally))


def _ended(health: Health, event: Ended, policy: Policy) -> Step:
    if event.state is State.PASS:
        return _passed(health, event, policy)
    at = event.at
    failed = health._replace(
        status=event.state,
        last=event.state,
        tally=health.tally.after_failure(event.state, at),
        troubles=health.troubles.after_failure(),
        recent=health.recent.add(at, policy, has_failed=True),
    )
    reason = _verdict(failed, policy, at)
    if reason is None:
        return Step(failed)
    return _in_trouble(failed, Condition.FAILING, at, reason, policy)


def _passed(health: Health, event: Ended, policy: Policy) -> Step:
    at, tally = event.at, health.tally.after_pass()
    recent, troubles = health.recent, health.troubles
    if recent is not NOTHING or policy.looks_back:
        recent = recent.add(at, policy, has_failed=False)
    if not troubles.is_any:
        status = State.PASS
        return Step(Health(status, status, tally, health.watch, troubles, recent))
    troubles = troubles.after_pass(event.issued)
    passed = Health(health.status, State.PASS, tally, health.watch, troubles, recent)
    count = troubles.passes
    if (
        count < policy.passes_to_recover
        or not troubles.has_quiet(policy.state_transition_delay, at)
        or _verdict(passed, policy, at) is not None
    ):
        return Step(passed)
    why = f"passed {count} times in a row" if count > 1 else "passed"
    return _out_of_trouble(passed, at, why)


def _silent(health: Health, event: Silent, policy: Policy) -> Step:
    watch, at = health.watch, event.at
    if watch.began is None and watch.received is None:
        return Step(health._replace(watch=watch._replace(began=at)))
    due = stall_due(health, policy)
    if due is None or at + _EARLY < due:
        return Step(health)
    heard = max(each for each in (watch.began, watch.received) if each is not None)
    why = f"no test for {at - heard:.12g} s (max={policy.warn_stalled_after:.12g})"
    silent = health._replace(watch=watch._replace(stalled=at))
    return _in_trouble(silent, Condition.STALLED, at, _Reason(why, heard), policy)


def _down(health: Health, event: Down, policy: Policy) -> Step:
    reason = _Reason(event.why, event.at)
    return _in_trouble(health, Condition.DOWN, event.at, reason, policy)


def _answered(health: Health, event: Answered, policy: Policy) -> Step:
    down = health.troubles.down
    if down is None or event.at - down.last <= policy.state_transition_delay:
        return Step(health)
    remaining = replace(health.troubles, down=None)
    if remaining.is_any:
        status = remaining.condition.state
        return Step(health._replace(status=status, troubles=remaining))
    return _out_of_trouble(health, event.at, "the service answers")


def _condemned(health: Health, event: Condemned, policy: Policy) -> Step:
    condition = event.condition
    since = health.tally.failing_since if condition is Condition.FAILING else None
    reason = _Reason(event.why, event.at if since is None else since)
    return _in_trouble(health, condition, event.at, reason, policy)


_RULES: dict[type[Event], Callable[[Health, Any, Policy], Step]] = {
    Began: _began,
    Started: _started,
    Ended: _ended,
    Skipped: _skipped,
    Silent: _silent,
    Down: _down,
    Answered: _answered,
    Condemned: _condemned,
}


# Into trouble, and out of it.


class _Reason(NamedTuple):
    why: str
    since: float


def _verdict(health: Health, policy: Policy, at: float) -> _Reason | None:
    """Return why a case is failing by its tests; None if it is not."""
    tally, most = health.tally, policy.max_consecutive_failures
    if tally.failures >= most and tally.failing_since is not None:
        why = f"Failed after {tally.failures} (max={most})"
        return _Reason(why, tally.failing_since)
    found = health.recent.verdict(at, policy) if policy.looks_back else None
    return None if found is None else _Reason(*found)


def _in_trouble(
    health: Health, condition: Condition, at: float, reason: _Reason, policy: Policy
) -> Step:
    """Return what follows from trouble of a kind, for the first time or again."""
    troubles = health.troubles
    known = troubles.of(condition)
    kind: Kind | None = None
    if condition is Condition.FAILING and health.is_flapping:
        pass  # held back
    elif not troubles.is_told:
        kind = Kind.FAILED
    elif known is None:
        kind = Kind.CHANGED
    elif at - known.last > policy.state_transition_delay:
        kind = Kind.STILL
    trouble = Trouble(reason.since if known is None else known.since, at, reason.why)
    changed = troubles.after(condition, trouble, tell=kind is not None)
    after = health._replace(status=condition.state, troubles=changed)
    return Step(after, _told(after, kind, at, trouble, condition))


def _out_of_trouble(health: Health, at: float, why: str) -> Step:
    """Return what follows when all trouble is over."""
    troubles = health.troubles
    over = troubles.over(tell=not health.is_flapping)
    # A service that answers says nothing of the tests: they are as they were.
    after = health._replace(status=health.last, troubles=over)
    if troubles.told_since is None or over.is_told:
        return Step(after)
    was = Trouble(troubles.told_since, at, why)
    return Step(after, _told(after, Kind.RECOVERED, at, was, after.condition))


def _steadied(then: Step, at: float) -> Step:
    """Return it with what is to be told when flapping begins or ends."""
    health, notices = then
    condition = health.condition
    words = f"changed in {health.recent.change_ratio:.0%} of the last results"
    kind = Kind.FLAPPING if health.is_flapping else Kind.STEADY
    now = Trouble(at, at, words)
    told = (*_told(health, kind, at, now, condition), *notices)
    # What was held back is still so.
    after, late = _caught_up(health, at, "passed while it was flapping")
    return Step(after, (*told, *late))


def _caught_up(health: Health, at: float, why: str) -> Step:
    """Return it with what is to be told of what there is, if that was not told."""
    troubles, condition = health.troubles, health.condition
    if health.is_flapping or troubles.is_any == troubles.is_told:
        return Step(health)
    known = troubles.of(condition)
    if known is not None:
        after = health._replace(troubles=replace(troubles, told_since=troubles.since))
        late = _told(after, Kind.FAILED, at, known, condition)
    else:
        after = health._replace(troubles=replace(troubles, told_since=None))
        since = at if troubles.told_since is None else troubles.told_since
        was = Trouble(since, at, why)
        late = _told(after, Kind.RECOVERED, at, was, condition)
    return Step(after, late)


def _told(
    health: Health, kind: Kind | None, at: float, what: Trouble, condition: Condition
) -> tuple[Notice, ...]:
    """Return what to tell, if anything; `step` knows what was before."""
    if kind is None:
        return ()
    tally = health.tally
    notice = Notice(
        kind=kind,
        at=at,
        why=what.why,
        from_state=health.status,
        to_state=health.status,
        condition=condition,
        since=what.since,
        failures=tally.failures,
        total_failures=tally.total_failures,
        executions=tally.executions,
    )
    return (notice,)

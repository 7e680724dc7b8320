"""How cases are, at a moment: values to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pysys_orch.livecheck.models import State
from pysys_orch.livecheck.spread import Spread
from pysys_orch.livecheck.troubles import Condition
from pysys_orch.livecheck.wire import iso_of


class Outcome(NamedTuple):
    """How a test ended. Of these there are very many: nothing is made faster.

    Attributes:
        at: When that was heard.
        test: Its id; a very long one is cut.
        state: How.
        runtime: How many seconds it took; None if it never ran.
    """

    at: datetime
    test: str
    state: State
    runtime: float | None

    def as_json(self) -> dict[str, Any]:
        """Return what JSON has of it."""
        return {
            "at": iso_of(self.at),
            "id": self.test,
            "state": self.state.value,
            "runtime": self.runtime,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that did not pass.

    Attributes:
        outcome: How it ended.
        error: What was wrong; a very long text is cut.
        traceback: Where; of a very long one the end.
    """

    outcome: Outcome
    error: str
    traceback: str | None

    def as_json(self, *, is_whole: bool = True) -> dict[str, Any]:
        """Return what JSON has of it; without the traceback unless *is_whole*."""
        said = {**self.outcome.as_json(), "error": self.error}
        return {**said, "traceback": self.traceback} if is_whole else said


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """How a case is, at a moment.

    Attributes:
        name: What it is called.
        is_active: Whether its tests are executed at all.
        status: How the last test ended, or what is wrong with the case.
        condition: What is wrong with it, and confirmed.
        is_flapping: Whether it changes all the time.
        why: What is wrong, in words; None if nothing is.
        since: Since when it has this condition, as far as that is known.
        failing_since: When the first of the failures ended that came last, one after
            the other; None if the last test passed.
        consecutive_failures: How many these are.
        max_consecutive_failures: With how many the case fails.
        total_failures: How many tests did not pass, ever.
        executions: How many were executed, ever.
        by_state: How many ended in each state, ever.
        last_test: When the last one came, executed or not.
        history: How the last ones ended, oldest first.
        failures: The last ones that did not pass, latest first.
        runtime: How long those took that passed.
        signals: How long each signal was waited for, by its name.
        waiting: How many tests wait for a signal at present.
        lost: How many signals were lost, since nobody waited for them.
        transitions: How often it went from one condition to another.
        stalls: How often no test came for too long.
    """

    name: str
    is_active: bool
    status: State
    condition: Condition
    is_flapping: bool
    why: str | None
    since: datetime | None
    failing_since: datetime | None
    consecutive_failures: int
    max_consecutive_failures: int
    total_failures: int
    executions: int
    by_state: Mapping[State, int]
    last_test: datetime | None
    history: tuple[Outcome, ...]
    failures: tuple[Failure, ...]
    runtime: Spread
    signals: Mapping[str, Spread]
    waiting: int
    lost: int
    transitions: Mapping[tuple[Condition, Condition], int]
    stalls: int

    def as_json(self, *, is_whole: bool = True) -> dict[str, Any]:
        """Return what JSON has of it: stamps are texts, durations are seconds.

        Args:
            is_whole: Whether failures have their tracebacks.
        """
        return {
            "name": self.name,
            "active": self.is_active,
            "status": self.status.value,
            "condition": self.condition.value,
            "flapping": self.is_flapping,
            "why": self.why,
            "since": _iso(self.since),
            "failing_since": _iso(self.failing_since),
            "consecutive_failures": self.consecutive_failures,
            "max_consecutive_failures": self.max_consecutive_failures,
            "total_failures": self.total_failures,
            "executions": self.executions,
            "by_state": {state.value: count for state, count in self.by_state.items()},
            "last_test": _iso(self.last_test),
            "history": [each.as_json() for each in self.history],
            "failures": [each.as_json(is_whole=is_whole) for each in self.failures],
            "runtime": self.runtime.as_json(),
            "signals": {name: each.as_json() for name, each in self.signals.items()},
            "waiting": self.waiting,
            "lost": self.lost,
            "transitions": [
                {"from": source.value, "to": target.value, "count": count}
                for (source, target), count in self.transitions.items()
            ],
            "stalls": self.stalls,
        }


def _iso(stamp: datetime | None) -> str | None:
    return None if stamp is None else iso_of(stamp)

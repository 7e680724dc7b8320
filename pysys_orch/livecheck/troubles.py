"""What is wrong with a case, and what was told of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from pysys_orch.livecheck.models import State


class Condition(StrEnum):
    """What is wrong with a case, and confirmed: a single test says nothing."""

    UNKNOWN = "unknown"  # no test has ended yet
    HEALTHY = "healthy"
    FAILING = "failing"  # too many tests failed
    STALLED = "stalled"  # no test came for too long
    DOWN = "down"  # a service does not answer

    @property
    def state(self) -> State:
        """The state of a case that has this trouble."""
        return State.STALL if self is Condition.STALLED else State.FAIL


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong.

    Attributes:
        since: When it began.
        last: When there was last something of it.
        why: What that was, in words.
    """

    since: float
    last: float
    why: str


@dataclass(frozen=True, slots=True)
class Troubles:
    """All that is wrong.

    Attributes:
        failing: Too many tests failed.
        stalled: No test came for too long.
        down: A service does not answer.
        told_since: When the trouble began of which it was told, and not yet that it is
            over; None if that is all.
        last: When there was last trouble; also if it is over.
        passes: How many tests passed since, one after the other, that were issued
            since.
    """

    failing: Trouble | None = None
    stalled: Trouble | None = None
    down: Trouble | None = None
    told_since: float | None = None
    last: float | None = None
    passes: int = 0

    @property
    def is_any(self) -> bool:
        """Whether there is any."""
        return (
            self.failing is not None
            or self.stalled is not None
            or self.down is not None
        )

    @property
    def is_told(self) -> bool:
        """Whether somebody has heard of trouble, and not that it is over."""
        return self.told_since is not None

    @property
    def condition(self) -> Condition:
        """What to call it: what explains the others, if there are several."""
        if self.down is not None:
            return Condition.DOWN
        if self.stalled is not None:
            return Condition.STALLED
        return Condition.HEALTHY if self.failing is None else Condition.FAILING

    @property
    def since(self) -> float | None:
        """When the first of those that there are began; None if there are none."""
        every = (self.failing, self.stalled, self.down)
        return min((each.since for each in every if each is not None), default=None)

    def of(self, condition: Condition) -> Trouble | None:
        """Return the trouble of a kind; None if there is none."""
        match condition:
            case Condition.FAILING:
                return self.failing
            case Condition.STALLED:
                return self.stalled
            case Condition.DOWN:
                return self.down
            case _:
                return None

    def after(self, condition: Condition, trouble: Trouble, *, tell: bool) -> Troubles:
        """Return them with trouble of a kind, for the first time or again."""
        told_since = self.told_since
        if tell and told_since is None:
            told_since = trouble.since
        return Troubles(
            trouble if condition is Condition.FAILING else self.failing,
            trouble if condition is Condition.STALLED else self.stalled,
            trouble if condition is Condition.DOWN else self.down,
            told_since,
            trouble.last,
        )

    def after_pass(self, issued: float) -> Troubles:
        """Return them after a test passed."""
        if self.last is not None and issued <= self.last:
            return self
        return replace(self, passes=self.passes + 1)

    def after_failure(self) -> Troubles:
        """Return them after a test did not pass."""
        return replace(self, passes=0) if self.passes else self

    def over(self, *, tell: bool) -> Troubles:
        """Return them when there are none any more."""
        return Troubles(told_since=None if tell else self.told_since, last=self.last)

    def has_quiet(self, delay: float, at: float) -> bool:
        """Return whether there was none for more than *delay* seconds."""
        return self.last is None or at - self.last > delay

    def shifted(self, seconds: float) -> Troubles:
        """Return them as on a clock that is so many *seconds* ahead."""

        def moved(trouble: Trouble | None) -> Trouble | None:
            if trouble is None:
                return None
            since, last = trouble.since + seconds, trouble.last + seconds
            return Trouble(since, last, trouble.why)

        return Troubles(
            moved(self.failing),
            moved(self.stalled),
            moved(self.down),
            None if self.told_since is None else self.told_since + seconds,
            None if self.last is None else self.last + seconds,
            self.passes,
        )


#: All is well.
NO_TROUBLES = Troubles()

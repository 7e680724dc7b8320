"""What is looked at by the rules that look at more than the last tests in a row."""

from __future__ import annotations

from dataclasses import dataclass

from pysys_orch.livecheck.policy import Budget, FailureRatio, Flapping, Policy
from pysys_orch.livecheck.ring import Ring

#: How many results tell whether a case is flapping.
RESULTS = 21

_STEPS = RESULTS - 1
_ALL = (1 << RESULTS) - 1
# What a change counts, the latest first: from 1.25 down to 0.75, in 76ths, so that what
# is at a threshold is neither a little above nor below.
_WEIGHTS = tuple(95 - 2 * each for each in range(_STEPS))
_WHOLE = 76 * _STEPS


@dataclass(frozen=True, slots=True)
class Recent:
    """The last results, and how many there were of late.

    Attributes:
        results: The last ones as bits, the latest being the lowest; 1 is a failure.
        is_flapping: Whether they change all the time.
        ratio: What the failure ratio is of.
        long: What the long window of the error budget has.
        short: What its short window has.
        budget: What its whole window has.
    """

    results: int = 0
    is_flapping: bool = False
    ratio: Ring | None = None
    long: Ring | None = None
    short: Ring | None = None
    budget: Ring | None = None

    def add(self, at: float, policy: Policy, *, has_failed: bool) -> Recent:
        """Return it with one result more, as far as the policy looks at any."""
        if not policy.looks_back:
            return NOTHING

        def added(ring: Ring | None, window: float) -> Ring:
            if ring is None or ring.window != window:
                ring = Ring.begun(window, at)
            return ring.add(at, has_failed=has_failed)

        ratio, budget = policy.failure_ratio, policy.budget
        results = (self.results << 1 | has_failed) & _ALL
        return Recent(
            results,
            _is_flapping(results, policy.flapping, was=self.is_flapping),
            None if ratio is None else added(self.ratio, ratio.window),
            None if budget is None else added(self.long, budget.long),
            None if budget is None else added(self.short, budget.short),
            None if budget is None else added(self.budget, budget.window),
        )

    def verdict(self, at: float, policy: Policy) -> tuple[str, float] | None:
        """Return why a case is failing, and since when; None if it is not."""
        found = None
        if policy.failure_ratio is not None and self.ratio is not None:
            found = _of_ratio(self.ratio.at(at), policy.failure_ratio)
        if found is None and policy.budget is not None:
            found = self._of_budget(at, policy.budget)
        if found is None:
            return None
        why, since = found
        return why, at if since is None else since

    def _of_budget(self, at: float, budget: Budget) -> tuple[str, float | None] | None:
        if self.long is None or self.short is None:
            return None
        long, short = self.long.at(at), self.short.at(at)
        if long.count < budget.least:
            return None
        rates = [each.failure_ratio / budget.allowed for each in (long, short)]
        if min(rates) < budget.burn_rate:
            return None
        why = (
            f"Uses up its error budget {rates[0]:.3g} times too fast over "
            f"{budget.long:.12g} s, {rates[1]:.3g} times over {budget.short:.12g} s "
            f"(max={budget.burn_rate:g})"
        )
        return why, long.first_failure

    def budget_left(self, at: float, budget: Budget) -> float:
        """Return which share of an error budget is left: 1 is all, less than 0 is debt.

        It is the share of the tests that there were in its window, not of those that
        there may still be.
        """
        if self.budget is None:
            return 1.0
        return 1 - self.budget.at(at).failure_ratio / budget.allowed

    @property
    def change_ratio(self) -> float:
        """How much of the last results were changes, from 0 to 1, late ones more."""
        return change_ratio(self.results)

    def shifted(self, seconds: float) -> Recent:
        """Return it as on a clock that is so many *seconds* ahead."""
        rings = (self.ratio, self.long, self.short, self.budget)
        moved = (None if ring is None else ring.shifted(seconds) for ring in rings)
        return Recent(self.results, self.is_flapping, *moved)


#: What is known if the policy does not look back.
NOTHING = Recent()


def change_ratio(results: int) -> float:
    """Return how much of the last 21 results were changes, late ones counting more.

    Args:
        results: The results as bits, the latest being the lowest.
    """
    changes = (results ^ (results >> 1)) & (_ALL >> 1)
    found = sum(_WEIGHTS[each] for each in range(_STEPS) if changes >> each & 1)
    return found / _WHOLE


def _is_flapping(results: int, flapping: Flapping | None, *, was: bool) -> bool:
    if flapping is None:
        return False
    ratio = change_ratio(results)
    if flapping.low < ratio < flapping.high:
        return was
    return ratio >= flapping.high


def _of_ratio(ring: Ring, rule: FailureRatio) -> tuple[str, float | None] | None:
    ratio = ring.failure_ratio
    if ring.count < rule.least or ratio < rule.limit:
        return None
    why = (
        f"Failed {ring.failed} of {ring.count} in {rule.window:.12g} s: "
        f"{ratio:.3g} (max={rule.limit:g})"
    )
    return why, ring.first_failure

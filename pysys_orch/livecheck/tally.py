"""What became of the tests of a case, and when something was heard of it.

Both are made anew for each test: nothing is faster than a tuple.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from pysys_orch.livecheck.models import State

_FAILURES = frozenset({State.FAIL, State.ERROR, State.TIMEOUT})


class Tally(NamedTuple):
    """What became of all the tests.

    Attributes:
        passed: How many passed.
        failed: How many failed.
        errors: How many raised something else.
        timeouts: How many waited for a signal that did not come.
        skipped: How many were not executed.
        failures: How many of the last ones, one after the other, did not pass.
        failing_since: When the first of these ended; None if the last one passed.
    """

    passed: int = 0
    failed: int = 0
    errors: int = 0
    timeouts: int = 0
    skipped: int = 0
    failures: int = 0
    failing_since: float | None = None

    def after_pass(self) -> Tally:
        """Return it with a test more that passed."""
        return Tally(
            self.passed + 1, self.failed, self.errors, self.timeouts, self.skipped
        )

    def after_failure(self, state: State, at: float) -> Tally:
        """Return it with a test more that did not pass.

        Raises:
            ValueError: No test ends in that state.
        """
        if state not in _FAILURES:
            message = f"no test ends as {state}"
            raise ValueError(message)
        return Tally(
            self.passed,
            self.failed + (state is State.FAIL),
            self.errors + (state is State.ERROR),
            self.timeouts + (state is State.TIMEOUT),
            self.skipped,
            self.failures + 1,
            at if self.failing_since is None else self.failing_since,
        )

    @property
    def total_failures(self) -> int:
        """How many did not pass, of those that were executed."""
        return self.failed + self.errors + self.timeouts

    @property
    def executions(self) -> int:
        """How many were executed."""
        return self.passed + self.total_failures

    @property
    def by_state(self) -> Counter[State]:
        """How many ended in each state, each test counted once."""
        return Counter(
            {
                State.PASS: self.passed,
                State.FAIL: self.failed,
                State.ERROR: self.errors,
                State.TIMEOUT: self.timeouts,
                State.SKIP: self.skipped,
            }
        )


class Watch(NamedTuple):
    """When something was heard.

    Attributes:
        began: When somebody began to listen.
        received: When the last test came, executed or not.
        stalled: When silence was last noticed.
    """

    began: float | None = None
    received: float | None = None
    stalled: float | None = None

"""When a case is failing, and when it is well again."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from pysys_orch.errors import ConfigError
from pysys_orch.livecheck.policy import Budget, FailureRatio, Flapping, Policy


def test_the_defaults_are_the_originals() -> None:
    """Who says nothing gets what faust does."""
    policy = Policy()
    assert policy.max_consecutive_failures == 30
    assert policy.state_transition_delay == 60.0
    assert policy.warn_stalled_after == 1800.0
    assert policy.passes_to_recover == 1
    assert not policy.looks_back


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Policy(max_consecutive_failures=0), "max_consecutive_failures .* 0$"),
        (lambda: Policy(max_consecutive_failures=True), "whole number .* got True"),
        (lambda: Policy(passes_to_recover=-1), "passes_to_recover .* got -1"),
        (lambda: Policy(passes_to_recover=1.5), "got 1.5"),  # type: ignore[arg-type] # or it is no error
        (lambda: Policy(state_transition_delay=-1), "state_transition_delay .* got -1"),
        (lambda: Policy(state_transition_delay=math.inf), "got inf"),
        (lambda: Policy(state_transition_delay=math.nan), "got nan"),
        (lambda: Policy(warn_stalled_after=0), "warn_stalled_after .* more than 0"),
        (lambda: FailureRatio(limit=0), "limit has to be more than 0 and at most 1"),
        (lambda: FailureRatio(limit=1.5), "got 1.5"),
        (lambda: FailureRatio(limit=0.5, window=0), "failure ratio: window"),
        (lambda: FailureRatio(limit=0.5, least=0), "failure ratio: least"),
        (lambda: Flapping(low=0.3, high=0.3), "low has to be less than high, 0.3"),
        (lambda: Flapping(low=-0.1), "flapping: low"),
        (lambda: Flapping(high=30), "flapping: high .* at most 1, got 30"),
        (lambda: Budget(objective=1), "who may get nothing wrong has no budget"),
        (lambda: Budget(objective=0), "objective has to be more than 0"),
        (lambda: Budget(long=60, short=300), "error budget: long .* at least 300"),
        (lambda: Budget(window=60), "error budget: window .* at least 3600"),
        (lambda: Budget(objective=0.9), "has to be at most 10"),
        (lambda: Budget(burn_rate=0.5), "burn_rate has to be at least 1"),
        (lambda: Budget(least=0), "error budget: least"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(
    make: Callable[[], object], words: str
) -> None:
    """When it is written, not when it would have been needed."""
    with pytest.raises(ConfigError, match=words):
        make()


def test_what_is_never_is_none() -> None:
    """A case that may be silent for ever, and one that is well at once."""
    assert Policy(warn_stalled_after=None).warn_stalled_after is None
    assert Policy(state_transition_delay=0).state_transition_delay == 0

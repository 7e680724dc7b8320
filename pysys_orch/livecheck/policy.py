"""When a case is failing, and when it is well again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pysys_orch.errors import ConfigError

_HOUR = 3600.0
_MINUTE = 60.0
_DAY = 24 * _HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRatio:
    """A case is failing while too large a share of its tests fails.

    Attributes:
        limit: From which share on, more than 0 and at most 1.
        window: In how many seconds. What is counted is exact to a 60th of it.
        least: How many tests have to have ended in these, at least.

    Raises:
        ConfigError: A value makes no sense.
    """

    limit: float
    window: float = 10 * _MINUTE
    least: int = 20

    def __post_init__(self) -> None:
        _within("failure ratio: limit", self.limit, 0, 1, is_open=True)
        _positive("failure ratio: window", self.window)
        _count("failure ratio: least", self.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """While a case changes its mind all the time, nobody is told each time.

    The last 21 results are looked at: in how many of the 20 steps between them they
    changed, a late change counting up to 1.25 times, and an early one down to 0.75.
    Every result counts, also a failure that does not make the case a failing one.

    Attributes:
        low: At which share of changes it is over, at least 0.
        high: From which share of changes on it is flapping, more than *low*, at most 1.

    Raises:
        ConfigError: A value makes no sense.

    Source:
        Nagios Core and Naemon, "Detection and Handling of State Flapping". The
        thresholds are theirs, too.
    """

    low: float = 0.2
    high: float = 0.3

    def __post_init__(self) -> None:
        _within("flapping: high", self.high, 0, 1, is_open=True)
        _within("flapping: low", self.low, 0, 1)
        if self.low >= self.high:
            message = (
                f"flapping: low has to be less than high, {self.high:g}, "
                f"got {self.low:g}"
            )
            raise ConfigError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A case is failing while it uses up too fast what it may get wrong.

    It does if, both in a long window and in a short one, it fails *burn_rate* times as
    often as the objective allows: in the long one so that it matters, in the short one
    so that it is over soon after it is.

    Attributes:
        objective: Which share of the tests has to pass, more than 0 and less than 1.
        window: In how many seconds; what is left is told for these.
        burn_rate: How many times too often, at least 1.
        long: How many seconds the long window has.
        short: How many seconds the short one has.
        least: How many tests have to have ended in the long one, at least: few of them
            say nothing about many nines.

    Raises:
        ConfigError: A value makes no sense.

    Source:
        The Site Reliability Workbook, chapter 5: 14.4 over an hour and five minutes is
        2 % of what 30 days have.
    """

    objective: float = 0.999
    window: float = 30 * _DAY
    burn_rate: float = 14.4
    long: float = _HOUR
    short: float = 5 * _MINUTE
    least: int = 100

    def __post_init__(self) -> None:
        _within("error budget: objective", self.objective, 0, 1, is_open=True)
        if self.objective >= 1:
            message = (
                "error budget: objective has to be less than 1, got "
                f"{self.objective:g}: who may get nothing wrong has no budget"
            )
            raise ConfigError(message)
        _positive("error budget: short", self.short)
        _within("error budget: long", self.long, self.short, math.inf)
        _within("error budget: window", self.window, self.long, math.inf)
        _within("error budget: burn_rate", self.burn_rate, 1, math.inf)
        if self.burn_rate * self.allowed > 1:
            message = (
                f"error budget: burn_rate {self.burn_rate:g} is never reached, since "
                f"the objective {self.objective:g} allows {self.allowed:g} to fail: "
                f"it has to be at most {1 / self.allowed:.4g}"
            )
            raise ConfigError(message)
        _count("error budget: least", self.least)

    @property
    def allowed(self) -> float:
        """Which share of the tests may fail."""
        return 1 - self.objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What makes a case a failing one, and what makes it well again.

    Attributes:
        max_consecutive_failures: How many failures in a row make it fail.
        passes_to_recover: How many passes in a row it takes then.
        state_transition_delay: For how many seconds it has to be without trouble
            before it is well again, and after how many without trouble it is told
            again that there is some.
        warn_stalled_after: After how many seconds without a test it has stalled; None
            is never.
        failure_ratio: A share of failures that makes it fail as well.
        budget: A budget of failures that it must not use up too fast.
        flapping: What holds back what is told; None is nothing.

    Raises:
        ConfigError: A value makes no sense.
    """

    max_consecutive_failures: int = 30
    passes_to_recover: int = 1
    state_transition_delay: float = 60.0
    warn_stalled_after: float | None = 1800.0
    failure_ratio: FailureRatio | None = None
    budget: Budget | None = None
    flapping: Flapping | None = None

    def __post_init__(self) -> None:
        _count("max_consecutive_failures", self.max_consecutive_failures)
        _count("passes_to_recover", self.passes_to_recover)
        _within("state_transition_delay", self.state_transition_delay, 0, math.inf)
        if self.warn_stalled_after is not None:
            _positive("warn_stalled_after", self.warn_stalled_after)

    @property
    def looks_back(self) -> bool:
        """Whether it looks at more than the last tests in a row."""
        return (
            self.failure_ratio is not None
            or self.budget is not None
            or self.flapping is not None
        )


def _is_number(found: object) -> bool:
    return (
        isinstance(found, int | float)
        and not isinstance(found, bool)
        and abs(found) < math.inf
    )


def _within(
    name: str, found: float, least: float, most: float, *, is_open: bool = False
) -> None:
    if _is_number(found) and least <= found <= most and (found > least or not is_open):
        return
    limits = f"more than {least:g}" if is_open else f"at least {least:g}"
    if math.isfinite(most):
        limits += f" and at most {most:g}"
    message = f"{name} has to be {limits}, got {found!r}"
    raise ConfigError(message)


def _positive(name: str, found: float) -> None:
    _within(name, found, 0, math.inf, is_open=True)


def _count(name: str, found: object) -> None:
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        message = f"{name} has to be a whole number from 1, got {found!r}"
        raise ConfigError(message)

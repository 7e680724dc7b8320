"""What can be said about a case: on its class, where it is made, and where it is added.

Each option can be given in all three places, in any form that its kind has; the last
place counts, and None there says nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypedDict, cast

from pysys_orch.errors import ConfigError
from pysys_orch.inputs import nearest
from pysys_orch.livecheck.durations import Duration, seconds_of
from pysys_orch.livecheck.policy import Budget, FailureRatio, Flapping, Policy
from pysys_orch.livecheck.signals import Signal

log = logging.getLogger("pysys.orch.livecheck")

_NEARLY = 0.85


class Options(TypedDict, total=False):
    """The options of a case; `pysys_orch.livecheck.case.Case` says what they mean."""

    active: bool | None
    probability: float | None
    signals: Iterable[Signal[Any]] | None
    warn_stalled_after: Duration | None
    test_expires: Duration | None
    frequency: Duration | None
    realtime_logs: bool | None
    max_history: int | None
    max_consecutive_failures: int | None
    state_transition_delay: Duration | None
    passes_to_recover: int | None
    failure_ratio: FailureRatio | None
    budget: Budget | None
    flapping: Flapping | None
    url_timeout_total: Duration | None
    url_timeout_connect: Duration | None
    url_error_retries: int | None
    url_error_delay_min: Duration | None
    url_error_delay_backoff: float | None
    url_error_delay_max: Duration | None


class CaseOptions:
    """What can be said about a case; `pysys_orch.livecheck.case.Case` says what."""

    active: bool = True
    probability: float = 0.5
    warn_stalled_after: Duration | None = 1800.0
    test_expires: Duration = timedelta(hours=3)
    frequency: Duration | None = None
    realtime_logs: bool = False
    max_history: int = 100
    max_consecutive_failures: int = 30
    state_transition_delay: Duration = 60.0
    passes_to_recover: int = 1
    failure_ratio: FailureRatio | None = None
    budget: Budget | None = None
    flapping: Flapping | None = None
    url_timeout_total: Duration | None = 300.0
    url_timeout_connect: Duration | None = None
    url_error_retries: int = 10
    url_error_delay_min: Duration = 0.5
    url_error_delay_backoff: float = 1.5
    url_error_delay_max: Duration = 5.0

    def settle(self, **given: object) -> None:
        """Bring all options into the one form that is worked with.

        Args:
            given: What counts more than what the class says, unless it is None.

        Raises:
            ConfigError: There is no such option, or a value makes no sense.
        """
        owner = type(self).__qualname__
        _check_names(owner, given)
        _warn_of_near_misses(type(self))
        found = {name: getattr(self, name) for name in _KINDS}
        found |= {name: value for name, value in given.items() if value is not None}
        for name, value in settled(owner, found).items():
            setattr(self, name, value)
        self.expires_after = cast("timedelta", self.test_expires)
        self.period = cast("float | None", self.frequency)
        self.policy = Policy(
            max_consecutive_failures=self.max_consecutive_failures,
            passes_to_recover=self.passes_to_recover,
            state_transition_delay=cast("float", self.state_transition_delay),
            warn_stalled_after=cast("float | None", self.warn_stalled_after),
            failure_ratio=self.failure_ratio,
            budget=self.budget,
            flapping=self.flapping,
        )


def settled(owner: str, found: Mapping[str, object]) -> dict[str, object]:
    """Return options in the one form that a case works with.

    Durations are seconds, but `test_expires` is a timedelta. None is for those that
    can be without a value.

    Args:
        owner: Whose they are, for messages.
        found: Names and values.

    Raises:
        ConfigError: There is no such option, or a value makes no sense.
    """
    _check_names(owner, found)
    return {
        name: None
        if value is None and name in _OPTIONAL
        else _KINDS[name](f"{owner}.{name}", value)
        for name, value in found.items()
    }


def _check_names(owner: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in _KINDS:
            message = f"{owner} has no option {name!r}{nearest(name, _KINDS)}"
            raise ConfigError(message)


def _warn_of_near_misses(cls: type) -> None:
    """Warn of attributes that are nearly options, and so do nothing."""
    import difflib

    for name, value in vars(cls).items():
        is_own = name.startswith("_") or callable(value) or isinstance(value, Signal)
        if is_own or name in _KINDS or hasattr(cls.__base__, name):
            continue
        if difflib.get_close_matches(name, _KINDS, 1, _NEARLY):
            log.warning(
                "%s.%s is no option%s", cls.__qualname__, name, nearest(name, _KINDS)
            )


def _duration(name: str, value: Any) -> float:  # noqa: ANN401 -- whatever was given
    return seconds_of(value, name)


def _some_time(name: str, value: Any) -> float:  # noqa: ANN401 -- whatever was given
    found = seconds_of(value, name)
    if not found:
        message = f"{name} has to be more than 0: None is never"
        raise ConfigError(message)
    return found


def _timedelta(name: str, value: Any) -> timedelta:  # noqa: ANN401 -- whatever was given
    return timedelta(seconds=seconds_of(value, name))


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        message = f"{name} has to be True or False, got {value!r}"
        raise ConfigError(message)
    return value


def _count(least: int) -> Callable[[str, object], int]:
    def settle(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            message = f"{name} has to be a whole number from {least}, got {value!r}"
            raise ConfigError(message)
        return value

    return settle


def _number(least: float, most: float = math.inf) -> Callable[[str, object], float]:
    def settle(name: str, value: object) -> float:
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and least <= value <= most
            and value < math.inf
        ):
            return float(value)
        limits = f"from {least:g}" + (f" to {most:g}" if most < math.inf else "")
        message = f"{name} has to be a number {limits}, got {value!r}"
        raise ConfigError(message)

    return settle


def _of(kind: type) -> Callable[[str, object], object]:
    def settle(name: str, value: object) -> object:
        if not isinstance(value, kind):
            message = f"{name} has to be a {kind.__name__}, got {value!r}"
            raise ConfigError(message)
        return value

    return settle


_KINDS: dict[str, Callable[[str, Any], object]] = {
    "active": _flag,
    "probability": _number(0, 1),
    "warn_stalled_after": _some_time,
    "test_expires": _timedelta,
    "frequency": _some_time,
    "realtime_logs": _flag,
    "max_history": _count(1),
    "max_consecutive_failures": _count(1),
    "state_transition_delay": _duration,
    "passes_to_recover": _count(1),
    "failure_ratio": _of(FailureRatio),
    "budget": _of(Budget),
    "flapping": _of(Flapping),
    "url_timeout_total": _duration,
    "url_timeout_connect": _duration,
    "url_error_retries": _count(0),
    "url_error_delay_min": _duration,
    "url_error_delay_backoff": _number(1),
    "url_error_delay_max": _duration,
}

# These can be without a value, which means never, or for ever.
_OPTIONAL = frozenset(
    {"warn_stalled_after", "frequency", "failure_ratio", "budget", "flapping"}
    | {"url_timeout_total", "url_timeout_connect"}
)

"""Durations, in whatever form a user gives them."""

from __future__ import annotations

import re
from datetime import timedelta

from pysys_orch.durations import CENTURY, seconds_of_text
from pysys_orch.errors import ConfigError

#: What a user may give where a duration is asked for.
Duration = float | timedelta | str

_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def seconds_of(duration: Duration, what: str = "a duration") -> float:
    """Return how many seconds a duration has.

    Args:
        duration: Seconds, a timedelta, or a text: ``30s``, ``2h30m``, ``250ms``, or
            ``90`` for seconds. From 0 to a hundred years.
        what: What it is for, as a message is to name it: ``Checkout.frequency``.

    Raises:
        ConfigError: It is none, or out of range; a boolean is none either.

    Example:
        >>> seconds_of("2h30m")
        9000.0
    """
    found: float | None = None
    match duration:
        case bool():
            pass
        case int() | float():
            found = _as_float(duration)
        case timedelta():
            found = duration.total_seconds()
        case str():
            found = _of_text(duration.strip())
    # NaN is in no range.
    if found is None or not 0 <= found <= CENTURY:
        message = (
            f"{what} has to be seconds from 0 to {CENTURY:.0f}, a timedelta, or a text "
            f"such as 30s, 15m or 2h30m, got {duration!r}"
        )
        raise ConfigError(message)
    return found


def _as_float(number: float) -> float | None:
    try:
        return float(number)
    except OverflowError:
        return None


def _of_text(text: str) -> float | None:
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        return seconds_of_text(text)
    except ValueError:
        return None

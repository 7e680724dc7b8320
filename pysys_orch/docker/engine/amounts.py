"""Durations, rates and sizes, as people write them and are told of them."""

from __future__ import annotations

import math
import re

from pysys_orch.durations import seconds_of_text
from pysys_orch.errors import ConfigError

_RATE = re.compile(r"(\d+(?:\.\d+)?) ?([kmg]?)bit(?:/s|ps)?", re.ASCII | re.IGNORECASE)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmg]?)i?b?", re.ASCII | re.IGNORECASE)


def seconds_of(what: str, said: float | str) -> float:
    """Return a duration in seconds.

    Args:
        what: What it is, for messages.
        said: Seconds, or a text such as ``200ms``.

    Raises:
        ConfigError: It is neither.
    """
    try:
        found = seconds_of_text(said) if isinstance(said, str) else float(said)
    except (ValueError, TypeError):
        found = math.nan
    if not math.isfinite(found):
        message = f"{what} has to be seconds, or a text such as 200ms, got {said!r}"
        raise ConfigError(message)
    return found


def number_of(what: str, said: object, wanted: str = "a number") -> float:
    """Return a number.

    Args:
        what: What it is, for messages.
        said: The number.
        wanted: What it has to be, for messages.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(said, int | float) or not math.isfinite(said):
        message = f"{what} has to be {wanted}, got {said!r}"
        raise ConfigError(message)
    return float(said)


def bits_of(said: float | str | None) -> float | None:
    """Return a rate in bits per second: a number, or a text such as ``1mbit``.

    Raises:
        ConfigError: It is neither.
    """
    if said is None:
        return None
    return _amount("a rate", said, _RATE, 1000, "bits per second, or 512kbit or 1mbit")


def bytes_of(what: str, said: float | str) -> int:
    """Return a size in bytes.

    Args:
        what: Of what, for messages.
        said: Bytes, or a text such as ``64m`` or ``1.5 GiB``.

    Raises:
        ConfigError: It is neither.
    """
    wanted = "bytes, or like 64k, 16m, 16 MiB or 1.5g"
    return math.ceil(_amount(what, said, _SIZE, 1024, wanted))


def _amount(
    what: str, said: object, pattern: re.Pattern[str], step: int, wanted: str
) -> float:
    found = math.nan
    if isinstance(said, int | float):
        found = float(said)
    elif isinstance(said, str) and (match := pattern.fullmatch(said.strip())):
        found = float(match[1]) * step ** " kmg".index(match[2].lower() or " ")
    if not math.isfinite(found) or found <= 0:
        message = f"{what} has to be {wanted}, got {said!r}"
        raise ConfigError(message)
    return found


def in_bits(rate: float) -> str:
    """Return a number of bits per second as people say it: ``1 Mbit/s``."""
    rate, unit = _scaled(rate, 1000, "bit/s", "kbit/s", "Mbit/s", "Gbit/s")
    return f"{rate:g} {unit}"


def in_bytes(count: float) -> str:
    """Return a number of bytes as people say it: ``16 MiB``."""
    count, unit = _scaled(count, 1024, "bytes", "KiB", "MiB", "GiB")
    return f"{count:.4g} {unit}"


def _scaled(amount: float, step: int, unit: str, *larger: str) -> tuple[float, str]:
    for each in larger:
        if amount < step:
            break
        amount, unit = amount / step, each
    return amount, unit

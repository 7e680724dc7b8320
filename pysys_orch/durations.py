"""Durations as people write them: ``90s``, ``15m``, ``2h30m``."""

from __future__ import annotations

import re
from decimal import Decimal

#: How many seconds a unit has. Decimal: what people write is meant exactly.
SECONDS_OF = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}

#: The longest duration that means anything, in seconds.
CENTURY = 100 * 365.25 * 86400

#: One of the parts of such a text, as a regular expression.
PART = r"\d+(?:\.\d+)?(?:ms|s|m|h|d)"

_WHOLE = re.compile(rf"(?:{PART})+", re.ASCII)
_AMOUNT = re.compile(r"([\d.]+)(ms|s|m|h|d)", re.ASCII)


def seconds_of_text(text: str) -> float:
    """Return how many seconds ``90s``, ``15m``, ``2h30m`` or ``250ms`` are.

    Raises:
        ValueError: It is no such text.
    """
    if _WHOLE.fullmatch(text) is None:
        message = "has to be seconds, or a text such as 90s, 15m or 2h30m"
        raise ValueError(message)
    parts = _AMOUNT.findall(text)
    return float(sum(Decimal(amount) * SECONDS_OF[unit] for amount, unit in parts))

"""Limits of figures, as people write them: ``<50``, ``>= 0.99``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pysys_orch.inputs import nearest

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
_LIMIT = re.compile(r"(<=|>=|==|<|>)\s*(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of a figure.

    Attributes:
        comparison: How a figure has to compare to it: <, <=, >, >= or ==.
        number: What it has to compare to.
    """

    comparison: str
    number: float

    @classmethod
    def of(cls, text: str) -> Limit:
        """Return what ``<50`` says.

        Raises:
            ValueError: It says nothing; with what it has to be.
        """
        match = _LIMIT.fullmatch(text.strip())
        if match is None:
            message = f"has to be <, <=, >, >= or == and a number, got {text!r}"
            raise ValueError(message)
        number = float(match[2])
        if math.isinf(number):
            message = f"has to be finite, got {text!r}"
            raise ValueError(message)
        return cls(match[1], number)

    def holds(self, figure: float) -> bool:
        """Return whether a figure is within it."""
        return _COMPARISONS[self.comparison](figure, self.number)

    def __str__(self) -> str:
        return f"{self.comparison} {self.number:g}"


def read_threshold(
    said: str, limit: str, *, what: str, figures: Collection[str]
) -> tuple[str, str, Limit]:
    """Read a threshold, as ``"write.response_p99_ms": "<50"``.

    Args:
        said: What it is about, a dot, and a figure.
        limit: What that has to be within.
        what: What it can be about, as ``an event``.
        figures: What there is a figure for.

    Returns:
        What it is about, the figure, and the limit.

    Raises:
        ValueError: It says nothing.
    """
    about, dot, figure = said.rpartition(".")
    if not dot or not about:
        message = (
            f"threshold {said!r} has to be the name of {what} or *, a dot, and a figure"
        )
        raise ValueError(message)
    if figure not in figures:
        hint = nearest(figure, figures)
        message = f"threshold {said!r}: there is no figure {figure!r}{hint}"
        raise ValueError(message)
    try:
        return about, figure, Limit.of(limit)
    except ValueError as failure:
        message = f"threshold {said!r} {failure}"
        raise ValueError(message) from None

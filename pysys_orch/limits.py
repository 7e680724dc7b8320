"""Limits of figures, as people write them: ``<50``, ``>= 0.99``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

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

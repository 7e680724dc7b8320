"""Figures that decide whether a test passes."""

from __future__ import annotations

from dataclasses import dataclass

from pysys_orch.limits import Limit, read_threshold

#: What there is a figure for, each with ``_p50_ms``, ``_p90_ms``, ``_p99_ms``,
#: ``_p999_ms`` and ``_max_ms``: from due to started, from started to ended, from due to
#: ended.
TIMES = ("lateness", "duration", "response")
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "max": 100.0}

#: How firings can end, each with a figure for its count, and its share of all.
COUNTS = (
    "ok",
    "failure",
    "timeout",
    "skipped",
    "dropped",
    "missed",
    "cancelled",
    "abandoned",
)

FIGURES = (
    "fired",
    *(f"{each}_count" for each in COUNTS),
    *(f"{each}_ratio" for each in COUNTS),
    *(f"{time}_{percentile}_ms" for time in TIMES for percentile in PERCENTILES),
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit for a figure.

    Attributes:
        event: The event; ``*`` is each of them.
        figure: One of `FIGURES`.
        limit: What it has to be within.
    """

    event: str
    figure: str
    limit: Limit

    @classmethod
    def of(cls, figure: str, limit: str) -> Threshold:
        """Return what ``"write.response_p99_ms": "<50"`` says.

        Raises:
            ValueError: It says nothing.
        """
        return cls(*read_threshold(figure, limit, what="an event", figures=FIGURES))

    def holds(self, value: float) -> bool:
        """Return whether a figure is within the limit."""
        return self.limit.holds(value)

    def __str__(self) -> str:
        return f"{self.figure} {self.limit}"

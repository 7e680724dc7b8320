"""Figures that decide whether a live check is well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pysys_orch.errors import ConfigError
from pysys_orch.inputs import nearest
from pysys_orch.limits import Limit, read_threshold

# No limit allows something that also holds if there is more and more of it.
_UPPER = frozenset({"<", "<=", "=="})

#: What there is a figure for, each with ``_p50_ms`` and so on: how long tests took that
#: passed, and how long signals were waited for that came.
TIMES = ("runtime", "latency")
PERCENTILES = ("p50", "p90", "p99", "max")

#: How tests can end, each with a figure for its count, and its share of all that were
#: executed; ``failure`` is each of the three that are none.
COUNTS = ("pass", "fail", "error", "timeout", "failure", "skip")

FIGURES = (
    "executed",
    *(f"{each}_count" for each in COUNTS),
    *(f"{each}_ratio" for each in COUNTS if each != "skip"),
    "cut_off_count",
    "stall_count",
    "suite_failure_count",
    *(f"{time}_{percentile}_ms" for time in TIMES for percentile in PERCENTILES),
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit for a figure.

    Attributes:
        case: The case, or ``CASE.SIGNAL`` for the latency of one of its signals; ``*``
            is each case.
        figure: One of `FIGURES`.
        limit: What it has to be within.
    """

    case: str
    figure: str
    limit: Limit

    @classmethod
    def of(cls, figure: str, limit: str) -> Threshold:
        """Return what ``"Checkout.runtime_p99_ms": "<50"`` says.

        Raises:
            ConfigError: It says nothing.
        """
        try:
            return cls(
                *read_threshold(figure, str(limit), what="a case", figures=FIGURES)
            )
        except ValueError as failure:
            raise ConfigError(str(failure)) from None

    def holds(self, value: float) -> bool:
        """Return whether a figure is within the limit."""
        return self.limit.holds(value)

    def decides(self, kind: str) -> bool:
        """Return whether it is for this threshold to say how much of that may be.

        Args:
            kind: ``fail``, ``error``, ``timeout``, ``cut_off``, ``stall`` or
                ``suite_failure``.
        """
        if self.limit.comparison not in _UPPER:
            return False
        name = self.figure.removesuffix("_count").removesuffix("_ratio")
        if name == self.figure:
            return False
        return name == kind or (
            name == "failure" and kind in {"fail", "error", "timeout"}
        )

    def __str__(self) -> str:
        return f"{self.case}.{self.figure} {self.limit}"


def thresholds_of(
    said: Mapping[str, str], cases: Mapping[str, Iterable[str]]
) -> tuple[Threshold, ...]:
    """Return the thresholds that are given.

    Args:
        said: Figures and limits, as ``{"Checkout.failure_ratio": "<0.01"}``.
        cases: The cases that there are, each with its signals.

    Raises:
        ConfigError: One says nothing, or is about no case.
    """
    found = tuple(Threshold.of(figure, limit) for figure, limit in said.items())
    signals = {f"{case}.{each}" for case, names in cases.items() for each in names}
    for each in found:
        if each.case in {"*", *cases}:
            continue
        if each.case not in signals:
            hint = nearest(each.case, [*cases, *signals])
            message = f"threshold {each}: there is no case {each.case!r}{hint}"
            raise ConfigError(message)
        if not each.figure.startswith("latency_"):
            message = f"threshold {each}: a signal has no figures but its latency_*"
            raise ConfigError(message)
    return found

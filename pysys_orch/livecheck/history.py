"""The last durations of a case, and their medians."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


def median(found: Iterable[float]) -> float | None:
    """Return the median; None of nothing."""
    import statistics

    numbers = list(found)
    return statistics.median(numbers) if numbers else None


class Histories:
    """The last durations of a case, in seconds.

    Args:
        most: How many of each kind are kept.

    Attributes:
        frequency: From the start of a test to the start of the next one.
        latency: How much more than `Case.frequency` that was.
        runtime: How long tests took that passed.
        by_name: All three.
    """

    def __init__(self, most: int) -> None:
        self.frequency: deque[float] = deque(maxlen=most)
        self.latency: deque[float] = deque(maxlen=most)
        self.runtime: deque[float] = deque(maxlen=most)
        self.by_name = {
            "frequency": self.frequency,
            "latency": self.latency,
            "runtime": self.runtime,
        }

    def add_gap(self, gap: float, frequency: float | None) -> None:
        """Add what is between two starts.

        Args:
            gap: How many seconds.
            frequency: How many there should be, if that is known.
        """
        self.frequency.append(gap)
        if frequency is not None:
            self.latency.append(gap - frequency)

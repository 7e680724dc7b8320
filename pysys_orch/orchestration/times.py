"""How long things took, however many of them there were.

A time is kept as the bucket that it falls into: the exponent and the first bits of the
fraction of a float, once a millisecond is added. So buckets are a microsecond wide for
what is short, and 0.1 % for what is long, and there is hardly any arithmetic to it.
"""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping

from pysys_orch.orchestration.thresholds import PERCENTILES, TIMES

# Of the 23 bits of a fraction, 10 are kept.
_SPARE = 13
_ADDED = 0.001
# So many are sorted into their buckets together.
_MANY = 128


class Times:
    """The times of an event's firings: `TIMES`."""

    __slots__ = ("_buckets", "_fresh")

    def __init__(self) -> None:
        # What was added last: lateness and duration by turns.
        self._fresh = array("f")
        self._buckets: tuple[Counter[int], ...] = ()

    def add(self, lateness: float, duration: float) -> None:
        """Add a firing: from due to started, and from started to ended, in seconds."""
        fresh = self._fresh
        fresh.append(lateness + _ADDED)
        fresh.append(duration + _ADDED)
        if len(fresh) >= _MANY:
            if not self._buckets:
                self._buckets = tuple(Counter() for _ in TIMES)
            _sort(fresh, self._buckets)
            del fresh[:]

    def counts(self) -> dict[str, Counter[int]]:
        """Return how often each of `TIMES` was how many microseconds.

        Others may be adding meanwhile.
        """
        buckets = tuple(map(Counter, self._buckets or ((), (), ())))
        _sort(self._fresh[:], buckets)
        found = {}
        for name, each in zip(TIMES, buckets, strict=True):
            found[name] = counts = Counter[int]()
            for bucket, count in each.items():
                counts[_microseconds(bucket)] += count
        return found


def _sort(fresh: array[float], buckets: Iterable[Counter[int]]) -> None:
    """Count times in their buckets."""
    late, took = fresh[::2], fresh[1::2]
    both = array("f", [one + two - _ADDED for one, two in zip(late, took, strict=True)])
    for times, counts in zip((late, took, both), buckets, strict=True):
        counts.update(
            [bits >> _SPARE for bits in memoryview(times).cast("B").cast("I")]
        )


def _microseconds(bucket: int) -> int:
    (seconds,) = struct.unpack("f", struct.pack("I", bucket << _SPARE))
    # Clocks of several processes may disagree by a little.
    return max(0, int((seconds - _ADDED) * 1e6))


def percentiles(time: str, counts: Mapping[int, int]) -> dict[str, float]:
    """Return the percentiles of times, in milliseconds, by the names of figures.

    Args:
        time: Which of `TIMES` it is.
        counts: How often it took how many microseconds. May be empty.
    """
    if not counts:
        return {}
    from hdrh.histogram import HdrHistogram

    histogram = HdrHistogram(1, max(2, *counts), 3)
    for value, count in counts.items():
        histogram.record_value(value, count)
    return {
        f"{time}_{name}_ms": histogram.get_value_at_percentile(percent) / 1000
        for name, percent in PERCENTILES.items()
    }

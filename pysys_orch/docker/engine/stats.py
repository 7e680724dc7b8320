"""What containers take of a machine: samples of it, rates, and how these are spread."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pysys_orch.docker.engine.model import read_stamp

#: The percentiles that are told of a figure, and its maximum.
PERCENTILES = (50, 90, 99)

_NEVER = datetime.min.replace(tzinfo=UTC)
_MOST = 1 << 50  # a pebibyte
_DIGITS = 2  # of a percentile that count


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a container takes, and has taken since it was started.

    Attributes:
        at: When, by the engine's clock.
        cpu: Nanoseconds on any CPU so far.
        memory: Bytes, without what the kernel would give back at once (the page cache
            that nobody used lately), as ``docker stats`` has it.
        limit: Bytes that it may take; those of the machine if nobody has limited it.
        received: Bytes from all its networks so far; 0 in the host's.
        sent: Bytes to them so far.
        read: Bytes from block devices so far.
        written: Bytes to them so far.
        pids: How many processes and threads it has.
    """

    at: datetime
    cpu: int
    memory: int
    limit: int
    received: int
    sent: int
    read: int
    written: int
    pids: int


def read_sample(told: Mapping[str, Any]) -> Sample | None:
    """Return what an engine tells of a container, or None if that does not run.

    Args:
        told: Its answer, with cgroups of version 1 or 2.

    Source:
        Engine API 1.41, ``GET /containers/{id}/stats``; docker stats for the memory.
    """
    at = read_stamp(str(told.get("read") or ""))
    memory = told.get("memory_stats") or {}
    if at <= _NEVER.replace(year=2) or "usage" not in memory:
        return None
    networks = (told.get("networks") or {}).values()
    blocks = (told.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    return Sample(
        at=at,
        cpu=int(told["cpu_stats"]["cpu_usage"]["total_usage"]),
        memory=_without_cache(memory),
        limit=int(memory.get("limit") or 0),
        received=sum(int(each["rx_bytes"]) for each in networks),
        sent=sum(int(each["tx_bytes"]) for each in networks),
        read=_sum_of(blocks, "read"),
        written=_sum_of(blocks, "write"),
        pids=int((told.get("pids_stats") or {}).get("current") or 0),
    )


def cpu_percent(
    before: Sample | None, after: Sample, *, breaks: Iterable[datetime] = ()
) -> float | None:
    """Return how much of one CPU was used between two samples, in per cent.

    Args:
        before: The earlier one, if there is one.
        after: The later one.
        breaks: When the container ended or was started, as far as that is known: what
            it counts begins at zero again then, and may have grown beyond what it was.

    Returns:
        None where that cannot be told: at the first, or after a restart.
    """
    if before is None or (seconds := _seconds(before, after, breaks)) is None:
        return None
    return (after.cpu - before.cpu) / 1e9 / seconds * 100


def rates(
    before: Sample | None, after: Sample, *, breaks: Iterable[datetime] = ()
) -> dict[str, float]:
    """Return what went through networks and block devices between two samples.

    Args:
        before: The earlier one, if there is one.
        after: The later one.
        breaks: As of `cpu_percent`.

    Returns:
        ``rx``, ``tx``, ``read`` and ``write`` in bytes per second; nothing where that
        cannot be told: at the first, or after a restart. What has been less before,
        as on a network that was left, is left out.
    """
    if before is None or (seconds := _seconds(before, after, breaks)) is None:
        return {}
    grown = {
        "rx": after.received - before.received,
        "tx": after.sent - before.sent,
        "read": after.read - before.read,
        "write": after.written - before.written,
    }
    return {what: more / seconds for what, more in grown.items() if more >= 0}


def next_tick(tick: int, elapsed: float, interval: float) -> int:
    """Return which tick comes next: the first that is not over.

    Args:
        tick: The last one.
        elapsed: Seconds since the start, at which tick 0 was.
        interval: Seconds between two ticks.
    """
    return max(tick + 1, math.ceil(elapsed / interval))


class Spread:
    """How a figure is spread, in memory that does not grow with how often it is taken.

    Percentiles are exact to 1 %, the maximum is exact.

    Args:
        unit: The smallest part of the figure that counts.
    """

    def __init__(self, unit: float = 1.0) -> None:
        self._unit = unit
        self._histogram: Any = None
        self.count = 0
        #: The greatest value.
        self.most = 0.0

    def add(self, value: float) -> None:
        """Take down a value; none is negative."""
        if self._histogram is None and value:
            # Not before, since it takes 46 KB, and many containers never do any I/O.
            from hdrh.histogram import HdrHistogram

            self._histogram = HdrHistogram(1, _MOST, _DIGITS)
            self._histogram.record_value(0, self.count)
        if self._histogram is not None:
            self._histogram.record_value(min(round(value / self._unit), _MOST))
        self.most = max(self.most, value)
        self.count += 1

    def figures(self) -> dict[str, float]:
        """Return ``p50``, ``p90``, ``p99`` and ``max``; nothing without a value."""
        if not self.count:
            return {}
        found = {f"p{each}": self._percentile(each) for each in PERCENTILES}
        return {**found, "max": self.most}

    def _percentile(self, percent: int) -> float:
        if self._histogram is None:
            return 0.0
        found = int(self._histogram.get_value_at_percentile(percent))
        return min(found * self._unit, self.most)


def _seconds(before: Sample, after: Sample, breaks: Iterable[datetime]) -> float | None:
    """Return how long a container ran between two samples; None if not throughout."""
    if after.cpu < before.cpu or after.at <= before.at:
        return None
    if any(before.at < each <= after.at for each in breaks):
        return None
    return (after.at - before.at).total_seconds()


def _without_cache(memory: Mapping[str, Any]) -> int:
    usage = int(memory["usage"])
    stats = memory.get("stats") or {}
    # With cgroups of version 1 the former, of version 2 the latter.
    cache = int(stats.get("total_inactive_file", stats.get("inactive_file", 0)))
    return usage - cache if cache < usage else usage


def _sum_of(blocks: Iterable[Mapping[str, Any]], what: str) -> int:
    return sum(int(each["value"]) for each in blocks if each["op"].lower() == what)

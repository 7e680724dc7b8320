"""Ends what takes too long, with a single timer for all of it.

Most of what is watched ends long before: what it costs then counts. A timer of the
loop for each would be kept until the loop comes round to it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Protocol

from pysys_orch.clock import Clock
from pysys_orch.livecheck.bounds import AGAIN

_FEW = 16


class Bounded(Protocol):
    """What is to end in time."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        ...

    def expire(self) -> None:
        """Have it end. It is called again while it does not."""
        ...


class Alarm:
    """A timer of whatever loop runs; of several times it is set to, the first counts.

    Args:
        clock: What tells the time; the loop's is the same.
        ring: What is called then.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def set(self, at: float) -> None:
        """Have it ring at an instant, unless it rings before anyway."""
        loop = asyncio.get_running_loop()
        if self._timer is not None and self._loop is loop:
            if self._at <= at:
                return
            self._timer.cancel()
        self._at, self._loop = at, loop
        delay = max(0.0, at - self._clock.instant())
        self._timer = loop.call_later(delay, self._fire)

    def clear(self) -> None:
        """Have it not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._ring()


class Deadlines:
    """What has to end, and when.

    Args:
        clock: What tells the time; the loop's is the same.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarm = Alarm(clock, self._expire)
        self._numbers = itertools.count()
        self._heap: list[tuple[float, int, Bounded]] = []
        self._over = 0

    def __len__(self) -> int:
        """Return how many are held, some of which may be over."""
        return len(self._heap)

    def add(self, at: float, bounded: Bounded) -> None:
        """Have something expire at an instant, unless it is over by then."""
        heapq.heappush(self._heap, (at, next(self._numbers), bounded))
        self._alarm.set(self._heap[0][0])

    def note_over(self) -> None:
        """Learn that one of them is over."""
        self._over += 1
        if self._over > _FEW and self._over * 2 > len(self._heap):
            self._heap = [each for each in self._heap if not each[2].is_over]
            heapq.heapify(self._heap)
            self._over = 0

    def close(self) -> None:
        """Let all of them be."""
        self._heap.clear()
        self._over = 0
        self._alarm.clear()

    def _expire(self) -> None:
        now = self._clock.instant()
        heap = self._heap
        while heap and (heap[0][2].is_over or heap[0][0] <= now):
            bounded = heapq.heappop(heap)[2]
            if bounded.is_over:
                self._over = max(0, self._over - 1)
            else:
                bounded.expire()
                # It may have missed it, or not have cared.
                heapq.heappush(heap, (now + AGAIN, next(self._numbers), bounded))
        if heap:
            self._alarm.set(heap[0][0])

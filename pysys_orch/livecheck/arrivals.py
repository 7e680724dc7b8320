"""Signals that came, and those who wait for one.

Who waits has a future of its own, so that a signal wakes those whom it is for and
nobody else: what that costs does not grow with how many wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Final

from pysys_orch.clock import Clock
from pysys_orch.livecheck.deadlines import Alarm

log = logging.getLogger("pysys.orch.livecheck")

#: How many signals a case keeps that nobody has waited for yet, by default.
KEPT = 100_000

_LOG_EACH = 10_000

#: There is no such signal.
MISSING: Final = object()

_Address = tuple[str, str]


class Arrivals:
    """The signals of a case: each is kept until it expires.

    A signal counts whether somebody waits already or asks later. The same one twice is
    once; another value for the same key replaces the first.

    Args:
        clock: What tells when one expires. Timers are those of the running loop.
        lifetime: After how many seconds one expires.
        limit: How many are kept. Of more, the oldest are lost, which is logged.
        name: Whose they are, for the log.
    """

    def __init__(
        self, *, clock: Clock, lifetime: float, limit: int = KEPT, name: str = ""
    ) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._limit = limit
        self._name = name
        # All live equally long, so that the first to come is the first to go.
        self._kept: OrderedDict[_Address, tuple[float, object]] = OrderedDict()
        self._waiting: dict[_Address, list[asyncio.Future[object]]] = {}
        self._alarm = Alarm(clock, self._expire)
        self.lost = 0

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return sum(map(len, self._waiting.values()))

    def deliver(self, signal: str, key: str, value: object) -> None:
        """Tell all who wait, and keep it for those who will."""
        address = signal, key
        self._kept[address] = self._clock.instant() + self._lifetime, value
        self._kept.move_to_end(address)
        for future in self._waiting.pop(address, ()):
            if not future.done():
                future.set_result(value)
        if len(self._kept) > self._limit:
            self._lose()
        self._set_alarm()

    def find(self, signal: str, key: str) -> object:
        """Return the value of a signal that came and is not expired, or `MISSING`."""
        expires, value = self._kept.get((signal, key), (0.0, MISSING))
        if value is MISSING or self._clock.instant() >= expires:
            return MISSING
        return value

    def expect(
        self, signal: str, key: str, timeout: float | None
    ) -> tuple[asyncio.Future[object], asyncio.TimerHandle | None]:
        """Begin to wait for a signal that did not come yet; `leave` ends that.

        Args:
            signal: Which one.
            key: For whom.
            timeout: How many seconds; None is for ever.

        Returns:
            What its value will be, or `MISSING` if it does not come in time; and what
            sees to that.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        self._waiting.setdefault((signal, key), []).append(future)
        if timeout is None:
            return future, None
        return future, loop.call_later(timeout, _give_up, future)

    def leave(
        self,
        signal: str,
        key: str,
        future: asyncio.Future[object],
        timer: asyncio.TimerHandle | None,
    ) -> None:
        """Wait no more, whether it came or not."""
        if timer is not None:
            timer.cancel()
        # Who delivers a signal has taken all who wait for it already.
        others = self._waiting.get((signal, key))
        if others is not None and future in others:
            others.remove(future)
            if not others:
                del self._waiting[signal, key]

    def forget(self, signal: str, key: str) -> None:
        """Drop a signal that is of no use to anybody any more."""
        self._kept.pop((signal, key), None)

    def close(self) -> None:
        """Drop all of them."""
        self._kept.clear()
        self._alarm.clear()

    def _lose(self) -> None:
        self._kept.popitem(last=False)
        self.lost += 1
        if self.lost % _LOG_EACH == 1:
            log.warning(
                "%s: %d signals came that nobody waited for, more than the %d that "
                "are kept: the oldest are lost",
                self._name,
                self.lost + self._limit,
                self._limit,
            )

    def _set_alarm(self) -> None:
        first, _ = next(iter(self._kept.values()))
        self._alarm.set(first)

    def _expire(self) -> None:
        now = self._clock.instant()
        while self._kept:
            address, (expires, _) = next(iter(self._kept.items()))
            if expires > now:
                self._set_alarm()
                return
            del self._kept[address]


def _give_up(future: asyncio.Future[object]) -> None:
    if not future.done():
        future.set_result(MISSING)

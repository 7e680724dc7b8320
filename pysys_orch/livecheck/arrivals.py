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

#: How many tests that ended are remembered, at most.
ENDED = 500

_LOG_EACH = 10_000
_FOR_EVER = float("inf")

#: There is no such signal.
MISSING: Final = object()

_Address = tuple[str, str]

_NOTHING = (0.0, MISSING, 0.0)


class Arrivals:
    """The signals of a case: each is kept until it expires.

    A signal counts whether somebody waits already or asks later. The same one twice is
    once; another value for the same key replaces the first.

    What comes for a test that ended is dropped, so that it is not for the next one of
    that id. How many signals are kept is bounded; how large they are is not looked at:
    that would cost more than to keep them, and what comes from outside has a limit at
    the receiver.

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
        # With until when: a test that begins later than that does not see it.
        self._kept: OrderedDict[_Address, tuple[float, object, float]] = OrderedDict()
        self._open: dict[str, int] = {}
        self._ended: OrderedDict[str, float] = OrderedDict()
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

    def expect_test(self, test_id: str) -> None:
        """Learn that a test came: what comes for it is kept, until `end_test`."""
        self._open[test_id] = self._open.get(test_id, 0) + 1
        self._ended.pop(test_id, None)

    def begin_test(self, test_id: str) -> None:
        """Learn that a test begins, whether it was expected or not."""
        self._ended.pop(test_id, None)

    def end_test(self, test_id: str) -> None:
        """Learn that a test ended: what comes for it now comes too late."""
        left = self._open.pop(test_id, 1) - 1
        if left > 0:
            self._open[test_id] = left
            return
        self._ended[test_id] = self._clock.instant() + self._lifetime
        self._ended.move_to_end(test_id)
        if len(self._ended) > ENDED:
            self._ended.popitem(last=False)

    def deliver(self, signal: str, key: str, value: object) -> None:
        """Tell all who wait, and keep it for those who will."""
        address = signal, key
        now = self._clock.instant()
        is_late = self._ended.get(key, now) > now
        if is_late and address not in self._waiting:
            log.debug("%s: signal %s for %r comes too late", self._name, signal, key)
            return
        self._kept[address] = now + self._lifetime, value, _FOR_EVER
        self._kept.move_to_end(address)
        for future in self._waiting.pop(address, ()):
            if not future.done():
                future.set_result(value)
        if len(self._kept) > self._limit:
            self._lose()
        self._set_alarm()

    def find(self, signal: str, key: str, begun: float = 0.0) -> object:
        """Return the value of a signal that came and is not expired, or `MISSING`.

        Args:
            signal: Which one.
            key: For whom.
            begun: The instant at which the test began that asks. What had been
                retired by then is not for it.
        """
        expires, value, until = self._kept.get((signal, key), _NOTHING)
        if value is MISSING or self._clock.instant() >= expires or begun >= until:
            return MISSING
        return value

    def retire(self, signal: str, key: str) -> None:
        """Keep a signal for the tests that run, and for none that begins from now."""
        kept = self._kept.get((signal, key))
        if kept is not None:
            expires, value, until = kept
            now = self._clock.instant()
            self._kept[signal, key] = expires, value, min(until, now)

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
        self._open.clear()
        self._ended.clear()
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
        first, *_ = next(iter(self._kept.values()))
        self._alarm.set(first)

    def _expire(self) -> None:
        now = self._clock.instant()
        while self._kept:
            address, (expires, *_) = next(iter(self._kept.items()))
            if expires > now:
                self._set_alarm()
                return
            del self._kept[address]


def _give_up(future: asyncio.Future[object]) -> None:
    if not future.done():
        future.set_result(MISSING)

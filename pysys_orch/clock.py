"""The only reader of time.

An *instant* is ``float`` seconds on a monotonic clock: only differences mean something.
A *stamp* is an aware ``datetime`` in UTC. The two never mix.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Protocol

_PR_SET_TIMERSLACK = 29


class Clock(Protocol):
    """Where the rest of the package gets its time from."""

    def instant(self) -> float:
        """Return monotonic seconds; only differences have a meaning."""
        ...

    def stamp(self) -> datetime:
        """Return the current UTC time."""
        ...

    def wait_until(self, instant: float, stop: threading.Event) -> bool:
        """Block until *instant* is reached or *stop* is set.

        Returns:
            True if *instant* was reached, False if *stop* ended the wait.
        """
        ...


class SystemClock:
    """The clock of this machine."""

    def instant(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def stamp(self) -> datetime:
        """Return the current UTC time."""
        return datetime.now(UTC)

    def wait_until(self, instant: float, stop: threading.Event) -> bool:
        """Block until *instant* is reached or *stop* is set."""
        return not stop.wait(max(0.0, instant - self.instant()))


class Bell(threading.Event):
    """An event that a single thread waits for, often: it takes a tenth of the time."""

    def __init__(self) -> None:
        super().__init__()
        # Whoever holds it, it is held while the event is not set.
        self._silence = threading.Lock()
        self._silence.acquire()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return not self._silence.locked()

    def set(self) -> None:
        """Wake the thread that waits, now or later."""
        # Of those who set it at the same time, all but one find that it is.
        with contextlib.suppress(RuntimeError):
            self._silence.release()

    def clear(self) -> None:
        """Have the next one wait again."""
        self._silence.acquire(blocking=False)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, and leave it so; return whether it is."""
        is_set = self._silence.acquire(timeout=-1 if timeout is None else timeout)
        if is_set:
            self.set()
        return is_set


def wake_on_time() -> None:
    """Have this thread woken when it asks for it, and no later.

    Does nothing where the system has no such choice.

    Source:
        PR_SET_TIMERSLACK in prctl(2).
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)

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

"""A clock that is a number."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from pysys_orch.errors import ConfigError

#: What `ManualClock.stamp` says at first, unless somebody sets it.
FIRST_STAMP = datetime(2024, 2, 29, 12, tzinfo=UTC)


class ManualClock:
    """A `pysys_orch.clock.Clock` that stands still until it is moved.

    Who waits on it moves it, at once: a week takes no time at all. Instants and stamps
    move together. Threads may share it; it never moves backwards.

    Args:
        instant: What it says at first, in seconds.
        stamp: The UTC time at that instant.

    Example:
        >>> import threading
        >>> clock = ManualClock()
        >>> clock.wait_until(clock.instant() + 3600.0, threading.Event())
        True
        >>> clock.instant()
        3600.0
    """

    def __init__(self, *, instant: float = 0.0, stamp: datetime = FIRST_STAMP) -> None:
        if stamp.utcoffset() is None:
            message = f"a stamp needs a time zone, got {stamp.isoformat()}"
            raise ConfigError(message)
        self._lock = threading.Lock()
        self._begin = instant
        self._instant = instant
        self._stamp = stamp.astimezone(UTC)

    def instant(self) -> float:
        """Return how far it was moved, in seconds."""
        with self._lock:
            return self._instant

    def stamp(self) -> datetime:
        """Return the UTC time that belongs to the instant."""
        return self._stamp + timedelta(seconds=self.instant() - self._begin)

    def wait_until(self, instant: float, stop: threading.Event) -> bool:
        """Move to *instant* at once, unless *stop* is set.

        Returns:
            True if *instant* was reached, False if *stop* was set.
        """
        if stop.is_set():
            return False
        with self._lock:
            self._instant = max(self._instant, instant)
        return True

    def advance(self, seconds: float) -> None:
        """Move it by so many *seconds*.

        Raises:
            ConfigError: That would be backwards.
        """
        if not seconds >= 0:
            message = f"a clock cannot be moved by {seconds:g} s"
            raise ConfigError(message)
        with self._lock:
            self._instant += seconds

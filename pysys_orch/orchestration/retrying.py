"""What failed is tried again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.orchestration.failures import see_through, words_of
from pysys_orch.orchestration.switch import KillSwitch

log = logging.getLogger("pysys.orch.orchestration")

_LONGEST_DELAY = 3600.0


class Retried:
    """Does something again if it fails.

    Args:
        work: What it does.
        retries: How often it is tried again.
        delay: Seconds before that.
        backoff: By what these are multiplied each time, up to an hour.
        clock: What waits.
        switch: Once this is set, nothing is tried again.
    """

    def __init__(
        self,
        work: Callable[[], object],
        *,
        retries: int,
        delay: float,
        backoff: float = 1.0,
        clock: Clock,
        switch: KillSwitch,
    ) -> None:
        self._work = work
        self._retries = retries
        self._delay = delay
        self._backoff = backoff
        self._longest = max(delay, _LONGEST_DELAY)
        self._clock = clock
        self._switch = switch
        self.kill = getattr(work, "kill", None)

    def __call__(self) -> None:
        """Do it, until it does not fail, has failed too often, or is to end."""
        delay = self._delay
        for left in reversed(range(self._retries + 1)):
            try:
                if (found := self._work()) is not None:
                    see_through(found)
            except Exception as failure:
                if not left or self._is_to_end():
                    raise
                log.info("Tried again in %g s: %s", delay, words_of(failure))
                if self._pauses(delay):
                    raise
                delay = min(delay * self._backoff, self._longest)
            else:
                return

    def _is_to_end(self) -> bool:
        return self._switch.is_set()

    def _pauses(self, delay: float) -> bool:
        """Wait before the next time; return whether there is to be none."""
        if isinstance(self._clock, SystemClock):
            return self._switch.wait(delay)
        self._clock.wait_until(self._clock.instant() + delay, threading.Event())
        return self._is_to_end()

"""What fires at the beginning, one after the other where that is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pysys_orch.orchestration.calls import Call, Kind
from pysys_orch.orchestration.timeline import Firing


class Barrier:
    """Holds back what is to fire at the beginning, while somebody waits for a call.

    An event that is held back does not fire at its intervals either: it has not begun.

    Attributes:
        is_closed: Whether somebody waits for a call.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self._waits_for: tuple[int, int, Kind] | None = None
        self._held = deque[Firing]()
        self._events = set[int]()

    def close(self, call: Call) -> None:
        """Hold back what comes now, until a call has ended."""
        self._waits_for, self.is_closed = _name(call), True

    def hold(self, firing: Firing) -> None:
        """Hold back a firing."""
        self._held.append(firing)
        self._events.add(firing.event)

    def holds(self, event: int) -> bool:
        """Whether an event has not begun because it is held back."""
        return event in self._events

    def opens(self, call: Call) -> bool:
        """Open it if this call is waited for, which has ended; return whether it is."""
        if _name(call) != self._waits_for:
            return False
        self._waits_for, self.is_closed = None, False
        return True

    def release(self) -> Iterator[Firing]:
        """Yield what was held back, in order, as long as nobody waits again."""
        while self._held and not self.is_closed:
            firing = self._held.popleft()
            self._events.discard(firing.event)
            yield firing

    def clear(self) -> Iterator[Firing]:
        """Yield all that is still held back."""
        self._waits_for, self.is_closed = None, False
        yield from self.release()


def _name(call: Call) -> tuple[int, int, Kind]:
    # One that is given up is another object from then on.
    return call.event, call.ordinal, call.kind

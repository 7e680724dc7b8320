"""The events of a run, and what is known of each while it goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pysys_orch.orchestration.calls import Call, Kind
from pysys_orch.orchestration.description import Event, OnFailure, Overlap
from pysys_orch.orchestration.switch import KillSwitch
from pysys_orch.orchestration.timeline import Firing

#: How many seconds late a firing may be, if its interval is not longer.
PATIENCE = 1.0

# The same for what cron says, which is in minutes.
_CRON_PATIENCE = 60.0

FOREVER = float("inf")
# What has none of these shares one, which stays empty.
_NO_QUEUE = deque[tuple[Firing, Kind]](maxlen=0)
NO_CALLS = dict[Call, None]()
_NO_FAULTS = list[Call]()
_NO_FIRINGS = list[Firing]()

#: Makes what a call does, given its kill switch.
Work = Callable[[KillSwitch], Callable[[], object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An event of a run, ready to be fired.

    Attributes:
        event: What the description says of it.
        work: Makes what it does.
        undo: Makes what takes it back; None if nothing does.
        is_made_for_each: Whether each call needs its own, with a switch of its own.
    """

    event: Event
    work: Work
    undo: Work | None = None
    is_made_for_each: bool = False


class Live:
    """An event during a run.

    There may be very many, most of which wait: what is empty is small, or shared.
    """

    __slots__ = (
        "dependents",
        "faults",
        "index",
        "is_plain",
        "number",
        "part",
        "patience",
        "planned",
        "queued",
        "running",
        "tells",
        "work",
    )

    def __init__(self, index: int, part: Part, switch: KillSwitch) -> None:
        event = part.event
        self.index = index
        self.part = part
        self.work = part.work(switch)
        self.patience = _patience(event.interval, is_cron=event.cron is not None)
        # Single operations on these need no lock: workers take calls out of the first.
        self.running = NO_CALLS
        is_queued = event.overlap in {Overlap.QUEUE, Overlap.CANCEL}
        self.queued = deque[tuple[Firing, Kind]]() if is_queued else _NO_QUEUE
        self.dependents: Sequence[Live] = ()
        self.faults: list[Call] = [] if part.undo is not None else _NO_FAULTS
        # What fires later because another event has ended.
        self.planned: list[Firing] = [] if event.after is not None else _NO_FIRINGS
        if part.undo is not None:
            part.undo(switch)  # which says at once if that cannot be
        # What only the run decides on has numbers of its own.
        self.number = 0
        #: Whether a call of it is made, and that is all.
        self.is_plain = (
            part.undo is None
            and not part.is_made_for_each
            and event.timeout_sec is None
            and event.closed is None
            and not event.wait
        )
        #: Whether the run wants to know when a call has ended.
        self.tells = (
            part.undo is not None
            or is_queued
            or event.on_failure.policy is OnFailure.STOP
            or event.closed is not None
            or event.wait
        )

    @property
    def event(self) -> Event:
        """What the description says of it."""
        return self.part.event

    @property
    def is_busy(self) -> bool:
        """Whether it runs, or what it has done is still to be undone."""
        return bool(self.running or self.faults)

    def next_number(self) -> int:
        """Return the number of a firing that only the run decides on."""
        self.number += 1
        return self.number


@lru_cache(256)
def _patience(interval: float | None, *, is_cron: bool) -> float:
    """Return a number that the many events share that have the same."""
    if interval is not None:
        return max(interval, PATIENCE)
    return _CRON_PATIENCE if is_cron else FOREVER

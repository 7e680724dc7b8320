"""The end of a run, whatever its events do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pysys_orch.clock import Clock
from pysys_orch.orchestration.calls import Call, Kind, Outcome
from pysys_orch.orchestration.parts import Live
from pysys_orch.orchestration.stacks import stack_of
from pysys_orch.orchestration.switch import KillSwitch
from pysys_orch.orchestration.timeline import Timeline
from pysys_orch.orchestration.underway import LOOK_EVERY, Underway, switch_off

#: How long a teardown event without a limit of its own may take, in seconds.
TEARDOWN_LIMIT = 600.0


class Closing:
    """Brings a run to its end: nothing fires any more but what it does.

    Args:
        live: The events of the run.
        underway: Its calls.
        timeline: When what fired.
        clock: What tells the time, and waits.
        switch: The kill switch of the run.
        is_aborting: Tells whether the run is to end because all is.
    """

    def __init__(
        self,
        live: Sequence[Live],
        underway: Underway,
        *,
        timeline: Timeline,
        clock: Clock,
        switch: KillSwitch,
        is_aborting: Callable[[], bool],
    ) -> None:
        self._live = live
        self._underway = underway
        self._timeline = timeline
        self._clock = clock
        self._switch = switch
        self._is_aborting = is_aborting

    def close(self, *, is_on_time: bool) -> None:
        """End what runs, undo faults, and fire teardown events, each after the other.

        Args:
            is_on_time: Whether the run ends because its time is over: then what was due
                is begun, however little time there was for it.
        """
        running = [call for live in self._live for call in tuple(live.running)]
        if is_on_time:
            grace = max(map(self._grace_of, running), default=0.0)
            self._underway.wait_for(lambda: all(map(self._is_begun, running)), grace)
        self._end(running)
        for call in self._underway.others():
            self._see_through(call)
        self._undo_faults()
        for index in self._timeline.teardown():
            live = self._live[index]
            self._do(live, Kind.TEARDOWN, live.next_number())
        self._underway.wait_for_records()

    def _end(self, running: Sequence[Call]) -> None:
        """Have calls end, each within its grace."""
        self._switch.cancel()
        for call in running:
            switch_off(call)
            if not call.started:
                self._underway.end_hard(call, Outcome.CANCELLED)
        begin = self._clock.instant()
        for call in sorted(running, key=self._grace_of):
            left = begin + self._grace_of(call) - self._clock.instant()
            if not self._underway.wait_for_end(call, left):
                self._underway.give_up(call, Outcome.ABANDONED)

    def _undo_faults(self) -> None:
        faults = [(each, live) for live in self._live for each in live.faults]
        for fault, live in sorted(faults, key=lambda each: -each[0].started):
            if fault.is_made:
                self._do(live, Kind.UNDO, fault.ordinal)

    def _do(self, live: Live, kind: Kind, ordinal: int) -> None:
        work = live.part.undo if kind is Kind.UNDO else live.part.work
        if work is not None:
            phase = self._timeline.phase(self._clock.instant() - self._underway.begin)
            self._see_through(
                self._underway.make_apart(live, kind, work, ordinal, phase)
            )

    def _see_through(self, call: Call) -> None:
        """Wait until a call has ended, for as long as it may take."""
        event = self._live[call.event].event
        home = self._underway.home(call)
        limit = event.timeout_sec or TEARDOWN_LIMIT
        begin = self._clock.instant()

        def is_over() -> bool:
            if call not in home:
                return True
            aborting = self._is_aborting()
            return aborting and self._clock.instant() > begin + event.grace_sec

        self._underway.wait_for(is_over, limit)
        if call in home:
            now = self._clock.instant()
            call.ruling, call.limit = Outcome.TIMED_OUT, round(now - begin, 1)
            call.stack = stack_of(call)
            self._underway.cancel(call)
            grace = LOOK_EVERY if now < begin + limit else event.grace_sec
            if not self._underway.wait_for_end(call, grace):
                self._underway.give_up(call, Outcome.TIMED_OUT)

    def _is_begun(self, call: Call) -> bool:
        return call.started > 0 or call not in self._underway.home(call)

    def _grace_of(self, call: Call) -> float:
        return self._live[call.event].event.grace_sec

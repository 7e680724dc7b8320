"""Fires events on time, and brings the run to its end whatever they do."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any

from pysys_orch.clock import Clock, wake_on_time
from pysys_orch.orchestration.barrier import Barrier
from pysys_orch.orchestration.calls import Call, Kind, Outcome
from pysys_orch.orchestration.closing import TEARDOWN_LIMIT, Closing
from pysys_orch.orchestration.description import (
    Description,
    Event,
    On,
    OnFailure,
    Overlap,
)
from pysys_orch.orchestration.journal import Recorder
from pysys_orch.orchestration.parts import FOREVER, Live, Part, Work
from pysys_orch.orchestration.stacks import stack_of
from pysys_orch.orchestration.switch import KillSwitch
from pysys_orch.orchestration.timeline import Firing, Timeline
from pysys_orch.orchestration.underway import LOOK_EVERY, Underway, Workers

log = logging.getLogger("pysys.orch.orchestration")

# So much is fired before anything else is looked at; and if so many calls wait to be
# made, whoever makes them goes first.
_AT_ONCE = 256
_MAKE_WAY = 50e-6
# Each time one looks into an enumeration it takes a while, and firings are many.
_SCHEDULED = Kind.SCHEDULED
_NOTHING: Mapping[int, Any] = MappingProxyType({})
_PROGRESS = (10.0, 600.0)
_STOPPED = 0.5


class Why(StrEnum):
    """Why a run has ended."""

    TIME = "its time was over"
    SWITCH = "its kill switch was set"
    FAILURE = "an event failed that stops it"
    ABORT = "it was aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended.

    Attributes:
        why: Why.
        at: When, in seconds since the beginning.
        stopped_by: The event whose failure ended it; empty if none did.
        was_killed: Whether an event has set the kill switch, however late.
    """

    why: Why
    at: float
    stopped_by: str = ""
    was_killed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        elapsed: How many seconds of it are over.
        upcoming: What fires next; None if nothing does.
        running: How many calls of each event have not ended.
    """

    elapsed: float
    upcoming: Firing | None
    running: Sequence[int]


@dataclass(order=True, slots=True)
class _Planned:
    """Something that is to be done at an instant."""

    at: float
    number: int
    what: Callable[[], None] = field(compare=False)


class Orchestrator:
    """A run.

    Args:
        description: What happens.
        parts: Its events, ready to be fired.
        timeline: When what fires.
        clock: What tells the time, and waits.
        workers: Who makes the calls.
        recorder: Who writes down what becomes of them.
        switch: The kill switch of the run.
        is_aborting: Tells whether the run is to end because all is; None if nobody
            would.
        progress: Called when the run begins, and then at sensible moments, or as often
            as the description says.
        since: How many seconds of the run are over already.
        in_force: What it began with before, and has not undone since: events, each with
            the numbers of these firings, the last one first.
        numbers: The last number that it has given to a firing of an event.
    """

    def __init__(
        self,
        description: Description,
        parts: Sequence[Part],
        *,
        timeline: Timeline,
        clock: Clock,
        workers: Workers,
        recorder: Recorder,
        switch: KillSwitch,
        is_aborting: Callable[[], bool] | None = None,
        progress: Callable[[Progress], None] | None = None,
        since: float = 0.0,
        in_force: Mapping[int, Sequence[int]] = _NOTHING,
        numbers: Mapping[int, int] = _NOTHING,
    ) -> None:
        self._in_force = in_force
        self._timeline = timeline
        self._clock = clock
        self._workers = workers
        self._switch = switch
        self._is_aborting = is_aborting
        self._progress = progress
        self._total = description.total
        self._tell_every = description.status_sec or _every(description.total)
        self._since = since
        self._begin = 0.0
        self._upcoming: Firing | None = None
        self._barrier = Barrier()
        self._agenda: list[_Planned] = []
        self._numbers = itertools.count()
        self._why: Why | None = None
        self._stopped_by = ""
        self._live = [Live(at, part, switch) for at, part in enumerate(parts)]
        names = {each.event.name: each for each in self._live}
        for index, number in numbers.items():
            self._live[index].number = number
        for each in self._live:
            if each.event.after is not None:
                other = names[each.event.after.event]
                other.dependents = (*other.dependents, each)
                other.tells = True
        self._underway = Underway(
            self._live, clock=clock, workers=workers, recorder=recorder, switch=switch
        )

    def run(self) -> Ending:
        """Fire everything, and bring it to its end.

        When it returns, faults are undone, teardown events have fired, and nothing runs
        any more but what cannot be made to end.

        Returns:
            How it ended.
        """
        wake_on_time()
        self._begin = self._clock.instant() - self._since
        self._underway.start(self._begin)
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            self._fire_all()
        finally:
            at = self._clock.instant() - self._begin
            try:
                self._pass_over_the_rest()
                self._closing().close(is_on_time=self._why is Why.TIME)
                self._pass_over_what_follows()
            finally:
                self._switch.cancel()
                self._workers.close()
        return Ending(
            why=self._why or Why.ABORT,
            at=at,
            stopped_by=self._stopped_by,
            was_killed=self._switch.was_set,
        )

    # Firing ---------------------------------------------------------------------------

    def _fire_all(self) -> None:
        end = self._begin + self._total
        stream = iter(self._timeline)
        live, begin, clock, agenda = self._live, self._begin, self._clock, self._agenda
        ended, bell = self._underway.ended, self._underway.bell
        self._upcoming = upcoming = next(stream, None)
        if self._progress is not None:
            self._plan(clock.instant(), self._tell)
        if self._since:
            self._fire_again()
        while True:
            self._upcoming = upcoming
            now = clock.instant()
            self._look(now)
            if self._why is not None:
                return
            for _ in range(_AT_ONCE):
                if upcoming is None or begin + upcoming.due > now or ended:
                    break
                firing, upcoming = upcoming, next(stream, None)
                self._fire(live[firing.event], firing)
            else:
                if self._workers.backlog > _AT_ONCE:
                    clock.wait_until(clock.instant() + _MAKE_WAY, bell)
                continue
            if ended:
                continue
            until = end if upcoming is None else begin + upcoming.due
            if upcoming is None and now >= end:
                if not self._barrier.is_closed or now >= end + TEARDOWN_LIMIT:
                    self._why = Why.TIME
                    return
                # What fires when the run begins does so, however short it is.
                until = now + LOOK_EVERY
            if agenda:
                until = min(until, agenda[0].at)
            if self._is_aborting is not None:
                until = min(until, now + LOOK_EVERY)
            if not clock.wait_until(until, bell):
                # What it was set for is looked at after this.
                bell.clear()

    def _fire_again(self) -> None:
        """Fire what a run begins with that goes on."""
        for live in self._live:
            if live.part.undo is not None:
                for ordinal in self._in_force.get(live.index, ()):
                    self._undo_apart(live, live.part.undo, ordinal)
        for live in self._live:
            if live.event.at_resume:
                phase = self._timeline.phase(self._since)
                firing = Firing(self._since, live.index, live.next_number(), phase)
                self._submit(live, firing, FOREVER, Kind.RESUME)
            # Users who were there when the run was killed go on.
            closed = live.event.closed
            if closed is not None and (live.event.start_after or 0.0) < self._since:
                self._fire_users(live, closed.users)

    def _look(self, now: float) -> None:
        """Do what is to be done by now, apart from the timeline."""
        # What another process sets, `_watch` notices.
        if self._switch.is_noticed:
            self._why = self._why or Why.SWITCH
        if self._is_aborting is not None and self._is_aborting():
            self._why = self._why or Why.ABORT
        ended, agenda = self._underway.ended, self._agenda
        while ended and self._why is None:
            self._follow(ended.popleft())
        while agenda and agenda[0].at <= now and self._why is None:
            heapq.heappop(agenda).what()

    def _fire(self, live: Live, firing: Firing) -> None:
        """Have what the timeline says done, unless it is too late or still running."""
        if self._barrier.is_closed and self._is_held_back(live, firing):
            return
        now = self._clock.instant()
        due = self._begin + firing.due
        # The first one waits as long as it has to: a run needs its beginning.
        latest = due + live.patience if firing.ordinal > 1 else FOREVER
        if now > latest:
            self._underway.pass_over(live, firing, Outcome.MISSED)
        elif not live.is_busy or self._may_overlap(live, firing, _SCHEDULED):
            self._submit(live, firing, latest, _SCHEDULED)
            if not live.is_plain and live.event.closed is not None:
                self._fire_users(live, live.event.closed.users - 1)

    def _is_held_back(self, live: Live, firing: Firing) -> bool:
        """Say whether a firing waits for another one that the run begins with."""
        if not firing.due:
            self._barrier.hold(firing)
        elif self._barrier.holds(live.index):
            self._underway.pass_over(live, firing, Outcome.SKIPPED)
        else:
            return False
        return True

    def _fire_held(self) -> None:
        for held in self._barrier.release():
            due = self._clock.instant() - self._begin
            phase = self._timeline.phase(due)
            live, firing = self._live[held.event], held._replace(due=due, phase=phase)
            if _is_in_time(live.event, due, phase):
                self._fire(live, firing)
            else:
                self._underway.pass_over(live, firing, Outcome.CANCELLED)

    def _fire_users(self, live: Live, number: int) -> None:
        live.number = max(1, live.number)
        for _ in range(number):
            self._fire_user(live)

    def _fire_user(self, live: Live) -> None:
        """Have one of an event's users call it again."""
        event = live.event
        due = self._clock.instant() - self._begin
        phase = self._timeline.phase(due)
        is_enough = event.count is not None and live.number >= event.count
        if is_enough or not _is_in_time(event, due, phase):
            return
        firing = Firing(due, live.index, live.next_number(), phase)
        self._submit(live, firing, FOREVER, _SCHEDULED)

    def _submit(self, live: Live, firing: Firing, latest: float, kind: Kind) -> None:
        call = Call(
            live.index,
            firing.ordinal,
            firing.phase,
            self._begin + firing.due,
            live.work,
            latest,
            kind,
        )
        self._underway.add(live, call)
        if not live.is_plain:
            self._prepare(live, call)
        self._workers.submit(call)

    def _prepare(self, live: Live, call: Call) -> None:
        """Do what a call needs before it is made, and what will be done to it."""
        if live.part.is_made_for_each:
            self._underway.equip(call, live.part.work)
        if live.part.undo is not None:
            live.faults.append(call)
            self._underway.announce(call)
        if live.event.timeout_sec is not None:
            self._plan_time_out(call, live.event.timeout_sec)
        if live.event.wait and call.ordinal == 1 and call.kind is _SCHEDULED:
            self._barrier.close(call)

    def _may_overlap(self, live: Live, firing: Firing, kind: Kind) -> bool:
        """Say whether an event that still runs is fired again, at once."""
        event = live.event
        match event.overlap:
            case Overlap.PARALLEL if len(live.running) < event.max_parallel:
                return True
            case Overlap.QUEUE if len(live.queued) < event.max_queued:
                live.queued.append((firing, kind))
            case Overlap.CANCEL:
                self._empty_queue(live)
                live.queued.append((firing, kind))
                for call in tuple(live.running):
                    self._underway.cancel(call)
                    call.limit = event.grace_sec
                    self._plan_end(call)
            case _:
                self._underway.pass_over(live, firing, Outcome.SKIPPED, kind)
        return False

    def _empty_queue(self, live: Live) -> None:
        while live.queued:
            firing, kind = live.queued.popleft()
            self._underway.pass_over(live, firing, Outcome.CANCELLED, kind)

    # What follows ---------------------------------------------------------------------

    def _follow(self, call: Call) -> None:
        """Do what the end of a call has others do."""
        live = self._live[call.event]
        if call.kind in {Kind.UNDO, Kind.TEARDOWN}:
            return
        failed = call.outcome.is_failure
        if failed and live.event.on_failure.policy is OnFailure.STOP:
            self._why = self._why or Why.FAILURE
            self._stopped_by = self._stopped_by or live.event.name
            # What follows it is passed over with all the rest.
            self._underway.ended.append(call)
            return
        if live.part.undo is not None:
            if not call.is_made:
                live.faults.remove(call)
            else:
                lasts = 0.0 if failed else live.event.duration_sec or 0.0
                self._plan(call.ended + lasts, partial(self._undo, live, call))
        for each, firing in self._following(call):
            self._fire_after(each, firing)
        self._fire_queued(live)
        if live.event.closed is not None and call.kind is _SCHEDULED:
            at = call.ended + live.event.closed.think_sec
            if at < self._begin + self._total:
                self._plan(at, partial(self._fire_user, live))
        if self._barrier.opens(call):
            self._fire_held()

    def _fire_queued(self, live: Live) -> None:
        if live.queued and not live.is_busy:
            firing, kind = live.queued.popleft()
            self._submit(live, firing, FOREVER, kind)

    def _following(self, call: Call) -> Iterator[tuple[Live, Firing]]:
        """Yield what fires because a call has ended."""
        failed = call.outcome.is_failure
        if call.outcome is Outcome.OK or failed:
            for live in self._live[call.event].dependents:
                firing = self._firing_after(live, failed=failed)
                if firing is not None:
                    yield live, firing

    def _firing_after(self, live: Live, *, failed: bool) -> Firing | None:
        event, after = live.event, live.event.after
        if after is None or after.on is (On.SUCCESS if failed else On.FAILURE):
            return None
        due = self._clock.instant() + after.delay_sec - self._begin
        phase = self._timeline.phase(due)
        if not _is_in_time(event, due, phase):
            return None
        if event.count is not None and live.number >= event.count:
            return None
        return Firing(due, live.index, live.next_number(), phase)

    def _fire_after(self, live: Live, firing: Firing) -> None:
        after = live.event.after
        if after is not None and after.delay_sec:
            live.planned.append(firing)
            at = self._begin + firing.due
            self._plan(at, partial(self._fire_planned, live, firing))
        else:
            self._fire_now(live, firing)

    def _fire_planned(self, live: Live, firing: Firing) -> None:
        live.planned.remove(firing)
        self._fire_now(live, firing)

    def _fire_now(self, live: Live, firing: Firing) -> None:
        if not live.is_busy or self._may_overlap(live, firing, Kind.AFTER):
            self._submit(live, firing, FOREVER, Kind.AFTER)

    def _undo(self, live: Live, fault: Call) -> None:
        if fault in live.faults and live.part.undo is not None:
            call = self._undo_apart(live, live.part.undo, fault.ordinal)
            live.faults.remove(fault)
            self._plan_time_out(call, live.event.timeout_sec or TEARDOWN_LIMIT)

    def _undo_apart(self, live: Live, undo: Work, ordinal: int) -> Call:
        phase = self._timeline.phase(self._clock.instant() - self._begin)
        return self._underway.make_apart(live, Kind.UNDO, undo, ordinal, phase)

    # What does not end ----------------------------------------------------------------

    def _plan(self, at: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, _Planned(at, next(self._numbers), what))

    def _plan_time_out(self, call: Call, limit: float, *, more: float = 0.0) -> None:
        """Have a call end when its time is over, some seconds *more* from now."""
        at = self._clock.instant() + (more or limit)
        # What has ended is not to wait for its time-out, with all that it holds.
        self._plan(at, partial(self._time_out, weakref.ref(call), limit, at))

    def _time_out(self, held: weakref.ref[Call], limit: float, at: float) -> None:
        """End a call whose time is over, if it has been running for so long."""
        call = held()
        if call is None or call not in self._underway.home(call):
            return
        event = self._live[call.event].event
        now = self._clock.instant()
        begun = call.started or now
        if begun + limit > now:
            self._plan_time_out(call, limit, more=begun + limit - now)
            return
        if now - at > _STOPPED:
            # This whole process stood still: the call may be about to end.
            self._plan_time_out(call, limit, more=_STOPPED)
            return
        call.ruling, call.limit = Outcome.TIMED_OUT, limit
        call.stack = stack_of(call)
        log.warning(
            "%s: firing %d has not ended within %g s, and is told to\n%s",
            event.name,
            call.ordinal,
            limit,
            call.stack,
        )
        self._underway.cancel(call)
        self._plan_end(call)

    def _plan_end(self, call: Call) -> None:
        """Have a call that was told to end do so, or do without it."""
        at = self._clock.instant() + self._live[call.event].event.grace_sec
        self._plan(at, partial(self._underway.end_hard, call, Outcome.TIMED_OUT))

    # The end --------------------------------------------------------------------------

    def _watch(self) -> None:
        self._switch.wait()
        self._underway.bell.set()

    def _pass_over_the_rest(self) -> None:
        """Write down what has waited, and does not fire any more."""
        for firing in self._barrier.clear():
            live = self._live[firing.event]
            self._underway.pass_over(live, firing, Outcome.CANCELLED)
        for live in self._live:
            self._empty_queue(live)
            for firing in live.planned:
                self._underway.pass_over(live, firing, Outcome.CANCELLED, Kind.AFTER)

    def _pass_over_what_follows(self) -> None:
        for call in tuple(self._underway.ended):
            if call.kind not in {Kind.UNDO, Kind.TEARDOWN}:
                for live, firing in self._following(call):
                    outcome = Outcome.CANCELLED
                    self._underway.pass_over(live, firing, outcome, Kind.AFTER)

    def _closing(self) -> Closing:
        self._underway.tells_all = True
        return Closing(
            self._live,
            self._underway,
            timeline=self._timeline,
            clock=self._clock,
            switch=self._switch,
            is_aborting=self._is_aborting or (lambda: False),
        )

    # Progress -------------------------------------------------------------------------

    def _tell(self) -> None:
        now = self._clock.instant()
        self._plan(now + self._tell_every, self._tell)
        if self._progress is not None:
            self._progress(self.progress(now - self._begin))

    def progress(self, elapsed: float) -> Progress:
        """Return how far the run is.

        Args:
            elapsed: How many seconds of it are over.
        """
        running = [len(each.running) for each in self._live]
        return Progress(elapsed=elapsed, upcoming=self._upcoming, running=running)


def _is_in_time(event: Event, due: float, phase: str) -> bool:
    """Return whether an event may fire then."""
    begin, end = event.start_after or 0.0, event.end_after
    if due < begin or (end is not None and due > end):
        return False
    return not event.phases or phase in event.phases


def _every(total: float) -> float:
    shortest, longest = _PROGRESS
    return min(max(total / 20, shortest), longest)

"""Fires events on time, and brings the run to its end whatever they do."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Protocol

from pysys_orch.clock import Bell, Clock, wake_on_time
from pysys_orch.orchestration.barrier import Barrier
from pysys_orch.orchestration.calls import Call, Done, Kind, Outcome
from pysys_orch.orchestration.description import (
    Closed,
    Description,
    On,
    OnFailure,
    Overlap,
)
from pysys_orch.orchestration.journal import Recorder
from pysys_orch.orchestration.parts import FOREVER, NO_CALLS, Live, Part, Work
from pysys_orch.orchestration.stacks import stack_of
from pysys_orch.orchestration.switch import KillSwitch
from pysys_orch.orchestration.timeline import Firing, Timeline

log = logging.getLogger("pysys.orch.orchestration")

#: How long a teardown event without a limit of its own may take, in seconds.
TEARDOWN_LIMIT = 600.0

_LOOK_EVERY = 0.5
# So much is fired before anything else is looked at; and if so many calls wait to be
# made, whoever makes them goes first.
_AT_ONCE = 256
_MAKE_WAY = 50e-6
# Each time one looks into an enumeration it takes a while, and firings are many.
_SCHEDULED, _UNDO, _TEARDOWN = Kind.SCHEDULED, Kind.UNDO, Kind.TEARDOWN
_PROGRESS = (10.0, 600.0)
_KILL_TAKES = 5.0
_STOPPED = 0.5


class Why(StrEnum):
    """Why a run has ended."""

    TIME = "its time was over"
    SWITCH = "its kill switch was set"
    FAILURE = "an event failed that stops it"
    ABORT = "it was aborted"


class Workers(Protocol):
    """Who makes calls."""

    @property
    def backlog(self) -> int:
        """How many calls wait for somebody who makes them."""
        ...

    def start(self, done: Done) -> None:
        """Begin; *done* is called after each call."""
        ...

    def submit(self, call: Call) -> None:
        """Have a call made."""
        ...

    def apart(self, call: Call) -> None:
        """Have a call made at once, whoever else is waiting."""
        ...

    def give_up(self, call: Call) -> None:
        """Do without what makes a call that does not end."""
        ...

    def close(self) -> None:
        """End, without waiting for calls."""
        ...


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
        progress: Called at sensible moments, with the seconds since the beginning and
            the next firing.
        since: How many seconds of the run are over already.
        in_force: What it began with, the first time, and has not undone since: names.
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
        progress: Callable[[float, Firing | None], None] | None = None,
        since: float = 0.0,
        in_force: Collection[str] = (),
    ) -> None:
        self._in_force = in_force
        self._timeline = timeline
        self._clock = clock
        self._workers = workers
        self._recorder = recorder
        self._switch = switch
        self._is_aborting = is_aborting
        self._progress = progress
        self._total = description.total
        self._since = since
        self._begin = 0.0
        self._upcoming: Firing | None = None
        self._wake = Bell()
        self._ended = deque[Call]()
        self._others = dict[Call, None]()
        self._noted = dict[Call, None]()
        self._barrier = Barrier()
        self._agenda: list[_Planned] = []
        self._numbers = itertools.count()
        self._why: Why | None = None
        self._stopped_by = ""
        self._is_ending = False
        self._live = [Live(at, part, switch) for at, part in enumerate(parts)]
        names = {each.event.name: each for each in self._live}
        for each in self._live:
            if each.event.after is not None:
                other = names[each.event.after.event]
                other.dependents = (*other.dependents, each)
                other.tells = True

    def run(self) -> Ending:
        """Fire everything, and bring it to its end.

        When it returns, faults are undone, teardown events have fired, and nothing runs
        any more but what cannot be made to end.

        Returns:
            How it ended.
        """
        wake_on_time()
        self._begin = self._clock.instant() - self._since
        self._workers.start(self._done)
        self._recorder.start(self._begin)
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            self._fire_all()
        finally:
            self._is_ending = True
            at = self._clock.instant() - self._begin
            try:
                self._end_all()
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
        upcoming = next(stream, None)
        self._plan_progress(clock.instant())
        if self._since:
            self._fire_again()
        while True:
            self._upcoming = upcoming
            now = clock.instant()
            self._look(now)
            if self._why is not None:
                return
            for _ in range(_AT_ONCE):
                if upcoming is None or begin + upcoming.due > now or self._ended:
                    break
                firing, upcoming = upcoming, next(stream, None)
                self._fire(live[firing.event], firing)
            else:
                if self._workers.backlog > _AT_ONCE:
                    clock.wait_until(clock.instant() + _MAKE_WAY, self._wake)
                continue
            if self._ended:
                continue
            until = end if upcoming is None else begin + upcoming.due
            if upcoming is None and now >= end:
                if not self._barrier.is_closed or now >= end + TEARDOWN_LIMIT:
                    self._why = Why.TIME
                    return
                # What fires when the run begins does so, however short it is.
                until = now + _LOOK_EVERY
            if agenda:
                until = min(until, agenda[0].at)
            if self._is_aborting is not None:
                until = min(until, now + _LOOK_EVERY)
            if not clock.wait_until(until, self._wake):
                # What it was set for is looked at after this.
                self._wake.clear()

    def _fire_again(self) -> None:
        """Fire what a run begins with that goes on."""
        for live in self._live:
            if live.part.undo is not None and live.event.name in self._in_force:
                self._other(live, Kind.UNDO, live.part.undo, live.next_number())
        for live in self._live:
            if live.event.at_resume:
                phase = self._timeline.phase(self._since)
                firing = Firing(self._since, live.index, live.next_number(), phase)
                self._submit(live, firing, FOREVER, Kind.RESUME)
            if live.event.closed is not None:
                self._begin_again(live, live.event.closed)

    def _begin_again(self, live: Live, closed: Closed) -> None:
        """Have the users go on who were there when the run was killed."""
        if (live.event.start_after or 0.0) < self._since:
            for _ in range(closed.users):
                self._fire_user(live)

    def _look(self, now: float) -> None:
        """Do what is to be done by now, apart from the timeline."""
        # What another process sets, `_watch` notices.
        if self._switch.is_noticed:
            self._why = self._why or Why.SWITCH
        if self._is_aborting is not None and self._is_aborting():
            self._why = self._why or Why.ABORT
        while self._ended:
            self._follow(self._ended.popleft())
        while self._agenda and self._agenda[0].at <= now:
            heapq.heappop(self._agenda).what()

    def _fire(self, live: Live, firing: Firing) -> None:
        """Have what the timeline says done, unless it is too late or still running."""
        if self._barrier.is_closed and self._is_held_back(live, firing):
            return
        now = self._clock.instant()
        due = self._begin + firing.due
        # The first one waits as long as it has to: a run needs its beginning.
        latest = due + live.patience if firing.ordinal > 1 else FOREVER
        if now > latest:
            self._pass_over(live, firing, Outcome.MISSED)
        elif not live.is_busy or self._may_overlap(live, firing, _SCHEDULED):
            self._submit(live, firing, latest, _SCHEDULED)

    def _is_held_back(self, live: Live, firing: Firing) -> bool:
        """Say whether a firing waits for another one that the run begins with."""
        if not firing.due:
            self._barrier.hold(firing)
        elif self._barrier.holds(live.index):
            self._pass_over(live, firing, Outcome.SKIPPED)
        else:
            return False
        return True

    def _fire_held(self) -> None:
        for firing in self._barrier.release():
            due = self._clock.instant() - self._begin
            live = self._live[firing.event]
            self._submit(live, firing._replace(due=due), FOREVER, _SCHEDULED)

    def _fire_user(self, live: Live) -> None:
        """Have one of an event's users call it again."""
        event = live.event
        due = self._clock.instant() - self._begin
        is_over = event.end_after is not None and due > event.end_after
        if is_over or (event.count is not None and live.number >= event.count):
            return
        phase = self._timeline.phase(due)
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
        if live.running is NO_CALLS:
            live.running = {}
        live.running[call] = None
        if not live.is_plain:
            self._prepare(live, call)
        self._workers.submit(call)

    def _prepare(self, live: Live, call: Call) -> None:
        """Do what a call needs before it is made, and what will be done to it."""
        if live.part.is_made_for_each:
            call.switch = KillSwitch(self._switch)
            call.work = live.part.work(call.switch)
            call.kill = getattr(call.work, "kill", None)
        if live.part.undo is not None:
            live.faults.append(call)
        if live.event.timeout_sec is not None:
            self._plan_time_out(call, live.event.timeout_sec)
        if call.ordinal > 1 or call.kind is not _SCHEDULED:
            return
        if live.event.wait:
            self._barrier.close(call)
        if live.event.closed is not None:
            live.number = 1
            for _ in range(1, live.event.closed.users):
                self._fire_user(live)

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
                    self._cancel(call)
                    call.limit = event.grace_sec
                    at = self._clock.instant() + event.grace_sec
                    self._plan(at, partial(self._end_hard, call, Outcome.TIMED_OUT))
            case _:
                self._pass_over(live, firing, Outcome.SKIPPED, kind)
        return False

    def _empty_queue(self, live: Live) -> None:
        while live.queued:
            firing, kind = live.queued.popleft()
            self._pass_over(live, firing, Outcome.CANCELLED, kind)

    def _pass_over(
        self,
        live: Live,
        firing: Firing,
        outcome: Outcome,
        kind: Kind = Kind.SCHEDULED,
    ) -> None:
        """Write down a firing of which nothing comes."""
        due = self._begin + firing.due
        call = Call(live.index, firing.ordinal, firing.phase, due, live.work, kind=kind)
        call.outcome = outcome
        self._recorder.add(call)

    # What follows ---------------------------------------------------------------------

    def _done(self, call: Call) -> None:
        """Take note of a call that has ended; called where it was made."""
        live = self._live[call.event]
        # Who sees that it has ended waits for this, too.
        self._noted[call] = None
        try:
            del self._home(call)[call]
        except KeyError:
            del self._noted[call]
            return  # it was given up
        self._recorder.add(call)
        del self._noted[call]
        if live.tells or self._is_ending or call.kind is not _SCHEDULED:
            self._ended.append(call)
            self._wake.set()

    def _home(self, call: Call) -> dict[Call, None]:
        if call.kind is _UNDO or call.kind is _TEARDOWN:
            return self._others
        return self._live[call.event].running

    def _follow(self, call: Call) -> None:
        """Do what the end of a call has others do."""
        live = self._live[call.event]
        if call.kind in {Kind.UNDO, Kind.TEARDOWN}:
            return
        failed = call.outcome.is_failure
        if failed and live.event.on_failure.policy is OnFailure.STOP:
            self._why = self._why or Why.FAILURE
            self._stopped_by = self._stopped_by or live.event.name
        if live.part.undo is not None:
            if not call.is_made:
                live.faults.remove(call)
            else:
                lasts = 0.0 if failed else live.event.duration_sec or 0.0
                self._plan(call.ended + lasts, partial(self._undo, live, call))
        if call.outcome is Outcome.OK or failed:
            for each in live.dependents:
                self._fire_after(each, failed=failed)
        self._fire_queued(live)
        if self._is_ending:
            return
        if live.event.closed is not None:
            at = call.ended + live.event.closed.think_sec
            if at < self._begin + self._total:
                self._plan(at, partial(self._fire_user, live))
        if self._barrier.opens(call):
            self._fire_held()

    def _fire_queued(self, live: Live) -> None:
        if live.queued and not live.is_busy and not self._is_ending:
            firing, kind = live.queued.popleft()
            self._submit(live, firing, FOREVER, kind)

    def _fire_after(self, live: Live, *, failed: bool) -> None:
        event, after = live.event, live.event.after
        if after is None or after.on is (On.SUCCESS if failed else On.FAILURE):
            return
        due = self._clock.instant() + after.delay_sec - self._begin
        phase = self._timeline.phase(due)
        begin, end = event.start_after or 0.0, event.end_after
        if due < begin or (end is not None and due > end):
            return
        if event.phases and phase not in event.phases:
            return
        if event.count is not None and live.number >= event.count:
            return
        firing = Firing(due, live.index, live.next_number(), phase)
        if self._is_ending:
            self._pass_over(live, firing, Outcome.CANCELLED, Kind.AFTER)
        elif after.delay_sec:
            live.planned.append(firing)
            at = self._begin + due
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
            call = self._other(live, Kind.UNDO, live.part.undo, fault.ordinal)
            live.faults.remove(fault)
            self._plan_time_out(call, live.event.timeout_sec or TEARDOWN_LIMIT)

    def _other(self, live: Live, kind: Kind, work: Work, ordinal: int) -> Call:
        """Have something done that is not in the timeline."""
        now = self._clock.instant()
        phase = self._timeline.phase(now - self._begin)
        switch = KillSwitch(self._switch)
        call = Call(live.index, ordinal, phase, now, work(switch), FOREVER, kind)
        call.switch = switch
        call.kill = getattr(call.work, "kill", None)
        self._others[call] = None
        # Whatever hangs elsewhere, this is done.
        self._workers.apart(call)
        return call

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
        if call is None or call not in self._home(call):
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
        self._cancel(call)
        at = now + event.grace_sec
        self._plan(at, partial(self._end_hard, call, Outcome.TIMED_OUT))

    @staticmethod
    def _cancel(call: Call) -> None:
        call.is_cancelled = True
        _switch_off(call)

    def _end_hard(self, call: Call, outcome: Outcome) -> None:
        """End a call that does not end by itself, or do without it."""
        home = self._home(call)
        if call not in home:
            return
        call.ruling = call.ruling or outcome
        call.stack = call.stack or stack_of(call)
        if call.kill is not None:
            call.kill()
        else:
            self._leave(call)

    def _leave(self, call: Call) -> None:
        """Do without a call that does not end."""
        try:
            del self._home(call)[call]
        except KeyError:
            return
        if call.is_made:
            self._workers.give_up(call)
        else:
            call.is_cancelled = True
            call.ruling = Outcome.CANCELLED
        left = call.left_behind(call.ruling or Outcome.ABANDONED, self._clock.instant())
        faults = self._live[call.event].faults
        if call in faults:
            faults[faults.index(call)] = left
        self._recorder.add(left)
        self._follow(left)

    # The end --------------------------------------------------------------------------

    def _watch(self) -> None:
        self._switch.wait()
        self._wake.set()

    def _end_all(self) -> None:
        for firing in self._barrier.clear():
            self._pass_over(self._live[firing.event], firing, Outcome.CANCELLED)
        for live in self._live:
            self._empty_queue(live)
            for firing in live.planned:
                self._pass_over(live, firing, Outcome.CANCELLED, Kind.AFTER)
        self._end_running()
        for call in tuple(self._others):
            self._see_through(call)
        faults = [(each, live) for live in self._live for each in live.faults]
        for fault, live in sorted(faults, key=lambda each: -each[0].started):
            if fault.is_made and live.part.undo is not None:
                self._see_through(
                    self._other(live, Kind.UNDO, live.part.undo, fault.ordinal)
                )
        for index in self._timeline.teardown():
            live = self._live[index]
            number = live.next_number()
            self._see_through(self._other(live, Kind.TEARDOWN, live.part.work, number))
        self._wait_for(lambda: not self._noted, _KILL_TAKES)

    def _end_running(self) -> None:
        running = [call for live in self._live for call in tuple(live.running)]
        if self._why is Why.TIME:
            # What was due is begun, however little time there was for it.
            grace = max(map(self._grace_of, running), default=0.0)
            self._wait_for(lambda: all(each.started for each in running), grace)
        self._switch.cancel()
        for call in running:
            _switch_off(call)
            if not call.started:
                call.is_cancelled = True
        begin = self._clock.instant()
        for call in sorted(running, key=self._grace_of):
            home = self._home(call)
            left = begin + self._grace_of(call) - self._clock.instant()
            self._wait_for(partial(_is_gone, call, home), left)
            self._give_up(call, Outcome.ABANDONED)

    def _grace_of(self, call: Call) -> float:
        return self._live[call.event].event.grace_sec

    def _see_through(self, call: Call) -> None:
        """Wait until a call has ended, for as long as it may take."""
        event = self._live[call.event].event
        home = self._home(call)
        limit = event.timeout_sec or TEARDOWN_LIMIT
        begin = self._clock.instant()

        def is_over() -> bool:
            if call not in home:
                return True
            aborting = self._is_aborting is not None and self._is_aborting()
            return aborting and self._clock.instant() > begin + event.grace_sec

        self._wait_for(is_over, limit)
        if call in home:
            now = self._clock.instant()
            call.ruling, call.limit = Outcome.TIMED_OUT, round(now - begin, 1)
            call.stack = stack_of(call)
            self._cancel(call)
            grace = _LOOK_EVERY if now < begin + limit else event.grace_sec
            self._wait_for(partial(_is_gone, call, home), grace)
            self._give_up(call, Outcome.TIMED_OUT)

    def _give_up(self, call: Call, outcome: Outcome) -> None:
        home = self._home(call)
        self._end_hard(call, outcome)
        if call in home:
            # It was killed, and is about to end.
            self._wait_for(partial(_is_gone, call, home), _KILL_TAKES)
            self._leave(call)

    def _wait_for(self, is_over: Callable[[], bool], limit: float) -> None:
        """Wait until something is over that the end of calls brings about."""
        until = self._clock.instant() + limit
        while not is_over() and (now := self._clock.instant()) < until:
            self._wake.clear()
            self._ended.clear()
            if not is_over():
                self._clock.wait_until(min(until, now + _LOOK_EVERY), self._wake)

    # Progress -------------------------------------------------------------------------

    def _plan_progress(self, now: float) -> None:
        if self._progress is None:
            return
        shortest, longest = _PROGRESS
        every = min(max(self._total / 20, shortest), longest)

        def tell() -> None:
            at = self._clock.instant()
            self._plan(at + every, tell)
            if self._progress is not None:
                self._progress(at - self._begin, self._upcoming)

        self._plan(now + every, tell)


def _switch_off(call: Call) -> None:
    # Once a call has ended, who writes it down takes its switch away.
    switch = call.switch
    if switch is not None:
        switch.cancel()


def _is_gone(call: Call, home: Collection[Call]) -> bool:
    return call not in home

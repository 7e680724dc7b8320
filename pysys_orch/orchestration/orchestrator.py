"""Fires events on time, and brings the run to its end whatever they do."""

from __future__ import annotations

import heapq
import itertools
import logging
import sys
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Protocol

from pysys_orch.clock import Bell, Clock, wake_on_time
from pysys_orch.orchestration.calls import Call, Done, Kind, Outcome
from pysys_orch.orchestration.description import (
    Description,
    Event,
    On,
    OnFailure,
    Overlap,
)
from pysys_orch.orchestration.journal import Recorder
from pysys_orch.orchestration.switch import KillSwitch
from pysys_orch.orchestration.timeline import Firing, Timeline

log = logging.getLogger("pysys.orch.orchestration")

#: How many seconds late a firing may be, if its interval is not longer.
PATIENCE = 1.0

# The same for what cron says, which is in minutes.
_CRON_PATIENCE = 60.0

#: How long a teardown event without a limit of its own may take, in seconds.
TEARDOWN_LIMIT = 600.0

_FOREVER = float("inf")
# What has none of these shares one, which stays empty.
_NO_QUEUE = deque[tuple[Firing, Kind]](maxlen=0)
_NO_CALLS = dict[Call, None]()
_NO_FAULTS = list[Call]()
_NO_FIRINGS = list[Firing]()
_LOOK_EVERY = 0.5
_AT_ONCE = 256
_PROGRESS = (10.0, 600.0)
_KILL_TAKES = 5.0
_STOPPED = 0.5
_PYTHONS = {threading.__file__}


class Why(StrEnum):
    """Why a run has ended."""

    TIME = "its time was over"
    SWITCH = "its kill switch was set"
    FAILURE = "an event failed that stops it"
    ABORT = "it was aborted"


class Workers(Protocol):
    """Who makes calls."""

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


class _Live:
    """An event during a run.

    There may be very many, most of which wait: what is empty is small, or shared.
    """

    __slots__ = (
        "dependents",
        "event",
        "faults",
        "index",
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
        self.event = event
        self.work = part.work(switch)
        self.patience = _patience(event)
        # Single operations on these need no lock: workers take calls out of the first.
        self.running = _NO_CALLS
        is_queued = event.overlap in {Overlap.QUEUE, Overlap.CANCEL}
        self.queued = deque[tuple[Firing, Kind]]() if is_queued else _NO_QUEUE
        self.dependents: Sequence[_Live] = ()
        self.faults: list[Call] = [] if part.undo is not None else _NO_FAULTS
        # What fires later because another event has ended.
        self.planned: list[Firing] = [] if event.after is not None else _NO_FIRINGS
        if part.undo is not None:
            part.undo(switch)  # which says at once if that cannot be
        # What only the run decides on has numbers of its own.
        self.number = 0
        #: Whether the run wants to know when a call has ended.
        self.tells = (
            part.undo is not None
            or is_queued
            or event.on_failure.policy is OnFailure.STOP
        )

    @property
    def is_busy(self) -> bool:
        """Whether it runs, or what it has done is still to be undone."""
        return bool(self.running or self.faults)

    def next_number(self) -> int:
        self.number += 1
        return self.number


def _patience(event: Event) -> float:
    if event.interval is not None:
        return max(event.interval, PATIENCE)
    return _FOREVER if event.cron is None else _CRON_PATIENCE


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
        self._agenda: list[_Planned] = []
        self._numbers = itertools.count()
        self._why: Why | None = None
        self._stopped_by = ""
        self._is_ending = False
        self._live = [_Live(at, part, switch) for at, part in enumerate(parts)]
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
                continue
            if self._ended:
                continue
            until = end if upcoming is None else begin + upcoming.due
            if upcoming is None and now >= end:
                self._why = Why.TIME
                return
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
                self._submit(live, firing, _FOREVER, Kind.RESUME)

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

    def _fire(self, live: _Live, firing: Firing) -> None:
        """Have what the timeline says done, unless it is too late or still running."""
        now = self._clock.instant()
        due = self._begin + firing.due
        # The first one waits as long as it has to: a run needs its beginning.
        latest = due + live.patience if firing.ordinal > 1 else _FOREVER
        if now > latest:
            self._pass_over(live, firing, Outcome.MISSED)
        elif not live.is_busy or self._may_overlap(live, firing, Kind.SCHEDULED):
            self._submit(live, firing, latest, Kind.SCHEDULED)

    def _submit(self, live: _Live, firing: Firing, latest: float, kind: Kind) -> None:
        call = Call(
            live.index,
            firing.ordinal,
            firing.phase,
            self._begin + firing.due,
            live.work,
            latest,
            kind,
        )
        if live.part.is_made_for_each:
            call.switch = KillSwitch(self._switch)
            call.work = live.part.work(call.switch)
            call.kill = getattr(call.work, "kill", None)
        if live.part.undo is not None:
            live.faults.append(call)
        if live.running is _NO_CALLS:
            live.running = {}
        live.running[call] = None
        if live.event.timeout_sec is not None:
            self._plan_time_out(call, live.event.timeout_sec)
        self._workers.submit(call)

    def _may_overlap(self, live: _Live, firing: Firing, kind: Kind) -> bool:
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

    def _empty_queue(self, live: _Live) -> None:
        while live.queued:
            firing, kind = live.queued.popleft()
            self._pass_over(live, firing, Outcome.CANCELLED, kind)

    def _pass_over(
        self,
        live: _Live,
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
        if live.tells or self._is_ending or call.kind is not Kind.SCHEDULED:
            self._ended.append(call)
            self._wake.set()

    def _home(self, call: Call) -> dict[Call, None]:
        if call.kind is Kind.UNDO or call.kind is Kind.TEARDOWN:
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

    def _fire_queued(self, live: _Live) -> None:
        if live.queued and not live.is_busy and not self._is_ending:
            firing, kind = live.queued.popleft()
            self._submit(live, firing, _FOREVER, kind)

    def _fire_after(self, live: _Live, *, failed: bool) -> None:
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

    def _fire_planned(self, live: _Live, firing: Firing) -> None:
        live.planned.remove(firing)
        self._fire_now(live, firing)

    def _fire_now(self, live: _Live, firing: Firing) -> None:
        if not live.is_busy or self._may_overlap(live, firing, Kind.AFTER):
            self._submit(live, firing, _FOREVER, Kind.AFTER)

    def _undo(self, live: _Live, fault: Call) -> None:
        if fault in live.faults and live.part.undo is not None:
            call = self._other(live, Kind.UNDO, live.part.undo, fault.ordinal)
            live.faults.remove(fault)
            self._plan_time_out(call, live.event.timeout_sec or TEARDOWN_LIMIT)

    def _other(self, live: _Live, kind: Kind, work: Work, ordinal: int) -> Call:
        """Have something done that is not in the timeline."""
        now = self._clock.instant()
        phase = self._timeline.phase(now - self._begin)
        switch = KillSwitch(self._switch)
        call = Call(live.index, ordinal, phase, now, work(switch), _FOREVER, kind)
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


def stack_of(call: Call) -> str:
    """Return where a call is, as a traceback does; empty if nobody knows."""
    frame = sys._current_frames().get(call.thread)  # noqa: SLF001 -- it is documented
    if frame is None or not call.started or call.kill is not None:
        return ""
    frames = traceback.extract_stack(frame)
    # What comes before the event itself is ours, or Python's.
    theirs = itertools.dropwhile(_is_ours, frames)
    return "".join(traceback.format_list(list(theirs) or frames))


def _is_ours(frame: traceback.FrameSummary) -> bool:
    folder = Path(__file__).parent
    return Path(frame.filename).parent == folder or frame.filename in _PYTHONS

"""Calls that are under way: begun, ended, told to end, or left alone."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

from pysys_orch.clock import Bell, Clock
from pysys_orch.orchestration.calls import Call, Done, Kind, Outcome
from pysys_orch.orchestration.journal import Recorder
from pysys_orch.orchestration.parts import FOREVER, NO_CALLS, Live, Work
from pysys_orch.orchestration.stacks import stack_of
from pysys_orch.orchestration.switch import KillSwitch
from pysys_orch.orchestration.timeline import Firing

#: How often one looks, in seconds, for what tells nobody.
LOOK_EVERY = 0.5

_KILL_TAKES = 5.0
# Each time one looks into an enumeration it takes a while, and firings are many.
_SCHEDULED, _UNDO, _TEARDOWN = Kind.SCHEDULED, Kind.UNDO, Kind.TEARDOWN


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


class Underway:
    """The calls of a run.

    Args:
        live: Its events.
        clock: What tells the time, and waits.
        workers: Who makes the calls.
        recorder: Who writes down what becomes of them.
        switch: The kill switch of the run.

    Attributes:
        begin: The instant at which the run began.
        bell: Wakes who waits for the end of calls.
        ended: The calls that have ended, and that somebody wants to know of.
        tells_all: Whether somebody wants to know of all of them.
    """

    def __init__(
        self,
        live: Sequence[Live],
        *,
        clock: Clock,
        workers: Workers,
        recorder: Recorder,
        switch: KillSwitch,
    ) -> None:
        self.begin = 0.0
        self.bell = Bell()
        self.ended = deque[Call]()
        self.tells_all = False
        self._live = live
        self._clock = clock
        self._workers = workers
        self._recorder = recorder
        self._switch = switch
        self._others = dict[Call, None]()
        self._noted = dict[Call, None]()

    def start(self, begin: float) -> None:
        """Begin.

        Args:
            begin: The instant at which the run began.
        """
        self.begin = begin
        self._workers.start(self._done)
        self._recorder.start(begin)

    def home(self, call: Call) -> dict[Call, None]:
        """Return where a call is as long as it has not ended."""
        if call.kind is _UNDO or call.kind is _TEARDOWN:
            return self._others
        return self._live[call.event].running

    def others(self) -> tuple[Call, ...]:
        """Return those that run apart."""
        return tuple(self._others)

    def add(self, live: Live, call: Call) -> None:
        """Take note of a call that is about to be made."""
        if live.running is NO_CALLS:
            live.running = {}
        live.running[call] = None

    def equip(self, call: Call, work: Work) -> None:
        """Give a call what it does, with a kill switch of its own.

        If there can be no more switches, that of the run has to do. What cannot be made
        at all is what the call fails with.
        """
        switch = self._switch
        with contextlib.suppress(OSError):
            switch = call.switch = KillSwitch(self._switch)
        try:
            call.work = work(switch)
            call.kill = getattr(call.work, "kill", None)
        except Exception as failure:  # noqa: BLE001 -- a user's arguments may do anything
            call.work = partial(_fail, failure)

    def announce(self, call: Call) -> None:
        """Have it written down when a call begins, and not only how it ended."""
        call.work = partial(_announced, self._recorder, call, call.work)

    def make_apart(
        self, live: Live, kind: Kind, work: Work, ordinal: int, phase: str
    ) -> Call:
        """Have something done that is not in the timeline."""
        now = self._clock.instant()
        call = Call(live.index, ordinal, phase, now, live.work, FOREVER, kind)
        self.equip(call, work)
        self._others[call] = None
        # Whatever hangs elsewhere, this is done.
        self._workers.apart(call)
        return call

    def pass_over(
        self,
        live: Live,
        firing: Firing,
        outcome: Outcome,
        kind: Kind = Kind.SCHEDULED,
    ) -> None:
        """Write down a firing of which nothing comes."""
        due = self.begin + firing.due
        call = Call(live.index, firing.ordinal, firing.phase, due, live.work, kind=kind)
        call.outcome = outcome
        self._recorder.add(call)

    def _done(self, call: Call) -> None:
        """Take note of a call that has ended; called where it was made."""
        live, is_scheduled = self._live[call.event], call.kind is _SCHEDULED
        home = live.running if is_scheduled else self.home(call)
        # Who sees that it has ended waits for this, too.
        self._noted[call] = None
        try:
            del home[call]
        except KeyError:
            del self._noted[call]
            return  # it was given up
        self._recorder.add(call)
        del self._noted[call]
        if live.tells or self.tells_all or not is_scheduled:
            self.ended.append(call)
            self.bell.set()

    # What does not end ----------------------------------------------------------------

    @staticmethod
    def cancel(call: Call) -> None:
        """Tell a call to end."""
        call.is_cancelled = True
        switch_off(call)

    def end_hard(self, call: Call, outcome: Outcome) -> None:
        """End a call that does not end by itself, or do without it."""
        home = self.home(call)
        if call not in home:
            return
        call.is_cancelled = True
        if call.kill is not None:
            # It also keeps one from beginning that was about to.
            call.kill()
        if call.is_made:
            call.ruling = call.ruling or outcome
            call.stack = call.stack or stack_of(call)
        if call.kill is None or not call.is_made:
            self._leave(call)

    def give_up(self, call: Call, outcome: Outcome) -> None:
        """End a call, or do without it, and wait until that is so."""
        self.end_hard(call, outcome)
        if not self.wait_for_end(call, _KILL_TAKES):
            self._leave(call)

    def _leave(self, call: Call) -> None:
        """Do without a call that does not end."""
        try:
            del self.home(call)[call]
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
        self.ended.append(left)
        self.bell.set()

    # Waiting --------------------------------------------------------------------------

    def wait_for(self, is_over: Callable[[], bool], limit: float) -> None:
        """Wait until something is over that the end of calls brings about."""
        until = self._clock.instant() + limit
        while not is_over() and (now := self._clock.instant()) < until:
            self.bell.clear()
            if not is_over():
                self._clock.wait_until(min(until, now + LOOK_EVERY), self.bell)

    def wait_for_end(self, call: Call, limit: float) -> bool:
        """Wait until a call has ended; return whether it has."""
        home = self.home(call)
        self.wait_for(partial(_is_gone, call, home), limit)
        return call not in home

    def wait_for_records(self) -> None:
        """Wait until all that has ended is written down."""
        self.wait_for(lambda: not self._noted, _KILL_TAKES)


def switch_off(call: Call) -> None:
    """Set the kill switch of a call, if it has one."""
    # Once a call has ended, who writes it down takes its switch away.
    switch = call.switch
    if switch is not None:
        switch.cancel()


def _announced(recorder: Recorder, call: Call, work: Callable[[], object]) -> object:
    recorder.announce(call)
    return work()


def _fail(failure: Exception) -> None:
    raise failure


def _is_gone(call: Call, home: Collection[Call]) -> bool:
    return call not in home

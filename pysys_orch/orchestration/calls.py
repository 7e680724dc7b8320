"""Single calls of events, and who makes them."""

from __future__ import annotations

import contextlib
import copy
import logging
import threading
from collections import deque
from collections.abc import Callable
from enum import StrEnum

from pysys_orch.clock import Clock
from pysys_orch.orchestration.failures import see_through
from pysys_orch.orchestration.switch import KillSwitch
from pysys_orch.raising import IS_RAISED

log = logging.getLogger("pysys.orch.orchestration")


class Outcome(StrEnum):
    """How a firing ended."""

    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed out"  # it did not end in time
    SKIPPED = "skipped"  # the event was still running
    DROPPED = "dropped"  # no worker was free
    MISSED = "missed"  # the run came too late to it
    CANCELLED = "cancelled"  # a later firing, or the end of the run, was first
    ABANDONED = "abandoned"  # it still ran when the run was over

    @property
    def is_failure(self) -> bool:
        """Whether something went wrong with the event itself."""
        return self in {Outcome.FAILED, Outcome.TIMED_OUT, Outcome.ABANDONED}


class Kind(StrEnum):
    """Why an event fires."""

    SCHEDULED = "scheduled"
    AFTER = "after"
    RESUME = "resume"
    UNDO = "undo"
    TEARDOWN = "teardown"


class Call:
    """One firing of an event, from when it is due until it has ended.

    Attributes:
        event: Which event of the description, from 0.
        ordinal: Which firing of that event, from 1.
        phase: The phase that it is due in.
        kind: Why it fires.
        due: When it is due, as an instant.
        latest: After this instant it is not started any more.
        work: What it does.
        switch: Its kill switch; None if nobody asked for one.
        kill: What ends it whether it wants or not; None if nothing does.
        started: When it was started; 0.0 if it was not.
        ended: When it had ended; 0.0 if it has not.
        outcome: How it ended.
        failure: What it raised; None if nothing.
        is_made: Whether it was begun.
        limit: After how many seconds it was told to end; None if it was not.
        ruling: How it has ended, whatever it does now; None as long as it may decide.
        is_cancelled: Whether it is to end before its time.
        stack: Where it hung, when that was looked at.
        thread: The identifier of the thread that it runs in.
        worker: What that is called.
    """

    # Most calls never have another value of these.
    switch: KillSwitch | None = None
    kill: Callable[[], None] | None = None
    started = 0.0
    ended = 0.0
    outcome = Outcome.OK
    failure: BaseException | None = None
    is_made = False
    is_cancelled = False
    limit: float | None = None
    ruling: Outcome | None = None
    stack = ""
    thread = 0
    worker = ""

    def __init__(
        self,
        event: int,
        ordinal: int,
        phase: str,
        due: float,
        work: Callable[[], object],
        latest: float = float("inf"),
        kind: Kind = Kind.SCHEDULED,
    ) -> None:
        self.event = event
        self.ordinal = ordinal
        self.phase = phase
        self.due = due
        self.work = work
        self.latest = latest
        self.kind = kind

    def run(self, clock: Clock) -> None:
        """Do what it does, whatever comes of it."""
        started = clock.instant()
        is_too_late = started > self.latest
        if is_too_late:
            self.started = started
            self.outcome = Outcome.DROPPED
        elif not self.is_cancelled:
            self.started = started
            self.is_made = True
            token = IS_RAISED.set(True)
            try:
                found = self.work()
                if found is not None:
                    see_through(found)
            except BaseException as failure:  # noqa: BLE001 -- also SystemExit
                self.failure = failure
                self.outcome = Outcome.FAILED
            finally:
                IS_RAISED.reset(token)
        if self.is_made or is_too_late:
            self.ended = clock.instant()
        if self.ruling is not None:
            self.outcome = self.ruling
        elif self.is_cancelled and self.outcome is Outcome.OK:
            self.outcome = Outcome.CANCELLED

    def left_behind(self, outcome: Outcome, now: float) -> Call:
        """Return what is known of it now, whatever still comes of it."""
        left = copy.copy(self)
        left.outcome, left.failure = outcome, None
        # So long it took at least.
        left.ended = now if self.is_made else 0.0
        return left


Done = Callable[[Call], None]


class Inline:
    """Makes each call at once, in the thread that asks for it.

    For a clock that stands still meanwhile: a run of days takes no time, and is the
    same each time.

    Args:
        clock: What tells the time.
    """

    #: How many calls wait.
    backlog = 0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def start(self, done: Done) -> None:
        """Begin.

        Args:
            done: Called after each call.
        """
        self._done = done

    def submit(self, call: Call) -> None:
        """Make a call."""
        call.run(self._clock)
        self._done(call)

    def apart(self, call: Call) -> None:
        """Make a call."""
        self.submit(call)

    def give_up(self, call: Call) -> None:
        """Do nothing: no call is left running."""

    def close(self) -> None:
        """Do nothing: there is nothing to end."""


class Threads:
    """Makes calls in threads, which are started as they are needed.

    A call that finds no free thread waits for one, until it is too late for it.

    Args:
        clock: What tells the time.
        limit: How many threads there are at most, without those that are given up.
        initialize: Called in each thread first.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        limit: int,
        initialize: Callable[[], object] = lambda: None,
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._most = 2 * limit
        self._initialize = initialize
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        # Single operations on these need no lock.
        self._calls = deque[Call]()
        self._parked: list[threading.Lock] = []
        self._members = set[int]()
        self._given_up = set[int]()
        self._is_waking = self._is_closed = self._has_too_few = False

    def start(self, done: Done) -> None:
        """Begin.

        Args:
            done: Called after each call, in its thread.
        """
        self._done = done

    @property
    def backlog(self) -> int:
        """How many calls wait for a thread."""
        return len(self._calls)

    def submit(self, call: Call) -> None:
        """Have a call made."""
        self._calls.append(call)
        # Who is being woken looks for calls only after this.
        if not self._is_waking:
            self._have_one_more()

    def apart(self, call: Call) -> None:
        """Have a call made at once, whoever else is waiting."""
        thread = threading.Thread(
            target=self._once, args=(call,), name="orchestration-apart", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            self._tell_too_few()
            self.submit(call)

    def give_up(self, call: Call) -> None:
        """Do without the thread of a call that does not end; if it does, it goes."""
        if call.thread not in self._members or self._limit >= self._most:
            return
        self._given_up.add(call.thread)
        self._limit += 1
        if self._calls:
            self._have_one_more()

    def close(self) -> None:
        """End the threads, once they have ended what they do."""
        self._is_closed = True
        while self._parked:
            self._wake_one()

    def _have_one_more(self) -> None:
        """Have one more thread look for calls, if there may be one."""
        if not self._wake_one():
            self._add()

    def _wake_one(self) -> bool:
        """Wake who has parked last, whose stack is warm still; return if there is one.

        One at a time: to wake a thread takes longer than most calls do, and one that
        finds more calls than its own wakes the next.
        """
        try:
            turn = self._parked.pop()
        except IndexError:
            return False
        self._is_waking = True
        turn.release()
        return True

    def _add(self) -> None:
        if len(self._threads) >= self._limit:
            return
        with self._lock:
            number = len(self._threads) + 1
            if number > self._limit:
                return
            thread = threading.Thread(
                target=self._work, name=f"orchestration-{number}", daemon=True
            )
            self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.remove(thread)
            if not self._threads:
                raise
            # What waits for this one waits for the others, or for the next try.
            self._tell_too_few()

    def _tell_too_few(self) -> None:
        if not self._has_too_few:
            self._has_too_few = True
            log.error("A thread could not be started: there are too many already")

    def _work(self) -> None:
        self._initialize()
        calls, parked, turn = self._calls, self._parked, threading.Lock()
        me = threading.current_thread()
        thread, name = threading.get_ident(), me.name
        self._members.add(thread)
        turn.acquire()
        while True:
            while calls:
                try:
                    call = calls.popleft()
                except IndexError:
                    break
                if calls and not self._is_waking:
                    self._have_one_more()
                self._make(call, thread, name)
                del call
                if thread in self._given_up:
                    self._leave(me)
                    return
            if self._is_closed:
                self._members.discard(thread)
                return
            parked.append(turn)
            # Who has submitted one, or closed, before that has woken nobody.
            if calls or self._is_closed:
                with contextlib.suppress(ValueError):
                    parked.remove(turn)
                    continue
            turn.acquire()
            self._is_waking = False

    def _leave(self, thread: threading.Thread) -> None:
        """Take back that there may be one more than there were to be."""
        with self._lock:
            self._given_up.discard(thread.ident or 0)
            self._members.discard(thread.ident or 0)
            self._threads.remove(thread)
            self._limit -= 1
        if self._calls:
            self._have_one_more()

    def _once(self, call: Call) -> None:
        self._initialize()
        self._make(call, threading.get_ident(), threading.current_thread().name)

    def _make(self, call: Call, thread: int, name: str) -> None:
        call.thread, call.worker = thread, name
        call.run(self._clock)
        try:
            self._done(call)
        except Exception:
            log.exception("What became of a firing could not be written down")

"""Single calls of events, and who makes them."""

from __future__ import annotations

import copy
import logging
import queue
import threading
from collections.abc import Callable
from enum import StrEnum

from pysys_orch.clock import Clock
from pysys_orch.orchestration.failures import see_through
from pysys_orch.orchestration.switch import KillSwitch

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
        self.started = started = clock.instant()
        if started > self.latest:
            self.outcome = Outcome.DROPPED
        elif not self.is_cancelled:
            self.is_made = True
            try:
                found = self.work()
                if found is not None:
                    see_through(found)
            except BaseException as failure:  # noqa: BLE001 -- also SystemExit
                self.failure = failure
                self.outcome = Outcome.FAILED
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
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        # Single operations on a set need no lock.
        self._idle = set[int]()

    def start(self, done: Done) -> None:
        """Begin.

        Args:
            done: Called after each call, in its thread.
        """
        self._done = done

    def submit(self, call: Call) -> None:
        """Have a call made."""
        self._calls.put(call)
        self._add_if_needed()

    def apart(self, call: Call) -> None:
        """Have a call made at once, whoever else is waiting."""
        thread = threading.Thread(
            target=self._once, args=(call,), name="orchestration-apart", daemon=True
        )
        thread.start()

    def give_up(self, call: Call) -> None:
        """Do without the thread of a call that does not end."""
        del call
        self._limit = min(self._limit + 1, self._most)
        self._add_if_needed()

    def close(self) -> None:
        """End the threads, once they have ended what they do."""
        for _ in self._threads:
            self._calls.put(None)

    def _add_if_needed(self) -> None:
        """Have a thread for each call, as long as there may be more."""
        is_enough = self._calls.qsize() <= len(self._idle)
        if is_enough or len(self._threads) >= self._limit:
            return
        with self._lock:
            number = len(self._threads) + 1
            if number > self._limit:
                return
            thread = threading.Thread(
                target=self._work, name=f"orchestration-{number}", daemon=True
            )
            self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        self._initialize()
        get, idle = self._calls.get, self._idle
        thread, me = threading.current_thread(), threading.get_ident()
        while True:
            idle.add(me)
            call = get()
            idle.discard(me)
            if call is None:
                return
            # Who has just submitted another one may have taken this one for idle.
            self._add_if_needed()
            self._make(call, thread)
            del call

    def _once(self, call: Call) -> None:
        self._initialize()
        self._make(call, threading.current_thread())

    def _make(self, call: Call, thread: threading.Thread) -> None:
        call.thread, call.worker = thread.ident or 0, thread.name
        call.run(self._clock)
        try:
            self._done(call)
        except Exception:
            log.exception("What became of a firing could not be written down")

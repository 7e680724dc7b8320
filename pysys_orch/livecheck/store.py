"""What is known of cases when a run goes on where another one ended.

A thread of its own writes, so that nobody who executes tests ever waits for a disk:
what is put here is written within a moment, many tests together, and a process that is
killed loses no more than that. What must not be lost is saved: it is written at once,
and who saves it can wait until it is, and then tell of it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from pysys_orch.clock import Clock
from pysys_orch.errors import StateError
from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.models import TestReport
from pysys_orch.livecheck.records import (
    TABLES,
    VERSION,
    Histories,
    Kept,
    Made,
    Records,
    Retention,
    Sort,
)
from pysys_orch.state import State

log = logging.getLogger("pysys.orch.livecheck")

#: Seconds for which what is put is collected before it is written.
INTERVAL = 0.25

#: Seconds for which one waits, at the end, until all is written.
CLOSING = 10.0

# A thread that is always busy lets go of the interpreter very often, but takes it back
# before another one is awake: that one would wait for seconds. So whoever puts
# something while another batch is written pauses, for so many seconds, so many times.
_PAUSE = 0.0002
_PAUSES = 50


@dataclass(slots=True)
class _Batch:
    """What is to be written, and who waits for it."""

    cases: dict[str, tuple[Health, Histories]] = field(default_factory=dict)
    reports: dict[Sort, deque[Made]] = field(default_factory=dict)
    waiting: list[Future[None]] = field(default_factory=list)

    @property
    def has_any(self) -> bool:
        return bool(self.cases or self.reports or self.waiting)


class Store:
    """Remembers the cases of an application.

    Threads may share it. Only one process at a time is meant to run an application: of
    two, the one that writes last is right.

    Args:
        state: Where.
        application: Whose cases: equal names of different applications differ.
        clock: What tells the time.
        retention: What is kept.
        interval: For how many seconds what is put is collected.
    """

    def __init__(
        self,
        state: State,
        application: str,
        *,
        clock: Clock,
        retention: Retention | None = None,
        interval: float = INTERVAL,
    ) -> None:
        retention = retention or Retention()
        self._records = Records(state, application, clock=clock, retention=retention)
        self._clock = clock
        self._most = retention.reports
        self._interval = interval
        self._lock = threading.Lock()
        self._next = _Batch()
        self._has_news = False
        self._news = threading.Event()
        self._hurry = threading.Event()
        self._is_closing = False
        self._pauses = 0
        self._never = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: StateError | None = None
        self._unreadable = set[str]()

    @classmethod
    def at(
        cls,
        place: str,
        application: str,
        *,
        clock: Clock,
        retention: Retention | None = None,
    ) -> Store:
        """Return one in a file, or in a database by its URL, as of `State`.

        Raises:
            ConfigError: The URL makes no sense.
        """
        state = State(place, TABLES, name="livecheck", version=VERSION)
        return cls(state, application, clock=clock, retention=retention)

    # Reading: this waits for the database. --------------------------------------------

    def load(self, case_name: str) -> Kept | None:
        """Return what is known of a case; None if nothing is.

        This reads the database: not in an event loop, but before tests are executed:
        what has to be made there, or imported, is then made by one who has time.

        Raises:
            StateError: It cannot be read. It stays as it is: nothing is written over
                what nobody understands.
        """
        self._unreadable.add(case_name)
        kept = self._records.load(case_name)
        self._unreadable.discard(case_name)
        return kept

    def case_names(self) -> list[str]:
        """Return of which cases something is known. This reads the database.

        Raises:
            StateError: It cannot be read.
        """
        return self._records.case_names()

    # Writing: nobody waits. -----------------------------------------------------------

    def put(self, case_name: str, health: Health, histories: Histories) -> None:
        """Remember how a case is, in a moment.

        It takes no time worth speaking of, and never waits for the database.

        Args:
            case_name: Which case.
            health: How it is.
            histories: What it measured. They may go on to grow: what they have when
                they are written counts.
        """
        with self._lock:
            self._next.cases[case_name] = (health, histories)
            if not self._has_news:
                self._wake()
        if self._pauses > 0:
            self._pause()

    def add(self, report: TestReport) -> None:
        """Remember a report, in a moment, unless there are many newer ones by then."""
        is_ok = report.state.is_ok()
        made = (self._clock.stamp(), report)
        with self._lock:
            reports = self._next.reports.get((report.case_name, is_ok))
            if reports is None:
                reports = deque(maxlen=self._most)
                self._next.reports[report.case_name, is_ok] = reports
            reports.append(made)
            if not self._has_news:
                self._wake()

    def save(
        self, case_name: str, health: Health, histories: Histories
    ) -> Future[None]:
        """Remember how a case is, at once.

        Returns:
            What is done when that, and all that was put before, outlives this process;
            it fails with a StateError if it could not be written, which is tried again
            with what comes next.
        """
        future = Future[None]()
        with self._lock:
            refusal = self._refusal(case_name)
            if refusal is not None:
                future.set_exception(StateError(refusal))
                return future
            self._next.cases[case_name] = (health, histories)
            self._next.waiting.append(future)
            self._wake()
            self._hurry.set()
        return future

    def close(self, timeout: float = CLOSING) -> None:
        """Write what there still is, and let go of the database.

        What is put later is not remembered.

        Args:
            timeout: For how many seconds to wait until it is written, at most.

        Raises:
            StateError: It could not be written, or not in time.
        """
        with self._lock:
            self._is_closing = True
            self._news.set()
            self._hurry.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
            if thread.is_alive():
                message = (
                    f"{self._records} was not written within "
                    f"{timeout:g} s: what happened last is not remembered"
                )
                raise StateError(message)
        self._records.close()
        if self._failure is not None:
            raise self._failure

    # Inside ---------------------------------------------------------------------------

    def _refusal(self, case_name: str) -> str | None:
        """Return why nothing of a case is written, if nothing is."""
        if self._is_closing:
            return f"{self._records} is closed"
        if case_name in self._unreadable:
            return (
                f"what {self._records} has of the case "
                f"{case_name!r} cannot be read, and nothing is written over it: move "
                "it out of the way"
            )
        return None

    def _wake(self) -> None:
        self._has_news = True
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="livecheck-store", daemon=True
            )
            self._thread.start()

    def _pause(self) -> None:
        self._pauses -= 1
        self._never.wait(_PAUSE)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._news.wait()
            # More will come: it is written together.
            self._hurry.wait(self._interval)
            with self._lock:
                is_last = self._is_closing
                batch, self._next = self._next, _Batch()
                self._has_news = False
                self._news.clear()
                if not is_last:
                    self._hurry.clear()
            if batch.has_any:
                self._pauses = _PAUSES
                failure = self._write(batch, is_last=is_last)
                self._pauses = 0
                self._finish(batch, failure)

    def _finish(self, batch: _Batch, failure: StateError | None) -> None:
        if failure is not None and self._failure is None:
            log.error("What happens is not remembered: %s", failure)
        elif failure is None and self._failure is not None:
            log.info("What happens is remembered again")
        self._failure = failure
        if failure is not None:
            self._put_back(batch)
        for future in batch.waiting:
            if not future.set_running_or_notify_cancel():
                continue
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)

    def _put_back(self, batch: _Batch) -> None:
        """Have it written with what comes next."""
        with self._lock:
            for name, case in batch.cases.items():
                self._next.cases.setdefault(name, case)
            for key, reports in batch.reports.items():
                reports.extend(self._next.reports.get(key, ()))
                self._next.reports[key] = reports
            self._wake()

    def _write(self, batch: _Batch, *, is_last: bool) -> StateError | None:
        """Write all of it, or nothing; return why not."""
        readable = {
            name: case
            for name, case in batch.cases.items()
            if name not in self._unreadable
        }
        reports = {
            sort: told
            for sort, told in batch.reports.items()
            if sort[0] not in self._unreadable
        }
        try:
            self._records.write(readable, reports, is_last=is_last)
        except StateError as failure:
            return failure
        except Exception as failure:  # noqa: BLE001 -- others have to be remembered yet
            words = f"{type(failure).__name__}: {failure}"
            return StateError(f"{self._records} cannot be written: {words}")
        return None

"""Who fires events: ours, and what else one could use.

Each engine is a function that fires periodic events for some seconds, and notes when.
Firing *k* of an event is due *k* intervals after the beginning, from the first on.
"""

from __future__ import annotations

import heapq
import importlib
import json
import multiprocessing
import sched
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.orchestration import reading
from pysys_orch.orchestration.calls import Outcome
from pysys_orch.orchestration.events import Library, Source
from pysys_orch.orchestration.reading import Draft
from pysys_orch.orchestration.session import Report, Session, Surroundings
from pysys_orch.orchestration.underway import Workers

Intervals = Sequence[float]

_POOL = 8


@dataclass
class Fired:
    """When events fired.

    Attributes:
        begin: When the first interval began.
        stamps: For each event, when it fired.
        spent: The seconds of CPU from the first firing of the first event to the end.
    """

    begin: float = 0.0
    stamps: list[list[float]] = field(default_factory=list)
    spent: float = 0.0

    def noting(self, intervals: Intervals) -> list[Callable[[], None]]:
        """Return a function for each event, which does nothing but note the time."""
        self.stamps = [[] for _ in intervals]
        first, *others = [_noting(each) for each in self.stamps]

        def beginning() -> None:
            if not self.stamps[0]:
                self.spent = -time.process_time()
            first()

        return [beginning, *others]

    def end(self) -> Fired:
        self.spent += time.process_time()
        return self


Engine = Callable[[Intervals, float], Fired]


def _noting(stamps: list[float]) -> Callable[[], None]:
    now, append = time.monotonic, stamps.append

    def note() -> None:
        append(now())

    return note


def orchestrated(
    functions: Sequence[Callable[[], object]],
    events: Sequence[dict[str, Any]],
    journal: Path | None,
    *,
    clock: Clock | None = None,
    workers: Workers | None = None,
    **keys: Any,
) -> Report:
    """Run events as a test does, from their description to their verdict."""
    return run(session_of(functions, events, **keys), journal, clock, workers)


def session_of(
    functions: Sequence[Callable[[], object]],
    events: Sequence[dict[str, Any]],
    **keys: Any,
) -> Session:
    """Read and bind events, as a test does."""
    return Session(draft(events, **keys), library(functions))


def run(
    session: Session,
    journal: Path | None,
    clock: Clock | None = None,
    workers: Workers | None = None,
) -> Report:
    """Run events that were read, up to their verdict."""
    return session.run(
        Surroundings(
            clock=clock or SystemClock(),
            seed=1,
            journal=journal,
            workers=workers,
            is_aborting=None if workers else lambda: False,
        )
    )


def draft(events: Sequence[dict[str, Any]], **keys: Any) -> Draft:
    named = [{"name": f"event_{at}", **each} for at, each in enumerate(events)]
    return reading.draft({"test_name": "benchmark", "events": named, **keys})


def library(functions: Sequence[Callable[[], object]]) -> Library:
    module = ModuleType("events")
    for at, function in enumerate(functions):
        setattr(module, f"event_{at}", function)
    return Library(sources=[Source("events.py", module)])


def pysys_orch(intervals: Intervals, seconds: float) -> Fired:
    """Ours, its journal on, as under PySys."""
    fired = Fired()
    functions = fired.noting(intervals)
    events = [{"interval_sec": each, "at_startup": False} for each in intervals]
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "orchestration.jsonl"
        report = orchestrated(functions, events, journal, duration=seconds)
        fired.end()
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
    # What the journal does not say is when the run began: it does say how long after
    # that a function was called.
    began = [[] for _ in intervals]
    for line in lines[1:-1]:
        if line["outcome"] == Outcome.OK:
            began[int(line["event"].removeprefix("event_"))].append(line["started"])
    fired.begin = min(
        stamp - started
        for stamps, starts in zip(fired.stamps, began, strict=True)
        for stamp, started in zip(stamps, sorted(starts), strict=True)
    )
    if report.judgements:
        raise AssertionError(report.judgements)
    return fired


def bare(intervals: Intervals, seconds: float) -> Fired:
    """A heap, a condition and a pool: what one writes in twenty lines."""
    fired = Fired()
    functions = fired.noting(intervals)
    condition = threading.Condition()
    with ThreadPoolExecutor(_POOL) as pool, condition:
        fired.begin = begin = time.monotonic()
        heap = [(begin + each, at, 1) for at, each in enumerate(intervals)]
        heapq.heapify(heap)
        end = begin + seconds
        while heap[0][0] < end:
            due, at, number = heap[0]
            left = due - time.monotonic()
            if left > 0:
                condition.wait(left)
                continue
            pool.submit(functions[at])
            following = begin + (number + 1) * intervals[at]
            heapq.heapreplace(heap, (following, at, number + 1))
    return fired.end()


def standard(intervals: Intervals, seconds: float) -> Fired:
    """The scheduler of the standard library, which calls events itself."""
    fired = Fired()
    functions = fired.noting(intervals)
    scheduler = sched.scheduler(time.monotonic, time.sleep)
    fired.begin = begin = time.monotonic()

    def fire(at: int, number: int) -> None:
        functions[at]()
        following = begin + (number + 1) * intervals[at]
        if following < begin + seconds:
            scheduler.enterabs(following, 0, fire, (at, number + 1))

    for at, each in enumerate(intervals):
        scheduler.enterabs(begin + each, 0, fire, (at, 1))
    scheduler.run()
    return fired.end()


def apscheduler(intervals: Intervals, seconds: float) -> Fired:
    """APScheduler 3, as its documentation uses it."""
    from datetime import UTC, datetime, timedelta

    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.interval import IntervalTrigger

    fired = Fired()
    scheduler = BackgroundScheduler(timezone=UTC)
    # Its grid is in the time of day, and begins when all have been added.
    start = datetime.now(UTC) + timedelta(milliseconds=100 + len(intervals) / 5)
    ahead = start.timestamp() - time.time()
    fired.begin = time.monotonic() + ahead
    for function, each in zip(fired.noting(intervals), intervals, strict=True):
        trigger = IntervalTrigger(
            seconds=each,
            start_date=start + timedelta(seconds=each),
            end_date=start + timedelta(seconds=seconds),
            timezone=UTC,
        )
        scheduler.add_job(function, trigger)
    scheduler.start()
    time.sleep(max(0.0, fired.begin + seconds - time.monotonic()))
    scheduler.shutdown()
    return fired.end()


def pytest_orchestration(intervals: Intervals, seconds: float) -> Fired:
    """The scheduler of pytest-orchestration, without the rest of it."""
    plugin = importlib.import_module("orchestration.plugin")
    fired = Fired()
    events = [
        plugin.Event(f"event_{at}", function, each, False, False)
        for at, (function, each) in enumerate(
            zip(fired.noting(intervals), intervals, strict=True)
        )
    ]
    reporter = SimpleNamespace(monitor=lambda switch: None)
    orchestrator = plugin.Orchestrator(
        seconds, events, multiprocessing.Event(), reporter
    )
    # What is left of the time once nothing fires any more, it sleeps in whole minutes.
    orchestrator.TIC_TIME = 0.01
    # Its heads of lists are what is due first; it sorts them after the first firing.
    orchestrator.interval_events.sort(key=lambda each: each.time_left)
    fired.begin = time.monotonic()
    orchestrator.run()
    return fired.end()


ENGINES: dict[str, Engine] = {
    "pysys_orch": pysys_orch,
    "bare loop": bare,
    "sched": standard,
    "APScheduler 3": apscheduler,
    "pytest-orchestration": pytest_orchestration,
}

_PACKAGES = {
    "APScheduler 3": "apscheduler",
    "pytest-orchestration": "orchestration.plugin",
}


def missing(name: str) -> str:
    """Return why an engine cannot be measured here; empty if it can."""
    try:
        if name in _PACKAGES:
            importlib.import_module(_PACKAGES[name])
    except Exception as failure:  # noqa: BLE001 -- it may break in any way
        return f"{name} is left out: {type(failure).__name__}: {failure}"
    return ""

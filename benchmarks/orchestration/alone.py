"""What is measured in a process of its own, so that nothing is left of it.

    python -m benchmarks.orchestration.alone MEASUREMENT [ARGUMENT ...]

prints figures as JSON.
"""

from __future__ import annotations

import gc
import json
import logging
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import Figures
from benchmarks.orchestration.engines import (
    ENGINES,
    Fired,
    Intervals,
    library,
    orchestrated,
    run,
    session_of,
)
from pysys_orch.clock import SystemClock
from pysys_orch.orchestration.calls import Inline, Outcome
from pysys_orch.orchestration.reading import read
from pysys_orch.orchestration.session import Report, Session, Surroundings
from pysys_orch.orchestration.timeline import Timeline
from pysys_orch.testing import ManualClock

_SLOWEST, _FASTEST = 1.0, 0.1
_DAY = 86400
#: About 40,000 firings in 30 days.
_THIRTY_DAYS = (120, 300, 600, 900, 3600, 3600, 7200, 7200)
_NAMES = 10


def lateness(engine: str, number: str, seconds: str) -> Figures:
    """Return how late an engine is, what it costs, and what it leaves out."""
    count, lasts = int(number), float(seconds)
    between = (_SLOWEST - _FASTEST) / max(1, count - 1)
    intervals = [_FASTEST + at * between for at in range(count)]
    fired = ENGINES[engine](intervals, lasts)
    in_order = _lateness(fired, intervals)
    late = sorted(in_order)
    # Whether the end itself is a time of the grid is a matter of taste.
    due = sum(int((lasts - 1e-6) / each) for each in intervals)
    return {
        "total": statistics.median(late),
        "p99": late[len(late) * 99 // 100],
        "CPU us": fired.spent / len(late) * 1e6,
        "missed": max(0, due - len(late)),
        "growth": _growth(in_order),
    }


def throughput(number: str, count: str, interval: str, journal: str) -> Figures:
    """Return how many firings a second there are, if there are too many to do."""
    events = int(number)
    each = {
        "interval_sec": float(interval),
        "at_startup": False,
        "count": int(count),
        "overlap": "parallel",
        "max_parallel": 1_000_000,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "orchestration.jsonl" if journal == "on" else None
        # How long it takes to read them is measured elsewhere.
        session = session_of(
            [_nothing] * events,
            [each] * events,
            duration=float(interval) * (int(count) + 1),
        )
        begin, spent = time.perf_counter(), time.process_time()
        report = run(session, file)
        took, spent = time.perf_counter() - begin, time.process_time() - spent
        lines = 0 if file is None else len(file.read_bytes().splitlines()) - 2
    fired = _all_ok(report)
    if file is not None and lines != fired:
        raise AssertionError(lines, fired)
    return {
        "total": took * 1000,
        "firings/s": fired / took,
        "CPU us": spent / fired * 1e6,
    }


def memory(number: str) -> Figures:
    """Return what an event takes that is waited for, and what its description does."""
    count = int(number)
    with tempfile.TemporaryDirectory() as folder:
        file = _written(Path(folder), count, interval_sec=3600, at_startup=False)
        # What is imported by the first run belongs to no event.
        _run(_session(_written(Path(folder), 1, name="warm", interval_sec=1)), _always)
        tracemalloc.start()
        before = _held()
        session = _session(file)
        read_in = _held()
        scheduled = 0

        def look() -> bool:
            nonlocal scheduled
            scheduled = _held()
            return True

        _run(session, look)
    return {
        "total": (scheduled - read_in) / count,
        "read": (read_in - before) / count,
    }


def idle(number: str, seconds: str) -> Figures:
    """Return how much of a core is used by waiting, in per cent."""
    with tempfile.TemporaryDirectory() as folder:
        file = _written(Path(folder), int(number), interval_sec=3600, at_startup=False)
        begin = spent = 0.0

        def look() -> bool:
            nonlocal begin, spent
            if not begin:
                begin, spent = time.perf_counter(), time.process_time()
            return time.perf_counter() > begin + float(seconds)

        _run(_session(file), look)
        spent = time.process_time() - spent
        return {"total": spent / (time.perf_counter() - begin) * 100}


def reading(number: str) -> Figures:
    """Return how long it takes from a file to the first firing."""
    with tempfile.TemporaryDirectory() as folder:
        file = _written(Path(folder), int(number), interval_sec=3600)
        _session(_written(Path(folder), 1, name="warm", interval_sec=1))
        begin = time.perf_counter()
        description = _session(file).description
        read_at = time.perf_counter()
        next(iter(Timeline(description, seed=1)))
        end = time.perf_counter()
    return {
        "total": (end - begin) * 1000,
        "validated": (read_at - begin) * 1000,
        "scheduled": (end - read_at) * 1000,
    }


def virtual() -> Figures:
    """Return how long thirty days are."""
    clock = ManualClock()
    events = [{"interval_sec": each} for each in _THIRTY_DAYS]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        report = orchestrated(
            [_nothing] * len(events),
            events,
            Path(folder) / "orchestration.jsonl",
            clock=clock,
            workers=Inline(clock),
            duration=30 * _DAY,
        )
        took = time.perf_counter() - begin
    return {"total": took * 1000, "firings": float(_all_ok(report))}


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _always() -> bool:
    return True


def _nothing() -> None:
    pass


def _lateness(fired: Fired, intervals: Intervals) -> list[float]:
    """Return how many microseconds late each firing was, in the order of the grid."""
    late = [
        (number * interval, stamp - fired.begin - number * interval)
        for stamps, interval in zip(fired.stamps, intervals, strict=True)
        for number, stamp in enumerate(stamps, 1)
    ]
    return [each * 1e6 for _, each in sorted(late)]


def _growth(late: Sequence[float]) -> float:
    """Return by how many microseconds a firing is later than the one before it.

    That is the slope through the medians of the first and of the last third, which the
    few firings that the machine was busy for do not turn.
    """
    third = max(1, len(late) // 3)
    grown = statistics.median(late[-third:]) - statistics.median(late[:third])
    return grown / max(1, len(late) - third)


def _all_ok(report: Report) -> int:
    """Return how many firings there were, all of which have to be."""
    counts = sum((Counter(each.counts) for each in report.tallies), Counter[Outcome]())
    if set(counts) != {Outcome.OK}:
        raise AssertionError(counts)
    return counts[Outcome.OK]


def _written(folder: Path, count: int, *, name: str = "many", **keys: object) -> Path:
    """Write a description; its events have few names, since few have many functions."""
    events = [{"name": f"event_{at % _NAMES}", **keys} for at in range(count)]
    said = {"test_name": name, "total_hours": 2, "events": events}
    file = folder / f"{name}.orch.json"
    file.write_text(json.dumps(said), encoding="utf-8")
    return file


def _session(file: Path) -> Session:
    return Session(read(file), library([_nothing] * _NAMES))


def _run(session: Session, is_aborting: Callable[[], bool]) -> None:
    session.run(Surroundings(clock=SystemClock(), seed=1, is_aborting=is_aborting))


_MEASUREMENTS: dict[str, Callable[..., Figures]] = {
    "lateness": lateness,
    "throughput": throughput,
    "memory": memory,
    "idle": idle,
    "reading": reading,
    "virtual": virtual,
}


def main(arguments: Sequence[str]) -> None:
    """Measure once."""
    logging.disable()
    name, *rest = arguments
    print(json.dumps(_MEASUREMENTS[name](*rest)))


if __name__ == "__main__":
    main(sys.argv[1:])

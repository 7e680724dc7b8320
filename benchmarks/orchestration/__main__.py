"""Measures orchestrations against other schedulers, and prints a report.

    python -m benchmarks.orchestration [name ...] [--rounds N] [--quiet PERCENT]

It is a report and no test: the exit status is 0 unless something broke.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.measure import (
    Bar,
    Figures,
    Interval,
    Report,
    Rounds,
    alone,
    command_line,
    ratio,
    run_all,
    values,
)
from benchmarks.orchestration.engines import ENGINES, missing

_OURS, _BARE = "pysys_orch", "bare loop"
_NUMBERS = (1, 100, 1000)
_SECONDS = 5
_ROUNDS = 5
_IDLE_SECONDS = 20
_alone = partial(alone, "benchmarks.orchestration.alone")
_PREVIEW = "import sys; from pysys_orch.cli import main; sys.exit(main())"


def main() -> int:
    """Run what was asked for; return the exit status."""
    arguments = command_line("orchestration", BENCHMARKS)
    rounds = Rounds(number=arguments.rounds, quiet=arguments.quiet)
    named = {name: partial(each, rounds) for name, each in BENCHMARKS.items()}
    return run_all(named, arguments.names)[1]


def _lateness(rounds: Rounds) -> Iterator[Report]:
    """Yield how late firings are, for few and for many events."""
    notes = [words for name in ENGINES if (words := missing(name))]
    present = [name for name in ENGINES if not missing(name)]
    for number in _NUMBERS:
        variants = {
            name: partial(_alone, "lateness", name, number, _SECONDS)
            for name in present
        }
        # Each process is fresh: there is nothing to warm up.
        samples, busy = rounds.interleave(variants, _ROUNDS, warm_up=False)
        bars = [
            Bar(
                promise=f"{words}, against the bare loop",
                measured=ratio(samples, _OURS, _BARE, figure),
                limit=1,
            )
            for words, figure in (("median lateness", "total"), ("CPU", "CPU us"))
        ]
        bars += [
            _bar("missed", values(samples, _OURS, "missed"), 0, ""),
            _bar(
                "growth of the lateness from one firing to the next",
                values(samples, _OURS, "growth"),
                1,
                "us",
            ),
        ]
        against = ratio(samples, _OURS, _BARE, "p99")
        told = f"p99 lateness is {against} x that of the bare loop"
        yield Report(
            title=f"Lateness: {number} events of 0.1 to 1 s, ours with its journal on",
            samples=samples,
            baseline=_BARE,
            unit="us",
            bars=bars,
            notes=[told, *notes],
            busy=busy,
        )


def _throughput(rounds: Rounds) -> Iterator[Report]:
    """Yield how many firings a second there are, if there are too many to do."""
    variants = {
        f"journal {journal}": partial(_alone, "throughput", 1000, 100, 0.001, journal)
        for journal in ("on", "off")
    }
    samples, busy = rounds.interleave(variants, _ROUNDS, warm_up=False)
    bars = [
        # The bar is a least, and a `Bar` is a most.
        _bar(
            f"a firing and its record, with {name}",
            _inverse(samples[name]),
            5,
            "us",
        )
        for name in variants
    ]
    yield Report(
        title="Throughput: 1000 events, 100 firings each, one of each every ms",
        samples=samples,
        baseline="journal on",
        bars=bars,
        notes=["5 us a firing are 200,000 firings a second"],
        busy=busy,
    )


def _memory(rounds: Rounds) -> Iterator[Report]:
    """Yield what an event takes that is waited for."""
    variants = {
        f"{number} events": partial(_alone, "memory", number)
        for number in (1000, 100_000)
    }
    samples, busy = rounds.interleave(variants, _ROUNDS, warm_up=False)
    yield Report(
        title="Memory: live bytes for each event that is waited for",
        samples=samples,
        baseline="1000 events",
        unit="B",
        bars=[
            _bar(f"scheduled, of {name}", values(samples, name), 600, "B")
            for name in variants
        ],
        notes=["read: the description and what it is bound to, which is there before"],
        busy=busy,
    )


def _idle(rounds: Rounds) -> Iterator[Report]:
    """Yield what waiting takes."""
    variants = {"100 events of 1 h": partial(_alone, "idle", 100, _IDLE_SECONDS)}
    samples, busy = rounds.interleave(variants, 1, warm_up=False)
    name = next(iter(variants))
    yield Report(
        title=f"Idle for {_IDLE_SECONDS} s, in per cent of a core",
        samples=samples,
        baseline=name,
        unit="%",
        bars=[_bar("used while nothing fires", values(samples, name), 0.1, "%")],
        busy=busy,
    )


def _reading(rounds: Rounds) -> Iterator[Report]:
    """Yield how long it takes from a file to the first firing."""
    limits = {1000: 30, 100_000: 2000}
    variants = {
        f"{number} events": partial(_alone, "reading", number) for number in limits
    }
    samples, busy = rounds.interleave(variants, _ROUNDS, warm_up=False)
    yield Report(
        title="Reading: from a file of JSON to the first firing",
        samples=samples,
        baseline="1000 events",
        bars=[
            _bar(f"{number} events", values(samples, f"{number} events"), limit, "ms")
            for number, limit in limits.items()
        ],
        busy=busy,
    )


def _virtual(rounds: Rounds) -> Iterator[Report]:
    """Yield how long thirty days are, and three hours on paper."""
    name, preview = "30 days", "preview"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "three_hours.orch.json"
        file.write_text(json.dumps(_THREE_HOURS), encoding="utf-8")
        variants = {
            name: partial(_alone, "virtual"),
            preview: partial(_previewed, file),
        }
        samples, busy = rounds.interleave(variants, _ROUNDS)
    yield Report(
        title="Virtual: 30 days with 39,600 firings; a preview of three hours",
        samples=samples,
        baseline=name,
        bars=[
            _bar("30 days on a clock that is a number", values(samples, name), 2000),
            _bar(
                "pysys-orch preview, its start included", values(samples, preview), 300
            ),
        ],
        busy=busy,
    )


BENCHMARKS = {
    "lateness": _lateness,
    "throughput": _throughput,
    "memory": _memory,
    "idle": _idle,
    "reading": _reading,
    "virtual": _virtual,
}

_THREE_HOURS = {
    "test_name": "three_hours",
    "total_hours": 3,
    "events": [
        {"name": "write", "interval_sec": 5},
        {"name": "restart", "interval_min": 7, "start_after": "10m"},
        {"name": "report", "interval_hour": 1, "at_teardown": True},
    ],
}


def _bar(promise: str, measured: Interval, limit: float, unit: str = "ms") -> Bar:
    return Bar(promise=promise, measured=measured, limit=limit, unit=unit)


def _inverse(rounds: list[Figures]) -> Interval:
    """Return the microseconds of a firing."""
    return Interval.of([1e6 / each["firings/s"] for each in rounds])


def _previewed(file: Path) -> Figures:
    argv = [sys.executable, "-c", _PREVIEW, "preview", str(file)]
    begin = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return {"total": (time.perf_counter() - begin) * 1000}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

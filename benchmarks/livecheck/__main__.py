"""Measures live checks, with faust's beside them, and prints a report.

    python -m benchmarks.livecheck [name ...] [--rounds N] [--quiet PERCENT]

It is a report and no test: the exit status is 0 unless something broke.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.measure import (
    Bar,
    Interval,
    Report,
    Rounds,
    alone,
    command_line,
    ratio,
    run_all,
    values,
)

_OURS, _FAUST = "pysys_orch", "faust"
_ROUNDS = 5
_NUMBERS = {"passing": 20_000, "failing": 5_000}
#: How many times as fast as faust executions are to be.
_TIMES = {"passing": 1.5, "failing": 2.0}
_WAITING = (1_000, 10_000)
_FEW = 500  # as many as faust has time for
_HISTORIES = (1_000, 1_000_000)
_IMPORTS = (
    "import pysys_orch.livecheck",  # each of its names is imported when it is used
    "from pysys_orch.livecheck import Case, Signal, LiveCheck",
)

_measured = partial(alone, "benchmarks.livecheck.alone")


def main() -> int:
    """Run what was asked for; return the exit status."""
    arguments = command_line("livecheck", BENCHMARKS)
    rounds = Rounds(number=arguments.rounds, quiet=arguments.quiet)
    named = {name: partial(each, rounds) for name, each in BENCHMARKS.items()}
    return run_all(named, arguments.names)[1]


def _executions(rounds: Rounds) -> Iterator[Report]:
    """Yield what an execution costs, one after the other."""
    for outcome, number in _NUMBERS.items():
        variants = {
            name: partial(_measured, "executions", name, outcome, number)
            for name in _engines()
        }
        samples, busy = rounds.interleave(variants, _ROUNDS, warm_up=False)
        bars = []
        if _FAUST in samples:
            bars.append(
                Bar(
                    promise=f"time of a {outcome} execution, against faust's",
                    measured=ratio(samples, _OURS, _FAUST),
                    limit=round(1 / _TIMES[outcome], 3),
                )
            )
        yield Report(
            title=f"Executions that are {outcome}: {number:,}, one after the other",
            samples=samples,
            baseline=_OURS,
            unit="us",
            bars=bars,
            notes=_notes(),
            busy=busy,
        )


def _signals(rounds: Rounds) -> Iterator[Report]:
    """Yield what a signal costs that an execution waits for, among many."""
    variants = {
        f"{_OURS}, {number:,}": partial(_measured, "signals", _OURS, number)
        for number in _WAITING
    }
    if _FAUST in _engines():
        variants[f"{_FAUST}, {_FEW:,}"] = partial(_measured, "signals", _FAUST, _FEW)
    samples, busy = rounds.interleave(variants, _ROUNDS, warm_up=False)
    few, many = (f"{_OURS}, {number:,}" for number in _WAITING)
    yield Report(
        title="Signals: all that executions wait for, one at a time",
        samples=samples,
        baseline=few,
        unit="us",
        bars=[
            # 20,000 a second.
            Bar(
                promise=f"a signal, with {_WAITING[-1]:,} waiting",
                measured=values(samples, many),
                limit=50,
                unit="us",
            ),
            Bar(
                promise="the same, against a tenth of them",
                measured=ratio(samples, many, few),
                limit=1.5,
            ),
            Bar(
                promise="tasks for each that waits",
                measured=values(samples, many, "tasks"),
                limit=1.01,
                unit="",
            ),
            Bar(
                promise="memory for each that waits",
                measured=values(samples, many, "KiB"),
                limit=4,
                unit="KiB",
            ),
        ],
        notes=_notes(),
        busy=busy,
    )


def _history(rounds: Rounds) -> Iterator[Report]:
    """Yield what a case holds after many executions."""
    variants = {
        f"{number:,}": partial(_measured, "history", number) for number in _HISTORIES
    }
    samples, busy = rounds.interleave(variants, 1, warm_up=False)
    few, many = (f"{number:,}" for number in _HISTORIES)
    yield Report(
        title="Memory that a case holds after so many executions",
        samples=samples,
        baseline=few,
        unit="KiB",
        bars=[
            Bar(
                promise="after a million, against a thousand",
                measured=ratio(samples, many, few),
                limit=1.05,
            )
        ],
        busy=busy,
    )


def _receiver(rounds: Rounds) -> Iterator[Report]:
    """Yield what it takes to receive signals from another process."""
    fast, steady = "as fast as can be", "1,000 a second for a minute"
    variants = {
        fast: partial(_measured, "receiver", 50_000, 0),
        steady: partial(_measured, "receiver", 60_000, 1000),
    }
    samples, busy = rounds.interleave(variants, 3, warm_up=False)
    lost = [each["lost"] for rounds in samples.values() for each in rounds]
    yield Report(
        title="Receiver: signals of another process, 50 connections",
        samples=samples,
        baseline=fast,
        unit="us",
        bars=[
            # 5,000 a second.
            Bar(
                promise="a signal",
                measured=values(samples, fast),
                limit=200,
                unit="us",
            ),
            Bar(
                promise="99 of 100 are answered within",
                measured=values(samples, fast, "p99"),
                limit=20,
                unit="ms",
            ),
            Bar(promise="lost", measured=Interval.of(lost), limit=0, unit=""),
            Bar(
                promise="growth in a minute",
                measured=values(samples, steady, "grown KiB"),
                limit=1024,
                unit="KiB",
            ),
        ],
        busy=busy,
    )


def _import(rounds: Rounds) -> Iterator[Report]:
    """Yield how long the import takes."""
    variants = {each: partial(_measured, "imports", each) for each in _IMPORTS}
    samples, busy = rounds.interleave(variants, _ROUNDS)
    yield Report(
        title="Import, in processes of their own",
        samples=samples,
        baseline=_IMPORTS[0],
        bars=[
            Bar(promise=each, measured=values(samples, each), limit=150, unit="ms")
            for each in variants
        ],
        busy=busy,
    )


BENCHMARKS = {
    "executions": _executions,
    "signals": _signals,
    "history": _history,
    "receiver": _receiver,
    "import": _import,
}


def _engines() -> list[str]:
    is_there = importlib.util.find_spec("faust") is not None
    return [_OURS, _FAUST] if is_there else [_OURS]


def _notes() -> list[str]:
    if len(_engines()) > 1:
        return []
    return ["faust is left out: pip install faust-streaming"]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

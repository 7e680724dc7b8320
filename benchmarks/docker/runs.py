"""A whole PySys run of one empty test, with the runner plugin and without it."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.docker.bench import Bench
from benchmarks.measure import Bar, Figures, Interval, Report, Rounds

ROUNDS = 20
_WITHOUT = "without the plugin"
_WITH = "with DockerRunnerPlugin"


def run(bench: Bench, rounds: Rounds) -> Iterator[Report]:
    """Compare the two, each a fresh process."""
    projects = {
        _WITHOUT: bench.project("without", "empty.py", plugin=False),
        _WITH: bench.project("with", "empty.py", plugin=True),
    }
    samples, busy = rounds.interleave(
        {name: partial(_measure, bench, each) for name, each in projects.items()},
        ROUNDS,
    )
    added = [
        one["total"] - two["total"]
        for one, two in zip(samples[_WITH], samples[_WITHOUT], strict=True)
    ]
    yield Report(
        title="A run with nothing to collect",
        samples=samples,
        baseline=_WITHOUT,
        busy=busy,
        bars=[
            Bar(
                promise="added by the plugin",
                measured=Interval.of(added),
                limit=150,
                unit="ms",
            )
        ],
    )


def _measure(bench: Bench, project: Path) -> Figures:
    begin, cpu = time.perf_counter(), _cpu()
    status = bench.pysys_run(project).wait(60)
    figures = {
        "total": (time.perf_counter() - begin) * 1000,
        "cpu": (_cpu() - cpu) * 1000,
    }
    assert status == 0, (project / "run.txt").read_text(encoding="utf-8")
    return figures


def _cpu() -> float:
    """Return the CPU time of processes that have ended, those they waited for too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

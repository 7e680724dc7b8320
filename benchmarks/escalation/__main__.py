"""Measures what escalation costs a run, and prints a report.

    python -m benchmarks.escalation

It is a report and no test: the exit status is 0 unless something broke.
"""

from __future__ import annotations

import gc
import logging
import os
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pysys.constants import FAILED, PASSED
from pysys.internal.initlogging import pysysLogHandler

from benchmarks.measure import Bar, Interval, Report, Stopwatch, values
from pysys_orch.escalation import MockSquadCast, SquadCastWriter

ROUNDS = 7
_MANY = 5_000
_VERY_MANY = 100_000
_REASON = "Grep on file web.log contains 'ERROR' failed: " + "x" * 200
_MEBI = 1024 * 1024


def main() -> None:
    """Print the reports."""
    logging.getLogger("pysys").setLevel(logging.CRITICAL)
    pysysLogHandler.setLogHandlersForCurrentThread([logging.NullHandler()])
    reports = [_floods(), _results(), _memory(), _hanging()]
    for report in reports:
        print(f"\n{report}")


def _floods() -> Report:
    """Return how many incidents many failing tests open."""
    samples = {}
    for group_by in ("suite", "test"):
        with _writer(groupBy=group_by) as (writer, server):
            watch = Stopwatch()
            with watch.step("results"):
                for number in range(_MANY):
                    writer.processResult(_test(number, FAILED))
            with watch.step("end of run"):
                writer.cleanup()
            opened = len(server.open_incidents())
        samples[group_by] = [{**watch.total(), "incidents": float(opened)}]
    return Report(
        title=f"A run of {_MANY} failing tests",
        samples=samples,
        baseline="suite",
        busy=[],
        bars=[
            Bar(
                promise="incidents with groupBy=suite",
                measured=values(samples, "suite", "incidents"),
                limit=1,
                unit="",
            ),
            Bar(
                promise="incidents with groupBy=test",
                measured=values(samples, "test", "incidents"),
                limit=11,
                unit="",
            ),
        ],
    )


def _results() -> Report:
    """Return how long PySys waits for the writer after each test."""
    rounds = []
    for _ in range(ROUNDS):
        with _writer() as (writer, _server):
            took = []
            for number in range(_MANY):
                test = _test(number, FAILED if number % 2 else PASSED)
                begin = time.perf_counter()
                writer.processResult(test)
                took.append((time.perf_counter() - begin) * 1000)
            writer.cleanup()
        took.sort()
        rounds.append(
            {"total": sum(took) / len(took), "p99": took[len(took) * 99 // 100]}
        )
    samples = {"pysys_orch": rounds}
    return Report(
        title="A result is remembered (mean, and 99th percentile)",
        samples=samples,
        baseline="pysys_orch",
        busy=[],
        bars=[
            Bar(
                promise="99th percentile",
                measured=values(samples, "pysys_orch", "p99"),
                limit=1,
                unit="ms",
            )
        ],
    )


def _memory() -> Report:
    """Return what the results of a very long run take."""
    rounds = []
    with _writer() as (writer, _server):
        gc.collect()
        tracemalloc.start()
        begin = tracemalloc.get_traced_memory()[0]
        for number in range(_VERY_MANY):
            writer.processResult(_test(number, FAILED if number % 10 == 0 else PASSED))
        gc.collect()
        held = (tracemalloc.get_traced_memory()[0] - begin) / _MEBI
        tracemalloc.stop()
        rounds.append({"total": held})
        writer.cleanup()
    return Report(
        title=f"{_VERY_MANY} results, a tenth of them failures (MiB, not ms)",
        samples={"pysys_orch": rounds},
        baseline="pysys_orch",
        busy=[],
        bars=[
            Bar(
                promise="held by the writer",
                measured=Interval.of([held]),
                limit=50,
                unit="MiB",
            )
        ],
    )


def _hanging() -> Report:
    """Return for how long a run's end waits for a service that never answers."""
    patience = 2.0
    rounds = []
    for _ in range(ROUNDS):
        with _writer(flushTimeoutSecs=patience) as (writer, server):
            server.hang(times=100)
            writer.processResult(_test(0, FAILED))
            watch = Stopwatch()
            with watch.step("end"):
                writer.cleanup()
            rounds.append(watch.total())
    samples = {"pysys_orch": rounds}
    return Report(
        title=f"A run ends; the service hangs, flushTimeoutSecs is {patience:g}",
        samples=samples,
        baseline="pysys_orch",
        busy=[],
        bars=[
            Bar(
                promise="the end of the run",
                measured=values(samples, "pysys_orch"),
                limit=(patience + 2) * 1000,
                unit="ms",
            )
        ],
    )


@contextmanager
def _writer(**properties: object) -> Iterator[tuple[Any, MockSquadCast]]:
    """Give a writer as PySys sets it up, and the server that it speaks to."""
    os.environ["ESCALATION_KEY"] = "0123456789abcdef"
    with (
        tempfile.TemporaryDirectory() as folder,
        MockSquadCast.running(duplicates="open") as server,
    ):
        given = {
            "escalate": True,
            "stream": "benchmark",
            "url": server.url,
            **properties,
        }
        writer = SquadCastWriter()
        writer.runner = SimpleNamespace(
            project=SimpleNamespace(root=folder), runDetails={}, runnerErrors=[]
        )
        writer.pluginProperties = given
        for name, value in given.items():
            setattr(writer, name, value)
        if not writer.isEnabled():
            raise AssertionError(given)
        writer.setup()
        yield writer, server


def _test(number: int, outcome: object) -> SimpleNamespace:
    """Return what a writer asks of a test."""
    name = f"a_test_with_a_name_{number}"
    output = str(Path("/project") / name / "Output")
    return SimpleNamespace(
        descriptor=SimpleNamespace(id=name, idWithoutMode=name, groups=["fast"]),
        getOutcome=lambda: outcome,
        getOutcomeReason=lambda: "" if outcome is PASSED else f"{_REASON}{number}",
        output=output,
        project=SimpleNamespace(testRootDir="/project"),
    )


if __name__ == "__main__":
    main()

"""What it costs to watch twenty containers, once a second."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.docker.bench import BUSYBOX, Bench
from benchmarks.measure import Bar, Figures, Report, Rounds, ratio

ROUNDS = 5
#: How many containers are watched.
CONTAINERS = 20
#: For how long.
SECONDS = 10.0


def run(bench: Bench, rounds: Rounds) -> Iterator[Report]:
    """Compare the CPU of whoever watches, and of the engine, with docker stats."""
    ids = bench.start_many(BUSYBOX, ["sleep", "1000"], CONTAINERS)
    try:
        samples, busy = rounds.interleave(
            {
                "docker stats": partial(_stats, bench, ids),
                "pysys_orch": bench.in_worker("monitor", ids, SECONDS),
            },
            ROUNDS,
            warm_up=False,
        )
    finally:
        bench.remove(ids)
    yield Report(
        title=f"CPU per second to watch {CONTAINERS} containers, once a second",
        samples=samples,
        baseline="docker stats",
        busy=busy,
        bars=[
            Bar(
                promise="pysys_orch against docker stats",
                measured=ratio(samples, "pysys_orch", "docker stats"),
                limit=1,
            )
        ],
        notes=["docker stats writes no file, and is not asked for percentiles"],
    )


def _stats(bench: Bench, ids: list[str]) -> Figures:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        [bench.docker, "stats", *ids], stdout=subprocess.DEVNULL, env=dict(os.environ)
    ) as process:
        time.sleep(SECONDS)
        process.terminate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"total": spent / SECONDS * 1000}

"""A hundred running containers that nobody wants any more are removed.

Also such whose main process ignores SIGTERM: who asks politely waits ten seconds.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.docker.bench import BUSYBOX, Bench, remove_containers
from benchmarks.measure import (
    Bar,
    Figures,
    Report,
    Rounds,
    Stopwatch,
    best,
    ratio,
)
from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.collect import Policy, plan_collection, sweep

ROUNDS = 5
#: How many there are.
LEFTOVERS = 100
_OBEDIENT = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]
_STUBBORN = ["sh", "-c", "trap '' TERM; sleep 1000 & wait"]
_SETTLE = 1.0

_Removal = Callable[[Bench, list[str]], Figures]


def run(bench: Bench, rounds: Rounds) -> Iterator[Report]:
    """Compare all ways to remove them."""
    removals: dict[str, _Removal] = {
        "raw, one by one": _raw_one_by_one,
        "raw, 8 threads": _raw_parallel,
        "docker CLI, one call": _cli_one_call,
        "docker CLI, one by one": _cli_one_by_one,
        "pysys_orch": _collection,
    }
    variants = {
        name: partial(_measure, bench, removal, _OBEDIENT)
        for name, removal in removals.items()
    }
    for name in ("raw, 8 threads", "pysys_orch"):
        variants[f"{name}, SIGTERM ignored"] = partial(
            _measure, bench, removals[name], _STUBBORN
        )
    samples, busy = rounds.interleave(variants, ROUNDS, warm_up=False)
    fastest = best(samples, ["raw, one by one", "raw, 8 threads"])
    yield Report(
        title=f"Removing {LEFTOVERS} containers that run",
        samples=samples,
        baseline="raw, 8 threads",
        busy=busy,
        bars=[
            Bar(
                promise=f"pysys_orch against {fastest}",
                measured=ratio(samples, "pysys_orch", fastest),
                limit=1.1,
            ),
            Bar(
                promise="pysys_orch, SIGTERM ignored against obeyed",
                measured=ratio(samples, "pysys_orch, SIGTERM ignored", "pysys_orch"),
                limit=1.1,
            ),
        ],
        notes=["pysys_orch also finds them: it lists the engine and plans"],
    )


def _measure(bench: Bench, removal: _Removal, command: list[str]) -> Figures:
    ids = bench.start_many(BUSYBOX, command, LEFTOVERS)
    time.sleep(_SETTLE)
    figures = removal(bench, ids)
    left = bench.containers()
    assert not left, f"{len(left)} containers are left"
    return figures


def _timed(act: Callable[[], object]) -> Figures:
    watch = Stopwatch()
    with watch.step("remove"):
        act()
    return watch.total()


def _raw_one_by_one(bench: Bench, ids: list[str]) -> Figures:
    def remove() -> None:
        for container in ids:
            bench.raw.ask("DELETE", f"/containers/{container}", force=1, v=1)

    return _timed(remove)


def _raw_parallel(bench: Bench, ids: list[str]) -> Figures:
    return _timed(lambda: remove_containers(bench.raw, ids))


def _cli_one_call(bench: Bench, ids: list[str]) -> Figures:
    return _timed(lambda: _cli(bench, ids))


def _cli_one_by_one(bench: Bench, ids: list[str]) -> Figures:
    return _timed(lambda: [_cli(bench, [container]) for container in ids])


def _cli(bench: Bench, ids: list[str]) -> None:
    subprocess.run(
        [bench.docker, "rm", "--force", "--volumes", *ids],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _collection(bench: Bench, ids: list[str]) -> Figures:
    """Collect as a run's end does: the owner, this process, is said to be dead.

    A dead owner's things would be collected by any PySys run that begins meanwhile.
    """
    policy = Policy.here(lease=300, retention_days=7, known=(bench.owner,))
    watch = Stopwatch()
    with watch.step("plan"):
        engine = ApiEngine.connect(os.environ)
        plan = plan_collection(engine.listing(), now=engine.now(), policy=policy)
        # What others left is for them to collect.
        plan = [each for each in plan if each.resource.id in ids]
    with watch.step("remove"):
        report = sweep(engine, plan, clock=SystemClock())
    assert not report.failures, report.failures
    return watch.total()

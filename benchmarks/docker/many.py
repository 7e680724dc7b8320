"""Many containers in one test: run in parallel, waited for, logged and removed.

All of them are there at the same time, in both variants, and eight threads at a time
speak to the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.docker.bench import BUSYBOX, Bench, remove_containers
from benchmarks.measure import Bar, Figures, Report, Rounds, Stopwatch, ratio

ROUNDS = 5
#: How many there are if nobody says.
CONTAINERS = 100
THREADS = 8

_SAY = "echo one; echo two >&2; echo READY"
#: What each does, by what happens to it then.
COMMANDS: Mapping[str, list[str]] = {
    "that end": ["sh", "-c", _SAY],
    "that run": ["sh", "-c", f"{_SAY}; exec sleep 1000"],
}


def run(bench: Bench, rounds: Rounds, number: int = CONTAINERS) -> Iterator[Report]:
    """Compare with the raw interface, for containers that end and such that run."""
    for which in COMMANDS:
        yield report(bench, rounds, which, number)


def report(bench: Bench, rounds: Rounds, which: str, number: int) -> Report:
    """Compare *number* containers of one kind."""
    samples, busy = rounds.interleave(
        {
            "raw": partial(_raw, bench, which, number),
            "pysys_orch": bench.in_worker("many", which, number),
        },
        ROUNDS,
        warm_up=False,
    )
    return Report(
        title=f"{number} containers {which}, started, logged, waited for and removed",
        samples=samples,
        baseline="raw",
        busy=busy,
        bars=[
            Bar(
                promise="pysys_orch against raw",
                measured=ratio(samples, "pysys_orch", "raw"),
                limit=1.2,
            )
        ],
    )


def _raw(bench: Bench, which: str, number: int) -> Figures:
    folder = bench.folder / "many"
    folder.mkdir(exist_ok=True)
    watch = Stopwatch()
    with ThreadPoolExecutor(THREADS) as pool:
        with watch.step("start"):
            start = partial(bench.start, BUSYBOX)
            ids = list(pool.map(start, [COMMANDS[which]] * number))
        with watch.step("wait"):
            wait = partial(_wait, bench, folder, ends=which == "that end")
            list(pool.map(wait, ids))
    with watch.step("remove"):
        remove_containers(bench.raw, ids)
    return watch.total()


def _wait(bench: Bench, folder: Path, container: str, *, ends: bool) -> None:
    """Wait for the end of a container, or for a line; write its log to a file."""
    if ends:
        bench.raw.ask("POST", f"/containers/{container}/wait")
    lines = bench.raw.log_lines(container, follow=not ends)
    with (folder / container).open("wb") as file, closing(lines):
        for line in lines:
            file.write(line)
            if b"READY" in line and not ends:
                break

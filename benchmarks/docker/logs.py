"""A line is written in a container and arrives in a file of the host."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import select
import statistics
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.docker.bench import DEBIAN, Bench
from benchmarks.docker.raw import RawEngine
from benchmarks.measure import Bar, Figures, Report, Rounds, values

ROUNDS = 5
_NUMBERS = (1, 50)
_LISTENING = 3.0
_LINES_PER_SECOND = 100  # of all containers together
_SETTLE = 2.0

# <sys/inotify.h>
_IN_MODIFY = 2
_EVENT = struct.Struct("iIII")

_Following = Callable[[Bench, list[str], int], Iterator[list[Path]]]


def run(bench: Bench, rounds: Rounds) -> Iterator[Report]:
    """Compare the delays with one container, and with many."""
    for number in _NUMBERS:
        yield _with(bench, number, rounds)


def _with(bench: Bench, number: int, rounds: Rounds) -> Report:
    pause = number / _LINES_PER_SECOND
    code = (
        "import random, time\n"
        f"time.sleep(random.uniform(0, {pause}))\n"
        f"while True: print(time.time(), flush=True); time.sleep({pause})"
    )
    command = ["python3", "-c", code]
    variants = {
        "raw, a thread each": _raw,
        "docker CLI, a process each": _cli,
        "pysys_orch": _library,
    }
    samples, busy = rounds.interleave(
        {
            name: partial(_measure, partial(following, bench, command, number))
            for name, following in variants.items()
        },
        ROUNDS,
        warm_up=False,
    )
    return Report(
        title=f"From a line in a container to a line in a file, {number} at once",
        samples=samples,
        baseline="raw, a thread each",
        busy=busy,
        bars=[
            Bar(
                promise="pysys_orch, median",
                measured=values(samples, "pysys_orch"),
                limit=5,
                unit="ms",
            )
        ],
        notes=[
            f"{_LINES_PER_SECOND} lines per second altogether",
            "the time to hear of the file's change is included",
        ],
    )


def _measure(following: Callable[[], Iterator[list[Path]]]) -> Figures:
    with contextmanager(following)() as files:
        time.sleep(_SETTLE)
        delays = sorted(_delays(files))
    return {
        "total": statistics.median(delays),
        "95 %": delays[int(len(delays) * 0.95)],
        "most": delays[-1],
        "lines": len(delays),
    }


def _delays(files: list[Path]) -> Iterator[float]:
    """Yield, for each line that comes, how old it is; in milliseconds.

    The files are watched by inotify: to ask again and again would keep from their work
    those who are measured.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    inotify = libc.inotify_init()
    watched = {}
    for file in files:
        descriptor = libc.inotify_add_watch(inotify, os.fsencode(file), _IN_MODIFY)
        watched[descriptor] = file.open("rb")
        watched[descriptor].seek(0, os.SEEK_END)
    begin = time.time()
    rest = dict.fromkeys(watched, b"")
    try:
        while (remaining := begin + _LISTENING - time.time()) > 0:
            if not select.select([inotify], [], [], remaining)[0]:
                break
            data = os.read(inotify, 65536)
            for position in range(0, len(data), _EVENT.size):
                descriptor = _EVENT.unpack_from(data, position)[0]
                *lines, rest[descriptor] = (
                    rest[descriptor] + watched[descriptor].read()
                ).split(b"\n")
                now = time.time()
                yield from (
                    (now - float(line)) * 1000 for line in lines if float(line) > begin
                )
    finally:
        os.close(inotify)
        for opened in watched.values():
            opened.close()


def _library(bench: Bench, command: list[str], number: int) -> Iterator[list[Path]]:
    files = bench.worker().ask("follow", DEBIAN, command, number)
    try:
        yield [Path(file) for file in files]
    finally:
        bench.worker().ask("unfollow")


def _cli(bench: Bench, command: list[str], number: int) -> Iterator[list[Path]]:
    with _containers(bench, command, number) as (ids, files):
        clients = []
        try:
            for container, file in zip(ids, files, strict=True):
                with file.open("wb") as out:
                    logs = [bench.docker, "logs", "--follow", container]
                    clients.append(subprocess.Popen(logs, stdout=out))
            yield files
        finally:
            for client in clients:
                client.kill()
                client.wait()


def _raw(bench: Bench, command: list[str], number: int) -> Iterator[list[Path]]:
    with _containers(bench, command, number) as (ids, files):
        for file in files:
            file.touch()
        # A process of its own: the watcher must not compete with it for one lock.
        context = multiprocessing.get_context("spawn")
        follower = context.Process(
            target=follow_all, args=(bench.raw.path, ids, files), daemon=True
        )
        follower.start()
        try:
            yield files
        finally:
            follower.kill()
            follower.join()


@contextmanager
def _containers(
    bench: Bench, command: list[str], number: int
) -> Iterator[tuple[list[str], list[Path]]]:
    ids = bench.start_many(DEBIAN, command, number)
    try:
        yield ids, [bench.folder / f"{container}.out" for container in ids]
    finally:
        bench.remove(ids)


def follow_all(path: str, ids: list[str], files: list[Path]) -> None:
    """Write the logs of containers to files, for ever."""
    from threading import Thread

    def follow(container: str, file: Path) -> None:
        with file.open("wb", buffering=0) as out:
            for line in RawEngine(path).log_lines(container, follow=True):
                out.write(line)

    threads = [
        Thread(target=follow, args=each) for each in zip(ids, files, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

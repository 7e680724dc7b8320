"""What containers take of the machine while a test runs: a file, and figures of it."""

from __future__ import annotations

import csv
import io
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from pysys.perf.api import PerformanceUnit

from pysys_orch.docker.engine.amounts import seconds_of
from pysys_orch.docker.engine.model import Resource
from pysys_orch.docker.engine.stats import next_tick
from pysys_orch.docker.helper import DockerBelonging, fileName, reserveFile
from pysys_orch.docker.many import severalOf
from pysys_orch.docker.parent import Parent, logsOf
from pysys_orch.docker.runningcontainer import RunningContainer
from pysys_orch.docker.session import Session
from pysys_orch.docker.watched import HEADING, Watched
from pysys_orch.errors import ConfigError, DockerError

log = logging.getLogger("pysys.orch.docker")

#: The columns of the file; documented in `DockerMonitor`.
COLUMNS = (
    "time",
    "seconds",
    "container",
    "cpu_percent",
    "memory_bytes",
    "memory_limit_bytes",
    "rx_bytes",
    "tx_bytes",
    "read_bytes",
    "write_bytes",
    "pids",
)

_SHORTEST = 0.1
_PARALLEL = 4  # an engine answers in a few milliseconds
_MOST_REPORTED = 50
_JOIN_TIMEOUT = 5.0
_CPU = PerformanceUnit("%", biggerIsBetter=False)
_MEMORY = PerformanceUnit("bytes", biggerIsBetter=False)
_RATE = PerformanceUnit("bytes/s", biggerIsBetter=False)
_REPORTED = {
    "cpu": ("CPU", _CPU),
    "memory": ("memory", _MEMORY),
    "rx": ("network received", _RATE),
    "tx": ("network sent", _RATE),
    "read": ("block read", _RATE),
    "write": ("block written", _RATE),
}


class DockerMonitor(DockerBelonging):
    """Samples what containers take, at a steady rate, until it is stopped.

    Each sample is a line of a CSV file in the output directory: the time by the
    engine's clock, the seconds since the monitor's start at which it was due, the
    container, its CPU (per cent of one CPU, since the sample before), its memory
    without page cache and the limit of that in bytes, the bytes that it has received,
    sent, read and written since it was started, and how many processes it has.

    A late sample does not shift those after it; one that is more than an interval late
    is missed, and counted. Containers that end or are removed are told in the log, and
    are no error; lack of memory is told from other ends.

    In the end the log has a table, and percentiles are performance results of the test.

    Args:
        parent: The test or runner.
        containers: What to watch; those that do not run yet, from when they do.
        interval: Seconds between two samples, 0.1 at least, or a text such as
            ``500ms``.
        file: What the file is called; ``monitor.csv`` by default. There is a number in
            it where that is taken.
    """

    def __init__(
        self,
        parent: Parent,
        containers: Iterable[RunningContainer] = (),
        *,
        interval: float | str = 1.0,
        file: str | None = None,
    ) -> None:
        super().__init__(parent, fileName((file or "monitor").removesuffix(".csv")))
        self._clock = Session.of(parent).clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._targets: list[Watched] = []
        self._path: Path | None = None
        self._missed = 0
        self._failure: Exception | None = None
        self._is_over = False
        with self.reporting():
            self._interval = seconds_of("the interval of a monitor", interval)
            if self._interval < _SHORTEST:
                message = (
                    f"the interval of a monitor is {_SHORTEST:g} s or more, "
                    f"got {interval!r}"
                )
                raise ConfigError(message)
            self.add(containers)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def add(self, *containers: RunningContainer | Iterable[RunningContainer]) -> Self:
        """Watch more containers, from now on.

        Args:
            containers: Those, or a list of them; one that is watched already goes on as
                it was.
        """
        with self.reporting():
            more: list[RunningContainer] = []
            for each in containers:
                one = [each] if isinstance(each, RunningContainer) else each
                more += severalOf("monitor", RunningContainer, one)
            self._add(more)
        return self

    def start(self) -> Self:
        """Begin; nothing happens if it has begun. It ends with its parent at last."""
        with self.reporting():
            if self._is_over:
                message = f"{self.displayName} was stopped: make another monitor"
                raise ConfigError(message)
            if self._thread is None:
                folder = Path(self.parent.output)
                folder.mkdir(parents=True, exist_ok=True)
                self._path = reserveFile(folder, self.displayName, ".csv")
                # What is added later is called earlier: containers that the cleanup
                # removes are not to be told as gone.
                Session.of(self.parent).belongings(self.parent).add(self)
                self.parent.addCleanupFunction(self.stop)
                self._thread = threading.Thread(
                    target=self._run,
                    args=(self._path, logsOf(self.parent)),
                    name="orch-monitor",
                    daemon=True,
                )
                self._thread.start()
        return self

    def stop(self) -> Self:
        """End it, and tell its figures; nothing happens if it has ended."""
        with self.reporting():
            if self._thread is None or self._is_over:
                return self
            self._is_over = True
            self._stop.set()
            self._thread.join(_JOIN_TIMEOUT)
            # What an engine that is silent would say is not waited for.
            is_told = not self._thread.is_alive()
            for each in self._targets:
                is_told = is_told and each.note_end()
                each.close()
            self._tell()
            self._report()
            if self._failure is not None:
                message = f"{self.displayName} ended early: {self._failure}"
                raise DockerError(message)
        return self

    def getFile(self) -> str:
        """Return the absolute path of its file; empty before it was started."""
        return str(self._path or "")

    def getMissed(self) -> int:
        """Return how many samples were missed so far, of all containers at once."""
        return self._missed

    def getFigures(self) -> dict[str, dict[str, float]]:
        """Return the figures so far.

        Returns:
            Maps what a container is called to ``cpu_p50``, ``cpu_p90``, ``cpu_p99`` and
            ``cpu_max`` (per cent of one CPU), the same of ``memory`` (bytes), and
            ``samples``; and, of a container that has received, sent, read or written
            anything, of ``rx``, ``tx``, ``read`` and ``write`` (bytes per second,
            between two samples). Percentiles are exact to 1 %, maxima are exact.
        """
        with self._lock:
            return {each.name: each.figures() for each in self._targets}

    # What a test's cleanup asks of it -------------------------------------------------

    def resources(self) -> list[Resource]:
        """Return nothing: it has nothing on the engine."""
        return []

    def end(self) -> None:
        """Stop it."""
        self.stop()

    # Inside ---------------------------------------------------------------------------

    def _add(self, containers: Iterable[RunningContainer]) -> None:
        with self._lock:
            known = {id(each.container) for each in self._targets}
            names = {each.name for each in self._targets}
            for each in containers:
                if id(each) in known:
                    continue
                name, number = each.displayName, 1
                while name in names:
                    number += 1
                    name = f"{each.displayName} {number}"
                names.add(name)
                self._targets.append(Watched(each, name))

    def _run(self, path: Path, begin: Callable[[], object]) -> None:
        try:
            with (
                path.open("w", encoding="utf-8", newline="") as file,
                ThreadPoolExecutor(_PARALLEL, "orch-stats", initializer=begin) as pool,
            ):
                self._sample(file, pool)
        except Exception as failure:  # noqa: BLE001 -- kept for who stops it
            self._failure = failure

    def _sample(self, file: io.TextIOBase, pool: ThreadPoolExecutor) -> None:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        begin, tick = self._clock.instant(), 0
        while self._clock.wait_until(begin + tick * self._interval, self._stop):
            with self._lock:
                targets = list(self._targets)
            seconds = f"{tick * self._interval:.6g}"
            rows = pool.map(Watched.look, targets)
            for target, row in zip(targets, rows, strict=True):
                if row is not None:
                    writer.writerow((row[0], seconds, target.name, *row[1:]))
            file.flush()
            after = next_tick(tick, self._clock.instant() - begin, self._interval)
            self._missed += after - tick - 1
            tick = after

    def _tell(self) -> None:
        width = max((len(each.name) for each in self._targets), default=0)
        log.info("What containers took is in %s", self.getFile())
        log.info("  %-*s %s", width, "", HEADING)
        for each in self._targets:
            log.info("  %-*s %s", width, each.name, each.line())
        if self._missed:
            log.warning(
                "%s: %d samples were missed, since the engine or this machine was slow",
                self.displayName,
                self._missed,
            )

    def _report(self) -> None:
        report = getattr(self.parent, "reportPerformanceResult", None)
        if report is None:  # a runner has no results
            return
        # PySys wants keys that no other test has, nor this one in another mode.
        parts = [getattr(self.parent, "descriptor").id]  # noqa: B009 -- of a test
        stem = Path(self.getFile()).stem
        parts += [stem] if stem != "monitor" else []
        for each in self._targets[:_MOST_REPORTED]:
            for key, figure in each.figures().items():
                what, _, which = key.partition("_")
                if which:
                    words, unit = _REPORTED[what]
                    name = f"Docker {' '.join(parts)} {each.name}: {words} {which}"
                    report(figure, name, unit)

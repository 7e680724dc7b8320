"""One container that a monitor watches: its samples, and how it fares meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pysys_orch.docker.engine import ready
from pysys_orch.docker.engine.amounts import in_bytes
from pysys_orch.docker.engine.events import DIE, OOM, START
from pysys_orch.docker.engine.stats import (
    Sample,
    Spread,
    cpu_percent,
    rates,
    read_sample,
)
from pysys_orch.docker.runningcontainer import RunningContainer
from pysys_orch.docker.session import Session
from pysys_orch.errors import ConflictError, DockerError, NotFoundError

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine
    from pysys_orch.docker.engine.events import Watch

log = logging.getLogger("pysys.orch.docker")

_WHICH = ("p50", "p90", "p99", "max")

#: What stands above the lines of `Watched.line`.
HEADING = (
    f"{'samples':>7}{'CPU %':>8}"
    + "".join(f"{each:>8}" for each in _WHICH[1:])
    + f"{'memory':>11}"
    + "".join(f"{each:>11}" for each in _WHICH[1:])
)

# An engine may hear only after the end of a container that it lacked memory.
_ABSENT_ENOUGH = 2


class Watched:
    """A container, from when it runs until its monitor is stopped.

    One thread at a time looks at it.

    Args:
        container: The container, which need not have been run.
        name: What the monitor calls it.

    Attributes:
        container: The container.
        name: What the monitor calls it.
    """

    def __init__(self, container: RunningContainer, name: str) -> None:
        self.container = container
        self.name = name
        self._cpu = Spread(0.01)
        self._memory = Spread()
        self._rates = {what: Spread() for what in ("rx", "tx", "read", "write")}
        self._last: Sample | None = None
        self._watch: Watch | None = None
        self._heard = 0  # events
        self._absent = 0  # looks without a sample, one after another
        self._lost = 0  # samples that the engine did not give
        self._ending = ""
        self._is_removed = False
        # An engine may tell of a start when much has been done already.
        self._breaks: dict[str, datetime] = {}  # the last end, and the last start
        # In its present life: whether it has lacked memory, or was to be killed.
        self._is_lacking = self._is_shot = False

    def look(self) -> tuple[object, ...] | None:
        """Take a sample.

        Returns:
            The columns of its line that tell of the container; None if it does not run,
            or the engine does not answer.
        """
        engine = self.container.engineInUse()
        if engine is None or not self.container.getId() or self._is_removed:
            return None
        try:
            self._hear(engine)
            sample = read_sample(engine.container_stats(self.container.getId()))
            self._hear(engine)  # again: it may have been restarted in between
        except NotFoundError:
            self._note_removed()
            return None
        except DockerError:
            self._lost += 1
            return None
        if sample is None:
            self._absent += 1
            if self._absent >= _ABSENT_ENOUGH:
                self._note_ending(engine)
            return None
        breaks = self._breaks.values()
        cpu = cpu_percent(self._last, sample, breaks=breaks)
        for what, rate in rates(self._last, sample, breaks=breaks).items():
            self._rates[what].add(rate)
        self._last, self._absent, self._ending = sample, 0, ""
        self._memory.add(sample.memory)
        if cpu is not None:
            self._cpu.add(cpu)
        return (
            sample.at.isoformat(timespec="milliseconds"),
            "" if cpu is None else f"{cpu:.2f}",
            sample.memory,
            sample.limit,
            sample.received,
            sample.sent,
            sample.read,
            sample.written,
            sample.pids,
        )

    def note_end(self) -> bool:
        """Note what has become of it; return whether its engine answers."""
        engine = self.container.engineInUse()
        if engine is not None and self._last is not None and not self._is_removed:
            try:
                self._hear(engine)
                self._note_ending(engine)
            except DockerError:
                self._lost += 1
                return False
        return True

    def close(self) -> None:
        """Listen no more."""
        if self._watch is not None:
            self._watch.close()

    def figures(self) -> dict[str, float]:
        """Return what `DockerMonitor.getFigures` tells of it."""
        moved = {what: each for what, each in self._rates.items() if each.most}
        spreads = {"cpu": self._cpu, "memory": self._memory, **moved}
        found = {
            f"{what}_{which}": figure
            for what, spread in spreads.items()
            for which, figure in spread.figures().items()
        }
        return {"samples": self._memory.count, **found}

    def line(self) -> str:
        """Return its line of a table, below `HEADING`."""
        figures = self.figures()
        if not self._memory.count:
            return f"{0:>7}  {self._ending or 'never ran while it was watched'}"
        cpu = (figures.get(f"cpu_{each}") for each in _WHICH)
        shown = [f"{'-':>8}" if each is None else f"{each:>8.1f}" for each in cpu]
        shown += [f"{in_bytes(figures[f'memory_{each}']):>11}" for each in _WHICH]
        lost = f"  {self._lost} samples were not given" if self._lost else ""
        ending = f"  {self._ending}" if self._ending else ""
        return f"{self._memory.count:>7}{''.join(shown)}{ending}{lost}"

    def _hear(self, engine: ApiEngine) -> None:
        """Take note of what has happened to it meanwhile."""
        if self._watch is None:
            hub = Session.of(self.container.parent).engines.hub(engine)
            self._watch = hub.watch(self.container.getId())
        count = self._watch.count
        for event in self._watch.events(self._heard):
            if event.action in {DIE, START}:
                self._breaks[event.action] = event.at
            if event.action == START:
                self._is_lacking = self._is_shot = False
            elif event.explains(ready.KILLED):
                self._is_shot = True
            elif event.action == OOM:
                self._is_lacking = True
                log.warning("Lack of memory killed a process in %s", self.name)
        self._heard = max(self._heard, count)

    def _note_ending(self, engine: ApiEngine) -> None:
        if self._ending:
            return
        try:
            found: Mapping[str, Any] = engine.inspect_container(self.container.getId())
        except (NotFoundError, ConflictError):
            self._note_removed()
            return
        state = found["State"]
        if state["Status"] not in {"exited", "dead"}:
            return
        lacking = state.get("OOMKilled") or self._is_lacking
        if lacking or not self._is_shot:
            limit = found["HostConfig"].get("Memory")
            state = {**state, "OOMKilled": lacking, ready.MEMORY_LIMIT: limit}
        self._ending = ready.ending(state)
        log.info("While it was monitored, %s %s", self.name, self._ending)

    def _note_removed(self) -> None:
        self._is_removed = True
        gone = "was removed"
        self._ending = f"{self._ending}, {gone}" if self._ending else gone
        log.info("While it was monitored, %s %s", self.name, gone)

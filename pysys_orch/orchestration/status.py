"""How far a run is, in a file that others may read meanwhile."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from pysys_orch.orchestration.description import Description
from pysys_orch.orchestration.orchestrator import Progress
from pysys_orch.orchestration.tally import Tally

log = logging.getLogger("pysys.orch.orchestration")

_ENDING = ".status.json"
# Who has more of them reads the journal.
_MOST_EVENTS = 1000
_CLOSE_WITHIN = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a run is.

    Attributes:
        begin: When it began.
        stamp: When this was so.
        progress: How far it was then.
        phase: The phase that it was in; empty if there are none.
        tallies: What became of each event so far.
        why: Why the run has ended; empty if it has not.
    """

    begin: datetime
    stamp: datetime
    progress: Progress
    phase: str
    tallies: Sequence[Tally]
    why: str = ""

    def as_json(self, description: Description) -> dict[str, Any]:
        """Return what the file says of it."""
        at, following = self.progress, None
        events_running = zip(self.tallies, at.running, strict=True)
        events = [
            {
                "event": tally.name,
                "fired": tally.fired,
                "failed": tally.failed,
                "running": running,
            }
            for tally, running in islice(events_running, _MOST_EVENTS)
        ]
        if at.upcoming is not None and not self.why:
            name = description.events[at.upcoming.event].name
            following = {"event": name, "due": round(at.upcoming.due, 6)}
        return {
            "orchestration": description.test_name,
            "state": "ended" if self.why else "running",
            "why": self.why,
            "begin": self.begin.isoformat(),
            "stamp": self.stamp.isoformat(),
            "elapsed": round(at.elapsed, 6),
            "remaining": round(max(0.0, description.total - at.elapsed), 6),
            "phase": self.phase,
            "fired": sum(tally.fired for tally in self.tallies),
            "failed": sum(tally.failed for tally in self.tallies),
            "running": sum(at.running),
            "next": following,
            "events": events,
        }


class StatusFile:
    """A file that is there as a whole, whoever reads it when.

    A disk that is full costs this file, and nothing else.

    Args:
        journal: The journal that it is beside.
        initialize: Called first in the thread that writes it, so that nobody waits for
            a disk.
    """

    def __init__(
        self, journal: Path, initialize: Callable[[], object] = lambda: None
    ) -> None:
        self._file = journal.with_suffix(_ENDING)
        self._news = queue.SimpleQueue[Callable[[], Mapping[str, Any]] | None]()
        self._has_failed = False
        self._thread = threading.Thread(
            target=self._run,
            args=(initialize,),
            name="orchestration-status",
            daemon=True,
        )
        self._thread.start()

    def renew(self, said: Callable[[], Mapping[str, Any]]) -> None:
        """Have the file say what this returns, as soon as may be."""
        self._news.put(said)

    def close(self) -> None:
        """Wait until the file says what it was told last, for some seconds at most."""
        self._news.put(None)
        self._thread.join(_CLOSE_WITHIN)

    def _run(self, initialize: Callable[[], object]) -> None:
        initialize()
        is_over = False
        while not is_over and (said := self._news.get()) is not None:
            # Of what was told meanwhile, the last is what counts.
            while not is_over and not self._news.empty():
                newer = self._news.get()
                is_over = newer is None
                said = newer or said
            self._write(json.dumps(said()))

    def _write(self, text: str) -> None:
        fresh = self._file.with_name(f"{self._file.name}.new")
        try:
            fresh.write_text(f"{text}\n", encoding="utf-8")
            # Where files that are read cannot be replaced, the next one may be.
            fresh.replace(self._file)
        except OSError as failure:
            with contextlib.suppress(OSError):
                fresh.unlink()
            if not self._has_failed:
                log.warning("%s could not be renewed: %s", self._file, failure)
            self._has_failed = True

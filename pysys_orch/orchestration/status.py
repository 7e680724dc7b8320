"""How far a run is, in a file that others may read meanwhile."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
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
# Who has more of them reads the journal: this is written between two firings.
_MOST_EVENTS = 1000


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
    """

    def __init__(self, journal: Path) -> None:
        self._file: Path | None = journal.with_suffix(_ENDING)

    def renew(self, said: Mapping[str, Any]) -> None:
        """Have the file say this from now on."""
        if self._file is None:
            return
        fresh = self._file.with_name(f"{self._file.name}.new")
        try:
            fresh.write_text(f"{json.dumps(said)}\n", encoding="utf-8")
            fresh.replace(self._file)
        except OSError as failure:
            log.warning("%s is not renewed any more: %s", self._file, failure)
            self._file = None

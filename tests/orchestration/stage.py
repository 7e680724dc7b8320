"""A small stage for orchestrations: functions, a description, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.orchestration import reading
from pysys_orch.orchestration.calls import Inline
from pysys_orch.orchestration.events import Library, Source
from pysys_orch.orchestration.reading import Draft
from pysys_orch.orchestration.session import Report, Session, Surroundings
from pysys_orch.testing import ManualClock


def library(*functions: Callable[..., Any], **named: object) -> Library:
    """Return a library of functions, by their names or others."""
    module = ModuleType("events")
    for each in functions:
        setattr(module, each.__name__, each)
    for name, value in named.items():
        setattr(module, name, value)
    return Library(sources=[Source("events.py", module)])


def draft(*events: Mapping[str, Any] | str, **keys: Any) -> Draft:
    """Return a description of events that runs for ten seconds, unless it says else."""
    listed = [{"name": each} if isinstance(each, str) else each for each in events]
    if not {"total_hours", "phases", "duration"} & keys.keys():
        keys["duration"] = 10
    return reading.draft({"test_name": "stage", "events": listed, **keys})


class Stage:
    """What came of an orchestration.

    Args:
        report: The verdict.
        journal: Where it was written down.
    """

    def __init__(self, report: Report, journal: Path) -> None:
        self.report = report
        lines = journal.read_text().splitlines()
        self.head, *found, self.tail = map(json.loads, lines)
        #: What is written down when a fault begins.
        self.begun = [each for each in found if "begun" in each]
        self.lines = [each for each in found if "begun" not in each]

    @property
    def reasons(self) -> list[str]:
        """Why the test does not pass."""
        return [f"{each.result}: {each.words}" for each in self.report.judgements]

    def outcomes(self, name: str) -> list[str]:
        """Return how the firings of an event ended, in order."""
        return [each["outcome"] for each in self.of(name)]

    def of(self, name: str, kind: str = "") -> list[dict[str, Any]]:
        """Return what is written down of an event."""
        return [
            each
            for each in self.lines
            if each["event"] == name and kind in {"", each["kind"]}
        ]


def play(
    folder: Path,
    functions: Library,
    *events: Mapping[str, Any] | str,
    clock: Clock | None = None,
    is_aborting: Callable[[], bool] | None = None,
    **keys: Any,
) -> Stage:
    """Run an orchestration on this machine's clock."""
    journal = folder / "orchestration.jsonl"
    around = Surroundings(
        clock=clock or SystemClock(), seed=1, journal=journal, is_aborting=is_aborting
    )
    report = Session(draft(*events, **keys), functions).run(around)
    return Stage(report, journal)


def simulate(
    folder: Path, functions: Library, *events: Mapping[str, Any] | str, **keys: Any
) -> Stage:
    """Run an orchestration on a clock that costs no time."""
    journal = folder / "orchestration.jsonl"
    clock = ManualClock()
    around = Surroundings(clock=clock, seed=1, journal=journal, workers=Inline(clock))
    return Stage(Session(draft(*events, **keys), functions).run(around), journal)

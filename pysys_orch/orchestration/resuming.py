"""Goes on with a run that was killed, where it would be now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from pysys_orch.errors import ConfigError
from pysys_orch.orchestration.calls import Kind
from pysys_orch.orchestration.description import Description
from pysys_orch.orchestration.journal import JOURNAL
from pysys_orch.orchestration.review import review
from pysys_orch.orchestration.summary import span
from pysys_orch.orchestration.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Where a run goes on.

    Attributes:
        begin: When it began, the first time.
        since: How many seconds of it are over.
        last: When the last firing was due that is in its journal, in seconds.
        seed: What decides on all that is random.
        missed: How many firings of each event fell into the gap.
        lines: What the journal says of the firings until then.
    """

    begin: datetime
    since: float
    last: float
    seed: int
    missed: Counter[str]
    lines: Sequence[Mapping[str, Any]] = ()

    def in_force(self) -> set[str]:
        """Return the events that were not undone since they were fired the last time.

        Those without an undo are among them.
        """
        last = {each["event"]: each["kind"] for each in self.lines if each["started"]}
        return {name for name, kind in last.items() if kind != Kind.UNDO}


def resume(folder: Path, description: Description, now: datetime) -> Resumed:
    """Say where a run goes on.

    Args:
        folder: The output directory of the run that was killed.
        description: What was to happen.
        now: The time.

    Raises:
        ConfigError: It has no journal that makes sense, is of another orchestration, or
            has come to its end.
    """
    file = folder / JOURNAL
    found = review(file)
    head, lines = found.head, found.lines
    if head["orchestration"] != description.test_name:
        message = (
            f"{file} is of {head['orchestration']}, and this is {description.test_name}"
        )
        raise ConfigError(message)
    if found.why:
        message = f"{file} has come to its end: {found.why}. Run it anew"
        raise ConfigError(message)
    last = max([float(head["since"]), *(float(each["due"]) for each in lines)])
    begin = datetime.fromisoformat(head["begin"])
    since = (now - begin).total_seconds()
    if since >= description.total:
        message = (
            f"{file} is of a run that would be over since "
            f"{span(round(since - description.total))}: run it anew"
        )
        raise ConfigError(message)
    seed = int(head["seed"])
    gap = Timeline(description, seed=seed, begin=begin, since=last)
    missed = Counter(
        description.events[each.event].name
        for each in takewhile(lambda each: each.due < since, gap)
        # A journal has microseconds, and no more.
        if round(each.due, 6) > last
    )
    return Resumed(
        begin=begin, since=since, last=last, seed=seed, missed=missed, lines=lines
    )

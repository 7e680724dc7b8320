"""Goes on with a run that was killed, where it would be now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from pysys_orch.errors import ConfigError
from pysys_orch.orchestration.calls import Kind
from pysys_orch.orchestration.description import Description
from pysys_orch.orchestration.journal import JOURNAL
from pysys_orch.orchestration.review import call_of, review
from pysys_orch.orchestration.summary import span
from pysys_orch.orchestration.timeline import Timeline

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Where a run goes on.

    Attributes:
        begin: When it began, the first time.
        since: How many seconds of it are over.
        last: When the last firing was due that is in its journal, in seconds.
        seed: What decides on all that is random.
        missed: How many firings of each event fell into the gap.
        lines: What the journal says, but for its first line.
        in_force: The firings of each event, from 0, that were begun and not undone:
            their ordinals, the last one first. Events without an undo have none.
        numbers: The last ordinal of each event, from 0, that was not in the timeline.
    """

    begin: datetime
    since: float
    last: float
    seed: int
    missed: Counter[str]
    lines: Sequence[Line] = ()
    in_force: Mapping[int, Sequence[int]] = field(default_factory=dict)
    numbers: Mapping[int, int] = field(default_factory=dict)


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
    head, lines = found.head, found.entries
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
        begin=begin,
        since=since,
        last=last,
        seed=seed,
        missed=missed,
        lines=lines,
        in_force=_in_force(lines, description),
        numbers=_numbers(lines, description),
    )


def located(
    lines: Iterable[Line], description: Description
) -> Iterator[tuple[int, Line]]:
    """Yield lines of a journal, each after the event that it is about, from 0.

    Those of events that there are no more are left out. A line that does not say which
    one of several events of a name it is about is taken for one of the first.

    Args:
        lines: The lines, without the first and the last one.
        description: What has the events.
    """
    events = description.events
    first: dict[str, int] = {}
    for index, event in enumerate(events):
        first.setdefault(event.name, index)
    for line in lines:
        name, index = line["event"], line.get("index", -1)
        if 0 <= index < len(events) and events[index].name == name:
            yield index, line
        elif name in first:
            yield first[name], line


def _in_force(
    lines: Iterable[Line], description: Description
) -> dict[int, Sequence[int]]:
    found: dict[int, dict[tuple[Kind, int], None]] = {}
    for index, line in located(lines, description):
        if description.events[index].undo is None:
            continue
        faults = found.setdefault(index, {})
        kind, ordinal = Kind(line["kind"]), int(line["ordinal"])
        is_begun = "begun" in line or call_of(line).is_made
        if kind is not Kind.UNDO:
            if is_begun:
                faults[kind, ordinal] = None
            continue
        # An undo has the ordinal of what it takes back.
        undone = [each for each in faults if each[1] == ordinal]
        if is_begun and undone:
            del faults[undone[-1]]
    return {
        index: [ordinal for _, ordinal in reversed(faults)]
        for index, faults in found.items()
        if faults
    }


def _numbers(lines: Iterable[Line], description: Description) -> dict[int, int]:
    found: dict[int, int] = {}
    for index, line in located(lines, description):
        event, kind = description.events[index], Kind(line["kind"])
        is_users = event.closed is not None and kind is Kind.SCHEDULED
        if is_users or kind in {Kind.AFTER, Kind.RESUME}:
            found[index] = max(found.get(index, 0), int(line["ordinal"]))
    return found

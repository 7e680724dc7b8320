"""What a journal says of a run, also of one that was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pysys_orch.errors import ConfigError
from pysys_orch.inputs import utf8_text
from pysys_orch.orchestration.calls import Call, Kind, Outcome
from pysys_orch.orchestration.drawing import MOST_MARKS, Mark, page
from pysys_orch.orchestration.journal import JOURNAL
from pysys_orch.orchestration.summary import span, table
from pysys_orch.orchestration.tally import Tally

# What ends so soon was not there to be cancelled.
_AT_ONCE = 1e-4


@dataclass(frozen=True, slots=True)
class Review:
    """What became of a run.

    Attributes:
        head: What was known when it began.
        lines: What is written of each firing, in order.
        entries: The same, and that faults were begun.
        why: Why it ended; empty if it was killed.
        ended: How many seconds after its beginning, or was last heard of.
        tallies: What became of each event, in the order of their first firings.
    """

    head: dict[str, Any]
    lines: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    why: str
    ended: float
    tallies: list[Tally] = field(default_factory=list)


def review(place: Path) -> Review:
    """Read a journal.

    Args:
        place: The file, or the output directory that it is in.

    Raises:
        ConfigError: It is no journal.
    """
    file = place / JOURNAL if place.is_dir() else place
    head, *entries = list(_said(file)) or [{}]
    if "orchestration" not in head:
        message = f"{file} is no journal of an orchestration"
        raise ConfigError(message)
    why, ended = "", max((_end_of(each) for each in entries), default=0.0)
    if entries and "why" in entries[-1]:
        tail = entries.pop()
        why, ended = tail["why"], tail.get("ended", ended)
    lines = [each for each in entries if "outcome" in each]
    found = Review(head, lines, entries, why, ended)
    found.tallies.extend(_tallies(lines))
    return found


def words(found: Review) -> Iterator[str]:
    """Yield what people read of it."""
    ended = found.why or "it was killed"
    yield (
        f"{found.head['orchestration']} began {found.head['begin']}, "
        f"ended after {span(round(found.ended, 1))}: {ended}"
    )
    yield ""
    yield from table(found.tallies)
    for each in found.tallies:
        if each.first is not None:
            yield ""
            yield (
                f"{each.name}, firing {each.first.ordinal}, {each.first.outcome} after "
                f"{span(each.first.due)}: {each.first.words}"
            )


def picture(found: Review) -> str:
    """Return a page with one row for each event, and what became of each firing."""
    keys = dict.fromkeys(map(_key, found.lines))
    rows = {key: row for row, key in enumerate(keys)}
    step = max(1, -(-len(found.lines) // MOST_MARKS))
    marks = [
        _mark(rows[_key(each)], each)
        for number, each in enumerate(found.lines)
        # What went wrong is drawn whatever else is left out.
        if number % step == 0 or each["outcome"] not in {"ok", "skipped"}
    ]
    sampled = f", one in {step:,} shown" if step > 1 else ""
    return page(
        found.head["orchestration"],
        f"{len(found.lines):,} firings within {span(round(found.ended, 1))}: "
        f"{found.why or 'it was killed'}{sampled}.",
        rows=[each.name for each in found.tallies],
        total=found.ended,
        marks=marks[: 2 * MOST_MARKS],
    )


def _said(file: Path) -> Iterator[dict[str, Any]]:
    for line in utf8_text(file).splitlines():
        # The kill may have cut off the last one.
        with suppress(json.JSONDecodeError):
            said = json.loads(line)
            if isinstance(said, dict) and said.keys() & {
                "orchestration",
                "event",
                "why",
            }:
                yield said


def _end_of(line: dict[str, Any]) -> float:
    return float(line.get("ended") or line.get("begun") or line.get("due") or 0.0)


def _key(line: Mapping[str, Any]) -> tuple[str, int | None]:
    """Return what the lines of one event have in common."""
    return line["event"], line.get("index")


def _tallies(lines: list[dict[str, Any]]) -> list[Tally]:
    found: dict[tuple[str, int | None], Tally] = {}
    for line in lines:
        key = _key(line)
        if key not in found:
            found[key] = Tally(line["event"])
        found[key].add(call_of(line), 0.0)
    return list(found.values())


def call_of(line: Mapping[str, Any]) -> Call:
    """Return the firing that a line of a journal is about, with a beginning of 0."""
    call = Call(
        0,
        line["ordinal"],
        line.get("phase", ""),
        line["due"],
        lambda: None,
        kind=Kind(line["kind"]),
    )
    call.outcome = Outcome(line["outcome"])
    call.started = line["started"] or 0.0
    call.ended = line["ended"] or 0.0
    call.stack = line.get("error", "")
    call.is_made = line["started"] is not None and not _is_in_vain(call)
    return call


def _is_in_vain(call: Call) -> bool:
    """Return whether a call that found a worker was not made all the same."""
    if call.outcome is Outcome.CANCELLED:
        # There are journals that say of such a call, too, when it was started.
        return call.ended - call.started < _AT_ONCE
    return call.outcome is Outcome.DROPPED


def _mark(row: int, line: dict[str, Any]) -> Mark:
    begin = line["started"] or line["due"]
    kind = line["outcome"] if line["kind"] != Kind.UNDO else "undo"
    words = f"{line['event']} {line['ordinal']}: {line['outcome']} after {begin:.3f} s"
    return Mark(
        row=row,
        begin=begin,
        end=line["ended"] or begin,
        kind="" if kind == "ok" else kind,
        title=", ".join(filter(None, (words, line.get("error")))),
    )

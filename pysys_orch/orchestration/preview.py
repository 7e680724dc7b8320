"""What a description will do, before it does: as a table, and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pysys_orch.orchestration.description import (
    Description,
    Distribution,
    Event,
    On,
)
from pysys_orch.orchestration.drawing import MOST_MARKS, Mark, page
from pysys_orch.orchestration.summary import span
from pysys_orch.orchestration.timeline import Firing, Timeline

_MANY_A_SECOND = 1000
_ENDED = {
    On.SUCCESS: "has succeeded",
    On.FAILURE: "has failed",
    On.ANY: "has ended",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a description will do.

    Attributes:
        description: The description.
        timeline: When what fires.
        firings: The first of the firings.
        counts: How often each event fires, the teardown apart.
        notes: What the timeline does not say, and what people may not expect.
    """

    description: Description
    timeline: Timeline
    firings: Sequence[Firing]
    counts: Sequence[int]
    notes: Sequence[str]


def preview(description: Description, timeline: Timeline, limit: int) -> Preview:
    """Say what a description will do.

    Args:
        description: The description.
        timeline: When what fires.
        limit: How many firings are listed.
    """
    counts = [timeline.count(at) for at in range(len(description.events))]
    return Preview(
        description=description,
        timeline=timeline,
        firings=tuple(islice(timeline, limit)),
        counts=counts,
        notes=tuple(_notes(description, counts)),
    )


def lines(shown: Preview) -> Iterator[str]:
    """Yield the lines of a table."""
    description = shown.description
    total = sum(shown.counts)
    yield (
        f"{description.test_name}: {total:,} firings of {len(description.events)} "
        f"events within {span(description.total)}"
    )
    names = [each.name for each in description.events]
    wide = max((len(each) for each in names), default=0)
    yield ""
    for firing in shown.firings:
        phase = f"  {firing.phase}" if firing.phase else ""
        name = names[firing.event].ljust(wide)
        yield f"{at(firing.due)}  {name}  {firing.ordinal:>6,}{phase}"
    if total > len(shown.firings):
        yield f"... and {total - len(shown.firings):,} more: --limit shows them"
    for index in shown.timeline.teardown():
        yield f"{'at the end':>15}  {names[index]}"
    yield ""
    for name, count, event in zip(names, shown.counts, description.events, strict=True):
        yield f"{name.ljust(wide)}  {count:>10,}  {_often(event)}".rstrip()
    if shown.notes:
        yield ""
        yield from shown.notes


def at(seconds: float) -> str:
    """Return a time of the run: hours, minutes, seconds and milliseconds.

    Example:
        >>> at(3725.5)
        '    1:02:05.500'
    """
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:>5}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"


def _often(event: Event) -> str:
    if event.cron is not None:
        return f"cron {event.cron}"
    if event.gaps is None:
        return ""
    shortest, longest = event.gaps
    often = f"every {span(shortest)}"
    if event.distribution is Distribution.POISSON:
        return f"{often} on average"
    return f"{often} to {span(longest)}" if event.has_drawn_gaps else often


def _notes(description: Description, counts: Sequence[int]) -> Iterator[str]:
    for event, count in zip(description.events, counts, strict=True):
        name = event.name
        if event.after is not None:
            later = event.after.delay_sec
            delay = f", {span(later)} later" if later else ""
            when = f"{event.after.event} {_ENDED[event.after.on]}"
            yield f"{name} fires when {when}{delay}"
        elif event.closed is not None:
            every = span(event.closed.think_sec)
            users = f"{event.closed.users:,} users fire {name} again"
            yield f"{users}, each {every} after its last call has ended"
        elif not count and not event.at_teardown:
            yield f"{name} never fires: the run is over before"
        if event.wait:
            yield f"{name} is waited for by what fires at the beginning after it"
        if event.undo is not None and event.duration_sec is not None:
            yield f"{name} is undone by {event.undo} after {span(event.duration_sec)}"
    total = description.total
    rate = sum(counts) / total if total else 0.0
    if rate > _MANY_A_SECOND:
        yield f"{rate:,.0f} firings a second are more than most machines do on time"


def _phases(description: Description) -> list[tuple[str, float, float]]:
    found, begin = [], 0.0
    for each in description.phases:
        found.append((each.name, begin, begin + each.duration))
        begin += each.duration
    return found


def picture(shown: Preview) -> str:
    """Return a page with one row for each event, time going from left to right."""
    description = shown.description
    names = [each.name for each in description.events]
    count = sum(shown.counts)
    step = max(1, -(-count // MOST_MARKS))
    marks = [
        Mark(
            row=each.event,
            begin=each.due,
            end=each.due,
            title=f"{names[each.event]} {each.ordinal}: {at(each.due).strip()}",
        )
        for each in islice(shown.timeline, 0, None, step)
    ]
    marks += [
        Mark(
            row=index,
            begin=description.total,
            end=description.total,
            kind="end",
            title=f"{names[index]}: at the end",
        )
        for index in shown.timeline.teardown()
    ]
    sampled = f", one in {step:,} shown" if step > 1 else ""
    return page(
        description.test_name,
        f"{count:,} firings within {span(description.total)}{sampled}.",
        rows=names,
        total=description.total,
        marks=marks,
        phases=_phases(description),
    )

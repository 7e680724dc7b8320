"""What people read of a run: while it runs, and in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pysys_orch.orchestration.calls import Outcome
from pysys_orch.orchestration.description import Description
from pysys_orch.orchestration.tally import Tally
from pysys_orch.orchestration.timeline import Firing
from pysys_orch.orchestration.times import percentiles

_COLUMNS = (
    "fired",
    "ok",
    "failed",
    "skipped",
    "other",
    "late p50",
    "late p99",
    "late p99.9",
    "took p50",
    "took p99",
    "took p99.9",
    "took max",
)
_FIGURES = (
    "lateness_p50_ms",
    "lateness_p99_ms",
    "lateness_p999_ms",
    "duration_p50_ms",
    "duration_p99_ms",
    "duration_p999_ms",
    "duration_max_ms",
)
_MOST_ROWS = 100
_LATE_MS = 10.0


def span(seconds: float) -> str:
    """Return a time as people write it: ``45 s``, ``2 min 5 s``, ``3 h``.

    Example:
        >>> span(7325)
        '2 h 2 min 5 s'
        >>> span(0.25)
        '0.25 s'
    """
    if seconds < 60:
        return f"{round(seconds, 3):g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{value} {unit}" for value, unit in parts if value)


def progress_line(
    description: Description,
    elapsed: float,
    upcoming: Firing | None,
    tallies: Sequence[Tally],
) -> str:
    """Return how far a run is, on one line."""
    fired = sum(each.fired for each in tallies)
    failed = sum(each.failed for each in tallies)
    left = max(0.0, description.total - elapsed)
    words = (
        f"{span(round(elapsed))} over, {span(round(left))} left: "
        f"{fired:,} fired, {failed:,} failed"
    )
    if upcoming is None:
        return words
    name = description.events[upcoming.event].name
    return f"{words}; next is {name} in {span(max(0.0, upcoming.due - elapsed))}"


def lateness(tallies: Sequence[Tally]) -> str:
    """Return what is to be said about a run that was late; empty if it was not."""
    times = Counter[int]()
    for each in tallies:
        if each.times is not None:
            times.update(each.times.counts()["lateness"])
    late = percentiles("lateness", times).get("lateness_p99_ms", 0.0)
    if late <= _LATE_MS:
        return ""
    return (
        f"One firing in a hundred began {late:,.0f} ms late, or later: the machine is "
        "busy, or max_workers are too few; it is not what is tested that was late"
    )


def table(tallies: Sequence[Tally]) -> Iterator[str]:
    """Yield the lines of a table: what became of each event, with times in ms."""
    rows: list[tuple[str, ...]] = [("event", *_COLUMNS)]
    rows += [_row(each) for each in tallies[:_MOST_ROWS]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        right = (
            cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)
        )
        yield "  ".join((name.ljust(widths[0]), *right))
    if len(tallies) > _MOST_ROWS:
        yield f"and {len(tallies) - _MOST_ROWS:,} more events: see the journal"


def _row(tally: Tally) -> tuple[str, ...]:
    figures = tally.figures()
    ok = tally.counts.get(Outcome.OK, 0)
    skipped = tally.counts.get(Outcome.SKIPPED, 0)
    other = tally.fired - ok - tally.failed - skipped
    times = (f"{figures[each]:,.1f}" if each in figures else "-" for each in _FIGURES)
    numbers = (tally.fired, ok, tally.failed, skipped, other)
    return (tally.name, *(f"{each:,}" for each in numbers), *times)

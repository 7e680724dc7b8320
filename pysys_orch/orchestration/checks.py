"""What is wrong with one thing in a description in the light of others."""

from __future__ import annotations

import importlib
import re
import zoneinfo
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import fsum

from pysys_orch.durations import CENTURY
from pysys_orch.inputs import nearest
from pysys_orch.orchestration.description import (
    After,
    Closed,
    Description,
    Distribution,
    Event,
    OnFailure,
    Overlap,
    Phase,
)
from pysys_orch.orchestration.documents import Document, Steps, name_of
from pysys_orch.orchestration.thresholds import Threshold

_SHORTEST = 1e-6
_OF_FAULTS = {Overlap.SKIP, Overlap.PARALLEL}
_INTERVALS = ("interval_sec", "interval_min", "interval_hour", "rate_per_sec")
_MANY = 1000  # names that are looked through for what may have been meant
_FEW = 6  # events of a circle that fit into a message
_FUNCTION = re.compile(r"\w+(\.\w+)*:\w+")


def problems_of(
    description: Description,
    document: Document,
    names: Sequence[str] | None,
    but: frozenset[str] = frozenset(),
) -> Iterator[tuple[Steps, str]]:
    """Yield what is wrong in a description whose parts each make sense.

    Args:
        description: The description.
        document: Where it was read from.
        names: What all events of the document are called, also those that are left out;
            None if nobody knows.
        but: Keys of the description that nothing is said of any more.

    Returns:
        What leads to it, and what is wrong.
    """
    known = None if names is None else Counter(names)
    yield from _about_the_whole(description, document, but)
    yield from _about_thresholds(description, known)
    yield from _about_phases(description)
    yield from _about_events(description, known, but)


def _about_the_whole(
    description: Description, document: Document, but: frozenset[str]
) -> Iterator[tuple[Steps, str]]:
    name = description.test_name
    file = document.file
    wanted = name_of(file) if file is not None else None
    if wanted is not None and name != wanted and "test_name" not in but:
        yield (
            ("test_name",),
            f"test_name has to be {wanted!r}, as the file is called, got {name!r}",
        )
    said = [
        key
        for key in ("total_hours", "duration", "phases")
        if getattr(description, key) not in (None, ())
    ]
    if not said and not but & {"total_hours", "duration", "phases"}:
        yield (), "total_hours is missing: it says how long the test runs"
    if len(said) > 1:
        yield (said[1],), f"{said[1]} is said as well as {said[0]}: leave one out"
    if fsum(each.duration for each in description.phases) > CENTURY:
        yield ("phases",), "phases take more than a century together"
    if not description.events and "events" not in but:
        yield ("events",), "events is empty: nothing would happen"
    try:
        zoneinfo.ZoneInfo(description.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = nearest(description.time_zone, sorted(zoneinfo.available_timezones()))
        yield ("time_zone",), f"there is no time_zone {description.time_zone!r}{hint}"
    if description.executor not in {"threads", "processes"}:
        yield from _about_the_executor(description.executor)


def _about_the_executor(executor: str) -> Iterator[tuple[Steps, str]]:
    module, _, function = executor.partition(":")
    if not _FUNCTION.fullmatch(executor):
        hint = nearest(executor, ("threads", "processes"))
        yield (
            ("executor",),
            (
                "executor has to be threads, processes or module:function, got "
                f"{executor!r}{hint}"
            ),
        )
        return
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as failure:
        yield ("executor",), f"executor {executor!r} is not there: {failure}"
        return
    except (Exception, SystemExit) as failure:  # noqa: BLE001 -- whatever is in there
        words = f"{type(failure).__name__}: {failure}"
        yield ("executor",), f"executor {executor!r} cannot be imported: {words}"
        return
    if not callable(found):
        yield ("executor",), f"executor {executor!r} cannot be called"


def _about_thresholds(
    description: Description, names: Mapping[str, int] | None
) -> Iterator[tuple[Steps, str]]:
    for figure, limit in description.thresholds.items():
        path: Steps = ("thresholds", figure)
        try:
            threshold = Threshold.of(figure, limit)
        except ValueError as failure:
            yield path, str(failure)
            continue
        if threshold.event == "*" or names is None:
            continue
        if threshold.event not in names:
            hint = _hint(threshold.event, names)
            yield (
                path,
                f"threshold {figure!r}: no event is called {threshold.event!r}{hint}",
            )
        elif names[threshold.event] > 1:
            yield (
                path,
                f"threshold {figure!r}: two events are called {threshold.event!r}",
            )


def _about_phases(description: Description) -> Iterator[tuple[Steps, str]]:
    seen = set[str]()
    for index, phase in enumerate(description.phases):
        if phase.name in seen:
            yield ("phases", index, "name"), f"two phases are called {phase.name!r}"
        seen.add(phase.name)


def _about_events(
    description: Description, names: Mapping[str, int] | None, but: frozenset[str]
) -> Iterator[tuple[Steps, str]]:
    phases = {each.name for each in description.phases}
    last = {each.name for each in description.events if _in_the_end_only(each)}
    begins_in = _first_phase(description.phases) if "phases" not in but else None
    for index, event in enumerate(description.events):
        for key, words in _about_event(event):
            yield ("events", index, key) if key else ("events", index), words
        if event.wait and not _fires_at_once(event, begins_in):
            words = "wait is for what fires when the run begins: this does not"
            yield ("events", index, "wait"), words
        for name in event.phases:
            if name not in phases and "phases" not in but:
                hint = nearest(name, sorted(phases))
                yield ("events", index, "phases"), f"there is no phase {name!r}{hint}"
        if event.after is not None and names is not None:
            yield from _about_after(index, event.after, names)
            if event.after.event in last:
                words = f"after: {event.after.event!r} fires in the end only"
                yield ("events", index, "after"), f"{words}, nothing follows it"
    users = sum(each.closed.users for each in description.events if each.closed)
    if users > description.max_workers and "max_workers" not in but:
        words = f"max_workers has to be at least the users of all events, {users}"
        yield ("max_workers",), f"{words}, got {description.max_workers}"
    if names is not None:
        yield from _about_circles(description.events, names)


def _about_event(event: Event) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an event, whatever the rest of the description says."""
    intervals = [
        key for key in (*_INTERVALS, "cron") if getattr(event, key) is not None
    ]
    for key in intervals[1:]:
        yield key, f"{key} is said as well as {intervals[0]}: leave one out"
    gaps = event.gaps
    if gaps is not None:
        yield from _about_gaps(event, intervals[0], gaps)
    is_timed = bool(intervals)
    if event.cron is not None and (words := _about_cron(event.cron)):
        yield "cron", words
    if not (
        is_timed
        or event.fires_at_startup
        or event.at_teardown
        or event.after is not None
        or event.at_resume
    ):
        yield (
            "",
            (
                "it would never fire: it has no interval, cron, after, at_startup or "
                "at_teardown"
            ),
        )
    if event.jitter_sec or event.distribution is not Distribution.EVEN:
        yield from _about_chance(event, intervals)
    begin, end = event.start_after or 0.0, event.end_after
    if end is not None and end < begin:
        yield (
            "end_after",
            f"end_after has to be at least start_after, {begin:.12g} s, got {end:.12g}",
        )
    if event.undo is not None and event.overlap not in _OF_FAULTS:
        yield (
            "overlap",
            f"overlap of a fault is skip or parallel, got {str(event.overlap)!r}",
        )
    if event.undo is not None and event.duration_sec is None:
        yield "undo", "undo needs duration_sec: it says when that is called"
    if event.duration_sec is not None and event.undo is None:
        yield "duration_sec", "duration_sec needs undo: what is called then"
    if event.duration_sec is not None and gaps and event.duration_sec >= gaps[0]:
        at_least = " at its shortest" if event.has_drawn_gaps else ""
        yield (
            "duration_sec",
            (
                f"duration_sec has to be below the interval, {gaps[0]:.12g}{at_least}, "
                f"or the fault would never be over, got {event.duration_sec:.12g}"
            ),
        )
    if event.closed is not None:
        yield from _about_users(event, event.closed)
    failure = event.on_failure
    limits = [failure.max_failures, failure.max_ratio].count(None)
    if failure.policy is OnFailure.TOLERATE and limits != 1:
        yield "on_failure", "on_failure has to say max_failures or max_ratio"
    if failure.policy is not OnFailure.TOLERATE and limits != 2:
        yield "on_failure", "on_failure says a policy and a limit: leave one out"


def _about_users(event: Event, closed: Closed) -> Iterator[tuple[str, str]]:
    """Yield what cannot be said of an event whose users fire it."""
    others = {
        **{key: getattr(event, key) for key in (*_INTERVALS, "cron", "after")},
        "at_startup": event.at_startup is False,
        "wait": event.wait,
        "overlap": event.overlap is not Overlap.SKIP,
        "duration_sec": event.duration_sec,
        "phases": event.phases,
    }
    for key, said in others.items():
        if said:
            yield key, f"{key} is said as well as closed: leave one out"
    if event.count is not None and event.count < closed.users:
        words = f"count has to be at least its users, {closed.users}"
        yield "count", f"{words}, got {event.count}"


def _about_gaps(
    event: Event, key: str, gaps: tuple[float, float]
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an interval.

    Args:
        event: The event.
        key: What says the interval.
        gaps: What it says.
    """
    shortest, longest = gaps
    if shortest > longest:
        said = ", ".join(f"{each:.12g}" for each in getattr(event, key))
        yield key, f"{key} is from the shortest one to the longest one, got [{said}]"
    if (least := min(shortest, longest)) < _SHORTEST:
        yield key, f"{key} is below a microsecond, got {least:.12g} s"
    if event.rate_per_sec is not None and longest > CENTURY:
        rate = event.rate_per_sec
        yield key, f"{key} is less than once in a century, got {rate:.12g}"


def _about_chance(event: Event, intervals: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with what is random.

    Args:
        event: The event.
        intervals: What says its interval, or several.
    """
    gaps, is_poisson = event.gaps, event.distribution is Distribution.POISSON
    if is_poisson and gaps is None:
        yield "distribution", "distribution is that of an interval: there is none"
    if is_poisson and event.has_drawn_gaps:
        words = f"distribution is that of one interval, and {intervals[0]} has two"
        yield "distribution", f"{words}: leave one out"
    if not event.jitter_sec:
        return
    if gaps is None:
        yield (
            "jitter_sec",
            "jitter_sec moves the firings of an interval: there is none",
        )
    elif is_poisson:
        yield "jitter_sec", "jitter_sec moves what is even, and this is poisson already"
    elif event.has_drawn_gaps:
        words = f"jitter_sec moves what is even, and {intervals[0]} is random already"
        yield "jitter_sec", words
    elif event.jitter_sec > gaps[0]:
        yield (
            "jitter_sec",
            (
                "jitter_sec is at least 0, and at most the interval, "
                f"{gaps[0]:.12g}, got {event.jitter_sec:.12g}"
            ),
        )


def _about_cron(text: str) -> str:
    from cronsim import CronSimError

    from pysys_orch.orchestration.timeline import cron_times

    try:
        times = cron_times(text)
    except CronSimError as failure:
        return f"cron {text!r} makes no sense: {_lower(str(failure))}"
    except ValueError:  # a number of thousands of digits
        return "cron makes no sense: it has a number that is too long"
    if next(times, None) is None:
        return f"cron {text!r} makes no sense: there is no such day"
    return ""


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


def _hint(word: str, names: Mapping[str, int]) -> str:
    # To look through very many takes a second, each time.
    return nearest(word, names) if len(names) <= _MANY else ""


def _about_after(
    index: int, after: After, names: Mapping[str, int]
) -> Iterator[tuple[Steps, str]]:
    path: Steps = ("events", index, "after")
    if after.event not in names:
        hint = _hint(after.event, names)
        yield path, f"after: no event is called {after.event!r}{hint}"
    elif names[after.event] > 1:
        yield path, f"after: two events are called {after.event!r}"


def _first_phase(phases: Sequence[Phase]) -> str | None:
    """Return the phase that a run begins in; None if there are none."""
    last = phases[-1].name if phases else None
    return next((each.name for each in phases if each.duration), last)


def _fires_at_once(event: Event, phase: str | None) -> bool:
    """Return whether an event fires when a run begins, in a phase."""
    is_its_turn = phase is None or not event.phases or phase in event.phases
    return event.fires_at_startup and not event.start_after and is_its_turn


def _in_the_end_only(event: Event) -> bool:
    """Return whether an event fires when the run has ended, and not before."""
    return event.at_teardown and not (
        event.interval is not None
        or event.cron is not None
        or event.after is not None
        or event.fires_at_startup
        or event.at_resume
    )


def _about_circles(
    events: Sequence[Event], names: Mapping[str, int]
) -> Iterator[tuple[Steps, str]]:
    leads = {
        each.name: each.after.event
        for each in events
        if each.after is not None and names[each.name] == 1
    }
    index_of = {each.name: index for index, each in enumerate(events)}
    done = set[str]()
    for name in leads:
        way: dict[str, None] = {}
        at = name
        while at in leads and at not in done and at not in way:
            way[at] = None
            at = leads[at]
        done.update(way)
        if at not in way:
            continue
        # Each fires the one before it, and the first one the last one.
        passed = list(way)
        circle = passed[passed.index(at) :]
        index = min(index_of[each] for each in circle)
        first = events[index].name
        turn = circle.index(first)
        circle = [first, *reversed(circle[turn + 1 :] + circle[:turn]), first]
        shown = circle[:_FEW] + ["…"] * (len(circle) > _FEW)
        words = f": {', '.join(shown)}" if len(circle) > 2 else ""
        yield (
            ("events", index, "after"),
            f"after: {first!r} would fire itself, again and again{words}",
        )

"""When what fires: a pure function of a description and a seed.

All times are seconds since the beginning of the run. Firing *n* of an interval is at
its beginning plus *n* times the interval, computed and never summed, as on paper: 0.7 s
has its third firing at 2.1 s, neither a little before nor after. Nothing drifts, and
what is due at the same time is.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate, islice
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar
from zoneinfo import ZoneInfo

from pysys_orch.orchestration.description import (
    Description,
    Distribution,
    Event,
    Phase,
)

if TYPE_CHECKING:
    from cronsim import CronSim

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_Window = tuple[float, float]
_Number = TypeVar("_Number", int, float)


class Firing(NamedTuple):
    """An event at a time.

    Attributes:
        due: When it is to begin, in seconds since the beginning of the run.
        event: Which event of the description it is, from 0.
        ordinal: Which firing of that event it is, from 1.
        phase: The phase that it falls into; empty if there are none.
    """

    due: float
    event: int
    ordinal: int
    phase: str = ""


class _Line(Protocol):
    """Times with a number, in order."""

    def due(self, number: float) -> float:
        """Return the time of a number, or of what is between two."""
        ...

    def since(self, instant: float) -> int:
        """Return the first number, from 0, whose time is not before an instant."""
        ...


@dataclass(frozen=True, slots=True)
class _Even:
    """Times at the same distance: fractions, of which nothing is lost.

    Attributes:
        begin: Where number 0 is, in units.
        step: From one to the next, in units; 0 if there is none.
        units: How many of them are a second.
        first: Which one is called number 0.
        count: How many there are, if they are counted from 1.
    """

    begin: int
    step: int
    units: int
    first: int = 0
    count: int = 0

    @classmethod
    def of(cls, begin: float, interval: tuple[int, int]) -> _Even:
        above, below = _fraction(begin)
        step, units = interval
        if units % below:
            common = math.lcm(below, units)
            step, units = step * (common // units), common
        # There may be very many of these: the numbers in them are shared.
        return cls(above * (units // below), step, units)

    def due(self, number: float) -> float:
        return (self.begin + (self.first + number) * self.step) / self.units

    def since(self, instant: float) -> int:
        if instant <= self.due(0):
            return 0
        if not self.step:
            return 1 - self.first
        above, below = _fraction(instant)
        number = -((self.begin * below - above * self.units) // (self.step * below))
        number = max(0, number - self.first)
        # The fractions are exact, but the times are rounded.
        while number and self.due(number - 1) >= instant:
            number -= 1
        return number

    def counted(self, first: int, count: int) -> _Even:
        """Return the same times, counted from 1."""
        return _Even(self.begin, self.step, self.units, first - 1, count)


class _Stretch(NamedTuple):
    """A part of the run at a rate that may change evenly.

    Attributes:
        begin: When it begins.
        end: When it is over.
        work: How many seconds at the rate of 1 are over when it begins.
        rate: The rate at its beginning.
        slope: By how much that changes in a second.
    """

    begin: float
    end: float
    work: float
    rate: float
    slope: float

    def at(self, work: float) -> float:
        """Return when so many seconds at the rate of 1 are over."""
        work -= self.work
        if self.slope:
            root = math.sqrt(max(0.0, self.rate**2 + 2 * self.slope * work))
            # Written so that small slopes lose no digits.
            return min(self.end, self.begin + 2 * work / (self.rate + root))
        return min(self.end, self.begin + work / self.rate)

    def until(self, instant: float) -> float:
        """Return how many seconds at the rate of 1 are over then."""
        lasted = instant - self.begin
        return self.work + (self.rate + self.slope * lasted / 2) * lasted


@dataclass(frozen=True, slots=True)
class _Ramped:
    """Times at distances that a rate shortens and stretches."""

    interval: float
    stretches: Sequence[_Stretch]

    def due(self, number: float) -> float:
        work = number * self.interval
        at = bisect_right(self.stretches, work, key=lambda each: each.work)
        return self.stretches[max(0, at - 1)].at(work)

    def since(self, instant: float) -> int:
        at = bisect_right(self.stretches, instant, key=lambda each: each.begin)
        work = self.stretches[max(0, at - 1)].until(instant)
        number = max(0, int(work / self.interval))
        while number and self.due(number - 1) >= instant:
            number -= 1
        while self.due(number) < instant:
            number += 1
        return number


@dataclass(frozen=True, slots=True)
class _Course:
    """Some of the times of a line, perhaps each a little later.

    Attributes:
        line: The line.
        firsts: The numbers at which ranges of it begin that belong to this.
        before: How many belong to it before each of these.
        ends: What these ranges stay below.
        count: How many belong to it.
        jitter: How much later one is at most.
        source: What makes the lateness of these another than that of others.
    """

    line: _Line
    firsts: Sequence[int]
    before: Sequence[int]
    ends: Sequence[float]
    count: int
    jitter: float
    source: str

    def due(self, ordinal: int) -> float:
        at = bisect_left(self.before, ordinal) - 1
        number = self.firsts[at] + ordinal - self.before[at] - 1
        due = self.line.due(number)
        if not self.jitter or not number:
            return due
        # Whatever is drawn, none is later than the next one, nor leaves its phase.
        end = self.ends[at]
        room = min(self.jitter, self.line.due(number + 1) - due, end - due)
        moved = due + room * _drawn(f"{self.source}/{number}")
        return min(moved, math.nextafter(end, 0.0))

    def since(self, instant: float) -> int:
        number = self.line.since(instant)
        at = max(0, bisect_right(self.firsts, number) - 1)
        ordinal = self.before[at] + max(0, number - self.firsts[at]) + 1
        if at + 1 < len(self.before):
            ordinal = min(ordinal, self.before[at + 1] + 1)
        while ordinal > 1 and self.due(min(ordinal - 1, self.count)) >= instant:
            ordinal -= 1
        return ordinal


class Timeline:
    """All firings of a description but those that only the run can decide on.

    Those are the firings of ``after``, and the undoing of faults.

    Args:
        description: The description.
        seed: What decides on all that is random.
        begin: The time at which the run begins, for ``cron``.
        since: What would have fired before this, in seconds, is left out.
    """

    def __init__(
        self,
        description: Description,
        *,
        seed: int,
        begin: datetime = _EPOCH,
        since: float = 0.0,
    ) -> None:
        self._events = description.events
        self._phases = description.phases
        self._zone = description.time_zone
        self._total = description.total
        self._seed = seed
        # In a zone of its own, a difference is one of the hands of clocks.
        self._begin = begin.astimezone(UTC)
        self._since = since
        lengths = [each.duration for each in description.phases]
        self._bounds = [math.fsum(lengths[:at]) for at in range(len(lengths) + 1)]
        self._is_even = all(_rates(each) == (1.0, 1.0) for each in description.phases)
        self._sames: Sequence[int] = ()

    def __iter__(self) -> Iterator[Firing]:
        """Yield what fires, in order; at the same time in the order of the file."""
        heap: list[tuple[float, int, int]] = []
        courses: list[_Even | _Course | None] = [None] * len(self._events)
        streams: dict[int, Iterator[float]] = {}
        for index, event in enumerate(self._events):
            if event.is_irregular:
                stream = self._stream(index, event)
                for ordinal, due in enumerate(stream, 1):
                    if due >= self._since:
                        streams[index] = stream
                        heap.append((due, index, ordinal))
                        break
                continue
            course = self._course(index, event)
            if course is None:
                continue
            ordinal = max(1, course.since(self._since)) if self._since > 0 else 1
            if ordinal <= course.count:
                courses[index] = course
                heap.append((course.due(ordinal), index, ordinal))
        heapq.heapify(heap)
        labels = bool(self._phases)
        replace, pop = heapq.heapreplace, heapq.heappop
        # What `Firing()` does, in half the time.
        make = tuple.__new__
        following: float | None
        while heap:
            due, index, ordinal = heap[0]
            phase = self.phase(due) if labels else ""
            yield make(Firing, (due, index, ordinal, phase))
            found = courses[index]
            if found is None:
                following = next(streams[index], None)
            elif ordinal < found.count:
                following = found.due(ordinal + 1)
            else:
                following = None
            if following is None:
                pop(heap)
            else:
                replace(heap, (following, index, ordinal + 1))

    def teardown(self) -> list[int]:
        """Return which events fire at the end, in order."""
        return [at for at, each in enumerate(self._events) if each.at_teardown]

    def count(self, index: int) -> int:
        """Return how often an event fires, the teardown apart."""
        event = self._events[index]
        if event.is_irregular:
            return sum(1 for _ in self._stream(index, event))
        course = self._course(index, event)
        return 0 if course is None else course.count

    def phase(self, due: float) -> str:
        """Return in which phase a time is; the last one goes on as long as the run."""
        if not self._phases:
            return ""
        at = bisect_right(self._bounds, due) - 1
        return self._phases[min(max(at, 0), len(self._phases) - 1)].name

    # Inside ---------------------------------------------------------------------------

    def _course(self, index: int, event: Event) -> _Even | _Course | None:
        """Return when an event without cron fires; None if it does not."""
        windows = self._windows(event)
        if not windows:
            return None
        line = self._line(event, windows[0][0])
        least = 0 if event.fires_at_startup else 1
        most = 1 if event.interval is None else math.inf
        left = math.inf if event.count is None else event.count
        firsts, ends, counts = [], [], []
        for opens, closes in windows:
            first = max(least, line.since(opens))
            count = int(min(most, line.since(closes)) - first)
            if count > 0 and left > 0:
                firsts.append(first)
                ends.append(closes)
                counts.append(count if count < left else int(left))
                left -= count
        if not counts:
            return None
        if len(counts) == 1 and not event.jitter_sec and isinstance(line, _Even):
            return line.counted(firsts[0], counts[0])
        return _Course(
            line,
            _shared(*firsts),
            before=_shared(0, *accumulate(counts[:-1])),
            ends=_shared(*ends),
            count=sum(counts),
            jitter=event.jitter_sec,
            source=self._source(index) if event.jitter_sec else "",
        )

    def _line(self, event: Event, begin: float) -> _Line:
        if self._is_even or event.interval is None:
            return _Even.of(begin, _step(event))
        stretches: list[_Stretch] = []
        work = 0.0
        for at, phase in enumerate(self._phases):
            opens, closes = max(begin, self._bounds[at]), self._bounds[at + 1]
            if opens < closes:
                rate, rate_to = _rates(phase)
                slope = (rate_to - rate) / phase.duration
                here = rate + slope * (opens - self._bounds[at])
                here = max(here, min(rate, rate_to))
                stretches.append(_Stretch(opens, closes, work, here, slope))
                work = stretches[-1].until(closes)
        # Who has the run go on after its last phase has it go on at that rate.
        _, rate = _rates(self._phases[-1])
        begin = max(begin, self._bounds[-1])
        stretches.append(_Stretch(begin, math.inf, work, rate, 0.0))
        return _Ramped(event.interval, stretches)

    def _windows(self, event: Event) -> list[_Window]:
        """Return when an event may fire: from when on, and until when."""
        begin, end = event.start_after or 0.0, self._end(event)
        if not event.phases:
            return [(begin, end)] if begin < end else []
        found: list[_Window] = []
        for at, phase in enumerate(self._phases):
            if phase.name not in event.phases:
                continue
            is_last = at == len(self._phases) - 1
            opens = max(begin, self._bounds[at])
            closes = end if is_last else min(end, self._bounds[at + 1])
            if opens >= closes:
                continue
            if found and found[-1][1] == opens:
                opens, _ = found.pop()
            found.append((opens, closes))
        return found

    def _end(self, event: Event) -> float:
        """Return from when on an event does not fire any more."""
        if event.end_after is None:
            end = self._total
        else:
            end = min(self._total, math.nextafter(event.end_after, math.inf))
        # What starts with the run fires also if that has no length.
        return max(end, math.nextafter(0.0, 1.0))

    def _source(self, index: int) -> str:
        """Return what other events, and their number, do not change."""
        if not self._sames:
            seen = Counter[str]()
            sames = []
            for each in self._events:
                sames.append(seen[each.name])
                seen[each.name] += 1
            self._sames = sames
        return f"{self._seed}/{self._events[index].name}/{self._sames[index]}"

    def _stream(self, index: int, event: Event) -> Iterator[float]:
        return islice(self._irregular(index, event), event.count)

    def _irregular(self, index: int, event: Event) -> Iterator[float]:
        windows = self._windows(event)
        if not windows:
            return
        if event.fires_at_startup:
            yield windows[0][0]
        if event.cron is not None:
            times = self._cron(event.cron)
        else:
            line = self._line(event, windows[0][0])
            times = map(line.due, accumulate(self._drawn_gaps(index, event)))
        for due in times:
            if due >= windows[-1][1]:
                return
            if any(opens <= due < closes for opens, closes in windows):
                yield due

    def _cron(self, cron: str) -> Iterator[float]:
        for stamp in cron_times(cron, self._begin.astimezone(ZoneInfo(self._zone))):
            yield (stamp.astimezone(UTC) - self._begin).total_seconds()

    def _drawn_gaps(self, index: int, event: Event) -> Iterator[float]:
        """Return what is between firings, as shares of the interval."""
        source = self._source(index)
        drawn = (_drawn(f"{source}/{number}") for number in itertools.count(1))
        if event.distribution is Distribution.POISSON:
            return (-math.log(1 - each) for each in drawn)
        shortest, longest = event.gaps or (1.0, 1.0)
        average = shortest + (longest - shortest) / 2
        least, more = shortest / average, (longest - shortest) / average
        return (least + more * each for each in drawn)


def cron_times(text: str, begin: datetime = _EPOCH) -> CronSim:
    """Return the times that cron's text stands for, after a beginning, in its zone.

    Raises:
        CronSimError: It stands for nothing.
    """
    from cronsim import CronSim

    return CronSim(text, begin)


def _step(event: Event) -> tuple[int, int]:
    """Return the fraction that an interval is; 0 if there is none."""
    if event.rate_per_sec is not None:
        # A third of a second is none of the numbers that a computer has.
        above, below = _fraction(event.rate_per_sec)
        return below, above
    return _fraction(event.interval or 0.0)


def _rates(phase: Phase) -> tuple[float, float]:
    return phase.rate, phase.rate if phase.rate_to is None else phase.rate_to


@lru_cache(256)
def _shared(*numbers: _Number) -> tuple[_Number, ...]:
    """Return the numbers: the same object for the many events that have the same."""
    return numbers


@lru_cache(4096)
def _fraction(number: float) -> tuple[int, int]:
    """Return the fraction that people mean by a number: 1 and 10 for 0.1."""
    if number.is_integer():
        return int(number), 1
    return Decimal(repr(number)).as_integer_ratio()


def _drawn(source: str) -> float:
    """Return a number from 0 to below 1 that looks random, always the same one."""
    digest = blake2b(source.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53

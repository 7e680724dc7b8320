"""What a description says: the events of a test, and when they fire.

A description is read from a file by `pysys_orch.orchestration.reading`, or made of
these values. Each key of a file is an attribute here, of the same name and meaning. All
of it is optional unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from decimal import Decimal
from enum import StrEnum
from math import fsum
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, Strict, Tag
from pydantic.dataclasses import dataclass

from pysys_orch.durations import CENTURY, PART, seconds_of_text

#: What a problem with an interval is about: its only number, or its pair of them.
ONE, TWO = "one number", "two numbers"

_FASTEST = 1_000_000
_STEEPEST = 100


class Overlap(StrEnum):
    """What becomes of a firing that is due while the event still runs."""

    SKIP = "skip"
    QUEUE = "queue"
    PARALLEL = "parallel"
    CANCEL = "cancel"


class Distribution(StrEnum):
    """How the firings of an interval lie in time."""

    EVEN = "even"
    POISSON = "poisson"


class On(StrEnum):
    """How another event has to end."""

    SUCCESS = "success"
    FAILURE = "failure"
    ANY = "any"


class Isolation(StrEnum):
    """Where an event runs."""

    THREAD = "thread"
    PROCESS = "process"


class OnFailure(StrEnum):
    """What the failure of an event means for the test."""

    FAIL = "fail"
    STOP = "stop"
    IGNORE = "ignore"
    TOLERATE = "tolerate"


def _times(amount: float, seconds: int) -> float:
    """Multiply as on paper: 1.1 hours are 3960 seconds, and not a little more."""
    return float(Decimal(repr(amount)) * seconds)


def _both(said: float | tuple[float, float]) -> tuple[float, float]:
    return said if isinstance(said, tuple) else (said, said)


def _duration(said: object) -> object:
    return seconds_of_text(said) if isinstance(said, str) else said


def _after(said: object) -> object:
    return {"event": said} if isinstance(said, str) else said


def _on_failure(said: object) -> object:
    if not isinstance(said, str):
        return said
    return {"policy": OnFailure(said)} if said in _SAYABLE else {"policy": said}


_SAYABLE = {OnFailure.FAIL, OnFailure.STOP, OnFailure.IGNORE}

#: Shared by all events that say nothing: there may be very many.
_NOTHING: Mapping[str, Any] = {}

_VALUE = ConfigDict(
    extra="forbid",
    allow_inf_nan=False,
    use_attribute_docstrings=True,
)
_Written = Annotated[str, Field(pattern=f"^({PART})+$", examples=["90s", "2h30m"])]

Amount = Annotated[float, Strict(), Field(ge=0, le=CENTURY)]
Hours = Annotated[float, Strict(), Field(ge=0, le=CENTURY / 3600)]
Positive = Annotated[float, Strict(), Field(gt=0, le=CENTURY)]
PositiveMinutes = Annotated[float, Strict(), Field(gt=0, le=CENTURY / 60)]
PositiveHours = Annotated[float, Strict(), Field(gt=0, le=CENTURY / 3600)]
Pause = Annotated[float, Strict(), Field(ge=1, le=CENTURY)]
Rate = Annotated[float, Strict(), Field(gt=0, le=_FASTEST)]
Factor = Annotated[float, Strict(), Field(ge=1, le=_STEEPEST)]
SecondsApart = (
    Annotated[Positive, Tag(ONE)] | Annotated[tuple[Positive, Positive], Tag(TWO)]
)
MinutesApart = (
    Annotated[PositiveMinutes, Tag(ONE)]
    | Annotated[tuple[PositiveMinutes, PositiveMinutes], Tag(TWO)]
)
HoursApart = (
    Annotated[PositiveHours, Tag(ONE)]
    | Annotated[tuple[PositiveHours, PositiveHours], Tag(TWO)]
)
Duration = Annotated[
    Amount, BeforeValidator(_duration, json_schema_input_type=Amount | _Written)
]
Count = Annotated[int, Strict(), Field(ge=0)]
Some = Annotated[int, Strict(), Field(ge=1)]
Word = Annotated[str, Strict(), Field(min_length=1)]
Flag = Annotated[bool, Strict()]


@dataclass(frozen=True, slots=True, kw_only=True, config=_VALUE)
class After:
    """Has an event fire when another one has ended."""

    event: Word
    """The name of the other event. Has to be there."""

    on: On = Field(default=On.SUCCESS)
    """How that has to end: ``success``, ``failure`` or ``any``."""

    delay_sec: Amount = 0.0
    """How many seconds later this one fires."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_VALUE)
class Closed:
    """Users who fire an event again and again: each once its last call has ended."""

    users: Some
    """How many there are."""

    think_sec: Positive
    """How many seconds each waits from the end of a call to its next one."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_VALUE)
class Failure:
    """What the failures of an event mean for the test: one of the three."""

    policy: OnFailure = Field(default=OnFailure.TOLERATE)
    """``fail``, ``stop`` or ``ignore``; ``tolerate`` where the others are given."""

    max_failures: Count | None = None
    """How many firings may fail."""

    max_ratio: Annotated[float, Strict(), Field(ge=0, le=1)] | None = None
    """What share of the firings that ran may fail, from 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_VALUE)
class Phase:
    """A stretch of the run."""

    name: Word
    """What it is called. Has to be there."""

    duration: Duration
    """How long it is. Has to be there."""

    rate: Rate = 1.0
    """By how much intervals are shortened in it: with 2, events fire twice as often.
    At most a million."""

    rate_to: Rate | None = None
    """The rate at its end, if that is another: the rate changes evenly between them."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_VALUE)
class Event:
    """Something that happens, once or again and again."""

    name: Word
    """What implements it: a function of the sources, or a method of the test. Has to be
    there."""

    interval_sec: SecondsApart | None = None
    """Seconds from one firing to the next; ``[2, 5]`` is from two to five, drawn anew
    each time. Without any interval it fires at the startup and at the teardown only."""

    interval_min: MinutesApart | None = None
    """The same in minutes. An event has at most one of the intervals."""

    interval_hour: HoursApart | None = None
    """The same in hours."""

    rate_per_sec: Rate | None = None
    """How often it fires in a second: another way to say an interval."""

    at_startup: Flag | None = None
    """Whether it fires once when the run begins. True by default, unless it is fired by
    ``cron`` or ``after``."""

    wait: Flag = False
    """Whether what fires at the beginning after this one waits until it has ended. What
    is held back fires at no interval meanwhile; other intervals wait for nothing."""

    at_teardown: Flag = False
    """Whether it fires once more when the run has ended."""

    at_resume: Flag = False
    """Whether it fires first when a run goes on that was killed: what it has started is
    gone then."""

    params: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """Arguments for the function, by name."""

    start_after: Duration | None = None
    """When the interval begins, and its first firing may be, after the beginning of the
    run: seconds, or a text such as ``15m``."""

    end_after: Duration | None = None
    """When its last firing may be."""

    count: Some | None = None
    """How often it fires at most, the teardown apart."""

    distribution: Distribution = Field(default=Distribution.EVEN)
    """``poisson`` fires at random times, independent of each other as those of many
    users are, as often as the interval says on average."""

    jitter_sec: Amount = 0.0
    """By how much each firing may be late, at random, at most the interval. The seed of
    the description decides by how much it is."""

    cron: Word | None = None
    """Fires at these times instead of an interval: minute, hour, day of the month,
    month and day of the week, ``0 3 * * MON-FRI``, in the time zone of the
    description. A sixth one, in front, is the second."""

    after: (
        Annotated[After, BeforeValidator(_after, json_schema_input_type=Word | After)]
        | None
    ) = None
    """Fires when the event of this name has succeeded, or as the object says."""

    closed: Closed | None = None
    """Fires as so many users do, instead of an interval: the slower it is, the less
    often. How late it is says nothing then, since it waits for itself."""

    overlap: Overlap = Field(default=Overlap.SKIP)
    """What becomes of a firing that is due while the event still runs: ``skip`` counts
    it, ``queue`` lets it wait, ``parallel`` runs both, ``cancel`` sets the kill switch
    of the one that runs first."""

    max_queued: Some = 100
    """How many firings wait at most, with ``queue``. One more is skipped."""

    max_parallel: Some = 10
    """How many run at the same time at most, with ``parallel``. One more is skipped."""

    timeout_sec: Positive | None = None
    """How long a call may take. After that it is reported as timed out, and its kill
    switch is set."""

    grace_sec: Amount = 10.0
    """How long a call may take to end once its kill switch is set."""

    retries: Count = 0
    """How often a call that failed is tried again, as a part of the same firing."""

    retry_delay_sec: Amount = 1.0
    """How long it waits before that."""

    retry_backoff: Factor = 1.0
    """By what that is multiplied each time, from 1 to 100; with 2, it waits twice as
    long before each try as before the last one, an hour at most."""

    isolation: Isolation = Field(default=Isolation.THREAD)
    """``process`` runs each call in a process of its own, which is killed if it does
    not end in time; ``thread`` cannot do that."""

    on_failure: Annotated[
        Failure,
        BeforeValidator(_on_failure, json_schema_input_type=OnFailure | Failure),
    ] = Failure(policy=OnFailure.FAIL)
    """What its failure means: ``fail`` has the test fail in the end, ``stop`` has it
    fail at once, ``ignore`` records it; ``{"max_failures": 3}`` and
    ``{"max_ratio": 0.01}`` tolerate some."""

    duration_sec: Positive | None = None
    """How long it lasts, if it is a fault: ``undo`` is called so much later, and when
    the run ends."""

    undo: Word | None = None
    """The function, or method, that takes the fault back. It can have the same
    arguments."""

    phases: tuple[Word, ...] = Field(default=())
    """In which phases it fires; in all by default. Its interval begins with the first
    of them, and goes on while it is not its turn."""

    @property
    def gaps(self) -> tuple[float, float] | None:
        """Seconds from one firing to the next, at least and at most.

        The same twice if they do not vary; None if there is no interval.
        """
        if self.interval_sec is not None:
            return _both(self.interval_sec)
        if self.interval_min is not None:
            shortest, longest = _both(self.interval_min)
            return _times(shortest, 60), _times(longest, 60)
        if self.interval_hour is not None:
            shortest, longest = _both(self.interval_hour)
            return _times(shortest, 3600), _times(longest, 3600)
        if self.rate_per_sec is not None:
            gap = 1 / self.rate_per_sec
            return gap, gap
        return None

    @property
    def interval(self) -> float | None:
        """Seconds from one firing to the next; None if there is no interval.

        On average, if they vary.
        """
        gaps = self.gaps
        return None if gaps is None else gaps[0] + (gaps[1] - gaps[0]) / 2

    @property
    def has_drawn_gaps(self) -> bool:
        """Whether each interval is another one, between two numbers."""
        said = self.interval_sec or self.interval_min or self.interval_hour
        return isinstance(said, tuple) and said[0] != said[1]

    @property
    def is_irregular(self) -> bool:
        """Whether its times are found one after the other, and not computed."""
        is_poisson = self.distribution is Distribution.POISSON
        return self.cron is not None or is_poisson or self.has_drawn_gaps

    @property
    def fires_at_startup(self) -> bool:
        """Whether it fires when the run begins."""
        if self.at_startup is not None:
            return self.at_startup
        return self.cron is None and self.after is None


@dataclass(frozen=True, slots=True, kw_only=True, config=_VALUE)
class Description:
    """A test: its events, and for how long they fire."""

    test_name: Word
    """What the test is called; its file has the same name. Has to be there."""

    total_hours: Hours | None = None
    """For how many hours it runs, at most a century. Has to be there, unless
    ``duration`` or ``phases`` are."""

    duration: Duration | None = None
    """The same as seconds, or as a text such as ``90s`` or ``2h30m``."""

    unref_setup_fixtures: tuple[Word, ...] = Field(default=())
    """Fixtures that are set up although no event names them."""

    events: tuple[Event, ...] = Field()
    """What happens. Has to be there."""

    phases: tuple[Phase, ...] = Field(default=())
    """Stretches of the run, one after the other."""

    seed: Annotated[int, Strict()] | None = None
    """What decides on all that is random. Another one for each run by default, which
    the log tells."""

    time_zone: Word = "UTC"
    """Where ``cron`` tells the time: a name such as ``Europe/Oslo``."""

    thresholds: Mapping[str, str] = field(default_factory=dict)
    """Figures that decide: ``{"write.response_p99_ms": "<50"}``. ``*`` is any event."""

    executor: Word = "threads"
    """What runs the events: ``threads``, ``processes``, or ``module:function`` for one
    that returns a `concurrent.futures.Executor`."""

    max_workers: Some = 32
    """How many calls run at the same time at most."""

    status_sec: Pause | None = None
    """After how many seconds the log, and the file that others may read, say how far it
    is; at least one. By default some twenty times, from ten seconds to ten minutes."""

    @property
    def total(self) -> float:
        """For how many seconds it runs."""
        if self.duration is not None:
            return self.duration
        if self.total_hours is not None:
            return _times(self.total_hours, 3600)
        return fsum(each.duration for each in self.phases)

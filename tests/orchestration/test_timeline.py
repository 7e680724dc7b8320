"""When what fires."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.durations import CENTURY
from pysys_orch.orchestration.description import (
    Description,
    Distribution,
    Event,
    Phase,
)
from pysys_orch.orchestration.timeline import Firing, Timeline

Dues = list[tuple[float, str]]


def describe(*events: Event, **keys: Any) -> Description:
    """Return a description; of ten seconds, unless it says otherwise."""
    if not {"phases", "total_hours"} & set(keys):
        keys = {"duration": 10, **keys}
    return Description(test_name="t", events=events, **keys)


def fire(*events: Event, since: float = 0.0, **keys: Any) -> Dues:
    """Return what fires, by the names of the events."""
    timeline = Timeline(describe(*events, **keys), seed=1, since=since)
    return [(due, events[event].name) for due, event, _, _ in timeline]


def dues(event: Event, seed: int = 1, **keys: Any) -> list[float]:
    """Return when one event fires."""
    return [each.due for each in Timeline(describe(event, **keys), seed=seed)]


# The original's words


def test_the_original_example_fires_as_it_says() -> None:
    """At startup, every five minutes for three hours, and at the end."""
    description = describe(
        Event(name="start_playback", interval_sec=300),
        Event(name="start_streamer", at_startup=True),
        Event(name="collect_system_report", at_startup=False, at_teardown=True),
        total_hours=3,
    )
    timeline = Timeline(description, seed=1)
    found = list(timeline)
    assert found[:3] == [
        Firing(0, 0, 1),
        Firing(0, 1, 1),
        Firing(300, 0, 2),
    ]
    assert [each.due for each in found[2:]] == [300 * k for k in range(1, 36)]
    assert [timeline.count(index) for index in range(3)] == [36, 1, 0]
    assert timeline.teardown() == [2]


def test_startup_is_in_the_order_of_the_file() -> None:
    """As is all that is due at the same time."""
    found = fire(
        Event(name="c", interval_sec=4, at_startup=False),
        Event(name="b", interval_sec=2),
        Event(name="a"),
        Event(name="b", interval_sec=4),
    )
    assert found == [
        (0, "b"),
        (0, "a"),
        (0, "b"),
        (2, "b"),
        (4, "c"),
        (4, "b"),
        (4, "b"),
        (6, "b"),
        (8, "c"),
        (8, "b"),
        (8, "b"),
    ]


def test_teardown_is_in_the_order_of_the_file() -> None:
    """Also of what fires at no other time."""
    events = [
        Event(name="c", at_teardown=True),
        Event(name="b"),
        Event(name="a", at_startup=False, at_teardown=True),
    ]
    assert Timeline(describe(*events), seed=1).teardown() == [0, 2]


@pytest.mark.parametrize("at_startup", [True, False])
def test_the_grid_is_the_same_without_a_startup(at_startup: bool) -> None:
    """An interval fires at its multiples, whether or not it fired at once."""
    event = Event(name="a", interval_sec=2.5, at_startup=at_startup)
    assert dues(event) == [0] * at_startup + [2.5, 5, 7.5]


def test_the_end_belongs_to_the_teardown() -> None:
    """What would be due there does not fire."""
    assert dues(Event(name="a", interval_sec=5)) == [0, 5]
    assert dues(Event(name="a", interval_sec=10)) == [0]
    assert dues(Event(name="a", interval_sec=10, at_startup=False)) == []


@pytest.mark.parametrize("phases", [(), (Phase(name="p", duration=0, rate=2),)])
def test_a_run_of_no_length_has_a_startup(phases: tuple[Phase, ...]) -> None:
    """And a teardown."""
    keys = {"phases": phases} if phases else {"total_hours": 0}
    events = [
        Event(name="a", interval_sec=1e-6),
        Event(name="b", interval_sec=1, at_startup=False),
        Event(name="c", jitter_sec=1, interval_sec=1),
        Event(name="d", at_teardown=True),
    ]
    assert fire(*events, **keys) == [(0, "a"), (0, "c"), (0, "d")]


def test_after_is_for_the_run_to_decide() -> None:
    """Unless it fires at startup as well."""
    first = Event(name="a", after={"event": "b"})  # type: ignore[arg-type] # as read
    assert fire(first, replace(first, at_startup=True)) == [(0, "a")]


# Limits


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"start_after": 3}, [3, 5, 7, 9]),
        ({"start_after": 3, "at_startup": False}, [5, 7, 9]),
        ({"start_after": 9.5}, [9.5]),
        ({"start_after": 10}, []),
        ({"start_after": 11}, []),
        ({"end_after": 4}, [0, 2, 4]),
        ({"end_after": 3.999}, [0, 2]),
        ({"end_after": 0}, [0]),
        ({"end_after": 100}, [0, 2, 4, 6, 8]),
        ({"start_after": 1, "end_after": 5}, [1, 3, 5]),
        ({"start_after": 3, "end_after": 3}, [3]),
        ({"count": 1}, [0]),
        ({"count": 3}, [0, 2, 4]),
        ({"count": 3, "at_startup": False}, [2, 4, 6]),
        ({"count": 100}, [0, 2, 4, 6, 8]),
        ({"count": 2, "start_after": 7}, [7, 9]),
        ({"interval_sec": None, "start_after": 3}, [3]),
        ({"interval_sec": None, "start_after": 10}, []),
        ({"interval_sec": None, "at_startup": False}, []),
        ({"interval_sec": None, "end_after": 0}, [0]),
        ({"interval_sec": None, "interval_min": 0.1}, [0, 6]),
        ({"interval_sec": None, "interval_hour": 0.001}, [0, 3.6, 7.2]),
        ({"interval_sec": None, "rate_per_sec": 0.25}, [0, 4, 8]),
    ],
)
def test_an_event_has_a_beginning_an_end_and_a_count(
    event: dict[str, Any], expected: list[float]
) -> None:
    """The last firing may be at the end of the event, not at that of the run."""
    assert dues(Event(**{"name": "a", "interval_sec": 2, **event})) == expected


# Exactness


@pytest.mark.parametrize("rate", ["3", "7", "0.3", "11.1", "1000000"])
def test_rates_do_not_drift(rate: str) -> None:
    """Three times a third of a second is a second."""
    event = Event(name="a", rate_per_sec=float(rate), count=40_000)
    found = dues(event, total_hours=10)
    assert found == [float(k / Fraction(rate)) for k in range(len(found))]
    assert len(found) == min(40_000, math.ceil(36_000 * Fraction(rate)))


@pytest.mark.parametrize("text", ["0.1", "0.7", "0.003", "1.1", "2.3", "0.000001"])
def test_fractions_of_a_second_do_not_drift(text: str) -> None:
    """Each firing is the number that is nearest to what it is on paper."""
    event = Event(name="a", interval_sec=float(text), count=40_000)
    found = dues(event, total_hours=10)
    assert found == [float(Fraction(text) * k) for k in range(len(found))]
    assert len(found) == min(40_000, math.ceil(36_000 / Fraction(text)))


def test_what_is_the_same_on_paper_is_at_the_same_time() -> None:
    """Three times 0.1 is neither after 0.3, nor is three times 0.7 before 2.1."""
    found = fire(
        Event(name="b", interval_sec=0.1, start_after=0.2, at_startup=False, count=1),
        Event(name="a", interval_sec=0.3, at_startup=False, count=1),
    )
    assert found == [(0.3, "b"), (0.3, "a")]
    event = Event(name="a", interval_sec=0.7, at_startup=False)
    assert dues(event, duration=2.1) == [0.7, 1.4]
    event = Event(name="a", interval_min=0.55, at_startup=False)
    assert dues(event, total_hours=1.1)[-1] == 3960 - 33


@given(
    st.decimals(0, 5, places=3),
    st.decimals("0.001", 5, places=3),
    st.decimals(0, 20, places=3),
)
def test_what_fires_is_what_is_below_the_end_on_paper(
    begin: Any,  # noqa: ANN401 -- a Decimal
    interval: Any,  # noqa: ANN401
    total: Any,  # noqa: ANN401
) -> None:
    """With all digits."""
    event = Event(
        name="a", interval_sec=float(interval), start_after=float(begin), count=10**9
    )
    expected = []
    at = begin
    while at < total or at == total == 0:
        expected.append(float(at))
        at += interval
    found = dues(event, duration=float(total))
    assert found == expected
    assert Timeline(describe(event, duration=float(total)), seed=1).count(0) == len(
        expected
    )


def test_a_century_of_milliseconds_begins_at_once() -> None:
    """Nothing is computed before it is asked for."""
    jitter = Event(name="j", interval_sec=0.001, jitter_sec=0.001, at_startup=False)
    phases = (
        Phase(name="p", duration=CENTURY / 2, rate=1, rate_to=2),
        Phase(name="q", duration=CENTURY / 2, rate=2),
    )
    for keys in ({"duration": CENTURY}, {"phases": phases}):
        description = describe(Event(name="a", interval_sec=0.001), jitter, **keys)
        timeline = Timeline(description, seed=1)
        found = list(islice(timeline, 10))
        assert [each.ordinal for each in found if each.event == 0][:3] == [1, 2, 3]
        assert timeline.count(0) >= round(CENTURY * 1000)
        late = Timeline(description, seed=1, since=CENTURY - 1)
        (first, *_) = islice(late, 1)
        assert CENTURY - 1 <= first.due < CENTURY - 0.99
        assert first.ordinal > CENTURY * 990


# Chance


JITTERED = Event(name="a", interval_sec=1, jitter_sec=0.5)


def test_jitter_is_the_same_for_the_same_seed() -> None:
    """On every machine, and in every version: this is a promise."""
    assert dues(JITTERED, seed=1, duration=5) == dues(JITTERED, seed=1, duration=5)
    assert [round(each, 6) for each in dues(JITTERED, seed=1, duration=4)] == GOLDEN
    assert dues(JITTERED, seed=2)[1:] != dues(JITTERED, seed=1)[1:]


GOLDEN = [0.0, 1.412629, 2.107875, 3.418755]


def test_jitter_is_within_its_bounds() -> None:
    """The startup does not wait; all of the room is used, evenly."""
    found = dues(JITTERED, duration=20_000)
    late = [due - number for number, due in enumerate(found)]
    assert late[0] == 0
    assert len(found) == 20_000
    assert 0 <= min(late) < 0.001
    assert 0.499 < max(late) < 0.5
    assert sum(late) / len(late) == pytest.approx(0.25, abs=0.01)
    assert sum(each < 0.125 for each in late) == pytest.approx(5000, abs=300)
    slow = dues(replace(JITTERED, jitter_sec=1), duration=20_000)
    assert slow == sorted(slow)


def test_jitter_leaves_neither_the_run_nor_the_end_of_the_event() -> None:
    """Its last firing has less room, and is not lost."""
    for seed in range(50):
        late = replace(JITTERED, jitter_sec=1)
        assert 4 <= dues(late, seed=seed, duration=4.01)[-1] < 4.01
        assert 4 <= dues(replace(late, end_after=4.5), seed=seed)[-1] <= 4.5


def test_an_event_that_is_added_moves_no_other() -> None:
    """Nor does one that is taken out; two of the same name differ."""
    others = [Event(name="b", interval_sec=1, jitter_sec=1), Event(name="c")]
    alone = [due for due, _ in fire(JITTERED)]
    assert [due for due, name in fire(*others, JITTERED) if name == "a"] == alone
    assert [due for due, name in fire(JITTERED, *others) if name == "a"] == alone
    twice = Timeline(describe(JITTERED, others[0], JITTERED), seed=1)
    both = [[each.due for each in twice if each.event == at] for at in (0, 2)]
    assert both[0] == alone
    assert both[1][1:] != alone[1:]


def test_no_startup_and_no_count_moves_a_firing() -> None:
    """A failure that is found with many can be looked at with few."""
    whole = dues(JITTERED)
    assert dues(replace(JITTERED, at_startup=False)) == whole[1:]
    assert dues(replace(JITTERED, count=3)) == whole[:3]
    assert dues(JITTERED, duration=100)[:10] == whole


# Cron


def stamps(
    cron: str,
    begin: datetime,
    hours: float,
    zone: str = "UTC",
    **keys: Any,
) -> list[datetime]:
    """Return when cron fires, in the time of the zone."""
    description = describe(
        Event(name="a", cron=cron, **keys), total_hours=hours, time_zone=zone
    )
    timeline = Timeline(description, seed=1, begin=begin)
    found = [begin.astimezone(UTC) + timedelta(seconds=each.due) for each in timeline]
    assert timeline.count(0) == len(found)
    return [each.astimezone(ZoneInfo(zone)) for each in found]


def test_cron_fires_at_the_times_of_the_day() -> None:
    """After the beginning of the run, and before its end."""
    begin = datetime(2024, 2, 28, 23, 59, 30, 500_000, tzinfo=UTC)
    assert stamps("0 0,12 * * *", begin, 48) == [
        datetime(2024, 2, 29, tzinfo=UTC),
        datetime(2024, 2, 29, 12, tzinfo=UTC),
        datetime(2024, 3, 1, tzinfo=UTC),
        datetime(2024, 3, 1, 12, tzinfo=UTC),
    ]
    description = describe(Event(name="a", cron="* * * * *"), duration=90)
    found = list(Timeline(description, seed=1, begin=begin))
    assert found == [Firing(29.5, 0, 1), Firing(89.5, 0, 2)]


def test_cron_may_fire_at_startup_as_well() -> None:
    """If that is said."""
    begin = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
    assert stamps("0 * * * *", begin, 1, at_startup=True) == [
        begin,
        datetime(2024, 3, 1, 13, tzinfo=UTC),
    ]


@pytest.mark.parametrize("zone_of_begin", ["UTC", "Europe/Oslo", "Asia/Tokyo"])
@pytest.mark.parametrize(
    ("day", "expected"),
    [
        # 02:30 is not there on 31 March, and twice on 27 October.
        (datetime(2024, 3, 30, 11, tzinfo=UTC), ["31T03:00+02:00", "01T02:30+02:00"]),
        (datetime(2024, 10, 26, 10, tzinfo=UTC), ["27T02:30+02:00", "28T02:30+01:00"]),
    ],
)
def test_cron_fires_once_a_day_when_clocks_are_changed(
    day: datetime, expected: list[str], zone_of_begin: str
) -> None:
    """Wherever the beginning was told."""
    begin = day.astimezone(ZoneInfo(zone_of_begin))
    found = stamps("30 2 * * *", begin, 48, "Europe/Oslo")
    assert [each.isoformat(timespec="minutes")[8:] for each in found] == expected


@pytest.mark.parametrize(
    ("begin", "hours"),
    [
        (datetime(2024, 3, 30, 12, tzinfo=UTC), 24),
        (datetime(2024, 10, 26, 12, tzinfo=UTC), 24),
        (datetime(2024, 12, 31, 20, tzinfo=UTC), 24),
    ],
)
@pytest.mark.parametrize("zone", ["Europe/Oslo", "America/New_York", "Asia/Kolkata"])
def test_cron_counts_the_quarters_of_an_hour(
    begin: datetime, hours: int, zone: str
) -> None:
    """As who looks at the clock every minute: also in the hour that is there twice."""
    tz = ZoneInfo(zone)
    minutes = (begin + timedelta(minutes=each) for each in range(1, hours * 60))
    expected = [
        each.astimezone(tz)
        for each in minutes
        if each.astimezone(tz).minute % 15 == 0 and each.astimezone(tz).hour != 7
    ]
    found = stamps("*/15 0-6,8-23 * * *", begin, hours, zone)
    assert found == expected
    assert len({each.astimezone(UTC) for each in found}) == len(found)


def test_cron_keeps_to_its_limits_and_phases() -> None:
    """A count is one of firings."""
    begin = datetime(2024, 3, 1, tzinfo=UTC)

    def minutes(**keys: Any) -> list[int]:
        return [each.minute for each in stamps("*/10 * * * *", begin, 1, **keys)]

    assert minutes() == [10, 20, 30, 40, 50]
    assert minutes(start_after=1200, end_after=2400) == [20, 30, 40]
    assert minutes(count=2) == [10, 20]
    assert minutes(start_after=1500, at_startup=True, count=2) == [25, 30]
    phases = [Phase(name=name, duration=1200) for name in "pqr"]
    event = Event(name="a", cron="*/10 * * * *", phases=("p", "r"), at_startup=True)
    found = Timeline(describe(event, phases=phases), seed=1, begin=begin)
    assert [(each.due, each.phase) for each in found] == [
        (0, "p"),
        (600, "p"),
        (2400, "r"),
        (3000, "r"),
    ]


# Phases


def test_a_firing_is_in_a_phase() -> None:
    """The next one begins where the one before ends; one without a length has none."""
    lengths = {"warm_up": 2, "nothing": 0, "steady": 4, "cool_down": 2}
    phases = [Phase(name=name, duration=length) for name, length in lengths.items()]
    timeline = Timeline(
        describe(Event(name="a", interval_sec=1), phases=phases), seed=1
    )
    assert [(each.due, each.phase) for each in timeline] == [
        (0, "warm_up"),
        (1, "warm_up"),
        (2, "steady"),
        (3, "steady"),
        (4, "steady"),
        (5, "steady"),
        (6, "cool_down"),
        (7, "cool_down"),
    ]
    assert [timeline.phase(at) for at in (0, 1.999, 2, 5.999, 6, 8, 100)] == [
        "warm_up",
        "warm_up",
        "steady",
        "steady",
        "cool_down",
        "cool_down",
        "cool_down",
    ]


THREE = [Phase(name=name, duration=10) for name in "pqr"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"phases": ["p"]}, [0, 4, 8]),
        ({"phases": ["q"]}, [10, 14, 18]),
        ({"phases": ["q"], "at_startup": False}, [14, 18]),
        ({"phases": ["q", "r"]}, [10, 14, 18, 22, 26]),
        # The grid does not move while it is not its turn.
        ({"phases": ["p", "r"]}, [0, 4, 8, 20, 24, 28]),
        ({"phases": ["r", "p"], "count": 4}, [0, 4, 8, 20]),
        ({"phases": ["p", "r"], "start_after": 5}, [5, 9, 21, 25, 29]),
        ({"phases": ["p", "r"], "start_after": 15}, [20, 24, 28]),
        ({"phases": ["p", "r"], "end_after": 20}, [0, 4, 8, 20]),
        ({"phases": ["q"], "end_after": 9}, []),
        ({"phases": ["q"], "start_after": 20}, []),
        ({"phases": ["q"], "interval_sec": None}, [10]),
        ({"phases": ["q"], "interval_sec": None, "at_startup": False}, []),
    ],
)
def test_an_event_may_be_for_some_phases_only(
    event: dict[str, Any], expected: list[float]
) -> None:
    """Its interval begins with the first of them."""
    found = dues(Event(**{"name": "a", "interval_sec": 4, **event}), phases=THREE)
    assert found == expected


def test_a_run_that_goes_on_is_in_its_last_phase() -> None:
    """Who overrides the running time makes that longer, or leaves some out."""
    event = Event(name="a", interval_sec=4, phases=("r",))
    longer = replace(describe(event, phases=THREE), duration=36)
    assert [each.due for each in Timeline(longer, seed=1)] == [20, 24, 28, 32]
    shorter = replace(longer, duration=25)
    assert [each.due for each in Timeline(shorter, seed=1)] == [20, 24]
    ramp = Phase(name="r", duration=10, rate=2, rate_to=1)
    event = Event(name="a", interval_sec=5)
    description = replace(describe(event, phases=[ramp]), duration=25)
    found = [each.due for each in Timeline(description, seed=1)]
    assert len(found) == 1 + 3 + 2
    assert found[-2:] == [15, 20]


def test_a_rate_shortens_intervals() -> None:
    """None is lost where the rate changes, and none is there twice."""
    phases = [
        Phase(name="p", duration=10, rate=2),
        Phase(name="q", duration=10, rate=0.5),
        Phase(name="r", duration=10),
    ]
    event = Event(name="a", interval_sec=5)
    assert dues(event, phases=phases) == [0, 2.5, 5, 7.5, 10, 20, 25]
    assert dues(replace(event, phases=("q", "r")), phases=phases) == [10, 20, 25]
    long = Event(name="a", interval_sec=12, at_startup=False)
    assert dues(long, phases=phases) == [6, 18]


@pytest.mark.parametrize(
    ("rate", "rate_to"), [(1, 10), (10, 1), (0.1, 0.2), (5, 5), (1, 1 + 1e-12)]
)
def test_a_ramp_fires_as_often_as_its_rate_says(rate: float, rate_to: float) -> None:
    """Until any time, that is the integral of the rate."""
    phase = Phase(name="p", duration=100, rate=rate, rate_to=rate_to)
    found = dues(Event(name="a", interval_sec=0.1, at_startup=False), phases=[phase])
    slope = (rate_to - rate) / 100
    for number, due in enumerate(found, 1):
        work = rate * due + slope * due**2 / 2
        assert work == pytest.approx(number * 0.1, rel=1e-9)
    whole = (rate + rate_to) / 2 * 100 / 0.1
    assert len(found) in {math.ceil(whole) - 1, math.floor(whole)}
    gaps = [after - before for before, after in pairwise(found)]
    assert sorted(gaps, reverse=rate_to > rate) == pytest.approx(gaps, rel=1e-6)


def test_jitter_stays_in_its_phase() -> None:
    """And in order, also where a rate leaves it less room."""
    phases = [Phase(name="p", duration=10, rate=5), Phase(name="q", duration=10)]
    event = Event(name="a", interval_sec=4, jitter_sec=4, phases=("p",))
    for seed in range(20):
        found = dues(event, seed=seed, phases=phases)
        assert found == sorted(found)
        assert len(found) == 13
        assert all(
            at * 0.8 <= due < min(10, (at + 1) * 0.8) for at, due in enumerate(found)
        )


# Whatever the description


def times(most: int = 40) -> st.SearchStrategy[float]:
    """Return times of which sums and products are exact."""
    return st.integers(0, most * 4).map(lambda quarters: quarters / 4)


@st.composite
def events(draw: st.DrawFn, names: Sequence[str] = ()) -> Event:
    """Return any event without jitter."""
    interval = draw(st.none() | times(12).filter(bool))
    start, end = draw(st.none() | times()), draw(st.none() | times())
    if start is not None and end is not None:
        start, end = sorted((start, end))
    return Event(
        name=draw(st.sampled_from("ab")),
        interval_sec=interval,
        at_startup=draw(st.none() | st.booleans()),
        start_after=start,
        end_after=end,
        count=draw(st.none() | st.integers(1, 6)),
        phases=tuple(draw(st.sets(st.sampled_from(names)))) if names else (),
    )


@st.composite
def descriptions(draw: st.DrawFn, extras: bool = True) -> Description:
    """Return any description; with rates, jitter and cron if extras are wanted."""
    lengths = draw(st.lists(times(20), max_size=4))
    rates = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0]) if extras else st.just(1.0)
    phases = [
        Phase(
            name="pqrs"[at],
            duration=length,
            rate=draw(rates),
            rate_to=draw(st.none() | rates),
        )
        for at, length in enumerate(lengths)
    ]
    found = draw(st.lists(events("pqrs"[: len(lengths)]), min_size=1, max_size=5))
    if extras:
        for at, event in enumerate(found):
            if event.interval and draw(st.booleans()):
                share = draw(st.sampled_from([0.01, 0.5, 1.0]))
                found[at] = replace(event, jitter_sec=event.interval * share)
            elif event.interval and draw(st.booleans()):
                longest = event.interval * draw(st.sampled_from([1.0, 1.5, 4.0]))
                found[at] = replace(event, interval_sec=(event.interval, longest))
            elif draw(st.integers(0, 4)) == 0:
                cron = draw(st.sampled_from(["* * * * *", "*/7 * * * * *"]))
                found[at] = replace(event, cron=cron, interval_sec=None)
    keys: dict[str, Any] = {"phases": phases}
    if not phases or draw(st.integers(0, 3)) == 0:
        keys["duration"] = draw(times(60))
    return Description(test_name="t", events=tuple(found), **keys)


def naive(description: Description) -> list[tuple[float, int, int, str]]:
    """Return what fires: all quarters of a second are gone through, with fractions."""
    total = description.total
    bounds = [0.0]
    for phase in description.phases:
        bounds.append(bounds[-1] + phase.duration)

    def phase_at(at: float) -> str:
        if not description.phases:
            return ""
        number = min(bisect_right(bounds, at), len(description.phases)) - 1
        return description.phases[number].name

    found = []
    fired = [0] * len(description.events)
    begins: dict[int, float] = {}
    for quarter in range(int(max(total, 0.25) * 4)):
        at = quarter / 4
        for index, event in enumerate(description.events):
            if at < (event.start_after or 0):
                continue
            if event.end_after is not None and at > event.end_after:
                continue
            if event.phases and phase_at(at) not in event.phases:
                continue
            begin = begins.setdefault(index, at)
            if at == begin:
                is_due = event.at_startup is not False
            elif event.interval is None:
                is_due = False
            else:
                is_due = (Fraction(at - begin) / Fraction(event.interval)) % 1 == 0
            if is_due and fired[index] < (event.count or math.inf):
                fired[index] += 1
                found.append((at, index, fired[index], phase_at(at)))
    return found


@given(descriptions(extras=False))
def test_a_timeline_is_what_somebody_with_a_watch_would_write(
    description: Description,
) -> None:
    """Who knows nothing of heaps, grids and streams."""
    assert [tuple(each) for each in Timeline(description, seed=1)] == naive(description)


BEGIN = datetime(2024, 3, 1, 12, 59, 30, tzinfo=UTC)


@given(descriptions(), st.integers(), times() | st.floats(0, 60))
def test_a_later_beginning_leaves_out_what_is_before(
    description: Description, seed: int, since: float
) -> None:
    """And nothing else: what is left has the same number and the same time."""
    whole = list(Timeline(description, seed=seed, begin=BEGIN))
    rest = Timeline(description, seed=seed, begin=BEGIN, since=since)
    assert list(rest) == [each for each in whole if each.due >= since]
    for firing in whole:
        exactly = Timeline(description, seed=seed, begin=BEGIN, since=firing.due)
        assert next(iter(exactly)).due == firing.due


@given(descriptions(), st.integers())
def test_a_timeline_is_in_order_and_counted(
    description: Description, seed: int
) -> None:
    """Each event has all its numbers, and nothing is outside of the run."""
    timeline = Timeline(description, seed=seed, begin=BEGIN)
    found = list(timeline)
    order = [(each.due, each.event) for each in found]
    assert order == sorted(order)
    assert list(timeline) == found
    for index, event in enumerate(description.events):
        own = [each for each in found if each.event == index]
        assert [each.ordinal for each in own] == list(range(1, len(own) + 1))
        assert timeline.count(index) == len(own)
        assert len(own) <= (event.count or math.inf)
        for each in own:
            assert each.due < description.total or each.due == 0
            assert each.due >= (event.start_after or 0)
            assert event.end_after is None or each.due <= event.end_after
            assert each.phase == timeline.phase(each.due)
            assert not event.phases or each.phase in event.phases


@pytest.mark.parametrize(
    "change",
    [
        lambda event: replace(event, jitter_sec=0.0),
        lambda event: replace(event, phases=("p",)),
        lambda event: replace(event, count=10**12),
    ],
)
@given(st.floats(0.001, 3), st.floats(0, 10))
def test_each_way_to_compute_gives_the_same(
    change: Callable[[Event], Event], interval: float, start: float
) -> None:
    """Who names the only phase there is changes nothing."""
    event = Event(name="a", interval_sec=interval, start_after=start)
    phases = [Phase(name="p", duration=12)]
    assert dues(event, phases=phases) == dues(change(event), phases=phases)


# At random


def poisson(**keys: Any) -> Event:
    """Return an event that fires a hundred times a second on average."""
    return Event(name="a", rate_per_sec=100, distribution=Distribution.POISSON, **keys)


def test_poisson_firings_are_as_many_as_those_of_the_interval() -> None:
    """On average; gaps are as often short, and as often long, as theory has it."""
    found = dues(poisson(at_startup=False), duration=100)
    assert found == sorted(found)
    assert 9_500 < len(found) < 10_500
    gaps = sorted(second - first for first, second in pairwise(found))
    assert gaps[len(gaps) // 2] == pytest.approx(math.log(2) / 100, rel=0.1)
    assert sum(gap > 0.03 for gap in gaps) / len(gaps) == pytest.approx(
        math.exp(-3), rel=0.2
    )


def test_poisson_firings_come_again_with_the_seed() -> None:
    """Other events, and where one begins to look, do not change them."""
    found = dues(poisson())
    assert found[0] == 0
    assert dues(poisson()) == found
    assert dues(poisson(), seed=2) != found
    more = fire(Event(name="b", interval_sec=1), poisson())
    assert [due for due, name in more if name == "a"] == found
    assert [due for due, _ in fire(poisson(), since=5)] == [
        each for each in found if each >= 5
    ]


def test_poisson_firings_follow_a_rate() -> None:
    """And stay in their phases."""
    phases = (
        Phase(name="slow", duration=50, rate=1),
        Phase(name="fast", duration=50, rate=3),
    )
    found = dues(poisson(), phases=phases)
    slow = sum(each < 50 for each in found)
    assert (len(found) - slow) / slow == pytest.approx(3, rel=0.1)
    only = dues(poisson(phases=("fast",)), phases=phases)
    assert min(only) >= 50


def drawn(**keys: Any) -> Event:
    """Return an event that fires from one second to three after the last time."""
    return Event(**{"name": "a", "interval_sec": (1, 3), **keys})


def gaps(dues: Sequence[float]) -> list[float]:
    return [second - first for first, second in pairwise(dues)]


@given(st.integers(), st.floats(0.001, 5), st.floats(0, 5))
def test_intervals_are_drawn_between_two_numbers(
    seed: int, shortest: float, more: float
) -> None:
    """And never outside, at the startup neither."""
    event = drawn(interval_sec=(shortest, shortest + more), count=50)
    found = dues(event, seed=seed, duration=500)
    assert found[0] == 0
    assert all(shortest - 1e-9 <= gap <= shortest + more + 1e-9 for gap in gaps(found))
    later = dues(replace(event, at_startup=False), seed=seed, duration=500)
    assert later[:49] == found[1:]


def test_intervals_are_drawn_evenly() -> None:
    """No length is more frequent than another."""
    found = gaps(dues(drawn(), duration=20_000))
    assert len(found) == pytest.approx(10_000, rel=0.02)
    assert [
        sum(low <= each < low + 0.5 for each in found) for low in (1, 1.5, 2, 2.5)
    ] == [pytest.approx(len(found) / 4, rel=0.1)] * 4


def test_drawn_intervals_come_again_with_the_seed() -> None:
    """Other events, and where one begins to look, do not change them."""
    found = dues(drawn(), duration=100)
    assert dues(drawn(), duration=100) == found
    assert dues(drawn(), seed=2, duration=100) != found
    twins = Timeline(describe(drawn(name="b"), drawn(), drawn(), duration=100), seed=1)
    first, second = (
        [each.due for each in twins if each.event == index] for index in (1, 2)
    )
    assert first == found
    assert second != found
    rest = Timeline(describe(drawn(), duration=100), seed=1, since=found[20])
    assert [(each.due, each.ordinal) for each in rest] == [
        (due, ordinal) for ordinal, due in enumerate(found, 1) if due >= found[20]
    ]


def test_drawn_intervals_have_a_beginning_an_end_and_a_count() -> None:
    """As all intervals have; they begin where they may."""
    whole = dues(drawn(at_startup=False), duration=100)
    later = dues(drawn(start_after=50), duration=100)
    assert later[0] == 50
    assert later[1:] == pytest.approx([50 + each for each in whole[: len(later) - 1]])
    assert dues(drawn(count=5), duration=100) == [0, *whole[:4]]
    assert max(dues(drawn(end_after=30), duration=100)) <= 30
    timeline = Timeline(describe(drawn(count=5), duration=100), seed=1)
    assert timeline.count(0) == 5


def test_drawn_intervals_follow_a_rate() -> None:
    """With a rate of 4, they are a quarter as long; phases have what is in them."""
    phases = (
        Phase(name="slow", duration=400, rate=1),
        Phase(name="fast", duration=400, rate=4),
    )
    found = dues(drawn(), phases=phases)
    slow = gaps([each for each in found if each < 400])
    fast = gaps([each for each in found if each >= 400])
    assert 1 <= min(slow) < max(slow) <= 3
    assert 0.25 - 1e-9 <= min(fast) < max(fast) <= 0.75 + 1e-9
    only = dues(drawn(phases=("fast",)), phases=phases)
    assert only[0] == 400
    assert 0.25 - 1e-9 <= min(gaps(only)) < max(gaps(only)) <= 0.75 + 1e-9


def test_an_interval_from_a_number_to_itself_is_that_number() -> None:
    """On the grid."""
    assert dues(drawn(interval_sec=(0.7, 0.7))) == dues(drawn(interval_sec=0.7))

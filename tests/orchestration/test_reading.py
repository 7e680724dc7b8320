"""What a description says, and all that is wrong with it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysys_orch.durations import seconds_of_text
from pysys_orch.errors import ConfigError
from pysys_orch.orchestration.description import (
    After,
    Description,
    Distribution,
    Event,
    Failure,
    Isolation,
    On,
    OnFailure,
    Overlap,
    Phase,
)
from pysys_orch.orchestration.reading import (
    DescriptionError,
    draft,
    made,
    read,
    schema,
)
from pysys_orch.orchestration.thresholds import FIGURES, Threshold

Said = dict[str, Any]
Problems = Callable[..., list[str]]

#: The example of pytest-orchestration, as its page shows it.
SEED = """{
  "test_name": "my_orchestration_test",                 // Name of the test (no need to have a "test" prefix or suffix)
  "total_hours": 3,                                     // Total number of hours for the test to run
  "unref_setup_fixtures": ["device_with_collectd"],     // A list of setup fixtures that won't be references in actual test events
  "events": [                                           // A list of all "events" making up the test
    {
      "name": "start_playback",                         // Mandatory: The name of the event as it is implemented, see Events section below
      "interval_sec": 300,                              // Optional: The number of seconds between eache execution of this event. If it is not set, then the event will only be triggerd according to "at_startup" and "at_teardown"
      "at_startup": true,                               // Optional(Defaults to true): Specifies if the event should be executed once on startup, if false it will wait interval_sec befor being executed.
      "at_teardown": false,                              // Optional(Defaults to false): Specifies if a event should be executed on teardown, one last time after the time "total_hours" have been reached.
      "params":{                                        // Optional: Params is a dict of simple key: values that would be used in the implemented events
        "video_path": "/home/orch-tests/video-files/high_res_clip.mp4"
      }
    },
    {
      "name": "start_streamer",
      "at_startup": true
    },
    {
      "name": "collect_system_report",
      "at_startup": false,
      "at_teardown": true
    }
  ]
}
"""  # noqa: E501 -- as it is
SEED_MEANS = Description(
    test_name="my_orchestration_test",
    total_hours=3,
    unref_setup_fixtures=("device_with_collectd",),
    events=(
        Event(
            name="start_playback",
            interval_sec=300,
            at_startup=True,
            at_teardown=False,
            params={"video_path": "/home/orch-tests/video-files/high_res_clip.mp4"},
        ),
        Event(name="start_streamer", at_startup=True),
        Event(name="collect_system_report", at_startup=False, at_teardown=True),
    ),
)

#: All that can be said, by what it means.
EVERYTHING: Said = {
    "$schema": "https://example.com/orchestration.json",
    "test_name": "t",
    "unref_setup_fixtures": ["one", "two"],
    "seed": 7,
    "time_zone": "Europe/Oslo",
    "executor": "concurrent.futures:ThreadPoolExecutor",
    "max_workers": 4,
    "status_sec": 30,
    "phases": [
        {"name": "warm_up", "duration": "10m", "rate": 0.5, "rate_to": 2},
        {"name": "steady", "duration": 3600},
    ],
    "thresholds": {"write.response_p99_ms": "<50", "*.failure_ratio": "<= 0.01"},
    "events": [
        {
            "name": "write",
            "interval_sec": 0.5,
            "at_startup": False,
            "at_teardown": True,
            "params": {"key": "a", "values": [1, None, {"b": True}]},
            "start_after": "1m30s",
            "end_after": 1800,
            "count": 100,
            "jitter_sec": 0.1,
            "overlap": "queue",
            "max_queued": 5,
            "timeout_sec": 2,
            "grace_sec": 0,
            "retries": 3,
            "retry_delay_sec": 0.5,
            "retry_backoff": 2,
            "isolation": "process",
            "on_failure": {"max_ratio": 0.01},
            "phases": ["steady"],
        },
        {"name": "break", "interval_min": 5, "duration_sec": 30, "undo": "mend"},
        {"name": "look", "interval_hour": 0.5, "on_failure": {"max_failures": 3}},
        {"name": "rotate", "cron": "0 3 * * MON-FRI", "overlap": "parallel"},
        {"name": "then", "after": "write", "on_failure": "stop", "max_parallel": 2},
        {
            "name": "mourn",
            "after": {"event": "write", "on": "failure", "delay_sec": 1.5},
            "on_failure": "ignore",
            "overlap": "cancel",
        },
        {"name": "browse", "interval_sec": [2, 5.5], "phases": ["warm_up"]},
        {"name": "ping", "rate_per_sec": 3, "distribution": "poisson"},
    ],
}
EVERYTHING_MEANS = Description(
    test_name="t",
    unref_setup_fixtures=("one", "two"),
    seed=7,
    time_zone="Europe/Oslo",
    executor="concurrent.futures:ThreadPoolExecutor",
    max_workers=4,
    status_sec=30.0,
    phases=(
        Phase(name="warm_up", duration=600.0, rate=0.5, rate_to=2.0),
        Phase(name="steady", duration=3600.0),
    ),
    thresholds={"write.response_p99_ms": "<50", "*.failure_ratio": "<= 0.01"},
    events=(
        Event(
            name="write",
            interval_sec=0.5,
            at_startup=False,
            at_teardown=True,
            params={"key": "a", "values": [1, None, {"b": True}]},
            start_after=90.0,
            end_after=1800.0,
            count=100,
            jitter_sec=0.1,
            overlap=Overlap.QUEUE,
            max_queued=5,
            timeout_sec=2.0,
            grace_sec=0.0,
            retries=3,
            retry_delay_sec=0.5,
            retry_backoff=2.0,
            isolation=Isolation.PROCESS,
            on_failure=Failure(max_ratio=0.01),
            phases=("steady",),
        ),
        Event(name="break", interval_min=5.0, duration_sec=30.0, undo="mend"),
        Event(name="look", interval_hour=0.5, on_failure=Failure(max_failures=3)),
        Event(name="rotate", cron="0 3 * * MON-FRI", overlap=Overlap.PARALLEL),
        Event(
            name="then",
            after=After(event="write"),
            on_failure=Failure(policy=OnFailure.STOP),
            max_parallel=2,
        ),
        Event(
            name="mourn",
            after=After(event="write", on=On.FAILURE, delay_sec=1.5),
            on_failure=Failure(policy=OnFailure.IGNORE),
            overlap=Overlap.CANCEL,
        ),
        Event(name="browse", interval_sec=(2.0, 5.5), phases=("warm_up",)),
        Event(name="ping", rate_per_sec=3.0, distribution=Distribution.POISSON),
    ),
)


def said(*events: object, **keys: object) -> Said:
    """Return a description of an hour with these events, or with one called ``a``."""
    return {"test_name": "t", "total_hours": 1, "events": list(events or [A]), **keys}


A: Said = {"name": "a"}


def words(description: object) -> list[str]:
    """Return what is wrong with a description."""
    return [each.words for each in draft(description).problems]


def of(**keys: object) -> list[str]:
    """Return what is wrong with a description that says these keys."""
    return words(said(**keys))


def of_event(**keys: object) -> list[str]:
    """Return what is wrong with an event that says these keys, without its name."""
    prefix = "event 1 (a): "
    found = words(said({**A, **keys}))
    assert all(each.startswith(prefix) for each in found), found
    return [each.removeprefix(prefix) for each in found]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a file."""

    def write(text: str, name: str = "t.orch.json") -> Path:
        file = tmp_path / name
        file.write_bytes(text.encode())
        return file

    return write


@pytest.fixture
def problems(write: Callable[..., Path]) -> Problems:
    """Return what says all that is wrong with the text of a file."""

    def problems(text: str, name: str = "t.orch.json") -> list[str]:
        file = write(text, name)
        with pytest.raises(DescriptionError) as failure:
            read(file).checked()
        assert "\n" not in str(failure.value)
        found = [str(each) for each in failure.value.problems]
        head = f"{name} has {len(found)} problems: "
        if len(found) == 1:
            head = f"{name}:"
        assert str(failure.value) == head + "; ".join(found)
        return found

    return problems


# What is meant


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_example_of_the_original_means_what_it_says(
    mark: str, newline: str, write: Callable[..., Path]
) -> None:
    """With its comments, which the original itself refuses."""
    text = mark + SEED.replace("\n", newline)
    file = write(text, "my_orchestration_test.orch.json")
    assert read(file).checked() == SEED_MEANS


def test_what_is_not_said_has_a_default() -> None:
    """Those of the original where it has them."""
    found = draft({"test_name": "t", "total_hours": 1, "events": [A]}).checked()
    assert found == Description(
        test_name="t",
        total_hours=1.0,
        duration=None,
        unref_setup_fixtures=(),
        phases=(),
        seed=None,
        time_zone="UTC",
        thresholds={},
        executor="threads",
        max_workers=32,
        status_sec=None,
        events=(
            Event(
                name="a",
                interval_sec=None,
                interval_min=None,
                interval_hour=None,
                rate_per_sec=None,
                at_startup=None,
                at_teardown=False,
                params={},
                start_after=None,
                end_after=None,
                count=None,
                jitter_sec=0.0,
                cron=None,
                after=None,
                overlap=Overlap.SKIP,
                max_queued=100,
                max_parallel=10,
                timeout_sec=None,
                grace_sec=10.0,
                retries=0,
                retry_delay_sec=1.0,
                retry_backoff=1.0,
                isolation=Isolation.THREAD,
                on_failure=Failure(policy=OnFailure.FAIL),
                duration_sec=None,
                undo=None,
                phases=(),
            ),
        ),
    )
    assert found.total == 3600
    assert found.events[0].interval is None


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({}, True),
        ({"interval_sec": 1}, True),
        ({"at_startup": False, "at_teardown": True}, False),
        ({"cron": "* * * * *"}, False),
        ({"after": "b"}, False),
        ({"cron": "* * * * *", "at_startup": True}, True),
        ({"after": "b", "at_startup": True}, True),
    ],
)
def test_an_event_fires_at_startup_unless_something_else_fires_it(
    event: Said, expected: bool
) -> None:
    """Which is what the original has as default for what it knows."""
    found = draft(said({**A, **event}, {"name": "b"})).checked()
    assert found.events[0].fires_at_startup is expected


def test_all_can_be_said() -> None:
    """Each key means what it says."""
    assert draft(EVERYTHING).checked() == EVERYTHING_MEANS


def test_yaml_says_the_same(write: Callable[..., Path]) -> None:
    """Also where YAML is known for surprises: ``on`` is a key."""
    text = yaml.safe_dump(EVERYTHING, sort_keys=False).replace("'on':", "on:")
    assert "on: failure" in text
    assert read(write(text, "t.orch.yaml")).checked() == EVERYTHING_MEANS
    text = "test_name: t\nduration: 12h30m\nevents: [{name: a, params: {at: 12:30}}]\n"
    found = read(write(text, "t.orch.yml")).checked()
    assert found.events[0].params == {"at": "12:30"}
    assert found.total == 12.5 * 3600


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h30m", 9000),
        ("250ms", 0.25),
        ("9ms", 0.009),
        ("1.1h", 3960),
        ("0.1s", 0.1),
        ("1d", 86400),
        ("1s1s", 2),
        ("0s", 0),
    ],
)
def test_a_duration_may_be_a_text(text: str, expected: float) -> None:
    """It is exactly what it says."""
    assert seconds_of_text(text) == expected
    assert draft(said(total_hours=None, duration=text)).checked().total == expected


@pytest.mark.parametrize(
    "text", ["", "90", "s", "-1s", "1 s", "1h 30m", "1y", "1e3s", "1,5h", "٣s", "90S"]
)
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    """The message says what one looks like."""
    with pytest.raises(ValueError, match="such as 90s, 15m or 2h30m"):
        seconds_of_text(text)
    hint = "has to be seconds, or a text such as 90s, 15m or 2h30m"
    assert of_event(start_after=text) == [f"start_after {hint}, got {text!r}"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"total_hours": 0}, 0),
        ({"total_hours": -0.0}, 0),
        ({"total_hours": 1.1}, 3960),
        ({"total_hours": 876600}, 876600 * 3600),
        ({"duration": 5}, 5),
        ({"phases": [{"name": "a", "duration": 0.1}] * 3}, 0.3),
    ],
)
def test_the_whole_is_as_long_as_it_says(keys: Said, expected: float) -> None:
    """As on paper: no length is a little more than what was written."""
    description = {"test_name": "t", "events": [A], **keys}
    found = draft(description).description
    assert found is not None
    assert found.total == pytest.approx(expected, rel=1e-15)


def test_intervals_have_units() -> None:
    """Each of them is in seconds in the end."""
    events = [
        {"name": "a", "interval_sec": 0.1},
        {"name": "b", "interval_min": 2.3},
        {"name": "c", "interval_hour": 1.1},
    ]
    found = draft(said(*events)).checked()
    assert [each.interval for each in found.events] == [0.1, 138, 3960]


def test_an_interval_may_be_anything_between_two_numbers() -> None:
    """In each of its units, as exactly as a single one."""
    found = [
        draft(said({**A, key: value})).checked().events[0]
        for key, value in [
            ("interval_sec", [0.5, 2]),
            ("interval_min", [1.1, 2]),
            ("interval_hour", [1.1, 2]),
            ("interval_sec", [5, 5]),
            ("rate_per_sec", 4),
        ]
    ]
    assert [each.gaps for each in found] == [
        (0.5, 2),
        (66, 120),
        (3960, 7200),
        (5, 5),
        (0.25, 0.25),
    ]
    assert [each.interval for each in found] == [1.25, 93, 5580, 5, 0.25]
    assert [each.is_irregular for each in found] == [True] * 3 + [False] * 2


def test_a_wrong_interval_is_told_of_where_it_is(problems: Problems) -> None:
    """Both numbers of a pair, each in its place."""
    text = """{"test_name": "t", "total_hours": 1, "events": [
  {"name": "a", "interval_sec": [0,
     "2"]},
  {"name": "b", "interval_min": [3, 2]},
  {"name": "c", "after": {"event": "a", "one number": 1}}
]}
"""
    assert problems(text) == [
        "2:34: event 1 (a): entry 1 of interval_sec has to be above 0, got 0",
        "3:6: event 1 (a): entry 2 of interval_sec has to be a number, got '2'",
        (
            "4:17: event 2 (b): interval_min is from the shortest one to the longest "
            "one, got [3, 2]"
        ),
        (
            "5:41: event 3 (c): there is no key 'one number' (there is event, on, "
            "delay_sec)"
        ),
    ]


def test_the_same_name_twice_is_two_events() -> None:
    """As long as nothing else speaks of them."""
    assert words(said(A, A, {"name": "b"})) == []


# What is wrong in itself


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("300", "interval_sec has to be a number, got '300'"),
        (True, "interval_sec has to be a number, got true"),
        ([1], "interval_sec has to be a number, or two of them, got [1]"),
        ([], "interval_sec has to be a number, or two of them, got []"),
        ([1, 2, 3], "interval_sec has to be a number, or two of them, got [1, 2, 3]"),
        ([1, "2"], "entry 2 of interval_sec has to be a number, got '2'"),
        ([0, 2], "entry 1 of interval_sec has to be above 0, got 0"),
        ([1, 1e999], "entry 2 of interval_sec has to be finite, got inf"),
        (
            [5, 2],
            "interval_sec is from the shortest one to the longest one, got [5, 2]",
        ),
        ([1e-9, 2], "interval_sec is below a microsecond, got 1e-09 s"),
        (0, "interval_sec has to be above 0, got 0"),
        (-0.0, "interval_sec has to be above 0, got -0.0"),
        (-5, "interval_sec has to be above 0, got -5"),
        (float("nan"), "interval_sec has to be finite, got nan"),
        (float("inf"), "interval_sec has to be finite, got inf"),
        (
            3_155_760_001,
            "interval_sec has to be at most 3155760000, a century, got 3155760001",
        ),
        (10**400, f"interval_sec is too large, got 1{'0' * 27}...{'0' * 29}"),
        pytest.param(
            10**5000,
            "interval_sec is too large, got a very long number",
            id="long",
        ),
        (1e-300, "interval_sec is below a microsecond, got 1e-300 s"),
    ],
)
def test_a_number_is_a_number(value: object, expected: str) -> None:
    """Nothing is taken for one that only looks like it."""
    assert of_event(interval_sec=value) == [expected]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"total_hours": "3"}, "total_hours has to be a number, got '3'"),
        ({"total_hours": True}, "total_hours has to be a number, got true"),
        ({"total_hours": -1}, "total_hours has to be at least 0, got -1"),
        ({"total_hours": 1e999}, "total_hours has to be finite, got inf"),
        (
            {"total_hours": 876601},
            "total_hours has to be at most 876600, a century, got 876601",
        ),
        (
            {"total_hours": None, "duration": True},
            "duration has to be seconds, or a text such as 90s, 15m or 2h30m, got true",
        ),
        (
            {"total_hours": None, "duration": "36526d"},
            "duration has to be at most 3155760000, a century, got 3155846400.0",
        ),
        ({"test_name": 7}, "test_name has to be a text, got 7"),
        ({"test_name": ""}, "test_name has to have at least one character, got ''"),
        ({"events": {}}, "events has to be a list, got {}"),
        ({"events": "a"}, "events has to be a list, got 'a'"),
        ({"events": None}, "events has to be a list, got null"),
        ({"events": []}, "events is empty: nothing would happen"),
        ({"events": [A, "b"]}, "event 2: has to be an object, got 'b'"),
        ({"events": [{}]}, "event 1: name is missing"),
        ({"events": [{"name": 5}]}, "event 1: name has to be a text, got 5"),
        (
            {"unref_setup_fixtures": "device"},
            "unref_setup_fixtures has to be a list, got 'device'",
        ),
        (
            {"unref_setup_fixtures": ["a", 5]},
            "entry 2 of unref_setup_fixtures has to be a text, got 5",
        ),
        ({"seed": 1.0}, "seed has to be a whole number, got 1.0"),
        ({"seed": "1"}, "seed has to be a whole number, got '1'"),
        ({"max_workers": 0}, "max_workers has to be at least 1, got 0"),
        ({"status_sec": 0.5}, "status_sec has to be at least 1, got 0.5"),
        ({"status_sec": "10s"}, "status_sec has to be a number, got '10s'"),
        ({"max_workers": True}, "max_workers has to be a whole number, got true"),
        ({"thresholds": ["a"]}, "thresholds has to be an object, got ['a']"),
        (
            {"thresholds": {"a.fired": 5}},
            "a.fired has to be a text, got 5",
        ),
        ({"thresholds": {5: "<1"}}, "a key of thresholds has to be a text, got 5"),
        ({"phases": [5], "total_hours": None}, "phase 1: has to be an object, got 5"),
        (
            {"phases": [{"name": "p"}], "total_hours": None},
            "phase 1 (p): duration is missing",
        ),
        (
            {
                "phases": [{"name": "p", "duration": 1, "rate": 0}],
                "total_hours": None,
            },
            "phase 1 (p): rate has to be above 0, got 0",
        ),
    ],
)
def test_a_wrong_value_is_told_of(keys: Said, expected: str) -> None:
    """Once, with its key, and with what it is."""
    assert words(said(**keys)) == [expected]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"at_startup": "false"}, "at_startup has to be true or false, got 'false'"),
        ({"at_startup": 0}, "at_startup has to be true or false, got 0"),
        ({"at_teardown": 1}, "at_teardown has to be true or false, got 1"),
        ({"at_teardown": None}, "at_teardown has to be true or false, got null"),
        ({"params": ["x"]}, "params has to be an object, got ['x']"),
        ({"params": {5: 5}}, "a key of params has to be a text, got 5"),
        ({"interval_min": -1}, "interval_min has to be above 0, got -1"),
        (
            {"interval_hour": 876601},
            "interval_hour has to be at most 876600, a century, got 876601",
        ),
        ({"count": 0}, "count has to be at least 1, got 0"),
        ({"count": 2.5}, "count has to be a whole number, got 2.5"),
        ({"retries": -1}, "retries has to be at least 0, got -1"),
        ({"retry_backoff": 0.5}, "retry_backoff has to be at least 1, got 0.5"),
        ({"retry_backoff": 101}, "retry_backoff has to be at most 100, got 101"),
        ({"retry_backof": 2}, "there is no key 'retry_backof', did you mean retry_ba"),
        ({"interval_min": [-1, 1]}, "entry 1 of interval_min has to be above 0, got"),
        (
            {"interval_hour": [1, 876601]},
            "entry 2 of interval_hour has to be at most 876600, a century, got 876601",
        ),
        ({"rate_per_sec": 0}, "rate_per_sec has to be above 0, got 0"),
        ({"rate_per_sec": [1, 2]}, "rate_per_sec has to be a number, got [1, 2]"),
        ({"rate_per_sec": 1e-10}, "rate_per_sec is less than once in a century, got"),
        ({"rate_per_sec": 1e-310}, "rate_per_sec is less than once in a century, got"),
        ({"rate_per_second": 1}, "there is no key 'rate_per_second', did you mean ra"),
        ({"timeout_sec": 0}, "timeout_sec has to be above 0, got 0"),
        ({"grace_sec": "5"}, "grace_sec has to be a number, got '5'"),
        (
            {"overlap": "wait"},
            "overlap has to be 'skip', 'queue', 'parallel' or 'cancel', got 'wait'",
        ),
        (
            {"isolation": True},
            "isolation has to be 'thread' or 'process', got true",
        ),
        (
            {"on_failure": "panic"},
            "on_failure has to be 'fail', 'stop', 'ignore' or an object, got 'panic'",
        ),
        (
            {"on_failure": True},
            "on_failure has to be 'fail', 'stop', 'ignore' or an object, got true",
        ),
        (
            {"on_failure": {"max_ratio": 1.5}},
            "max_ratio has to be at most 1, got 1.5",
        ),
        (
            {"on_failure": {"max_failure": 3}},
            "there is no key 'max_failure', did you mean max_failures?",
        ),
        ({"on_failure": {}}, "on_failure has to say max_failures or max_ratio"),
        (
            {"on_failure": {"max_failures": 3, "max_ratio": 0.5}},
            "on_failure has to say max_failures or max_ratio",
        ),
        (
            {"on_failure": {"policy": "stop", "max_ratio": 0.5}},
            "on_failure says a policy and a limit: leave one out",
        ),
        ({"after": 5}, "after has to be the name of an event, or an object, got 5"),
        ({"after": {}}, "event is missing"),
        (
            {"after": {"event": "a", "on": "ok"}},
            "on has to be 'success', 'failure' or 'any', got 'ok'",
        ),
        (
            {"after": {"event": "a", "delay": 5}},
            "there is no key 'delay', did you mean delay_sec?",
        ),
        (
            {"closed": {"users": 1, "think_secs": 1}},
            "there is no key 'think_secs', did you mean think_sec?",
        ),
        (
            {"closed": {"user": 1, "think_sec": 1}},
            "there is no key 'user', did you mean users?",
        ),
        (
            {"closed": {"users": 1, "think_sec": 1, "x": 1}},
            "there is no key 'x' (there is users, think_sec)",
        ),
        ({"phases": "p"}, "phases has to be a list, got 'p'"),
        ({"phases": ["p", 5]}, "entry 2 of phases has to be a text, got 5"),
        ({"intervall_sec": 5}, "there is no key 'intervall_sec', did you mean in"),
        ({"Interval_Sec": 5}, "there is no key 'Interval_Sec', did you mean inte"),
        ({"xyz": 5}, "there is no key 'xyz'"),
        (
            {"undo": "x" * 100, "duration_sec": "y" * 100},
            f"duration_sec has to be a number, got '{'y' * 60}'…",
        ),
    ],
)
def test_a_wrong_value_of_an_event_is_told_of(keys: Said, expected: str) -> None:
    """With the number and the name of the event."""
    (found,) = of_event(**keys)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    "value", [None, [], [{}], "text", 5, 5.5, True, float("nan")], ids=repr
)
def test_what_is_no_object_is_no_description(value: object) -> None:
    """An empty list, a text or a number are not."""
    (found,) = words(value)
    assert found.startswith("the description has to be an object, got ")


# What is wrong in the light of others


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (
            {"test_name": "t", "events": [A]},
            "total_hours is missing: it says how long the test runs",
        ),
        (
            said(duration="1h"),
            "duration is said as well as total_hours: leave one out",
        ),
        (
            said(phases=[{"name": "p", "duration": 5}]),
            "phases is said as well as total_hours: leave one out",
        ),
        (
            said(
                phases=[{"name": each, "duration": "36500d"} for each in "pq"],
                total_hours=None,
            ),
            "phases take more than a century together",
        ),
        (
            said(time_zone="Europe/Olso"),
            "there is no time_zone 'Europe/Olso', did you mean Europe/Oslo?",
        ),
        (said(time_zone="../x"), "there is no time_zone '../x'"),
        (said(time_zone="Europe"), "there is no time_zone 'Europe', did you mean Eu"),
        (said(time_zone="\0"), "there is no time_zone '\\x00'"),
        (
            said(executor="thread"),
            (
                "executor has to be threads, processes or module:function, got "
                "'thread', did you mean threads?"
            ),
        ),
        (
            said(executor=".json:loads"),
            "executor has to be threads, processes or module:function, got '.json",
        ),
        (
            said(executor="there.is.none:x"),
            "executor 'there.is.none:x' is not there: No module named 'there'",
        ),
        (
            said(executor="json:none"),
            "executor 'json:none' is not there: module 'json' has no attribute 'none'",
        ),
        (said(executor="json:__name__"), "executor 'json:__name__' cannot be called"),
        (
            said(thresholds={"a.respons_p99_ms": "<5"}),
            (
                "threshold 'a.respons_p99_ms': there is no figure 'respons_p99_ms', "
                "did you mean response_p99_ms?"
            ),
        ),
        (
            said(thresholds={"b.fired": ">5"}),
            "threshold 'b.fired': no event is called 'b' (there is a)",
        ),
        (
            said(A, A, thresholds={"a.fired": ">5"}),
            "threshold 'a.fired': two events are called 'a'",
        ),
        (
            said({**A, "phases": ["p", "q"]}, phases=[{"name": "p", "duration": 1}])
            | {"total_hours": None},
            "event 1 (a): there is no phase 'q' (there is p)",
        ),
        (
            said(phases=[{"name": "p", "duration": 1}] * 2) | {"total_hours": None},
            "phase 2 (p): two phases are called 'p'",
        ),
        (
            said({**A, "interval_sec": 5, "interval_min": 5}),
            "event 1 (a): interval_min is said as well as interval_sec: leave one out",
        ),
        (
            said({"name": "a", "distribution": "poisson"}),
            "event 1 (a): distribution is that of an interval: there is none",
        ),
        (
            said(
                {
                    "name": "a",
                    "interval_sec": 5,
                    "distribution": "poisson",
                    "jitter_sec": 1,
                }
            ),
            ("event 1 (a): jitter_sec moves what is even, and this is poisson already"),
        ),
        (
            said({**A, "interval_sec": [1, 2], "distribution": "poisson"}),
            (
                "event 1 (a): distribution is that of one interval, and interval_sec "
                "has two: leave one out"
            ),
        ),
        (
            said({**A, "interval_min": [1, 2], "jitter_sec": 1}),
            (
                "event 1 (a): jitter_sec moves what is even, and interval_min is "
                "random already"
            ),
        ),
        (
            said({**A, "interval_sec": [1, 9], "undo": "mend", "duration_sec": 2}),
            (
                "event 1 (a): duration_sec has to be below the interval, 1 at its "
                "shortest, or the fault would never be over, got 2"
            ),
        ),
        (
            said({**A, "interval_hour": [1, 2], "rate_per_sec": 5}),
            "event 1 (a): rate_per_sec is said as well as interval_hour: leave one",
        ),
        (
            said({**A, "rate_per_sec": 2, "jitter_sec": 0.75}),
            (
                "event 1 (a): jitter_sec is at least 0, and at most the interval, "
                "0.5, got 0.75"
            ),
        ),
        (
            said(
                {"name": "a", "at_startup": False, "at_teardown": True},
                {"name": "b", "after": "a"},
            ),
            ("event 2 (b): after: 'a' fires in the end only, nothing follows it"),
        ),
        (
            said(
                {
                    "name": "a",
                    "duration_sec": 1,
                    "undo": "b",
                    "overlap": "queue",
                }
            ),
            "event 1 (a): overlap of a fault is skip or parallel, got 'queue'",
        ),
        (
            said({**A, "interval_hour": 5, "cron": "* * * * *"}),
            "event 1 (a): cron is said as well as interval_hour: leave one out",
        ),
        (
            said({**A, "at_startup": False}),
            (
                "event 1 (a): it would never fire: it has no interval, cron, after, "
                "at_startup or at_teardown"
            ),
        ),
        (
            said({**A, "jitter_sec": 1}),
            "event 1 (a): jitter_sec moves the firings of an interval: there is none",
        ),
        (
            said({**A, "jitter_sec": 1.5, "interval_sec": 1.25}),
            (
                "event 1 (a): jitter_sec is at least 0, and at most the interval, "
                "1.25, got 1.5"
            ),
        ),
        (
            said({**A, "start_after": "1m", "end_after": 59.5}),
            "event 1 (a): end_after has to be at least start_after, 60 s, got 59.5",
        ),
        (
            said({**A, "undo": "mend"}),
            "event 1 (a): undo needs duration_sec: it says when that is called",
        ),
        (
            said({**A, "duration_sec": 5}),
            "event 1 (a): duration_sec needs undo: what is called then",
        ),
        (
            said({**A, "undo": "mend", "duration_sec": 5, "interval_sec": 5}),
            (
                "event 1 (a): duration_sec has to be below the interval, 5, or the "
                "fault would never be over, got 5"
            ),
        ),
        (
            said({**A, "after": "b"}),
            "event 1 (a): after: no event is called 'b' (there is a)",
        ),
        (
            said({"name": "ab", "after": "start"}, {"name": "star"}),
            "event 1 (ab): after: no event is called 'start', did you mean star?",
        ),
        (
            said({"name": "b", "after": "a"}, A, A),
            "event 1 (b): after: two events are called 'a'",
        ),
        (
            said({**A, "after": "a"}),
            "event 1 (a): after: 'a' would fire itself, again and again",
        ),
    ],
)
def test_what_does_not_go_together_is_told_of(description: Said, expected: str) -> None:
    """Once, where the second of the two is."""
    (found,) = words(description)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("every day", "wrong number of fields"),
        ("@daily", "wrong number of fields"),
        ("60 * * * *", "bad minute"),
        ("0 3 * * MO", "bad day-of-week"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("*/0 * * * *", "bad minute"),
        ("0 0 29 2 MON#5/1", "bad day-of-week"),
    ],
)
def test_a_cron_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    """Also one of a day that never comes."""
    assert of_event(cron=text) == [f"cron {text!r} makes no sense: {words}"]


def test_a_cron_of_a_number_without_end_is_refused() -> None:
    """Python itself does not read those."""
    words = "cron makes no sense: it has a number that is too long"
    assert of_event(cron="9" * 5000 + " * * * *") == [words]


def test_an_executor_may_do_what_it_likes_when_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To exit, for example."""
    (tmp_path / "orch_bad_one.py").write_text("raise SystemExit(3)")
    (tmp_path / "orch_bad_two.py").write_text("nonsense =")
    monkeypatch.syspath_prepend(tmp_path)
    for name, expected in (("one", "SystemExit: 3"), ("two", "SyntaxError: ")):
        (found,) = of(executor=f"orch_bad_{name}:make")
        words = f"executor 'orch_bad_{name}:make' cannot be imported: {expected}"
        assert found.startswith(words)


def test_circles_are_found() -> None:
    """Each is told of once, in the order of firing, where the file comes to it."""
    after = {"e": "d", "d": "a", "a": "c", "b": "a", "c": "b", "g": "f", "h": "h"}
    events = [{"name": name, "after": other} for name, other in after.items()]
    assert words(said(*events, {"name": "f"})) == [
        "event 3 (a): after: 'a' would fire itself, again and again: a, b, c, a",
        "event 7 (h): after: 'h' would fire itself, again and again",
    ]


def test_long_ways_are_no_circles() -> None:
    """However long: nobody waits for the answer."""
    events = [{"name": f"e{at}", "after": f"e{at - 1}"} for at in range(1, 20_000)]
    assert words(said({"name": "e0"}, *events)) == []
    (found,) = words(said({"name": "e0", "after": "e19999"}, *events))
    assert found.endswith(": e0, e1, e2, e3, e4, e5, …")


def test_what_is_made_in_python_is_checked_as_well() -> None:
    """But for what its types refuse already."""
    description = Description(
        test_name="t", total_hours=1, events=(Event(name="a", after=After(event="b")),)
    )
    assert [each.words for each in made(description).problems] == [
        "event 1 (a): after: no event is called 'b' (there is a)"
    ]
    with pytest.raises(DescriptionError, match="the description: event 1"):
        made(description).checked()
    assert made(EVERYTHING_MEANS).checked() is EVERYTHING_MEANS


def test_a_run_may_last_as_long_as_somebody_else_says() -> None:
    """Whatever the description says, and as far as that makes sense."""
    for good in (said(), EVERYTHING, said(total_hours=None, duration="1m")):
        assert draft(good).lasting(0.5).checked().total == 1800
    bad = draft(said(A, total_hours="x"))
    assert bad.lasting(2).problems == bad.problems
    for hours in (-1, 876601, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="got "):
            draft(said()).lasting(hours)


# All of it, and nothing else


def test_all_problems_are_in_one_message(problems: Problems) -> None:
    """In the order of the text, each with its place."""
    text = """{
  "test_name": "other", // not as the file
  "total_hour": 3,
  "time_zone": "Nowhere",
  "events": [
    {"name": "a", "interval_sec": "300",
     "at_startup": "false"},
    {"interval_sec": 0},
    "b",
    {"name": "c", "after": "d", "interval_sec": 1,
     "interval_min": 1},
    {"name": "a", "params": [], "naem": "x"}
  ],
  "thresholds": {"*.fired": "5",
    "*.fird": ">5"}, "executor": 5
}
"""
    assert problems(text) == [
        "2:3: test_name has to be 't', as the file is called, got 'other'",
        "3:3: there is no key 'total_hour', did you mean total_hours?",
        "4:3: there is no time_zone 'Nowhere'",
        "6:19: event 1 (a): interval_sec has to be a number, got '300'",
        "7:6: event 1 (a): at_startup has to be true or false, got 'false'",
        "8:5: event 2: name is missing",
        "8:6: event 2: interval_sec has to be above 0, got 0",
        "9:5: event 3: has to be an object, got 'b'",
        (
            "11:6: event 4 (c): interval_min is said as well as interval_sec: leave "
            "one out"
        ),
        "12:19: event 5 (a): params has to be an object, got []",
        "12:33: event 5 (a): there is no key 'naem', did you mean name?",
        "14:18: threshold '*.fired' has to be <, <=, >, >= or == and a number, got '5'",
        "15:5: threshold '*.fird': there is no figure 'fird', did you mean fired?",
        "15:22: executor has to be a text, got 5",
    ]


def test_all_problems_of_a_yaml_are_in_one_message(problems: Problems) -> None:
    """As those of a JSON are."""
    text = """# A comment
test_name: other
total_hours: yes
events:
- name: a
  interval_sec: 5m
- after: b
  name: c
- {name: d, phases: [e], jitter_sec: .nan}
"""
    assert problems(text, "t.orch.yaml") == [
        "2:1: test_name has to be 't', as the file is called, got 'other'",
        "3:1: total_hours has to be a number, got 'yes'",
        "6:3: event 1 (a): interval_sec has to be a number, got '5m'",
        "7:3: event 2 (c): after: no event is called 'b' (there is a, c, d)",
        "9:26: event 3 (d): jitter_sec has to be finite, got nan",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "1:1: the description has to be an object, got []"),
        ("\n 5 // x", "2:2: the description has to be an object, got 5"),
        ('"t"', "1:1: the description has to be an object, got 't'"),
        (
            '{"test_name": "t", "total_hours": 1, "events": []}',
            "1:38: events is empty: nothing would happen",
        ),
        ('{"test_name": "t",\n"total_hours": 1}', "1:1: events is missing"),
        (
            '{"test_name": "t", "total_hours": NaN, "events": [{"name": "a"}]}',
            "1:20: total_hours has to be finite, got nan",
        ),
        (
            '{"test_name": "t", "total_hours": 1e999, "events": [{"name": "a"}]}',
            "1:20: total_hours has to be finite, got inf",
        ),
        (
            '{"test_name": "t", "total_hours": -Infinity, "events": [{"name": "a"}]}',
            "1:20: total_hours has to be finite, got -inf",
        ),
        (
            (
                '{"test_name": "t", "total_hours": 1, "total_hours": 2,\n'
                ' "events": [{"name": "a"}]}'
            ),
            "1:38: 'total_hours' is said twice",
        ),
        (
            (
                '{"test_name": "t", "total_hours": 1,\n'
                ' "events": [{"name": "a", "params": {"x": 1,\n "x": 1}}]}'
            ),
            "3:2: event 1 (a): 'x' is said twice",
        ),
        (
            '{"test_name": "T", "total_hours": 1, "events": [{"name": "a"}]}',
            "1:2: test_name has to be 't', as the file is called, got 'T'",
        ),
    ],
)
def test_one_problem_is_a_short_message(
    text: str, expected: str, problems: Problems
) -> None:
    """With the file, the line and the column, as editors understand them."""
    assert problems(text) == [expected]


def test_what_is_twice_is_one_problem_among_others(problems: Problems) -> None:
    """In YAML, too."""
    text = "test_name: t\ntotal_hours: 1\nevents:\n- name: a\n  name: b\n  count: 0\n"
    assert problems(text, "t.orch.yml") == [
        "5:3: event 1 (b): 'name' is said twice",
        "6:3: event 1 (b): count has to be at least 1, got 0",
    ]


@pytest.mark.parametrize(
    "description",
    [
        # An event that is left out is still there for others.
        said({**A, "interval_sec": 0}, {"name": "b", "after": "a"}),
        said({**A, "count": 0}, thresholds={"a.fired": ">5"}),
        said({**A, "count": 0}),
        # Nobody knows what one is called.
        said({"nam": "a"}, {"name": "b", "after": "a"}),
        said({"name": 5}, {"name": "b", "after": "a"}, thresholds={"a.fired": ">5"}),
        said("a", {"name": "b", "after": "a"}),
        {**said(thresholds={"a.fired": ">5"}), "events": {}},
        # Nor what phases are.
        said({**A, "phases": ["p"]}, phases=[{"name": "p"}], total_hours=None),
        said({**A, "phases": ["p"]}, phases=5, total_hours=None),
        said({**A, "phases": ["p"]}, phase=[], total_hours=1),
        # A slip of the pen is one mistake.
        {"test_name": "t", "total_hour": 1, "events": [A]},
        {"testname": "t", "total_hours": 1, "events": [A]},
        {"test_name": "t", "total_hours": 1, "event": [A]},
        {"test_name": "t", "total_hours": "1", "events": [A]},
        {"test_name": "t", "phases": [{"name": "p"}], "events": [A]},
        # What is ambiguous goes in no circle.
        said({**A, "after": "b"}, A, {"name": "b", "after": "a"}),
        # What is wrong twice in the same way is told of where it is wrong first.
        said({**A, "interval_sec": 5, "jitter_sec": "1", "undo": "mend"}),
    ],
    ids=repr,
)
def test_one_mistake_is_one_problem(description: Said) -> None:
    """What follows from it is not told of: it would lead astray."""
    assert len(words(description)) == 1


@pytest.mark.parametrize("events", [None, {}, [5], [{**A, "count": 0}], "missing"])
def test_what_is_wrong_elsewhere_is_told_of_as_well(events: object) -> None:
    """Whatever is wrong with the events."""
    description = said(time_zone="x", events=events, executor="x")
    if events == "missing":
        del description["events"]
    found = words(description)
    assert len(found) == 3
    assert any("time_zone" in each for each in found)
    assert any("executor" in each for each in found)


def test_problems_may_be_added() -> None:
    """By who looks for implementations; they count the events that are left."""
    found = draft(said({**A, "count": 0}, {"name": "b"}))
    problem = found.problem(("events", 0, "name"), "nothing is called 'b'")
    assert (problem.path, problem.words) == (
        ("events", 1, "name"),
        "event 2 (b): nothing is called 'b'",
    )
    with pytest.raises(DescriptionError) as failure:
        found.checked([problem])
    assert str(failure.value) == (
        "the description has 2 problems: event 1 (a): count has to be at least 1, "
        "got 0; event 2 (b): nothing is called 'b'"
    )


def test_a_message_is_one_line_of_characters() -> None:
    """Whatever things are called."""
    names = ["a\nb", "\u2028", "x" * 100, "a" * 61 + "\n"]
    found = words(said(*({"name": each, "count": 0} for each in names)))
    assert found == [
        "event 1 (a\\nb): count has to be at least 1, got 0",
        "event 2 (\\u2028): count has to be at least 1, got 0",
        f"event 3 ('{'x' * 60}'…): count has to be at least 1, got 0",
        f"event 4 ('{'a' * 60}'…): count has to be at least 1, got 0",
    ]
    (found_one,) = words(said({"name": "\ud800"}))
    assert found_one == (
        "event 1 (\\ud800): name has to be a text of whole characters, got '\\ud800'"
    )
    assert words(said({"name": "b\t", "after": "xyz"}, thresholds={"\x1f": 5})) == [
        "\\x1f has to be a text, got 5",
        "event 1 (b\\t): after: no event is called 'xyz' (there is b\\t)",
    ]


def test_the_same_mistake_in_very_many_events_is_found_in_time(
    problems: Problems,
) -> None:
    """As a program makes it that writes descriptions."""
    events = [{"name": f"e{at}", "intervall_sec": 5} for at in range(5000)]
    found = problems(json.dumps(said(*events, {**A, "after": "b"}), indent=1))
    assert len(found) == 5001
    assert found[4999] == (
        "20003:4: event 5000 (e4999): there is no key 'intervall_sec', did you mean "
        "interval_sec?"
    )
    assert found[5000].endswith("event 5001 (a): after: no event is called 'b'")


# Thresholds


@pytest.mark.parametrize(
    ("figure", "limit", "expected"),
    [
        ("write.response_p99_ms", "<50", ("write", "response_p99_ms", "<", 50)),
        ("*.failure_ratio", "<=0.01", ("*", "failure_ratio", "<=", 0.01)),
        ("a.b.fired", " >= 1e3 ", ("a.b", "fired", ">=", 1000)),
        ("a.ok_count", "== 5", ("a", "ok_count", "==", 5)),
        ("a.duration_max_ms", "> 0.5", ("a", "duration_max_ms", ">", 0.5)),
    ],
)
def test_a_threshold_is_a_figure_of_an_event_and_a_limit(
    figure: str, limit: str, expected: tuple[str, str, str, float]
) -> None:
    """An event may be any one."""
    found = Threshold.of(figure, limit)
    within = found.limit
    assert (found.event, found.figure, within.comparison, within.number) == expected


@pytest.mark.parametrize(
    ("figure", "limit", "expected"),
    [
        ("fired", "<5", "has to be the name of an event or *, a dot, and a figure"),
        (".fired", "<5", "has to be the name of an event or *, a dot, and a figure"),
        ("a.", "<5", "there is no figure ''"),
        ("a.respnse_p99_ms", "<5", "did you mean response_p99_ms?"),
        ("a.fired", "", "has to be <, <=, >, >= or == and a number, got ''"),
        ("a.fired", "=5", "has to be <, <=, >, >= or == and a number, got '=5'"),
        ("a.fired", "<-5", "has to be <, <=, >, >= or == and a number, got '<-5'"),
        ("a.fired", "<nan", "has to be <, <=, >, >= or == and a number, got '<nan'"),
        ("a.fired", "<5ms", "has to be <, <=, >, >= or == and a number, got '<5ms'"),
        ("a.fired", "<1e999", "has to be finite, got '<1e999'"),
        ("a.fired", "<٣", "has to be <, <=, >, >= or == and a number, got '<٣'"),
    ],
)
def test_a_threshold_that_says_nothing_is_refused(
    figure: str, limit: str, expected: str
) -> None:
    """With the figure, and what one looks like."""
    with pytest.raises(ValueError, match="threshold ") as failure:
        Threshold.of(figure, limit)
    assert repr(figure) in str(failure.value)
    assert str(failure.value).endswith(expected)


@pytest.mark.parametrize(
    ("limit", "below", "at", "above"),
    [
        ("<5", True, False, False),
        ("<=5", True, True, False),
        (">5", False, False, True),
        (">=5", False, True, True),
        ("==5", False, True, False),
    ],
)
def test_a_threshold_compares(limit: str, below: bool, at: bool, above: bool) -> None:
    """As it is written."""
    holds = Threshold.of("a.fired", limit).holds
    assert (holds(4.9), holds(5), holds(5.1)) == (below, at, above)


def test_there_are_figures_for_times_and_for_ends() -> None:
    """A promise to whoever writes thresholds."""
    assert "fired" in FIGURES
    assert {"failure_ratio", "skipped_count", "missed_count"} <= set(FIGURES)
    assert {"lateness_p50_ms", "duration_max_ms", "response_p999_ms"} <= set(FIGURES)
    assert str(Threshold.of("a.fired", ">5")) == "fired > 5"


# The schema


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """Return what validates by the schema."""
    found = schema()
    jsonschema.Draft202012Validator.check_schema(found)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return jsonschema.Draft202012Validator(found)


def test_the_schema_takes_what_is_well(
    validator: jsonschema.Draft202012Validator,
) -> None:
    """Editors mark nothing in what is good."""
    seed = "\n".join(line.partition(" // ")[0] for line in SEED.splitlines())
    for good in (json.loads(seed), EVERYTHING, said(), said(duration="5m")):
        validator.validate(good)


@pytest.mark.parametrize(
    "description",
    [
        {},
        [],
        said(events={}),
        said(events=[5]),
        said({}),
        said({"name": ""}),
        said(total_hours="3"),
        said(total_hours=-1),
        said(total_hours=876601),
        said(total_hour=1),
        said(duration="5 minutes"),
        said(seed="7"),
        said(max_workers=0),
        said(unref_setup_fixtures="a"),
        said(thresholds={"a.fired": 5}),
        said(phases=[{"name": "p"}]),
        said(phases=[{"name": "p", "duration": 5, "rate": 0}]),
        said({**A, "interval_sec": 0}),
        said({**A, "interval_sec": "300"}),
        said({**A, "interval_sec": True}),
        said({**A, "interval_sec": [1]}),
        said({**A, "interval_min": [0, 1]}),
        said({**A, "interval_hour": [1, 2, 3]}),
        said({**A, "retry_backoff": 0.5}),
        said({**A, "at_startup": "false"}),
        said({**A, "params": []}),
        said({**A, "on_failure": "panic"}),
        said({**A, "on_failure": {"max_ratio": 2}}),
        said({**A, "after": {"on": "any"}}),
        said({**A, "after": ""}),
        said({**A, "overlap": "wait"}),
        said({**A, "nam": "b"}),
    ],
    ids=repr,
)
def test_the_schema_refuses_what_is_refused(
    description: object, validator: jsonschema.Draft202012Validator
) -> None:
    """As far as a schema can say it."""
    assert words(description)
    assert not validator.is_valid(description)


def test_every_key_is_explained() -> None:
    """Editors show it to who writes one."""
    found = schema()
    kinds = [found, *found["$defs"].values()]
    keys = [
        (key, each)
        for kind in kinds
        for key, each in kind.get("properties", {}).items()
    ]
    assert len(keys) > 45
    assert [key for key, each in keys if "description" not in each] == []


# Whatever it is

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["a", "b", "5m", "0 3 * * *", "skip", "fail", "p", "threads"])
    | st.sampled_from([10**400, -0.0, 1e300, "\ud800", "x:y"])
)
KEYS = st.sampled_from(
    [*schema()["properties"], *schema()["$defs"]["Event"]["properties"]]
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS | st.text(max_size=3) | st.integers(), inner, max_size=6)
    ),
)


def long_number() -> int:
    """Return a number that Python does not turn into a text."""
    return -(10**5000)


@st.composite
def mutated(draw: st.DrawFn) -> object:
    """Return a good description of which some things were changed."""
    whole: object = {"": copy.deepcopy(draw(st.sampled_from([EVERYTHING, said()])))}
    for _ in range(draw(st.integers(1, 4))):
        at: Any = whole
        key: Any = ""
        while isinstance(at[key], dict | list) and at[key] and draw(st.booleans()):
            at = at[key]
            keys = list(at) if isinstance(at, dict) else range(len(at))
            key = draw(st.sampled_from(keys))
        value = draw(SCALARS | ANYTHING | st.just(at[key]) | st.builds(long_number))
        if isinstance(at, dict) and at is not whole and draw(st.booleans()):
            del at[key]
            key = draw(KEYS)
        at[key] = value
    assert isinstance(whole, Mapping)
    return whole[""]


@given(ANYTHING | mutated())
def test_no_description_ends_in_a_traceback(description: object) -> None:
    """It makes sense, or it is said what does not: at least once, and once at most."""
    found = draft(description)
    try:
        good = found.checked()
    except ConfigError as failure:
        words = str(failure)
    else:
        words = "fine"
        assert made(good).problems == ()
    assert words.isprintable()
    assert bool(found.problems) == (words != "fine")
    assert len({(each.path, each.words) for each in found.problems}) == len(
        found.problems
    )
    if found.description is not None:
        assert len(found.origins) == len(found.description.events)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [SEED, json.dumps(EVERYTHING, indent=1), yaml.safe_dump(EVERYTHING)]
    ),
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.integers(0, 20),
            st.text('{}[]:,"\\/*1a\n #-') | st.sampled_from(["\ud83d\ude00", "NaN"]),
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["json", "yaml"]),
)
def test_no_file_ends_in_a_traceback(
    tmp_path: Path, text: str, changes: list[tuple[float, int, str]], ending: str
) -> None:
    """Wherever somebody hit the wrong keys."""
    for where, length, put in changes:
        at = int(where * len(text))
        text = text[:at] + put + text[at + length :]
    file = tmp_path / f"t.orch.{ending}"
    file.write_text(text, encoding="utf-8", errors="replace")
    try:
        found = read(file)
        found.checked()
    except ConfigError as failure:
        words = str(failure)
        problems = failure.problems if isinstance(failure, DescriptionError) else ()
    else:
        words, problems = f"{file.name}: fine", ()
    assert all(each.place is not None for each in problems)
    assert words.isprintable()
    assert file.name in words


@given(mutated())
def test_what_the_schema_takes_in_part_is_taken(description: object) -> None:
    """Nothing is good to us that editors mark as wrong."""
    if not draft(description).problems:
        jsonschema.Draft202012Validator(schema()).validate(description)

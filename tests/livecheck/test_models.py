"""What travels between a live check and what it watches."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.livecheck.exceptions import LiveCheckError, MessageError
from pysys_orch.livecheck.models import SignalEvent, State, TestExecution, TestReport
from pysys_orch.livecheck.wire import json_text

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)

zones = st.builds(
    timezone, st.integers(-23, 23).map(lambda hours: timedelta(hours=hours))
)
stamps = st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001 -- hypothesis adds the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 -- the same
    timezones=st.just(UTC) | zones,
)
words = st.text(min_size=1, max_size=40)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
seconds = st.floats(0, 1e6)
signals = st.builds(SignalEvent, words, words, values, values)
executions = st.builds(
    TestExecution,
    words,
    words,
    stamps,
    st.lists(values, max_size=3),
    st.dictionaries(words, values, max_size=3),
    stamps,
)
reports = st.builds(
    TestReport,
    words,
    st.sampled_from(State),
    st.dictionaries(words, seconds, max_size=3),
    st.none() | executions,
    st.none() | seconds,
    st.none() | st.text(),
    st.none() | st.text(),
)


def execution(id: str = "order-7", **changes: Any) -> TestExecution:  # noqa: A002 -- the seed's name
    made = TestExecution(
        id, "shop.Checkout", NOON, ["order-7"], {"amount": 3}, NOON + timedelta(hours=3)
    )
    return dataclasses.replace(made, **changes)


# States


def test_a_state_is_its_name() -> None:
    """`State("FAIL")` works, and so does what prints one."""
    assert [State(each.name) for each in State] == list(State)
    assert f"{State.FAIL}" == "FAIL"
    assert json.loads(json.dumps(State.STALL)) == "STALL"


def test_a_pass_that_was_redacted_is_a_pass() -> None:
    """Faust's workers send it so; the name that it left behind is an alias."""
    assert State("111/***/111") is State.PASS
    assert State["DO_NOT_SHARE"] is State["PASS"]
    assert State.PASS.value == "PASS"
    with pytest.raises(ValueError, match="GREAT"):
        State("GREAT")


def test_what_is_ok_is_ok() -> None:
    """What never ran or was skipped is nothing to worry about."""
    ok = {each for each in State if each.is_ok()}
    assert ok == {State.INIT, State.PASS, State.SKIP}


# JSON


@given(signals)
def test_a_signal_survives_json(signal: SignalEvent) -> None:
    """Whatever its key and value are."""
    assert SignalEvent.from_json(json.loads(json_text(signal.as_json()))) == signal


@given(executions)
def test_an_execution_survives_json(made: TestExecution) -> None:
    """With its arguments, and its stamps to the microsecond."""
    found = TestExecution.from_json(json.loads(json_text(made.as_json())))
    assert found == made
    assert found.timestamp.tzinfo is UTC


@given(reports)
def test_a_report_survives_json(report: TestReport) -> None:
    """Its state comes back as a State, and its execution as one."""
    found = TestReport.from_json(json.loads(json_text(report.as_json())))
    assert found == report
    assert type(found.state) is State


def test_json_has_the_names_of_the_topics() -> None:
    """Faust's workers read and write the same."""
    assert SignalEvent("sent", "shop.Checkout", "order-7", {"a": 1}).as_json() == {
        "signal_name": "sent",
        "case_name": "shop.Checkout",
        "key": "order-7",
        "value": {"a": 1},
    }
    assert TestReport(
        "shop.Checkout", State.FAIL, {"sent": 0.5}, execution(), 1.5, "no", "line 1"
    ).as_json() == {
        "case_name": "shop.Checkout",
        "state": "FAIL",
        "signal_latency": {"sent": 0.5},
        "test": {
            "id": "order-7",
            "case_name": "shop.Checkout",
            "timestamp": "2024-02-29T12:00:00Z",
            "test_args": ["order-7"],
            "test_kwargs": {"amount": 3},
            "expires": "2024-02-29T15:00:00Z",
        },
        "runtime": 1.5,
        "error": "no",
        "traceback": "line 1",
    }


def test_what_faust_sends_is_read() -> None:
    """With what it adds of its own, and milliseconds that are milliseconds."""
    said = {
        "case_name": "shop.Checkout",
        "state": "111/***/111",
        "signal_latency": {"sent": 1},
        "test": {
            "id": "7",
            "case_name": "shop.Checkout",
            "timestamp": "2024-02-29T12:00:00.123Z",
            "test_args": [],
            "test_kwargs": {},
            "expires": "2024-02-29T15:00:00",
            "__faust": {"ns": "faust.livecheck.models.TestExecution"},
        },
        "runtime": 2,
        "error": None,
        "traceback": None,
        "__faust": {"ns": "faust.livecheck.models.TestReport"},
    }
    report = TestReport.from_json(said)
    assert report.state is State.PASS
    assert report.test is not None
    assert report.test.timestamp == NOON + timedelta(milliseconds=123)
    assert report.test.expires == NOON + timedelta(hours=3)


@pytest.mark.parametrize(
    ("model", "said", "words"),
    [
        (SignalEvent, None, "this is no signal"),
        (SignalEvent, ["sent"], "this is no signal"),
        (SignalEvent, {"signal_name": "s", "case_name": "c"}, "a signal needs key"),
        (SignalEvent, {"case_name": "c", "key": 1}, "the signal_name of the signal"),
        (SignalEvent, {"signal_name": 7, "case_name": "c", "key": 1}, "text, got 7"),
        (SignalEvent, {"signal_name": "s", "case_name": "", "key": 1}, "case_name"),
        (TestExecution, {}, "the id of the execution"),
        (TestExecution, {"id": "x" * 10_000}, "case_name of the execution"),
        (TestExecution, {"test_args": "abc"}, "test_args of an execution"),
        (TestExecution, {"test_kwargs": [1]}, "test_kwargs of an execution"),
        (
            TestExecution,
            {"id": "7", "case_name": "c", "timestamp": "yesterday"},
            "timestamp of the execution: 'yesterday' is no ISO 8601 time",
        ),
        (
            TestExecution,
            {"id": "7", "case_name": "c", "timestamp": "0001-01-01T00:00:00+14:00"},
            "is no ISO 8601 time",
        ),
        (TestReport, {"state": "GREAT"}, "'GREAT' is no state"),
        (TestReport, {"state": "PASS", "case_name": "c", "runtime": True}, "runtime"),
        (TestReport, {"state": "PASS", "case_name": "c", "error": 7}, "got 7"),
        (TestReport, {"state": "PASS", "signal_latency": [1]}, "signal_latency"),
        (
            TestReport,
            {"state": "PASS", "case_name": "c", "signal_latency": {"s": "1"}},
            "signal_latency has to be seconds",
        ),
        (TestReport, {"state": "PASS", "case_name": "c", "test": 7}, "no execution"),
    ],
)
def test_json_that_is_something_else_is_named(
    model: type[SignalEvent | TestExecution | TestReport], said: object, words: str
) -> None:
    """In one line that is no longer for being wrong by more."""
    with pytest.raises(MessageError, match=words) as wrong:
        model.from_json(said)
    assert isinstance(wrong.value, LiveCheckError)
    assert len(str(wrong.value)) < 250
    assert "\n" not in str(wrong.value)


class Broken:
    def __str__(self) -> str:
        raise KeyError


@dataclasses.dataclass
class Order:
    amount: Decimal
    tags: frozenset[str]


def test_arguments_of_any_kind_can_be_written() -> None:
    """A report with them is never lost for that."""
    made = execution(
        test_args=[
            Order(Decimal("1.10"), frozenset({"b", "a"})),
            NOON,
            b"\xff",
            {1: 2},
        ],
        test_kwargs={"state": State.FAIL, "broken": Broken()},
    )
    found = json.loads(json_text(made.as_json()))
    assert found["test_args"] == [
        {"amount": "1.10", "tags": ["a", "b"]},
        "2024-02-29T12:00:00Z",
        "\\xff",
        {"1": 2},
    ]
    assert found["test_kwargs"] == {"state": "FAIL", "broken": "(Broken)"}


def test_arguments_that_json_cannot_have_at_all_can_be_written() -> None:
    """Keys that are no texts, numbers that are none, and what contains itself."""
    endless: list[object] = []
    endless.append(endless)
    made = execution(
        test_args=[{(1, 2): Order(Decimal(2), frozenset())}, float("nan"), endless],
        test_kwargs={"broken": {Broken(): 1, "set": {1}}},
    )
    text = json_text(made.as_json())
    found = TestExecution.from_json(json.loads(text, parse_constant=pytest.fail))
    assert found.id == made.id
    assert found.test_args[:2] == [{"(1, 2)": {"amount": "2", "tags": []}}, "nan"]
    assert found.test_kwargs == {"broken": {"(Broken)": 1, "set": [1]}}


# Headers


@given(executions)
def test_an_execution_travels_in_headers(made: TestExecution) -> None:
    """Without its arguments; as text or as bytes, whatever became of the names."""
    expected = dataclasses.replace(made, test_args=[], test_kwargs={})
    try:
        raw = {
            name.lower().encode(): text.encode()
            for name, text in made.as_headers().items()
        }
    except UnicodeEncodeError:  # half a character
        raw = {}
    assert TestExecution.from_headers(made.as_headers()) == expected
    assert TestExecution.from_headers({"Host": "a", **made.as_headers()}) == expected
    assert not raw or TestExecution.from_headers({b"\xff": b"", **raw}) == expected


def test_headers_have_the_names_of_the_original() -> None:
    """What runs beside faust's workers understands them."""
    assert execution().as_headers() == {
        "LiveCheck-Test-Id": "order-7",
        "LiveCheck-Test-Name": "shop.Checkout",
        "LiveCheck-Test-Timestamp": "2024-02-29T12:00:00+00:00",
        "LiveCheck-Test-Expires": "2024-02-29T15:00:00+00:00",
    }


def test_headers_without_an_id_are_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Most requests have none, and nobody needs to hear of it."""
    assert TestExecution.from_headers({}) is None
    assert TestExecution.from_headers({b"\xff\xfe": b"\xff", "Host": "a"}) is None
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"LiveCheck-Test-Name": None}, "there is no LiveCheck-Test-Name"),
        ({"LiveCheck-Test-Expires": None}, "there is no LiveCheck-Test-Expires"),
        ({"LiveCheck-Test-Id": ""}, "there is no LiveCheck-Test-Id"),
        ({"LiveCheck-Test-Id": b"\xff"}, "can't decode"),
        ({"LiveCheck-Test-Id": ["7"]}, "is no text"),
        ({"LiveCheck-Test-Timestamp": "soon"}, "'soon' is no ISO 8601 time"),
        ({"LiveCheck-Test-Timestamp": "2024-02-30T00:00:00"}, "is no ISO 8601 time"),
        ({"LiveCheck-Test-Expires": "a\r\nb" * 1000}, r"a\\r\\nb"),
        ({"LiveCheck-Test-Expires": "9999-12-31T23:00:00-14:00"}, "no ISO 8601"),
    ],
)
def test_damaged_headers_are_nobodys_failure(
    change: Mapping[str, object], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody can send them into a service: a line in its log, and it goes on."""
    headers = {**execution().as_headers(), **change}
    with caplog.at_level(logging.WARNING):
        assert TestExecution.from_headers(headers) is None
    (line,) = caplog.messages
    assert "damaged live check headers" in line
    assert len(line) < 300
    caplog.clear()
    assert TestExecution.from_headers(execution().as_headers()) is not None
    assert re.search(words, line)


@given(
    st.dictionaries(
        st.sampled_from(list(execution().as_headers())) | words,
        st.none() | st.text() | st.binary() | st.integers() | stamps.map(str),
    )
)
def test_no_headers_raise(headers: Mapping[str, object]) -> None:
    """Whatever is in them."""
    found = TestExecution.from_headers(headers)
    assert found is None or found.id == headers["LiveCheck-Test-Id"] or found.id


@pytest.mark.parametrize(
    ("said", "stamp"),
    [
        ("2024-02-29T12:00:00", NOON),
        ("2024-02-29T12:00:00Z", NOON),
        ("2024-02-29T07:00:00-05:00", NOON),
        ("2024-02-29T12:00:00.123Z", NOON + timedelta(microseconds=123_000)),
        ("2024-02-29T12:00:00.000123+00:00", NOON + timedelta(microseconds=123)),
    ],
)
def test_a_stamp_is_read_as_it_is_meant(said: str, stamp: datetime) -> None:
    """One without a zone is UTC, and a fraction is a fraction."""
    headers = {**execution().as_headers(), "LiveCheck-Test-Timestamp": said}
    found = TestExecution.from_headers(headers)
    assert found is not None
    assert found.timestamp == stamp
    assert found.timestamp.tzinfo is UTC


# Names and dates


@pytest.mark.parametrize(
    ("id", "shown"),
    [
        ("7", "7"),
        ("x" * 15, "x" * 15),
        ("x" * 16, "x" * 15 + "[...]"),
        ("order of a customer", "order of a[...]"),
        ("order with a blank", "order with a[...]"),
        (" " + "x" * 20, " " + "x" * 14 + "[...]"),
    ],
)
def test_a_long_id_is_cut_in_logs(id: str, shown: str) -> None:  # noqa: A002 -- the seed's name
    """And marked if it was; an id of 15 is whole."""
    made = execution(id)
    assert made.shortident == f"Checkout:{shown}"
    assert made.ident == f"shop.Checkout:{id}"


def test_a_case_is_short_without_its_module() -> None:
    """Also if it has none."""
    assert execution().short_case_name == "Checkout"
    assert execution(case_name="Checkout").short_case_name == "Checkout"


def test_a_stamp_without_a_zone_is_utc() -> None:
    """It can be compared with all others."""
    naive = execution(
        timestamp=NOON.replace(tzinfo=None), expires=NOON.replace(tzinfo=None)
    )
    assert naive.timestamp == NOON
    assert naive.expired_at(NOON)
    assert naive.is_expired


def test_it_expires_when_it_does() -> None:
    """At that moment it is too late, and asking before changes nothing."""
    made = execution()
    assert not made.expired_at(NOON + timedelta(hours=3, microseconds=-1))
    assert made.expired_at(NOON + timedelta(hours=3))
    ahead = timezone(timedelta(hours=9))
    assert made.expired_at((NOON + timedelta(hours=3)).astimezone(ahead))


def test_today_is_a_day_in_utc() -> None:
    """Wherever the one who asks is."""
    evening = execution(timestamp=datetime(2024, 2, 29, 23, 30, tzinfo=UTC))
    tokyo = timezone(timedelta(hours=9))
    half_past_eight = datetime(2024, 3, 1, 8, 45, tzinfo=tokyo)
    assert evening.was_issued_on(half_past_eight)
    assert evening.human_date_at(half_past_eight) == "Today 23:30:00"
    assert not evening.was_issued_on(NOON + timedelta(days=1))
    assert evening.human_date_at(NOON + timedelta(days=1)) == (
        "2024-02-29 23:30:00+00:00"
    )


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_the_zone_of_the_machine_does_not_matter(zone: str) -> None:
    """What was issued a minute ago, for an hour, is of today and not expired."""
    program = """
from datetime import timedelta
from pysys_orch.clock import SystemClock
from pysys_orch.livecheck.models import TestExecution
now = SystemClock().stamp()
def made(hours):
    return TestExecution("7", "c", now, [], {}, now + timedelta(hours=hours))
assert made(0.5).is_expired is False and made(-0.5).is_expired is True
local = now.astimezone()
peer = TestExecution("7", "c", local, [], {}, local + timedelta(hours=3))
assert not peer.is_expired
if now.date() == SystemClock().stamp().date():
    assert peer.was_issued_today
    assert peer.human_date == now.strftime("Today %H:%M:%S"), peer.human_date
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_values_are_values() -> None:
    """Nobody changes them under somebody else, and pytest does not collect them."""
    made = execution()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.id = "8"  # type: ignore[misc] # it must not be possible
    assert made.asdict() == {
        "id": "order-7",
        "case_name": "shop.Checkout",
        "timestamp": NOON,
        "test_args": ["order-7"],
        "test_kwargs": {"amount": 3},
        "expires": NOON + timedelta(hours=3),
    }
    report = TestReport("c", State.PASS, {}, made)
    assert report.asdict()["test"] is made
    assert TestExecution.__test__ is TestReport.__test__ is False

"""What is sent is understood, or refused in words that help."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.livecheck import LiveCheck
from pysys_orch.livecheck.access import Refused
from pysys_orch.livecheck.intake import decoded, signals_of, trigger_of
from tests.livecheck.receiving import Order, signal

APP = LiveCheck()
APP.add_case(Order)
CASES = APP.cases

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=20,
)


def test_a_signal_is_what_was_sent() -> None:
    """A number is a key as its text is."""
    (event,) = signals_of(signal("a", {"amount": 3}), CASES)
    assert event.as_json() == signal("a", {"amount": 3})
    assert [each.key for each in signals_of([signal(7), signal(7.5)], CASES)] == [
        "7",
        "7.5",
    ]
    assert signals_of([], CASES) == []


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        (7, 400, "this is no signal"),
        (None, 400, "this is no signal"),
        ({}, 400, "a signal needs key"),
        (signal(None), 400, "the key of the signal has to be a text in one line"),
        (signal(""), 400, "the key of the signal has to be a text in one line"),
        (signal("a\nb"), 400, "the key of the signal has to be a text in one line"),
        (signal(True), 400, "or a number, got True"),
        (signal(["a"]), 400, "or a number, got ['a']"),
        (signal("a", signal_name=7), 400, "signal_name of the signal has to be a text"),
        (signal("a", case_name=""), 400, "case_name of the signal has to be a text"),
        (signal("a", vlaue=7), 400, "no 'vlaue', did you mean value?"),
        (
            {"case_name": "Order", "signal": "sent", "key": "a"},
            400,
            "a signal has no 'signal', did you mean signal_name?",
        ),
        (
            {"case": "Order", "signal": "sent"},
            400,
            "no 'case', did you mean case_name?",
        ),
        (signal("a", case_name="Oder"), 404, "no case 'Oder', did you mean Order?"),
        (
            signal("a", signal_name="sendt"),
            404,
            "case 'Order' has no signal 'sendt', did you mean sent?",
        ),
        ([signal("a"), signal("b"), 7], 400, "signal 3 of 3: this is no signal"),
        ([signal("a"), signal("b", case_name="x")], 404, "signal 2 of 2: there is no"),
        ([[signal("a")]], 400, "signal 1 of 1: this is no signal"),
    ],
)
def test_what_is_no_signal_is_refused(said: object, status: int, words: str) -> None:
    """It is said what is wrong, and what may have been meant."""
    with pytest.raises(Refused) as refused:
        signals_of(said, CASES)
    assert refused.value.status == status
    assert words in str(refused.value)


def test_a_trigger_is_what_was_sent() -> None:
    """Only the case is needed."""
    whole = {"case": "Order", "id": 7, "args": [1, {}], "kwargs": {"amount": 3}}
    found = trigger_of(whole, CASES)
    assert (found.case, found.id, found.args) == ("Order", "7", (1, {}))
    assert found.kwargs == {"amount": 3}
    least = trigger_of({"case": "Order", "id": None, "args": None}, CASES)
    assert (least.id, least.args, least.kwargs) == (None, (), {})


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ([], 400, "this is no trigger"),
        ({}, 400, "the case of the trigger has to be a text, got None"),
        ({"case": "order"}, 404, "there is no case 'order', did you mean Order?"),
        ({"case": "Order", "arg": []}, 400, "no 'arg', did you mean args?"),
        ({"case": "Order", "args": {}}, 400, "args of the trigger has to be a list"),
        ({"case": "Order", "kwargs": []}, 400, "has to be names and values, got []"),
        ({"case": "Order", "id": []}, 400, "the id of the trigger has to be a text"),
        ({"case": "Order", "kwargs": {"id": 1}}, 400, "kwargs cannot have 'id'"),
        ({"case": "Order", "kwargs": {"self": 1}}, 400, "kwargs cannot have 'self'"),
    ],
)
def test_what_is_no_trigger_is_refused(said: object, status: int, words: str) -> None:
    """The same for triggers."""
    with pytest.raises(Refused) as refused:
        trigger_of(said, CASES)
    assert refused.value.status == status
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "this is no JSON: Expecting value"),
        (b"{", "this is no JSON"),
        (b"key=a&value=1", "this is no JSON"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"9" * 5000, "this is no JSON"),
        (b'"\xff"', "this is not UTF-8: invalid start byte at byte 1"),
        (b"[" * 30_000, "this is nested too deeply"),
        (b'{"a":' * 10_000, "this is nested too deeply"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, words: str) -> None:
    """However deep it is."""
    with pytest.raises(Refused, match=words) as refused:
        decoded(body)
    assert refused.value.status == 400


@given(json_values)
def test_nothing_that_json_has_is_more_than_refused(said: object) -> None:
    """There is no other error, for signals and for triggers."""
    for read in (signals_of, trigger_of):
        if said == [] and read is signals_of:
            continue
        with pytest.raises(Refused):
            read(said, CASES)


@given(json_values, st.text(min_size=1))
def test_every_value_of_a_signal_arrives_as_it_was(value: object, key: str) -> None:
    """Values are the business of whoever waits."""
    if not key.isprintable():
        return
    body = json.dumps(signal(key, value)).encode()
    try:
        said = decoded(body)
    except Refused:
        # What Python writes as NaN is no JSON.
        assert b"NaN" in body or b"Infinity" in body
        return
    (event,) = signals_of(said, CASES)
    assert event.value == value
    assert event.key == key

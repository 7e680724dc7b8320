"""What is sent to a receiver, read with care: all of it is understood, or none is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pysys_orch.inputs import nearest
from pysys_orch.livecheck.access import Refused
from pysys_orch.livecheck.case import Case
from pysys_orch.livecheck.exceptions import MessageError
from pysys_orch.livecheck.models import SignalEvent
from pysys_orch.livecheck.signals import key_text
from pysys_orch.livecheck.wire import mapping_of, shown, text_of

_SIGNAL_FIELDS = frozenset(SignalEvent.__slots__)
_TRIGGER_FIELDS = frozenset({"case", "id", "args", "kwargs"})
#: What `Case.trigger` would take for its own.
_TAKEN = ("id", "self")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A test that somebody wants to have executed.

    Attributes:
        case: Which case.
        id: What the test is called; None is a new name.
        args: What ``run`` is called with.
        kwargs: The same, by name.
    """

    case: str
    id: str | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def decoded(body: bytes) -> object:
    """Return what a body says.

    Raises:
        Refused: It is no JSON, with status 400.
    """
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as failure:
        why = f"this is not UTF-8: {failure.reason} at byte {failure.start}"
    except RecursionError:
        why = "this is nested too deeply"
    except ValueError as failure:
        why = f"this is no JSON: {failure}"
    raise Refused(400, why)


def signals_of(said: object, cases: Mapping[str, Case]) -> list[SignalEvent]:
    """Return the signals that are sent: one, or a list of them.

    Raises:
        Refused: One of them is none, with status 400, or for none of the signals of
            these cases, with status 404.
    """
    if not isinstance(said, list):
        return [_signal_of(said, cases)]
    signals = []
    for number, each in enumerate(said, 1):
        try:
            signals.append(_signal_of(each, cases))
        except Refused as failure:
            why = f"signal {number} of {len(said)}: {failure}"
            raise Refused(failure.status, why) from None
    return signals


def trigger_of(said: object, cases: Mapping[str, Case]) -> Trigger:
    """Return what is to be executed.

    Raises:
        Refused: It is none, with status 400, or of none of these cases, with 404.
    """
    kind = "trigger"
    try:
        whole = mapping_of(said, kind)
        _check_fields(whole, _TRIGGER_FIELDS, kind)
        name = text_of(whole, "case", kind)
        id_ = None if whole.get("id") is None else _key_of(whole["id"], "id", kind)
        args, kwargs = _arguments_of(whole)
    except MessageError as failure:
        raise Refused(400, str(failure)) from None
    except RecursionError:
        raise Refused(400, "this is nested too deeply") from None
    for taken in _TAKEN:
        if taken in kwargs:
            why = f"kwargs cannot have {taken!r}: give that argument by its place"
            raise Refused(400, why)
    case_of(name, cases)
    return Trigger(case=name, id=id_, args=args, kwargs=kwargs)


def case_of(name: str, cases: Mapping[str, Case]) -> Case:
    """Return a case by its name.

    Raises:
        Refused: There is none, with status 404.
    """
    case = cases.get(name)
    if case is None:
        why = f"there is no case {shown(name)}{nearest(name, cases)}"
        raise Refused(404, why)
    return case


def _signal_of(said: object, cases: Mapping[str, Case]) -> SignalEvent:
    kind = "signal"
    try:
        # Who misspells one lacks another: it is the first that helps.
        _check_fields(mapping_of(said, kind), _SIGNAL_FIELDS, kind)
        event = SignalEvent.from_json(said)
        key = _key_of(event.key, "key", kind)
    except MessageError as failure:
        raise Refused(400, str(failure)) from None
    except RecursionError:
        raise Refused(400, "this is nested too deeply") from None
    signals = case_of(event.case_name, cases).signals
    name = event.signal_name
    if name not in signals:
        why = f"case {event.case_name!r} has no signal {shown(name)}"
        raise Refused(404, why + nearest(name, signals))
    return SignalEvent(name, event.case_name, key, event.value)


def _check_fields(said: Mapping[str, Any], fields: frozenset[str], kind: str) -> None:
    if said.keys() <= fields:
        return
    wrong = min(said.keys() - fields)
    message = f"a {kind} has no {shown(wrong)}{nearest(wrong, sorted(fields))}"
    raise MessageError(message)


def _key_of(said: object, name: str, kind: str) -> str:
    # No program means an empty one: it is a variable that has no value.
    is_number = isinstance(said, int | float) and not isinstance(said, bool)
    if not is_number and not (isinstance(said, str) and said and said.isprintable()):
        message = (
            f"the {name} of the {kind} has to be a text in one line, or a number, got "
            f"{shown(said)}"
        )
        raise MessageError(message)
    return key_text(said)


def _arguments_of(said: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args, kwargs = said.get("args"), said.get("kwargs")
    if not isinstance(args, list | None):
        message = f"args of the trigger has to be a list, got {shown(args)}"
        raise MessageError(message)
    if not isinstance(kwargs, dict | None):
        message = "kwargs of the trigger has to be names and values, got "
        raise MessageError(message + shown(kwargs))
    return tuple(args or ()), kwargs or {}


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is no number"
    raise ValueError(message)


_DECODER = json.JSONDecoder(parse_constant=_refuse)

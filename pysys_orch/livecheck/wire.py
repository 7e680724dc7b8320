"""What JSON and headers have, read with care: anybody may have written it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from pysys_orch.livecheck.exceptions import MessageError

#: What marks a text of which something was left out.
CUT = "[...]"

_LONGEST_SHOWN = 100
_DEEPEST = 20


# Writing.


def json_text(said: object) -> str:
    """Return as a text what `as_json` of a model says.

    The arguments of executions and the values of signals are a user's: of what JSON
    does not have, it gets what comes nearest. It is never an error.
    """
    try:
        return json.dumps(said, default=_nearest, allow_nan=False)
    except (TypeError, ValueError, RuntimeError):
        return json.dumps(_plain(said, _DEEPEST))


def iso_of(stamp: datetime) -> str:
    """Return a stamp in UTC as ISO 8601 text, with a ``Z``."""
    return stamp.isoformat().replace("+00:00", "Z")


def shown(said: object) -> str:
    """Return how a message shows what somebody has written: not all of it."""
    words = repr(said)
    return words if len(words) <= _LONGEST_SHOWN else words[:_LONGEST_SHOWN] + CUT


def _nearest(value: object) -> object:
    if isinstance(value, datetime):
        return iso_of(as_utc(value))
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    try:
        return str(value)
    except Exception:  # noqa: BLE001 -- whatever a user's class raises
        return f"({type(value).__name__})"


def _plain(value: object, depth: int) -> object:
    """Return a value as JSON can have it, of whatever it is made."""
    if isinstance(value, Mapping) and depth:
        # A copy: it may be a user's, who changes it in another thread.
        items = list(value.items())
        return {str(_nearest(key)): _plain(each, depth - 1) for key, each in items}
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_plain(each, depth - 1) for each in list(value)]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    near = _nearest(value)
    return _plain(near, depth - 1) if isinstance(near, dict) and depth else str(near)


# Reading.


def as_utc(stamp: datetime) -> datetime:
    """Return the same moment in UTC; a stamp without a zone has it."""
    if stamp.utcoffset() is None:
        return stamp.replace(tzinfo=UTC)
    return stamp.astimezone(UTC)


def stamp_of(text: str) -> datetime:
    """Return the moment, in UTC, that an ISO 8601 text names.

    Raises:
        ValueError: It names none.
    """
    try:
        return as_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        message = f"{shown(text)} is no ISO 8601 time"
        raise ValueError(message) from None


def headers_of(headers: Mapping[Any, Any], names: Sequence[str]) -> list[str | None]:
    """Return the values of some headers, None for each that is not there.

    Args:
        headers: Names and values, each a text or bytes; a name in any case.
        names: Of which; without the first one, the others are not looked for.

    Raises:
        ValueError: A value is neither text nor UTF-8.
    """
    first = headers.get(names[0])
    if first is not None:
        return [_decoded(headers.get(name)) for name in names]
    # Most mappings of headers know all ways to write a name, but a dict does not.
    given = {_folded(name): value for name, value in headers.items()}
    return [_decoded(given.get(name.lower())) for name in names]


def mapping_of(said: object, kind: str) -> Mapping[str, Any]:
    """Return *said* if it has names and values.

    Raises:
        MessageError: It has none.
    """
    if not isinstance(said, Mapping):
        message = f"this is no {kind}, which has names and values, got {shown(said)}"
        raise MessageError(message)
    return said


def text_of(said: Mapping[str, Any], name: str, kind: str) -> str:
    """Return a text that has to be there.

    Raises:
        MessageError: It is not, or is no text, or is empty.
    """
    found = said.get(name)
    if not isinstance(found, str) or not found:
        message = f"the {name} of the {kind} has to be a text, got {shown(found)}"
        raise MessageError(message)
    return found


def optional_text_of(said: Mapping[str, Any], name: str, kind: str) -> str | None:
    """Return a text, perhaps an empty one, or None.

    Raises:
        MessageError: It is something else.
    """
    found = said.get(name)
    if found is not None and not isinstance(found, str):
        message = f"the {name} of the {kind} has to be a text, got {shown(found)}"
        raise MessageError(message)
    return found


def seconds_of(found: object, name: str) -> float:
    """Return a number of seconds.

    Raises:
        MessageError: It is none.
    """
    if isinstance(found, bool) or not isinstance(found, int | float):
        message = f"{name} has to be seconds, got {shown(found)}"
        raise MessageError(message)
    return float(found)


def stamp_in(said: Mapping[str, Any], name: str, kind: str) -> datetime:
    """Return a stamp that has to be there.

    Raises:
        MessageError: It is not, or is no stamp.
    """
    found = said.get(name)
    if isinstance(found, datetime):
        return as_utc(found)
    try:
        return stamp_of(text_of(said, name, kind))
    except ValueError as failure:
        message = f"the {name} of the {kind}: {failure}"
        raise MessageError(message) from None


def _folded(name: object) -> str:
    words = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    return words.lower()


def _decoded(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    message = f"{shown(value)} is no text"
    raise ValueError(message)

"""What is wrong with a description, in words."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from typing import Any, get_args, get_type_hints

from pydantic_core import ErrorDetails

from pysys_orch.durations import CENTURY
from pysys_orch.inputs import nearest
from pysys_orch.orchestration.description import (
    ONE,
    TWO,
    Description,
)
from pysys_orch.orchestration.documents import Steps

_LONGEST_VALUE = 60
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlong, _SHORT.maxother = 2, _LONGEST_VALUE, _LONGEST_VALUE
_AS_WRITTEN = {True: "true", False: "false", None: "null"}
_CENTURIES = {CENTURY, CENTURY / 60, CENTURY / 3600}
_GUESS = ", did you mean "
_INTERVALS = {"interval_sec", "interval_min", "interval_hour"}

# What pydantic calls a problem, and what we say.
_WORDS = {
    "missing": "is missing",
    "float_type": "has to be a number",
    "int_type": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "bool_type": "has to be true or false",
    "string_type": "has to be a text",
    "string_unicode": "has to be a text of whole characters",
    "tuple_type": "has to be a list",
    "mapping_type": "has to be an object",
    "dict_type": "has to be an object",
    "dataclass_type": "has to be an object",
    "finite_number": "has to be finite",
    "greater_than": "has to be above {gt:.12g}",
    "greater_than_equal": "has to be at least {ge:.12g}",
    "less_than_equal": "has to be at most {le:.12g}",
    "string_too_short": "has to have at least one character",
    "enum": "has to be {expected}",
    "value_error": "{error}",
    "pair": "has to be a number, or two of them",
}
_DURATION = "has to be seconds, or a text such as 90s, 15m or 2h30m"
_POLICY = "has to be 'fail', 'stop', 'ignore' or an object"
# What is said of keys that can be one thing or another.
_EITHER = {
    "duration": ("float_type", _DURATION),
    "start_after": ("float_type", _DURATION),
    "end_after": ("float_type", _DURATION),
    "after": ("dataclass_type", "has to be the name of an event, or an object"),
    "on_failure": ("dataclass_type", _POLICY),
}
#: What pydantic calls a key that there is not.
UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden", "invalid_key"}


def each_once(found: Iterable[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Yield what is wrong, each once: an interval is wrong as one of its two forms."""
    pairs = set[Steps]()
    for each in found:
        path, kind = each["loc"], each["type"]
        form = path[3] if len(path) > 3 and path[2] in _INTERVALS else None
        whole, rest = path[:3], path[4:]
        if form == ONE and not isinstance(each["input"], list | tuple):
            yield {**each, "loc": whole}
        elif form == TWO and kind in {"missing", "too_long"}:
            if whole not in pairs:
                yield {**each, "loc": whole, "type": "pair"}
            pairs.add(whole)
        elif form == TWO and rest:
            yield {**each, "loc": (*whole, *rest)}
        elif form is None:
            yield each


def keys_meant(path: Steps) -> Iterator[str]:
    """Yield the key that may have been meant by one that there is not."""
    hint = _hint(str(path[-1]), _kind(path[:-1]))
    if hint.startswith(_GUESS):
        yield hint.removeprefix(_GUESS).removesuffix("?")


@lru_cache(256)
def _hint(key: str, kind: type) -> str:
    # Who makes a file of very many events makes the same mistake in each of them.
    return nearest(key, [each.name for each in fields(kind)])


def words_of(found: ErrorDetails) -> str:
    """Return what is wrong, with its key and its value."""
    path, kind, value = found["loc"], found["type"], found["input"]
    context = found.get("ctx")
    last = path[-1] if path else ""
    if kind in UNKNOWN:
        return f"there is no key {shown(last)}{_hint(str(last), _kind(path[:-1]))}"
    if last == "[key]":
        owner = next(
            (each for each in reversed(path[:-2]) if isinstance(each, str)), ""
        )
        return f"a key of {owner} has to be a text, got {shown(value)}"
    if last == "policy" and kind == "enum":
        last = str(path[-2])
    ours = found["msg"]
    if kind in _WORDS:
        ours = _WORDS[kind].format(**(context or {}))
    if kind == "float_type" and isinstance(value, int) and not isinstance(value, bool):
        ours = "is too large"
    if kind == "less_than_equal" and context and context["le"] in _CENTURIES:
        ours += ", a century"
    if last in _EITHER and kind == _EITHER[str(last)][0]:
        ours = _EITHER[str(last)][1]
    if last == "on_failure" and kind == "enum":
        ours = _POLICY
    match path:
        case ():
            subject = "the description "
        case (_, _, *_, str(key), int(index)):
            subject = f"entry {index + 1} of {key} "
        case ("unref_setup_fixtures", int(index)):
            subject = f"entry {index + 1} of unref_setup_fixtures "
        case (_, int()):
            subject = ""
        case _:
            subject = f"{last} "
    if kind == "missing":
        return f"{subject}{ours}"
    return f"{subject}{ours}, got {shown(value)}"


def _kind(path: Steps) -> Any:  # noqa: ANN401 -- a dataclass
    found: Any = Description
    for step in path:
        if isinstance(step, str):
            found = _parts(found).get(step, found)
    return found


@cache
def _parts(kind: type) -> dict[str, type]:
    """Return the keys whose values have keys of their own, and what these are."""
    hints = get_type_hints(kind)
    return {key: part for key, hint in hints.items() for part in _dataclasses(hint)}


def _dataclasses(hint: Any) -> Iterator[type]:  # noqa: ANN401 -- any annotation
    if is_dataclass(hint) and isinstance(hint, type):
        yield hint
    for each in get_args(hint):
        yield from _dataclasses(each)


def where_said(path: Steps, said: object) -> str:
    """Return the beginning of a sentence: which event or phase it is, if it is one."""
    match path:
        case ("events" | "phases" as kind, int(index), *_):
            listed = said.get(kind) if isinstance(said, Mapping) else None
            one = listed[index] if isinstance(listed, list) else None
            name = one.get("name") if isinstance(one, Mapping) else None
            return numbered(kind, index, name)
    return ""


def numbered(kind: object, index: int, name: object) -> str:
    """Return the beginning of a sentence about one of many.

    Args:
        kind: What there are many of: ``events`` or ``phases``.
        index: Which one it is, from 0.
        name: What it is called, if that is a text.
    """
    called = ""
    if isinstance(name, str) and name:
        called = f" ({name if len(name) <= _LONGEST_VALUE else shown(name)})"
    return f"{str(kind).removesuffix('s')} {index + 1}{called}: "


def printable(words: str) -> str:
    """Return words that fit into a line, whatever things are called."""
    if words.isprintable():
        return words
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in words)


def shown(value: object) -> str:
    """Return a value in a few words, as people have written it."""
    if value is None or isinstance(value, bool):
        return _AS_WRITTEN[value]
    if isinstance(value, str):
        cut = value[:_LONGEST_VALUE]
        return repr(cut) if cut == value else f"{cut!r}…"
    try:
        return _SHORT.repr(value)
    except ValueError:  # of thousands of digits
        return "a very long number"

"""A user's values: as JSON to travel, and as what they were when they arrive."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import typing
from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any

from pysys_orch.livecheck.exceptions import MessageError
from pysys_orch.livecheck.wire import json_text, shown

if TYPE_CHECKING:
    from pydantic import ValidationError

log = logging.getLogger("pysys.orch.livecheck")

_SCALARS = frozenset({str, int, float, bool, type(None)})
_ANYTHING = (Any, object, None)


def plain(value: object) -> object:
    """Return a value as JSON has it: what it does not have becomes what is nearest.

    Dataclasses, pydantic's models, dates, enums and collections become what
    `reader_of` makes them from again. It is never an error: what is watched is not to
    fail for being watched.
    """
    if type(value) in _SCALARS and (type(value) is not float or isfinite(value)):
        return value
    if type(value) is float:
        return str(value)
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        found: object = to_jsonable_python(value, serialize_unknown=True)
    except (PydanticSerializationError, ValueError, RecursionError):
        found = json.loads(json_text({"value": value}))["value"]
    return found


def reader_of(wanted: object) -> Callable[[object], object]:
    """Return what makes a value of a type from JSON.

    What it returns raises MessageError for a value that is none of the type.

    Args:
        wanted: Any type that pydantic knows, as dataclasses, its own models, dates,
            enums, and collections of these; ``Any`` leaves values as they are.
    """
    if wanted in _ANYTHING:
        return _same
    return functools.partial(_read, wanted)


def readers_of(
    function: Callable[..., object],
) -> dict[str, Callable[[object], object]]:
    """Return what makes the arguments of a method from JSON.

    Args:
        function: The method, as its class has it.

    Returns:
        By their names, and in order; none if nothing is said of their types. What is
        said but not known when the program runs is logged.
    """
    try:
        types = typing.get_type_hints(function)
    except NameError as failure:
        name = function.__qualname__
        log.warning("%s: %s: its arguments are what JSON has", name, failure)
        return {}
    _self, *parameters = inspect.signature(function).parameters.values()
    named = [
        each.name
        for each in parameters
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if not any(name in types for name in named):
        return {}
    return {name: reader_of(types.get(name, Any)) for name in named}


def _same(value: object) -> object:
    return value


def _read(wanted: object, value: object) -> object:
    if type(value) is wanted and wanted in _SCALARS:
        return value
    from pydantic import ValidationError

    try:
        return _validator(wanted)(value)
    except ValidationError as failure:
        name = getattr(wanted, "__name__", None) or str(wanted)
        message = f"{shown(value)} is no {name}: {_words(failure)}"
        raise MessageError(message) from None


@functools.lru_cache(256)
def _validator(wanted: Any) -> Callable[[object], object]:  # noqa: ANN401 -- a type
    from pydantic import TypeAdapter

    return TypeAdapter(wanted).validate_python


def _words(failure: ValidationError) -> str:
    first, *more = failure.errors(include_url=False)
    place = ".".join(str(each) for each in first["loc"])
    words = f"{place}: {first['msg']}" if place else str(first["msg"])
    return f"{words}, and {len(more)} more" if more else words

"""Reads a description, and finds all that is wrong with it before anything runs."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pysys_orch.errors import ConfigError
from pysys_orch.inputs import nearest
from pysys_orch.orchestration.checks import problems_of
from pysys_orch.orchestration.description import (
    CENTURY,
    After,
    Description,
    Event,
    Failure,
    Phase,
)
from pysys_orch.orchestration.documents import (
    Document,
    Made,
    Place,
    Steps,
    TextDocument,
)

_SCHEMA_KEY = "$schema"
_LONGEST_VALUE = 60
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlong, _SHORT.maxother = 2, _LONGEST_VALUE, _LONGEST_VALUE
_AS_WRITTEN = {True: "true", False: "false", None: "null"}
_CENTURIES = {CENTURY, CENTURY / 60, CENTURY / 3600}
_GUESS = ", did you mean "

_READER: TypeAdapter[Description] = TypeAdapter(Description)
_KEYS = {each.name for each in fields(Description)}

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
_UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden", "invalid_key"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a description.

    Attributes:
        path: Keys and positions that lead to it.
        words: What it is, with the key and the value.
        place: Where it is; None if it was not read from a text.
    """

    path: Steps
    words: str
    place: Place | None = None

    def __str__(self) -> str:
        return self.words if self.place is None else f"{self.place}: {self.words}"


class DescriptionError(ConfigError):
    """All that is wrong with a description.

    Attributes:
        document: Where it was read from.
        problems: What is wrong, in the order of the text.
    """

    def __init__(self, document: Document, problems: Iterable[Problem]) -> None:
        self.document = document
        self.problems = tuple(
            sorted(problems, key=lambda each: (each.place is None, _at(each)))
        )
        head = document.name
        if len(self.problems) == 1 and self.problems[0].place is not None:
            super().__init__(f"{head}:{self.problems[0]}")
            return
        if len(self.problems) > 1:
            head = f"{head} has {len(self.problems)} problems"
        super().__init__(f"{head}: {'; '.join(map(str, self.problems))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A description as far as it makes sense, and what is wrong with it.

    Attributes:
        document: Where it was read from.
        description: What is left without the events that are wrong in themselves; None
            if nothing is.
        origins: Which event of the document each of its events is, from 0.
        problems: What is wrong.
    """

    document: Document
    description: Description | None
    origins: Sequence[int] = ()
    problems: tuple[Problem, ...] = ()

    def problem(self, path: Steps, words: str) -> Problem:
        """Return something that is wrong, with its place.

        Args:
            path: What is wrong; events are counted as in the description.
            words: What is wrong with it.
        """
        where = ""
        match path:
            case ("events", int(index), *rest) if self.description is not None:
                name = self.description.events[index].name
                path = ("events", self.origins[index], *rest)
                where = _numbered("events", self.origins[index], name)
            case ("phases", int(index), *_) if self.description is not None:
                name = self.description.phases[index].name
                where = _numbered("phases", index, name)
        return Problem(path, _printable(f"{where}{words}"), self.document.place(path))

    def lasting(self, hours: float) -> Draft:
        """Return the same with another length.

        Raises:
            ConfigError: It makes no sense.
        """
        if not 0 <= hours <= CENTURY / 3600:
            message = (
                f"it runs for 0 hours at least, and a century at most, got {hours:g}"
            )
            raise ConfigError(message)
        if self.description is None:
            return self
        changed = replace(self.description, duration=None, total_hours=hours)
        return replace(self, description=changed)

    def checked(self, more: Iterable[Problem] = ()) -> Description:
        """Return the description, if all is well.

        Args:
            more: What else is wrong.

        Raises:
            DescriptionError: Something is wrong.
        """
        problems = (*self.problems, *more)
        if problems or self.description is None:
            raise DescriptionError(self.document, problems)
        return self.description


def read(file: Path) -> Draft:
    """Read the file of a description.

    Args:
        file: A file with one of `ENDINGS`.

    Raises:
        TextError: Its text makes no sense.
        ConfigError: It cannot be read.
    """
    document = TextDocument(file)
    said = document.parse()
    found = draft(said, document)
    twice = tuple(
        Problem(
            path,
            _printable(f"{_where_said(path, said)}{_shown(key)} is said twice"),
            place,
        )
        for path, key, place in document.twice()
    )
    return replace(found, problems=(*found.problems, *twice)) if twice else found


def draft(said: object, document: Document | None = None) -> Draft:
    """Say what is meant by what was read, and what is wrong with it.

    Args:
        said: What was read: a mapping, with the keys of `Description`.
        document: Where it was read from.
    """
    document = document or Made()
    if isinstance(said, Mapping):
        said = {key: value for key, value in said.items() if key != _SCHEMA_KEY}
    try:
        found = _READER.validate_python(said)
    except ValidationError as failure:
        return _broken(said, document, failure)
    whole = Draft(
        document=document,
        description=found,
        origins=range(len(found.events)),
    )
    return _checked(whole, [each.name for each in found.events])


def made(description: Description) -> Draft:
    """Say what is wrong with a description that was made in Python."""
    whole = Draft(
        document=Made(),
        description=description,
        origins=range(len(description.events)),
    )
    return _checked(whole, [each.name for each in description.events])


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a description."""
    made = _READER.json_schema()
    words = "The schema of this file, for editors."
    made["properties"] = {_SCHEMA_KEY: {"description": words}, **made["properties"]}
    made["title"] = "Orchestration"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


# What is wrong in itself.


def _broken(said: object, document: Document, failure: ValidationError) -> Draft:
    found = failure.errors(include_url=False)
    meant = {
        (*each["loc"][:-1], key)
        for each in found
        if each["type"] in _UNKNOWN
        for key in _meant(each["loc"])
    }
    problems = []
    bad_events, bad_keys = (
        set[int](),
        {str(path[0]) for path in meant if path[:-1] == ()},
    )
    for each in found:
        path = tuple(each["loc"])
        match path:
            case ("events", int(index), *_):
                bad_events.add(index)
            case (str(key), *_):
                bad_keys.add(key)
        if each["type"] == "missing" and path in meant:
            continue  # It is there, with a slip of the pen that is told of.
        words = _words(path, each["type"], each["msg"], each["input"], each.get("ctx"))
        where = _where_said(path, said)
        words = _printable(f"{where}{words}")
        problems.append(Problem(path, words, document.place(path)))
    broken = Draft(document=document, description=None, problems=tuple(problems))
    if not isinstance(said, Mapping):
        return broken
    events = said.get("events")
    if not isinstance(events, list | tuple):
        events = ()
    origins = tuple(at for at in range(len(events)) if at not in bad_events)
    left = {
        key: value
        for key, value in said.items()
        if isinstance(key, str) and key not in bad_keys and key in _KEYS
    }
    left.setdefault("test_name", "?")
    left["events"] = [events[at] for at in origins]
    try:
        rest = _READER.validate_python(left)
    except ValidationError:
        return broken
    if bad_events:
        bad_keys.add("events")
    return _checked(
        replace(broken, description=rest, origins=origins), _names(said), but=bad_keys
    )


def _names(said: Mapping[Any, object]) -> list[str] | None:
    """Return what events are called; None if not all of them say it."""
    events = said.get("events")
    if not isinstance(events, list | tuple):
        return None
    names = [each.get("name") if isinstance(each, Mapping) else None for each in events]
    found = [each for each in names if isinstance(each, str)]
    return found if len(found) == len(names) else None


def _meant(path: Steps) -> Iterator[str]:
    """Yield the key that may have been meant by one that there is not."""
    hint = _hint(str(path[-1]), _kind(path[:-1]))
    if hint.startswith(_GUESS):
        yield hint.removeprefix(_GUESS).removesuffix("?")


@lru_cache(256)
def _hint(key: str, kind: type) -> str:
    # Who makes a file of very many events makes the same mistake in each of them.
    return nearest(key, [each.name for each in fields(kind)])


def _words(
    path: Steps,
    kind: str,
    theirs: str,
    value: object,
    context: Mapping[str, Any] | None,
) -> str:
    last = path[-1] if path else ""
    if kind in _UNKNOWN:
        return f"there is no key {_shown(last)}{_hint(str(last), _kind(path[:-1]))}"
    if last == "[key]":
        owner = next(
            (each for each in reversed(path[:-2]) if isinstance(each, str)), ""
        )
        return f"a key of {owner} has to be a text, got {_shown(value)}"
    if last == "policy" and kind == "enum":
        last = str(path[-2])
    ours = theirs
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
    return f"{subject}{ours}, got {_shown(value)}"


def _kind(path: Steps) -> Any:  # noqa: ANN401 -- a dataclass
    match path:
        case ("events", int()):
            return Event
        case ("events", int(), "after"):
            return After
        case ("events", int(), "on_failure"):
            return Failure
        case ("phases", int()):
            return Phase
    return Description


def _where_said(path: Steps, said: object) -> str:
    match path:
        case ("events" | "phases" as kind, int(index), *_):
            listed = said.get(kind) if isinstance(said, Mapping) else None
            one = listed[index] if isinstance(listed, list) else None
            name = one.get("name") if isinstance(one, Mapping) else None
            return _numbered(kind, index, name)
    return ""


def _numbered(kind: object, index: int, name: object) -> str:
    called = ""
    if isinstance(name, str) and name:
        called = f" ({name if len(name) <= _LONGEST_VALUE else _shown(name)})"
    return f"{str(kind).removesuffix('s')} {index + 1}{called}: "


def _printable(words: str) -> str:
    """Return words that fit into a line, whatever things are called."""
    if words.isprintable():
        return words
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in words)


def _shown(value: object) -> str:
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


def _at(problem: Problem) -> tuple[int, int]:
    place = problem.place
    return (place.line, place.column) if place is not None else (0, 0)


def _checked(
    rest: Draft, names: Sequence[str] | None, but: Iterable[str] = ()
) -> Draft:
    """Add what is wrong in a draft whose parts each make sense."""
    if rest.description is None:
        return rest
    found = problems_of(rest.description, rest.document, names, frozenset(but))
    more = [rest.problem(path, words) for path, words in found]
    return replace(rest, problems=(*rest.problems, *more))

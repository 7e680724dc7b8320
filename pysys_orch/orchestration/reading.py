"""Reads a description, and finds all that is wrong with it before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pysys_orch.durations import CENTURY
from pysys_orch.errors import ConfigError
from pysys_orch.orchestration.checks import problems_of
from pysys_orch.orchestration.description import Description, Event
from pysys_orch.orchestration.documents import (
    Document,
    Made,
    Place,
    Steps,
    TextDocument,
)
from pysys_orch.orchestration.wording import (
    UNKNOWN,
    each_once,
    keys_meant,
    numbered,
    printable,
    shown,
    where_said,
    words_of,
)

_SCHEMA_KEY = "$schema"

_READER: TypeAdapter[Description] = TypeAdapter(Description)
_KEYS = {each.name for each in fields(Description)}
_KEYS_OF_EVENTS = {each.name for each in fields(Event)}


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
class Remnant:
    """What makes sense of an event that does not as a whole.

    Attributes:
        index: Which event of the document it is, from 0.
        name: What implements it.
        params: Arguments for that; None if nobody knows.
        undo: What takes it back; None if nothing does, or nobody knows.
    """

    index: int
    name: str
    params: Mapping[str, Any] | None
    undo: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A description as far as it makes sense, and what is wrong with it.

    Attributes:
        document: Where it was read from.
        description: What is left without the events that are wrong in themselves; None
            if nothing is.
        origins: Which event of the document each of its events is, from 0.
        problems: What is wrong.
        remnants: What is left of events that are wrong in themselves.
    """

    document: Document
    description: Description | None
    origins: Sequence[int] = ()
    problems: tuple[Problem, ...] = ()
    remnants: Sequence[Remnant] = ()

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
                where = numbered("events", self.origins[index], name)
            case ("phases", int(index), *_) if self.description is not None:
                name = self.description.phases[index].name
                where = numbered("phases", index, name)
        return Problem(path, printable(f"{where}{words}"), self.document.place(path))

    def problem_of(self, remnant: Remnant, path: Steps, words: str) -> Problem:
        """Return something that is wrong with what is left of an event.

        Args:
            remnant: The event.
            path: What is wrong in it.
            words: What is wrong with it.
        """
        path = ("events", remnant.index, *path)
        where = numbered("events", remnant.index, remnant.name)
        return Problem(path, printable(f"{where}{words}"), self.document.place(path))

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
            printable(f"{where_said(path, said)}{shown(key)} is said twice"),
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
    told = list(each_once(failure.errors(include_url=False)))
    meant = {
        (*each["loc"][:-1], key)
        for each in told
        if each["type"] in UNKNOWN
        for key in keys_meant(each["loc"])
    }
    problems = []
    bad_events = dict[int, set[object]]()
    bad_keys = {str(path[0]) for path in meant if path[:-1] == ()}
    for each in told:
        path = tuple(each["loc"])
        match path:
            case ("events", int(index), *rest):
                bad_events.setdefault(index, set()).update(rest[:1])
            case (str(key), *_):
                bad_keys.add(key)
        if each["type"] == "missing" and path in meant:
            continue  # It is there, with a slip of the pen that is told of.
        words = printable(f"{where_said(path, said)}{words_of(each)}")
        problems.append(Problem(path, words, document.place(path)))
    broken = Draft(document=document, description=None, problems=tuple(problems))
    if not isinstance(said, Mapping):
        return broken
    events = said.get("events")
    if not isinstance(events, list | tuple):
        events = ()
    found = (
        _remnant(at, each, bad_events[at])
        for at, each in enumerate(events)
        if at in bad_events
    )
    remnants = tuple(each for each in found if each is not None)
    broken = replace(broken, remnants=remnants)
    origins = tuple(at for at in range(len(events)) if at not in bad_events)
    left = {
        key: value
        for key, value in said.items()
        if isinstance(key, str) and key not in bad_keys and key in _KEYS
    }
    left.setdefault("test_name", "?")
    left["events"] = [events[at] for at in origins]
    try:
        description = _READER.validate_python(left)
    except ValidationError:
        return broken
    if bad_events:
        bad_keys.add("events")
    return _checked(
        replace(broken, description=description, origins=origins),
        _names(said),
        but=bad_keys,
    )


def _remnant(index: int, said: object, bad: set[object]) -> Remnant | None:
    """Return what makes sense of an event; None if nobody knows what it is called.

    Args:
        index: Which one it is, from 0.
        said: What is said of it.
        bad: Its keys that are wrong, those that there are not among them.
    """
    if not isinstance(said, Mapping) or "name" in bad or "name" not in said:
        return None
    unknown = bad - _KEYS_OF_EVENTS
    meant = {
        key for each in unknown for key in keys_meant(("events", index, str(each)))
    }
    undo = None if "undo" in bad | meant else said.get("undo")
    params = said.get("params", {})
    # They may be what is said under a key that there is not.
    if "params" in bad | meant or any(
        isinstance(said.get(each), Mapping) for each in unknown
    ):
        params = None
    return Remnant(index=index, name=said["name"], params=params, undo=undo)


def _names(said: Mapping[Any, object]) -> list[str] | None:
    """Return what events are called; None if not all of them say it."""
    events = said.get("events")
    if not isinstance(events, list | tuple):
        return None
    names = [each.get("name") if isinstance(each, Mapping) else None for each in events]
    found = [each for each in names if isinstance(each, str)]
    return found if len(found) == len(names) else None


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

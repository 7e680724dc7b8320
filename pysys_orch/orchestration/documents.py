"""The text of a description, JSON or YAML, and where in it things are."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Protocol

import yaml

from pysys_orch.errors import ConfigError
from pysys_orch.inputs import utf8_text

#: The endings of the files that are descriptions.
ENDINGS = (".orch.json", ".orch.yaml", ".orch.yml")

Steps = tuple[str | int, ...]

# What is left alone, and what is blanked: comments, and commas before what closes.
_COMMENTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|(?P<blank>//[^\n]*|/\*.*?\*/)', re.DOTALL)
_TRAILED = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|[\[{,:]\s*,|(?P<blank>,)(?=\s*[\]}])', re.DOTALL
)
_VISIBLE = re.compile(r"[^\n]")
_LINE = re.compile(r"\n")
# But for commas and colons, which say nothing where all is well.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^\s\[\]{},:"]+')
_LONG_NUMBER = re.compile(r"(?<![\w\"])-?\d{1000,}")
_KINDS = {"null", "bool", "int", "float", "str", "seq", "map"}
_MERGE = "tag:yaml.org,2002:merge"
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a text something is: line and column, from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


class Document(Protocol):
    """Something that a description was read from."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def file(self) -> Path | None:
        """Its file; None if it is none."""
        ...

    def place(self, path: Steps) -> Place | None:
        """Return where something is; of its parent, if it is not there itself.

        Args:
            path: Keys and positions, from the root: ``("events", 0, "name")``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """A description that was made in Python."""

    name: str = "the description"
    file: None = None

    def place(self, path: Steps) -> None:
        """Return None: there are no lines."""
        del path


class TextDocument:
    """The text of a file.

    Args:
        file: The file. What it is called decides whether it is YAML or JSON.

    Raises:
        ConfigError: It cannot be read, or is not UTF-8.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._text = utf8_text(file).removeprefix(_BOM)
        self._is_json = file.suffix == ".json"
        self._tree: _Node | None = None
        self._lines: list[int] = []
        self._says_twice = False

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._file.name

    @property
    def file(self) -> Path:
        """The file."""
        return self._file

    def parse(self) -> object:
        """Return what the text says.

        Raises:
            TextError: It is no JSON, or no YAML.
        """
        try:
            return self._json() if self._is_json else self._yaml()
        except RecursionError:
            self._refuse("is nested too deeply", 0)
        except ValueError:
            # Python refuses to read numbers of thousands of digits.
            match = _LONG_NUMBER.search(self._text)
            self._refuse("has a number that is too long", match.start() if match else 0)

    def place(self, path: Steps) -> Place | None:
        """Return where something is; of its parent, if it is not there itself."""
        node = self._root()
        for step in path:
            inner = node.inner(step)
            if inner is None:
                break
            node = inner
        return self._place(node.start)

    def twice(self) -> Iterator[tuple[Steps, str, Place]]:
        """Yield what is said twice: where, which key, and the place of the second."""
        if not self._says_twice:
            return
        left: list[tuple[Steps, _Node]] = [((), self._root())]
        seen = set[int]()
        while left:
            path, node = left.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            for key, start in node.twice:
                yield path, key, self._place(start)
            left += [((*path, key), each) for key, each in node.members.items()]
            left += [((*path, at), each) for at, each in enumerate(node.entries)]

    # Inside ---------------------------------------------------------------------------

    def _json(self) -> object:
        try:
            return self._json_of(self._text)
        except json.JSONDecodeError:
            self._text = _blanked(_blanked(self._text, _COMMENTED), _TRAILED)
        if not self._text.strip():
            self._refuse("is empty", 0)
        try:
            return self._json_of(self._text)
        except json.JSONDecodeError as failure:
            words = _lower(failure.msg.removesuffix(" at").removesuffix(" starting"))
            if not self._text[failure.pos :].strip():
                self._refuse(f"ends too early: {words}", failure.pos)
            self._refuse(f"is no JSON: {words}", failure.pos)

    def _json_of(self, text: str) -> object:
        self._says_twice = False

        def object_of(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
            made = dict(pairs)
            if len(made) < len(pairs):
                self._says_twice = True
            return made

        return json.loads(text, object_pairs_hook=object_of)

    def _yaml(self) -> object:
        try:
            loader = _Loader(self._text)
            node = loader.get_single_node()
            if node is None:
                self._refuse("is empty", 0)
            # Before it is made: then, what is merged into it is a part of it.
            self._tree = _Composed().node(node)
            self._says_twice = True
            return loader.construct_document(node)
        except yaml.MarkedYAMLError as failure:
            mark = failure.problem_mark or failure.context_mark
            words = " ".join(str(failure.problem or failure.context).split())
            self._refuse(f"is no YAML: {words}", mark.index if mark else 0)
        except yaml.reader.ReaderError as failure:
            words = f"is no YAML: it has the character {chr(failure.character)!r}"
            self._refuse(words, failure.position)

    def _root(self) -> _Node:
        if self._tree is None:
            self._tree = _json_tree(self._text)
        return self._tree

    def _place(self, start: int) -> Place:
        if not self._lines:
            ends = (each.end() for each in _LINE.finditer(self._text))
            self._lines = [0, *ends]
        line = bisect_right(self._lines, start)
        return Place(line, start - self._lines[line - 1] + 1)

    def _refuse(self, words: str, start: int) -> NoReturn:
        raise TextError(self._file, words, self._place(start)) from None


class TextError(ConfigError):
    """A text that makes no sense.

    Attributes:
        file: Its file.
        place: Where it begins to make none.
    """

    def __init__(self, file: Path, words: str, place: Place) -> None:
        super().__init__(f"{file.name}:{place}: {words}")
        self.file = file
        self.place = place


def name_of(file: Path) -> str | None:
    """Return what the test of a file is called; None if it is no description."""
    for ending in ENDINGS:
        if file.name.endswith(ending) and file.name != ending:
            return file.name.removesuffix(ending)
    return None


@dataclass(slots=True)
class _Node:
    """Where something is in a text, and what is in it.

    Attributes:
        start: Where it begins; what has a key begins there: people look for that.
        members: What is in it, by its key.
        entries: What is in it, if it is a list.
        twice: Keys that it has already, and where they are.
    """

    start: int
    members: dict[str, _Node] = field(default_factory=dict)
    entries: list[_Node] = field(default_factory=list)
    twice: list[tuple[str, int]] = field(default_factory=list)

    def inner(self, step: str | int) -> _Node | None:
        if isinstance(step, str):
            return self.members.get(step)
        return self.entries[step] if step < len(self.entries) else None

    def add(self, key: str, start: int, value: _Node) -> None:
        if key in self.members:
            self.twice.append((key, start))
        # An alias is in several places: this is one of them.
        self.members[key] = _Node(start, value.members, value.entries, value.twice)


def _json_tree(text: str) -> _Node:
    """Return where things are in a text that is JSON."""
    root = _Node(0)
    # What is open, whether it is an object, and its key that has no value yet.
    opened: list[tuple[_Node, bool]] = []
    key: tuple[str, int] | None = None
    for match in _TOKEN.finditer(text):
        sign = match[0]
        if sign in "]}":
            opened.pop()
            continue
        if opened and opened[-1][1] and key is None:
            key = (json.loads(sign), match.start())
            continue
        node = _Node(match.start())
        if not opened:
            root = node
        elif key is None:
            opened[-1][0].entries.append(node)
        else:
            parent, _ = opened[-1]
            parent.add(*key, node)
            node, key = parent.members[key[0]], None
        if sign in "[{":
            opened.append((node, sign == "{"))
    return root


class _Composed:
    """Where things are in a text that is YAML."""

    def __init__(self) -> None:
        self._done: dict[int, _Node] = {}
        self._begun = set[int]()

    def node(self, node: yaml.Node) -> _Node:
        done = self._done.get(id(node))
        if done is not None:
            return done
        if id(node) in self._begun:
            raise yaml.MarkedYAMLError(
                problem="something is a part of itself", problem_mark=node.start_mark
            )
        self._begun.add(id(node))
        made = _Node(node.start_mark.index)
        merged: list[_Node] = []
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inner = self.node(value)
                if key.tag == _MERGE:
                    merged += inner.entries or [inner]
                elif isinstance(key, yaml.ScalarNode):
                    made.add(str(key.value), key.start_mark.index, inner)
        elif isinstance(node, yaml.SequenceNode):
            made.entries = [self.node(each) for each in node.value]
        for each in merged:
            for name, inner in each.members.items():
                made.members.setdefault(name, inner)
        self._done[id(node)] = made
        return made


class _Loader(yaml.SafeLoader):
    """YAML of which texts stay texts, ``on`` and ``12:30`` for example."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 -- as PyYAML has it
    # What JSON has, and no more: no dates, no bytes, no sets.
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: made
        for tag, made in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in _KINDS
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401 -- as PyYAML has it
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError) as failure:
            kind = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"this is no {kind}", problem_mark=node.start_mark
            ) from failure


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    # A zero in front of it is none of the old octal numbers.
    return int(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
for _tag, _expression, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        (
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
            r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_expression})$"), list(_first)
    )


def _blanked(text: str, what: re.Pattern[str]) -> str:
    """Replace parts of a text by blanks, so that the rest stays where it is."""

    def blank(match: re.Match[str]) -> str:
        whole = match[0]
        return _VISIBLE.sub(" ", whole) if match["blank"] is not None else whole

    return what.sub(blank, text)


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]

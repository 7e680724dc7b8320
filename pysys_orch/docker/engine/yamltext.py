"""How YAML is read and changed without being written anew.

A text is read from YAML's events, so that every place in it keeps its position: what an
alias stands for, and also where the alias itself stands. A change replaces characters
at such a position, and comments, anchors, quotes, order and whatever is not understood
here stay as they are.

Values are text: what ``2222:22`` or ``yes`` is for YAML 1.1 is not what Docker reads.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol

import yaml

from pysys_orch.errors import ConfigError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_BOM = "\ufeff"
_MERGE = "<<"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_RESET = "!reset"

# An anchor or a tag, and what may stand between it and what it belongs to.
_PROPERTY = re.compile(
    r"(?:&[^\s,\[\]{}]+|!<[^>]*>|![^\s,\[\]{}]*)(?:[ \t\r\n]+(?:#[^\n]*)?)*"
)
_GAP = re.compile(r"(?:[ \t\r\n]+(?:#[^\n]*)?)*")
_LINE_END = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r?\n|\Z)")
# What means the same in brackets as outside of them.
_HARMLESS = re.compile(r"[\w.+/ -]+|<<", re.ASCII)
_WORD = re.compile(r"(?!(?:no|off|on|true|false|yes|null|y|n)\Z)[a-z][a-z0-9_-]*")


# Reading.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scalar:
    """A single value.

    Attributes:
        text: What it says, quotes resolved.
        is_plain: Whether it stands there without quotes.
        tag: Its tag, if the file gives one.
    """

    text: str
    is_plain: bool
    tag: str | None

    @property
    def is_null(self) -> bool:
        """Whether it says that there is nothing."""
        return self.is_plain and self.text in _NULLS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Items:
    """A sequence.

    Attributes:
        items: What it consists of, in order.
        is_flow: Whether it is written in brackets.
        begin: Where in the text it begins, behind anchor and tag.
        tag: Its tag, if the file gives one.
    """

    items: tuple[Place, ...]
    is_flow: bool
    begin: int
    tag: str | None


@dataclass(frozen=True, kw_only=True, eq=False)  # without slots, to remember values
class Pairs:
    """A mapping.

    Attributes:
        pairs: What it consists of, in order, merges unresolved.
        is_flow: Whether it is written in braces.
        begin: Where in the text it begins, behind anchor and tag.
        tag: Its tag, if the file gives one.
    """

    pairs: tuple[Pair, ...]
    is_flow: bool
    begin: int
    tag: str | None

    def own(self, key: str) -> Pair | None:
        """Return the pair that stands here under *key*, not in a merged mapping."""
        return next((pair for pair in self.pairs if pair.name == key), None)

    @functools.cached_property
    def effective(self) -> Mapping[str, Place]:
        """Every value by its key, merges resolved, ``!reset`` ones left out."""
        merged = [pair.value for pair in self.pairs if pair.name == _MERGE]
        found: dict[str, Place] = {}
        for place in merged:
            content = place.content
            for each in content.items if isinstance(content, Items) else [place]:
                if isinstance(each.content, Pairs):
                    found = {**each.content.effective, **found}
        own = {pair.name: pair.value for pair in self.pairs if pair.name != _MERGE}
        found |= own
        return {
            name: place for name, place in found.items() if place.content.tag != _RESET
        }


Content = Scalar | Items | Pairs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where the file says something, or has an alias of what it says elsewhere.

    Attributes:
        start: Where it starts in the text, with anchor and tag.
        begin: Where that begins which can be replaced: behind anchor and tag.
        end: Where it ends, without blanks and comments that follow.
        content: What stands there, or what the alias stands for.
        is_alias: Whether it is an alias.
    """

    start: int
    begin: int
    end: int
    content: Content
    is_alias: bool = False

    @property
    def text(self) -> str | None:
        """What it says; None if that is nothing, or not a single value."""
        content = self.content
        if isinstance(content, Scalar) and not content.is_null:
            return content.text
        return None

    @property
    def items(self) -> tuple[Place, ...]:
        """The items of a sequence; anything else has none."""
        return self.content.items if isinstance(self.content, Items) else ()

    def values(self) -> Mapping[str, Place]:
        """Return a mapping's values, merges resolved; anything else has none."""
        return self.content.effective if isinstance(self.content, Pairs) else {}

    def get(self, *path: str) -> Place | None:
        """Return what stands under these keys, one inside the other."""
        place: Place | None = self
        for key in path:
            place = place.values().get(key) if place else None
        return place

    def say(self, *path: str) -> str:
        """Return the single value under these keys; empty if there is none."""
        place = self.get(*path)
        return (place.text or "") if place else ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A key and its value."""

    key: Place
    value: Place

    @property
    def name(self) -> str:
        """The key as text."""
        return self.key.text or ""


class Document:
    """The text of a compose file, and what stands where.

    Args:
        text: The file's text; it may begin with a byte order mark.
        name: The file's name, for messages.

    Attributes:
        text: The text, without a byte order mark.
        mark: The byte order mark, or nothing.
        name: The file's name.
        root: What the file says; always a mapping.
        aliases: Every alias, in order.
        homes: Every place with an anchor, in order.

    Raises:
        ConfigError: The text is no YAML, several documents, no mapping, or has a key
            twice.
    """

    def __init__(self, text: str, *, name: str) -> None:
        self.text = text.removeprefix(_BOM)
        self.mark = text[: len(text) - len(self.text)]
        self.name = name
        self.aliases: list[Place] = []
        self.homes: list[Place] = []
        self._anchors: dict[str, Place] = {}
        try:
            self.root = self._read(yaml.parse(self.text, Loader=_LOADER))
        except yaml.YAMLError as failure:
            message = f"{name}{_where(failure)}"
            raise ConfigError(message) from failure
        except UnicodeEncodeError as failure:
            bad = self.text[failure.start]
            message = f"{name}: {bad!r} at character {failure.start} is not Unicode"
            raise ConfigError(message) from failure

    def _read(self, events: Iterator[yaml.Event]) -> Place:
        root: Place | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._fail(event, "a second document begins, there may be only one")
                root = self._place(next(events), events)
        if root is None or not isinstance(root.content, Pairs):
            message = f"{self.name}: a compose file is a mapping with `services`"
            raise ConfigError(message)
        return root

    def _place(self, event: yaml.Event, events: Iterator[yaml.Event]) -> Place:
        """Read one place, of which *event* is the beginning."""
        start, end = _mark(event.start_mark).index, _mark(event.end_mark).index
        if isinstance(event, yaml.AliasEvent):
            home = self._anchors.get(event.anchor or "")
            if home is None:
                self._fail(event, f"no anchor above is called {event.anchor!r}")
            place = Place(
                start=start, begin=start, end=end, content=home.content, is_alias=True
            )
            self.aliases.append(place)
            return place
        if not isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)):
            raise TypeError(event)
        begin, tag = start, event.tag
        if event.anchor is not None or tag is not None:
            begin = self._behind_properties(start, end)
        content: Content
        if isinstance(event, yaml.ScalarEvent):
            content = Scalar(
                text=event.value, is_plain=event.style in {None, ""}, tag=tag
            )
            if event.style in {"|", ">"}:
                end = begin + len(self.text[begin:end].rstrip())
        elif isinstance(event, yaml.SequenceStartEvent):
            content, end = self._items(event, begin, events)
        else:
            content, end = self._pairs(event, begin, events)
        place = Place(start=start, begin=begin, end=end, content=content)
        if event.anchor is not None:
            self._anchors[event.anchor] = place
            self.homes.append(place)
        return place

    def _items(
        self, event: yaml.CollectionStartEvent, begin: int, events: Iterator[yaml.Event]
    ) -> tuple[Items, int]:
        places: list[Place] = []
        is_flow = bool(event.flow_style)
        for each in events:
            if isinstance(each, yaml.SequenceEndEvent):
                end = _mark(each.end_mark).index if is_flow else places[-1].end
                items = Items(
                    items=tuple(places), is_flow=is_flow, begin=begin, tag=event.tag
                )
                return items, end
            places.append(self._place(each, events))
        raise AssertionError(event)

    def _pairs(
        self, event: yaml.CollectionStartEvent, begin: int, events: Iterator[yaml.Event]
    ) -> tuple[Pairs, int]:
        pairs: list[Pair] = []
        names = set[str]()
        is_flow = bool(event.flow_style)
        for each in events:
            if isinstance(each, yaml.MappingEndEvent):
                end = _mark(each.end_mark).index if is_flow else pairs[-1].value.end
                mapping = Pairs(
                    pairs=tuple(pairs), is_flow=is_flow, begin=begin, tag=event.tag
                )
                return mapping, end
            pair = Pair(
                key=self._place(each, events), value=self._place(next(events), events)
            )
            if pair.key.text is not None and pair.name in names:
                self._fail(each, f"the key {pair.name!r} is already there above")
            names.add(pair.name)
            pairs.append(pair)
        raise AssertionError(event)

    def _behind_properties(self, start: int, end: int) -> int:
        """Return where that begins which an anchor or a tag belongs to."""
        while start < end and (found := _PROPERTY.match(self.text, start)):
            start = found.end()
        return min(start, end)

    def _fail(self, event: yaml.Event, problem: str) -> NoReturn:
        mark = _mark(event.start_mark)
        message = (
            f"{self.name}, line {mark.line + 1}, column {mark.column + 1}: {problem}"
        )
        raise ConfigError(message)


class _Mark(Protocol):
    """A place in a text, from whichever of the two parsers."""

    @property
    def index(self) -> int: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


def _mark(mark: _Mark | None) -> _Mark:
    if mark is None:
        raise AssertionError(mark)
    return mark


def _where(failure: yaml.YAMLError) -> str:
    """Word on one line where YAML stopped, and why."""
    if isinstance(failure, yaml.MarkedYAMLError) and failure.problem_mark:
        mark = failure.problem_mark
        words = ", ".join(filter(None, [failure.problem, failure.context]))
        return f", line {mark.line + 1}, column {mark.column + 1}: {words}"
    return f": {' '.join(str(failure).split())}"


# Changing.


def quoted(text: str) -> str:
    """Write *text* in double quotes, on one line.

    Example:
        >>> quoted("1:2")
        '"1:2"'
    """
    return "".join(
        char if char.isprintable() else f"\\U{ord(char):08x}"
        for char in json.dumps(text, ensure_ascii=False)
    )


def flow(content: Content) -> str:
    """Write what stands somewhere on one line, aliases resolved.

    Example:
        >>> document = Document("a: [1, 'x y', {b: }]", name="compose.yml")
        >>> flow(document.root.content)
        '{a: [1, "x y", {b: null}]}'
    """
    tag = f"!<{content.tag}> " if content.tag else ""
    if isinstance(content, Items):
        return f"{tag}[{', '.join(flow(item.content) for item in content.items)}]"
    if isinstance(content, Pairs):
        return tag + flow_mapping(
            {flow(pair.key.content): flow(pair.value.content) for pair in content.pairs}
        )
    if content.is_null:
        return f"{tag}null"
    is_harmless = content.is_plain and _HARMLESS.fullmatch(content.text)
    return tag + (content.text if is_harmless else quoted(content.text))


def word(text: str) -> str:
    """Write *text*, in quotes only where it may be mistaken for something else."""
    return text if _WORD.fullmatch(text) else quoted(text)


def flow_mapping(pairs: Mapping[str, str]) -> str:
    """Write a mapping on one line, from keys and values that are YAML already."""
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs.items()) + "}"


class Draft:
    """Changes to a document, collected and then made all at once.

    An alias of what changes keeps its meaning: it is replaced by what it stood for,
    unless the same change was asked for there too.

    Args:
        document: What to change.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._text = document.text
        self._newline = "\r\n" if "\r\n" in document.text else "\n"
        self._replaced: dict[tuple[int, int], str] = {}
        self._inserted: dict[tuple[int, str], None] = {}
        self._confined: dict[int, set[Place]] = {}  # by the content's identity

    def replace(self, place: Place, new: str) -> None:
        """Write *new* where *place* is, and keep its anchor and tag."""
        content = place.content
        is_flush = isinstance(content, Items) and not content.is_flow
        if place.begin == place.end or (is_flush and not place.is_alias):
            # Behind the colon, or where dashes may stand right under the key.
            new = f" {new}"
        self._replaced[place.begin, place.end] = new

    def confine(self, place: Place) -> None:
        """Let what changes in *place* concern no alias but those given here too."""
        self._confined.setdefault(id(place.content), set()).add(place)

    def replace_value(self, pair: Pair, new: str) -> None:
        """Write *new* on a key's line, in place of all that follows the key."""
        self._replaced[pair.key.end, pair.value.end] = f": {new}"

    def replace_item(self, sequence: Items, item: Place, new: Iterable[str]) -> None:
        """Write one item or several where *item* is."""
        first, *others = new
        self.replace(item, first)
        dash = "- " if not sequence.is_flow else ""
        for other in others:
            self._insert(item.end, f"{self._divider(sequence)}{dash}{other}")

    def put(self, mapping: Pairs, key: str, new: str) -> None:
        """Have *mapping* say *new* under *key*, whatever is merged into it."""
        own = mapping.own(key)
        if own is None:
            self.insert_pair(mapping, f"{key}: {new}")
        else:
            self.replace(own.value, new)

    def insert_pair(self, mapping: Pairs, new: str, *, before: str = "") -> None:
        """Write a pair into *mapping*, in front of the one called *before*, or first.

        Args:
            mapping: Where to.
            new: The pair, on one line.
            before: The name of a key; if *mapping* has no such key, *new* comes first.
        """
        if not mapping.pairs:
            self._insert(mapping.begin + 1, new)
            return
        neighbour = mapping.own(before) or mapping.pairs[0]
        self._insert(neighbour.key.start, new + self._divider(mapping))

    def insert_item(self, sequence: Items, new: str) -> None:
        """Write an item in front of those that *sequence* has."""
        dash = "- " if not sequence.is_flow else ""
        at = sequence.items[0].start if sequence.is_flow else sequence.begin
        self._insert(at, f"{dash}{new}{self._divider(sequence)}")

    def name_items(self, sequence: Items, names: Mapping[Place, str]) -> None:
        """Turn a sequence in block style into a mapping.

        Args:
            sequence: Items, each on lines of its own.
            names: The pair that each item becomes.
        """
        at = sequence.begin
        for item in sequence.items:
            found = _GAP.match(self._text, at)
            dash = found.end() if found else at
            # A dash may stand right under the key, where a mapping may not.
            self._replaced[dash, item.end] = f"  {names[item]}"
            at = item.end

    def remove_pair(self, mapping: Pairs, pair: Pair) -> None:
        """Take a pair out, with its line."""
        begin, end = pair.key.start, pair.value.end
        if mapping.is_flow:
            behind = re.compile(r"\s*,\s*").match(self._text, end)
            before = re.search(r",\s*\Z", self._text[:begin])
            if behind:
                end = behind.end()
            elif before:
                begin = before.start()
        elif found := _LINE_END.match(self._text, end):
            end = found.end()
            if self._column(begin):
                end -= len(found[0]) - len(found[0].rstrip("\r\n"))
        self._replaced[begin, end] = ""

    def is_entangled(self, place: Place) -> bool:
        """Return whether there is an anchor or an alias in or on *place*."""
        return any(
            place.start <= each.start and each.end <= place.end
            for each in [*self._document.homes, *self._document.aliases]
        )

    def written(self) -> str:
        """Return the text with all changes.

        Raises:
            RuntimeError: The changes contradict each other or leave no valid document.
                That is a mistake in this package.
        """
        name = self._document.name
        self._keep_aliases()
        edits = [
            *((at, at, new) for at, new in self._inserted),
            *((begin, end, new) for (begin, end), new in self._replaced.items()),
        ]
        written, at = [], 0
        # What is inserted where something is replaced that begins there comes first,
        # and behind what is replaced that ends there.
        for begin, end, new in sorted(edits, key=lambda edit: edit[:2]):
            if begin < at:
                message = f"{name}: two changes meet at character {begin}: {new!r}"
                raise RuntimeError(message)
            written += [self._text[at:begin], new]
            at = end
        text = "".join([*written, self._text[at:]])
        try:
            Document(text, name=name)
        except ConfigError as failure:
            message = f"a compose file became invalid when it was tailored: {failure}"
            raise RuntimeError(message) from failure
        return self._document.mark + text

    def _keep_aliases(self) -> None:
        """Write out aliases of what changes, where they stand for what it was."""
        homes = {id(home.content): home for home in self._document.homes}
        changed = dict(self._replaced)
        for alias in self._document.aliases:
            home, span = homes[id(alias.content)], (alias.begin, alias.end)
            if self._covers(changed, home.start, home.end):
                if not self._covers(changed, *span):
                    self._replaced[span] = flow(alias.content)
            elif alias not in self._confined.get(id(alias.content), [alias]):
                self._replaced[span] = flow(alias.content)
            elif (home.begin, home.end) in changed:
                if changed.get(span) == changed[home.begin, home.end]:
                    del self._replaced[span]
                elif not self._covers(changed, *span):
                    self._replaced[span] = flow(alias.content)

    @staticmethod
    def _covers(spans: Iterable[tuple[int, int]], begin: int, end: int) -> bool:
        """Return whether one of *spans* reaches from *begin* to *end* or further."""
        return any(span[0] <= begin and end <= span[1] for span in spans)

    def _insert(self, at: int, new: str) -> None:
        self._inserted[at, new] = None

    def _divider(self, content: Items | Pairs) -> str:
        """Return what stands between two items or pairs."""
        if content.is_flow:
            return ", "
        return self._newline + " " * self._column(content.begin)

    def _column(self, at: int) -> int:
        return at - self._text.rfind("\n", 0, at) - 1

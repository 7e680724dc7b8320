"""What the library must know about the text of a Dockerfile.

A Dockerfile is read here as the builder reads it: parser directives, continued lines
with comments in between, here-documents whose bodies are no instructions. Every
character keeps its place in the file, so a change touches what it means to change and
nothing else. Wrong syntax is left for Docker to report: no function fails on it.

An instruction behind ``ONBUILD`` counts as if it ran in this build, since a later stage
of the same file may run it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pysys_orch.errors import ConfigError

_SCRATCH = "scratch"

# The builder sets these by itself; only the engine knows their values.
_PLATFORM_ARGS = frozenset(
    f"{side}{what}"
    for side in ("BUILD", "TARGET")
    for what in ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT", "STAGE")
)

_REFERENCE = re.compile(
    r"[a-zA-Z0-9][\w.-]*(?::\d+(?=/))?(?:/[\w.-]+)*(?::\w[\w.-]*)?(?:@[\w+.-]+:\w+)?",
    re.ASCII,
)
_LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_REMOTE = re.compile(r"(?:https?|git|ssh)://|[\w.-]+@[\w.-]+:", re.ASCII)
_REMOTE_HEADS = ("https://", "http://", "git://", "ssh://", "git@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Substituted:
    """A Dockerfile's text after images were substituted in it.

    Attributes:
        text: The text to build from.
        unused: Names that matched no reference, in the order in which they were given.
        references: The images that the text named before, variables resolved, each
            once, in order. Those that cannot be known are left out.
    """

    text: str
    unused: tuple[str, ...]
    references: tuple[str, ...]


def substitute_images(
    text: str,
    substitutions: Mapping[str, str],
    *,
    build_args: Mapping[str, str] | None = None,
) -> Substituted:
    """Replace images that a Dockerfile builds from.

    A reference is an image that ``FROM``, ``COPY --from`` or ``RUN --mount=from=``
    names; the name of a build stage is none. It is replaced if it equals a name
    exactly, where ``apama``, ``apama:latest`` and ``docker.io/library/apama`` are the
    same name. One with a variable in it is resolved first, and replaced as a whole.

    Args:
        text: The Dockerfile, line endings as they are in the file.
        substitutions: What to build from, by the reference that it replaces.
        build_args: What the build is given; it overrides the defaults in the text.
    """
    wanted = {canonical_reference(name): new for name, new in substitutions.items()}
    edits: list[tuple[Sequence[int], str]] = []
    references: dict[str, None] = {}
    replaced = set[str]()
    for found in _references(text, build_args or {}):
        if found.name is None:
            continue
        references[found.name] = None
        image = canonical_reference(found.name)
        if image in wanted and found.at:
            replaced.add(image)
            edits.append((found.at, substitutions.get(found.name, wanted[image])))
    return Substituted(
        text=_edited(text, edits),
        unused=tuple(
            name for name in substitutions if canonical_reference(name) not in replaced
        ),
        references=tuple(references),
    )


def explain_unused(name: str, references: Sequence[str]) -> str:
    """Word why a substitution of *name* changed nothing.

    Example:
        >>> explain_unused("apma", ["apama", "busybox"])
        "no FROM line names 'apma'; did you mean 'apama'?"
    """
    for reference in difflib.get_close_matches(name, references, n=1):
        return f"no FROM line names {name!r}; did you mean {reference!r}?"
    if not references:
        return f"no FROM line names {name!r}, or any other image"
    listed = ", ".join(repr(reference) for reference in references)
    return f"no FROM line names {name!r}, only {listed}"


def canonical_reference(reference: str) -> str:
    """Return the one spelling that stands for every spelling of an image's reference.

    Example:
        >>> canonical_reference("apama")
        'docker.io/library/apama:latest'
    """
    host, _, path = reference.partition("/")
    is_host = re.search("[.:]", host) or host == "localhost" or host != host.lower()
    if not path or not is_host:
        host, path = "docker.io", reference
    if host == "index.docker.io":
        host = "docker.io"
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    if not re.search("[@:]", path):
        path = f"{path}:latest"
    return f"{host}/{path}"


def base_images(
    text: str, build_args: Mapping[str, str] | None = None
) -> tuple[str, ...] | None:
    """List the images that a build depends on.

    Args:
        text: The Dockerfile.
        build_args: What the build is given; it overrides the defaults in the text.

    Returns:
        The references in ``FROM``, ``COPY --from`` and ``RUN --mount=from=``, variables
        resolved, each once, in order, without ``scratch``. None if one of them depends
        on what only the engine knows, or is no reference at all.
    """
    images: dict[str, None] = {}
    for found in _references(text, build_args or {}):
        if found.name is None:
            return None
        images[found.name] = None
    images.pop(_SCRATCH, None)
    return tuple(images)


def label_stages(text: str, labels: Mapping[str, str]) -> str:
    """Insert a ``LABEL`` instruction right after each ``FROM``.

    As the first instruction of its stage, it also marks what a build leaves behind that
    is killed half-way.

    Args:
        text: The Dockerfile.
        labels: Keys of letters, digits and ``._/-``; values are quoted as needed.

    Raises:
        ConfigError: A label cannot be written in a Dockerfile.
    """
    if not labels:
        return text
    instructions, escape = _read(text)
    line = _label_line(labels, escape)
    places = [
        (each.at[-1] + 1, each.newline)
        for each in instructions
        if each.keyword == "from"
    ]
    for place, newline in reversed(places):
        # Behind the last character of FROM, and not behind its line: the line may end
        # in a continuation character with nothing but comments after it.
        text = f"{text[:place]}{newline}{line}{text[place:]}"
    return text


def has_stage(text: str) -> bool:
    """Return whether there is a FROM instruction to begin with.

    Asked before a build: BuildKit of release 26.1 takes the whole engine down, with all
    that runs on it, over a Dockerfile that has none.
    """
    instructions, _ = _read(text)
    return any(each.keyword == "from" for each in instructions)


def why_rebuild(text: str) -> str | None:
    """Say why a build must run although nothing changed that is visible here.

    ``RUN`` is believed to do the same each time, as Docker's own cache believes. What
    ``ADD`` fetches over the network may have changed, unless it gives a checksum.

    Returns:
        The reason in words; None if the build may be skipped.
    """
    instructions, _ = _read(text)
    for each in instructions:
        if each.keyword != "add":
            continue
        flags, words = _split_flags(each)
        if any(flag.name == "checksum" for flag in flags):
            continue
        for source in _sources(each, words):
            if _REMOTE.match(source):
                return f"ADD {source} fetches what may have changed"
            head, variable, _ = source.partition("$")
            if variable and any(remote.startswith(head) for remote in _REMOTE_HEADS):
                return f"ADD {source} may stand for something remote"
    return None


# Reading: from text to instructions whose characters know their place.

_BLANK = " \t\v\f\r\x85\xa0"
_FILE_KEYWORDS = frozenset({"run", "copy", "add"})  # they take here-documents
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_WORD = re.compile(r"[^\t\v\f\r ]+")
_FLAG = re.compile(
    r"""--(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])*""", re.DOTALL
)
_SHELL_WORD = re.compile(
    r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|\\\Z|[^\s'"\\])+""", re.DOTALL
)
_PIECE = re.compile(r"""(["'])((?:\\.|(?!\1)[^\\])*)\1|\\?(.)""", re.DOTALL)
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
_COPY_FROM = re.compile(r"(?![+-]?\d+\Z)(.+)", re.ASCII | re.DOTALL)  # no index
_MOUNT_FROM = re.compile(r"(?:^|,)from=([^,]+)", re.IGNORECASE)


# Where in the text a line begins, and the line with its ending.
_Line = tuple[int, str]


@dataclass(frozen=True, slots=True)
class _Instruction:
    """One instruction, its lines joined.

    Attributes:
        keyword: What it is, in lower case; for ``ONBUILD RUN`` it is ``run``.
        line: All of it, without continuation characters and comments.
        at: Where in the text each character of *line* stands.
        body: Where in *line* its flags and arguments begin.
        newline: How its first line ends.
    """

    keyword: str
    line: str
    at: tuple[int, ...]
    body: int
    newline: str


@dataclass(frozen=True, slots=True)
class _Flag:
    """A flag such as ``--from=build``, quotes removed.

    Attributes:
        name: What stands before the equals sign.
        value: What stands behind it.
        at: Where in the instruction's line each character of *value* stands.
    """

    name: str
    value: str
    at: tuple[int, ...]


def _read(text: str) -> tuple[list[_Instruction], str]:
    """Split *text* into its instructions; also return its escape character."""
    begin = len(text) - len(text.removeprefix("\ufeff"))
    lines = [(match.start(), match[0]) for match in _LINE.finditer(text, begin)]
    escape, number = _read_directives(lines)
    continued = re.compile(rf"(?<!{re.escape(escape)}){re.escape(escape)}[ \t]*\Z")
    instructions = []
    while number < len(lines):
        found, number = _read_instruction(lines, number, continued)
        if found is not None:
            instructions.append(found)
            number = _skip_heredocs(found, lines, number)
    return instructions, escape


def _read_directives(lines: Sequence[_Line]) -> tuple[str, int]:
    """Return the escape character and the number of lines that are directives."""
    escape, seen = "\\", set[str]()
    for number, (_, line) in enumerate(lines):
        match = _DIRECTIVE.fullmatch(line.strip(_BLANK + "\n"))
        name = match[1].lower() if match else ""
        if match is None or name in seen or name not in {"syntax", "escape", "check"}:
            return escape, number
        seen.add(name)
        if name == "escape" and match[2] in {"\\", "`"}:
            escape = match[2]
    return escape, len(lines)


def _read_instruction(
    lines: Sequence[_Line], number: int, continued: re.Pattern[str]
) -> tuple[_Instruction | None, int]:
    """Read the instruction that begins in a line, if one does.

    Returns:
        The instruction, and the number of the first line behind it.
    """
    first = number
    line, at = "", list[int]()
    is_open = True
    while is_open and number < len(lines):
        start, content = lines[number]
        content = content.rstrip("\r\n")
        bare = content.lstrip(_BLANK)
        if number == first:
            start, content = start + len(content) - len(bare), bare
        number += 1
        if not bare or bare.startswith("#"):
            is_open = number > first + 1
            continue
        end = continued.search(content)
        is_open = end is not None
        content = content[: end.start()] if end else content
        line += content
        at += range(start, start + len(content))
    newline = "\r\n" if lines[first][1].endswith("\r\n") else "\n"
    return _instruction(line.rstrip(_BLANK), at, newline), number


def _instruction(line: str, at: Sequence[int], newline: str) -> _Instruction | None:
    keyword = _WORD.match(line, len(line) - len(line.lstrip(_BLANK)))
    if keyword is None:
        return None
    if keyword[0].lower() == "onbuild":
        trigger = _WORD.search(line, keyword.end())
        if trigger and trigger[0].lower() in _FILE_KEYWORDS:
            keyword = trigger
    return _Instruction(
        keyword=keyword[0].lower(),
        line=line,
        at=tuple(at[: len(line)]),
        body=keyword.end(),
        newline=newline,
    )


def _skip_heredocs(
    instruction: _Instruction, lines: Sequence[_Line], number: int
) -> int:
    """Return the number of the first line behind the here-documents."""
    for name, is_indented in _heredocs(instruction):
        while number < len(lines):
            line = lines[number][1].rstrip("\r\n")
            number += 1
            if (line.lstrip("\t") if is_indented else line) == name:
                break
    return number


def _heredocs(instruction: _Instruction) -> Iterator[tuple[str, bool]]:
    """Yield the terminator of each here-document, and whether tabs may precede it."""
    if instruction.keyword not in _FILE_KEYWORDS:
        return
    _, begin = _split_flags(instruction)
    if _json_words(instruction.line[begin:]) is not None:
        return
    # Whatever remains between words that is not blank is a quote without its partner,
    # in which the builder looks for no here-documents.
    if _SHELL_WORD.sub("", instruction.line).strip():
        return
    for word in _SHELL_WORD.findall(instruction.line):
        match = _HEREDOC.fullmatch(word)
        if match:
            name = "".join(char for char, _ in _unquoted(match[2]))
            if name:
                yield name, bool(match[1])


def _unquoted(word: str, begin: int = 0) -> Iterator[tuple[str, int]]:
    """Yield the characters that *word* stands for, each with its place."""
    for piece in _PIECE.finditer(word, begin):
        if piece[1] is None:
            yield piece[3], piece.start(3)
            continue
        for inner in re.finditer(r"\\?(.)", piece[2], re.DOTALL):
            yield inner[1], piece.start(2) + inner.start(1)


def _split_flags(instruction: _Instruction) -> tuple[list[_Flag], int]:
    """Return an instruction's flags, and where its arguments begin."""
    flags: list[_Flag] = []
    line, place = instruction.line, instruction.body
    while True:
        while place < len(line) and line[place] in _BLANK:
            place += 1
        match = _FLAG.match(line, place)
        if not match:
            return flags, place
        place = match.end()
        if match[0] == "--":
            return flags, place
        head, _, _ = match[0].partition("=")
        characters = list(_unquoted(line[:place], match.start() + len(head) + 1))
        flags.append(
            _Flag(
                name=head[2:],
                value="".join(char for char, _ in characters),
                at=tuple(at for _, at in characters),
            )
        )


def _json_words(arguments: str) -> list[str] | None:
    """Return the words of arguments in exec form; None if they have another form."""
    if not arguments.startswith("["):
        return None
    try:
        words = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    is_exec = isinstance(words, list) and all(isinstance(word, str) for word in words)
    return words if is_exec else None


def _sources(instruction: _Instruction, begin: int) -> list[str]:
    """Return what an ``ADD`` adds, without quotes."""
    arguments = instruction.line[begin:]
    words = _json_words(arguments)
    if words is None:
        words = [
            "".join(char for char, _ in _unquoted(word))
            for word in _WORD.findall(arguments)
        ]
    return words[:-1]


# Resolving: from instructions to the images that they name.


@dataclass(frozen=True, slots=True)
class _Found:
    """A place that names an image.

    Attributes:
        name: The image, variables resolved; None if that is impossible.
        at: Where in the text its characters stand; empty if they cannot be replaced.
    """

    name: str | None
    at: tuple[int, ...]


def _references(text: str, build_args: Mapping[str, str]) -> Iterator[_Found]:
    instructions, escape = _read(text)
    variables = _global_variables(instructions, build_args, escape)
    every_stage = {_stage_name(each) for each in instructions}
    stages = set[str]()
    for each in instructions:
        if each.keyword == "from":
            found = _base(each, variables, escape)
            if found.name is None or found.name.lower() not in stages:
                yield found
            stages.add(_stage_name(each))
        elif each.keyword in {"copy", "run"}:
            # Only FROM demands that the stage stands above.
            yield from _sources_from(each, every_stage)


def _from_words(instruction: _Instruction) -> list[re.Match[str]]:
    """Return the words of a well-formed ``FROM`` behind its flags; else none."""
    _, begin = _split_flags(instruction)
    words = list(_WORD.finditer(instruction.line, begin))
    is_named = len(words) == 3 and words[1][0].lower() == "as"
    return words if len(words) == 1 or is_named else []


def _stage_name(instruction: _Instruction) -> str:
    words = _from_words(instruction) if instruction.keyword == "from" else []
    return words[2][0].lower() if len(words) == 3 else ""


def _base(
    instruction: _Instruction, variables: Mapping[str, str | None], escape: str
) -> _Found:
    words = _from_words(instruction)
    if not words:
        return _Found(None, ())
    name = _expanded(words[0][0], variables, escape)
    return _Found(
        name if name is not None and _REFERENCE.fullmatch(name) else None,
        instruction.at[words[0].start() : words[0].end()],
    )


def _sources_from(
    instruction: _Instruction, stages: Container[str]
) -> Iterator[_Found]:
    """Yield the images that an instruction copies or mounts from."""
    for flag in _split_flags(instruction)[0]:
        if instruction.keyword == "copy" and flag.name == "from":
            matches = [_COPY_FROM.fullmatch(flag.value)]
        elif instruction.keyword == "run" and flag.name == "mount":
            matches = [*_MOUNT_FROM.finditer(flag.value)]
        else:
            continue
        for match in matches:
            if match is None or match[1].lower() in stages:
                continue
            at = flag.at[match.start(1) : match.end(1)]
            # Where quotes stand amid the name, replacing it would have to mend them.
            is_plain = at[-1] - at[0] == len(at) - 1
            yield _Found(
                # The builder expands no variables here, it refuses them.
                match[1] if _REFERENCE.fullmatch(match[1]) else None,
                instruction.at[at[0] : at[-1] + 1] if is_plain else (),
            )


def _global_variables(
    instructions: Iterable[_Instruction], build_args: Mapping[str, str], escape: str
) -> dict[str, str | None]:
    """Return what a ``FROM`` can refer to; None is a value that is not known."""
    variables: dict[str, str | None] = {
        name: build_args.get(name) for name in _PLATFORM_ARGS
    }
    quoted = re.escape(escape)
    words = re.compile(
        rf"""(?:'[^']*'|"(?:{quoted}.|[^"{quoted}])*"|{quoted}.|[^\s'"])+""", re.DOTALL
    )
    for each in instructions:
        if each.keyword == "from":
            break
        if each.keyword != "arg":
            continue
        for word in words.findall(each.line, each.body):
            name, equals, default = word.partition("=")
            if name in build_args:
                variables[name] = build_args[name]
            elif equals:
                variables[name] = _expanded(default, variables, escape)
    return variables


def _expanded(
    word: str, variables: Mapping[str, str | None], escape: str
) -> str | None:
    """Return what *word* stands for, or None if that is not known."""
    try:
        return _Expansion(word, variables, escape).until("")
    except _UnknownError:
        return None


class _UnknownError(Exception):
    """A word's meaning depends on what is not known here, or it has none."""


class _Expansion:
    """Reads one word from left to right, as a shell would."""

    def __init__(
        self, word: str, variables: Mapping[str, str | None], escape: str
    ) -> None:
        self._rest = word
        self._variables = variables
        self._escape = escape

    def until(self, stop: str, *, is_quoted: bool = False) -> str:
        """Return the meaning of what comes before *stop*; empty is the word's end."""
        read: list[str] = []
        while self._rest:
            char = self._next()
            if char == stop:
                return "".join(read)
            if char == "$":
                read.append(self._variable())
            elif char == self._escape:
                escaped = self._next()
                is_literal = is_quoted and escaped not in {'"', "$", self._escape}
                read.append(char + escaped if is_literal and escaped else escaped)
            elif char == '"' and not is_quoted:
                read.append(self.until('"', is_quoted=True))
            elif char == "'" and not is_quoted:
                inner, quote, self._rest = self._rest.partition("'")
                if not quote:
                    raise _UnknownError
                read.append(inner)
            else:
                read.append(char)
        if stop:
            raise _UnknownError
        return "".join(read)

    def _next(self) -> str:
        char, self._rest = self._rest[:1], self._rest[1:]
        return char

    def _variable(self) -> str:
        match = re.match(r"(\{?)(\d+|[^\W\d]\w*)", self._rest)
        if match is None:
            if self._rest.startswith("{"):
                raise _UnknownError
            return "$"
        self._rest = self._rest[match.end() :]
        value = self._variables.get(match[2], "")
        is_set = match[2] in self._variables
        modifier = self._next() if match[1] else "}"
        if modifier == ":":
            modifier = self._next()
            is_set = is_set and value != ""
        if value is None or modifier not in {"}", "-", "+"}:
            raise _UnknownError
        if modifier == "}":
            return value
        other = self.until("}")
        if modifier == "+":
            return other if is_set else ""
        return value if is_set else other


# Writing.


def _edited(text: str, edits: Iterable[tuple[Sequence[int], str]]) -> str:
    """Replace characters, which continuation lines may have torn apart."""
    changed = dict[int, str]()
    for at, new in edits:
        changed |= dict.fromkeys(at, "") | {at[0]: new}
    if not changed:
        return text
    return "".join(changed.get(place, char) for place, char in enumerate(text))


def _label_line(labels: Mapping[str, str], escape: str) -> str:
    pairs = []
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            message = (
                f"label {key!r}: a key in a Dockerfile takes letters, digits and ._/-"
            )
            raise ConfigError(message)
        if re.search(r"[\r\n\0]", value):
            message = f"label {key!r}: a Dockerfile cannot hold {value!r}, use one line"
            raise ConfigError(message)
        special = re.compile(rf'["${re.escape(escape)}]')
        quoted = special.sub(lambda match: escape + match[0], value)
        pairs.append(f'{key}="{quoted}"')
    return f"LABEL {' '.join(pairs)}"

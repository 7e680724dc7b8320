"""What is in a build context: which files, whether they changed, and how to add some.

The rules of ``.dockerignore`` are those of the builder itself, oddities included, since
a file that it sees and we do not would be a change that nobody notices.

Source:
    ``moby/patternmatcher`` and the walk of ``tonistiigi/fsutil``, which BuildKit uses.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import posixpath
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pysys_orch.clock import Clock
from pysys_orch.errors import ConfigError

_IGNORE_FILE = ".dockerignore"
# A file that changed so recently may change again without a visible trace: the coarsest
# time stamps, those of FAT, count in steps of two seconds.
_SETTLED = 2.0
_CHUNK_BYTES = 256 * 1024


def read_ignore(context: Path, dockerfile: Path | None = None) -> tuple[str, ...]:
    """Return the patterns that apply to a build.

    Args:
        context: The context's folder.
        dockerfile: The Dockerfile, wherever it is. If a file of the same name with
            ``.dockerignore`` appended stands beside it, that one applies. None for the
            legacy builder, which knows only the one in the context.

    Returns:
        One pattern for each line that holds one; none if there is no such file.
    """
    places = [context / _IGNORE_FILE]
    if dockerfile is not None:
        places.insert(0, dockerfile.with_name(dockerfile.name + _IGNORE_FILE))
    for place in places:
        if place.is_file():
            return parse_ignore(place.read_text("utf-8-sig", errors="surrogateescape"))
    return ()


def parse_ignore(text: str) -> tuple[str, ...]:
    """Return the patterns in the text of a ``.dockerignore``, without its comments."""
    lines = text.removeprefix("\ufeff").split("\n")
    patterns = (line.strip() for line in lines if not line.startswith("#"))
    return tuple(pattern for pattern in patterns if pattern)


def is_ignored(path: str, ignore: Sequence[str]) -> bool:
    """Say whether a file is left out of the context.

    Args:
        path: The file's path relative to the context, with forward slashes.
        ignore: Patterns as in the lines of a ``.dockerignore``.

    Raises:
        ConfigError: A pattern is malformed.
    """
    rules = _Rules(ignore)
    ignored, hits = False, rules.no_hits
    names = path.split("/")
    for depth in range(len(names)):
        ignored, hits = rules.judge("/".join(names[: depth + 1]), hits)
    return ignored


class DigestMemory:
    """Remembers the digests of files that have not changed since, for one process.

    Safe to share between threads. A file counts as unchanged while its size, inode and
    both time stamps are the same. One that changed within the last seconds is not
    remembered, since it could change again within the same tick of its time stamps.

    Args:
        clock: Tells how old a change is.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[tuple[int, ...], bytes]] = {}

    def content_digest(self, path: str, status: os.stat_result) -> bytes:
        """Return the SHA-256 digest of a file's content.

        Args:
            path: The file's absolute path.
            status: What the file system said of it a moment ago.

        Raises:
            OSError: The file cannot be read.
        """
        known = self._known.get(path)
        if known is not None and known[0] == _signature(status):
            return known[1]
        now = self._clock.stamp().timestamp()
        with FileIO(path) as file:
            signature = _signature(os.fstat(file.fileno()))
            digest = _digest(file)
            after = os.fstat(file.fileno())
        if _signature(after) == signature and after.st_ctime + _SETTLED < now:
            self._known[path] = (signature, digest)
        return digest


def context_digest(
    context: Path, *, ignore: Sequence[str] = (), memory: DigestMemory | None = None
) -> str:
    """Return what identifies everything in a build context that a build can see.

    That is the path, kind, permission bits and content of each file that is not
    ignored; owners and time stamps play no part. Pipes and devices count by their kind
    and are never opened. Sockets are left out: they come and go with the servers that
    own them, and no builder sends more than an empty file for one. What may not be read
    counts as unreadable, which is all that a build can see of it.

    Args:
        context: The context's folder; its own permissions play no part.
        ignore: Patterns as in the lines of a ``.dockerignore``.
        memory: Spares reading files again that it knows.

    Returns:
        64 hexadecimal digits, the same on every machine.

    Raises:
        ConfigError: There is no such folder, or a pattern is malformed.
    """
    digest = hashlib.sha256()
    for entry in _entries(context, ignore):
        try:
            content = _content(entry, memory)
        except PermissionError:
            content = b""  # no content looks like that, not even that of an empty file
        except FileNotFoundError:
            continue  # removed since the folder was listed
        path = os.fsencode(entry.path)
        mode = 0 if entry.is_link else entry.mode
        digest.update(b"%c%o %d:%d:" % (entry.kind, mode, len(path), len(content)))
        digest.update(path)
        digest.update(content)
    return digest.hexdigest()


def gather(
    context: Path | None,
    others: Sequence[Path],
    into: Path,
    *,
    ignore: Sequence[str] = (),
) -> None:
    """Make a folder to build from, with more in it than its context.

    The context's files are hard links where that is possible, and must not be written
    to. The others are copies; a folder among them is merged with one of the same name,
    and a file of theirs takes the place of the context's.

    The context's ``.dockerignore`` stays behind: it has been applied, and must not be
    applied again, to the others. So does what may not be read.

    Args:
        context: The folder to start from; None for an empty one.
        others: Files and folders to put into the root.
        into: The folder to make. It may exist, also inside of the context.
        ignore: Patterns as in the lines of a ``.dockerignore``, for the context only.

    Raises:
        ConfigError: Two of the others have the same name, one does not exist or cannot
            be read, *into* holds what it is to be made from, there is no such context,
            or a pattern is malformed.
    """
    named = _by_name(others)
    for source in [*named.values(), *([] if context is None else [context.resolve()])]:
        _refuse_overlap(source, into)
    into.mkdir(parents=True, exist_ok=True)
    if context is not None:
        kept = [
            entry
            for entry in _entries(context, ignore, apart_from=into)
            if not entry.path.endswith(_IGNORE_FILE)
        ]
        _reproduce(kept, into, is_linking=True)
    for name, other in named.items():
        status = other.stat()
        entries = [_Entry(name, str(other), status)]
        if stat.S_ISDIR(status.st_mode):
            inside = _entries(other, (), apart_from=into)
            entries += [
                _Entry(f"{name}/{entry.path}", entry.source, entry.status)
                for entry in inside
            ]
        _reproduce(entries, into, is_linking=False)


def links_leaving(context: Path) -> list[Path]:
    """Return the links in a folder that lead out of it."""
    root = context.resolve()
    return [
        Path(entry.source)
        for entry in _entries(context, ())
        if entry.is_link and not Path(entry.source).resolve().is_relative_to(root)
    ]


# Which files.


@dataclass(frozen=True, slots=True)
class _Entry:
    """Something in a folder.

    Attributes:
        path: Where it is in the folder, with forward slashes.
        source: Where it is on this machine.
        status: What the file system says of it.
    """

    path: str
    source: str
    status: os.stat_result

    @property
    def mode(self) -> int:
        return stat.S_IMODE(self.status.st_mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)

    @property
    def kind(self) -> bytes:
        return stat.filemode(self.status.st_mode)[:1].encode()


def _entries(
    root: Path, ignore: Sequence[str], *, apart_from: Path | None = None
) -> list[_Entry]:
    """List everything under *root* that is not ignored, sorted by path.

    An ignored folder is listed if something in it is not ignored.
    """
    rules = _Rules(ignore)
    if not root.is_dir():
        message = f"the build context {str(root)!r} is not a folder"
        raise ConfigError(message)
    left_out = None if apart_from is None else apart_from.stat()
    found: dict[str, _Entry] = {}
    held: dict[str, _Entry] = {}
    pending = [("", str(_absolute(root)), rules.no_hits)]
    while pending:
        prefix, folder, inherited = pending.pop()
        for entry in _listing(folder, prefix):
            ignored, hits = rules.judge(entry.path, inherited)
            if stat.S_ISSOCK(entry.status.st_mode):
                continue
            if left_out is not None and os.path.samestat(entry.status, left_out):
                continue
            if not ignored:
                found[entry.path] = entry
            if entry.is_folder and (not ignored or rules.may_spare(entry.path)):
                held[entry.path] = entry
                pending.append((f"{entry.path}/", entry.source, hits))
    for path in list(found):
        folder = posixpath.dirname(path)
        while folder and folder not in found:
            found[folder] = held[folder]
            folder = posixpath.dirname(folder)
    return sorted(found.values(), key=lambda entry: os.fsencode(entry.path))


def _listing(folder: str, prefix: str) -> Iterable[_Entry]:
    """Yield what is in *folder*: nothing if it is gone by now, or may not be read."""
    with suppress(FileNotFoundError, PermissionError), os.scandir(folder) as listing:
        for entry in listing:
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                yield _Entry(prefix + entry.name, entry.path, status)


# Which patterns.

_SPECIAL = re.compile(r"[*?\[\]\\]")
_CLASS_CHAR = r"(?:\\.|[^\\\]-])"
_WELL_FORMED = re.compile(
    rf"(?:\\.|\[\^?+(?:{_CLASS_CHAR}(?:-{_CLASS_CHAR})?)+\]|[^\\\[])*", re.DOTALL
)


class _Rules:
    """The patterns of a ``.dockerignore``, ready to be asked."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules: list[tuple[bool, Callable[[str], object]]] = []
        self._spared: list[str] = []
        for line in patterns:
            text = line.strip()
            is_exception = text.startswith("!")
            text = text[is_exception:].strip()
            if not text and not is_exception:
                continue
            # As Go cleans a path; Python would keep two slashes in front.
            pattern = posixpath.normpath(text).lstrip("/") if text else ""
            if not text or not _WELL_FORMED.fullmatch(pattern):
                message = f"{line!r} is not a pattern that a {_IGNORE_FILE} can hold"
                raise ConfigError(message)
            try:
                self._rules.append((is_exception, _matcher(pattern)))
            except re.error as failure:
                message = f"ignore pattern {line!r} is malformed: {failure}"
                raise ConfigError(message) from failure
            if is_exception:
                self._spared.append(_SPECIAL.split(pattern, maxsplit=1)[0])
        self.no_hits = (False,) * len(self._rules)

    def judge(
        self, path: str, inherited: Sequence[bool]
    ) -> tuple[bool, tuple[bool, ...]]:
        """Say whether *path* is ignored, and which patterns it hits.

        The last pattern that hits decides. What hits a folder hits all that is in it.

        Args:
            path: Relative to the context.
            inherited: Which patterns the folder around it hits.
        """
        ignored, hits = False, []
        for (is_exception, matches), is_inherited in zip(
            self._rules, inherited, strict=True
        ):
            # A pattern that could not change the verdict is not asked, and so not
            # inherited either: this is what the builder does.
            hit = is_inherited or (is_exception == ignored and bool(matches(path)))
            if hit:
                ignored = not is_exception
            hits.append(hit)
        return ignored, tuple(hits)

    def may_spare(self, folder: str) -> bool:
        """Say whether an exception could apply to something inside of *folder*."""
        inside = f"{folder}/"
        return any(
            head.startswith(inside) or inside.startswith(head) for head in self._spared
        )


def _matcher(pattern: str) -> Callable[[str], object]:
    """Return what says whether a whole path is like *pattern*."""
    if not _SPECIAL.search(pattern):
        return pattern.__eq__
    if pattern.endswith("**") and not _SPECIAL.search(pattern[:-2]):
        head = pattern[:-2]
        return lambda path: path.startswith(head)
    if pattern.startswith("**") and not _SPECIAL.search(pattern[2:]):
        tail = pattern[2:]
        return lambda path: path.endswith(tail) or f"/{path}" == tail
    return re.compile(_expression(pattern)).match


def _expression(pattern: str) -> str:
    """Translate a pattern as the builder does, wildcards within brackets included."""
    parts: list[str] = []
    tokens = re.finditer(r"\*\*/?(\Z)?|\*|\?|\\.|.", pattern, re.DOTALL)
    for token in tokens:
        text = token[0]
        if text.startswith("**"):
            parts.append(".*" if token[1] is not None else "(.*/)?")
        elif text == "*":
            parts.append("[^/]*")
        elif text == "?":
            parts.append("[^/]")
        elif text in ".+()|{}$":
            parts.append(f"\\{text}")
        else:
            parts.append(text)
    expression = "".join(parts)
    # Python warns of brackets and doubled operators within a class; Go does not.
    classes = re.compile(r"(\\.)|\[(\^?)((?:\\.|[^\\\]])+)\]", re.DOTALL)
    return classes.sub(_escaped_class, expression) + r"\Z"


def _escaped_class(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    inner = re.sub(r"(\\.)|([\[&|~])", _escaped_char, match[3], flags=re.DOTALL)
    return f"[{match[2]}{inner}]"


def _escaped_char(match: re.Match[str]) -> str:
    return match[1] or f"\\{match[2]}"


# What is in them.


def _content(entry: _Entry, memory: DigestMemory | None) -> bytes:
    """Return the part of an entry's identity that its path and mode do not tell."""
    if entry.is_file:
        if memory is not None:
            return memory.content_digest(entry.source, entry.status)
        with FileIO(entry.source) as file:
            return _digest(file)
    if entry.is_link:
        return os.fsencode(_link_target(entry.source))
    is_device = stat.S_ISCHR(entry.status.st_mode) or stat.S_ISBLK(entry.status.st_mode)
    return b"%d" % entry.status.st_rdev if is_device else b""


def _digest(file: FileIO) -> bytes:
    # Most files are small; hashlib.file_digest fills 256 KiB with zeros before each.
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.digest()


def _link_target(path: str) -> str:
    return os.readlink(path)  # noqa: PTH115 -- a Path would tidy what the link says


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


# Making a folder.


def _by_name(others: Iterable[Path]) -> dict[str, Path]:
    """Return *others* by the names that they will have, having checked them."""
    named: dict[str, Path] = {}
    for other in others:
        path = _absolute(other)
        if not path.exists():
            raise ConfigError(_missing(path))
        if not os.access(path, os.R_OK):
            raise ConfigError(_unreadable(path))
        first = named.setdefault(path.name, path)
        if first != path:
            message = (
                f"{str(first)!r} and {str(path)!r} cannot both be {path.name!r} "
                "in the build context"
            )
            raise ConfigError(message)
    return named


def _missing(path: Path) -> str:
    message = f"{str(path)!r}, which the build context is to hold, does not exist"
    try:
        siblings = [sibling.name for sibling in path.parent.iterdir()]
    except OSError:
        return f"{message}: neither does its folder"
    for sibling in difflib.get_close_matches(path.name, siblings, n=1):
        return f"{message}; did you mean {sibling!r}?"
    return message


def _unreadable(path: Path | str) -> str:
    return f"{str(path)!r} may not be read: change its permissions"


def _absolute(path: Path) -> Path:
    # A link counts under its own name, so it is not resolved.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _refuse_overlap(source: Path, into: Path) -> None:
    """Refuse to make a folder where making it would remove what it is made from."""
    path = _absolute(source)
    if (path.parent.resolve() / path.name).is_relative_to(into.resolve()):
        message = f"{str(source)!r} is inside of {str(into)!r}, which is made from it"
        raise ConfigError(message)


def _reproduce(entries: Iterable[_Entry], into: Path, *, is_linking: bool) -> None:
    """Make each of *entries* in *into*, a folder before what is in it."""
    folders = []
    for entry in entries:
        target = into / entry.path
        try:
            _clear(target, is_folder=entry.is_folder)
            if entry.is_folder:
                target.mkdir(exist_ok=True)
                folders.append((target, entry.mode))
            elif entry.is_link:
                target.symlink_to(_link_target(entry.source))
            elif not (is_linking and _linked(entry.source, target)) and entry.is_file:
                shutil.copy2(entry.source, target)
        except FileNotFoundError:
            continue  # removed since the folder was listed
        except PermissionError as failure:
            if failure.filename != entry.source:
                raise
            if not is_linking:
                raise ConfigError(_unreadable(entry.source)) from failure
    # Last, and from the inside out: a folder may forbid to write into it.
    for target, mode in reversed(folders):
        target.chmod(mode)


def _clear(target: Path, *, is_folder: bool) -> None:
    """Make way for *target*; never write through a link to somebody's file."""
    if target.is_dir() and not target.is_symlink():
        if not is_folder:
            shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def _linked(source: str, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        return False  # another file system, too many links, or not our file
    return True

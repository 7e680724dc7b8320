"""Tests of what is in a build context.

The examples of ignore patterns were tried with BuildKit and with the legacy builder,
together with some 800 random trees and pattern lists.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysys_orch.docker.engine.context import (
    DigestMemory,
    context_digest,
    gather,
    is_ignored,
    parse_ignore,
    read_ignore,
)
from pysys_orch.errors import ConfigError

NOBODY = 65534


def plant(root: Path, files: dict[str, str]) -> Path:
    """Make files with these contents."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o644)
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    return root


def tree(root: Path) -> dict[str, str]:
    """Return what is below a folder."""
    return {
        path.relative_to(root).as_posix(): (
            f"-> {path.readlink()}"
            if path.is_symlink()
            else "folder"
            if path.is_dir()
            else path.read_text()
        )
        for path in sorted(root.rglob("*"))
    }


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a folder that everybody may enter, while the test is not root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    is_root = os.geteuid() == 0
    yield folder
    if is_root:
        os.seteuid(0)
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def become_nobody() -> None:
    """Give up root's right to read everything."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        ("a", "a a/b a/b/c", "b ab b/a"),
        ("*", "a b a/b .c", ""),
        ("*.txt", "a.txt .txt", "a/b.txt a.txt2 atxt"),
        ("*/*.txt", "a/b.txt", "b.txt a/b/c.txt"),
        ("?", "a é", "ab a?/b"),
        ("**", "a a/b", ""),
        ("**/", "a a/b", ""),
        ("**/a", "a b/a b/c/a a/b", "ba b/ca"),
        ("**a", "a ba b/ca", "ab"),
        ("**a*", "a ab b/ac", "ba"),
        ("a/**", "a/b a/b/c", "a"),
        ("a**", "a ab a/b", "ba"),
        ("a/**/b", "a/b a/c/b a/c/d/b", "a b a/bb"),
        ("***", "a a/b", ""),
        ("a***", "a/b abc", "x"),
        ("[a-c]", "a c a/b", "d - ab"),
        ("[^a]", "b -", "a bb"),
        ("[!a]", "a !", "b"),
        ("[[]q]", "[q]", "q ["),
        ("[a&&b] [c~~]", "& a b c ~", "d"),
        (r"\*x", "*x", "ax x"),
        (r"\[x", "[x", "x"),
        (r"\d*", "1x", "dx x"),
        ("[*]", "] [] ^[]", "* a ["),
        ("^a*", "ab", "^ab"),
        ("a.b+(c)|{d}$", "a.b+(c)|{d}$", "aXb+(c)|{d}$"),
        ("/a", "a", "b/a"),
        ("//a//b/", "a/b", "a b"),
        ("./a", "a", "b"),
        ("a/../b", "b", "a"),
        ("../a . .. /", "", "a b"),
        ("* !a", "b", "a a/b"),
        ("* !a/b", "a/c c", "a/b a/b/d"),
        ("a !a/b", "a a/c", "a/b"),
        ("a/* !a/b", "a/c", "a a/b"),
        ("!a a", "a", "b"),
        ("* !*.md R*.md", "a README.md", "b.md"),
        ("* !/a/./b", "a", "a/b"),
        ("d/e !d/e/f d/e/f/g", "d/e d/e/f/g", "d/e/f d"),
        ("", "", "a"),
    ],
)
def test_ignore_patterns(patterns: str, ignored: str, kept: str) -> None:
    """They mean what they mean to the builder; the last one that matches wins."""
    rules = patterns.split()
    assert [path for path in ignored.split() if not is_ignored(path, rules)] == []
    assert [path for path in kept.split() if is_ignored(path, rules)] == []


@pytest.mark.parametrize(
    "pattern",
    ["[", "a[", "[]", "[]a]", "[^]a]", "[a-", "[a-]", "[-a]", "[b-a]", "a\\", "!"],
)
def test_a_malformed_pattern_is_refused(pattern: str, tmp_path: Path) -> None:
    """The builder refuses it too, only later."""
    with pytest.raises(ConfigError) as caught:
        context_digest(tmp_path, ignore=["ok", pattern])
    assert repr(pattern) in str(caught.value)


@given(
    pattern=st.text(alphabet="ab*?[]^-!/\\.&~|", max_size=12),
    path=st.lists(st.text("ab/", min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_any_pattern_is_refused_or_understood(pattern: str, path: list[str]) -> None:
    """Nothing but a ConfigError comes out, and no warning of a regular expression."""
    try:
        is_ignored("/".join(path), [pattern])
    except ConfigError:
        assert set(pattern) & set("[\\!")


def test_an_ignore_file_is_read_line_by_line() -> None:
    """Comments start in the first column; blanks around a pattern do not count."""
    text = "\ufeffa\r\n# b\n\n  c d \n #e\n! f"
    assert parse_ignore(text) == ("a", "c d", "#e", "! f")
    assert not is_ignored("f", ["*", "! f"])


def test_a_dockerfile_may_have_its_own_ignore_file(tmp_path: Path) -> None:
    """It stands beside the Dockerfile, wherever that is, and then it alone applies."""
    context = plant(tmp_path / "context", {".dockerignore": "a\n", "Dockerfile": ""})
    elsewhere = plant(tmp_path / "docker", {"My.Dockerfile.dockerignore": "b\n"})
    assert read_ignore(context) == ("a",)
    assert read_ignore(context, context / "Dockerfile") == ("a",)
    assert read_ignore(context, elsewhere / "My.Dockerfile") == ("b",)
    plant(elsewhere, {"My.Dockerfile.dockerignore": ""})
    assert read_ignore(context, elsewhere / "My.Dockerfile") == ()
    assert read_ignore(elsewhere) == ()


def test_the_digest_of_a_known_context(tmp_path: Path) -> None:
    """Images are cached under it from run to run, so it must not change by itself."""
    assert context_digest(tmp_path) == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    plant(tmp_path, {"a": "1", "b/c": "2", "é": ""})
    (tmp_path / "link").symlink_to("b//c")
    (tmp_path / "empty").mkdir(mode=0o755)
    assert context_digest(tmp_path) == (
        "d6094b045560d6d46f395166048402d1a57faa1d4ebe89dddac0791d8a61625d"
    )


def test_every_change_that_a_build_can_see_changes_the_digest(tmp_path: Path) -> None:
    """Names, kinds, contents, permissions, link targets, and empty folders."""
    plant(tmp_path, {"a": "1", "b/c": "2"})
    link = tmp_path / "link"
    seen = {context_digest(tmp_path)}

    def look() -> None:
        digest = context_digest(tmp_path)
        assert digest not in seen
        seen.add(digest)

    plant(tmp_path, {"a": "2"})
    look()
    (tmp_path / "a").chmod(0o755)
    look()
    (tmp_path / "b").chmod(0o700)
    look()
    (tmp_path / "b/c").rename(tmp_path / "c")
    look()
    (tmp_path / "b").rmdir()
    look()
    link.symlink_to("a")
    look()
    link.unlink()
    link.symlink_to("c")
    look()
    link.unlink()
    link.write_text("c")
    look()
    link.unlink()
    os.mkfifo(link)
    look()


def test_what_a_build_cannot_see_leaves_the_digest(tmp_path: Path) -> None:
    """Another checkout, at another time, by somebody else, is the same context."""
    first = plant(tmp_path / "first", {"a": "1", "b/c": "2"})
    second = plant(tmp_path / "second", {"b/c": "2", "a": "1", "d/e": "", "f": ""})
    os.utime(second / "a", (0, 0))
    second.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(second / "s"))
    assert context_digest(first) == context_digest(second, ignore=["d", "f"])
    assert context_digest(first) != context_digest(second)
    assert context_digest(first) == context_digest(first / ".." / "first")


def test_contents_cannot_pass_for_paths(tmp_path: Path) -> None:
    """Each part of an entry says where it ends."""
    first = plant(tmp_path / "first", {"a": "", "b": ""})
    second = plant(tmp_path / "second", {"a": "b", "ab": ""})
    (first / "x").symlink_to("yz")
    (second / "xy").symlink_to("z")
    assert context_digest(first) != context_digest(second)


NAMES = st.lists(st.sampled_from(["a", "b", "c.d", "é"]), min_size=1, max_size=3)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(NAMES.map("/".join), st.text("xy", max_size=2), max_size=6),
    ignore=st.lists(
        st.sampled_from(["a", "*", "**/a", "a/*", "!a/b", "!**/c.d", "b/**", "!é"]),
        max_size=4,
    ),
)
def test_a_gathered_context_has_the_digest_of_its_origin(
    files: dict[str, str], ignore: list[str], tmp_path: Path
) -> None:
    """What is ignored is left out, and nothing else is."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    context = folder / "context"
    context.mkdir()
    for name, content in files.items():
        if not any(
            f"{other}/".startswith(f"{name}/") for other in files if other != name
        ):
            plant(context, {name: content})
    gather(context, (), folder / "into", ignore=ignore)
    assert context_digest(folder / "into") == context_digest(context, ignore=ignore)


class FixedClock:
    """A clock that stands still, for a memory that only asks how late it is."""

    def __init__(self, *, now: float) -> None:
        self.now = now

    def instant(self) -> float:
        return self.now

    def stamp(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def wait_until(self, instant: float, stop: threading.Event) -> bool:
        raise NotImplementedError


def test_a_memory_spares_reading_what_has_not_changed(tmp_path: Path) -> None:
    """A file that may no longer be read is still known, one that changed is not."""
    plant(tmp_path, {"a": "1"})
    status = (tmp_path / "a").stat()
    memory = DigestMemory(FixedClock(now=status.st_ctime + 60))
    digest = memory.content_digest(str(tmp_path / "a"), status)
    (tmp_path / "a").rename(tmp_path / "b")
    assert memory.content_digest(str(tmp_path / "a"), status) == digest
    plant(tmp_path, {"a": "2"})
    status = (tmp_path / "a").stat()
    assert memory.content_digest(str(tmp_path / "a"), status) != digest


def test_a_memory_does_not_trust_a_fresh_time_stamp(tmp_path: Path) -> None:
    """Two changes within one tick of the file system look like one."""
    plant(tmp_path, {"a": "1"})
    status = (tmp_path / "a").stat()
    memory = DigestMemory(FixedClock(now=status.st_ctime + 1))
    memory.content_digest(str(tmp_path / "a"), status)
    (tmp_path / "a").unlink()
    with pytest.raises(FileNotFoundError):
        memory.content_digest(str(tmp_path / "a"), status)


def test_a_memory_does_not_change_the_digest(tmp_path: Path) -> None:
    """With and without, in the first run and in the second."""
    plant(tmp_path, {"a": "1", "b/c": ""})
    memory = DigestMemory(FixedClock(now=2**33))
    for _ in range(2):
        digest = context_digest(tmp_path, memory=memory)
        assert digest == context_digest(tmp_path)
        plant(tmp_path, {"a": "2"})


def test_what_may_not_be_read_counts_as_unreadable(shared: Path) -> None:
    """A build cannot see it either, and one that does not need it works."""
    plant(shared, {"a": "1", "secret": "x", "vault/x": ""})
    before = context_digest(shared)
    (shared / "secret").chmod(0)
    (shared / "vault").chmod(0)
    become_nobody()
    digest = context_digest(shared)
    assert digest != before
    assert context_digest(shared, ignore=["secret", "vault"]) != digest


def test_a_context_must_be_a_folder(tmp_path: Path) -> None:
    """The message names it."""
    plant(tmp_path, {"a": ""})
    for context in (tmp_path / "a", tmp_path / "b"):
        with pytest.raises(ConfigError, match=f"'{context}' is not a folder"):
            context_digest(context)
        with pytest.raises(ConfigError, match=f"'{context}' is not a folder"):
            gather(context, (), tmp_path / "into")


def test_others_join_the_context(tmp_path: Path) -> None:
    """Files and folders go to the root; the patterns are for the context only."""
    context = plant(
        tmp_path / "context",
        {"a": "1", "d/e": "2", "x.log": "", ".dockerignore": "*.log\nconf"},
    )
    (context / "up").symlink_to("../a")
    others = plant(tmp_path / "others", {"y.log": "3", "conf/f": "4", "conf/g/h": "5"})
    (others / "conf/i").symlink_to("f")
    into = tmp_path / "deep" / "into"
    gather(
        context,
        [others / "y.log", others / "conf/"],
        into,
        ignore=read_ignore(context),
    )
    assert tree(into) == {
        "a": "1",
        "conf": "folder",
        "conf/f": "4",
        "conf/g": "folder",
        "conf/g/h": "5",
        "conf/i": "-> f",
        "d": "folder",
        "d/e": "2",
        "up": "-> ../a",
        "y.log": "3",
    }
    assert (into / "a").samefile(context / "a")
    assert not (into / "y.log").samefile(others / "y.log")


def test_others_alone_are_a_context(tmp_path: Path) -> None:
    """A link among them gives what it points to, under its own name."""
    others = plant(tmp_path / "others", {"a": "1", "d/e": "2"})
    (others / "b").symlink_to("a")
    (others / "f").symlink_to("d")
    gather(None, [others / "b", others / "f"], tmp_path / "into")
    assert tree(tmp_path / "into") == {"b": "1", "f": "folder", "f/e": "2"}


def test_an_other_wins_and_the_original_survives(tmp_path: Path) -> None:
    """Nothing is ever written through a hard link into the caller's files."""
    files = {"a": "1", "b": "1", "c/d": "1", "e/f": "1", "g/h": "1", "g/i": "1"}
    context = plant(tmp_path / "context", files)
    (context / "j").symlink_to("a")
    before = tree(context)
    others = plant(tmp_path / "others", {"a": "2", "b/x": "2", "c": "2", "g/h": "2"})
    plant(others, {"j": "2"})
    into = tmp_path / "into"
    for _ in range(2):
        gather(context, [others / name for name in "abcgj"], into)
        assert tree(into) == {
            "a": "2",
            "b": "folder",
            "b/x": "2",
            "c": "2",
            "e": "folder",
            "e/f": "1",
            "g": "folder",
            "g/h": "2",
            "g/i": "1",
            "j": "2",
        }
    assert tree(context) == before


def test_permissions_come_along(tmp_path: Path) -> None:
    """A folder that forbids writing still gets its files."""
    context = plant(tmp_path / "context", {"d/run": "1"})
    (context / "d/run").chmod(0o750)
    (context / "d").chmod(0o555)
    for into in (tmp_path / "first", tmp_path / "second"):
        others = [context / "d"] if into.name == "second" else []
        gather(None if others else context, others, into)
        assert (into / "d/run").stat().st_mode & 0o7777 == 0o750
        assert (into / "d").stat().st_mode & 0o7777 == 0o555
        (into / "d").chmod(0o755)
    (context / "d").chmod(0o755)


def test_a_context_may_hold_the_folder_to_make(tmp_path: Path) -> None:
    """A test's output is often inside of the folder that the test builds from."""
    plant(tmp_path, {"a": "1", "output/into/old": "2", "output/log": "3"})
    gather(tmp_path, (), tmp_path / "output/into")
    assert tree(tmp_path / "output/into") == {
        "a": "1",
        "old": "2",
        "output": "folder",
        "output/log": "3",
    }


@pytest.mark.parametrize("into", [".", "context", "context/.."])
def test_a_folder_is_not_made_from_itself(into: str, tmp_path: Path) -> None:
    """That would remove files before they are copied."""
    context = plant(tmp_path / "context", {"a": "1"})
    with pytest.raises(ConfigError, match="is inside of"):
        gather(context, (), tmp_path / into)
    with pytest.raises(ConfigError, match="is inside of"):
        gather(None, [context / "a"], tmp_path / into)
    assert tree(tmp_path) == {"context": "folder", "context/a": "1"}


def test_files_that_cannot_be_linked_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the output is on another file system."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    context = plant(tmp_path / "context", {"a": "1", "d/b": "2"})
    os.mkfifo(context / "pipe")
    monkeypatch.setattr(os, "link", refuse)
    gather(context, (), tmp_path / "into")
    assert tree(tmp_path / "into") == {"a": "1", "d": "folder", "d/b": "2"}
    assert not (tmp_path / "into/a").samefile(context / "a")


def test_two_others_of_one_name_are_refused(tmp_path: Path) -> None:
    """The message names both, and nothing was made; the same one twice is no clash."""
    plant(tmp_path, {"x/a": "", "y/a": ""})
    others = [tmp_path / "x/a", tmp_path / "y/a"]
    with pytest.raises(ConfigError) as caught:
        gather(None, others, tmp_path / "into")
    assert str(caught.value) == (
        f"'{others[0]}' and '{others[1]}' cannot both be 'a' in the build context"
    )
    assert not (tmp_path / "into").exists()
    gather(None, [others[0], tmp_path / "y/../x/a"], tmp_path / "into")
    assert tree(tmp_path / "into") == {"a": ""}


def test_a_missing_other_is_named_with_its_neighbour(tmp_path: Path) -> None:
    """Most missing files are misspelt ones."""
    plant(tmp_path, {"wrapper.sh": ""})
    for name, hint in [
        ("warpper.sh", "does not exist; did you mean 'wrapper.sh'?"),
        ("zzz", "does not exist"),
        ("no/wrapper.sh", "does not exist: neither does its folder"),
    ]:
        with pytest.raises(ConfigError) as caught:
            gather(None, [tmp_path / name], tmp_path / "into")
        assert str(tmp_path / name) in str(caught.value)
        assert str(caught.value).endswith(hint)


def test_an_other_that_may_not_be_read_is_refused(shared: Path) -> None:
    """Somebody asked for it, so it cannot be left out."""
    plant(shared, {"a": "1", "d/b": "", "context/c": "", "context/d": "1"})
    for path in ("a", "d/b", "context/c"):
        (shared / path).chmod(0)
    (shared / "into").mkdir(mode=0o777)
    (shared / "into").chmod(0o777)
    become_nobody()
    for path, culprit in [("a", "a"), ("d", "d/b")]:
        with pytest.raises(ConfigError, match=f"{culprit}' may not be read"):
            gather(None, [shared / path], shared / "into" / path)
    gather(shared / "context", (), shared / "into/context")
    assert tree(shared / "into/context") == {"d": "1"}

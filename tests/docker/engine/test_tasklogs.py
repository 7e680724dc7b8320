"""What several tasks log at once stays readable, and can be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pysys_orch.docker.engine.tasklogs import SharedFile


@pytest.fixture
def noticed() -> list[None]:
    return []


@pytest.fixture
def shared(tmp_path: Path, noticed: list[None]) -> Iterator[SharedFile]:
    file = SharedFile(tmp_path / "web.out", lambda: noticed.append(None))
    yield file
    file.close()


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_one_task_has_the_file_for_itself(shared: SharedFile, tmp_path: Path) -> None:
    """It is as with a container, down to the line without an end."""
    lane = shared.lane("1.a")
    lane.write(b"one\ntw")
    assert texts(tmp_path) == {"web.out": "one\n"}
    lane.write(b"o\nno end")
    lane.rest()
    assert texts(tmp_path) == {"web.out": "one\ntwo\nno end"}


def test_lines_of_two_tasks_are_not_mixed(shared: SharedFile, tmp_path: Path) -> None:
    """A line that comes in parts waits for its end."""
    first, second = shared.lane("1.a"), shared.lane("2.b")
    first.write(b"first begins, ")
    second.write(b"second\nsecond begins, ")
    first.write(b"and ends\n")
    second.write(b"and ends\n")
    assert (tmp_path / "web.out").read_text() == (
        "second\nfirst begins, and ends\nsecond begins, and ends\n"
    )


def test_a_line_without_an_end_gets_one_before_another_task_s(
    shared: SharedFile, tmp_path: Path
) -> None:
    """In the task's own file it has none."""
    first, second = shared.lane("1.a"), shared.lane("1.b")
    first.write(b"no end")
    first.close()
    second.write(b"next\nlast")
    second.close()
    assert texts(tmp_path) == {
        "web.out": "no end\nnext\nlast",
        "web.1.a.out": "no end",
        "web.1.b.out": "next\nlast",
    }


@pytest.mark.parametrize("ended", [True, False])
def test_the_second_task_makes_a_file_for_each(
    shared: SharedFile, tmp_path: Path, *, ended: bool
) -> None:
    """The first one's holds what it wrote before, whether or not it goes on."""
    first = shared.lane("1.a")
    first.write(b"before\n")
    if ended:
        first.close()
    assert texts(tmp_path) == {"web.out": "before\n"}
    second = shared.lane("2.b")
    second.write(b"second\n")
    if not ended:
        first.write(b"after\n")
    after = "" if ended else "after\n"
    assert texts(tmp_path) == {
        "web.out": f"before\nsecond\n{after}",
        "web.1.a.out": f"before\n{after}",
        "web.2.b.out": "second\n",
    }


def test_what_others_wrote_before_is_nobody_s(tmp_path: Path) -> None:
    """Two services may log to files of one name; a task's own file is its own."""
    (tmp_path / "web.out").write_text("of another service\n")
    shared = SharedFile(tmp_path / "web.out", lambda: None)
    for name in ("1.a", "2.b"):
        shared.lane(name).write(f"{name}\n".encode())
    shared.close()
    assert texts(tmp_path) == {
        "web.out": "of another service\n1.a\n2.b\n",
        "web.1.a.out": "1.a\n",
        "web.2.b.out": "2.b\n",
    }


@pytest.mark.parametrize("tasks", [["1.a"], ["1.a", "2.b"], []])
def test_a_task_that_comes_after_the_end_is_not_written_down(
    shared: SharedFile, tmp_path: Path, tasks: list[str]
) -> None:
    """A look at another node may outlast the log; it leaves neither file nor error."""
    for task in tasks:
        shared.lane(task).write(b"in time\n")
    shared.close()
    before = texts(tmp_path)
    late = shared.lane("3.c")
    late.write(b"too late\nno end")
    late.close()
    shared.close()
    assert texts(tmp_path) == before


def test_who_waits_hears_of_every_write_and_rest(
    shared: SharedFile, noticed: list[None]
) -> None:
    """What is only held back is no news; that a task rests is."""
    lane = shared.lane("1.a")
    lane.write(b"no end")
    assert len(noticed) == 0
    lane.rest()
    lane.rest()
    assert len(noticed) == 2
    shared.close()
    lane.write(b"too late\n")

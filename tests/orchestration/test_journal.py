"""What happened is in the file, whatever happens to the disk or this process."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pysys_orch.orchestration.calls import Call
from pysys_orch.orchestration.journal import JOURNAL, Recorder
from pysys_orch.orchestration.review import review
from tests.orchestration.stage import library, play, simulate


def nothing() -> None:
    """Do nothing."""


def ended(ordinal: int, event: int = 0) -> Call:
    """Return a firing that has ended, a second after the one before."""
    call = Call(event, ordinal, "", float(ordinal), nothing)
    call.started, call.ended, call.is_made = ordinal + 0.1, ordinal + 0.2, True
    return call


@contextmanager
def full(file: Path, room: int) -> Iterator[None]:
    """Have a file that cannot grow by more than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_lines_and_not_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Or a run that came to its end would look as if it had been killed."""
    file = tmp_path / JOURNAL
    recorder = Recorder(["a"], file, {"orchestration": "a", "begin": "x"})
    recorder.start(0.0)
    recorder.add(ended(1))
    with full(file, 20):
        recorder.add(ended(2))
        recorder.add(ended(3))
    recorder.add(ended(4))
    recorder.close({"why": "its time was over"})
    found = review(file)
    assert [each["ordinal"] for each in found.lines] == [1, 4]
    assert found.why == "its time was over"
    assert recorder.tallies[0].fired == 4
    (said,) = caplog.messages
    assert said.startswith(f"Lines are missing in {file}: ")


def test_what_is_announced_is_in_the_file_at_once(tmp_path: Path) -> None:
    """After all that has ended before."""
    file = tmp_path / JOURNAL
    recorder = Recorder(["a", "b"], file)
    recorder.start(0.0)
    recorder.add(ended(1))
    recorder.add(ended(1, event=1))
    call = Call(0, 2, "", 2.0, nothing)
    call.started = 2.5
    recorder.announce(call)
    _, *lines = map(json.loads, file.read_text().splitlines())
    assert [(each["event"], each["ordinal"]) for each in lines] == [
        ("a", 1),
        ("b", 1),
        ("a", 2),
    ]
    assert lines[-1] == {
        "event": "a",
        "ordinal": 2,
        "kind": "scheduled",
        "due": 2.0,
        "begun": 2.5,
    }
    recorder.close({})
    assert [each.fired for each in recorder.tallies] == [1, 1]


def test_events_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """By their place in the description, from 0; others have no need of it."""
    names = ("nothing", "other", "nothing")
    stage = simulate(tmp_path, library(nothing, other=nothing), *names, duration=1)
    assert [each["index"] for each in stage.of("nothing")] == [0, 2]
    assert "index" not in stage.of("other")[0]
    tallies = [(each.name, each.fired) for each in review(tmp_path).tallies]
    assert tallies == [("nothing", 1), ("other", 1), ("nothing", 1)]


class OddError(Exception):
    """What ends whoever wants to know what it is."""

    def __str__(self) -> str:
        sys.exit(3)


def test_a_failure_that_cannot_say_what_it_is_is_written_down(tmp_path: Path) -> None:
    """And so is what comes after it."""

    def odd() -> None:
        raise OddError

    stage = play(
        tmp_path,
        library(nothing, odd),
        {"name": "nothing", "interval_sec": 0.002},
        {"name": "odd", "at_startup": False, "interval_sec": 0.25},
        duration=0.6,
    )
    assert stage.tail["why"] == "its time was over"
    assert stage.outcomes("odd") == ["failed", "failed"]
    words = "OddError, of which str() fails with SystemExit"
    assert stage.of("odd")[0]["error"] == words
    assert stage.of("nothing")[-1]["due"] > 0.55

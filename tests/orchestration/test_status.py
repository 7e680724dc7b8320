"""How far a run is, for others to read meanwhile."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.clock import Clock
from pysys_orch.orchestration.status import StatusFile
from tests.docker.owned import eventually
from tests.orchestration.stage import Stage, library, play, simulate

NAME = "orchestration.status.json"


def nothing() -> None:
    """Do nothing."""


def fails() -> None:
    raise ValueError


def read(folder: Path) -> Any:  # noqa: ANN401 -- what is in it
    return json.loads((folder / NAME).read_text(encoding="utf-8"))


def test_the_end_of_a_run_is_told(tmp_path: Path) -> None:
    """With why it has ended, and what became of each event."""
    simulate(
        tmp_path,
        library(nothing, fails),
        {"name": "nothing", "interval_sec": 2, "at_teardown": True},
        {"name": "fails", "on_failure": "ignore"},
        phases=[{"name": "all", "duration": 10}],
    )
    assert read(tmp_path) == {
        "orchestration": "stage",
        "state": "ended",
        "why": "its time was over",
        "begin": "2024-02-29T12:00:00+00:00",
        "stamp": "2024-02-29T12:00:10+00:00",
        "elapsed": 10.0,
        "remaining": 0.0,
        "phase": "all",
        "fired": 7,
        "failed": 1,
        "running": 0,
        "next": None,
        "events": [
            {"event": "nothing", "fired": 6, "failed": 0, "running": 0},
            {"event": "fails", "fired": 1, "failed": 1, "running": 0},
        ],
    }
    assert [each.name for each in tmp_path.glob("*status*")] == [NAME]


def told(folder: Path, every: float, **keys: Any) -> list[Any]:
    """Return what the file says, a second and a half after each tenth of a minute.

    Args:
        folder: Where it is.
        every: How old it is at most. A thread writes it: it may take a moment.
        keys: Of the description.
    """
    found = []

    def looks(clock: Clock) -> None:
        at = clock.instant() // every * every
        eventually(
            lambda: (folder / NAME).exists() and read(folder)["elapsed"] == at,
            what=f"a status of {at:g} s",
        )
        found.append(read(folder))

    event = {"name": "looks", "interval_sec": 6, "start_after": 1.5}
    simulate(folder, library(looks), event, duration="10m", **keys)
    return found


def test_a_run_tells_how_far_it_is_now_and_then(tmp_path: Path) -> None:
    """From its beginning on, some twenty times."""
    found = told(tmp_path, every=30)
    times = sorted({each["elapsed"] for each in found})
    assert times == [30 * number for number in range(20)]
    assert {each["state"] for each in found} == {"running"}
    first, last = found[0], found[-1]
    assert (first["remaining"], last["remaining"]) == (600, 30)
    assert first["next"] == {"event": "looks", "due": 1.5}
    assert last["next"] == {"event": "looks", "due": 571.5}
    assert last["stamp"] == "2024-02-29T12:09:30+00:00"


def test_a_description_says_how_often_it_is_told(tmp_path: Path) -> None:
    """The file is as old as that, and no older."""
    found = told(tmp_path, every=2, status_sec=2)
    assert [each["elapsed"] for each in found] == [6 * at for at in range(100)]


def test_what_runs_is_counted(tmp_path: Path) -> None:
    """Also what hangs, and what it keeps from being fired."""
    seen: list[Any] = []
    go = threading.Event()

    def hangs() -> None:
        go.wait(10)

    def looks() -> None:
        status = read(tmp_path)
        if status["running"]:
            seen.append(status)
            go.set()

    play(
        tmp_path,
        library(hangs, looks),
        {"name": "hangs", "interval_sec": 0.1},
        {"name": "looks", "interval_sec": 0.1},
        duration=1.5,
        status_sec=1,
    )
    hanging, _ = seen[0]["events"]
    assert (hanging["event"], hanging["running"]) == ("hangs", 1)
    assert hanging["fired"] > 0
    assert seen[0]["elapsed"] >= 1


def test_a_run_that_is_stopped_says_so(tmp_path: Path) -> None:
    """When, and by what."""
    event = {"name": "fails", "on_failure": "stop", "start_after": 2}
    simulate(tmp_path, library(fails), event)
    status = read(tmp_path)
    assert status["state"] == "ended"
    assert status["why"] == "an event failed that stops it"
    assert (status["elapsed"], status["remaining"]) == (2, 8)


def test_very_many_events_have_a_status_of_some_size(tmp_path: Path) -> None:
    """All are counted, and some are listed."""
    events = [{"name": "nothing"}] * 3000
    simulate(tmp_path, library(nothing), *events)
    status = read(tmp_path)
    assert status["fired"] == 3000
    assert len(status["events"]) == 1000


def test_a_status_that_cannot_be_written_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once."""
    (tmp_path / NAME).mkdir()
    stage: Stage = simulate(tmp_path, library(nothing), "nothing", status_sec=1)
    assert stage.reasons == []
    assert stage.outcomes("nothing") == ["ok"]
    assert list(tmp_path.glob("*.new")) == []
    said = [each for each in caplog.messages if "could not be renewed" in each]
    assert len(said) == 1


def test_a_folder_that_comes_back_has_the_file_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And it says how the run has ended."""
    folder, elsewhere = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    status = StatusFile(folder / "orchestration.jsonl", lambda: None)
    folder.rename(elsewhere)
    status.renew(lambda: {"state": "running", "number": 1})
    eventually(lambda: "could not be renewed" in caplog.text, what="it was missed")
    elsewhere.rename(folder)
    status.renew(lambda: {"state": "running", "number": 2})
    eventually((folder / NAME).exists, what="it is there again")
    status.renew(lambda: {"state": "ended"})
    status.close()
    assert read(folder) == {"state": "ended"}


def test_who_reads_finds_a_whole_file(tmp_path: Path) -> None:
    """Whenever that is."""
    file = tmp_path / NAME
    status = StatusFile(tmp_path / "orchestration.jsonl")

    def said(number: int) -> dict[str, object]:
        return {"number": number, "more": "x" * 10_000}

    for number in range(2000):
        status.renew(partial(said, number))
    closer = threading.Thread(target=status.close)
    closer.start()
    numbers = []
    while closer.is_alive():
        if file.exists():
            numbers.append(json.loads(file.read_text())["number"])
    closer.join(10)
    assert numbers == sorted(numbers)
    assert json.loads(file.read_text())["number"] == 1999

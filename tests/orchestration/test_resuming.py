"""A run that was killed goes on where it would be now."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.clock import SystemClock
from pysys_orch.orchestration.calls import Inline
from pysys_orch.orchestration.events import Library
from pysys_orch.orchestration.journal import JOURNAL
from pysys_orch.orchestration.resuming import Line, Resumed, resume
from pysys_orch.orchestration.review import review, words
from pysys_orch.orchestration.session import Session, Surroundings
from pysys_orch.testing import ManualClock
from tests.orchestration.stage import Stage, draft, library, simulate


def nothing() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    "event",
    [
        {"interval_sec": [0.5, 2]},
        {"interval_sec": [0.5, 2], "count": 60},
        {"rate_per_sec": 3},
        {"rate_per_sec": 1, "distribution": "poisson"},
        {"interval_sec": 1, "jitter_sec": 0.9},
    ],
    ids=repr,
)
def test_what_fires_is_what_would_have_fired(
    tmp_path: Path, event: dict[str, Any]
) -> None:
    """What is random, too: what was fired is not missed, and what is left comes."""
    functions = library(nothing)
    said = ({"name": "nothing", **event},)
    whole = simulate(tmp_path, functions, *said, duration=100)
    file = tmp_path / JOURNAL
    lines = file.read_text().splitlines(keepends=True)
    dues = [each["due"] for each in whole.lines]
    described = draft(*said, duration=100)
    now = ManualClock().stamp() + timedelta(seconds=60)
    for fired in range(20, 30):
        file.write_text("".join(lines[: fired + 1]))
        gap = [each for each in dues[fired:] if each < 60]
        missed = resume(tmp_path, described.checked(), now).missed
        assert missed == {"nothing": len(gap)}

    resumed = resume(tmp_path, described.checked(), now)
    journal = tmp_path / "rest.jsonl"
    clock = ManualClock(instant=60.0, stamp=now)
    around = Surroundings(
        clock=clock, seed=2, journal=journal, workers=Inline(clock), resumed=resumed
    )
    rest = Stage(Session(described, functions).run(around), journal)
    left = [each for each in whole.lines if each["due"] >= 60]
    keys = ("due", "ordinal", "kind")
    assert [
        [each[key] for key in keys] for each in rest.lines if each["due"] >= 60
    ] == [[each[key] for key in keys] for each in left]


def cut(folder: Path, number: int) -> None:
    """Have a run be killed when its journal had so many lines."""
    file = folder / JOURNAL
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:number]))


def go_on(
    first: Path, second: Path, functions: Library, *events: Any, at: float, **keys: Any
) -> Stage:
    """Go on with the run in the first folder in the second one, after so long."""
    now = ManualClock().stamp() + timedelta(seconds=at)
    said = draft(*events, **keys)
    resumed = resume(first, said.checked(), now)
    clock = ManualClock(instant=at, stamp=now)
    second.mkdir(exist_ok=True)
    journal = second / JOURNAL
    around = Surroundings(
        clock=clock, seed=2, journal=journal, workers=Inline(clock), resumed=resumed
    )
    return Stage(Session(said, functions).run(around), journal)


def once() -> Callable[[], None]:
    """Return what fails the first time."""
    left = [RuntimeError("once")]

    def flaky() -> None:
        if left:
            raise left.pop()

    return flaky


def test_a_failure_fails_the_test_however_often_it_was_killed(tmp_path: Path) -> None:
    """Each journal has all that was before, and is enough to go on from."""
    functions, event = library(flaky=once()), {"name": "flaky", "interval_sec": 1}
    simulate(tmp_path, functions, event, duration=100)
    cut(tmp_path, 10)
    folders, fired = [tmp_path, tmp_path / "b", tmp_path / "c"], []
    for number, (first, second) in enumerate(pairwise(folders), 1):
        stage = go_on(
            first, second, functions, event, at=number * 20.0 + 0.5, duration=100
        )
        assert stage.reasons == [
            "FAILED: flaky failed after 0.000 s: RuntimeError: once"
        ]
        fired.append(stage.report.tallies[0].fired)
        cut(second, 20)
        assert [each.name for each in second.iterdir() if each.suffix == ".new"] == []
    # What was until each kill, and what is left after twenty seconds, and forty.
    assert fired == [9 + 79, 19 + 59]
    # The report tells of it, too.
    ordinals = [each["ordinal"] for each in review(folders[2]).lines]
    assert ordinals[:10] == [*range(1, 10), 22]
    assert review(folders[2]).tallies[0].failed == 1


def test_two_events_of_one_name_have_what_is_theirs(tmp_path: Path) -> None:
    """What the second one did before the kill is not put down to the first one."""
    events: list[Mapping[str, Any]] = [
        {"name": "flaky", "start_after": 5, "on_failure": "ignore"},
        {"name": "flaky"},
        {"name": "nothing", "interval_sec": 1},
    ]
    functions = library(nothing, flaky=once())
    simulate(tmp_path, functions, *events, duration=100)
    cut(tmp_path, 4)
    stage = go_on(tmp_path, tmp_path / "b", functions, *events, at=20, duration=100)
    assert [each.failed for each in stage.report.tallies] == [0, 1, 0]
    assert stage.reasons == ["FAILED: flaky failed after 0.000 s: RuntimeError: once"]
    assert "index" not in stage.of("nothing")[0]


KILLED = """
import sys
from pathlib import Path

from tests.orchestration.stage import library, play


def freeze():
    print("frozen", flush=True)
    sys.stdin.read()


def thaw():
    ...


fault = {"name": "freeze", "duration_sec": 5, "undo": "thaw"}
play(Path(sys.argv[1]), library(freeze, thaw), fault, duration=3600)
"""


def test_a_fault_that_was_being_made_is_undone(tmp_path: Path) -> None:
    """A killed run leaves that it was begun, though not how that would have ended."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=root,
    )
    with process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"frozen\n"
        finally:
            process.kill()
    fault = {"name": "freeze", "duration_sec": 5, "undo": "thaw"}
    described = draft(fault, duration=3600)
    found = resume(tmp_path, described.checked(), SystemClock().stamp())
    assert found.in_force == {0: [1]}
    # It is no firing that somebody could add up.
    assert review(tmp_path).lines == []
    assert next(words(review(tmp_path))).endswith("it was killed")


HEAD = {
    "orchestration": "stage",
    "begin": ManualClock().stamp().isoformat(),
    "since": 0.0,
    "total": 100.0,
    "seed": 1,
}


def line(name: str, ordinal: int, kind: str = "scheduled", **more: Any) -> Line:
    """Return what a journal says of a firing that took half a second."""
    times = {"due": 1.0, "started": 1.0, "ended": 1.5, "lateness": 0.0}
    said = {"event": name, "ordinal": ordinal, "kind": kind, **times}
    return {**said, "outcome": "ok", "worker": "w", **more}


def begun(name: str, ordinal: int) -> Line:
    """Return what a journal says of a fault that is being made."""
    kind = "scheduled"
    return {"event": name, "ordinal": ordinal, "kind": kind, "due": 1.0, "begun": 1.0}


def resumed_from(folder: Path, *lines: Any, events: Sequence[Any]) -> Resumed:
    (folder / JOURNAL).write_text("".join(f"{json.dumps(e)}\n" for e in (HEAD, *lines)))
    described = draft(*events, duration=100).checked()
    return resume(folder, described, ManualClock().stamp() + timedelta(seconds=50))


NEVER: dict[str, Any] = {"started": None, "ended": None, "lateness": None}
BARELY: dict[str, Any] = {"started": 1.0, "ended": 1.000004}


@pytest.mark.parametrize(
    ("lines", "ordinals"),
    [
        ([line("cut", 1)], [1]),
        ([begun("cut", 1)], [1]),
        ([begun("cut", 1), line("cut", 1)], [1]),
        ([begun("cut", 1), line("cut", 1, outcome="failed", error="no")], [1]),
        ([line("cut", 1), line("cut", 1, "undo")], []),
        ([line("cut", 1), line("cut", 1, "undo"), begun("cut", 2)], [2]),
        ([begun("cut", 1), begun("cut", 2), line("cut", 1, "undo")], [2]),
        ([begun("cut", 1), begun("cut", 2)], [2, 1]),
        # An undo that the run did not come to.
        ([begun("cut", 1), line("cut", 1, "undo", **NEVER, outcome="cancelled")], [1]),
        # What was never applied.
        ([line("cut", 1, outcome="dropped")], []),
        ([line("cut", 1, outcome="cancelled", **NEVER)], []),
        ([line("cut", 1, outcome="cancelled", **BARELY)], []),
        ([line("cut", 1, outcome="skipped", **NEVER)], []),
        ([line("cut", 1, outcome="cancelled")], [1]),
        # Of other events there is nothing to undo.
        ([line("nothing", 1), line("gone", 1)], []),
    ],
)
def test_a_fault_is_in_force_if_it_was_begun_and_not_undone(
    tmp_path: Path, lines: Sequence[Any], ordinals: Sequence[int]
) -> None:
    """Each one by itself, the last one first."""
    fault = {"name": "cut", "interval_sec": 9, "duration_sec": 5, "undo": "heal"}
    found = resumed_from(tmp_path, *lines, events=[fault, "nothing"])
    assert found.in_force == ({0: ordinals} if ordinals else {})


def test_faults_in_force_are_undone_first(tmp_path: Path) -> None:
    """Each of them, the last one first, and each once however often it was killed."""
    fault = {"name": "cut", "duration_sec": 60, "undo": "heal", "interval_sec": 70}
    events = [fault, {"name": "nothing", "interval_sec": 1}]
    functions = library(nothing, cut=nothing, heal=nothing)
    (tmp_path / JOURNAL).write_text(
        "".join(f"{json.dumps(each)}\n" for each in (HEAD, begun("cut", 1)))
        + f"{json.dumps(begun('cut', 2))}\n"
    )
    stage = go_on(tmp_path, tmp_path / "b", functions, *events, at=20, duration=60)
    undone = [(each["kind"], each["ordinal"]) for each in stage.lines[:2]]
    assert undone == [("undo", 2), ("undo", 1)]
    cut(tmp_path / "b", 6)
    described = draft(*events, duration=60).checked()
    now = ManualClock().stamp() + timedelta(seconds=30)
    assert resume(tmp_path / "b", described, now).in_force == {}


def test_what_is_not_in_the_timeline_goes_on_counting(tmp_path: Path) -> None:
    """A count is that of the whole run."""
    users = {"name": "users", "closed": {"users": 1, "think_sec": 1}, "count": 9}
    found = resumed_from(
        tmp_path,
        line("tick", 7),
        line("then", 2, "after"),
        line("then", 1, "after"),
        line("users", 4),
        line("tick", 3, "resume"),
        events=[
            {"name": "tick", "at_resume": True},
            {"name": "then", "after": "tick"},
            users,
        ],
    )
    assert found.numbers == {0: 3, 1: 2, 2: 4}


def test_what_fires_after_another_fires_no_more_than_it_may(tmp_path: Path) -> None:
    """Before and after a kill together."""
    events = [
        {"name": "nothing", "interval_sec": 1},
        {"name": "few", "after": "nothing", "count": 5},
    ]
    functions = library(nothing, few=nothing)
    simulate(tmp_path, functions, *events, duration=100)
    cut(tmp_path, 7)
    stage = go_on(tmp_path, tmp_path / "b", functions, *events, at=50, duration=100)
    assert [each["ordinal"] for each in stage.of("few")] == [1, 2, 3, 4, 5]

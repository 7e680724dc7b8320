"""Events in processes of their own, or wherever an executor takes them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pysys_orch.errors import ConfigError
from pysys_orch.orchestration.events import Library, Source
from tests.orchestration import remote
from tests.orchestration.stage import library, play

LIBRARY = Library(sources=[Source("remote.py", remote)])


def pids(path: Path) -> list[int]:
    return [int(each) for each in path.read_text().split()] if path.exists() else []


def test_an_isolated_event_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Another one for each call."""
    file = tmp_path / "pids"
    event = {
        "name": "leave_pid",
        "interval_sec": 0.5,
        "isolation": "process",
        "params": {"path": str(file)},
    }
    stage = play(tmp_path, LIBRARY, event, duration=1.2)
    assert stage.reasons == []
    found = pids(file)
    assert len(set(found)) == len(found) >= 2
    assert os.getpid() not in found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("breaks", "ValueError: no"),
        ("coroutine", "ValueError: from a coroutine"),
        ("leaves", "RemoteError: its process ended with 3"),
        ("exits", "SystemExit: 4"),
    ],
)
def test_a_failure_comes_home(tmp_path: Path, name: str, words: str) -> None:
    """Whatever it was."""
    event = {"name": name, "isolation": "process", "grace_sec": 30}
    stage = play(tmp_path, LIBRARY, event, duration=0.1)
    (reason,) = stage.reasons
    assert reason.startswith(f"FAILED: {name} failed after 0.000 s: ")
    assert words in reason


def test_a_process_that_hangs_is_killed(tmp_path: Path) -> None:
    """When its time and its grace are over."""
    begin = time.monotonic()
    event = {
        "name": "hangs",
        "isolation": "process",
        "timeout_sec": 0.3,
        "grace_sec": 0.2,
    }
    stage = play(tmp_path, LIBRARY, event, duration=2)
    assert time.monotonic() - begin < 20
    assert stage.outcomes("hangs") == ["timed out"]
    (line,) = stage.of("hangs")
    assert line["ended"] is not None, "it was seen to end"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no groups here")
def test_what_a_process_has_started_is_killed_with_it(tmp_path: Path) -> None:
    """Nobody else knows of it."""
    file = tmp_path / "pid"
    event = {
        "name": "starts_another",
        "isolation": "process",
        "timeout_sec": 2,
        "grace_sec": 0.1,
        "params": {"path": str(file)},
    }
    stage = play(tmp_path, LIBRARY, event, duration=4)
    assert stage.outcomes("starts_another") == ["timed out"]
    pid = int(file.read_text())
    until = time.monotonic() + 20
    while _is_running(pid):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no groups here")
def test_a_process_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    """It is in a group of its own, where nobody else would find it."""
    file = tmp_path / "pid"
    program = (
        "from pathlib import Path;"
        "from pysys_orch.orchestration.events import Library, Source;"
        "from tests.orchestration import remote;"
        "from tests.orchestration.stage import play;"
        "play(Path(%r), Library(sources=[Source('remote.py', remote)]),"
        " {'name': 'starts_another', 'isolation': 'process',"
        "  'params': {'path': %r}}, duration=60)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program % (str(tmp_path), str(file))],
        cwd=Path(__file__).parents[2],
    )
    try:
        until = time.monotonic() + 30
        while not (file.exists() and file.read_text().strip()):
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        run.kill()
        run.wait()
    pid = int(file.read_text())
    while _is_running(pid):
        assert time.monotonic() < until
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for has ended."""
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_process_that_hangs_in_the_end_is_killed(tmp_path: Path) -> None:
    """It is not left behind."""
    event = {"name": "hangs", "isolation": "process", "grace_sec": 0.2}
    stage = play(tmp_path, LIBRARY, event, duration=1)
    assert stage.outcomes("hangs") == ["abandoned"]
    assert stage.of("hangs")[0]["ended"] is not None
    assert stage.reasons == ["TIMEDOUT: hangs had not ended 0.2 s after the run did"]


def test_a_kill_switch_reaches_another_process(tmp_path: Path) -> None:
    """Which can end in good order."""
    file = tmp_path / "pids"
    event = {"name": "waits", "isolation": "process", "params": {"path": str(file)}}
    stage = play(tmp_path, LIBRARY, event, duration=1)
    assert stage.outcomes("waits") == ["ok"]
    assert len(pids(file)) == 1


def test_a_kill_switch_can_be_set_from_another_process(tmp_path: Path) -> None:
    """It ends the run."""
    begin = time.monotonic()
    event = {"name": "pulls", "isolation": "process"}
    stage = play(tmp_path, LIBRARY, event, duration=60)
    assert time.monotonic() - begin < 30
    assert stage.tail["why"] == "its kill switch was set"


def test_what_another_process_reports_arrives(tmp_path: Path) -> None:
    """It is not lost, also if it comes last."""
    event = {
        "name": "reports",
        "isolation": "process",
        "at_startup": False,
        "at_teardown": True,
    }
    stage = play(tmp_path, LIBRARY, event, duration=0.1)
    (reason,) = stage.reasons
    assert reason.startswith("FAILED: an error was reported: from ")


@pytest.mark.parametrize(
    ("executor", "is_here"), [("processes", False), (f"{remote.__name__}:pool", True)]
)
def test_an_executor_makes_the_calls(
    tmp_path: Path, executor: str, *, is_here: bool
) -> None:
    """One that comes with it, or one of the user's own."""
    file = tmp_path / "pids"
    stage = play(
        tmp_path,
        LIBRARY,
        {"name": "leave_pid", "interval_sec": 0.5, "params": {"path": str(file)}},
        {"name": "breaks", "on_failure": "ignore"},
        duration=1.4,
        executor=executor,
        max_workers=2,
    )
    assert stage.reasons == []
    assert stage.outcomes("breaks") == ["failed"]
    found = pids(file)
    assert len(found) >= 2
    assert (os.getpid() in found) is is_here


def test_what_cannot_go_to_another_process_is_told(tmp_path: Path) -> None:
    """A function that is in no module before anything runs, and so are arguments."""

    def local() -> None: ...

    event = {"name": "local", "isolation": "process"}
    with pytest.raises(ConfigError, match="local cannot run in another process: only"):
        play(tmp_path, library(local), event)
    with pytest.raises(ConfigError, match="its argument 'path' cannot be pickled"):
        play(
            tmp_path,
            LIBRARY,
            {"name": "leave_pid", "isolation": "process", "params": {"path": local}},
        )

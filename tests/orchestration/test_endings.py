"""Whatever cannot be done, the rest of an end is."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from pysys_orch.clock import SystemClock
from pysys_orch.orchestration.fixtures import fixture
from pysys_orch.orchestration.resuming import Resumed
from pysys_orch.orchestration.session import Session, Surroundings
from tests.orchestration import remote
from tests.orchestration.stage import draft, library, play

_LONG = 30.0


def test_a_teardown_event_that_cannot_be_begun_keeps_none_from_it(
    tmp_path: Path,
) -> None:
    """Its failure is its own: here, it has got what no other process can be given."""
    box: dict[str, object] = {}
    done: list[str] = []

    def spoil() -> None:
        box["lock"] = threading.Lock()

    def tidy() -> None:
        done.append("tidy")

    stage = play(
        tmp_path,
        library(spoil, tidy, fixture(name="box")(lambda: box), takes=remote.takes),
        "spoil",
        {
            "name": "takes",
            "isolation": "process",
            "at_startup": False,
            "at_teardown": True,
        },
        {"name": "tidy", "at_startup": False, "at_teardown": True},
        duration=0.2,
    )
    assert done == ["tidy"]
    assert stage.outcomes("takes") == ["failed"]
    (reason,) = stage.reasons
    assert "its argument 'box' cannot be pickled" in reason


def test_a_firing_that_cannot_be_begun_ends_no_run(tmp_path: Path) -> None:
    """It fails, and all others go on."""
    box: dict[str, object] = {}

    def spoil() -> None:
        box["lock"] = threading.Lock()

    stage = play(
        tmp_path,
        library(spoil, fixture(name="box")(lambda: box), takes=remote.takes),
        "spoil",
        {
            "name": "takes",
            "isolation": "process",
            "at_startup": False,
            "interval_sec": 0.3,
        },
        duration=0.8,
    )
    assert stage.outcomes("takes") == ["failed", "failed"]
    assert stage.tail["why"] == "its time was over"


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there is no such file here")
def test_a_fault_is_undone_where_no_more_files_can_be_opened(tmp_path: Path) -> None:
    """A leak in what is tested is not to leave a fault in force."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    hogs: list[int] = []
    done: list[str] = []

    def hog() -> None:
        try:
            while True:
                hogs.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass

    def fault() -> None:
        pass

    def undo() -> None:
        done.append("undo")

    def tidy() -> None:
        done.append("tidy")

    resource.setrlimit(resource.RLIMIT_NOFILE, (400, limits[1]))
    try:
        stage = play(
            tmp_path,
            library(hog, fault, undo, tidy),
            {"name": "fault", "duration_sec": 60, "undo": "undo"},
            "hog",
            {"name": "tidy", "at_startup": False, "at_teardown": True},
            duration=0.5,
        )
    finally:
        for each in hogs:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert done == ["undo", "tidy"]
    assert stage.reasons == []


@pytest.mark.parametrize("_", range(3))
def test_nothing_begins_once_an_event_has_stopped_the_run(
    tmp_path: Path, _: int
) -> None:
    """Not what waits for it, what is to follow it, nor what is queued."""
    begun: list[str] = []

    def server() -> None:
        time.sleep(0.1)
        raise RuntimeError("no port")

    def client() -> None:
        begun.append("client")

    def follower() -> None:
        begun.append("follower")

    stage = play(
        tmp_path,
        library(server, client, follower),
        {"name": "server", "wait": True, "on_failure": "stop"},
        "client",
        {"name": "follower", "after": {"event": "server", "on": "failure"}},
        duration=5,
    )
    assert begun == []
    assert stage.outcomes("client") == ["cancelled"]
    assert stage.outcomes("follower") == ["cancelled"]
    assert any("no port" in each for each in stage.reasons)


def test_processes_that_were_never_begun_are_not_waited_for(tmp_path: Path) -> None:
    """Nor do they count as timed out: nothing was done."""
    hung = threading.Event()

    def hang() -> None:
        hung.wait(_LONG)

    begin = time.monotonic()
    stage = play(
        tmp_path,
        library(hang, breaks=remote.breaks),
        {"name": "hang", "grace_sec": 1, "on_failure": "ignore"},
        {
            "name": "breaks",
            "isolation": "process",
            "overlap": "parallel",
            "interval_sec": 0.1,
            "grace_sec": 0.1,
            "at_startup": False,
        },
        max_workers=1,
        duration=0.55,
    )
    took = time.monotonic() - begin
    hung.set()
    assert took < 6
    assert stage.outcomes("breaks") == ["cancelled"] * 5


class TestResumedUsers:
    """Users go on when a run does."""

    def resumed(self, description: dict[str, object], since: float) -> tuple[int, int]:
        """Return how many calls there were, and how many at once, in a second."""
        lock, running, most, calls = threading.Lock(), [0], [0], [0]

        def ask() -> None:
            with lock:
                calls[0] += 1
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.05)
            with lock:
                running[0] -= 1

        clock = SystemClock()
        resumed = Resumed(
            begin=clock.stamp() - timedelta(seconds=since),
            since=since,
            last=since,
            seed=1,
            missed=Counter(),
        )
        described = draft({"name": "ask", **description}, duration=since + 1)
        session = Session(described, library(ask))
        session.run(Surroundings(clock=clock, seed=1, resumed=resumed))
        return calls[0], most[0]

    def test_there_are_as_many_as_before(self) -> None:
        """No more than are described."""
        closed = {"users": 5, "think_sec": 0.01}
        calls, most = self.resumed({"closed": closed}, 2.0)
        assert most == 5
        assert calls > 10

    def test_one_that_fires_at_resume_is_no_user(self) -> None:
        """It is made once, beside them."""
        closed = {"users": 1, "think_sec": 0.3}
        calls, _ = self.resumed({"closed": closed, "at_resume": True}, 2.0)
        # In a second, a user who takes 0.35 s calls three times.
        assert 3 <= calls <= 4

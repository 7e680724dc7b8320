"""A run that is killed outright leaves nothing, and no other run notices."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import (
    MARKER_VARIABLE,
    Owner,
    owner_labels,
    owner_of,
    resource_name,
    start_of_process,
    this_domain,
)
from tests.conftest import BUSYBOX
from tests.docker.owned import eventually, remove_all

pytestmark = [pytest.mark.docker, pytest.mark.engine20]

PROGRAM = Path(__file__).with_name("a_run.py")
GONE_WITHIN = 5.0  # on a machine that has nothing else to do
PATIENCE = 60.0  # for what has no promise on its time


def gone_within() -> float:
    """Return how many seconds it may take until nothing is left.

    The engine's work takes longer on a machine that others keep busy.
    """
    return GONE_WITHIN * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Run:
    """A process that owns things on an engine, as a ``pysys run`` does."""

    def __init__(
        self, engine: ApiEngine, folder: Path, undo: ExitStack, host: str
    ) -> None:
        self._engine = engine
        self._undo = undo
        self._log = folder / "reaper.log"
        [reachable] = engine.client_address().values()
        self._process = subprocess.Popen(
            [sys.executable, "-P", PROGRAM, self._log, reachable, BUSYBOX],
            env={
                **os.environ,
                "DOCKER_HOST": host or reachable,
                "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        undo.callback(self._end)
        told = self.tell("who")
        owner = Owner.parse(told["owner"])
        assert owner is not None
        self.owner = owner
        self.reaper = self.process(told["reaper"])

    def tell(self, *words: str) -> Any:  # noqa: ANN401 -- JSON
        """Have it do something, and return what it answers."""
        self.order(*words)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready, f"no answer to {words}"
        line = self._process.stdout.readline()
        assert line, f"it died of {words}: {self.log()}"
        return json.loads(line)

    def order(self, *words: str) -> None:
        """Have it do something that it will not live to answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def wait(self) -> None:
        """Wait for its own end."""
        self._process.wait(PATIENCE)

    def process(self, pid: int) -> Process:
        """Return a process of its making, which ends with the test at the latest."""
        process = Process(pid)
        self._undo.callback(process.end)
        return process

    def owns(self) -> set[str]:
        """Return the names of all that it has on the engine."""
        listing = self._engine.listing()
        return {each.resource.name for each in listing if owner_of(each) == self.owner}

    def log(self) -> str:
        """Return what the reaper has written."""
        return self._log.read_text()

    def require_all_gone(self) -> None:
        """Fail unless nothing is left in time."""
        eventually(
            lambda: not self.owns(),
            what=f"nothing of {self.owner.key} is left",
            timeout=gone_within(),
            explain=lambda: f"{self.owns()}, the reaper says: {self.log()}",
        )

    def _end(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class Process:
    """A process that is no child of ours, whose number cannot become another's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)

    def ended(self, timeout: float = 0.0) -> bool:
        """Return whether it has ended, or does so in time."""
        ready, _, _ = select.select([self._handle], [], [], timeout)
        return bool(ready)

    def end(self) -> None:
        """End it."""
        if not self.ended():
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            assert self.ended(PATIENCE)
        os.close(self._handle)


Start = Callable[..., Run]


@pytest.fixture
def start(engine: ApiEngine, tmp_path: Path) -> Iterator[Start]:
    """Return what starts a run; at the end, all that it started ends."""
    with ExitStack() as undo:

        def begin(host: str = "") -> Run:
            run = Run(engine, tmp_path, undo, host)
            runs.append(run)
            return run

        runs: list[Run] = []
        yield begin
    for run in runs:
        remove_all(engine, run.owner)


@pytest.fixture
def killed(start: Start) -> Run:
    """Return a run that made one thing of each kind, and was killed then."""
    run = start()
    names = set(run.tell("make")["names"])
    assert run.owns() == names
    run.kill()
    return run


def test_all_that_a_killed_run_had_is_gone_in_time(killed: Run) -> None:
    """Nobody has to run anything again, or to clean up by hand."""
    killed.require_all_gone()
    assert killed.reaper.ended(PATIENCE), "the reaper goes when its work is done"
    assert killed.log().count(" removed ") == 4


def test_what_others_have_stays(start: Start, engine: ApiEngine, owner: Owner) -> None:
    """Neither a living run nor a person notices that another run was killed."""
    number = os.getpid()
    volumes = {
        "a living run's": resource_name(owner, "t", "volume", number),
        "a person's": f"po-cafe01-volume-{number}",
        "one that looks like ours": f"poabcd-{owner.scope}-{number}-volume",
    }
    for name in volumes.values():
        engine.create_volume(name, {})
    run = start()
    run.tell("make")
    run.kill()
    try:
        run.require_all_gone()
        assert run.reaper.ended(PATIENCE)
        assert {each.resource.name for each in engine.listing()} >= set(
            volumes.values()
        )
    finally:
        for name in volumes.values():
            engine.remove(Resource(kind=Kind.VOLUME, id=name, name=name))


def test_what_was_to_be_kept_stays(start: Start) -> None:
    """Who asked for a failed test's things can look at them after a kill as well."""
    run = start()
    kept = set(run.tell("make", "keep")["names"])
    run.kill()
    assert run.reaper.ended(PATIENCE)
    assert run.owns() == kept


def test_what_is_made_after_the_end_of_a_run_is_gone_as_well(
    killed: Run, engine: ApiEngine
) -> None:
    """What an engine was asked for it finishes, even when the asker is dead."""
    killed.require_all_gone()
    labels = owner_labels(killed.owner, test_id="t", lease=300, facts={}, keep=False)
    engine.create_volume(resource_name(killed.owner, "t", "late", 9), labels)
    killed.require_all_gone()


def test_a_run_that_dies_at_once_is_noticed(start: Start) -> None:
    """Its reaper may still be starting then."""
    run = start()
    run.tell("make")
    run.order("die")
    run.wait()
    run.require_all_gone()


def test_a_child_that_lives_on_does_not_hide_that_its_run_died(start: Start) -> None:
    """It may hold everything that the run had open."""
    run = start()
    child = run.process(run.tell("fork")["pid"])
    run.tell("make")
    run.kill()
    run.require_all_gone()
    assert not child.ended()


def test_a_reaper_that_was_dismissed_leaves_everything_and_goes(start: Start) -> None:
    """A run that ends well has cleaned up as it saw fit."""
    run = start()
    names = set(run.tell("make")["names"])
    assert run.tell("dismiss") == {"status": 0}
    assert run.reaper.ended()
    assert run.owns() == names
    assert run.log() == ""


@pytest.mark.parametrize("when", ["at work", "starting"])
def test_who_cancels_a_job_does_not_cancel_its_reaper(start: Start, when: str) -> None:
    """Signals for the run reach all its processes, and the run may then be killed."""
    run = start()
    if when == "at work":
        run.tell("report")
    run.tell("terminate")
    run.tell("make")
    run.kill()
    run.require_all_gone()
    # It writes once it is done with all.
    eventually(lambda: " removed " in run.log(), what="the reaper says so")


def test_docker_clients_of_a_killed_run_end(start: Start, owner: Owner) -> None:
    """They would go on asking the engine for things; a living run's client stays."""
    run = start()
    client = run.process(run.tell("client")["pid"])
    with subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, env={**os.environ, MARKER_VARIABLE: owner.key}
    ) as others:
        run.kill()
        assert client.ended(gone_within())
        assert run.reaper.ended(PATIENCE)
        assert others.poll() is None


def test_every_engine_that_a_run_used_is_cleaned(
    start: Start, engine: ApiEngine, tmp_path: Path
) -> None:
    """One that does not answer does not protect what is on another."""
    run = start(f"unix://{tmp_path}/missing.sock")
    [reachable] = engine.client_address().values()
    run.tell("watch", reachable)
    run.tell("make")
    run.kill()
    run.require_all_gone()
    assert "missing.sock" in run.log()


def test_an_address_that_makes_no_sense_does_not_stop_a_reaper(start: Start) -> None:
    """A context may be gone by the time it is needed."""
    run = start()
    run.tell("watch", "nonsense")
    run.tell("make")
    run.kill()
    run.require_all_gone()
    eventually(
        lambda: run.log().count("DOCKER_HOST=nonsense is no address") > 2,
        what="the reaper goes on looking",
        explain=run.log,
    )
    assert "Traceback" not in run.log()


def test_a_run_s_last_words_count(
    start: Start, engine: ApiEngine, tmp_path: Path
) -> None:
    """An engine that it used just before it died is cleaned, however slow we were."""
    run = start(f"unix://{tmp_path}/missing.sock")
    [reachable] = engine.client_address().values()
    os.kill(run.reaper.pid, signal.SIGSTOP)
    run.tell("make")
    run.tell("watch", reachable)
    run.kill()
    os.kill(run.reaper.pid, signal.SIGCONT)
    run.require_all_gone()


def test_the_leftovers_of_dead_runs_are_collected_at_the_start(
    start: Start, engine: ApiEngine
) -> None:
    """What a reaper could not do, because it was killed too, the next one does."""
    instant = round(SystemClock().stamp().timestamp() * 1000)
    dead = Owner(scope=this_domain().scope, pid=2**22 + 1, start=instant)
    assert start_of_process(dead.pid) is None
    labels = owner_labels(dead, test_id="t", lease=300, facts={}, keep=False)
    name = resource_name(dead, "t", "volume", 0)
    engine.create_volume(name, labels)
    run = start()
    report = run.tell("report")
    assert set(report) == {"removed", "failures"}
    assert name not in {each.resource.name for each in engine.listing()}
    assert run.tell("dismiss") == {"status": 0}


def test_without_an_engine_the_report_says_so(start: Start, tmp_path: Path) -> None:
    """A run that needs no Docker goes on, and who needs it reads why."""
    host = f"unix://{tmp_path}/missing.sock"
    run = start(host)
    report = run.tell("report")
    assert report["removed"] == []
    assert [words.partition(" (")[0] for words in report["failures"]] == [
        f"no Docker Engine answers at {host}"
    ]
    assert run.tell("dismiss") == {"status": 0}

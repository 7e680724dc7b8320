"""A run that is told to end, ends: soon, with nothing left, and not as a success."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.ownership import Owner, start_of_process
from tests.conftest import BUSYBOX
from tests.docker.owned import (
    Belongings,
    busy_project,
    docker,
    eventually,
    names_of,
    owned_by,
    passing_owner,
    reaper_of,
    remove_all,
    running,
)
from tests.nested import NestedProject

ENDS_WITHIN = 10.0
MOMENTS = 6
LATEST_MOMENT = 4.0
SEED = 20261121
SIGNALS = [signal.SIGINT, signal.SIGTERM]
#: No other process of this machine sleeps for so long.
LONG = f"6{os.getpid()}"

#: What a test may be in the middle of. Each says when it is there.
MIDDLE = {
    "waits_for_a_port": f"""
        container = self.docker.container('{BUSYBOX}', 'mute', ports=[8080])
        container.run(['sleep', '{LONG}']).log('mute')
        pathlib.Path(self.input, 'there').touch()
        container.waitForPort(8080, timeout=600)
        """,
    "waits_for_a_line": f"""
        container = self.docker.container('{BUSYBOX}', 'mute')
        container.run(['sleep', '{LONG}'])
        pathlib.Path(self.input, 'there').touch()
        container.waitForLog('never', timeout=600)
        """,
    "builds": """
        self.docker.image(dockerfile='Dockerfile', noCache=True)
        """,
    "runs_in_the_foreground": f"""
        command = ['sh', '-c', 'echo there; sleep {LONG}']
        self.docker.container('{BUSYBOX}', 'fore').run(command, foreground=True)
        """,
    "executes": f"""
        container = self.docker.container('{BUSYBOX}').run(['sleep', '{LONG}'])
        container.exec(['sh', '-c', 'echo there; sleep {LONG}'])
        """,
    "stops": f"""
        container = self.docker.container('{BUSYBOX}').run(['sleep', '{LONG}'])
        pathlib.Path(self.input, 'there').touch()
        container.stop(timeout=600)  # which the first process of a container ignores
        """,
    "logs_much": f"""
        container = self.docker.container('{BUSYBOX}').run(['yes', 'x' * 100])
        container.log('yes')
        pathlib.Path(self.input, 'there').touch()
        container.waitForExit(timeout=600)
        """,
    "cleans_up": f"""
        import threading
        for number in range(3):
            container = self.docker.container('{BUSYBOX}')
            container.run(['sleep', '{LONG}']).log(f'c{{number}}')
        def hold():
            pathlib.Path(self.input, 'there').touch()
            while not pathlib.Path(self.input, 'go').exists():
                threading.Event().wait(0.01)
        self.addCleanupFunction(hold)
        """,
}
MIDDLE["builds_as_of_old"] = MIDDLE["builds"]
#: What four threads are in the middle of.
FOUR = ("waits_for_a_port", "builds", "runs_in_the_foreground", "cleans_up")
SLEEPS = f"FROM {BUSYBOX}\nRUN echo there && sleep {LONG}\n"


def is_there(folder: Path) -> bool:
    """Return whether the test in this folder has got to its middle."""
    if (folder / "there").exists():
        return True
    files = [file for file in (folder / "Output").rglob("*") if file.is_file()]
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    return any(line.endswith(b"there") for line in lines)


def wait_until_there(
    nested: NestedProject, process: subprocess.Popen[str], middle: str
) -> None:
    """Wait until a test has got to its middle."""

    def look() -> bool:
        there = is_there(nested.folder / middle)
        assert there or process.poll() is None, nested.said()
        return there

    eventually(look, what=f"{middle} is there", explain=nested.said)


def remains() -> list[str]:
    """Return what still sleeps, in a container or in a step of a build."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if LONG.encode() in words[-3:]:
            found.append(b" ".join(words).decode())
    listed = docker("ps", "--all", "--no-trunc", "--format", "{{.Command}}")
    return found + [line for line in listed.splitlines() if LONG in line]


def project(folder: Path, *middles: str) -> NestedProject:
    """Return a project of tests that get into the middle of something."""
    made = NestedProject(folder)
    for middle in middles:
        made.test(middle, MIDDLE[middle], Dockerfile=SLEEPS)
    return made


def end(process: subprocess.Popen[str], number: signal.Signals) -> float:
    """Ask a run to end, as a terminal or a CI system does; return when."""
    at = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    return at


def require_good_end(
    nested: NestedProject, process: subprocess.Popen[str], asked: float
) -> None:
    """Assert that a run ends in time, as a failure, and says so in a decent way."""
    try:
        status = process.wait(max(0.0, asked + ENDS_WITHIN - time.monotonic()))
    except subprocess.TimeoutExpired:
        pytest.fail(f"no end within {ENDS_WITHIN} s:\n{nested.said()}")
    said = nested.said()
    assert status not in {0, 200}, said
    assert "Traceback (most recent call last)" not in said, said
    assert "(most recent call first)" not in said, said


@pytest.mark.docker
@pytest.mark.parametrize("number", SIGNALS, ids=lambda each: each.name)
@pytest.mark.parametrize("middle", MIDDLE)
def test_a_single_test_that_is_told_to_end_leaves_nothing(
    engine: ApiEngine, tmp_path: Path, middle: str, number: signal.Signals
) -> None:
    """Ctrl+C never means ten minutes of waiting, nor a container that stays."""
    nested = project(tmp_path, middle)
    builder = {"DOCKER_BUILDKIT": "0"} if middle == "builds_as_of_old" else {}
    with running(nested, "-j1", environment=builder) as (process, owner):
        wait_until_there(nested, process, middle)
        asked = end(process, number)
        (tmp_path / middle / "go").touch()
        require_good_end(nested, process, asked)
    assert owned_by(engine, owner) == []
    # A build ends on the engine a moment after its client.
    eventually(lambda: not remains(), what="nothing sleeps", explain=remains)


@pytest.mark.docker
@pytest.mark.parametrize("number", SIGNALS, ids=lambda each: each.name)
def test_many_tests_that_are_told_to_end_leave_nothing(
    engine: ApiEngine, tmp_path: Path, number: signal.Signals
) -> None:
    """What one thread is in the middle of does not keep another one from ending."""
    nested = project(tmp_path, *FOUR)
    with running(nested, "-j4") as (process, owner):
        for middle in FOUR:
            wait_until_there(nested, process, middle)
        asked = end(process, number)
        (tmp_path / "cleans_up" / "go").touch()
        require_good_end(nested, process, asked)
    assert owned_by(engine, owner) == []
    eventually(lambda: not remains(), what="nothing sleeps", explain=remains)


@pytest.mark.docker
@pytest.mark.parametrize("number", SIGNALS, ids=lambda each: each.name)
def test_an_aborted_run_is_no_success_though_all_that_ran_has_passed(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A CI job that was cancelled is never green."""
    nested = NestedProject(tmp_path)
    nested.test(
        "first",
        """
        import threading
        pathlib.Path(self.input, 'there').touch()
        while not pathlib.Path(self.input, 'go').exists():
            threading.Event().wait(0.01)
        """,
    )
    nested.test("second", "pass")
    with running(nested, "-j1") as (process, _):
        wait_until_there(nested, process, "first")
        asked = end(process, number)
        eventually(lambda: "termination" in nested.said(), what="it was heard")
        (tmp_path / "first" / "go").touch()
        require_good_end(nested, process, asked)
    results = nested.results()
    assert results["first"].outcome == "PASSED"
    assert "second" not in results
    assert "The run was aborted before its end" in nested.said()


@pytest.mark.docker
@pytest.mark.engine20
def test_a_run_that_is_told_to_end_does_not_wait_for_its_reaper(
    engine: ApiEngine, owner: Owner, tmp_path: Path
) -> None:
    """Whoever wants to go home need not tidy up after others first."""
    with passing_owner() as dead:
        things = Belongings(engine, dead)
        volume, network = things.volume(), things.network()
        # What is in use is tried again and again.
        options = [f"--volume={volume}:/data", f"--network={network}"]
        Belongings(engine, owner).run(BUSYBOX, "sleep", "600", options=options)
    nested = project(tmp_path, "waits_for_a_port")
    try:
        with running(nested) as (process, _):
            reaper = reaper_of(process.pid)
            wait_until_there(nested, process, "waits_for_a_port")
            require_good_end(nested, process, end(process, signal.SIGINT))
        assert start_of_process(reaper) is None
        assert {volume, network} == names_of(engine, dead)
    finally:
        remove_all(engine, owner)
        remove_all(engine, dead)


@pytest.mark.docker
@pytest.mark.engine20
def test_a_run_that_is_told_to_end_at_any_moment_leaves_nothing(
    engine: ApiEngine, tmp_path: Path
) -> None:
    """Nothing depends on what a run is doing when somebody has had enough of it."""
    generator = random.Random(SEED)
    for attempt in range(MOMENTS):
        moment = generator.uniform(0, LATEST_MOMENT)
        nested = busy_project(tmp_path / str(attempt))
        with running(nested, generator.choice(["-j1", "-j2"])) as (process, owner):
            reaper_of(process.pid)
            threading.Event().wait(moment)
            asked = end(process, generator.choice(SIGNALS))
            require_good_end(nested, process, asked)
        assert owned_by(engine, owner) == [], f"{moment} s: {nested.said()}"

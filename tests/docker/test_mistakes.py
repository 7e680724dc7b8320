"""What is wrong with networks, volumes, monitors and many containers is said."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.errors import NotFoundError
from tests.conftest import BUSYBOX
from tests.docker.owned import eventually, names_of, owned_by, running
from tests.nested import NestedProject, Result

WEB = f"self.docker.container('{BUSYBOX}', 'web')"
#: One that is there, and one that is not.
VOLUME = f"volume-of-mistakes-{os.getpid()}"
NO_VOLUME = f"no-volume-{os.getpid()}"
#: Of four containers the second cannot be made.
SEVERAL = f"""
    made = [self.docker.container('{BUSYBOX}', f'c{{n}}') for n in range(4)]
    made[1].mountVolume('no name', '/data')
    try:
        self.docker.runAll(made, cmd=['sleep', '600'], concurrency=1)
    finally:
        (pathlib.Path(self.input) / 'states').write_text(
            ' '.join(each.getState() or '-' for each in made)
        )
"""
#: Of three the second is of an image that is nowhere.
NOWHERE = "127.0.0.1:1/no-such/image:7"
ONE_NOWHERE = f"""
    images = ['{BUSYBOX}', '{NOWHERE}', '{BUSYBOX}']
    made = [self.docker.container(each, f'c{{{{n}}}}') for n, each in enumerate(images)]
    self.docker.runAll(made, cmd=['sleep', '600'], extraArgs={{}}, concurrency=1)
"""
#: What a test does, and the whole reason of its being BLOCKED.
MISTAKES: Mapping[str, tuple[str, str]] = {
    "subnet": (
        "self.docker.network(subnet='wide')",
        "a subnet is like '10.20.0.0/24', got 'wide': .*",
    ),
    "gateway": (
        "self.docker.network(gateway='10.1.2.3')",
        "the gateway 10.1.2.3 has to be in a subnet of the network: none is given",
    ),
    "no_network": (
        "DockerNetwork.fromExisting(self, 'no-such')",
        "there is no network no-such",
    ),
    "not_run": (
        f"self.docker.network().connect({WEB})",
        r"container web does not run: call run\(\) first",
    ),
    "address": (
        f"self.docker.network().connect({WEB}.run(['sleep', '9']), address='10.1.2.3')",
        "connect container po.* to network po.*: .*subnet.*",
    ),
    "size": (
        "self.docker.volume(size='big')",
        "the size of a volume has to be bytes, or like 64k, .* or 1.5g, got 'big'",
    ),
    "no_volume": (
        "DockerVolume.fromExisting(self, 'no-such')",
        "there is no volume no-such",
    ),
    "no_volume_to_mount": (
        f"{WEB}.mountVolume('{NO_VOLUME}', '/data').run()",
        f"mountVolume: there is no volume {NO_VOLUME}[^;]*; make one by self.docker.*",
    ),
    "no_volume_for_the_client": (
        f"{WEB}.mountVolume('{NO_VOLUME}', '/data').run(extraArgs=['--init'])",
        f"mountVolume: there is no volume {NO_VOLUME}.*",
    ),
    "nearly_a_volume": (
        f"{WEB}.mountVolume('{VOLUME[:-1]}', '/data').run()",
        f".* there is no volume {VOLUME[:-1]}, did you mean {VOLUME}[?]; .*",
    ),
    "folder_as_volume": (
        f"{WEB}.mountVolume('/tmp', '/data')",
        "mountVolume takes a volume or the name of one, got '/tmp': .*volumeFromHost.*",
    ),
    "relative": (
        f"{WEB}.mountVolume('v', 'data')",
        "mountVolume takes an absolute path in the container, got 'data'",
    ),
    "late_mount": (
        f"{WEB}.run(['true']).mountVolume('v', '/data')",
        "mountVolume: container web has been run already",
    ),
    "interval": (
        "self.docker.monitor(interval=0)",
        "the interval of a monitor is 0.1 s or more, got 0",
    ),
    "interval_as_text": (
        "self.docker.monitor(interval='often')",
        "the interval of a monitor has to be seconds, or a text .*, got 'often'",
    ),
    "short_interval_as_text": (
        "self.docker.monitor(interval='10ms')",
        "the interval of a monitor is 0.1 s or more, got '10ms'",
    ),
    "monitor_of_a_name": (
        "self.docker.monitor('web')",
        "monitor takes a list of containers, got 'web'",
    ),
    "monitor_of_a_network": (
        "self.docker.monitor([self.docker.network('net')])",
        "monitor takes a list of containers, got the DockerNetwork net among them",
    ),
    "run_of_one": (
        f"self.docker.runAll({WEB})",
        "runAll takes a list of containers, got the DockerContainer web",
    ),
    "run_of_names": (
        f"self.docker.runAll([{WEB}, 'x'])",
        "runAll takes a list of containers, got 'x' among them",
    ),
    "monitored_twice": (
        "self.docker.monitor().stop().start()",
        "monitor was stopped: make another monitor",
    ),
    "concurrency": (
        f"self.docker.runAll([{WEB}], concurrency=0)",
        "concurrency has to be 1 or more, got 0",
    ),
    "one_of_several": (
        SEVERAL,
        r"c1: mountVolume: there is no volume no name.*; 2 were not begun",
    ),
    "one_without_image": (
        ONE_NOWHERE.format([]),
        rf"c1: `docker pull {NOWHERE}` exited with 1: .*\); 1 was not begun",
    ),
    "one_without_image_for_the_client": (
        ONE_NOWHERE.format(["--init"]),
        rf"c1: `docker run {NOWHERE} as c1` exited with 125: .*\); 1 was not begun",
    ),
}
JOBS = f"""
    made = [self.docker.container('{BUSYBOX}', f'c{{n}}') for n in range(9)]
    self.docker.runAll(made, cmd=['sleep', '600'], foreground=True, concurrency=2)
"""


@pytest.fixture(scope="module")
def project(
    engine: ApiEngine, tmp_path_factory: pytest.TempPathFactory
) -> NestedProject:
    """Run each mistake as a test."""
    nested = NestedProject(tmp_path_factory.mktemp("mistakes"))
    for name, (body, _) in MISTAKES.items():
        nested.test(name, body)
    engine.create_volume(VOLUME, {})
    try:
        nested.run("--threads", "2")
    finally:
        engine.remove(Resource(kind=Kind.VOLUME, id=VOLUME, name=VOLUME))
    return nested


@pytest.fixture(scope="module")
def results(project: NestedProject) -> dict[str, Result]:
    """Return what became of them."""
    return project.results()


@pytest.mark.docker
@pytest.mark.parametrize("name", MISTAKES)
def test_a_reason_is_located_in_the_test(name: str, project: NestedProject) -> None:
    """And not where this package or PySys found it out."""
    located = re.compile(rf" \[\S*/{name}/pysystest\.py:\d+\]$", re.MULTILINE)
    assert located.search(project.said()), project.said()


@pytest.mark.docker
@pytest.mark.parametrize("name", MISTAKES)
def test_a_reason_says_what_is_wrong(name: str, results: dict[str, Result]) -> None:
    """One line names the value, and what it has to be."""
    assert results[name].outcome == "BLOCKED"
    assert re.fullmatch(MISTAKES[name][1], results[name].reason), results[name].reason


@pytest.mark.docker
@pytest.mark.usefixtures("results")
def test_of_several_no_more_are_begun_after_one_has_failed(
    project: NestedProject,
) -> None:
    """What was begun before it runs until the test's cleanup."""
    states = (project.folder / "one_of_several" / "states").read_text()
    assert states == "running - - -"


@pytest.mark.docker
@pytest.mark.usefixtures("results")
def test_a_volume_that_is_not_there_is_not_made(engine: ApiEngine) -> None:
    """It would stay on the engine, and the typing error with it."""
    with pytest.raises(NotFoundError):
        engine.inspect_volume(NO_VOLUME)


@pytest.mark.docker
def test_many_jobs_end_with_their_run(
    engine: ApiEngine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An interrupt waits for no job, and begins none."""
    nested = NestedProject(tmp_path_factory.mktemp("jobs"))
    nested.test("jobs", JOBS)
    with running(nested) as (process, owner):

        def begun() -> bool:
            return sum("-c" in each for each in names_of(engine, owner)) >= 2

        eventually(lambda: begun() or None, what="two jobs are there")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
        assert owned_by(engine, owner) == [], nested.said()

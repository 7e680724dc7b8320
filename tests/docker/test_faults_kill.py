"""A run that is killed leaves no fault in force on what is not its own."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind, Resource
from tests.conftest import BUSYBOX
from tests.docker.owned import docker, eventually, running
from tests.nested import NestedProject

pytestmark = [pytest.mark.docker, pytest.mark.engine20]

HEALED_WITHIN = 5.0
BODY = """
    web = DockerContainer.fromExisting(self, '{web}', own=False)
    other = DockerContainer.fromExisting(self, '{other}', own=False)
    faults = DockerFaults(self)
    faults.{call}.start()
    pathlib.Path(self.runner.output, 'disturbed').touch()
    self.pollWait(600)
"""
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Others:
    """Containers of somebody else, in a network of somebody else."""

    engine: ApiEngine
    network: str
    web: str
    other: str

    def found(self) -> Mapping[str, Any]:
        return self.engine.inspect_container(self.web)

    def address(self) -> str:
        networks = self.found()["NetworkSettings"]["Networks"]
        return str(networks[self.network]["IPAddress"])

    def answers_within(self, seconds: float) -> bool:
        begin = time.monotonic()
        try:
            with socket.create_connection((self.address(), 80), timeout=seconds):
                return time.monotonic() - begin < seconds
        except (OSError, KeyError):
            return False

    def is_reached(self) -> bool:
        command = ["docker", "exec", self.other, "ping", "-c", "1", "-W", "1"]
        return not subprocess.run(
            [*command, self.address()], capture_output=True, timeout=30, check=False
        ).returncode

    def can_write(self) -> bool:
        command = ["docker", "exec", self.web, "dd", "if=/dev/zero", "of=/small/x"]
        return not subprocess.run(
            [*command, "bs=4k", "count=1"], capture_output=True, timeout=30, check=False
        ).returncode

    def rules(self) -> str:
        pid = self.found()["State"]["Pid"]
        said = ""
        for program in ("iptables-save", "ip6tables-save"):
            command = ["nsenter", f"--net=/proc/{pid}/ns/net", program]
            said += subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout
        return "".join(line for line in said.splitlines() if "po-" in line)


@pytest.fixture
def others(engine: ApiEngine) -> Iterator[Others]:
    stem = f"others-{os.getpid()}-{next(_NUMBERS)}"
    made = Others(engine, stem, f"{stem}-web", f"{stem}-other")
    docker("network", "create", stem)
    try:
        for name in (made.web, made.other):
            options = ("--network", stem, "--tmpfs", "/small:size=2m")
            command = ("httpd", "-f", "-p", "80", "-h", "/tmp")
            docker("run", "--detach", "--name", name, *options, BUSYBOX, *command)
        eventually(lambda: made.answers_within(0.5), what="the other's server is up")
        yield made
    finally:
        for name in (made.web, made.other):
            engine.remove(Resource(kind=Kind.CONTAINER, id=name, name=name))
        docker("network", "rm", stem)


def is_whole(others: Others) -> bool:
    return (
        others.answers_within(0.1)
        and others.is_reached()
        and others.can_write()
        and not others.rules()
    )


#: What a fault is made by, and whether it is in force.
FAULTS: Mapping[str, tuple[str, Callable[[Others], bool]]] = {
    "pause": ("pause(web)", lambda others: others.found()["State"]["Paused"]),
    "kill": ("kill(web)", lambda others: not others.found()["State"]["Running"]),
    "disconnect": (
        "disconnect(web)",
        lambda others: not others.found()["NetworkSettings"]["Networks"],
    ),
    "squeeze": (
        "squeeze(web, cpus=0.1, memory='16m')",
        lambda others: (
            others.found()["HostConfig"]["CpuQuota"] > 0
            or others.found()["HostConfig"]["Memory"] < 2**60
        ),
    ),
    "slow": ("slow(web, '300ms')", lambda others: not others.answers_within(0.2)),
    "partition": ("partition(web, other)", lambda others: not others.is_reached()),
    "fill": ("fill(web, '/small')", lambda others: not others.can_write()),
}


@pytest.mark.parametrize(
    ("fault", "plugin"), [*((each, True) for each in FAULTS), ("partition", False)]
)
def test_a_fault_is_healed_when_its_run_is_killed(
    others: Others,
    tmp_path: Path,
    fault: str,
    *,
    plugin: bool,
) -> None:
    """Within five seconds, though nothing of the run's own is there to be removed."""
    call, is_in_force = FAULTS[fault]
    project = NestedProject(tmp_path / "project", plugin=plugin)
    project.test("test", BODY.format(web=others.web, other=others.other, call=call))
    with running(project) as (process, _):
        eventually(
            lambda: list(project.folder.glob("**/disturbed")),
            what="the fault is in force",
            explain=project.said,
        )
        assert is_in_force(others)
        process.kill()
        killed = time.monotonic()
        eventually(
            lambda: not is_in_force(others) and is_whole(others),
            what=f"{fault} is healed",
            explain=lambda: [
                each.read_text() for each in project.folder.glob("**/docker_reaper.log")
            ],
        )
    took = time.monotonic() - killed
    assert took < HEALED_WITHIN


def test_what_was_undone_is_not_healed_again(others: Others, tmp_path: Path) -> None:
    """Who pauses it after that does not find it running."""
    project = NestedProject(tmp_path / "project")
    body = BODY.format(web=others.web, other=others.other, call="pause(web)")
    project.test("test", body.replace(".start()", ".start().undo()"))
    with running(project) as (process, _):
        eventually(
            lambda: list(project.folder.glob("**/disturbed")),
            what="the fault was in force",
            explain=project.said,
        )
        docker("pause", others.web)
        process.kill()
        log = next(project.folder.glob("**/docker_reaper.log"))
        eventually(lambda: "removed" in log.read_text(), what="the reaper has removed")
        assert "healed" not in log.read_text()
        assert others.found()["State"]["Paused"]
        docker("unpause", others.web)


def test_a_volume_of_somebody_else_is_not_left_full(
    engine: ApiEngine, tmp_path: Path
) -> None:
    """Though it was filled by a container of the run, which goes with it."""
    name = f"others-{os.getpid()}-volume"
    options = ("type=tmpfs", "device=tmpfs", "o=size=2m")
    docker("volume", "create", *(f"--opt={each}" for each in options), name)
    mount = f"{name}:/small"
    docker("run", "--detach", "--name", name, "-v", mount, BUSYBOX, "sleep", "600")
    try:
        others = Others(engine, "", name, "")
        project = NestedProject(tmp_path / "project")
        body = (
            f"web = self.docker.container({BUSYBOX!r}).run(\n"
            f"        ['sleep', '600'], extraArgs=['--volume', {mount!r}])\n"
            "    DockerFaults(self).fill(web, '/small').start()\n"
            "    pathlib.Path(self.runner.output, 'disturbed').touch()\n"
            "    self.pollWait(600)\n"
        )
        project.test("test", f"\n    {body}")
        with running(project) as (process, _):
            eventually(
                lambda: list(project.folder.glob("**/disturbed")),
                what="the fault is in force",
                explain=project.said,
            )
            assert not others.can_write()
            process.kill()
            eventually(others.can_write, what="the volume has space again")
            users = f"volume={name}"
            eventually(
                lambda: len(docker("ps", "-aq", "--filter", users).split()) == 1,
                what="what the run had is removed",
            )
    finally:
        engine.remove(Resource(kind=Kind.CONTAINER, id=name, name=name))
        docker("volume", "rm", name)


def test_a_network_of_somebody_else_is_healed_though_it_was_entered_by_an_own_one(
    others: Others, tmp_path: Path
) -> None:
    """What the run had in that network is removed, and its rules would stay."""
    project = NestedProject(tmp_path / "project")
    joining = f"--network=container:{others.web}"
    body = (
        f"\n    own = self.docker.container({BUSYBOX!r}).run(\n"
        f"        ['sleep', '600'], extraArgs=[{joining!r}])\n"
        f"    other = DockerContainer.fromExisting(self, {others.other!r}, own=False)\n"
        "    faults = DockerFaults(self)\n"
        "    faults.slow(own, '300ms').start()\n"
        "    faults.partition(own, other).start()\n"
        "    pathlib.Path(self.runner.output, 'disturbed').touch()\n"
        "    self.pollWait(600)\n"
    )
    project.test("test", body)
    with running(project) as (process, _):
        eventually(
            lambda: list(project.folder.glob("**/disturbed")),
            what="the faults are in force",
            explain=project.said,
        )
        assert not others.answers_within(0.2)
        assert not others.is_reached()
        process.kill()
        eventually(
            lambda: is_whole(others),
            what="the network is healed",
            explain=lambda: [
                others.rules(),
                *(
                    each.read_text()
                    for each in project.folder.glob("**/docker_reaper.log")
                ),
            ],
        )

"""Whatever happens to a run, nothing of it stays on the engine."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import Owner, is_cache_tag
from tests.conftest import BUSYBOX
from tests.docker.owned import (
    busy_environments,
    busy_project,
    owned_by,
    owner_of_process,
    reaper_of,
)
from tests.nested import NestedProject

SEED = 20261120
LATEST_MOMENT = 4.0
PARALLEL = 3


#: What may be in the middle of something.
PROJECTS = {"containers": busy_project, "environments": busy_environments}
#: Seconds after which nothing of it is left. A stack's networks outlive its services.
GONE_WITHIN = {"containers": 5.0, "environments": 10.0}


def kill_run(
    folder: Path, moment: float, project: str, *, with_reaper: bool
) -> tuple[Owner, float]:
    """Start a run and kill it *moment* seconds after its reaper is there."""
    process = PROJECTS[project](folder).start("-j2")
    reaper = reaper_of(process.pid)
    owner = owner_of_process(process.pid)
    threading.Event().wait(moment)
    assert process.poll() is None, (folder / "run.txt").read_text()
    if with_reaper:
        os.kill(reaper, signal.SIGKILL)
    process.kill()
    killed = time.monotonic()
    process.wait()
    return owner, killed


class Bystanders:
    """Things of somebody else: nothing may happen to them."""

    def __init__(self, engine: ApiEngine) -> None:
        self._engine = engine
        body = {"Image": BUSYBOX, "Cmd": ["sleep", "3600"], "Labels": {"orch": "no"}}
        # Names that look like ours, but are not.
        self._containers = [
            engine.create_container(f"{name}-{os.getpid()}", body)
            for name in ("bystander", "po-42782f-7gt-91q0-web-1", "po0000-web")
        ]
        for container in self._containers:
            engine.start_container(container)
        self._volume = f"bystander-{os.getpid()}"
        engine.create_volume(self._volume, {})
        self._network = engine.create_network(self._volume, {}, {})
        self._tag = f"po-cached/bystander:{os.getpid()}"
        engine.tag_image(BUSYBOX, self._tag)

    def facts(self) -> list[object]:
        """Return what would change if somebody touched them."""
        found = {each.resource.name for each in self._engine.listing()}
        return [
            *(self._state(each) for each in self._containers),
            self._volume in found,
            self._tag in found,
            self._engine.inspect_network(self._network)["Created"],
        ]

    def remove(self) -> None:
        """Remove them."""
        for kind, name in [
            *((Kind.CONTAINER, each) for each in self._containers),
            (Kind.VOLUME, self._volume),
            (Kind.NETWORK, self._network),
            (Kind.IMAGE, self._tag),
        ]:
            self._engine.remove(Resource(kind=kind, id=name, name=name))

    def _state(self, container: str) -> object:
        state = self._engine.inspect_container(container)["State"]
        return state["Running"], state["StartedAt"]


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("swarm")
@pytest.mark.parametrize("project", PROJECTS)
def test_a_run_that_is_killed_at_any_moment_leaves_nothing(
    engine: ApiEngine, tmp_path: Path, project: str
) -> None:
    """Its reaper removes all of it within seconds, and nobody else's things."""
    # The oldest engine is shown by a sample.
    moments = 100 if int(engine.version.partition(".")[0]) > 20 else 10
    bystanders = Bystanders(engine)
    before = bystanders.facts()
    generator = random.Random(SEED)
    left: list[str] = []
    owners: list[Owner] = []

    def kill_and_look(number: int, moment: float) -> None:
        owner, killed = kill_run(
            tmp_path / str(number), moment, project, with_reaper=False
        )
        owners.append(owner)
        while found := owned_by(engine, owner):
            if time.monotonic() > killed + GONE_WITHIN[project]:
                break
            time.sleep(0.1)
        left.extend(
            f"moment {number} at {moment:.3f} s: {each.resource}" for each in found
        )

    try:
        with ThreadPoolExecutor(PARALLEL) as pool:
            jobs = [
                pool.submit(kill_and_look, number, generator.uniform(0, LATEST_MOMENT))
                for number in range(moments)
            ]
            for job in jobs:
                job.result()
        assert left == []
        back = [found.resource for owner in owners for found in owned_by(engine, owner)]
        assert back == [], "something came back"
        assert bystanders.facts() == before
        cached = [
            found.resource.name
            for found in engine.listing()
            if is_cache_tag(found.resource.name)
        ]
        assert cached or project == "environments", "the image cache is cold"
    finally:
        bystanders.remove()


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("swarm")
@pytest.mark.parametrize("project", PROJECTS)
def test_the_next_run_removes_what_a_killed_run_and_reaper_left(
    engine: ApiEngine, tmp_path: Path, project: str
) -> None:
    """Where the reaper died too, the start of the next run does its work."""
    generator = random.Random(SEED + 1)
    owners = []
    # Each run also collects what the one before it left; the last is in full swing.
    moments = [generator.uniform(0, LATEST_MOMENT) for _ in range(7)]
    for number, moment in enumerate([*moments, LATEST_MOMENT]):
        folder = tmp_path / str(number)
        owners.append(kill_run(folder, moment, project, with_reaper=True)[0])
    assert any(owned_by(engine, owner) for owner in owners)

    following = NestedProject(tmp_path / "next")
    following.test("small", f"self.docker.container('{BUSYBOX}').run(['true'])")
    assert following.run() == 0, following.said()

    assert [found for owner in owners for found in owned_by(engine, owner)] == []
    assert "Docker: removed " in following.said()

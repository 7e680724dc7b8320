"""An engine that goes away and comes back, and a swarm that was not there before."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind
from pysys_orch.docker.engine.swarming import SwarmState
from tests.conftest import BUSYBOX
from tests.docker.owned import eventually, owned_by, owner_of_process, running
from tests.docker.private import PrivateEngine, private_engine
from tests.nested import NestedProject

_FILE = f"""\
services:
  web:
    image: {BUSYBOX}
    command: sh -c 'echo is up; sleep 600'
  always:
    image: {BUSYBOX}
    command: sleep 600
    restart: always
"""

_PLUGIN = (
    '<runner-plugin classname="pysys_orch.docker.DockerRunnerPlugin">'
    '<property name="swarm" value="init"/></runner-plugin>'
)
_WAIT = "\n    self.pollWait(600)\n"


@pytest.fixture(scope="module")
def private() -> Iterator[PrivateEngine]:
    """Return an engine that nobody else uses."""
    with private_engine() as engine:
        yield engine


@pytest.mark.docker
def test_a_restart_of_the_engine_ends_what_waits_and_leaves_nothing(
    private: PrivateEngine, tmp_path: Path
) -> None:
    """Tests are BLOCKED with what happened, and nothing is left once it is back."""
    project = NestedProject(tmp_path / "restart")
    for name, wait in (
        ("composition", "c.getContainer('web').waitForLog('never', timeout=120)"),
        (
            "container",
            (
                "self.docker.container(IMAGE, 'x').run(['sleep', '600'])"
                ".waitForLog('never', timeout=120)"
            ),
        ),
    ):
        body = f"""
            IMAGE = '{BUSYBOX}'
            c = DockerComposition(self, 'compose.yml').up()
            pathlib.Path(self.runner.output, '{name}').touch()
            {wait}
        """
        project.test(name, body, **{"compose.yml": _FILE})
    process = project.start("-j2", environment=private.environment)
    try:
        owner = owner_of_process(process.pid)
        for name in ("composition", "container"):
            eventually(
                lambda name=name: list(project.folder.glob(f"**/{name}")),  # type: ignore[misc]
                what=f"{name} is up",
                timeout=60,
                explain=project.said,
            )
        private.stop()
        stopped = time.monotonic()
        private.start()
        process.wait(60)
    finally:
        process.kill()
    assert time.monotonic() - stopped < 60
    results = project.results()
    for name, result in results.items():
        assert result.outcome == "BLOCKED", (name, result)
        # It was looked at while the engine was away, or when it was back.
        assert re.search(
            "no Docker Engine answers at|web exited with exit code|x exited with exit",
            result.reason,
        ), (name, result)
    engine = ApiEngine.connect(private.environment)
    eventually(
        lambda: not owned_by(engine, owner),
        what="nothing is left",
        explain=lambda: owned_by(engine, owner),
    )


_SECRET = """
    secret = DockerSecret.fromContent(self, 'a-secret', 'content')
    pathlib.Path(self.runner.output, 'made').touch()
"""


@pytest.mark.docker
def test_without_a_swarm_a_test_is_blocked_and_told_how_to_get_one(
    private: PrivateEngine, tmp_path: Path
) -> None:
    """Nobody's engine is put into a swarm unasked."""
    project = NestedProject(tmp_path / "project")
    project.test("secret", _SECRET)
    project.test(
        "stack",
        "DockerSwarm(self, 'stack.yml').deploy()",
        **{"stack.yml": f"services: {{web: {{image: '{BUSYBOX}'}}}}"},
    )
    project.run("-j2", environment=private.environment)
    for result in project.results().values():
        assert result.outcome == "BLOCKED"
        assert "takes part in no swarm: run `docker swarm init`" in result.reason
    engine = ApiEngine.connect(private.environment)
    assert engine.swarm_state() is SwarmState.INACTIVE


@pytest.mark.docker
def test_a_swarm_that_a_run_has_begun_is_left_at_its_end(
    private: PrivateEngine, tmp_path: Path
) -> None:
    """The engine is as the run has found it."""
    project = NestedProject(tmp_path / "project", plugin=False, properties=_PLUGIN)
    project.test("secret", _SECRET)
    assert project.run(environment=private.environment) == 0, project.said()
    engine = ApiEngine.connect(private.environment)
    assert engine.swarm_state() is SwarmState.INACTIVE
    assert "Removed swarm default" in project.said()


@pytest.mark.docker
def test_a_swarm_goes_with_a_run_that_is_killed_unless_others_use_it(
    private: PrivateEngine, tmp_path: Path
) -> None:
    """The reaper leaves it, or, while a second run has things in it, a later one."""
    engine = ApiEngine.connect(private.environment)
    first, second = (
        NestedProject(tmp_path / name, plugin=False, properties=_PLUGIN)
        for name in ("first", "second")
    )
    for project in (first, second):
        project.test("secret", _SECRET.replace("a-secret", project.folder.name) + _WAIT)
    with (
        running(first, environment=private.environment) as (killed, owner),
        running(second, environment=private.environment) as (other, _),
    ):
        for project in (first, second):
            eventually(
                lambda project=project: list(project.folder.glob("**/made")),  # type: ignore[misc]
                what="the secret is there",
                explain=project.said,
            )
        killed.kill()
        eventually(
            lambda: (
                {each.resource.kind for each in owned_by(engine, owner)} <= {Kind.SWARM}
            ),
            what="all of the killed run is gone but the swarm",
        )
        assert engine.swarm_state() is SwarmState.MANAGER
        other.kill()
        eventually(
            lambda: engine.swarm_state() is SwarmState.INACTIVE,
            what="the swarm is left",
        )

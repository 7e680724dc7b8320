"""What a run shares, and what it has without or besides its tests, goes with it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind
from tests.conftest import BUSYBOX
from tests.docker.owned import (
    eventually,
    names_of,
    owned_by,
    running,
)
from tests.nested import NestedProject

#: Has one of each, and waits in the middle until it may go on.
ONE_OF_EACH = f"""
    network = self.docker.network()
    container = self.docker.container('{BUSYBOX}', network=network)
    container.run(['sleep', '600'], extraArgs=['--volume', '/data']).log('sleep')
    container.commit()
    pathlib.Path(self.input, 'there').touch()
    while not pathlib.Path(self.input, 'go').exists():
        self.pollWait(0.02)
"""
#: Makes what the whole run shares.
SHARES = """
    file = str(pathlib.Path(self.input, 'Dockerfile'))
    image = DockerImage.fromDockerfile(self.runner, file)
    DockerImage.fromExisting(self.runner, image.getName())
    container = DockerContainer.fromImage(image, 'shared').run(['sleep', '600'])
    DockerNetwork.create(self.runner, 'shared')
    names = [container.getName(), image.getName()]
    pathlib.Path(self.project.testRootDir, 'shared').write_text(' '.join(names))
"""
USES = """
    folder = pathlib.Path(self.project.testRootDir)
    container, image = (folder / 'shared').read_text().split()
    shared = DockerContainer.fromExisting(self, container, own=False)
    self.assertThat('state == "running"', state=shared.getState())
    self.docker.container(image).run(['true'], foreground=True)
"""
DOCKERFILE = f"FROM {BUSYBOX}\nRUN echo shared >/tmp/shared\n"


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize("ending", ["passes", "fails", "is_told_to_end"])
def test_a_run_without_the_plugin_owns_and_cleans_up(
    engine: ApiEngine, tmp_path: Path, ending: str
) -> None:
    """The plugin is for what a run cannot do for itself, not for what tests do."""
    nested = NestedProject(tmp_path, plugin=False)
    last = {"fails": "self.addOutcome(FAILED, 'as expected')"}.get(ending, "pass")
    nested.test("one", ONE_OF_EACH + f"\n    {last}\n")
    with running(nested) as (process, owner):
        there = tmp_path / "one" / "there"
        eventually(there.exists, what="it is there", explain=nested.said)
        for kind in (Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME, Kind.IMAGE):
            assert names_of(engine, owner, kind), kind
        if ending == "is_told_to_end":
            process.send_signal(signal.SIGTERM)
        else:
            (tmp_path / "one" / "go").touch()
        status = process.wait(20)
    assert (status == 0) == (ending == "passes"), nested.said()
    assert owned_by(engine, owner) == []


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize("plugin", [True, False], ids=["plugin", "no_plugin"])
def test_what_belongs_to_the_runner_lives_as_long_as_the_run(
    engine: ApiEngine, tmp_path: Path, *, plugin: bool
) -> None:
    """An image is built once for all tests, and is gone after the last."""
    nested = NestedProject(tmp_path, plugin=plugin)
    nested.test("test_1", SHARES, Dockerfile=DOCKERFILE)
    nested.test("test_2", USES)
    with running(nested, "-j1") as (process, owner):
        assert process.wait(60) == 0, nested.said()
    outcomes = {test: each.outcome for test, each in nested.results().items()}
    assert outcomes == {"test_1": "PASSED", "test_2": "PASSED"}
    assert owned_by(engine, owner) == []

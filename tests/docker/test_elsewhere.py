"""Engines that are not behind Docker's own socket of this machine serve as well."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Found
from pysys_orch.docker.engine.ownership import OWNER_LABEL
from tests.conftest import BUSYBOX
from tests.docker.elsewhere import (
    Elsewhere,
    podman_engine,
    rootless_engine,
    ssh_engine,
    tls_engine,
)
from tests.docker.owned import eventually, owned_by, owner_of_process
from tests.nested import NestedProject

LINES = 3000
#: Does what nearly every test does with a container.
_EVERYTHING = f"""
    image = self.docker.image(dockerfile='Dockerfile')
    network = self.docker.network()
    web = self.docker.container(image, 'web', ports=[8000], network=network).run([
        'sh', '-c', 'echo first; seq {LINES}; httpd -p 8000 -h /page; sleep 1000'
    ]).log('web')
    web.waitForPort(8000).waitForHttp(8000, '/index.html').waitForLog('^{LINES}$')
    host, port = web.getExternalAddress(8000)
    import urllib.request
    with urllib.request.urlopen(f'http://{{host}}:{{port}}/index.html') as answer:
        self.assertThat('page == b"hello\\\\n"', page=answer.read())
    self.write_text('address', host)
    self.assertGrep(web.exec(['hostname', '-i']).stdout, '[0-9]')
    client = self.docker.container(image, 'client', network=network)
    client.run(['wget', '-qO-', 'http://web:8000/index.html'], foreground=True)
    web.kill()
    self.assertThat('code == 137', code=web.waitForExit())
    self.assertLineCount('web.out', '.', condition='=={LINES + 1}')
    self.assertThat('code == 3', code=self.docker.container(image).run(
        ['sh', '-c', 'exit 3']).waitForExit())
"""
_DOCKERFILE = f"""\
FROM {BUSYBOX}
RUN mkdir /page && echo hello > /page/index.html
"""
_WAITS = f"""
    web = self.docker.container('{BUSYBOX}', 'web').run(['sleep', '1000']).log('web')
    self.docker.network()
    pathlib.Path(self.output, 'there').touch()
    self.pollWait(1000)
"""


def project(folder: Path) -> NestedProject:
    """Return a project of one test that does everything."""
    made = NestedProject(folder)
    made.test("everything", _EVERYTHING, Dockerfile=_DOCKERFILE)
    return made


def told(found: Found) -> str:
    """Return what something says of who made it."""
    return found.labels.get(OWNER_LABEL, "")


@contextlib.contextmanager
def by_context(place: Elsewhere) -> Iterator[Elsewhere]:
    """Have the same engine described by a docker context."""
    variables = dict(place.environment)
    host = variables.pop("DOCKER_HOST")
    said = f"host={host}"
    if certificates := variables.pop("DOCKER_CERT_PATH", ""):
        variables.pop("DOCKER_TLS_VERIFY")
        files = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
        said += "".join(f",{key}={certificates}/{file}" for key, file in files.items())
    configuration = place.folder / "configuration"
    variables |= {
        "DOCKER_CONFIG": str(configuration),
        "DOCKER_CONTEXT": "there",
        "DOCKER_HOST": "",
    }
    (configuration).mkdir(exist_ok=True)
    plugins = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker"))
    if (plugins / "cli-plugins").exists():
        (configuration / "cli-plugins").symlink_to(plugins / "cli-plugins")
    subprocess.run(
        ["docker", "context", "create", "there", "--docker", said],
        env={**os.environ, **variables, "DOCKER_CONTEXT": ""},
        check=True,
        capture_output=True,
    )
    yield Elsewhere(
        engine=place.engine,
        environment=variables,
        within=place.within,
        folder=place.folder,
    )


@pytest.fixture(scope="module")
def tls() -> Iterator[Elsewhere]:
    """Return an engine that wants certificates."""
    with tls_engine() as place:
        yield place


@pytest.fixture(scope="module")
def ssh(engine: ApiEngine) -> Iterator[Elsewhere]:
    """Return an engine behind an ssh server."""
    with ssh_engine(engine) as place:
        yield place


@pytest.fixture(scope="module")
def podman() -> Iterator[Elsewhere]:
    """Return Podman."""
    with podman_engine() as place:
        yield place


@pytest.fixture(scope="module")
def rootless() -> Iterator[Elsewhere]:
    """Return an engine without privileges."""
    with rootless_engine() as place:
        yield place


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Elsewhere]:
    """Return the engine that a test is about."""
    kind, _, way = request.param.partition(" by ")
    found: Elsewhere = request.getfixturevalue(kind)
    if way:
        with by_context(found) as found:
            yield found
    else:
        yield found


ALL = ["tls", "tls by context", "ssh", "ssh by context", "rootless", "podman"]


@pytest.mark.docker
@pytest.mark.parametrize("place", ALL, indirect=True)
def test_a_container_is_built_run_waited_for_read_and_removed(
    place: Elsewhere, tmp_path: Path
) -> None:
    """Whoever has such an engine writes the same tests."""
    made = project(tmp_path)
    status = made.run(environment=place.environment, within=place.within)
    assert status == 0, made.said()
    left = [each for each in place.engine.listing() if str(tmp_path) in told(each)]
    assert left == []


@pytest.mark.docker
@pytest.mark.parametrize("place", ["tls", "ssh", "rootless", "podman"], indirect=True)
def test_a_run_that_is_killed_leaves_nothing_there(
    place: Elsewhere, tmp_path: Path
) -> None:
    """Its reaper finds the engine by the same environment."""
    made = NestedProject(tmp_path)
    folder = made.test("waits", _WAITS)
    process = made.start(environment=place.environment, within=place.within)
    try:
        eventually(
            lambda: list(folder.rglob("there")), what="is there", explain=made.said
        )
        owner = owner_of_process(process.pid)
        assert len(owned_by(place.engine, owner)) >= 3
    finally:
        process.kill()
        process.wait()
    eventually(
        lambda: not owned_by(place.engine, owner),
        what="nothing is left",
        explain=lambda: [each.read_text() for each in tmp_path.rglob("docker_reaper*")],
    )

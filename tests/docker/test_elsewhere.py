"""Engines that are not behind Docker's own socket of this machine serve as well."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import RUN_LABEL, Owner, resource_name
from pysys_orch.errors import EngineUnreachableError
from tests.conftest import BUSYBOX
from tests.docker.elsewhere import (
    OTHER_ADDRESS,
    Elsewhere,
    make_certificates,
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
    configuration = Path(tempfile.mkdtemp(prefix="configuration", dir=place.folder))
    variables |= {
        "DOCKER_CONFIG": str(configuration),
        "DOCKER_CONTEXT": "there",
        "DOCKER_HOST": "",
    }
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
    process = made.start(environment=place.environment, within=place.within)
    try:
        owner = owner_of_process(process.pid)
        kinds = {Kind.CONTAINER, Kind.IMAGE, Kind.NETWORK, Kind.VOLUME}
        eventually(
            lambda: (
                {each.resource.kind for each in owned_by(place.engine, owner)} >= kinds
            ),
            what="it has one of each",
            explain=made.said,
        )
        assert process.wait(100) == 0, made.said()
    finally:
        process.kill()
        process.wait()
    assert owned_by(place.engine, owner) == []


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


@pytest.mark.docker
@pytest.mark.parametrize("place", ["tls", "ssh"], indirect=True)
def test_a_stream_there_ends_when_another_thread_closes_it(
    place: Elsewhere, owner: Owner
) -> None:
    """A follower must never keep a run from ending, whatever carries the stream."""
    with contextlib.closing(there(place)) as engine, within(place):
        name = resource_name(owner, "test_elsewhere", "stream", 0)
        body = {
            "Image": BUSYBOX,
            "Cmd": ["sh", "-c", "echo ready; exec sleep 600"],
            "Labels": {RUN_LABEL: owner.key},
        }
        container = engine.create_container(name, body)
        try:
            engine.start_container(container)
            streams = [
                engine.container_logs(container, follow=True, framed=True),
                engine.events(),
            ]
            readers = [threading.Thread(target=list, args=(each,)) for each in streams]
            for reader in readers:
                reader.start()
            for stream, reader in zip(streams, readers, strict=True):
                assert reader.is_alive()
                stream.close()
                reader.join(10)
                assert not reader.is_alive()
        finally:
            engine.remove(Resource(kind=Kind.CONTAINER, id=container, name=name))


@pytest.mark.docker
@pytest.mark.parametrize("place", ["tls", "ssh"], indirect=True)
def test_many_threads_ask_at_once(place: Elsewhere) -> None:
    """An ssh server turns away who comes in a crowd: nobody does."""
    with (
        contextlib.closing(there(place)) as engine,
        within(place),
        ThreadPoolExecutor(24) as pool,
    ):
        jobs = [pool.submit(engine.info) for _ in range(96)]
        assert {job.result()["ID"] for job in jobs} == {place.engine.info()["ID"]}


@pytest.mark.docker
@pytest.mark.parametrize("place", ["tls"], indirect=True)
def test_who_does_not_encrypt_is_told_to(place: Elsewhere, tmp_path: Path) -> None:
    """And who trusts another authority, or is not trusted, reads that."""
    with within(place):
        host = {"DOCKER_HOST": place.environment["DOCKER_HOST"]}
        with pytest.raises(EngineUnreachableError, match="set DOCKER_TLS_VERIFY=1"):
            ApiEngine.connect(host)
        make_certificates(tmp_path / "others", "DNS:other")
        others = {**place.environment, "DOCKER_CERT_PATH": str(tmp_path / "others")}
        with pytest.raises(EngineUnreachableError, match="certificate verify failed"):
            ApiEngine.connect(others)
        with pytest.raises(EngineUnreachableError, match=r"certificate|alert"):
            ApiEngine.connect({**host, "DOCKER_TLS": "1", "HOME": str(tmp_path)})


@pytest.mark.docker
@pytest.mark.parametrize("place", ["tls by context"], indirect=True)
def test_a_context_s_certificates_are_for_its_own_engine_alone(
    place: Elsewhere, tmp_path: Path
) -> None:
    """Those of an address, such as a node's, are named by variables, beside it."""
    certificates = {
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(place.folder / "certificates"),
    }
    node = {**place.environment, "DOCKER_HOST": f"tcp://{OTHER_ADDRESS}:2376"}
    others = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    with within(place):
        with pytest.raises(EngineUnreachableError, match="set DOCKER_TLS_VERIFY=1"):
            ApiEngine.connect(node)
        ApiEngine.connect({**node, **certificates}).close()
        ApiEngine.connect({**place.environment, **others}).close()
        subprocess.run(
            ["docker", "version"],
            env={**os.environ, **place.environment, **others},
            check=True,
            capture_output=True,
        )


@pytest.mark.docker
@pytest.mark.parametrize("place", ["ssh"], indirect=True)
def test_what_ssh_says_is_the_cause(place: Elsewhere) -> None:
    """Its words say what to do: give a key, learn the host's, install docker."""
    address = place.environment["DOCKER_HOST"].removeprefix("ssh://")
    port = address.rpartition(":")[2]
    for host, words in {
        f"nobody-of-that-name@{address}": "permission denied",
        f"localhost:{port}": "Host key verification failed",
        "127.0.0.1:1": "connection refused",
        f"{address}/no.sock": "no such file or directory",
    }.items():
        environment = {
            **os.environ,
            **place.environment,
            "DOCKER_HOST": f"ssh://{host}",
        }
        with pytest.raises(EngineUnreachableError, match=words):
            ApiEngine.connect(environment)


def test_an_ssh_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    """A mute engine must not keep a test for ever."""
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    environment = {
        "DOCKER_HOST": "ssh://nowhere",
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    }
    with pytest.raises(EngineUnreachableError, match=r"no answer within 0\.2 s"):
        ApiEngine.connect(environment, timeout=0.2)
    with pytest.raises(EngineUnreachableError, match="install OpenSSH's client"):
        ApiEngine.connect({"DOCKER_HOST": "ssh://nowhere", "PATH": ""})


@pytest.mark.docker
@pytest.mark.parametrize("place", ["podman"], indirect=True)
def test_what_podman_has_not_got_is_said(place: Elsewhere, tmp_path: Path) -> None:
    """Which engine it is, and what it cannot do."""
    made = NestedProject(tmp_path)
    made.test("service", f"self.docker.service('{BUSYBOX}').run()")
    made.test("config", "self.docker.config('text')")
    made.test("secret", "self.docker.secret('text')")
    made.run(environment=place.environment, within=place.within)
    for result in made.results().values():
        assert result.outcome == "BLOCKED"
        assert "Podman 4" in result.reason, result
        assert "knows no swarm" in result.reason


def there(place: Elsewhere) -> ApiEngine:
    """Return an engine as a run reaches it."""
    with within(place):
        return ApiEngine.connect({**os.environ, **place.environment}, timeout=20)


@contextlib.contextmanager
def within(place: Elsewhere) -> Iterator[None]:
    """Have this thread, and those that it starts, be where the engine is reached."""
    if not place.within:
        yield
        return
    setns = ctypes.CDLL(None, use_errno=True).setns
    with (
        Path("/proc/thread-self/ns/net").open() as home,
        Path(place.within[1].removeprefix("--net=")).open() as abroad,
    ):
        assert setns(abroad.fileno(), 0) == 0
        try:
            yield
        finally:
            assert setns(home.fileno(), 0) == 0

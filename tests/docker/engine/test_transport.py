"""Both ways to an engine give the same, and the address is found as docker finds it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysys_orch.docker.engine.address import DEFAULT_HOST, without_credentials
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.dialing import UnixDial
from pysys_orch.docker.engine.ownership import (
    RUN_LABEL,
    Owner,
    owner_of,
    resource_name,
)
from pysys_orch.docker.engine.transport import (
    SdkTransport,
    SocketTransport,
    Transport,
    open_transport,
)
from pysys_orch.errors import ConfigError, EngineUnreachableError, NotFoundError
from tests.conftest import BUSYBOX


def context(folder: Path, name: str, host: str) -> None:
    """Write a docker context, as ``docker context create`` does."""
    place = folder / "contexts" / "meta" / name.encode().hex()
    place.mkdir(parents=True)
    meta = {"Name": name, "Endpoints": {"docker": {"Host": host}}}
    (place / "meta.json").write_text(json.dumps(meta))


def test_without_any_word_the_default_socket_is_meant(tmp_path: Path) -> None:
    """Nothing in the environment, nothing in the configuration."""
    transport, host = open_transport({"HOME": str(tmp_path)})
    assert isinstance(transport, SocketTransport)
    assert host == DEFAULT_HOST


def test_the_host_of_the_environment_wins_over_a_context(tmp_path: Path) -> None:
    """As with the docker client."""
    context(tmp_path, "other", "unix:///other.sock")
    environment = {
        "DOCKER_CONFIG": str(tmp_path),
        "DOCKER_CONTEXT": "other",
        "DOCKER_HOST": "tcp://127.0.0.1:2375",
    }
    assert open_transport(environment)[1] == "tcp://127.0.0.1:2375"


def test_the_context_in_use_is_found(tmp_path: Path) -> None:
    """By the environment, and by what ``docker context use`` has written."""
    context(tmp_path, "other", "unix:///other.sock")
    named = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "other"}
    assert open_transport(named)[1] == "unix:///other.sock"
    (tmp_path / "config.json").write_text('{"currentContext": "other"}')
    assert open_transport({"DOCKER_CONFIG": str(tmp_path)})[1] == "unix:///other.sock"


def test_an_unknown_context_is_named_with_the_known_ones(tmp_path: Path) -> None:
    """Whoever misspelt it sees how it is spelt."""
    context(tmp_path, "other", "unix:///other.sock")
    environment = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "ohter"}
    with pytest.raises(ConfigError, match="'ohter'; there are default, other"):
        open_transport(environment)


@pytest.mark.parametrize(
    "host", ["localhost:2375", "/var/run/docker.sock", "tcp://a:b"]
)
def test_what_is_no_address_is_refused(host: str) -> None:
    """The message names the value."""
    with pytest.raises(ConfigError, match=f"DOCKER_HOST={host} is no address"):
        open_transport({"DOCKER_HOST": host})


def test_certificates_that_are_missing_are_named(tmp_path: Path) -> None:
    """TLS was asked for, and where its files should be is said."""
    environment = {
        "DOCKER_HOST": "tcp://127.0.0.1:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(tmp_path),
    }
    with pytest.raises(ConfigError, match=str(tmp_path)):
        open_transport(environment)


def test_an_address_is_shown_without_credentials() -> None:
    """Messages end up in logs that many people read."""
    for written, shown in {
        "tcp://me:secret@host:1": "tcp://host:1",
        "tcp://me:sec/ret@host:1": "tcp://host:1",
        "me:secret@host:1": "host:1",
        "ssh://me@host/a@b.sock": "ssh://host/a@b.sock",
        "unix:///a@b/docker.sock": "unix:///a@b/docker.sock",
    }.items():
        assert without_credentials(written) == shown


@pytest.mark.parametrize(
    "host",
    ["me:secret@h:1", "tcp://me:secret/x@h:1", "ssh://me:secret@h", "tcp://[secret@h"],
)
def test_an_address_that_is_none_is_told_without_credentials(host: str) -> None:
    """A mistake in it must not print its password."""
    with pytest.raises(ConfigError, match="is no address") as told:
        open_transport({"DOCKER_HOST": host})
    assert "secret" not in str(told.value)


@pytest.fixture(params=["socket", "sdk"])
def either(request: pytest.FixtureRequest, engine: ApiEngine) -> ApiEngine:
    """Return the real engine, reached in either way."""
    _, host = open_transport(os.environ)
    transport = (
        open_transport(os.environ)[0]
        if request.param == "socket"
        else SdkTransport(host)
    )
    return ApiEngine(transport, host, engine.version, "1.41")


@pytest.fixture
def container(engine: ApiEngine, owner: Owner) -> Iterator[str]:
    """Return a container that prints a line and stays."""
    body = {
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", "echo ready; exec sleep 600"],
        "Labels": {RUN_LABEL: owner.key},
    }
    name = resource_name(owner, "test_transport", "container", 0)
    made = engine.create_container(name, body)
    engine.start_container(made)
    yield made
    engine.kill_container(made, "KILL")


@pytest.mark.docker
def test_requests_work_either_way(
    either: ApiEngine, container: str, owner: Owner
) -> None:
    """Questions, commands and refusals."""
    assert either.inspect_container(container)["State"]["Running"]
    either.pause_container(container)
    either.unpause_container(container)
    mine = [found for found in either.listing() if owner_of(found) == owner]
    assert container in {found.resource.id for found in mine}
    with pytest.raises(NotFoundError, match="no-such-thing"):
        either.inspect_container("no-such-thing")


@pytest.mark.docker
def test_a_stream_ends_when_another_thread_closes_it(
    either: ApiEngine, container: str
) -> None:
    """A follower must never keep a run from ending."""
    stream = either.container_logs(container, follow=True, framed=True)
    first = threading.Event()
    lines: list[bytes] = []

    def read() -> None:
        for frame in stream:
            lines.append(frame.payload)
            first.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert first.wait(30)
    stream.close()
    reader.join(10)
    assert not reader.is_alive()
    assert lines == [b"ready\n"]


def test_whatever_raises_underneath_one_error_comes_out(tmp_path: Path) -> None:
    """Nobody has to know which way an engine is reached."""
    ways: list[tuple[Transport, str]] = [
        (
            SocketTransport(UnixDial(f"{tmp_path}/none.sock")),
            "no such file or directory",
        ),
        (SdkTransport("tcp://127.0.0.1:1"), "connection refused"),
    ]
    for transport, cause in ways:
        with pytest.raises(EngineUnreachableError, match=cause):
            ApiEngine(transport, "unix:///shown", "26", "1.41").now()

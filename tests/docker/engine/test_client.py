"""The engine is found where docker would find it, and is never waited for in vain."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine.address import without_credentials
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.ownership import CACHE_LABEL, cache_tag
from pysys_orch.errors import (
    ConfigError,
    ConflictError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
    SwarmInactiveError,
)

VERSION = {"Version": "26.1.5+dfsg1", "ApiVersion": "1.45"}
CACHED = cache_tag("ab" * 32, "cd" * 32)

Connect = Callable[..., ApiEngine]


@pytest.fixture
def connect(tmp_path: Path) -> Connect:
    """Return what connects in an environment of its own, and may not take long."""

    def attempt(**environment: str) -> ApiEngine:
        clock = SystemClock()
        begin = clock.instant()
        known = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
        try:
            return ApiEngine.connect({**known, **environment}, timeout=0.3)
        finally:
            # Much more than it may take, for busy machines; much less than for ever.
            assert clock.instant() - begin < 5.0

    return attempt


@contextmanager
def answering(*, status: str = "200 OK", body: bytes | None = None) -> Iterator[int]:
    """Yield a TCP port where every request gets the same answer; none is a close."""

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            with connection:
                if over.is_set():
                    return
                connection.settimeout(10.0)
                connection.recv(65536)
                if body is not None:
                    length = f"Content-Length: {len(body)}\r\nConnection: close"
                    head = f"HTTP/1.1 {status}\r\n{length}\r\n\r\n"
                    connection.sendall(head.encode() + body)

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield port
        finally:
            over.set()
            socket.create_connection(("127.0.0.1", port), 10.0).close()
            thread.join(10.0)


@pytest.fixture
def tcp_engine() -> Iterator[str]:
    """Return the address of what tells its version as an engine does."""
    with answering(body=json.dumps(VERSION).encode()) as port:
        yield f"tcp://127.0.0.1:{port}"


# Where nobody answers -----------------------------------------------------------------


def test_a_socket_that_is_missing_is_named(connect: Connect, tmp_path: Path) -> None:
    """The line says where an engine was expected, and what to do."""
    host = f"unix://{tmp_path}/missing.sock"
    with pytest.raises(EngineUnreachableError) as failure:
        connect(DOCKER_HOST=host)
    assert str(failure.value) == (
        f"no Docker Engine answers at {host} (no such file or directory): "
        "start one, or set DOCKER_HOST"
    )
    assert failure.value.endpoint == host


def test_a_socket_that_nobody_listens_on_is_refused(
    connect: Connect, tmp_path: Path
) -> None:
    """An engine that was killed leaves its socket behind."""
    path = tmp_path / "refused.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(EngineUnreachableError, match="connection refused"):
        connect(DOCKER_HOST=f"unix://{path}")


def test_a_port_that_nobody_listens_on_is_refused(connect: Connect) -> None:
    """A wrong port is noticed at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(EngineUnreachableError, match="connection refused"):
        connect(DOCKER_HOST=f"tcp://127.0.0.1:{port}")


def test_a_host_that_does_not_exist_is_named(connect: Connect) -> None:
    """A slip in the name is told from an engine that is down."""
    with pytest.raises(EngineUnreachableError, match=r"tcp://none\.invalid:1 \(.*nam"):
        connect(DOCKER_HOST="tcp://none.invalid:1")


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_an_engine_that_never_answers_is_given_up_in_time(
    connect: Connect, tmp_path: Path, kind: str, *, accepts: bool
) -> None:
    """A docker command would hang for ever; a test must not."""
    with ExitStack() as stack:
        if kind == "unix":
            mute = stack.enter_context(socket.socket(socket.AF_UNIX))
            mute.bind(str(tmp_path / "mute.sock"))
            mute.listen()
            host = f"unix://{tmp_path}/mute.sock"
        else:
            mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            host = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        if accepts:
            thread = threading.Thread(
                target=lambda: stack.enter_context(mute.accept()[0]), daemon=True
            )
            thread.start()
            stack.callback(thread.join, 10.0)
        with pytest.raises(EngineUnreachableError) as failure:
            connect(DOCKER_HOST=host)
    assert failure.value.cause == "no answer within 0.3 s"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("200 OK", b"<html>"),
        ("200 OK", b"{}"),
        ("200 OK", b"[]"),
        ("200 OK", b'"Version"'),
        ("200 OK", b""),
        ("404 Not Found", b"no such page"),
        ("401 Unauthorized", b""),
    ],
)
def test_what_is_no_engine_is_told_from_one(
    connect: Connect, status: str, body: bytes
) -> None:
    """A wrong port may belong to anybody."""
    with (
        answering(status=status, body=body) as port,
        pytest.raises(EngineUnreachableError, match="there is no Docker Engine"),
    ):
        connect(DOCKER_HOST=f"tcp://127.0.0.1:{port}")


def test_what_closes_without_an_answer_is_no_engine(connect: Connect) -> None:
    """Docker's own proxies do so when there is nobody behind them."""
    with (
        answering(body=None) as port,
        pytest.raises(EngineUnreachableError, match=r"(?i)closed|aborted|reset"),
    ):
        connect(DOCKER_HOST=f"tcp://127.0.0.1:{port}")


# What is written wrongly --------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "nix",
        "ftp://host",
        "fd://",
        "tcp://host:port",
        "tcp://host:99999",
        "/var/run/docker.sock",
    ],
)
def test_an_address_that_is_none_is_refused(connect: Connect, host: str) -> None:
    """It is the caller's to mend, so it is no matter of an engine that is down."""
    with pytest.raises(ConfigError, match="is no address") as failure:
        connect(DOCKER_HOST=host)
    assert f"DOCKER_HOST={host}" in str(failure.value)


@pytest.mark.parametrize("host", ["unix://", "unix://relative/docker.sock"])
def test_a_socket_needs_an_absolute_path(connect: Connect, host: str) -> None:
    """No other engine is taken instead."""
    with pytest.raises(ConfigError, match="is no address"):
        connect(DOCKER_HOST=host)


def test_certificates_that_are_missing_are_named(
    connect: Connect, tmp_path: Path
) -> None:
    """The folder is told where they were looked for."""
    folder = tmp_path / "certificates"
    with pytest.raises(ConfigError, match=f"certificates in {folder} cannot be used"):
        connect(
            DOCKER_HOST="tcp://127.0.0.1:1",
            DOCKER_TLS_VERIFY="1",
            DOCKER_CERT_PATH=str(folder),
        )


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("tcp://me:secret@host:2375", "tcp://host:2375"),
        ("ssh://me@host", "ssh://host"),
        ("tcp://host:2375", "tcp://host:2375"),
        ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
        ("unix:///run/user@1000/docker.sock", "unix:///run/user@1000/docker.sock"),
        ("tcp://me:secret@host:1/a@b", "tcp://host:1/a@b"),
        ("me:secret@host:2375", "host:2375"),
        ("tcp://me:p@ss@host:2375", "tcp://host:2375"),
    ],
)
def test_an_address_is_shown_without_credentials(host: str, shown: str) -> None:
    """Outcomes are read by many."""
    assert without_credentials(host) == shown


@pytest.mark.parametrize(
    "host",
    [
        "tcp://me:secret@127.0.0.1:1",
        "tcp://me:secret@none.invalid:1",
        "tcp://me:secret@host:port",
        "ftp://me:secret@host",
        "me:secret@host:2375",
    ],
)
def test_no_error_shows_credentials(connect: Connect, host: str) -> None:
    """Whatever is wrong with an address, its password stays out of the reports."""
    with pytest.raises((ConfigError, EngineUnreachableError)) as failure:
        connect(DOCKER_HOST=host)
    assert "secret" not in str(failure.value)
    assert "secret" not in repr(failure.value)


# Contexts -----------------------------------------------------------------------------


def write_context(folder: Path, name: str, host: str, digest: str = "0") -> None:
    """Write a docker context as docker's own client does."""
    meta = folder / "contexts" / "meta" / digest / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": endpoint}}))


def test_a_context_that_does_not_exist_is_refused_with_those_that_do(
    connect: Connect, tmp_path: Path
) -> None:
    """A slip of the finger is seen at a glance."""
    write_context(tmp_path, "nightly", "tcp://one:1", "1")
    write_context(tmp_path, "laptop", "tcp://other:1", "2")
    with pytest.raises(ConfigError) as failure:
        connect(DOCKER_CONTEXT="nigthly")
    assert str(failure.value) == (
        "there is no docker context 'nigthly'; there are default, laptop, nightly"
    )


def test_the_context_in_use_is_used(
    connect: Connect, tmp_path: Path, tcp_engine: str
) -> None:
    """Who ran ``docker context use`` finds the same engine in tests."""
    write_context(tmp_path, "mine", tcp_engine)
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "mine"}))
    assert connect().endpoint == tcp_engine


def test_a_context_that_is_named_counts_more_than_the_one_in_use(
    connect: Connect, tmp_path: Path, tcp_engine: str
) -> None:
    """One run can go elsewhere."""
    write_context(tmp_path, "mine", "tcp://none.invalid:1", "1")
    write_context(tmp_path, "other", tcp_engine, "2")
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "mine"}))
    assert connect(DOCKER_CONTEXT="other").endpoint == tcp_engine


def test_an_address_counts_more_than_any_context(
    connect: Connect, tmp_path: Path, tcp_engine: str
) -> None:
    """As docker's own client has it."""
    write_context(tmp_path, "mine", "tcp://none.invalid:1")
    engine = connect(DOCKER_HOST=tcp_engine, DOCKER_CONTEXT="mine")
    assert engine.endpoint == tcp_engine


@pytest.mark.parametrize("name", ["", "default"])
def test_the_default_context_is_the_default_socket(connect: Connect, name: str) -> None:
    """Without any configuration the engine of this machine is meant."""
    try:
        endpoint = connect(DOCKER_CONTEXT=name).endpoint
    except EngineUnreachableError as failure:
        endpoint = failure.endpoint
    assert endpoint == "unix:///var/run/docker.sock"


def test_a_configuration_that_cannot_be_read_is_named(
    connect: Connect, tmp_path: Path
) -> None:
    """Another engine than the one that was chosen is never taken in silence."""
    path = tmp_path / "config.json"
    path.write_text("{ not JSON")
    with pytest.raises(ConfigError, match=rf"{path} cannot be read"):
        connect()


def test_contexts_of_other_things_are_no_obstacle(
    connect: Connect, tmp_path: Path, tcp_engine: str
) -> None:
    """A broken file, and a context without Docker, concern nobody."""
    for digest, text in enumerate(["{", "[]", '{"Name": "k8s", "Endpoints": {}}']):
        broken = tmp_path / "contexts" / "meta" / str(digest) / "meta.json"
        broken.parent.mkdir(parents=True)
        broken.write_text(text)
    write_context(tmp_path, "mine", tcp_engine, "9")
    assert connect(DOCKER_CONTEXT="mine").endpoint == tcp_engine


def test_a_docker_client_is_told_the_address_of_a_tcp_engine(
    connect: Connect, tcp_engine: str
) -> None:
    """It finds the same engine as we do, also where a context has named it."""
    engine = connect(DOCKER_HOST=tcp_engine)
    assert engine.version == "26.1.5+dfsg1"
    assert engine.client_address() == {"DOCKER_HOST": tcp_engine}


# What an engine says ------------------------------------------------------------------


class Script:
    """A transport that knows the answers, and what it was asked."""

    is_plain = True

    def __init__(self, answers: dict[str, Any] | Exception, status: int = 200) -> None:
        self._answers = answers
        self._status = status
        self.asked: list[str] = []

    def send(
        self, method: str, target: str, *, body: bytes | None, timeout: float
    ) -> Answer:
        assert timeout > 0
        self.asked.append(f"{method} {target}")
        if isinstance(self._answers, Exception):
            raise self._answers
        path = target.partition("?")[0].removeprefix("/v1.45")
        said = self._answers.get(path, (503, {"message": "not in a swarm"}))
        status, said = said if isinstance(said, tuple) else (self._status, said)
        assert body is None
        return Answer(
            status, said if isinstance(said, bytes) else json.dumps(said).encode()
        )

    def close(self) -> None: ...


class Answer:
    """An answer that has arrived as a whole."""

    def __init__(self, status: int, content: bytes) -> None:
        self.status = status
        self._content = content

    def body(self) -> bytes:
        return self._content

    def pieces(self) -> Iterator[bytes]:
        yield self._content

    def without_limit(self) -> None: ...

    def close(self) -> None: ...


def scripted(
    answers: dict[str, Any] | Exception,
    *,
    status: int = 200,
    host: str = "unix:///x.sock",
) -> tuple[ApiEngine, Script]:
    script = Script(answers, status)
    return ApiEngine(script, host, "26.1.5", "1.45"), script


EMPTY: dict[str, Any] = {
    "/containers/json": [],
    "/networks": [],
    "/volumes": {"Volumes": None},
    "/images/json": [],
}
STAMP = "2026-11-20T14:15:03.123456789+01:00"
WHEN = datetime(2026, 11, 20, 13, 15, 3, 123456, tzinfo=UTC)
VOLUME = Resource(kind=Kind.VOLUME, id="v", name="v")


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        (404, {"message": "get v: no such volume"}, NotFoundError, "no such volume"),
        (409, {"message": "in\n  use"}, ConflictError, "in use"),
        (500, {"message": "oops"}, EngineAnswerError, "oops"),
        (400, b"plain words", EngineAnswerError, "plain words"),
        (502, b"\xff\xfe", EngineAnswerError, "\ufffd\ufffd"),
        (500, b"", EngineAnswerError, "no reason given"),
        (500, {"error": "x"}, EngineAnswerError, '{"error": "x"}'),
        (500, [], EngineAnswerError, "[]"),
    ],
)
def test_a_refusal_is_told_in_the_engine_s_words(
    status: int, said: object, kind: type[EngineAnswerError], words: str
) -> None:
    """One line that says what was asked for, what was answered, and how."""
    engine, _ = scripted({"/volumes/v": (status, said)})
    with pytest.raises(EngineAnswerError) as refusal:
        engine.remove(VOLUME)
    assert type(refusal.value) is kind
    assert refusal.value.status == status
    assert str(refusal.value).startswith("remove volume v: ")
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (TimeoutError("timed out"), "no answer within 60 s"),
        (EOFError("the connection was closed"), "the connection was closed"),
    ],
)
def test_an_engine_that_goes_away_is_told_from_one_that_refuses(
    failure: Exception, words: str
) -> None:
    """The line says what could not be done, and where."""
    engine, _ = scripted(failure)
    with pytest.raises(EngineUnreachableError) as unreachable:
        engine.remove(VOLUME)
    assert f"could not remove volume v: {words}" in str(unreachable.value)
    assert unreachable.value.endpoint == "unix:///x.sock"


def test_names_are_quoted_in_requests() -> None:
    """A strange name asks for that, and for nothing else."""
    engine, script = scripted({}, status=200)
    with pytest.raises(EngineAnswerError):
        engine.inspect_image("host:5000/a/b@sha256:00?x=1#y z")
    assert script.asked == [
        "GET /v1.45/images/host:5000/a/b@sha256:00%3Fx%3D1%23y%20z/json"
    ]


def test_an_empty_engine_lists_nothing() -> None:
    """Engines write nothing in several ways; not to be in a swarm is one of them."""
    assert scripted(EMPTY)[0].listing() == []
    refused: dict[str, Any] = {
        f"/{each}": (406, {}) for each in ("services", "secrets", "configs")
    }
    assert scripted({**EMPTY, **refused})[0].listing() == []


NO_MANAGER = "This node is not a swarm manager."
JOIN = f'{NO_MANAGER} Use "docker swarm init" or "docker swarm join" to connect'
WORKER = f"{NO_MANAGER} Worker nodes can't be used to view or modify cluster state."
NO_SWARM = (
    "the engine at unix:///x.sock takes part in no swarm: run `docker swarm init`, or "
    "set the property swarm=init of DockerRunnerPlugin"
)

ONLY_WORKS = (
    "the engine at unix:///x.sock only works in a swarm: speak to a manager of it"
)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((503, {"message": JOIN}), NO_SWARM),
        ((503, {"message": "node is not part of a swarm"}), NO_SWARM),
        ((406, {}), NO_SWARM),
        ((503, {"message": WORKER}), ONLY_WORKS),
    ],
)
def test_that_there_is_no_swarm_is_told_with_what_to_do(
    answer: tuple[int, object], words: str
) -> None:
    """The engine's own words name commands, but neither itself nor our property."""
    engine, _ = scripted({"/swarm": answer, "/services/x": answer, "/tasks": answer})
    for ask in (engine.inspect_swarm, lambda: engine.inspect_service("x")):
        with pytest.raises(SwarmInactiveError) as failure:
            ask()
        assert str(failure.value) == words
        assert failure.value.endpoint == "unix:///x.sock"
    assert engine.starting_tasks("x") == 0


def test_a_swarm_without_a_leader_is_another_matter() -> None:
    """It may have one again in a moment."""
    engine, _ = scripted({"/swarm": (503, {"message": "The swarm has no leader"})})
    with pytest.raises(EngineAnswerError, match="no leader"):
        engine.inspect_swarm()


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"LocalNodeState": "inactive", "ControlAvailable": False}, "inactive"),
        ({"LocalNodeState": "active", "ControlAvailable": False}, "worker"),
        ({"LocalNodeState": "active", "ControlAvailable": True}, "manager"),
        (None, "inactive"),
    ],
)
def test_an_engine_tells_its_part_in_a_swarm(told: object, state: str) -> None:
    """Before anything is asked that only a manager answers."""
    engine, _ = scripted({"/info": {"Swarm": told}})
    assert engine.swarm_state() == state


def test_tasks_that_may_have_a_container_here_soon_are_counted() -> None:
    """Of this service, on this node or on none yet; what runs has one already."""

    def task(state: str, node: str = "here", service: str = "s") -> dict[str, Any]:
        return {"ServiceID": service, "NodeID": node, "Status": {"State": state}}

    tasks = [
        task("assigned"),
        task("starting"),
        task("pending", node=""),
        task("preparing", node="there"),
        task("preparing", service="other"),
        task("running"),
        task("failed"),
    ]
    engine, _ = scripted({"/tasks": tasks, "/info": {"Swarm": {"NodeID": "here"}}})
    assert engine.starting_tasks("s") == 3


def test_an_engine_that_cannot_list_is_a_failure() -> None:
    """That something could not be seen is not that nothing is there."""
    for path in (*EMPTY, "/services"):
        engine, _ = scripted({**EMPTY, path: (500, {"message": "out of order"})})
        with pytest.raises(EngineAnswerError, match=r"list .*: out of order"):
            engine.listing()


def test_everything_that_can_have_an_owner_is_listed() -> None:
    """Names without ornaments, stamps in UTC, labels even where there are none."""
    image = {"Id": "sha256:aa", "Created": 60, "Labels": None}
    swarm = {"ID": "i", "CreatedAt": STAMP, "Spec": {"Name": "s", "Labels": None}}
    engine, _ = scripted(
        {
            "/containers/json": [
                {
                    "Id": "c1",
                    "Names": ["/web", "/db/web"],
                    "Created": 60,
                    "Labels": {"a": "b"},
                },
                {"Id": "c2", "Names": None, "Created": 60, "Labels": None},
            ],
            "/networks": [
                {"Id": "n1", "Name": "net", "Created": STAMP, "Labels": None}
            ],
            "/volumes": {"Volumes": [{"Name": "v", "CreatedAt": STAMP}, {"Name": "w"}]},
            "/images/json": [
                {**image, "RepoTags": ["a:1", "a:2"]},
                {**image, "RepoTags": None},
                {**image, "RepoTags": ["<none>:<none>"]},
                {**image, "RepoTags": [], "Labels": {CACHE_LABEL: "x"}},
                {**image, "RepoTags": [CACHED]},
            ],
            "/images/sha256:aa/json": {"Metadata": {"LastTagTime": STAMP}},
            "/services": [swarm],
            "/secrets": [swarm],
            "/configs": [swarm],
        }
    )
    minute = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    never = datetime.min.replace(tzinfo=UTC)

    def found(
        kind: Kind, identity: str, name: str, created: datetime, **labels: str
    ) -> Found:
        resource = Resource(kind=kind, id=identity, name=name)
        return Found(resource=resource, created=created, labels=labels)

    listing = engine.listing()
    assert listing == [
        found(Kind.CONTAINER, "c1", "web", minute, a="b"),
        found(Kind.CONTAINER, "c2", "c2", minute),
        found(Kind.NETWORK, "n1", "net", WHEN),
        found(Kind.VOLUME, "v", "v", WHEN),
        found(Kind.VOLUME, "w", "w", never),
        found(Kind.IMAGE, "a:1", "a:1", minute),
        found(Kind.IMAGE, "a:2", "a:2", minute),
        found(Kind.IMAGE, "sha256:aa", "sha256:aa", minute, **{CACHE_LABEL: "x"}),
        found(Kind.IMAGE, CACHED, CACHED, WHEN),
        found(Kind.SERVICE, "i", "s", WHEN),
        found(Kind.SECRET, "i", "s", WHEN),
        found(Kind.CONFIG, "i", "s", WHEN),
    ]


def test_stamps_are_in_utc_wherever_the_engine_is() -> None:
    """An engine writes its own time zone in some of them."""
    volumes = [{"Name": "v", "CreatedAt": STAMP}]
    engine, _ = scripted({**EMPTY, "/volumes": {"Volumes": volumes}})
    assert [each.created.tzinfo for each in engine.listing()] == [UTC]


@pytest.mark.parametrize("stamp", ["", "yesterday", "0001-01-01T00:00:00+01:00"])
def test_what_an_engine_does_not_know_is_very_long_ago(stamp: str) -> None:
    """A strange stamp stops no collection."""
    volumes = [{"Name": "v", "CreatedAt": stamp}]
    engine, _ = scripted({**EMPTY, "/volumes": {"Volumes": volumes}})
    assert [each.created.year for each in engine.listing()] == [1]


# A real engine ------------------------------------------------------------------------


@pytest.mark.docker
@pytest.mark.engine20
def test_a_real_engine_tells_its_version_and_its_time(engine: ApiEngine) -> None:
    """Its clock counts, in UTC, whatever ours says."""
    assert engine.version[0].isdigit()
    now = engine.now()
    assert now.utcoffset() == timedelta(0)
    assert engine.now() >= now


@pytest.mark.docker
@pytest.mark.engine20
def test_docker_s_own_client_finds_the_same_engine(engine: ApiEngine) -> None:
    """Commands and requests never go to two engines."""
    assert docker(engine.client_address(), *ASK_VERSION) == engine.version


ASK_VERSION = ("version", "--format", "{{.Server.Version}}")


def docker(environment: dict[str, str], *arguments: str) -> str:
    """Return what a docker command prints, in an environment of its own."""
    done = subprocess.run(
        ["docker", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize("way", ["named", "in use"])
def test_a_context_that_docker_made_is_used(
    engine: ApiEngine, connect: Connect, tmp_path: Path, way: str
) -> None:
    """The files of docker's own client are read as it reads them."""
    [host] = engine.client_address().values()
    config = {"DOCKER_CONFIG": str(tmp_path)}
    docker(config, "context", "create", "mine", "--docker", f"host={host}")
    if way == "named":
        environment = {"DOCKER_CONTEXT": "mine"}
    else:
        docker(config, "context", "use", "mine")
        environment = {}
    reached = connect(**environment)
    assert (reached.endpoint, reached.version) == (engine.endpoint, engine.version)
    assert docker({**config, **environment}, *ASK_VERSION) == engine.version

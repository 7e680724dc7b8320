"""The one module that knows the Engine API.

Every call has a time limit; every failure is one of `pysys_orch.errors`.

Source:
    Docker Engine API 1.41 (engine 20.10) to the current one.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from pysys_orch.docker.engine.model import Found, Kind, Resource, read_stamp
from pysys_orch.docker.engine.ownership import (
    CACHE_LABEL,
    RUN_LABEL,
    SERVICE_ID_LABEL,
    SERVICE_NAME_LABEL,
    is_cache_tag,
)
from pysys_orch.docker.engine.transport import (
    CONNECTION_ERRORS,
    Response,
    SdkTransport,
    Transport,
    open_transport,
    without_credentials,
)
from pysys_orch.errors import (
    ConflictError,
    DockerError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
    SwarmInactiveError,
)

Json = dict[str, Any]

_ANSWER_TIMEOUT = 60.0  # removing a large container takes many seconds on a busy disk
_NODE_TIMEOUT = 5.0  # a manager waits for a node until it takes that for dead
_FRAME_HEADER = struct.Struct(">BxxxL")
_FIRST_REFUSAL = 400
_OF_A_SWARM = (
    "/configs",
    "/networks/create",
    "/nodes",
    "/secrets",
    "/services",
    "/swarm",
    "/tasks",
)
# What engines answer that do not manage a swarm, the former without more words.
_NOT_ACCEPTABLE = 406
_UNAVAILABLE = 503
_NO_SWARM = re.compile("not (in|part of) a swarm|not a swarm manager|be unlocked")
_STARTING_STATES = {
    "new",
    "allocated",
    "pending",
    "assigned",
    "accepted",
    "preparing",
    "ready",
    "starting",
}
_ERROR_STREAM = 3  # the engine's own words about a log that it cannot read on


class SwarmState(StrEnum):
    """What part an engine has in a swarm."""

    INACTIVE = "inactive"
    PENDING = "pending"
    WORKER = "worker"
    MANAGER = "manager"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFrame:
    """One message of a container's log, as the engine hands it over.

    Attributes:
        stream: 1 for standard output, 2 for standard error.
        stamp: When the engine received it, as the engine wrote it (RFC 3339, with
            nanoseconds); empty for a container with a terminal.
        payload: A line with its end, or part of one.
    """

    stream: int
    stamp: str
    payload: bytes


class _Stream:
    """An open answer, which any thread may end while another one reads it.

    Attributes:
        failure: Why it ended, where the engine did not mean it to end.
    """

    def __init__(self, response: Response, *, endpoint: str) -> None:
        self._response = response
        self._endpoint = endpoint
        self.failure: DockerError | None = None

    def without_limit(self) -> Self:
        """Wait for ever from now on: silence is no failure."""
        self._response.without_limit()
        return self

    def close(self) -> None:
        """End the stream, also while another thread reads it."""
        self._response.close()

    def _pieces(self) -> Iterator[bytes]:
        """Yield what arrives, all at once what has arrived together."""
        try:
            yield from self._response.pieces()
        except Exception as failure:  # noqa: BLE001 -- whatever ends a stream ends it
            self._broke(_cause(failure, _ANSWER_TIMEOUT))

    def _broke(self, cause: str) -> None:
        self.failure = EngineUnreachableError(
            self._endpoint, f"a stream broke off: {cause}"
        )


class LogStream(_Stream):
    """An open stream of log frames, which another thread may close."""

    def __init__(self, response: Response, *, endpoint: str, framed: bool) -> None:
        super().__init__(response, endpoint=endpoint)
        self._framed = framed

    def __iter__(self) -> Iterator[LogFrame]:
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[LogFrame]]:
        """Yield the frames, all at once those that have arrived together."""
        if not self._framed:
            for data in self._pieces():
                yield [LogFrame(stream=1, stamp="", payload=data)]
            return
        buffer = b""
        for data in self._pieces():
            buffer += data
            frames, used = self._frames(buffer)
            buffer = buffer[used:]
            if frames:
                yield frames
            if self.failure is not None:
                return
        if buffer and self.failure is None:
            self._broke("in the middle of a frame")

    def _frames(self, buffer: bytes) -> tuple[list[LogFrame], int]:
        """Return the frames in *buffer*, and how many of its bytes they take."""
        frames: list[LogFrame] = []
        position = 0
        while len(buffer) - position >= _FRAME_HEADER.size:
            stream, length = _FRAME_HEADER.unpack_from(buffer, position)
            begin = position + _FRAME_HEADER.size
            end = begin + length
            if end > len(buffer):
                break
            position = end
            if stream == _ERROR_STREAM:
                words = buffer[begin:end].decode("utf-8", "replace")
                self.failure = EngineAnswerError("read a log", 500, words.strip())
                break
            stamp, _, payload = buffer[begin:end].partition(b" ")
            frames.append(
                LogFrame(stream=stream, stamp=stamp.decode(), payload=payload)
            )
        return frames, position


class ApiEngine:
    """One Docker Engine. Threads may share it.

    Attributes:
        endpoint: Where it is, without credentials.
        version: Its version, such as ``26.1.5``.
        local: Whether it can be taken to share this machine's files and loopback.
        host: The name or address under which published ports are reached.
    """

    def __init__(
        self, transport: Transport, host: str, version: str, api_version: str
    ) -> None:
        self._transport = transport
        self._address = host
        self._prefix = f"/v{api_version}"
        self.endpoint = without_credentials(host)
        self.version = version
        self.local = host.startswith(("unix://", "npipe://"))
        self.host = "127.0.0.1" if self.local else urlsplit(host).hostname or ""

    @classmethod
    def connect(
        cls, environment: Mapping[str, str], *, timeout: float = 5.0
    ) -> ApiEngine:
        """Reach the engine that the docker client would use in *environment*.

        Args:
            environment: What the docker client finds in its environment.
            timeout: Seconds within which it must answer for the first time.

        Raises:
            ConfigError: The environment names a context that does not exist, an
                address that is none, or certificates that cannot be read.
            EngineUnreachableError: Nothing answers there in time.
        """
        transport, host = open_transport(environment)
        endpoint = without_credentials(host)
        try:
            answer = transport.send("GET", "/version", body=None, timeout=timeout)
            told = json.loads(answer.body())
            version, api_version = str(told["Version"]), str(told["ApiVersion"])
        except (KeyError, TypeError, ValueError):
            cause = "what answers there is no Docker Engine"
            raise EngineUnreachableError(endpoint, cause) from None
        except CONNECTION_ERRORS as failure:
            raise EngineUnreachableError(endpoint, _cause(failure, timeout)) from None
        return cls(transport, host, version, api_version)

    def client_address(self) -> dict[str, str]:
        """Return what a docker client needs in its environment to find this engine.

        Nothing where that is a matter of certificates or keys: the client finds these
        by its own environment.
        """
        if isinstance(self._transport, SdkTransport):
            return {}
        return {"DOCKER_HOST": self._address}

    def now(self) -> datetime:
        """Return the present by the engine's clock, in UTC."""
        return read_stamp(
            self._get("ask the engine for its clock", "/info")["SystemTime"]
        )

    # Containers ---------------------------------------------------------------

    def create_container(self, name: str, body: Json) -> str:
        """Create a container from the API's own description; return its id."""
        words = f"create container {name}"
        answer = self._post(words, "/containers/create", {"name": name}, body)
        return str(answer["Id"])

    def inspect_container(self, container: str) -> Json:
        """Return everything that the engine knows about a container."""
        path = f"/containers/{container}/json"
        found: Json = self._get(f"inspect container {container}", path)
        return found

    def start_container(self, container: str) -> None:
        """Start it; nothing happens if it runs."""
        self._post(f"start container {container}", f"/containers/{container}/start")

    def stop_container(self, container: str, grace: float) -> None:
        """Ask it to end, and kill it after *grace* seconds."""
        self._post(
            f"stop container {container}",
            f"/containers/{container}/stop",
            {"t": round(grace)},
            timeout=grace + _ANSWER_TIMEOUT,
        )

    def restart_container(self, container: str, grace: float) -> None:
        """Stop it as `stop_container` does, and start it again."""
        self._post(
            f"restart container {container}",
            f"/containers/{container}/restart",
            {"t": round(grace)},
            timeout=grace + _ANSWER_TIMEOUT,
        )

    def kill_container(self, container: str, signal: str) -> None:
        """Send it a signal."""
        words = f"send {signal} to container {container}"
        self._post(words, f"/containers/{container}/kill", {"signal": signal})

    def pause_container(self, container: str) -> None:
        """Freeze its processes."""
        self._post(f"pause container {container}", f"/containers/{container}/pause")

    def unpause_container(self, container: str) -> None:
        """Let its processes go on."""
        self._post(f"unpause container {container}", f"/containers/{container}/unpause")

    def container_logs(
        self,
        container: str,
        *,
        follow: bool,
        framed: bool,
        since: str = "",
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
    ) -> LogStream:
        """Open the log of a container.

        Args:
            container: Its id.
            follow: Whether to stay until the container stops.
            framed: False for a container with a terminal, which has one raw stream.
            since: Leave out what the engine received before, as a frame's stamp.
            stdout: Whether standard output is wanted.
            stderr: Whether standard error is wanted.
            tail: How many of the last lines are wanted; all by default.
        """
        parameters = _log_parameters(framed, since, stdout, stderr, tail)
        parameters["follow"] = int(follow)
        words = f"read the log of container {container}"
        answer = self._ask(words, "GET", f"/containers/{container}/logs", parameters)
        stream = LogStream(answer, endpoint=self.endpoint, framed=framed)
        return stream.without_limit() if follow else stream

    # Images, networks, volumes -----------------------------------------------

    def inspect_image(self, image: str) -> Json:
        """Return everything that the engine knows about an image."""
        found: Json = self._get(f"inspect image {image}", f"/images/{image}/json")
        return found

    def image_tags(self, repository: str) -> list[str]:
        """Return the tags of all images in *repository*."""
        listed = self._get(
            f"list images of {repository}",
            "/images/json",
            {"filters": json.dumps({"reference": [repository]})},
        )
        return [tag for each in listed for tag in each.get("RepoTags") or []]

    def tag_image(self, image: str, tag: str) -> None:
        """Give an image one more name; the engine notes the time."""
        repository, _, name = tag.partition(":")
        self._post(
            f"tag image {image} as {tag}",
            f"/images/{image}/tag",
            {"repo": repository, "tag": name or "latest"},
        )

    def commit_container(
        self, container: str, tag: str, labels: Mapping[str, str]
    ) -> str:
        """Make an image of a container's file system; return the image's id."""
        repository, _, name = tag.partition(":")
        changes = [f"LABEL {key}={json.dumps(text)}" for key, text in labels.items()]
        answer = self._post(
            f"commit container {container} as {tag}",
            "/commit",
            {
                "container": container,
                "repo": repository,
                "tag": name or "latest",
                "changes": "\n".join(changes),
            },
            {},
            timeout=_ANSWER_TIMEOUT * 10,
        )
        return str(answer["Id"])

    def create_network(
        self, name: str, labels: Mapping[str, str], options: Json
    ) -> str:
        """Create a network; return its id."""
        body = {"Name": name, "Labels": dict(labels), "CheckDuplicate": True, **options}
        answer = self._post(f"create network {name}", "/networks/create", body=body)
        return str(answer["Id"])

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Create a volume."""
        body = {"Name": name, "Labels": dict(labels)}
        self._post(f"create volume {name}", "/volumes/create", body=body)

    def inspect_network(self, network: str) -> Json:
        """Return everything that the engine knows about a network."""
        found: Json = self._get(f"inspect network {network}", f"/networks/{network}")
        return found

    def list_labelled(self, path: str, labels: list[str]) -> list[Json]:
        """Return what carries all of *labels*, of containers also those that ended.

        Args:
            path: ``/containers/json``, ``/volumes`` or ``/networks``.
            labels: Each as ``key=value``.
        """
        filters = json.dumps({"label": labels})
        words = f"list {path.split('/')[1]}"
        listed = self._get(words, path, {"filters": filters, "all": 1})
        found: list[Json] = listed["Volumes"] if path == "/volumes" else listed
        return found or []

    # Swarm --------------------------------------------------------------------

    def swarm_state(self) -> SwarmState:
        """Return what part this engine has in a swarm."""
        told = self._get("ask the engine for its swarm", "/info").get("Swarm") or {}
        if told.get("ControlAvailable"):
            return SwarmState.MANAGER
        node = told.get("LocalNodeState")
        if node == "pending":
            return SwarmState.PENDING
        active = node not in {None, "", "inactive"}
        return SwarmState.WORKER if active else SwarmState.INACTIVE

    def begin_swarm(self, labels: Mapping[str, str]) -> None:
        """Make this engine the manager of a swarm of its own.

        It listens on the loopback only, so no other engine can join.

        Args:
            labels: Those of the swarm.
        """
        body = {
            "ListenAddr": "127.0.0.1:2377",
            "AdvertiseAddr": "127.0.0.1",
            "Spec": {"Name": "default", "Labels": dict(labels)},
        }
        self._post("begin a swarm", "/swarm/init", body=body)

    def inspect_swarm(self) -> Json:
        """Return everything that a manager knows about its swarm.

        Raises:
            SwarmInactiveError: This engine manages none; so for all that follows.
        """
        found: Json = self._get("inspect the swarm", "/swarm")
        return found

    def list_nodes(self) -> list[Json]:
        """Return the nodes of the swarm."""
        found: list[Json] = self._get("list the nodes of the swarm", "/nodes")
        return found

    def unready_nodes(self) -> set[str]:
        """Return the ids of the swarm's nodes from which it does not hear."""
        return {
            str(each["ID"])
            for each in self.list_nodes()
            if each["Status"]["State"] != "ready"
        }

    def own_node(self) -> str:
        """Return the id of the node of the swarm that this engine is; empty if none."""
        info = self._get("ask the engine for its node", "/info")
        return str((info.get("Swarm") or {}).get("NodeID", ""))

    def node_host(self, node: str) -> str:
        """Return the name or address under which a node's published ports are reached.

        Args:
            node: Its id.
        """
        if node == self.own_node():
            return self.host
        found = self._get(f"inspect node {node}", f"/nodes/{node}")
        return str(found["Status"].get("Addr", "")) or self.host

    def create_service(self, body: Json) -> str:
        """Create a service from the API's own description; return its id."""
        words = f"create service {body['Name']}"
        return str(self._post(words, "/services/create", body=body)["ID"])

    def inspect_service(self, service: str) -> Json:
        """Return everything that the swarm knows about a service."""
        found: Json = self._get(f"inspect service {service}", f"/services/{service}")
        return found

    def update_service(self, service: str, version: int, spec: Json) -> None:
        """Give a service another description.

        Args:
            service: Its id.
            version: The ``Version.Index`` that *spec* was made from.
            spec: All of the description.

        Raises:
            EngineAnswerError: Somebody has changed it since: ``out of sequence``.
        """
        words = f"update service {service}"
        path = f"/services/{service}/update"
        self._post(words, path, {"version": version}, spec)

    def list_services(self, labels: list[str]) -> list[Json]:
        """Return the services that carry all of *labels*, each as ``key=value``."""
        filters = json.dumps({"label": labels})
        listed = self._get("list services", "/services", {"filters": filters})
        found: list[Json] = listed
        return found

    def list_tasks(self, service: str) -> list[Json]:
        """Return the tasks of a service, of those that have ended the latest.

        Raises:
            NotFoundError: The service was removed, even if tasks of it still run.
        """
        filters = json.dumps({"service": [service]})
        words = f"list tasks of service {service}"
        found: list[Json] = self._get(words, "/tasks", {"filters": filters})
        return found

    def task_logs(
        self,
        task: str,
        *,
        framed: bool,
        since: str = "",
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
    ) -> LogStream:
        """Open the log of a task as it is now, on whichever node that runs.

        Args:
            task: Its id.
            framed: As for `container_logs`; so are the others.
            since: As there.
            stdout: As there.
            stderr: As there.
            tail: As there.

        Raises:
            EngineAnswerError: Its node is down: ``incomplete log stream``.
            EngineUnreachableError: Its node does not answer, as the swarm has not
                noticed yet.
        """
        answer = self._ask(
            f"read the log of task {task}",
            "GET",
            f"/tasks/{task}/logs",
            _log_parameters(framed, since, stdout, stderr, tail),
            timeout=_NODE_TIMEOUT,
        )
        return LogStream(answer, endpoint=self.endpoint, framed=framed)

    def starting_tasks(self, service: str) -> int:
        """Return how many tasks of a service have no container yet, but may have soon.

        Args:
            service: Its id; it may be removed already. Tasks on other nodes are none.
        """
        try:
            listed = self._get("list tasks", "/tasks")
        except SwarmInactiveError:
            return 0
        starting = [
            each
            for each in listed
            if each["ServiceID"] == service
            and each["Status"]["State"] in _STARTING_STATES
        ]
        if any(each.get("NodeID") for each in starting):
            here = {"", self.own_node()}
            starting = [each for each in starting if each.get("NodeID", "") in here]
        return len(starting)

    def task_containers(self, service: str) -> list[Resource]:
        """Return the containers on this node that a service has made.

        Args:
            service: Its id or name; it may be removed already.
        """
        listed = self.list_labelled("/containers/json", [SERVICE_ID_LABEL])
        return [
            Resource(
                kind=Kind.CONTAINER, id=each["Id"], name=each["Names"][0].lstrip("/")
            )
            for each in listed
            if service
            in map(each["Labels"].get, (SERVICE_ID_LABEL, SERVICE_NAME_LABEL))
        ]

    def create_secret(self, name: str, data: bytes, labels: Mapping[str, str]) -> str:
        """Create a secret; return its id. Its data are in no message."""
        return self._create_data(Kind.SECRET, name, data, labels)

    def create_config(self, name: str, data: bytes, labels: Mapping[str, str]) -> str:
        """Create a config; return its id."""
        return self._create_data(Kind.CONFIG, name, data, labels)

    def inspect_data(self, kind: Kind, name: str) -> Json:
        """Return everything that the swarm tells about a secret or config."""
        found: Json = self._get(f"inspect {kind} {name}", f"/{kind}s/{name}")
        return found

    def _create_data(
        self, kind: Kind, name: str, data: bytes, labels: Mapping[str, str]
    ) -> str:
        encoded = base64.b64encode(data).decode()
        body = {"Name": name, "Labels": dict(labels), "Data": encoded}
        answer = self._post(f"create {kind} {name}", f"/{kind}s/create", body=body)
        return str(answer["ID"])

    # Events -------------------------------------------------------------------

    def events(self, since: datetime | None = None) -> EventStream:
        """Open the stream of what happens to containers from now on.

        Args:
            since: Begin here, by the engine's clock; the engine remembers 256 events.
        """
        parameters = {"filters": json.dumps({"type": ["container"]})}
        if since is not None:
            parameters["since"] = f"{since.timestamp():.9f}"
        answer = self._ask("watch the engine's events", "GET", "/events", parameters)
        return EventStream(answer, endpoint=self.endpoint).without_limit()

    # Collection ---------------------------------------------------------------

    def listing(self, *, dated: bool = True) -> list[Found]:
        """Return everything on the engine that can have an owner.

        Images are listed once for each of their tags; of the untagged ones only those
        that carry the label of our builds.

        Args:
            dated: Whether cached images tell when they were last used, and not only
                when they were built. That takes a request for each of them.
        """
        found: list[Found] = []
        found += self._containers()
        found += self._networks()
        found += self._volumes()
        found += self._images(dated=dated)
        found += self._swarm(Kind.SERVICE, "/services")
        found += self._swarm(Kind.SECRET, "/secrets")
        found += self._swarm(Kind.CONFIG, "/configs")
        found += self._begun_swarm()
        return found

    def remove(self, resource: Resource) -> None:
        """Remove one thing: kill what runs, untag what is used.

        Raises:
            NotFoundError: Somebody else removed it a moment ago; a volume is then no
                error at all.
            ConflictError: Something still uses it, or somebody else is removing it.
            EngineAnswerError: The engine refused.
        """
        parameters = {
            Kind.CONTAINER: {"force": 1, "v": 1},
            Kind.VOLUME: {"force": 1},
        }.get(resource.kind, {})
        if resource.kind is Kind.SWARM:
            self._post("leave the swarm", "/swarm/leave", {"force": 1})
            return
        path = f"/{resource.kind}s/{resource.id}"
        self._fetch(f"remove {resource}", "DELETE", path, parameters)

    def _containers(self) -> Iterator[Found]:
        for each in self._get("list containers", "/containers/json", {"all": 1}):
            names = each.get("Names") or [each["Id"]]
            yield Found(
                resource=Resource(
                    kind=Kind.CONTAINER, id=each["Id"], name=names[0].lstrip("/")
                ),
                created=datetime.fromtimestamp(each["Created"], UTC),
                labels=each.get("Labels") or {},
            )

    def _networks(self) -> Iterator[Found]:
        for each in self._get("list networks", "/networks"):
            yield Found(
                resource=Resource(kind=Kind.NETWORK, id=each["Id"], name=each["Name"]),
                created=read_stamp(each["Created"]),
                labels=each.get("Labels") or {},
            )

    def _volumes(self) -> Iterator[Found]:
        for each in self._get("list volumes", "/volumes").get("Volumes") or []:
            name = each["Name"]
            yield Found(
                resource=Resource(kind=Kind.VOLUME, id=name, name=name),
                created=read_stamp(each.get("CreatedAt") or ""),
                labels=each.get("Labels") or {},
            )

    def _images(self, *, dated: bool) -> Iterator[Found]:
        for each in self._get("list images", "/images/json"):
            labels = each.get("Labels") or {}
            created = datetime.fromtimestamp(each["Created"], UTC)
            tags = [tag for tag in each.get("RepoTags") or [] if "<none>" not in tag]
            if not tags and CACHE_LABEL in labels:
                resource = Resource(kind=Kind.IMAGE, id=each["Id"], name=each["Id"])
                yield Found(resource=resource, created=created, labels=labels)
            if dated and any(is_cache_tag(tag) for tag in tags):
                created = self._last_tagged(each["Id"], created)
            for tag in tags:
                resource = Resource(kind=Kind.IMAGE, id=tag, name=tag)
                yield Found(resource=resource, created=created, labels=labels)

    def _last_tagged(self, image: str, otherwise: datetime) -> datetime:
        try:
            tagged = self.inspect_image(image).get("Metadata", {}).get("LastTagTime")
        except NotFoundError:
            return otherwise
        return max(read_stamp(tagged or ""), otherwise)

    def _swarm(self, kind: Kind, path: str) -> Iterator[Found]:
        try:
            listed = self._get(f"list {kind}s", path)
        except SwarmInactiveError:
            return
        for each in listed:
            name = each["Spec"]["Name"]
            yield Found(
                resource=Resource(kind=kind, id=each["ID"], name=name),
                created=read_stamp(each["CreatedAt"]),
                labels=each["Spec"].get("Labels") or {},
            )

    def _begun_swarm(self) -> Iterator[Found]:
        """Yield the swarm if one of us has begun it."""
        try:
            found = self.inspect_swarm()
        except SwarmInactiveError:
            return
        labels = found["Spec"].get("Labels") or {}
        if RUN_LABEL in labels:
            yield Found(
                resource=Resource(
                    kind=Kind.SWARM, id=found["ID"], name=found["Spec"]["Name"]
                ),
                created=read_stamp(found["CreatedAt"]),
                labels=labels,
            )

    # Requests -----------------------------------------------------------------

    def _get(self, words: str, path: str, parameters: Json | None = None) -> Any:  # noqa: ANN401
        return json.loads(self._fetch(words, "GET", path, parameters))

    def _post(
        self,
        words: str,
        path: str,
        parameters: Json | None = None,
        body: Json | None = None,
        *,
        timeout: float = _ANSWER_TIMEOUT,
    ) -> Any:  # noqa: ANN401 -- JSON
        answer = self._fetch(words, "POST", path, parameters, body, timeout=timeout)
        return json.loads(answer or "null")

    def _fetch(
        self,
        words: str,
        method: str,
        path: str,
        parameters: Json | None = None,
        body: Json | None = None,
        *,
        timeout: float = _ANSWER_TIMEOUT,
    ) -> bytes:
        """Send a request, and return all of the answer."""
        answer = self._ask(words, method, path, parameters, body, timeout=timeout)
        with self._speaking(words, timeout):
            return answer.body()

    def _ask(
        self,
        words: str,
        method: str,
        path: str,
        parameters: Json | None = None,
        body: Json | None = None,
        *,
        timeout: float = _ANSWER_TIMEOUT,
    ) -> Response:
        """Send a request; say what became of it, in *words*, if it fails."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        target = f"{self._prefix}{quote(path, safe='/:@')}{query}"
        data = None if body is None else json.dumps(body).encode()
        with self._speaking(words, timeout):
            answer = self._transport.send(method, target, body=data, timeout=timeout)
            if answer.status < _FIRST_REFUSAL:
                return answer
            said = answer.body()
        refusal = _refusal(words, answer.status, said)
        if path.startswith(_OF_A_SWARM) and _says_no_swarm(refusal):
            works = "Worker nodes" in refusal.explanation
            raise SwarmInactiveError(self.endpoint, works=works)
        raise refusal

    @contextlib.contextmanager
    def _speaking(self, words: str, timeout: float) -> Iterator[None]:
        """Say what was wanted, in *words*, when the connection fails."""
        try:
            yield
        except CONNECTION_ERRORS as failure:
            cause = f"could not {words}: {_cause(failure, timeout)}"
            raise EngineUnreachableError(self.endpoint, cause) from None


class EventStream(_Stream):
    """An open stream of what happens to containers, which any thread may close."""

    def __iter__(self) -> Iterator[Json]:
        buffer = b""
        for data in self._pieces():
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)


def _refusal(request: str, status: int, said: bytes) -> EngineAnswerError:
    try:
        words = str(json.loads(said)["message"])
    except (ValueError, KeyError, TypeError):
        words = said.decode("utf-8", "replace")
    known = {404: NotFoundError, 409: ConflictError}.get(status, EngineAnswerError)
    return known(request, status, " ".join(words.split()) or "no reason given")


def _says_no_swarm(refusal: EngineAnswerError) -> bool:
    """Return whether an engine refuses since it does not manage a swarm."""
    if refusal.status == _NOT_ACCEPTABLE:
        return True
    return refusal.status == _UNAVAILABLE and bool(
        _NO_SWARM.search(refusal.explanation)
    )


def _cause(failure: BaseException, timeout: float) -> str:
    """Say in a few words why a request got no answer."""
    words = str(failure)
    if "timed out" in words.lower():
        return f"no answer within {timeout:g} s"
    for cause in (
        "Connection refused",
        "No such file or directory",
        "Permission denied",
        "Name or service not known",
        "Connection reset",
        "Connection aborted",
    ):
        if cause in words:
            return cause.lower()
    return words.strip().rpartition("\n")[2][:200] or type(failure).__name__


def _log_parameters(
    framed: bool,
    since: str,
    stdout: bool,
    stderr: bool,
    tail: int | None,
) -> Json:
    return {
        "stdout": int(stdout),
        "stderr": int(stderr),
        "timestamps": int(framed),
        "since": _unix_time(since) if since else "0",
        "tail": "all" if tail is None else str(tail),
    }


def _unix_time(stamp: str) -> str:
    """Return a log frame's stamp as the seconds with nanoseconds that *since* takes."""
    nanoseconds = stamp.partition(".")[2].rstrip("Z").ljust(9, "0")[:9]
    return f"{int(read_stamp(stamp).timestamp())}.{nanoseconds}"

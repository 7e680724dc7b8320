"""The one module that speaks the Engine API.

It stands on the Docker SDK's low-level client, which knows sockets, TLS, ssh, pipes and
contexts, and is imported on first use: it costs more than all the rest of this package.
Every call has a time limit; every failure is one of `pysys_orch.errors`.

Source:
    Docker Engine API 1.41 (engine 20.10) to the current one.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.ownership import CACHE_LABEL, is_cache_tag
from pysys_orch.errors import (
    ConfigError,
    ConflictError,
    DockerError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
)

if TYPE_CHECKING:
    from io import BufferedReader

    import requests
    from docker import APIClient
    from docker.tls import TLSConfig

Json = dict[str, Any]
_T = TypeVar("_T")

#: Where an engine is when nobody says otherwise.
DEFAULT_HOST = "unix:///var/run/docker.sock"

_ANSWER_TIMEOUT = 60.0  # removing a large container takes many seconds on a busy disk
_FRAME_HEADER = struct.Struct(">BxxxL")
_ERROR_STREAM = 3  # the engine's own words about a log that it cannot read on
_READ_SIZE = 65536


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
    """An open response, which any thread may end while another one reads it.

    Attributes:
        failure: Why it ended, where the engine did not mean it to end.
    """

    def __init__(self, response: requests.Response, *, endpoint: str) -> None:
        self._response = response
        self._endpoint = endpoint
        self.failure: DockerError | None = None

    def without_limit(self) -> Self:
        """Wait for ever from now on: silence is no failure."""
        raw: Any = self._response.raw
        with contextlib.suppress(AttributeError):
            raw.connection.sock.settimeout(None)
        return self

    def close(self) -> None:
        """End the stream, also while another thread reads it."""
        raw: Any = self._response.raw
        try:
            raw.shutdown()
        except Exception:  # noqa: BLE001 -- of whatever kind the connection is
            # What is no socket, such as an ssh process, ends with its connection.
            with contextlib.suppress(Exception):
                raw.connection.sock.close()
        # Not the response's own `close`: that gives the useless connection to the pool,
        # which warns in the log, from any thread, once it has too many.
        with contextlib.suppress(Exception):
            raw.close()

    def _pieces(self) -> Iterator[bytes]:
        """Yield what arrives, all at once what has arrived together."""
        raw = self._response.raw
        try:
            file = getattr(getattr(raw, "_fp", None), "fp", None)
            if raw.chunked and file is not None:
                yield from _unchunked(file)
            else:
                while data := raw.read1(_READ_SIZE):
                    yield data
        except Exception as failure:  # noqa: BLE001 -- whatever ends a stream ends it
            self._broke(_cause(failure, _ANSWER_TIMEOUT))

    def _broke(self, cause: str) -> None:
        self.failure = EngineUnreachableError(
            self._endpoint, f"a stream broke off: {cause}"
        )


class LogStream(_Stream):
    """An open stream of log frames, which another thread may close."""

    def __init__(
        self, response: requests.Response, *, endpoint: str, framed: bool
    ) -> None:
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

    def __init__(self, api: APIClient, host: str, version: str) -> None:
        self._api = api
        self._host = host
        self.endpoint = _without_credentials(host)
        self.version = version
        self.local = host.startswith(("unix://", "npipe://"))
        remote = self.endpoint.partition("://")[2].partition(":")[0]
        self.host = "127.0.0.1" if self.local else remote

    @classmethod
    def connect(
        cls, environment: Mapping[str, str], *, timeout: float = 5.0
    ) -> ApiEngine:
        """Reach the engine that the docker client would use in *environment*.

        Args:
            environment: Read for ``DOCKER_HOST``, ``DOCKER_CONTEXT``,
                ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH``.
            timeout: Seconds within which it must answer for the first time.

        Raises:
            ConfigError: The environment names a context that does not exist, or
                an address that is none.
            EngineUnreachableError: Nothing answers there in time.
        """
        import docker
        from docker.utils import kwargs_from_env

        host = environment.get("DOCKER_HOST", "")
        tls: TLSConfig | bool = False
        if host:
            arguments = kwargs_from_env(environment=dict(environment))
            tls = arguments.get("tls", False)
        else:
            host, tls = _context(environment.get("DOCKER_CONTEXT"))
        endpoint = _without_credentials(host)
        try:
            api = docker.APIClient(
                base_url=host,
                tls=tls,
                version="auto",
                timeout=timeout,  # type: ignore[arg-type] # the stub says int
                use_ssh_client=host.startswith("ssh://"),
            )
            version = str(api.version(api_version=False)["Version"])
        except docker.errors.TLSParameterError as failure:
            message = f"the TLS settings for {endpoint} do not fit: {failure}"
            raise ConfigError(message) from failure
        except Exception as failure:
            if "Invalid bind address" in str(failure):
                message = f"DOCKER_HOST={endpoint} is not an address: {failure}"
                raise ConfigError(message) from failure
            raise EngineUnreachableError(endpoint, _cause(failure, timeout)) from None
        api.timeout = round(_ANSWER_TIMEOUT)
        return cls(api, host, version)

    def client_address(self) -> dict[str, str]:
        """Return what a docker client needs in its environment to find this engine.

        Nothing where certificates are needed: those are in the client's own context.
        """
        return (
            {}
            if self._api.verify not in (True, None) or self._api.cert
            else {"DOCKER_HOST": self._host}
        )

    def now(self) -> datetime:
        """Return the present by the engine's clock, in UTC."""
        info = self._ask("ask the engine for its clock", self._api.info)
        return _stamp(info["SystemTime"])

    # Containers ---------------------------------------------------------------

    def create_container(self, name: str, body: Json) -> str:
        """Create a container from the API's own description; return its id."""
        answer = self._ask(
            f"create container {name}",
            lambda: self._post_json("/containers/create", body, params={"name": name}),
        )
        return str(answer["Id"])

    def inspect_container(self, container: str) -> Json:
        """Return everything that the engine knows about a container."""
        return self._ask(
            f"inspect container {container}",
            lambda: self._api.inspect_container(container),
        )

    def start_container(self, container: str) -> None:
        """Start it; nothing happens if it runs."""
        self._post(f"start container {container}", f"/containers/{container}/start")

    def stop_container(self, container: str, grace: float) -> None:
        """Ask it to end, and kill it after *grace* seconds."""
        self._post(
            f"stop container {container}",
            f"/containers/{container}/stop",
            params={"t": round(grace)},
            timeout=grace + _ANSWER_TIMEOUT,
        )

    def restart_container(self, container: str, grace: float) -> None:
        """Stop it as `stop_container` does, and start it again."""
        self._post(
            f"restart container {container}",
            f"/containers/{container}/restart",
            params={"t": round(grace)},
            timeout=grace + _ANSWER_TIMEOUT,
        )

    def kill_container(self, container: str, signal: str) -> None:
        """Send it a signal."""
        self._post(
            f"send {signal} to container {container}",
            f"/containers/{container}/kill",
            params={"signal": signal},
        )

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
        parameters = {
            "follow": int(follow),
            "stdout": int(stdout),
            "stderr": int(stderr),
            "timestamps": int(framed),
            "since": _unix_time(since) if since else "0",
            "tail": "all" if tail is None else str(tail),
        }
        response = self._ask(
            f"read the log of container {container}",
            lambda: self._request(
                "GET",
                f"/containers/{container}/logs",
                params=parameters,
                stream=True,
            ),
        )
        stream = LogStream(response, endpoint=self.endpoint, framed=framed)
        return stream.without_limit() if follow else stream

    # Images, networks, volumes -----------------------------------------------

    def inspect_image(self, image: str) -> Json:
        """Return everything that the engine knows about an image."""
        return self._ask(
            f"inspect image {image}", lambda: self._get(f"/images/{image}/json")
        )

    def image_tags(self, repository: str) -> list[str]:
        """Return the tags of all images in *repository*."""
        filters = json.dumps({"reference": [repository]})
        listed = self._ask(
            f"list images of {repository}",
            lambda: self._get("/images/json", params={"filters": filters}),
        )
        return [tag for each in listed for tag in each.get("RepoTags") or []]

    def tag_image(self, image: str, tag: str) -> None:
        """Give an image one more name; the engine notes the time."""
        repository, _, name = tag.partition(":")
        self._ask(
            f"tag image {image} as {tag}",
            lambda: self._api.tag(image, repository, name or "latest", force=True),
        )

    def commit_container(
        self, container: str, tag: str, labels: Mapping[str, str]
    ) -> str:
        """Make an image of a container's file system; return the image's id."""
        repository, _, name = tag.partition(":")
        changes = [f"LABEL {key}={json.dumps(text)}" for key, text in labels.items()]
        answer = self._ask(
            f"commit container {container} as {tag}",
            lambda: self._request(
                "POST",
                "/commit",
                params={
                    "container": container,
                    "repo": repository,
                    "tag": name or "latest",
                    "changes": "\n".join(changes),
                },
                json={},
                timeout=_ANSWER_TIMEOUT * 10,
            ),
        )
        return str(answer.json()["Id"])

    def create_network(
        self, name: str, labels: Mapping[str, str], options: Json
    ) -> str:
        """Create a network; return its id."""
        answer = self._ask(
            f"create network {name}",
            lambda: self._api.create_network(
                name, labels=dict(labels), check_duplicate=True, **options
            ),
        )
        return str(answer["Id"])

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Create a volume."""
        self._ask(
            f"create volume {name}",
            lambda: self._api.create_volume(name, labels=dict(labels)),
        )

    def inspect_network(self, network: str) -> Json:
        """Return everything that the engine knows about a network."""
        return self._ask(
            f"inspect network {network}", lambda: self._api.inspect_network(network)
        )

    def connect_network(self, network: str, container: str, aliases: list[str]) -> None:
        """Give a container an address in a network."""
        self._ask(
            f"connect container {container} to network {network}",
            lambda: self._api.connect_container_to_network(
                container, network, aliases=aliases
            ),
        )

    def list_labelled(self, path: str, labels: list[str]) -> Any:  # noqa: ANN401 -- JSON
        """Return what the engine lists at *path* of what carries all of *labels*."""
        filters = json.dumps({"label": labels})
        return self._ask(
            f"list {path.strip('/')}",
            lambda: self._get(path, params={"filters": filters}),
        )

    # Events -------------------------------------------------------------------

    def events(self, since: datetime | None = None) -> EventStream:
        """Open the stream of what happens to containers from now on.

        Args:
            since: Begin here, by the engine's clock; the engine remembers 256 events.
        """
        parameters = {"filters": json.dumps({"type": ["container"]})}
        if since is not None:
            parameters["since"] = f"{since.timestamp():.9f}"
        response = self._ask(
            "watch the engine's events",
            lambda: self._request(
                "GET",
                "/events",
                params=parameters,
                stream=True,
            ),
        )
        return EventStream(response, endpoint=self.endpoint).without_limit()

    # Collection ---------------------------------------------------------------

    def listing(self) -> list[Found]:
        """Return everything on the engine that can have an owner.

        Images are listed once for each of their tags; of the untagged ones only those
        that carry the label of our builds.
        """
        found: list[Found] = []
        found += self._containers()
        found += self._networks()
        found += self._volumes()
        found += self._images()
        found += self._swarm(Kind.SERVICE, "/services")
        found += self._swarm(Kind.SECRET, "/secrets")
        found += self._swarm(Kind.CONFIG, "/configs")
        return found

    def remove(self, resource: Resource) -> None:
        """Remove one thing: kill what runs, untag what is used.

        Raises:
            NotFoundError: Somebody else removed it a moment ago.
            ConflictError: Something still uses it, or somebody else is removing it.
            EngineAnswerError: The engine refused.
        """
        parameters = {
            Kind.CONTAINER: {"force": 1, "v": 1},
            Kind.VOLUME: {"force": 1},
        }.get(resource.kind, {})
        self._ask(
            f"remove {resource}",
            lambda: self._request(
                "DELETE", f"/{resource.kind}s/{resource.id}", params=parameters
            ),
        )

    def _containers(self) -> Iterator[Found]:
        listed = self._ask(
            "list containers", lambda: self._get("/containers/json", params={"all": 1})
        )
        for each in listed:
            names = each.get("Names") or [each["Id"]]
            yield Found(
                resource=Resource(
                    kind=Kind.CONTAINER, id=each["Id"], name=names[0].lstrip("/")
                ),
                created=datetime.fromtimestamp(each["Created"], UTC),
                labels=each.get("Labels") or {},
            )

    def _networks(self) -> Iterator[Found]:
        for each in self._ask("list networks", lambda: self._get("/networks")):
            yield Found(
                resource=Resource(kind=Kind.NETWORK, id=each["Id"], name=each["Name"]),
                created=_stamp(each["Created"]),
                labels=each.get("Labels") or {},
            )

    def _volumes(self) -> Iterator[Found]:
        listed = self._ask("list volumes", lambda: self._get("/volumes"))
        for each in listed.get("Volumes") or []:
            name = each["Name"]
            yield Found(
                resource=Resource(kind=Kind.VOLUME, id=name, name=name),
                created=_stamp(each.get("CreatedAt") or ""),
                labels=each.get("Labels") or {},
            )

    def _images(self) -> Iterator[Found]:
        for each in self._ask("list images", lambda: self._get("/images/json")):
            labels = each.get("Labels") or {}
            created = datetime.fromtimestamp(each["Created"], UTC)
            tags = [tag for tag in each.get("RepoTags") or [] if "<none>" not in tag]
            if not tags and CACHE_LABEL in labels:
                resource = Resource(kind=Kind.IMAGE, id=each["Id"], name=each["Id"])
                yield Found(resource=resource, created=created, labels=labels)
            if any(is_cache_tag(tag) for tag in tags):
                created = self._last_tagged(each["Id"], created)
            for tag in tags:
                resource = Resource(kind=Kind.IMAGE, id=tag, name=tag)
                yield Found(resource=resource, created=created, labels=labels)

    def _last_tagged(self, image: str, otherwise: datetime) -> datetime:
        try:
            tagged = self.inspect_image(image).get("Metadata", {}).get("LastTagTime")
        except NotFoundError:
            return otherwise
        return max(_stamp(tagged or ""), otherwise)

    def _swarm(self, kind: Kind, path: str) -> Iterator[Found]:
        try:
            listed = self._ask(f"list {kind}s", lambda: self._get(path))
        except EngineAnswerError as refusal:
            # 503 (406 on some engines): this engine takes part in no swarm, or
            # does not manage it.
            if refusal.status in {406, 503}:
                return
            raise
        for each in listed:
            name = each["Spec"]["Name"]
            yield Found(
                resource=Resource(kind=kind, id=each["ID"], name=name),
                created=_stamp(each["CreatedAt"]),
                labels=each["Spec"].get("Labels") or {},
            )

    # Requests -----------------------------------------------------------------

    def _get(self, path: str, **options: Any) -> Any:  # noqa: ANN401 -- JSON
        return self._request("GET", path, **options).json()

    def _post_json(self, path: str, body: Json, **options: Any) -> Any:  # noqa: ANN401
        return self._request("POST", path, json=body, **options).json()

    def _post(self, request: str, path: str, **options: Any) -> None:
        self._ask(request, lambda: self._request("POST", path, **options))

    def _request(
        self,
        method: str,
        path: str,
        *,
        timeout: float | tuple[float, float | None] = _ANSWER_TIMEOUT,
        **options: Any,
    ) -> requests.Response:
        url = f"{self._api.base_url}/v{self._api.api_version}{path}"
        response = self._api.request(method, url, timeout=timeout, **options)
        response.raise_for_status()
        return response

    def _ask(self, request: str, call: Callable[[], _T]) -> _T:
        """Do what *call* does, and say what became of *request* if it fails."""
        import requests
        from docker.errors import APIError, DockerException

        try:
            return call()
        except (requests.HTTPError, APIError) as failure:
            raise _refusal(request, failure) from None
        except (requests.RequestException, DockerException) as failure:
            cause = f"could not {request}: {_cause(failure, _ANSWER_TIMEOUT)}"
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


def _unchunked(file: BufferedReader) -> Iterator[bytes]:
    """Yield what is in the chunks of an HTTP response as it arrives.

    `http.client` reads one chunk at a time, and an engine makes a chunk of every line:
    this is three times as fast, and tells what has arrived together.

    Raises:
        EOFError: The response ended before its last chunk.
    """
    buffer = b""
    while data := file.read1(_READ_SIZE):
        buffer += data
        contents = []
        size, position = -1, 0
        while (line := buffer.find(b"\r\n", position)) >= 0:
            size = int(buffer[position:line].partition(b";")[0], 16)
            begin = line + 2
            if size == 0 or len(buffer) < begin + size + 2:
                break
            contents.append(buffer[begin : begin + size])
            position = begin + size + 2
        buffer = buffer[position:]
        if contents:
            yield b"".join(contents)
        if size == 0:
            return
    message = "the connection was closed"
    raise EOFError(message)


def _context(name: str | None) -> tuple[str, TLSConfig | bool]:
    """Return host and TLS settings of the docker context in use."""
    from docker.context import ContextAPI
    from docker.errors import DockerException

    try:
        contexts = {each.Name: each for each in ContextAPI.contexts()}
        context = contexts.get(name or ContextAPI.get_current_context().Name)
    except (DockerException, OSError, ValueError, AttributeError) as failure:
        message = f"docker context {name or 'in use'} cannot be read: {failure}"
        raise ConfigError(message) from failure
    if context is None:
        known = ", ".join(sorted(contexts))
        message = f"there is no docker context {name!r}; there are {known}"
        raise ConfigError(message)
    host = (context.Host or DEFAULT_HOST).replace("http+unix://", "unix://")
    return host, context.TLSConfig if context.TLSMaterial else False


def _refusal(request: str, failure: Exception) -> EngineAnswerError:
    response: requests.Response | None = getattr(failure, "response", None)
    status = 0 if response is None else response.status_code
    try:
        words = "" if response is None else response.json()["message"]
    except (ValueError, KeyError, TypeError):
        words = "" if response is None else response.text
    explanation = " ".join(words.split()) or str(failure)
    known = {404: NotFoundError, 409: ConflictError}.get(status, EngineAnswerError)
    return known(request, status, explanation)


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


def _without_credentials(host: str) -> str:
    scheme, mark, rest = host.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _stamp(text: str) -> datetime:
    """Read the engine's RFC 3339; what it does not know is very long ago."""
    head, dot, tail = text.partition(".")
    if dot:  # nanoseconds are three digits more than a datetime holds
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[: min(digits, 6)]}{tail[digits:]}"
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)


def _unix_time(stamp: str) -> str:
    """Return a log frame's stamp as the seconds with nanoseconds that *since* takes."""
    nanoseconds = stamp.partition(".")[2].rstrip("Z").ljust(9, "0")[:9]
    return f"{int(_stamp(stamp).timestamp())}.{nanoseconds}"

"""How requests reach an engine.

Sockets and plain TCP, which is what nearly everybody has, are spoken to with the
standard library alone: the Docker SDK takes longer to import than a run without Docker
takes altogether. The SDK does what it does better: TLS, ssh and named pipes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from pysys_orch.errors import ConfigError

if TYPE_CHECKING:
    import requests
    from docker import APIClient
    from docker.tls import TLSConfig

#: Where an engine is when nobody says otherwise.
DEFAULT_HOST = "unix:///var/run/docker.sock"

#: What a transport raises when there is no answer, or no end of it.
CONNECTION_ERRORS = (OSError, EOFError, http.client.HTTPException)

_READ_SIZE = 65536
_PLAIN_PORT = 2375


class Response(Protocol):
    """An answer, of which only the beginning needs to have arrived."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    def body(self) -> bytes:
        """Read it to its end, and be done with it."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Yield what arrives, all at once what has arrived together.

        Raises:
            Exception: Mostly one of `CONNECTION_ERRORS`, when it breaks.
        """
        ...

    def without_limit(self) -> None:
        """Wait for ever from now on: silence is no failure."""
        ...

    def close(self) -> None:
        """End it, also while another thread reads it."""
        ...


class Transport(Protocol):
    """Takes requests to one engine. Threads may share it."""

    def send(
        self, method: str, target: str, *, body: bytes | None, timeout: float
    ) -> Response:
        """Send a request, and wait for the beginning of the answer.

        Args:
            method: The HTTP method.
            target: Path and query.
            body: JSON, if any.
            timeout: Seconds for which the engine may be silent.

        Raises:
            Exception: One of `CONNECTION_ERRORS`, when there is no answer.
        """
        ...


class SocketTransport:
    """Speaks to a Unix socket or a TCP port, one connection for each request.

    Args:
        host: ``unix:///path`` or ``tcp://host:port``.

    Raises:
        ValueError: It is neither.
    """

    def __init__(self, host: str) -> None:
        address = urlsplit(host)
        self._path = host.removeprefix("unix://") if address.scheme == "unix" else ""
        if address.scheme == "unix" and not self._path.startswith("/"):
            message = "the path of a socket is absolute, as in unix:///var/run/x.sock"
            raise ValueError(message)
        self._address = (address.hostname or "localhost", address.port or _PLAIN_PORT)

    def send(
        self, method: str, target: str, *, body: bytes | None, timeout: float
    ) -> Response:
        """Send a request, and wait for the beginning of the answer."""
        connection = http.client.HTTPConnection("docker")
        connection.sock = link = self._connect(timeout)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, target, body, headers)
            return _SocketResponse(link, connection.getresponse())
        except BaseException:
            link.close()
            raise

    def _connect(self, timeout: float) -> socket.socket:
        if not self._path:
            return socket.create_connection(self._address, timeout)
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(timeout)
        try:
            link.connect(self._path)
        except BaseException:
            link.close()
            raise
        return link


class _SocketResponse:
    def __init__(self, link: socket.socket, response: http.client.HTTPResponse) -> None:
        self._link = link
        self._response = response
        self.status = response.status

    def body(self) -> bytes:
        try:
            return self._response.read()
        finally:
            self.close()

    def pieces(self) -> Iterator[bytes]:
        if self._response.chunked:
            yield from unchunked(self._response.fp)
            return
        while data := self._response.read1(_READ_SIZE):
            yield data

    def without_limit(self) -> None:
        self._link.settimeout(None)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()
        with contextlib.suppress(OSError, ValueError):
            self._response.close()


class SdkTransport:
    """Speaks to an engine through the Docker SDK's low-level client.

    Args:
        host: What the SDK takes as ``base_url``.
        tls: The SDK's TLS settings, or False.
    """

    def __init__(self, host: str, tls: TLSConfig | bool) -> None:
        self._host = host
        self._tls = tls
        self._lock = threading.Lock()
        self._made: APIClient | None = None

    def send(
        self, method: str, target: str, *, body: bytes | None, timeout: float
    ) -> Response:
        """Send a request, and wait for the beginning of the answer."""
        from docker.errors import DockerException

        headers = {"Connection": "close"}  # each request has its own, as above
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            api = self._client(timeout)
            answer = api.request(
                method,
                f"{api.base_url}{target}",
                data=body,
                headers=headers,
                timeout=timeout,
                stream=True,
            )
        except DockerException as failure:
            raise OSError(str(failure)) from failure
        return _SdkResponse(answer)

    def _client(self, timeout: float) -> APIClient:
        """Return the SDK's client; an ssh process starts when it is made."""
        import docker

        with self._lock:
            if self._made is None:
                self._made = docker.APIClient(
                    base_url=self._host,
                    tls=self._tls,
                    version="1.41",  # not asked for: each request names its own
                    timeout=round(timeout) or 1,
                    use_ssh_client=self._host.startswith("ssh://"),
                )
            return self._made


class _SdkResponse:
    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._raw: Any = response.raw
        self.status = response.status_code

    def body(self) -> bytes:
        with self._response:
            return self._response.content

    def pieces(self) -> Iterator[bytes]:
        file = getattr(getattr(self._raw, "_fp", None), "fp", None)
        if self._raw.chunked and file is not None:
            yield from unchunked(file)
            return
        while data := self._raw.read1(_READ_SIZE):
            yield data

    def without_limit(self) -> None:
        with contextlib.suppress(AttributeError):
            self._raw.connection.sock.settimeout(None)

    def close(self) -> None:
        try:
            self._raw.shutdown()
        except Exception:  # noqa: BLE001 -- of whatever kind the connection is
            # What is no socket, such as an ssh process, ends with its connection.
            with contextlib.suppress(Exception):
                self._raw.connection.sock.close()
        # Not the response's own `close`: that gives the useless connection to the pool,
        # which warns in the log, from any thread, once it has too many.
        with contextlib.suppress(Exception):
            self._raw.close()


def open_transport(environment: Mapping[str, str]) -> tuple[Transport, str]:
    """Find the engine that the docker client would use in *environment*.

    Nothing is asked of it yet.

    Args:
        environment: Read for ``DOCKER_HOST``, ``DOCKER_CONTEXT``, ``DOCKER_CONFIG``,
            ``HOME``, ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH``.

    Returns:
        How to reach it, and its address.

    Raises:
        ConfigError: The environment names a context that does not exist, an address
            that is none, or certificates that cannot be read.
    """
    tls: TLSConfig | bool = False
    host = environment.get("DOCKER_HOST", "")
    if not host:
        host, tls = _context(environment)
    elif environment.get("DOCKER_TLS_VERIFY"):
        tls = _tls(environment, environment.get("DOCKER_CERT_PATH"))
    shown = f"DOCKER_HOST={without_credentials(host)}"
    scheme = urlsplit(host).scheme
    if scheme not in {"unix", "tcp", "http", "https", "ssh", "npipe"}:
        message = f"{shown} is no address: it begins with unix://, tcp:// or ssh://"
        raise ConfigError(message)
    if scheme == "unix" or (scheme in {"tcp", "http"} and not tls):
        try:
            return SocketTransport(host), host
        except ValueError as failure:
            message = f"{shown} is no address: {failure}"
            raise ConfigError(message) from None
    return SdkTransport(host, tls), host


def without_credentials(host: str) -> str:
    """Return an address as it may be shown to anybody."""
    scheme, mark, rest = host.rpartition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def unchunked(file: BufferedReader) -> Iterator[bytes]:
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


def _context(environment: Mapping[str, str]) -> tuple[str, TLSConfig | bool]:
    """Return host and TLS settings of the docker context in use."""
    home = Path(environment.get("HOME") or Path.home())
    folder = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    name = environment.get("DOCKER_CONTEXT") or _current_context(folder)
    if name in {"", "default"}:
        return DEFAULT_HOST, False
    contexts = {}
    for path in folder.glob("contexts/meta/*/meta.json"):
        # What is not for Docker, or broken, concerns only who names it.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            meta = json.loads(path.read_text(encoding="utf-8"))
            contexts[meta["Name"]] = (meta["Endpoints"]["docker"], path.parent.name)
    if name not in contexts:
        known = ", ".join(["default", *sorted(contexts)])
        message = f"there is no docker context {name!r}; there are {known}"
        raise ConfigError(message)
    endpoint, digest = contexts[name]
    material = folder / "contexts" / "tls" / digest / "docker"
    verify = not endpoint.get("SkipTLSVerify", False)
    tls = _tls(environment, material, verify=verify) if material.is_dir() else False
    return endpoint.get("Host") or DEFAULT_HOST, tls


def _current_context(folder: Path) -> str:
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(settings.get("currentContext") or "")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError) as failure:
        message = f"{folder / 'config.json'} cannot be read: {failure}"
        raise ConfigError(message) from failure


def _tls(
    environment: Mapping[str, str], folder: str | Path | None, *, verify: bool = True
) -> TLSConfig:
    """Return the SDK's settings for the certificates in *folder*."""
    from docker.errors import TLSParameterError
    from docker.tls import TLSConfig

    home = Path(environment.get("HOME") or Path.home())
    files = Path(folder or home / ".docker")
    try:
        return TLSConfig(
            client_cert=(str(files / "cert.pem"), str(files / "key.pem")),
            ca_cert=str(files / "ca.pem"),
            verify=verify,
        )
    except TLSParameterError as failure:
        message = f"the certificates in {files} cannot be used: {failure}"
        raise ConfigError(message) from failure

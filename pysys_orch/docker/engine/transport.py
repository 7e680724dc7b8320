"""How requests reach an engine.

All but named pipes is spoken to with the standard library alone. The Docker SDK takes
longer to import than a run without Docker takes altogether, and what its ssh gives is
no socket: it knows no time limit, and no other thread can end it.
"""

from __future__ import annotations

import contextlib
import http.client
import selectors
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader
from typing import TYPE_CHECKING, Any, Protocol

from pysys_orch.docker.engine.address import find_address, without_credentials
from pysys_orch.docker.engine.dialing import Dial, choose_dial, last_words
from pysys_orch.errors import ConfigError

if TYPE_CHECKING:
    import requests
    from docker import APIClient

#: What a transport raises when there is no answer, or no end of it.
CONNECTION_ERRORS = (OSError, EOFError, http.client.HTTPException)

_READ_SIZE = 65536
_MOST_COSTLY_CONNECTS = 5  # OpenSSH turns away some from the tenth on
_MOST_KEPT = 16  # more threads than a run commonly has busy with one engine


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

    @property
    def is_plain(self) -> bool:
        """Whether its address alone is all that others need to reach the engine."""
        ...

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

    def close(self) -> None:
        """End what is kept for the next request; it may still be used."""
        ...


class SocketTransport:
    """Sends requests over connections that it makes, mostly one for each of them.

    Where a connection is costly it is kept for the next request. Few are made at the
    same time then: an ssh server turns away who comes in a crowd.

    Args:
        dial: Makes the connections.
    """

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._gate = threading.BoundedSemaphore(_MOST_COSTLY_CONNECTS)
        self._kept: list[socket.socket] = []
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def is_plain(self) -> bool:
        """Whether its address alone is all that others need to reach the engine."""
        return self._dial.is_plain

    def send(
        self, method: str, target: str, *, body: bytes | None, timeout: float
    ) -> Response:
        """Send a request, and wait for the beginning of the answer."""
        if not self._dial.is_costly:
            link = self._dial.connect(timeout)
            return _ask(link, method, target, body=body, keep=None)
        link = self._take() or self._connect(timeout)
        link.settimeout(timeout)
        return _ask(link, method, target, body=body, keep=self._keep)

    def close(self) -> None:
        """End the connections that are kept."""
        with self._lock:
            self._is_closed = True
            kept, self._kept = self._kept, []
        for link in kept:
            link.close()

    def _connect(self, timeout: float) -> socket.socket:
        """Make a connection, and wait until it stands."""
        with self._gate:
            link = self._dial.connect(timeout)
            # Only an answer tells, and the one that is wanted may be long in coming.
            _ask(link, "GET", "/_ping", body=None, keep=_leave_open).body()
        return link

    def _take(self) -> socket.socket | None:
        """Return a connection that was kept, if one of them still stands."""
        while True:
            with self._lock:
                if not self._kept:
                    return None
                link = self._kept.pop()
            # Nobody was asked anything: who says something now says goodbye.
            # Not by `select`, which knows no descriptor above 1023.
            with selectors.DefaultSelector() as selector:
                selector.register(link, selectors.EVENT_READ)
                if not selector.select(0):
                    return link
            link.close()

    def _keep(self, link: socket.socket) -> None:
        with self._lock:
            if not self._is_closed and len(self._kept) < _MOST_KEPT:
                self._kept.append(link)
                return
        link.close()


def _ask(
    link: socket.socket,
    method: str,
    target: str,
    *,
    body: bytes | None,
    keep: Callable[[socket.socket], None] | None,
) -> Response:
    """Send a request by a connection, which is closed if that fails.

    Args:
        link: The connection.
        method: The HTTP method.
        target: Path and query.
        body: JSON, if any.
        keep: Gets the connection once the answer was read; without it that is closed.
    """
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection = _Connection("docker")
    connection.sock = link
    try:
        connection.request(method, target, body, headers)
        return _SocketResponse(link, connection.getresponse(), keep)
    except (ConnectionError, http.client.HTTPException) as failure:
        words = last_words(link)
        link.close()
        if words:
            raise ConnectionError(words) from failure
        raise
    except BaseException:
        link.close()
        raise


def _leave_open(_link: socket.socket) -> None:
    """Keep a connection by doing nothing about it."""


class _Connection(http.client.HTTPConnection):
    """One whose socket is closed by nobody but us."""

    def close(self) -> None:
        pass


class _SocketResponse:
    def __init__(
        self,
        link: socket.socket,
        response: http.client.HTTPResponse,
        keep: Callable[[socket.socket], None] | None,
    ) -> None:
        self._link = link
        self._response = response
        self._keep = keep
        self.status = response.status

    def body(self) -> bytes:
        try:
            data = self._response.read()
        except BaseException:
            self.close()
            raise
        if self._keep is None or self._response.will_close:
            self.close()
        else:
            self._keep(self._link)
        return data

    def pieces(self) -> Iterator[bytes]:
        if self._response.chunked:
            yield from unchunked(self._response.fp)
            return
        while data := self._response.read1(_READ_SIZE):
            yield data

    def without_limit(self) -> None:
        self._link.settimeout(None)

    def close(self) -> None:
        # Not the method of a TLS connection: that forgets its state, which another
        # thread reads by.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._link, socket.SHUT_RDWR)
        self._link.close()
        with contextlib.suppress(OSError, ValueError):
            self._response.close()


class SdkTransport:
    """Speaks to an engine through the Docker SDK's low-level client.

    Args:
        host: What the SDK takes as ``base_url``.
    """

    is_plain = True

    def __init__(self, host: str) -> None:
        self._host = host
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

    def close(self) -> None:
        """Nothing is kept."""

    def _client(self, timeout: float) -> APIClient:
        import docker

        with self._lock:
            if self._made is None:
                self._made = docker.APIClient(
                    base_url=self._host,
                    version="1.41",  # not asked for: each request names its own
                    timeout=round(timeout) or 1,
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
        environment: As for `find_address`; and what an ssh client finds in its own.

    Returns:
        How to reach it, and its address.

    Raises:
        ConfigError: The environment names a context that does not exist, an address
            that is none, or certificates that cannot be read.
    """
    address = find_address(environment)
    if address.host.startswith("npipe:"):
        return SdkTransport(address.host), address.host
    try:
        dial = choose_dial(address.host, address.tls, environment)
    except ValueError as failure:
        shown = f"{address.source}={without_credentials(address.host)}"
        message = f"{shown} is no address: {failure}"
        raise ConfigError(message) from None
    return SocketTransport(dial), address.host


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

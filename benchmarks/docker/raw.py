"""The Engine API over its unix socket by the standard library alone: the baseline."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

_HEADER = struct.Struct(">BxxxL")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


class RawEngine:
    """One engine. Threads may share it: each keeps a connection of its own open."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._own = threading.local()

    def ask(self, method: str, path: str, body: object = None, **query: object) -> Any:  # noqa: ANN401 -- JSON
        """Make a request on the connection of this thread, and read all of the answer.

        Returns:
            What the JSON says; the bytes if it is none.

        Raises:
            RuntimeError: The engine refused.
        """
        if not hasattr(self._own, "connection"):
            self._own.connection = _Connection(self.path)
        try:
            response = _send(self._own.connection, method, path, body, query)
            data = response.read()
        except BaseException:
            self._own.connection.close()  # whatever it was in the middle of
            raise
        if response.headers.get("Content-Type", "").startswith("application/json"):
            try:
                return json.loads(data)
            except ValueError:  # a stream of several, as a build has
                return data
        return data

    def open(self, path: str, **query: object) -> http.client.HTTPResponse:
        """Open a stream, on a connection of its own."""
        connection = _Connection(self.path)
        return _send(connection, "GET", path, None, query)

    def log_lines(self, container: str, *, follow: bool) -> Iterator[bytes]:
        """Yield the payloads of a container's log as they come."""
        path = f"/containers/{container}/logs"
        with self.open(path, follow=int(follow), stdout=1, stderr=1) as response:
            while header := response.read(_HEADER.size):
                yield response.read(_HEADER.unpack(header)[1])


def _send(
    connection: _Connection,
    method: str,
    path: str,
    body: object,
    query: dict[str, object],
) -> http.client.HTTPResponse:
    kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
    data = body if isinstance(body, bytes) or body is None else json.dumps(body)
    where = f"/v1.41{quote(path)}" + (f"?{urlencode(query)}" if query else "")
    connection.request(method, where, data, {"Content-Type": kind})
    response = connection.getresponse()
    if response.status >= 400:
        words = response.read().decode("utf-8", "replace").strip()
        message = f"{method} {path}: {response.status} {words}"
        raise RuntimeError(message)
    return response

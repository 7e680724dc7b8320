"""How one connection to an engine is made: by a socket, TCP, TLS or ssh.

Whichever it is, what comes back is a socket: it has a time limit, and any thread may
shut it down while another one reads it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import IO, Protocol
from urllib.parse import SplitResult, urlsplit

_PLAIN_PORT = 2375
_TLS_PORT = 2376
_KEEPALIVE = 30  # seconds of silence after which the other side is asked for a sign
_LAST_WORDS_TIMEOUT = 1.0
_END_TIMEOUT = 1.0


class Dial(Protocol):
    """Makes connections to one engine. Threads may share it."""

    @property
    def is_plain(self) -> bool:
        """Whether the address alone is all that it takes."""
        ...

    @property
    def is_costly(self) -> bool:
        """Whether a connection is worth keeping for the next request."""
        ...

    def connect(self, timeout: float) -> socket.socket:
        """Make a connection.

        Args:
            timeout: Seconds for which the engine may be silent.

        Raises:
            OSError: There is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class UnixDial:
    """Connects to a socket of this machine.

    Attributes:
        path: Its absolute path.
    """

    path: str
    is_plain = True
    is_costly = False

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            message = "the path of a socket is absolute, as in unix:///var/run/x.sock"
            raise ValueError(message)

    def connect(self, timeout: float) -> socket.socket:
        """Make a connection."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(timeout)
        try:
            link.connect(self.path)
        except BaseException:
            link.close()
            raise
        return link


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpDial:
    """Connects to a TCP port, with TLS or without.

    Attributes:
        host: Name or address.
        port: The port.
        tls: How to encrypt; None for not at all.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    is_costly = False

    @property
    def is_plain(self) -> bool:
        """Whether the address alone is all that it takes."""
        return self.tls is None

    def connect(self, timeout: float) -> socket.socket:
        """Make a connection."""
        link = socket.create_connection((self.host, self.port), timeout)
        try:
            # A stream may be silent for hours; a path that is gone must end it.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE)
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE)
            if self.tls is None:
                return link
            return self.tls.wrap_socket(link, server_hostname=self.host)
        except BaseException:
            link.close()
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class SshDial:
    """Has ``docker system dial-stdio`` run on another machine, as docker clients do.

    Attributes:
        host: Name or address, or what the configuration of ssh calls it.
        user: Who to be there; empty for what ssh thinks.
        port: Of the ssh server; None for what ssh thinks.
        path: The engine's socket over there; empty for the default one.
        environment: What the ssh client finds in its environment.
    """

    host: str
    user: str = ""
    port: int | None = None
    path: str = ""
    environment: Mapping[str, str] = field(repr=False)
    is_plain = False
    is_costly = True

    def connect(self, timeout: float) -> socket.socket:
        """Start an ssh client; that it cannot connect is seen when it is read from."""
        program = shutil.which("ssh", path=self.environment.get("PATH", os.defpath))
        if program is None:
            message = "there is no ssh on the PATH: install OpenSSH's client"
            raise ConnectionError(message)
        ours, theirs = socket.socketpair()
        # A file, since nobody reads a pipe while ssh has much to say.
        errors = tempfile.TemporaryFile()  # noqa: SIM115 -- the link closes it
        try:
            with theirs:
                process = subprocess.Popen(
                    [program, *self.arguments(timeout)],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=errors,
                    env=dict(self.environment),
                    start_new_session=True,  # Ctrl-C is not for it, nor is a terminal
                )
        except BaseException:
            ours.close()
            errors.close()
            raise
        link = SshLink(ours, process, errors)
        link.settimeout(timeout)
        return link

    def arguments(self, timeout: float) -> list[str]:
        """Return the arguments of the ssh client.

        Args:
            timeout: Seconds within which it must have connected.
        """
        options = [
            "BatchMode=yes",  # nobody is there to answer a question
            f"ConnectTimeout={ceil(timeout)}",
            f"ServerAliveInterval={_KEEPALIVE}",
        ]
        arguments = [f"-o{each}" for each in options]
        if self.user:
            arguments += ["-l", self.user]
        if self.port is not None:
            arguments += ["-p", str(self.port)]
        docker = ["docker", *([f"--host=unix://{self.path}"] if self.path else [])]
        return [*arguments, "-T", "--", self.host, *docker, "system", "dial-stdio"]


class SshLink(socket.socket):
    """Our end of the pipe to an ssh client, which goes with it."""

    def __init__(
        self, ours: socket.socket, process: subprocess.Popen[bytes], errors: IO[bytes]
    ) -> None:
        super().__init__(ours.family, ours.type, ours.proto, fileno=ours.detach())
        self._process = process
        self._errors = errors

    def last_words(self) -> str:
        """Return the last line that the client said; waits for its end, not for long.

        Returns:
            Nothing if it said nothing, or goes on.
        """
        try:
            self._process.wait(_LAST_WORDS_TIMEOUT)
            self._errors.seek(0)
            text = self._errors.read().decode("utf-8", "replace")
        except (subprocess.TimeoutExpired, ValueError):
            return ""
        said = [line.strip(" .") for line in text.splitlines() if line.strip()]
        return said[-1] if said else ""

    def close(self) -> None:
        """End the connection, and the client."""
        super().close()
        self._process.terminate()
        try:
            self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            self._errors.close()


def last_words(link: socket.socket) -> str:
    """Return what the other side said before it ended, if it can say anything."""
    return link.last_words() if isinstance(link, SshLink) else ""


def choose_dial(
    host: str, tls: ssl.SSLContext | None, environment: Mapping[str, str]
) -> Dial:
    """Return how to connect to an address.

    Args:
        host: ``unix:///path``, ``tcp://host:port`` or ``ssh://user@host:port/path``.
        tls: How to encrypt, if at all; means nothing for a socket and for ssh.
        environment: What an ssh client finds in its environment.

    Raises:
        ValueError: It is none of these.
    """
    address = urlsplit(host)
    match address.scheme:
        case "unix":
            return UnixDial(host.removeprefix("unix://"))
        case "tcp" | "http" | "https":
            if address.scheme == "https" and tls is None:
                tls = ssl.create_default_context()
            port = _port(address) or (_TLS_PORT if tls else _PLAIN_PORT)
            return TcpDial(host=address.hostname or "localhost", port=port, tls=tls)
        case "ssh":
            return _ssh(host, environment)
    message = "it begins with unix://, tcp:// or ssh://"
    raise ValueError(message)


def _ssh(host: str, environment: Mapping[str, str]) -> SshDial:
    address = urlsplit(host)
    # What begins with a dash would be an option of ssh.
    if not address.hostname or host.removeprefix("ssh://").startswith("-"):
        message = "it names no host, as in ssh://user@host"
        raise ValueError(message)
    if address.password is not None:
        message = "ssh asks for no password here: give it a key"
        raise ValueError(message)
    return SshDial(
        # Not `hostname`, which is in small letters: the configuration may not be.
        host=_host_part(address.netloc),
        user=address.username or "",
        port=_port(address),
        path=address.path.rstrip("/"),
        environment=environment,
    )


def _port(address: SplitResult) -> int | None:
    """Return the port of an address, None for none; a failure does not quote it.

    What stands in its place may be a part of a password.
    """
    try:
        return address.port
    except ValueError:
        message = "its port is no number from 0 to 65535"
        raise ValueError(message) from None


def _host_part(netloc: str) -> str:
    """Return the host of ``user@host:port``, in its own letters."""
    host = netloc.rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]

"""Waiting for something in a container, and saying why it will not come.

A wait looks every few milliseconds, so that readiness is noticed at once; it ends early
when the container does, and always at its time limit.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pysys_orch.clock import Clock
from pysys_orch.docker.engine.amounts import in_bytes
from pysys_orch.errors import ContainerGoneError, WaitTimeoutError

T = TypeVar("T")

#: Seconds between two looks.
POLL = 0.01

#: Added to the state of a container that nobody asked the engine to kill: the bytes of
#: memory that it is limited to. An engine that is busy does not always hear why the
#: kernel killed something; of what was killed and had a limit, one can only suppose.
MEMORY_LIMIT = "MemoryLimit"

_CHILD_KILLED = "after lack of memory had killed a process in it"

#: The exit code of what was killed, by whomever.
KILLED = 137

_CONNECT_TIMEOUT = 0.25
_PROXY_PATIENCE = 0.25  # on a busy machine the proxy takes its time to close


def wait_for(
    probe: Callable[[], T | None],
    *,
    what: str,
    timeout: float,
    clock: Clock,
    pause: Callable[[float], object],
    alive: Callable[[], None],
) -> T:
    """Look until there is something to see, and return it.

    Args:
        probe: Returns None as long as there is nothing.
        what: What is waited for, as a clause: ``port 6379 of db accepts connections``.
        timeout: Seconds after which to give up; there is always one look at least.
        clock: What tells the time.
        pause: Waits for so many seconds, or raises when the whole run is to end.
        alive: Raises when waiting on is in vain.

    Raises:
        ContainerGoneError: From *alive*.
        WaitTimeoutError: The time is over.
    """
    deadline = clock.instant() + timeout
    while True:
        seen = probe()
        if seen is not None:
            return seen
        alive()
        remaining = deadline - clock.instant()
        if remaining <= 0:
            message = f"{what}: not within {timeout:g} s"
            raise WaitTimeoutError(message)
        pause(min(POLL, remaining))


def require_running(
    name: str, state: Mapping[str, Any], tail: Callable[[], Sequence[str]]
) -> None:
    """Raise if a container will not do anything any more.

    Args:
        name: What to call it.
        state: ``State`` of its inspection.
        tail: Returns the last lines of its log.

    Raises:
        ContainerGoneError: It quotes the state, the exit code and the last lines.
    """
    if state.get("Running") or state.get("Restarting"):
        return
    if state.get("Status") == "created" and not state.get("Error"):
        return
    message = f"container {name} {ending(state)}{quoted(tail())}"
    raise ContainerGoneError(message)


def ending(state: Mapping[str, Any]) -> str:
    """Return in words how a container ended.

    Args:
        state: ``State`` of its inspection; `MEMORY_LIMIT` may be added.
    """
    code = state.get("ExitCode", 0)
    limit = state.get(MEMORY_LIMIT)
    within = f"limit {in_bytes(limit)}" if limit else ""
    if state.get("OOMKilled") and code == KILLED:
        facts = ", ".join(filter(None, (within, f"exit code {code}")))
        return f"was killed for lack of memory ({facts})"
    if state.get("OOMKilled") and state.get("Status") == "exited":
        added = f" ({within})" if within else ""
        return f"exited with exit code {code}, {_CHILD_KILLED}{added}"
    if is_supposed_lack(state):
        return f"was killed, perhaps for lack of memory ({within}, exit code {code})"
    if state.get("Error"):
        return f"could not be started: {' '.join(str(state['Error']).split())}"
    status = state.get("Status", "gone")
    return f"{status} with exit code {code}" if status == "exited" else f"is {status}"


def is_supposed_lack(state: Mapping[str, Any]) -> bool:
    """Return whether lack of memory explains best how a container ended.

    Args:
        state: As of `ending`.
    """
    is_over = not state.get("Running")
    return is_over and bool(state.get(MEMORY_LIMIT)) and state["ExitCode"] == KILLED


def accepts_connections(host: str, port: int, *, direct: bool) -> bool:
    """Return whether somebody listens at an address.

    Docker's own proxy accepts on a published port before anybody listens behind it, and
    then closes at once. So, unless the address is the container's own, a connection
    counts only once it has stayed open for a moment or brought data.

    Args:
        host: Name or address.
        port: TCP port.
        direct: Whether the address is the container's own.

    Raises:
        OSError: The address cannot be reached at all from here.
    """
    try:
        connection = socket.create_connection((host, port), _CONNECT_TIMEOUT)
    except ConnectionError:
        return False
    with connection:
        if _is_own_echo(connection):
            return False
        if direct:
            return True
        connection.settimeout(_PROXY_PATIENCE)
        try:
            return bool(connection.recv(1))
        except TimeoutError:
            return True
        except ConnectionError:
            return False


def accepts_published(host: str, port: int) -> bool:
    """Return whether somebody listens behind a published port that is in reach.

    Args:
        host: Name or address.
        port: TCP port.
    """
    try:
        return accepts_connections(host, port, direct=False)
    except OSError:
        return False


def _is_own_echo(connection: socket.socket) -> bool:
    """Return whether a socket is connected to itself.

    TCP allows that, and the kernel does it once in some ten thousand tries where nobody
    listens: when the port it chooses for our side is the very port that we ask for.
    """
    try:
        return bool(connection.getsockname() == connection.getpeername())
    except OSError:  # closed by the other side already, so there is one
        return False


def quoted(lines: Sequence[str]) -> str:
    """Return the last lines of a log as the end of a sentence."""
    if not lines:
        return ", it logged nothing"
    return f", its last words: {' ; '.join(line.strip() for line in lines)}"

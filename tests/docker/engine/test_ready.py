"""Readiness is noticed at once, and what will not come is not waited for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from pysys_orch.docker.engine.ready import (
    MEMORY_LIMIT,
    POLL,
    accepts_connections,
    ending,
    require_running,
    wait_for,
)
from pysys_orch.errors import ContainerGoneError, WaitTimeoutError
from pysys_orch.testing import ManualClock


def nothing() -> None:
    """Say that waiting on is not in vain."""


# Waiting ------------------------------------------------------------------------------


class Wait:
    """Waits on a clock that is a number, and counts its looks and pauses."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.pauses: list[float] = []
        self.looks = 0

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)

    def until(
        self,
        instant: float,
        *,
        timeout: float = 60.0,
        alive: Callable[[], None] = nothing,
    ) -> str:
        def probe() -> str | None:
            self.looks += 1
            return "there" if self.clock.instant() >= instant else None

        return wait_for(
            probe,
            what="port 6379/tcp of db accepts connections",
            timeout=timeout,
            clock=self.clock,
            pause=self.pause,
            alive=alive,
        )


def test_what_is_there_already_costs_no_pause() -> None:
    """A container that is ready is not waited for."""
    wait = Wait()
    assert wait.until(0.0) == "there"
    assert (wait.looks, wait.pauses) == (1, [])


def test_what_comes_is_noticed_within_a_few_milliseconds() -> None:
    """A test gets on as soon as it can: a second lost is lost in every test."""
    wait = Wait()
    assert wait.until(3.0) == "there"
    assert 3.0 <= wait.clock.instant() <= 3.0 + POLL
    assert POLL <= 0.02


def test_what_does_not_come_ends_at_the_time_limit() -> None:
    """The line says what was waited for, and for how long."""
    wait = Wait()
    with pytest.raises(WaitTimeoutError) as end:
        wait.until(60.0, timeout=2.5)
    assert str(end.value) == (
        "port 6379/tcp of db accepts connections: not within 2.5 s"
    )
    assert wait.clock.instant() == pytest.approx(2.5)
    assert all(pause > 0 for pause in wait.pauses)


def test_what_comes_in_the_very_last_moment_counts() -> None:
    """There is a look after the last pause."""
    wait = Wait()
    assert wait.until(2.5, timeout=2.5) == "there"


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_without_any_time_there_is_still_one_look(timeout: float) -> None:
    """Asking whether something is there is a wait of no time."""
    assert Wait().until(0.0, timeout=timeout) == "there"
    wait = Wait()
    with pytest.raises(WaitTimeoutError):
        wait.until(1.0, timeout=timeout)
    assert (wait.looks, wait.pauses) == (1, [])


def test_a_wait_in_vain_ends_at_once() -> None:
    """Nobody waits a minute for a container that died in the first second."""
    wait = Wait()

    def alive() -> None:
        if wait.clock.instant() >= 1.0:
            message = "container db exited with exit code 1"
            raise ContainerGoneError(message)

    with pytest.raises(ContainerGoneError, match="exited with exit code 1"):
        wait.until(60.0, alive=alive)
    assert wait.clock.instant() <= 1.0 + POLL


def test_what_came_before_the_end_counts() -> None:
    """A container that printed the line and ended has printed the line."""

    def dead() -> None:
        message = "container db exited with exit code 0"
        raise ContainerGoneError(message)

    assert Wait().until(0.0, alive=dead) == "there"


def test_a_value_that_is_false_is_a_value() -> None:
    """An exit code of 0 is what a test usually waits for."""
    codes = iter([None, None, 0])
    clock = ManualClock()
    code = wait_for(
        lambda: next(codes),
        what="container db ends",
        timeout=1.0,
        clock=clock,
        pause=clock.advance,
        alive=nothing,
    )
    assert code == 0


def test_the_end_of_a_whole_run_ends_a_wait() -> None:
    """What PySys raises in a pause, when somebody presses Ctrl-C, passes through."""

    def pause(_seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_for(
            lambda: None,
            what="it",
            timeout=60.0,
            clock=ManualClock(),
            pause=pause,
            alive=nothing,
        )


# How a container ended ----------------------------------------------------------------

ENDED = {"Status": "exited", "ExitCode": 3}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (ENDED, "exited with exit code 3"),
        ({"Status": "dead", "ExitCode": 3}, "is dead"),
        ({"Status": "removing"}, "is removing"),
        ({}, "is gone"),
        (
            {"Status": "exited", "ExitCode": 137, "OOMKilled": True},
            "was killed for lack of memory (exit code 137)",
        ),
        (
            {
                "Status": "exited",
                "ExitCode": 137,
                "OOMKilled": True,
                MEMORY_LIMIT: 1 << 24,
            },
            "was killed for lack of memory (limit 16 MiB, exit code 137)",
        ),
        (
            {"Status": "exited", "ExitCode": 137, MEMORY_LIMIT: 5000000},
            "was killed, perhaps for lack of memory (limit 4.768 MiB, exit code 137)",
        ),
        (
            {
                "Status": "exited",
                "ExitCode": 1,
                "OOMKilled": True,
                MEMORY_LIMIT: 1 << 31,
            },
            (
                "exited with exit code 1, after lack of memory had killed a process "
                "in it (limit 2 GiB)"
            ),
        ),
        (
            {"Status": "exited", "ExitCode": 1, MEMORY_LIMIT: 1 << 24},
            "exited with exit code 1",
        ),
        (
            {
                "Status": "created",
                "ExitCode": 127,
                "Error": 'failed to create shim task:\n  exec: "nix": not found',
            },
            'could not be started: failed to create shim task: exec: "nix": not found',
        ),
    ],
)
def test_an_ending_is_told_in_words(state: dict[str, Any], words: str) -> None:
    """One line, whatever the engine says."""
    assert ending(state) == words


@pytest.mark.parametrize(
    "state",
    [
        {"Status": "running", "Running": True},
        {"Status": "paused", "Running": True, "Paused": True},
        {"Status": "restarting", "Running": True, "Restarting": True},
        {"Status": "restarting", "Restarting": True, "ExitCode": 1},
        {"Status": "created", "ExitCode": 0, "Error": ""},
    ],
)
def test_what_may_yet_become_ready_is_waited_for(state: dict[str, Any]) -> None:
    """It runs, will run again, or is about to."""

    def tail() -> list[str]:
        pytest.fail("its log is not needed")

    require_running("db", state, tail)


@pytest.mark.parametrize(
    ("lines", "quoted"),
    [
        ([], ", it logged nothing"),
        (
            ["# Can't open the log file", "  exiting "],
            ", its last words: # Can't open the log file ; exiting",
        ),
    ],
)
def test_what_ended_is_told_with_its_last_words(lines: list[str], quoted: str) -> None:
    """The cause stands in the outcome, not only in a file."""
    with pytest.raises(ContainerGoneError) as end:
        require_running("db", ENDED, lambda: lines)
    assert str(end.value) == f"container db exited with exit code 3{quoted}"


def test_what_could_not_be_started_is_not_waited_for() -> None:
    """It stays ``created`` for ever."""
    state = {"Status": "created", "Error": "no such network"}
    with pytest.raises(ContainerGoneError, match="could not be started: no such netw"):
        require_running("db", state, list)


# Ports --------------------------------------------------------------------------------

Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """Yield a port at which each connection is given to *serve*, and then closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                connection, _ = server.accept()
                with connection:
                    if over.is_set():
                        return
                    serve(connection)

        over, port = threading.Event(), server.getsockname()[1]
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield port
        finally:
            over.set()
            socket.create_connection(("127.0.0.1", port), 10.0).close()
            thread.join(10.0)


def patient(connection: socket.socket) -> None:
    """Wait until the other side has enough."""
    connection.settimeout(10.0)
    with suppress(ConnectionError):  # it leaves without listening to us
        connection.recv(1)


def polite(connection: socket.socket) -> None:
    """Speak first, as mail servers and databases do, and wait."""
    connection.sendall(b"220 ready\r\n")
    patient(connection)


def closing(_connection: socket.socket) -> None:
    """Close at once, as docker's proxy does while nobody listens behind it."""


def resetting(connection: socket.socket) -> None:
    """Close at once without a word of farewell."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


@pytest.mark.parametrize("serve", [patient, polite])
@pytest.mark.parametrize("direct", [True, False])
def test_somebody_who_listens_is_noticed(serve: Serve, *, direct: bool) -> None:
    """It does not matter which side speaks first."""
    with serving(serve) as port:
        assert accepts_connections("127.0.0.1", port, direct=direct)


@pytest.mark.parametrize("serve", [closing, resetting])
def test_a_proxy_with_nobody_behind_it_does_not_count(
    monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    """A published port accepts from the first moment on; its server comes later."""
    # However busy this machine is, the end of the connection is seen.
    monkeypatch.setattr("pysys_orch.docker.engine.ready._PROXY_PATIENCE", 10.0)
    with serving(serve) as port:
        assert not any(
            accepts_connections("127.0.0.1", port, direct=False) for _ in range(20)
        )


def test_a_server_that_closes_at_once_counts_at_the_container_s_own_address() -> None:
    """Nobody stands between us and it."""
    with serving(closing) as port:
        assert accepts_connections("127.0.0.1", port, direct=True)


@pytest.mark.parametrize("direct", [True, False])
def test_where_nobody_listens_nobody_is_noticed(*, direct: bool) -> None:
    """A refusal means not yet, and is no error."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not accepts_connections("127.0.0.1", port, direct=direct)


@pytest.mark.parametrize("direct", [True, False])
def test_being_connected_to_oneself_does_not_count(
    monkeypatch: pytest.MonkeyPatch, *, direct: bool
) -> None:
    """The kernel does that once in some ten thousand tries where nobody listens."""
    made = []

    def connect(_address: tuple[str, int], _timeout: float) -> socket.socket:
        echo = socket.socket()
        echo.bind(("127.0.0.1", 0))
        echo.connect(echo.getsockname())
        made.append(echo)
        return echo

    monkeypatch.setattr(socket, "create_connection", connect)
    assert not accepts_connections("127.0.0.1", 40000, direct=direct)
    assert made[0].fileno() == -1, "it was closed"


def test_an_address_that_does_not_exist_is_an_error() -> None:
    """Who asks can then try another way to the container."""
    with pytest.raises(OSError, match=r"[Nn]ame"):
        accepts_connections("name.invalid", 80, direct=True)

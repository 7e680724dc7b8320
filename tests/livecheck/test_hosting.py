"""An application and its receiver in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Iterator

import pytest

from pysys_orch.errors import ConfigError
from pysys_orch.livecheck import Case, LiveCheck, State, hosting
from pysys_orch.livecheck.hosting import Hosting
from pysys_orch.livecheck.receiver import Receiver

WAIT = 20.0


class Stubborn(Case):
    """Does not end when it is told to."""

    async def run(self) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)


class Passes(Case):
    async def run(self) -> None:
        pass


class Host:
    """A thread that hosts an application."""

    def __init__(self, *, port: int = 0) -> None:
        self.app = LiveCheck()
        for case in (Stubborn, Passes):
            self.app.add_case(case)
        self.began: list[int] = []
        self.receiver = Receiver(self.app, port=port)
        self.hosting = Hosting(
            self.app,
            self.receiver,
            begun=lambda: self.began.append(self.receiver.port),
            initialize=lambda: None,
        )
        self.stopping = threading.Event()
        self.thread = threading.Thread(
            target=self.hosting.run, args=(self.stopping,), daemon=True
        )
        self.thread.start()
        assert self.hosting.wait_ready(WAIT)

    def end(self) -> None:
        self.stopping.set()
        self.thread.join(WAIT)
        assert not self.thread.is_alive()


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.end()


def test_coroutines_run_where_the_cases_are(host: Host) -> None:
    """And return what they return, or raise what they raise."""

    async def passes() -> State:
        await host.app.cases["Passes"].trigger()
        assert await host.app.wait_idle(WAIT)
        return host.app.cases["Passes"].status

    async def fails() -> None:
        raise KeyError("amount")

    assert host.hosting.submit(passes()).result(WAIT) is State.PASS
    with pytest.raises(KeyError, match="amount"):
        host.hosting.submit(fails()).result(WAIT)


def test_nobody_is_let_in_before_it_has_begun(host: Host) -> None:
    """The receiver had no port yet when that was told."""
    assert host.began == [0]
    assert host.receiver.port > 0


def test_what_keeps_it_from_beginning_is_known(host: Host) -> None:
    """And the thread ends."""
    other = Host(port=host.receiver.port)
    assert isinstance(other.hosting.failure, ConfigError)
    assert "cannot listen at 127.0.0.1:" in str(other.hosting.failure)
    assert other.hosting.wait_ended(WAIT)
    other.end()


def test_once_it_has_ended_nothing_is_run_any_more() -> None:
    """Whoever asks for it is told so."""
    host = Host()
    host.end()
    assert host.hosting.has_ended
    with pytest.raises(RuntimeError, match="the live check is over"):
        host.hosting.submit(asyncio.sleep(0))


# What Python says when a coroutine that did not end is thrown away.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_test_that_does_not_end_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named; the thread ends in time."""
    monkeypatch.setattr(hosting, "STOPPING", 0.2)
    monkeypatch.setattr(hosting, "_LEFT", 0.2)
    host = Host()
    host.hosting.submit(host.app.cases["Stubborn"].trigger("never-1")).result(WAIT)
    host.end()
    assert "Left alone, since it does not end: never-1" in caplog.text
    del host
    gc.collect()


def test_its_place_is_told_to_who_wonders(host: Host) -> None:
    """File, line and function: here, where a coroutine blocks the loop."""
    is_there, go_on = threading.Event(), threading.Event()

    async def blocks() -> None:
        is_there.set()
        go_on.wait(WAIT)

    done = host.hosting.submit(blocks())
    assert is_there.wait(WAIT)
    assert host.hosting.place().endswith(" in wait")
    go_on.set()
    done.result(WAIT)
    host.end()
    assert host.hosting.place() == "nowhere"

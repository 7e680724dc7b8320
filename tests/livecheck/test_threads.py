"""Threads for calls that block."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import wait

import pytest

from pysys_orch.livecheck.threads import DaemonThreads

WAIT = 20.0


def test_calls_return_and_raise() -> None:
    """What they return, and what they raise."""
    threads = DaemonThreads("call")
    assert threads.submit(divmod, 7, 2).result(WAIT) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result(WAIT)
    threads.shutdown()


def test_there_are_no_more_threads_than_may_be() -> None:
    """What waits is done later; each thread was prepared before."""
    made = list[str]()
    threads = DaemonThreads(
        "call", most=3, initialize=lambda: made.append(threading.current_thread().name)
    )
    meeting = threading.Barrier(3)
    done, late = wait([threads.submit(meeting.wait, WAIT) for _ in range(30)], WAIT)
    assert (len(done), len(late)) == (30, 0)
    threads.shutdown()
    assert sorted(made) == ["call_0", "call_1", "call_2"]


def test_a_thread_that_cannot_be_prepared_works_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Or all that is called would wait for ever."""

    def fails() -> None:
        raise OSError("no log")

    threads = DaemonThreads("call", initialize=fails)
    assert threads.submit(int, "7").result(WAIT) == 7
    threads.shutdown()
    assert "no log" in caplog.text


def test_what_still_blocks_is_named() -> None:
    """File, line and function; what waits behind it is cancelled."""
    threads = DaemonThreads("call", most=1)
    is_there, go_on = threading.Event(), threading.Event()

    def blocks() -> None:
        is_there.set()
        go_on.wait(WAIT)

    threads.submit(blocks)
    behind = threads.submit(int)
    assert is_there.wait(WAIT)
    threads.shutdown(wait=False, cancel_futures=True)
    assert behind.cancelled()
    assert not threads.wait_idle(0)
    (place,) = threads.places()
    assert place.endswith(" in wait")
    with pytest.raises(RuntimeError, match="over"):
        threads.submit(int)
    go_on.set()
    assert threads.wait_idle(WAIT)
    threads.shutdown()
    assert threads.places() == ()


def test_the_interpreter_exits_while_a_call_blocks() -> None:
    """Those of `concurrent.futures` keep it."""
    text = (
        "import threading\n"
        "from pysys_orch.livecheck.threads import DaemonThreads\n"
        "DaemonThreads('call').submit(threading.Event().wait, 600)\n"
    )
    subprocess.run([sys.executable, "-c", text], timeout=60, check=True)

"""An event loop that never waits keeps the order and the times of one that does."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.clock import SystemClock
from pysys_orch.errors import OrchError
from pysys_orch.testing import DeadlockError, ManualClock, run_virtual


def test_a_day_takes_no_time() -> None:
    """What expires after hours is tested in milliseconds."""
    clock, begin = ManualClock(instant=7.0), time.monotonic()
    run_virtual(asyncio.sleep(86400.0), clock=clock)
    assert clock.instant() == 7.0 + 86400.0
    assert time.monotonic() - begin < 10.0


def test_what_the_coroutine_returns_or_raises_comes_out() -> None:
    """It is `asyncio.run` in all but time."""

    async def answer() -> int:
        await asyncio.sleep(1)
        return 42

    async def fail() -> None:
        await asyncio.sleep(1)
        raise KeyError("mine")

    assert run_virtual(answer()) == 42
    with pytest.raises(KeyError, match="mine"):
        run_virtual(fail())


@given(st.lists(st.floats(0, 1e6), max_size=20), st.floats(0, 1e9))
def test_timers_fire_in_order_each_at_its_time(delays: list[float], at: float) -> None:
    """A schedule that holds on virtual time holds on real time."""
    clock = ManualClock(instant=at)
    fired: list[tuple[float, float]] = []

    async def wait(delay: float) -> None:
        due = asyncio.get_running_loop().time() + delay
        await asyncio.sleep(delay)
        fired.append((due, clock.instant()))

    async def main() -> None:
        await asyncio.gather(*map(wait, delays))

    run_virtual(main(), clock=clock)
    assert len(fired) == len(delays)
    assert [due for due, _ in fired] == sorted(due for due, _ in fired)
    for due, instant in fired:
        assert instant == pytest.approx(due, rel=1e-12, abs=1e-8)


def test_a_timeout_comes_before_what_takes_longer() -> None:
    """`asyncio.timeout` runs on virtual time."""
    clock = ManualClock()

    async def main() -> None:
        async with asyncio.timeout(10800.0):
            await asyncio.sleep(10801.0)

    with pytest.raises(TimeoutError):
        run_virtual(main(), clock=clock)
    assert clock.instant() == 10800.0


def test_a_wait_that_nothing_can_end_is_an_error_that_says_where() -> None:
    """A test that hangs says so, at once."""

    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="wait, line") as caught:
        run_virtual(wait_for_nobody())
    assert isinstance(caught.value, OrchError)


def test_many_that_wait_for_ever_are_not_all_named() -> None:
    """The message fits on a line."""

    async def main() -> None:
        await asyncio.gather(*(asyncio.Event().wait() for _ in range(100)))

    with pytest.raises(DeadlockError, match="and 96 more"):
        run_virtual(main())


def test_the_clock_stands_still_while_a_thread_works() -> None:
    """A timeout is not used up by how busy the machine is."""
    clock = ManualClock()
    busy = threading.Event()

    async def main() -> str:
        async with asyncio.timeout(5):
            return await asyncio.to_thread(work)

    def work() -> str:
        busy.wait(0.05)
        return "done"

    assert run_virtual(main(), clock=clock) == "done"
    assert clock.instant() == 0.0


def test_a_connection_within_this_machine_takes_no_virtual_time() -> None:
    """What is on its way arrives before the clock moves."""
    clock = ManualClock()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def main() -> bytes:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server, asyncio.timeout(100):
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"hello\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return line

    assert run_virtual(main(), clock=clock) == b"hello\n"
    assert clock.instant() == 60.0


def test_another_thread_can_call_back_while_there_is_a_connection() -> None:
    """Who listens to a network is not in a deadlock."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        called: asyncio.Future[str] = loop.create_future()
        server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
        timer = threading.Timer(
            0.02, lambda: loop.call_soon_threadsafe(called.set_result, "here")
        )
        timer.start()
        async with server:
            return await called

    assert run_virtual(main()) == "here"


def test_on_the_clock_of_the_machine_it_waits() -> None:
    """The same code runs on real time."""
    clock = SystemClock()
    begin = clock.instant()
    run_virtual(asyncio.sleep(0.02), clock=clock)
    assert clock.instant() - begin >= 0.02

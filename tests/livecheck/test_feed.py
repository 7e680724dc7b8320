"""Who looks at a page sees what happens, and nobody is kept waiting for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pysys_orch.livecheck import Case, LiveCheck, Signal, State, TestReport
from pysys_orch.livecheck.feed import Feed
from pysys_orch.livecheck.observer import Observer
from pysys_orch.livecheck.receiver import Receiver
from tests.livecheck.receiving import Order, Site, serve


async def event(stream: aiohttp.ClientResponse) -> tuple[str, Any]:
    """Return kind and data of the next event."""
    async with asyncio.timeout(10):
        lines = [(await stream.content.readline()).decode() for _ in range(3)]
    assert lines[0].startswith("event: ")
    assert lines[1].startswith("data: ")
    assert lines[2] == "\n"
    return lines[0][7:-1], json.loads(lines[1][6:])


async def until(stream: aiohttp.ClientResponse, state: str) -> dict[str, Any]:
    """Return the first event of a case that has a state."""
    async with asyncio.timeout(10):
        while True:
            kind, said = await event(stream)
            if kind == "case" and said["status"] == state:
                found: dict[str, Any] = said
                return found


def test_a_stream_begins_with_all_cases_and_goes_on_with_what_changes() -> None:
    """Nobody has to ask again."""

    async def scene(site: Site) -> None:
        await site.run("a")
        async with site.client.get(site.receiver.url + "/events") as stream:
            assert stream.status == 200
            assert stream.content_type == "text/event-stream"
            kind, said = await event(stream)
            assert (kind, said["name"]) == ("cases", "shop")
            assert [each["status"] for each in said["cases"]] == ["PASS"]
            await site.run("b", "line\nline")
            case = await until(stream, "FAIL")
            assert case["name"] == "Order"
            assert [each["id"] for each in case["history"]] == ["a", "b"]
            assert case["failures"][0]["error"] == "got line\nline"
            assert "traceback" not in case["failures"][0]

    serve(scene)


def test_a_case_that_is_added_later_appears() -> None:
    """The page need not be loaded again."""

    class Late(Case):
        go: Signal[int]

    async def scene(site: Site) -> None:
        async with site.client.get(site.receiver.url + "/events") as stream:
            await event(stream)
            site.app.add_case(Late)
            kind, said = await event(stream)
            assert (kind, said["name"]) == ("case", "Late")

    serve(scene)


def test_a_stall_appears_though_there_is_no_test() -> None:
    """Silence is what has to be seen."""

    class Silent(Case):
        warn_stalled_after = 1.0

    async def scene(site: Site) -> None:
        async with site.client.get(site.receiver.url + "/events") as stream:
            await event(stream)
            said = await until(stream, "STALL")
            assert said["condition"] == "stalled"

    serve(scene, Silent)


def test_there_are_only_so_many_streams_at_once() -> None:
    """One more is told so; who goes away makes room."""

    async def scene(site: Site) -> None:
        url = site.receiver.url + "/events"
        async with site.client.get(url) as one, site.client.get(url) as other:
            assert (await event(one))[0] == (await event(other))[0] == "cases"
            status, text, _ = await site.ask("GET", "/events")
            assert status == 503
            assert text == "2 pages are open already: close one of them\n"
        async with asyncio.timeout(10):
            while (await peek(site, url)) != 200:
                await asyncio.sleep(0.05)

    async def peek(site: Site, url: str) -> int:
        async with site.client.get(url) as stream:
            return stream.status

    serve(scene, max_streams=2)


def test_the_end_comes_quickly_though_somebody_looks() -> None:
    """The stream ends in good order."""

    async def scene() -> None:
        app = LiveCheck()
        app.add_case(Order)
        receiver = Receiver(app)
        await receiver.start()
        loop = asyncio.get_running_loop()
        async with (
            aiohttp.ClientSession() as client,
            client.get(receiver.url + "/events") as stream,
        ):
            await event(stream)
            begin = loop.time()
            await receiver.stop()
            assert loop.time() - begin < 1.5
            assert await stream.read() == b""

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_a_stream_that_fails_ends_and_says_so_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The page connects again; nothing is written into what has begun."""

    async def scene(site: Site) -> bytes:
        async with site.client.get(site.receiver.url + "/events") as stream:
            await event(stream)
            # Its health is what nobody can show.
            vars(site.app.cases["Order"])["health"] = None
            with contextlib.suppress(aiohttp.ClientPayloadError):
                return await stream.read()
        return b""

    assert b"HTTP/" not in serve(scene)
    assert "AttributeError" in caplog.text


def test_while_nothing_happens_there_is_a_sign_of_life() -> None:
    """So a page knows that nothing happens, rather than that nobody is there."""

    async def scene(client: aiohttp.ClientSession, url: str, _feed: Feed) -> None:
        async with client.get(url) as stream:
            assert (await event(stream))[0] == "cases"
            assert (await event(stream))[0] == "beat"
            assert (await event(stream))[0] == "beat"

    with_feed(scene, refresh=0.02, beat=0.1)


def test_who_does_not_read_is_cut_off() -> None:
    """What is meant for them is not kept in memory for ever."""

    async def scene(client: aiohttp.ClientSession, url: str, feed: Feed) -> None:
        host, port = url.removeprefix("http://").removesuffix("/").split(":")
        plug = socket.socket()
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plug.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(plug, (host, int(port)))
        await loop.sock_sendall(plug, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10), client.get(url) as stream:
            # Somebody else reads all the time.
            while feed.streams < 2:
                await event(stream)
            while feed.streams == 2:
                await event(stream)
            assert (await event(stream))[0] == "case"
        plug.close()

    with_feed(scene, refresh=0.01, beat=0.01, patience=0.2, is_busy=True)


Scene = Callable[[aiohttp.ClientSession, str, Feed], Awaitable[None]]


def with_feed(scene: Scene, *, is_busy: bool = False, **options: Any) -> None:
    """Run a scene with a server that only has a feed.

    Args:
        scene: What to do with a client, the URL, and the feed.
        is_busy: Whether there are many cases that change all the time.
        options: Of the feed.
    """

    async def whole() -> None:
        app = LiveCheck()
        for number in range(50):
            app.add_case(Order, name=f"{number:0200}")
        observer = Observer(app)
        feed = Feed(observer, name="shop", **options)
        server = web.Application()
        server.router.add_get("/", feed.serve)
        runner = web.AppRunner(server, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"

        task = asyncio.create_task(churn(app)) if is_busy else None
        try:
            async with asyncio.timeout(30), aiohttp.ClientSession() as client:
                await scene(client, url, feed)
        finally:
            if task is not None:
                task.cancel()
            feed.close()
            await runner.cleanup()

    asyncio.run(whole())


async def churn(app: LiveCheck) -> None:
    """Have all cases report something, all the time."""
    while True:
        for case in app.cases.values():
            test = await case.trigger()
            report = TestReport(case.name, State.FAIL, {}, test, 1.0, "x" * 1000)
            await app.post_report(report)
        await asyncio.sleep(0.01)

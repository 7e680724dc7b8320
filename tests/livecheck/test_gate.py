"""Connections that a receiver does not keep."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from pysys_orch.livecheck import gate, receiver
from tests.livecheck.receiving import Site, serve

ASK = b"GET /cases HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(ASK)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    await reader.readexactly(length)
    return head.partition(b"\r\n")[0]


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def has_room(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return await answered(reader, writer) == b"HTTP/1.1 200 OK"
    except (ConnectionError, asyncio.IncompleteReadError):
        return False
    finally:
        writer.close()


def test_who_says_nothing_is_turned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also who never ends to say something; who has asked once stays."""
    made = partial(gate.Gate, within=0.5)
    monkeypatch.setattr(receiver, "Gate", made)

    async def scene(site: Site) -> None:
        at = "127.0.0.1", site.receiver.port
        polite = await asyncio.open_connection(*at)
        assert await answered(*polite) == b"HTTP/1.1 200 OK"
        silent, slow = [await asyncio.open_connection(*at) for _ in range(2)]
        slow[1].write(ASK[:-2] + b"X: ")
        for reader, _ in (silent, slow):
            assert await is_closed(reader)
        assert await answered(*polite) == b"HTTP/1.1 200 OK"
        for _, writer in (polite, silent, slow):
            writer.close()

    serve(scene)


def test_connections_are_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A further one is closed, which is told once; there is room again later."""
    monkeypatch.setattr(receiver, "Gate", partial(gate.Gate, most=3))

    async def scene(site: Site) -> None:
        at = "127.0.0.1", site.receiver.port
        kept = [await asyncio.open_connection(*at) for _ in range(3)]
        for each in kept:
            assert await answered(*each) == b"HTTP/1.1 200 OK"
        for _ in range(5):
            reader, writer = await asyncio.open_connection(*at)
            assert await is_closed(reader)
            writer.close()
        for _, writer in kept:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(20):
            while not await has_room(*at):
                await asyncio.sleep(0)

    serve(scene)
    assert caplog.text.count("connections are refused, there are 3 already") == 1

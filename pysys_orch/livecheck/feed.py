"""What happens to cases, as it happens: a stream of events for a page."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from aiohttp import web

from pysys_orch.livecheck.access import Refused
from pysys_orch.livecheck.observer import Mark, Observer

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # For proxies: nothing is to wait for more.
    "X-Accel-Buffering": "no",
}
# What is on its way to a reader who does not read is small, so that it is noticed.
_SEND_BUFFER = 65_536


class Feed:
    """Streams of server-sent events.

    First comes how all cases are (``cases``), then each one that has changed
    (``case``), and now and then a sign of life (``beat``). What changes quickly is told
    twice a second, as it is then: nothing is kept for those who read slowly, and who
    does not read at all is cut off.

    Args:
        observer: What knows how cases are.
        name: What the application is called.
        limit: How many streams there may be at once.
        refresh: Every how many seconds it is looked for changes.
        beat: After how many seconds without any there is a sign of life.
        patience: For how many seconds a reader may take nothing.
    """

    def __init__(
        self,
        observer: Observer,
        *,
        name: str,
        limit: int = 32,
        refresh: float = 0.5,
        beat: float = 10.0,
        patience: float = 5.0,
    ) -> None:
        self._observer = observer
        self._name = name
        self._limit = limit
        self._refresh = refresh
        self._beat = beat
        self._patience = patience
        self._streams = 0
        self._closing = asyncio.Event()

    @property
    def streams(self) -> int:
        """How many there are."""
        return self._streams

    def close(self) -> None:
        """End all of them."""
        self._closing.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request with a stream; it returns when the stream has ended.

        Raises:
            Refused: There are too many, with status 503.
        """
        if self._streams >= self._limit:
            why = f"{self._limit} pages are open already: close one of them"
            raise Refused(503, why)
        self._streams += 1
        try:
            return await self._stream(request)
        finally:
            self._streams -= 1

    # Inside ---------------------------------------------------------------------------

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS)
        plug = request.get_extra_info("socket")
        if plug is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        # A stream has no next request.
        response.force_close()
        await response.prepare(request)
        seen = self._observer.marks()
        views = [view.as_json(is_whole=False) for view in self._observer.views()]
        text = _event("cases", {"name": self._name, "cases": views})
        loop = asyncio.get_running_loop()
        told = loop.time()
        # It has no transport any more when the reader has gone.
        while not self._closing.is_set() and request.transport is not None:
            if not text and loop.time() - told >= self._beat:
                text = _event("beat", {})
            if text:
                try:
                    async with asyncio.timeout(self._patience):
                        await response.write(text.encode())
                except TimeoutError:
                    if request.transport is not None:
                        request.transport.abort()
                    break
                told = loop.time()
            await self._pause()
            text, seen = await self._news(seen)
        return response

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._refresh):
                await self._closing.wait()
        except TimeoutError:
            pass

    async def _news(self, seen: dict[str, Mark]) -> tuple[str, dict[str, Mark]]:
        """Return what has changed, as events, and what has been seen then."""
        marks = self._observer.marks()
        lines = []
        for name, mark in marks.items():
            if seen.get(name) != mark:
                lines.append(
                    _event("case", self._observer.view(name).as_json(is_whole=False))
                )
                # Signals do not wait for pages.
                await asyncio.sleep(0)
        return "".join(lines), marks


def _event(kind: str, said: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(said)}\n\n"

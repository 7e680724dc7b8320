"""Who may keep a connection to a receiver: not too many, and none who says nothing.

A token is in the headers of a request. So whoever has none could hold connections, and
with them the files that this process may open, as long as no request is complete.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from aiohttp import web

log = logging.getLogger("pysys.orch.livecheck")

#: How many connections one address may have at the same time.
MOST = 512

#: Seconds within which the headers of the first request have to be there.
WITHIN = 10.0


class Gate:
    """Lets connections to a server in; it is what makes their protocols.

    Args:
        name: What it is called, in logs.
        most: How many connections there may be; a further one is closed at once.
        within: Seconds for the headers of the first request.
    """

    def __init__(self, *, name: str, most: int = MOST, within: float = WITHIN) -> None:
        self._server: web.Server | None = None
        self._name = name
        self._most = most
        self._within = within
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        self._is_told = False

    def __call__(self) -> asyncio.Protocol:
        """Return what meets one connection."""
        return _Arrival(self)

    def open(self, server: web.Server | None) -> None:
        """Lead to a server from now on."""
        self._server = server

    def let_in(self, transport: asyncio.Transport) -> None:
        """Have the server talk to a connection, or close it."""
        server = self._server
        if server is None or len(server.connections) >= self._most:
            if not self._is_told:
                words = "%s: connections are refused, there are %d already"
                log.warning(words, self._name, self._most)
            self._is_told = True
            transport.abort()
            return
        protocol = server()
        # From here on nothing stands between the two: it costs a request nothing.
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        loop = asyncio.get_running_loop()
        self._silent[protocol] = loop.call_later(
            self._within, self._turn_out, protocol, transport
        )

    def note_request(self, protocol: asyncio.BaseProtocol) -> None:
        """Take down that a request came by a connection, with all of its headers."""
        timer = self._silent.pop(protocol, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Forget all connections."""
        for timer in self._silent.values():
            timer.cancel()
        self._silent.clear()

    def _turn_out(
        self, protocol: asyncio.BaseProtocol, transport: asyncio.Transport
    ) -> None:
        del self._silent[protocol]
        transport.abort()


class _Arrival(asyncio.Protocol):
    """A connection that nobody talks to yet."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go to the gate."""
        self._gate.let_in(cast("asyncio.Transport", transport))

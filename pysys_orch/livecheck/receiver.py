"""An application of live checks, as other processes reach it: by HTTP.

| request | what it does |
| --- | --- |
| ``POST /signal`` | sends a signal, or a list of them: all or none |
| ``POST /trigger`` | has a test executed, and answers with its id |
| ``GET /cases``, ``GET /cases/NAME`` | how all cases are, or one in full, as JSON |
| ``GET /metrics`` | the same for Prometheus |
| ``GET /``, ``GET /events`` | a page for people, and what it lives on |

Whoever sends something wrong gets a 4xx with a line of text, and nothing has changed.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Middleware

from pysys_orch.errors import ConfigError
from pysys_orch.livecheck import page
from pysys_orch.livecheck.access import Access, Refused
from pysys_orch.livecheck.app import LiveCheck
from pysys_orch.livecheck.bus import Topic
from pysys_orch.livecheck.feed import Feed
from pysys_orch.livecheck.gate import Gate
from pysys_orch.livecheck.intake import case_of, decoded, signals_of, trigger_of
from pysys_orch.livecheck.observer import Observer
from pysys_orch.livecheck.refusals import Refusals
from pysys_orch.livecheck.views import CaseView
from pysys_orch.livecheck.wire import iso_of

log = logging.getLogger("pysys.orch.livecheck")


class _OurFaults(logging.Filter):
    """Passes what is no mere nonsense of a client: that was answered with 400."""

    def filter(self, record: logging.LogRecord) -> bool:
        failure = record.exc_info[1] if record.exc_info else None
        return not isinstance(failure, HttpProcessingError)


_http_log = logging.getLogger("pysys.orch.livecheck.http")
_http_log.addFilter(_OurFaults())

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BACKLOG = 1024
_STOP_WITHIN = 2.0
_BODY_WITHIN = 10.0
_IDLE_WITHIN = 75.0
_USER = "livecheck"
_PATHS = (
    "POST /signal, POST /trigger, GET /cases, GET /cases/NAME, GET /metrics, "
    "GET /events and GET /"
)
_PLAIN = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_JSON = {**_PLAIN, "Content-Type": "application/json"}
_CHALLENGE = {"WWW-Authenticate": f'Basic realm="{_USER}", charset="UTF-8"'}

_OWN_ADDRESS = "name an address of this machine (`ip address` lists them)"
_ADVICE = {
    errno.EADDRINUSE: "name another port, or 0 for one that is free",
    errno.EACCES: "name another port, or 0 for one that is free",
}


class Receiver:
    """Lets other processes send signals, trigger tests, and see how cases are.

    Where it listens at first, whoever is on this machine may do that, if it is a
    loopback address and no token was given. All else needs the token.

    Args:
        app: The application, in whose loop it runs.
        host: The address where it listens, or a name of it.
        port: The port; 0 is any free one.
        token: What lets in; a new one by default, that loopback addresses do not ask
            for.
        max_body: How many bytes a request may have.
        max_streams: How many pages may be open.

    Raises:
        ConfigError: It is no port, or nothing that can be a token.

    Attributes:
        port: The port, once it was started.
        token: What lets in.
        observer: What it knows of the cases.
        refusals: What it refused.
    """

    def __init__(
        self,
        app: LiveCheck,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        max_body: int = 65_536,
        max_streams: int = 32,
    ) -> None:
        given: object = port
        if type(given) is not int or not 0 <= given <= 65_535:
            message = f"port has to be a whole number from 0 to 65535, got {port!r}"
            raise ConfigError(message)
        if token is not None and not _can_be_token(token):
            message = "token has to be a text of printable ASCII without blanks"
            raise ConfigError(message)
        self.port = port
        self.token = secrets.token_urlsafe(24) if token is None else token
        self.observer = Observer(app)
        self.refusals = Refusals(app.name, secret=self.token)
        self._app = app
        self._host = host
        self._wanted = port
        self._needs_token = token is not None
        self._max_body = max_body
        self._max_streams = max_streams
        self._feed: Feed | None = None
        self._runners: list[web.AppRunner] = []
        self._listeners: list[tuple[asyncio.Server, Gate]] = []
        self._ports: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Receiver at {self.url}>"

    @property
    def url(self) -> str:
        """Where it is, without the token."""
        return f"http://{_bracketed(self._host)}:{self.port}"

    def url_at(self, host: str, *, has_token: bool = True) -> str:
        """Return where it is for who calls this machine so.

        With the token in it curl, wget and requests need nothing else.

        Args:
            host: A name or address.
            has_token: Whether the token is in it.
        """
        port = self._ports.get(host, self.port)
        if not has_token:
            return f"http://{_bracketed(host)}:{port}"
        secret = quote(self.token, safe="")
        return f"http://{_USER}:{secret}@{_bracketed(host)}:{port}"

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ConfigError: It cannot listen there.
        """
        if self._runners:
            return
        self._feed = Feed(self.observer, name=self._app.name, limit=self._max_streams)
        plug = await _listening(self._host, self._wanted)
        is_near = ip_address(plug.getsockname()[0].partition("%")[0]).is_loopback
        await self._serve(plug, needs_token=self._needs_token or not is_near)
        self.port = self._ports[self._host] = plug.getsockname()[1]

    async def stop(self) -> None:
        """End, within some seconds: what is under way is answered, streams end."""
        runners, self._runners = self._runners, []
        listeners, self._listeners = self._listeners, []
        for listener, gate in listeners:
            listener.close()
            gate.close()
        self._ports.clear()
        if self._feed is not None:
            self._feed.close()
        try:
            async with asyncio.timeout(2 * _STOP_WITHIN):
                await asyncio.gather(*(runner.cleanup() for runner in runners))
        except TimeoutError:
            log.error(  # noqa: TRY400 -- where this is says nothing
                "%s: the receiver did not end within %g s",
                self._app.name,
                2 * _STOP_WITHIN,
            )

    async def listen_on(self, host: str) -> str:
        """Listen at one address more, where the token is needed.

        Args:
            host: The address, as that of a gateway.

        Returns:
            Where it is there, as `url_at` says it: at the same port, if that is free.

        Raises:
            ConfigError: It cannot listen there, or has not been started.
        """
        if not self._runners:
            message = "start the receiver before it listens at one address more"
            raise ConfigError(message)
        if host not in self._ports:
            try:
                plug = await _listening(host, self.port)
            except ConfigError:
                plug = await _listening(host, 0)
            if ip_address(plug.getsockname()[0].partition("%")[0]).is_unspecified:
                plug.close()
                message = (
                    f"cannot listen at {host!r}, which is all addresses of this "
                    "machine, and none for others to use: name the one that they "
                    "reach, as that of a network's gateway, which urlFor(network) "
                    "finds out"
                )
                raise ConfigError(message)
            await self._serve(plug, needs_token=True)
            self._ports[host] = plug.getsockname()[1]
        return self.url_at(host)

    async def __aenter__(self) -> Receiver:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # Requests -------------------------------------------------------------------------

    async def _signal(self, request: web.Request) -> web.Response:
        signals = signals_of(decoded(await self._body(request)), self._app.cases)
        bus = self._app.bus
        for number, event in enumerate(signals):
            try:
                await bus.send(Topic.SIGNALS, event.key, event.as_json())
            except Exception:
                log.exception("Could not send the signal %s", event.signal_name)
                why = f"{number} of {len(signals)} signals were sent: send them again"
                raise Refused(503, why) from None
        body = b'{"accepted": %d}\n' % len(signals)
        return web.Response(body=body, headers=_JSON)

    async def _trigger(self, request: web.Request) -> web.Response:
        said = trigger_of(decoded(await self._body(request)), self._app.cases)
        case = self._app.cases[said.case]
        test = await case.trigger(said.id, *said.args, **said.kwargs)
        return _json({"id": test.id})

    async def _cases(self, _request: web.Request) -> web.Response:
        views = [view.as_json(is_whole=False) for view in self.observer.views()]
        at = iso_of(self._app.clock.stamp())
        return _json({"name": self._app.name, "at": at, "cases": views})

    async def _case(self, request: web.Request) -> web.Response:
        case = case_of(request.match_info["name"], self._app.cases)
        return _json(self.observer.view(case.name).as_json())

    async def _metrics(self, _request: web.Request) -> web.Response:
        # Signals do not wait for it.
        return await asyncio.to_thread(_metrics_of, self.observer.views())

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(body=page.body(), headers={**_PLAIN, **page.headers()})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._feed is None:
            raise Refused(503, "this ends")
        return await self._feed.serve(request)

    # Inside ---------------------------------------------------------------------------

    async def _serve(self, plug: socket.socket, *, needs_token: bool) -> None:
        access = Access(token=self.token, needs_token=needs_token)
        gate = Gate(name=self._app.name)
        server = web.Application(
            client_max_size=self._max_body, middlewares=[_astray(self.refusals)]
        )
        for method, path, handler in (
            ("POST", "/signal", self._signal),
            ("POST", "/trigger", self._trigger),
            ("GET", "/cases", self._cases),
            ("GET", "/cases/{name:(?s:.+)}", self._case),
            ("GET", "/metrics", self._metrics),
            ("GET", "/", self._page),
            ("GET", "/events", self._events),
        ):
            # A page may be linked to, and what others cannot read may be asked for.
            is_passive = method == "GET" and path != "/events"
            guarded = _guarded(
                handler, access, gate, self.refusals, is_passive=is_passive
            )
            server.router.add_route(method, path, guarded)
            if is_passive:
                server.router.add_route("HEAD", path, guarded)
        runner = web.AppRunner(
            server,
            access_log=None,
            logger=_http_log,
            shutdown_timeout=_STOP_WITHIN,
            keepalive_timeout=_IDLE_WITHIN,
        )
        await runner.setup()
        gate.open(runner.server)
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(gate, sock=plug, backlog=_BACKLOG)
        self._listeners.append((listener, gate))
        self._runners.append(runner)

    async def _body(self, request: web.Request) -> bytes:
        try:
            if (request.content_length or 0) <= self._max_body:
                # Mostly it is there already, and a timer costs more than reading it.
                if request.content.is_eof():
                    return await request.read()
                async with asyncio.timeout(_BODY_WITHIN):
                    return await request.read()
        except web.HTTPRequestEntityTooLarge:
            pass
        except web.RequestPayloadError:
            raise Refused(400, "the body is damaged") from None
        except ConnectionError:
            raise Refused(400, "the client left before the body was there") from None
        except TimeoutError:
            why = f"the body was not there within {_BODY_WITHIN:g} s"
            raise Refused(408, why) from None
        why = f"the body has more than {self._max_body} bytes: send less at once"
        raise Refused(413, why)


def _guarded(
    handler: _Handler,
    access: Access,
    gate: Gate,
    refusals: Refusals,
    *,
    is_passive: bool,
) -> _Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        gate.note_request(request.protocol)
        try:
            access.check(request.headers, is_passive=is_passive)
            return await handler(request)
        except Refused as failure:
            return _refusal(refusals, request, failure.status, str(failure))
        except ConnectionError:
            # The client has gone.
            raise
        except Exception:
            if request.writer.output_size:
                # A stream has begun: all that can be said is that it ends.
                raise
            log.exception("%s %s failed", request.method, request.path)
            return _text(500, "this failed here, and not through you: see the log")

    return guarded


def _astray(refusals: Refusals) -> Middleware:
    """Return what answers those who ask for what there is not."""

    @web.middleware
    async def astray(request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return _refusal(refusals, request, 404, f"there is only {_PATHS}")
        except web.HTTPMethodNotAllowed as failure:
            allow = ", ".join(sorted(failure.allowed_methods))
            words = f"this takes {allow}, not {request.method}"
            answer = _refusal(refusals, request, 405, words)
            answer.headers["Allow"] = allow
            return answer

    return astray


def _refusal(
    refusals: Refusals, request: web.Request, status: int, why: str
) -> web.Response:
    # What is wrong on this side is logged where it is found.
    if status < 500:
        asked = f"{request.method} {request.rel_url.raw_path}"
        refusals.note(asked, request.remote, status, why)
    return _text(status, why)


def _text(status: int, words: str) -> web.Response:
    headers = {**_PLAIN, "Content-Type": "text/plain; charset=utf-8"}
    if status == 401:
        headers |= _CHALLENGE
    body = f"{' '.join(words.split())}\n".encode(errors="backslashreplace")
    return web.Response(status=status, body=body, headers=headers)


def _json(said: dict[str, Any]) -> web.Response:
    return web.Response(body=f"{json.dumps(said)}\n".encode(), headers=_JSON)


def _metrics_of(views: Sequence[CaseView]) -> web.Response:
    from pysys_orch.livecheck.metrics import CONTENT_TYPE, metrics_text

    headers = {**_PLAIN, "Content-Type": CONTENT_TYPE}
    return web.Response(body=metrics_text(views), headers=headers)


def _can_be_token(token: object) -> bool:
    if not isinstance(token, str):
        return False
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        ConfigError: That cannot be.
    """
    loop = asyncio.get_running_loop()
    plug: socket.socket | None = None
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        plug = socket.socket(family, kind, protocol)
        plug.setblocking(False)
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        plug.bind(address)
        plug.listen(_BACKLOG)
    except (OSError, UnicodeError) as failure:
        if plug is not None:
            plug.close()
        words = getattr(failure, "strerror", None) or failure
        place = f"{_bracketed(host)}:{port}" if port else host
        advice = _ADVICE.get(getattr(failure, "errno", None) or 0, _OWN_ADDRESS)
        message = f"cannot listen at {place}: {words}: {advice}"
        raise ConfigError(message) from None
    return plug

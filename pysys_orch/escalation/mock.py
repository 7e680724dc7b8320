"""A SquadCast for tests: a real server, that fails when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from aiohttp import web

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.settings import variable

#: The most that SquadCast takes, in characters of JSON that is written in ASCII.
MAX_BODY = 30_000

_ROUTE = "/v2/incidents/api/"
_HOST = "127.0.0.1"
_MOST_READ = 1024 * 1024
_CLOSE_WITHIN = 1.0
_START_WITHIN = 30.0

Duplicates = Literal["reject", "open", "fold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        status: The HTTP status that is answered; 0 is what it would be otherwise.
        headers: More headers of the answer.
        text: The body of the answer, if it has a status.
        delay: Seconds before anything happens.
        processed: Whether the request is taken in before it goes wrong, as it is when
            an answer gets lost.
        cut: Whether the connection is cut instead of an answer.
        hang: Whether there is never an answer, until the service is closed.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    delay: float = 0.0
    processed: bool = False
    cut: bool = False
    hang: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request that arrived, and what became of it.

    Attributes:
        at: When, in UTC.
        body: What it said, as it was sent.
        status: The HTTP status of the answer; 0 if there was none.
        verdict: Why, in words.
    """

    at: datetime
    body: bytes
    status: int
    verdict: str


class _RefusedError(Exception):
    """A request makes no sense."""

    def __init__(self, reason: str, status: int = 400) -> None:
        self.status = status
        super().__init__(reason)


class MockSquadCast:
    """A mock SquadCast service to support escalation in tests.

    Takes what SquadCast's incident webhook takes, on the loopback, and remembers it:

    ```python
    async with MockSquadCast(port=0) as server:  # or: start(), and close() in the end
        ...

    with MockSquadCast.running() as server:  # where there is no event loop
        ...
    ```

    Known limitations, those of the mock that this one replaces:

    - SquadCast can have several incidents with one event id. By default a trigger is
      refused whose id is known; *duplicates* chooses what the real one may do.
    - SquadCast needs no ``event_id``, ``status`` or ``description``; this one does.
    - Incidents are never purged: it is meant for tests, not for days.

    Args:
        port: The TCP port; 0 to choose a free one. 80 because that is what SquadCast
            uses.
        duplicates: What becomes of a trigger whose id is known: ``reject`` refuses it,
            also after the incident was resolved; ``open`` opens another incident, as
            SquadCast does; ``fold`` makes it part of an incident that is open, as
            SquadCast's deduplication does, and opens another one after that.
        chaos: Asked for a fault for each request for which none is scripted.
        tell: Told of each request, once it is known what becomes of it.
        clock: Tells when a request arrived.

    Attributes:
        port: The port; once it is started, that which was chosen.
        url: The root URL of the service. Empty until it is started.
        endpoint_url: The URL of the endpoint, with the key. Empty until it is started.
        escalation_key: What the environment variable ``ESCALATION_KEY`` was.
        incidents: The latest incident of each event id, as it was triggered, with its
            present status: ``trigger`` or ``resolve``.
        history: All incidents, in the order in which they were opened.
        requests: All that came to the endpoint, with what became of it.
        reject_next_request: Set this to have the next request refused with HTTP 500;
            that resets it.

    Raises:
        RuntimeError: ``ESCALATION_KEY`` is not set.
    """

    def __init__(
        self,
        port: int = 80,
        *,
        duplicates: Duplicates = "reject",
        chaos: Callable[[], Fault | None] | None = None,
        tell: Callable[[Received], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        key = variable("ESCALATION_KEY")
        if key is None:
            message = "the environment variable ESCALATION_KEY is not set"
            raise RuntimeError(message)
        if duplicates not in {"reject", "open", "fold"}:
            message = f"duplicates is reject, open or fold, got {duplicates!r}"
            raise ValueError(message)
        self.port = port
        self.url = ""
        self.endpoint_url = ""
        self.escalation_key = key
        self.incidents: dict[str, dict[str, Any]] = {}
        self.history: list[dict[str, Any]] = []
        self.requests: list[Received] = []
        self.reject_next_request = False
        self._duplicates = duplicates
        self._chaos = chaos
        self._tell = tell
        self._clock = clock or SystemClock()
        self._faults: deque[Fault] = deque()
        self._runner: web.AppRunner | None = None
        self._has_started = False
        self._closing: asyncio.Event | None = None

    # Its life -------------------------------------------------------------------------

    @classmethod
    @contextlib.contextmanager
    def running(
        cls,
        port: int = 0,
        *,
        duplicates: Duplicates = "reject",
        chaos: Callable[[], Fault | None] | None = None,
        tell: Callable[[Received], None] | None = None,
        clock: Clock | None = None,
    ) -> Iterator[Self]:
        """Run a service in a thread of its own, for as long as the block lasts.

        Args:
            port: The TCP port; 0 to choose a free one.
            duplicates: As for the class.
            chaos: As for the class.
            tell: As for the class.
            clock: As for the class.

        Raises:
            OSError: The port is in use.
            RuntimeError: ``ESCALATION_KEY`` is not set.
        """
        server = cls(port, duplicates=duplicates, chaos=chaos, tell=tell, clock=clock)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=loop.run_forever, name="mock-squadcast", daemon=True
        )
        thread.start()

        def run(step: Any) -> None:  # noqa: ANN401 -- a coroutine
            asyncio.run_coroutine_threadsafe(step, loop).result(_START_WITHIN)

        try:
            run(server.start())
            try:
                yield server
            finally:
                run(server.close())
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_START_WITHIN)
            loop.close()

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def start(self) -> None:
        """Start the service.

        Raises:
            OSError: The port is in use.
            RuntimeError: It has been started already, or is served on several sockets,
                so that nobody can tell which port was chosen.
        """
        if self._has_started:
            message = "Already started"
            raise RuntimeError(message)
        runner = web.AppRunner(
            self.make_app(), access_log=None, shutdown_timeout=_CLOSE_WITHIN
        )
        self._closing = asyncio.Event()
        await runner.setup()
        try:
            await web.TCPSite(runner, _HOST, self.port).start()
            self.port = self.port or _only_port(runner.addresses)
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._has_started = True
        self.url = f"http://{_HOST}:{self.port}"
        self.endpoint_url = f"{self.url}{_ROUTE}{quote(self.escalation_key, safe='')}"

    async def close(self) -> None:
        """Stop the service, if running. What it has received stays."""
        runner, self._runner = self._runner, None
        if self._closing is not None:
            self._closing.set()
        if runner is not None:
            await runner.cleanup()

    def make_app(self) -> web.Application:
        """Make an instance of the web application."""
        app = web.Application(client_max_size=_MOST_READ)
        app.router.add_route("*", f"{_ROUTE}{{key:.*}}", self._dispatch)
        return app

    # What goes wrong ------------------------------------------------------------------

    def fail_with(
        self,
        status: int,
        times: int = 1,
        *,
        retry_after: float | str | None = None,
        text: str = "",
    ) -> None:
        """Answer the next requests with an HTTP status, and take nothing in.

        Args:
            status: For example 503 or 429.
            times: How many requests.
            retry_after: The header of that name: seconds, or a date.
            text: The body of the answer.
        """
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after}"}
        self._add(Fault(status=status, headers=headers, text=text), times)

    def hang(self, times: int = 1) -> None:
        """Never answer the next requests."""
        self._add(Fault(hang=True), times)

    def cut(self, times: int = 1, *, processed: bool = False) -> None:
        """Cut the connections of the next requests, instead of an answer.

        Args:
            times: How many requests.
            processed: Whether they are taken in before.
        """
        self._add(Fault(cut=True, processed=processed), times)

    def slow(self, delay: float, times: int = 1) -> None:
        """Answer the next requests only after a delay.

        Args:
            delay: Seconds.
            times: How many requests.
        """
        self._add(Fault(delay=delay), times)

    def _add(self, fault: Fault, times: int) -> None:
        self._faults.extend([fault] * times)

    # What there is --------------------------------------------------------------------

    def open_incidents(self) -> list[dict[str, Any]]:
        """Return the incidents that were triggered and not resolved, oldest first."""
        return [dict(each) for each in self.history if each["status"] == "trigger"]

    # Requests -------------------------------------------------------------------------

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        if request.path != f"{_ROUTE}{self.escalation_key}":
            raise web.HTTPNotFound
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        return await self.incident_webhook(request)

    async def incident_webhook(self, request: web.Request) -> web.StreamResponse:
        """Trigger or resolve an incident.

        Args:
            request: With a JSON object as its body: ``event_id`` and ``status``, which
                is ``trigger`` or ``resolve``; for a trigger also ``message`` and
                ``description``, and ``tags`` if there are any.

        Raises:
            web.HTTPInternalServerError: `reject_next_request` was true.
            web.HTTPRequestEntityTooLarge: The body is too large.
            web.HTTPBadRequest: It makes no sense; the reason says why.
        """
        if self.reject_next_request:
            self.reject_next_request = False
            reason = "Rejected because reject_next_request was true"
            self._note(b"", 500, reason)
            raise web.HTTPInternalServerError(reason=reason)
        fault = self._faults.popleft() if self._faults else None
        if fault is None and self._chaos is not None:
            fault = self._chaos()
        fault = fault or Fault()
        if fault.delay:
            await asyncio.sleep(fault.delay)
        body = await self._read(request)
        if fault.hang:
            self._note(body, 0, "hangs")
            await self._hang()
        if fault.status:
            self._note(body, fault.status, "fails because it was told to")
            return web.Response(
                status=fault.status, headers=fault.headers, text=fault.text
            )
        if fault.cut and not fault.processed:
            self._note(body, 0, "cut before it was taken in")
            return self._cut(request)
        answer, verdict = self._answer(body)
        if fault.cut:
            self._note(body, 0, "cut after it was taken in")
            return self._cut(request)
        self._note(body, answer.status, verdict)
        return answer

    async def _read(self, request: web.Request) -> bytes:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge:
            self._note(b"", 413, f"more than {_MOST_READ} bytes")
            raise

    async def _hang(self) -> None:
        if self._closing is not None:
            await self._closing.wait()

    def _cut(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _answer(self, body: bytes) -> tuple[web.Response, str]:
        """Return what is answered to a request that nothing happens to, and why."""
        try:
            incident = _read_incident(body)
            self._take(incident)
        except _RefusedError as refusal:
            reason, status = str(refusal), refusal.status
            line = _line(reason)
            return web.Response(status=status, reason=line, text=reason), reason
        answer = {
            "result": "Request will be processed",
            "took": 0.01,
            "requestId": incident["event_id"],
        }
        return web.json_response(answer, status=202), "taken in"

    def _take(self, incident: dict[str, Any]) -> None:
        """Open or resolve incidents.

        Raises:
            _RefusedError: The event id is known.
        """
        key = incident["event_id"]
        if incident["status"] == "resolve":
            for each in self.history:
                if each["event_id"] == key:
                    each["status"] = "resolve"
            return
        known = self.incidents.get(key)
        if known is not None and self._duplicates == "reject":
            message = f"event_id={key!r} already exists"
            raise _RefusedError(message)
        is_open = known is not None and known["status"] == "trigger"
        if is_open and self._duplicates == "fold":
            return
        self.incidents[key] = incident
        self.history.append(incident)

    def _note(self, body: bytes, status: int, verdict: str) -> None:
        received = Received(
            at=self._clock.stamp(), body=body, status=status, verdict=verdict
        )
        self.requests.append(received)
        if self._tell is not None:
            self._tell(received)


def _only_port(addresses: Sequence[Any]) -> int:
    if len(addresses) != 1:
        message = f"served on {len(addresses)} sockets, so no port is the chosen one"
        raise RuntimeError(message)
    return int(addresses[0][1])


def _read_incident(body: bytes) -> dict[str, Any]:
    """Return what a request says.

    Raises:
        _RefusedError: It makes no sense.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as failure:
        message = f"the body is no JSON: {type(failure).__name__}"
        raise _RefusedError(message) from None
    if not isinstance(said, dict):
        message = f"the body is a JSON {_kind(said)}, and has to be an object"
        raise _RefusedError(message)
    if (length := len(json.dumps(said))) > MAX_BODY:
        message = f"the body takes {length} bytes, and may take {MAX_BODY}"
        raise _RefusedError(message, 413)
    _require(said, {"event_id", "status"}, "a request")
    if isinstance(said["event_id"], (list, dict)):
        message = f"event_id is a JSON {_kind(said['event_id'])}, and has to be a text"
        raise _RefusedError(message)
    if said["status"] == "trigger":
        _require(said, {"message", "description"}, "a trigger")
    elif said["status"] != "resolve":
        message = f"status is {json.dumps(said['status'])[:100]}: trigger or resolve"
        raise _RefusedError(message)
    return said


def _require(said: Mapping[str, Any], needed: set[str], what: str) -> None:
    missing = sorted(needed - said.keys())
    if missing:
        message = f"{what} needs {' and '.join(missing)}"
        raise _RefusedError(message)


def _kind(said: object) -> str:
    kinds = {dict: "object", list: "array", str: "text", bool: "truth value"}
    return "null" if said is None else kinds.get(type(said), "number")


def _line(reason: str) -> str:
    """Write a reason so that it fits into a status line."""
    return reason.encode("ascii", "backslashreplace").decode()[:200]

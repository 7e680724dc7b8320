"""Requests have patience, and take the current test with them."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pysys_orch.livecheck import (
    Case,
    Condition,
    LiveCheckTestFailed,
    Signal,
    State,
    aiohttp_session,
    current_headers,
    current_test,
    livecheck_middleware,
    requests_session,
)
from tests.livecheck.stage import Stage
from tests.livecheck.stage import play as play_on

DROP, HANG = -1, -2

# A busy machine takes its time to bring an answer.
play = functools.partial(play_on, grace=0.02)


class Asks(Case):
    probability = 1.0
    url_error_delay_min = 0.1
    url_error_delay_backoff = 2.0
    url_error_delay_max = 0.5
    url_error_retries = 5
    url_timeout_total = 60.0
    seen: Signal[str]

    async def run(self, *_: Any) -> None:
        pass


class Service:
    """A real server on the loopback that answers as it is told.

    Attributes:
        answers: The status of each answer; the last one for all that follow.
        asked: The instant of each request.
        headers: Its headers.
    """

    def __init__(self, stage: Stage, *answers: int) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []
        self.headers: list[dict[str, str]] = []
        self._stage = stage

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(round(self._stage.clock.instant() - 1000.0, 6))
        self.headers.append(dict(request.headers))
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == DROP:
            assert request.transport is not None
            request.transport.abort()
        if status == HANG:
            await asyncio.sleep(1000)
        return web.Response(status=max(status, 200), text=await request.text())


@pytest.mark.parametrize("trouble", [500, 503, DROP])
def test_what_may_pass_is_tried_again_with_growing_delays(trouble: int) -> None:
    """The first delay is the least one; then each is longer, up to the most."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Asks)
        service = Service(stage, *[trouble] * 5, 200)
        async with service as url:
            assert await case.post_url(url, data=b"hello") == b"hello"
        assert service.asked == [0.0, 0.1, 0.3, 0.7, 1.2, 1.7]
        assert stage.suites == []

    play(scene)


def test_a_service_that_stays_down_fails_the_case() -> None:
    """There are retries + 1 attempts, and None."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Asks, url_error_retries=2)
        service = Service(stage, 502)
        async with service as url:
            assert await case.get_url(url) is None
        assert len(service.asked) == 3
        assert case.condition is Condition.DOWN
        assert case.status is State.FAIL
        (report,) = stage.reports
        assert report.error is not None
        assert report.error.endswith(
            "no good answer after 3 attempts: HTTP 502 Bad Gateway"
        )

    play(scene)


def test_a_service_that_nobody_runs_is_down() -> None:
    """A refused connection is as good as none."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Asks, url_error_retries=1)
        async with Service(stage, 200) as url:
            pass
        assert await case.get_url(url) is None
        assert stage.suites == ["FAIL"]

    play(scene)


def test_a_service_that_takes_too_long_is_tried_again() -> None:
    """A time-out is no end of the case."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Asks, url_timeout_total="5s")
        service = Service(stage, HANG, 200)
        async with service as url:
            assert await case.get_url(url) == b""
        assert service.asked == [0.0, 5.1]

    play(scene)


def test_a_refusal_is_a_failure_of_the_test_and_not_tried_again() -> None:
    """Who answers is not down; to ask again would not change the answer."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Asks)
        service = Service(stage, 404)
        async with service as url:
            with pytest.raises(LiveCheckTestFailed, match=r"GET .*/x: HTTP 404"):
                await case.get_url(f"{url}x?token=secret")
        assert len(service.asked) == 1
        assert stage.suites == []

    play(scene)


def test_an_answer_forgives_no_failures() -> None:
    """A service that answers says nothing of tests that fail."""

    class Fails(Asks):
        async def run(self, url: str) -> None:
            assert await self.get_url(url) is None

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Fails, max_consecutive_failures=3)
        async with Service(stage, 200) as url:
            for _ in range(5):
                await case.trigger(None, url)
                await stage.idle()
        assert stage.suites == ["FAIL"]
        assert case.consecutive_failures == 5

    play(scene)


def test_a_fake_request_that_finds_nobody_is_not_the_last() -> None:
    """The case goes on asking."""

    async def scene(stage: Stage) -> None:
        service = Service(stage, HANG, 200)

        class Fakes(Asks):
            frequency = 10.0
            url_timeout_total = 5.0
            url_error_retries = 0
            url = ""

            async def make_fake_request(self) -> None:
                await self.get_url(self.url)

        case = stage.app.add_case(Fakes)
        async with service as url:
            case.url = url
            await asyncio.sleep(45)
        assert service.asked == [10.0, 20.0, 30.0, 40.0]

    play(scene)


# Headers


def test_a_request_of_a_test_has_its_headers() -> None:
    """And those that the caller gives."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Asks)
        service = Service(stage, 200)
        async with service as url:
            async with case.maybe_trigger("a") as test:
                assert test is not None
                await case.get_url(url, headers={"X-Mine": "1"})
            await case.get_url(url)
        first, second = service.headers
        assert test.as_headers().items() <= first.items()
        assert first["X-Mine"] == "1"
        assert "LiveCheck-Test-Id" not in second

    play(scene)


def test_a_client_of_aiohttp_keeps_what_it_was_given() -> None:
    """Traces and a base URL work as ever, and nothing of the caller's is changed."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Asks)
        service = Service(stage, 200)
        traces: list[aiohttp.TraceConfig] = [aiohttp.TraceConfig()]
        begun: list[str] = []

        async def begin(_session: object, _context: object, params: Any) -> None:  # noqa: ANN401 -- aiohttp's
            begun.append(params.method)

        traces[0].on_request_start.append(begin)
        async with service as url:
            session = aiohttp_session(base_url=url, trace_configs=traces)
            async with session, case.maybe_trigger("a"), session.get("x") as answer:
                assert answer.status == 200
        assert service.headers[0]["LiveCheck-Test-Id"] == "a"
        assert begun == ["GET"]
        assert len(traces) == 1

    play(scene)


def test_a_client_of_requests_sends_them_as_well() -> None:
    """Also in a thread that knows the test."""
    heard: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("LiveCheck-Test-Id"))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Asks)
        with requests_session() as session:

            def get() -> int:
                return session.get(url, timeout=10).status_code

            async with case.maybe_trigger("a"):
                assert await asyncio.to_thread(get) == 204
            assert await asyncio.to_thread(get) == 204

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            play(scene)
        finally:
            server.shutdown()
            thread.join(10)
    assert heard == ["a", None]


@pytest.mark.parametrize("id", ["a\r\nX-Evil: 1", "über"])
def test_an_id_that_no_header_can_carry_is_left_off(
    id: str,  # noqa: A002 -- as there
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The request is made all the same, without the headers."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Asks)
        async with case.maybe_trigger(id):
            assert current_headers() == {}

    play(scene)
    assert "cannot travel as headers" in caplog.text


def serve(stage: Stage, ask: Callable[[Any, list[str | None]], Any]) -> Any:  # noqa: ANN401 -- a scene
    async def handle(_request: web.Request) -> web.Response:
        test = current_test.get()
        seen.append(None if test is None else test.id)
        return web.Response()

    seen: list[str | None] = []

    async def scene() -> None:
        app = web.Application(middlewares=[livecheck_middleware()])
        app.router.add_get("/", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with aiohttp_session(base_url=f"http://{host}:{port}") as session:
            await ask(session, seen)
        await runner.cleanup()

    return scene()


def test_a_service_finds_the_test_of_each_request() -> None:
    """What it sends while it handles a request is for that test, and no other."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Asks)

        async def ask(session: aiohttp.ClientSession, seen: list[str | None]) -> None:
            async with case.maybe_trigger("a"), session.get("/"):
                pass
            async with session.get("/"):
                pass
            assert seen == ["a", None]

        await serve(stage, ask)

    play(scene)


def test_damaged_headers_do_not_harm_the_service() -> None:
    """They come from anybody: the request is answered as any other."""

    async def scene(stage: Stage) -> None:
        async def ask(session: aiohttp.ClientSession, seen: list[str | None]) -> None:
            for headers in (
                {"LiveCheck-Test-Id": "a"},
                {
                    "LiveCheck-Test-Id": "a",
                    "LiveCheck-Test-Name": "b",
                    "LiveCheck-Test-Timestamp": "yesterday",
                    "LiveCheck-Test-Expires": "12",
                },
            ):
                async with session.get("/", headers=headers) as answer:
                    assert answer.status == 200
            assert seen == [None, None]

        await serve(stage, ask)

    play(scene)

"""The mock of SquadCast, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import requests

from pysys_orch.escalation import Fault, MockSquadCast
from pysys_orch.testing import ManualClock

KEY = "0123456789abcdef"

Post = Callable[..., requests.Response]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCALATION_KEY", KEY)


@pytest.fixture
def server() -> Iterator[MockSquadCast]:
    with MockSquadCast.running() as server:
        yield server


def trigger(key: object = "a", **more: object) -> dict[str, Any]:
    found = {"event_id": key, "status": "trigger", "message": "m", "description": "d"}
    return found | more


def resolve(key: object = "a", **more: object) -> dict[str, Any]:
    return {"event_id": key, "status": "resolve"} | more


def post(server: MockSquadCast, data: object, **options: Any) -> requests.Response:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    options.setdefault("timeout", 10)
    return requests.post(server.endpoint_url, data=body, **options)


# Its life


def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read when the service is made."""
    monkeypatch.delenv("ESCALATION_KEY")
    with pytest.raises(RuntimeError, match="ESCALATION_KEY is not set"):
        MockSquadCast()
    monkeypatch.setenv("ESCALATION_KEY", "")
    assert MockSquadCast().escalation_key == ""


def test_nothing_is_there_before_it_is_started() -> None:
    """The default port is that of the service."""
    server = MockSquadCast()
    assert (server.port, server.url, server.endpoint_url) == (80, "", "")
    assert (server.incidents, server.reject_next_request) == ({}, False)


def test_it_is_started_and_closed_as_a_context() -> None:
    """As tests of an asyncio application write it."""

    async def run() -> int:
        async with MockSquadCast(port=0) as server:
            path = f"/v2/incidents/api/{KEY}"
            assert server.endpoint_url == f"http://127.0.0.1:{server.port}{path}"
            assert server.endpoint_url == server.url + path
            with pytest.raises(RuntimeError, match="Already started"):
                await server.start()
            async with (
                aiohttp.ClientSession() as session,
                session.post(server.endpoint_url, json=trigger()) as answer,
            ):
                assert answer.status == 202
        await server.close()
        with pytest.raises(RuntimeError, match="Already started"):
            await server.start()
        assert server.incidents == {"a": trigger()}
        return server.port

    port = asyncio.run(run())
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


def test_a_port_that_is_in_use_is_an_error_that_can_be_mended(
    server: MockSquadCast,
) -> None:
    """Once the port is free, the same service starts."""

    async def run() -> None:
        other = MockSquadCast(port=server.port)
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            await other.start()
        other.port = 0
        await other.start()
        await other.close()

    asyncio.run(run())


def test_an_odd_key_is_a_key_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in it is taken for a part of a path or of a pattern."""
    for key in ("{x}", "a{b", "a?b", "a#b", "%41", "a/b c"):
        monkeypatch.setenv("ESCALATION_KEY", key)
        with MockSquadCast.running() as server:
            assert post(server, trigger()).status_code == 202
            wrong = requests.post(f"{server.url}/v2/incidents/api/other", timeout=10)
            assert wrong.status_code == 404


def test_closing_does_not_wait_for_half_a_request() -> None:
    """A client that has gone to sleep keeps no test from ending."""
    with contextlib.ExitStack() as stack:
        with MockSquadCast.running() as server:
            half = socket.create_connection(("127.0.0.1", server.port))
            stack.enter_context(half)
            path = f"/v2/incidents/api/{KEY}"
            half.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: 9\r\n\r\na".encode())
            post(server, trigger())
            begin = time.monotonic()
        assert time.monotonic() - begin < 20


# Requests


def test_an_incident_is_opened_and_resolved(server: MockSquadCast) -> None:
    """What is sent is remembered as it was sent."""
    opened = trigger(tags={"a": "b", "c": {"value": "d", "color": "#FF0000"}}, more=[1])
    answer = post(server, opened)
    assert answer.status_code == 202
    assert answer.json() == {
        "result": "Request will be processed",
        "took": 0.01,
        "requestId": "a",
    }
    assert server.incidents == {"a": opened}
    assert server.open_incidents() == [opened]
    assert post(server, resolve(message="other")).status_code == 202
    assert server.incidents == {"a": opened | {"status": "resolve"}}
    assert server.open_incidents() == []
    for each in (resolve(), resolve("unknown")):
        assert post(server, each).status_code == 202
    assert list(server.incidents) == ["a"]


@pytest.mark.parametrize("path", ["/", "/v2/incidents/api/", "/v1/incidents/api/KEY"])
def test_another_path_is_not_found(server: MockSquadCast, path: str) -> None:
    """It uses up nothing that was scripted."""
    server.reject_next_request = True
    url = server.url + path.replace("KEY", KEY)
    assert requests.post(url, json=trigger(), timeout=10).status_code == 404
    assert requests.post(server.endpoint_url + "/", timeout=10).status_code == 404
    assert server.reject_next_request


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_are_not_allowed(server: MockSquadCast, method: str) -> None:
    """Neither do they use up anything."""
    server.reject_next_request = True
    answer = requests.request(method, server.endpoint_url, timeout=10)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert server.reject_next_request


def test_the_next_request_is_rejected_once(server: MockSquadCast) -> None:
    """Whatever it says."""
    server.reject_next_request = True
    answer = post(server, b"{")
    assert answer.status_code == 500
    assert answer.reason == "Rejected because reject_next_request was true"
    assert post(server, trigger()).status_code == 202


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"{} {}", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "the body is a JSON array, and has to be an object"),
        (b'"a"', "JSON text"),
        (b"null", "JSON null"),
        (b"7", "JSON number"),
        (b"true", "JSON truth value"),
        (b"{}", "a request needs event_id and status"),
        (b'{"status": "trigger", "message": "secret"}', "a request needs event_id"),
        (json.dumps(trigger(None, status=None)).encode(), "status is null"),
        (json.dumps(trigger(status="acknowledge")).encode(), 'status is "acknowledge"'),
        (json.dumps(trigger(status="TRIGGER")).encode(), "trigger or resolve"),
        (json.dumps(trigger([])).encode(), "event_id is a JSON array"),
        (
            b'{"event_id": 1, "status": "trigger"}',
            "a trigger needs description and message",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    server: MockSquadCast, body: bytes, reason: str
) -> None:
    """It goes on after that, and quotes nothing that was sent."""
    answer = post(server, body)
    assert answer.status_code == 400
    assert reason in answer.reason
    assert reason in answer.text
    assert "secret" not in answer.text
    assert server.incidents == {}
    assert post(server, trigger()).status_code == 202


def test_a_body_has_a_size_that_counts_as_ascii(server: MockSquadCast) -> None:
    """30,000 characters of JSON, blanks between tokens left aside."""
    room = 30_000 - len(json.dumps(trigger("a", description="")))
    fits = json.dumps(trigger("a", description="x" * room)).replace(":", ":   ")
    assert post(server, fits.encode()).status_code == 202
    for words in ("x" * (room + 1), "é" * (room // 6 + 1)):
        answer = post(server, trigger("b", description=words))
        assert answer.status_code == 413
        assert "may take 30000" in answer.text
    assert post(server, b" " * 2_000_000).status_code == 413


def test_odd_values_are_kept(server: MockSquadCast) -> None:
    """Only what stands for an incident is looked at."""
    odd = trigger(
        7, message={"a": [None]}, description="\U0001f600\u2028\0 עברית", tags=3
    )
    assert post(server, odd, headers={"Content-Type": "text/plain"}).status_code == 202
    assert list(server.incidents.values()) == [odd]


# What becomes of a known id


def test_a_known_id_is_rejected(server: MockSquadCast) -> None:
    """Also after its incident was resolved; the first one stays."""
    post(server, trigger(message="first"))
    for _ in range(2):
        answer = post(server, trigger(message="second"))
        assert answer.status_code == 400
        assert answer.text == "event_id='a' already exists"
        assert server.incidents["a"]["message"] == "first"
        post(server, resolve())


def test_each_trigger_may_open_an_incident() -> None:
    """As the real service does; one resolve closes them all."""
    with MockSquadCast.running(duplicates="open") as server:
        for message in ("first", "second"):
            assert post(server, trigger(message=message)).status_code == 202
        assert [each["message"] for each in server.open_incidents()] == [
            "first",
            "second",
        ]
        post(server, resolve())
        assert server.open_incidents() == []
        post(server, trigger(message="third"))
        assert [each["message"] for each in server.open_incidents()] == ["third"]
        assert len(server.history) == 3


def test_a_trigger_may_be_folded_into_what_is_open() -> None:
    """As the real service does with a rule for it; after a resolve it opens anew."""
    with MockSquadCast.running(duplicates="fold") as server:
        for message in ("first", "second"):
            assert post(server, trigger(message=message)).status_code == 202
        post(server, resolve())
        post(server, trigger(message="third"))
        assert [each["message"] for each in server.history] == ["first", "third"]
        assert len(server.open_incidents()) == 1


def test_what_happens_to_duplicates_is_one_of_three() -> None:
    """A misspelt choice would make a test mean something else."""
    with pytest.raises(ValueError, match="reject, open or fold, got 'refuse'"):
        MockSquadCast(duplicates="refuse")  # type: ignore[arg-type] # that is the point


# What goes wrong


def test_answers_are_scripted(server: MockSquadCast) -> None:
    """In order, and then it is well again."""
    server.fail_with(503, times=2)
    server.fail_with(429, retry_after=7, text="later")
    answers = [post(server, trigger()) for _ in range(4)]
    assert [each.status_code for each in answers] == [503, 503, 429, 202]
    assert (answers[2].headers["Retry-After"], answers[2].text) == ("7", "later")


def test_connections_are_cut_before_or_after_a_request_is_taken_in(
    server: MockSquadCast,
) -> None:
    """The client cannot tell which."""
    server.cut()
    server.cut(processed=True)
    for key in ("a", "b"):
        with pytest.raises(requests.ConnectionError):
            post(server, trigger(key))
    assert list(server.incidents) == ["b"]
    assert [(each.status, each.verdict) for each in server.requests] == [
        (0, "cut before it was taken in"),
        (0, "cut after it was taken in"),
    ]


def test_a_request_that_hangs_keeps_nobody_from_closing() -> None:
    """Who waits for it waits for as long as he wants to."""
    with MockSquadCast.running() as server:
        server.hang()
        with pytest.raises(requests.ReadTimeout):
            post(server, trigger(), timeout=0.1)
        server.hang()
        waiting = threading.Thread(target=lambda: _quietly(server))
        waiting.start()
    waiting.join(10)
    assert not waiting.is_alive()


def _quietly(server: MockSquadCast) -> None:
    with contextlib.suppress(requests.RequestException):
        post(server, trigger())


def test_an_answer_may_take_its_time(server: MockSquadCast) -> None:
    """Longer than a client wants to wait, and it is taken in all the same."""
    server.slow(0.2)
    with pytest.raises(requests.ReadTimeout):
        post(server, trigger(), timeout=0.05)
    assert post(server, trigger("b")).status_code == 202


def test_chaos_is_a_function() -> None:
    """What is scripted comes first."""
    faults = iter([Fault(status=502), None])
    with MockSquadCast.running(chaos=lambda: next(faults)) as server:
        server.fail_with(503)
        statuses = [post(server, trigger()).status_code for _ in range(3)]
    assert statuses == [503, 502, 202]


# What is remembered


def test_every_request_is_remembered_with_its_time_and_verdict() -> None:
    """To be looked at when a test fails."""
    clock = ManualClock()
    with MockSquadCast.running(clock=clock) as server:
        post(server, trigger())
        first = clock.stamp()
        clock.advance(3600)
        post(server, b"{")
    assert [(each.at - first, each.status) for each in server.requests] == [
        (timedelta(0), 202),
        (timedelta(hours=1), 400),
    ]
    assert json.loads(server.requests[0].body) == trigger()
    assert server.requests[1].verdict.startswith("the body is no JSON")


def test_two_hundred_requests_at_once_are_taken_in() -> None:
    """Of as many with one id, one."""

    async def run() -> None:
        async with (
            MockSquadCast(port=0) as server,
            aiohttp.ClientSession() as session,
        ):

            async def send(key: int) -> int:
                async with session.post(
                    server.endpoint_url, json=trigger(key)
                ) as answer:
                    return answer.status

            different = await asyncio.gather(*(send(key) for key in range(200)))
            same = await asyncio.gather(*(send(-1) for _ in range(200)))
            assert different == [202] * 200
            assert sorted(same) == [202] + [400] * 199

    asyncio.run(run())


def test_the_key_is_in_no_log(
    server: MockSquadCast, caplog: pytest.LogCaptureFixture
) -> None:
    """The path has it; nobody needs to read it there."""
    caplog.set_level("DEBUG", "aiohttp")
    post(server, trigger())
    post(server, b"{")
    assert KEY not in caplog.text

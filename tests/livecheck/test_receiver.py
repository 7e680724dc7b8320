"""Other processes send signals and trigger tests, and harm nothing."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import shutil
import socket
import sys
import zlib
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pysys_orch.errors import ConfigError
from pysys_orch.livecheck import Case, LiveCheck, LocalBus, Signal, State, Topic
from pysys_orch.livecheck.receiver import Receiver
from pysys_orch.livecheck.refusals import WHOLE
from tests.livecheck.receiving import Order, Site, serve, signal

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


# Signals and triggers.


def test_a_test_is_triggered_and_its_signal_arrives() -> None:
    """From another process, all that is needed are two requests."""

    async def scene(site: Site) -> None:
        trigger = {"case": "Order", "args": [1], "kwargs": {"amount": 3}}
        status, text = await site.post("/trigger", trigger)
        assert status == 200
        id_ = json.loads(text)["id"]
        assert await site.post("/signal", signal(id_)) == (200, '{"accepted": 1}\n')
        assert await site.app.wait_idle(20)
        (report,) = site.reports
        assert (report["test"]["id"], report["state"]) == (id_, "PASS")
        assert report["test"]["test_args"] == [1]
        assert report["test"]["test_kwargs"] == {"amount": 3}

    serve(scene)


def test_signals_are_sent_many_at_once_all_or_none() -> None:
    """One that is wrong is named, and none of the others is sent."""

    async def scene(site: Site) -> None:
        for key in "ab":
            await site.post("/trigger", {"case": "Order", "id": key})
        before = site.traces
        wrong = [signal("a"), signal("b", signal_name="sendt")]
        status, text = await site.post("/signal", wrong)
        assert (status, site.traces) == (404, before)
        assert text == (
            "signal 2 of 2: case 'Order' has no signal 'sendt', did you mean sent?\n"
        )
        both = [signal("a"), signal("b")]
        assert await site.post("/signal", both) == (200, '{"accepted": 2}\n')
        assert await site.app.wait_idle(20)
        assert [report["state"] for report in site.reports] == ["PASS", "PASS"]

    serve(scene)


@pytest.mark.parametrize(
    "headers",
    [FORM, {"Content-Type": "text/plain"}, {"Content-Type": "nonsense"}],
)
def test_the_content_type_does_not_matter(headers: dict[str, str]) -> None:
    """Wget of busybox can only send the type of forms."""

    async def scene(site: Site) -> None:
        body = json.dumps(signal("a")).encode()
        assert (await site.post("/signal", body, headers=headers))[0] == 200
        assert len(site.app.cases["Order"].arrivals) == 1

    serve(scene)


def test_what_the_bus_cannot_carry_is_to_be_sent_again() -> None:
    """It is no success that nobody hears of."""

    class Broken(LocalBus):
        async def send(self, topic: Topic, key: str, message: dict[str, Any]) -> None:
            if key == "b":
                raise OSError("no broker")
            await super().send(topic, key, message)

    async def scene(site: Site) -> None:
        status, text = await site.post("/signal", [signal(key) for key in "abc"])
        assert status == 503
        assert text == "1 of 3 signals were sent: send them again\n"

    serve(scene, app=LiveCheck(bus=Broken()))


# What is wrong.


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/signal", b"{", 400, "this is no JSON"),
        ("POST", "/signal", b"", 400, "this is no JSON"),
        ("POST", "/signal", b"[" * 60_000, 400, "this is nested too deeply"),
        ("POST", "/signal", b"{}", 400, "a signal needs key"),
        ("POST", "/trigger", b'{"case": "Oder"}', 404, "did you mean Order?"),
        ("POST", "/trigger", b'"Order"', 400, "this is no trigger"),
        ("POST", "/signal", b" " * 70_000, 413, "more than 65536 bytes"),
        ("POST", "/trigger", b" " * 900_000, 413, "more than 65536 bytes"),
        ("GET", "/cases/Oder", b"", 404, "no case 'Oder', did you mean Order?"),
        ("GET", "/cases/%0d%0aX", b"", 404, "no case '\\r\\nX'"),
        ("GET", "/nothing", b"", 404, "there is only POST /signal, POST /trigger, "),
        ("POST", "/Trigger", b"", 404, "there is only POST /signal, POST /trigger, "),
        ("GET", "/signal", b"", 405, "this takes POST, not GET"),
        ("DELETE", "/cases/Order", b"", 405, "this takes GET, HEAD, not DELETE"),
    ],
)
def test_what_is_wrong_gets_a_line_and_changes_nothing(
    method: str, path: str, body: bytes, status: int, words: str
) -> None:
    """And the next request is answered."""

    async def scene(site: Site) -> None:
        await site.run("a")
        before = site.traces
        found, text, headers = await site.ask(method, path, data=body)
        assert found == status
        assert words in text
        assert len(text.splitlines()) == 1
        assert headers["Content-Type"].startswith("text/plain")
        assert site.traces == before
        assert (await site.post("/signal", signal("b")))[0] == 200

    serve(scene)


def test_each_refusal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Wget of busybox does not show the body of an answer; the log is of this side."""

    async def scene(site: Site) -> None:
        await site.post("/trigger", {"case": "Oder"})
        await site.post("/signal", {"secret": "s3cret"})
        await site.post("/signal", ["s3cret"])
        await site.post("/signal", signal(["s3cret"]))
        await site.ask("GET", f"/{site.receiver.token}?token=s3cret")
        await site.post("/signal", signal("a"))
        assert site.receiver.refusals.count == 5
        assert site.receiver.token not in caplog.text
        assert "s3cret" not in caplog.text

    with caplog.at_level("WARNING", "pysys.orch.livecheck"):
        serve(scene)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 5
    assert said[0] == (
        "shop: POST /trigger from 127.0.0.1: 404, there is no case 'Oder', did you "
        "mean Order?"
    )
    assert said[4].startswith("shop: GET /[...] from 127.0.0.1: 404, there is only ")


def test_a_flood_of_refusals_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first are logged, then few; all are counted."""

    async def scene(site: Site) -> None:
        for _ in range(WHOLE + 30):
            assert (await site.post("/trigger", {"case": "x" * 5000}))[0] == 404
        assert site.receiver.refusals.count == WHOLE + 30

    with caplog.at_level("WARNING", "pysys.orch.livecheck"):
        serve(scene)
    assert len(caplog.records) == WHOLE
    assert max(len(record.getMessage()) for record in caplog.records) < 1000


JUNK = st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: (
        st.lists(each, min_size=1)
        | st.dictionaries(
            st.sampled_from([*signal("a"), "case", "id", "args", "kwargs"]) | st.text(),
            each,
        )
    ),
    max_leaves=10,
).map(lambda said: json.dumps(said).encode())


def test_nothing_that_is_no_signal_changes_anything() -> None:
    """Whatever the bytes are: always 4xx, in one line."""

    async def all_of_it(site: Site, bodies: list[tuple[str, bytes]]) -> None:
        before = site.traces
        for path, body in bodies:
            status, text = await site.post(path, body)
            assert status in {400, 404}, (path, body)
            assert text.endswith("\n")
            assert len(text.splitlines()) == 1
        assert site.traces == before

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(["/signal", "/trigger"]), JUNK)))
    def holds(bodies: list[tuple[str, bytes]]) -> None:
        # Once in a while it makes a list without signals, and all of these are sent.
        bodies = [each for each in bodies if each[1].strip() != b"[]"]
        serve(lambda site: all_of_it(site, bodies))

    holds()


def test_what_is_sent_compressed_counts_as_what_it_is() -> None:
    """A little of it may be very much."""

    async def scene(site: Site) -> None:
        headers = {"Content-Encoding": "deflate"}
        good = zlib.compress(json.dumps(signal("a")).encode())
        assert (await site.post("/signal", good, headers=headers))[0] == 200
        bomb = zlib.compress(b" " * 60_000_000)
        assert len(bomb) < 65_536
        assert (await site.post("/signal", bomb, headers=headers))[0] == 413
        status, text = await site.post("/signal", b"\xff\xff", headers=headers)
        assert (status, len(text.splitlines())) == (400, 1)

    serve(scene)


def test_a_body_without_a_length_is_limited_as_well() -> None:
    """Chunks are counted as they come."""

    async def scene(site: Site) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(200):
                yield b" " * 1000

        status, text, _ = await site.ask("POST", "/signal", data=chunks())
        assert (status, text[:8]) == (413, "the body")

    serve(scene)


def test_a_failure_of_ours_is_logged_and_shows_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The traceback is for whoever reads the log."""

    class Faulty(Case):
        async def trigger(self, *_: Any, **__: Any) -> NoReturn:
            raise RuntimeError("secret place")

    async def scene(site: Site) -> None:
        site.app.add_case(Faulty)
        status, text = await site.post("/trigger", {"case": "Faulty"})
        assert status == 500
        assert text == "this failed here, and not through you: see the log\n"

    serve(scene)
    assert "RuntimeError: secret place" in caplog.text


def test_what_is_no_http_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does who goes away in the middle; the log is not filled with it."""

    def spoil(address: tuple[str, int]) -> list[bytes]:
        heads = []
        for said in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"POST /signal HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        ):
            with socket.create_connection(address, timeout=10) as plug:
                plug.sendall(said)
                heads.append(plug.recv(12))
        with socket.create_connection(address, timeout=10) as plug:
            plug.sendall(
                b"POST /signal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
            )
        return heads

    async def scene(site: Site) -> None:
        before = site.traces
        address = ("127.0.0.1", site.receiver.port)
        heads = await asyncio.to_thread(spoil, address)
        assert [head[-3:] for head in heads] == [b"400"] * 3
        assert site.traces == before
        assert (await site.post("/signal", signal("b")))[0] == 200

    serve(scene)
    # At most a line without a traceback, of who could have been understood.
    assert len(caplog.records) <= 1
    for record in caplog.records:
        assert record.getMessage().endswith("the client left before the body was there")
        assert record.exc_info is None


def test_a_client_of_http_1_0_and_one_that_waits_to_continue_are_served() -> None:
    """As small programs and curl are."""

    def ask(port: int) -> tuple[int, bytes]:
        body = json.dumps(signal("a")).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plug:
            plug.sendall(
                b"POST /signal HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            first = plug.recv(1000)
        assert b" 200 OK" in first
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.putrequest("POST", "/signal")
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(25).startswith(b"HTTP/1.1 100 Continue")
        connection.send(body)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    async def scene(site: Site) -> None:
        found = await asyncio.to_thread(ask, site.receiver.port)
        assert found == (200, b'{"accepted": 1}\n')

    serve(scene)


def test_who_only_wants_to_know_whether_it_is_there_gets_no_body() -> None:
    """As programs do that watch it."""

    async def scene(site: Site) -> None:
        for path in ("/", "/cases", "/cases/Order", "/metrics"):
            status, text, headers = await site.ask("HEAD", path)
            assert (status, text) == (200, "")
            assert int(headers["Content-Length"]) > 0

    serve(scene)


# Who may.


def test_on_loopback_no_token_is_needed_unless_one_was_given() -> None:
    """It is one's own machine."""

    async def open_(site: Site) -> None:
        assert (await site.post("/signal", signal("a")))[0] == 200

    async def closed(site: Site) -> None:
        before = site.traces
        for path in ("/", "/cases", "/cases/Order", "/metrics", "/events"):
            status, text, headers = await site.ask("GET", path)
            assert status == 401
            assert text.startswith("a token is needed, as Authorization: Bearer TOKEN")
            assert headers["WWW-Authenticate"].startswith("Basic realm=")
        for path in ("/signal", "/trigger"):
            assert (await site.post(path, signal("a")))[0] == 401
        wrong = {"Authorization": "Bearer letmeout"}
        status, text = await site.post("/signal", signal("a"), headers=wrong)
        assert (status, text[:21]) == (401, "this is not the token")
        assert site.traces == before
        right = {"Authorization": "Bearer letmein"}
        assert (await site.post("/signal", signal("a"), headers=right))[0] == 200

    serve(open_)
    serve(closed, token="letmein")


def test_who_listens_everywhere_asks_for_the_token_also_on_loopback() -> None:
    """What counts is where it listens, not where somebody seems to come from."""

    async def scene(site: Site) -> None:
        url = f"http://127.0.0.1:{site.receiver.port}/signal"
        assert (await site.post(url, signal("a")))[0] == 401
        bearer = {"Authorization": f"Bearer {site.receiver.token}"}
        assert (await site.post(url, signal("a"), headers=bearer))[0] == 200

    serve(scene, host="0.0.0.0")


def own_addresses() -> list[str]:
    """Return an address of this machine that is none of loopback's, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
        try:
            # Nothing is sent: it only chooses the way.
            plug.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [plug.getsockname()[0]]


@pytest.mark.parametrize("host", ["127.0.0.2", *own_addresses()])
def test_one_address_more_needs_the_token(host: str) -> None:
    """As that of the gateway of a network of containers."""

    async def scene(site: Site) -> None:
        receiver = site.receiver
        url = await receiver.listen_on(host)
        assert url == f"http://livecheck:{receiver.token}@{host}:{receiver.port}"
        assert url == receiver.url_at(host) == await receiver.listen_on(host)
        bare = f"http://{host}:{receiver.port}"
        before = site.traces
        assert (await site.post(f"{bare}/signal", signal("a")))[0] == 401
        assert (await site.ask("GET", f"{bare}/"))[0] == 401
        assert site.traces == before
        assert (await site.post(f"{url}/signal", signal("a")))[0] == 200
        # And at the first one nothing is different.
        assert (await site.post("/signal", signal("b")))[0] == 200

    serve(scene)


def test_one_address_more_has_another_port_if_that_one_is_taken() -> None:
    """The URL says which."""

    async def scene(site: Site) -> None:
        with socket.create_server(("127.0.0.3", site.receiver.port)):
            url = await site.receiver.listen_on("127.0.0.3")
        assert not url.endswith(f":{site.receiver.port}")
        assert site.receiver.url_at("127.0.0.3") == url
        assert (await site.post(f"{url}/signal", signal("a")))[0] == 200

    serve(scene)


def test_clients_need_the_one_url_and_nothing_else() -> None:
    """The token is in it, whatever characters it has."""
    programs = [
        ["curl", "-sS", "--fail", "-d", "BODY", "URL/signal"],
        ["wget", "-qO-", "--post-data=BODY", "URL/signal"],
        [sys.executable, "-c", _WITH_REQUESTS],
    ]

    async def scene(site: Site) -> None:
        url = site.receiver.url_at("127.0.0.1")
        for program in filter(lambda program: shutil.which(program[0]), programs):
            body = json.dumps(signal(program[0]))
            argv = [each.replace("URL", url).replace("BODY", body) for each in program]
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.DEVNULL
            )
            assert await process.wait() == 0, argv
            case = site.app.cases["Order"]
            assert case.arrivals.find("sent", program[0]) == 1

    serve(scene, token="a:b@c/d%20?#&e")


_WITH_REQUESTS = """
import requests
requests.post("URL/signal", json=BODY, timeout=10).raise_for_status()
"""


def test_pages_of_other_hosts_are_kept_out() -> None:
    """A browser on this machine shows them as well."""

    async def scene(site: Site) -> None:
        before = site.traces
        body = json.dumps(signal("a")).encode()
        for headers, status in (
            ({"Host": "evil.com"}, 401),
            ({"Origin": "https://evil.com", "Content-Type": "text/plain"}, 403),
            ({"Sec-Fetch-Site": "cross-site", **FORM}, 403),
        ):
            assert (await site.post("/signal", body, headers=headers))[0] == status
        assert (await site.ask("GET", "/cases", headers={"Host": "evil.com"}))[0] == 401
        far = {"Sec-Fetch-Site": "cross-site"}
        assert (await site.ask("GET", "/events", headers=far))[0] == 403
        # The page may be linked to.
        status, _, headers = await site.ask("GET", "/", headers=far)
        assert status == 200
        assert not [name for name in headers if name.startswith("Access-Control")]
        assert site.traces == before

    serve(scene)


# What is there to see.


def test_cases_are_told_in_short_and_one_in_full() -> None:
    """With tracebacks only where somebody wants them."""

    async def scene(site: Site) -> None:
        await site.run("a")
        await site.run("b", "<script>alert(1)</script>")
        whole = await site.get("/cases")
        assert whole["name"] == "shop"
        (short,) = whole["cases"]
        assert short["status"] == "FAIL"
        assert [each["state"] for each in short["history"]] == ["PASS", "FAIL"]
        assert short["failures"][0]["error"] == "got <script>alert(1)</script>"
        full = await site.get("/cases/Order")
        assert "receiving.py" in full["failures"][0].pop("traceback")
        assert full == short
        _, _, headers = await site.ask("GET", "/cases")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"

    serve(scene)


def test_a_case_is_found_by_any_name() -> None:
    """In a URL, it is quoted."""

    class Odd(Case):
        go: Signal[int]

    async def scene(site: Site) -> None:
        site.app.add_case(Odd, name="shop/ä b?.#1%2F")
        found = await site.get("/cases/shop%2F%C3%A4%20b%3F.%231%252F")
        assert found["name"] == "shop/ä b?.#1%2F"

    serve(scene)


# Its life.


def test_it_can_be_started_and_stopped_more_than_once() -> None:
    """And twice is once."""

    async def scene() -> None:
        app = LiveCheck()
        app.add_case(Order)
        receiver = Receiver(app)
        for _ in range(2):
            await receiver.start()
            await receiver.start()
            reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
            await receiver.stop()
            assert await reader.read() == b""
            writer.close()
            await receiver.stop()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", receiver.port)

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_the_end_comes_quickly_though_a_request_never_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A client that stops in the middle holds nobody up."""

    async def scene() -> float:
        app = LiveCheck()
        app.add_case(Order)
        receiver = Receiver(app)
        await receiver.start()
        host, port = "127.0.0.1", receiver.port
        reader, writer = await asyncio.open_connection(host, port)
        head = b"POST /signal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        # What asks to go on has been heard.
        writer.write(head + b"Expect: 100-continue\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await receiver.stop()
        writer.close()
        return loop.time() - begin

    assert asyncio.run(asyncio.wait_for(scene(), 30)) < 6
    assert not caplog.records


def test_an_address_that_cannot_be_is_an_error_that_names_it() -> None:
    """It is known at once, not by silence."""

    async def scene() -> None:
        app = LiveCheck()
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            words = f"at 127.0.0.1:{port}: Address already in use: name another port"
            with pytest.raises(ConfigError, match=words):
                await Receiver(app, port=port).start()
        with pytest.raises(
            ConfigError,
            match=r"listen at 198\.51\.100\.7: .*: name an address of this machine",
        ) as no:
            await Receiver(app, host="198.51.100.7").start()
        assert ":0" not in str(no.value)
        with pytest.raises(ConfigError, match=r"cannot listen at no\.such\.host"):
            await Receiver(app, host="no.such.host.invalid").start()
        with pytest.raises(ConfigError, match=r"cannot listen at no\.\.host"):
            await Receiver(app, host="no..host").start()
        with pytest.raises(ConfigError, match="start the receiver before"):
            await Receiver(app).listen_on("127.0.0.2")

    asyncio.run(asyncio.wait_for(scene(), 30))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0"])
def test_all_addresses_are_none_to_listen_at_beside_the_first(host: str) -> None:
    """A URL with it leads nowhere, and more could reach it than are meant to."""

    async def scene(site: Site) -> None:
        with pytest.raises(ConfigError, match=f"'{host}', which is all addresses"):
            await site.receiver.listen_on(host)
        assert (await site.post("/signal", signal("a")))[0] == 200

    serve(scene)


@pytest.mark.parametrize(
    "options",
    [
        *({"port": -1}, {"port": 65_536}, {"port": "80a"}, {"port": True}),
        *({"token": ""}, {"token": "a b"}, {"token": "ä"}, {"token": 7}),
    ],
)
def test_options_that_make_no_sense_are_errors(options: dict[str, Any]) -> None:
    """Before anything listens."""
    with pytest.raises(ConfigError, match="has to be"):
        Receiver(LiveCheck(), **options)


def test_a_token_is_made_that_nobody_guesses_and_nothing_shows() -> None:
    """Another one for each receiver."""
    app = LiveCheck()
    one, other = Receiver(app), Receiver(app)
    assert one.token != other.token
    assert len(base64.urlsafe_b64decode(one.token)) >= 16
    assert one.token not in repr(one)
    assert one.token not in one.url


def test_ipv6_is_written_with_brackets() -> None:
    """As URLs have it; and it is served, where there is any."""
    assert Receiver(LiveCheck(), host="::1", port=80).url == "http://[::1]:80"

    async def scene(site: Site) -> None:
        assert (await site.post("/signal", signal("a")))[0] == 200
        url = site.receiver.url_at("::1")
        assert url.endswith(f"@[::1]:{site.receiver.port}")

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return
    serve(scene, host="::1")


def test_of_many_signals_at_once_none_is_lost() -> None:
    """From many clients, each with a test that waits for it."""

    async def scene(site: Site) -> None:
        case = site.app.cases["Order"]
        for number in range(500):
            await case.trigger(str(number))
        found = await asyncio.gather(
            *(site.post("/signal", signal(number)) for number in range(500))
        )
        assert {status for status, _ in found} == {200}
        assert await site.app.wait_idle(20)
        assert case.health.tally.by_state[State.PASS] == 500

    serve(scene)

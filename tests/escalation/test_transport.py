"""How requests travel, over real sockets to whatever may be at the other end."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import logging
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pytest

from pysys_orch import __version__
from pysys_orch.errors import ConfigError
from pysys_orch.escalation.incident import Answer, Request
from pysys_orch.escalation.mock import MockSquadCast
from pysys_orch.escalation.transport import HttpTransport
from pysys_orch.testing import ManualClock

KEY = "0123456789abcdefGHIJ"
PATH = f"/v2/incidents/api/{KEY}"
HOST = "squadcast.test"
OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"

# What a test waits at most for something that takes no time; and for something that
# never comes.
PATIENT = 30.0
SHORT = 0.3

Handle = Callable[["Server", socket.socket], None]


# The other end


class Server:
    """A server that does to each connection what it is told to do.

    Args:
        handle: That; it is given the server and the connection.
        context: For TLS.
    """

    def __init__(self, handle: Handle, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.over = threading.Event()
        self._handle = handle
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for each in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENT)
            assert not thread.is_alive()
        self._listening.close()

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://127.0.0.1:{self.port}{PATH}"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while not self.over.is_set():
                connection, _ = self._listening.accept()
                self._open.append(connection)
                thread = threading.Thread(target=self._speak, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _speak(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
                stack.enter_context(connection)
            self._handle(self, connection)

    def read(self, connection: socket.socket) -> bytes:
        """Read a request, and remember it."""
        with connection.makefile("rb") as file:
            head, length = b"", 0
            while (line := file.readline()) not in {b"", b"\r\n"}:
                head += line
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            request = head + b"\r\n" + file.read(length)
        self.requests.append(request)
        return request


def says(answer: bytes) -> Handle:
    def handle(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(answer)

    return handle


def drips(begin: bytes, drop: bytes) -> Handle:
    """Return what begins to answer, and goes on with a drop at a time for ever."""

    def handle(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(begin)
        while not server.over.wait(0.01):
            connection.sendall(drop)

    return handle


def hangs(server: Server, connection: socket.socket) -> None:
    server.read(connection)
    server.over.wait(PATIENT)


def never_reads(server: Server, _connection: socket.socket) -> None:
    server.over.wait(PATIENT)


def resets(server: Server, connection: socket.socket) -> None:
    server.read(connection)
    at_once = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)


def closes(server: Server, connection: socket.socket) -> None:
    server.read(connection)


def echoes(status: int) -> Handle:
    """Return what answers with all that it was sent, in several spellings."""

    def handle(server: Server, connection: socket.socket) -> None:
        request = server.read(connection)
        said = f"{server.url} {PATH} {KEY.upper()} <{KEY}> x{KEY}x ".encode() + request
        head = f"HTTP/1.1 {status} {KEY}\r\nX-Key: {KEY}\r\nContent-Type: text/{KEY}"
        connection.sendall(f"{head}\r\n\r\n".encode() + said)

    return handle


@contextlib.contextmanager
def crowded() -> Iterator[str]:
    """Yield the URL of a host that takes no connection, and refuses none."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}{PATH}"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate that nobody has signed, with its private key."""
    program = shutil.which("openssl")
    assert program is not None, "openssl is not installed: apt-get install openssl"
    folder = tmp_path_factory.mktemp("tls")
    file, key = folder / "certificate.pem", folder / "key.pem"
    names = f"subjectAltName=DNS:{HOST},IP:127.0.0.1"
    subprocess.run(
        [
            *(program, "req", "-x509", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", "/CN=test", "-addext", names),
            *("-keyout", str(key), "-out", str(file)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return file


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have every name lead to this host; return those that were looked up."""
    found: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *more: Any, **options: Any) -> object:
        found.append(host)
        return real("127.0.0.1", port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return found


def send(url: str, *, timeout: float = PATIENT, **options: Any) -> Answer:
    return HttpTransport(**options)(Request(url=url, body=b"{}"), timeout=timeout)


# Requests and answers


def test_a_request_is_a_post_of_json() -> None:
    """That says who sends it."""
    with Server(says(OK)) as server:
        assert send(server.url) == Answer(status=202, text="ok")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(f"POST {PATH} HTTP/1.1\r\n".encode())
    for line in (
        f"Host: 127.0.0.1:{server.port}",
        "Content-Type: application/json",
        f"User-Agent: pysys_orch/{__version__}",
        "Connection: close",
        "Content-Length: 2",
    ):
        assert f"\r\n{line}".encode() in head
    assert body == b"{}"


def test_a_request_may_have_its_own_headers() -> None:
    """Whatever case they are in; a user in a URL becomes one."""
    with Server(says(OK)) as server:
        url = server.url.replace("://", "://me:p%40ss@")
        headers = {"content-type": "text/x", "X-Routing": "a"}
        request = Request(url=url, body=b"", headers=headers)
        assert HttpTransport()(request, timeout=PATIENT).status == 202
    lines = server.requests[0].split(b"\r\n")
    assert b"Content-Type: text/x" in lines
    assert b"X-Routing: a" in lines
    assert b"Authorization: Basic " + base64.b64encode(b"me:p@ss") in lines
    assert f"Host: 127.0.0.1:{server.port}".encode() in lines


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"202 Accepted\r\nContent-Length: 0\r\n\r\n", Answer(status=202)),
        (b"204 No Content\r\n\r\n", Answer(status=204)),
        (
            b"200 OK\r\nContent-Type: Text/HTML; charset=utf-8\r\n\r\n<p>\r\n log in",
            Answer(status=200, text="<p> log in", content_type="text/html"),
        ),
        (
            b"400 No\r\nContent-Length: 50\r\n\r\ncut short",
            Answer(status=400, text="cut short"),
        ),
        (
            b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            Answer(status=200, text="ab"),
        ),
        (
            b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense",
            Answer(status=200, text="abc"),
        ),
        (
            "500 No\r\n\r\na\0b\x1bc\u202ed\té\u2028f".encode() + b"\xff",
            Answer(status=500, text="abcd é f\ufffd"),
        ),
        (b"503 No\r\n\r\n" + b"a" * 3_000, Answer(status=503, text="a" * 200)),
        (b"103 Early Hints\r\n\r\n", Answer(status=103)),
        (
            b"100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\nok",
            Answer(status=202, text="ok"),
        ),
        *(
            (f"{status} X\r\n\r\nwhy".encode(), Answer(status=status, text="why"))
            for status in (400, 401, 403, 404, 408, 413, 425, 429, 500, 502, 503, 599)
        ),
    ],
)
def test_what_a_service_answers_is_an_answer(raw: bytes, expected: Answer) -> None:
    """Of any status; its text is for people, and short."""
    with Server(says(b"HTTP/1.1 " + raw)) as server:
        assert send(server.url) == expected


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """Whoever a redirect leads to would be handed the key."""
    with Server(says(OK)) as other:
        raw = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}\r\n\r\n".encode()
        with Server(says(raw)) as server:
            assert send(server.url) == Answer(status=status)
            assert len(server.requests) == 1
    assert other.requests == []


def test_no_more_of_a_body_is_read_than_anybody_looks_at() -> None:
    """It may have no end."""
    endless = drips(b"HTTP/1.1 500 No\r\n\r\n", b"x" * 100_000)
    with Server(endless) as server:
        begin = time.monotonic()
        assert send(server.url, timeout=60).status == 500
        assert time.monotonic() - begin < PATIENT


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("86400", 86400.0),
        ("999999999999999999999", 86400.0),
        ("-1", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("٣", None),
        ("soon", None),
        ("Thu, 99 Feb 2024 12:00:00 GMT", None),
        ("Thu, 29 Feb 99999999999 12:00:00 GMT", None),
        (timedelta(0), 0.0),
        (timedelta(seconds=90), 90.0),
        (timedelta(days=3), 86400.0),
        (timedelta(seconds=-90), None),
    ],
)
def test_a_service_may_want_to_be_left_alone(
    said: str | timedelta, seconds: float | None
) -> None:
    """For a while, or until a time; what is nonsense is not believed."""
    clock = ManualClock()
    if isinstance(said, timedelta):
        said = format_datetime(clock.stamp() + said, usegmt=True)
    raw = f"HTTP/1.1 429 No\r\nRetry-After: {said}\r\n\r\n".encode()
    with Server(says(raw)) as server:
        assert send(server.url, clock=clock).retry_after == seconds


def test_a_date_without_a_time_zone_is_utc() -> None:
    """As RFC 5322 says."""
    raw = b"HTTP/1.1 429 No\r\nRetry-After: Thu, 29 Feb 2024 12:01:00 -0000\r\n\r\n"
    with Server(says(raw)) as server:
        assert send(server.url, clock=ManualClock()).retry_after == 60


# Failures


FAILURES: list[tuple[str, Handle, Answer]] = [
    ("closes", closes, Answer(status=0, text="connection closed without an answer")),
    ("resets", resets, Answer(status=0, text="connection reset")),
    ("hangs", hangs, Answer(status=0, text="no answer within 0.3 s")),
    (
        "drips in the status",
        drips(b"HTTP/1.1 ", b"2"),
        Answer(status=0, text="no answer within 0.3 s"),
    ),
    (
        "drips in a header",
        drips(b"HTTP/1.1 202 OK\r\nX: ", b"x"),
        Answer(status=0, text="no answer within 0.3 s"),
    ),
    (
        "drips headers",
        drips(b"HTTP/1.1 202 OK\r\n", b"X: x\r"),
        Answer(status=0, text="no answer within 0.3 s"),
    ),
    (
        "never comes to the point",
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        Answer(status=0, text="no answer within 0.3 s"),
    ),
    (
        "drips in the body",
        drips(OK[:-2].replace(b"2\r", b"900\r"), b"x"),
        Answer(status=202),
    ),
    (
        "drips chunks",
        drips(b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        Answer(status=400),
    ),
    (
        "speaks no HTTP",
        says(b"220 mail.example ESMTP\r\n" + KEY.encode()),
        Answer(status=0, text="what answered does not speak HTTP"),
    ),
    (
        "has too many headers",
        says(b"HTTP/1.1 202 OK\r\n" + b"X: x\r\n" * 1_000 + b"\r\n"),
        Answer(status=0, text="what answered does not speak HTTP"),
    ),
    (
        "has a header without end",
        says(b"HTTP/1.1 202 OK\r\nX: " + b"x" * 1_000_000),
        Answer(status=0, text="what answered does not speak HTTP"),
    ),
]


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("handle", "expected"),
    [each[1:] for each in FAILURES],
    ids=[each[0] for each in FAILURES],
)
def test_whatever_the_other_side_does_it_is_over_in_time(
    handle: Handle,
    expected: Answer,
    *,
    is_secure: bool,
    tls: ssl.SSLContext,
    certificate: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A run never hangs because of whom it tells; and nobody reads the key."""
    caplog.set_level(logging.DEBUG)
    transport = HttpTransport(str(certificate))
    with Server(handle, tls if is_secure else None) as server:
        begin = time.monotonic()
        answer = transport(Request(url=server.url, body=b"{}"), timeout=SHORT)
        assert time.monotonic() - begin < SHORT + 10
    if is_secure and answer.status == 0 and "connection" in expected.text:
        expected = replace(expected, text=answer.text)  # TLS may notice it otherwise
        assert answer.text.startswith("connection ")
    assert answer == expected
    shown = f"{caplog.text}{capfd.readouterr()}{answer}"
    assert KEY not in shown
    assert "incidents" not in shown


def test_a_request_that_nobody_reads_is_given_up() -> None:
    """However large it is."""
    with Server(never_reads) as server:
        request = Request(url=server.url, body=b"x" * 50_000_000)
        answer = HttpTransport()(request, timeout=SHORT)
    assert answer == Answer(status=0, text="no answer within 0.3 s")


def test_a_handshake_that_does_not_end_is_given_up() -> None:
    """Somebody listens, and says nothing."""
    with Server(never_reads) as server:
        answer = send(server.url.replace("http:", "https:"), timeout=SHORT)
    assert answer == Answer(status=0, text="no answer within 0.3 s")


def test_a_host_that_takes_no_connection_is_given_up() -> None:
    """As if a firewall swallowed it."""
    with crowded() as url:
        answer = send(url, timeout=SHORT)
    assert answer == Answer(status=0, text="no connection in time")


def test_a_refused_connection_is_no_answer() -> None:
    """Nobody is there."""
    answer = send(f"http://127.0.0.1:{free_port()}{PATH}")
    assert answer == Answer(status=0, text="connection refused")


def test_all_addresses_of_a_host_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first may be one of IPv6 that leads nowhere."""
    real, dead = socket.getaddrinfo, free_port()

    def look_up(host: str, port: int, **options: Any) -> list[Any]:
        return [*real(host, dead, **options), *real(host, port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with Server(says(OK)) as server:
        assert send(server.url).status == 202


def test_a_host_that_nobody_knows_is_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its name is not told."""

    def look_up(*_: Any, **__: Any) -> object:
        raise socket.gaierror(socket.EAI_NONAME, f"{KEY} not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    answer = send(f"https://{KEY}.test{PATH}")
    assert answer == Answer(status=0, text="the host is not known")


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (OSError(101, KEY), "network is unreachable"),
        (OSError(KEY), "no connection"),
        (KeyError(KEY), "failed: KeyError"),
        (UnicodeError(KEY), "not sent: the URL or a header makes no sense"),
    ],
)
def test_no_failure_is_raised_or_tells_what_it_is_about(
    failure: Exception, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own words may have the URL in them."""

    def look_up(*_: Any, **__: Any) -> object:
        raise failure

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert send(f"https://{HOST}{PATH}") == Answer(status=0, text=text)


@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_is_no_answer(timeout: float) -> None:
    """Whoever has none left gets it at once."""
    with Server(says(OK)) as server:
        assert send(server.url, timeout=timeout).status == 0
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.1",
        "http://2130706433",
        "http://0.0.0.0",
        "http://[::2]",
        "http://example.com@example.org",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "127.0.0.1",
        "",
    ],
)
def test_http_is_for_the_loopback(url: str, hosts: list[str]) -> None:
    """Anywhere else, everybody on the way could read the key."""
    answer = send(f"{url}{PATH}")
    assert answer == Answer(status=0, text="not sent: https is required")
    assert hosts == []


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("https://[", {}),
        ("https://", {}),
        ("https://127.0.0.1:99999", {}),
        ("http://127.0.0.1:nonsense", {}),
        ("http://127.0.0.1/a b", {}),
        ("http://127.0.0.1/a\nb", {}),
        ("http://127.0.0.1", {"X": "a\nb"}),
        ("http://127.0.0.1", {"X\n": "a"}),
        ("http://127.0.0.1", {"X": "😀"}),
    ],
)
def test_what_makes_no_sense_is_not_sent(url: str, headers: dict[str, str]) -> None:
    """And not quoted."""
    request = Request(url=f"{url}{PATH}", body=b"", headers=headers)
    answer = HttpTransport()(request, timeout=PATIENT)
    assert answer.status == 0
    assert KEY not in answer.text


# Secrets


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_a_service_that_repeats_what_it_was_told_is_not_quoted(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Many a page says what was not found, and many a log what it said."""
    caplog.set_level(logging.DEBUG)
    with Server(echoes(status)) as server:
        answer = send(server.url)
    assert answer.status == status
    assert KEY.lower() not in f"{answer} {caplog.text}".lower()
    assert "incidents" not in answer.text
    assert answer.content_type == "text/…"


@pytest.mark.parametrize(
    ("url", "headers", "body", "said", "expected"),
    [
        ("/a/b%2Fc%26d", {}, b"", "no b/c&d, b%2Fc%26d, b/c&amp;d", "no …, …, …"),
        ("/hook?token=tok-1&x=1", {}, b"", "TOK-1 is not x", "… is not x"),
        (
            "/",
            {"Authorization": "Bearer s3cret"},
            b"",
            "s3cret? Bearer s3cret?",
            "…? …?",
        ),
        (
            "/",
            {},
            b'{"routing_key": "R0123456789abcdef", "dedup_key": "pysys-0123456789ab"}',
            "r0123456789ABCDEF is wrong, pysys-0123456789ab internationalisation",
            "… is wrong, pysys-0123456789ab internationalisation",
        ),
        (f"/{KEY}", {}, b"", f"{KEY[:9]}\0{KEY[9:]}", "…"),
        (f"/{KEY}", {}, b"", KEY * 2_000, ""),
        (f"/{KEY}", {}, b"", f"{KEY}," * 2_000, "…," * 100),
        (f"/{KEY}", {}, b"", "\0" * (65_536 - 10) + KEY, ""),
        (f"/{KEY}", {}, b"", "x" * 190 + f" {KEY}", "x" * 190 + " …"),
    ],
)
def test_no_secret_is_in_the_text_of_an_answer(
    url: str, headers: dict[str, str], body: bytes, said: str, expected: str
) -> None:
    """In whatever form it comes back, or wherever it is cut."""
    with Server(says(b"HTTP/1.1 400 No\r\n\r\n" + said.encode())) as server:
        root = server.url.removesuffix(PATH)
        request = Request(url=root + url, body=body, headers=headers)
        answer = HttpTransport()(request, timeout=PATIENT)
    assert answer == Answer(status=400, text=expected)


def test_debugging_http_does_not_show_the_key(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Somebody else in this process may want to see his requests."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    with Server(says(OK)) as server:
        assert send(server.url).status == 202
    assert KEY not in "".join(capfd.readouterr())


# TLS


def test_a_certificate_that_nobody_has_signed_is_refused(tls: ssl.SSLContext) -> None:
    """Nothing is sent to whoever has it."""
    with Server(says(OK), tls) as server:
        answer = send(server.url)
    assert answer.status == 0
    assert answer.text.replace("-", " ") == (
        "certificate verify failed: self signed certificate"
    )
    assert server.requests == []


def test_a_certificate_may_be_believed(tls: ssl.SSLContext, certificate: Path) -> None:
    """One that an organisation has made for itself."""
    with Server(says(OK), tls) as server:
        answer = send(server.url, ca_file=str(certificate))
    assert answer == Answer(status=202, text="ok")


def test_a_certificate_is_for_a_host(
    tls: ssl.SSLContext, certificate: Path, hosts: list[str]
) -> None:
    """Somebody else's is worth nothing; whose it should be is not told."""
    with Server(says(OK), tls) as server:
        url = f"https://{KEY}.test:{server.port}{PATH}"
        answer = send(url, ca_file=str(certificate))
    assert hosts == [f"{KEY}.test"]
    expected = "certificate verify failed: Hostname mismatch"
    assert answer == Answer(status=0, text=expected)
    assert server.requests == []


def test_a_server_without_tls_is_no_answer() -> None:
    """Https where there is only http."""

    def answers_at_once(server: Server, connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(b"HTTP/1.1 400 No\r\n\r\n")
        server.over.wait(PATIENT)

    with Server(answers_at_once) as server:
        answer = send(server.url.replace("http:", "https:"))
    assert answer == Answer(status=0, text="no TLS: wrong version number")


def test_a_file_of_certificates_has_some(tmp_path: Path) -> None:
    """A mistake is found before it matters."""
    with pytest.raises(ConfigError, match="cannot be used: No such file"):
        HttpTransport(str(tmp_path / "nowhere"))
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    with pytest.raises(ConfigError, match="it has no certificates in PEM"):
        HttpTransport(str(wrong))


# Proxies


def tunnels(to: Server) -> Handle:
    """Return a proxy that connects whoever asks with one server."""

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def handle(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(b"HTTP/1.1 200 Connected\r\nX: y\r\n\r\n")
        with socket.create_connection(("127.0.0.1", to.port)) as other:
            back = threading.Thread(target=pass_on, args=(other, connection))
            back.start()
            pass_on(connection, other)
            back.join(PATIENT)

    return handle


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
def test_a_proxy_of_the_environment_is_used(
    name: str,
    tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It learns the host, and nothing else; it may want to know who asks."""
    with Server(says(OK), tls) as server, Server(tunnels(server)) as proxy:
        monkeypatch.setenv(name, f"http://me:p%40ss@127.0.0.1:{proxy.port}")
        answer = send(f"https://{HOST}{PATH}", ca_file=str(certificate))
        assert answer == Answer(status=202, text="ok")
        [asked], [request] = proxy.requests, server.requests
    assert asked.startswith(f"CONNECT {HOST}:443 HTTP/1.".encode())
    word = base64.b64encode(b"me:p@ss")
    assert b"\r\nProxy-Authorization: Basic " + word in asked
    assert KEY.encode() not in asked
    assert request.startswith(f"POST {PATH} ".encode())
    assert b"Proxy-Authorization" not in request


@pytest.mark.parametrize("is_given", [False, True])
def test_a_host_may_be_without_a_proxy(
    *,
    is_given: bool,
    tls: ssl.SSLContext,
    certificate: Path,
    hosts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that is inside, for example."""
    with Server(says(OK), tls) as server, Server(tunnels(server)) as proxy:
        found = {"https": f"http://127.0.0.1:{proxy.port}", "no": "other, .test"}
        options: dict[str, Any] = {"proxies": found} if is_given else {}
        if not is_given:
            monkeypatch.setenv("HTTPS_PROXY", found["https"])
            monkeypatch.setenv("NO_PROXY", found["no"])
        url = f"https://{HOST}:{server.port}{PATH}"
        answer = send(url, ca_file=str(certificate), **options)
    assert answer == Answer(status=202, text="ok")
    assert hosts == [HOST]
    assert proxy.requests == []


def test_a_proxy_can_be_given(certificate: Path, tls: ssl.SSLContext) -> None:
    """Instead of those of the environment."""
    with Server(says(OK), tls) as server, Server(tunnels(server)) as proxy:
        proxies = {"https": f"127.0.0.1:{proxy.port}"}
        answer = send(
            f"https://{HOST}{PATH}", ca_file=str(certificate), proxies=proxies
        )
    assert answer.status == 202
    assert len(proxy.requests) == 1


def test_the_loopback_is_without_a_proxy() -> None:
    """What is not encrypted never leaves this host."""
    with Server(says(OK)) as server, Server(says(OK)) as proxy:
        for host in ("127.0.0.1", "localhost"):
            url = server.url.replace("127.0.0.1", host)
            proxies = {"http": f"http://127.0.0.1:{proxy.port}"}
            assert send(url, proxies=proxies).status == 202
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("handle", "text"),
    [
        (
            says(b"HTTP/1.1 407 Who? " + KEY.encode() + b"\r\n\r\n"),
            "the proxy answered 407",
        ),
        (says(b"HTTP/1.1 503 No\r\n\r\n"), "the proxy answered 503"),
        (says(b"SSH-2.0-x\r\n"), "what answered does not speak HTTP"),
        (drips(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"), "no answer within 0.3 s"),
        (hangs, "no answer within 0.3 s"),
        (closes, "connection closed without an answer"),
    ],
)
def test_a_proxy_that_does_not_help_is_no_answer(handle: Handle, text: str) -> None:
    """It is over in time, as ever."""
    with Server(handle) as proxy:
        found = {"https": f"http://127.0.0.1:{proxy.port}"}
        answer = send(f"https://{HOST}{PATH}", timeout=SHORT, proxies=found)
    assert answer == Answer(status=0, text=text)


def test_a_proxy_of_another_kind_is_not_spoken_to() -> None:
    """SOCKS is not HTTP."""
    found = {"https": f"socks5://127.0.0.1:{free_port()}"}
    answer = send(f"https://{HOST}{PATH}", proxies=found)
    assert answer == Answer(status=0, text="not sent: the proxy is not one for HTTP")


# SquadCast


def test_the_mock_of_squadcast_is_spoken_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Well and unwell, by many at once."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("ESCALATION_KEY", f"{KEY}/?")
    transport = HttpTransport()

    def tell(key: int = 0, timeout: float = PATIENT) -> Answer:
        said = {
            "event_id": key,
            "status": "trigger",
            "message": "m",
            "description": "d",
        }
        request = Request(url=server.endpoint_url, body=json.dumps(said).encode())
        return transport(request, timeout=timeout)

    with MockSquadCast.running() as server:
        server.fail_with(503, retry_after=7, text="busy")
        server.cut()
        server.hang()
        answers = [tell(), tell(), tell(timeout=SHORT), tell(), tell()]
        threads = [threading.Thread(target=tell, args=(key,)) for key in range(1, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENT)
        assert len(server.incidents) == 20
    assert [each.status for each in answers] == [503, 0, 0, 202, 400]
    assert (answers[0].text, answers[0].retry_after) == ("busy", 7)
    assert answers[3].content_type == "application/json"
    assert answers[4].text == "event_id=0 already exists"
    for each in (KEY, quote(f"{KEY}/?", safe="")):
        assert each not in caplog.text

"""How requests travel: in time, to whom they are meant for, and told to nobody else."""

from __future__ import annotations

import base64
import email.utils
import errno
import html
import http.client
import ipaddress
import math
import os
import re
import socket
import ssl
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from datetime import UTC
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from pysys_orch import __version__
from pysys_orch.clock import Clock, SystemClock
from pysys_orch.errors import ConfigError
from pysys_orch.escalation.incident import PREFIX, Answer, Request, Verdict

_CONNECT_WITHIN = 5.0
_MOST_READ = 64 * 1024
_MOST_LOOKED_AT = 4_000
_MOST_TOLD = 200
_MOST_PATIENCE = 24 * 3600.0

# Shorter parts of a URL are words as `api` or `v2`.
_SHORTEST_SECRET = 4
_LONG_WORD = re.compile(r"[\w+-]{16,}")
_KINDS = {"", "application/json", "text/html", "text/plain"}
_OPEN_HEADERS = {"accept", "content-type", "user-agent"}

# Sockets know no other time.
_TIME = SystemClock()


def judge_status(answer: Answer) -> Verdict:
    """Say what an answer means to whoever knows nothing but HTTP.

    Whatever may be better in a while is: no answer, errors of the other side, and pages
    that a proxy answers instead of the service, which are HTML and no 202.
    """
    status = answer.status
    if status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Verdict.TOO_LARGE
    if status < 200 or status >= 500 or status in {408, 425, 429}:
        return Verdict.LATER
    if status >= 300:
        return Verdict.REFUSED
    is_page = answer.content_type == "text/html"
    if is_page and status != http.HTTPStatus.ACCEPTED:
        return Verdict.LATER
    return Verdict.DELIVERED


class HttpTransport:
    """Sends requests over HTTP, as promised by `Transport`.

    Proxies are taken from the environment, as ``HTTPS_PROXY`` and ``NO_PROXY``, or from
    what the operating system knows. There is none to the loopback.

    HTTPS is required except to the loopback, and certificates are verified. A user and
    a password in a URL are sent as HTTP Basic. Redirects are answers.

    Once status and headers have arrived there is an answer; a body that does not come
    in time makes it one without text. The time within which an exchange ends leaves
    aside how long the operating system takes to look up a host.

    An answer's text has no control characters, and nothing by which a request gets its
    permission: parts of the URL, headers, and long words of the body other than an
    incident's id. Nothing is logged.

    Args:
        ca_file: Certificates, in PEM, to believe instead of those of the system.
        proxies: By scheme, instead of those found; ``no`` has the hosts without one.
        clock: Tells how far away the date is at which a service wants to be asked
            again.

    Raises:
        ConfigError: The file cannot be used.
    """

    def __init__(
        self,
        ca_file: str = "",
        proxies: Mapping[str, str] | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        found = urllib.request.getproxies() if proxies is None else proxies
        self._proxies = dict(found)
        self._clock = clock or SystemClock()
        context = _tls(ca_file)
        self._direct = _opener(context, {})
        self._proxied = _opener(context, self._proxies)

    def __call__(self, request: Request, *, timeout: float) -> Answer:
        """Send a request, and return the answer, or why there is none."""
        try:
            answer = self._exchange(request, timeout)
        except Exception as failure:  # noqa: BLE001 -- what it says may have the URL
            answer = Answer(status=0, text=_why(failure, timeout))
        return answer

    def _exchange(self, request: Request, timeout: float) -> Answer:
        parts = urlsplit(request.url)
        is_local = _is_loopback(parts.hostname or "")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
            return Answer(status=0, text="not sent: https is required")
        opener = self._direct
        if not is_local and not _is_without_proxy(parts, self._proxies):
            kind, is_there, _ = self._proxies.get(parts.scheme, "").partition("://")
            if is_there and kind.lower() not in {"http", "https"}:
                return Answer(status=0, text="not sent: the proxy is not one for HTTP")
            opener = self._proxied
        with opener.open(_outgoing(request, parts), timeout=timeout) as response:
            return self._answer(response, request)

    def _answer(self, response: http.client.HTTPResponse, request: Request) -> Answer:
        said = response.headers["Content-Type"] or ""
        kind = said.partition(";")[0].strip().lower()
        return Answer(
            status=response.status,
            text=_told(_body(response), request),
            retry_after=self._patience(response.headers["Retry-After"]),
            content_type=kind if kind in _KINDS else _told(kind.encode(), request),
        )

    def _patience(self, said: str | None) -> float | None:
        """Return the seconds in a header that has them or a date, if that is so."""
        said = (said or "").strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", said):
            return min(float(said), _MOST_PATIENCE)
        try:
            until = email.utils.parsedate_to_datetime(said)
            if until.tzinfo is None:
                until = until.replace(tzinfo=UTC)
            seconds = (until - self._clock.stamp()).total_seconds()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        return min(seconds, _MOST_PATIENCE) if seconds >= 0 else None


# Requests.


def _outgoing(request: Request, parts: SplitResult) -> urllib.request.Request:
    host = parts.netloc.rpartition("@")[2]
    outgoing = urllib.request.Request(  # noqa: S310 -- the scheme has been looked at
        urlunsplit(parts._replace(netloc=host)),
        data=request.body,
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    for name, value in _headers(request, parts).items():
        outgoing.add_header(name, value)
    return outgoing


def _headers(request: Request, parts: SplitResult) -> dict[str, str]:
    user, is_there, _ = parts.netloc.rpartition("@")
    if not is_there:
        return dict(request.headers)
    word = base64.b64encode(unquote(user).encode()).decode()
    return {"Authorization": f"Basic {word}", **request.headers}


def _is_without_proxy(parts: SplitResult, proxies: Mapping[str, str]) -> bool:
    host = parts.netloc.rpartition("@")[2]
    # The types of the standard library have not heard of it.
    bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]
    return bool(bypass(host, proxies))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as failure:
        reason = failure.strerror or "it has no certificates in PEM"
        if isinstance(failure, ssl.SSLError):
            reason = "it has no certificates in PEM"
        message = f"the file of certificates {ca_file!r} cannot be used: {reason}"
        raise ConfigError(message) from failure
    context.sslsocket_class = _TlsSocket
    return context


def _opener(
    context: ssl.SSLContext, proxies: Mapping[str, str]
) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", f"pysys_orch/{__version__}")]
    # Neither redirects nor errors are handled: they are answers.
    opener.add_handler(urllib.request.ProxyHandler(dict(proxies)))
    opener.add_handler(_HttpHandler(debuglevel=0))
    opener.add_handler(_HttpsHandler(debuglevel=0, context=context))
    return opener


# Time: each step is given what is left. A time limit of a socket alone is one for each
# step, and one byte at a time passes it for ever.


class _NoConnectionError(TimeoutError):
    """Nobody took the connection in time."""


def _left(deadline: float) -> float:
    """Return the time until a deadline.

    Raises:
        TimeoutError: It is over.
    """
    left = deadline - _TIME.instant()
    if left <= 0:
        raise TimeoutError
    return left


class _Socket(socket.socket):
    """A socket that gives up at its deadline."""

    deadline = math.inf

    def recv_into(self, *args: Any, **more: Any) -> int:
        self._hurry()
        return super().recv_into(*args, **more)

    def send(self, *args: Any, **more: Any) -> int:
        self._hurry()
        return super().send(*args, **more)

    def sendall(self, *args: Any, **more: Any) -> None:
        self._hurry()
        super().sendall(*args, **more)

    def _hurry(self) -> None:
        if self.deadline < math.inf:
            self.settimeout(_left(self.deadline))


class _TlsSocket(_Socket, ssl.SSLSocket):
    """The same in TLS."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, timeout: float = 0.0, **more: Any) -> None:
        super().__init__(host, timeout=timeout, **more)
        self._deadline = _TIME.instant() + timeout
        # Before `connect` is over, a proxy has been spoken to.
        self._create_connection = self._connected

    def _connected(self, address: tuple[str, int], *_: Any) -> _Socket:
        """Connect to the first address of a host that takes it.

        Raises:
            OSError: None does.
        """
        failure: OSError = _NoConnectionError()
        host, port = address
        for family, kind, protocol, _name, where in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            found = _Socket(family, kind, protocol)
            try:
                found.settimeout(min(_CONNECT_WITHIN, _left(self._deadline)))
                found.connect(where)
            except TimeoutError:
                found.close()
                failure = _NoConnectionError()
            except OSError as reason:
                found.close()
                failure = reason
            else:
                found.deadline = self._deadline
                found.settimeout(_left(self._deadline))
                return found
        raise failure


class _TlsConnection(_Connection, http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        if isinstance(self.sock, _Socket):
            self.sock.deadline = self._deadline


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def __init__(self, debuglevel: int, context: ssl.SSLContext) -> None:
        super().__init__(debuglevel=debuglevel, context=context)
        self._verifying = context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_TlsConnection, req, context=self._verifying)


# Answers.


def _body(response: http.client.HTTPResponse) -> bytes:
    """Return the beginning of a body, or as much as came."""
    try:
        return response.read(_MOST_READ)
    except http.client.IncompleteRead as failure:
        return failure.partial[:_MOST_READ]
    except (OSError, http.client.HTTPException, ValueError):
        return b""


def _told(said: bytes, request: Request) -> str:
    """Return what may be shown of what a service said."""
    text = said.decode("utf-8", "replace")
    words = " ".join(_printable(text[:_MOST_LOOKED_AT]).split())
    secrets = _secrets(request)
    words = _masked(words, secrets, request.body)
    if len(said) >= _MOST_READ or len(text) > _MOST_LOOKED_AT:
        # Half of a secret, at the end, is not recognised.
        longest = max(map(len, secrets), default=0)
        words = re.sub(r"[\w+-]*$", "", words[: max(0, len(words) - longest)])
    return words[:_MOST_TOLD]


def _printable(text: str) -> str:
    return "".join(
        each
        for each in text
        if each.isspace() or not unicodedata.category(each).startswith("C")
    )


def _masked(text: str, secrets: Collection[str], body: bytes) -> str:
    if secrets:
        longest_first = sorted(secrets, key=len, reverse=True)
        pattern = "|".join(re.escape(each) for each in longest_first)
        text = re.sub(f"(?:{pattern})+", "…", text, flags=re.IGNORECASE)
    body = body.lower()

    def judged(match: re.Match[str]) -> str:
        word = match.group()
        is_ours = word.lower().encode() in body and not word.startswith(PREFIX)
        return "…" if is_ours else word

    return _LONG_WORD.sub(judged, text)


def _secrets(request: Request) -> set[str]:
    """Return whatever may give permission, in the forms in which it may come back."""
    parts = urlsplit(request.url)
    plain = [request.url, parts.netloc, parts.hostname or "", parts.path, parts.query]
    plain += re.split(r"[/;&=:@]", f"{parts.netloc}/{parts.path}/{parts.query}")
    for name, value in _headers(request, parts).items():
        if name.lower() not in _OPEN_HEADERS:
            plain += [value, *value.split()]
    read = {*plain, *map(unquote, plain)}
    found = {*read, *map(html.escape, read)}
    return {each for each in found if len(each) >= _SHORTEST_SECRET}


# Failures. What they say themselves may have the URL, or what a proxy made of it.


def _why(failure: BaseException, timeout: float) -> str:
    """Return in a few words why there is no answer."""
    if isinstance(failure, urllib.error.URLError) and isinstance(
        failure.reason, BaseException
    ):
        failure = failure.reason
    match failure:
        case _NoConnectionError():
            return "no connection in time"
        case TimeoutError():
            return f"no answer within {timeout:g} s"
        case socket.gaierror():
            return "the host is not known"
        case ssl.SSLCertVerificationError():
            # What follows a comma is the name of the host.
            reason = failure.verify_message.partition(",")[0]
            return f"certificate verify failed: {reason}"
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return "connection closed without an answer"
        case ssl.SSLError():
            return f"no TLS: {(failure.reason or 'unknown').lower().replace('_', ' ')}"
        case ConnectionRefusedError():
            return "connection refused"
        case http.client.RemoteDisconnected():
            return "connection closed without an answer"
        case ConnectionError():
            return "connection reset"
        case http.client.InvalidURL():
            return "not sent: the URL or a header makes no sense"
        case http.client.HTTPException():
            return "what answered does not speak HTTP"
        case ValueError():
            return "not sent: the URL or a header makes no sense"
        case OSError():
            return _why_of_system(failure)
    return f"failed: {type(failure).__name__}"


def _why_of_system(failure: OSError) -> str:
    if failure.errno is not None and failure.errno in errno.errorcode:
        return os.strerror(failure.errno).lower()
    # This is how http.client says it.
    refused = re.match(r"Tunnel connection failed: ([0-9]{3})\b", str(failure))
    return f"the proxy answered {refused[1]}" if refused else "no connection"

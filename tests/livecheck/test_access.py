"""Who may ask what."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from multidict import CIMultiDict

from pysys_orch.livecheck.access import Access, Refused, has_token, is_loopback_host

TOKEN = "s3cret-token_of.some~length"
OPEN = Access(token=TOKEN, needs_token=False)
CLOSED = Access(token=TOKEN, needs_token=True)


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def status(access: Access, *, is_passive: bool = False, **headers: Any) -> int:
    """Return with which status somebody is refused; 200 if they are not."""
    given = CIMultiDict((key.replace("_", "-"), it) for key, it in headers.items())
    try:
        access.check(given, is_passive=is_passive)
    except Refused as failure:
        return failure.status
    return 200


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {TOKEN}",
        f"bearer  {TOKEN} ",
        basic("livecheck", TOKEN),
        basic("", TOKEN),
    ],
)
def test_the_token_lets_in(header: str) -> None:
    """As a bearer's, or as the password of any user."""
    assert status(CLOSED, authorization=header, host="gateway:80") == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        "Bearer \udcff\udcfe",
        TOKEN,
        f"Digest {TOKEN}",
        f"Basic {TOKEN}",
        "Basic é",
        basic(TOKEN, ""),
        basic("livecheck", f"{TOKEN}:"),
    ],
)
def test_nothing_else_does(header: str) -> None:
    """Not a part of it, nor anything that cannot be read."""
    assert not has_token(header, TOKEN)
    assert status(CLOSED, authorization=header) == 401


def test_an_open_address_needs_no_token() -> None:
    """A wrong one, as that of another receiver, does no harm."""
    assert status(OPEN, host="127.0.0.1:8000") == 200
    assert status(OPEN, host="localhost:8000", authorization="Bearer x") == 200
    assert status(OPEN) == 200
    assert status(CLOSED, host="127.0.0.1:8000") == 401


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:80", "127.0.0.1", "127.8.7.6:5", "[::1]:80", "[::1]"],
)
def test_hosts_that_mean_this_machine(host: str) -> None:
    """With a port, or without."""
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "evil.com:127",
        "0.0.0.0:80",
        "192.0.2.2",
        "localhost@evil.com",
        "[::1",
        "",
        "[::1].evil.com",
    ],
)
def test_a_host_that_anybody_can_give_an_address_is_asked_for_the_token(
    host: str,
) -> None:
    """A page of evil.com may have that name lead here (DNS rebinding)."""
    assert not is_loopback_host(host)
    assert status(OPEN, is_passive=True, host=host) == 401
    assert status(OPEN, host=host, authorization=f"Bearer {TOKEN}") == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.com"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"origin": "http://[::1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_a_page_of_another_host_may_not_send_anything(headers: dict[str, Any]) -> None:
    """Not even with the token, which a browser sends for all that ask it to."""
    host = "localhost:8000"
    assert status(OPEN, host=host, **headers) == 403
    known: dict[str, Any] = {"authorization": basic("livecheck", TOKEN), **headers}
    assert status(CLOSED, host=host, **known) == 403
    assert status(OPEN, is_passive=True, host=host, **headers) == 200


def test_our_own_page_may() -> None:
    """And whoever types the address."""
    host = "localhost:8000"
    assert status(OPEN, host=host, origin="http://localhost:8000") == 200
    assert status(OPEN, host=host, sec_fetch_site="same-origin") == 200
    assert status(OPEN, host=host, sec_fetch_site="none") == 200


def test_nothing_shows_the_token() -> None:
    """Not even to whoever debugs."""
    assert TOKEN not in repr(CLOSED)
    with pytest.raises(Refused) as refused:
        CLOSED.check({"Authorization": "Bearer wrong"}, is_passive=True)
    assert TOKEN not in str(refused.value)

"""Who may ask what of a receiver. Nothing here acts: what is refused is said why."""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from pysys_orch.livecheck.exceptions import LiveCheckError
from pysys_orch.livecheck.wire import shown


class Refused(LiveCheckError):  # noqa: N818 -- it is an answer, not a fault of ours
    """A request is not done, and has changed nothing.

    Attributes:
        status: The HTTP status that says so.
    """

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whom an address lets in.

    Who has the token may do all. Where none is needed, a browser could still be made
    to ask by a page from elsewhere: so the host that was asked has to be this machine
    (a page can give its own host any address), and a page of another host may not
    send anything.

    Attributes:
        token: What lets in.
        needs_token: Whether nothing else does.
    """

    token: str = field(repr=False)
    needs_token: bool

    def check(self, headers: Mapping[str, str], *, is_passive: bool) -> None:
        """Return if a request may be done.

        Args:
            headers: Those of the request, found in any case.
            is_passive: Whether it only reads what other pages cannot read.

        Raises:
            Refused: It may not.
        """
        said = headers.get("Authorization")
        if said is None or not has_token(said, self.token):
            if self.needs_token:
                why = "a token is needed" if said is None else "this is not the token"
                raise Refused(401, why + _HOW)
            host = headers.get("Host")
            if host is not None and not is_loopback_host(host):
                why = f"{shown(host)} does not mean this machine: a token is needed"
                raise Refused(401, why + _HOW)
        if not is_passive and _is_cross_site(headers):
            raise Refused(403, "pages of other hosts may not do this")


# An IPv6 address in brackets, or anything else, and a port.
_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::\d+)?", re.ASCII)

_HOW = ", as Authorization: Bearer TOKEN, or as the password of any user"


def has_token(authorization: str, token: str) -> bool:
    """Return whether a header has the token: as a bearer's, or as a password."""
    kind, _, said = authorization.partition(" ")
    given = said.strip().encode(errors="surrogateescape")
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given).partition(b":")[2]
        except (binascii.Error, ValueError):
            return False
    elif kind.lower() != "bearer":
        return False
    return hmac.compare_digest(given, token.encode())


@functools.lru_cache(256)
def is_loopback_host(host: str) -> bool:
    """Return whether a Host header can only mean this machine."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = (match[1] or match[2]).lower()
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _is_cross_site(headers: Mapping[str, str]) -> bool:
    """Return whether a page of another host asks; what is no browser never says so."""
    if headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        return True
    origin = headers.get("Origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc != headers.get("Host")
    except ValueError:
        return True

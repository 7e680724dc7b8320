"""The page: a file of this package that needs no other, and no network."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib import resources

_INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


@functools.cache
def body() -> bytes:
    """Return the page, in UTF-8."""
    return resources.files(__package__).joinpath("page.html").read_bytes()


@functools.cache
def headers() -> dict[str, str]:
    """Return the headers to send it with: what is written in it runs, and nothing else.

    Source:
        Content Security Policy Level 3, https://www.w3.org/TR/CSP3/.
    """
    found = {kind: _hash(code) for kind, code in _INLINE.findall(body())}
    policy = (
        "default-src 'none'",
        f"script-src '{found[b'script']}'",
        f"style-src '{found[b'style']}'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(policy),
        "Referrer-Policy": "no-referrer",
    }


def _hash(code: bytes) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(code).digest()).decode()}"

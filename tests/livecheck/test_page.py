"""The page needs nothing from elsewhere, and runs nothing that is not its own."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from pysys_orch.livecheck import Case, Signal, page
from tests.livecheck.receiving import Site, serve

HOSTILE = "<script>alert(1)</script>"


class Parts(HTMLParser):
    """What a page consists of.

    Attributes:
        attributes: All attributes, with their elements.
        inline: What stands in each script and style.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.inline: list[tuple[str, str]] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self._tag in {"script", "style"} and data.strip():
            self.inline.append((self._tag, data))


def test_the_page_is_served_with_a_policy_that_allows_only_what_it_has() -> None:
    """Nothing that somebody smuggles in is run, drawn, or sent anywhere."""

    async def scene(site: Site) -> None:
        status, text, headers = await site.ask("GET", "/")
        assert status == 200
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        policy = dict(
            each.strip().split(" ", 1)
            for each in headers["Content-Security-Policy"].split(";")
        )
        inline = Parts(text).inline
        assert [kind for kind, _ in inline] == ["style", "script"]
        for kind, code in inline:
            digest = base64.b64encode(hashlib.sha256(code.encode()).digest())
            assert policy.pop(f"{kind}-src") == f"'sha256-{digest.decode()}'"
        assert policy == {
            "default-src": "'none'",
            "connect-src": "'self'",
            "img-src": "data:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }

    serve(scene)


def test_the_page_names_nothing_elsewhere() -> None:
    """It works where there is no network."""
    text = page.body().decode()
    found = set(re.findall(r"(?:[a-z]+:)?//[\w.]+[^\s\"'`)]*", text))
    # A name, that nobody asks for.
    assert found == {"http://www.w3.org/2000/svg"}
    for tag, name, value in Parts(text).attributes:
        if name in {"href", "src", "action", "srcset"}:
            assert (tag, value) in {("link", "data:,"), ("a", "cases")}
        # The policy would not run these.
        assert not name.startswith("on")
        assert name != "style"


def test_nothing_on_the_page_makes_markup_of_what_it_is_told() -> None:
    """What cases are called, and what went wrong, was written by anybody."""
    text = page.body().decode()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"):
        assert word not in text
    assert "eval(" not in text


def test_what_the_page_is_told_is_not_in_it() -> None:
    """Names come as JSON, with a type that no browser takes for markup."""

    class Odd(Case):
        go: Signal[int]

    async def scene(site: Site) -> None:
        site.app.add_case(Odd, name=HOSTILE)
        _, text, _ = await site.ask("GET", "/")
        assert HOSTILE not in text
        for path, kind in (
            ("/cases", "application/json"),
            ("/cases/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "application/json"),
            ("/cases/%3Cscript%3E", "text/plain; charset=utf-8"),
            ("/metrics", "text/plain; version="),
        ):
            _, text, headers = await site.ask("GET", path)
            assert "<script>" in text
            assert headers["Content-Type"].startswith(kind)
            assert headers["X-Content-Type-Options"] == "nosniff"

    serve(scene)

"""Secrets in what is written down of a container."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.masking import without_userinfo


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("URL=http://livecheck:s3cret@10.0.0.1:80/a", "URL=http://***@10.0.0.1:80/a"),
        ("postgresql+psycopg://me:p@ss@db/name", "postgresql+psycopg://***@db/name"),
        ("https://s3cret@github.com/x", "https://***@github.com/x"),
        ("http://a:1@b,http://c:2@d", "http://***@b,http://***@d"),
        ('{"at": "http://a:1@b", "to": "x@y"}', '{"at": "http://***@b", "to": "x@y"}'),
        ("http://host/path?mail=me@home", "http://host/path?mail=me@home"),
        ("me@home", "me@home"),
        ("PATH=/usr/bin:/bin", "PATH=/usr/bin:/bin"),
    ],
)
def test_the_userinfo_of_urls_is_masked(text: str, masked: str) -> None:
    """All else stays as it is."""
    assert without_userinfo(text) == masked


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just("a://u:s3cret@h/p"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
)


@given(values)
def test_it_is_masked_wherever_it_is(found: object) -> None:
    """And what it is masked in keeps its shape."""
    before = json.dumps(found)
    masked = json.dumps(without_userinfo(found))
    assert masked == before.replace("u:s3cret@", "***@")
    assert json.dumps(found) == before

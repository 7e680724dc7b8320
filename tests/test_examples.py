"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import pysys_orch

PACKAGE = Path(pysys_orch.__file__).parent
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_what_an_example_shows_is_what_happens(name: str) -> None:
    """A reader may copy it."""
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted
    assert not done.failed

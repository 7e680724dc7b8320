"""What the documentation says about descriptions is true."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pysys_orch.orchestration import reading
from pysys_orch.orchestration.calls import Outcome
from pysys_orch.orchestration.description import Description, Event, Phase
from pysys_orch.orchestration.thresholds import COUNTS, TIMES

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "orchestration.md").read_text(encoding="utf-8")
EXAMPLES = [
    each
    for each in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    if '"test_name"' in each
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_can_be_copied(tmp_path: Path, example: str) -> None:
    """It is read, comments included."""
    (name,) = re.findall(r'"test_name": "(\w+)"', example)
    file = tmp_path / f"{name}.orch.json"
    file.write_text(example)
    assert reading.read(file).problems == ()


def test_there_are_examples() -> None:
    """The test above is about something."""
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("kind", [Description, Event, Phase])
def test_each_key_is_documented(kind: type) -> None:
    """In the reference."""
    told = set(re.findall(r"`(\w+)`", TEXT))
    assert {each.name for each in fields(kind)} <= told


def test_each_figure_and_each_outcome_is_documented() -> None:
    """Those of thresholds, and those of the journal."""
    for each in COUNTS:
        assert f"`{each}_count`" in TEXT
    for each in TIMES:
        assert f"`{each}_p50_ms`" in TEXT
    for each in Outcome:
        assert f"`{each.value}`" in TEXT

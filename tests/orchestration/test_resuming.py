"""A run that was killed goes on where it would be now."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.orchestration.calls import Inline
from pysys_orch.orchestration.journal import JOURNAL
from pysys_orch.orchestration.resuming import resume
from pysys_orch.orchestration.session import Session, Surroundings
from pysys_orch.testing import ManualClock
from tests.orchestration.stage import Stage, draft, library, simulate


def nothing() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    "event",
    [
        {"interval_sec": [0.5, 2]},
        {"interval_sec": [0.5, 2], "count": 60},
        {"rate_per_sec": 3},
        {"rate_per_sec": 1, "distribution": "poisson"},
        {"interval_sec": 1, "jitter_sec": 0.9},
    ],
    ids=repr,
)
def test_what_fires_is_what_would_have_fired(
    tmp_path: Path, event: dict[str, Any]
) -> None:
    """What is random, too: what was fired is not missed, and what is left comes."""
    functions = library(nothing)
    said = ({"name": "nothing", **event},)
    whole = simulate(tmp_path, functions, *said, duration=100)
    file = tmp_path / JOURNAL
    lines = file.read_text().splitlines(keepends=True)
    dues = [each["due"] for each in whole.lines]
    described = draft(*said, duration=100)
    now = ManualClock().stamp() + timedelta(seconds=60)
    for fired in range(20, 30):
        file.write_text("".join(lines[: fired + 1]))
        gap = [each for each in dues[fired:] if each < 60]
        missed = resume(tmp_path, described.checked(), now).missed
        assert missed == {"nothing": len(gap)}

    resumed = resume(tmp_path, described.checked(), now)
    journal = tmp_path / "rest.jsonl"
    clock = ManualClock(instant=60.0, stamp=now)
    around = Surroundings(
        clock=clock, seed=2, journal=journal, workers=Inline(clock), resumed=resumed
    )
    rest = Stage(Session(described, functions).run(around), journal)
    left = [each for each in whole.lines if each["due"] >= 60]
    keys = ("due", "ordinal", "kind")
    assert [[each[key] for key in keys] for each in rest.lines] == [
        [each[key] for key in keys] for each in left
    ]

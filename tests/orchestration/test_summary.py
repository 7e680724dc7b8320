"""What people read of a run, while it goes on and in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from pysys_orch.clock import Clock
from pysys_orch.orchestration.calls import Call, Inline
from pysys_orch.orchestration.session import Session, Surroundings
from pysys_orch.orchestration.summary import lateness, progress_line, span, table
from pysys_orch.orchestration.tally import Tally
from pysys_orch.testing import ManualClock
from tests.orchestration.stage import draft, library, simulate


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0625, "0.062 s"),
        (59.9, "59.9 s"),
        (60, "1 min"),
        (3 * 3600, "3 h"),
        (2 * 86400 + 61, "2 d 1 min 1 s"),
    ],
)
def test_times_are_written_as_people_do(seconds: float, text: str) -> None:
    """Without what is zero."""
    assert span(seconds) == text


def nothing() -> None:
    """Do nothing."""


def fails() -> None:
    raise ValueError


def test_a_table_has_a_row_for_each_event(tmp_path: Path) -> None:
    """With counts, and times in milliseconds."""
    stage = simulate(
        tmp_path,
        library(nothing, fails, never=nothing),
        {"name": "nothing", "interval_sec": 0.001},
        {"name": "fails", "on_failure": "ignore"},
        {"name": "never", "at_startup": False, "interval_sec": 60},
    )
    head, *rows = (line.split() for line in table(stage.report.tallies))
    assert head[:4] == ["event", "fired", "ok", "failed"]
    assert rows[0][:6] == ["nothing", "10,000", "10,000", "0", "0", "0"]
    assert rows[1][:6] == ["fails", "1", "0", "1", "0", "0"]
    assert rows[2] == ["never", *["0"] * 5, *["-"] * 7]


def test_very_many_events_have_a_table_all_the_same() -> None:
    """One that can be read."""
    lines = list(table([Tally(f"event{number}") for number in range(1000)]))
    assert len(lines) < 110
    assert lines[-1] == "and 900 more events: see the journal"


def test_progress_is_told_at_sensible_moments() -> None:
    """Some twenty times, how long the run may be, with what comes next."""
    told = []
    described = draft(
        {"name": "nothing", "interval_sec": 60},
        {"name": "fails", "interval_sec": 600, "on_failure": "ignore"},
        total_hours=2,
    )
    clock = ManualClock()
    around = Surroundings(
        clock=clock,
        seed=1,
        workers=Inline(clock),
        progress=lambda elapsed, upcoming, tallies: told.append(
            progress_line(session.description, elapsed, upcoming, tallies)
        ),
    )
    session = Session(described, library(nothing, fails))
    session.run(around)
    assert 15 <= len(told) <= 25
    assert told[1].startswith("12 min over, 1 h 48 min left: ")
    assert "failed; next is nothing in " in told[1]


def late(seconds: float) -> Tally:
    tally = Tally("tick")
    for at in range(1, 101):
        call = Call(0, at, "", due=1.0, work=lambda: None)
        call.is_made, call.started, call.ended = True, 1.0 + seconds, 2.0
        tally.add(call, 0.0)
    return tally


def test_a_run_that_was_late_says_whose_fault_it_is() -> None:
    """Not that of what is tested."""
    assert lateness([]) == ""
    assert lateness([late(0.009)]) == ""
    assert "began 11 ms late" in lateness([late(0.011)])
    said = lateness([late(0.009), late(0.5)])
    assert said.startswith("One firing in a hundred began 500 ms late, or later: the ")


def test_a_clock_is_given_to_events(tmp_path: Path) -> None:
    """So that they can wait as the run does."""

    def waits(clock: Clock) -> None:
        assert clock.instant() == 0.0

    assert simulate(tmp_path, library(waits), "waits").reasons == []


def test_a_table_shows_what_one_in_a_thousand_took() -> None:
    """Between the hundredth, and the one that was the slowest of all."""
    tally = Tally("tick")
    for at in range(1, 10_001):
        call = Call(0, at, "", due=1.0, work=lambda: None)
        took = 1.0 if at % 500 == 0 else 0.1
        call.is_made, call.started = True, 1.0 + took / 10
        call.ended = call.started + took
        tally.add(call, 0.0)
    head, row = table([tally])
    assert head.split("  ")[-7:] == [
        "late p50",
        "late p99",
        "late p99.9",
        "took p50",
        "took p99",
        "took p99.9",
        "took max",
    ]
    found = [float(each.replace(",", "")) for each in row.split()[-7:]]
    assert found == pytest.approx([10, 10, 100, 100, 100, 1000, 1000], rel=0.002)

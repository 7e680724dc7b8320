"""What a description will do is seen before it does it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.cli import main
from pysys_orch.orchestration.reading import schema
from pysys_orch.orchestration.review import review

SCHEMA = Path(__file__).parents[2] / "docs" / "orchestration.schema.json"
EVENTS: list[dict[str, Any]] = [
    {"name": "write", "interval_sec": 0.5},
    {"name": "restart", "at_startup": False, "interval_min": 1},
    {"name": "look", "after": {"event": "restart", "delay_sec": 2}},
    {"name": "cut", "interval_sec": 20, "duration_sec": 5, "undo": "heal"},
    {"name": "late", "start_after": "3h"},
    {"name": "report", "at_startup": False, "at_teardown": True},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "soak.orch.json"
    said = {"test_name": "soak", "duration": "90s", "events": EVENTS}
    path.write_text(json.dumps(said, indent=1))
    return path


def test_a_table_says_what_fires_when(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first firings, how many there are of each event, and what else follows."""
    assert main(["preview", str(file), "--limit", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "soak: 186 firings of 6 events within 1 min 30 s",
        "",
        "    0:00:00.000  write         1",
        "    0:00:00.000  cut           1",
        "    0:00:00.500  write         2",
        "... and 183 more: --limit shows them",
        "     at the end  report",
        "",
        "write           180  every 0.5 s",
        "restart           1  every 1 min",
        "look              0",
        "cut               5  every 20 s",
        "late              0",
        "report            0",
        "",
        "look fires when restart has succeeded, 2 s later",
        "cut is undone by heal after 5 s",
        "late never fires: the run is over before",
    ]


def test_a_table_says_how_often_what_is_random_fires(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between which times, or on average; the count is that of the run."""
    file = tmp_path / "soak.orch.json"
    events = [
        {"name": "browse", "interval_sec": [2, 5.5], "count": 7},
        {"name": "ask", "rate_per_sec": 4, "distribution": "poisson", "count": 3},
        {"name": "ping", "rate_per_sec": 4},
    ]
    file.write_text(json.dumps({"test_name": "soak", "duration": 90, "events": events}))
    assert main(["preview", str(file), "--limit", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "browse           7  every 2 s to 5.5 s",
        "ask              3  every 0.25 s on average",
        "ping           360  every 0.25 s",
    ]
    found = preview(file, capsys, "--limit", "1000")["firings"]
    times = [each["due"] for each in found if each["event"] == "browse"]
    assert len(times) == 7
    assert all(2 <= second - first <= 5.5 for first, second in pairwise(times))


def preview(file: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Any:  # noqa: ANN401
    assert main(["preview", str(file), "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_machines_can_read_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same figures; -XruntimeHours has its equivalent."""
    found = preview(file, capsys, "--limit", "2", "--hours", "4")
    assert found["total"] == 4 * 3600
    assert [each["event"] for each in found["firings"]] == ["write", "cut"]
    counts = {each["event"]: each["count"] for each in found["counts"]}
    assert counts["late"] == 1
    assert counts["write"] == 4 * 3600 * 2
    assert found["teardown"] == ["report"]


def test_a_seed_gives_the_same_firings_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And another one gives others."""
    file = tmp_path / "soak.orch.json"
    events = [{"name": "tick", "interval_sec": 1, "jitter_sec": 1}]
    file.write_text(json.dumps({"test_name": "soak", "duration": 9, "events": events}))
    first = preview(file, capsys, "--seed", "1")
    assert preview(file, capsys, "--seed", "1") == first
    assert preview(file, capsys, "--seed", "2") != first


def test_a_picture_has_a_row_for_each_event(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one file that needs no other, and is not too large for a browser."""
    page = tmp_path / "soak.html"
    assert main(["preview", str(file), "--html", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    text = page.read_text(encoding="utf-8")
    assert text.count("<rect") == 186 + 1
    assert all(f">{each['name']}</text>" in text for each in EVENTS)
    assert "http" not in text.replace("http://www.w3.org", "")
    main(["preview", str(file), "--html", str(page), "--hours", "1000"])
    assert page.stat().st_size < 3_000_000
    assert "one in 7" in page.read_text(encoding="utf-8")


def test_what_is_wrong_is_told_line_by_line(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As editors and compilers do."""
    file.write_text('{"test_name": "sok",\n "duration": "1 h",\n "events": [{}]}')
    assert main(["preview", str(file)]) == 2
    wrong = "duration has to be seconds, or a text such as 90s, 15m or 2h30m, got '1 h'"
    assert capsys.readouterr().err.splitlines() == [
        f"{file}:1:2: test_name has to be 'soak', as the file is called, got 'sok'",
        f"{file}:2:2: {wrong}",
        f"{file}:3:13: event 1: name is missing",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.orch.json"], "nowhere.orch.json cannot be read: No such file"),
        (["--limit", "-1"], "--limit is at least 0, got -1"),
        (["--hours", "-1"], "it runs for 0 hours at least"),
        (["--html", "/nowhere/x.html"], "/nowhere/x.html cannot be written"),
    ],
)
def test_a_mistake_is_told(
    file: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line."""
    named = arguments if arguments[0].startswith("nowhere") else [str(file), *arguments]
    assert main(["preview", *named]) == 2
    assert words in capsys.readouterr().err


def test_the_schema_for_editors_is_that_of_the_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The one in docs is what the command prints."""
    assert main(["schema", "orchestration"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == schema()
    assert printed == SCHEMA.read_text(encoding="utf-8")


# What became of it.

LINES = """\
{"orchestration": "soak", "begin": "2024-02-29T12:00:00+00:00", "since": 0.0, "total": 60.0, "seed": 1}
{"event": "write", "ordinal": 1, "kind": "scheduled", "due": 0.0, "started": 0.001, "ended": 0.002, "lateness": 0.001, "outcome": "ok", "worker": "w"}
{"event": "cut", "ordinal": 1, "kind": "scheduled", "due": 0.0, "started": 0.001, "ended": 1.5, "lateness": 0.001, "outcome": "failed", "error": "ValueError: <no>", "worker": "w"}
{"event": "write", "ordinal": 2, "kind": "scheduled", "due": 1.0, "started": null, "ended": null, "lateness": null, "outcome": "skipped", "worker": ""}
{"event": "cut", "ordinal": 1, "kind": "undo", "due": 1.5, "started": 1.6, "ended": 1.7, "lateness": 0.1, "outcome": "ok", "worker": "w"}
{"event": "wri"""  # noqa: E501 -- as it is written


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    (tmp_path / "orchestration.jsonl").write_text(LINES)
    return tmp_path


def test_a_journal_is_enough_to_know_what_happened(
    killed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though the run was killed in the middle of a line."""
    assert main(["report", str(killed)]) == 0
    said = capsys.readouterr().out
    assert "ended after 1.7 s: it was killed" in said
    rows = [line.split() for line in said.splitlines()]
    assert ["write", "2", "1", "0", "1", "0"] in [row[:6] for row in rows]
    assert ["cut", "1", "0", "1", "0", "0"] in [row[:6] for row in rows]
    assert "cut, firing 1, failed after 0 s: ValueError: <no>" in said


def test_what_was_never_made_did_not_run(tmp_path: Path) -> None:
    """Though older journals say when it would have been begun."""
    head, *_ = LINES.splitlines()
    times = '"due": 1.0, "started": 1.5, "ended": 1.500004, "lateness": 0.5'
    kind = '"ordinal": 1, "kind": "scheduled"'
    for outcome, ran in (("cancelled", 0), ("dropped", 0), ("ok", 1)):
        line = f'{{"event": "x", {kind}, {times}, "outcome": "{outcome}"}}'
        (tmp_path / "orchestration.jsonl").write_text(f"{head}\n{line}\n")
        (tally,) = review(tmp_path).tallies
        assert (tally.fired, tally.ran, tally.times is not None) == (1, ran, ran > 0)


def test_a_fault_that_was_being_made_is_no_firing_yet(
    killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But the run was there then."""
    file = killed / "orchestration.jsonl"
    begun = '"ordinal": 2, "kind": "scheduled", "due": 9.0, "begun": 9.5}'
    lines = file.read_text().splitlines(keepends=True)[:-1]
    file.write_text("".join(lines) + f'{{"event": "cut", {begun}\n')
    assert main(["report", str(killed), "--html", str(tmp_path / "soak.html")]) == 0
    assert main(["report", str(killed)]) == 0
    said = capsys.readouterr().out
    assert "ended after 9.5 s: it was killed" in said
    assert ["cut", "1"] in [line.split()[:2] for line in said.splitlines()]


def test_a_picture_shows_what_went_wrong(
    killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each firing in the row of its event."""
    page = tmp_path / "soak.html"
    assert main(["report", str(killed), "--html", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    text = page.read_text(encoding="utf-8")
    assert [text.count(f'<rect class="{each}"') for each in ("failed", "undo")] == [
        1,
        1,
    ]
    assert "ValueError: &lt;no&gt;" in text


def test_what_is_no_journal_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing there, or something else."""
    assert main(["report", str(tmp_path)]) == 2
    assert "orchestration.jsonl cannot be read" in capsys.readouterr().err
    (tmp_path / "orchestration.jsonl").write_text("[]\n{}\n")
    assert main(["report", str(tmp_path)]) == 2
    assert "is no journal of an orchestration" in capsys.readouterr().err

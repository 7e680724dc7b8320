"""The reports of a run, in files."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.livecheck.evidence import Evidence, line_of, safe_name
from tests.docker.owned import eventually


def lines(file: Path) -> list[object]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_each_report_is_a_line_in_the_file_of_its_case(tmp_path: Path) -> None:
    """In order, and in the line that was told."""
    evidence = Evidence(tmp_path / "livecheck")
    told = [
        evidence.add(case, {"number": number, "text": "ä\n"}, is_ok=True)
        for number, case in enumerate(["a", "b", "a", "a"])
    ]
    assert told == [1, 1, 2, 3]
    assert evidence.close()
    found = lines(tmp_path / "livecheck" / "a.jsonl")
    assert found == [{"number": number, "text": "ä\n"} for number in (0, 2, 3)]
    assert evidence.name_of("b") == "b.jsonl"
    assert evidence.name_of("c") is None


def test_what_is_ok_does_not_take_the_place_of_what_is_not(tmp_path: Path) -> None:
    """However much there is of it; what is left out is counted."""
    evidence = Evidence(tmp_path, most_lines=3)
    for _ in range(10):
        evidence.add("a", {"state": "PASS"}, is_ok=True)
    assert evidence.add("a", {"state": "FAIL"}, is_ok=False) == 4
    assert evidence.close()
    assert len(lines(tmp_path / "a.jsonl")) == 4
    assert evidence.omitted() == {"a": 7}


def test_memory_is_bounded_when_the_disk_is_slow(tmp_path: Path) -> None:
    """Failures have as much room again."""
    go_on = threading.Event()

    def wait() -> None:
        go_on.wait(30)

    evidence = Evidence(tmp_path, most_waiting=5, initialize=wait)
    passes = [evidence.add("a", {"n": n}, is_ok=True) for n in range(9)]
    failures = [evidence.add("a", {"n": n}, is_ok=False) for n in range(9)]
    go_on.set()
    assert evidence.close()
    assert [each is not None for each in passes] == [True] * 5 + [False] * 4
    assert [each is not None for each in failures] == [True] * 5 + [False] * 4
    assert len(lines(tmp_path / "a.jsonl")) == 10


def test_nothing_is_made_of_nothing(tmp_path: Path) -> None:
    """No folder, no thread."""
    before = threading.active_count()
    evidence = Evidence(tmp_path / "livecheck")
    assert evidence.close()
    assert not (tmp_path / "livecheck").exists()
    assert threading.active_count() == before


def test_what_comes_too_late_is_not_said_to_be_there(tmp_path: Path) -> None:
    """Nor does it raise."""
    evidence = Evidence(tmp_path)
    evidence.close()
    assert evidence.add("a", {}, is_ok=True) is None


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, and at the end."""
    (tmp_path / "livecheck").write_text("a file")
    evidence = Evidence(tmp_path / "livecheck")
    evidence.add("a", {}, is_ok=True)
    assert not evidence.close()
    assert caplog.text.count("cannot be written") == 1


@given(st.lists(st.text(max_size=200), unique=True, max_size=8))
def test_names_are_safe_and_different(cases: list[str]) -> None:
    """For any file system, whatever cases are called."""
    names: list[str] = []
    for case in cases:
        names.append(safe_name(case, [each.casefold() for each in names]))
    assert len({each.casefold() for each in names}) == len(cases)
    for name in names:
        assert name.endswith(".jsonl")
        assert name.isascii()
        assert Path(name).name == name
        assert not name.startswith(".")
        assert len(name) < 200


def test_a_plain_name_stays_as_it_is() -> None:
    """Users look for it."""
    assert safe_name("Shop.Checkout-2") == "Shop.Checkout-2.jsonl"
    assert safe_name("../etc/passwd") == "_etc_passwd.jsonl"


def breaks() -> None:
    raise ValueError("broken")


def test_what_ends_the_writing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it was: nobody takes for complete what is not."""
    evidence = Evidence(tmp_path / "livecheck", initialize=breaks)
    assert evidence.add("a", {}, is_ok=True) == 1
    assert not evidence.close()
    assert "broken" in caplog.text


def test_files_are_bounded_in_bytes(tmp_path: Path) -> None:
    """Failures have as much room again; what is left out is counted."""
    evidence = Evidence(tmp_path, most_bytes=1000)

    def is_full(state: str, *, is_ok: bool) -> bool:
        return evidence.add("a", {"state": state * 100}, is_ok=is_ok) is None

    for state, is_ok in (("P", True), ("F", False)):
        eventually(partial(is_full, state, is_ok=is_ok), what="the file is full")
    assert evidence.close()
    text = (tmp_path / "a.jsonl").read_text()
    states = [json.loads(line)["state"][0] for line in text.splitlines()]
    assert states.count("P") >= 9
    assert states.count("F") >= 9
    assert evidence.omitted() == {"a": 2}


def test_a_line_is_not_as_long_as_somebody_likes() -> None:
    """Of what is too long there is a part; the rest is as it was."""
    huge = "x" * 1_000_000
    test = {
        "id": huge,
        "timestamp": "2026-01-01T00:00:00Z",
        "test_args": [1, huge, {"deep": [huge]}, *range(1000)],
        "test_kwargs": {"a": huge, "b": 2},
    }
    report = {"state": "FAIL", "error": huge, "traceback": huge + "END", "test": test}
    line = line_of(report)
    assert len(line) < 60_000
    found = json.loads(line)
    assert found["state"] == "FAIL"
    assert found["error"] == "x" * 2000 + "[...]"
    assert found["traceback"].startswith("[...]x")
    assert found["traceback"].endswith("xEND")
    assert found["test"]["timestamp"] == test["timestamp"]
    assert found["test"]["test_args"][0] == 1
    assert found["test"]["test_args"][-1] == "[...]"
    assert found["test"]["test_kwargs"] == {"a": "x" * 2000 + "[...]", "b": 2}
    assert report["error"] == huge


def test_a_line_of_usual_length_is_as_it_was() -> None:
    """With all of its arguments."""
    test = {"id": "o-1", "test_args": list(range(1000)), "test_kwargs": {}}
    report = {"error": "no", "traceback": None, "test": test}
    assert json.loads(line_of(report)) == report

"""What a project says about escalation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.errors import ConfigError
from pysys_orch.escalation.options import (
    Options,
    duration,
    read_mutes,
    read_options,
    stream_of,
)
from pysys_orch.escalation.rules import GroupBy, Mute, Policy

SAID: Mapping[str, Any] = {
    "suite": "",
    "stream": "main linux",
    "groupBy": "suite",
    "failuresBeforeTrigger": 1,
    "passesBeforeResolve": 1,
    "maxIncidentsPerRun": 10,
    "repeatAfter": "",
    "forgetAfter": 7,
    "outcomes": [],
    "mutes": "",
    "link": "",
    "state": "",
    "flushTimeoutSecs": 30.0,
    "dryRun": False,
    "failRunIfAborted": True,
}


def read(
    said: Mapping[str, Any] = SAID,
    *,
    folder: Path = Path("/project"),
    environment: Mapping[str, str] | None = None,
) -> Options:
    return read_options(
        said,
        environment=environment or {},
        folder=folder,
        failures=["FAILED", "TIMED OUT"],
        outcomes=["PASSED", "FAILED", "TIMED OUT", "SKIPPED"],
        platform="linux",
    )


def test_there_is_a_default_for_everything() -> None:
    """Beside the name of what runs, which nobody can guess."""
    assert read() == Options(
        suite="tests",
        stream="main linux",
        policy=Policy(),
        outcomes=frozenset({"FAILED", "TIMED OUT"}),
        state="/project/__pysys_escalation.db",
        link="",
        flush_timeout=30.0,
        dry_run=False,
        fail_if_aborted=True,
    )


def test_all_can_be_said(tmp_path: Path) -> None:
    """In the words of a project file."""
    (tmp_path / "mutes.yml").write_text("[{tests: a, until: 2024-02-29, reason: b}]")
    said = {
        **SAID,
        "suite": "nightly",
        "groupBy": "test",
        "failuresBeforeTrigger": 2,
        "passesBeforeResolve": 3,
        "maxIncidentsPerRun": 4,
        "forgetAfter": 5,
        "repeatAfter": "2d",
        "outcomes": ["SKIPPED"],
        "mutes": "mutes.yml",
        "state": "postgresql+psycopg://me@host/db",
        "link": "https://ci/$JOB",
    }
    found = read(said, folder=tmp_path, environment={"JOB": "7"})
    assert found.policy == Policy(
        group_by=GroupBy.TEST,
        failures_before_trigger=2,
        passes_before_resolve=3,
        max_incidents=4,
        forget_after=5,
        repeat_after=timedelta(days=2),
        mutes=(Mute(tests="a", until=date(2024, 2, 29), reason="b"),),
    )
    assert (found.suite, set(found.outcomes)) == ("nightly", {"SKIPPED"})
    assert found.state == "postgresql+psycopg://me@host/db"
    assert found.link == "https://ci/7"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ""),
        (
            {"GITHUB_REF_NAME": "main", "GITHUB_WORKFLOW": "nightly"},
            "main nightly linux",
        ),
        (
            {"GITHUB_REF_NAME": "x", "GITHUB_WORKFLOW": "ci", "GITHUB_JOB": "soak"},
            "x ci soak linux",
        ),
        ({"CI_COMMIT_REF_NAME": "main", "CI_JOB_NAME": "soak"}, "main soak linux"),
        ({"BRANCH_NAME": "main"}, "main linux"),
        ({"JOB_NAME": "shop/nightly"}, "shop/nightly linux"),
        ({"BUILD_NUMBER": "7", "HOSTNAME": "a"}, ""),
    ],
)
def test_a_stream_is_what_is_the_same_tomorrow(
    environment: dict[str, str], expected: str
) -> None:
    """Branch, job and platform, as far as the continuous integration says them."""
    assert stream_of(environment, "linux") == expected


def test_a_link_is_what_the_continuous_integration_says() -> None:
    """Unless the project knows better."""
    github = {
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "a/b",
        "GITHUB_RUN_ID": "7",
    }
    assert (
        read(SAID, environment=github).link == "https://github.com/a/b/actions/runs/7"
    )
    assert (
        read(SAID, environment={"BUILD_URL": "https://jenkins/7"}).link
        == "https://jenkins/7"
    )
    assert (
        read({**SAID, "link": "https://x"}, environment={"BUILD_URL": "y"}).link
        == "https://x"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("26h", timedelta(hours=26)),
        ("1.5d", timedelta(hours=36)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_durations_have_a_unit(text: str, expected: timedelta) -> None:
    """Seconds, minutes, hours, days or weeks."""
    assert duration(text, "within") == expected


@pytest.mark.parametrize("text", ["", "7", "d", "1 day", "-1d", "1y"])
def test_a_duration_without_one_is_refused(text: str) -> None:
    """Nobody should have to guess."""
    with pytest.raises(ConfigError, match="within is a number with s, m, h, d or w"):
        duration(text, "within")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is no YAML: "),
        ("a: b", "has to be a list"),
        ("[a]", r"entry 1: has to have tests, until and reason, got 'a'"),
        ("[{tests: a, until: 2024-02-29}]", "entry 1: says no 'reason'"),
        (
            "[{tests: a, till: 2024-02-29, reason: b}]",
            "entry 1: has no property 'till', did you mean until?",
        ),
        (
            "[{tests: a, until: soon, reason: b}]",
            "entry 1: until is a day such as 2024-02-29, got 'soon'",
        ),
    ],
)
def test_a_file_of_mutes_that_makes_no_sense_is_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    """With its name, and the entry."""
    file = tmp_path / "mutes.yml"
    file.write_text(text)
    with pytest.raises(ConfigError) as failure:
        read_mutes(file)
    assert str(file) in str(failure.value)
    assert words in str(failure.value)


def test_a_file_of_mutes_may_be_empty(tmp_path: Path) -> None:
    """All of them were taken out, perhaps; a time of day is of no interest."""
    file = tmp_path / "mutes.yml"
    file.write_text("# nothing\n")
    assert read_mutes(file) == ()
    file.write_text("- {tests: a, until: 2024-02-29 12:00:00, reason: b}\n")
    (mute,) = read_mutes(file)
    assert mute.covers("a", datetime(2024, 2, 29, 23, tzinfo=UTC))
    assert not mute.covers("b", datetime(2024, 2, 29, 23, tzinfo=UTC))

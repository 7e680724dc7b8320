"""Containers that were brought up together are judged by what the engine says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pysys_orch.docker.engine.converge import judge

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def found(
    status: str,
    *,
    code: int = 0,
    policy: str = "no",
    most: int = 0,
    restarts: int = 0,
    lived: float = 60,
    error: str = "",
    health: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the part of an inspection that matters."""
    state: dict[str, Any] = {
        "Status": status,
        "ExitCode": code,
        "Error": error,
        "StartedAt": (NOW - timedelta(seconds=lived)).isoformat(),
    }
    if health:
        state["Health"] = health
    return {
        "Id": "c",
        "State": state,
        "RestartCount": restarts,
        "HostConfig": {"RestartPolicy": {"Name": policy, "MaximumRetryCount": most}},
    }


def health(status: str, said: str = "") -> dict[str, Any]:
    """Return what an inspection says about a health check."""
    return {"Status": status, "Log": [{"Output": said}] if said else []}


@pytest.mark.parametrize(
    "container",
    [
        found("running"),
        found("running", health=health("healthy")),
        found("running", health=health("none")),
        found("exited"),
        found("exited", policy="on-failure"),
        found("running", policy="always"),
        found("running", policy="always", restarts=5, lived=2),
    ],
)
def test_what_does_what_it_is_to_do_is_ready(container: dict[str, Any]) -> None:
    """It runs, is healthy, or has done its job."""
    assert judge([container], now=lambda: NOW).ready


@pytest.mark.parametrize(
    ("container", "excuse"),
    [
        (found("created"), "is created"),
        (found("restarting", restarts=1), "is restarting"),
        (found("running", health=health("starting")), "its health is starting"),
        (
            found("running", health=health("starting", "no\nanswer")),
            "its health is starting, its last check said: no answer",
        ),
        (found("exited", policy="always"), "is exited"),
        (found("exited", code=1, policy="on-failure"), "is exited"),
        (found("running", restarts=2, lived=0.5), "was restarted 2 times"),
        (found("running", policy="always", lived=0.1), "has only just started"),
    ],
)
def test_what_may_still_come_is_waited_for(
    container: dict[str, Any], excuse: str
) -> None:
    """It is said what it does instead."""
    state = judge([container], now=lambda: NOW)
    assert state.failed == ()
    assert state.waiting == {"c": excuse}


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        (found("exited", code=3), "exited with exit code 3"),
        (
            found("exited", code=3, policy="on-failure", most=2, restarts=2),
            "exited with exit code 3",
        ),
        (found("created", error="no such\nfile"), "could not be started: no such file"),
        (found("dead"), "is dead"),
        (
            found("running", health=health("unhealthy", "refused")),
            "is unhealthy, its last check said: refused",
        ),
        (
            found("restarting", code=1, policy="always", restarts=3),
            "keeps dying: it was started 4 times and last ended with exit code 1",
        ),
    ],
)
def test_what_never_will_is_told_with_its_cause(
    container: dict[str, Any], reason: str
) -> None:
    """Nobody waits for it any longer."""
    (failed,) = judge([found("running"), container], now=lambda: NOW).failed
    assert failed.reason == reason

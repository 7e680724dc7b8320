"""Whether what was brought up runs, and what of it never will.

`judge` decides from inspections alone; who asks again, and when, is up to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pysys_orch.docker.engine.model import read_stamp
from pysys_orch.docker.engine.ready import MEMORY_LIMIT, ending

#: How often a container may die before nobody expects any more that it will run.
MOST_RESTARTS = 3

_STEADY = timedelta(seconds=1)  # for so long runs what has died before
# What dies at once is still seen running: an engine took up to 90 ms to notice.
_BORN = timedelta(seconds=0.3)
_RESTARTING_POLICIES = frozenset({"always", "unless-stopped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A container that will not run.

    Attributes:
        container: Its id.
        reason: What became of it, in words.
    """

    container: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of several containers that were brought up together.

    Attributes:
        failed: Those that will not run.
        waiting: Those that do not run yet: their ids, and what they do instead.
    """

    failed: tuple[Failed, ...] = ()
    waiting: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Whether all of them run, or have done what they had to do."""
        return not self.failed and not self.waiting


def judge(
    inspections: Sequence[Mapping[str, Any]], *, now: Callable[[], datetime]
) -> State:
    """Say which containers run, do not run yet, and never will.

    A container runs if its health check says so, or if it has none and its main process
    lives; one that ended with 0 has done what it had to do, unless it is to be started
    again. One that has died before must have lived for a second; one that would be
    started again whenever it dies, and tells nothing of its health, for a moment.

    Args:
        inspections: Each as ``docker inspect`` shows it.
        now: Tells the present, by the engine's clock; asked only of what is restarted.
    """
    failed, waiting = [], {}
    for each in inspections:
        container = str(each["Id"])
        reason = _failure(each, now)
        if reason:
            failed.append(Failed(container=container, reason=reason))
        elif excuse := _excuse(each, now):
            waiting[container] = excuse
    return State(failed=tuple(failed), waiting=waiting)


def _failure(found: Mapping[str, Any], now: Callable[[], datetime]) -> str:
    """Return why a container will not run, or nothing."""
    state = found["State"]
    status = state["Status"]
    if found.get("RestartCount", 0) >= MOST_RESTARTS and not _is_steady(state, now):
        return (
            f"keeps dying: it was started {found['RestartCount'] + 1} times and "
            f"last ended with exit code {state['ExitCode']}"
        )
    if status == "running" and _health(state) == "unhealthy":
        return f"is unhealthy{_last_check(state)}"
    if status == "created" and state.get("Error"):
        return ending(state)
    if status in {"dead", "removing"}:
        return f"is {status}"
    if status == "exited" and (state["ExitCode"] or state.get("Error")):
        limit = found["HostConfig"].get("Memory")
        return "" if _restarts(found) else ending({**state, MEMORY_LIMIT: limit})
    return ""


def _excuse(found: Mapping[str, Any], now: Callable[[], datetime]) -> str:
    """Return what a container does that does not run yet, or nothing if it does."""
    state = found["State"]
    status = str(state["Status"])
    if status == "running":
        health = _health(state)
        if health not in {"", "none", "healthy"}:
            return f"its health is {health}{_last_check(state)}"
        if found.get("RestartCount", 0) and not _is_steady(state, now):
            return f"was restarted {found['RestartCount']} times"
        is_watched = health == "healthy" or _policy(found) in {"", "no"}
        if not is_watched and not _has_lived(state, now, _BORN):
            return "has only just started"
        return ""
    if status == "exited" and not _restarts(found):
        return ""
    return f"is {status}"


def _restarts(found: Mapping[str, Any]) -> bool:
    """Return whether the engine starts a container again that has ended."""
    name = _policy(found)
    if name in _RESTARTING_POLICIES:
        return True
    if name != "on-failure" or not found["State"]["ExitCode"]:
        return False
    most = found["HostConfig"]["RestartPolicy"].get("MaximumRetryCount", 0)
    return not most or found.get("RestartCount", 0) < most


def _policy(found: Mapping[str, Any]) -> str:
    policy = (found.get("HostConfig") or {}).get("RestartPolicy") or {}
    return str(policy.get("Name", ""))


def _is_steady(state: Mapping[str, Any], now: Callable[[], datetime]) -> bool:
    return state["Status"] == "running" and _has_lived(state, now, _STEADY)


def _has_lived(
    state: Mapping[str, Any], now: Callable[[], datetime], least: timedelta
) -> bool:
    return now() - read_stamp(str(state.get("StartedAt", ""))) >= least


def _health(state: Mapping[str, Any]) -> str:
    return str((state.get("Health") or {}).get("Status", ""))


def _last_check(state: Mapping[str, Any]) -> str:
    """Return what the latest health check said."""
    checks = (state.get("Health") or {}).get("Log") or []
    if not checks:
        return ""
    said = " ".join(str(checks[-1].get("Output", "")).split())[-200:]
    return f", its last check said: {said or 'nothing'}"

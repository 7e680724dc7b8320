"""What a project says about escalation, read into frozen values."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from pysys_orch.errors import ConfigError
from pysys_orch.escalation.rules import GroupBy, Mute, Policy
from pysys_orch.inputs import nearest, utf8_text

#: Where services are, unless a project says otherwise.
URLS = {
    "squadcast": "https://api.squadcast.com",
    "pagerduty": "https://events.pagerduty.com",
}

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.ASCII)
_MUTE_KEYS = {"tests", "until", "reason"}

#: Where continuous integrations say what they are running: the branch, and the job.
_BRANCHES = (
    "GITHUB_REF_NAME",
    "CI_COMMIT_REF_NAME",
    "BUILD_SOURCEBRANCH",
    "BUILDKITE_BRANCH",
    "CIRCLE_BRANCH",
    "TRAVIS_BRANCH",
    "BRANCH_NAME",
)
_JOBS = (
    "GITHUB_WORKFLOW",
    "GITHUB_JOB",
    "CI_JOB_NAME",
    "BUILD_DEFINITIONNAME",
    "SYSTEM_JOBNAME",
    "BUILDKITE_PIPELINE_SLUG",
    "BUILDKITE_LABEL",
    "CIRCLE_JOB",
    "TRAVIS_JOB_NAME",
    "JOB_NAME",
)
_LINKS = (
    "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID",
    "$CI_JOB_URL",
    "$SYSTEM_COLLECTIONURI$SYSTEM_TEAMPROJECT/_build/results?buildId=$BUILD_BUILDID",
    "$BUILDKITE_BUILD_URL",
    "$CIRCLE_BUILD_URL",
    "$TRAVIS_JOB_WEB_URL",
    "$BUILD_URL",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is escalated, and how.

    Attributes:
        suite: What is being watched.
        stream: What runs night after night.
        policy: What is worth an incident.
        outcomes: The outcomes that are failures, as PySys calls them.
        state: Where it is remembered.
        link: Where the run is to be read about; empty if nowhere.
        flush_timeout: Seconds for which the end of a run may be delayed.
        dry_run: Whether nothing is sent.
        fail_if_aborted: Whether a run that was aborted has failed.
    """

    suite: str
    stream: str
    policy: Policy
    outcomes: frozenset[str]
    state: str
    link: str
    flush_timeout: float
    dry_run: bool
    fail_if_aborted: bool


def read_options(
    said: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    folder: Path,
    failures: Collection[str],
    outcomes: Collection[str],
    platform: str,
) -> Options:
    """Return what the properties of a writer mean.

    Args:
        said: The properties by name, with the types of their defaults.
        environment: Where a continuous integration says what it runs.
        folder: What relative paths start from.
        failures: The outcomes that are failures by default.
        outcomes: All outcomes that there are.
        platform: What kind of machine this is.

    Raises:
        ConfigError: A value makes no sense, or one is missing.
    """
    stream = said["stream"] or stream_of(environment, platform)
    if not stream:
        message = (
            "stream is not set, and this is no continuous integration that is known: "
            "say what runs night after night, for example stream='main linux'"
        )
        raise ConfigError(message)
    repeat = said["repeatAfter"]
    policy = Policy(
        group_by=_group_by(said["groupBy"]),
        failures_before_trigger=_at_least_one(said, "failuresBeforeTrigger"),
        passes_before_resolve=_at_least_one(said, "passesBeforeResolve"),
        max_incidents=_at_least_one(said, "maxIncidentsPerRun"),
        forget_after=_at_least_one(said, "forgetAfter"),
        repeat_after=duration(repeat, "repeatAfter") if repeat else None,
        mutes=read_mutes(folder / said["mutes"]) if said["mutes"] else (),
    )
    wanted = said["outcomes"] or sorted(failures)
    for each in wanted:
        _require_one_of(each, outcomes, "outcomes")
    if said["flushTimeoutSecs"] < 0:
        message = f"flushTimeoutSecs is at least 0, got {said['flushTimeoutSecs']:g}"
        raise ConfigError(message)
    state = said["state"] or "__pysys_escalation.db"
    if said["dryRun"]:
        # What was not told must not be remembered as told.
        state = "__pysys_escalation_dry_run.db"
    return Options(
        suite=said["suite"] or "tests",
        stream=stream,
        policy=policy,
        outcomes=frozenset(wanted),
        state=state if "://" in state else str(folder / state),
        link=_link(said["link"], environment),
        flush_timeout=said["flushTimeoutSecs"],
        dry_run=said["dryRun"],
        fail_if_aborted=said["failRunIfAborted"],
    )


def require_known(names: Iterable[str], known: Collection[str], where: str) -> None:
    """Refuse properties that there are not.

    Raises:
        ConfigError: With the nearest that there is.
    """
    for name in names:
        if name not in known:
            hint = nearest(name, sorted(known))
            message = f"{where} has no property {name!r}{hint}"
            raise ConfigError(message)


def duration(text: str, what: str) -> timedelta:
    """Return what ``90s``, ``15m``, ``26h``, ``7d`` or ``2w`` stands for.

    Raises:
        ConfigError: It stands for nothing.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        message = f"{what} is a number with s, m, h, d or w, such as 26h, got {text!r}"
        raise ConfigError(message)
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def stream_of(environment: Mapping[str, str], platform: str) -> str:
    """Return what a continuous integration is running; empty if it is none.

    That is the branch, the job and the platform: nothing that is another tomorrow.
    """
    branches = [environment[each] for each in _BRANCHES if environment.get(each)]
    jobs = [environment[each] for each in _JOBS if environment.get(each)]
    found = [*branches[:1], *jobs]
    return " ".join([*found, platform]) if found else ""


def _link(template: str, environment: Mapping[str, str]) -> str:
    if template:
        try:
            return string.Template(template).substitute(environment)
        except KeyError as failure:
            message = f"link names ${failure.args[0]}, which the environment has not"
            raise ConfigError(message) from None
        except ValueError as failure:
            message = f"link {template!r} makes no sense: {failure}"
            raise ConfigError(message) from None
    for each in _LINKS:
        try:
            return string.Template(each).substitute(environment)
        except KeyError:
            continue
    return ""


# Mutes.


def read_mutes(file: Path) -> tuple[Mute, ...]:
    """Return the mutes of a file: a list of ``tests``, ``until`` and ``reason``.

    Raises:
        ConfigError: It cannot be read, or an entry makes no sense.
    """
    try:
        said = yaml.safe_load(utf8_text(file))
    except yaml.YAMLError as failure:
        message = f"mutes: {file} is no YAML: {' '.join(str(failure).split())}"
        raise ConfigError(message) from None
    if said is None:
        return ()
    if not isinstance(said, list):
        message = f"mutes: {file} has to be a list, each with tests, until and reason"
        raise ConfigError(message)
    return tuple(_mute(each, f"{file}, entry {at}") for at, each in enumerate(said, 1))


def _mute(said: object, where: str) -> Mute:
    if not isinstance(said, dict):
        message = f"mutes: {where}: has to have tests, until and reason, got {said!r}"
        raise ConfigError(message)
    require_known(map(str, said), _MUTE_KEYS, f"mutes: {where}:")
    for key in sorted(_MUTE_KEYS - said.keys()):
        message = f"mutes: {where}: says no {key!r}"
        raise ConfigError(message)
    until = said["until"]
    if isinstance(until, datetime):
        until = until.date()
    if not isinstance(until, date):
        message = f"mutes: {where}: until is a day such as 2024-02-29, got {until!r}"
        raise ConfigError(message)
    return Mute(tests=str(said["tests"]), until=until, reason=str(said["reason"]))


# Values.


def _group_by(text: str) -> GroupBy:
    _require_one_of(text, list(GroupBy), "groupBy")
    return GroupBy(text)


def _at_least_one(said: Mapping[str, Any], name: str) -> int:
    value = said[name]
    if value < 1:
        message = f"{name} is at least 1, got {value}"
        raise ConfigError(message)
    return int(value)


def _require_one_of(value: str, known: Collection[str], what: str) -> None:
    if value not in known:
        message = f"{what}: there is no {value!r}{nearest(value, sorted(known))}"
        raise ConfigError(message)

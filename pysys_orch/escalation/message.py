"""What people read when they are woken: pure functions of what was decided."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pysys_orch.escalation.incident import Action, Event, event_id
from pysys_orch.escalation.rules import (
    OVERFLOW,
    Decision,
    GroupBy,
    Reason,
    Transition,
    Trouble,
    covered_by_overflow,
    name_of,
)

_MAX_SUMMARY = 200
_MAX_REASON = 300
_MAX_TAG = 200

# What a terminal would take for something else than text.
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a run, beside what its tests did.

    Attributes:
        project: The PySys project.
        stream: What runs night after night.
        suite: What is being watched.
        ran: How many tests ran.
        at: When it ended.
        link: Where more is to be read; empty if nowhere.
        details: What PySys and the project say of the run: host, commit and the like.
    """

    project: str
    stream: str
    suite: str
    ran: int
    at: datetime
    link: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


def compose(facts: Facts, transition: Transition, decision: Decision) -> Event:
    """Return what services are told of a transition.

    Args:
        facts: Of the run.
        transition: One that has an action.
        decision: What it is a part of.
    """
    if transition.action is None:
        raise AssertionError(transition)
    troubles = failing_in(decision, transition.group)
    return Event(
        key=event_id(facts.project, facts.stream, facts.suite, transition.group),
        action=transition.action,
        summary=_summary(facts, transition, troubles),
        details=_details(facts, transition, troubles),
        tags=_tags(facts, transition, troubles),
        link=facts.link,
    )


def failing_in(decision: Decision, group: str) -> Mapping[str, Trouble]:
    """Return the failing tests that an incident is about."""
    if group == OVERFLOW:
        return covered_by_overflow(decision)
    return decision.failing.get(group, {})


def plain(text: str, room: int) -> str:
    """Return *text* on one line of at most *room* characters, without control codes."""
    words = " ".join(_CONTROL.sub("", text).split())
    return words if len(words) <= room else f"{words[: room - 1]}…"


def _summary(
    facts: Facts, transition: Transition, troubles: Mapping[str, Trouble]
) -> str:
    place = f"[{facts.stream}] {facts.suite}"
    what = _what(transition.group)
    if transition.action is Action.RESOLVE:
        words = f"{place}: {what}{transition.reason}"
    else:
        new = sum(each.since == facts.at for each in troubles.values())
        fresh = f" ({new} new)" if 0 < new < len(troubles) else ""
        count = "1 test fails" if len(troubles) == 1 else f"{len(troubles)} tests fail"
        words = f"{place}: {what}{count}{fresh}, {facts.ran} ran"
        if transition.reason is Reason.REPEATED:
            words += f"; {transition.words}"
    return plain(words, _MAX_SUMMARY)


def _what(group: str) -> str:
    if group == GroupBy.SUITE:
        return ""
    if group == OVERFLOW:
        return "more of the same: "
    return f"{name_of(group) or 'no group'}: "


def _details(
    facts: Facts, transition: Transition, troubles: Mapping[str, Trouble]
) -> str:
    lines = [f"**{transition.reason}**: {plain(transition.words, _MAX_REASON)}", ""]
    if facts.link:
        lines += [f"[The run]({facts.link})", ""]
    # The longest broken come last: what is new is what one looks for first.
    for test, trouble in sorted(
        troubles.items(), key=lambda each: (-each[1].since.timestamp(), each[0])
    ):
        lines.append(_line(test, trouble, facts))
    if facts.details:
        lines += ["", *(f"{key}: {text}" for key, text in facts.details.items())]
    return "\n".join(lines)


def _line(test: str, trouble: Trouble, facts: Facts) -> str:
    last = trouble.last
    since = (
        "since this run"
        if trouble.since == facts.at
        else f"since {trouble.since:%Y-%m-%d %H:%M} UTC"
    )
    flaky = ", flaky: it also passed" if trouble.flaky else ""
    reason = plain(last.reason, _MAX_REASON) or "no reason given"
    place = f" ({plain(last.location, _MAX_REASON)})" if last.location else ""
    name = plain(test, _MAX_REASON)
    return f"- **{name}** {last.outcome} {since}{flaky}: {reason}{place}"


def _tags(
    facts: Facts, transition: Transition, troubles: Mapping[str, Trouble]
) -> dict[str, str]:
    outcomes = sorted({each.last.outcome for each in troubles.values()})
    groups = sorted({each.last.group for each in troubles.values() if each.last.group})
    tags = {
        "project": facts.project,
        "stream": facts.stream,
        "suite": facts.suite,
        "group": name_of(transition.group),
        "reason": transition.reason,
        "outcome": ", ".join(outcomes),
        "groups": ", ".join(groups),
        "host": facts.details.get("hostname", ""),
        "commit": facts.details.get("vcsCommit", ""),
    }
    return {key: plain(text, _MAX_TAG) for key, text in tags.items() if text}

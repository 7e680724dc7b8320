"""Alertmanager: its API, version 2."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.errors import ConfigError
from pysys_orch.escalation.fitting import (
    body_limit,
    clipped,
    fitted,
    json_body,
    readable,
    web_link,
)
from pysys_orch.escalation.incident import Action, Answer, Event, Request, Verdict
from pysys_orch.escalation.transport import judge_status

# It has no limit of its own; whom it notifies has.
_USABLE = 100_000
_LONGEST_LABEL = 250
_MOST_HOURS = 24 * 365.0

#: Tags that say what an incident is about, and nothing of how it goes.
STABLE_TAGS = frozenset({"project", "stream", "suite", "group"})


class Alertmanager:
    """Alertmanager's API, version 2.

    An alert ends by itself unless it is told of again, so a suite that runs no more
    keeps nobody awake for ever.

    What is sent depends on the time: an alert says since when it is known, and when it
    ends. Sent again, it differs in nothing else, and means the same: Alertmanager keeps
    the earliest beginning.

    It tells alerts apart by all of their labels. A resolve ends an alert only if it has
    the labels that the trigger had; so a tag may be one only if it stays the same as
    long as an incident is open. All others become annotations.

    Args:
        url: The root URL of Alertmanager.
        timeout_hours: After what time an alert ends of which nobody is told again.
        labels: Which tags become labels, beside the name of the alert and its event
            id.
        clock: Tells the time.

    Raises:
        ConfigError: The time is none that makes sense.

    Source:
        https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
    """

    name = "alertmanager"

    def __init__(
        self,
        url: str,
        timeout_hours: float = 36.0,
        *,
        labels: Collection[str] = STABLE_TAGS,
        clock: Clock | None = None,
    ) -> None:
        if not 0 < timeout_hours <= _MOST_HOURS:
            message = (
                f"timeout_hours has to be more than 0 and at most {_MOST_HOURS:g}, "
                f"got {timeout_hours:g}"
            )
            raise ConfigError(message)
        self._endpoint = f"{url.rstrip('/')}/api/v2/alerts"
        self._timeout = timedelta(hours=timeout_hours)
        self._labels = labels
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url=…)"

    def request(self, event: Event, *, budget: float = 1.0) -> Request:
        """Return what tells it about an event; the same for the same arguments.

        At another time, it has another time in it.

        Args:
            event: The event. A tag ``alertname`` names the alert, else it is ``pysys``.
            budget: How much of 100,000 bytes may be used, from 0 to 1.
        """
        event = readable(event)
        chosen = {*self._labels, "alertname"} & event.tags.keys()
        labels = _labels(event, {name: event.tags[name] for name in chosen})
        always = self._period(event.action) | {"labels": labels}
        if link := web_link(event.link):
            always["generatorURL"] = link

        def encode(event: Event) -> bytes:
            others = {
                name: value for name, value in event.tags.items() if name not in chosen
            }
            said = {"summary": event.summary, "description": event.details}
            annotations = _names(others) | said
            return json_body([always | {"annotations": annotations}])

        body = encode(fitted(event, body_limit(_USABLE, budget), encode))
        return Request(url=self._endpoint, body=body)

    def judge(self, event: Event, answer: Answer) -> Verdict:
        """Say what an answer means."""
        del event  # they are all alike
        return judge_status(answer)

    def _period(self, action: Action) -> dict[str, object]:
        now = self._clock.stamp()
        if action is Action.RESOLVE:
            # Without a beginning, that of the alert that ends is kept.
            return {"endsAt": _stamp(now)}
        # Without a beginning, it would be the end.
        return {"startsAt": _stamp(now), "endsAt": _stamp(now + self._timeout)}


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _labels(event: Event, tags: Mapping[str, str]) -> dict[str, str]:
    """Return labels, whatever the budget: with others it would be another alert."""
    found = {"alertname": "pysys"} | _names(tags) | {"event_id": event.key}
    return {name: clipped(value, _LONGEST_LABEL) for name, value in found.items()}


def _names(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags under names that a label may have.

    Those are letters, digits and underscores; two of the latter begin what is internal.
    Without a value there is no label.
    """
    found = {}
    for name, value in sorted(tags.items()):
        valid = re.sub(r"[^a-zA-Z0-9_]", "_", name).lstrip("_")
        valid = f"_{valid}" if not valid or valid[0].isdigit() else valid
        if value:
            found[valid] = value
    return found

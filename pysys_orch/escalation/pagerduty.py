"""PagerDuty: its Events API, version 2."""

from __future__ import annotations

from dataclasses import replace

from pysys_orch.escalation.fitting import (
    body_limit,
    fitted,
    json_body,
    readable,
    web_link,
)
from pysys_orch.escalation.incident import Action, Answer, Event, Request, Verdict
from pysys_orch.escalation.transport import judge_status

#: The most that PagerDuty takes, in bytes.
MAX_BODY = 512 * 1024

_USABLE = 500_000
_LONGEST_SUMMARY = 1024
_SEVERITIES = {"critical", "error", "warning", "info"}


class PagerDuty:
    """PagerDuty's Events API, version 2.

    The event id is the key by which PagerDuty knows an alert: another trigger is part
    of the alert that is open.

    Args:
        key: The integration key of a service. It is a part of what is sent.
        url: The root URL of PagerDuty; there is another one for Europe.

    Source:
        https://developer.pagerduty.com/docs/events-api-v2-overview
    """

    name = "pagerduty"

    def __init__(self, key: str, url: str = "https://events.pagerduty.com") -> None:
        self._key = key
        self._endpoint = f"{url.rstrip('/')}/v2/enqueue"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key=…)"

    def request(self, event: Event, *, budget: float = 1.0) -> Request:
        """Return what tells PagerDuty about an event; the same for the same arguments.

        Args:
            event: The event. A tag ``severity`` counts if it is one of PagerDuty's;
                else it is an ``error``. The source is the tag ``host``, ``stream`` or
                ``project``.
            budget: How much of 500,000 bytes may be used, from 0 to 1.
        """
        event = readable(event)
        summary = (event.summary or event.key)[:_LONGEST_SUMMARY]
        event = replace(event, summary=summary)
        tags = event.tags
        severity = tags.get("severity", "").lower()
        places = (tags.get(name, "") for name in ("host", "stream", "project"))
        always = {
            "severity": severity if severity in _SEVERITIES else "error",
            "source": next(filter(None, places), "pysys")[:_LONGEST_SUMMARY],
        }

        def encode(event: Event) -> bytes:
            return self._body(event, always)

        body = encode(fitted(event, body_limit(_USABLE, budget), encode))
        return Request(url=self._endpoint, body=body)

    def judge(self, event: Event, answer: Answer) -> Verdict:
        """Say what an answer means."""
        del event  # they are all alike
        return judge_status(answer)

    def _body(self, event: Event, always: dict[str, str]) -> bytes:
        fields: dict[str, object] = {
            "routing_key": self._key,
            "event_action": event.action,
            "dedup_key": event.key,
        }
        if event.action is Action.RESOLVE:
            return json_body(fields)
        fields["payload"] = {
            **always,
            "summary": event.summary,
            "custom_details": {"details": event.details, "tags": dict(event.tags)},
        }
        if link := web_link(event.link):
            fields["links"] = [{"href": link, "text": "Where this comes from"}]
        return json_body(fields)

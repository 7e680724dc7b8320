"""SquadCast: its incident webhook."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from pysys_orch.escalation.fitting import body_limit, fitted, json_body, readable
from pysys_orch.escalation.incident import Action, Answer, Event, Request, Verdict
from pysys_orch.escalation.transport import judge_status

#: The most that SquadCast takes, in characters of JSON that is written in ASCII.
MAX_BODY = 30_000

# Whether SquadCast counts 30,000 or 30,720, and blanks or not, nobody says.
_USABLE = 28_000


class SquadCast:
    """SquadCast's incident webhook.

    Args:
        key: The key of the webhook, which is the last part of its URL.
        url: The root URL of SquadCast; there is another one for Europe.

    Source:
        SquadCast's documentation of its incident webhook, v2.
    """

    name = "squadcast"

    def __init__(self, key: str, url: str = "https://api.squadcast.com") -> None:
        self._endpoint = f"{url.rstrip('/')}/v2/incidents/api/{quote(key, safe='')}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key=…)"

    def request(self, event: Event, *, budget: float = 1.0) -> Request:
        """Return what tells SquadCast about an event; the same for the same arguments.

        The description is shortened until it fits; tags and message are, only if there
        is no room for them alone. Whatever an event says, there is a request.

        Args:
            event: The event. Its link begins the description, unless it is in there.
            budget: How much of 28,000 characters may be used, from 0 to 1; 1,000 may
                be used in any case.
        """
        event = readable(event)
        summary = event.summary or event.key
        details = event.details
        if event.link not in details:
            details = f"{event.link}\n\n{details}".rstrip()
        # The mock requires a description, whatever the real one does.
        event = replace(event, summary=summary, details=details or summary)
        limit = body_limit(_USABLE, budget)
        body = _body(fitted(event, limit, _body))
        return Request(url=self._endpoint, body=body)

    def judge(self, event: Event, answer: Answer) -> Verdict:
        """Say what an answer means.

        If an incident is there already, then a trigger has what it wanted.
        """
        is_known = answer.status == 400 and "already exist" in answer.text.lower()
        if is_known and event.action is Action.TRIGGER:
            return Verdict.DELIVERED
        return judge_status(answer)


def _body(event: Event) -> bytes:
    fields: dict[str, object] = {
        "event_id": event.key,
        "status": event.action,
        "message": event.summary,
        "description": event.details,
    }
    if event.action is Action.TRIGGER:
        fields["tags"] = dict(event.tags)
    return json_body(fields)

"""SquadCast: its incident webhook, and how what is told fits into a request."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from urllib.parse import quote

from pysys_orch.escalation.incident import Action, Answer, Event, Request, Verdict
from pysys_orch.escalation.transport import judge_status

#: The most that SquadCast takes, in characters of JSON that is written in ASCII.
MAX_BODY = 30_000

# Whether SquadCast counts 30,000 or 30,720, and blanks or not, nobody says.
_USABLE = 28_000

#: What a body may take however little is wanted: an id and a few words need it.
LEAST_BODY = 1_000

# What is left to the details where tags and summary are cut for them.
_LEAST_DETAILS = 100
_SHARES = (3, 6, 12, 24, 48)
_LONGEST_NAME = 100
_AROUND_TAG = len('"": "", ')

_LINK = re.compile(
    r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?#].*)?", re.DOTALL
)
_LONGEST_LINK = 2_000
_PART_OF_URL = "%/:?#[]@!$&'()*+,;=~"

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


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


# What services have in common.


def json_body(fields: object) -> bytes:
    """Write JSON in ASCII, so that its length is the same to all who may count it."""
    return json.dumps(fields, sort_keys=True, allow_nan=False).encode()


def json_length(text: str) -> int:
    """Return how many characters a text takes inside such JSON, without the quotes."""
    return len(json.dumps(text)) - 2


def body_limit(most: int, budget: float) -> int:
    """Return how long a body may be.

    Args:
        most: With all of the budget.
        budget: From 0 to 1. `LEAST_BODY` is left by any.
    """
    return max(LEAST_BODY, int(most * min(max(budget, 0.0), 1.0)))


def readable(event: Event) -> Event:
    """Return an event without what makes some service or database refuse a text.

    Those are control characters, and halves of characters, that no UTF-8 can say.
    """
    return replace(
        event,
        summary=_readable(event.summary),
        details=_readable(event.details),
        link=_readable(event.link),
        tags={_readable(name): _readable(each) for name, each in event.tags.items()},
    )


def web_link(text: str) -> str:
    """Return a link as services take it; empty if none would.

    Some refuse all of what they are told if a link in it is odd.
    """
    if _LINK.fullmatch(text) is None:
        return ""
    whole = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    link = quote(whole, safe=_PART_OF_URL)
    return link if len(link) <= _LONGEST_LINK else ""


def _readable(text: str) -> str:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _UNSEEN.sub("", _ESCAPES.sub("", whole))


def fitted(event: Event, limit: int, encode: Callable[[Event], bytes]) -> Event:
    """Return an event with so much left out that its body fits, if any can.

    Args:
        event: The event.
        limit: How long its body may be.
        encode: Writes the body. Each character of the details takes the same room in
            it, wherever it is.
    """
    if len(encode(event)) <= limit:
        return event
    bare = replace(event, details="x")
    for share in _SHARES:
        if len(encode(bare)) + _LEAST_DETAILS <= limit:
            break
        room = limit // share
        bare = replace(
            bare,
            summary=clipped(event.summary, room),
            tags=_fewer(event.tags, room),
            link=event.link if json_length(event.link) <= room else "",
        )
    one, two = (len(encode(replace(bare, details="x" * count))) for count in (1, 2))
    room = 1 + (limit - one) // (two - one) if two > one else 0
    return replace(bare, details=shortened(event.details, room) or "-")


def _fewer(tags: Mapping[str, str], room: int) -> dict[str, str]:
    """Return those tags for which there is room, cut to a share of it."""
    kept = {}
    longest = room // 4
    for name, value in sorted(tags.items()):
        short = clipped(name, min(_LONGEST_NAME, longest))
        text = clipped(value, longest)
        room -= json_length(short) + json_length(text) + _AROUND_TAG
        if room < 0:
            break
        kept[short] = text
    return kept


def shortened(text: str, room: int) -> str:
    r"""Leave out lines at the end of a text until it fits, and say how many.

    If not even the first line fits, that is cut. The result always fits.

    Args:
        text: The text.
        room: How many characters of JSON in ASCII it may take.

    Example:
        >>> shortened("The first line.\n" + "More.\n" * 9, 50)
        'The first line.\n… shortened: 9 more lines'
    """
    if json_length(text) <= room:
        return text
    lines = text.removesuffix("\n").split("\n")
    ends = list(accumulate(json_length(f"{line}\n") for line in lines))
    kept = bisect_right(ends, room)
    while kept and ends[kept - 1] + json_length(_note(lines, kept)) > room:
        kept -= 1
    if kept:
        return "\n".join([*lines[:kept], _note(lines, kept)])
    if len(lines) == 1:
        return clipped(text, room)
    note = f"\n{_note(lines, 1)}"
    left = room - json_length(note)
    return clipped(lines[0], left) + note if left > 0 else clipped(text, room)


def _note(lines: Sequence[str], kept: int) -> str:
    more = len(lines) - kept
    return f"… shortened: {more:,} more line{'' if more == 1 else 's'}"


def clipped(text: str, room: int) -> str:
    """Leave out the end of a text until it fits, with an ellipsis in its place.

    Args:
        text: The text.
        room: How many characters of JSON in ASCII it may take. If that is too little
            for an ellipsis, there is none.
    """
    if room <= 0:
        return ""
    # No character takes less than one, so what is beyond cannot fit.
    head = text[: room + 1]
    if len(head) == len(text) and json_length(text) <= room:
        return text
    ellipsis = "…" if room > json_length("…") else ""
    ends = list(accumulate(json_length(each) for each in head))
    return head[: bisect_right(ends, room - json_length(ellipsis))] + ellipsis

"""How what is told fits into what a service takes."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from urllib.parse import quote

from pysys_orch.escalation.incident import Event

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

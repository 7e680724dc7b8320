"""What somebody is told about: incidents that open, and those that are over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, Self

#: What every event id begins with.
PREFIX = "pysys-"

_DIGITS = 24


class Action(StrEnum):
    """What is to happen to an incident."""

    TRIGGER = "trigger"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to tell a service about an incident.

    Attributes:
        key: The incident's event id: the same as long as it is about the same thing,
            over restarts, hosts and episodes.
        action: Whether it opens or is over.
        summary: One line, at most 200 characters.
        details: Markdown; what a resolve says is often shown nowhere.
        tags: What services route and filter by.
        link: Where more is to be read; empty if nowhere.
    """

    key: str
    action: Action
    summary: str
    details: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    link: str = ""

    def to_json(self) -> str:
        """Write it so that `from_json` reads it; equal events give equal texts."""
        return json.dumps(
            {
                "key": self.key,
                "action": self.action,
                "summary": self.summary,
                "details": self.details,
                "tags": dict(self.tags),
                "link": self.link,
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        said = json.loads(text)
        return cls(**{**said, "action": Action(said["action"])})


def event_id(*parts: str) -> str:
    """Return the id of whatever *parts* stand for together, in this order.

    It depends on nothing else, so whoever has lost all memory finds it again.

    Example:
        >>> event_id("shop", "main", "suite", "nightly-main")
        'pysys-5b114792bb28ff74100b2146'
    """
    told = json.dumps(parts).encode()
    return PREFIX + hashlib.sha256(told).hexdigest()[:_DIGITS]


def address(service: str, *place: str) -> str:
    """Return what letters to one account of a service have on their envelope.

    Args:
        service: The service's name.
        place: Where the account is: its URL, and where its key comes from; not the key,
            which may be another one tomorrow.
    """
    told = json.dumps(place).encode()
    return f"{service}@{hashlib.sha256(told).hexdigest()[:8]}"


# How a service is spoken to.


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP POST.

    Attributes:
        url: Where to. It may have a key in it, and is shown nowhere.
        body: What.
        headers: More headers; they may have a key in them, too.
    """

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status; 0 if there was no answer.
        text: The beginning of its body; or why there was none.
        retry_after: Seconds for which the service wants to be left alone, if it says.
        content_type: Of the body, without parameters.
    """

    status: int
    text: str = ""
    retry_after: float | None = None
    content_type: str = ""


class Verdict(StrEnum):
    """What an answer means for an event."""

    DELIVERED = "delivered"
    LATER = "later"  # the same again, in a while
    TOO_LARGE = "too large"  # less of it, at once
    REFUSED = "refused"  # the same again would be refused again


class Service(Protocol):
    """Somewhere incidents are opened and resolved."""

    #: What to call it.
    name: str

    def request(self, event: Event, *, budget: float = 1.0) -> Request:
        """Return what tells it about an event; the same for the same arguments.

        Args:
            event: The event.
            budget: How much of the size that it takes may be used, from 0 to 1.
        """
        ...

    def judge(self, event: Event, answer: Answer) -> Verdict:
        """Say what an answer means."""
        ...


class Transport(Protocol):
    """How requests travel."""

    def __call__(self, request: Request, *, timeout: float) -> Answer:
        """Send a request, and return the answer, or why there is none.

        It raises nothing, follows no redirect, and is done within *timeout* seconds,
        whatever the other side does.
        """
        ...

"""What an engine holds, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum


class Kind(StrEnum):
    """What can be made on an engine, in the order in which it can be removed.

    A network is removable only once its containers are gone, a secret only once its
    services are; so the order of the members matters.
    """

    SERVICE = "service"
    CONTAINER = "container"
    NETWORK = "network"
    VOLUME = "volume"
    SECRET = "secret"  # noqa: S105 -- a word, not one
    CONFIG = "config"
    IMAGE = "image"
    SWARM = "swarm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One thing on an engine.

    Attributes:
        kind: What it is.
        id: What to call it when speaking to the engine: an id, for a volume its name,
            for an image one of its tags.
        name: What people call it.
    """

    kind: Kind
    id: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A resource as the engine lists it.

    Attributes:
        resource: The resource.
        created: When it was made, for an image when it was last tagged; by the
            engine's clock.
        labels: Its labels.
    """

    resource: Resource
    created: datetime
    labels: Mapping[str, str] = field(default_factory=dict)


def read_stamp(text: str) -> datetime:
    """Read the engine's RFC 3339; what it does not know is very long ago."""
    head, dot, tail = text.partition(".")
    if dot:  # nanoseconds are three digits more than a datetime holds
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[: min(digits, 6)]}{tail[digits:]}"
    try:
        stamp = datetime.fromisoformat(text)
        return stamp.astimezone(UTC) if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)

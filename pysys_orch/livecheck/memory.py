"""Health as a text, and read again."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.models import State
from pysys_orch.livecheck.recent import Recent
from pysys_orch.livecheck.ring import Bucket, Ring
from pysys_orch.livecheck.tally import Tally, Watch
from pysys_orch.livecheck.troubles import Trouble, Troubles

_TROUBLES = ("failing", "stalled", "down")
_RINGS = ("ratio", "long", "short", "budget")


def text_of_health(health: Health) -> str:
    """Write a health so that `health_of_text` reads it."""
    said = {
        "status": health.status,
        "last": health.last,
        "tally": health.tally._asdict(),
        "watch": health.watch._asdict(),
        "troubles": asdict(health.troubles),
        "recent": asdict(health.recent),
    }
    return json.dumps(said)


def health_of_text(text: str) -> Health:
    """Return the health that was written.

    Raises:
        ValueError: It is none.
    """
    try:
        said = json.loads(text)
        troubles, recent = said["troubles"], said["recent"]
        return Health(
            State(said["status"]),
            State(said["last"]),
            Tally(**said["tally"]),
            Watch(**said["watch"]),
            Troubles(
                **{**troubles, **{it: _trouble(troubles[it]) for it in _TROUBLES}}
            ),
            Recent(**{**recent, **{it: _ring(recent[it]) for it in _RINGS}}),
        )
    except (KeyError, TypeError) as failure:
        message = f"it is no health of a case: {failure!r}"
        raise ValueError(message) from failure


def _trouble(said: dict[str, Any] | None) -> Trouble | None:
    return None if said is None else Trouble(**said)


def _ring(said: dict[str, Any] | None) -> Ring | None:
    if said is None:
        return None
    earlier = tuple(Bucket(*each) for each in said["earlier"])
    return Ring(**{**said, "latest": Bucket(*said["latest"]), "earlier": earlier})

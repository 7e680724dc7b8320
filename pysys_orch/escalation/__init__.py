"""Wakes somebody when a suite breaks, and tells them when it is well again.

Each name is imported when it is first used: who only escalates needs no HTTP server.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pysys_orch.escalation.mock import Fault, MockSquadCast, Received
    from pysys_orch.escalation.writer import (
        AlertmanagerWriter,
        EscalationWriter,
        PagerDutyWriter,
        SquadCastWriter,
        WebhookWriter,
    )

__all__ = [
    "AlertmanagerWriter",
    "EscalationWriter",
    "Fault",
    "MockSquadCast",
    "PagerDutyWriter",
    "Received",
    "SquadCastWriter",
    "WebhookWriter",
]

_HOMES = {
    "AlertmanagerWriter": "writer",
    "EscalationWriter": "writer",
    "Fault": "mock",
    "MockSquadCast": "mock",
    "PagerDutyWriter": "writer",
    "Received": "mock",
    "SquadCastWriter": "writer",
    "WebhookWriter": "writer",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    value: object = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

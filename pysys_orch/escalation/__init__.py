"""Wakes somebody when a suite breaks, and tells them when it is well again.

Each name is imported when it is first used: who only escalates needs no HTTP server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysys_orch.lazy import exports

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

__getattr__, __dir__ = exports(__name__, _HOMES)

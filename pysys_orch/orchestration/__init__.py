"""Events that fire on time, for minutes or for days, as a description says.

Each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysys_orch.lazy import exports

if TYPE_CHECKING:
    from pysys_orch.orchestration.description import (
        After,
        Description,
        Event,
        Failure,
        Phase,
    )
    from pysys_orch.orchestration.descriptors import OrchestrationLoader
    from pysys_orch.orchestration.fixtures import fixture
    from pysys_orch.orchestration.reporter import ResultReporter
    from pysys_orch.orchestration.session import Report
    from pysys_orch.orchestration.switch import KillSwitch
    from pysys_orch.orchestration.testcase import (
        OrchestrationFront,
        OrchestrationTest,
        OrchestrationTestHelper,
    )

__all__ = [
    "After",
    "Description",
    "Event",
    "Failure",
    "KillSwitch",
    "OrchestrationFront",
    "OrchestrationLoader",
    "OrchestrationTest",
    "OrchestrationTestHelper",
    "Phase",
    "Report",
    "ResultReporter",
    "fixture",
]

_HOMES = {
    "After": "description",
    "Description": "description",
    "Event": "description",
    "Failure": "description",
    "KillSwitch": "switch",
    "OrchestrationFront": "testcase",
    "OrchestrationLoader": "descriptors",
    "OrchestrationTest": "testcase",
    "OrchestrationTestHelper": "testcase",
    "Phase": "description",
    "Report": "session",
    "ResultReporter": "reporter",
    "fixture": "fixtures",
}

__getattr__, __dir__ = exports(__name__, _HOMES)

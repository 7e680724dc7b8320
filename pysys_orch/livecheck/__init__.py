"""Test cases that watch live traffic end to end, and know whether each is healthy.

Each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysys_orch.lazy import exports

if TYPE_CHECKING:
    from pysys_orch.livecheck.app import LiveCheck
    from pysys_orch.livecheck.bus import Bus, LocalBus, Topic
    from pysys_orch.livecheck.case import Case
    from pysys_orch.livecheck.context import current_execution, current_test
    from pysys_orch.livecheck.exceptions import (
        LiveCheckError,
        LiveCheckTestFailed,
        LiveCheckTestRaised,
        LiveCheckTestSkipped,
        LiveCheckTestTimeout,
        MessageError,
        ServiceDown,
        SuiteFailed,
        SuiteStalled,
    )
    from pysys_orch.livecheck.models import (
        SignalEvent,
        State,
        TestExecution,
        TestReport,
    )
    from pysys_orch.livecheck.policy import Budget, FailureRatio, Flapping, Policy
    from pysys_orch.livecheck.receiver import Receiver
    from pysys_orch.livecheck.requests import (
        aiohttp_session,
        current_headers,
        livecheck_middleware,
        requests_session,
    )
    from pysys_orch.livecheck.runner import TestRunner
    from pysys_orch.livecheck.running import RunningLiveCheck
    from pysys_orch.livecheck.signals import Signal
    from pysys_orch.livecheck.testcase import LiveCheckTest, LiveCheckTestHelper
    from pysys_orch.livecheck.troubles import Condition

__all__ = [
    "Budget",
    "Bus",
    "Case",
    "Condition",
    "FailureRatio",
    "Flapping",
    "LiveCheck",
    "LiveCheckError",
    "LiveCheckTest",
    "LiveCheckTestFailed",
    "LiveCheckTestHelper",
    "LiveCheckTestRaised",
    "LiveCheckTestSkipped",
    "LiveCheckTestTimeout",
    "LocalBus",
    "MessageError",
    "Policy",
    "Receiver",
    "RunningLiveCheck",
    "ServiceDown",
    "Signal",
    "SignalEvent",
    "State",
    "SuiteFailed",
    "SuiteStalled",
    "TestExecution",
    "TestReport",
    "TestRunner",
    "Topic",
    "aiohttp_session",
    "current_execution",
    "current_headers",
    "current_test",
    "livecheck_middleware",
    "requests_session",
]

_HOMES = {
    "Budget": "policy",
    "Bus": "bus",
    "Case": "case",
    "Condition": "troubles",
    "FailureRatio": "policy",
    "Flapping": "policy",
    "LiveCheck": "app",
    "LiveCheckError": "exceptions",
    "LiveCheckTest": "testcase",
    "LiveCheckTestFailed": "exceptions",
    "LiveCheckTestHelper": "testcase",
    "LiveCheckTestRaised": "exceptions",
    "LiveCheckTestSkipped": "exceptions",
    "LiveCheckTestTimeout": "exceptions",
    "LocalBus": "bus",
    "MessageError": "exceptions",
    "Policy": "policy",
    "Receiver": "receiver",
    "RunningLiveCheck": "running",
    "ServiceDown": "exceptions",
    "Signal": "signals",
    "SignalEvent": "models",
    "State": "models",
    "SuiteFailed": "exceptions",
    "SuiteStalled": "exceptions",
    "TestExecution": "models",
    "TestReport": "models",
    "TestRunner": "runner",
    "Topic": "bus",
    "aiohttp_session": "requests",
    "current_execution": "context",
    "current_headers": "requests",
    "current_test": "context",
    "livecheck_middleware": "requests",
    "requests_session": "requests",
}

__getattr__, __dir__ = exports(__name__, _HOMES)

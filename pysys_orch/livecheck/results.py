"""Results of their own for what PySys takes to be one test."""

from __future__ import annotations

import copy
import logging
from typing import Any

from pysys_orch.clock import Clock
from pysys_orch.livecheck.names import safe_name

log = logging.getLogger("pysys.orch.livecheck")

# What a test has that tells the names of its parts.
_NAMES = "_livecheckNames"


def report_result(
    owner: Any,
    part: str,
    outcome: Any,
    reason: str,
    *,
    clock: Clock,
    seconds: float,
    record: list[str] | None = None,
) -> bool:
    """Report a result for a part of a test, as that of a test of its own.

    It is in the console, the exit status, and what writers write, and is called
    ``TEST.PART``, or ``TEST.PART.2`` if the test has such a part already. PySys 2.2 has
    this, but calls it internal: where it is not as expected nothing is reported.

    Args:
        owner: The test.
        part: What the part is called.
        outcome: Its outcome.
        reason: Why.
        clock: What tells the time.
        seconds: How long it took.
        record: Where the reason is to be found, as PySys says it.

    Returns:
        Whether it is reported.
    """
    from pysys.basetest import BaseTest

    try:
        descriptor = copy.copy(owner.descriptor)
        mode = descriptor.mode
        # What writers write has that name, and would take the place of another.
        taken: set[str] = owner.__dict__.setdefault(_NAMES, set())
        named = safe_name(part, taken)
        taken.add(named.casefold())
        name = f"{descriptor.idWithoutMode}.{named}"
        descriptor.setId(name)
        if mode:
            descriptor.id = f"{name}~{mode}"
        descriptor.title = f"{descriptor.title} - {part}"
        # What is said of the test would become attributes of the part.
        descriptor.userData = {}
        one = BaseTest(descriptor, "", owner.runner)
        one.output, one.testCycle = owner.output, owner.testCycle
        one.addOutcome(outcome, reason, abortOnError=False, callRecord=record)
        owner.runner.reportTestOutcome(
            one,
            clock.stamp().timestamp() - seconds,
            seconds,
            cycle=max(0, (owner.testCycle or 0) - 1),
        )
    except Exception as failure:  # noqa: BLE001 -- whatever another PySys raises
        log.warning("PySys has no result for %s of its own: %s", part, failure)
        return False
    return True

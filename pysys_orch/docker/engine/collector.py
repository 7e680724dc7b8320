"""What a run removes: all that it has at its end, and what dead ones left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from pysys_orch.clock import Clock
from pysys_orch.docker.engine.collect import (
    Engine,
    Policy,
    Report,
    look,
    plan_collection,
    sweep,
)
from pysys_orch.docker.engine.model import Found
from pysys_orch.docker.engine.ownership import Owner, owner_of

log = logging.getLogger("pysys.orch.docker")


class Collector:
    """Removes things from engines on behalf of one run. Threads share it.

    Args:
        owner: The run.
        lease: Seconds for which an owner elsewhere may be silent if it did not say
            itself.
        retention_days: Days for which an image is kept after its last use.
        clock: What to wait on for what is in use.
    """

    def __init__(
        self, owner: Owner, *, lease: float, retention_days: float, clock: Clock
    ) -> None:
        self._owner = owner
        self._lease = lease
        self._retention_days = retention_days
        self._clock = clock

    def leave(self, engine: Engine, *, is_in_haste: Callable[[], bool]) -> Report:
        """Remove what the run has, now that it ends, and what dead ones left.

        What others left must not make this run wait, nor fail: there may be a reason
        why they could not remove it.

        Args:
            engine: Where.
            is_in_haste: Tells whether what others left is to stay.

        Raises:
            DockerError: The engine does not answer.
        """
        listing, now = look(engine)
        report = self._remove_own(engine, listing, now)
        if is_in_haste():
            return report
        others = self._collect(engine, listing, now)
        return Report(removed=report.removed + others.removed, failures=report.failures)

    def leave_node(self, engine: Engine) -> Report:
        """Remove what the run has on another node of its swarm.

        What others have there is not judged: the signs of their lives may be elsewhere.

        Raises:
            DockerError: The engine does not answer.
        """
        return self._remove_own(engine, *look(engine, dated=False))

    def collect(self, engine: Engine) -> Report:
        """Remove what others left, and are dead.

        Raises:
            DockerError: The engine does not answer.
        """
        return self._collect(engine, *look(engine, dated=False))

    def _remove_own(
        self, engine: Engine, listing: Iterable[Found], now: datetime
    ) -> Report:
        mine = [found for found in listing if owner_of(found) == self._owner]
        plan = plan_collection(mine, now=now, policy=self._policy())
        return sweep(engine, plan, clock=self._clock)

    def _collect(
        self, engine: Engine, listing: Iterable[Found], now: datetime
    ) -> Report:
        rest = [found for found in listing if owner_of(found) != self._owner]
        plan = plan_collection(rest, now=now, policy=self._policy())
        others = sweep(engine, plan, clock=self._clock, patience=0.0)
        for failure in others.failures:
            log.info("Could not collect: %s", failure)
        return others

    def _policy(self) -> Policy:
        return Policy.here(
            lease=self._lease,
            retention_days=self._retention_days,
            known=(self._owner,),  # what is removed of its own goes with its end
        )

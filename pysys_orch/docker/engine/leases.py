"""A run's signs of life on its engines, for those who cannot ask its kernel."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Protocol

from pysys_orch.clock import Clock
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import LEASE_LABEL, Owner, lease_name
from pysys_orch.errors import DockerError

_RENEWALS = 3  # within a term: the lease outlives two that fail
_RENEWAL_TIMEOUT = 5.0


class Engine(Protocol):
    """What is asked of an engine."""

    def create_volume(self, name: str, labels: Mapping[str, str]) -> object:
        """Create a volume."""
        ...

    def remove(self, resource: Resource) -> None:
        """Remove one thing, or raise an `EngineAnswerError`."""
        ...


class Leases:
    """A marker on each engine: a volume, whose age by the engine's clock tells.

    Args:
        owner: The run.
        labels: Those of what no test of the run owns alone.
        term: Seconds for which a marker is good.
        numbers: What tells apart the names of all that the run makes.
        clock: What to wait on between two renewals.
        over: Set when the run ends.
    """

    def __init__(
        self,
        owner: Owner,
        *,
        labels: Mapping[str, str],
        term: float,
        numbers: Iterator[int],
        clock: Clock,
        over: threading.Event,
    ) -> None:
        self._owner = owner
        self._labels = {**labels, LEASE_LABEL: f"{term:g}"}
        self._term = term
        self._numbers = numbers
        self._clock = clock
        self._over = over
        self._names: dict[Engine, str] = {}
        self._renewals: list[threading.Thread] = []

    def names(self) -> set[str]:
        """Return what the markers are called at present."""
        return set(self._names.values())

    def keep(self, engine: Engine) -> None:
        """Leave a marker on an engine, and renew it until the run is over.

        Raises:
            DockerError: It cannot be left.
        """
        self._mark(engine)
        # Each has a thread: one that is silent must not keep the others waiting.
        renewal = threading.Thread(
            target=self._renew, args=(engine,), name="orch-lease", daemon=True
        )
        self._renewals.append(renewal)
        renewal.start()

    def join(self) -> None:
        """Wait until none is renewed any more, once the run is over."""
        for renewal in self._renewals:
            # One that waits for an engine that is silent is not waited for.
            renewal.join(_RENEWAL_TIMEOUT)

    def _mark(self, engine: Engine) -> None:
        name = lease_name(self._owner, next(self._numbers))
        engine.create_volume(name, self._labels)
        before = self._names.get(engine)
        self._names[engine] = name
        if before is not None:
            engine.remove(Resource(kind=Kind.VOLUME, id=before, name=before))

    def _renew(self, engine: Engine) -> None:
        period = self._term / _RENEWALS
        while self._clock.wait_until(self._clock.instant() + period, self._over):
            with contextlib.suppress(DockerError):  # the engine may be restarting
                self._mark(engine)

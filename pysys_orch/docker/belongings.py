"""What one test has on engines, and how it is given back when the test ends."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pysys_orch.clock import Clock
from pysys_orch.docker.engine.collect import PARALLEL_REMOVALS, Doomed, sweep
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.parent import Parent, logsOf
from pysys_orch.errors import CleanupError, DockerError, SwarmInactiveError

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine

log = logging.getLogger("pysys.orch.docker")


class Belonging(Protocol):
    """Something that a test has on an engine, and that goes with the test."""

    displayName: str

    def resources(self) -> list[Resource]:
        """Return what to remove."""
        ...

    def engineInUse(self) -> ApiEngine | None:
        """Return the engine that it is on, or None if none was ever reached."""
        ...

    def leaveEvidence(self, folder: Path) -> None:
        """Write what explains a failure into *folder*."""
        ...

    def end(self) -> None:
        """Make it stop at once, and finish what is read from it."""
        ...

    def detach(self) -> None:
        """Stop reading from it, but leave it as it is."""
        ...


class Belongings:
    """What one parent has on engines, given back by a single cleanup function.

    One for all, since removals in parallel take a fraction of the time, and since what
    the test registered after its first container runs while all of them still live.

    Args:
        parent: Whose they are.
        keep: Whether they are kept, and told, if the parent has failed.
        clock: What to wait on for what is in use.
    """

    def __init__(self, parent: Parent, *, keep: bool, clock: Clock) -> None:
        self._parent = weakref.proxy(parent)
        self._keep = keep
        self._clock = clock
        self._things: list[Belonging] = []
        self._lock = threading.Lock()

    def add(self, thing: Belonging) -> None:
        """Have *thing* removed with its parent; called before it is made."""
        with self._lock:
            self._things.append(thing)
            first = len(self._things) == 1
        if first:
            self._parent.addCleanupFunction(self.give_back)

    def things(self) -> tuple[Belonging, ...]:
        """Return what the parent has."""
        with self._lock:
            return tuple(self._things)

    def give_back(self) -> None:
        """Leave evidence if the parent failed, and remove everything.

        Raises:
            CleanupError: Something could not be removed, or read to its end.
        """
        with self._lock:
            things, self._things = self._things, []
        failed = self._parent.getOutcome().isFailure()
        failures: list[Exception] = []
        with ThreadPoolExecutor(
            PARALLEL_REMOVALS, "orch-cleanup", initializer=logsOf(self._parent)
        ) as pool:
            if failed:
                folder = Path(self._parent.output)
                failures += _each(
                    pool, things, lambda thing: thing.leaveEvidence(folder)
                )
            if failed and self._keep:
                failures += _each(pool, things, lambda thing: thing.detach())
                _tell_kept(things)
            else:
                failures += _each(pool, things, lambda thing: thing.end())
                failures += self._remove(things)
        if failures:
            raise CleanupError(failures)

    def _remove(self, things: Iterable[Belonging]) -> list[Exception]:
        plans: dict[ApiEngine, list[Doomed]] = {}
        failures: list[Exception] = []
        for thing in things:
            engine = thing.engineInUse()
            if engine is None:
                continue
            try:
                resources = thing.resources()
            except SwarmInactiveError:
                continue  # whatever it had in a swarm went with that
            except DockerError as failure:
                failures.append(failure)
                continue
            plans.setdefault(engine, []).extend(
                Doomed(resource=each, reason="its test ends") for each in resources
            )
        order = list(Kind)
        for engine, plan in plans.items():
            plan.sort(key=lambda each: order.index(each.resource.kind))
            failures += sweep(engine, plan, clock=self._clock).failures
        return failures


def _tell_kept(things: Iterable[Belonging]) -> None:
    for thing in things:
        try:
            resources = thing.resources()
        except DockerError:
            continue  # what cannot be asked for cannot be told
        for resource in resources:
            log.warning("Kept %s (%s)", resource, thing.displayName)
            if resource.kind is Kind.CONTAINER:
                log.warning("  enter it:  docker exec -it %s sh", resource.name)
    log.warning("Remove all that was kept:  pysys-orch collect --kept")


def _each(
    pool: ThreadPoolExecutor,
    things: Iterable[Belonging],
    act: Callable[[Belonging], None],
) -> list[Exception]:
    """Do it to each of *things*, in parallel; return what went wrong."""

    def attempt(thing: Belonging) -> Exception | None:
        try:
            act(thing)
        except Exception as failure:  # noqa: BLE001 -- the others are cleaned up too
            return failure
        return None

    return [failure for failure in pool.map(attempt, things) if failure is not None]

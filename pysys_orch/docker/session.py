"""One run on its engines: how what it makes is called, whose it is, how it ends."""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pysys.process.user import ProcessUser

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.docker.belongings import Belongings
from pysys_orch.docker.engine.collect import Report
from pysys_orch.docker.engine.collector import Collector
from pysys_orch.docker.engine.engines import Engines
from pysys_orch.docker.engine.ownership import (
    owner_labels,
    resource_name,
    this_domain,
    this_owner,
)
from pysys_orch.docker.engine.pools import Pools
from pysys_orch.docker.parent import Parent, Runner
from pysys_orch.errors import CleanupError, DockerError
from pysys_orch.settings import DockerSettings, docker_settings

if TYPE_CHECKING:
    from pysys_orch.docker.compose import ComposeProgram
    from pysys_orch.docker.engine.client import ApiEngine
    from pysys_orch.docker.engine.fault import Claim, Remedy
    from pysys_orch.docker.engine.reaper import Reaper

log = logging.getLogger("pysys.orch.docker")

#: The file with what the run's reaper did, in the runner's output directory.
REAPER_LOG = "docker_reaper.log"

_DISMISSAL_TIMEOUT = 10.0


class Session:
    """One run on its engines: its name, its reaper, its end. Threads share it."""

    _known: ClassVar[weakref.WeakKeyDictionary[Any, Session]] = (
        weakref.WeakKeyDictionary()
    )
    _known_lock = threading.Lock()

    def __init__(self, runner: Runner, *, clock: Clock | None = None) -> None:
        self.settings: DockerSettings = docker_settings(runner.project, runner)
        self.clock = clock or SystemClock()
        self.owner = this_owner(this_domain(), self.clock)
        self.reaper: Reaper | None = None
        self._own_reaper: Reaper | None = None  # the plugin lets its one go itself
        #: Whether the docker client builds with BuildKit, once it was asked.
        self.buildkit: bool | None = None
        #: The compose program, once it was looked for.
        self.compose: ComposeProgram | None = None
        #: What faults that are in force need for themselves, and what they are called.
        self.claims: dict[Claim, str] = {}
        #: Held by whoever finds out one of these.
        self.lock = threading.RLock()
        self._numbers = itertools.count()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._belongings: weakref.WeakKeyDictionary[Any, Belongings] = (
            weakref.WeakKeyDictionary()
        )
        self._collector = Collector(
            self.owner,
            lease=self.settings.lease,
            retention_days=self.settings.retention_days,
            clock=self.clock,
        )
        #: The engines that it has reached.
        self.engines = Engines(
            self.owner,
            self.settings,
            labels=self._labels("", keep=False),
            numbers=self._numbers,
            clock=self.clock,
            over=self._over,
            on_another=self._watch,
        )
        #: The addresses that networks on them take.
        self.pools = Pools(self.owner, self._collector.collect)

    @classmethod
    def of(cls, parent: Parent) -> Session:
        """Return the session of the run that *parent* is, or is a test of.

        Raises:
            ConfigError: A project property or ``-X`` argument makes no sense.
        """
        runner = cast(Runner, getattr(parent, "runner", None) or parent)
        with cls._known_lock:
            session = cls._known.get(runner)
            if session is None:
                session = cls(runner)
                cls._known[runner] = session
                runner.addCleanupFunction(session.close)
            return session

    # Names --------------------------------------------------------------------

    def name(self, parent: Parent, role: str) -> str:
        """Return a new name for what plays *role* for *parent*."""
        return resource_name(self.owner, _test_id(parent), role, next(self._numbers))

    def short_name(self) -> str:
        """Return a new name that leaves room for what others append to it."""
        return resource_name(self.owner, "", "", next(self._numbers))

    def labels(self, parent: Parent) -> dict[str, str]:
        """Return the labels of what is made for *parent*."""
        return self._labels(_test_id(parent), keep=self.settings.keep)

    def _labels(self, test_id: str, *, keep: bool) -> dict[str, str]:
        return owner_labels(
            self.owner,
            test_id=test_id,
            lease=self.settings.lease,
            facts=self.settings.facts,
            keep=keep,
        )

    def belongings(self, parent: Parent) -> Belongings:
        """Return what *parent* has to give back."""
        with self._lock:
            if parent not in self._belongings:
                self._belongings[parent] = Belongings(
                    parent, keep=self.settings.keep, clock=self.clock
                )
            return self._belongings[parent]

    # Faults -------------------------------------------------------------------

    def promise(self, parent: Parent, engine: ApiEngine, remedy: Remedy) -> str:
        """Have a fault undone if the run dies, in time; it begins after this only.

        A run without `DockerRunnerPlugin` gets its reaper now.

        Args:
            parent: Whose fault it is.
            engine: Where it is.
            remedy: How to undo it.

        Returns:
            What to call it when it is `healed`.
        """
        with self._lock:
            if self.reaper is None:
                self._start_reaper(parent)
            name = str(next(self._numbers))
            environment = self.engines.address_of(engine)
            before = self.reaper
            if before is None or before.promise(name, environment, remedy):
                return name
            log.warning("Docker: the reaper has ended, another one takes its place")
            self._start_reaper(parent)
            after = self.reaper
            if after is None or after is before or not after.take_over(before):
                log.warning(
                    "Docker: no reaper, %s of container %s stays undone if the run is "
                    "killed",
                    remedy.action,
                    remedy.container[:12],
                )
        return name

    def healed(self, name: str) -> None:
        """Say that what was promised is undone."""
        if self.reaper is not None:
            self.reaper.healed(name)

    def _start_reaper(self, parent: Parent) -> None:
        from pysys_orch.docker.engine.reaper import Reaper

        runner = cast(Runner, getattr(parent, "runner", None) or parent)
        folder = Path(runner.output)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            reaper = Reaper.start(self.owner, self.settings, folder / REAPER_LOG)
        except OSError as failure:
            log.warning(
                "Docker: no reaper, faults on what is not of this run stay in force if "
                "it is killed: %s",
                failure,
            )
            return
        self.reaper = self._own_reaper = reaper

    def _watch(self, address: Mapping[str, str]) -> None:
        """Have the reaper look also on the engine at this address."""
        if self.reaper is not None:
            self.reaper.watch(address)

    # Its end ------------------------------------------------------------------

    def close(self) -> None:
        """End the run on its engines: nothing that it owned is there afterwards.

        Raises:
            CleanupError: Something is.
        """
        with self._lock:
            if self._over.is_set():
                return
            self._over.set()
        engines, nodes = self.engines.by_place()
        self.engines.quieten()
        failures: list[Exception] = []
        report = Report()
        for engine in engines:
            try:
                report += self._collector.leave(
                    engine, is_in_haste=lambda: ProcessUser.isRunnerAborting
                )
            except DockerError as failure:
                failures.append(failure)
            engine.close()
        # After the manager, which would start again what is removed there.
        for address in nodes:
            try:
                report += self._leave_node(address)
            except DockerError as failure:
                log.warning("What is left there is not collected: %s", failure)
        for engine in nodes.values():
            engine.close()
        leases = self.engines.leases()
        left = [each for each in report.removed if each.resource.name not in leases]
        for each in left:
            log.info("Removed %s: %s", each.resource, each.reason)
        failures += report.failures
        if self._own_reaper is not None:
            self._own_reaper.dismiss(_DISMISSAL_TIMEOUT)
        if failures:
            raise CleanupError(failures)

    def _leave_node(self, address: str) -> Report:
        # Anew, since a node that has died meanwhile is not waited for as long.
        engine = self.engines.anew(address)
        try:
            return self._collector.leave_node(engine)
        finally:
            engine.close()


def _test_id(parent: Parent) -> str:
    """Return the id of a test with its cycle, or nothing for a runner."""
    descriptor = getattr(parent, "descriptor", None)
    if descriptor is None:
        return ""
    cycle = getattr(parent, "testCycle", 0)
    return f"{descriptor.id}.cycle{cycle:03}" if cycle else str(descriptor.id)

"""What the tests of one run share, and what each of them has to give back."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

from pysys.process.user import ProcessUser

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.docker.engine.collect import (
    PARALLEL_REMOVALS,
    Doomed,
    Policy,
    Report,
    look,
    plan_collection,
    sweep,
)
from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.networks import (
    is_exhausted,
    lacks_addresses,
    told_exhausted,
)
from pysys_orch.docker.engine.ownership import (
    LEASE_LABEL,
    MARKER_VARIABLE,
    lease_name,
    owner_labels,
    owner_of,
    resource_name,
    this_domain,
    this_owner,
)
from pysys_orch.docker.engine.reach import Reach, choose_reach, look_around
from pysys_orch.docker.parent import Parent, Runner, logsOf
from pysys_orch.errors import (
    CleanupError,
    DockerError,
    EngineUnreachableError,
    SwarmInactiveError,
)
from pysys_orch.settings import DockerSettings, docker_settings

if TYPE_CHECKING:
    from pysys_orch.docker.compose import ComposeProgram
    from pysys_orch.docker.engine.client import ApiEngine
    from pysys_orch.docker.engine.events import EventHub
    from pysys_orch.docker.engine.fault import Claim, Remedy
    from pysys_orch.docker.engine.reaper import Reaper

_T = TypeVar("_T")

log = logging.getLogger("pysys.orch.docker")

#: The file with what the run's reaper did, in the runner's output directory.
REAPER_LOG = "docker_reaper.log"

#: What of a client's environment decides which engine it speaks to.
_ADDRESS = (
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_CERT_PATH",
    "DOCKER_HOST",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
)
_RENEWAL_TIMEOUT = 5.0
_SWARM_PATIENCE = 10.0  # with one that another run begins at this moment
_SWARM_POLL = 0.05
_DISMISSAL_TIMEOUT = 10.0
_FORGET_FAILURE_AFTER = 30.0  # an engine that was down may be up again


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


class Session:
    """One run on its engines: its name, its lease, its reaper. Threads share it."""

    _known: ClassVar[weakref.WeakKeyDictionary[Any, Session]] = (
        weakref.WeakKeyDictionary()
    )
    _known_lock = threading.Lock()

    def __init__(self, runner: Runner, *, clock: Clock | None = None) -> None:
        self.settings: DockerSettings = docker_settings(runner.project, runner)
        self.clock = clock or SystemClock()
        self.domain = this_domain()
        self.owner = this_owner(self.domain, self.clock)
        self.reaper: Reaper | None = None
        self._own_reaper: Reaper | None = None  # the plugin lets its one go itself
        #: Whether this run begins a swarm where it needs one.
        self.begins_swarm = False
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
        self._engines: dict[tuple[str, ...], ApiEngine] = {}
        self._failures: dict[tuple[str, ...], tuple[float, DockerError]] = {}
        self._nodes: dict[str, ApiEngine] = {}
        self._hubs: dict[ApiEngine, EventHub] = {}
        self._reaches: dict[ApiEngine, Reach] = {}
        self._reach_lock = threading.Lock()  # held for as long as an engine may take
        self._leases: dict[ApiEngine, str] = {}
        self._collecting = threading.Lock()
        self._over = threading.Event()
        self._renewals: list[threading.Thread] = []
        self._unmet: set[str] = set()  # nodes that did not answer
        self._belongings: weakref.WeakKeyDictionary[Any, Belongings] = (
            weakref.WeakKeyDictionary()
        )

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
        return owner_labels(
            self.owner,
            test_id=_test_id(parent),
            lease=self.settings.lease,
            facts=self.settings.facts,
            keep=self.settings.keep,
        )

    def belongings(self, parent: Parent) -> Belongings:
        """Return what *parent* has to give back."""
        with self._lock:
            if parent not in self._belongings:
                self._belongings[parent] = Belongings(self, parent)
            return self._belongings[parent]

    # Engines ------------------------------------------------------------------

    def engine(self, environs: Mapping[str, str] | None = None) -> ApiEngine:
        """Return the engine that a docker client would speak to.

        It is asked for its version once; that it does not answer is remembered for half
        a minute, so that a hundred tests need not find out one by one.

        Args:
            environs: The client's environment, if it is not this run's own.

        Raises:
            ConfigError: The address of the engine makes no sense.
            EngineUnreachableError: There is none, or it does not answer.
        """
        from pysys_orch.docker.engine.client import ApiEngine

        environment = self.environment(environs)
        key = _address(environment)
        with self._lock:
            if key in self._engines:
                return self._engines[key]
            if key in self._failures:
                at, failure = self._failures[key]
                if self.clock.instant() - at < _FORGET_FAILURE_AFTER:
                    raise failure
            try:
                engine = ApiEngine.connect(
                    environment, timeout=self.settings.answer_timeout
                )
                self._lease(engine)
            except DockerError as failure:
                self._failures[key] = (self.clock.instant(), failure)
                raise
            self._engines[key] = engine
            if self.reaper is not None and environs:
                self.reaper.watch(
                    {name: environment.get(name, "") for name in _ADDRESS}
                )
            log.debug("Docker Engine %s at %s", engine.version, engine.endpoint)
            return engine

    def swarm_engine(self, environs: Mapping[str, str] | None = None) -> ApiEngine:
        """Return the engine as `engine` does, in a swarm if this run may begin one.

        Where it may not, and there is none, the engine itself says so.

        Args:
            environs: As for `engine`.

        Raises:
            ConfigError: As `engine`.
            DockerError: As `engine`, or no swarm could be begun.
        """
        from pysys_orch.docker.engine.swarming import SwarmState

        engine = self.engine(environs)
        if engine.is_podman:
            product = f"Podman {engine.version}"
            raise SwarmInactiveError(engine.endpoint, product=product)
        self._meet_nodes(engine)
        if not self.begins_swarm:
            return engine
        with self.lock:
            if engine.swarm_state() is SwarmState.INACTIVE:
                try:
                    engine.begin_swarm(self._run_labels())
                    log.info("Began a swarm, which is left at the end of the run")
                except DockerError:
                    # Another run may have been faster.
                    if engine.swarm_state() is SwarmState.INACTIVE:
                        raise
            deadline = self.clock.instant() + _SWARM_PATIENCE
            while (
                engine.swarm_state() is SwarmState.PENDING
                and self.clock.instant() < deadline
            ):
                self.clock.wait_until(self.clock.instant() + _SWARM_POLL, self._over)
        return engine

    def _meet_nodes(self, manager: ApiEngine) -> None:
        """Reach the engines of other nodes, from where the run's things are to go, too.

        Raises:
            ConfigError: An address makes no sense.
        """
        for address in self.settings.nodes:
            if address in self._nodes or address in self._unmet:
                continue
            try:
                engine = self.engine({"DOCKER_HOST": address})
                if engine is not manager:
                    self._nodes[address] = engine
            except EngineUnreachableError as failure:
                self._unmet.add(address)
                log.warning("What is made there is not collected: %s", failure)

    def reached(self, environs: Mapping[str, str] | None = None) -> ApiEngine | None:
        """Return the engine that `engine` has returned before, or None."""
        with self._lock:
            return self._engines.get(_address(self.environment(environs)))

    @property
    def is_used(self) -> bool:
        """Whether any engine was reached."""
        with self._lock:
            return bool(self._engines)

    def environment(self, environs: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a docker client: what it needs, and *environs*."""
        environment = dict(self.settings.environment)
        environment.update(environs or {})
        environment[MARKER_VARIABLE] = self.owner.key
        return environment

    def reach(self, engine: ApiEngine) -> Reach:
        """Return how one comes from here to what an engine publishes; asked once.

        Raises:
            DockerError: The engine does not answer.
        """
        with self._reach_lock:
            if engine not in self._reaches:
                found = choose_reach(
                    engine.endpoint,
                    look_around(engine),
                    engine.info(),
                    self.settings.published_host,
                )
                self._reaches[engine] = found
                log.info("Ports are reached at %s: %s", found.host, found.reason)
            return self._reaches[engine]

    def hub(self, engine: ApiEngine) -> EventHub:
        """Return the one watcher of an engine's events."""
        from pysys_orch.docker.engine.events import EventHub

        with self._lock:
            if engine not in self._hubs:
                self._hubs[engine] = EventHub(engine)
            return self._hubs[engine]

    def with_room(self, engine: ApiEngine, make: Callable[[], _T]) -> _T:
        """Make what takes addresses of the engine's, and return what *make* returns.

        Where the engine has none left, or others have those that are wanted, what dead
        owners left is collected, and it is tried once more.

        Raises:
            DockerError: From *make*; or there are none left even so, with who has them.
        """
        try:
            return make()
        except DockerError as refusal:
            if not lacks_addresses(str(refusal)):
                raise
            self.make_room(engine)
        try:
            return make()
        except DockerError as refusal:
            if not is_exhausted(str(refusal)):
                raise
            raise DockerError(self.told_exhausted(engine)) from None

    def make_room(self, engine: ApiEngine) -> None:
        """Collect what dead owners left, since the engine lacks addresses."""
        log.info("The engine lacks addresses for a network: collects what was left")
        with self._collecting:
            self._collect(engine, *look(engine, dated=False))

    def told_exhausted(self, engine: ApiEngine) -> str:
        """Return who has the networks that leave no addresses, and what to do."""
        return told_exhausted(engine.listing(dated=False), self.owner)

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
            address = next(key for key, each in self._engines.items() if each is engine)
            environment = dict(zip(_ADDRESS, address, strict=True))
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

    def policy(self) -> Policy:
        """Return what a collection of this run goes by."""
        return Policy.here(
            lease=self.settings.lease,
            retention_days=self.settings.retention_days,
            known=(self.owner,) if self._over.is_set() else (),
        )

    def close(self) -> None:
        """End the run on its engines: nothing that it owned is there afterwards.

        Raises:
            CleanupError: Something is.
        """
        with self._lock:
            if self._over.is_set():
                return
            self._over.set()
            nodes = list(self._nodes.values())
            engines = [each for each in self._engines.values() if each not in nodes]
            hubs = list(self._hubs.values())
        for hub in hubs:
            hub.close()
        for renewal in self._renewals:
            # One that waits for an engine that is silent is not waited for.
            renewal.join(_RENEWAL_TIMEOUT)
        failures: list[Exception] = []
        report = Report()
        for engine in engines:
            try:
                report += self._leave(engine)
            except DockerError as failure:
                failures.append(failure)
            engine.close()
        # After the manager, which would start again what is removed there.
        for address in self._nodes:
            try:
                report += self._leave_node(address)
            except DockerError as failure:
                log.warning("What is left there is not collected: %s", failure)
        for engine in nodes:
            engine.close()
        leases = set(self._leases.values())
        left = [each for each in report.removed if each.resource.name not in leases]
        for each in left:
            log.info("Removed %s: %s", each.resource, each.reason)
        failures += report.failures
        if self._own_reaper is not None:
            self._own_reaper.dismiss(_DISMISSAL_TIMEOUT)
        if failures:
            raise CleanupError(failures)

    def _leave(self, engine: ApiEngine) -> Report:
        """Remove what this run has, and what dead ones left.

        What others left must not make this run wait, nor fail: there may be a reason
        why they could not remove it.
        """
        listing, now = look(engine)
        mine = [found for found in listing if owner_of(found) == self.owner]
        plan = plan_collection(mine, now=now, policy=self.policy())
        report = sweep(engine, plan, clock=self.clock)
        if ProcessUser.isRunnerAborting:
            return report
        others = self._collect(engine, listing, now)
        return Report(removed=report.removed + others.removed, failures=report.failures)

    def _collect(
        self, engine: ApiEngine, listing: Iterable[Found], now: datetime
    ) -> Report:
        """Remove what others left, and are dead; tell what could not be removed."""
        rest = [found for found in listing if owner_of(found) != self.owner]
        plan = plan_collection(rest, now=now, policy=self.policy())
        others = sweep(engine, plan, clock=self.clock, patience=0.0)
        for failure in others.failures:
            log.info("Could not collect: %s", failure)
        return others

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

    def _leave_node(self, address: str) -> Report:
        """Remove what this run has on another node of the swarm.

        What others have there is not judged: the signs of their lives may be elsewhere.
        """
        from pysys_orch.docker.engine.client import ApiEngine

        # Anew, since a node that has died meanwhile is not waited for as long.
        environment = self.environment({"DOCKER_HOST": address})
        timeout = self.settings.answer_timeout
        engine = ApiEngine.connect(environment, timeout=timeout)
        try:
            listing, now = look(engine, dated=False)
            mine = [found for found in listing if owner_of(found) == self.owner]
            plan = plan_collection(mine, now=now, policy=self.policy())
            return sweep(engine, plan, clock=self.clock)
        finally:
            engine.close()

    def _run_labels(self) -> dict[str, str]:
        """Return the labels of what no test of the run owns alone."""
        return owner_labels(
            self.owner,
            test_id="",
            lease=self.settings.lease,
            facts=self.settings.facts,
            keep=False,
        )

    def _lease(self, engine: ApiEngine) -> None:
        """Leave a sign of life, for those who cannot ask this machine's kernel."""
        name = lease_name(self.owner, next(self._numbers))
        labels = self._run_labels()
        labels[LEASE_LABEL] = f"{self.settings.lease:g}"
        engine.create_volume(name, labels)
        before = self._leases.get(engine)
        self._leases[engine] = name
        if before is not None:
            engine.remove(Resource(kind=Kind.VOLUME, id=before, name=before))
            return
        # Each has a thread: one that is silent must not keep the others waiting.
        renewal = threading.Thread(
            target=self._renew, args=(engine,), name="orch-lease", daemon=True
        )
        self._renewals.append(renewal)
        renewal.start()

    def _renew(self, engine: ApiEngine) -> None:
        period = self.settings.lease / 3
        while self.clock.wait_until(self.clock.instant() + period, self._over):
            # The engine may be restarting; the lease outlives two failures.
            with contextlib.suppress(DockerError):
                self._lease(engine)


class Belongings:
    """What one parent has on engines, given back by a single cleanup function.

    One for all, since removals in parallel take a fraction of the time, and since what
    the test registered after its first container runs while all of them still live.
    """

    def __init__(self, session: Session, parent: Parent) -> None:
        self._session = session
        self._parent = weakref.proxy(parent)
        self._things: list[Belonging] = []
        self._lock = threading.Lock()

    def add(self, thing: Belonging) -> None:
        """Have *thing* removed with its parent; called before it is made."""
        with self._lock:
            self._things.append(thing)
            first = len(self._things) == 1
        if first:
            self._parent.addCleanupFunction(self.give_back)

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
            if failed and self._session.settings.keep:
                failures += _each(pool, things, lambda thing: thing.detach())
                self._tell_kept(things)
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
            failures += sweep(engine, plan, clock=self._session.clock).failures
        return failures

    @staticmethod
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


def _address(environment: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(environment.get(name, "") for name in _ADDRESS)


def write_json(path: Path, value: object) -> None:
    """Write *value* for a person to read."""
    path.write_text(
        json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )


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


def _test_id(parent: Parent) -> str:
    """Return the id of a test with its cycle, or nothing for a runner."""
    descriptor = getattr(parent, "descriptor", None)
    if descriptor is None:
        return ""
    cycle = getattr(parent, "testCycle", 0)
    return f"{descriptor.id}.cycle{cycle:03}" if cycle else str(descriptor.id)

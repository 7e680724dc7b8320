"""The engines that a run has reached, and what it keeps going on each of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from pysys_orch.clock import Clock
from pysys_orch.docker.engine.leases import Leases
from pysys_orch.docker.engine.ownership import MARKER_VARIABLE, Owner
from pysys_orch.docker.engine.reach import Reach, choose_reach, look_around
from pysys_orch.errors import DockerError, EngineUnreachableError, SwarmInactiveError
from pysys_orch.settings import DockerSettings

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine
    from pysys_orch.docker.engine.events import EventHub

log = logging.getLogger("pysys.orch.docker")

#: What of a client's environment decides which engine it speaks to.
_ADDRESS = (
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_CERT_PATH",
    "DOCKER_HOST",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
)
_SWARM_PATIENCE = 10.0  # with one that another run begins at this moment
_SWARM_POLL = 0.05
_FORGET_FAILURE_AFTER = 30.0  # an engine that was down may be up again


class Engines:
    """The engines that a run has reached, by their addresses. Threads share it.

    Args:
        owner: The run.
        settings: How the run behaves.
        labels: Those of what no test of the run owns alone.
        numbers: What tells apart the names of all that the run makes.
        clock: What to wait on.
        over: Set when the run ends.
        on_another: Is told the address of each engine but the run's own, as the
            environment of a client.

    Attributes:
        begins_swarm: Whether the run begins a swarm where it needs one.
    """

    def __init__(
        self,
        owner: Owner,
        settings: DockerSettings,
        *,
        labels: Mapping[str, str],
        numbers: Iterator[int],
        clock: Clock,
        over: threading.Event,
        on_another: Callable[[Mapping[str, str]], None],
    ) -> None:
        self.begins_swarm = False
        self._owner = owner
        self._settings = settings
        self._labels = labels
        self._clock = clock
        self._over = over
        self._on_another = on_another
        self._leases = Leases(
            owner,
            labels=labels,
            term=settings.lease,
            numbers=numbers,
            clock=clock,
            over=over,
        )
        self._lock = threading.RLock()
        self._beginning = threading.Lock()  # a swarm
        self._engines: dict[tuple[str, ...], ApiEngine] = {}
        self._failures: dict[tuple[str, ...], tuple[float, DockerError]] = {}
        self._nodes: dict[str, ApiEngine] = {}
        self._unmet: set[str] = set()  # nodes that did not answer
        self._hubs: dict[ApiEngine, EventHub] = {}
        self._reaches: dict[ApiEngine, Reach] = {}
        self._reach_lock = threading.Lock()  # held for as long as an engine may take

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
                if self._clock.instant() - at < _FORGET_FAILURE_AFTER:
                    raise failure
            try:
                engine = ApiEngine.connect(
                    environment, timeout=self._settings.answer_timeout
                )
                self._leases.keep(engine)
            except DockerError as failure:
                self._failures[key] = (self._clock.instant(), failure)
                raise
            self._engines[key] = engine
            if environs:
                self._on_another(dict(zip(_ADDRESS, key, strict=True)))
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
        with self._beginning:
            if engine.swarm_state() is SwarmState.INACTIVE:
                try:
                    engine.begin_swarm(self._labels)
                    log.info("Began a swarm, which is left at the end of the run")
                except DockerError:
                    # Another run may have been faster.
                    if engine.swarm_state() is SwarmState.INACTIVE:
                        raise
            deadline = self._clock.instant() + _SWARM_PATIENCE
            while (
                engine.swarm_state() is SwarmState.PENDING
                and self._clock.instant() < deadline
            ):
                self._clock.wait_until(self._clock.instant() + _SWARM_POLL, self._over)
        return engine

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
        environment = dict(self._settings.environment)
        environment.update(environs or {})
        environment[MARKER_VARIABLE] = self._owner.key
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
                    self._settings.published_host,
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

    def address_of(self, engine: ApiEngine) -> dict[str, str]:
        """Return what of a client's environment leads to an engine that was reached."""
        with self._lock:
            key = next(key for key, each in self._engines.items() if each is engine)
        return dict(zip(_ADDRESS, key, strict=True))

    # The end ------------------------------------------------------------------

    def leases(self) -> set[str]:
        """Return the names of the run's signs of life."""
        return self._leases.names()

    def by_place(self) -> tuple[list[ApiEngine], dict[str, ApiEngine]]:
        """Return the engines, and apart from them those of a swarm's other nodes.

        Returns:
            The former; and the latter by their addresses.
        """
        with self._lock:
            nodes = dict(self._nodes)
            others = list(nodes.values())
            return [
                each for each in self._engines.values() if each not in others
            ], nodes

    def quieten(self) -> None:
        """End what goes on by itself, now that the run is over."""
        with self._lock:
            hubs = list(self._hubs.values())
        for hub in hubs:
            hub.close()
        self._leases.join()

    def anew(self, address: str) -> ApiEngine:
        """Connect to a node another time; the caller closes that.

        Raises:
            DockerError: It does not answer, which it may have done before.
        """
        from pysys_orch.docker.engine.client import ApiEngine

        return ApiEngine.connect(
            self.environment({"DOCKER_HOST": address}),
            timeout=self._settings.answer_timeout,
        )

    # Inside -------------------------------------------------------------------

    def _meet_nodes(self, manager: ApiEngine) -> None:
        """Reach the engines of other nodes, from where the run's things are to go, too.

        Raises:
            ConfigError: An address makes no sense.
        """
        for address in self._settings.nodes:
            if address in self._nodes or address in self._unmet:
                continue
            try:
                engine = self.engine({"DOCKER_HOST": address})
                if engine is not manager:
                    self._nodes[address] = engine
            except EngineUnreachableError as failure:
                self._unmet.add(address)
                log.warning("What is made there is not collected: %s", failure)


def _address(environment: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(environment.get(name, "") for name in _ADDRESS)

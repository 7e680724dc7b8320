"""A service as it runs: its tasks and their addresses, its logs, what it leaves."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pysys_orch.docker.container import DockerContainer
from pysys_orch.docker.convergence import (
    Before,
    Convergence,
    Ending,
    Observed,
    wary,
)
from pysys_orch.docker.engine import ready, swarm
from pysys_orch.docker.engine.command import port_key
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import SERVICE_ID_LABEL
from pysys_orch.docker.evidence import leaveServiceEvidence
from pysys_orch.docker.helper import checked, fileName
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.running import Running
from pysys_orch.docker.session import Session
from pysys_orch.docker.tasks import TaskPorts, containerHere
from pysys_orch.errors import (
    ConfigError,
    ConflictError,
    NotFoundError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine
    from pysys_orch.docker.engine.logs import Log

log = logging.getLogger("pysys.orch.docker")


class RunningService(Running):
    """What can be asked of a service once it was run.

    Not used directly: `pysys_orch.docker.DockerService` is this, and makes one.
    """

    _KIND = Kind.SERVICE

    def __init__(self, parent: Parent, displayName: str) -> None:
        super().__init__(parent, displayName)
        self._service = ""  # the swarm's id, once it is there
        self._owned = True
        self._parts: dict[str, DockerContainer] = {}  # by container

    # What it is doing -----------------------------------------------------------------

    def getExternalAddress(
        self, port: int | str, slot: int | None = None
    ) -> tuple[str, int]:
        """Return where a port inside a task is reached from here.

        Ask again after the task was replaced.

        Args:
            port: The port inside, exposed by `exposePort`.
            slot: Which of the replicas, from 1; by default the first that runs.

        Returns:
            The name or address of the node that the task is on, as the swarm knows it,
            and the port there.
        """
        with self.reporting():
            key = checked(lambda: port_key(port))
            which = "" if slot is None else f" in replica {slot}"
            return self._waitFor(
                lambda: self._taskPorts().address(key, slot),
                what=f"port {key} of {self.displayName} is published{which}",
                timeout=10,
            )
        return "", 0

    def inspect(self) -> dict[str, Any]:
        """Return all that the swarm knows about it, as ``docker inspect`` shows it."""
        with self.reporting():
            return self._inspect()
        return {}

    def getTasks(self) -> list[dict[str, Any]]:
        """Return its tasks as the Engine API lists them, with the latest that ended."""
        with self.reporting():
            return self._tasks()
        return []

    def getContainer(self, slot: int | None = None) -> DockerContainer:
        """Return the container of a task that runs on this node.

        It goes with the service. When the swarm replaces the task, ask again.

        Args:
            slot: Which of the replicas, from 1; by default the first that runs. A
                swarm that takes some away need not leave the first ones.
        """
        which = "a replica" if slot is None else f"replica {slot}"
        with self.reporting():
            return self._waitFor(
                lambda: self._partOf(slot),
                what=f"{which} of {self.displayName} runs on this node",
                timeout=10,
            )
        return DockerContainer(self.parent, self.displayName)

    def before(self) -> Before:
        """Return what it is, before it is changed: see `convergence`.

        Raises:
            DockerError: It is not there, or the engine does not answer.
        """
        return self._observed().before()

    def convergence(
        self,
        *,
        wanted: int | None = None,
        before: Before | None = None,
        updating: bool = False,
        strict: bool = False,
    ) -> Convergence:
        """Return what looks, again and again, whether so many tasks run.

        Args:
            wanted: How many; by default what the service is to have.
            before: What it was before what is waited for; by default what it is now,
                unchanged.
            updating: Whether an update is waited for.
            strict: Whether tasks that failed do not count as running, even where nobody
                starts them again.

        Raises:
            DockerError: It is not there, or the engine does not answer.
        """
        return Convergence(
            self._observed(),
            clock=Session.of(self.parent).clock,
            wanted=wanted,
            before=before,
            updating=updating,
            strict=strict,
        )

    # Waiting for it -------------------------------------------------------------------

    def waitForReplicas(self, replicas: int | None = None, timeout: float = 60) -> Self:
        """Wait until so many replicas run, and no more.

        One that has ended well counts, if the service does not start it again.

        Args:
            replicas: How many; by default what the service is to have.
            timeout: Seconds after which the test is TIMEDOUT.
        """
        with self.reporting():
            if replicas is not None:
                requireCount(replicas)
            self._converge(self.convergence(wanted=replicas, strict=True), timeout)
        return self

    def waitForExit(self, timeout: float = 60) -> int:
        """Wait until all its tasks have ended, of a service that does not go on.

        That is a job, or a service with another restart condition than ``any``.

        Args:
            timeout: Seconds after which the test is TIMEDOUT.

        Returns:
            The exit code of the first task that failed; 0 if none did.
        """
        with self.reporting():
            failed = self._waitForEnd(timeout)
            return 0 if failed is None else swarm.exit_code(failed) or 0
        return -1

    # What a test's cleanup asks of it ------------------------------------------------

    def resources(self) -> list[Resource]:
        """Return the service to remove; with it go its containers."""
        if not self._owned:
            return []
        if not self._service and self._isNamedOurs(self._name):
            self._service = str(self._engine().inspect_service(self._name)["ID"])
        if not self._service:
            return []
        return [Resource(kind=Kind.SERVICE, id=self._service, name=self._name)]

    def leaveEvidence(self, folder: Path) -> None:
        """Write its inspection, its tasks and their logs into *folder*."""
        engine = self.engineInUse()
        if engine is None or not (self.resources() or self._service):
            return
        stem = fileName(self.displayName)
        with contextlib.suppress(NotFoundError):
            leaveServiceEvidence(
                engine, self._service, folder, stem, withLogs=not self._followers
            )

    def end(self) -> None:
        """Kill its tasks if their log is being read, and read that to its end."""
        if not self._owned:
            self.detach()
            return
        try:
            for part in self._parts.values():
                part.end()
            if self._followers:
                self._killAll()
        finally:
            self._endLogs()

    def detach(self) -> None:
        """Stop reading its log; it runs on."""
        super().detach()
        for part in self._parts.values():
            part.detach()

    # Inside ---------------------------------------------------------------------------

    def _environmentFilters(self) -> list[str]:
        """Return what ``docker ps`` filters by: its environment are its containers."""
        return [f"label={SERVICE_ID_LABEL}={self._id()}"]

    def _environmentOf(self, path: str) -> list[dict[str, Any]]:
        """Return its networks, or the volumes of its containers on this node."""
        engine, found = self._engine(), self._inspect()
        if path == "/networks":
            networks = found["Spec"]["TaskTemplate"].get("Networks") or []
            return [engine.inspect_network(each["Target"]) for each in networks]
        volumes = {}
        for container in engine.task_containers(self._service):
            for each in engine.inspect_container(container.id)["Mounts"]:
                if each["Type"] == "volume":
                    volumes[each["Name"]] = each["Driver"]
        return [{"Name": name, "Driver": driver} for name, driver in volumes.items()]

    def _wording(self, reason: str) -> str:
        """Return a reason that calls the service what its test calls it."""
        if not self._service:
            return reason
        return reason.replace(self._service, self.displayName)

    def _labelsOf(self, engine: ApiEngine, name: str) -> Mapping[str, str]:
        return engine.inspect_service(name)["Spec"].get("Labels") or {}

    def _id(self) -> str:
        if not self._service:
            message = f"service {self.displayName} does not run: call run() first"
            raise ConfigError(message)
        return self._service

    def _observed(self) -> Observed:
        return Observed(self._engine(), self._id(), self.displayName)

    def _inspect(self) -> dict[str, Any]:
        return self._observed().inspect()

    def _tasks(self) -> list[dict[str, Any]]:
        return self._observed().tasks()

    def _converge(self, state: Convergence, timeout: float) -> None:
        """Wait until as many of its tasks run as are wanted, and no others.

        Raises:
            ContainerGoneError: They never will.
            WaitTimeoutError: They do not in time.
        """
        what = f"{self.displayName} has its replicas running"
        self._waitUntil(state, what=what, timeout=timeout)

    def _alive(self) -> Callable[[], None]:
        return wary(self._observed(), Session.of(self.parent).clock)

    def _waitForEnd(self, timeout: float) -> Mapping[str, Any] | None:
        """Wait until all its tasks have ended; return the first that failed, if any.

        Raises:
            ConfigError: They do not end.
            ContainerGoneError: They never will.
            WaitTimeoutError: They do not in time.
        """
        clock = Session.of(self.parent).clock
        state = Ending(self._observed(), clock=clock)
        self._waitUntil(state, what=f"service {self.displayName} ends", timeout=timeout)
        for follower in self._followers.values():
            self._settle(follower)
        return state.failed

    def _waitUntil(
        self, state: Convergence | Ending, *, what: str, timeout: float
    ) -> None:
        try:
            ready.wait_for(
                lambda: state.look() or None,
                what=what,
                timeout=timeout,
                clock=Session.of(self.parent).clock,
                pause=self.parent.pollWait,
                alive=state.require,
            )
        except WaitTimeoutError as failure:
            failure.args = (f"{failure}: {state}",)
            raise

    def _partOf(self, slot: int | None) -> DockerContainer | None:
        """Return the container of a replica that runs here, or None.

        Raises:
            ConfigError: There is no such replica.
        """
        here = containerHere(self._observed(), slot)
        if here is None:
            return None
        at, found = here
        container = str(found["Id"])
        if container not in self._parts:
            self._parts[container] = DockerContainer.wrapping(
                self.parent, found, f"{self.displayName}.{at}", self._environs
            )
        return self._parts[container]

    def _taskPorts(self) -> TaskPorts:
        return TaskPorts(self._observed(), self._reach())

    def _address(self, key: str) -> tuple[str, int] | None:
        return self._taskPorts().address(key)

    def _listens(self, key: str, number: int) -> bool:
        return self._taskPorts().areHeard(key, number)

    def _openLog(self, out: Path, err: Path) -> Log:
        from pysys_orch.docker.engine.tasklogs import ServiceLog

        engine = self._engine()
        hub = Session.of(self.parent).engines.hub(engine)
        return ServiceLog(engine, self._service, out=out, err=err, hub=hub)

    def _endLogs(self) -> None:
        from pysys_orch.docker.engine.tasklogs import ServiceLog

        try:
            super()._endLogs()
        finally:
            for name, follower in self._followers.items():
                for reason in (
                    follower.unread if isinstance(follower, ServiceLog) else ()
                ):
                    log.warning("The log %s is incomplete: %s", name, reason)

    def _killAll(self) -> None:
        """Kill all containers of it on this node, and hear of no new ones."""
        from concurrent.futures import ThreadPoolExecutor

        from pysys_orch.docker.engine.tasklogs import ServiceLog

        engine = self.engineInUse()
        if engine is None:
            return
        for follower in self._followers.values():
            if isinstance(follower, ServiceLog):
                follower.freeze()

        def kill(container: Resource) -> None:
            with contextlib.suppress(NotFoundError, ConflictError):
                engine.kill_container(container.id, "KILL")

        with ThreadPoolExecutor(8, "orch-kill") as pool:
            list(pool.map(kill, engine.task_containers(self._service)))


def requireCount(replicas: object) -> None:
    """Raise unless that can be a number of replicas.

    Raises:
        ConfigError: It cannot.
    """
    if not isinstance(replicas, int) or replicas < 0:
        message = f"replicas is a number from 0 on, got {replicas!r}"
        raise ConfigError(message)

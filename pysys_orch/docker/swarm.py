"""Swarm environments: a sample's stack file, deployed for one test."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pysys_orch.docker.convergence import Before
from pysys_orch.docker.deployment import Deployment
from pysys_orch.docker.engine import ready
from pysys_orch.docker.engine.ownership import STACK_LABEL
from pysys_orch.docker.service import DockerService
from pysys_orch.docker.session import Session
from pysys_orch.errors import ConfigError, DockerError, WaitTimeoutError
from pysys_orch.inputs import nearest

log = logging.getLogger("pysys.orch.docker")


class DockerSwarm(Deployment):
    """Helper class for working with Docker Swarm environments.

    Owns the stack that it deploys: services, containers, networks, volumes, secrets and
    configs are removed when the parent is cleaned up, and when the parent's run dies;
    nothing waits for the services' own end. If the test failed, inspections, tasks and
    logs of all services are left in the output directory.

    A swarm publishes ports on all addresses of a node: ports that are moved are
    published there, by the node on which the task runs (``mode: host``), at a number
    that the engine chooses. Volumes on other nodes stay there.
    """

    _LABEL = STACK_LABEL

    _parts: dict[str, DockerService]

    def deploy(
        self,
        abortOnError: bool = True,
        environs: Mapping[str, str] | None = None,
        *,
        extraArgs: Iterable[str] = (),
        timeout: float = 600,
    ) -> DockerSwarm:
        """Bring up all services in the environment.

        Returns once all replicas of every service run, and are healthy where they say
        how. To deploy again brings what has changed since.

        Args:
            abortOnError: Whether to end the test if one does not.
            environs: The environment of the docker client, where it finds what the
                variables in the file stand for. Clean by default, with what the client
                needs.
            extraArgs: More arguments of ``docker stack deploy``.
            timeout: Seconds that all of it may take.
        """
        with self.reporting(abortOnError=abortOnError):
            clock = Session.of(self.parent).clock
            deadline = clock.instant() + timeout
            # A swarm that is not there is best said before anything else is.
            Session.of(self.parent).engines.swarm_engine(environs).inspect_swarm()
            tailored = self._begin(environs, stack=True)
            before = {name: part.before() for name, part in self._services().items()}
            self._executeDockerCommand(
                self.parent,
                [
                    *("stack", "deploy", "--resolve-image", "never"),
                    *("--compose-file", str(tailored.file)),
                    *extraArgs,
                    self._name,
                ],
                environs=self._environs,
                timeout=timeout,
                displayName="docker stack deploy",
                displayNamePostfix=f" {self.displayName}",
                abortOnError=True,
                ignoreExitStatus=False,
            )
            self._waitUntilUp(before, max(0.0, deadline - clock.instant()))
            log.info("Deployed %s as %s", self.displayName, self._name)
        return self

    def getService(self, name: str) -> DockerService:
        """Return a service, with all its waits.

        It belongs to the stack, not to whoever asks.

        Args:
            name: The service's name in the file.
        """
        with self.reporting():
            return self._part(name)
        return DockerService(name, self.parent)

    def scale(
        self, service: str, replicas: int, *, timeout: float = 600
    ) -> DockerSwarm:
        """Change how many replicas a service has, and wait until they run.

        Args:
            service: Its name in the file.
            replicas: How many, 0 included.
            timeout: Seconds that it may take.
        """
        with self.reporting():
            self._part(service).scale(replicas, timeout)
        return self

    def log(self, prefix: str = "") -> DockerSwarm:
        """Stream the output of every service to two files, live.

        Args:
            prefix: What the names of the files begin with; the service's name follows,
                and a number where somebody else has such files already.
        """
        with self.reporting():
            for name, part in self._services().items():
                part.ensureLog(f"{prefix}{name}")
        return self

    # What a test's cleanup asks of it -------------------------------------------------

    def leaveEvidence(self, folder: Path) -> None:
        """Write inspections, tasks and logs of all its services into *folder*."""
        if self.engineInUse() is None or self._tailored is None:
            return
        for part in self._services().values():
            part.leaveEvidence(folder)

    # Inside ---------------------------------------------------------------------------

    def _newName(self, session: Session) -> str:
        # A service's name, the stack's included, has to be a short one.
        return session.short_name()

    def _services(self) -> dict[str, DockerService]:
        """Return the helpers of all services that are there, by name in the file."""
        listed = self._engine().list_services([f"{STACK_LABEL}={self._name}"])
        found = {self._shortName(each): each for each in listed}
        with self._lock:
            for name in sorted(found.keys() - self._parts.keys()):
                self._parts[name] = DockerService.wrapping(
                    self.parent, found[name], name, self._environs
                )
            return {name: self._parts[name] for name in sorted(found)}

    def _there(self) -> Collection[str]:
        return self._services()

    def _shortName(self, found: Mapping[str, Any]) -> str:
        return str(found["Spec"]["Name"]).removeprefix(f"{self._name}_")

    def _part(self, name: str, index: int = 1) -> DockerService:
        """Return the helper of a service.

        Raises:
            ConfigError: There is no such service.
        """
        self._requireUp()
        services = self._parts if name in self._parts else self._services()
        if name not in services:
            hint = nearest(name, services)
            message = f"{self._file.name} has no service {name!r}{hint}"
            raise ConfigError(message)
        return services[name]

    def _waitUntilUp(self, before: Mapping[str, Before], timeout: float) -> None:
        """Wait until all services run.

        Raises:
            ContainerGoneError: One will not.
            WaitTimeoutError: One does not in time.
        """
        session = Session.of(self.parent)
        pending = {
            name: part.convergence(before=before.get(name, Before()))
            for name, part in self._services().items()
        }

        def look() -> bool | None:
            for name, each in list(pending.items()):
                if each.look():
                    del pending[name]
                else:
                    each.require()
            return None if pending else True

        try:
            ready.wait_for(
                look,
                what=f"all services of {self._file.name} run",
                timeout=timeout,
                clock=session.clock,
                pause=self.parent.pollWait,
                alive=lambda: None,
            )
        except WaitTimeoutError:
            rest = ", ".join(f"{name} {each}" for name, each in pending.items())
            message = (
                f"not all services of {self._file.name} run within {timeout:g} s: "
                f"{rest}"
            )
            raise WaitTimeoutError(message) from None
        except DockerError as failure:
            failure.args = (f"{self._file.name}: {failure}",)
            raise

    def _publishedPorts(self) -> Iterator[tuple[str, str, str]]:
        for name, part in self._services().items():
            ports = (part.inspect()["Spec"].get("EndpointSpec") or {}).get("Ports")
            for each in ports or ():
                inside = f"{each['TargetPort']}/{each['Protocol']}"
                yield str(each.get("PublishedPort")), name, inside

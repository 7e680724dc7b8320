"""Compose environments: a sample's compose file, brought up for one test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pysys_orch.docker.compose import complaint, findCompose
from pysys_orch.docker.container import DockerContainer
from pysys_orch.docker.deployment import Deployment
from pysys_orch.docker.engine import converge, ready
from pysys_orch.docker.engine.command import last_words
from pysys_orch.docker.engine.ownership import COMPOSE_LABEL
from pysys_orch.docker.engine.pools import exhausted_pool, lacks_addresses
from pysys_orch.docker.envfile import readVariables
from pysys_orch.docker.helper import Docker, fileText
from pysys_orch.docker.session import Session
from pysys_orch.errors import (
    ConfigError,
    ContainerGoneError,
    DockerError,
    NotFoundError,
    WaitTimeoutError,
)
from pysys_orch.inputs import nearest

log = logging.getLogger("pysys.orch.docker")

_SERVICE_LABEL = "com.docker.compose.service"
_NUMBER_LABEL = "com.docker.compose.container-number"


class DockerComposition(Deployment):
    """Helper class for working with Docker Compose environments.

    Owns what it brings up: containers, networks, volumes and built images are removed
    when the parent is cleaned up, and when the parent's run dies. If the test failed,
    inspections and logs of all services are left in the output directory.

    Compose v2 and v1 serve alike: see the property ``dockerComposeExe``.
    """

    _LABEL = COMPOSE_LABEL

    _parts: dict[tuple[str, int], DockerContainer]

    def up(
        self,
        abortOnError: bool = True,
        environs: Mapping[str, str] | None = None,
        *,
        profiles: Iterable[str] = (),
        extraArgs: Iterable[str] = (),
        timeout: float = 600,
    ) -> DockerComposition:
        """Bring up all services in the environment.

        Returns once every service runs: is healthy where it has a health check, has
        ended with 0 where it is not meant to stay. Containers that have changed since
        an earlier call are killed and made anew. Nothing is waited for that was there
        and did not run before, and that compose left alone.

        Args:
            abortOnError: Whether to end the test if one does not.
            environs: The environment of the compose program, where it finds what the
                variables in the file stand for. Clean by default, with what the docker
                client needs; ``.env`` beside the file is read in any case.
            profiles: Profiles to enable.
            extraArgs: More arguments of ``docker compose up``: ``["--build"]``, or
                names of services.
            timeout: Seconds that all of it may take.
        """
        with self.reporting(abortOnError=abortOnError):
            deadline = Session.of(self.parent).clock.instant() + timeout
            self._begin(environs, stack=False)
            concerned = self._changed()
            self._compose(
                ["up", "--detach", "--timeout=0", *extraArgs],
                [word for each in profiles for word in ("--profile", each)],
                timeout,
                concerned,
            )
            self._forgetRemoved()
            self._waitUntilUp(deadline, timeout, concerned)
            log.info("Brought up %s as %s", self.displayName, self._name)
        return self

    def scale(
        self, service: str, replicas: int, *, timeout: float = 600
    ) -> DockerComposition:
        """Change how many containers a service has, and wait until they run.

        Those that are too many are killed. Other services do not matter.

        Args:
            service: Its name in the file.
            replicas: How many, 0 included.
            timeout: Seconds that it may take.
        """
        with self.reporting():
            deadline = Session.of(self.parent).clock.instant() + timeout
            self._requireUp()
            self._requireService(service)
            words = ["--no-recreate", "--no-deps", "--timeout=0"]
            words += ["--scale", f"{service}={replicas}"]

            def concerned(found: Mapping[str, Any]) -> bool:
                return _place(found)[0] == service

            self._compose(["up", "--detach", *words, service], [], timeout, concerned)
            self._forgetRemoved()
            if replicas:
                self._waitUntilUp(deadline, timeout, concerned)
        return self

    def getContainer(self, service: str, index: int = 1) -> DockerContainer:
        """Return the container of a service, with all its waits.

        It belongs to the composition, not to whoever asks.

        Args:
            service: The service's name in the file.
            index: Which of several containers, from 1.
        """
        container = DockerContainer(self.parent, service)
        with self.reporting():
            return self._part(service, index)
        return container

    def log(self, prefix: str = "") -> DockerComposition:
        """Stream the output of every service to two files, live.

        Args:
            prefix: What the names of the files begin with; the service's name follows,
                for its second container on a number, and another one where somebody
                else has such files already.
        """
        with self.reporting():
            for each in self._inspections():
                service, number = _place(each)
                suffix = f".{number}" if number > 1 else ""
                part = self._part(service, number)
                part.ensureLog(f"{prefix}{service}{suffix}")
        return self

    # What a test's cleanup asks of it -------------------------------------------------

    def leaveEvidence(self, folder: Path) -> None:
        """Write inspections and whole logs of all its containers into *folder*."""
        if self.engineInUse() is None:
            return
        for found in self._inspections():
            self._part(*_place(found)).leaveEvidence(folder)

    # Inside ---------------------------------------------------------------------------

    def _newName(self, session: Session) -> str:
        return session.name(self.parent, self.displayName)

    def _variables(self, environs: Mapping[str, str] | None) -> dict[str, str]:
        known = super()._variables(environs)
        return {
            **readVariables(self._file.parent / ".env", known),
            **known,
            "COMPOSE_PROJECT_NAME": self._name,
        }

    def _changed(self) -> Callable[[Mapping[str, Any]], bool]:
        """Return what tells whether a container runs or has changed since now."""
        before = {str(each["Id"]): _phase(each) for each in self._inspections()}

        def hasChanged(found: Mapping[str, Any]) -> bool:
            phase = _phase(found)
            return phase[0] == "running" or before.get(str(found["Id"])) != phase

        return hasChanged

    def _compose(
        self,
        words: Sequence[str],
        options: Sequence[str],
        timeout: float,
        concerned: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        """Run a command of compose.

        Args:
            words: The command with its own arguments.
            options: Those that go before it.
            timeout: Seconds.
            concerned: Which containers are to run after it.

        Raises:
            DockerError: It failed; with what it said, and how its containers are.
        """
        session = Session.of(self.parent)
        done = self._runCompose(words, options, timeout)
        if _status(done) and lacks_addresses(fileText(done.stderr)):
            session.pools.make_room(self._engine())
            done = self._runCompose(words, options, timeout)
        if not _status(done):
            return
        looked = list(filter(concerned, self._inspections()))
        state = converge.judge(looked, now=self._engine().now)
        if state.failed:
            self._complain(state)
        said = complaint(fileText(done.stderr)) or last_words(fileText(done.stdout))
        if said == "no service selected":
            raise ConfigError(self._nothingUp())
        if pool := exhausted_pool(said):
            said = session.pools.told_exhausted(self._engine(), pool)
        program = findCompose(self.parent).name
        message = (
            f"`{program} {words[0]}` of {self._file.name} exited with "
            f"{_status(done)}: {said or 'no error output'} "
            f"(see {Path(done.stderr).name})"
        )
        raise DockerError(message)

    def _runCompose(
        self, words: Sequence[str], options: Sequence[str], timeout: float
    ) -> Docker:
        program = findCompose(self.parent)
        tailored = self._requireUp()
        return self._executeDockerCommand(
            self.parent,
            program.arguments(
                self._name,
                str(tailored.file),
                str(self._file.parent),
                [*options, *words],
            ),
            command=program.command,
            environs=self._environs,
            timeout=timeout,
            displayName=f"compose {words[0]}",
            displayNamePostfix=f" {self.displayName}",
            ignoreExitStatus=True,
        )

    def _nothingUp(self) -> str:
        return (
            f"{self._file.name} brought up no container: are all its services in "
            "profiles? Enable these by up(profiles=[...])"
        )

    def _waitUntilUp(
        self,
        deadline: float,
        timeout: float,
        concerned: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        """Wait until all containers run that are concerned.

        Raises:
            ContainerGoneError: One will not.
            WaitTimeoutError: One does not in time.
        """
        clock = Session.of(self.parent).clock
        last: list[converge.State] = []

        def look() -> bool | None:
            inspections = self._inspections()
            if not inspections:
                raise ConfigError(self._nothingUp())
            looked = list(filter(concerned, inspections))
            state = converge.judge(looked, now=self._engine().now)
            last[:] = [state]
            if state.failed:
                self._complain(state)
            return state.ready or None

        try:
            ready.wait_for(
                look,
                what=f"all services of {self._file.name} run",
                timeout=max(0.0, deadline - clock.instant()),
                clock=clock,
                pause=self.parent.pollWait,
                alive=lambda: None,
            )
        except WaitTimeoutError:
            names = self._services()
            rest = ", ".join(
                f"{names[each]}: {excuse}" for each, excuse in last[0].waiting.items()
            )
            message = (
                f"not all services of {self._file.name} run within {timeout:g} s: "
                f"{rest}"
            )
            raise WaitTimeoutError(message) from None

    def _complain(self, state: converge.State) -> None:
        """Raise because of containers that will not run.

        Raises:
            ContainerGoneError: It quotes their last lines.
        """
        names = self._services()
        reasons = []
        for failed in state.failed:
            lines = self._lastLines(failed.container)
            reasons.append(
                f"service {names.get(failed.container, failed.container)} "
                f"{failed.reason}{ready.quoted(lines)}"
            )
        raise ContainerGoneError("; ".join(reasons))

    def _lastLines(self, container: str) -> list[str]:
        from pysys_orch.docker.engine.logs import last_lines

        engine = self._engine()
        try:
            return last_lines(engine, engine.inspect_container(container))
        except DockerError:
            return []  # the reason says enough

    def _inspections(self) -> list[dict[str, Any]]:
        """Return the inspections of all its containers, running or not."""
        engine = self._engine()
        found = []
        for each in engine.list_labelled(
            "/containers/json", [f"{COMPOSE_LABEL}={self._name}"]
        ):
            try:
                inspection = engine.inspect_container(each["Id"])
            except NotFoundError:
                continue
            labels = inspection["Config"]["Labels"]
            if labels.get("com.docker.compose.oneoff", "False") == "False":
                found.append(inspection)
        return sorted(found, key=_place)

    def _services(self) -> dict[str, str]:
        """Return the service of each container, with a number if it has several."""
        names = {}
        for each in self._inspections():
            service, number = _place(each)
            names[str(each["Id"])] = f"{service} {number}" if number > 1 else service
        return names

    def _requireService(self, service: str) -> None:
        services = self._requireUp().services
        if service not in services:
            hint = nearest(service, services)
            message = f"{self._file.name} has no service {service!r}{hint}"
            raise ConfigError(message)

    def _part(self, service: str, index: int = 1) -> DockerContainer:
        """Return the helper of a container.

        Raises:
            ConfigError: There is no such service in the file.
            ContainerGoneError: It has no such container.
        """
        self._requireUp()
        with self._lock:
            if (service, index) in self._parts:
                return self._parts[service, index]
            for each in self._inspections():
                if _place(each) != (service, index):
                    continue
                name = service if index == 1 else f"{service}.{index}"
                part = DockerContainer.wrapping(self.parent, each, name, self._environs)
                self._parts[service, index] = part
                return part
        self._requireService(service)
        message = f"service {service} of {self.displayName} has no container {index}"
        raise ContainerGoneError(message)

    def _forgetRemoved(self) -> None:
        """End the helpers of containers that are there no more.

        Raises:
            DockerError: A log is not complete.
        """
        there = {str(each["Id"]) for each in self._inspections()} if self._parts else ()
        with self._lock:
            gone = [
                self._parts.pop(place)
                for place, part in list(self._parts.items())
                if all(each.id not in there for each in part.resources())
            ]
        for part in gone:
            part.end()

    def _there(self) -> Collection[str]:
        return {_place(each)[0] for each in self._inspections()}

    def _publishedPorts(self) -> Iterator[tuple[str, str, str]]:
        for each in self._inspections():
            bindings = each["HostConfig"].get("PortBindings") or {}
            for inside, places in bindings.items():
                for place in places or ():
                    yield str(place.get("HostPort")), _place(each)[0], inside


def _status(done: Docker) -> int:
    return 0 if done.process is None else int(done.process.exitStatus or 0)


def _phase(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a container does, and since when."""
    return str(found["State"]["Status"]), str(found["State"].get("StartedAt"))


def _place(found: Mapping[str, Any]) -> tuple[str, int]:
    """Return the service of a container, and its number in it."""
    labels = found["Config"]["Labels"]
    return str(labels[_SERVICE_LABEL]), int(labels[_NUMBER_LABEL])

"""Services of a swarm: run, scaled, updated, and gone with their test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pysys_orch.docker.convergence import Before
from pysys_orch.docker.engine import swarm
from pysys_orch.docker.engine.command import chosen_name
from pysys_orch.docker.engine.model import Kind
from pysys_orch.docker.engine.servicespec import (
    File,
    ServiceSpec,
    changed_spec,
    service_arguments,
    service_body,
    service_update_arguments,
    takes_back,
)
from pysys_orch.docker.helper import allocateFiles
from pysys_orch.docker.image import DockerImage
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.prepared import Prepared, roleOf
from pysys_orch.docker.runningservice import RunningService, requireCount
from pysys_orch.docker.secret import DockerConfig, DockerSecret, SwarmFile
from pysys_orch.docker.session import Session
from pysys_orch.errors import (
    ConfigError,
    ContainerGoneError,
    EngineAnswerError,
    NotFoundError,
)

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine

log = logging.getLogger("pysys.orch.docker")

_MOST_CLASHES = 10


class DockerService(Prepared, RunningService):
    """Helper class for working with Docker services, on an engine that is in a swarm.

    Owns the service that it wraps: it is removed with its containers when the parent is
    cleaned up, and when the parent's run dies; nothing is waited for that they do at
    their end. If the test failed, the inspection of the service, its tasks and their
    logs are left in the output directory.

    Methods that return nothing else return the helper itself, to allow chaining. Every
    wait has a time limit, ends early when the run is aborted or when the service's
    tasks fail again and again, and says why they do.

    On a swarm of several nodes the engine is a manager's. What tasks log on other nodes
    is read through it, and is half a second late; their ports are reached where they
    are published. The containers themselves are out of its reach, and end in their own
    time when the service is removed.

    Args:
        displayName: What to call it in logs and in the names of files; also becomes
            part of the service's name.
        parent: The test or runner.
    """

    def __init__(
        self, displayName: str | None = None, parent: Parent | None = None
    ) -> None:
        if parent is None:
            message = "DockerService needs a parent: the test, usually self"
            raise ConfigError(message)
        super().__init__(parent, displayName or "service")
        self._uses: list[tuple[Kind, SwarmFile | str, str | None]] = []

    # Making one -------------------------------------------------------------------

    @classmethod
    def fromImage(
        cls, image: DockerImage, displayName: str | None = None
    ) -> DockerService:
        """Prepare to create and run a service from an image.

        Args:
            image: The `DockerImage` to create from. The nodes of a swarm pull what
                they do not have.
            displayName: What to call it; by default after the image.
        """
        service = cls(displayName or roleOf(image), image.parent)
        service._image = image.getName()
        return service

    @classmethod
    def fromExisting(cls, parent: Parent, name: str, own: bool = True) -> DockerService:
        """Wrap an existing running service.

        Args:
            parent: The test or runner.
            name: Name or id of the existing service.
            own: Whether it is removed when the parent is cleaned up. Mind the default:
                what you wrap is gone after the test.
        """
        service = cls(name, parent)
        service._name = name
        service._owned = own
        with service.reporting():
            session = Session.of(parent)
            engine = session.engines.swarm_engine()
            session.belongings(parent).add(service)
            try:
                found = engine.inspect_service(name)
            except NotFoundError:
                message = f"there is no service {name}"
                raise ContainerGoneError(message) from None
            service._service = str(found["ID"])
            service._name = str(found["Spec"]["Name"])
        return service

    @classmethod
    def wrapping(
        cls,
        parent: Parent,
        found: Mapping[str, Any],
        displayName: str,
        environs: Mapping[str, str] | None = None,
    ) -> DockerService:
        """Wrap a service that something else owns, and has just inspected.

        Args:
            parent: The test or runner.
            found: Its inspection.
            displayName: What to call it.
            environs: What decides which engine it is on.
        """
        service = cls(displayName, parent)
        service._service = str(found["ID"])
        service._name = str(found["Spec"]["Name"])
        service._environs = environs
        return service

    # Before it runs -------------------------------------------------------------------

    def useSecret(
        self, secret: DockerSecret | str, target: str | None = None
    ) -> DockerService:
        """Let its tasks read a secret, before it is run.

        Args:
            secret: The secret, or its name.
            target: The file in ``/run/secrets``, or its absolute path; the secret's
                name by default.
        """
        return self._use("useSecret", Kind.SECRET, secret, target)

    def useConfig(
        self, config: DockerConfig | str, target: str | None = None
    ) -> DockerService:
        """Let its tasks read a config, before it is run.

        Args:
            config: The config, or its name.
            target: Absolute path of the file; the config's name in ``/`` by default.
        """
        return self._use("useConfig", Kind.CONFIG, config, target)

    # Its life -------------------------------------------------------------------------

    def run(
        self,
        cmd: Sequence[str] | str | None = None,
        extraArgs: Sequence[str] | None = None,
        foreground: bool = False,
        abortOnError: bool = True,
        environs: Mapping[str, str] | None = None,
        *,
        replicas: int = 1,
        timeout: float = 600,
        **kwargs: Any,
    ) -> DockerService:
        """Run the service, and wait until all its replicas run.

        Processes inside have the current user and group id, to share files with the
        host, unless *extraArgs* say otherwise.

        Args:
            cmd: Command with arguments, in place of the image's own; a text is split as
                a shell would.
            extraArgs: More arguments of ``docker service create``.
            foreground: Whether to run it once, as a job, and return only when the
                command has finished. Its output is then in files named after the
                service, and an exit code other than 0 makes the test BLOCKED.
            abortOnError: Whether to end the test if the service cannot be started.
            environs: The environment of the docker client, not of the service: see
                `setEnv`. Clean by default, with what the client needs.
            replicas: How many tasks are to run.
            timeout: Seconds that it may take until they do, or until they have finished
                in the foreground.
            kwargs: Ignored, for compatibility.
        """
        with self.reporting(abortOnError=abortOnError):
            self._requireNotRun("run")
            requireCount(replicas)
            if foreground and not replicas:
                message = "run: a job of 0 replicas is none, let it have 1 or more"
                raise ConfigError(message)
            session = Session.of(self.parent)
            self._environs = environs
            engine = session.engines.swarm_engine(environs)
            spec = ServiceSpec(
                container=self._containerSpec(session, cmd),
                replicas=replicas,
                job=foreground,
                files=tuple(self._files(engine)),
            )
            extra = [str(each) for each in extraArgs or ()]
            self._name = chosen_name(extra) or spec.container.name
            session.belongings(self.parent).add(self)
            if extra or not _isThere(engine, self._image):
                # Docker's arguments are for docker's own parser to understand, and its
                # credentials for its own client to find.
                self._createByCommand(engine, spec, extra, timeout, abortOnError)
            else:
                self._service = engine.create_service(service_body(spec))
            if not self._service:
                return self
            if foreground:
                self._finish(timeout)
            else:
                self._converge(self.convergence(before=Before()), timeout)
                log.info("Started %s as %s", self.displayName, self._name)
        return self

    def scale(self, replicas: int, timeout: float = 60) -> DockerService:
        """Change the number of its replicas, and wait until so many run and no more.

        Args:
            replicas: How many.
            timeout: Seconds after which the test is TIMEDOUT. A task that is to end has
                ten seconds to do so before it is killed.
        """
        with self.reporting():
            requireCount(replicas)
            self._change(lambda spec: changed_spec(spec, replicas=replicas))
            self._converge(self.convergence(), timeout)
        return self

    def update(
        self,
        image: DockerImage | str | None = None,
        env: Mapping[str, object] | None = None,
        extraArgs: Sequence[str] | None = None,
        timeout: float = 600,
    ) -> DockerService:
        """Change what its tasks are made of, and wait until the new ones run.

        Args:
            image: Another image.
            env: Environment variables that get another value, or are new.
            extraArgs: Arguments of ``docker service update``.
            timeout: Seconds after which the test is TIMEDOUT.
        """
        with self.reporting():
            name = image.getName() if isinstance(image, DockerImage) else image or ""
            variables = {key: str(value) for key, value in (env or {}).items()}
            extra = [str(each) for each in extraArgs or ()]
            before = self._observed().before()
            if extra or (name and not _isThere(self._engine(), name)):
                self._updateByCommand(name, variables, extra, timeout)
            else:
                self._change(
                    lambda spec: changed_spec(spec, image=name, environment=variables)
                )
            updating = not takes_back(extra)
            self._converge(self.convergence(before=before, updating=updating), timeout)
        return self

    # Inside ---------------------------------------------------------------------------

    def _use(
        self, method: str, kind: Kind, file: SwarmFile | str, target: str | None
    ) -> DockerService:
        with self.reporting():
            self._requireNotRun(method)
            self._uses.append((kind, file, target))
        return self

    def _files(self, engine: ApiEngine) -> list[File]:
        """Return the secrets and configs that it uses.

        Raises:
            ConfigError: One of them is not there.
        """
        files = []
        for kind, used, target in self._uses:
            name = used if isinstance(used, str) else used.getName()
            try:
                found = engine.inspect_data(kind, name)
            except NotFoundError:
                message = (
                    f"service {self.displayName} uses {kind} {name}, which is not "
                    "there: create it first"
                )
                raise ConfigError(message) from None
            name = str(found["Spec"]["Name"])
            place = target or (name if kind is Kind.SECRET else f"/{name}")
            files.append(File(kind=kind, id=str(found["ID"]), name=name, target=place))
        return files

    def _createByCommand(
        self,
        engine: ApiEngine,
        spec: ServiceSpec,
        extra: Sequence[str],
        timeout: float,
        abort: bool,
    ) -> None:
        engine.inspect_swarm()  # says better than docker that there is none
        credentials = not _isThere(engine, self._image)
        done = self._executeDockerCommand(
            self.parent,
            service_arguments(spec, extra, credentials=credentials),
            environs=self._environs,
            timeout=timeout,
            displayName="docker service create",
            displayNamePostfix=f" {self._image} as {self.displayName}",
            abortOnError=abort,
            ignoreExitStatus=False,
        )
        if done.process is not None and done.process.exitStatus == 0:
            self._service = Path(done.stdout).read_text(encoding="utf-8").split()[0]

    def _updateByCommand(
        self,
        image: str,
        variables: Mapping[str, str],
        extra: Sequence[str],
        timeout: float,
    ) -> None:
        arguments = service_update_arguments(
            self._id(),
            extra,
            image=image,
            environment=variables,
            credentials=bool(image) and not _isThere(self._engine(), image),
        )
        self._executeDockerCommand(
            self.parent,
            arguments,
            environs=self._environs,
            timeout=timeout,
            displayName="docker service update",
            displayNamePostfix=f" {self.displayName}",
            abortOnError=True,
            ignoreExitStatus=False,
        )

    def _change(self, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        """Give the service another description, whoever else changes it, too."""
        engine = self._engine()
        for clashes in range(_MOST_CLASHES):
            found = self._inspect()
            try:
                spec = change(found["Spec"])
            except ValueError as failure:
                message = f"service {self.displayName}: {failure}"
                raise ConfigError(message) from None
            try:
                engine.update_service(self._id(), found["Version"]["Index"], spec)
            except EngineAnswerError as refusal:
                last = clashes == _MOST_CLASHES - 1
                if last or "out of sequence" not in refusal.explanation:
                    raise
            else:
                return

    def _finish(self, timeout: float) -> None:
        """Wait for a job in the foreground; complain if it failed.

        Raises:
            ContainerGoneError: Its exit code is not 0.
        """
        out, _ = allocateFiles(self.parent, f"docker service {self.displayName}")
        self._follow(Path(out).name.removesuffix(".out"))
        failed = self._waitForEnd(timeout)
        if failed is not None:
            message = (
                f"service {self.displayName} exited with exit code "
                f"{swarm.exit_code(failed)}{self._observed().last_words(failed)} "
                f"(see {Path(out).name})"
            )
            raise ContainerGoneError(message)


def _isThere(engine: ApiEngine, image: str) -> bool:
    """Return whether this node has an image."""
    try:
        engine.inspect_image(image)
    except NotFoundError:
        return False
    return True

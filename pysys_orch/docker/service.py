"""Services of a swarm: run, scaled, updated, and gone with their test."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pysys_orch.docker.container import DockerContainer
from pysys_orch.docker.convergence import Before, Convergence, Ending, Observed
from pysys_orch.docker.engine import ready, swarm
from pysys_orch.docker.engine.command import chosen_name, port_key
from pysys_orch.docker.engine.masking import without_userinfo
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import SERVICE_ID_LABEL
from pysys_orch.docker.engine.reach import addresses_within
from pysys_orch.docker.helper import allocateFiles, checked, fileName, reserveFile
from pysys_orch.docker.image import DockerImage
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.prepared import Prepared, roleOf
from pysys_orch.docker.running import listens
from pysys_orch.docker.secret import DockerConfig, DockerSecret, SwarmFile
from pysys_orch.docker.session import Session, write_json
from pysys_orch.errors import (
    ConfigError,
    ConflictError,
    ContainerGoneError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine
    from pysys_orch.docker.engine.logs import Log

log = logging.getLogger("pysys.orch.docker")

_LOOK_EVERY = 0.5
_MOST_CLASHES = 10


class DockerService(Prepared):
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

    _KIND = Kind.SERVICE

    def __init__(
        self, displayName: str | None = None, parent: Parent | None = None
    ) -> None:
        if parent is None:
            message = "DockerService needs a parent: the test, usually self"
            raise ConfigError(message)
        super().__init__(parent, displayName or "service")
        self._service = ""  # the swarm's id, once it is there
        self._owned = True
        self._uses: list[tuple[Kind, SwarmFile | str, str | None]] = []
        self._parts: dict[str, DockerContainer] = {}  # by container

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
            engine = session.swarm_engine()
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
            _requireCount(replicas)
            if foreground and not replicas:
                message = "run: a job of 0 replicas is none, let it have 1 or more"
                raise ConfigError(message)
            session = Session.of(self.parent)
            self._environs = environs
            engine = session.swarm_engine(environs)
            spec = swarm.ServiceSpec(
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
                self._service = engine.create_service(swarm.service_body(spec))
            if not self._service:
                return self
            if foreground:
                self._finish(timeout)
            else:
                self._converge(timeout, before=Before())
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
            _requireCount(replicas)
            self._change(lambda spec: swarm.changed_spec(spec, replicas=replicas))
            self._converge(timeout)
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
                    lambda spec: swarm.changed_spec(
                        spec, image=name, environment=variables
                    )
                )
            self._converge(timeout, before=before, updating=not _isRollback(extra))
        return self

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
                lambda: self._address(key, slot),
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
    ) -> Convergence:
        """Return what looks, again and again, whether so many tasks run.

        Args:
            wanted: How many; by default what the service is to have.
            before: What it was before what is waited for; by default what it is now,
                unchanged.
            updating: Whether an update is waited for.

        Raises:
            DockerError: It is not there, or the engine does not answer.
        """
        return Convergence(
            self._observed(),
            clock=Session.of(self.parent).clock,
            wanted=wanted,
            before=before,
            updating=updating,
        )

    # Waiting for it -------------------------------------------------------------------

    def waitForReplicas(
        self, replicas: int | None = None, timeout: float = 60
    ) -> DockerService:
        """Wait until so many replicas run, and no more.

        One that has ended well counts, if the service does not start it again.

        Args:
            replicas: How many; by default what the service is to have.
            timeout: Seconds after which the test is TIMEDOUT.
        """
        with self.reporting():
            if replicas is not None:
                _requireCount(replicas)
            self._converge(timeout, wanted=replicas, strict=True)
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
        with contextlib.suppress(NotFoundError):
            stem = fileName(self.displayName)
            place = reserveFile(folder, stem, ".inspect.json")
            found = without_userinfo(engine.inspect_service(self._service))
            write_json(place, found)
            stem = place.name.removesuffix(".inspect.json")  # no other service's
            tasks = engine.list_tasks(self._service)
            write_json(folder / f"{stem}.tasks.json", without_userinfo(tasks))
            for each in () if self._followers else tasks:
                name = f"{stem}.{each.get('Slot', '')}.{each['ID'][:8]}"
                self._leaveLog(engine, each, folder, name)

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

    @staticmethod
    def _leaveLog(
        engine: ApiEngine, task: Mapping[str, Any], folder: Path, name: str
    ) -> None:
        """Write the log of a task, wherever that is, unless it is out of reach."""
        from pysys_orch.docker.engine.elsewhere import read_task_log
        from pysys_orch.docker.engine.logs import read_log

        container = swarm.container_of(task)
        if not container:
            return
        try:
            found = engine.inspect_container(container)
        except NotFoundError:  # it is on another node, or gone
            found = {}
        files = {
            "out": reserveFile(folder, name, ".out"),
            "err": reserveFile(folder, name, ".err"),
        }
        if found:
            framed = not found["Config"]["Tty"]
            read_log(engine, str(found["Id"]), framed=framed, **files)
            return
        with contextlib.suppress(EngineAnswerError, EngineUnreachableError):
            read_task_log(engine, task, **files)

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

    # Making it

    def _use(
        self, method: str, kind: Kind, file: SwarmFile | str, target: str | None
    ) -> DockerService:
        with self.reporting():
            self._requireNotRun(method)
            self._uses.append((kind, file, target))
        return self

    def _files(self, engine: ApiEngine) -> list[swarm.File]:
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
            files.append(
                swarm.File(kind=kind, id=str(found["ID"]), name=name, target=place)
            )
        return files

    def _createByCommand(
        self,
        engine: ApiEngine,
        spec: swarm.ServiceSpec,
        extra: Sequence[str],
        timeout: float,
        abort: bool,
    ) -> None:
        engine.inspect_swarm()  # says better than docker that there is none
        credentials = not _isThere(engine, self._image)
        done = self._executeDockerCommand(
            self.parent,
            swarm.service_arguments(spec, extra, credentials=credentials),
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
        arguments = ["service", "update", "--detach", "--quiet"]
        if not _isRollback(extra):  # which goes with nothing else
            arguments.append("--no-resolve-image")
        if image:
            arguments += ["--image", image]
            pulls = not _isThere(self._engine(), image)
            arguments += ["--with-registry-auth"] if pulls else []
        for key, text in variables.items():
            arguments += ["--env-add", f"{key}={text}"]
        arguments += [*extra, self._id()]
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

    # Judging it

    def _converge(
        self,
        timeout: float,
        *,
        wanted: int | None = None,
        before: Before | None = None,
        updating: bool = False,
        strict: bool = False,
    ) -> None:
        """Wait until so many tasks of its present description run, and no others.

        Args:
            timeout: Seconds.
            wanted: As of `Convergence`; so are the others.
            before: As there.
            updating: As there.
            strict: As there.

        Raises:
            ContainerGoneError: They never will.
            WaitTimeoutError: They do not in time.
        """
        state = Convergence(
            self._observed(),
            clock=Session.of(self.parent).clock,
            wanted=wanted,
            before=before,
            updating=updating,
            strict=strict,
        )
        what = f"{self.displayName} has its replicas running"
        self._waitUntil(state, what=what, timeout=timeout)

    def _alive(self) -> Callable[[], None]:
        clock = Session.of(self.parent).clock
        known = swarm.ended(self._tasks())
        looked = clock.instant()

        def require() -> None:
            nonlocal looked
            if clock.instant() - looked < _LOOK_EVERY:
                return
            tasks = self._tasks()
            spec = self._inspect()["Spec"]
            wanted = swarm.asked_for(spec, tasks)
            judged = swarm.judge_tasks(tasks, spec=spec, wanted=wanted, known=known)
            looked = clock.instant()
            failure, failed = judged.failure, judged.failed
            if not failure and swarm.ends(spec) and tasks and not swarm.are_open(tasks):
                failure = "all its tasks have ended"
                failed = swarm.first_failed(tasks) or tasks[-1]
            if failure:
                last = self._observed().last_words(failed)
                message = f"service {self.displayName}: {failure}{last}"
                raise ContainerGoneError(message)

        return require

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

    # Its tasks on this node

    def _partOf(self, slot: int | None) -> DockerContainer | None:
        """Return the container of a replica that runs here, or None.

        Raises:
            ConfigError: There is no such replica.
        """
        engine, tasks = self._engine(), self._tasks()
        there = swarm.slots(tasks)
        if not there or slot not in {None, *there}:
            which = "" if slot is None else f" {slot}"
            known = f", only {', '.join(map(str, there))}" if there else ""
            message = f"service {self.displayName} has no replica{which}{known}"
            raise ConfigError(message)
        for number, task in enumerate(swarm.running_tasks(tasks), 1):
            at = task.get("Slot") or number
            if slot not in {None, at}:
                continue
            try:
                found = engine.inspect_container(swarm.container_of(task))
            except NotFoundError:  # it is on another node
                continue
            if slot is None and not found["State"]["Running"]:
                continue
            container = str(found["Id"])
            if container not in self._parts:
                self._parts[container] = DockerContainer.wrapping(
                    self.parent, found, f"{self.displayName}.{at}", self._environs
                )
            return self._parts[container]
        return None

    def _address(self, key: str, slot: int | None = None) -> tuple[str, int] | None:
        everywhere = self._portEverywhere(key)
        tasks = swarm.running_tasks(self._tasks())
        if everywhere and slot is None:
            return self._reach().required().host, everywhere
        for at, each in enumerate(tasks, 1):
            if slot not in {None, each.get("Slot") or at}:
                continue
            if address := self._addressOf(each, key):
                return address
        return None

    def _portEverywhere(self, key: str) -> int | None:
        """Return the port that all nodes publish for one inside, if they do.

        Raises:
            ConfigError: It was never exposed.
        """
        number, _, protocol = key.partition("/")
        wanted = (int(number), protocol)
        found = self._inspect()
        spec = found.get("Endpoint", {}).get("Spec") or found["Spec"].get(
            "EndpointSpec"
        )
        asked = (spec or {}).get("Ports") or []
        if wanted not in {(each["TargetPort"], each["Protocol"]) for each in asked}:
            message = (
                f"port {key} of service {self.displayName} was never exposed: "
                f"call exposePort({number}) before run()"
            )
            raise ConfigError(message)
        return swarm.published_port(found.get("Endpoint", {}), key)

    def _addressOf(self, task: Mapping[str, Any], key: str) -> tuple[str, int] | None:
        """Return where a port of a task is reached: on the node that it is on."""
        place = task["Status"].get("PortStatus") or {}
        outside = swarm.published_port(place, key)
        if not outside:
            return None
        # What the settings say of this engine's host does not hold for another node.
        elsewhere = self._engine().address_of_node(task["NodeID"])
        return elsewhere or self._reach().required().host, outside

    def _listens(self, key: str, number: int) -> bool:
        """Return whether somebody does in each of its tasks.

        Raises:
            ConfigError: One can be reached by what is published only, and nothing is.
        """
        engine, reach = self._engine(), self._reach()
        heard = []
        for task in swarm.running_tasks(self._tasks()):
            try:
                found = engine.inspect_container(swarm.container_of(task))
            except NotFoundError:  # it is on another node
                found = {}
            if found and any(addresses_within(found, reach)):
                heard.append(listens(reach, found, key, number))
                continue
            address = self._addressOf(task, key)
            if address is None and (everywhere := self._portEverywhere(key)):
                address = reach.required().host, everywhere
            heard.append(address is not None and _accepts(*address))
        return bool(heard) and all(heard)

    def _openLog(self, out: Path, err: Path) -> Log:
        from pysys_orch.docker.engine.tasklogs import ServiceLog

        engine = self._engine()
        hub = Session.of(self.parent).hub(engine)
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


def _accepts(host: str, port: int) -> bool:
    try:
        return ready.accepts_connections(host, port, direct=False)
    except OSError:
        return False


def _isThere(engine: ApiEngine, image: str) -> bool:
    """Return whether this node has an image."""
    try:
        engine.inspect_image(image)
    except NotFoundError:
        return False
    return True


def _isRollback(extra: Sequence[str]) -> bool:
    """Return whether arguments of ``docker service update`` take the last one back."""
    return not {"--rollback", "--rollback=true"}.isdisjoint(extra)


def _requireCount(replicas: object) -> None:
    if not isinstance(replicas, int) or replicas < 0:
        message = f"replicas is a number from 0 on, got {replicas!r}"
        raise ConfigError(message)

"""Containers: started, watched, waited for, and gone with their test."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pysys_orch.docker.engine import ready
from pysys_orch.docker.engine.command import (
    ContainerSpec,
    chosen_name,
    create_body,
    run_arguments,
)
from pysys_orch.docker.engine.ownership import RUN_LABEL, disowned
from pysys_orch.docker.helper import allocateFiles, fileName
from pysys_orch.docker.image import DockerImage
from pysys_orch.docker.many import atOnce, severalOf
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.prepared import Prepared, roleOf
from pysys_orch.docker.runningcontainer import RunningContainer
from pysys_orch.docker.session import Session
from pysys_orch.errors import (
    ConfigError,
    ContainerGoneError,
    EngineAnswerError,
    NotFoundError,
)
from pysys_orch.inputs import nearest

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine

log = logging.getLogger("pysys.orch.docker")


class DockerContainer(Prepared, RunningContainer):
    """Helper class for working with Docker containers.

    Owns the container that it wraps: it is killed and removed when the parent is
    cleaned up, and when the parent's run dies. If the test failed, the container's
    inspection, logs and events are left in the output directory.

    Methods that return nothing else return the helper itself, to allow chaining. Every
    wait has a time limit, ends early when the run is aborted, and says what the
    container did when it died in the meantime.

    Args:
        parent: The test or runner.
        displayName: What to call it in logs and in the names of files; also becomes
            part of the container's name.
    """

    def __init__(
        self, parent: Parent | None = None, displayName: str | None = None
    ) -> None:
        if parent is None:
            message = "DockerContainer needs a parent: the test, usually self"
            raise ConfigError(message)
        super().__init__(parent, displayName or "container")

    # Making one -------------------------------------------------------------------

    @classmethod
    def fromImage(
        cls, image: DockerImage, displayName: str | None = None
    ) -> DockerContainer:
        """Prepare to create and run a container from an image.

        Args:
            image: The `DockerImage` to create from.
            displayName: What to call it; by default after the image.
        """
        container = cls(image.parent, displayName or roleOf(image))
        container._image = image.getName()
        return container

    @classmethod
    def fromExisting(
        cls, parent: Parent, name: str, own: bool = True
    ) -> DockerContainer:
        """Wrap an existing running container.

        Args:
            parent: The test or runner.
            name: Name or id of the existing container.
            own: Whether it is removed when the parent is cleaned up. Mind the default:
                what you wrap is gone after the test.
        """
        container = cls(parent, name)
        container._name = name
        container._owned = own
        with container.reporting():
            session = Session.of(parent)
            engine = session.engines.engine()
            session.belongings(parent).add(container)
            try:
                found = engine.inspect_container(name)
            except NotFoundError:
                message = f"there is no container {name}"
                raise ContainerGoneError(message) from None
            container._container = str(found["Id"])
        return container

    @classmethod
    def wrapping(
        cls,
        parent: Parent,
        found: Mapping[str, Any],
        displayName: str,
        environs: Mapping[str, str] | None = None,
    ) -> DockerContainer:
        """Wrap a container that something else owns, and has just inspected.

        Args:
            parent: The test or runner.
            found: Its inspection.
            displayName: What to call it.
            environs: What decides which engine it is on.
        """
        container = cls(parent, displayName)
        container._container = str(found["Id"])
        container._name = str(found["Name"]).lstrip("/")
        container._environs = environs
        container._watchEvents()
        return container

    # Its life ----------------------------------------------------------------------

    def run(
        self,
        cmd: Sequence[str] | str | None = None,
        extraArgs: Sequence[str] | None = None,
        foreground: bool = False,
        abortOnError: bool = True,
        environs: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> DockerContainer:
        """Run the container.

        Processes inside have the current user and group id, to share files with the
        host, unless *extraArgs* say otherwise.

        Args:
            cmd: Command with arguments, in place of the image's own; a text is split as
                a shell would.
            extraArgs: More arguments of ``docker run``.
            foreground: Whether to return only once the command has finished. Its output
                is then in files named after the container, and an exit code other than
                0 makes the test BLOCKED.
            abortOnError: Whether to end the test if the container cannot be started.
            environs: The environment of the docker client, not of the container: see
                `setEnv`. Clean by default, with what the client needs.
            timeout: Seconds that starting may take, and then the command if it is run
                in the foreground.
        """
        with self.reporting(abortOnError=abortOnError):
            self._run(cmd, extraArgs, foreground, abortOnError, environs, timeout)
        return self

    @staticmethod
    def runAll(
        containers: Iterable[DockerContainer],
        cmd: Sequence[str] | str | None = None,
        extraArgs: Sequence[str] | None = None,
        foreground: bool = False,
        *,
        concurrency: int = 8,
        log: bool = False,
        environs: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> list[DockerContainer]:
        """Run several containers at once, each as `run` does.

        If one cannot be run, no more are begun, what is under way is finished, and the
        test ends with what became of the first that failed.

        Args:
            containers: What to run: prepared containers of one parent.
            cmd: As of `run`, for each of them.
            extraArgs: As of `run`, for each of them.
            foreground: As of `run`, for each of them.
            concurrency: How many are started at the same time; more than eight do not
                make an engine faster. With *foreground* this is how many run at once.
            log: Whether to stream the output of each to files that are named after it,
                as `log` does.
            environs: As of `run`.
            timeout: As of `run`, for each of them.

        Returns:
            The containers.

        Raises:
            ConfigError: *containers* are none; of `self.docker.runAll` it is an
                outcome, as everything else is.
        """
        given = severalOf("runAll", DockerContainer, containers)
        if not given:
            return given

        def begin(each: DockerContainer) -> None:
            each._run(cmd, extraArgs, foreground, True, environs, timeout)
            if log and not each._followers:
                each.ensureLog(fileName(each.displayName))

        with given[0].reporting():
            atOnce(given[0].parent, given, begin, concurrency)
        return given

    def start(self, startCount: int = 0, **kwargs: Any) -> DockerContainer:
        """Start a stopped container again.

        Its logs go on in the same files; its exposed ports have moved.

        Args:
            startCount: Kept for compatibility; not needed.
            kwargs: Ignored, for compatibility.
        """
        with self.reporting():
            self._engine().start_container(self._id())
        return self

    def stop(self, timeout: float = 10) -> DockerContainer:
        """Ask the main process to end (SIGTERM), and kill it if it does not.

        Args:
            timeout: Seconds that it has.
        """
        with self.reporting():
            engine, container = self._engine(), self._id()
            self._abortably(lambda: engine.stop_container(container, timeout))
            self._settleLogs()
        return self

    def kill(self, signal: str = "KILL") -> DockerContainer:
        """Send a signal to the main process.

        Args:
            signal: Its name, with or without SIG.
        """
        with self.reporting():
            self._engine().kill_container(self._id(), signal)
            self._settleLogs()
        return self

    def restart(self, timeout: float = 10) -> DockerContainer:
        """Stop it as `stop` does, and start it again.

        Args:
            timeout: Seconds that the main process has to end.
        """
        with self.reporting():
            engine, container = self._engine(), self._id()
            self._abortably(lambda: engine.restart_container(container, timeout))
        return self

    def pause(self) -> DockerContainer:
        """Freeze all its processes."""
        with self.reporting():
            self._engine().pause_container(self._id())
        return self

    def unpause(self) -> DockerContainer:
        """Let its processes go on."""
        with self.reporting():
            self._engine().unpause_container(self._id())
        return self

    def commit(self, **kwargs: Any) -> DockerImage:
        """Make an image of the container as it is now.

        Args:
            kwargs: Ignored, for compatibility.

        Returns:
            A `DockerImage`, removed when the parent is cleaned up.
        """
        image = DockerImage.fromBlank(self.parent)
        with self.reporting():
            self._engine().commit_container(self._id(), image.getName(), disowned())
        return image

    # Inside ---------------------------------------------------------------------------

    def _run(
        self,
        cmd: Sequence[str] | str | None,
        extraArgs: Sequence[str] | None,
        foreground: bool,
        abort: bool,
        environs: Mapping[str, str] | None,
        timeout: float,
    ) -> None:
        self._requireNotRun("run")
        session = Session.of(self.parent)
        engine = session.engines.engine(environs)
        spec = self._containerSpec(session, cmd)
        extra = [str(each) for each in extraArgs or ()]
        if foreground:
            # It goes with its test anyway, and until then can be asked how it went.
            extra = [each for each in extra if each not in {"--rm", "--rm=true"}]
        self._requireVolumes(engine)
        self._environs = environs
        self._name = chosen_name(extra) or spec.name
        session.belongings(self.parent).add(self)
        if extra:
            # Docker's arguments are for docker's own parser to understand.
            self._runByCommand(spec, extra, environs, timeout, abort)
        else:
            self._runByEngine(engine, spec, environs, timeout, abort)
        if not self._container:
            return
        log.info("Started %s as %s", self.displayName, self._name)
        if foreground:
            self._finish(timeout)

    def _requireVolumes(self, engine: ApiEngine) -> None:
        """Raise unless the volumes are there: an engine would make what nobody owns.

        Raises:
            ConfigError: One is not; with what is near.
        """
        for name in dict.fromkeys(each.volume for each in self._volumes):
            try:
                engine.inspect_volume(name)
            except NotFoundError:
                listed = engine.list_labelled("/volumes", [])
                others = (
                    each["Name"]
                    for each in listed
                    if RUN_LABEL not in (each.get("Labels") or {})
                )
                message = (
                    f"mountVolume: there is no volume {name}{nearest(name, others)}; "
                    "make one by self.docker.volume(), and mount that"
                )
                raise ConfigError(message) from None

    def _runByCommand(
        self,
        spec: ContainerSpec,
        extra: Sequence[str],
        environs: Mapping[str, str] | None,
        timeout: float,
        abort: bool,
    ) -> None:
        # By its name, since it may lack memory before the client has told its id.
        hub = Session.of(self.parent).engines.hub(self._engine())
        self._watch = hub.watch(f"name={self._name}")
        done = self._executeDockerCommand(
            self.parent,
            run_arguments(spec, extra),
            environs=environs,
            timeout=timeout,
            displayNamePostfix=f" {spec.image} as {self.displayName}",
            abortOnError=abort,
            ignoreExitStatus=False,
            raising=True,
        )
        if done.process is not None and done.process.exitStatus == 0:
            lines = Path(done.stdout).read_text(encoding="utf-8").split()
            self._container = lines[-1]

    def _runByEngine(
        self,
        engine: ApiEngine,
        spec: ContainerSpec,
        environs: Mapping[str, str] | None,
        timeout: float,
        abort: bool,
    ) -> None:
        body = create_body(spec)
        try:
            container = engine.create_container(spec.name, body)
        except NotFoundError:
            if ":" not in spec.image.rpartition("/")[2]:
                # Without a tag, a pull would take all of them.
                latest = f"{spec.image}:latest"
            else:
                latest = spec.image
            done = self._executeDockerCommand(
                self.parent,
                ["pull", latest],
                environs=environs,
                timeout=timeout,
                displayNamePostfix=f" {latest}",
                abortOnError=abort,
                ignoreExitStatus=False,
                raising=True,
            )
            if done.process is None or done.process.exitStatus != 0:
                return
            container = engine.create_container(spec.name, body)
        self._container = container
        self._watchEvents()
        try:
            engine.start_container(container)
        except EngineAnswerError as refusal:
            if "port is already allocated" not in refusal.explanation:
                raise
            engine.start_container(container)  # the engine chooses another one

    def _finish(self, timeout: float) -> None:
        """Wait for a container in the foreground; complain if it failed.

        Raises:
            ContainerGoneError: Its exit code is not 0.
        """
        out, _ = allocateFiles(self.parent, f"docker run {self.displayName}")
        self._follow(Path(out).name.removesuffix(".out"))
        code = self._waitForExit(timeout)
        if code:
            state = self._explained(self._inspect())
            lines = " ; ".join(self._tail())
            said = f"its last words: {lines}" if lines else "it logged nothing"
            message = (
                f"container {self.displayName} {ready.ending(state)}, {said} "
                f"(see {Path(out).name})"
            )
            raise ContainerGoneError(message)

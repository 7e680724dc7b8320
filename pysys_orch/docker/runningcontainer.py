"""A container as it runs: what it does, how it ends, and what it leaves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pysys.constants import BACKGROUND, FOREGROUND

from pysys_orch.docker.engine import converge, ready
from pysys_orch.docker.engine.events import DIE, KILL, OOM, START
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.reach import addresses_within
from pysys_orch.docker.evidence import writeEvidence
from pysys_orch.docker.helper import (
    Docker,
    fileName,
    reserveFile,
)
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session
from pysys_orch.errors import (
    ConfigError,
    ConflictError,
    ContainerGoneError,
    DockerError,
    NotFoundError,
)

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine
    from pysys_orch.docker.engine.events import ContainerEvent, Watch
    from pysys_orch.docker.engine.logs import Log

from pysys_orch.docker.running import Running, listens, splitCommand

_LOOK_EVERY = 0.5
_LISTEN_EVERY = 0.1
# What an engine hears of a container's end, it does not hear all at once.
_REASON_PATIENCE = 1.0
_REASON_POLL = 0.05


class RunningContainer(Running):
    """What can be asked of a container once it was run.

    Not used directly: `pysys_orch.docker.DockerContainer` is this, and makes one.
    """

    def __init__(self, parent: Parent, displayName: str) -> None:
        super().__init__(parent, displayName)
        self._container = ""  # the engine's id, once it runs
        self._owned = True
        self._watch: Watch | None = None

    # What it is doing -----------------------------------------------------------------

    def inspect(self) -> dict[str, Any]:
        """Return all that the engine knows about it, as ``docker inspect`` shows it."""
        with self.reporting():
            return self._inspect()
        return {}

    def getId(self) -> str:
        """Return the engine's id of it; empty before it was run."""
        return self._container

    def getState(self) -> str:
        """Return its state.

        Returns:
            ``created``, ``running``, ``paused``, ``restarting``, ``exited`` or
            ``dead``; ``removed`` once it is gone, and nothing before it was run.
        """
        if not self._container:
            return ""
        with self.reporting():
            try:
                return str(self._inspect()["State"]["Status"])
            except ContainerGoneError:
                return "removed"
        return ""

    def getExitCode(self) -> int | None:
        """Return the exit code of its main process, or None while that runs."""
        with self.reporting():
            state = self._inspect()["State"]
            ended = state["Status"] in {"exited", "dead"}
            return int(state["ExitCode"]) if ended else None
        return None

    def getEnding(self) -> str:
        """Return in words how its main process ended, or nothing while that runs.

        Lack of memory is told from a crash: ``was killed for lack of memory (limit 16
        MiB, exit code 137)``.
        """
        with self.reporting():
            try:
                found = self._inspect()
            except ContainerGoneError:
                return "was removed"
            ended = found["State"]["Status"] in {"exited", "dead"}
            return ready.ending(self._explained(found)) if ended else ""
        return ""

    def wasOomKilled(self) -> bool:
        """Return whether the kernel killed a process in it for lack of memory.

        That is since it was last started, whether or not the main process was the one,
        and whether or not that has ended. An engine that is busy may not hear of it: of
        a container with a limit, a kill that was not asked of the engine counts too.
        """
        with self.reporting():
            try:
                state = self._explained(self._inspect())
            except ContainerGoneError:
                return OOM in self._heard()
            return bool(state.get("OOMKilled")) or ready.is_supposed_lack(state)
        return False

    def exec(
        self,
        command: Sequence[str] | str,
        extraArgs: Sequence[str] = (),
        *,
        background: bool = False,
        timeout: float = 600,
        abortOnError: bool = True,
        ignoreExitStatus: bool = False,
    ) -> Docker:
        """Run a command inside the container.

        Args:
            command: Command with arguments; a text is split as a shell would.
            extraArgs: More arguments of ``docker exec``: ``["--user", "root"]``.
            background: Whether to return while it runs.
            timeout: Seconds after which the client in the foreground is ended.
            abortOnError: Whether a failure ends the test.
            ignoreExitStatus: Whether any exit status will do.

        Returns:
            The tuple (process, stdout, stderr), with the files that hold its output.
        """
        arguments = splitCommand(command)
        with self.reporting(abortOnError=abortOnError):
            return self._executeDockerCommand(
                self.parent,
                ["exec", *extraArgs, self._id(), *arguments],
                environs=self._environs,
                state=BACKGROUND if background else FOREGROUND,
                timeout=timeout,
                displayName=f"docker exec {self.displayName}",
                displayNamePostfix=f" {' '.join(' '.join(arguments).split())[:60]}",
                abortOnError=abortOnError,
                ignoreExitStatus=ignoreExitStatus,
            )
        return Docker(None, "", "")

    def copyTo(
        self, hostpath: str, containerpath: str, *, timeout: float = 600
    ) -> Self:
        """Copy a file or directory into the container, whether it runs or not.

        Args:
            hostpath: Absolute, or relative to the test's input directory.
            containerpath: Absolute path in the container.
            timeout: Seconds that it may take.
        """
        with self.reporting():
            source = Path(self.parent.input, hostpath).absolute()
            if not source.exists():
                message = f"copyTo: {source} does not exist"
                raise ConfigError(message)
            self._copy(str(source), f"{self._id()}:{containerpath}", timeout)
        return self

    def copyFrom(
        self, containerpath: str, hostpath: str, *, timeout: float = 600
    ) -> Self:
        """Copy a file or directory out of the container, whether it runs or not.

        Args:
            containerpath: Absolute path in the container.
            hostpath: Absolute, or relative to the test's output directory.
            timeout: Seconds that it may take.
        """
        with self.reporting():
            target = Path(self.parent.output, hostpath).absolute()
            target.parent.mkdir(parents=True, exist_ok=True)
            self._copy(f"{self._id()}:{containerpath}", str(target), timeout)
        return self

    # Waiting for it -------------------------------------------------------------------

    def waitForExit(self, timeout: float = 60) -> int:
        """Wait until its main process has ended.

        Args:
            timeout: Seconds after which the test is TIMEDOUT.

        Returns:
            The exit code.
        """
        with self.reporting():
            return self._waitForExit(timeout)
        return -1

    def waitForHealthy(self, timeout: float = 60) -> Self:
        """Wait until its health check has passed.

        Args:
            timeout: Seconds after which the test is TIMEDOUT.
        """
        with self.reporting():
            state = self._inspect()["State"]
            if "Health" not in state:
                message = (
                    f"{self.displayName} has no health check: give its image a "
                    "HEALTHCHECK, or wait for a port or a line in its log"
                )
                raise ConfigError(message)
            self._waitFor(
                lambda: self._health() == "healthy" or None,
                what=f"{self.displayName} is healthy",
                timeout=timeout,
            )
        return self

    # What a test's cleanup asks of it ------------------------------------------------

    def resources(self) -> list[Resource]:
        """Return the container to remove."""
        name = self._name or self._container
        if not self._owned:
            return []
        if not self._container and not self._isNamedOurs(name):
            return []
        return [Resource(kind=Kind.CONTAINER, id=self._container or name, name=name)]

    def leaveEvidence(self, folder: Path) -> None:
        """Write its inspection, its whole log and its events into *folder*."""
        from pysys_orch.docker.engine.logs import read_log

        engine = self.engineInUse()
        container = self._container or next((r.id for r in self.resources()), "")
        if engine is None or not container:
            return
        try:
            found = engine.inspect_container(container)
        except NotFoundError:
            return
        place = reserveFile(folder, fileName(self.displayName), ".inspect.json")
        writeEvidence(place, found)
        stem = place.name.removesuffix(".inspect.json")  # no other container's
        if self._watch is not None:
            events = [
                {"at": each.at.isoformat(), "action": each.action, **each.attributes}
                for each in self._lateEvents(found)
            ]
            writeEvidence(folder / f"{stem}.events.json", events)
        if not self._followers:
            read_log(
                engine,
                str(found["Id"]),
                framed=not found["Config"]["Tty"],
                out=reserveFile(folder, stem, ".out"),
                err=reserveFile(folder, stem, ".err"),
            )

    def end(self) -> None:
        """Kill it if its log is being read, and read that to its end."""
        if not self._owned:
            try:
                self._settleLogs()
            finally:
                self.detach()
            return
        engine = self.engineInUse()
        if engine is not None and self._followers:
            with contextlib.suppress(NotFoundError, ConflictError):
                engine.kill_container(self._container, "KILL")
        try:
            self._endLogs()
        finally:
            if self._watch is not None:
                self._watch.close()

    def detach(self) -> None:
        """Stop reading its log; it runs on."""
        for follower in self._followers.values():
            follower.close()
        if self._watch is not None:
            self._watch.close()

    # Inside ---------------------------------------------------------------------------

    def _environmentFilters(self) -> list[str]:
        """Return what ``docker ps`` filters by: a container's environment is itself."""
        return [f"id={self._id()}"]

    def _environmentOf(self, path: str) -> list[dict[str, Any]]:
        """Return its own volumes or networks."""
        engine, found = self._engine(), self._inspect()
        if path == "/networks":
            networks = found["NetworkSettings"]["Networks"].values()
            return [engine.inspect_network(each["NetworkID"]) for each in networks]
        volumes = [each for each in found["Mounts"] if each["Type"] == "volume"]
        return [{"Name": each["Name"], "Driver": each["Driver"]} for each in volumes]

    def _watchEvents(self) -> None:
        engine = self._engine()
        self._watch = Session.of(self.parent).engines.hub(engine).watch(self._container)

    def _id(self) -> str:
        """Return the engine's id of it.

        Raises:
            ConfigError: It was not run, or could not be.
        """
        if not self._container:
            message = f"container {self.displayName} does not run: call run() first"
            raise ConfigError(message)
        return self._container

    def _inspect(self) -> dict[str, Any]:
        """Return its inspection.

        Raises:
            ContainerGoneError: It was removed.
        """
        try:
            return self._engine().inspect_container(self._id())
        except NotFoundError:
            message = f"container {self.displayName} was removed"
            raise ContainerGoneError(message) from None

    def _wording(self, reason: str) -> str:
        """Return a reason that calls the container what its test calls it."""
        if not self._container:
            return reason
        return reason.replace(self._container, self.displayName)

    def _copy(self, source: str, target: str, timeout: float) -> None:
        self._executeDockerCommand(
            self.parent,
            ["cp", source, target],
            environs=self._environs,
            timeout=timeout,
            abortOnError=True,
            ignoreExitStatus=False,
        )

    def _alive(self) -> Callable[[], None]:
        """Return what raises, while somebody waits, once the container has ended.

        So it does of a container that the engine restarts, once that dies again and
        again. The engine is asked when an event has come, and now and then all the
        same.
        """
        clock = Session.of(self.parent).clock
        looked = (-1, 0.0)  # events heard by then, and when it was looked at
        first = -1  # restarts before the wait

        def require() -> None:
            nonlocal looked, first
            heard = 0 if self._watch is None else self._watch.count
            if heard == looked[0] and clock.instant() - looked[1] < _LOOK_EVERY:
                return
            looked = (heard, clock.instant())
            found = self._inspect()
            state = self._explained(found)
            ready.require_running(self.displayName, state, self._tail)
            restarts = int(found.get("RestartCount", 0))
            first = restarts if first < 0 else first
            if restarts - first >= converge.MOST_RESTARTS:
                lines = ready.quoted(self._tail())
                message = (
                    f"container {self.displayName} keeps dying: it was restarted "
                    f"{restarts - first} times meanwhile{lines}"
                )
                raise ContainerGoneError(message)

        return require

    def _tail(self) -> list[str]:
        """Return the last lines that it logged, on either stream."""
        from pysys_orch.docker.engine.logs import last_lines

        return last_lines(self._engine(), self._inspect())

    def _address(self, key: str) -> tuple[str, int] | None:
        found = self._inspect()
        asked = (found["HostConfig"].get("PortBindings") or {}).keys()
        if key not in asked and not found["HostConfig"].get("PublishAllPorts"):
            message = (
                f"port {key} of container {self.displayName} was never exposed: "
                f"call exposePort({key.partition('/')[0]}) before run()"
            )
            raise ConfigError(message)
        bindings = (found["NetworkSettings"].get("Ports") or {}).get(key) or []
        ports = [int(each["HostPort"]) for each in bindings if each.get("HostPort")]
        return (self._reach().required().host, ports[0]) if ports else None

    def _explained(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the state of an inspection, once the engine knows why it ended.

        That a container lacked memory an engine may hear only after it has ended.
        """
        clock = Session.of(self.parent).clock
        deadline = clock.instant() + _REASON_PATIENCE
        state: Mapping[str, Any] = found["State"]
        limit = found["HostConfig"].get("Memory")
        while (
            limit
            and state.get("ExitCode")
            and not state.get("Running")
            and not state.get("OOMKilled")
            and not self._heard(state["ExitCode"]) & {OOM, KILL}
            and clock.instant() < deadline
        ):
            self.parent.pollWait(_REASON_POLL)
            state = self._inspect()["State"]
        heard = self._heard(state.get("ExitCode", 0))
        if not limit or (KILL in heard and OOM not in heard):
            return state
        lacking = state.get("OOMKilled") or OOM in heard
        return {**state, "OOMKilled": lacking, ready.MEMORY_LIMIT: limit}

    def _heard(self, code: int = 0) -> set[str]:
        """Return what has happened to it, in words of events, since it was started.

        Of signals that it was sent only the one counts by which it ended, with *code*.
        That a process that is not the main one was killed for lack of memory, engines
        of release 20.10 tell by an event only.
        """
        actions: set[str] = set()
        for each in reversed(self._watch.events() if self._watch is not None else ()):
            if each.action == START:
                break
            if each.action != KILL or each.explains(code):
                actions.add(each.action)
        return actions

    def _lateEvents(self, found: Mapping[str, Any]) -> Sequence[ContainerEvent]:
        """Return the events, once the container's end is among them if it has ended."""
        if self._watch is None:
            return ()
        clock = Session.of(self.parent).clock
        deadline = clock.instant() + _REASON_PATIENCE
        while True:
            seen, events = self._watch.count, self._watch.events()
            left = deadline - clock.instant()
            ended = found["State"]["Status"] == "exited"
            if not ended or left <= 0 or any(each.action == DIE for each in events):
                return events
            if not self._watch.wait(seen, left):
                return events

    def _waitForExit(self, timeout: float) -> int:
        def ended() -> int | None:
            try:
                state = self._inspect()["State"]
            except ContainerGoneError:
                events = self._watch.events() if self._watch is not None else ()
                for each in reversed(events):
                    if each.action == DIE:
                        return int(each.attributes["exitCode"])
                raise
            over = state["Status"] in {"exited", "dead"}
            return int(state["ExitCode"]) if over else None

        code = ready.wait_for(
            ended,
            what=f"container {self.displayName} ends",
            timeout=timeout,
            clock=Session.of(self.parent).clock,
            pause=self.parent.pollWait,
            alive=lambda: None,
        )
        self._settleLogs()
        return code

    def _settleLogs(self) -> None:
        """Wait until the files of a container that does not run hold its whole log."""
        try:
            if not self._followers or self._inspect()["State"]["Running"]:
                return
        except ContainerGoneError:
            pass  # what can be read of it was
        for follower in list(self._followers.values()):
            self._settle(follower)

    def _abortably(self, call: Callable[[], object]) -> None:
        """Do what takes the engine long, without making an aborted run wait for it."""
        failures: list[DockerError] = []

        def attempt() -> None:
            try:
                call()
            except DockerError as failure:
                failures.append(failure)

        thread = threading.Thread(target=attempt, name="orch-request", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_LISTEN_EVERY)
            self.parent.pollWait(0)
        if failures:
            raise failures[0]

    def _listens(self, key: str, number: int) -> bool:
        reach, found = self._reach(), self._inspect()
        if listens(reach, found, key, number):
            return True
        if not list(addresses_within(found, reach)):
            self._address(key)
        return False

    def _openLog(self, out: Path, err: Path) -> Log:
        from pysys_orch.docker.engine.logs import LogFollower

        engine = self._engine()
        return LogFollower(
            engine,
            self._container,
            out=out,
            err=err,
            framed=not self._inspect()["Config"]["Tty"],
            hub=Session.of(self.parent).engines.hub(engine),
        )

    def _labelsOf(self, engine: ApiEngine, name: str) -> Mapping[str, str]:
        return engine.inspect_container(name)["Config"]["Labels"] or {}

    def _health(self) -> str:
        return str(self._inspect()["State"].get("Health", {}).get("Status", ""))

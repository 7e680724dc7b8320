"""A container as it runs: what it does, what it says, and waiting for it."""

from __future__ import annotations

import contextlib
import re
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pysys.constants import BACKGROUND, FOREGROUND

from pysys_orch.docker.engine import converge, ready
from pysys_orch.docker.engine.command import port_key
from pysys_orch.docker.engine.masking import without_userinfo
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.helper import (
    Docker,
    DockerBelonging,
    checked,
    fileName,
    reserveFile,
)
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session, write_json
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

_T = TypeVar("_T")

_LOOK_EVERY = 0.5
_SETTLE_TIMEOUT = 30.0
_ABORTED_SETTLE_TIMEOUT = 1.0  # PySys complains loudly after 5 s
_LISTEN_EVERY = 0.1
_KILLED = 137
# What an engine hears of a container's end, it does not hear all at once.
_REASON_PATIENCE = 1.0
_REASON_POLL = 0.05


class Running(DockerBelonging):
    """What containers and services have in common once they run: ports, logs, waits.

    Not used directly.
    """

    #: What it is, for messages.
    _KIND = Kind.CONTAINER

    def __init__(self, parent: Parent, displayName: str) -> None:
        super().__init__(parent, displayName)
        self._name = ""
        self._followers: dict[str, Log] = {}  # by what the names of files begin with
        self._ownLogs: dict[str, str] = {}  # that, by what was asked for
        self._lock = threading.RLock()

    def getName(self) -> str:
        """Return its name on the engine; empty before it was run."""
        return self._name

    def getExternalPort(self, port: int | str) -> int:
        """Return the port on the host for a port inside the container.

        Ask again after a restart: the engine then chooses another one.

        Args:
            port: The port inside the container, exposed by `exposePort`.

        Returns:
            The port on the host's loopback; of an engine elsewhere, and of a service,
            at the address that `getExternalAddress` tells.
        """
        with self.reporting():
            return self._waitForAddress(port)[1]
        return 0

    def getExternalAddress(self, port: int | str) -> tuple[str, int]:
        """Return where a port inside the container is reached from here.

        Ask again after a restart: the engine then chooses another one.

        Args:
            port: The port inside the container, exposed by `exposePort`.

        Returns:
            The host's name or address, and the port there.
        """
        with self.reporting():
            return self._waitForAddress(port)
        return "", 0

    def log(self, logfile: str, **kwargs: Any) -> Self:
        """Stream its output live to two files, from the first line on.

        The files are complete once the container has ended, and go on when it is
        started again.

        Args:
            logfile: What the names of the files begin with, in the output directory;
                ``.out`` is appended for standard output, ``.err`` for standard error.
            kwargs: Ignored, for compatibility.
        """
        with self.reporting():
            self._follow(logfile)
        return self

    def waitForPort(self, port: int | str, timeout: float = 60) -> Self:
        """Wait until somebody listens on a port inside the container.

        Args:
            port: TCP port inside the container, exposed by `exposePort` or reachable
                from here.
            timeout: Seconds after which the test is TIMEDOUT.
        """
        with self.reporting():
            key = checked(lambda: port_key(port))
            number = int(key.partition("/")[0])
            self._waitFor(
                lambda: self._listens(key, number) or None,
                what=f"port {key} of {self.displayName} accepts connections",
                timeout=timeout,
            )
        return self

    def waitForLog(
        self, expr: str, timeout: float = 60, *, errorExpr: str | None = None
    ) -> re.Match[str] | None:
        """Wait until a line of its output matches.

        Only what is new is read, from the container's first line on. Where `log` was
        not called, this begins to stream to files named after the container.

        Args:
            expr: Regular expression, searched for in each line of both streams.
            timeout: Seconds after which the test is TIMEDOUT.
            errorExpr: Regular expression of a line after which waiting is in vain.

        Returns:
            The match.
        """
        with self.reporting():
            return self._waitForLog(expr, errorExpr, timeout)
        return None

    def waitForHttp(
        self, port: int | str, path: str = "/", status: int = 200, timeout: float = 60
    ) -> Self:
        """Wait until an HTTP request is answered as expected.

        Args:
            port: Port inside the container, exposed by `exposePort`.
            path: What to get, with a query if need be.
            status: The status code that counts.
            timeout: Seconds after which the test is TIMEDOUT.
        """
        with self.reporting():
            key = checked(lambda: port_key(port))
            last = ["nothing was answered"]
            what = f"GET {path} at port {key} of {self.displayName} answers {status}"
            try:
                self._waitFor(
                    lambda: self._answers(key, path, status, last),
                    what=what,
                    timeout=timeout,
                )
            except DockerError as failure:
                failure.args = (f"{failure} (last: {last[0]})",)
                raise
        return self

    # Inside ---------------------------------------------------------------------------

    def _id(self) -> str:
        """Return the engine's id of it.

        Raises:
            ConfigError: It was not run, or could not be.
        """
        raise NotImplementedError

    def _alive(self) -> Callable[[], None]:
        """Return what raises, while somebody waits, once waiting is in vain."""
        raise NotImplementedError

    def _address(self, key: str) -> tuple[str, int] | None:
        """Return where ``8000/tcp`` is reached from here, or None if it is not yet.

        Raises:
            ConfigError: It was never exposed.
        """
        raise NotImplementedError

    def _waitForAddress(self, port: int | str) -> tuple[str, int]:
        key = checked(lambda: port_key(port))
        return self._waitFor(
            lambda: self._address(key),
            what=f"port {key} of {self.displayName} is published",
            timeout=10,
        )

    def _listens(self, key: str, number: int) -> bool:
        """Return whether somebody accepts connections on a port inside."""
        raise NotImplementedError

    def _openLog(self, out: Path, err: Path) -> Log:
        """Begin to stream its output to two files."""
        raise NotImplementedError

    def _labelsOf(self, engine: ApiEngine, name: str) -> Mapping[str, str]:
        """Return the labels of what has this name on the engine."""
        raise NotImplementedError

    def _requireNotRun(self, method: str) -> None:
        if self._name:
            message = f"{method}: {self._KIND} {self.displayName} has been run already"
            raise ConfigError(message)

    def _isNamedOurs(self, name: str) -> bool:
        """Return whether what has that name was made for our parent.

        Where a test chose the name itself, somebody else's may have it already.
        """
        engine = self.engineInUse()
        if engine is None or not name:
            return False
        try:
            return self._isOurs(self._labelsOf(engine, name))
        except DockerError:
            return False

    def _waitFor(
        self, probe: Callable[[], _T | None], *, what: str, timeout: float
    ) -> _T:
        """Wait for *probe*; say so if it ends first."""
        self._id()
        return ready.wait_for(
            probe,
            what=what,
            timeout=timeout,
            clock=Session.of(self.parent).clock,
            pause=self.parent.pollWait,
            alive=self._alive(),
        )

    def _settle(self, follower: Log) -> bool:
        """Wait until a log is read to its end, but not for long if the run is aborted.

        Returns:
            Whether it is.
        """
        clock = Session.of(self.parent).clock
        deadline = clock.instant() + _SETTLE_TIMEOUT
        while not follower.settle(_LISTEN_EVERY):
            self.parent.pollWait(0)
            if follower.ended or clock.instant() >= deadline:
                return False
            if self.parent.isRunnerAborting:  # in cleanup, where waits go on
                return follower.settle(_ABORTED_SETTLE_TIMEOUT)
        return True

    def _endLogs(self) -> None:
        """Read what is being read to its end.

        Raises:
            DockerError: Not all of it could be.
        """
        failures = []
        for follower in self._followers.values():
            settled = self._settle(follower)
            # What was removed by others (``--rm``) cannot be read again.
            removed = follower.ended
            follower.close()
            if follower.failure is not None:
                failures.append(str(follower.failure))
            elif not settled and not removed and not self.parent.isRunnerAborting:
                failures.append(f"not read to its end within {_SETTLE_TIMEOUT:g} s")
        if failures:
            message = f"the log of {self.displayName} is incomplete: {failures[0]}"
            raise DockerError(message)

    def _answers(
        self, key: str, path: str, status: int, last: list[str]
    ) -> bool | None:
        import requests

        address = self._address(key)
        if address is None:
            return None
        url = f"http://{address[0]}:{address[1]}/{path.lstrip('/')}"
        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy has no business between us
                answer = session.get(url, timeout=2, allow_redirects=False)
        except requests.RequestException as failure:
            last[0] = type(failure).__name__
            return None
        last[0] = f"status {answer.status_code}"
        return answer.status_code == status or None

    def _follow(self, logfile: str) -> Log:
        with self._lock:
            if logfile not in self._followers:
                self._id()
                folder = Path(self.parent.output)
                folder.mkdir(parents=True, exist_ok=True)
                self._followers[logfile] = self._openLog(
                    folder / f"{logfile}.out", folder / f"{logfile}.err"
                )
            return self._followers[logfile]

    def ensureLog(self, stem: str) -> None:
        """Stream its output as `log` does, unless that is done already.

        Args:
            stem: What its files are called, if nobody else has such files; else there
                is a number after it.

        Raises:
            DockerError: It cannot be read.
        """
        self._ownLog(stem)

    def _ownLog(self, stem: str) -> Log:
        with self._lock:
            if stem not in self._followers and stem not in self._ownLogs:
                folder = Path(self.parent.output)
                folder.mkdir(parents=True, exist_ok=True)
                free = reserveFile(folder, stem, ".out").name.removesuffix(".out")
                self._ownLogs[stem] = free
            return self._follow(self._ownLogs.get(stem, stem))

    def _waitForLog(
        self, expr: str, errorExpr: str | None, timeout: float
    ) -> re.Match[str]:
        from pysys_orch.docker.engine.logs import LogScanner

        wanted, error = _pattern(expr), _pattern(errorExpr)
        follower = next(iter(self._followers.values()), None) or self._ownLog(
            fileName(self.displayName)
        )
        scanner = LogScanner(follower.out, follower.err)
        version = [0]
        late: list[re.Match[str]] = []

        def look() -> re.Match[str] | None:
            version[0] = follower.version
            found = late.pop() if late else scanner.scan(wanted, error)
            if follower.failure is not None and found is None:
                raise follower.failure
            if found is not None and found.re is not wanted:
                message = (
                    f"{self.displayName} logged {found.string.strip()!r}, "
                    f"before any {expr!r}"
                )
                raise DockerError(message)
            return found

        require = self._alive()

        def alive() -> None:
            try:
                require()
            except ContainerGoneError:
                # What it said last may not be in the files yet.
                self._settle(follower)
                found = look()
                if found is None:
                    raise
                late.append(found)

        def pause(seconds: float) -> None:
            if not late:
                follower.wait_change(version[0], seconds)
            self.parent.pollWait(0)

        return ready.wait_for(
            look,
            what=f"{self.displayName} logs {expr!r}",
            timeout=timeout,
            clock=Session.of(self.parent).clock,
            pause=pause,
            alive=alive,
        )


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
        # Its environment may have tokens in it, and this is kept for everybody.
        write_json(place, without_userinfo(found))
        stem = place.name.removesuffix(".inspect.json")  # no other container's
        if self._watch is not None:
            events = [
                {"at": each.at.isoformat(), "action": each.action, **each.attributes}
                for each in self._lateEvents(found)
            ]
            write_json(folder / f"{stem}.events.json", without_userinfo(events))
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
        self._watch = Session.of(self.parent).hub(engine).watch(self._container)

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
        return (self._engine().host, ports[0]) if ports else None

    def _explained(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the state of an inspection, once the engine knows why it ended.

        That a container lacked memory an engine may hear only after it has ended.
        """
        clock = Session.of(self.parent).clock
        deadline = clock.instant() + _REASON_PATIENCE
        state: Mapping[str, Any] = found["State"]
        while (
            state.get("ExitCode") == _KILLED
            and found["HostConfig"].get("Memory")
            and not state.get("Running")
            and not state.get("OOMKilled")
            and clock.instant() < deadline
        ):
            self.parent.pollWait(_REASON_POLL)
            state = self._inspect()["State"]
        is_killed = state.get("ExitCode") == _KILLED and not state.get("Running")
        if is_killed and found["HostConfig"].get("Memory"):
            return {**state, ready.HAS_LIMIT: True}
        return state

    def _lateEvents(self, found: Mapping[str, Any]) -> Sequence[ContainerEvent]:
        """Return the events, once the container's end is among them if it has ended."""
        from pysys_orch.docker.engine.events import DIE

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
        from pysys_orch.docker.engine.events import DIE

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
        engine, found = self._engine(), self._inspect()
        if listens(engine, found, key, number):
            return True
        if not engine.local:
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
            hub=Session.of(self.parent).hub(engine),
        )

    def _labelsOf(self, engine: ApiEngine, name: str) -> Mapping[str, str]:
        return engine.inspect_container(name)["Config"]["Labels"] or {}

    def _health(self) -> str:
        return str(self._inspect()["State"].get("Health", {}).get("Status", ""))


def splitCommand(command: Sequence[str] | str) -> list[str]:
    """Return a command as its words; a text is split as a shell would."""
    given = shlex.split(command) if isinstance(command, str) else command
    return [str(word) for word in given]


def listens(engine: ApiEngine, found: Mapping[str, Any], key: str, number: int) -> bool:
    """Return whether somebody accepts connections on a port inside a container.

    Args:
        engine: Where it is.
        found: Its inspection.
        key: The port as ``8000/tcp``.
        number: The port.
    """
    if engine.local:
        for address in _addresses(found):
            try:
                return ready.accepts_connections(address, number, direct=True)
            except OSError:
                continue  # no way from here to that network
    bindings = (found["NetworkSettings"].get("Ports") or {}).get(key) or []
    for binding in bindings:
        try:
            port = int(binding["HostPort"])
            return ready.accepts_connections(engine.host, port, direct=False)
        except OSError:
            continue
    return False


def _addresses(found: Mapping[str, Any]) -> list[str]:
    """Return the addresses of a container in its networks."""
    if found["HostConfig"].get("NetworkMode") == "host":
        return ["127.0.0.1"]
    networks = (found["NetworkSettings"].get("Networks") or {}).values()
    return [each["IPAddress"] for each in networks if each.get("IPAddress")]


def _pattern(expr: str | None) -> re.Pattern[str] | None:
    if expr is None:
        return None
    try:
        return re.compile(expr)
    except re.error as failure:
        message = f"{expr!r} is no regular expression: {failure}"
        raise ConfigError(message) from None

"""What runs, a container or a service: its ports, what it says, waiting for it."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pysys_orch.docker.engine import ready
from pysys_orch.docker.engine.command import port_key
from pysys_orch.docker.engine.model import Kind
from pysys_orch.docker.engine.reach import Reach, addresses_within
from pysys_orch.docker.helper import (
    DockerBelonging,
    checked,
    fileName,
    reserveFile,
)
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session
from pysys_orch.errors import (
    ConfigError,
    ContainerGoneError,
    DockerError,
)

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine
    from pysys_orch.docker.engine.logs import Log

_T = TypeVar("_T")

_SETTLE_TIMEOUT = 30.0
_ABORTED_SETTLE_TIMEOUT = 1.0  # PySys complains loudly after 5 s
_LISTEN_EVERY = 0.1


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
            The port on the host that `getExternalHost` names; of a service, on the
            one that `getExternalAddress` does.
        """
        with self.reporting():
            return self._waitForAddress(port)[1]
        return 0

    def getExternalHost(self) -> str:
        """Return under which name or address its exposed ports are reached from here.

        That is the loopback where this runs on the engine's host; else see the manual,
        "Which host". The project property ``dockerPublishedHost`` overrides it.
        """
        with self.reporting():
            return self._reach().required().host
        return ""

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
        name, port = address
        host = f"[{name}]" if ":" in name else name
        url = f"http://{host}:{port}/{path.lstrip('/')}"
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


def splitCommand(command: Sequence[str] | str) -> list[str]:
    """Return a command as its words; a text is split as a shell would."""
    given = shlex.split(command) if isinstance(command, str) else command
    return [str(word) for word in given]


def listens(reach: Reach, found: Mapping[str, Any], key: str, number: int) -> bool:
    """Return whether somebody accepts connections on a port inside a container.

    Args:
        reach: How one comes from here to its engine.
        found: Its inspection.
        key: The port as ``8000/tcp``.
        number: The port.
    """
    for address in addresses_within(found, reach):
        try:
            return ready.accepts_connections(address, number, direct=True)
        except OSError:
            continue  # no way from here to that network
    bindings = (found["NetworkSettings"].get("Ports") or {}).get(key) or []
    return any(
        ready.accepts_published(reach.host, int(each["HostPort"])) for each in bindings
    )


def _pattern(expr: str | None) -> re.Pattern[str] | None:
    if expr is None:
        return None
    try:
        return re.compile(expr)
    except re.error as failure:
        message = f"{expr!r} is no regular expression: {failure}"
        raise ConfigError(message) from None

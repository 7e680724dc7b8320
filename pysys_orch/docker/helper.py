"""What all helpers of this wing share: commands, outcomes, listings."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from pysys.constants import BLOCKED, FOREGROUND, TIMEDOUT
from pysys.process import Process

from pysys_orch.callers import call_record
from pysys_orch.docker.engine.command import last_words
from pysys_orch.docker.engine.model import Resource
from pysys_orch.docker.engine.ownership import RUN_LABEL, TEST_LABEL
from pysys_orch.docker.engine.reach import Reach
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session
from pysys_orch.errors import ConfigError, DockerError, OrchError, WaitTimeoutError
from pysys_orch.inputs import nearest
from pysys_orch.raising import IS_RAISED

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine

log = logging.getLogger("pysys.orch.docker")


class Docker(NamedTuple):
    """What became of a docker command: its process and the files of its output.

    Attributes:
        process: The `pysys.process.Process`; None if there was no engine to talk to,
            and the test was to go on all the same.
        stdout: Absolute path of the file with its standard output.
        stderr: Absolute path of the file with its standard error.
    """

    process: Process | None
    stdout: str
    stderr: str


#: What `DockerHelper._executeDockerCommand` returns.
DOCKER_COMMAND_RETURN = Docker


class Config:
    """Says who names the files for a command's output.

    `Config.DEFAULT_CONFIG()` allocates a pair that is named after the command and used
    by nobody else; with `Config.MANUAL_CONFIG()` the caller gives them.
    """

    def __init__(self, *, manual: bool = False) -> None:
        self.manual = manual

    @classmethod
    def DEFAULT_CONFIG(cls) -> Config:
        """Return the configuration that allocates unique files."""
        return cls()

    @classmethod
    def MANUAL_CONFIG(cls) -> Config:
        """Return the configuration that uses *stdout* and *stderr*, or *stdOutErr*."""
        return cls(manual=True)


_LONG_ID = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_ALLOCATION = threading.Lock()  # PySys counts its file names without one
_DEFAULT_OUTPUT = Config()
_LINES_OF_EXEC = 3


class DockerHelper:
    """Base class of what works with Docker on behalf of a test or a runner.

    Not used directly, but invoked or subclassed.

    Attributes:
        parent: The test, or the runner, that it works for.
        displayName: What it is called in logs and in the names of files.
    """

    def __init__(self, parent: Parent, displayName: str) -> None:
        self.parent = parent
        self.displayName = displayName

    def getAllContainers(
        self,
        stdout: str = "__getcontainers.out",
        **kwargs: Any,
    ) -> Docker:
        """List the containers of this helper's environment, running or not.

        Args:
            stdout: Name of the file, in the output directory, that gets the list as
                ``docker ps`` prints it.
            kwargs: Passed on to `_executeDockerCommand`.

        Returns:
            The tuple (process, stdout, stderr).
        """
        path = str(Path(self.parent.output, stdout))
        arguments = ["ps", "--all", "--no-trunc"]
        with self.reporting():
            for each in self._environmentFilters():
                arguments += ["--filter", each]
        return self._executeDockerCommand(
            self.parent,
            arguments,
            stdout=path,
            stderr=str(Path(path).with_suffix(".err")),
            stdouterrConfig=Config.MANUAL_CONFIG(),
            **kwargs,
        )

    def getVolumes(
        self,
        name: str | None = None,
        **kwargs: Any,
    ) -> dict[str, tuple[str, str]]:
        """Return the volumes of this helper's environment.

        Args:
            name: Of another environment: a compose project or a stack.
            kwargs: Ignored here, for subclasses.

        Returns:
            Maps a volume's name to its driver and its full name; the name is the one
            inside the environment, the full name the one on the engine.
        """
        with self.reporting():
            return {
                _shortName(each): (each["Driver"], each["Name"])
                for each in self._listed("/volumes", name)
            }
        return {}

    def getNetworks(
        self,
        name: str | None = None,
        **kwargs: Any,
    ) -> dict[str, tuple[str, str, str]]:
        """Return the networks of this helper's environment.

        Args:
            name: Of another environment: a compose project or a stack.
            kwargs: Ignored here, for subclasses.

        Returns:
            Maps a network's name to its driver, its full name and its id.
        """
        with self.reporting():
            return {
                _shortName(each): (each["Driver"], each["Name"], each["Id"])
                for each in self._listed("/networks", name)
            }
        return {}

    @staticmethod
    def _executeDockerCommand(
        parent: Parent,
        arguments: Sequence[str],
        command: str | None = None,
        environs: Mapping[str, str] | None = None,
        state: int = FOREGROUND,
        timeout: float = 600,
        stdout: str | None = None,
        stderr: str | None = None,
        displayName: str | None = None,
        stdouterrConfig: Config = _DEFAULT_OUTPUT,
        abortOnError: bool | None = None,
        ignoreExitStatus: bool | None = None,
        displayNamePostfix: str | None = None,
        stdOutErr: tuple[str, str] | str | None = None,
        quiet: bool = False,
        raising: bool = False,
    ) -> Docker:
        """Execute a docker command.

        Its output lands in two files of the parent's output directory, named after it.
        A command that fails makes the parent BLOCKED with the last thing it said, one
        that takes too long is ended and makes it TIMEDOUT.

        Args:
            parent: The test or runner that wants it.
            arguments: What follows ``docker``.
            command: The program; ``DOCKER_EXE`` of the project by default.
            environs: The environment of the docker client. What the client needs to
                find its engine and credentials is added where it is absent.
            state: ``FOREGROUND`` or ``BACKGROUND``.
            timeout: Seconds after which a command in the foreground is ended.
            stdout: Path for its standard output, with ``Config.MANUAL_CONFIG()``.
            stderr: Path for its standard error, with ``Config.MANUAL_CONFIG()``.
            displayName: What to call it; ``docker <arguments[0]>`` by default.
            stdouterrConfig: Who names the files of its output.
            abortOnError: Whether a failure ends the test; the parent's
                ``defaultAbortOnError`` by default.
            ignoreExitStatus: Whether any exit status will do; the parent's
                ``defaultIgnoreExitStatus`` by default.
            displayNamePostfix: Appended to the name that is displayed, not to the names
                of the files.
            stdOutErr: Both paths, or what they have in common, with
                ``Config.MANUAL_CONFIG()``.
            quiet: Whether to leave a success out of the log.
            raising: Whether a failure is an error for the caller to report, in place of
                an outcome; only a command that takes too long is one in any case.

        Returns:
            The tuple (process, stdout, stderr).

        Raises:
            DockerError: With *raising*, the command failed, or there is no engine.
        """
        if abortOnError is None:
            abortOnError = parent.defaultAbortOnError
        if ignoreExitStatus is None:
            ignoreExitStatus = parent.defaultIgnoreExitStatus
        name = displayName or f"docker {arguments[0]}"
        with Reporting(parent, abortOnError=abortOnError, raising=raising):
            if stdouterrConfig.manual or stdout or stderr or stdOutErr:
                stdout, stderr = _manualFiles(parent, stdout, stderr, stdOutErr)
            else:
                stdout, stderr = allocateFiles(parent, name)
            session = Session.of(parent)
            # Asked first, since a client would wait for ever for a mute engine.
            engine = session.engines.engine(environs)
            environment = {
                **parent.getDefaultEnvirons(),
                **engine.client_address(),
                **session.engines.environment(environs),
            }
            program = _program(command or session.settings.exe, environment)
            Path(parent.output).mkdir(parents=True, exist_ok=True)
            limits: list[Process] = []
            process = parent.startProcess(
                program,
                list(arguments),
                environs=environment,
                state=state,
                timeout=timeout,
                stdout=stdout,
                stderr=stderr,
                displayName=f"{name}{displayNamePostfix or ''}",
                abortOnError=abortOnError,
                ignoreExitStatus=True,
                onError=limits.append,
                quiet=quiet,
                info={},
            )
            if state == FOREGROUND and not ignoreExitStatus and not limits:
                words = f"{name}{displayNamePostfix or ''}"
                # What ran in a container may say more after what went wrong.
                lines = _LINES_OF_EXEC if arguments[0] == "exec" else 1
                _requireSuccess(process, words, stdout, stderr, lines)
            return Docker(process, stdout, stderr)
        return Docker(None, stdout or "", stderr or "")

    def reporting(self, *, abortOnError: bool | None = True) -> Reporting:
        """Turn errors in the block into outcomes of the parent."""
        return Reporting(self.parent, abortOnError=abortOnError, wording=self._wording)

    def _wording(self, reason: str) -> str:
        """Return a reason in words that its readers know."""
        return reason

    def _environmentFilters(self) -> list[str]:
        """Return what ``docker ps`` filters by to find this environment."""
        labels = Session.of(self.parent).labels(self.parent)
        return [f"label={key}={labels[key]}" for key in (RUN_LABEL, TEST_LABEL)]

    def _environmentOf(self, path: str) -> list[dict[str, Any]]:
        """Return the volumes or networks of this environment, as the engine does."""
        filters = self._environmentFilters()
        labels = [each.removeprefix("label=") for each in filters]
        return Session.of(self.parent).engines.engine().list_labelled(path, labels)

    def _listed(self, path: str, name: str | None) -> list[dict[str, Any]]:
        """Return the volumes or networks of this environment or of the one named."""
        if name is None:
            return self._environmentOf(path)
        engine = Session.of(self.parent).engines.engine()
        composed = engine.list_labelled(path, [f"com.docker.compose.project={name}"])
        stacked = engine.list_labelled(path, [f"com.docker.stack.namespace={name}"])
        return composed or stacked


class DockerBelonging(DockerHelper):
    """Base class of what is on an engine for a parent, and goes with it.

    A parent's cleanup asks it what to remove; what runs, or is read from, overrides the
    rest.
    """

    def __init__(self, parent: Parent, displayName: str) -> None:
        super().__init__(parent, displayName)
        self._environs: Mapping[str, str] | None = None  # decide which engine

    def resources(self) -> list[Resource]:
        """Return what to remove.

        Raises:
            DockerError: It cannot be found out.
        """
        raise NotImplementedError

    def engineInUse(self) -> ApiEngine | None:
        """Return the engine that it is on, or None if none was ever reached."""
        return Session.of(self.parent).engines.reached(self._environs)

    def leaveEvidence(self, folder: Path) -> None:
        """Write what explains a failure into *folder*: nothing."""

    def end(self) -> None:
        """Make it stop at once, and finish what is read from it: it does not run."""

    def detach(self) -> None:
        """Stop reading from it, but leave it as it is: nothing is read from it."""

    def _isOurs(self, labels: Mapping[str, str]) -> bool:
        """Return whether what carries *labels* was made for our parent."""
        ours = Session.of(self.parent).labels(self.parent)
        return all(labels.get(key) == ours[key] for key in (RUN_LABEL, TEST_LABEL))

    def _engine(self) -> ApiEngine:
        return Session.of(self.parent).engines.engine(self._environs)

    def _reach(self) -> Reach:
        """Return how one comes from here to what its engine publishes."""
        return Session.of(self.parent).engines.reach(self._engine())


class Reporting:
    """Turns an error in its block into an outcome of *parent*.

    Not in an event of an orchestration, whose description says what becomes of errors:
    there it is raised.

    Args:
        parent: A test or a runner.
        abortOnError: Whether the outcome ends the test; if not, the block is left and
            the test goes on.
        wording: Makes the outcome's reason of the error's message.
        raising: Whether it is left an error, for the caller to report.
    """

    def __init__(
        self,
        parent: Parent,
        *,
        abortOnError: bool | None = True,
        wording: Callable[[str], str] = str,
        raising: bool = False,
    ) -> None:
        self._parent = parent
        self._abortOnError = abortOnError
        self._wording = wording
        self._raising = raising

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if self._raising or not isinstance(failure, OrchError):
            return False
        reason = _LONG_ID.sub(r"\1", self._wording(str(failure)))
        if IS_RAISED.get() and self._abortOnError is not False:
            failure.args = (reason,)
            return False
        outcome = TIMEDOUT if isinstance(failure, WaitTimeoutError) else BLOCKED
        self._parent.addOutcome(
            outcome,
            reason,
            abortOnError=self._abortOnError,
            callRecord=call_record(),
        )
        return True


def says(parent: Parent, *arguments: str, command: str | None = None) -> str:
    """Return what a docker command prints, or nothing if it fails.

    Args:
        parent: The test or runner that wants to know.
        arguments: What follows the command.
        command: The program; the docker client by default.
    """
    done = DockerHelper._executeDockerCommand(  # noqa: SLF001 -- the seed's name
        parent,
        arguments,
        command=command,
        ignoreExitStatus=True,
        quiet=True,
        timeout=60,
    )
    failed = done.process is None or done.process.exitStatus != 0
    said = "" if failed else fileText(done.stdout)
    for file in (done.stdout, done.stderr):
        Path(file).unlink(missing_ok=True)
    return said


def checked(check: Callable[[], str]) -> str:
    """Return what *check* returns; a ValueError becomes a `ConfigError`."""
    try:
        return check()
    except ValueError as failure:
        raise ConfigError(str(failure)) from None


def existing(path: Path, what: str) -> Path:
    """Return *path*, or say that it does not exist and what is near."""
    if path.exists():
        return path
    siblings = path.parent.iterdir() if path.parent.is_dir() else ()
    hint = nearest(path.name, sorted(each.name for each in siblings))
    message = f"{what} {path} does not exist{hint}"
    raise ConfigError(message)


def allocateFiles(parent: Parent, name: str) -> tuple[str, str]:
    """Return paths for the output of something called *name*, used by nobody else."""
    with _ALLOCATION:
        stdout, stderr = parent.allocateUniqueStdOutErr(fileName(name))
    return stdout, stderr


def fileName(name: str) -> str:
    """Return *name* as the stem of a file's name, safe on every system."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "docker"


def reserveFile(folder: Path, stem: str, ending: str) -> Path:
    """Make an empty file that nobody else has, and return its path.

    Returns:
        ``stem.ending``, or with a number in between.
    """
    path = folder / f"{stem}{ending}"
    for number in itertools.count(1):
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            break
        path = folder / f"{stem}.{number}{ending}"
    return path


def _manualFiles(
    parent: Parent,
    stdout: str | None,
    stderr: str | None,
    both: tuple[str, str] | str | None,
) -> tuple[str, str]:
    if isinstance(both, str):
        stdout, stderr = f"{both}.out", f"{both}.err"
    elif both is not None:
        stdout, stderr = both
    if not stdout and not stderr:
        message = "MANUAL_CONFIG() needs stdout and stderr, or stdOutErr"
        raise ConfigError(message)
    stdout = stdout or str(Path(str(stderr)).with_suffix(".out"))
    stderr = stderr or str(Path(stdout).with_suffix(".err"))
    folder = Path(parent.output)
    return str(folder / stdout), str(folder / stderr)


def _program(name: str, environment: Mapping[str, str]) -> str:
    """Return the absolute path of a program."""
    found = shutil.which(name, path=environment.get("PATH"))
    if found is None:
        message = (
            f"there is no program {name}: install it, or set the project property "
            "DOCKER_EXE to where the docker client is"
        )
        raise ConfigError(message)
    return str(Path(found).absolute())


def _requireSuccess(
    process: Process, name: str, stdout: str, stderr: str, lines: int
) -> None:
    """Raise unless *process* ended well.

    Raises:
        DockerError: It did not; with so many of the last lines that it said.
    """
    status = process.exitStatus
    if status == 0:
        return
    if status is None:
        message = f"`{name}` could not be started: is DOCKER_EXE right?"
        raise DockerError(message)
    said, where = "no error output", stderr
    for file in (stderr, stdout):
        words = last_words(fileText(file), lines)
        if words:
            said, where = words, file
            break
    message = f"`{name}` exited with {status}: {said} (see {Path(where).name})"
    raise DockerError(message)


def fileText(file: str) -> str:
    """Return what is in a file, and nothing if it cannot be read."""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _shortName(listed: Mapping[str, Any]) -> str:
    """Return a volume's or network's name without that of its environment."""
    labels = listed.get("Labels") or {}
    for key in ("com.docker.compose.volume", "com.docker.compose.network"):
        if key in labels:
            return str(labels[key])
    prefix = labels.get("com.docker.stack.namespace")
    return str(listed["Name"]).removeprefix(f"{prefix}_" if prefix else "")

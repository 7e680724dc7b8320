"""What the environment and a PySys project say, read once into frozen values.

This is the only module that reads the process environment. It asks PySys's own objects
through two small protocols, so it works without PySys.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from pysys_orch.errors import ConfigError

#: Variables that the docker client needs, beside every ``DOCKER_*`` and ``COMPOSE_*``.
_CLIENT_VARIABLES = frozenset(
    {
        "ALL_PROXY",
        "BUILDKIT_PROGRESS",
        "FTP_PROXY",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "PATH",
        "SSH_AUTH_SOCK",
        "USERPROFILE",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
    }
)
_CLIENT_PREFIXES = ("BUILDX_", "COMPOSE_", "DOCKER_")

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9A-Fa-f:.]+")

# More than anybody waits, and less than a thread or a timedelta can count.
_MAX_SECONDS = 1_000_000_000
_MAX_DAYS = 1_000_000


class Project(Protocol):
    """What is asked of a PySys project."""

    def getProperty(self, key: str, default: Any) -> Any:  # noqa: ANN401, N802 -- PySys
        """Return a property, with the type of *default*."""
        ...


class Arguments(Protocol):
    """What is asked of a PySys runner."""

    def getXArg(self, key: str, default: Any) -> Any:  # noqa: ANN401, N802 -- PySys
        """Return the value of a ``-X`` argument, with the type of *default*."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSettings:
    """How the docker wing behaves in one run.

    Each field but the last two is a project property of the name given in brackets,
    and can be overridden for one run by ``-X`` with that name.

    Attributes:
        exe: Path of the docker client (``DOCKER_EXE``); found on the PATH by default.
        compose_exe: Path of the compose program (``dockerComposeExe``); by default the
            docker client's plugin, else ``docker-compose``.
        strict: Whether a substitution that matches nothing makes a test BLOCKED
            (``dockerStrictSubstitutions``).
        answer_timeout: Seconds within which an engine must answer for the first time
            (``dockerAnswerTimeoutSecs``).
        lease: Seconds for which this run counts as alive, without a sign of life, for
            those who share its engine but not its kernel (``dockerLeaseSecs``).
        retention_days: Days for which an image is kept after its last use
            (``dockerImageRetentionDays``).
        keep: Whether what a failed test made is kept for debugging (``dockerKeep``).
        published_host: The name or address under which ports that an engine publishes
            are reached (``dockerPublishedHost``, or the environment variable
            ``PYSYS_ORCH_PUBLISHED_HOST``, which counts for more than a project); empty
            to find out. It is not that of a swarm's other nodes.
        nodes: Addresses of the engines of a swarm's other nodes, which a manager does
            not let collect from (``dockerNodes``).
        environment: What the docker client finds in its environment.
        facts: What people may want to know about who made something.
    """

    exe: str = "docker"
    compose_exe: str = ""
    strict: bool = False
    answer_timeout: float = 5.0
    lease: float = 300.0
    retention_days: float = 7.0
    keep: bool = False
    published_host: str = ""
    nodes: tuple[str, ...] = field(default=(), repr=False)  # may have passwords
    environment: Mapping[str, str] = field(repr=False)  # as may proxies
    facts: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in ("answer_timeout", "lease"):
            value = getattr(self, name)
            if not 0 < value <= _MAX_SECONDS:
                message = (
                    f"{_PROPERTIES[name]} must be more than 0 and at most "
                    f"{_MAX_SECONDS}, got {value:g}"
                )
                raise ConfigError(message)
        if self.published_host and not _HOST.fullmatch(self.published_host):
            message = (
                "dockerPublishedHost is a host's name or address, without scheme and "
                f"port, got {self.published_host!r}"
            )
            raise ConfigError(message)
        if not 0 <= self.retention_days <= _MAX_DAYS:
            message = (
                f"dockerImageRetentionDays must be from 0 to {_MAX_DAYS}, "
                f"got {self.retention_days:g}"
            )
            raise ConfigError(message)


_PROPERTIES = {
    "exe": "DOCKER_EXE",
    "compose_exe": "dockerComposeExe",
    "strict": "dockerStrictSubstitutions",
    "answer_timeout": "dockerAnswerTimeoutSecs",
    "lease": "dockerLeaseSecs",
    "retention_days": "dockerImageRetentionDays",
    "keep": "dockerKeep",
    "published_host": "dockerPublishedHost",
    "nodes": "dockerNodes",
}


#: What depends on the machine rather than on the project.
_VARIABLES = {"published_host": "PYSYS_ORCH_PUBLISHED_HOST"}


def docker_settings(
    project: Project | None = None, arguments: Arguments | None = None
) -> DockerSettings:
    """Read the settings of the docker wing.

    Args:
        project: Whose properties hold; without one the defaults do.
        arguments: Whose ``-X`` arguments override the properties.

    Raises:
        ConfigError: A value has the wrong type or makes no sense.
    """
    environment = client_environment()
    values: dict[str, Any] = {"environment": environment, "facts": _facts(project)}
    for each in fields(DockerSettings):
        name = _PROPERTIES.get(each.name)
        if name is None:
            continue
        value = "" if each.name == "nodes" else each.default
        try:
            if project is not None:
                value = project.getProperty(name, value)
            value = os.environ.get(_VARIABLES.get(each.name, ""), value)
            if arguments is not None:
                value = arguments.getXArg(name, value)
        except Exception as failure:
            message = f"{name} cannot be read: {failure}"
            raise ConfigError(message) from failure
        if isinstance(value, bool) and not isinstance(each.default, bool):
            message = f"{name} needs a value, as in -X{name}=VALUE"
            raise ConfigError(message)
        values[each.name] = value
    values["nodes"] = tuple(values["nodes"].replace(",", " ").split())
    found = shutil.which(values["exe"], path=environment.get("PATH"))
    values["exe"] = found or values["exe"]
    return DockerSettings(**values)


def client_environment() -> dict[str, str]:
    """Return the part of the environment without which the docker client is lost.

    Its configuration, contexts, credentials, proxies and ssh agent are found by it.
    """
    return {
        key: value
        for key, value in os.environ.items()
        if key.upper() in _CLIENT_VARIABLES or key.startswith(_CLIENT_PREFIXES)
    }


def inherited_environment() -> dict[str, str]:
    """Return the whole environment, for a process of our own."""
    return dict(os.environ)


def _facts(project: Project | None) -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        user = str(os.getuid()) if hasattr(os, "getuid") else ""
    return {
        "host": socket.gethostname(),
        "user": user,
        "directory": str(getattr(project, "testRootDir", None) or Path.cwd()),
    }


def variable(name: str) -> str | None:
    """Return an environment variable; None if it is not set."""
    return os.environ.get(name)


def take_variable(name: str) -> str | None:
    """Return an environment variable, and take it away from whoever comes next.

    A secret that is left there is printed, and given to every process of every test.
    """
    return os.environ.pop(name, None)


T = TypeVar("T", str, int, float)


def setting(name: str, default: T, project: Project, arguments: Arguments) -> T:
    """Return a project property, or the ``-X`` argument that counts more.

    Args:
        name: Its name.
        default: What it is if nobody says; its type is that of what is returned.
        project: Whose property it is.
        arguments: Whose argument it is.

    Raises:
        ConfigError: It has another type, or an argument has no value.
    """
    try:
        value = arguments.getXArg(name, project.getProperty(name, default))
    except Exception as failure:
        message = f"{name} cannot be read: {failure}"
        raise ConfigError(message) from failure
    if isinstance(value, bool):
        message = f"{name} needs a value, as in -X{name}=VALUE"
        raise ConfigError(message)
    return cast("T", value)

"""The compose program: which one there is, and how it is spoken to."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from pysys_orch.docker.engine.command import last_words
from pysys_orch.docker.helper import says
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session
from pysys_orch.errors import ConfigError

log = logging.getLogger("pysys.orch.docker")

#: Where version 2 and version 1 say which service it was that they could not pull.
_PULLING = re.compile(
    r"^ (\S+) Error |^Pulling (\S+) \(\S+\)\.\.\.\n.*\n*\Z", re.MULTILINE
)
_VERSION = re.compile(r"v?(\d+(?:\.\d+)+\S*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeProgram:
    """A compose program that is there.

    Attributes:
        command: The program to start; None for the docker client.
        prefix: The arguments that make it compose.
        version: Its version, such as ``2.26.1``.
    """

    command: str | None
    prefix: tuple[str, ...] = ()
    version: str

    @property
    def is_first(self) -> bool:
        """Whether it is compose v1, the one in Python."""
        return self.version.startswith("1.")

    @property
    def name(self) -> str:
        """What to call it."""
        return " ".join(
            ("docker" if self.command is None else self.command, *self.prefix)
        )

    def arguments(
        self, project: str, file: str, folder: str, words: Sequence[str]
    ) -> list[str]:
        """Return the arguments of a command on a project.

        Args:
            project: The project's name.
            file: The compose file.
            folder: What its relative paths are relative to; also where ``.env`` is.
            words: The command with its own arguments.
        """
        place = ("--project-name", project, "--project-directory", folder)
        return [*self.prefix, "--ansi", "never", *place, "--file", file, *words]


def findCompose(parent: Parent) -> ComposeProgram:
    """Return the compose program to use; asked for once in a run.

    That is the one of the property ``dockerComposeExe``, else the plugin of the docker
    client, else ``docker-compose``, of version 2 or 1.

    Raises:
        ConfigError: There is none.
    """
    session = Session.of(parent)
    with session.lock:
        if session.compose is None:
            session.compose = _ask(parent, session)
            log.info("Compose is %s %s", session.compose.name, session.compose.version)
        return session.compose


def complaint(output: str) -> str:
    """Return what a compose program that failed says in its last words, and of whom."""
    said = last_words(output)
    match = _PULLING.search(output)
    return f"service {match[1] or match[2]}: {said}" if match else said


def _ask(parent: Parent, session: Session) -> ComposeProgram:
    chosen = session.settings.compose_exe
    if chosen:
        if version := _version(parent, chosen):
            return ComposeProgram(command=chosen, version=version)
        message = f"dockerComposeExe is {chosen!r}, which is no compose program"
        raise ConfigError(message)
    if version := _version(parent, None, "compose"):
        return ComposeProgram(command=None, prefix=("compose",), version=version)
    path = session.engines.environment().get("PATH")
    found = shutil.which("docker-compose", path=path)
    if found is not None and (version := _version(parent, found)):
        return ComposeProgram(command=found, version=version)
    message = (
        "there is no compose program: install Docker's compose plugin, or set the "
        "project property dockerComposeExe to where docker-compose is"
    )
    raise ConfigError(message)


def _version(parent: Parent, command: str | None, *prefix: str) -> str:
    said = says(parent, *prefix, "version", "--short", command=command)
    match = _VERSION.fullmatch(said.strip())
    return match[1] if match else ""

"""Secrets and configs: files that a swarm keeps, and hands to a service's tasks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import RUN_LABEL, TEST_LABEL
from pysys_orch.docker.helper import DockerBelonging, existing
from pysys_orch.docker.image import DockerImage
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session
from pysys_orch.errors import ConfigError, ConflictError, DockerError, NotFoundError

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


class SwarmFile(DockerBelonging):
    """What secrets and configs have in common.

    Not used directly. What it contains is kept by the swarm only.
    """

    _KIND: ClassVar[Kind]
    _LIMIT: ClassVar[int]  # bytes, of which it must be less
    _CONTENTS: ClassVar[str]  # what the argument is called

    def __init__(
        self,
        parent: Parent,
        file: str | Path | None,
        contents: str | bytes | None,
        name: str | None,
    ) -> None:
        self._name = DockerImage.generateUniqueName() if name is None else name
        super().__init__(parent, self._name)
        self._file = ""  # the swarm's id of it
        self._unanswered = False  # whether it may have been made all the same
        with self.reporting():
            self._requireName()
            self._create(self._data(file, contents))

    def getName(self) -> str:
        """Return its name, within the swarm and as a file."""
        return self._name

    # What a test's cleanup asks of it ------------------------------------------------

    def resources(self) -> list[Resource]:
        """Return it, if it is there and nobody else's."""
        if not self._file and self._unanswered:
            self._file = self._lost()
        if not self._file:
            return []
        return [Resource(kind=self._KIND, id=self._file, name=self._name)]

    # Inside ---------------------------------------------------------------------------

    def _requireName(self) -> None:
        if not _NAME.fullmatch(self._name):
            message = (
                f"the name of a {self._KIND} has 1 to 64 letters, digits and ._- and "
                f"begins and ends with a letter or digit, got {self._name!r}"
            )
            raise ConfigError(message)

    def _data(self, file: str | Path | None, contents: str | bytes | None) -> bytes:
        """Return what it is to contain; no message tells any of that."""
        if (file is None) == (contents is None):
            given = "neither" if file is None else "both"
            message = (
                f"{self._KIND} {self._name} takes either file or {self._CONTENTS}, "
                f"got {given}"
            )
            raise ConfigError(message)
        if file is not None:
            path = existing(Path(self.parent.input, file), "the file")
            if not path.is_file():
                message = f"{self._KIND} {self._name}: {path} is no file"
                raise ConfigError(message)
            data, origin = path.read_bytes(), f"file {path}"
        else:
            if not isinstance(contents, str | bytes):
                message = (
                    f"{self._CONTENTS} of {self._KIND} {self._name} is str or bytes, "
                    f"got {type(contents).__name__}"
                )
                raise ConfigError(message)
            data = contents.encode() if isinstance(contents, str) else contents
            origin = self._CONTENTS
        if not data:
            message = (
                f"{self._KIND} {self._name}: {origin} is empty, which a swarm refuses"
            )
            raise ConfigError(message)
        if len(data) >= self._LIMIT:
            message = (
                f"{self._KIND} {self._name}: {origin} has {len(data)} bytes, a swarm "
                f"takes less than {self._LIMIT}"
            )
            raise ConfigError(message)
        return data

    def _create(self, data: bytes) -> None:
        session = Session.of(self.parent)
        engine = session.engines.swarm_engine()
        session.belongings(self.parent).add(self)
        create = {Kind.SECRET: engine.create_secret, Kind.CONFIG: engine.create_config}
        self._unanswered = True
        try:
            self._file = create[self._KIND](
                self._name, data, session.labels(self.parent)
            )
        except ConflictError:
            self._unanswered = False
            message = (
                f"a {self._KIND} {self._name} exists already, made by "
                f"{self._maker(engine)}: choose a name by "
                "DockerImage.generateUniqueName()"
            )
            raise DockerError(message) from None

    def _maker(self, engine: ApiEngine) -> str:
        """Return in words who has made what has our name."""
        try:
            spec = engine.inspect_data(self._KIND, self._name)["Spec"]
        except NotFoundError:
            return "others"
        labels = spec.get("Labels") or {}
        if self._isOurs(labels):
            return "this test"
        if not labels.get(TEST_LABEL):
            return "others"
        ours = Session.of(self.parent).owner.key == labels.get(RUN_LABEL)
        return f"test {labels[TEST_LABEL]}{'' if ours else ' of another run'}"

    def _lost(self) -> str:
        """Return the id of what was made though we were not told; else nothing."""
        try:
            found = self._engine().inspect_data(self._KIND, self._name)
        except NotFoundError:
            return ""
        ours = self._isOurs(found["Spec"].get("Labels") or {})
        return str(found["ID"]) if ours else ""


class DockerSecret(SwarmFile):
    """Helper class for working with Docker secrets.

    Owns the secret that it wraps: it is removed when the parent is cleaned up, and when
    the parent's run dies. A service that uses it finds it in ``/run/secrets``. What it
    contains appears in no command, file, message or log.

    Args:
        parent: The test or runner.
        file: Path of a file with the contents, absolute or relative to the input
            directory.
        secretContents: The contents, in place of a file; text is encoded as UTF-8.
        name: Its name, by default a unique one.
    """

    _KIND = Kind.SECRET
    _LIMIT = 500 * 1024
    _CONTENTS = "secretContents"

    def __init__(
        self,
        parent: Parent,
        file: str | Path | None = None,
        secretContents: str | bytes | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(parent, file, secretContents, name)

    @classmethod
    def fromFile(cls, parent: Parent, name: str | None, file: str | Path) -> Self:
        """Create a secret from a file.

        Args:
            parent: The test or runner.
            name: Its name: both within the swarm and as a file in ``/run/secrets``. It
                must not be that of another test's secret, so make it by
                `DockerImage.generateUniqueName`.
            file: Path of a file with the contents, absolute or relative to the input
                directory.
        """
        return cls(parent, file=file, name=name)

    @classmethod
    def fromContent(
        cls, parent: Parent, name: str | None, secretContents: str | bytes
    ) -> Self:
        """Create a secret that contains a text or bytes.

        Args:
            parent: The test or runner.
            name: As of `fromFile`.
            secretContents: The contents; text is encoded as UTF-8.
        """
        return cls(parent, secretContents=secretContents, name=name)


class DockerConfig(SwarmFile):
    """A file that is no secret, for services to use.

    Owns the config that it wraps: it is removed when the parent is cleaned up, and when
    the parent's run dies.

    Args:
        parent: The test or runner.
        file: Path of a file with the contents, absolute or relative to the input
            directory.
        configContents: The contents, in place of a file; text is encoded as UTF-8.
        name: Its name, by default a unique one.
    """

    _KIND = Kind.CONFIG
    _LIMIT = 1000 * 1024
    _CONTENTS = "configContents"

    def __init__(
        self,
        parent: Parent,
        file: str | Path | None = None,
        configContents: str | bytes | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(parent, file, configContents, name)

    @classmethod
    def fromFile(cls, parent: Parent, name: str | None, file: str | Path) -> Self:
        """Create a config from a file.

        Args:
            parent: The test or runner.
            name: Its name within the swarm, which must not be that of another test's.
            file: Path of a file with the contents, absolute or relative to the input
                directory.
        """
        return cls(parent, file=file, name=name)

    @classmethod
    def fromContent(
        cls, parent: Parent, name: str | None, configContents: str | bytes
    ) -> Self:
        """Create a config that contains a text or bytes.

        Args:
            parent: The test or runner.
            name: As of `fromFile`.
            configContents: The contents; text is encoded as UTF-8.
        """
        return cls(parent, configContents=configContents, name=name)

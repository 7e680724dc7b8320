"""What is brought up from one file, as a whole: its parts, their logs, its end."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pysys_orch.docker.engine import ready
from pysys_orch.docker.engine.collect import Doomed, sweep
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import KEEP_LABEL, environment_of, is_built_for
from pysys_orch.docker.helper import DockerBelonging
from pysys_orch.docker.image import DockerImage
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.sample import Substitutions, Tailor, Tailored
from pysys_orch.docker.session import Session
from pysys_orch.errors import CleanupError, ConfigError, DockerError
from pysys_orch.inputs import nearest

log = logging.getLogger("pysys.orch.docker")

_DOWN_TIMEOUT = 60.0


class Deployment(DockerBelonging):
    """Base class of environments that are brought up from one tailored file.

    Not used directly: see `pysys_orch.docker.DockerComposition` and
    `pysys_orch.docker.DockerSwarm`.

    Whatever happens to the file, it is a copy in the output directory, beside which
    stands how it differs; the file's own folder is not written to.

    Args:
        parent: The test or runner.
        file: Path of the file, absolute or relative to the input directory.
        imageSubst: Image references in the file, and the `DockerImage` or the name to
            use instead. ``redis`` and ``redis:latest`` are the same reference,
            ``my-redis`` is another one. The Dockerfiles that the file builds are
            substituted likewise.
        externalPorts: Published ports in the file that are moved to ports that the
            engine chooses; see `getExternalPort`. By default all of them are. Those
            that are not listed keep their number. What is published on no particular
            address is published on the loopback only, as far as there is a choice.
        hostPathSubst: Host paths in volume declarations, and the absolute paths to use
            instead.
        buildSubst: Build paths, and the real build context; or a tuple of that and a
            list of the names of the Dockerfiles in it.
        additionalFiles: Build paths, and a list of absolute paths of files that are
            copied into the context; a copy of it is built from.
        otherSubsts: Texts anywhere in the file, and what replaces them, before anything
            else.
    """

    #: The label by which everything in the environment tells of it.
    _LABEL = ""

    def __init__(
        self,
        parent: Parent,
        file: str,
        imageSubst: Mapping[str, DockerImage | str] | None = None,
        externalPorts: Iterable[int] | None = None,
        hostPathSubst: Mapping[str, str] | None = None,
        buildSubst: Mapping[str, Any] | None = None,
        additionalFiles: Mapping[str, Sequence[str]] | None = None,
        otherSubsts: Mapping[str, str] | None = None,
    ) -> None:
        self._file = Path(parent.input, file).absolute()
        folder = self._file.parent
        own = folder == Path(parent.input).absolute()
        super().__init__(parent, self._file.stem if own else folder.name)
        self._name = ""
        self._substitutions = Substitutions()
        self._tailored: Tailored | None = None
        self._parts: dict[Any, Any] = {}  # helpers of what it consists of
        self._lock = threading.RLock()  # of these
        self._registered = False
        with self.reporting():
            self._substitutions = Substitutions.of(
                imageSubst,
                externalPorts,
                hostPathSubst,
                buildSubst,
                additionalFiles,
                otherSubsts,
            )
            self._name = self._newName(Session.of(parent))

    def getName(self) -> str:
        """Return the name of the compose project or the stack."""
        return self._name

    def getExternalPort(self, port: int | str, service: str | None = None) -> int:
        """Return where a published port has gone.

        Args:
            port: The published port as in the file, ``"53/udp"`` for one that is not
                TCP; or, with *service*, the port inside its container.
            service: The service's name in the file.

        Returns:
            The port on the host.
        """
        with self.reporting():
            if service is None:
                service, port = self._published(str(port))
            found: int = self._part(service).getExternalPort(port)
            return found
        return 0

    def getExternalHost(self) -> str:
        """Return under which name or address its ports are reached from here."""
        with self.reporting():
            return self._reach().required().host
        return ""

    def getExternalAddress(
        self, port: int | str, service: str | None = None
    ) -> tuple[str, int]:
        """Return where a published port is reached from here.

        Args:
            port: As for `getExternalPort`.
            service: As there.

        Returns:
            The host's name or address, and the port there.
        """
        with self.reporting():
            if service is None:
                service, port = self._published(str(port))
            found: tuple[str, int] = self._part(service).getExternalAddress(port)
            return found
        return "", 0

    def down(self, *, keepVolumes: bool = False) -> None:
        """Remove all of it, as `up` or `deploy` has made it; nothing is waited for.

        It can be brought up again afterwards.

        Args:
            keepVolumes: Whether its volumes stay, for then.
        """
        with self.reporting():
            self._endParts()
            kept = {Kind.IMAGE, *([Kind.VOLUME] if keepVolumes else [])}
            ready.wait_for(
                lambda: self._removeAll(kept) or None,
                what=f"all of {self.displayName} is gone",
                timeout=_DOWN_TIMEOUT,
                clock=Session.of(self.parent).clock,
                pause=self.parent.pollWait,
                alive=lambda: None,
            )
            log.info("Took down %s (%s)", self.displayName, self._name)

    # What a test's cleanup asks of it -------------------------------------------------

    def resources(self) -> list[Resource]:
        """Return all that is there of it."""
        engine = self.engineInUse()
        if engine is None or not self._name:
            return []
        found = [
            each.resource
            for each in engine.listing(dated=False)
            if environment_of(each) == self._name or is_built_for(each, self._name)
        ]
        order = list(Kind)
        return sorted(found, key=lambda each: order.index(each.kind))

    def end(self) -> None:
        """Kill what is being read, and read it to its end."""
        self._removeContexts()
        self._endParts()

    def detach(self) -> None:
        """Stop reading."""
        with self._lock:
            parts = list(self._parts.values())
        for part in parts:
            part.detach()

    # Inside ---------------------------------------------------------------------------

    def _removeAll(self, kept: Collection[Kind]) -> bool:
        """Remove what is there of it; return whether there was nothing left to remove.

        The network of a swarm stays on its nodes for a moment after it was removed: who
        deploys again meanwhile takes it for the new one.

        Raises:
            CleanupError: Something cannot be removed.
        """
        left = [each for each in self.resources() if each.kind not in kept]
        plan = [Doomed(resource=each, reason="down") for each in left]
        report = sweep(self._engine(), plan, clock=Session.of(self.parent).clock)
        if report.failures:
            raise CleanupError(report.failures)
        return not left

    def _newName(self, session: Session) -> str:
        raise NotImplementedError

    def _environmentFilters(self) -> list[str]:
        return [f"label={self._LABEL}={self._name}"]

    def _begin(self, environs: Mapping[str, str] | None, *, stack: bool) -> Tailored:
        """Make ready what is to be brought up.

        Raises:
            ConfigError: The file or what it is to become makes no sense.
        """
        session = Session.of(self.parent)
        self._requireName()
        # Where a shell would be that brings it up.
        self._environs = {"PWD": str(self._file.parent), **(environs or {})}
        engine = session.engines.engine(environs)
        if not self._registered:
            self._registered = True
            session.belongings(self.parent).add(self)
        self._removeContexts()
        Path(self.parent.output).mkdir(parents=True, exist_ok=True)
        self._tailored = Tailor(
            self.parent,
            self._name,
            self._substitutions,
            self._variables(self._environs),
            stack=stack,
            publish=self._reach().publish,
        ).make(self._file)
        if session.settings.keep:
            # Of what is made from a file only the name tells who made it. One thing
            # that says that it is kept stands for all.
            labels = {**session.labels(self.parent), self._LABEL: self._name}
            labels[KEEP_LABEL] = "true"
            engine.create_volume(f"{self._name}_kept", labels)
        return self._tailored

    def _variables(self, environs: Mapping[str, str] | None) -> dict[str, str]:
        """Return what variables in the file stand for."""
        return {
            **self.parent.getDefaultEnvirons(),
            **Session.of(self.parent).engines.environment(environs),
        }

    def _requireName(self) -> None:
        if not self._name:
            message = f"{self._file.name}: what was to be substituted makes no sense"
            raise ConfigError(message)

    def _requireUp(self) -> Tailored:
        if self._tailored is None:
            message = f"{self.displayName} is not up: call up() or deploy() first"
            raise ConfigError(message)
        return self._tailored

    def _published(self, port: str) -> tuple[str, str]:
        """Return a published port's service, and the port inside.

        Raises:
            ConfigError: The file publishes no such port.
        """
        tailored = self._requireUp()
        number, slash, protocol = port.partition("/")
        found = [
            (each.service, f"{each.target}/{each.protocol}")
            for each in tailored.moved
            if str(each.published) == number and protocol in {"", each.protocol}
        ]
        # Of services of which only one is to be up, all may publish a port.
        there = self._there()
        if all(service not in there for service, _ in found):
            found += [
                (service, inside)
                for published, service, inside in self._publishedPorts()
                if published == number
                and (not slash or inside.endswith(f"/{protocol}"))
            ]
        if found:
            return next((each for each in found if each[0] in there), found[0])
        known = [
            f"{each.published}/{each.protocol}".removesuffix("/tcp")
            for each in tailored.moved
            if each.published
        ]
        message = (
            f"{self._file.name} publishes no port {port}{nearest(port, known)}: give "
            "the number as in the file, or the port inside and its service"
        )
        raise ConfigError(message)

    def _publishedPorts(self) -> Iterable[tuple[str, str, str]]:
        """Return the numbers that stayed, with their services and the ports inside."""
        raise NotImplementedError

    def _there(self) -> Collection[str]:
        """Return the names of the services that are there."""
        raise NotImplementedError

    def _part(self, service: str, index: int = 1) -> Any:  # noqa: ANN401 -- its helper
        """Return the helper of a service, or of one of its containers."""
        raise NotImplementedError

    def _endParts(self) -> None:
        """End all helpers.

        Raises:
            DockerError: A log is not complete.
        """
        failures = []
        with self._lock:
            parts = list(self._parts.values())
            self._parts.clear()
        for part in parts:
            try:
                part.end()
            except DockerError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    def _removeContexts(self) -> None:
        """Remove the copies of build contexts."""
        for each in () if self._tailored is None else self._tailored.contexts:
            shutil.rmtree(each, ignore_errors=True)

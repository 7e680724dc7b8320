"""What is said of a container or a service before it is run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Self

from pysys_orch.docker.engine.command import ContainerSpec, VolumeMount, port_key
from pysys_orch.docker.engine.reach import LOOPBACK
from pysys_orch.docker.helper import checked, fileName
from pysys_orch.docker.image import DockerImage
from pysys_orch.docker.network import DockerNetwork
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.running import Running, splitCommand
from pysys_orch.docker.session import Session
from pysys_orch.docker.volume import DockerVolume
from pysys_orch.errors import ConfigError


class Prepared(Running):
    """What containers and services have in common before they run.

    Not used directly.
    """

    def __init__(self, parent: Parent, displayName: str) -> None:
        super().__init__(parent, displayName)
        self._image = ""
        self._variables: dict[str, str] = {}
        self._mounts: list[tuple[str, str]] = []
        self._volumes: list[VolumeMount] = []
        self._ports: list[str] = []
        self._network = ""
        self._aliases: tuple[str, ...] = ()

    def setEnv(
        self, variables: Mapping[str, str] | None = None, **more: object
    ) -> Self:
        """Set environment variables inside, before it is run.

        Args:
            variables: Names and values.
            more: The same, for names that Python can write: ``setEnv(LEVEL="debug")``.
        """
        with self.reporting():
            self._requireNotRun("setEnv")
            given = {**(variables or {}), **more}
            self._variables.update({key: str(value) for key, value in given.items()})
        return self

    def volumeFromHost(self, hostpath: str, containerpath: str) -> Self:
        """Bind mount a file or directory of the host, before it is run.

        Args:
            hostpath: Absolute path on the host; it must exist.
            containerpath: Absolute path in the container.
        """
        with self.reporting():
            self._requireNotRun("volumeFromHost")
            if not Path(hostpath).is_absolute():
                message = (
                    f"volumeFromHost takes an absolute host path, got {hostpath!r}"
                )
                raise ConfigError(message)
            if not PurePosixPath(containerpath).is_absolute():
                message = (
                    "volumeFromHost takes an absolute path in the container, "
                    f"got {containerpath!r}"
                )
                raise ConfigError(message)
            if not Path(hostpath).exists():
                # Docker would make a directory there, owned by root.
                message = f"host path {hostpath} does not exist: make it first"
                raise ConfigError(message)
            self._mounts.append((str(hostpath), containerpath))
        return self

    def mountVolume(
        self,
        volume: DockerVolume | str,
        containerpath: str,
        *,
        readOnly: bool = False,
    ) -> Self:
        """Mount a volume, before it is run.

        Args:
            volume: The volume, or the name of one that exists when it is run. A node of
                a swarm that has none of that name makes one for a service, which the
                run removes.
            containerpath: Absolute path in the container.
            readOnly: Whether nothing inside can write to it.
        """
        with self.reporting():
            self._requireNotRun("mountVolume")
            name = volume.getName() if isinstance(volume, DockerVolume) else volume
            if not PurePosixPath(containerpath).is_absolute():
                message = (
                    "mountVolume takes an absolute path in the container, "
                    f"got {containerpath!r}"
                )
                raise ConfigError(message)
            if "/" in name or not name.strip("."):
                message = (
                    f"mountVolume takes a volume or the name of one, got {name!r}: "
                    "a folder of the host is mounted by volumeFromHost()"
                )
                raise ConfigError(message)
            self._volumes.append(
                VolumeMount(volume=name, target=containerpath, read_only=readOnly)
            )
        return self

    def exposePort(self, containerPort: int | str) -> Self:
        """Expose a port to the host, before it is run.

        The engine chooses the host's port when a container starts, and another when it
        is started again: see `getExternalAddress`. Of a container it is a port of the
        host's loopback, if this runs on the engine's host. Of a service it is one of
        all the host's addresses, on the node that a task runs on, since a swarm cannot
        do otherwise.

        Args:
            containerPort: Port within the container; ``"53/udp"`` for other protocols.
        """
        with self.reporting():
            self._requireNotRun("exposePort")
            key = checked(lambda: port_key(containerPort))
            if key not in self._ports:
                self._ports.append(key)
        return self

    def joinNetwork(self, network: DockerNetwork | str, *aliases: str) -> Self:
        """Attach it to a network, before it is run.

        Args:
            network: The network, in place of the default bridge; of a service one that
                spans the swarm, such as an overlay.
            aliases: Names by which others in the network find it; its display name by
                default.
        """
        with self.reporting():
            self._requireNotRun("joinNetwork")
            self._network = (
                network.getName() if isinstance(network, DockerNetwork) else network
            )
            self._aliases = aliases or (self.displayName,)
        return self

    # Inside ---------------------------------------------------------------------------

    def _containerSpec(
        self, session: Session, cmd: Sequence[str] | str | None
    ) -> ContainerSpec:
        """Return what is known of a container that runs *cmd*."""
        user = f"{os.getuid()}:{os.getgid()}" if hasattr(os, "getuid") else ""
        return ContainerSpec(
            name=session.name(self.parent, self.displayName),
            image=self._image,
            command=tuple(splitCommand(cmd or ())),
            environment=self._variables,
            labels=session.labels(self.parent),
            mounts=tuple(self._mounts),
            volumes=tuple(self._volumes),
            ports=tuple(self._ports),
            publish=self._reach().required().publish if self._ports else LOOPBACK,
            user=user,
            network=self._network,
            aliases=self._aliases,
        )


def roleOf(image: DockerImage) -> str:
    """Return what something made of an image is called if nobody says."""
    name = image.displayName.removeprefix("image ")
    return fileName(name.rpartition("/")[2].partition(":")[0].partition("@")[0])

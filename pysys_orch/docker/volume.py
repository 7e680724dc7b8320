"""Volumes: what containers of a test share, or find again; and disks that fill up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.networks import volume_options
from pysys_orch.docker.helper import DockerBelonging
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session
from pysys_orch.errors import DockerError, NotFoundError


class DockerVolume(DockerBelonging):
    """A volume of a test's own, removed when its parent is cleaned up.

    Mount it by ``container.mountVolume(volume, '/data')``. To fill or to read it, use
    the container: ``container.copyTo(file, '/data/')``.

    Args:
        parent: The test or runner.
        displayName: What to call it; also becomes part of its name.
    """

    def __init__(self, parent: Parent, displayName: str = "volume") -> None:
        super().__init__(parent, displayName)
        self._name = ""
        self._owned = True

    @classmethod
    def create(
        cls,
        parent: Parent,
        displayName: str = "volume",
        *,
        size: str | int | None = None,
        driver: str = "local",
        driverOpts: Mapping[str, object] | None = None,
    ) -> DockerVolume:
        """Create a volume.

        Args:
            parent: The test or runner.
            displayName: What to call it.
            size: How much it holds, in bytes or as ``16m`` or ``1.5 GiB`` (k, m and g
                are of 1024): what writes more finds the disk full. Such a volume is in
                the engine's memory, any user can write to it, and it is empty again
                once no container has it mounted. Without a size it is as large as the
                disk, and stays as it is until it is removed.
            driver: What makes it.
            driverOpts: What the driver is told.
        """
        volume = cls(parent, displayName)
        with volume.reporting():
            session = Session.of(parent)
            options = volume_options(
                size=size, driver=driver, driver_options=driverOpts
            )
            engine = session.engines.engine()
            volume._name = session.name(parent, displayName)
            session.belongings(parent).add(volume)
            engine.create_volume(volume._name, session.labels(parent), options)
        return volume

    @classmethod
    def fromExisting(cls, parent: Parent, name: str, own: bool = False) -> DockerVolume:
        """Wrap an existing volume.

        Args:
            parent: The test or runner.
            name: Name of the existing volume.
            own: Whether it is removed, with all that is in it, when the parent is
                cleaned up.
        """
        volume = cls(parent, name)
        volume._owned = own
        with volume.reporting():
            session = Session.of(parent)
            try:
                found = session.engines.engine().inspect_volume(name)
            except NotFoundError:
                message = f"there is no volume {name}"
                raise DockerError(message) from None
            volume._name = str(found["Name"])
            session.belongings(parent).add(volume)
        return volume

    def getName(self) -> str:
        """Return the volume's name."""
        return self._name

    def inspect(self) -> dict[str, Any]:
        """Return all that the engine knows, as ``docker volume inspect`` shows it."""
        with self.reporting():
            return self._engine().inspect_volume(self._name)
        return {}

    # What a test's cleanup asks of it ------------------------------------------

    def resources(self) -> list[Resource]:
        """Return the volume to remove."""
        if not self._name or not self._owned:
            return []
        return [Resource(kind=Kind.VOLUME, id=self._name, name=self._name)]

"""What a PySys test mixes in to have Docker at hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

from pysys.basetest import BaseTest

from pysys_orch.docker.container import DockerContainer
from pysys_orch.docker.image import DockerImage
from pysys_orch.docker.network import DockerNetwork
from pysys_orch.docker.parent import Parent


class DockerFront:
    """Makes images, containers and networks for one test: a thin front of the classes.

    Reached as ``self.docker`` by tests that mix in `DockerTestHelper`.
    """

    def setup(self, owner: Parent) -> None:
        """Work for *owner*, a test or the runner; nothing is done until it is used."""
        self._owner = owner

    def image(
        self,
        name: str | None = None,
        *,
        dockerfile: str | None = None,
        context: str | None = None,
        **options: Any,
    ) -> DockerImage:
        """Return an image: an existing one by name, or one that is built.

        Args:
            name: Name of an existing image.
            dockerfile: Dockerfile to build, relative to the test's input directory;
                ``Dockerfile`` of *context* by default.
            context: Folder with the build context, relative to the input directory.
            options: Those of `DockerImage.fromExisting`, or of
                `DockerImage.fromDockerfile`.
        """
        if name is not None:
            return DockerImage.fromExisting(self._owner, name, **options)
        if dockerfile is None:
            dockerfile = f"{context or '.'}/Dockerfile"
        return DockerImage.fromDockerfile(
            self._owner, dockerfile, context=context, **options
        )

    def container(
        self,
        image: DockerImage | str,
        displayName: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        ports: Iterable[int | str] = (),
        network: DockerNetwork | str | None = None,
    ) -> DockerContainer:
        """Prepare a container; call ``run()`` on it.

        Args:
            image: The image, or the name of an existing one.
            displayName: What to call it; by default after the image.
            env: Environment variables inside.
            ports: Ports inside that are exposed.
            network: The network to join.
        """
        if isinstance(image, str):
            image = self.image(image)
        container = DockerContainer.fromImage(image, displayName)
        if env:
            container.setEnv(env)
        for port in ports:
            container.exposePort(port)
        if network is not None:
            container.joinNetwork(network)
        return container

    def network(self, displayName: str = "network", **options: Any) -> DockerNetwork:
        """Create a network.

        Args:
            displayName: What to call it.
            options: Those of `DockerNetwork.create`.
        """
        return DockerNetwork.create(self._owner, displayName, **options)


class DockerTestHelper:
    """Mix-in that gives a test ``self.docker``.

    Example::

        class PySysTest(pysys_orch.docker.DockerTestHelper, pysys.basetest.BaseTest):
            def execute(self):
                image = self.docker.image(context='.')
                self.docker.container(image).run().waitForPort(8080)
    """

    HELPER_MIXIN_FIELD_NAME = "docker"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.docker = DockerFront()
        self.docker.setup(cast(Parent, self))

    def handleRunnerAbort(self, **kwargs: Any) -> None:
        """End the processes of the test, since the whole run is to end."""
        # PySys 2.2 interrupts its own wait for them, and prints that as an error.
        with contextlib.suppress(KeyboardInterrupt):
            super().handleRunnerAbort(**kwargs)  # type: ignore[misc] # of a BaseTest


class DockerTest(DockerTestHelper, BaseTest):
    """A base class that already mixes in `DockerTestHelper`."""

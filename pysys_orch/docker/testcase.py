"""What a PySys test mixes in to have Docker at hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from pysys.basetest import BaseTest

from pysys_orch.docker.composition import DockerComposition
from pysys_orch.docker.container import DockerContainer
from pysys_orch.docker.faults import DockerFaults
from pysys_orch.docker.helper import Reporting
from pysys_orch.docker.image import DockerImage
from pysys_orch.docker.monitor import DockerMonitor
from pysys_orch.docker.network import DockerNetwork
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.prepared import Prepared
from pysys_orch.docker.runningcontainer import RunningContainer
from pysys_orch.docker.secret import DockerConfig, DockerSecret
from pysys_orch.docker.service import DockerService
from pysys_orch.docker.swarm import DockerSwarm
from pysys_orch.docker.volume import DockerVolume

_P = TypeVar("_P", bound=Prepared)


class DockerFront:
    """Makes what one test needs of Docker: a thin front of the classes.

    Reached as ``self.docker`` by tests that mix in `DockerTestHelper`.
    """

    def setup(self, owner: Parent) -> None:
        """Work for *owner*, a test or the runner; nothing is done until it is used."""
        self._owner = owner

    @property
    def faults(self) -> DockerFaults:
        """What makes faults: pauses, partitions, slow links, full disks."""
        return DockerFaults(self._owner)

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
        return _prepared(container, env, ports, network)

    def service(
        self,
        image: DockerImage | str,
        displayName: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        ports: Iterable[int | str] = (),
        network: DockerNetwork | str | None = None,
        secrets: Iterable[DockerSecret | str] = (),
        configs: Iterable[DockerConfig | str] = (),
    ) -> DockerService:
        """Prepare a service of a swarm; call ``run()`` on it.

        Args:
            image: The image, or the name of an existing one.
            displayName: What to call it; by default after the image.
            env: Environment variables inside.
            ports: Ports inside that are exposed.
            network: The network to join.
            secrets: What is to be found in ``/run/secrets``.
            configs: What is to be found in ``/``.
        """
        if isinstance(image, str):
            image = self.image(image)
        service = DockerService.fromImage(image, displayName)
        for secret in secrets:
            service.useSecret(secret)
        for config in configs:
            service.useConfig(config)
        return _prepared(service, env, ports, network)

    def secret(
        self,
        contents: str | bytes | None = None,
        *,
        file: str | None = None,
        name: str | None = None,
    ) -> DockerSecret:
        """Create a secret for services to use.

        Args:
            contents: What it contains.
            file: File that it contains, in place of that.
            name: Its name, by default a unique one.
        """
        return DockerSecret(self._owner, file=file, secretContents=contents, name=name)

    def config(
        self,
        contents: str | bytes | None = None,
        *,
        file: str | None = None,
        name: str | None = None,
    ) -> DockerConfig:
        """Create a config for services to use.

        Args:
            contents: What it contains.
            file: File that it contains, in place of that.
            name: Its name, by default a unique one.
        """
        return DockerConfig(self._owner, file=file, configContents=contents, name=name)

    def composition(
        self, file: str = "docker-compose.yml", **options: Any
    ) -> DockerComposition:
        """Prepare what a compose file describes; call ``up()`` on it.

        Args:
            file: The file, relative to the test's input directory.
            options: Those of `DockerComposition`.
        """
        return DockerComposition(self._owner, file, **options)

    def stack(self, file: str = "docker-stack.yml", **options: Any) -> DockerSwarm:
        """Prepare what a stack file describes; call ``deploy()`` on it.

        Args:
            file: The file, relative to the test's input directory.
            options: Those of `DockerSwarm`.
        """
        return DockerSwarm(self._owner, file, **options)

    def network(self, displayName: str = "network", **options: Any) -> DockerNetwork:
        """Create a network.

        Args:
            displayName: What to call it.
            options: Those of `DockerNetwork.create`.
        """
        return DockerNetwork.create(self._owner, displayName, **options)

    def volume(self, displayName: str = "volume", **options: Any) -> DockerVolume:
        """Create a volume.

        Args:
            displayName: What to call it.
            options: Those of `DockerVolume.create`.
        """
        return DockerVolume.create(self._owner, displayName, **options)

    def runAll(
        self,
        containers: Iterable[DockerContainer],
        cmd: Sequence[str] | str | None = None,
        extraArgs: Sequence[str] | None = None,
        foreground: bool = False,
        **options: Any,
    ) -> list[DockerContainer]:
        """Run several containers at once; see `DockerContainer.runAll`.

        Args:
            containers: What to run.
            cmd: As of `DockerContainer.run`, for each of them.
            extraArgs: As of `DockerContainer.run`, for each of them.
            foreground: As of `DockerContainer.run`, for each of them.
            options: The others of `DockerContainer.runAll`.
        """
        with Reporting(self._owner):
            return DockerContainer.runAll(
                containers, cmd, extraArgs, foreground, **options
            )
        return []

    def monitor(
        self,
        *containers: RunningContainer | Iterable[RunningContainer],
        interval: float | str = 1.0,
        file: str | None = None,
    ) -> DockerMonitor:
        """Begin to sample what containers take, until ``stop()`` or the test's end.

        It can also be the head of a ``with`` block.

        Args:
            containers: Those, or a list of them; more can be added.
            interval: Seconds between two samples, or a text such as ``500ms``.
            file: The CSV file, ``monitor.csv`` by default.
        """
        monitor = DockerMonitor(self._owner, interval=interval, file=file)
        return monitor.add(*containers).start()


def _prepared(
    helper: _P,
    env: Mapping[str, str] | None,
    ports: Iterable[int | str],
    network: DockerNetwork | str | None,
) -> _P:
    if env:
        helper.setEnv(env)
    for port in ports:
        helper.exposePort(port)
    if network is not None:
        helper.joinNetwork(network)
    return helper


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

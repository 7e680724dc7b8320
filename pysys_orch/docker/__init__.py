"""Images, containers, networks and volumes, owned by a PySys test and never left.

Each name is imported when it is first used, so that what works without PySys, the
package `pysys_orch.docker.engine`, can be imported without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysys_orch.lazy import exports

if TYPE_CHECKING:
    from pysys_orch.docker.composition import DockerComposition
    from pysys_orch.docker.container import DockerContainer
    from pysys_orch.docker.fault import DockerFault
    from pysys_orch.docker.faults import DockerFaults
    from pysys_orch.docker.helper import DOCKER_COMMAND_RETURN, Config, DockerHelper
    from pysys_orch.docker.image import DockerImage
    from pysys_orch.docker.monitor import DockerMonitor
    from pysys_orch.docker.network import DockerNetwork
    from pysys_orch.docker.plugin import DockerRunnerPlugin
    from pysys_orch.docker.secret import DockerConfig, DockerSecret
    from pysys_orch.docker.service import DockerService
    from pysys_orch.docker.swarm import DockerSwarm
    from pysys_orch.docker.testcase import DockerFront, DockerTest, DockerTestHelper
    from pysys_orch.docker.volume import DockerVolume

__all__ = [
    "DOCKER_COMMAND_RETURN",
    "Config",
    "DockerComposition",
    "DockerConfig",
    "DockerContainer",
    "DockerFault",
    "DockerFaults",
    "DockerFront",
    "DockerHelper",
    "DockerImage",
    "DockerMonitor",
    "DockerNetwork",
    "DockerRunnerPlugin",
    "DockerSecret",
    "DockerService",
    "DockerSwarm",
    "DockerTest",
    "DockerTestHelper",
    "DockerVolume",
]

_HOMES = {
    "DOCKER_COMMAND_RETURN": "helper",
    "Config": "helper",
    "DockerComposition": "composition",
    "DockerConfig": "secret",
    "DockerContainer": "container",
    "DockerFault": "fault",
    "DockerFaults": "faults",
    "DockerFront": "testcase",
    "DockerHelper": "helper",
    "DockerImage": "image",
    "DockerMonitor": "monitor",
    "DockerNetwork": "network",
    "DockerRunnerPlugin": "plugin",
    "DockerSecret": "secret",
    "DockerService": "service",
    "DockerSwarm": "swarm",
    "DockerTest": "testcase",
    "DockerTestHelper": "testcase",
    "DockerVolume": "volume",
}

__getattr__, __dir__ = exports(__name__, _HOMES)

"""Networks: how the containers of a test find each other, and nobody else."""

from __future__ import annotations

from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.helper import DockerBelonging
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session


class DockerNetwork(DockerBelonging):
    """A network of a test's own, removed when its parent is cleaned up.

    Containers in it find each other by the names that they join with.

    Args:
        parent: The test or runner.
        displayName: What to call it; also becomes part of its name.
    """

    def __init__(self, parent: Parent, displayName: str = "network") -> None:
        super().__init__(parent, displayName)
        self._name = ""

    @classmethod
    def create(
        cls,
        parent: Parent,
        displayName: str = "network",
        *,
        internal: bool = False,
        driver: str = "bridge",
    ) -> DockerNetwork:
        """Create a network.

        Args:
            parent: The test or runner.
            displayName: What to call it.
            internal: Whether its containers are kept from reaching the outside.
            driver: What makes it; ``overlay`` for one that the services of a swarm can
                join, and containers too.
        """
        network = cls(parent, displayName)
        with network.reporting():
            session = Session.of(parent)
            swarming = driver == "overlay"
            engine = session.swarm_engine() if swarming else session.engine()
            network._name = session.name(parent, displayName)
            session.belongings(parent).add(network)
            options = {
                "Driver": driver,
                "Internal": internal,
                "Attachable": swarming,
            }
            engine.create_network(network._name, session.labels(parent), options)
        return network

    def getName(self) -> str:
        """Return the network's name."""
        return self._name

    # What a test's cleanup asks of it ------------------------------------------

    def resources(self) -> list[Resource]:
        """Return the network to remove."""
        if not self._name:
            return []
        return [Resource(kind=Kind.NETWORK, id=self._name, name=self._name)]

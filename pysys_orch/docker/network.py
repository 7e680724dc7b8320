"""Networks: how the containers of a test find each other, and nobody else."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pysys_orch.docker.engine import ready
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.networks import gateway_of, network_options
from pysys_orch.docker.engine.pools import (
    NO_POOL_OF_SWARM,
    is_overlapping,
    told_overlapping,
)
from pysys_orch.docker.helper import DockerBelonging
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.runningcontainer import RunningContainer
from pysys_orch.docker.session import Session
from pysys_orch.errors import (
    ConfigError,
    DockerError,
    EngineAnswerError,
    NotFoundError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine

_ALLOCATION_TIMEOUT = 5.0  # it takes a swarm some milliseconds


class DockerNetwork(DockerBelonging):
    """A network of a test's own, removed when its parent is cleaned up.

    Containers in it find each other by the names that they join with. Methods that
    return nothing else return the helper itself, to allow chaining.

    Args:
        parent: The test or runner.
        displayName: What to call it; also becomes part of its name.
    """

    def __init__(self, parent: Parent, displayName: str = "network") -> None:
        super().__init__(parent, displayName)
        self._name = ""
        self._owned = True
        self._connected: set[str] = set()

    @classmethod
    def create(
        cls,
        parent: Parent,
        displayName: str = "network",
        *,
        internal: bool = False,
        driver: str = "bridge",
        subnet: str | Sequence[str] = (),
        gateway: str | Sequence[str] = (),
        ipv6: bool = False,
        attachable: bool | None = None,
        driverOpts: Mapping[str, object] | None = None,
    ) -> DockerNetwork:
        """Create a network.

        Where the engine has no addresses left, or another network has those of
        *subnet*, what dead runs have left on it is collected first.

        Args:
            parent: The test or runner.
            displayName: What to call it.
            internal: Whether its containers are kept from reaching the outside.
            driver: What makes it; ``overlay`` for one that the services of a swarm can
                join, and containers too.
            subnet: Its addresses, such as ``10.20.0.0/24``; or several, of which one
                may be of IPv6. The engine chooses one that is free if nobody says.
            gateway: The address of the host in it, or one for each subnet.
            ipv6: Whether its containers have addresses of IPv6 too; local ones that
                nobody else has, unless *subnet* has some.
            attachable: Whether containers can join an overlay; they can by default.
            driverOpts: What the driver is told:
                ``{"com.docker.network.driver.mtu": 1400}``.
        """
        network = cls(parent, displayName)
        with network.reporting():
            session = Session.of(parent)
            swarming = driver == "overlay"
            name = session.name(parent, displayName)
            try:
                options = network_options(
                    name,
                    driver=driver,
                    internal=internal,
                    attachable=swarming if attachable is None else attachable,
                    subnets=_several(subnet),
                    gateways=_several(gateway),
                    ipv6=ipv6,
                    driver_options=driverOpts,
                )
            except ValueError as failure:
                raise ConfigError(str(failure)) from None
            engine = (
                session.engines.swarm_engine() if swarming else session.engines.engine()
            )
            network._name = name
            session.belongings(parent).add(network)
            labels = session.labels(parent)

            def make() -> None:
                engine.create_network(name, labels, options)
                if swarming:
                    network._requireAddresses(engine)

            try:
                session.pools.with_room(engine, make)
            except EngineAnswerError as refusal:
                if not is_overlapping(refusal.explanation):
                    raise
                subnets = [pool["Subnet"] for pool in options["IPAM"]["Config"]]
                listed = engine.list_labelled("/networks", [])
                message = told_overlapping(subnets, listed, session.owner)
                raise DockerError(message) from None
        return network

    @classmethod
    def fromExisting(
        cls, parent: Parent, name: str, own: bool = False
    ) -> DockerNetwork:
        """Wrap an existing network.

        Args:
            parent: The test or runner.
            name: Name or id of the existing network.
            own: Whether it is removed when the parent is cleaned up.
        """
        network = cls(parent, name)
        network._owned = own
        with network.reporting():
            session = Session.of(parent)
            try:
                found = session.engines.engine().inspect_network(name)
            except NotFoundError:
                message = f"there is no network {name}"
                raise DockerError(message) from None
            network._name = str(found["Name"])
            session.belongings(parent).add(network)
        return network

    def getName(self) -> str:
        """Return the network's name."""
        return self._name

    # What is in it ----------------------------------------------------------------

    def connect(
        self,
        container: RunningContainer | str,
        *aliases: str,
        address: str | None = None,
    ) -> DockerNetwork:
        """Attach a container to it, in addition to its other networks.

        Args:
            container: The container, once it was run; or its name.
            aliases: Names by which others in the network find it; its display name by
                default.
            address: Which of the network's addresses it gets, of IPv4 or IPv6; this
                takes a network with a *subnet* of its own.
        """
        with self.reporting():
            name, shown = _named(container)
            endpoint: dict[str, Any] = {"Aliases": list(aliases or (shown,))}
            if address is not None:
                key = "IPv6Address" if ":" in address else "IPv4Address"
                endpoint["IPAMConfig"] = {key: address}
            try:
                self._engine().connect_network(self._name, name, endpoint)
            except EngineAnswerError:
                raise  # it is none of ours: somebody else may have connected it
            except DockerError:
                self._connected.add(name)  # it may have been, all the same
                raise
            self._connected.add(name)
        return self

    def disconnect(self, container: RunningContainer | str) -> DockerNetwork:
        """Take a container from it.

        Args:
            container: The container, or its name.
        """
        with self.reporting():
            name, _ = _named(container)
            self._engine().disconnect_network(self._name, name)
            self._connected.discard(name)
        return self

    def inspect(self) -> dict[str, Any]:
        """Return all that the engine knows, as ``docker network inspect`` shows it."""
        with self.reporting():
            return self._engine().inspect_network(self._name)
        return {}

    def getContainers(self) -> dict[str, str]:
        """Return the running containers in it.

        Returns:
            Maps a container's name to its address in the network: that of IPv4 if it
            has one.
        """
        containers = self.inspect().get("Containers") or {}
        return {
            str(each["Name"]): str(
                each["IPv4Address"] or each["IPv6Address"]
            ).partition("/")[0]
            for each in containers.values()
        }

    def getSubnet(self) -> str:
        """Return its addresses, such as ``10.20.0.0/24``; the first of several."""
        pools = (self.inspect().get("IPAM") or {}).get("Config") or []
        return next((str(each["Subnet"]) for each in pools if each.get("Subnet")), "")

    def getGateway(self) -> str:
        """Return the address of the host in it; empty if the host has none.

        Only that of a bridge is one of the host; of an overlay it is what the swarm
        calls its gateway.
        """
        with self.reporting():
            return gateway_of(self._engine().inspect_network(self._name))
        return ""

    # What a test's cleanup asks of it ------------------------------------------

    def resources(self) -> list[Resource]:
        """Return the network to remove."""
        if not self._name or not self._owned:
            return []
        return [Resource(kind=Kind.NETWORK, id=self._name, name=self._name)]

    def end(self) -> None:
        """Take from it what was connected: what lives on would keep it."""
        engine = self.engineInUse()
        if engine is None:
            return
        connected, self._connected = self._connected, set()
        for name in connected:
            with contextlib.suppress(EngineAnswerError):  # gone, or was never in it
                engine.disconnect_network(self._name, name, force=True)

    # Inside ------------------------------------------------------------------------

    def _requireAddresses(self, engine: ApiEngine) -> None:
        """Wait until a swarm has given it a subnet, which it does after the creation.

        Raises:
            DockerError: It has none left; the network is gone again.
        """
        try:
            ready.wait_for(
                lambda: (engine.inspect_network(self._name)["IPAM"]["Config"]) or None,
                what=f"network {self._name} has a subnet",
                timeout=_ALLOCATION_TIMEOUT,
                clock=Session.of(self.parent).clock,
                pause=self.parent.pollWait,
                alive=lambda: None,
            )
        except WaitTimeoutError:
            engine.remove(Resource(kind=Kind.NETWORK, id=self._name, name=self._name))
            message = f"{NO_POOL_OF_SWARM} for network {self._name}"
            raise DockerError(message) from None


def _several(given: str | Sequence[str]) -> Sequence[str]:
    return (given,) if isinstance(given, str) else given


def _named(container: RunningContainer | str) -> tuple[str, str]:
    """Return a container's name on the engine, and what to call it.

    Raises:
        ConfigError: It was not run.
    """
    if isinstance(container, str):
        return container, container
    if not container.getName():
        message = f"container {container.displayName} does not run: call run() first"
        raise ConfigError(message)
    return container.getName(), container.displayName

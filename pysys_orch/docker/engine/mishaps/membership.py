"""Containers that leave networks."""

from __future__ import annotations

from pysys_orch.docker.engine.fault import Action, Claim, Json, endpoint_of
from pysys_orch.docker.engine.mishaps.mishap import Remedies, Simple, Target
from pysys_orch.errors import ConfigError, FaultError, NotFoundError
from pysys_orch.inputs import nearest


class Disconnect(Simple):
    """A container is taken out of networks.

    Args:
        target: The container.
        network: Its name or id; None is all that it is in.
    """

    kind = "disconnect"

    def __init__(self, target: Target, network: str | None) -> None:
        super().__init__(target)
        self.words = network or "all networks"
        self._network = network
        self._wanted: dict[str, Json] = {}

    def claims(self) -> tuple[Claim, ...]:
        """See `Mishap`."""
        return self.claims_of(each["NetworkID"] for each in self._find().values())

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        self._wanted = self._find()
        return tuple(
            remedy
            for each in self._wanted.values()
            for remedy in self.remedies(
                Action.CONNECT,
                network=each["NetworkID"],
                endpoint=endpoint_of(self.target.container, each),
            )
        )

    def _find(self) -> dict[str, Json]:
        """Return the networks that it is taken out of, by their names.

        Raises:
            ConfigError: There is none.
            FaultError: It could not join one again.
        """
        target = self.target
        networks = target.inspect_running()["NetworkSettings"]["Networks"] or {}
        wanted = {
            name: each
            for name, each in networks.items()
            if self._network in {None, name, each["NetworkID"]}
        }
        if not wanted or "host" in wanted:
            known = "it has that of its host" if wanted else "it is in no such network"
            hint = "" if wanted else nearest(self._network or "", networks)
            message = (
                f"container {target.name} cannot be disconnected from {self.words}: "
                f"{known}{hint}"
            )
            raise ConfigError(message)
        for name, each in wanted.items():
            about = target.engine.inspect_network(each["NetworkID"])
            if about.get("Scope") == "swarm" and not about.get("Attachable"):
                message = (
                    f"a task cannot be connected again to network {name} of its swarm: "
                    "use partition, or make the network attachable"
                )
                raise FaultError(message)
        return wanted

    def begin(self) -> None:
        """See `Mishap`."""
        engine, container = self.target.engine, self.target.container
        for each in self._wanted.values():
            engine.disconnect_network(each["NetworkID"], container)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        return not self._there()

    def is_healed(self) -> bool:
        """See `Mishap`."""
        missing = self._wanted.keys() - self._there()
        return not any(map(self._exists, missing))

    def _there(self) -> set[str]:
        # By name, since one that has ended has no id of a network that it joins.
        networks = self.target.inspect()["NetworkSettings"]["Networks"] or {}
        return networks.keys() & self._wanted.keys()

    def _exists(self, name: str) -> bool:
        try:
            self.target.engine.inspect_network(self._wanted[name]["NetworkID"])
        except NotFoundError:
            return False
        return True

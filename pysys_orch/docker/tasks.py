"""The tasks of a service one by one: where one is reached, and its container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pysys_orch.docker.convergence import Observed
from pysys_orch.docker.engine import ready, swarm
from pysys_orch.docker.engine.reach import Reach, addresses_within
from pysys_orch.docker.running import listens
from pysys_orch.errors import ConfigError, NotFoundError


class TaskPorts:
    """The ports of a service's tasks, as they are reached from here.

    Args:
        service: The service.
        reach: How one comes from here to its manager's engine.
    """

    def __init__(self, service: Observed, reach: Reach) -> None:
        self._service = service
        self._reach = reach

    def address(self, key: str, slot: int | None = None) -> tuple[str, int] | None:
        """Return where a port inside is reached.

        Args:
            key: The port as ``8000/tcp``.
            slot: Which of the replicas; by default the first that runs.

        Returns:
            Host and port; None if no such task runs yet.

        Raises:
            ConfigError: The port was never exposed.
        """
        everywhere = self._everywhere(key)
        tasks = swarm.running_tasks(self._service.tasks())
        if everywhere and slot is None:
            return self._reach.required().host, everywhere
        for at, each in enumerate(tasks, 1):
            if slot in {None, each.get("Slot") or at} and (
                address := self._addressOf(each, key)
            ):
                return address
        return None

    def areHeard(self, key: str, number: int) -> bool:
        """Return whether somebody listens in each task.

        Args:
            key: The port as ``8000/tcp``.
            number: The port.

        Raises:
            ConfigError: One can be reached by what is published only, and nothing is.
        """
        heard = []
        for task in swarm.running_tasks(self._service.tasks()):
            container = swarm.container_of(task)
            try:
                found = self._service.engine.inspect_container(container)
            except NotFoundError:  # it is on another node
                found = {}
            if found and any(addresses_within(found, self._reach)):
                heard.append(listens(self._reach, found, key, number))
                continue
            address = self._addressOf(task, key)
            if address is None and (everywhere := self._everywhere(key)):
                address = self._reach.required().host, everywhere
            heard.append(address is not None and ready.accepts_published(*address))
        return bool(heard) and all(heard)

    def _everywhere(self, key: str) -> int | None:
        """Return the port that all nodes publish for one inside, if they do.

        Raises:
            ConfigError: It was never exposed.
        """
        number, _, protocol = key.partition("/")
        wanted = (int(number), protocol)
        found = self._service.inspect()
        endpoint = found.get("Endpoint", {})
        spec = endpoint.get("Spec") or found["Spec"].get("EndpointSpec")
        asked = (spec or {}).get("Ports") or []
        if wanted not in {(each["TargetPort"], each["Protocol"]) for each in asked}:
            message = (
                f"port {key} of service {self._service.name} was never exposed: "
                f"call exposePort({number}) before run()"
            )
            raise ConfigError(message)
        return swarm.published_port(endpoint, key)

    def _addressOf(self, task: Mapping[str, Any], key: str) -> tuple[str, int] | None:
        """Return where a port of a task is reached: on the node that it is on."""
        place = task["Status"].get("PortStatus") or {}
        outside = swarm.published_port(place, key)
        if not outside:
            return None
        # What the settings say of this engine's host does not hold for another node.
        elsewhere = self._service.engine.address_of_node(task["NodeID"])
        return elsewhere or self._reach.required().host, outside


def containerHere(
    service: Observed, slot: int | None
) -> tuple[int, dict[str, Any]] | None:
    """Find the container of a replica that is on this node.

    Args:
        service: The service.
        slot: Which of the replicas; by default the first that runs.

    Returns:
        The replica's number and the container's inspection; None if there is none yet.

    Raises:
        ConfigError: There is no such replica.
    """
    tasks = service.tasks()
    there = swarm.slots(tasks)
    if not there or slot not in {None, *there}:
        which = "" if slot is None else f" {slot}"
        known = f", only {', '.join(map(str, there))}" if there else ""
        message = f"service {service.name} has no replica{which}{known}"
        raise ConfigError(message)
    for number, task in enumerate(swarm.running_tasks(tasks), 1):
        at = task.get("Slot") or number
        if slot not in {None, at}:
            continue
        try:
            found = service.engine.inspect_container(swarm.container_of(task))
        except NotFoundError:  # it is on another node
            continue
        if slot is None and not found["State"]["Running"]:
            continue
        return at, found
    return None

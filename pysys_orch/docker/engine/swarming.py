"""What an engine is asked about its swarm: nodes, services, tasks, secrets, configs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from enum import StrEnum

from pysys_orch.docker.engine.asking import Asking, Json
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import SERVICE_ID_LABEL, SERVICE_NAME_LABEL
from pysys_orch.docker.engine.streams import LogStream, log_parameters
from pysys_orch.errors import SwarmInactiveError

_NODE_TIMEOUT = 5.0  # a manager waits for a node until it takes that for dead
_STARTING_STATES = {
    "new",
    "allocated",
    "pending",
    "assigned",
    "accepted",
    "preparing",
    "ready",
    "starting",
}


class SwarmState(StrEnum):
    """What part an engine has in a swarm."""

    INACTIVE = "inactive"
    PENDING = "pending"
    WORKER = "worker"
    MANAGER = "manager"


class Swarming(Asking):
    """Asks an engine about its swarm."""

    def swarm_state(self) -> SwarmState:
        """Return what part this engine has in a swarm."""
        told = self.info().get("Swarm") or {}
        if told.get("ControlAvailable"):
            return SwarmState.MANAGER
        node = told.get("LocalNodeState")
        if node == "pending":
            return SwarmState.PENDING
        active = node not in {None, "", "inactive"}
        return SwarmState.WORKER if active else SwarmState.INACTIVE

    def begin_swarm(self, labels: Mapping[str, str]) -> None:
        """Make this engine the manager of a swarm of its own.

        It listens on the loopback only, so no other engine can join.

        Args:
            labels: Those of the swarm.
        """
        body = {
            "ListenAddr": "127.0.0.1:2377",
            "AdvertiseAddr": "127.0.0.1",
            "Spec": {"Name": "default", "Labels": dict(labels)},
        }
        self._post("begin a swarm", "/swarm/init", body=body)

    def inspect_swarm(self) -> Json:
        """Return everything that a manager knows about its swarm.

        Raises:
            SwarmInactiveError: This engine manages none; so for all that follows.
        """
        found: Json = self._get("inspect the swarm", "/swarm")
        return found

    def list_nodes(self) -> list[Json]:
        """Return the nodes of the swarm."""
        found: list[Json] = self._get("list the nodes of the swarm", "/nodes")
        return found

    def unready_nodes(self) -> set[str]:
        """Return the ids of the swarm's nodes from which it does not hear."""
        return {
            str(each["ID"])
            for each in self.list_nodes()
            if each["Status"]["State"] != "ready"
        }

    def own_node(self) -> str:
        """Return the id of the node of the swarm that this engine is; empty if none."""
        return str((self.info().get("Swarm") or {}).get("NodeID", ""))

    def address_of_node(self, node: str) -> str:
        """Return the address of another node, as the swarm knows it.

        Args:
            node: Its id.

        Returns:
            Nothing for the node that this engine is, or if the swarm knows none.
        """
        if node == self.own_node():
            return ""
        found = self._get(f"inspect node {node}", f"/nodes/{node}")
        return str(found["Status"].get("Addr", ""))

    def create_service(self, body: Json) -> str:
        """Create a service from the API's own description; return its id."""
        words = f"create service {body['Name']}"
        return str(self._post(words, "/services/create", body=body)["ID"])

    def inspect_service(self, service: str) -> Json:
        """Return everything that the swarm knows about a service."""
        found: Json = self._get(f"inspect service {service}", f"/services/{service}")
        return found

    def update_service(self, service: str, version: int, spec: Json) -> None:
        """Give a service another description.

        Args:
            service: Its id.
            version: The ``Version.Index`` that *spec* was made from.
            spec: All of the description.

        Raises:
            EngineAnswerError: Somebody has changed it since: ``out of sequence``.
        """
        words = f"update service {service}"
        path = f"/services/{service}/update"
        self._post(words, path, {"version": version}, spec)

    def list_services(self, labels: list[str]) -> list[Json]:
        """Return the services that carry all of *labels*, each as ``key=value``."""
        filters = json.dumps({"label": labels})
        listed = self._get("list services", "/services", {"filters": filters})
        found: list[Json] = listed
        return found

    def list_tasks(self, service: str) -> list[Json]:
        """Return the tasks of a service, of those that have ended the latest.

        Raises:
            NotFoundError: The service was removed, even if tasks of it still run.
        """
        filters = json.dumps({"service": [service]})
        words = f"list tasks of service {service}"
        found: list[Json] = self._get(words, "/tasks", {"filters": filters})
        return found

    def task_logs(
        self,
        task: str,
        *,
        framed: bool,
        since: str = "",
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
    ) -> LogStream:
        """Open the log of a task as it is now, on whichever node that runs.

        Args:
            task: Its id.
            framed: As for `container_logs`; so are the others.
            since: As there.
            stdout: As there.
            stderr: As there.
            tail: As there.

        Raises:
            EngineAnswerError: Its node is down: ``incomplete log stream``.
            EngineUnreachableError: Its node does not answer, as the swarm has not
                noticed yet.
        """
        answer = self._ask(
            f"read the log of task {task}",
            "GET",
            f"/tasks/{task}/logs",
            log_parameters(
                framed=framed, since=since, stdout=stdout, stderr=stderr, tail=tail
            ),
            timeout=_NODE_TIMEOUT,
        )
        return LogStream(answer, endpoint=self.endpoint, framed=framed)

    def starting_tasks(self, service: str) -> int:
        """Return how many tasks of a service have no container yet, but may have soon.

        Args:
            service: Its id; it may be removed already. Tasks on other nodes are none.
        """
        try:
            listed = self._get("list tasks", "/tasks")
        except SwarmInactiveError:
            return 0
        starting = [
            each
            for each in listed
            if each["ServiceID"] == service
            and each["Status"]["State"] in _STARTING_STATES
        ]
        if any(each.get("NodeID") for each in starting):
            here = {"", self.own_node()}
            starting = [each for each in starting if each.get("NodeID", "") in here]
        return len(starting)

    def task_containers(self, service: str) -> list[Resource]:
        """Return the containers on this node that a service has made.

        Args:
            service: Its id or name; it may be removed already.
        """
        listed = self.list_labelled("/containers/json", [SERVICE_ID_LABEL])
        return [
            Resource(
                kind=Kind.CONTAINER, id=each["Id"], name=each["Names"][0].lstrip("/")
            )
            for each in listed
            if service
            in map(each["Labels"].get, (SERVICE_ID_LABEL, SERVICE_NAME_LABEL))
        ]

    def create_secret(self, name: str, data: bytes, labels: Mapping[str, str]) -> str:
        """Create a secret; return its id. Its data are in no message."""
        return self._create_data(Kind.SECRET, name, data, labels)

    def create_config(self, name: str, data: bytes, labels: Mapping[str, str]) -> str:
        """Create a config; return its id."""
        return self._create_data(Kind.CONFIG, name, data, labels)

    def inspect_data(self, kind: Kind, name: str) -> Json:
        """Return everything that the swarm tells about a secret or config."""
        found: Json = self._get(f"inspect {kind} {name}", f"/{kind}s/{name}")
        return found

    def _create_data(
        self, kind: Kind, name: str, data: bytes, labels: Mapping[str, str]
    ) -> str:
        encoded = base64.b64encode(data).decode()
        body = {"Name": name, "Labels": dict(labels), "Data": encoded}
        answer = self._post(f"create {kind} {name}", f"/{kind}s/create", body=body)
        return str(answer["ID"])

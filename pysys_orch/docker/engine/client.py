"""One Docker Engine, and all that is asked of it.

This module and those that it stands on, `asking`, `streams`, `swarming` and `listing`,
are the only ones that know the Engine API.

Source:
    Docker Engine API 1.41 (engine 20.10) to the current one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from pysys_orch.docker.engine.address import without_credentials
from pysys_orch.docker.engine.asking import ANSWER_TIMEOUT, Json, cause_of
from pysys_orch.docker.engine.listing import Listing
from pysys_orch.docker.engine.streams import EventStream, LogStream, log_parameters
from pysys_orch.docker.engine.transport import CONNECTION_ERRORS, open_transport
from pysys_orch.errors import EngineUnreachableError

# What Go's servers answer to who does not encrypt.
_WANTS_TLS = b"HTTP request to an HTTPS server"


class ApiEngine(Listing):
    """One Docker Engine. Threads may share it."""

    @classmethod
    def connect(
        cls, environment: Mapping[str, str], *, timeout: float = 5.0
    ) -> ApiEngine:
        """Reach the engine that the docker client would use in *environment*.

        Args:
            environment: What the docker client finds in its environment.
            timeout: Seconds within which it must answer for the first time.

        Raises:
            ConfigError: The environment names a context that does not exist, an
                address that is none, or certificates that cannot be read.
            EngineUnreachableError: Nothing answers there in time.
        """
        transport, host = open_transport(environment)
        endpoint = without_credentials(host)
        said = b""
        try:
            answer = transport.send("GET", "/version", body=None, timeout=timeout)
            said = answer.body()
            told = json.loads(said)
            version, api_version = str(told["Version"]), str(told["ApiVersion"])
            parts = [str(each.get("Name")) for each in told.get("Components") or ()]
        # First, since a certificate that is not believed is a ValueError as well.
        except CONNECTION_ERRORS as failure:
            transport.close()
            raise EngineUnreachableError(endpoint, cause_of(failure, timeout)) from None
        except (AttributeError, KeyError, TypeError, ValueError):
            transport.close()
            cause = "what answers there is no Docker Engine"
            if _WANTS_TLS in said:
                cause = "it wants TLS: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
            raise EngineUnreachableError(endpoint, cause) from None
        is_podman = any(each.startswith("Podman") for each in parts)
        return cls(transport, host, version, api_version, is_podman=is_podman)

    # Containers ---------------------------------------------------------------

    def create_container(self, name: str, body: Json) -> str:
        """Create a container from the API's own description; return its id."""
        words = f"create container {name}"
        answer = self._post(words, "/containers/create", {"name": name}, body)
        return str(answer["Id"])

    def inspect_container(self, container: str) -> Json:
        """Return everything that the engine knows about a container."""
        path = f"/containers/{container}/json"
        found: Json = self._get(f"inspect container {container}", path)
        return found

    def start_container(self, container: str) -> None:
        """Start it; nothing happens if it runs."""
        self._post(f"start container {container}", f"/containers/{container}/start")

    def stop_container(self, container: str, grace: float) -> None:
        """Ask it to end, and kill it after *grace* seconds."""
        self._post(
            f"stop container {container}",
            f"/containers/{container}/stop",
            {"t": round(grace)},
            timeout=grace + ANSWER_TIMEOUT,
        )

    def restart_container(self, container: str, grace: float) -> None:
        """Stop it as `stop_container` does, and start it again."""
        self._post(
            f"restart container {container}",
            f"/containers/{container}/restart",
            {"t": round(grace)},
            timeout=grace + ANSWER_TIMEOUT,
        )

    def kill_container(self, container: str, signal: str) -> None:
        """Send it a signal."""
        words = f"send {signal} to container {container}"
        self._post(words, f"/containers/{container}/kill", {"signal": signal})

    def pause_container(self, container: str) -> None:
        """Freeze its processes."""
        self._post(f"pause container {container}", f"/containers/{container}/pause")

    def unpause_container(self, container: str) -> None:
        """Let its processes go on."""
        self._post(f"unpause container {container}", f"/containers/{container}/unpause")

    def container_stats(self, container: str) -> Json:
        """Return what it takes of the machine at this moment, and has taken so far.

        Nothing is waited for: what it takes per second is for the caller to compute.
        """
        path = f"/containers/{container}/stats"
        parameters = {"stream": 0, "one-shot": 1}
        words = f"ask for the figures of container {container}"
        # Of one that ends at this moment, engine 20.10 says nothing at all.
        found: Json = json.loads(self._fetch(words, "GET", path, parameters) or b"{}")
        return found

    def update_container(self, container: str, limits: Json) -> None:
        """Give it other limits, while it runs; a limit of 0 stays as it is."""
        path = f"/containers/{container}/update"
        self._post(f"update container {container}", path, body=limits)

    def container_logs(
        self,
        container: str,
        *,
        follow: bool,
        framed: bool,
        since: str = "",
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
    ) -> LogStream:
        """Open the log of a container.

        Args:
            container: Its id.
            follow: Whether to stay until the container stops.
            framed: False for a container with a terminal, which has one raw stream.
            since: Leave out what the engine received before, as a frame's stamp.
            stdout: Whether standard output is wanted.
            stderr: Whether standard error is wanted.
            tail: How many of the last lines are wanted; all by default.
        """
        parameters = log_parameters(
            framed=framed, since=since, stdout=stdout, stderr=stderr, tail=tail
        )
        parameters["follow"] = int(follow)
        words = f"read the log of container {container}"
        answer = self._ask(words, "GET", f"/containers/{container}/logs", parameters)
        stream = LogStream(answer, endpoint=self.endpoint, framed=framed)
        return stream.without_limit() if follow else stream

    # Images, networks, volumes -----------------------------------------------

    def image_tags(self, repository: str) -> list[str]:
        """Return the tags of all images in *repository*."""
        listed = self._get(
            f"list images of {repository}",
            "/images/json",
            {"filters": json.dumps({"reference": [repository]})},
        )
        return [tag for each in listed for tag in each.get("RepoTags") or []]

    def tag_image(self, image: str, tag: str) -> None:
        """Give an image one more name; the engine notes the time."""
        repository, _, name = tag.partition(":")
        self._post(
            f"tag image {image} as {tag}",
            f"/images/{image}/tag",
            {"repo": repository, "tag": name or "latest"},
        )

    def commit_container(
        self, container: str, tag: str, labels: Mapping[str, str]
    ) -> str:
        """Make an image of a container's file system; return the image's id."""
        repository, _, name = tag.partition(":")
        changes = [f"LABEL {key}={json.dumps(text)}" for key, text in labels.items()]
        answer = self._post(
            f"commit container {container} as {tag}",
            "/commit",
            {
                "container": container,
                "repo": repository,
                "tag": name or "latest",
                "changes": "\n".join(changes),
            },
            {},
            timeout=ANSWER_TIMEOUT * 10,
        )
        return str(answer["Id"])

    def create_network(
        self, name: str, labels: Mapping[str, str], options: Json
    ) -> str:
        """Create a network; return its id."""
        body = {"Name": name, "Labels": dict(labels), "CheckDuplicate": True, **options}
        answer = self._post(f"create network {name}", "/networks/create", body=body)
        return str(answer["Id"])

    def create_volume(
        self, name: str, labels: Mapping[str, str], options: Json | None = None
    ) -> None:
        """Create a volume.

        Args:
            name: Its name.
            labels: Its labels.
            options: ``Driver`` and ``DriverOpts``, where they are not the engine's own.
        """
        body = {"Name": name, "Labels": dict(labels), **(options or {})}
        self._post(f"create volume {name}", "/volumes/create", body=body)

    def inspect_volume(self, volume: str) -> Json:
        """Return everything that the engine knows about a volume."""
        found: Json = self._get(f"inspect volume {volume}", f"/volumes/{volume}")
        return found

    def inspect_network(self, network: str) -> Json:
        """Return everything that the engine knows about a network."""
        found: Json = self._get(f"inspect network {network}", f"/networks/{network}")
        return found

    def connect_network(self, network: str, container: str, endpoint: Json) -> None:
        """Have a container join a network, whether it runs or not.

        Args:
            network: Its id or name.
            container: The container's id.
            endpoint: The API's own description of how: aliases, fixed addresses.
        """
        words = f"connect container {container} to network {network}"
        body = {"Container": container, "EndpointConfig": endpoint}
        self._post(words, f"/networks/{network}/connect", body=body)

    def disconnect_network(
        self, network: str, container: str, *, force: bool = False
    ) -> None:
        """Take a container from a network; by force also one that is gone."""
        words = f"disconnect container {container} from network {network}"
        body = {"Container": container, "Force": force}
        self._post(words, f"/networks/{network}/disconnect", body=body)

    # Events -------------------------------------------------------------------

    def events(self, since: datetime | None = None) -> EventStream:
        """Open the stream of what happens to containers from now on.

        Args:
            since: Begin here, by the engine's clock; the engine remembers 256 events.
        """
        parameters = {"filters": json.dumps({"type": ["container"]})}
        if since is not None:
            parameters["since"] = f"{since.timestamp():.9f}"
        answer = self._ask("watch the engine's events", "GET", "/events", parameters)
        return EventStream(answer, endpoint=self.endpoint).without_limit()

"""How a service of a swarm is described: to its manager, and to the docker client.

Source:
    Docker Engine API 1.41 to 1.45.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pysys_orch.docker.engine.command import (
    ContainerSpec,
    csv_line,
    mount_arguments,
    mount_bodies,
    names_user,
)
from pysys_orch.docker.engine.model import Kind

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A secret or a config as a service sees it.

    Attributes:
        kind: Which of the two.
        id: The swarm's id of it.
        name: Its name.
        target: Where it is: a path, for a secret relative to ``/run/secrets``.
    """

    kind: Kind
    id: str
    name: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """Everything that is known of a service before it exists.

    Attributes:
        container: What each of its tasks is; ports are published on all addresses of
            the node, since a swarm knows no other way.
        replicas: How many tasks are to run.
        job: Whether each is to run once, to its end.
        files: The secrets and configs that it uses.
    """

    container: ContainerSpec
    replicas: int = 1
    job: bool = False
    files: tuple[File, ...] = ()


def service_body(spec: ServiceSpec) -> dict[str, Any]:
    """Return the Engine API's description of *spec*.

    Source:
        Engine API 1.41, ``POST /services/create``.
    """
    each = spec.container
    container: dict[str, Any] = {
        "Image": each.image,
        "Labels": dict(each.labels),
        "Env": [f"{key}={text}" for key, text in each.environment.items()],
    }
    if each.command:
        container["Args"] = list(each.command)
    if each.user:
        container["User"] = each.user
    if mounts := mount_bodies(each, each.labels):
        container["Mounts"] = mounts
    for kind, word in ((Kind.SECRET, "Secret"), (Kind.CONFIG, "Config")):
        files = [file for file in spec.files if file.kind is kind]
        if files:
            container[f"{word}s"] = [
                {
                    f"{word}ID": file.id,
                    f"{word}Name": file.name,
                    "File": {
                        "Name": file.target,
                        "UID": "0",
                        "GID": "0",
                        "Mode": 0o444,
                    },
                }
                for file in files
            ]
    template: dict[str, Any] = {"ContainerSpec": container}
    mode: dict[str, Any] = {"Replicated": {"Replicas": spec.replicas}}
    if spec.job:
        template["RestartPolicy"] = {"Condition": "none"}
        count = {"MaxConcurrent": spec.replicas, "TotalCompletions": spec.replicas}
        mode = {"ReplicatedJob": count}
    if each.network:
        network = {"Target": each.network, "Aliases": list(each.aliases)}
        template["Networks"] = [network]
    body = {
        "Name": each.name,
        "Labels": dict(each.labels),
        "TaskTemplate": template,
        "Mode": mode,
    }
    if each.ports:
        body["EndpointSpec"] = {"Ports": [_published(port) for port in each.ports]}
    return body


def service_arguments(
    spec: ServiceSpec, extra: Sequence[str], *, credentials: bool = False
) -> list[str]:
    """Return the arguments of the docker client that create *spec*.

    Args:
        spec: What to create.
        extra: Arguments of ``docker service create``; where they contradict *spec*,
            they win.
        credentials: Whether the nodes need the client's, to pull the image.
    """
    each = spec.container
    arguments = ["service", "create", "--detach", "--quiet", "--no-resolve-image"]
    arguments += ["--with-registry-auth"] if credentials else []
    arguments += ["--name", each.name]
    for key, text in each.labels.items():
        label = f"{key}={text}"
        arguments += ["--label", label, "--container-label", label]
    for key, text in each.environment.items():
        arguments += ["--env", f"{key}={text}"]
    arguments += mount_arguments(each, each.labels)
    for port in each.ports:
        number, _, protocol = port.partition("/")
        published = f"mode=host,target={number},protocol={protocol}"
        arguments += ["--publish", published]
    for file in spec.files:
        source = csv_line(f"source={file.name}", f"target={file.target}")
        arguments += [f"--{file.kind}", source]
    if each.user and not names_user(extra):
        arguments += ["--user", each.user]
    if each.network:
        aliases = (f"alias={alias}" for alias in each.aliases)
        arguments += ["--network", csv_line(f"name={each.network}", *aliases)]
    if spec.job:
        arguments += ["--mode", "replicated-job", "--restart-condition", "none"]
    if spec.replicas != 1:
        arguments += ["--replicas", str(spec.replicas)]
    return [*arguments, *extra, each.image, *each.command]


def service_update_arguments(
    service: str,
    extra: Sequence[str],
    *,
    image: str = "",
    environment: Mapping[str, str],
    credentials: bool = False,
) -> list[str]:
    """Return the arguments of the docker client that change a service.

    Args:
        service: Its id.
        extra: Arguments of ``docker service update``.
        image: Another image; empty for the one that it has.
        environment: Variables that get another value, or are new.
        credentials: Whether the nodes need the client's, to pull the image.
    """
    arguments = ["service", "update", "--detach", "--quiet"]
    if not takes_back(extra):  # which goes with nothing else
        arguments.append("--no-resolve-image")
    if image:
        arguments += ["--image", image]
    arguments += ["--with-registry-auth"] if credentials else []
    for key, text in environment.items():
        arguments += ["--env-add", f"{key}={text}"]
    return [*arguments, *extra, service]


def takes_back(extra: Sequence[str]) -> bool:
    """Return whether arguments of ``docker service update`` undo the last one."""
    return not {"--rollback", "--rollback=true"}.isdisjoint(extra)


def changed_spec(
    spec: Json,
    *,
    image: str = "",
    environment: Mapping[str, str] | None = None,
    replicas: int | None = None,
) -> dict[str, Any]:
    """Return a service's description with some of it changed.

    Args:
        spec: The description that the engine gives.
        image: Another image.
        environment: Variables that get another value, or are new.
        replicas: Another number of tasks.

    Raises:
        ValueError: A service of this mode has no number of tasks.
    """
    template = dict(spec["TaskTemplate"])
    container = dict(template["ContainerSpec"])
    mode = dict(spec["Mode"])
    if image:
        container["Image"] = image
    if environment:
        # What has no value is to be absent, whatever the image says.
        kept = [
            each
            for each in container.get("Env") or []
            if each.partition("=")[0] not in environment
        ]
        given = [f"{key}={text}" for key, text in environment.items()]
        container["Env"] = [*kept, *given]
    if replicas is not None:
        if "Replicated" not in mode:
            message = f"only a replicated service can be scaled, this is {_mode(spec)}"
            raise ValueError(message)
        mode["Replicated"] = {"Replicas": replicas}
    template["ContainerSpec"] = container
    return {**spec, "TaskTemplate": template, "Mode": mode}


def _mode(spec: Json) -> str:
    return next(iter(spec["Mode"]), "none")


def _published(port: str) -> dict[str, Any]:
    number, _, protocol = port.partition("/")
    return {"Protocol": protocol, "TargetPort": int(number), "PublishMode": "host"}

"""A service is described to the engine and to the docker client in their words."""

from __future__ import annotations

from typing import Any

import pytest

from pysys_orch.docker.engine.command import ContainerSpec
from pysys_orch.docker.engine.model import Kind
from pysys_orch.docker.engine.servicespec import (
    File,
    ServiceSpec,
    changed_spec,
    service_arguments,
    service_body,
    service_update_arguments,
)

FULL = ServiceSpec(
    container=ContainerSpec(
        name="po-web",
        image="web:1",
        command=("serve", "two words"),
        environment={"LEVEL": "debug"},
        labels={"orch.run": "key"},
        mounts=(("/host, or so", "/data"),),
        ports=("8000/tcp",),
        user="1000:100",
        network="net",
        aliases=("web",),
    ),
    replicas=3,
    files=(
        File(kind=Kind.SECRET, id="s1", name="key", target="key"),
        File(kind=Kind.CONFIG, id="c1", name="ini", target="/etc/ini"),
    ),
)


def test_a_service_is_described_to_the_engine() -> None:
    """Labels are on the service and on its containers; no port is guessed."""
    place = {"UID": "0", "GID": "0", "Mode": 0o444}
    assert service_body(FULL) == {
        "Name": "po-web",
        "Labels": {"orch.run": "key"},
        "Mode": {"Replicated": {"Replicas": 3}},
        "EndpointSpec": {
            "Ports": [{"Protocol": "tcp", "TargetPort": 8000, "PublishMode": "host"}]
        },
        "TaskTemplate": {
            "Networks": [{"Target": "net", "Aliases": ["web"]}],
            "ContainerSpec": {
                "Image": "web:1",
                "Args": ["serve", "two words"],
                "Env": ["LEVEL=debug"],
                "Labels": {"orch.run": "key"},
                "User": "1000:100",
                "Mounts": [
                    {"Type": "bind", "Source": "/host, or so", "Target": "/data"}
                ],
                "Secrets": [
                    {
                        "SecretID": "s1",
                        "SecretName": "key",
                        "File": {"Name": "key", **place},
                    }
                ],
                "Configs": [
                    {
                        "ConfigID": "c1",
                        "ConfigName": "ini",
                        "File": {"Name": "/etc/ini", **place},
                    }
                ],
            },
        },
    }


def test_a_job_is_described_as_one() -> None:
    """It is run once, whether or not it fails."""
    job = ServiceSpec(container=ContainerSpec(name="j", image="i"), job=True)
    body = service_body(job)
    assert body["Mode"] == {
        "ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}
    }
    assert body["TaskTemplate"]["RestartPolicy"] == {"Condition": "none"}
    arguments = " ".join(service_arguments(job, []))
    assert "--mode replicated-job --restart-condition none" in arguments
    assert "--replicas" not in arguments


def test_a_service_is_described_to_the_client() -> None:
    """What the user adds comes last, and so wins."""
    assert service_arguments(FULL, ["--user", "7"], credentials=True) == [
        *("service", "create", "--detach", "--quiet", "--no-resolve-image"),
        "--with-registry-auth",
        *("--name", "po-web"),
        *("--label", "orch.run=key", "--container-label", "orch.run=key"),
        *("--env", "LEVEL=debug"),
        *("--mount", 'type=bind,"src=/host, or so",dst=/data'),
        *("--publish", "mode=host,target=8000,protocol=tcp"),
        *("--secret", "source=key,target=key"),
        *("--config", "source=ini,target=/etc/ini"),
        *("--network", "name=net,alias=web"),
        *("--replicas", "3"),
        *("--user", "7"),
        *("web:1", "serve", "two words"),
    ]


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ({}, ["--no-resolve-image"]),
        (
            {"image": "web:2", "credentials": True},
            ["--no-resolve-image", "--image", "web:2", "--with-registry-auth"],
        ),
        (
            {"environment": {"LEVEL": "debug"}, "extra": ["--force"]},
            ["--no-resolve-image", "--env-add", "LEVEL=debug", "--force"],
        ),
        ({"extra": ["--rollback"]}, ["--rollback"]),
        ({"extra": ["--rollback=false"]}, ["--no-resolve-image", "--rollback=false"]),
    ],
)
def test_a_change_is_described_to_the_client(
    given: dict[str, Any], arguments: list[str]
) -> None:
    """The client refuses to take a change back and to be told of an image at once."""
    extra = given.pop("extra", [])
    told = service_update_arguments("s1", extra, **{"environment": {}, **given})
    assert told == ["service", "update", "--detach", "--quiet", *arguments, "s1"]


def test_a_change_leaves_the_rest_as_it_is() -> None:
    """The engine takes a whole description, so what is left out would be lost."""
    container = {"Image": "web:1", "Env": ["A=1", "B=2", "NONE"]}
    spec = {
        "TaskTemplate": {"ContainerSpec": container},
        "Mode": {"Replicated": {"Replicas": 2}},
        "Labels": {"x": "y"},
    }
    changed = changed_spec(spec, image="web:2", environment={"B": "3", "C": "="})
    assert changed["TaskTemplate"]["ContainerSpec"] == {
        "Image": "web:2",
        "Env": ["A=1", "NONE", "B=3", "C=="],
    }
    assert changed["Labels"] == {"x": "y"}
    assert changed_spec(spec, replicas=0)["Mode"] == {"Replicated": {"Replicas": 0}}
    assert spec["Mode"] == {"Replicated": {"Replicas": 2}}
    with pytest.raises(ValueError, match="only a replicated service can be scaled"):
        changed_spec({**spec, "Mode": {"ReplicatedJob": {}}}, replicas=1)

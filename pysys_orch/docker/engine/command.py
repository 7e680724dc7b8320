"""What a docker client is told, and what is to be made of its words."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What docker says after it has said what is wrong, and its excerpts.
_ASIDES = re.compile(
    r"See '|Run '|View build details|Learn more at|-{3,}$|DEPRECATED|>>>|\s*\d+ \|"
    r"|\s{12}"  # goes on about what is deprecated
)
# From here on docker only explains.
_EPILOGUE = re.compile(r"^(Usage:|What's next)", re.MULTILINE | re.IGNORECASE)
_PREFIXES = re.compile(r"^(docker: |Error response from daemon: |Error: |ERROR: )+")
_MAX_WORDS = 300
_NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """A volume as a container sees it.

    Attributes:
        volume: Its name.
        target: Absolute path in the container.
        read_only: Whether nothing inside can write to it.
    """

    volume: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """Everything that is known of a container before it exists.

    Attributes:
        name: Its name.
        image: What it is made of.
        command: The arguments after the image; empty for the image's own.
        environment: Variables inside the container.
        labels: Its labels.
        mounts: Pairs of an absolute host path and an absolute path in the container.
        volumes: The volumes that it has.
        ports: What is published at ports that the engine chooses, as ``8000/tcp``.
        publish: The address of the engine's host on which it is published.
        user: ``uid:gid``, or nothing for the image's own.
        network: A network's name, or nothing for the default bridge.
        aliases: Names that it has in that network.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[tuple[str, str], ...] = ()
    volumes: tuple[VolumeMount, ...] = ()
    ports: tuple[str, ...] = ()
    publish: str = "127.0.0.1"
    user: str = ""
    network: str = ""
    aliases: tuple[str, ...] = ()


def run_arguments(spec: ContainerSpec, extra: Sequence[str]) -> list[str]:
    """Return the arguments of the docker client that start *spec* in the background.

    Args:
        spec: What to start.
        extra: Arguments of ``docker run``; where they contradict *spec*, they win.
    """
    arguments = ["run", "--detach", "--name", spec.name]
    for key, text in spec.labels.items():
        arguments += ["--label", f"{key}={text}"]
    for key, text in spec.environment.items():
        arguments += ["--env", f"{key}={text}"]
    arguments += mount_arguments(spec)
    host = f"[{spec.publish}]" if ":" in spec.publish else spec.publish
    for port in spec.ports:
        arguments += ["--publish", f"{host}::{port}"]
    if spec.user and not names_user(extra):
        arguments += ["--user", spec.user]
    if spec.network:
        arguments += ["--network", spec.network]
        for alias in spec.aliases:
            arguments += ["--network-alias", alias]
    return [*arguments, *extra, spec.image, *spec.command]


def create_body(spec: ContainerSpec) -> dict[str, object]:
    """Return the Engine API's description of *spec*.

    Source:
        Engine API 1.41, ``POST /containers/create``.
    """
    host: dict[str, object] = {}
    body: dict[str, object] = {
        "Image": spec.image,
        "Labels": dict(spec.labels),
        "Env": [f"{key}={text}" for key, text in spec.environment.items()],
        "HostConfig": host,
    }
    if spec.command:
        body["Cmd"] = list(spec.command)
    if spec.user:
        body["User"] = spec.user
    if mounts := mount_bodies(spec):
        host["Mounts"] = mounts
    if spec.ports:
        body["ExposedPorts"] = {port: {} for port in spec.ports}
        binding = [{"HostIp": spec.publish, "HostPort": ""}]
        host["PortBindings"] = dict.fromkeys(spec.ports, binding)
    if spec.network:
        host["NetworkMode"] = spec.network
        endpoint = {"Aliases": list(spec.aliases)}
        body["NetworkingConfig"] = {"EndpointsConfig": {spec.network: endpoint}}
    return body


def mount_arguments(
    spec: ContainerSpec, labels: Mapping[str, str] = _NO_LABELS
) -> list[str]:
    """Return what the docker client is told of what *spec* mounts.

    Args:
        spec: What mounts it.
        labels: Those of a volume that an engine makes since it has none of that name.
    """
    labelled = [f"volume-label={key}={text}" for key, text in labels.items()]
    lines = [
        csv_line("type=bind", f"src={source}", f"dst={target}")
        for source, target in spec.mounts
    ]
    for each in spec.volumes:
        fields = ["type=volume", f"src={each.volume}", f"dst={each.target}"]
        fields += ["readonly"] if each.read_only else []
        lines.append(csv_line(*fields, *labelled))
    return [word for line in lines for word in ("--mount", line)]


def mount_bodies(
    spec: ContainerSpec, labels: Mapping[str, str] = _NO_LABELS
) -> list[dict[str, object]]:
    """Return the Engine API's description of what *spec* mounts.

    Args:
        spec: What mounts it.
        labels: As of `mount_arguments`.
    """
    bodies: list[dict[str, object]] = [
        {"Type": "bind", "Source": source, "Target": target}
        for source, target in spec.mounts
    ]
    for each in spec.volumes:
        body: dict[str, object] = {
            "Type": "volume",
            "Source": each.volume,
            "Target": each.target,
        }
        if each.read_only:
            body["ReadOnly"] = True
        if labels:
            body["VolumeOptions"] = {"Labels": dict(labels)}
        bodies.append(body)
    return bodies


def names_user(extra: Iterable[str]) -> bool:
    """Return whether arguments of ``docker run`` say which user to be."""
    return any(
        each in {"-u", "--user"} or each.startswith(("--user=", "-u")) for each in extra
    )


def chosen_name(extra: Sequence[str]) -> str | None:
    """Return the name that arguments of ``docker run`` give to the container."""
    name = None
    for number, each in enumerate(extra):
        if each.startswith("--name="):
            name = each.removeprefix("--name=")
        elif each == "--name" and number + 1 < len(extra):
            name = extra[number + 1]
    return name  # the last one, as docker does


def last_words(output: str, lines: int = 1) -> str:
    """Return the last line of a docker client's output that says what went wrong.

    Hints, rulers and excerpts that follow it are passed over, prefixes are taken off.

    Args:
        output: The output.
        lines: How many lines at most: those before the last one only as far as they are
            short.

    Returns:
        One line of at most 300 characters; empty if nothing was said.
    """
    output = _ESCAPES.sub("", output)
    telling = _telling(_EPILOGUE.split(output, maxsplit=1)[0]) or _telling(output)
    told = ""
    for line in reversed(telling[-lines:]):
        words = _PREFIXES.sub("", line.strip())
        longer = f"{words} ; {told}" if told else words
        if told and len(longer) > _MAX_WORDS:
            break
        told = longer
    return told if len(told) <= _MAX_WORDS else f"{told[: _MAX_WORDS - 1]}…"


def port_key(port: int | str) -> str:
    """Return ``8000/tcp`` for 8000, ``"8000"`` or ``"8000/tcp"``.

    Raises:
        ValueError: It is no port.
    """
    number, _, protocol = str(port).partition("/")
    if not re.fullmatch("[0-9]{1,6}", number) or not 0 < int(number) < 65536:
        message = f"a port is a number from 1 to 65535, got {port!r}"
        raise ValueError(message)
    if protocol not in {"", "tcp", "udp", "sctp"}:
        message = f"a port is of tcp, udp or sctp, got {port!r}"
        raise ValueError(message)
    return f"{int(number)}/{protocol or 'tcp'}"


def _telling(output: str) -> list[str]:
    lines = (line.rstrip() for line in output.splitlines())
    return [line for line in lines if line and not _ASIDES.match(line)]


def csv_line(*fields: str) -> str:
    """Join the fields of a ``--mount`` or the like, quoting those that hold a comma."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()

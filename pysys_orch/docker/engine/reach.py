"""Under which name a port that an engine publishes is reached from here."""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from pysys_orch.errors import ConfigError, NotFoundError

LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 -- where nobody knows by which address one comes
_EVERYWHERE_6 = "::"
#: Under which name a container on Docker Desktop finds the machine that it is on.
_DESKTOP_HOST = "host.docker.internal"
_LOCAL_SCHEMES = frozenset({"unix", "npipe"})

# Files that an engine mounts into each container, from a folder named after it.
_GIVEN = frozenset({"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"})
_CONTAINER_ID = re.compile(r"containers/([0-9a-f]{64})/")
_MARKS = ("/.dockerenv", "/run/.containerenv")
_UCRED = struct.Struct("3i")  # process, user, group
_SIGHT_TIMEOUT = 5.0
_UP_GATEWAY = 0x3  # RTF_UP and RTF_GATEWAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where this process runs, and what the engine knows about that.

    Attributes:
        is_contained: Whether this is inside a container, and the engine outside.
        is_host_network: Whether that container has the network of its host.
        gateway: That of this container's network; empty if there is none.
        networks: The ids of this container's networks; none if the engine does not
            know this container.
    """

    is_contained: bool = False
    is_host_network: bool = False
    gateway: str = ""
    networks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How one comes from here to what runs on an engine.

    Attributes:
        host: Name or address under which published ports are reached.
        publish: The address of the engine's host on which ports are published.
        networks: The ids of the networks whose containers can be reached by their own
            addresses; None is all of them.
        reason: Why, in words.
        obstacle: Why no published port can be reached at all; empty if they can.
    """

    host: str
    publish: str
    networks: frozenset[str] | None
    reason: str
    obstacle: str = ""

    def required(self) -> Reach:
        """Return it, if published ports can be reached.

        Raises:
            ConfigError: They cannot.
        """
        if self.obstacle:
            raise ConfigError(self.obstacle)
        return self

    def reaches(self, network: str) -> bool:
        """Return whether containers can be reached by their addresses in a network.

        Args:
            network: The network's id.
        """
        return self.networks is None or network in self.networks


class Engine(Protocol):
    """What is asked of an engine."""

    @property
    def endpoint(self) -> str:
        """Where it is, without credentials."""
        ...

    def info(self) -> Mapping[str, Any]:
        """Return what it tells about itself."""
        ...

    def inspect_container(self, container: str) -> Mapping[str, Any]:
        """Return everything that it knows about a container."""
        ...


def choose_reach(
    endpoint: str,
    surroundings: Surroundings,
    info: Mapping[str, Any],
    override: str = "",
) -> Reach:
    """Say under which name published ports are reached, and on which to publish.

    Args:
        endpoint: Where the engine is: ``unix:///var/run/docker.sock``.
        surroundings: Where this process runs.
        info: What the engine tells about itself (``GET /info``); not looked at for an
            engine elsewhere.
        override: The name to use whatever the rest says; empty for none.
    """
    address = urlsplit(endpoint)
    is_local = address.scheme in _LOCAL_SCHEMES
    is_rootless = any("rootless" in each for each in info.get("SecurityOptions") or ())
    is_desktop = info.get("OperatingSystem") == "Docker Desktop"
    # Elsewhere, and in somebody else's namespace, another may have the same address.
    networks: frozenset[str] | None = frozenset()
    if surroundings.networks and is_local:
        networks = surroundings.networks
    elif is_local and not is_rootless and not is_desktop:
        networks = None
    if override:
        return Reach(
            host=override,
            publish=_publish(override),
            networks=networks,
            reason="the settings say so",
        )
    if not is_local:
        host = address.hostname or LOOPBACK
        reason = f"the engine is on {host}"
        return Reach(
            host=host, publish=_publish(host), networks=networks, reason=reason
        )
    host = publish = LOOPBACK
    obstacle = ""
    if not surroundings.is_contained or surroundings.is_host_network:
        reason = "the engine is on this machine"
    elif is_desktop:
        host, reason = _DESKTOP_HOST, "this is a container on Docker Desktop"
    elif not surroundings.gateway:
        reason = "this is a container without a way out"
        obstacle = (
            "this container has no gateway, so that it reaches no published port: have "
            "it join a network that is not internal, or set dockerPublishedHost"
        )
    elif surroundings.networks and not is_rootless:
        # An address that only the engine's host and this network's containers have.
        host = publish = surroundings.gateway
        reason = "this is a container, which finds its engine's host at its gateway"
    else:
        host, publish = surroundings.gateway, _EVERYWHERE
        reason = "this is a container, and its gateway may be the engine's host"
    if is_rootless and surroundings.is_contained and surroundings.networks:
        # It publishes on the loopback of its namespace, and on its user's machine.
        obstacle = (
            "a container of a rootless engine reaches no published port: run the "
            "tests outside, or give their container --network=host"
        )
    return Reach(
        host=host,
        publish=publish,
        networks=networks,
        reason=reason,
        obstacle=obstacle,
    )


def look_around(engine: Engine, *, root: Path = Path("/")) -> Surroundings:
    """Find out where this process runs.

    Args:
        engine: Asked whether it knows the container that this is, if it is one.
        root: Where ``/proc`` and the marks of a container are.

    Raises:
        DockerError: The engine does not answer.
    """
    if urlsplit(engine.endpoint).scheme not in _LOCAL_SCHEMES:
        return Surroundings()
    own = own_container(root / "proc/self/mountinfo")
    found = _inspection(engine, own)
    if not found and (
        # Also machines that were made of an image have such a mark.
        is_in_sight(engine.endpoint.removeprefix("unix://"))
        or not (own or any((root / each[1:]).exists() for each in _MARKS))
    ):
        return Surroundings()
    mode = str(found.get("HostConfig", {}).get("NetworkMode", ""))
    if mode.startswith("container:"):
        found = _inspection(engine, mode.partition(":")[2])
        mode = str(found.get("HostConfig", {}).get("NetworkMode", ""))
    networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
    gateways = [str(each["Gateway"]) for each in networks.values() if each["Gateway"]]
    default = default_gateway(root / "proc/net/route")
    # Of several networks, the one that this container goes out by.
    gateway = default if default in gateways or not gateways else gateways[0]
    return Surroundings(
        is_contained=True,
        is_host_network=mode == "host",
        gateway=gateway,
        networks=frozenset(
            str(each["NetworkID"]) for each in networks.values() if mode != "host"
        ),
    )


def is_in_sight(path: str) -> bool:
    """Return whether the process that listens on a socket is among those of here.

    One on the other side of a mounted socket is not, nor is one on another machine.

    Source:
        unix(7), ``SO_PEERCRED``: the process id is 0 where it is in no namespace of
        ours.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(_SIGHT_TIMEOUT)
            link.connect(path)
            told = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except (OSError, AttributeError):  # not Linux, where an engine is in a machine
        return False
    return bool(_UCRED.unpack(told)[0])


def own_container(mountinfo: Path) -> str:
    """Return the id of the container that this process is in; empty for none.

    Source:
        proc(5), ``/proc/[pid]/mountinfo``, fields 4 (root) and 5 (mount point).
    """
    try:
        lines = mountinfo.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields = line.split()
        if fields[4] in _GIVEN and (match := _CONTAINER_ID.search(fields[3])):
            return match[1]
    return ""


def default_gateway(routes: Path) -> str:
    """Return the IPv4 address of the default gateway; empty for none.

    Source:
        The kernel's ``/proc/net/route``: addresses are in the machine's byte order.
    """
    try:
        lines = routes.read_text().splitlines()[1:]
    except OSError:
        return ""
    for line in lines:
        _, destination, gateway, flags, *_ = line.split()
        if int(destination, 16) == 0 and int(flags, 16) & _UP_GATEWAY == _UP_GATEWAY:
            return socket.inet_ntoa(struct.pack("=L", int(gateway, 16)))
    return ""


def addresses_within(found: Mapping[str, Any], reach: Reach) -> Iterable[str]:
    """Yield the own addresses of a container that can be reached from here.

    Args:
        found: Its inspection.
        reach: How one comes from here to its engine.
    """
    if found["HostConfig"].get("NetworkMode") == "host":
        # It listens on its host, wherever one reaches that.
        yield reach.host
        return
    for each in ((found["NetworkSettings"].get("Networks")) or {}).values():
        if each.get("IPAddress") and reach.reaches(str(each.get("NetworkID"))):
            yield each["IPAddress"]


def _inspection(engine: Engine, container: str) -> Mapping[str, Any]:
    """Return what the engine knows about a container; nothing if that is not its."""
    try:
        return engine.inspect_container(container) if container else {}
    except NotFoundError:
        return {}


def _publish(host: str) -> str:
    """Return on which address to publish what is reached under *host*."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return LOOPBACK if host == "localhost" else _EVERYWHERE
    if address.is_loopback:
        return str(address)
    return _EVERYWHERE if address.version == 4 else _EVERYWHERE_6

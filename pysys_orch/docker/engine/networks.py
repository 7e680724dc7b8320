"""Networks and volumes in the Engine API's words."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from pysys_orch.docker.engine.amounts import bytes_of
from pysys_orch.docker.engine.model import Found, Kind, Resource, read_stamp
from pysys_orch.errors import ConfigError


def network_options(
    name: str,
    *,
    driver: str = "bridge",
    internal: bool = False,
    attachable: bool = False,
    subnets: Sequence[str] = (),
    gateways: Sequence[str] = (),
    ipv6: bool = False,
    driver_options: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return the Engine API's description of a network.

    Args:
        name: Its name; an IPv6 subnet that nobody chose is computed from it.
        driver: What makes it.
        internal: Whether its containers are kept from reaching the outside.
        attachable: Whether containers can join it, where it is a swarm's.
        subnets: In CIDR notation; where there are none, the engine chooses.
        gateways: An address within one of the subnets each.
        ipv6: Whether its containers have IPv6 addresses as well.
        driver_options: What the driver is told.

    Raises:
        ValueError: A subnet or a gateway is none; with what it has to be.

    Source:
        Engine API 1.41, ``POST /networks/create``.
    """
    nets = [_subnet(each) for each in subnets]
    if ipv6 and all(net.version == 4 for net in nets):
        # Engines before 27 do not choose one.
        nets.append(ipaddress.ip_network(local_subnet(name)))
    pools = [{"Subnet": str(net)} for net in nets]
    for gateway in gateways:
        number = _subnet_of(gateway, nets)
        pools[number]["Gateway"] = gateway
    options: dict[str, Any] = {
        "Driver": driver,
        "Internal": internal,
        "Attachable": attachable,
    }
    if any(net.version == 6 for net in nets):
        options["EnableIPv6"] = True
    if pools:
        options["IPAM"] = {"Config": pools}
    if driver_options:
        options["Options"] = {key: str(text) for key, text in driver_options.items()}
    return options


def network_found(listed: Mapping[str, Any]) -> Found:
    """Return a network of an engine's list as everything that can have an owner."""
    name = str(listed["Name"])
    return Found(
        resource=Resource(kind=Kind.NETWORK, id=str(listed["Id"]), name=name),
        created=read_stamp(str(listed.get("Created") or "")),
        labels=listed.get("Labels") or {},
    )


def gateway_of(found: Mapping[str, Any]) -> str:
    """Return the address of the host in a network, without that of its subnet.

    Args:
        found: What the engine tells of it.

    Returns:
        Of several the first; nothing where the host has none, or nobody knows.
    """
    pools = (found.get("IPAM") or {}).get("Config") or []
    for each in pools:
        if each.get("Gateway"):
            return str(each["Gateway"]).partition("/")[0]
    # An engine that was given a subnet does not tell, and uses its first address.
    if found.get("Driver") == "bridge" and not found.get("Internal"):
        for each in pools:
            if each.get("Subnet"):
                net = ipaddress.ip_network(each["Subnet"], strict=False)
                return str(net.network_address + 1)
    return ""


def local_subnet(name: str) -> str:
    """Return an IPv6 subnet for a network of this name, and for no other.

    Source:
        RFC 4193, unique local addresses.
    """
    digest = hashlib.sha256(name.encode()).digest()
    prefix = b"\xfd" + digest[:7] + bytes(8)
    return f"{ipaddress.IPv6Address(prefix)}/64"


def volume_options(
    *,
    size: str | int | None = None,
    driver: str = "local",
    driver_options: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return the Engine API's description of a volume.

    Args:
        size: How much it holds: bytes, or a text such as ``16m``. It is then in the
            engine's memory, and holds nothing while nobody has it mounted. None for no
            bounds.
        driver: What makes it.
        driver_options: What the driver is told.

    Raises:
        ConfigError: *size* is none, or of another driver than ``local``.

    Source:
        Engine API 1.41, ``POST /volumes/create``; tmpfs(5).
    """
    options = {key: str(text) for key, text in (driver_options or {}).items()}
    if size is not None:
        count = bytes_of("the size of a volume", size)
        if driver != "local" or options.keys() & {"type", "device"}:
            message = (
                f"a volume of size {size} is a tmpfs of the driver local: leave out "
                "size, or driver, type and device"
            )
            raise ConfigError(message)
        more = [options["o"]] if "o" in options else []
        options |= {"type": "tmpfs", "device": "tmpfs"}
        options["o"] = ",".join([f"size={count}", *more])
    return {"Driver": driver, "DriverOpts": options} if options else {"Driver": driver}


def _subnet(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as failure:
        message = f"a subnet is like '10.20.0.0/24', got {text!r}: {failure}"
        raise ValueError(message) from None


def _subnet_of(
    gateway: str, nets: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> int:
    """Return which of the subnets a gateway is in."""
    try:
        address = ipaddress.ip_address(gateway)
    except ValueError:
        message = f"a gateway is an address like '10.20.0.1', got {gateway!r}"
        raise ValueError(message) from None
    for number, net in enumerate(nets):
        if address in net:
            return number
    listed = ", ".join(map(str, nets)) or "none is given"
    message = f"the gateway {gateway} has to be in a subnet of the network: {listed}"
    raise ValueError(message)

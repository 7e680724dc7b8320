"""Networks and volumes in the Engine API's words, and addresses that run out."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pysys_orch.docker.engine.model import Found, Kind, Resource, read_stamp
from pysys_orch.docker.engine.ownership import OWNER_LABEL, Owner, owner_of

#: What is said here of a swarm, which says nothing, when it has no subnet left.
NO_POOL_OF_SWARM = "the swarm has no available address pool"

# What engines say, their swarms included, when no subnet is left.
_EXHAUSTED = re.compile(
    r"non-overlapping IPv[46] address pool|predefined address pools have been fully"
    r"|no available (network|address pool)|failed to allocate network IP"
)
# What they say, Podman too, of a subnet that somebody else has.
_OVERLAPPING = re.compile(r"Pool overlaps with other|is already used on the host or by")
_WITHOUT_ADDRESSES = {"host", "none"}
_SIZE = re.compile(r"[1-9][0-9]*[kmgKMG]?")
_MOST_OWNERS = 3


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
        size: How much it holds: bytes, or ``16m``. It is then in the engine's memory,
            and holds nothing while nobody has it mounted. None for no bounds.
        driver: What makes it.
        driver_options: What the driver is told.

    Raises:
        ValueError: *size* is none, or of another driver than ``local``.

    Source:
        Engine API 1.41, ``POST /volumes/create``; tmpfs(5).
    """
    options = {key: str(text) for key, text in (driver_options or {}).items()}
    if size is not None:
        if not _SIZE.fullmatch(str(size)):
            message = f"the size of a volume is bytes, or like '16m', got {size!r}"
            raise ValueError(message)
        if driver != "local" or options.keys() & {"type", "device"}:
            message = (
                f"a volume of size {size} is a tmpfs of the driver local: leave out "
                "size, or driver, type and device"
            )
            raise ValueError(message)
        more = [options["o"]] if "o" in options else []
        options |= {"type": "tmpfs", "device": "tmpfs"}
        options["o"] = ",".join([f"size={size}", *more])
    return {"Driver": driver, "DriverOpts": options} if options else {"Driver": driver}


def is_exhausted(words: str) -> bool:
    """Return whether an engine says that it has no addresses for another network."""
    return _EXHAUSTED.search(words) is not None


def is_overlapping(words: str) -> bool:
    """Return whether an engine says that somebody has the addresses asked for."""
    return _OVERLAPPING.search(words) is not None


def lacks_addresses(words: str) -> bool:
    """Return whether an engine says either, so that less on it may help."""
    return is_exhausted(words) or is_overlapping(words)


def told_overlapping(
    subnets: Sequence[str], listed: Iterable[Mapping[str, Any]], mine: Owner
) -> str:
    """Return who has the addresses that were asked for, and what to do.

    Args:
        subnets: What was asked for, in CIDR notation.
        listed: The networks, as the engine lists them.
        mine: Who asks.
    """
    advice = "ask for another one, or for none and the engine chooses one that is free"
    asked = [_subnet(each) for each in subnets]
    for network in listed:
        for pool in (network.get("IPAM") or {}).get("Config") or ():
            for net in asked:
                if pool.get("Subnet") and _overlap(net, pool["Subnet"]):
                    whose = _words_of(_found(network), mine)
                    return (
                        f"the subnet {net} overlaps with {pool['Subnet']} of network "
                        f"{network['Name']}, of {whose}: {advice}"
                    )
    return (
        f"the subnet {', '.join(map(str, asked))} overlaps with addresses that are in "
        f"use, of no network that the engine tells of: {advice}"
    )


def told_exhausted(listing: Iterable[Found], mine: Owner) -> str:
    """Return who has the networks that leave no addresses, and what to do.

    Args:
        listing: Everything on the engine that can have an owner.
        mine: Who asks.
    """
    networks = [
        found
        for found in listing
        if found.resource.kind is Kind.NETWORK
        and found.resource.name not in _WITHOUT_ADDRESSES
    ]
    owners = Counter(_words_of(found, mine) for found in networks)
    parts = [f"{count} of {words}" for words, count in owners.most_common(_MOST_OWNERS)]
    if rest := len(networks) - sum(n for _, n in owners.most_common(_MOST_OWNERS)):
        parts.append(f"{rest} of others")
    return (
        f"the engine has no addresses for another network: it has {len(networks)} "
        f"({', '.join(parts)}), and nothing that a dead run left is among them any "
        "more. Remove some (`docker network ls`, `pysys-orch collect --kept`), give "
        "the engine more or smaller `default-address-pools`, or the network a subnet"
    )


def _found(network: Mapping[str, Any]) -> Found:
    name = str(network["Name"])
    return Found(
        resource=Resource(kind=Kind.NETWORK, id=str(network["Id"]), name=name),
        created=read_stamp(str(network.get("Created") or "")),
        labels=network.get("Labels") or {},
    )


def _overlap(net: ipaddress.IPv4Network | ipaddress.IPv6Network, told: str) -> bool:
    other = ipaddress.ip_network(told, strict=False)
    return net.version == other.version and net.overlaps(other)


def _words_of(found: Found, mine: Owner) -> str:
    owner = owner_of(found)
    if owner is None:
        return "nobody known here"
    if owner == mine:
        return "this run"
    try:
        told = json.loads(found.labels[OWNER_LABEL])
        place = f" in {told['directory']} on {told['host']}"
    except (KeyError, TypeError, ValueError):
        place = ""
    return f"the run with process {owner.pid}{place}"


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

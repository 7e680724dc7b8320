"""At which address of this machine the containers of a network find it."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pysys_orch.errors import ConfigError, OrchError
from pysys_orch.settings import client_environment

if TYPE_CHECKING:
    from docker import DockerClient

_ENGINE_TIMEOUT = 10

# Nothing is sent there: it is to be any port at all.
_ANY_PORT = 9


def address_for(
    network: str, inspect: Callable[[str], Mapping[str, Any]] | None = None
) -> str:
    """Return the address at which containers of a network find this machine.

    That is the gateway of the network. If this is itself a container, it is its own
    address in that network.

    Args:
        network: The name of a network, or its id.
        inspect: Returns what an engine says of a network; that of ``DOCKER_HOST`` or of
            the docker context by default.

    Returns:
        An address of this machine.

    Raises:
        ConfigError: There is no such network, or this machine has no address there.
        OrchError: No engine answers.
    """
    found = (inspect or inspect_network)(network)
    gateway, subnet = _gateway_of(network, found)
    if is_own(gateway):
        return gateway
    own = own_address_towards(gateway)
    if own is not None and ipaddress.ip_address(own) in subnet:
        return own
    message = (
        f"the gateway {gateway} of the network {network!r} is no address of this "
        "machine, which has none in that network either: where the test runs in a "
        "container, have that container join the network; where the engine is on "
        "another machine, use live.urlAt(address) with one of this machine that "
        "containers can reach"
    )
    raise ConfigError(message)


def inspect_network(network: str) -> Mapping[str, Any]:
    """Return what the engine says of a network.

    Raises:
        ConfigError: There is no such network.
        OrchError: No engine answers.
    """
    from docker.errors import DockerException, NotFound

    try:
        with contextlib.closing(_client()) as client:
            found: Mapping[str, Any] = client.networks.get(network).attrs
            return found
    except NotFound:
        message = f"there is no network {network!r} on the engine"
        raise ConfigError(message) from None
    except (DockerException, OSError) as failure:
        words = " ".join(str(failure).split())
        message = (
            f"no Docker Engine says where the containers of {network!r} find this "
            f"machine ({words}): start one, set DOCKER_HOST, or use "
            "live.urlAt(address)"
        )
        raise OrchError(message) from failure


def _client() -> DockerClient:
    """Return a client of the engine that the environment or a context names.

    Raises:
        ConfigError: There is no such context.
        Exception: Whatever the SDK raises where nobody answers.
    """
    import docker
    from docker.context import ContextAPI

    environment = client_environment()
    if environment.get("DOCKER_HOST"):
        return docker.from_env(environment=environment, timeout=_ENGINE_TIMEOUT)
    name = environment.get("DOCKER_CONTEXT")
    # Its types know of no context that is not there, and of none without TLS.
    context: Any = ContextAPI.get_context(name)
    if context is None:
        which = repr(name) if name else "of the name that the configuration has"
        message = f"there is no docker context {which}"
        raise ConfigError(message)
    return docker.DockerClient(
        base_url=context.Host, tls=context.TLSConfig or False, timeout=_ENGINE_TIMEOUT
    )


def _gateway_of(
    network: str, found: Mapping[str, Any]
) -> tuple[str, ipaddress.IPv4Network]:
    for each in (found.get("IPAM") or {}).get("Config") or ():
        with contextlib.suppress(ValueError):
            subnet = ipaddress.IPv4Network(each.get("Subnet", ""), strict=False)
            # An engine may leave it out, and uses the first one then.
            gateway = each.get("Gateway") or str(subnet.network_address + 1)
            return str(gateway).partition("/")[0], subnet
    message = (
        f"the network {network!r} is of the driver {found.get('Driver')!r}, and has no "
        "IPv4 gateway: use live.urlAt(address) with an address of this machine that "
        "its containers can reach"
    )
    raise ConfigError(message)


def is_own(address: str) -> bool:
    """Return whether this machine has an address."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe,
    ):
        probe.bind((address, 0))
        return True
    return False


def own_address_towards(address: str) -> str | None:
    """Return from which address this machine speaks to another one, if from any."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
    ):
        probe.connect((address, _ANY_PORT))
        return str(probe.getsockname()[0])
    return None

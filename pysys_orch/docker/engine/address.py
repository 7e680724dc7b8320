"""Where the docker client would find its engine: variables, contexts, certificates."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pysys_orch.errors import ConfigError

#: Where an engine is when nobody says otherwise.
DEFAULT_HOST = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an engine is.

    Attributes:
        host: As in ``DOCKER_HOST``.
        source: Who says so, for messages.
        tls: How to encrypt; None for not at all.
    """

    host: str = DEFAULT_HOST
    source: str = "DOCKER_HOST"
    tls: ssl.SSLContext | None = field(default=None, repr=False)


def find_address(environment: Mapping[str, str]) -> Address:
    """Return where the docker client would look for its engine in *environment*.

    Args:
        environment: Read for ``DOCKER_HOST``, ``DOCKER_CONTEXT``, ``DOCKER_CONFIG``,
            ``HOME``, ``DOCKER_TLS``, ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH``.

    Raises:
        ConfigError: The environment names a context that does not exist, or
            certificates that cannot be read.
    """
    host = environment.get("DOCKER_HOST", "")
    if not host:
        return _of_context(environment)
    verify = bool(environment.get("DOCKER_TLS_VERIFY"))
    if not verify and not environment.get("DOCKER_TLS"):
        return Address(host=host)
    folder = Path(
        environment.get("DOCKER_CERT_PATH")
        or environment.get("DOCKER_CONFIG")
        or _home(environment) / ".docker"
    )
    needed = ("ca.pem", "cert.pem", "key.pem") if verify else ()
    return Address(host=host, tls=_encryption(folder, needed, is_verified=verify))


def without_credentials(host: str) -> str:
    """Return an address as it may be shown to anybody."""
    scheme, mark, rest = host.rpartition("://")
    authority, slash, path = rest.partition("/")
    if authority and "@" not in authority:
        # A password that should have been quoted may have a slash in it.
        return f"{scheme}{mark}{rest.rpartition('@')[2]}"
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())


def _of_context(environment: Mapping[str, str]) -> Address:
    """Return the address of the docker context in use."""
    folder = Path(environment.get("DOCKER_CONFIG") or _home(environment) / ".docker")
    name = environment.get("DOCKER_CONTEXT") or _current_context(folder)
    if name in {"", "default"}:
        return Address()
    contexts = {}
    for path in folder.glob("contexts/meta/*/meta.json"):
        # What is not for Docker, or broken, concerns only who names it.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            meta = json.loads(path.read_text(encoding="utf-8"))
            contexts[meta["Name"]] = (meta["Endpoints"]["docker"], path.parent.name)
    if name not in contexts:
        known = ", ".join(["default", *sorted(contexts)])
        message = f"there is no docker context {name!r}; there are {known}"
        raise ConfigError(message)
    endpoint, digest = contexts[name]
    host = endpoint.get("Host") or DEFAULT_HOST
    skips = bool(endpoint.get("SkipTLSVerify", False))
    material = folder / "contexts" / "tls" / digest / "docker"
    tls = None
    if host.startswith(("tcp:", "http")) and (skips or material.is_dir()):
        tls = _encryption(material, (), is_verified=not skips)
    return Address(host=host, source=f"docker context {name}", tls=tls)


def _current_context(folder: Path) -> str:
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(settings.get("currentContext") or "")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError) as failure:
        message = f"{folder / 'config.json'} cannot be read: {failure}"
        raise ConfigError(message) from failure


def _encryption(
    folder: Path, needed: tuple[str, ...], *, is_verified: bool
) -> ssl.SSLContext:
    """Return how to encrypt with the certificates in *folder*.

    Args:
        folder: Has ``ca.pem``, ``cert.pem`` and ``key.pem``.
        needed: Which of them must be there.
        is_verified: Whether the engine has to prove who it is.
    """
    files = {name: folder / name for name in ("ca.pem", "cert.pem", "key.pem")}
    missing = [name for name in needed if not files[name].is_file()]
    if missing:
        message = (
            f"the certificates in {folder} cannot be used: there is no "
            f"{' and no '.join(missing)}; DOCKER_CERT_PATH says where they are"
        )
        raise ConfigError(message)
    try:
        context = ssl.create_default_context()
        if files["ca.pem"].is_file():
            # Only this authority counts, none of the system's.
            context = ssl.create_default_context(cafile=files["ca.pem"])
        if not is_verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if files["cert.pem"].is_file():
            context.load_cert_chain(files["cert.pem"], files["key.pem"])
    except OSError as failure:  # ssl.SSLError is one
        message = f"the certificates in {folder} cannot be used: {failure}"
        raise ConfigError(message) from failure
    return context

"""Where containers find this machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.errors import ConfigError, OrchError
from pysys_orch.livecheck.reach import address_for, inspect_network


def network(*configs: dict[str, str], driver: str = "bridge") -> dict[str, Any]:
    return {"Driver": driver, "IPAM": {"Config": list(configs)}}


def test_the_gateway_is_the_address() -> None:
    """Where it is one of this machine."""
    found = network({"Subnet": "fd00::/64"}, {"Subnet": "127.0.0.0/8"})
    assert address_for("n", lambda _: found) == "127.0.0.1"
    found = network({"Subnet": "127.0.0.0/8", "Gateway": "127.0.0.7"})
    assert address_for("n", lambda _: found) == "127.0.0.7"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            network({"Subnet": "198.51.100.0/24", "Gateway": "198.51.100.1"}),
            "the gateway 198.51.100.1 of the network 'n' is no address of this machine",
        ),
        (network(driver="none"), "is of the driver 'none', and has no IPv4 gateway"),
        ({"Driver": "host", "IPAM": {"Config": None}}, "has no IPv4 gateway"),
    ],
)
def test_where_there_is_none_it_is_said_what_to_do(
    found: dict[str, Any], words: str
) -> None:
    """In a container, and with an engine elsewhere."""
    with pytest.raises(ConfigError) as caught:
        address_for("n", lambda _: found)
    assert words in str(caught.value)
    assert "live.urlAt(address)" in str(caught.value)


def test_no_engine_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not one of the library behind."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(OrchError, match="start one, set DOCKER_HOST"):
        inspect_network("bridge")


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_the_engine_is_asked() -> None:
    """For the network of containers that are in none of their own."""
    assert address_for("bridge").count(".") == 3
    with pytest.raises(ConfigError, match="there is no network 'nothing-there'"):
        address_for("nothing-there")


@pytest.mark.docker
@pytest.mark.parametrize("is_current", [True, False])
def test_a_context_names_the_engine(
    engine: ApiEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_current: bool,
) -> None:
    """As it does for the docker client: in its configuration, or by a variable."""
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest()
    folder.mkdir(parents=True)
    host = {"Host": engine.endpoint, "SkipTLSVerify": False}
    meta = {"Name": "mine", "Metadata": {}, "Endpoints": {"docker": host}}
    (folder / "meta.json").write_text(json.dumps(meta))
    config = {"currentContext": "mine"} if is_current else {}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    if not is_current:
        monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    assert inspect_network("bridge")["Name"] == "bridge"
    monkeypatch.setenv("DOCKER_CONTEXT", "yours")
    with pytest.raises(ConfigError, match="there is no docker context 'yours'"):
        inspect_network("bridge")

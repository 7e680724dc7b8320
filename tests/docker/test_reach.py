"""A port that a test exposes is found wherever the test runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.ownership import Owner
from tests.conftest import BUSYBOX
from tests.docker.contained import DEBIAN, runner_options
from tests.docker.owned import Belongings, docker
from tests.nested import NestedProject

_PORTS = f"""
    import urllib.request
    for network in (None, self.docker.network()):
        web = self.docker.container('{BUSYBOX}', 'web', ports=[8000], network=network)
        web.run(['sh', '-c', 'sleep 0.5; echo hello > /index.html; httpd -fp 8000'])
        web.waitForPort(8000).waitForHttp(8000, '/index.html')
        host, port = web.getExternalAddress(8000)
        with urllib.request.urlopen(f'http://{{host}}:{{port}}/index.html') as answer:
            self.assertThat('"hello" in page', page=answer.read().decode())
    self.log.info('found at %s', host)
"""


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize("network", ["bridge", "own", "host"])
def test_a_runner_in_a_container_finds_what_it_has_published(
    engine: ApiEngine, owner: Owner, tmp_path: Path, network: str
) -> None:
    """With the socket mounted, and nothing else said."""
    nested = NestedProject(tmp_path / "project")
    nested.test("ports", _PORTS)
    things = Belongings(engine, owner, role=network)
    name = things.gateway() if network == "own" else network
    container = things.run(
        DEBIAN,
        *("python3", "-m", "pysys", "run", "--record"),
        options=[*runner_options(nested, engine), f"--network={name}"],
    )
    assert docker("wait", container).strip() == "0", docker("logs", container)
    said = docker("logs", container)
    if network == "host":
        assert "found at 127.0.0.1" in said
    else:
        gateway = engine.inspect_network(name)["IPAM"]["Config"][0]["Gateway"]
        assert f"found at {gateway}" in said


@pytest.mark.docker
@pytest.mark.parametrize(
    ("arguments", "environment", "host"),
    [
        (["-XdockerPublishedHost=localhost"], {}, "localhost"),
        ([], {"PYSYS_ORCH_PUBLISHED_HOST": "127.0.0.2"}, "127.0.0.2"),
    ],
)
def test_the_settings_have_the_last_word(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], host: str
) -> None:
    """A tunnel, or a name in a network, is nothing that anybody could find out."""
    nested = NestedProject(tmp_path / "project")
    nested.test("ports", _PORTS)
    status = nested.run(*arguments, environment=environment)
    assert status == 0, nested.said()
    assert f"found at {host}" in nested.said()

"""Compose files as found in the wild come up as they are, in any number of copies.

Each of the projects in ``samples`` is brought up twice at once, by a test that gives
nothing but ``imageSubst``, and each copy has to prove that it works.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from tests.conftest import BUSYBOX
from tests.docker.owned import docker, names_of, running
from tests.nested import NestedProject, Result

DEBIAN = "pysys-orch-test/debian:1"
SAMPLES_FOLDER = Path(__file__).parent / "samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A compose project, and how it proves that it works.

    Attributes:
        images: What is used instead of the images that it names.
        check: What is asked of each ``copy``, which has a ``number``.
        options: The arguments of ``up``.
        is_for_first: Whether compose v1 understands it.
        more: Names of the tailored copies beside that of the file, ``.yml`` left out.
    """

    images: Mapping[str, str]
    check: str
    options: str = ""
    is_for_first: bool = True
    more: tuple[str, ...] = field(default=())


SAMPLES = {
    "web_and_database": Sample(
        images={"python:3.12-slim": DEBIAN, "redis:7": DEBIAN},
        check="""
            copy.getContainer('app').waitForPort(8000)
            for visitor in range(1, number + 2):
                same(get(copy, 8000), f'visitor {visitor}')
            same(ask(copy, 'db', 'redis-cli get visitors'), str(number + 1))
            same(sorted(copy.getVolumes()), ['db-data'])
        """,
    ),
    "health_and_jobs": Sample(
        images={
            "postgres:16": DEBIAN,
            "flyway/flyway:10": DEBIAN,
            "nginx:1.25-alpine": BUSYBOX,
        },
        check="""
            # Nothing is waited for: up has done that.
            same(get(copy, 80, '/schema'), '42')
            same(copy.getContainer('migrate').getExitCode(), 0)
            copy.getContainer('migrate').waitForLog('^migrated$', timeout=5)
            for service in ('web', 'database'):
                health = copy.getContainer(service).inspect()['State']['Health']
                same(health['Status'], 'healthy')
        """,
    ),
    "profiles": Sample(
        images={"nginx:alpine": BUSYBOX, "adminer": BUSYBOX, "grafana/k6": BUSYBOX},
        options="profiles=['debug']",
        check="""
            copy.getContainer('frontend').waitForHttp(8080)
            copy.getContainer('adminer').waitForHttp(8080)
            same(get(copy, 8080), 'the front page')
            same(get(copy, 8081), 'admin')
            listed = copy.getAllContainers(f'all{number}').stdout
            text = pathlib.Path(listed).read_text()
            same(('adminer' in text, 'load' in text), (True, False))
        """,
    ),
    "anchors": Sample(
        images={"apache/airflow:2.9.1": DEBIAN, "redis:7.2-bookworm": DEBIAN},
        check="""
            for service in ('scheduler', 'worker', 'flower'):
                copy.getContainer(service).waitForLog('^[1-3]$', timeout=30)
            started = ask(copy, 'redis', 'redis-cli lrange started 0 -1').splitlines()
            levels = {'scheduler': 'info', 'worker': 'debug', 'nobody': 'info'}
            expected = [f'{role} at level {levels[role]}' for role in sorted(levels)]
            same(sorted(started), sorted(expected))
            host = copy.getContainer('scheduler').inspect()['HostConfig']
            same(host['RestartPolicy'], {'Name': 'on-failure', 'MaximumRetryCount': 3})
            same(host['LogConfig']['Config'], {'max-size': '1m', 'max-file': '3'})
        """,
    ),
    "long_syntax": Sample(
        images={"httpd:2.4": BUSYBOX},
        check="""
            web = copy.getContainer('web')
            same(get(copy, 8088), 'long syntax works')
            same(ask(copy, 'web', 'cat /etc/motd'), 'be nice')
            same(ask(copy, 'web', f'sh -c "echo {number} > /var/log/x"'), '')
            same(ask(copy, 'web', 'cat /var/log/x'), str(number))
            tmpfs = ask(copy, 'web', 'grep scratch /proc/mounts')
            same('size=9' in tmpfs, True)
            same(copy.getExternalPort(5353) > 0, True)
            bindings = web.inspect()['NetworkSettings']['Ports']
            same(sorted(bindings), ['53/udp', '80/tcp'])
        """,
    ),
    "ports": Sample(
        images={"traefik:v3.0": DEBIAN},
        check="""
            copy.getContainer('gateway').waitForLog('all ports are open')
            inside = {80: 80, 2222: 22, 7000: 7000, 7001: 7001, 7002: 7002, 9001: 9000}
            for port, served in inside.items():
                same(get(copy, port), f'port {served}')
            same(get(copy, 9090, service='gateway'), 'port 9090')
            import socket
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect(('127.0.0.1', copy.getExternalPort(5300)))
                client.settimeout(10)
                client.send(b'hello')
                same(client.recv(100), b'hello')
        """,
    ),
    "file_secrets": Sample(
        images={"mariadb:11": DEBIAN, "python:3.12-slim": DEBIAN},
        check="""
            copy.getContainer('client').waitForLog('OK')
            question = ['redis-cli', '-a', 'correct horse', 'get', 'told']
            same(ask(copy, 'vault', question), 'yes')
        """,
    ),
    "configs": Sample(
        images={"caddy:2-alpine": BUSYBOX},
        options="environs={'OWNER': f'number {number}'}",
        is_for_first=False,
        check="""
            copy.getContainer('web').waitForHttp(2015)
            same(get(copy, 2015), f'this page belongs to number {number}')
            same(ask(copy, 'web', 'cat /notes /etc/httpd.conf'), 'A note.\\nA:*')
        """,
    ),
    "networks": Sample(
        images={"haproxy:2.9": DEBIAN, "node:20-alpine": BUSYBOX, "redis:7": DEBIAN},
        check="""
            copy.getContainer('proxy').waitForHttp(8404)
            same(get(copy, 8404), 'from the api')
            same(sorted(copy.getNetworks()), ['front', 'middle', 'private'])
            found = copy.getContainer('store').inspect()['NetworkSettings']['Networks']
            (network,) = found
            same('cache' in found[network]['Aliases'], True)
            import json
            docker = DockerHelper._executeDockerCommand(
                self, ['network', 'inspect', network]
            )
            told = json.loads(pathlib.Path(docker.stdout).read_text())
            same(told[0]['Internal'], True)
            # Nobody resolves a name of another network.
            done = copy.getContainer('proxy').exec(
                ['getent', 'hosts', 'cache'], ignoreExitStatus=True
            )
            same(done.process.exitStatus, 2)
        """,
    ),
    "staged_build": Sample(
        images={
            "python:3.12-slim": BUSYBOX,
            "nginx:1.25-alpine": BUSYBOX,
            "debian:bookworm-slim": BUSYBOX,
        },
        options="environs={'FLAVOUR': f'flavour {number}'}",
        check="""
            copy.getContainer('api').waitForHttp(5000)
            page = f'built from files\\nversion 1.4.2, flavour {number}'
            same(get(copy, 5000), page)
            told = ask(copy, 'api-dev', 'cat /www/page.txt')
            same(told, 'built from files\\nversion dev, plain\\nfor developers')
            same(ask(copy, 'tools', '/tools/hello.sh'), 'hello from the tools')
            same(ask(copy, 'api-dev', 'ls /www'), 'page.txt')
        """,
        more=("Dockerfile.api.api.tailored", "Dockerfile.tools.tailored"),
    ),
    "tagged_build": Sample(
        images={"nginx:1.25-alpine": BUSYBOX},
        options="environs={'COLOUR': f'colour {number}'}",
        check="""
            copy.getContainer('app').waitForHttp(8000)
            same(get(copy, 8000), f'built in colour {number}')
            same(ask(copy, 'worker', 'cat index.html'), f'built in colour {number}')
        """,
        more=("Dockerfile.app.tailored",),
    ),
    "extends": Sample(
        images={"redis:7": DEBIAN, "nginx:1.25": BUSYBOX},
        check="""
            copy.getContainer('web').waitForHttp(80, '/shared/')
            same(get(copy, 8082, '/shared/'), 'shared by all')
            same(get(copy, 8082, '/pages/'), 'own pages')
            same(ask(copy, 'web', ['sh', '-c', 'echo $MOOD']), 'good')
            labels = copy.getContainer('web').inspect()['Config']['Labels']
            same(labels['team'], 'web')
            copy.getContainer('base').waitForLog('^blue and small$')
            copy.getContainer('derived').waitForLog('^blue and large$')
        """,
        more=("services.tailored",),
    ),
    "include": Sample(
        images={
            "python:3.12-slim": DEBIAN,
            "redis:7.2": DEBIAN,
            "prom/prometheus": BUSYBOX,
        },
        is_for_first=False,
        check="""
            copy.getContainer('app').waitForLog('OK')
            same(ask(copy, 'store', 'redis-cli get greeting'), 'hello from the app')
            memory = ask(copy, 'store', 'redis-cli config get maxmemory')
            same(memory.split()[-1], str(9 * 1024 * 1024))
            same(ask(copy, 'store', 'cat /notes.txt'), 'notes of the store')
            told = ask(copy, 'store', ['sh', '-c', 'echo $FROM_ENV_FILE'])
            same(told, 'yes')
            copy.getContainer('metrics').waitForHttp(9090)
            same(get(copy, 9091), 'up 1')
            same(copy.getExternalPort(6379) > 0, True)
        """,
        more=("compose.tailored.1", "docker-compose.tailored"),
    ),
    "variables": Sample(
        images={"nginx:1.26-alpine": BUSYBOX},
        options="environs={'APP_PORT': str(8000 + number), 'APP_TOLD': 'told'}",
        check="""
            copy.getContainer('web').waitForHttp(8000 + number)
            same(get(copy, 8005).splitlines(), [
                'APP_COMMON=common', 'APP_LEVEL=debug', f'APP_PORT={8000 + number}',
                'APP_PRICE=$5', 'APP_TITLE=From the dot env file', 'APP_TOLD=told',
            ])
            same(ask(copy, 'web', 'cat /data/local.env'), 'APP_LEVEL=debug')
        """,
    ),
    "fixed_names": Sample(
        images={
            "postgres:16": DEBIAN,
            "python:3.12-slim": DEBIAN,
            "nicolaka/netshoot": DEBIAN,
        },
        is_for_first=False,
        check="""
            copy.getContainer('app').waitForLog('OK')
            same(ask(copy, 'debugger', 'redis-cli -h shop-db get order'), '7')
            same(ask(copy, 'debugger', 'hostname'), 'app.shop')
            full = [each[1] for each in copy.getNetworks().values()]
            full += [each[1] for each in copy.getVolumes().values()]
            for service in ('app', 'database', 'debugger'):
                full.append(copy.getContainer(service).getName())
            same(len(full), 6)
            same([each for each in full if not each.startswith(copy.getName())], [])
        """,
    ),
    "limits": Sample(
        images={"busybox:1.36": BUSYBOX, "alpine:3.20": BUSYBOX},
        check="""
            for index in (1, 2):
                worker = copy.getContainer('worker', index)
                worker.waitForLog('^ready$')
                done = worker.exec('cat /run/worker/files')
                same(pathlib.Path(done.stdout).read_text().strip(), '2000')
                host = worker.inspect()['HostConfig']
                same(host['Memory'], 64 * 1024 * 1024)
                same((host['Init'], host['CapDrop']), (True, ['ALL']))
                done = worker.exec('grep somewhere /etc/hosts')
                same('127.0.0.9' in pathlib.Path(done.stdout).read_text(), True)
            # It needed three tries.
            flaky = copy.getContainer('flaky')
            same((flaky.waitForExit(), flaky.inspect()['RestartCount']), (0, 2))
        """,
    ),
    "version_2": Sample(
        images={"busybox": BUSYBOX, "nginx": BUSYBOX, "python:3": DEBIAN},
        check="""
            copy.getContainer('web').waitForHttp(80)
            same(get(copy, 8080), 'an old page')
            copy.getContainer('client').waitForLog('^an old page$')
        """,
    ),
    "sidecar": Sample(
        images={
            f"registry.example.com:5000/team/app@sha256:{'0' * 64}": BUSYBOX,
            "prom/node-exporter": BUSYBOX,
        },
        check="""
            copy.getContainer('app').waitForHttp(3000).waitForHttp(4000)
            host = get(copy, 3000)
            same(get(copy, 4000), host)
            same(ask(copy, 'exporter', 'hostname'), host)
        """,
    ),
}

#: Brings up some copies of a sample, and asks each; they are up at once.
BODY = """\
import json, urllib.request

def get(copy, port, path='/', service=None):
    url = f'http://127.0.0.1:{{copy.getExternalPort(port, service)}}{{path}}'
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode().strip()

def ask(copy, service, command):
    done = copy.getContainer(service).exec(command)
    return pathlib.Path(done.stdout).read_text().strip()

def same(actual, expected):
    self.assertThat(
        'actual == expected', actual=actual, expected=expected, abortOnError=True
    )

copies = []
for number in range({count}):
    copy = DockerComposition(self, {file!r}, imageSubst={images!r})
    copies.append(copy)
    copy.up({options})
for number, copy in enumerate(copies):
{check}
names = [copy.getName() for copy in copies]
pathlib.Path(self.output, 'names.json').write_text(json.dumps(names))
"""


def body_of(name: str, *, count: int) -> str:
    """Return what the test of a sample does."""
    sample = SAMPLES[name]
    check = dedent(sample.check).strip().splitlines()
    return BODY.format(
        count=count,
        file=str(compose_file(name)),
        images=dict(sample.images),
        options=sample.options,
        check="\n".join(f"    {line}" for line in check),
    )


def compose_file(name: str) -> Path:
    """Return the compose file of a sample."""
    (found,) = (SAMPLES_FOLDER / name).glob("*compose.y*ml")
    return found


def log_of(result: Result) -> str:
    """Return what a test has logged."""
    return (result.output / "run.log").read_text(encoding="utf-8", errors="replace")


def contents(folder: Path) -> dict[str, str]:
    """Return what is in a folder: names, and digests of what they hold."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a run over the samples.

    Attributes:
        results: What became of each test.
        before: What was in the samples' folders before.
        after: What was in there afterwards.
        left: What the run had on the engine after its end.
        said: What it printed.
    """

    results: Mapping[str, Result]
    before: Mapping[str, str]
    after: Mapping[str, str]
    left: frozenset[str]
    said: str


def own_tags() -> set[str]:
    """Return the images of the names that samples give to what they build.

    Such a name tells nothing of its owner.
    """
    return set(docker("image", "ls", "--quiet", "example/*").split())


def run_samples(
    engine: ApiEngine, folder: Path, names: list[str], *, count: int, properties: str
) -> Outcome:
    """Run a project with a test for each sample."""
    nested = NestedProject(folder, properties=properties)
    for name in names:
        nested.test(name, body_of(name, count=count))
    before, tags = contents(SAMPLES_FOLDER), own_tags()
    with running(nested, "-j2") as (process, owner):
        try:
            process.wait(270)
        except subprocess.TimeoutExpired:
            pytest.fail(f"no end:\n{nested.said()}")
        left = names_of(engine, owner)
        left |= own_tags() - tags
    return Outcome(
        results=nested.results(),
        before=before,
        after=contents(SAMPLES_FOLDER),
        left=frozenset(left),
        said=nested.said(),
    )


# Compose v2 ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def modern(engine: ApiEngine, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Return what became of two copies of each sample."""
    folder = tmp_path_factory.mktemp("samples")
    return run_samples(engine, folder, list(SAMPLES), count=2, properties="")


@pytest.mark.docker
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_comes_up_in_two_copies_at_once(name: str, modern: Outcome) -> None:
    """With nothing but ``imageSubst``; each copy answers for itself."""
    result = modern.results[name]
    assert result.outcome == "PASSED", f"{result.reason}\n{log_of(result)}"
    names = json.loads((result.output / "names.json").read_text())
    assert len(set(names)) == 2


@pytest.mark.docker
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SAMPLES)
def test_what_was_done_to_a_sample_is_shown(name: str, modern: Outcome) -> None:
    """The tailored copies are kept, each with how it differs from the original."""
    output = modern.results[name].output
    copy = output / f"{compose_file(name).stem}.tailored.yml"
    difference = copy.with_suffix(".diff").read_text()
    assert difference.startswith(f"--- {compose_file(name).name}\n+++ ")
    assert re.search(r"^\+ .*(pysys-orch-test/|[.]tailored)", difference, re.MULTILINE)
    for more in SAMPLES[name].more:
        (copy,) = (
            each for each in (output / more, output / f"{more}.yml") if each.exists()
        )
        assert "pysys-orch-test/" in copy.read_text()


@pytest.mark.docker
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_s_own_folder_is_not_written_to(name: str, modern: Outcome) -> None:
    """Neither is a file in it changed, nor is there a new one."""
    before, after = (
        {path: text for path, text in each.items() if Path(path).parts[0] == name}
        for each in (modern.before, modern.after)
    )
    assert before
    assert after == before


@pytest.mark.docker
@pytest.mark.timeout(300)
def test_nothing_is_left_of_the_samples(modern: Outcome) -> None:
    """Neither containers, networks and volumes nor what was built."""
    assert modern.left == frozenset()


@pytest.mark.docker
@pytest.mark.timeout(300)
def test_all_that_was_substituted_is_in_the_samples(modern: Outcome) -> None:
    """Nobody is warned about an image that is there under an anchor, say."""
    lines = modern.said.splitlines()
    assert [line for line in lines if "nothing in the file is called" in line] == []


# Compose v1 ---------------------------------------------------------------------------

OF_FIRST = [name for name, sample in SAMPLES.items() if sample.is_for_first]


@pytest.fixture(scope="module")
def first(engine: ApiEngine, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Return what became of one copy of each sample, by compose v1."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("there is no docker-compose")
    folder = tmp_path_factory.mktemp("samples_of_first")
    properties = f'<property name="dockerComposeExe" value="{program}"/>'
    return run_samples(engine, folder, OF_FIRST, count=1, properties=properties)


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", OF_FIRST)
def test_a_sample_comes_up_by_compose_v1(name: str, first: Outcome) -> None:
    """Who has not moved on tests the same samples."""
    result = first.results[name]
    assert result.outcome == "PASSED", f"{result.reason}\n{log_of(result)}"


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.timeout(300)
def test_nothing_is_left_by_compose_v1(first: Outcome) -> None:
    """It labels what it makes a little less than compose v2."""
    assert re.search(r"Compose is \S*docker-compose 1\.", first.said)
    assert first.left == frozenset()
    assert first.after == first.before

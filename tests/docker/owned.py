"""What belongs to whom on an engine, and how to stand in for an owner."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.collect import Doomed, sweep
from pysys_orch.docker.engine.model import Found, Kind
from pysys_orch.docker.engine.ownership import (
    Owner,
    owner_labels,
    owner_of,
    resource_name,
    start_of_process,
    this_domain,
)
from tests.conftest import BUSYBOX
from tests.nested import NestedProject

_T = TypeVar("_T")

_POLL = 0.02

#: A test that is always in the middle of something.
_BUSY = f"""
    folder = pathlib.Path(self.input)
    for number in range(100):
        image = self.docker.image(
            dockerfile='Dockerfile', noCache=True, buildArgs={{'N': str(number)}}
        )
        chatty = self.docker.container(image, 'chatty')
        chatty.run(['sh', '-c', 'while echo line; do usleep 5000; done'])
        chatty.log(f'c{{number}}').waitForLog('line')
        network = self.docker.network()
        busy = self.docker.container('{BUSYBOX}', 'busy', network=network, ports=[80])
        busy.run(['sleep', '600'], extraArgs=['--volume', '/data'])
        busy.exec(['sh', '-c', 'echo something > /tmp/file'])
        again = DockerContainer.fromImage(busy.commit()).run(['sleep', '600'])
        chatty.kill()
        again.stop(timeout=0)
        if number % 2:
            self.docker.container('{BUSYBOX}').run(['true'], foreground=True)
"""
_BUSY_DOCKERFILE = f"FROM {BUSYBOX}\nARG N\nRUN sleep 0.2\nRUN echo $N > /number\n"


_BUSY_COMPOSITION = """
    for number in range(100):
        environs = {'N': f'{number} {os.getpid()}'}
        composition = DockerComposition(self, 'compose.yml')
        composition.up(environs=environs, extraArgs=['--build']).log(f'{number}.')
        composition.scale('web', 3)
        composition.down()
        composition.up(environs=environs)
"""
_COMPOSE_FILE = f"""\
services:
  web:
    image: {BUSYBOX}
    command: httpd -f -p 80
    ports: ["8080:80"]
    depends_on: [app]
  app:
    build:
      context: app
      args: {{N: "$N"}}
    command: sh -c 'while echo line; do usleep 50000; done'
    volumes: ["data:/data"]
    networks: [default, inner]
networks:
  inner: {{internal: true}}
volumes:
  data: {{}}
"""
_BUSY_STACK = """
    for number in range(100):
        swarm = DockerSwarm(self, 'stack.yml').deploy()
        swarm.getService('web').scale(2).log(f'{number}.web')
        if number % 2:
            swarm.down()
        secret = DockerSecret.fromContent(self, f'secret-{os.getpid()}-{number}', 'x')
        service = self.docker.service(
            'pysys-orch-test/busybox:1', 'busy'
        ).useSecret(secret).run(['sleep', '600'])
        service.scale(2)
"""
_STACK_FILE = f"""\
services:
  web:
    image: {BUSYBOX}
    command: httpd -f -p 80
    configs: [page]
    networks: [default]
  other:
    image: {BUSYBOX}
    command: sleep 600
    volumes: ["data:/data"]
configs:
  page: {{file: ./stack.yml}}
volumes:
  data: {{}}
"""


def busy_project(folder: Path) -> NestedProject:
    """Return a project of two tests that are always in the middle of something."""
    made = NestedProject(folder)
    for name in ("busy_1", "busy_2"):
        made.test(name, _BUSY, Dockerfile=_BUSY_DOCKERFILE)
    return made


def busy_environments(folder: Path) -> NestedProject:
    """Return a project that is always in the middle of an environment's life."""
    made = NestedProject(folder)
    composed = made.test(
        "composition", _BUSY_COMPOSITION, **{"compose.yml": _COMPOSE_FILE}
    )
    (composed / "app").mkdir()
    (composed / "app" / "Dockerfile").write_text(_BUSY_DOCKERFILE)
    made.test("stack", _BUSY_STACK, **{"stack.yml": _STACK_FILE})
    return made


def owned_by(engine: ApiEngine, owner: Owner) -> list[Found]:
    """Return what an owner has on the engine."""
    return [found for found in engine.listing() if owner_of(found) == owner]


def names_of(engine: ApiEngine, owner: Owner, kind: Kind | None = None) -> set[str]:
    """Return the names of what an owner has on the engine."""
    resources = [found.resource for found in owned_by(engine, owner)]
    return {each.name for each in resources if kind in {None, each.kind}}


def remove_all(engine: ApiEngine, owner: Owner) -> None:
    """Remove what an owner has on the engine, whether or not it lives."""
    order = list(Kind)
    resources = [found.resource for found in owned_by(engine, owner)]
    resources.sort(key=lambda resource: order.index(resource.kind))
    plan = [Doomed(resource=each, reason="the test is over") for each in resources]
    # Also a run on the same engine removes what a dead one left, at the same moment.
    assert not sweep(engine, plan, clock=SystemClock()).failures


def owner_of_process(pid: int) -> Owner:
    """Return the owner that a running process of this machine is."""
    start = start_of_process(pid)
    assert start is not None, f"process {pid} has ended"
    return Owner(scope=this_domain().scope, pid=pid, start=start)


@contextlib.contextmanager
def passing_owner() -> Iterator[Owner]:
    """Give the owner that a process is, which ends with the block."""
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            yield owner_of_process(process.pid)
        finally:
            process.kill()


@contextlib.contextmanager
def running(
    nested: NestedProject,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[subprocess.Popen[str], Owner]]:
    """Start a run, which does not outlive the block; give its process and owner."""
    process = nested.start(*arguments, environment=environment)
    try:
        yield process, owner_of_process(process.pid)
    finally:
        process.kill()
        process.wait()


class Belongings:
    """Makes things that belong to an owner, as that owner would."""

    def __init__(
        self,
        engine: ApiEngine,
        owner: Owner,
        *,
        role: str = "left",
        keep: bool = False,
    ) -> None:
        self._owner = owner
        self._role = role
        self._engine = engine
        self._labels = owner_labels(
            owner, test_id="left", lease=300, facts={}, keep=keep
        )
        self._numbers = itertools.count()

    def container(self, image: str = BUSYBOX) -> str:
        """Start a container that sleeps, and return its name."""
        return self.run(image, "sleep", "3600")

    def run(self, image: str, *command: str, options: Iterable[str] = ()) -> str:
        """Start a container, and return its name."""
        name = self._name("container")
        labels = [f"--label={key}={text}" for key, text in self._labels.items()]
        options = [f"--name={name}", *labels, *options]
        docker("run", "--detach", *options, image, *command)
        return name

    def network(self) -> str:
        """Create a network, and return its name."""
        name = self._name("network")
        labels = [f"--label={key}={text}" for key, text in self._labels.items()]
        docker("network", "create", "--internal", *labels, name)
        return name

    def gateway(self) -> str:
        """Create a network with a way out, and return its name."""
        name = self._name("network")
        labels = [f"--label={key}={text}" for key, text in self._labels.items()]
        docker("network", "create", *labels, name)
        return name

    def volume(self) -> str:
        """Create a volume, and return its name."""
        name = self._name("volume")
        self._engine.create_volume(name, self._labels)
        return name

    def tag(self) -> str:
        """Give an image one more name, and return that."""
        name = f"{self._name('image')}:latest"
        self._engine.tag_image(BUSYBOX, name)
        return name

    def _name(self, kind: str) -> str:
        return resource_name(self._owner, self._role, kind, next(self._numbers))


def docker(*arguments: str) -> str:
    """Return what a docker command prints.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    done = subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def reaper_of(pid: int) -> int:
    """Return the process id of a run's reaper, once there is one."""

    def look() -> int | None:
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
                words = (entry.parent / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == pid and b"docker.engine.reaping" in words:
                return int(entry.parent.name)
        return None

    return eventually(look, what=f"run {pid} has a reaper")


def eventually(
    look: Callable[[], _T | None],
    *,
    what: str,
    timeout: float = 30,
    explain: Callable[[], object] = str,
) -> _T:
    """Return what *look* sees once that is true."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, (
            f"{what}: not within {timeout} s {explain()}"
        )
        time.sleep(_POLL)

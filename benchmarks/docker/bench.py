"""What benchmarks make on the engine and on the disk, and how all of it goes again.

Everything carries the labels or the name of an owner, this process, in the manner of
pysys_orch itself: even what a `kill -9` leaves is collected by the next PySys run.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from benchmarks.docker.raw import RawEngine
from benchmarks.measure import Figures
from pysys_orch.docker.engine.ownership import (
    owner_labels,
    resource_name,
    this_domain,
    this_owner,
)

BUSYBOX = "pysys-orch-test/busybox:1"
DEBIAN = "pysys-orch-test/debian:1"
PLUGIN = '<runner-plugin classname="pysys_orch.docker.DockerRunnerPlugin"/>'

_REPOSITORY = Path(__file__).parents[2]
_PATIENCE = 60.0


class Bench:
    """The engine, a folder, names and labels, and a real PySys run to measure in."""

    def __init__(self) -> None:
        host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        if not host.startswith("unix://"):
            message = f"the raw API is measured over a unix socket, not {host}"
            raise SystemExit(message)
        self.raw = RawEngine(host.removeprefix("unix://"))
        try:
            self.version = self.raw.ask("GET", "/version")
        except OSError as failure:
            message = f"no Docker Engine answers at {host}: {failure}"
            raise SystemExit(message) from None
        self.owner = this_owner(this_domain())
        self.folder = Path(tempfile.mkdtemp(prefix="pysys-orch-benchmark-"))
        self.docker = shutil.which("docker") or "docker"
        #: Names of images to remove that do not tell who made them.
        self.other_images: set[str] = set()
        self._numbers = itertools.count()
        self._worker: Worker | None = None

    def name(self, role: str) -> str:
        """Return a name of our own, also for an image."""
        return resource_name(self.owner, "benchmark", role, next(self._numbers))

    def labels(self) -> dict[str, str]:
        """Return what everything that takes labels carries."""
        return owner_labels(
            self.owner, test_id="benchmark", lease=300, facts={}, keep=False
        )

    def environment(self) -> dict[str, str]:
        """Return the environment of processes that are measured.

        Their bytecode is kept, as it is wherever a library is installed, but not here.
        """
        environment = dict(os.environ)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(self.folder / "bytecode")
        environment["PYTHONPATH"] = str(_REPOSITORY)
        return environment

    def project(self, name: str, test: str, *, plugin: bool) -> Path:
        """Make a PySys project with one test, whose body is the file *test*."""
        folder = self.folder / name
        source = Path(__file__).parent / "project"
        text = (source / "pysysproject.xml").read_text(encoding="utf-8")
        (folder / "test").mkdir(parents=True)
        (folder / "pysysproject.xml").write_text(
            text.replace("<!-- plugin -->", PLUGIN if plugin else ""), encoding="utf-8"
        )
        shutil.copyfile(source / test, folder / "test" / "pysystest.py")
        return folder

    def pysys_run(self, project: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a PySys run, apart from this process's terminal and signals."""
        output = project / "output"
        with (project / "run.txt").open("wb") as said:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "pysys",
                    "run",
                    f"--outdir={output}",
                    *arguments,
                ],
                cwd=project,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def worker(self) -> Worker:
        """Return the test in a PySys run that measures pysys_orch for us."""
        if self._worker is None:
            self._worker = Worker(self)
        return self._worker

    def in_worker(self, task: str, *arguments: object) -> Callable[[], Figures]:
        """Return the variant that has the worker do a task."""
        return lambda: self.worker().ask(task, *arguments)

    def close(self) -> None:
        """Remove everything, whatever fails."""
        with ExitStack() as steps:  # the last comes first
            steps.callback(shutil.rmtree, self.folder, ignore_errors=True)
            steps.callback(self._remove_images)
            steps.callback(lambda: self.remove(self.containers()))
            if self._worker is not None:
                steps.callback(self._worker.close)

    def containers(self) -> list[str]:
        """Return the ids of the containers that are ours, running or not."""
        filters = f'{{"label": ["orch.run={self.owner.key}"]}}'
        listed = self.raw.ask("GET", "/containers/json", all=1, filters=filters)
        return [each["Id"] for each in listed]

    def remove(self, ids: list[str]) -> None:
        """Remove containers, those that are gone already included."""
        remove_containers(self.raw, ids)

    def start(self, image: str, command: list[str]) -> str:
        """Create and start a container by the raw API; return its id."""
        body = {"Image": image, "Cmd": command, "Labels": self.labels()}
        container = self.raw.ask(
            "POST", "/containers/create", body, name=self.name("container")
        )["Id"]
        self.raw.ask("POST", f"/containers/{container}/start")
        return str(container)

    def start_many(self, image: str, command: list[str], number: int) -> list[str]:
        """Start that many containers; return their ids."""
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda _: self.start(image, command), range(number)))

    def _remove_images(self) -> None:
        for image in self.raw.ask("GET", "/images/json"):
            for tag in image.get("RepoTags") or []:
                if tag.startswith(self.owner.key) or tag in self.other_images:
                    with suppress(RuntimeError):
                        self.raw.ask("DELETE", f"/images/{tag}")


class Worker:
    """A `pysys run` whose one test does as it is told: see ``project/worker.py``."""

    def __init__(self, bench: Bench) -> None:
        address = str(bench.folder / "worker.sock")
        self._project = bench.project("worker", "worker.py", plugin=True)
        with Listener(address) as listener:
            self._process = bench.pysys_run(self._project, f"-Xaddress={address}")
            # A run that ends at once would leave us waiting.
            listener._listener._socket.settimeout(_PATIENCE)  # type: ignore[attr-defined] # noqa: SLF001
            try:
                self._connection: Connection[Any, Any] = listener.accept()
            except TimeoutError:
                raise RuntimeError(self._said()) from None

    def ask(self, task: str, *arguments: object) -> Any:  # noqa: ANN401 -- what it says
        """Have it do something, and return what came of it."""
        self._connection.send((task, arguments))
        try:
            done, answer = self._connection.recv()
        except EOFError:
            raise RuntimeError(self._said()) from None
        if not done:
            message = f"{task} failed in the worker: {answer}"
            raise RuntimeError(message)
        return answer

    def close(self) -> None:
        """End the run, as it would end by itself."""
        self._connection.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _said(self) -> str:
        return (self._project / "run.txt").read_text(encoding="utf-8")


@contextmanager
def opened() -> Iterator[Bench]:
    """Yield a bench that leaves nothing behind."""
    bench = Bench()
    try:
        yield bench
    finally:
        bench.close()


def remove_containers(raw: RawEngine, ids: list[str]) -> None:
    """Remove containers with what the engine can do at most: eight at once."""

    def remove(container: str) -> None:
        with suppress(RuntimeError):  # gone already
            raw.ask("DELETE", f"/containers/{container}", force=1, v=1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remove, ids))

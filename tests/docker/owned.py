"""What belongs to whom on an engine, and how to stand in for an owner."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from pysys_orch.docker.engine.client import ApiEngine
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

_T = TypeVar("_T")

_POLL = 0.02
_NUMBERS = itertools.count()


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
    for each in sorted(
        (found.resource for found in owned_by(engine, owner)),
        key=lambda resource: order.index(resource.kind),
    ):
        engine.remove(each)


def owner_of_process(pid: int) -> Owner:
    """Return the owner that a running process of this machine is."""
    start = start_of_process(pid)
    assert start is not None, f"process {pid} has ended"
    return Owner(scope=this_domain().scope, pid=pid, start=start)


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

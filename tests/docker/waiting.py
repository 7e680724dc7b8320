"""Runs that wait in the middle of a test, until they are told to go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.ownership import Owner
from tests.conftest import BUSYBOX
from tests.docker.owned import eventually, owned_by
from tests.nested import NestedProject

#: Long enough for a machine that is busy with other things.
LEASE = 8.0

#: Has some things, says so, and waits until it may go on.
WAITS = f"""
    folder = pathlib.Path(self.input)
    who = os.environ['WHO']
    container = self.docker.container('{BUSYBOX}', who).run(['sleep', '600'])
    self.docker.network()
    (folder / f'{{who}}.new').write_text(container.getName())
    (folder / f'{{who}}.new').rename(folder / f'{{who}}.there')
    while not (folder / f'{{who}}.go').exists():
        self.pollWait(0.02)
    self.assertThat('state == "running"', state=container.getState())
"""
#: What one owner has in the middle of that: both, and a lease.
THINGS = 3


class Run:
    """One of several runs of one project, whose test waits in the middle.

    Args:
        nested: The project.
        who: What to call the run.
    """

    def __init__(self, nested: NestedProject, who: str) -> None:
        self.nested = nested
        self.who = who
        # What the writers write is beside the output directory.
        output = nested.folder / who / "output"
        self.arguments = ("--outdir", f"{output}", f"-XdockerLeaseSecs={LEASE:g}")
        self._folder = nested.folder / "waits"

    def wait_until_there(self) -> Owner:
        """Wait until its test is in the middle; return the owner of what it has."""
        file = self._folder / f"{self.who}.there"
        eventually(file.exists, what=f"{self.who} is there", explain=self.said)
        owner = Owner.parse(file.read_text())
        assert owner is not None
        return owner

    def go_on(self) -> None:
        """Let its test go on, and wait for the run to end well."""
        (self._folder / f"{self.who}.go").touch()
        assert self.wait() == 0, self.said()

    def said(self) -> str:
        """Return what it printed."""
        raise NotImplementedError

    def wait(self) -> int:
        """Return its exit status, once it has ended."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it outright, wherever it is."""
        raise NotImplementedError


class HostRun(Run):
    """A run on this machine.

    Args:
        nested: The project.
        who: What to call the run.
        within: A command that executes another one, in a place of its own.
    """

    def __init__(
        self, nested: NestedProject, who: str, within: Sequence[str] = ()
    ) -> None:
        super().__init__(nested, who)
        self._process = nested.start(
            *self.arguments, environment={"WHO": who}, within=within
        )
        # The next run of the project begins a file of its own.
        self._said = nested.folder / f"{who}.txt"
        (nested.folder / "run.txt").rename(self._said)

    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def wait(self) -> int:
        return self._process.wait(60)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def require_all_there(engine: ApiEngine, *owners: Owner) -> None:
    """Assert that each of these has all that it had."""
    for each in owners:
        assert len(owned_by(engine, each)) >= THINGS, owned_by(engine, each)


def last_seen(engine: ApiEngine, owner: Owner) -> datetime:
    """Return when an owner made or renewed something, by the engine's clock."""
    return max(each.created for each in owned_by(engine, owner))

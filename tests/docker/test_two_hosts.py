"""Two hosts that share one engine know of each other by the engine alone."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from tests.docker.owned import eventually, names_of, owned_by
from tests.docker.waiting import (
    LEASE,
    WAITS,
    HostRun,
    last_seen,
    require_all_there,
)
from tests.nested import NestedProject

_BECOME = """
hostname "$1"
mount --bind "$2" /proc/sys/kernel/random/boot_id
shift 2
exec "$@"
"""
_COLLECT = "import sys; from pysys_orch.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Host:
    """A machine with processes, a name and a boot of its own.

    Attributes:
        within: A command that executes another one there; what that starts ends with
            it.
    """

    within: Sequence[str]

    def collect(self, *prefix: str) -> None:
        """Run ``pysys-orch collect`` there."""
        done = subprocess.run(
            [*self.within, *prefix, sys.executable, "-c", _COLLECT, "collect"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def hosts(tmp_path: Path) -> tuple[Host, Host]:
    """Return two hosts."""

    def make(name: str) -> Host:
        boot = tmp_path / name
        boot.write_text(f"{uuid.uuid4()}\n")
        unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return Host(
            [*unshare, "--uts", "sh", "-ec", _BECOME, "sh", name, f"{boot}"],
        )

    return make("one"), make("other")


@pytest.fixture
def project(tmp_path: Path) -> NestedProject:
    """Return a project whose only test waits in its middle."""
    made = NestedProject(tmp_path / "project")
    made.test("waits", WAITS)
    return made


@pytest.fixture
def runs(
    hosts: tuple[Host, Host], project: NestedProject
) -> Iterator[tuple[HostRun, HostRun]]:
    """Return a run on each of two hosts, which do not outlive the test."""
    started = []
    try:
        for name, host in zip(("first", "second"), hosts, strict=True):
            started.append(HostRun(project, name, host.within))
            started[-1].wait_until_there()
        first, second = started
        yield first, second
    finally:
        for each in started:
            each.kill()


@pytest.mark.docker
@pytest.mark.engine20
def test_neither_host_collects_what_the_other_one_needs(
    engine: ApiEngine, hosts: tuple[Host, Host], runs: tuple[HostRun, HostRun]
) -> None:
    """Not even after the first lease has run out, since a run renews its own."""
    one, other = (each.wait_until_there() for each in runs)
    assert one.scope != other.scope
    begin = engine.now()
    eventually(
        lambda: engine.now() > begin + timedelta(seconds=LEASE + 1),
        what="nobody lives by a first lease",
    )
    for host in hosts:
        host.collect()
        require_all_there(engine, one, other)
    for run, owner in zip(runs, (one, other), strict=True):
        run.go_on()
        assert owned_by(engine, owner) == []


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize("dead", [0, 1])
def test_each_host_collects_what_the_other_one_left_when_it_went_down(
    engine: ApiEngine,
    hosts: tuple[Host, Host],
    runs: tuple[HostRun, HostRun],
    dead: int,
) -> None:
    """After its lease, and not before; what lives stays."""
    owners = [each.wait_until_there() for each in runs]
    gone, alive = owners[dead], owners[1 - dead]
    runs[dead].kill()  # and its reaper with it, as by a power failure
    left = names_of(engine, gone)
    over = last_seen(engine, gone) + timedelta(seconds=LEASE)
    hosts[1 - dead].collect()
    assert names_of(engine, gone) == left or engine.now() > over
    eventually(lambda: engine.now() > over, what="the lease is over")
    hosts[1 - dead].collect()
    assert owned_by(engine, gone) == []
    require_all_there(engine, alive)


@pytest.mark.docker
@pytest.mark.engine20
def test_a_host_whose_clock_is_wrong_collects_at_the_right_time(
    engine: ApiEngine, hosts: tuple[Host, Host], runs: tuple[HostRun, HostRun]
) -> None:
    """Only the engine's clock counts, by which all hosts have written."""
    one, other = (each.wait_until_there() for each in runs)
    hosts[0].collect("faketime", "-f", "+2h")
    require_all_there(engine, one, other)
    runs[0].kill()
    over = last_seen(engine, one) + timedelta(seconds=LEASE)
    eventually(lambda: engine.now() > over, what="the lease is over")
    hosts[1].collect("faketime", "-f", "-2h")
    assert owned_by(engine, one) == []
    require_all_there(engine, other)

"""Several runs and collectors on one engine: nobody takes what somebody else uses."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import (
    CACHE_LABEL,
    Owner,
    cache_tag,
    this_domain,
    this_owner,
)
from pysys_orch.errors import NotFoundError
from tests.conftest import BUSYBOX
from tests.docker.contained import DEBIAN, runner_options
from tests.docker.owned import (
    Belongings,
    docker,
    eventually,
    names_of,
    owned_by,
    passing_owner,
    remove_all,
)
from tests.docker.waiting import (
    LEASE,
    THINGS,
    WAITS,
    HostRun,
    Run,
    last_seen,
    require_all_there,
)
from tests.nested import NestedProject


class ContainerRun(Run):
    """A run inside a container: another host name, other process ids, one engine."""

    def __init__(
        self, nested: NestedProject, who: str, engine: ApiEngine, owner: Owner
    ) -> None:
        super().__init__(nested, who)
        self._container = Belongings(engine, owner, role=who).run(
            DEBIAN,
            *("python3", "-m", "pysys", "run", "--record", *self.arguments),
            options=[*runner_options(nested, engine), f"--env=WHO={who}"],
        )

    def said(self) -> str:
        return docker("logs", self._container)

    def wait(self) -> int:
        return int(docker("wait", self._container))

    def kill(self) -> None:
        docker("kill", self._container)


class Runs:
    """Starts runs of one project, and ends them whatever happens."""

    def __init__(self, nested: NestedProject, engine: ApiEngine, owner: Owner) -> None:
        self._nested = nested
        self._engine = engine
        self._owner = owner
        self.on_host: list[HostRun] = []

    def host(self, who: str) -> HostRun:
        """Start a run on this machine."""
        self.on_host.append(HostRun(self._nested, who))
        return self.on_host[-1]

    def container(self, who: str) -> ContainerRun:
        """Start a run in a container; it goes with its owner, this process."""
        return ContainerRun(self._nested, who, self._engine, self._owner)


@pytest.fixture
def runs(engine: ApiEngine, owner: Owner, tmp_path: Path) -> Iterator[Runs]:
    """Return what starts runs of a project whose only test waits in its middle."""
    nested = NestedProject(tmp_path / "project")
    nested.test("waits", WAITS)
    started = Runs(nested, engine, owner)
    yield started
    for each in started.on_host:
        each.kill()


def start_collection(*options: str) -> subprocess.Popen[str]:
    """Start ``pysys-orch collect``."""
    command = "import sys; from pysys_orch.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", command, "collect", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def collect(*options: str) -> str:
    """Run ``pysys-orch collect`` to its end; return what it printed."""
    process = start_collection(*options)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


@pytest.mark.docker
@pytest.mark.engine20
def test_two_runs_of_one_project_leave_each_other_alone(
    engine: ApiEngine, runs: Runs
) -> None:
    """A developer may start a second run while the first one still works."""
    first = runs.host("first")
    one = first.wait_until_there()
    second = runs.host("second")
    other = second.wait_until_there()
    collect()
    require_all_there(engine, one, other)
    # Its collection is complete at its end at the latest.
    second.go_on()
    assert owned_by(engine, other) == []
    require_all_there(engine, one)
    first.go_on()
    assert owned_by(engine, one) == []


@pytest.mark.docker
@pytest.mark.engine20
def test_a_run_in_a_container_and_one_on_the_host_leave_each_other_alone(
    engine: ApiEngine, runs: Runs
) -> None:
    """Who cannot see the other's process believes its lease, while that is renewed."""
    on_host = runs.host("on_host")
    outside = on_host.wait_until_there()
    in_container = runs.container("in_container")
    inside = in_container.wait_until_there()
    assert outside.scope != inside.scope
    begin = engine.now()
    eventually(
        lambda: engine.now() > begin + timedelta(seconds=LEASE + 1),
        what="nobody lives by a first lease",
    )
    for each in (runs.host("third"), runs.container("fourth")):
        each.wait_until_there()
        each.go_on()
        require_all_there(engine, outside, inside)
    in_container.go_on()
    assert owned_by(engine, inside) == []
    require_all_there(engine, outside)
    on_host.go_on()
    assert owned_by(engine, outside) == []


@pytest.mark.docker
@pytest.mark.engine20
def test_what_a_killed_run_in_a_container_left_is_collected_after_its_lease(
    engine: ApiEngine, runs: Runs, tmp_path: Path
) -> None:
    """Not before, since from afar a dead run looks like one that is busy."""
    run = runs.container("killed")
    inside = run.wait_until_there()
    run.kill()
    left = names_of(engine, inside)
    over = last_seen(engine, inside) + timedelta(seconds=LEASE)
    collect()
    assert names_of(engine, inside) == left or engine.now() > over
    eventually(lambda: engine.now() > over, what="the lease is over")

    following = NestedProject(tmp_path / "next")
    following.test("small", f"self.docker.container('{BUSYBOX}').run(['true'])")
    assert following.run() == 0, following.said()
    assert owned_by(engine, inside) == []


@pytest.mark.docker
@pytest.mark.engine20
def test_who_got_a_dead_owners_process_id_is_not_taken_for_it(
    engine: ApiEngine, owner: Owner
) -> None:
    """Process ids come round again, sooner than one thinks on a busy machine."""
    alive = this_owner(this_domain())
    former = replace(alive, start=alive.start - 1)
    for each in (alive, former):
        things = Belongings(engine, each)
        things.container()
        things.volume()
        things.network()
    assert owner == alive
    collect()
    assert owned_by(engine, former) == []
    assert len(owned_by(engine, alive)) == THINGS


@pytest.mark.docker
@pytest.mark.engine20
def test_two_collectors_at_once_finish_without_an_error(engine: ApiEngine) -> None:
    """Two agents that start at the same time find the same leftovers."""
    with leftovers(engine, each=10) as owner:
        pass
    collections = [start_collection() for _ in range(2)]
    for each in collections:
        out, err = each.communicate(timeout=100)
        assert each.returncode == 0, out + err
    assert owned_by(engine, owner) == []


@pytest.mark.docker
@pytest.mark.engine20
def test_a_dry_run_shows_what_would_be_removed_and_removes_nothing(
    engine: ApiEngine,
) -> None:
    """One can look before one leaps, and so can a script."""
    # Kept things, since the runs of others on this engine leave these alone.
    with leftovers(engine, each=1, keep=True) as owner:
        there = names_of(engine, owner)
    try:
        told = json.loads(collect("--dry-run", "--json", "--kept"))
        rows = {row["name"]: row for row in told["would_remove"]}
        assert there <= rows.keys()
        assert told["failures"] == []
        kinds = {Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME, Kind.IMAGE}
        assert {rows[name]["kind"] for name in there} == kinds
        assert all("ended" in rows[name]["reason"] for name in there)
        told = json.loads(collect("--dry-run", "--json"))
        assert not there & {row["name"] for row in told["would_remove"]}
        assert names_of(engine, owner) == there
    finally:
        remove_all(engine, owner)


@contextlib.contextmanager
def leftovers(engine: ApiEngine, *, each: int, keep: bool = False) -> Iterator[Owner]:
    """Make *each* of all kinds for an owner that ends with the block."""
    with passing_owner() as owner:
        things = Belongings(engine, owner, keep=keep)
        for _ in range(each):
            things.container()
            things.network()
            things.volume()
            things.tag()
        yield owner


@pytest.mark.docker
@pytest.mark.engine20
def test_a_cached_image_is_collected_by_its_last_use(engine: ApiEngine) -> None:
    """What is built every day stays, however long ago it was built first."""
    used, unused = new_cache_tag(), new_cache_tag()
    load_image(unused, created="2001-01-01T00:00:00Z")
    other = f"pysys-orch-test/old:{secrets.token_hex(4)}"
    load_image(other, created="2001-01-01T00:00:00Z")
    engine.tag_image(other, used)  # as a build does that finds it
    remnant = load_image(None, created="2001-01-01T00:00:00Z")
    try:
        # Nobody else's cache is that old.
        collect("--image-retention-days", "3650")
        assert not is_there(engine, unused)
        assert not is_there(engine, remnant)
        assert is_there(engine, used)
        assert is_there(engine, other)
        told = json.loads(collect("--dry-run", "--json", "--image-retention-days", "0"))
        assert used in {row["name"] for row in told["would_remove"]}
    finally:
        for tag in (used, other):
            engine.remove(Resource(kind=Kind.IMAGE, id=tag, name=tag))


def new_cache_tag() -> str:
    """Return the tag of a cached image that nobody else has."""
    return cache_tag(secrets.token_hex(32), secrets.token_hex(32))


def is_there(engine: ApiEngine, image: str) -> bool:
    """Return whether the engine has an image."""
    try:
        engine.inspect_image(image)
    except NotFoundError:
        return False
    return True


def load_image(tag: str | None, *, created: str) -> str:
    """Load an image that was never tagged by hand; return its tag or id."""
    layer = tar({"id": secrets.token_bytes(8)})
    digest = hashlib.sha256(layer).hexdigest()
    description = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": {"Labels": {CACHE_LABEL: "test"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = {
        "Config": "image.json",
        "RepoTags": [] if tag is None else [tag],
        "Layers": ["layer.tar"],
    }
    archive = tar(
        {
            "manifest.json": json.dumps([manifest]).encode(),
            "image.json": json.dumps(description).encode(),
            "layer.tar": layer,
        }
    )
    done = subprocess.run(
        ["docker", "load"], check=True, input=archive, capture_output=True, timeout=60
    )
    return done.stdout.decode().split()[-1]


def tar(files: Mapping[str, bytes]) -> bytes:
    """Return an archive of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()

"""``pysys-orch collect`` shows and does by hand what runs do by themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from pysys_orch import __version__
from pysys_orch.cli import main
from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import (
    Owner,
    cache_tag,
    owner_labels,
    resource_name,
    this_domain,
    this_owner,
)
from pysys_orch.errors import EngineUnreachableError
from pysys_orch.testing import ManualClock, MemoryEngine

HERE = this_domain()
ME = this_owner(HERE)
DEAD = Owner(scope=HERE.scope, pid=2**22 + 1, start=7)  # no process has so high an id
CACHED = cache_tag("ab" * 32, "cd" * 32)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command left behind: its exit status and its words."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 -- JSON
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs the command in this process."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Said:
        status = main(arguments)
        out, err = self.capsys.readouterr()
        return Said(status, out, err)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryEngine:
    """Return the engine that the command finds, on a clock that nobody waits for."""
    engine = MemoryEngine(ManualClock(stamp=SystemClock().stamp()))

    def connect(_environment: Mapping[str, str], *, timeout: float) -> MemoryEngine:
        assert timeout == 5.0
        return engine

    monkeypatch.setattr(ApiEngine, "connect", connect)
    monkeypatch.setattr("pysys_orch.cli.SystemClock", ManualClock)
    return engine


def labels(owner: Owner, *, keep: bool = False) -> dict[str, str]:
    return owner_labels(owner, test_id="t", lease=300, facts={}, keep=keep)


def name(owner: Owner, role: str) -> str:
    return resource_name(owner, "t", role, 1)


def left(engine: MemoryEngine) -> set[str]:
    return {each.resource.name for each in engine.listing()}


@pytest.fixture
def volume(memory: MemoryEngine) -> Resource:
    """Return a volume that a dead run left, beside what is to stay."""
    memory.add(Kind.VOLUME, "somebody's")
    memory.add(Kind.VOLUME, name(ME, "mine"), labels=labels(ME))
    return memory.add(Kind.VOLUME, name(DEAD, "left"), labels=labels(DEAD))


STAYS = {"somebody's", name(ME, "mine")}


def test_collect_removes_what_dead_runs_left_and_says_so(
    shell: Shell, memory: MemoryEngine, volume: Resource
) -> None:
    """One line for each thing, with the reason, and how many there were."""
    said = shell("collect")
    assert said.out == (
        f"removed volume {volume.name}: process {DEAD.pid} ended\nremoved 1 in all\n"
    )
    assert (said.status, said.err) == (0, "")
    assert left(memory) == STAYS


def test_a_dry_run_removes_nothing(
    shell: Shell, memory: MemoryEngine, volume: Resource
) -> None:
    """Who hesitates can look first."""
    said = shell("collect", "--dry-run")
    assert said.out == (
        f"would remove volume {volume.name}: process {DEAD.pid} ended\n"
        "would remove 1 in all\n"
    )
    assert (said.status, said.err) == (0, "")
    assert left(memory) == STAYS | {volume.name}


@pytest.mark.parametrize(
    ("options", "key"), [((), "removed"), (("--dry-run",), "would_remove")]
)
@pytest.mark.usefixtures("volume")
def test_json_tells_the_same_to_programs(
    shell: Shell, options: tuple[str, ...], key: str
) -> None:
    """The keys are a promise."""
    said = shell("collect", "--json", *options)
    assert said.status == 0
    assert said.json == {
        key: [
            {
                "kind": "volume",
                "name": name(DEAD, "left"),
                "reason": f"process {DEAD.pid} ended",
            }
        ],
        "failures": [],
    }


def test_what_could_not_be_removed_makes_it_fail(
    shell: Shell, memory: MemoryEngine, volume: Resource
) -> None:
    """A script notices, and a person reads what and why."""
    memory.add(Kind.CONTAINER, "somebody's", uses=[volume])
    said = shell("collect")
    assert said.status == 1
    assert said.out == "removed 0 in all\n"
    assert said.err.startswith(f"left: remove volume {volume.name}: ")
    assert "volume is in use" in said.err
    said = shell("collect", "--json")
    assert said.status == 1
    assert said.json["removed"] == []
    assert "volume is in use" in said.json["failures"][0]


def test_what_was_kept_is_removed_only_when_asked_for(
    shell: Shell, memory: MemoryEngine
) -> None:
    """Nobody loses what he is looking at by tidying up."""
    container = name(DEAD, "kept")
    memory.add(Kind.CONTAINER, container, labels=labels(DEAD, keep=True))
    assert shell("collect").out == "removed 0 in all\n"
    assert left(memory) == {container}
    assert shell("collect", "--kept").out.startswith(f"removed container {container}")
    assert left(memory) == set()


def test_images_go_by_the_days_that_are_given(
    shell: Shell, memory: MemoryEngine
) -> None:
    """Who needs the space now need not wait for a week."""
    age = timedelta(days=2)
    memory.add(Kind.IMAGE, CACHED, created=memory.now() - age)
    assert shell("collect").out == "removed 0 in all\n"
    assert shell("collect", "--image-retention-days", "1.5").out == (
        f"removed image {CACHED}: unused for 2.0 days\nremoved 1 in all\n"
    )


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("days", ["-1", "nan", "inf", "1e300"])
def test_days_that_make_no_sense_are_refused(shell: Shell, days: str) -> None:
    """A slip of the finger removes nothing."""
    said = shell("collect", f"--image-retention-days={days}")
    assert said.status == 2
    assert said.out == ""
    assert "dockerImageRetentionDays must be from 0 to 1000000, got" in said.err


def test_without_an_engine_it_says_where_it_looked(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, no trace of the program's inside."""

    def connect(_environment: Mapping[str, str], *, timeout: float) -> MemoryEngine:
        raise EngineUnreachableError(
            "unix:///x.sock", f"no answer within {timeout:g} s"
        )

    monkeypatch.setattr(ApiEngine, "connect", connect)
    said = shell("collect")
    assert (said.status, said.out) == (2, "")
    assert said.err == (
        "pysys-orch: no Docker Engine answers at unix:///x.sock "
        "(no answer within 5 s): start one, or set DOCKER_HOST\n"
    )


def test_without_a_command_it_says_what_there_is(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who types just the name is told what to type."""
    with pytest.raises(SystemExit) as end:
        shell()
    assert end.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_it_tells_its_version(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    """A report of a defect can say which version it is about."""
    with pytest.raises(SystemExit) as end:
        shell("--version")
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_it_can_be_started_as_a_program(tmp_path: Path) -> None:
    """The exit status is that of the command."""
    program = "import sys; from pysys_orch.cli import main; sys.exit(main())"
    environment = {
        "DOCKER_HOST": f"unix://{tmp_path}/missing.sock",
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "collect"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"pysys-orch: no Docker Engine answers at unix://{tmp_path}/missing.sock "
        "(no such file or directory): start one, or set DOCKER_HOST\n"
    )


@pytest.mark.docker
@pytest.mark.engine20
def test_a_real_engine_is_collected(shell: Shell, engine: ApiEngine) -> None:
    """What the command shows is what it then removes."""
    start = round(SystemClock().stamp().timestamp() * 1000)
    dead = Owner(scope=HERE.scope, pid=DEAD.pid, start=start)
    kept, garbage, others = name(dead, "kept"), name(dead, "left"), f"of-{start}"

    def there() -> set[str]:
        found = {each.resource.name for each in engine.listing()}
        return found & {kept, garbage, others}

    engine.create_volume(others, {})
    engine.create_volume(kept, labels(dead, keep=True))
    try:
        shown = shell("collect", "--dry-run", "--json").json["would_remove"]
        assert kept not in {row["name"] for row in shown}
        shown = shell("collect", "--dry-run", "--json", "--kept").json["would_remove"]
        reason = f"process {dead.pid} ended"
        assert {"kind": "volume", "name": kept, "reason": reason} in shown
        assert there() == {kept, others}
        engine.create_volume(garbage, labels(dead))
        said = shell("collect")
        assert said.status in {0, 1}, "others may have things in use"
        assert there() == {kept, others}
    finally:
        for each in (kept, others):
            engine.remove(Resource(kind=Kind.VOLUME, id=each, name=each))


# The mock of SquadCast.


def test_a_mock_of_squadcast_shows_what_it_is_told() -> None:
    """Until it is interrupted; the key is shown nowhere."""
    key = "0123456789abcdef"
    program = "from pysys_orch.cli import main; raise SystemExit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "mock-squadcast", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "ESCALATION_KEY": key},
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(";")
        event = {"event_id": "a", "status": "resolve"}
        path = f"{url}/v2/incidents/api/{key}"
        assert requests.post(path, json=event, timeout=10).status_code == 202
        said = [process.stdout.readline() for _ in range(2)]
        assert said[0].endswith(" 202: taken in\n")
        assert json.loads(said[1]) == event
        # Who runs in the background of a script may be deaf to SIGINT.
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_a_mock_that_cannot_be_served_says_why(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is missing, or a port is taken."""
    monkeypatch.delenv("ESCALATION_KEY", raising=False)
    said = shell("mock-squadcast", "--port", "0")
    assert said.status == 2
    assert "ESCALATION_KEY is not set" in said.err

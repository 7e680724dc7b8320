"""The writer, in real runs of PySys against a real server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pysys_orch.cli import main
from pysys_orch.clock import SystemClock
from pysys_orch.escalation import MockSquadCast
from tests.docker.owned import eventually
from tests.nested import NestedProject
from tests.postgres import PASSWORD, database_url, free_port

KEY = "0123456789abcdef0123456789abcdef01234567"
WRITER = "pysys_orch.escalation.SquadCastWriter"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockSquadCast]:
    monkeypatch.setenv("ESCALATION_KEY", KEY)
    with MockSquadCast.running(duplicates="open") as server:
        yield server


BODY = """
    if pathlib.Path(self.input, 'broken.txt').read_text() == 'yes':
        self.addOutcome(FAILED, 'it broke')
"""
#: The key, in a way that it is not in the test's own file.
SAYING_IT = f"""
    assert 'ESCALATION_KEY' not in os.environ
    self.addOutcome(FAILED, 'it is ' + '{KEY[:20]}' + '{KEY[20:]}')
"""
WAKING = """
    squadcast = self.runner.squadcast
    squadcast.escalate('soak', 'throughput is down', '**a lot**')
    def again(stopping, log):
        squadcast.escalate('soak', 'again')
    self.startBackgroundThread('again', again).join()
    squadcast.escalate('other', 'is down')
    squadcast.recover('other')
    squadcast.recover('unknown')
"""


class Nightly:
    """A suite that runs night after night, and sends to a server."""

    def __init__(
        self, folder: Path, server: MockSquadCast, *, more: str = "", **properties: str
    ) -> None:
        writer = self.writer(server, "squadcast", **properties)
        self.project = NestedProject(folder, plugin=False, properties=writer + more)
        self.folder = folder

    @staticmethod
    def writer(server: MockSquadCast, alias: str, **properties: str) -> str:
        """Return what a project says of a writer."""
        settings = {
            "escalate": "true",
            "suite": "nightly",
            "stream": "main linux",
            "url": server.url,
            "flushTimeoutSecs": "20",
            **properties,
        }
        lines = "".join(
            f'<property name="{name}" value="{value}"/>'
            for name, value in settings.items()
        )
        return f'<writer classname="{WRITER}" alias="{alias}">{lines}</writer>'

    def test(self, name: str, body: str = "", *, broken: bool = False) -> None:
        """Have a test, which fails as long as it is broken."""
        if not (self.folder / name).exists():
            self.project.test(name, body or BODY)
        (self.folder / name / "broken.txt").write_text("yes" if broken else "no")

    def run(
        self, *arguments: str, status: int | None = None, **environment: str
    ) -> str:
        given = {"ESCALATION_KEY": KEY, **environment}
        found = self.project.run(*arguments, environment=given)
        assert status is None or found == status, self.project.said()
        return self.project.said()


def bodies(server: MockSquadCast) -> list[Mapping[str, object]]:
    return [json.loads(each.body) for each in server.requests]


def telling(folder: Path, secret: str) -> set[str]:
    """Return the names of all files with a secret in them."""
    files = [each for each in folder.rglob("*") if each.is_file()]
    return {each.name for each in files if secret.encode() in each.read_bytes()}


def test_a_red_night_opens_an_incident_and_a_green_one_resolves_it(
    tmp_path: Path, server: MockSquadCast
) -> None:
    """One, however many tests fail, and however many nights they do."""
    nightly = Nightly(tmp_path, server)
    for name in ("a", "b", "c"):
        nightly.test(name, broken=name != "c")
    for _ in range(2):
        nightly.run(status=2)
    (opened,) = server.open_incidents()
    assert opened["message"] == "[main linux] nightly: 2 tests fail, 3 ran"
    assert "**a** FAILED since this run: it broke" in opened["description"]
    assert opened["tags"]["suite"] == "nightly"

    for name in ("a", "b"):
        nightly.test(name)
    nightly.run("a", status=0)
    assert server.open_incidents(), "b has not run"
    nightly.run(status=0)
    assert server.open_incidents() == []
    assert [each["status"] for each in bodies(server)] == ["trigger", "resolve"]


def test_the_key_is_nowhere(tmp_path: Path, server: MockSquadCast) -> None:
    """Not even where PySys prints the whole environment, or a test says it."""
    nightly = Nightly(tmp_path, server)
    nightly.test("a", SAYING_IT)
    server.fail_with(503, text=f"no {KEY}")
    said = nightly.run("-v", "DEBUG", status=2)
    assert [each.status for each in server.requests] == [503, 202]
    (opened,) = server.open_incidents()
    assert "it is ***" in opened["description"]
    # The test itself has said it, and that is all.
    assert {line for line in said.splitlines() if KEY in line} <= {
        line for line in said.splitlines() if "it is " in line
    }
    assert telling(tmp_path, KEY) <= {"run.log", "run.txt", "results.json"}


def test_what_could_not_be_sent_is_sent_by_the_next_run(
    tmp_path: Path, server: MockSquadCast
) -> None:
    """Under the same id, with the same words."""
    nightly = Nightly(tmp_path, server, flushTimeoutSecs="0.5")
    nightly.test("a", broken=True)
    server.fail_with(503, times=50)
    said = nightly.run(status=2)
    assert "the rest is sent by the next run" in said
    assert server.open_incidents() == []
    server._faults.clear()
    before = bodies(server)
    nightly.run(status=2)
    assert len(server.open_incidents()) == 1
    assert all(each == before[0] for each in bodies(server))


def test_a_service_that_hangs_delays_a_run_by_no_more_than_it_may(
    tmp_path: Path, server: MockSquadCast
) -> None:
    """And changes nothing else about it."""
    nightly = Nightly(tmp_path, server, flushTimeoutSecs="1")
    nightly.test("a", broken=True)
    server.hang(times=50)
    said = nightly.run(status=2)
    assert "FAILED" in said


def test_nothing_is_done_without_being_asked(
    tmp_path: Path, server: MockSquadCast
) -> None:
    """Not on a developer's machine, and not for other streams."""
    for properties in ({"escalate": "false"}, {"onlyStreams": "release *"}):
        nightly = Nightly(tmp_path / str(len(properties)), server, **properties)
        nightly.test("a", broken=True)
        nightly.run("--record", status=2)
    assert server.requests == []


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"sute": "x"}, "the writer has no property 'sute', did you mean suite?"),
        ({"key": KEY}, "the writer has no property 'key'"),
        ({"groupBy": "Suite"}, "groupBy: there is no 'Suite', did you mean suite?"),
        ({"outcomes": "FALED"}, "outcomes: there is no 'FALED', did you mean FAILED?"),
        ({"repeatAfter": "a week"}, "repeatAfter is a number with s, m, h, d or w"),
        ({"failuresBeforeTrigger": "0"}, "failuresBeforeTrigger is at least 1, got 0"),
        ({"stream": ""}, "stream is not set"),
        ({"mutes": "none.yml"}, "none.yml cannot be read: No such file"),
        ({"link": "https://$NIX"}, "link names $NIX"),
        ({"keyVariable": "NO_KEY"}, "the environment variable NO_KEY"),
        ({"keyFile": "none"}, "none cannot be read"),
        (
            {"url": "api.squadcast.com"},
            "url is https://..., or http:// on this machine",
        ),
        ({"caFile": "none.pem"}, "none.pem"),
        ({"state": "nosuch://x"}, "the database URL of the escalation state"),
    ],
)
def test_a_mistake_in_the_project_ends_the_run_at_once(
    tmp_path: Path, server: MockSquadCast, properties: dict[str, str], words: str
) -> None:
    """With the name of the property, and what may have been meant."""
    nightly = Nightly(tmp_path, server, **properties)
    nightly.test("a")
    said = nightly.run(GITHUB_REF_NAME="", CI_COMMIT_REF_NAME="", status=10)
    assert re.search(words.replace("$", r"\$"), " ".join(said.split())), said
    assert KEY not in said


def test_a_dry_run_needs_no_key_and_sends_nothing(
    tmp_path: Path, server: MockSquadCast
) -> None:
    """What would be sent is in a file."""
    nightly = Nightly(tmp_path, server, dryRun="true", keyVariable="NO_KEY")
    nightly.test("a", broken=True)
    nightly.run(status=2)
    assert server.requests == []
    lines = (tmp_path / "__pysys_escalation.jsonl").read_text().splitlines()
    assert [json.loads(each)["body"]["status"] for each in lines] == ["trigger"]
    assert server.url not in lines[0]


def test_a_running_test_wakes_somebody_at_once(
    tmp_path: Path, server: MockSquadCast
) -> None:
    """Once, from whatever thread."""
    nightly = Nightly(tmp_path, server)
    nightly.test("a", WAKING)
    nightly.run(status=0)
    (soak,) = server.open_incidents()
    assert soak["message"] == "[main linux] nightly: soak: throughput is down"
    assert [each["status"] for each in server.history] == ["trigger", "resolve"]


ODD = """
    squadcast = self.runner.squadcast
    squadcast.escalate(7, ValueError('x'), None)
    squadcast.escalate('second', 'down', ['a list'])
    self.addOutcome(FAILED, 'it broke')
"""


def test_whatever_a_test_says_it_is_told(tmp_path: Path, server: MockSquadCast) -> None:
    """As a text; and it is in nobody's way."""
    nightly = Nightly(tmp_path, server)
    nightly.test("a", ODD)
    nightly.run(status=2)
    assert [each["message"] for each in server.open_incidents()] == [
        "[main linux] nightly: 7: x",
        "[main linux] nightly: second: down",
        "[main linux] nightly: 1 test fails, 1 ran",
    ]


def test_a_dry_run_uses_up_no_incident(tmp_path: Path, server: MockSquadCast) -> None:
    """Nobody was told, so somebody will be."""
    nightly = Nightly(tmp_path, server, dryRun="true")
    nightly.test("a", broken=True)
    nightly.run(status=2)
    project = tmp_path / "pysysproject.xml"
    project.write_text(
        project.read_text().replace('"dryRun" value="true"', '"dryRun" value="false"')
    )
    nightly.run(status=2)
    assert len(server.open_incidents()) == 1


def test_two_accounts_are_told_apart(tmp_path: Path, server: MockSquadCast) -> None:
    """Each is told of everything, and only of what is meant for it."""
    with MockSquadCast.running(duplicates="open") as other:
        nightly = Nightly(tmp_path, server, more=Nightly.writer(other, "second"))
        nightly.test("a", broken=True)
        server.fail_with(503, times=100)
        nightly.run(status=2)
        nightly.run(status=2)
        assert len(other.open_incidents()) == 1
        server._faults.clear()
        nightly.run(status=2)
        assert len(server.open_incidents()) == len(other.open_incidents()) == 1


def test_where_nothing_can_be_remembered_somebody_is_told_all_the_same(
    tmp_path: Path, server: MockSquadCast
) -> None:
    """A full disk is no reason to sleep well."""
    (tmp_path / "file").mkdir()
    nightly = Nightly(tmp_path, server, state="file")
    nightly.test("a", broken=True)
    said = nightly.run(status=2)
    assert len(server.open_incidents()) == 1
    assert "it is escalated as if there were no other run" in said


def test_runners_may_share_a_database(
    tmp_path: Path, server: MockSquadCast, database: str
) -> None:
    """What one of them opens another one resolves, and none says the password."""
    runners = [
        Nightly(tmp_path / name, server, project="shop", state=database)
        for name in ("one", "two")
    ]
    for each in runners:
        each.test("a", broken=True)
        each.run("-v", "DEBUG", status=2)
    assert len(server.open_incidents()) == 1
    runners[1].test("a")
    runners[1].run("-v", "DEBUG", status=0)
    assert server.open_incidents() == []
    assert [each["status"] for each in bodies(server)] == ["trigger", "resolve"]
    assert telling(tmp_path, PASSWORD) == {"pysysproject.xml"}


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_database_that_is_down_keeps_nobody_from_being_told(
    tmp_path: Path, server: MockSquadCast, *, is_silent: bool
) -> None:
    """Whether it refuses to talk or says nothing; that is not waited for for long."""
    clock = SystemClock()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1] if is_silent else free_port()
        nightly = Nightly(
            tmp_path, server, state=database_url(port), flushTimeoutSecs="10"
        )
        nightly.test("a", broken=True)
        begin = clock.instant()
        said = nightly.run("-v", "DEBUG", status=2)
    assert clock.instant() - begin < 30
    assert len(server.open_incidents()) == 1
    assert "it is escalated as if there were no other run" in said
    assert telling(tmp_path, PASSWORD) == {"pysysproject.xml"}


class Wire:
    """What is between a runner and a database, until it is cut without a word."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._is_cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = [self._listener]
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Let nothing through any more, and close nothing."""
        self._is_cut.set()

    def close(self) -> None:
        """Close all there is."""
        for each in self._ends:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self._is_cut.is_set():
                    sink.sendall(data)


UNTIL_CUT = """
    pathlib.Path(self.output, 'is_running').touch()
    self.waitForFile(self.input + '/is_cut', timeout=60)
    self.addOutcome(FAILED, 'it broke')
"""


def test_a_database_that_falls_silent_keeps_nobody_from_being_told(
    tmp_path: Path, server: MockSquadCast, postgresql: int, database: str
) -> None:
    """Nor the run from ending: what it says no more is not waited for."""
    wire = Wire(postgresql)
    state = database.replace(f":{postgresql}/", f":{wire.port}/")
    nightly = Nightly(tmp_path, server, state=state, flushTimeoutSecs="5")
    nightly.test("a", UNTIL_CUT)
    process = nightly.project.start(environment={"ESCALATION_KEY": KEY})
    eventually(lambda: list(tmp_path.rglob("is_running")), what="a runs")
    wire.cut()
    begin = SystemClock().instant()
    (tmp_path / "a" / "is_cut").touch()
    assert process.wait(60) == 2
    assert SystemClock().instant() - begin < 40
    wire.close()
    assert len(server.open_incidents()) == 1
    said = nightly.project.said()
    assert "it is escalated as if there were no other run" in said
    assert PASSWORD not in said


def test_it_is_switched_on_without_touching_a_project(
    tmp_path: Path, server: MockSquadCast, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a file that comes with the package."""
    project = NestedProject(tmp_path, plugin=False)
    project.test("a", "\n    self.addOutcome(FAILED, 'it broke')")
    main(["escalations", "append-file"])
    environment = {
        "PYSYS_PROJECT_APPEND": capsys.readouterr().out.strip(),
        "ESCALATION_KEY": KEY,
        "ESCALATION_SUITE": "nightly-main",
        "ESCALATION_STREAM": "main linux",
        "ESCALATION_URL": server.url,
    }
    assert project.run(environment=environment) == 2
    (opened,) = server.open_incidents()
    assert opened["message"] == "[main linux] nightly-main: 1 test fails, 1 ran"


WAITING = """
    self.addOutcome(FAILED, 'it broke')
    pathlib.Path(self.output, 'is_running').touch()
    self.pollWait(60)
"""


@pytest.mark.parametrize("fails", [True, False])
def test_a_run_that_is_aborted_decides_nothing(
    tmp_path: Path, server: MockSquadCast, *, fails: bool
) -> None:
    """It may have been about to pass; that it was aborted shows in its status."""
    nightly = Nightly(tmp_path, server, failRunIfAborted=str(fails).lower())
    nightly.test("a")
    nightly.run(status=0)
    told = len(server.requests)
    nightly.test("b", WAITING)
    process = nightly.project.start(environment={"ESCALATION_KEY": KEY})
    eventually(lambda: list(tmp_path.rglob("is_running")), what="b runs")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == (10 if fails else 2)
    said = nightly.project.said()
    assert "the run was aborted: what it did counts for nothing" in said
    assert len(server.requests) == told


def test_modes_and_cycles_are_one_test(tmp_path: Path, server: MockSquadCast) -> None:
    """Which is flaky, if it fails in some of them."""
    nightly = Nightly(tmp_path, server, groupBy="test")
    nightly.test(
        "a", "\n    self.addOutcome(FAILED if self.testCycle == 2 else PASSED)"
    )
    nightly.run("--cycle", "3", status=2)
    (opened,) = server.open_incidents()
    assert opened["tags"]["group"] == "a"
    assert "flaky: it also passed" in opened["description"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        with contextlib.suppress(OSError):
            (folder / "filler").write_bytes(b"x" * 64 * 1024)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_keeps_nobody_from_being_told(
    tmp_path: Path, server: MockSquadCast, full_disk: Path
) -> None:
    """And once there is room again, all is as it should be."""
    nightly = Nightly(
        tmp_path / "project", server, state=str(full_disk / "state.db"), groupBy="test"
    )
    nightly.test("a", broken=True)
    said = nightly.run(status=2)
    assert re.search("state.db cannot be used: .*disk", said)
    assert [each["tags"]["group"] for each in server.open_incidents()] == ["a"]
    (full_disk / "filler").unlink()
    nightly.run(status=2)
    nightly.test("a")
    nightly.run(status=0)
    assert server.open_incidents() == []

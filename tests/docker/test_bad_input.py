"""What goes wrong ends a test with a reason that says what, why and where to look."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.errors import NotFoundError
from tests.conftest import BUSYBOX
from tests.nested import NestedProject, Result

#: An image that is nowhere: nobody serves a registry at that port.
NOWHERE = "127.0.0.1:1/no-such/image:7"
#: A container that exists already, and is not ours.
BYSTANDER = f"bystander-of-bad-input-{os.getpid()}"

WEB = f"self.docker.container('{BUSYBOX}', 'web')"
SLEEPER = f"{WEB}.run(['sleep', '600'])"
DYING = "['sh', '-c', 'echo starting; echo no config >&2; exit 3']"
#: An engine tells no order between the two streams.
LAST_WORDS = "its last words: (starting ; no config|no config ; starting)"
BUILD = "self.docker.image(dockerfile='Dockerfile')"
FROM = f"FROM {BUSYBOX}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something that goes wrong in a test.

    Attributes:
        body: What the test does.
        outcome: What becomes of it.
        reason: Regular expression of the whole reason.
        dockerfile: The text of the file ``Dockerfile`` in the test's folder.
        evidence: Names of files in the output directory, each with a regular expression
            of what is in it.
    """

    body: str
    reason: str
    outcome: str = "BLOCKED"
    dockerfile: str = FROM
    evidence: Mapping[str, str] = field(default_factory=dict)


BUILDS = {
    "missing_dockerfile": Case(
        body="self.docker.image(dockerfile='Dockerfiel')",
        reason=r"Dockerfile .*/Dockerfiel does not exist, did you mean Dockerfile\?",
    ),
    "missing_context": Case(
        body="self.docker.image(dockerfile='Dockerfile', context='contxt')",
        reason=r"build context .*/contxt does not exist \(there is .*Dockerfile.*\)",
    ),
    "missing_other_file": Case(
        body="self.docker.image(dockerfile='Dockerfile', otherfiles=['Dockerfil'])",
        reason=r".*/Dockerfil'.* does not exist; did you mean 'Dockerfile'\?",
    ),
    "syntax_error": Case(
        body=BUILD,
        dockerfile=f"{FROM}RNU echo\n",
        reason=r"`docker build syntax_error/Dockerfile` exited with 1: .*"
        r"line 2: unknown instruction: RNU.* \(see docker_build.err\)",
        evidence={"docker_build.err": "unknown instruction: RNU"},
    ),
    "no_stage": Case(
        # An engine of release 26.1 that is given such a file crashes.
        body=BUILD,
        dockerfile="ARG NAME=value\n# FROM is missing\n",
        reason="/.*/no_stage/Dockerfile has no FROM instruction.*",
    ),
    "unknown_base": Case(
        body=BUILD,
        dockerfile=f"FROM {NOWHERE}\n",
        reason=rf"`docker build .*{NOWHERE}.* \(see docker_build.err\)",
        evidence={"docker_build.err": f"{NOWHERE}.*connection refused"},
    ),
    "failing_step": Case(
        body=BUILD,
        dockerfile=f"{FROM}RUN echo no luck; exit 3\n",
        reason=r"`docker build failing_step/Dockerfile` exited with 1: "
        r".*echo no luck; exit 3.*: 3 \(see docker_build.err\)",
        evidence={"docker_build.err": "no luck"},
    ),
    "slow_build": Case(
        body="self.docker.image(dockerfile='Dockerfile', timeout=1)",
        dockerfile=f"{FROM}RUN echo it begins; sleep 600\n",
        outcome="TIMED OUT",
        reason="docker build slow_build/Dockerfile timed out after 1 seconds",
    ),
    "build_argument": Case(
        body="self.docker.image(dockerfile='Dockerfile', buildArgs=['COLOUR'])",
        reason="buildArgs takes NAME=value, got 'COLOUR'",
    ),
    "build_arguments_as_text": Case(
        body="self.docker.image(dockerfile='Dockerfile', buildArgs='A=1')",
        reason="buildArgs takes a list of NAME=value, got the text 'A=1'",
    ),
    "unknown_image_to_pull": Case(
        body=f"self.docker.image('{NOWHERE}', pull=True)",
        reason=rf"`docker pull {NOWHERE}` exited with 1: .*connection refused "
        r"\(see docker_pull.err\)",
        evidence={"docker_pull.err": "connection refused"},
    ),
}

RUNS = {
    "unknown_image": Case(
        body=f"self.docker.container('{NOWHERE}').run()",
        reason=rf"`docker pull {NOWHERE}` exited with 1: .*connection refused "
        r"\(see docker_pull.err\)",
        evidence={"docker_pull.err": "connection refused"},
    ),
    "unknown_image_with_arguments": Case(
        body=f"self.docker.container('{NOWHERE}').run(extraArgs=['--init'])",
        reason=rf"`docker run {NOWHERE} as image` exited with 125: .*"
        r"connection refused\.? \(see docker_run.err\)",
        evidence={"docker_run.err": f"Unable to find image '{NOWHERE}'"},
    ),
    "unknown_argument": Case(
        body=f"{WEB}.run(extraArgs=['--no-such-option'])",
        reason=r"`docker run .* as web` exited with 125: "
        r"unknown flag: --no-such-option \(see docker_run.err\)",
        evidence={"docker_run.err": "--no-such-option"},
    ),
    "wrong_argument": Case(
        body=f"{WEB}.run(extraArgs=['--memory', 'lots'])",
        reason=r"`docker run .* as web` exited with 125: .*'lots'.*",
        evidence={"docker_run.err": "lots"},
    ),
    "unknown_command": Case(
        body=f"{WEB}.run(['no-such-command'])",
        reason='start container web: .*"no-such-command": executable file not found.*',
        evidence={"web.inspect.json": "no-such-command"},
    ),
    "unknown_command_with_arguments": Case(
        body=f"{WEB}.run(['no-such-command'], extraArgs=['--hostname=web'])",
        reason=r"`docker run .* as web` exited with 127: .*no-such-command.*",
        evidence={
            "docker_run.err": "no-such-command",
            "web.inspect.json": "no-such-command",
        },
    ),
    "name_of_another": Case(
        body=f"{WEB}.run(['sleep', '600'], extraArgs=['--name', '{BYSTANDER}'])",
        reason=rf"`docker run .* as web` exited with 125: .*{BYSTANDER}.* in use.*",
    ),
    "failing_command": Case(
        body=f"{WEB}.run({DYING}, foreground=True)",
        reason=rf"container web exited with exit code 3, {LAST_WORDS} "
        r"\(see docker_run_web.out\)",
        evidence={
            "docker_run_web.out": "^starting$",
            "docker_run_web.err": "^no config$",
            "web.inspect.json": '"ExitCode": 3',
        },
    ),
    "silent_failing_command": Case(
        body=f"{WEB}.run(['false'], foreground=True, extraArgs=['--rm'])",
        reason="container web exited with exit code 1, it logged nothing .*",
    ),
    "slow_command": Case(
        body=f"{WEB}.run(['sleep', '600'], foreground=True, timeout=1)",
        outcome="TIMED OUT",
        reason="container web ends: not within 1 s",
        evidence={"web.inspect.json": '"Running": true'},
    ),
    "run_twice": Case(
        body=f"{SLEEPER}.run(['true'])",
        reason="run: container web has been run already",
    ),
    "expose_too_late": Case(
        body=f"{SLEEPER}.exposePort(80)",
        reason="exposePort: container web has been run already",
    ),
    "mount_too_late": Case(
        body=f"{SLEEPER}.volumeFromHost(self.output, '/output')",
        reason="volumeFromHost: container web has been run already",
    ),
    "missing_path": Case(
        body=f"{WEB}.volumeFromHost(self.output + '/missing', '/data')",
        reason="host path /.*/missing does not exist: make it first",
    ),
    "relative_path": Case(
        body=f"{WEB}.volumeFromHost('data', '/data')",
        reason="volumeFromHost takes an absolute host path, got 'data'",
    ),
    "relative_path_inside": Case(
        body=f"{WEB}.volumeFromHost(self.output, 'data')",
        reason="volumeFromHost takes an absolute path in the container, got 'data'",
    ),
    "port_by_name": Case(
        body=f"{WEB}.exposePort('http')",
        reason="a port is a number from 1 to 65535, got 'http'",
    ),
    "port_never_exposed": Case(
        body=f"{SLEEPER}.getExternalPort(80)",
        reason="port 80/tcp of container web was never exposed: "
        r"call exposePort\(80\) before run\(\)",
        evidence={"web.inspect.json": "PortBindings"},
    ),
    "port_of_none": Case(
        body=f"{WEB}.exposePort(80).getExternalPort(80)",
        reason=r"container web does not run: call run\(\) first",
    ),
    "log_of_none": Case(
        body=f"{WEB}.log('web')",
        reason=r"container web does not run: call run\(\) first",
    ),
    "log_after_removal": Case(
        body=f"""
            web = {SLEEPER}
            DockerHelper._executeDockerCommand(self, ['rm', '-f', web.getName()])
            web.log('web')
        """,
        reason="container web was removed",
    ),
    "existing_is_none": Case(
        body="DockerContainer.fromExisting(self, 'no-such-container')",
        reason="there is no container no-such-container",
    ),
    "pause_of_the_dead": Case(
        body=f"""
            web = {WEB}.run(['true'])
            web.waitForExit()
            web.pause()
        """,
        reason="pause container web: .*is not running.*",
    ),
    "exec_in_the_dead": Case(
        body=f"""
            web = {WEB}.run(['true'])
            web.waitForExit()
            web.exec(['ls', '/'])
        """,
        reason=r"`docker exec web ls /` exited with 1: .*is not running "
        r"\(see docker_exec_web.err\)",
        evidence={"docker_exec_web.err": "is not running"},
    ),
    "failing_exec": Case(
        body=f"{SLEEPER}.exec(['sh', '-c', 'echo no luck >&2; exit 4'])",
        reason=r"`docker exec web sh -c echo no luck >&2; exit 4` exited with 4: "
        r"no luck \(see docker_exec_web.err\)",
        evidence={"docker_exec_web.err": "^no luck$"},
    ),
    "exec_on_a_full_disk": Case(
        body=f"""
            disk = self.docker.volume(size='1m')
            web = {WEB}.mountVolume(disk, '/data').run(['sleep', '600'])
            web.exec('dd if=/dev/zero of=/data/file bs=65536 count=32')
        """,
        reason=r"`docker exec web dd .*` exited with 1: dd: .*No space left on device "
        r"; 17\+0 records in ; 16\+0 records out \(see docker_exec_web.err\)",
    ),
    "unknown_command_of_exec": Case(
        body=f"{SLEEPER}.exec('no-such-command now')",
        reason="`docker exec web no-such-command now` exited with 12[67]: .*"
        '"no-such-command".*not found.*',
    ),
    "slow_exec": Case(
        body=f"{SLEEPER}.exec(['sleep', '600'], timeout=1)",
        outcome="TIMED OUT",
        reason="docker exec web sleep 600 timed out after 1 seconds",
    ),
    "copy_of_nothing": Case(
        body=f"{SLEEPER}.copyTo('missing.txt', '/tmp')",
        reason="copyTo: /.*/missing.txt does not exist",
    ),
    "copy_of_nothing_inside": Case(
        body=f"{SLEEPER}.copyFrom('/missing.txt', 'copied')",
        reason=r"`docker cp` exited with 1: .*/missing.txt.*\(see docker_cp.err\)",
        evidence={"docker_cp.err": "/missing.txt"},
    ),
    "failing_docker_command": Case(
        body="DockerHelper._executeDockerCommand(self, ['no-such-command'])",
        reason=r"`docker no-such-command` exited with 1: .*'no-such-command'.*"
        r"\(see docker_no-such-command.err\)",
        evidence={"docker_no-such-command.err": "no-such-command"},
    ),
    "slow_docker_command": Case(
        body="DockerHelper._executeDockerCommand(self, ['events'], timeout=1)",
        outcome="TIMED OUT",
        reason="docker events timed out after 1 seconds",
    ),
}

WAITS = {
    "port_of_the_dead": Case(
        body=f"{WEB}.exposePort(80).run({DYING}).waitForPort(80)",
        reason=f"container web exited with exit code 3, {LAST_WORDS}",
        evidence={
            "web.inspect.json": '"ExitCode": 3',
            "web.events.json": '"action": "die"',
            "web.out": "^starting$",
            "web.err": "^no config$",
        },
    ),
    "port_of_the_silent": Case(
        body=f"{WEB}.exposePort(80).run(['sleep', '600']).waitForPort(80, timeout=1)",
        outcome="TIMED OUT",
        reason="port 80/tcp of web accepts connections: not within 1 s",
    ),
    "log_of_the_dead": Case(
        body=f"{WEB}.run({DYING}).waitForLog('ready')",
        reason=f"container web exited with exit code 3, {LAST_WORDS}",
        evidence={"web.out": "^starting$", "web.err": "^no config$"},
    ),
    "log_of_the_silent": Case(
        body=f"{WEB}.run('sh -c \"echo almost; sleep 600\"')"
        ".waitForLog('ready', timeout=1)",
        outcome="TIMED OUT",
        reason="web logs 'ready': not within 1 s",
        evidence={"web.out": "^almost$"},
    ),
    "log_of_an_error": Case(
        body=f"{WEB}.run('sh -c \"echo all is lost; sleep 600\"')"
        ".waitForLog('ready', errorExpr='(all|much) is lost')",
        reason="web logged 'all is lost', before any 'ready'",
        evidence={"web.out": "^all is lost$"},
    ),
    "log_by_no_expression": Case(
        body=f"{SLEEPER}.waitForLog('(ready')",
        reason=r"'\(ready' is no regular expression: missing \).*",
    ),
    "health_without_check": Case(
        body=f"{SLEEPER}.waitForHealthy()",
        reason="web has no health check: .*HEALTHCHECK.*",
    ),
    "ill_health": Case(
        body="""
            image = self.docker.image(dockerfile='Dockerfile')
            self.docker.container(image, 'web').run(['sleep', '600']).waitForHealthy(1)
        """,
        dockerfile=f"{FROM}HEALTHCHECK --interval=10ms CMD false\n",
        outcome="TIMED OUT",
        reason="web is healthy: not within 1 s",
        evidence={"web.inspect.json": '"Health"'},
    ),
    "http_of_another_kind": Case(
        body=f"{WEB}.exposePort(80).run(['httpd', '-f', '-p', '80'], ['--user=root'])"
        ".waitForHttp(80, '/page', timeout=1)",
        outcome="TIMED OUT",
        reason="GET /page at port 80/tcp of web answers 200: not within 1 s "
        r"\(last: status 404\)",
    ),
    "exit_that_never_comes": Case(
        body=f"{SLEEPER}.waitForExit(timeout=1)",
        outcome="TIMED OUT",
        reason="container web ends: not within 1 s",
    ),
    "lack_of_memory": Case(
        body=f"{WEB}.run(['tail', '/dev/zero'], ['--memory=10m'], foreground=True)",
        # An engine that is busy does not always hear of it.
        reason=r"container web was killed(, perhaps)? for lack of memory "
        r"\(limit 10 MiB, exit code 137\), .*",
        evidence={"web.inspect.json": '"ExitCode": 137'},
    ),
}

GOES_ON = {
    "build": "image = self.docker.image(dockerfile='Dockerfile', abortOnError=False)",
    "pull": f"self.docker.image('{NOWHERE}', pull=True, abortOnError=False)",
    "run": f"{WEB}.run(extraArgs=['--no-such-option'], abortOnError=False)",
    "run_of_unknown_image": f"self.docker.container('{NOWHERE}')"
    ".run(abortOnError=False)",
    "run_of_unknown_command": f"{WEB}.run(['no-such-command'], abortOnError=False)",
    "run_in_foreground": f"{WEB}.run(['false'], foreground=True, abortOnError=False)",
    "run_twice": f"{WEB}.run(['true']).run(['true'], abortOnError=False)",
    "exec": f"{SLEEPER}.exec(['false'], abortOnError=False)",
    "docker_command": "DockerHelper._executeDockerCommand("
    "self, ['no-such-command'], abortOnError=False)",
}

CASES = {**BUILDS, **RUNS, **WAITS}

#: A test that fails without any fault of its containers.
ASSERTION = f"""
    image = self.docker.image('{BUSYBOX}')
    script = 'echo out of $0; echo err of $0 >&2; exec sleep 600'
    followed = DockerContainer.fromImage(image, 'followed').exposePort(80)
    followed.run(['sh', '-c', script, 'one']).log('mine').waitForLog('out')
    quiet = DockerContainer.fromImage(image, 'quiet').run(['sh', '-c', script, 'two'])
    again = DockerContainer.fromImage(image, 'quiet')
    again.run(['sh', '-c', 'seq 1 5000; echo the end'], extraArgs=['--init'])
    again.waitForExit()
    self.docker.container('{BUSYBOX}', 'fine').run(['true'], foreground=True)
    self.assertThat('wanted == 2', wanted=1)
"""


@pytest.fixture(scope="module")
def results(
    engine: ApiEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Result]]:
    """Return what became of a run in which each test goes wrong."""
    project = NestedProject(tmp_path_factory.mktemp("bad_input"))
    for name, case in CASES.items():
        project.test(name, case.body, Dockerfile=case.dockerfile)
    for name, body in GOES_ON.items():
        text = f"{body}\npathlib.Path(self.output, 'went_on').write_text('it did')"
        project.test(f"goes_on_{name}", text, Dockerfile=f"{FROM}RNU echo\n")
    project.test("assertion", ASSERTION)
    with bystander(engine):
        project.run("--threads", "4")
        yield project.results()


@contextmanager
def bystander(engine: ApiEngine) -> Iterator[None]:
    """Keep a container of somebody else running."""
    body = {"Image": BUSYBOX, "Cmd": ["sleep", "3600"]}
    container = engine.create_container(BYSTANDER, body)
    try:
        engine.start_container(container)
        yield
    finally:
        resource = Resource(kind=Kind.CONTAINER, id=container, name=BYSTANDER)
        with suppress(NotFoundError):
            engine.remove(resource)


@pytest.mark.docker
@pytest.mark.parametrize("name", CASES)
def test_a_reason_says_what_went_wrong_and_where_to_look(
    name: str, results: dict[str, Result]
) -> None:
    """One line names the value, and the files that it points to are there."""
    case, result = CASES[name], results[name]
    assert result.outcome == case.outcome, result
    assert re.fullmatch(case.reason, result.reason), result.reason
    for file, expression in case.evidence.items():
        text = (result.output / file).read_text(encoding="utf-8")
        assert re.search(expression, text, re.MULTILINE), f"{file}: {text}"


@pytest.mark.docker
@pytest.mark.parametrize("name", GOES_ON)
def test_a_test_may_go_on_after_an_error(name: str, results: dict[str, Result]) -> None:
    """With ``abortOnError=False`` the test is BLOCKED, but comes to its end."""
    result = results[f"goes_on_{name}"]
    assert result.outcome == "BLOCKED", result
    assert (result.output / "went_on").exists()


@pytest.mark.docker
def test_a_failed_test_leaves_what_explains_its_containers(
    results: dict[str, Result],
) -> None:
    """Of each container: all that the engine knew of it, its events, its full log."""
    result = results["assertion"]
    assert result.outcome == "FAILED"

    def text(name: str) -> str:
        path = result.output / name
        # What is empty has been removed by PySys.
        return path.read_text(encoding="utf-8") if path.exists() else ""

    whole = "".join(f"{number}\n" for number in range(1, 5001)) + "the end\n"
    logs = {"one": "", "two": "out of two\n", "seq": whole, "true": ""}
    for stem in ("followed", "quiet", "quiet.1", "fine"):
        inspected = json.loads(text(f"{stem}.inspect.json"))
        events = json.loads(text(f"{stem}.events.json"))
        assert all(event["at"] and event["action"] for event in events)
        command = " ".join(inspected["Config"]["Cmd"])
        log = logs.pop(next(word for word in logs if word in command))
        # Which of two of one name comes first is nobody's concern.
        assert text(f"{stem}.out") == log
    assert logs == {}
    assert text("quiet.err") + text("quiet.1.err") == "err of two\n"
    # What the test has streamed already is not written again.
    assert text("mine.out") == "out of one\n"
    assert text("mine.err") == "err of one\n"
    assert not (result.output / "followed.out").exists()
    actions = [event["action"] for event in json.loads(text("followed.events.json"))]
    assert "start" in actions


@pytest.mark.docker
def test_a_name_that_another_has_is_left_to_them(
    engine: ApiEngine, results: dict[str, Result]
) -> None:
    """A test that could not have the name does not remove who has it."""
    assert results["name_of_another"].outcome == "BLOCKED"
    assert engine.inspect_container(BYSTANDER)["State"]["Running"]
    assert not list(results["name_of_another"].output.glob("*.inspect.json"))


# Engines that are not there -----------------------------------------------------------

#: Far less than anybody would wait; the default limit of one answer is 5 s.
SECONDS = 30.0


@contextmanager
def mute(server: socket.socket) -> Iterator[None]:
    """Accept connections, and never say anything."""
    held: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                held.append(server.accept()[0])

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield
    finally:
        # Not only closed: that would leave the thread where it is.
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for each in held:
            each.close()


@contextmanager
def no_socket(folder: Path) -> Iterator[str]:
    """Name a socket that does not exist."""
    yield f"unix://{folder}/missing.sock"


@contextmanager
def refused_port(folder: Path) -> Iterator[str]:
    """Name a port at which nobody listens, and that nobody else gets."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def mute_socket(folder: Path) -> Iterator[str]:
    """Name a socket at which somebody accepts and does not answer."""
    path = folder / "mute.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    with mute(server):
        yield f"unix://{path}"


@contextmanager
def mute_port(folder: Path) -> Iterator[str]:
    """Name a port at which somebody accepts and does not answer."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    with mute(server):
        yield f"tcp://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("endpoint", "cause"),
    [
        pytest.param(no_socket, "no such file or directory", id="no_socket"),
        pytest.param(refused_port, "connection refused", id="refused_port"),
        pytest.param(mute_socket, "no answer within 5 s", id="mute_socket"),
        pytest.param(mute_port, "no answer within 5 s", id="mute_port"),
    ],
)
def test_an_engine_that_does_not_answer_is_a_clear_outcome(
    endpoint: Callable[[Path], AbstractContextManager[str]], cause: str, tmp_path: Path
) -> None:
    """Nobody waits for ever, and who needs no Docker does not notice."""
    project = NestedProject(tmp_path / "project")
    for number in range(3):
        project.test(f"container_{number}", f"{WEB}.run(['true'])")
    project.test("build", BUILD, Dockerfile=FROM)
    project.test("arguments", f"{WEB}.run(['true'], extraArgs=['--init'])")
    project.test("command", "DockerHelper._executeDockerCommand(self, ['version'])")
    project.test("network", "self.docker.network()")
    project.test("existing", "DockerContainer.fromExisting(self, 'any')")
    project.test("goes_on", f"{WEB}.run(['true'], abortOnError=False)")
    project.test("no_docker", "pass")
    # A path of pytest's may be too long for a socket.
    folder = tempfile.mkdtemp(prefix="po-")
    with endpoint(Path(folder)) as host:
        environment = {"DOCKER_HOST": host, "DOCKER_CONTEXT": ""}
        begin = time.monotonic()
        assert project.run(environment=environment) != 0
        assert time.monotonic() - begin < SECONDS, project.said()
        found = project.results()
        assert found.pop("no_docker").outcome == "PASSED"
        reason = (
            f"no Docker Engine answers at {host} ({cause}): start one, or set "
            "DOCKER_HOST"
        )
        for name, result in found.items():
            assert (result.outcome, result.reason) == ("BLOCKED", reason), name

        begin = time.monotonic()
        assert project.run("no_docker", environment=environment) == 0, project.said()
        assert time.monotonic() - begin < SECONDS
    shutil.rmtree(folder)


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("how", ["property", "argument", "path"])
def test_without_the_docker_client_only_what_needs_it_fails(
    how: str, tmp_path: Path
) -> None:
    """The reason names the program; what the engine does by itself goes on working."""
    missing = "/no/such/docker"
    properties = f'<property name="DOCKER_EXE" value="{missing}"/>'
    project = NestedProject(
        tmp_path, properties=properties if how == "property" else ""
    )
    project.test("build", BUILD, Dockerfile=FROM)
    project.test("arguments", f"{WEB}.run(['true'], extraArgs=['--init'])")
    project.test("command", "DockerHelper._executeDockerCommand(self, ['version'])")
    project.test("exec", f"{SLEEPER}.exec(['true'])")
    project.test(
        "without",
        f"""
            network = self.docker.network()
            web = {WEB}.joinNetwork(network, 'web').exposePort(8000)
            web.run(['httpd', '-f', '-p', '8000', '-h', '/tmp']).log('web')
            web.waitForPort(8000).waitForHttp(8000, '/', status=404)
            web.pause().unpause().restart(timeout=0).stop(timeout=0)
            self.assertThat('there', there=bool(web.commit().getName()))
            self.assertThat('networks', networks=network.getNetworks())
        """,
    )
    arguments = [f"-XDOCKER_EXE={missing}"] if how == "argument" else []
    environment = {"PATH": "/no/such"} if how == "path" else {}
    named = "docker" if how == "path" else missing

    assert project.run(*arguments, environment=environment) != 0

    found = project.results()
    assert found.pop("without").outcome == "PASSED", project.said()
    for name, result in found.items():
        assert result.outcome == "BLOCKED", name
        assert result.reason.startswith(f"there is no program {named}: "), name
        assert "DOCKER_EXE" in result.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dockerAnswerTimeoutSecs", "soon"),
        ("dockerAnswerTimeoutSecs", "0"),
        ("dockerImageRetentionDays", "-0.5"),
        ("dockerLeaseSecs", "nan"),
        ("dockerKeep", "perhaps"),
    ],
)
@pytest.mark.parametrize("plugin", [True, False])
def test_a_property_that_makes_no_sense_is_refused(
    name: str, value: str, plugin: bool, tmp_path: Path
) -> None:
    """The plugin says so before any test runs, and each test does without it."""
    properties = f'<property name="{name}" value="{value}"/>'
    project = NestedProject(tmp_path, plugin=plugin, properties=properties)
    project.test("uses", f"{WEB}.run(['true'])")
    project.test("no_docker", "pass")

    assert project.run() != 0

    if plugin:
        assert re.search(rf"{name}.*{value}", project.said()), project.said()
        assert "Traceback" not in project.said()
        assert "Test final outcome" not in project.said()
    else:
        found = project.results()
        assert found["no_docker"].outcome == "PASSED"
        assert found["uses"].outcome == "BLOCKED"
        assert re.search(rf"{name}.*{value}", found["uses"].reason)


# Keeping what failed ------------------------------------------------------------------

KEPT = f"""
    network = self.docker.network()
    image = {SLEEPER}.commit()
    web = DockerContainer.fromImage(image, 'web').joinNetwork(network, 'web')
    web.run(['sleep', '600']).log('web')
    names = [web.getName(), network.getName(), image.getName()]
    pathlib.Path(self.output, 'names').write_text(' '.join(names))
    self.assertThat('wanted', wanted=WANTED)
"""


def collect(*arguments: str) -> None:
    """Run ``pysys-orch collect``."""
    program = "import sys; from pysys_orch.cli import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", program, "collect", *arguments], check=True)


@pytest.mark.docker
def test_what_a_failed_test_made_is_kept_if_asked_for(
    engine: ApiEngine, tmp_path: Path
) -> None:
    """It can be entered until somebody says that it may go."""

    def there(container: str, network: str, image: str) -> list[bool]:
        found = {each.resource.name for each in engine.listing()}
        return [container in found, network in found, f"{image}:latest" in found]

    project = NestedProject(tmp_path)
    project.test("fails", KEPT.replace("WANTED", "False"))
    project.test("passes", KEPT.replace("WANTED", "True"))
    assert project.run("-XdockerKeep=true") == 2

    found = project.results()
    failed, passed = (
        (found[name].output / "names").read_text().split()
        for name in ("fails", "passes")
    )
    assert there(*passed) == [False] * 3
    assert there(*failed) == [True] * 3
    container = failed[0]
    assert engine.inspect_container(container)["State"]["Running"]
    said = project.said()
    assert f"docker exec -it {container} sh" in said
    assert "pysys-orch collect --kept" in said
    assert (found["fails"].output / "web.inspect.json").exists()

    # Neither the next run nor a collection by hand takes it away, whatever they are.
    following = NestedProject(tmp_path / "next")
    following.test("no_docker", f"{WEB}.run(['true'])")
    assert following.run() == 0, following.said()
    assert there(*failed) == [True] * 3
    collect()
    assert there(*failed) == [True] * 3
    collect("--kept")
    assert there(*failed) == [False] * 3

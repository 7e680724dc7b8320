"""What goes wrong with a service ends a test soon, and with the cause."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.errors import NotFoundError
from tests.conftest import BUSYBOX
from tests.docker.owned import eventually, names_of, owned_by, running
from tests.nested import NestedProject, Result

pytestmark = [
    pytest.mark.docker,
    pytest.mark.engine20,
    pytest.mark.usefixtures("swarm"),
]

#: A secret that exists already, and is not ours.
OTHERS = f"others-secret-{os.getpid()}"
SECRET = "hunter2-is-no-good"
SERVICE = f"self.docker.service('{BUSYBOX}', 'web')"
SLEEP = "['sleep', '600']"
DYING = "['sh', '-c', 'echo starting; echo no config >&2; exit 3']"
LAST_WORDS = "its last words: (starting ; no config|no config ; starting)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something that goes wrong in a test.

    Attributes:
        body: What the test does.
        outcome: What becomes of it.
        reason: Regular expression of the whole reason.
        evidence: Names of files in the output directory, each with a regular expression
            of what is in it.
    """

    body: str
    reason: str
    outcome: str = "BLOCKED"
    evidence: Mapping[str, str] = field(default_factory=dict)


CASES = {
    "crash_loop": Case(
        body=f"{SERVICE}.run({DYING}, extraArgs=['--restart-delay=10ms'])",
        reason="service web does not come up: 2 of its tasks failed, the last one "
        f"ended with exit code 3, {LAST_WORDS}",
        evidence={
            "web.inspect.json": '"Name": "po',
            "web.tasks.json": '"ExitCode": 3',
            "web.1.*.out": "^starting$",
            "web.1.*.err": "^no config$",
        },
    ),
    "ends_at_once": Case(
        body=f"{SERVICE}.run(['true'], extraArgs=['--restart-delay=10ms'])",
        reason="service web does not come up: 2 of its tasks failed, the last one "
        "ended with exit code 0, it logged nothing",
    ),
    "missing_image": Case(
        body=f"self.docker.service('127.0.0.1:1/no-such:7', 'web').run({SLEEP})",
        reason="service web does not come up: its task was rejected: No such image: "
        "127.0.0.1:1/no-such:7",
    ),
    "missing_command": Case(
        body=f"{SERVICE}.run(['/no/such'])",
        reason="service web does not come up: its task failed: .*no such file.*",
    ),
    "missing_folder": Case(
        body=f"{SERVICE}.run({SLEEP}, extraArgs=['--mount', "
        "'type=bind,src=/no/such,dst=/data'])",
        reason="service web does not come up: its task was rejected: invalid mount "
        "config .*/no/such",
    ),
    "missing_secret": Case(
        body=f"{SERVICE}.useSecret('no-such').run({SLEEP})",
        reason="service web uses secret no-such, which is not there: create it first",
    ),
    "wrong_argument": Case(
        body=f"{SERVICE}.run({SLEEP}, extraArgs=['--no-such'])",
        reason=r"`docker service create .*` exited with 125: unknown flag: --no-such "
        r"\(see docker_service_create.err\)",
    ),
    "no_node": Case(
        body=f"{SERVICE}.run({SLEEP}, extraArgs=['--constraint=node.labels.no==such'])",
        reason=r"service web does not come up: the swarm has no suitable node \(.*\)",
    ),
    "too_slow": Case(
        outcome="TIMED OUT",
        body=f"{SERVICE}.run({SLEEP}, replicas=2, timeout=0)",
        reason="web has its replicas running: not within 0 s: 0 of 2 run.*",
    ),
    "job": Case(
        body=f"{SERVICE}.run({DYING}, foreground=True)",
        reason=f"service web exited with exit code 3, {LAST_WORDS} "
        r"\(see docker_service_web.out\)",
        evidence={
            "docker_service_web.out": "^starting$",
            "docker_service_web.err": "^no config$",
        },
    ),
    "endless_job": Case(
        outcome="TIMED OUT",
        body=f"{SERVICE}.run({SLEEP}, foreground=True, timeout=1)",
        reason="service web ends: not within 1 s: its tasks: 1 (starting|running)",
    ),
    "job_without_node": Case(
        body=f"{SERVICE}.run({SLEEP}, foreground=True, "
        "extraArgs=['--constraint=node.labels.no==such'])",
        reason=r"service web: the swarm has no suitable node \(.*\)",
    ),
    "global_without_node": Case(
        body=f"{SERVICE}.run({SLEEP}, extraArgs=['--mode=global', "
        "'--constraint=node.labels.no==such'])",
        reason="service web does not come up: the swarm has no node that satisfies its "
        "constraints",
    ),
    "job_rejected_before": Case(
        body=f"""
            name = DockerImage.generateUniqueName()
            DockerHelper._executeDockerCommand(self, ['service', 'create', '--detach',
                '--name', name, '--mode=replicated-job', '--restart-condition=none',
                '--mount=type=bind,src=/no/such,dst=/data', '{BUSYBOX}'])
            web = DockerService.fromExisting(self, name)
            web.displayName = 'web'
            while web.getTasks()[0]['Status']['State'] != 'rejected':
                self.pollWait(0.01)
            web.waitForExit(timeout=5)
        """,
        reason="service web: its task was rejected: .*/no/such",
    ),
    "job_of_none": Case(
        body=f"{SERVICE}.run({SLEEP}, foreground=True, replicas=0)",
        reason="run: a job of 0 replicas is none, let it have 1 or more",
    ),
    "killed_for_good": Case(
        body=f"""
            web = {SERVICE}.run({SLEEP}, extraArgs=['--restart-condition=none'])
            web.getContainer().kill()
            web.waitForReplicas(1)
        """,
        reason="service web does not come up: its task ended with exit code 137, it "
        "logged nothing",
    ),
    "no_such_replica": Case(
        body=f"{SERVICE}.run({SLEEP}, replicas=2).getContainer(3)",
        reason="service web has no replica 3, only 1, 2",
    ),
    "no_replica": Case(
        body=f"{SERVICE}.run({SLEEP}, replicas=0).getContainer()",
        reason="service web has no replica",
    ),
    "no_files": Case(
        body="DockerHelper._executeDockerCommand(self, ['ps'], "
        "stdouterrConfig=Config.MANUAL_CONFIG())",
        reason=r"MANUAL_CONFIG\(\) needs stdout and stderr, or stdOutErr",
    ),
    "others_container": Case(
        outcome="FAILED",
        body=f"""
            name = DockerImage.generateUniqueName()
            def docker(*arguments):
                DockerHelper._executeDockerCommand(self, arguments)
            self.addCleanupFunction(lambda: docker('rm', '--force', name))
            docker('run', '--detach', '--name', name, '{BUSYBOX}', 'echo', 'hello')
            other = DockerContainer.fromExisting(self, name, own=False)
            other.displayName = 'other'
            other.waitForExit()
            self.addOutcome(FAILED, 'on purpose')
        """,
        reason="on purpose",
        evidence={"other.inspect.json": '"Config"', "other.out": "^hello$"},
    ),
    "bad_update": Case(
        body=f"{SERVICE}.run({SLEEP}, extraArgs=['--stop-grace-period=10ms'])"
        ".update(image='127.0.0.1:1/no-such:8')",
        reason="service web does not come up: .*No such image: 127.0.0.1:1/no-such:8",
    ),
    "rolled_back": Case(
        body=f"{SERVICE}.run({SLEEP}, extraArgs=['--stop-grace-period=10ms'])"
        ".update(extraArgs=['--args', 'false', '--update-failure-action', 'rollback', "
        "'--restart-delay=10ms'])",
        reason="service web does not come up: (its update (is|was) rolled back .*|"
        "2 of its tasks failed).*ended with exit code 1.*",
    ),
    "dies_meanwhile": Case(
        body=f"{SERVICE}.run(['sh', '-c', 'sleep 0.5; echo bye; exit 4'], "
        "extraArgs=['--restart-delay=10ms']).waitForLog('never')",
        reason="service web: 2 of its tasks failed, the last one ended with exit code "
        "4, its last words: bye",
        evidence={"web.out": "^bye$"},
    ),
    "scaled_too_slowly": Case(
        outcome="TIMED OUT",
        body=f"{SERVICE}.run({SLEEP}).waitForReplicas(2, timeout=0.2)",
        reason="web has its replicas running: not within 0.2 s: 1 of 2 run",
    ),
    "no_number": Case(
        body=f"{SERVICE}.run({SLEEP}, replicas=-1)",
        reason="replicas is a number from 0 on, got -1",
    ),
    "never_exposed": Case(
        body=f"{SERVICE}.exposePort(80).run({SLEEP}).getExternalPort(81)",
        reason="port 81/tcp of service web was never exposed: call "
        r"exposePort\(81\) before run\(\)",
    ),
    "never_run": Case(
        body=f"{SERVICE}.waitForReplicas()",
        reason=r"service web does not run: call run\(\) first",
    ),
    "run_twice": Case(
        body=f"{SERVICE}.run({SLEEP}).setEnv(A=1)",
        reason="setEnv: service web has been run already",
    ),
    "no_such_service": Case(
        body="DockerService.fromExisting(self, 'no-such')",
        reason="there is no service no-such",
    ),
    "removed": Case(
        body=f"""
            web = {SERVICE}.run({SLEEP})
            DockerHelper._executeDockerCommand(self, ['service', 'rm', web.getName()])
            web.getTasks()
        """,
        reason="service web was removed",
    ),
    "others_secret": Case(
        body=f"DockerSecret.fromContent(self, '{OTHERS}', '{SECRET}')",
        reason=f"a secret {OTHERS} exists already, made by others: choose a name by "
        r"DockerImage.generateUniqueName\(\)",
    ),
    "same_secret": Case(
        body=f"""
            DockerSecret.fromContent(self, 'same-{os.getpid()}', '{SECRET}')
            DockerSecret.fromContent(self, 'same-{os.getpid()}', '{SECRET}')
        """,
        reason=f"a secret same-{os.getpid()} exists already, made by this test: .*",
    ),
    "empty_secret": Case(
        body="self.docker.secret('', name='empty')",
        reason="secret empty: secretContents is empty, which a swarm refuses",
    ),
    "large_secret": Case(
        body=f"self.docker.secret('{SECRET}' * 50000, name='large')",
        reason="secret large: secretContents has 900000 bytes, a swarm takes less than "
        "512000",
    ),
    "large_config": Case(
        body="self.docker.config(b'x' * 1024000, name='large')",
        reason="config large: configContents has 1024000 bytes, a swarm takes less "
        "than 1024000",
    ),
    "secret_name": Case(
        body=f"DockerSecret.fromContent(self, '-a', '{SECRET}')",
        reason="the name of a secret has 1 to 64 letters, .*, got '-a'",
    ),
    "secret_of_nothing": Case(
        body="DockerSecret(self, name='nothing')",
        reason="secret nothing takes either file or secretContents, got neither",
    ),
    "secret_of_number": Case(
        body="self.docker.secret(1234567, name='number')",
        reason="secretContents of secret number is str or bytes, got int",
    ),
    "missing_file": Case(
        body="DockerSecret.fromFile(self, 'name', 'pysystets.py')",
        reason=r"the file .*/pysystets.py does not exist, did you mean pysystest.py\?",
    ),
    "goes_on": Case(
        body=f"""
            web = {SERVICE}.run({SLEEP}, extraArgs=['--no-such'], abortOnError=False)
            self.assertThat('isinstance(web, DockerService)', web=web,
                DockerService=DockerService)
            self.abortOnError = False
            self.assertThat('found == []', found=web.getTasks())
        """,
        reason=r"`docker service create .*` exited with 125: unknown flag: --no-such.*",
    ),
}
SECONDS = 20  # how long the slowest may take on a busy machine


@pytest.fixture(scope="module")
def others(engine: ApiEngine, swarm: None) -> Iterator[str]:
    """Make a secret of somebody else; return its id."""
    identity = engine.create_secret(OTHERS, b"theirs", {"theirs": "yes"})
    yield identity
    engine.remove(Resource(kind=Kind.SECRET, id=identity, name=OTHERS))


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory, others: str
) -> Mapping[str, Result]:
    """Run all cases as one project."""
    project = NestedProject(tmp_path_factory.mktemp("services"))
    for name, case in CASES.items():
        project.test(name, case.body)
    project.run("-j4")
    return project.results()


@pytest.mark.parametrize("name", CASES)
def test_what_goes_wrong_is_told(name: str, results: Mapping[str, Result]) -> None:
    """One line says what, why, and what to do; files say the rest."""
    case, result = CASES[name], results[name]
    assert result.outcome == case.outcome, result.reason
    assert re.fullmatch(case.reason, result.reason), result.reason
    for pattern, expected in case.evidence.items():
        texts = [path.read_text() for path in result.output.glob(pattern)]
        assert texts, [path.name for path in result.output.iterdir()]
        for text in texts:
            assert re.search(expected, text, re.MULTILINE), (pattern, text)


def test_no_secret_is_told(results: Mapping[str, Result]) -> None:
    """Not even where it was refused."""
    for result in results.values():
        assert SECRET not in result.reason
        for path in result.output.rglob("*"):
            assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


def test_what_others_have_stays(
    engine: ApiEngine, others: str, results: Mapping[str, Result]
) -> None:
    """A name that is taken is no reason to remove what has it."""
    assert results["others_secret"].outcome == "BLOCKED"
    found = engine.inspect_data(Kind.SECRET, OTHERS)
    assert (found["ID"], found["Spec"]["Labels"]) == (others, {"theirs": "yes"})


#: A test that is always in the middle of a service's life.
BUSY = f"""
    for number in range(100):
        secret = self.docker.secret('{SECRET}')
        web = {SERVICE}.useSecret(secret).run({SLEEP}, replicas=2).log(f'web{{number}}')
        self.docker.service('{BUSYBOX}', 'job').run(['true'], foreground=True)
        web.scale(3).update(env={{'A': number}}, extraArgs=['--stop-grace-period=1ms'])
"""


@pytest.mark.parametrize("moment", [0.1, 0.3, 0.5, 0.8, 1.2, 1.7])
def test_a_run_that_is_killed_while_services_start_leaves_nothing(
    engine: ApiEngine, tmp_path: Path, moment: float
) -> None:
    """Tasks that are being started then are removed as well."""
    project = NestedProject(tmp_path)
    project.test("busy", BUSY)
    with running(project) as (process, owner):
        eventually(lambda: owned_by(engine, owner), what="it has something")
        threading.Event().wait(moment)
        process.kill()
        process.wait()
        eventually(
            lambda: not owned_by(engine, owner), what="all of it is gone", timeout=8
        )
        threading.Event().wait(0.5)
        assert owned_by(engine, owner) == [], "something came back"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_services_and_secrets_go_with_their_run(
    engine: ApiEngine, tmp_path: Path, number: signal.Signals
) -> None:
    """Nothing of a run that is killed or interrupted stays in the swarm."""
    project = NestedProject(tmp_path)
    project.test(
        "waits",
        f"""
            secret = self.docker.secret('{SECRET}')
            config = self.docker.config('text')
            web = {SERVICE}.useSecret(secret).useConfig(config).run({SLEEP}, replicas=2)
            web.log('web').waitForLog('never', timeout=300)
        """,
    )
    with running(project) as (process, owner):
        eventually(
            lambda: len(names_of(engine, owner, Kind.CONTAINER)) == 2,
            what="two tasks run",
            explain=project.said,
        )
        kinds = {each.resource.kind for each in owned_by(engine, owner)}
        assert {Kind.SERVICE, Kind.CONTAINER, Kind.SECRET, Kind.CONFIG} <= kinds
        process.send_signal(number)
        process.wait(60)
        eventually(
            lambda: not owned_by(engine, owner),
            what="all of it is gone",
            timeout=8,  # swarm itself takes more than ten
            explain=lambda: json.dumps([str(each) for each in owned_by(engine, owner)]),
        )


@pytest.mark.parametrize(
    ("node", "outcome", "words"),
    [
        (f"tcp://me:{SECRET}@127.0.0.1:1", "PASSED", "no Docker Engine answers at tcp"),
        (f"ssh://me:{SECRET}@node2", "BLOCKED", "ssh://node2 is no address: ssh asks"),
    ],
)
def test_a_password_in_a_node_s_address_is_told_nobody(
    tmp_path: Path, node: str, outcome: str, words: str
) -> None:
    """Addresses are printed when something is wrong with them, without it."""
    said = f'<property name="dockerNodes" value="{node}"/>'
    project = NestedProject(tmp_path, properties=said)
    project.test("service", f"{SERVICE}.run({SLEEP})")
    project.run()
    assert project.results()["service"].outcome == outcome, project.said()
    assert words in project.said()
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "pysysproject.xml":
            assert SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("extra", [None, ["--no-resolve-image"]])
def test_a_volume_that_a_node_makes_for_a_service_goes_with_the_run(
    engine: ApiEngine, tmp_path: Path, extra: list[str] | None
) -> None:
    """Each node has volumes of its own, so that no name can be called wrong."""
    volume = f"volume-of-a-service-{os.getpid()}"
    nested = NestedProject(tmp_path)
    body = f"""
        service = {SERVICE}.mountVolume('{volume}', '/data')
        service.run({SLEEP}, extraArgs={extra})
        self.assertThat('volume in found', volume='{volume}', found=[
            full for _, full in service.getVolumes().values()])
    """
    nested.test("mounts", body)
    assert nested.run() == 0, nested.said()
    with pytest.raises(NotFoundError):
        engine.inspect_volume(volume)

"""What goes wrong with a composition is the test's outcome, in words, in seconds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from tests.conftest import BUSYBOX
from tests.docker.owned import names_of, running
from tests.nested import NestedProject, Result

DEBIAN = "pysys-orch-test/debian:1"
#: An image that is nowhere: nobody serves a registry at that port.
NOWHERE = "127.0.0.1:1/no-such/image:7"
FROM = f"FROM {BUSYBOX}\n"
#: Far less than anybody would wait, on a busy machine too.
SECONDS = 20.0

UP = "DockerComposition(self, 'compose.yml').up()"
SLEEPER = f"""
services:
  web:
    image: {BUSYBOX}
    command: sleep 600
    ports: ["8080:80"]
"""
#: A service that takes a second to be up, so that all is looked at until then.
SLOW = f"""\
  slow:
    image: {BUSYBOX}
    command: sleep 600
    healthcheck: {{test: 'true', interval: 1s}}
"""
BUILD = """
services:
  web:
    build: ./app
    command: sleep 600
"""


def web(*lines: str) -> str:
    """Return a compose file with one service that has some more lines."""
    more = "".join(f"\n    {line}" for line in lines)
    return f"services:\n  web:\n    image: {BUSYBOX}{more}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something that goes wrong with a composition.

    Attributes:
        reason: Regular expression of the whole reason.
        compose: The text of ``compose.yml``.
        body: What the test does.
        outcome: What becomes of it.
        files: More files in the test's folder.
        evidence: Names of files in the output directory, each with a regular expression
            of what is in it.
    """

    reason: str
    compose: str = SLEEPER
    body: str = UP
    outcome: str = "BLOCKED"
    files: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, str] = field(default_factory=dict)


def substituting(option: str) -> str:
    """Return a body that gives one substitution."""
    return f"DockerComposition(self, 'compose.yml', {option}).up()"


FILES = {
    "bad_yaml": Case(
        compose="services:\n  web:\n    image: [\n  other: {}}\n",
        reason=r"/.*/bad_yaml/compose\.yml, line 4, column 12: .*flow sequence",
    ),
    "tab_in_yaml": Case(
        compose="services:\n\tweb:\n",
        reason=r"/.*/tab_in_yaml/compose\.yml, line 2, column 1: .*",
    ),
    "no_services": Case(
        compose="servces: {}\n",
        reason=r"/.*/no_services/compose\.yml: a compose file needs `services`.*",
    ),
    "empty_file": Case(
        compose="",
        reason=r"/.*/empty_file/compose\.yml: .*",
    ),
    "missing_file": Case(
        body="DockerComposition(self, 'compose.yaml').up()",
        reason=r"compose file /.*/missing_file/compose\.yaml does not exist, "
        r"did you mean compose\.yml\?",
    ),
    "missing_include": Case(
        compose=f"include: [other/compose.yml]\n{SLEEPER}",
        reason=r"included file /.*/other/compose\.yml does not exist.*",
    ),
    "missing_extended": Case(
        compose=web("extends: {file: comon.yml, service: web}"),
        files={"common.yml": SLEEPER},
        reason=r"extended file /.*/comon\.yml does not exist, "
        r"did you mean common\.yml\?",
    ),
    "unknown_option": Case(
        compose=web("comand: sleep 600"),
        reason=r"`docker compose up` of compose\.yml exited with \d+: .*comand.*"
        r"\(see compose_up\.err\)",
        evidence={"compose_up.err": "comand"},
    ),
    "missing_variable": Case(
        compose=web("command: sleep ${HOW_LONG:?say how long}"),
        reason=r"`docker compose up` of compose\.yml exited with \d+: .*HOW_LONG.*"
        r"say how long.* \(see compose_up\.err\)",
    ),
    "missing_secret": Case(
        compose=web("command: sleep 600", "secrets: [key]")
        + "secrets: {key: {file: ./secrets/key.txt}}\n",
        reason=r".*/missing_secret/secrets/key\.txt.*",
    ),
    "missing_env_file": Case(
        compose=web("command: sleep 600", "env_file: [missing.env]"),
        reason=r".*/missing_env_file/missing\.env.*",
    ),
    "external_network": Case(
        compose=f"{SLEEPER}\nnetworks: {{shared: {{external: true}}}}\n",
        reason=r"/.*/compose\.yml: network 'shared' is external \('shared'\), and no "
        "test may share it: make one with DockerNetwork, and give its name by "
        "otherSubsts",
    ),
    "external_volume": Case(
        compose=f"{SLEEPER}\nvolumes: {{data: {{name: of-all, external: true}}}}\n",
        reason=r"/.*/compose\.yml: volume 'data' is external \('of-all'\), and no test "
        "may share it: use hostPathSubst, or a volume of its own",
    ),
    "only_profiles": Case(
        compose=web("command: sleep 600", "profiles: [debug]"),
        reason=r"compose\.yml brought up no container: are all its services in "
        r"profiles\? Enable these by up\(profiles=\[\.\.\.\]\)",
    ),
}

IMAGES = {
    "unknown_image": Case(
        compose=f"services: {{web: {{image: '{NOWHERE}'}}}}\n",
        reason=r"`.*compose up` of compose\.yml exited with \d+: service web: .*"
        rf"{NOWHERE.partition('/')[0]}.*connection refused.* \(see compose_up\.err\)",
        evidence={"compose_up.err": "connection refused"},
    ),
    "failing_step": Case(
        compose=BUILD,
        files={"app/Dockerfile": f"{FROM}RUN echo no luck; exit 3\n"},
        reason=r"`docker compose up` of compose\.yml exited with \d+: .*"
        r"(echo no luck; exit 3|no luck).* \(see compose_up\.err\)",
        evidence={"compose_up.err": "no luck"},
    ),
    "syntax_error": Case(
        compose=BUILD,
        files={"app/Dockerfile": f"{FROM}RNU echo\n"},
        reason=r"`docker compose up` of compose\.yml exited with \d+: .*"
        r"unknown instruction: RNU.* \(see compose_up\.err\)",
    ),
    "no_stage": Case(
        compose=BUILD,
        files={"app/Dockerfile": "ARG NAME=value\n"},
        reason="/.*/app/Dockerfile has no FROM instruction: it makes no image",
    ),
    "missing_dockerfile": Case(
        compose=BUILD,
        files={"app/Dockerfiel": FROM},
        reason=r"Dockerfile /.*/app/Dockerfile does not exist, "
        r"did you mean Dockerfiel\?",
    ),
}

SERVICES = {
    "exits_at_once": Case(
        compose=web("command: sh -c 'echo no config >&2; exit 3'") + SLOW,
        reason="service web exited with exit code 3, its last words: no config",
        evidence={"web.inspect.json": '"ExitCode": 3', "web.err": "^no config$"},
    ),
    "unknown_command": Case(
        compose=web("command: no-such-command"),
        reason=".*no-such-command.*not found.*",
    ),
    "crash_loop": Case(
        compose=web("command: sh -c 'echo no config; exit 3'", "restart: always"),
        reason=r"service web keeps dying: it was started \d+ times and last ended with "
        "exit code 3, its last words: no config( ; no config)*",
        evidence={"web.out": "^no config$"},
    ),
    "unhealthy": Case(
        compose=web(
            "command: sleep 600",
            "healthcheck:",
            "  test: echo the disk is full; exit 1",
            "  interval: 100ms",
            "  retries: 2",
        ),
        reason="service web is unhealthy, its last check said: the disk is full"
        ", it logged nothing",
        evidence={"web.inspect.json": "the disk is full"},
    ),
    "unhealthy_dependency": Case(
        compose=web(
            "command: sleep 600",
            "healthcheck:",
            "  test: echo the disk is full; exit 1",
            "  interval: 100ms",
            "  retries: 2",
        )
        + f"""
  app:
    image: {BUSYBOX}
    command: sleep 600
    depends_on: {{web: {{condition: service_healthy}}}}
""",
        reason="service web is unhealthy, its last check said: the disk is full.*",
    ),
    "failing_job": Case(
        compose=web("command: sh -c 'echo table exists; exit 4'")
        + f"""
  app:
    image: {BUSYBOX}
    command: sleep 600
    depends_on: {{web: {{condition: service_completed_successfully}}}}
""",
        reason="service web exited with exit code 4, its last words: table exists",
        evidence={"web.out": "^table exists$", "app.inspect.json": '"created"'},
    ),
    "slow": Case(
        compose=web(
            "command: sleep 600",
            "healthcheck: {test: 'echo not yet; exit 1', interval: 100ms, "
            "retries: 10000}",
        ),
        body="DockerComposition(self, 'compose.yml').up(timeout=2)",
        outcome="TIMED OUT",
        reason=r"not all services of compose\.yml run within 2 s: web: its health is "
        "starting, its last check said: not yet",
    ),
    "port_of_another": Case(
        compose=SLEEPER
        + """
  again:
    extends: web
""",
        body=substituting("externalPorts=[]"),
        reason=".*port is already allocated.*",
    ),
}

SUBSTITUTIONS = {
    "misspelt_port": Case(
        body=substituting("externalPorts=[8081]"),
        reason=r"/.*/compose\.yml: externalPorts: nothing in the file is called "
        r"'8081', did you mean '8080'\?",
    ),
    "no_port": Case(
        body=substituting("externalPorts=['http']"),
        reason="externalPorts takes port numbers, got 'http'",
    ),
    "missing_additional_file": Case(
        compose=BUILD,
        files={"app/Dockerfile": FROM, "wrapper.sh": ""},
        body=substituting("additionalFiles={'./app': [f'{self.input}/wraper.sh']}"),
        reason=r"additionalFiles\['\./app'\]: /.*/wraper\.sh does not exist, "
        r"did you mean wrapper\.sh\?",
    ),
    "relative_additional_file": Case(
        compose=BUILD,
        files={"app/Dockerfile": FROM},
        body=substituting("additionalFiles={'./app': ['wrapper.sh']}"),
        reason=r"additionalFiles\['\./app'\] takes absolute paths, got 'wrapper\.sh'",
    ),
    "additional_text": Case(
        compose=BUILD,
        files={"app/Dockerfile": FROM},
        body=substituting("additionalFiles={'./app': '/wrapper.sh'}"),
        reason=r"additionalFiles\['\./app'\] takes a list, got '/wrapper\.sh'",
    ),
    "dockerfile_outside": Case(
        compose=BUILD,
        files={"real/other": "", "Dockerfile": FROM},
        body=substituting(
            "buildSubst={'./app': (f'{self.input}/real', ['../Dockerfile'])}"
        ),
        reason=r"buildSubst\['\./app'\]: \.\./Dockerfile is outside of the context "
        "/.*/dockerfile_outside/real",
    ),
    "missing_dockerfile_of_context": Case(
        compose=BUILD,
        files={"real/Dockerfile.app": FROM},
        body=substituting(
            "buildSubst={'./app': (f'{self.input}/real', ['Dockerfile.ap'])}"
        ),
        reason=r"buildSubst\['\./app'\]: Dockerfile /.*/real/Dockerfile\.ap does not "
        r"exist, did you mean Dockerfile\.app\?",
    ),
    "missing_context": Case(
        compose=BUILD,
        body=substituting("buildSubst={'./app': (f'{self.input}/real', [])}"),
        reason=r"buildSubst\['\./app'\]: /.*/real does not exist.*",
    ),
    "missing_host_path": Case(
        compose=web("command: sleep 600", "volumes: ['/data:/data']"),
        body=substituting("hostPathSubst={'/data': f'{self.input}/date'}"),
        reason=r"hostPathSubst\['/data'\]: /.*/date does not exist.*",
    ),
}

QUESTIONS = {
    "wrong_service": Case(
        body=f"{UP}.getContainer('wbe')",
        reason=r"compose\.yml has no service 'wbe', did you mean web\?",
        evidence={"web.inspect.json": '"running"'},
    ),
    "wrong_service_to_scale": Case(
        body=f"{UP}.scale('wbe', 2)",
        reason=r"compose\.yml has no service 'wbe', did you mean web\?",
    ),
    "wrong_index": Case(
        body=f"{UP}.getContainer('web', 2)",
        reason="service web of compose has no container 2",
    ),
    "wrong_port": Case(
        body=f"{UP}.getExternalPort(8081)",
        reason=r"compose\.yml publishes no port 8081, did you mean 8080\?: give the "
        "number as in the file, or the port inside and its service",
    ),
    "not_up": Case(
        body="DockerComposition(self, 'compose.yml').getContainer('web')",
        reason=r"compose is not up: call up\(\) or deploy\(\) first",
    ),
    "one_of_two_dies_later": Case(
        compose=web("command: sh -c 'read x < /pipe; echo told to; exit 3'").replace(
            "sh -c 'read x < /pipe;", "sh -c 'mkfifo /pipe; read x < /pipe;"
        ),
        body="""
            copy = DockerComposition(self, 'compose.yml').up()
            web = copy.getContainer('web')
            # Which may be killed with the container that it tells to end.
            tell = ['sh', '-c', 'until [ -p /pipe ]; do :; done; echo > /pipe']
            web.exec(tell, ignoreExitStatus=True)
            web.waitForLog('ready')
        """,
        reason="container web exited with exit code 3, its last words: told to",
        evidence={"web.out": "^told to$"},
    ),
}

CASES = {**FILES, **IMAGES, **SERVICES, **SUBSTITUTIONS, **QUESTIONS}

GOES_ON = {
    "unknown_image": f"services: {{web: {{image: '{NOWHERE}'}}}}\n",
    "dying_service": web("command: 'false'"),
    "bad_yaml": "services: [\n",
}

#: A test that fails without any fault of its services.
ASSERTION = """
    copy = DockerComposition(self, 'compose.yml').up()
    copy.scale('many', 2)
    copy.getContainer('followed').log('mine').waitForLog('out')
    copy.getContainer('many').waitForLog('out')
    copy.getContainer('many', 2).waitForLog('out')
    self.assertThat('wanted == 2', wanted=1)
"""
SPEAKING = "sh -c 'echo out of $$0; echo err of $$0 >&2; exec sleep 600'"
SPEAKERS = f"""
services:
  followed:
    image: {BUSYBOX}
    command: {SPEAKING} followed
  quiet:
    image: {BUSYBOX}
    command: {SPEAKING} quiet
  many:
    image: {BUSYBOX}
    command: {SPEAKING} many
  job:
    image: {BUSYBOX}
    command: echo done
"""
#: Two copies of a file in one test, each of which says which one it is.
TWO = """
    copies = [DockerComposition(self, 'compose.yml') for _ in range(2)]
    for number, copy in enumerate(copies):
        copy.up(environs={'NUMBER': str(number)})
    for number, copy in enumerate(copies):
        match = copy.getContainer('web').waitForLog('this is ([0-9])')
        self.assertThat('said == number', said=int(match[1]), number=number)
"""
SAYING = web("command: sh -c 'echo this is $NUMBER; exec sleep 600'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a run.

    Attributes:
        results: What became of each test.
        left: What the run had on the engine after its end.
    """

    results: Mapping[str, Result]
    left: frozenset[str]


def add(project: NestedProject, name: str, case: Case, body: str = "") -> None:
    """Add the test of a case."""
    folder = project.test(name, body or case.body, **{"compose.yml": case.compose})
    for file, text in case.files.items():
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def outcome(engine: ApiEngine, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Return what became of a run in which each test goes wrong."""
    project = NestedProject(tmp_path_factory.mktemp("compositions"))
    for name, case in CASES.items():
        add(project, name, case)
    for name, compose in GOES_ON.items():
        body = UP.replace("up()", "up(abortOnError=False)")
        body += "\npathlib.Path(self.output, 'went_on').write_text('it did')"
        add(project, f"goes_on_{name}", Case(compose=compose, reason=""), body)
    add(project, "assertion", Case(compose=SPEAKERS, reason=""), ASSERTION)
    add(project, "two_copies", Case(compose=SAYING, reason=""), TWO)
    with running(project, "-j2") as (process, owner):
        process.wait(110)
        left = names_of(engine, owner)
    return Outcome(results=project.results(), left=frozenset(left))


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize("name", CASES)
def test_a_reason_says_what_went_wrong_and_where_to_look(
    name: str, outcome: Outcome
) -> None:
    """One line names the value, and the files that it points to are there."""
    case, result = CASES[name], outcome.results[name]
    assert result.outcome == case.outcome, result
    assert re.fullmatch(case.reason, result.reason), result.reason
    for file, expression in case.evidence.items():
        text = (result.output / file).read_text(encoding="utf-8")
        assert re.search(expression, text, re.MULTILINE), f"{file}: {text}"


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize("name", CASES)
def test_nobody_waits_long_for_a_reason(name: str, outcome: Outcome) -> None:
    """It is there in seconds, and so is the next test."""
    log = (outcome.results[name].output / "run.log").read_text(encoding="utf-8")
    match = re.search(r"Test duration: +([0-9.]+) secs", log)
    assert match is not None
    assert float(match[1]) < SECONDS


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize("name", GOES_ON)
def test_a_test_may_go_on_after_an_error(name: str, outcome: Outcome) -> None:
    """With ``up(abortOnError=False)`` the test is BLOCKED, but comes to its end."""
    result = outcome.results[f"goes_on_{name}"]
    assert result.outcome == "BLOCKED", result
    assert (result.output / "went_on").exists()


@pytest.mark.docker
@pytest.mark.engine20
def test_nothing_is_left_of_what_went_wrong(outcome: Outcome) -> None:
    """Neither of what did not come up, nor of what came up and failed."""
    assert outcome.left == frozenset()


@pytest.mark.docker
@pytest.mark.engine20
def test_a_failed_test_leaves_what_explains_its_services(outcome: Outcome) -> None:
    """Of each container: all that the engine knew of it, and its whole log."""
    result = outcome.results["assertion"]
    assert result.outcome == "FAILED", result

    def text(name: str) -> str:
        path = result.output / name
        # What is empty has been removed by PySys.
        return path.read_text(encoding="utf-8") if path.exists() else ""

    for stem in ("followed", "quiet", "many", "many.2", "job"):
        inspected = json.loads(text(f"{stem}.inspect.json"))
        service = inspected["Config"]["Labels"]["com.docker.compose.service"]
        assert service == stem.partition(".")[0]
    for stem in ("quiet", "many", "many.2"):
        service = stem.partition(".")[0]
        assert text(f"{stem}.out") == f"out of {service}\n", stem
        assert text(f"{stem}.err") == f"err of {service}\n", stem
    # What the test has streamed already is not written again.
    assert text("mine.out") == "out of followed\n"
    assert text("followed.out") == ""
    assert text("job.out") == "done\n"


@pytest.mark.docker
@pytest.mark.engine20
def test_two_copies_in_one_test_have_logs_of_their_own(outcome: Outcome) -> None:
    """Nobody takes a line of one for one of the other."""
    result = outcome.results["two_copies"]
    assert result.outcome == "PASSED", result
    logs = [path.read_text(encoding="utf-8") for path in result.output.glob("web*.out")]
    assert sorted(logs) == ["this is 0\n", "this is 1\n"]


# Substitutions that change nothing ----------------------------------------------------

#: A substitution that matches nothing, and what is said of it.
MISSPELT = {
    "image": (
        f"imageSubst={{'pysys-orch-test/bussybox:1': '{DEBIAN}'}}",
        f"called 'pysys-orch-test/bussybox:1', did you mean '{BUSYBOX}'?",
    ),
    "host_path": (
        "hostPathSubst={'/no/date': self.input}",
        "called '/no/date', did you mean '/no/data'?",
    ),
    "build": (
        "buildSubst={'./aap': (self.input, [])}",
        "called './aap', did you mean './app'?",
    ),
    "additional_files": (
        "additionalFiles={'./aap': [f'{self.input}/compose.yml']}",
        "called './aap', did you mean './app'?",
    ),
    "text": (
        "otherSubsts={'no such text': 'any'}",
        "called 'no such text'",
    ),
}
MANY = f"""
services:
  web:
    image: {BUSYBOX}
    command: sleep 600
  other:
    build: ./app
    profiles: [never]
    volumes: ["/no/data:/data"]
"""


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
def test_a_substitution_that_changes_nothing_is_told_of(
    tmp_path: Path, *, strict: bool
) -> None:
    """With what may have been meant; those who want may have a BLOCKED test."""
    name = "dockerStrictSubstitutions"
    properties = f'<property name="{name}" value="true"/>' if strict else ""
    project = NestedProject(tmp_path, properties=properties)
    files = {"app/Dockerfile": FROM}
    for test, (option, _) in MISSPELT.items():
        case = Case(compose=MANY, files=files, body=substituting(option), reason="")
        add(project, test, case)
    project.run("-j2", timeout=100)
    for test, result in project.results().items():
        option, words = MISSPELT[test]
        said = f"{option.partition('=')[0]}: nothing in the file is {words}"
        log = (result.output / "run.log").read_text(encoding="utf-8")
        if strict:
            assert result.outcome == "BLOCKED", result
            assert said in result.reason
        else:
            assert result.outcome == "PASSED", result
            assert re.search(f"WARN .*{re.escape(said)}", log), log


# What reaches outside -----------------------------------------------------------------

_REACHING = """
services:
  web:
    build: ./app
    command: sh -c 'cd /in; readlink away; readlink near; cat away near extra; true'
  other:
    build: ../beside
    command: "true"
"""


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.usefixtures("engine")
def test_what_reaches_out_of_the_sample_is_told_of(tmp_path: Path) -> None:
    """A link is built from as a link: what it points to stays where it is."""
    secret = tmp_path / "secret"
    secret.write_text("not for the image\n")
    project = NestedProject(tmp_path / "project")
    body = """
    copy = DockerComposition(
        self, 'compose.yml', additionalFiles={'./app': [f'{self.input}/extra']}
    ).up().log()
    copy.getContainer('web').waitForExit()
"""
    folder = project.test("reaching", body, **{"compose.yml": _REACHING, "extra": "x"})
    for each in (folder / "app", folder.parent / "beside"):
        each.mkdir()
        (each / "Dockerfile").write_text(f"{FROM}COPY . /in/\n")
    (folder / "app" / "near").symlink_to("Dockerfile")
    (folder / "app" / "away").symlink_to(secret)
    assert project.run(timeout=100) == 0, project.said()

    result = project.results()["reaching"]
    log = (result.output / "run.log").read_text(encoding="utf-8")
    assert re.search("WARN .*/app/away is a link to outside of its build context", log)
    assert "near is a link" not in log
    assert re.search("WARN .*service 'other': build '../beside' reaches outside", log)
    said = (result.output / "web.out").read_text(encoding="utf-8")
    assert said == f"{secret}\nDockerfile\n{FROM}COPY . /in/\nx"

"""What docker is told is what was meant, and its last words are found."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.command import (
    ContainerSpec,
    VolumeMount,
    chosen_name,
    create_body,
    last_words,
    names_user,
    port_key,
    run_arguments,
)
from pysys_orch.docker.engine.ownership import Owner, resource_name
from tests.conftest import BUSYBOX

# The words of docker's clients 20.10.24 and 26.1.5, as they came, with shortened ids.

RUN_BY_BUILDX = """\
#0 building with "default" instance using docker driver

#1 [internal] load build definition from run.df
#1 transferring dockerfile: 103B done
#1 DONE 0.0s

#5 [2/2] RUN echo before; echo oops >&2; exit 3
#5 0.188 before
#5 0.188 oops
#5 ERROR: process "/bin/sh -c echo before; echo oops >&2; exit 3" did not complete successfully: exit code: 3
------
 > [2/2] RUN echo before; echo oops >&2; exit 3:
0.188 before
0.188 oops
------
run.df:2
--------------------
   1 |     FROM pysys-orch-test/busybox:1
   2 | >>> RUN echo before; echo oops >&2; exit 3
   3 |     
--------------------
ERROR: failed to solve: process "/bin/sh -c echo before; echo oops >&2; exit 3" did not complete successfully: exit code: 3
"""  # noqa: E501, W291 -- docker's own
RUN_BY_BUILDKIT_20 = """\
#5 [2/2] RUN echo before; echo oops >&2; exit 3
#5 sha256:80f192e2bdfa0891d49404c6412707d93eaac865dfda8d0006fc5e4c845c744e
#5 0.380 oops
#5 0.381 before
#5 ERROR: executor failed running [/bin/sh -c echo before; echo oops >&2; exit 3]: exit code: 3
------
 > [2/2] RUN echo before; echo oops >&2; exit 3:
------
executor failed running [/bin/sh -c echo before; echo oops >&2; exit 3]: exit code: 3
"""  # noqa: E501 -- docker's own
RUN_BY_LEGACY_BUILDER = """\
DEPRECATED: The legacy builder is deprecated and will be removed in a future release.
            BuildKit is currently disabled; enable it by removing the DOCKER_BUILDKIT=0
            environment-variable.

The command '/bin/sh -c echo before; echo oops >&2; exit 3' returned a non-zero code: 3
"""
DEPRECATED = """\
DEPRECATED: The legacy builder is deprecated and will be removed in a future release.
            Install the buildx component to build images with BuildKit:
            https://docs.docker.com/go/buildx/

"""
SYNTAX_BY_BUILDX = """\
#1 [internal] load build definition from syntax.df
#1 transferring dockerfile: 76B done
#1 DONE 0.0s
syntax.df:2
--------------------
   1 |     FROM pysys-orch-test/busybox:1
   2 | >>> RNU echo
   3 |     
--------------------
ERROR: failed to solve: dockerfile parse error on line 2: unknown instruction: RNU (did you mean ENV?)
"""  # noqa: E501, W291 -- docker's own
SYNTAX_BY_BUILDKIT_20 = """\
#2 [internal] load .dockerignore
#2 transferring context: 2B done
#2 DONE 0.0s
failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 2: unknown instruction: RNU
"""  # noqa: E501 -- docker's own
COPY_BY_BUILDX = """\
#6 [2/2] COPY nix /
#6 ERROR: failed to calculate checksum of ref 94939894::wh6twb6h: "/nix": not found
------
 > [2/2] COPY nix /:
------
copy.df:2
--------------------
   1 |     FROM pysys-orch-test/busybox:1
   2 | >>> COPY nix /
   3 |     
--------------------
ERROR: failed to solve: failed to compute cache key: failed to calculate checksum of ref 94939894::wh6twb6h: "/nix": not found
"""  # noqa: E501, W291 -- docker's own
UNKNOWN_FLAG = """\
unknown flag: --nix
See 'docker run --help'.
"""
UNKNOWN_IMAGE = """\
Unable to find image 'nosuch/image:1' locally
docker: Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 10.255.255.53:53: no such host.
See 'docker run --help'.
"""  # noqa: E501 -- docker's own
NO_ARGUMENTS = """\
"docker run" requires at least 1 argument.
See 'docker run --help'.

Usage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]

Create and run a new container from an image
"""
PORT_IN_USE = """\
4d9f0b0e9c9c9ef1b2a3a54cbd5ec0e66e3b6a4d7ed0c22c9cb0c1c7f4a9f8d1
docker: Error response from daemon: driver failed programming external connectivity on endpoint xw (e731f73c7e66): Bind for 127.0.0.1:38999 failed: port is already allocated.
"""  # noqa: E501 -- docker's own
NO_PROGRAM = """\
docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "nosuchcommand": executable file not found in $PATH: unknown.
"""  # noqa: E501 -- docker's own
TWO_ERRORS = """\
Error response from daemon: No such container: nosuch1
Error response from daemon: No such container: nosuch2
"""
NO_COMMAND = """\
docker: 'nosuchcommand' is not a docker command.
See 'docker --help'
"""
NO_ENGINE = """\
docker: Cannot connect to the Docker daemon at unix:///nosuch.sock. Is the docker daemon running?.
See 'docker run --help'.
"""  # noqa: E501 -- docker's own


@pytest.mark.parametrize(
    ("output", "words"),
    [
        pytest.param(
            RUN_BY_BUILDX,
            'failed to solve: process "/bin/sh -c echo before; echo oops >&2; exit 3" '
            "did not complete successfully: exit code: 3",
            id="run-by-buildx",
        ),
        pytest.param(
            RUN_BY_BUILDKIT_20,
            "executor failed running [/bin/sh -c echo before; echo oops >&2; exit 3]: "
            "exit code: 3",
            id="run-by-buildkit-20",
        ),
        pytest.param(
            RUN_BY_LEGACY_BUILDER,
            "The command '/bin/sh -c echo before; echo oops >&2; exit 3' "
            "returned a non-zero code: 3",
            id="run-by-legacy-builder",
        ),
        pytest.param(DEPRECATED, "", id="nothing-but-a-deprecation"),
        pytest.param(
            SYNTAX_BY_BUILDX,
            "failed to solve: dockerfile parse error on line 2: "
            "unknown instruction: RNU (did you mean ENV?)",
            id="syntax-by-buildx",
        ),
        pytest.param(
            SYNTAX_BY_BUILDKIT_20,
            "failed to solve with frontend dockerfile.v0: failed to create LLB "
            "definition: dockerfile parse error line 2: unknown instruction: RNU",
            id="syntax-by-buildkit-20",
        ),
        pytest.param(
            "Error response from daemon: dockerfile parse error line 2: "
            "unknown instruction: RNU\n",
            "dockerfile parse error line 2: unknown instruction: RNU",
            id="syntax-by-legacy-builder",
        ),
        pytest.param(
            COPY_BY_BUILDX,
            "failed to solve: failed to compute cache key: failed to calculate "
            'checksum of ref 94939894::wh6twb6h: "/nix": not found',
            id="copy-by-buildx",
        ),
        pytest.param(UNKNOWN_FLAG, "unknown flag: --nix", id="unknown-flag"),
        pytest.param(
            UNKNOWN_IMAGE,
            'Get "https://registry-1.docker.io/v2/": dial tcp: '
            "lookup registry-1.docker.io on 10.255.255.53:53: no such host.",
            id="unknown-image",
        ),
        pytest.param(
            NO_ARGUMENTS,
            '"docker run" requires at least 1 argument.',
            id="no-arguments",
        ),
        pytest.param(
            PORT_IN_USE,
            "driver failed programming external connectivity on endpoint xw "
            "(e731f73c7e66): Bind for 127.0.0.1:38999 failed: "
            "port is already allocated.",
            id="port-in-use",
        ),
        pytest.param(
            NO_PROGRAM,
            "failed to create task for container: failed to create shim task: OCI "
            "runtime create failed: runc create failed: unable to start container "
            'process: exec: "nosuchcommand": executable file not found in $PATH: '
            "unknown.",
            id="no-such-program",
        ),
        pytest.param(TWO_ERRORS, "No such container: nosuch2", id="two-errors"),
        pytest.param(
            NO_COMMAND, "'nosuchcommand' is not a docker command.", id="no-such-command"
        ),
        pytest.param(
            NO_ENGINE,
            "Cannot connect to the Docker daemon at unix:///nosuch.sock. "
            "Is the docker daemon running?.",
            id="no-engine",
        ),
        pytest.param("", "", id="nothing"),
        pytest.param("\n \n\t\n", "", id="blanks"),
        pytest.param("\x1b[91moops\n\x1b[0m", "oops", id="colours"),
        pytest.param("10%\r50%\rdone", "done", id="progress"),
        pytest.param(
            "Usage: myprogram FILE\n", "Usage: myprogram FILE", id="only-usage"
        ),
        pytest.param("x" * 301, "x" * 299 + "…", id="long"),
        pytest.param("x" * 300, "x" * 300, id="not-too-long"),
    ],
)
def test_last_words_say_what_went_wrong(output: str, words: str) -> None:
    """A person who reads the outcome of a test need not open a file."""
    assert last_words(output) == words


FULL = """\
dd: error writing '/data/file': No space left on device
17+0 records in
16+0 records out
"""


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (FULL, FULL.strip().replace("\n", " ; ")),
        (f"trying\n\n{FULL}", FULL.strip().replace("\n", " ; ")),
        ("one\n", "one"),
        ("", ""),
        (f"{'x' * 300}\ntwo\nthree", "two ; three"),
        (f"one\n{'x' * 301}", f"{'x' * 299}…"),
    ],
)
def test_last_words_may_be_several_lines(output: str, words: str) -> None:
    """The last one counts most: of those before it there are as many as fit."""
    assert last_words(output, 3) == words


@given(st.text())
def test_last_words_are_one_line_of_what_was_said(output: str) -> None:
    """Whatever a program prints, an outcome's reason stays readable."""
    words = last_words(output)
    assert len(words) <= 300
    assert len(words.splitlines()) <= 1
    assert words == words.strip()


# Real docker clients ------------------------------------------------------------------

Docker = Callable[..., str]


@pytest.fixture
def docker(engine: ApiEngine, owner: Owner) -> Docker:
    """Return what runs a docker command that fails, and returns what it said."""
    numbers = itertools.count()

    def run(*arguments: str, buildkit: str = "") -> str:
        words = [
            resource_name(owner, "command", "c", next(numbers))
            if each == "NAME"
            else each
            for each in arguments
        ]
        environment = {**os.environ, **engine.client_address()}
        if buildkit:
            environment["DOCKER_BUILDKIT"] = buildkit
        done = subprocess.run(
            ["docker", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0, done.stdout
        return done.stderr or done.stdout

    return run


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--nix", BUSYBOX], "unknown flag: --nix"),
        (["run"], r".?docker run.? requires at least 1 argument\.?"),
        (["run", "--pull=never", "po-none:1"], r"No such image: po-none:1\.?"),
        (
            ["run", "-d", "--name", "NAME", BUSYBOX, "nix"],
            r'.*"nix": executable file not found in \$PATH.*',
        ),
        (
            ["run", "--mount", "type=bind,src=/po/none,dst=/x", BUSYBOX],
            r".*bind source path does not exist: /po/none\.?",
        ),
        (["run", "-d", "-p", "99999:1", BUSYBOX], r"(?i).*invalid hostport: 99999\.?"),
        (["run", "UPPER:1"], r".*repository name .*must be lowercase\.?"),
        (
            ["run", "-d", "--name", "NAME", "--network", "po-none", BUSYBOX],
            r"(Could not attach to network po-none: .*)?network po-none not found\.?",
        ),
        (["exec", "po-none", "true"], "No such container: po-none"),
        (["nosuchcommand"], ".*'nosuchcommand' is not a docker command.*"),
    ],
)
def test_last_words_of_a_real_client_say_what_went_wrong(
    docker: Docker, arguments: list[str], words: str
) -> None:
    """Each version of docker words its errors anew."""
    assert re.fullmatch(words, last_words(docker(*arguments)))


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize("buildkit", ["0", "1"], ids=["legacy", "buildkit"])
@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ("RUN echo before; exit 3", ".*echo before; exit 3.*code: 3"),
        ("RNU echo", ".*parse error (on )?line 2: unknown instruction: RNU.*"),
        ("COPY po-none /", ".*po-none.*(not found|does not exist).*"),
    ],
)
def test_last_words_of_a_real_build_say_what_went_wrong(
    docker: Docker, tmp_path: Path, instruction: str, words: str, buildkit: str
) -> None:
    """Whichever builder there is, the line is about the Dockerfile."""
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\n{instruction}\n")
    arguments = ["build", "--force-rm", str(tmp_path)]
    assert re.fullmatch(words, last_words(docker(*arguments, buildkit=buildkit)))


# What docker is told ------------------------------------------------------------------

SPEC = ContainerSpec(
    name="po-c",
    image="redis:7",
    command=("redis-server", "--port", "1"),
    environment={"A": "b c", "EMPTY": ""},
    labels={"l": '{"a": "b,c"}'},
    mounts=(("/data", "/mnt"), ('/a,b "c', "/x")),
    ports=("8000/tcp", "53/udp"),
    user="1:2",
    network="net",
    aliases=("db", "cache"),
)


def test_a_container_is_started_by_docker_run_in_the_background() -> None:
    """Nothing but what was asked for is on the command line."""
    spec = ContainerSpec(name="po-c", image="redis:7")
    assert run_arguments(spec, []) == ["run", "--detach", "--name", "po-c", "redis:7"]


def test_everything_that_is_known_is_on_the_command_line() -> None:
    """A person can paste it to see for himself."""
    assert run_arguments(SPEC, ["--memory", "1g"]) == [
        *("run", "--detach", "--name", "po-c"),
        *("--label", 'l={"a": "b,c"}'),
        *("--env", "A=b c", "--env", "EMPTY="),
        *("--mount", "type=bind,src=/data,dst=/mnt"),
        *("--mount", 'type=bind,"src=/a,b ""c",dst=/x'),
        *("--publish", "127.0.0.1::8000/tcp", "--publish", "127.0.0.1::53/udp"),
        *("--user", "1:2"),
        *("--network", "net", "--network-alias", "db", "--network-alias", "cache"),
        *("--memory", "1g"),
        "redis:7",
        *("redis-server", "--port", "1"),
    ]


@pytest.mark.parametrize(
    ("extra", "names"),
    [
        (["--user", "root"], True),
        (["--user=root"], True),
        (["-u", "0"], True),
        (["-u0:0"], True),
        (["--userns=host"], False),
        (["--ulimit", "core=0"], False),
        ([], False),
    ],
)
def test_who_names_a_user_gets_that_user(extra: list[str], *, names: bool) -> None:
    """Two contradicting users would be a puzzle."""
    assert names_user(extra) is names
    arguments = run_arguments(SPEC, extra)
    assert ("1:2" in arguments) is not names


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        (["--name", "db"], "db"),
        (["--name=db"], "db"),
        (["-d", "--name", "db", "--rm"], "db"),
        (["--name", "a", "--name=b"], "b"),
        (["--name=a", "--name", "b"], "b"),
        (["--hostname", "db"], None),
        (["--name"], None),
        ([], None),
    ],
)
def test_the_name_that_a_user_chose_is_known(
    extra: list[str], name: str | None
) -> None:
    """What is called otherwise is still found and removed."""
    assert chosen_name(extra) == name


@pytest.mark.parametrize(
    ("port", "key"),
    [
        (8000, "8000/tcp"),
        ("8000", "8000/tcp"),
        ("08000", "8000/tcp"),
        ("8000/tcp", "8000/tcp"),
        ("53/udp", "53/udp"),
        ("9/sctp", "9/sctp"),
        (1, "1/tcp"),
        (65535, "65535/tcp"),
    ],
)
def test_a_port_may_be_written_in_several_ways(port: int | str, key: str) -> None:
    """All of them mean the same to the engine."""
    assert port_key(port) == key


@pytest.mark.parametrize("port", [0, 65536, -1, "", "http", "80-90", "80 ", "٨٠", "²"])
def test_what_is_no_port_is_refused(port: int | str) -> None:
    """The message quotes what was given."""
    with pytest.raises(ValueError, match="1 to 65535, got") as refusal:
        port_key(port)
    assert repr(port) in str(refusal.value)


def test_a_protocol_that_no_engine_knows_is_refused() -> None:
    """A slip of the finger shows at once."""
    with pytest.raises(ValueError, match="tcp, udp or sctp, got '80/http'"):
        port_key("80/http")


def normal(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """Return JSON without what is empty, which engines write in several ways."""
    if isinstance(value, dict):
        items = {key: normal(each) for key, each in value.items()}
        return {key: each for key, each in items.items() if each is not None} or None
    if isinstance(value, list):
        return [normal(each) for each in value] or None
    return None if value in {"", "no", 0} else value


def comparable(found: dict[str, Any]) -> dict[str, Any]:
    """Return of an inspection what two containers of one specification share."""
    config = {key: each for key, each in found["Config"].items() if key != "Hostname"}
    names = {
        network: sorted(set(each["Aliases"] or ()) - {found["Id"][:12]})
        for network, each in found["NetworkSettings"]["Networks"].items()
    }
    published = {
        port: [binding["HostIp"] for binding in bindings or ()]
        for port, bindings in found["NetworkSettings"]["Ports"].items()
    }
    shared = {key: found[key] for key in ("Args", "HostConfig", "Mounts", "Path")}
    shared |= {"Config": config, "Names": names, "Ports": published}
    # Docker and its engine take and list these in any order.
    shared["Mounts"].sort(key=lambda mount: mount["Destination"])
    config["Env"].sort()
    return dict(normal(shared))


BothWays = Callable[[ContainerSpec], list[dict[str, Any]]]


@pytest.fixture
def both_ways(engine: ApiEngine, owner: Owner) -> BothWays:
    """Return what starts a container both ways, and returns what the engine knows."""
    numbers = itertools.count()

    def start(spec: ContainerSpec) -> list[dict[str, Any]]:
        one, other = (
            replace(spec, name=resource_name(owner, "same", "c", next(numbers)))
            for _ in range(2)
        )
        subprocess.run(
            ["docker", *run_arguments(one, [])],
            env={**os.environ, **engine.client_address()},
            check=True,
            capture_output=True,
            timeout=60,
        )
        made = engine.create_container(other.name, create_body(other))
        engine.start_container(made)
        return [
            comparable(engine.inspect_container(each.name)) for each in (one, other)
        ]

    return start


@pytest.mark.docker
@pytest.mark.engine20
def test_a_plain_container_is_the_same_whichever_way_it_is_started(
    both_ways: BothWays,
) -> None:
    """The fast way, without a client, makes what docker run makes."""
    spec = ContainerSpec(name="", image=BUSYBOX, command=("sleep", "600"))
    one, other = both_ways(spec)
    assert one == other
    assert (one["Path"], one["Args"]) == ("sleep", ["600"])


@pytest.mark.docker
@pytest.mark.engine20
def test_a_container_with_everything_is_the_same_whichever_way_it_is_started(
    engine: ApiEngine, owner: Owner, both_ways: BothWays, tmp_path: Path
) -> None:
    """No label, variable, mount, port, user or network depends on the way."""
    network = resource_name(owner, "same", "network", 100)
    engine.create_network(network, {}, {})
    volume = resource_name(owner, "same", "volume", 101)
    engine.create_volume(volume, {})
    folder = tmp_path / 'a,b "c'
    folder.mkdir()
    spec = replace(
        SPEC,
        image=BUSYBOX,
        command=("sh", "-c", 'echo "$A"; sleep 600'),
        mounts=((str(tmp_path), "/mnt"), (str(folder), "/x")),
        volumes=(
            VolumeMount(volume=volume, target="/v"),
            VolumeMount(volume=volume, target="/w,x", read_only=True),
        ),
        network=network,
    )
    one, other = both_ways(spec)
    assert one == other
    assert one["Config"]["User"] == "1:2"
    assert one["Config"]["Labels"] == {"l": '{"a": "b,c"}'}
    assert {"A=b c", "EMPTY="} <= set(one["Config"]["Env"])
    assert one["Names"] == {network: ["cache", "db"]}
    assert one["Ports"] == {"53/udp": ["127.0.0.1"], "8000/tcp": ["127.0.0.1"]}
    mounts = {each["Destination"]: each.get("RW", False) for each in one["Mounts"]}
    assert mounts == {"/mnt": True, "/x": True, "/v": True, "/w,x": False}

"""Tests of what a compose file says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.composefile import (
    Build,
    Extends,
    Include,
    Port,
    interpolate,
    survey,
    without_variables,
)
from pysys_orch.errors import ConfigError

VARIABLES = {"A": "a", "EMPTY": "", "N": "8080", "D": "./d"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A-${A}", "a-a"),
        ("$UNSET.${UNSET}.", ".."),
        ("$$A $${A}", "$A ${A}"),
        ("${A:-x}${EMPTY:-x}${UNSET:-x}", "axx"),
        ("${A-x}${EMPTY-x}${UNSET-x}", "ax"),
        ("${A:+x}${EMPTY:+x}${UNSET:+x}", "x"),
        ("${A+x}${EMPTY+x}${UNSET+x}", "xx"),
        ("${A:?no}${A?no}${UNSET:?no}", "aa"),
        ("${UNSET:-${ALSO-${A}b}}c", "abc"),
        ("${UNSET:-$A}", "a"),
        ("${UNSET:-$${A\\}", "${A\\"),
        ("$", "$"),
        ("${", "${"),
        ("${A", "${A"),
        ("${A:-x", "${A:-x"),
        ("${A!}", "${A!}"),
        ("$1", "$1"),
    ],
)
def test_variables_mean_what_compose_says(text: str, expected: str) -> None:
    """What is wrong stays as it is, for Docker to report."""
    assert interpolate(text, VARIABLES) == expected


@given(st.text(), st.dictionaries(st.sampled_from("ABC"), st.text()))
def test_any_text_can_be_written_without_variables(
    text: str, variables: dict[str, str]
) -> None:
    """A substituted path with a dollar sign arrives as it was given."""
    assert interpolate(without_variables(text), variables) == text


@given(st.text("$A{}:-+?x"))
def test_no_text_is_too_odd(text: str) -> None:
    """Resolving variables never fails."""
    interpolate(text, VARIABLES)


def said(entry: str, key: str = "ports") -> str:
    return f"services: {{a: {{{key}: [{entry}]}}}}"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("80", ("", "80", "tcp", "")),
        ("2222:22", ("2222", "22", "tcp", "")),
        ("'8080:80/UDP'", ("8080", "80", "udp", "")),
        ("'127.0.0.1:8080:80'", ("8080", "80", "tcp", "127.0.0.1")),
        ("'127.0.0.1::80'", ("", "80", "tcp", "127.0.0.1")),
        ("'[::1]:8080:80'", ("8080", "80", "tcp", "[::1]")),
        ("'::1:8080:80'", ("8080", "80", "tcp", "::1")),
        ("3000-3002", ("", "3000-3002", "tcp", "")),
        ("'3000-3002:4000-4002'", ("3000-3002", "4000-4002", "tcp", "")),
        ("'8000-8010:80'", ("8000-8010", "80", "tcp", "")),
        ("':80'", ("", "80", "tcp", "")),
        ("'0:80'", ("", "80", "tcp", "")),
        ("'${N}:${M:-80}'", ("8080", "80", "tcp", "")),
        ("{target: 80}", ("", "80", "tcp", "")),
        (
            "{target: 80, published: 8080, host_ip: 0.0.0.0, protocol: udp}",
            ("8080", "80", "udp", "0.0.0.0"),
        ),
        (
            "{target: 80, published: '8000-8010', name: x}",
            ("8000-8010", "80", "tcp", ""),
        ),
        ("'80:x'", None),
        ("'8080-8081:80-82'", None),
        ("'8080:80-82'", None),
        ("{published: 80}", None),
        ("null", None),
        ("[80]", None),
    ],
)
def test_a_port_is_read_in_every_syntax(
    entry: str, expected: tuple[str, str, str, str] | None
) -> None:
    """Numbers are text, so that 2222:22 is no time of day; nonsense is left out."""
    found = survey(said(entry), name="f", variables=VARIABLES).ports
    if expected is None:
        assert found == ()
        return
    published, target, protocol, host_ip = expected
    assert found == (
        Port(
            service="a",
            published=published,
            target=target,
            protocol=protocol,
            host_ip=host_ip,
        ),
    )


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("'./x:/y'", ("./x",)),
        ("'../x:/y:ro,z'", ("../x",)),
        ("'/x:/y'", ("/x",)),
        ("'~/x:/y'", ("~/x",)),
        ("'.:/y'", (".",)),
        (r"'C:\x:/y'", (r"C:\x",)),
        ("'${D}/x:/y'", ("./d/x",)),
        ("'${UNSET:-./e}:/y'", ("./e",)),
        ("'${UNSET:-./e:/y}'", ("./e",)),
        ("{type: bind, source: ./x, target: /y}", ("./x",)),
        ("{type: bind, target: /y}", ()),
        ("{type: volume, source: x, target: /y}", ()),
        ("'x:/y'", ()),
        ("'/y'", ()),
        ("null", ()),
    ],
)
def test_only_paths_on_the_host_are_listed(
    entry: str, expected: tuple[str, ...]
) -> None:
    """The name of a volume is no path."""
    text = said(entry, "volumes")
    assert survey(text, name="f", variables=VARIABLES).host_paths == expected


WHOLE = """\
x-base: &base
  image: redis:${TAG:-7}
  volumes: &v [./data:/data]
services:
  a:
    <<: *base
    build: &b ./x
  b:
    <<: [{image: other}, *base]
    build: {<<: {context: ./y}, dockerfile: "${D}/F"}
    volumes: *v
  c: {build: *b, extends: {file: base.yml, service: x}}
  d: {build: {dockerfile_inline: FROM x}, extends: a}
  e:
include:
  - one.yml
  - {path: [two.yml, "${A}.yml"], project_directory: ./p, env_file: .e}
volumes:
  v: {driver_opts: {type: none, o: "bind,ro", device: ./dev}}
  w: {driver_opts: {type: nfs, o: addr=x, device: ":/x"}}
  u:
"""


def test_a_survey_tells_what_a_file_says() -> None:
    """Through anchors, merges and variables."""
    found = survey(WHOLE, name="f", variables=VARIABLES)
    assert found.services == ("a", "b", "c", "d")
    assert found.images == ("redis:7", "other")
    assert found.host_paths == ("./dev", "./data")
    assert found.extends == (
        Extends(service="c", file="base.yml", base="x"),
        Extends(service="d", file="", base="a"),
    )
    assert found.builds == (
        Build(service="a", path="./x", dockerfile="", inline=False, image="redis:7"),
        Build(service="b", path="./y", dockerfile="./d/F", inline=False, image="other"),
        Build(service="c", path="./x", dockerfile="", inline=False),
        Build(service="d", path=".", dockerfile="", inline=True),
    )
    assert found.includes == (
        Include(paths=("one.yml",), project_directory="", env_files=()),
        Include(paths=("two.yml", "a.yml"), project_directory="./p", env_files=(".e",)),
    )


@pytest.mark.parametrize(
    "args",
    ["{A: x, B: '$V', C: }", "[A=x, B=$V, C]", "{A: x, <<: {B: '${V}', C: null}}"],
)
def test_build_arguments_are_told_however_they_are_written(args: str) -> None:
    """One without a value has that of the variable of its name."""
    text = f"services: {{a: {{build: {{args: {args}}}}}}}"
    (build,) = survey(text, name="f", variables={"V": "v", "C": "c"}).builds
    assert dict(build.args) == {"A": "x", "B": "v", "C": "c"}
    assert not build.hidden


def test_a_file_may_only_include_others() -> None:
    """Whether or not it says that it has no services."""
    for text in ("include: [a.yml]", "services:\ninclude: [a.yml]"):
        assert survey(text, name="f", variables={}).services == ()


@pytest.mark.parametrize("text", ["a: 1", "services:", "services: []", "services: x"])
def test_a_file_without_services_is_refused(text: str) -> None:
    """The message says what a compose file needs."""
    with pytest.raises(ConfigError, match=r"^f\.yml: a compose file needs `services`"):
        survey(text, name="f.yml", variables={})


def test_a_file_may_consist_of_includes() -> None:
    """Docker accepts that too."""
    assert survey("include: [a.yml]", name="f", variables={}).services == ()

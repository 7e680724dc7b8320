"""Tests of how a compose or stack file is tailored.

The files that are tailored here as a whole were given to ``docker compose config``
once, which understood them as meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.tailor import (
    Build,
    Moved,
    Tailored,
    Wishes,
    difference,
    explain_unmatched,
    replace_texts,
    survey,
    tailor,
)
from pysys_orch.errors import ConfigError

NO_PORTS = frozenset[int]()


def done(text: str, **wishes: Any) -> Tailored:
    return tailor(text, Wishes(project="p", **wishes), name="f.yml")


def service(line: str, **wishes: Any) -> str:
    """Return what becomes of one line of a service."""
    head = "services:\n  a:\n    "
    text = done(f"{head}{line}\n", **wishes).text
    return text.removeprefix(head).rstrip("\n")


def port(entry: str, **wishes: Any) -> str:
    """Return what becomes of an entry of ``ports``."""
    line = service(f"ports: [{entry}]", **wishes)
    return line.removeprefix("ports: [").removesuffix("]")


WHOLE = """\
# a sample
name: demo   # its name
x-base: &base
  networks: [back]
  restart: always
x-port: &port "8080:80"
services:
  web:
    <<: *base
    image: redis   # cache
    container_name: the-web
    environment: {P: *port, Q: "8080:80"}
    ports:
      - *port
      - 2222:22   # ssh
      - target: 81
        published: 8081
    networks:
    - front
    # why
    - back
    volumes:
      - ./data:/data:ro
      - named:/x
  job: {<<: *base, build: ./x, pid: "container:the-web"}
networks:
  front: {name: front}
  back:
volumes:
  named:
"""

TAILORED = """\
# a sample
x-base: &base
  networks: [back]
  restart: always
x-port: &port "8080:80"
services:
  web:
    <<: *base
    image: "mine:1"   # cache
    container_name: "p-the-web"
    environment: {P: *port, Q: "8080:80"}
    ports:
      - "127.0.0.1::80"
      - "127.0.0.1::22"   # ssh
      - "127.0.0.1::81"
    networks:
      front: {aliases: ["the-web"]}
    # why
      back: {aliases: ["the-web"]}
    volumes:
      - "/h:/data:ro"
      - named:/x
  job: {<<: *base, build: "/real", pid: "container:p-the-web"}
networks:
  front: {name: "p_front"}
  back:
volumes:
  named:
"""


def test_only_what_is_substituted_changes() -> None:
    """Comments, anchors, merges, quotes and order stay."""
    found = done(
        WHOLE,
        images={"docker.io/library/redis:latest": "mine:1"},
        host_paths={"data": "/h"},
        builds={"x/": "/real"},
    )
    assert found.text == TAILORED
    assert found.used == {
        ("imageSubst", "docker.io/library/redis:latest"),
        ("hostPathSubst", "data"),
        ("buildSubst", "x/"),
    }
    assert [(each.published, each.target) for each in found.moved] == [
        (8080, 80),
        (2222, 22),
        (8081, 81),
    ]
    assert found.warnings == ()


def test_images_in_a_dockerfile_within_the_file_are_substituted() -> None:
    """It builds from what it is told to, like one that is a file."""
    text = (
        "services:\n  a:\n    build:\n      dockerfile_inline: |\n"
        "        FROM redis AS one\n        RUN echo redis\n"
    )
    found = done(text, images={"redis": "mine:1", "other": "x"})
    build = yaml.safe_load(found.text)["services"]["a"]["build"]
    assert build == {"dockerfile_inline": "FROM mine:1 AS one\nRUN echo redis\n"}
    assert found.used == {("imageSubst", "redis")}


def test_a_dockerfile_within_the_file_builds_from_what_is_built() -> None:
    """Under its new name; its own name means something else in it."""
    text = (
        "services:\n  a:\n    image: base\n    build:\n      args: {B: base}\n"
        "      dockerfile_inline: |\n        FROM base\n"
        "  b:\n    build:\n      args: {B: base}\n"
        "      dockerfile_inline: |\n        ARG B\n        FROM $B\n"
    )
    services = yaml.safe_load(done(text, built={"base": "p-base"}).text)["services"]
    assert services["a"]["image"] == "p-base"
    assert services["a"]["build"]["dockerfile_inline"] == "FROM base\n"
    assert services["b"]["build"]["dockerfile_inline"] == "ARG B\nFROM p-base\n"


def test_an_image_that_is_an_additional_context_is_substituted() -> None:
    """It is built from, like those that a Dockerfile names."""
    text = "services: {a: {build: {additional_contexts: {b: docker-image://redis}}}}"
    found = done(text, images={"redis": "mine:1"})
    build = yaml.safe_load(found.text)["services"]["a"]["build"]
    assert build["additional_contexts"] == {"b": "docker-image://mine:1"}
    assert found.used == {("imageSubst", "redis")}
    assert survey(text, name="f", variables={}).images == ("redis",)


@pytest.mark.parametrize("policy", ["always", "build", "$POLICY", "every_12h"])
def test_a_substitute_is_neither_pulled_nor_built_over(policy: str) -> None:
    """It is there, and is somebody's own."""
    text = (
        f"services:\n  a: &a\n    image: redis\n    pull_policy: {policy}\n"
        "  b:\n    extends: a\n  c:\n    image: other\n    pull_policy: always\n"
        "  d:\n    <<: *a\n"
    )
    variables = {"POLICY": "daily"}
    found = done(text, images={"redis": "mine:1"}, variables=variables)
    services = yaml.safe_load(found.text)["services"]
    assert [each.get("pull_policy") for each in services.values()] == [
        "missing",
        "missing",
        "always",
        "missing",
    ]


@pytest.mark.parametrize("policy", ["missing", "never", "if_not_present"])
def test_other_pull_policies_stay(policy: str) -> None:
    """They do not replace what is there."""
    text = f"services: {{a: {{image: redis, pull_policy: {policy}}}}}"
    found = done(text, images={"redis": "mine:1"})
    assert found.text == text.replace("redis", '"mine:1"')


def test_an_image_that_is_built_gets_a_name_of_its_own() -> None:
    """Of two copies, neither runs what the other has built."""
    text = (
        "services:\n"
        "  a: {build: ., image: app:dev}\n"
        "  b: {image: app:dev}\n"
        "  c: {image: other}\n"
    )
    found = done(text, built={"app:dev": "p-app:dev"})
    assert found.text == text.replace("image: app:dev", 'image: "p-app:dev"')
    assert found.used == frozenset()
    assert done(text, built={"app:dev": "p-app:dev"}, stack=True).text.endswith(text)


def test_what_is_substituted_is_not_to_be_built_as_well() -> None:
    """A build would give somebody else's image another content."""
    text = "services:\n  a: {build: ., image: app}\n"
    found = done(text, images={"app": "mine"}, built={"app": "p-app"})
    assert 'image: "mine"' in found.text
    assert [each for each in found.warnings if "builds 'app'" in each]


def test_windows_files_stay_windows_files() -> None:
    """Line endings and the byte order mark are kept, in new lines too."""
    expected = "\ufeff" + TAILORED.replace("\n", "\r\n")
    found = done(
        "\ufeff" + WHOLE.replace("\n", "\r\n"),
        images={"redis": "mine:1"},
        host_paths={"./data": "/h"},
        builds={"./x": "/real"},
    )
    assert found.text == expected
    text = "services:\r\n  a:\r\n    ports:\r\n    - 1-2\r\n    container_name: x\r\n"
    assert done(text).text.count("\r\n") == done(text).text.count("\n") == 7


# Images


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("redis", '"new"'),
        ("'redis:latest'", '"new"'),
        ("docker.io/library/redis", '"new"'),
        ("${R:-redis}:latest # c", '"new" # c'),
        ("redis:7", "redis:7"),
        ("my/redis", "my/redis"),
        ("redis-x", "redis-x"),
        ("!t &x redis", '!t &x "new"'),
        ("", ""),
    ],
)
def test_an_image_is_replaced_as_a_whole(image: str, expected: str) -> None:
    """Every spelling of the same reference matches, and no part of another."""
    line = service(f"image: {image}", images={"redis": "new"}).removeprefix("image:")
    assert line.strip() == expected


def test_what_is_written_has_no_variables() -> None:
    """A dollar sign in a substitution means itself."""
    assert service("image: a", images={"a": "$b"}) == 'image: "$$b"'


def test_an_image_elsewhere_is_not_touched() -> None:
    """Not even where it is an alias of a service's image."""
    text = "services:\n  a:\n    image: &i redis:7\n    labels: [*i, redis]\n"
    found = yaml.safe_load(done(text, images={"redis:7": "new"}).text)
    assert found == {
        "services": {"a": {"image": "new", "labels": ["redis:7", "redis"]}}
    }


# Ports


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("80", '"127.0.0.1::80"'),
        ("2222:22", '"127.0.0.1::22"'),
        ("'53:53/udp'", '"127.0.0.1::53/udp"'),
        ("'0.0.0.0:8080:80'", '"0.0.0.0::80"'),
        ("'[::1]:8080:80'", '"[::1]::80"'),
        ("'::1:8080:80'", '"[::1]::80"'),
        ("3000-3001:80-81", '"127.0.0.1::80", "127.0.0.1::81"'),
        ("80-81", '"127.0.0.1::80", "127.0.0.1::81"'),
        ("8000-8010:80", '"127.0.0.1::80"'),
        ("'${X:-8080}:80'", '"127.0.0.1::80"'),
        ("{target: 80, published: 8080}", '"127.0.0.1::80"'),
        ("{target: 80, host_ip: 0.0.0.0, mode: ingress}", '"0.0.0.0::80"'),
        ("{target: 80, published: 8080, mode: host}", '"127.0.0.1::80"'),
        (
            "{target: 80, host_ip: '::1', name: x}",
            "{published: \"0\", target: 80, host_ip: '::1', name: x}",
        ),
        ("'8080:x'", "'8080:x'"),
    ],
)
def test_the_engine_chooses_every_number(entry: str, expected: str) -> None:
    """On the loopback address, unless the file names another one."""
    assert port(entry) == expected
    # A list has the same effect for what it names.
    assert port(entry, ports=frozenset({2222, 53, 8080, 3001, 8005})) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("8080:80", '"127.0.0.1:8080:80"'),
        ("'8080:80/udp'", '"127.0.0.1:8080:80/udp"'),
        ("'${X:-}:${Y:-8080}:80'", '"127.0.0.1:8080:80"'),
        ("3000-3001:80-81", '"127.0.0.1:3000-3001:80-81"'),
        ("'0.0.0.0:8080:80'", "'0.0.0.0:8080:80'"),
        ("{target: 80, published: 8080}", '"127.0.0.1:8080:80"'),
        (
            "{target: 80, published: 8080, host_ip: 0.0.0.0}",
            "{target: 80, published: 8080, host_ip: 0.0.0.0}",
        ),
        ("80", '"127.0.0.1::80"'),
    ],
)
def test_a_number_that_was_not_asked_for_stays(entry: str, expected: str) -> None:
    """But nobody else on the network can reach it."""
    assert port(entry, ports=NO_PORTS) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("8080:80", "{target: 80, protocol: tcp, mode: host}"),
        ("{target: 53, protocol: udp}", "{target: 53, protocol: udp, mode: host}"),
        (
            "'8080-8081:80-81'",
            (
                "{target: 80, protocol: tcp, mode: host}, "
                "{target: 81, protocol: tcp, mode: host}"
            ),
        ),
        ("9999:80", "9999:80"),
    ],
)
def test_a_stack_publishes_on_its_node(entry: str, expected: str) -> None:
    """A swarm publishes on no address of a host, so numbers of its own are chosen."""
    text = f'version: "3.9"\nservices: {{a: {{ports: [{entry}]}}}}\n'
    found = done(text, stack=True, ports=frozenset({8080, 53}))
    assert found.text == text.replace(entry, expected)


def test_the_numbers_that_were_asked_for_are_known() -> None:
    """A caller finds where a port has gone by its number in the file."""
    text = (
        "services: {a: {ports: &p [80, '3000-3002:1-3', 8-9:5, 7:7]}, b: {ports: *p}}"
    )
    found = done(text, ports=frozenset({3001, 9, 1234}))
    assert found.used == {("externalPorts", "3001"), ("externalPorts", "9")}
    of_one = [(0, 80), (3000, 1), (3001, 2), (3002, 3), (8, 5)]
    assert found.moved == tuple(
        Moved(service=name, published=published, target=target, protocol="tcp")
        for name in "ab"
        for published, target in of_one
    )


def test_a_range_becomes_lines() -> None:
    """The list keeps its style, and its comments."""
    text = "services:\n  a:\n    ports:\n    - 1-2:1-2 # c\n    -  '3'\n"
    assert done(text).text == (
        'services:\n  a:\n    ports:\n    - "127.0.0.1::1"\n    - "127.0.0.1::2" # c\n'
        '    -  "127.0.0.1::3"\n'
    )


def test_a_list_of_ports_may_be_something_else_too() -> None:
    """What a service exposes stays, even if it is the same list."""
    text = "x-p: &p ['80']\nservices: {a: {ports: *p, expose: *p}, b: {ports: *p}}\n"
    assert done(text).text == (
        'x-p: &p ["127.0.0.1::80"]\n'
        'services: {a: {ports: *p, expose: ["80"]}, b: {ports: *p}}\n'
    )


# Paths and builds


@pytest.mark.parametrize(
    ("line", "key", "expected"),
    [
        ("volumes: [./d:/x]", "./d", 'volumes: ["/h$$:/x"]'),
        ("volumes: [./d/:/x:ro]", "d", 'volumes: ["/h$$:/x:ro"]'),
        ("volumes: ['${PWD}/d:/x']", "/pwd/d", 'volumes: ["/h$$:/x"]'),
        ("volumes: ['${PWD}/d:/x']", "${PWD}/d", 'volumes: ["/h$$:/x"]'),
        ("volumes: ['${PWD}/d:/${X}']", "$PWD/d", 'volumes: ["/h$$:/${X}"]'),
        ("volumes: ['${UNSET:-./d}:/x']", "./d", 'volumes: ["/h$$:/x"]'),
        ("volumes: [d:/x]", "d", "volumes: [d:/x]"),
        ("volumes: [./dd:/x]", "./d", "volumes: [./dd:/x]"),
        (
            "volumes: [{type: bind, source: ./d, target: /x}]",
            "./d",
            'volumes: [{type: bind, source: "/h$$", target: /x}]',
        ),
    ],
)
def test_a_host_path_is_replaced(line: str, key: str, expected: str) -> None:
    """As it is written, or as what it comes to."""
    variables = {"PWD": "/pwd"}
    assert service(line, host_paths={key: "/h$"}, variables=variables) == expected


def test_the_device_of_a_volume_is_a_host_path() -> None:
    """If it is a bind mount."""
    text = (
        "services: {}\nvolumes:\n  v: {driver_opts: {o: bind, device: ./d}}\n"
        "  w: {driver_opts: {o: x, device: ./d}}\n"
    )
    found = done(text, host_paths={"d": "/h"}, base="/b")
    assert found.text == text.replace("./d", '"/h"', 1)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("build: ./x", 'build: "/real"'),
        ("build: x/y/..", 'build: "/real"'),
        ("build: {context: x, target: t}", 'build: {context: "/real", target: t}'),
        ("build: ./y", "build: ./y"),
        (
            "build: {context: ./x, dockerfile: D}",
            'build: {context: "/real", dockerfile: "/t/D"}',
        ),
        ("build: ./z", 'build: {context: "./z", dockerfile: "/t/z"}'),
        (
            "build: {context: ./z, target: t}",
            'build: {dockerfile: "/t/z", context: ./z, target: t}',
        ),
        (
            "build: {context: ./z, dockerfile_inline: FROM x}",
            "build: {context: ./z, dockerfile_inline: FROM x}",
        ),
        ("build: https://x/x.git", "build: https://x/x.git"),
    ],
)
def test_a_build_context_is_replaced(line: str, expected: str) -> None:
    """And its Dockerfile, where images in it were substituted."""
    found = service(
        line,
        builds={"./x": "/real"},
        dockerfiles={
            Build(service="a", path="./x", dockerfile="D", inline=False): "/t/D",
            Build(service="b", path="./x", dockerfile="D", inline=False): "no",
            Build(service="a", path="./z", dockerfile="", inline=False): "/t/z",
        },
    )
    assert found == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("build: .", 'build: "/b"'),
        ("build: {target: t}", 'build: {context: "/b", target: t}'),
        ("build: {context: ../x}", 'build: {context: "/x"}'),
        ("build: git@x:y.git", "build: git@x:y.git"),
        (
            "build: {context: /x, additional_contexts: {n: ./n, i: docker-image://i}}",
            (
                'build: {context: /x, additional_contexts: {n: "/b/n", '
                "i: docker-image://i}}"
            ),
        ),
        (
            "build: {context: /x, additional_contexts: [n=./n, 's=service:x']}",
            "build: {context: /x, additional_contexts: [\"n=/b/n\", 's=service:x']}",
        ),
        ("env_file: .env", 'env_file: "/b/.env"'),
        ("env_file: [a, ~/b, /c]", 'env_file: ["/b/a", ~/b, /c]'),
        (
            "env_file: [{path: a, required: false}]",
            'env_file: [{path: "/b/a", required: false}]',
        ),
        ("label_file: l", 'label_file: "/b/l"'),
        ("volumes: ['./d:/x', n:/y]", 'volumes: ["/b/d:/x", n:/y]'),
        ("volumes: ['./${X}/../d:/x']", 'volumes: ["/b/${X}/../d:/x"]'),
        ("volumes: ['../a${X}/d:/x']", 'volumes: ["/a${X}/d:/x"]'),
        ("volumes: ['${X:-./d}:/x']", 'volumes: ["/b/${X:-./d}:/x"]'),
        ("volumes: ['${HOME}/d:/x']", "volumes: ['${HOME}/d:/x']"),
        (
            "volumes: [{type: bind, source: d, target: /x}]",
            'volumes: [{type: bind, source: "/b/d", target: /x}]',
        ),
        ("develop: {watch: [{path: w}]}", 'develop: {watch: [{path: "/b/w"}]}'),
        ("extends: {file: e.yml}", 'extends: {file: "/b/e.yml"}'),
    ],
)
def test_relative_paths_become_absolute(line: str, expected: str) -> None:
    """So that a copy of a file can stand anywhere; variables stay."""
    assert service(line, base="/b", variables={"HOME": "/home"}) == expected


def test_files_of_secrets_and_configs_become_absolute() -> None:
    """Without a base they stay relative."""
    text = "services: {}\nsecrets: {s: {file: ./s}}\nconfigs: {c: {file: c}}\n"
    assert done(text).text == text
    found = done(text, base="/b").text
    assert found == text.replace("./s", '"/b/s"').replace("file: c", 'file: "/b/c"')


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("s/a.yml", '{path: "/t/a", project_directory: "s"}'),
        ("./b.yml", '{path: "/t/b", project_directory: "."}'),
        ("s/c.yml", "s/c.yml"),
        (
            "{path: s/a.yml, env_file: e}",
            '{project_directory: "s", path: "/t/a", env_file: e}',
        ),
        (
            "{path: [s/c.yml, b.yml], project_directory: d}",
            '{path: [s/c.yml, "/t/b"], project_directory: d}',
        ),
    ],
)
def test_what_is_included_is_the_tailored_copy(entry: str, expected: str) -> None:
    """Paths in it still start where the original is."""
    files = {"s/a.yml": "/t/a", "b.yml": "/t/b"}
    text = f"include: [{entry}]\n"
    assert done(text, includes=files).text == text.replace(entry, expected)


def test_what_is_extended_is_the_tailored_copy() -> None:
    """Under whichever spelling of its path."""
    line = service("extends: {file: ./b.yml}", extends={"b.yml": "/t/b"})
    assert line == 'extends: {file: "/t/b"}'


def test_the_home_of_a_copy_is_absolute_where_paths_are() -> None:
    """The including file is a copy elsewhere, too."""
    text = "include: [s/a.yml, s/b.yml]\n"
    assert done(text, includes={"s/a.yml": "/t/a"}, base="/b").text == (
        'include: [{path: "/t/a", project_directory: "/b/s"}, "/b/s/b.yml"]\n'
    )


def test_what_reaches_outside_is_said() -> None:
    """A test whose inputs lie elsewhere may not be what it seems."""
    text = (
        "services:\n  a: {build: ../x}\n  b: {build: {context: y, dockerfile: ../D}}\n"
        "  c: {build: ../z}\n  d: {build: ..d}\n"
    )
    assert done(text, builds={"../z": "/z"}).warnings == (
        "service 'a': build '../x' reaches outside of the project's directory",
        "service 'b': dockerfile '../D' reaches outside of its build context",
    )
    built = Build(service="b", path="y", dockerfile="../D", inline=False)
    assert done(text, dockerfiles={built: "/D"}).warnings[1:] == (
        "service 'c': build '../z' reaches outside of the project's directory",
    )


# Names

BOTH = {"x": {"aliases": ["n"]}, "y": {"aliases": ["n"]}}


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ("", {"default": {"aliases": ["n"]}}),
        ("networks:", {"default": {"aliases": ["n"]}}),
        ("networks: {}", {"default": {"aliases": ["n"]}}),
        ("networks: [x, y]", BOTH),
        (
            "networks:\n    - x\n    - y",
            {"x": {"aliases": ["n"]}, "y": {"aliases": ["n"]}},
        ),
        (
            "networks:\n      -   x\n      - y",
            {"x": {"aliases": ["n"]}, "y": {"aliases": ["n"]}},
        ),
        (
            "networks: {x: , y: null}",
            {"x": {"aliases": ["n"]}, "y": {"aliases": ["n"]}},
        ),
        ("networks:\n      x:", {"x": {"aliases": ["n"]}}),
        (
            "networks:\n      x:\n        priority: 1",
            {"x": {"aliases": ["n"], "priority": 1}},
        ),
        (
            "networks:\n      x:\n        aliases:\n        - m",
            {"x": {"aliases": ["n", "m"]}},
        ),
        ("networks: {x: {aliases: [m]}}", {"x": {"aliases": ["n", "m"]}}),
        ("networks: {x: {aliases: [n]}}", {"x": {"aliases": ["n"]}}),
        ("networks: {x: {aliases: }}", {"x": {"aliases": ["n"]}}),
        ("networks: *list", {"x": {"aliases": ["n"]}}),
        ("networks: {z: *net}", {"z": {"aliases": ["n", "m"], "priority": 2}}),
        ("<<: *base", {"y": {"aliases": ["n"]}}),
        ("<<: *base\n    networks: [x]", {"x": {"aliases": ["n"]}}),
        ("extends:\n      service: b", {"w": {"aliases": ["n"]}}),
        (
            "extends: b\n    networks: [x]",
            {"x": {"aliases": ["n"]}, "w": {"aliases": ["n"]}},
        ),
    ],
)
def test_a_container_still_answers_to_its_name(
    networks: str, expected: Mapping[str, object]
) -> None:
    """In each network of its service, and in no other service's."""
    text = (
        "x-list: &list [x]\nx-net: &net {aliases: [m], priority: 2}\n"
        "x-base: &base {networks: [y]}\nservices:\n  a:\n"
        f"    container_name: n\n    {networks}\n"
        "  b: {<<: *base, networks: [w]}\n  c: {networks: *list}\n"
    )
    before, after = (yaml.safe_load(each) for each in (text, done(text).text))
    assert after["services"].pop("a") | {"<<": 0} == {
        **before["services"].pop("a"),
        "container_name": "p-n",
        "networks": expected,
        "<<": 0,
    }
    assert after == before


@pytest.mark.parametrize(
    "line", ["network_mode: host", "network_mode: bridge\n    image: x", "extends: b"]
)
def test_without_networks_there_are_no_aliases(line: str) -> None:
    """Docker refuses both at once."""
    text = (
        f"services:\n  a:\n    container_name: n\n    {line}\n"
        "  b: {network_mode: none}\n"
    )
    assert done(text).text == text.replace(": n\n", ': "p-n"\n', 1)


def test_a_service_answers_to_its_own_name_anyway() -> None:
    """Nothing is added for a container that is called like its service."""
    assert service("container_name: a") == 'container_name: "p-a"'


@pytest.mark.parametrize(
    ("text", "extended"),
    [
        (
            "services: {a: {container_name: n}, b: {extends: a, network_mode: none}}",
            False,
        ),
        ("services: {a: {container_name: n, networks: [x]}}", True),
    ],
)
def test_what_others_extend_gets_no_network_that_they_would_inherit(
    text: str, *, extended: bool
) -> None:
    """They would be found by its name, and be where they should not."""
    found = done(text, extended=extended)
    services = yaml.safe_load(found.text)["services"]
    before = yaml.safe_load(text)["services"]
    assert services["a"] == {**before["a"], "container_name": "p-n"}
    assert len(found.warnings) == 1
    assert "nothing finds it as 'n' there: use 'a'" in found.warnings[0]


def test_a_set_of_networks_may_stand_in_braces() -> None:
    """Compose takes names without colons."""
    text = "services: {a: {container_name: n, networks: {x, y: {priority: 1}}}}"
    assert yaml.safe_load(done(text).text)["services"]["a"]["networks"] == {
        "x": {"aliases": ["n"]},
        "y": {"aliases": ["n"], "priority": 1},
    }


def test_networks_of_another_file_are_not_guessed() -> None:
    """What cannot be known is said."""
    text = "services: {a: {extends: {file: x, service: y}, container_name: n}}"
    found = done(text)
    assert found.text == text.replace("container_name: n", 'container_name: "p-n"')
    assert len(found.warnings) == 1
    assert "service 'a'" in found.warnings[0]


def test_a_shared_list_of_networks_is_not_changed_for_others() -> None:
    """Where a list has an anchor, its aliases keep their meaning."""
    text = (
        "services:\n  a:\n    container_name: n\n    networks: &n\n"
        "    - &x x\n    - y\n  b:\n    networks: *n\n    labels: [*x]\n"
    )
    found = yaml.safe_load(done(text).text)["services"]
    assert found["b"] == {"networks": ["x", "y"], "labels": ["x"]}
    assert found["a"]["networks"] == {
        "x": {"aliases": ["n"]},
        "y": {"aliases": ["n"]},
    }


def test_references_to_a_container_follow_its_name() -> None:
    """Those to containers of somebody else stay."""
    text = (
        "services:\n  a: {container_name: n, network_mode: none}\n  b:\n"
        "    network_mode: container:n\n    pid: container:m\n"
        "    volumes_from: [container:n:ro, a]\n    external_links: [n:x, n, m]\n"
    )
    found = yaml.safe_load(done(text).text)["services"]["b"]
    assert found == {
        "network_mode": "container:p-n",
        "pid": "container:m",
        "volumes_from": ["container:p-n:ro", "a"],
        "external_links": ["p-n:x", "p-n", "m"],
    }


def test_fixed_names_become_the_projects_own() -> None:
    """External secrets and configs stay, a test may make them."""
    text = (
        "name: x\nservices: {}\n"
        "networks: {n: {name: '${X}n'}, m: , l: {external: no}}\n"
        "volumes: {v: {name: v}}\nsecrets: {s: {name: s}, e: {external: true}}\n"
        "configs: {c: {name: c}, e: {external: true, name: e}}\n"
    )
    expected = text.replace("name: x\n", "").replace("'${X}n'", '"p_${X}n"')
    for each in "vsc":
        expected = expected.replace(f"name: {each}}}", f'name: "p_{each}"}}')
    assert done(text).text == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("networks: {n: {external: true}}", "n"),
        ("networks: {n: {external: 'true', name: '${X:-y}'}}", "y"),
        ("networks: {n: {external: {name: z}}}", "z"),
        ("volumes: {v: {external: true, name: w}}", "w"),
    ],
)
def test_a_test_joins_only_what_it_made(text: str, name: str) -> None:
    """Anything else is shared with other tests, and with other people."""
    text = f"services: {{}}\n{text}\n"
    assert done(text, may_join=lambda each: each == name).text == text
    with pytest.raises(ConfigError, match=rf"f\.yml: .* is external \('{name}'\)"):
        done(text)


def test_an_engines_own_networks_may_be_joined() -> None:
    """Every engine has them, so no test disturbs another."""
    text = "services: {}\nnetworks: {n: {external: true, name: host}}\n"
    assert done(text).text == text


# Stacks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# c\nservices: {}\n", '# c\nversion: "3.9"\nservices: {}\n'),
        ("name: x\nservices: {}\n", 'version: "3.9"\nservices: {}\n'),
        ('{"services": {}}', '{version: "3.9", "services": {}}'),
        ("version: '3.4'\nservices: {}\n", "version: '3.4'\nservices: {}\n"),
    ],
)
def test_a_stack_has_a_version(text: str, expected: str) -> None:
    """``docker stack deploy`` demands one."""
    assert done(text, stack=True).text == expected


def test_a_stack_keeps_container_names() -> None:
    """A swarm ignores them."""
    text = "version: '3.9'\nservices: {a: {container_name: n}}\n"
    assert done(text, stack=True).text == text


def test_a_name_too_long_for_a_swarm_is_refused() -> None:
    """Before the swarm does so half-way."""
    fits, longer = "s" * 61, "s" * 62
    done(f"services: {{{fits}: {{}}}}", stack=True)
    done(f"services: {{{longer}: {{}}}}")
    with pytest.raises(ConfigError, match="64 characters where a swarm allows 63"):
        done(f"services: {{{longer}: {{}}}}", stack=True)


def test_what_is_reset_is_not_there() -> None:
    """Compose's own tags are understood as far as they matter, and kept."""
    text = "services: {a: {ports: !reset [1:1], image: !reset x, build: !override {}}}"
    assert done(text, images={"x": "y"}).text == text


# Texts


def test_texts_are_replaced_in_one_pass() -> None:
    """The longest first, and nothing twice."""
    substitutions = {"a": "b", "ab": "a", "b": "c", "x": "y", "": "z"}
    assert replace_texts("ab a b.", substitutions) == (
        "a b c.",
        frozenset({"a", "ab", "b"}),
    )
    assert replace_texts("a.*", {".": "-"}) == ("a-*", frozenset("."))
    assert replace_texts("a", {}) == ("a", frozenset())


@pytest.mark.parametrize(
    ("key", "candidates", "expected"),
    [
        ("redis:6", ["redis:7", "redis:7"], ", did you mean 'redis:7'?"),
        (
            "redis:6",
            ["redis:7", "x"],
            ", did you mean 'redis:7'? (it has: 'redis:7', 'x')",
        ),
        ("redis:6", ["x"], " (it has: 'x')"),
        ("redis:6", [], ", or anything else of this kind"),
    ],
)
def test_a_wish_without_effect_is_explained(
    key: str, candidates: list[str], expected: str
) -> None:
    """On one line, with what could have been meant."""
    found = explain_unmatched("imageSubst", key, candidates)
    assert found == f"imageSubst: nothing in the file is called {key!r}{expected}"


def test_a_difference_names_both_sides() -> None:
    """A reader of the report sees what was substituted."""
    assert difference("a\nb\n", "a\nc\n", name="f") == (
        "--- f\n+++ f (tailored)\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    )
    assert difference("a", "a", name="f") == ""


# Any document

NUMBERS = st.integers(1, 65535)
PORTS = st.one_of(
    NUMBERS,
    st.builds("{}:{}".format, NUMBERS, NUMBERS),
    st.builds("10.0.0.1:{}:{}/udp".format, NUMBERS, NUMBERS),
    st.builds("{0}-{1}:{0}-{1}".format, st.just(5), st.integers(5, 9)),
    st.fixed_dictionaries({"target": NUMBERS}, optional={"published": NUMBERS}),
    st.fixed_dictionaries({"target": NUMBERS, "mode": st.just("host")}),
)
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=9
)
NAMES = st.text("abc", min_size=1, max_size=2)
NETWORKS = st.one_of(
    st.none(),
    st.lists(NAMES, unique=True, max_size=2),
    st.dictionaries(
        NAMES,
        st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {}, optional={"priority": NUMBERS, "aliases": st.lists(NAMES)}
            ),
        ),
        max_size=2,
    ),
)


@st.composite
def files(draw: st.DrawFn) -> str:
    """Draw a compose file whose services share parts, one inside the other."""
    shared = {
        "ports": draw(st.lists(PORTS, max_size=3)),
        "networks": draw(NETWORKS),
        "environment": draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        "image": draw(TEXT),
    }
    pool = {key: st.just(value) for key, value in shared.items()}
    own = {
        "ports": st.lists(PORTS, max_size=3),
        "networks": NETWORKS,
        "container_name": NAMES,
        "labels": st.just(shared["ports"]),
        "command": TEXT,
    }
    services = draw(
        st.dictionaries(
            NAMES,
            st.one_of(
                st.fixed_dictionaries({}, optional=pool | own),
                st.fixed_dictionaries({}, optional=own | pool),
                st.just(shared),
            ),
            max_size=4,
        )
    )
    return yaml.safe_dump(
        {"x-shared": [shared], "services": services, "x-more": draw(TEXT)},
        default_flow_style=draw(st.sampled_from([None, True, False])),
        allow_unicode=draw(st.booleans()),
        sort_keys=False,
        width=draw(st.sampled_from([20, 1000])),
    )


def without(found: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return services without some of their keys."""
    return {
        name: {key: value for key, value in each.items() if key not in keys}
        for name, each in found["services"].items()
    }


@given(files())
def test_nothing_but_ports_and_names_changes(text: str) -> None:
    """Whatever else a file says, it says afterwards."""
    before, after = (yaml.safe_load(each) for each in (text, done(text).text))
    changing = ("ports", "networks", "container_name")
    assert without(before, *changing) == without(after, *changing)
    assert before["x-more"] == after["x-more"]


@given(files())
def test_no_number_remains(text: str) -> None:
    """Any number of copies can be up at once."""
    found = survey(done(text).text, name="f", variables={})
    assert [each.published for each in found.ports] == [""] * len(found.ports)
    assert all(each.host_ip for each in found.ports)


@given(files())
def test_every_container_answers_once_in_each_network(text: str) -> None:
    """A service with a name has it everywhere, others have no name added."""
    before, after = (
        yaml.safe_load(each)["services"] for each in (text, done(text).text)
    )
    for name, each in before.items():
        fixed, networks = (
            each.get("container_name"),
            each.get("networks") or ["default"],
        )
        if fixed is None or fixed == name:
            assert after[name].get("networks") == each.get("networks")
            continue
        assert after[name]["container_name"] == f"p-{fixed}"
        assert list(after[name]["networks"]) == list(networks)
        for network, options in after[name]["networks"].items():
            said = (networks[network] if isinstance(networks, dict) else None) or {}
            aliases = {fixed, *(said.get("aliases") or [])}
            assert set(options["aliases"]) == aliases
            assert options | {"aliases": 0} == said | {"aliases": 0}


@given(files())
def test_what_is_tailored_can_be_tailored_again(text: str) -> None:
    """Moved ports stay as they are, and every anchor is still understood."""
    once = done(text).text
    twice = done(once).text
    before, after = yaml.safe_load(once), yaml.safe_load(twice)
    changing = ("networks", "container_name")
    assert without(before, *changing) == without(after, *changing)


@given(files())
def test_a_file_without_wishes_and_names_stays_as_it_is(text: str) -> None:
    """What need not change does not, byte for byte."""
    document = yaml.safe_load(text)
    for each in document["services"].values():
        each.pop("container_name", None)
        each.pop("ports", None)
    text = yaml.safe_dump(document)
    assert done(text, images={"none": "x"}, builds={"y": "z"}).text == text

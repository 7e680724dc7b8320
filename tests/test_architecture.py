"""The rules of the house: who may import whom, and what an import costs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pysys_orch

PACKAGE = Path(pysys_orch.__file__).parent
WINGS = ("docker", "orchestration", "livecheck", "escalation")
#: What all wings stand on, and what else of ours each of these may import.
GROUND = {
    "errors": set[str](),
    "lazy": set[str](),
    "raising": set[str](),
    "callers": set[str](),
    "durations": set[str](),
    "limits": {"pysys_orch.inputs"},
    "inputs": {"pysys_orch.errors"},
    "clock": {"pysys_orch.errors"},
    "settings": {"pysys_orch.errors"},
    "state": {"pysys_orch.clock", "pysys_orch.errors", "pysys_orch.settings"},
}


def imported(source: str, module: str) -> set[str]:
    """Return every module, and every name in a module, that *source* imports.

    Wherever the import stands: in a function and for type checking counts as well.

    Args:
        source: A module's text.
        module: Its full name, which relative imports start from.
    """
    names = set[str]()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                parts = module.split(".")[: -node.level] if node.level else []
                parts += [node.module] if node.module else []
                origin = ".".join(parts)
                names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    return names


def modules() -> Iterator[tuple[str, set[str]]]:
    """Yield the full name of each of our modules, and what it imports."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        # What a package's own file imports relatively starts from the package.
        source = path.read_text(encoding="utf-8")
        imports = imported(source, ".".join(parts))
        yield ".".join(part for part in parts if part != "__init__"), imports


def within(name: str, *packages: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in packages)


def violations(importer: str, *forbidden: str, but: tuple[str, ...] = ()) -> list[str]:
    """Return who in *importer* imports what is *forbidden*."""
    return [
        f"{module} imports {name}"
        for module, names in modules()
        if within(module, importer)
        for name in sorted(names)
        if within(name, *forbidden) and not within(name, *but)
    ]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os.path as x, sys", {"os.path", "sys"}),
        ("from a.b import c, d as e", {"a.b", "a.b.c", "a.b.d"}),
        ("from . import c", {"p.q", "p.q.c"}),
        ("from ..r import c", {"p.r", "p.r.c"}),
        ("def f():\n    import late", {"late"}),
        ("if TYPE_CHECKING:\n    from t import T", {"t", "t.T"}),
        ("'import not_this'", set()),
    ],
)
def test_no_import_is_overlooked(source: str, names: set[str]) -> None:
    """The rules below can fail."""
    assert imported(source, "p.q.module") == names


def test_there_are_modules_to_look_at() -> None:
    """The rules below are about something."""
    names = {name for name, _ in modules()}
    assert {
        "pysys_orch",
        "pysys_orch.docker",
        "pysys_orch.docker.engine.client",
    } <= names
    assert violations("pysys_orch.docker", "pysys_orch.errors")


@pytest.mark.parametrize("wing", WINGS)
def test_wings_never_import_each_other(wing: str) -> None:
    """Each can be used, understood and replaced alone."""
    others = [f"pysys_orch.{other}" for other in WINGS if other != wing]
    assert violations(f"pysys_orch.{wing}", *others) == []


@pytest.mark.parametrize("wing", WINGS)
def test_wings_import_nothing_that_stands_on_them(wing: str) -> None:
    """Commands, reports and test tools are built from wings, not the reverse."""
    above = [f"pysys_orch.{each}" for each in ("cli", "report", "testing")]
    assert violations(f"pysys_orch.{wing}", *above) == []


@pytest.mark.parametrize("name", GROUND)
def test_the_ground_stands_on_nothing_above_it(name: str) -> None:
    """What every wing imports imports no wing."""
    allowed = tuple(GROUND[name])
    assert violations(f"pysys_orch.{name}", "pysys_orch", but=allowed) == []


def test_the_engine_layer_knows_neither_pysys_nor_the_layer_above() -> None:
    """What speaks to engines is plain Python, for programs and tests of any kind."""
    engine = "pysys_orch.docker.engine"
    assert violations(engine, "pysys") == []
    assert violations(engine, "pysys_orch.docker", but=(engine,)) == []


def test_only_what_pysys_sees_imports_pysys() -> None:
    """The command, the ground and the test tools work where there is no PySys."""
    for name in ("cli", "testing", *GROUND):
        assert violations(f"pysys_orch.{name}", "pysys") == []


def test_an_orchestration_knows_nothing_of_pysys_but_where_pysys_sees_it() -> None:
    """It is planned, run and judged without."""
    found = violations("pysys_orch.orchestration", "pysys")
    home = "pysys_orch.orchestration"
    assert {line.split()[0] for line in found} == {
        f"{home}.descriptors",
        f"{home}.testcase",
    }


def test_one_module_of_a_wing_knows_the_docker_sdk() -> None:
    """Who replaces the SDK replaces one module of each wing that uses it."""
    importers = {line.split()[0] for line in violations("pysys_orch", "docker")}
    assert importers == {
        "pysys_orch.docker.engine.transport",
        "pysys_orch.livecheck.reach",
    }


def loaded_by(module: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has after an import."""
    program = (
        f"import {module}, json, sys;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "module",
    [
        "pysys_orch",
        "pysys_orch.cli",
        "pysys_orch.docker",
        "pysys_orch.docker.engine.client",
        "pysys_orch.docker.engine.collect",
        "pysys_orch.docker.engine.reaper",
        "pysys_orch.escalation",
        "pysys_orch.orchestration",
        "pysys_orch.testing",
    ],
)
def test_an_import_brings_nothing_that_is_not_needed(module: str) -> None:
    """Who does not use Docker does not pay for it; nor for PySys outside PySys."""
    heavy = {"docker", "pydantic", "pysys", "requests", "sqlalchemy", "urllib3", "yaml"}
    loaded = loaded_by(module)
    assert "pysys_orch" in loaded
    assert loaded & heavy == set()

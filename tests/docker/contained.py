"""Runs that are inside a container, with the engine's socket mounted."""

from __future__ import annotations

from pathlib import Path

import pysys

import pysys_orch
from pysys_orch.docker.engine.client import ApiEngine
from tests.nested import NestedProject

#: An image that has Python.
DEBIAN = "pysys-orch-test/debian:1"


def runner_options(nested: NestedProject, engine: ApiEngine) -> list[str]:
    """Return the arguments of ``docker run`` for a container that runs a project."""
    package = Path(pysys_orch.__file__).parent
    # What is compiled in there is for one release of Python; nothing needs it.
    libraries = Path(pysys.__path__[0]).parent
    mounts = {
        str(nested.folder): str(nested.folder),
        str(package): f"/code/{package.name}:ro",
        str(libraries): "/libraries:ro",
        engine.endpoint.removeprefix("unix://"): "/var/run/docker.sock",
    }
    return [
        *(f"--volume={path}:{inside}" for path, inside in mounts.items()),
        "--env=PYTHONPATH=/code:/libraries",
        "--env=PYTHONDONTWRITEBYTECODE=1",
        f"--workdir={nested.folder}",
    ]

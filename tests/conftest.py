"""What the tests share: a real engine, and a clock that is a number."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.collect import Policy, plan_collection, sweep
from pysys_orch.docker.engine.ownership import (
    Owner,
    this_domain,
    this_owner,
)
from pysys_orch.errors import DockerError

# The folder of the `pytest` program is on the path. PySys keeps a `pysys.py` there that
# would be taken for the package.
sys.path[:] = [entry for entry in sys.path if not Path(entry, "pysys.py").is_file()]

# A busy machine is no failure: what takes too long is a matter of pytest-timeout.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

pytest_plugins = ["tests.postgres", "tests.swarm"]

#: The image that `scripts/images` makes.
BUSYBOX = "pysys-orch-test/busybox:1"


@pytest.fixture(scope="session")
def engine() -> ApiEngine:
    """Return the real engine; without one the test fails in CI and skips by hand."""
    try:
        return ApiEngine.connect(os.environ)
    except DockerError as failure:
        if os.environ.get("PYSYS_ORCH_REQUIRE_ENGINE"):
            raise
        pytest.skip(str(failure))


@pytest.fixture
def owner(engine: ApiEngine) -> Iterator[Owner]:
    """Return this process as an owner, and remove what it made on the engine."""
    me = this_owner(this_domain())
    yield me
    policy = Policy.here(lease=300, retention_days=7, known=(me,))
    plan = plan_collection(engine.listing(), now=engine.now(), policy=policy)
    sweep(engine, plan, clock=SystemClock())

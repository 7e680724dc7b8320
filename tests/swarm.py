"""A swarm for the tests that need one, on an engine that others use as well."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.swarming import SwarmState
from pysys_orch.errors import EngineAnswerError, SwarmInactiveError
from tests.docker.owned import eventually

#: The label of a swarm that tests have begun, and what configs of those who use one are
#: called: they are all that says so between two tests.
_USE = "pysys-orch-tests"


@pytest.fixture(scope="session")
def swarm(engine: ApiEngine) -> Iterator[None]:
    """Have the real engine manage a swarm; of several sessions the last leaves it."""
    if engine.swarm_state() is SwarmState.INACTIVE:
        with contextlib.suppress(EngineAnswerError):  # that another was faster
            engine.begin_swarm({_USE: "begun"})
    eventually(
        lambda: engine.swarm_state() is SwarmState.MANAGER,
        what="the engine manages a swarm",
    )
    name = f"{_USE}-{os.getpid()}"
    use = engine.create_config(name, b"in use", {})
    yield
    with contextlib.suppress(SwarmInactiveError):  # likewise
        engine.remove(Resource(kind=Kind.CONFIG, id=use, name=name))
        is_ours = _USE in engine.inspect_swarm()["Spec"]["Labels"]
        if is_ours and not any(map(_is_use, engine.listing(dated=False))):
            engine.remove(Resource(kind=Kind.SWARM, id="", name="default"))


def _is_use(found: Found) -> bool:
    name, _, pid = found.resource.name.rpartition("-")
    if name == _USE:
        return Path("/proc", pid).exists()  # else that session was killed
    return found.resource.kind in {Kind.SERVICE, Kind.SECRET, Kind.CONFIG}

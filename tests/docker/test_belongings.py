"""What is told and removed when a test ends does not depend on one thing alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import pytest

from pysys_orch.clock import SystemClock
from pysys_orch.docker.belongings import Belonging, Belongings
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.parent import Parent
from pysys_orch.errors import DockerError
from tests.docker.stand_in import StandIn


class Thing:
    """A container, unless the engine does not answer.

    Args:
        name: Its name; nothing if that cannot be found out.
    """

    def __init__(self, name: str) -> None:
        self.displayName = name
        self.is_detached = False

    def resources(self) -> list[Resource]:
        if not self.displayName:
            message = "no answer"
            raise DockerError(message)
        name = self.displayName
        return [Resource(kind=Kind.CONTAINER, id=name, name=name)]

    def leaveEvidence(self, folder: Path) -> None:  # noqa: N802 -- PySys's style
        pass

    def detach(self) -> None:
        self.is_detached = True


def test_what_was_kept_is_told_though_one_thing_cannot_be_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who keeps things for a look at them needs the names of the others."""
    test = StandIn(tmp_path)
    test.failed = True
    belongings = Belongings(cast("Parent", test), keep=True, clock=SystemClock())
    things = [Thing(name) for name in ("first", "", "last")]
    for thing in things:
        belongings.add(cast("Belonging", thing))
    with caplog.at_level(logging.WARNING, "pysys.orch.docker"):
        test.cleanup()
    assert all(thing.is_detached for thing in things)
    told = "\n".join(caplog.messages)
    assert "docker exec -it first sh" in told
    assert "docker exec -it last sh" in told
    assert "pysys-orch collect --kept" in told

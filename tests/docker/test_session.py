"""What a run's session tells and removes does not depend on one thing alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import pytest

from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.session import Belongings
from pysys_orch.errors import DockerError

if TYPE_CHECKING:
    from pysys_orch.docker.session import Belonging


class Thing:
    """A container, unless the engine does not answer.

    Args:
        name: Its name; nothing if that cannot be found out.
    """

    def __init__(self, name: str) -> None:
        self.displayName = name

    def resources(self) -> list[Resource]:
        if not self.displayName:
            message = "no answer"
            raise DockerError(message)
        name = self.displayName
        return [Resource(kind=Kind.CONTAINER, id=name, name=name)]


def test_what_was_kept_is_told_though_one_thing_cannot_be_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who keeps things for a look at them needs the names of the others."""
    things = [cast("Belonging", Thing(name)) for name in ("first", "", "last")]
    with caplog.at_level(logging.WARNING, "pysys.orch.docker"):
        Belongings._tell_kept(things)
    told = "\n".join(caplog.messages)
    assert "docker exec -it first sh" in told
    assert "docker exec -it last sh" in told
    assert "pysys-orch collect --kept" in told

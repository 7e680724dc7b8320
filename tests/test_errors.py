"""An error fits on one line, says what to do, and is caught as narrowly as needed."""

from __future__ import annotations

import inspect
import re

import pytest

from pysys_orch import errors
from pysys_orch.errors import (
    CleanupError,
    ConflictError,
    DockerError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
    OrchError,
)

MISSING = NotFoundError("remove volume v", 404, "get v: no such volume")
IN_USE = ConflictError("remove image i:1", 409, "container c is using it")


def test_an_unreachable_engine_is_named_with_the_cause_and_what_to_do() -> None:
    """PySys shows this line as the outcome of every test that needs Docker."""
    failure = EngineUnreachableError(
        "unix:///var/run/docker.sock", "connection refused"
    )
    assert str(failure) == (
        "no Docker Engine answers at unix:///var/run/docker.sock "
        "(connection refused): start one, or set DOCKER_HOST"
    )
    assert failure.endpoint == "unix:///var/run/docker.sock"
    assert failure.cause == "connection refused"


def test_a_refusal_says_what_was_asked_for_and_quotes_the_engine() -> None:
    """The engine's own words can be searched for."""
    assert str(MISSING) == "remove volume v: get v: no such volume (HTTP 404)"
    assert (MISSING.request, MISSING.status, MISSING.explanation) == (
        "remove volume v",
        404,
        "get v: no such volume",
    )


def test_a_failed_cleanup_names_everything_that_is_left() -> None:
    """One line tells it all, and each failure can be looked at."""
    failure = CleanupError([MISSING, IN_USE])
    assert str(failure) == f"2 could not be removed: {MISSING}; {IN_USE}"
    assert failure.failures == (MISSING, IN_USE)


@pytest.mark.parametrize("failure", [MISSING, IN_USE])
def test_every_refusal_can_be_caught_as_one(failure: Exception) -> None:
    """Who does not care why the engine refused need not know all the reasons."""
    assert isinstance(failure, EngineAnswerError)
    assert isinstance(failure, DockerError)


def test_all_errors_have_one_root_and_stand_in_the_tree() -> None:
    """The tree at the top of the module is complete, and drawn as the classes are."""
    classes = {
        name: value
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if value.__module__ == errors.__name__
    }
    assert all(issubclass(each, OrchError) for each in classes.values())
    lines = re.findall(r"^([│├└─ ]*)(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    drawn = {}
    path: list[tuple[int, str]] = [(-1, "Exception")]
    for indent, name in lines:
        path = [each for each in path if each[0] < len(indent)]
        drawn[name] = path[-1][1]
        path.append((len(indent), name))
    assert drawn == {name: each.__mro__[1].__name__ for name, each in classes.items()}

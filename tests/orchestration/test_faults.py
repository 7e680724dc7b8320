"""A fault that a test has as an attribute is an event, and what takes it back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.stage import library, simulate
from tests.orchestration.test_events import problems


class Fault:
    """Something that can be in force."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @property
    def isInForce(self) -> bool:  # noqa: N802 -- as PySys users write
        return self.said[-1:] == ["start"]

    def start(self) -> Fault:
        assert not self.isInForce
        self.said.append("start")
        return self

    def undo(self) -> Fault:
        self.said.append("undo")
        return self


class Owner:
    """A test that has attributes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def freezing(**keys: Any) -> dict[str, Any]:
    """Return an event that freezes for a second, every three."""
    return {
        "name": "freeze",
        "interval_sec": 3,
        "duration_sec": 1,
        "undo": "freeze",
        **keys,
    }


def test_a_fault_is_started_and_undone_in_turn(tmp_path: Path) -> None:
    """The journal pairs each start with its undo."""
    fault = Fault()
    found = simulate(
        tmp_path, replace(library(), owner=Owner(freeze=fault)), freezing()
    )
    assert found.reasons == []
    assert fault.said == ["start", "undo"] * 4
    assert [(each["kind"], each["ordinal"]) for each in found.of("freeze")] == [
        (kind, number) for number in (1, 2, 3, 4) for kind in ("scheduled", "undo")
    ]
    assert [each["due"] for each in found.of("freeze", "undo")] == [1, 4, 7, 10]


def test_a_fault_without_undo_is_started_only(tmp_path: Path) -> None:
    """For one that is over at once, such as a restart."""
    started: list[str] = []

    class Over(Fault):
        isInForce = False  # noqa: N815 -- it never is

        def start(self) -> Fault:
            started.append("start")
            return self

    owner = Owner(bounce=Over())
    event = {"name": "bounce", "interval_sec": 5}
    found = simulate(tmp_path, replace(library(), owner=owner), event)
    assert (found.reasons, started) == ([], ["start"] * 2)


def test_what_another_event_has_put_in_force_stays_so(tmp_path: Path) -> None:
    """The later one fails, and does not take back what is not its own."""
    fault = Fault()
    found = simulate(
        tmp_path,
        replace(library(), owner=Owner(freeze=fault)),
        {"name": "freeze", "duration_sec": 9, "undo": "freeze"},
        freezing(at_startup=False, count=2),
    )
    assert fault.said == ["start", "undo"]
    (words,) = found.reasons
    assert "2 of 2" in words
    assert "fault freeze is in force already: undo it first" in words


def test_a_function_may_start_what_a_fault_takes_back(tmp_path: Path) -> None:
    """And the reverse."""
    fault = Fault()
    functions = library(begin=fault.start, end=fault.undo)
    for event in (freezing(name="begin"), freezing(undo="end")):
        simulate(tmp_path, replace(functions, owner=Owner(freeze=fault)), event)
    assert fault.said == ["start", "undo"] * 8


def test_what_does_not_fit_is_said_before_the_run() -> None:
    """With what is there instead."""
    owner = Owner(freeze=Fault(), web=object(), _hidden=Fault())
    functions = replace(library(), owner=owner)
    assert problems(functions, freezing(overlap="parallel")) == [
        "event 1 (freeze): overlap: a fault of the test cannot be in force twice"
    ]
    assert [
        words.endswith("'web' is an attribute of the test without start() and undo()")
        for words in problems(functions, freezing(name="web", undo="web"))
    ] == [True, True]
    (words,) = problems(functions, freezing(undo="freez"))
    assert "did you mean" in words
    assert "freeze" in words
    (words,) = problems(functions, freezing(params={"hard": True}))
    assert words == "event 1 (freeze): freeze takes no 'hard'"


@pytest.mark.parametrize("value", [True, lambda _: True])
def test_whether_it_is_in_force_may_be_asked_or_read(
    tmp_path: Path, value: object
) -> None:
    """Both forms are found among such classes."""
    fault = Fault()
    owner = Owner(freeze=type("Always", (Fault,), {"isInForce": value})())
    found = simulate(tmp_path, replace(library(), owner=owner), freezing(count=1))
    assert "is in force already" in found.reasons[0]
    assert fault.said == []

"""What can be said wrongly about a case is refused, or warned of."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import pytest

from pysys_orch.errors import ConfigError
from pysys_orch.livecheck import Case, LiveCheck, Signal


class Plain(Case):
    """A case of which nothing is said."""


@pytest.mark.parametrize(
    "name",
    [
        *("trigger", "run", "status", "active", "probability", "_upkeep", "_step"),
        *("app", "name", "health", "arrivals", "deadlines", "signals", "policy"),
    ],
)
def test_no_signal_takes_the_place_of_something_else(name: str) -> None:
    """Neither one that a class declares, nor one that is given."""
    with pytest.raises(ConfigError, match=f"no signal can be called '{name}'"):
        type("Own", (Case,), {"__annotations__": {name: Signal[str]}})
    with pytest.raises(ConfigError, match=f"no signal can be called '{name}'"):
        LiveCheck().add_case(Plain, signals=[Signal(name)])


def test_all_that_a_case_has_is_taken() -> None:
    """Whatever is added to it later."""
    case = LiveCheck().add_case(Plain)
    for name in vars(case):
        with pytest.raises(ConfigError, match="no signal can be called"):
            LiveCheck().add_case(Plain, signals=[Signal(name)])


def test_a_signal_needs_a_name() -> None:
    """It is what the system under test calls it."""
    with pytest.raises(ConfigError, match="a signal needs a name"):
        LiveCheck().add_case(Plain, signals=[Signal()])


def test_a_signal_may_be_said_to_be_of_the_class() -> None:
    """Which is what it is, for who reads it."""

    class Says(Case):
        sent: ClassVar[Signal[int]]

    case = LiveCheck().add_case(Says)
    assert {name: each.of for name, each in case.signals.items()} == {"sent": int}


@pytest.mark.parametrize(
    "name",
    [
        *("active", "probability", "test_expires", "max_history", "realtime_logs"),
        *("max_consecutive_failures", "passes_to_recover", "state_transition_delay"),
        *("url_error_retries", "url_error_delay_min"),
    ],
)
def test_none_is_for_options_that_know_it(name: str) -> None:
    """Where it would mean nothing, it is refused before anything runs."""
    with pytest.raises(ConfigError, match=f"{name} has to be"):
        LiveCheck().add_case(type("Own", (Case,), {name: None}))


def test_none_is_never_or_for_ever() -> None:
    """For options that can be without a value."""
    names = ["warn_stalled_after", "frequency", "url_timeout_total"]
    case: Case = LiveCheck().add_case(type("Own", (Case,), dict.fromkeys(names)))
    assert [getattr(case, name) for name in names] == [None] * 3


def test_an_attribute_that_is_nearly_an_option_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It does nothing, and looks as if it did."""

    class Own(Case):
        probabilty = 1.0
        max_consecutive_failure = 3
        url = "http://service"
        budget_of_the_department = 7

        async def run(self) -> None:
            pass

    LiveCheck().add_case(Own)
    assert [record.message.rpartition("Own.")[2] for record in caplog.records] == [
        "probabilty is no option, did you mean probability?",
        "max_consecutive_failure is no option, did you mean max_consecutive_failures?",
    ]


def test_a_case_without_a_test_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """When it is added, before each of its tests is an error; once is enough."""
    LiveCheck().add_case(Plain)
    (record,) = caplog.records
    words = "Plain defines no run(): each of its tests will be an ERROR"
    assert record.getMessage() == words


def test_what_is_made_already_takes_no_options() -> None:
    """They would be dropped."""
    app = LiveCheck()
    case = Plain(app=app, name="a")
    with pytest.raises(ConfigError, match="give probability where it is made"):
        app.add_case(case, probability=1.0)
    with pytest.raises(ConfigError, match="give name where it is made"):
        app.add_case(case, name="b")
    assert app.add_case(case, name="a") is case


def test_a_case_is_of_one_application() -> None:
    """Its tests and reports go there, wherever else it is added."""
    case = LiveCheck().add_case(Plain)
    with pytest.raises(ConfigError, match="is of another application"):
        LiveCheck().add_case(case)


def test_a_name_is_no_case() -> None:
    """The message says what was given."""
    name: Any = "Checkout"
    with pytest.raises(ConfigError, match="'Checkout' has to be a subclass of Case"):
        LiveCheck().add_case(name)


@pytest.mark.parametrize("wrong", ["5", 0, 2.0, True, None])
def test_a_count_is_a_whole_number(wrong: object) -> None:
    """And what is none is named."""
    for name in ("concurrency", "max_pending"):
        with pytest.raises(ConfigError, match=f"{name} has to be a whole number"):
            LiveCheck(**cast("dict[str, Any]", {name: wrong}))

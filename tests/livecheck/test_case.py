"""A case does what its options say, and knows whether it is healthy."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from pysys_orch.errors import ConfigError
from pysys_orch.livecheck import (
    Case,
    Condition,
    LiveCheck,
    LiveCheckError,
    ServiceDown,
    State,
    SuiteFailed,
    SuiteStalled,
    TestExecution,
    TestReport,
)
from tests.livecheck.stage import Stage, play


class Pays(Case):
    """Passes as long as it is told to."""

    probability = 1.0
    is_well = True
    lasts = 0.0

    async def run(self) -> None:
        if self.lasts:
            await asyncio.sleep(self.lasts)
        assert self.is_well


async def once(stage: Stage, case: Case, *, times: int = 1) -> None:
    for _ in range(times):
        await case.trigger()
        await stage.idle()


# Options


@pytest.mark.parametrize("name", ["warn_stalled_after", "frequency", "test_expires"])
@pytest.mark.parametrize("value", [90, 90.0, "90", "90s", "1m30s", timedelta(0, 90)])
@pytest.mark.parametrize("place", ["class", "keyword", "decorator"])
def test_a_duration_can_be_given_in_any_form_anywhere(
    name: str, value: object, place: str
) -> None:
    """An hour is an hour, wherever and however it is written."""
    app = LiveCheck()
    option: dict[str, Any] = {name: value}
    case: Case
    if place == "class":
        case = app.add_case(type("Own", (Pays,), option))
    elif place == "keyword":
        case = Pays(app=app, name="own", **option)
    else:
        case = app.case(name="own", **option)(Pays)
    found = getattr(case, name)
    assert found == (timedelta(seconds=90) if name == "test_expires" else 90.0)


def test_a_keyword_counts_more_than_the_class_and_none_says_nothing() -> None:
    """What the class says stays, unless somebody says something else."""

    class Own(Pays):
        warn_stalled_after = 7.0
        max_history = 3

    app = LiveCheck()
    case = Own(app=app, name="a", warn_stalled_after=None, max_history=5)
    assert case.warn_stalled_after == 7.0
    assert case.max_history == 5
    decorated = app.case(Own)
    assert decorated.warn_stalled_after == 7.0


def test_all_options_of_the_seed_and_more_can_be_given_to_the_decorator() -> None:
    """Nothing needs a class of its own."""
    app = LiveCheck()
    case = app.case(
        name="c",
        active=False,
        realtime_logs=True,
        state_transition_delay="2m",
        max_history=7,
        passes_to_recover=2,
    )(Pays)
    assert (case.active, case.realtime_logs, case.max_history) == (False, True, 7)
    assert case.state_transition_delay == 120.0
    assert case.policy.passes_to_recover == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"probabilty": 1.0}, "no option 'probabilty', did you mean probability?"),
        ({"probability": 1.5}, r"probability has to be a number from 0 to 1, got 1.5"),
        ({"probability": "all"}, "probability has to be a number"),
        ({"max_history": 0}, "max_history has to be a whole number from 1, got 0"),
        ({"active": 1}, "active has to be True or False, got 1"),
        ({"frequency": 0}, "frequency has to be more than 0"),
        ({"test_expires": "soon"}, "test_expires has to be seconds"),
        ({"warn_stalled_after": -1}, "warn_stalled_after has to be seconds"),
        ({"url_error_delay_backoff": 0.5}, "url_error_delay_backoff has to be"),
    ],
)
def test_an_option_that_makes_no_sense_is_an_error_that_says_why(
    options: dict[str, Any], words: str
) -> None:
    """A slip of the pen is found when the program starts."""
    with pytest.raises(ConfigError, match=words):
        LiveCheck().add_case(Pays, **options)


# Sampling


@pytest.mark.parametrize(
    ("probability", "least", "most"), [(0.0, 0, 0), (1.0, 1000, 1000), (0.3, 250, 350)]
)
def test_a_share_of_what_comes_along_is_tested(
    probability: float, least: int, most: int
) -> None:
    """None, all, or about as many as asked for."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Pays, probability=probability)
        tested = 0
        for number in range(1000):
            async with case.maybe_trigger(str(number)) as test:
                assert case.current_test is test
                tested += test is not None
            assert case.current_test is None
        await stage.idle()
        assert least <= tested <= most
        assert len(stage.reports) == tested

    play(scene)


def test_what_fails_in_the_body_comes_out_of_it() -> None:
    """The service's own errors are its own."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Pays)
        with pytest.raises(KeyError):
            async with case.maybe_trigger():
                raise KeyError
        assert case.current_test is None

    play(scene)


def test_the_same_seed_gives_the_same_ids() -> None:
    """A run can be told again; without an id each test has its own."""

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Pays)
        return [(await case.trigger()).id for _ in range(100)]

    first, second = play(scene, random=Random(1)), play(scene, random=Random(1))
    assert first == second
    assert len(set(first)) == 100
    assert first != play(scene, random=Random(2))


@pytest.mark.parametrize("id", [None, ""])
def test_a_test_without_an_id_gets_one(id: str | None) -> None:  # noqa: A002 -- as there
    """None is lost for having no name."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Pays)
        test = await case.trigger(id)
        await stage.idle()
        assert len(test.id) == 36
        assert stage.states == ["PASS"]

    play(scene)


def test_a_triggered_test_has_its_times_from_the_clock() -> None:
    """In whatever time zone the machine is."""

    async def scene(stage: Stage) -> TestExecution:
        case = stage.app.add_case(Pays, test_expires="2h")
        test = await case.trigger("a")
        assert test.timestamp == stage.clock.stamp()
        return test

    test = play(scene)
    assert test.expires - test.timestamp == timedelta(hours=2)
    assert test.case_name == "Pays"


# Health


def test_too_many_failures_in_a_row_fail_the_case_once() -> None:
    """It is reported when it changes, not for each test."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Pays, max_consecutive_failures=3)
        case.is_well = False
        await once(stage, case, times=2)
        assert stage.suites == []
        assert case.consecutive_failures == case.total_failures == 2
        await once(stage, case, times=10)
        assert stage.suites == ["FAIL"]
        assert case.condition is Condition.FAILING
        assert stage.reports[3].error == "Failed after 3 (max=3)"
        assert case.consecutive_failures == 12
        assert case.last_fail == stage.clock.instant()
        assert case.seconds_since_last_fail == 0.0

    play(scene)


def test_a_pass_breaks_a_run_of_failures() -> None:
    """Two failures, a pass, and two failures are not four in a row."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Pays, max_consecutive_failures=3)
        for is_well in (False, False, True) * 5:
            case.is_well = is_well
            await once(stage, case)
        assert stage.suites == []
        assert case.total_by_state == Counter({State.PASS: 5, State.FAIL: 10})

    play(scene)


def test_it_recovers_after_the_delay_by_a_test_that_came_later() -> None:
    """A test from before the failure says nothing about now."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(
            Pays, max_consecutive_failures=1, warn_stalled_after="1d"
        )
        stamp = stage.clock.stamp()
        old = TestExecution("old", "Pays", stamp, [], {}, stamp + timedelta(hours=3))
        await asyncio.sleep(3600)
        case.is_well = False
        await once(stage, case)
        case.is_well = True
        await asyncio.sleep(61)
        await case.execute(old)
        assert stage.suites == ["FAIL"]
        await once(stage, case)
        assert case.condition is Condition.HEALTHY
        assert stage.suites == ["FAIL", "PASS"]

    play(scene)


def test_trouble_is_told_again_after_the_delay() -> None:
    """What goes on failing now and then is not forgotten."""

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(
            Pays, max_consecutive_failures=1, state_transition_delay=60
        )
        case.is_well = False
        for _ in range(3):
            await once(stage, case)
            await asyncio.sleep(61)
        return stage.suites

    assert play(scene) == ["FAIL"] * 3


@pytest.mark.parametrize("has_test", [True, False])
def test_silence_is_a_stall_after_one_period(*, has_test: bool) -> None:
    """Also if there never was a test; a test ends it."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(
            Pays, warn_stalled_after=30.0, state_transition_delay=5
        )
        await asyncio.sleep(1)
        if has_test:
            await once(stage, case)
        begin = 1.0 if has_test else 0.0
        await asyncio.sleep(begin + 30 - (stage.clock.instant() - 1000.0) - 0.5)
        assert stage.suites == []
        await asyncio.sleep(1)
        assert case.status is State.STALL
        assert stage.suites == ["STALL"]
        if has_test:
            assert case.last_test_received == 1001.0
        await asyncio.sleep(6)
        await once(stage, case)
        assert stage.suites == ["STALL", "PASS"]

    play(scene)


def test_a_check_for_silence_forgives_no_failures() -> None:
    """A case that fails all the time stays one that fails."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(
            Pays, warn_stalled_after=5.0, max_consecutive_failures=30
        )
        case.is_well = False
        for _ in range(40):
            await once(stage, case)
            await asyncio.sleep(2)
            assert case.status is State.FAIL
        assert case.consecutive_failures == 40
        assert "FAIL" in stage.suites

    play(scene)


def test_the_hook_learns_what_is_wrong() -> None:
    """A subclass pages somebody; the report is the default."""
    heard: list[tuple[type[SuiteFailed], State]] = []

    class Pages(Pays):
        warn_stalled_after = 30.0
        max_consecutive_failures = 1

        async def on_suite_fail(
            self, exc: SuiteFailed, new_state: State = State.FAIL
        ) -> None:
            heard.append((type(exc), new_state))
            await super().on_suite_fail(exc, new_state)
            raise OSError("the pager is broken")

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Pages)
        await asyncio.sleep(31)
        case.is_well = False
        await once(stage, case)
        return stage.suites

    assert play(scene) == ["STALL", "FAIL"]
    assert heard == [(SuiteStalled, State.STALL), (SuiteFailed, State.FAIL)]


def test_whoever_knows_better_may_fail_the_case() -> None:
    """It is told once, as if the tests had said it."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Pays)
        for _ in range(3):
            await case.on_suite_fail(ServiceDown("the bank is closed"))
        assert stage.suites == ["FAIL"]
        assert stage.reports[0] == TestReport(
            "Pays", State.FAIL, {}, error="the bank is closed"
        )
        assert case.status is State.FAIL

    play(scene)


# Histories


def test_histories_are_bounded_and_averages_are_medians() -> None:
    """Gaps from start to start; how late that is; and how long passes took."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Pays, frequency=10.0, max_history=3, active=True)
        for lasts, pause in ((1, 10), (2, 20), (9, 9), (3, 15), (4, 0)):
            case.lasts = lasts
            begin = stage.clock.instant()
            await once(stage, case)
            await asyncio.sleep(max(0.0, begin + pause - stage.clock.instant()))
        assert list(case.frequency_history) == [20.0, 9.0, 15.0]
        assert list(case.latency_history) == [10.0, -1.0, 5.0]
        assert list(case.runtime_history) == [9.0, 3.0, 4.0]
        await asyncio.sleep(10)
        found = (case.frequency_avg, case.latency_avg, case.runtime_avg)
        assert found == (15.0, 5.0, 4.0)

    play(scene)


def test_runtimes_are_those_of_passes() -> None:
    """How long a failure takes says nothing about how long it should."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Pays)
        case.is_well = False
        await once(stage, case)
        assert not case.runtime_history
        assert case.runtime_avg is None

    play(scene)


# Fake requests


def test_fake_requests_are_made_at_their_times_whatever_they_do() -> None:
    """One that raises is logged; one that takes long makes none late."""
    made: list[float] = []

    class Fakes(Pays):
        frequency = 10.0

        async def make_fake_request(self) -> None:
            made.append(self.clock.instant() - 1000.0)
            if len(made) == 1:
                raise OSError("not yet")
            if len(made) == 3:
                await asyncio.sleep(25)

    async def scene(stage: Stage) -> None:
        stage.app.add_case(Fakes)
        await asyncio.sleep(75)

    play(scene)
    assert made == [10, 20, 30, 60, 70]


def test_a_case_is_named_for_people() -> None:
    """Its label has its class and its name."""
    case = LiveCheck().add_case(Pays, name="shop.pays")
    assert case.label == "Pays: shop.pays"
    assert repr(case) == "<Pays: shop.pays INIT>"


def test_a_case_without_a_run_is_an_error_of_the_test() -> None:
    """Whoever forgets it is told."""

    class Empty(Case):
        pass

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Empty)
        test = await case.trigger()
        await stage.idle()
        assert stage.states == ["ERROR"]
        with pytest.raises(LiveCheckError, match=r"Empty has to define run\(\)"):
            await case.execute(test)

    play(scene)

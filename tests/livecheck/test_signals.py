"""A signal reaches the test that it is for, in time or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.errors import ConfigError
from pysys_orch.livecheck import (
    Case,
    LiveCheck,
    LocalBus,
    Signal,
    SignalEvent,
    TestExecution,
    Topic,
    current_test,
)
from pysys_orch.livecheck.arrivals import MISSING, Arrivals
from pysys_orch.livecheck.signals import key_text
from pysys_orch.livecheck.values import plain, reader_of
from pysys_orch.testing import ManualClock, run_virtual
from tests.livecheck.stage import Stage, play

if TYPE_CHECKING:
    from fractions import Fraction


@dataclass
class Order:
    amount: float
    at: datetime


class Parcel(pydantic.BaseModel):
    weight: float


class Shop(Case):
    probability = 1.0
    order_sent: Signal[Order]
    order_shipped: Signal[str]
    told: list[Any]

    async def run(self, wait: dict[str, Any] | None = None) -> None:
        self.told = [await self.order_shipped.wait(**(wait or {}))]


def event(
    case: Case, key: str, value: object, name: str = "order_shipped"
) -> Awaitable[None]:
    return case.app.send_signal(key, SignalEvent(name, case.name, key, value))


def shop(stage: Stage) -> Shop:
    return stage.app.add_case(Shop)


# When it counts


@pytest.mark.parametrize("delay", [0.001, 0.79, 9.999, 29.999])
def test_a_wait_lasts_as_long_as_it_was_asked_to(delay: float) -> None:
    """Half a minute is half a minute, however many other signals come meanwhile."""

    async def scene(stage: Stage) -> str:
        case = shop(stage)
        await case.trigger("a", {"timeout": 30})
        end = stage.clock.instant() + delay
        while (left := end - stage.clock.instant()) > 0:
            await event(case, "other", "noise")
            await asyncio.sleep(min(0.01, left))
        await event(case, "a", "x")
        await stage.idle()
        assert case.told == ["x"]
        return stage.states[0]

    assert play(scene) == "PASS"


@pytest.mark.parametrize("timeout", [30, 30.0, "30s", timedelta(seconds=30)])
def test_a_signal_that_does_not_come_in_time_is_a_timeout(timeout: object) -> None:
    """Neither earlier nor later than asked for, in whatever form."""

    class Slow(Shop):
        async def run(self, wait: dict[str, Any] | None = None) -> None:
            await self.order_shipped.wait(timeout=timeout)  # type: ignore[arg-type]

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Slow)
        begin = stage.clock.instant()
        await case.trigger("a")
        await stage.idle()
        assert stage.clock.instant() - begin == 30.0
        (report,) = stage.reports
        assert report.state == "TIMEOUT"
        assert report.error == "Timed out waiting for signal order_shipped (30.0)"

    play(scene)


def test_a_signal_before_anybody_waits_counts() -> None:
    """A fast system is not at fault."""

    async def scene(stage: Stage) -> list[str]:
        case = shop(stage)
        await event(case, "a", "early")
        await asyncio.sleep(60)
        await case.trigger("a", {"timeout": 0})
        await stage.idle()
        return case.told

    assert play(scene) == ["early"]


def test_a_signal_after_its_expiry_does_not_count() -> None:
    """What is old says nothing about now."""

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Shop, test_expires="1h")
        await event(case, "a", "old")
        await asyncio.sleep(3600)
        assert len(case.arrivals) == 0
        await case.trigger("a", {"timeout": 0})
        await stage.idle()
        return stage.states

    assert play(scene) == ["TIMEOUT"]


def test_the_same_signal_twice_is_one_and_a_later_value_replaces() -> None:
    """At-least-once delivery is good enough."""

    async def scene(stage: Stage) -> None:
        case = shop(stage)
        for value in ("x", "x", "y"):
            await event(case, "a", value)
        assert len(case.arrivals) == 1
        await case.trigger("a")
        await stage.idle()
        assert case.told == ["y"]

    play(scene)


def test_a_second_test_of_the_same_id_waits_for_its_own_signal() -> None:
    """What was told to the first one is not told again."""

    async def scene(stage: Stage) -> list[str]:
        case = shop(stage)
        await event(case, "a", "x")
        for _ in range(2):
            await case.trigger("a", {"timeout": 5})
            await stage.idle()
        return stage.states

    assert play(scene) == ["PASS", "TIMEOUT"]


def test_no_wait_is_now_or_never() -> None:
    """With 0 nothing is waited for, with None as long as the test is of interest."""

    async def scene(stage: Stage) -> list[float]:
        case = stage.app.add_case(Shop, test_expires=100.0)
        took = []
        for timeout in (0, None):
            begin = stage.clock.instant()
            await case.trigger(None, {"timeout": timeout})
            await stage.idle()
            took.append(stage.clock.instant() - begin)
        assert stage.states == ["TIMEOUT", "TIMEOUT"]
        return took

    assert play(scene) == [0.0, 100.0]


def test_keys_are_the_same_if_their_texts_are() -> None:
    """Another language may send a number as a text."""

    class Keyed(Shop):
        async def run(self, wait: dict[str, Any] | None = None) -> None:
            await self.order_shipped.wait(key=7, timeout=1)

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Keyed)
        await event(case, "7", "x")
        await case.trigger("a")
        await stage.idle()
        return stage.states

    assert play(scene) == ["PASS"]
    assert key_text(b"7") == key_text("7") == key_text(7)
    assert key_text([7]) == "[7]"


def test_ten_thousand_that_wait_each_get_their_own() -> None:
    """Nobody is woken for somebody else, and nobody is forgotten."""

    class Own(Case):
        done: Signal[int]

        async def run(self, number: int) -> None:
            assert await self.done.wait(timeout=600) == number

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Own)
        for number in range(10_000):
            await case.trigger(str(number), number)
        while case.arrivals.waiting < 10_000:
            await asyncio.sleep(0)
        for number in range(10_000):
            await event(case, str(number), number, "done")
            await asyncio.sleep(0)
        await stage.idle()
        assert stage.states == ["PASS"] * 10_000
        assert stage.clock.instant() == 1000.0
        assert len(case.arrivals) == case.arrivals.waiting == 0

    play(scene)


def test_who_waits_for_the_same_key_is_told_the_same() -> None:
    """A signal is for all who ask for it."""

    class Both(Shop):
        async def run(self, wait: dict[str, Any] | None = None) -> None:
            assert await self.order_shipped.wait(key="k", timeout=10) == "x"

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Both)
        for _ in range(3):
            await case.trigger()
        await asyncio.sleep(1)
        await event(case, "k", "x")
        await stage.idle()
        return stage.states

    assert play(scene) == ["PASS"] * 3


def test_a_wait_outside_a_test_says_so() -> None:
    """There is nobody to wait for it."""

    async def scene(stage: Stage) -> None:
        with pytest.raises(
            RuntimeError, match="'order_shipped' can only be waited for"
        ):
            await shop(stage).order_shipped.wait()

    play(scene)


# The store, on its own


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 40), st.integers())))
def test_what_is_kept_is_what_a_plain_list_would_find(
    sends: list[tuple[int, float, int]],
) -> None:
    """The last value that is not expired, for each key, and nothing else in memory."""
    clock = ManualClock()

    async def main() -> None:
        arrivals = Arrivals(clock=clock, lifetime=30.0)
        sent: list[tuple[float, str, int]] = []
        for key, delay, value in sends:
            await asyncio.sleep(delay)
            arrivals.deliver("s", str(key), value)
            sent.append((clock.instant(), str(key), value))
        now = clock.instant()
        live = {key: value for at, key, value in sent if now - at < 30.0}
        for each in "0123":
            assert arrivals.find("s", each) == live.get(each, MISSING)
        await asyncio.sleep(31)
        assert len(arrivals) == 0

    run_virtual(main(), clock=clock)


def test_more_than_the_limit_are_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of signals that nobody waits for costs the oldest, and is logged."""

    async def main() -> None:
        arrivals = Arrivals(clock=ManualClock(), lifetime=30.0, limit=10, name="Shop")
        for number in range(25):
            arrivals.deliver("s", str(number), number)
        assert len(arrivals) == 10
        assert arrivals.lost == 15
        assert arrivals.find("s", "14") is MISSING
        assert arrivals.find("s", "15") == 15
        arrivals.close()

    run_virtual(main())
    assert len(caplog.records) == 1
    assert "more than the 10 that are kept" in caplog.text


def test_nothing_is_left_of_those_who_gave_up() -> None:
    """A wait that was cut off leaves no trace."""

    async def scene(stage: Stage) -> None:
        case = shop(stage)
        await case.trigger("a")
        await asyncio.sleep(1)
        assert case.arrivals.waiting == 1
        await stage.app.stop()
        assert case.arrivals.waiting == 0

    play(scene)


# Sending


def test_outside_a_test_nothing_is_sent_unless_it_has_to_be() -> None:
    """A service may send for all that it does."""

    async def scene(stage: Stage) -> None:
        case = shop(stage)
        await case.order_shipped.send("x")
        await case.order_shipped.send("x", key="k")
        assert len(case.arrivals) == 0
        await case.order_shipped.send("x", key="k", force=True)
        assert case.arrivals.find("order_shipped", "k") == "x"
        with pytest.raises(ConfigError, match="say for whom it is"):
            await case.order_shipped.send("x", force=True)

    play(scene)


def test_within_a_test_it_is_sent_for_that_test() -> None:
    """The key defaults to the id."""

    async def scene(stage: Stage) -> None:
        case = shop(stage)
        async with case.maybe_trigger("a") as test:
            assert test is not None
            await case.order_shipped.send("mine")
            await case.order_shipped.send("other", key=8)
        assert case.arrivals.find("order_shipped", "a") == "mine"
        assert case.arrivals.find("order_shipped", "8") == "other"

    play(scene)


def test_on_the_class_it_is_that_of_the_case_that_was_made_last() -> None:
    """A service imports the class, and needs no application at hand."""

    async def scene(stage: Stage) -> None:
        case = shop(stage)
        async with case.maybe_trigger("a"):
            await Shop.order_shipped.send("x")
        assert case.arrivals.find("order_shipped", "a") == "x"

    play(scene)

    class Nobody(Case):
        s: Signal[int]

    with pytest.raises(ConfigError, match="no case has the signal 's' yet"):
        asyncio.run(Nobody.s.send(1, key="k", force=True))


def test_a_signal_that_cannot_travel_does_not_harm_who_sends_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is watched is not to fail for being watched."""

    class Cut(LocalBus):
        async def send(self, topic: Topic, key: str, message: dict[str, Any]) -> None:
            if topic is Topic.SIGNALS:
                raise OSError("no route")
            await super().send(topic, key, message)

    async def scene(stage: Stage) -> None:
        case = shop(stage)
        async with case.maybe_trigger("a"):
            await case.order_shipped.send("x")

    play(scene, bus=Cut())
    assert "no route" in caplog.text


# Declaring


def test_signals_are_declared_by_annotations_and_by_values() -> None:
    """All of them have their case, their names, and their order."""

    class Many(Shop):
        third: Signal = Signal()  # type: ignore[type-arg]
        fourth = Signal[int]()
        named: Signal[int] = Signal("fifth")
        no_signal: int = 3

    case = LiveCheck().add_case(Many)
    assert list(case.signals) == [
        "order_sent",
        "order_shipped",
        "third",
        "fifth",
        "fourth",
    ]
    assert [each.index for each in case.signals.values()] == [1, 2, 3, 4, 5]
    assert all(each.case is case for each in case.signals.values())
    assert case.third is case.signals["third"]
    assert case.named is case.signals["fifth"]
    assert case.total_signals == 5


def test_two_cases_do_not_share_their_signals() -> None:
    """A class can be used for several cases, and in several applications."""
    first = LiveCheck().add_case(Shop)
    second = LiveCheck().add_case(Shop, name="second")
    assert first.order_sent is not second.order_sent
    assert first.order_sent.case is first


def test_signals_can_be_given_to_a_case() -> None:
    """A case can be made without a class of its own."""
    app = LiveCheck()
    case = Case(app=app, name="c", signals=[Signal("s", of=int)])
    assert list(case.signals) == ["s"]


def test_a_type_that_is_not_known_at_run_time_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A value that arrives as plain JSON surprises nobody."""

    class Hidden(Case):
        s: Signal[Fraction]

    assert list(LiveCheck().add_case(Hidden).signals) == ["s"]
    assert "Hidden.s: name 'Fraction' is not defined" in caplog.text


# Values


def test_values_arrive_as_what_they_were() -> None:
    """A test compares orders, not dictionaries."""
    at = datetime(2025, 1, 1, tzinfo=UTC)
    for wanted, value in (
        (Order, Order(1.5, at)),
        (Parcel, Parcel(weight=2)),
        (list[Order], [Order(1.5, at)]),
        (dict[str, Parcel], {"a": Parcel(weight=2)}),
        (datetime, at),
        (str, "x"),
        (float, 3.0),
        (Any, {"a": [1, None]}),
    ):
        assert reader_of(wanted)(plain(value)) == value


def test_a_value_of_another_type_is_an_error_that_shows_it() -> None:
    """A service that sends nonsense is told from one that sends nothing."""

    class Typed(Case):
        order: Signal[Order]

        async def run(self) -> None:
            await self.order.wait(timeout=1)

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Typed)
        await event(case, "a", {"amount": "much"}, "order")
        await case.trigger("a")
        await stage.idle()
        (report,) = stage.reports
        assert report.state == "ERROR"
        assert report.error is not None
        assert "signal order: {'amount': 'much'} is no Order: amount:" in report.error
        assert "and 1 more" in report.error

    play(scene)


class Early(Case):
    parcel: Signal[Late]

    async def run(self) -> None:
        assert await self.parcel.wait(timeout=0) == Late(3)


@dataclass
class Late:
    weight: int


class Both(Case):
    first: Signal[int]


class Mixed:
    second: Signal[int]


def test_a_type_may_be_defined_after_the_case() -> None:
    """The order of a module is its author's."""

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Early)
        await event(case, "a", plain(Late(3)), "parcel")
        await case.trigger("a")
        await stage.idle()
        return stage.states

    assert play(scene) == ["PASS"]


def test_signals_can_be_mixed_in() -> None:
    """Several cases may share some."""

    class All(Both, Mixed):
        third: Signal[int]

    assert set(LiveCheck().add_case(All).signals) == {"first", "second", "third"}


class Odd:
    def __repr__(self) -> str:
        raise ValueError("odd")


@pytest.mark.parametrize("value", [Odd(), float("nan"), b"\xff", {1: {2}}, [object()]])
def test_any_value_can_be_sent(value: object) -> None:
    """What JSON does not have becomes what is nearest."""
    json.dumps(plain(value), allow_nan=False)


# Which test it is


def test_what_a_task_sets_its_parent_does_not_see() -> None:
    """Tests that run at the same time never see each other."""

    async def scene(stage: Stage) -> None:
        case = shop(stage)

        async def child() -> str | None:
            async with case.maybe_trigger("child"):
                await asyncio.sleep(1)
                return None if case.current_test is None else case.current_test.id

        async with case.maybe_trigger("parent"):
            task = asyncio.create_task(child())
            await asyncio.sleep(0.5)
            assert case.current_test is not None
            assert case.current_test.id == "parent"
            assert await task == "child"
            assert case.current_test.id == "parent"
        assert current_test.get() is None
        assert case.current_execution is None

    play(scene)


def test_an_execution_is_known_to_what_it_calls() -> None:
    """The current test and its execution, from start to end, and no longer."""
    seen: list[TestExecution | None] = []

    class Look(Case):
        async def run(self) -> None:
            assert self.current_execution is not None
            seen.append(self.current_execution.test)
            seen.append(self.app.current_test)  # type: ignore[attr-defined]

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Look)
        test = await case.trigger("a")
        await stage.idle()
        assert seen == [test, test]

    play(scene)

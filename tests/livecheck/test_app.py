"""An application executes what it is sent, and nothing that it is sent ends it."""

from __future__ import annotations

import asyncio
import contextvars
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pysys_orch
from pysys_orch.errors import ConfigError
from pysys_orch.livecheck import (
    Case,
    LiveCheck,
    LocalBus,
    Signal,
    SignalEvent,
    State,
    TestExecution,
    Topic,
)
from tests.livecheck.stage import Stage, play


class Waits(Case):
    probability = 1.0
    go: Signal[int]

    async def run(self, *_: Any) -> None:
        await self.go.wait(timeout=100)


def test_a_case_is_decorated_with_and_without_arguments() -> None:
    """The name is that of the class, unless it is said."""
    app = LiveCheck()

    @app.case
    class plain(Case):  # noqa: N801 -- it is the case afterwards
        pass

    @app.case(name="named", probability=1.0)
    class other(Case):  # noqa: N801 -- it is the case afterwards
        pass

    # mypy does not look at what decorators of classes return.
    made: list[object] = [plain, other]
    assert list(app.cases) == ["plain", "named"]
    assert list(app.cases.values()) == made
    assert app.cases["named"].probability == 1.0


def test_two_cases_of_the_same_name_are_an_error() -> None:
    """None silently takes the place of the other."""
    app = LiveCheck()
    first = app.add_case(Waits)
    with pytest.raises(ConfigError, match="there is a case 'Waits' already"):
        app.add_case(Waits)
    assert app.add_case(first) is first
    assert app.cases == {"Waits": first}


def test_at_most_so_many_tests_run_at_once_and_all_of_them_run() -> None:
    """The others wait, in order."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Waits)
        for number in range(10):
            await case.trigger(str(number))
        await asyncio.sleep(1)
        assert case.arrivals.waiting == 3
        for number in range(10):
            assert await stage.app.wait_idle(0) is False
            await stage.app.send_signal(
                str(number), SignalEvent("go", "Waits", str(number), 1)
            )
        await stage.idle()
        assert stage.states == ["PASS"] * 10

    play(scene, concurrency=3)


def test_more_than_may_wait_are_skipped_and_say_so() -> None:
    """What is watched never waits for who watches."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Waits)
        for number in range(5):
            await case.trigger(str(number))
        await asyncio.sleep(1)
        assert case.total_by_state[State.SKIP] == 1
        assert case.last_test_received == stage.clock.instant() - 1
        (report,) = stage.reports
        assert report.state is State.SKIP
        assert report.test is not None
        assert report.test.id == "4"
        assert report.error == "3 tests wait already (max_pending)"

    play(scene, concurrency=1, max_pending=3)


@pytest.mark.parametrize(
    ("topic", "message", "words"),
    [
        (Topic.SIGNALS, {"signal_name": "go"}, "a signal needs key"),
        (
            Topic.SIGNALS,
            SignalEvent("goo", "Waits", "a", 1).as_json(),
            "no signal 'goo', did you mean go?",
        ),
        (
            Topic.SIGNALS,
            SignalEvent("go", "Wait", "a", 1).as_json(),
            "no case 'Wait', did you mean Waits?",
        ),
        (Topic.EXECUTIONS, {"id": 7}, "id of the execution has to be a text"),
        (
            Topic.EXECUTIONS,
            {
                "id": "a",
                "case_name": "Waiting",
                "timestamp": "2024-02-29T12:00:00Z",
                "expires": "2024-02-29T13:00:00Z",
            },
            "no case 'Waiting', did you mean Waits?",
        ),
    ],
)
def test_what_is_not_understood_is_logged_and_ends_nothing(
    topic: Topic,
    message: dict[str, Any],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One bad message costs one message."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Waits)
        await stage.app.bus.send(topic, "a", message)
        await case.trigger("b")
        await stage.app.send_signal("b", SignalEvent("go", "Waits", "b", 1))
        await stage.idle()
        assert stage.states == ["PASS"]

    play(scene)
    assert words in caplog.text


def test_a_transport_of_reports_that_fails_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Tests go on, and the log says that they are not heard of."""

    class Deaf(LocalBus):
        async def send(self, topic: Topic, key: str, message: dict[str, Any]) -> None:
            if topic is Topic.REPORTS:
                raise OSError("disk full")
            await super().send(topic, key, message)

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Waits)
        for key in "ab":
            await stage.app.send_signal(key, SignalEvent("go", "Waits", key, 1))
            await case.trigger(key)
            await stage.idle()
        assert case.total_by_state[State.PASS] == 2

    play(scene, bus=Deaf())
    assert caplog.text.count("OSError: disk full") == 2


def test_reports_are_sent_unless_nobody_wants_them() -> None:
    """The option does what it says."""

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Waits, active=False)
        await case.trigger()
        await stage.idle()
        return stage.states

    assert play(scene) == ["SKIP"]
    assert play(scene, send_reports=False) == []


def test_a_service_in_another_thread_can_send() -> None:
    """It has a loop of its own, and a test that waits is woken all the same."""
    app = LiveCheck()
    case = app.add_case(Waits)

    async def main() -> None:
        async with app:
            await case.trigger("a")
            while not case.arrivals.waiting:
                await asyncio.sleep(0)

            def serve() -> None:
                asyncio.run(case.go.send(1, key="a", force=True))

            await asyncio.to_thread(serve)
            assert await app.wait_idle(10)
        assert case.total_by_state[State.PASS] == 1

    asyncio.run(main())


def test_only_a_case_can_be_added() -> None:
    """A class that forgets its base is told."""
    with pytest.raises(ConfigError, match="Plain has to be a subclass of Case"):
        LiveCheck().add_case(type("Plain", (), {}))


def test_all_that_travels_is_json() -> None:
    """Another bus can carry it as it is."""
    sent: list[dict[str, Any]] = []

    async def scene(stage: Stage) -> None:
        async def hear(_key: str, message: dict[str, Any]) -> None:
            sent.append(message)

        for topic in Topic:
            stage.app.bus.subscribe(topic, hear)
        case = stage.app.add_case(Waits)
        async with case.maybe_trigger("a", {1, 2}, b"x"):
            await case.go.send(7)
        await stage.idle()

    play(scene)
    assert len(sent) == 3
    assert json.loads(json.dumps(sent)) == sent


def test_the_end_cuts_off_what_runs_and_reports_all() -> None:
    """Nothing that was triggered is without a report."""

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Waits)
        for number in range(5):
            await case.trigger(str(number))
        await asyncio.sleep(2)
        begin = stage.clock.instant()
        await stage.app.stop()
        assert stage.clock.instant() == begin
        await case.trigger("late")
        await asyncio.sleep(1)
        errors = {each.test.id: each.error for each in stage.reports if each.test}
        assert errors == {
            "0": "cut off after 2.000 s",
            "1": "cut off after 2.000 s",
            "2": "the application stops",
            "3": "the application stops",
            "4": "the application stops",
            "late": "the application does not run",
        }
        assert set(stage.states) == {"SKIP"}

    play(scene, concurrency=2)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("trigger"), st.sampled_from("abcdef")),
            st.tuples(st.just("signal"), st.sampled_from("abcdef")),
            st.tuples(st.just("sleep"), st.sampled_from([0, 1, 99, 100, 101, 400])),
        ),
        max_size=40,
    ),
    st.integers(1, 3),
)
def test_each_test_that_was_triggered_has_one_report(
    acts: list[tuple[str, Any]], concurrency: int
) -> None:
    """Whatever happens, in whatever order, and however much at once."""

    async def scene(stage: Stage) -> tuple[list[str], Case]:
        case = stage.app.add_case(Waits, test_expires=300)
        triggered = []
        for act, what in acts:
            if act == "trigger":
                await case.trigger(what)
                triggered.append(what)
            elif act == "signal":
                event = SignalEvent("go", "Waits", what, 1)
                await stage.app.send_signal(what, event)
            else:
                await asyncio.sleep(what)
        await stage.app.stop()
        reported = [each.test.id for each in stage.reports if each.test]
        assert sorted(reported) == sorted(triggered)
        assert case.arrivals.waiting == 0
        return triggered, case

    triggered, case = play(scene, concurrency=concurrency, max_pending=4)
    assert case.health.tally.executions <= len(triggered)


def test_a_test_that_did_not_begin_yet_is_reported_at_the_end() -> None:
    """Also if nothing happened between the two."""

    async def scene(stage: Stage) -> list[str]:
        case = stage.app.add_case(Waits)
        await case.trigger("a")
        await stage.app.stop()
        return stage.states

    assert play(scene) == ["SKIP"]


def test_a_test_may_end_the_application() -> None:
    """It is the only one that is not cut off."""

    class Ends(Waits):
        async def run(self, *_: Any) -> None:
            app = self.app
            assert isinstance(app, LiveCheck)
            await app.stop()

    async def scene(stage: Stage) -> None:
        waits, ends = stage.app.add_case(Waits), stage.app.add_case(Ends)
        begin = stage.clock.instant()
        await waits.trigger("a")
        await ends.trigger("b")
        await stage.idle()
        assert stage.clock.instant() == begin
        assert stage.states == ["SKIP", "PASS"]

    play(scene)


def test_an_application_can_be_started_again_in_another_loop() -> None:
    """Nothing of the first loop is left."""
    app = LiveCheck()
    case = app.add_case(Waits, active=False)

    async def main() -> None:
        async with app:
            await case.trigger("a")
            assert await app.wait_idle(10)

    for _ in range(2):
        asyncio.run(main())
    assert case.total_by_state[State.SKIP] == 2


def test_the_end_comes_within_its_bound(caplog: pytest.LogCaptureFixture) -> None:
    """A test that does not want to end is left alone, and named."""

    class Stubborn(Waits):
        async def run(self, *_: Any) -> None:
            while True:
                try:
                    await asyncio.sleep(1000)
                    return
                except asyncio.CancelledError:
                    continue

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Stubborn)
        await case.trigger("mule")
        await asyncio.sleep(1)
        begin = stage.clock.instant()
        await stage.app.stop(timeout=3)
        assert stage.clock.instant() - begin == 3.0
        await asyncio.sleep(1001)

    play(scene)
    assert "1 tests did not end within 3 s: mule" in caplog.text


def test_it_runs_until_somebody_stops_it() -> None:
    """`run` is for programs that do nothing else."""

    async def scene(stage: Stage) -> None:
        app = LiveCheck(clock=stage.clock)
        case = app.add_case(Waits, active=False)
        task = asyncio.create_task(app.run())
        await asyncio.sleep(1)
        await case.trigger("a")
        await app.stop()
        await asyncio.wait_for(task, 5)
        task = asyncio.create_task(app.run())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    play(scene)


def test_a_case_that_is_added_later_is_looked_after_as_well() -> None:
    """The order does not matter."""

    async def scene(stage: Stage) -> list[str]:
        stage.app.add_case(Waits, warn_stalled_after=5)
        await asyncio.sleep(6)
        return stage.suites

    assert play(scene) == ["STALL"]


def test_a_test_begins_without_what_triggered_it() -> None:
    """In one process it is as it would be in another."""
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")
    seen: list[str] = []

    class Looks(Case):
        async def run(self) -> None:
            seen.append(request.get("none"))

    async def scene(stage: Stage) -> None:
        case = stage.app.add_case(Looks)
        request.set("mine")
        await case.trigger()
        await stage.idle()

    play(scene)
    assert seen == ["none"]


def test_many_applications_do_not_disturb_each_other() -> None:
    """Nothing is patched, so nothing adds up."""
    apps = [LiveCheck() for _ in range(500)]
    cases = [app.add_case(Waits) for app in apps]
    assert all(case.go.case is case for case in cases)


def test_a_message_of_another_process_is_executed() -> None:
    """What faust's topics carry is understood."""

    async def scene(stage: Stage) -> list[str]:
        stage.app.add_case(Waits)
        stamp = stage.clock.stamp().isoformat()
        later = stamp.replace("2024", "2028")
        message = {
            "id": "a",
            "case_name": "Waits",
            "timestamp": stamp,
            "test_args": [],
            "test_kwargs": {},
            "expires": later,
            "__faust": {"ns": "x"},
        }
        await stage.app.bus.send(Topic.EXECUTIONS, "a", message)
        await asyncio.sleep(1)
        signal = {"signal_name": "go", "case_name": "Waits", "key": "a", "value": 1}
        await stage.app.bus.send(Topic.SIGNALS, "a", signal)
        await stage.idle()
        return stage.states

    assert play(scene) == ["PASS"]


def test_the_import_brings_neither_a_client_nor_pysys() -> None:
    """A service pays for what it uses."""
    program = (
        "import sys, pysys_orch.livecheck as it;"
        "it.LiveCheck, it.Case, it.Signal, it.TestExecution;"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(pysys_orch.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "pysys_orch" in loaded
    assert not loaded & {"aiohttp", "pysys", "pydantic", "requests", "sqlalchemy"}


def test_every_public_name_is_there() -> None:
    """What is announced can be imported."""
    from pysys_orch import livecheck

    for name in livecheck.__all__:
        assert getattr(livecheck, name) is not None
    assert set(livecheck.__all__) <= set(dir(livecheck))
    assert isinstance(livecheck.TestExecution, type)
    assert TestExecution is livecheck.TestExecution

"""What fires at the beginning waits for what has to be there first."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pysys_orch.orchestration.calls import Call
from pysys_orch.orchestration.timeline import Timeline
from tests.orchestration.stage import draft, library, play, simulate


def test_an_event_is_waited_for_by_those_that_begin_after_it(tmp_path: Path) -> None:
    """One that was there before it is not."""
    order: list[str] = []

    def before() -> None:
        order.append("before")

    def server() -> None:
        time.sleep(0.2)
        order.append("server")

    def client() -> None:
        order.append("client")

    events = ({"name": "before"}, {"name": "server", "wait": True}, {"name": "client"})
    stage = play(tmp_path, library(before, server, client), *events, duration=0.5)
    assert order == ["before", "server", "client"]
    assert stage.reasons == []
    [line] = stage.of("client")
    # It is due when it may begin: nobody was late.
    assert line["due"] >= 0.2
    assert line["lateness"] < 0.2


def test_each_of_several_is_waited_for(tmp_path: Path) -> None:
    """They begin one after the other, in the order of the file."""
    running: list[str] = []
    overlaps: list[list[str]] = []

    def begin(name: str) -> None:
        running.append(name)
        overlaps.append(list(running))
        time.sleep(0.05)
        running.remove(name)

    def database() -> None:
        begin("database")

    def broker() -> None:
        begin("broker")

    def service() -> None:
        begin("service")

    events = [{"name": name, "wait": True} for name in ("database", "broker")]
    stage = play(
        tmp_path, library(database, broker, service), *events, "service", duration=0.4
    )
    assert overlaps == [["database"], ["broker"], ["service"]]
    assert stage.reasons == []


def test_what_is_held_back_does_not_fire_at_its_interval(tmp_path: Path) -> None:
    """Its grid stays where it is; what does not fire at the beginning keeps its own."""

    def server() -> None:
        time.sleep(0.35)

    def client() -> None:
        pass

    def other() -> None:
        pass

    stage = play(
        tmp_path,
        library(server, client, other),
        {"name": "server", "wait": True},
        {"name": "client", "interval_sec": 0.1},
        {"name": "other", "interval_sec": 0.1, "at_startup": False},
        duration=0.65,
    )
    by_due = sorted(stage.of("client"), key=lambda each: float(each["ordinal"]))
    assert [each["outcome"] for each in by_due] == [
        "ok",
        *["skipped"] * 3,
        *["ok"] * 3,
    ]
    assert round(by_due[4]["due"], 6) == 0.4
    assert stage.outcomes("other") == ["ok"] * 6


def test_one_that_fails_is_over_too(tmp_path: Path) -> None:
    """Who wants the run to stop then says so with ``on_failure``."""
    begun: list[str] = []

    def server() -> None:
        raise RuntimeError("no port")

    def client() -> None:
        begun.append("client")

    functions = library(server, client)
    simulate(tmp_path, functions, {"name": "server", "wait": True}, "client")
    assert begun == ["client"]
    stops = {"name": "server", "wait": True, "on_failure": "stop"}
    (tmp_path / "stops").mkdir()
    stage = simulate(tmp_path / "stops", functions, stops, "client")
    assert begun == ["client"]
    assert stage.reasons


def test_one_that_hangs_holds_nobody_back_for_longer_than_it_may(
    tmp_path: Path,
) -> None:
    """Its time-out ends the wait."""
    never = threading.Event()

    def server() -> None:
        never.wait(30)

    def client() -> None:
        pass

    stage = play(
        tmp_path,
        library(server, client),
        {"name": "server", "wait": True, "timeout_sec": 0.1, "grace_sec": 0.1},
        "client",
        duration=1,
    )
    never.set()
    assert stage.outcomes("server") == ["timed out"]
    assert stage.outcomes("client") == ["ok"]


def test_a_run_of_no_time_begins_all_the_same(tmp_path: Path) -> None:
    """As ``-XruntimeHours=0`` has it: what it begins with, and what it ends with."""

    def server() -> None:
        time.sleep(0.1)

    def client() -> None:
        pass

    events = ({"name": "server", "wait": True}, "client")
    stage = play(tmp_path, library(server, client), *events, duration=0)
    assert stage.outcomes("client") == ["ok"]
    assert stage.reasons == []


def test_what_never_begins_is_told(tmp_path: Path) -> None:
    """A run that is ended meanwhile does not pass for one that did everything."""

    def server(kill_switch: threading.Event) -> None:
        kill_switch.set()

    begun: list[str] = []

    def client() -> None:
        begun.append("client")

    events = ({"name": "server", "wait": True}, "client")
    stage = play(tmp_path, library(server, client), *events, duration=5)
    assert begun == []
    assert stage.reasons


def test_what_was_held_back_keeps_to_its_bounds(tmp_path: Path) -> None:
    """Its time may be over; and it may be running, for another reason."""
    running, most = [0], [0]

    def server() -> None:
        time.sleep(0.3)

    def follower() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.1)
        running[0] -= 1

    def nothing() -> None:
        pass

    stage = play(
        tmp_path,
        library(server, follower, early=nothing, warm=nothing),
        {"name": "server", "wait": True},
        {"name": "follower", "after": "server", "at_startup": True},
        {"name": "early", "end_after": 0.1},
        {"name": "warm", "phases": ["warm_up"]},
        phases=[
            {"name": "warm_up", "duration": 0.2},
            {"name": "steady", "duration": 0.5},
        ],
    )
    assert most == [1]
    assert sorted(stage.outcomes("follower")) == ["ok", "skipped"]
    assert stage.outcomes("early") == ["cancelled"]
    assert stage.outcomes("warm") == ["cancelled"]


def test_very_many_can_be_held_back(tmp_path: Path) -> None:
    """What is not keeps its time meanwhile."""

    def server() -> None:
        time.sleep(1.5)

    def nothing() -> None:
        pass

    stage = play(
        tmp_path,
        library(server, held=nothing, tick=nothing),
        {"name": "server", "wait": True},
        *[{"name": "held", "interval_sec": 1}] * 3000,
        {"name": "tick", "interval_sec": 0.1, "at_startup": False},
        duration=1.9,
    )
    assert stage.outcomes("tick") == ["ok"] * 18
    assert set(stage.outcomes("held")) == {"ok", "skipped"}


def test_only_what_fires_at_the_beginning_can_be_waited_for() -> None:
    """All else would be waited for by nobody."""
    for keys in (
        {"at_startup": False, "interval_sec": 1},
        {"start_after": 2},
        {"cron": "* * * * *"},
    ):
        told = draft({"name": "server", "wait": True, **keys})
        words = [each.words for each in told.problems]
        said = "wait is for what fires when the run begins: this does not"
        assert words == [f"event 1 (server): {said}"]


@pytest.mark.parametrize(
    ("phases", "its", "is_well"),
    [
        ((5, 5), ["second"], False),
        ((5, 5), ["first", "second"], True),
        ((5, 5), ["first"], True),
        ((5, 5), [], True),
        # The run begins in the second one.
        ((0, 5), ["second"], True),
        ((0, 5), ["first"], False),
        ((0, 0), ["second"], True),
    ],
)
def test_what_is_waited_for_fires_when_the_run_begins(
    phases: tuple[float, float], its: list[str], *, is_well: bool
) -> None:
    """Or what begins after it would wait for nothing, or in the middle of the run."""
    listed = [
        {"name": name, "duration": duration}
        for name, duration in zip(("first", "second"), phases, strict=True)
    ]
    found = draft({"name": "server", "wait": True, "phases": its}, phases=listed)
    words = "wait is for what fires when the run begins: this does not"
    expected = [] if is_well else [f"event 1 (server): {words}"]
    assert [each.words for each in found.problems] == expected
    plain = draft({"name": "server", "phases": its}, phases=listed).checked()
    assert any(not each.due for each in Timeline(plain, seed=1)) is is_well


class TestUsers:
    """Events that are fired by users, who wait for them."""

    def test_each_user_calls_again_once_the_last_call_has_ended(
        self, tmp_path: Path
    ) -> None:
        """There are never more calls at a time than users."""
        running, most = set[int](), [0]

        def buy() -> None:
            running.add(threading.get_ident())
            most[0] = max(most[0], len(running))
            time.sleep(0.02)
            running.discard(threading.get_ident())

        closed = {"users": 3, "think_sec": 0.03}
        stage = play(
            tmp_path, library(buy), {"name": "buy", "closed": closed}, duration=0.5
        )
        assert stage.reasons == []
        assert most == [3]
        firings = stage.of("buy")
        # Each takes 50 ms at least, so that there are ten times three at most.
        assert 9 <= len(firings) <= 30
        assert sorted(each["ordinal"] for each in firings) == [
            *range(1, len(firings) + 1)
        ]

    def test_slow_calls_are_made_less_often(self, tmp_path: Path) -> None:
        """That is what tells users from an interval: exactly so, on virtual time."""

        def buy() -> None:
            pass

        events = {"name": "buy", "closed": {"users": 2, "think_sec": 1}}
        stage = simulate(tmp_path, library(buy), events, duration=10)
        assert [each["due"] for each in stage.of("buy")] == [
            float(second) for second in range(10) for _ in range(2)
        ]

    def test_users_come_and_go(self, tmp_path: Path) -> None:
        """As an interval begins and ends."""

        def buy() -> None:
            pass

        closed = {"users": 2, "think_sec": 1}
        event = {"name": "buy", "closed": closed, "start_after": 2, "end_after": 4}
        stage = simulate(tmp_path, library(buy), event, duration=10)
        assert [each["due"] for each in stage.of("buy")] == [
            2.0,
            2.0,
            3.0,
            3.0,
            4.0,
            4.0,
        ]
        (tmp_path / "few").mkdir()
        event = {"name": "buy", "closed": closed, "count": 5}
        stage = simulate(tmp_path / "few", library(buy), event, duration=10)
        assert len(stage.of("buy")) == 5

    def test_a_user_whose_call_fails_goes_on(self, tmp_path: Path) -> None:
        """One whose call hangs, too, once it is over."""
        never = threading.Event()

        def fails() -> None:
            raise ValueError

        def hangs() -> None:
            never.wait(30)

        closed = {"users": 1, "think_sec": 0.05}
        slow = {"name": "hangs", "timeout_sec": 0.05, "grace_sec": 0.05}
        stage = play(
            tmp_path,
            library(fails, hangs),
            {"name": "fails", "closed": closed},
            {**slow, "closed": closed},
            duration=1,
        )
        never.set()
        assert len(stage.outcomes("fails")) > 3
        assert stage.outcomes("hangs").count("timed out") > 2

    def test_there_is_a_worker_for_each_of_them(self) -> None:
        """Users who wait for a worker are not those that were asked for."""
        event = {"name": "buy", "closed": {"users": 40, "think_sec": 1}}
        [problem] = draft(event).problems
        assert problem.words == (
            "max_workers has to be at least the users of all events, 40, got 32"
        )
        assert draft(event, max_workers=40).problems == ()

    def test_what_makes_no_sense_with_users_is_told(self) -> None:
        """All of it at once."""
        event = {
            "name": "buy",
            "closed": {"users": 2, "think_sec": 1},
            "interval_sec": 3,
            "overlap": "queue",
            "count": 1,
        }
        assert [each.words for each in draft(event).problems] == [
            "event 1 (buy): interval_sec is said as well as closed: leave one out",
            "event 1 (buy): overlap is said as well as closed: leave one out",
            "event 1 (buy): count has to be at least its users, 2, got 1",
        ]


def test_a_call_is_known_by_its_event_and_its_number() -> None:
    """A call that is given up is another object from then on."""
    from pysys_orch.orchestration.barrier import Barrier

    barrier = Barrier()
    call = Call(3, 1, "", 0.0, lambda: None)
    barrier.close(call)
    assert not barrier.opens(Call(3, 2, "", 0.0, lambda: None))
    assert barrier.opens(call.left_behind(call.outcome, 1.0))
    assert not barrier.is_closed

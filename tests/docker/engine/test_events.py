"""One stream of events for all who wait for something to happen to a container."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.events import (
    DESTROY,
    DIE,
    KEPT_EVENTS,
    RESUMED,
    START,
    EventHub,
    Watch,
)
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import RUN_LABEL, Owner, resource_name
from pysys_orch.errors import EngineUnreachableError
from pysys_orch.testing import ManualClock

BUSYBOX = "pysys-orch-test/busybox:1"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BOUND = 10.0
NUMBERS = itertools.count()


class Stream:
    """A stream that gives what it is told to."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[dict[str, Any] | Exception | None] = (
            queue.SimpleQueue()
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (message := self.messages.get()) is not None:
            if isinstance(message, Exception):
                raise message
            yield message

    def close(self) -> None:
        """End it."""
        self.messages.put(None)


class Engine:
    """Opens the streams that it was given, one after the other."""

    def __init__(self, *streams: Stream | Exception) -> None:
        self.left = list(streams)
        self.opened: list[datetime | None] = []
        self.all_opened = threading.Event()
        self.attempts = 0

    def now(self) -> datetime:
        """Return when the engine's time began."""
        return BEGIN

    def events(self, since: datetime | None = None) -> Stream:
        """Open the next stream; without one the engine cannot be reached."""
        self.attempts += 1
        if not self.left:
            raise EngineUnreachableError("nowhere", "refused")
        stream = self.left.pop(0)
        if isinstance(stream, Exception):
            raise stream
        self.opened.append(since)
        if not self.left:
            self.all_opened.set()
        return stream


def happened(
    container: str, action: str, second: float, **facts: str
) -> dict[str, Any]:
    """Return an event as an engine tells it."""
    nanoseconds = int(BEGIN.timestamp()) * 10**9 + int(second * 10**9)
    return {
        "Type": "container",
        "Action": action,
        "Actor": {"ID": container, "Attributes": facts},
        "time": nanoseconds // 10**9,
        "timeNano": nanoseconds,
    }


def actions(watch: Watch, count: int) -> list[str]:
    """Return the actions that a watch has, once there are *count* of them."""
    while watch.count < count:
        assert watch.wait(watch.count, BOUND), f"only {watch.events()}"
    return [event.action for event in watch.events()]


@pytest.fixture
def hub_on() -> Iterator[Callable[[Engine], EventHub]]:
    """Return what makes hubs on a fake engine, whose waits take no time."""
    hubs: list[EventHub] = []

    def make(engine: Engine) -> EventHub:
        hubs.append(EventHub(engine, clock=ManualClock()))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.close()


Hubs = Callable[[Engine], EventHub]


def test_a_watch_has_the_events_of_its_container(hub_on: Hubs) -> None:
    """What happens to other containers is no concern of it."""
    stream = Stream()
    watch = hub_on(Engine(stream)).watch("a")
    stream.messages.put(happened("b", "start", 1))
    stream.messages.put(happened("a", "start", 2))
    stream.messages.put(happened("a", "die", 3.25, exitCode="7"))
    assert actions(watch, 2) == [START, DIE]
    died = watch.events()[1]
    assert died.at == BEGIN + timedelta(seconds=3.25)
    assert died.attributes == {"exitCode": "7"}


def test_containers_with_a_label_can_be_watched_at_once(hub_on: Hubs) -> None:
    """Those that do not exist yet, too: nobody knows their ids before."""
    stream = Stream()
    watch = hub_on(Engine(stream)).watch("service=s")
    stream.messages.put(happened("b", "create", 1, service="other"))
    stream.messages.put(happened("a", "create", 2, service="s"))
    stream.messages.put(happened("c", "create", 3, service="s"))
    assert actions(watch, 2) == ["create", "create"]


def test_an_event_cannot_be_changed(hub_on: Hubs) -> None:
    """Threads may share it."""
    stream = Stream()
    watch = hub_on(Engine(stream)).watch("a")
    stream.messages.put(happened("a", "start", 1))
    actions(watch, 1)
    with pytest.raises(FrozenInstanceError):
        watch.events()[0].action = "die"  # type: ignore[misc] # that is the test
    with pytest.raises(TypeError):
        watch.events()[0].attributes["a"] = "b"  # type: ignore[index] # likewise


def test_a_hub_that_nobody_uses_opens_nothing(hub_on: Hubs) -> None:
    """A run that waits for no event costs its engine nothing."""
    engine = Engine(Stream())
    hub_on(engine).close()
    assert engine.attempts == 0


def test_all_watches_share_one_stream(hub_on: Hubs) -> None:
    """Also those that many threads begin at the same moment."""
    stream = Stream()
    engine = Engine(stream)
    hub = hub_on(engine)
    with ThreadPoolExecutor(20) as pool:
        watches = list(pool.map(hub.watch, [f"c{number}" for number in range(20)] * 2))
    assert engine.attempts == 1
    for number in range(20):
        stream.messages.put(happened(f"c{number}", "start", number))
    assert [actions(watch, 1) for watch in watches] == [[START]] * 40


def test_the_stream_begins_before_the_watch_does(hub_on: Hubs) -> None:
    """An engine answers before it listens; what happens in between is asked for."""
    engine = Engine(Stream())
    hub_on(engine).watch("a")
    assert engine.opened == [BEGIN]


def test_an_engine_that_does_not_answer_is_an_error_and_may_come_back(
    hub_on: Hubs,
) -> None:
    """Whoever begins to watch is told at once; later it works."""
    hub = hub_on(Engine(EngineUnreachableError("nowhere", "refused"), Stream()))
    with pytest.raises(EngineUnreachableError):
        hub.watch("a")
    assert hub.watch("a").events() == ()


def test_waiting_for_what_has_come_already_takes_no_time(hub_on: Hubs) -> None:
    """Nothing is missed between a look at the world and the wait."""
    stream = Stream()
    watch = hub_on(Engine(stream)).watch("a")
    before = watch.count
    stream.messages.put(happened("a", "start", 1))
    assert watch.wait(before, BOUND)
    assert watch.wait(before, 0)


def test_waiting_in_vain_ends_in_time(hub_on: Hubs) -> None:
    """Also while the engine is away for good."""
    stream = Stream()
    watch = hub_on(Engine(stream)).watch("a")
    assert not watch.wait(0, 0.01)
    stream.close()
    assert not watch.wait(watch.count, 0.01)


def test_the_oldest_events_are_dropped_and_still_counted(hub_on: Hubs) -> None:
    """A container that restarts all night does not fill the memory."""
    stream = Stream()
    watch = hub_on(Engine(stream)).watch("a")
    for second in range(KEPT_EVENTS + 5):
        stream.messages.put(happened("a", "start", second))
    assert len(actions(watch, KEPT_EVENTS + 5)) == KEPT_EVENTS
    assert watch.count == KEPT_EVENTS + 5
    assert watch.events()[0].at == BEGIN + timedelta(seconds=5)
    newest = watch.events(KEPT_EVENTS + 4)
    assert [event.at for event in newest] == [
        BEGIN + timedelta(seconds=KEPT_EVENTS + 4)
    ]
    assert watch.events(KEPT_EVENTS + 5) == ()


def test_commands_inside_a_container_are_no_events(hub_on: Hubs) -> None:
    """A health check alone would push out everything else."""
    stream = Stream()
    watch = hub_on(Engine(stream)).watch("a")
    for action in ("exec_create: true", "exec_start: true", "exec_die"):
        stream.messages.put(happened("a", action, 1))
    stream.messages.put(happened("a", "health_status: healthy", 2))
    assert actions(watch, 1) == ["health_status: healthy"]


def test_an_event_that_is_told_twice_comes_once(hub_on: Hubs) -> None:
    """An engine may do that for whoever begins to listen at that moment."""
    stream = Stream()
    watch = hub_on(Engine(stream)).watch("a")
    for second in (1, 1, 1.5):
        stream.messages.put(happened("a", "kill", second))
    actions(watch, 2)
    assert [event.at.microsecond for event in watch.events()] == [0, 500_000]


def test_a_broken_stream_goes_on_where_it_broke(hub_on: Hubs) -> None:
    """Nothing comes twice, and who concluded something from silence is told."""
    first, second = Stream(), Stream()
    engine = Engine(first, second)
    hub = hub_on(engine)
    watch = hub.watch("a")
    first.messages.put(happened("a", "start", 5))
    first.messages.put(happened("a", "die", 6))
    first.close()
    second.messages.put(happened("a", "die", 6))
    second.messages.put(happened("a", "start", 5.5))  # came late
    second.messages.put(happened("a", "destroy", 7))
    assert actions(watch, 5) == [START, DIE, RESUMED, START, DESTROY]
    assert engine.opened == [BEGIN, BEGIN + timedelta(seconds=5)]
    assert hub.reconnects == 1


def test_a_stream_that_broke_early_does_not_reach_back_before_the_first_watch(
    hub_on: Hubs,
) -> None:
    """What happened before anybody watched is nobody's business."""
    first, second = Stream(), Stream()
    engine = Engine(first, second)
    watch = hub_on(engine).watch("a")
    first.close()
    assert actions(watch, 1) == [RESUMED]
    assert engine.opened == [BEGIN, BEGIN]


def test_a_message_that_is_cut_off_breaks_the_stream(hub_on: Hubs) -> None:
    """An engine that is killed may stop anywhere."""
    first, second = Stream(), Stream()
    watch = hub_on(Engine(first, second)).watch("a")
    first.messages.put(ValueError("Unterminated string"))
    second.messages.put(happened("a", "start", 1))
    assert actions(watch, 2) == [RESUMED, START]


def test_an_engine_that_is_away_is_tried_again_until_it_is_back(hub_on: Hubs) -> None:
    """Minutes may pass; the attempts are never more than a second apart."""
    first, second = Stream(), Stream()
    away = [EngineUnreachableError("nowhere", "refused")] * 100
    engine = Engine(first, *away, second)
    hub = hub_on(engine)
    watch = hub.watch("a")
    first.close()
    assert actions(watch, 1) == [RESUMED]
    assert engine.attempts == 102
    clock = hub._clock
    assert 90 < clock.instant() < 101


def test_closing_a_hub_ends_everything(hub_on: Hubs) -> None:
    """Who waits for ever returns, the thread is gone, and nobody can watch any more."""
    hub = hub_on(Engine(Stream()))
    watch = hub.watch("a")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(watch.wait, 0)
        hub.close()
        assert waiting.result(BOUND) is False
    assert hub._thread is not None
    assert not hub._thread.is_alive()
    with pytest.raises(RuntimeError, match="closed"):
        hub.watch("a")
    hub.close()


def test_a_hub_can_be_closed_while_its_engine_is_away(hub_on: Hubs) -> None:
    """The end of a run does not wait for an engine that was shut down."""
    stream = Stream()
    hub = hub_on(Engine(stream))
    watch = hub.watch("a")
    stream.close()
    hub.close()
    assert not watch.wait(watch.count)
    assert hub._thread is not None
    assert not hub._thread.is_alive()


def test_a_closed_watch_gets_nothing_more(hub_on: Hubs) -> None:
    """The hub forgets it, and the container with its last watch."""
    stream = Stream()
    hub = hub_on(Engine(stream))
    closed, open_ = hub.watch("a"), hub.watch("a")
    closed.close()
    stream.messages.put(happened("a", "start", 1))
    assert actions(open_, 1) == [START]
    assert closed.events() == ()
    open_.close()
    assert hub._watches == {}


def test_a_mistake_in_the_thread_is_raised_to_the_next_who_watches(
    hub_on: Hubs,
) -> None:
    """Nobody waits for events that cannot come."""
    stream = Stream()
    hub = hub_on(Engine(stream))
    watch = hub.watch("a")
    stream.messages.put(ZeroDivisionError("a mistake"))
    assert not watch.wait(0, BOUND)
    assert isinstance(hub.failure, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        hub.watch("b")


@pytest.fixture
def live_hub(engine: ApiEngine) -> Iterator[EventHub]:
    """Return a hub on the real engine."""
    hub = EventHub(engine)
    yield hub
    hub.close()


def create(engine: ApiEngine, owner: Owner, command: str, **more: Any) -> str:
    """Create a container that runs a shell command."""
    body = {
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", command],
        "Labels": {RUN_LABEL: owner.key},
        **more,
    }
    name = resource_name(owner, "events", "shell", next(NUMBERS))
    return engine.create_container(name, body)


@pytest.mark.docker
@pytest.mark.engine20
def test_a_container_is_watched_from_start_to_removal(
    engine: ApiEngine, owner: Owner, live_hub: EventHub
) -> None:
    """What happens right after the watch began is not missed, and is told once."""
    container = create(engine, owner, "exit 3")
    before = engine.now()
    watch = live_hub.watch(container)
    engine.start_container(container)
    assert actions(watch, 2)[:2] == [START, DIE]
    assert watch.events()[1].attributes["exitCode"] == "3"
    resource = Resource(kind=Kind.CONTAINER, id=container, name=container)
    engine.remove(resource)
    assert actions(watch, 3) == [START, DIE, DESTROY]
    assert before <= watch.events()[0].at <= watch.events()[2].at <= engine.now()


@pytest.mark.docker
@pytest.mark.engine20
def test_health_is_told_and_the_checks_are_not(
    engine: ApiEngine, owner: Owner, live_hub: EventHub
) -> None:
    """Whoever waits for a healthy container wakes up once."""
    check = {"Test": ["CMD", "true"], "Interval": 100_000_000, "StartPeriod": 0}
    container = create(engine, owner, "sleep 60", Healthcheck=check)
    watch = live_hub.watch(container)
    engine.start_container(container)
    assert actions(watch, 2) == [START, "health_status: healthy"]


@pytest.mark.docker
@pytest.mark.engine20
def test_the_first_event_after_the_first_watch_is_never_missed(
    engine: ApiEngine, owner: Owner
) -> None:
    """A stream's beginning has no gap, however early the event comes."""
    container = create(engine, owner, "sleep 60")
    engine.start_container(container)
    for _ in range(20):
        hub = EventHub(engine)
        watch = hub.watch(container)
        engine.kill_container(container, "CONT")
        assert actions(watch, 1) == ["kill"]
        hub.close()


@pytest.mark.docker
@pytest.mark.engine20
def test_a_blocked_reader_wakes_up_when_its_stream_is_closed(
    engine: ApiEngine,
) -> None:
    """Nobody waits for an event that may never come, only to end."""
    stream = engine.events()
    reading = threading.Event()

    def read() -> list[dict[str, Any]]:
        reading.set()
        return list(stream)

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(read)
        assert reading.wait(BOUND)
        stream.close()
        result.result(BOUND)


@pytest.mark.docker
@pytest.mark.engine20
def test_a_hub_on_a_real_engine_survives_a_broken_connection(
    engine: ApiEngine, owner: Owner, live_hub: EventHub
) -> None:
    """The engine tells again what it told, and each event comes once."""
    container = create(engine, owner, "sleep 60")
    watch = live_hub.watch(container)
    engine.start_container(container)
    assert actions(watch, 1) == [START]
    stream = live_hub._stream
    assert stream is not None
    stream.close()
    engine.kill_container(container, "CONT")
    assert sorted(actions(watch, 3)) == ["kill", RESUMED, START]
    assert watch.events()[0].action == START
    assert live_hub.reconnects == 1

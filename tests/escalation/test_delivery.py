"""From a run's results to a service that was told, through everything in between."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from pysys_orch.errors import StateError
from pysys_orch.escalation.delivery import Courier
from pysys_orch.escalation.incident import (
    Action,
    Answer,
    Event,
    Request,
    Verdict,
    event_id,
)
from pysys_orch.escalation.outbox import (
    LEASE,
    TABLES,
    VERSION,
    Outbox,
    Status,
    Stream,
)
from pysys_orch.escalation.rules import (
    Decision,
    GroupBy,
    History,
    Policy,
    Run,
    TestRun,
    Transition,
    name_of,
)
from pysys_orch.state import State
from pysys_orch.testing import ManualClock

T = TypeVar("T")

STREAM = Stream(key="s", project="shop", name="main", suite="nightly")
BROKEN = TestRun(failed=1, outcome="FAILED", group="g")
FINE = TestRun(passed=1, group="g")
EACH = Policy(group_by=GroupBy.TEST)


@dataclass
class Remote:
    """A service, and how it answers: the transport is part of it."""

    answers: Iterable[Answer] = ()
    name: str = "remote"
    told: list[str] = field(default_factory=list)
    budgets: list[str] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    seconds: float = 0.0
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self._answers: Iterator[Answer] = iter(self.answers)

    def request(self, event: Event, *, budget: float = 1.0) -> Request:
        return Request(url=f"{budget}", body=event.to_json().encode())

    def judge(self, event: Event, answer: Answer) -> Verdict:
        del event
        if answer.status in {0, 429, 503}:
            return Verdict.LATER
        by_status = {202: Verdict.DELIVERED, 413: Verdict.TOO_LARGE}
        return by_status.get(answer.status, Verdict.REFUSED)

    def __call__(self, request: Request, *, timeout: float) -> Answer:
        assert timeout > 0
        self.clock.advance(self.seconds)
        event = Event.from_json(request.body.decode())
        answer = next(self._answers, Answer(status=202))
        sign = "+" if event.action is Action.TRIGGER else "-"
        self.told.append(f"{answer.status}{sign}{event.summary}")
        self.budgets.append(request.url)
        if answer.status == 202:
            change = self.open.add if sign == "+" else self.open.discard
            change(event.key)
        return answer


def compose(transition: Transition, decision: Decision) -> Event:
    del decision
    assert transition.action is not None
    return Event(
        key=event_id(transition.group),
        action=transition.action,
        summary=name_of(transition.group),
    )


class Suite:
    """Runs night after night, each time as a process of its own would."""

    def __init__(self, place: Path | str, clock: ManualClock) -> None:
        self.clock = clock
        self.state = State(str(place), TABLES, name="escalation", version=VERSION)
        self.outbox = Outbox(self.state, clock=clock, services=["remote"])

    def run(self, policy: Policy = EACH, /, **tests: str) -> Decision:
        self.clock.advance(86400)
        did = {test: BROKEN if each == "F" else FINE for test, each in tests.items()}
        run = Run(at=self.clock.stamp(), tests=did)
        return self.outbox.take_run(STREAM, run, policy, compose)

    def courier(self, remote: Remote, stop: threading.Event | None = None) -> Courier:
        remote.clock = self.clock
        return Courier(
            self.outbox,
            remote,
            remote,
            address="remote",
            clock=self.clock,
            stop=stop or threading.Event(),
            generator=random.Random(7),
        )

    def flush(self, remote: Remote, within: float = 30.0) -> bool:
        return self.courier(remote).flush(self.clock.instant() + within)

    def waiting(self) -> list[str]:
        return [each.event.summary for each in self.outbox.letters(Status.WAITING)]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    made = Suite(tmp_path / "state.db", ManualClock())
    made.run(a="P", b="P", c="P")  # so that something is known
    for each in made.outbox.letters():
        made.outbox.deliver(each)
    return made


def statuses(*numbers: int) -> list[Answer]:
    return [Answer(status=each) for each in numbers]


# What is remembered


def test_a_suite_is_remembered_from_run_to_run(suite: Suite, tmp_path: Path) -> None:
    """Each night is a process of its own."""
    remote = Remote()
    suite.run(a="F", b="P")
    assert suite.flush(remote)
    following = Suite(tmp_path / "state.db", suite.clock)
    following.run(a="F", b="P")
    following.run(a="P", b="P")
    assert following.flush(remote)
    assert remote.told == ["202+a", "202-a"]


def test_a_history_is_read_as_it_was_written(suite: Suite) -> None:
    """All of it."""
    decision = suite.run(Policy(repeat_after=timedelta(1)), a="F", b="P")
    assert suite.outbox.history(STREAM) == decision.history
    ((stream, history, reported),) = suite.outbox.streams()
    assert (stream, history) == (STREAM, decision.history)
    assert reported == suite.clock.stamp() == suite.outbox.last_report("nightly")
    assert suite.outbox.last_report("other") is None


def test_an_aborted_run_leaves_no_trace(tmp_path: Path) -> None:
    """Not even that there was one."""
    suite = Suite(tmp_path / "state.db", ManualClock())
    run = Run(at=suite.clock.stamp(), tests={"a": BROKEN}, aborted=True)
    suite.outbox.take_run(STREAM, run, EACH, compose)
    assert suite.outbox.history(STREAM) is None
    assert suite.outbox.last_report("nightly") is None
    assert suite.outbox.letters() == []
    suite.run(a="P")
    reported = suite.outbox.last_report("nightly")
    suite.clock.advance(3600)
    later = Run(at=suite.clock.stamp(), tests={"a": BROKEN}, aborted=True)
    suite.outbox.take_run(STREAM, later, EACH, compose)
    assert suite.outbox.last_report("nightly", "main") == reported
    assert suite.outbox.last_report("nightly", "other") is None


def test_what_cannot_be_composed_is_not_half_remembered(suite: Suite) -> None:
    """The next run decides it again."""

    def fail(transition: Transition, decision: Decision) -> Event:
        raise KeyError(transition.group, decision)

    run = Run(at=suite.clock.stamp(), tests={"a": BROKEN})
    with pytest.raises(KeyError):
        suite.outbox.take_run(STREAM, run, EACH, fail)
    history = suite.outbox.history(STREAM)
    assert history is not None
    assert history.opened == {}


@pytest.fixture
def runners(place: str) -> Iterator[list[Suite]]:
    """Return runners that share a place, each of which has its own way to it."""
    clock = ManualClock()
    made = [Suite(place, clock) for _ in range(12)]
    yield made
    for each in made:
        each.state.close()


def at_once(runners: list[Suite], do: Callable[[Suite], T]) -> list[T]:
    """Have all of them do something; return what comes back."""
    barrier = threading.Barrier(len(runners))

    def begin(runner: Suite) -> T:
        barrier.wait(60)
        return do(runner)

    with ThreadPoolExecutor(len(runners)) as pool:
        return list(pool.map(begin, runners))


def test_runners_with_one_database_decide_once(runners: list[Suite]) -> None:
    """Whoever is second finds that somebody was told."""
    now = runners[0].clock.stamp()

    def run(runner: Suite, did: TestRun) -> Decision:
        made = Run(at=now, tests={"a": did})
        return runner.outbox.take_run(STREAM, made, EACH, compose)

    run(runners[0], FINE)
    found = at_once(runners, lambda runner: run(runner, BROKEN))
    assert sum(len(each.told) for each in found) == 1
    letters = runners[0].outbox.letters()
    assert [each.event.action for each in letters if each.event.summary == "a"] == [
        Action.RESOLVE,  # nothing was known at first
        Action.TRIGGER,
    ]


def test_runners_with_one_database_send_once(runners: list[Suite]) -> None:
    """Each letter has one of them who sends it."""
    runners[0].run(a="F", b="F", c="F", d="F", e="F", f="F")

    def claim(runner: Suite) -> list[int]:
        letters = iter(lambda: runner.outbox.claim("remote"), None)
        return [each.number for each in letters]

    claimed = sorted(number for each in at_once(runners, claim) for number in each)
    assert claimed == [each.number for each in runners[0].outbox.letters()]


def test_runners_with_one_database_wake_somebody_once(runners: list[Suite]) -> None:
    """Though all of them see the same at the same time."""
    event = Event(key=event_id("soak"), action=Action.TRIGGER, summary="down")
    found = at_once(runners, lambda runner: runner.outbox.take_raised(event))
    assert sum(found) == 1


def test_a_database_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """With a message for whoever keeps the runner."""
    (tmp_path / "file").touch()
    suite = Suite(tmp_path / "file" / "state.db", ManualClock())
    with pytest.raises(StateError, match="cannot be used"):
        suite.run(a="F")


# What is sent


def test_a_resolve_never_overtakes_its_trigger(suite: Suite) -> None:
    """A service that is down for three nights hears of all of them, in order."""
    for night in "FPF":
        suite.run(a=night)
        assert not suite.flush(Remote(statuses(*[503] * 100)))
    remote = Remote()
    suite.clock.advance(3600)
    assert suite.flush(remote)
    assert remote.told == ["202+a", "202-a", "202+a"]


def test_letters_are_sent_in_the_order_in_which_they_were_decided(suite: Suite) -> None:
    """Of one incident; others need not wait for it."""
    suite.run(a="F", b="F")
    suite.run(a="P")
    remote = Remote(statuses(404))
    assert suite.flush(remote)
    assert remote.told == ["404+a", "202+b", "202-a"]


@pytest.mark.parametrize("status", [0, 429, 503])
def test_what_passes_is_waited_out(suite: Suite, status: int) -> None:
    """The same again, later and later."""
    suite.run(a="F")
    remote = Remote(statuses(status, status))
    begin = suite.clock.instant()
    assert suite.flush(remote)
    assert remote.told == [f"{status}+a", f"{status}+a", "202+a"]
    assert 0.75 + 3 <= suite.clock.instant() - begin <= 1.25 + 5


def test_a_service_says_how_long_it_wants_to_be_left_alone(suite: Suite) -> None:
    """It is, and the letter is kept if that is too long."""
    suite.run(a="F")
    begin = suite.clock.instant()
    assert suite.flush(Remote([Answer(status=429, retry_after=9)]))
    assert suite.clock.instant() - begin == 9
    suite.run(a="P")
    begin = suite.clock.instant()
    remote = Remote([Answer(status=429, retry_after=600)])
    assert not suite.flush(remote)
    assert suite.clock.instant() == begin
    assert not suite.flush(remote), "it is too early"
    suite.clock.advance(601)
    assert suite.flush(remote)
    assert remote.told == ["429-a", "202-a"]


def test_a_dead_service_is_not_asked_for_every_letter(suite: Suite) -> None:
    """Four attempts in a round, however much is waiting."""
    suite.run(a="F", b="F", c="F")
    remote = Remote(statuses(*[0] * 100))
    assert not suite.courier(remote).round(suite.clock.instant() + 1000)
    assert remote.told == ["0+a"] * 4
    assert suite.waiting() == ["a", "b", "c"]


def test_nothing_takes_longer_than_it_may(suite: Suite) -> None:
    """Whatever else there would be to do."""
    suite.run(a="F", b="F", c="F")
    remote = Remote(statuses(*[0] * 100), seconds=10)
    begin = suite.clock.instant()
    assert not suite.flush(remote, within=25)
    assert suite.clock.instant() - begin <= 35  # the last one began in time


def test_who_is_told_to_stop_stops(suite: Suite) -> None:
    """At once, and nothing is lost."""
    suite.run(a="F")
    stop = threading.Event()
    stop.set()
    remote = Remote()
    assert not suite.courier(remote, stop).flush(suite.clock.instant() + 100)
    assert (remote.told, suite.waiting()) == ([], ["a"])


def test_what_is_refused_is_put_aside_with_the_reason(suite: Suite) -> None:
    """It blocks nothing, and can be tried again by hand."""
    suite.run(a="F", b="F")
    remote = Remote([Answer(status=404, text="no such service")])
    assert suite.flush(remote)
    (dead,) = suite.outbox.letters(Status.DEAD)
    assert (dead.event.summary, dead.note) == ("a", "HTTP 404: no such service")
    assert remote.told == ["404+a", "202+b"]
    assert suite.outbox.retry([dead.number]) == 1
    assert suite.flush(remote)
    assert remote.told[2:] == ["202+a"]


def test_what_is_too_large_is_made_smaller(suite: Suite) -> None:
    """And stays so, for the next attempt; until it is hopeless."""
    suite.run(a="F")
    remote = Remote(statuses(413, 413, 503, 202))
    assert suite.flush(remote)
    assert remote.told == ["413+a", "413+a", "503+a", "202+a"]
    assert remote.budgets == ["1.0", "0.5", "0.25", "0.25"]
    suite.run(a="P")
    hopeless = Remote(statuses(*[413] * 100))
    assert suite.flush(hopeless)
    assert len(suite.outbox.letters(Status.DEAD)) == 1
    assert len(hopeless.told) < 10


def test_a_letter_belongs_to_one_sender_at_a_time(suite: Suite) -> None:
    """If that one is killed, the next one has it soon."""
    suite.run(a="F")
    letter = suite.outbox.claim("remote")
    assert letter is not None
    assert suite.outbox.claim("remote") is None
    assert suite.outbox.claim("other") is None
    suite.clock.advance(LEASE + 0.001)
    again = suite.outbox.claim("remote")
    assert again is not None
    assert again.event == letter.event
    # Whoever comes back from the dead has nothing to say.
    assert suite.outbox.hold(letter) is None
    suite.outbox.bury(letter, "late")
    suite.outbox.deliver(again)
    assert suite.outbox.letters(Status.DEAD) == []


def test_a_sender_that_was_slow_does_not_trigger_what_is_over(suite: Suite) -> None:
    """Somebody else has told of it meanwhile, and of its end."""
    suite.run(a="F")
    remote = Remote()

    class Slow(Remote):
        def __call__(self, request: Request, *, timeout: float) -> Answer:
            answer = super().__call__(request, timeout=timeout)
            suite.clock.advance(LEASE + 1)
            suite.run(a="P")
            assert suite.flush(remote)
            return answer

    slow = Slow(statuses(503))
    suite.flush(slow)
    assert slow.told == ["503+a"]
    assert remote.told == ["202+a", "202-a"]
    assert suite.waiting() == []


def test_what_cannot_be_told_keeps_nothing_else_from_being_told(suite: Suite) -> None:
    """An event may make no sense to a service."""
    suite.run(a="F", b="F")

    class Picky(Remote):
        def request(self, event: Event, *, budget: float = 1.0) -> Request:
            if event.summary == "a":
                raise ValueError(event)
            return super().request(event, budget=budget)

    picky = Picky()
    assert suite.flush(picky)
    assert picky.told == ["202+b"]
    (dead,) = suite.outbox.letters(Status.DEAD)
    assert dead.note == "no request: ValueError"


def test_what_is_over_is_not_opened_again_by_hand(suite: Suite) -> None:
    """What was told later holds."""
    suite.run(a="F")
    assert suite.flush(Remote(statuses(404)))
    suite.run(a="P")
    assert suite.flush(Remote())
    assert suite.outbox.retry() == 0


def test_who_waits_for_another_sender_sees_when_it_is_dead(suite: Suite) -> None:
    """Within the time that there is."""
    suite.run(a="F")
    suite.outbox.claim("remote")
    remote = Remote()
    assert suite.flush(remote, within=LEASE + 2)
    assert remote.told == ["202+a"]


# By hand


def test_a_running_test_may_wake_somebody(suite: Suite) -> None:
    """Once, as long as it is about the same."""
    event = Event(key="k", action=Action.TRIGGER, summary="soak")
    over = Event(key="k", action=Action.RESOLVE, summary="soak")
    taken = [suite.outbox.take_raised(each) for each in (over, event, event, over)]
    # Of what nothing is known, it may be open.
    assert taken == [True, True, False, True]
    remote = Remote()
    assert suite.flush(remote)
    assert remote.told == ["202-soak", "202+soak", "202-soak"]


def test_letters_can_be_forgotten(suite: Suite) -> None:
    """Those that somebody names."""
    suite.run(a="F", b="F")
    numbers = [each.number for each in suite.outbox.letters(Status.WAITING)]
    assert suite.outbox.forget(numbers[:1]) == 1
    assert suite.waiting() == ["b"]


def test_what_was_delivered_is_kept_for_a_month(suite: Suite) -> None:
    """To be looked at; not for ever."""
    suite.run(a="F")
    suite.flush(Remote())
    before = len(suite.outbox.letters())
    suite.clock.advance(31 * 86400)
    suite.run(a="P")
    assert before > len(suite.outbox.letters()) == 1


def test_whatever_is_lost_on_the_way_nothing_is_lost_in_the_end(tmp_path: Path) -> None:
    """Processes that die between any two steps, and a service that fails at random."""
    for seed in range(10):
        generator = random.Random(seed)
        clock = ManualClock()
        place = tmp_path / f"{seed}.db"
        remote = Remote(clock=clock)
        failing: dict[str, str] = {}
        for _ in range(12):
            did = {test: generator.choice("FP") for test in "abc"}
            suite = Suite(place, clock)
            suite.run(**did)
            failing = did
            remote._answers = iter(
                statuses(*generator.choices([0, 202, 429, 503, 202], k=5))
            )
            if generator.random() < 0.3:
                suite.outbox.claim("remote")  # and it was killed
                continue
            if generator.random() < 0.3:
                letter = suite.outbox.claim("remote")
                if letter is not None:  # killed when the answer was on its way
                    remote(remote.request(letter.event), timeout=1)
                continue
            suite.flush(remote, within=generator.choice([0.5, 5, 60]))
        remote._answers = iter(())
        assert Suite(place, clock).flush(remote, within=100)
        assert remote.open == {
            event_id(f"test {test}") for test, each in failing.items() if each == "F"
        }


def test_memory_is_a_place_too(tmp_path: Path) -> None:
    """Where nothing can be written, a run still tells what it found."""
    suite = Suite("sqlite://", ManualClock())
    suite.run(a="F")
    remote = Remote()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(suite.flush, remote).result()
    assert "202+a" in remote.told
    assert suite.outbox.history(STREAM) != History()
    assert list(tmp_path.iterdir()) == []

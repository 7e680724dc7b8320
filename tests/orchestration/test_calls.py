"""Calls are made by threads, of which there are no more than are needed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from pysys_orch.clock import SystemClock
from pysys_orch.orchestration.calls import Call, Outcome, Threads

_LONG = 30.0


class Made:
    """What became of calls, counted."""

    def __init__(self) -> None:
        self.ordinals: list[int] = []
        self.workers: list[str] = []
        self._news = threading.Condition()

    def done(self, call: Call) -> None:
        with self._news:
            self.ordinals.append(call.ordinal)
            self.workers.append(call.worker)
            self._news.notify_all()

    def wait_for(self, number: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.ordinals) >= number, _LONG)


@pytest.fixture
def made() -> Made:
    """What became of the calls of a test."""
    return Made()


@pytest.fixture
def start(made: Made) -> Iterator[Callable[[int], Threads]]:
    """Starts threads, of which nothing is left at the end."""
    started: list[Threads] = []

    def begin(limit: int) -> Threads:
        threads = Threads(SystemClock(), limit=limit)
        threads.start(made.done)
        started.append(threads)
        return threads

    yield begin
    for threads in started:
        threads.close()


def call(
    ordinal: int, work: Callable[[], object], latest: float = float("inf")
) -> Call:
    """Return a call that is due now."""
    return Call(0, ordinal, "", 0.0, work, latest)


def test_each_call_is_made_once_whoever_submits_it(
    start: Callable[[int], Threads], made: Made
) -> None:
    """However many there are, and wherever they come from."""
    threads = start(8)
    each = 5000

    def submit(first: int) -> None:
        for ordinal in range(first, first + each):
            threads.submit(call(ordinal, lambda: None))

    submitters = [
        threading.Thread(target=submit, args=(number * each,)) for number in range(4)
    ]
    for submitter in submitters:
        submitter.start()
    made.wait_for(4 * each)
    assert Counter(made.ordinals) == Counter(range(4 * each))
    assert len(set(made.workers)) <= 8


def test_calls_one_by_one_are_made_too(
    start: Callable[[int], Threads], made: Made
) -> None:
    """Each finds all threads parked, or about to."""
    threads = start(4)
    for ordinal in range(3000):
        threads.submit(call(ordinal, lambda: None))
        made.wait_for(ordinal + 1)
    # What is over before the next one comes needs no second thread, or hardly ever.
    assert len(set(made.workers)) <= 4


def test_no_call_waits_behind_one_that_blocks(
    start: Callable[[int], Threads], made: Made
) -> None:
    """As long as there may be more threads."""
    threads = start(6)
    go = threading.Event()
    for ordinal in range(5):
        threads.submit(call(ordinal, lambda: go.wait(_LONG)))
    for ordinal in range(5, 500):
        threads.submit(call(ordinal, lambda: None))
    made.wait_for(495)
    assert set(made.ordinals) == set(range(5, 500))
    go.set()
    made.wait_for(500)


def test_calls_that_block_run_at_the_same_time(
    start: Callable[[int], Threads], made: Made
) -> None:
    """A burst finds as many threads as it needs: all meet, or none goes on."""
    threads = start(20)
    for burst in range(20):
        meeting = threading.Barrier(20, timeout=_LONG)
        for ordinal in range(20):
            threads.submit(call(ordinal, meeting.wait))
        made.wait_for(20 * (burst + 1))
        assert not meeting.broken


def test_what_is_given_up_is_made_up_for(
    start: Callable[[int], Threads], made: Made
) -> None:
    """A call that hangs takes its thread with it; others wait for another one."""
    threads = start(1)
    go, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go.wait(_LONG)

    hung = call(1, hang)
    threads.submit(hung)
    assert begun.wait(_LONG)
    threads.submit(call(2, lambda: None))
    assert threads.backlog == 1
    threads.give_up(hung)
    made.wait_for(1)
    assert made.ordinals == [2]
    go.set()


def test_a_call_that_finds_a_thread_too_late_is_dropped(
    start: Callable[[int], Threads], made: Made
) -> None:
    """It is counted, and not made."""
    threads = start(1)
    go, late = threading.Event(), call(2, pytest.fail, latest=0.0)
    threads.submit(call(1, lambda: go.wait(_LONG)))
    threads.submit(late)
    go.set()
    made.wait_for(2)
    assert late.outcome is Outcome.DROPPED
    assert not late.is_made


def test_threads_end_once_all_is_done(made: Made) -> None:
    """What is submitted before is made; what parks then ends as well."""
    before = set(threading.enumerate())
    threads = Threads(SystemClock(), limit=8)
    threads.start(made.done)
    for ordinal in range(200):
        threads.submit(call(ordinal, lambda: None))
    started = set(threading.enumerate()) - before
    threads.close()
    made.wait_for(200)
    for each in started:
        each.join(_LONG)
    assert not any(each.is_alive() for each in started)


def test_who_cannot_have_more_threads_goes_on_with_those_there_are(
    start: Callable[[int], Threads],
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A machine has its limits; no call is lost to them, and they may pass."""
    threads = start(8)
    threads.submit(call(0, lambda: None))
    made.wait_for(1)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    go = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        threads.submit(call(1, lambda: go.wait(_LONG)))
        for ordinal in range(2, 50):
            threads.submit(call(ordinal, lambda: None))
        threads.apart(call(50, lambda: None))
    said = [each for each in caplog.messages if "A thread could not be started" in each]
    assert len(said) == 1
    assert made.ordinals == [0]
    threads.submit(call(51, lambda: None))
    # Another one could be started: nobody waits for the one that blocks.
    made.wait_for(51)
    assert 1 not in made.ordinals
    go.set()
    made.wait_for(52)


def test_who_was_given_up_and_comes_back_is_one_too_many(
    start: Callable[[int], Threads], made: Made
) -> None:
    """There never are more that work than there may be."""
    threads = start(1)
    first, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        first.wait(_LONG)

    hung = call(1, hang)
    threads.submit(hung)
    assert begun.wait(_LONG)
    threads.give_up(hung)
    first.set()
    made.wait_for(1)
    running, most = [0], [0]

    def counts() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        threading.Event().wait(0.01)
        running[0] -= 1

    for ordinal in range(2, 12):
        threads.submit(call(ordinal, counts))
    made.wait_for(11)
    assert most == [1]

"""Logs in files: complete, live, nothing twice; and searching them as they grow."""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysys_orch.docker.engine import logs
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.events import EventHub
from pysys_orch.docker.engine.logs import LogFollower, LogScanner, read_log
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import RUN_LABEL, Owner, resource_name
from pysys_orch.docker.engine.streams import LogFrame
from pysys_orch.errors import (
    ConflictError,
    DockerError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
)
from pysys_orch.testing import ManualClock

BUSYBOX = "pysys-orch-test/busybox:1"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BOUND = 30.0
NUMBERS = itertools.count()
OUT, ERR = 1, 2
REFUSED = EngineUnreachableError("nowhere", "refused")


class LiveLog:
    """A live stream that never gives the last few frames."""

    def __init__(self, held_back: int) -> None:
        self.failure: DockerError | None = None
        self._held_back = held_back
        self._held: list[LogFrame] = []
        self._batches: queue.SimpleQueue[list[LogFrame] | None] = queue.SimpleQueue()

    def give(self, frames: list[LogFrame]) -> None:
        """Take frames, and let out the older ones."""
        self._held += frames
        out = max(0, len(self._held) - self._held_back)
        if out:
            self._batches.put(self._held[:out])
            del self._held[:out]

    def cut(self, failure: DockerError) -> None:
        """Break."""
        self.failure = failure
        self._batches.put(None)

    def batches(self) -> Iterator[list[LogFrame]]:
        """Yield what was let out, until the end."""
        while (batch := self._batches.get()) is not None:
            yield batch

    def close(self) -> None:
        """End."""
        self._batches.put(None)


class LiveEvents:
    """A stream of events."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (message := self.messages.get()) is not None:
            yield message

    def close(self) -> None:
        """End."""
        self.messages.put(None)


class Engine:
    """An engine with one container, which does what it is told to.

    It keeps the promises that `logs` states about real engines; tests of real engines
    below show that these keep them.

    Attributes:
        lose: How many frames at the end of a life its live streams never give.
        refusals: Raised by the next requests for a log, one by one.
        cuts: As many readings of a log break after their first frame.
        on_request: Called with each request's name before it is answered.
    """

    def __init__(self, *, lose: int = 0, framed: bool = True) -> None:
        self.lose = lose
        self.framed = framed
        self.refusals: list[Exception] = []
        self.cuts = 0
        self.on_request: Callable[[str], None] = lambda _: None
        self.log: list[LogFrame] = []
        self._running = self._gone = False
        self._started = self._finished = "0001-01-01T00:00:00Z"
        self._time = 0
        self._last: dict[int, str] = {}  # stamps of this life
        self._live: list[LiveLog] = []
        self._events = LiveEvents()
        self._lock = threading.RLock()

    # What the container does

    def start(self) -> None:
        """Start the container."""
        with self._lock:
            self._running, self._started = True, self._tick().replace("000Z", "Z")
            self._last.clear()
        self._tell("start")

    def write(self, stream: int, payload: bytes, *, again: bool = False) -> None:
        """Write one frame, if *again* with the stamp of the stream's last one."""
        with self._lock:
            if not again or stream not in self._last:
                self._last[stream] = self._tick() if self.framed else ""
            stamp = self._last[stream]
            frame = LogFrame(stream=stream, stamp=stamp, payload=payload)
            self.log.append(frame)
            for live in self._live:
                live.give([frame])

    def exit(self) -> None:
        """End the container's process, and a moment before it the live streams."""
        with self._lock:
            self._finished = self._tick()
            self._running = False
            self.end_streams()
        self._tell("die")

    def remove(self) -> None:
        """Remove the container."""
        with self._lock:
            self._gone, self._running = True, False
            self.end_streams()
        self._tell("destroy")

    def end_streams(self, failure: DockerError | None = None) -> None:
        """End the live streams though the container runs on."""
        with self._lock:
            for live in self._live:
                if failure is not None:
                    live.cut(failure)
                live.close()
            self._live.clear()

    def written(self, stream: int) -> bytes:
        """Return all that the container wrote to a stream."""
        return b"".join(each.payload for each in self.log if each.stream == stream)

    # What is asked of it

    def now(self) -> datetime:
        """Return the present."""
        return BEGIN

    def events(self, since: datetime | None = None) -> LiveEvents:
        """Open the stream of events."""
        assert since is not None
        return self._events

    def inspect_container(self, container: str) -> dict[str, Any]:
        """Return the container's state."""
        self.on_request("inspect")
        with self._lock:
            self._require_there(container)
            return {
                "State": {
                    "Running": self._running,
                    "StartedAt": self._started,
                    "FinishedAt": self._finished,
                }
            }

    def container_logs(
        self,
        container: str,
        *,
        follow: bool,
        framed: bool,
        since: str = "",
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
    ) -> LiveLog:
        """Open the container's log."""
        self.on_request("follow" if follow else "read")
        assert framed is self.framed
        with self._lock:
            self._require_there(container)
            if self.refusals:
                raise self.refusals.pop(0)
            wanted = ({OUT} if stdout else set()) | ({ERR} if stderr else set())
            found = [
                frame
                for frame in self.log[-tail if tail else 0 :]
                if frame.stamp >= since and frame.stream in wanted
            ]
            live = LiveLog(self.lose if follow else 0)
            if self.cuts and found:
                self.cuts -= 1
                live.give(found[:1])
                live.cut(REFUSED)
                return live
            live.give(found)
            if follow and self._running:
                self._live.append(live)
            else:
                live.close()
            return live

    def _require_there(self, container: str) -> None:
        if self._gone:
            raise NotFoundError(f"look at {container}", 404, "no such container")

    def _tick(self) -> str:
        self._time += 1000
        return f"2026-01-01T00:00:00.{self._time:09}Z"

    def _tell(self, action: str) -> None:
        actor = {"ID": "c", "Attributes": {}}
        self._time += 1000
        message = {"Action": action, "Actor": actor, "timeNano": self._time}
        self._events.messages.put(message)


Follow = Callable[..., LogFollower]


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Follow]:
    """Return what follows the log of a fake engine's container, and closes it."""
    made: list[LogFollower | EventHub] = []

    def make(engine: Engine, *, stem: str = "log") -> LogFollower:
        hub = EventHub(engine, clock=ManualClock())
        follower = LogFollower(
            engine,
            "c",
            out=tmp_path / f"{stem}.out",
            err=tmp_path / f"{stem}.err",
            framed=engine.framed,
            hub=hub,
            clock=ManualClock(),
        )
        made.extend((follower, hub))
        return follower

    yield make
    for each in made:
        each.close()


def wait_for(follower: LogFollower, condition: Callable[[], bool]) -> None:
    """Wait for changes until a condition holds."""
    version = -1
    while True:
        before, version = version, follower.version
        if condition():
            return
        assert before != version, f"no change; failure: {follower.failure}"
        follower.wait_change(version, BOUND)


def holds(path: Path, data: bytes) -> Callable[[], bool]:
    """Return what tells whether a file holds exactly that."""
    return lambda: path.read_bytes() == data


def complete(follower: LogFollower, engine: Engine) -> bool:
    """Return whether the files hold what the container wrote, and nothing else."""
    return follower.out.read_bytes() == engine.written(
        OUT
    ) and follower.err.read_bytes() == engine.written(ERR)


# The live stream ---------------------------------------------------------------------


def test_the_files_are_there_at_once(follow: Follow) -> None:
    """Whoever searches them need not ask whether they exist."""
    follower = follow(Engine())
    assert follower.out.read_bytes() == follower.err.read_bytes() == b""


def test_what_was_in_the_files_stays(follow: Follow, tmp_path: Path) -> None:
    """A second follower of one name appends."""
    (tmp_path / "log.out").write_bytes(b"before\n")
    engine = Engine()
    follower = follow(engine)
    engine.start()
    engine.write(OUT, b"after\n")
    engine.exit()
    assert follower.settle(BOUND)
    assert follower.out.read_bytes() == b"before\nafter\n"


def test_a_line_is_in_its_file_while_the_container_runs(follow: Follow) -> None:
    """Waiting for a line does not wait for the end."""
    engine = Engine()
    follower = follow(engine)
    engine.start()
    engine.write(OUT, b"ready\n")
    engine.write(ERR, b"a warning\n")
    wait_for(follower, lambda: complete(follower, engine))
    assert follower.out.read_bytes() == b"ready\n"
    assert follower.err.read_bytes() == b"a warning\n"


def test_what_was_written_before_is_in_the_files_too(follow: Follow) -> None:
    """A log that is asked for late begins with its first line."""
    engine = Engine()
    engine.start()
    engine.write(OUT, b"early\n")
    follower = follow(engine)
    engine.write(OUT, b"late\n")
    wait_for(follower, lambda: complete(follower, engine))


def test_waiting_for_a_change_ends_in_time(follow: Follow) -> None:
    """Nothing new is no reason to wait for ever."""
    engine = Engine()
    engine.start()
    follower = follow(engine)
    assert follower.wait_change(follower.version, 0.01) == follower.version


def test_a_change_that_was_missed_is_returned_at_once(follow: Follow) -> None:
    """Nothing is lost between reading the files and waiting."""
    engine = Engine()
    engine.start()
    follower = follow(engine)
    before = follower.version
    engine.write(OUT, b"a\n")
    assert follower.wait_change(before, BOUND) > before
    assert follower.wait_change(before, 0) > before


# The end of the stream ---------------------------------------------------------------


@pytest.mark.parametrize("lose", [0, 1, 99, 100, 101, 1999, 2000, 2001, 2999, 3000])
def test_what_the_live_stream_lost_is_appended(follow: Follow, lose: int) -> None:
    """A live stream may end early; the log never does."""
    engine = Engine(lose=lose)
    follower = follow(engine)
    engine.start()
    for number in range(3000):
        engine.write(ERR if number % 7 == 0 else OUT, b"%d\n" % number)
    engine.exit()
    assert follower.settle(BOUND)
    assert complete(follower, engine)


@pytest.mark.parametrize("lose", range(13))
def test_a_long_line_is_never_cut(
    follow: Follow, lose: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts share one stamp, and may lie between those of the other stream."""
    monkeypatch.setattr(logs, "_TAILS", (3, 6))
    engine = Engine(lose=lose)
    follower = follow(engine)
    engine.start()
    engine.write(OUT, b"first\n")
    for part in range(5):
        engine.write(OUT, b"o%d" % part, again=part > 0)
        engine.write(ERR, b"e%d" % part, again=part > 0)
    engine.write(OUT, b"o\n", again=True)
    engine.exit()
    assert follower.settle(BOUND)
    assert complete(follower, engine)


FRAME = st.tuples(st.sampled_from([OUT, OUT, ERR]), st.booleans())
LIFE = st.fixed_dictionaries(
    {
        "frames": st.lists(FRAME, max_size=12),
        "lose": st.integers(0, 14),
        "cut": st.booleans(),
        "settle": st.booleans(),
    }
)


@given(lives=st.lists(LIFE, max_size=4), tails=st.sampled_from([(1,), (2, 5), (100,)]))
@settings(deadline=None, max_examples=300)
def test_the_files_always_equal_the_log(
    lives: list[dict[str, Any]],
    tails: tuple[int, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever is written, lost and cut in whatever life, they hold each byte once."""
    folder = tmp_path_factory.mktemp("lives")
    engine = Engine()
    hub = EventHub(engine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_TAILS", tails)
        out, err = folder / "out", folder / "err"
        follower = LogFollower(engine, "c", out=out, err=err, framed=True, hub=hub)
        for life in lives:
            engine.lose = life["lose"]
            engine.start()
            for number, (stream, again) in enumerate(life["frames"]):
                engine.write(stream, b"%d." % len(engine.log), again=again)
                if life["cut"] and number == 5:
                    engine.end_streams(REFUSED)
            engine.exit()
            if life["settle"]:
                assert follower.settle(BOUND)
        assert follower.settle(BOUND)
        assert complete(follower, engine)
        follower.close()
        hub.close()


def test_settling_needs_the_end_of_the_process(follow: Follow) -> None:
    """As long as it runs there may be more."""
    engine = Engine()
    engine.start()
    follower = follow(engine)
    assert not follower.settle(0.01)
    assert not follower.is_settled
    engine.exit()
    assert follower.settle(BOUND)
    assert follower.is_settled


def test_a_container_that_was_never_started_is_settled(follow: Follow) -> None:
    """Cleaning up after a test that failed early does not wait."""
    assert follow(Engine()).settle(BOUND)


def test_a_reading_that_breaks_is_done_again(follow: Follow) -> None:
    """Half of what was lost is not enough, and nothing is in the file twice."""
    engine = Engine(lose=50)
    engine.start()
    follower = follow(engine)
    for number in range(200):
        engine.write(OUT, b"%d\n" % number)
    engine.cuts = 3
    engine.exit()
    assert follower.settle(BOUND)
    assert complete(follower, engine)


# Lives -------------------------------------------------------------------------------


def test_a_restarted_container_is_followed_on(follow: Follow) -> None:
    """The log goes on in the same files, and an unterminated line with it."""
    engine = Engine(lose=1)
    follower = follow(engine)
    for life in range(3):
        engine.start()
        engine.write(OUT, b"life %d\n" % life)
        engine.write(OUT, b"no end")
        engine.exit()
        assert follower.settle(BOUND)
    assert complete(follower, engine)
    assert follower.out.read_bytes().count(b"no end") == 3


@pytest.mark.parametrize("moment", ["inspect", "read", "follow"])
def test_a_life_that_nobody_expects_is_not_missed(follow: Follow, moment: str) -> None:
    """Whenever a container is started again, also while its log is read again."""
    engine = Engine()
    follower = follow(engine)
    wait_for(follower, lambda: follower.is_settled)
    engine.start()
    engine.write(OUT, b"first life\n")
    more = [True]

    def on_request(name: str) -> None:
        if name == moment and more:
            more.clear()
            if moment == "follow":
                engine.exit()
            engine.start()
            engine.write(OUT, b"second life\n")
            engine.exit()

    engine.on_request = on_request
    engine.exit()
    wait_for(follower, lambda: follower.is_settled and complete(follower, engine))


def test_a_container_between_two_lives_is_settled(follow: Follow) -> None:
    """An engine calls a container that it will restart running."""
    engine = Engine()
    follower = follow(engine)
    engine.start()
    engine.write(OUT, b"a\n")
    inspect = engine.inspect_container

    def restarting(container: str) -> dict[str, Any]:
        found = inspect(container)
        found["State"] |= {"Running": True, "Restarting": True}
        return found

    engine.inspect_container = restarting  # type: ignore[method-assign] # a fake's
    engine.exit()
    assert follower.settle(BOUND)


def test_the_thread_ends_with_the_container(follow: Follow) -> None:
    """Nothing remains to be closed, and what it wrote is there."""
    engine = Engine(lose=1)
    follower = follow(engine)
    engine.start()
    engine.write(OUT, b"a\n")
    engine.exit()
    assert follower.settle(BOUND)
    engine.remove()
    wait_for(follower, lambda: follower.ended)
    assert follower.settle(0)
    assert follower.failure is None
    assert complete(follower, engine)


def test_a_container_that_is_removed_while_it_runs_is_not_settled(
    follow: Follow,
) -> None:
    """What its live stream lost is lost; nobody is told otherwise, and nobody waits."""
    engine = Engine(lose=1)
    engine.start()
    follower = follow(engine)
    engine.write(OUT, b"a\n")
    engine.remove()
    assert not follower.settle(BOUND)
    assert follower.ended
    assert follower.failure is None


def test_a_container_that_is_being_removed_is_gone(follow: Follow) -> None:
    """An engine refuses to read its log any more."""
    engine = Engine()
    engine.refusals = [ConflictError("read", 409, "marked for removal")]
    follower = follow(engine)
    wait_for(follower, lambda: follower.ended)
    assert follower.failure is None


# Failures ----------------------------------------------------------------------------


def test_a_cut_connection_is_made_again(follow: Follow) -> None:
    """Nothing is missing, and nothing is twice."""
    engine = Engine()
    engine.start()
    follower = follow(engine)
    for number in range(5):
        engine.write(OUT, b"%d\n" % number)
        engine.write(ERR, b"%d\n" % number)
        engine.end_streams(REFUSED)
    engine.write(OUT, b"end\n")
    wait_for(follower, lambda: complete(follower, engine))
    engine.exit()
    assert follower.settle(BOUND)
    assert complete(follower, engine)


def test_an_engine_that_comes_back_in_time_is_followed_on(follow: Follow) -> None:
    """An engine may be restarted under a container that lives on."""
    engine = Engine()
    engine.start()
    engine.write(OUT, b"a\n")
    engine.refusals = [REFUSED] * 20
    follower = follow(engine)
    wait_for(follower, lambda: complete(follower, engine))
    assert follower.failure is None


def test_an_engine_that_stays_away_is_a_failure(follow: Follow) -> None:
    """After half a minute the test is told, whatever it waits for."""
    engine = Engine()
    engine.refusals = [REFUSED] * 1000
    follower = follow(engine)
    wait_for(follower, lambda: follower.ended)
    assert follower.failure is REFUSED
    assert len(engine.refusals) > 900
    clock = follower._clock
    assert logs.PATIENCE <= clock.instant() < logs.PATIENCE + 1
    assert not follower.settle(BOUND)


def test_a_log_that_cannot_be_read_is_a_failure(follow: Follow) -> None:
    """Trying again would not help."""
    engine = Engine()
    refusal = EngineAnswerError("read", 501, "driver does not support reading")
    engine.refusals = [refusal]
    follower = follow(engine)
    wait_for(follower, lambda: follower.ended)
    assert follower.failure is refusal
    assert not follower.settle(BOUND)


def test_an_engine_that_stumbles_is_asked_again(follow: Follow) -> None:
    """A server's error passes; a log half written is whole a moment later."""
    engine = Engine()
    engine.start()
    engine.write(OUT, b"a\n")
    engine.refusals = [EngineAnswerError("read", 500, "Error grabbing logs")] * 3
    follower = follow(engine)
    wait_for(follower, lambda: complete(follower, engine))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_a_failure(follow: Follow, tmp_path: Path) -> None:
    """An incomplete log is never taken for a complete one."""
    (tmp_path / "log.out").symlink_to("/dev/full")
    engine = Engine()
    follower = follow(engine)
    engine.start()
    engine.write(OUT, b"a\n")
    wait_for(follower, lambda: follower.ended)
    assert isinstance(follower.failure, OSError)
    assert not follower.settle(BOUND)


def test_files_that_cannot_be_made_are_an_error_at_once(tmp_path: Path) -> None:
    """And nothing goes on in the background."""
    hub = EventHub(Engine())
    with pytest.raises(FileNotFoundError):
        LogFollower(
            Engine(),
            "c",
            out=tmp_path / "log.out",
            err=tmp_path / "no folder" / "log.err",
            framed=True,
            hub=hub,
        )
    assert hub._watches == {}
    hub.close()


def test_closing_ends_it_now(follow: Follow) -> None:
    """Whether the container runs or rests; what waits for it returns."""
    for running in (True, False):
        engine = Engine()
        if running:
            engine.start()
        follower = follow(engine, stem=f"log{running}")
        with ThreadPoolExecutor(1) as pool:
            settling = pool.submit(follower.settle, BOUND)
            follower.close()
            settling.result(BOUND)
        assert follower.ended
        assert not follower._thread.is_alive()
        follower.close()


def test_a_closed_hub_ends_its_followers(follow: Follow) -> None:
    """Without events nobody knows of the next life."""
    follower = follow(Engine())
    wait_for(follower, lambda: follower.is_settled)
    follower._watch._hub.close()
    wait_for(follower, lambda: follower.ended)
    assert follower.failure is None


# Terminals ---------------------------------------------------------------------------


@pytest.mark.parametrize("lose", [0, 1, 5, 100])
def test_a_terminal_has_one_stream(follow: Follow, lose: int) -> None:
    """All is in the first file, once, through restarts."""
    engine = Engine(lose=lose, framed=False)
    follower = follow(engine)
    for life in range(3):
        engine.start()
        for number in range(10):
            engine.write(OUT, b"%d.%d\r\n" % (life, number))
        engine.exit()
        assert follower.settle(BOUND)
    assert complete(follower, engine)


# The whole log at once ---------------------------------------------------------------


def test_the_whole_log_is_read_once(tmp_path: Path) -> None:
    """Evidence of a failed test, when nobody had followed the container."""
    engine = Engine()
    engine.start()
    engine.write(OUT, b"a\n")
    engine.write(ERR, b"b")
    out, err = tmp_path / "out", tmp_path / "err"
    out.write_bytes(b"reserved")
    read_log(engine, "c", framed=True, out=out, err=err)
    assert (out.read_bytes(), err.read_bytes()) == (b"a\n", b"b")


def test_a_broken_reading_of_the_whole_log_is_an_error(tmp_path: Path) -> None:
    """Half a log is not taken for a whole one."""
    engine = Engine()
    engine.start()
    engine.write(OUT, b"a\n")
    engine.cuts = 1
    with pytest.raises(EngineUnreachableError):
        read_log(engine, "c", framed=True, out=tmp_path / "out", err=tmp_path / "err")


# Searching ---------------------------------------------------------------------------

WORD = re.compile(r"\w+ready$")


def found(scanner: LogScanner, pattern: str) -> str | None:
    """Return the line in which a pattern is found."""
    match = scanner.scan(re.compile(pattern))
    return match and match.string


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Return two empty files."""
    for name in ("a", "b"):
        (tmp_path / name).touch()
    return tmp_path / "a", tmp_path / "b"


def append(path: Path, data: bytes) -> None:
    """Let a file grow."""
    with path.open("ab") as file:
        file.write(data)


def test_a_match_is_returned_with_its_line(files: tuple[Path, Path]) -> None:
    """A line's end is no part of it, so anchors mean what they say."""
    scanner = LogScanner(*files)
    append(files[0], b"starting\nnow 17 ready\r\nmore\n")
    match = scanner.scan(re.compile(r"(\d+) ready$"))
    assert match is not None
    assert (match.string, match[1]) == ("now 17 ready", "17")


def test_only_what_is_new_is_searched(files: tuple[Path, Path]) -> None:
    """The next search goes on after the match."""
    scanner = LogScanner(*files)
    append(files[0], b"one\ntwo\n")
    assert found(scanner, "one") == "one"
    assert found(scanner, "one") is None
    assert found(scanner, "two") is None
    append(files[0], b"three\n")
    assert found(scanner, "t") == "three"


def test_all_files_are_searched_in_order(files: tuple[Path, Path]) -> None:
    """Each has a position of its own."""
    scanner = LogScanner(*files)
    append(files[1], b"b 1\n")
    assert found(scanner, "1") == "b 1"
    append(files[0], b"a 2\n")
    append(files[1], b"b 2\n")
    assert [found(scanner, "2"), found(scanner, "2")] == ["a 2", "b 2"]


def test_a_line_without_an_end_is_searched_again_when_it_has_grown(
    files: tuple[Path, Path],
) -> None:
    """A prompt is found at once, and a word that comes in two pieces too."""
    scanner = LogScanner(*files)
    append(files[0], b"first\nnot rea")
    assert found(scanner, "ready") is None
    append(files[0], b"dy: login: ")
    assert found(scanner, "^not ready") == "not ready: login: "


def test_a_line_matches_at_most_once(files: tuple[Path, Path]) -> None:
    """Also one that matched before it had an end: counting matches counts lines."""
    scanner = LogScanner(*files)
    append(files[0], b"ready in ")
    assert found(scanner, "ready|5") == "ready in "
    assert found(scanner, "ready|5") is None
    append(files[0], b"5 ")
    assert found(scanner, "ready|5") is None
    append(files[0], b"s\nready again\n")
    assert found(scanner, "ready|5") == "ready again"


def test_bytes_that_are_no_text_do_no_harm(files: tuple[Path, Path]) -> None:
    """A binary protocol on standard output is no reason to fail."""
    scanner = LogScanner(*files)
    append(files[0], b"\xff\xfe ready\ncaf\xc3\xa9\n")
    assert found(scanner, "ready") == "\ufffd\ufffd ready"
    assert found(scanner, "caf\u00e9") == "caf\u00e9"


def test_the_match_tells_which_pattern_it_was(files: tuple[Path, Path]) -> None:
    """Whoever waits for success and failure at once learns which came first."""
    scanner = LogScanner(*files)
    wanted, error = re.compile("ready"), re.compile("ERROR")
    append(files[0], b"an ERROR\nready\nERROR ready\n")
    matches = [scanner.scan(wanted, None, error) for _ in range(4)]
    assert [match and match.re for match in matches] == [error, wanted, wanted, None]


def test_a_file_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    """It may come."""
    scanner = LogScanner(tmp_path / "later")
    assert found(scanner, "a") is None
    append(tmp_path / "later", b"a\n")
    assert found(scanner, "a") == "a"


# Real engines ------------------------------------------------------------------------

Run = Callable[..., str]


@pytest.fixture
def hub(engine: ApiEngine) -> Iterator[EventHub]:
    """Return a hub on the real engine."""
    hub = EventHub(engine)
    yield hub
    hub.close()


@pytest.fixture
def create(engine: ApiEngine, owner: Owner) -> Run:
    """Return what creates a container that runs a shell command."""

    def create(command: str, *, driver: str = "json-file", **more: Any) -> str:
        body = {
            "Image": BUSYBOX,
            "Cmd": ["sh", "-c", command],
            "Labels": {RUN_LABEL: owner.key},
            "HostConfig": {
                "LogConfig": {"Type": driver, "Config": {}},
                **more.pop("HostConfig", {}),
            },
            **more,
        }
        name = resource_name(owner, "logs", "shell", next(NUMBERS))
        return engine.create_container(name, body)

    return create


@pytest.fixture
def follow_on(
    engine: ApiEngine, hub: EventHub, tmp_path: Path
) -> Iterator[Callable[..., LogFollower]]:
    """Return what follows a container's log on the real engine, and closes it."""
    made: list[LogFollower] = []

    def make(container: str, *, framed: bool = True) -> LogFollower:
        stem = tmp_path / container[:12]
        out, err = stem.with_suffix(".out"), stem.with_suffix(".err")
        made.append(
            LogFollower(engine, container, out=out, err=err, framed=framed, hub=hub)
        )
        return made[-1]

    yield make
    for follower in made:
        follower.close()


@pytest.fixture
def both_cores_busy() -> Iterator[None]:
    """Keep the processors busy, since that is when engines lose lines."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in "12"]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


def remove(engine: ApiEngine, container: str) -> None:
    """Remove a container."""
    engine.remove(Resource(kind=Kind.CONTAINER, id=container, name=container))


def sequence(first: int, last: int, end: bytes = b"\n") -> bytes:
    """Return what ``seq`` prints."""
    return b"".join(b"%d%s" % (number, end) for number in range(first, last + 1))


def frames_of(engine: ApiEngine, container: str, **how: Any) -> list[LogFrame]:
    """Return a log as the engine gives it now."""
    stream = engine.container_logs(container, follow=False, framed=True, **how)
    with contextlib.closing(stream):
        return list(stream)


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_engines_keep_to_the_facts_that_followers_stand_on(
    engine: ApiEngine,
    create: Run,
    follow_on: Callable[..., LogFollower],
    driver: str,
) -> None:
    """They are listed at the top of `pysys_orch.docker.engine.logs`."""
    command = (
        "for i in 1 2 3; do seq 1 200 & seq 1 200 >&2; wait;"
        "head -c 40000 /dev/zero | tr '\\0' x; echo; done; printf tail"
    )
    container = create(command, driver=driver)
    follower = follow_on(container)
    engine.start_container(container)
    assert follower.settle(BOUND)
    whole = frames_of(engine, container)
    for stream in (OUT, ERR):
        stamps = [frame.stamp for frame in whole if frame.stream == stream]
        assert stamps == sorted(stamps)
        assert {len(stamp) for stamp in stamps} == {30}
    long = [frame for frame in whole if b"x" in frame.payload]
    assert [len(frame.payload) for frame in long[:2]] == [16384, 16384]
    assert len(long) == 9
    assert len({frame.stamp for frame in long}) == 3
    assert whole[-1].payload == b"tail"
    for count in (1, 2, 7, 100, len(whole), len(whole) + 5):
        assert frames_of(engine, container, tail=count) == whole[-count:]
    for frame in whole[::50]:
        wanted = [
            each
            for each in whole
            if each.stream == frame.stream and each.stamp >= frame.stamp
        ]
        out = frame.stream == OUT
        since = frame.stamp
        got = frames_of(engine, container, since=since, stdout=out, stderr=not out)
        assert [each for each in got if each.stamp >= since] == wanted


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.usefixtures("both_cores_busy")
def test_no_line_is_lost_on_a_busy_machine(
    engine: ApiEngine, create: Run, follow_on: Callable[..., LogFollower]
) -> None:
    """Engine 20.10 ends one live stream in five early when it has little time."""
    command = "seq 1 20000 & seq 20001 40000 >&2; wait"
    containers = [create(command) for _ in range(4)]
    followers = [follow_on(container) for container in containers]
    for container in containers:
        engine.start_container(container)
    for follower in followers:
        assert follower.settle(100)
        assert follower.out.read_bytes() == sequence(1, 20000)
        assert follower.err.read_bytes() == sequence(20001, 40000)


@pytest.mark.docker
@pytest.mark.engine20
@pytest.mark.usefixtures("both_cores_busy")
def test_a_killed_container_that_printed_a_lot_is_complete(
    engine: ApiEngine, create: Run, follow_on: Callable[..., LogFollower]
) -> None:
    """Everything that the engine received is in the files once they are settled."""
    container = create("seq 1 60000 & seq 1 30000 >&2; wait; exec sleep 60")
    follower = follow_on(container)
    engine.start_container(container)
    scanner, early = LogScanner(follower.out), re.compile("^1000$")
    wait_for(follower, lambda: scanner.scan(early) is not None)
    engine.kill_container(container, "KILL")
    assert follower.settle(100)
    whole = frames_of(engine, container)
    for path, stream in ((follower.out, OUT), (follower.err, ERR)):
        logged = b"".join(each.payload for each in whole if each.stream == stream)
        assert path.read_bytes() == logged


@pytest.mark.docker
@pytest.mark.engine20
def test_an_unterminated_last_line_is_as_the_container_wrote_it(
    engine: ApiEngine, create: Run, follow_on: Callable[..., LogFollower]
) -> None:
    """No end is added, none is taken away, and empty lines stay."""
    container = create("printf 'a\\n\\n  b\\r\\nend'; printf 'x\\ny' >&2")
    follower = follow_on(container)
    engine.start_container(container)
    assert follower.settle(BOUND)
    assert follower.out.read_bytes() == b"a\n\n  b\r\nend"
    assert follower.err.read_bytes() == b"x\ny"


@pytest.mark.docker
@pytest.mark.engine20
def test_long_lines_are_whole(
    engine: ApiEngine, create: Run, follow_on: Callable[..., LogFollower]
) -> None:
    """An engine cuts them into parts; they are joined."""
    line = "head -c 100000 /dev/zero | tr '\\0' x; echo"
    container = create(f"{line}; ({line}; {line}) >&2; {line}")
    follower = follow_on(container)
    engine.start_container(container)
    assert follower.settle(BOUND)
    assert follower.out.read_bytes() == follower.err.read_bytes()
    assert follower.out.read_bytes() == (b"x" * 100_000 + b"\n") * 2


@pytest.mark.docker
@pytest.mark.engine20
def test_a_log_goes_on_when_a_container_is_restarted(
    engine: ApiEngine, create: Run, follow_on: Callable[..., LogFollower]
) -> None:
    """By hand and after its end; each life is there once."""
    container = create("seq 1 2000; printf end; seq 1 100 >&2; exec sleep 60")
    follower = follow_on(container)
    engine.start_container(container)
    one_life = sequence(1, 2000) + b"end"
    for life in range(1, 4):
        wait_for(follower, holds(follower.err, sequence(1, 100) * life))
        engine.restart_container(container, 0)
    wait_for(follower, holds(follower.err, sequence(1, 100) * 4))
    engine.kill_container(container, "KILL")
    assert follower.settle(BOUND)
    assert follower.out.read_bytes() == one_life * 4
    engine.start_container(container)
    wait_for(follower, holds(follower.err, sequence(1, 100) * 5))
    engine.kill_container(container, "KILL")
    assert follower.settle(BOUND)
    assert follower.out.read_bytes() == one_life * 5


@pytest.mark.docker
@pytest.mark.engine20
def test_a_log_goes_on_through_the_engines_own_restarts(
    engine: ApiEngine, create: Run, follow_on: Callable[..., LogFollower]
) -> None:
    """A container that crashes tells why each time."""
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}
    container = create("echo out; echo err >&2; exit 1", HostConfig=policy)
    follower = follow_on(container)
    engine.start_container(container)
    wait_for(follower, holds(follower.out, b"out\n" * 4))
    assert follower.settle(BOUND)
    assert follower.err.read_bytes() == b"err\n" * 4


@pytest.mark.docker
@pytest.mark.engine20
def test_removal_ends_a_follower(
    engine: ApiEngine, create: Run, follow_on: Callable[..., LogFollower]
) -> None:
    """Of a container that runs, and of one that has ended."""
    running, ended = create("echo a; exec sleep 60"), create("echo a")
    followers = [follow_on(running), follow_on(ended)]
    for container, follower in zip((running, ended), followers, strict=True):
        engine.start_container(container)
        wait_for(follower, holds(follower.out, b"a\n"))
    assert followers[1].settle(BOUND)
    for container, follower in zip((running, ended), followers, strict=True):
        remove(engine, container)
        follower._thread.join(BOUND)
        assert follower.ended
        assert follower.failure is None
    assert followers[1].settle(0)


@pytest.mark.docker
@pytest.mark.engine20
def test_a_terminal_is_followed_through_restarts(
    engine: ApiEngine, create: Run, follow_on: Callable[..., LogFollower]
) -> None:
    """Its lines end as a terminal's do, and there is no second stream."""
    container = create("seq 1 2000; echo err >&2; printf end", Tty=True)
    follower = follow_on(container, framed=False)
    one_life = sequence(1, 2000, b"\r\n") + b"err\r\nend"
    for life in range(1, 4):
        engine.start_container(container)
        wait_for(follower, holds(follower.out, one_life * life))
        assert follower.settle(BOUND)
    assert follower.out.read_bytes() == one_life * 3
    assert follower.err.read_bytes() == b""


@pytest.mark.docker
@pytest.mark.engine20
def test_a_driver_that_cannot_be_read_is_a_failure(
    engine: ApiEngine, create: Run, follow_on: Callable[..., LogFollower]
) -> None:
    """The engine says so, and nobody waits for lines that cannot come."""
    container = create("echo a", driver="none")
    follower = follow_on(container)
    engine.start_container(container)
    wait_for(follower, lambda: follower.ended)
    assert isinstance(follower.failure, EngineAnswerError)
    assert "does not support reading" in str(follower.failure)
    assert not follower.settle(BOUND)


@pytest.mark.docker
@pytest.mark.engine20
def test_the_whole_log_of_a_container_that_ran_unseen(
    engine: ApiEngine, create: Run, follow_on: Callable[..., LogFollower]
) -> None:
    """It equals what a follower would have written."""
    container = create("seq 1 5000; seq 1 50 >&2")
    follower = follow_on(container)
    engine.start_container(container)
    assert follower.settle(BOUND)
    out, err = follower.out.with_suffix(".o"), follower.err.with_suffix(".e")
    read_log(engine, container, framed=True, out=out, err=err)
    assert out.read_bytes() == follower.out.read_bytes() == sequence(1, 5000)
    assert err.read_bytes() == follower.err.read_bytes() == sequence(1, 50)


@pytest.mark.docker
@pytest.mark.engine20
def test_fifty_containers_are_followed_at_once(
    engine: ApiEngine,
    create: Run,
    follow_on: Callable[..., LogFollower],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is mixed up, and nothing is logged from the threads."""
    with ThreadPoolExecutor(8) as pool, caplog.at_level(logging.INFO):
        lines = [f"seq {first} {first + 999}" for first in range(0, 50_000, 1000)]
        containers = list(pool.map(create, lines))
        followers = [follow_on(container) for container in containers]
        list(pool.map(engine.start_container, containers))
        for number, follower in enumerate(followers):
            assert follower.settle(100)
            written = sequence(number * 1000, number * 1000 + 999)
            assert follower.out.read_bytes() == written
            assert follower.err.read_bytes() == b""
        list(pool.map(lambda container: remove(engine, container), containers))
        for follower in followers:
            follower._thread.join(BOUND)
            assert follower.ended
            assert follower.failure is None
    assert caplog.records == []

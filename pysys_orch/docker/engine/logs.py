"""The logs of containers: in files, complete, and searched as they grow.

An engine's live stream of a log may end early, silently (release 20.10 on a busy
machine: one in five, by up to nine tenths of the log); what it lacks then is at the
end. So what a stream gave is never believed to be all: after its end, the log's end is
read once more, and as much of the rest as it takes.

Facts about an engine's log that this module stands on, verified with releases 20.10 and
26.1 and the drivers json-file and local:

* Within one of a container's two streams stamps never go back, between them they do.
* A line of more than 16 KB comes in parts, which share one stamp.
* *since* includes what has exactly that stamp. It makes the engine read the whole log,
  2 ms for a thousand lines; *tail* does not, and counts parts as lines.
* A live stream comes in the order of the log, so it gives the log's beginning.
* An unterminated last line comes as it was written, when the process ends; until then
  an engine keeps it to itself. Driver local of release 20.10 loses the end of a line
  of more than 16 KB.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.docker.engine.events import DESTROY, RESUMED, START, EventHub
from pysys_orch.docker.engine.streams import LogFrame
from pysys_orch.errors import (
    ConflictError,
    DockerError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
)

_T = TypeVar("_T")

#: Seconds for which a follower tries to reach an engine that it has lost.
PATIENCE = 30.0

# How much of a log's end is read at first to see whether the live stream lacks any.
_TAILS = (100, 2000)
_FIRST_DELAY = 0.02
_LONGEST_DELAY = 1.0
_STDERR = 2
_TAIL_LINES = 5
_NOT_IMPLEMENTED = 501  # a driver whose log cannot be read
# Later than every life: what must be settled of a container that is gone.
_GONE = "~"


class Stream(Protocol):
    """What is asked of an open log."""

    @property
    def failure(self) -> DockerError | None:
        """Why it ended, where the engine did not mean it to end."""
        ...

    def batches(self) -> Iterator[list[LogFrame]]:
        """Yield the frames, all at once those that have arrived together."""
        ...

    def close(self) -> None:
        """End it, also while another thread reads it."""
        ...


class Engine(Protocol):
    """What is asked of an engine."""

    def inspect_container(self, container: str) -> dict[str, Any]:
        """Return everything that the engine knows about a container."""
        ...

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
    ) -> Stream:
        """Open the log of a container."""
        ...


class Log(Protocol):
    """A log that goes on growing in two files.

    Attributes:
        out: File for standard output.
        err: File for standard error.
    """

    out: Path
    err: Path

    @property
    def failure(self) -> Exception | None:
        """What ended it before its time, if anything did."""
        ...

    @property
    def version(self) -> int:
        """A number that grows with each write."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing will be written any more."""
        ...

    def wait_change(self, seen_version: int, timeout: float | None = None) -> int:
        """Wait until `version` is no longer *seen_version*; return what it is then."""
        ...

    def settle(self, timeout: float) -> bool:
        """Wait until all that was logged is in the files; return whether it is."""
        ...

    def close(self) -> None:
        """End it now."""
        ...


class Output(Protocol):
    """Where one stream of a container is written to."""

    def write(self, data: bytes) -> None:
        """Append *data*."""
        ...

    def rest(self) -> None:
        """Hear that nothing more comes for now: the container does not run."""
        ...

    def close(self) -> None:
        """Hear that nothing more comes."""
        ...


class LogFollower:
    """Streams a container's log to two files, from its first line until it is gone.

    The files are there when the constructor returns, and only ever grow. They hold
    every byte once, in order, through any number of restarts. A line is in its file a
    few milliseconds after the container wrote it; the end of an unterminated line once
    the process has ended.

    It reads in a thread of its own. Setting the engine's clock back while a container
    is between two lives may cost lines of the next one.

    Args:
        engine: Where the container is.
        container: Its full id; it need not have been started.
        out: File for standard output; is appended to.
        err: File for standard error; stays empty for a container with a terminal.
        framed: False for a container with a terminal.
        hub: The engine's events, which tell of restarts and of the container's end.
        clock: What to wait on while an engine cannot be reached.
        opening: How a file is opened.

    Attributes:
        out: File for standard output.
        err: File for standard error.

    Raises:
        EngineUnreachableError: The engine does not answer.
        OSError: The files cannot be opened.
    """

    def __init__(
        self,
        engine: Engine,
        container: str,
        *,
        out: Path,
        err: Path,
        framed: bool,
        hub: EventHub,
        clock: Clock | None = None,
        opening: Callable[[Path], Output] | None = None,
    ) -> None:
        opening = opening or _File
        self.out = out
        self.err = err
        self._engine = engine
        self._container = container
        self._framed = framed
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._stop = threading.Event()
        self._stream: Stream | None = None
        self._version = 0
        self._settled = ""  # when the latest life began that is entirely in the files
        self._is_settled = False
        self._ended = False
        self._failure: Exception | None = None
        # The last frame that was news, and how many of its stream had had its stamp:
        # whatever precedes it in the log is in the files.
        self._mark: tuple[LogFrame, int] | None = None
        with contextlib.ExitStack() as undo:
            self._watch = hub.watch(container)
            undo.callback(self._watch.close)
            self._out = Sink(opening(out), framed=framed)
            undo.callback(self._out.close)
            self._err = Sink(opening(err), framed=framed)
            undo.pop_all()
        self._thread = threading.Thread(
            target=self._run, name=f"docker-log-{container[:12]}", daemon=True
        )
        self._thread.start()

    @property
    def failure(self) -> Exception | None:
        """What ended it before the container's end, if anything did."""
        return self._failure

    @property
    def version(self) -> int:
        """A number that grows with each write, and when all is written for now."""
        return self._version

    @property
    def is_settled(self) -> bool:
        """Whether, as far as is known here, nothing runs and all of it is in the files.

        A start that was asked for a moment ago may not be known yet: `settle` with no
        time asks the engine.
        """
        return self._is_settled

    @property
    def ended(self) -> bool:
        """Whether nothing will be written any more."""
        return self._ended

    def wait_change(self, seen_version: int, timeout: float | None = None) -> int:
        """Wait until `version` is no longer *seen_version*; return what it is then.

        Args:
            seen_version: What it was before the files were read.
            timeout: Seconds after which to return in any case, or None.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen_version, timeout)
            return self._version

    def settle(self, timeout: float) -> bool:
        """Wait until all that a container wrote is in the files.

        Meant for a container that has ended or was killed; of one that runs, the end
        is waited for.

        Args:
            timeout: Seconds after which to give up.

        Returns:
            Whether it is; False also when it never will be: after `close` or a
            failure, or because the container was removed before it was read to its
            end.
        """
        try:
            life = _life(self._engine.inspect_container(self._container))
        except NotFoundError:
            life = _GONE
        except DockerError:
            return False
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or self._settled >= life, timeout
            )
            return self._settled >= life

    def close(self, timeout: float = 5.0) -> None:
        """End it now, whether or not the files hold everything.

        Args:
            timeout: Seconds to wait for the thread.
        """
        with self._lock:
            self._stop.set()
            stream = self._stream
        if stream is not None:
            stream.close()
        self._watch.close()
        self._thread.join(timeout)

    # In the thread --------------------------------------------------------------------

    def _run(self) -> None:
        gone = False
        try:
            self._follow_lives()
        except _StoppedError:
            pass
        except (_GoneError, NotFoundError, ConflictError):
            gone = True  # a conflict: it is being removed
        except Exception as failure:  # noqa: BLE001 -- kept for whoever asks
            self._failure = failure
        finally:
            self._watch.close()
            self._out.close()
            self._err.close()
            with self._changed:
                if gone and self._is_settled:
                    self._settled = _GONE
                self._ended = True
                self._version += 1
                self._changed.notify_all()

    def _follow_lives(self) -> None:
        """Follow the log, life after life, until an exception ends it.

        Raises:
            NotFoundError: The container was removed.
            DockerError: The log cannot be read.
        """
        delay = _FIRST_DELAY
        while True:
            written = self._version
            self._patiently(self._follow)
            seen = self._watch.count
            found = self._patiently(
                lambda: self._engine.inspect_container(self._container)
            )
            state = found["State"]
            if state["Running"] and not state.get("Restarting"):
                # A stream ends shortly before its container does; or it broke.
                delay = _FIRST_DELAY if self._version != written else delay
                self._wait_for_event(seen, delay)
                delay = min(delay * 2, _LONGEST_DELAY)
                continue
            delay = _FIRST_DELAY
            self._read_again()
            self._note_settled(found)
            self._wait_for_life(seen)

    def _follow(self) -> None:
        with self._lock:
            self._is_settled = False
        since = min(self._out.since, self._err.since) if self._framed else ""
        self._read(follow=True, since=since)

    def _read_again(self) -> None:
        """Append what the live stream did not give."""
        if not self._framed:
            self._patiently(lambda: self._read(follow=False))
            return
        for count in _TAILS:
            if self._patiently(partial(self._read_end, count)):
                return
        # Each stream has a request of its own, from where its own file ends: one of
        # them may have been silent since long before the other's last line.
        self._mark = None
        self._patiently(
            lambda: self._read(follow=False, since=self._out.since, stderr=False)
        )
        self._patiently(
            lambda: self._read(follow=False, since=self._err.since, stdout=False)
        )
        self._mark = None

    def _read_end(self, count: int) -> bool:
        """Append what is missing; return False if that begins before the last frames.

        Args:
            count: How many frames to read.
        """
        stream = self._open(follow=False, tail=count)
        with contextlib.closing(stream):
            end = [frame for frames in stream.batches() for frame in frames]
        self._require_going()
        if stream.failure is not None:
            raise stream.failure
        if len(end) < count:  # that is the whole log
            self._expect(known=True)
            self._write(end)
            return True
        missing = _frames_after(self._mark, end)
        if missing is None:
            return False
        self._expect(known=False)
        self._write(missing)
        return True

    def _read(
        self,
        *,
        follow: bool,
        since: str = "",
        stdout: bool = True,
        stderr: bool = True,
    ) -> None:
        stream = self._open(follow=follow, since=since, stdout=stdout, stderr=stderr)
        with contextlib.closing(stream):
            self._expect(known=True)
            for frames in stream.batches():
                self._write(frames)
        self._require_going()
        if stream.failure is not None and not follow:
            raise stream.failure

    def _open(
        self,
        *,
        follow: bool,
        since: str = "",
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
    ) -> Stream:
        stream = self._engine.container_logs(
            self._container,
            follow=follow,
            framed=self._framed,
            since=since,
            stdout=stdout,
            stderr=stderr,
            tail=tail,
        )
        with self._lock:
            self._stream = stream
        if self._stop.is_set():  # `close` may have come too early to end this one
            stream.close()
        return stream

    def _expect(self, *, known: bool) -> None:
        """Say whether what is read next may be in the files already."""
        self._out.expect(known=known)
        self._err.expect(known=known)

    def _write(self, frames: list[LogFrame]) -> None:
        for frame in frames:
            sink = self._err if frame.stream == _STDERR else self._out
            if sink.add(frame):
                self._mark = frame, sink.with_stamp
        written = self._out.write()
        if self._err.write() or written:
            with self._changed:
                self._version += 1
                self._changed.notify_all()

    def _note_settled(self, found: dict[str, Any]) -> None:
        finished = _fixed(str(found["State"]["FinishedAt"]))
        self._out.rest(finished)
        self._err.rest(finished)
        with self._changed:
            self._settled = max(self._settled, _life(found))
            self._is_settled = True
            self._version += 1
            self._changed.notify_all()

    def _wait_for_life(self, seen: int) -> None:
        """Wait for the container to be started again.

        Args:
            seen: How many events had come before it was found not to run.

        Raises:
            _GoneError: It was removed.
        """
        while True:
            count = self._watch.count
            actions = {event.action for event in self._watch.events(seen)}
            if DESTROY in actions:
                raise _GoneError
            if START in actions or RESUMED in actions:
                return
            seen = max(seen, count)
            self._wait_for_event(seen, None)

    def _wait_for_event(self, seen: int, timeout: float | None) -> None:
        came = self._watch.wait(seen, timeout)
        self._require_going()
        if timeout is None and not came:
            raise _StoppedError  # the hub was closed

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """Do what *call* does, again and again while the engine cannot be reached."""
        begin: float | None = None
        delay = _FIRST_DELAY
        while True:
            try:
                return call()
            except DockerError as failure:
                if not _may_pass(failure):
                    raise
                self._require_going()
                now = self._clock.instant()
                begin = now if begin is None else begin
                if now - begin >= PATIENCE:
                    raise
                self._clock.wait_until(now + delay, self._stop)
                delay = min(delay * 2, _LONGEST_DELAY)

    def _require_going(self) -> None:
        if self._stop.is_set():
            raise _StoppedError


class LogScanner:
    """Searches growing log files, reading only what is new.

    Not safe to be used by several threads at once.

    Args:
        *paths: The files, in the order in which they are searched; one that is not
            there is empty.
    """

    def __init__(self, *paths: Path) -> None:
        self._cursors = [_Cursor(path) for path in paths]

    def scan(self, *patterns: re.Pattern[str] | None) -> re.Match[str] | None:
        """Return the first match in what no earlier call has searched.

        A line that has no end yet is searched too, and again when it has grown; a line
        matches at most once. Bytes that are not UTF-8 are replaced.

        Args:
            *patterns: Searched for in each line, without the line's end; of several
                that match a line the first one counts (``match.re`` tells which it
                was). None matches nothing.
        """
        wanted = [pattern for pattern in patterns if pattern is not None]
        for cursor in self._cursors:
            if match := cursor.scan(wanted):
                return match
        return None


def read_log(
    engine: Engine, container: str, *, framed: bool, out: Path, err: Path
) -> None:
    """Write the whole log of a container, as it is now, to two files.

    Args:
        engine: Where the container is.
        container: Its id.
        framed: False for a container with a terminal.
        out: File for standard output; is overwritten.
        err: File for standard error; is overwritten.

    Raises:
        NotFoundError: There is no such container.
        EngineAnswerError: Its log cannot be read.
        EngineUnreachableError: The engine does not answer, or stopped to.
    """
    stream = engine.container_logs(container, follow=False, framed=framed)
    with (
        contextlib.closing(stream),
        out.open("wb") as out_file,
        err.open("wb") as err_file,
    ):
        for frames in stream.batches():
            for frame in frames:
                file = err_file if frame.stream == _STDERR else out_file
                file.write(frame.payload)
    if stream.failure is not None:
        raise stream.failure


def last_lines(engine: Engine, found: Mapping[str, Any]) -> list[str]:
    """Return the last few lines that a container logged, on either stream.

    Args:
        engine: Where it is.
        found: Its inspection.
    """
    stream = engine.container_logs(
        str(found["Id"]),
        follow=False,
        framed=not found["Config"]["Tty"],
        tail=_TAIL_LINES,
    )
    try:
        frames = [frame.payload for batch in stream.batches() for frame in batch]
    finally:
        stream.close()
    lines = b"".join(frames).decode("utf-8", "replace").splitlines()
    return lines[-_TAIL_LINES:]


class _StoppedError(Exception):
    """The follower was closed, or its hub."""


class _GoneError(Exception):
    """The container was removed."""


class _File:
    """A file of one container's own."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        while data:
            data = data[self._file.write(data) :]

    def rest(self) -> None:
        """Do nothing: all is written."""

    def close(self) -> None:
        self._file.close()


class Sink:
    """One of the two outputs, and what is in it already."""

    def __init__(self, output: Output, *, framed: bool) -> None:
        self._output = output
        self._position = _Stamps() if framed else _Bytes()
        self._pending: list[bytes] = []

    @property
    def since(self) -> str:
        """Everything before this stamp is known."""
        return self._position.since

    @property
    def with_stamp(self) -> int:
        """How many frames have had the last one's stamp."""
        return self._position.with_stamp

    def expect(self, *, known: bool) -> None:
        """Say whether the next frames may be known already."""
        self._position.expect(known=known)

    def rest(self, stamp: str) -> None:
        """Note that whatever is still to come has a later stamp."""
        self._position.complete_until(stamp)
        self._output.rest()

    def add(self, frame: LogFrame) -> bool:
        """Take what is new in a frame; return whether that is anything."""
        payload = self._position.news(frame)
        if payload:
            self._pending.append(payload)
        return bool(payload)

    def write(self) -> bool:
        """Write what was added; return whether that was anything."""
        if not self._pending:
            return False
        data = b"".join(self._pending)
        self._pending.clear()
        self._output.write(data)
        return True

    def close(self) -> None:
        """Hear that nothing more comes."""
        self._output.close()


class _Stamps:
    """How much of a stream of frames is known, by their stamps.

    Stamps do not go back, but several frames may share one: the position is the last
    stamp, and how many frames had it.
    """

    def __init__(self) -> None:
        self._stamp = ""
        self.with_stamp = 0
        self._complete = ""
        self._skip = 0
        self._skipping = False

    @property
    def since(self) -> str:
        """Everything before this stamp is known."""
        return max(self._stamp, self._complete)

    def complete_until(self, stamp: str) -> None:
        """Note that whatever is still to come has a later stamp."""
        self._complete = max(self._complete, stamp)

    def expect(self, *, known: bool) -> None:
        """Say whether the next frames may be known already."""
        self._skip = self.with_stamp
        self._skipping = known

    def news(self, frame: LogFrame) -> bytes:
        """Return what of the next frame is not known; it is, from now on."""
        if self._skipping:
            if frame.stamp < self._stamp:
                return b""
            if frame.stamp == self._stamp and self._skip:
                self._skip -= 1
                return b""
            self._skipping = False
        if frame.stamp == self._stamp:
            self.with_stamp += 1
        else:
            self._stamp, self.with_stamp = frame.stamp, 1
        return frame.payload


class _Bytes:
    """How much of a terminal's log is known: so many bytes from its beginning."""

    since = ""
    with_stamp = 0

    def __init__(self) -> None:
        self._known = 0
        self._skip = 0

    def complete_until(self, stamp: str) -> None:
        """Do nothing: there are no stamps."""

    def expect(self, *, known: bool) -> None:
        """Say whether the log comes from its beginning."""
        self._skip = self._known if known else 0

    def news(self, frame: LogFrame) -> bytes:
        """Return what of the next piece is not known; it is, from now on."""
        payload = frame.payload[self._skip :]
        self._skip -= len(frame.payload) - len(payload)
        self._known += len(payload)
        return payload


class _Cursor:
    """How far one file has been searched."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._within = False  # whether the line at the offset has matched before

    def scan(self, patterns: list[re.Pattern[str]]) -> re.Match[str] | None:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return None
        with file:
            file.seek(self._offset)
            for raw in file:
                complete = raw.endswith(b"\n")
                match = None if self._within else _first_match(raw, patterns)
                if complete or match or self._within:
                    self._offset += len(raw)
                    self._within = not complete
                if match:
                    return match
                if not complete:
                    break  # the next piece would be the rest of this line
        return None


def _frames_after(
    mark: tuple[LogFrame, int] | None, end: list[LogFrame]
) -> list[LogFrame] | None:
    """Return what follows a frame in the end of a log.

    Args:
        mark: The frame, and the how manieth of its stream with its stamp it is.
        end: The last frames of the log, but not all of it.

    Returns:
        None if that cannot be told: *mark* is missing, is further back, or only the
        latter part of the frames with its stamp is in *end*.
    """
    if mark is None:
        return None
    frame, count = mark
    same = [index for index, each in enumerate(end) if each.stream == frame.stream]
    with_stamp = [index for index in same if end[index].stamp == frame.stamp]
    if len(with_stamp) < count or with_stamp[0] == same[0]:
        return None
    return end[with_stamp[count - 1] + 1 :]


def _first_match(raw: bytes, patterns: list[re.Pattern[str]]) -> re.Match[str] | None:
    line = raw.decode("utf-8", "replace").rstrip("\r\n")
    matches = (pattern.search(line) for pattern in patterns)
    return next((match for match in matches if match), None)


def _may_pass(failure: DockerError) -> bool:
    """Return whether it may help to ask again."""
    if isinstance(failure, EngineAnswerError):
        return failure.status >= 500 and failure.status != _NOT_IMPLEMENTED
    return isinstance(failure, EngineUnreachableError)


def _life(found: dict[str, Any]) -> str:
    """Return what tells a container's lives apart: when the latest one began."""
    started = str(found["State"]["StartedAt"])
    return _fixed(started) or started


def _fixed(stamp: str) -> str:
    """Return a stamp in the form of those in a log, which compare as texts do.

    Returns:
        Empty for one that is not in UTC, and for *never*.
    """
    if not stamp.endswith("Z") or stamp.startswith("0001-"):
        return ""
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<9}Z"

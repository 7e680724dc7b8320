"""What happens to containers, heard once for all who care.

An engine tells its events to whoever keeps a stream open. A run needs one such stream,
however many containers it has: the hub reads it in one thread and hands each event to
the watches of its container.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, Protocol

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.errors import DockerError

#: The container's process was started.
START: Final = "start"
#: The container's process ended.
DIE: Final = "die"
#: The engine was asked to send it a signal, whichever, or to stop it.
KILL: Final = "kill"
#: The kernel killed a process in the container, for lack of memory.
OOM: Final = "oom"
#: The container was removed.
DESTROY: Final = "destroy"
#: Not an engine's word: the stream had broken and was opened again, so events may be
#: missing before this one. What was concluded from events must be asked for anew.
RESUMED: Final = "resumed"

#: How many events a watch keeps; of more, the oldest are dropped.
KEPT_EVENTS = 500

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 1.0
# Two events that happen at once may come in the other order; the engine itself
# remembers 256 and forgets them when it is restarted.
_OVERLAP = timedelta(seconds=1)
_REMEMBERED = 1024
_CLOSE_TIMEOUT = 5.0
_BY_SIGNAL = 128
_SIGKILL = "9"


class Stream(Protocol):
    """What is asked of an open stream of events."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield events until the stream ends, for whatever reason."""
        ...

    def close(self) -> None:
        """End it, also while another thread reads it."""
        ...


class Engine(Protocol):
    """What is asked of an engine."""

    def now(self) -> datetime:
        """Return the present by the engine's clock."""
        ...

    def events(self, since: datetime | None = None) -> Stream:
        """Open the stream of container events, beginning at *since*."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEvent:
    """Something that happened to a container.

    Attributes:
        at: When, by the engine's clock.
        action: What, in the engine's words: ``start``, ``die``, ``oom``, ``destroy``,
            ``health_status: healthy``; or `RESUMED`.
        attributes: What the engine tells about it, such as ``exitCode``; the
            container's labels are among them.
    """

    at: datetime
    action: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    def explains(self, exit_code: int) -> bool:
        """Return whether this is the signal by which a container ended so.

        Many signals end nothing: HUP has a server read its files again.

        Source:
            Docker's exit codes: 128 and the number of the signal.
        """
        signal = self.attributes.get("signal") or _SIGKILL  # an engine may not say
        return self.action == KILL and str(exit_code - _BY_SIGNAL) == signal


class Watch:
    """The events of one container, or of several, since somebody began to watch.

    Threads may share it. What commands do inside the container (``exec_*``) is left
    out: a health check alone would push out all the rest.
    """

    def __init__(self, container: str, hub: EventHub) -> None:
        self._container = container
        self._hub = hub
        self._changed = threading.Condition()
        self._events: deque[ContainerEvent] = deque(maxlen=KEPT_EVENTS)
        self._count = 0
        self._closed = False

    @property
    def count(self) -> int:
        """How many events have come, with those that are no longer kept."""
        return self._count

    def events(self, seen: int = 0) -> tuple[ContainerEvent, ...]:
        """Return what came beyond the first *seen* events, as far as it is kept."""
        with self._changed:
            dropped = self._count - len(self._events)
            return tuple(islice(self._events, max(0, seen - dropped), None))

    def wait(self, seen: int, timeout: float | None = None) -> bool:
        """Wait until more than *seen* events have come.

        Read `count` before you look at the world, and wait with what you read: nothing
        that happens in between is missed.

        Args:
            seen: As `count` said.
            timeout: Seconds after which to give up, or None to wait for ever.

        Returns:
            Whether they have; False also at once when the watch is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._count > seen, timeout)
            return self._count > seen

    def close(self) -> None:
        """End it, and everybody's waiting."""
        self._hub.forget(self._container, self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def add(self, event: ContainerEvent) -> None:
        """Hand it an event; the hub does."""
        with self._changed:
            self._events.append(event)
            self._count += 1
            self._changed.notify_all()


class EventHub:
    """Watches an engine's container events, with one stream and one thread.

    Both are there from the first watch on. When the stream breaks it is opened again,
    from where it broke, as often as it takes; each watch then gets a `RESUMED` event.
    Threads may share a hub.

    Args:
        engine: Whose events.
        clock: What to wait on between two attempts.
    """

    def __init__(self, engine: Engine, *, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or SystemClock()
        self._opening = threading.Lock()  # held for as long as an engine may take
        self._lock = threading.Lock()  # never held for long
        self._stop = threading.Event()
        self._watches: dict[str, list[Watch]] = {}
        self._stream: Stream | None = None
        self._thread: threading.Thread | None = None
        self._delivered: dict[tuple[int, str, str], None] = {}  # oldest first
        self._opened = self._latest = datetime.min.replace(tzinfo=UTC)
        self._reconnects = 0
        self._failure: Exception | None = None

    @property
    def reconnects(self) -> int:
        """How often the stream was opened again."""
        return self._reconnects

    @property
    def failure(self) -> Exception | None:
        """What ended the thread before its time; never a matter of the engine."""
        return self._failure

    def ensure(self) -> None:
        """Open the stream, unless that was done before.

        Raises:
            EngineUnreachableError: The engine does not answer.
            RuntimeError: The hub is closed.
        """
        with self._opening:
            self._require_open()
            if self._thread is not None:
                return
            # The engine answers a moment before it begins to listen: without a time
            # to begin at, what happens in that moment would be lost.
            self._opened = self._latest = self._engine.now()
            stream = self._engine.events(self._opened)
            self._hold(stream)
            self._require_open()
            self._thread = threading.Thread(
                target=self._run, args=(stream,), name="docker-events", daemon=True
            )
            self._thread.start()

    def watch(self, container: str) -> Watch:
        """Begin to keep the events of a container.

        Nothing that happens after the return is missed.

        Args:
            container: Its full id; or ``label=text`` for all that carry such a label.

        Raises:
            EngineUnreachableError: The engine does not answer.
            RuntimeError: The hub is closed.
        """
        watch = Watch(container, self)
        self.ensure()
        with self._lock:
            self._require_open()
            self._watches.setdefault(container, []).append(watch)
        return watch

    def close(self) -> None:
        """End the stream, the thread and all waiting. May be called again."""
        with self._lock:
            self._stop.set()
            stream, thread = self._stream, self._thread
        if stream is not None:
            stream.close()
        self._close_watches()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_TIMEOUT)

    def forget(self, container: str, watch: Watch) -> None:
        """Hand that watch no more events; `Watch.close` does it."""
        with self._lock:
            watches = self._watches.get(container, [])
            if watch in watches:
                watches.remove(watch)
            if not watches:
                self._watches.pop(container, None)

    def _run(self, stream: Stream) -> None:
        try:
            self._read_on(stream)
        except Exception as failure:  # noqa: BLE001 -- kept for whoever watches next
            self._failure = failure
        finally:
            with self._lock:
                self._stop.set()
            self._close_watches()

    def _read_on(self, stream: Stream) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                for message in stream:
                    self._deliver(message)
                    delay = _FIRST_DELAY
            except ValueError:
                pass  # cut off in the middle of a message
            finally:
                stream.close()
            while True:
                if not self._clock.wait_until(
                    self._clock.instant() + delay, self._stop
                ):
                    return
                delay = min(delay * 2, _LONGEST_DELAY)
                since = max(self._opened, self._latest - _OVERLAP)
                try:
                    stream = self._engine.events(since)
                    break
                except DockerError:
                    continue
            if not self._hold(stream):
                return
            self._resumed()

    def _hold(self, stream: Stream) -> bool:
        """Make *stream* the one that `close` ends; return False if it is too late."""
        with self._lock:
            if not self._stop.is_set():
                self._stream = stream
                return True
        stream.close()
        return False

    def _require_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._stop.is_set():
            message = "this event hub is closed"
            raise RuntimeError(message)

    def _resumed(self) -> None:
        self._reconnects += 1
        event = ContainerEvent(at=self._latest, action=RESUMED)
        with self._lock:
            watches = [watch for each in self._watches.values() for watch in each]
        for watch in watches:
            watch.add(event)

    def _deliver(self, message: Mapping[str, Any]) -> None:
        actor = message.get("Actor") or {}
        container = str(actor.get("ID") or message.get("id") or "")
        action = str(message.get("Action") or message.get("status") or "")
        nanoseconds = int(
            message.get("timeNano") or int(message.get("time") or 0) * 10**9
        )
        at = _instant_of(nanoseconds)
        identity = (nanoseconds, container, action)
        # Twice also without a break: an engine notes an event before it tells it, and
        # who begins to listen in between gets it from its notes, too.
        if identity in self._delivered:
            return
        self._delivered[identity] = None
        if len(self._delivered) > _REMEMBERED:
            del self._delivered[next(iter(self._delivered))]
        self._latest = max(self._latest, at)
        if action.startswith("exec_"):
            return
        attributes = MappingProxyType(dict(actor.get("Attributes") or {}))
        keys = [container, *(f"{key}={text}" for key, text in attributes.items())]
        with self._lock:
            watches = [each for key in keys for each in self._watches.get(key, ())]
        if watches:
            event = ContainerEvent(at=at, action=action, attributes=attributes)
            for watch in watches:
                watch.add(event)

    def _close_watches(self) -> None:
        with self._lock:
            watches = [watch for each in self._watches.values() for watch in each]
        for watch in watches:
            watch.close()


def _instant_of(nanoseconds: int) -> datetime:
    seconds, rest = divmod(nanoseconds, 10**9)
    whole = datetime.fromtimestamp(seconds, UTC)
    return whole + timedelta(microseconds=rest // 1000)

"""The logs of all tasks of a service: in one pair of files, and in one for each."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.docker.engine import elsewhere, logs
from pysys_orch.docker.engine.elsewhere import LogsElsewhere
from pysys_orch.docker.engine.events import EventHub
from pysys_orch.docker.engine.logs import LogFollower
from pysys_orch.docker.engine.ownership import SERVICE_ID_LABEL
from pysys_orch.errors import DockerError, EngineUnreachableError, NotFoundError

_TASK_LABEL = "com.docker.swarm.task.name"
_LOOK_EVERY = 0.5
_LOOK_SPARING = 4  # times as long as a look took, where that is longer
_LONGEST_PAUSE = 5.0


class Engine(logs.Engine, elsewhere.Engine, Protocol):
    """What is asked of an engine."""

    def list_labelled(self, path: str, labels: list[str]) -> list[dict[str, Any]]:
        """Return what carries all of *labels*."""
        ...


class ServiceLog:
    """Streams what the tasks of a service log, from their first line.

    All of it goes to one pair of files, whole lines at a time; from the second task on
    each task has a pair of its own besides, with its slot and id in the name. A task
    that replaces another one is a second one. What tasks log on other nodes is half a
    second late; and what they log on a node that is down is missing until that is up.

    Args:
        engine: A manager of the swarm.
        service: The service's id.
        out: File for standard output; is appended to.
        err: File for standard error.
        hub: The engine's events, which tell of new tasks.
        clock: What to wait on while an engine cannot be reached.

    Attributes:
        out: File for standard output.
        err: File for standard error.
    """

    def __init__(
        self,
        engine: Engine,
        service: str,
        *,
        out: Path,
        err: Path,
        hub: EventHub,
        clock: Clock | None = None,
    ) -> None:
        self.out = out
        self.err = err
        self._engine = engine
        self._hub = hub
        self._label = f"{SERVICE_ID_LABEL}={service}"
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._looking = threading.Lock()
        self._frozen = threading.Event()
        self._version = 0
        self._ended = False
        self._failure: Exception | None = None
        self._followers: dict[str, LogFollower] = {}  # by container
        self._files = {path: SharedFile(path, self._notice) for path in (out, err)}
        self._watch = hub.watch(self._label)
        self._elsewhere = LogsElsewhere(
            engine,
            service,
            opening=lambda name: (
                self._files[out].lane(name),
                self._files[err].lane(name),
            ),
        )
        self._threads = [
            threading.Thread(
                target=target, name=f"docker-service-log-{service[:12]}", daemon=True
            )
            for target in (self._run, self._run_elsewhere)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def failure(self) -> Exception | None:
        """What ended it, or the log of one task, before its time."""
        failures = (each.failure for each in list(self._followers.values()))
        return self._failure or next((each for each in failures if each), None)

    @property
    def unread(self) -> list[str]:
        """Why what tasks log on other nodes cannot be read at present, one by one."""
        return self._elsewhere.unread

    @property
    def version(self) -> int:
        """A number that grows with each write, and when a task's log is at its end."""
        return self._version

    @property
    def ended(self) -> bool:
        """Whether nothing will be written any more."""
        return self._ended

    def wait_change(self, seen_version: int, timeout: float | None = None) -> int:
        """Wait until `version` is no longer *seen_version*; return what it is then."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen_version, timeout)
            return self._version

    def settle(self, timeout: float) -> bool:
        """Wait until all is in the files that tasks wrote which do not run any more.

        Of those that run on other nodes all is that they have written until now.

        Args:
            timeout: Seconds after which to give up.

        Returns:
            Whether it is.
        """
        deadline = self._clock.instant() + timeout
        try:
            self._look()
            if not self._elsewhere.look():
                return False
            ended = [
                follower
                for container, follower in list(self._followers.items())
                if not self._runs(container)
            ]
        except DockerError:
            return False
        remaining = (max(0.0, deadline - self._clock.instant()) for _ in ended)
        return all(
            each.settle(rest) or each.ended
            for each, rest in zip(ended, remaining, strict=True)
        )

    def freeze(self) -> None:
        """Take no notice of tasks that come from now on."""
        with self._looking:
            self._frozen.set()

    def close(self) -> None:
        """End it now, whether or not the files hold everything."""
        self.freeze()
        self._watch.close()
        for thread in self._threads:
            thread.join(5.0)
        for follower in list(self._followers.values()):
            follower.close()
        for file in self._files.values():
            file.close()
        self._ended = True
        self._notice()

    # In threads -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._frozen.is_set():
                seen = self._watch.count
                self._look_patiently()
                if not self._watch.wait(seen):
                    return  # closed
        except Exception as failure:  # noqa: BLE001 -- kept for whoever asks
            self._failure = failure
            self._notice()

    def _run_elsewhere(self) -> None:
        failing: float | None = None
        try:
            while not self._frozen.is_set():
                begin = self._clock.instant()
                try:
                    self._elsewhere.look()
                    failing = None
                except EngineUnreachableError:
                    pass  # of that the other thread hears, too
                except DockerError:
                    # A swarm may have no leader for a while.
                    failing = begin if failing is None else failing
                    if begin - failing >= logs.PATIENCE:
                        raise
                now = self._clock.instant()
                pause = max(_LOOK_EVERY, _LOOK_SPARING * (now - begin))
                pause = min(pause, _LONGEST_PAUSE)
                # Until there is another node, the engine is spared.
                pause = _LONGEST_PAUSE if self._elsewhere.is_alone else pause
                self._clock.wait_until(now + pause, self._frozen)
        except Exception as failure:  # noqa: BLE001 -- kept for whoever asks
            self._failure = failure
            self._notice()

    def _look_patiently(self) -> None:
        deadline = self._clock.instant() + logs.PATIENCE
        while not self._frozen.is_set():
            try:
                self._look()
            except DockerError:
                now = self._clock.instant()
                if now >= deadline:
                    raise
                self._clock.wait_until(now + 0.1, self._frozen)
            else:
                return

    def _look(self) -> None:
        """Follow every container of the service that is not followed yet."""
        with self._looking:
            if self._frozen.is_set():
                return
            listed = self._engine.list_labelled("/containers/json", [self._label])
            for each in sorted(listed, key=lambda found: int(found["Created"])):
                if each["Id"] not in self._followers:
                    self._follow(each)

    def _follow(self, listed: Mapping[str, Any]) -> None:
        container = str(listed["Id"])
        try:
            found = self._engine.inspect_container(container)
        except NotFoundError:
            return
        task = str(listed["Labels"].get(_TASK_LABEL) or container)
        # Of service.slot.id, or service.node.id where there are no slots.
        name = elsewhere.name_in_files(*task.split(".")[-2:])
        self._followers[container] = LogFollower(
            self._engine,
            container,
            out=self.out,
            err=self.err,
            framed=not found["Config"]["Tty"],
            hub=self._hub,
            clock=self._clock,
            opening=lambda path: self._files[path].lane(name),
        )

    def _runs(self, container: str) -> bool:
        try:
            return bool(self._engine.inspect_container(container)["State"]["Running"])
        except NotFoundError:
            return False

    def _notice(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()


class SharedFile:
    """A file that several tasks write to, each line as a whole.

    Args:
        path: The file; is appended to. What is written for the second task on is also
            in a file for each task, beside it: ``log.1.id.out`` for ``log.out``.
        notice: Called after each write.
    """

    def __init__(self, path: Path, notice: Callable[[], None]) -> None:
        self.notice = notice
        self._path = path
        self._lock = threading.Lock()
        self._file = path.open("ab", buffering=0)
        self._begin = self._file.tell()  # before it is what others wrote
        self._lanes: list[Lane] = []
        self._unfinished: Lane | None = None  # whose last line has no end
        self._is_closed = False

    def lane(self, task: str) -> Lane:
        """Return what writes for *task*; the second one gives each a file too.

        Once it is closed, what that writes goes nowhere.
        """
        with self._lock:
            lane = Lane(self, task)
            if self._is_closed:
                lane.closed = True
                return lane
            self._lanes.append(lane)
            if len(self._lanes) == 2:
                own = self._own(self._lanes[0])
                with self._path.open("rb") as written, own.open("wb") as copy:
                    written.seek(self._begin)
                    shutil.copyfileobj(written, copy)
                if not self._lanes[0].closed:
                    self._lanes[0].own = own.open("ab", buffering=0)
            if len(self._lanes) > 1:
                lane.own = self._own(lane).open("ab", buffering=0)
            return lane

    def append(self, lane: Lane, data: bytes) -> None:
        """Write lines, of which only the last one may lack its end."""
        with self._lock:
            if lane.own is not None and not lane.own.closed:
                _write(lane.own, data)
            if self._unfinished not in {None, lane}:
                data = b"\n" + data
            self._unfinished = None if data.endswith(b"\n") else lane
            if not self._file.closed:
                _write(self._file, data)
        self.notice()

    def close(self) -> None:
        """Write nothing any more."""
        with self._lock:
            self._is_closed = True
        for lane in self._lanes:
            lane.close()
        with self._lock:
            self._file.close()

    def release(self, lane: Lane) -> None:
        """Write nothing any more for a task, into no file of its own."""
        with self._lock:
            lane.closed = True
            if lane.own is not None:
                lane.own.close()

    def _own(self, lane: Lane) -> Path:
        return self._path.with_name(f"{self._path.stem}.{lane.task}{self._path.suffix}")


class Lane:
    """The output of one task: holds back the beginning of a line."""

    def __init__(self, shared: SharedFile, task: str) -> None:
        self.task = task
        self.own: Any = None  # the task's own file, once there is one
        self.closed = False
        self._shared = shared
        self._held = b""

    def write(self, data: bytes) -> None:
        """Pass on the lines that are complete."""
        data = self._held + data
        whole = data.rfind(b"\n") + 1
        self._held = data[whole:]
        if whole:
            self._shared.append(self, data[:whole])

    def rest(self) -> None:
        """Pass on what was held back: the line has no end."""
        if self._held:
            held, self._held = self._held, b""
            self._shared.append(self, held)
        else:
            self._shared.notice()

    def close(self) -> None:
        """Pass on what was held back, for the last time."""
        self.rest()
        self._shared.release(self)


def _write(file: Any, data: bytes) -> None:  # noqa: ANN401 -- a raw file
    while data:
        data = data[file.write(data) :]

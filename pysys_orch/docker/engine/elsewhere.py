"""What tasks of a service log on other nodes of the swarm: read through a manager.

A manager passes on what the engine of another node has of a task's log, complete and
from any stamp on. But a stream that is left open falls silent for ever when its node
dies or is cut off, and never ends with its task. So what is new is asked for again and
again: that takes 2 ms, and 30 ms of a log that has 20 000 lines (release 26.1).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pysys_orch.docker.engine import swarm
from pysys_orch.docker.engine.logs import (
    Output,
    Sink,
    Stream,
    last_lines,
    read_log,
)
from pysys_orch.errors import (
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
)

_SHORT = 8  # characters of an id
_NODE_IS_DOWN = "incomplete log stream"


class Engine(Protocol):
    """What is asked of a manager."""

    def list_nodes(self) -> list[dict[str, Any]]:
        """Return the nodes of the swarm."""
        ...

    def list_tasks(self, service: str) -> list[dict[str, Any]]:
        """Return the tasks of a service."""
        ...

    def own_node(self) -> str:
        """Return the id of the node that the engine is."""
        ...

    def task_logs(
        self,
        task: str,
        *,
        framed: bool,
        since: str = "",
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
    ) -> Stream:
        """Open the log of a task as it is now."""
        ...


class LogsElsewhere:
    """The logs of those tasks of a service that are not on the manager's own node.

    Threads may share it.

    Args:
        engine: A manager of the swarm.
        service: The service's id.
        opening: Returns what standard output and standard error of a task are written
            to, given what the task is called in the names of files.
    """

    def __init__(
        self,
        engine: Engine,
        service: str,
        *,
        opening: Callable[[str], tuple[Output, Output]],
    ) -> None:
        self._engine = engine
        self._service = service
        self._opening = opening
        self._looking = threading.Lock()
        self._here: str | None = None
        self._is_alone = True
        self._tasks: dict[str, _TaskLog] = {}
        self._done: set[str] = set()
        self._unread: dict[str, str] = {}

    @property
    def unread(self) -> list[str]:
        """Why what tasks log is not read at present, task by task."""
        return [f"task {task}: {reason}" for task, reason in list(self._unread.items())]

    @property
    def is_alone(self) -> bool:
        """Whether the swarm has had no node yet but the manager's own."""
        return self._is_alone

    def look(self) -> bool:
        """Write what is new.

        What a task logged on a node that is down is read when that is up again; what
        is not read yet when the service is removed goes with it.

        Returns:
            Whether all nodes have answered, or are known to be down.

        Raises:
            DockerError: The engine does not answer, or a log cannot be read.
        """
        with self._looking:
            if self._here is None:
                self._here = self._engine.own_node()
            if self._is_alone:
                self._is_alone = len(self._engine.list_nodes()) == 1
            if self._is_alone:
                return True
            try:
                tasks = self._engine.list_tasks(self._service)
            except NotFoundError:
                return True
            ended = swarm.ended(tasks)
            silent: dict[str, str] = {}  # nodes, and why
            for task in sorted(tasks, key=lambda each: str(each["CreatedAt"])):
                is_here = task.get("NodeID", "") in {"", self._here}
                if is_here or task["ID"] in self._done or not swarm.container_of(task):
                    continue
                node = str(task["NodeID"])
                is_read = False
                try:
                    # One that is silent is waited for once.
                    is_read = node not in silent and self._read(task)
                except EngineUnreachableError as failure:
                    silent[node] = failure.cause
                if node in silent:
                    self._unread[str(task["ID"])] = silent[node]
                if is_read and task["ID"] in ended:
                    self._done.add(task["ID"])
                    self._tasks[task["ID"]].rest()
            return not silent

    def _read(self, task: Mapping[str, Any]) -> bool:
        """Write what is new of a task; return False if its node is out of reach."""
        number = str(task["ID"])
        if number not in self._tasks:
            place = str(task.get("Slot") or task["NodeID"])
            opened = self._opening(name_in_files(place, number))
            self._tasks[number] = _TaskLog(task, *opened)
        try:
            self._tasks[number].read(self._engine)
        except NotFoundError:  # with its service
            return True
        except EngineAnswerError as refusal:
            if _NODE_IS_DOWN not in refusal.explanation:
                raise
            self._unread[number] = refusal.explanation
            return False
        self._unread.pop(number, None)
        return True


class _TaskLog:
    """The log of one task, and how much of it is written."""

    def __init__(self, task: Mapping[str, Any], out: Output, err: Output) -> None:
        self._task = str(task["ID"])
        self._framed = _is_framed(task)
        self._out = Sink(out, framed=self._framed)
        self._err = Sink(err, framed=self._framed)

    def read(self, engine: Engine) -> None:
        # Each has a request of its own, from where it ends: one of them may have been
        # silent since long before the other's last line.
        self._read(engine, self._out, stderr=False)
        if self._framed:
            self._read(engine, self._err, stdout=False)

    def rest(self) -> None:
        """Note that the task has ended: its last line may have no end."""
        self._out.rest("")
        self._err.rest("")

    def _read(
        self, engine: Engine, sink: Sink, *, stdout: bool = True, stderr: bool = True
    ) -> None:
        stream = engine.task_logs(
            self._task,
            framed=self._framed,
            since=sink.since,
            stdout=stdout,
            stderr=stderr,
        )
        with contextlib.closing(stream):
            sink.expect(known=True)
            for frames in stream.batches():
                for frame in frames:
                    sink.add(frame)
                sink.write()
        if stream.failure is not None:
            raise stream.failure


class _OfTasks:
    """Lets the log of a task be read as if it were that of a container."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def inspect_container(self, container: str) -> dict[str, Any]:
        raise NotImplementedError(container)

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
        if follow:
            raise NotImplementedError(container)
        return self._engine.task_logs(
            container,
            framed=framed,
            since=since,
            stdout=stdout,
            stderr=stderr,
            tail=tail,
        )


def name_in_files(*words: str) -> str:
    """Return what a task of a service is called in the names of files.

    Args:
        words: Its slot, or its node where there are none; and its id.
    """
    return ".".join(word[:_SHORT] for word in words)


def last_lines_of_task(engine: Engine, task: Mapping[str, Any]) -> list[str]:
    """Return the last few lines that a task logged, on either stream.

    Args:
        engine: A manager of the swarm.
        task: The task, as the engine lists it.

    Raises:
        DockerError: The task is gone, or its node is down.
    """
    known = {"Id": task["ID"], "Config": {"Tty": not _is_framed(task)}}
    return last_lines(_OfTasks(engine), known)


def read_task_log(
    engine: Engine, task: Mapping[str, Any], *, out: Path, err: Path
) -> None:
    """Write the whole log of a task, as it is now, to two files.

    Args:
        engine: A manager of the swarm.
        task: The task, as the engine lists it.
        out: File for standard output; is overwritten.
        err: File for standard error; is overwritten.

    Raises:
        DockerError: The task is gone, or its node is down.
    """
    task_id = str(task["ID"])
    read_log(_OfTasks(engine), task_id, framed=_is_framed(task), out=out, err=err)


def _is_framed(task: Mapping[str, Any]) -> bool:
    """Return whether a task's output comes in frames: that it has no terminal."""
    return not task["Spec"].get("ContainerSpec", {}).get("TTY", False)

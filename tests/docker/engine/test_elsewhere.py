"""What tasks log on other nodes is read once, whatever becomes of the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pysys_orch.docker.engine.elsewhere import LogsElsewhere, last_lines_of_task
from pysys_orch.docker.engine.streams import LogFrame
from pysys_orch.errors import (
    DockerError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
)

DOWN = EngineAnswerError(
    "read the log of task t1", 500, "incomplete log stream: node b is not available"
)
MUTE = EngineUnreachableError("tcp://manager", "no answer within 5 s")
HERE = "a"


class Lines:
    """An answer with these lines, all of which the engine got at the same time."""

    def __init__(self, lines: list[str]) -> None:
        self.failure: DockerError | None = None
        self._lines = lines

    def batches(self) -> Iterator[list[LogFrame]]:
        stamp = "2026-01-01T00:00:00.000000001Z"
        for line in self._lines:
            yield [LogFrame(stream=1, stamp=stamp, payload=line.encode())]

    def close(self) -> None:
        pass


class Manager:
    """A manager of a swarm of two nodes, with what tasks of a service have logged."""

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []
        self.logged: dict[str, list[str]] = {}
        self.failures: dict[str, DockerError] = {}
        self.asked: list[str] = []
        self.nodes = [HERE, "b"]

    def run(self, task: str, *lines: str, node: str = "b") -> None:
        self.logged[task] = list(lines)
        self.tasks.append(
            {
                "ID": task,
                "Slot": len(self.tasks) + 1,
                "NodeID": node,
                "CreatedAt": f"2026-01-01T00:00:0{len(self.tasks)}Z",
                "DesiredState": "running",
                "Status": {"State": "running", "ContainerStatus": {"ContainerID": "c"}},
                "Spec": {"ContainerSpec": {}},
            }
        )

    def end(self, task: str) -> None:
        found = next(each for each in self.tasks if each["ID"] == task)
        found["Status"]["State"] = "complete"

    def own_node(self) -> str:
        return HERE

    def list_nodes(self) -> list[dict[str, Any]]:
        return [{"ID": each} for each in self.nodes]

    def list_tasks(self, service: str) -> list[dict[str, Any]]:
        if not self.tasks:
            raise NotFoundError("list tasks", 404, f"service {service} not found")
        return self.tasks

    def task_logs(
        self,
        task: str,
        *,
        framed: bool,
        since: str = "",
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
    ) -> Lines:
        assert framed
        del since, stderr, tail
        self.asked.append(task)
        if task in self.failures:
            raise self.failures[task]
        return Lines(self.logged[task] if stdout else [])


class Written:
    """What was written of one stream of a task."""

    def __init__(self) -> None:
        self.text = ""
        self.has_rested = False

    def write(self, data: bytes) -> None:
        self.text += data.decode()

    def rest(self) -> None:
        self.has_rested = True

    def close(self) -> None:
        pass


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def files() -> dict[str, Written]:
    return {}


@pytest.fixture
def logs(manager: Manager, files: dict[str, Written]) -> LogsElsewhere:
    def opening(name: str) -> tuple[Written, Written]:
        files[name] = Written()
        return files[name], Written()

    return LogsElsewhere(manager, "s1", opening=opening)


def test_each_line_is_written_once(
    manager: Manager, logs: LogsElsewhere, files: dict[str, Written]
) -> None:
    """Though all is answered again that has the last line's stamp."""
    manager.run("t1", "one\n", "two\n")
    assert logs.look()
    manager.logged["t1"] += ["three\n"]
    assert logs.look()
    assert files["1.t1"].text == "one\ntwo\nthree\n"


def test_what_runs_on_the_manager_is_left_to_others(
    manager: Manager, logs: LogsElsewhere, files: dict[str, Written]
) -> None:
    """It is read there, live."""
    manager.run("t1", "here\n", node=HERE)
    manager.run("t2", "there\n")
    logs.look()
    assert files.keys() == {"2.t2"}


def test_a_node_that_joins_later_is_read_as_well(
    manager: Manager, logs: LogsElsewhere, files: dict[str, Written]
) -> None:
    """Tasks that were on the manager alone may come to others, and go back."""
    manager.nodes = [HERE]
    manager.run("t1", "here\n", node=HERE)
    assert logs.look()
    before = logs.is_alone
    manager.nodes = [HERE, "b"]
    manager.end("t1")
    manager.run("t2", "there\n")
    assert logs.look()
    assert (before, logs.is_alone) == (True, False)
    manager.end("t2")
    manager.logged["t2"] += ["to the end\n"]
    manager.nodes = [HERE]
    manager.run("t3", "back\n", node=HERE)
    assert logs.look()
    assert {name: each.text for name, each in files.items()} == {
        "2.t2": "there\nto the end\n"
    }


def test_what_has_ended_is_not_read_again(
    manager: Manager, logs: LogsElsewhere, files: dict[str, Written]
) -> None:
    """A service that restarts for days does not make each look longer."""
    manager.run("t1", "end\n")
    manager.end("t1")
    logs.look()
    assert files["1.t1"].has_rested
    asked = list(manager.asked)
    logs.look()
    assert manager.asked == asked


@pytest.mark.parametrize(("failure", "has_heard"), [(DOWN, True), (MUTE, False)])
def test_a_node_that_is_out_of_reach_keeps_nothing_from_the_others(
    manager: Manager,
    logs: LogsElsewhere,
    files: dict[str, Written],
    failure: DockerError,
    has_heard: bool,
) -> None:
    """Until then it is known what is lacking."""
    manager.run("t1", "first\n")
    manager.run("t2", "second\n", node="c")
    manager.end("t1")
    manager.failures["t1"] = failure
    assert logs.look() is has_heard
    assert files["2.t2"].text == "second\n"
    assert [each.partition(":")[0] for each in logs.unread] == ["task t1"]
    manager.failures.clear()
    assert logs.look()
    assert files["1.t1"].text == "first\n"
    assert not logs.unread


def test_a_silent_node_is_waited_for_once_in_a_look(
    manager: Manager, logs: LogsElsewhere
) -> None:
    """However many tasks it has."""
    for task in ("t1", "t2", "t3"):
        manager.run(task)
        manager.failures[task] = MUTE
    assert not logs.look()
    assert manager.asked == ["t1"]
    assert len(logs.unread) == 3


def test_with_a_service_goes_what_was_not_read(
    manager: Manager, logs: LogsElsewhere
) -> None:
    """That is nothing to wait for."""
    assert logs.look()
    assert not manager.asked


def test_a_log_that_cannot_be_read_is_an_error(
    manager: Manager, logs: LogsElsewhere
) -> None:
    """As that of a container is."""
    manager.run("t1")
    manager.failures["t1"] = EngineAnswerError("read", 501, "no such log driver")
    with pytest.raises(EngineAnswerError, match="no such log driver"):
        logs.look()


def test_the_last_words_of_a_task_elsewhere_are_known(manager: Manager) -> None:
    """They say why a service does not come up."""
    manager.run("t1", "starting\n", "no config\n")
    assert last_lines_of_task(manager, manager.tasks[0]) == ["starting", "no config"]

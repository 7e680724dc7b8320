"""A service is waited for as long as it may come, and no longer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from pysys_orch.docker.convergence import Before, Convergence, Ending, Observed
from pysys_orch.errors import ConfigError, ContainerGoneError, NotFoundError
from pysys_orch.testing import ManualClock
from tests.docker.engine.test_swarm import CRASH, JOB, NO_NODE, SPEC, task

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine

ONE = {**SPEC, "Mode": {"Replicated": {"Replicas": 1}}}
JOB_OF_ONE = {**JOB, "Mode": {"ReplicatedJob": {"TotalCompletions": 1}}}


class Swarm:
    """An engine with one service, whose containers are all elsewhere."""

    def __init__(self, spec: dict[str, Any], *tasks: dict[str, Any]) -> None:
        self.spec = spec
        self.now: Sequence[dict[str, Any]] = tasks
        self.dead: set[str] = set()

    def inspect_service(self, service: str) -> dict[str, Any]:
        return {"ID": service, "Spec": self.spec}

    def list_tasks(self, service: str) -> list[dict[str, Any]]:
        assert service == "s1"
        return list(self.now)

    def inspect_container(self, container: str) -> dict[str, Any]:
        raise NotFoundError("inspect", 404, f"no such container {container}")

    def task_logs(self, task: str, **_how: object) -> NoReturn:
        raise NotFoundError("logs", 404, f"no such task {task}")

    def unready_nodes(self) -> set[str]:
        return self.dead

    def observed(self) -> Observed:
        return Observed(cast("ApiEngine", self), "s1", "web")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_what_its_own_old_task_holds_is_waited_for(clock: ManualClock) -> None:
    """A port or memory is free once the grace is over that the old task has."""
    old = task("running", desired="shutdown", image="web:0")
    new = task("pending", NO_NODE)
    swarm = Swarm(ONE, old, new)
    state = Convergence(swarm.observed(), clock=clock, updating=True)
    for _ in range(5):
        clock.advance(2.5)
        assert not state.look()
        state.require()
    swarm.now = [new]
    assert not state.look()
    clock.advance(2)
    state.require()
    clock.advance(1.5)
    with pytest.raises(ContainerGoneError, match="the swarm has no suitable node"):
        state.require()


def test_what_is_to_end_on_a_dead_node_is_not_waited_for(clock: ManualClock) -> None:
    """It would run for ever, as far as the swarm knows."""
    swarm = Swarm(ONE, task("running"), task("running", desired="shutdown", node="b"))
    state = Convergence(swarm.observed(), clock=clock)
    assert not state.look()
    swarm.dead = {"b"}
    assert state.look()


def test_what_ran_on_a_dead_node_does_not_count(clock: ManualClock) -> None:
    """The swarm says that it runs until it has replaced it, and for long after that."""
    swarm = Swarm(ONE, task("running", node="b"))
    state = Convergence(swarm.observed(), clock=clock)
    assert state.look()
    swarm.dead = {"b"}
    assert not state.look()
    swarm.now = [task("running", node="a"), *swarm.now]
    assert state.look()


def test_tasks_that_are_being_replaced_do_not_count(clock: ManualClock) -> None:
    """What is published is not in their description, and replaces them all the same."""
    swarm = Swarm(ONE, task("running"))
    before = swarm.observed().before()
    same = Convergence(swarm.observed(), clock=clock, before=before)
    assert same.look()
    swarm.spec = {**ONE, "EndpointSpec": {"Mode": "dnsrr"}}
    state = Convergence(swarm.observed(), clock=clock, before=before)
    assert not state.look()
    assert str(state) == "0 of 1 run, 1 more that should not"
    swarm.now = [task("shutdown"), task("running")]
    assert state.look()


def test_what_an_update_failed_of_is_told(clock: ManualClock) -> None:
    """It may be rolled back while one looks."""
    culprit = task("running")
    failed = {**task("failed", CRASH, code=7), "ID": culprit["ID"]}

    class FailsMeanwhile(Swarm):
        def __init__(self) -> None:
            super().__init__(ONE, culprit)
            self.update = {"State": "updating"}

        def inspect_service(self, service: str) -> dict[str, Any]:
            return {**super().inspect_service(service), "UpdateStatus": self.update}

        def list_tasks(self, service: str) -> list[dict[str, Any]]:
            found = super().list_tasks(service)
            self.now = [failed]
            self.update = {"State": "rollback_started", "Message": "a task failed"}
            return found

    swarm = FailsMeanwhile().observed()
    state = Convergence(swarm, clock=clock, wanted=2, before=Before(), updating=True)
    assert not state.look()
    state.require()
    assert not state.look()
    with pytest.raises(ContainerGoneError, match=r"rolled back .*exit code 7"):
        state.require()


def test_a_job_without_a_node_ends_its_wait(clock: ManualClock) -> None:
    """It is as with a service that goes on."""
    swarm = Swarm(JOB_OF_ONE, task("pending", NO_NODE, spec=JOB))
    state = Ending(swarm.observed(), clock=clock)
    assert not state.look()
    state.require()
    clock.advance(3)
    with pytest.raises(ContainerGoneError, match="service web: the swarm has no suit"):
        state.require()
    assert str(state) == f"its tasks: 1 pending: {NO_NODE}"


def test_a_job_that_waits_for_its_own_tasks_is_patient(clock: ManualClock) -> None:
    """There may be room for one at a time only."""
    first = task("running", spec=JOB)
    swarm = Swarm(JOB, first, task("pending", NO_NODE, spec=JOB, slot=2))
    state = Ending(swarm.observed(), clock=clock)
    for _ in range(3):
        assert not state.look()
        state.require()
        clock.advance(5)


def test_a_job_that_failed_before_is_told(clock: ManualClock) -> None:
    """Nobody starts it again, so nothing would ever come."""
    swarm = Swarm(JOB_OF_ONE, task("rejected", "no luck", spec=JOB))
    state = Ending(swarm.observed(), clock=clock)
    assert not state.look()
    with pytest.raises(ContainerGoneError, match="its task was rejected: no luck"):
        state.require()


def test_of_a_job_those_tasks_count_that_did_it(clock: ManualClock) -> None:
    """One that an update replaced had another job."""
    old = task("failed", CRASH, code=7, spec=JOB, image="web:0")
    swarm = Swarm(JOB_OF_ONE, old, task("complete", spec=JOB))
    state = Ending(swarm.observed(), clock=clock)
    assert state.look()
    assert state.failed is None


def test_what_does_not_end_is_not_waited_for(clock: ManualClock) -> None:
    """The message says what to do instead."""
    with pytest.raises(ConfigError, match=r"service web does not end.*replicated-job"):
        Ending(Swarm(SPEC).observed(), clock=clock)

"""How a service is doing is said from its tasks alone; how it goes, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.swarm import (
    Judgement,
    are_open,
    asked_for,
    ended,
    ends,
    first_failed,
    forgotten,
    judge_tasks,
    remove_service,
    running_tasks,
    slots,
)
from pysys_orch.errors import ConflictError, DockerError, NotFoundError
from pysys_orch.testing import ManualClock

IMAGE = {"Image": "web:1"}
SPEC: dict[str, Any] = {
    "Name": "web",
    "TaskTemplate": {"ContainerSpec": IMAGE, "Runtime": "container", "ForceUpdate": 0},
    "Mode": {"Replicated": {"Replicas": 2}},
}
JOB = {
    **SPEC,
    "TaskTemplate": {**SPEC["TaskTemplate"], "RestartPolicy": {"Condition": "none"}},
    "Mode": {"ReplicatedJob": {"MaxConcurrent": 2, "TotalCompletions": 2}},
}
CRASH = "task: non-zero exit (3)"
NO_NODE = "no suitable node (scheduling constraints not satisfied on 1 node)"
COUNTER = iter(range(10**6))


def task(
    state: str,
    error: str = "",
    *,
    desired: str = "",
    code: int = 0,
    spec: Mapping[str, Any] = SPEC,
    image: str = "web:1",
    slot: int = 1,
    node: str = "here",
) -> dict[str, Any]:
    """Return a task as an engine lists it."""
    number = next(COUNTER)
    over = state in {"failed", "rejected", "shutdown", "complete"}
    has_container = state in {"starting", "running", "failed", "complete", "shutdown"}
    container = f"container-{number}" if has_container else ""
    made = {
        key: value for key, value in spec["TaskTemplate"].items() if key != "Runtime"
    }
    return {
        "ID": f"task-{number}",
        "CreatedAt": f"2026-01-01T00:00:{number:06}Z",
        "Slot": slot,
        "NodeID": node,
        "Spec": {**made, "ContainerSpec": {"Image": image}},
        "DesiredState": desired or ("shutdown" if over else "running"),
        "Status": {
            "Timestamp": f"2026-01-01T00:00:{number:06}Z",
            "State": state,
            "Err": error,
            "ContainerStatus": {"ContainerID": container, "ExitCode": code},
        },
    }


def judge(*tasks: dict[str, Any], wanted: int = 2, **options: Any) -> Judgement:
    return judge_tasks(tasks, **{"spec": SPEC, "wanted": wanted, **options})


# Judging ------------------------------------------------------------------------------


def test_what_runs_is_counted() -> None:
    """As many as are wanted, and nothing wrong: it is up."""
    tasks = (task("running"), task("running"))
    assert judge(*tasks) == Judgement(surplus=0, done=tasks)
    assert judge(*tasks).running == 2


@pytest.mark.parametrize(
    "state", ["new", "pending", "assigned", "preparing", "starting"]
)
def test_what_is_on_its_way_is_no_failure(state: str) -> None:
    """It is told in the message of a wait that took too long."""
    judged = judge(task("running"), task(state))
    assert (judged.running, judged.failure, judged.stuck) == (1, "", "")
    assert judged.others == f"1 {state}"


def test_a_task_whose_container_has_ended_does_not_run() -> None:
    """A swarm takes a moment to notice."""
    each = task("running")
    down = {each["Status"]["ContainerStatus"]["ContainerID"]}
    assert judge(each, wanted=1, down=down).running == 0


def test_one_failure_may_be_bad_luck() -> None:
    """What a service needs may not have been there yet."""
    judged = judge(task("failed", CRASH, code=3), task("starting"))
    assert judged.failure == ""
    assert judged.failed is not None
    assert judged.others == f"1 starting, 1 failed: {CRASH}"


def test_two_failures_are_a_reason() -> None:
    """The next one would fail as well; the last one is quoted."""
    tasks = [task("failed", CRASH, code=3), task("failed", CRASH, code=4)]
    judged = judge(*tasks, task("starting"))
    assert judged.failure == (
        "2 of its tasks failed, the last one ended with exit code 4"
    )
    assert judged.failed == tasks[1]


def test_a_command_that_ends_at_once_has_failed() -> None:
    """A service goes on, so swarm would start it again and again."""
    judged = judge(task("complete"), task("complete"), task("starting"))
    assert judged.failure.endswith("the last one ended with exit code 0")


def test_what_failed_before_the_wait_does_not_count() -> None:
    """Each wait has its own two chances."""
    before = [task("failed", CRASH), task("failed", CRASH)]
    assert judge(*before, task("running"), known=ended(before)).failure == ""


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("rejected", "No such image: nowhere:1"),
        ("rejected", 'invalid mount config for type "bind": bind source path does not'),
        ("failed", 'starting container failed: exec: "x": executable file not found'),
    ],
)
def test_what_cannot_pass_is_a_reason_at_once(state: str, error: str) -> None:
    """Nobody waits for a second one."""
    judged = judge(task(state, error), task("pending"))
    words = "was rejected" if state == "rejected" else "failed"
    assert judged.failure == f"its task {words}: {error}"


def test_a_lack_of_nodes_is_told() -> None:
    """How long it may last is the caller's decision."""
    judged = judge(task("pending", NO_NODE), task("pending", NO_NODE))
    assert (judged.failure, judged.stuck) == ("", NO_NODE)
    assert judged.others == f"2 pending: {NO_NODE}"


def test_of_an_update_only_the_new_tasks_count() -> None:
    """The old ones run for a while; their failures are none of the new ones."""
    old = [
        task("running", image="web:0"),
        task("failed", CRASH, image="web:0"),
        task("failed", CRASH, image="web:0"),
    ]
    judged = judge(*old, task("running"))
    assert (judged.running, judged.surplus, judged.failure) == (1, 1, "")


def test_what_is_to_end_is_too_many_until_it_has() -> None:
    """Who scales a service down wants the others gone."""
    rest = task("running", desired="remove")
    assert judge(task("running"), rest, wanted=1).surplus == 1
    assert judge(task("running"), task("shutdown"), wanted=1).surplus == 0


def test_what_is_to_end_on_a_node_that_is_down_is_not_waited_for() -> None:
    """Nobody is there to say that it has."""
    rest = task("running", desired="shutdown", node="dead")
    assert judge(task("running"), rest, wanted=1).surplus == 1
    assert judge(task("running"), rest, wanted=1, lost={"dead"}).surplus == 0


def test_what_is_being_replaced_is_too_many_though_it_looks_as_it_should() -> None:
    """Where ports change, the description of the tasks does not."""
    old, new = task("running"), task("running")
    judged = judge(old, new, wanted=1, outdated={old["ID"]})
    assert (judged.done, judged.surplus) == ((new,), 1)


@pytest.mark.parametrize("mode", ["Global", "GlobalJob"])
def test_a_global_service_without_a_node_lacks_one(mode: str) -> None:
    """A swarm makes no task then, and so says nothing."""
    everywhere = {**SPEC, "Mode": {mode: {}}}
    lack = "no node that satisfies its constraints"
    assert judge(spec=everywhere).stuck == lack
    gone = task("shutdown", spec=everywhere, slot=0)
    assert judge(gone, spec=everywhere).stuck == lack
    assert judge(task("new", spec=everywhere), spec=everywhere).stuck == ""
    assert judge(task("running", spec=everywhere), spec=everywhere).stuck == ""
    assert judge().stuck == ""


@pytest.mark.parametrize(
    ("state", "words"),
    [("paused", "is paused"), ("rollback_started", "is rolled back")],
)
def test_an_update_that_swarm_gave_up_is_a_reason(state: str, words: str) -> None:
    """The task that made it give up is quoted."""
    update = {"State": state, "Message": "due to failure of task x"}
    judged = judge(task("failed", CRASH, code=3), update=update)
    assert judged.failure == (
        f"its update {words} (due to failure of task x): ended with exit code 3"
    )
    assert judge(task("running"), update={"State": "updating"}).failure == ""


def test_a_job_that_has_ended_has_done_its_part() -> None:
    """How it ended is for whoever waits for that."""
    tasks = [task("complete", spec=JOB), task("failed", CRASH, code=3, spec=JOB)]
    judged = judge(*tasks, spec=JOB)
    assert (judged.running, judged.failure) == (2, "")


def test_who_waits_for_replicas_does_not_count_what_failed() -> None:
    """That nobody starts it again is the reason why they never will be there."""
    killed = task("failed", CRASH, code=137, spec=JOB)
    judged = judge(killed, spec=JOB, wanted=1, strict=True)
    assert judged.running == 0
    assert judged.failure == "its task ended with exit code 137"
    assert judge(task("complete", spec=JOB), spec=JOB, strict=True).running == 1


def test_only_what_others_replace_is_forgotten() -> None:
    """A job whose task was rejected before anybody waited for it has failed."""
    crash, next_one = task("failed", CRASH), task("running")
    assert forgotten([crash, next_one], SPEC) == {crash["ID"]}
    assert forgotten([crash], SPEC) == {crash["ID"]}, "the next one is about to come"
    crashes = [task("rejected", spec=JOB), task("failed", CRASH, spec=JOB)]
    assert forgotten(crashes, JOB) == set()
    again = task("starting", spec=JOB)
    assert forgotten([again, *crashes], JOB) == {each["ID"] for each in crashes}
    other = task("starting", spec=JOB, slot=2)
    assert forgotten([other, *crashes], JOB) == set()
    # Without slots, the node is what they have in common.
    crash = task("failed", CRASH, spec=JOB, slot=0, node="a")
    again = task("starting", spec=JOB, slot=0, node="a")
    other = task("failed", CRASH, spec=JOB, slot=0, node="b")
    assert forgotten([crash, other, again], JOB) == {crash["ID"]}


def test_of_tasks_that_count_the_first_that_failed_is_found() -> None:
    """Neither those that were replaced nor first tries say how a job went."""
    retried = {
        **JOB,
        "TaskTemplate": {
            **JOB["TaskTemplate"],
            "RestartPolicy": {"Condition": "on-failure"},
        },
    }
    tasks = [
        task("failed", CRASH, code=3, spec=retried),
        task("complete", spec=retried),
    ]
    assert first_failed(judge(*tasks, spec=retried).done) is None
    old = task("failed", CRASH, code=7, spec=JOB, image="web:0")
    new = [task("failed", CRASH, code=code, spec=JOB) for code in (4, 5)]
    assert first_failed(judge(new[1], old, new[0], spec=JOB).done) == new[0]
    assert not are_open([old, *new])
    assert are_open([old, task("running", spec=JOB)])


def test_a_job_that_could_not_be_started_has_failed() -> None:
    """Nobody starts it again."""
    judged = judge(task("rejected", "no luck", spec=JOB), spec=JOB, wanted=1)
    assert judged.failure == "its task was rejected: no luck"


def test_running_tasks_come_by_slot() -> None:
    """The first replica is the same one in every call."""
    tasks = [
        task("running", slot=2),
        task("running", slot=1),
        task("running", slot=3, desired="shutdown"),
        task("failed", slot=1),
    ]
    assert [each["Slot"] for each in running_tasks(tasks)] == [1, 2]


def test_slots_are_those_that_go_on() -> None:
    """A swarm that takes some away need not leave the first ones."""
    tasks = [task("running", slot=3), task("starting", slot=2), task("failed", slot=1)]
    assert slots(tasks) == [2, 3]
    assert slots([task("running", slot=0, node=each) for each in "ab"]) == [1, 2]
    assert slots([]) == []


def test_how_many_are_asked_for_depends_on_the_mode() -> None:
    """Of a global service it is as many as swarm has made."""
    many = [task("running"), task("starting"), task("failed")]
    assert asked_for(SPEC, many) == 2
    assert asked_for({**SPEC, "Mode": {"Global": {}}}, many) == 2
    assert asked_for({**SPEC, "Mode": {"Global": {}}}, []) == 1
    assert asked_for(JOB, []) == 2
    assert (ends(SPEC), ends(JOB)) == (False, True)


# Removing -----------------------------------------------------------------------------

SERVICE = Resource(kind=Kind.SERVICE, id="s1", name="web")


class Swarm:
    """A swarm whose service has these containers at these instants.

    Args:
        clock: The time.
        starting: When the tasks that are still being started have their container.
        stuck: Whether containers cannot be removed.
    """

    def __init__(
        self,
        clock: ManualClock,
        *,
        containers: int = 0,
        starting: tuple[float, ...] = (),
        stuck: bool = False,
    ) -> None:
        self.clock = clock
        self.removed: list[str] = []
        self._containers = [f"c{number}" for number in range(containers)]
        self._starting = list(starting)
        self._stuck = stuck

    def remove(self, resource: Resource) -> None:
        if resource.kind is Kind.CONTAINER:
            if self._stuck:
                raise ConflictError("remove", 409, "removal is already in progress")
            self._containers.remove(resource.id)
        elif resource.name in self.removed:
            raise NotFoundError("remove", 404, "service not found")
        self.removed.append(resource.name)

    def starting_tasks(self, service: str) -> int:
        assert service == SERVICE.id
        return sum(at > self.clock.instant() for at in self._starting)

    def task_containers(self, service: str) -> list[Resource]:
        assert service == SERVICE.id
        for at in [at for at in self._starting if at <= self.clock.instant()]:
            self._starting.remove(at)
            self._containers.append(f"late-{at:g}")
        return [
            Resource(kind=Kind.CONTAINER, id=name, name=name)
            for name in self._containers
        ]


def test_a_service_goes_with_its_containers_at_once() -> None:
    """Swarm would give each of them ten seconds."""
    swarm = Swarm(clock := ManualClock(), containers=3)
    remove_service(swarm, SERVICE, clock=clock)
    assert swarm.removed[0] == "web"
    assert sorted(swarm.removed[1:]) == ["c0", "c1", "c2"]
    assert clock.instant() == swarm.clock.instant() == 0


def test_a_task_that_is_being_started_is_waited_for() -> None:
    """Its container appears a moment later, and nobody else would remove it."""
    swarm = Swarm(clock := ManualClock(), containers=1, starting=(0.3, 0.5))
    remove_service(swarm, SERVICE, clock=clock)
    assert swarm.removed == ["web", "c0", "late-0.3", "late-0.5"]
    assert 0.5 <= clock.instant() < 0.6


def test_containers_of_a_service_that_is_gone_go_all_the_same() -> None:
    """Somebody may have removed it without them."""
    swarm = Swarm(clock := ManualClock(), containers=1)
    swarm.remove(SERVICE)
    remove_service(swarm, SERVICE, clock=clock)
    assert swarm.removed == ["web", "c0"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"starting": (1000.0,)}, "1 of its tasks may still be started"),
        ({"containers": 1, "stuck": True}, "already in progress"),
    ],
)
def test_a_removal_takes_no_longer_than_swarm_itself(
    options: dict[str, Any], words: str
) -> None:
    """What remains is told."""
    swarm = Swarm(clock := ManualClock(), **options)
    with pytest.raises(DockerError, match=words):
        remove_service(swarm, SERVICE, clock=clock)
    assert 10 <= clock.instant() < 11

"""Services of a swarm: how one is described, how it is doing, how it goes.

`service_body` and `service_arguments` describe one, `judge_tasks` says whether what was
asked for runs, may still come, or never will and why; `remove_service` removes one with
its containers.

Source:
    Docker Engine API 1.41 to 1.45; what tasks do was seen with release 26.1.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pysys_orch.clock import Clock
from pysys_orch.docker.engine.command import (
    ContainerSpec,
    csv_line,
    mount_arguments,
    mount_bodies,
    names_user,
)
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.errors import ConflictError, DockerError, NotFoundError

Json = Mapping[str, Any]

#: Of tasks that fail, how many are enough to know that the next one will, too.
MOST_FAILURES = 2

_REMOVAL_PATIENCE = 10.0
_REMOVAL_POLL = 0.02
_FAILED = {"failed", "rejected"}
_OVER = {*_FAILED, "complete", "shutdown", "remove", "orphaned"}
# What a task is told that is to run no more.
_GOING = {"shutdown", "remove"}
_NO_NODE = "no suitable node"
_NO_NODE_AT_ALL = "no node that satisfies its constraints"
# What swarm would try again for ever.
_FINAL = re.compile(
    "no such image|invalid mount|executable file not found|no such file or directory"
    "|permission denied|is a directory|not a directory|cannot be used with services",
    re.IGNORECASE,
)
_STOPPED_UPDATES = {
    "paused": "is paused",
    "rollback_started": "is rolled back",
    "rollback_paused": "is rolled back, and that is paused",
    "rollback_completed": "was rolled back",
}
# Swarm itself changes these, or does not replace a task for them.
_NOT_COMPARED = {"Runtime", "Placement"}


class Engine(Protocol):
    """What a removal asks of an engine."""

    def remove(self, resource: Resource) -> None:
        """Remove one thing, or raise an `EngineAnswerError`."""
        ...

    def starting_tasks(self, service: str) -> int:
        """Return how many tasks of a service may have a container here soon."""
        ...

    def task_containers(self, service: str) -> list[Resource]:
        """Return the containers here that a service has made."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A secret or a config as a service sees it.

    Attributes:
        kind: Which of the two.
        id: The swarm's id of it.
        name: Its name.
        target: Where it is: a path, for a secret relative to ``/run/secrets``.
    """

    kind: Kind
    id: str
    name: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """Everything that is known of a service before it exists.

    Attributes:
        container: What each of its tasks is; ports are published on all addresses of
            the node, since a swarm knows no other way.
        replicas: How many tasks are to run.
        job: Whether each is to run once, to its end.
        files: The secrets and configs that it uses.
    """

    container: ContainerSpec
    replicas: int = 1
    job: bool = False
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How a service is doing.

    Attributes:
        surplus: How many run that should not: of an older description, or too many.
        done: The tasks that do what was asked for: run, or have done their job.
        failure: Why what was asked for will never be; empty as long as it may.
        failed: The last task that failed since the wait began, if one did.
        stuck: What the swarm says it lacks, where that is no matter of moments.
        others: What those do that do not run, in words; empty if there is none.
    """

    surplus: int
    done: Sequence[Json] = ()
    failure: str = ""
    failed: Json | None = None
    stuck: str = ""
    others: str = ""

    @property
    def running(self) -> int:
        """How many tasks do what was asked for."""
        return len(self.done)


def service_body(spec: ServiceSpec) -> dict[str, Any]:
    """Return the Engine API's description of *spec*.

    Source:
        Engine API 1.41, ``POST /services/create``.
    """
    each = spec.container
    container: dict[str, Any] = {
        "Image": each.image,
        "Labels": dict(each.labels),
        "Env": [f"{key}={text}" for key, text in each.environment.items()],
    }
    if each.command:
        container["Args"] = list(each.command)
    if each.user:
        container["User"] = each.user
    if mounts := mount_bodies(each, each.labels):
        container["Mounts"] = mounts
    for kind, word in ((Kind.SECRET, "Secret"), (Kind.CONFIG, "Config")):
        files = [file for file in spec.files if file.kind is kind]
        if files:
            container[f"{word}s"] = [
                {
                    f"{word}ID": file.id,
                    f"{word}Name": file.name,
                    "File": {
                        "Name": file.target,
                        "UID": "0",
                        "GID": "0",
                        "Mode": 0o444,
                    },
                }
                for file in files
            ]
    template: dict[str, Any] = {"ContainerSpec": container}
    mode: dict[str, Any] = {"Replicated": {"Replicas": spec.replicas}}
    if spec.job:
        template["RestartPolicy"] = {"Condition": "none"}
        count = {"MaxConcurrent": spec.replicas, "TotalCompletions": spec.replicas}
        mode = {"ReplicatedJob": count}
    if each.network:
        network = {"Target": each.network, "Aliases": list(each.aliases)}
        template["Networks"] = [network]
    body = {
        "Name": each.name,
        "Labels": dict(each.labels),
        "TaskTemplate": template,
        "Mode": mode,
    }
    if each.ports:
        body["EndpointSpec"] = {"Ports": [_published(port) for port in each.ports]}
    return body


def service_arguments(
    spec: ServiceSpec, extra: Sequence[str], *, credentials: bool = False
) -> list[str]:
    """Return the arguments of the docker client that create *spec*.

    Args:
        spec: What to create.
        extra: Arguments of ``docker service create``; where they contradict *spec*,
            they win.
        credentials: Whether the nodes need the client's, to pull the image.
    """
    each = spec.container
    arguments = ["service", "create", "--detach", "--quiet", "--no-resolve-image"]
    arguments += ["--with-registry-auth"] if credentials else []
    arguments += ["--name", each.name]
    for key, text in each.labels.items():
        label = f"{key}={text}"
        arguments += ["--label", label, "--container-label", label]
    for key, text in each.environment.items():
        arguments += ["--env", f"{key}={text}"]
    arguments += mount_arguments(each, each.labels)
    for port in each.ports:
        number, _, protocol = port.partition("/")
        published = f"mode=host,target={number},protocol={protocol}"
        arguments += ["--publish", published]
    for file in spec.files:
        source = csv_line(f"source={file.name}", f"target={file.target}")
        arguments += [f"--{file.kind}", source]
    if each.user and not names_user(extra):
        arguments += ["--user", each.user]
    if each.network:
        aliases = (f"alias={alias}" for alias in each.aliases)
        arguments += ["--network", csv_line(f"name={each.network}", *aliases)]
    if spec.job:
        arguments += ["--mode", "replicated-job", "--restart-condition", "none"]
    if spec.replicas != 1:
        arguments += ["--replicas", str(spec.replicas)]
    return [*arguments, *extra, each.image, *each.command]


def changed_spec(
    spec: Json,
    *,
    image: str = "",
    environment: Mapping[str, str] | None = None,
    replicas: int | None = None,
) -> dict[str, Any]:
    """Return a service's description with some of it changed.

    Args:
        spec: The description that the engine gives.
        image: Another image.
        environment: Variables that get another value, or are new.
        replicas: Another number of tasks.

    Raises:
        ValueError: A service of this mode has no number of tasks.
    """
    template = dict(spec["TaskTemplate"])
    container = dict(template["ContainerSpec"])
    mode = dict(spec["Mode"])
    if image:
        container["Image"] = image
    if environment:
        # What has no value is to be absent, whatever the image says.
        kept = [
            each
            for each in container.get("Env") or []
            if each.partition("=")[0] not in environment
        ]
        given = [f"{key}={text}" for key, text in environment.items()]
        container["Env"] = [*kept, *given]
    if replicas is not None:
        if "Replicated" not in mode:
            message = f"only a replicated service can be scaled, this is {_mode(spec)}"
            raise ValueError(message)
        mode["Replicated"] = {"Replicas": replicas}
    template["ContainerSpec"] = container
    return {**spec, "TaskTemplate": template, "Mode": mode}


def asked_for(spec: Json, tasks: Iterable[Json]) -> int:
    """Return how many tasks a service is to have.

    Args:
        spec: Its description.
        tasks: Its tasks, which say it where the number is that of nodes.
    """
    mode = spec["Mode"]
    if "Replicated" in mode:
        return int(mode["Replicated"].get("Replicas", 1))
    if "ReplicatedJob" in mode:
        job = mode["ReplicatedJob"] or {}
        return int(job.get("TotalCompletions") or job.get("MaxConcurrent") or 1)
    return max(1, sum(each["DesiredState"] not in _GOING for each in tasks))


def is_job(spec: Json) -> bool:
    """Return whether the tasks of a service run once, to their end."""
    return bool({"ReplicatedJob", "GlobalJob"} & spec["Mode"].keys())


def ends(spec: Json) -> bool:
    """Return whether tasks of a service that have ended well are not started again."""
    return is_job(spec) or _restart_condition(spec) != "any"


def ended(tasks: Iterable[Json]) -> set[str]:
    """Return the ids of the tasks that have ended, for whatever reason."""
    return {str(each["ID"]) for each in tasks if each["Status"]["State"] in _OVER}


def forgotten(tasks: Sequence[Json], spec: Json) -> set[str]:
    """Return the ids of the tasks that have ended and tell nothing of what is to come.

    Those are all that have ended, since others replace them; where not all are, those
    whose slot has a later one that has not failed.
    """
    if not ends(spec):
        return ended(tasks)
    latest: dict[Any, Json] = {}
    for each in sorted(tasks, key=lambda each: str(each["CreatedAt"])):
        latest[_place(each)] = each
    return {
        str(each["ID"])
        for each in tasks
        if each["Status"]["State"] in _OVER
        and latest[_place(each)]["Status"]["State"] not in _FAILED
    }


def are_open(tasks: Iterable[Json]) -> bool:
    """Return whether any of *tasks* goes on."""
    return any(each["Status"]["State"] not in _OVER for each in tasks)


def first_failed(tasks: Iterable[Json]) -> Json | None:
    """Return the first task that ended with another exit code than 0, or None."""
    return min(
        (each for each in tasks if exit_code(each)),
        key=lambda each: str(each["Status"]["Timestamp"]),
        default=None,
    )


def slots(tasks: Iterable[Json]) -> list[int]:
    """Return the slots that are to have a running task.

    Of a global service, which has none, they are counted from 1.
    """
    going_on = [each for each in tasks if each["DesiredState"] not in _GOING]
    return sorted({each.get("Slot") or at for at, each in enumerate(going_on, 1)})


def exit_code(task: Json) -> int | None:
    """Return the exit code of a task's container, or None if it has not ended."""
    if task["Status"]["State"] not in _OVER:
        return None
    return int((task["Status"].get("ContainerStatus") or {}).get("ExitCode", 0))


def container_of(task: Json) -> str:
    """Return the id of a task's container; empty as long as there is none."""
    return str((task["Status"].get("ContainerStatus") or {}).get("ContainerID", ""))


def running_tasks(tasks: Iterable[Json]) -> list[Json]:
    """Return the tasks that run and are to go on, by slot."""
    found = [
        each
        for each in tasks
        if each["Status"]["State"] == "running" and each["DesiredState"] not in _GOING
    ]
    return sorted(found, key=lambda each: (each.get("Slot", 0), each["CreatedAt"]))


def published_port(place: Json, key: str) -> int | None:
    """Return the port outside for one inside, or None if there is none.

    Args:
        place: What publishes: a service's ``Endpoint`` or a task's ``PortStatus``.
        key: The port inside, as ``8000/tcp``.
    """
    for each in place.get("Ports") or []:
        inside = f"{each['TargetPort']}/{each['Protocol']}"
        if inside == key and each.get("PublishedPort"):
            return int(each["PublishedPort"])
    return None


def judge_tasks(
    tasks: Sequence[Json],
    *,
    spec: Json,
    wanted: int,
    known: Collection[str] = (),
    outdated: Collection[str] = (),
    down: Collection[str] = (),
    lost: Collection[str] = (),
    update: Json | None = None,
    strict: bool = False,
) -> Judgement:
    """Say whether as many tasks run as are wanted, and if not, whether they may.

    Args:
        tasks: All tasks of a service, as the engine lists them.
        spec: The description that they are to have been made from.
        wanted: How many are to run.
        known: Ids of those that had ended before the wait began.
        outdated: Ids of those that are being replaced, though they look as they should.
        down: Ids of containers that do not run, whatever the swarm believes.
        lost: Ids of nodes from which nothing is heard: what was running there is not
            known to run, and what is to end there never will.
        update: ``UpdateStatus`` of the service, where an update is waited for.
        strict: Whether one that failed has not done its part, even if nobody starts it
            again.
    """
    current = [
        each for each in tasks if each["ID"] not in outdated and _is_of(each, spec)
    ]
    done = [
        each
        for each in current
        if _does_its_part(each, spec, down, lost)
        and not (strict and each["Status"]["State"] == "failed")
    ]
    failed = sorted(
        (
            each
            for each in current
            if each["Status"]["State"] in {*_FAILED, "complete"}
            and each["ID"] not in known
            and each not in done
        ),
        key=lambda each: str(each["Status"]["Timestamp"]),
    )
    # Those that are to end may do so after the number that is wanted runs.
    surplus = [
        each
        for each in tasks
        if each["Status"]["State"] == "running"
        and each not in done
        and (each["DesiredState"] in _GOING or each not in current)
        and each.get("NodeID") not in lost
    ]
    waiting = [
        each
        for each in current
        if each not in done
        and each["Status"]["State"] not in _OVER
        and each["DesiredState"] not in _GOING
    ]
    stuck = {
        str(each["Status"]["Err"])
        for each in waiting
        if str(each["Status"].get("Err", "")).startswith(_NO_NODE)
    }
    if _is_global(spec) and not (waiting or done or failed):
        stuck.add(_NO_NODE_AT_ALL)  # swarm makes no task then
    over = not waiting and len(done) < wanted and _restart_condition(spec) == "none"
    return Judgement(
        surplus=len(surplus),
        done=tuple(done),
        failure=_failure(failed, over=over, update=update, tasks=tasks),
        failed=failed[-1] if failed else None,
        stuck=min(stuck, default=""),
        others=in_words([*waiting, *failed]),
    )


def in_words(tasks: Iterable[Json]) -> str:
    """Return what tasks do: ``2 starting, 1 pending: no suitable node (…)``."""
    words = Counter[str]()
    for each in tasks:
        said = _one_line(each["Status"].get("Err", ""))
        words[f"{each['Status']['State']}{f': {said}' if said else ''}"] += 1
    return ", ".join(f"{count} {state}" for state, count in words.items())


def remove_service(engine: Engine, service: Resource, *, clock: Clock) -> None:
    """Remove a service, and at once what is left of it on this node.

    Swarm alone takes as long as the tasks care to take for their end. A task that is
    being started has no container yet: it is waited for. Tasks on other nodes are not.

    Args:
        engine: An engine of the swarm.
        service: The service; it may be gone already.
        clock: What to wait on.

    Raises:
        DockerError: The engine refused, or something of it still runs.
    """
    with contextlib.suppress(NotFoundError):  # its containers may be there all the same
        engine.remove(service)
    deadline = clock.instant() + _REMOVAL_PATIENCE
    never = threading.Event()
    while True:
        # In this order: what starts now has a container in the next list.
        starting = engine.starting_tasks(service.id)
        refusals = _remove_all(engine, engine.task_containers(service.id))
        if not starting and not refusals:
            return
        if clock.instant() >= deadline:
            break
        clock.wait_until(clock.instant() + _REMOVAL_POLL, never)
    if refusals:
        raise refusals[0]
    message = f"{service} was removed, but {starting} of its tasks may still be started"
    raise DockerError(message)


def _remove_all(engine: Engine, containers: Sequence[Resource]) -> list[DockerError]:
    """Remove containers at once; return why some are still there."""

    def attempt(container: Resource) -> DockerError | None:
        try:
            engine.remove(container)
        except NotFoundError:
            return None
        except ConflictError as conflict:  # swarm is removing it, too
            return conflict
        return None

    if len(containers) < 2:
        answers = [attempt(each) for each in containers]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(8, len(containers)), "orch-tasks") as pool:
            answers = list(pool.map(attempt, containers))
    return [each for each in answers if each is not None]


def _failure(
    failed: Sequence[Json],
    *,
    over: bool,
    update: Json | None,
    tasks: Sequence[Json],
) -> str:
    """Return why a service will not do what was asked for, or nothing."""
    state = str((update or {}).get("State", ""))
    if state in _STOPPED_UPDATES:
        said = _one_line((update or {}).get("Message", ""))
        told = f"its update {_STOPPED_UPDATES[state]} ({said})"
        # Once it is rolled back, what has failed is no task of what is wanted now.
        named = [
            each
            for each in tasks
            if each["ID"] in said and each["Status"]["State"] in _FAILED
        ]
        culprits = [*named, *failed]
        return f"{told}: {_ending(culprits[-1])}" if culprits else told
    if not failed:
        return ""
    last = failed[-1]
    if over or _FINAL.search(str(last["Status"].get("Err", ""))):
        return f"its task {_ending(last)}"
    if len(failed) >= MOST_FAILURES:
        return f"{len(failed)} of its tasks failed, the last one {_ending(last)}"
    return ""


def _ending(task: Json) -> str:
    """Return in words how a task failed."""
    status = task["Status"]
    said = _one_line(status.get("Err", "")).removeprefix("task: ") or "no reason given"
    code = exit_code(task)
    if status["State"] == "complete" or said.startswith("non-zero exit"):
        return f"ended with exit code {code}"
    return f"{'was rejected' if status['State'] == 'rejected' else 'failed'}: {said}"


def _does_its_part(
    task: Json, spec: Json, down: Collection[str], lost: Collection[str]
) -> bool:
    """Return whether a task runs, or has run to the end that it was to have."""
    state = task["Status"]["State"]
    if state == "running":
        is_heard_of = container_of(task) not in down and task.get("NodeID") not in lost
        return task["DesiredState"] not in _GOING and is_heard_of
    if state == "complete":
        return ends(spec)
    return (
        state == "failed"
        and _restart_condition(spec) == "none"
        and bool(container_of(task))
        and not _FINAL.search(str(task["Status"].get("Err", "")))
    )


def _is_of(task: Json, spec: Json) -> bool:
    """Return whether a task was made from a service's present description."""
    made, wanted = task["Spec"], spec["TaskTemplate"]
    keys = (made.keys() | wanted.keys()) - _NOT_COMPARED
    return all(made.get(key) == wanted.get(key) for key in keys)


def _is_global(spec: Json) -> bool:
    return bool({"Global", "GlobalJob"} & spec["Mode"].keys())


def _place(task: Json) -> object:
    """Return what a task has in common with the one that replaces it."""
    return task.get("Slot") or task.get("NodeID")


def _restart_condition(spec: Json) -> str:
    policy = spec["TaskTemplate"].get("RestartPolicy") or {}
    return str(policy.get("Condition") or "any")


def _mode(spec: Json) -> str:
    return next(iter(spec["Mode"]), "none")


def _published(port: str) -> dict[str, Any]:
    number, _, protocol = port.partition("/")
    return {"Protocol": protocol, "TargetPort": int(number), "PublishMode": "host"}


def _one_line(words: object) -> str:
    return " ".join(str(words).split())

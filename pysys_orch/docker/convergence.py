"""A service on its way: to as many tasks as are wanted, or to the end of them all."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pysys_orch.clock import Clock
from pysys_orch.docker.engine import ready, swarm
from pysys_orch.errors import (
    ConfigError,
    ContainerGoneError,
    DockerError,
    NotFoundError,
)

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine

_LOOK_EVERY = 0.5
_STUCK_PATIENCE = 3.0  # what the swarm lacks may have been in use until a moment ago


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a service was before it is changed; nothing where there was none.

    Attributes:
        endpoint: What it published, and how, as the Engine API says it.
        tasks: The ids of its tasks.
        ended: The ids of those of them that had ended.
    """

    endpoint: Mapping[str, Any] | None = None
    tasks: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()


class Observed:
    """A service as an engine tells about it.

    Args:
        engine: A manager of its swarm.
        service: The swarm's id of it.
        name: What to call it.

    Attributes:
        engine: A manager of its swarm.
        name: What to call it.
    """

    def __init__(self, engine: ApiEngine, service: str, name: str) -> None:
        self.engine = engine
        self.name = name
        self._service = service

    def inspect(self) -> dict[str, Any]:
        """Return all that the swarm knows about it.

        Raises:
            ContainerGoneError: It was removed.
        """
        try:
            return self.engine.inspect_service(self._service)
        except NotFoundError:
            raise self._gone() from None

    def tasks(self) -> list[dict[str, Any]]:
        """Return its tasks, of those that have ended the latest.

        Raises:
            ContainerGoneError: It was removed.
        """
        try:
            return self.engine.list_tasks(self._service)
        except NotFoundError:
            raise self._gone() from None

    def before(self) -> Before:
        """Return what it is, before it is changed.

        Raises:
            ContainerGoneError: It was removed.
        """
        tasks = self.tasks()
        return Before(
            endpoint=self.inspect()["Spec"].get("EndpointSpec"),
            tasks=frozenset(str(each["ID"]) for each in tasks),
            ended=frozenset(swarm.ended(tasks)),
        )

    def down(self, tasks: Sequence[Mapping[str, Any]]) -> set[str]:
        """Return the containers on this node that have ended, unknown to the swarm."""
        found = set()
        for container in map(swarm.container_of, swarm.running_tasks(tasks)):
            with contextlib.suppress(NotFoundError):  # it is on another node
                if not self.engine.inspect_container(container)["State"]["Running"]:
                    found.add(container)
        return found

    def lost(self) -> set[str]:
        """Return the ids of the nodes from which nothing is heard."""
        return self.engine.unready_nodes()

    def last_words(self, task: Mapping[str, Any] | None) -> str:
        """Return what the container of a task logged last, as the end of a sentence."""
        from pysys_orch.docker.engine.elsewhere import last_lines_of_task
        from pysys_orch.docker.engine.logs import last_lines

        container = "" if task is None else swarm.container_of(task)
        if task is None or not container:
            return ""
        try:
            try:
                found = self.engine.inspect_container(container)
                lines = last_lines(self.engine, found)
            except NotFoundError:  # it is on another node
                lines = last_lines_of_task(self.engine, task)
        except DockerError:  # it is gone already, or its node is down
            return ""
        return ready.quoted(lines)

    def _gone(self) -> ContainerGoneError:
        return ContainerGoneError(f"service {self.name} was removed")


class Outlook:
    """Whether what is waited for may still come.

    Attributes:
        judged: How the service was doing at the last look.
    """

    def __init__(self, clock: Clock) -> None:
        self.judged = swarm.Judgement(surplus=0)
        self._clock = clock
        self._since = clock.instant()

    def see(self, judged: swarm.Judgement, *, moving: bool) -> None:
        """Hear how the service is doing.

        Args:
            judged: That.
            moving: Whether what the swarm lacks may be in use by the service itself,
                by what is about to end.
        """
        if moving or judged.stuck != self.judged.stuck:
            self._since = self._clock.instant()
        self.judged = judged

    def failure(self) -> str:
        """Return why it never will; empty as long as it may."""
        stuck, silence = self.judged.stuck, self._clock.instant() - self._since
        if not self.judged.failure and stuck and silence >= _STUCK_PATIENCE:
            return f"the swarm has {stuck}"
        return self.judged.failure

    def require(self, service: Observed, words: str) -> None:
        """Raise if what is waited for will never come.

        Args:
            service: Whose failed task is quoted.
            words: What to say of it, before the reason.

        Raises:
            ContainerGoneError: It says why.
        """
        if failure := self.failure():
            last = service.last_words(self.judged.failed)
            message = f"service {words}: {failure}{last}"
            raise ContainerGoneError(message)


class Convergence:
    """A service on its way to as many tasks as are wanted, of its present description.

    Args:
        service: The service.
        clock: What tells the time.
        wanted: How many; None for what the service is to have.
        before: What the service was before what is waited for; by default what it is
            now, unchanged.
        updating: Whether an update is waited for.
        strict: Whether tasks that failed do not count as running, even where nobody
            starts them again.

    Raises:
        DockerError: The service is not there, or the engine does not answer.
    """

    def __init__(
        self,
        service: Observed,
        *,
        clock: Clock,
        wanted: int | None = None,
        before: Before | None = None,
        updating: bool = False,
        strict: bool = False,
    ) -> None:
        self._service = service
        self._wanted = wanted
        self._updating = updating
        self._strict = strict
        self._spec = service.inspect()["Spec"]
        self._known: Collection[str]
        self._outdated: Collection[str] = ()
        if before is None:
            self._known = swarm.forgotten(service.tasks(), self._spec)
        else:
            self._known = before.ended
            # Swarm replaces tasks for another endpoint, which is not in their own
            # description.
            if before.endpoint != self._spec.get("EndpointSpec"):
                self._outdated = before.tasks
        self._number = wanted or 0
        self._outlook = Outlook(clock)

    def look(self) -> bool:
        """Look at the tasks; return whether those that are wanted run, and no others.

        Raises:
            DockerError: The service is not there, or the engine does not answer.
        """
        # In this order: the task for which an update is rolled back is seen to have
        # failed.
        update = None
        if self._updating:
            update = self._service.inspect().get("UpdateStatus")
        tasks = self._service.tasks()
        if self._wanted is None:
            self._number = swarm.asked_for(self._spec, tasks)
        judge = functools.partial(
            swarm.judge_tasks,
            tasks,
            spec=self._spec,
            wanted=self._number,
            known=self._known,
            outdated=self._outdated,
            down=self._service.down(tasks),
            update=update,
            strict=self._strict,
        )
        judged = judge()
        # That is asked for only where it makes a difference.
        if judged.surplus or judged.running >= self._number:
            judged = judge(lost=self._service.lost())
        self._outlook.see(judged, moving=judged.surplus > 0)
        return judged.running == self._number and not judged.surplus

    def require(self) -> None:
        """Raise if, by the last look, they never will.

        Raises:
            ContainerGoneError: It says why.
        """
        self._outlook.require(self._service, f"{self._service.name} does not come up")

    def __str__(self) -> str:
        """Say how many run, and what the others do."""
        judged = self._outlook.judged
        others = f", {judged.others}" if judged.others else ""
        more = f", {judged.surplus} more that should not" if judged.surplus else ""
        return f"{judged.running} of {self._number} run{others}{more}"


class Ending:
    """A service on its way to the end of all its tasks.

    Args:
        service: The service.
        clock: What tells the time.

    Attributes:
        failed: The first task that failed, of those that count; None if none did.

    Raises:
        ConfigError: It has no end.
        DockerError: The service is not there, or the engine does not answer.
    """

    def __init__(self, service: Observed, *, clock: Clock) -> None:
        self.failed: Mapping[str, Any] | None = None
        self._service = service
        self._spec = service.inspect()["Spec"]
        if not swarm.ends(self._spec):
            message = (
                f"service {service.name} does not end, its tasks are started "
                "again: run it in the foreground, or with the arguments --mode "
                "replicated-job"
            )
            raise ConfigError(message)
        self._tasks = service.tasks()
        self._known = swarm.forgotten(self._tasks, self._spec)
        self._outlook = Outlook(clock)

    def look(self) -> bool:
        """Look at the tasks; return whether as many as are wanted have ended.

        Raises:
            DockerError: The service is not there, or the engine does not answer.
        """
        self._tasks = self._service.tasks()
        wanted = swarm.asked_for(self._spec, self._tasks)
        judged = swarm.judge_tasks(
            self._tasks, spec=self._spec, wanted=wanted, known=self._known
        )
        # What runs makes room when it ends.
        moving = any(each["Status"]["State"] == "running" for each in self._tasks)
        self._outlook.see(judged, moving=moving)
        self.failed = swarm.first_failed(judged.done)
        return judged.running >= wanted and not swarm.are_open(self._tasks)

    def require(self) -> None:
        """Raise if, by the last look, they never will.

        Raises:
            ContainerGoneError: It says why.
        """
        self._outlook.require(self._service, self._service.name)

    def __str__(self) -> str:
        """Say what its tasks do."""
        return f"its tasks: {swarm.in_words(self._tasks) or 'none'}"


def wary(service: Observed, clock: Clock) -> Callable[[], None]:
    """Return what raises, while somebody waits for a service, once that is in vain.

    It looks twice a second, however often it is called.

    Args:
        service: The service.
        clock: What tells the time.

    Returns:
        Raises a `ContainerGoneError` if its tasks fail again and again, or have all
        ended.

    Raises:
        DockerError: The service is not there, or the engine does not answer.
    """
    known = swarm.ended(service.tasks())
    looked = clock.instant()

    def require() -> None:
        nonlocal looked
        if clock.instant() - looked < _LOOK_EVERY:
            return
        tasks = service.tasks()
        spec = service.inspect()["Spec"]
        wanted = swarm.asked_for(spec, tasks)
        judged = swarm.judge_tasks(tasks, spec=spec, wanted=wanted, known=known)
        looked = clock.instant()
        failure, failed = judged.failure, judged.failed
        if not failure and swarm.ends(spec) and tasks and not swarm.are_open(tasks):
            failure = "all its tasks have ended"
            failed = swarm.first_failed(tasks) or tasks[-1]
        if failure:
            last = service.last_words(failed)
            message = f"service {service.name}: {failure}{last}"
            raise ContainerGoneError(message)

    return require

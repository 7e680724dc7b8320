"""What owners left behind: decide what of it is garbage, then remove that.

`plan_collection` decides and says why; `sweep` acts, and goes on after failures.
Nothing that carries neither our labels nor our names is ever touched.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from pysys_orch.clock import Clock
from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.ownership import (
    CACHE_LABEL,
    Domain,
    Owner,
    Verdict,
    environment_of,
    is_cache_tag,
    is_kept,
    is_lease,
    judge,
    lease_of,
    owner_of,
    start_of_process,
    this_domain,
)
from pysys_orch.docker.engine.swarm import remove_service
from pysys_orch.errors import (
    ConflictError,
    DockerError,
    EngineAnswerError,
    EngineUnreachableError,
    NotFoundError,
    SwarmInactiveError,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

#: How many removals are under way at once; more do not make an engine faster.
PARALLEL_REMOVALS = 8

_IN_SWARM = {Kind.SERVICE, Kind.SECRET, Kind.CONFIG}
_ORDER = {kind: number for number, kind in enumerate(Kind)}


class Engine(Protocol):
    """What a collection asks of an engine."""

    def listing(self, *, dated: bool = True) -> list[Found]:
        """Return everything that can have an owner.

        Args:
            dated: Whether images tell when they were last used.
        """
        ...

    def now(self) -> datetime:
        """Return the present by the engine's clock."""
        ...

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
class Doomed:
    """Something that is to be removed.

    Attributes:
        resource: What.
        reason: Why, in words.
    """

    resource: Resource
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a collection goes by.

    Attributes:
        domain: Where we are.
        start_of: Tells when the process with this id was started, in ticks.
        lease: How long an owner elsewhere may be silent if it did not say itself.
        retention: How long an image is kept after its last use.
        take_kept: Whether to remove also what was kept for debugging.
        known: Owners that are judged already: those that end this moment.
    """

    domain: Domain
    start_of: Callable[[int], int | None]
    lease: timedelta
    retention: timedelta
    take_kept: bool = False
    known: Collection[Owner] = ()

    @classmethod
    def here(
        cls,
        *,
        lease: float,
        retention_days: float,
        take_kept: bool = False,
        known: Collection[Owner] = (),
    ) -> Policy:
        """Return the policy of a collection by this process.

        Args:
            lease: In seconds.
            retention_days: In days.
            take_kept: As above.
            known: As above.
        """
        return cls(
            domain=this_domain(),
            start_of=start_of_process,
            lease=timedelta(seconds=lease),
            retention=timedelta(days=retention_days),
            take_kept=take_kept,
            known=known,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a sweep did.

    Attributes:
        removed: What is gone now, whoever removed it; in the order of removal.
        failures: What is still there, and why.
    """

    removed: tuple[Doomed, ...] = ()
    failures: tuple[DockerError, ...] = ()

    def __add__(self, other: Report) -> Report:
        return Report(
            removed=self.removed + other.removed,
            failures=self.failures + other.failures,
        )


def look(engine: Engine, *, dated: bool = True) -> tuple[list[Found], datetime]:
    """Return everything on an engine that can have an owner, and when that was.

    The clock is read first: who renews a lease while an engine that is busy makes its
    list is not taken for silent.

    Args:
        engine: The engine.
        dated: Whether images tell when they were last used.
    """
    now = engine.now()
    return engine.listing(dated=dated), now


def plan_collection(
    listing: Iterable[Found], *, now: datetime, policy: Policy
) -> list[Doomed]:
    """Choose what a collection removes, in the order in which to remove it.

    Garbage is what a dead owner made, except for what it wanted kept for debugging; and
    a cached image, or an untagged remnant of a build, that nobody used for as long as
    the policy says.

    Args:
        listing: Everything that the engine lists.
        now: The present, by the engine's clock.
        policy: What to go by.

    Returns:
        By kind in the order of `Kind`, then by name; the leases of an owner last, so
        that a collection that is cut short can be taken up by another.
    """
    listing = list(listing)
    owned = [(found, owner) for found in listing if (owner := owner_of(found))]
    verdicts = _verdicts(owned, now=now, policy=policy)
    doomed: list[tuple[bool, Doomed]] = []
    keepers = {owner for found, owner in owned if is_kept(found)}
    kept_environments = {
        environment_of(found) for found, _ in owned if is_kept(found)
    } - {None}
    for found, owner in owned:
        verdict = verdicts[owner]
        kept = (
            is_kept(found)
            or environment_of(found) in kept_environments
            # A kept container needs its image, a kept service its swarm.
            or (found.resource.kind in {Kind.IMAGE, Kind.SWARM} and owner in keepers)
        )
        if verdict.alive or (kept and not policy.take_kept):
            continue
        each = Doomed(resource=found.resource, reason=verdict.reason)
        doomed.append((is_lease(found), each))
    for found in listing:
        if _is_cache(found) and now - found.created > policy.retention:
            days = (now - found.created) / timedelta(days=1)
            reason = f"unused for {days:.1f} days"
            doomed.append((False, Doomed(resource=found.resource, reason=reason)))
    doomed = _sparing_swarms(doomed, owned, listing, verdicts)
    doomed.sort(key=lambda each: (each[0], *_place(each[1].resource)))
    return [each for _, each in doomed]


def _sparing_swarms(
    doomed: list[tuple[bool, Doomed]],
    owned: Sequence[tuple[Found, Owner]],
    listing: Sequence[Found],
    verdicts: Mapping[Owner, Verdict],
) -> list[tuple[bool, Doomed]]:
    """Leave out a swarm that somebody else may be using, whoever has begun it."""
    gone = {each.resource for _, each in doomed}
    others = any(verdict.alive for verdict in verdicts.values()) or any(
        found.resource.kind in _IN_SWARM and found.resource not in gone
        for found in listing
    )
    return [
        (last, each)
        for last, each in doomed
        if not (others and each.resource.kind is Kind.SWARM)
    ]


def sweep(
    engine: Engine,
    plan: Sequence[Doomed],
    *,
    clock: Clock,
    patience: float = 5.0,
    parallel: int = PARALLEL_REMOVALS,
) -> Report:
    """Remove everything in *plan*, kind after kind, going on after failures.

    What is gone already counts as removed, and so does, in the end, what somebody else
    is removing. What is still in use is tried again, since an engine lets go of a thing
    only some time after its last user went. A service counts as removed once nothing of
    it runs here any more. An engine that does not answer any more is not asked once for
    each thing.

    Args:
        engine: Where.
        plan: What, in the order of removal.
        clock: What to wait on.
        patience: Seconds for which to try again, for each kind of thing.
        parallel: How many removals may be under way at once.
    """
    report = Report()
    if not plan:
        return report
    # Imported late: most collections find nothing to remove.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(parallel, "orch-sweep") as pool:
        for stage in _stages(plan):
            if lost := _unreachable(report.failures):
                report += Report(failures=(lost,) * len(stage))
            else:
                report += _sweep_stage(engine, stage, pool, clock, patience)
    return report


def _sweep_stage(
    engine: Engine,
    stage: Sequence[Doomed],
    pool: Executor,
    clock: Clock,
    patience: float,
) -> Report:
    # Anew for each kind: a hundred containers alone may take longer than that.
    deadline = clock.instant() + patience
    removed: list[Doomed] = []
    waiting = list(stage)
    never = threading.Event()
    while True:
        answers = _remove_all(engine, waiting, pool, clock)
        outcomes = list(zip(waiting, answers, strict=True))
        removed += [each for each, answer in outcomes if answer is None]
        refused = [(each, answer) for each, answer in outcomes if answer is not None]
        if not refused or clock.instant() >= deadline:
            break
        waiting = [each for each, _ in refused]
        clock.wait_until(clock.instant() + 0.1, never)
    removed += [each for each, answer in refused if _is_under_way(answer)]
    failures = [answer for _, answer in refused if not _is_under_way(answer)]
    return Report(removed=tuple(removed), failures=tuple(failures))


def _remove_all(
    engine: Engine, stage: Sequence[Doomed], pool: Executor, clock: Clock
) -> list[DockerError | None]:
    """Remove things at once; return why each is still there, or None if it is gone."""
    answers: list[DockerError | None] = []

    def attempt(each: Doomed) -> DockerError | None:
        # A mute engine takes a minute to find out about, each time.
        answer = _unreachable(answers) or _remove(engine, each, clock)
        answers.append(answer)
        return answer

    return list(pool.map(attempt, stage))


def _unreachable(
    answers: Iterable[DockerError | None],
) -> EngineUnreachableError | None:
    found = (each for each in answers if isinstance(each, EngineUnreachableError))
    return next(found, None)


def _remove(engine: Engine, each: Doomed, clock: Clock) -> DockerError | None:
    """Remove one thing; return why it is still there, or None if it is gone."""
    try:
        if each.resource.kind is Kind.SERVICE:
            remove_service(engine, each.resource, clock=clock)
        else:
            engine.remove(each.resource)
    except (NotFoundError, SwarmInactiveError):  # with a swarm goes what is in it
        return None
    except EngineAnswerError as refusal:
        return None if _says_gone(refusal, each.resource) else refusal
    except DockerError as failure:
        return failure
    return None


def _is_under_way(answer: DockerError) -> bool:
    """Return whether an engine is about to remove it, as another collector asked.

    It is worth waiting for, since what it uses goes only after it; but it is nothing to
    complain of, since an engine finishes what it has begun.
    """
    return isinstance(answer, ConflictError) and (
        "already in progress" in answer.explanation
    )


def _says_gone(refusal: EngineAnswerError, resource: Resource) -> bool:
    """Return whether a refusal other than HTTP 404 means that it is not there.

    An engine says so with HTTP 500 of a network of its swarm. But that some file is
    missing tells nothing about the resource.
    """
    words = refusal.explanation.lower()
    gone = f"{resource.kind} {resource.id} not found".lower()
    return f"no such {resource.kind}" in words or gone in words


def _stages(plan: Sequence[Doomed]) -> Iterable[list[Doomed]]:
    """Split a plan where something must be gone before the next thing can go."""
    stage: list[Doomed] = []
    for each in plan:
        if stage and each.resource.kind is not stage[-1].resource.kind:
            yield stage
            stage = []
        stage.append(each)
    yield stage


def _verdicts(
    owned: Sequence[tuple[Found, Owner]], *, now: datetime, policy: Policy
) -> dict[Owner, Verdict]:
    seen: dict[Owner, datetime] = {}
    leases: dict[Owner, timedelta] = {}
    for found, owner in owned:
        seen[owner] = max(found.created, seen.get(owner, found.created))
        told = lease_of(found, policy.lease)
        leases[owner] = max(told, leases.get(owner, told))
    verdicts = {}
    for owner, last in seen.items():
        if owner in policy.known:
            verdicts[owner] = Verdict(alive=False, reason="its run ends")
            continue
        verdicts[owner] = judge(
            owner,
            domain=policy.domain,
            start_of=policy.start_of,
            seen=last,
            lease=leases[owner],
            now=now,
        )
    return verdicts


def _is_cache(found: Found) -> bool:
    if found.resource.kind is not Kind.IMAGE or owner_of(found) is not None:
        return False
    untagged = found.resource.name.startswith("sha256:")
    return is_cache_tag(found.resource.name) or (
        untagged and CACHE_LABEL in found.labels
    )


def _place(resource: Resource) -> tuple[int, str]:
    return _ORDER[resource.kind], resource.name

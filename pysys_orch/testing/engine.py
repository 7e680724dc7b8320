"""A Docker Engine that is a dictionary."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pysys_orch.clock import Clock
from pysys_orch.docker.engine.model import Found, Kind, Resource
from pysys_orch.docker.engine.ownership import CACHE_LABEL, SERVICE_ID_LABEL
from pysys_orch.errors import (
    ConfigError,
    ConflictError,
    DockerError,
    EngineAnswerError,
    NotFoundError,
)
from pysys_orch.testing.clock import ManualClock

# An engine's own words for what is not there.
_MISSING = {
    Kind.CONTAINER: "No such container: {}",
    Kind.IMAGE: "No such image: {}",
}
_SHORT_ID = 12


@dataclass(eq=False, slots=True, kw_only=True)
class _Thing:
    """What is held: of an image, names are its tags; of all else there is one."""

    kind: Kind
    id: str
    names: list[str]
    created: datetime
    labels: dict[str, str]
    running: bool
    uses: list[_Thing]

    def answers_to(self, kind: Kind, name: str) -> bool:
        return self.kind is kind and name in {self.id, *self.names}

    def resources(self) -> list[Resource]:
        """Return what an engine calls it: an image goes by each of its tags."""
        if self.kind is Kind.IMAGE:
            tags = self.names or [self.id]
            return [Resource(kind=self.kind, id=tag, name=tag) for tag in tags]
        return [Resource(kind=self.kind, id=self.id, name=self.names[0])]


class MemoryEngine:
    """A Docker Engine in memory, for what collects leftovers.

    It has what `pysys_orch.docker.engine.collect.Engine` asks for: `listing`, `now`,
    `remove`, and what is left of a service. It refuses, in the words and with the
    status of a real engine, to remove what is in use: a network with a running
    container, a volume that any container mounts, the last tag of an image that any
    container is made of, a secret, config or network of a service. Like a real one it
    kills a container that is to be removed, keeps quiet about a volume that is not
    there, and otherwise raises `NotFoundError`. The containers of a service, which
    carry its id in the label ``com.docker.swarm.service.id``, run on when it is gone.

    Threads may share it. It is not an engine to run anything on.

    Args:
        clock: What tells when things are made, and the present; stands still by
            default.

    Source:
        Answers of engines 20.10.24 and 26.1.5, by Engine API 1.41 to 1.45; those about
        services of 26.1.5 alone.

    Example:
        >>> from pysys_orch.docker.engine.model import Kind
        >>> engine = MemoryEngine()
        >>> network = engine.add(Kind.NETWORK, "net")
        >>> container = engine.add(Kind.CONTAINER, "db", uses=[network])
        >>> engine.remove(container)
        >>> [str(each.resource) for each in engine.listing()]
        ['network net']
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or ManualClock()
        self._lock = threading.RLock()
        self._things: list[_Thing] = []
        self._refusals: dict[Resource, list[DockerError]] = {}
        self._removed: list[Resource] = []
        self._made = 0

    @property
    def removed(self) -> tuple[Resource, ...]:
        """What was removed, in that order."""
        with self._lock:
            return tuple(self._removed)

    def add(
        self,
        kind: Kind,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        created: datetime | None = None,
        uses: Iterable[Resource] = (),
        running: bool = True,
    ) -> Resource:
        """Make something, and return what to call it when speaking to the engine.

        Args:
            kind: What it is.
            name: Its name; of an image one tag, as ``repository:tag``, or a digest that
                begins with ``sha256:`` if it is to have no tag.
            labels: Its labels.
            created: When it was made; now by default.
            uses: What a container or service uses: networks, volumes, an image,
                secrets, configs.
            running: Whether a container runs.

        Raises:
            ConflictError: There is one of this kind and name.
            NotFoundError: Something that it uses is not there.
        """
        with self._lock:
            request = f"create {kind} {name}"
            if any(thing.answers_to(kind, name) for thing in self._things):
                raise ConflictError(request, 409, f"{kind} {name} already exists")
            used = [self._find(request, each) for each in uses]
            self._made += 1
            identity = _identity(kind, name, self._made)
            thing = _Thing(
                kind=kind,
                id=identity,
                names=[] if name.startswith("sha256:") else [name],
                created=created or self._clock.stamp(),
                labels=dict(labels or {}),
                running=running,
                uses=used,
            )
            self._things.append(thing)
            return thing.resources()[0]

    def tag(self, image: Resource, name: str) -> Resource:
        """Give an image one more name, and return that.

        Another image that has the name loses it. The image counts as used just now.

        Raises:
            ConfigError: It is no image.
            NotFoundError: It is not there.
        """
        if image.kind is not Kind.IMAGE:
            message = f"only an image has tags, got {image}"
            raise ConfigError(message)
        with self._lock:
            tagged = self._find(f"tag {image} as {name}", image)
            for thing in self._things:
                if thing.kind is Kind.IMAGE and name in thing.names:
                    thing.names.remove(name)
            tagged.names.append(name)
            tagged.created = self._clock.stamp()
        return Resource(kind=Kind.IMAGE, id=name, name=name)

    def digest(self, image: Resource) -> str:
        """Return the digest of an image, by which it goes when it has no tag.

        Raises:
            NotFoundError: It is not there.
        """
        with self._lock:
            return self._find(f"inspect {image}", image).id

    def refuse(self, resource: Resource, *answers: DockerError) -> None:
        """Have the next removals of *resource* fail, each with one of *answers*.

        Args:
            resource: What is not removed.
            answers: What is raised instead, in this order; after them all is normal.
        """
        with self._lock:
            self._refusals.setdefault(resource, []).extend(answers)

    def now(self) -> datetime:
        """Return the present by this engine's clock, in UTC."""
        return self._clock.stamp()

    def listing(self, *, dated: bool = True) -> list[Found]:
        """Return everything that is there, an image once for each of its tags.

        Of images without a tag only those that carry the label of our builds.
        """
        with self._lock:
            return [
                Found(resource=resource, created=thing.created, labels=thing.labels)
                for thing in self._things
                if thing.names or CACHE_LABEL in thing.labels
                for resource in thing.resources()
            ]

    def remove(self, resource: Resource) -> None:
        """Remove one thing: kill what runs, untag what has other tags.

        Raises:
            NotFoundError: It is not there, and no volume.
            ConflictError: Something still uses it.
            EngineAnswerError: The same, of a network, a secret or a config.
        """
        with self._lock:
            scripted = self._refusals.get(resource)
            if scripted:
                raise scripted.pop(0)
            request = f"remove {resource}"
            try:
                thing = self._find(request, resource)
            except NotFoundError:
                if resource.kind is Kind.VOLUME:  # since the engine is told to force it
                    return
                raise
            if resource.id in thing.names and len(thing.names) > 1:
                thing.names.remove(resource.id)
            else:
                self._require_unused(request, thing, resource.id)
                self._things.remove(thing)
            self._removed.append(resource)

    def starting_tasks(self, service: str) -> int:
        """Return how many tasks of a service may have a container soon: none."""
        return 0

    def task_containers(self, service: str) -> list[Resource]:
        """Return the containers that carry the label of a service."""
        with self._lock:
            return [
                thing.resources()[0]
                for thing in self._things
                if thing.kind is Kind.CONTAINER
                and thing.labels.get(SERVICE_ID_LABEL) == service
            ]

    def _find(self, request: str, resource: Resource) -> _Thing:
        for thing in self._things:
            if thing.answers_to(resource.kind, resource.id):
                return thing
        words = _MISSING.get(resource.kind, f"{resource.kind} {{}} not found")
        raise NotFoundError(request, 404, words.format(resource.id))

    def _require_unused(self, request: str, thing: _Thing, said: str) -> None:
        """Raise as an engine does if *thing*, called *said*, cannot be removed."""
        users = [each for each in self._things if thing in each.uses]
        containers = [each for each in users if each.kind is Kind.CONTAINER]
        services = [each for each in users if each.kind is Kind.SERVICE]
        match thing.kind:
            case Kind.VOLUME if containers:
                ids = ", ".join(each.id for each in containers)
                words = f"remove {said}: volume is in use - [{ids}]"
                raise ConflictError(request, 409, words)
            case Kind.NETWORK if services:
                words = f"network {thing.id} is in use by service {services[0].id}"
                words = f"rpc error: code = FailedPrecondition desc = {words}"
                raise EngineAnswerError(request, 400, words)
            case Kind.NETWORK if any(each.running for each in containers):
                words = f"network {thing.names[0]} id {thing.id} has active endpoints"
                words = f"error while removing network: {words}"
                raise EngineAnswerError(request, 403, words)
            case Kind.SECRET | Kind.CONFIG if services:
                names = ", ".join(each.names[0] for each in services)
                words = f"is in use by the following service: {names}"
                words = f"{thing.kind} '{thing.names[0]}' {words}"
                words = f"rpc error: code = InvalidArgument desc = {words}"
                raise EngineAnswerError(request, 400, words)
            case Kind.IMAGE:
                words = _why_image_stays(thing, containers, said)
                if words:
                    raise ConflictError(request, 409, f"conflict: unable to {words}")


def _why_image_stays(image: _Thing, containers: list[_Thing], said: str) -> str:
    short = _short(image)
    if containers and said in image.names:
        return (
            f'remove repository reference "{said}" (must force) - container '
            f"{_short(containers[0])} is using its referenced image {short}"
        )
    for each in containers:
        if each.running:
            return (
                f"delete {short} (cannot be forced) - "
                f"image is being used by running container {_short(each)}"
            )
    if containers:
        return (
            f"delete {short} (must be forced) - "
            f"image is being used by stopped container {_short(containers[0])}"
        )
    if len({tag.rpartition(":")[0] for tag in image.names}) > 1:
        return (
            f"delete {short} (must be forced) - "
            "image is referenced in multiple repositories"
        )
    return ""


def _short(thing: _Thing) -> str:
    return thing.id.removeprefix("sha256:")[:_SHORT_ID]


def _identity(kind: Kind, name: str, number: int) -> str:
    if kind is Kind.VOLUME or name.startswith("sha256:"):
        return name
    digest = hashlib.sha256(f"{kind} {name} {number}".encode()).hexdigest()
    return f"sha256:{digest}" if kind is Kind.IMAGE else digest

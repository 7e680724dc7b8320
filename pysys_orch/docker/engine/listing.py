"""Everything on an engine that can have an owner."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from pysys_orch.docker.engine.asking import Json
from pysys_orch.docker.engine.model import Found, Kind, Resource, read_stamp
from pysys_orch.docker.engine.networks import network_found
from pysys_orch.docker.engine.ownership import CACHE_LABEL, RUN_LABEL, is_cache_tag
from pysys_orch.docker.engine.swarming import Swarming
from pysys_orch.errors import NotFoundError, SwarmInactiveError


class Listing(Swarming):
    """Lists what is on an engine, and removes it."""

    def listing(self, *, dated: bool = True) -> list[Found]:
        """Return everything on the engine that can have an owner.

        Images are listed once for each of their tags; of the untagged ones only those
        that carry the label of our builds.

        Args:
            dated: Whether cached images tell when they were last used, and not only
                when they were built. That takes a request for each of them.
        """
        found: list[Found] = []
        found += self._containers()
        found += self.networks()
        found += self._volumes()
        found += self._images(dated=dated)
        found += self._swarm(Kind.SERVICE, "/services")
        found += self._swarm(Kind.SECRET, "/secrets")
        found += self._swarm(Kind.CONFIG, "/configs")
        found += self._begun_swarm()
        return found

    def networks(self, *, scope: str = "") -> list[Found]:
        """Return the networks.

        Args:
            scope: How far they span: ``local`` or ``swarm``; all by default.
        """
        return [
            network_found(each)
            for each in self._get("list networks", "/networks")
            if not scope or each.get("Scope") == scope
        ]

    def remove(self, resource: Resource) -> None:
        """Remove one thing: kill what runs, untag what is used.

        Raises:
            NotFoundError: Somebody else removed it a moment ago; a volume is then no
                error at all.
            ConflictError: Something still uses it, or somebody else is removing it.
            EngineAnswerError: The engine refused.
        """
        parameters = {
            Kind.CONTAINER: {"force": 1, "v": 1},
            Kind.VOLUME: {"force": 1},
        }.get(resource.kind, {})
        if resource.kind is Kind.SWARM:
            self._post("leave the swarm", "/swarm/leave", {"force": 1})
            return
        path = f"/{resource.kind}s/{resource.id}"
        self._fetch(f"remove {resource}", "DELETE", path, parameters)

    def inspect_image(self, image: str) -> Json:
        """Return everything that the engine knows about an image."""
        found: Json = self._get(f"inspect image {image}", f"/images/{image}/json")
        return found

    def _containers(self) -> Iterator[Found]:
        for each in self._get("list containers", "/containers/json", {"all": 1}):
            names = each.get("Names") or [each["Id"]]
            yield Found(
                resource=Resource(
                    kind=Kind.CONTAINER, id=each["Id"], name=names[0].lstrip("/")
                ),
                created=datetime.fromtimestamp(each["Created"], UTC),
                labels=each.get("Labels") or {},
            )

    def _volumes(self) -> Iterator[Found]:
        for each in self._get("list volumes", "/volumes").get("Volumes") or []:
            name = each["Name"]
            yield Found(
                resource=Resource(kind=Kind.VOLUME, id=name, name=name),
                created=read_stamp(each.get("CreatedAt") or ""),
                labels=each.get("Labels") or {},
            )

    def _images(self, *, dated: bool) -> Iterator[Found]:
        for each in self._get("list images", "/images/json"):
            labels = each.get("Labels") or {}
            created = datetime.fromtimestamp(each["Created"], UTC)
            tags = [
                _familiar(tag)
                for tag in each.get("RepoTags") or []
                if "<none>" not in tag
            ]
            if not tags and CACHE_LABEL in labels:
                resource = Resource(kind=Kind.IMAGE, id=each["Id"], name=each["Id"])
                yield Found(resource=resource, created=created, labels=labels)
            if dated and any(is_cache_tag(tag) for tag in tags):
                created = self._last_tagged(each["Id"], created)
            for tag in tags:
                resource = Resource(kind=Kind.IMAGE, id=tag, name=tag)
                yield Found(resource=resource, created=created, labels=labels)

    def _last_tagged(self, image: str, otherwise: datetime) -> datetime:
        try:
            tagged = self.inspect_image(image).get("Metadata", {}).get("LastTagTime")
        except NotFoundError:
            return otherwise
        return max(read_stamp(tagged or ""), otherwise)

    def _swarm(self, kind: Kind, path: str) -> Iterator[Found]:
        try:
            listed = self._get(f"list {kind}s", path)
        except SwarmInactiveError:
            return
        for each in listed:
            name = each["Spec"]["Name"]
            yield Found(
                resource=Resource(kind=kind, id=each["ID"], name=name),
                created=read_stamp(each["CreatedAt"]),
                labels=each["Spec"].get("Labels") or {},
            )

    def _begun_swarm(self) -> Iterator[Found]:
        """Yield the swarm if one of us has begun it."""
        try:
            found = self.inspect_swarm()
        except SwarmInactiveError:
            return
        labels = found["Spec"].get("Labels") or {}
        if RUN_LABEL in labels:
            yield Found(
                resource=Resource(
                    kind=Kind.SWARM, id=found["ID"], name=found["Spec"]["Name"]
                ),
                created=read_stamp(found["CreatedAt"]),
                labels=labels,
            )


def _familiar(tag: str) -> str:
    """Return the name of an image as Docker has it; Podman writes it out in full."""
    if not tag.startswith("docker.io/"):
        return tag
    return tag.removeprefix("docker.io/").removeprefix("library/")

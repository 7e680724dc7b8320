"""What a container has less of: CPU, memory, and space for files."""

from __future__ import annotations

from pysys_orch.docker.engine.amounts import in_bytes
from pysys_orch.docker.engine.fault import Action, Claim, Json, Squeeze, plan_squeeze
from pysys_orch.docker.engine.healing import files_of
from pysys_orch.docker.engine.leftover import find_place
from pysys_orch.docker.engine.links import cgroup_limits, require_reach
from pysys_orch.docker.engine.mishaps.mishap import Remedies, Simple, Target
from pysys_orch.errors import ContainerGoneError, FaultError


class Squeezed(Simple):
    """A container has less CPU or memory than it had."""

    kind = "squeeze"

    def __init__(
        self, target: Target, *, cpus: float | None, memory: int | None
    ) -> None:
        super().__init__(target)
        self._cpus = cpus
        self._memory = memory
        self._squeeze = Squeeze(limits={}, former={})
        words = [] if cpus is None else [f"cpus {cpus:g}"]
        words += [] if memory is None else [f"memory {in_bytes(memory)}"]
        self.words = ", ".join(words)
        self._before: dict[str, int | None] | None = None

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        target = self.target
        found = target.inspect_running()
        self._squeeze = plan_squeeze(
            found["HostConfig"],
            cpus=self._cpus,
            memory=self._memory,
            machine=target.engine.info(),
        )
        self._before = self._kernel(found)
        return self.remedies(Action.UPDATE, **self._squeeze.former)

    def begin(self) -> None:
        """See `Mishap`."""
        engine, container = self.target.engine, self.target.container
        engine.update_container(container, self._squeeze.limits)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        found = self.target.inspect()
        kernel = self._kernel(found)
        if kernel is not None:
            quota = None if self._cpus is None else round(self._cpus * 100_000)
            if quota is not None and not _is_near(kernel["cpus_us"], quota):
                return False
            if self._memory is not None and not _is_near(
                kernel["memory"], self._memory
            ):
                return False
        return _has(found, self._squeeze.limits)

    def is_healed(self) -> bool:
        """See `Mishap`."""
        found = self.target.inspect()
        is_as_before = self._kernel(found) == self._before or not self._before
        return _has(found, self._squeeze.former) and (
            is_as_before or not found["State"]["Running"]
        )

    def _kernel(self, found: Json) -> dict[str, int | None] | None:
        try:
            pid = require_reach(found, is_local=self.target.engine.is_local)
        except (FaultError, ContainerGoneError):
            return None
        return cgroup_limits(pid)


def _has(found: Json, limits: Json) -> bool:
    return all(found["HostConfig"].get(key) == each for key, each in limits.items())


def _is_near(said: int | None, wanted: int) -> bool:
    """Return whether a limit is what was asked for; memory is rounded to pages."""
    return said is not None and abs(said - wanted) <= max(4096, wanted // 100)


class Fill(Simple):
    """A file system of a container has no space left."""

    kind = "fill"

    def __init__(self, target: Target, path: str) -> None:
        super().__init__(target)
        self.words = path
        self._path = path

    def claims(self) -> tuple[Claim, ...]:
        """See `Mishap`."""
        return self.claims_of([self._path])

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        target = self.target
        found = target.inspect_running()
        files_of(target.engine, target.container).check(self._path)
        place = find_place(target.engine, found, self._path)
        return self.remedies(Action.EMPTY, path=self._path, place=place.as_json())

    def begin(self) -> None:
        """See `Mishap`."""
        files_of(self.target.engine, self.target.container).fill(self._path)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        target = self.target
        return files_of(target.engine, target.container).is_full(self._path)

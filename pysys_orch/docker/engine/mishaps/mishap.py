"""What a mishap is, and what it happens to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.fault import Action, Claim, Json, Remedy
from pysys_orch.docker.engine.logs import last_lines
from pysys_orch.docker.engine.ready import require_running
from pysys_orch.errors import ContainerGoneError, NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A container that something happens to.

    Attributes:
        engine: The engine that it is on.
        container: Its id.
        name: What its test calls it.
    """

    engine: ApiEngine
    container: str
    name: str

    def inspect(self) -> Json:
        """Return its inspection.

        Raises:
            ContainerGoneError: It was removed.
        """
        try:
            return self.engine.inspect_container(self.container)
        except NotFoundError:
            message = f"container {self.name} was removed"
            raise ContainerGoneError(message) from None

    def inspect_running(self) -> Json:
        """Return its inspection.

        Raises:
            ContainerGoneError: It does not run, or is paused by somebody else.
        """
        found = self.inspect()
        if not found["State"]["Running"]:
            message = f"container {self.name} does not run: there is nothing to disturb"
            raise ContainerGoneError(message)
        return found

    def require_alive(self) -> None:
        """Make sure that it runs, or will.

        Raises:
            ContainerGoneError: It has ended; with its exit code and last words.
        """
        found = self.inspect()
        require_running(
            self.name, found["State"], lambda: last_lines(self.engine, found)
        )


#: How something is undone, each where.
Remedies = tuple[tuple[Target, Remedy], ...]


class Mishap(Protocol):
    """Something that happens to containers, and can be undone.

    Attributes:
        kind: What people call it.
        words: With what, for people; empty if there is nothing to say.
        targets: To which containers it happens.
        lasts: Whether there is anything to undo.
    """

    kind: str
    words: str
    targets: Sequence[Target]
    lasts: bool

    def claims(self) -> tuple[Claim, ...]:
        """Return what it needs for itself, before the rest is looked at.

        Raises:
            OrchError: It cannot happen to these containers.
        """
        ...

    def prepare(self) -> Remedies:
        """Look at the containers, and say what undoes it; nothing happens yet.

        Raises:
            OrchError: It cannot happen to them.
        """
        ...

    def begin(self) -> None:
        """Have it happen."""
        ...

    def is_in_force(self) -> bool:
        """Return whether it is in force, by what engine and kernel say."""
        ...

    def obstacle(self) -> str:
        """Return why it is not in force, in words; empty if that is not known."""
        ...

    def is_healed(self) -> bool:
        """Return whether all is as it was."""
        ...

    def end(self) -> None:
        """End what of this process it needs, after it was undone."""
        ...


class Simple:
    """What happens to one container, and takes nothing of this process.

    Args:
        target: The container.
    """

    kind = ""
    words = ""
    lasts = True

    def __init__(self, target: Target) -> None:
        self.targets: Sequence[Target] = (target,)
        self.target = target

    def claims(self) -> tuple[Claim, ...]:
        """See `Mishap`."""
        return self.claims_of([""])

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        raise NotImplementedError

    def obstacle(self) -> str:
        """See `Mishap`."""
        try:
            self.target.require_alive()
        except ContainerGoneError as gone:
            return str(gone)
        return ""

    def is_healed(self) -> bool:
        """See `Mishap`."""
        return not self.is_in_force()

    def end(self) -> None:
        """See `Mishap`."""

    def claims_of(self, parts: Iterable[str]) -> tuple[Claim, ...]:
        """Return claims of parts of the container."""
        container = self.target.container
        return tuple(
            Claim(kind=self.kind, container=container, part=part) for part in parts
        )

    def remedies(self, action: Action, **details: object) -> Remedies:
        """Return what undoes something to the container, with these details."""
        container = self.target.container
        remedy = Remedy(action=action, container=container, details=details)
        return ((self.target, remedy),)

"""One fault: in force from its start to its undo, and no longer than its test."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType

from pysys_orch.docker.engine.fault import Action, Claim
from pysys_orch.docker.engine.healing import heal
from pysys_orch.docker.engine.mishaps import Kill, Mishap, Remedies
from pysys_orch.docker.engine.ownership import RUN_LABEL
from pysys_orch.docker.faultbook import FaultBook
from pysys_orch.docker.helper import DockerHelper
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.runningcontainer import RunningContainer
from pysys_orch.errors import ContainerGoneError, FaultError, NotFoundError, OrchError

log = logging.getLogger("pysys.orch.docker")

_IN_FORCE_WITHIN = 15.0
_HEALED_WITHIN = 15.0
_POLL = 0.02


class DockerFault(DockerHelper):
    """Something that happens to containers, from `start` to `undo`.

    It is both a context manager and a pair of methods that an orchestration's event can
    name. Once `start` has returned it is in force, and known to be; at the end of its
    test, if not before, it is healed. Threads may share it.

    Not made directly: `DockerFaults` does that.
    """

    def __init__(
        self,
        parent: Parent,
        mishap: Mishap,
        book: FaultBook,
        helpers: Sequence[RunningContainer],
    ) -> None:
        names = ", ".join(each.name for each in mishap.targets)
        super().__init__(parent, f"{mishap.kind} of {names}")
        self._mishap = mishap
        self._book = book
        self._helpers = helpers
        self._lock = threading.RLock()
        self._isBegun = False
        self._asked: datetime | None = None
        self._inForce: datetime | None = None
        self._claims: tuple[Claim, ...] = ()
        self._remedies: Remedies = ()
        self._promises: list[str] = []

    @property
    def isInForce(self) -> bool:
        """Whether it is in force now, by what engine and kernel say.

        A container that ended or was started again may have ended it.
        """
        with self._lock:
            return self._isBegun and self._mishap.lasts and self._looks()

    def start(self) -> DockerFault:
        """Have it happen; return once it is in force.

        A fault that cannot be made here, or is not in force within 15 seconds, is taken
        back, and the test is BLOCKED; so is one that is in force already.
        """
        with self.reporting(), self._lock:
            self._start()
        return self

    def undo(self) -> DockerFault:
        """Take it back; return once it is healed. Without `start` nothing happens.

        What ended meanwhile has nothing to heal, which the record says.
        """
        with self.reporting(), self._lock:
            self._undo()
        return self

    def __enter__(self) -> DockerFault:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()

    def close(self) -> None:
        """Take it back at the end of its test, as far as that matters then.

        Raises:
            OrchError: It could not be healed.
        """
        with self._lock:
            try:
                if isinstance(self._mishap, Kill) and self._isOfTest():
                    self._remedies = ()  # it would be removed at once
                    self._undo(note="it goes with its test")
                else:
                    self._undo()
            except OrchError as failure:
                raise FaultError(self._wording(str(failure))) from failure

    # Inside ---------------------------------------------------------------------------

    def _start(self) -> None:
        self._book.note_started(self)
        if self._isBegun:
            if self._mishap.lasts and self._looks():
                message = f"{self.displayName} is in force already: undo it first"
                raise FaultError(message)
            self._undo()
        clock = self._book.session.clock
        self._asked, self._inForce = clock.stamp(), None
        try:
            claims = self._mishap.claims()
            self._book.claim(self, claims)
            self._claims = claims
            # After that, so that what it looks at is no other fault's doing.
            self._remedies = self._mishap.prepare()
        except BaseException as failure:
            self._release()
            self._tell("start", error=str(failure) or type(failure).__name__)
            raise
        self._isBegun = True
        try:
            self._book.hold(self)
            self._promise()
            self._mishap.begin()
            mishap = self._mishap
            self._await(
                "in force", mishap.is_in_force, _IN_FORCE_WITHIN, mishap.obstacle
            )
        except BaseException as failure:
            self._tell("start", error=str(failure) or type(failure).__name__)
            try:
                self._undo()
            except Exception as another:  # noqa: BLE001 -- told with the first
                message = f"{failure}; and then it could not be undone: {another}"
                raise FaultError(message) from failure
            raise
        self._inForce = clock.stamp()
        self._tell("start")
        words = f" ({self._mishap.words})" if self._mishap.words else ""
        log.info("Fault: %s%s", self.displayName, words)
        if not self._mishap.lasts and not self._remedies:
            self._release()

    def _undo(self, note: str = "") -> None:
        if not self._isBegun:
            return
        clock = self._book.session.clock
        asked = clock.stamp()
        notes = [note] if note else []
        failures: list[Exception] = []
        for target, remedy in self._remedies:
            try:
                said = heal(target.engine, remedy)
            except Exception as failure:  # noqa: BLE001 -- the others are healed too
                failures.append(failure)
                continue
            if said:
                notes.append(f"{target.name}: {said}")
        try:
            self._mishap.end()
            if not failures and not note:
                self._await("healed", self._isHealed, _HEALED_WITHIN)
        except Exception as failure:  # noqa: BLE001 -- told below, with the others
            failures.append(failure)
        error = "; ".join(map(str, failures))
        healed = None if failures else clock.stamp()
        self._tell(
            "undo", asked=asked, healed=healed, note="; ".join(notes), error=error
        )
        if failures:
            message = f"{self.displayName} could not be healed: {error}"
            raise FaultError(message)
        self._release()
        log.info("Healed: %s%s", self.displayName, f" ({notes[0]})" if notes else "")

    def _release(self) -> None:
        self._isBegun = False
        self._book.release(self, self._claims)
        for each in self._promises:
            self._book.session.healed(each)
        self._claims, self._remedies, self._promises = (), (), []

    def _promise(self) -> None:
        """Have the run's reaper heal what would outlive the run."""
        session = self._book.session
        for target, remedy in self._remedies:
            labels = target.inspect()["Config"].get("Labels") or {}
            # A volume or a folder of somebody else may be mounted in what is the run's.
            isOthers = labels.get(RUN_LABEL) != session.owner.key
            if isOthers or remedy.action is Action.EMPTY:
                self._promises.append(
                    session.promise(self.parent, target.engine, remedy)
                )

    def _await(
        self,
        what: str,
        look: Callable[[], bool],
        within: float,
        obstacle: Callable[[], str] = str,
    ) -> None:
        """Wait until it is so.

        Raises:
            FaultError: It is not, in time.
        """
        clock = self._book.session.clock
        deadline = clock.instant() + within
        while not look():
            if clock.instant() >= deadline:
                since = f", since {words}" if (words := obstacle()) else ""
                message = (
                    f"{self.displayName} was not {what} within {within:g} s{since}"
                )
                raise FaultError(message)
            # Not by PySys, which ends waits of a run that is aborted: healing goes on.
            clock.wait_until(clock.instant() + _POLL, self._book.never)

    def _looks(self) -> bool:
        try:
            return self._mishap.is_in_force()
        except (ContainerGoneError, NotFoundError):
            return False

    def _isHealed(self) -> bool:
        try:
            return self._mishap.is_healed()
        except (ContainerGoneError, NotFoundError):
            return True

    def _isOfTest(self) -> bool:
        """Return whether all its containers are removed with its test."""
        session = self._book.session
        is_kept = session.settings.keep and self.parent.getOutcome().isFailure()
        return not is_kept and all(
            each.parent is self.parent and each.resources() for each in self._helpers
        )

    def _tell(
        self,
        event: str,
        *,
        asked: datetime | None = None,
        healed: datetime | None = None,
        note: str = "",
        error: str = "",
    ) -> None:
        stamps = {
            "asked": self._asked,
            "in_force": self._inForce,
            "healing_asked": asked,
            "healed": healed,
        }
        self._book.write(
            {
                "event": event,
                "fault": self._mishap.kind,
                "on": [each.name for each in self._mishap.targets],
                "details": self._mishap.words,
                **{key: each and each.isoformat() for key, each in stamps.items()},
                "note": note,
                "error": error,
            }
        )

    def _wording(self, reason: str) -> str:
        """Return a reason that calls containers what their test calls them."""
        for each in self._mishap.targets:
            reason = reason.replace(each.container, each.name)
        return reason

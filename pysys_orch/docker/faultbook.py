"""The faults of one test: which are in force, and the record of all."""

from __future__ import annotations

import json
import logging
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from pysys_orch.docker.engine.fault import Claim
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session
from pysys_orch.errors import CleanupError, FaultError

log = logging.getLogger("pysys.orch.docker")

#: The file with the faults of a test, in its output directory.
RECORD = "faults.jsonl"


class Entry(Protocol):
    """A fault as its book knows it."""

    @property
    def displayName(self) -> str:
        """What people call it."""
        ...

    def close(self) -> None:
        """Take it back at the end of its test.

        Raises:
            OrchError: It could not be healed.
        """
        ...


class FaultBook:
    """The faults of one parent: which are in force, and the record of all.

    Attributes:
        session: The run that the parent belongs to.
        never: Is never set: what is waited on for as long as it takes.
    """

    _known: ClassVar[weakref.WeakKeyDictionary[Parent, FaultBook]] = (
        weakref.WeakKeyDictionary()
    )
    _known_lock = threading.Lock()

    def __init__(self, parent: Parent) -> None:
        self.session = Session.of(parent)
        self.never = threading.Event()
        self._file = Path(parent.output, RECORD)
        self._parent = weakref.proxy(parent)
        self._lock = threading.Lock()
        self._made: list[Entry] = []  # and not started so far
        self._held: list[Entry] = []
        self._isFirst = True
        self._tellsIdle = False

    @classmethod
    def of(cls, parent: Parent) -> FaultBook:
        """Return the one of *parent*."""
        with cls._known_lock:
            if parent not in cls._known:
                cls._known[parent] = cls(parent)
            return cls._known[parent]

    def claim(self, fault: Entry, claims: Sequence[Claim]) -> None:
        """Note what a fault needs for itself.

        Raises:
            FaultError: Another one has it.
        """
        taken = self.session.claims
        with self.session.lock:
            for mine in claims:
                for other, name in taken.items():
                    if mine.clashes(other):
                        message = (
                            f"{fault.displayName} cannot be made while {name} is in "
                            "force: undo that first, or make one fault of both"
                        )
                        raise FaultError(message)
            taken.update(dict.fromkeys(claims, fault.displayName))

    def note_made(self, fault: Entry) -> None:
        """Have the parent's cleanup say of a fault if it was never started."""
        with self._lock:
            self._made.append(fault)
            isFirst, self._tellsIdle = not self._tellsIdle, True
        if isFirst:
            self._parent.addCleanupFunction(self.tell_idle)

    def note_started(self, fault: Entry) -> None:
        """Have nothing said of a fault."""
        with self._lock:
            if fault in self._made:
                self._made.remove(fault)

    def tell_idle(self) -> None:
        """Say which faults were never started."""
        with self._lock:
            idle, self._made = self._made, []
            self._tellsIdle = False
        named = set(map(id, getattr(self._parent, "__dict__", {}).values()))
        for each in idle:
            # An event of an orchestration may have named it, and not fired.
            level = logging.INFO if id(each) in named else logging.WARNING
            log.log(
                level,
                "Fault: %s was made and never started: use `with`, or start()",
                each.displayName,
            )

    def hold(self, fault: Entry) -> None:
        """Have a fault healed with the parent's cleanup, if not before."""
        with self._lock:
            self._held.append(fault)
            isFirst, self._isFirst = self._isFirst, False
        if isFirst:
            self._parent.addCleanupFunction(self.close)

    def release(self, fault: Entry, claims: Sequence[Claim]) -> None:
        """Forget a fault that is healed."""
        with self.session.lock:
            for each in claims:
                self.session.claims.pop(each, None)
        with self._lock:
            if fault in self._held:
                self._held.remove(fault)

    def write(self, line: dict[str, object]) -> None:
        """Add a line to the record."""
        try:
            with self._lock:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        except OSError as failure:
            # Not raised, since what is in force has to be healed all the same.
            log.warning("Fault not recorded in %s: %s", self._file, failure)

    def close(self) -> None:
        """Heal what is in force, the last first.

        Raises:
            CleanupError: Something could not be healed.
        """
        with self._lock:
            self._isFirst = True
            held = self._held[::-1]
        failures: list[Exception] = []
        for each in held:
            try:
                each.close()
            except Exception as failure:  # noqa: BLE001 -- the others are healed too
                failures.append(failure)
        if failures:
            raise CleanupError(failures, "healed")

"""Faults: what a test has happen to its containers, and takes back."""

from __future__ import annotations

import ipaddress
import itertools
import json
import logging
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from pysys_orch.docker.engine import fault as values
from pysys_orch.docker.engine.fault import Action, Claim, Link, Remedy
from pysys_orch.docker.engine.healing import heal
from pysys_orch.docker.engine.mishaps import (
    Disconnect,
    Fill,
    Kill,
    Mishap,
    Partition,
    Pause,
    Restart,
    Slow,
    Squeezed,
    Target,
)
from pysys_orch.docker.engine.ownership import RUN_LABEL
from pysys_orch.docker.helper import DockerHelper, Reporting
from pysys_orch.docker.network import DockerNetwork
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.runningcontainer import RunningContainer
from pysys_orch.docker.session import Session
from pysys_orch.errors import (
    CleanupError,
    ConfigError,
    ContainerGoneError,
    FaultError,
    NotFoundError,
    OrchError,
)

log = logging.getLogger("pysys.orch.docker")

#: The file with the faults of a test, in its output directory.
RECORD = "faults.jsonl"

_IN_FORCE_WITHIN = 15.0
_HEALED_WITHIN = 15.0
_POLL = 0.02
_FIRST_QUEUE, _QUEUES = 16_384, 32_768
_NUMBERS = itertools.count(1)

Containers = RunningContainer | Iterable[RunningContainer]


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
        book: _Book,
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
        self._remedies: tuple[tuple[Target, Remedy], ...] = ()
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
            self._await("in force", self._mishap.is_in_force, _IN_FORCE_WITHIN)
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

    def _await(self, what: str, look: Callable[[], bool], within: float) -> None:
        """Wait until it is so.

        Raises:
            FaultError: It is not, in time.
        """
        clock = self._book.session.clock
        deadline = clock.instant() + within
        while not look():
            if clock.instant() >= deadline:
                message = f"{self.displayName} was not {what} within {within:g} s"
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


class _Book:
    """The faults of one parent: which are in force, and the record of all."""

    _known: ClassVar[weakref.WeakKeyDictionary[Parent, _Book]] = (
        weakref.WeakKeyDictionary()
    )
    _known_lock = threading.Lock()

    def __init__(self, parent: Parent) -> None:
        self.session = Session.of(parent)
        self.never = threading.Event()
        self._file = Path(parent.output, RECORD)
        self._parent = weakref.proxy(parent)
        self._lock = threading.Lock()
        self._held: list[DockerFault] = []
        self._isFirst = True

    @classmethod
    def of(cls, parent: Parent) -> _Book:
        """Return the one of *parent*."""
        with cls._known_lock:
            if parent not in cls._known:
                cls._known[parent] = cls(parent)
            return cls._known[parent]

    def claim(self, fault: DockerFault, claims: Sequence[Claim]) -> None:
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

    def hold(self, fault: DockerFault) -> None:
        """Have a fault healed with the parent's cleanup, if not before."""
        with self._lock:
            self._held.append(fault)
            isFirst, self._isFirst = self._isFirst, False
        if isFirst:
            self._parent.addCleanupFunction(self.close)

    def release(self, fault: DockerFault, claims: Sequence[Claim]) -> None:
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


class DockerFaults:
    """Makes faults for one test; `DockerFault` says what one is.

    Reached as ``self.docker.faults``, or made as ``DockerFaults(self)``. What its
    methods return is not in force yet::

        with self.docker.faults.slow(database, '200ms'):
            ...

    Durations are seconds, or texts such as ``'200ms'``.

    Args:
        parent: The test or runner.
    """

    def __init__(self, parent: Parent) -> None:
        self._parent = parent

    def pause(self, container: RunningContainer) -> DockerFault:
        """Freeze all processes of a container: it neither answers nor hangs up."""
        return self._fault(lambda targets: Pause(targets[0]), container)

    def kill(self, container: RunningContainer, signal: str = "KILL") -> DockerFault:
        """End the main process of a container; undone, it is started again.

        A task of a swarm is not started again: the swarm has another take its place.

        Args:
            container: The container.
            signal: What it is sent, with or without SIG; it has to end by that.
        """
        return self._fault(lambda targets: Kill(targets[0], signal), container)

    def restart(
        self, container: RunningContainer, timeout: float | str = 10
    ) -> DockerFault:
        """Stop a container, and start it again: there is nothing to undo.

        Args:
            container: The container.
            timeout: How long its main process has to end.
        """

        def make(targets: Sequence[Target]) -> Mishap:
            return Restart(targets[0], values.seconds_of("timeout", timeout))

        return self._fault(make, container)

    def disconnect(
        self, container: RunningContainer, network: DockerNetwork | str | None = None
    ) -> DockerFault:
        """Take a container out of a network; undone, it joins it as it was in it.

        It keeps its aliases and fixed addresses; other addresses, its MAC address, and
        ports that the engine chose, may be other ones then.

        Args:
            container: The container.
            network: The network, its name or id; by default all that it is in.
        """
        name = network.getName() if isinstance(network, DockerNetwork) else network
        return self._fault(lambda targets: Disconnect(targets[0], name), container)

    def partition(self, side: Containers, other: Containers) -> DockerFault:
        """Keep containers from talking to others, both ways; all else can.

        It is about addresses that they have in networks now. A container that is
        started again meanwhile hears the others again, which do not hear it.

        Args:
            side: A container, or several.
            other: A container, or several, none of them on the one side too.
        """
        one, two = _listed(side), _listed(other)

        def make(targets: Sequence[Target]) -> Mishap:
            middle = len(one)
            return Partition(targets[:middle], targets[middle:], chain=self._chain())

        return self._fault(make, *one, *two)

    def slow(
        self,
        container: RunningContainer,
        delay: float | str,
        jitter: float | str = 0,
        rate: float | str | None = None,
        to: Containers | str | None = None,
    ) -> DockerFault:
        """Have all that a container sends arrive late; see `link`."""
        return self.link(container, delay=delay, jitter=jitter, rate=rate, to=to)

    def lossy(
        self,
        container: RunningContainer,
        loss: float,
        to: Containers | str | None = None,
    ) -> DockerFault:
        """Have a share of what a container sends be lost; see `link`."""
        return self.link(container, loss=loss, to=to)

    def link(
        self,
        container: RunningContainer,
        *,
        delay: float | str = 0,
        jitter: float | str = 0,
        loss: float = 0,
        rate: float | str | None = None,
        to: Containers | str | None = None,
        seed: int = 0,
    ) -> DockerFault:
        """Have a bad link between a container and others.

        It is about what the container sends; so a request and its answer are late by
        *delay* altogether, whoever asks.

        Args:
            container: The container.
            delay: By how much each packet is late.
            jitter: By how much more or less, evenly; not more than *delay*. Packets
                stay in order.
            loss: Which share of packets is lost, from 0 to 1.
            rate: Bits per second, or a text such as ``1mbit``.
            to: Containers, or an address, to which this applies; by default to all but
                itself.
            seed: What decides on chance.
        """
        peers = [] if to is None or isinstance(to, str) else _listed(to)

        def make(targets: Sequence[Target]) -> Mishap:
            link = Link(
                delay=values.seconds_of("delay", delay),
                jitter=values.seconds_of("jitter", jitter),
                loss=values.number_of("loss", loss),
                rate=values.bits_of(rate),
                seed=seed,
            )
            receivers: Sequence[Target | str] | None = None
            if isinstance(to, str):
                receivers = [_address(to)]
            elif to is not None:
                receivers = targets[1:]
            # Runs may be on one container: each counts from a place of its own.
            place = zlib.crc32(Session.of(self._parent).owner.key.encode())
            queue = _FIRST_QUEUE + (place + next(_NUMBERS)) % _QUEUES
            return Slow(targets[0], link, receivers, chain=self._chain(), queue=queue)

        return self._fault(make, container, *peers)

    def fill(self, container: RunningContainer, path: str) -> DockerFault:
        """Leave no space in a file system of a container.

        Args:
            container: The container.
            path: A folder in a file system of at most 1 GiB, such as a volume with a
                size. A larger one is refused: that is likely the host's disk.
        """
        return self._fault(lambda targets: Fill(targets[0], path), container)

    def squeeze(
        self,
        container: RunningContainer,
        cpus: float | None = None,
        memory: float | str | None = None,
    ) -> DockerFault:
        """Have a container make do with less.

        Args:
            container: The container.
            cpus: How many CPUs it may use: 0.5.
            memory: How much memory it may have, swap included: bytes, or a text such as
                ``64m``. What it has already has to fit.
        """

        def make(targets: Sequence[Target]) -> Mishap:
            share = None if cpus is None else values.number_of("cpus", cpus)
            size = None if memory is None else values.bytes_of(memory)
            return Squeezed(targets[0], cpus=share, memory=size)

        return self._fault(make, container)

    # Inside ---------------------------------------------------------------------------

    def _fault(
        self,
        make: Callable[[Sequence[Target]], Mishap],
        *containers: RunningContainer,
    ) -> DockerFault:
        with Reporting(self._parent):
            targets = [_target(each) for each in containers]
            book = _Book.of(self._parent)
            return DockerFault(self._parent, make(targets), book, containers)
        raise AssertionError  # an error in the block ends the test

    def _chain(self) -> str:
        owner = Session.of(self._parent).owner
        return f"po-{owner.pid:x}-{owner.start:x}-{next(_NUMBERS):x}"


def _target(container: object) -> Target:
    if not isinstance(container, RunningContainer):
        message = f"a fault happens to a DockerContainer, got {container!r}"
        raise ConfigError(message)
    return Target(
        engine=container._engine(),  # noqa: SLF001 -- this wing's own
        container=container._id(),  # noqa: SLF001
        name=container.displayName,
    )


def _listed(containers: Containers) -> list[RunningContainer]:
    if isinstance(containers, RunningContainer):
        return [containers]
    return list(containers)


def _address(said: str) -> str:
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        message = f"to is a container, several, or an address, got {said!r}"
        raise ConfigError(message) from None

"""Faults: what a test has happen to its containers, and takes back."""

from __future__ import annotations

import ipaddress
import itertools
import zlib
from collections.abc import Callable, Iterable, Sequence

from pysys_orch.docker.engine import amounts
from pysys_orch.docker.engine import fault as values
from pysys_orch.docker.engine.fault import Link
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
from pysys_orch.docker.engine.rules import queues_from
from pysys_orch.docker.fault import DockerFault
from pysys_orch.docker.faultbook import RECORD, FaultBook
from pysys_orch.docker.helper import Reporting
from pysys_orch.docker.network import DockerNetwork
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.runningcontainer import RunningContainer
from pysys_orch.docker.session import Session
from pysys_orch.errors import ConfigError

__all__ = ["RECORD", "Containers", "DockerFault", "DockerFaults"]

_NUMBERS = itertools.count(1)

Containers = RunningContainer | Iterable[RunningContainer]


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

    def kill(
        self, container: RunningContainer, signal: str | int = "KILL"
    ) -> DockerFault:
        """End the main process of a container; undone, it is started again.

        A task of a swarm is not started again: the swarm has another take its place.

        Args:
            container: The container.
            signal: What it is sent, with or without SIG, or its number; it has to end
                by that.
        """

        def make(targets: Sequence[Target]) -> Mishap:
            return Kill(targets[0], values.signal_of(signal))

        return self._fault(make, container)

    def restart(
        self, container: RunningContainer, timeout: float | str = 10
    ) -> DockerFault:
        """Stop a container, and start it again: there is nothing to undo.

        Args:
            container: The container.
            timeout: How long its main process has to end; 0 kills it at once.
        """

        def make(targets: Sequence[Target]) -> Mishap:
            grace = amounts.seconds_of("timeout", timeout)
            if grace < 0:
                message = f"timeout is 0 s or more, got {timeout!r}"
                raise ConfigError(message)
            return Restart(targets[0], grace)

        return self._fault(make, container)

    def disconnect(
        self, container: RunningContainer, network: DockerNetwork | str | None = None
    ) -> DockerFault:
        """Take a container out of a network; undone, it joins it as it was in it.

        It keeps its aliases and fixed addresses; other addresses, its MAC address, and
        ports that the engine chose, may be other ones then.

        Args:
            container: The container.
            network: The network, its name or id, or what the test calls it; by default
                all that it is in.
        """
        if isinstance(network, DockerNetwork):
            name: str | None = network.getName()
        else:
            name = network and self._networkName(network)
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
                delay=amounts.seconds_of("delay", delay),
                jitter=amounts.seconds_of("jitter", jitter),
                loss=amounts.number_of("loss", loss, "a number from 0 to 1"),
                rate=amounts.bits_of(rate),
                seed=seed,
            )
            receivers: Sequence[Target | str] | None = None
            if isinstance(to, str):
                receivers = [_address(to)]
            elif to is not None:
                receivers = targets[1:]
            # Runs may be on one container: each counts from a place of its own.
            place = zlib.crc32(Session.of(self._parent).owner.key.encode())
            queues = queues_from(place + next(_NUMBERS))
            chain = self._chain()
            return Slow(targets[0], link, receivers, chain=chain, queues=queues)

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
            cpus: How many CPUs it may use: 0.5. Less than it is limited to, or than the
                machine has.
            memory: How much memory it may have, swap included: bytes, or a text such as
                ``64m`` or ``1.5 GiB``. Less than it is limited to, or than the machine
                has. What it has already has to fit.
        """

        def make(targets: Sequence[Target]) -> Mishap:
            share = None if cpus is None else amounts.number_of("cpus", cpus)
            size = None if memory is None else amounts.bytes_of("memory", memory)
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
            book = FaultBook.of(self._parent)
            fault = DockerFault(self._parent, make(targets), book, containers)
            book.note_made(fault)
            return fault
        raise AssertionError  # an error in the block ends the test

    def _networkName(self, said: str) -> str:
        """Return the name of the test's network that is called so, if there is one."""
        things = Session.of(self._parent).belongings(self._parent).things()
        names = [
            each.getName()
            for each in things
            if isinstance(each, DockerNetwork) and each.displayName == said
        ]
        return names[0] if len(names) == 1 else said

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

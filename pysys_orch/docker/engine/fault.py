"""Faults as plain values: what they do, what they hold on to, and what heals them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pysys_orch.docker.engine.amounts import in_bits, in_bytes
from pysys_orch.errors import ConfigError

Json = dict[str, Any]

#: What a limit of memory is set to in place of none: engines cannot take one away.
UNLIMITED_BYTES = 2**63 - 4096

_PERIOD = 100_000  # microseconds, the kernel's own
_LEAST_QUOTA = 1_000  # microseconds, the kernel's own
_LEAST_MEMORY = 6 * 2**20  # what engines allow
_SHORT_ID = 12
_LONGEST_DELAY = 3600.0
_SIGNALS = range(1, 65)


class Action(StrEnum):
    """What heals."""

    UNPAUSE = "unpause"
    START = "start"
    CONNECT = "connect"
    UPDATE = "update"
    RULES = "rules"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """How to undo what was done to one container, for whoever is left to do it.

    Attributes:
        action: What to do.
        container: The id of the container to do it to.
        details: With what: JSON.
    """

    action: Action
    container: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> Json:
        """Return it for a line of JSON."""
        return {
            "action": str(self.action),
            "container": self.container,
            "details": dict(self.details),
        }

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Remedy:
        """Return what `as_json` has returned."""
        return cls(
            action=Action(said["action"]),
            container=said["container"],
            details=said["details"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a fault needs for itself while it is in force.

    Attributes:
        kind: Of what kind the fault is.
        container: The id of the container that it is on.
        part: Which part of that; empty for all of it.
    """

    kind: str
    container: str
    part: str = ""

    def clashes(self, other: Claim) -> bool:
        """Return whether both cannot be in force at the same time."""
        return (
            (self.kind, self.container) == (other.kind, other.container)
            and (self.part == other.part or not self.part or not other.part)
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What becomes of the packets that a container sends.

    Attributes:
        delay: Seconds by which each is late.
        jitter: By how many seconds more or less, evenly; not more than *delay*. One
            packet never overtakes another.
        loss: Which share of them is lost, from 0 to 1.
        rate: How many bits leave in a second; None is as many as there are.
        seed: What decides which are lost.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.delay <= _LONGEST_DELAY:
            message = f"a delay is from 0 to an hour, got {self.delay:g} s"
            raise ConfigError(message)
        if not 0 <= self.jitter <= self.delay:
            message = (
                f"a jitter is from 0 to the delay of {self.delay:g} s, "
                f"got {self.jitter:g} s"
            )
            raise ConfigError(message)
        if not 0 <= self.loss <= 1:
            message = f"a loss is a share from 0 to 1, got {self.loss:g}"
            raise ConfigError(message)
        if self.rate is not None and not self.rate > 0:
            message = f"a rate is more than 0 bit/s, got {self.rate:g}"
            raise ConfigError(message)
        if not (self.delay or self.loss or self.rate is not None):
            message = "such a link has no fault: give it a delay, a loss or a rate"
            raise ConfigError(message)

    @property
    def kind(self) -> str:
        """What people call it."""
        is_slow = self.delay or self.rate is not None
        words = [*(["slow"] if is_slow else []), *(["lossy"] if self.loss else [])]
        return f"{' and '.join(words)} link"

    def __str__(self) -> str:
        words = []
        if self.delay:
            words.append(f"delay {self.delay:g} s")
        if self.jitter:
            words.append(f"jitter {self.jitter:g} s")
        if self.loss:
            words.append(f"loss {self.loss:g}")
        if self.rate is not None:
            words.append(f"rate {in_bits(self.rate)}")
        return ", ".join(words)


def signal_of(said: object) -> str:
    """Return a signal as engines take it: its name, or its number.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(said, int) and not isinstance(said, bool) and said in _SIGNALS:
        return str(said)
    if not isinstance(said, str):
        message = (
            f"a signal is a name such as TERM, or a number from {_SIGNALS[0]} to "
            f"{_SIGNALS[-1]}, got {said!r}"
        )
        raise ConfigError(message)
    return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeeze:
    """Other limits of a container, and what brings the former back.

    Attributes:
        limits: What to update it with.
        former: What to update it with then.
    """

    limits: Json
    former: Json


def plan_squeeze(
    host: Mapping[str, Any],
    *,
    cpus: float | None,
    memory: int | None,
    machine: Mapping[str, Any],
) -> Squeeze:
    """Decide how to limit a container that runs, and how to take that back.

    An engine takes a limit of 0 for one that stays as it is, so what had none gets one
    that never matters. It refuses a quota where there is a number of CPUs, and the
    reverse; so what a container has is what is changed.

    Args:
        host: The ``HostConfig`` of its inspection.
        cpus: How many CPUs it may use, such as 0.5; None leaves that.
        memory: How many bytes it may have; None leaves that.
        machine: What the engine tells of itself: its CPUs, memory and cgroups.

    Raises:
        ConfigError: A limit is too small, or not below what the container has, or
            nothing is to be limited.
    """
    limits: Json = {}
    former: Json = {}
    if cpus is None and memory is None:
        message = "squeeze needs cpus, memory or both"
        raise ConfigError(message)
    if cpus is not None:
        period = host.get("CpuPeriod") or _PERIOD
        if not cpus * period >= _LEAST_QUOTA:
            message = f"cpus is at least {_LEAST_QUOTA / period:g}, got {cpus:g}"
            raise ConfigError(message)
        quota = host.get("CpuQuota") or 0
        share = (host.get("NanoCpus") or 0) / 1e9 or quota / period
        _require_less("cpus", cpus, share, machine.get("NCPU"), "{:g}".format)
        if host.get("NanoCpus"):
            limits["NanoCpus"] = round(cpus * 1e9)
            former["NanoCpus"] = host["NanoCpus"]
        else:
            limits["CpuQuota"] = round(cpus * period)
            former["CpuQuota"] = host.get("CpuQuota") or -1
    if memory is not None:
        if memory < _LEAST_MEMORY:
            message = f"memory is at least {_LEAST_MEMORY} bytes, got {memory}"
            raise ConfigError(message)
        size, total = host.get("Memory"), machine.get("MemTotal")
        _require_less("memory", memory, size, total, in_bytes)
        swap = host.get("MemorySwap") or 0
        # The first version does not take back a limit of the sum with swap.
        is_first = machine.get("CgroupVersion") != "2"
        none = UNLIMITED_BYTES if is_first else -1
        limits["Memory"] = memory
        limits["MemorySwap"] = -1 if swap == -1 else memory
        former["Memory"] = host.get("Memory") or UNLIMITED_BYTES
        former["MemorySwap"] = swap or none
    return Squeeze(limits=limits, former=former)


def _require_less(
    what: str,
    wanted: float,
    limit: float | None,
    total: float | None,
    say: Callable[[float], str],
) -> None:
    """Make sure that a limit takes something away.

    Args:
        what: What is limited.
        wanted: The limit.
        limit: That of the container; there is none if it is not positive, or None.
        total: What the machine has; None if that is not known.
        say: Returns an amount in words.

    Raises:
        ConfigError: The container has no more than that.
    """
    known = [(total, "machine has")] if total else []
    if limit and limit > 0:
        known.append((limit, "container is limited to"))
    if known and wanted >= min(known)[0]:
        most, whose = min(known)
        message = (
            f"{what} has to be less than the {say(most)} that the {whose}, "
            f"got {say(wanted)}"
        )
        raise ConfigError(message)


def endpoint_of(container: str, endpoint: Mapping[str, Any]) -> Json:
    """Return how a container joins a network again as it had joined it.

    Args:
        container: Its id.
        endpoint: That network in its inspection.

    Returns:
        The API's description: its aliases and, where they were fixed, its addresses.
    """
    aliases = [
        each
        for each in endpoint.get("Aliases") or ()
        if each != container[:_SHORT_ID]  # the engine gives it that itself
    ]
    kept = {key: endpoint.get(key) for key in ("IPAMConfig", "Links", "DriverOpts")}
    found: Json = {key: value for key, value in kept.items() if value}
    if aliases:
        found["Aliases"] = aliases
    return found

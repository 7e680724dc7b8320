"""Who owns what on an engine, and whether that owner still lives.

An *owner* is one process, usually one ``pysys run``. Its key is part of the name of
everything that it makes, and stands in a label wherever the engine has labels:

```text
po7f3k-42782f-7gt-91q0xr-ingest-01-broker-c
│ │    │      │   │      │                └ a number, counted by the owner
│ │    │      │   │      └ the test and the role, for people
│ │    │      │   └ start of the process in clock ticks since boot, base 36
│ │    │      └ its process id, base 36
│ │    └ scope: boot, process id namespace, host name and user, digested
│ └ check digits over the rest of the key
└ marks a name as ours
```

A process id is used again, and a fresh namespace may have the very inode number of the
one before; a process id with a start time is unique within a boot.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.docker.engine.model import Found, Kind

#: Label that holds the owner's key.
RUN_LABEL = "orch.run"
#: Label that holds facts about the owner as JSON, for people and for `judge`.
OWNER_LABEL = "orch.owner"
#: Label that holds the id of the test that made it.
TEST_LABEL = "orch.test"
#: Label that says that only a person removes it once its test has failed.
KEEP_LABEL = "orch.keep"
#: Label that holds the seconds for which a lease is valid.
LEASE_LABEL = "orch.lease"
#: Label of an image that is kept for the builds to come.
CACHE_LABEL = "orch.cache"

#: Environment variable that marks the processes an owner starts to talk to an engine.
MARKER_VARIABLE = "PYSYS_ORCH_OWNER"

#: The first part of the repository of every image that is kept as a cache.
CACHE_PREFIX = "po-cache/"

_MAX_NAME = 63  # a swarm service takes no longer one, nor does a DNS label
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_KEY = re.compile(r"po([0-9a-z]{4})-([0-9a-f]{6})-([0-9a-z]{1,7})-([0-9a-z]{1,9})")
_NAME = re.compile(_KEY.pattern + r"(?:[-_.:].*)?")
_CACHE_TAG = re.compile(re.escape(CACHE_PREFIX) + r"[0-9a-f]{24}:[0-9a-f]{32}")
_LEASE = re.compile(r"-lease-[0-9a-z]+$")
# What `unique_name` makes, for things that are named before anybody knows their test.
_UNIQUE = re.compile(
    r"pysys([0-9]{1,7})-[0-9]{6}-([0-9a-z]{4})([0-9a-f]{6})([0-9a-z]{1,9})-[0-9a-f]{4}"
    r"(?:[-_.:].*)?"
)
#: Label by which compose says to which project something belongs.
COMPOSE_LABEL = "com.docker.compose.project"
#: Label by which swarm says to which stack something belongs.
STACK_LABEL = "com.docker.stack.namespace"

#: Label by which swarm says of which service a container is a task, by name and by id.
SERVICE_NAME_LABEL = "com.docker.swarm.service.name"
SERVICE_ID_LABEL = "com.docker.swarm.service.id"

_ENVIRONMENTS = (COMPOSE_LABEL, STACK_LABEL)
_FOREIGN_NAMES = (*_ENVIRONMENTS, SERVICE_NAME_LABEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Where process ids mean something: one boot, one namespace, one host, one user.

    Attributes:
        boot: The kernel's id of this boot, empty where there is none.
        pid_namespace: The namespace of process ids.
        host: The host name; two containers may share all of the above.
        user: The user id; other users' processes may be hidden from us.
    """

    boot: str
    pid_namespace: str
    host: str
    user: int

    @property
    def scope(self) -> str:
        """Six hexadecimal digits that stand for this domain in a key."""
        words = f"{self.boot}/{self.pid_namespace}/{self.host}/{self.user}"
        return hashlib.sha256(words.encode()).hexdigest()[:6]

    @property
    def can_ask_kernel(self) -> bool:
        """Whether the kernel tells when a process of this domain was started."""
        return bool(self.boot)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Owner:
    """One process that makes things on an engine.

    Attributes:
        scope: Its `Domain.scope`.
        pid: Its process id there.
        start: When it was started, in clock ticks since boot.
    """

    scope: str
    pid: int
    start: int

    @property
    def key(self) -> str:
        """At most 31 characters of ``[a-z0-9-]``, the same for equal owners only."""
        facts = f"{self.scope}-{_base36(self.pid)}-{_base36(self.start)}"
        return f"po{_check_digits(facts)}-{facts}"

    @classmethod
    def parse(cls, name: str) -> Owner | None:
        """Return the owner whose key *name* is or starts with, or None.

        None for everything that merely looks alike: the check digits must be right.
        """
        name = name.lstrip("/")
        if match := _NAME.fullmatch(name):
            check, scope, pid, start = match.groups()
        elif match := _UNIQUE.fullmatch(name):
            number, check, scope, start = match.groups()
            pid = _base36(int(number))
        else:
            return None
        if check != _check_digits(f"{scope}-{pid}-{start}"):
            return None
        return cls(scope=scope, pid=int(pid, 36), start=int(start, 36))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is believed of an owner.

    Attributes:
        alive: Whether its things must be left alone.
        reason: Why, in words.
    """

    alive: bool
    reason: str


def resource_name(owner: Owner, test_id: str, role: str, number: int) -> str:
    """Return the name of what plays *role* for a test.

    Equal arguments give equal names; different owners or numbers give different names.

    Args:
        owner: Who makes it.
        test_id: PySys test id, with its mode if it has one; empty for a whole run.
        role: What it is to the test: ``broker``.
        number: The owner's counter, from 0.

    Returns:
        A DNS label of at most 63 characters.

    Example:
        >>> owner = Owner(scope="42782f", pid=9677, start=15174315)
        >>> resource_name(owner, "ingest_01~Fast", "broker", 12)
        'po996i-42782f-7gt-918kr-ingest-01-fast-broker-c'
    """
    counted = _base36(number)
    room = _MAX_NAME - len(owner.key) - len(counted) - 2
    words = re.sub(r"[^a-z0-9]+", "-", f"{test_id}-{role}".lower()).strip("-")
    # The end of a long test id says more than its beginning.
    readable = words[-room:].strip("-")
    return "-".join(part for part in (owner.key, readable, counted) if part)


def unique_name(owner: Owner, stamp: datetime, draw: str) -> str:
    """Return a name for something whose test and role nobody tells.

    Args:
        owner: Who makes it.
        stamp: The local time.
        draw: Four hexadecimal digits that nobody else draws.

    Returns:
        At most 44 characters that begin with ``pysys``, the process id and the time,
        and hold all of the owner's key.
    """
    check, scope, _, start = re.findall(r"[0-9a-z]+", owner.key.removeprefix("po"))
    return f"pysys{owner.pid}-{stamp:%H%M%S}-{check}{scope}{start}-{draw}"


def lease_name(owner: Owner, number: int) -> str:
    """Return the name of the volume that says that *owner* was alive a moment ago."""
    return f"{owner.key}-lease-{_base36(number)}"


def cache_tag(identity: str, content: str) -> str:
    """Return the tag under which an image is kept for the builds to come.

    Args:
        identity: What is built, as 64 hexadecimal digits: who, from where, how.
        content: What it is built from, as 64 hexadecimal digits.
    """
    return f"{CACHE_PREFIX}{identity[:24]}:{content[:32]}"


def is_cache_tag(name: str) -> bool:
    """Return whether *name* is what `cache_tag` makes."""
    return _CACHE_TAG.fullmatch(name) is not None


def is_lease(found: Found) -> bool:
    """Return whether *found* is a lease."""
    return LEASE_LABEL in found.labels and bool(_LEASE.search(found.resource.name))


def owner_of(found: Found) -> Owner | None:
    """Return who made *found*, or None if that is not us.

    The label decides; what cannot carry it, or lost it, is known by its name or by the
    name of the composition, stack or service that it belongs to. Of an image only the
    tag counts, since an image inherits the labels of what it was made from.
    """
    if found.resource.kind is Kind.IMAGE:
        return Owner.parse(found.resource.name)
    # Empty is what `disowned` leaves to the containers of an image: no label at all.
    if labelled := found.labels.get(RUN_LABEL):
        return Owner.parse(labelled)
    names = [found.resource.name]
    names += [found.labels[key] for key in _FOREIGN_NAMES if key in found.labels]
    owners = (Owner.parse(name) for name in names)
    return next((owner for owner in owners if owner is not None), None)


def environment_of(found: Found) -> str | None:
    """Return the name of the compose project or stack that *found* is part of.

    None if it is part of none of ours. The labels of an image do not tell: it inherits
    those of what it was made from.
    """
    if found.resource.kind is Kind.IMAGE:
        return None
    for label in _ENVIRONMENTS:
        if name := found.labels.get(label):
            return name if Owner.parse(name) else None
    return None


def is_built_for(found: Found, project: str) -> bool:
    """Return whether compose has built an image for a project of ours."""
    separators = tuple(f"{project}{each}" for each in "-_")
    return found.resource.kind is Kind.IMAGE and found.resource.name.startswith(
        separators
    )


def owner_labels(
    owner: Owner, *, test_id: str, lease: float, facts: Mapping[str, str], keep: bool
) -> dict[str, str]:
    """Return the labels of something that *owner* makes.

    Args:
        owner: Who makes it.
        test_id: For whom; empty for a whole run.
        lease: Seconds for which the owner's leases are valid.
        facts: What people may want to know of the owner: host, user, directory.
        keep: Whether only a person removes it once its test has failed.
    """
    told = {"pid": str(owner.pid), "lease": str(lease), **facts}
    labels = {
        RUN_LABEL: owner.key,
        OWNER_LABEL: json.dumps(told, sort_keys=True),
        TEST_LABEL: test_id,
    }
    if keep:
        labels[KEEP_LABEL] = "true"
    return labels


def is_kept(found: Found) -> bool:
    """Return whether *found* waits for a person to remove it."""
    return found.labels.get(KEEP_LABEL) == "true"


def disowned() -> dict[str, str]:
    """Return the labels that an image gets so that its containers inherit no owner."""
    return dict.fromkeys((RUN_LABEL, OWNER_LABEL, TEST_LABEL, KEEP_LABEL), "")


def judge(
    owner: Owner,
    *,
    domain: Domain,
    start_of: Callable[[int], int | None],
    seen: datetime,
    lease: timedelta,
    now: datetime,
) -> Verdict:
    """Say whether *owner* still lives.

    Within one domain the kernel knows. Of an owner elsewhere we know only when it was
    last seen: when it renewed its lease or made something, by the engine's clock.

    Args:
        owner: Whom to judge.
        domain: Where we are.
        start_of: Tells when the process with this id was started, in ticks.
        seen: When the owner was last heard of, by the engine's clock.
        lease: How long the owner may be silent.
        now: The present, by the engine's clock.
    """
    if owner.scope == domain.scope and domain.can_ask_kernel:
        start = start_of(owner.pid)
        if start == owner.start:
            return Verdict(alive=True, reason=f"process {owner.pid} runs")
        if start is None:
            return Verdict(alive=False, reason=f"process {owner.pid} ended")
        return Verdict(
            alive=False,
            reason=f"process {owner.pid} ended, its number was given to another",
        )
    silence = now - seen
    said = f"it was last seen {silence.total_seconds():.0f} s ago"
    told = f"{said}, its lease is {lease.total_seconds():.0f} s"
    return Verdict(alive=silence <= lease, reason=told)


def lease_of(found: Found, default: timedelta) -> timedelta:
    """Return how long the owner of *found* may be silent, by its own word."""
    try:
        told = json.loads(found.labels.get(OWNER_LABEL, "{}"))
        return timedelta(seconds=float(told["lease"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return default


def this_domain() -> Domain:
    """Read where this process runs."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Not os.stat: the number is only in the link's text.
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot, namespace = "", sys.platform
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Domain(
        boot=boot, pid_namespace=namespace, host=socket.gethostname(), user=user
    )


def this_owner(domain: Domain, clock: Clock | None = None) -> Owner:
    """Read who this process is; ask once and keep the answer."""
    pid = os.getpid()
    start = start_of_process(pid)
    if start is None:  # no /proc: a number that no other process will have
        start = int((clock or SystemClock()).stamp().timestamp() * 100)
    return Owner(scope=domain.scope, pid=pid, start=start)


def start_of_process(pid: int) -> int | None:
    """Return when a process was started, or None if there is no such process.

    A process that has ended and waits for its parent to notice counts as ended.

    Returns:
        Clock ticks since boot.

    Source:
        proc(5), ``/proc/[pid]/stat``, fields 3 (state) and 22 (starttime).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name, which may hold blanks and brackets.
    fields = text.rpartition(")")[2].split()
    state, start = fields[0], int(fields[19])
    return None if state in "ZX" else start


def _base36(number: int) -> str:
    digits = ""
    while number >= len(_DIGITS):
        number, rest = divmod(number, len(_DIGITS))
        digits = _DIGITS[rest] + digits
    return _DIGITS[number] + digits


def _check_digits(facts: str) -> str:
    digest = int.from_bytes(hashlib.sha256(facts.encode()).digest()[:8])
    return _base36(digest % 36**4).rjust(4, "0")

"""The reaper's own process: ``python -m pysys_orch.docker.engine.reaping TASK``.

Started by `pysys_orch.docker.engine.reaper.Reaper`, which says what it is for. It is
lean on imports, since every run waits for its first report.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.collect import (
    Policy,
    Report,
    look,
    plan_collection,
    sweep,
)
from pysys_orch.docker.engine.fault import Remedy
from pysys_orch.docker.engine.healing import heal
from pysys_orch.docker.engine.ownership import (
    MARKER_VARIABLE,
    Domain,
    Owner,
    owner_of,
    start_of_process,
)
from pysys_orch.errors import OrchError
from pysys_orch.settings import inherited_environment

#: Seconds after a run's death at which the reaper looks again.
PASSES = (0.0, 0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.5, 8.0)

#: Says that the run is over, and has not waited for the first report.
UNREAD = "unread"

_PATIENCE = 60.0  # an engine may be down at the moment when a run is killed


def collect(
    engine: ApiEngine,
    policy: Policy,
    *,
    clock: Clock,
    patience: float = 5.0,
    only: Owner | None = None,
) -> Report:
    """Remove from an engine what nobody needs any more.

    Args:
        engine: The engine.
        policy: What is needed no more.
        clock: What is waited on.
        patience: Seconds for which to try again what is in use.
        only: Whose things to remove; everybody's by default.
    """
    found, now = look(engine, dated=only is None)
    plan = plan_collection(found, now=now, policy=policy)
    if only is not None:
        own = {each.resource for each in found if owner_of(each) == only}
        plan = [each for each in plan if each.resource in own]
    return sweep(engine, plan, clock=clock, patience=patience)


def told(report: Report) -> dict[str, list[str]]:
    """Return a report as sentences."""
    return {
        "removed": [f"{each.resource}: {each.reason}" for each in report.removed],
        "failures": [str(failure) for failure in report.failures],
    }


def main(task: Mapping[str, Any]) -> None:
    """Be the reaper that *task* describes, until the run is over."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        # A job that is cancelled gets these in all its processes; ours is still to do.
        signal.signal(ignored, signal.SIG_IGN)
    owner = Owner.parse(task["owner"])
    if owner is None:
        message = f"not an owner's key: {task['owner']!r}"
        raise SystemExit(message)
    policy = Policy.here(lease=task["lease"], retention_days=task["retention"])
    environments = [inherited_environment()]
    _end_clients(policy.domain)
    answer: dict[str, list[str]] = {"removed": [], "failures": []}
    try:
        # What the run itself left comes first, if that is dead already.
        if not _is_dead(owner, policy.domain):
            connected = ApiEngine.connect(environments[0], timeout=task["answer"])
            with contextlib.closing(connected) as engine:
                answer = told(collect(engine, policy, clock=SystemClock()))
    except OrchError as failure:
        answer["failures"].append(str(failure))
    with contextlib.suppress(OSError):  # the run may be gone already
        print(json.dumps(answer), flush=True)  # noqa: T201 -- this is how it speaks
    remedies: dict[str, dict[str, Any]] = {}
    for heard in _messages(sys.stdin, owner):
        if "remedy" in heard:
            remedies[heard["remedy"]["name"]] = heard["remedy"]
            continue
        if "healed" in heard:
            remedies.pop(heard["healed"], None)
            continue
        if "over" in heard:
            _heal(remedies)  # what the run itself could not
            for line in answer["removed"] if heard["over"] == UNREAD else ():
                _write(f"removed {line}")
            if answer["removed"]:
                # Whoever left it may have asked the engine for more with its last
                # breath.
                _pass(environments[0], policy, SystemClock())
            return
        environments.append({**inherited_environment(), **heard["engine"]})
    for line in answer["removed"]:
        if owner.key in line:
            # The run was dead already when the engine was first looked at.
            _write(f"removed {line}")
    _reap(owner, policy, environments, remedies, clock=SystemClock())


def _messages(stream: IO[str], owner: Owner) -> Iterator[dict[str, Any]]:
    """Yield what a run says, until it is dead.

    The end of the stream alone does not tell: a process that the run forked may hold
    the other end.
    """
    watched = [stream.fileno()]
    died_early = False
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            watched.append(os.pidfd_open(owner.pid))
        died_early = start_of_process(owner.pid) != owner.start
    buffer = b""
    while True:
        ready, _, _ = select.select(watched, [], [], 0 if died_early else None)
        if stream.fileno() not in ready:
            return
        # What the run said with its last breath counts.
        data = os.read(stream.fileno(), 65536)
        *lines, buffer = (buffer + data).split(b"\n")
        yield from (json.loads(line) for line in lines)
        if not data:
            return


def _reap(
    owner: Owner,
    policy: Policy,
    environments: list[dict[str, str]],
    remedies: dict[str, dict[str, Any]],
    *,
    clock: Clock,
) -> None:
    """Heal what *owner* has disturbed, and remove all that it has or still gets."""
    _end_clients(policy.domain)
    _heal(remedies)
    begin = clock.instant()
    never = threading.Event()
    mine = replace(policy, known=(owner,))
    waiting = True
    passes = iter(PASSES)
    while waiting and clock.instant() < begin + _PATIENCE:
        at = next(passes, None)
        clock.wait_until(clock.instant() + 1.0 if at is None else begin + at, never)
        quiet = True
        for environment in environments:
            # Of others' things others take care, and the next run of all that is left.
            quiet &= _pass(environment, mine, clock, only=owner)
        _heal(remedies)
        waiting = bool(remedies) or not quiet or clock.instant() < begin + PASSES[-1]
        _end_clients(policy.domain)


def _heal(remedies: dict[str, dict[str, Any]]) -> None:
    """Undo faults, the last one first; what is undone is no remedy any more."""
    for name, said in reversed(list(remedies.items())):
        remedy = Remedy.of(said)
        words = f"{remedy.action} of container {remedy.container[:12]}"
        try:
            environment = {**inherited_environment(), **said["engine"]}
            with contextlib.closing(ApiEngine.connect(environment)) as engine:
                note = heal(engine, remedy)
        except Exception as failure:  # noqa: BLE001 -- the others are healed too
            _write(f"not healed: {words}: {failure}")
            continue
        del remedies[name]
        _write(f"healed: {words}{f': {note}' if note else ''}")


def _pass(
    environment: Mapping[str, str],
    policy: Policy,
    clock: Clock,
    *,
    only: Owner | None = None,
) -> bool:
    """Look once; return whether there was nothing to do."""
    try:
        with contextlib.closing(ApiEngine.connect(environment)) as engine:
            report = collect(engine, policy, clock=clock, patience=1.0, only=only)
    except OrchError as failure:
        _write(str(failure))
        return False
    for line in told(report)["removed"]:
        _write(f"removed {line}")
    for line in told(report)["failures"]:
        _write(f"left: {line}")
    return not report.removed and not report.failures


def _end_clients(domain: Domain) -> None:
    """End the docker clients that dead runs left behind, by their mark.

    What they asked an engine for would go on being made.
    """
    mark = f"{MARKER_VARIABLE}=".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            for variable in entry.read_bytes().split(b"\0"):
                if not variable.startswith(mark):
                    continue
                key = variable.removeprefix(mark).decode("ascii", "replace")
                owner = Owner.parse(key)
                if owner is not None and _is_dead(owner, domain):
                    os.kill(int(entry.parent.name), signal.SIGKILL)


def _is_dead(owner: Owner, domain: Domain) -> bool:
    """Return whether an owner of this domain has ended; False for all others."""
    here = owner.scope == domain.scope and domain.can_ask_kernel
    return here and start_of_process(owner.pid) != owner.start


def _write(line: str) -> None:
    stamp = SystemClock().stamp().isoformat(timespec="milliseconds")
    print(f"{stamp} {line}", file=sys.stderr, flush=True)  # noqa: T201 -- its log


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
    sys.stderr.flush()
    os._exit(0)  # somebody waits for it, and there is nothing left to tidy up

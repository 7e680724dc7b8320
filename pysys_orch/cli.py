"""``pysys-orch``: what is worth doing by hand."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace

from pysys_orch import __version__
from pysys_orch.clock import SystemClock
from pysys_orch.errors import ConfigError, OrchError
from pysys_orch.escalation import commands as escalation
from pysys_orch.orchestration import commands as orchestration


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Those of the command line by default.

    Returns:
        The exit status: 0 if all went well, 1 if something is left, 2 if nothing could
        be done.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except OrchError as failure:
        print(f"pysys-orch: {failure}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read this has seen enough. Python would say so once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pysys-orch", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    collect = commands.add_parser(
        "collect",
        help="remove what runs that are over left on the Docker Engine",
        description=(
            "Remove what runs that are over left on the Docker Engine: containers, "
            "networks, volumes and the rest, and images that nobody used for some "
            "days. What a living run owns, and what is not pysys_orch's, stays."
        ),
    )
    collect.add_argument(
        "--dry-run", action="store_true", help="show what would be removed"
    )
    collect.add_argument("--json", action="store_true", help="report as JSON")
    collect.add_argument(
        "--kept",
        action="store_true",
        help="also what was kept for debugging (-XdockerKeep=true)",
    )
    collect.add_argument(
        "--image-retention-days",
        type=float,
        metavar="DAYS",
        help="how long an unused image is kept (7)",
    )
    collect.set_defaults(command=_collect)
    mock = commands.add_parser(
        "mock-squadcast",
        help="serve a mock of SquadCast, and show what it is told",
        description=(
            "Serve a mock of SquadCast on the loopback until it is interrupted, and "
            "print each request and what became of it. The key is taken from the "
            "environment variable ESCALATION_KEY, and is not shown."
        ),
    )
    mock.add_argument(
        "--port", type=int, default=8088, help="the TCP port (8088); 0 is any"
    )
    mock.add_argument(
        "--duplicates",
        choices=["reject", "open", "fold"],
        default="open",
        help="what becomes of a trigger whose id is known (open)",
    )
    mock.set_defaults(command=_mock_squadcast)
    escalation.register(commands)
    orchestration.register(commands)
    return parser


def _mock_squadcast(options: argparse.Namespace) -> int:
    from pysys_orch.escalation.mock import MockSquadCast, Received

    def show(received: Received) -> None:
        at = received.at.isoformat(timespec="seconds")
        print(f"{at} {received.status or 'no answer'}: {received.verdict}")
        print(f"  {received.body.decode('utf-8', 'replace')}", flush=True)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with MockSquadCast.running(
            options.port, duplicates=options.duplicates, tell=show
        ) as server:
            print(f"SquadCast is {server.url}; Ctrl-C ends it", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    except (OSError, RuntimeError) as failure:
        message = f"cannot serve on port {options.port}: {failure}"
        raise ConfigError(message) from None
    return 0


def _collect(options: argparse.Namespace) -> int:
    from pysys_orch.docker.engine.client import ApiEngine
    from pysys_orch.docker.engine.collect import (
        Policy,
        look,
        plan_collection,
        sweep,
    )
    from pysys_orch.settings import docker_settings

    settings = docker_settings()
    if options.image_retention_days is not None:
        settings = replace(settings, retention_days=options.image_retention_days)
    engine = ApiEngine.connect(settings.environment, timeout=settings.answer_timeout)
    policy = Policy.here(
        lease=settings.lease,
        retention_days=settings.retention_days,
        take_kept=options.kept,
    )
    listing, now = look(engine)
    plan = plan_collection(listing, now=now, policy=policy)
    failures: list[str] = []
    if not options.dry_run:
        report = sweep(engine, plan, clock=SystemClock())
        plan = list(report.removed)
        failures = [str(failure) for failure in report.failures]
    if options.json:
        rows = [
            {
                "kind": each.resource.kind,
                "name": each.resource.name,
                "reason": each.reason,
            }
            for each in plan
        ]
        key = "would_remove" if options.dry_run else "removed"
        print(json.dumps({key: rows, "failures": failures}, indent=2))
    else:
        verb = "would remove" if options.dry_run else "removed"
        for each in plan:
            print(f"{verb} {each.resource}: {each.reason}")
        print(f"{verb} {len(plan)} in all")
        for failure in failures:
            print(f"left: {failure}", file=sys.stderr)
    return 1 if failures else 0

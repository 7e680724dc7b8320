"""Measures pysys_orch against the raw Engine API and its peers, and prints a report.

    python -m benchmarks.docker [name ...] [--rounds N] [--quiet PERCENT] [--json FILE]
                                       [--containers N]

It is a report and no test: the exit status is 0 unless something broke.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.docker import (
    builds,
    environments,
    imports,
    leftovers,
    lifecycle,
    logs,
    many,
    monitor,
    runs,
)
from benchmarks.docker.bench import Bench, opened
from benchmarks.measure import Report, Rounds, command_line, run_all

BENCHMARKS = {
    "lifecycle": lifecycle.run,
    "build": builds.run,
    "environments": environments.run,
    "leftovers": leftovers.run,
    "run": runs.run,
    "import": imports.run,
    "logs": logs.run,
    "many": many.run,
    "monitor": monitor.run,
}
_PACKAGES = ("pysys", "docker", "testcontainers", "python-on-whales")


def main() -> int:
    """Run what was asked for; return the exit status."""
    numbers = {"containers": (many.CONTAINERS, "how many there are of `many`")}
    arguments = command_line("docker", BENCHMARKS, to_json=True, numbers=numbers)
    for ends in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ends, signal.default_int_handler)  # with everything removed
    rounds = Rounds(number=arguments.rounds, quiet=arguments.quiet)
    with opened() as bench:
        about = _about(bench)
        print("\n".join(f"{key}: {value}" for key, value in about.items()), flush=True)
        named = {
            name: partial(each, bench, rounds) for name, each in BENCHMARKS.items()
        }
        named["many"] = partial(many.run, bench, rounds, arguments.containers)
        reports, status = run_all(named, arguments.names)
    if arguments.json:
        _write(arguments.json, about, reports)
    return status


def _about(bench: Bench) -> dict[str, str]:
    """Return what the figures depend on."""
    engine = bench.version
    client = os.popen(f"{bench.docker} version --format '{{{{.Client.Version}}}}'")
    return {
        "engine": f"{engine['Version']} (kernel {engine['KernelVersion']})",
        "docker client": client.read().strip(),
        "Python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "CPUs": str(os.cpu_count()),
        "load": " ".join(f"{each:.2f}" for each in os.getloadavg()),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed: pip install 'pysys_orch[benchmarks]'"


def _write(path: Path, about: dict[str, str], reports: list[Report]) -> None:
    written = [
        {**asdict(report), "verdicts": [bar.verdict for bar in report.bars]}
        for report in reports
    ]
    text = json.dumps({"about": about, "reports": written}, indent=2)
    path.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

"""What an import costs, in fresh processes that find their bytecode.

It waits for nothing, so CPU time is compared: that of a busy machine tells the same.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.docker.bench import Bench
from benchmarks.measure import Bar, Figures, Report, Rounds, values

ROUNDS = 20
_PACKAGE = "pysys_orch.docker"
_CLASSES = "DockerContainer and DockerImage, after PySys"
#: Variant -> what is imported before the clock starts, and what after.
_IMPORTS = {
    _PACKAGE: ("pass", "import pysys_orch.docker"),
    _CLASSES: (
        "import pysys, pysys.basetest, pysys.constants, pysys.exceptions",
        "from pysys_orch.docker import DockerContainer, DockerImage",
    ),
    "PySys": (
        "pass",
        "import pysys, pysys.basetest, pysys.constants, pysys.exceptions",
    ),
    "docker SDK": ("pass", "import docker"),
    "testcontainers": ("pass", "import testcontainers.core.container"),
    "python-on-whales": ("pass", "import python_on_whales"),
}
_CODE = """\
import time
{before}
begin, cpu = time.perf_counter(), time.process_time()
{measured}
print((time.process_time() - cpu) * 1000, (time.perf_counter() - begin) * 1000)
"""


def run(bench: Bench, rounds: Rounds) -> Iterator[Report]:
    """Compare the library with what others import."""
    samples, busy = rounds.interleave(
        {
            name: partial(_measure, bench, _CODE.format(before=before, measured=after))
            for name, (before, after) in _IMPORTS.items()
        },
        ROUNDS,
    )
    yield Report(
        title="Import (CPU time)",
        samples=samples,
        baseline="docker SDK",
        busy=busy,
        bars=[
            Bar(
                promise=f"import of {name}",
                measured=values(samples, name),
                limit=20,
                unit="ms",
            )
            for name in (_PACKAGE, _CLASSES)
        ],
    )


def _measure(bench: Bench, code: str) -> Figures:
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=bench.environment(),
        stdout=subprocess.PIPE,
    )
    cpu, wall = done.stdout.split()
    return {"total": float(cpu), "wall": float(wall)}

"""Events that run in other processes, which find them here by their names."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from pysys_orch.orchestration.switch import KillSwitch


def leave_pid(path: str) -> None:
    """Write down which process this is."""
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 -- an event
        file.write(f"{os.getpid()}\n")


def breaks() -> None:
    """Fail."""
    message = "no"
    raise ValueError(message)


async def coroutine() -> None:
    """Fail later."""
    message = "from a coroutine"
    raise ValueError(message)


def leaves() -> None:
    """End the process without a word."""
    os._exit(3)


def hangs() -> None:
    """Listen to nobody."""
    time.sleep(600)


def starts_another(path: str) -> None:
    """Listen to nobody, beside a program that does not either."""
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 -- an event
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)


def takes(box: object) -> None:
    """Take what it is given."""


def waits(kill_switch: KillSwitch, path: str) -> None:
    """End when told to, and say so."""
    if kill_switch.wait(60):
        leave_pid(path)


def pulls(kill_switch: KillSwitch) -> None:
    """End the run."""
    kill_switch.set()


def reports(result_reporter: Any) -> None:  # noqa: ANN401 -- a reporter
    """Report from another process."""
    result_reporter.add_result({"error": f"from {os.getpid()}"})


def exits() -> None:
    """Exit as programs do."""
    sys.exit(4)


def pool() -> Executor:
    """Return an executor of one's own."""
    return ThreadPoolExecutor(2)

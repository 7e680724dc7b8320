"""Fakes that keep the promises of the real thing, for your tests as for ours.

A test that uses them needs no engine and never waits:

* `ManualClock` is a clock that is a number.
* `MemoryEngine` is a Docker Engine that is a dictionary, as far as a collection of
  leftovers is concerned.
* `run_virtual` runs a coroutine on an event loop that moves a `ManualClock` where it
  would wait.

Each is held to its promises by tests that it shares with what it stands for.
"""

from __future__ import annotations

from pysys_orch.testing.clock import ManualClock
from pysys_orch.testing.engine import MemoryEngine
from pysys_orch.testing.loop import DeadlockError, VirtualLoop, run_virtual

__all__ = [
    "DeadlockError",
    "ManualClock",
    "MemoryEngine",
    "VirtualLoop",
    "run_virtual",
]

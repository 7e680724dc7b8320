"""What is measured in a process of its own, so that nothing is left of it.

    python -m benchmarks.livecheck.alone MEASUREMENT [ARGUMENT ...]

prints figures as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import ModuleType

from benchmarks.measure import Figures

_KIBI = 1024
_CONNECTIONS = 50


def executions(engine: str, outcome: str, number: str) -> Figures:
    """Return how many microseconds the execution of a test takes."""
    count = int(number)
    if engine == "faust":
        work = _theirs().executed(outcome, count)
    else:
        from benchmarks.livecheck import ours

        cls = {"passing": ours.Passes, "failing": ours.Fails}[outcome]
        work = ours.executed(cls, count)
    took = asyncio.run(work)
    return {"total": took / count * 1e6, "a second": count / took}


def signals(engine: str, number: str) -> Figures:
    """Return how many microseconds a signal takes that an execution waits for."""
    count, found = int(number), Figures()

    async def look() -> None:
        found["tasks"] = len(asyncio.all_tasks()) / count
        found["KiB"] = (_resident() - before) / count / _KIBI

    if engine == "faust":
        module = _theirs()
    else:
        from benchmarks.livecheck import ours as module
    # What the first ones bring with them belongs to none.
    asyncio.run(module.resolved(10, _nothing))
    gc.collect()
    before = _resident()
    took = asyncio.run(module.resolved(count, look))
    return {"total": took / count * 1e6, "a second": count / took, **found}


def history(number: str) -> Figures:
    """Return what a case holds after so many executions, in KiB."""
    from benchmarks.livecheck import ours
    from pysys_orch.livecheck import LiveCheck

    async def main() -> float:
        async with LiveCheck() as app:
            case = app.add_case(ours.Passes)
            await case.execute(ours.test_of(case, -1))
            tracemalloc.start()
            before = _held()
            for each in range(int(number)):
                await case.execute(ours.test_of(case, each))
            return (_held() - before) / _KIBI

    return {"total": asyncio.run(main())}


def receiver(number: str, rate: str) -> Figures:
    """Return what a signal takes that another process sends by HTTP.

    Args:
        number: How many it sends.
        rate: How many a second; 0 is as many as can be.
    """
    from benchmarks.livecheck import ours
    from pysys_orch.livecheck import LiveCheck, Topic
    from pysys_orch.livecheck.receiver import Receiver

    count, seen = int(number), 0

    async def note(_key: str, _message: dict[str, object]) -> None:
        nonlocal seen
        seen += 1

    async def send(place: str, some: int) -> Figures:
        argv = ["-m", "benchmarks.livecheck.client", place, "Short", str(some)]
        client = await asyncio.create_subprocess_exec(
            sys.executable, *argv, str(_CONNECTIONS), rate, stdout=subprocess.PIPE
        )
        said, _ = await client.communicate()
        figures: Figures = json.loads(said)
        return figures

    async def main() -> Figures:
        nonlocal seen
        app = LiveCheck()
        # What came is kept until nobody can wait for it any more.
        app.add_case(ours.Waits, name="Short", test_expires=5)
        app.bus.subscribe(Topic.SIGNALS, note)
        async with app, Receiver(app) as at:
            # The first ones bring with them what stays.
            await send(f"127.0.0.1:{at.port}", min(count, 10_000))
            before, seen = _resident(), 0
            found = await send(f"127.0.0.1:{at.port}", count)
            grown = (_resident() - before) / _KIBI
        return {
            "total": found["took"] / count * 1e6,
            "a second": count / found["took"],
            "p99": found["p99"],
            "lost": count - seen,
            "grown KiB": grown,
        }

    return asyncio.run(main())


def imports(statement: str) -> Figures:
    """Return how long a statement takes that imports the wing, in milliseconds.

    Args:
        statement: What a process does that has imported nothing before.
    """
    argv = [sys.executable, "-c", _IMPORTS.format(statement)]
    said = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
    took, _, heavy = said.strip().partition(" ")
    if heavy:
        raise AssertionError(heavy)
    return {"total": float(took) * 1000}


_IMPORTS = """
import sys, time
begin = time.perf_counter()
{}
took = time.perf_counter() - begin
print(took, *{{"pysys", "aiohttp", "docker", "sqlalchemy"}} & sys.modules.keys())
"""


def _theirs() -> ModuleType:
    logging.disable(logging.CRITICAL)
    return importlib.import_module("benchmarks.livecheck.theirs")


async def _nothing() -> None:
    pass


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


MEASUREMENTS = {
    each.__name__: each for each in (executions, signals, history, receiver, imports)
}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps(MEASUREMENTS[sys.argv[1]](*sys.argv[2:])))

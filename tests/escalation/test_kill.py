"""Runs that are killed at any moment, and a service that fails at random."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from pysys_orch.escalation import Fault, MockSquadCast
from tests.nested import NestedProject

KEY = "0123456789abcdef0123456789abcdef01234567"
SEED = 20261121
KILLS = 200
PARALLEL = 2
#: Seconds: PySys takes a good half of one to start, run its tests and tell of them.
LATEST_MOMENT = 1.2
TESTS = ("a", "b", "c")
BODY = """
    if pathlib.Path(self.input, 'broken.txt').read_text() == 'yes':
        self.addOutcome(FAILED, 'it broke')
"""
WRITER = """
<writer classname="pysys_orch.escalation.SquadCastWriter">
    <property name="escalate" value="true"/>
    <property name="stream" value="{stream}"/>
    <property name="groupBy" value="test"/>
    <property name="url" value="{url}"/>
    <property name="flushTimeoutSecs" value="20"/>
</writer>
"""


class Nightly:
    """A suite of some tests, of which some are broken at times."""

    def __init__(self, folder: Path, stream: str, url: str) -> None:
        self._folder = folder
        self._project = NestedProject(
            folder, plugin=False, properties=WRITER.format(stream=stream, url=url)
        )
        for name in TESTS:
            self._project.test(name, BODY)
        self.change(set())

    def change(self, broken: set[str]) -> None:
        for name in TESTS:
            text = "yes" if name in broken else "no"
            (self._folder / name / "broken.txt").write_text(text)

    def run(self) -> None:
        assert self._project.run(environment={"ESCALATION_KEY": KEY}) in {0, 2}

    def kill(self, moment: float) -> None:
        process = self._project.start(environment={"ESCALATION_KEY": KEY})
        threading.Event().wait(moment)
        process.kill()
        process.wait()


@pytest.mark.timeout(900)
def test_nothing_is_lost_and_nobody_is_told_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two hundred kills what is open is what fails.

    What was repeated, since its answer was lost, is the same to the byte.
    """
    monkeypatch.setenv("ESCALATION_KEY", KEY)
    chances = random.Random(SEED)
    faults = [
        *[None] * 6,
        Fault(status=503),
        Fault(status=429, headers={"Retry-After": "1"}),
        Fault(cut=True),
        Fault(cut=True, processed=True),
    ]
    with MockSquadCast.running(
        duplicates="fold", chaos=lambda: chances.choice(faults)
    ) as server:

        def worker(number: int) -> set[tuple[str, str]]:
            generator = random.Random(SEED + number)
            stream = f"stream {number}"
            nightly = Nightly(tmp_path / str(number), stream, server.url)
            nightly.run()  # so that something is known
            broken: set[str] = set()
            for kill in range(KILLS // PARALLEL):
                if kill % 5 == 0:
                    broken = {each for each in TESTS if generator.random() < 0.5}
                    nightly.change(broken)
                nightly.kill(generator.uniform(0.2, LATEST_MOMENT))
            nightly.run()
            deadline = time.monotonic() + 60
            while waiting(tmp_path / str(number)) and time.monotonic() < deadline:
                nightly.run()
            return {(stream, each) for each in broken}

        with ThreadPoolExecutor(PARALLEL) as pool:
            expected = set[tuple[str, str]]().union(*pool.map(worker, range(PARALLEL)))
        opened = server.open_incidents()

    found = [(each["tags"]["stream"], each["tags"]["group"]) for each in opened]
    assert sorted(found) == sorted(expected)
    told = defaultdict(list)
    for received in server.requests:
        if received.body:
            said = json.loads(received.body)
            told[said["event_id"]].append((said["status"], received.body))
    repeated = [
        (before, after)
        for requests in told.values()
        for before, after in pairwise(requests)
        if before[0] == after[0]
    ]
    assert repeated, "nothing had to be told again"
    assert all(before == after for before, after in repeated)


def waiting(folder: Path) -> bool:
    """Return whether something is still to be sent."""
    with sqlite3.connect(folder / "__pysys_escalation.db") as database:
        query = "select count(*) from escalation_events where status != 'delivered'"
        (count,) = database.execute(query).fetchone()
    database.close()
    return bool(count)

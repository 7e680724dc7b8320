"""A PySys project with tests that watch, for tests of what becomes of them."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from tests.nested import NestedProject

TEST = """\
__pysys_title__ = " A shop "
import asyncio
import dataclasses
import json
import os
import pathlib
import threading
import urllib.request
import pysys.basetest
from pysys.constants import *
from pysys_orch.livecheck import *

@dataclasses.dataclass
class Order:
    id: str
    amount: int

class Checkout(Case):
    order_sent: Signal[Order]
    order_shipped: Signal[str]
    probability = 1.0

    async def run(self, order_id, *, amount=1):
        order = await self.order_sent.wait(timeout=30)
        assert order.amount == amount, f"{{order.amount}} instead of {{amount}}"
        await self.order_shipped.wait(timeout=30)

class Says(Case):
    async def run(self, what="PASS"):
        if what == "FAIL":
            assert False, "what was sent never came"
        if what == "ERROR":
            raise KeyError("amount")
        if what == "TIMEOUT":
            raise LiveCheckTestTimeout("Timed out waiting for signal shipped (1.0)")
        if what == "SKIP":
            raise LiveCheckTestSkipped("not today")

class Other(Case):
    async def run(self):
        pass

def post(url, path, said):
    body = json.dumps(said).encode()
    request = urllib.request.Request(url + path, body, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)

class PySysTest({bases}):
    def say(self, live, *states, case="Says"):
        for number, state in enumerate(states, 1):
            live.call(live.case(case).trigger(f"t{{number}}", state))
        live.waitForIdle()

    def execute(self):
{execute}

    def validate(self):
{validate}
"""
VALIDATE = "self.assertLiveCheck(self.live)"


class Shop:
    """A project with a test that watches."""

    def __init__(self, folder: Path, *, properties: str = "") -> None:
        self.folder = folder
        self.project = NestedProject(folder, plugin=False, properties=properties)

    def test(
        self,
        execute: str,
        validate: str = VALIDATE,
        *,
        name: str = "shop",
        bases: str = "LiveCheckTest",
    ) -> None:
        """Have a test."""
        (self.folder / name).mkdir()
        parts = {
            part: textwrap.indent(textwrap.dedent(text), " " * 8)
            for part, text in (("execute", execute), ("validate", validate))
        }
        text = TEST.format(bases=bases, **parts)
        (self.folder / name / "pysystest.py").write_text(text)

    def run(self, *arguments: str) -> str:
        """Run; return what was printed, with all logs."""
        self.project.run("--printLogs", "ALL", *arguments, timeout=60)
        return self.project.said()

    def outcome(self, name: str = "shop") -> tuple[str, str]:
        """Return what became of a test, and why."""
        result = self.project.results()[name]
        return result.outcome, result.reason

    def reports(self, case: str, folder: str = "livecheck") -> list[dict[str, Any]]:
        """Return the reports of a case that were written."""
        (file,) = self.folder.rglob(f"{folder}/{case}.jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()]

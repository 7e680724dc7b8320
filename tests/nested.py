"""Runs PySys projects that a test writes, as a user would run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = """\
<?xml version="1.0" encoding="utf-8"?>
<pysysproject>
	<requires-pysys>2.2</requires-pysys>
	<property name="defaultEnvironsTempDir" value="self.output"/>
	{properties}
	{plugin}
	<writers>
		<writer classname="{writer}" file="results.json"/>
	</writers>
	<pysysdirconfig><input-dir>.</input-dir></pysysdirconfig>
</pysysproject>
"""
WRITER = "pysys.writer.outcomes.JSONResultsWriter"
PLUGIN = '<runner-plugin classname="pysys_orch.docker.DockerRunnerPlugin"/>'
TEST = """\
__pysys_title__ = r''' {name} '''
import os, pathlib
import pysys.basetest
from pysys.constants import *
from pysys_orch.docker import *

class PySysTest(DockerTestHelper, pysys.basetest.BaseTest):
    def execute(self):
{body}
    def validate(self):
        self.addOutcome(PASSED)
"""


@dataclass(frozen=True)
class Result:
    """What became of one test: its outcome and why, and where its output is."""

    outcome: str
    reason: str
    output: Path


class NestedProject:
    """A PySys project in a folder of a test's own."""

    def __init__(
        self, folder: Path, *, plugin: bool = True, properties: str = ""
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        text = PROJECT.format(
            plugin=PLUGIN if plugin else "", properties=properties, writer=WRITER
        )
        (folder / "pysysproject.xml").write_text(text, encoding="utf-8")

    def test(self, name: str, body: str, **files: str) -> Path:
        """Add a test whose ``execute`` has this body; return its folder."""
        folder = self.folder / name
        folder.mkdir()
        indented = textwrap.indent(textwrap.dedent(body), " " * 8)
        text = TEST.format(name=name, body=indented)
        (folder / "pysystest.py").write_text(text, encoding="utf-8")
        for file, content in files.items():
            (folder / file).write_text(content, encoding="utf-8")
        return folder

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """Start ``pysys run`` in a session of its own, its output in ``run.txt``.

        Args:
            arguments: More arguments of ``pysys run``.
            environment: Variables that are added to the environment.
            within: A command that executes another one, such as ``nsenter``.
        """
        inherited = {
            key: text
            for key, text in os.environ.items()
            if key != "PYSYS_PROJECT_APPEND"
        }
        inherited |= environment or {}
        with (self.folder / "run.txt").open("w") as output:
            return subprocess.Popen(
                [*within, sys.executable, "-m", "pysys", "run", "--record", *arguments],
                cwd=self.folder,
                env=inherited,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
        timeout: float = 300,
    ) -> int:
        """Run it to its end; return the exit status."""
        process = self.start(*arguments, environment=environment, within=within)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"no end within {timeout} s:\n{self.said()}") from None

    def said(self) -> str:
        """Return what the run printed."""
        return (self.folder / "run.txt").read_text(encoding="utf-8", errors="replace")

    def results(self) -> dict[str, Result]:
        """Return what became of each test."""
        told = json.loads((self.folder / "results.json").read_text(encoding="utf-8"))
        return {
            each["testId"]: Result(
                outcome=each["outcome"],
                reason=each.get("outcomeReason", ""),
                output=self.folder
                / each["testDir"]
                / "Output"
                / told["runDetails"]["outDirName"],
            )
            for each in told["results"]
        }

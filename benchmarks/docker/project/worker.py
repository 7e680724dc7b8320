"""The test inside of which pysys_orch is measured, told what to do over a socket."""

__pysys_title__ = "Worker of the benchmarks"

import traceback
from multiprocessing.connection import Client

import pysys.basetest
from pysys.constants import PASSED

from benchmarks.docker.tasks import TASKS


class PySysTest(pysys.basetest.BaseTest):
    def execute(self) -> None:
        with Client(self.address) as driver:
            while True:
                try:
                    task, arguments = driver.recv()
                except EOFError:
                    break
                try:
                    answer = True, TASKS[task](self, *arguments)
                except Exception:  # noqa: BLE001 -- the driver is told
                    answer = False, traceback.format_exc()
                driver.send(answer)
        self.addOutcome(PASSED)

    def validate(self) -> None:
        pass

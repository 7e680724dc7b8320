"""A test that does nothing: what PySys itself costs."""

__pysys_title__ = "Nothing"

import pysys.basetest
from pysys.constants import PASSED


class PySysTest(pysys.basetest.BaseTest):
    def execute(self) -> None:
        self.addOutcome(PASSED)

    def validate(self) -> None:
        pass

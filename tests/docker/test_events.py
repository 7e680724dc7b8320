"""What goes wrong with a container in an event is a failure of the event."""

from __future__ import annotations

import re

import pytest

from tests.conftest import BUSYBOX
from tests.nested import NestedProject, Result

EVENTS = """\
def ask(test):
    test.web.exec(['true'])

def freeze(test):
    test.freeze.start()

def enough(test):
    test.web.exec(['true'], abortOnError=False)
"""
BODY = f"""
    from pysys_orch.orchestration import OrchestrationFront
    self.web = self.docker.container('{BUSYBOX}', 'web').run(['sh', '-c', 'exit 137'])
    self.web.waitForExit()
    self.freeze = self.docker.faults.pause(self.web)
    orchestration = OrchestrationFront()
    orchestration.setup(self)
    orchestration.orchestrate({{
        'test_name': 'x', 'duration': 0, 'events': [{{'name': NAME, **MORE}}]
    }}, sources=['events.py'])
"""
#: An event, what its description says besides, the outcome, and the whole reason.
DEAD = "`docker exec web true` exited with 1: .* is not running .*"
CASES = {
    "tolerated": ("ask", "'on_failure': 'ignore'", "PASSED", "x: 1 firings.*"),
    "a_fault_tolerated": (
        "freeze",
        "'on_failure': 'ignore'",
        "PASSED",
        "x: 1 firings.*",
    ),
    "untold": ("ask", "", "FAILED", f"ask failed after .* s: DockerError: {DEAD}"),
    "a_fault_untold": (
        "freeze",
        "",
        "FAILED",
        "freeze failed after .* container web .*",
    ),
    "wanted_as_outcome": ("enough", "'on_failure': 'ignore'", "BLOCKED", DEAD),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Run each as a test."""
    nested = NestedProject(tmp_path_factory.mktemp("events"))
    for name, (event, more, _, _) in CASES.items():
        body = BODY.replace("NAME", repr(event)).replace("**MORE", more)
        nested.test(name, body, **{"events.py": EVENTS})
    nested.run("--threads", "2")
    return nested.results()


@pytest.mark.docker
@pytest.mark.parametrize("name", CASES)
def test_the_description_decides(name: str, results: dict[str, Result]) -> None:
    """An outcome of its own it is only where that is asked for."""
    _, _, outcome, reason = CASES[name]
    assert (results[name].outcome, name) == (outcome, name), results[name].reason
    assert re.fullmatch(reason, results[name].reason), results[name].reason

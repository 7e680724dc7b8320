"""Kill switches, and who waits for them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pysys_orch.clock import SystemClock
from pysys_orch.orchestration import switch as switches
from pysys_orch.orchestration.retrying import Retried
from pysys_orch.orchestration.switch import KillSwitch

MONTHS = 3e6


@pytest.mark.parametrize("timeout", [MONTHS, 1e12, float("inf"), None])
def test_one_can_wait_for_it_for_as_long_as_one_likes(timeout: float | None) -> None:
    """Also for longer than the system can say in milliseconds."""
    switch = KillSwitch()
    threading.Timer(0.05, switch.cancel).start()
    assert switch.wait(timeout)


def test_who_waits_long_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many times the system has to be asked for it."""
    monkeypatch.setattr(switches, "_LONGEST_WAIT", 0.01)
    clock, switch = SystemClock(), KillSwitch()
    begin = clock.instant()
    assert not switch.wait(0.055)
    assert 0.05 < clock.instant() - begin < 5


def test_a_retry_may_be_months_away() -> None:
    """And does not come once the run has ended."""
    switch = KillSwitch()
    tries = []

    def fails() -> None:
        tries.append(1)
        raise ValueError

    retried = Retried(
        fails, retries=1, delay=MONTHS, clock=SystemClock(), switch=switch
    )
    with ThreadPoolExecutor(1) as pool:
        threading.Timer(0.2, switch.cancel).start()
        failure = pool.submit(retried).exception(10)
    assert isinstance(failure, ValueError)
    assert len(tries) == 1

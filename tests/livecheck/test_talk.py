"""How much is logged of what fails again and again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.livecheck.talk import EVERY, WHOLE, Talk


def test_the_first_failures_are_all_logged() -> None:
    """A hundred of them: nobody has to look for those elsewhere."""
    talk = Talk()
    assert [talk.due() for _ in range(WHOLE)] == [0] * WHOLE
    assert talk.due() is None


def test_a_million_failures_are_a_thousand_in_the_log() -> None:
    """Each says how many it stands for."""
    talk = Talk()
    told = [each for each in (talk.due() for _ in range(1_000_000)) if each is not None]
    assert len(told) == WHOLE + (1_000_000 - WHOLE) // EVERY
    assert set(told) == {0, EVERY - 1}


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_each_failure_is_logged_or_counted(whole: int, every: int, n: int) -> None:
    """None is lost."""
    talk = Talk(whole=whole, every=every)
    told = [each for each in (talk.due() for _ in range(n)) if each is not None]
    assert len(told) + sum(told) + talk.left_out == n

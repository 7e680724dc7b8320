"""Durations, in whatever form a user gives them."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.errors import ConfigError
from pysys_orch.livecheck.durations import Duration, seconds_of


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (0, 0.0),
        (30, 30.0),
        (0.25, 0.25),
        (timedelta(minutes=30), 1800.0),
        ("30s", 30.0),
        ("2h30m", 9000.0),
        ("90", 90.0),
        ("1.5", 1.5),
        ("250ms", 0.25),
        (" 1d ", 86400.0),
        ("1.1h", 3960.0),
    ],
)
def test_each_form_means_seconds(said: Duration, seconds: float) -> None:
    """Whoever writes an option writes it as he likes; 1.1 hours are as on paper."""
    found = seconds_of(said)
    assert found == seconds
    assert type(found) is float


@pytest.mark.parametrize(
    "said",
    [
        -1,
        -0.001,
        math.nan,
        math.inf,
        10**400,
        1e12,
        True,
        False,
        None,
        b"30s",
        timedelta(seconds=-1),
        timedelta.max,
        "",
        "soon",
        "-30s",
        "1/m",
        "2 h",
        "inf",
        "nan",
        "1e3",
        "٣s",
    ],
)
def test_what_is_no_duration_is_named(said: object) -> None:
    """With what it is for, so that it is found; a rate is no duration."""
    with pytest.raises(
        ConfigError, match=r"Checkout\.frequency has to be seconds"
    ) as no:
        seconds_of(said, "Checkout.frequency")  # type: ignore[arg-type] # or it is no error
    assert repr(said) in str(no.value)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36500)))
def test_a_timedelta_is_its_seconds(said: timedelta) -> None:
    """All of them, to the microsecond."""
    assert timedelta(seconds=seconds_of(said)) == said

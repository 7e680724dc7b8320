"""Health as a text, and read again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from pysys_orch.livecheck.events import Event
from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.memory import health_of_text, text_of_health
from pysys_orch.livecheck.models import State
from pysys_orch.livecheck.policy import Policy
from tests.livecheck.test_health import policies, run, sequences


@given(sequences(), sequences(), policies)
def test_who_is_remembered_goes_on_as_before(
    before: list[Event], after: list[Event], policy: Policy
) -> None:
    """All of it is there, and what happens then has the same consequences."""
    health, _ = run(before, policy)
    again = health_of_text(text_of_health(health))
    assert again == health
    assert type(again.status) is State
    assert run(after, policy, again) == run(after, policy, health)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        text_of_health(Health())[:-1],
        text_of_health(Health()).replace("INIT", "GREAT"),
        text_of_health(Health()).replace("passed", "pleased"),
        text_of_health(Health()).replace('"failures": 0', '"failures": "x"'),
        text_of_health(Health()).replace('"received": null', '"received": "now"'),
        text_of_health(Health()).replace('"passes": 0', '"passes": null'),
        text_of_health(Health()).replace('"is_flapping": false', '"is_flapping": 7'),
        json.dumps({**json.loads(text_of_health(Health())), "tally": 7}),
        json.dumps({**json.loads(text_of_health(Health())), "recent": {"long": []}}),
    ],
)
def test_what_is_no_health_is_named(text: str) -> None:
    """With one kind of error, whatever is wrong with it."""
    with pytest.raises(ValueError, match=r".+"):
        health_of_text(text)

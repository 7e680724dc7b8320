"""Names of files and results."""

from __future__ import annotations

import pytest

from pysys_orch.livecheck.names import safe_name


@pytest.mark.parametrize("device", ["CON", "nul", "Com1", "LPT9", "aux.orders"])
def test_no_name_is_that_of_a_device(device: str) -> None:
    """Windows would write to it, whatever comes after the dot."""
    assert safe_name(device, suffix=".jsonl") == f"_{device}.jsonl"
    assert safe_name(f"{device}s").startswith(f"{device}s") or "." in device


def test_what_differs_in_what_names_cannot_have_differs_still() -> None:
    """Also if they differ in case only."""
    taken: set[str] = set()
    for called, name in (
        ("pay ä", "pay_"),
        ("pay ü", "pay_.2"),
        ("PAY ö", "PAY_.3"),
        ("pay", "pay"),
    ):
        assert safe_name(called, taken) == name
        taken.add(name.casefold())

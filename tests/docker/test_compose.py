"""What a compose program says."""

from __future__ import annotations

import pytest

from pysys_orch.docker.compose import complaint

NO_ANSWER = 'Get "http://127.0.0.1:1/v2/": connection refused'


OF_SECOND = f"""\
 web Pulling\x20
 web Error {NO_ANSWER}
Error response from daemon: {NO_ANSWER}
"""
OF_FIRST = f"""\
Creating network "a" with the default driver
Pulling web (b:7)...
{NO_ANSWER}
"""
LATER = """\
Pulling web (b:7)...
7: Pulling from b
Creating a_web_1 ... error
ERROR: for web  no such device
"""


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (OF_SECOND, f"service web: {NO_ANSWER}"),
        (OF_FIRST, f"service web: {NO_ANSWER}"),
        (LATER, "for web  no such device"),
        ("no service selected\n", "no service selected"),
        ("", ""),
    ],
)
def test_the_service_is_named_that_could_not_be_pulled(
    output: str, expected: str
) -> None:
    """One file names many images."""
    assert complaint(output) == expected

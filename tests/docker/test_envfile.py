"""Files of variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from pysys_orch.docker.envfile import readVariables
from pysys_orch.errors import ConfigError


def test_variables_are_read_as_compose_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands for others is what the test gives, and not what the run has."""
    monkeypatch.setenv("BASE", "of the run")
    file = tmp_path / ".env"
    file.write_text(
        "# a comment\nA=${BASE:-9}\nexport B=$A-$GIVEN\nC='$A'\nD=\"x y\"\n"
        "E\nGIVEN=own\n"
    )
    assert readVariables(file, {"GIVEN": "given"}) == {
        "A": "9",
        "B": "9-given",
        "C": "$A",
        "D": "x y",
        "GIVEN": "own",
    }
    assert readVariables(tmp_path / "none", {}) == {}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The reason is all that somebody sees at first."""
    file = tmp_path / ".env"
    file.write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError, match=r"\.env is not UTF-8: .* at byte 2"):
        readVariables(file, {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        readVariables(tmp_path, {})

"""Files of variables, ``.env`` and the like, read as compose reads them."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

from pysys_orch.docker.engine.composefile import interpolate
from pysys_orch.inputs import utf8_text

_IS_LITERAL = re.compile(r"[^=]*=\s*'")


def readVariables(file: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a file, in which others may stand.

    Args:
        file: The file; none at all is an empty one.
        environment: Variables that come before those of the file.

    Raises:
        ConfigError: The file cannot be read.
    """
    from dotenv.parser import parse_stream

    told: dict[str, str] = {}
    if not file.exists():
        return told
    for each in parse_stream(io.StringIO(utf8_text(file))):
        if each.key is None or each.value is None:
            continue
        is_literal = _IS_LITERAL.match(each.original.string)
        told[each.key] = (
            each.value
            if is_literal
            else interpolate(each.value, {**told, **environment})
        )
    return told

"""Files of variables, ``.env`` and the like, read as compose reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pysys_orch.docker.engine.composefile import interpolate
from pysys_orch.errors import ConfigError

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
    try:
        with file.open(encoding="utf-8") as opened:
            bindings = list(parse_stream(opened))
    except FileNotFoundError:
        return told
    except UnicodeDecodeError as failure:
        message = f"{file} is not UTF-8: {failure.reason} at byte {failure.start}"
        raise ConfigError(message) from None
    except OSError as failure:
        message = f"{file} cannot be read: {failure.strerror}"
        raise ConfigError(message) from None
    for each in bindings:
        if each.key is None or each.value is None:
            continue
        is_literal = _IS_LITERAL.match(each.original.string)
        told[each.key] = (
            each.value
            if is_literal
            else interpolate(each.value, {**told, **environment})
        )
    return told

"""What people write: files, and words that are nearly right."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pysys_orch.errors import ConfigError

_FEW = 12  # words that fit into a message


def utf8_text(file: Path, *, newline: str | None = None) -> str:
    """Return what is in a file.

    Args:
        file: The file.
        newline: As of `open`.

    Raises:
        ConfigError: It cannot be read, or is not UTF-8.
    """
    try:
        with file.open(encoding="utf-8", newline=newline) as opened:
            return opened.read()
    except UnicodeDecodeError as failure:
        message = f"{file} is not UTF-8: {failure.reason} at byte {failure.start}"
        raise ConfigError(message) from None
    except OSError as failure:
        message = f"{file} cannot be read: {failure.strerror}"
        raise ConfigError(message) from None


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return the end of a sentence about a wrong word: what may have been meant.

    Upper and lower case are the same here.
    """
    import difflib

    known = {each.lower(): each for each in candidates}
    for near in difflib.get_close_matches(word.lower(), known, 1):
        return f", did you mean {known[near]}?"
    return f" (there is {', '.join(known.values())})" if 0 < len(known) <= _FEW else ""

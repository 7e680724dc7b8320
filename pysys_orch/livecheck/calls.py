"""Where a test called the live check."""

from __future__ import annotations

import traceback
from pathlib import Path

import pysys

_PACKAGE = Path(__file__).parents[1]
_PYSYS = str(Path(pysys.__file__).parent)


def call_record() -> list[str] | None:
    """Return where the test called us, innermost first, as PySys wants to be told.

    None if it did not, as in a cleanup.
    """
    record = []
    for frame in reversed(traceback.extract_stack()):
        # Beneath the test is only what runs it.
        if frame.filename.startswith(_PYSYS):
            break
        if not Path(frame.filename).is_relative_to(_PACKAGE):
            record.append(f"{frame.filename}:{frame.lineno}")
    return record or None

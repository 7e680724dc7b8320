"""Where a test called this package."""

from __future__ import annotations

import inspect
import traceback


def call_record() -> list[str] | None:
    """Return where the test called us, innermost first, as PySys wants to be told.

    Returns:
        ``file:line`` of each place; None if there is none, as in a cleanup.
    """
    record = []
    # Not from None: how many frames are left out then differs between Pythons.
    for frame, line in traceback.walk_stack(inspect.currentframe()):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        # Beneath the test is only what runs it.
        if package == "pysys":
            break
        if package != "pysys_orch":
            record.append(f"{frame.f_code.co_filename}:{line}")
    return record or None

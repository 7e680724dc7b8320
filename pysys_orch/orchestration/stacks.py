"""Where calls are that do not end."""

from __future__ import annotations

import itertools
import sys
import threading
import traceback
from pathlib import Path

from pysys_orch.orchestration.calls import Call

_OURS = Path(__file__).parent
_PYTHONS = {threading.__file__}


def stack_of(call: Call) -> str:
    """Return where a call is, as a traceback does; empty if nobody knows."""
    frame = sys._current_frames().get(call.thread)  # noqa: SLF001 -- it is documented
    if frame is None or not call.started or call.kill is not None:
        return ""
    frames = traceback.extract_stack(frame)
    # What comes before the event itself is ours, or Python's.
    theirs = itertools.dropwhile(_is_ours, frames)
    return "".join(traceback.format_list(list(theirs) or frames))


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).parent == _OURS or frame.filename in _PYTHONS

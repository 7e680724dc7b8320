"""Names of files and results for what users call as they like."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONGEST = 100
_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)

# What Windows takes for a device, whatever comes after a dot.
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\.|$)", re.ASCII | re.IGNORECASE)


def safe_name(called: str, taken: Iterable[str] = (), *, suffix: str = "") -> str:
    """Return a name that every file system has, and nothing else.

    Args:
        called: What it is the name of: anything.
        taken: Names of others, case-folded.
        suffix: What it ends in.

    Returns:
        As it is called, if that is possible.
    """
    stem = _UNSAFE.sub("_", called)[:_LONGEST].lstrip(".-") or "_"
    if _DEVICE.match(stem):
        stem = f"_{stem}"
    others = set(taken)
    name, number = f"{stem}{suffix}", 1
    while name.casefold() in others:
        number += 1
        name = f"{stem}.{number}{suffix}"
    return name

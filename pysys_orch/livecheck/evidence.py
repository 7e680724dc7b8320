"""The reports of a run, written down: a file for each case, a line for each report.

A thread of its own writes, many lines at a time, so that nobody who executes tests
waits for a disk. What went wrong comes first where not all can be written.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from pysys_orch.livecheck.wire import json_text

log = logging.getLogger("pysys.orch.livecheck")

#: How many lines a file may have at most: so many of what is ok, and so many of what is
#: not. What comes later is counted.
MOST_LINES = 100_000

#: How many lines may wait for being written.
MOST_WAITING = 20_000

#: Seconds between two times that something is written.
INTERVAL = 0.1

#: Seconds for which one waits, at the end, until all is written.
CLOSING = 10.0

_LONGEST_NAME = 100
_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)


@dataclass(slots=True)
class _File:
    """The file of a case, and what is in it.

    Attributes:
        name: What it is called.
        lines: How many lines it has or will have.
        ok: How many of these are of what is ok.
        omitted: How many reports are not in it.
    """

    name: str
    lines: int = 0
    ok: int = 0
    omitted: int = 0
    opened: TextIOWrapper | None = field(default=None, repr=False)


class Evidence:
    """Writes the reports of a run. Threads may share it.

    Args:
        folder: Where; it is made when there is something to write.
        most_lines: How many lines a file may have, of what is ok and of what is not.
        most_waiting: How many lines may wait for being written.
        initialize: Called first in the thread that writes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_lines: int = MOST_LINES,
        most_waiting: int = MOST_WAITING,
        initialize: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._most_lines = most_lines
        self._most_waiting = most_waiting
        self._initialize = initialize
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._waiting: list[tuple[_File, dict[str, Any]]] = []
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._has_failed = False

    def add(self, case: str, message: dict[str, Any], *, is_ok: bool) -> int | None:
        """Have a report written, in a moment.

        Args:
            case: The case that it is of.
            message: The report as JSON has it; not to be changed any more.
            is_ok: Whether nothing is wrong.

        Returns:
            In which line it will be, from 1; None if there are too many already, or if
            it is too late.
        """
        with self._lock:
            file = self._files.get(case)
            if file is None:
                file = self._files[case] = _File(self._free_name(case))
            has_room = len(self._waiting) < self._most_waiting
            count = file.ok if is_ok else file.lines - file.ok
            # What is ok is not to take the room of what is not.
            if (
                self._closing.is_set()
                or count >= self._most_lines
                or (is_ok and not has_room)
                or len(self._waiting) >= 2 * self._most_waiting
            ):
                file.omitted += 1
                return None
            file.lines += 1
            file.ok += is_ok
            self._waiting.append((file, message))
            line = file.lines
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="livecheck-evidence", daemon=True
                )
                self._thread.start()
        self._news.set()
        return line

    def name_of(self, case: str) -> str | None:
        """Return what the file of a case is called; None if there is none."""
        with self._lock:
            file = self._files.get(case)
            return None if file is None or not file.lines else file.name

    def omitted(self) -> dict[str, int]:
        """Return how many reports of which cases were not written."""
        with self._lock:
            found = {name: each.omitted for name, each in self._files.items()}
        return {name: count for name, count in found.items() if count}

    def close(self, timeout: float = CLOSING) -> bool:
        """Write what there still is; what is added later is not written.

        Args:
            timeout: For how many seconds to wait for that.

        Returns:
            Whether all is written.
        """
        self._closing.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive() and not self._has_failed
        return True

    # Inside ---------------------------------------------------------------------------

    def _free_name(self, case: str) -> str:
        taken = {each.name.casefold() for each in self._files.values()}
        return safe_name(case, taken)

    def _run(self) -> None:
        self._initialize()
        try:
            is_last = False
            while not is_last:
                self._news.wait()
                # More will come: it is written together.
                self._closing.wait(INTERVAL)
                with self._lock:
                    is_last = self._closing.is_set()
                    self._news.clear()
                    waiting, self._waiting = self._waiting, []
                self._write(waiting)
        finally:
            for file in self._files.values():
                if file.opened is not None:
                    file.opened.close()

    def _write(self, waiting: Iterable[tuple[_File, dict[str, Any]]]) -> None:
        touched = set[str]()
        try:
            for file, message in waiting:
                if file.opened is None:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    path = self._folder / file.name
                    file.opened = path.open("w", encoding="utf-8")
                file.opened.write(json_text(message) + "\n")
                touched.add(file.name)
            for file in list(self._files.values()):
                if file.name in touched and file.opened is not None:
                    file.opened.flush()
        except OSError as failure:
            if not self._has_failed:
                log.error(  # noqa: TRY400 -- where this is says nothing
                    "The reports in %s cannot be written: %s", self._folder, failure
                )
            self._has_failed = True


def safe_name(case: str, taken: Iterable[str] = ()) -> str:
    """Return what the file of a case is called.

    Args:
        case: What the case is called: anything.
        taken: Names of others, in lower case.

    Returns:
        One that every file system has, ending in ``.jsonl``.
    """
    stem = _UNSAFE.sub("_", case)[:_LONGEST_NAME].lstrip(".-") or "_"
    others = set(taken)
    name, number = f"{stem}.jsonl", 1
    while name.casefold() in others:
        number += 1
        name = f"{stem}.{number}.jsonl"
    return name

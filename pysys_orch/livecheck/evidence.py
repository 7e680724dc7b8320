"""The reports of a run, written down: a file for each case, a line for each report.

A thread of its own writes, many lines at a time, so that nobody who executes tests
waits for a disk. What went wrong comes first where not all can be written.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from pysys_orch.livecheck import names
from pysys_orch.livecheck.wire import CUT, json_text

log = logging.getLogger("pysys.orch.livecheck")

#: How many lines a file may have at most: so many of what is ok, and so many of what is
#: not. What comes later is counted.
MOST_LINES = 100_000

#: How many bytes a file may have at most, in the same way: but what waits to be written
#: by then is written.
MOST_BYTES = 256 * 1024 * 1024

#: How many lines may wait for being written.
MOST_WAITING = 20_000

#: Seconds between two times that something is written.
INTERVAL = 0.1

#: Seconds for which one waits, at the end, until all is written.
CLOSING = 10.0

# What a line is cut to that is longer than the last of these.
_LONGEST_ERROR = 2_000
_LONGEST_TRACEBACK = 20_000
_LONGEST_ARGUMENT = 2_000
_MOST_ARGUMENTS = 20
_LONGEST_LINE = 30_000


@dataclass(slots=True)
class _File:
    """The file of a case, and what is in it.

    Attributes:
        name: What it is called.
        lines: How many lines it has or will have.
        ok: How many of these are of what is ok.
        written: How many bytes were written of what is ok, and of what is not.
        omitted: How many reports are not in it.
    """

    name: str
    lines: int = 0
    ok: int = 0
    omitted: int = 0
    written: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    opened: TextIOWrapper | None = field(default=None, repr=False)


class Evidence:
    """Writes the reports of a run. Threads may share it.

    Args:
        folder: Where; it is made when there is something to write.
        most_lines: How many lines a file may have, of what is ok and of what is not.
        most_bytes: How many bytes, in the same way.
        most_waiting: How many lines may wait for being written.
        initialize: Called first in the thread that writes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_lines: int = MOST_LINES,
        most_bytes: int = MOST_BYTES,
        most_waiting: int = MOST_WAITING,
        initialize: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._most_waiting = most_waiting
        self._initialize = initialize
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._waiting: list[tuple[_File, dict[str, Any], bool]] = []
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._has_failed = False
        # Not that its thread is gone: it may have died of anything.
        self._is_complete = False

    def add(self, case: str, message: dict[str, Any], *, is_ok: bool) -> int | None:
        """Have a report written, in a moment.

        Args:
            case: The case that it is of.
            message: The report as JSON has it; not to be changed any more.
            is_ok: Whether nothing is wrong.

        Returns:
            In which line it will be, from 1; None if there are too many already, or if
            it is too late. What is very long there is cut.
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
                or file.written[is_ok] >= self._most_bytes
                or (is_ok and not has_room)
                or len(self._waiting) >= 2 * self._most_waiting
            ):
                file.omitted += 1
                return None
            file.lines += 1
            file.ok += is_ok
            self._waiting.append((file, message, is_ok))
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
            has_ended = not self._thread.is_alive()
            return has_ended and self._is_complete and not self._has_failed
        return True

    # Inside ---------------------------------------------------------------------------

    def _free_name(self, case: str) -> str:
        taken = {each.name.casefold() for each in self._files.values()}
        return safe_name(case, taken)

    def _run(self) -> None:
        try:
            self._initialize()
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
            self._is_complete = True
        except Exception:
            log.exception("The reports in %s are written no more", self._folder)
            self._closing.set()
        finally:
            for file in self._files.values():
                if file.opened is not None:
                    file.opened.close()

    def _write(self, waiting: Iterable[tuple[_File, dict[str, Any], bool]]) -> None:
        touched = set[str]()
        try:
            for file, message, is_ok in waiting:
                if file.opened is None:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    path = self._folder / file.name
                    file.opened = path.open("w", encoding="utf-8")
                line = line_of(message)
                file.opened.write(line + "\n")
                # It is ASCII.
                file.written[is_ok] += len(line) + 1
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


def line_of(report: Mapping[str, Any]) -> str:
    """Return what is written of a report, as JSON: of what is very long, a part.

    Args:
        report: The report as JSON has it.
    """
    found = dict(report)
    error, place, test = (found.get(each) for each in ("error", "traceback", "test"))
    if isinstance(error, str) and len(error) > _LONGEST_ERROR:
        found["error"] = error[:_LONGEST_ERROR] + CUT
    if isinstance(place, str) and len(place) > _LONGEST_TRACEBACK:
        found["traceback"] = CUT + place[-_LONGEST_TRACEBACK:]
    line = json_text(found)
    if len(line) <= _LONGEST_LINE or not isinstance(test, Mapping):
        return line
    args, kwargs = test.get("test_args") or (), test.get("test_kwargs") or {}
    short = [_short(each) for each in list(args)[:_MOST_ARGUMENTS]]
    found["test"] = {
        **test,
        "id": _short(test.get("id")),
        "test_args": [*short, CUT] if len(args) > _MOST_ARGUMENTS else short,
        "test_kwargs": {
            _short(name): _short(each)
            for name, each in list(kwargs.items())[:_MOST_ARGUMENTS]
        },
    }
    return json_text(found)


def _short(value: object) -> object:
    """Return a value, or the beginning of it as a text."""
    text = value if isinstance(value, str) else json_text(value)
    return text[:_LONGEST_ARGUMENT] + CUT if len(text) > _LONGEST_ARGUMENT else value


def safe_name(case: str, taken: Iterable[str] = ()) -> str:
    """Return what the file of a case is called.

    Args:
        case: What the case is called: anything.
        taken: Names of others, in lower case.

    Returns:
        One that every file system has, ending in ``.jsonl``.
    """
    return names.safe_name(case, taken, suffix=".jsonl")

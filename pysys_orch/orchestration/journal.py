"""What happened, a line for each firing, as it happens."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pysys_orch.orchestration.calls import Call, Kind, Outcome
from pysys_orch.orchestration.failures import words_of
from pysys_orch.orchestration.tally import Tally

log = logging.getLogger("pysys.orch.orchestration")

#: What the file is called, in the output directory of a test.
JOURNAL = "orchestration.jsonl"

_COLLECT_FOR = 0.05
# So many are put into words by who adds them: they are at hand still.
_MANY = 128
# So many texts wait for a disk that is slow; then who adds firings does, too.
_MOST_TEXTS = 1000
_LONGEST_ERROR = 500

_LINE = (
    '%s"ordinal": %d, "kind": "%s"%s, "due": %.6f, %s, "outcome": "%s"%s, '
    '"worker": "%s"}\n'
)
_TIMES = '"started": %.6f, "ended": %.6f, "lateness": %.6f'
_BEGUN = '%s"ordinal": %d, "kind": "%s", "due": %.6f, "begun": %.6f}\n'
_WORDS: Mapping[Kind | Outcome, str] = {each: each.value for each in (*Kind, *Outcome)}


class Recorder:
    """Writes down what became of each firing, and adds it up.

    A line is in the file within a twentieth of a second, whatever happens to this
    process then. A disk that is full costs lines, and nothing else: once there is room
    again, others follow.

    Now and then a line is written by whoever adds it. When there are more of them, a
    thread writes many together: to wake it for a single one would cost more than that.

    Args:
        names: What the events are called.
        file: Where lines are written; None is nowhere.
        head: What is to be known of the run: the first line.
        initialize: Called in the thread that writes first.
        before: Lines of the journal that this one goes on with: they are the first
            ones. They are not added up.
    """

    def __init__(
        self,
        names: Sequence[str],
        file: Path | None = None,
        head: Mapping[str, Any] = MappingProxyType({}),
        initialize: Callable[[], object] = lambda: None,
        before: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._initialize = initialize
        self.tallies = [Tally(name) for name in names]
        self._shared = {name for name, count in Counter(names).items() if count > 1}
        self._heads = dict[int, str]()
        self._begin = 0.0
        self._first = (head, *before)
        self._path = file
        self._file: FileIO | None = None
        self._is_short = self._is_torn = False
        self._calls: deque[Call] = deque()
        self._texts: deque[str] = deque()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._is_told = False
        self._last = 0.0
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="orchestration-journal", daemon=True
        )

    def start(self, begin: float) -> None:
        """Begin.

        Args:
            begin: The instant at which the run begins.
        """
        self._begin = begin
        first, self._first = self._first, ()
        text = "".join(f"{json.dumps(dict(each))}\n" for each in first)
        if self._path is not None:
            # Who is killed meanwhile leaves no journal that forgets what was before.
            fresh = self._path.with_name(f"{self._path.name}.new")
            with fresh.open("wb", buffering=0) as self._file:
                self._write(text)
            fresh.replace(self._path)
            self._file = self._path.open("ab", buffering=0)
        self._thread.start()

    def announce(self, call: Call) -> None:
        """Write down that a firing is about to be made. Threads may.

        For what has to be undone whatever happens to this process: the line is in the
        file when this returns.
        """
        begin = self._begin
        line = _BEGUN % (
            self._head_of(call.event),
            call.ordinal,
            _WORDS[call.kind],
            call.due - begin,
            (call.started or call.due) - begin,
        )
        # What has ended before is written before.
        self._put_into_words(wait=True)
        self._texts.append(line)
        self._flush()

    def add(self, call: Call) -> None:
        """Write down a firing that has ended, or never began. Threads may."""
        self._calls.append(call)
        if not self._is_told:
            # What never began is written with what did.
            ended = call.ended or self._last
            if ended - self._last < _COLLECT_FOR or not self._flush(wait=False):
                self._is_told = True
                self._news.set()
            self._last = ended
        elif not len(self._calls) % _MANY:
            # If somebody is at it, the next one who comes this far tries again.
            self._put_into_words(wait=False)
            if len(self._texts) > _MOST_TEXTS:
                self._flush()

    def close(self, tail: Mapping[str, Any]) -> None:
        """Write down all there is, and a last line."""
        self._closing.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()
        self._flush()
        self._write(f"{json.dumps(dict(tail))}\n")
        file, self._file = self._file, None
        if file is not None:
            file.close()

    # Inside ---------------------------------------------------------------------------

    def _run(self) -> None:
        self._initialize()
        while not self._closing.is_set():
            self._news.wait()
            # More may come: they are written together.
            self._closing.wait(_COLLECT_FOR)
            if not self._calls:
                self._news.clear()
                self._is_told = False
            # Who added one before that left it to this; who comes later tells again.
            self._flush()

    def _flush(self, *, wait: bool = True) -> bool:
        """Write down all there is; return whether that was done, perhaps by waiting."""
        if not self._writing.acquire(blocking=wait):
            return False
        try:
            if not self._put_into_words(wait=wait):
                return False
            texts = self._texts
            if text := "".join([texts.popleft() for _ in range(len(texts))]):
                self._write(text)
        finally:
            self._writing.release()
        return True

    def _put_into_words(self, *, wait: bool) -> bool:
        """Add up what there is, and have its lines wait to be written."""
        if not self._lock.acquire(blocking=wait):
            return False
        try:
            lines = []
            calls, tallies, begin = self._calls, self.tallies, self._begin
            for _ in range(len(calls)):
                call = calls.popleft()
                tallies[call.event].add(call, begin)
                lines.append(self._line(call))
                # Who holds it on, until a time-out perhaps, holds nothing of others.
                if call.failure is not None or call.switch is not None:
                    call.failure = call.switch = None
            if lines:
                self._texts.append("".join(lines))
        finally:
            self._lock.release()
        return True

    def _line(self, call: Call) -> str:
        begin, started, ended = self._begin, call.started, call.ended
        if call.is_made:
            times = _TIMES % (started - begin, ended - begin, started - call.due)
        else:
            times = _some_times(call, begin)
        error = phase = ""
        if call.failure is not None:
            said = words_of(call.failure)
            error = f', "error": {json.dumps(said[:_LONGEST_ERROR])}'
        elif call.stack:
            error = f', "error": {json.dumps(call.stack[-_LONGEST_ERROR:])}'
        if call.phase:
            phase = f', "phase": {json.dumps(call.phase)}'
        return _LINE % (
            self._heads.get(call.event) or self._head_of(call.event),
            call.ordinal,
            _WORDS[call.kind],
            phase,
            call.due - begin,
            times,
            _WORDS[call.outcome],
            error,
            call.worker,
        )

    def _head_of(self, event: int) -> str:
        name = self.tallies[event].name
        head = f'{{"event": {json.dumps(name)}, '
        if name in self._shared:
            head += f'"index": {event}, '
        self._heads[event] = head
        return head

    def _write(self, text: str) -> None:
        if self._file is None:
            return
        # What comes after half a line has one of its own.
        whole = f"\n{text}" if self._is_torn else text
        left = memoryview(whole.encode())
        size = len(left)
        try:
            while left:
                left = left[self._file.write(left) :]
            self._is_torn = False
        except OSError as failure:
            self._is_torn = self._is_torn or len(left) < size
            if not self._is_short:
                log.warning("Lines are missing in %s: %s", self._path, failure)
            self._is_short = True


def _some_times(call: Call, begin: float) -> str:
    """Return the times of a firing that did not begin."""
    started = ended = lateness = "null"
    if call.started:
        started = f"{call.started - begin:.6f}"
        lateness = f"{call.started - call.due:.6f}"
    if call.ended:
        ended = f"{call.ended - begin:.6f}"
    return f'"started": {started}, "ended": {ended}, "lateness": {lateness}'

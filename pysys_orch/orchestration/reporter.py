"""What events report while they run."""

from __future__ import annotations

import logging
import multiprocessing
import queue
from collections.abc import Mapping
from multiprocessing.managers import SyncManager
from typing import Any, Protocol, Self

from pysys_orch.orchestration.children import end_with_parent
from pysys_orch.orchestration.failures import words_of

log = logging.getLogger("pysys.orch.orchestration")

_LOOK_EVERY = 0.1
_LONGEST = 1000
_MOST_FAILURES = 100


class Switch(Protocol):
    """What says when to end."""

    def is_set(self) -> bool:
        """Return whether it is time."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for that."""
        ...


class ResultReporter:
    """Collects what events report, and logs it as it comes.

    Override `on_result` to do something else with it, and the fixture
    ``result_reporter(report_queue)`` to have yours used.

    Args:
        results: The queue that reports arrive in; what the fixture ``report_queue``
            gives.

    Attributes:
        results: The same.
        failures: What fails the test, in words; the first hundred.
        failure_count: How much there was of that.
    """

    failures: list[str]
    failure_count: int

    def __init__(self, results: Any) -> None:  # noqa: ANN401 -- any queue
        self.results = results

    def __new__(cls, *_: object, **__: object) -> Self:
        """Have what counts there, whatever the constructor of a subclass does."""
        made = super().__new__(cls)
        made.failures = []
        made.failure_count = 0
        return made

    def add_result(self, result: object) -> None:
        """Report something. Threads and processes may.

        Args:
            result: A text or a mapping, or whatever can be pickled. A mapping with an
                ``error`` in it, a text that begins with ``error``, and an exception
                fail the test.
        """
        self.results.put(result)

    def monitor(self, kill_switch: Switch) -> None:
        """Handle results as they come, until the switch is set and none is left."""
        while True:
            # Asked first: what was reported before it was set is still handled.
            is_over = kill_switch.is_set()
            while not self.results.empty():
                self._handle()
            if is_over:
                return
            kill_switch.wait(_LOOK_EVERY)

    def on_result(self) -> None:
        """Take one result out of the queue, and log it."""
        result = self.results.get_nowait()
        if not is_error(result):
            log.info("Reported: %s", _shown(result))
            return
        log.error("Reported: %s", _shown(result))
        self.fail(_shown(_error_of(result)))

    def fail(self, reason: str) -> None:
        """Have the test fail in the end.

        Args:
            reason: Why, on one line.
        """
        self.failure_count += 1
        if len(self.failures) < _MOST_FAILURES:
            self.failures.append(reason)

    def _handle(self) -> None:
        try:
            self.on_result()
        except queue.Empty:
            return
        except (Exception, SystemExit) as failure:
            log.exception("A result could not be handled")
            self.fail(f"on_result failed with {words_of(failure)}")


def is_error(result: object) -> bool:
    """Return whether what was reported is an error."""
    if isinstance(result, Mapping):
        return bool(result.get("error"))
    if isinstance(result, str):
        return result.lstrip().lower().startswith("error")
    return isinstance(result, BaseException)


class SharedQueue:
    """A queue that threads and processes share, in a process of its own.

    That process is started when the queue is opened, and ends when it is closed, or
    when this process ends, whatever way.

    Attributes:
        queue: The queue.
    """

    def __init__(self) -> None:
        # Not forked: other threads may hold locks.
        context = multiprocessing.get_context("spawn")
        self._manager = SyncManager(ctx=context)
        self._manager.start(initializer=end_with_parent)
        self.queue: Any = self._manager.Queue()

    def close(self) -> None:
        """End the process. What is still in the queue is lost."""
        self._manager.shutdown()


def _error_of(result: object) -> object:
    if isinstance(result, Mapping):
        return result["error"]
    if isinstance(result, BaseException):
        return f"{type(result).__name__}: {result}"
    return result


def _shown(result: object) -> str:
    words = " ".join(str(result).split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"

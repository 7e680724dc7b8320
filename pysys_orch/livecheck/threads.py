"""Threads for calls that block, which nobody has to wait for at the end.

Those of `concurrent.futures` keep the interpreter from exiting until they are done.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

log = logging.getLogger("pysys.orch.livecheck")

P = ParamSpec("P")
T = TypeVar("T")

#: How many calls block at the same time; a further one waits.
MOST = 32


class DaemonThreads(ThreadPoolExecutor):
    """An executor of daemon threads, made as they are needed.

    It is a `ThreadPoolExecutor` only since a loop takes no other by default: it has
    nothing of that but its type.

    Args:
        name: What the names of threads begin with.
        most: How many there may be.
        initialize: Called first in each.
    """

    def __init__(
        self,
        name: str,
        *,
        most: int = MOST,
        initialize: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(most)
        self._name = name
        self._most = most
        self._initialize = initialize
        self._change = threading.Condition()
        self._calls: deque[tuple[Future[object], Callable[[], object]]] = deque()
        self._made: list[threading.Thread] = []
        self._idle = 0
        self._busy = set[int]()
        self._is_closed = False

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Have a call made in one of the threads.

        Raises:
            RuntimeError: It was shut down.
        """
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as failure:  # noqa: BLE001 -- whoever asked gets it
                future.set_exception(failure)

        with self._change:
            if self._is_closed:
                message = "no call can be made any more: the live check is over"
                raise RuntimeError(message)
            self._calls.append((future, call))  # type: ignore[arg-type] # of any result
            if self._idle < len(self._calls) and len(self._made) < self._most:
                name = f"{self._name}_{len(self._made)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._made.append(thread)
                thread.start()
            self._change.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Make no further call; see `concurrent.futures.Executor.shutdown`."""
        with self._change:
            self._is_closed = True
            if cancel_futures:
                for future, _ in self._calls:
                    future.cancel()
                self._calls.clear()
            self._change.notify_all()
        if wait:
            for thread in self._made:
                thread.join()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no call is made; return whether it came to that."""
        with self._change:
            return self._change.wait_for(lambda: not self._busy, timeout)

    def places(self) -> tuple[str, ...]:
        """Return where the calls are now that are made, as `place_of` says it."""
        with self._change:
            busy = sorted(self._busy)
        return tuple(place_of(each) for each in busy)

    def _work(self) -> None:
        try:
            self._initialize()
        except Exception:
            log.exception("A thread of %s could not be prepared", self._name)
        while True:
            with self._change:
                self._idle += 1
                self._change.wait_for(lambda: self._calls or self._is_closed)
                self._idle -= 1
                if not self._calls:
                    return
                _, call = self._calls.popleft()
                self._busy.add(threading.get_ident())
            call()
            # It holds what it was called with.
            del call, _
            with self._change:
                self._busy.discard(threading.get_ident())
                self._change.notify_all()


def place_of(thread: int | None) -> str:
    """Return where a thread is now, for whoever wonders why it does not end.

    Args:
        thread: What `threading.get_ident` says there.

    Returns:
        File, line and function.
    """
    frames = sys._current_frames()  # noqa: SLF001 -- there is no other way
    frame = frames.get(thread or 0)
    if frame is None:
        return "nowhere"
    last = traceback.extract_stack(frame)[-1]
    return f"{last.filename}:{last.lineno} in {last.name}"

"""An application and its receiver in an event loop of their own, in any thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from pysys_orch.livecheck.app import LiveCheck
from pysys_orch.livecheck.threads import DaemonThreads, place_of

log = logging.getLogger("pysys.orch.livecheck")

T = TypeVar("T")

#: Seconds that tests have to end, once all is to end.
STOPPING = 5.0

_RECEIVER_STOPPING = 5.0
_LOOK_EVERY = 0.05

# Seconds that tasks have which somebody else has started in the loop, and then calls
# in threads.
_LEFT = 1.0


class Door(Protocol):
    """What lets the world in: a receiver."""

    async def start(self) -> None:
        """Let it in."""
        ...

    async def stop(self) -> None:
        """Let it in no more."""
        ...


class Hosting:
    """Runs an application and its receiver until it is to end.

    Args:
        app: The application.
        door: The receiver.
        begun: Called when the application has begun, and nobody was let in yet.
        initialize: Called first in threads that it makes.

    Attributes:
        failure: Why it could not run; None if it could.
        blocked: Where calls were that blocked a thread when all had ended.
    """

    def __init__(
        self,
        app: LiveCheck,
        door: Door,
        *,
        begun: Callable[[], None],
        initialize: Callable[[], None],
    ) -> None:
        self.failure: BaseException | None = None
        self.blocked: tuple[str, ...] = ()
        self._app = app
        self._door = door
        self._begun = begun
        self._initialize = initialize
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None
        self._ready = threading.Event()
        self._ended = threading.Event()

    def run(self, stopping: threading.Event) -> None:
        """Run them in this thread until *stopping* is set, and then end in time.

        Why they could not begin is what `failure` says.

        Raises:
            Exception: Whatever ended them later, which is nobody's intention.
        """
        self._thread = threading.get_ident()
        loop = self._loop = asyncio.new_event_loop()
        threads = DaemonThreads("livecheck", initialize=self._initialize)
        loop.set_default_executor(threads)
        try:
            loop.run_until_complete(self._main(stopping))
        except Exception as failure:
            if self._ready.is_set():
                raise
            self.failure = failure
        finally:
            try:
                _close(loop)
            finally:
                self._leave(threads)
                self._ended.set()
                self._ready.set()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until they run, or cannot; return whether it came to that."""
        return self._ready.wait(timeout)

    def wait_ended(self, timeout: float) -> bool:
        """Wait until they have ended; return whether they have."""
        return self._ended.wait(timeout)

    @property
    def has_ended(self) -> bool:
        """Whether they have ended."""
        return self._ended.is_set()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Have a coroutine run in the loop.

        Raises:
            RuntimeError: They have ended, or have not begun.
        """
        loop = self._loop
        try:
            if loop is not None:
                return asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:
            pass  # it is closed
        coroutine.close()
        message = "the live check is over, or has not begun"
        raise RuntimeError(message)

    def place(self) -> str:
        """Return where the thread is now, for whoever wonders why it does not end."""
        return place_of(self._thread)

    # Inside ---------------------------------------------------------------------------

    async def _main(self, stopping: threading.Event) -> None:
        try:
            # Whoever comes in finds tests that are executed.
            await self._app.start()
            self._begun()
            await self._door.start()
            self._ready.set()
            while not stopping.is_set():
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            await self._end("receiver", self._door.stop, _RECEIVER_STOPPING)
            await self._end(
                "application",
                lambda: self._app.stop(timeout=STOPPING),
                2 * STOPPING,
            )

    def _leave(self, threads: DaemonThreads) -> None:
        """Leave threads alone, whatever they do."""
        threads.shutdown(wait=False, cancel_futures=True)
        if not threads.wait_idle(_LEFT):
            self.blocked = threads.places()
        for place in self.blocked:
            log.error("Left alone, since it does not end: a thread in %s", place)

    async def _end(
        self,
        what: str,
        stop: Callable[[], Coroutine[Any, Any, None]],
        limit: float,
    ) -> None:
        try:
            async with asyncio.timeout(limit):
                await stop()
        except Exception:
            log.exception("%s: the %s did not end well", self._app.name, what)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop, however its tasks feel about that."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            _, left = loop.run_until_complete(asyncio.wait(tasks, timeout=_LEFT))
            for task in left:
                log.error("Left alone, since it does not end: %s", task.get_name())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()

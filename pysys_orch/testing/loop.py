"""An event loop that never waits."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from pysys_orch.clock import Clock
from pysys_orch.errors import OrchError
from pysys_orch.testing.clock import ManualClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_FEW = 5  # tasks that fit into a message

_RESOLUTION = 1e-9  # seconds between two timers that asyncio takes for one

#: How long, in real seconds, a network is given before time moves on without it.
GRACE = 0.001


class DeadlockError(OrchError):
    """Everything waits, and nothing can happen any more."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of a clock.

    On a `ManualClock` it does not wait for a timer: when nothing is ready, it moves the
    clock to the next one. So `asyncio.sleep`, `asyncio.timeout` and all that is made of
    them take no time. Work in threads, given to `run_in_executor`, takes no virtual
    time: the clock stands still until it is done. A network is given a moment before
    the clock moves: what is on its way within this machine arrives first.

    On another clock it is an event loop as any other.

    Args:
        clock: The clock.
        grace: How long that moment is, in real seconds. What comes from other processes
            takes longer than what stays in this one.
    """

    def __init__(self, clock: Clock, *, grace: float = GRACE) -> None:
        self._clock = clock
        self._in_threads = 0
        super().__init__(_VirtualSelector(self, clock, grace))

    def time(self) -> float:
        """Return the instant of the clock."""
        instant = self._clock.instant()
        # A timer is due when the next number after its time is not: asyncio would ask
        # for ever whether the one of now is.
        self._clock_resolution = max(_RESOLUTION, 2 * math.ulp(instant))
        return instant

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Call a function in a thread; the clock stands still until it returns."""
        done = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        done.add_done_callback(self._leave_thread)
        return done

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Wait for the threads to end, which takes no virtual time either."""
        self._in_threads += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._in_threads -= 1

    @property
    def has_threads(self) -> bool:
        """Whether work that was given to threads is not done yet."""
        return self._in_threads > 0

    def _leave_thread(self, _done: object) -> None:
        self._in_threads -= 1


class _VirtualSelector(selectors.DefaultSelector):
    """Waits for files as any other, and for a time by moving the clock to it."""

    def __init__(self, loop: VirtualLoop, clock: Clock, grace: float) -> None:
        super().__init__()
        self._grace = grace
        self._loop = loop
        self._clock = clock

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        clock = self._clock
        if not isinstance(clock, ManualClock):
            return super().select(timeout)
        if self._loop.has_threads:
            # A thread is not to be hurried; what it calls back ends the wait.
            return super().select(0 if timeout == 0 else None)
        # One file is the loop's own: other threads wake it with that.
        has_network = len(self.get_map()) > 1
        is_idle = timeout is None or timeout > 0
        ready = super().select(self._grace if has_network and is_idle else 0)
        if ready or not is_idle:
            return ready
        if timeout is not None:
            instant = clock.instant()
            # Far from its origin, a clock does not notice the smallest steps.
            clock.advance(max(timeout, math.nextafter(instant, math.inf) - instant))
            return []
        if has_network:
            return super().select(None)
        raise DeadlockError(_words(asyncio.all_tasks(self._loop)))


def run_virtual(
    coroutine: Coroutine[Any, Any, T],
    *,
    clock: Clock | None = None,
    grace: float = GRACE,
) -> T:
    """Run a coroutine to its end, as `asyncio.run` does, without ever waiting.

    Args:
        coroutine: What is to be run.
        clock: Whose instants are the loop's time: a new `ManualClock` by default.
        grace: How long a network is given, in real seconds, before the clock moves.

    Returns:
        What the coroutine returns.

    Raises:
        DeadlockError: All tasks wait, but nothing is ready, no timer is set, and there
            is neither a connection nor a thread that could change that. It only
            knows of threads that work for the loop.

    Example:
        >>> import asyncio
        >>> clock = ManualClock()
        >>> run_virtual(asyncio.sleep(3600.0), clock=clock)
        >>> clock.instant()
        3600.0
    """
    time = ManualClock() if clock is None else clock
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(time, grace=grace)) as runner:
        return runner.run(coroutine)


def _words(tasks: set[asyncio.Task[Any]]) -> str:
    waiting = sorted(f"{task.get_name()} {_place(task)}" for task in tasks)
    more = f" and {len(waiting) - _FEW} more" if len(waiting) > _FEW else ""
    return (
        "all tasks wait, but nothing is ready and no timer is set: "
        f"{', '.join(waiting[:_FEW])}{more}"
    )


def _place(task: asyncio.Task[Any]) -> str:
    """Return where a task waits, in the innermost coroutine that is known."""
    found: Any = task.get_coro()
    while getattr(found, "cr_await", None) is not None:
        inner = found.cr_await
        if getattr(inner, "cr_frame", None) is None:
            break
        found = inner
    frame = getattr(found, "cr_frame", None)
    if frame is None:
        return "somewhere"
    return f"in {frame.f_code.co_qualname}, line {frame.f_lineno}"

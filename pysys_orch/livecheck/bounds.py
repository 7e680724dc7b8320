"""Bounds of what users define: it may hang, raise what it likes, and stay for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

log = logging.getLogger("pysys.orch.livecheck")

#: How many seconds a hook, a report or a notice may take. It is cut off then.
HOOK_WITHIN = 30.0

#: After how many seconds it is cut off once more, if it goes on nevertheless.
AGAIN = 10.0


class Limits:
    """Cuts off what takes too long, with a single timer for all of it.

    Most of what is watched ends at once: what it costs then counts.

    Args:
        seconds: How long is too long.
    """

    def __init__(self, seconds: float = HOOK_WITHIN) -> None:
        self.seconds = seconds
        self._held: dict[Limit, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, task: asyncio.Task[Any]) -> Limit:
        """Have what a task does now end in time, unless it is removed before."""
        loop = task.get_loop()
        limit = Limit(task, loop.time() + self.seconds)
        self._held[limit] = None
        if self._loop is not loop:
            self._loop = loop
            loop.call_at(limit.at, self._ring, loop)
        return limit

    def remove(self, limit: Limit) -> None:
        """Let it be: it has ended."""
        del self._held[limit]
        for _ in range(limit.expirations):
            limit.task.uncancel()

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        mine = [limit for limit in self._held if limit.task.get_loop() is loop]
        for limit in mine:
            if limit.at <= now:
                limit.expirations += 1
                limit.task.cancel()
                # It may have missed it, or not have cared.
                limit.at = now + AGAIN
        if mine:
            loop.call_at(min(limit.at for limit in mine), self._ring, loop)
        elif self._loop is loop:
            self._loop = None


class Limit:
    """What has to end in time."""

    __slots__ = ("at", "expirations", "task")

    def __init__(self, task: asyncio.Task[Any], at: float) -> None:
        self.task = task
        self.at = at
        self.expirations = 0


async def guarded(
    whose: object,
    hook: Callable[..., Awaitable[None]],
    *args: object,
    limits: Limits | None = None,
) -> None:
    """Call what a user defined; what it raises is logged, and changes nothing.

    Args:
        whose: What it is about, which the log says as text.
        hook: What is called.
        args: With what.
        limits: What cuts it off; None is nothing.

    Raises:
        asyncio.CancelledError: The task is cut off meanwhile. One that nobody asked
            for, as of a task that the hook cancelled itself, is logged as all else.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    limit = None if task is None or limits is None else limits.add(task)
    failure: BaseException | None = None
    try:
        await hook(*args)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as raised:  # noqa: BLE001 -- as a CancelledError, or SystemExit
        failure = raised
    finally:
        if limits is not None and limit is not None:
            limits.remove(limit)
    if failure is None:
        return
    try:
        if isinstance(failure, asyncio.CancelledError):
            if cancellations() > before:
                raise failure
            if limits is not None and limit is not None and limit.expirations:
                log.error(
                    "[%s] %s did not end within %g s",
                    whose,
                    _name(hook),
                    limits.seconds,
                )
                return
        log.error("[%s] %s failed", whose, _name(hook), exc_info=failure)
    finally:
        # Its traceback holds this frame, which is not to hold it.
        del failure


def cancellations() -> int:
    """Return how often somebody asked that this task end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def ended(
    tasks: Iterable[asyncio.Task[Any]], within: float
) -> set[asyncio.Task[Any]]:
    """Wait until tasks have ended, and return those that did not in time.

    Nothing is cancelled: what outlives that would have to be waited for again.
    """
    every = set(tasks) - {asyncio.current_task()}
    if not every:
        return set()
    _, left = await asyncio.wait(every, timeout=max(0.0, within))
    return left


def names_of(tasks: Iterable[asyncio.Task[Any]], most: int = 5) -> str:
    """Return what tasks are called, as far as it fits into a message."""
    names = sorted(task.get_name() for task in tasks)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _name(hook: object) -> object:
    return getattr(hook, "__name__", hook)

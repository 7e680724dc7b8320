"""Tells what follows from what happened to a case, whatever becomes of who noticed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar

from pysys_orch.livecheck.bounds import Limits, guarded
from pysys_orch.livecheck.events import Notice

_telling: ContextVar[Notice | None] = ContextVar("telling", default=None)


class Teller:
    """Tells notices in their order, in a task of its own: no test cuts that off.

    Args:
        name: Whose they are.
        limits: What cuts off telling that takes too long.
        save: Has the state that is told of known for sure, before it is told.
        tell: Tells one. It may hang, and raise.
        note: Takes down that one was told.
    """

    def __init__(
        self,
        name: str,
        *,
        limits: Limits,
        save: Callable[[], Awaitable[None]],
        tell: Callable[[Notice], Awaitable[None]],
        note: Callable[[], None],
    ) -> None:
        self._name = name
        self._limits = limits
        self._save = save
        self._tell = tell
        self._note = note
        self._untold: deque[Notice] = deque()
        self._now: Notice | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def untold(self) -> tuple[Notice, ...]:
        """What was not told yet; the one that is being told is the first."""
        return tuple(self._untold)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """What tells, if there is anything to tell."""
        task = self._task
        return set() if task is None or task.done() else {task}

    @property
    def is_telling(self) -> bool:
        """Whether this code was called to tell something."""
        return self._now is not None and _telling.get() is self._now

    def put(self, notices: Iterable[Notice]) -> None:
        """Take down what is to be told, by whoever calls `start` next."""
        self._untold.extend(notices)

    def start(self) -> None:
        """Begin to tell, if there is anything."""
        if self._untold and not self.tasks:
            name = f"livecheck {self._name} tell"
            self._task = asyncio.create_task(self._run(), name=name)

    async def tell(self) -> None:
        """Tell what there is; if this is cut off, it is told nevertheless."""
        self.start()
        # Who is called to tell something would wait for itself.
        if self.tasks and not self.is_telling:
            await asyncio.wait(self.tasks)

    async def _run(self) -> None:
        while self._untold:
            await self._save()
            for _ in range(len(self._untold)):
                self._now = self._untold[0]
                _telling.set(self._now)
                try:
                    await guarded(
                        self._name, self._tell, self._now, limits=self._limits
                    )
                finally:
                    self._now = None
                self._untold.popleft()
                self._note()

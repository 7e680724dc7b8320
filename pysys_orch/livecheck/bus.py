"""How signals, executions and reports travel. Nothing else knows.

What travels are messages: names and values as JSON has them, with a key, as faust's
topics carry them. So another bus, as one over Kafka, is one class; no case changes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol

log = logging.getLogger("pysys.orch.livecheck")

Message = dict[str, Any]
Handler = Callable[[str, Message], Awaitable[None]]


class Topic(StrEnum):
    """What a message is about; the values are the names of faust's topics."""

    EXECUTIONS = "livecheck"
    SIGNALS = "livecheck-bus"
    REPORTS = "livecheck-report"


class Bus(Protocol):
    """Carries messages from whoever sends them to those who have subscribed.

    Messages with the same key arrive in the order in which they were sent, where all
    that concerns a test is: its signals come to who executes it.
    """

    @property
    def is_leader(self) -> bool:
        """Whether this is the one of many workers that does what one has to do."""
        ...

    def subscribe(self, topic: Topic, handler: Handler) -> None:
        """Have a handler called with the key and the content of each message."""
        ...

    async def start(self) -> None:
        """Begin to carry messages."""
        ...

    async def stop(self) -> None:
        """Carry what was sent, and no more."""
        ...

    async def send(self, topic: Topic, key: str, message: Message) -> None:
        """Send a message."""
        ...


class LocalBus:
    """A bus within this process.

    It has no queue: a message has arrived when `send` returns. Whoever handles one says
    how many it lets wait. A handler that raises is logged, and the others are called.
    """

    def __init__(self) -> None:
        self._handlers: dict[Topic, list[Handler]] = {topic: [] for topic in Topic}

    @property
    def is_leader(self) -> bool:
        """Whether this is the one that does what one has to do: it is alone."""
        return True

    def subscribe(self, topic: Topic, handler: Handler) -> None:
        """Have a handler called with the key and the content of each message."""
        self._handlers[topic].append(handler)

    async def start(self) -> None:
        """Begin: there is nothing to do."""

    async def stop(self) -> None:
        """End: there is nothing on its way."""

    async def send(self, topic: Topic, key: str, message: Message) -> None:
        """Hand a message to all who have subscribed to the topic."""
        for handler in self._handlers[topic]:
            try:
                await handler(key, message)
            except Exception:
                log.exception("A handler of %s failed with %s", topic.value, key)

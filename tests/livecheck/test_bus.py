"""What is sent arrives, at all who asked for it."""

from __future__ import annotations

from typing import Any

import pytest

from pysys_orch.livecheck import Bus, LocalBus, Topic
from pysys_orch.testing import run_virtual


def test_a_message_has_arrived_when_it_is_sent() -> None:
    """Each subscriber of the topic gets it, once and in order."""
    heard: list[tuple[str, str, int]] = []

    async def main() -> None:
        bus: Bus = LocalBus()

        def hear(name: str, topic: Topic) -> None:
            async def handle(key: str, message: dict[str, Any]) -> None:
                heard.append((name, key, message["n"]))

            bus.subscribe(topic, handle)

        hear("first", Topic.SIGNALS)
        hear("second", Topic.SIGNALS)
        hear("other", Topic.REPORTS)
        await bus.start()
        for number in range(2):
            await bus.send(Topic.SIGNALS, "k", {"n": number})
        await bus.stop()

    run_virtual(main())
    assert heard == [
        ("first", "k", 0),
        ("second", "k", 0),
        ("first", "k", 1),
        ("second", "k", 1),
    ]


def test_a_handler_that_fails_keeps_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor does the sender learn of it: it is logged."""
    heard: list[str] = []

    async def fail(_key: str, _message: dict[str, Any]) -> None:
        raise OSError("no disk")

    async def hear(key: str, _message: dict[str, Any]) -> None:
        heard.append(key)

    async def main() -> None:
        bus = LocalBus()
        bus.subscribe(Topic.EXECUTIONS, fail)
        bus.subscribe(Topic.EXECUTIONS, hear)
        await bus.send(Topic.EXECUTIONS, "k", {})

    run_virtual(main())
    assert heard == ["k"]
    assert "no disk" in caplog.text


def test_who_is_alone_leads() -> None:
    """Fake requests are made by one of many, and that is this one."""
    assert LocalBus().is_leader


def test_topics_are_called_as_those_of_faust() -> None:
    """Whoever listens to faust's topics hears the same."""
    assert [topic.value for topic in Topic] == [
        "livecheck",
        "livecheck-bus",
        "livecheck-report",
    ]

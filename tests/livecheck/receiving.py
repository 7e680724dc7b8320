"""A receiver of a running application, at a real port, and a client for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

import aiohttp

from pysys_orch.livecheck import Case, LiveCheck, Signal, Topic
from pysys_orch.livecheck.receiver import Receiver

T = TypeVar("T")


class Order(Case):
    """Passes if what is sent is 1, and fails otherwise."""

    sent: Signal[Any]
    shipped: Signal[str]
    probability = 1.0

    async def run(self, *_: Any, **__: Any) -> None:
        value = await self.sent.wait(timeout=20)
        assert value == 1, f"got {value}"


class Site:
    """A receiver and what it stands for.

    Attributes:
        app: The application, with the case `Order`.
        receiver: The receiver.
        client: A client for it.
        reports: All reports, in order.
    """

    def __init__(
        self, app: LiveCheck, receiver: Receiver, client: aiohttp.ClientSession
    ) -> None:
        self.app = app
        self.receiver = receiver
        self.client = client
        self.reports: list[dict[str, Any]] = []
        app.bus.subscribe(Topic.REPORTS, self._hear)

    async def _hear(self, _key: str, report: dict[str, Any]) -> None:
        self.reports.append(report)

    async def ask(
        self, method: str, path: str, **options: Any
    ) -> tuple[int, str, dict[str, str]]:
        """Return status, text and headers of an answer."""
        url = path if "://" in path else self.receiver.url + path
        async with self.client.request(method, url, **options) as answer:
            return answer.status, await answer.text(), dict(answer.headers)

    async def post(self, path: str, said: object, **options: Any) -> tuple[int, str]:
        """Return status and text of the answer to JSON, or to bytes as they are."""
        body = {"data": said} if isinstance(said, bytes) else {"json": said}
        status, text, _ = await self.ask("POST", path, **body, **options)
        return status, text

    async def get(self, path: str) -> dict[str, Any]:
        """Return the JSON of an answer."""
        status, _, _ = await self.ask("GET", path)
        assert status == 200
        async with self.client.get(self.receiver.url + path) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def run(self, id_: str, value: object = 1) -> None:
        """Have a test executed that is sent a value."""
        assert (await self.post("/signal", signal(id_, value)))[0] == 200
        assert (await self.post("/trigger", {"case": "Order", "id": id_}))[0] == 200
        assert await self.app.wait_idle(20)

    @property
    def traces(self) -> object:
        """What is different after anything has happened."""
        return [
            (name, case.health, len(case.arrivals), case.arrivals.waiting)
            for name, case in self.app.cases.items()
        ], len(self.reports)


def signal(key: object, value: object = 1, **others: object) -> dict[str, object]:
    """Return a signal for the case `Order`, as JSON has it."""
    said = {"case_name": "Order", "signal_name": "sent", "key": key, "value": value}
    return said | others


def serve(
    scene: Callable[[Site], Awaitable[T]],
    *cases: type[Case],
    app: LiveCheck | None = None,
    **options: Any,
) -> T:
    """Run a scene with a receiver, in real time: it has half a minute."""

    async def whole() -> T:
        made = LiveCheck("shop", random=Random(7)) if app is None else app
        for case in cases or (Order,):
            made.add_case(case)
        async with (
            asyncio.timeout(30),
            made,
            Receiver(made, **options) as receiver,
            aiohttp.ClientSession() as client,
        ):
            return await scene(Site(made, receiver, client))

    return asyncio.run(whole())

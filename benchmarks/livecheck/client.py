"""Sends signals as a system under test does: many at a time, each in its own request.

    python -m benchmarks.livecheck.client HOST:PORT CASE COUNT CONNECTIONS RATE

prints how long the answers took, as JSON. A rate of 0 is as fast as can be. What is
sent and read is HTTP and no more, so that it is not the client that is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

_REQUEST = (
    "POST /signal HTTP/1.1\r\n"
    "Host: {place}\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: {length}\r\n"
    "\r\n"
    "{body}"
)
_LENGTH = b"content-length:"


async def main(
    place: str, case: str, count: int, connections: int, rate: float
) -> None:
    """Send them, and print figures."""
    took: list[float] = []
    numbers = iter(range(count))
    host, _, port = place.rpartition(":")
    begin = time.perf_counter()

    async def send() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in numbers:
            due = begin + number / rate if rate else time.perf_counter()
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            signal = {
                "case_name": case,
                "signal_name": "signal",
                "key": str(number),
                "value": {"amount": number},
            }
            body = json.dumps(signal)
            writer.write(
                _REQUEST.format(place=place, length=len(body), body=body).encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise AssertionError(head)
            length = head.lower().partition(_LENGTH)[2].partition(b"\r")[0]
            await reader.readexactly(int(length))
            took.append(time.perf_counter() - due)
        writer.close()

    await asyncio.gather(*(send() for _ in range(connections)))
    whole = time.perf_counter() - begin
    took.sort()
    figures = {
        "took": whole,
        "p50": took[len(took) // 2] * 1000,
        "p99": took[len(took) * 99 // 100] * 1000,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    place, case, *rest = sys.argv[1:]
    asyncio.run(main(place, case, int(rest[0]), int(rest[1]), float(rest[2])))

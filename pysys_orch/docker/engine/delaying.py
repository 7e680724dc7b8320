"""The process that delays and loses packets: ``python -m ...delaying TASK``.

Started by `pysys_orch.docker.engine.links.Delay` within the network namespace of a
container, where rules hand packets to a queue of the kernel. It looks at their lengths
only, and says of each when it may go on. When the run dies it lets all go, and ends; so
does the kernel when this process is killed.

Why not ``tc netem``: many kernels come without it, in which nothing can be delayed
then, and it cannot be had for some of the packets beside another fault.

Source:
    ``linux/netfilter/nfnetlink_queue.h``
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import select
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine.fault import Link
from pysys_orch.docker.engine.ownership import start_of_process

#: What it says once packets are handed to it.
READY = "ready"

_NETFILTER = 12
_REQUEST_WITH_ANSWER = 5
_ERROR = 2
_SUBSYSTEM = 3 << 8
_PACKET, _VERDICT, _CONFIG, _VERDICT_BATCH = range(4)
_OF_HEADER, _OF_VERDICT, _OF_PAYLOAD, _OF_LENGTH = 1, 2, 10, 13
_CONFIG_COMMAND, _CONFIG_PARAMETERS, _CONFIG_MOST = 1, 2, 3
_BIND = 1
_COPY_PACKET = 2
_HEAD_BYTES = 20  # what is copied of a packet; its length comes with it
_DROP, _ACCEPT = 0, 1
_MOST_PACKETS = 50_000
_BUFFER_BYTES = 32 * 2**20
_FORCED_BUFFER = 33
_HEADERS_BYTES = 20  # of netlink and of netfilter


class Shaper:
    """Decides when each packet goes on.

    Args:
        link: What becomes of packets.
        generator: What decides on chance.
    """

    def __init__(self, link: Link, generator: random.Random) -> None:
        self._link = link
        self._generator = generator
        self._free = 0.0  # when the link has sent what is before
        self._last = 0.0

    def due(self, size: int, now: float) -> float | None:
        """Return the instant at which a packet goes on; None if it is lost.

        Args:
            size: Its length in bytes.
            now: The present instant.
        """
        link = self._link
        if link.loss and self._generator.random() < link.loss:
            return None
        begin = now
        if link.rate is not None:
            self._free = max(now, self._free) + size * 8 / link.rate
            begin = self._free
        late = link.delay
        if link.jitter:
            late += self._generator.uniform(-link.jitter, link.jitter)
        self._last = max(self._last, begin + late)
        return self._last


class Queue:
    """A queue of the kernel in this process's network namespace.

    Raises:
        OSError: It cannot be had.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
        self.socket.bind((0, 0))
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, _BUFFER_BYTES)
        self._configure(_CONFIG_COMMAND, struct.pack(">BxH", _BIND, 0))
        self._configure(
            _CONFIG_PARAMETERS, struct.pack(">IB", _HEAD_BYTES, _COPY_PACKET)
        )
        self._configure(_CONFIG_MOST, struct.pack(">I", _MOST_PACKETS))
        self.socket.setblocking(False)

    def packets(self) -> Iterator[tuple[int, int]]:
        """Yield the number and the length of each packet that has arrived."""
        while True:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return
            except OSError as failure:
                if failure.errno == errno.ENOBUFS:  # the kernel has dropped some
                    continue
                raise
            (kind,) = struct.unpack_from("=H", data, 4)
            if kind != _SUBSYSTEM | _PACKET:
                continue
            found = dict(_attributes(data))
            (packet,) = struct.unpack_from(">I", found[_OF_HEADER])
            size = len(found.get(_OF_PAYLOAD, b""))
            if _OF_LENGTH in found:
                (size,) = struct.unpack(">I", found[_OF_LENGTH])
            yield packet, size

    def drop(self, packet: int) -> None:
        """Lose one packet."""
        self._judge(_VERDICT, _DROP, packet)

    def accept_up_to(self, packet: int) -> None:
        """Let this packet go on, and all before it that are still there."""
        self._judge(_VERDICT_BATCH, _ACCEPT, packet)

    def _judge(self, message: int, verdict: int, packet: int) -> None:
        body = struct.pack(">II", verdict, packet)
        with contextlib.suppress(OSError):  # that it is gone already
            self.socket.send(self._message(message, 1, _OF_VERDICT, body))

    def _configure(self, attribute: int, body: bytes) -> None:
        said = self._message(_CONFIG, _REQUEST_WITH_ANSWER, attribute, body)
        self.socket.send(said)
        while True:
            answer = self.socket.recv(65536)
            (kind,) = struct.unpack_from("=H", answer, 4)
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", answer, 16)
                if code:
                    raise OSError(-code, os.strerror(-code))
                return

    def _message(self, message: int, flags: int, attribute: int, body: bytes) -> bytes:
        padded = body + bytes(-len(body) % 4)
        return (
            struct.pack(
                "=IHHII",
                _HEADERS_BYTES + 4 + len(padded),
                _SUBSYSTEM | message,
                flags,
                0,
                0,
            )
            + struct.pack(">BBH", socket.AF_UNSPEC, 0, self._number)
            + struct.pack("=HH", 4 + len(body), attribute)
            + padded
        )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = _HEADERS_BYTES
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, position)
        yield kind & 0x3FFF, data[position + 4 : position + length]
        position += max(length + 3 & ~3, 4)


def main(task: Mapping[str, Any]) -> None:
    """Do what *task* says, until its run says no more, or is dead."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    link = Link(**task["link"])
    generator = random.Random(link.seed)  # noqa: S311 -- not for secrets
    clock = SystemClock()
    shaper = Shaper(link, generator)
    queue = Queue(task["queue"])
    ends = [sys.stdin.fileno()]
    if hasattr(os, "pidfd_open"):
        # The end of the input alone does not tell: a fork may hold the other end.
        with contextlib.suppress(OSError):
            ends.append(os.pidfd_open(task["run"]))
        if start_of_process(task["run"]) != task["start"]:
            return
    print(READY, flush=True)  # noqa: T201 -- this is how it speaks
    held: deque[tuple[float, int]] = deque()
    watched = [queue.socket.fileno(), *ends]
    while True:
        wait = max(0.0, held[0][0] - clock.instant()) if held else None
        ready, _, _ = select.select(watched, [], [], wait)
        now = clock.instant()
        for packet, size in queue.packets():
            due = shaper.due(size, now)
            if due is None:
                queue.drop(packet)
            else:
                held.append((due, packet))
        if any(end in ready for end in ends):
            break
        last = None
        while held and held[0][0] <= now:
            last = held.popleft()[1]
        if last is not None:
            queue.accept_up_to(last)
    if held:
        queue.accept_up_to(held[-1][1])


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except OSError as failure:
        raise SystemExit(failure.strerror) from None

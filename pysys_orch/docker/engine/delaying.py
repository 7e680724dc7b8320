"""The process that delays and loses packets: ``python -m ...delaying TASK``.

Started by `pysys_orch.docker.engine.links.Delay` within the network namespace of a
container, where rules hand packets to a queue of the kernel. It takes each packet, and
sends it itself when it is due. When the run dies it sends all that it has, and ends;
where nobody listens to the queue, the kernel lets packets pass.

Why not let the kernel keep a packet until it is due: the sender's TCP counts what has
not left its machine, and waits for that, so that a delay of 50 ms would leave 1 Mbit/s.

Why not ``tc netem``: many kernels come without it, in which nothing can be delayed
then, and it cannot be had for some of the packets beside another fault.

Source:
    ``linux/netfilter/nfnetlink_queue.h``
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import random
import select
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine.fault import Link
from pysys_orch.docker.engine.fragments import fragments
from pysys_orch.docker.engine.ownership import start_of_process
from pysys_orch.docker.engine.rules import SENT_MARK

#: What it says once packets are handed to it, and the number of the queue after that.
READY = "ready"

#: How much memory packets may take while they wait, in bytes.
MOST_HELD_BYTES = 64 * 2**20

_NETFILTER = 12
_SIX = 6
_REQUEST_WITH_ANSWER = 5
_ERROR = 2
_SUBSYSTEM = 3 << 8
_PACKET, _, _CONFIG, _VERDICT_BATCH = range(4)
_OF_HEADER, _OF_VERDICT, _OF_PAYLOAD = 1, 2, 10
_CONFIG_COMMAND, _CONFIG_PARAMETERS, _CONFIG_MOST = 1, 2, 3
_BIND = 1
_COPY_PACKET = 2
_WHOLE = 0xFFFF
_DROP = 0
_PRIORITY = -20
_MOST_PACKETS = 50_000
_BUFFER_BYTES = 32 * 2**20
_FORCED_BUFFER = 33
_HEADERS_BYTES = 20  # of netlink and of netfilter
_HOLDING_BYTES = 150  # of memory beside each packet
_MTU = {  # IP_MTU and IPV6_MTU
    socket.AF_INET: (socket.IPPROTO_IP, 14),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 24),
}
_ANY_PORT = 9


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


class Held:
    """Packets that wait until they are due, the first of them first.

    Args:
        most: How much memory they may take, in bytes.
    """

    def __init__(self, most: int = MOST_HELD_BYTES) -> None:
        self._most = most
        self._taken = 0
        self._packets: deque[tuple[float, bytes]] = deque()

    @property
    def next_due(self) -> float | None:
        """The instant at which one is due; None if there is none."""
        return self._packets[0][0] if self._packets else None

    def has_room(self, size: int) -> bool:
        """Return whether a packet of *size* bytes can be held, too."""
        return self._taken + size + _HOLDING_BYTES <= self._most

    def add(self, due: float, packet: bytes) -> None:
        """Hold one until *due*, which is not before that of others."""
        self._taken += len(packet) + _HOLDING_BYTES
        self._packets.append((due, packet))

    def take(self, now: float) -> Iterator[bytes]:
        """Yield those that are due, which are not held any more then."""
        while self._packets and self._packets[0][0] <= now:
            _, packet = self._packets.popleft()
            self._taken -= len(packet) + _HOLDING_BYTES
            yield packet


class Queue:
    """A queue of the kernel in this process's network namespace.

    Attributes:
        number: Its number.

    Args:
        numbers: Those that it may have; the first that nobody else has is taken.

    Raises:
        PermissionError: Others have all of them.
        OSError: None can be had.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
        self.socket.bind((0, 0))
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, _BUFFER_BYTES)
        self.number = self._bind(numbers)
        parameters = struct.pack(">IB", _WHOLE, _COPY_PACKET)
        self._configure(self.number, _CONFIG_PARAMETERS, parameters)
        most = struct.pack(">I", _MOST_PACKETS)
        self._configure(self.number, _CONFIG_MOST, most)
        self.socket.setblocking(False)

    def packets(self) -> Iterator[bytes]:
        """Yield what has arrived, which the kernel forgets by that."""
        last = None
        while True:
            try:
                data = self.socket.recv(1 << 17)
            except BlockingIOError:
                if last is not None:
                    self._forget_up_to(last)
                return
            except OSError as failure:
                if failure.errno == errno.ENOBUFS:  # the kernel has dropped some
                    continue
                raise
            (kind,) = struct.unpack_from("=H", data, 4)
            if kind != _SUBSYSTEM | _PACKET:
                continue
            found = dict(_attributes(data))
            (last,) = struct.unpack_from(">I", found[_OF_HEADER])
            yield found.get(_OF_PAYLOAD, b"")

    def _forget_up_to(self, packet: int) -> None:
        body = struct.pack(">II", _DROP, packet)
        message = self._message(self.number, _VERDICT_BATCH, 1, _OF_VERDICT, body)
        with contextlib.suppress(OSError):  # that they are gone already
            self.socket.send(message)

    def _bind(self, numbers: Iterable[int]) -> int:
        command = struct.pack(">BxH", _BIND, 0)
        for number in numbers:
            # The kernel gives each to one process only.
            with contextlib.suppress(PermissionError):
                self._configure(number, _CONFIG_COMMAND, command)
                return number
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    def _configure(self, number: int, attribute: int, body: bytes) -> None:
        said = self._message(number, _CONFIG, _REQUEST_WITH_ANSWER, attribute, body)
        self.socket.send(said)
        while True:
            answer = self.socket.recv(65536)
            (kind,) = struct.unpack_from("=H", answer, 4)
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", answer, 16)
                if code:
                    raise OSError(-code, os.strerror(-code))
                return

    @staticmethod
    def _message(
        number: int, message: int, flags: int, attribute: int, body: bytes
    ) -> bytes:
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
            + struct.pack(">BBH", socket.AF_UNSPEC, 0, number)
            + struct.pack("=HH", 4 + len(body), attribute)
            + padded
        )


class Sender:
    """Sends packets as they are, marked as ones that are not to be queued again."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}

    def send(self, packet: bytes) -> None:
        """Send one; what cannot be sent is lost, as on any link."""
        if packet[0] >> 4 == _SIX:
            family, packed = socket.AF_INET6, packet[24:40]
        else:
            family, packed = socket.AF_INET, packet[16:20]
        address = socket.inet_ntop(family, packed)
        made = self._socket(family)
        with contextlib.suppress(OSError):
            try:
                made.sendto(packet, (address, 0))
            except OSError as failure:
                if failure.errno != errno.EMSGSIZE:
                    raise
                # The queue is before the place where the kernel cuts what is too long.
                most = _longest(family, address)
                for each in fragments(packet, most, os.urandom(4)):
                    made.sendto(each, (address, 0))

    def _socket(self, family: socket.AddressFamily) -> socket.socket:
        if family not in self._sockets:
            # Of this protocol, the header comes with the packet.
            made = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, SENT_MARK)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            self._sockets[family] = made
        return self._sockets[family]


def _longest(family: socket.AddressFamily, address: str) -> int:
    """Return how many bytes a packet to an address may have."""
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asking.connect((address, _ANY_PORT))  # which sends nothing
        return asking.getsockopt(*_MTU[family])


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
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)  # on a busy machine, too
    link = Link(**task["link"])
    generator = random.Random(link.seed)  # noqa: S311 -- not for secrets
    clock = SystemClock()
    shaper = Shaper(link, generator)
    queue = Queue(task["queues"])
    ends = [sys.stdin.fileno()]
    if hasattr(os, "pidfd_open"):
        # The end of the input alone does not tell: a fork may hold the other end.
        with contextlib.suppress(OSError):
            ends.append(os.pidfd_open(task["run"]))
        if start_of_process(task["run"]) != task["start"]:
            return
    print(READY, queue.number, flush=True)  # noqa: T201 -- this is how it speaks
    sender = Sender()
    held = Held()
    watched = [queue.socket.fileno(), *ends]
    while True:
        due = held.next_due
        wait = None if due is None else max(0.0, due - clock.instant())
        ready, _, _ = select.select(watched, [], [], wait)
        now = clock.instant()
        for packet in queue.packets():
            if not packet or not held.has_room(len(packet)):
                continue
            due = shaper.due(len(packet), now)
            if due is not None:
                held.add(due, packet)
        is_over = any(end in ready for end in ends)
        for packet in held.take(math.inf if is_over else now):
            sender.send(packet)
        if is_over:
            return


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    try:
        main(told)
    except PermissionError:
        numbers = ", ".join(map(str, told["queues"]))
        words = f"other processes have all queues that were tried: {numbers}"
        raise SystemExit(words) from None
    except OSError as failure:
        words = f"{failure.strerror} (it takes a kernel with nfnetlink_queue)"
        raise SystemExit(words) from None

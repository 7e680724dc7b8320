"""What an engine goes on to send: logs and events."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from pysys_orch.docker.engine.asking import ANSWER_TIMEOUT, Json, cause_of
from pysys_orch.docker.engine.model import read_stamp
from pysys_orch.docker.engine.transport import Response
from pysys_orch.errors import DockerError, EngineAnswerError, EngineUnreachableError

_FRAME_HEADER = struct.Struct(">BxxxL")
_ERROR_STREAM = 3  # the engine's own words about a log that it cannot read on


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFrame:
    """One message of a container's log, as the engine hands it over.

    Attributes:
        stream: 1 for standard output, 2 for standard error.
        stamp: When the engine received it, as the engine wrote it (RFC 3339, with
            nanoseconds); empty for a container with a terminal.
        payload: A line with its end, or part of one.
    """

    stream: int
    stamp: str
    payload: bytes


class _Stream:
    """An open answer, which any thread may end while another one reads it.

    Attributes:
        failure: Why it ended, where the engine did not mean it to end.
    """

    def __init__(self, response: Response, *, endpoint: str) -> None:
        self._response = response
        self._endpoint = endpoint
        self.failure: DockerError | None = None

    def without_limit(self) -> Self:
        """Wait for ever from now on: silence is no failure."""
        self._response.without_limit()
        return self

    def close(self) -> None:
        """End the stream, also while another thread reads it."""
        self._response.close()

    def _pieces(self) -> Iterator[bytes]:
        """Yield what arrives, all at once what has arrived together."""
        try:
            yield from self._response.pieces()
        except Exception as failure:  # noqa: BLE001 -- whatever ends a stream ends it
            self._broke(cause_of(failure, ANSWER_TIMEOUT))

    def _broke(self, cause: str) -> None:
        self.failure = EngineUnreachableError(
            self._endpoint, f"a stream broke off: {cause}"
        )


class LogStream(_Stream):
    """An open stream of log frames, which another thread may close."""

    def __init__(self, response: Response, *, endpoint: str, framed: bool) -> None:
        super().__init__(response, endpoint=endpoint)
        self._framed = framed

    def __iter__(self) -> Iterator[LogFrame]:
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[LogFrame]]:
        """Yield the frames, all at once those that have arrived together."""
        if not self._framed:
            for data in self._pieces():
                yield [LogFrame(stream=1, stamp="", payload=data)]
            return
        buffer = b""
        for data in self._pieces():
            buffer += data
            frames, used = self._frames(buffer)
            buffer = buffer[used:]
            if frames:
                yield frames
            if self.failure is not None:
                return
        if buffer and self.failure is None:
            self._broke("in the middle of a frame")

    def _frames(self, buffer: bytes) -> tuple[list[LogFrame], int]:
        """Return the frames in *buffer*, and how many of its bytes they take."""
        frames: list[LogFrame] = []
        position = 0
        while len(buffer) - position >= _FRAME_HEADER.size:
            stream, length = _FRAME_HEADER.unpack_from(buffer, position)
            begin = position + _FRAME_HEADER.size
            end = begin + length
            if end > len(buffer):
                break
            position = end
            if stream == _ERROR_STREAM:
                words = buffer[begin:end].decode("utf-8", "replace")
                self.failure = EngineAnswerError("read a log", 500, words.strip())
                break
            stamp, _, payload = buffer[begin:end].partition(b" ")
            frames.append(
                LogFrame(stream=stream, stamp=stamp.decode(), payload=payload)
            )
        return frames, position


class EventStream(_Stream):
    """An open stream of what happens to containers, which any thread may close."""

    def __iter__(self) -> Iterator[Json]:
        buffer = b""
        for data in self._pieces():
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)


def log_parameters(
    *, framed: bool, since: str, stdout: bool, stderr: bool, tail: int | None
) -> Json:
    """Return the parameters of a request for a log.

    Args:
        framed: Whether it comes in frames, as of what has no terminal.
        since: The stamp of a frame, as it was read; empty for the beginning.
        stdout: Whether standard output is wanted.
        stderr: Whether standard error is wanted.
        tail: How many of the last lines are wanted; None is all.
    """
    return {
        "stdout": int(stdout),
        "stderr": int(stderr),
        "timestamps": int(framed),
        "since": _unix_time(since) if since else "0",
        "tail": "all" if tail is None else str(tail),
    }


def _unix_time(stamp: str) -> str:
    """Return a log frame's stamp as the seconds with nanoseconds that *since* takes."""
    nanoseconds = stamp.partition(".")[2].rstrip("Z").ljust(9, "0")[:9]
    return f"{int(read_stamp(stamp).timestamp())}.{nanoseconds}"

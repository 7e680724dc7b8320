"""Kill switches: how an event learns that it has to end."""

from __future__ import annotations

import multiprocessing

# Systems count milliseconds, and have no number for those of a month.
_LONGEST_WAIT = 86400.0


class KillSwitch:
    """Once set, it stays set: an event that is asked to end ends.

    It can be waited for by threads, and by processes that it was given to as an
    argument, as a `multiprocessing.Event` can; but no process that is killed while it
    waits harms those who still do.

    Args:
        whole: The switch of the whole run, if this one is for a single call: whoever
            sets this one means that.

    Attributes:
        is_noticed: Whether this process knows that it is set: who sets it here does at
            once, and else who asks or waits. To look at it costs nothing.
    """

    def __init__(self, whole: KillSwitch | None = None) -> None:
        # Nobody ever reads what is written: it is there for all, for ever.
        self._reader, self._writer = multiprocessing.Pipe(duplex=False)
        self._whole = whole
        if whole is None:
            self._asked, self._asker = multiprocessing.Pipe(duplex=False)
        self.is_noticed = False

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self.is_noticed or self.wait(0)

    def set(self) -> None:
        """End the run, and have the test fail."""
        if self._whole is not None:
            self._whole.set()
        elif not self.was_set:
            self._asker.send_bytes(b"!")
        self.cancel()

    @property
    def was_set(self) -> bool:
        """Whether somebody has set it, and the run has not only come to its end."""
        return self._asked.poll(0) if self._whole is None else self._whole.was_set

    def cancel(self) -> None:
        """End the call, or the run, that has this one, and nothing else."""
        if not self.is_set():
            self._writer.send_bytes(b"!")
            self.is_noticed = True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set.

        Args:
            timeout: For how many seconds; for ever by default.

        Returns:
            Whether it is set.
        """
        while timeout is not None and timeout > _LONGEST_WAIT:
            if self._reader.poll(_LONGEST_WAIT):
                timeout = 0.0
            else:
                timeout -= _LONGEST_WAIT
        if self._reader.poll(timeout):
            self.is_noticed = True
        return self.is_noticed

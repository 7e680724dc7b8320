"""How much is logged of what goes wrong again and again."""

from __future__ import annotations

#: How many failures are logged in full, before most are left out.
WHOLE = 100

#: One in how many is logged then.
EVERY = 1_000


class Talk:
    """Counts the failures of a case: the first are logged, then few.

    Args:
        whole: How many are logged before any is left out.
        every: One in how many is logged then.

    Attributes:
        left_out: How many were left out since the last that was logged.

    Example:
        >>> from pysys_orch.livecheck.talk import Talk
        >>> talk = Talk(whole=2, every=3)
        >>> [talk.due() for _ in range(8)]
        [0, 0, None, None, 2, None, None, 2]
    """

    __slots__ = ("_count", "_every", "_whole", "left_out")

    def __init__(self, *, whole: int = WHOLE, every: int = EVERY) -> None:
        self._whole = whole
        self._every = every
        self._count = 0
        self.left_out = 0

    def due(self) -> int | None:
        """Count a failure, and say whether it is to be logged.

        Returns:
            How many were left out before it; None if it is left out, too.
        """
        self._count += 1
        beyond = self._count - self._whole
        if beyond > 0 and beyond % self._every:
            self.left_out += 1
            return None
        before, self.left_out = self.left_out, 0
        return before

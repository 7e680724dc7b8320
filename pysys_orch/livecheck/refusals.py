"""What a receiver refused: whoever sent it may not see why, as wget does not."""

from __future__ import annotations

import logging
from urllib.parse import quote

from pysys_orch.livecheck.talk import Talk
from pysys_orch.livecheck.wire import CUT

log = logging.getLogger("pysys.orch.livecheck")

#: How many are logged in full, before most are left out.
WHOLE = 20

#: One in how many is logged then.
EVERY = 1_000

_LONGEST = 300


class Refusals:
    """Counts refusals and logs them, the first in full, then few.

    Args:
        name: Whose they are.
        secret: What must never be logged.

    Attributes:
        count: How many there were.
    """

    def __init__(self, name: str, *, secret: str) -> None:
        self.count = 0
        self._name = name
        self._secrets = (secret, quote(secret, safe=""))
        self._talk = Talk(whole=WHOLE, every=EVERY)

    def note(self, request: str, sender: str | None, status: int, why: str) -> None:
        """Take down a refusal.

        Args:
            request: What was asked, as ``POST /trigger``.
            sender: The address that asked; None if it is not known.
            status: The HTTP status of the answer.
            why: What the answer says.
        """
        self.count += 1
        left_out = self._talk.due()
        if left_out is None:
            return
        # What somebody sent may be secret.
        words = self._told(why.partition(", got ")[0])
        where = f"{self._told(request)} from {sender or 'somebody'}"
        before = f" ({left_out:,} before it are left out)" if left_out else ""
        log.warning("%s: %s: %d, %s%s", self._name, where, status, words, before)

    def _told(self, words: str) -> str:
        """Return words on one line, without secrets, and not too many of them."""
        for each in self._secrets:
            words = words.replace(each, CUT)
        words = " ".join(words.split())
        return words if len(words) <= _LONGEST else words[:_LONGEST] + CUT

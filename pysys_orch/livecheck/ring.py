"""How many passed and failed of late, in memory that does not grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

#: Into how many parts a window is divided: what is counted is as exact as one of them.
PARTS = 60


class Bucket(NamedTuple):
    """What happened in a part of a window.

    Attributes:
        number: Which part it is, counted from instant 0.
        passed: How many passed.
        failed: How many failed.
        first: When the first of these did; None if none did.
    """

    number: int
    passed: int = 0
    failed: int = 0
    first: float | None = None


@dataclass(frozen=True, slots=True)
class Ring:
    """A window that moves with the present.

    Attributes:
        window: How many seconds it has.
        latest: The part in which the present is.
        earlier: The other ones in which something happened, oldest first.
        passed: How many passed, in all of them.
        failed: How many failed, in all of them.
    """

    window: float
    latest: Bucket
    earlier: tuple[Bucket, ...] = ()
    passed: int = 0
    failed: int = 0

    @classmethod
    def begun(cls, window: float, at: float) -> Self:
        """Return an empty one."""
        return cls(window, Bucket(int(at * PARTS // window)))

    def add(self, at: float, *, has_failed: bool) -> Ring:
        """Return it with one result more."""
        moved = self.at(at)
        number, passed, failed, first = moved.latest
        if has_failed:
            latest = Bucket(number, passed, failed + 1, at if first is None else first)
            return Ring(
                self.window, latest, moved.earlier, moved.passed, moved.failed + 1
            )
        latest = Bucket(number, passed + 1, failed, first)
        return Ring(self.window, latest, moved.earlier, moved.passed + 1, moved.failed)

    def at(self, at: float) -> Ring:
        """Return it as it is at an instant, without what is too long ago by then."""
        number = int(at * PARTS // self.window)
        latest = self.latest
        # What is told late counts as now.
        if number <= latest.number:
            return self
        known = (*self.earlier, latest)
        kept = tuple(
            each
            for each in known
            if each.number > number - PARTS and each.passed + each.failed
        )
        return Ring(
            self.window,
            Bucket(number),
            kept,
            sum(each.passed for each in kept),
            sum(each.failed for each in kept),
        )

    @property
    def count(self) -> int:
        """How many results it has."""
        return self.passed + self.failed

    @property
    def failure_ratio(self) -> float:
        """Which share of them failed, from 0 to 1; 0 if there are none."""
        return self.failed / self.count if self.failed else 0.0

    @property
    def first_failure(self) -> float | None:
        """When the first of those failed; None if none did."""
        firsts = (each.first for each in (*self.earlier, self.latest))
        return next((first for first in firsts if first is not None), None)

    def shifted(self, seconds: float) -> Ring:
        """Return it as on a clock that is so many *seconds* ahead.

        No part is torn: it is as if all had happened a little earlier or later.
        """
        parts = round(seconds * PARTS / self.window)

        def moved(bucket: Bucket) -> Bucket:
            first = None if bucket.first is None else bucket.first + seconds
            return Bucket(bucket.number + parts, bucket.passed, bucket.failed, first)

        earlier = tuple(map(moved, self.earlier))
        return Ring(self.window, moved(self.latest), earlier, self.passed, self.failed)

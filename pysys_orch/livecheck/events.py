"""What happens to a case, and what is to be told of it. All times are instants."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pysys_orch.livecheck.models import State
from pysys_orch.livecheck.troubles import Condition

# What happens. Of these there are very many, and nothing is made faster than a tuple.


class Began(NamedTuple):
    """Somebody begins to watch: what was silent before that was not noticed."""

    at: float


class Started(NamedTuple):
    """A test came, and is executed."""

    at: float


class Ended(NamedTuple):
    """A test was executed.

    Attributes:
        at: When it ended.
        state: How: PASS, FAIL, ERROR or TIMEOUT.
        issued: When it was issued.
    """

    at: float
    state: State
    issued: float


class Skipped(NamedTuple):
    """A test came, and is not executed."""

    at: float


class Silent(NamedTuple):
    """It is time to look whether there was a test.

    `pysys_orch.livecheck.health.stall_due` says when that is.
    """

    at: float


class Down(NamedTuple):
    """A service did not answer, however often it was asked.

    Attributes:
        at: When it was given up.
        why: In words.
    """

    at: float
    why: str


class Answered(NamedTuple):
    """A service answered."""

    at: float


class Condemned(NamedTuple):
    """Somebody who knows better says that the case is failing.

    Attributes:
        at: When.
        why: In words.
        condition: What is wrong then.
    """

    at: float
    why: str
    condition: Condition = Condition.FAILING


Event = Began | Started | Ended | Skipped | Silent | Down | Answered | Condemned


# What is to be told.


class Kind(StrEnum):
    """What a notice is about. The first and the last one follow each other in turn."""

    FAILED = "failed"  # it was well, and is in trouble
    CHANGED = "changed"  # it is in trouble of another kind, too
    STILL = "still"  # it was in trouble, was not for a while, and is again
    FLAPPING = "flapping"  # it changes all the time: what is told is held back
    STEADY = "steady"  # it does no longer
    RECOVERED = "recovered"  # it is well again


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that somebody should hear of.

    Attributes:
        kind: What happened.
        at: When.
        why: In words, on one line.
        from_state: The status of the case before.
        to_state: Its status now.
        condition: What is wrong with it now; for FAILED, CHANGED and STILL what this is
            about.
        since: When the trouble began: when the first of the tests failed, or the last
            one came.
        failures: How many tests failed in a row.
        total_failures: How many ever did.
        executions: How many were ever executed.
    """

    kind: Kind
    at: float
    why: str
    from_state: State
    to_state: State
    condition: Condition
    since: float
    failures: int
    total_failures: int
    executions: int

"""What travels between a live check and what it watches.

Signals, executions and reports are values. Each can be written as what JSON has, with
the names that faust's topics carry, and read again; an execution can also travel as
headers of a request. All stamps are aware and in UTC; one without a zone is taken as
UTC. What a case is called is free, as long as it is the same everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

from pysys_orch.clock import SystemClock
from pysys_orch.livecheck.exceptions import MessageError
from pysys_orch.livecheck.wire import (
    CUT,
    as_utc,
    headers_of,
    iso_of,
    mapping_of,
    optional_text_of,
    seconds_of,
    shown,
    stamp_in,
    stamp_of,
    text_of,
)

log = logging.getLogger("pysys.orch.livecheck")

#: The headers in which an execution travels. Its arguments do not.
HEADER_ID = "LiveCheck-Test-Id"
HEADER_NAME = "LiveCheck-Test-Name"
HEADER_TIMESTAMP = "LiveCheck-Test-Timestamp"
HEADER_EXPIRES = "LiveCheck-Test-Expires"

_HEADERS = (HEADER_ID, HEADER_NAME, HEADER_TIMESTAMP, HEADER_EXPIRES)

# What faust's workers send for PASS, since a tool that hides secrets met its source.
_REDACTED_PASS = "111/***/111"  # noqa: S105 -- hides none

_SHORT_ID = 15

_CLOCK = SystemClock()


#: How the report of a test begins to say why, if others have ended it.
CUT_OFF = "cut off after"


class State(StrEnum):
    """How an execution ended, or how a case is."""

    INIT = "INIT"
    PASS = "PASS"  # noqa: S105 -- no password
    DO_NOT_SHARE = PASS
    FAIL = "FAIL"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    STALL = "STALL"
    SKIP = "SKIP"

    @classmethod
    def _missing_(cls, value: object) -> State | None:
        return cls.PASS if value == _REDACTED_PASS else None

    def is_ok(self) -> bool:
        """Return whether nothing is wrong."""
        return self in _OK


_OK = frozenset({State.INIT, State.PASS, State.SKIP})


@dataclass(frozen=True, slots=True)
class SignalEvent:
    """A signal on its way to those who wait for it.

    Attributes:
        signal_name: Which signal of the case.
        case_name: Which case.
        key: Whom it is for: mostly the id of an execution.
        value: What is to be known there.
    """

    signal_name: str
    case_name: str
    key: Any
    value: Any

    def asdict(self) -> dict[str, Any]:
        """Return its attributes."""
        return {name: getattr(self, name) for name in self.__slots__}

    def as_json(self) -> dict[str, Any]:
        """Return what JSON has of it."""
        return self.asdict()

    @classmethod
    def from_json(cls, said: object) -> Self:
        """Return what `as_json` wrote; a value that is not there is None.

        Raises:
            MessageError: It is no signal.
        """
        whole = mapping_of(said, "signal")
        if "key" not in whole:
            message = f"a signal needs key, got {shown(said)}"
            raise MessageError(message)
        return cls(
            text_of(whole, "signal_name", "signal"),
            text_of(whole, "case_name", "signal"),
            whole["key"],
            whole.get("value"),
        )


@dataclass(frozen=True, slots=True)
class TestExecution:
    """A test that is to be executed.

    Attributes:
        id: Its own; signals for it have it as their key.
        case_name: Which case.
        timestamp: When it was issued.
        test_args: What the case's ``run`` is called with.
        test_kwargs: The same, by name.
        expires: From when on it is too late.
    """

    __test__: ClassVar[bool] = False  # nothing for pytest

    id: str
    case_name: str
    timestamp: datetime
    test_args: list[Any]
    test_kwargs: dict[str, Any]
    expires: datetime

    def __post_init__(self) -> None:
        # All that is made here is UTC already, and there is much of it.
        if self.timestamp.tzinfo is not UTC:
            object.__setattr__(self, "timestamp", as_utc(self.timestamp))
        if self.expires.tzinfo is not UTC:
            object.__setattr__(self, "expires", as_utc(self.expires))

    @classmethod
    def from_headers(cls, headers: Mapping[Any, Any]) -> Self | None:
        """Return the execution that travels in headers; None if there is none.

        They come from anybody, into whatever program reads them: damaged ones are
        logged, and are nobody's failure.

        Args:
            headers: Names and values, each a text or bytes; a name in any case.
        """
        try:
            return cls._of_headers(headers)
        except ValueError as failure:
            log.warning("Ignored damaged live check headers: %s", failure)
            return None

    @classmethod
    def _of_headers(cls, headers: Mapping[Any, Any]) -> Self | None:
        found = headers_of(headers, _HEADERS)
        if found[0] is None:
            return None
        missing = [name for name, it in zip(_HEADERS, found, strict=True) if not it]
        if missing:
            message = f"there is no {', no '.join(missing)}"
            raise ValueError(message)
        id_, name, timestamp, expires = map(str, found)
        return cls(id_, name, stamp_of(timestamp), [], {}, stamp_of(expires))

    def as_headers(self) -> dict[str, str]:
        """Return the headers in which it travels, without its arguments.

        They are the id and the name as they are: a service may use the id as the key
        of its signals.
        """
        return {
            HEADER_ID: self.id,
            HEADER_NAME: self.case_name,
            HEADER_TIMESTAMP: self.timestamp.isoformat(),
            HEADER_EXPIRES: self.expires.isoformat(),
        }

    def asdict(self) -> dict[str, Any]:
        """Return its attributes."""
        return {name: getattr(self, name) for name in self.__slots__}

    def as_json(self) -> dict[str, Any]:
        """Return what JSON has of it: stamps are texts. Its arguments are as given."""
        return {
            "id": self.id,
            "case_name": self.case_name,
            "timestamp": iso_of(self.timestamp),
            "test_args": self.test_args,
            "test_kwargs": self.test_kwargs,
            "expires": iso_of(self.expires),
        }

    @classmethod
    def from_json(cls, said: object) -> Self:
        """Return what `as_json` wrote.

        Raises:
            MessageError: It is no execution.
        """
        kind = "execution"
        whole = mapping_of(said, kind)
        args, kwargs = whole.get("test_args"), whole.get("test_kwargs")
        if not isinstance(args, list | tuple | None):
            message = f"test_args of an {kind} has to be a list, got {shown(args)}"
            raise MessageError(message)
        if not isinstance(kwargs, Mapping | None):
            message = f"test_kwargs of an {kind} has to be names and values, got "
            raise MessageError(message + shown(kwargs))
        return cls(
            text_of(whole, "id", kind),
            text_of(whole, "case_name", kind),
            stamp_in(whole, "timestamp", kind),
            list(args or ()),
            dict(kwargs or {}),
            stamp_in(whole, "expires", kind),
        )

    @property
    def ident(self) -> str:
        """The whole name of it, as logs have it."""
        return f"{self.case_name}:{self.id}"

    @property
    def shortident(self) -> str:
        """A short name of it: the case without its module, a long id cut to 15.

        A cut goes back to the last blank, if there is one, and is marked; an id of 15
        is whole, so it is not.
        """
        id_ = self.id
        if len(id_) > _SHORT_ID:
            id_ = id_[:_SHORT_ID].rpartition(" ")[0] or id_[:_SHORT_ID]
            id_ += CUT
        return f"{self.short_case_name}:{id_}"

    @property
    def short_case_name(self) -> str:
        """What follows the last dot in the name of the case."""
        return self.case_name.rpartition(".")[2]

    @property
    def human_date(self) -> str:
        """When it was issued, for people: only the time, in UTC, if that was today."""
        return self.human_date_at(_CLOCK.stamp())

    @property
    def was_issued_today(self) -> bool:
        """Whether it was issued on this day, in UTC."""
        return self.was_issued_on(_CLOCK.stamp())

    @property
    def is_expired(self) -> bool:
        """Whether it is too late for it now, by the clock of this machine."""
        return self.expired_at(_CLOCK.stamp())

    def expired_at(self, stamp: datetime) -> bool:
        """Return whether it is too late for it at *stamp*; when it expires, it is."""
        return stamp >= self.expires

    def was_issued_on(self, stamp: datetime) -> bool:
        """Return whether it was issued on the day of *stamp*, in UTC."""
        return self.timestamp.date() == as_utc(stamp).date()

    def human_date_at(self, stamp: datetime) -> str:
        """Return `human_date` as it is at *stamp*."""
        if self.was_issued_on(stamp):
            return self.timestamp.strftime("Today %H:%M:%S")
        return str(self.timestamp)


@dataclass(frozen=True, slots=True)
class TestReport:
    """What became of an execution, or of a whole case.

    Attributes:
        case_name: Which case.
        state: How it ended.
        signal_latency: How many seconds each signal was waited for, by its name; only
            those that came.
        test: Which execution; None if it is about the case.
        runtime: How many seconds it took; None if it never ran.
        error: What was wrong; None if nothing was.
        traceback: Where; None if nothing was.
    """

    __test__: ClassVar[bool] = False  # nothing for pytest

    case_name: str
    state: State
    signal_latency: dict[str, float]
    test: TestExecution | None = None
    runtime: float | None = None
    error: str | None = None
    traceback: str | None = None

    def asdict(self) -> dict[str, Any]:
        """Return its attributes."""
        return {name: getattr(self, name) for name in self.__slots__}

    def as_json(self) -> dict[str, Any]:
        """Return what JSON has of it."""
        return {
            "case_name": self.case_name,
            "state": self.state.value,
            "signal_latency": self.signal_latency,
            "test": None if self.test is None else self.test.as_json(),
            "runtime": self.runtime,
            "error": self.error,
            "traceback": self.traceback,
        }

    @classmethod
    def from_json(cls, said: object) -> Self:
        """Return what `as_json` wrote.

        Raises:
            MessageError: It is no report.
        """
        kind = "report"
        whole = mapping_of(said, kind)
        try:
            state = State(str(whole.get("state")))
        except ValueError:
            message = f"{shown(whole.get('state'))} is no state of a {kind}"
            raise MessageError(message) from None
        latency = whole.get("signal_latency")
        if not isinstance(latency, Mapping | None):
            message = f"signal_latency of a {kind} has to be names and seconds, got "
            raise MessageError(message + shown(latency))
        test = whole.get("test")
        return cls(
            text_of(whole, "case_name", kind),
            state,
            {
                str(name): seconds_of(seconds, "signal_latency")
                for name, seconds in (latency or {}).items()
            },
            None if test is None else TestExecution.from_json(test),
            None
            if whole.get("runtime") is None
            else seconds_of(whole["runtime"], "runtime"),
            optional_text_of(whole, "error", kind),
            optional_text_of(whole, "traceback", kind),
        )

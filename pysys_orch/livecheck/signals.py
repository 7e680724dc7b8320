"""Signals: how a test learns that something happened in the system that it watches."""

from __future__ import annotations

import logging
import weakref
from typing import Any, Generic, Protocol, TypeVar, cast, get_args

from pysys_orch.clock import Clock
from pysys_orch.errors import ConfigError
from pysys_orch.livecheck.arrivals import MISSING, Arrivals
from pysys_orch.livecheck.context import current_execution, current_test
from pysys_orch.livecheck.durations import Duration, seconds_of
from pysys_orch.livecheck.exceptions import LiveCheckTestTimeout, MessageError
from pysys_orch.livecheck.models import SignalEvent
from pysys_orch.livecheck.values import plain, reader_of

log = logging.getLogger("pysys.orch.livecheck")

T = TypeVar("T")

_UNKNOWN = object()


class SignalCase(Protocol):
    """A case, as its signals see it."""

    name: str
    arrivals: Arrivals

    @property
    def clock(self) -> Clock:
        """What tells the time."""
        ...

    async def send_signal(self, key: str, event: SignalEvent) -> None:
        """Have a signal travel to whoever waits for it."""
        ...


class Signal(Generic[T]):
    """Something that a case waits for, with a value of type T.

    A case declares it by an annotation, ``order_sent: Signal[Order]``. The system under
    test sends it, from wherever it is; the test waits for it. Values travel as JSON,
    and arrive as what they were if T is known when the program runs.

    On a case it is that case's. On the class it is that of the case of this class that
    the current test is of; if it is of none, that of the one that was made last.

    Args:
        name: What it is called in its case: its attribute there, by default.
        case: The case.
        index: Which one of the case it is, from 1.
        of: What T is, if it is not annotated.
    """

    def __init__(
        self,
        name: str = "",
        case: SignalCase | None = None,
        index: int = -1,
        *,
        of: object = _UNKNOWN,
    ) -> None:
        self.name = name
        self.case = case
        self.index = index
        self._of = of
        self._read = reader_of(Any if of is _UNKNOWN else of)
        # Those of cases, the last one made coming last.
        self._bound: list[weakref.ref[Signal[T]]] = []

    def __repr__(self) -> str:
        return f"<Signal {self.name!r}>"

    @property
    def of(self) -> object:
        """What T is; Any if that is not known."""
        if self._of is not _UNKNOWN:
            return self._of
        # ``Signal[Order]()`` leaves there what it was made with.
        found = get_args(getattr(self, "__orig_class__", None))
        return found[0] if found else Any

    def bound(self, case: SignalCase, index: int, of: object) -> Signal[T]:
        """Return this signal as one of a case.

        Args:
            case: The case.
            index: Which one of its signals it is, from 1.
            of: What T is.
        """
        found: Signal[T] = type(self)(self.name, case, index, of=of)
        self._bound.append(weakref.ref(found, self._bound.remove))
        return found

    async def send(
        self, value: T | None = None, *, key: object = None, force: bool = False
    ) -> None:
        """Tell whoever waits that it happened.

        Outside a test nothing happens, so that a service may call it for all that it
        does, whether it is watched or not. For the same reason, in a test of which
        there is no case here it is logged, and nothing happens.

        Args:
            value: What is to be known there.
            key: For whom it is: the id of the current test by default. Keys are the
                same if their texts are.
            force: Whether to send it outside a test, too. That needs a key.

        Raises:
            ConfigError: Outside a test, there is no key, or no case has this signal
                yet.
        """
        test = current_test.get()
        if test is None and not force:
            return
        if key is None and test is None:
            message = (
                f"signal {self.name!r} is sent outside a test: say for whom it is, "
                "by key=..."
            )
            raise ConfigError(message)
        text = key_text(key) if key is not None or test is None else test.id
        try:
            case = self._case()
        except ConfigError as failure:
            # Whom a request is said to be for, anybody may say.
            if test is None:
                raise
            log.warning("[%s] is not sent: %s", test.shortident, failure)
            return
        event = SignalEvent(self.name, case.name, text, plain(value))
        await case.send_signal(text, event)

    async def wait(
        self,
        *,
        key: object = None,
        timeout: Duration | None = None,
    ) -> T:
        """Wait until it happens; it may have happened already.

        Args:
            key: For whom it is: the id of the test by default. Keys are the same if
                their texts are.
            timeout: How long: seconds, a timedelta or a text such as ``30s``. With 0 it
                has to have happened already; None waits until the test expires.

        Returns:
            Its value.

        Raises:
            LiveCheckTestTimeout: It does not happen in time.
            MessageError: Its value is none of type T.
            RuntimeError: This is no test that is being executed.
        """
        execution = current_execution.get()
        if execution is None:
            message = (
                f"signal {self.name!r} can only be waited for in a test that is being "
                "executed"
            )
            raise RuntimeError(message)
        case = self._case()
        seconds = None
        if timeout is not None:
            seconds = seconds_of(timeout, f"timeout of signal {self.name!r}")
        text = execution.test.id if key is None else key_text(key)
        begin = case.clock.instant()
        arrivals = case.arrivals
        value = arrivals.find(self.name, text, execution.started)
        if value is MISSING and seconds != 0:
            future, timer = arrivals.expect(self.name, text, seconds)
            try:
                value = await future
            finally:
                arrivals.leave(self.name, text, future, timer)
        if value is MISSING:
            message = f"Timed out waiting for signal {self.name} ({seconds})"
            raise LiveCheckTestTimeout(message)
        latency = case.clock.instant() - begin
        execution.signal_latency[self.name] = latency
        execution.note_signal(self.name, text)
        execution.log_info("signal %s after %.3f s", self.name, latency)
        try:
            return cast("T", self._read(value))
        except MessageError as failure:
            message = f"signal {self.name}: {failure}"
            raise MessageError(message) from None

    def _case(self) -> SignalCase:
        if self.case is not None:
            return self.case
        living = [it.case for ref in self._bound if (it := ref()) and it.case]
        if not living:
            message = (
                f"no case has the signal {self.name!r} yet: add the case to an "
                "application first"
            )
            raise ConfigError(message)
        test = current_test.get()
        name = None if test is None else test.case_name
        same = [case for case in living if case.name == name]
        return (same or living)[-1]


def key_text(key: object) -> str:
    """Return the text of a key: keys travel as texts."""
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode(errors="backslashreplace")
    return str(key)

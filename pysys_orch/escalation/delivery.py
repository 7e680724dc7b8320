"""Brings what is in the outbox to a service, and is patient about it."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, replace

import tenacity

from pysys_orch.clock import Clock
from pysys_orch.escalation.incident import Answer, Service, Transport, Verdict
from pysys_orch.escalation.outbox import Letter, Outbox

log = logging.getLogger("pysys.orch.escalation")

#: Seconds that one exchange may take.
EXCHANGE = 10.0

_ATTEMPTS = 4
_FIRST_DELAY = 1.0
_GROWTH = 4.0
_LONGEST_DELAY = 3600.0
_SMALLEST_BUDGET = 0.05
_LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of sending a letter once.

    Attributes:
        verdict: What the answer means; None if somebody else has the letter by now.
        answer: The answer.
        letter: The letter, as it is to be sent the next time.
    """

    verdict: Verdict | None
    answer: Answer
    letter: Letter


class Courier:
    """Takes letters to one service, one after the other.

    Args:
        outbox: Where they are.
        service: Who they are for.
        address: What is on their envelope.
        transport: How they travel.
        clock: What is waited on.
        stop: Ends all waiting once it is set.
        generator: Spreads attempts, so that not all runners come at once.
    """

    def __init__(
        self,
        outbox: Outbox,
        service: Service,
        transport: Transport,
        *,
        address: str,
        clock: Clock,
        stop: threading.Event,
        generator: random.Random,
    ) -> None:
        self._outbox = outbox
        self._service = service
        self._address = address
        self._transport = transport
        self._clock = clock
        self._stop = stop
        self._generator = generator

    def round(self, deadline: float) -> bool:
        """Send what is due, until nothing is or the service takes nothing more.

        Args:
            deadline: The instant at which the last attempt has to be over.

        Returns:
            Whether the service may take more: False once it did not take one letter.

        Raises:
            StateError: The outbox cannot be read or written.
        """
        while self._clock.instant() < deadline and not self._stop.is_set():
            letter = self._outbox.claim(self._address)
            if letter is None:
                return True
            if not self._bring(letter, deadline):
                return False
        return True

    def flush(self, deadline: float) -> bool:
        """Send all that waits, also what is due, or let go of by others, in time.

        Args:
            deadline: The instant at which the last attempt has to be over.

        Returns:
            Whether nothing waits any more.

        Raises:
            StateError: The outbox cannot be read or written.
        """
        while self.round(deadline):
            due = self._outbox.next_due(self._address)
            if due is None:
                return True
            seconds = max(0.0, (due - self._clock.stamp()).total_seconds())
            instant = self._clock.instant() + max(seconds, _LOOK_EVERY)
            if instant >= deadline or not self._clock.wait_until(instant, self._stop):
                break
        return False

    def _bring(self, letter: Letter, deadline: float) -> bool:
        """Send one letter, as often as that may help; return whether it is settled."""

        def attempt() -> Attempt:
            nonlocal letter
            made = self._attempt(letter, deadline)
            letter = made.letter
            return made

        def is_enough(state: tenacity.RetryCallState) -> bool:
            late = self._clock.instant() + state.upcoming_sleep >= deadline
            return state.attempt_number >= _ATTEMPTS or late or self._stop.is_set()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda it: it.verdict is Verdict.LATER),
            wait=self._delay,
            stop=is_enough,
            sleep=self._sleep,
            retry_error_callback=_last,
        )
        made: Attempt = retrying(attempt)
        if made.verdict is None:
            return True
        words = _words(made.answer)
        if made.verdict is Verdict.DELIVERED:
            self._outbox.deliver(letter)
            log.info(
                "%s was told: %s %s",
                self._service.name,
                letter.event.action,
                letter.event.key,
            )
            return True
        if made.verdict is Verdict.LATER:
            # When it is worth trying again a later round finds out; or the service
            # itself has said it.
            self._outbox.postpone(letter, words, made.answer.retry_after or 0.0)
            log.warning(
                "%s could not be told of %s, which is kept: %s",
                self._service.name,
                letter.event.key,
                words,
            )
            return False
        self._outbox.bury(letter, words)
        log.error(
            "%s refused %s %s, which is not tried again by itself: %s "
            "(see pysys-orch escalations list)",
            self._service.name,
            letter.event.action,
            letter.event.key,
            words,
        )
        return True

    def _attempt(self, letter: Letter, deadline: float) -> Attempt:
        """Send a letter once; shorter, if that is all that is wrong."""
        while True:
            held = self._outbox.hold(letter)
            if held is None:
                return Attempt(verdict=None, answer=Answer(status=0), letter=letter)
            verdict, answer = self._exchange(held, deadline)
            if verdict is not Verdict.TOO_LARGE or held.budget < _SMALLEST_BUDGET:
                return Attempt(verdict=verdict, answer=answer, letter=held)
            letter = replace(held, budget=held.budget / 2)
            self._outbox.shorten(letter, letter.budget)

    def _exchange(self, letter: Letter, deadline: float) -> tuple[Verdict, Answer]:
        left = max(0.1, min(EXCHANGE, deadline - self._clock.instant()))
        try:
            request = self._service.request(letter.event, budget=letter.budget)
        except Exception as failure:
            # One event that makes no sense must not keep others from being told.
            log.exception(
                "%s cannot be told of %s", self._service.name, letter.event.key
            )
            answer = Answer(status=0, text=f"no request: {type(failure).__name__}")
            return Verdict.REFUSED, answer
        answer = self._transport(request, timeout=left)
        return self._service.judge(letter.event, answer), answer

    def _delay(self, state: tenacity.RetryCallState) -> float:
        made = _last(state)
        return self._pause(state.attempt_number - 1, made.answer)

    def _pause(self, failures: int, answer: Answer) -> float:
        """Return after how many seconds it is worth trying again."""
        if answer.retry_after is not None:
            return answer.retry_after
        longest = min(_LONGEST_DELAY, _FIRST_DELAY * _GROWTH**failures)
        return longest * (0.75 + self._generator.random() / 2)

    def _sleep(self, seconds: float) -> None:
        self._clock.wait_until(self._clock.instant() + seconds, self._stop)


def _last(state: tenacity.RetryCallState) -> Attempt:
    """Return the last attempt."""
    if state.outcome is None:
        raise AssertionError(state)
    made: Attempt = state.outcome.result()
    return made


def _words(answer: Answer) -> str:
    if not answer.status:
        return answer.text or "no answer"
    return f"HTTP {answer.status}{f': {answer.text}' if answer.text else ''}"

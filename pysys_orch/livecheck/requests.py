"""Requests that take the current test with them, and how services find it there.

Nothing is patched: whoever wants the headers on a request says so, by
`current_headers`, or by a client that `aiohttp_session` or `requests_session` returns.
A service that is made with aiohttp reads them by `livecheck_middleware`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pysys_orch.livecheck.context import current_test
from pysys_orch.livecheck.exceptions import LiveCheckTestFailed, ServiceDown
from pysys_orch.livecheck.models import TestExecution

if TYPE_CHECKING:
    import aiohttp
    import requests
    import tenacity
    from aiohttp import web
    from aiohttp.typedefs import Middleware
    from yarl import URL

log = logging.getLogger("pysys.orch.livecheck")


# Headers.


def current_headers() -> dict[str, str]:
    """Return the headers that say which test a request is made for.

    Returns:
        None of them outside a test, nor for a test whose id no header can carry, which
        is logged.
    """
    test = current_test.get()
    if test is None:
        return {}
    headers = test.as_headers()
    if not all(each.isprintable() and each.isascii() for each in headers.values()):
        log.warning("The test %r cannot travel as headers: it has no plain id", test.id)
        return {}
    return headers


def aiohttp_session(**options: Any) -> aiohttp.ClientSession:
    """Return a client that sends the headers of the current test with each request.

    Args:
        options: As of `aiohttp.ClientSession`.
    """
    import aiohttp

    trace = aiohttp.TraceConfig()

    async def add(_session: object, _context: object, params: Any) -> None:  # noqa: ANN401 -- aiohttp's own
        for name, value in current_headers().items():
            params.headers.setdefault(name, value)

    trace.on_request_start.append(add)
    traces = [*(options.pop("trace_configs", None) or ()), trace]
    return aiohttp.ClientSession(trace_configs=traces, **options)


def requests_session() -> requests.Session:
    """Return a client that sends the headers of the current test with each request.

    A thread knows the test if it was started by `asyncio.to_thread`.
    """
    return _session_class()()


@functools.cache
def _session_class() -> type[requests.Session]:
    import requests

    class Session(requests.Session):
        def send(self, request: requests.PreparedRequest, **kwargs: Any) -> Any:  # noqa: ANN401 -- as there
            for name, value in current_headers().items():
                request.headers.setdefault(name, value)
            return super().send(request, **kwargs)

    return Session


def livecheck_middleware() -> Middleware:
    """Return a middleware of `aiohttp.web` that finds the test of each request.

    While a request is handled its test is the current one. Headers come from anybody:
    damaged ones are logged, and the request is handled as any other.
    """
    from aiohttp import web

    @web.middleware
    async def middleware(
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        before = current_test.set(TestExecution.from_headers(request.headers))
        try:
            return await handler(request)
        finally:
            current_test.reset(before)

    return middleware


# Requests of cases.


class Impatient(Protocol):
    """What says how patient requests are: a case."""

    url_timeout_total: Any
    url_timeout_connect: Any
    url_error_retries: int
    url_error_delay_min: Any
    url_error_delay_backoff: float
    url_error_delay_max: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a request is made, and what is waited for in between.

    Attributes:
        total: How many seconds a request may take; None is for ever.
        connect: How many of these it may take to connect; None is as many.
        retries: How often it is tried again.
        delay_min: How many seconds are waited before the second attempt.
        backoff: How many times longer before each further one.
        delay_max: How many seconds at most.
    """

    total: float | None = 300.0
    connect: float | None = None
    retries: int = 10
    delay_min: float = 0.5
    backoff: float = 1.5
    delay_max: float = 5.0

    @classmethod
    def of(cls, case: Impatient) -> Patience:
        """Return what a case says."""
        return cls(
            total=case.url_timeout_total or None,
            connect=case.url_timeout_connect or None,
            retries=case.url_error_retries,
            delay_min=case.url_error_delay_min,
            backoff=case.url_error_delay_backoff,
            delay_max=case.url_error_delay_max,
        )


class Web:
    """Makes requests for all the cases of an application.

    Args:
        make: Makes the client, when there is a first request.
    """

    def __init__(
        self, make: Callable[[], aiohttp.ClientSession] = aiohttp_session
    ) -> None:
        self._make = make
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str | URL,
        patience: Patience,
        options: Mapping[str, Any],
    ) -> bytes:
        """Make a request, again and again if it has to be.

        Args:
            method: As ``get``.
            url: Where.
            patience: How often, and how long each may take.
            options: As of `aiohttp.ClientSession.request`.

        Returns:
            The body of the answer.

        Raises:
            LiveCheckTestFailed: It was refused, by 4xx.
            ServiceDown: There was no answer, or only 5xx.
        """
        import tenacity
        from aiohttp import ClientError, ClientTimeout, InvalidURL

        timeout = ClientTimeout(total=patience.total, connect=patience.connect)
        given = {"timeout": timeout, **options}
        attempts = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(patience.retries + 1),
            wait=tenacity.wait_exponential(
                multiplier=patience.delay_min,
                exp_base=patience.backoff,
                max=patience.delay_max,
            ),
            retry=tenacity.retry_if_exception_type(
                (_ServerError, ClientError, TimeoutError, OSError)
            )
            & tenacity.retry_if_not_exception_type((InvalidURL,)),
            before_sleep=_log_retry,
            sleep=asyncio.sleep,
            reraise=True,
        )
        name = f"{method.upper()} {_shown(url)}"
        try:
            return await attempts(self._attempt, name, method, url, given)
        except InvalidURL:
            raise
        except (_ServerError, ClientError, TimeoutError, OSError) as failure:
            words = str(failure) or type(failure).__name__
            times = f"after {patience.retries + 1} attempts"
            message = f"{name}: no good answer {times}: {words}"
            raise ServiceDown(message) from failure

    async def close(self) -> None:
        """Close what is open. It can be used again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _attempt(
        self, name: str, method: str, url: str | URL, options: Mapping[str, Any]
    ) -> bytes:
        if self._session is None:
            self._session = self._make()
        async with self._session.request(method, url, **options) as answer:
            if answer.status >= 500:
                message = f"HTTP {answer.status} {answer.reason}"
                raise _ServerError(message)
            if answer.status >= 400:
                message = f"{name}: HTTP {answer.status} {answer.reason}"
                raise LiveCheckTestFailed(message)
            return await answer.read()


class _ServerError(Exception):
    """An answer that may be another one in a while."""


def _shown(url: str | URL) -> str:
    """Return a URL without what may be secret."""
    from yarl import URL

    whole = URL(url)
    return str(whole.with_user(None).with_query(None)) if whole.host else str(whole)


def _log_retry(state: tenacity.RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome is not None else None
    pause = state.next_action.sleep if state.next_action is not None else 0.0
    log.info(
        "Attempt %d failed: %s; the next one follows in %.3g s",
        state.attempt_number,
        failure or type(failure).__name__,
        pause,
    )

"""Many of a kind at once: as many as an engine has use for, and none left half-way."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from pysys_orch.docker.helper import DockerHelper
from pysys_orch.docker.parent import Parent, logsOf
from pysys_orch.errors import ConfigError, OrchError

_H = TypeVar("_H", bound=DockerHelper)

_Future = concurrent.futures.Future[bool]

_LISTEN_EVERY = 0.1


def severalOf(what: str, kind: type[_H], given: object) -> list[_H]:
    """Return helpers that were given as a list, or whatever can be gone through.

    Args:
        what: Who takes them, for messages.
        kind: What each of them has to be.
        given: What was given.

    Raises:
        ConfigError: It is no list, or something else is in it.
    """
    wanted = f"{what} takes a list of containers"
    if not isinstance(given, Iterable) or isinstance(given, str):
        message = f"{wanted}, got {_shown(given)}"
        raise ConfigError(message)
    found = list(given)
    for each in found:
        if not isinstance(each, kind):
            message = f"{wanted}, got {_shown(each)} among them"
            raise ConfigError(message)
    return found


def _shown(given: object) -> str:
    if isinstance(given, DockerHelper):
        return f"the {type(given).__name__} {given.displayName}"
    return repr(given)


def atOnce(
    parent: Parent,
    helpers: Sequence[_H],
    act: Callable[[_H], object],
    concurrency: int,
) -> None:
    """Do the same with each of *helpers*, with so many at the same time.

    After a failure, or when the run is aborted, no more are begun, and what is under
    way is waited for.

    Args:
        parent: The test or runner that waits.
        helpers: What to do it with.
        act: What to do.
        concurrency: With how many at the same time.

    Raises:
        ConfigError: *concurrency* is less than 1.
        OrchError: The first that failed, with its name and how many others did.
    """
    if concurrency < 1:
        message = f"concurrency has to be 1 or more, got {concurrency}"
        raise ConfigError(message)
    enough = threading.Event()

    def attempt(helper: _H) -> bool:
        """Do it, unless that is of no use any more; return whether it was begun."""
        if enough.is_set():
            return False
        try:
            act(helper)
        except BaseException:
            enough.set()  # before this thread takes the next
            raise
        return True

    with concurrent.futures.ThreadPoolExecutor(
        concurrency, "orch-many", initializer=logsOf(parent)
    ) as pool:
        futures = [pool.submit(attempt, each) for each in helpers]
        try:
            _wait(parent, futures)
        finally:
            enough.set()
    _complain(helpers, futures)


def _wait(parent: Parent, futures: Sequence[_Future]) -> None:
    """Wait until all are done, or one has failed."""
    first = concurrent.futures.FIRST_EXCEPTION
    pending = set(futures)
    while pending:
        done, pending = concurrent.futures.wait(pending, _LISTEN_EVERY, first)
        parent.pollWait(0)
        if any(each.exception() is not None for each in done):
            return


def _complain(helpers: Sequence[DockerHelper], futures: Sequence[_Future]) -> None:
    """Raise what the first of those raised that failed, if any did."""
    failed = [
        (helper, failure)
        for helper, each in zip(helpers, futures, strict=True)
        if (failure := each.exception()) is not None
    ]
    if not failed:
        return
    helper, failure = failed[0]
    if not isinstance(failure, OrchError):
        raise failure
    left = sum(each.exception() is None and not each.result() for each in futures)
    others = len(failed) - 1
    more = f" (so did {others} other{'s' if others > 1 else ''})" if others else ""
    rest = f"; {left} {'was' if left == 1 else 'were'} not begun" if left else ""
    # Another one of its kind, since this one may be raised again to others.
    told = type(failure).__new__(type(failure))
    told.__dict__.update(vars(failure))
    told.args = (f"{helper.displayName}: {failure}{more}{rest}",)
    raise told from failure

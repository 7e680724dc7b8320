"""Failures of what users write, in words."""

from __future__ import annotations

import asyncio
import inspect
import traceback


def words_of(failure: BaseException) -> str:
    """Return a failure on one line, also if it cannot say what it is."""
    name = type(failure).__name__
    try:
        said = " ".join(str(failure).split())
    except BaseException as second:  # noqa: BLE001 -- whatever it raises
        return f"{name}, of which str() fails with {type(second).__name__}"
    return f"{name}: {said}" if said else name


def trace_of(failure: BaseException) -> str:
    """Return its traceback."""
    try:
        return "".join(traceback.format_exception(failure))
    except BaseException:  # noqa: BLE001 -- the same
        return "".join(traceback.format_tb(failure.__traceback__)) + words_of(failure)


def see_through(found: object) -> None:
    """See through what a function of a user has returned: it may be a coroutine.

    Raises:
        TypeError: It is something else that has only been begun.
    """
    if inspect.iscoroutine(found):
        asyncio.run(found)
    elif inspect.isgenerator(found) or inspect.isawaitable(found):
        message = f"it returned a {type(found).__name__}, of which nothing was done"
        raise TypeError(message)
    elif inspect.isasyncgen(found):
        message = "it returned an asynchronous generator, of which nothing was done"
        raise TypeError(message)

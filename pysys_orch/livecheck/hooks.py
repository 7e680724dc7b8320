"""What a case may define: the test, and what is to happen around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pysys_orch.livecheck.runner import TestRunner


class CaseHooks:
    """What is called of a case.

    Nothing depends on the hooks: a subclass may do as it likes. What one raises is
    logged, and changes nothing.
    """

    async def run(self, *test_args: Any, **test_kwargs: Any) -> None:
        """Be the test: return if all is well, raise if not.

        An AssertionError is a failure; any other exception is an error of the test.

        Args:
            test_args: What `trigger` was called with. What has a type in the signature
                arrives as that.
            test_kwargs: The same, by name.
        """
        message = f"{type(self).__qualname__} has to define run()"
        raise NotImplementedError(message)

    async def make_fake_request(self) -> None:
        """Make traffic, every `frequency` seconds: for systems that have too little."""

    async def on_test_start(self, runner: TestRunner) -> None:
        """Learn that a test starts."""

    async def on_test_skipped(self, runner: TestRunner) -> None:
        """Learn that a test was not executed, or was cut off."""

    async def on_test_failed(self, runner: TestRunner, exc: BaseException) -> None:
        """Learn that something that has to hold did not."""

    async def on_test_error(self, runner: TestRunner, exc: BaseException) -> None:
        """Learn that a test raised something else than an AssertionError."""

    async def on_test_timeout(self, runner: TestRunner, exc: BaseException) -> None:
        """Learn that a signal did not come in time, or that the test expired."""

    async def on_test_pass(self, runner: TestRunner) -> None:
        """Learn that a test passed."""


_EMPTY = frozenset(
    {
        CaseHooks.on_test_start,
        CaseHooks.on_test_skipped,
        CaseHooks.on_test_failed,
        CaseHooks.on_test_error,
        CaseHooks.on_test_timeout,
        CaseHooks.on_test_pass,
    }
)


def is_defined(hook: Callable[..., Awaitable[None]]) -> bool:
    """Return whether somebody has defined a hook: those of `CaseHooks` do nothing."""
    return getattr(hook, "__func__", None) not in _EMPTY

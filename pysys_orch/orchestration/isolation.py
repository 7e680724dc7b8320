"""Calls that are made in other processes."""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from pysys_orch.errors import ConfigError, OrchError
from pysys_orch.orchestration.children import lead_a_group
from pysys_orch.orchestration.failures import see_through, trace_of, words_of
from pysys_orch.orchestration.switch import KillSwitch

_TERMINATE_WITHIN = 1.0


class RemoteError(OrchError):
    """An event failed in another process.

    Attributes:
        trace: The traceback, as that process saw it.
    """

    def __init__(self, words: str, trace: str = "") -> None:
        super().__init__(words)
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        """Return what it is made of, for other processes."""
        return type(self), (str(self), self.trace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A function that another process can find.

    Attributes:
        module: Its module; empty if that has to be loaded from a file.
        file: The file.
        name: The function.
        arguments: What it is called with.
    """

    module: str
    file: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Target:
        """Return a function with its arguments.

        Raises:
            ValueError: Other processes cannot find it.
        """
        name = getattr(function, "__name__", "")
        home = getattr(function, "__module__", "")
        module = sys.modules.get(home)
        if module is None or getattr(module, name, None) is not function:
            message = (
                f"{name or function} cannot run in another process: only functions "
                "of modules can"
            )
            raise ValueError(message)
        is_loaded = "__orch" in home
        file = str(getattr(module, "__file__", "")) if is_loaded else ""
        return cls(
            module="" if is_loaded else home, file=file, name=name, arguments=arguments
        )

    def require_portable(self) -> None:
        """Refuse arguments that cannot be given to another process.

        Raises:
            ValueError: With the name of the argument.
        """
        for name, value in self.arguments.items():
            if isinstance(value, KillSwitch):
                continue  # which is pickled on the way only
            try:
                ForkingPickler.dumps(value)
            except Exception as failure:  # noqa: BLE001 -- whatever it raises
                message = (
                    f"{self.name} cannot run in another process: its argument {name!r} "
                    f"cannot be pickled: {failure}"
                )
                raise ValueError(message) from None

    def __call__(self) -> None:
        """Call it; here.

        Raises:
            RemoteError: It failed, with whatever.
        """
        try:
            function = getattr(_module(self.module, self.file), self.name)
            see_through(function(**self.arguments))
        except BaseException as failure:  # noqa: BLE001 -- also SystemExit
            raise RemoteError(words_of(failure), trace_of(failure)) from None


class InProcess:
    """A call in a process of its own.

    Args:
        target: What is called.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._process: BaseProcess | None = None
        self._lock = threading.Lock()
        self._is_killed = False

    def __call__(self) -> None:
        """Make it, and wait for its end.

        Raises:
            RemoteError: It failed, or its process ended by itself.
        """
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        with self._lock:
            if self._is_killed:
                return
            process = self._process = context.Process(
                target=_answer, args=(self._target, sender), daemon=True
            )
            process.start()
        sender.close()
        try:
            answer: object = receiver.recv()
        except EOFError:
            process.join()
            message = f"its process ended with {process.exitcode}"
            raise RemoteError(message) from None
        finally:
            receiver.close()
            process.join()
            with self._lock:
                # From now on, another process may be called what this one was.
                self._process = None
        if isinstance(answer, RemoteError):
            raise answer

    def kill(self) -> None:
        """End it, whatever it does, with what it has started."""
        with self._lock:
            self._is_killed = True
            process = self._process
            if process is None or process.pid is None:
                return
            # It leads a group of its own, unless it has hardly begun.
            if hasattr(os, "killpg"):
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()


class InExecutor:
    """A call that an executor makes.

    Args:
        executor: The executor.
        target: What is called.
    """

    def __init__(self, executor: Executor, target: Target) -> None:
        self._executor = executor
        self._target = target

    def __call__(self) -> None:
        """Make it, and wait for its end.

        Raises:
            RemoteError: It failed, or the executor did.
        """
        try:
            self._executor.submit(self._target).result()
        except RemoteError:
            raise
        except (CancelledError, Exception) as failure:
            message = f"the executor failed: {words_of(failure)}"
            raise RemoteError(message) from failure


def executor_of(name: str, limit: int) -> Executor | None:
    """Return the executor that a description names; None for threads.

    Args:
        name: ``threads``, ``processes`` or ``module:function``.
        limit: How many calls are made at the same time at most.
    """
    if name == "threads":
        return None
    if name == "processes":
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(max_workers=min(limit, 61), mp_context=context)
    module, _, function = name.partition(":")
    try:
        made: Executor = getattr(importlib.import_module(module), function)()
    except (Exception, SystemExit) as failure:
        message = f"the executor {name} cannot be made: {words_of(failure)}"
        raise ConfigError(message) from failure
    return made


def close(executor: Executor) -> None:
    """End an executor, and the processes that do not end by themselves."""
    # There is no public way before Python 3.14.
    processes = dict(getattr(executor, "_processes", None) or {})
    executor.shutdown(wait=False, cancel_futures=True)
    for each in processes.values():
        each.terminate()
    for each in processes.values():
        each.join(_TERMINATE_WITHIN)
        if each.is_alive():
            each.kill()


# In the other process.


def _answer(target: Target, sender: Connection) -> None:
    lead_a_group()
    try:
        target()
    except RemoteError as failure:
        sender.send(failure)
    else:
        sender.send(None)


@functools.cache
def _module(module: str, file: str) -> Any:  # noqa: ANN401 -- a module
    if module:
        return importlib.import_module(module)
    from pysys_orch.orchestration.events import module_of

    return module_of(Path(file))

"""The process that outlives a run just long enough to remove what it owned.

A run starts its reaper, which collects at once what dead owners left, reports that, and
then waits. Told that the run is over it goes away. When the run dies without a word,
the reaper ends the docker clients that the run left behind, and removes all it owned,
again and again for some seconds: what an engine was asked for it finishes even when the
asker is gone.

Where a run has made a fault of what it does not own, it has told before how to undo
that; then this is what the reaper does first.

Run and reaper speak in lines of JSON: the run on the reaper's standard input, the
reaper on its standard output. The end of the input is the death of the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pysys_orch.docker.engine.fault import Remedy
from pysys_orch.docker.engine.ownership import Owner
from pysys_orch.settings import DockerSettings, inherited_environment

_PROCESS = "pysys_orch.docker.engine.reaping"
_HEALING = 60.0  # for one fault: three commands, of 20 s at most


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Have a process that is started meanwhile begin with these signals blocked.

    It ignores them as soon as it runs; until then they would end it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Reaper:
    """A run's handle on its reaper. Threads may share it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._said = ""
        self._promised: dict[str, dict[str, Any]] = {}
        self._reported = threading.Event()
        # A thread, since nothing else can wait for a pipe with a limit everywhere.
        threading.Thread(target=self._listen, name="orch-reaper", daemon=True).start()

    @classmethod
    def start(cls, owner: Owner, settings: DockerSettings, log: Path) -> Reaper:
        """Start the reaper of *owner*.

        Args:
            owner: Whose things it removes, and at whose death.
            settings: How the run behaves.
            log: Where it writes what it did after the run's death.
        """
        task = {
            "owner": owner.key,
            "lease": settings.lease,
            "retention": settings.retention_days,
            "answer": settings.answer_timeout,
        }
        environment = inherited_environment()
        environment["PYTHONPATH"] = os.pathsep.join(
            entry for entry in sys.path if entry
        )
        with log.open("ab") as errors, _signals_held_back():
            process = subprocess.Popen(
                # -P: a module in the working directory is not the one that is meant.
                [sys.executable, "-P", "-m", _PROCESS, json.dumps(task)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                cwd=Path(sys.executable).anchor,  # keeps no directory of the run in use
                start_new_session=True,
                text=True,
            )
        return cls(process)

    def watch(self, environment: Mapping[str, str]) -> None:
        """Have the reaper look also on the engine of this client environment."""
        self._tell({"engine": dict(environment)})

    def promise(
        self, name: str, environment: Mapping[str, str], remedy: Remedy
    ) -> bool:
        """Have the reaper undo a fault when the run dies.

        Args:
            name: What to call it.
            environment: That of a client of the engine on which it is.
            remedy: How to undo it.

        Returns:
            Whether it is there to do so.
        """
        said = {"name": name, "engine": dict(environment), **remedy.as_json()}
        self._promised[name] = said
        return self._tell({"remedy": said})

    def take_over(self, other: Reaper) -> bool:
        """Promise what another one has that is not there any more.

        Returns:
            Whether this one is there to do so.
        """
        self._promised = dict(other._promised)
        return all(self._tell({"remedy": said}) for said in self._promised.values())

    def healed(self, name: str) -> None:
        """Tell the reaper that a fault is undone."""
        self._promised.pop(name, None)
        self._tell({"healed": name})

    def has_reported(self, timeout: float) -> bool:
        """Wait for the report; return whether it is there, or will never be."""
        return self._reported.wait(timeout)

    def report(self, timeout: float) -> dict[str, list[str]]:
        """Wait for the report on what was collected at the start, and return it.

        Args:
            timeout: Seconds after which there is none.

        Returns:
            ``removed`` and ``failures``, each a list of sentences.
        """
        if not self._reported.wait(timeout):
            words = "the reaper has not reported in time"
        else:
            try:
                answer: dict[str, list[str]] = json.loads(self._said)
            except ValueError:
                words = "the reaper ended early: its log says more"
            else:
                return answer
        return {"removed": [], "failures": [words]}

    def dismiss(self, timeout: float) -> None:
        """Tell the reaper that the run is over and owns nothing any more.

        Args:
            timeout: Seconds that it has to go, besides those that healing takes.
        """
        timeout += len(self._promised) * _HEALING
        self._say_over("read")
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def leave(self) -> None:
        """Tell the reaper the same, and let it finish and go by itself.

        What it collects then is in its log only.
        """
        self._say_over("unread")

    def _say_over(self, how: str) -> None:
        self._tell({"over": how})
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 -- it is a pipe
        with self._process.stdout as stream, contextlib.suppress(OSError, ValueError):
            self._said = stream.readline()
        self._reported.set()

    def _tell(self, message: Mapping[str, Any]) -> bool:
        """Tell it something; return whether it is there to hear that."""
        # Of what is to be removed, one that was killed is missed by nobody: the next
        # run collects.
        stream = self._process.stdin
        assert stream is not None  # noqa: S101 -- it is a pipe
        with self._lock:
            try:
                stream.write(json.dumps(message) + "\n")
                stream.flush()
            except (OSError, ValueError):
                with contextlib.suppress(OSError):
                    stream.close()  # or it would be tried again at the very end
                return False
            return self._process.poll() is None

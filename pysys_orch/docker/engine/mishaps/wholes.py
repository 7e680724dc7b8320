"""What a container suffers as a whole: it is frozen, ended, or started again."""

from __future__ import annotations

import signal as signals

from pysys_orch.docker.engine.fault import Action, Json
from pysys_orch.docker.engine.mishaps.mishap import Remedies, Simple, Target
from pysys_orch.errors import ContainerGoneError, EngineAnswerError, FaultError

_OF_A_TASK = "com.docker.swarm.task.id"

# With the first version of cgroups runc gives up where processes get no CPU for a
# moment, which they have to have to be frozen: under a squeeze, or on a busy machine.
_NOT_FROZEN = "unable to freeze"
_FREEZES = 40  # of a third of a second, then


class Pause(Simple):
    """All processes of a container are frozen."""

    kind = "pause"

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        if self.target.inspect_running()["State"]["Paused"]:
            message = f"container {self.target.name} is paused already"
            raise FaultError(message)
        return self.remedies(Action.UNPAUSE)

    def begin(self) -> None:
        """See `Mishap`."""
        for left in reversed(range(_FREEZES)):
            try:
                self.target.engine.pause_container(self.target.container)
                break
            except EngineAnswerError as refusal:
                if not left or _NOT_FROZEN not in refusal.explanation:
                    raise

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        return bool(self.target.inspect()["State"]["Paused"])


class Kill(Simple):
    """The main process of a container is sent a signal that ends it."""

    kind = "kill"

    def __init__(self, target: Target, signal: str) -> None:
        super().__init__(target)
        self.words = signal
        self._signal = signal
        self._before = ""

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        found = self.target.inspect_running()
        require_end(found, self._signal)
        self._before = found["State"]["StartedAt"]
        # A swarm has another one take its place.
        self.lasts = _OF_A_TASK not in (found["Config"]["Labels"] or {})
        return self.remedies(Action.START) if self.lasts else ()

    def begin(self) -> None:
        """See `Mishap`."""
        self.target.engine.kill_container(self.target.container, self._signal)

    def is_in_force(self) -> bool:
        """See `Mishap`."""
        try:
            state = self.target.inspect()["State"]
        except ContainerGoneError:
            if self.lasts:
                raise
            return True
        return not state["Running"] and state["StartedAt"] == self._before

    def obstacle(self) -> str:
        """See `Mishap`."""
        state, name = self.target.inspect()["State"], self.target.name
        if state["StartedAt"] != self._before:
            return f"{name} was started again meanwhile"
        hint = "" if _signal_name(self._signal) == "KILL" else ": use KILL"
        return f"{name} still runs, {self._signal} did not end it{hint}"

    def is_healed(self) -> bool:
        """See `Mishap`."""
        return not self.lasts or bool(self.target.inspect()["State"]["Running"])


class Restart(Simple):
    """A container is stopped and started again: over when it has begun."""

    kind = "restart"
    lasts = False

    def __init__(self, target: Target, grace: float) -> None:
        super().__init__(target)
        self._grace = grace
        self._before = ""

    def prepare(self) -> Remedies:
        """See `Mishap`."""
        self._before = self.target.inspect_running()["State"]["StartedAt"]
        return ()

    def begin(self) -> None:
        """See `Mishap`."""
        self.target.engine.restart_container(self.target.container, self._grace)

    def is_in_force(self) -> bool:
        """Return whether it was restarted, and runs."""
        state = self.target.inspect()["State"]
        if state["StartedAt"] == self._before:
            return False
        try:
            self.target.require_alive()
        except ContainerGoneError as gone:
            message = f"restart of {self.target.name} did not last: {gone}"
            raise ContainerGoneError(message) from None
        return bool(state["Running"])

    def is_healed(self) -> bool:
        """See `Mishap`."""
        return True


def require_end(found: Json, signal: str) -> None:
    """Make sure that a container that a signal ends stays as it is then.

    Args:
        found: Its inspection.
        signal: The signal, with or without SIG, or its number.

    Raises:
        FaultError: Its engine removes it then, or starts it again.
    """
    name, host = str(found["Name"]).lstrip("/"), found["HostConfig"]
    if host.get("AutoRemove"):
        message = (
            f"container {name} is removed once it ends, so that it could not be "
            "started again: run it without --rm"
        )
        raise FaultError(message)
    policy = (host.get("RestartPolicy") or {}).get("Name")
    wanted = found["Config"].get("StopSignal")
    # What ends by these is not started again by its engine.
    final = {"KILL", _signal_name(wanted or signal)}
    if policy in {"always", "on-failure"} and _signal_name(signal) not in final:
        message = (
            f"container {name} has the restart policy {policy}, so that {signal} does "
            f"not keep it down: use KILL, or its stop signal {wanted}"
        )
        raise FaultError(message)


def _signal_name(said: str) -> str:
    name = said.upper().removeprefix("SIG")
    if name.isdecimal() and int(name) in set(signals.Signals):
        name = signals.Signals(int(name)).name.removeprefix("SIG")
    return name

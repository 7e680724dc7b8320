"""Undoing a fault, by whoever is left: the run that made it, or its reaper."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.fault import Action, Remedy
from pysys_orch.docker.engine.leftover import free_place
from pysys_orch.docker.engine.links import Files, Network, require_reach
from pysys_orch.docker.engine.rules import Chain
from pysys_orch.errors import ContainerGoneError, EngineAnswerError, NotFoundError

_DONE = re.compile("is not paused", re.IGNORECASE)
# An engine in a swarm says so, with HTTP 500, of a network that is not there.
_NOT_FOUND = re.compile("rpc error: code = NotFound")


def heal(engine: ApiEngine, remedy: Remedy) -> str:
    """Undo what was done to one container; nothing happens if that is undone.

    Returns:
        Why there was nothing to heal, if there was not; else nothing.

    Raises:
        DockerError: It could not be undone.
    """
    try:
        _HEALERS[remedy.action](engine, remedy)
    except NotFoundError as failure:
        is_gone = "no such container" in failure.explanation.lower()
        return "the container was removed" if is_gone else failure.explanation
    except ContainerGoneError:
        return "the container has ended"
    except EngineAnswerError as refusal:
        if _NOT_FOUND.search(refusal.explanation):
            return refusal.explanation
        if not _DONE.search(refusal.explanation):
            raise
        return "it was undone already"
    return ""


def _unpause(engine: ApiEngine, remedy: Remedy) -> None:
    try:
        engine.unpause_container(remedy.container)
    except EngineAnswerError as refusal:
        if not engine.inspect_container(remedy.container)["State"]["Running"]:
            message = f"container {remedy.container} has ended"
            raise ContainerGoneError(message) from refusal
        raise


def _start(engine: ApiEngine, remedy: Remedy) -> None:
    engine.start_container(remedy.container)


def _connect(engine: ApiEngine, remedy: Remedy) -> None:
    network, endpoint = remedy.details["network"], remedy.details["endpoint"]
    found = engine.inspect_container(remedy.container)["NetworkSettings"]
    networks = (found["Networks"] or {}).values()
    if network not in {each["NetworkID"] for each in networks}:
        engine.connect_network(network, remedy.container, endpoint)


def _update(engine: ApiEngine, remedy: Remedy) -> None:
    engine.update_container(remedy.container, dict(remedy.details))


def _rules(engine: ApiEngine, remedy: Remedy) -> None:
    network_of(engine, remedy.container).end(Chain.of(remedy.details))


def _empty(engine: ApiEngine, remedy: Remedy) -> None:
    path, place = remedy.details["path"], remedy.details["place"]
    try:
        files_of(engine, remedy.container).free(path)
    except (ContainerGoneError, NotFoundError):
        free_place(place, path)
        raise


def network_of(engine: ApiEngine, container: str) -> Network:
    """Return the network of a container.

    Raises:
        ContainerGoneError: It does not run.
        FaultError: It cannot be entered from here.
    """
    found = engine.inspect_container(container)
    return Network(require_reach(found, is_local=engine.is_local), container)


def files_of(engine: ApiEngine, container: str) -> Files:
    """Return the files of a container; see `network_of`."""
    found = engine.inspect_container(container)
    return Files(require_reach(found, is_local=engine.is_local), container)


_HEALERS: Mapping[Action, Callable[[ApiEngine, Remedy], None]] = {
    Action.UNPAUSE: _unpause,
    Action.START: _start,
    Action.CONNECT: _connect,
    Action.UPDATE: _update,
    Action.RULES: _rules,
    Action.EMPTY: _empty,
}

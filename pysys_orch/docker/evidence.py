"""What explains a failure, left in the output directory for whoever looks at it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pysys_orch.docker.engine import swarm
from pysys_orch.docker.engine.masking import without_userinfo
from pysys_orch.docker.helper import reserveFile
from pysys_orch.errors import EngineAnswerError, EngineUnreachableError, NotFoundError

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine


def writeEvidence(path: Path, told: object) -> None:
    """Write what an engine has told, for a person to read.

    The environment of a container may have tokens in it, and this is kept for
    everybody: they are masked.
    """
    text = json.dumps(without_userinfo(told), indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def leaveServiceEvidence(
    engine: ApiEngine, service: str, folder: Path, stem: str, *, withLogs: bool
) -> None:
    """Write the inspection of a service, its tasks and their logs into a folder.

    Args:
        engine: A manager of its swarm.
        service: The swarm's id of it.
        folder: Where.
        stem: What the names of the files begin with, if nobody else has such files.
        withLogs: Whether to write the logs, too.

    Raises:
        NotFoundError: It is not there.
    """
    place = reserveFile(folder, stem, ".inspect.json")
    writeEvidence(place, engine.inspect_service(service))
    stem = place.name.removesuffix(".inspect.json")  # no other service's
    tasks = engine.list_tasks(service)
    writeEvidence(folder / f"{stem}.tasks.json", tasks)
    for each in tasks if withLogs else ():
        _leaveLog(engine, each, folder, stem)


def _leaveLog(
    engine: ApiEngine, task: Mapping[str, Any], folder: Path, stem: str
) -> None:
    """Write the log of a task, wherever that is, unless it is out of reach."""
    from pysys_orch.docker.engine.elsewhere import name_in_files, read_task_log
    from pysys_orch.docker.engine.logs import read_log

    container = swarm.container_of(task)
    if not container:
        return
    try:
        found = engine.inspect_container(container)
    except NotFoundError:  # it is on another node, or gone
        found = {}
    at = str(task.get("Slot") or task["NodeID"])
    name = f"{stem}.{name_in_files(at, task['ID'])}"
    files = {
        "out": reserveFile(folder, name, ".out"),
        "err": reserveFile(folder, name, ".err"),
    }
    if found:
        framed = not found["Config"]["Tty"]
        read_log(engine, str(found["Id"]), framed=framed, **files)
        return
    with contextlib.suppress(EngineAnswerError, EngineUnreachableError):
        read_task_log(engine, task, **files)

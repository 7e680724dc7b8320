"""What fills a file system, and is there also when its container has ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.filling import NAME
from pysys_orch.errors import FaultError, NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a folder of a container is, seen from here.

    Attributes:
        source: What is mounted there; empty if that cannot be seen from here.
        rest: The folder within that.
        device: The device number of its file system.
        is_fleeting: Whether the file system goes when nobody has it mounted.
    """

    source: str = ""
    rest: str = ""
    device: int = 0
    is_fleeting: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it for a line of JSON."""
        return asdict(self)


def find_place(engine: ApiEngine, found: Mapping[str, Any], path: str) -> Place:
    """Return where a folder of a container is.

    Args:
        engine: The container's engine.
        found: Its inspection.
        path: The folder, in the container.
    """
    folder = PurePosixPath("/", path)
    fleeting = [PurePosixPath(each) for each in found["HostConfig"].get("Tmpfs") or ()]
    listed = found["Mounts"] or ()
    mounts = {PurePosixPath(each["Destination"]): each for each in listed}
    within = [each for each in (*fleeting, *mounts) if folder.is_relative_to(each)]
    point = max(within, key=lambda each: len(each.parts), default=PurePosixPath("/"))
    mount = mounts.get(point, {})
    is_fleeting = not mount or _is_fleeting(engine, mount)
    rest = folder.relative_to(point)
    source = Path(mount.get("Source") or "/", rest)
    inside = Path(f"/proc/{found['State']['Pid']}/root", *folder.parts[1:])
    try:
        is_seen = bool(mount.get("Source")) and source.samefile(inside)
        device = inside.stat().st_dev
    except OSError:
        is_seen, device = False, 0
    return Place(
        source=mount["Source"] if is_seen else "",
        rest=str(rest),
        device=device,
        is_fleeting=is_fleeting,
    )


def _is_fleeting(engine: ApiEngine, mount: Mapping[str, Any]) -> bool:
    if mount.get("Type") != "volume":
        return mount.get("Type") == "tmpfs"
    try:
        options = engine.inspect_volume(mount["Name"]).get("Options") or {}
    except NotFoundError:
        return False
    return bool(options.get("type") == "tmpfs")


def free_place(said: Mapping[str, Any], path: str) -> None:
    """Give the space back that a container left taken when it ended.

    Args:
        said: What `Place.as_json` has returned.
        path: The folder, as its container calls it.

    Raises:
        FaultError: It cannot be given back from here.
    """
    place = Place(**said)
    try:
        if place.source and _unlink(place):
            return
    except OSError as failure:
        message = f"{path} stays full: {failure.strerror}: remove {NAME} from it"
        raise FaultError(message) from None
    if not place.is_fleeting:
        message = (
            f"{path} stays full, since its container has ended: remove {NAME} from "
            "what was mounted there"
        )
        raise FaultError(message)


def _unlink(place: Place) -> bool:
    """Remove the file; return whether it is gone with certainty.

    No link in the folder leads out of what was mounted.
    """
    flags = os.O_DIRECTORY | os.O_NOFOLLOW
    with contextlib.ExitStack() as stack:
        try:
            folder = os.open(place.source, os.O_DIRECTORY)
            stack.callback(os.close, folder)
            for part in Path(place.rest).parts:
                folder = os.open(part, flags, dir_fd=folder)
                stack.callback(os.close, folder)
        except FileNotFoundError:
            return not Path(place.source).exists()
        if os.fstat(folder).st_dev != place.device:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(NAME, dir_fd=folder)
    return True

"""Fills a file system of a container: ``python -m ...filling VERB ROOT PATH MOST``.

Started by `pysys_orch.docker.engine.links`. It is a process of its own since it makes
the container's root its own: paths mean what they mean in the container, and no link in
there leads out of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from pathlib import Path

#: What holds the space.
NAME = ".pysys-orch-fill"

_PIECE_BYTES = 1 << 20
_DONE = {
    "check": "looked at",
    "fill": "filled",
    "free": "emptied",
    "look": "looked at",
}


def main(verb: str, root: str, path: str, most: int) -> None:
    """Fill, free, or say what is there.

    Args:
        verb: ``check``, ``fill``, ``free`` or ``look``.
        root: The container's root, as seen from here.
        path: A folder in the container.
        most: The largest file system that is filled, in bytes.

    Raises:
        SystemExit: With what is wrong.
    """
    os.chroot(root)
    os.chdir("/")
    folder = Path(path)
    file = folder / NAME
    if verb == "check":
        _check(folder, file, most)
    elif verb == "fill":
        _fill(file)
    elif verb == "free":
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            file.unlink()
    else:
        # Not f_bfree: some file systems keep blocks that nobody gets.
        is_full = file.exists() and not os.statvfs(folder).f_bavail
        print("full" if is_full else "not full")  # noqa: T201 -- this is how it speaks


def _check(folder: Path, file: Path, most: int) -> None:
    if not folder.is_dir():
        message = f"there is no folder {folder} in the container"
        raise SystemExit(message)
    about = os.statvfs(folder)
    size = about.f_blocks * about.f_frsize
    if size > most:
        message = (
            f"the file system of {folder} has {size} bytes, more than the {most} "
            "that are filled: mount a small one there, such as a volume with a size"
        )
        raise SystemExit(message)
    if file.exists():
        message = f"{folder} has been filled already: there is {file}"
        raise SystemExit(message)


def _fill(file: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(file, flags, stat.S_IRUSR | stat.S_IWUSR)
    try:
        piece = _PIECE_BYTES
        while piece:
            try:
                while os.write(descriptor, bytes(piece)):
                    pass
            except OSError as failure:
                if failure.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                piece //= 2
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
    except OSError as failure:
        words = f"{sys.argv[3]} cannot be {_DONE[sys.argv[1]]}: {failure.strerror}"
        raise SystemExit(words) from None

"""Processes that are not to outlive the one that has started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def end_with_parent() -> None:
    """Have this process end when its parent does, whatever ends that one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _watch(parent, leads=False)


def lead_a_group() -> None:
    """Have this process, and all that it starts, end when its parent does.

    It leads a group of its own then, where there are groups of processes: who kills the
    group kills what belongs to it.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    parent = multiprocessing.parent_process()
    if parent is not None:
        _watch(parent, leads=hasattr(os, "setpgrp"))


def _watch(parent: multiprocessing.process.BaseProcess, *, leads: bool) -> None:
    threading.Thread(target=_outlive, args=(parent, leads), daemon=True).start()


def _outlive(parent: multiprocessing.process.BaseProcess, leads: bool) -> None:
    parent.join()
    if leads:
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)

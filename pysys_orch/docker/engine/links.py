"""What is done within a container from outside: its network, and its files.

It takes a process of the container that is visible here, and the right to enter it;
where that is not given, `FaultError` says what is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pysys_orch.docker.engine.delaying import READY
from pysys_orch.docker.engine.fault import Link
from pysys_orch.docker.engine.ownership import start_of_process
from pysys_orch.docker.engine.rules import PROGRAMS, Chain
from pysys_orch.errors import ContainerGoneError, FaultError
from pysys_orch.settings import inherited_environment

#: The largest file system that is filled, in bytes.
MOST_FILLED_BYTES = 2**30

_PACKAGE = "pysys_orch.docker.engine"
_TIMEOUT = 20.0
_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # where many users have no PATH to


def require_reach(found: Mapping[str, Any], *, is_local: bool) -> int:
    """Return the process id of a container, once it is known to be that.

    Args:
        found: The container's inspection.
        is_local: Whether its engine shares this machine.

    Raises:
        ContainerGoneError: It does not run.
        FaultError: It cannot be entered from here.
    """
    container, pid = str(found["Id"]), int(found["State"].get("Pid") or 0)
    name = str(found.get("Name", container)).lstrip("/")
    if not pid:
        message = f"container {name} does not run"
        raise ContainerGoneError(message)
    if not is_local or not hasattr(os, "geteuid"):
        message = (
            f"container {name} runs on another machine: this fault enters it, so run "
            "the test where the engine runs"
        )
        raise FaultError(message)
    if not _is_of(pid, container):
        message = (
            f"process {pid} of container {name} cannot be seen from here: run the test "
            "on the engine's host, or in a container with --pid=host"
        )
        raise FaultError(message)
    if os.geteuid() != 0:
        message = (
            f"to enter container {name} takes root: run the test as root, or use a "
            "fault that does not enter it (pause, kill, disconnect, squeeze)"
        )
        raise FaultError(message)
    return pid


def _is_of(pid: int, container: str) -> bool:
    """Return whether a process is one of a container: its number may be used again."""
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return False


def ip_versions() -> tuple[int, ...]:
    """Return the versions of IP that this machine's kernel has."""
    return (4, 6) if Path("/proc/net/if_inet6").exists() else (4,)


def cgroup_limits(pid: int) -> dict[str, int | None] | None:
    """Return the limits that the kernel has for a process; None if unreadable.

    Returns:
        ``cpus_us``, the quota of 100 ms; and ``memory``, in bytes: each None if there
        is none.
    """
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
        groups = {line.split(":")[1]: line.split(":", 2)[2] for line in lines}
        root = Path("/sys/fs/cgroup")
        if "cpu" in groups or "cpu,cpuacct" in groups:
            key = "cpu" if "cpu" in groups else "cpu,cpuacct"
            folder = root / key / groups[key].lstrip("/")
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
            folder = root / "memory" / groups["memory"].lstrip("/")
            memory = (folder / "memory.limit_in_bytes").read_text().strip()
        else:
            folder = root / groups[""].lstrip("/")
            quota, period = (folder / "cpu.max").read_text().split()
            memory = (folder / "memory.max").read_text().strip()
    except (OSError, KeyError, ValueError):
        return None
    is_free = quota in {"-1", "max"}
    return {
        "cpus_us": None if is_free else round(int(quota) * 100_000 / int(period)),
        "memory": None if memory == "max" or int(memory) >= 2**62 else int(memory),
    }


@contextlib.contextmanager
def _opened(pid: int, container: str, what: str) -> Iterator[int]:
    """Open ``ns/net`` or ``root`` of a process that is a container's."""
    flags = os.O_RDONLY if what != "root" else os.O_PATH
    try:
        descriptor = os.open(f"/proc/{pid}/{what}", flags)
    except OSError:
        descriptor = -1
    try:
        # Asked again: what was opened is the container's if its process still runs.
        if descriptor < 0 or not _is_of(pid, container):
            message = f"container {container} has ended meanwhile"
            raise ContainerGoneError(message)
        yield descriptor
    finally:
        if descriptor >= 0:
            os.close(descriptor)


class Network:
    """The network of one container, from outside.

    Args:
        pid: A process of the container.
        container: Its id.
    """

    def __init__(self, pid: int, container: str) -> None:
        self._pid = pid
        self._container = container

    def identity(self) -> int:
        """Return what is equal for containers that share their network."""
        with _opened(self._pid, self._container, "ns/net") as descriptor:
            return os.fstat(descriptor).st_ino

    def begin(self, chain: Chain) -> None:
        """Put a chain in force.

        Raises:
            FaultError: The kernel or the programs for that are not there.
        """
        for version in chain.rules:
            self._restore(version, chain.begin(version))

    def end(self, chain: Chain) -> None:
        """Take a chain away, as far as it is there."""
        for version in chain.rules:
            saved = self._saved(version, chain.table)
            if chain.is_in(saved):
                self._restore(version, chain.end(saved))

    def has(self, chain: Chain) -> bool:
        """Return whether any of a chain is in force."""
        return any(
            chain.is_in(self._saved(version, chain.table)) for version in chain.rules
        )

    def has_whole(self, chain: Chain) -> bool:
        """Return whether all of a chain is in force, and that is something."""
        return bool(chain.rules) and all(
            chain.is_whole_in(self._saved(version, chain.table), version)
            for version in chain.rules
        )

    @contextlib.contextmanager
    def entering(self) -> Iterator[tuple[list[str], int]]:
        """Give what precedes a command there, and the descriptor that it needs."""
        with _opened(self._pid, self._container, "ns/net") as descriptor:
            nsenter = _program("nsenter", "util-linux")
            yield [nsenter, f"--net=/proc/self/fd/{descriptor}", "--"], descriptor

    def _saved(self, version: int, table: str) -> str:
        program = _program(f"{PROGRAMS[version]}-save", "iptables")
        return self._run([program, "-t", table])

    def _restore(self, version: int, text: str) -> None:
        program = _program(f"{PROGRAMS[version]}-restore", "iptables")
        self._run([program, "--noflush", "--wait"], text)

    def _run(self, argv: Sequence[str], text: str = "") -> str:
        with self.entering() as (before, descriptor):
            return _output([*before, *argv], text, descriptor)


class Files:
    """The files of one container, from outside.

    Args:
        pid: A process of the container.
        container: Its id.
    """

    def __init__(self, pid: int, container: str) -> None:
        self._pid = pid
        self._container = container

    def check(self, path: str) -> None:
        """Look at a folder that is to be filled.

        Raises:
            FaultError: It is none, is filled already, or its file system is too large.
        """
        self._run("check", path)

    def fill(self, path: str) -> None:
        """Leave no space in the file system of a folder.

        Raises:
            FaultError: It cannot be written to.
        """
        self._run("fill", path)

    def free(self, path: str) -> None:
        """Give the space back."""
        self._run("free", path)

    def is_full(self, path: str) -> bool:
        """Return whether `fill` holds all the space."""
        return self._run("look", path).strip() == "full"

    def _run(self, verb: str, path: str) -> str:
        with _opened(self._pid, self._container, "root") as descriptor:
            root = f"/proc/self/fd/{descriptor}"
            argv = _python("filling", verb, root, path, str(MOST_FILLED_BYTES))
            return _output(argv, "", descriptor)


class Delay:
    """A run's handle on the process that delays what a container sends.

    Attributes:
        queue: The number of the queue that it takes packets from.

    Args:
        network: That of the container.
        queues: The numbers that it may be; the first that nobody else has is taken.
        link: What becomes of packets.

    Raises:
        FaultError: No such queue can be had there.
    """

    def __init__(self, network: Network, queues: Sequence[int], link: Link) -> None:
        run = os.getpid()
        task = {
            "queues": list(queues),
            "link": asdict(link),
            "run": run,
            "start": start_of_process(run),
        }
        with network.entering() as (before, descriptor):
            self._process = subprocess.Popen(
                [*before, *_python("delaying", json.dumps(task))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                cwd="/",
                pass_fds=(descriptor,),
                start_new_session=True,
                text=True,
            )
            limit = threading.Timer(_TIMEOUT, self._process.kill)
            limit.start()
            assert self._process.stdout is not None  # noqa: S101 -- it is a pipe
            said = self._process.stdout.readline().strip()
            limit.cancel()
        ready, _, number = said.partition(" ")
        if ready != READY:
            self._process.kill()
            _, errors = self._process.communicate()
            message = f"packets cannot be delayed here: {_last(errors) or 'no answer'}"
            raise FaultError(message)
        self.queue = int(number)

    @property
    def is_alive(self) -> bool:
        """Whether packets are delayed."""
        return self._process.poll() is None

    def end(self) -> None:
        """Let all packets go, and end it."""
        process = self._process
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _python(module: str, *arguments: str) -> list[str]:
    # -P: a module in the working directory is not the one that is meant.
    return [sys.executable, "-P", "-m", f"{_PACKAGE}.{module}", *arguments]


def _environment() -> dict[str, str]:
    environment = inherited_environment()
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    return environment


def _program(name: str, package: str) -> str:
    path = os.pathsep.join([*os.get_exec_path(), *_SBIN])
    found = shutil.which(name, path=path)
    if found is None:
        message = f"there is no program {name}: install {package} on the engine's host"
        raise FaultError(message)
    return found


def _output(argv: Sequence[str], text: str, descriptor: int) -> str:
    """Return what a command prints.

    Raises:
        FaultError: It failed; with the last thing that it said.
    """
    try:
        done = subprocess.run(
            argv,
            input=text,
            capture_output=True,
            text=True,
            env=_environment(),
            cwd="/",
            pass_fds=(descriptor,),
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"{' '.join(argv)} has not ended after {_TIMEOUT:g} s"
        raise FaultError(message) from None
    if done.returncode:
        program = next((Path(each).name for each in argv[3:]), argv[0])
        said = _last(done.stderr) or f"exit status {done.returncode}"
        is_own = _PACKAGE in " ".join(argv)
        raise FaultError(said if is_own else f"{program}: {said}")
    return done.stdout


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [
        line for line in lines if "Try `" not in line and "Error occurred" not in line
    ]
    return (telling or lines or [""])[-1]

"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.docker.owned import eventually

USER = "tests"
#: Which is to be shown nowhere.
PASSWORD = "correct-horse-battery"

#: Where Debian has the programs of the server, which are not on the PATH.
_FOLDERS = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)

_READY_WITHIN = 60.0
_STOPPED_WITHIN = 30.0

_NUMBERS = itertools.count()


def database_url(port: int, name: str = "postgres") -> str:
    """Return the URL of a database on this machine."""
    return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{port}/{name}"


def free_port() -> int:
    """Return a port of the loopback at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="session")
def postgresql() -> Iterator[int]:
    """Run a server, and give its port; without one it fails in CI and skips by hand."""
    path = os.pathsep.join([*_FOLDERS, os.environ.get("PATH", "")])
    initdb = shutil.which("initdb", path=path)
    server = shutil.which("postgres", path=path)
    if initdb is None or server is None:
        reason = "PostgreSQL is not installed: apt-get install postgresql"
        if os.environ.get("PYSYS_ORCH_REQUIRE_ENGINE"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Not in a folder of pytest's, which another user may not enter.
    with (
        tempfile.TemporaryDirectory(prefix="pysys-orch-postgresql-") as folder,
        _running(initdb, server, Path(folder)) as port,
    ):
        yield port


@pytest.fixture
def database(postgresql: int) -> str:
    """Return the URL of a database that is empty."""
    name = f"test_{next(_NUMBERS)}"
    with _connection(postgresql) as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    return database_url(postgresql, name)


@pytest.fixture(params=["file", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where state may be: in a file, or in a database of several machines."""
    if request.param == "file":
        return str(tmp_path / "state.db")
    return str(request.getfixturevalue("database"))


@contextlib.contextmanager
def _running(initdb: str, server: str, folder: Path) -> Iterator[int]:
    as_whom: dict[str, Any] = {}
    password = folder / "password"
    password.write_text(PASSWORD)
    if os.geteuid() == 0:
        # A server does not run as root.
        as_whom = {"user": "postgres", "group": "postgres", "extra_groups": []}
        for each in (folder, password):
            shutil.chown(each, "postgres", "postgres")
    data, log, port = folder / "data", folder / "log", free_port()
    subprocess.run(
        [
            initdb,
            f"--pgdata={data}",
            f"--username={USER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        **as_whom,
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                server,
                "-D",
                str(data),
                f"--port={port}",
                "--listen-addresses=127.0.0.1",
                "--unix-socket-directories=",
                "--fsync=off",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            **as_whom,
        )

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            with _connection(port):
                return True
        except sa.exc.OperationalError:
            return False

    try:
        eventually(
            is_ready,
            what="PostgreSQL is ready",
            timeout=_READY_WITHIN,
            explain=lambda: log.read_text(errors="replace"),
        )
        yield port
    finally:
        process.send_signal(signal.SIGQUIT)  # nobody needs its data any more
        try:
            process.wait(_STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _connection(port: int) -> Iterator[sa.Connection]:
    engine = sa.create_engine(
        database_url(port), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        yield connection

"""Where state outlives a run: a SQLite file, or a database by its URL."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pysys_orch.errors import ConfigError, StateError

# Seconds for which one waits for others who write, unless somebody has less time.
_PATIENCE = 30.0

_TRIES = 5

_SCHEME = re.compile(r"[a-z][a-z0-9_]*(\+[a-z][a-z0-9_]*)?", re.ASCII)

_OWN = sa.MetaData()
_VERSIONS = sa.Table(
    "pysys_orch_schemas",
    _OWN,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)

Upgrade = Callable[[sa.Connection], None]


class State:
    """Tables that several runs share, on one machine or on many.

    Threads may share it. It is opened when it is first used.

    Args:
        place: Path of a SQLite file, or a database URL as SQLAlchemy reads it, for
            example ``postgresql+psycopg://user:password@host/name``; ``sqlite://`` is
            memory, gone with the process.
        tables: The tables.
        name: What they are called together.
        version: Their version, from 1.
        upgrades: What turns tables of a version into those of the next one.
        patience: Seconds for which one waits for others who write, or for an answer.

    Raises:
        ConfigError: The URL makes no sense.
    """

    def __init__(
        self,
        place: str,
        tables: sa.MetaData,
        *,
        name: str,
        version: int = 1,
        upgrades: Mapping[int, Upgrade] | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self._tables = tables
        self._name = name
        self._version = version
        self._upgrades = dict(upgrades or {})
        self._lock = threading.Lock()
        self._turn: contextlib.AbstractContextManager[object]
        self._is_ready = False
        self._file = None if "://" in place else Path(place)
        url = place if self._file is None else f"sqlite:///{self._file}"
        try:
            made = sa.make_url(url)
            options: dict[str, Any] = {}
            is_memory = made.get_backend_name() == "sqlite" and not made.database
            if made.get_backend_name() == "sqlite":
                options["connect_args"] = {"timeout": patience}
            elif made.get_backend_name() == "postgresql":
                # While a suite runs for hours, servers are started anew, and what is
                # in between forgets who talks to whom.
                options["pool_pre_ping"] = True
                options["connect_args"] = {
                    "connect_timeout": max(2, round(patience)),
                    "tcp_user_timeout": round(patience * 1000),
                    "options": f"-c lock_timeout={round(patience * 1000)}",
                }
            if is_memory:
                # All threads see the one that there is, one after the other.
                options["poolclass"] = sa.pool.StaticPool
                options["connect_args"]["check_same_thread"] = False
            self._engine = sa.create_engine(made, **options)
        except (sa.exc.ArgumentError, ImportError, ValueError) as failure:
            message = (
                f"the database URL of the {name} state makes no sense: "
                f"{_wrong(place, failure)}: it looks like "
                "postgresql+psycopg://user:password@host/name, and its driver has to "
                "be installed"
            )
            raise ConfigError(message) from None
        self._turn = threading.Lock() if is_memory else contextlib.nullcontext()
        if made.get_backend_name() == "sqlite":
            sa.event.listen(self._engine, "connect", _let_us_begin)
            sa.event.listen(self._engine, "begin", _begin)

    def __str__(self) -> str:
        """Say where it is, without a password."""
        url = self._engine.url.set(query={})  # which may have one, too
        return str(self._file or url.render_as_string(hide_password=True))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Read and write as if nobody else were there; all of it, or nothing.

        Whoever comes second waits, in whatever process and on whatever machine.

        Raises:
            StateError: The database cannot be reached, read or written, or belongs to
                a later version of this package.
        """
        try:
            self._prepare()
            with self._turn, self._engine.begin() as connection:
                self._hold(connection)
                yield connection
        except (sa.exc.SQLAlchemyError, OSError) as failure:
            raise self._error(failure) from failure

    def close(self) -> None:
        """Let go of the database. It is opened again if it is used again."""
        self._engine.dispose()

    def _prepare(self) -> None:
        with self._lock:
            if self._is_ready:
                return
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.touch(mode=0o600)
            for tries in range(_TRIES):
                try:
                    with self._engine.begin() as connection:
                        self._create(connection)
                    break
                except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
                    # Somebody else makes the same tables; databases lock them late.
                    if tries == _TRIES - 1:
                        raise
            self._is_ready = True

    def _create(self, connection: sa.Connection) -> None:
        """Make the tables, or bring them up to date.

        Raises:
            StateError: They belong to a later version of this package.
        """
        _OWN.create_all(connection)
        version = self._hold(connection)
        if version is None:
            self._tables.create_all(connection)
            row = {"name": self._name, "version": self._version}
            connection.execute(_VERSIONS.insert().values(row))
            return
        if version > self._version:
            message = (
                f"the {self._name} state in {self} is of version {version}, and this "
                f"pysys_orch knows {self._version}: update it, or name another place"
            )
            raise StateError(message)
        for each in range(version, self._version):
            self._upgrades[each](connection)
        where = _VERSIONS.c.name == self._name
        connection.execute(
            _VERSIONS.update().where(where).values(version=self._version)
        )

    def _hold(self, connection: sa.Connection) -> int | None:
        """Keep others out until the transaction ends; return the tables' version."""
        query = sa.select(_VERSIONS.c.version).where(_VERSIONS.c.name == self._name)
        # Means nothing to SQLite, where a transaction is alone from its beginning.
        found = connection.execute(query.with_for_update()).scalar()
        return None if found is None else int(found)

    def _error(self, failure: Exception) -> StateError:
        cause = getattr(failure, "orig", None) or failure
        words = " ".join(str(cause).split()) or type(cause).__name__
        advice = ""
        if "not a database" in words or "malformed" in words:
            advice = ": move it out of the way, and what it knew is found out again"
        message = f"the {self._name} state in {self} cannot be used: {words}{advice}"
        return StateError(message)


def _wrong(place: str, failure: Exception) -> str:
    """Return what is wrong with a URL, without what may be a password in it."""
    scheme = place.partition("://")[0]
    if not _SCHEME.fullmatch(scheme):
        return "it does not begin with the kind of a database"
    if isinstance(failure, sa.exc.NoSuchModuleError):
        return f"{scheme}://[...] is no kind of database that is known"
    if isinstance(failure, ImportError):
        return f"the driver of {scheme}://[...] is not installed"
    return f"what follows {scheme}:// cannot be read"


def _let_us_begin(connection: Any, _record: object) -> None:  # noqa: ANN401 -- a driver's
    """Keep the driver from beginning transactions when it thinks fit."""
    connection.isolation_level = None


def _begin(connection: sa.Connection) -> None:
    # A transaction that begins by reading could not write if somebody else has.
    connection.exec_driver_sql("BEGIN IMMEDIATE")

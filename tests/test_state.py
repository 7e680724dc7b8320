"""State that outlives a run."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from pysys_orch.clock import SystemClock
from pysys_orch.errors import ConfigError, StateError
from pysys_orch.state import State
from tests.postgres import PASSWORD, database_url, free_port

TABLES = sa.MetaData()
COUNTS = sa.Table(
    "counts",
    TABLES,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
)


def opened(place: Path | str, *, version: int = 1, **options: object) -> State:
    return State(str(place), TABLES, name="test", version=version, **options)  # type: ignore[arg-type] # only upgrades


def add(state: State, name: str = "a") -> int:
    """Count to one more, in a way that two at once would get wrong."""
    with state.transaction() as connection:
        where = COUNTS.c.name == name
        found = connection.execute(sa.select(COUNTS.c.count).where(where)).scalar()
        if found is None:
            connection.execute(COUNTS.insert().values(name=name, count=1))
        else:
            connection.execute(COUNTS.update().where(where).values(count=found + 1))
        return (found or 0) + 1


@pytest.fixture
def again(place: str) -> Iterator[Callable[..., State]]:
    """Return what opens the place once more, as another run would."""
    with contextlib.ExitStack() as stack:

        def made(**options: object) -> State:
            state = opened(place, **options)  # type: ignore[arg-type] # as it has them
            stack.callback(state.close)
            return state

        yield made


# In a file, and in a database


def test_a_transaction_is_all_or_nothing(again: Callable[..., State]) -> None:
    """What an exception interrupts has not happened."""
    state = again()

    def fail() -> None:
        with state.transaction() as connection:
            connection.execute(COUNTS.insert().values(name="a", count=7))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert add(state) == 1
    assert add(again()) == 2


def test_threads_and_processes_come_one_after_the_other(
    place: str, again: Callable[..., State]
) -> None:
    """Nothing is counted twice, and nobody is turned away."""
    program = (
        "import sys\nfrom tests.test_state import add, opened\n"
        "state = opened(sys.argv[1])\nfor _ in range(25): add(state)\n"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", program, place]) for _ in range(2)
    ]
    state = again()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: add(state), range(50)))
    assert [each.wait(60) for each in others] == [0, 0]
    assert add(again()) == 101


def test_who_comes_second_waits(again: Callable[..., State]) -> None:
    """Until the first one is done, and sees what it did; but not for ever."""
    first, second, hasty = again(), again(), again(patience=0.2)
    for each in (first, second, hasty):
        add(each)
    with ThreadPoolExecutor(1) as pool:
        with first.transaction() as connection:
            waiting = pool.submit(add, second)
            with pytest.raises(
                StateError, match=r"the test state in .* cannot be used"
            ):
                add(hasty)
            assert not waiting.done()
            connection.execute(COUNTS.update().values(count=7))
        assert waiting.result(60) == 8
    assert add(hasty) == 9


def test_several_make_the_tables_at_once(again: Callable[..., State]) -> None:
    """And none of them gets into another one's way."""
    barrier = threading.Barrier(12)

    def begin(state: State) -> int:
        barrier.wait(60)
        return add(state)

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(begin, [again() for _ in range(12)]))
    assert sorted(found) == list(range(1, 13))


def test_a_process_that_is_killed_leaves_it_whole(
    place: str, again: Callable[..., State]
) -> None:
    """What it had committed is there, and the next one waits for nothing."""
    program = (
        "import sys\nfrom tests.test_state import add, opened\n"
        "state = opened(sys.argv[1])\nwhile True: print(add(state), flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, place], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    told += [int(line) for line in process.stdout]
    process.wait()
    process.stdout.close()
    assert add(again()) in {told[-1] + 1, told[-1] + 2}


def test_tables_are_brought_up_to_date(again: Callable[..., State]) -> None:
    """Step by step, and once."""
    add(again())

    def times(factor: int, connection: sa.Connection) -> None:
        connection.execute(COUNTS.update().values(count=COUNTS.c.count * factor))

    upgrades = {1: lambda it: times(10, it), 2: lambda it: times(7, it)}
    for expected in (71, 72):
        assert add(again(version=3, upgrades=upgrades)) == expected


def test_an_upgrade_that_fails_has_not_begun(again: Callable[..., State]) -> None:
    """Who comes next begins where the last one did."""
    add(again())

    def fail(connection: sa.Connection) -> None:
        connection.execute(COUNTS.update().values(count=10))
        raise KeyError

    with pytest.raises(KeyError):
        add(again(version=2, upgrades={1: fail}))
    assert add(again()) == 2


def test_tables_of_a_later_version_are_left_alone(again: Callable[..., State]) -> None:
    """Two versions of this package share a machine for a while."""
    add(again(version=2))
    with pytest.raises(
        StateError, match="is of version 2, and this pysys_orch knows 1"
    ) as later:
        add(again())
    assert PASSWORD not in str(later.value)
    assert add(again(version=2)) == 2


# In a file


def test_it_is_there_in_the_next_run(tmp_path: Path) -> None:
    """In a file that is nobody else's business, and may lie in a new folder."""
    file = tmp_path / "new" / "state.db"
    assert add(opened(file)) == 1
    assert add(opened(file)) == 2
    assert add(opened(f"sqlite:///{file}")) == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file], "a copy of the file is all of it"


@pytest.mark.parametrize("content", [b"no database at all, but long enough" * 40])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, content: bytes) -> None:
    """It is not overwritten."""
    file = tmp_path / "state.db"
    file.write_bytes(content)
    with pytest.raises(StateError, match=r"state\.db cannot be used: .*out of the way"):
        add(opened(file))
    assert file.read_bytes() == content


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Whatever keeps it from being written."""
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"file/state\.db cannot be used"):
        add(opened(tmp_path / "file" / "state.db"))


def test_who_has_to_wait_waits(tmp_path: Path) -> None:
    """Another program may look into the file at any time."""
    file = tmp_path / "state.db"
    state = opened(file)
    add(state)
    other = sqlite3.connect(file, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.2, other.rollback)
    timer.start()
    assert add(state) == 2
    timer.join()
    other.close()


def test_memory_is_shared_by_threads() -> None:
    """And by nobody else."""
    state = opened("sqlite://")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: add(state), range(50)))
    assert add(state) == 51
    assert add(opened("sqlite://")) == 1


# In a database


def test_a_connection_that_was_cut_is_made_again(database: str) -> None:
    """The server may be started anew while a suite runs for hours."""
    state, other = opened(database), opened(database)
    assert add(state) == 1
    with other.transaction() as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
        connection.execute(
            sa.text(f"{cut}pg_backend_pid() AND datname = current_database()")
        )
    assert add(state) == 2
    state.close()
    other.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nosuch://me:hunter2@host/name", "nosuch://[...] is no kind of database"),
        ("mysql+pymysql://me:hunter2@h/n", "mysql+pymysql://[...] is not installed"),
        ("postgresql://me:hunter2@host:port/n", "what follows postgresql:// cannot be"),
        ("me:hunter2@host://name", "it does not begin with the kind of a database"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_its_password(
    url: str, words: str
) -> None:
    """It may be misspelt anywhere."""
    with pytest.raises(
        ConfigError, match="URL of the test state makes no sense"
    ) as odd:
        opened(url)
    assert words in str(odd.value)
    assert "hunter2" not in str(odd.value)


def test_a_database_that_is_down_is_named_without_its_password() -> None:
    """Its address helps; its password is a secret, wherever the URL has it."""
    url = f"{database_url(free_port())}?sslpassword={PASSWORD}"
    with pytest.raises(StateError, match=r"tests:.*@127.* cannot be used") as down:
        add(opened(url))
    assert PASSWORD not in str(down.value)


def test_a_database_that_does_not_answer_is_not_waited_for() -> None:
    """Longer than was asked for: a machine in between may swallow everything."""
    clock = SystemClock()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        state = opened(database_url(silent.getsockname()[1]), patience=2)
        begin = clock.instant()
        with pytest.raises(StateError, match=r"tests:.*@127.* cannot be used") as late:
            add(state)
    assert clock.instant() - begin < 10
    assert PASSWORD not in str(late.value)

"""What is known of cases when a run goes on where another one ended."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pysys_orch.clock import Clock, SystemClock
from pysys_orch.errors import ConfigError, StateError
from pysys_orch.livecheck.events import Began, Ended, Silent
from pysys_orch.livecheck.health import Health, stall_due, step
from pysys_orch.livecheck.models import State, TestExecution, TestReport
from pysys_orch.livecheck.policy import Policy
from pysys_orch.livecheck.records import TABLES, VERSION, Retention
from pysys_orch.livecheck.store import Store
from pysys_orch.state import State as Database
from pysys_orch.testing import ManualClock
from tests.docker.owned import eventually

POLICY = Policy()
PATIENCE = 60.0


def aged(count: int, state: State = State.FAIL, health: Health | None = None) -> Health:
    """Return how a case is after so many executions, one each second."""
    health = health or Health()
    begin = health.tally.executions
    for at in range(begin, begin + count):
        health = step(health, Ended(at, state, at), POLICY).health
    return health


def report(number: int, state: State = State.PASS) -> TestReport:
    error = None if state.is_ok() else f"it broke: {number}"
    return TestReport("shop.Checkout", state, {}, None, float(number), error)


@pytest.fixture
def opened(place: str) -> Iterator[Callable[..., Store]]:
    """Return what opens the place, as a run does."""
    with contextlib.ExitStack() as stack:

        def made(
            application: str = "shop",
            *,
            clock: Clock | None = None,
            retention: Retention | None = None,
        ) -> Store:
            clock = clock or ManualClock()
            store = Store.at(place, application, clock=clock, retention=retention)
            stack.callback(store.close)
            return store

        yield made


# In a file, and in a database


def test_a_run_goes_on_where_another_one_ended(opened: Callable[..., Store]) -> None:
    """One more failure after 29 fails the suite, whoever saw the others."""
    first = opened()
    assert first.load("shop.Checkout") is None
    histories = {"runtime": deque([1.5, 2.5], maxlen=100), "latency": deque[float]()}
    first.put("shop.Checkout", aged(29), histories)
    first.add(report(7, State.TIMEOUT))
    first.close()
    kept = opened().load("shop.Checkout")
    assert kept is not None
    assert kept.health.tally.failures == 29
    assert kept.histories == {"runtime": (1.5, 2.5), "latency": ()}
    assert [each for _, each in kept.reports] == [report(7, State.TIMEOUT)]
    health, notices = step(kept.health, Ended(40, State.FAIL, 40), POLICY)
    assert [each.why for each in notices] == ["Failed after 30 (max=30)"]
    assert health.status is State.FAIL


def test_what_was_told_is_not_told_again(opened: Callable[..., Store]) -> None:
    """Neither that it fails, in the next run, nor that it is well in one after it."""
    first = opened()
    first.put("shop.Checkout", aged(30), {})
    first.close()
    second = opened()
    kept = second.load("shop.Checkout")
    assert kept is not None
    again, notices = step(kept.health, Ended(30, State.FAIL, 30), POLICY)
    assert notices == ()
    again, notices = step(again, Ended(1000, State.PASS, 1000), POLICY)
    assert [each.kind for each in notices] == ["recovered"]


def test_times_mean_the_same_in_another_process(opened: Callable[..., Store]) -> None:
    """Its instants have another beginning; what is between them has not."""
    clock = ManualClock(instant=1000.0)
    first = opened(clock=clock)
    health = step(Health(), Began(1000.0), POLICY).health
    first.put("shop.Checkout", health, {})
    first.close()
    later = ManualClock(instant=5.0, stamp=clock.stamp() + timedelta(seconds=1700))
    kept = opened(clock=later).load("shop.Checkout")
    assert kept is not None
    assert stall_due(kept.health, POLICY) == pytest.approx(105.0)
    _, notices = step(kept.health, Silent(105.0), POLICY)
    assert [each.why for each in notices] == ["no test for 1800 s (max=1800)"]


def test_a_clock_that_was_set_back_makes_nothing_come(
    opened: Callable[..., Store],
) -> None:
    """What has happened is over, however the machine's clock goes."""
    clock = ManualClock(instant=1000.0)
    first = opened(clock=clock)
    first.put("shop.Checkout", step(Health(), Began(990.0), POLICY).health, {})
    first.close()
    back = ManualClock(instant=5.0, stamp=clock.stamp() - timedelta(hours=1))
    kept = opened(clock=back).load("shop.Checkout")
    assert kept is not None
    assert kept.health.watch.began == pytest.approx(-5.0)


def test_cases_of_others_are_others(opened: Callable[..., Store]) -> None:
    """Applications and cases share a place, and nothing else."""
    first, other = opened(), opened("bank")
    first.put("a", aged(1), {})
    first.put("b", aged(2), {})
    other.put("a", aged(3), {})
    first.close()
    other.close()
    store = opened()
    assert store.case_names() == ["a", "b"]
    found = [store.load("a"), store.load("b"), opened("bank").load("a")]
    assert [each and each.health.tally.failures for each in found] == [1, 2, 3]


def test_what_is_saved_is_there_when_it_says_so(opened: Callable[..., Store]) -> None:
    """And so is what was put before: nobody hears of what could still be forgotten."""
    store, other = opened(), opened()
    store.add(report(1))
    store.put("shop.Payment", aged(3), {})
    store.save("shop.Checkout", aged(30), {}).result(PATIENCE)
    checkout, payment = other.load("shop.Checkout"), other.load("shop.Payment")
    assert checkout is not None
    assert payment is not None
    assert (checkout.health, payment.health) == (aged(30), aged(3))
    assert len(checkout.reports) == 1


def test_many_can_wait_at_once(opened: Callable[..., Store]) -> None:
    """What the last one saved is what is known."""
    store = opened()
    futures = [store.save("shop.Checkout", aged(n), {}) for n in range(1, 200)]
    for each in futures:
        each.result(PATIENCE)
    kept = opened().load("shop.Checkout")
    assert kept is not None
    assert kept.health == aged(199)


def test_who_no_longer_waits_harms_nobody(opened: Callable[..., Store]) -> None:
    """A loop that ends cancels what it waits for."""
    store = opened()
    for _ in range(20):
        store.save("shop.Checkout", aged(1), {}).cancel()
    store.save("shop.Checkout", aged(2), {}).result(PATIENCE)


def test_reports_that_are_not_ok_are_not_lost_among_others(
    opened: Callable[..., Store],
) -> None:
    """The last ones of both are kept, in their order, and no more of them."""
    retention = Retention(reports=3)
    for begin in (0, 100):
        store = opened(retention=retention)
        store.add(report(begin, State.ERROR))
        for number in range(begin + 1, begin + 50):
            store.add(report(number))
        store.put("shop.Checkout", aged(1), {})
        store.close()
    kept = opened().load("shop.Checkout")
    assert kept is not None
    runtimes = [each.runtime for _, each in kept.reports]
    assert sorted(runtimes, key=str) == [0, 100, 147, 148, 149]
    assert runtimes[0] == 0


def test_a_run_that_lasts_does_not_fill_the_place(tmp_path: Path) -> None:
    """Reports are removed while it runs, not only when it ends."""
    file = tmp_path / "state.db"
    state = Database(str(file), TABLES, name="livecheck")
    store = Store(state, "shop", clock=ManualClock(), retention=Retention(reports=3))
    for number in range(65):
        store.add(report(number))
        store.save("shop.Checkout", aged(1), {}).result(PATIENCE)
    with contextlib.closing(sqlite3.connect(file)) as database:
        (count,) = database.execute("select count(*) from livecheck_reports").fetchone()
    assert 3 <= count <= 15
    kept = store.load("shop.Checkout")
    assert kept is not None
    assert [each.runtime for _, each in kept.reports] == [62, 63, 64]
    store.close()


def test_very_much_can_be_put_at_once(database: str) -> None:
    """More than PostgreSQL takes in one statement, which is 65535 values."""
    many = 13_200
    retention = Retention(reports=many)
    store = Store.at(database, "shop", clock=ManualClock(), retention=retention)
    for number in range(many):
        store.add(report(number))
    store.save("shop.Checkout", aged(1), {}).result(PATIENCE)
    kept = store.load("shop.Checkout")
    assert kept is not None
    assert [each.runtime for _, each in kept.reports] == list(range(many))
    store.close()


def test_what_is_old_is_forgotten(opened: Callable[..., Store]) -> None:
    """Reports, and cases of which nothing is heard any more."""
    clock = ManualClock()
    retention = Retention(age=timedelta(days=2))
    first = opened(clock=clock, retention=retention)
    first.put("shop.Gone", aged(1), {})
    first.put("shop.Checkout", aged(1), {})
    first.add(report(1))
    first.close()
    clock.advance(86400 * 1.5)
    second = opened(clock=clock, retention=retention)
    second.put("shop.Checkout", aged(2), {})
    second.add(report(2))
    second.close()
    clock.advance(86400)
    third = opened(clock=clock, retention=retention)
    third.put("shop.Payment", aged(1), {})
    third.close()
    last = opened(clock=clock)
    assert last.case_names() == ["shop.Checkout", "shop.Payment"]
    kept = last.load("shop.Checkout")
    assert kept is not None
    assert [(stamp, each.runtime) for stamp, each in kept.reports] == [
        (clock.stamp() - timedelta(days=1), 2)
    ]


def test_reports_have_what_users_gave(opened: Callable[..., Store]) -> None:
    """Whatever that is."""
    now = datetime(2024, 2, 29, 12, tzinfo=UTC)
    test = TestExecution("7\x00\ud800", "shop.Checkout", now, [object], {"a": {1}}, now)
    made = TestReport("shop.Checkout", State.FAIL, {"s": 1.0}, test, 1.0, "\x00", "")
    store = opened()
    store.add(made)
    store.put("shop.Checkout", aged(1), {})
    store.close()
    kept = opened().load("shop.Checkout")
    assert kept is not None
    ((_, found),) = kept.reports
    assert found.test is not None
    assert (found.test.id, found.error) == (test.id, made.error)
    assert found.test.test_kwargs == {"a": [1]}


def test_threads_put_while_it_writes(opened: Callable[..., Store]) -> None:
    """Histories grow meanwhile, and all that was put last is there."""
    store = opened()
    histories = {"runtime": deque[float](maxlen=100)}
    final = aged(50)

    def busy(name: str) -> None:
        for number in range(2000):
            histories["runtime"].append(float(number))
            store.put(name, aged(1), histories)
            store.add(report(number))
        store.put(name, final, histories)

    names = [f"case {number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(busy, names))
    store.close()
    other = opened()
    assert [kept and kept.health for kept in map(other.load, names)] == [final] * 4


def killed(place: str, program: str, seconds: float) -> list[tuple[float, int]]:
    """Run a program that prints numbers, and kill it.

    Returns:
        How many seconds before its end each number was read.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + program, place],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    read = list[tuple[float, int]]()
    try:
        for line in process.stdout:
            read.append((time.monotonic(), int(line)))
            if read[-1][0] - read[0][0] > seconds:
                break
    finally:
        process.send_signal(signal.SIGKILL)
        end = time.monotonic()
        # What it had said by then counts as well.
        read += [(end, int(line)) for line in process.stdout if line.endswith("\n")]
        process.wait()
        process.stdout.close()
    return [(end - at, number) for at, number in read]


PROLOGUE = """
import sys
from pysys_orch.clock import SystemClock
from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.models import State as Outcome, TestReport
from pysys_orch.livecheck.records import TABLES
from pysys_orch.livecheck.store import Store
from pysys_orch.livecheck.tally import Tally
from pysys_orch.state import State

def after(number):
    return Health(tally=Tally(passed=number))

number = 0
"""


def test_a_process_that_is_killed_loses_no_more_than_a_second(
    place: str, opened: Callable[..., Store]
) -> None:
    """Of what it only put."""
    program = """
store = Store.at(sys.argv[1], "shop", clock=SystemClock())
store.load("shop.Checkout")
while True:
    number += 1
    store.put("shop.Checkout", after(number), {"runtime": [1.0]})
    store.add(TestReport("shop.Checkout", Outcome.PASS, {}, None, 1.0))
    if number % 50 == 0:
        print(number, flush=True)
"""
    read = killed(place, program, 2.5)
    kept = opened(clock=SystemClock()).load("shop.Checkout")
    assert kept is not None
    assert kept.health.tally.passed >= max(n for ago, n in read if ago >= 1) > 0
    assert kept.reports


def test_a_process_that_is_killed_loses_nothing_that_is_saved(
    place: str, opened: Callable[..., Store]
) -> None:
    """However long it would collect what is put."""
    program = """
state = State(sys.argv[1], TABLES, name="livecheck")
store = Store(state, "shop", clock=SystemClock(), interval=3600)
while True:
    number += 1
    store.save("shop.Checkout", after(number), {}).result(60)
    print(number, flush=True)
"""
    read = killed(place, program, 0.5)
    kept = opened(clock=SystemClock()).load("shop.Checkout")
    assert kept is not None
    assert read[-1][1] <= kept.health.tally.passed <= read[-1][1] + 1


# In a file


def store_in(file: Path) -> Store:
    return Store.at(str(file), "shop", clock=ManualClock())


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    """Who only describes an application leaves no file and no thread."""
    store_in(tmp_path / "state.db").close()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=["no database", "malformed"])
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a file that is no database, or not any more."""
    file = tmp_path / "state.db"
    if request.param == "no database":
        file.write_bytes(b"no database at all, but long enough" * 400)
        return file
    store = store_in(file)
    for number in range(50):
        store.add(report(number, State.FAIL))
    store.put("shop.Checkout", aged(1), {})
    store.close()
    content = bytearray(file.read_bytes())
    # All but what says that it is a database, and which tables it has.
    content[8192:] = b"x" * (len(content) - 8192)
    file.write_bytes(content)
    return file


def test_a_file_that_cannot_be_read_is_left_alone(broken: Path) -> None:
    """Who reads it hears of it, and nothing is written over it then."""
    content = broken.read_bytes()
    store = store_in(broken)
    with pytest.raises(StateError, match=r"state\.db cannot be used: .*of the way"):
        store.load("shop.Checkout")
    store.add(report(1))
    store.put("shop.Checkout", aged(1), {})
    with pytest.raises(StateError, match=r"nothing is written over it"):
        store.save("shop.Checkout", aged(1), {}).result(PATIENCE)
    with contextlib.suppress(StateError):
        store.close()
    assert broken.read_bytes() == content


def test_who_only_writes_hears_in_the_end(broken: Path) -> None:
    """That nothing was remembered."""
    content = broken.read_bytes()
    store = store_in(broken)
    with pytest.raises(StateError, match=r"state\.db cannot be used"):
        store.save("shop.Checkout", aged(1), {}).result(PATIENCE)
    with pytest.raises(StateError, match=r"state\.db cannot be used"):
        store.close()
    assert broken.read_bytes() == content


def test_what_can_be_read_again_is_written_again(tmp_path: Path) -> None:
    """A place may be missing for a while."""
    file = tmp_path / "folder" / "state.db"
    file.parent.touch()
    store = store_in(file)
    with pytest.raises(StateError, match=r"cannot be used"):
        store.load("shop.Checkout")
    file.parent.unlink()
    assert store.load("shop.Checkout") is None
    store.save("shop.Checkout", aged(1), {}).result(PATIENCE)
    store.close()


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """Two versions of this package share a machine for a while."""
    file = tmp_path / "state.db"
    later = Database(str(file), TABLES, name="livecheck", version=VERSION + 1)
    with later.transaction():
        pass
    later.close()
    content = file.read_bytes()
    store = store_in(file)
    with pytest.raises(StateError, match=r"is of version 2, .* knows 1: update it"):
        store.load("shop.Checkout")
    store.close()
    writer = store_in(file)
    writer.put("shop.Checkout", aged(1), {})
    with pytest.raises(StateError, match=r"is of version 2"):
        writer.close()
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("column", "content"),
    [("health", "{}"), ("health", "nonsense"), ("histories", "[]"), ("saved", "soon")],
)
def test_a_case_that_nobody_understands_is_left_alone(
    tmp_path: Path, column: str, content: str
) -> None:
    """It is named; the others of its application go on."""
    file = tmp_path / "state.db"
    first = store_in(file)
    first.put("shop.Checkout", aged(1), {})
    first.close()
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute(f"update livecheck_cases set {column} = ?", (content,))
        database.commit()
    store = store_in(file)
    with pytest.raises(StateError, match=r"case 'shop\.Checkout' cannot be read \("):
        store.load("shop.Checkout")
    store.put("shop.Checkout", aged(5), {})
    store.add(report(1))
    with pytest.raises(StateError, match=r"nothing is written over it"):
        store.save("shop.Checkout", aged(6), {}).result(PATIENCE)
    store.put("shop.Payment", aged(7), {})
    store.close()
    with contextlib.closing(sqlite3.connect(file)) as database:
        query = f"select {column} from livecheck_cases where case_name = ?"
        found = database.execute(query, ("shop.Checkout",)).fetchall()
        reports = database.execute("select * from livecheck_reports").fetchall()
    assert (found, reports) == ([(content,)], [])
    kept = store_in(file).load("shop.Payment")
    assert kept is not None
    assert kept.health == aged(7)


def test_nobody_waits_for_a_database_that_somebody_else_has(tmp_path: Path) -> None:
    """Who executes tests goes on; what he put is written when it can be."""
    file = tmp_path / "state.db"
    store = store_in(file)
    store.save("shop.Checkout", aged(1), {}).result(PATIENCE)
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        future = store.save("shop.Checkout", aged(2), {})
        begin = time.monotonic()
        for _ in range(1000):
            store.put("shop.Checkout", aged(3), {})
            store.add(report(1))
        assert time.monotonic() - begin < 5
        assert not future.done()
        with pytest.raises(StateError, match=r"was not written within 0\.1 s"):
            store.close(timeout=0.1)
        other.rollback()
    future.result(PATIENCE)
    store.close(timeout=PATIENCE)
    kept = store_in(file).load("shop.Checkout")
    assert kept is not None
    assert kept.health == aged(3)


def test_what_could_not_be_written_is_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk may be full for a while: it is said once, and all is there in the end."""
    file = tmp_path / "folder" / "state.db"
    file.parent.touch()
    store = store_in(file)
    store.add(report(1, State.FAIL))
    for count in (1, 2):
        with pytest.raises(StateError, match=r"folder/state\.db cannot be used"):
            store.save("shop.Checkout", aged(count), {}).result(PATIENCE)
    store.add(report(2, State.FAIL))
    file.parent.unlink()
    store.save("shop.Payment", aged(1), {}).result(PATIENCE)
    store.close()
    levels = [each.levelname for each in caplog.records]
    assert levels.count("ERROR") == 1
    kept = store_in(file).load("shop.Checkout")
    assert kept is not None
    assert kept.health == aged(2)
    assert [each.runtime for _, each in kept.reports] == [1, 2]


def test_what_cannot_be_written_at_all_is_no_end(tmp_path: Path) -> None:
    """Somebody's mistake is told to him, and what he puts next is remembered."""
    store = store_in(tmp_path / "state.db")
    wrong = {"runtime": [object()]}
    with pytest.raises(StateError, match=r"cannot be written: TypeError"):
        store.save("shop.Checkout", aged(1), wrong).result(PATIENCE)  # type: ignore[arg-type] # the mistake
    store.save("shop.Checkout", aged(2), {}).result(PATIENCE)
    store.close()


def test_what_comes_while_a_write_fails_comes_after_it(tmp_path: Path) -> None:
    """In the order in which it was put; of a case the last one counts."""
    file = tmp_path / "state.db"
    state = Database(str(file), TABLES, name="livecheck", patience=0.5)
    store = Store(state, "shop", clock=ManualClock())
    store.save("shop.Checkout", aged(1), {}).result(PATIENCE)
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        store.add(report(1))
        future = store.save("shop.Checkout", aged(2), {})
        eventually(lambda: not store._next.has_any, what="it is about to write")
        store.add(report(2))
        store.put("shop.Checkout", aged(3), {})
        with pytest.raises(StateError, match="locked"):
            future.result(PATIENCE)
        other.rollback()
    store.close()
    kept = store_in(file).load("shop.Checkout")
    assert kept is not None
    assert kept.health == aged(3)
    assert [each.runtime for _, each in kept.reports] == [1, 2]


def test_who_comes_after_the_end_is_told() -> None:
    """Nobody waits for ever for what nobody writes."""
    store = Store.at("sqlite://", "shop", clock=ManualClock())
    store.put("shop.Checkout", aged(1), {})
    store.close()
    store.close()
    with pytest.raises(StateError, match="is closed"):
        store.save("shop.Checkout", aged(2), {}).result(0)
    assert not [each for each in threading.enumerate() if "livecheck" in each.name]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Retention(reports=0), "reports has to be at least 1, got 0"),
        (lambda: Retention(reports=True), "got True"),
        (lambda: Retention(age=timedelta(0)), "age has to be more than 0"),
        (lambda: Store.at("nosuch://a", "shop", clock=ManualClock()), "makes no sense"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], words: str) -> None:
    """When it is written."""
    with pytest.raises(ConfigError, match=words):
        make()


def test_tables_have_the_names_of_the_wing() -> None:
    """Wings share a database."""
    assert all(name.startswith("livecheck_") for name in TABLES.tables)
    assert isinstance(TABLES, sa.MetaData)

"""How a live check of a PySys test begins and ends, whatever happens."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from pysys_orch.clock import SystemClock
from pysys_orch.livecheck.store import Store
from tests.docker.owned import eventually
from tests.livecheck.shop import Shop

SAYS = "self.live = self.startLiveCheck(cases=[Says])\nself.say(self.live, {})"


def test_it_ends_with_its_test(tmp_path: Path) -> None:
    """Threads are gone, the port is closed, and tests that run are reported."""
    shop = Shop(tmp_path)
    shop.test(
        """
        self.live = live = self.startLiveCheck(cases=[Checkout])
        live.call(live.case(Checkout).trigger("never-1", "never-1"))
        pathlib.Path(self.output, "port").write_text(str(live.receiver.port))
        """,
        """
        self.addOutcome(PASSED)
        def write():
            names = [each.name for each in threading.enumerate()]
            pathlib.Path(self.output, "threads").write_text(", ".join(names))
        self.runner.addCleanupFunction(write)
        """,
    )
    said = shop.run()
    assert shop.outcome()[0] == "PASSED", said
    (report,) = shop.reports("Checkout")
    assert report["state"] == "SKIP"
    assert report["test"]["id"] == "never-1"
    (threads,) = tmp_path.rglob("threads")
    assert "livecheck" not in threads.read_text()
    (port,) = tmp_path.rglob("port")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port.read_text())), timeout=5)


def run_log(folder: Path) -> str:
    return "".join(each.read_text() for each in folder.rglob("run.log"))


@pytest.mark.parametrize("signaled", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "waiting",
    [
        "live.waitForCount(Checkout, 'PASS', 1, timeout=600)",
        "live.call(asyncio.sleep(600))",
        "self.wait(600)",
    ],
)
def test_an_interrupted_run_ends_in_good_order(
    tmp_path: Path, signaled: signal.Signals, waiting: str
) -> None:
    """Within seconds, whatever it waits for, and with all that was reported."""
    shop = Shop(tmp_path)
    shop.test(f"""
        live = self.startLiveCheck(cases=[Checkout, Says])
        self.say(live, *["PASS"] * 100)
        live.call(live.case(Checkout).trigger("never-1", "never-1"))
        pathlib.Path(self.output, "port").write_text(str(live.receiver.port))
        {waiting}
    """)
    process = shop.project.start("--printLogs", "ALL")
    try:
        eventually(lambda: list(tmp_path.rglob("port")), what="it watches")
        process.send_signal(signaled)
        process.wait(20)
    finally:
        process.kill()
    assert len(shop.reports("Says")) == 100, shop.project.said()
    (report,) = shop.reports("Checkout")
    assert report["state"] == "SKIP"
    assert "Traceback" not in run_log(tmp_path)


def test_what_blocks_the_loop_is_named_and_left_alone(tmp_path: Path) -> None:
    """The run ends, and what was reported before is there."""
    shop = Shop(tmp_path)
    shop.test(
        """
        class Blocks(Case):
            async def run(self):
                threading.Event().wait(15)  # for ever, as far as anybody can tell
        from pysys_orch.livecheck import running
        running._ENDING = 0.5  # seconds, to be done before it goes on
        self.live = live = self.startLiveCheck(cases=[Says, Blocks])
        self.say(live, "PASS")
        try:
            live.call(live.case("Blocks").trigger(), timeout=0.3)
        except TimeoutError as failure:
            self.log.info("in time: %s", failure)
        """,
        "self.assertLiveCheck(self.live, endWithin=0)",
    )
    said = shop.run()
    outcome, reason = shop.outcome()
    assert outcome == "TIMED OUT", said
    assert "in time: a call of the live check took longer than 0.3 s" in said
    assert "the live check does not end: it is in " in reason
    assert "in wait" in reason
    assert len(shop.reports("Says")) == 1


@pytest.mark.parametrize(
    ("execute", "words"),
    [
        ("self.startLiveCheck()", "a live check needs cases"),
        (
            "self.startLiveCheck(cases=[Says], concurency=1)",
            "startLiveCheck has no option 'concurency', did you mean concurrency?",
        ),
        (
            "self.startLiveCheck(casess=[Says])",
            "startLiveCheck has no option 'casess', did you mean cases?",
        ),
        (
            "self.startLiveCheck(cases=Says)",
            "cases has to be a list of classes, as [Says], got Says",
        ),
        (
            "self.startLiveCheck(cases=7)",
            "cases has to be a list of classes, as [Checkout], got 7",
        ),
        (
            "self.startLiveCheck(cases=[Says], port='80a')",
            "port has to be a whole number from 0 to 65535, got '80a'",
        ),
        (
            "self.startLiveCheck(cases=[Says], send_reports=False)",
            "send_reports=False leaves nothing to judge a live check by",
        ),
        (
            "self.startLiveCheck(cases=[Says, Says])",
            "there is a case 'Says' already",
        ),
        (
            "self.startLiveCheck(cases=[Says]).waitForCount('Say')",
            "there is no case 'Say', did you mean Says?",
        ),
        (
            "self.startLiveCheck(cases=[Says]).waitForCount('Says', 'PAST')",
            "there is no state 'PAST', did you mean PASS?",
        ),
        (
            (
                "a = self.startLiveCheck(cases=[Says])\n"
                "self.startLiveCheck(cases=[Says], port=a.receiver.port)"
            ),
            "cannot listen at 127.0.0.1:",
        ),
        (
            "self.startLiveCheck(cases=[Says]).urlAt('192.0.2.1')",
            "cannot listen at 192.0.2.1: Cannot assign requested address: name an ad",
        ),
        (
            "self.startLiveCheck(cases=[Says]).urlAt('0.0.0.0')",
            "name the one that they reach, as that of a network's gateway",
        ),
        (
            (
                "live = self.startLiveCheck(cases=[Says])\nlive.stop()\n"
                "live.waitForCount(Says)"
            ),
            "Waited for 1 tests of Says, but the live check is over: Says never ran",
        ),
    ],
)
def test_what_makes_no_sense_blocks_the_test(
    tmp_path: Path, execute: str, words: str
) -> None:
    """With words that say what to do."""
    shop = Shop(tmp_path)
    shop.test(execute, "pass")
    said = shop.run()
    outcome, reason = shop.outcome()
    assert (outcome, words in reason) == ("BLOCKED", True), said


def test_what_does_not_come_in_time_ends_the_test(tmp_path: Path) -> None:
    """TIMEDOUT, with what came instead; it may also go on."""
    shop = Shop(tmp_path)
    shop.test(
        """
        live = self.startLiveCheck(cases=[Says])
        self.say(live, "FAIL")
        assert not live.waitUntil(lambda: False, 0.1, what="rain", abortOnError=False)
        live.waitForCount(Says, "PASS", 2, timeout=0.1)
        raise AssertionError("it goes on")
        """,
        "pass",
    )
    said = shop.run()
    assert shop.outcome()[0] == "TIMED OUT", said
    assert "Timed out waiting for rain after 0.1 s: Says 1 FAIL" in said
    assert "Timed out waiting for 2 x PASS of Says after 0.1 s: Says 1 FAIL" in said
    assert "it goes on" not in said


def test_the_state_goes_on_where_the_last_run_ended(tmp_path: Path) -> None:
    """One failure more than those of the run before makes it fail as a whole."""
    state = '<property name="livecheckState" value="state/live.db"/>'
    shop = Shop(tmp_path, properties=state)
    shop.test(
        """
        class Kept(Says):
            max_consecutive_failures = 3
            warn_stalled_after = None
        self.live = live = self.startLiveCheck(cases=[Kept])
        self.log.info("before: %d", live.case("Kept").consecutive_failures)
        times = 1 if live.case("Kept").total_failures else 2
        self.say(live, *["FAIL"] * times, case="Kept")
        """
    )
    first = shop.run()
    assert "before: 0" in first
    assert "as a whole" not in shop.outcome()[1]
    second = shop.run()
    assert "before: 2" in second
    outcome, reason = shop.outcome()
    assert outcome == "FAILED"
    assert "1 of 1 tests did not pass (1 FAIL)" in reason
    assert "failing as a whole: Failed after 3 (max=3)" in reason
    assert (tmp_path / "state" / "live.db").exists()


def test_an_argument_says_where_the_state_is_and_how_much_of_it_stays(
    tmp_path: Path,
) -> None:
    """It counts more than the property of the project."""
    state = '<property name="livecheckState" value="live.db"/>'
    shop = Shop(tmp_path, properties=state)
    shop.test(
        """
        self.live = self.startLiveCheck(cases=[Says])
        self.say(self.live, "PASS", "PASS", "PASS")
        """
    )
    said = shop.run("-XlivecheckState=other.db", "-XlivecheckRetentionReports=2")
    assert shop.outcome()[0] == "PASSED", said
    assert not (tmp_path / "live.db").exists()
    store = Store.at(str(tmp_path / "other.db"), "shop", clock=SystemClock())
    kept = store.load("Says")
    store.close()
    assert kept is not None
    assert [made.test.id for _, made in kept.reports if made.test] == ["t2", "t3"]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (
            "livecheckState",
            "livecheckState needs a value, as in -XlivecheckState=VALUE",
        ),
        (
            "livecheckRetentionReports=0",
            "livecheckRetentionReports has to be at least 1",
        ),
        ("livecheckRetentionReports=x", "livecheckRetentionReports cannot be read: "),
        ("livecheckRetentionDays=-1", "livecheckRetentionDays has to be more than 0"),
    ],
)
def test_arguments_that_make_no_sense_block_the_test(
    tmp_path: Path, argument: str, words: str
) -> None:
    """They are not passed over."""
    state = '<property name="livecheckState" value="live.db"/>'
    shop = Shop(tmp_path, properties=state)
    shop.test("self.startLiveCheck(cases=[Says])", "pass")
    said = shop.run(f"-X{argument}")
    outcome, reason = shop.outcome()
    assert (outcome, words in reason) == ("BLOCKED", True), said


def test_a_state_that_cannot_be_read_blocks_the_test(tmp_path: Path) -> None:
    """And stays as it is."""
    state = '<property name="livecheckState" value="live.db"/>'
    shop = Shop(tmp_path, properties=state)
    (tmp_path / "live.db").write_bytes(b"no database at all, but long enough " * 100)
    before = (tmp_path / "live.db").read_bytes()
    shop.test("self.startLiveCheck(cases=[Says])", "pass")
    said = shop.run()
    outcome, reason = shop.outcome()
    assert outcome == "BLOCKED", said
    assert "move it out of the way" in reason
    assert (tmp_path / "live.db").read_bytes() == before


def test_a_run_that_is_killed_leaves_what_it_knew(tmp_path: Path) -> None:
    """Its reports, and what the next run goes on with."""
    state = '<property name="livecheckState" value="live.db"/>'
    shop = Shop(tmp_path, properties=state)
    shop.test(
        """
        self.live = live = self.startLiveCheck(cases=[Says])
        failures = live.case(Says).consecutive_failures
        self.log.info("before: %d", failures)
        if not failures:
            self.say(live, "PASS", "FAIL", "FAIL")
            self.wait(600)
        self.say(live, "PASS")
        """
    )
    process = shop.project.start("--outdir", "first")
    store = Store.at(str(tmp_path / "live.db"), "shop", clock=SystemClock())

    def is_known() -> bool:
        kept = store.load("Says") if (tmp_path / "live.db").exists() else None
        return kept is not None and kept.health.tally.failures == 2

    try:
        eventually(is_known, what="both failures are known")
        eventually(lambda: list(tmp_path.rglob("Says.jsonl")), what="reports")
        eventually(lambda: len(shop.reports("Says")) == 3, what="all three")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        store.close()
    said = shop.run("--outdir", "second")
    assert "before: 2" in said
    assert shop.outcome() == ("PASSED", "Says: 1 of 1 tests passed"), said

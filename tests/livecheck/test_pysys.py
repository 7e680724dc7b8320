"""What becomes of a PySys test that watches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.livecheck.shop import Shop

SAYS = "self.live = self.startLiveCheck(cases=[Says])\nself.say(self.live, {})"


@pytest.mark.parametrize(
    ("states", "outcome", "reason"),
    [
        (["PASS", "PASS"], "PASSED", "Says: 2 of 2 tests passed"),
        (
            ["PASS", "FAIL", "PASS"],
            "FAILED",
            (
                "Says: 1 of 3 tests did not pass (1 FAIL); it was t2: FAIL: "
                "what was sent never came, see livecheck/Says.jsonl:2"
            ),
        ),
        (
            ["ERROR"],
            "BLOCKED",
            (
                "Says: 1 of 1 tests did not pass (1 ERROR); it was t1: ERROR: "
                "'amount', see livecheck/Says.jsonl:1"
            ),
        ),
        (
            ["FAIL", "TIMEOUT", "TIMEOUT"],
            "TIMED OUT",
            (
                "Says: 3 of 3 tests did not pass (1 FAIL, 2 TIMEOUT); the first t2: "
                "TIMEOUT: Timed out waiting for signal shipped (1.0), see "
                "livecheck/Says.jsonl:2"
            ),
        ),
        (
            ["SKIP", "SKIP"],
            "PASSED",
            "Says: 2 tests were skipped, and nothing else",
        ),
        ([], "FAILED", "Says: never ran: no test was triggered"),
    ],
)
def test_the_states_of_a_case_become_an_outcome(
    tmp_path: Path, states: list[str], outcome: str, reason: str
) -> None:
    """With counts, the first failure, and where its report is."""
    shop = Shop(tmp_path)
    shop.test(SAYS.format(", ".join(map(repr, states))))
    said = shop.run()
    assert shop.outcome() == (outcome, reason), said
    # PySys prints it as the place of the failure.
    assert ("[Says.jsonl:" in said) == ("see livecheck" in reason)


def test_signals_come_by_http_and_values_are_what_was_declared(tmp_path: Path) -> None:
    """From whatever sends them; a class in the test itself is enough."""
    shop = Shop(tmp_path)
    shop.test("""
        self.live = live = self.startLiveCheck(cases=[Checkout])
        for number in range(20):
            id = f"o-{number}"
            said = {"case": "Checkout", "id": id, "args": [id],
                    "kwargs": {"amount": number}}
            assert post(live.url, "/trigger", said) == {"id": id}
            order = {"id": id, "amount": number}
            event = {"case_name": "Checkout", "key": id}
            post(live.url, "/signal", [
                {**event, "signal_name": "order_sent", "value": order},
                {**event, "signal_name": "order_shipped", "value": "by ship"}])
        live.waitForCount(Checkout, "PASS", 20)
    """)
    said = shop.run()
    assert shop.outcome() == ("PASSED", "Checkout: 20 of 20 tests passed"), said
    assert "Live check shop Checkout: runtime p99 = " in said
    assert "Live check shop Checkout: order_sent latency p50 = " in said
    assert {each["state"] for each in shop.reports("Checkout")} == {"PASS"}


def test_silence_is_a_timeout_with_its_reason(tmp_path: Path) -> None:
    """Also if there was never a test; a case that is not silent passes beside it."""
    shop = Shop(tmp_path)
    shop.test("""
        class Silent(Case):
            warn_stalled_after = 0.2
        self.live = live = self.startLiveCheck(cases=[Silent, Says])
        self.say(live, "PASS", case="Says")
        live.waitUntil(lambda: live.case("Silent").status is State.STALL)
    """)
    said = shop.run()
    outcome, reason = shop.outcome()
    assert outcome == "TIMED OUT", said
    assert re.match(r"Silent: stalled: no test for \d\S* s \(max=0\.2\), see", reason)
    assert "Says: 1 of 1 tests passed" in said


def test_what_was_wrong_counts_though_it_is_well_again(tmp_path: Path) -> None:
    """Not the last state decides, but all that happened."""
    shop = Shop(tmp_path)
    shop.test("""
        class Quiet(Says):
            warn_stalled_after = 1.0
            state_transition_delay = 0.0
        self.live = live = self.startLiveCheck(cases=[Quiet])
        live.waitUntil(lambda: live.case("Quiet").status is State.STALL)
        self.say(live, "PASS", case="Quiet")
        assert live.case("Quiet").status is State.PASS
    """)
    said = shop.run()
    outcome, reason = shop.outcome()
    assert outcome == "TIMED OUT", said
    assert "though it was well again, see livecheck/Quiet.jsonl:1" in reason


@pytest.mark.parametrize(
    ("thresholds", "outcome", "words"),
    [
        ({"Says.failure_ratio": "<0.5"}, "PASSED", ""),
        ({"*.failure_count": "<=1"}, "PASSED", ""),
        ({"Says.fail_count": "==1"}, "PASSED", ""),
        (
            {"Says.failure_ratio": "<0.1"},
            "FAILED",
            "failure_ratio < 0.1 does not hold: it is 0.25",
        ),
        ({"Says.timeout_count": "<5"}, "FAILED", "1 of 4 tests did not pass (1 FAIL)"),
        ({"Says.failure_ratio": ">0"}, "FAILED", "1 of 4 tests did not pass (1 FAIL)"),
        (
            {"Says.failure_ratio": "<0.5", "*.runtime_p99_ms": "<0"},
            "FAILED",
            "runtime_p99_ms < 0 does not hold",
        ),
        (
            {"Says.failure_ratio": "<0.5", "Says.latency_p99_ms": "<5"},
            "FAILED",
            "latency_p99_ms has no value: there was nothing to measure",
        ),
        (
            {"Say.failure_ratio": "<0.5"},
            "BLOCKED",
            "there is no case 'Say', did you mean Says?",
        ),
        (
            {"Says.failure_rate": "<0.5"},
            "BLOCKED",
            "there is no figure 'failure_rate', did you mean failure_ratio?",
        ),
    ],
)
def test_thresholds_decide(
    tmp_path: Path, thresholds: dict[str, str], outcome: str, words: str
) -> None:
    """On what may be, and on how long it may take; what is misspelt is told."""
    shop = Shop(tmp_path)
    shop.test(
        SAYS.format("'PASS', 'FAIL', 'PASS', 'PASS'"),
        f"self.assertLiveCheck(self.live, thresholds={thresholds!r})",
    )
    said = shop.run()
    found, reason = shop.outcome()
    assert (found, words in reason) == (outcome, True), said


def test_a_case_may_be_allowed_not_to_run(tmp_path: Path) -> None:
    """By its name, which has to be one."""
    shop = Shop(tmp_path)
    execute = "self.live = self.startLiveCheck(cases=[Says, Other])\n"
    execute += "self.say(self.live, 'PASS')"
    validate = "self.assertLiveCheck(self.live, allowUnused=[{!r}])"
    shop.test(execute, validate.format("Other"), name="right")
    shop.test(execute, validate.format("Otter"), name="wrong")
    said = shop.run()
    assert shop.outcome("right")[0] == "PASSED", said
    assert "Other: never ran, which it need not" in said
    assert shop.outcome("wrong") == (
        "BLOCKED",
        "allowUnused: there is no case 'Otter', did you mean Other?",
    )


JUNIT = """
<writer classname="pysys.writer.outcomes.JUnitXMLResultsWriter">
    <property name="outputDir" value="${testRootDir}/junit"/>
</writer>
"""


def test_each_case_has_its_own_outcome_and_may_have_a_result(tmp_path: Path) -> None:
    """With which it is a test of its own, in all that PySys writes."""
    shop = Shop(tmp_path, properties=JUNIT)
    shop.test(
        "self.live = self.startLiveCheck(cases=[Says, Other])\n"
        "self.say(self.live, 'FAIL')\n"
        "self.live.call(self.live.case(Other).trigger())\n"
        "self.live.waitForCount(Other)\n",
        "assert not self.assertLiveCheck(self.live, resultsPerCase=True)",
    )
    status = shop.project.run("--printLogs", "ALL")
    results = shop.project.results()
    assert {name: each.outcome for name, each in results.items()} == {
        "shop": "FAILED",
        "shop.Says": "FAILED",
        "shop.Other": "PASSED",
    }, shop.project.said()
    words = "2 cases have results of their own, 1 of them not passed"
    assert results["shop"].reason == words
    assert "what was sent never came" in results["shop.Says"].reason
    assert status == 2
    names = {each.name for each in (tmp_path / "junit").iterdir()}
    assert names == {f"TEST-{each}.xml" for each in results}


def test_a_result_says_what_a_test_would(tmp_path: Path) -> None:
    """A case that was only skipped is skipped; the others do not depend on it."""
    shop = Shop(tmp_path)
    shop.test(
        "class Late(Says): pass\nclass Unused(Says): pass\n"
        "self.live = self.startLiveCheck(cases=[Says, Late, Unused])\n"
        "self.say(self.live, 'SKIP')\nself.say(self.live, 'TIMEOUT', case='Late')",
        "self.assertLiveCheck(self.live, resultsPerCase=True)",
    )
    said = shop.run()
    assert {name: it.outcome for name, it in shop.project.results().items()} == {
        "shop": "TIMED OUT",
        "shop.Says": "SKIPPED",
        "shop.Late": "TIMED OUT",
        "shop.Unused": "FAILED",
    }, said


def test_a_test_that_waits_in_vain_when_all_is_over_did_not_pass(
    tmp_path: Path,
) -> None:
    """However long it would have waited still; one that ends soon has its time."""
    shop = Shop(tmp_path)
    shop.test(
        """
        class Soon(Case):
            async def run(self):
                await asyncio.sleep(0.5)

        self.live = self.startLiveCheck(cases=[Checkout, Soon])
        self.live.call(self.live.case(Soon).trigger())
        for id in ("o-1", "o-2"):
            self.live.call(self.live.case(Checkout).trigger(id, id))
        """,
        "self.assertLiveCheck(self.live, endWithin=1)",
    )
    said = shop.run()
    outcome, reason = shop.outcome()
    assert outcome == "TIMED OUT", said
    assert re.fullmatch(
        r"Checkout: 2 tests had not ended in the end, as o-[12]: cut off after "
        r"\d\.\d+ s, see livecheck/Checkout.jsonl:\d",
        reason,
    ), reason
    assert "Soon: 1 of 1 tests passed" in said


def test_what_had_not_ended_may_be_tolerated(tmp_path: Path) -> None:
    """Where traffic never ends, some of it is always on its way."""
    shop = Shop(tmp_path)
    shop.test(
        """
        self.live = self.startLiveCheck(cases=[Checkout])
        self.live.call(self.live.case(Checkout).trigger("o-1", "o-1"))
        """,
        "self.assertLiveCheck(self.live, endWithin=0,"
        " thresholds={'Checkout.cut_off_count': '<=1'})",
    )
    said = shop.run()
    assert shop.outcome()[0] == "PASSED", said


def test_trouble_counts_that_no_report_tells_of(tmp_path: Path) -> None:
    """Who overrides a hook tells somebody else, as a pager."""
    shop = Shop(tmp_path)
    shop.test(
        """
        class Paged(Says):
            max_consecutive_failures = 2
            state_transition_delay = 0

            async def on_suite_fail(self, exc, new_state=State.FAIL):
                pass

        self.live = self.startLiveCheck(cases=[Paged])
        self.say(self.live, "FAIL", "FAIL", "PASS", "PASS", case="Paged")
    """,
        "self.assertLiveCheck(self.live, thresholds={'Paged.fail_count': '<5'})",
    )
    said = shop.run()
    outcome, reason = shop.outcome()
    assert outcome == "FAILED", said
    assert "failing as a whole: no report says why, though it was well again" in reason


def test_a_test_may_have_several_live_checks(tmp_path: Path) -> None:
    """Each has an address, figures, files and a memory of its own, and is judged."""
    shop = Shop(tmp_path)
    shop.test(
        """
        self.live = self.startLiveCheck(cases=[Says], state="live.db")
        self.other = self.startLiveCheck(cases=[Says], state="live.db")
        assert self.live.url != self.other.url
        self.say(self.live, "PASS")
        self.say(self.other, "FAIL", "PASS")
        """,
        "assert self.assertLiveCheck(self.live)\n"
        "assert not self.assertLiveCheck(self.other)\n"
        "assert self.assertLiveCheck(self.live)",
    )
    said = shop.run()
    outcome, reason = shop.outcome()
    assert outcome == "FAILED", said
    assert reason.endswith("see livecheck.2/Says.jsonl:1")
    assert "Says: 1 of 1 tests passed" in said
    assert len(shop.reports("Says")) == 1
    assert len(shop.reports("Says", "livecheck.2")) == 2


def test_such_results_are_those_of_their_mode_and_cycle(tmp_path: Path) -> None:
    """As those of any test: each has its own."""
    shop = Shop(tmp_path)
    shop.test(
        SAYS.format("'PASS'"), "self.assertLiveCheck(self.live, resultsPerCase=True)"
    )
    file = tmp_path / "shop" / "pysystest.py"
    modes = "__pysys_modes__ = lambda helper: [{'mode': 'Day'}, {'mode': 'Night'}]\n"
    file.write_text(modes + file.read_text())
    said = shop.run("--mode", "ALL", "--cycle", "2")
    assert set(shop.project.results()) == {
        "shop~Day",
        "shop~Night",
        "shop.Says~Day",
        "shop.Says~Night",
    }
    assert "Success outcomes: 8 PASSED" in said


def test_where_pysys_has_no_such_results_outcomes_do(tmp_path: Path) -> None:
    """Nothing that failed is lost with them."""
    shop = Shop(tmp_path)
    shop.test(
        SAYS.format("'FAIL'"),
        "self.runner.reportTestOutcome = None\n"
        "self.assertLiveCheck(self.live, resultsPerCase=True)\n"
        "del self.runner.reportTestOutcome",
    )
    said = shop.run()
    assert shop.outcome()[0] == "FAILED", said
    assert list(shop.project.results()) == ["shop"]


def test_a_hook_that_raises_changes_nothing(tmp_path: Path) -> None:
    """It is in the log of the test; the report is written all the same."""
    shop = Shop(tmp_path)
    shop.test("""
        class Hooked(Says):
            async def on_test_start(self, runner):
                raise OSError("hook of the start")
            async def on_test_pass(self, runner):
                raise OSError("hook of the pass")
        self.live = self.startLiveCheck(cases=[Hooked])
        self.say(self.live, "PASS", "PASS", case="Hooked")
    """)
    said = shop.run()
    assert shop.outcome() == ("PASSED", "Hooked: 2 of 2 tests passed"), said
    (log,) = tmp_path.rglob("run.log")
    assert log.read_text().count("OSError: hook of the pass") == 2
    assert len(shop.reports("Hooked")) == 2


def test_a_case_that_keeps_its_reports_is_judged_all_the_same(tmp_path: Path) -> None:
    """By what its tests came to."""
    shop = Shop(tmp_path)
    shop.test("""
        class Secret(Says):
            async def post_report(self, report):
                pass
        self.live = self.startLiveCheck(cases=[Secret])
        self.say(self.live, "PASS", "FAIL", case="Secret")
    """)
    said = shop.run()
    assert shop.outcome() == (
        "FAILED",
        "Secret: 1 of 2 tests did not pass (1 FAIL)",
    ), said


ORCHESTRATED = """
self.live = live = self.startLiveCheck(cases=[Says])
self.orchestrate({{"test_name": "shop", "duration": 0.5, "events": [
    {{"name": "ask", "interval_sec": 0.1}}]}})
"""


def test_it_watches_beside_an_orchestration(tmp_path: Path) -> None:
    """Whose events drive the traffic, in one test with all that there is."""
    shop = Shop(tmp_path)
    bases = "DockerTestHelper, LiveCheckTest, OrchestrationTest"
    shop.test(ORCHESTRATED.replace("{{", "{").replace("}}", "}"), bases=bases)
    file = tmp_path / "shop" / "pysystest.py"
    text = file.read_text().replace(
        "from pysys_orch.livecheck import *",
        "from pysys_orch.livecheck import *\n"
        "from pysys_orch.docker import DockerTestHelper\n"
        "from pysys_orch.orchestration import OrchestrationTest",
    )
    file.write_text(
        text + "\n    def ask(self):\n"
        "        post(self.live.url, '/trigger', {'case': 'Says'})\n"
    )
    said = shop.run()
    assert shop.outcome()[0] == "PASSED", said
    assert "Says: 5 of 5 tests passed" in said


def test_a_helper_mixes_in(tmp_path: Path) -> None:
    """For tests that have a base class already."""
    shop = Shop(tmp_path)
    shop.test(
        "self.live = self.livecheck.startLiveCheck([Says])\n"
        "self.say(self.live, 'PASS')",
        "assert self.livecheck.assertLiveCheck(self.live)",
        bases="LiveCheckTestHelper, pysys.basetest.BaseTest",
    )
    said = shop.run()
    assert shop.outcome() == ("PASSED", "Says: 1 of 1 tests passed"), said


def test_what_is_called_there_returns_and_raises_here(tmp_path: Path) -> None:
    """As if it were here; what takes too long is cancelled."""
    shop = Shop(tmp_path)
    shop.test("""
        self.live = live = self.startLiveCheck(cases=[Says])
        async def fails():
            raise TimeoutError("of its own")
        async def waits():
            try:
                await asyncio.sleep(600)
            finally:
                self.log.info("it was cancelled")
        for coroutine, timeout in ((fails(), 5), (waits(), 0.1)):
            try:
                live.call(coroutine, timeout)
            except TimeoutError as failure:
                self.log.info("raised: %s", failure)
        self.say(live, "PASS")
    """)
    said = shop.run()
    assert shop.outcome()[0] == "PASSED", said
    assert "raised: of its own" in said
    assert "raised: a call of the live check took longer than 0.1 s" in said
    assert "it was cancelled" in said


def test_a_token_that_is_given_is_needed_by_everybody(tmp_path: Path) -> None:
    """And is in the URL, which does for requests."""
    shop = Shop(tmp_path)
    shop.test("""
        import requests
        self.live = live = self.startLiveCheck(cases=[Says], token="for-the-two-of-us")
        bare = live.url.replace("livecheck:for-the-two-of-us@", "")
        assert requests.get(bare + "/cases", timeout=10).status_code == 401
        said = requests.post(live.url + "/trigger", json={"case": "Says"}, timeout=10)
        said.raise_for_status()
        live.waitForCount(Says)
    """)
    said = shop.run()
    assert shop.outcome()[0] == "PASSED", said
    assert "for-the-two-of-us" not in said

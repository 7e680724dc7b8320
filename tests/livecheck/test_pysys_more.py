"""What becomes of a PySys test that watches, in cases that are rarer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.livecheck.shop import VALIDATE, Shop

SAYS = "self.live = self.startLiveCheck(cases=[Says])\nself.say(self.live, {})"


def test_what_a_late_case_remembers_is_not_of_this_run(tmp_path: Path) -> None:
    """A case that is added while it runs, and does not run, never ran."""
    shop = Shop(tmp_path)
    shop.test(
        """
        for n in (1, 2):
            self.live = live = self.startLiveCheck(
                cases=[Other], state=os.path.join(self.output, "state.db"), name="x")
            async def add():
                return live.app.add_case(Says)
            case = live.call(add())
            live.call(live.case("Other").trigger())
            if n == 1:
                self.say(live, "PASS", "PASS", "PASS")
                live.stop()
            live.waitUntil(lambda: case.total_by_state[State.PASS] == 3)
            if n == 2:
                live.waitForIdle()
        """,
    )
    said = shop.run()
    assert shop.outcome() == ("FAILED", "Says: never ran: no test was triggered"), said
    assert "Other: 1 of 1 tests passed" in said


def test_no_result_takes_the_place_of_another(tmp_path: Path) -> None:
    """Cases whose names differ in what names of files cannot have, or not at all."""
    shop = Shop(tmp_path)
    shop.test(
        """
        self.lives = []
        for _ in range(2):
            app = LiveCheck()
            app.add_case(Says, name="pay ä")
            app.add_case(Says, name="pay ü")
            live = self.startLiveCheck(app=app)
            self.say(live, "FAIL", case="pay ä")
            self.say(live, "PASS", case="pay ü")
            self.lives.append(live)
        """,
        """
        for live in self.lives:
            self.assertLiveCheck(live, resultsPerCase=True)
        """,
    )
    said = shop.run()
    results = shop.project.results()
    del results["shop"]
    assert {name: each.outcome for name, each in results.items()} == {
        "shop.pay_": "FAILED",
        "shop.pay_.2": "PASSED",
        "shop.pay_.3": "FAILED",
        "shop.pay_.4": "PASSED",
    }, said


def test_a_call_that_blocks_a_thread_is_named_and_left_alone(tmp_path: Path) -> None:
    """The run is over long before the call is."""
    shop = Shop(tmp_path)
    shop.test(
        """
        class Blocks(Case):
            async def run(self):
                await asyncio.to_thread(threading.Event().wait, 600)
        self.live = live = self.startLiveCheck(cases=[Says, Blocks])
        self.say(live, "PASS")
        live.call(live.case("Blocks").trigger())
        live.stop()
        """
    )
    said = shop.run()
    outcome, reason = shop.outcome()
    assert outcome == "TIMED OUT", said
    assert "the live check does not end: a thread of it is in " in reason
    assert " in wait" in reason
    assert "Left alone, since it does not end: a thread in " in said
    assert len(shop.reports("Says")) == 1


def test_the_token_is_known_beside_a_url_without_it(tmp_path: Path) -> None:
    """For who wants it in a header, and no secret in a URL."""
    shop = Shop(tmp_path)
    shop.test(
        SAYS.format('"PASS"')
        + """
live = self.live
url = live.urlAt("127.0.0.2", hasToken=False)
assert live.token not in url
assert url.startswith("http://127.0.0.2:")
assert live.urlAt("127.0.0.2") == url.replace("//", f"//livecheck:{live.token}@")
assert live.urlFor("host", hasToken=False) == live.receiver.url
for token, expected in ((live.token, 200), ("wrong", 401)):
    request = urllib.request.Request(
        url + "/cases", headers={"Authorization": f"Bearer {token}"})
    try:
        status = urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as failure:
        status = failure.code
    assert status == expected
"""
    )
    said = shop.run()
    assert shop.outcome()[0] == "PASSED", said


def test_who_never_ran_is_told_of_requests_that_were_refused(tmp_path: Path) -> None:
    """A misspelt case is found in the log of the test, not in that of the client."""
    shop = Shop(tmp_path)
    shop.test(
        """
        self.live = live = self.startLiveCheck(cases=[Checkout])
        try:
            post(live.url, "/trigger", {"case": "Chekout"})
        except urllib.error.HTTPError as failure:
            assert failure.code == 404
        """
    )
    said = shop.run()
    assert shop.outcome() == (
        "FAILED",
        (
            "Checkout: never ran: no test was triggered, but 1 request was refused: "
            "see the log"
        ),
    ), said
    assert (
        "POST /trigger from 127.0.0.1: 404, there is no case 'Chekout', did you mean "
        "Checkout?"
    ) in said


@pytest.mark.parametrize(
    ("execute", "validate"),
    [
        ("self.live = self.startLiveCheck(cases=[Says])", VALIDATE),
        ("self.startLiveCheck(cases=[])", "pass"),
        ("self.startLiveCheck(cases=[Says]).urlAt('192.0.2.1')", "pass"),
        ("self.startLiveCheck(cases=[Says]).waitForCount(Says, timeout=0.01)", "pass"),
    ],
)
def test_an_outcome_is_located_where_the_test_asked_for_it(
    tmp_path: Path, execute: str, validate: str
) -> None:
    """And not in here."""
    shop = Shop(tmp_path)
    shop.test(execute, validate)
    said = shop.run()
    assert shop.outcome()[0] != "PASSED"
    assert re.search(r" \[\S+/shop/pysystest\.py:\d+\]\n", said), said


def test_what_an_outcome_is_about_comes_before_who_asked_for_it(tmp_path: Path) -> None:
    """The line of the evidence, and then that of the test."""
    shop = Shop(tmp_path)
    shop.test(SAYS.format('"FAIL"'))
    said = shop.run()
    assert re.search(r" failed \[Says\.jsonl:1, pysystest\.py:\d+\]\n", said), said

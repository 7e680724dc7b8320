"""``pysys-orch escalations``, as somebody uses it in the morning."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pysys_orch.cli import main
from pysys_orch.clock import SystemClock
from pysys_orch.escalation import MockSquadCast
from pysys_orch.escalation.incident import Action, Event, address
from pysys_orch.escalation.outbox import TABLES, VERSION, Outbox, Status, Stream
from pysys_orch.escalation.rules import Policy, Run, TestRun
from pysys_orch.state import State

KEY = "0123456789abcdef0123456789abcdef01234567"

#: Whatever is in it, it is taken for the key.
IN_A_FILE = ("--service", "webhook", "--key-file", __file__)

Shell = Callable[..., tuple[int, str]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockSquadCast]:
    monkeypatch.setenv("ESCALATION_KEY", KEY)
    with MockSquadCast.running() as server:
        yield server


@pytest.fixture
def outbox(tmp_path: Path, server: MockSquadCast) -> Outbox:
    state = State(
        str(tmp_path / "state.db"), TABLES, name="escalation", version=VERSION
    )
    services = [address("squadcast", server.url, "ESCALATION_KEY")]
    return Outbox(state, clock=SystemClock(), services=services)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    def run(verb: str, *arguments: str) -> tuple[int, str]:
        state = str(tmp_path / "state.db")
        status = main(["escalations", verb, "--state", state, *arguments])
        said = capsys.readouterr()
        assert KEY not in said.out + said.err
        return status, said.out + said.err

    return run


def trigger(key: str) -> Event:
    return Event(
        key=key, action=Action.TRIGGER, summary=f"{key} is down", details="**down**"
    )


def test_what_waits_is_listed_and_sent(
    shell: Shell, outbox: Outbox, server: MockSquadCast
) -> None:
    """A runner has died before it could."""
    outbox.take_raised(trigger("a"))
    status, said = shell("list")
    assert status == 0
    head, row = said.splitlines()
    assert head.split()[:3] == ["status", "service", "action"]
    assert re.search("waiting  squadcast@.{8}  trigger", row)
    assert row.endswith("a is down")

    assert shell("flush", "--url", server.url) == (0, "")
    assert list(server.incidents) == ["a"]
    assert len(shell("list")[1].splitlines()) == 1
    assert "delivered" in shell("list", "--all")[1]


def test_what_was_refused_is_shown_retried_and_forgotten(
    shell: Shell, outbox: Outbox, server: MockSquadCast
) -> None:
    """The reason is told; what is sent again goes out with the next flush."""
    for key in ("a", "b"):
        outbox.take_raised(trigger(key))
    server.fail_with(404, times=2, text="no such webhook")
    status, said = shell("flush", "--url", server.url)
    assert (status, said.count("dead: ")) == (1, 2)
    first, second = outbox.letters(Status.DEAD)
    status, said = shell("show", str(first.number))
    assert status == 0
    assert "note: HTTP 404: no such webhook" in said
    assert said.endswith("\n**down**\n")

    assert shell("retry", str(first.number))[0] == 0
    assert shell("flush", "--url", server.url)[0] == 1, "b is still refused"
    assert list(server.incidents) == ["a"]
    assert shell("forget", str(second.number)) == (0, "1 forgotten\n")
    assert shell("flush", "--url", server.url) == (0, "")
    assert shell("forget", "4711") == (1, "0 forgotten\n")
    assert shell("show", "4711") == (2, "pysys-orch: there is no event 4711\n")


def test_machines_read_json(shell: Shell, outbox: Outbox) -> None:
    """All that people read, too."""
    outbox.take_raised(trigger("a"))
    (row,) = json.loads(shell("list", "--json")[1])
    assert row["event_id"] == "a"
    assert row["status"] == "waiting"
    assert json.loads(shell("show", "--json", str(row["number"]))[1]) == row


def test_a_suite_that_does_not_report_opens_an_incident(
    shell: Shell, outbox: Outbox, server: MockSquadCast
) -> None:
    """One, which is resolved when it does."""
    expect = ("expect", "--suite", "nightly", "--within", "26h", "--url", server.url)
    stream = Stream(key="s", project="p", name="main", suite="nightly")

    def report(age: timedelta) -> None:
        at = SystemClock().stamp() - age
        run = Run(at=at, tests={"t": TestRun()})
        outbox.take_run(stream, run, Policy(), lambda *_: trigger("never"))

    report(timedelta(hours=25))
    assert shell(*expect)[0] == 0
    assert [each.status for each in server.requests] == [202], "it may have been open"
    report(timedelta(hours=27))
    for _ in range(2):
        status, said = shell(*expect)
        assert status == 1
        assert "nightly last reported 20" in said
    (opened,) = server.open_incidents()
    assert "should within 26h" in opened["message"]
    report(timedelta(hours=1))
    assert shell(*expect)[0] == 0
    assert server.open_incidents() == []
    assert len(server.requests) == 3


def test_a_key_may_be_in_a_file(
    shell: Shell,
    outbox: Outbox,
    server: MockSquadCast,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """What a writer with that file has left is sent, and nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ESCALATION_KEY")
    Path("key.txt").write_text(f"{KEY}\n")
    outbox.take_raised(trigger("a"))
    flush = ("flush", "--url", server.url, "--key-file", "key.txt")
    assert shell(*flush) == (0, "")
    assert server.requests == [], "it is for the account of another key"
    outbox._services = (address("squadcast", server.url, "key.txt"),)
    outbox.take_raised(trigger("b"))
    assert shell(*flush) == (0, "")
    assert list(server.incidents) == ["b"]


def test_a_webhook_is_sent_what_its_template_says(
    shell: Shell, server: MockSquadCast, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As by the writer with that file."""
    monkeypatch.setenv("WEBHOOK_URL", server.endpoint_url)
    template = tmp_path / "template.json"
    template.write_text(
        """{
            "message": "${summary}",
            "description": "from a template",
            "status": "${action}",
            "event_id": "${key}"
        }"""
    )
    expect = ("expect", "--suite", "nightly", "--within", "1d", "--service", "webhook")
    status, said = shell(*expect, "--template", str(template))
    assert (status, server.endpoint_url in said) == (1, False)
    (opened,) = server.open_incidents()
    assert opened["message"] == "nightly has never reported, and should within 1d"
    assert opened["description"] == "from a template"


def test_a_state_that_is_not_there_is_not_made(shell: Shell, tmp_path: Path) -> None:
    """Somebody is in the wrong folder."""
    status, said = shell("list")
    assert (status, list(tmp_path.iterdir())) == (2, [])
    assert "state.db here: --state says where it is" in said


def test_a_suite_that_never_reported_is_late(
    shell: Shell, server: MockSquadCast
) -> None:
    """Its name may be misspelt."""
    status, said = shell(
        "expect", "--suite", "nigtly", "--within", "1d", "--url", server.url
    )
    assert (status, len(server.open_incidents())) == (1, 1)
    assert "nigtly has never reported" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["flush"], "the environment variable ESCALATION_KEY with the key is not set"),
        (["flush", "--service", "alertmanager"], "--url says where"),
        (["expect", "--suite", "a", "--within", "1"], "--within is a number with"),
        (["flush", "--key-file", "none"], "none cannot be read: No such file"),
        (["flush", "--key-file", "/dev/null"], "/dev/null with the key is empty"),
        (
            ["flush", "--key-file", "key.txt", "--key-variable", "KEY"],
            "the key is in --key-file or in --key-variable: name one of them",
        ),
        (
            ["flush", "--template", "template.json"],
            "--template is for --service webhook, got squadcast",
        ),
        (
            ["flush", *IN_A_FILE, "--template", "none"],
            "none cannot be read: No such file",
        ),
        (["flush", *IN_A_FILE, "--template", __file__], "is no JSON"),
    ],
)
def test_what_is_missing_is_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    """And nothing is done."""
    monkeypatch.delenv("ESCALATION_KEY", raising=False)
    status, said = shell(*arguments)
    assert status == 2
    assert words in said

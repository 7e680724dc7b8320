"""What services are told, and what their answers mean."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.errors import ConfigError
from pysys_orch.escalation.alertmanager import Alertmanager
from pysys_orch.escalation.fitting import (
    LEAST_BODY,
    clipped,
    json_length,
    shortened,
    web_link,
)
from pysys_orch.escalation.incident import (
    Action,
    Answer,
    Event,
    Request,
    Service,
    Verdict,
    event_id,
)
from pysys_orch.escalation.mock import MockSquadCast
from pysys_orch.escalation.pagerduty import PagerDuty
from pysys_orch.escalation.squadcast import MAX_BODY, SquadCast
from pysys_orch.escalation.transport import HttpTransport, judge_status
from pysys_orch.escalation.webhook import Webhook
from pysys_orch.testing import ManualClock

KEY = "0123456789abcdef0123456789abcdef01234567"
EVENT = Event(
    key=event_id("shop", "main", "suite", "nightly"),
    action=Action.TRIGGER,
    summary="[main] nightly: 12 of 5,012 tests failed",
    details="| test | outcome |\n|---|---|\n| a_01 | FAILED |",
    tags={"project": "shop", "stream": "main", "severity": "critical"},
    link="https://ci.example/7",
)
RESOLVE = replace(EVENT, action=Action.RESOLVE)
SERVICES: list[Service] = [
    SquadCast(KEY),
    PagerDuty(KEY),
    Alertmanager("https://alerts.example", clock=ManualClock()),
    Webhook(f"https://hook.example/{KEY}"),
]
IDS = [each.name for each in SERVICES]

#: Whatever a test may print: any character there is, halves of characters too.
ANYTHING = st.text(
    st.characters(categories=["L", "M", "N", "P", "S", "Z", "Cc", "Cf", "Cs", "Co"])
)
#: The same, long, in many lines or in one.
LONG = st.builds(
    lambda text, times, end: (text + end) * times,
    ANYTHING,
    st.sampled_from([1, 10, 3_000]),
    st.sampled_from(["", "\n"]),
)


def body(request: Request) -> Any:  # noqa: ANN401 -- JSON
    return json.loads(request.body)


# All of them


@pytest.mark.parametrize("service", SERVICES, ids=IDS)
def test_the_same_event_makes_the_same_request(service: Service) -> None:
    """Whoever receives it twice can see that."""
    for event in (EVENT, RESOLVE):
        assert service.request(event) == service.request(replace(event))
        assert service.request(event).body.isascii()


@pytest.mark.parametrize("service", SERVICES, ids=IDS)
def test_no_key_is_in_what_is_printed(service: Service) -> None:
    """Objects end in logs."""
    for each in (service, service.request(EVENT)):
        assert KEY not in f"{each} {each!r}"


def judged_like(status: int) -> Verdict:
    if status == 413:
        return Verdict.TOO_LARGE
    if status in {0, 103, 408, 425, 429} or status >= 500:
        return Verdict.LATER
    return Verdict.DELIVERED if status < 300 else Verdict.REFUSED


@pytest.mark.parametrize("service", SERVICES, ids=IDS)
@pytest.mark.parametrize("event", [EVENT, RESOLVE], ids=["trigger", "resolve"])
def test_a_status_says_whether_another_try_is_worth_it(
    service: Service, event: Event
) -> None:
    """Outages pass; a request that is wrong stays wrong."""
    for status in (0, 103, *range(200, 600)):
        said = service.judge(event, Answer(status=status, text="no"))
        assert said is judged_like(status), status


def test_a_page_is_no_answer_of_a_service() -> None:
    """A proxy that wants somebody to log in says so with 200, and in HTML."""
    said = {
        status: judge_status(Answer(status=status, content_type="text/html"))
        for status in (200, 201, 202, 204, 404, 503)
    }
    assert said == {
        200: Verdict.LATER,
        201: Verdict.LATER,
        202: Verdict.DELIVERED,
        204: Verdict.LATER,
        404: Verdict.REFUSED,
        503: Verdict.LATER,
    }


@pytest.mark.parametrize("service", SERVICES, ids=IDS)
@given(
    summary=LONG,
    details=LONG,
    link=ANYTHING,
    tags=st.dictionaries(ANYTHING, LONG, max_size=20),
    action=st.sampled_from(Action),
    budget=st.floats(0, 1),
)
def test_whatever_an_event_says_there_is_a_request(
    service: Service,
    summary: str,
    details: str,
    link: str,
    tags: dict[str, str],
    action: Action,
    budget: float,
) -> None:
    """What wakes somebody never fails because of what a test has printed."""
    event = Event(
        key=EVENT.key,
        action=action,
        summary=summary,
        details=details,
        link=link,
        tags=tags,
    )
    request = service.request(event, budget=budget)
    request.body.decode("ascii")
    json.dumps(body(request), ensure_ascii=False).encode()  # no halves of characters
    assert EVENT.key in request.body.decode()


# SquadCast


def test_squadcast_is_told_in_its_own_words() -> None:
    """A promise to the outside: these are the bytes."""
    request = SquadCast("a/b c").request(EVENT)
    assert request.url == "https://api.squadcast.com/v2/incidents/api/a%2Fb%20c"
    assert request.body.decode() == (
        '{"description": "https://ci.example/7\\n\\n'
        '| test | outcome |\\n|---|---|\\n| a_01 | FAILED |", '
        f'"event_id": "{EVENT.key}", '
        '"message": "[main] nightly: 12 of 5,012 tests failed", '
        '"status": "trigger", '
        '"tags": {"project": "shop", "severity": "critical", "stream": "main"}}'
    )


def test_squadcast_is_told_what_is_over() -> None:
    """The id is what counts."""
    said = body(SquadCast(KEY, "https://api.eu.squadcast.com/").request(RESOLVE))
    assert (said["event_id"], said["status"]) == (EVENT.key, "resolve")
    assert "tags" not in said


def test_squadcast_always_gets_a_description() -> None:
    """It is said to need one."""
    for details, summary, expected in (
        ("", "s", "s"),
        ("\0\x1b[31m", "s", "s"),
        ("", "", EVENT.key),
    ):
        event = replace(EVENT, details=details, summary=summary, link="")
        assert body(SquadCast(KEY).request(event))["description"] == expected


def test_a_link_is_there_once() -> None:
    """Details that have it already keep it where it is."""
    event = replace(EVENT, details=f"see {EVENT.link}")
    assert body(SquadCast(KEY).request(event))["description"] == event.details


@given(
    summary=LONG,
    details=LONG,
    tags=st.dictionaries(ANYTHING, LONG, max_size=20),
    action=st.sampled_from(Action),
    budget=st.floats(0, 1),
)
def test_a_body_for_squadcast_always_fits(
    summary: str,
    details: str,
    tags: dict[str, str],
    action: Action,
    budget: float,
) -> None:
    """And says which incident it is about, and what of it."""
    event = Event(
        key=EVENT.key, action=action, summary=summary, details=details, tags=tags
    )
    request = SquadCast(KEY).request(event, budget=budget)
    said = body(request)
    assert len(json.dumps(said)) == len(request.body)
    assert len(request.body) <= max(LEAST_BODY, 28_000 * budget) < MAX_BODY
    assert (said["event_id"], said["status"]) == (EVENT.key, action)
    assert said["message"]
    assert said["description"]


def test_only_the_description_is_shortened_if_that_is_enough() -> None:
    """People route by tags, and read the message on a telephone."""
    lines = [f"| test_{number:05} | FAILED |" for number in range(5_000)]
    event = replace(EVENT, details="\n".join(lines))
    for budget in (1.0, 0.5, 0.1):
        request = SquadCast(KEY).request(event, budget=budget)
        said = body(request)
        assert 28_000 * budget - 100 < len(request.body) <= 28_000 * budget
        assert (said["message"], said["tags"]) == (event.summary, event.tags)
        _link, _blank, *kept, note = said["description"].split("\n")
        assert kept == lines[: len(kept)]
        assert note == f"… shortened: {5_000 - len(kept):,} more lines"


def test_tags_and_message_make_room_if_they_have_to() -> None:
    """The first of the tags stay, by name."""
    tags = {f"{number:04}": "x" * 100 for number in range(1_000)}
    event = replace(EVENT, summary="y" * 50_000, tags=tags)
    request = SquadCast(KEY).request(event)
    said = body(request)
    assert len(request.body) <= 28_000
    assert said["tags"]
    assert said["tags"].items() <= tags.items()
    assert said["message"].startswith("yyyy")
    assert said["message"].endswith("y…")
    assert "| a_01 | FAILED |" in said["description"]


def test_control_characters_and_halves_of_characters_are_left_out() -> None:
    """Go, JavaScript and databases disagree about what they are."""
    event = replace(
        EVENT,
        summary="a\0b\x1b[1;31mc\x07 \ud83d\ude00 \ud800!",
        details="tab\tline\nש",
        tags={"a\0": "\udfff"},
        link="",
    )
    said = body(SquadCast(KEY).request(event))
    assert said["message"] == "abc 😀 \ufffd!"
    assert said["description"] == event.details
    assert said["tags"] == {"a": "\ufffd"}


@pytest.mark.parametrize(
    ("event", "status", "text", "verdict"),
    [
        (EVENT, 400, "event_id='a' already exists", Verdict.DELIVERED),
        (EVENT, 400, "Event Already Existing", Verdict.DELIVERED),
        (EVENT, 400, "message is missing", Verdict.REFUSED),
        (RESOLVE, 400, "event_id='a' already exists", Verdict.REFUSED),
        (EVENT, 404, "already exists", Verdict.REFUSED),
    ],
)
def test_an_incident_that_is_there_already_is_what_a_trigger_wanted(
    event: Event, status: int, text: str, verdict: Verdict
) -> None:
    """It was told before, and the answer got lost."""
    assert SquadCast(KEY).judge(event, Answer(status=status, text=text)) is verdict


def test_the_mock_takes_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mock and the client agree about SquadCast."""
    monkeypatch.setenv("ESCALATION_KEY", KEY)
    huge = replace(EVENT, details="é" * 100_000)
    send = HttpTransport(proxies={})
    with MockSquadCast.running() as server:
        service = SquadCast(KEY, server.url)

        def tell(event: Event) -> tuple[int, Verdict]:
            answer = send(service.request(event), timeout=10)
            return answer.status, service.judge(event, answer)

        assert tell(huge) == (202, Verdict.DELIVERED)
        assert tell(EVENT) == (400, Verdict.DELIVERED)
        assert tell(RESOLVE) == (202, Verdict.DELIVERED)
        assert server.incidents[EVENT.key]["message"] == EVENT.summary
        assert server.open_incidents() == []
        server.fail_with(413)
        assert tell(EVENT) == (413, Verdict.TOO_LARGE)


# Texts that fit


@given(LONG, st.integers(0, 2_000))
def test_a_shortened_text_fits(text: str, room: int) -> None:
    """And one that fits is not touched."""
    for cut in (shortened, clipped):
        assert json_length(cut(text, room)) <= room
        assert cut(text, json_length(text)) == text


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("", 0, ""),
        ("abc", 3, "abc"),
        ("a" * 100, 10, "aaaa…"),
        ("a" * 100, 5, "aaaaa"),
        ("😀" * 100, 30, "😀😀…"),
        ("a" * 50 + "\nb\nc", 45, "aaaaaaa…\n… shortened: 2 more lines"),
        ("a\nb\n" + "c" * 60, 40, "a\nb\n… shortened: 1 more line"),
        ("a\n" * 100, 40, "a\na\na\n… shortened: 97 more lines"),
    ],
)
def test_texts_are_cut_at_the_ends_of_lines(
    text: str, room: int, expected: str
) -> None:
    """Half a row of a table is none."""
    assert shortened(text, room) == expected


# PagerDuty


def test_pagerduty_is_told_in_its_own_words() -> None:
    """The id of the incident is what its alerts are told apart by."""
    request = PagerDuty(KEY).request(EVENT)
    assert request.url == "https://events.pagerduty.com/v2/enqueue"
    assert body(request) == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": EVENT.key,
        "payload": {
            "summary": EVENT.summary,
            "severity": "critical",
            "source": "main",
            "custom_details": {"details": EVENT.details, "tags": EVENT.tags},
        },
        "links": [{"href": EVENT.link, "text": "Where this comes from"}],
    }
    assert body(PagerDuty(KEY).request(RESOLVE)) == {
        "routing_key": KEY,
        "event_action": "resolve",
        "dedup_key": EVENT.key,
    }


def test_pagerduty_gets_no_more_than_it_takes() -> None:
    """A summary has a limit, and a request; other severities than its own are none."""
    event = replace(
        EVENT,
        summary="s" * 2_000,
        details="d\n" * 900_000,
        tags={"severity": "terrible", "host": "h"},
        link="file:///tmp",
    )
    request = PagerDuty(KEY).request(event)
    payload = body(request)["payload"]
    assert 499_900 < len(request.body) <= 500_000
    assert len(payload["summary"]) == 1024
    assert (payload["severity"], payload["source"]) == ("error", "h")
    assert "links" not in body(request)


# Alertmanager; see also test_alertmanager.py


def test_alertmanager_is_told_in_its_own_words() -> None:
    """A tag that is no name of a label becomes one."""
    clock = ManualClock()
    tags = {"team-name": "x", "1st": "y", "__a": "z", "none": ""}
    service = Alertmanager("https://alerts.example/", labels=tags, clock=clock)
    event = replace(EVENT, tags=tags)
    request = service.request(event)
    assert request.url == "https://alerts.example/api/v2/alerts"
    [alert] = body(request)
    assert alert == {
        "labels": {
            "alertname": "pysys",
            "event_id": EVENT.key,
            "team_name": "x",
            "_1st": "y",
            "a": "z",
        },
        "annotations": {"summary": EVENT.summary, "description": EVENT.details},
        "generatorURL": EVENT.link,
        "startsAt": clock.stamp().isoformat(timespec="milliseconds"),
        "endsAt": alert["endsAt"],
    }
    [over] = body(service.request(replace(event, action=Action.RESOLVE)))
    assert over["labels"] == alert["labels"]
    assert "startsAt" not in over
    assert over["endsAt"] == alert["startsAt"]
    clock.advance(36 * 3600)
    [later] = body(service.request(event))
    assert later["startsAt"] == alert["endsAt"]


def test_tags_that_vary_are_annotations() -> None:
    """An alert is another one if a label is, and the resolve would miss it."""
    varying = {"host": "h", "outcome": "FAILED", "reason": "started failing"}
    event = replace(EVENT, tags={"stream": "main", "alertname": "Nightly"} | varying)
    [alert] = body(SERVICES[2].request(event))
    assert alert["labels"] == {
        "alertname": "Nightly",
        "event_id": EVENT.key,
        "stream": "main",
    }
    assert alert["annotations"].items() >= varying.items()


def test_labels_are_the_same_for_any_budget() -> None:
    """Else it would be about another alert."""
    service = Alertmanager("https://a.example", labels={"a"}, clock=ManualClock())
    event = replace(EVENT, tags={"a": "x" * 1_000}, details="d\n" * 90_000)
    [all_of_it], [little] = (
        body(service.request(event, budget=budget)) for budget in (1, 0)
    )
    assert all_of_it["labels"] == little["labels"]
    assert len(json.dumps([little])) <= LEAST_BODY < len(json.dumps([all_of_it]))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://ci.example", "https://ci.example"),
        ("http://[::1]:80/a?b=c#d", "http://[::1]:80/a?b=c#d"),
        ("https://ci/a b%20é%zz\n", "https://ci/a%20b%20%C3%A9%25zz%0A"),
        ("", ""),
        ("file:///tmp", ""),
        ("https://a b/", ""),
        ("https://[odd/", ""),
        ("https://ci/" + "x" * 2_000, ""),
    ],
)
def test_a_link_is_one_that_services_take(link: str, expected: str) -> None:
    """They refuse all of what they are told if it is not."""
    assert web_link(link) == expected
    [alert] = body(SERVICES[2].request(replace(EVENT, link=link)))
    assert alert.get("generatorURL", "") == expected


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf")])
def test_an_alert_ends_at_a_time_that_there_is(hours: float) -> None:
    """A mistake is found before the night."""
    with pytest.raises(ConfigError, match="timeout_hours has to be more than 0"):
        Alertmanager("https://a.example", hours)


# Webhooks


def test_a_webhook_is_told_everything_by_default() -> None:
    """As JSON, that is easy to take apart."""
    request = Webhook(f"https://hook.example/{KEY}").request(EVENT)
    assert request.url == f"https://hook.example/{KEY}"
    assert body(request) == {
        "key": EVENT.key,
        "action": "trigger",
        "summary": EVENT.summary,
        "details": EVENT.details,
        "link": EVENT.link,
        "tags": EVENT.tags,
    }


def test_a_template_says_what_a_webhook_is_told() -> None:
    """Whatever an event says, it stays inside its text."""
    template = (
        '{"text": "*${summary}* ($$5)\\n${details}", "n": 1, "on": true, "no": null,'
        ' "many": ["${action}", ["${tags}"], "${tags} ${unknown}"], "${key}": "${key}"}'
    )
    event = replace(
        EVENT, summary='"},{"${key}\\', details="a\nb", tags={"b": '"', "a": "1"}
    )
    assert body(Webhook("https://h.example", template).request(event)) == {
        "text": '*"},{"${key}\\* ($5)\na\nb',
        "n": 1,
        "on": True,
        "no": None,
        "many": ["trigger", [{"b": '"', "a": "1"}], 'a=1, b=" ${unknown}'],
        "${key}": EVENT.key,
    }


@pytest.mark.parametrize("times", [1, 2, 5])
def test_what_a_webhook_is_told_fits_however_often_it_is_told(times: int) -> None:
    """Details that are there twice take twice the room."""
    template = json.dumps(["${details}"] * times + ["${summary}"])
    event = replace(EVENT, details="line\n" * 90_000)
    service = Webhook("https://h.example", template, max_body=10_000)
    request = service.request(event, budget=0.5)
    assert 4_800 < len(request.body) <= 5_000
    assert body(request)[-1] == EVENT.summary


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("", r"Expecting value \(line 1, column 1\)"),
        ('{\n  "a": ${key}\n}', r"Expecting value \(line 2, column 8\)"),
        ("[NaN]", "that others can read"),
        ("[" * 100_000, "that others can read"),
    ],
)
def test_a_template_that_is_no_json_is_an_error_with_its_place(
    template: str, reason: str
) -> None:
    """It is found before anything fails."""
    with pytest.raises(ConfigError, match=f"^hook.json is not? JSON.*{reason}"):
        Webhook("https://h.example", template, origin="hook.json")

"""What Alertmanager makes of what it is told: the real one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.clock import SystemClock
from pysys_orch.escalation.alertmanager import Alertmanager
from pysys_orch.escalation.incident import Action, Event, Verdict, event_id
from pysys_orch.escalation.transport import HttpTransport
from pysys_orch.testing import ManualClock

PROGRAM = "prometheus-alertmanager"
CONFIG = """
route: {receiver: nobody, group_wait: 1s, group_interval: 1s}
receivers: [{name: nobody}]
"""
EVENT = Event(
    key=event_id("shop", "main"),
    action=Action.TRIGGER,
    summary="12 tests failed",
    details="| test |\n|---|\n| a_01 |",
    tags={"stream": "main", "team-name": "שלום"},
    link="https://ci.example/7?a=b c",
)
RESOLVE = replace(EVENT, action=Action.RESOLVE)
LABELS = {
    "alertname": "pysys",
    "event_id": EVENT.key,
    "stream": "main",
    "team_name": EVENT.tags["team-name"],
}

_SEND = HttpTransport(proxies={})
_READY_WITHIN = 60.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an Alertmanager; without the program it fails in CI and skips by hand."""
    program = shutil.which(PROGRAM)
    if program is None:
        reason = f"{PROGRAM} is not installed: apt-get install {PROGRAM}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("alertmanager")
    config = folder / "config.yml"
    config.write_text(CONFIG)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        found = f"http://127.0.0.1:{port}"
        _wait_until_ready(found, process, log)
        yield found
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    clock, never = SystemClock(), threading.Event()
    deadline = clock.instant() + _READY_WITHIN
    while clock.instant() < deadline and process.poll() is None:
        try:
            _get(f"{url}/-/ready")
        except OSError:
            clock.wait_until(clock.instant() + 0.05, never)
        else:
            return
    pytest.fail(f"{PROGRAM} is not ready: {log.read_text(errors='replace')[-2000:]}")


def _get(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        found: bytes = answer.read()
    return found


def alerts(url: str, key: str) -> list[dict[str, Any]]:
    """Return the alerts that are not over, of one incident."""
    found = json.loads(_get(f"{url}/api/v2/alerts?filter=event_id%3D{key}"))
    return list(found)


def tell(service: Alertmanager, *events: Event) -> list[Verdict]:
    return [
        service.judge(event, _SEND(service.request(event), timeout=10))
        for event in events
    ]


def test_an_alert_is_there_until_it_is_resolved(url: str) -> None:
    """Told again, it is the same one, and began when it began."""
    service = Alertmanager(url, labels=EVENT.tags)
    assert tell(service, EVENT) == [Verdict.DELIVERED]
    [first] = alerts(url, EVENT.key)
    assert first["labels"] == LABELS
    assert first["annotations"] == {
        "summary": EVENT.summary,
        "description": EVENT.details,
    }
    assert first["generatorURL"] == "https://ci.example/7?a=b%20c"
    assert first["status"]["state"] in {"active", "unprocessed"}
    again = replace(EVENT, summary="13 tests failed")
    assert tell(service, again) == [Verdict.DELIVERED]
    [second] = alerts(url, EVENT.key)
    assert second["annotations"]["summary"] == "13 tests failed"
    assert second["startsAt"] == first["startsAt"]
    assert second["fingerprint"] == first["fingerprint"]
    assert tell(service, RESOLVE, RESOLVE) == [Verdict.DELIVERED] * 2
    assert alerts(url, EVENT.key) == []
    assert tell(service, EVENT) == [Verdict.DELIVERED]
    [third] = alerts(url, EVENT.key)
    assert third["startsAt"] > first["startsAt"]


def test_an_alert_ends_by_itself(url: str) -> None:
    """A suite that runs no more wakes nobody for ever."""
    event = replace(EVENT, key=event_id("ends by itself"))
    clock = ManualClock(stamp=SystemClock().stamp())
    tell(Alertmanager(url, clock=clock, timeout_hours=1), event)
    [found] = alerts(url, event.key)
    clock.advance(3600)
    assert found["endsAt"].startswith(clock.stamp().isoformat()[:22])


def test_clocks_may_disagree(url: str) -> None:
    """A host whose clock is slow ends what another one has begun."""
    event = replace(EVENT, key=event_id("slow clock"))
    over = replace(event, action=Action.RESOLVE)
    tell(Alertmanager(url), event)
    slow = ManualClock()
    assert tell(Alertmanager(url, clock=slow), over) == [Verdict.DELIVERED]
    assert alerts(url, event.key) == []


def test_what_was_never_open_can_be_resolved(url: str) -> None:
    """Whoever has lost his memory resolves whatever may be open."""
    over = replace(RESOLVE, key=event_id("never open"))
    assert tell(Alertmanager(url), over) == [Verdict.DELIVERED]
    assert alerts(url, over.key) == []


def test_odd_texts_are_taken(url: str) -> None:
    """None of what a test may print is refused."""
    event = Event(
        key=event_id("odd"),
        action=Action.TRIGGER,
        summary="\0\ud800 \u202e😀",
        details="\x1b[31m\x7f\n" * 100_000,
        tags={"": "a", "é b": "\0x", "9": "😀" * 900, "empty": "", "__x": "y"},
        link="https://[odd\0 link%zz",
    )
    service = Alertmanager(url, labels=event.tags)
    assert tell(service, event) == [Verdict.DELIVERED]
    [found] = alerts(url, event.key)
    assert found["labels"].keys() == {"alertname", "event_id", "_", "b", "_9", "x"}

"""What events report is handled as it comes, and none of it is lost."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.orchestration.fixtures import fixture
from pysys_orch.orchestration.reporter import ResultReporter, SharedQueue
from pysys_orch.orchestration.switch import KillSwitch
from tests.docker.owned import eventually
from tests.orchestration.stage import library, play


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("played", None),
        ({"played": 3}, None),
        ({"error": None}, None),
        ("no error at all", None),
        (5, None),
        (None, None),
        ("error: no picture", "error: no picture"),
        ("ERROR no\npicture", "ERROR no picture"),
        ({"error": "no picture", "at": 3}, "no picture"),
        (ValueError("no picture"), "ValueError: no picture"),
    ],
)
def test_an_error_that_is_reported_fails_the_test(
    result: object, reason: str | None
) -> None:
    """What else is reported does not, of whatever kind it is."""
    reporter = ResultReporter(queue.Queue())
    reporter.add_result(result)
    reporter.on_result()
    assert reporter.failures == ([] if reason is None else [reason])


def test_nothing_that_was_reported_is_lost(tmp_path: Path) -> None:
    """Not what comes from teardown events, nor from the teardown of fixtures."""
    seen = []

    class Mine(ResultReporter):
        def on_result(self) -> None:
            seen.append(self.results.get_nowait())

    @fixture
    def result_reporter(report_queue: Any) -> Mine:  # noqa: ANN401 -- a proxy
        return Mine(report_queue)

    @fixture
    def late(result_reporter: Mine) -> Any:  # noqa: ANN401 -- a generator
        yield
        result_reporter.add_result("from a fixture")

    def end(result_reporter: Mine, late: None, report_queue: Any) -> None:  # noqa: ANN401
        for number in range(100):
            report_queue.put(number)

    event = {"name": "end", "at_startup": False, "at_teardown": True}
    stage = play(tmp_path, library(result_reporter, late, end), event, duration=0.1)
    assert seen == [*range(100), "from a fixture"]
    assert stage.reasons == []


def test_a_handler_that_fails_does_not_end_the_reports(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The test fails, and the others are handled."""
    seen = []

    class Mine(ResultReporter):
        def on_result(self) -> None:
            result = self.results.get_nowait()
            seen.append(result)
            if result == 1:
                message = "not that one"
                raise TypeError(message)

    @fixture
    def result_reporter(report_queue: Any) -> Mine:  # noqa: ANN401 -- a proxy
        return Mine(report_queue)

    def tell(result_reporter: Mine) -> None:
        for number in range(3):
            result_reporter.add_result(number)

    stage = play(tmp_path, library(result_reporter, tell), "tell", duration=0.1)
    assert seen == [0, 1, 2]
    (reason,) = stage.reasons
    assert reason == (
        "FAILED: an error was reported: on_result failed with TypeError: not that one"
    )
    assert any(each.levelno == logging.ERROR for each in caplog.records)


def test_a_queue_alone_is_watched_as_well(tmp_path: Path) -> None:
    """Who puts reports into it has them handled."""

    def tell(report_queue: Any) -> None:  # noqa: ANN401 -- a proxy
        report_queue.put({"error": "no picture"})

    stage = play(tmp_path, library(tell), "tell", duration=0.1)
    assert stage.reasons == ["FAILED: an error was reported: no picture"]


def test_the_process_of_a_queue_does_not_outlive_us() -> None:
    """However this one ends."""
    program = (
        "import os, time\n"
        "from pysys_orch.orchestration.reporter import SharedQueue\n"
        "if __name__ == '__main__':\n"
        "    shared = SharedQueue()\n"
        "    print(shared._manager._process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    def is_gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"

    eventually(is_gone, what="its end")


def test_a_queue_can_be_closed() -> None:
    """Its process ends."""
    shared = SharedQueue()
    shared.queue.put(1)
    assert shared.queue.get() == 1
    shared.close()


@fixture
def helper(report_queue: Any) -> Any:  # noqa: ANN401 -- a proxy
    return report_queue


def test_a_queue_that_only_a_fixture_has_is_watched(tmp_path: Path) -> None:
    """It does not matter who asks for it."""

    def tell(helper: Any) -> None:  # noqa: ANN401 -- a proxy
        helper.put({"error": "disk broken"})

    stage = play(tmp_path, library(helper, tell), "tell", duration=0.1)
    assert stage.reasons == ["FAILED: an error was reported: disk broken"]


class Forgetful(ResultReporter):
    """Does not call the constructor it has inherited, and exits."""

    def __init__(self, results: Any) -> None:  # noqa: ANN401 -- a proxy
        self.results = results

    def on_result(self) -> None:
        self.results.get_nowait()
        sys.exit(0)


class Foreign:
    """Is no ResultReporter, and does not work."""

    def monitor(self, kill_switch: object) -> None:
        message = "no"
        raise OSError(message)


@pytest.mark.parametrize(
    ("reporter", "words"),
    [
        (Forgetful, "on_result failed with SystemExit: 0"),
        (lambda _: Foreign(), "FAILED: the reporter failed: OSError: no"),
    ],
)
def test_a_reporter_that_does_not_work_fails_the_test(
    tmp_path: Path, reporter: Callable[[Any], object], words: str
) -> None:
    """Whatever it is, and however it ends."""

    def tell(report_queue: Any, result_reporter: object) -> None:  # noqa: ANN401
        report_queue.put(1)

    made = fixture(name="result_reporter")(lambda report_queue: reporter(report_queue))
    stage = play(tmp_path, library(tell, made=made), "tell", duration=0.1)
    (reason,) = stage.reasons
    assert words in reason


# Kill switches.


def test_all_who_wait_for_a_switch_wake_up() -> None:
    """In threads, at once."""
    switch = KillSwitch()
    woken = []
    threads = [
        threading.Thread(target=lambda: woken.append(switch.wait(60))) for _ in range(5)
    ]
    for each in threads:
        each.start()
    assert not switch.wait(0)
    switch.set()
    for each in threads:
        each.join(30)
    assert woken == [True] * 5
    assert switch.is_set()
    assert switch.wait()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_switch_is_shared_with_processes(method: str) -> None:
    """However they are started."""
    context: Any = multiprocessing.get_context(method)
    there, here = KillSwitch(), KillSwitch()
    process = context.Process(target=_answer, args=(there, here))
    process.start()
    there.set()
    assert here.wait(60)
    process.join(60)


def _answer(there: KillSwitch, here: KillSwitch) -> None:
    if there.wait(60):
        here.set()


def test_a_process_that_is_killed_while_it_waits_harms_nobody() -> None:
    """The switch can still be set, and seen."""
    switch = KillSwitch()
    process = multiprocessing.get_context("spawn").Process(target=switch.wait)
    process.start()
    process.kill()
    process.join()
    switch.set()
    assert switch.wait(10)


def test_the_switch_of_a_call_is_that_of_the_run() -> None:
    """Who sets it ends the run; who cancels the call does not."""
    whole = KillSwitch()
    call = KillSwitch(whole)
    call.cancel()
    assert call.is_set()
    assert not whole.is_set()
    assert not whole.was_set
    whole.cancel()
    assert not whole.was_set, "its time was over"
    KillSwitch(whole).set()
    assert whole.is_set()
    assert whole.was_set

"""Orchestrations as PySys users have them: files in directories, and test classes."""

from __future__ import annotations

import json
import os
import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.docker.owned import eventually
from tests.nested import NestedProject

LOADER = '<descriptor-loader classname="pysys_orch.orchestration.OrchestrationLoader"/>'
SOURCES = '<property name="orchestrationSources" value="events.py"/>'
PLUGIN = """\
<pysysdirconfig>
    <descriptor-loader-plugin
        classname="pysys_orch.orchestration.OrchestrationLoader"/>
</pysysdirconfig>
"""
EVENTS = """
import logging
import time

from pysys_orch.orchestration import fixture

log = logging.getLogger("events")


class Player:
    def __init__(self):
        self.played = []

    def play(self, path, kill_switch, result_reporter):
        self.played.append(path)
        result_reporter.add_result(f"played {path}")


@fixture
def video_player():
    player = Player()
    yield player
    log.info("torn down after %d", len(player.played))


@fixture
def device_with_collectd():
    log.info("the device is there")


def start_playback(video_player, video_path, kill_switch, result_reporter):
    video_player.play(video_path, kill_switch, result_reporter)


def start_streamer():
    log.info("streaming")


def collect_system_report(test):
    (open(test.output + "/report.txt", "w")).write("all is well")


def breaks():
    raise ValueError("no")


def cut():
    pass


def heal():
    pass


def waits(kill_switch):
    log.info("waiting")
    kill_switch.wait()
"""
SEED = """\
{
  "test_name": "my_orchestration_test",                 // Name of the test
  "total_hours": 3,                                     // Total number of hours
  "unref_setup_fixtures": ["device_with_collectd"],     // Fixtures
  "events": [                                           // A list of all "events"
    {
      "name": "start_playback",                         // Mandatory
      "interval_sec": 300,
      "at_startup": true,
      "at_teardown": false,
      "params":{
        "video_path": "/home/orch-tests/video-files/high_res_clip.mp4"
      }
    },
    {
      "name": "start_streamer",
      "at_startup": true
    },
    {
      "name": "collect_system_report",
      "at_startup": false,
      "at_teardown": true
    }
  ]
}
"""


class Soak:
    """A project with descriptions."""

    def __init__(self, folder: Path, *, properties: str = LOADER + SOURCES) -> None:
        self.folder = folder
        self.project = NestedProject(folder, plugin=False, properties=properties)
        (folder / "events.py").write_text(EVENTS)

    def describe(self, name: str, *events: object, **keys: Any) -> None:
        """Have a description."""
        listed = [{"name": each} if isinstance(each, str) else each for each in events]
        said = {"test_name": name, "duration": 1, "events": listed, **keys}
        (self.folder / f"{name}.orch.json").write_text(json.dumps(said))

    def run(self, *arguments: str) -> str:
        """Run; return what was printed, with all logs."""
        self.project.run("--printLogs", "ALL", *arguments)
        return self.project.said()

    def outcome(self, name: str) -> tuple[str, str]:
        """Return what became of a test, and why."""
        result = self.project.results()[name]
        return result.outcome, result.reason

    def output(self, name: str) -> Path:
        """Return where a described test writes."""
        return next(self.folder.glob(f"Output*/{name}/*"))


@pytest.mark.parametrize("form", ["loader", "plugin"])
def test_the_example_of_the_seed_is_a_test(tmp_path: Path, form: str) -> None:
    """With no other file beside it, its comments included."""
    soak = Soak(tmp_path, properties=SOURCES + (LOADER if form == "loader" else ""))
    folder = tmp_path / "descriptions"
    folder.mkdir()
    if form == "plugin":
        (folder / "pysysdirconfig.xml").write_text(PLUGIN)
    (folder / "my_orchestration_test.orch.json").write_text(SEED)
    said = soak.run("my_orchestration_test", "-XruntimeHours=0.0003")
    assert soak.outcome("my_orchestration_test") == (
        "PASSED",
        "my_orchestration_test: 3 firings of 3 events",
    )
    assert "the device is there" in said
    assert "Reported: played /home/orch-tests/video-files/high_res_clip.mp4" in said
    assert "torn down after 1" in said
    output = next(tmp_path.rglob("report.txt")).parent
    lines = (output / "orchestration.jsonl").read_text().splitlines()
    events = [json.loads(each).get("event") for each in lines]
    assert sorted(events[1:-1]) == [
        "collect_system_report",
        "start_playback",
        "start_streamer",
    ]


def test_one_is_run_by_the_habit_of_the_seed(tmp_path: Path) -> None:
    """The others are skipped."""
    soak = Soak(tmp_path)
    soak.describe("one", "start_streamer")
    soak.describe("two", "start_streamer")
    soak.run("-XrunOrch=two")
    assert soak.outcome("one") == ("SKIPPED", "-XrunOrch=two names another one")
    assert soak.outcome("two")[0] == "PASSED"


def test_all_can_be_loaded_without_being_run(tmp_path: Path) -> None:
    """What is wrong is found, and nothing is fired."""
    soak = Soak(tmp_path)
    soak.describe("good", "start_streamer")
    soak.describe("bad", "start_steamer")
    said = soak.run("-XloadOrch")
    assert "streaming" not in said
    assert soak.outcome("good")[0] == "SKIPPED"
    assert soak.outcome("bad")[0] == "BLOCKED"


def test_a_bad_description_is_a_blocked_test_and_no_broken_run(tmp_path: Path) -> None:
    """All that is wrong with it is in one message, with lines and columns."""
    soak = Soak(tmp_path)
    (tmp_path / "bad.orch.json").write_text(
        '{\n  "test_name": "bad", "total_hours": 1,\n  "events": [\n'
        '    {"name": "start_steamer"},\n'
        '    {"name": "start_streamer", "intervall_sec": 1},\n'
        '    {"name": "start_playback", "params": {"video": 1}}\n  ]\n}\n'
    )
    (tmp_path / "worse.orch.json").write_text('{\n  "test_name": ')
    soak.describe("good", "start_streamer")
    soak.run()
    assert soak.outcome("good")[0] == "PASSED"
    outcome, reason = soak.outcome("bad")
    assert outcome == "BLOCKED"
    for words in (
        "bad.orch.json has 4 problems: ",
        "4:6: event 1 (start_steamer): name 'start_steamer' is not there",
        "did you mean start_streamer?",
        "5:32: event 2 (start_streamer): there is no key 'intervall_sec', did you",
        "did you mean interval_sec?",
        "6:43: event 3 (start_playback): start_playback takes no 'video', did you",
        "did you mean video_path?",
        "event 3 (start_playback): start_playback needs 'video_path'",
    ):
        assert words in reason
    outcome, reason = soak.outcome("worse")
    assert outcome == "BLOCKED"
    assert reason.startswith("worse.orch.json:2:16: ends too early")


def test_what_fails_is_said_once_with_the_line_of_the_file(tmp_path: Path) -> None:
    """However often it failed."""
    soak = Soak(tmp_path)
    soak.describe("soak", "start_streamer", {"name": "breaks", "interval_sec": 0.1})
    said = soak.run()
    assert soak.outcome("soak") == (
        "FAILED",
        "breaks failed 10 of 10 times, first after 0.000 s: ValueError: no",
    )
    assert "soak.orch.json:1" in said
    assert said.count("Traceback") == 1


TEST = """\
__pysys_title__ = " A test of its own "
import pysys.basetest
from pysys.constants import *
from pysys_orch.orchestration import *

class PySysTest({bases}):
    def execute(self):
        self.ticks = []
{body}
        self.assertThat('ticks == [7, 7, 7]', ticks=self.ticks)

    def tick(self, number, thing):
        self.ticks.append(number)

    @fixture
    def thing(self):
        yield 'a thing'
        self.log.info('the thing is over')
"""
IN_PYTHON = """
self.orchestrate(Description(test_name='x', duration=0.25, events=(
    Event(name='tick', interval_sec=0.1, params={'number': 7}),)))
"""
AS_FILE = "self.orchestrate('own.orch.yaml')"
BY_HELPER = "self.orchestration.orchestrate('own.orch.yaml', sources=['events.py'])"
OWN = """\
test_name: own
duration: 250ms
events:
- name: tick
  interval_sec: 0.1
  params: {number: 7}
"""


@pytest.mark.parametrize(
    ("bases", "body"),
    [
        ("OrchestrationTest", AS_FILE),
        ("OrchestrationTest", IN_PYTHON),
        ("OrchestrationTestHelper, pysys.basetest.BaseTest", BY_HELPER),
    ],
)
def test_a_test_class_orchestrates(tmp_path: Path, bases: str, body: str) -> None:
    """Its methods are events and fixtures, and the file beside it is no test itself."""
    soak = Soak(tmp_path)
    (tmp_path / "own").mkdir()
    text = TEST.format(bases=bases, body=textwrap.indent(body, " " * 8))
    (tmp_path / "own" / "pysystest.py").write_text(text)
    (tmp_path / "own" / "own.orch.yaml").write_text(OWN)
    said = soak.run()
    assert list(soak.project.results()) == ["own"]
    assert soak.outcome("own")[0] == "PASSED", said
    assert "the thing is over" in said


@pytest.mark.parametrize("signaled", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_in_good_order(
    tmp_path: Path, signaled: signal.Signals
) -> None:
    """Teardown events fire, fixtures are torn down, and that within seconds."""
    soak = Soak(tmp_path)
    soak.describe(
        "soak",
        {"name": "start_playback", "params": {"video_path": "x"}},
        "waits",
        {"name": "collect_system_report", "at_startup": False, "at_teardown": True},
        duration="1h",
    )
    process = soak.project.start("--printLogs", "ALL")
    eventually(lambda: list(tmp_path.rglob("orchestration.jsonl")), what="it runs")
    eventually(
        lambda: "Reported: played x" in run_log(tmp_path), what="the player is there"
    )
    process.send_signal(signaled)
    process.wait(60)
    assert list(tmp_path.rglob("report.txt"))
    assert "torn down after 1" in run_log(tmp_path)
    assert "it was aborted" in run_log(tmp_path)


def run_log(folder: Path) -> str:
    return "".join(each.read_text() for each in folder.rglob("run.log"))


def journal(folder: Path) -> list[dict[str, Any]]:
    (file,) = folder.rglob("orchestration.jsonl")
    found = []
    for line in file.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


def test_a_killed_run_leaves_what_happened_and_can_be_resumed(tmp_path: Path) -> None:
    """On the same grid, and with what was skipped told."""
    soak = Soak(tmp_path)
    soak.describe(
        "soak",
        {"name": "start_streamer", "interval_sec": 0.05},
        {"name": "start_streamer", "at_startup": False, "at_resume": True},
        duration=6,
    )
    process = soak.project.start("--outdir", "first")
    eventually(
        lambda: (
            list(tmp_path.rglob("orchestration.jsonl")) and len(journal(tmp_path)) > 9
        ),
        what="some firings",
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (file,) = tmp_path.rglob("orchestration.jsonl")
    before = journal(tmp_path)
    assert [each["ordinal"] for each in before[1:]] == list(range(1, len(before)))

    said = soak.run("--outdir", "second", f"-XresumeOrch={file.parent}")
    assert "Going on after " in said
    assert "of start_streamer" in said
    (second,) = [each for each in tmp_path.rglob("orchestration.jsonl") if each != file]
    head, *lines, tail = map(json.loads, second.read_text().splitlines())
    assert head["begin"] == before[0]["begin"]
    assert head["seed"] == before[0]["seed"]
    # What was before is in it, too.
    assert lines[: len(before) - 1] == before[1:]
    del lines[: len(before) - 1]
    assert lines.pop(0)["kind"] == "resume"
    assert lines[0]["ordinal"] > before[-1]["ordinal"] + 1
    for each in lines[:9]:
        assert each["due"] == pytest.approx((each["ordinal"] - 1) * 0.05, abs=1e-5)
    assert lines[-1]["ordinal"] == 120
    assert tail["why"] == "its time was over"


def test_what_was_before_the_kill_counts_after_it(tmp_path: Path) -> None:
    """A failure has failed, and a fault in force is undone."""
    soak = Soak(tmp_path)
    soak.describe(
        "soak",
        "breaks",
        {"name": "cut", "duration_sec": 60, "undo": "heal"},
        duration=6,
    )
    process = soak.project.start("--outdir", "first")
    eventually(
        lambda: (
            list(tmp_path.rglob("orchestration.jsonl")) and len(journal(tmp_path)) > 2
        ),
        what="both",
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (file,) = tmp_path.rglob("orchestration.jsonl")
    soak.run("--outdir", "second", f"-XresumeOrch={file.parent}")
    assert soak.outcome("soak") == (
        "FAILED",
        "breaks failed after 0.000 s: ValueError: no",
    )
    (second,) = [each for each in tmp_path.rglob("orchestration.jsonl") if each != file]
    *_, line, tail = map(json.loads, second.read_text().splitlines())
    assert (line["event"], line["kind"], line["ordinal"]) == ("cut", "undo", 1)
    assert tail["ended"] == pytest.approx(6, abs=1)


def test_a_run_that_is_over_by_now_is_not_resumed(tmp_path: Path) -> None:
    """It would pass without having done anything."""
    soak = Soak(tmp_path)
    soak.describe("soak", "start_streamer", duration=2)
    head = {"orchestration": "soak", "begin": "2024-02-29T12:00:00+00:00"}
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "orchestration.jsonl").write_text(
        json.dumps({**head, "since": 0, "total": 2, "seed": 1}) + "\n"
    )
    soak.run(f"-XresumeOrch={tmp_path / 'old'}")
    outcome, reason = soak.outcome("soak")
    assert outcome == "BLOCKED"
    assert "is of a run that would be over since " in reason


def test_a_run_that_came_to_its_end_is_not_resumed(tmp_path: Path) -> None:
    """Nor one of another orchestration; nor is nothing."""
    soak = Soak(tmp_path)
    soak.describe("soak", "start_streamer", duration=0.1)
    soak.describe("other", "start_streamer", duration=0.1)
    soak.run("soak", "--outdir", "first")
    (file,) = tmp_path.rglob("orchestration.jsonl")
    for name, folder, words in (
        ("soak", file.parent, "has come to its end: its time was over. Run it anew"),
        ("other", file.parent, "is of soak, and this is other"),
        ("soak", tmp_path / "nowhere", "cannot be read: No such file"),
    ):
        soak.run(name, "--outdir", "second", f"-XresumeOrch={folder}")
        outcome, reason = soak.outcome(name)
        assert (outcome, words in reason) == ("BLOCKED", True), reason


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-XruntimeHours=soon"], "-XruntimeHours is a number of hours, got 'soon'"),
        (["-XruntimeHours"], "-XruntimeHours is a number of hours, got True"),
        (["-XruntimeHours=-1"], "it runs for 0 hours at least"),
        (["-XruntimeHours=nan"], "it runs for 0 hours at least"),
    ],
)
def test_an_argument_that_makes_no_sense_is_told(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    """As the reason of a test that is BLOCKED."""
    soak = Soak(tmp_path)
    soak.describe("soak", "start_streamer")
    soak.run(*arguments)
    outcome, reason = soak.outcome("soak")
    assert (outcome, words in reason) == ("BLOCKED", True), reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_there", "cannot be imported in line 1: ModuleNotFoundError"),
        ("x = 1\ndef f(:\n", "cannot be imported in line 2: SyntaxError"),
        ("def f():\n  pass\nf(1)\n", "cannot be imported in line 3: TypeError"),
        ("import sys\nsys.exit(0)\n", "cannot be imported in line 2: SystemExit: 0"),
        (None, "there is no events.py in "),
    ],
)
def test_sources_that_cannot_be_loaded_are_told(
    tmp_path: Path, text: str | None, words: str
) -> None:
    """With the file and the line."""
    soak = Soak(tmp_path)
    soak.describe("soak", "start_streamer")
    if text is None:
        (tmp_path / "events.py").unlink()
    else:
        (tmp_path / "events.py").write_text(text)
    soak.run()
    outcome, reason = soak.outcome("soak")
    assert (outcome, words in reason) == ("BLOCKED", True), reason


def test_sources_hide_nothing_that_is_wrong_with_a_description(tmp_path: Path) -> None:
    """Who mends the one knows of the other."""
    soak = Soak(tmp_path)
    soak.describe("soak", {"name": "start_streamer", "intervall_sec": 5}, seed="x")
    (tmp_path / "events.py").write_text("import nothing_there")
    soak.run()
    outcome, reason = soak.outcome("soak")
    assert outcome == "BLOCKED"
    for words in (
        "soak.orch.json has 3 problems: ",
        "there is no key 'intervall_sec', did you mean interval_sec?",
        "seed has to be a whole number, got 'x'",
        "events.py cannot be imported in line 1: ModuleNotFoundError",
    ):
        assert words in reason


def test_a_name_that_no_description_has_is_told(tmp_path: Path) -> None:
    """And does not pass for a run in which nothing was wrong."""
    soak = Soak(tmp_path)
    soak.describe("one", "start_streamer")
    soak.run("-XrunOrch=on")
    assert soak.outcome("one") == (
        "BLOCKED",
        "-XrunOrch=on: there is no such test, did you mean one?",
    )


def test_a_fixture_may_skip_the_test(tmp_path: Path) -> None:
    """As PySys tests do."""
    soak = Soak(tmp_path)
    with (tmp_path / "events.py").open("a") as file:
        file.write("\n@fixture\ndef engine(test):\n    test.skipTest('no engine')\n")
        file.write("\ndef needs(engine): pass\n")
    soak.describe("soak", "needs")
    soak.run()
    assert soak.outcome("soak") == ("SKIPPED", "no engine")


def test_a_test_may_orchestrate_again(tmp_path: Path) -> None:
    """Each time with a journal and figures of its own, in cycles, too."""
    soak = Soak(tmp_path)
    (tmp_path / "own").mkdir()
    twice = textwrap.indent(f"{AS_FILE}\nself.ticks.clear()\n{AS_FILE}", " " * 8)
    text = TEST.format(bases="OrchestrationTest", body=twice)
    (tmp_path / "own" / "pysystest.py").write_text(text)
    (tmp_path / "own" / "own.orch.yaml").write_text(OWN)
    soak.run("--cycle", "2")
    outcomes = {each.outcome for each in soak.project.results().values()}
    assert outcomes == {"PASSED"}, soak.project.said()
    assert len(list(tmp_path.rglob("orchestration.2.jsonl"))) == 2
    assert len(list(tmp_path.rglob("orchestration.2.status.json"))) == 2


def test_figures_are_reported_as_performance_results(tmp_path: Path) -> None:
    """Of what fires again and again."""
    soak = Soak(tmp_path)
    soak.describe("soak", {"name": "start_streamer", "interval_sec": 0.1})
    said = soak.run()
    assert "Orchestration soak start_streamer: lateness p99 = " in said
    assert "Orchestration soak start_streamer: duration max = " in said


def test_orchestrations_run_side_by_side(tmp_path: Path) -> None:
    """Each with modules of its own."""
    soak = Soak(tmp_path)
    for number in range(4):
        soak.describe(
            f"soak{number}",
            {
                "name": "start_playback",
                "interval_sec": 0.1,
                "params": {"video_path": str(number)},
            },
        )
    soak.run("--threads", "4")
    assert {each.outcome for each in soak.project.results().values()} == {"PASSED"}
    assert soak.project.said().count("torn down after 10") == 4

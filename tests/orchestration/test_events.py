"""Functions are found by name, and get what they ask for by name."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pysys_orch.clock import Clock
from pysys_orch.errors import ConfigError
from pysys_orch.orchestration.events import Library, Source, bind, load, unload
from pysys_orch.orchestration.fixtures import FixtureError, fixture
from pysys_orch.orchestration.reading import DescriptionError
from pysys_orch.orchestration.session import Session
from pysys_orch.orchestration.switch import KillSwitch
from tests.orchestration.stage import Stage, draft, library, play, simulate


def problems(functions: Library, *events: Any, **keys: Any) -> list[str]:
    _, found = bind(draft(*events, **keys), functions)
    return [each.words for each in found]


# What functions are called with.


class Seen(dict[str, Any]):
    """What an event was called with."""


def test_params_come_by_name(tmp_path: Path) -> None:
    """Whatever kind of parameters the function has, and whatever defaults."""
    seen = []

    def takes(a: int, b: str = "x", *, c: bool = False, **more: object) -> None:
        seen.append((a, b, c, more))

    simulate(
        tmp_path,
        library(takes),
        {"name": "takes", "params": {"a": 1, "c": True, "d": {"e": [2]}}},
        {"name": "takes", "params": {"a": 1, "b": "y"}},
    )
    assert seen == [(1, "x", True, {"d": {"e": [2]}}), (1, "y", False, {})]


def test_a_param_is_a_value_and_never_code(tmp_path: Path) -> None:
    """Names and texts that look like code are names and texts."""
    seen = []

    def takes(x: str, xy: str) -> None:
        seen.append((x, xy))

    simulate(
        tmp_path,
        library(takes),
        {"name": "takes", "params": {"x": "__import__('os')", "xy": "x"}},
    )
    assert seen == [("__import__('os')", "x")]
    words = "unref_setup_fixtures: there is no fixture \"a=__import__('os')\""
    (found,) = problems(
        library(takes=lambda: None),
        "takes",
        unref_setup_fixtures=["a=__import__('os')"],
    )
    assert found.startswith(words)


def test_built_in_fixtures_are_there(tmp_path: Path) -> None:
    """A kill switch, the clock, the test."""
    seen = Seen()

    def takes(kill_switch: KillSwitch, clock: Clock, test: object) -> None:
        seen.update(kill_switch=kill_switch, clock=clock, test=test)

    simulate(tmp_path, library(takes), "takes")
    assert isinstance(seen["kill_switch"], KillSwitch)
    assert seen["clock"].instant() == 10.0
    assert seen["test"] is None


def test_fixtures_are_set_up_once_and_torn_down_in_reverse(tmp_path: Path) -> None:
    """Before the first event and after the last one, teardown events included."""
    said = []

    @fixture
    def network() -> Iterator[str]:
        said.append("network up")
        yield "net"
        said.append("network down")

    @fixture(name="server")
    def make_server(network: str) -> Iterator[str]:
        said.append(f"server up in {network}")
        yield "a server"
        said.append("server down")

    @fixture
    def unused() -> None:
        said.append("never")

    @fixture
    def license_server() -> None:
        said.append("license up")

    def ask(server: str, network: str) -> None:
        said.append(f"ask {server}")

    simulate(
        tmp_path,
        library(network, make_server, unused, license_server, ask),
        {"name": "ask", "interval_sec": 6, "at_teardown": True},
        unref_setup_fixtures=["license_server"],
    )
    assert said == [
        "license up",
        "network up",
        "server up in net",
        *["ask a server"] * 3,
        "server down",
        "network down",
    ]


def test_a_fixture_that_fails_blocks_the_run_and_the_others_are_torn_down(
    tmp_path: Path,
) -> None:
    """Nothing is fired."""
    said = []

    @fixture
    def network() -> Iterator[None]:
        yield
        said.append("network down")

    @fixture
    def server(network: object) -> None:
        message = "no port"
        raise OSError(message)

    def ask(server: object) -> None:
        said.append("never")

    with pytest.raises(FixtureError, match="fixture 'server' failed: OSError: no port"):
        simulate(tmp_path, library(network, server, ask), "ask")
    assert said == ["network down"]


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("raise ValueError('no')", "could not be torn down: ValueError: no"),
        (
            "yield 2",
            "could not be torn down: FixtureError: fixture 'thing' yielded twice",
        ),
    ],
)
def test_a_fixture_that_cannot_be_torn_down_fails_the_test(
    tmp_path: Path, rest: str, words: str
) -> None:
    """And the others are torn down nonetheless."""
    said = []

    @fixture
    def network() -> Iterator[None]:
        yield
        said.append("network down")

    made: dict[str, Any] = {}
    exec(f"def thing(network):\n    yield 1\n    {rest}\n", made)
    event = {"name": "ask"}
    stage = simulate(
        tmp_path,
        library(network, fixture(made["thing"]), ask=lambda thing: None),
        event,
    )
    assert stage.reasons == [f"FAILED: fixture 'thing' {words}"]
    assert said == ["network down"]


def test_an_event_may_be_a_coroutine(tmp_path: Path) -> None:
    """It runs to its end, in a loop of its own."""
    said = []

    async def ask() -> None:
        said.append("asked")

    assert simulate(tmp_path, library(ask), "ask").reasons == []
    assert said == ["asked"]


def test_a_user_may_override_what_is_built_in(tmp_path: Path) -> None:
    """As the seed's ``result_reporter`` is."""
    said = []

    class Reporter:
        def add_result(self, result: object) -> None:
            said.append(result)

        def monitor(self, kill_switch: object) -> None:
            said.append("monitor")

    @fixture
    def result_reporter() -> Reporter:
        return Reporter()

    def ask(result_reporter: Reporter) -> None:
        result_reporter.add_result(1)

    stage = simulate(tmp_path, library(result_reporter, ask), "ask")
    assert stage.reasons == []
    assert sorted(said, key=str) == [1, "monitor"]


def test_what_has_only_been_begun_is_a_failure(tmp_path: Path) -> None:
    """A coroutine is seen through, however it was made; nothing else is lost."""
    said = []

    async def asks() -> None:
        said.append("asked")

    stage = simulate(
        tmp_path,
        library(wraps=lambda: asks(), makes=lambda: iter_of()),
        "wraps",
        "makes",
    )
    assert said == ["asked"]
    (reason,) = stage.reasons
    assert reason.endswith(
        "TypeError: it returned a generator, of which nothing was done"
    )


def iter_of() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("failure", [SystemExit(0), KeyError("x")])
def test_a_fixture_that_exits_has_failed(
    tmp_path: Path, failure: BaseException
) -> None:
    """It does not end the whole run."""

    @fixture
    def server() -> None:
        raise failure

    with pytest.raises(FixtureError, match="fixture 'server' failed: "):
        simulate(tmp_path, library(server, ask=lambda server: None), "ask")


def test_a_fixture_that_hangs_is_left_when_all_is_to_end(tmp_path: Path) -> None:
    """After ten seconds; fixtures before it are torn down."""
    said = []
    go = threading.Event()

    @fixture
    def network() -> Iterator[None]:
        yield
        said.append("network down")

    @fixture
    def server(network: None) -> None:
        go.wait(120)

    with pytest.raises(FixtureError, match="fixtures were not set up"):
        play(
            tmp_path,
            library(network, server, ask=lambda server: None),
            "ask",
            is_aborting=lambda: True,
        )
    go.set()
    assert said == ["network down"]


# What is wrong.


def plays(video_path: str, kill_switch: object) -> None:
    """Play."""


def makes() -> Iterator[int]:
    """Do nothing, as it is called and not iterated over."""
    yield 1


@fixture
def one(two: object) -> None:
    """Need another one."""


@fixture
def two(one: object) -> None:
    """Need the first one."""


@fixture
async def later() -> None:
    """Be async."""


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            {"name": "play"},
            "event 1 (play): name 'play' is not there, looked in events.py, did you",
        ),
        (
            {"name": "plays", "params": {"vidoe_path": "x"}},
            "event 1 (plays): plays takes no 'vidoe_path', did you mean video_path?",
        ),
        (
            {"name": "plays"},
            "event 1 (plays): plays needs 'video_path', which nobody gives it",
        ),
        (
            {"name": "makes"},
            "event 1 (makes): makes is a generator: calling it would do nothing",
        ),
        (
            {"name": "largest"},
            "event 1 (largest): largest does not say what it takes: have a function of",
        ),
        (
            {"name": "circle"},
            "event 1 (circle): fixtures need each other: one needs two needs one",
        ),
        (
            {"name": "waits"},
            "event 1 (waits): fixture 'later' is async, which fixtures cannot be",
        ),
        (
            {"name": "one"},
            "event 1 (one): name 'one' is not there, looked in events.py",
        ),
        (
            {"name": "given", "duration_sec": 1, "undo": "nothing"},
            "event 1 (given): undo 'nothing' is not there, looked in events.py",
        ),
        (
            {"name": "positional", "params": {}},
            "event 1 (positional): positional takes 'x' by position only: name it",
        ),
    ],
)
def test_what_cannot_be_called_is_told_before_anything_runs(
    event: dict[str, Any], words: str
) -> None:
    """With the nearest name that there is."""

    def positional(x: int = 1, /) -> None: ...

    functions = library(
        plays,
        makes,
        one,
        two,
        later,
        positional,
        circle=lambda one: None,
        waits=lambda later: None,
        given=lambda: None,
        largest=max,
    )
    found = problems(functions, event)
    assert any(each.startswith(words) for each in found), found


def test_all_that_is_wrong_is_told_together() -> None:
    """In one error."""
    events = ("play", {"name": "plays", "params": {"video_path": 1, "x": 2}})
    whole = draft(*events, unref_setup_fixtures=["y"], time_zone="Nowhere")
    with pytest.raises(DescriptionError) as caught:
        Session(whole, library(plays))
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            {"name": "plays", "intervall_sec": 5, "params": {"vidoe_path": "x"}},
            [
                "there is no key 'intervall_sec', did you mean interval_sec?",
                "plays takes no 'vidoe_path', did you mean video_path?",
                "plays needs 'video_path', which nobody gives it, did you mean vid",
            ],
        ),
        (
            {"name": "play", "count": 0},
            [
                "count has to be at least 1, got 0",
                "name 'play' is not there, looked in events.py, did you mean plays?",
            ],
        ),
        (
            {"name": "plays", "count": 0, "video_path": "x"},
            [
                "count has to be at least 1, got 0",
                "plays needs 'video_path', which nobody gives it",
                "there is no key 'video_path'",
            ],
        ),
        (
            {"name": "other", "undo": "mends", "duration_sec": "1"},
            [
                "duration_sec has to be a number, got '1'",
                "undo 'mends' is not there, looked in events.py",
            ],
        ),
        # What follows from a mistake is not told.
        ({"name": "plays", "params": ["x"]}, ["params has to be an object, got ['x']"]),
        ({"name": "plays", "parms": 5}, ["there is no key 'parms', did you mean para"]),
        ({"name": "plays", "with": {"x": 1}}, ["there is no key 'with'"]),
        (
            {"name": "plays", "params": {5: 5}},
            ["a key of params has to be a text, got 5"],
        ),
        ({"name": 5, "params": {"x": 1}}, ["name has to be a text, got 5"]),
        ({"nam": "play", "params": {"x": 1}}, ["there is no key 'nam', did you mean"]),
        (
            {"name": "other", "undo": 5, "duration_sec": 1},
            ["undo has to be a text, got 5"],
        ),
        ({"name": "other", 5: {}}, ["there is no key 5"]),
    ],
    ids=repr,
)
def test_all_that_is_wrong_with_one_event_is_told_together(
    event: dict[Any, Any], expected: list[str]
) -> None:
    """What it is called with is looked at whatever else is wrong."""
    whole = draft("other", event)
    with pytest.raises(DescriptionError) as caught:
        Session(whole, library(plays, other=lambda: None))
    found = sorted(each.words for each in caught.value.problems)
    said = [each.partition(": ")[2] for each in found]
    assert all(each.startswith("event 2") for each in found)
    assert len(said) == len(expected), said
    for words, start in zip(said, sorted(expected), strict=True):
        assert words.startswith(start)


def test_sources_are_told_of_together_and_forgotten(tmp_path: Path) -> None:
    """All that cannot be loaded; what could be does not stay."""
    (tmp_path / "good.py").write_text("")
    (tmp_path / "bad.py").write_text("1 / 0")
    before = set(sys.modules)
    with pytest.raises(ConfigError) as caught:
        load(["good.py", "bad.py", "none.py", "good.py"], [tmp_path])
    assert "bad.py cannot be imported in line 1: ZeroDivisionError" in str(caught.value)
    assert "; orchestrationSources: there is no none.py in " in str(caught.value)
    assert {each for each in sys.modules if "__orch" in each} <= before


def test_what_is_in_two_sources_is_ambiguous() -> None:
    """A test's own method comes first."""
    first, second = ModuleType("a"), ModuleType("b")
    for module in (first, second):
        module.tick = lambda: None  # type: ignore[attr-defined]
    sources = [Source("a.py", first), Source("b.py", second)]
    (found,) = problems(Library(sources=sources), "tick")
    assert found == "event 1 (tick): name 'tick' is in a.py and in b.py: leave one out"
    own: dict[str, Callable[[], None]] = {"tick": lambda: None}
    assert problems(Library(sources=sources, methods=own), "tick") == []


def test_sources_are_files_or_modules(tmp_path: Path) -> None:
    """Each orchestration has modules of its own."""
    (tmp_path / "mine.py").write_text("made = []\ndef tick(): made.append(1)\n")
    first, module = load(["mine.py", "json.tool"], [tmp_path / "x", tmp_path])
    (second,) = load(["mine.py"], [tmp_path])
    assert first.module is not second.module
    assert module.module.__name__ == "json.tool"
    unload([first, second, module])


def figures(stage: Stage) -> list[int]:
    return [each.fired for each in stage.report.tallies]


def test_the_same_name_twice_is_two_events(tmp_path: Path) -> None:
    """Each with its own params and its own firings."""
    seen = []
    stage = play(
        tmp_path,
        library(tick=lambda x: seen.append(x)),
        {"name": "tick", "params": {"x": 1}},
        {"name": "tick", "params": {"x": 2}, "interval_sec": 0.2},
        duration=0.5,
    )
    assert sorted(seen) == [1, 2, 2, 2]
    assert figures(stage) == [1, 3]

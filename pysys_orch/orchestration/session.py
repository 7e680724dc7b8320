"""An orchestration from its description to its verdict, without PySys."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pysys_orch.clock import Clock
from pysys_orch.errors import ConfigError
from pysys_orch.orchestration import isolation
from pysys_orch.orchestration.calls import Threads
from pysys_orch.orchestration.closing import TEARDOWN_LIMIT
from pysys_orch.orchestration.description import Description, Event, Isolation, Overlap
from pysys_orch.orchestration.documents import Steps
from pysys_orch.orchestration.events import (
    KILL_SWITCH,
    Bound,
    BoundEvent,
    Library,
    bind,
)
from pysys_orch.orchestration.failures import trace_of, words_of
from pysys_orch.orchestration.fixtures import FixtureError, Scope
from pysys_orch.orchestration.isolation import InExecutor, InProcess, Target
from pysys_orch.orchestration.journal import Recorder
from pysys_orch.orchestration.orchestrator import Ending, Orchestrator, Progress
from pysys_orch.orchestration.parts import Part
from pysys_orch.orchestration.reading import Draft, Problem
from pysys_orch.orchestration.reporter import ResultReporter, SharedQueue
from pysys_orch.orchestration.resuming import Resumed, located
from pysys_orch.orchestration.retrying import Retried
from pysys_orch.orchestration.review import call_of
from pysys_orch.orchestration.status import Status, StatusFile
from pysys_orch.orchestration.switch import KillSwitch
from pysys_orch.orchestration.tally import Tally
from pysys_orch.orchestration.timeline import Firing, Timeline
from pysys_orch.orchestration.underway import Workers
from pysys_orch.orchestration.verdict import Judgement, judge

log = logging.getLogger("pysys.orch.orchestration")

_REPORTER = "result_reporter"
# Seconds that are the beginning of a run, and no progress.
_BEGINNING = 0.5
_QUEUE = "report_queue"
_ABORTED_LIMIT = 10.0
_LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run takes place in.

    Attributes:
        clock: What tells the time, and waits.
        seed: What decides on all that is random, if the description does not.
        journal: Where a line is written for each firing, beside a file that says how
            far the run is; None is nowhere.
        workers: Who makes the calls; threads by default.
        initialize: Called in each thread first.
        is_aborting: Tells whether all is to end; None if nobody would.
        progress: Called at sensible moments, with the seconds since the beginning, the
            next firing, and what became of each event so far.
        resumed: Where it goes on; None if it begins.
        head: What else the first line of the journal says.
        through: What a fixture may raise without having failed: to skip a test.
    """

    clock: Clock
    seed: int
    journal: Path | None = None
    workers: Workers | None = None
    initialize: Callable[[], object] = lambda: None
    is_aborting: Callable[[], bool] | None = None
    progress: Callable[[float, Firing | None, Sequence[Tally]], None] | None = None
    resumed: Resumed | None = None
    head: Mapping[str, Any] = field(default_factory=dict)
    through: tuple[type[BaseException], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of an orchestration.

    Attributes:
        description: What was to happen.
        ending: How it ended.
        tallies: What became of each event.
        judgements: Why its test does not pass; empty if it does.
        draft: What it was read from.
    """

    description: Description
    ending: Ending
    tallies: Sequence[Tally]
    judgements: Sequence[Judgement]
    draft: Draft

    def record(self, judgement: Judgement) -> list[str] | None:
        """Return the file and line that a judgement is about, as PySys says it."""
        file = self.draft.document.file
        if file is None:
            return None
        path: Steps = ()
        if judgement.event is not None:
            path = ("events", judgement.event)
        place = self.draft.document.place(path)
        return [f"{file}:{place.line if place is not None else 1}"]


class Session:
    """An orchestration whose parts are found, and which can run once.

    Args:
        draft: The description.
        library: Where events and fixtures are; built-in ones are added.

    Raises:
        DescriptionError: With all that is wrong.
    """

    def __init__(self, draft: Draft, library: Library) -> None:
        self.switch = KillSwitch()
        self._draft = draft
        self._clock: Clock | None = None
        given: dict[str, Callable[..., Any]] = {
            **library.given,
            KILL_SWITCH: lambda: self.switch,
            "clock": lambda: self._clock,
            "test": lambda: library.owner,
            _QUEUE: _report_queue,
            _REPORTER: _result_reporter,
        }
        self._library = replace(library, given=given)
        self._bound, problems = bind(draft, self._library)
        problems += _unportable(draft, self._bound)
        self.description = draft.checked(problems)

    def run(self, around: Surroundings) -> Report:
        """Set up the fixtures, fire the events, tear down the fixtures, and judge.

        Args:
            around: What it takes place in.

        Raises:
            FixtureError: A fixture could not be set up; the others are torn down.
        """
        self._clock = around.clock
        scope = Scope(self._library.fixtures(), around.through)
        monitor = _Monitor(around)
        teardowns: list[str] = []
        executor = None
        try:
            self._set_up(scope, around)
            if scope.has(_REPORTER):
                monitor.start(scope.get(_REPORTER))
            executor = isolation.executor_of(
                self.description.executor, self.description.max_workers
            )
            place = _Place(scope, executor, around.clock)
            parts = [_part(each, place) for each in self._bound]
            recorder, ending = self._orchestrate(parts, around)
        finally:
            self.switch.cancel()
            if executor is not None:
                isolation.close(executor)
            for name, rest in scope.rests():
                if name == _QUEUE:
                    monitor.stop()
                teardowns += _torn_down(name, rest, around)
            monitor.stop()
        reported, count = monitor.reported()
        judgements = judge(
            self.description,
            recorder.tallies,
            ending,
            reported=reported,
            reported_count=count,
            others=[*teardowns, *monitor.failures],
        )
        return Report(
            description=self.description,
            ending=ending,
            tallies=recorder.tallies,
            judgements=judgements,
            draft=self._draft,
        )

    # Inside ---------------------------------------------------------------------------

    def _set_up(self, scope: Scope, around: Surroundings) -> None:
        """Set up the fixtures, in the order in which they are needed.

        Raises:
            FixtureError: One failed, or has not ended when all was to end.
        """
        names = list(self.description.unref_setup_fixtures)
        for each in self._bound:
            for bound in (each.action, each.undo):
                names += () if bound is None else bound.fixtures

        def set_up() -> None:
            for name in names:
                scope.get(name)
            if scope.has(_QUEUE):
                scope.get(_REPORTER)

        failure = aside(set_up, "set-up", around, limit=float("inf"))
        if isinstance(failure, TimeoutError):
            message = f"fixtures were not set up: {failure}"
            raise FixtureError(message)
        if failure is not None:
            raise failure

    def _orchestrate(
        self, parts: Sequence[Part], around: Surroundings
    ) -> tuple[Recorder, Ending]:
        description = self.description
        seed = around.seed if description.seed is None else description.seed
        begin, since = around.clock.stamp(), 0.0
        resumed = around.resumed
        if resumed is not None:
            begin, since = resumed.begin, resumed.since
            seed = resumed.seed
        recorder = Recorder(
            [each.name for each in description.events],
            around.journal,
            {
                "orchestration": description.test_name,
                "begin": begin.isoformat(),
                "since": since,
                "total": description.total,
                "seed": seed,
                **around.head,
            },
            around.initialize,
            before=resumed.lines if resumed is not None else (),
        )
        if resumed is not None:
            # What has failed before has failed.
            for index, line in located(resumed.lines, description):
                if "outcome" in line:
                    recorder.tallies[index].add(call_of(line), 0.0)
        timeline = Timeline(description, seed=seed, begin=begin, since=since)
        workers = around.workers or Threads(
            around.clock, limit=description.max_workers, initialize=around.initialize
        )

        file = None
        if around.journal is not None:
            file = StatusFile(around.journal, around.initialize)

        def renew(at: Progress, why: str = "") -> None:
            if file is not None:
                found = Status(
                    begin=begin,
                    stamp=around.clock.stamp(),
                    progress=at,
                    phase=timeline.phase(at.elapsed),
                    tallies=recorder.tallies,
                    why=why,
                )
                file.renew(partial(found.as_json, description))

        def progress(at: Progress) -> None:
            # That it has begun, the log says already.
            if around.progress is not None and at.elapsed > since + _BEGINNING:
                around.progress(at.elapsed, at.upcoming, recorder.tallies)
            renew(at)

        orchestrator = Orchestrator(
            description,
            parts,
            timeline=timeline,
            clock=around.clock,
            workers=workers,
            recorder=recorder,
            switch=self.switch,
            is_aborting=around.is_aborting,
            progress=progress,
            since=since,
            in_force=resumed.in_force if resumed is not None else {},
            numbers=resumed.numbers if resumed is not None else {},
        )
        tail: dict[str, Any] = {"why": "it was interrupted"}
        try:
            ending = orchestrator.run()
            tail = {"ended": round(ending.at, 6), "why": ending.why}
        finally:
            recorder.close(tail)
            lasted = (around.clock.stamp() - begin).total_seconds()
            renew(orchestrator.progress(tail.get("ended", lasted)), tail["why"])
            if file is not None:
                file.close()
        return recorder, ending


def _part(bound: BoundEvent, place: _Place) -> Part:
    event = bound.event
    wants_switch = KILL_SWITCH in bound.action.fixtures
    can_end = event.timeout_sec is not None or event.overlap is Overlap.CANCEL
    return Part(
        event=event,
        work=_Maker(bound.action, event, place),
        undo=None if bound.undo is None else _Maker(bound.undo, event, place),
        is_made_for_each=event.isolation is Isolation.PROCESS
        or event.retries > 0
        or (wants_switch and can_end),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where events of a run are called."""

    scope: Scope
    executor: Executor | None
    clock: Clock


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes what calls of an event do."""

    bound: Bound
    event: Event
    place: _Place

    def __call__(self, switch: KillSwitch) -> Callable[[], object]:
        """Return what a call does that has this kill switch."""
        event, place = self.event, self.place
        work: Callable[[], object]
        if event.isolation is Isolation.PROCESS or place.executor is not None:
            work = self._elsewhere(switch)
        else:
            work = self.bound.call(place.scope.get, kill_switch=switch)
        if not event.retries:
            return work
        return Retried(
            work,
            retries=event.retries,
            delay=event.retry_delay_sec,
            backoff=event.retry_backoff,
            clock=place.clock,
            switch=switch,
        )

    def _elsewhere(self, switch: KillSwitch) -> InProcess | InExecutor:
        bound, place = self.bound, self.place
        fixed = bound.values(place.scope.get, kill_switch=switch)
        target = Target.of(bound.function, {**bound.params, **fixed})
        try:
            target.require_portable()
        except ValueError as failure:
            raise ConfigError(str(failure)) from None
        if self.event.isolation is Isolation.PROCESS or place.executor is None:
            return InProcess(target)
        return InExecutor(place.executor, target)


def _unportable(draft: Draft, bound: Sequence[BoundEvent]) -> list[Problem]:
    """Return which events cannot run in other processes, though they are to."""
    found = []
    description = draft.description
    for each in bound:
        is_remote = each.event.isolation is Isolation.PROCESS or (
            description is not None and description.executor != "threads"
        )
        for action in (each.action, each.undo) if is_remote else ():
            if action is None or description is None:
                continue
            try:
                Target.of(action.function, {})
            except ValueError as failure:
                path = ("events", description.events.index(each.event), "isolation")
                found.append(draft.problem(path, str(failure)))
    return found


def _report_queue() -> Iterator[Any]:
    shared = SharedQueue()
    try:
        yield shared.queue
    finally:
        shared.close()


def _result_reporter(report_queue: Any) -> ResultReporter:  # noqa: ANN401 -- a proxy
    return ResultReporter(report_queue)


class _Monitor:
    """Has a reporter look at its queue, in a thread."""

    def __init__(self, around: Surroundings) -> None:
        self.failures: list[str] = []
        self._reporter: Any = None
        self._around = around
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, reporter: Any) -> None:  # noqa: ANN401 -- a user may have made it
        self._reporter = reporter
        self._thread = threading.Thread(
            target=self._run, name="orchestration-reporter", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Have it look for the last time."""
        self._stop.set()
        if self._thread is not None:
            if not _joined(self._thread, self._around, TEARDOWN_LIMIT):
                self.failures.append("the reporter had not handled all in the end")
            self._thread = None

    def reported(self) -> tuple[Sequence[str], int]:
        """Return what was reported as errors, and how much there was of it."""
        failures = getattr(self._reporter, "failures", ())
        return failures, getattr(self._reporter, "failure_count", len(failures))

    def _run(self) -> None:
        self._around.initialize()
        try:
            self._reporter.monitor(self._stop)
        except BaseException as failure:
            log.exception("The reporter failed")
            self.failures.append(f"the reporter failed: {words_of(failure)}")


def _torn_down(
    name: str, rest: Callable[[], None], around: Surroundings
) -> Iterator[str]:
    """Tear a fixture down; yield what goes wrong."""
    failure = aside(rest, f"teardown-{name}", around, limit=TEARDOWN_LIMIT)
    if failure is not None:
        log.error("Fixture %s could not be torn down:\n%s", name, trace_of(failure))
        yield f"fixture {name!r} could not be torn down: {words_of(failure)}"


def aside(
    work: Callable[[], None], name: str, around: Surroundings, *, limit: float
) -> BaseException | None:
    """Do something in a thread of its own, and wait for it no longer than may be.

    Args:
        work: What it is.
        name: What the thread is called.
        around: What says that all is to end, which leaves it ten seconds.
        limit: Seconds it may take.

    Returns:
        What it raised; a `TimeoutError` if it has not ended.
    """
    failures: list[BaseException] = []

    def run() -> None:
        around.initialize()
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 -- the caller decides
            failures.append(failure)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    if not _joined(thread, around, limit):
        return TimeoutError("it had not ended when nobody could wait any longer")
    return failures[0] if failures else None


def _joined(thread: threading.Thread, around: Surroundings, limit: float) -> bool:
    """Wait for a thread, as long as that may take; return whether it has ended."""
    waited = aborted = 0.0
    while thread.is_alive() and waited < limit and aborted < _ABORTED_LIMIT:
        thread.join(_LOOK_EVERY)
        waited += _LOOK_EVERY
        if around.is_aborting is not None and around.is_aborting():
            aborted += _LOOK_EVERY
    return not thread.is_alive()

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
from pysys_orch.orchestration.description import Description, Event, Isolation, Overlap
from pysys_orch.orchestration.documents import Steps
from pysys_orch.orchestration.events import (
    KILL_SWITCH,
    Bound,
    BoundEvent,
    Library,
    bind,
)
from pysys_orch.orchestration.fixtures import Scope
from pysys_orch.orchestration.isolation import InExecutor, InProcess, Target
from pysys_orch.orchestration.journal import Recorder
from pysys_orch.orchestration.orchestrator import (
    TEARDOWN_LIMIT,
    Ending,
    Orchestrator,
    Part,
    Workers,
)
from pysys_orch.orchestration.reading import Draft, Problem
from pysys_orch.orchestration.reporter import ResultReporter, SharedQueue
from pysys_orch.orchestration.resuming import Resumed
from pysys_orch.orchestration.switch import KillSwitch
from pysys_orch.orchestration.tally import Tally
from pysys_orch.orchestration.timeline import Firing, Timeline
from pysys_orch.orchestration.verdict import Judgement, judge

log = logging.getLogger("pysys.orch.orchestration")

_REPORTER = "result_reporter"
_QUEUE = "report_queue"
_ABORTED_LIMIT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run takes place in.

    Attributes:
        clock: What tells the time, and waits.
        seed: What decides on all that is random, if the description does not.
        journal: Where a line is written for each firing; None is nowhere.
        workers: Who makes the calls; threads by default.
        initialize: Called in each thread first.
        is_aborting: Tells whether all is to end; None if nobody would.
        progress: Called at sensible moments, with the seconds since the beginning, the
            next firing, and what became of each event so far.
        resumed: Where it goes on; None if it begins.
        head: What else the first line of the journal says.
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
        scope = Scope(self._library.fixtures())
        monitor = _Monitor(around.initialize)
        teardowns: list[str] = []
        executor = None
        try:
            for name in self._needed():
                scope.get(name)
            if scope.has(_REPORTER):
                monitor.start(scope.get(_REPORTER))
            executor = isolation.executor_of(
                self.description.executor, self.description.max_workers
            )
            parts = [self._part(each, scope, executor, around) for each in self._bound]
            recorder, ending = self._orchestrate(parts, around)
        finally:
            self.switch.set()
            if executor is not None:
                isolation.close(executor)
            for name, rest in scope.rests():
                if name == _QUEUE:
                    monitor.stop()
                teardowns += _torn_down(name, rest, around)
            monitor.stop()
        reporter = monitor.reporter
        judgements = judge(
            self.description,
            recorder.tallies,
            ending,
            reported=getattr(reporter, "failures", ()),
            reported_count=getattr(reporter, "failure_count", 0),
            teardowns=teardowns,
        )
        return Report(
            description=self.description,
            ending=ending,
            tallies=recorder.tallies,
            judgements=judgements,
            draft=self._draft,
        )

    # Inside ---------------------------------------------------------------------------

    def _needed(self) -> Iterator[str]:
        """Yield the fixtures that are needed, in the order in which they are set up."""
        yield from self.description.unref_setup_fixtures
        for each in self._bound:
            for bound in (each.action, each.undo):
                for name in () if bound is None else bound.fixtures:
                    yield name
                    if name == _QUEUE:
                        yield _REPORTER

    def _orchestrate(
        self, parts: Sequence[Part], around: Surroundings
    ) -> tuple[Recorder, Ending]:
        description = self.description
        seed = around.seed if description.seed is None else description.seed
        begin, since = around.clock.stamp(), 0.0
        if around.resumed is not None:
            begin, since = around.resumed.begin, around.resumed.since
            seed = around.resumed.seed
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
        )
        timeline = Timeline(description, seed=seed, begin=begin, since=since)
        workers = around.workers or Threads(
            around.clock, limit=description.max_workers, initialize=around.initialize
        )

        def progress(elapsed: float, upcoming: Firing | None) -> None:
            if around.progress is not None:
                around.progress(elapsed, upcoming, recorder.tallies)

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
        )
        tail: dict[str, Any] = {"why": "it was interrupted"}
        try:
            ending = orchestrator.run()
            tail = {"ended": round(ending.at, 6), "why": ending.why}
        finally:
            recorder.close(tail)
        return recorder, ending

    def _part(
        self,
        bound: BoundEvent,
        scope: Scope,
        executor: Executor | None,
        around: Surroundings,
    ) -> Part:
        event = bound.event
        wants_switch = KILL_SWITCH in bound.action.fixtures
        can_end = event.timeout_sec is not None or event.overlap is Overlap.CANCEL
        work = partial(_work, bound.action, event, scope, executor, around.clock)
        undo = None
        if bound.undo is not None:
            undo = partial(_work, bound.undo, event, scope, executor, around.clock)
        return Part(
            event=event,
            work=work,
            undo=undo,
            is_made_for_each=event.isolation is Isolation.PROCESS
            or (wants_switch and can_end),
        )


def _work(
    bound: Bound,
    event: Event,
    scope: Scope,
    executor: Executor | None,
    clock: Clock,
    switch: KillSwitch,
) -> Callable[[], object]:
    """Return what a call of an event does."""
    work: Callable[[], object]
    if event.isolation is Isolation.PROCESS or executor is not None:
        arguments = {**bound.params, **bound.values(scope.get, kill_switch=switch)}
        target = Target.of(bound.function, arguments)
        try:
            target.require_portable()
        except ValueError as failure:
            raise ConfigError(str(failure)) from None
        if event.isolation is Isolation.PROCESS or executor is None:
            work = InProcess(target)
        else:
            work = InExecutor(executor, target)
    else:
        work = bound.call(scope.get, kill_switch=switch)
    if event.retries:
        return Retried(
            work,
            retries=event.retries,
            delay=event.retry_delay_sec,
            clock=clock,
            switch=switch,
        )
    return work


class Retried:
    """Does something again if it fails.

    Args:
        work: What it does.
        retries: How often it is tried again.
        delay: Seconds before that.
        clock: What waits.
        switch: Once this is set, nothing is tried again.
    """

    def __init__(
        self,
        work: Callable[[], object],
        *,
        retries: int,
        delay: float,
        clock: Clock,
        switch: KillSwitch,
    ) -> None:
        self._work = work
        self._retries = retries
        self._delay = delay
        self._clock = clock
        self._switch = switch
        self.kill = getattr(work, "kill", None)

    def __call__(self) -> object:
        """Do it, until it does not fail or has failed too often."""
        for left in reversed(range(self._retries + 1)):
            try:
                return self._work()
            except Exception as failure:
                if not left or self._switch.is_set():
                    raise
                log.info("Tried again in %g s: %s", self._delay, failure)
            self._clock.wait_until(self._clock.instant() + self._delay, _never)
        raise AssertionError(self._retries)


_never = threading.Event()


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

    def __init__(self, initialize: Callable[[], object]) -> None:
        self.reporter: Any = None
        self._initialize = initialize
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, reporter: Any) -> None:  # noqa: ANN401 -- a user may have made it
        self.reporter = reporter
        self._thread = threading.Thread(
            target=self._run, name="orchestration-reporter", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Have it look for the last time."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(TEARDOWN_LIMIT)

    def _run(self) -> None:
        self._initialize()
        try:
            self.reporter.monitor(self._stop)
        except Exception as failure:
            log.exception("The reporter failed")
            words = f"monitor failed with {type(failure).__name__}: {failure}"
            if isinstance(self.reporter, ResultReporter):
                self.reporter.fail(words)


def _torn_down(
    name: str, rest: Callable[[], None], around: Surroundings
) -> Iterator[str]:
    """Tear a fixture down; yield what goes wrong."""
    failures: list[str] = []

    def run() -> None:
        around.initialize()
        try:
            rest()
        except BaseException as failure:
            log.exception("Fixture %s could not be torn down", name)
            failures.append(f"{type(failure).__name__}: {failure}")

    thread = threading.Thread(target=run, name=f"teardown-{name}", daemon=True)
    thread.start()
    aborting = around.is_aborting is not None and around.is_aborting()
    limit = _ABORTED_LIMIT if aborting else TEARDOWN_LIMIT
    thread.join(limit)
    if thread.is_alive():
        yield f"fixture {name!r} was not torn down within {limit:g} s"
    for each in failures:
        yield f"fixture {name!r} could not be torn down: {each}"

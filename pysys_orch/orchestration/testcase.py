"""What PySys sees: tests that orchestrate."""

from __future__ import annotations

import inspect
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pysys.constants
from pysys.basetest import BaseTest
from pysys.constants import BLOCKED, PASSED
from pysys.exceptions import AbortExecution
from pysys.perf.api import PerformanceUnit
from pysys.utils.threadutils import createThreadInitializer

from pysys_orch.clock import SystemClock
from pysys_orch.errors import ConfigError, OrchError
from pysys_orch.inputs import nearest
from pysys_orch.orchestration import events, reading
from pysys_orch.orchestration.description import Description
from pysys_orch.orchestration.documents import ENDINGS, TextError, name_of
from pysys_orch.orchestration.events import Library
from pysys_orch.orchestration.journal import JOURNAL
from pysys_orch.orchestration.orchestrator import Why
from pysys_orch.orchestration.reading import DescriptionError, Draft, Problem
from pysys_orch.orchestration.resuming import Resumed, resume
from pysys_orch.orchestration.session import Report, Session, Surroundings
from pysys_orch.orchestration.summary import lateness, progress_line, span, table
from pysys_orch.orchestration.tally import Tally
from pysys_orch.orchestration.timeline import Firing

log = logging.getLogger("pysys.orch.orchestration")

_REPORTED = (
    "lateness_p50_ms",
    "lateness_p99_ms",
    "lateness_max_ms",
    "duration_p50_ms",
    "duration_p99_ms",
    "duration_max_ms",
)
_MOST_REPORTED = 50
_OF_TESTS = {"setup", "execute", "validate", "cleanup"}


class OrchestrationFront:
    """Orchestrates for one test.

    Reached as ``self.orchestration`` by tests that mix in `OrchestrationTestHelper`.
    """

    def setup(self, owner: Any) -> None:
        """Work for *owner*, a test; nothing is done until it is used."""
        self._owner = owner
        self._count = 0

    def orchestrate(
        self,
        description: str | Path | Mapping[str, Any] | Description,
        *,
        sources: Sequence[str] | None = None,
        hours: float | None = None,
    ) -> Report:
        """Fire the events of a description, and add what comes of it to the outcomes.

        It takes as long as the description says, and ends what it began.

        Args:
            description: A file in the input directory, or the description itself.
            sources: The modules of events and fixtures: files in the input directory or
                in the project's, or names. By default what ``orchestrationSources``
                says, of the test or else of the project.
            hours: For how long it runs; by default what ``-XruntimeHours`` or else the
                description says.

        Returns:
            What became of it.

        Raises:
            AbortExecution: The description makes no sense: the test is BLOCKED.
        """
        owner = self._owner
        loaded: Sequence[events.Source] = ()
        try:
            draft = self._draft(description, hours)
            loaded = self._loaded(draft, sources)
            library = Library(sources=loaded, owner=owner, methods=methods_of(owner))
            session = Session(draft, library)
            if owner.runner.getXArg("loadOrch", False):
                owner.skipTest(
                    f"-XloadOrch: all {len(session.description.events)} events of "
                    f"{session.description.test_name} are there, none is fired"
                )
            return self._run(session)
        except DescriptionError as failure:
            self._block(failure, _places(failure))
        except TextError as failure:
            self._block(failure, [f"{failure.file}:{failure.place.line}"])
        except OrchError as failure:
            self._block(failure, [])
        finally:
            events.unload(loaded)

    # Inside ---------------------------------------------------------------------------

    def _draft(
        self, said: str | Path | Mapping[str, Any] | Description, hours: float | None
    ) -> Draft:
        if isinstance(said, Description):
            draft = reading.made(said)
        elif isinstance(said, Mapping):
            draft = reading.draft(said)
        else:
            draft = reading.read(self._file(Path(said)))
        hours = self._hours() if hours is None else hours
        return draft if hours is None else draft.lasting(hours)

    def _file(self, name: Path) -> Path:
        folders = (self._owner.input, self._owner.descriptor.testDir)
        files = [Path(each, name) for each in folders]
        file = next((each for each in files if each.is_file()), files[0])
        if not file.is_file():
            near = [
                each.name
                for each in Path(self._owner.input).glob("*")
                if name_of(each) is not None
            ]
            message = f"description {file} does not exist{nearest(name.name, near)}"
            raise ConfigError(message)
        if name_of(file) is None:
            message = f"description {file} has to end in {' or '.join(ENDINGS)}"
            raise ConfigError(message)
        return file

    def _hours(self) -> float | None:
        said = self._owner.runner.xargs.get("runtimeHours", "")
        if said == "":
            return None
        try:
            # Without a value it is True, which is a number, too.
            return float("" if isinstance(said, bool) else said)
        except ValueError:
            message = f"-XruntimeHours is a number of hours, got {said!r}"
            raise ConfigError(message) from None

    def _sources(self, said: Sequence[str] | None) -> list[str]:
        if said is not None:
            return [said] if isinstance(said, str) else list(said)
        of_test = getattr(self._owner, "orchestrationSources", "")
        of_project = self._owner.project.getProperty("orchestrationSources", "")
        listed = of_test or of_project
        if isinstance(listed, str):
            listed = listed.replace("\n", ",").split(",")
        return [each.strip() for each in listed if each.strip()]

    def _loaded(
        self, draft: Draft, said: Sequence[str] | None
    ) -> Sequence[events.Source]:
        try:
            return events.load(self._sources(said), self._folders())
        except ConfigError as failure:
            if not draft.problems:
                raise
            # Who mends the one is to know of the other.
            problems = (*draft.problems, Problem((), str(failure)))
            raise DescriptionError(draft.document, problems) from failure

    def _folders(self) -> list[Path]:
        owner = self._owner
        return [
            Path(owner.input),
            Path(owner.descriptor.testDir),
            Path(owner.project.root),
        ]

    def _run(self, session: Session) -> Report:
        owner = self._owner
        clock = SystemClock()
        description = session.description
        seed = description.seed
        if seed is None:
            seed = random.Random().getrandbits(32)  # noqa: S311 -- the log tells it
        log.info(
            "Orchestrating %s for %s: %d events, seed %d",
            description.test_name,
            span(description.total),
            len(description.events),
            seed,
        )
        around = Surroundings(
            clock=clock,
            seed=seed,
            journal=self._journal(),
            initialize=createThreadInitializer(owner),
            is_aborting=lambda: bool(owner.isRunnerAborting),
            progress=partial(_tell, description),
            resumed=self._resumed(description, clock.stamp()),
            through=(AbortExecution,),
        )
        report = session.run(around)
        self._conclude(report)
        return report

    def _journal(self) -> Path:
        """Return where nobody has written yet: a test may orchestrate again."""
        file = Path(self._owner.output, JOURNAL)
        self._count += 1
        if self._count == 1:
            return file
        return file.with_stem(f"{file.stem}.{self._count}")

    def _resumed(self, description: Description, now: datetime) -> Resumed | None:
        said = self._owner.runner.getXArg("resumeOrch", "")
        if not said:
            return None
        folder = Path(said).absolute()
        if folder == Path(self._owner.output).absolute():
            message = (
                f"-XresumeOrch={said} is where this run writes, and PySys has cleaned "
                "it: give this run another --outdir"
            )
            raise ConfigError(message)
        resumed = resume(folder, description, now)
        missed = ", ".join(
            f"{count:,} of {name}" for name, count in resumed.missed.items()
        )
        log.info(
            "Going on after %s; between %s and then were skipped: %s",
            span(round(resumed.since)),
            span(round(resumed.last)),
            missed or "none",
        )
        return resumed

    def _conclude(self, report: Report) -> None:
        owner = self._owner
        ending = report.ending
        log.info("It ended after %s: %s", span(round(ending.at, 1)), ending.why)
        for line in table(report.tallies):
            log.info("  %s", line)
        if said := lateness(report.tallies):
            log.warning("%s", said)
        for each in report.tallies:
            if each.first is not None and each.first.trace:
                log.info(
                    "%s, firing %d:\n%s",
                    each.name,
                    each.first.ordinal,
                    each.first.trace,
                )
        for judgement in report.judgements:
            outcome = getattr(pysys.constants, judgement.result)
            owner.addOutcome(
                outcome, judgement.words, callRecord=report.record(judgement)
            )
        if not report.judgements and ending.why is Why.TIME:
            fired = sum(each.fired for each in report.tallies)
            words = f"{fired:,} firings of {len(report.tallies)} events"
            owner.addOutcome(PASSED, f"{report.description.test_name}: {words}")
        self._report_figures(report)
        if ending.why is Why.ABORT:
            raise KeyboardInterrupt

    def _report_figures(self, report: Report) -> None:
        named = Counter(each.name for each in report.tallies)
        # PySys wants keys that no other test has, nor this one in another mode.
        parts = [self._owner.descriptor.id]
        if report.description.test_name not in parts[0]:
            parts.append(report.description.test_name)
        if self._count > 1:
            parts.append(str(self._count))
        name = " ".join(parts)
        for event, tally in zip(
            report.description.events[:_MOST_REPORTED], report.tallies, strict=False
        ):
            if event.interval is None and event.cron is None:
                continue  # a few firings are no figure
            figures = tally.figures()
            for figure in _REPORTED:
                if figure in figures and named[tally.name] == 1:
                    time, percentile, _ = figure.split("_")
                    self._owner.reportPerformanceResult(
                        figures[figure] * 1_000_000,
                        f"Orchestration {name} {tally.name}: {time} {percentile}",
                        PerformanceUnit("ns", biggerIsBetter=False),
                    )

    def _block(self, failure: OrchError, record: Sequence[str]) -> NoReturn:
        for each in getattr(failure, "problems", ()):
            log.error("%s: %s", failure.document.name, each)  # type: ignore[attr-defined]
        self._owner.abort(BLOCKED, str(failure), callRecord=list(record) or None)
        raise AssertionError(failure)  # to abort does not return


def _places(failure: DescriptionError) -> list[str]:
    """Return the first place of what is wrong, as PySys says it."""
    file = failure.document.file
    places = [each.place for each in failure.problems if each.place is not None]
    return [f"{file}:{places[0].line}"] if file is not None and places else []


def _tell(
    description: Description,
    elapsed: float,
    upcoming: Firing | None,
    tallies: Sequence[Tally],
) -> None:
    log.info("%s", progress_line(description, elapsed, upcoming, tallies))


def methods_of(owner: object) -> dict[str, Callable[..., Any]]:
    """Return the methods of a test that its authors wrote, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for kind in reversed(type(owner).__mro__):
        if kind.__module__.partition(".")[0] in {"pysys", "pysys_orch"}:
            continue
        for name, each in vars(kind).items():
            if inspect.isfunction(each) and not name.startswith("_"):
                found[name] = getattr(owner, name)
    return {name: each for name, each in found.items() if name not in _OF_TESTS}


class OrchestrationTestHelper:
    """Mix-in that gives a test ``self.orchestration``.

    Example::

        class PySysTest(OrchestrationTestHelper, DockerTestHelper, BaseTest):
            def execute(self):
                self.redis = self.docker.container('redis').run()
                self.orchestration.orchestrate('soak.orch.json')

            def write(self, kill_switch):
                self.redis.exec(['redis-cli', 'set', 'key', 'value'])
    """

    HELPER_MIXIN_FIELD_NAME = "orchestration"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.orchestration = OrchestrationFront()
        self.orchestration.setup(self)


class OrchestrationTest(OrchestrationTestHelper, BaseTest):
    """A base class for tests that orchestrate."""

    orchestrationSources = ""
    """The modules of events and fixtures: files and names, with commas between them. By
    default the property ``orchestrationSources`` of the project."""

    def orchestrate(
        self,
        description: str | Path | Mapping[str, Any] | Description,
        *,
        sources: Sequence[str] | None = None,
        hours: float | None = None,
    ) -> Report:
        """Fire the events of a description; see `OrchestrationFront.orchestrate`."""
        return self.orchestration.orchestrate(description, sources=sources, hours=hours)


class DescribedTest(OrchestrationTest):
    """A test of which there is nothing but its description."""

    orchestrationFile = ""
    """The description."""

    def execute(self) -> None:
        """Fire its events."""
        wanted = str(self.runner.getXArg("runOrch", ""))
        there = [
            name_of(Path(each.userData["orchestrationFile"]))
            for each in self.runner.descriptors
            if "orchestrationFile" in each.userData
        ]
        if wanted and wanted not in there:
            hint = nearest(wanted, [each for each in there if each is not None])
            self.abort(BLOCKED, f"-XrunOrch={wanted}: there is no such test{hint}")
        if wanted and wanted != name_of(Path(self.orchestrationFile)):
            self.skipTest(f"-XrunOrch={wanted} names another one")
        self.orchestrate(self.orchestrationFile)

    def validate(self) -> None:
        """Do nothing: what comes of the events is an outcome already."""

"""What PySys sees: results writers that open and resolve incidents."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import logging
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pysys.constants import INSPECT, OUTCOMES, PASSED
from pysys.exceptions import UserError
from pysys.process.user import ProcessUser
from pysys.utils.threadutils import createThreadInitializer
from pysys.writer.api import BaseRecordResultsWriter

from pysys_orch import settings
from pysys_orch.clock import SystemClock
from pysys_orch.errors import ConfigError, OrchError, StateError
from pysys_orch.escalation.delivery import Courier
from pysys_orch.escalation.incident import (
    Action,
    Answer,
    Event,
    Request,
    Service,
    Transport,
    address,
    event_id,
)
from pysys_orch.escalation.message import Facts, compose, plain
from pysys_orch.escalation.options import (
    URLS,
    Options,
    read_options,
    require_known,
)
from pysys_orch.escalation.outbox import TABLES, VERSION, Outbox, Stream
from pysys_orch.escalation.rules import Decision, Run, TestRun, Transition, expired
from pysys_orch.inputs import utf8_text
from pysys_orch.state import State

log = logging.getLogger("pysys.orch.escalation")

_DRY_RUN_FILE = "__pysys_escalation.jsonl"
_MAX_REASON = 500
_LOOK_EVERY = 60.0
_GRACE = 1.0  # what a thread may take to notice that its time is over
_STATE_PATIENCE = 5.0

#: Keys that were taken out of the environment, for other writers that have the same.
_TAKEN: dict[str, str] = {}
_MASK = "***"

_T = TypeVar("_T")


class EscalationWriter(BaseRecordResultsWriter):
    """Opens incidents when tests start failing, and resolves them when they recover.

    Not used directly: see `SquadCastWriter` and the writers for other services. What it
    does is decided at the end of a run, remembered, and then sent in the background.
    Nothing that goes wrong here changes the outcome of a run.
    """

    escalate: Any = False
    """Whether this writer does anything. Once it does, this is what tests call:
    ``self.runner.squadcast.escalate(key, summary, details)``, see `raiseIncident`."""

    suite = ""
    """What is being watched, for example ``nightly-main``. ``tests`` by default."""

    project = ""
    """What the project is called. The name of its folder by default."""

    stream = ""
    """What runs night after night: branch, job and platform, for example
    ``main linux``; nothing that is another tomorrow, such as a build number or a host.
    By default what the continuous integration says. Has to be set where there is none.
    """

    onlyStreams = "*"
    """Which streams are escalated, as file names are matched: ``main *``."""

    keyVariable = "ESCALATION_KEY"
    """The environment variable with the key of the service. It is taken out of the
    environment when the run starts."""

    keyFile = ""
    """A file with the key, instead."""

    caFile = ""
    """Certificates to trust, in a PEM file, instead of those of the machine."""

    state = ""
    """Where it is remembered what is open: a SQLite file, or a database URL that
    several runners share. ``__pysys_escalation.db`` beside the project file by
    default."""

    groupBy = "suite"
    """What there is one incident for: the ``suite``, each ``group`` of tests (the first
    of a test's groups), or each ``test``."""

    failuresBeforeTrigger = 1
    """In how many runs in a row a test has to fail before somebody is told."""

    passesBeforeResolve = 1
    """In how many runs in a row a failing test has to pass before it has recovered."""

    maxIncidentsPerRun = 10
    """How many incidents a run may open. One more stands for all others."""

    repeatAfter = ""
    """After what time an incident that is still open is told of again, for example
    ``7d``. Never by default."""

    forgetAfter = 7
    """After how many runs without it a failing test is taken to be gone."""

    outcomes: list[str] = []  # noqa: RUF012 -- PySys takes the type from it
    """The outcomes that are failures, for example ``FAILED,BLOCKED``. By default all
    that PySys takes for failures."""

    mutes = ""
    """A YAML file with tests that wake nobody for a while: a list of ``tests`` (an id
    with ``*``), ``until`` (a day) and ``reason``."""

    link = ""
    """Where the run is to be read about, with variables of the environment:
    ``https://ci/job/$JOB_NAME/$BUILD_NUMBER``. By default what the continuous
    integration says."""

    flushTimeoutSecs = 30.0
    """For how many seconds the end of a run may be delayed by what is still to be sent.
    What is left is sent by the next run."""

    dryRun = False
    """Whether what would be sent is written to ``__pysys_escalation.jsonl`` instead. No
    key is needed then."""

    failRunIfAborted = True
    """Whether a run that is aborted ends with an exit status that is not 0, also if all
    tests passed that did run."""

    runner: Any  # set by PySys
    pluginProperties: Mapping[str, Any]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call] # PySys
        self._clock = SystemClock()
        self._options: Options | None = None
        self._key = ""
        self._tests: dict[str, TestRun] = {}
        # One for all tests of a group that passed in the same modes.
        self._passed: dict[tuple[str, tuple[str, ...]], TestRun] = {}
        self._wake = threading.Event()
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None
        self._outbox: Outbox | None = None
        self._ending = threading.Event()  # what is sent during the run has to end
        self._courier: Courier | None = None
        self._last: Courier | None = None  # what is sent in the end
        self._service: Service | None = None
        self._lock = threading.Lock()
        self._is_in_memory = False

    def newService(self, key: str) -> Service:
        """Return the service that is to be told.

        Args:
            key: Its key; empty in a dry run.
        """
        raise NotImplementedError

    # What PySys calls -----------------------------------------------------------------

    def isEnabled(self, record: bool = False, **kwargs: Any) -> bool:
        """Return whether anything is escalated; a mistake in the project is told."""
        del record, kwargs
        if not self.escalate:
            return False
        self._takeVariable()
        options = self._readOptions()
        if not fnmatch.fnmatchcase(options.stream, self.onlyStreams):
            return False
        self._prepare()
        return True

    def setup(self, *arguments: Any, **kwargs: Any) -> None:
        """Begin to send what earlier runs have left."""
        super().setup(*arguments, **kwargs)  # type: ignore[no-untyped-call] # PySys
        options = self._readOptions()
        self._prepare()  # it may be switched on without being enabled
        for mute in expired(options.policy.mutes, self._clock.stamp()):
            log.warning(
                "The mute of %s is over since %s (%s): take it out, or prolong it",
                mute.tests,
                mute.until,
                mute.reason,
            )
        self.escalate = self.raiseIncident
        self._thread = threading.Thread(
            target=self._run,
            args=(createThreadInitializer("escalation"),),  # type: ignore[no-untyped-call] # PySys
            name="escalation",
            daemon=True,
        )
        self._thread.start()

    def processResult(
        self,
        testObj: Any,
        cycle: int = 0,
        testTime: float = 0,
        testStart: float = 0,
        runLogOutput: str = "",
        **kwargs: Any,
    ) -> None:
        """Remember what a test did; PySys waits for it."""
        del cycle, testTime, testStart, runLogOutput, kwargs
        try:
            self._remember(testObj)
        except Exception:
            log.exception("A result could not be remembered for escalation")

    def cleanup(self, **kwargs: Any) -> None:
        """Decide what is to be told, and send as much of it as there is time for."""
        del kwargs
        aborted = bool(ProcessUser.isRunnerAborting)
        try:
            if aborted and self._options and self._options.fail_if_aborted:
                self.runner.runnerErrors.append("the run was aborted")
            self._decide(aborted=aborted)
            self._flush()
        except Exception:
            log.exception("Escalation failed")

    # What tests call ------------------------------------------------------------------

    def raiseIncident(self, key: str, summary: str, details: str = "") -> None:
        """Open an incident now, from a running test.

        Threads may call it. As long as the incident is open, it does nothing.

        Args:
            key: What it is about, for `recover`.
            summary: One line.
            details: Markdown.
        """
        self._raise(Action.TRIGGER, key, summary, details)

    def recover(self, key: str, summary: str = "recovered") -> None:
        """Resolve an incident that `raiseIncident` has opened.

        Args:
            key: What it was about.
            summary: One line.
        """
        self._raise(Action.RESOLVE, key, summary, "")

    # Inside ---------------------------------------------------------------------------

    def _readOptions(self) -> Options:
        """Return what the project says.

        Raises:
            UserError: It makes no sense.
        """
        if self._options is None:
            with self._blamingTheProject():
                self._options = self._askOptions()
        return self._options

    def _prepare(self) -> None:
        """Make what needs the key, and finds the rest of the mistakes.

        Raises:
            UserError: Something makes no sense.
        """
        if self._courier is None:
            with self._blamingTheProject():
                self._key = "" if self.dryRun else self._readKey()
                self._service = self.newService(self._key)
                self._open(self._readOptions().state)

    @contextlib.contextmanager
    def _blamingTheProject(self) -> Iterator[None]:
        try:
            yield
        except ConfigError as failure:
            message = f"{type(self).__name__}: {failure}"
            raise UserError(message) from None  # type: ignore[no-untyped-call] # PySys

    def _askOptions(self) -> Options:
        known = {
            name
            for kind in type(self).__mro__
            for name in vars(kind)
            if not name.startswith("_") and not callable(getattr(type(self), name))
        }
        require_known(self.pluginProperties, known, "the writer")
        outcomes: Sequence[Any] = OUTCOMES
        return read_options(
            {name: getattr(self, name) for name in known},
            environment=settings.inherited_environment(),
            folder=Path(self.runner.project.root),
            failures=[str(each) for each in outcomes if each.isFailure()],
            outcomes=[str(each) for each in outcomes],
            platform=sys.platform,
        )

    def _takeVariable(self) -> None:
        """Take the key out of the environment, before it is printed or given on."""
        if not self.keyVariable:
            return
        key = (settings.take_variable(self.keyVariable) or "").strip()
        if key:
            _TAKEN[self.keyVariable] = key

    def _readKey(self) -> str:
        if self.keyFile:
            file = Path(self.runner.project.root, self.keyFile)
            key = utf8_text(file).strip()
            if not key:
                message = f"keyFile {file} is empty"
                raise ConfigError(message)
            return key
        self._takeVariable()
        if self.keyVariable and self.keyVariable not in _TAKEN:
            message = (
                f"the environment variable {self.keyVariable} with the key is not set: "
                "set it, or keyFile, or dryRun to try it out"
            )
            raise ConfigError(message)
        return _TAKEN.get(self.keyVariable, "")

    def _address(self) -> str:
        service = self._service.name if self._service is not None else ""
        url = str(getattr(self, "url", ""))
        return address(service, url, self.keyFile or self.keyVariable)

    def _open(self, place: str) -> None:
        if self._service is None:
            raise AssertionError(place)
        state = State(
            place, TABLES, name="escalation", version=VERSION, patience=self._patience()
        )
        transport = self._transport()
        self._outbox = Outbox(state, clock=self._clock, services=[self._address()])
        self._courier, self._last = (
            Courier(
                self._outbox,
                self._service,
                transport,
                address=self._address(),
                clock=self._clock,
                stop=stop,
                generator=random.Random(),  # noqa: S311 -- only spreads attempts
            )
            for stop in (self._ending, threading.Event())
        )

    def _transport(self) -> Transport:
        from pysys_orch.escalation.transport import HttpTransport

        if self.dryRun:
            return DryRun(Path(self.runner.project.root, _DRY_RUN_FILE), self._clock)
        return HttpTransport(ca_file=self.caFile)

    def _remember(self, testObj: Any) -> None:
        descriptor = testObj.descriptor
        test = getattr(descriptor, "idWithoutMode", descriptor.id)
        mode = getattr(descriptor, "mode", None)
        modes = (str(mode),) if mode else ()
        ran = self._result(testObj, (descriptor.groups or [""])[0], modes)
        before = self._tests.get(test)
        if before is None or (before is ran and ran.passed):
            self._tests[test] = ran
        else:
            self._tests[test] = before + ran

    def _result(self, testObj: Any, group: str, modes: tuple[str, ...]) -> TestRun:
        outcome = testObj.getOutcome()
        name = str(outcome)
        if self._options is not None and name in self._options.outcomes:
            return TestRun(
                group=group,
                failed=1,
                outcome=name,
                reason=self._mask(plain(testObj.getOutcomeReason() or "", _MAX_REASON)),
                location=_location(testObj),
                modes=modes,
                broken=modes,
            )
        if outcome not in {PASSED, INSPECT}:
            return TestRun(group=group)
        made = TestRun(group=group, passed=1, modes=modes)
        return self._passed.setdefault((group, modes), made)

    def _decide(self, *, aborted: bool) -> None:
        if self._options is None or self._outbox is None:
            return
        run = Run(at=self._clock.stamp(), tests=self._tests, aborted=aborted)
        if not run.tests and not aborted:
            return
        facts = self._facts(run)

        def composed(transition: Transition, decision: Decision) -> Event:
            return self._masked(compose(facts, transition, decision))

        stream, policy = self._stream(), self._options.policy
        decision = self._remembering(
            lambda outbox: outbox.take_run(stream, run, policy, composed)
        )
        for each in decision.transitions:
            level = logging.INFO if each.action is None else logging.WARNING
            told = f"{each.action} " if each.action else ""
            log.log(level, "Escalation: %s%s: %s", told, each.reason, each.words)

    def _remembering(self, ask: Callable[[Outbox], _T]) -> _T:
        """Ask what remembers; if it does not answer in time, go on without it."""
        outbox = self._outbox
        if outbox is None:
            raise AssertionError(ask)
        if self._is_in_memory:
            return ask(outbox)
        try:
            return _within(2 * self._patience(), lambda: ask(outbox))
        except StateError as failure:
            return ask(self._forgoState(failure))

    def _patience(self) -> float:
        return max(1.0, min(_STATE_PATIENCE, self.flushTimeoutSecs))

    def _forgoState(self, failure: StateError) -> Outbox:
        """Go on in memory: better told twice than not at all."""
        with self._lock:
            if not self._is_in_memory:
                log.error("%s: it is escalated as if there were no other run", failure)
                self._open("sqlite://")
                self._is_in_memory = True
            if self._outbox is None:
                raise AssertionError(failure)
            return self._outbox

    def _facts(self, run: Run) -> Facts:
        options = self._readOptions()
        return Facts(
            project=self._projectName(),
            stream=options.stream,
            suite=options.suite,
            ran=sum(1 for each in run.tests.values() if each.passed or each.failed),
            at=run.at,
            link=options.link,
            details={
                key: plain(str(value), _MAX_REASON)
                for key, value in self.runner.runDetails.items()
            },
        )

    def _stream(self) -> Stream:
        options = self._readOptions()
        project = self._projectName()
        return Stream(
            key=event_id(self._address(), project, options.stream, options.suite),
            project=project,
            name=options.stream,
            suite=options.suite,
        )

    def _projectName(self) -> str:
        return self.project or Path(self.runner.project.root).name

    def _raise(self, action: Action, key: str, summary: str, details: str) -> None:
        try:
            self._take(self._raised(action, str(key), str(summary), str(details or "")))
        except Exception:
            log.exception("Could not %s the incident %s", action, key)

    def _raised(self, action: Action, key: str, summary: str, details: str) -> Event:
        stream = self._stream()
        return self._masked(
            Event(
                key=event_id(stream.project, stream.name, stream.suite, "raised", key),
                action=action,
                summary=plain(f"[{stream.name}] {stream.suite}: {key}: {summary}", 200),
                details=details,
                tags={
                    "project": stream.project,
                    "stream": stream.name,
                    "suite": stream.suite,
                    "group": key,
                },
                link=self._readOptions().link,
            )
        )

    def _take(self, event: Event) -> None:
        if self._outbox is None:
            return
        if self._remembering(lambda outbox: outbox.take_raised(event)):
            log.warning("Escalation: %s: %s", event.action, event.summary)
            self._wake.set()

    def _masked(self, event: Event) -> Event:
        """Keep the key out of what is stored and sent, whoever wrote it there."""
        if not self._key or self._key not in event.to_json():
            return event
        return replace(
            event,
            summary=self._mask(event.summary),
            details=self._mask(event.details),
            tags={key: self._mask(text) for key, text in event.tags.items()},
            link=self._mask(event.link),
        )

    def _mask(self, text: str) -> str:
        return text.replace(self._key, _MASK) if self._key else text

    # Sending

    def _run(self, initialize: Any) -> None:
        """Send what there is, until the run is over and its time is up."""
        initialize()
        while self._deadline is None:
            self._wake.clear()
            with self._forgiving():
                if self._courier is not None:
                    self._courier.round(float("inf"))
            self._wake.wait(_LOOK_EVERY)
        with self._forgiving():
            if self._last is not None and not self._last.flush(self._deadline):
                log.warning(
                    "Not all could be sent within %g s: the rest is sent by the next "
                    "run, or by `pysys-orch escalations flush`",
                    self._readOptions().flush_timeout,
                )

    def _flush(self) -> None:
        if self._thread is None or self._options is None:
            return
        self._deadline = self._clock.instant() + self._options.flush_timeout
        self._ending.set()
        self._wake.set()
        self._thread.join(self._options.flush_timeout + _GRACE)
        if self._thread.is_alive():
            log.warning("What is still being sent is not waited for any more")

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except OrchError as failure:
            log.error("Escalation: %s", failure)  # noqa: TRY400 -- it says all there is
        except Exception:
            log.exception("Escalation failed")


class SquadCastWriter(EscalationWriter):
    """Opens and resolves incidents at SquadCast (SolarWinds Incident Response)."""

    url = URLS["squadcast"]
    """The service: https://api.squadcast.com, or https://api.eu.squadcast.com. The key
    of the webhook does not belong here."""

    def newService(self, key: str) -> Service:
        """Return SquadCast."""
        from pysys_orch.escalation.squadcast import SquadCast

        return SquadCast(key, url=_usable(self.url))


class PagerDutyWriter(EscalationWriter):
    """Opens and resolves incidents at PagerDuty, through its Events API v2."""

    url = URLS["pagerduty"]
    """The service: https://events.pagerduty.com, or https://events.eu.pagerduty.com."""

    keyVariable = "PAGERDUTY_KEY"
    """The environment variable with the integration key. It is taken out of the
    environment when the run starts."""

    def newService(self, key: str) -> Service:
        """Return PagerDuty."""
        from pysys_orch.escalation.pagerduty import PagerDuty

        return PagerDuty(key, url=_usable(self.url))


class AlertmanagerWriter(EscalationWriter):
    """Fires and ends alerts at an Alertmanager, which hands them on."""

    url = ""
    """Where it is, for example ``https://alertmanager:9093``."""

    keyVariable = ""
    """None is needed."""

    timeoutHours = 36.0
    """After how many hours an alert ends of which no run has told again."""

    repeatAfter = "1s"
    """After what time an alert that still fires is told of again. Each run does that by
    default, since it would end otherwise."""

    def newService(self, key: str) -> Service:
        """Return the Alertmanager."""
        from pysys_orch.escalation.alertmanager import Alertmanager

        del key
        return Alertmanager(_usable(self.url), timeout_hours=self.timeoutHours)


class WebhookWriter(EscalationWriter):
    """Posts JSON of your own to a URL."""

    keyVariable = "WEBHOOK_URL"
    """The environment variable with the URL, which is taken for a secret. It is taken
    out of the environment when the run starts."""

    template = ""
    """A file with the JSON to post, in whose texts ``${key}``, ``${action}``,
    ``${summary}``, ``${details}``, ``${link}`` and ``${tags}`` are replaced. All of
    them by default."""

    def newService(self, key: str) -> Service:
        """Return the webhook."""
        from pysys_orch.escalation.webhook import DEFAULT_TEMPLATE, Webhook

        if not self.template:
            return Webhook(key, DEFAULT_TEMPLATE)
        file = Path(self.runner.project.root, self.template)
        return Webhook(key, utf8_text(file), origin=str(file))


class DryRun:
    """Writes what would be sent to a file.

    Args:
        file: Where; one JSON object a line.
        clock: What tells the time.
    """

    def __init__(self, file: Path, clock: SystemClock) -> None:
        self._file = file
        self._clock = clock

    def __call__(self, request: Request, *, timeout: float) -> Answer:
        """Write a request, without its URL, and say that it was accepted."""
        del timeout
        said = request.body.decode("utf-8", "replace")
        line = {"at": self._clock.stamp().isoformat(), "body": json.loads(said)}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")
        return Answer(status=202)


def _within(seconds: float, work: Callable[[], _T]) -> _T:
    """Return what comes of some work, if that ends in time.

    There is no other way to give up on a database that takes requests and is silent.

    Raises:
        StateError: It does not end in time.
    """
    done: list[_T] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as failure:  # noqa: BLE001 -- raised where it is waited for
            failures.append(failure)

    thread = threading.Thread(target=run, name="escalation-state", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not done:
        message = f"the escalation state has not answered within {seconds:g} s"
        raise StateError(message)
    return done[0]


def _usable(url: str) -> str:
    """Return a URL, if something can be sent there.

    Raises:
        ConfigError: It cannot.
    """
    if not re.match(r"https://[^/]|http://(localhost|127\.|\[::1\])", url):
        message = f"url is https://..., or http:// on this machine, got {url!r}"
        raise ConfigError(message)
    return url


def _location(testObj: Any) -> str:
    try:
        return str(Path(testObj.output).relative_to(testObj.project.testRootDir))
    except ValueError:
        return str(testObj.output)

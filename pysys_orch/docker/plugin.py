"""The runner plugin: collects before and after a run, and whatever happens to it."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from pysys.exceptions import UserError
from pysys.process.user import ProcessUser

from pysys_orch.docker.engine.reaper import Reaper
from pysys_orch.docker.parent import Runner
from pysys_orch.docker.session import REAPER_LOG, Session
from pysys_orch.errors import CleanupError, ConfigError

log = logging.getLogger("pysys.orch.docker")

_REPORT_TIMEOUT = 60.0
_DISMISSAL_TIMEOUT = 10.0
_HASTE = 1.0  # what a run has that is told to end: PySys complains loudly after 5 s
_MOST_LINES = 20


class DockerRunnerPlugin:
    """Keeps an engine clean around a run.

    In ``pysysproject.xml``::

        <runner-plugin classname="pysys_orch.docker.DockerRunnerPlugin" alias="docker"/>

    At the start of a run it has what dead runs left behind removed, in the background;
    at its end it removes what the run itself still has, and says so. A run that is
    killed outright is cleaned up after by its reaper, a small process that outlives it
    for that. A run that needs no Docker does not notice any of this.

    Project properties, each also to be given for one run as ``-X`` argument:

    * ``DOCKER_EXE``: path of the docker client
    * ``dockerAnswerTimeoutSecs`` (5): how long an engine may take to answer at first
    * ``dockerImageRetentionDays`` (7): how long an unused image is kept
    * ``dockerPublishedHost`` (found out): the name or address under which exposed
      ports are reached
    * ``dockerKeep`` (false): whether to keep what a failed test made
    * ``dockerLeaseSecs`` (300): how long this run counts as alive, without a sign of
      life, for others that share its engine but not its kernel
    * ``dockerNodes``: addresses of the engines of a swarm's other nodes, such as
      ``tcp://node2:2376``, from where the run's things are removed, too; with TLS,
      ``DOCKER_CERT_PATH`` counts, and no context
    * ``dockerComposeExe``: path of the compose program; by default the docker client's
      plugin, else ``docker-compose``
    * ``dockerStrictSubstitutions`` (false): whether a substitution in a compose file
      that matches nothing makes a test BLOCKED

    Property of the plugin itself, within its element:
    """

    swarm = ""
    """``init``: where a test needs a swarm and there is none, the run begins one on the
    engine, which nobody else can join, and leaves it at the end. By default such a test
    is BLOCKED."""

    def setup(self, runner: Runner) -> None:
        """Start the reaper.

        Raises:
            UserError: A property makes no sense.
        """
        self._runner = runner
        self._reaper: Reaper | None = None
        # PySys does not clean up after a plugin whose setup raises, so nothing that
        # must be undone happens before what can raise.
        try:
            session = Session.of(runner)
        except ConfigError as failure:
            raise UserError(str(failure)) from None  # type: ignore[no-untyped-call] # PySys
        if self.swarm not in {"", "init"}:
            message = (
                "DockerRunnerPlugin: its property swarm is 'init' or not there, "
                f"got {self.swarm!r}"
            )
            raise UserError(message)  # type: ignore[no-untyped-call] # PySys
        session.engines.begins_swarm = self.swarm == "init"
        try:
            folder = Path(runner.output)
            folder.mkdir(parents=True, exist_ok=True)
            self._reaper = Reaper.start(
                session.owner, session.settings, folder / REAPER_LOG
            )
        except OSError as failure:
            log.warning(
                "Docker: no reaper, what is left is collected later: %s", failure
            )
        session.reaper = self._reaper
        runner.addCleanupFunction(lambda: self._finish(session))

    def _finish(self, session: Session) -> None:
        """Remove what the run still has, and let the reaper go."""
        try:
            session.close()
        except CleanupError as failure:
            log.warning("Docker: %s", failure)
            self._runner.runnerErrors.append(f"Docker: {failure}")
        finally:
            self._dismiss(session)
        if ProcessUser.isRunnerAborting:
            # PySys would end with 0 if the tests that did run have passed.
            self._runner.runnerErrors.append("The run was aborted before its end")

    def _dismiss(self, session: Session) -> None:
        if self._reaper is None:
            return
        if not session.engines.is_used:
            # A run without Docker does not wait for what dead runs have left.
            self._reaper.leave()
            return
        deadline = session.clock.instant() + _REPORT_TIMEOUT
        while not self._reaper.has_reported(_HASTE):
            if ProcessUser.isRunnerAborting or session.clock.instant() > deadline:
                break
        report = self._reaper.report(0.0)
        for line in report["removed"][:_MOST_LINES]:
            log.info("Docker: removed %s", line)
        if len(report["removed"]) > _MOST_LINES:
            log.info("Docker: removed %d more", len(report["removed"]) - _MOST_LINES)
        for line in report["failures"]:
            log.info("Docker: could not collect: %s", line)
        in_haste = ProcessUser.isRunnerAborting
        self._reaper.dismiss(_HASTE if in_haste else _DISMISSAL_TIMEOUT)
        with contextlib.suppress(OSError):
            path = Path(self._runner.output, REAPER_LOG)
            if path.stat().st_size == 0:
                path.unlink()

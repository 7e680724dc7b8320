"""What is known of cases, in a file or a database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pysys_orch.clock import Clock
from pysys_orch.errors import ConfigError, StateError
from pysys_orch.livecheck.exceptions import MessageError
from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.memory import health_of_text, text_of_health
from pysys_orch.livecheck.models import TestReport
from pysys_orch.livecheck.wire import json_text
from pysys_orch.state import State

#: The version of the tables.
VERSION = 1

TABLES = sa.MetaData()
_CASES = sa.Table(
    "livecheck_cases",
    TABLES,
    sa.Column("application", sa.Text, primary_key=True),
    sa.Column("case_name", sa.Text, primary_key=True),
    sa.Column("health", sa.Text, nullable=False),
    sa.Column("histories", sa.Text, nullable=False),
    sa.Column("instant", sa.Float, nullable=False),
    sa.Column("saved", sa.String(32), nullable=False),
)
_REPORTS = sa.Table(
    "livecheck_reports",
    TABLES,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("application", sa.Text, nullable=False),
    sa.Column("case_name", sa.Text, nullable=False),
    sa.Column("is_ok", sa.Boolean, nullable=False),
    sa.Column("report", sa.Text, nullable=False),
    sa.Column("created", sa.String(32), nullable=False, index=True),
    sa.Index("livecheck_reports_of", "application", "case_name", "is_ok", "number"),
)

# How many times too many reports there may be before some are removed.
_SPARE = 4

# Databases limit how many values a statement has.
_TOGETHER = 100

# A hundred years.
_MAX_DAYS = 36_500

#: What a case measures, by name: seconds, oldest first.
Histories = Mapping[str, Iterable[float]]

#: A report, and when it was made.
Made = tuple[datetime, TestReport]

#: Of which case reports are, and whether they are ok.
Sort = tuple[str, bool]

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept.

    Attributes:
        reports: How many reports of each case, both of those that are ok and of those
            that are not: what fails now and then is not lost among what passes.
        age: How long reports are kept, and how long what is known of a case of which
            nothing is heard any more.

    Raises:
        ConfigError: A value makes no sense.
    """

    reports: int = 100
    age: timedelta = timedelta(days=30)

    def __post_init__(self) -> None:
        if isinstance(self.reports, bool) or self.reports < 1:
            message = f"retention: reports has to be at least 1, got {self.reports!r}"
            raise ConfigError(message)
        if self.age <= timedelta(0):
            message = f"retention: age has to be more than 0, got {self.age}"
            raise ConfigError(message)


def retention_of(*, reports: int, days: float) -> Retention:
    """Return what is kept, as a project says it.

    Args:
        reports: As of `Retention`.
        days: Its age.

    Raises:
        ConfigError: A value makes no sense.
    """
    if not 0 < days <= _MAX_DAYS:
        message = (
            f"livecheckRetentionDays has to be more than 0 and at most {_MAX_DAYS}, "
            f"got {days:g}"
        )
        raise ConfigError(message)
    if reports < 1:
        message = f"livecheckRetentionReports has to be at least 1, got {reports}"
        raise ConfigError(message)
    return Retention(reports=reports, age=timedelta(days=days))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is known of a case.

    Attributes:
        health: How it was, as on the clock of this process.
        histories: What it measured.
        reports: Its last reports, oldest first, each with when it was made.
    """

    health: Health
    histories: Mapping[str, tuple[float, ...]]
    reports: tuple[Made, ...]


class Records:
    """The cases of an application, each change in a transaction of its own.

    One thread may write while others read.

    Args:
        state: Where.
        application: Whose cases: equal names of different applications differ.
        clock: What tells the time.
        retention: What is kept.
    """

    def __init__(
        self, state: State, application: str, *, clock: Clock, retention: Retention
    ) -> None:
        self._state = state
        self._application = application
        self._clock = clock
        self._retention = retention
        self._written = Counter[Sort]()

    def __str__(self) -> str:
        """Say where they are, without a password."""
        return f"the livecheck state in {self._state}"

    def close(self) -> None:
        """Let go of the database."""
        self._state.close()

    def load(self, case_name: str) -> Kept | None:
        """Return what is known of a case; None if nothing is.

        Raises:
            StateError: It cannot be read.
        """
        whose = {"application": self._application, "case_name": case_name}
        cases = sa.select(_CASES).filter_by(**whose)
        reports = sa.select(_REPORTS).filter_by(**whose)
        with self._state.transaction() as connection:
            row = connection.execute(cases).mappings().first()
            told = [
                each
                for is_ok in (True, False)
                for each in connection.execute(
                    reports.where(_REPORTS.c.is_ok == is_ok)
                    .order_by(_REPORTS.c.number.desc())
                    .limit(self._retention.reports)
                ).mappings()
            ]
        if row is None:
            return None
        try:
            return self._kept(row, sorted(told, key=lambda each: each["number"]))
        except (ValueError, TypeError, AttributeError, MessageError) as failure:
            message = (
                f"what {self} has of the case {case_name!r} cannot be read "
                f"({failure}): move it out of the way, and what it knew is found out "
                "again"
            )
            raise StateError(message) from failure

    def case_names(self) -> list[str]:
        """Return of which cases something is known.

        Raises:
            StateError: It cannot be read.
        """
        query = sa.select(_CASES.c.case_name).filter_by(application=self._application)
        with self._state.transaction() as connection:
            return sorted(connection.execute(query).scalars())

    def write(
        self,
        cases: Mapping[str, tuple[Health, Histories]],
        reports: Mapping[Sort, Iterable[Made]],
        *,
        is_last: bool,
    ) -> None:
        """Write how cases are, and add reports: all of it, or nothing.

        Args:
            cases: How they are, by name.
            reports: Reports of each sort, oldest first.
            is_last: Whether no more is to come.

        Raises:
            StateError: It could not be written.
        """
        instant, now = self._clock.instant(), self._clock.stamp()
        case_rows: list[_Row] = [
            {
                "application": self._application,
                "case_name": name,
                "health": text_of_health(health),
                "histories": _text_of_histories(histories),
                "instant": instant,
                "saved": _text(now),
            }
            for name, (health, histories) in cases.items()
        ]
        report_rows: list[_Row] = [
            {
                "application": self._application,
                "case_name": name,
                "is_ok": is_ok,
                "report": json_text(report.as_json()),
                "created": _text(created),
            }
            for (name, is_ok), told in reports.items()
            for created, report in told
        ]
        with self._state.transaction() as connection:
            # Few statements, however much there is: a thread beside one that is always
            # busy waits at each of them.
            for some in _parts(case_rows):
                names = [row["case_name"] for row in some]
                is_one = _CASES.c.case_name.in_(names)
                is_ours = _CASES.c.application == self._application
                connection.execute(_CASES.delete().where(is_ours, is_one))
                connection.execute(_CASES.insert().values(some))
            for some in _parts(report_rows):
                connection.execute(_REPORTS.insert().values(some))
            written = self._written.copy()
            for row in report_rows:
                written[row["case_name"], row["is_ok"]] += 1
            full = self._retention.reports * _SPARE
            many = [sort for sort, count in written.items() if count >= full or is_last]
            self._forget(connection, many)
            if many or is_last:
                then = _text(now - self._retention.age)
                connection.execute(_REPORTS.delete().where(_REPORTS.c.created < then))
                connection.execute(_CASES.delete().where(_CASES.c.saved < then))
        for sort in many:
            del written[sort]
        self._written = written

    # Inside ---------------------------------------------------------------------------

    def _forget(self, connection: sa.Connection, sorts: Iterable[Sort]) -> None:
        """Remove reports that are too many."""
        for name, is_ok in sorts:
            of_sort = (
                _REPORTS.c.application == self._application,
                _REPORTS.c.case_name == name,
                _REPORTS.c.is_ok == is_ok,
            )
            newest = sa.select(_REPORTS.c.number).where(*of_sort)
            newest = newest.order_by(_REPORTS.c.number.desc())
            one_more = newest.offset(self._retention.reports).limit(1)
            last = connection.execute(one_more).scalar()
            if last is not None:
                old = (*of_sort, _REPORTS.c.number <= last)
                connection.execute(_REPORTS.delete().where(*old))

    def _kept(self, row: sa.RowMapping, told: Iterable[sa.RowMapping]) -> Kept:
        """Return what rows say.

        Raises:
            ValueError, TypeError, AttributeError, MessageError: It is nothing.
        """
        ago = (self._clock.stamp() - _stamp(row["saved"])).total_seconds()
        # The clock may have been set back: what was is not to come.
        then = self._clock.instant() - max(0.0, ago)
        return Kept(
            health=health_of_text(row["health"]).shifted(then - float(row["instant"])),
            histories={
                name: tuple(map(float, history))
                for name, history in json.loads(row["histories"]).items()
            },
            reports=tuple(
                (
                    _stamp(each["created"]),
                    TestReport.from_json(json.loads(each["report"])),
                )
                for each in told
            ),
        )


def _parts(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    for begin in range(0, len(rows), _TOGETHER):
        yield list(rows[begin : begin + _TOGETHER])


def _text_of_histories(histories: Histories) -> str:
    return json.dumps({name: _copied(values) for name, values in histories.items()})


def _copied(values: Iterable[float]) -> Sequence[float]:
    while True:
        try:
            return list(values)
        except RuntimeError:
            # Somebody has just added one.
            continue


# Texts that sort as the times do.


def _text(stamp: datetime) -> str:
    return stamp.astimezone(UTC).isoformat(timespec="microseconds")


def _stamp(text: str) -> datetime:
    return datetime.fromisoformat(text)

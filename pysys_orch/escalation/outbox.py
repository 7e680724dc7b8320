"""What is remembered of a suite, and what services have still to be told.

Both are written in one transaction, before anything is sent: what was decided is never
lost, and never decided twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from pysys_orch.clock import Clock
from pysys_orch.escalation.incident import Event
from pysys_orch.escalation.rules import (
    Decision,
    History,
    Opened,
    Policy,
    Run,
    TestRun,
    Transition,
    Trouble,
    decide,
)
from pysys_orch.state import State

#: The version of the tables.
VERSION = 1

#: Seconds for which somebody who sends an event has it for himself.
LEASE = 15.0

_KEEP_DELIVERED = timedelta(days=30)

TABLES = sa.MetaData()
_STREAMS = sa.Table(
    "escalation_streams",
    TABLES,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("history", sa.Text),
    sa.Column("reported", sa.String(32)),
)
_EVENTS = sa.Table(
    "escalation_events",
    TABLES,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("service", sa.String(40), nullable=False),
    sa.Column("key", sa.String(64), nullable=False, index=True),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("status", sa.String(12), nullable=False, index=True),
    sa.Column("created", sa.String(32), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("budget", sa.Float, nullable=False, default=1.0),
    sa.Column("due", sa.String(32), nullable=False),
    sa.Column("claimed", sa.String(32)),
    sa.Column("note", sa.Text, nullable=False, default=""),
)
_RAISED = sa.Table(
    "escalation_raised",
    TABLES,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("since", sa.String(32), nullable=False),
    sa.Column("action", sa.String(12), nullable=False),
)


class Status(StrEnum):
    """How far an event has come."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What runs night after night.

    Attributes:
        key: What it is remembered under.
        project: The PySys project.
        name: What it is called: branch, job, platform; nothing that changes.
        suite: What is being watched.
    """

    key: str
    project: str
    name: str
    suite: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """An event on its way to a service.

    Attributes:
        number: In the order in which they were decided.
        service: To whom.
        event: What.
        status: How far it has come.
        created: When it was decided.
        attempts: How often it was tried in vain.
        budget: How much of the size that the service takes it may use.
        due: Before when it is not worth trying.
        note: What came back the last time.
        claimed: Until when somebody has it for himself, as a text; None if nobody.
    """

    number: int
    service: str
    event: Event
    status: Status
    created: datetime
    attempts: int
    budget: float
    due: datetime
    note: str
    claimed: str | None


class Outbox:
    """Remembers suites, and keeps what is to be told until it is.

    Threads may share it, and so may runs.

    Args:
        state: Where.
        clock: What tells the time.
        services: Who is to be told of everything.
    """

    def __init__(self, state: State, *, clock: Clock, services: Sequence[str]) -> None:
        self._state = state
        self._clock = clock
        self._services = tuple(services)

    # Deciding -------------------------------------------------------------------------

    def take_run(
        self,
        stream: Stream,
        run: Run,
        policy: Policy,
        compose: Callable[[Transition, Decision], Event],
    ) -> Decision:
        """Decide what follows from a run, and put into the outbox what is to be told.

        Args:
            stream: What has run.
            run: What it did.
            policy: What is worth an incident.
            compose: Makes an event of a transition that has an action.

        Raises:
            StateError: It cannot be remembered. Nothing is in the outbox then.
        """
        with self._state.transaction() as connection:
            decision = decide(self._history(connection, stream), run, policy)
            if decision.history is not None and not run.aborted:
                values = {
                    "project": stream.project,
                    "stream": stream.name,
                    "suite": stream.suite,
                    "history": _to_json(decision.history),
                    "reported": _text(run.at),
                }
                _put(connection, _STREAMS, stream.key, values)
            events = [compose(each, decision) for each in decision.told]
            self._add(connection, events)
        return decision

    def history(self, stream: Stream) -> History | None:
        """Return what is remembered of a stream.

        Raises:
            StateError: It cannot be read.
        """
        with self._state.transaction() as connection:
            return self._history(connection, stream)

    def take_raised(self, event: Event) -> bool:
        """Put an event into the outbox, unless it changes nothing.

        Returns:
            Whether it does: a trigger of what is open already is nothing new, and
            neither is a resolve of what is not. What was never heard of may be either.

        Raises:
            StateError: It cannot be remembered.
        """
        with self._state.transaction() as connection:
            query = sa.select(_RAISED.c.action).where(_RAISED.c.key == event.key)
            if connection.execute(query).scalar() == event.action:
                return False
            values = {"since": _text(self._clock.stamp()), "action": event.action}
            _put(connection, _RAISED, event.key, values)
            self._add(connection, [event])
            return True

    def last_report(self, suite: str, stream: str | None = None) -> datetime | None:
        """Return when a run of a suite last reported; None if none ever did.

        Args:
            suite: The suite.
            stream: The stream, if it is not any of them.

        Raises:
            StateError: It cannot be read.
        """
        query = sa.select(sa.func.max(_STREAMS.c.reported))
        query = query.where(_STREAMS.c.suite == suite)
        if stream is not None:
            query = query.where(_STREAMS.c.stream == stream)
        with self._state.transaction() as connection:
            found = connection.execute(query).scalar()
        return _stamp(found) if found else None

    # Sending --------------------------------------------------------------------------

    def claim(self, service: str) -> Letter | None:
        """Return the next letter to a service that is due, and keep others from it.

        Of one incident only the first letter that waits can be next: a resolve never
        overtakes its trigger.

        Raises:
            StateError: It cannot be read or written.
        """
        now = self._clock.stamp()
        earlier = _EVENTS.alias()
        is_first = ~sa.exists().where(
            earlier.c.service == _EVENTS.c.service,
            earlier.c.key == _EVENTS.c.key,
            earlier.c.status == Status.WAITING,
            earlier.c.number < _EVENTS.c.number,
        )
        query = (
            sa.select(_EVENTS)
            .where(
                _EVENTS.c.service == service,
                _EVENTS.c.status == Status.WAITING,
                _EVENTS.c.due <= _text(now),
                sa.or_(_EVENTS.c.claimed.is_(None), _EVENTS.c.claimed < _text(now)),
                is_first,
            )
            .order_by(_EVENTS.c.number)
            .limit(1)
        )
        with self._state.transaction() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            until = _text(now + timedelta(seconds=LEASE))
            where = _EVENTS.c.number == row["number"]
            connection.execute(_EVENTS.update().where(where).values(claimed=until))
            return replace(_letter(row), claimed=until)

    def hold(self, letter: Letter) -> Letter | None:
        """Keep a claimed letter for longer; None if somebody else has it by now."""
        until = _text(self._clock.stamp() + timedelta(seconds=LEASE))
        if not self._done(letter, {"claimed": until}):
            return None
        return replace(letter, claimed=until)

    def deliver(self, letter: Letter) -> None:
        """Note that a letter has arrived."""
        self._done(letter, {"status": Status.DELIVERED, "note": ""})

    def bury(self, letter: Letter, note: str) -> None:
        """Note that a letter was refused, and will not be tried again by itself."""
        self._done(letter, {"status": Status.DEAD, "note": note})

    def postpone(self, letter: Letter, note: str, delay: float) -> None:
        """Note that a letter could not be sent; it is due again in *delay* seconds."""
        due = self._clock.stamp() + timedelta(seconds=delay)
        self._done(
            letter,
            {"attempts": letter.attempts + 1, "due": _text(due), "note": note},
        )

    def shorten(self, letter: Letter, budget: float) -> None:
        """Note that a letter has to be shorter, and keep it."""
        self._done(letter, {"budget": budget, "claimed": letter.claimed})

    def next_due(self, service: str) -> datetime | None:
        """Return when there is something to be sent next; None if nothing waits."""
        query = sa.select(_EVENTS.c.due, _EVENTS.c.claimed).where(
            _EVENTS.c.service == service, _EVENTS.c.status == Status.WAITING
        )
        with self._state.transaction() as connection:
            rows = connection.execute(query).all()
        times = [max(due, claimed or due) for due, claimed in rows]
        return _stamp(min(times)) if times else None

    # By hand --------------------------------------------------------------------------

    def letters(self, *statuses: Status) -> list[Letter]:
        """Return the letters of these statuses, or all, oldest first.

        Raises:
            StateError: They cannot be read.
        """
        query = sa.select(_EVENTS).order_by(_EVENTS.c.number)
        if statuses:
            query = query.where(_EVENTS.c.status.in_(statuses))
        with self._state.transaction() as connection:
            return [_letter(row) for row in connection.execute(query).mappings()]

    def retry(self, numbers: Iterable[int] | None = None) -> int:
        """Let letters that were refused be sent again.

        That is none of which the incident has gone on: what was told later holds.

        Args:
            numbers: Which; all by default.

        Returns:
            How many there were.
        """
        later = _EVENTS.alias()
        where = [
            _EVENTS.c.status == Status.DEAD,
            ~sa.exists().where(
                later.c.service == _EVENTS.c.service,
                later.c.key == _EVENTS.c.key,
                later.c.number > _EVENTS.c.number,
            ),
        ]
        if numbers is not None:
            where.append(_EVENTS.c.number.in_(list(numbers)))
        now = _text(self._clock.stamp())
        values = {"status": Status.WAITING, "due": now, "claimed": None, "budget": 1.0}
        with self._state.transaction() as connection:
            done = connection.execute(_EVENTS.update().where(*where).values(values))
            return int(done.rowcount)

    def retry_waiting(self) -> None:
        """Let all that waits be due now, whatever a service has said."""
        where = _EVENTS.c.status == Status.WAITING
        values = {"due": _text(self._clock.stamp())}
        with self._state.transaction() as connection:
            connection.execute(_EVENTS.update().where(where).values(values))

    def forget(self, numbers: Iterable[int]) -> int:
        """Drop letters, wherever they are; return how many there were."""
        where = _EVENTS.c.number.in_(list(numbers))
        with self._state.transaction() as connection:
            return int(connection.execute(_EVENTS.delete().where(where)).rowcount)

    def streams(self) -> list[tuple[Stream, History, datetime]]:
        """Return what is remembered: of which stream, what, and when it reported."""
        with self._state.transaction() as connection:
            rows = connection.execute(sa.select(_STREAMS)).mappings().all()
        return [
            (
                Stream(
                    key=row["key"],
                    project=row["project"],
                    name=row["stream"],
                    suite=row["suite"],
                ),
                _from_json(row["history"]),
                _stamp(row["reported"]),
            )
            for row in rows
        ]

    # Inside ---------------------------------------------------------------------------

    def _history(self, connection: sa.Connection, stream: Stream) -> History | None:
        query = sa.select(_STREAMS.c.history).where(_STREAMS.c.key == stream.key)
        found = connection.execute(query).scalar()
        return _from_json(found) if found else None

    def _add(self, connection: sa.Connection, events: Sequence[Event]) -> None:
        now = self._clock.stamp()
        old = _text(now - _KEEP_DELIVERED)
        connection.execute(
            _EVENTS.delete().where(
                _EVENTS.c.status == Status.DELIVERED, _EVENTS.c.created < old
            )
        )
        rows = [
            {
                "service": service,
                "key": event.key,
                "event": event.to_json(),
                "status": Status.WAITING,
                "created": _text(now),
                "due": _text(now),
            }
            for event in events
            for service in self._services
        ]
        if rows:
            connection.execute(_EVENTS.insert(), rows)

    def _done(self, letter: Letter, values: Mapping[str, Any]) -> bool:
        """Write what came of a letter, unless somebody else has it by now."""
        where = [
            _EVENTS.c.number == letter.number,
            _EVENTS.c.status == Status.WAITING,
            _EVENTS.c.claimed == letter.claimed
            if letter.claimed is not None
            else _EVENTS.c.claimed.is_(None),
        ]
        update = _EVENTS.update().where(*where).values({"claimed": None, **values})
        with self._state.transaction() as connection:
            return bool(connection.execute(update).rowcount)


def _put(
    connection: sa.Connection, table: sa.Table, key: str, values: Mapping[str, Any]
) -> None:
    where = table.c.key == key
    if not connection.execute(table.update().where(where).values(values)).rowcount:
        connection.execute(table.insert().values({"key": key, **values}))


def _letter(row: sa.RowMapping) -> Letter:
    return Letter(
        number=row["number"],
        service=row["service"],
        event=Event.from_json(row["event"]),
        status=Status(row["status"]),
        created=_stamp(row["created"]),
        attempts=row["attempts"],
        budget=row["budget"],
        due=_stamp(row["due"]),
        note=row["note"],
        claimed=row["claimed"],
    )


# Texts that sort as the times do.


def _text(stamp: datetime) -> str:
    return stamp.astimezone(UTC).isoformat(timespec="microseconds")


def _stamp(text: str) -> datetime:
    return datetime.fromisoformat(text)


# Histories.


def _to_json(history: History) -> str:
    """Write a history so that `_from_json` reads it."""
    settled = None if history.settled is None else sorted(history.settled)
    said = {
        "troubles": {test: asdict(each) for test, each in history.troubles.items()},
        "opened": {group: asdict(each) for group, each in history.opened.items()},
        "settled": settled,
    }
    return json.dumps(said, default=_text, sort_keys=True)


def _from_json(text: str) -> History:
    said = json.loads(text)
    settled = said["settled"]
    return History(
        troubles={
            test: Trouble(
                **{
                    **each,
                    "since": _stamp(each["since"]),
                    "last": TestRun(
                        **{
                            **each["last"],
                            "modes": tuple(each["last"]["modes"]),
                            "broken": tuple(each["last"]["broken"]),
                        }
                    ),
                }
            )
            for test, each in said["troubles"].items()
        },
        opened={
            group: Opened(
                at=_stamp(each["at"]),
                told=_stamp(each["told"]),
                covered=each["covered"],
            )
            for group, each in said["opened"].items()
        },
        settled=None if settled is None else frozenset(settled),
    )

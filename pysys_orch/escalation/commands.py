"""``pysys-orch escalations``: to look at, and to mend, what is escalated."""

from __future__ import annotations

import argparse
import json
import random
import threading
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pysys_orch import settings
from pysys_orch.clock import SystemClock
from pysys_orch.errors import ConfigError
from pysys_orch.escalation.incident import address
from pysys_orch.inputs import utf8_text

if TYPE_CHECKING:
    from pysys_orch.escalation.incident import Service
    from pysys_orch.escalation.outbox import Letter, Outbox

_STATE = "__pysys_escalation.db"
_SERVICES = ("squadcast", "pagerduty", "alertmanager", "webhook")
_KEYS = {
    "squadcast": "ESCALATION_KEY",
    "pagerduty": "PAGERDUTY_KEY",
    "alertmanager": "",
    "webhook": "WEBHOOK_URL",
}


def register(commands: Any) -> None:  # noqa: ANN401 -- argparse has no name for it
    """Add the commands to those of ``pysys-orch``."""
    escalations = commands.add_parser(
        "escalations",
        help="look at what is escalated, send what waits, watch that suites run",
        description=(
            "Look at what a suite's results writer remembers, and at what services "
            "have still to be told."
        ),
    )
    verbs = escalations.add_subparsers(required=True, metavar="VERB")
    add = _adder(verbs)
    add("list", _list, "what waits and what was refused; with --all what arrived, too")
    add("show", _show, "all that is known of one event", numbers=1)
    add("append-file", _append_file, "where the file for PYSYS_PROJECT_APPEND is")
    add("flush", _flush, "send what waits", sends=True)
    add("retry", _retry, "let what was refused be sent again", numbers="*")
    add("forget", _forget, "drop events for ever", numbers="+")
    expect = add(
        "expect",
        _expect,
        "open an incident if a suite has not reported, resolve it if it has (for cron)",
        sends=True,
    )
    expect.add_argument("--suite", required=True, help="as the writer calls it")
    expect.add_argument("--stream", help="as the writer calls it; any by default")
    expect.add_argument(
        "--within", required=True, metavar="TIME", help="for example 26h"
    )


def _adder(verbs: Any) -> Callable[..., argparse.ArgumentParser]:  # noqa: ANN401
    def add(
        name: str,
        command: Callable[[argparse.Namespace], int],
        words: str,
        *,
        numbers: int | str | None = None,
        sends: bool = False,
    ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = verbs.add_parser(
            name, help=words, description=words
        )
        parser.add_argument(
            "--state",
            default=_STATE,
            help=f"the SQLite file, or the database URL ({_STATE})",
        )
        parser.add_argument("--json", action="store_true", help="report as JSON")
        if name == "list":
            parser.add_argument(
                "--all", action="store_true", help="also what has arrived"
            )
        if numbers is not None:
            parser.add_argument("numbers", type=int, nargs=numbers, metavar="NUMBER")
        if sends:
            parser.add_argument("--service", choices=_SERVICES, default="squadcast")
            parser.add_argument("--url", help="of the service; its own by default")
            parser.add_argument(
                "--key-variable", help="the environment variable with the key"
            )
            parser.add_argument(
                "--key-file",
                default="",
                help="a file with the key, instead; named as the writer's keyFile is",
            )
            parser.add_argument(
                "--template", help="a file with the JSON that a webhook is to be sent"
            )
            parser.add_argument("--ca-file", default="", help="certificates to trust")
            parser.add_argument(
                "--timeout", type=float, default=30.0, help="seconds (30)"
            )
        parser.set_defaults(command=command)
        return parser

    return add


# Commands.


def _list(options: argparse.Namespace) -> int:
    from pysys_orch.escalation.outbox import Status

    statuses = () if options.all else (Status.WAITING, Status.DEAD)
    letters = _outbox(options).letters(*statuses)
    if options.json:
        print(json.dumps([_row(each) for each in letters], indent=2))
        return 0
    rows = [
        (
            str(each.number),
            each.status,
            each.service,
            each.event.action,
            f"{each.created:%Y-%m-%d %H:%M}",
            each.event.summary,
            each.note,
        )
        for each in letters
    ]
    _table(["", "status", "service", "action", "since (UTC)", "summary", "note"], rows)
    return 0


def _show(options: argparse.Namespace) -> int:
    found = [
        each for each in _outbox(options).letters() if each.number in options.numbers
    ]
    if not found:
        message = f"there is no event {options.numbers[0]}"
        raise ConfigError(message)
    for each in found:
        row = _row(each)
        if options.json:
            print(json.dumps(row, indent=2))
            continue
        details = row.pop("details")
        for key, value in row.items():
            print(f"{key}: {value}")
        print(f"\n{details}")
    return 0


def _flush(options: argparse.Namespace) -> int:
    service = _service(options)
    outbox = _outbox(options, _address(options, service))
    outbox.retry_waiting()
    left = _send(options, outbox, service)
    if options.json:
        print(json.dumps([_row(each) for each in left]))
    return 1 if left else 0


def _append_file(options: argparse.Namespace) -> int:
    path = str(files("pysys_orch.escalation") / "append" / "squadcast.xml")
    _say(options, {"file": path}, path)
    return 0


def _retry(options: argparse.Namespace) -> int:
    outbox = _outbox(options)
    count = outbox.retry(options.numbers or None)
    _say(options, {"due": count}, f"{count} will be sent by the next run, or by flush")
    return 0 if count or not options.numbers else 1


def _forget(options: argparse.Namespace) -> int:
    count = _outbox(options).forget(options.numbers)
    _say(options, {"forgotten": count}, f"{count} forgotten")
    return 0 if count == len(set(options.numbers)) else 1


def _expect(options: argparse.Namespace) -> int:
    from pysys_orch.escalation.incident import Action, Event, event_id
    from pysys_orch.escalation.options import duration

    within = duration(options.within, "--within")
    service = _service(options)
    outbox = _outbox(options, _address(options, service))
    now = SystemClock().stamp()
    last = outbox.last_report(options.suite, options.stream)
    is_late = last is None or now - last > within
    words = f"{options.suite} has never reported"
    if last is not None:
        words = f"{options.suite} last reported {last:%Y-%m-%d %H:%M} UTC"
    event = Event(
        key=event_id("expected", options.suite, options.stream or ""),
        action=Action.TRIGGER if is_late else Action.RESOLVE,
        summary=f"{words}, and should within {options.within}" if is_late else words,
        details=f"{words}. It is expected to run to its end every {options.within}.",
        tags={"suite": options.suite, "group": "(expected)"},
    )
    outbox.take_raised(event)
    _say(options, {"late": is_late, "words": words}, event.summary)
    return 1 if _send(options, outbox, service) or is_late else 0


# What they have in common.


def _outbox(options: argparse.Namespace, *addresses: str) -> Outbox:
    from pysys_orch.escalation.outbox import TABLES, VERSION, Outbox
    from pysys_orch.state import State

    is_file = "://" not in options.state
    if is_file and not addresses and not Path(options.state).exists():
        message = f"there is no {options.state} here: --state says where it is"
        raise ConfigError(message)
    state = State(options.state, TABLES, name="escalation", version=VERSION)
    return Outbox(state, clock=SystemClock(), services=addresses)


def _address(options: argparse.Namespace, service: Service) -> str:
    """Return the address that the writer has, of which the defaults are the same."""
    from pysys_orch.escalation.options import URLS

    url = options.url or URLS.get(options.service, "")
    return address(service.name, url, options.key_file or _key_variable(options))


def _service(options: argparse.Namespace) -> Service:
    from pysys_orch.escalation.alertmanager import Alertmanager
    from pysys_orch.escalation.pagerduty import PagerDuty
    from pysys_orch.escalation.squadcast import SquadCast
    from pysys_orch.escalation.webhook import Webhook

    if options.key_file and options.key_variable:
        message = "the key is in --key-file or in --key-variable: name one of them"
        raise ConfigError(message)
    if options.template and options.service != "webhook":
        message = f"--template is for --service webhook, got {options.service}"
        raise ConfigError(message)
    url = {} if options.url is None else {"url": options.url}
    if options.service == "alertmanager":
        if not url:
            message = "--url says where the Alertmanager is"
            raise ConfigError(message)
        return Alertmanager(options.url)
    key = _key(options)
    if options.service == "webhook":
        if not options.template:
            return Webhook(key)
        template = utf8_text(Path(options.template))
        return Webhook(key, template, origin=options.template)
    if options.service == "pagerduty":
        return PagerDuty(key, **url)
    return SquadCast(key, **url)


def _key_variable(options: argparse.Namespace) -> str:
    return str(options.key_variable or _KEYS[options.service])


def _key(options: argparse.Namespace) -> str:
    """Return the key of a service.

    Raises:
        ConfigError: There is none.
    """
    if options.key_file:
        key = utf8_text(Path(options.key_file)).strip()
        missing = f"{options.key_file} with the key is empty"
    else:
        variable = _key_variable(options)
        key = (settings.variable(variable) or "").strip()
        missing = f"the environment variable {variable} with the key is not set"
    if not key:
        raise ConfigError(missing)
    return key


def _send(
    options: argparse.Namespace, outbox: Outbox, service: Service
) -> list[Letter]:
    """Send what waits for an account; return what is left."""
    from pysys_orch.escalation.delivery import Courier
    from pysys_orch.escalation.outbox import Status
    from pysys_orch.escalation.transport import HttpTransport

    clock, to = SystemClock(), _address(options, service)
    courier = Courier(
        outbox,
        service,
        HttpTransport(ca_file=options.ca_file),
        address=to,
        clock=clock,
        stop=threading.Event(),
        generator=random.Random(),  # noqa: S311 -- only spreads attempts
    )
    courier.flush(clock.instant() + options.timeout)
    left = [
        each
        for each in outbox.letters(Status.WAITING, Status.DEAD)
        if each.service == to
    ]
    for each in () if options.json else left:
        print(f"{each.status}: {each.event.summary}: {each.note}")
    return left


def _row(letter: Letter) -> dict[str, Any]:
    return {
        "number": letter.number,
        "status": letter.status,
        "service": letter.service,
        "action": letter.event.action,
        "event_id": letter.event.key,
        "summary": letter.event.summary,
        "created": letter.created.isoformat(),
        "due": letter.due.isoformat(),
        "attempts": letter.attempts,
        "note": letter.note,
        "tags": dict(letter.event.tags),
        "details": letter.event.details,
    }


def _say(options: argparse.Namespace, said: object, words: str) -> None:
    print(json.dumps(said) if options.json else words)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())

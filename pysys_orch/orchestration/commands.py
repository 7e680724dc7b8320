"""``pysys-orch preview``, ``report`` and ``schema``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pysys_orch.errors import ConfigError

if TYPE_CHECKING:
    from pysys_orch.orchestration.preview import Preview

_SEED = 0
_FEW = 40


def register(commands: Any) -> None:  # noqa: ANN401 -- argparse has no name for it
    """Add the commands to those of ``pysys-orch``."""
    preview = commands.add_parser(
        "preview",
        help="show what an orchestration will do",
        description=(
            "Show when the events of a description fire, without firing them. Their "
            "functions are not looked for: `pysys run -XloadOrch` does that."
        ),
    )
    preview.add_argument("file", type=Path, help="the description")
    preview.add_argument(
        "--limit", type=int, default=_FEW, help=f"how many firings to list ({_FEW})"
    )
    preview.add_argument("--hours", type=float, help="as -XruntimeHours does")
    preview.add_argument(
        "--seed",
        type=int,
        default=_SEED,
        help="what decides on all that is random, if the description does not",
    )
    output = preview.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="report as JSON")
    output.add_argument(
        "--html", type=Path, metavar="FILE", help="draw it into a file instead"
    )
    preview.set_defaults(command=_preview)
    report = commands.add_parser(
        "report",
        help="show what an orchestration did",
        description=(
            "Show what became of the events of a run, from its journal: also of one "
            "that was killed, or still goes on."
        ),
    )
    report.add_argument("place", type=Path, help="the output directory of the test")
    report.add_argument(
        "--html", type=Path, metavar="FILE", help="draw it into a file instead"
    )
    report.set_defaults(command=_report)
    schema = commands.add_parser(
        "schema",
        help="print a JSON Schema, for editors",
        description="Print the JSON Schema of a file that people write.",
    )
    schema.add_argument("what", choices=["orchestration"])
    schema.set_defaults(command=_schema)


def _preview(options: argparse.Namespace) -> int:
    from pysys_orch.clock import SystemClock
    from pysys_orch.orchestration.preview import lines, picture, preview
    from pysys_orch.orchestration.reading import DescriptionError, read
    from pysys_orch.orchestration.timeline import Timeline

    if options.limit < 0:
        message = f"--limit is at least 0, got {options.limit}"
        raise ConfigError(message)
    draft = read(options.file)
    if draft.problems:
        for each in DescriptionError(draft.document, draft.problems).problems:
            print(f"{options.file}:{each}", file=sys.stderr)
        return 2
    description = draft.checked()
    if options.hours is not None:
        description = draft.lasting(options.hours).checked()
    seed = options.seed if description.seed is None else description.seed
    timeline = Timeline(description, seed=seed, begin=SystemClock().stamp())
    shown = preview(description, timeline, options.limit)
    if options.json:
        print(json.dumps(_as_json(shown), indent=2))
    elif options.html is not None:
        _write(options.html, picture(shown))
    else:
        print("\n".join(lines(shown)))
    return 0


def _report(options: argparse.Namespace) -> int:
    from pysys_orch.orchestration.review import picture, review, words

    found = review(options.place)
    if options.html is not None:
        _write(options.html, picture(found))
    else:
        print("\n".join(words(found)))
    return 0


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as failure:
        message = f"{file} cannot be written: {failure.strerror}"
        raise ConfigError(message) from None
    print(file)


def _as_json(shown: Preview) -> dict[str, Any]:
    names = [each.name for each in shown.description.events]
    return {
        "test_name": shown.description.test_name,
        "total": shown.description.total,
        "counts": [
            {"event": name, "count": count}
            for name, count in zip(names, shown.counts, strict=True)
        ],
        "firings": [
            {
                "due": each.due,
                "event": names[each.event],
                "ordinal": each.ordinal,
                "phase": each.phase,
            }
            for each in shown.firings
        ],
        "teardown": [names[index] for index in shown.timeline.teardown()],
        "notes": list(shown.notes),
    }


def _schema(options: argparse.Namespace) -> int:
    from pysys_orch.orchestration.reading import schema

    del options
    json.dump(schema(), sys.stdout, indent=2)
    print()
    return 0

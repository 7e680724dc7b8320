"""Pictures of a run: one row for each event, time going from left to right."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pysys_orch.orchestration.summary import span

#: More than this is sampled: browsers, and eyes, take no more.
MOST_MARKS = 10_000

_WIDTH, _LEFT, _ROW, _HEAD = 1000, 220, 22, 40
_NARROWEST = 2.0
_TICKS = 8
_STYLE = """\
body { font: 14px sans-serif; margin: 2em; }
svg { width: 100%; overflow: visible; }
rect { fill: #2463a5; }
rect.end, rect.undo { fill: #7a5aa8; }
rect.failed, rect.abandoned, rect.timed { fill: #c0261c; }
rect.skipped, rect.dropped, rect.missed, rect.cancelled { fill: none; stroke: #b5841c; }
rect.phase { fill: #f3f3f3; }
line { stroke: #ddd; }
text { font-size: 12px; }
text.tick, text.phase { text-anchor: middle; fill: #666; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happens in a row.

    Attributes:
        row: Which row, from 0.
        begin: When it begins, in seconds.
        end: When it ends.
        kind: What it is drawn as.
        title: What is said of it when it is pointed at.
    """

    row: int
    begin: float
    end: float
    kind: str = ""
    title: str = ""


def page(
    title: str,
    words: str,
    *,
    rows: Sequence[str],
    total: float,
    marks: Iterable[Mark],
    phases: Sequence[tuple[str, float, float]] = (),
) -> str:
    """Return a page that needs no other file.

    Args:
        title: Its title.
        words: What is said below that.
        rows: What the rows are called.
        total: How many seconds there are from left to right.
        marks: What happens.
        phases: Stretches, each with its name, its begin and its end.
    """
    scale = (_WIDTH - _LEFT) / max(total, 1e-9)
    height = _HEAD + _ROW * len(rows) + 10
    parts = []
    for index, (name, begin, end) in enumerate(phases):
        x, wide = _LEFT + begin * scale, (end - begin) * scale
        if index % 2 == 0:
            parts.append(
                f'<rect class="phase" x="{x:.1f}" y="{_HEAD - 6}" width="{wide:.1f}" '
                f'height="{height - _HEAD}"/>'
            )
        parts.append(
            f'<text class="phase" x="{x + wide / 2:.1f}" y="{height + 10}">'
            f"{html.escape(name)}</text>"
        )
    for number in range(_TICKS + 1):
        x = _LEFT + (_WIDTH - _LEFT) * number / _TICKS
        at = span(round(total * number / _TICKS, 3))
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_HEAD - 6}" y2="{height}"/>'
            f'<text class="tick" x="{x:.1f}" y="{_HEAD - 12}">{at}</text>'
        )
    for index, name in enumerate(rows):
        y = _HEAD + _ROW * index + 15
        parts.append(f'<text x="0" y="{y}">{html.escape(name)}</text>')
    for mark in marks:
        x = _LEFT + mark.begin * scale
        wide = max(_NARROWEST, (mark.end - mark.begin) * scale)
        kind = f' class="{mark.kind}"' if mark.kind else ""
        parts.append(
            f'<rect{kind} x="{x:.1f}" y="{_HEAD + _ROW * mark.row + 4}" '
            f'width="{wide:.1f}" height="{_ROW - 8}">'
            f"<title>{html.escape(mark.title)}</title></rect>"
        )
    drawn = "\n".join(parts)
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{html.escape(title)}</title>
<style>
{_STYLE}</style>
<h1>{html.escape(title)}</h1>
<p>{html.escape(words)}</p>
<svg viewBox="0 0 {_WIDTH + 10} {height + 20}">
{drawn}
</svg>
</html>
"""

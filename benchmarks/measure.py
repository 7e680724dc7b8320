"""Rounds, figures, ratios and verdicts: what all benchmarks share."""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

#: What one measurement yields: milliseconds by name; ``total`` is what is compared.
Figures = dict[str, float]
#: Variant -> its figures, one for each round.
Samples = dict[str, list[Figures]]

_PROBE = 0.2
_PATIENCE = 60.0
_TELLING = 5


class Stopwatch:
    """Takes the milliseconds of one step after another."""

    def __init__(self) -> None:
        self.figures: Figures = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.figures[name] = (time.perf_counter() - begin) * 1000

    def total(self) -> Figures:
        return {"total": sum(self.figures.values()), **self.figures}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A median, and where it lies with 95 % confidence."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Return the interval by order statistics, which assume no distribution.

        Of five values it is their whole range, fewer do not tell.
        """
        ordered = sorted(values)
        if len(ordered) < _TELLING:
            median = statistics.median(ordered)
            return cls(low=-math.inf, median=median, high=math.inf)
        count, cut, tail = len(ordered), 0, 0.0
        while (tail := tail + math.comb(count, cut) / 2**count) <= 0.025:
            cut += 1
        cut = max(cut - 1, 0)
        return cls(
            low=ordered[cut],
            median=statistics.median(ordered),
            high=ordered[count - 1 - cut],
        )

    def __str__(self) -> str:
        known = math.isfinite(self.low)
        between = f"{self.low:.2f}-{self.high:.2f}" if known else "few rounds"
        return f"{self.median:.2f} ({between})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something that is promised, and what was measured of it."""

    promise: str
    measured: Interval
    limit: float
    unit: str = "x"

    @property
    def verdict(self) -> str:
        if self.measured.median <= self.limit:
            return "holds"
        # Less than the noise above the limit: more rounds would tell.
        return "MISSED" if self.measured.low > self.limit else "unclear"

    def __str__(self) -> str:
        said = f"{self.promise}: {self.measured} {self.unit}, bar {self.limit:g}"
        return f"{self.verdict:>8}  {said}"


@dataclass(kw_only=True)
class Report:
    """What a benchmark found.

    Attributes:
        title: What was measured.
        samples: The figures.
        baseline: The variant that ratios refer to.
        unit: Of the figures.
        bars: What is promised.
        notes: What a reader must know.
        busy: Per cent of the CPUs that other processes used, before each measurement.
    """

    title: str
    samples: Samples
    baseline: str
    unit: str = "ms"
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        rounds = max(len(each) for each in self.samples.values())
        lines = [f"## {self.title}", "", *_table(self), ""]
        lines += [str(bar) for bar in self.bars]
        lines += [f"    note  {note}" for note in self.notes]
        if self.busy:
            median, most = statistics.median(self.busy), max(self.busy)
            lines.append(
                f"          {rounds} rounds; other processes used {median:.0f} % of "
                f"the CPUs (median before a measurement), at most {most:.0f} %"
            )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """How often to measure, and when.

    Attributes:
        number: Of rounds; None for each benchmark's own.
        quiet: A measurement begins once other processes use at most so many per cent of
            the CPUs, or after a minute.
    """

    number: int | None = None
    quiet: float = 100

    def interleave(
        self,
        variants: Mapping[str, Callable[[], Figures]],
        rounds: int,
        *,
        warm_up: bool = True,
    ) -> tuple[Samples, list[float]]:
        """Measure all variants in each round, in an order drawn anew for each.

        Returns:
            The figures, and how busy other processes were before each measurement.
        """
        samples: Samples = {name: [] for name in variants}
        busy: list[float] = []
        for number in range(-int(warm_up), self.number or rounds):
            for name in random.sample(list(variants), len(variants)):
                progress(f"round {number + 1 or 'to warm up'}: {name}")
                seen = self._when_quiet()
                figures = variants[name]()
                if number >= 0:
                    busy.append(seen)
                    samples[name].append(figures)
        progress("")
        return samples, busy

    def _when_quiet(self) -> float:
        deadline = time.monotonic() + _PATIENCE
        while (busy := _busy()) > self.quiet and time.monotonic() < deadline:
            time.sleep(_PROBE)
        return busy


def ratio(samples: Samples, name: str, other: str, figure: str = "total") -> Interval:
    """Return how often *other* fits into *name*, compared round by round."""
    pairs = zip(samples[name], samples[other], strict=True)
    return Interval.of([one[figure] / two[figure] for one, two in pairs])


def values(samples: Samples, name: str, figure: str = "total") -> Interval:
    """Return the interval of one figure."""
    return Interval.of([each[figure] for each in samples[name]])


def best(samples: Samples, names: Sequence[str], figure: str = "total") -> str:
    """Return which of *names* has the lowest median."""
    return min(names, key=lambda name: values(samples, name, figure).median)


def alone(module: str, name: str, *arguments: object) -> Figures:
    """Measure in a process of its own.

    Args:
        module: Prints figures as JSON.
        name: What it is to measure.
        arguments: Of that.
    """
    argv = [sys.executable, "-m", module, name, *map(str, arguments)]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def progress(words: str) -> None:
    """Show on a terminal what is going on, and nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)


def _table(report: Report) -> Iterator[str]:
    names = sorted(report.samples, key=lambda name: values(report.samples, name).median)
    figures = list(
        dict.fromkeys(key for each in report.samples.values() for key in each[0])
    )
    figures.remove("total")
    width = max(len(name) for name in names)
    yield (
        f"{'':{width}} {'median ' + report.unit:>11} {'quartiles':>17} "
        f"{'ratio (95 %)':>18}" + "".join(f"{figure:>12}" for figure in figures)
    )
    for name in names:
        totals = [each["total"] for each in report.samples[name]]
        first, median, third = (
            statistics.quantiles(totals, n=4, method="inclusive")
            if len(totals) > 1
            else totals * 3
        )
        compared = ratio(report.samples, name, report.baseline)
        rest = "".join(
            f"{values(report.samples, name, figure).median:12.1f}"
            if figure in report.samples[name][0]
            else f"{'-':>12}"
            for figure in figures
        )
        quartiles = f"{first:.1f}-{third:.1f}"
        yield f"{name:{width}} {median:11.1f} {quartiles:>17} {compared!s:>18}{rest}"


def _busy() -> float:
    """Return the per cent of the CPUs in use, while we do nothing."""
    before = _ticks()
    time.sleep(_PROBE)
    spent = [after - first for first, after in zip(before, _ticks(), strict=True)]
    idle = spent[3] + spent[4]  # idle and iowait; see proc(5)
    return 100 * (1 - idle / (sum(spent) or 1))


def _ticks() -> list[int]:
    first = Path("/proc/stat").read_text().partition("\n")[0]
    return [int(field) for field in first.split()[1:9]]


def command_line(
    which: str,
    names: Collection[str],
    *,
    to_json: bool = False,
    numbers: Mapping[str, tuple[int, str]] | None = None,
) -> argparse.Namespace:
    """Return what is said on the command line of benchmarks.

    Args:
        which: Which package of benchmarks it is.
        names: What there is to measure.
        to_json: Whether figures can be written to a file.
        numbers: What else can be said, each with its default and what it is.
    """
    listed = ", ".join(names)
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{which}")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {listed}; or all")
    parser.add_argument("--rounds", type=int, help="instead of each one's own number")
    parser.add_argument(
        "--quiet",
        type=float,
        default=100,
        metavar="PERCENT",
        help="wait until other processes use no more of the CPUs, a minute at most",
    )
    if to_json:
        parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    for name, (default, what) in (numbers or {}).items():
        words = f"{what}; {default} by default"
        parser.add_argument(f"--{name}", type=_count, default=default, help=words)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {listed}")
    return arguments


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        message = f"has to be 1 or more, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def run_all(
    benchmarks: Mapping[str, Callable[[], Iterator[Report]]], names: Iterable[str]
) -> tuple[list[Report], int]:
    """Run benchmarks, and print what each of them reports as soon as it does.

    One that breaks does not keep the others from being measured.

    Args:
        benchmarks: What there is to measure.
        names: What of it to measure; nothing is all of it.

    Returns:
        The reports, and the exit status.
    """
    reports: list[Report] = []
    broken = 0
    begin = time.monotonic()
    for name in names or benchmarks:
        try:
            for report in benchmarks[name]():
                reports.append(report)
                print(f"\n{report}", flush=True)
        except Exception:  # noqa: BLE001 -- the others are measured all the same
            traceback.print_exc()
            broken += 1
    if len(reports) > 1:
        print("\n## Bars\n")
        for report in reports:
            print(f"{report.title}", *report.bars, sep="\n  ")
    print(f"\n{time.monotonic() - begin:.0f} s altogether")
    return reports, 1 if broken else 0

"""What is known of cases, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from pysys_orch.livecheck.models import State
from pysys_orch.livecheck.spread import BOUNDS, Spread
from pysys_orch.livecheck.troubles import Condition
from pysys_orch.livecheck.views import CaseView

#: The type of what `metrics_text` returns.
CONTENT_TYPE = CONTENT_TYPE_LATEST

_Family = type[CounterMetricFamily] | type[GaugeMetricFamily]

# What there is one figure of for each case.
_OF_EACH: tuple[tuple[_Family, str, str, Callable[[CaseView], float]], ...] = (
    (
        CounterMetricFamily,
        "stalls",
        "How often no test came for too long.",
        lambda view: view.stalls,
    ),
    (
        CounterMetricFamily,
        "signals_lost",
        "Signals that were dropped, as too many came that nobody waited for.",
        lambda view: view.lost,
    ),
    (
        GaugeMetricFamily,
        "consecutive_failures",
        "Tests that did not pass, one after the other, up to now.",
        lambda view: view.consecutive_failures,
    ),
    (
        GaugeMetricFamily,
        "pending",
        "Tests that wait for a signal.",
        lambda view: view.waiting,
    ),
)
_STATES = [state for state in State if state is not State.SKIP]
_LIMITS = [*map(floatToGoString, BOUNDS), "+Inf"]


def metrics_text(views: Sequence[CaseView]) -> bytes:
    """Return how cases are, in the text format of Prometheus.

    It takes a while if there are many, and any thread may do it.

    Args:
        views: The cases.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Views(views))
    text: bytes = generate_latest(registry)
    return text


class _Views(Collector):
    def __init__(self, views: Sequence[CaseView]) -> None:
        self._views = views

    def collect(self) -> Iterable[Metric]:
        """Yield what there is to know."""
        yield from _conditions(self._views)
        yield from _counts(self._views)
        yield from _times(self._views)


def _conditions(views: Sequence[CaseView]) -> Iterator[Metric]:
    status = GaugeMetricFamily(
        "livecheck_status",
        "1 for how the last test of a case ended, or for what is wrong with the case.",
        labels=("case", "state"),
    )
    condition = GaugeMetricFamily(
        "livecheck_condition",
        "1 for what is wrong with a case, and confirmed.",
        labels=("case", "condition"),
    )
    flapping = GaugeMetricFamily(
        "livecheck_flapping",
        "1 for a case that changes all the time.",
        labels=("case",),
    )
    for view in views:
        for state in _STATES:
            status.add_metric((view.name, state.value), view.status is state)
        for each in Condition:
            condition.add_metric((view.name, each.value), view.condition is each)
        flapping.add_metric((view.name,), view.is_flapping)
    yield status
    yield condition
    yield flapping


def _counts(views: Sequence[CaseView]) -> Iterator[Metric]:
    executions = CounterMetricFamily(
        "livecheck_executions",
        "Tests, by how they ended.",
        labels=("case", "state"),
    )
    transitions = CounterMetricFamily(
        "livecheck_transitions",
        "Changes from one condition to another.",
        labels=("case", "from", "to"),
    )
    for view in views:
        for state, count in view.by_state.items():
            executions.add_metric((view.name, state.value), count)
        for (source, target), count in view.transitions.items():
            transitions.add_metric((view.name, source.value, target.value), count)
    yield executions
    yield transitions
    for kind, name, words, figure in _OF_EACH:
        family = kind(f"livecheck_{name}", words, labels=("case",))
        for view in views:
            family.add_metric((view.name,), figure(view))
        yield family


def _times(views: Sequence[CaseView]) -> Iterator[Metric]:
    last = GaugeMetricFamily(
        "livecheck_last_test_timestamp_seconds",
        "When the last test came, as Unix time.",
        labels=("case",),
    )
    runtime = HistogramMetricFamily(
        "livecheck_runtime_seconds",
        "How long tests took that passed.",
        labels=("case",),
    )
    latency = HistogramMetricFamily(
        "livecheck_signal_latency_seconds",
        "How long a signal was waited for.",
        labels=("case", "signal"),
    )
    for view in views:
        if view.last_test is not None:
            last.add_metric((view.name,), view.last_test.timestamp())
        runtime.add_metric((view.name,), _buckets(view.runtime), view.runtime.total)
        for name, spread in view.signals.items():
            latency.add_metric((view.name, name), _buckets(spread), spread.total)
    yield last
    yield runtime
    yield latency


def _buckets(spread: Spread) -> list[tuple[str, float]]:
    counts = (*spread.buckets, spread.count)
    return [*zip(_LIMITS, map(float, counts), strict=True)]

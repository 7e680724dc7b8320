"""Prometheus reads what there is to know."""

from __future__ import annotations

import json
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from pysys_orch.livecheck import Case, Signal
from tests.livecheck.receiving import Site, serve

#: A name that would end a label, or a line.
NASTY = 'a "quoted" \\ name\nof <two> lines {x="y"}'


def test_all_of_it_is_read_by_a_parser() -> None:
    """From a real answer: what each case did, and how long that took."""

    async def scene(site: Site) -> None:
        await site.run("a")
        await site.run("b", 2)
        await site.run("c", 2)
        assert (await site.post("/trigger", {"case": "Order", "id": "d"}))[0] == 200
        status, text, headers = await site.ask("GET", "/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=")
        found = samples(text)
        case = {"case": "Order"}
        assert value(found, "livecheck_status", **case, state="FAIL") == 1
        assert value(found, "livecheck_status", **case, state="PASS") == 0
        assert value(found, "livecheck_condition", **case, condition="healthy") == 1
        assert value(found, "livecheck_condition", **case, condition="failing") == 0
        assert value(found, "livecheck_executions_total", **case, state="PASS") == 1
        assert value(found, "livecheck_executions_total", **case, state="FAIL") == 2
        assert value(found, "livecheck_consecutive_failures", **case) == 2
        assert value(found, "livecheck_pending", **case) == 1
        assert value(found, "livecheck_stalls_total", **case) == 0
        assert value(found, "livecheck_signals_lost_total", **case) == 0
        steps = {"from": "unknown", "to": "healthy"}
        assert value(found, "livecheck_transitions_total", **case, **steps) == 1
        last = value(found, "livecheck_last_test_timestamp_seconds", **case)
        assert abs(last - site.app.clock.stamp().timestamp()) < 10
        latency = "livecheck_signal_latency_seconds"
        assert value(found, f"{latency}_count", **case, signal="sent") == 3
        assert value(found, f"{latency}_bucket", **case, signal="sent", le="+Inf") == 3
        assert value(found, f"{latency}_count", **case, signal="shipped") == 0
        assert value(found, "livecheck_runtime_seconds_count", **case) == 1
        assert 0 <= value(found, "livecheck_runtime_seconds_sum", **case) < 10

    serve(scene)


def test_names_are_escaped() -> None:
    """A case may be called as somebody likes."""

    class Odd(Case):
        go: Signal[int]

    async def scene(site: Site) -> None:
        site.app.add_case(Odd, name=NASTY)
        _, text, _ = await site.ask("GET", "/metrics")
        names = {labels["case"] for _, labels, _ in samples(text)}
        assert names == {"Order", NASTY}

    serve(scene)


def test_buckets_only_grow() -> None:
    """Each has all of those before it, up to the count."""

    async def scene(site: Site) -> None:
        for number in range(5):
            await site.run(str(number))
        _, text, _ = await site.ask("GET", "/metrics")
        found = samples(text)
        counts = [
            count
            for name, _, count in found
            if name == "livecheck_runtime_seconds_bucket"
        ]
        assert counts == sorted(counts)
        assert counts[-1] == 5

    serve(scene)


def test_two_receivers_know_nothing_of_each_other() -> None:
    """Nor is there anything of them in the registry of the program."""

    async def scene(site: Site) -> None:
        await site.run("a")
        _, text, _ = await site.ask("GET", "/metrics")
        assert "livecheck_status" in text

    for _ in range(2):
        serve(scene)
    names = {metric.name for metric in REGISTRY.collect()}
    assert not [name for name in names if name.startswith("livecheck")]


def samples(text: str) -> list[tuple[str, dict[str, str], float]]:
    """Return names, labels and values, as Prometheus' own parser reads them."""
    return [
        (sample.name, dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def value(
    found: list[tuple[str, dict[str, str], float]], name: str, **labels: Any
) -> float:
    """Return the only value with a name and these labels."""
    values = [count for each, known, count in found if (each, known) == (name, labels)]
    assert len(values) == 1, json.dumps([name, labels])
    return values[0]

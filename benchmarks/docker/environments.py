"""Services, stacks and compositions come up and go; a compose file is tailored."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.docker.bench import BUSYBOX, Bench
from benchmarks.measure import (
    Bar,
    Figures,
    Report,
    Rounds,
    Stopwatch,
    ratio,
    values,
)
from pysys_orch.docker.engine import tailor

ROUNDS = 7
_POLL = 0.02
_SERVICES = ("one", "two", "three")
# It ignores SIGTERM, as the first process of a container does that has no handler.
_SLEEP = ["sleep", "1000"]
_OURS = "pysys_orch"
_RAW = "raw"


def run(bench: Bench, rounds: Rounds) -> Iterator[Report]:
    """Compare with the raw API and docker's own clients."""
    begun = bench.raw.ask("GET", "/info")["Swarm"]["LocalNodeState"] == "inactive"
    if begun:
        address = {"ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1"}
        bench.raw.ask("POST", "/swarm/init", address)
    try:
        yield _services(bench, rounds)
        yield _stacks(bench, rounds)
    finally:
        if begun:
            bench.raw.ask("POST", "/swarm/leave", force=1)
    yield from _compositions(bench, rounds)
    yield _tailoring(rounds)


def _services(bench: Bench, rounds: Rounds) -> Report:
    samples, busy = rounds.interleave(
        {
            _RAW: partial(_raw_service, bench),
            "docker CLI, waiting": partial(_cli_service, bench),
            _OURS: bench.in_worker("service"),
        },
        ROUNDS,
    )
    return Report(
        title="A service of one task: created until it runs, and gone",
        samples=samples,
        baseline=_RAW,
        busy=busy,
        bars=[
            Bar(
                promise=f"created to running against the raw API, {_POLL * 1000:g} ms",
                measured=ratio(samples, _OURS, _RAW, "up"),
                limit=1.2,
            ),
            Bar(
                promise="created to running against the CLI's wait",
                measured=ratio(samples, _OURS, "docker CLI, waiting", "up"),
                limit=0.2,
            ),
        ],
    )


def _stacks(bench: Bench, rounds: Rounds) -> Report:
    file = bench.folder / "stack.yml"
    file.write_text(_file(version="3.8"), encoding="utf-8")
    samples, busy = rounds.interleave(
        {
            _RAW: partial(_raw_stack, bench),
            _OURS: bench.in_worker("stack", str(file)),
        },
        ROUNDS,
    )
    return Report(
        title=f"A stack of {len(_SERVICES)} services: up, and gone",
        samples=samples,
        baseline=_RAW,
        busy=busy,
        bars=[
            Bar(
                promise="up and gone against the raw API",
                measured=ratio(samples, _OURS, _RAW),
                limit=1.3,
            )
        ],
    )


def _compositions(bench: Bench, rounds: Rounds) -> Iterator[Report]:
    file = bench.folder / "compose.yml"
    file.write_text(_file(), encoding="utf-8")
    compose = "docker compose, down -t 0"
    samples, busy = rounds.interleave(
        {
            compose: partial(_compose, bench, file, "--timeout=0"),
            _OURS: bench.in_worker("composition", str(file)),
        },
        ROUNDS,
    )
    yield Report(
        title=f"A composition of {len(_SERVICES)} services that ignore SIGTERM",
        samples=samples,
        baseline=compose,
        busy=busy,
        bars=[
            Bar(
                promise="up against `docker compose up -d` alone",
                measured=ratio(samples, _OURS, compose, "up"),
                limit=1.1,
            ),
            Bar(
                promise="down",
                measured=values(samples, _OURS, "down"),
                limit=1000,
                unit="ms",
            ),
        ],
        notes=["up of pysys_orch includes tailoring the file, and waiting"],
    )


def _tailoring(rounds: Rounds) -> Report:
    lines = ["x-env: &env {LEVEL: debug}", "services:"]
    while len(lines) < 995:
        number = len(lines)
        lines += [
            f"  service{number}:",
            f"    image: nginx:1.{number % 7}",
            f'    ports: ["{8000 + number}:80"]',
            "    environment: *env",
            f"    volumes: [./data{number}:/data]",
            "    healthcheck:",
            '      test: ["CMD", "true"]',
            "      interval: 5s",
            f"    container_name: the-{number}",
            "    networks: [default]",
        ]
    text = "\n".join(lines)
    wishes = tailor.Wishes(
        project="project",
        images={f"nginx:1.{number}": BUSYBOX for number in range(7)},
        host_paths={"./data2": "/elsewhere"},
    )

    def tailoring() -> Figures:
        watch = Stopwatch()
        with watch.step("tailor"):
            tailor.survey(text, name="file", variables={})
            tailor.tailor(text, wishes, name="file")
        return watch.total()

    samples, busy = rounds.interleave({_OURS: tailoring}, 20)
    return Report(
        title=f"Tailoring a file of {len(lines)} lines",
        samples=samples,
        baseline=_OURS,
        busy=busy,
        bars=[
            Bar(
                promise="read and tailored",
                measured=values(samples, _OURS),
                limit=100,
                unit="ms",
            )
        ],
    )


def _file(version: str = "") -> str:
    service = {"image": BUSYBOX, "command": _SLEEP}
    document: dict[str, object] = {"version": version} if version else {}
    document["services"] = dict.fromkeys(_SERVICES, service)
    return json.dumps(document, indent=1)  # which is YAML, too


# The raw API ----------------------------------------------------------------------


def _raw_service(bench: Bench) -> Figures:
    watch = Stopwatch()
    with watch.step("up"):
        service = _create(bench, bench.name("service"), {})
        _wait(lambda: _runs(bench, {"service": [service]}, 1))
    with watch.step("down"):
        bench.raw.ask("DELETE", f"/services/{service}")
        _end_tasks(bench, [service])
    return watch.total()


def _raw_stack(bench: Bench) -> Figures:
    watch = Stopwatch()
    stack = bench.name("stack")
    with watch.step("up"):
        body = {"Name": f"{stack}_default", "Driver": "overlay"}
        body["Labels"] = bench.labels()
        network = bench.raw.ask("POST", "/networks/create", body)["Id"]
        attached = {"Networks": [{"Target": network}]}
        services = [
            _create(bench, f"{stack[:50]}_{name}", attached) for name in _SERVICES
        ]
        _wait(lambda: _runs(bench, {"service": services}, len(services)))
    with watch.step("down"):
        for service in services:
            bench.raw.ask("DELETE", f"/services/{service}")
        _end_tasks(bench, services)
        _wait(lambda: _removed(bench, f"/networks/{network}"))
    return watch.total()


def _create(bench: Bench, name: str, more: Mapping[str, object]) -> str:
    container = {"Image": BUSYBOX, "Command": _SLEEP}
    body = {
        "Name": name,
        "Labels": bench.labels(),
        "TaskTemplate": {"ContainerSpec": container, **more},
        "Mode": {"Replicated": {"Replicas": 1}},
    }
    return str(bench.raw.ask("POST", "/services/create", body)["ID"])


def _runs(bench: Bench, filters: Mapping[str, object], number: int) -> bool:
    tasks = bench.raw.ask("GET", "/tasks", filters=json.dumps(filters))
    return sum(each["Status"]["State"] == "running" for each in tasks) == number


def _end_tasks(bench: Bench, services: list[str]) -> None:
    def ended() -> bool:
        labels = [f"com.docker.swarm.service.id={each}" for each in services]
        found = [
            each["Id"]
            for label in labels
            for each in bench.raw.ask(
                "GET", "/containers/json", all=1, filters=json.dumps({"label": [label]})
            )
        ]
        bench.remove(found)
        return not found

    _wait(ended)


def _removed(bench: Bench, path: str) -> bool:
    try:
        bench.raw.ask("DELETE", path)
    except RuntimeError as refusal:
        return "not found" in str(refusal)
    return True


def _wait(look: Callable[[], bool]) -> None:
    while not look():
        time.sleep(_POLL)


# Docker's own clients -----------------------------------------------------------------


def _cli_service(bench: Bench) -> Figures:
    watch = Stopwatch()
    name = bench.name("service")
    labels = [f"--label={key}={text}" for key, text in bench.labels().items()]
    create = ["create", "--quiet", "--no-resolve-image", f"--name={name}", *labels]
    with watch.step("up"):
        _docker(bench, "service", *create, BUSYBOX, *_SLEEP)
    service = bench.raw.ask("GET", f"/services/{name}")["ID"]
    with watch.step("down"):
        _docker(bench, "service", "rm", name)
        _end_tasks(bench, [service])
    return watch.total()


def _compose(bench: Bench, file: Path, *down: str) -> Figures:
    watch = Stopwatch()
    place = ("compose", f"--project-name={bench.name('composed')}", f"--file={file}")
    with watch.step("up"):
        _docker(bench, *place, "up", "--detach")
    with watch.step("down"):
        _docker(bench, *place, "down", *down)
    return watch.total()


def _docker(bench: Bench, *arguments: str) -> None:
    subprocess.run(
        [bench.docker, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

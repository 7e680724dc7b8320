"""What the worker does: the measurements of pysys_orch, inside of a PySys test.

Each has a `BaseTest` of its own as parent, made as PySys makes the one of a test and
cleaned up as PySys does. What PySys itself spends on a test is the same with or without
containers, and not included.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pysys.basetest import BaseTest

from benchmarks.docker.bench import BUSYBOX, DEBIAN
from benchmarks.docker.lifecycle import PORT, SCENARIOS, Scenario, measure
from benchmarks.docker.many import COMMANDS
from benchmarks.docker.raw import RawEngine
from benchmarks.measure import Figures, Stopwatch
from pysys_orch.docker import (
    DockerComposition,
    DockerContainer,
    DockerImage,
    DockerMonitor,
    DockerService,
    DockerSwarm,
)
from pysys_orch.docker.engine.ownership import is_cache_tag
from pysys_orch.docker.session import Session

_NUMBERS = itertools.count()
_LINE_PARENTS: list[BaseTest] = []


class PysysOrch:
    """The variant of `lifecycle` that uses the library."""

    def __init__(self, parent: BaseTest) -> None:
        self._parent = parent

    def start(self, scenario: Scenario) -> DockerContainer:
        image = DockerImage.fromExisting(self._parent, DEBIAN)
        container = DockerContainer.fromImage(image)
        if scenario.port:
            container.exposePort(PORT)
        return container.run(scenario.command)

    def wait(self, container: DockerContainer, scenario: Scenario) -> None:
        if scenario.port:
            container.waitForPort(PORT)
        else:
            container.waitForLog("READY")

    def identify(self, container: DockerContainer) -> str:
        return container.getName()

    def remove(self, container: DockerContainer) -> None:
        self._parent.cleanup()


def lifecycle(test: BaseTest, scenario: str) -> Figures:
    """Measure one life of a container, the cleanup of its test included."""
    parent = _parent(test)
    try:
        socket = os.environ.get("DOCKER_HOST", "").removeprefix("unix://")
        raw = RawEngine(socket or "/var/run/docker.sock")
        return measure(PysysOrch(parent), SCENARIOS[scenario], raw)
    finally:
        _clean(parent)


def cache_tag(test: BaseTest, folder: str) -> str:
    """Build, and return the name under which the image is kept for the next build."""
    parent = _parent(test)
    try:
        name = DockerImage.fromDockerfile(parent, f"{folder}/Dockerfile", folder)
        tags = (
            Session.of(parent)
            .engines.engine()
            .inspect_image(name.getName())["RepoTags"]
        )
        return next(tag for tag in tags if is_cache_tag(tag))
    finally:
        _clean(parent)


def build(test: BaseTest, folder: str) -> Figures:
    """Measure a build; ``processes`` is how many it started, clients of docker all."""
    parent = _parent(test)
    try:
        watch = Stopwatch()
        with watch.step("build"):
            DockerImage.fromDockerfile(parent, f"{folder}/Dockerfile", folder)
        return {"total": watch.figures["build"], "processes": len(parent.processList)}
    finally:
        _clean(parent)


def service(test: BaseTest) -> Figures:
    """Measure one life of a service."""
    parent = _parent(test)
    try:
        watch = Stopwatch()
        image = DockerImage.fromExisting(parent, BUSYBOX)
        with watch.step("up"):
            DockerService.fromImage(image).run(["sleep", "1000"])
        with watch.step("down"):
            parent.cleanup()
        return watch.total()
    finally:
        _clean(parent)


def stack(test: BaseTest, file: str) -> Figures:
    """Measure one life of a stack."""
    parent = _parent(test)
    try:
        watch = Stopwatch()
        with watch.step("up"):
            DockerSwarm(parent, file).deploy()
        with watch.step("down"):
            parent.cleanup()
        return watch.total()
    finally:
        _clean(parent)


def composition(test: BaseTest, file: str) -> Figures:
    """Measure one life of a composition."""
    parent = _parent(test)
    try:
        watch = Stopwatch()
        with watch.step("up"):
            composed = DockerComposition(parent, file).up()
        with watch.step("down"):
            composed.down()
        return watch.total()
    finally:
        _clean(parent)


def many(test: BaseTest, which: str, number: int) -> Figures:
    """Measure many containers at once, the cleanup of their test included."""
    parent = _parent(test)
    try:
        watch = Stopwatch()
        with watch.step("start"):
            image = DockerImage.fromExisting(parent, BUSYBOX)
            made = [DockerContainer.fromImage(image, f"c{n}") for n in range(number)]
            DockerContainer.runAll(made, COMMANDS[which], log=True)
        with watch.step("wait"):
            for each in made:
                if which == "that end":
                    each.waitForExit()
                else:
                    each.waitForLog("READY")
        threads = threading.active_count()
        with watch.step("remove"):
            parent.cleanup()
        for n in range(number):
            lines = Path(parent.output, f"c{n}.out").read_text().splitlines()
            assert lines == ["one", "READY"], lines
        return {**watch.total(), "threads": threads}
    finally:
        _clean(parent)


def monitor(test: BaseTest, ids: list[str], seconds: float) -> Figures:
    """Measure the CPU of watching containers; ``samples`` of each were taken."""
    parent = _parent(test)
    parent.disablePerformanceReporting = True  # PySys wants each figure once
    try:
        watched = [
            DockerContainer.fromExisting(parent, each, own=False) for each in ids
        ]
        begin = time.process_time()
        monitor = DockerMonitor(parent, watched).start()
        time.sleep(seconds)
        spent = time.process_time() - begin
        samples = min(each["samples"] for each in monitor.getFigures().values())
        return {"total": spent / seconds * 1000, "samples": samples}
    finally:
        _clean(parent)


def follow(test: BaseTest, image: str, command: list[str], number: int) -> list[str]:
    """Start containers and log them; return the files that the lines come to."""
    parent = _parent(test)
    _LINE_PARENTS.append(parent)
    existing = DockerImage.fromExisting(parent, image)

    def start(each: int) -> str:
        DockerContainer.fromImage(existing).run(command).log(f"lines{each}")
        return str(Path(parent.output, f"lines{each}.out"))

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(start, range(number)))


def unfollow(test: BaseTest) -> None:
    """End what `follow` began."""
    while _LINE_PARENTS:
        _clean(_LINE_PARENTS.pop())


TASKS: Mapping[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        lifecycle,
        cache_tag,
        build,
        service,
        stack,
        composition,
        many,
        monitor,
        follow,
        unfollow,
    )
}


def _parent(test: BaseTest) -> BaseTest:
    output = Path(test.output, str(next(_NUMBERS)))
    output.mkdir()
    return BaseTest(test.descriptor, str(output), test.runner)


def _clean(parent: BaseTest) -> None:
    """Clean up; nothing is left to do if that was measured.

    Raises:
        RuntimeError: Something has failed that the figures do not show.
    """
    parent.cleanup()
    if parent.getOutcome().isFailure():
        raise RuntimeError(parent.getOutcomeReason())

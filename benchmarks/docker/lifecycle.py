"""A container is created, becomes ready, and is removed."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from benchmarks.docker.bench import DEBIAN, Bench
from benchmarks.docker.raw import RawEngine
from benchmarks.measure import (
    Bar,
    Figures,
    Report,
    Rounds,
    Stopwatch,
    best,
    ratio,
    values,
)

os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # its image cannot be had offline

ROUNDS = 20
#: Where the container listens.
PORT = 8000
_POLL = 0.005  # of those who have no wait of their own
_READY = re.compile(rb"READY (\d+\.\d+)")

_LISTEN = f"""
import socket, time
time.sleep(0.3)
listener = socket.create_server(("", {PORT}))
print("READY", time.time(), flush=True)
while True:
    listener.accept()[0].close()
"""
_LOG = 'date "+READY %s.%N"; exec sleep 1000'


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a container does, and how one can tell that it is ready.

    Attributes:
        command: It prints ``READY`` and the time at the moment when it is.
        port: Whether its port tells, and not its log.
    """

    command: tuple[str, ...]
    port: bool = False


SCENARIOS: Mapping[str, Scenario] = {
    "log at once": Scenario(command=("sh", "-c", _LOG)),
    "log after 0.3 s": Scenario(command=("sh", "-c", f"sleep 0.3; {_LOG}")),
    "port after 0.3 s": Scenario(command=("python3", "-c", _LISTEN), port=True),
}


class Variant(Protocol):
    """A way to start, await and remove a container."""

    def start(self, scenario: Scenario) -> Any:  # noqa: ANN401 -- whatever it works with
        """Return once the container has been started."""
        ...

    def wait(self, container: Any, scenario: Scenario) -> None:  # noqa: ANN401
        """Return once it is ready."""
        ...

    def identify(self, container: Any) -> str:  # noqa: ANN401
        """Return its id or name."""
        ...

    def remove(self, container: Any) -> None:  # noqa: ANN401
        """Return once it is gone."""
        ...


def measure(variant: Variant, scenario: Scenario, raw: RawEngine) -> Figures:
    """Measure one life; ``noticed`` is the delay from being ready to knowing it."""
    watch = Stopwatch()
    with watch.step("start"):
        container = variant.start(scenario)
    with watch.step("wait"):
        variant.wait(container, scenario)
    now = time.time()
    lines = raw.log_lines(variant.identify(container), follow=True)
    ready = next(match for line in lines if (match := _READY.search(line)))
    with watch.step("remove"):
        variant.remove(container)
    return {**watch.total(), "noticed": (now - float(ready[1])) * 1000}


def wait_for_port(address: str) -> None:
    """Return once somebody listens."""
    while True:
        try:
            socket.create_connection((address, PORT), 1).close()
        except OSError:
            time.sleep(_POLL)
        else:
            return


class Raw:
    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def start(self, scenario: Scenario) -> str:
        body: dict[str, object] = {
            "Image": DEBIAN,
            "Cmd": scenario.command,
            "Labels": self._bench.labels(),
        }
        if scenario.port:
            body["ExposedPorts"] = {f"{PORT}/tcp": {}}
            binding = [{"HostIp": "127.0.0.1", "HostPort": ""}]
            body["HostConfig"] = {"PortBindings": {f"{PORT}/tcp": binding}}
        raw, name = self._bench.raw, self._bench.name("raw")
        container = raw.ask("POST", "/containers/create", body, name=name)["Id"]
        raw.ask("POST", f"/containers/{container}/start")
        return str(container)

    def wait(self, container: str, scenario: Scenario) -> None:
        if scenario.port:
            found = self._bench.raw.ask("GET", f"/containers/{container}/json")
            wait_for_port(found["NetworkSettings"]["IPAddress"])
        else:
            lines = self._bench.raw.log_lines(container, follow=True)
            next(line for line in lines if b"READY" in line)

    def identify(self, container: str) -> str:
        return container

    def remove(self, container: str) -> None:
        self._bench.raw.ask("DELETE", f"/containers/{container}", force=1, v=1)


class Cli:
    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._reader: subprocess.Popen[bytes] | None = None

    def start(self, scenario: Scenario) -> str:
        arguments = ["run", "--detach", "--name", self._bench.name("cli")]
        for key, value in self._bench.labels().items():
            arguments += ["--label", f"{key}={value}"]
        arguments += ["--publish", f"127.0.0.1::{PORT}"] if scenario.port else []
        return self._docker(*arguments, DEBIAN, *scenario.command)

    def wait(self, container: str, scenario: Scenario) -> None:
        if scenario.port:
            wait_for_port(
                self._docker(
                    "inspect", "--format", "{{.NetworkSettings.IPAddress}}", container
                )
            )
            return
        self._reader = subprocess.Popen(
            [self._bench.docker, "logs", "--follow", container], stdout=subprocess.PIPE
        )
        next(line for line in self._reader.stdout or () if b"READY" in line)
        self._reader.kill()

    def identify(self, container: str) -> str:
        return container

    def remove(self, container: str) -> None:
        self._docker("rm", "--force", "--volumes", container)
        if self._reader is not None:
            self._reader.communicate()
            self._reader = None

    def _docker(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._bench.docker, *arguments], check=True, stdout=subprocess.PIPE
        )
        return done.stdout.decode().strip()


class Sdk:
    def __init__(self, bench: Bench) -> None:
        import docker

        self._bench = bench
        self._client = docker.from_env()

    def start(self, scenario: Scenario) -> Any:  # noqa: ANN401 -- an SDK container
        ports = {f"{PORT}/tcp": ("127.0.0.1", None)} if scenario.port else {}
        return self._client.containers.run(
            DEBIAN,
            list(scenario.command),
            detach=True,
            labels=self._bench.labels(),
            name=self._bench.name("sdk"),
            ports=ports,
        )

    def wait(self, container: Any, scenario: Scenario) -> None:  # noqa: ANN401
        if scenario.port:
            container.reload()
            wait_for_port(container.attrs["NetworkSettings"]["IPAddress"])
            return
        lines = container.logs(stream=True, follow=True)
        next(line for line in lines if b"READY" in line)
        lines.close()

    def identify(self, container: Any) -> str:  # noqa: ANN401
        return str(container.id)

    def remove(self, container: Any) -> None:  # noqa: ANN401
        container.remove(force=True, v=True)


class Testcontainers:
    def __init__(self, bench: Bench, *, poll: float | None = None) -> None:
        self._bench = bench
        self._poll = poll

    def start(self, scenario: Scenario) -> Any:  # noqa: ANN401 -- their container
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import (
            LogMessageWaitStrategy,
            PortWaitStrategy,
        )

        strategy = (
            PortWaitStrategy(PORT) if scenario.port else LogMessageWaitStrategy("READY")
        )
        if self._poll is not None:
            strategy.with_poll_interval(self._poll)
        container = DockerContainer(DEBIAN, command=list(scenario.command))  # type: ignore[arg-type]
        container.with_name(self._bench.name("testcontainers"))
        container.with_kwargs(labels=self._bench.labels())
        if scenario.port:
            container.with_exposed_ports(PORT)
        return container.waiting_for(strategy).start()

    def wait(self, container: Any, scenario: Scenario) -> None:  # noqa: ANN401
        """Do nothing: ``start`` has waited."""

    def identify(self, container: Any) -> str:  # noqa: ANN401
        return str(container.get_container_id())

    def remove(self, container: Any) -> None:  # noqa: ANN401
        container.stop()


class Whales:
    def __init__(self, bench: Bench) -> None:
        import python_on_whales

        self._bench = bench
        self._client = python_on_whales.DockerClient(client_call=[bench.docker])

    def start(self, scenario: Scenario) -> Any:  # noqa: ANN401 -- their container
        return self._client.run(
            DEBIAN,
            list(scenario.command),
            detach=True,
            labels=self._bench.labels(),
            name=self._bench.name("whales"),
            publish=[("127.0.0.1:", PORT)] if scenario.port else [],
        )

    def wait(self, container: Any, scenario: Scenario) -> None:  # noqa: ANN401
        if scenario.port:
            wait_for_port(container.network_settings.ip_address)
            return
        lines = self._client.logs(container, follow=True, stream=True)
        next(line for _, line in lines if b"READY" in line)

    def identify(self, container: Any) -> str:  # noqa: ANN401
        return str(container.id)

    def remove(self, container: Any) -> None:  # noqa: ANN401
        container.remove(force=True, volumes=True)


def run(bench: Bench, rounds: Rounds) -> Iterator[Report]:
    """Compare all variants in each scenario."""
    for name in SCENARIOS:
        yield _scenario(bench, name, rounds)


def _scenario(bench: Bench, name: str, rounds: Rounds) -> Report:
    scenario = SCENARIOS[name]
    variants: dict[str, Variant] = {
        "raw": Raw(bench),
        "docker CLI": Cli(bench),
        "docker SDK": Sdk(bench),
        "testcontainers": Testcontainers(bench),
        "testcontainers, poll 0.05 s": Testcontainers(bench, poll=0.05),
        "python-on-whales": Whales(bench),
    }
    samples, busy = rounds.interleave(
        {
            **{
                each: partial(measure, variant, scenario, bench.raw)
                for each, variant in variants.items()
            },
            "pysys_orch": bench.in_worker("lifecycle", name),
        },
        ROUNDS,
    )
    early = [each for each in samples if values(samples, each, "noticed").median < 0]
    peers = [each for each in variants if each != "raw" and each not in early]
    peer = best(samples, peers)
    return Report(
        title=f"Lifecycle: {name}",
        samples=samples,
        baseline="raw",
        busy=busy,
        bars=[
            Bar(
                promise="pysys_orch against raw",
                measured=ratio(samples, "pysys_orch", "raw"),
                limit=1.15,
            ),
            Bar(
                promise=f"pysys_orch against the fastest peer, {peer}",
                measured=ratio(samples, "pysys_orch", peer),
                limit=1,
            ),
            Bar(
                promise="readiness noticed",
                measured=values(samples, "pysys_orch", "noticed"),
                limit=20,
                unit="ms",
            ),
        ],
        notes=[
            f"{each} says ready before it is, and is no peer here" for each in early
        ],
    )

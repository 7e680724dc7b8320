"""Faults go together or say why not, and none outlives what it was made for."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.docker import (
    DockerContainer,
    DockerFault,
    DockerFaults,
    DockerImage,
    DockerNetwork,
    DockerService,
)
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.links import cgroup_limits, require_reach
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session
from pysys_orch.errors import CleanupError, ContainerGoneError, FaultError
from tests.conftest import BUSYBOX
from tests.docker.owned import docker, eventually
from tests.docker.stand_in import EndedError, StandIn, stand_in

pytestmark = [pytest.mark.docker, pytest.mark.engine20]

SLEEP = ["sleep", "600"]


@pytest.fixture
def parent(engine: ApiEngine, tmp_path: Path) -> Iterator[Parent]:
    with stand_in(tmp_path / "output") as made:
        yield made


@pytest.fixture
def faults(parent: Parent) -> DockerFaults:
    return DockerFaults(parent)


def container(parent: Parent, name: str, **options: Any) -> DockerContainer:
    image = DockerImage.fromExisting(parent, BUSYBOX)
    made = DockerContainer.fromImage(image, name)
    return made.run(SLEEP, **options)


def record(parent: Parent) -> list[dict[str, Any]]:
    lines = Path(parent.output, "faults.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def in_force(fault: DockerFault) -> bool:
    return fault.isInForce


SAME: dict[str, Callable[[DockerFaults, DockerContainer], tuple[DockerFault, ...]]] = {
    "pause": lambda faults, web: (faults.pause(web), faults.pause(web)),
    "kill": lambda faults, web: (faults.kill(web), faults.kill(web)),
    "links": lambda faults, web: (faults.slow(web, 1), faults.lossy(web, 0.5)),
    "link-to": lambda faults, web: (
        faults.slow(web, 1, to="192.0.2.1"),
        faults.lossy(web, 0.5),
    ),
    "squeeze": lambda faults, web: (
        faults.squeeze(web, cpus=0.5),
        faults.squeeze(web, memory="32m"),
    ),
    "disconnect": lambda faults, web: (
        faults.disconnect(web, "bridge"),
        faults.disconnect(web, "bridge"),
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_what_cannot_be_at_once_is_refused_and_the_first_stays(
    faults: DockerFaults, parent: Parent, case: str
) -> None:
    """The test is told which fault is in the way; that can be undone, and made anew."""
    first, second = SAME[case](faults, container(parent, "web"))
    with first:
        with pytest.raises(
            EndedError,
            match=f"{first.displayName} is in force|does not run|paused already|cannot "
            "be disconnected",
        ):
            second.start()
        assert in_force(first)
        assert not in_force(second)
        second.undo()
        assert in_force(first)
    with second:
        assert in_force(second)
    assert [each["event"] for each in record(parent) if not each["error"]] == [
        "start",
        "undo",
        "start",
        "undo",
    ]


def test_a_fault_in_force_is_not_started_again(
    faults: DockerFaults, parent: Parent
) -> None:
    """But undone as often as one likes."""
    fault = faults.pause(container(parent, "web"))
    fault.undo()
    with fault, pytest.raises(EndedError, match="pause of web is in force already"):
        fault.start()
    assert not in_force(fault)
    fault.undo().undo()
    assert len(record(parent)) == 2


def test_faults_of_several_kinds_go_together(
    faults: DockerFaults, parent: Parent
) -> None:
    """In whatever order they are undone."""
    network = DockerNetwork.create(parent)
    image = DockerImage.fromExisting(parent, BUSYBOX)
    web, other = (
        DockerContainer.fromImage(image, name).joinNetwork(network).run(SLEEP)
        for name in ("web", "other")
    )
    made = [
        faults.slow(web, 0.1),
        faults.squeeze(web, cpus=0.5),
        faults.partition(web, other),
        faults.partition(web, other),
        faults.pause(web),
    ]
    for each in made:
        each.start()
    assert all(map(in_force, made))
    while made:
        made.pop(0).undo()
        assert all(map(in_force, made))


def test_a_busy_container_is_paused_though_it_hardly_gets_any_cpu(
    faults: DockerFaults, parent: Parent
) -> None:
    """To be frozen takes some, too; engines give up at once."""
    image = DockerImage.fromExisting(parent, BUSYBOX)
    loops = "for i in 1 2 3 4; do (while :; do :; done) & done; wait"
    web = DockerContainer.fromImage(image, "web").run(["sh", "-c", loops])
    with faults.squeeze(web, cpus=0.1):
        for _ in range(4):
            with faults.pause(web):
                assert web.getState() == "paused"


def test_a_container_that_went_has_nothing_to_heal(
    faults: DockerFaults, parent: Parent
) -> None:
    """The record says so."""
    for make in (
        faults.pause,
        faults.kill,
        faults.disconnect,
        lambda web: faults.slow(web, 0.1),
        lambda web: faults.squeeze(web, cpus=0.5),
    ):
        web = container(parent, "web")
        with make(web) as fault:
            docker("rm", "--force", web.getName())
            assert not in_force(fault)
    notes = [each["note"] for each in record(parent) if each["event"] == "undo"]
    assert notes == ["web: the container was removed"] * 5


def test_a_pause_is_over_when_its_container_ends_or_goes_on(
    faults: DockerFaults, parent: Parent
) -> None:
    """The record says which."""
    for verb in ("kill", "unpause"):
        web = container(parent, "web")
        with faults.pause(web):
            docker(verb, web.getName())
    notes = [each["note"] for each in record(parent) if each["event"] == "undo"]
    assert notes == ["web: the container has ended", "web: it was undone already"]


def test_a_restarted_container_is_out_of_a_links_reach(
    faults: DockerFaults, parent: Parent
) -> None:
    """It has another network then; the fault tells, and can be started again."""
    web = container(parent, "web")
    fault = faults.slow(web, 0.1).start()
    web.restart(0)
    assert not in_force(fault)
    fault.start()
    assert in_force(fault)
    fault.undo()


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_fault_is_healed_however_its_block_is_left(
    faults: DockerFaults, parent: Parent, failure: type[BaseException]
) -> None:
    """Also when a run is aborted, in which PySys ends all waits."""
    web = container(parent, "web")
    with pytest.raises(failure), faults.pause(web):
        raise failure
    assert web.getState() == "running"


def test_what_is_in_force_at_the_end_of_a_test_is_undone(
    engine: ApiEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the test does not own is as it was; what it owns goes."""
    name = f"others-{os.getpid()}-end"
    docker("run", "--detach", "--name", name, BUSYBOX, *SLEEP)
    try:
        with caplog.at_level(logging.INFO), stand_in(tmp_path) as parent:
            faults = DockerFaults(parent)
            others = DockerContainer.fromExisting(parent, name, own=False)
            faults.pause(others).start()
            faults.squeeze(others, cpus=0.5).start()
            faults.kill(container(parent, "own")).start()
        state = engine.inspect_container(name)["State"]
        assert (state["Running"], state["Paused"]) == (True, False)
        assert cgroup_limits(state["Pid"]) in [None, {"cpus_us": None, "memory": None}]
        assert [each["note"] for each in record(parent)[3:]] == [
            "it goes with its test",
            "",
            "",
        ]
    finally:
        docker("rm", "--force", name)


def test_a_fault_that_nobody_started_is_told_at_the_end(
    engine: ApiEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A forgotten `with`; but an event that did not fire may have one by its name."""
    with caplog.at_level(logging.INFO), stand_in(tmp_path) as parent:
        faults = DockerFaults(parent)
        web = container(parent, "web")
        faults.pause(web)
        with faults.squeeze(web, cpus=0.5):
            pass
        vars(parent)["outage"] = faults.disconnect(web)
    told = [
        (each.levelno, each.getMessage())
        for each in caplog.records
        if "never started" in each.getMessage()
    ]
    words = "was made and never started: use `with`, or start()"
    assert told == [
        (logging.WARNING, f"Fault: pause of web {words}"),
        (logging.INFO, f"Fault: disconnect of web {words}"),
    ]


def test_threads_share_faults(faults: DockerFaults, parent: Parent) -> None:
    """Of those who start one at the same time one wins, and each undo is its own."""
    web = container(parent, "web")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            barrier = threading.Barrier(4)

            def start(barrier: threading.Barrier = barrier) -> DockerFault | None:
                fault = faults.pause(web)
                barrier.wait(10)
                try:
                    return fault.start()
                except EndedError:
                    return None

            started = [each.result() for each in [pool.submit(start) for _ in range(4)]]
            (winner,) = (each for each in started if each is not None)
            assert in_force(winner)
            winner.undo()
    lines = record(parent)
    assert sum(each["event"] == "undo" for each in lines) == 5
    assert sum(each["error"] == "" and each["event"] == "start" for each in lines) == 5


BAD: dict[str, tuple[Callable[[DockerFaults, DockerContainer], DockerFault], str]] = {
    "no container": (
        lambda faults, _: faults.pause("web"),  # type: ignore[arg-type] # on purpose
        "a fault happens to a DockerContainer, got 'web'",
    ),
    "delay": (
        lambda faults, web: faults.slow(web, "soon"),
        "delay has to be seconds, or a text such as 200ms, got 'soon'",
    ),
    "loss": (
        lambda faults, web: faults.lossy(web, 30),
        "a loss is a share from 0 to 1, got 30",
    ),
    "nothing": (
        lambda faults, web: faults.link(web),
        "such a link has no fault: give it a delay, a loss or a rate",
    ),
    "rate": (
        lambda faults, web: faults.link(web, rate="fast"),
        "a rate has to be bits per second, or 512kbit or 1mbit, got 'fast'",
    ),
    "to": (
        lambda faults, web: faults.slow(web, 1, to="web"),
        "to is a container, several, or an address, got 'web'",
    ),
    "no receiver": (
        lambda faults, web: faults.slow(web, 1, to=[]).start(),
        "a link of web is to nobody: leave `to` out for all",
    ),
    "share": (
        lambda faults, web: faults.lossy(web, "5%"),  # type: ignore[arg-type] # on purpose
        "loss has to be a number from 0 to 1, got '5%'",
    ),
    "cpus": (
        lambda faults, web: faults.squeeze(web, cpus="0.5"),  # type: ignore[arg-type] # on purpose
        "cpus has to be a number, got '0.5'",
    ),
    "itself": (
        lambda faults, web: faults.partition(web, [web]).start(),
        "web | web cannot be parted: a container is on both sides",
    ),
    "nobody": (
        lambda faults, web: faults.partition(web, []).start(),
        "a partition has containers on both sides, got 'web | '",
    ),
    "network": (
        lambda faults, web: faults.disconnect(web, "bridgé").start(),
        r"disconnected from bridgé: it is in no such network, did you mean bridge\?",
    ),
    "other network": (
        lambda faults, web: faults.disconnect(web, "other").start(),
        "disconnected from other: it is in no such network .there is bridge.$",
    ),
    "squeeze": (
        lambda faults, web: faults.squeeze(web).start(),
        "squeeze needs cpus, memory or both",
    ),
    "memory": (
        lambda faults, web: faults.squeeze(web, memory="1m").start(),
        "memory is at least 6291456 bytes, got 1048576",
    ),
    "no memory": (
        lambda faults, web: faults.squeeze(web, memory="64 pages"),
        "memory has to be bytes, or like 64k, 16m, 16 MiB or 1.5g, got '64 pages'",
    ),
    "more cpus": (
        lambda faults, web: faults.squeeze(web, cpus=1000).start(),
        r"cpus has to be less than the \d+ that the machine has, got 1000",
    ),
    "more memory": (
        lambda faults, web: faults.squeeze(web, memory="1000g").start(),
        "memory has to be less than the .* GiB that the machine has, got 1000 GiB",
    ),
    "timeout": (
        lambda faults, web: faults.restart(web, timeout=-1),
        "timeout is 0 s or more, got -1",
    ),
    "signal number": (
        lambda faults, web: faults.kill(web, 65),
        "a signal is a name such as TERM, or a number from 1 to 64, got 65",
    ),
    "signal": (
        lambda faults, web: faults.kill(web, "NONSENSE").start(),
        "nvalid signal: (SIG)?NONSENSE",
    ),
}


@pytest.fixture(scope="module")
def shared(
    engine: ApiEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Parent, DockerContainer]]:
    with stand_in(tmp_path_factory.mktemp("shared")) as made:
        # Its name on the engine is none that another stand-in gives meanwhile.
        web = container(made, "shared")
        web.displayName = "web"
        yield made, web


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_is_refused_with_what_would(
    shared: tuple[Parent, DockerContainer], case: str
) -> None:
    """And nothing has happened to the container."""
    parent, web = shared
    make, words = BAD[case]
    before = web.inspect()
    with pytest.raises(EndedError, match=words.replace("|", r"\|").replace("(", "(?:")):
        make(DockerFaults(parent), web)
    assert web.inspect() == before


def test_a_container_with_the_network_of_its_host_is_left_alone(
    faults: DockerFaults, parent: Parent
) -> None:
    """A slow link or a partition would be one of the host."""
    name = f"others-{os.getpid()}-host"
    docker("run", "--detach", "--name", name, "--network", "host", BUSYBOX, *SLEEP)
    try:
        web = DockerContainer.fromExisting(parent, name, own=False)
        options = ("--name", f"{name}-2", "--network", f"container:{name}")
        docker("run", "--detach", *options, BUSYBOX, *SLEEP)
        joined = DockerContainer.fromExisting(parent, f"{name}-2", own=False)
        for each in (web, joined):
            for fault in (faults.slow(each, 1), faults.partition(each, each)):
                with pytest.raises(EndedError, match="has the network of its host"):
                    fault.start()
    finally:
        docker("rm", "--force", f"{name}-2", name)


def others(parent: Parent, name: str, *options: str) -> DockerContainer:
    """Start a container as others would."""
    full = f"others-{os.getpid()}-{name}"
    docker("run", "--detach", "--name", full, *options, BUSYBOX, *SLEEP)
    made = DockerContainer.fromExisting(parent, full, own=False)
    parent.addCleanupFunction(lambda: docker("rm", "--force", full))
    return made


@pytest.mark.parametrize(
    ("options", "signal", "words"),
    [
        (("--rm",), "KILL", "is removed once it ends"),
        (
            ("--restart", "always", "--stop-signal", "QUIT"),
            "TERM",
            "has the restart policy always, so that TERM does not keep it down",
        ),
    ],
)
def test_what_would_not_stay_down_or_come_back_is_not_killed(
    faults: DockerFaults,
    parent: Parent,
    options: tuple[str, ...],
    signal: str,
    words: str,
) -> None:
    """Its engine would remove it, or start it again."""
    web = others(parent, "kill", *options)
    with pytest.raises(EndedError, match=words):
        faults.kill(web, signal).start()
    assert web.getState() == "running"


def test_a_container_that_its_engine_restarts_stays_down_when_killed(
    faults: DockerFaults, parent: Parent
) -> None:
    """A kill is one that its engine takes for meant."""
    web = others(parent, "always", "--restart", "always", "--stop-signal", "QUIT")
    with faults.kill(web) as fault:
        assert in_force(fault)
        docker("start", web.getName())
        assert not in_force(fault)
    assert web.getState() == "running"


def test_a_full_volume_has_space_again_though_its_container_ended(
    faults: DockerFaults, parent: Parent
) -> None:
    """Also when that was removed: others have the volume as well."""
    volume = f"others-{os.getpid()}-volume"
    options = ("type=tmpfs", "device=tmpfs", "o=size=2m")
    docker("volume", "create", *(f"--opt={each}" for each in options), volume)
    parent.addCleanupFunction(lambda: docker("volume", "rm", volume))
    mount = ("--volume", f"{volume}:/small")
    witness = others(parent, "witness", *mount)

    def can_write() -> bool:
        write = "dd if=/dev/zero of=/small/x bs=4k count=1 && rm /small/x"
        return not subprocess.run(
            ["docker", "exec", witness.getName(), "sh", "-c", write],
            capture_output=True,
            check=False,
        ).returncode

    for number, ending in enumerate((["kill"], ["rm", "--force"])):
        web = others(parent, f"filled-{number}", *mount)
        with faults.fill(web, "/small"):
            assert not can_write()
            docker(*ending, web.getName())
        assert can_write()


def test_a_disconnected_container_that_ended_joins_again(
    faults: DockerFaults, parent: Parent
) -> None:
    """It is in the network once it is started."""
    network = DockerNetwork.create(parent)
    image = DockerImage.fromExisting(parent, BUSYBOX)
    web = DockerContainer.fromImage(image, "web").joinNetwork(network).run(SLEEP)
    with faults.disconnect(web, network):
        docker("kill", web.getName())
    docker("start", web.getName())
    assert web.inspect()["NetworkSettings"]["Networks"][network.getName()]["IPAddress"]


def test_of_a_network_that_was_removed_nothing_is_healed(
    faults: DockerFaults, parent: Parent
) -> None:
    """The record says so."""
    network = DockerNetwork.create(parent)
    image = DockerImage.fromExisting(parent, BUSYBOX)
    web = DockerContainer.fromImage(image, "web").joinNetwork(network).run(SLEEP)
    with faults.disconnect(web, network):
        docker("network", "rm", network.getName())
    assert "not found" in record(parent)[-1]["note"]


def test_faults_are_healed_when_the_record_cannot_be_written(
    faults: DockerFaults, parent: Parent, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk of the test is no reason to leave others disturbed."""
    Path(parent.output, "faults.jsonl").mkdir(parents=True)
    web = container(parent, "web")
    with faults.pause(web):
        assert web.getState() == "paused"
    assert web.getState() == "running"
    assert "Fault not recorded in" in caplog.text


def test_one_fault_that_cannot_be_healed_leaves_no_other_in_force(
    tmp_path: Path, engine: ApiEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason; the test is told."""
    name = f"others-{os.getpid()}-one"
    docker("run", "--detach", "--name", name, BUSYBOX, *SLEEP)

    def disturb() -> None:
        with stand_in(tmp_path) as parent:
            faults = DockerFaults(parent)
            web = DockerContainer.fromExisting(parent, name, own=False)
            faults.pause(web).start()
            last = faults.squeeze(web, cpus=0.5).start()

            def fail() -> None:
                raise MemoryError("no memory")

            monkeypatch.setattr(last._mishap, "end", fail)

    try:
        with pytest.raises(CleanupError, match=r"1 could not be healed: .*no memory"):
            disturb()
        assert not engine.inspect_container(name)["State"]["Paused"]
    finally:
        docker("rm", "--force", name)


def test_a_reaper_that_was_killed_is_replaced(
    faults: DockerFaults, parent: Parent, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the next fault that it would have to heal; the log tells."""
    web = others(parent, "reaped")
    session = Session.of(parent)
    with faults.pause(web):
        first = session.reaper
        assert first is not None
        first._process.kill()
        first._process.wait(10)
        with faults.squeeze(web, cpus=0.5):
            assert "the reaper has ended, another one takes its place" in caplog.text
            second = session.reaper
            assert second is not None
            assert second is not first
            assert second._process.poll() is None


def test_what_is_missing_to_enter_a_container_is_said() -> None:
    """Whether that is the machine, the process, or the right."""
    found: dict[str, Any] = {"Id": "f00", "Name": "/web", "State": {"Pid": os.getpid()}}
    with pytest.raises(FaultError, match="web runs on another machine"):
        require_reach(found, is_local=False)
    with pytest.raises(FaultError, match="cannot be seen from here: run the test on"):
        require_reach(found, is_local=True)
    found["State"] = {"Pid": 0}
    with pytest.raises(ContainerGoneError, match="web does not run"):
        require_reach(found, is_local=True)


def test_without_root_only_what_enters_a_container_is_refused(
    parent: Parent,
) -> None:
    """Pausing it needs the engine only."""
    web = container(parent, "web")
    program = (
        "import os, sys, json;"
        "from pysys_orch.docker.engine.links import require_reach;"
        "os.setuid(65534);"
        "require_reach(json.load(sys.stdin), is_local=True)"
    )
    done = subprocess.run(
        ["python", "-c", program],
        input=json.dumps(web.inspect()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "takes root: run the test as root" in done.stderr


def test_a_fault_that_is_not_seen_in_force_is_taken_back(
    faults: DockerFaults, parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test does not go on in the belief that it is."""
    web = container(parent, "web")
    fault = faults.pause(web)
    monkeypatch.setattr(fault._mishap, "is_in_force", lambda: False)
    monkeypatch.setattr("pysys_orch.docker.fault._IN_FORCE_WITHIN", 0.1)
    with pytest.raises(EndedError, match=r"was not in force within 0\.1 s"):
        fault.start()
    assert web.getState() == "running"
    assert isinstance(parent, StandIn)
    assert [(each["event"], bool(each["error"])) for each in record(parent)] == [
        ("start", True),
        ("undo", False),
    ]


@pytest.mark.usefixtures("swarm")
def test_tasks_of_a_swarm_are_disturbed_as_others(
    engine: ApiEngine, faults: DockerFaults, parent: Parent
) -> None:
    """One that is killed is the swarm's to replace; its network it cannot leave."""
    network = DockerNetwork.create(parent, driver="overlay")
    image = DockerImage.fromExisting(parent, BUSYBOX)
    service = DockerService.fromImage(image, "web").joinNetwork(network)
    service.run(SLEEP, replicas=2)
    one, two = (
        DockerContainer.fromExisting(parent, each.id, own=False)
        for each in engine.task_containers(service.getName())
    )

    def reaches() -> bool:
        networks = two.inspect()["NetworkSettings"]["Networks"]
        address = networks[network.getName()]["IPAddress"]
        command = ["docker", "exec", one.getName(), "ping", "-c", "1", "-W", "1"]
        done = subprocess.run([*command, address], capture_output=True, check=False)
        return not done.returncode

    assert reaches()
    with faults.partition(one, two):
        assert not reaches()
    assert reaches()
    with faults.slow(one, 1.5, to=two):
        assert not reaches()
    assert reaches()
    with faults.disconnect(one, network):
        assert not reaches()
    assert reaches()
    with faults.kill(one) as fault:
        assert not in_force(fault)
    assert one.getState() in {"exited", "removed"}


@pytest.mark.usefixtures("swarm")
def test_a_task_is_not_taken_where_it_cannot_be_brought_back(
    engine: ApiEngine, faults: DockerFaults, parent: Parent
) -> None:
    """The test is told before anything has happened."""
    name = f"others-{os.getpid()}-swarm"
    docker("network", "create", "--driver", "overlay", name)
    service = f"{name}-web"
    options = ("--name", service, "--network", name, "--detach")
    docker("service", "create", *options, BUSYBOX, *SLEEP)
    try:
        found = eventually(
            lambda: engine.task_containers(service), what="the task has a container"
        )
        web = DockerContainer.fromExisting(parent, found[0].id, own=False)
        with pytest.raises(EndedError, match="use partition, or make the network"):
            faults.disconnect(web, name).start()
        assert name in web.inspect()["NetworkSettings"]["Networks"]
    finally:
        docker("service", "rm", service)
        eventually(
            lambda: not engine.task_containers(service), what="the service is gone"
        )
        eventually(lambda: _is_removed(name), what="the network is removed")


def _is_removed(network: str) -> bool:
    try:
        docker("network", "rm", network)
    except subprocess.CalledProcessError as failure:
        return "not found" in str(failure.stderr)
    return True

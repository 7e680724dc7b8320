"""Each fault does to a client what it says, and nothing any more once it is undone."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pysys_orch.docker import (
    DockerContainer,
    DockerFault,
    DockerFaults,
    DockerNetwork,
)
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.mishaps import Restart, Target
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session
from pysys_orch.errors import ContainerGoneError
from tests.conftest import BUSYBOX
from tests.docker.owned import docker, eventually
from tests.docker.stand_in import EndedError, stand_in

pytestmark = [pytest.mark.docker, pytest.mark.engine20]

SERVER = ["sh", "-c", "mkdir -p /www; cd /www; echo hello >index.html; httpd -f -p 80"]
SMALL = "type=tmpfs,destination=/small,tmpfs-size=4m"


@pytest.fixture
def parent(engine: ApiEngine, tmp_path: Path) -> Iterator[Parent]:
    with stand_in(tmp_path / "output") as made:
        yield made


@pytest.fixture
def faults(parent: Parent) -> DockerFaults:
    return DockerFaults(parent)


@pytest.fixture
def network(parent: Parent) -> DockerNetwork:
    return DockerNetwork.create(parent)


def serve(network: DockerNetwork, name: str, *options: str) -> DockerContainer:
    """Start a container with a web server."""
    parent = network.parent
    options = ("--network", network.getName(), *options)
    return started(parent, name, *SERVER, options=options).waitForPort(80)


def started(
    parent: Parent, name: str, *command: str, options: tuple[str, ...] = ()
) -> DockerContainer:
    """Start a container as others would, which the test owns then."""
    full = f"{Session.of(parent).short_name()}-{name}"
    docker("run", "--detach", "--name", full, *options, BUSYBOX, *command)
    container = DockerContainer.fromExisting(parent, full)
    container.displayName = name
    return container


def address(container: DockerContainer) -> str:
    networks = container.inspect()["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])


def connect_time(container: DockerContainer) -> float:
    """Return how long it takes to connect from here.

    That is the least of some: a busy machine only makes it longer.
    """
    times = []
    for _ in range(11):
        begin = time.monotonic()
        with socket.create_connection((address(container), 80), timeout=10):
            times.append(time.monotonic() - begin)
    return min(times)


def in_force(fault: DockerFault) -> bool:
    return fault.isInForce


def inside(
    container: DockerContainer, *command: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a container."""
    return subprocess.run(
        ["docker", "exec", container.getName(), *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def reaches(client: DockerContainer, server: DockerContainer) -> bool:
    """Return whether one container gets an answer of another."""
    ask = "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n'"
    command = f"{ask} | timeout 2 nc -w 1 {address(server)} 80"
    return "hello" in inside(client, "sh", "-c", command).stdout


def round_trip(client: DockerContainer, server: DockerContainer) -> float:
    """Return the time of a ping from one container to another; see `connect_time`."""
    said = inside(client, "ping", "-c", "11", "-i", "0.05", address(server)).stdout
    times = [float(each) for each in re.findall(r"time=([\d.]+) ms", said)]
    assert len(times) == 11, said
    return min(times) / 1000


def record(parent: Parent) -> list[dict[str, Any]]:
    lines = Path(parent.output, "faults.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_slow_link_adds_its_delay(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """Latency added is within a tenth of what was asked for, from everywhere."""
    server, client = serve(network, "server"), serve(network, "client")
    before = connect_time(server), round_trip(client, server)
    with faults.slow(server, "200ms") as fault:
        assert in_force(fault)
        assert connect_time(server) - before[0] == pytest.approx(0.2, rel=0.1)
        assert round_trip(client, server) - before[1] == pytest.approx(0.2, rel=0.1)
    assert not in_force(fault)
    assert connect_time(server) < 0.1
    assert round_trip(client, server) < 0.1


def test_a_link_can_be_slow_to_some_only(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """Others do not notice, and each may have a link of its own."""
    server, near, far = (serve(network, name) for name in ("server", "near", "far"))
    with faults.slow(server, 0.1, to=near), faults.slow(server, 0.3, to=[far]):
        assert round_trip(near, server) == pytest.approx(0.1, rel=0.1)
        assert round_trip(far, server) == pytest.approx(0.3, rel=0.1)
        assert connect_time(server) < 0.05


def test_a_link_with_jitter_is_late_by_more_or_less(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """Times differ, within what was asked for."""
    server, client = serve(network, "server"), serve(network, "client")
    with faults.slow(server, "100ms", jitter="80ms"):
        said = inside(client, "ping", "-c", "30", "-i", "0.2", address(server)).stdout
    times = [float(each) for each in re.findall(r"time=([\d.]+) ms", said)]
    assert len(times) == 30
    assert min(times) >= 20
    assert max(times) - min(times) > 60


def test_a_link_has_no_more_than_its_rate(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """A quarter of a megabyte takes two seconds at a megabit per second."""
    server = serve(network, "server")
    inside(server, "sh", "-c", "head -c 250000 /dev/zero >/www/large")
    with faults.link(server, rate="1mbit"):
        begin = time.monotonic()
        with socket.create_connection((address(server), 80), timeout=30) as reader:
            reader.sendall(b"GET /large HTTP/1.0\r\n\r\n")
            size = sum(len(data) for data in iter(lambda: reader.recv(65536), b""))
        lasted = time.monotonic() - begin
    assert size >= 250_000
    assert lasted == pytest.approx(2.08, rel=0.1)  # headers included


def test_a_slow_link_is_not_a_thin_one(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """Much can be under way: TCP does not take what is late for what is not sent."""
    server = serve(network, "server")
    inside(server, "sh", "-c", "head -c 5000000 /dev/zero >/www/large")
    with faults.slow(server, "50ms"):
        begin = time.monotonic()
        with socket.create_connection((address(server), 80), timeout=30) as reader:
            reader.sendall(b"GET /large HTTP/1.0\r\n\r\n")
            size = sum(len(data) for data in iter(lambda: reader.recv(65536), b""))
        lasted = time.monotonic() - begin
    assert size >= 5_000_000
    assert lasted < 8  # a second or less, if nobody else is busy


def test_faults_are_of_both_versions_of_ip(
    faults: DockerFaults, parent: Parent
) -> None:
    """A partition cuts both, and a slow link delays both."""
    name = f"{Session.of(parent).short_name()}-six"
    subnet = f"fd00:{os.getpid() & 0xFFFF:x}::/64"
    docker("network", "create", "--ipv6", "--subnet", subnet, name)
    made: list[DockerContainer] = []
    try:
        options = ("--network", name)
        made.extend(
            started(parent, each, "sleep", "600", options=options) for each in "12"
        )
        one, two = made

        def reached(client: DockerContainer, server: DockerContainer) -> float | None:
            found = server.inspect()["NetworkSettings"]["Networks"][name]
            command = ("ping", "-6", "-c", "3", "-W", "2", found["GlobalIPv6Address"])
            times = re.findall(r"time=([\d.]+) ms", inside(client, *command).stdout)
            return min(map(float, times)) / 1000 if times else None

        eventually(lambda: reached(one, two), what="the address is usable")
        with faults.slow(one, 0.2):
            assert reached(two, one) == pytest.approx(0.2, rel=0.1)
            assert reached(one, two) == pytest.approx(0.2, rel=0.1)
        with faults.partition(one, two):
            assert reached(one, two) is None
        assert reached(one, two)
    finally:
        for each in made:
            docker("rm", "--force", each.getName())
        docker("network", "rm", name)


def tail(most: int, *, number: int, chance: float) -> float:
    """Return how likely at most *most* of *number* happen."""
    return sum(
        math.comb(number, each) * chance**each * (1 - chance) ** (number - each)
        for each in range(most + 1)
    )


def test_a_lossy_link_loses_its_share(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """Of 500 packets as many are lost as chance may have it, once in a million."""
    server, client = serve(network, "server"), serve(network, "client")
    sent = 500
    with faults.lossy(server, 0.3):
        command = ("ping", "-q", "-c", str(sent), "-i", "0.01", "-W", "1")
        said = inside(client, *command, address(server)).stdout
    received = re.search(r"(\d+) packets received", said)
    assert received, said
    lost = sent - int(received[1])
    assert tail(lost, number=sent, chance=0.3) > 5e-7, lost
    assert tail(sent - lost, number=sent, chance=0.7) > 5e-7, lost
    said = inside(
        client, "ping", "-q", "-c", "100", "-i", "0.01", address(server)
    ).stdout
    assert "100 packets received" in said


def test_a_partition_cuts_both_ways_and_nobody_else(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """A third container reaches both sides meanwhile."""
    one, two, third = (serve(network, name) for name in ("one", "two", "third"))
    with faults.partition(one, [two]):
        assert not reaches(one, two)
        assert not reaches(two, one)
        for each in (one, two):
            assert reaches(third, each)
            assert reaches(each, third)
        with faults.partition([two], one):
            assert not reaches(one, two)
        assert not reaches(one, two)  # the outer one is still in force
    assert reaches(one, two)
    assert reaches(two, one)


def test_a_pause_is_silence_and_then_an_answer(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """A client that connects gets no answer before it is undone."""
    server, client = serve(network, "server"), serve(network, "client")
    with faults.pause(server):
        assert not reaches(client, server)
        assert server.getState() == "paused"
    assert reaches(client, server)


def test_a_killed_container_is_started_again(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """Nobody is there in between."""
    server, client = serve(network, "server"), serve(network, "client")
    with faults.kill(server):
        assert server.getState() == "exited"
        assert server.getExitCode() == 137
    server.waitForPort(80)
    assert reaches(client, server)


def test_a_signal_is_a_number_as_well(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """As it is for engines."""
    server = serve(network, "server")
    with faults.kill(server, 9):
        assert server.getExitCode() == 137
    assert record(network.parent)[0]["details"] == "9"


def test_a_signal_that_ends_nothing_is_told(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """Nobody has to find out why the container still runs."""
    server = serve(network, "server")
    with pytest.raises(
        EndedError, match="since server still runs, WINCH did not end it: use KILL"
    ):
        faults.kill(server, "WINCH").start()
    assert server.getState() == "running"


def test_a_restart_has_nothing_to_undo(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """It has another process afterwards, and can be restarted again."""
    server = serve(network, "server")
    before = server.inspect()["State"]["Pid"]
    fault = faults.restart(server, timeout=0)
    for _ in range(2):
        fault.start()
        after = server.inspect()["State"]["Pid"]
        assert after not in {0, before}
        assert not fault.isInForce
        before = after
    fault.undo()


def with_subnet(name: str) -> str:
    """Make a network with a subnet that nobody has; return what its addresses share."""
    for number in range(256):
        stem = f"10.213.{(os.getpid() + number) % 256}"
        try:
            docker("network", "create", "--subnet", f"{stem}.0/24", name)
        except subprocess.CalledProcessError as failure:
            if "overlaps" not in str(failure.stderr):
                raise
        else:
            return stem
    raise AssertionError


def test_a_disconnected_container_comes_back_as_it_was(
    faults: DockerFaults, parent: Parent, network: DockerNetwork
) -> None:
    """It has its aliases and its fixed address again."""
    client, server = serve(network, "client"), serve(network, "server")
    name = f"{Session.of(parent).short_name()}-subnet"
    # Only a network with a subnet that somebody chose has fixed addresses.
    stem = with_subnet(name)
    try:
        fixed = f"{stem}.77"
        options = ("--alias", "friend", "--ip", fixed)
        docker("network", "connect", *options, name, server.getName())
        docker("network", "connect", name, client.getName())
        with faults.disconnect(server, name):
            assert name not in server.inspect()["NetworkSettings"]["Networks"]
            assert inside(client, "ping", "-c", "1", "-W", "1", fixed).returncode
        found = server.inspect()["NetworkSettings"]["Networks"][name]
        assert found["IPAddress"] == fixed
        assert "friend" in found["Aliases"]
        assert fixed in inside(client, "nslookup", "friend").stdout
        with faults.disconnect(server):
            assert server.inspect()["NetworkSettings"]["Networks"] == {}
        assert len(server.inspect()["NetworkSettings"]["Networks"]) == 2
        eventually(lambda: reaches(client, server), what="the server is reached")
    finally:
        for each in (server, client):
            docker("rm", "--force", each.getName())
        docker("network", "rm", name)


def test_a_network_is_known_by_what_its_test_calls_it(
    faults: DockerFaults, parent: Parent
) -> None:
    """As well as by its name on the engine."""
    network = DockerNetwork.create(parent, "backend")
    web = serve(network, "web")
    for said in ("backend", network.getName(), network):
        with faults.disconnect(web, said):
            assert web.inspect()["NetworkSettings"]["Networks"] == {}


def test_a_full_disk_takes_nothing_until_it_is_undone(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """A writer is told that there is no space, and can write again after."""
    volume = "type=volume,dst=/volume,volume-driver=local,volume-opt=type=tmpfs,"
    volume += "volume-opt=device=tmpfs,volume-opt=o=size=4m"
    writer = serve(network, "writer", "--mount", SMALL, "--mount", volume)
    for folder in ("/small", "/volume"):
        write = ("dd", "if=/dev/zero", f"of={folder}/file", "bs=99k", "count=1")
        with faults.fill(writer, folder) as fault:
            done = inside(writer, *write)
            assert done.returncode != 0
            assert "No space left on device" in done.stderr
            assert fault.isInForce
        assert inside(writer, *write).returncode == 0
        assert inside(writer, "ls", "-A", folder).stdout == "file\n"


def test_the_disk_of_a_host_is_not_filled(
    faults: DockerFaults, network: DockerNetwork
) -> None:
    """Not even through a link that leads out of the small file system."""
    writer = serve(network, "writer", "--mount", SMALL)
    inside(writer, "ln", "-s", "/", "/small/link")
    for folder in ("/", "/small/link", "/tmp"):
        with pytest.raises(
            EndedError, match=r"has \d+ bytes, more than the 1073741824"
        ):
            faults.fill(writer, folder).start()
    with pytest.raises(EndedError, match="there is no folder /absent in the container"):
        faults.fill(writer, "/absent").start()


def cpu_seconds(container: DockerContainer) -> float:
    """Return how much CPU the main process of a container has had."""
    pid = container.inspect()["State"]["Pid"]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def cpu_share(container: DockerContainer, seconds: float) -> float:
    """Return how much of one CPU it gets."""
    begin, before = time.monotonic(), cpu_seconds(container)
    eventually(lambda: time.monotonic() > begin + seconds, what="time passes")
    return (cpu_seconds(container) - before) / (time.monotonic() - begin)


@pytest.mark.parametrize("extra", [(), ("--cpus=1.5",), ("--cpu-quota=150000",)])
def test_a_squeezed_cpu_is_a_small_share(
    faults: DockerFaults, parent: Parent, extra: tuple[str, ...]
) -> None:
    """A loop that is always busy gets what it is left, and more again after."""
    busy = started(parent, "busy", "sh", "-c", "while :; do :; done", options=extra)
    with faults.squeeze(busy, cpus=0.2):
        # How much less is a matter of who else wants it.
        assert 0 < cpu_share(busy, 2) < 0.22
    eventually(lambda: cpu_share(busy, 0.5) > 0.3, what="it is busy again")
    begin = busy.inspect()["HostConfig"]["NanoCpus"]
    assert begin == (1_500_000_000 if extra == ("--cpus=1.5",) else 0)
    with faults.squeeze(busy, cpus=0.2):  # as often as one likes
        pass


def memory_limit(container: DockerContainer) -> int:
    """Return what the kernel says within the container."""
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    said = inside(container, "sh", "-c", f"cat {files} 2>/dev/null").stdout.strip()
    return 2**63 if said == "max" else int(said)


@pytest.mark.parametrize(
    "extra", [(), ("--memory=64m",), ("--memory=64m", "--memory-swap=-1")]
)
def test_squeezed_memory_is_what_the_kernel_grants(
    faults: DockerFaults, network: DockerNetwork, extra: tuple[str, ...]
) -> None:
    """The former limit is back after, also that there was none."""
    server = serve(network, "server", *extra)
    before = memory_limit(server)
    for _ in range(2):
        with faults.squeeze(server, memory="16m"):
            assert memory_limit(server) == 16 * 2**20
        assert memory_limit(server) == before
    assert record(network.parent)[0]["details"] == "memory 16 MiB"
    server.restart(0)
    assert memory_limit(server) == before


def test_the_record_has_each_start_and_undo_with_its_times(
    faults: DockerFaults, parent: Parent, network: DockerNetwork
) -> None:
    """Who reads the test's output sees what was disturbed, and when."""
    server = serve(network, "server")
    with faults.pause(server), faults.link(server, loss=0.1, rate="1mbit"):
        pass
    lines = record(parent)
    assert [(each["event"], each["fault"]) for each in lines] == [
        ("start", "pause"),
        ("start", "slow and lossy link"),
        ("undo", "slow and lossy link"),
        ("undo", "pause"),
    ]
    assert [each["on"] for each in lines] == [["server"]] * 4
    assert lines[1]["details"] == "loss 0.1, rate 1 Mbit/s"
    for each in lines[2:]:
        stamps = [
            datetime.fromisoformat(each[key])
            for key in ("asked", "in_force", "healing_asked", "healed")
        ]
        assert stamps == sorted(stamps)
        assert {str(stamp.tzinfo) for stamp in stamps} == {"UTC"}
        assert each["error"] == ""


def test_a_container_that_does_not_run_is_not_disturbed(
    faults: DockerFaults, parent: Parent
) -> None:
    """Nothing is in force, and nobody waits for it."""
    dead = started(parent, "dead", "false")
    dead.waitForExit()
    for fault in (
        faults.pause(dead),
        faults.kill(dead),
        faults.restart(dead, timeout=0),
        faults.disconnect(dead),
        faults.slow(dead, 0.1),
        faults.fill(dead, "/tmp"),
        faults.squeeze(dead, cpus=0.5),
    ):
        with pytest.raises(EndedError, match="dead does not run"):
            fault.start()
    assert not any(each["in_force"] for each in record(parent))


def test_a_container_that_crashes_when_it_is_restarted_says_how(
    engine: ApiEngine, parent: Parent
) -> None:
    """With its exit code and last words, and nobody waits for it."""
    script = "test -e /x && { echo no license; exit 3; }; touch /x; sleep 600"
    web = started(parent, "web", "sh", "-c", script)
    eventually(
        lambda: not inside(web, "test", "-e", "/x").returncode, what="it has begun"
    )
    restart = Restart(Target(engine=engine, container=web.getId(), name="web"), 0)
    restart.prepare()
    restart.begin()
    web.waitForExit()
    with pytest.raises(
        ContainerGoneError,
        match="restart of web did not last: container web exited with exit code 3, "
        "its last words: no license",
    ):
        restart.is_in_force()

"""Links and full disks where packets, rules and file systems are unusual ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pysys_orch.docker import DockerContainer, DockerFault, DockerFaults, DockerNetwork
from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.fault import Link
from pysys_orch.docker.engine.healing import files_of, network_of
from pysys_orch.docker.engine.links import Delay, Files, Network
from pysys_orch.docker.engine.mishaps import Slow, Target
from pysys_orch.docker.engine.rules import cutting, queueing
from pysys_orch.docker.parent import Parent
from pysys_orch.errors import FaultError
from tests.conftest import BUSYBOX
from tests.docker.owned import docker
from tests.docker.stand_in import EndedError, stand_in

pytestmark = [pytest.mark.docker, pytest.mark.engine20]

SLEEP = ["sleep", "600"]
SMALL = "type=tmpfs,destination=/small,tmpfs-size=4m"

#: Delays what a container sends to an address, until the input ends.
ANOTHER_RUN = """
import sys
from pathlib import Path
from pysys_orch.docker import DockerContainer, DockerFaults
from tests.docker.stand_in import EndedError, stand_in

output, container, receiver = sys.argv[1:]
with stand_in(Path(output)) as parent:
    web = DockerContainer.fromExisting(parent, container, own=False)
    with DockerFaults(parent).slow(web, '100ms', to=receiver):
        print('in force', flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def parent(engine: ApiEngine, tmp_path: Path) -> Iterator[Parent]:
    with stand_in(tmp_path / "output") as made:
        yield made


@pytest.fixture
def faults(parent: Parent) -> DockerFaults:
    return DockerFaults(parent)


def sleeper(parent: Parent, *options: str) -> DockerContainer:
    """Start a container that the test owns then."""
    done = docker("run", "--detach", *options, BUSYBOX, *SLEEP)
    return DockerContainer.fromExisting(parent, done.strip())


def inside(container: DockerContainer, *command: str) -> str:
    """Return what a command in a container prints, whatever becomes of it."""
    return subprocess.run(
        ["docker", "exec", container.getName(), *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout


def address(container: DockerContainer, key: str = "IPAddress") -> str:
    networks = container.inspect()["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))[key])


def round_trip(client: DockerContainer, receiver: str, size: int = 56) -> float:
    """Return the time of a ping with *size* bytes, of which none is lost.

    That is the least of some: a busy machine only makes it longer.
    """
    version = "-6" if ":" in receiver else "-4"
    command = ("ping", version, "-c", "5", "-i", "0.1", "-s", str(size), receiver)
    said = inside(client, *command)
    times = [float(each) for each in re.findall(r"time=([\d.]+)", said)]
    assert len(times) == 5, said
    return min(times) / 1000


def network_inside(engine: ApiEngine, container: DockerContainer) -> Network:
    return network_of(engine, str(container.inspect()["Id"]))


def files_inside(engine: ApiEngine, container: DockerContainer) -> Files:
    return files_of(engine, str(container.inspect()["Id"]))


def iptables(engine: ApiEngine, container: DockerContainer, *arguments: str) -> str:
    """Return what ``iptables`` says in the network of a container."""
    with network_inside(engine, container).entering() as (before, descriptor):
        return subprocess.run(
            [*before, *arguments],
            check=True,
            capture_output=True,
            text=True,
            pass_fds=(descriptor,),
        ).stdout


@pytest.mark.parametrize("size", [1472, 1473, 4000, 30_000])
def test_what_is_longer_than_a_packet_may_be_is_late_and_not_lost(
    faults: DockerFaults, parent: Parent, size: int
) -> None:
    """The kernel of the receiver puts it together, and finds its checksum right."""
    one, two = sleeper(parent), sleeper(parent)
    with faults.slow(one, "50ms"), faults.slow(two, "50ms"):
        assert round_trip(one, address(two), size) == pytest.approx(0.1, rel=0.25)


def test_what_is_longer_than_a_packet_may_be_is_late_by_ipv6_too(
    faults: DockerFaults, parent: Parent
) -> None:
    """Where the sender's header says how it is cut."""
    subnet = f"fd00:{os.getpid() & 0xFFFF:x}:1::/64"
    network = DockerNetwork.create(parent, ipv6=True, subnet=subnet)
    one, two = (sleeper(parent, "--network", network.getName()) for _ in range(2))
    receiver = address(two, "GlobalIPv6Address")
    inside(one, "ping", "-6", "-c", "1", "-w", "10", receiver)  # it is usable then
    with faults.slow(one, "50ms"), faults.slow(two, "50ms"):
        for size in (1452, 1453, 4000):
            assert round_trip(one, receiver, size) == pytest.approx(0.1, rel=0.25)


def test_runs_that_disturb_one_container_do_not_meet(
    parent: Parent, tmp_path: Path
) -> None:
    """Each has a queue of its own there."""
    web, near, far = (sleeper(parent) for _ in range(3))
    runs = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", ANOTHER_RUN),
                *(str(tmp_path / str(number)), web.getName(), address(each)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, each in enumerate((near, far))
    ]
    try:
        for run in runs:
            assert run.stdout is not None
            assert any(line == "in force\n" for line in run.stdout)
        for each in (near, far):
            assert round_trip(each, address(web)) == pytest.approx(0.1, rel=0.25)
    finally:
        for run in runs:
            run.communicate(timeout=60)
    assert [run.returncode for run in runs] == [0, 0]
    assert round_trip(near, address(web)) < 0.05


def test_whose_network_was_joined_is_healed_though_the_other_went(
    engine: ApiEngine, faults: DockerFaults, parent: Parent
) -> None:
    """Rules are of the network, which stays with the one that it belongs to."""
    web, peer = sleeper(parent), sleeper(parent)
    makes: tuple[Callable[[DockerContainer], DockerFault], ...] = (
        lambda joined: faults.slow(joined, 0.1),
        lambda joined: faults.partition(peer, joined),
    )
    for make in makes:
        joined = sleeper(parent, "--network", f"container:{web.getName()}")
        with make(joined) as fault:
            assert "po-" in iptables(engine, web, "iptables-save")
            docker("rm", "--force", joined.getName())
            assert not fault.isInForce
        assert "po-" not in iptables(engine, web, "iptables-save")
        assert round_trip(peer, address(web)) < 0.05


def test_links_of_one_network_are_links_of_one_container(
    faults: DockerFaults, parent: Parent
) -> None:
    """The second would take the packets of the first."""
    web = sleeper(parent)
    joined = sleeper(parent, "--network", f"container:{web.getName()}")
    with faults.slow(web, 0.1):
        with pytest.raises(EndedError, match="cannot be made while slow link of"):
            faults.slow(joined, 0.2).start()
        with faults.partition(joined, sleeper(parent)) as fault:
            assert fault.isInForce


def test_a_queue_that_another_process_has_is_left_to_it(
    engine: ApiEngine, parent: Parent
) -> None:
    """The next one is taken; the error says so only if there is none."""
    one, two = sleeper(parent), sleeper(parent)
    network = network_inside(engine, one)
    delay = Delay(network, [7], Link(delay=1))
    target = Target(engine=engine, container=str(one.inspect()["Id"]), name="one")
    slow = Slow(target, Link(delay=0.1), None, chain="po-1", queues=[7, 8])
    try:
        slow.claims()
        slow.prepare()
        slow.begin()
        assert slow.is_in_force()
        assert "--queue-num 8 " in iptables(engine, one, "iptables-save")
        assert round_trip(two, address(one)) == pytest.approx(0.1, rel=0.25)
        with pytest.raises(FaultError, match=r"all queues that were tried: 7, 8$"):
            Delay(network, [7, 8], Link(delay=1))
    finally:
        slow.end()
        delay.end()


@pytest.mark.parametrize("hook", ["INPUT", "OUTPUT", "POSTROUTING"])
def test_rules_that_somebody_flushed_are_taken_back(
    engine: ApiEngine, faults: DockerFaults, parent: Parent, hook: str
) -> None:
    """The rest of them goes, whatever is left."""
    one, two = sleeper(parent), sleeper(parent)
    is_link = hook == "POSTROUTING"
    table = "mangle" if is_link else "filter"
    fault = faults.slow(one, 0.1) if is_link else faults.partition(one, two)
    fault.start()
    iptables(engine, one, "iptables", "-t", table, "-F", hook)
    assert not fault.isInForce
    fault.undo()
    assert "po-" not in iptables(engine, one, "iptables-save")
    with fault:
        assert fault.isInForce


def test_no_rules_are_not_in_force(engine: ApiEngine, parent: Parent) -> None:
    """What applies to nobody is no fault."""
    network = network_inside(engine, sleeper(parent))
    for chain in (cutting("po-1", ()), queueing("po-1", 7, ())):
        network.begin(chain)
        assert not network.has_whole(chain)


def test_a_file_system_that_keeps_blocks_for_itself_is_full(
    faults: DockerFaults, parent: Parent, tmp_path: Path
) -> None:
    """As ext4 does, on which some are free when nobody gets any."""
    image, folder = tmp_path / "image", tmp_path / "mounted"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    folder.mkdir()
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    for command in (
        ["mkfs.ext4", "-q", "-F", str(image)],
        ["mount", "-o", "loop", str(image), str(folder)],
    ):
        subprocess.run(command, check=True, env=environment)
    try:
        web = sleeper(parent, "--volume", f"{folder}:/data")
        write = ("sh", "-c", "dd if=/dev/zero of=/data/file bs=99k count=1 2>&1")
        with faults.fill(web, "/data") as fault:
            assert os.statvfs(folder).f_bfree
            assert "No space left on device" in inside(web, *write)
            assert fault.isInForce
        assert "1+0 records out" in inside(web, *write)
        web.kill()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, env=environment)


def test_what_could_not_be_done_to_a_folder_is_said(
    engine: ApiEngine, parent: Parent
) -> None:
    """Whether it was to be filled, or to get its space back."""
    web = sleeper(parent, "--mount", f"{SMALL},readonly")
    files = files_inside(engine, web)
    with pytest.raises(FaultError, match=r"^/small cannot be filled: Read-only file"):
        files.fill("/small")
    long = "/" + "n" * 300
    with pytest.raises(FaultError, match="n cannot be emptied: File name too long"):
        files.free(long)
    with pytest.raises(FaultError, match="n cannot be looked at: File name too long"):
        files.check(long)

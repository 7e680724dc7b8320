"""Engines that are reached by TLS or ssh, or are of another kind, for a test to use."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.errors import DockerError
from tests.conftest import BUSYBOX
from tests.docker.owned import eventually

#: An address that no other machine has; it stands for one that is not the loopback.
OTHER_ADDRESS = "192.0.2.1"
_USER = "rootless"
_USER_ID = 23456


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """An engine, and what a run needs to get there.

    Attributes:
        engine: The same engine, by a socket of this machine.
        environment: What a docker client needs in its environment.
        within: A command that executes another one where its ports are reached.
        folder: For what a test adds.
    """

    engine: ApiEngine
    environment: Mapping[str, str]
    within: Sequence[str] = ()
    folder: Path


def made_folder() -> Path:
    """Make a folder with a short path, since sockets are in it."""
    return Path(tempfile.mkdtemp(prefix="orch-"))


def free_port() -> int:
    """Return a port that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def process(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    stop: int = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process and what it starts for the duration of the block."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            command,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        started.send_signal(stop)
        try:
            started.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def answering(
    environment: Mapping[str, str], started: subprocess.Popen[bytes], log: Path
) -> ApiEngine:
    """Return the engine once it answers."""

    def look() -> ApiEngine | None:
        assert started.poll() is None, log.read_text()
        try:
            return ApiEngine.connect(environment)
        except DockerError:
            return None

    return eventually(look, what="the engine answers", explain=log.read_text)


def provide_busybox(environment: Mapping[str, str]) -> None:
    """Give an engine the image that most tests run in."""
    with subprocess.Popen(
        ["docker", "save", BUSYBOX], stdout=subprocess.PIPE
    ) as saving:
        subprocess.run(
            ["docker", "load", "--quiet"],
            env={**os.environ, **environment},
            stdin=saving.stdout,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )


def with_sbin() -> str:
    """Return a PATH on which the daemons are."""
    docker = shutil.which("docker")
    assert docker is not None
    beside = Path(docker).parent
    return os.pathsep.join(
        [str(beside.parent / "sbin"), os.environ["PATH"], "/usr/sbin", "/sbin"]
    )


# TLS ----------------------------------------------------------------------------------


def make_certificates(folder: Path, *names: str) -> None:
    """Make an authority, an engine's certificate for *names*, and a client's."""
    folder.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments], cwd=folder, check=True, capture_output=True
        )

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        *("req", "-x509", *curve, "-subj", "/CN=authority", "-days", "2"),
        *("-keyout", "ca-key.pem", "-out", "ca.pem"),
    )
    for name, usage in (("server", "serverAuth"), ("client", "clientAuth")):
        alternatives = ",".join(names) if name == "server" else "DNS:client"
        (folder / "extensions").write_text(
            f"subjectAltName={alternatives}\nextendedKeyUsage={usage}\n"
        )
        openssl(
            *("req", "-new", *curve, "-subj", f"/CN={name}"),
            *("-keyout", f"{name}-key.pem", "-out", f"{name}.csr"),
        )
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-days", "2"),
            *("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"),
            *("-extfile", "extensions", "-out", f"{name}-cert.pem"),
        )
    (folder / "client-cert.pem").rename(folder / "cert.pem")
    (folder / "client-key.pem").rename(folder / "key.pem")


@contextlib.contextmanager
def tls_engine() -> Iterator[Elsewhere]:
    """Start an engine that wants certificates, in a network namespace of its own."""
    folder = made_folder()
    try:
        certificates = folder / "certificates"
        make_certificates(certificates, f"IP:{OTHER_ADDRESS}", "DNS:localhost")
        (folder / "daemon.json").write_text("{}")
        daemon = [
            *("dockerd", f"--config-file={folder}/daemon.json"),
            *(f"--data-root={folder}/data", f"--exec-root={folder}/exec"),
            *(f"--pidfile={folder}/pid", f"--host=unix://{folder}/docker.sock"),
            f"--host=tcp://{OTHER_ADDRESS}:2376",
            *("--tlsverify", f"--tlscacert={certificates}/ca.pem"),
            f"--tlscert={certificates}/server-cert.pem",
            f"--tlskey={certificates}/server-key.pem",
        ]
        script = (
            f'ip link set lo up; ip address add {OTHER_ADDRESS}/32 dev lo; exec "$@"'
        )
        log = folder / "log"
        with process(
            ["unshare", "--net", "sh", "-c", script, "sh", *daemon],
            log,
            environment={**os.environ, "PATH": with_sbin()},
        ) as started:
            here = {"DOCKER_HOST": f"unix://{folder}/docker.sock"}
            engine = answering(here, started, log)
            provide_busybox(here)
            yield Elsewhere(
                engine=engine,
                environment={
                    "DOCKER_HOST": f"tcp://{OTHER_ADDRESS}:2376",
                    "DOCKER_TLS_VERIFY": "1",
                    "DOCKER_CERT_PATH": str(certificates),
                },
                within=("nsenter", f"--net=/proc/{started.pid}/ns/net"),
                folder=folder,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ssh ----------------------------------------------------------------------------------


@contextlib.contextmanager
def ssh_engine(engine: ApiEngine) -> Iterator[Elsewhere]:
    """Start an ssh server in front of the engine that all tests use."""
    folder = made_folder()
    try:
        for name in ("host", "key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
                check=True,
            )
        port = free_port()
        public = (folder / "host.pub").read_text().split()[:2]
        (folder / "known").write_text(f"[127.0.0.1]:{port} {' '.join(public)}\n")
        (folder / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
            f"PidFile none\nAuthorizedKeysFile {folder}/key.pub\nStrictModes no\n"
            "UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
            f"SetEnv DOCKER_HOST={engine.endpoint} PATH={os.environ['PATH']}\n"
        )
        (folder / "ssh_config").write_text(
            f"Host *\n IdentityFile {folder}/key\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {folder}/known\n"
        )
        # OpenSSH reads its configuration from the home that the system knows.
        client = folder / "bin" / "ssh"
        client.parent.mkdir()
        real = shutil.which("ssh")
        client.write_text(f'#!/bin/sh\nexec {real} -F {folder}/ssh_config "$@"\n')
        client.chmod(0o755)
        # Where it separates privileges; a system that boots makes it.
        Path("/run/sshd").mkdir(exist_ok=True)
        server = shutil.which("sshd", path=with_sbin())
        assert server is not None, "there is no sshd: install openssh-server"
        log = folder / "log"
        with process([server, "-D", "-e", "-f", f"{folder}/sshd_config"], log) as run:
            environment = {
                "DOCKER_HOST": f"ssh://127.0.0.1:{port}",
                "PATH": f"{client.parent}{os.pathsep}{os.environ['PATH']}",
            }
            answering({**os.environ, **environment}, run, log).close()
            yield Elsewhere(engine=engine, environment=environment, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# Engines of another kind --------------------------------------------------------------


@contextlib.contextmanager
def podman_engine() -> Iterator[Elsewhere]:
    """Start Podman's service, in a network namespace of its own."""
    folder = made_folder()
    try:
        # Within what anybody may have. Podman 4.3 confuses both limits of a kind.
        (folder / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
            '[network]\nnetwork_backend = "netavark"\n'
            f'network_config_dir = "{folder}/networks"\n'
        )
        places = (f"--{each}={folder}/{each}" for each in ("root", "runroot", "tmpdir"))
        service = [
            *("podman", *places, "--cgroup-manager=cgroupfs", "--events-backend=file"),
            *("system", "service", "--time=0", f"unix://{folder}/podman.sock"),
        ]
        log = folder / "log"
        script = 'ip link set lo up; exec "$@"'
        with process(
            # With its processes, since those of an `exec` outlive it by minutes.
            [
                *("unshare", "--net", "--mount-proc", "--pid", "--fork"),
                *("--kill-child", "sh", "-c", script, "sh", *service),
            ],
            log,
            environment={
                **os.environ,
                "CONTAINERS_CONF": f"{folder}/containers.conf",
                "PATH": with_sbin(),
            },
            # It would wait for streams that it still serves.
            stop=signal.SIGKILL,
        ) as started:
            here = {"DOCKER_HOST": f"unix://{folder}/podman.sock"}
            engine = answering(here, started, log)
            provide_busybox(here)
            yield Elsewhere(
                engine=engine,
                environment=here,
                within=("nsenter", f"--net=/proc/{started.pid}/ns/net"),
                folder=folder,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def rootless_engine() -> Iterator[Elsewhere]:
    """Start an engine as a user who is nobody, with slirp4netns."""
    folder = made_folder()
    try:
        script = _rootless_script(folder)
        log = folder / "log"
        command = ["unshare", "--mount", "sh", "-ec", script]
        with process(command, log) as started:
            here = {"DOCKER_HOST": f"unix://{folder}/run/docker.sock"}
            engine = answering(here, started, log)
            provide_busybox(here)
            yield Elsewhere(engine=engine, environment=here, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rootless_script(folder: Path) -> str:
    """Return what makes a user in a mount namespace, and that user's engine."""
    folder.chmod(0o755)
    programs = folder / "bin"
    programs.mkdir()
    search = with_sbin()
    # Root's own folders are closed to the user.
    for name in (
        *("dockerd", "docker-proxy", "containerd", "containerd-shim-runc-v2"),
        *("docker", "runc"),
    ):
        found = shutil.which(name, path=search)
        assert found is not None, f"there is no {name}"
        shutil.copy(found, programs)
    starter = _rootless_starter(search)
    shutil.copy(starter, programs / "dockerd-rootless.sh")
    (programs / "dockerd-rootless.sh").chmod(0o755)
    for name in ("home", "run"):
        (folder / name).mkdir(mode=0o700)
        os.chown(folder / name, _USER_ID, _USER_ID)
    lines = {
        "passwd": f"{_USER}:x:{_USER_ID}:{_USER_ID}::{folder}/home:/bin/sh\n",
        "group": f"{_USER}:x:{_USER_ID}:\n",
        "subuid": f"{_USER}:2000000:65536\n",
        "subgid": f"{_USER}:2000000:65536\n",
    }
    mounts = ""
    for name, line in lines.items():
        there = Path("/etc", name)
        before = there.read_text() if there.exists() else ""
        (folder / name).write_text(before + line)
        mounts += f"touch /etc/{name}; mount --bind {folder}/{name} /etc/{name}\n"
    return f"""
        {mounts}
        mknod -m 666 {folder}/tun c 10 200
        mount --bind {folder}/tun /dev/net/tun
        cd {folder}/home
        exec setpriv --reuid {_USER_ID} --regid {_USER_ID} --clear-groups \
            env -i HOME={folder}/home USER={_USER} XDG_RUNTIME_DIR={folder}/run \
            PATH={programs}:/usr/bin:/bin:/usr/sbin:/sbin dockerd-rootless.sh
    """


def _rootless_starter(search: str) -> Path:
    """Return Docker's script that starts an engine as a user."""
    if found := shutil.which("dockerd-rootless.sh", path=search):
        return Path(found)
    daemon = shutil.which("dockerd", path=search)
    assert daemon is not None
    shared = Path(daemon).parent.parent / "share" / "docker.io" / "contrib"
    starter = shared / "dockerd-rootless.sh"
    assert starter.is_file(), f"there is no {starter}"
    return starter

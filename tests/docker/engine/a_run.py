"""A run without PySys: it owns things on an engine, and has a reaper.

It is told what to do in words, one line each, and answers each in a line of JSON.
`test_reaper` starts it, and kills it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from pysys_orch.docker.engine.client import ApiEngine
from pysys_orch.docker.engine.ownership import (
    MARKER_VARIABLE,
    owner_labels,
    resource_name,
    this_domain,
    this_owner,
)
from pysys_orch.docker.engine.reaper import Reaper
from pysys_orch.settings import docker_settings

Answer = dict[str, object]


class Run:
    """What a run knows."""

    def __init__(self, log: str, host: str, image: str) -> None:
        self._settings = docker_settings()
        self._owner = this_owner(this_domain())
        self._host = host
        self._image = image
        self._reaper = Reaper.start(self._owner, self._settings, Path(log))

    def who(self) -> Answer:
        """Tell who it is."""
        return {"owner": self._owner.key, "reaper": self._reaper._process.pid}

    def make(self, keep: str = "") -> Answer:
        """Make one thing of each kind, each of which is in use by a container."""
        engine = ApiEngine.connect({"DOCKER_HOST": self._host})
        labels = owner_labels(
            self._owner, test_id="t", lease=300, facts={}, keep=bool(keep)
        )
        container, network, volume, image = (
            resource_name(self._owner, "t", f"{role}{keep}", number)
            for number, role in enumerate(("container", "network", "volume", "image"))
        )
        engine.tag_image(self._image, f"{image}:latest")
        engine.create_network(network, labels, {})
        engine.create_volume(volume, labels)
        host = {"NetworkMode": network, "Binds": [f"{volume}:/data"]}
        body = {
            "Image": f"{image}:latest",
            "Cmd": ["sleep", "600"],
            "Labels": labels,
            "HostConfig": host,
        }
        engine.start_container(engine.create_container(container, body))
        return {"names": [container, network, volume, f"{image}:latest"]}

    def report(self) -> Answer:
        """Wait for the reaper's first report."""
        return dict(self._reaper.report(60.0))

    def watch(self, host: str) -> Answer:
        """Use one more engine."""
        self._reaper.watch({"DOCKER_HOST": host})
        return {}

    def fork(self) -> Answer:
        """Have a child that holds all that this process has open."""
        child = os.fork()
        if not child:
            signal.pause()
        return {"pid": child}

    def client(self) -> Answer:
        """Start a docker client that does not end by itself."""
        client = subprocess.Popen(
            ["docker", "events"],
            env={
                **os.environ,
                "DOCKER_HOST": self._host,
                MARKER_VARIABLE: self._owner.key,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        return {"pid": client.pid}

    def terminate(self) -> Answer:
        """Do to the reaper what those do who cancel a job."""
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(self._reaper._process.pid, number)
        return {}

    def dismiss(self) -> Answer:
        """End well."""
        self._reaper.dismiss(60.0)
        return {"status": self._reaper._process.returncode}

    def die(self) -> Answer:
        """End without a word."""
        os.kill(os.getpid(), signal.SIGKILL)
        return {}


def main() -> None:
    run = Run(*sys.argv[1:])
    for line in sys.stdin:
        word, *arguments = line.split()
        sys.stdout.write(json.dumps(getattr(run, word)(*arguments)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

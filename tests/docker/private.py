"""An engine of a test's own, which it may stop, start and break."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.docker.elsewhere import provide_busybox

SCRIPTS = Path(__file__).parents[2] / "scripts"


class PrivateEngine:
    """A second engine in a network namespace of its own.

    Attributes:
        environment: What a docker client needs to find it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        """Start it, where it was stopped with what it had."""
        said = self._script("engine", "start", "--netns", self._folder.name)
        for line in said.splitlines():
            key, _, text = line.removeprefix("export ").partition("=")
            self.environment[key] = shlex.split(text)[0] if text else ""
        path = self.environment["PATH"].replace("$PATH", os.environ["PATH"])
        self.environment["PATH"] = path

    def stop(self) -> None:
        """Stop it, and what runs on it."""
        self._script("engine", "stop")

    def docker(self, *arguments: str) -> None:
        """Run a docker command on it."""
        environment = {**os.environ, **self.environment}
        subprocess.run(
            ["docker", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )

    def _script(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [SCRIPTS / name, *arguments],
            env={**os.environ, "PYSYS_ORCH_ENGINE_DIR": str(self._folder)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout


@contextlib.contextmanager
def private_engine(
    configuration: Mapping[str, object] | None = None,
) -> Iterator[PrivateEngine]:
    """Run an engine, with the test image, for the duration of the block.

    Args:
        configuration: What is in its ``daemon.json``.
    """
    if os.getuid() != 0:
        pytest.skip("only root can start an engine")
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    shared = Path(
        os.environ.get("PYSYS_ORCH_ENGINE_DIR", home / "pysys_orch" / "engine")
    )
    folder = Path(tempfile.mkdtemp(prefix="orch-"))  # a socket's path must be short
    try:
        (folder / "modern").mkdir()
        for each in ("modern/root", "plugins", "apt"):
            if (shared / each).exists():
                (folder / each).symlink_to(shared / each)
        text = json.dumps(configuration or {})
        (folder / "modern" / "daemon.json").write_text(text, encoding="utf-8")
        engine = PrivateEngine(folder)
        engine.start()
        try:
            provide_busybox(engine.environment)
            yield engine
        finally:
            engine.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""An image is built again from what has not changed."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.docker.bench import BUSYBOX, Bench
from benchmarks.measure import (
    Bar,
    Figures,
    Report,
    Rounds,
    ratio,
    values,
)

ROUNDS = 20
_FILES = 20
_DOCKERFILE = f"""\
FROM {BUSYBOX}
COPY . /data/
RUN cat /data/* >/all
CMD ["sh"]
"""
_UNCHANGED = "pysys_orch, nothing has changed"
_UNTAGGED = "pysys_orch, its cache tag removed"


def run(bench: Bench, rounds: Rounds) -> Iterator[Report]:
    """Compare all variants."""
    import docker
    import python_on_whales

    folder = bench.folder / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(_DOCKERFILE, encoding="utf-8")
    for number in range(_FILES):
        (folder / f"{number}.txt").write_text(f"{number}\n" * 5000, encoding="utf-8")

    sdk = docker.from_env()
    whales = python_on_whales.DockerClient(client_call=[bench.docker])
    builds: dict[str, Callable[[str], object]] = {
        "raw": partial(_raw, bench, folder),
        "docker SDK": lambda tag: sdk.images.build(
            path=str(folder), tag=tag, rm=True, forcerm=True
        ),
        "docker CLI, legacy builder": partial(_cli, bench, folder, "0"),
        "docker CLI, BuildKit": partial(_cli, bench, folder, "1"),
        "python-on-whales": lambda tag: whales.build(folder, tags=tag, progress=False),
    }
    variants: dict[str, Callable[[], Figures]] = {
        name: partial(_measure, partial(build, bench.name("image")))
        for name, build in builds.items()
    }
    notes = []
    for name in builds:
        try:
            variants[name]()
        except subprocess.CalledProcessError as failure:
            notes.append(f"{name} is not available: {failure}")
            del variants[name]

    tag = bench.worker().ask("cache_tag", str(folder))
    bench.other_images.add(tag)
    # The image stays, as those of the others do: only what names it is gone.
    bench.raw.ask("POST", f"/images/{tag}/tag", repo=bench.name("image"))
    unchanged = bench.in_worker("build", str(folder))

    def untagged() -> Figures:
        with suppress(RuntimeError):
            bench.raw.ask("DELETE", f"/images/{tag}")
        return unchanged()

    samples, busy = rounds.interleave(
        {**variants, _UNCHANGED: unchanged, _UNTAGGED: untagged}, ROUNDS
    )
    yield Report(
        title="Cached build",
        samples=samples,
        baseline="raw",
        busy=busy,
        bars=[
            Bar(
                promise=f"{_UNCHANGED}, against raw",
                measured=ratio(samples, _UNCHANGED, "raw"),
                limit=1.5,
            ),
            Bar(
                promise=f"{_UNCHANGED}: docker commands started",
                measured=values(samples, _UNCHANGED, "processes"),
                limit=0,
                unit="",
            ),
            Bar(
                promise=f"{_UNTAGGED}, against raw",
                measured=ratio(samples, _UNTAGGED, "raw"),
                limit=1.5,
            ),
        ],
        notes=[
            *notes,
            "raw, SDK and legacy use the engine's old builder, without BuildKit",
        ],
    )


def _measure(build: Callable[[], object]) -> Figures:
    begin = time.perf_counter()
    build()
    return {"total": (time.perf_counter() - begin) * 1000}


def _raw(bench: Bench, folder: Path, tag: str) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(folder, ".")
    said = bench.raw.ask("POST", "/build", data.getvalue(), t=tag)
    assert b"Successfully built" in said, said


def _cli(bench: Bench, folder: Path, buildkit: str, tag: str) -> None:
    subprocess.run(
        [bench.docker, "build", "--quiet", "--tag", tag, folder],
        check=True,
        env={**os.environ, "DOCKER_BUILDKIT": buildkit},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

"""Images: built, wrapped, kept for the next build, collected when nobody uses them."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import itertools
import json
import logging
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pysys_orch.clock import SystemClock
from pysys_orch.docker.engine import context as contexts
from pysys_orch.docker.engine import dockerfile
from pysys_orch.docker.engine.model import Kind, Resource
from pysys_orch.docker.engine.ownership import (
    CACHE_LABEL,
    cache_tag,
    is_cache_tag,
    this_domain,
    this_owner,
    unique_name,
)
from pysys_orch.docker.helper import DockerBelonging, existing, says
from pysys_orch.docker.parent import Parent
from pysys_orch.docker.session import Session
from pysys_orch.errors import ConfigError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from pysys_orch.docker.engine.client import ApiEngine

log = logging.getLogger("pysys.orch.docker")

_FIRST_CLIENT_WITHOUT_BUILDKIT = 23

_DRAWS = 16**4
# Held by whoever builds an image: by engine and tag.
_builders: dict[tuple[str, str], threading.Lock] = {}
# Drawn once and then counted: among that many draws none comes twice.
_draws = itertools.count(secrets.randbelow(_DRAWS))

_Substitutions = tuple[str, "DockerImage"] | Mapping[str, "DockerImage | str"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """Everything that decides what comes out of a build.

    Attributes:
        file: The Dockerfile.
        context: Folder with the build context, or None for a blank one.
        others: Files that are added to the root of the context.
        substitutions: Image names in the Dockerfile, and what to use instead.
        arguments: Build arguments.
        target: The stage to stop at, or nothing for the last.
        platform: What to build for, or nothing for the engine's own.
        extra: More arguments of ``docker build``.
    """

    file: Path
    context: Path | None
    others: tuple[Path, ...]
    substitutions: Mapping[str, str]
    arguments: Mapping[str, str]
    target: str
    platform: str
    extra: tuple[str, ...]

    def identity(self) -> str:
        """Return a digest of what is built, whatever it is built from."""
        return _digest(
            getpass.getuser(),
            self.file,
            self.context,
            self.arguments,
            self.target,
            self.platform,
            self.extra,
        )

    def options(self) -> list[str]:
        """Return the arguments of ``docker build`` that say all of this."""
        options = ["--label", f"{CACHE_LABEL}={self.identity()[:24]}"]
        for key, value in self.arguments.items():
            options += ["--build-arg", f"{key}={value}"]
        options += ["--target", self.target] if self.target else []
        options += ["--platform", self.platform] if self.platform else []
        return [*options, *self.extra]


class DockerImage(DockerBelonging):
    """Helper class for working with Docker images.

    An image that a test builds is known by a name of its own until the test ends. The
    image itself is kept under a second name, so that the next test or run that builds
    the same from the same finds it; it is collected once nobody used it for
    ``dockerImageRetentionDays``.

    Args:
        parent: The test, or the runner for an image that a whole run shares.
        name: Its name on the engine.
        own: Whether the name is removed when the parent is cleaned up.
    """

    def __init__(self, parent: Parent, name: str, own: bool = True) -> None:
        super().__init__(parent, f"image {name}")
        self._name = name
        self._own = own
        if own:
            with self.reporting():
                Session.of(parent).belongings(parent).add(self)

    def getName(self) -> str:
        """Return the image's name."""
        return self._name

    @staticmethod
    def generateUniqueName() -> str:
        """Return a unique name, for an image or whatever else needs one.

        It begins with ``pysys``, the process id and the local time; from the rest a
        collection knows whose it was.

        Returns:
            At most 44 characters of ``[a-z0-9-]``, so that a secret may be called
            ``my-secret-%s.properties`` with it.
        """
        local = SystemClock().stamp().astimezone()
        draw = f"{next(_draws) % _DRAWS:04x}"
        return unique_name(this_owner(this_domain()), local, draw)

    @classmethod
    def fromBlank(cls, parent: Parent) -> DockerImage:
        """Reserve a name for an image that is built by external means.

        Tag the image with what `getName` returns, and it is removed with the test.

        Args:
            parent: The test or runner.
        """
        return cls(parent, Session.of(parent).name(parent, "image"))

    @classmethod
    def fromExisting(
        cls,
        parent: Parent,
        name: str,
        own: bool = False,
        pull: bool = False,
        **kwargs: Any,
    ) -> DockerImage:
        """Wrap an existing image.

        No engine is asked unless *pull* says so: an image that is missing shows when it
        is first used.

        Args:
            parent: The test or runner.
            name: Name of the existing image.
            own: Whether the name is removed when the parent is cleaned up.
            pull: Whether to pull it first.
            kwargs: Passed on to the pull: ``timeout``, ``environs``, ``abortOnError``.
        """
        image = cls(parent, name, own)
        if pull:
            kwargs.setdefault("displayNamePostfix", f" {name}")
            image._executeDockerCommand(parent, ["pull", name], **kwargs)
        return image

    @classmethod
    def fromDockerfile(
        cls,
        parent: Parent,
        file: str,
        context: str | None = None,
        otherfiles: Iterable[str] | None = None,
        imageSubst: _Substitutions = None,
        abortOnError: bool = True,
        noCache: bool = False,
        buildArgs: Iterable[str] | Mapping[str, str] | None = None,
        timeout: float = 1200,
        *,
        target: str = "",
        platform: str = "",
        extraArgs: Iterable[str] = (),
    ) -> DockerImage:
        """Build an image from a Dockerfile.

        Nothing is built when the same was built before from the same: Dockerfile,
        context, arguments and base images are compared by content.

        Args:
            parent: The test, or the runner for an image that a whole run shares.
            file: Location of the Dockerfile, absolute or relative to the input folder.
            context: Folder with the build context; a blank one by default.
            otherfiles: More files or folders that are copied into the root of the
                context, absolute or relative to the Dockerfile's folder. The context
                itself is not written to.
            imageSubst: Which image to use for a name in a FROM line: a tuple (name,
                image), or a mapping of several. ``ARG`` defaults are seen through;
                ``COPY --from`` is substituted likewise.
            abortOnError: Whether a failing build ends the test.
            noCache: Whether to build every step anew.
            buildArgs: Build arguments, as a mapping or as a list of ``NAME=value``.
            timeout: Seconds after which the build is ended.
            target: The stage to stop at.
            platform: What to build for, such as ``linux/arm64``.
            extraArgs: More arguments of ``docker build``.

        Returns:
            The image; if the build failed and the test was to go on, one that does not
            exist.
        """
        image = cls.fromBlank(parent)
        image.displayName = f"image {Path(file).parent.name or Path(file).name}"
        with image.reporting(abortOnError=abortOnError):
            folder = _inFolder(parent.input, file).parent
            build = _Build(
                file=existing(_inFolder(parent.input, file), "Dockerfile"),
                context=None
                if context is None
                else existing(_inFolder(parent.input, context), "build context"),
                others=tuple(_inFolder(folder, other) for other in otherfiles or ()),
                substitutions=_substitutions(imageSubst),
                arguments=_buildArguments(buildArgs),
                target=target,
                platform=platform,
                extra=tuple(extraArgs),
            )
            image._build(  # noqa: SLF001 -- its own
                build, noCache=noCache, timeout=timeout, abort=abortOnError
            )
        return image

    # What a test's cleanup asks of it ------------------------------------------

    def resources(self) -> list[Resource]:
        """Return the name to remove."""
        return [Resource(kind=Kind.IMAGE, id=self._name, name=self._name)]

    # Building --------------------------------------------------------------------

    def _build(
        self, build: _Build, *, noCache: bool, timeout: float, abort: bool
    ) -> None:
        engine = Session.of(self.parent).engines.engine()
        text = build.file.read_bytes().decode("utf-8", "surrogateescape")
        if not dockerfile.has_stage(text):
            message = f"{build.file} has no FROM instruction: it makes no image"
            raise ConfigError(message)
        tailored = dockerfile.substitute_images(
            text, build.substitutions, build_args=build.arguments
        )
        for name in tailored.unused:
            words = dockerfile.explain_unused(name, tailored.references)
            log.warning("%s: %s", build.file, words)
        ignore = _ignored(self.parent, build)
        with contextlib.ExitStack() as undo:
            scratch = undo.enter_context(_folder(self.parent))
            context = _contextOf(build, ignore, scratch)
            if context is scratch:
                ignore = ()  # applied already, and not meant for the other files
            content = _digest(
                text,
                contexts.context_digest(context, ignore=ignore),
                _bases(engine, tailored.text, build),
            )
            cached = cache_tag(build.identity(), content)
            if not noCache and _mayReuse(build, text):
                # Of tests that need the same at the same time, one builds it.
                undo.enter_context(_building(engine, cached))
                if _isThere(engine, cached):
                    # The first tag is for this test, the second tells of the use.
                    engine.tag_image(cached, self._name)
                    engine.tag_image(cached, cached)
                    log.info("%s has not changed since it was last built", build.file)
                    return
            builder = _builder(self.parent, engine)
            text = tailored.text
            if builder["DOCKER_BUILDKIT"] == "0":
                # A build that is killed leaves what it got to: that carries the label.
                label = {CACHE_LABEL: build.identity()[:24]}
                text = dockerfile.label_stages(text, label)
            file = self._tailoredFile(build, text, ignore)
            before = _imageId(engine, cached)
            done = self._executeDockerCommand(
                self.parent,
                [
                    *("build", "--tag", self._name, "--tag", cached, "--file", file),
                    "--force-rm",  # or the legacy builder keeps what a failure left
                    *build.options(),
                    *(["--no-cache"] if noCache else []),
                    str(context),
                ],
                environs=builder,
                timeout=timeout,
                abortOnError=abort,
                ignoreExitStatus=False,
                displayNamePostfix=f" {build.file.parent.name}/{build.file.name}",
            )
            if done.process is not None and done.process.exitStatus == 0:
                _forgetOthers(engine, cached)
                _forgetReplaced(engine, before)

    def _tailoredFile(self, build: _Build, text: str, ignore: tuple[str, ...]) -> str:
        """Write the Dockerfile that is built from into the output directory.

        What is ignored stands beside it, which BuildKit prefers to what is in the
        context.
        """
        path = Path(self.parent.output, f"{build.file.name}.{self._name}")
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        beside = path.with_name(f"{path.name}.dockerignore")
        beside.write_text(
            "".join(f"{pattern}\n" for pattern in ignore),
            encoding="utf-8",
            errors="surrogateescape",
        )
        return str(path)


def _building(engine: ApiEngine, tag: str) -> threading.Lock:
    """Return what is held by whoever builds the image with this tag."""
    return _builders.setdefault((engine.endpoint, tag), threading.Lock())


def _builder(parent: Parent, engine: ApiEngine) -> dict[str, str]:
    """Return what makes the docker client use BuildKit, or the legacy builder."""
    session = Session.of(parent)
    given = session.settings.environment.get("DOCKER_BUILDKIT")
    if given is not None:
        return {"DOCKER_BUILDKIT": given}
    if engine.is_podman:
        return {"DOCKER_BUILDKIT": "0"}  # its API has no BuildKit
    if session.buildkit is None:
        session.buildkit = _hasBuildkit(parent)
    return {"DOCKER_BUILDKIT": "1" if session.buildkit else "0"}


def _hasBuildkit(parent: Parent) -> bool:
    """Return whether the docker client can build with BuildKit.

    It can with its plugin; a client before 23 has BuildKit built in.
    """
    if says(parent, "buildx", "version"):
        return True
    version = re.search(r"version (\d+)\.", says(parent, "--version"))
    return version is not None and int(version[1]) < _FIRST_CLIENT_WITHOUT_BUILDKIT


@contextlib.contextmanager
def _folder(parent: Parent) -> Iterator[Path]:
    """Make a folder in the output directory, for the duration of the block."""
    Path(parent.output).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="docker_context_", dir=parent.output))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ignored(parent: Parent, build: _Build) -> tuple[str, ...]:
    """Return the patterns of what is left out of the context.

    The test's own output is, or a context that is the test's folder would be another
    one in each run.
    """
    if build.context is None:
        return ()
    ignore = contexts.read_ignore(build.context, build.file)
    outputs = {Path(parent.output)}
    descriptor = getattr(parent, "descriptor", None)
    if descriptor is not None:  # under it also other runs have left theirs
        outputs.add(Path(descriptor.testDir, descriptor.output))
    context = build.context.resolve()
    for output in sorted(each.resolve() for each in outputs):
        if context in output.parents:
            path = output.relative_to(context).as_posix()
            ignore = (*ignore, re.sub(r"[*?\[\]\\!#]", r"\\\g<0>", path))
    return ignore


def _contextOf(build: _Build, ignore: tuple[str, ...], scratch: Path) -> Path:
    """Return the context to build from, which is *scratch* unless it is given whole."""
    if build.context is not None and not build.others:
        return build.context
    contexts.gather(build.context, build.others, scratch, ignore=ignore)
    return scratch


def _bases(engine: ApiEngine, text: str, build: _Build) -> list[str | None]:
    """Return the ids of the images that a build starts from, None where not here."""
    names = dockerfile.base_images(text, build.arguments)
    if names is None:
        return [secrets.token_hex(16)]  # not known, so never the same as before
    return [_imageId(engine, name) for name in names]


def _imageId(engine: ApiEngine, name: str) -> str | None:
    try:
        return str(engine.inspect_image(name)["Id"])
    except NotFoundError:
        return None


def _mayReuse(build: _Build, text: str) -> bool:
    """Return whether equal content is sure to give an equal image.

    Further arguments of docker may bring in what is not looked at here.
    """
    return not build.extra and dockerfile.why_rebuild(text) is None


def _isThere(engine: ApiEngine, name: str) -> bool:
    return _imageId(engine, name) is not None


def _forgetOthers(engine: ApiEngine, current: str) -> None:
    """Remove what was kept of earlier builds of the same."""
    repository = current.partition(":")[0]
    for tag in engine.image_tags(repository):
        if tag != current and is_cache_tag(tag):
            resource = Resource(kind=Kind.IMAGE, id=tag, name=tag)
            # In use by a container, or removed by a build at the same time.
            with contextlib.suppress(ConflictError, NotFoundError):
                engine.remove(resource)


def _forgetReplaced(engine: ApiEngine, image: str | None) -> None:
    """Remove what had a tag before the build, unless it still has another."""
    if image is None:
        return
    with contextlib.suppress(ConflictError, NotFoundError):
        if not engine.inspect_image(image).get("RepoTags"):
            engine.remove(Resource(kind=Kind.IMAGE, id=image, name=image))


def _digest(*facts: object) -> str:
    words = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(words.encode("utf-8", "surrogateescape")).hexdigest()


def _inFolder(folder: str | Path, path: str) -> Path:
    return Path(folder, path).absolute()


def _substitutions(given: _Substitutions) -> dict[str, str]:
    if given is None:
        return {}
    pairs = [given] if isinstance(given, tuple) else list(given.items())
    return {
        name: image.getName() if isinstance(image, DockerImage) else str(image)
        for name, image in pairs
    }


def _buildArguments(given: Iterable[str] | Mapping[str, str] | None) -> dict[str, str]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(key): str(value) for key, value in given.items()}
    if isinstance(given, str):
        message = f"buildArgs takes a list of NAME=value, got the text {given!r}"
        raise ConfigError(message)
    arguments = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            message = f"buildArgs takes NAME=value, got {each!r}"
            raise ConfigError(message)
        arguments[name] = value
    return arguments

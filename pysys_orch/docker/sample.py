"""A compose or stack file as it stands, and the tailored copies that a test brings up.

Reads the file, what it includes and extends, and the Dockerfiles that it builds; lets
`pysys_orch.docker.engine.tailor` decide; writes the copies, and how they differ, into
the output directory. Nothing is ever written to where the sample is.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pysys_orch.docker.engine import context as contexts
from pysys_orch.docker.engine import dockerfile, tailor
from pysys_orch.docker.engine.dockerfile import canonical_reference
from pysys_orch.docker.engine.ownership import Owner
from pysys_orch.docker.envfile import readVariables
from pysys_orch.docker.helper import existing, reserveFile
from pysys_orch.docker.image import DockerImage
from pysys_orch.docker.session import Session
from pysys_orch.errors import ConfigError
from pysys_orch.inputs import utf8_text

if TYPE_CHECKING:
    from pysys_orch.docker.parent import Parent

log = logging.getLogger("pysys.orch.docker")

_MOST_FILES = 100  # that include each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitutions:
    """What is different in a tailored copy.

    Attributes:
        images: Image references of the file, and what to use instead.
        ports: Published ports to move; None for all.
        hostPaths: Host paths of the file, and the real ones.
        builds: Build paths of the file; the real contexts, and the names of Dockerfiles
            that must be there.
        files: Build paths of the file, and what to copy into their contexts.
        texts: Texts, and what replaces them.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    ports: frozenset[int] | None = None
    hostPaths: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, tuple[Path, tuple[str, ...]]] = field(default_factory=dict)
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        imageSubst: Mapping[str, DockerImage | str] | None,
        externalPorts: Iterable[int] | None,
        hostPathSubst: Mapping[str, str] | None,
        buildSubst: Mapping[str, Any] | None,
        additionalFiles: Mapping[str, Sequence[str]] | None,
        otherSubsts: Mapping[str, str] | None,
    ) -> Substitutions:
        """Return what a test has asked for.

        Raises:
            ConfigError: A value makes no sense, or a path does not exist.
        """
        return cls(
            images={
                name: image.getName() if isinstance(image, DockerImage) else str(image)
                for name, image in (imageSubst or {}).items()
            },
            ports=None
            if externalPorts is None
            else frozenset(_port(each) for each in externalPorts),
            hostPaths={
                path: str(_absolute(real, f"hostPathSubst[{path!r}]"))
                for path, real in (hostPathSubst or {}).items()
            },
            builds={
                path: _build(path, real) for path, real in (buildSubst or {}).items()
            },
            files={
                path: tuple(
                    _absolute(each, f"additionalFiles[{path!r}]")
                    for each in _listed(given, f"additionalFiles[{path!r}]")
                )
                for path, given in (additionalFiles or {}).items()
            },
            texts=dict(otherSubsts or {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tailored:
    """Copies that are ready to be brought up.

    Attributes:
        file: The copy of the file itself.
        services: What it and what it includes call their services.
        moved: Where published ports of these have gone.
        contexts: Folders that were made to build from, to be removed in the end.
    """

    file: Path
    services: tuple[str, ...]
    moved: tuple[tailor.Moved, ...]
    contexts: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What one file says.

    Attributes:
        moved: Where the ports have gone that they publish themselves.
        extends: What services are taken from.
        copies: The copies of the files that they are taken from.
    """

    moved: tuple[tailor.Moved, ...]
    extends: Mapping[str, tailor.Extends]
    copies: Mapping[str, str]


class Tailor:
    """Makes tailored copies of a file and of all that it refers to.

    Args:
        parent: For whom.
        project: The name of what is brought up.
        substitutions: What is to be different.
        variables: What the file's variables stand for.
        stack: Whether it is for a swarm.
        publish: The address of the engine's host on which ports are published.
    """

    def __init__(
        self,
        parent: Parent,
        project: str,
        substitutions: Substitutions,
        variables: Mapping[str, str],
        *,
        stack: bool,
        publish: str,
    ) -> None:
        self._parent = parent
        self._project = project
        self._wanted = substitutions
        self._variables = variables
        self._stack = stack
        self._publish = publish
        self._owner = Session.of(parent).owner
        self._copies: dict[tuple[Path, Path, bool, bool], Path] = {}
        self._files: dict[str, _Said] = {}  # by the copy
        self._contexts: dict[tuple[Path, tuple[Path, ...]], Path] = {}
        self._used: set[tuple[str, str]] = set()
        self._said: dict[str, dict[str, None]] = {}  # by option, what files have
        self._services: dict[str, str] = {}  # and the copies that they are in
        self._built: dict[str, str] = {}  # what the files call the images they build

    def make(self, file: Path) -> Tailored:
        """Write the copies.

        Raises:
            ConfigError: A file is missing or makes no sense, or a port or, in strict
                mode, any other substitution matches nothing.
        """
        copy = self._copy(file, file.parent, self._variables, rebase=self._stack)
        self._reportUnused(file)
        return Tailored(
            file=copy,
            services=tuple(self._services),
            moved=tuple(
                moved
                for service, copied in self._services.items()
                for moved in self._moved(copied, service, frozenset())
            ),
            contexts=tuple(self._contexts.values()),
        )

    def _copy(
        self,
        file: Path,
        folder: Path,
        variables: Mapping[str, str],
        *,
        rebase: bool,
        extended: bool = False,
    ) -> Path:
        """Return the tailored copy of a file whose relative paths begin at *folder*."""
        key = (file.resolve(), folder.resolve(), rebase, extended)
        if key in self._copies:
            return self._copies[key]
        if len(self._copies) >= _MOST_FILES:
            message = f"{file}: more than {_MOST_FILES} files include each other"
            raise ConfigError(message)
        copy = reserveFile(Path(self._parent.output), f"{file.stem}.tailored", ".yml")
        self._copies[key] = copy
        original = _read(file)
        text, replaced = tailor.replace_texts(original, self._wanted.texts)
        self._used |= {("otherSubsts", each) for each in replaced}
        said = tailor.survey(text, name=str(file), variables=variables)
        self._note(said)
        if not extended:
            self._services.update(dict.fromkeys(said.services, str(copy)))
        self._built |= {
            each.image: builtName(self._project, each.image)
            for each in said.builds
            if each.image and not self._isSubstituted(each.image)
        }
        includes = self._includes(said, folder, variables)
        extends = self._extends(said, folder, variables)
        builds = [each for each in said.builds if not tailor.is_remote(each.path)]
        contextOf = {each: self._contextOf(each.path, folder) for each in builds}
        tailored = tailor.tailor(
            text,
            tailor.Wishes(
                project=self._project,
                images=self._wanted.images,
                built=self._built,
                ports=self._wanted.ports,
                host_paths=self._wanted.hostPaths,
                builds={
                    each.path: str(made)
                    for each, (_, made) in contextOf.items()
                    if made != _under(folder, each.path)
                },
                dockerfiles=self._dockerfiles(contextOf, extended=extended),
                includes=includes,
                extends=extends,
                extended=extended,
                variables=variables,
                base=str(folder) if rebase else None,
                stack=self._stack,
                publish=self._publish,
                may_join=self._isOurs,
            ),
            name=str(file),
        )
        # What was substituted by path is noted where the path is looked up.
        self._used |= {each for each in tailored.used if each[0] != "buildSubst"}
        self._files[str(copy)] = _Said(
            moved=tailored.moved,
            extends={each.service: each for each in said.extends},
            copies=extends,
        )
        for warning in tailored.warnings:
            log.warning("%s: %s", file, warning)
        copy.write_text(tailored.text, encoding="utf-8", newline="")
        difference = tailor.difference(original, tailored.text, name=file.name)
        copy.with_suffix(".diff").write_text(difference, encoding="utf-8", newline="")
        return copy

    def _moved(
        self, copy: str, service: str, seen: frozenset[tuple[str, str]]
    ) -> Iterator[tailor.Moved]:
        """Yield where the ports of a service have gone, and those that it inherits."""
        said = self._files[copy]
        yield from (each for each in said.moved if each.service == service)
        base = said.extends.get(service)
        if base is None or (copy, service) in seen:
            return
        home = said.copies.get(base.file) if base.file else copy
        if home is not None:
            inherited = self._moved(home, base.base, seen | {(copy, service)})
            yield from (replace(each, service=service) for each in inherited)

    def _includes(
        self, said: tailor.Survey, folder: Path, variables: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the copies of the files that a file includes."""
        copies = {}
        for include in said.includes:
            for path in include.paths:
                if tailor.is_remote(path):
                    continue
                first = _under(folder, include.paths[0])
                place = include.project_directory
                home = _under(folder, place) if place else first.parent
                file = existing(_under(folder, path), "included file")
                # Those of the including file come before its own.
                known = {**_told(include, folder, home, variables), **variables}
                copies[path] = str(self._copy(file, home, known, rebase=False))
        return copies

    def _extends(
        self, said: tailor.Survey, folder: Path, variables: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the copies of the files that a file extends."""
        copies = {}
        for path in filter(None, (each.file for each in said.extends)):
            file = existing(_under(folder, path), "extended file")
            copies[path] = str(
                self._copy(file, file.parent, variables, rebase=True, extended=True)
            )
        return copies

    # Builds ---------------------------------------------------------------------------

    def _contextOf(self, path: str, folder: Path) -> tuple[Path, Path]:
        """Return the folder that a build path stands for, and one with all added."""
        real = _under(folder, path)
        if (key := self._match("buildSubst", self._wanted.builds, path)) is not None:
            real, names = self._wanted.builds[key]
            for name in names:
                self._requireDockerfile(real, name, path)
        key = self._match("additionalFiles", self._wanted.files, path)
        if key is None:
            return real, real
        made = (real, self._wanted.files[key])
        if made not in self._contexts:
            self._contexts[made] = self._gather(*made)
        return real, self._contexts[made]

    def _match(
        self, option: str, wanted: Mapping[str, object], path: str
    ) -> str | None:
        """Return which key of an option means a path, and note its use."""
        for key in wanted:
            if key == path or _normal(key) == _normal(path):
                self._used.add((option, key))
                return key
        return None

    def _requireDockerfile(self, context: Path, name: str, path: str) -> None:
        """Refuse a Dockerfile that is neither in a context nor added to it."""
        key = next((k for k in self._wanted.files if _normal(k) == _normal(path)), None)
        added = () if key is None else self._wanted.files[key]
        if name in {each.name for each in added}:
            return
        file = existing(context / name, f"buildSubst[{path!r}]: Dockerfile")
        if not file.resolve().is_relative_to(context.resolve()):
            message = (
                f"buildSubst[{path!r}]: {name} is outside of the context {context}"
            )
            raise ConfigError(message)

    def _gather(self, context: Path, added: Sequence[Path]) -> Path:
        """Make a folder with what is in a context, and more."""
        existing(context, "build context")
        for link in contexts.links_leaving(context):
            log.warning("%s is a link to outside of its build context", link)
        output = Path(self._parent.output)
        into = output / f"context.{self._project}.{len(self._contexts)}"
        ignore = contexts.read_ignore(context)
        contexts.gather(context, added, into, ignore=ignore)
        return into

    def _dockerfiles(
        self, contextOf: Mapping[tailor.Build, tuple[Path, Path]], *, extended: bool
    ) -> dict[tailor.Build, str]:
        """Return the tailored copies of the Dockerfiles that change or stand apart."""
        copies: dict[tailor.Build, str] = {}
        made: dict[tuple[Path, str], str] = {}  # by the file, and what became of it
        for build, (real, context) in contextOf.items():
            stands_apart = context != real and tailor.is_outside(build.dockerfile)
            place = real if stands_apart else context
            file = place / (build.dockerfile or "Dockerfile")
            is_optional = extended or build.hidden or self._isSubstituted(build.image)
            if build.inline or (is_optional and not file.exists()):
                continue
            existing(file, "Dockerfile")
            text = file.read_bytes().decode("utf-8", "surrogateescape")
            if not dockerfile.has_stage(text):
                # BuildKit of some engines takes the whole engine down over it.
                message = f"{file} has no FROM instruction: it makes no image"
                raise ConfigError(message)
            images = tailor.substitutes(build, self._built, self._wanted.images)
            changed = dockerfile.substitute_images(
                text, images, build_args=dict(build.args)
            )
            self._note_images(changed)
            if changed.text == text:
                if stands_apart:
                    copies[build] = str(file)
                continue
            if (file, changed.text) not in made:
                name = f"{file.name}.{build.service}"
                copy = self._dockerfile(name, changed.text, context, file)
                made[file, changed.text] = str(copy)
            copies[build] = made[file, changed.text]
        return copies

    def _dockerfile(self, name: str, text: str, context: Path, file: Path) -> Path:
        """Write the copy of a Dockerfile, and what its context ignores beside it."""
        copy = reserveFile(Path(self._parent.output), name, ".tailored")
        copy.write_bytes(text.encode("utf-8", "surrogateescape"))
        # BuildKit prefers what stands beside the Dockerfile.
        lines = "".join(f"{each}\n" for each in contexts.read_ignore(context, file))
        copy.with_name(f"{copy.name}.dockerignore").write_text(
            lines, encoding="utf-8", errors="surrogateescape"
        )
        return copy

    # What was wanted, and what was there ----------------------------------------------

    def _note(self, said: tailor.Survey) -> None:
        for option, values in (
            ("imageSubst", said.images),
            ("externalPorts", [each.published for each in said.ports]),
            ("hostPathSubst", said.host_paths),
            ("buildSubst", [each.path for each in said.builds]),
            ("additionalFiles", [each.path for each in said.builds]),
        ):
            self._said.setdefault(option, {}).update(
                dict.fromkeys(filter(None, values))
            )

    def _note_images(self, changed: dockerfile.Substituted) -> None:
        used = set(self._wanted.images) - set(changed.unused)
        self._used |= {("imageSubst", each) for each in used}
        self._said.setdefault("imageSubst", {}).update(
            dict.fromkeys(changed.references)
        )

    def _reportUnused(self, file: Path) -> None:
        """Say which substitutions matched nothing.

        Raises:
            ConfigError: A port did not, or anything in strict mode: the sample has
                changed.
        """
        wanted = {
            "externalPorts": [str(each) for each in sorted(self._wanted.ports or ())],
            "imageSubst": self._wanted.images,
            "hostPathSubst": self._wanted.hostPaths,
            "buildSubst": self._wanted.builds,
            "additionalFiles": self._wanted.files,
            "otherSubsts": self._wanted.texts,
        }
        strict = Session.of(self._parent).settings.strict
        for option, keys in wanted.items():
            for key in keys:
                if (option, key) in self._used:
                    continue
                said = self._said.get(option, {})
                words = f"{file}: {tailor.explain_unmatched(option, key, said)}"
                if strict or option == "externalPorts":
                    raise ConfigError(words)
                log.warning("%s", words)

    def _isSubstituted(self, image: str) -> bool:
        wanted = map(canonical_reference, self._wanted.images)
        return bool(image) and canonical_reference(image) in wanted

    def _isOurs(self, name: str) -> bool:
        return Owner.parse(name) == self._owner


def builtName(project: str, image: str) -> str:
    """Return what an image is called that a project builds under a fixed name."""
    path, _, last = image.rpartition("/")
    name, _, tag = last.partition(":")
    words = re.sub("[^a-z0-9]+", "-", f"{path}-{name}".lower()).strip("-")
    return f"{project}-{words}:{tag or 'latest'}"


def _read(file: Path) -> str:
    return utf8_text(existing(file, "compose file"), newline="")


def _told(
    include: tailor.Include, folder: Path, home: Path, known: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables of an included file's own env files."""
    told: dict[str, str] = {}
    for each in include.env_files or [str(home / ".env")]:
        told |= readVariables(_under(folder, each), {**told, **known})
    return told


def _under(folder: Path, path: str) -> Path:
    return (folder / Path(path).expanduser()).absolute()


def _normal(path: str) -> str:
    return posixpath.normpath(path)


def _port(given: object) -> int:
    if isinstance(given, (int, str)) and str(given).isdecimal() and int(given) < 65536:
        return int(given)
    message = f"externalPorts takes port numbers, got {given!r}"
    raise ConfigError(message)


def _absolute(path: object, what: str) -> Path:
    found = Path(str(path))
    if not found.is_absolute():
        message = f"{what} takes absolute paths, got {str(path)!r}"
        raise ConfigError(message)
    return existing(found, f"{what}:")


def _build(path: str, real: object) -> tuple[Path, tuple[str, ...]]:
    what = f"buildSubst[{path!r}]"
    if isinstance(real, (str, Path)):
        return _absolute(real, what), ()
    if not isinstance(real, (tuple, list)) or len(real) != 2:
        message = f"{what} takes a folder and a list of Dockerfiles in it, got {real!r}"
        raise ConfigError(message)
    return _absolute(real[0], what), tuple(_listed(real[1] or (), what))


def _listed(given: object, what: str) -> list[str]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        message = f"{what} takes a list, got {given!r}"
        raise ConfigError(message)
    return [str(each) for each in given]

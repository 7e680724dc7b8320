"""What the library must know about compose files.

A compose file is read here as Docker reads it, with variables resolved, as far as a
test may want to have something in it different.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pysys_orch.docker.engine.yamltext import Document, Items, Pairs, Place, flow
from pysys_orch.errors import ConfigError

_PORT = re.compile(
    r"(?:(?:(?P<host_ip>[^/]*):)?(?P<published>\d*|\d+-\d+):)?"
    r"(?P<target>\d+(?:-\d+)?)(?:/(?P<protocol>[A-Za-z]+))?",
    re.ASCII,
)
#: What an additional context begins with that is an image.
IMAGE_SCHEME = "docker-image://"
_NUMBERS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_REMOTE = re.compile(
    r"[\w+.-]+://|[\w.-]+@[\w.-]+:|github\.com/|(?:service|target):", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port as a service publishes it, in the file's own numbers.

    Attributes:
        service: Who publishes it.
        published: The number or range on the host; empty if the file chooses none.
        target: The number or range in the container.
        protocol: ``tcp``, ``udp`` or ``sctp``.
        host_ip: The host's address; empty if the file names none.
    """

    service: str
    published: str
    target: str
    protocol: str
    host_ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a service is built from, variables resolved.

    Attributes:
        service: The service.
        path: The build context as the file says it; ``.`` if it does not.
        dockerfile: The Dockerfile as the file says it; empty if it does not.
        inline: Whether the Dockerfile is in the compose file itself.
        image: What the result is called; empty if the file does not say.
        args: The build arguments and their values.
        hidden: Whether the service is in profiles, so that it may not be built at all.
    """

    service: str
    path: str
    dockerfile: str
    inline: bool
    image: str = ""
    args: tuple[tuple[str, str], ...] = ()
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Include:
    """Other compose files that a file includes, variables resolved.

    Attributes:
        paths: The files, later ones override earlier ones.
        project_directory: What their paths are relative to; empty if not said.
        env_files: Where their variables come from; none if not said.
    """

    paths: tuple[str, ...]
    project_directory: str
    env_files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extends:
    """What a service is taken from, variables resolved.

    Attributes:
        service: The service.
        file: The file of the other one; empty if it is the same.
        base: The other one.
    """

    service: str
    file: str
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a file says, variables resolved, each thing once and in order.

    Attributes:
        services: Names of the services.
        images: What the services run.
        ports: What the services publish.
        host_paths: Sources of bind mounts, and devices of volumes that are binds.
        builds: What the services are built from.
        includes: Files that are part of the project.
        extends: What services are taken from.
    """

    services: tuple[str, ...]
    images: tuple[str, ...]
    ports: tuple[Port, ...]
    host_paths: tuple[str, ...]
    builds: tuple[Build, ...]
    includes: tuple[Include, ...]
    extends: tuple[Extends, ...]


def survey(text: str, *, name: str, variables: Mapping[str, str]) -> Survey:
    """Return what a file says that a test may want to be different.

    Args:
        text: The file.
        name: The file's name, for messages.
        variables: What variables in the file stand for.

    Raises:
        ConfigError: The text is no compose file.
    """
    file = ComposeFile(text, name=name, variables=variables)
    ports = []
    sources = [source.path for source in file.devices()]
    for service, place in file.services.items():
        sources += [source.path for source in file.bind_sources(place)]
        for entry in entries(place, "ports"):
            port = file.port(service, entry)
            ports += [port] if port else []
    builds = [file.build(service, at) for service, at in file.services.items()]
    images = [place.say("image") for place in file.services.values()]
    contexts = [
        file.resolve(part.path).removeprefix(IMAGE_SCHEME)
        for place in file.services.values()
        for part in file.other_paths(place)
        if file.resolve(part.path).startswith(IMAGE_SCHEME)
    ]
    extends = [file.extends(service, at) for service, at in file.services.items()]
    return Survey(
        services=tuple(file.services),
        images=file.resolved([*images, *contexts]),
        ports=tuple(ports),
        host_paths=file.resolved(sources),
        builds=tuple(build for build in builds if build),
        includes=tuple(file.include(place) for place in entries(file.root, "include")),
        extends=tuple(each for each in extends if each),
    )


# Reading: from places to what they mean.


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a value that is of interest.

    Attributes:
        place: Where the whole value stands.
        path: The part, variables unresolved.
        prefix: What the value says in front of it.
        suffix: What the value says behind it.
    """

    place: Place
    path: str
    prefix: str = ""
    suffix: str = ""


class ComposeFile(Document):
    """A compose file whose variables are known."""

    def __init__(self, text: str, *, name: str, variables: Mapping[str, str]) -> None:
        super().__init__(text, name=name)
        self._variables = variables
        services = self.root.get("services")
        is_given = services is not None and isinstance(services.content, Pairs)
        is_empty = services is None or flow(services.content) == "null"
        if not is_given and not (is_empty and self.root.get("include")):
            message = f"{name}: a compose file needs `services`, a mapping of them"
            raise ConfigError(message)
        self.services = {
            service: place
            for service, place in self.section("services").items()
            if isinstance(place.content, Pairs)
        }

    def section(self, key: str) -> Mapping[str, Place]:
        """Return what a top-level mapping holds."""
        place = self.root.get(key)
        return place.values() if place else {}

    def resolve(self, text: str) -> str:
        """Return *text* with variables resolved."""
        return interpolate(text, self._variables)

    def resolved(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Resolve variables, and leave out what is empty or there already."""
        said = (self.resolve(text) for text in texts)
        return tuple(dict.fromkeys(filter(None, said)))

    def port(self, service: str, place: Place) -> Port | None:
        """Return what an entry of ``ports`` means, or None if that is unclear."""
        if isinstance(place.content, Pairs):
            said = {
                key: self.resolve(place.say(key))
                for key in ("target", "published", "protocol", "host_ip")
            }
        else:
            match = _PORT.fullmatch(self.resolve(place.text or ""))
            said = (
                {key: part or "" for key, part in match.groupdict().items()}
                if (match)
                else {}
            )
        published, target = said.get("published", ""), said.get("target", "")
        published = "" if published == "0" else published
        if not _NUMBERS.fullmatch(target):
            return None
        if published and not _NUMBERS.fullmatch(published):
            return None
        if published and len(port_numbers(target)) not in {
            1,
            len(port_numbers(published)),
        }:
            return None
        return Port(
            service=service,
            published=published,
            target=target,
            protocol=said["protocol"].lower() or "tcp",
            host_ip=said["host_ip"],
        )

    def build(self, service: str, at: Place) -> Build | None:
        """Return what a service is built from, if it is."""
        place = at.get("build")
        if place is None:
            return None
        return Build(
            service=service,
            path=self.resolve(place.text or place.say("context") or "."),
            dockerfile=self.resolve(place.say("dockerfile")),
            inline=place.say("dockerfile_inline") != "",
            image=self.resolve(at.say("image")),
            args=tuple(self._build_args(place.get("args"))),
            hidden=at.get("profiles") is not None,
        )

    def _build_args(self, place: Place | None) -> Iterator[tuple[str, str]]:
        """Yield build arguments; one without a value has that of the variable."""
        if place is None:
            return
        for each in place.items:
            name, equals, value = self.resolve(each.text or "").partition("=")
            yield name, value if equals else self._variables.get(name, "")
        for name, each in place.values().items():
            said = self.resolve(each.text or "")
            yield name, said or self._variables.get(name, "")

    def extends(self, service: str, at: Place) -> Extends | None:
        """Return what a service is taken from, if it is."""
        place = at.get("extends")
        if place is None:
            return None
        return Extends(
            service=service,
            file=self.resolve(place.say("file")),
            base=self.resolve(place.text or place.say("service")),
        )

    def include(self, place: Place) -> Include:
        """Return what an entry of ``include`` means."""
        paths = [each.text or "" for each in one_or_many(place.get("path") or place)]
        files = [each.text or "" for each in one_or_many(place.get("env_file"))]
        return Include(
            paths=self.resolved(paths),
            project_directory=self.resolve(place.say("project_directory")),
            env_files=self.resolved(files),
        )

    def bind_sources(self, service: Place) -> Iterator[Part]:
        """Yield the paths on the host that a service mounts."""
        for entry in entries(service, "volumes"):
            if self.resolve(entry.say("type")) == "bind":
                source = entry.get("source")
                if source and source.text:
                    yield Part(source, source.text)
            elif entry.text:
                text = entry.text
                end = _source_end(text)
                if end < 0 and "$" in text:
                    # A variable may hold source and target at once.
                    text = without_variables(self.resolve(text))
                    end = _source_end(text)
                if end > 0 and _is_path(self.resolve(text[:end])):
                    yield Part(entry, text[:end], suffix=text[end:])

    def devices(self) -> Iterator[Part]:
        """Yield the paths on the host that volumes stand for."""
        for volume in self.section("volumes").values():
            options = volume.get("driver_opts")
            device = options.get("device") if options else None
            if options and device and device.text:
                kinds = self.resolve(options.say("o")).split(",")
                if "bind" in kinds or "rbind" in kinds:
                    yield Part(device, device.text)

    def other_paths(self, service: Place) -> Iterator[Part]:
        """Yield what else of a service is relative to the file."""
        for key in ("env_file", "label_file"):
            for entry in one_or_many(service.get(key)):
                yield from whole(entry.get("path") or entry)
        for entry in entries(service, "develop", "watch"):
            yield from whole(entry.get("path"))
        contexts = service.get("build", "additional_contexts")
        if contexts:
            for entry in contexts.values().values():
                yield from whole(entry)
            for entry in contexts.items:
                name, equals, path = (entry.text or "").partition("=")
                if equals:
                    yield Part(entry, path, prefix=name + equals)

    def chain(self, service: Place) -> list[Place]:
        """Return a service and those in this file that it extends, nearest first."""
        found: list[Place] = []
        at: Place | None = service
        while at is not None and at not in found:
            found.append(at)
            extends = at.get("extends")
            if extends is None or extends.get("file"):
                break
            at = self.services.get(extends.text or extends.say("service"))
        return found


def entries(place: Place, *path: str) -> tuple[Place, ...]:
    """Return the items of the sequence under some keys."""
    found = place.get(*path)
    return found.items if found else ()


def one_or_many(place: Place | None) -> tuple[Place, ...]:
    """Return the items of a sequence, or what is there instead of one."""
    if place is None:
        return ()
    return place.items if isinstance(place.content, Items) else (place,)


def whole(place: Place | None) -> Iterator[Part]:
    """Yield what stands at *place* as a whole, if it is a single value."""
    if place and place.text:
        yield Part(place, place.text)


def port_numbers(text: str) -> range:
    """Return what a range such as ``8000-8010`` consists of; empty is none."""
    match = _NUMBERS.fullmatch(text)
    if match is None:
        return range(0)
    return range(int(match[1]), int(match[2] or match[1]) + 1)


def _source_end(volume: str) -> int:
    """Return where the source of a volume in short syntax ends; -1 if it has none."""
    depth, begin = 0, 2 if _DRIVE.match(volume) else 0
    for place, char in enumerate(volume[begin:], begin):
        if volume.startswith("${", place):
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        elif char == ":" and not depth:
            return place
    return -1


def _is_path(source: str) -> bool:
    """Return whether a volume's source is a path on the host, and no name."""
    return source.startswith((".", "/", "~")) or bool(_DRIVE.match(source))


def is_absolute(path: str) -> bool:
    """Return whether a path is not relative to the file, on any system."""
    return path.startswith(("/", "~", "\\")) or bool(_DRIVE.match(path))


def is_outside(path: str) -> bool:
    """Return whether a path leads out of the directory that it starts from."""
    return posixpath.normpath(path).split("/")[0] == ".."


def is_remote(path: str) -> bool:
    """Return whether a path is none, but what is fetched or named otherwise."""
    return bool(_REMOTE.match(path))


def container_references(service: Place) -> Iterator[Part]:
    """Yield the names of containers that a service refers to."""
    by_kind = [service.get(key) for key in ("network_mode", "pid", "ipc")]
    for place in [*by_kind, *entries(service, "volumes_from")]:
        head, colon, rest = ((place.text if place else None) or "").partition(":")
        if place and head == "container":
            name, more, suffix = rest.partition(":")
            yield Part(place, name, head + colon, more + suffix)
    for place in entries(service, "external_links"):
        name, colon, alias = (place.text or "").partition(":")
        yield Part(place, name, "", colon + alias)


# Variables.


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Resolve variables as ``docker compose`` does.

    It is only good for comparing. A variable that is not set is empty, and what is
    wrong is left as it is, for Docker to report.

    Example:
        >>> interpolate("${REGISTRY:-docker.io}/app:$TAG", {"TAG": "7"})
        'docker.io/app:7'
    """
    if "$" not in text:
        return text
    try:
        return _Interpolation(text, variables).until("")
    except ValueError:
        return text


class _Interpolation:
    """Reads a text with variables from left to right."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text = text
        self._at = 0
        self._variables = variables

    def until(self, stop: str) -> str:
        """Return the meaning of what comes before *stop*; empty is the text's end."""
        read: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char == stop:
                return "".join(read)
            read.append(self._dollar() if char == "$" else char)
        if stop:
            raise ValueError(self._text)
        return "".join(read)

    def _dollar(self) -> str:
        """Return the meaning of what follows a dollar sign."""
        if self._text.startswith("$", self._at):
            self._at += 1
            return "$"
        match = re.compile(r"(\{?)([A-Za-z_][A-Za-z0-9_]*)").match(self._text, self._at)
        if match is None:
            raise ValueError(self._text)
        self._at = match.end()
        value = self._variables.get(match[2], "")
        if not match[1]:
            return value
        is_set = match[2] in self._variables
        modifier = re.compile(r"\}|(:?)([-+?])").match(self._text, self._at)
        if modifier is None:
            raise ValueError(self._text)
        self._at = modifier.end()
        if modifier[0] == "}":
            return value
        other = self.until("}")
        if modifier[1]:
            is_set = value != ""
        if modifier[2] == "+":
            return other if is_set else ""
        return value if is_set or modifier[2] == "?" else other


def without_variables(text: str) -> str:
    """Write *text* so that it says just this where variables are resolved."""
    return text.replace("$", "$$")

"""How a compose or stack file is tailored for a test.

A sample's file has hard-coded ports, image names, paths and names. Tailored, it can
come up in any number of copies at once. Only what is substituted changes: comments,
anchors, quotes and order stay as they are, so that a difference from the original shows
what was done.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pysys_orch.docker.engine.composefile import (
    IMAGE_SCHEME,
    Build,
    ComposeFile,
    Extends,
    Include,
    Part,
    Port,
    Survey,
    container_references,
    entries,
    is_absolute,
    is_outside,
    is_remote,
    one_or_many,
    port_numbers,
    survey,
    whole,
    without_variables,
)
from pysys_orch.docker.engine.dockerfile import canonical_reference, substitute_images
from pysys_orch.docker.engine.yamltext import (
    Draft,
    Items,
    Pair,
    Pairs,
    Place,
    Scalar,
    flow,
    flow_mapping,
    quoted,
    word,
)
from pysys_orch.errors import ConfigError

__all__ = [
    "Build",
    "Extends",
    "Include",
    "Moved",
    "Port",
    "Survey",
    "Tailored",
    "Wishes",
    "difference",
    "explain_unmatched",
    "is_outside",
    "is_remote",
    "replace_texts",
    "substitutes",
    "survey",
    "tailor",
]

_MAX_SERVICE_NAME = 63
_RENEWING_POLICIES = frozenset({"always", "build", "daily", "weekly"})
_TRUE = frozenset({"true", "yes", "on", "y"})
# Every engine has these, nobody made them.
_PREDEFINED_NETWORKS = frozenset({"bridge", "host", "none"})
# What the short syntax of a port can say.
_SHORT_PORT_KEYS = frozenset({"target", "published", "host_ip", "protocol", "mode"})


def _joins_nothing(_name: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a test wants to be different in a file.

    Paths and images are matched after variables are resolved. What matches nothing is
    no error here: see `Tailored.used`.

    Attributes:
        project: The project's or the stack's name; it goes in front of fixed names.
        images: What to use instead of an image, by its exact reference.
        built: Likewise, for images that the files build themselves; matters only to
            compose.
        ports: Published numbers that the engine chooses anew; None is all of them.
        host_paths: Absolute paths by the paths that the file mounts.
        builds: Absolute build contexts by those in the file.
        dockerfiles: Absolute paths of Dockerfiles by what is built from them.
        includes: Tailored copies by the path in ``include``.
        extends: Tailored copies by the path in ``extends``.
        extended: Whether the file is itself only extended: no part of the project but
            what others take from it.
        variables: What variables in the file stand for.
        base: What relative paths are made absolute against; None leaves them.
        stack: Whether the file is for ``docker stack deploy``.
        publish: The address of the engine's host on which ports are published, unless
            the file names one; means nothing for a stack.
        may_join: Whether the test itself made an external network or volume.
    """

    project: str
    images: Mapping[str, str] = field(default_factory=dict)
    built: Mapping[str, str] = field(default_factory=dict)
    ports: frozenset[int] | None = None
    host_paths: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, str] = field(default_factory=dict)
    dockerfiles: Mapping[Build, str] = field(default_factory=dict)
    includes: Mapping[str, str] = field(default_factory=dict)
    extends: Mapping[str, str] = field(default_factory=dict)
    extended: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    stack: bool = False
    publish: str = "127.0.0.1"
    may_join: Callable[[str], bool] = _joins_nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A port whose number on the host is the engine's choice now.

    Attributes:
        service: Who publishes it.
        published: The number that the file gave, for a range of numbers and a single
            port the first of them; 0 if it gave none.
        target: The number in the container.
        protocol: ``tcp``, ``udp`` or ``sctp``.
    """

    service: str
    published: int
    target: int
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tailored:
    """A file as a test wants it.

    Attributes:
        text: The file.
        used: The wishes that matched something, as option and key: for example
            ``("imageSubst", "redis:7")``.
        moved: The ports that moved, in order of the services.
        warnings: What reaches outside of the test, one line each.
    """

    text: str
    used: frozenset[tuple[str, str]]
    moved: tuple[Moved, ...]
    warnings: tuple[str, ...]


def tailor(text: str, wishes: Wishes, *, name: str) -> Tailored:
    """Return a file as a test wants it.

    Args:
        text: The file.
        wishes: What is to be different.
        name: The file's name, for messages.

    Raises:
        ConfigError: The text is no compose file, joins a network or volume that is not
            the test's own, or has a service whose name becomes too long.
    """
    return _Tailoring(text, wishes, name=name).done()


def replace_texts(
    text: str, substitutions: Mapping[str, str]
) -> tuple[str, frozenset[str]]:
    """Replace texts wherever they stand, the longest first.

    It happens in one pass: what is written is not searched again.

    Args:
        text: Any text.
        substitutions: What to write, by what it replaces.

    Returns:
        The new text, and the keys that were found in the old one.

    Example:
        >>> replace_texts("a-net a", {"a": "b", "a-net": "a", "c": "d"})[0]
        'a b'
    """
    found = set[str]()

    def new(match: re.Match[str]) -> str:
        found.add(match[0])
        return substitutions[match[0]]

    keys = sorted(filter(None, substitutions), key=len, reverse=True)
    if keys:
        text = re.sub("|".join(re.escape(key) for key in keys), new, text)
    return text, frozenset(found)


def explain_unmatched(option: str, key: str, candidates: Iterable[str]) -> str:
    """Word on one line why a wish changed nothing.

    Args:
        option: What the caller knows it by, for example ``imageSubst``.
        key: What is not in the file.
        candidates: What is in the file instead.

    Example:
        >>> explain_unmatched("imageSubst", "redis:6", ["redis:7"])
        "imageSubst: nothing in the file is called 'redis:6', did you mean 'redis:7'?"
    """
    listed = list(dict.fromkeys(candidates))
    message = f"{option}: nothing in the file is called {key!r}"
    close = difflib.get_close_matches(key, listed, n=1)
    if close:
        message += f", did you mean {close[0]!r}?"
    if not listed:
        return f"{message}, or anything else of this kind"
    if close == listed:
        return message
    return f"{message} (it has: {', '.join(repr(each) for each in listed)})"


def difference(original: str, tailored: str, *, name: str) -> str:
    """Return a unified diff of two texts of the file *name*; empty if they are equal.

    Args:
        original: The file as it was.
        tailored: The file as the test wants it.
        name: The file's name, for the head.
    """
    lines = difflib.unified_diff(
        original.splitlines(),
        tailored.splitlines(),
        name,
        f"{name} (tailored)",
        lineterm="",
    )
    return "".join(f"{line}\n" for line in lines)


# Tailoring.


class _Tailoring:
    """Makes one file fit one test."""

    def __init__(self, text: str, wishes: Wishes, *, name: str) -> None:
        self._wishes = wishes
        self._file = ComposeFile(text, name=name, variables=wishes.variables)
        self._draft = Draft(self._file)
        self._used = set[tuple[str, str]]()
        self._moved: list[Moved] = []
        self._warnings: list[str] = []
        self._images: dict[str, list[str]] = {}
        for image in wishes.images:
            self._images.setdefault(canonical_reference(image), []).append(image)
        self._built = {
            canonical_reference(image): new for image, new in wishes.built.items()
        }
        self._containers = set[str]()
        if not wishes.stack:
            names = (
                each.say("container_name") for each in self._file.services.values()
            )
            self._containers = set(self._file.resolved(names))
        extended = (self._file.extends(*each) for each in self._file.services.items())
        self._bases = {each.base for each in extended if each and not each.file}

    def done(self) -> Tailored:
        """Change everything that is to be changed, and return the result."""
        root = self._file.root
        if not isinstance(root.content, Pairs):
            raise TypeError(root.content)
        if self._wishes.stack and not root.get("version"):
            self._draft.insert_pair(root.content, 'version: "3.9"')
        own_name = root.content.own("name")
        if own_name:
            self._draft.remove_pair(root.content, own_name)
        for section in ("networks", "volumes", "secrets", "configs"):
            for key, place in self._file.section(section).items():
                self._resource(section, key, place)
        for part in self._file.devices():
            self._host_path(part, is_relative_to_file=False)
        for place in entries(root, "include"):
            self._include(place)
        for service, place in self._file.services.items():
            self._service(service, place)
        return Tailored(
            text=self._draft.written(),
            used=frozenset(self._used),
            moved=tuple(self._moved),
            warnings=tuple(dict.fromkeys(self._warnings)),
        )

    def _service(self, service: str, place: Place) -> None:
        if self._wishes.stack:
            self._check_length(service)
        self._image(service, place)
        self._pull_policy(place)
        self._build(service, place)
        ports = place.get("ports")
        if ports and isinstance(ports.content, Items):
            # The same list may be what a service exposes.
            self._draft.confine(ports)
            for entry in ports.items:
                self._port(service, ports.content, entry)
        for part in self._file.bind_sources(place):
            self._host_path(part, is_relative_to_file=True)
        for part in self._file.other_paths(place):
            if not self._image_context(part):
                self._make_absolute(part)
        for part in whole(place.get("extends", "file")):
            if not self._copied(part, self._wishes.extends):
                self._make_absolute(part)
        if not self._wishes.stack:
            self._container_name(service, place)
            self._container_references(place)

    def _check_length(self, service: str) -> None:
        full = f"{self._wishes.project}_{service}"
        if len(full) > _MAX_SERVICE_NAME:
            message = (
                f"{self._file.name}: service {service!r} would be called {full!r}, "
                f"{len(full)} characters where a swarm allows {_MAX_SERVICE_NAME}: "
                "shorten its name, or that of the test"
            )
            raise ConfigError(message)

    def _image(self, name: str, service: Place) -> None:
        place = service.get("image")
        if place is None or place.text is None:
            return
        said = self._file.resolve(place.text)
        new = self._substitute(said)
        if new is not None:
            self._draft.replace(place, quoted(new))
            if service.get("build"):
                self._warnings.append(
                    f"service {name!r} builds {said!r}, for which there is a "
                    "substitute: that is used, as long as nobody asks for a build"
                )
        elif canonical_reference(said) in self._built and not self._wishes.stack:
            new = self._built[canonical_reference(said)]
            self._draft.replace(place, quoted(without_variables(new)))

    def _substitute(self, image: str) -> str | None:
        """Return what to write instead of an image; None if it stays."""
        matches = self._images.get(canonical_reference(image), [])
        if not matches:
            return None
        self._used |= {("imageSubst", each) for each in matches}
        best = image if image in matches else matches[0]
        return without_variables(self._wishes.images[best])

    def _pull_policy(self, service: Place) -> None:
        """Let nobody pull or build what takes the place of a service's image."""
        chain = self._file.chain(service)
        said = {
            key: next(filter(None, (each.say(key) for each in chain)), "")
            for key in ("image", "pull_policy")
        }
        policy = self._file.resolve(said["pull_policy"])
        is_renewed = policy in _RENEWING_POLICIES or policy.startswith("every_")
        image = canonical_reference(self._file.resolve(said["image"]))
        if is_renewed and image in self._images and isinstance(service.content, Pairs):
            self._draft.put(service.content, "pull_policy", "missing")

    def _image_context(self, part: Part) -> bool:
        """Substitute the image that a build has as an additional context, if it is."""
        said = self._file.resolve(part.path)
        if not said.startswith(IMAGE_SCHEME):
            return False
        new = self._substitute(said.removeprefix(IMAGE_SCHEME))
        if new is not None:
            self._write(part, IMAGE_SCHEME + new)
        return True

    # Paths

    def _find(self, wanted: Mapping[str, str], path: str) -> str | None:
        """Return the key that *path*, variables unresolved, matches."""
        said = self._file.resolve(path)
        for key in (path, said):
            if key in wanted:
                return key
        normal = self._normal(said)
        return next((key for key in wanted if self._normal(key) == normal), None)

    def _normal(self, path: str) -> str:
        base = self._wishes.base or "."
        path = self._file.resolve(path)
        return path if is_remote(path) else posixpath.normpath(_joined(base, path))

    def _absolute(self, path: str) -> str | None:
        """Return *path* as an absolute one; None if it stays as it is.

        Variables stay, and nothing behind the first one is normalised, since ``..``
        may lead anywhere there.
        """
        base, said = self._wishes.base, self._file.resolve(path)
        if base is None or not said or is_absolute(said) or is_remote(said):
            return None
        head, dollar, rest = path.partition("$")
        if not dollar:
            return posixpath.normpath(posixpath.join(without_variables(base), path))
        folder, slash, start = head.rpartition("/")
        folder = posixpath.normpath(
            posixpath.join(without_variables(base), folder + slash)
        )
        return posixpath.join(folder, start + dollar + rest)

    def _write(self, part: Part, path: str) -> None:
        self._draft.replace(part.place, quoted(part.prefix + path + part.suffix))

    def _make_absolute(self, part: Part) -> None:
        path = self._absolute(part.path)
        if path is not None:
            self._write(part, path)

    def _host_path(self, part: Part, *, is_relative_to_file: bool) -> None:
        key = self._find(self._wishes.host_paths, part.path)
        if key is not None:
            self._used.add(("hostPathSubst", key))
            self._write(part, without_variables(self._wishes.host_paths[key]))
        elif is_relative_to_file:
            self._make_absolute(part)

    def _build(self, service: str, at: Place) -> None:
        build, place = self._file.build(service, at), at.get("build")
        if build is None or place is None:
            return
        said = place.text or place.say("context") or "."
        context = self._context(build, said)
        inline = place.get("dockerfile_inline")
        if inline:
            self._inline(inline, build)
        dockerfile = self._wishes.dockerfiles.get(build)
        new = {}
        if context is not None:
            new["context"] = quoted(context)
        if dockerfile is not None:
            new["dockerfile"] = quoted(without_variables(dockerfile))
        elif build.dockerfile and is_outside(build.dockerfile):
            self._warn(service, "dockerfile", build.dockerfile, "its build context")
        if isinstance(place.content, Pairs):
            for key, value in new.items():
                self._draft.put(place.content, key, value)
        elif "dockerfile" in new:
            self._draft.replace(place, flow_mapping({"context": quoted(said)} | new))
        elif new:
            self._draft.replace(place, new["context"])

    def _inline(self, place: Place, build: Build) -> None:
        """Substitute images in a Dockerfile within the file."""
        text = place.text or ""
        images = substitutes(build, self._wishes.built, self._wishes.images)
        changed = substitute_images(text, images, build_args=dict(build.args))
        matched = set(self._wishes.images) - set(changed.unused)
        self._used |= {("imageSubst", image) for image in matched}
        if changed.text != text:
            self._draft.replace(place, quoted(changed.text))

    def _context(self, build: Build, said: str) -> str | None:
        """Return the new context of a build; None if it stays as it is."""
        if is_remote(build.path):
            return None
        key = self._find(self._wishes.builds, said)
        if key is not None:
            self._used.add(("buildSubst", key))
            return without_variables(self._wishes.builds[key])
        if is_outside(build.path):
            self._warn(build.service, "build", build.path, "the project's directory")
        return self._absolute(said)

    def _warn(self, service: str, key: str, value: str, where: str) -> None:
        self._warnings.append(
            f"service {service!r}: {key} {value!r} reaches outside of {where}"
        )

    def _copied(self, part: Part, copies: Mapping[str, str]) -> bool:
        """Name the tailored copy of a file instead of it, if there is one."""
        key = self._find(copies, part.path)
        if key is None:
            return False
        self._write(part, without_variables(copies[key]))
        return True

    def _include(self, place: Place) -> None:
        parts = [
            part
            for each in one_or_many(place.get("path") or place)
            for part in whole(each)
        ]
        if not parts:
            return
        if isinstance(place.content, Scalar):
            key = self._find(self._wishes.includes, parts[0].path)
            if key is None:
                self._make_absolute(parts[0])
            else:
                new = {
                    "path": quoted(without_variables(self._wishes.includes[key])),
                    "project_directory": quoted(self._directory(parts[0].path)),
                }
                self._draft.replace(place, flow_mapping(new))
            return
        copied = [self._copied(part, self._wishes.includes) for part in parts]
        for part, is_copied in zip(parts, copied, strict=True):
            if not is_copied:
                self._make_absolute(part)
        has_directory = place.say("project_directory") != ""
        if any(copied) and not has_directory and isinstance(place.content, Pairs):
            directory = quoted(self._directory(parts[0].path))
            self._draft.put(place.content, "project_directory", directory)

    def _directory(self, path: str) -> str:
        """Return the directory of an included file."""
        path = self._absolute(path) or path
        return posixpath.dirname(path) or "."

    # Ports

    def _port(self, service: str, ports: Items, entry: Place) -> None:
        port = self._file.port(service, entry)
        if port is None:
            return
        numbers, wanted = port_numbers(port.published), self._wishes.ports
        asked = set(numbers) & (wanted or set())
        self._used |= {("externalPorts", str(number)) for number in asked}
        if wanted is None or asked or not numbers:
            self._move(port, ports, entry)
        elif not port.host_ip and not self._wishes.stack:
            if isinstance(entry.content, Pairs) and not self._is_short(entry):
                self._draft.put(entry.content, "host_ip", quoted(self._wishes.publish))
            else:
                new = _short(
                    self._wishes.publish, port.published, port.target, port.protocol
                )
                self._draft.replace_item(ports, entry, [new])

    def _move(self, port: Port, ports: Items, entry: Place) -> None:
        """Have the engine choose the number of a port."""
        targets, numbers = port_numbers(port.target), port_numbers(port.published)
        for offset, target in enumerate(targets):
            self._moved.append(
                Moved(
                    service=port.service,
                    published=numbers[offset] if numbers else 0,
                    target=target,
                    protocol=port.protocol,
                )
            )
        host_ip = port.host_ip or self._wishes.publish
        if self._wishes.stack:
            new = [
                f"{{target: {target}, protocol: {port.protocol}, mode: host}}"
                for target in targets
            ]
        elif isinstance(entry.content, Pairs) and not self._is_short(entry):
            self._draft.put(entry.content, "published", quoted("0"))
            if not port.host_ip:
                self._draft.put(entry.content, "host_ip", quoted(host_ip))
            return
        else:
            new = [
                _short(host_ip, "", str(target), port.protocol) for target in targets
            ]
        self._draft.replace_item(ports, entry, new)

    def _is_short(self, entry: Place) -> bool:
        """Return whether the short syntax can say what a long port says to compose.

        That takes no notice of the mode, and its first version knows no host address.
        """
        return entry.values().keys() <= _SHORT_PORT_KEYS

    # Names

    def _resource(self, section: str, key: str, place: Place) -> None:
        """Give a network, volume, secret or config a name of its own."""
        external = place.get("external")
        is_external = external is not None and (
            isinstance(external.content, Pairs)
            or self._file.resolve(external.text or "").lower() in _TRUE
        )
        named = place.get("name")
        if not is_external:
            if named and named.text:
                new = f"{self._wishes.project}_{named.text}"
                self._draft.replace(named, quoted(new))
            if section in {"secrets", "configs"}:
                for part in whole(place.get("file")):
                    self._make_absolute(part)
        elif section in {"networks", "volumes"} and not self._wishes.extended:
            self._check_external(section, key, place)

    def _check_external(self, section: str, key: str, place: Place) -> None:
        said = place.say("external", "name") or place.say("name") or key
        name = self._file.resolve(said)
        if self._wishes.may_join(name):
            return
        if section == "networks":
            if name in _PREDEFINED_NETWORKS:
                return
            advice = "make one with DockerNetwork, and give its name by otherSubsts"
        else:
            advice = "use hostPathSubst, or a volume of its own"
        message = (
            f"{self._file.name}: {section[:-1]} {key!r} is external ({name!r}), "
            f"and no test may share it: {advice}"
        )
        raise ConfigError(message)

    def _container_name(self, name: str, service: Place) -> None:
        place = service.get("container_name")
        if place is None or place.text is None:
            return
        new = f"{self._wishes.project}-{place.text}"
        self._draft.replace(place, quoted(new))
        chain = self._file.chain(service)
        # Compose itself lets a service answer to its own name.
        is_service = self._file.resolve(place.text) == name
        if is_service or any(each.say("network_mode") for each in chain):
            return
        if self._wishes.extended or name in self._bases:
            self._warnings.append(
                f"service {name!r}: others extend it and would inherit its networks, "
                f"so nothing finds it as {place.text!r} there: use {name!r}"
            )
            return
        networks: dict[str, Place | None] = {}
        for each in chain:
            networks = _networks(each) | networks
        if networks or not chain[-1].get("extends", "file"):
            self._answer(service, networks or {"default": None}, place.text)
            return
        self._warnings.append(
            f"service {name!r}: its networks are those of another file, so nothing "
            f"finds it as {place.text!r} there: use {name!r}"
        )

    def _answer(
        self, service: Place, networks: Mapping[str, Place | None], alias: str
    ) -> None:
        """Have a service answer to *alias* in each of its networks."""
        content = service.content
        if not isinstance(content, Pairs):
            raise TypeError(content)
        own = content.own("networks")
        is_complete = own is not None and _networks(service).keys() == networks.keys()
        if own and is_complete and not self._draft.is_entangled(own.value):
            self._add_aliases(own, alias)
            return
        new = flow_mapping(
            {word(each): _with_alias(at, alias) for each, at in networks.items()}
        )
        if own:
            self._draft.replace_value(own, new)
        else:
            self._draft.insert_pair(
                content, f"networks: {new}", before="container_name"
            )

    def _add_aliases(self, networks: Pair, name: str) -> None:
        """Add a name to each network of a service, where they stand."""
        content = networks.value.content
        if isinstance(content, Items):
            if content.is_flow:
                pairs = {
                    flow(each.content): _with_alias(None, name)
                    for each in content.items
                }
                self._draft.replace(networks.value, flow_mapping(pairs))
            else:
                self._draft.name_items(
                    content,
                    {
                        each: f"{flow(each.content)}: {_with_alias(None, name)}"
                        for each in content.items
                    },
                )
            return
        places = networks.value.values()
        is_flow = isinstance(content, Pairs) and content.is_flow
        if is_flow and any(each.begin == each.end for each in places.values()):
            # In braces a network may stand without even a colon.
            new = {word(each): _with_alias(at, name) for each, at in places.items()}
            self._draft.replace(networks.value, flow_mapping(new))
            return
        for place in places.values():
            self._add_alias(place, name)

    def _add_alias(self, network: Place, name: str) -> None:
        if not isinstance(network.content, Pairs) or not network.content.pairs:
            self._draft.replace(network, _with_alias(None, name))
            return
        aliases = network.get("aliases")
        if aliases and isinstance(aliases.content, Items) and aliases.items:
            if all(each.text != name for each in aliases.items):
                self._draft.insert_item(aliases.content, quoted(name))
        else:
            self._draft.put(network.content, "aliases", f"[{quoted(name)}]")

    def _container_references(self, service: Place) -> None:
        """Adapt what refers to a container of this file by its fixed name."""
        for part in container_references(service):
            if self._file.resolve(part.path) in self._containers:
                self._write(part, f"{self._wishes.project}-{part.path}")


def substitutes(
    build: Build, built: Mapping[str, str], images: Mapping[str, str]
) -> dict[str, str]:
    """Return what a build's base images are to be, by their references.

    Args:
        build: The build; what it is called itself is a name for its result, and for
            something else in its own ``FROM``.
        built: What to use instead of the images that the files build.
        images: What to use instead of others.
    """
    own = canonical_reference(build.image) if build.image else ""
    others = {
        image: new for image, new in built.items() if canonical_reference(image) != own
    }
    return {**others, **images}


def _short(host_ip: str, published: str, target: str, protocol: str) -> str:
    """Write a port in short syntax."""
    if ":" in host_ip and not host_ip.startswith("["):
        host_ip = f"[{host_ip}]"
    suffix = "" if protocol == "tcp" else f"/{protocol}"
    return quoted(f"{host_ip}:{published}:{target}{suffix}")


def _networks(service: Place) -> dict[str, Place | None]:
    """Return what a service says about each of its networks, by their names."""
    place = service.get("networks")
    if place is None:
        return {}
    named: dict[str, Place | None] = {
        item.text: None for item in place.items if item.text
    }
    return {**named, **place.values()}


def _with_alias(network: Place | None, name: str) -> str:
    """Write what a service says about a network, and one more alias."""
    said = network.values() if network else {}
    aliases = [quoted(name)]
    if "aliases" in said:
        aliases += [
            flow(item.content) for item in said["aliases"].items if item.text != name
        ]
    others = {
        key: flow(place.content) for key, place in said.items() if key != "aliases"
    }
    return flow_mapping({"aliases": f"[{', '.join(aliases)}]"} | others)


def _joined(base: str, path: str) -> str:
    """Join as paths, where what begins with a tilde is absolute too."""
    return path if is_absolute(path) else posixpath.join(base, path)

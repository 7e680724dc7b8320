"""Which function an event is, and what it is called with."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from pysys_orch.errors import ConfigError
from pysys_orch.inputs import nearest
from pysys_orch.orchestration import fixtures
from pysys_orch.orchestration.description import Event, Overlap
from pysys_orch.orchestration.documents import Steps
from pysys_orch.orchestration.failures import words_of
from pysys_orch.orchestration.fixtures import Fixtures
from pysys_orch.orchestration.reading import Draft, Problem

#: The switch that each call gets may be one of its own.
KILL_SWITCH = "kill_switch"

_EMPTY = inspect.Parameter.empty
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Source:
    """A module with events and fixtures in it.

    Attributes:
        name: What people call it.
        module: The module.
    """

    name: str
    module: ModuleType


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """All that can be an event or a fixture.

    Attributes:
        sources: Modules, the first one first.
        owner: A test whose own methods are events and fixtures; or None.
        methods: Those, by name.
        given: Fixtures that are always there, by name.
    """

    sources: Sequence[Source] = ()
    owner: object = None
    methods: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    given: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def fixtures(self) -> Fixtures:
        """Return all fixtures. The test's own come before those of the sources."""
        found: dict[str, Callable[..., Any]] = dict(self.given)
        for source in reversed(self.sources):
            for each in vars(source.module).values():
                if (name := fixtures.name_of(each)) is not None:
                    found[name] = each
        for each in self.methods.values():
            if (name := fixtures.name_of(each)) is not None:
                found[name] = each
        return Fixtures(found)

    def events(self) -> list[str]:
        """Return what could be an event, by name."""
        names = [name for name, each in self.methods.items() if _is_event(each)]
        for source in self.sources:
            names += [
                name
                for name, each in vars(source.module).items()
                if _is_event(each) and not name.startswith("_")
            ]
        attributes = getattr(self.owner, "__dict__", {})
        names += [each for each in attributes if self.fault(each) is not None]
        return list(dict.fromkeys(names))

    def fault(self, name: str) -> object | None:
        """Return the attribute of the test that can be started and undone, or None."""
        found = getattr(self.owner, "__dict__", {}).get(name)
        is_fault = callable(getattr(found, "start", None)) and callable(
            getattr(found, "undo", None)
        )
        return found if is_fault else None

    def find(self, name: str) -> tuple[Callable[..., Any] | None, str]:
        """Return the function of an event; or None, and why there is none."""
        if _is_event(method := self.methods.get(name)):
            return method, ""
        found = [
            (source, function)
            for source in self.sources
            if _is_event(function := vars(source.module).get(name))
        ]
        if len(found) == 1:
            return found[0][1], ""
        if found:
            both = " and in ".join(source.name for source, _ in found)
            return None, f"is in {both}: leave one out"
        if name in getattr(self.owner, "__dict__", {}):
            return None, "is an attribute of the test without start() and undo()"
        places = [each.name for each in self.sources]
        if self.methods:
            places.append("the test's methods")
        where = ", ".join(places) or "nothing: there are no sources"
        return None, f"is not there, looked in {where}{nearest(name, self.events())}"


def load(names: Iterable[str], folders: Sequence[Path]) -> list[Source]:
    """Load modules.

    Args:
        names: Files that end in ``.py``, or the names of modules.
        folders: Where files are, the first that has them.

    Raises:
        ConfigError: Some are not there, or cannot be imported: it names all of them.
    """
    found: list[Source] = []
    failures: list[ConfigError] = []
    for name in names:
        try:
            found.append(_load(name, folders))
        except ConfigError as failure:
            failures.append(failure)
    if failures:
        unload(found)
        message = "; ".join(map(str, failures))
        raise ConfigError(message) from failures[0]
    return found


def unload(sources: Iterable[Source]) -> None:
    """Forget modules that were loaded from files."""
    for each in sources:
        if getattr(each.module, "__file__", None) == each.name:
            sys.modules.pop(each.module.__name__, None)


def _load(name: str, folders: Sequence[Path]) -> Source:
    if not name.endswith(".py"):
        return Source(name, _imported(name, lambda: importlib.import_module(name)))
    file = next((each / name for each in folders if (each / name).is_file()), None)
    if file is None:
        near = sorted({each.name for folder in folders for each in folder.glob("*.py")})
        looked = " or ".join(dict.fromkeys(map(str, folders)))
        message = (
            f"orchestrationSources: there is no {name} in {looked}"
            f"{nearest(Path(name).name, near)}"
        )
        raise ConfigError(message)
    return Source(str(file), _imported(name, lambda: module_of(file)))


def module_of(file: Path) -> ModuleType:
    """Execute a file as a module of its own, which others do not share."""
    name = f"{file.stem}__orch{next(_NUMBERS)}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        message = f"{file} cannot be imported"
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _imported(name: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except (Exception, SystemExit) as failure:
        # Where in their file it went wrong; our own frames tell them nothing.
        where = ""
        trace = failure.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename.endswith(Path(name).name):
                where = f" in line {trace.tb_lineno}"
            trace = trace.tb_next
        if isinstance(failure, SyntaxError):
            where = f" in line {failure.lineno}"
        message = (
            f"orchestrationSources: {name} cannot be imported{where}: "
            f"{words_of(failure)}"
        )
        raise ConfigError(message) from failure


def _is_event(function: Any) -> TypeGuard[Callable[..., Any]]:  # noqa: ANN401 -- any
    return (
        callable(function)
        and not inspect.isclass(function)
        and not inspect.ismodule(function)
        and fixtures.name_of(function) is None
    )


# Binding.


class Pair:
    """A fault of the test, as one event starts it and takes it back.

    Args:
        name: What the test calls it.
        fault: What has ``start`` and ``undo``, without arguments; where it can tell, it
            has ``isInForce``, too.
    """

    def __init__(self, name: str, fault: Any) -> None:  # noqa: ANN401 -- any that fits
        self._name = name
        self._fault = fault
        self._is_refused = False

    def start(self) -> object:
        """Put it in force.

        Raises:
            ConfigError: It is already.
        """
        is_in_force = getattr(self._fault, "isInForce", False)
        if callable(is_in_force):
            is_in_force = is_in_force()
        self._is_refused = bool(is_in_force)
        if self._is_refused:
            message = f"fault {self._name} is in force already: undo it first"
            raise ConfigError(message)
        return self._fault.start()

    def undo(self) -> object:
        """Take it back, unless somebody else has put it in force."""
        return None if self._is_refused else self._fault.undo()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A function, and where its arguments come from.

    Attributes:
        function: The function.
        params: Arguments that the description gives.
        fixtures: Arguments that are fixtures, by name.
    """

    function: Callable[..., Any]
    params: Mapping[str, Any]
    fixtures: Sequence[str] = ()

    def values(
        self, values: Callable[[str], object], **given: object
    ) -> dict[str, object]:
        """Return the arguments that are fixtures; see `call`."""
        return {
            name: given[name] if name in given else values(name)
            for name in self.fixtures
        }

    def call(
        self, values: Callable[[str], object], **given: object
    ) -> Callable[[], object]:
        """Return what calls it.

        Args:
            values: Returns the value of a fixture.
            given: Fixtures that are other ones for this call.
        """
        arguments = self.values(values, **given)
        if not self.params and not arguments:
            return self.function
        return functools.partial(self.function, **self.params, **arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundEvent:
    """An event that can be fired.

    Attributes:
        event: What the description says of it.
        action: What it does.
        undo: What takes that back; None if nothing does.
    """

    event: Event
    action: Bound
    undo: Bound | None = None


def bind(draft: Draft, library: Library) -> tuple[list[BoundEvent], list[Problem]]:
    """Find the functions of a description's events, and what they are called with.

    Args:
        draft: The description.
        library: What there is.

    Returns:
        The events, and all that is wrong. If something is, then some may be missing.
    """
    if draft.description is None:
        return [], []
    available = library.fixtures()
    bound, problems = [], []
    for index, event in enumerate(draft.description.events):
        binder = _Binder(library, available, functools.partial(_problem, draft, index))
        action = binder.bind("name", event.name, event.params, may_leave=())
        undo = None
        if event.undo is not None:
            undo = binder.undo(event.undo, event.params)
        if event.overlap is Overlap.PARALLEL and binder.has_fault:
            words = "overlap: a fault of the test cannot be in force twice"
            binder.problems.append(_problem(draft, index, ("overlap",), words))
        problems += binder.problems
        if action is not None:
            bound.append(BoundEvent(event=event, action=action, undo=undo))
    for remnant in draft.remnants:
        problem = functools.partial(draft.problem_of, remnant)
        binder = _Binder(library, available, problem)
        binder.bind("name", remnant.name, remnant.params, may_leave=())
        if remnant.undo is not None:
            binder.undo(remnant.undo, remnant.params)
        problems += binder.problems
    for name in draft.description.unref_setup_fixtures:
        for words in available.problems(name):
            path = ("unref_setup_fixtures",)
            problems.append(draft.problem(path, f"unref_setup_fixtures: {words}"))
    return bound, problems


class _Binder:
    """Binds one event."""

    def __init__(
        self,
        library: Library,
        available: Fixtures,
        problem: Callable[[Steps, str], Problem],
    ) -> None:
        self.problems: list[Problem] = []
        self._pairs: dict[str, Pair] = {}
        self._library = library
        self._available = available
        self._problem = problem

    @property
    def has_fault(self) -> bool:
        """Whether it names a fault of the test."""
        return bool(self._pairs)

    def undo(self, name: str, params: Mapping[str, Any] | None) -> Bound | None:
        """Bind what takes the event back: it gets those arguments that it takes."""
        return self.bind("undo", name, params, may_leave=params or ())

    def bind(
        self,
        key: str,
        name: str,
        params: Mapping[str, Any] | None,
        *,
        may_leave: Iterable[str],
    ) -> Bound | None:
        """Bind a function; None if something is wrong.

        Args:
            key: Which key of the event names it.
            name: Its name.
            params: Arguments; None if nobody knows them.
            may_leave: Those that it need not take.
        """
        function, why = self._library.find(name)
        fault = None if function is not None else self._library.fault(name)
        if fault is not None:
            pair = self._pairs.setdefault(name, Pair(name, fault))
            function = pair.undo if key == "undo" else pair.start
        if function is None:
            self._blame(key, f"{key} {name!r} {why}")
            return None
        before = len(self.problems)
        if words := _unusable(function):
            self._blame(key, f"{name} {words}")
        if params is None:
            return None
        try:
            parameters = inspect.signature(function).parameters
        except (ValueError, TypeError):
            words = "does not say what it takes: have a function of your own call it"
            self._blame(key, f"{name} {words}")
            return None
        takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        takes = {
            each.name: each
            for each in parameters.values()
            if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}
        }
        given = {
            each: value
            for each, value in params.items()
            if each in takes or takes_any or each not in set(may_leave)
        }
        for each in given:
            if each not in takes and not takes_any:
                hint = nearest(each, takes)
                self._blame("params", f"{name} takes no {each!r}{hint}", each)
        used = []
        for each, parameter in takes.items():
            if each in given:
                continue
            if each in self._available.functions:
                used.append(each)
                for words in self._available.problems(each):
                    self._blame(key, words)
            elif parameter.default is _EMPTY:
                hint = nearest(each, sorted({*params, *self._available.functions}))
                self._blame(
                    key,
                    f"{name} needs {each!r}, which nobody gives it{hint}",
                )
        for parameter in parameters.values():
            if parameter.kind is parameter.POSITIONAL_ONLY:
                self._blame(
                    key, f"{name} takes {parameter.name!r} by position only: name it"
                )
        if len(self.problems) > before:
            return None
        return Bound(function=function, params=given, fixtures=tuple(used))

    def _blame(self, key: str, words: str, *more: str) -> None:
        self.problems.append(self._problem((key, *more), words))


def _problem(draft: Draft, index: int, path: Steps, words: str) -> Problem:
    return draft.problem(("events", index, *path), words)


def _unusable(function: Callable[..., Any]) -> str:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "is a generator: calling it would do nothing"
    return ""

"""What events get as arguments, set up before them and torn down after them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from pysys_orch.errors import OrchError
from pysys_orch.inputs import nearest
from pysys_orch.orchestration.failures import words_of

_MARK = "__pysys_orch_fixture__"
_EMPTY = inspect.Parameter.empty
_MANY = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}

Function = TypeVar("Function", bound=Callable[..., Any])


class FixtureError(OrchError):
    """A fixture could not be set up."""


@overload
def fixture(function: Function) -> Function: ...
@overload
def fixture(*, name: str) -> Callable[[Function], Function]: ...
def fixture(function: Any = None, *, name: str = "") -> Any:
    """Mark a function as a fixture: events get what it returns, by its name.

    It is called once, before the first event fires, and may have other fixtures as
    arguments. What a generator yields is the fixture; the rest of it runs when all
    events have ended.

    Args:
        function: The function.
        name: What events call it; the name of the function by default.

    Example:
        >>> @fixture
        ... def video_player():
        ...     player = ["a player"]
        ...     yield player
        ...     player.clear()
    """

    def mark(function: Function) -> Function:
        setattr(function, _MARK, name or function.__name__)
        return function

    return mark if function is None else mark(function)


def name_of(function: object) -> str | None:
    """Return what events call a fixture; None if it is none."""
    name = getattr(function, _MARK, None)
    return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class Fixtures:
    """The fixtures that there are.

    Attributes:
        functions: What makes them, by name.
    """

    functions: Mapping[str, Callable[..., Any]]

    def problems(self, name: str, around: tuple[str, ...] = ()) -> Iterator[str]:
        """Yield why a fixture cannot be set up.

        Args:
            name: The fixture.
            around: The fixtures that need it.
        """
        by = f", which fixture {around[-1]!r} needs" if around else ""
        if name in around:
            circle = " needs ".join((*around[around.index(name) :], name))
            yield f"fixtures need each other: {circle}"
            return
        function = self.functions.get(name)
        if function is None:
            hint = nearest(name, sorted(self.functions))
            yield f"there is no fixture {name!r}{by}{hint}"
            return
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(
            function
        ):
            yield f"fixture {name!r} is async, which fixtures cannot be"
            return
        for needed in needs(function):
            yield from self.problems(needed, (*around, name))


def needs(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that a function cannot do without."""
    return [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.kind not in _MANY and each.default is _EMPTY
    ]


class Scope:
    """Fixtures that are set up.

    Args:
        fixtures: What there is.
        through: What a fixture may raise without having failed.
    """

    def __init__(
        self, fixtures: Fixtures, through: tuple[type[BaseException], ...] = ()
    ) -> None:
        self._fixtures = fixtures
        self._through = through
        self._values: dict[str, object] = {}
        self._rests: list[tuple[str, Iterator[object]]] = []

    def get(self, name: str) -> object:
        """Return what a fixture is, after setting it up if nobody has.

        Raises:
            FixtureError: It failed.
        """
        if name in self._values:
            return self._values[name]
        function = self._fixtures.functions[name]
        arguments = {each: self.get(each) for each in needs(function)}
        try:
            made = function(**arguments)
            if inspect.isgenerator(made):
                value: object = next(made)
                self._rests.append((name, made))
            else:
                value = made
        except StopIteration:
            message = f"fixture {name!r} yielded nothing"
            raise FixtureError(message) from None
        except self._through:
            raise
        except (Exception, SystemExit) as failure:
            message = f"fixture {name!r} failed: {words_of(failure)}"
            raise FixtureError(message) from failure
        self._values[name] = value
        return value

    def has(self, name: str) -> bool:
        """Return whether a fixture is set up."""
        return name in self._values

    def rests(self) -> Iterable[tuple[str, Callable[[], None]]]:
        """Yield what tears each fixture down, the last one first, with its name."""
        while self._rests:
            name, rest = self._rests.pop()
            yield name, functools.partial(_finish, name, rest)


def _finish(name: str, rest: Iterator[object]) -> None:
    for _ in rest:
        message = f"fixture {name!r} yielded twice"
        raise FixtureError(message)

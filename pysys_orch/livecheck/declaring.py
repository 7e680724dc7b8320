"""The signals that a class of cases declares, and that each of its cases has."""

from __future__ import annotations

import inspect
import logging
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pysys_orch.errors import ConfigError
from pysys_orch.livecheck.signals import Signal, SignalCase

log = logging.getLogger("pysys.orch.livecheck")

_WRITTEN = re.compile(r"((\w+\.)*ClassVar\s*\[\s*)?(\w+\.)*Signal\s*([\[\]]|$)")
_WRAPPERS = (typing.ClassVar, typing.Final, typing.Annotated)


def declared(
    cls: type, is_above: Callable[[type], bool], is_taken: Callable[[str], bool]
) -> dict[str, Signal[Any]]:
    """Return the signals of a class, and of those that it is made of, by attribute.

    They are its own: each class knows the case of that class.

    Args:
        cls: The class.
        is_above: Says of which classes no signals are looked for.
        is_taken: Says what no signal can be called.

    Raises:
        ConfigError: One has a name that something else has.
    """
    found: dict[str, Signal[Any]] = {}
    for base in reversed(cls.__mro__):
        if is_above(base):
            continue
        known = base.__dict__.get("_declared", {}) if base is not cls else {}
        found.update(known or dict(_declared_in(base)))
    own = {
        name: type(each)(each.name or name, of=each.of) for name, each in found.items()
    }
    for name, each in own.items():
        _check_names(cls, (name, each.name), is_taken)
    return own


def bound(
    case: SignalCase,
    known: Mapping[str, Signal[Any]],
    given: Iterable[Signal[Any]] | None,
    is_taken: Callable[[str], bool],
) -> dict[str, Signal[Any]]:
    """Return the signals of a case, by attribute.

    Args:
        case: The case.
        known: Those that its class declares, by attribute.
        given: Those that it has instead of these, by their names; or None.
        is_taken: Says what no signal can be called.

    Raises:
        ConfigError: One that is given has a name that something else has.
    """
    if given is not None:
        known = {each.name: each for each in given}
        _check_names(type(case), known, is_taken)
    # Not before: what a module defines after the class is known by now.
    return {
        attribute: each.bound(case, index, _type_of(type(case), attribute, each))
        for index, (attribute, each) in enumerate(known.items(), 1)
    }


def _check_names(
    cls: type, names: Iterable[str], is_taken: Callable[[str], bool]
) -> None:
    """Refuse a signal that would take the place of something else."""
    owner = cls.__qualname__
    for name in names:
        if not name:
            message = f"{owner}: a signal needs a name: Signal('order_sent')"
            raise ConfigError(message)
        if is_taken(name):
            message = (
                f"{owner}: no signal can be called {name!r}, since a case has that "
                "already: give it another name"
            )
            raise ConfigError(message)


def _declared_in(cls: type) -> Iterator[tuple[str, Signal[Any]]]:
    """Yield the signals that the body of a class declares, by their attributes.

    Both ``s: Signal[T]`` and ``s: Signal = Signal()`` do, and ``s = Signal()``. First
    come those that are annotated.
    """
    body = vars(cls)
    for name in dict.fromkeys([*inspect.get_annotations(cls), *body]):
        given = body.get(name)
        if isinstance(given, Signal):
            given.name = given.name or name
            yield name, given
        elif given is None:
            found = _annotated(cls, name)
            if found is not None:
                yield name, found(name)


def _type_of(cls: type, name: str, signal: Signal[Any]) -> object:
    """Return what T of a signal is, as a class and those above it say it.

    Args:
        cls: The class.
        name: The attribute.
        signal: What the class has there.

    Returns:
        Any if nobody says it. What is said but not known is logged, and is Any too.
    """
    for home in cls.__mro__:
        said = inspect.get_annotations(home).get(name)
        if said is None:
            continue
        try:
            args = typing.get_args(_unwrapped(_resolved(home, said)))
        except NameError as failure:
            log.warning(
                "%s.%s: %s when the program runs, so that its values are what JSON "
                "has: import it outside of TYPE_CHECKING",
                home.__qualname__,
                name,
                failure,
            )
            return Any
        if args:
            found: object = args[0]
            return Any if isinstance(found, TypeVar) else found
    return signal.of


def _annotated(cls: type, name: str) -> type[Signal[Any]] | None:
    """Return which kind of signal an annotation declares, if any."""
    said = inspect.get_annotations(cls).get(name)
    try:
        found = _resolved(cls, said)
    except NameError:
        # What it carries may be known later, or never.
        return Signal if isinstance(said, str) and _WRITTEN.match(said) else None
    except (TypeError, SyntaxError, AttributeError):
        return None
    found = _unwrapped(found)
    kind = typing.get_origin(found) or found
    return kind if isinstance(kind, type) and issubclass(kind, Signal) else None


def _unwrapped(found: object) -> object:
    """Return what an annotation is of, as of ``ClassVar[Signal[str]]``."""
    while typing.get_origin(found) in _WRAPPERS:
        found = typing.get_args(found)[0]
    return found


def _resolved(cls: type, said: object) -> object:
    if not isinstance(said, str):
        return said
    module = sys.modules.get(cls.__module__)
    # A class: there, ClassVar is understood.
    one = type("It", (), {"__annotations__": {"it": said}})
    return typing.get_type_hints(one, vars(module) if module else {}, dict(vars(cls)))[
        "it"
    ]

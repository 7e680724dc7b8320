"""Health as a text, and read again."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import asdict
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pysys_orch.livecheck.health import Health
from pysys_orch.livecheck.models import State
from pysys_orch.livecheck.recent import Recent
from pysys_orch.livecheck.ring import Bucket, Ring
from pysys_orch.livecheck.tally import Tally, Watch
from pysys_orch.livecheck.troubles import Trouble, Troubles

T = TypeVar("T")

_TROUBLES = ("failing", "stalled", "down")
_RINGS = ("ratio", "long", "short", "budget")


def text_of_health(health: Health) -> str:
    """Write a health so that `health_of_text` reads it."""
    said = {
        "status": health.status,
        "last": health.last,
        "tally": health.tally._asdict(),
        "watch": health.watch._asdict(),
        "troubles": asdict(health.troubles),
        "recent": asdict(health.recent),
    }
    return json.dumps(said)


def health_of_text(text: str) -> Health:
    """Return the health that was written.

    Raises:
        ValueError: It is none.
    """
    try:
        said = json.loads(text)
        troubles, recent = said["troubles"], said["recent"]
        return Health(
            State(said["status"]),
            State(said["last"]),
            _checked(Tally, said["tally"]),
            _checked(Watch, said["watch"]),
            _checked(
                Troubles,
                {**troubles, **{it: _trouble(troubles[it]) for it in _TROUBLES}},
            ),
            _checked(Recent, {**recent, **{it: _ring(recent[it]) for it in _RINGS}}),
        )
    except (KeyError, TypeError) as failure:
        message = f"it is no health of a case: {failure!r}"
        raise ValueError(message) from failure


def _trouble(said: dict[str, Any] | None) -> Trouble | None:
    return None if said is None else _checked(Trouble, said)


def _ring(said: dict[str, Any] | None) -> Ring | None:
    if said is None:
        return None
    earlier = tuple(map(_bucket, said["earlier"]))
    return _checked(
        Ring, {**said, "latest": _bucket(said["latest"]), "earlier": earlier}
    )


def _bucket(said: list[Any]) -> Bucket:
    return _checked(Bucket, dict(zip(Bucket._fields, said, strict=True)))


def _checked(kind: type[T], said: dict[str, Any]) -> T:
    """Return a value of its fields, if these are of the types that they have to be.

    Raises:
        TypeError: One is not, or is not known, or is missing.
    """
    for name, value in dict(said).items():
        allowed = _types(cast("Hashable", kind)).get(name, ())
        if type(value) not in allowed:
            message = f"{name} of {kind.__name__}: {value!r}"
            raise TypeError(message)
    return kind(**said)


@cache
def _types(kind: Hashable) -> dict[str, tuple[type, ...]]:
    """Return of which types the fields of a value may be."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        each = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
        types = tuple(get_origin(it) or it for it in each)
        found[name] = (*types, int) if float in types else types
    return found

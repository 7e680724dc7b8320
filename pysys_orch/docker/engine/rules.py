"""Packet filters as text: what ``iptables-restore`` reads, and ``iptables-save`` says.

A fault has a chain of its own, so that several faults are in force side by side, and
each is taken back without looking at the others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: What reads and says rules of a version of IP.
PROGRAMS = {4: "iptables", 6: "ip6tables"}

_SIX = 6
_FIRST_QUEUE, _QUEUES = 16_384, 32_768  # far from those that others begin with
_QUEUES_TRIED = 64

#: The mark of packets that have been through a queue.
SENT_MARK = 0x706F


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain of rules in one network namespace.

    Attributes:
        table: The table that it is in.
        name: Its name, at most 28 characters.
        hooks: The chains of the kernel that lead to it.
        rules: Its rules by the version of IP, each without its chain.
    """

    table: str
    name: str
    hooks: tuple[str, ...]
    rules: Mapping[int, Sequence[str]]

    def begin(self, version: int) -> str:
        """Return what ``iptables-restore --noflush`` makes it of."""
        return self._text(
            f":{self.name} - [0:0]",
            *(f"-A {self.name} {rule}" for rule in self.rules[version]),
            *(f"-I {hook} -j {self.name}" for hook in self.hooks),
        )

    def end(self, saved: str) -> str:
        """Return what takes it away.

        Args:
            saved: What ``iptables-save`` says of its table: whether all hooks still
                lead to it, since what is not there cannot be deleted.
        """
        led = [line for line in saved.splitlines() if line.endswith(f" -j {self.name}")]
        return self._text(
            *(f"-D {line.removeprefix('-A ')}" for line in led),
            f"-F {self.name}",
            f"-X {self.name}",
        )

    def is_in(self, saved: str) -> bool:
        """Return whether there is any of it in what ``iptables-save`` says."""
        return f":{self.name} " in saved

    def is_whole_in(self, saved: str, version: int) -> bool:
        """Return whether all of it is in force, by what ``iptables-save`` says."""
        lines = saved.splitlines()
        rules = [line for line in lines if line.startswith(f"-A {self.name} ")]
        is_led_to = all(f"-A {hook} -j {self.name}" in lines for hook in self.hooks)
        return is_led_to and 0 < len(rules) == len(self.rules[version])

    def as_json(self) -> dict[str, Any]:
        """Return what is needed to take it away, for a line of JSON."""
        return {
            "table": self.table,
            "name": self.name,
            "hooks": list(self.hooks),
            "versions": sorted(self.rules),
        }

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Chain:
        """Return what `as_json` has returned, without its rules."""
        return cls(
            table=said["table"],
            name=said["name"],
            hooks=tuple(said["hooks"]),
            rules={int(version): () for version in said["versions"]},
        )

    def _text(self, *lines: str) -> str:
        return "\n".join((f"*{self.table}", *lines, "COMMIT", ""))


def cutting(name: str, addresses: Iterable[str]) -> Chain:
    """Return the chain that cuts a container off from *addresses*, both ways."""
    rules: dict[int, list[str]] = {}
    for address in addresses:
        version = ipaddress.ip_address(address).version
        rules.setdefault(version, []).extend(
            (f"-s {address} -j DROP", f"-d {address} -j DROP")
        )
    return Chain(table="filter", name=name, hooks=("INPUT", "OUTPUT"), rules=rules)


def queues_from(place: int) -> Sequence[int]:
    """Return the numbers of queues to try, the first one first.

    Args:
        place: A number; those who have another one seldom try the same.
    """
    return [_FIRST_QUEUE + (place + n) % _QUEUES for n in range(_QUEUES_TRIED)]


def queueing(
    name: str,
    number: int,
    addresses: Iterable[str] | None,
    versions: Iterable[int] = tuple(PROGRAMS),
) -> Chain:
    """Return the chain that hands what a container sends to a queue.

    Where nobody listens to the queue, packets pass as if there were no chain.

    Args:
        name: The name of the chain.
        number: That of the queue.
        addresses: Whom it has to be sent to; None is everybody but itself.
        versions: Those of IP that there are.
    """
    target = f"-j NFQUEUE --queue-num {number} --queue-bypass"
    rules: dict[int, list[str]] = {}
    if addresses is None:
        rules = {version: [f"! -o lo {target}"] for version in versions}
    else:
        for address in addresses:
            version = ipaddress.ip_address(address).version
            rules.setdefault(version, []).append(f"-d {address} {target}")
    if addresses is None and _SIX in rules:
        # By these, neighbours find each other, and no route leads to them.
        rules[_SIX][:0] = [f"-d {each} -j RETURN" for each in ("fe80::/10", "ff00::/8")]
    for each in rules.values():
        each.insert(0, f"-m mark --mark {SENT_MARK:#x} -j RETURN")
    return Chain(table="mangle", name=name, hooks=("POSTROUTING",), rules=rules)


def addresses_of(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the addresses of a container in its networks, of both versions.

    Args:
        found: Its inspection.
    """
    networks = (found["NetworkSettings"].get("Networks") or {}).values()
    return tuple(
        each[key]
        for each in networks
        for key in ("IPAddress", "GlobalIPv6Address")
        if each.get(key)
    )

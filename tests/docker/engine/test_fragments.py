"""What does not fit a link is cut so that its receiver can put it together."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysys_orch.docker.engine.fragments import fragments

IDENTIFICATION = b"\1\2\3\4"
MORE, MAY_NOT = 0x2000, 0x4000
DATA = st.binary(min_size=1, max_size=4000)


def of_four(
    data: bytes, *, number: int = 7, flags: int = 0, options: bytes = b""
) -> bytes:
    """Return a packet of IPv4."""
    length = 20 + len(options)
    addresses = (ipaddress.ip_address(each).packed for each in ("10.0.0.1", "10.0.0.2"))
    header = struct.pack(
        ">BBHHHBBH", 0x40 | length // 4, 0, length + len(data), number, flags, 64, 17, 0
    )
    return header + b"".join(addresses) + options + data


def of_six(data: bytes, *, before: bytes = b"", kind: int = 17) -> bytes:
    """Return a packet of IPv6."""
    addresses = (ipaddress.ip_address(each).packed for each in ("fd00::1", "fd00::2"))
    header = struct.pack(">IHBB", 0x60000000, len(before) + len(data), kind, 64)
    return header + b"".join(addresses) + before + data


@given(
    data=DATA,
    most=st.integers(68, 1500),
    number=st.integers(0, 65535),
    flags=st.sampled_from([0, 5, MORE, MORE | 5]),
    options=st.sampled_from([b"", b"\1" * 8]),
)
def test_fragments_of_four_make_up_the_packet(
    data: bytes, most: int, number: int, flags: int, options: bytes
) -> None:
    """All fit, say where they belong, and are known for those of one packet."""
    packet = of_four(data, number=number, flags=flags, options=options)
    length = 20 + len(options)
    made = fragments(packet, most, IDENTIFICATION)
    found = b""
    for each in made:
        total, its_number, place = struct.unpack_from(">HHH", each, 2)
        assert total == len(each) <= most
        assert its_number == (number or 0x0102)
        assert (place & 0x1FFF) * 8 == (flags & 0x1FFF) * 8 + len(found)
        assert bool(place & MORE) == (each is not made[-1] or bool(flags & MORE))
        assert each[8:length] == packet[8:length]
        found += each[length:]
    assert found == data


@given(data=DATA, most=st.integers(1280, 1500), is_routed=st.booleans())
def test_fragments_of_six_make_up_the_packet(
    data: bytes, most: int, *, is_routed: bool
) -> None:
    """What is for those on the way comes before, in each."""
    before = bytes([43, 0, *bytes(6), 17, 0, *bytes(6)]) if is_routed else b""
    packet = of_six(data, before=before, kind=0 if is_routed else 17)
    made = fragments(packet, most, IDENTIFICATION)
    found = b""
    for each in made:
        end = 40 + len(before)
        (size,) = struct.unpack_from(">H", each, 4)
        assert 40 + size == len(each) <= most
        assert each[8:40] == packet[8:40]
        kind, place = struct.unpack_from(">BxH", each, end)
        assert (each[6], each[48] if before else 44, kind) == (
            0 if before else 44,
            44,
            17,
        )
        assert place & ~7 == len(found)
        assert bool(place & 1) == (each is not made[-1])
        assert each[end + 4 : end + 8] == IDENTIFICATION
        found += each[end + 8 :]
    assert found == data


@pytest.mark.parametrize(
    "packet",
    [
        of_four(bytes(2000), flags=MAY_NOT),
        of_six(bytes(2000), before=bytes([17, *bytes(7)]), kind=44),
    ],
)
def test_what_may_not_be_cut_is_not(packet: bytes) -> None:
    """It is lost, as it is on a link where it does not fit."""
    assert fragments(packet, 1500, IDENTIFICATION) == []

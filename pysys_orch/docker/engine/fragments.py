"""Packets cut to what fits a link, as the kernel does it for those that it sends."""

from __future__ import annotations

import struct

_SIX = 6
_UNIT = 8  # bytes: what offsets are counted in
_MAY_NOT, _MORE, _OFFSET = 0x4000, 0x2000, 0x1FFF  # of IPv4's flags
_HEADER_OF_SIX = 40
_NEXT_HEADER = 6  # where IPv6 says what follows
_FRAGMENT = 44
_BEFORE_FRAGMENT = {0, 43, 60}  # for hops, of routes, for destinations


def fragments(packet: bytes, most: int, identification: bytes) -> list[bytes]:
    """Return as what a packet is sent that does not fit.

    The checksum of IPv4's header is left as it is: a raw socket sets it.

    Args:
        packet: It, from its IP header on.
        most: How many bytes fit, with all headers of IP.
        identification: Four bytes by which the receiver tells its fragments from those
            of other packets, if it has none of its own.

    Returns:
        Its fragments in their order; none if it may not or cannot be cut.
    """
    if packet[0] >> 4 == _SIX:
        return _of_six(packet, most, identification)
    return _of_four(packet, most, identification)


def _of_four(packet: bytes, most: int, identification: bytes) -> list[bytes]:
    length = (packet[0] & 0xF) * 4
    (flags,) = struct.unpack_from(">H", packet, 6)
    if flags & _MAY_NOT:
        return []
    own = packet[4:6]
    # Where there is none, a raw socket would give each fragment another one.
    same = own if any(own) else identification[:2]
    made = []
    for at, piece, is_last in _pieces(packet[length:], most - length):
        more = flags & _MORE if is_last else _MORE
        offset = (flags & _OFFSET) + at // _UNIT
        total = struct.pack(">H", length + len(piece))
        place = struct.pack(">H", more | offset)
        made.append(packet[:2] + total + same + place + packet[8:length] + piece)
    return made


def _of_six(packet: bytes, most: int, identification: bytes) -> list[bytes]:
    said, end = _NEXT_HEADER, _HEADER_OF_SIX
    while packet[said] in _BEFORE_FRAGMENT and end + 1 < len(packet):
        said, end = end, end + (packet[end + 1] + 1) * _UNIT
    if packet[said] == _FRAGMENT:
        return []
    before = packet[:said] + bytes([_FRAGMENT]) + packet[said + 1 : end]
    made = []
    for at, piece, is_last in _pieces(packet[end:], most - end - _UNIT):
        size = struct.pack(">H", end - _HEADER_OF_SIX + _UNIT + len(piece))
        header = struct.pack(">BxH", packet[said], at | (not is_last)) + identification
        made.append(before[:4] + size + before[6:] + header + piece)
    return made


def _pieces(data: bytes, most: int) -> list[tuple[int, bytes, bool]]:
    """Return where each piece begins, the piece, and whether it is the last."""
    step = most // _UNIT * _UNIT
    if step <= 0:
        return []
    return [
        (at, data[at : at + step], at + step >= len(data))
        for at in range(0, len(data), step)
    ]

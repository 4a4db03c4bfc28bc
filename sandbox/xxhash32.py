"""xxHash32, by which Kong places keys and targets on its ring.

Rules: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

from __future__ import annotations

_P1, _P2, _P3, _P4, _P5 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1
_M = 0xFFFFFFFF


def _rotate(value: int, bits: int) -> int:
    value &= _M
    return (value << bits | value >> (32 - bits)) & _M


def xxhash32(data: bytes, seed: int = 0) -> int:
    """The 32-bit hash of some bytes."""
    at, size = 0, len(data)
    if size >= 16:
        lanes = [seed + _P1 + _P2, seed + _P2, seed, seed - _P1]
        while at <= size - 16:
            for i in range(4):
                word = int.from_bytes(data[at : at + 4], "little")
                lanes[i] = _rotate(lanes[i] + word * _P2, 13) * _P1 & _M
                at += 4
        total = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True))
    else:
        total = seed + _P5
    total = (total + size) & _M
    while at <= size - 4:
        total = _rotate(total + int.from_bytes(data[at : at + 4], "little") * _P3, 17) * _P4 & _M
        at += 4
    for byte in data[at:]:
        total = _rotate(total + byte * _P5, 11) * _P1 & _M
    total = (total ^ total >> 15) * _P2 & _M
    total = (total ^ total >> 13) * _P3 & _M
    return total ^ total >> 16

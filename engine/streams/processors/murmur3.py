"""MurmurHash3, 128 bits, as Kafka Streams hashes values in foreign-key joins (``Murmur3.hash128``, seed 104729)."""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFFFFFFFFFF
_C1 = 0x87C37B91114253D5
_C2 = 0x4CF5AD432745937F
_SEED = 104729
_BLOCK = struct.Struct("<QQ")


def _rotate(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & _MASK


def _mix_first(value: int) -> int:
    return _rotate(value * _C1 & _MASK, 31) * _C2 & _MASK


def _mix_second(value: int) -> int:
    return _rotate(value * _C2 & _MASK, 33) * _C1 & _MASK


def _finish(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33


def hash128(data: bytes) -> bytes:
    """The hash, 16 bytes: both halves big-endian, as Kafka puts them on the wire."""
    first = second = _SEED
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        low, high = _BLOCK.unpack_from(data, at)
        first = (_rotate(first ^ _mix_first(low), 27) + second) * 5 + 0x52DCE729 & _MASK
        second = (_rotate(second ^ _mix_second(high), 31) + first) * 5 + 0x38495AB5 & _MASK
    rest = data[whole:]
    if len(rest) > 8:
        second ^= _mix_second(int.from_bytes(rest[8:], "little"))
    if rest:
        first ^= _mix_first(int.from_bytes(rest[:8], "little"))
    first ^= len(data)
    second ^= len(data)
    first = first + second & _MASK
    second = second + first & _MASK
    first, second = _finish(first), _finish(second)
    first = first + second & _MASK
    second = second + first & _MASK
    return struct.pack(">QQ", first, second)

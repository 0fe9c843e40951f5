"""A ``java.util.HashMap<byte[], byte[]>`` as Java serializes it: the file of offsets of a standalone worker.

The format is that of the Java Object Serialization Specification, protocol version 2. Pure.
"""

from __future__ import annotations

import struct

_HEADER = b"\xac\xed\x00\x05"
_HASH_MAP = (
    b"sr\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\x0aloadFactorI\x00\x09thresholdxp"
)
_FIRST_BYTES = b"ur\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00xp"
# The handle of the class of arrays; that of the map's class is 0x7e0000, the map's 0x7e0001.
_BYTES = b"uq\x00\x7e\x00\x02"
_NULL, _END = b"p", b"x"
_LOAD_FACTOR = 0.75


class JavaMapError(ValueError):
    """Bytes that are no such map."""


def write_map(data: dict[bytes, bytes]) -> bytes:
    """The bytes of a map."""
    capacity = 16
    while len(data) > capacity * _LOAD_FACTOR:
        capacity *= 2
    parts = [
        _HEADER,
        _HASH_MAP,
        struct.pack(">fi", _LOAD_FACTOR, int(capacity * _LOAD_FACTOR)),
        b"w\x08" + struct.pack(">ii", capacity, len(data)),
    ]
    first = True
    for pair in data.items():
        for each in pair:
            parts += [_FIRST_BYTES if first else _BYTES, struct.pack(">i", len(each)), each]
            first = False
    parts.append(_END)
    return b"".join(parts)


def read_map(data: bytes) -> dict[bytes, bytes]:
    """The map in ``data``; an empty file is an empty map.

    Raises:
        JavaMapError: it is something else.
    """
    if not data:
        return {}
    reader = _Reader(data)
    reader.expect(_HEADER)
    reader.expect(_HASH_MAP)
    reader.take(8)
    reader.expect(b"w\x08")
    _, count = struct.unpack(">ii", reader.take(8))
    arrays: dict[int, bytes] = {}
    found: dict[bytes, bytes] = {}
    for _ in range(count):
        key, value = reader.array(arrays), reader.array(arrays)
        if key is not None and value is not None:
            found[key] = value
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._handle = 0x7E0002

    def take(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._data):
            raise JavaMapError(f"it ends at byte {len(self._data)}, in the middle")
        self._at += count
        return self._data[self._at - count : self._at]

    def expect(self, wanted: bytes) -> None:
        at = self._at
        if self.take(len(wanted)) != wanted:
            raise JavaMapError(f"unexpected bytes at {at}")

    def array(self, arrays: dict[int, bytes]) -> bytes | None:
        kind = self.take(1)
        if kind == _NULL:
            return None
        if kind == b"q":
            (handle,) = struct.unpack(">i", self.take(4))
            if handle not in arrays:
                raise JavaMapError(f"a reference to something unknown at {self._at}")
            return arrays[handle]
        self._at -= 1
        if self._handle == 0x7E0002:
            self.expect(_FIRST_BYTES)
            self._handle += 1
        else:
            self.expect(_BYTES)
        (length,) = struct.unpack(">i", self.take(4))
        arrays[self._handle] = self.take(length)
        self._handle += 1
        return arrays[self._handle - 1]

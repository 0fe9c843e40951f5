"""Serdes: how keys and values become bytes and back (``org.apache.kafka.common.serialization.Serdes``).

A serde is two functions. None never reaches them: a null key or value is null on the wire. The bytes are those of
Kafka's serdes of the same name, so that a Java application reads them.
"""

from __future__ import annotations

import json
import struct
import uuid as uuids
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from engine.streams.records import Window, Windowed

T = TypeVar("T")

# The class Serdes has methods of these names, which would hide the types from its own annotations.
_Bytes = bytes
_Float = float

_LONG = struct.Struct(">q")
_INT = struct.Struct(">i")
_SHORT = struct.Struct(">h")
_DOUBLE = struct.Struct(">d")
_FLOAT = struct.Struct(">f")
_WINDOW = struct.Struct(">qq")
_STORE_WINDOW = struct.Struct(">qi")


class Serde(Generic[T]):
    """A pair of functions between values of one type and bytes.

    ``serialize`` and ``deserialize`` may raise anything; the node that called them says which topic, store and record
    it was. A serde that depends on the topic, as those of a schema registry do, overrides :meth:`for_topic`.
    """

    __slots__ = ("deserialize", "name", "serialize")

    def __init__(self, serialize: Callable[[T], bytes], deserialize: Callable[[bytes], T], name: str = "custom"):
        self.serialize = serialize
        self.deserialize = deserialize
        self.name = name

    def for_topic(self, topic: str, *, is_key: bool) -> Serde[T]:
        """The serde to use for the keys, or the values, of ``topic``; this one unless overridden."""
        return self

    def __repr__(self) -> str:
        return f"<Serde {self.name}>"


def _unpacker(packer: struct.Struct, name: str) -> Callable[[bytes], Any]:
    size, unpack = packer.size, packer.unpack

    def read(data: bytes) -> Any:
        if len(data) != size:
            raise ValueError(f"{name} takes {size} bytes, these are {len(data)}")
        return unpack(data)[0]

    return read


_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
# What json.loads and JSONEncoder.encode call in C in the end: all that they do before it costs more than it.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_encode: Callable[[Any, int], tuple[str, ...]] | None = None
_make_encoder = getattr(json.encoder, "c_make_encoder", None)
if _make_encoder is not None:
    _encode = _make_encoder(
        None, json.JSONEncoder().default, json.encoder.encode_basestring, None, ":", ",", False, False, True
    )


def _dump_json(value: Any) -> bytes:
    if _encode is not None:
        try:
            return "".join(_encode(value, 0)).encode()
        except (TypeError, ValueError, RecursionError):
            pass  # json's own words for it, below
    return _dump(value).encode()


def _load_json(data: bytes) -> Any:
    try:
        text = data.decode()
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (ValueError, StopIteration):
        pass
    return json.loads(data)  # blanks around, a byte order mark, UTF-16, or an error


def _dump_boolean(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


def _load_boolean(data: bytes) -> bool:
    if data not in (b"\x00", b"\x01"):
        raise ValueError("a boolean is one byte, 0 or 1")
    return data == b"\x01"


STRING: Serde[str] = Serde(str.encode, bytes.decode, "string")
BYTES: Serde[bytes] = Serde(bytes, bytes, "bytes")
LONG: Serde[int] = Serde(_LONG.pack, _unpacker(_LONG, "a long"), "long")
INTEGER: Serde[int] = Serde(_INT.pack, _unpacker(_INT, "an integer"), "integer")
SHORT: Serde[int] = Serde(_SHORT.pack, _unpacker(_SHORT, "a short"), "short")
DOUBLE: Serde[float] = Serde(_DOUBLE.pack, _unpacker(_DOUBLE, "a double"), "double")
FLOAT: Serde[float] = Serde(_FLOAT.pack, _unpacker(_FLOAT, "a float"), "float")
BOOLEAN: Serde[bool] = Serde(_dump_boolean, _load_boolean, "boolean")
UUID: Serde[uuids.UUID] = Serde(lambda value: str(value).encode(), lambda data: uuids.UUID(data.decode()), "uuid")
JSON: Serde[Any] = Serde(_dump_json, _load_json, "json")


class TimeWindowedSerde(Serde[Windowed[T]]):
    """Keys of time windows: the key's bytes, then the window's start, 8 bytes (``WindowedSerdes.TimeWindowedSerde``).

    ``window_size`` in ms is what the end is reckoned by when the bytes are read.
    """

    __slots__ = ("inner", "window_size")

    def __init__(self, inner: Serde[T], window_size: int) -> None:
        super().__init__(self._write, self._read, f"time-windowed {inner.name}")
        self.inner = inner
        self.window_size = window_size

    def _write(self, windowed: Windowed[T]) -> bytes:
        return self.inner.serialize(windowed.key) + _LONG.pack(windowed.window.start)

    def _read(self, data: bytes) -> Windowed[T]:
        (start,) = _LONG.unpack(data[-8:])
        return Windowed(self.inner.deserialize(data[:-8]), Window(start, start + self.window_size))


class SessionWindowedSerde(Serde[Windowed[T]]):
    """Keys of sessions: the key's bytes, then the session's end and start, 8 bytes each (``SessionWindowedSerde``)."""

    __slots__ = ("inner",)

    def __init__(self, inner: Serde[T]) -> None:
        super().__init__(self._write, self._read, f"session-windowed {inner.name}")
        self.inner = inner

    def _write(self, windowed: Windowed[T]) -> bytes:
        return self.inner.serialize(windowed.key) + _WINDOW.pack(windowed.window.end, windowed.window.start)

    def _read(self, data: bytes) -> Windowed[T]:
        end, start = _WINDOW.unpack(data[-16:])
        return Windowed(self.inner.deserialize(data[:-16]), Window(start, end))


def window_store_key(key: bytes, start: int, sequence: int = 0) -> bytes:
    """The key of a window store's changelog: key, start, sequence number (``WindowKeySchema.toStoreKeyBinary``)."""
    return key + _STORE_WINDOW.pack(start, sequence)


def split_window_store_key(data: bytes) -> tuple[bytes, int, int]:
    """``(key, start, sequence number)`` of a key of a window store's changelog."""
    start, sequence = _STORE_WINDOW.unpack(data[-12:])
    return data[:-12], start, sequence


def session_store_key(key: bytes, start: int, end: int) -> bytes:
    """The key of a session store's changelog: key, end, start (``SessionKeySchema.toBinary``)."""
    return key + _WINDOW.pack(end, start)


def split_session_store_key(data: bytes) -> tuple[bytes, int, int]:
    """``(key, start, end)`` of a key of a session store's changelog."""
    end, start = _WINDOW.unpack(data[-16:])
    return data[:-16], start, end


class Serdes:
    """Kafka's serdes by Kafka's names. Each call gives the same, shared, stateless serde."""

    @staticmethod
    def string() -> Serde[str]:
        """UTF-8."""
        return STRING

    @staticmethod
    def bytes() -> Serde[_Bytes]:
        """Bytes as they are (``Serdes.ByteArray``)."""
        return BYTES

    @staticmethod
    def long() -> Serde[int]:
        """8 bytes, big-endian, signed."""
        return LONG

    @staticmethod
    def integer() -> Serde[int]:
        """4 bytes, big-endian, signed."""
        return INTEGER

    @staticmethod
    def short() -> Serde[int]:
        """2 bytes, big-endian, signed."""
        return SHORT

    @staticmethod
    def double() -> Serde[_Float]:
        """8 bytes, IEEE 754."""
        return DOUBLE

    @staticmethod
    def float() -> Serde[_Float]:
        """4 bytes, IEEE 754."""
        return FLOAT

    @staticmethod
    def boolean() -> Serde[bool]:
        """One byte, 0 or 1."""
        return BOOLEAN

    @staticmethod
    def uuid() -> Serde[uuids.UUID]:
        """A UUID as its text."""
        return UUID

    @staticmethod
    def json() -> Serde[Any]:
        """JSON in UTF-8 without spaces."""
        return JSON

    @staticmethod
    def time_windowed(inner: Serde[T], window_size: int) -> Serde[Windowed[T]]:
        """Keys of time windows of ``window_size`` ms."""
        return TimeWindowedSerde(inner, window_size)

    @staticmethod
    def session_windowed(inner: Serde[T]) -> Serde[Windowed[T]]:
        """Keys of session windows."""
        return SessionWindowedSerde(inner)

"""Serdes: from a key's or value's bytes to text or JSON, and back. Those here need no schema. Pure.

Integers, floats, UUIDs and strings are as Kafka's own serializers write them (package
``org.apache.kafka.common.serialization``: ``ShortSerializer``, ``IntegerSerializer``, ``LongSerializer``,
``FloatSerializer``, ``DoubleSerializer``, ``UUIDSerializer``, ``StringSerializer``): big-endian, a UUID as its text.
"""

from __future__ import annotations

import io
import json
import math
import struct
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from console.values.json_form import json_text


class SerdeError(Exception):
    """Bytes that are not what a serde reads, or text that it cannot write. The message is a sentence for people; it
    tells nothing of the value, which may be masked."""


class Serde(Protocol):
    """One way of reading and writing. ``is_text``: what it reads is text even where it looks like JSON."""

    name: str
    is_text: bool

    def read(self, data: bytes) -> bytes:
        """Text or JSON, in UTF-8. Raises: SerdeError."""

    def write(self, text: str) -> bytes:
        """What ``read`` would give ``text`` for. Raises: SerdeError."""


class MissingExtra(SerdeError):
    """A library that is not installed."""

    def __init__(self, library: str, extra: str = "serdes") -> None:
        super().__init__(f"{library} is not installed here: pip install 'kconsole[{extra}]'")


class StringSerde:
    """UTF-8, whatever it looks like."""

    name, is_text = "string", True

    def read(self, data: bytes) -> bytes:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise SerdeError(f"no UTF-8: byte {error.start} is none of its") from None
        return data

    def write(self, text: str) -> bytes:
        return text.encode()


class JsonSerde:
    """JSON in UTF-8."""

    name, is_text = "json", False

    def read(self, data: bytes) -> bytes:
        _loaded(data)
        return data

    def write(self, text: str) -> bytes:
        _loaded(text)
        return text.encode()


class HexSerde:
    """Any bytes."""

    name, is_text = "hex", True

    def read(self, data: bytes) -> bytes:
        return data.hex().encode()

    def write(self, text: str) -> bytes:
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise SerdeError("no hex: write two digits a byte, as in 00ff1a") from None


class NumberSerde:
    """One number of a fixed size, big-endian."""

    is_text = False

    def __init__(self, name: str, layout: str) -> None:
        self.name = name
        self._layout = struct.Struct(layout)
        self._is_whole = layout[-1] in "hiq"

    def read(self, data: bytes) -> bytes:
        if len(data) != self._layout.size:
            raise SerdeError(f"{self.name} has {self._layout.size} bytes, this has {len(data)}")
        (number,) = self._layout.unpack(data)
        return json_text(number)

    def write(self, text: str) -> bytes:
        try:
            return self._layout.pack(int(text) if self._is_whole else _real(text))
        except (ValueError, struct.error, OverflowError):
            kind = "a whole number" if self._is_whole else "a number"
            raise SerdeError(f"{self.name} is {kind} of {self._layout.size} bytes") from None


def _real(text: str) -> float:
    number = float(text.strip().strip('"'))
    if math.isinf(number) and "inf" not in text.lower():
        raise OverflowError
    return number


class UuidSerde:
    """A UUID as 36 characters, which is what Kafka's ``UUIDSerializer`` writes; 16 bytes are read, too."""

    name, is_text = "uuid", True

    def read(self, data: bytes) -> bytes:
        try:
            found = uuid.UUID(bytes=data) if len(data) == 16 else uuid.UUID(data.decode())
        except (ValueError, UnicodeDecodeError):
            raise SerdeError(f"no UUID: it has 36 characters (or 16 bytes), this has {len(data)} bytes") from None
        return str(found).encode()

    def write(self, text: str) -> bytes:
        try:
            return str(uuid.UUID(text.strip())).encode()
        except ValueError:
            raise SerdeError("no UUID: it looks like 123e4567-e89b-12d3-a456-426614174000") from None


class MessagePackSerde:
    """https://github.com/msgpack/msgpack/blob/master/spec.md; bytes and extensions are shown in hex."""

    name, is_text = "msgpack", False

    def __init__(self) -> None:
        try:
            import msgpack
        except ImportError:
            raise MissingExtra("msgpack") from None
        self._msgpack = msgpack

    def read(self, data: bytes) -> bytes:
        try:
            return json_text(self._msgpack.unpackb(data, strict_map_key=False, timestamp=3, ext_hook=_extension))
        except (ValueError, TypeError, OverflowError, self._msgpack.exceptions.UnpackException) as error:
            raise SerdeError(f"no MessagePack: {_kind(error)}") from None

    def write(self, text: str) -> bytes:
        try:
            made: bytes = self._msgpack.packb(_loaded(text))
        except (ValueError, OverflowError, TypeError) as error:
            raise SerdeError(f"MessagePack cannot have this: {error}") from None
        return made


class CborSerde:
    """RFC 8949; bytes are shown in hex."""

    name, is_text = "cbor", False

    def __init__(self) -> None:
        try:
            import cbor2
        except ImportError:
            raise MissingExtra("cbor2") from None
        self._cbor = cbor2
        # From 5.8 on it reads ahead unless told not to; then nobody knows what is left over.
        self._options: dict[str, int] = {"read_size": 1}
        try:
            cbor2.load(io.BytesIO(b"\0"), **self._options)
        except TypeError:
            self._options = {}

    def read(self, data: bytes) -> bytes:
        stream = io.BytesIO(data)
        try:
            found = self._cbor.load(stream, **self._options)
            rest = len(data) - stream.tell()
        except (self._cbor.CBORError, ValueError, TypeError, OverflowError, EOFError, RecursionError) as error:
            raise SerdeError(f"no CBOR: {_kind(error)}") from None
        if rest > 0:
            raise SerdeError(f"no CBOR: {rest} bytes are left over")
        return json_text(found)

    def write(self, text: str) -> bytes:
        try:
            made: bytes = self._cbor.dumps(_loaded(text))
        except (self._cbor.CBORError, ValueError, OverflowError, TypeError) as error:
            raise SerdeError(f"CBOR cannot have this: {error}") from None
        return made


def _extension(code: int, data: bytes) -> dict[str, Any]:
    return {"ext": code, "data": data.hex()}


def _loaded(data: bytes | str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise SerdeError(f"no JSON{where}") from None


def _kind(error: Exception) -> str:
    if "incomplete" in str(error) or type(error).__name__ in ("CBORDecodeEOF", "OutOfData"):
        return "it ends too early"
    return "bytes are left over" if type(error).__name__ == "ExtraData" else type(error).__name__


# By name, without a schema. Kafka's Java types have the names that its console tools give them, too.
SIMPLE: dict[str, Callable[[], Serde]] = {
    "string": StringSerde,
    "json": JsonSerde,
    "hex": HexSerde,
    "int16": lambda: NumberSerde("int16", ">h"),
    "int32": lambda: NumberSerde("int32", ">i"),
    "int64": lambda: NumberSerde("int64", ">q"),
    "float": lambda: NumberSerde("float", ">f"),
    "double": lambda: NumberSerde("double", ">d"),
    "uuid": UuidSerde,
    "msgpack": MessagePackSerde,
    "cbor": CborSerde,
}
ALIASES = {"short": "int16", "integer": "int32", "long": "int64", "messagepack": "msgpack", "text": "string"}

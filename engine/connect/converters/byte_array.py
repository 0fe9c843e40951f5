"""Bytes as they are (``org.apache.kafka.connect.converters.ByteArrayConverter``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.connect.converters.converter import ConverterOfBoth, RawHeaders
from engine.connect.data import BYTES, Schema, SchemaAndValue, Type
from engine.connect.errors import DataError

_OPTIONAL_BYTES = BYTES.as_optional()


class ByteArrayConverter(ConverterOfBoth):
    """Only bytes in and out."""

    def configure(self, configs: Mapping[str, Any], is_key: bool) -> None:
        """There is nothing to configure."""

    def from_connect_data(
        self, topic: str, headers: list[tuple[str, bytes | None]] | None, schema: Schema | None, value: Any
    ) -> bytes | None:
        return self.encoder(topic, schema)(value)

    def to_connect_data(self, topic: str, headers: RawHeaders | None, value: bytes | None) -> SchemaAndValue:
        return SchemaAndValue(_OPTIONAL_BYTES, value)

    def encoder(self, topic: str, schema: Schema | None) -> Callable[[Any], bytes | None]:
        if schema is not None and schema.type is not Type.BYTES:
            raise DataError(f"Invalid schema type for ByteArrayConverter: {schema.type.name}")
        return _as_bytes

    def decoder(self, topic: str) -> Callable[[bytes | None], SchemaAndValue]:
        return lambda value: SchemaAndValue(_OPTIONAL_BYTES, value)


def _as_bytes(value: Any) -> bytes | None:
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, (bytearray, memoryview, bytes)):
        return bytes(value)
    raise DataError(f"ByteArrayConverter is not compatible with objects of type {type(value).__name__}")

"""Numbers and booleans in the bytes of Kafka's serializers (``org.apache.kafka.connect.converters``)."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct as Layout
from struct import error as LayoutError
from typing import Any, ClassVar

from engine.connect.converters.converter import ConverterOfBoth, RawHeaders
from engine.connect.data import BOOLEAN, FLOAT32, FLOAT64, INT16, INT32, INT64, Schema, SchemaAndValue, Type
from engine.connect.errors import DataError


class _NumberConverter(ConverterOfBoth):
    """``NumberConverter``: bytes, high first."""

    _name: ClassVar[str]
    _layout: ClassVar[Layout]
    _schema: ClassVar[Schema]
    _kind: ClassVar[type]

    def configure(self, configs: Mapping[str, Any], is_key: bool) -> None:
        """There is nothing to configure."""

    def from_connect_data(
        self, topic: str, headers: list[tuple[str, bytes | None]] | None, schema: Schema | None, value: Any
    ) -> bytes | None:
        if value is None:
            return None
        if type(value) is not self._kind:
            raise DataError(f"Failed to serialize to {self._name} (was {type(value).__name__}): ")
        try:
            return self._layout.pack(value)
        except (LayoutError, OverflowError):
            raise DataError(f"Failed to serialize to {self._name}: {value} is out of its range") from None

    def to_connect_data(self, topic: str, headers: RawHeaders | None, value: bytes | None) -> SchemaAndValue:
        if value is None:
            return SchemaAndValue(self._schema, None)
        if len(value) != self._layout.size:
            raise DataError(
                f"Failed to deserialize {self._name}: "
                f"Size of data received by {self._name} deserializer is not {self._layout.size}"
            )
        return SchemaAndValue(self._schema, self._layout.unpack(value)[0])


class ShortConverter(_NumberConverter):
    """Two bytes."""

    _name, _layout, _schema, _kind = "short", Layout(">h"), INT16.as_optional(), int


class IntegerConverter(_NumberConverter):
    """Four bytes."""

    _name, _layout, _schema, _kind = "integer", Layout(">i"), INT32.as_optional(), int


class LongConverter(_NumberConverter):
    """Eight bytes."""

    _name, _layout, _schema, _kind = "long", Layout(">q"), INT64.as_optional(), int


class FloatConverter(_NumberConverter):
    """Four bytes, IEEE 754."""

    _name, _layout, _schema, _kind = "float", Layout(">f"), FLOAT32.as_optional(), float


class DoubleConverter(_NumberConverter):
    """Eight bytes, IEEE 754."""

    _name, _layout, _schema, _kind = "double", Layout(">d"), FLOAT64.as_optional(), float


_OPTIONAL_BOOLEAN = BOOLEAN.as_optional()


class BooleanConverter(ConverterOfBoth):
    """One byte, 0 or 1."""

    def configure(self, configs: Mapping[str, Any], is_key: bool) -> None:
        """There is nothing to configure."""

    def from_connect_data(
        self, topic: str, headers: list[tuple[str, bytes | None]] | None, schema: Schema | None, value: Any
    ) -> bytes | None:
        if schema is not None and schema.type is not Type.BOOLEAN:
            raise DataError(f"Invalid schema type for BooleanConverter: {schema.type.name}")
        if value is None:
            return None
        if type(value) is not bool:
            raise DataError(f"BooleanConverter is not compatible with objects of type {type(value).__name__}")
        return b"\1" if value else b"\0"

    def to_connect_data(self, topic: str, headers: RawHeaders | None, value: bytes | None) -> SchemaAndValue:
        if value is None:
            return SchemaAndValue(_OPTIONAL_BOOLEAN, None)
        if value not in (b"\0", b"\1"):
            raise DataError("Failed to deserialize boolean: it must be one byte, 0 or 1")
        return SchemaAndValue(_OPTIONAL_BOOLEAN, value == b"\1")

"""Schemas and values of records (``org.apache.kafka.connect.data``), whatever bytes they come from and go to.

======================  =========================================================================
schema                  Python value
======================  =========================================================================
INT8 … INT64            ``int`` (never ``bool``)
FLOAT32, FLOAT64        ``float``
BOOLEAN, STRING, BYTES  ``bool``, ``str``, ``bytes``
ARRAY, MAP, STRUCT      ``list``, ``dict``, :class:`Struct`
:data:`DECIMAL`         :class:`decimal.Decimal` with the schema's scale
:data:`DATE`            :class:`datetime.date`
:data:`TIME`            :class:`datetime.time`, milliseconds
:data:`TIMESTAMP`       :class:`datetime.datetime` in UTC, milliseconds
======================  =========================================================================

Without a schema a value is what JSON knows (with ``bytes``): dict, list, str, int, float, bool, None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from engine.connect.errors import DataError, SchemaBuilderError


class Type(Enum):
    """``Schema.Type``; the value is its name in JSON."""

    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float"
    FLOAT64 = "double"
    BOOLEAN = "boolean"
    STRING = "string"
    BYTES = "bytes"
    ARRAY = "array"
    MAP = "map"
    STRUCT = "struct"

    @property
    def is_primitive(self) -> bool:
        """Neither array, map nor struct."""
        return self not in (Type.ARRAY, Type.MAP, Type.STRUCT)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct: its name, place and schema."""

    name: str
    index: int
    schema: Schema


@dataclass(frozen=True, slots=True)
class Schema:
    """What a value may be (``ConnectSchema``). Immutable; equal schemas are equal objects.

    ``key`` is the schema of a map's keys, ``value`` of a map's or an array's values, ``fields`` those of a struct.
    """

    type: Type
    optional: bool = False
    default: Any = None
    name: str | None = None
    version: int | None = None
    doc: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    fields: tuple[Field, ...] = ()
    key: Schema | None = None
    value: Schema | None = None

    def __post_init__(self) -> None:
        if self.type is Type.ARRAY and self.value is None:
            raise SchemaBuilderError("an array needs the schema of its values")
        if self.type is Type.MAP and (self.key is None or self.value is None):
            raise SchemaBuilderError("a map needs the schemas of its keys and values")
        if self.type is not Type.STRUCT and self.fields:
            raise SchemaBuilderError(f"only a struct has fields, not {self.type.value}")
        names = {each.name for each in self.fields}
        if len(names) != len(self.fields):
            raise SchemaBuilderError("two fields of a struct have the same name")
        if self.default is not None:
            validate(self, self.default)

    def __hash__(self) -> int:
        return hash((self.type, self.optional, self.name, self.version, tuple(each.name for each in self.fields)))

    def parameter(self, name: str) -> str | None:
        """A parameter's value, or None."""
        return next((value for each, value in self.parameters if each == name), None)

    def field(self, name: str) -> Field | None:
        """A struct's field by name, or None."""
        return next((each for each in self.fields if each.name == name), None)

    def as_optional(self) -> Schema:
        """The same, with None for a value too."""
        return replace(self, optional=True)

    def as_required(self) -> Schema:
        """The same, without None for a value."""
        return replace(self, optional=False)

    def named(self, name: str | None, version: int | None = None, doc: str | None = None) -> Schema:
        """The same under another name."""
        return replace(self, name=name, version=version, doc=doc if doc is not None else self.doc)

    def with_default(self, default: Any) -> Schema:
        """The same with a default."""
        return replace(self, default=default)


def struct(
    fields: Mapping[str, Schema],
    *,
    name: str | None = None,
    version: int | None = None,
    doc: str | None = None,
    optional: bool = False,
    parameters: Mapping[str, str] | None = None,
) -> Schema:
    """A struct's schema; its fields are in the order of the mapping."""
    return Schema(
        Type.STRUCT,
        optional,
        name=name,
        version=version,
        doc=doc,
        parameters=tuple((parameters or {}).items()),
        fields=tuple(Field(each, index, schema) for index, (each, schema) in enumerate(fields.items())),
    )


def array(value: Schema, *, optional: bool = False, name: str | None = None) -> Schema:
    """An array's schema."""
    return Schema(Type.ARRAY, optional, name=name, value=value)


def map_of(key: Schema, value: Schema, *, optional: bool = False, name: str | None = None) -> Schema:
    """A map's schema."""
    return Schema(Type.MAP, optional, name=name, key=key, value=value)


INT8 = Schema(Type.INT8)
INT16 = Schema(Type.INT16)
INT32 = Schema(Type.INT32)
INT64 = Schema(Type.INT64)
FLOAT32 = Schema(Type.FLOAT32)
FLOAT64 = Schema(Type.FLOAT64)
BOOLEAN = Schema(Type.BOOLEAN)
STRING = Schema(Type.STRING)
BYTES = Schema(Type.BYTES)

DECIMAL_NAME = "org.apache.kafka.connect.data.Decimal"
DATE_NAME = "org.apache.kafka.connect.data.Date"
TIME_NAME = "org.apache.kafka.connect.data.Time"
TIMESTAMP_NAME = "org.apache.kafka.connect.data.Timestamp"

DATE = Schema(Type.INT32, name=DATE_NAME, version=1)
TIME = Schema(Type.INT32, name=TIME_NAME, version=1)
TIMESTAMP = Schema(Type.INT64, name=TIMESTAMP_NAME, version=1)


def decimal(scale: int, *, optional: bool = False) -> Schema:
    """Numbers with ``scale`` digits behind the point (``org.apache.kafka.connect.data.Decimal``)."""
    return Schema(Type.BYTES, optional, name=DECIMAL_NAME, version=1, parameters=(("scale", str(scale)),))


class Struct:
    """A value of a struct's schema: fields by name."""

    __slots__ = ("_values", "schema")

    def __init__(self, schema: Schema, values: Mapping[str, Any] | None = None) -> None:
        """An empty one, or with these values.

        Raises:
            DataError: the schema is not a struct's, or a value does not fit.
        """
        if schema.type is not Type.STRUCT:
            raise DataError(f"not a struct's schema: {schema.type.value}")
        self.schema = schema
        self._values: list[Any] = [None] * len(schema.fields)
        for name, value in (values or {}).items():
            self.put(name, value)

    def put(self, name: str, value: Any) -> Struct:
        """Set a field; gives this struct.

        Raises:
            DataError: there is no such field, or the value does not fit.
        """
        field = self._field(name)
        validate(field.schema, value, f'field "{name}"')
        self._values[field.index] = value
        return self

    def get(self, name: str) -> Any:
        """A field's value, or its default if it has none.

        Raises:
            DataError: there is no such field.
        """
        field = self._field(name)
        value = self._values[field.index]
        return field.schema.default if value is None else value

    def get_without_default(self, name: str) -> Any:
        """A field's value as it was put, or None."""
        return self._values[self._field(name).index]

    __getitem__ = get

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names and values in the schema's order, defaults included."""
        for field in self.schema.fields:
            yield field.name, self.get(field.name)

    def validate(self) -> None:
        """Whether every field has what its schema wants.

        Raises:
            DataError: one has not; names it.
        """
        for field in self.schema.fields:
            value = self._values[field.index]
            if value is None and (field.schema.optional or field.schema.default is not None):
                continue
            validate(field.schema, value, f'field "{field.name}"')

    def _field(self, name: str) -> Field:
        field = self.schema.field(name)
        if field is None:
            raise DataError(f"{name} is not a valid field name")
        return field

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Struct) and self.schema == other.schema and self._values == other._values

    def __hash__(self) -> int:
        return hash(self.schema)

    def __repr__(self) -> str:
        inside = ",".join(f"{name}={value}" for name, value in self.items() if value is not None)
        return f"Struct{{{inside}}}"


class SchemaAndValue(NamedTuple):
    """A value with its schema; the schema is None where nobody knows it."""

    schema: Schema | None
    value: Any


NULL = SchemaAndValue(None, None)

_RANGES = {Type.INT8: 1 << 7, Type.INT16: 1 << 15, Type.INT32: 1 << 31, Type.INT64: 1 << 63}
_LOGICAL: dict[str, type] = {DECIMAL_NAME: Decimal, DATE_NAME: date, TIME_NAME: time, TIMESTAMP_NAME: datetime}
_CLASSES: dict[Type, tuple[type, ...]] = {
    Type.FLOAT32: (float, int),
    Type.FLOAT64: (float, int),
    Type.BOOLEAN: (bool,),
    Type.STRING: (str,),
    Type.BYTES: (bytes, bytearray, memoryview),
    Type.ARRAY: (list, tuple),
    Type.MAP: (dict,),
    Type.STRUCT: (Struct,),
}


def validate(schema: Schema, value: Any, what: str = "value") -> None:
    """Whether a value fits a schema (``ConnectSchema.validateValue``).

    Raises:
        DataError: it does not; says what and why.
    """
    if value is None:
        if not schema.optional and schema.default is None:
            raise DataError(f"Invalid value: null used for required {what}, schema type: {schema.type.name}")
        return
    logical = _LOGICAL.get(schema.name) if schema.name is not None else None
    if logical is not None:
        # A datetime is a date to Python, but not to us.
        if type(value) is logical or (logical is not date and isinstance(value, logical)):
            return
        raise _misfit(schema, value, what)
    limit = _RANGES.get(schema.type)
    if limit is not None:
        if type(value) is not int:
            raise _misfit(schema, value, what)
        if not -limit <= value < limit:
            raise DataError(f"Invalid value: {value} of {what} is out of the range of {schema.type.name}")
        return
    if not isinstance(value, _CLASSES[schema.type]) or (type(value) is bool and schema.type is not Type.BOOLEAN):
        raise _misfit(schema, value, what)
    inside: Any = value
    match schema.type:
        case Type.STRUCT:
            if inside.schema is not schema and inside.schema != schema:
                raise DataError(
                    f"Invalid value: the struct of {what} has another schema than {schema.name or 'its field'}"
                )
            inside.validate()
        case Type.ARRAY:
            assert schema.value is not None
            for each in inside:
                validate(schema.value, each, f"an element of {what}")
        case Type.MAP:
            assert schema.key is not None and schema.value is not None
            for key, each in inside.items():
                validate(schema.key, key, f"a key of {what}")
                validate(schema.value, each, f"a value of {what}")


def _misfit(schema: Schema, value: Any, what: str) -> DataError:
    kind = schema.name or schema.type.name
    return DataError(f"Invalid value: {what} is {type(value).__name__}, which does not fit schema type {kind}")

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

import builtins
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as attribute
from datetime import UTC, date, datetime, time, timedelta
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


DECIMAL_NAME = "org.apache.kafka.connect.data.Decimal"
DATE_NAME = "org.apache.kafka.connect.data.Date"
TIME_NAME = "org.apache.kafka.connect.data.Time"
TIMESTAMP_NAME = "org.apache.kafka.connect.data.Timestamp"

_RANGES = {Type.INT8: 1 << 7, Type.INT16: 1 << 15, Type.INT32: 1 << 31, Type.INT64: 1 << 63}
_LOGICAL: dict[str, type] = {DECIMAL_NAME: Decimal, DATE_NAME: date, TIME_NAME: time, TIMESTAMP_NAME: datetime}
_FITTING: dict[Type, type] = {
    Type.FLOAT64: float,
    Type.FLOAT32: float,
    Type.BOOLEAN: bool,
    Type.STRING: str,
    Type.BYTES: bytes,
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct: its name, place and schema."""

    name: str
    index: int
    schema: Schema


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """What a value may be (``ConnectSchema``). Immutable; equal schemas are equal objects.

    ``key`` is the schema of a map's keys, ``value`` of a map's or an array's values, ``fields`` those of a struct.
    Arrays and maps whose values are all null may have no schema for them (``SchemaBuilder.arrayOfNull``).
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
    fitting: builtins.type | None = attribute(init=False, repr=False)
    """A value of exactly this class fits without another look; None where there is more to look at."""
    _by_name: dict[str, Field] = attribute(init=False, repr=False)
    _hash: int = attribute(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.fields and self.type is not Type.STRUCT:
            raise SchemaBuilderError(f"Cannot create field on type {self.type.name}")
        by_name = {each.name: each for each in self.fields}
        if len(by_name) != len(self.fields):
            raise SchemaBuilderError("Cannot create field because of field name duplication")
        set_ = object.__setattr__
        set_(self, "_by_name", by_name)
        logical = _LOGICAL.get(self.name) if self.name is not None else None
        set_(self, "fitting", logical or _FITTING.get(self.type))
        set_(
            self, "_hash", hash((self.type, self.optional, self.name, self.version, self.fields, self.key, self.value))
        )
        if self.default is not None:
            if isinstance(self.default, Struct) and self.default.schema.fields == self.fields:
                # It was made with the schema as it was before it had a default.
                set_(self, "default", Struct.of(self, list(self.default.values)))
            try:
                validate(self, self.default)
            except DataError as error:
                raise SchemaBuilderError(f"Invalid default value: {error}") from error

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Schema):
            return NotImplemented
        return (
            self._hash == other._hash
            and self.type is other.type
            and self.optional == other.optional
            and self.name == other.name
            and self.version == other.version
            and self.doc == other.doc
            and _same_default(self.default, other.default)
            and self.fields == other.fields
            and self.key == other.key
            and self.value == other.value
            and (self.parameters == other.parameters or dict(self.parameters) == dict(other.parameters))
        )

    def __str__(self) -> str:
        return f"Schema{{{self.name}:{self.type.name}}}" if self.name is not None else f"Schema{{{self.type.name}}}"

    def parameter(self, name: str) -> str | None:
        """A parameter's value, or None."""
        return next((value for each, value in self.parameters if each == name), None)

    def field(self, name: str) -> Field | None:
        """A struct's field by name, or None."""
        return self._by_name.get(name)

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


def _same_default(one: Any, other: Any) -> bool:
    """A struct's schema is the one that has it for default, which is being compared."""
    if isinstance(one, Struct) and isinstance(other, Struct):
        return one.values == other.values
    return bool(one == other)


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
            raise DataError(f"Not a struct schema: {schema}")
        self.schema = schema
        self._values: list[Any] = [None] * len(schema.fields)
        if values:
            for name, value in values.items():
                self.put(name, value)

    @classmethod
    def of(cls, schema: Schema, values: list[Any]) -> Struct:
        """One whose values, in the schema's order, are known to fit: nothing is checked."""
        made = cls.__new__(cls)
        made.schema = schema
        made._values = values
        return made

    @property
    def values(self) -> Sequence[Any]:
        """Values in the schema's order as they were put, without defaults. Not to be changed."""
        return self._values

    def put(self, name: str, value: Any) -> Struct:
        """Set a field; gives this struct.

        Raises:
            DataError: there is no such field, or the value does not fit.
        """
        field = self.schema._by_name.get(name)
        if field is None:
            raise DataError(f"{name} is not a valid field name")
        if type(value) is not field.schema.fitting:
            validate(field.schema, value, f'field: "{name}"')
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
        for field, value in zip(self.schema.fields, self._values, strict=True):
            yield field.name, field.schema.default if value is None else value

    def validate(self) -> None:
        """Whether every field has what its schema wants.

        Raises:
            DataError: one has not; names it.
        """
        for field, value in zip(self.schema.fields, self._values, strict=True):
            schema = field.schema
            if value is None:
                if schema.optional or schema.default is not None:
                    continue
            elif type(value) is schema.fitting:
                continue
            validate(schema, value, f'field: "{field.name}"')

    def _field(self, name: str) -> Field:
        field = self.schema._by_name.get(name)
        if field is None:
            raise DataError(f"{name} is not a valid field name")
        return field

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Struct) and self.schema == other.schema and self._values == other._values

    def __hash__(self) -> int:
        return hash(self.schema)

    def __repr__(self) -> str:
        fields = zip(self.schema.fields, self._values, strict=True)
        return f"Struct{{{','.join(f'{field.name}={value}' for field, value in fields if value is not None)}}}"


class SchemaAndValue(NamedTuple):
    """A value with its schema; the schema is None where nobody knows it."""

    schema: Schema | None
    value: Any


NULL = SchemaAndValue(None, None)

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
    kind = schema.type
    if value is None:
        if not schema.optional:
            raise DataError(f"Invalid value: null used for required {what}, schema type: {kind.name}")
        return
    logical = _LOGICAL.get(schema.name) if schema.name is not None else None
    if logical is not None:
        # A datetime is a date to Python, but not to us.
        if type(value) is logical or (logical is not date and isinstance(value, logical)):
            return
        raise _misfit(schema, value, what)
    limit = _RANGES.get(kind)
    if limit is not None:
        if type(value) is not int:
            raise _misfit(schema, value, what)
        if not -limit <= value < limit:
            raise DataError(f"Invalid value: {value} is out of the range of {kind.name} for {what}")
        return
    if not isinstance(value, _CLASSES[kind]) or (type(value) is bool and kind is not Type.BOOLEAN):
        raise _misfit(schema, value, what)
    inside: Any = value
    if kind is Type.STRUCT:
        if inside.schema is not schema and inside.schema != schema:
            raise DataError("Struct schemas do not match.")
        inside.validate()
    elif kind is Type.ARRAY:
        what = f"element of array {what}"
        element = _known(schema.value, what)
        for each in inside:
            if type(each) is not element.fitting:
                validate(element, each, what)
    elif kind is Type.MAP:
        what_key, what = f"key of map {what}", f"value of map {what}"
        of_keys, of_values = _known(schema.key, what_key), _known(schema.value, what)
        for key, each in inside.items():
            validate(of_keys, key, what_key)
            validate(of_values, each, what)


def _known(schema: Schema | None, what: str) -> Schema:
    if schema is None:
        raise DataError(f"No schema defined for {what}")
    return schema


def _misfit(schema: Schema, value: Any, what: str) -> DataError:
    name = f' "{schema.name}"' if schema.name is not None else ""
    kind = type(value).__name__
    return DataError(f"Invalid Python object for schema{name} with type {schema.type.name}: {kind} for {what}")


# What logical types are made of.

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
MS_PER_DAY = 86_400_000


def date_from_days(days: int) -> date:
    """A :data:`DATE` from days since 1970.

    Raises:
        DataError: Python knows the years 1 to 9999 only.
    """
    try:
        return date.fromordinal(_EPOCH_DAY + days)
    except (ValueError, OverflowError):
        raise DataError(f"{days} days from 1970 are outside the years 1 to 9999") from None


def days_from_date(value: date) -> int:
    """Days since 1970."""
    return value.toordinal() - _EPOCH_DAY


def time_from_ms(ms: int) -> time:
    """A :data:`TIME` from milliseconds since midnight.

    Raises:
        DataError: longer than a day.
    """
    if not 0 <= ms < MS_PER_DAY:
        raise DataError("Time values must use number of milliseconds greater than 0 and less than 86400000")
    seconds, ms = divmod(ms, 1000)
    return time(seconds // 3600, seconds // 60 % 60, seconds % 60, ms * 1000)


def ms_from_time(value: time) -> int:
    """Milliseconds since midnight."""
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1000 + value.microsecond // 1000


def timestamp_from_ms(ms: int) -> datetime:
    """A :data:`TIMESTAMP` from milliseconds since 1970, in UTC.

    Raises:
        DataError: Python knows the years 1 to 9999 only.
    """
    try:
        return _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        raise DataError(f"{ms} milliseconds from 1970 are outside the years 1 to 9999") from None


def ms_from_timestamp(value: datetime) -> int:
    """Milliseconds since 1970; one without a time zone is taken for UTC."""
    return ((value if value.tzinfo is not None else value.replace(tzinfo=UTC)) - _EPOCH) // _MS


def decimal_scale(schema: Schema) -> int:
    """Digits behind the point of a :func:`decimal`.

    Raises:
        DataError: the schema does not say.
    """
    scale = schema.parameter("scale")
    if scale is None:
        raise DataError("Invalid Decimal schema: scale parameter not found.")
    try:
        return int(scale)
    except ValueError:
        raise DataError(f"Invalid scale parameter found in Decimal schema: {scale}") from None


def decimal_from_bytes(schema: Schema, value: bytes) -> Decimal:
    """A :func:`decimal`'s value from two's complement bytes, high first.

    Raises:
        DataError: no bytes, or a schema without scale.
    """
    if not value:
        raise DataError("Invalid bytes for Decimal field: there are none")
    return decimal_from_unscaled(int.from_bytes(value, "big", signed=True), decimal_scale(schema))


def decimal_from_unscaled(number: int, scale: int) -> Decimal:
    """A number with a point before its last ``scale`` digits; however long it is, nothing is rounded."""
    sign, digits, _ = Decimal(number).as_tuple()
    return Decimal((sign, digits, -scale))


def unscaled(schema: Schema, value: Decimal) -> int:
    """A :func:`decimal`'s value without its point.

    Raises:
        DataError: its scale is not the schema's, or it is no number.
    """
    sign, digits, exponent = value.as_tuple()
    scale = decimal_scale(schema)
    if not isinstance(exponent, int) or -exponent != scale:
        has = -exponent if isinstance(exponent, int) else f"none ({value})"
        raise DataError(
            "Decimal value has mismatching scale for given Decimal schema. "
            f"Schema has scale {scale}, value has scale {has}."
        )
    return int(Decimal((sign, digits, 0)))


def bytes_from_decimal(schema: Schema, value: Decimal) -> bytes:
    """Two's complement, high byte first, no longer than needed (``BigInteger.toByteArray``).

    Raises:
        DataError: see :func:`unscaled`.
    """
    number = unscaled(schema, value)
    return number.to_bytes((number if number >= 0 else ~number).bit_length() // 8 + 1, "big", signed=True)

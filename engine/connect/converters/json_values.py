"""Connect's values in JSON: for each schema a function, made once, that reads or writes what has it.

What they read and write is what the ``json`` module knows; numbers with a point are ``Decimal`` where a schema has
decimals in it, else ``float``.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from struct import pack, unpack
from typing import Any

from engine.connect.data import (
    DATE_NAME,
    DECIMAL_NAME,
    TIME_NAME,
    TIMESTAMP_NAME,
    Schema,
    Struct,
    Type,
    bytes_from_decimal,
    date_from_days,
    days_from_date,
    decimal_from_bytes,
    ms_from_time,
    ms_from_timestamp,
    time_from_ms,
    timestamp_from_ms,
)
from engine.connect.errors import DataError
from engine.connect.java_text import short_float

Function = Callable[[Any], Any]

_RANGES = {Type.INT8: 1 << 7, Type.INT16: 1 << 15, Type.INT32: 1 << 31, Type.INT64: 1 << 63}
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def has_decimals(schema: Schema | None) -> bool:
    """Whether numbers with a point must be read without loss."""
    if schema is None:
        return False
    inner = [schema.key, schema.value, *(each.schema for each in schema.fields)]
    return schema.name == DECIMAL_NAME or any(map(has_decimals, inner))


# Reading.


def reader(schema: Schema, replace_null: bool) -> Function:
    """From JSON to values with this schema. What it gives raises DataError for what does not fit.

    Args:
        replace_null: whether null means the default, where there is one (``replace.null.with.default``).
    """
    read = _logical_reader(schema) or _READERS[schema.type](schema, replace_null)
    default = schema.default if replace_null else None
    if default is None and not schema.optional:
        name = schema.type.name

        def required(shown: Any) -> Any:
            if shown is None:
                raise DataError(f"Invalid null value for required {name} field")
            return read(shown)

        return required

    return lambda shown: default if shown is None else read(shown)


def scalar_reader(schema: Schema) -> Function:
    """For schemas of texts, numbers, booleans, bytes and logical types: from JSON that is not null."""
    return _logical_reader(schema) or _READERS[schema.type](schema, True)


def node_type(shown: Any) -> str:
    """What Jackson calls a piece of JSON."""
    match shown:
        case None:
            return "NULL"
        case bool():
            return "BOOLEAN"
        case int() | float() | Decimal():
            return "NUMBER"
        case str():
            return "STRING"
        case list():
            return "ARRAY"
    return "OBJECT"


def _misfit(schema: Schema, shown: Any) -> DataError:
    """Without the value, which may be nobody's business who reads logs."""
    found = node_type(shown)
    if found == "NUMBER" and schema.type in _RANGES:
        found = "NUMBER out of its range or with a fraction"
    return DataError(f"Invalid JSON for {schema.name or schema.type.name}: {found}")


def _integer_reader(schema: Schema, replace_null: bool) -> Function:
    limit = _RANGES[schema.type]

    def read(shown: Any) -> int:
        if type(shown) is int and -limit <= shown < limit:
            return shown
        # 1.0 and 1e3 are integers too; the range is looked at first, as 1e999999 has a million digits.
        if isinstance(shown, (float, Decimal)) and -limit <= shown < limit and int(shown) == shown:
            return int(shown)
        raise _misfit(schema, shown)

    return read


def _float_reader(schema: Schema, replace_null: bool) -> Function:
    single = schema.type is Type.FLOAT32

    def read(shown: Any) -> float:
        if isinstance(shown, str) and shown in _NOT_FINITE:
            return _NOT_FINITE[shown]
        if not isinstance(shown, (int, float, Decimal)) or isinstance(shown, bool):
            raise _misfit(schema, shown)
        try:
            return float(unpack(">f", pack(">f", shown))[0]) if single else float(shown)
        except OverflowError:
            return math.inf if shown > 0 else -math.inf

    return read


def _exact_reader(kind: type) -> Callable[[Schema, bool], Function]:
    def make(schema: Schema, replace_null: bool) -> Function:
        def read(shown: Any) -> Any:
            if type(shown) is not kind:
                raise _misfit(schema, shown)
            return shown

        return read

    return make


def _bytes_reader(schema: Schema, replace_null: bool) -> Function:
    def read(shown: Any) -> bytes:
        try:
            return b64decode(shown, validate=True)
        except (Base64Error, ValueError, TypeError):
            raise DataError("Invalid bytes field") from None

    return read


def _array_reader(schema: Schema, replace_null: bool) -> Function:
    assert schema.value is not None
    read_each = reader(schema.value, replace_null)

    def read(shown: Any) -> list[Any]:
        if type(shown) is not list:
            raise DataError(f"Arrays should be encoded as JSON arrays, but found {node_type(shown)}")
        return [read_each(each) for each in shown]

    return read


def _map_reader(schema: Schema, replace_null: bool) -> Function:
    assert schema.key is not None and schema.value is not None
    read_key, read_value = reader(schema.key, replace_null), reader(schema.value, replace_null)

    def read_object(shown: Any) -> dict[Any, Any]:
        if type(shown) is not dict:
            raise DataError(f"Maps with string fields should be encoded as JSON objects, but found {node_type(shown)}")
        return {key: read_value(each) for key, each in shown.items()}

    def read_pairs(shown: Any) -> dict[Any, Any]:
        if type(shown) is not list:
            found = node_type(shown)
            raise DataError(f"Maps with non-string fields should be encoded as JSON array of tuples, but found {found}")
        made = {}
        for each in shown:
            if type(each) is not list:
                raise DataError(f"Found invalid map entry instead of array tuple: {node_type(each)}")
            if len(each) != 2:
                raise DataError(f"Found invalid map entry, expected length 2 but found :{len(each)}")
            key = read_key(each[0])
            try:
                made[key] = read_value(each[1])
            except TypeError:
                raise DataError(f"A {type(key).__name__} cannot be the key of a map") from None
        return made

    return read_object if schema.key.type is Type.STRING else read_pairs


def _struct_reader(schema: Schema, replace_null: bool) -> Function:
    fields = [(each.name, reader(each.schema, replace_null)) for each in schema.fields]
    make = Struct.of

    def read(shown: Any) -> Struct:
        if type(shown) is not dict:
            raise DataError(f"Structs should be encoded as JSON objects, but found {node_type(shown)}")
        get = shown.get
        return make(schema, [read_field(get(name)) for name, read_field in fields])

    return read


_READERS: dict[Type, Callable[[Schema, bool], Function]] = {
    Type.INT8: _integer_reader,
    Type.INT16: _integer_reader,
    Type.INT32: _integer_reader,
    Type.INT64: _integer_reader,
    Type.FLOAT32: _float_reader,
    Type.FLOAT64: _float_reader,
    Type.BOOLEAN: _exact_reader(bool),
    Type.STRING: _exact_reader(str),
    Type.BYTES: _bytes_reader,
    Type.ARRAY: _array_reader,
    Type.MAP: _map_reader,
    Type.STRUCT: _struct_reader,
}


def _logical_reader(schema: Schema) -> Function | None:
    match schema.name:
        case name if name == DECIMAL_NAME:
            return lambda shown: _read_decimal(schema, shown)
        case name if name == DATE_NAME:
            return lambda shown: date_from_days(_whole(shown, "Date", "integer", 1 << 31))
        case name if name == TIME_NAME:
            return lambda shown: time_from_ms(_whole(shown, "Time", "integer", 1 << 31))
        case name if name == TIMESTAMP_NAME:
            return lambda shown: timestamp_from_ms(_whole(shown, "Timestamp", "integral", 1 << 63))
    return None


def _whole(shown: Any, what: str, kind: str, limit: int) -> int:
    if type(shown) is int and -limit <= shown < limit:
        return shown
    raise DataError(f"Invalid type for {what}, underlying representation should be {kind} but was {node_type(shown)}")


def _read_decimal(schema: Schema, shown: Any) -> Decimal:
    if isinstance(shown, Decimal):
        return shown
    if isinstance(shown, (int, float)) and not isinstance(shown, bool):
        return Decimal(shown) if isinstance(shown, int) else Decimal(repr(shown))
    if isinstance(shown, str):
        try:
            return decimal_from_bytes(schema, b64decode(shown, validate=True))
        except (Base64Error, ValueError):
            raise DataError("Invalid bytes for Decimal field") from None
    raise DataError(
        f"Invalid type for Decimal, underlying representation should be numeric or bytes but was {node_type(shown)}"
    )


# Writing.


def writer(schema: Schema, replace_null: bool, numeric: bool) -> Function:
    """From values with this schema to JSON. What it gives raises DataError for what does not fit.

    Args:
        replace_null: whether null means the default, where there is one (``replace.null.with.default``).
        numeric: decimals as numbers (``decimal.format=NUMERIC``), not as their bytes in base64.
    """
    write = _logical_writer(schema, numeric) or _WRITERS[schema.type](schema, replace_null, numeric)
    default, optional = schema.default if replace_null else None, schema.optional
    if default is not None:
        default = write(default)

    def write_or_null(value: Any) -> Any:
        if value is None:
            if default is None and not optional:
                raise DataError("Conversion error: null value for field that is required and has no default value")
            return default
        return write(value)

    return write_or_null


def scalar_writer(schema: Schema, numeric: bool) -> Function:
    """For schemas of texts, numbers, booleans, bytes and logical types: values that are not null to JSON."""
    return _logical_writer(schema, numeric) or _WRITERS[schema.type](schema, True, numeric)


def _unwritable(schema: Schema, value: Any) -> DataError:
    return DataError(f"Invalid type for {schema.type.name}: {type(value).__name__}")


def _exact_writer(kind: type) -> Callable[[Schema, bool, bool], Function]:
    def make(schema: Schema, replace_null: bool, numeric: bool) -> Function:
        def write(value: Any) -> Any:
            if type(value) is not kind:
                raise _unwritable(schema, value)
            return value

        return write

    return make


def _float_writer(schema: Schema, replace_null: bool, numeric: bool) -> Function:
    single = schema.type is Type.FLOAT32

    def write(value: Any) -> float | str:
        if type(value) is not float:
            if type(value) is not int:
                raise _unwritable(schema, value)
            value = float(value)
        if not math.isfinite(value):
            return not_finite(value)
        if not single:
            return float(value)
        try:
            return short_float(unpack(">f", pack(">f", value))[0])
        except OverflowError:
            return not_finite(math.copysign(math.inf, value))

    return write


def not_finite(value: float) -> str:
    """What Jackson writes for a number that JSON does not have."""
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _bytes_writer(schema: Schema, replace_null: bool, numeric: bool) -> Function:
    def write(value: Any) -> str:
        try:
            return b64encode(value).decode()
        except TypeError:
            raise DataError(f"Invalid type for bytes type: {type(value).__name__}") from None

    return write


def _array_writer(schema: Schema, replace_null: bool, numeric: bool) -> Function:
    write_each = writer(schema.value, replace_null, numeric) if schema.value is not None else without_schema

    def write(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise _unwritable(schema, value)
        return [write_each(each) for each in value]

    return write


def _map_writer(schema: Schema, replace_null: bool, numeric: bool) -> Function:
    write_value = writer(schema.value, replace_null, numeric) if schema.value is not None else without_schema
    if schema.key is None or schema.key.type is Type.STRING:

        def write_object(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise _unwritable(schema, value)
            return {str(key): write_value(each) for key, each in value.items()}

        return write_object

    write_key = writer(schema.key, replace_null, numeric)

    def write_pairs(value: Any) -> list[Any]:
        if not isinstance(value, dict):
            raise _unwritable(schema, value)
        return [[write_key(key), write_value(each)] for key, each in value.items()]

    return write_pairs


def _struct_writer(schema: Schema, replace_null: bool, numeric: bool) -> Function:
    fields = [(each.name, writer(each.schema, replace_null, numeric)) for each in schema.fields]

    def write(value: Any) -> dict[str, Any]:
        if not isinstance(value, Struct):
            raise _unwritable(schema, value)
        if value.schema is not schema and value.schema != schema:
            raise DataError("Mismatching schema.")
        return {name: write_field(each) for (name, write_field), each in zip(fields, value.values, strict=True)}

    return write


_WRITERS: dict[Type, Callable[[Schema, bool, bool], Function]] = {
    Type.INT8: _exact_writer(int),
    Type.INT16: _exact_writer(int),
    Type.INT32: _exact_writer(int),
    Type.INT64: _exact_writer(int),
    Type.FLOAT32: _float_writer,
    Type.FLOAT64: _float_writer,
    Type.BOOLEAN: _exact_writer(bool),
    Type.STRING: _exact_writer(str),
    Type.BYTES: _bytes_writer,
    Type.ARRAY: _array_writer,
    Type.MAP: _map_writer,
    Type.STRUCT: _struct_writer,
}


def _logical_writer(schema: Schema, numeric: bool) -> Function | None:
    match schema.name:
        case name if name == DECIMAL_NAME:
            if numeric:
                return lambda value: _expect(value, Decimal, "Decimal")
            return lambda value: b64encode(bytes_from_decimal(schema, _expect(value, Decimal, "Decimal"))).decode()
        case name if name == DATE_NAME:
            return lambda value: days_from_date(_expect(value, date, "Date"))
        case name if name == TIME_NAME:
            return lambda value: ms_from_time(_expect(value, time, "Time"))
        case name if name == TIMESTAMP_NAME:
            return lambda value: ms_from_timestamp(_expect(value, datetime, "Timestamp"))
    return None


def _expect(value: Any, kind: type, what: str) -> Any:
    if isinstance(value, kind):
        return value
    raise DataError(f"Invalid type for {what}, expected {kind.__name__} but was {type(value).__name__}")


def without_schema(value: Any) -> Any:
    """A value without a schema as JSON; raises DataError for what has no JSON."""
    kind = type(value)
    if kind is str or kind is int or value is None or kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) else not_finite(value)
    if kind is dict:
        if all(type(each) is str for each in value):
            return {key: without_schema(each) for key, each in value.items()}
        return [[without_schema(key), without_schema(each)] for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return [without_schema(each) for each in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b64encode(value).decode()
    raise DataError(f"Python class {kind.__name__} does not have corresponding schema type.")

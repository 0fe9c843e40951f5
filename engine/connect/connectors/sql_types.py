"""Columns' types and Connect's schemas, and values from one to the other.

The table is that of Confluent's JDBC connectors, with two differences: SQLite's INTEGER and REAL are 64 bits wide, as
SQLite keeps them, and PostgreSQL's arrays of such types are arrays.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import types

from engine.connect import data
from engine.connect.connectors.decimals import scaled
from engine.connect.connectors.sql_database import Database, JsonText
from engine.connect.data import Schema, Type
from engine.connect.errors import DataError

Convert = Callable[[Any], Any]

UNKNOWN_SCALE = 127
"""The scale of a NUMERIC without one, as in Confluent's connector: no digit is lost."""


class Field(NamedTuple):
    """What a column is in a record; ``convert`` is None if values are right as they are."""

    schema: Schema
    convert: Convert | None


def field_of(column_type: Any, nullable: bool, database: Database, numeric_mapping: str = "none") -> Field | None:
    """A column's schema, and how values get there; None for what Connect has no type for."""
    found = _required(column_type, database, numeric_mapping)
    if found is None or not nullable:
        return found
    return Field(found.schema.as_optional(), found.convert and _or_none(found.convert))


def _or_none(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _required(kind: Any, database: Database, numeric_mapping: str) -> Field | None:
    loose = database.dialect == "sqlite"
    if isinstance(kind, types.Boolean):
        return Field(data.BOOLEAN, None)
    if isinstance(kind, types.SmallInteger):
        return Field(data.INT64 if loose else data.INT16, None)
    if isinstance(kind, types.BigInteger) or (loose and isinstance(kind, types.Integer)):
        return Field(data.INT64, None)
    if isinstance(kind, types.Integer):
        return Field(data.INT32, None)
    if isinstance(kind, types.REAL):
        return Field(data.FLOAT64 if loose else data.FLOAT32, float)
    if isinstance(kind, types.Float):
        return Field(data.FLOAT64, float)
    if isinstance(kind, types.Numeric):
        return _numeric(kind, numeric_mapping)
    if isinstance(kind, types.DateTime):
        return Field(data.TIMESTAMP, lambda value: to_millis(database.to_utc(value)))
    if isinstance(kind, types.Date):
        return Field(data.DATE, None)
    if isinstance(kind, types.Time):
        return Field(data.TIME, lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000, tzinfo=None))
    if isinstance(kind, (types.String, types.Enum, types.Uuid)):
        return Field(data.STRING, str)
    if isinstance(kind, types.LargeBinary):
        return Field(data.BYTES, bytes)
    if isinstance(kind, types.ARRAY):
        inside = field_of(kind.item_type, True, database, numeric_mapping)
        if inside is None or (kind.dimensions or 1) > 1:
            return None
        convert = inside.convert
        each = (lambda value: [convert(item) for item in value]) if convert is not None else list
        return Field(data.array(inside.schema), each)
    if type(kind).__name__ in ("INET", "CIDR", "MACADDR", "MACADDR8", "TSVECTOR", "OID", "CITEXT"):
        return Field(data.STRING, str)
    return None


def _numeric(kind: Any, mapping: str) -> Field:
    precision, scale = kind.precision, kind.scale
    if mapping != "none" and precision is not None:
        whole = scale is None or scale == 0
        if whole and precision <= 18 and (scale == 0 or mapping != "precision_only"):
            for digits, schema in ((2, data.INT8), (4, data.INT16), (9, data.INT32), (18, data.INT64)):
                if precision <= digits:
                    return Field(schema, int)
        if mapping == "best_fit" and not whole and precision <= 15:
            return Field(data.FLOAT64, float)
    if mapping == "best_fit_eager_double" and (scale is None or scale > 0):
        return Field(data.FLOAT64, float)
    scale = UNKNOWN_SCALE if precision is None and not scale else scale or 0
    return Field(data.decimal(scale), scaled(scale))


def inferred(value: Any) -> Schema | None:
    """The schema of a value whose column's type nobody knows; None of None."""
    match value:
        case None:
            return None
        case bool():
            return data.BOOLEAN
        case int():
            return data.INT64
        case float():
            return data.FLOAT64
        case Decimal():
            return data.decimal(UNKNOWN_SCALE)
        case bytes() | bytearray() | memoryview():
            return data.BYTES
        case datetime():
            return data.TIMESTAMP
        case date():
            return data.DATE
        case time():
            return data.TIME
    return data.STRING


def infer_convert(schema: Schema, database: Database) -> Convert | None:
    """How values of :func:`inferred` get to their schema."""
    if schema.name == data.TIMESTAMP_NAME:
        return _or_none(lambda value: to_millis(database.to_utc(value)))
    if schema.type is Type.BYTES and schema.name is None:
        return _or_none(bytes)
    if schema.name == data.DECIMAL_NAME:
        return _or_none(scaled(UNKNOWN_SCALE))
    return _or_none(str) if schema.type is Type.STRING else None


def to_millis(moment: datetime) -> datetime:
    """Cut to milliseconds: Connect's Timestamp has no more."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


_COLUMNS: dict[Type, Callable[[], Any]] = {
    Type.INT8: sa.SmallInteger,
    Type.INT16: sa.SmallInteger,
    Type.INT32: sa.Integer,
    Type.INT64: sa.BigInteger,
    Type.FLOAT32: sa.REAL,
    Type.FLOAT64: sa.Double,
    Type.BOOLEAN: sa.Boolean,
    Type.STRING: sa.Text,
    Type.BYTES: sa.LargeBinary,
}


def column_type_for(schema: Schema, dialect: str, is_key: bool = False) -> Any:
    """The type of a column that is made for values of a schema.

    Raises:
        DataError: no column can have them.
    """
    if schema.name == data.DECIMAL_NAME:
        scale = int(schema.parameter("scale") or 0)
        # PostgreSQL keeps every digit of a NUMERIC without precision.
        return sa.Numeric() if dialect == "postgresql" else sa.Numeric(38, scale)
    if schema.name == data.DATE_NAME:
        return sa.Date()
    if schema.name == data.TIME_NAME:
        return sa.Time()
    if schema.name == data.TIMESTAMP_NAME:
        return sa.DateTime()
    if schema.type is Type.ARRAY and dialect == "postgresql" and schema.value is not None:
        return sa.ARRAY(column_type_for(schema.value, dialect))
    if schema.type is Type.STRING and is_key and dialect in ("mysql", "mariadb"):
        return sa.String(255)  # MySQL has no key on a TEXT
    if schema.type is Type.INT64 and dialect == "sqlite":
        return sa.Integer()
    made = _COLUMNS.get(schema.type)
    if made is None:
        raise DataError(f"no column can hold {schema.name or schema.type.value}: flatten it with a transform")
    return made()


def bind(value: Any, schema: Schema | None, column_type: Any, database: Database) -> Any:
    """A record's value as a statement's parameter for a column.

    Raises:
        DataError: a column cannot have it.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return database.for_column(moment, column_type)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (dict, list)) and isinstance(column_type, types.JSON):
        return value
    if isinstance(value, list) and isinstance(column_type, types.ARRAY):
        inside = None if schema is None else schema.value
        return [bind(each, inside, column_type.item_type, database) for each in value]
    if isinstance(value, str):
        return _from_text(value, column_type, database)
    if isinstance(value, int) and not isinstance(value, bool):
        return _from_number(value, column_type, database)
    if isinstance(value, (dict, data.Struct)) or (isinstance(value, list) and database.dialect != "postgresql"):
        kind = schema.type.value if schema is not None else type(value).__name__
        raise DataError(f"no column can hold a {kind}: flatten it with a transform")
    return value


def _from_text(value: str, column_type: Any, database: Database) -> Any:
    """Texts for columns that want something else: records without schema have no other way to say a time."""
    try:
        if isinstance(column_type, types.DateTime):
            moment = datetime.fromisoformat(value)
            return database.for_column(moment, column_type) if moment.tzinfo is not None else moment
        if isinstance(column_type, types.Date):
            return date.fromisoformat(value)
        if isinstance(column_type, types.Time):
            return time.fromisoformat(value)
        if isinstance(column_type, types.JSON):
            found = json.loads(value)
            return JsonText(value) if database.takes_json_texts else found
        if isinstance(column_type, types.Uuid) and column_type.as_uuid:
            return uuid.UUID(value)
        if isinstance(column_type, types.Numeric) and not isinstance(column_type, types.Float):
            return Decimal(value)
    except (ValueError, ArithmeticError):
        raise DataError(f"{value!r} is nothing for a column of type {column_type}") from None
    return value


def _from_number(value: int, column_type: Any, database: Database) -> Any:
    """Numbers for columns of times are what Connect's logical types are made of: ms or days since 1970."""
    if isinstance(column_type, types.DateTime):
        return database.for_column(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value), column_type)
    if isinstance(column_type, types.Date):
        return date(1970, 1, 1) + timedelta(days=value)
    return value

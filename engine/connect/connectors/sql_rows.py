"""Which of a record's values go to which columns (``FieldsMetadata`` of Confluent's JDBC sink)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from engine.connect import data
from engine.connect.connectors.sql_sink import COORDINATES, KAFKA, RECORD_KEY, RECORD_VALUE
from engine.connect.data import Schema, Struct, Type
from engine.connect.errors import DataError
from engine.connect.records import SinkRecord

Get = Callable[[SinkRecord], Any]


class Cell(NamedTuple):
    """A column's value in a record. ``schema`` is None where the record has none."""

    name: str
    schema: Schema | None
    get: Get
    is_key: bool


def cells_of(record: SinkRecord, values: Mapping[str, Any]) -> list[Cell]:
    """The cells of a record, and of all that have its schemas (without schema: its fields); those of the key first.

    Of a record without value (a tombstone) those of its key only.

    Raises:
        DataError: the record lacks what ``pk.mode`` wants, or has no value that has fields.
    """
    mode, wanted = values["pk.mode"], list(values["pk.fields"])
    keys: list[Cell] = []
    if mode == KAFKA:
        names = wanted or COORDINATES
        keys = [
            Cell(names[0], data.STRING, lambda each: each.topic, True),
            Cell(names[1], data.INT32, lambda each: each.partition, True),
            Cell(names[2], data.INT64, lambda each: each.offset, True),
        ]
    elif mode == RECORD_KEY:
        keys = _of_key(record, wanted)
    if record.value is None:
        return keys
    fields = _fields(record.value_schema, record.value, False, "value")
    if fields is None:
        what = type(record.value).__name__
        raise DataError(f"a row is made of a value with fields (a struct or a map), not of a {what}")
    if mode == RECORD_VALUE:
        keys = _chosen(fields, wanted, "value")
    keyed = {each.name for each in keys}
    allowed = set(values["fields.whitelist"])
    others = [
        each._replace(is_key=False)
        for each in fields
        if each.name not in keyed and (not allowed or each.name in allowed)
    ]
    return keys + others


def shape_of(record: SinkRecord) -> tuple[Any, ...]:
    """What records must have in common to have the same cells, where they have no schemas."""
    shape: list[Any] = []
    for schema, value in ((record.key_schema, record.key), (record.value_schema, record.value)):
        shape.append(tuple(value) if schema is None and isinstance(value, dict) else type(value))
    return tuple(shape)


def _of_key(record: SinkRecord, wanted: list[str]) -> list[Cell]:
    if record.key is None:
        raise DataError("pk.mode is record_key, and the record has no key")
    fields = _fields(record.key_schema, record.key, True, "key")
    if fields is not None:
        return _chosen(fields, wanted, "key")
    if len(wanted) != 1:
        raise DataError(f"the key is one value: pk.fields must name one column for it, not {len(wanted)}")
    return [Cell(wanted[0], record.key_schema, lambda each: each.key, True)]


def _chosen(fields: list[Cell], wanted: list[str], what: str) -> list[Cell]:
    if not wanted:
        return [each._replace(is_key=True) for each in fields]
    by_name = {each.name: each for each in fields}
    absent = [each for each in wanted if each not in by_name]
    if absent:
        raise DataError(f"pk.fields has {', '.join(absent)}, and the record's {what} only {', '.join(by_name)}")
    return [by_name[each]._replace(is_key=True) for each in wanted]


def _fields(schema: Schema | None, value: Any, of_key: bool, what: str) -> list[Cell] | None:
    """Cells of a struct or of a map with texts for keys; None for other values."""
    if isinstance(value, Struct):
        return [
            Cell(each.name, each.schema, _getter(each.index, each.schema.default, of_key), True)
            for each in value.schema.fields
        ]
    if isinstance(value, dict) and (schema is None or (schema.key is not None and schema.key.type is Type.STRING)):
        for name in value:
            if not isinstance(name, str):
                raise DataError(f"the record's {what} has a field {name!r}: names of columns are texts")
        inside = schema.value if schema is not None else None
        return [Cell(each, inside, _item_getter(each, of_key), True) for each in value]
    return None


def _getter(index: int, default: Any, of_key: bool) -> Get:
    if default is not None:
        if of_key:
            return lambda record: default if (found := record.key.values[index]) is None else found
        return lambda record: default if (found := record.value.values[index]) is None else found
    if of_key:
        return lambda record: record.key.values[index]
    return lambda record: record.value.values[index]


def _item_getter(name: str, of_key: bool) -> Get:
    return (lambda record: record.key[name]) if of_key else (lambda record: record.value[name])

"""Connect's schemas as JSON Schemas, and values for them (``io.confluent.connect.json.JsonSchemaData``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.connect.converters.fitting import expect, expect_struct
from engine.connect.converters.json_values import scalar_writer, without_schema
from engine.connect.data import DECIMAL_NAME, Schema, Type
from engine.connect.errors import DataError

NAMESPACE = "io.confluent.connect.json"
ENUM = f"{NAMESPACE}.Enum"
ONE_OF = f"{NAMESPACE}.OneOf"
NULL_SYMBOL = "<NULL>"
CONNECT_TYPES = {
    Type.INT8: "int8",
    Type.INT16: "int16",
    Type.INT32: "int32",
    Type.INT64: "int64",
    Type.FLOAT32: "float32",
    Type.FLOAT64: "float64",
}

Write = Callable[[Any], Any]
ABSENT: Any = object()
"""What a required field without a value is written as: not at all."""


def is_union(schema: Schema) -> bool:
    """Whether a struct stands for one of its fields."""
    return schema.type is Type.STRUCT and schema.name == ONE_OF


def has_string_keys(schema: Schema) -> bool:
    """Whether a map is a JSON object."""
    return schema.key is not None and schema.key.type is Type.STRING and not schema.key.optional


def document_of(schema: Schema, *, additional: bool, numeric: bool) -> dict[str, Any]:
    """A schema as JSON Schema.

    Args:
        additional: whether objects may have other properties (``object.additional.properties``).
        numeric: decimals are numbers (``decimal.format=NUMERIC``).
    """
    return _Documents(additional, numeric).of(schema)


class _Documents:
    def __init__(self, additional: bool, numeric: bool) -> None:
        self._additional = additional
        self._numeric = numeric

    def of(self, schema: Schema, index: int | None = None, *, required: bool = False) -> dict[str, Any]:
        place = {} if index is None else {"connect.index": index}
        if is_union(schema):
            members = [self.of(each.schema, each.index, required=True) for each in schema.fields]
            return {"oneOf": [{"type": "null"}, *members] if schema.optional else members, **place}
        made = self._plain(schema)
        self._add_properties(schema, made)
        if schema.optional and not required:
            return {"oneOf": [{"type": "null"}, made], **place}
        return {**made, **place}

    def _plain(self, schema: Schema) -> dict[str, Any]:
        match schema.type:
            case Type.INT8 | Type.INT16 | Type.INT32 | Type.INT64:
                return {"type": "integer", "connect.type": CONNECT_TYPES[schema.type]}
            case Type.FLOAT32 | Type.FLOAT64:
                return {"type": "number", "connect.type": CONNECT_TYPES[schema.type]}
            case Type.BOOLEAN:
                return {"type": "boolean"}
            case Type.STRING if schema.parameter(ENUM) is not None:
                symbols = [
                    each.removeprefix(f"{ENUM}.") for each, _ in schema.parameters if each.startswith(f"{ENUM}.")
                ]
                return {"enum": [None if each == NULL_SYMBOL else each for each in symbols]}
            case Type.STRING:
                return {"type": "string"}
            case Type.BYTES:
                number = self._numeric and schema.name == DECIMAL_NAME
                return {"type": "number" if number else "string", "connect.type": "bytes"}
            case Type.ARRAY:
                if schema.value is None:
                    raise DataError("JSON Schema has no array whose elements have no schema")
                return {"type": "array", "items": self.of(schema.value)}
            case Type.MAP:
                if schema.key is None or schema.value is None:
                    raise DataError("JSON Schema has no map whose keys or values have no schema")
                if has_string_keys(schema):
                    return {"type": "object", "connect.type": "map", "additionalProperties": self.of(schema.value)}
                entry = {"key": self.of(schema.key, 0), "value": self.of(schema.value, 1)}
                return {"type": "array", "connect.type": "map", "items": {"type": "object", "properties": entry}}
        made: dict[str, Any] = {
            "type": "object",
            "properties": {each.name: self.of(each.schema, each.index) for each in schema.fields},
        }
        return made if self._additional else {**made, "additionalProperties": False}

    def _add_properties(self, schema: Schema, made: dict[str, Any]) -> None:
        for name, value in (("title", schema.name), ("connect.version", schema.version), ("description", schema.doc)):
            if value is not None:
                made[name] = value
        parameters = {name: value for name, value in schema.parameters if not name.startswith(NAMESPACE)}
        if parameters:
            made["connect.parameters"] = parameters
        if schema.default is not None:
            made["default"] = value_writer(schema, numeric=self._numeric)(schema.default)


def value_writer(schema: Schema | None, *, numeric: bool) -> Write:
    """What makes JSON of values with a schema; it raises DataError for those that do not fit."""
    if schema is None:
        return without_schema
    write = _writer(schema, numeric)
    default, optional = schema.default, schema.optional

    def write_or_null(value: Any) -> Any:
        if value is None:
            value = default
        if value is None:
            return None if optional else ABSENT
        return write(value)

    return write_or_null


def _writer(schema: Schema, numeric: bool) -> Write:
    match schema.type:
        case Type.ARRAY:
            write_each = value_writer(schema.value, numeric=numeric)
            return lambda value: [_there(write_each(each)) for each in expect(schema, value, list, tuple)]
        case Type.MAP:
            write_key, write_value = (
                value_writer(schema.key, numeric=numeric),
                value_writer(schema.value, numeric=numeric),
            )
            if has_string_keys(schema):
                return lambda value: {
                    key: _there(write_value(each)) for key, each in expect(schema, value, dict).items()
                }
            return lambda value: [
                {"key": _there(write_key(key)), "value": _there(write_value(each))}
                for key, each in expect(schema, value, dict).items()
            ]
        case Type.STRUCT:
            fields = [(each.name, value_writer(each.schema, numeric=numeric)) for each in schema.fields]
            return _union_writer(schema, fields) if is_union(schema) else _struct_writer(schema, fields)
    return scalar_writer(schema, numeric)


def _struct_writer(schema: Schema, fields: list[tuple[str, Write]]) -> Write:
    def write(value: Any) -> dict[str, Any]:
        made = {}
        for (name, write_field), each in zip(fields, expect_struct(schema, value).values, strict=True):
            shown = write_field(each)
            if shown is not ABSENT:
                made[name] = shown
        return made

    return write


def _union_writer(schema: Schema, fields: list[tuple[str, Write]]) -> Write:
    def write(value: Any) -> Any:
        for (_, write_field), each in zip(fields, expect_struct(schema, value).values, strict=True):
            if each is not None:
                return write_field(each)
        return None if schema.optional else ABSENT

    return write


def _there(shown: Any) -> Any:
    if shown is ABSENT:
        raise DataError("Found null value for a required element")
    return shown

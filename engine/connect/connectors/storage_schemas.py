"""Schemas that change while files are written: which is newer, and values of one brought to the other."""

from __future__ import annotations

from typing import Any

from engine.connect.data import Schema, Struct, Type
from engine.connect.errors import SchemaProjectorError

_WIDER = {
    Type.INT8: (Type.INT16, Type.INT32, Type.INT64, Type.FLOAT32, Type.FLOAT64),
    Type.INT16: (Type.INT32, Type.INT64, Type.FLOAT32, Type.FLOAT64),
    Type.INT32: (Type.INT64, Type.FLOAT32, Type.FLOAT64),
    Type.INT64: (Type.FLOAT32, Type.FLOAT64),
    Type.FLOAT32: (Type.FLOAT64,),
}


def is_newer(schema: Schema, than: Schema) -> bool:
    """By their versions; where they have none, the one with fields that the other lacks is newer."""
    if schema.version is not None and than.version is not None and schema.version != than.version:
        return schema.version > than.version
    return bool({each.name for each in schema.fields} - {each.name for each in than.fields})


def projected(source: Schema | None, target: Schema, value: Any) -> Any:
    """A value under another schema (``SchemaProjector``): fields that are absent get their defaults.

    Raises:
        SchemaProjectorError: it cannot be had.
    """
    if value is None:
        if target.default is not None or target.optional:
            return target.default
        raise SchemaProjectorError(f"null cannot be had under the required schema {target.name or target.type.value}")
    if source is None or source == target:
        return value
    if source.type is not target.type:
        if target.type in _WIDER.get(source.type, ()) and source.name == target.name:
            return float(value) if target.type in (Type.FLOAT32, Type.FLOAT64) else value
        raise SchemaProjectorError(f"{source.type.value} cannot be had as {target.type.value}")
    if source.type is Type.STRUCT:
        return _struct(source, target, value)
    if source.value is not None and target.value is not None:
        if source.type is Type.ARRAY:
            return [projected(source.value, target.value, each) for each in value]
        return {key: projected(source.value, target.value, each) for key, each in value.items()}
    if source.name != target.name or source.parameters != target.parameters:
        raise SchemaProjectorError(
            f"{source.name or source.type.value} cannot be had as {target.name or target.type.value}"
        )
    return value


def _struct(source: Schema, target: Schema, value: Struct) -> Struct:
    values = []
    for field in target.fields:
        known = source.field(field.name)
        if known is not None:
            values.append(projected(known.schema, field.schema, value.get(field.name)))
        elif field.schema.optional or field.schema.default is not None:
            values.append(field.schema.default)
        else:
            raise SchemaProjectorError(f"the field {field.name} is required, has no default, and the record lacks it")
    return Struct.of(target, values)

"""Connect's schemas in JSON, as JsonConverter's envelopes carry them (``org.apache.kafka.connect.json.JsonSchema``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.connect.data import Field, Schema, Type
from engine.connect.errors import DataError

Convert = Callable[[Schema, Any], Any]
"""A default's value from or to JSON."""

_TYPES = {each.value: each for each in Type}


def schema_to_json(schema: Schema | None, default_to_json: Convert) -> dict[str, Any] | None:
    """A schema as JSON; None for none."""
    if schema is None:
        return None
    shown: dict[str, Any] = {"type": schema.type.value}
    match schema.type:
        case Type.ARRAY:
            shown["items"] = schema_to_json(schema.value, default_to_json)
        case Type.MAP:
            shown["keys"] = schema_to_json(schema.key, default_to_json)
            shown["values"] = schema_to_json(schema.value, default_to_json)
        case Type.STRUCT:
            shown["fields"] = [
                {**(schema_to_json(each.schema, default_to_json) or {}), "field": each.name} for each in schema.fields
            ]
    shown["optional"] = schema.optional
    for name, value in (("name", schema.name), ("version", schema.version), ("doc", schema.doc)):
        if value is not None:
            shown[name] = value
    if schema.parameters:
        shown["parameters"] = dict(schema.parameters)
    if schema.default is not None:
        shown["default"] = default_to_json(schema, schema.default)
    return shown


def schema_from_json(shown: Any, default_from_json: Convert) -> Schema | None:
    """A schema from JSON; None for null.

    Raises:
        DataError: it is no schema.
    """
    if shown is None:
        return None
    name = shown.get("type") if isinstance(shown, dict) else None
    if not isinstance(name, str):
        raise DataError("Schema must contain 'type' field")
    kind = _TYPES.get(name)
    if kind is None:
        raise DataError(f"Unknown schema type: {name}")
    key = value = None
    fields: tuple[Field, ...] = ()
    match kind:
        case Type.ARRAY:
            value = schema_from_json(shown.get("items"), default_from_json)
            if value is None:
                raise DataError("Array schema did not specify the element type")
        case Type.MAP:
            key = schema_from_json(shown.get("keys"), default_from_json)
            if key is None:
                raise DataError("Map schema did not specify the key type")
            value = schema_from_json(shown.get("values"), default_from_json)
            if value is None:
                raise DataError("Map schema did not specify the value type")
        case Type.STRUCT:
            fields = tuple(_fields(shown.get("fields"), default_from_json))
    parameters = shown.get("parameters")
    if not isinstance(parameters, dict):
        parameters = {}
    if not all(isinstance(each, str) for each in parameters.values()):
        raise DataError("Schema parameters must have string values.")
    version = shown.get("version")
    schema = Schema(
        kind,
        shown.get("optional") is True,
        name=_text(shown.get("name")),
        version=version if type(version) is int else None,
        doc=_text(shown.get("doc")),
        parameters=tuple(parameters.items()),
        fields=fields,
        key=key,
        value=value,
    )
    if "default" in shown:
        schema = schema.with_default(default_from_json(schema, shown["default"]))
    return schema


def _fields(shown: Any, default_from_json: Convert) -> list[Field]:
    if not isinstance(shown, list):
        raise DataError('Struct schema\'s "fields" argument is not an array.')
    fields: list[Field] = []
    for each in shown:
        name = each.get("field") if isinstance(each, dict) else None
        if not isinstance(name, str):
            raise DataError("Struct schema's field name not specified properly")
        schema = schema_from_json(each, default_from_json)
        assert schema is not None
        fields.append(Field(name, len(fields), schema))
    return fields


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None

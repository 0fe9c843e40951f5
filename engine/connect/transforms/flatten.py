"""Fields within fields as fields with long names (``org.apache.kafka.connect.transforms.Flatten``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance
from engine.connect.data import Schema, Struct, Type, validate
from engine.connect.errors import DataError
from engine.connect.records import ConnectRecord
from engine.connect.transforms.sides import OfKeyOrValue, fields_of, require_map, require_struct, with_fields


class Flatten(OfKeyOrValue):
    """``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``. Arrays stay; with a schema, maps are refused."""

    @classmethod
    def config(cls) -> ConfigDef:
        return ConfigDef().define(
            "delimiter",
            ConfigType.STRING,
            ".",
            Importance.MEDIUM,
            "Delimiter to insert between field names from the input record when generating field names for the "
            "output record",
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        self._delimiter: str = self.config().parse(configs)["delimiter"]
        self._flat = lru_cache(16)(self._flatten_schema)

    def change(self, record: ConnectRecord, schema: Schema | None, value: Any) -> tuple[Schema | None, Any]:
        if value is None:
            return schema, value
        if schema is None:
            made: dict[str, Any] = {}
            self._flatten_map(require_map(value, "flattening"), "", made)
            return None, made
        found = require_struct(value, "flattening")
        flat = self._flat(schema)
        values: list[Any] = []
        self._flatten_struct(found.schema, found, values)
        for field, each in zip(flat.fields, values, strict=True):
            if each is not None:
                validate(field.schema, each, f'field: "{field.name}"')
        return flat, Struct.of(flat, values)

    def _name(self, prefix: str, name: str) -> str:
        return f"{prefix}{self._delimiter}{name}" if prefix else name

    def _flatten_map(self, value: dict[str, Any], prefix: str, made: dict[str, Any]) -> None:
        for key, each in value.items():
            name = self._name(prefix, key)
            if isinstance(each, dict):
                self._flatten_map(each, name, made)
            elif isinstance(each, (Struct, Decimal, date, time)):
                raise DataError(
                    f"Flatten transformation does not support {type(each).__name__} for record without schemas "
                    f"(for field {name})."
                )
            else:
                made[name] = each

    def _flatten_schema(self, schema: Schema) -> Schema:
        fields: dict[str, Schema] = {}
        self._add_fields(schema, "", schema.optional, schema.default, fields)
        return with_fields(schema, fields)

    def _add_fields(
        self, schema: Schema, prefix: str, optional: bool, default: Struct | None, fields: dict[str, Schema]
    ) -> None:
        for field in fields_of(schema):
            name = self._name(prefix, field.name)
            may_be_null = optional or field.schema.optional
            own = field.schema.default
            if own is None and default is not None:
                own = default.get(field.name)
            if field.schema.type is Type.STRUCT:
                self._add_fields(field.schema, name, may_be_null, own, fields)
            elif field.schema.type is Type.MAP:
                raise DataError(
                    f"Flatten transformation does not support MAP for record with schemas (for field {name})."
                )
            elif name in fields:
                raise DataError(f"Cannot create field because of field name duplication {name}")
            else:
                fields[name] = replace(field.schema, optional=may_be_null, default=own)

    def _flatten_struct(self, schema: Schema, struct: Struct | None, values: list[Any]) -> None:
        for field in schema.fields:
            value = None if struct is None else struct.values[field.index]
            if field.schema.type is Type.STRUCT:
                self._flatten_struct(field.schema, value, values)
            else:
                values.append(field.schema.default if value is None and struct is not None else value)


class FlattenKey(Flatten):
    """Of the key."""

    of_key = True


class FlattenValue(Flatten):
    """Of the value."""

    of_key = False

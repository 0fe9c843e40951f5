"""Transforms of a record's key or value: what those have in common (``transforms.util.Requirements``, ``SchemaUtil``).

Java has ``InsertField$Key`` and ``InsertField$Value``; here they are ``InsertFieldKey`` and ``InsertFieldValue``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from engine.connect.config_def import ConfigDef, ConfigType, Importance
from engine.connect.data import Field, Schema, Struct, Type, validate
from engine.connect.errors import ConfigError, DataError
from engine.connect.transforms.transformation import R, Transformation

REPLACE_NULL = "replace.null.with.default"


class OfKeyOrValue(Transformation):
    """Changes one of the two, as :attr:`of_key` says."""

    of_key: ClassVar[bool]

    def apply(self, record: R) -> R | None:
        if self.of_key:
            schema, value = self.change(record, record.key_schema, record.key)
            return record.changed(key_schema=schema, key=value)
        schema, value = self.change(record, record.value_schema, record.value)
        return record.changed(value_schema=schema, value=value)

    @abstractmethod
    def change(self, record: R, schema: Schema | None, value: Any) -> tuple[Schema | None, Any]:
        """What it becomes; raises DataError."""


def define_replace_null(definition: ConfigDef) -> ConfigDef:
    """With ``replace.null.with.default``, which most transforms of fields have."""
    return definition.define(
        REPLACE_NULL,
        ConfigType.BOOLEAN,
        True,
        Importance.MEDIUM,
        "Whether to replace fields that have a default value and that are null to the default value. When set to "
        "true, the default value is used, otherwise null is used.",
    )


def non_empty_list(name: str, value: Any) -> None:
    """``ConfigDef.ValidList.anyNonDuplicateValues(false, false)``, but for the duplicates, which do no harm."""
    if not value:
        raise ConfigError.saying(f"Configuration '{name}' must not be empty. Valid values include: any non-empty value")


def require_map(value: Any, purpose: str) -> dict[str, Any]:
    """A dict, or DataError."""
    if not isinstance(value, dict):
        raise DataError(f"Only Map objects supported in absence of schema for [{purpose}], found: {_kind(value)}")
    return value


def require_struct(value: Any, purpose: str) -> Struct:
    """A struct, or DataError."""
    if not isinstance(value, Struct):
        raise DataError(f"Only Struct objects supported for [{purpose}], found: {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def fields_of(schema: Schema) -> tuple[Field, ...]:
    """A struct's fields, or DataError."""
    if schema.type is not Type.STRUCT:
        raise DataError("Cannot list fields on non-struct type")
    return schema.fields


def with_fields(schema: Schema, fields: Mapping[str, Schema]) -> Schema:
    """A struct's schema with these fields; required and without default (``SchemaUtil.copySchemaBasics``)."""
    made = tuple(Field(name, index, each) for index, (name, each) in enumerate(fields.items()))
    return replace(schema, type=Type.STRUCT, optional=False, default=None, fields=made, key=None, value=None)


def field_values(struct: Struct, replace_null: bool) -> list[Any]:
    """Values in the schema's order.

    Raises:
        DataError: one is null that may not be.
    """
    if None not in struct.values:
        return list(struct.values)
    values = []
    for field, value in zip(struct.schema.fields, struct.values, strict=True):
        if value is None:
            value = field.schema.default if replace_null else None
            if value is None and not field.schema.optional:
                validate(field.schema, None, f'field: "{field.name}"')
        values.append(value)
    return values


def field_value(struct: Struct, name: str, replace_null: bool) -> Any:
    """One value."""
    return struct.get(name) if replace_null else struct.get_without_default(name)

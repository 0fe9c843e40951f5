"""Names and versions of schemas (``org.apache.kafka.connect.transforms.SetSchemaMetadata``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance
from engine.connect.data import Schema, Struct
from engine.connect.errors import ConfigError, DataError
from engine.connect.records import ConnectRecord
from engine.connect.transforms.sides import REPLACE_NULL, OfKeyOrValue, define_replace_null, field_values


class SetSchemaMetadata(OfKeyOrValue):
    """Another name, another version, or both."""

    @classmethod
    def config(cls) -> ConfigDef:
        return define_replace_null(
            ConfigDef()
            .define("schema.name", ConfigType.STRING, None, Importance.HIGH, "Schema name to set.")
            .define("schema.version", ConfigType.INT, None, Importance.HIGH, "Schema version to set.")
        )

    def configure(self, configs: Mapping[str, Any]) -> None:
        values = self.config().parse(configs)
        self._name: str | None = values["schema.name"]
        self._version: int | None = values["schema.version"]
        self._replace_null: bool = values[REPLACE_NULL]
        if self._name is None and self._version is None:
            raise ConfigError.saying("Neither schema name nor version configured")
        self._renamed = lru_cache(16)(self._rename)

    def change(self, record: ConnectRecord, schema: Schema | None, value: Any) -> tuple[Schema | None, Any]:
        if schema is None:
            if value is None:
                return schema, value
            raise DataError("Schema required for [updating schema metadata]")
        renamed = self._renamed(schema)
        if isinstance(value, Struct):
            value = Struct.of(renamed, field_values(value, self._replace_null))
        return renamed, value

    def _rename(self, schema: Schema) -> Schema:
        name = self._name if self._name is not None else schema.name
        version = self._version if self._version is not None else schema.version
        default = schema.default
        made = replace(schema, name=name, version=version, default=None)
        if isinstance(default, Struct):
            default = Struct.of(made, list(default.values))
        return made if default is None else made.with_default(default)


class SetSchemaMetadataKey(SetSchemaMetadata):
    """Of the key's schema."""

    of_key = True


class SetSchemaMetadataValue(SetSchemaMetadata):
    """Of the value's schema."""

    of_key = False

"""Values in JSON, their JSON Schemas in a registry (``io.confluent.connect.json.JsonSchemaConverter``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance, one_of
from engine.connect.converters.converter import (
    Converter,
    RawHeaders,
    converter_config_def,
    read_converter_configs,
)
from engine.connect.converters.json import json_text, parse_json
from engine.connect.converters.json_schema_reading import Read, connect_schema_of, value_reader
from engine.connect.converters.json_schema_writing import ABSENT, document_of, value_writer
from engine.connect.converters.json_values import has_decimals
from engine.connect.converters.registry_client import RegistryClient, define_registry, framed, schema_id_of, schema_json
from engine.connect.data import NULL, Schema, SchemaAndValue
from engine.connect.errors import DataError


class JsonSchemaConverter(Converter):
    """A zero, the schema's id in the registry, and the value in JSON; null is no bytes at all."""

    @classmethod
    def config(cls) -> ConfigDef:
        definition = define_registry(converter_config_def())
        group = "JSON Schema"
        for name, kind, default, validator, what in (
            (
                "decimal.format",
                ConfigType.STRING,
                "BASE64",
                one_of("BASE64", "NUMERIC", ignore_case=True),
                "How decimals are written: BASE64 or NUMERIC.",
            ),
            (
                "object.additional.properties",
                ConfigType.BOOLEAN,
                True,
                None,
                "Whether objects may have properties that their schema does not name.",
            ),
            (
                "use.optional.for.nonrequired",
                ConfigType.BOOLEAN,
                False,
                None,
                "Whether properties that are not required are optional.",
            ),
            ("schemas.cache.size", ConfigType.INT, 1000, None, "How many schemas are kept at most."),
        ):
            definition.define(name, kind, default, Importance.LOW, what, validator=validator, group=group)
        return definition

    def configure(self, configs: Mapping[str, Any], is_key: bool) -> None:
        values = read_converter_configs(self.config(), configs, is_key)
        self._registry = RegistryClient(values, is_key, "JSON")
        self._numeric: bool = values["decimal.format"].upper() == "NUMERIC"
        self._additional: bool = values["object.additional.properties"]
        self._optional_unless_required: bool = values["use.optional.for.nonrequired"]
        size = max(values["schemas.cache.size"], 1)
        self._encoder_of: Callable[[str, Schema], Callable[[Any], bytes | None]] = lru_cache(size)(self._make_encoder)
        self._reader_of: Callable[[str, int], tuple[Schema, Read, bool]] = lru_cache(size)(self._make_reader)

    def from_connect_data(
        self, topic: str, headers: list[tuple[str, bytes | None]] | None, schema: Schema | None, value: Any
    ) -> bytes | None:
        if value is None:
            return None
        if schema is None:
            raise DataError("JsonSchemaConverter needs a schema: use JsonConverter with schemas.enable=false without")
        return self._encoder_of(topic, schema)(value)

    def _make_encoder(self, topic: str, schema: Schema) -> Callable[[Any], bytes | None]:
        document = document_of(schema, additional=self._additional, numeric=self._numeric)
        subject = self._registry.subject(topic, document.get("title"))
        opening = framed(self._registry.id_for(subject, json_text(document).decode()))
        write = value_writer(schema, numeric=self._numeric)

        def encode(value: Any) -> bytes | None:
            shown = write(value)
            return None if shown is ABSENT else opening + json_text(shown)

        return encode

    def to_connect_data(self, topic: str, headers: RawHeaders | None, value: bytes | None) -> SchemaAndValue:
        if value is None:
            return NULL
        schema, read, exact = self._reader_of(topic, schema_id_of(value))
        return SchemaAndValue(schema, read(parse_json(value[5:], exact=exact)))

    def _make_reader(self, topic: str, schema_id: int) -> tuple[Schema, Read, bool]:
        registered = self._registry.schema(schema_id)
        document = schema_json(registered)
        others = {name: schema_json(each) for name, each in self._registry.referenced_by_name(registered)}
        title = document.get("title") if isinstance(document, dict) else None
        version = self._registry.version(self._registry.subject(topic, title), registered)
        schema = connect_schema_of(
            document, others, optional_unless_required=self._optional_unless_required, version=version
        )
        return schema, value_reader(schema), has_decimals(schema)

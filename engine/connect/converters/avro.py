"""Values in Avro, their schemas in a registry (``io.confluent.connect.avro.AvroConverter``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance
from engine.connect.connectors.extras import needs_extra
from engine.connect.converters.avro_names import AvroOptions, define_avro_options
from engine.connect.converters.avro_reading import Read, connect_of, found_name, readable
from engine.connect.converters.avro_writing import avro_of
from engine.connect.converters.converter import (
    Converter,
    RawHeaders,
    converter_config_def,
    read_converter_configs,
)
from engine.connect.converters.registry_client import (
    EXTRA,
    RegistryClient,
    define_registry,
    framed,
    schema_id_of,
    schema_json,
)
from engine.connect.data import NULL, Schema, SchemaAndValue
from engine.connect.errors import DataError


class AvroConverter(Converter):
    """A zero, the schema's id in the registry, and the value in Avro; null is no bytes at all."""

    @classmethod
    def config(cls) -> ConfigDef:
        definition = define_avro_options(define_registry(converter_config_def()))
        return definition.define(
            "schemas.cache.config", ConfigType.INT, 1000, Importance.LOW, "How many schemas are kept at most."
        )

    def configure(self, configs: Mapping[str, Any], is_key: bool) -> None:
        with needs_extra(EXTRA):
            import fastavro

        self._fastavro = fastavro
        values = read_converter_configs(self.config(), configs, is_key)
        self._registry = RegistryClient(values, is_key, "AVRO")
        self._options = AvroOptions.of(values)
        size = max(values["schemas.cache.config"], 1)
        self._encoder_of: Callable[[str, Schema | None], Callable[[Any], bytes | None]] = lru_cache(size)(
            self._make_encoder
        )
        self._reader_of: Callable[[str, int], tuple[Schema | None, Any, Read]] = lru_cache(size)(self._make_reader)

    def from_connect_data(
        self, topic: str, headers: list[tuple[str, bytes | None]] | None, schema: Schema | None, value: Any
    ) -> bytes | None:
        return None if value is None else self._encoder_of(topic, schema)(value)

    def encoder(self, topic: str, schema: Schema | None) -> Callable[[Any], bytes | None]:
        # Not before there is a value: a tombstone's schema need not be registered.
        return lambda value: None if value is None else self._encoder_of(topic, schema)(value)

    def _make_encoder(self, topic: str, schema: Schema | None) -> Callable[[Any], bytes | None]:
        avro, write = avro_of(schema, self._options)
        subject = self._registry.subject(topic, _name_of(avro))
        latest = self._registry.latest(subject)
        if latest is None:
            schema_id = self._registry.id_for(subject, json.dumps(avro))
        else:
            # Readers go by the schema of the id, so it is the one that values are written by, field by field.
            schema_id, avro = latest[0], self._with_references(latest[1])
        parsed = self._parsed(readable(avro))
        opening = framed(schema_id)
        if readable(avro) == "bytes" or (isinstance(avro, dict) and avro.get("type") == "bytes"):
            # Confluent's serializer writes bytes that are all there is without their length.
            return lambda value: opening + bytes(write(value))
        write_avro = self._fastavro.schemaless_writer
        # A field that the latest schema has not would be lost.
        strict = latest is not None

        def encode(value: Any) -> bytes:
            out = BytesIO(opening)
            out.seek(5)
            try:
                write_avro(out, parsed, write(value), strict_allow_default=strict)
            except (ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
                raise DataError(f"Failed to serialize Avro data from topic {topic}: {error}") from error
            return out.getvalue()

        return encode

    def _parsed(self, avro: Any) -> Any:
        try:
            return self._fastavro.parse_schema(avro)
        except Exception as error:  # fastavro's own errors have no common class
            raise DataError(f"Not a schema that Avro can have: {error}") from error

    def to_connect_data(self, topic: str, headers: RawHeaders | None, value: bytes | None) -> SchemaAndValue:
        if value is None:
            return NULL
        schema, parsed, read = self._reader_of(topic, schema_id_of(value))
        if parsed is None:
            return SchemaAndValue(schema, read(value[5:]))
        stream = BytesIO(value)
        stream.seek(5)
        try:
            found = self._fastavro.schemaless_reader(stream, parsed, None, return_named_type=True)
        except (ValueError, TypeError, IndexError, EOFError, OverflowError, KeyError, StopIteration) as error:
            why = f"{type(error).__name__}: {error}"
            raise DataError(f"Failed to deserialize data for topic {topic} to Avro: {why}") from error
        return SchemaAndValue(schema, read(found))

    def _make_reader(self, topic: str, schema_id: int) -> tuple[Schema | None, Any, Read]:
        registered = self._registry.schema(schema_id)
        avro = self._with_references(registered)
        version = self._registry.version(self._registry.subject(topic, _name_of(avro)), registered)
        schema, read = connect_of(avro, self._options, version)
        if avro == "bytes" or (isinstance(avro, dict) and avro.get("type") == "bytes"):
            return schema, None, read
        return schema, self._parsed(readable(avro)), read

    def _with_references(self, registered: Any) -> Any:
        """A schema with those that it refers to where their names come first."""
        avro = schema_json(registered)
        named: dict[str, Any] = {}
        for _, each in self._registry.referenced_by_name(registered):
            inner = schema_json(each)
            if isinstance(inner, dict) and "name" in inner:
                named[str(_name_of(inner))] = inner
        return _inlined(avro, "", named) if named else avro


def _name_of(avro: Any) -> str | None:
    """A schema's name with its namespace."""
    name = avro.get("name") if isinstance(avro, dict) else None
    if name is None or "." in name or not avro.get("namespace"):
        return name
    return f"{avro['namespace']}.{name}"


def _inlined(avro: Any, namespace: str, named: dict[str, Any]) -> Any:
    if isinstance(avro, list):
        return [_inlined(each, namespace, named) for each in avro]
    if isinstance(avro, str):
        found = named.pop(found_name(avro, namespace, named), None)
        if found is None:
            return avro
        # Its namespace is that of its own text, not of the place where it is put.
        return _inlined({**found, "namespace": found.get("namespace", "")}, "", named)
    if not isinstance(avro, dict):
        return avro
    name = str(avro.get("name", ""))
    namespace = name.rpartition(".")[0] or avro.get("namespace", namespace)
    made = {
        key: _inlined(value, namespace, named) if key in ("type", "items", "values") else value
        for key, value in avro.items()
    }
    if "fields" in made:
        made["fields"] = [{**each, "type": _inlined(each["type"], namespace, named)} for each in made["fields"]]
    return made

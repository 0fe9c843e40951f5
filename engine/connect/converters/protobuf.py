"""Values in Protobuf, their schemas in a registry (``io.confluent.connect.protobuf.ProtobufConverter``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError, EncodeError

from engine.connect.config_def import ConfigDef, ConfigType, Importance
from engine.connect.connectors.extras import needs_extra
from engine.connect.converters.converter import (
    Converter,
    RawHeaders,
    converter_config_def,
    read_converter_configs,
)
from engine.connect.converters.protobuf_files import ProtobufFile
from engine.connect.converters.protobuf_names import ProtobufOptions, define_protobuf_options
from engine.connect.converters.protobuf_reading import Read, connect_of
from engine.connect.converters.protobuf_writing import file_of, value_writer
from engine.connect.converters.registry_client import RegistryClient, define_registry, framed, schema_id_of
from engine.connect.data import NULL, Schema, SchemaAndValue
from engine.connect.errors import DataError
from engine.protobuf.files import InvalidProtobuf, compiled, descriptor_of
from engine.protobuf.message_path import message_path, path_bytes
from engine.protobuf.text import NotWritable, file_text

# What Protobuf says of values that do not fit their fields, and Python of dates that are none.
_MISFITS = (DataError, ValueError, TypeError, OverflowError, AttributeError, KeyError)


class ProtobufConverter(Converter):
    """A zero, the schema's id in the registry, where in it the message stands, and the message; null is no bytes."""

    @classmethod
    def config(cls) -> ConfigDef:
        definition = define_protobuf_options(define_registry(converter_config_def()))
        return definition.define(
            "schemas.cache.config", ConfigType.INT, 1000, Importance.LOW, "How many schemas are kept at most."
        )

    def configure(self, configs: Mapping[str, Any], is_key: bool) -> None:
        values = read_converter_configs(self.config(), configs, is_key)
        self._registry = RegistryClient(values, is_key, "PROTOBUF")
        self._options = ProtobufOptions.of(values)
        size = max(values["schemas.cache.config"], 1)
        self._encoder_of: Callable[[str, Schema], Callable[[Any], bytes]] = lru_cache(size)(self._make_encoder)
        self._reader_of: Callable[[str, int, tuple[int, ...]], tuple[Schema, Read]]
        self._reader_of = lru_cache(size)(self._make_reader)
        self._registered: Callable[[int], tuple[Any, ProtobufFile]] = lru_cache(size)(self._ask_for)

    def from_connect_data(
        self, topic: str, headers: list[tuple[str, bytes | None]] | None, schema: Schema | None, value: Any
    ) -> bytes | None:
        return None if value is None else self._encode(topic, schema, value)

    def encoder(self, topic: str, schema: Schema | None) -> Callable[[Any], bytes | None]:
        # Not before there is a value: a tombstone's schema need not be registered.
        return lambda value: None if value is None else self._encode(topic, schema, value)

    def _encode(self, topic: str, schema: Schema | None, value: Any) -> bytes:
        try:
            if schema is None:
                raise DataError("ProtobufConverter needs a schema, and the value has none")
            return self._encoder_of(topic, schema)(value)
        except (*_MISFITS, EncodeError) as error:
            raise DataError(f"Failed to serialize Protobuf data from topic {topic}: {error}") from error

    def _make_encoder(self, topic: str, schema: Schema) -> Callable[[Any], bytes]:
        descriptor, name = file_of(schema, self._options)
        subject = self._registry.subject(topic, name)
        latest = self._registry.latest(subject)
        if latest is None:
            file = ProtobufFile(descriptor, {})
            schema_id = self._registry.id_for(subject, file_text(descriptor))
        else:
            # Its numbers are what readers know fields by, so the fields that are written are its own.
            schema_id, registered = latest
            file = self._file(registered)
        path = file.path(name)
        opening = framed(schema_id) + path_bytes(path)
        make = file.class_of(file.message(path))
        serialize = make.SerializeToString
        write = value_writer(schema, self._options)

        def encode(value: Any) -> bytes:
            raw: bytes = opening + serialize(make(**write(value)))
            return raw

        return encode

    def to_connect_data(self, topic: str, headers: RawHeaders | None, value: bytes | None) -> SchemaAndValue:
        if value is None:
            return NULL
        try:
            schema_id = schema_id_of(value)
            path, payload = _split(value)
            schema, read = self._reader_of(topic, schema_id, path)
            return SchemaAndValue(schema, read(payload))
        except (*_MISFITS, DecodeError) as error:
            raise DataError(f"Failed to deserialize data for topic {topic} to Protobuf: {error}") from error

    def _make_reader(self, topic: str, schema_id: int, path: tuple[int, ...]) -> tuple[Schema, Read]:
        registered, file = self._registered(schema_id)
        message = file.message(path)
        version = self._registry.version(self._registry.subject(topic, message.full_name), registered)
        schema, read = connect_of(message, self._options, version)
        parse = file.class_of(message).FromString
        return schema, lambda payload: read(parse(payload))

    def _ask_for(self, schema_id: int) -> tuple[Any, ProtobufFile]:
        registered = self._registry.schema(schema_id)
        return registered, self._file(registered)

    def _file(self, registered: Any) -> ProtobufFile:
        text = registered.schema_str or ""
        referenced = {name: each.schema_str or "" for name, each in self._registry.referenced_by_name(registered)}
        descriptors = {name: descriptor_of(each) for name, each in referenced.items()}
        descriptor = descriptor_of(text)
        if descriptor is not None and None not in descriptors.values():
            return ProtobufFile(descriptor, descriptors)
        try:
            texts = {
                name: each if descriptors[name] is None else file_text(descriptors[name])
                for name, each in referenced.items()
            }
            text = text if descriptor is None else file_text(descriptor)
            with needs_extra("registry"):
                return ProtobufFile(*compiled(text, tuple(texts.items())))
        except (InvalidProtobuf, NotWritable) as error:
            raise DataError(f"Not a schema that Protobuf can have: {error}") from error


def _split(value: bytes) -> tuple[tuple[int, ...], bytes]:
    """Where in its schema the message stands, and its bytes."""
    if value[5:6] == b"\0":
        return (0,), value[6:]
    try:
        return message_path(value[5:])
    except ValueError:
        raise DataError("The bytes do not say which message of the schema they are") from None

"""Schemas as a registry or files have them, and the serdes that are made of them."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from console.values.serdes import JsonSerde, Serde, SerdeError


class SchemaType(StrEnum):
    """As a registry calls them."""

    AVRO = "AVRO"
    PROTOBUF = "PROTOBUF"
    JSON = "JSON"


class Reference(NamedTuple):
    """A schema that another one names: of Avro by the type's full name, of Protobuf by the file's."""

    name: str
    text: str


class Schema(NamedTuple):
    """A schema with all that it refers to; what others need comes first."""

    type: SchemaType
    text: str
    references: tuple[Reference, ...] = ()


def serde_of(schema: Schema, name: str) -> Serde:
    """Reads and writes what Confluent's serializers write after the schema's id. Blocks while protoc runs.

    Args:
        name: what the serde is to be called.

    Raises:
        SerdeError: it is no schema, or needs what is not installed.
    """
    if schema.type is SchemaType.AVRO:
        from console.values.avro import AvroSerde

        return AvroSerde(schema, name)
    if schema.type is SchemaType.PROTOBUF:
        from console.values.protobuf import ProtobufFile

        return ProtobufFile.compiled(schema, name).framed_serde()
    made = JsonSerde()
    made.name = name
    return made


def schema_type(word: str) -> SchemaType:
    """Raises: SerdeError."""
    try:
        return SchemaType(word)
    except ValueError:
        raise SerdeError(f"schemas of type {word} are not read: {', '.join(SchemaType)} are") from None

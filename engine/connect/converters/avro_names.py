"""What Confluent's Avro converter calls that for which Avro has no place (``io.confluent.connect.avro.AvroData``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance
from engine.connect.converters import scrubbed_names
from engine.connect.data import (
    DATE_NAME,
    DECIMAL_NAME,
    TIME_NAME,
    TIMESTAMP_NAME,
    Schema,
    Type,
)

NAMESPACE = "io.confluent.connect.avro"
DEFAULT_NAME = f"{NAMESPACE}.ConnectDefault"
MAP_ENTRY = "MapEntry"
UNION = f"{NAMESPACE}.Union"
ENUM = f"{NAMESPACE}.Enum"
RECORD_DOC = f"{NAMESPACE}.record.doc"
FIELD_DOC = f"{NAMESPACE}.field.doc."
FIELD_DEFAULT = f"{NAMESPACE}.field.default"
ENUM_DOC = f"{NAMESPACE}.enum.doc."
ENUM_DEFAULT = f"{NAMESPACE}.enum.default."
PRECISION, DEFAULT_PRECISION = "connect.decimal.precision", 64
FIXED_SIZE = "connect.fixed.size"

SMALL_TYPES = {Type.INT8: "int8", Type.INT16: "int16"}
PRIMITIVES = {
    Type.INT8: "int",
    Type.INT16: "int",
    Type.INT32: "int",
    Type.INT64: "long",
    Type.FLOAT32: "float",
    Type.FLOAT64: "double",
    Type.BOOLEAN: "boolean",
    Type.STRING: "string",
    Type.BYTES: "bytes",
}
LOGICAL_TYPES = {
    DECIMAL_NAME: "decimal",
    DATE_NAME: "date",
    TIME_NAME: "time-millis",
    TIMESTAMP_NAME: "timestamp-millis",
}


def _optional(kind: Any) -> dict[str, Any]:
    return {"type": ["null", kind], "default": None}


ANYTHING: dict[str, Any] = {
    "type": "record",
    "name": "Anything",
    "namespace": NAMESPACE,
    "fields": [
        *(
            {"name": each, **_optional(each)}
            for each in ("boolean", "bytes", "double", "float", "int", "long", "string")
        ),
        {"name": "array", **_optional({"type": "array", "items": "Anything"})},
        {
            "name": "map",
            **_optional(
                {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": MAP_ENTRY,
                        "fields": [{"name": "key", "type": "Anything"}, {"name": "value", "type": "Anything"}],
                    },
                }
            ),
        },
    ],
}
"""What values without a schema are written with."""


@dataclass(frozen=True, slots=True)
class AvroOptions:
    """How schemas are turned to Avro and back (``AvroDataConfig``)."""

    enhanced: bool = False
    """``enhanced.avro.schema.support``: enums stay enums, names of union's members keep their namespaces."""
    scrub: bool = False
    """``scrub.invalid.names``."""
    metadata: bool = True
    """``connect.meta.data``: what Avro has no place for is kept in ``connect.…`` properties."""
    optional_map_keys: bool = False
    """``allow.optional.map.keys``."""
    flatten_unions: bool = True
    """``flatten.singleton.unions``."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> AvroOptions:
        """From parsed configs."""
        return cls(*(values[each] for each in _CONFIGS))


_CONFIGS = {
    "enhanced.avro.schema.support": (False, "Enums stay enums, and members of unions keep their namespaces."),
    "scrub.invalid.names": (False, "Characters that a name in Avro cannot have become underscores."),
    "connect.meta.data": (True, "Keep what Avro has no place for in properties connect.… of its schemas."),
    "allow.optional.map.keys": (False, "Maps whose keys are optional texts are Avro's maps too."),
    "flatten.singleton.unions": (True, "A union of one schema is that schema."),
}


def define_avro_options(definition: ConfigDef) -> ConfigDef:
    """With the configs of :class:`AvroOptions`."""
    for name, (default, what) in _CONFIGS.items():
        definition.define(name, ConfigType.BOOLEAN, default, Importance.LOW, what, group="Avro")
    return definition


def scrubbed(name: str, options: AvroOptions) -> str:
    """A name that Avro can have, if that is wanted."""
    return scrubbed_names.scrubbed(name) if options.scrub else name


def split_name(name: str, options: AvroOptions) -> tuple[str | None, str]:
    """A full name's namespace and last part."""
    namespace, _, last = name.rpartition(".")
    parts = [scrubbed(each, options) for each in namespace.split(".")] if namespace else []
    return ".".join(parts) or None, scrubbed(last, options)


def is_union(schema: Schema) -> bool:
    """Whether a struct stands for a union of its fields."""
    return schema.type is Type.STRUCT and schema.name == UNION


def is_fixed(schema: Schema) -> bool:
    """Whether bytes have a size."""
    return schema.type is Type.BYTES and schema.name is not None and schema.parameter(FIXED_SIZE) is not None


def is_enum(schema: Schema, options: AvroOptions) -> bool:
    """Whether a text is an enum's symbol, and is written as such."""
    return options.enhanced and schema.type is Type.STRING and schema.parameter(ENUM) is not None


def has_string_keys(schema: Schema, options: AvroOptions) -> bool:
    """Whether a map is one of Avro, whose keys are texts."""
    key = schema.key
    return key is not None and key.type is Type.STRING and (not key.optional or options.optional_map_keys)

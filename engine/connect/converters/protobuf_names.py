"""What Confluent's Protobuf converter calls that for which Protobuf has no place, and how it is configured.

Source: ``io.confluent.connect.protobuf.ProtobufData`` and ``ProtobufDataConfig``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance

NAMESPACE = "io.confluent.connect.protobuf"
DEFAULT_NAME = "ConnectDefault"
ENUM = f"{NAMESPACE}.Enum"
UNION = f"{NAMESPACE}.Union"
TAG = f"{NAMESPACE}.Tag"
"""Parameter of a field's schema: the field's number."""
TYPE = f"{NAMESPACE}.Type"
"""Parameter of an integer's schema: which of Protobuf's integers it is, where that is neither int32 nor int64."""
PRECISION = "connect.decimal.precision"

# Parameters of ``confluent.field_meta``, an option of fields.
META_TYPE, META_PRECISION, META_SCALE = "connect.type", "precision", "scale"

DECIMAL_MESSAGE = "confluent.type.Decimal"
DATE_MESSAGE = "google.type.Date"
TIME_MESSAGE = "google.type.TimeOfDay"
TIMESTAMP_MESSAGE = "google.protobuf.Timestamp"
WRAPPERS_FILE = "google/protobuf/wrappers.proto"


@dataclass(frozen=True, slots=True)
class ProtobufOptions:
    """How schemas are turned to Protobuf and back."""

    enhanced: bool = False
    """``enhanced.protobuf.schema.support``: names keep their packages."""
    scrub: bool = False
    """``scrub.invalid.names``."""
    int_for_enums: bool = False
    """``int.for.enums``: enums are read as numbers."""
    optional_for_nullables: bool = False
    """``optional.for.nullables``."""
    optional_for_proto2: bool = True
    """``optional.for.proto2``: optional fields of proto2 that are not there are null, not their default."""
    wrapper_for_nullables: bool = False
    """``wrapper.for.nullables``."""
    wrapper_for_raw_primitives: bool = True
    """``wrapper.for.raw.primitives``: a message that is a wrapper is read as what it wraps."""
    struct_for_nulls: bool = False
    """``generate.struct.for.nulls``."""
    index_for_unions: bool = True
    """``generate.index.for.unions``."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ProtobufOptions:
        """From parsed configs."""
        return cls(*(values[each] for each in _CONFIGS))


_CONFIGS = {
    "enhanced.protobuf.schema.support": (False, "Names of structs and enums that are read keep their packages."),
    "scrub.invalid.names": (False, "Characters that a name in Protobuf cannot have become underscores."),
    "int.for.enums": (False, "Enums are read as numbers, not as texts."),
    "optional.for.nullables": (False, "Optional fields have the label optional, and others are required when read."),
    "optional.for.proto2": (True, "Optional fields of proto2 that have no value are null."),
    "wrapper.for.nullables": (False, "Optional primitives are messages of google/protobuf/wrappers.proto."),
    "wrapper.for.raw.primitives": (True, "A value that is such a message is read as the primitive in it."),
    "generate.struct.for.nulls": (False, "Messages that are not there are read as structs without values."),
    "generate.index.for.unions": (True, "A oneof's field is called by its name and its place: kind_0."),
}


def define_protobuf_options(definition: ConfigDef) -> ConfigDef:
    """With the configs of :class:`ProtobufOptions`."""
    for name, (default, what) in _CONFIGS.items():
        definition.define(name, ConfigType.BOOLEAN, default, Importance.MEDIUM, what, group="Protobuf")
    return definition

"""Files that every schema may import without a reference, as Confluent's registry and its clients have them.

``google/protobuf/`` comes with protoc, ``google/type/`` with ``googleapis-common-protos``; those of ``confluent/``
stand here: what their fields are called and numbered is an interface, as a value's bytes are.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

META = "confluent/meta.proto"
DECIMAL = "confluent/type/decimal.proto"

TEXTS = {
    META: """syntax = "proto3";
package confluent;
import "google/protobuf/descriptor.proto";
message Meta {
  string doc = 1;
  map<string, string> params = 2;
  repeated string tags = 3;
  repeated Rule rules = 4;
}
message Rule {
  string name = 1;
  string doc = 2;
  string expr = 3;
  string sql = 4;
}
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
""",
    DECIMAL: """syntax = "proto3";
package confluent.type;
message Decimal {
  bytes value = 1;
  uint32 precision = 2;
  int32 scale = 3;
}
""",
}
"""By the names under which they are imported."""


@lru_cache(maxsize=1)
def directories() -> tuple[str, ...]:
    """Where protoc finds those that come with installed packages.

    Raises:
        ImportError: grpcio-tools is not installed.
    """
    import grpc_tools

    found = [str(Path(str(grpc_tools.__file__)).parent / "_proto")]
    types = find_spec("google.type")
    places = [] if types is None else types.submodule_search_locations or []
    return (*found, *(str(Path(each).parent.parent) for each in places))

"""Ways to fields within fields (KIP-821, ``transforms.field.SingleFieldPath``)."""

from __future__ import annotations

from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance, one_of
from engine.connect.data import Field, Schema, Struct, Type
from engine.connect.errors import ConfigError, DataError
from engine.connect.transforms.sides import require_map, require_struct

SYNTAX_VERSION = "field.syntax.version"
_PURPOSE = "nested field access"


def define_syntax_version(definition: ConfigDef) -> ConfigDef:
    """With ``field.syntax.version``."""
    return definition.define(
        SYNTAX_VERSION,
        ConfigType.STRING,
        "V1",
        Importance.HIGH,
        "Defines the version of the syntax to access fields. If set to `V1`, then the field paths are limited to "
        "access the elements at the root level of the struct or map. If set to `V2`, the syntax will support accessing "
        "nested elements. To access nested elements, dotted notation is used. If dots are already included in the "
        "field name, then backtick pairs can be used to wrap field names containing dots. E.g. to access the subfield "
        '`baz` from a field named "foo.bar" in a struct/map the following format can be used to access its elements: '
        '"`foo.bar`.baz".',
        validator=one_of("V1", "V2", ignore_case=True),
    )


class FieldPath:
    """A field's name (V1), or names with dots between them (V2)."""

    def __init__(self, text: str, version: str) -> None:
        """Raises ConfigError for a backtick without its other."""
        self.text = text
        self.steps = (text,) if version.upper() == "V1" else tuple(_steps(text))
        if not self.steps:
            raise ConfigError("field", text, "A path has one step at least")

    def field(self, schema: Schema) -> Field | None:
        """The field in a struct's schema, or None."""
        current, found = schema, None
        for step in self.steps:
            if current.type is not Type.STRUCT:
                raise DataError("Cannot look up fields on non-struct type")
            found = current.field(step)
            if found is None:
                return None
            current = found.schema
        return found

    def of_struct(self, struct: Struct, replace_null: bool) -> Any:
        """The field's value; None where a step on the way has none."""
        for step in self.steps[:-1]:
            if struct.schema.field(step) is None or (inner := struct.get(step)) is None:
                return None
            struct = require_struct(inner, _PURPOSE)
        last = self.steps[-1]
        if struct.schema.field(last) is None:
            return None
        return struct.get(last) if replace_null else struct.get_without_default(last)

    def of_map(self, value: dict[str, Any]) -> Any:
        """Likewise where there is no schema."""
        for step in self.steps[:-1]:
            inner = value.get(step)
            if inner is None:
                return None
            value = require_map(inner, _PURPOSE)
        return value.get(self.steps[-1])


def _steps(path: str) -> list[str]:
    steps: list[str] = []
    at = 0
    while at < len(path):
        if path[at] == "`":
            step, at = _quoted(path, at)
        else:
            end = path.find(".", at)
            end = len(path) if end < 0 else end
            step, at = path[at:end], end + 1
        steps.append(step)
    if path.endswith("."):
        steps.append("")
    return steps


def _quoted(path: str, opening: int) -> tuple[str, int]:
    """A step between backticks, and where the next one begins.

    A backtick ends it only before a dot or at the end; there a backslash before it makes it part of the name.
    """
    name, start, at = "", opening + 1, opening + 1
    while True:
        at = path.find("`", at)
        escaped = at > 0 and path[at - 1] == "\\"
        if at < 0 or (escaped and at == len(path) - 1):
            raise ConfigError.saying(
                f"Incomplete backtick pair in path: [{path}], consider adding a backslash before backtick at position "
                f"{opening} to escape it"
            )
        if at == len(path) - 1:
            return name + path[start:at], at + 1
        if path[at + 1] != ".":
            at += 1
        elif escaped:
            name += path[start : at - 1] + "`"
            at += 1
            start = at
        else:
            return name + path[start:at], at + 2

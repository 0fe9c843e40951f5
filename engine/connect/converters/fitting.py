"""Whether values fit their schemas, for converters that write them in a form of their own."""

from __future__ import annotations

from typing import Any

from engine.connect.data import Schema, Struct, validate
from engine.connect.errors import DataError


def checked(schema: Schema, value: Any) -> Any:
    """A value that is no null, as it is; raises DataError if it does not fit."""
    if type(value) is not schema.fitting:
        validate(schema, value)
    return value


def expect(schema: Schema, value: Any, *kinds: type) -> Any:
    """A value of one of these classes, not looked into; raises DataError for others."""
    if isinstance(value, kinds):
        return value
    raise DataError(f"Invalid type for {schema.type.name}: {type(value).__name__}")


def expect_struct(schema: Schema, value: Any) -> Struct:
    """A struct with this schema, its fields not looked into; raises DataError for others."""
    struct: Struct = expect(schema, value, Struct)
    if struct.schema is not schema and struct.schema != schema:
        raise DataError("Mismatching struct schema")
    return struct

"""Whether values fit their schemas, for converters that write them in a form of their own."""

from __future__ import annotations

from typing import Any

from engine.connect.data import Schema, Struct, validate
from engine.connect.errors import DataError

# What a schema becomes when every part is written out where it is used; a page of definitions can be more than any
# machine holds.
MOST_PARTS = 100_000
_REMEDY = "ByteArrayConverter passes on such values unread"


def holds_itself(what: str) -> DataError:
    """Of a schema that is within itself, which Connect's cannot be."""
    return DataError(f"{what} holds itself, which schemas of Connect cannot: {_REMEDY}")


def too_large(what: str) -> DataError:
    """Of a schema with more than :data:`MOST_PARTS`, or nested too deeply."""
    return DataError(f"{what} is nested too deeply, or has more than {MOST_PARTS:,} parts: {_REMEDY}")


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

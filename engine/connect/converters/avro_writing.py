"""Connect's schemas as Avro's, and values for them (``AvroData.fromConnectSchema``, ``fromConnectData``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engine.connect.converters.avro_names import (
    ANYTHING,
    DEFAULT_NAME,
    DEFAULT_PRECISION,
    ENUM,
    ENUM_DEFAULT,
    ENUM_DOC,
    FIELD_DEFAULT,
    FIELD_DOC,
    FIXED_SIZE,
    LOGICAL_TYPES,
    MAP_ENTRY,
    NAMESPACE,
    PRECISION,
    PRIMITIVES,
    RECORD_DOC,
    SMALL_TYPES,
    AvroOptions,
    has_string_keys,
    is_enum,
    is_fixed,
    is_union,
    scrubbed,
    split_name,
)
from engine.connect.converters.avro_reading import dotted
from engine.connect.converters.fitting import checked, expect, expect_struct
from engine.connect.data import (
    DATE_NAME,
    DECIMAL_NAME,
    TIME_NAME,
    TIMESTAMP_NAME,
    Schema,
    Struct,
    Type,
    bytes_from_decimal,
    days_from_date,
    decimal_scale,
    ms_from_time,
    ms_from_timestamp,
)
from engine.connect.errors import DataError

Write = Callable[[Any], Any]
"""A value as fastavro takes it."""


def avro_of(schema: Schema | None, options: AvroOptions) -> tuple[Any, Write]:
    """A schema in Avro's JSON, and what makes values for it.

    Raises:
        DataError: Avro cannot have it. What it gives raises DataError for values that do not fit.
    """
    if schema is None:
        return ANYTHING, _write_anything
    avro = _Schemas(options).of(schema)
    return avro, _Values(options).of(schema)


class _Schemas:
    """Of one top-level schema: a name is defined once, where it comes first."""

    def __init__(self, options: AvroOptions) -> None:
        self._options = options
        self._defined: dict[str, str] = {}
        # The namespace that names within it have when they say none.
        self._space: str | None = None
        self._unnamed: dict[Schema, str] = {}

    def of(self, schema: Schema, *, ignore_optional: bool = False) -> Any:
        if is_union(schema):
            members = [self.of(each.schema.as_required(), ignore_optional=True) for each in schema.fields]
            return ["null", *members] if schema.optional else members
        base = self._base(schema)
        if not schema.optional or ignore_optional:
            return base
        return [base, "null"] if schema.default is not None and schema.type is not Type.STRUCT else ["null", base]

    def _base(self, schema: Schema) -> Any:
        options = self._options
        names: tuple[str | None, str] | None = None
        made: dict[str, Any]
        match schema.type:
            case Type.ARRAY:
                if schema.value is None:
                    raise DataError("Avro has no array whose elements have no schema")
                made = {"type": "array", "items": self.of(schema.value)}
            case Type.MAP:
                made = self._map(schema)
            case Type.STRUCT:
                names = self._names(schema)
                made = {"type": "record", **self._named(names), "fields": []}
                if (doc := schema.parameter(RECORD_DOC)) is not None:
                    made["doc"] = doc
            case _ if is_enum(schema, options):
                names = split_name(str(schema.parameter(ENUM)), options)
                symbols = [
                    each.removeprefix(f"{ENUM}.") for each, _ in schema.parameters if each.startswith(f"{ENUM}.")
                ]
                made = {"type": "enum", **self._named(names), "symbols": symbols}
                for prefix, what in ((ENUM_DOC, "doc"), (ENUM_DEFAULT, "default")):
                    if (text := schema.parameter(f"{prefix}{names[1]}")) is not None:
                        made[what] = text
            case _ if is_fixed(schema):
                names = self._names(schema)
                made = {"type": "fixed", **self._named(names), "size": int(str(schema.parameter(FIXED_SIZE)))}
            case _:
                made = {"type": PRIMITIVES[schema.type]}
        full = None if names is None else f"{names[0]}.{names[1]}" if names[0] else names[1]
        self._add_properties(schema, made)
        if schema.type is Type.STRUCT:
            mark = json.dumps([full, schema.parameters, [(each.name, repr(each.schema)) for each in schema.fields]])
            if full in self._defined:
                return self._again(full, mark)
            assert full is not None and names is not None
            self._defined[full] = mark
            around, self._space = self._space, names[0]
            made["fields"] = [
                self._field(scrubbed(each.name, options), each.schema, schema.parameter(FIELD_DOC + each.name))
                for each in schema.fields
            ]
            self._space = around
            return made
        if full is not None:
            mark = json.dumps(made)
            if full in self._defined:
                return self._again(full, mark)
            self._defined[full] = mark
        return made["type"] if len(made) == 1 else made

    def _again(self, full: str, mark: str) -> str:
        if self._defined[full] != mark:
            raise DataError(f"Two schemas that differ are called {full}, which Avro cannot have")
        return full

    def _named(self, names: tuple[str | None, str]) -> dict[str, str]:
        namespace, name = names
        if namespace is None and not self._space:
            return {"name": name}
        return {"name": name, "namespace": namespace or ""}

    def _names(self, schema: Schema) -> tuple[str | None, str]:
        if schema.name is not None:
            return split_name(schema.name, self._options)
        bare = schema.as_required()
        name = self._unnamed.get(bare)
        if name is None:
            number = len(self._unnamed) + 1
            name = f"{DEFAULT_NAME}{number if number > 1 else ''}"
            self._unnamed[bare] = name
        return split_name(name, self._options)

    def _map(self, schema: Schema) -> dict[str, Any]:
        if schema.key is None or schema.value is None:
            raise DataError("Avro has no map whose keys or values have no schema")
        if has_string_keys(schema, self._options):
            return {"type": "map", "values": self.of(schema.value)}
        names: tuple[str | None, str] = (NAMESPACE, MAP_ENTRY)
        if schema.name is not None:
            names = split_name(schema.name, self._options)
        entry: dict[str, Any] = {"type": "record", **self._named(names)}
        if schema.name is not None:
            entry["connect.internal.type"] = MAP_ENTRY
        full = names[1] if names[0] is None else f"{names[0]}.{names[1]}"
        mark = json.dumps([repr(schema.key), repr(schema.value)])
        if full in self._defined:
            return {"type": "array", "items": self._again(full, mark)}
        self._defined[full] = mark
        around, self._space = self._space, names[0]
        entry["fields"] = [self._field("key", schema.key, None), self._field("value", schema.value, None)]
        self._space = around
        return {"type": "array", "items": entry}

    def _field(self, name: str, schema: Schema, doc: str | None) -> dict[str, Any]:
        made = {"name": name, "type": self.of(schema)}
        if doc is not None:
            made["doc"] = doc
        if schema.default is not None:
            made["default"] = _default(schema, schema.default, self._options)
        elif schema.optional:
            made["default"] = None
        return made

    def _add_properties(self, schema: Schema, made: dict[str, Any]) -> None:
        if schema.name == DECIMAL_NAME:
            made["scale"] = decimal_scale(schema)
            made["precision"] = int(schema.parameter(PRECISION) or DEFAULT_PRECISION)
        if self._options.metadata:
            if schema.doc is not None:
                made["connect.doc"] = schema.doc
            if schema.version is not None:
                made["connect.version"] = schema.version
            parameters = {name: value for name, value in schema.parameters if name != FIELD_DEFAULT}
            if parameters:
                made["connect.parameters"] = parameters
            if schema.default is not None and schema.parameter(FIELD_DEFAULT) is None:
                made["connect.default"] = _default(schema, schema.default, self._options)
            if schema.name is not None:
                made["connect.name"] = schema.name
            if schema.type in SMALL_TYPES:
                made["connect.type"] = SMALL_TYPES[schema.type]
        if schema.name in LOGICAL_TYPES:
            made["logicalType"] = LOGICAL_TYPES[schema.name]
        made.update((name, value) for name, value in schema.parameters if name.startswith("avro"))


def _default(schema: Schema, value: Any, options: AvroOptions) -> Any:
    """A default in the JSON of Avro's schemas."""
    if value is None:
        return None
    if schema.name == DECIMAL_NAME:
        value = bytes_from_decimal(schema, value)
    elif schema.name == DATE_NAME:
        return days_from_date(value)
    elif schema.name == TIME_NAME:
        return ms_from_time(value)
    elif schema.name == TIMESTAMP_NAME:
        return ms_from_timestamp(value)
    match schema.type:
        case Type.BYTES:
            return bytes(value).decode("latin-1")
        case Type.ARRAY:
            assert schema.value is not None
            return [_default(schema.value, each, options) for each in value]
        case Type.MAP:
            assert schema.key is not None and schema.value is not None
            pairs = [
                [_default(schema.key, key, options), _default(schema.value, each, options)]
                for key, each in value.items()
            ]
            return dict(pairs) if has_string_keys(schema, options) else pairs
        case Type.STRUCT:
            found = {
                scrubbed(each.name, options): _default(each.schema, value.get(each.name), options)
                for each in schema.fields
            }
            return next(iter(found.values()), None) if is_union(schema) else found
    return value


class _Values:
    """What makes values for one top-level schema; named as :class:`_Schemas` names."""

    def __init__(self, options: AvroOptions) -> None:
        self._options = options
        self._names = _Schemas(options)

    def of(self, schema: Schema) -> Write:
        write = self._of(schema)
        optional = schema.optional

        def write_or_null(value: Any) -> Any:
            if value is None:
                if not optional:
                    raise DataError("Found null value for non-optional schema")
                return None
            return write(value)

        return write_or_null

    def _of(self, schema: Schema) -> Write:
        if is_union(schema):
            return self._union(schema)
        match schema.type:
            case Type.STRUCT:
                return self._struct(schema)
            case Type.ARRAY:
                assert schema.value is not None
                write_each = self.of(schema.value)
                return lambda value: [write_each(each) for each in expect(schema, value, list, tuple)]
            case Type.MAP:
                return self._map(schema)
        if schema.name == DECIMAL_NAME:
            size = int(schema.parameter(FIXED_SIZE) or 0)
            return lambda value: _padded(bytes_from_decimal(schema, checked(schema, value)), size)
        return lambda value: checked(schema, value)

    def _struct(self, schema: Schema) -> Write:
        namespace, name = self._names._names(schema)
        fields = [
            (scrubbed(each.name, self._options), each.schema.default, self.of(each.schema)) for each in schema.fields
        ]
        # In a union the name says which member it is; elsewhere fastavro takes no name.
        full = dotted(f"{namespace}.{name}" if namespace else name) if schema.optional else None

        def write(value: Any) -> Any:
            made = {
                name: write_field(default if each is None else each)
                for (name, default, write_field), each in zip(fields, expect_struct(schema, value).values, strict=True)
            }
            return made if full is None else (full, made)

        return write

    def _union(self, schema: Schema) -> Write:
        members = [self._of(replace(each.schema, optional=each.schema.type is Type.STRUCT)) for each in schema.fields]

        def write(value: Any) -> Any:
            for each, write_member in zip(expect(schema, value, Struct).values, members, strict=True):
                if each is not None:
                    return write_member(each)
            if schema.optional:
                return None
            raise DataError("Found null value for non-optional schema")

        return write

    def _map(self, schema: Schema) -> Write:
        assert schema.key is not None and schema.value is not None
        write_key, write_value = self.of(schema.key), self.of(schema.value)
        if has_string_keys(schema, self._options):
            return lambda value: {key: write_value(each) for key, each in expect(schema, value, dict).items()}
        return lambda value: [
            {"key": write_key(key), "value": write_value(each)} for key, each in expect(schema, value, dict).items()
        ]


def _padded(value: bytes, size: int) -> bytes:
    if not size or len(value) == size:
        return value
    if len(value) > size:
        raise DataError(f"Unscaled value byte array length {len(value)} is greater than fixed size {size}")
    return (b"\xff" if value[0] & 0x80 else b"\0") * (size - len(value)) + value


def _write_anything(value: Any) -> dict[str, Any]:
    """A value without a schema as a record of :data:`ANYTHING`."""
    match value:
        case None:
            return {}
        case bool():
            return {"boolean": value}
        case int():
            return {"long": value}
        case float():
            return {"double": value}
        case str():
            return {"string": value}
        case bytes() | bytearray() | memoryview():
            return {"bytes": bytes(value)}
        case list() | tuple():
            return {"array": [_write_anything(each) for each in value]}
        case dict():
            pairs = ({"key": _write_anything(key), "value": _write_anything(each)} for key, each in value.items())
            return {"map": list(pairs)}
    raise DataError(f"Unknown Python type for schemaless data: {type(value).__name__}")

"""Connect's schemas as Protobuf's files, and their values (``ProtobufData.fromConnectSchema``, ``fromConnectData``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from itertools import count
from typing import Any

from google.protobuf import descriptor_pb2, wrappers_pb2

from engine.connect.converters.fitting import checked, expect, expect_struct
from engine.connect.converters.protobuf_files import field_meta
from engine.connect.converters.protobuf_names import (
    DATE_MESSAGE,
    DECIMAL_MESSAGE,
    DEFAULT_NAME,
    ENUM,
    META_PRECISION,
    META_SCALE,
    META_TYPE,
    PRECISION,
    TAG,
    TIME_MESSAGE,
    TIMESTAMP_MESSAGE,
    TYPE,
    UNION,
    WRAPPERS_FILE,
    ProtobufOptions,
)
from engine.connect.converters.scrubbed_names import scrubbed
from engine.connect.data import (
    DATE_NAME,
    DECIMAL_NAME,
    TIME_NAME,
    TIMESTAMP_NAME,
    Schema,
    Struct,
    Type,
    bytes_from_decimal,
    decimal_scale,
    ms_from_timestamp,
)
from engine.connect.errors import DataError
from engine.protobuf.text import default_json_name
from engine.protobuf.well_known import DECIMAL, META

Write = Callable[[Any], Any]
"""A value as the class of a message takes it: of a struct a dictionary of fields."""

_Field = descriptor_pb2.FieldDescriptorProto
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PRIMITIVES = {
    Type.INT8: _Field.TYPE_INT32,
    Type.INT16: _Field.TYPE_INT32,
    Type.INT32: _Field.TYPE_INT32,
    Type.INT64: _Field.TYPE_INT64,
    Type.FLOAT32: _Field.TYPE_FLOAT,
    Type.FLOAT64: _Field.TYPE_DOUBLE,
    Type.BOOLEAN: _Field.TYPE_BOOL,
    Type.STRING: _Field.TYPE_STRING,
    Type.BYTES: _Field.TYPE_BYTES,
}
_INTEGERS = {
    Type.INT32: {"int32": _Field.TYPE_INT32, "sint32": _Field.TYPE_SINT32, "sfixed32": _Field.TYPE_SFIXED32},
    Type.INT64: {
        "int64": _Field.TYPE_INT64,
        "uint32": _Field.TYPE_UINT32,
        "uint64": _Field.TYPE_UINT64,
        "sint64": _Field.TYPE_SINT64,
        "fixed32": _Field.TYPE_FIXED32,
        "fixed64": _Field.TYPE_FIXED64,
        "sfixed64": _Field.TYPE_SFIXED64,
    },
}
_UNSIGNED_64 = (_Field.TYPE_UINT64, _Field.TYPE_FIXED64)
_WRAPPERS = {
    _Field.TYPE_INT32: "Int32Value",
    _Field.TYPE_SINT32: "Int32Value",
    _Field.TYPE_SFIXED32: "Int32Value",
    _Field.TYPE_INT64: "Int64Value",
    _Field.TYPE_SINT64: "Int64Value",
    _Field.TYPE_SFIXED64: "Int64Value",
    _Field.TYPE_UINT32: "UInt32Value",
    _Field.TYPE_FIXED32: "UInt32Value",
    _Field.TYPE_UINT64: "UInt64Value",
    _Field.TYPE_FIXED64: "UInt64Value",
    _Field.TYPE_FLOAT: "FloatValue",
    _Field.TYPE_DOUBLE: "DoubleValue",
    _Field.TYPE_BOOL: "BoolValue",
    _Field.TYPE_STRING: "StringValue",
    _Field.TYPE_BYTES: "BytesValue",
}
_SMALL = {Type.INT8: "int8", Type.INT16: "int16"}
_LOGICAL = {
    DECIMAL_NAME: (DECIMAL_MESSAGE, DECIMAL),
    DATE_NAME: (DATE_MESSAGE, "google/type/date.proto"),
    TIME_NAME: (TIME_MESSAGE, "google/type/timeofday.proto"),
    TIMESTAMP_NAME: (TIMESTAMP_MESSAGE, "google/protobuf/timestamp.proto"),
}
_KEYS = {Type.INT8, Type.INT16, Type.INT32, Type.INT64, Type.BOOLEAN, Type.STRING}


def is_union(schema: Schema) -> bool:
    """Whether a struct stands for one of its fields."""
    return schema.type is Type.STRUCT and schema.name is not None and schema.name.startswith(UNION)


def file_of(schema: Schema, options: ProtobufOptions) -> tuple[Any, str]:
    """A schema as a ``FileDescriptorProto``, and the full name of its message there.

    Raises:
        DataError: Protobuf cannot have it.
    """
    if schema.name in _LOGICAL or schema.type in (Type.ARRAY, Type.MAP) or is_union(schema):
        what = schema.name or schema.type.name
        raise DataError(f"A value in Protobuf is a message or a primitive, not {what}: put it into a struct")
    if schema.type is Type.STRUCT:
        return _Files(options).of(schema)
    file = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(file)
    return file, f"google.protobuf.{_WRAPPERS[_primitive(schema)]}"


def value_writer(schema: Schema, options: ProtobufOptions) -> Write:
    """What makes values for the message of :func:`file_of`; it raises DataError for those that do not fit."""
    if schema.type is Type.STRUCT:
        return _writer(schema, options)
    write = _plain_writer(schema)
    return lambda value: {"value": write(value)}


def _primitive(schema: Schema) -> Any:
    kind = schema.parameter(TYPE)
    if kind is None or schema.type not in _INTEGERS:
        return _PRIMITIVES[schema.type]
    found = _INTEGERS[schema.type].get(kind)
    if found is None:
        raise DataError(f"{TYPE} of {schema.type.name} is {kind}: it may be {', '.join(_INTEGERS[schema.type])}")
    return found


def _is_wrapped(schema: Schema, options: ProtobufOptions) -> bool:
    return options.wrapper_for_nullables and schema.optional and schema.parameter(ENUM) is None


def _member(schema: Schema) -> Schema:
    """Of a oneof: whether it has a value is known without a wrapper."""
    return schema.as_required() if schema.type.is_primitive else schema


def _field_name(name: str, options: ProtobufOptions) -> str:
    made = scrubbed(name, first="_") if options.scrub else name
    if not _NAME.fullmatch(made):
        raise DataError(f"Protobuf has no name {name!r}: configure scrub.invalid.names=true, or rename it")
    return made


@dataclass(slots=True)
class _Message:
    """A message that is being made; ``types`` are those within it, with what they were made of."""

    proto: Any
    full_name: str
    types: dict[str, Any] = field(default_factory=dict)
    optional: list[Any] = field(default_factory=list)


class _Files:
    """Of one top-level schema."""

    def __init__(self, options: ProtobufOptions) -> None:
        self._options = options
        self._file = descriptor_pb2.FileDescriptorProto(name="default", syntax="proto3")
        self._unnamed = count(1)

    def of(self, schema: Schema) -> tuple[Any, str]:
        package = (schema.name or "").rpartition(".")[0]
        for each in package.split(".") if package else ():
            if not _NAME.fullmatch(each):
                raise DataError(f"Protobuf has no package {package!r}: rename schema {schema.name}")
        self._file.package = package
        name = self._last_name(schema)
        full_name = f"{package}.{name}" if package else name
        self._fill(_Message(self._file.message_type.add(name=name), full_name), schema)
        return self._file, full_name

    def _last_name(self, schema: Schema) -> str:
        name = (schema.name or "").rpartition(".")[2] or f"{DEFAULT_NAME}{next(self._unnamed)}"
        return _field_name(name, self._options)

    def _fill(self, message: _Message, schema: Schema) -> None:
        numbers = _numbers(schema)
        for each in schema.fields:
            if not is_union(each.schema):
                number = _tag(each.schema) or next(numbers)
                self._field(message, _field_name(each.name, self._options), each.schema, number)
                continue
            if not each.schema.fields:
                raise DataError(f"Union {each.name} has no fields")
            union = str(each.schema.name).removeprefix(UNION).rpartition(".")[2] or each.name
            index = len(message.proto.oneof_decl)
            message.proto.oneof_decl.add(name=_field_name(union, self._options))
            for member in each.schema.fields:
                if member.schema.type in (Type.ARRAY, Type.MAP):
                    raise DataError(f"Protobuf has no {member.schema.type.name} in a oneof: {member.name}")
                name = _field_name(member.name, self._options)
                made = self._field(
                    message, name, _member(member.schema), _tag(member.schema) or next(numbers), in_oneof=True
                )
                made.oneof_index = index
        # What makes fields optional comes behind every other oneof.
        for made in message.optional:
            made.proto3_optional = True
            made.oneof_index = len(message.proto.oneof_decl)
            message.proto.oneof_decl.add(name=f"_{made.name}")

    def _field(self, message: _Message, name: str, schema: Schema, number: int, *, in_oneof: bool = False) -> Any:
        made = message.proto.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
        if schema.type is Type.MAP:
            made.label = _Field.LABEL_REPEATED
            made.type, made.type_name = _Field.TYPE_MESSAGE, self._map_entry(message, name, schema)
            return made
        if schema.type is Type.ARRAY:
            made.label = _Field.LABEL_REPEATED
            if schema.value is None or schema.value.type in (Type.ARRAY, Type.MAP) or is_union(schema.value):
                what = "nothing known" if schema.value is None else schema.value.name or schema.value.type.name
                raise DataError(f"Protobuf has no array of {what} (field {name}): put each into a struct")
            schema = schema.value
        elif not in_oneof and self._options.optional_for_nullables and schema.optional:
            message.optional.append(made)
        self._set_type(message, made, schema)
        return made

    def _set_type(self, message: _Message, made: Any, schema: Schema) -> None:
        said: dict[str, str] = {}
        if schema.name in _LOGICAL:
            type_name, file = _LOGICAL[str(schema.name)]
            self._message_type(made, type_name, file)
            if schema.name == DECIMAL_NAME:
                for parameter, name in ((PRECISION, META_PRECISION), ("scale", META_SCALE)):
                    if (value := schema.parameter(parameter)) is not None:
                        said[name] = value
        elif schema.type is Type.STRUCT:
            made.type, made.type_name = _Field.TYPE_MESSAGE, self._nested(message, made.name, schema)
        elif schema.type in (Type.STRING, Type.INT32) and schema.parameter(ENUM) is not None:
            made.type, made.type_name = _Field.TYPE_ENUM, self._enum(message, schema)
        else:
            made.type = _primitive(schema)
            if schema.type in _SMALL:
                said[META_TYPE] = _SMALL[schema.type]
            if _is_wrapped(schema, self._options):
                self._message_type(made, f"google.protobuf.{_WRAPPERS[made.type]}", WRAPPERS_FILE)
        if said:
            self._import(META)
            field_meta(made).update(said)

    def _message_type(self, made: Any, full_name: str, file: str) -> None:
        made.type, made.type_name = _Field.TYPE_MESSAGE, f".{full_name}"
        self._import(file)

    def _import(self, file: str) -> None:
        if file not in self._file.dependency:
            self._file.dependency.append(file)

    def _nested(self, message: _Message, field_name: str, schema: Schema) -> str:
        name = self._last_name(schema)
        if name == field_name:
            # A message cannot have a type and a field of one name.
            name += "Message"
        full_name = f"{message.full_name}.{name}"
        if _defines(message, name, schema.fields):
            self._fill(_Message(message.proto.nested_type.add(name=name), full_name), schema)
        return f".{full_name}"

    def _enum(self, message: _Message, schema: Schema) -> str:
        name = _field_name(str(schema.parameter(ENUM)).rpartition(".")[2], self._options)
        numbers = _symbols(schema)
        if _defines(message, name, numbers):
            enum = message.proto.enum_type.add(name=name)
            # In proto3 the first one is the one that is not written.
            for symbol, number in sorted(numbers.items(), key=lambda each: each[1] != 0):
                enum.value.add(name=symbol, number=number)
            if len(set(numbers.values())) < len(numbers):
                enum.options.allow_alias = True
        return f".{message.full_name}.{name}"

    def _map_entry(self, message: _Message, name: str, schema: Schema) -> str:
        key, value = schema.key, schema.value
        if key is None or value is None or value.type in (Type.ARRAY, Type.MAP) or is_union(value):
            what = "nothing known" if key is None or value is None else value.name or value.type.name
            raise DataError(f"Protobuf has no map of {what} (field {name}): put each value into a struct")
        # The name is not free: it says of which field these are the entries.
        entry = message.proto.nested_type.add(name=default_json_name(f"_{name}") + "Entry")
        entry.options.map_entry = is_map(schema, self._options)
        for number, (each, part) in enumerate({"key": key, "value": value}.items(), 1):
            made = entry.field.add(name=each, number=number, label=_Field.LABEL_OPTIONAL)
            self._set_type(message, made, part)
        return f".{message.full_name}.{entry.name}"


def is_map(schema: Schema, options: ProtobufOptions) -> bool:
    """Whether a map is one of Protobuf: others are lists of entries."""
    key = schema.key
    return (
        key is not None
        and key.type in _KEYS
        and key.name not in _LOGICAL
        and not (key.parameter(ENUM) is not None or _is_wrapped(key, options))
    )


def _defines(message: _Message, name: str, made_of: Any) -> bool:
    """Whether a type is to be made: it is not there yet."""
    if name not in message.types:
        message.types[name] = made_of
        return True
    if message.types[name] != made_of:
        raise DataError(f"Two types that differ are called {name} in {message.full_name}, which Protobuf cannot have")
    return False


def _tag(schema: Schema) -> int | None:
    tag = schema.parameter(TAG)
    if tag is None:
        return None
    if not tag.isdecimal() or not int(tag):
        raise DataError(f"{TAG} is {tag}: it is a field's number, from 1")
    return int(tag)


def _numbers(schema: Schema) -> Iterator[int]:
    """Numbers for those fields that do not say theirs."""
    said = {_tag(each.schema) for each in schema.fields}
    said |= {_tag(each.schema) for union in schema.fields if is_union(union.schema) for each in union.schema.fields}
    # Protobuf keeps 19000 to 19999 for itself.
    return (number for number in count(1) if number not in said and not 19_000 <= number < 20_000)


def _symbols(schema: Schema) -> dict[str, int]:
    prefix = f"{ENUM}."
    try:
        return {name.removeprefix(prefix): int(number) for name, number in schema.parameters if name.startswith(prefix)}
    except ValueError:
        raise DataError(f"Parameters {prefix}… of schema {schema.name} are symbols with their numbers") from None


# Values.


def _writer(schema: Schema, options: ProtobufOptions) -> Write:
    """Of what is no null."""
    match schema.type:
        case Type.STRUCT:
            return _union_writer(schema, options) if is_union(schema) else _struct_writer(schema, options)
        case Type.ARRAY:
            assert schema.value is not None
            write_each = _there(_writer(schema.value, options))
            return lambda value: [write_each(each) for each in expect(schema, value, list, tuple)]
        case Type.MAP:
            assert schema.key is not None and schema.value is not None
            write_key, write_value = (_there(_writer(each, options)) for each in (schema.key, schema.value))
            if is_map(schema, options):
                return lambda value: {
                    write_key(key): write_value(each) for key, each in expect(schema, value, dict).items()
                }
            return lambda value: [
                {"key": write_key(key), "value": write_value(each)} for key, each in expect(schema, value, dict).items()
            ]
    if schema.name in _LOGICAL:
        return _logical_writer(schema)
    write = _plain_writer(schema)
    return (lambda value: {"value": write(value)}) if _is_wrapped(schema, options) else write


def _there(write: Write) -> Write:
    def write_or_refuse(value: Any) -> Any:
        if value is None:
            raise DataError("Protobuf has no null in an array or a map")
        return write(value)

    return write_or_refuse


def _struct_writer(schema: Schema, options: ProtobufOptions) -> Write:
    # A value of exactly the class that is first goes as it is.
    fields: list[tuple[Any, str, Any, bool, Write]] = []
    for each in schema.fields:
        name = "" if is_union(each.schema) else _field_name(each.name, options)
        write = _writer(each.schema, options)
        fields.append((_as_it_is(each.schema, options), name, each.schema.default, each.schema.optional, write))

    def write_struct(value: Any) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for (fitting, name, default, optional, write), each in zip(
            fields, expect_struct(schema, value).values, strict=True
        ):
            if each is None:
                each = default
            if type(each) is fitting:
                made[name] = each
            elif each is not None:
                if name:
                    made[name] = write(each)
                else:
                    made.update(write(each))
            elif not optional:
                raise DataError(f"Found null value for required field {name or 'of a union'}")
        return made

    return write_struct


def _as_it_is(schema: Schema, options: ProtobufOptions) -> Any:
    if schema.name in _LOGICAL or schema.parameter(ENUM) is not None or _is_wrapped(schema, options):
        return _Nothing
    if schema.type in (Type.INT32, Type.INT64):
        return _Nothing if _primitive(schema) in _UNSIGNED_64 else int
    return schema.fitting or _Nothing


class _Nothing:
    """The class of no value."""


def _union_writer(schema: Schema, options: ProtobufOptions) -> Write:
    fields = [(_field_name(each.name, options), _writer(_member(each.schema), options)) for each in schema.fields]

    def write(value: Any) -> dict[str, Any]:
        for (name, write_field), each in zip(fields, expect(schema, value, Struct).values, strict=True):
            if each is not None:
                return {name: write_field(each)}
        raise DataError("Cannot find non-null field")

    return write


def _logical_writer(schema: Schema) -> Write:
    if schema.name == DECIMAL_NAME:
        scale = decimal_scale(schema)

        def write_decimal(value: Any) -> dict[str, Any]:
            raw = bytes_from_decimal(schema, checked(schema, value))
            return {"value": raw, "precision": len(value.as_tuple().digits), "scale": scale}

        return write_decimal
    by_name: dict[str, Write] = {
        DATE_NAME: _write_date,
        TIME_NAME: _write_time,
        TIMESTAMP_NAME: _write_timestamp,
    }
    write = by_name[str(schema.name)]
    return lambda value: write(checked(schema, value))


def _write_date(value: date) -> dict[str, int]:
    return {"year": value.year, "month": value.month, "day": value.day}


def _write_time(value: time) -> dict[str, int]:
    nanos = value.microsecond // 1000 * 1_000_000
    return {"hours": value.hour, "minutes": value.minute, "seconds": value.second, "nanos": nanos}


def _write_timestamp(value: datetime) -> dict[str, int]:
    seconds, ms = divmod(ms_from_timestamp(value), 1000)
    return {"seconds": seconds, "nanos": ms * 1_000_000}


def _plain_writer(schema: Schema) -> Write:
    if schema.parameter(ENUM) is not None and schema.type is Type.STRING:
        numbers = _symbols(schema)

        def write_symbol(value: Any) -> int:
            if type(value) is not str or value not in numbers:
                raise DataError(f"{value!r} is no symbol of enum {schema.parameter(ENUM)}: {', '.join(numbers)}")
            return numbers[value]

        return write_symbol
    if schema.type is Type.INT64 and _primitive(schema) in _UNSIGNED_64:
        # Connect has no such integer: those from 2**63 on are negative, as in Java.
        return lambda value: checked(schema, value) & 0xFFFF_FFFF_FFFF_FFFF
    return lambda value: checked(schema, value)

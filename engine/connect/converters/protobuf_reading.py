"""Protobuf's messages as Connect's schemas, and their values (``ProtobufData.toConnectSchema``, ``toConnectData``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal
from operator import attrgetter
from typing import Any

from google.protobuf import descriptor_pb2

from engine.connect import data
from engine.connect.converters.fitting import holds_itself
from engine.connect.converters.protobuf_files import field_meta
from engine.connect.converters.protobuf_names import (
    DATE_MESSAGE,
    DECIMAL_MESSAGE,
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
    ProtobufOptions,
)
from engine.connect.data import Field, Schema, Struct, Type
from engine.connect.errors import DataError

Read = Callable[[Any], Any]
"""A value that a message has for a field, as Connect's."""
Bind = Callable[[Schema], Read]
"""What reads values with a schema: structs that are read have the schema of the field that they are in."""

_Field = descriptor_pb2.FieldDescriptorProto
_PRIMITIVES = {
    _Field.TYPE_INT32: data.INT32,
    _Field.TYPE_INT64: data.INT64,
    _Field.TYPE_FLOAT: data.FLOAT32,
    _Field.TYPE_DOUBLE: data.FLOAT64,
    _Field.TYPE_BOOL: data.BOOLEAN,
    _Field.TYPE_STRING: data.STRING,
    _Field.TYPE_BYTES: data.BYTES,
}
# What else is an integer, by its name in files.
_INTEGERS = {
    _Field.TYPE_SINT32: (data.INT32, "sint32"),
    _Field.TYPE_SFIXED32: (data.INT32, "sfixed32"),
    _Field.TYPE_UINT32: (data.INT64, "uint32"),
    _Field.TYPE_FIXED32: (data.INT64, "fixed32"),
    _Field.TYPE_UINT64: (data.INT64, "uint64"),
    _Field.TYPE_SINT64: (data.INT64, "sint64"),
    _Field.TYPE_FIXED64: (data.INT64, "fixed64"),
    _Field.TYPE_SFIXED64: (data.INT64, "sfixed64"),
}
_UNSIGNED_64 = (_Field.TYPE_UINT64, _Field.TYPE_FIXED64)
_SMALL = {"int8": (data.INT8, 1 << 7), "int16": (data.INT16, 1 << 15)}
_WRAPPED = {
    "google.protobuf.DoubleValue": data.FLOAT64,
    "google.protobuf.FloatValue": data.FLOAT32,
    "google.protobuf.Int64Value": data.INT64,
    "google.protobuf.UInt64Value": Schema(Type.INT64, parameters=((TYPE, "uint64"),)),
    "google.protobuf.Int32Value": data.INT32,
    "google.protobuf.UInt32Value": Schema(Type.INT64, parameters=((TYPE, "uint32"),)),
    "google.protobuf.BoolValue": data.BOOLEAN,
    "google.protobuf.StringValue": data.STRING,
    "google.protobuf.BytesValue": data.BYTES,
}


def connect_of(message: Any, options: ProtobufOptions, version: int | None = None) -> tuple[Schema, Read]:
    """Connect's schema of a message's descriptor, and what makes values with it of objects of the message's class.

    Args:
        version: of the schema in its subject, which becomes the version of Connect's.

    Raises:
        DataError: Connect cannot have it. What it gives raises DataError and ValueError for values that do not fit.
    """
    schema: Schema
    if options.wrapper_for_raw_primitives and message.full_name in _WRAPPED:
        schema, bind = _WRAPPED[message.full_name], _wrapped(message)
    else:
        schema, bind = _Reading(options).message(message)
    if version is not None:
        schema = replace(schema, version=version)
    return schema, bind(schema)


class _Reading:
    """Of one top-level message."""

    def __init__(self, options: ProtobufOptions) -> None:
        self._options = options
        self._known: dict[str, tuple[Schema, Bind]] = {}
        self._open: set[str] = set()

    def _name(self, descriptor: Any) -> str:
        return str(descriptor.full_name if self._options.enhanced else descriptor.name)

    def message(self, message: Any) -> tuple[Schema, Bind]:
        """A struct."""
        full_name = message.full_name
        if full_name in self._open:
            raise holds_itself(full_name)
        if full_name not in self._known:
            self._open.add(full_name)
            self._known[full_name] = self._message(message)
            self._open.discard(full_name)
        return self._known[full_name]

    def _message(self, message: Any) -> tuple[Schema, Bind]:
        proto = descriptor_pb2.DescriptorProto()
        message.CopyToProto(proto)
        fields: list[tuple[str, Schema]] = []
        unions: list[Read] = []
        members = {each.number for each in proto.field if each.HasField("oneof_index") and not each.proto3_optional}
        by_number = {each.number: each for each in proto.field}
        for index, oneof in enumerate(message.oneofs):
            if oneof.fields[0].number not in members:
                continue  # a field with the label optional
            schema, read = self._union(oneof, by_number)
            fields.append((f"{oneof.name}_{index}" if self._options.index_for_unions else oneof.name, schema))
            unions.append(read)
        names: list[str] = []
        special: list[tuple[int, str | None, Read | None]] = []
        for each in message.fields:
            if each.number in members:
                continue
            schema, read_field = self._field(each, by_number[each.number])
            has = self._may_be_absent(each, by_number[each.number])
            if has or read_field is not None:
                special.append((len(names), each.name if has else None, read_field))
            fields.append((each.name, schema))
            names.append(each.name)
        made = tuple(Field(name, index, schema) for index, (name, schema) in enumerate(fields))
        if len({each.name for each in made}) < len(made):
            raise DataError(f"A oneof and a field of {message.full_name} are called the same in Connect")
        struct = Schema(Type.STRUCT, name=self._name(message), fields=made)
        return struct, _struct_reader(message, names, special, unions)

    def _may_be_absent(self, field: Any, proto: Any) -> bool:
        if proto.label == _Field.LABEL_REPEATED:
            return False
        if field.message_type is not None:
            is_struct = field.message_type.full_name not in _LOGICAL and not self._unwraps(field.message_type)
            return not (is_struct and self._options.struct_for_nulls)
        return self._has_label(field, proto) and (proto.proto3_optional or self._options.optional_for_proto2)

    @staticmethod
    def _has_label(field: Any, proto: Any) -> bool:
        """Whether a field says ``optional``, or is so by its file's edition."""
        explicit = field.has_presence and proto.label == _Field.LABEL_OPTIONAL
        return bool(proto.proto3_optional or (explicit and not proto.HasField("oneof_index")))

    def _unwraps(self, message: Any) -> bool:
        return self._options.wrapper_for_nullables and message.full_name in _WRAPPED

    def _union(self, oneof: Any, protos: dict[int, Any]) -> tuple[Schema, Read]:
        made: list[Field] = []
        readers: dict[str, tuple[int, Read | None]] = {}
        for index, each in enumerate(oneof.fields):
            schema, read_field = self._field(each, protos[each.number])
            # One of them has a value, whatever the options say of optional fields.
            made.append(Field(each.name, index, schema.as_optional()))
            readers[each.name] = index, read_field
        name = f"{oneof.containing_type.full_name}.{oneof.name}" if self._options.enhanced else oneof.name
        union = Schema(Type.STRUCT, True, name=f"{UNION}.{name}", fields=tuple(made))
        size, oneof_name = len(made), oneof.name

        def read(message: Any) -> Struct | None:
            member = message.WhichOneof(oneof_name)
            if member is None:
                return None
            values: list[Any] = [None] * size
            index, read_member = readers[member]
            value = getattr(message, member)
            values[index] = value if read_member is None else read_member(value)
            return Struct.of(union, values)

        return union, read

    def _field(self, field: Any, proto: Any) -> tuple[Schema, Read | None]:
        """A field's schema, and what makes values with it; None if they are as they come."""
        bind: Bind | None
        repeated = proto.label == _Field.LABEL_REPEATED
        if repeated and _is_map(field.message_type):
            schema, bind = self._map(field.message_type)
        elif repeated:
            element, bind_each = self._type(field, proto)
            element = element.as_optional()
            schema, bind = data.array(element, optional=True), _array(bind_each and bind_each(element))
        else:
            schema, bind = self._type(field, proto)
        options = self._options
        optional = schema.optional or (
            self._has_label(field, proto) if options.optional_for_nullables else not options.wrapper_for_nullables
        )
        schema = replace(schema, optional=optional, parameters=(*schema.parameters, (TAG, str(field.number))))
        return schema, None if bind is None else bind(schema)

    def _type(self, field: Any, proto: Any) -> tuple[Schema, Bind | None]:
        kind = proto.type
        if kind == _Field.TYPE_ENUM:
            return self._enum(field.enum_type)
        if kind == _Field.TYPE_MESSAGE:
            return self._of_message(field.message_type, proto)
        if kind in (_Field.TYPE_INT32, _Field.TYPE_SINT32, _Field.TYPE_SFIXED32):
            small = _SMALL.get(_said(proto).get(META_TYPE, ""))
            if small is not None:
                return small[0], _small(*small)
        if kind in _INTEGERS:
            schema, name = _INTEGERS[kind]
            return replace(schema, parameters=((TYPE, name),)), _signed if kind in _UNSIGNED_64 else None
        if kind not in _PRIMITIVES:
            raise DataError(f"Connect has nothing for field {field.full_name}, which is a group")
        return _PRIMITIVES[kind], None

    def _enum(self, enum: Any) -> tuple[Schema, Bind | None]:
        numbers = {each.name: each.number for each in enum.values}
        said = {ENUM: enum.name, **{f"{ENUM}.{name}": str(number) for name, number in numbers.items()}}
        as_number = self._options.int_for_enums
        kind = Type.INT32 if as_number else Type.STRING
        schema = Schema(kind, True, name=self._name(enum), parameters=tuple(said.items()))
        if as_number:
            return schema, None
        # Of several symbols with one number the first is meant.
        symbols = {number: name for name, number in reversed(numbers.items())}
        unknown = f"UNKNOWN_ENUM_VALUE_{enum.name}_"

        def read(number: int) -> str:
            return symbols.get(number) or f"{unknown}{number}"

        return schema, lambda _: read

    def _of_message(self, message: Any, proto: Any) -> tuple[Schema, Bind]:
        if message.full_name == DECIMAL_MESSAGE:
            said = _said(proto)
            scale, precision = (_number(said.get(each)) for each in (META_SCALE, META_PRECISION))
            schema = data.decimal(scale or 0, optional=True)
            if precision is not None:
                schema = replace(schema, parameters=(*schema.parameters, (PRECISION, str(precision))))
            return schema, lambda _: _read_decimal
        if message.full_name in _LOGICAL:
            schema, read = _LOGICAL[message.full_name]
            return schema.as_optional(), lambda _: read
        if self._unwraps(message):
            small = _SMALL.get(_said(proto).get(META_TYPE, ""))
            if small is not None and message.full_name == "google.protobuf.Int32Value":
                check = _small(*small)(small[0])
                return small[0].as_optional(), lambda _: lambda value: check(value.value)
            return _WRAPPED[message.full_name].as_optional(), _wrapped(message)
        schema, bind = self.message(message)
        return schema.as_optional(), bind

    def _map(self, entry: Any) -> tuple[Schema, Bind]:
        protos = descriptor_pb2.DescriptorProto()
        entry.CopyToProto(protos)
        (key, read_key), (value, read_value) = map(self._field, entry.fields, protos.field)
        name = _map_name(self._name(entry))
        is_map = entry.GetOptions().map_entry
        return data.map_of(key, value, optional=True, name=name), _map_reader(read_key, read_value, is_map)


def _struct_reader(
    message: Any, names: list[str], special: list[tuple[int, str | None, Read | None]], unions: list[Read]
) -> Bind:
    """Of structs: what fields have is got at once, and changed where it is not Connect's value yet."""
    get: Callable[[Any], tuple[Any, ...]]
    if len(names) > 1:
        get = attrgetter(*names)
    elif names:
        only = attrgetter(names[0])

        def get(message: Any) -> tuple[Any, ...]:
            return (only(message),)
    else:

        def get(message: Any) -> tuple[Any, ...]:
            return ()

    def bind(schema: Schema) -> Read:
        def read(message: Any) -> Struct:
            values = list(get(message))
            for index, name, read_field in special:
                if name is not None and not message.HasField(name):
                    values[index] = None
                elif read_field is not None:
                    values[index] = read_field(values[index])
            if unions:
                values = [*(each(message) for each in unions), *values]
            return Struct.of(schema, values)

        return read

    return bind


def _said(proto: Any) -> dict[str, str]:
    """What a field says beyond Protobuf."""
    return dict(field_meta(proto)) if proto.HasField("options") else {}


def _is_map(message: Any) -> bool:
    """Whether a repeated field's messages are entries; Confluent's converter knows them by their names."""
    if message is None or not message.name.endswith("Entry"):
        return False
    proto = descriptor_pb2.DescriptorProto()
    message.CopyToProto(proto)
    repeated = _Field.LABEL_REPEATED
    return [(each.name, each.label == repeated) for each in proto.field] == [("key", False), ("value", False)]


def _map_name(entry: str) -> str:
    """``TagsEntry`` is of the field ``tags``, ``BestPricesEntry`` of ``best_prices``."""
    package, dot, name = entry.removesuffix("Entry").rpartition(".")
    made = "".join(f"_{each.lower()}" if each.isupper() else each for each in name).removeprefix("_")
    return f"{package}{dot}{made}"


def _map_reader(read_key: Read | None, read_value: Read | None, is_map: bool) -> Bind:
    of_key, of_value = read_key or _same, read_value or _same

    def read(entries: Any) -> dict[Any, Any]:
        if not is_map:
            return {of_key(each.key): of_value(each.value) for each in entries}
        if read_key is None and read_value is None:
            return dict(entries)
        return {of_key(key): of_value(value) for key, value in entries.items()}

    return lambda _: read


def _array(read_each: Read | None) -> Bind:
    return lambda _: list if read_each is None else lambda values: [read_each(each) for each in values]


def _wrapped(message: Any) -> Bind:
    if message.full_name == "google.protobuf.UInt64Value":
        return lambda _: lambda value: _as_signed(value.value)
    return lambda _: attrgetter("value")


def _small(schema: Schema, limit: int) -> Bind:
    def read(value: int) -> int:
        if not -limit <= value < limit:
            raise DataError(f"{value} is out of the range of {schema.type.name}")
        return value

    return lambda _: read


def _signed(_: Schema) -> Read:
    return _as_signed


def _as_signed(value: int) -> int:
    """Connect has no such integer: those from 2**63 on are negative, as in Java."""
    return value - (1 << 64) if value >> 63 else value


def _same(value: Any) -> Any:
    return value


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _read_decimal(value: Any) -> Decimal:
    if not value.value:
        raise DataError("A decimal has no bytes")
    return data.decimal_from_unscaled(int.from_bytes(value.value, "big", signed=True), value.scale)


def _read_date(value: Any) -> date:
    return date(value.year, value.month, value.day)


def _read_time(value: Any) -> time:
    return time(value.hours, value.minutes, value.seconds, value.nanos // 1_000_000 * 1000)


def _read_timestamp(value: Any) -> datetime:
    return data.timestamp_from_ms(value.seconds * 1000 + value.nanos // 1_000_000)


_LOGICAL: dict[str, tuple[Schema, Read]] = {
    DECIMAL_MESSAGE: (data.decimal(0), _read_decimal),
    DATE_MESSAGE: (data.DATE, _read_date),
    TIME_MESSAGE: (data.TIME, _read_time),
    TIMESTAMP_MESSAGE: (data.TIMESTAMP, _read_timestamp),
}

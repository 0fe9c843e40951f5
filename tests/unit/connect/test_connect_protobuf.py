"""Connect's schemas and values in Protobuf and back, without a registry: what Confluent's ProtobufData makes of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.connect import data
from engine.connect.converters.protobuf_files import ProtobufFile
from engine.connect.converters.protobuf_names import ENUM, TAG, TYPE, UNION, ProtobufOptions
from engine.connect.converters.protobuf_reading import connect_of
from engine.connect.converters.protobuf_writing import file_of, value_writer
from engine.connect.data import Schema, Struct, Type
from engine.connect.errors import DataError
from engine.protobuf.files import compiled
from engine.protobuf.text import file_text

PLAIN = ProtobufOptions()
ADDRESS = data.struct({"city": data.STRING}, name="shop.Address", optional=True)


def enum(*symbols: str, kind: Type = Type.STRING) -> Schema:
    said = ((ENUM, "Color"), *((f"{ENUM}.{each}", str(index)) for index, each in enumerate(symbols)))
    return Schema(kind, True, name="Color", parameters=said)


def union(name: str, **members: Schema) -> Schema:
    optional = {each: schema.as_optional() for each, schema in members.items()}
    return data.struct(optional, name=f"{UNION}.{name}", optional=True)


ORDER = data.struct(
    {
        "kind_0": union("kind", number=data.INT32, address=ADDRESS),
        "id": data.INT64,
        "small": data.INT8,
        "note": data.STRING.as_optional(),
        "price": data.decimal(2),
        "at": data.TIMESTAMP,
        "on": data.DATE,
        "to": ADDRESS,
        "tags": data.map_of(data.STRING, data.INT32),
        "best_places": data.map_of(data.INT32, ADDRESS),
        "color": enum("RED", "BLUE"),
        "odd": data.array(data.TIME),
    },
    name="shop.Order",
)
ORDER_TEXT = """syntax = "proto3";
package shop;

import "confluent/meta.proto";
import "confluent/type/decimal.proto";
import "google/protobuf/timestamp.proto";
import "google/type/date.proto";
import "google/type/timeofday.proto";

message Order {
  oneof kind {
    int32 number = 1;
    .shop.Order.Address address = 2;
  }
  int64 id = 3;
  int32 small = 4 [(confluent.field_meta) = { params: [{ key: "connect.type", value: "int8" }] }];
  string note = 5;
  .confluent.type.Decimal price = 6 [(confluent.field_meta) = { params: [{ key: "scale", value: "2" }] }];
  .google.protobuf.Timestamp at = 7;
  .google.type.Date on = 8;
  .shop.Order.Address to = 9;
  map<string, int32> tags = 10;
  map<int32, .shop.Order.Address> best_places = 11;
  .shop.Order.Color color = 12;
  repeated .google.type.TimeOfDay odd = 13;
  message Address {
    string city = 1;
  }
  enum Color {
    RED = 0;
    BLUE = 1;
  }
}
"""


def in_file(schema: Schema, options: ProtobufOptions = PLAIN) -> tuple[Any, Any, Any]:
    """What a schema becomes: the file's descriptor, the message's, and the message's class."""
    descriptor, name = file_of(schema, options)
    file = ProtobufFile(descriptor, {})
    message = file.message(file.path(name))
    return descriptor, message, file.class_of(message)


def there_and_back(schema: Schema, value: Any, options: ProtobufOptions = PLAIN) -> tuple[Schema, Any]:
    _, message, cls = in_file(schema, options)
    raw = cls(**value_writer(schema, options)(value)).SerializeToString()
    found, read = connect_of(message, options)
    return found, read(cls.FromString(raw))


def of_text(text: str, options: ProtobufOptions = PLAIN) -> tuple[Schema, Any, Any]:
    """Of the last message of a file: Connect's schema, the class, and what reads its objects."""
    file = ProtobufFile(*compiled(text, ()))
    message = file.message((text.count("\nmessage ") - 1,))
    schema, read = connect_of(message, options)
    return schema, file.class_of(message), read


def shown(value: Any) -> Any:
    """A value that can be compared whatever its schema is called."""
    match value:
        case Struct():
            names = [each.name for each in value.schema.fields]
            return dict(zip(names, map(shown, value.values), strict=True))
        case list():
            return [shown(each) for each in value]
        case dict():
            return {key: shown(each) for key, each in value.items()}
    return value


def test_a_schema_is_written_as_confluents_converter_writes_it() -> None:
    descriptor, _, _ = in_file(ORDER)
    assert file_text(descriptor) == ORDER_TEXT
    understood, _ = compiled(ORDER_TEXT, ())
    assert file_text(understood) == ORDER_TEXT


def test_a_value_comes_back_with_unions_first_and_names_without_packages() -> None:
    address = Struct(ADDRESS, {"city": "Oslo"})
    kind = ORDER.fields[0].schema
    values = {
        "kind_0": Struct(kind, {"address": address}),
        "id": 1 << 40,
        "small": -128,
        "price": Decimal("-1.50"),
        "at": datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
        "on": date(2024, 2, 29),
        "to": address,
        "tags": {"a": 1},
        "best_places": {-1: address},
        "color": "BLUE",
        "odd": [time(23, 59, 59, 999000)],
    }
    schema, value = there_and_back(ORDER, Struct(ORDER, values))
    value.validate()
    assert schema.name == "Order"
    assert [each.name for each in schema.fields] == [each.name for each in ORDER.fields]
    city = {"city": "Oslo"}
    # That a text had no value is lost, as Protobuf writes neither: optional.for.nullables keeps it.
    expected = {**values, "kind_0": {"number": None, "address": city}, "to": city, "best_places": {-1: city}}
    assert shown(value) == {"note": "", **expected}
    assert {each.schema.parameter(TAG) for each in schema.fields if each.name in ("id", "odd")} == {"3", "13"}


# What Protobuf can have, at random.

INTEGERS = {Type.INT8: 7, Type.INT16: 15, Type.INT32: 31, Type.INT64: 63}
PRIMITIVES = [*map(Schema, INTEGERS), data.FLOAT32, data.FLOAT64, data.BOOLEAN, data.STRING, data.BYTES]
LOGICAL = [data.decimal(2), data.DATE, data.TIME, data.TIMESTAMP]
TYPED = [Schema(Type.INT64, parameters=((TYPE, each),)) for each in ("uint64", "sint64", "fixed64", "sfixed64")]
SCALARS = st.one_of(
    st.sampled_from([*PRIMITIVES, *LOGICAL, *TYPED]), st.sampled_from([enum("A", "B").as_required()])
).flatmap(lambda schema: st.sampled_from([schema, schema.as_optional()]))
KEYS = st.sampled_from([data.STRING, data.INT32, data.INT64, data.BOOLEAN, data.FLOAT64])


def fields_of(depth: int) -> st.SearchStrategy[Schema]:
    if not depth:
        return SCALARS
    inner = st.one_of(SCALARS.map(Schema.as_required), structs(depth - 1))
    return st.one_of(
        SCALARS,
        structs(depth - 1),
        inner.map(data.array),
        st.builds(data.map_of, KEYS, inner),
    )


def structs(depth: int) -> st.SearchStrategy[Schema]:
    fields = st.lists(fields_of(depth), max_size=4)
    members = st.lists(SCALARS.map(Schema.as_optional), max_size=3)
    return st.builds(_struct, members, fields, st.booleans())


def _struct(members: list[Schema], fields: list[Schema], optional: bool) -> Schema:
    made: dict[str, Schema] = {}
    if members:
        made["which_0"] = union("which", **{f"m{index}": each for index, each in enumerate(members)})
    made |= {f"f_{index}": each for index, each in enumerate(fields)}
    return data.struct(made, optional=optional)


def values_of(schema: Schema) -> st.SearchStrategy[Any]:
    made = _values_of(schema)
    return st.one_of(st.none(), made) if schema.optional else made


def _values_of(schema: Schema) -> st.SearchStrategy[Any]:
    match schema.name:
        case data.DECIMAL_NAME:
            return st.integers(-(1 << 80), 1 << 80).map(lambda number: Decimal(number).scaleb(-2))
        case data.DATE_NAME:
            return st.dates()
        case data.TIME_NAME:
            return st.integers(0, data.MS_PER_DAY - 1).map(data.time_from_ms)
        case data.TIMESTAMP_NAME:
            return st.integers(-62_000_000_000_000, 250_000_000_000_000).map(data.timestamp_from_ms)
    if schema.parameter(ENUM) is not None:
        return st.sampled_from(["A", "B"])
    if schema.type in INTEGERS:
        return st.integers(-(1 << INTEGERS[schema.type]), (1 << INTEGERS[schema.type]) - 1)
    match schema.type:
        case Type.FLOAT32 | Type.FLOAT64:
            return st.floats(width=32, allow_nan=False)
        case Type.BOOLEAN:
            return st.booleans()
        case Type.STRING:
            return st.text(max_size=5)
        case Type.BYTES:
            return st.binary(max_size=5)
        case Type.ARRAY:
            assert schema.value is not None
            return st.lists(_values_of(schema.value), max_size=3)
        case Type.MAP:
            assert schema.key is not None and schema.value is not None
            return st.dictionaries(_values_of(schema.key), _values_of(schema.value), max_size=2)
    if schema.name is not None:
        each = st.sampled_from(schema.fields)
        return each.flatmap(
            lambda field: _values_of(field.schema).map(lambda value: Struct(schema, {field.name: value}))
        )
    return st.tuples(*(values_of(each.schema) for each in schema.fields)).map(
        lambda values: Struct.of(schema, list(values))
    )


@pytest.mark.parametrize("option", ["optional_for_nullables", "wrapper_for_nullables"])
@settings(deadline=None, max_examples=20)
@given(choices=st.data())
def test_schemas_and_values_with_nulls_come_back(option: str, choices: st.DataObject) -> None:
    schema = choices.draw(structs(2)).as_required()
    value = choices.draw(_values_of(schema))
    options = ProtobufOptions(enhanced=True, **{option: True})
    found, again = there_and_back(schema, value, options)
    expected, seen = shown(value), shown(again)
    if option == "wrapper_for_nullables":
        # An enum has no wrapper.
        expected, seen = _with_first_symbols(schema, value), _with_first_symbols(found, again)
    assert seen == expected
    again.validate()
    # Messages, enums and what arrays have are always optional when read, as with Confluent's; then it stays so.
    last, same = there_and_back(found, again, options)
    assert shown(same) == shown(again)
    assert file_text(file_of(last, options)[0]) == file_text(file_of(found, options)[0])


def _with_first_symbols(schema: Schema, value: Any) -> Any:
    """As :func:`shown`, with an enum's first symbol where it has no value outside of unions."""
    if isinstance(value, Struct):
        is_union = str(value.schema.name).startswith(UNION)
        return {
            each.name: inner if is_union else _with_first_symbols(each.schema, inner)
            for each, inner in zip(value.schema.fields, value.values, strict=True)
        }
    if isinstance(value, list):
        assert schema.value is not None
        return [_with_first_symbols(schema.value, each) for each in value]
    if isinstance(value, dict):
        assert schema.value is not None
        return {key: _with_first_symbols(schema.value, each) for key, each in value.items()}
    return "A" if value is None and schema.parameter(ENUM) is not None else value


# What others write.

PARTS = """syntax = "proto3";
package shop;
import "google/protobuf/wrappers.proto";
import "confluent/type/decimal.proto";
import "google/protobuf/timestamp.proto";

message Part { int32 x = 1; }

message Whole {
  enum Color { option allow_alias = true; RED = 0; GREEN = 2; LIME = 2; }
  sint32 zigzag = 1;
  uint32 small = 2;
  fixed64 big = 3;
  Color color = 4;
  optional int32 maybe = 5;
  Part part = 6;
  google.protobuf.Int32Value wrapped = 7;
  map<string, Part> parts = 8;
  repeated Color colors = 9;
  confluent.type.Decimal amount = 10;
  google.protobuf.Timestamp at = 11;
  oneof _kind { string text = 12; Part other = 13; }
}
"""


def test_what_others_write_is_read() -> None:
    schema, cls, read = of_text(PARTS)
    whole = cls(zigzag=-5, small=(1 << 32) - 1, big=(1 << 64) - 1, color=7, wrapped={"value": 0}, colors=[2, 0])
    whole.parts["a"].x = 4
    whole.text = ""
    value = read(whole)
    value.validate()
    assert shown(value) == {
        "_kind_0": {"text": "", "other": None},
        "zigzag": -5,
        "small": (1 << 32) - 1,
        "big": -1,
        "color": "UNKNOWN_ENUM_VALUE_Color_7",
        "maybe": None,
        "part": None,
        "wrapped": {"value": 0},
        "parts": {"a": {"x": 4}},
        "colors": ["GREEN", "RED"],
        "amount": None,
        "at": None,
    }
    types = {each.name: each.schema.parameter(TYPE) for each in schema.fields if each.schema.parameter(TYPE)}
    assert types == {"zigzag": "sint32", "small": "uint32", "big": "fixed64"}
    color = schema.field("color")
    assert color is not None and dict(color.schema.parameters) == {
        ENUM: "Color",
        f"{ENUM}.RED": "0",
        f"{ENUM}.GREEN": "2",
        f"{ENUM}.LIME": "2",
        TAG: "4",
    }


def test_options_change_what_is_read() -> None:
    def read_with(**options: bool) -> tuple[Schema, Struct]:
        schema, cls, read = of_text(PARTS, ProtobufOptions(**options))
        return schema, read(cls(color=2, maybe=0, wrapped={"value": 3}))

    schema, value = read_with(int_for_enums=True, index_for_unions=False, struct_for_nulls=True)
    assert (value["color"], value["_kind"], shown(value["part"]), value["at"]) == (2, None, {"x": 0}, None)
    schema, value = read_with(enhanced=True, wrapper_for_nullables=True)
    assert (schema.name, value["wrapped"], value["maybe"]) == ("shop.Whole", 3, 0)
    assert [each.name for each in schema.fields if not each.schema.optional] == ["zigzag", "small", "big", "maybe"]
    schema, value = read_with(optional_for_nullables=True)
    assert [each.name for each in schema.fields if not each.schema.optional] == ["zigzag", "small", "big"]


def test_optional_fields_of_proto2_are_null_or_their_default() -> None:
    text = 'syntax = "proto2";\nmessage R { optional int32 a = 1 [default = 5]; required string b = 2; }\n'
    schema, cls, read = of_text(text, ProtobufOptions(optional_for_nullables=True))
    assert [each.schema.optional for each in schema.fields] == [True, False]
    assert read(cls(b="x")).values == [None, "x"]
    _, cls, read = of_text(text, ProtobufOptions(optional_for_proto2=False))
    assert read(cls(b="x")).values == [5, "x"]


@pytest.mark.parametrize(
    ("schema", "value", "wrapper"),
    [(data.INT8, 5, "Int32Value"), (data.STRING.as_optional(), "é", "StringValue"), (data.BYTES, b"\0", "BytesValue")],
)
def test_a_primitive_alone_is_a_wrapper(schema: Schema, value: Any, wrapper: str) -> None:
    _, message, _ = in_file(schema)
    assert message.full_name == f"google.protobuf.{wrapper}"
    assert there_and_back(schema, value)[1] == value
    assert shown(there_and_back(schema, value, ProtobufOptions(wrapper_for_raw_primitives=False))[1]) == {
        "value": value
    }


def test_numbers_of_fields_are_those_of_their_tags() -> None:
    tagged = Schema(Type.INT32, parameters=((TAG, "2"),))
    descriptor, _, _ = in_file(data.struct({"a": data.INT32, "b": tagged, "c": data.INT32}, name="R"))
    assert [each.number for each in descriptor.message_type[0].field] == [1, 2, 3]


def test_names_that_protobuf_cannot_have_are_scrubbed_where_that_is_wanted() -> None:
    schema = data.struct({"_a-b": data.struct({"é": data.INT32}, name="x.my-type")}, name="shop.or der")
    descriptor, _, _ = in_file(schema, ProtobufOptions(scrub=True))
    assert "message or_der {\n  .shop.or_der.my_type x_a_b = 1;" in file_text(descriptor)
    with pytest.raises(DataError, match=r"scrub\.invalid\.names"):
        file_of(schema, PLAIN)


def test_an_enums_zero_comes_first() -> None:
    said = ((ENUM, "Level"), (f"{ENUM}.HIGH", "2"), (f"{ENUM}.LOW", "0"), (f"{ENUM}.NONE", "0"))
    schema = data.struct({"level": Schema(Type.INT32, parameters=said)}, name="R")
    descriptor, _, _ = in_file(schema)
    assert [each.name for each in descriptor.message_type[0].enum_type[0].value] == ["LOW", "NONE", "HIGH"]
    assert there_and_back(schema, Struct(schema, {"level": 0}))[1]["level"] == "LOW"


def test_a_struct_that_is_called_as_its_field_gets_another_name() -> None:
    schema = data.struct({"part": data.struct({"x": data.INT32}, name="part")}, name="Whole")
    assert "message partMessage" in file_text(in_file(schema)[0])


def _nested(*parts: Schema) -> Schema:
    return data.struct({f"f{index}": each for index, each in enumerate(parts)}, name="R")


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (data.array(data.INT32), "put it into a struct"),
        (data.decimal(2), "put it into a struct"),
        (union("u", a=data.INT32), "put it into a struct"),
        (_nested(data.array(data.array(data.INT32))), "no array of ARRAY"),
        (_nested(data.map_of(data.STRING, data.array(data.INT32))), "no map of ARRAY"),
        (_nested(union("u", a=data.array(data.INT32))), "in a oneof"),
        (_nested(Schema(Type.INT32, parameters=((TAG, "x"),))), "field's number"),
        (_nested(*[Schema(Type.INT32, parameters=((TAG, "3"),))] * 2), "3"),
        (_nested(Schema(Type.INT32, parameters=((TYPE, "uint64"),))), "may be int32"),
        (_nested(enum("A"), enum("A", "B")), "Two types that differ are called Color"),
        (_nested(Schema(Type.STRING, parameters=((ENUM, "E"), (f"{ENUM}.A", "1")))), "zero"),
        (_nested(Schema(Type.STRING, parameters=((ENUM, "E"), (f"{ENUM}.A", "x")))), "symbols with their numbers"),
        (data.struct({}, name="a-b.R"), "no package"),
    ],
)
def test_schemas_that_protobuf_cannot_have_are_refused(schema: Schema, why: str) -> None:
    with pytest.raises(DataError, match=why):
        in_file(schema)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (data.STRING, None),
        (data.STRING, b"x"),
        (data.BOOLEAN, 1),
        (data.INT8, 128),
        (data.INT32, True),
        (data.INT32, 1 << 31),
        (data.FLOAT64, "1"),
        (data.array(data.INT32), [None]),
        (data.map_of(data.STRING, data.INT32), {"a": None}),
        (data.decimal(2), Decimal("1.5")),
        (data.DATE, datetime(2024, 1, 1, tzinfo=UTC)),
        (enum("A"), "B"),
        (ADDRESS, {"city": "Oslo"}),
        (union("u", a=data.INT32), Struct(union("u", a=data.INT32))),
        (Schema(Type.INT64, parameters=((TYPE, "uint32"),)), -1),
    ],
)
def test_values_that_do_not_fit_are_refused(schema: Schema, value: Any) -> None:
    with pytest.raises((DataError, ValueError, TypeError)):
        there_and_back(_nested(schema), Struct.of(_nested(schema), [value]))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('syntax = "proto3";\nmessage R { R next = 1; }\n', "holds itself"),
        ('syntax = "proto2";\nmessage R { optional group G = 1 { optional int32 a = 1; } }\n', "group"),
        ('syntax = "proto3";\nmessage R { int32 k_0 = 1; oneof k { int32 a = 2; } }\n', "called the same"),
    ],
)
def test_messages_that_connect_cannot_have_are_refused(text: str, why: str) -> None:
    with pytest.raises(DataError, match=why):
        of_text(text)


def test_moments_and_numbers_that_are_none_are_refused() -> None:
    text = """syntax = "proto3";
import "google/type/date.proto"; import "google/type/timeofday.proto"; import "confluent/type/decimal.proto";
import "google/protobuf/timestamp.proto"; import "confluent/meta.proto";
message R { google.type.Date d = 1; google.type.TimeOfDay t = 2; confluent.type.Decimal n = 3;
  google.protobuf.Timestamp at = 4;
  int32 i = 5 [(confluent.field_meta) = { params: [{ key: "connect.type", value: "int8" }] }]; }
"""
    schema, cls, read = of_text("\n" + text)
    assert schema.fields[4].schema.type is Type.INT8
    for wrong in (
        {"d": {"year": 2024}},
        {"t": {"hours": 24}},
        {"n": {}},
        {"at": {"seconds": 1 << 40}},
        {"i": 128},
    ):
        with pytest.raises((DataError, ValueError)):
            read(cls(**wrong))


def test_a_decimal_of_thousands_of_digits_comes_back() -> None:
    schema = data.struct({"n": data.decimal(2)}, name="R")
    long = Decimal((1, (7,) * 6000, -2))
    assert there_and_back(schema, Struct(schema, {"n": long}))[1]["n"] == long

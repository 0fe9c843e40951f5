"""Converters: values to bytes and back, and what they refuse."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from engine.connect import data
from engine.connect.config_def import ConfigDef
from engine.connect.converters.byte_array import ByteArrayConverter
from engine.connect.converters.converter import Converter
from engine.connect.converters.json import JsonConverter
from engine.connect.converters.primitives import (
    BooleanConverter,
    DoubleConverter,
    FloatConverter,
    IntegerConverter,
    LongConverter,
    ShortConverter,
)
from engine.connect.converters.string import StringConverter
from engine.connect.data import Schema, SchemaAndValue, Struct
from engine.connect.errors import ConfigError, ConnectError, DataError
from engine.connect.plugins import PluginType, find, listed


def configured(converter: Converter, **configs: Any) -> Converter:
    converter.configure({name.replace("_", "."): value for name, value in configs.items()}, False)
    return converter


def to_bytes(converter: Converter, schema: Schema | None, value: Any) -> bytes | None:
    made = converter.from_connect_data("t", None, schema, value)
    assert converter.encoder("t", schema)(value) == made
    assert converter.encode_batch("t", schema, [value, value]) == [made, made]
    return made


def from_bytes(converter: Converter, value: bytes | None) -> SchemaAndValue:
    read = converter.to_connect_data("t", None, value)
    assert converter.decoder("t")(value) == read
    return read


@pytest.mark.parametrize(
    ("cls", "schema", "value", "raw"),
    [
        (ShortConverter, data.INT16, -2, b"\xff\xfe"),
        (IntegerConverter, data.INT32, 258, b"\0\0\1\2"),
        (LongConverter, data.INT64, -1, b"\xff" * 8),
        (FloatConverter, data.FLOAT32, 1.5, b"\x3f\xc0\0\0"),
        (DoubleConverter, data.FLOAT64, 1.5, b"\x3f\xf8" + bytes(6)),
        (BooleanConverter, data.BOOLEAN, True, b"\1"),
        (ByteArrayConverter, data.BYTES, b"x", b"x"),
        (StringConverter, data.STRING, "é", "é".encode()),
    ],
)
def test_a_value_comes_back_with_an_optional_schema(
    cls: type[Converter], schema: Schema, value: Any, raw: bytes
) -> None:
    converter = configured(cls())
    assert to_bytes(converter, schema, value) == raw
    assert from_bytes(converter, raw) == (schema.as_optional(), value)
    assert to_bytes(converter, schema, None) is None
    assert from_bytes(converter, None) == (schema.as_optional(), None)


@pytest.mark.parametrize(
    ("cls", "schema", "value"),
    [
        (ShortConverter, data.INT16, 1 << 15),
        (IntegerConverter, data.INT32, "1"),
        (LongConverter, data.INT64, True),
        (FloatConverter, data.FLOAT32, 1e39),
        (BooleanConverter, data.BOOLEAN, 1),
        (BooleanConverter, data.STRING, True),
        (ByteArrayConverter, data.BYTES, "x"),
        (ByteArrayConverter, data.STRING, b"x"),
        (StringConverter, data.BYTES, b"x"),
    ],
)
def test_what_does_not_fit_a_converter_is_refused(cls: type[Converter], schema: Schema, value: Any) -> None:
    with pytest.raises(DataError):
        configured(cls()).from_connect_data("t", None, schema, value)


@pytest.mark.parametrize(("cls", "raw"), [(IntegerConverter, b"\0"), (BooleanConverter, b"\2")])
def test_bytes_of_another_size_are_refused(cls: type[Converter], raw: bytes) -> None:
    with pytest.raises(DataError):
        configured(cls()).to_connect_data("t", None, raw)


@pytest.mark.parametrize(
    ("schema", "value", "text"),
    [
        (data.FLOAT32, 1.100000023841858, "1.1"),
        (data.FLOAT64, 1e7, "1.0E7"),
        (data.FLOAT64, 0.0001, "1.0E-4"),
        (data.BOOLEAN, True, "true"),
        (None, {"a": [1, None]}, "{a=[1, null]}"),
        (None, Struct(data.struct({"a": data.FLOAT32, "b": data.STRING.as_optional()}), {"a": 0.1}), "Struct{a=0.1}"),
        (data.decimal(2), Decimal("1.10"), "1.10"),
        (data.TIMESTAMP, datetime(2024, 2, 29, 13, 5, 6, tzinfo=UTC), "Thu Feb 29 13:05:06 UTC 2024"),
    ],
)
def test_a_string_converter_writes_what_java_shows(schema: Schema | None, value: Any, text: str) -> None:
    assert to_bytes(configured(StringConverter()), schema, value) == text.encode()


def test_a_string_converter_knows_encodings() -> None:
    converter = configured(StringConverter(), converter_encoding="ISO-8859-1")
    assert to_bytes(converter, data.STRING, "é€") == b"\xe9?"
    assert from_bytes(converter, b"\xe9").value == "é"
    assert from_bytes(configured(StringConverter()), b"a\xff").value == "a\ufffd"
    with pytest.raises(ConfigError, match=r"converter\.encoding"):
        configured(StringConverter(), converter_encoding="none")


EVERYTHING = data.struct(
    {
        "i8": data.INT8,
        "i64": data.INT64.with_default(7),
        "f32": data.FLOAT32,
        "f64": data.FLOAT64,
        "flag": data.BOOLEAN.as_optional(),
        "text": data.STRING.named("kind", 3, "what it is"),
        "raw": data.BYTES,
        "list": data.array(data.INT32),
        "map": data.map_of(data.STRING, data.FLOAT64.as_optional()),
        "pairs": data.map_of(data.INT32, data.STRING),
        "inner": data.struct({"x": data.STRING.as_optional()}, name="Inner", optional=True, parameters={"p": "1"}),
        "price": data.decimal(2),
        "day": data.DATE,
        "clock": data.TIME,
        "at": data.TIMESTAMP,
    },
    name="Everything",
)


def everything() -> Struct:
    return Struct(
        EVERYTHING,
        {
            "i8": -128,
            "f32": 0.10000000149011612,
            "f64": 1.1,
            "text": 'a"é\n',
            "raw": b"\0\xff",
            "list": [1, 2],
            "map": {"a": 1.0, "b": None},
            "pairs": {1: "x", 2: "y"},
            "inner": Struct(EVERYTHING.field("inner").schema, {"x": "z"}),  # type: ignore[union-attr]
            "price": Decimal("-12.30"),
            "day": date(1969, 12, 31),
            "clock": time(1, 2, 3, 4000),
            "at": datetime(2024, 2, 29, 1, 2, 3, 4000, tzinfo=UTC),
        },
    )


@pytest.mark.parametrize("decimal_format", ["BASE64", "numeric"])
def test_json_with_its_schema_brings_everything_back(decimal_format: str) -> None:
    converter = configured(JsonConverter(), decimal_format=decimal_format)
    raw = to_bytes(converter, EVERYTHING, everything())
    assert raw is not None
    shown = json.loads(raw)
    assert list(shown) == ["schema", "payload"]
    assert shown["payload"]["price"] == (-12.3 if decimal_format == "numeric" else "+zI=")
    assert shown["payload"]["i64"] == 7
    assert shown["payload"]["pairs"] == [[1, "x"], [2, "y"]]
    assert shown["schema"]["fields"][5] == {
        "type": "string",
        "optional": False,
        "name": "kind",
        "version": 3,
        "doc": "what it is",
        "field": "text",
    }
    want = everything().put("i64", 7)
    for _ in range(3):  # the first one reads the schema, the others know how it begins
        schema, value = converter.to_connect_data("t", None, raw)
        assert schema == EVERYTHING
        assert value == want


def test_json_numbers_are_written_with_few_digits() -> None:
    converter = configured(JsonConverter(), schemas_enable="false", decimal_format="NUMERIC")
    assert to_bytes(converter, data.FLOAT32, 0.10000000149011612) == b"0.1"
    assert to_bytes(converter, data.decimal(3), Decimal("1.500")) == b"1.500"
    assert to_bytes(converter, data.FLOAT64, float("nan")) == b'"NaN"'
    assert to_bytes(converter, None, float("-inf")) == b'"-Infinity"'


def test_json_without_schemas_is_what_json_knows() -> None:
    converter = configured(JsonConverter(), schemas_enable=False)
    assert from_bytes(converter, b'{"a":[1,2.5,true,null,"x"]}') == (None, {"a": [1, 2.5, True, None, "x"]})
    assert to_bytes(converter, None, {"a": b"\1", "b": [1.5]}) == b'{"a":"AQ==","b":[1.5]}'
    assert to_bytes(converter, None, {1: "x"}) == b'[[1,"x"]]'
    assert to_bytes(converter, None, None) is None
    assert from_bytes(converter, None) == (None, None)
    assert from_bytes(converter, b"") == (None, None)
    assert to_bytes(converter, data.STRING.as_optional(), None) == b"null"


def test_null_is_the_default_only_where_that_is_wanted() -> None:
    schema = data.struct({"a": Schema(data.Type.INT32, True, default=5)})
    field = '{"type":"int32","optional":true,"default":5,"field":"a"}'
    opening = f'{{"schema":{{"type":"struct","optional":false,"fields":[{field}]}}'
    raw = f'{opening},"payload":{{"a":null}}}}'.encode()
    for replace, want in (("true", 5), ("false", None)):
        converter = configured(JsonConverter(), replace_null_with_default=replace)
        read = from_bytes(converter, raw)
        assert read.schema == schema
        assert read.value.get_without_default("a") == want
        written = to_bytes(converter, schema, Struct(schema))
        assert written is not None and json.loads(written)["payload"] == {"a": want}


def test_a_schema_from_the_configs_is_that_of_every_message() -> None:
    content = '{"type":"struct","optional":false,"fields":[{"type":"int32","optional":false,"field":"a"}]}'
    converter = configured(JsonConverter(), schema_content=content)
    assert from_bytes(converter, b'{"a":1}').value == Struct(data.struct({"a": data.INT32}), {"a": 1})
    with pytest.raises(ConfigError, match=r"schema\.content"):
        configured(JsonConverter(), schema_content='{"type":"int31"}')


INT = '{"type":"int32","optional":false}'


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ('{"a":1}', "schemas.enable"),
        (f'{{"schema":{INT},"payload":1,"more":2}}', "additional fields"),
        (f'{{"schema":{INT},"payload":null}}', "null value for required INT32"),
        (f'{{"schema":{INT},"payload":"1"}}', "INT32: STRING"),
        (f'{{"schema":{INT},"payload":2147483648}}', "out of its range"),
        (f'{{"schema":{INT},"payload":1.5}}', "with a fraction"),
        (f'{{"schema":{INT},"payload":1e999999999}}', "NUMBER"),
        (f'{{"schema":{INT},"payload":NaN}}', "NaN"),
        ('{"schema":{"type":"int31"},"payload":1}', "Unknown schema type: int31"),
        ('{"schema":{"type":"struct","optional":false},"payload":{}}', "not an array"),
        ('{"schema":{"type":"array","items":{"type":"int8"}},"payload":{}}', "found OBJECT"),
        ('{"schema":{"type":"map","keys":{"type":"int8"},"values":{"type":"int8"}},"payload":[[1]]}', "length 2"),
        ('{"schema":{"type":"bytes"},"payload":"*"}', "Invalid bytes"),
        ("{", "serialization error"),
        ("[" * 100_000, "serialization error"),
    ],
)
def test_bad_json_says_what_is_wrong(raw: str, why: str) -> None:
    converter = configured(JsonConverter())
    from_bytes(converter, f'{{"schema":{INT},"payload":1}}'.encode())
    with pytest.raises(DataError) as raised:
        converter.to_connect_data("t", None, raw.encode())
    assert why in str(raised.value)


def test_json_refuses_values_of_another_schema() -> None:
    converter = configured(JsonConverter())
    for schema, value in (
        (data.INT32, "1"),
        (data.STRING, None),
        (data.struct({"a": data.INT32}), Struct(data.struct({"a": data.INT64}))),
        (data.decimal(2), Decimal("1.1")),
        (None, Decimal(1)),
    ):
        with pytest.raises(DataError):
            converter.from_connect_data("t", None, schema, value)


@pytest.mark.parametrize(
    "name",
    [
        "org.apache.kafka.connect.json.JsonConverter",
        "engine.connect.converters.json.JsonConverter",
        "Json",
        "JsonConverter",
    ],
)
def test_a_converter_is_found_by_any_of_its_names(name: str) -> None:
    assert find(name, PluginType.CONVERTER) is JsonConverter
    assert isinstance(JsonConverter.config(), ConfigDef)


def test_plugins_are_listed_by_kind_under_javas_names() -> None:
    converters = listed(PluginType.CONVERTER)
    assert "org.apache.kafka.connect.storage.StringConverter" in [each.name for each in converters]
    assert {each.type for each in listed()} >= {PluginType.CONVERTER, PluginType.HEADER_CONVERTER}


@pytest.mark.parametrize("name", ["avro.Avro", "json.JsonSchema", "protobuf.Protobuf"])
def test_schemas_of_headers_do_not_get_into_the_subject_of_values(name: str) -> None:
    # As Confluent's, these are no converters of headers.
    with pytest.raises(ConnectError, match="header_converter"):
        find(f"io.confluent.connect.{name}Converter", PluginType.HEADER_CONVERTER)

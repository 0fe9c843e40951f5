"""Connect's schemas and values in Avro and back, without a registry: what Confluent's AvroData makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pytest

from engine.connect import data
from engine.connect.converters import avro_reading
from engine.connect.converters.avro_names import AvroOptions
from engine.connect.converters.avro_reading import connect_of, readable
from engine.connect.converters.avro_writing import avro_of
from engine.connect.data import Schema, Struct
from engine.connect.errors import DataError
from engine.registry.schema import parse_schema
from tests.unit.connect.connect_java_cases import show_schema, show_value
from tests.unit.connect.connect_random_cases import Maker

PLAIN = AvroOptions()
RECORD = {"type": "record", "name": "R", "namespace": "shop"}


def written(schema: Schema | None, value: Any, options: AvroOptions = PLAIN) -> tuple[Any, bytes]:
    """Avro's schema, and the bytes of a value."""
    avro, write = avro_of(schema, options)
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(readable(avro)), write(value))
    return avro, out.getvalue()


def read(avro: Any, raw: bytes, options: AvroOptions = PLAIN) -> tuple[Schema | None, Any]:
    schema, read_value = connect_of(avro, options)
    found = fastavro.schemaless_reader(
        BytesIO(raw), fastavro.parse_schema(readable(avro)), None, return_named_type=True
    )
    return schema, read_value(found)


def bytes_of(avro: Any, datum: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(avro), datum)
    return out.getvalue()


@pytest.mark.parametrize(
    ("schema", "avro"),
    [
        (data.INT32, "int"),
        (data.INT64.as_optional(), ["null", "long"]),
        (data.INT8, {"type": "int", "connect.type": "int8"}),
        (
            data.INT16.as_optional().with_default(5),
            [{"type": "int", "connect.default": 5, "connect.type": "int16"}, "null"],
        ),
        (
            data.STRING.named("n", 3, "d"),
            {"type": "string", "connect.doc": "d", "connect.version": 3, "connect.name": "n"},
        ),
        (data.array(data.FLOAT32), {"type": "array", "items": "float"}),
        (data.map_of(data.STRING, data.BYTES), {"type": "map", "values": "bytes"}),
        (
            data.decimal(2),
            {
                "type": "bytes",
                "scale": 2,
                "precision": 64,
                "connect.version": 1,
                "connect.parameters": {"scale": "2"},
                "connect.name": "org.apache.kafka.connect.data.Decimal",
                "logicalType": "decimal",
            },
        ),
        (
            data.TIMESTAMP,
            {
                "type": "long",
                "connect.version": 1,
                "connect.name": "org.apache.kafka.connect.data.Timestamp",
                "logicalType": "timestamp-millis",
            },
        ),
        (
            data.map_of(data.INT32, data.STRING),
            {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "MapEntry",
                    "namespace": "io.confluent.connect.avro",
                    "fields": [{"name": "key", "type": "int"}, {"name": "value", "type": "string"}],
                },
            },
        ),
        (
            data.struct({"a": data.INT32, "b": data.STRING.as_optional()}),
            {
                "type": "record",
                "name": "ConnectDefault",
                "namespace": "io.confluent.connect.avro",
                "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "string"], "default": None}],
            },
        ),
        (
            data.struct({"x": data.struct({"a": data.INT32}, name="shop.I")}, name="shop.R", version=2),
            {
                **RECORD,
                "connect.version": 2,
                "connect.name": "shop.R",
                "fields": [
                    {
                        "name": "x",
                        "type": {
                            "type": "record",
                            "name": "I",
                            "namespace": "shop",
                            "connect.name": "shop.I",
                            "fields": [{"name": "a", "type": "int"}],
                        },
                    }
                ],
            },
        ),
    ],
)
def test_a_schema_is_written_as_confluents_converter_writes_it(schema: Schema, avro: Any) -> None:
    assert avro_of(schema, PLAIN)[0] == avro
    assert connect_of(avro, PLAIN)[0] == schema


def test_a_name_that_comes_twice_is_defined_once() -> None:
    inner = data.struct({"a": data.INT32}, name="shop.I")
    outer = data.struct({"x": inner, "y": inner, "z": data.array(inner)}, name="shop.R")
    avro, raw = written(outer, Struct(outer, {each: Struct(inner, {"a": 1}) for each in "xy"} | {"z": []}))
    assert [each["type"] for each in avro["fields"]][1:] == ["shop.I", {"type": "array", "items": "shop.I"}]
    assert read(avro, raw)[0] == outer
    other = data.struct({"x": inner, "y": data.struct({"b": data.INT32}, name="shop.I")})
    with pytest.raises(DataError, match=r"shop\.I"):
        avro_of(other, PLAIN)


def test_a_name_without_a_namespace_stays_so_within_one_that_has() -> None:
    inner = data.struct({"a": data.INT32}, name="In")
    entries = data.map_of(data.INT32, data.INT32, name="Entry")
    schema = data.struct({"one": inner.as_optional(), "two": data.array(inner), "three": entries}, name="shop.Out")
    value = Struct(
        schema, {"one": Struct(inner.as_optional(), {"a": 1}), "two": [Struct(inner, {"a": 2})], "three": {}}
    )
    for each in (schema, replace(schema, name=None)):
        avro, raw = written(each, Struct(each, dict(value.items())))
        assert avro["fields"][0]["type"][1]["namespace"] == avro["fields"][2]["type"]["items"]["namespace"] == ""
        assert show_value(read(avro, raw)[1]) == show_value(value)
    # Others find the name by itself too.
    assert parse_schema("AVRO", json.dumps(avro)).problems_reading(parse_schema("AVRO", json.dumps(avro))) == []


def test_an_integer_out_of_its_small_type_is_refused() -> None:
    avro = {"type": "int", "connect.type": "int8"}
    assert read(avro, bytes_of("int", -128))[1] == -128
    with pytest.raises(DataError, match="out of the range of INT8"):
        read(avro, bytes_of("int", 128))


def test_values_of_every_kind_come_back() -> None:
    schema = data.struct(
        {
            "i8": data.INT8,
            "f": data.FLOAT32,
            "flag": data.BOOLEAN.as_optional(),
            "raw": data.BYTES,
            "price": data.decimal(2).as_optional(),
            "day": data.DATE,
            "clock": data.TIME.as_optional(),
            "at": data.TIMESTAMP,
            "list": data.array(data.struct({"a": data.STRING.as_optional()}), optional=True),
            "map": data.map_of(data.STRING, data.INT64.as_optional()),
            "pairs": data.map_of(data.INT32, data.STRING),
            "inner": data.struct({"x": data.INT16}, name="shop.Inner", optional=True),
        },
        name="shop.All",
    )
    inner = schema.field("inner")
    listed = schema.field("list")
    assert inner is not None and listed is not None and listed.schema.value is not None
    value = Struct(
        schema,
        {
            "i8": -128,
            "f": 0.5,
            "raw": b"\0\xff",
            "price": Decimal("-12.30"),
            "day": date(1969, 12, 31),
            "clock": time(1, 2, 3, 4000),
            "at": datetime(2024, 2, 29, 1, 2, 3, 4000, tzinfo=UTC),
            "list": [Struct(listed.schema.value, {"a": "x"}), Struct(listed.schema.value)],
            "map": {"a": 1, "b": None},
            "pairs": {1: "x"},
            "inner": Struct(inner.schema, {"x": 300}),
        },
    )
    avro, raw = written(schema, value)
    assert read(avro, raw) == (schema, value)


def test_values_without_a_schema_come_back() -> None:
    value = {"a": [1, 2.5, True, None, "x", b"y"], "b": {"c": 1 << 40}}
    avro, raw = written(None, value)
    assert read(avro, raw) == (None, value)


@pytest.mark.parametrize("seed", range(40))
def test_random_schemas_and_their_values_come_back(seed: int) -> None:
    maker = Maker(seed)
    schema = maker.schema(2)
    value = maker.value(schema)
    try:
        avro, raw = written(schema, value)
    except DataError as error:
        assert "differ" in str(error) or "scale" in str(error)
        return
    found, again = read(avro, raw)
    assert show_schema(found) == show_schema(schema)
    assert show_value(again) == show_value(filled(value))


def filled(value: Any) -> Any:
    """With defaults where nothing was put, as they are written."""
    match value:
        case Struct():
            return Struct.of(value.schema, [filled(each) for _, each in value.items()])
        case list():
            return [filled(each) for each in value]
        case dict():
            return {key: filled(each) for key, each in value.items()}
    return value


def test_defaults_and_docs_of_avro_are_kept() -> None:
    avro = {
        **RECORD,
        "doc": "a record",
        "fields": [
            {"name": "a", "type": "int", "default": 5, "doc": "a field"},
            {"name": "b", "type": ["null", "string"], "default": None},
        ],
    }
    schema, value = read(avro, bytes_of(avro, {"a": 1, "b": "x"}))
    assert schema is not None
    assert schema.name == "shop.R"
    assert dict(schema.parameters) == {
        "io.confluent.connect.avro.record.doc": "a record",
        "io.confluent.connect.avro.field.doc.a": "a field",
    }
    field = schema.field("a")
    assert field is not None and field.schema.default == 5
    assert value.get("b") == "x"
    again, _ = avro_of(schema, PLAIN)
    assert (again["doc"], again["fields"][0]["doc"], again["fields"][0]["default"]) == ("a record", "a field", 5)


def test_a_union_is_a_struct_of_its_members() -> None:
    avro = {
        **RECORD,
        "fields": [
            {
                "name": "u",
                "type": [
                    "null",
                    "int",
                    "string",
                    {"type": "record", "name": "I", "fields": [{"name": "a", "type": "int"}]},
                ],
            }
        ],
    }
    for datum, member in ((1, "int"), ("x", "string"), ({"a": 2}, "I"), (None, None)):
        schema, value = read(avro, bytes_of(avro, {"u": datum}))
        assert schema is not None
        union = value.get("u")
        if member is None:
            assert union is None
            continue
        assert union.schema.name == "io.confluent.connect.avro.Union"
        assert [field.name for field in union.schema.fields] == ["int", "string", "I"]
        assert [
            field.name for field, each in zip(union.schema.fields, union.values, strict=True) if each is not None
        ] == [member]
        again, raw = written(schema, value)
        assert read(again, raw)[1].get("u").values == union.values


def test_enums_stay_enums_where_that_is_wanted() -> None:
    avro = {"type": "enum", "name": "Colour", "namespace": "shop", "symbols": ["RED", "BLUE"]}
    enhanced = AvroOptions(enhanced=True)
    schema, value = read(avro, bytes_of(avro, "BLUE"), enhanced)
    assert (schema and schema.type, value) == (data.Type.STRING, "BLUE")
    assert avro_of(schema, PLAIN)[0]["type"] == "string"
    again, raw = written(schema, value, enhanced)
    assert (again["type"], again["symbols"]) == ("enum", ["RED", "BLUE"])
    assert read(again, raw, enhanced) == (schema, value)


def test_logical_types_that_connect_has_not_are_what_they_are_made_of() -> None:
    avro = {"type": "long", "logicalType": "timestamp-micros"}
    assert read(avro, bytes_of("long", 5)) == (data.INT64, 5)
    fixed = {"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 6, "scale": 2}
    schema, value = read(fixed, b"\xff\xff\xff\x85")
    assert value == Decimal("-1.23")
    again, raw = written(schema, value)
    assert (again["type"], raw) == ("fixed", b"\xff\xff\xff\x85")


def test_names_that_avro_cannot_have_are_scrubbed_where_that_is_wanted() -> None:
    schema = data.struct({"a-b": data.INT32}, name="x.my-record")
    avro, raw = written(schema, Struct(schema, {"a-b": 1}), AvroOptions(scrub=True))
    assert (avro["name"], avro["fields"][0]["name"], raw) == ("my_record", "a_b", b"\2")


def entangled(levels: int) -> Any:
    """Each record has the one before it twice."""
    inner: Any = "int"
    for level in range(levels):
        name = inner["name"] if level else inner
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": name}]
        inner = {"type": "record", "name": f"R{level}", "fields": fields}
    return inner


@pytest.mark.parametrize(
    ("avro", "why"),
    [
        ("null", "Standalone null"),
        ({**RECORD, "fields": [{"name": "next", "type": ["null", "R"]}]}, "shop.R holds itself"),
        (entangled(50), "parts"),
        ("shop.Unknown", "no type"),
        ({"type": "int", "connect.type": "int31"}, "annotation"),
        ({"type": "int", "connect.version": "1"}, "Invalid Connect version"),
        ({"type": "int", "connect.parameters": {"a": 1}}, "to be strings"),
        ({"type": "long", "logicalType": "timestamp-millis", "connect.name": "other"}, "Mismatched names"),
        (["int", "string", {"type": "enum", "name": "int", "symbols": ["A"]}], "Multiple union schemas"),
    ],
)
def test_schemas_that_connect_cannot_have_are_refused(avro: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_reading, "MOST_PARTS", 1000)
    with pytest.raises(DataError, match=why):
        connect_of(avro, PLAIN)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (data.INT32, None),
        (data.INT32, "1"),
        (data.array(data.INT32), 1),
        (data.struct({"a": data.INT32}), Struct(data.struct({"b": data.INT32}))),
        (data.decimal(2), Decimal("1.1")),
        (None, Decimal(1)),
    ],
)
def test_values_that_do_not_fit_are_refused(schema: Schema | None, value: Any) -> None:
    with pytest.raises(DataError):
        avro_of(schema, PLAIN)[1](value)

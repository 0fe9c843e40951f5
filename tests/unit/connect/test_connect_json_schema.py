"""Connect's schemas and values as JSON Schema and JSON, without a registry: what Confluent's JsonSchemaData makes."""

from __future__ import annotations

from typing import Any

import pytest

from engine.connect import data
from engine.connect.converters import json_schema_reading
from engine.connect.converters.json import json_text, parse_json
from engine.connect.converters.json_schema_reading import connect_schema_of, value_reader
from engine.connect.converters.json_schema_writing import document_of, value_writer
from engine.connect.converters.json_values import has_decimals
from engine.connect.data import Schema, Struct
from engine.connect.errors import DataError
from tests.unit.connect.connect_java_cases import show_schema, show_value
from tests.unit.connect.connect_random_cases import Maker
from tests.unit.connect.test_connect_avro import filled


def schema_of(document: Any, documents: Any = None, *, nonrequired: bool = False) -> Schema:
    return connect_schema_of(document, documents or {}, optional_unless_required=nonrequired)


def there_and_back(schema: Schema, value: Any, *, numeric: bool = False) -> tuple[Schema, Any]:
    document = parse_json(json_text(document_of(schema, additional=True, numeric=numeric)), exact=has_decimals(schema))
    found = schema_of(document)
    raw = json_text(value_writer(schema, numeric=numeric)(value))
    return found, value_reader(found)(parse_json(raw, exact=has_decimals(found)))


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        (data.INT8, {"type": "integer", "connect.type": "int8"}),
        (data.FLOAT64.as_optional(), {"oneOf": [{"type": "null"}, {"type": "number", "connect.type": "float64"}]}),
        (data.STRING.with_default("x"), {"type": "string", "default": "x"}),
        (data.BYTES, {"type": "string", "connect.type": "bytes"}),
        (data.array(data.BOOLEAN), {"type": "array", "items": {"type": "boolean"}}),
        (
            data.map_of(data.STRING, data.STRING),
            {"type": "object", "connect.type": "map", "additionalProperties": {"type": "string"}},
        ),
        (
            data.decimal(2),
            {
                "type": "string",
                "connect.type": "bytes",
                "title": "org.apache.kafka.connect.data.Decimal",
                "connect.version": 1,
                "connect.parameters": {"scale": "2"},
            },
        ),
        (
            data.struct({"b": data.STRING, "a": data.BOOLEAN.as_optional()}, name="shop.R", doc="d"),
            {
                "type": "object",
                "title": "shop.R",
                "description": "d",
                "properties": {
                    "b": {"type": "string", "connect.index": 0},
                    "a": {"oneOf": [{"type": "null"}, {"type": "boolean"}], "connect.index": 1},
                },
            },
        ),
    ],
)
def test_a_schema_is_written_as_confluents_converter_writes_it(schema: Schema, document: Any) -> None:
    assert document_of(schema, additional=True, numeric=False) == document
    assert schema_of(document) == schema


@pytest.mark.parametrize("seed", range(40))
def test_random_schemas_and_their_values_come_back(seed: int) -> None:
    maker = Maker(seed)
    schema = maker.schema(2)
    value = maker.value(schema)
    found, again = there_and_back(schema, value, numeric=seed % 2 == 0)
    assert show_schema(found) == show_schema(schema)
    # Null is written as the default, where there is one.
    assert show_value(again) == show_value(filled(value) if value is not None else schema.default)


def test_properties_are_in_the_order_of_their_index() -> None:
    document = {
        "type": "object",
        "properties": {"b": {"type": "string", "connect.index": 1}, "a": {"type": "string", "connect.index": 0}},
    }
    assert [each.name for each in schema_of(document).fields] == ["a", "b"]


def test_what_is_not_required_is_optional_where_that_is_wanted() -> None:
    document = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]}
    assert [each.schema.optional for each in schema_of(document, nonrequired=True).fields] == [False, True]
    schema = schema_of(document)
    assert value_reader(schema)({"a": 1}).values == [1, None]
    with pytest.raises(DataError, match="null value"):
        value_reader(schema)({"a": None, "b": "x"})


def test_one_of_several_is_a_struct_of_them() -> None:
    one = {"type": "object", "properties": {"a": {"type": "integer"}}}
    other = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    schema = schema_of({"oneOf": [{"type": "null"}, {"type": "string"}, one, other]})
    assert (schema.name, schema.optional) == ("io.confluent.connect.json.OneOf", True)
    read = value_reader(schema)
    places = []
    for shown in ("x", {"a": 1}, {"a": 1, "b": "x"}):
        value = read(shown)
        places.append([index for index, each in enumerate(value.values) if each is not None])
        assert value_writer(schema, numeric=False)(value) == ("x" if shown == "x" else {**{"a": 1}, **shown})
    assert places == [[0], [1], [2]]
    with pytest.raises(DataError, match="oneof"):
        read(True)


def test_references_are_followed_within_a_document_and_to_others() -> None:
    other = {
        "$id": "other.json",
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/id"}},
        "$defs": {"id": {"type": "integer"}},
    }
    document = {
        "allOf": [
            {"$ref": "other.json"},
            {"$ref": "#/definitions/base"},
            {"type": "object", "properties": {"o": {"$ref": "other.json"}}},
        ],
        "definitions": {"base": {"type": "object", "properties": {"a": {"type": ["null", "string"]}}}},
    }
    schema = schema_of(document, {"other.json": other})
    assert [each.name for each in schema.fields] == ["x", "a", "o"]
    assert str(value_reader(schema)({"x": 6, "a": None, "o": {"x": 5}})) == "Struct{x=6,o=Struct{x=5}}"


def entangled(levels: int) -> dict[str, Any]:
    """Each definition has the one before it twice."""
    parts = [{"properties": {each: {"$ref": f"#/definitions/{level}"} for each in "ab"}} for level in range(levels)]
    return {
        "$ref": f"#/definitions/{levels}",
        "definitions": {"0": {"type": "integer"}, **{str(level): part for level, part in enumerate(parts, 1)}},
    }


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "says nothing"),
        ({"allOf": [{"$ref": "#"}]}, "holds itself"),
        ({"allOf": [{"$ref": "#/a"}], "a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}, "holds itself"),
        ({"oneOf": [True, {"type": "string"}]}, "true or false"),
        ({"type": "object", "properties": {"a": True}}, "property a"),
        (entangled(50), "parts"),
        (True, "says nothing"),
        ({"type": "array"}, "items"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"$ref": "other.json"}, "not among its references"),
        ({"type": "object", "properties": {"next": {"$ref": "#"}}}, "holds itself"),
        ({"type": "integer", "connect.type": "int31"}, "int31"),
    ],
)
def test_schemas_that_connect_cannot_have_are_refused(document: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_schema_reading, "MOST_PARTS", 1000)
    with pytest.raises(DataError, match=why):
        schema_of(document)


def test_values_that_do_not_fit_are_refused() -> None:
    schema = data.struct({"a": data.INT32, "b": data.array(data.STRING)})
    for shown in ([], {"a": "1", "b": []}, {"a": 1, "b": {}}, {"a": 1, "b": [None]}, {"a": 1 << 31, "b": []}):
        with pytest.raises(DataError):
            value_reader(schema)(shown)
    for value in (1, Struct(data.struct({"a": data.INT32})), Struct.of(schema, [1, [None]])):
        with pytest.raises(DataError):
            value_writer(schema, numeric=False)(value)

"""Pairs of schemas, and who reads whom: Confluent's documented rules, one a line.

Sources: "Schema Evolution and Compatibility" and "Formats, Serializers, and Deserializers" (Avro, JSON Schema,
Protobuf) of Confluent's Schema Registry documentation, "Schema Resolution" of the Avro specification, "Updating a
message type" of Protobuf's. ``backward``: the new schema reads what the old one wrote; ``forward``: the other way.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Case(NamedTuple):
    """One pair."""

    what: str
    schema_type: str
    old: str
    new: str
    backward: bool
    forward: bool
    # Kinds of findings that must be among those that keep the new schema from reading the old one's.
    findings: tuple[str, ...] = ()


def record(*fields: Any, name: str = "R", **more: Any) -> str:
    return json.dumps({"type": "record", "name": name, "fields": list(fields), **more})


def field(name: str, type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def avro(what: str, old: Any, new: Any, backward: bool, forward: bool, *findings: str) -> Case:
    texts = (each if isinstance(each, str) and each.startswith("{") else json.dumps(each) for each in (old, new))
    return Case(what, "AVRO", *texts, backward, forward, findings)


A, B = field("a", "int"), field("b", "string")
B_DEFAULT = field("b", "string", default="")
SUIT = {"type": "enum", "name": "Suit", "symbols": ["CLUBS", "SPADES"]}
MORE_SUITS = {**SUIT, "symbols": ["CLUBS", "SPADES", "HEARTS"]}

AVRO = [
    avro("a field with a default is added", record(A), record(A, B_DEFAULT), True, True),
    avro(
        "a field without a default is added",
        record(A),
        record(A, B),
        False,
        True,
        "READER_FIELD_MISSING_DEFAULT_VALUE",
    ),
    avro("a field with a default is removed", record(A, B_DEFAULT), record(A), True, True),
    avro("a field without a default is removed", record(A, B), record(A), True, False),
    avro("fields change places", record(A, B), record(B, A), True, True),
    avro("a default is added", record(A), record(field("a", "int", default=1)), True, True),
    avro("a default changes", record(field("a", "int", default=1)), record(field("a", "int", default=2)), True, True),
    avro("a doc is added", record(A), record(field("a", "int", doc="how many")), True, True),
    avro("an int becomes a long", "int", "long", True, False),
    avro("an int becomes a float", "int", "float", True, False),
    avro("an int becomes a double", "int", "double", True, False),
    avro("a long becomes a float", "long", "float", True, False),
    avro("a float becomes a double", "float", "double", True, False),
    avro("a long becomes an int", "long", "int", False, True, "TYPE_MISMATCH"),
    avro("a string becomes bytes", "string", "bytes", True, True),
    avro("an int becomes a string", "int", "string", False, False, "TYPE_MISMATCH"),
    avro("a boolean becomes an int", "boolean", "int", False, False, "TYPE_MISMATCH"),
    avro("a type becomes nullable", "int", ["null", "int"], True, False),
    avro("a type is not nullable any more", ["null", "int"], "int", False, True, "TYPE_MISMATCH"),
    avro("a branch is added to a union", ["null", "int"], ["null", "int", "string"], True, False),
    avro(
        "a branch is removed from a union",
        ["null", "int", "string"],
        ["null", "int"],
        False,
        True,
        "MISSING_UNION_BRANCH",
    ),
    avro("branches change places", ["null", "int"], ["int", "null"], True, True),
    avro("a branch is promoted", ["null", "int"], ["null", "long"], True, False),
    avro("a symbol is added to an enum", SUIT, MORE_SUITS, True, False),
    avro("a symbol is removed from an enum", MORE_SUITS, SUIT, False, True, "MISSING_ENUM_SYMBOLS"),
    avro("a symbol is removed from an enum with a default", MORE_SUITS, {**SUIT, "default": "CLUBS"}, True, True),
    avro("an enum is renamed", SUIT, {**SUIT, "name": "Color"}, False, False, "NAME_MISMATCH"),
    avro(
        "a fixed gets longer",
        {"type": "fixed", "name": "F", "size": 4},
        {"type": "fixed", "name": "F", "size": 8},
        False,
        False,
        "FIXED_SIZE_MISMATCH",
    ),
    avro("a record is renamed", record(A), record(A, name="S"), False, False, "NAME_MISMATCH"),
    avro("a record is renamed with an alias", record(A), record(A, name="S", aliases=["R"]), True, False),
    avro("a record moves to another namespace", record(A, namespace="x"), record(A, namespace="y"), True, True),
    avro(
        "a field is renamed with an alias",
        record(A),
        record(field("n", "int", aliases=["a"])),
        True,
        False,
    ),
    avro(
        "a field is renamed", record(A), record(field("n", "int")), False, False, "READER_FIELD_MISSING_DEFAULT_VALUE"
    ),
    avro("items are promoted", {"type": "array", "items": "int"}, {"type": "array", "items": "long"}, True, False),
    avro(
        "values of a map are promoted", {"type": "map", "values": "int"}, {"type": "map", "values": "long"}, True, False
    ),
    avro("an array becomes a map", {"type": "array", "items": "int"}, {"type": "map", "values": "int"}, False, False),
    avro(
        "a record refers to itself, and a field is added to it",
        record(A, field("next", ["null", "R"], default=None)),
        record(A, field("next", ["null", "R"], default=None), B),
        False,
        True,
    ),
    avro("a logical type is added", "long", {"type": "long", "logicalType": "timestamp-millis"}, True, True),
]


def json_schema(what: str, old: Any, new: Any, backward: bool, forward: bool, *findings: str) -> Case:
    return Case(what, "JSON", json.dumps(old), json.dumps(new), backward, forward, findings)


def open_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def closed_object(**properties: Any) -> dict[str, Any]:
    return {**open_object(**properties), "additionalProperties": False}


def partly_open(rest: Any, **properties: Any) -> dict[str, Any]:
    return {**open_object(**properties), "additionalProperties": rest}


def required(schema: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**schema, "required": list(names)}


INTEGER, STRING = {"type": "integer"}, {"type": "string"}

JSON = [
    json_schema(
        "an optional property is added to an open model",
        open_object(a=INTEGER),
        open_object(a=INTEGER, b=STRING),
        False,
        True,
        "OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
    ),
    json_schema(
        "a property that may be anything is added to an open model",
        open_object(a=INTEGER),
        open_object(a=INTEGER, b={}),
        True,
        True,
    ),
    json_schema(
        "a required property is added to an open model",
        open_object(a=INTEGER),
        required(open_object(a=INTEGER, b=STRING), "b"),
        False,
        True,
        "REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
    ),
    json_schema(
        "an optional property is added to a closed model",
        closed_object(a=INTEGER),
        closed_object(a=INTEGER, b=STRING),
        True,
        False,
    ),
    json_schema(
        "a required property is added to a closed model",
        closed_object(a=INTEGER),
        required(closed_object(a=INTEGER, b=STRING), "b"),
        False,
        False,
        "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL",
    ),
    json_schema(
        "a required property with a default is added to a closed model",
        closed_object(a=INTEGER),
        required(closed_object(a=INTEGER, b={**STRING, "default": ""}), "b"),
        True,
        False,
    ),
    json_schema(
        "a property of its model's kind is added to a partially open model",
        partly_open(STRING, a=INTEGER),
        partly_open(STRING, a=INTEGER, b=STRING),
        True,
        True,
    ),
    json_schema(
        "a property of another kind is added to a partially open model",
        partly_open(STRING, a=INTEGER),
        partly_open(STRING, a=INTEGER, b=INTEGER),
        False,
        False,
        "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
    ),
    json_schema(
        "a property of its pattern's kind is added",
        {**closed_object(a=INTEGER), "patternProperties": {"^s_": STRING}},
        {**closed_object(a=INTEGER, s_b=STRING), "patternProperties": {"^s_": STRING}},
        True,
        True,
    ),
    json_schema("a closed model is opened", closed_object(a=INTEGER), open_object(a=INTEGER), True, False),
    json_schema(
        "an open model is closed",
        open_object(a=INTEGER),
        closed_object(a=INTEGER),
        False,
        True,
        "ADDITIONAL_PROPERTIES_REMOVED",
    ),
    json_schema(
        "an open model is opened for strings alone",
        open_object(a=INTEGER),
        partly_open(STRING, a=INTEGER),
        False,
        True,
        "ADDITIONAL_PROPERTIES_NARROWED",
    ),
    json_schema(
        "a property becomes required", open_object(a=INTEGER), required(open_object(a=INTEGER), "a"), False, True
    ),
    json_schema(
        "a property with a default becomes required",
        open_object(a={**INTEGER, "default": 0}),
        required(open_object(a={**INTEGER, "default": 0}), "a"),
        True,
        True,
    ),
    json_schema("an integer becomes a number", INTEGER, {"type": "number"}, True, False),
    json_schema("a number becomes an integer", {"type": "number"}, INTEGER, False, True, "TYPE_NARROWED"),
    json_schema("a string becomes an integer", STRING, INTEGER, False, False, "TYPE_CHANGED"),
    json_schema("a type is added", STRING, {"type": ["string", "null"]}, True, False),
    json_schema("anything becomes a string", {}, STRING, False, True, "TYPE_CHANGED"),
    json_schema("nothing becomes a string", False, STRING, True, False),
    json_schema("a title changes", {**STRING, "title": "one"}, {**STRING, "title": "other"}, True, True),
    json_schema("maxLength is increased", {**STRING, "maxLength": 4}, {**STRING, "maxLength": 5}, True, False),
    json_schema("maxLength is added", STRING, {**STRING, "maxLength": 5}, False, True, "MAX_LENGTH_ADDED"),
    json_schema("minLength is decreased", {**STRING, "minLength": 4}, {**STRING, "minLength": 3}, True, False),
    json_schema("a pattern is removed", {**STRING, "pattern": "^a"}, STRING, True, False),
    json_schema(
        "a pattern changes",
        {**STRING, "pattern": "^a"},
        {**STRING, "pattern": "^b"},
        False,
        False,
        "PATTERN_CHANGED",
    ),
    json_schema("maximum is increased", {**INTEGER, "maximum": 4}, {**INTEGER, "maximum": 5}, True, False),
    json_schema("minimum is removed", {**INTEGER, "minimum": 4}, INTEGER, True, False),
    json_schema(
        "exclusiveMinimum is increased",
        {**INTEGER, "exclusiveMinimum": 4},
        {**INTEGER, "exclusiveMinimum": 5},
        False,
        True,
        "EXCLUSIVE_MINIMUM_INCREASED",
    ),
    json_schema("multipleOf gets a divisor", {**INTEGER, "multipleOf": 10}, {**INTEGER, "multipleOf": 5}, True, False),
    json_schema("multipleOf changes", {**INTEGER, "multipleOf": 4}, {**INTEGER, "multipleOf": 6}, False, False),
    json_schema("a value is added to an enum", {"enum": ["a"]}, {"enum": ["a", "b"]}, True, False),
    json_schema("a value of an enum is replaced", {"enum": ["a", "b"]}, {"enum": ["a", "c"]}, False, False),
    json_schema("true is not the same as one", {"enum": [1]}, {"enum": [True]}, False, False, "ENUM_ARRAY_CHANGED"),
    json_schema("a const changes", {"const": 1}, {"const": 2}, False, False),
    json_schema(
        "maxItems is decreased",
        {"type": "array", "maxItems": 5},
        {"type": "array", "maxItems": 4},
        False,
        True,
        "MAX_ITEMS_DECREASED",
    ),
    json_schema(
        "items must be unique",
        {"type": "array"},
        {"type": "array", "uniqueItems": True},
        False,
        True,
        "UNIQUE_ITEMS_ADDED",
    ),
    json_schema(
        "items may be more",
        {"type": "array", "items": INTEGER},
        {"type": "array", "items": {"type": "number"}},
        True,
        False,
    ),
    json_schema(
        "an item is added to a closed tuple",
        {"type": "array", "items": [INTEGER], "additionalItems": False},
        {"type": "array", "items": [INTEGER, STRING], "additionalItems": False},
        True,
        False,
    ),
    json_schema(
        "an item is added to an open tuple",
        {"type": "array", "items": [INTEGER]},
        {"type": "array", "items": [INTEGER, STRING]},
        False,
        True,
        "ITEM_ADDED_TO_OPEN_CONTENT_MODEL",
    ),
    json_schema("oneOf gets more", {"oneOf": [INTEGER]}, {"oneOf": [INTEGER, STRING]}, True, False),
    json_schema("anyOf gets less", {"anyOf": [INTEGER, STRING]}, {"anyOf": [INTEGER]}, False, True),
    json_schema(
        "allOf gets less",
        {"allOf": [{"minLength": 1}, {"maxLength": 5}]},
        {"allOf": [{"minLength": 1}]},
        True,
        False,
    ),
    json_schema("oneOf becomes anyOf", {"oneOf": [INTEGER, STRING]}, {"anyOf": [INTEGER, STRING]}, True, False),
    json_schema("parts of oneOf change places", {"oneOf": [INTEGER, STRING]}, {"oneOf": [STRING, INTEGER]}, True, True),
    json_schema("less is forbidden", {"not": {"type": ["integer", "string"]}}, {"not": INTEGER}, True, False),
    json_schema(
        "a dependency is added",
        open_object(a=INTEGER, b=INTEGER),
        {**open_object(a=INTEGER, b=INTEGER), "dependencies": {"a": ["b"]}},
        False,
        True,
        "DEPENDENCY_ARRAY_ADDED",
    ),
    json_schema(
        "a definition is narrowed where it is referred to",
        {**open_object(a={"$ref": "#/definitions/x"}), "definitions": {"x": {"type": "number"}}},
        {**open_object(a={"$ref": "#/definitions/x"}), "definitions": {"x": INTEGER}},
        False,
        True,
        "TYPE_NARROWED",
    ),
    json_schema(
        "a schema that refers to itself stays as it is",
        {**closed_object(next={"$ref": "#"}, a=INTEGER)},
        {**closed_object(next={"$ref": "#"}, a=INTEGER, b=STRING)},
        True,
        False,
    ),
    json_schema(
        "items of draft 2020-12 after a prefix",
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "array",
            "prefixItems": [INTEGER],
            "items": False,
        },
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "array",
            "prefixItems": [INTEGER, STRING],
            "items": False,
        },
        True,
        False,
    ),
]


def protobuf(
    what: str, old: str, new: str, backward: bool, forward: bool, *findings: str, syntax: str = "proto3"
) -> Case:
    texts = (f'syntax = "{syntax}";\n{each}' for each in (old, new))
    return Case(what, "PROTOBUF", *texts, backward, forward, findings)


M = "message M { int32 a = 1; string b = 2; }"

PROTOBUF = [
    protobuf("a field is added", "message M { int32 a = 1; }", M, True, True),
    protobuf("a field is renamed", M, "message M { int32 n = 1; string b = 2; }", True, True),
    protobuf("fields change places", M, "message M { string b = 2; int32 a = 1; }", True, True),
    protobuf("int32 becomes int64", M, "message M { int64 a = 1; string b = 2; }", True, True),
    protobuf("int32 becomes bool", M, "message M { bool a = 1; string b = 2; }", True, True),
    protobuf(
        "int32 becomes an enum",
        M,
        "enum E { ZERO = 0; } message M { E a = 1; string b = 2; }",
        True,
        True,
    ),
    protobuf(
        "int32 becomes sint32",
        M,
        "message M { sint32 a = 1; string b = 2; }",
        False,
        False,
        "FIELD_SCALAR_KIND_CHANGED",
    ),
    protobuf("string becomes bytes", M, "message M { int32 a = 1; bytes b = 2; }", True, True),
    protobuf(
        "int32 becomes string",
        M,
        "message M { string a = 1; string b = 2; }",
        False,
        False,
        "FIELD_SCALAR_KIND_CHANGED",
    ),
    protobuf("fixed32 becomes sfixed32", "message M { fixed32 a = 1; }", "message M { sfixed32 a = 1; }", True, True),
    protobuf("float becomes double", "message M { float a = 1; }", "message M { double a = 1; }", False, False),
    protobuf(
        "a number is used again for another kind",
        "message M { int32 a = 1; } message N {}",
        "message M { N a = 1; } message N {}",
        False,
        False,
        "FIELD_KIND_CHANGED",
    ),
    protobuf(
        "a field's message is another one",
        "message M { N a = 1; } message N {} message O {}",
        "message M { O a = 1; } message N {} message O {}",
        False,
        False,
        "FIELD_NAMED_TYPE_CHANGED",
    ),
    protobuf("a message is added", "message M {}", "message M {} message N {}", True, False),
    protobuf("a message is removed", "message M {} message N {}", "message M {}", False, True, "MESSAGE_REMOVED"),
    protobuf("messages change places", "message M {} message N {}", "message N {} message M {}", True, True),
    protobuf(
        "the package changes", "package a; message M {}", "package b; message M {}", False, False, "PACKAGE_CHANGED"
    ),
    protobuf(
        "a nested message loses a message of its own",
        "message M { message N { message O {} } }",
        "message M { message N {} }",
        False,
        True,
        "MESSAGE_REMOVED",
    ),
    protobuf("a value is added to an enum", "enum E { A = 0; }", "enum E { A = 0; B = 1; }", True, True),
    protobuf("a value of an enum is renamed", "enum E { A = 0; }", "enum E { Z = 0; }", True, True),
    protobuf("an enum is removed", "enum E { A = 0; } message M {}", "message M {}", True, True),
    protobuf(
        "a field is added to a oneof",
        "message M { oneof o { int32 a = 1; } }",
        "message M { oneof o { int32 a = 1; int32 b = 2; } }",
        True,
        False,
    ),
    protobuf(
        "a field is removed from a oneof",
        "message M { oneof o { int32 a = 1; int32 b = 2; } }",
        "message M { oneof o { int32 a = 1; } }",
        False,
        True,
        "ONEOF_FIELD_REMOVED",
    ),
    protobuf(
        "a field moves into a new oneof",
        "message M { int32 a = 1; }",
        "message M { oneof o { int32 a = 1; } }",
        True,
        True,
    ),
    protobuf(
        "two fields move into one oneof",
        "message M { int32 a = 1; int32 b = 2; }",
        "message M { oneof o { int32 a = 1; int32 b = 2; } }",
        False,
        True,
        "MULTIPLE_FIELDS_MOVED_TO_ONEOF",
    ),
    protobuf(
        "a field moves into a oneof that was there",
        "message M { int32 a = 1; oneof o { int32 b = 2; } }",
        "message M { oneof o { int32 a = 1; int32 b = 2; } }",
        False,
        True,
        "FIELD_MOVED_TO_EXISTING_ONEOF",
    ),
    protobuf(
        "the values of a map are another kind",
        "message M { map<string, int32> m = 1; }",
        "message M { map<string, string> m = 1; }",
        False,
        False,
        "FIELD_SCALAR_KIND_CHANGED",
    ),
    protobuf(
        "a map gets another message as value",
        "message M { map<string, N> m = 1; } message N {} message O {}",
        "message M { map<string, O> m = 1; } message N {} message O {}",
        False,
        False,
        "FIELD_NAMED_TYPE_CHANGED",
    ),
    protobuf(
        "a required field is added",
        "message M { optional int32 a = 1; }",
        "message M { optional int32 a = 1; required int32 b = 2; }",
        False,
        False,
        "REQUIRED_FIELD_ADDED",
        syntax="proto2",
    ),
    protobuf(
        "a required field becomes optional",
        "message M { required int32 a = 1; }",
        "message M { optional int32 a = 1; }",
        False,
        False,
        "FIELD_NUMERIC_LABEL_CHANGED",
        syntax="proto2",
    ),
    protobuf(
        "a string is repeated",
        "message M { optional string a = 1; }",
        "message M { repeated string a = 1; }",
        True,
        True,
        syntax="proto2",
    ),
    protobuf("a service is added", M, M + " service S { rpc Do (M) returns (M); }", True, True),
    protobuf("an option is added", M, "option java_package = 'x'; " + M, True, True),
]

CASES = AVRO + JSON + PROTOBUF

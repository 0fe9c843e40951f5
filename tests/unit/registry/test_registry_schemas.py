"""What is a schema and what is not; what is stored of one, and found again."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from typing import Any

import pytest
from google.protobuf import any_pb2, api_pb2, descriptor_pb2, struct_pb2, timestamp_pb2, type_pb2, wrappers_pb2

from engine.protobuf.text import NotWritable, file_text
from engine.registry.errors import InvalidSchema
from engine.registry.schema import Reference, ResolvedReference, Schema, parse_schema


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("7", "a name, a list or an object"),
        ('"int32"', "undefined type 'int32'"),
        ('{"type":"record","name":"R"}', "record R has no fields"),
        ('{"type":"record","name":"7R","fields":[]}', "is no name"),
        ('{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}', "a twice"),
        ('{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}', "no int"),
        ('{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":2147483648}]}', "no int"),
        ('{"type":"enum","name":"E","symbols":["A","A"]}', "symbol twice"),
        ('{"type":"enum","name":"E","symbols":["A"],"default":"B"}', "none of its symbols"),
        ('{"type":"fixed","name":"F","size":-1}', "number of bytes"),
        ('{"type":"fixed","name":"F","size":2147483648}', "number of bytes"),
        ('{"type":"fixed","name":"F","namespace":"my-shop","size":1}', "part of the namespace 'my-shop'"),
        ('{"type":"fixed","name":"a..F","size":1}', "part of the namespace 'a.'"),
        ('{"type":{"type":"int"}}', "only a field has one"),
        ('["int","int"]', "twice in a union"),
        ('["int",["null"]]', "directly in another"),
        ('{"type":"array"}', "no 'items'"),
        ("[" * 500 + "]" * 500, "directly in another|nested"),
        ('{"type":"array","items":' * 300 + '"int"' + "}" * 300, "nested deeper"),
    ],
)
def test_what_is_no_avro_schema_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(InvalidSchema, match=said):
        parse_schema("AVRO", text, is_new=True)


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}',
        '{"type":"record","name":"R-1","namespace":"my-shop","fields":[{"name":"a-b","type":"int"}]}',
    ],
)
def test_bad_defaults_and_names_of_an_old_schema_do_not_take_it_away(text: str) -> None:
    assert parse_schema("AVRO", text).canonical == text


def test_avros_texts_are_those_of_its_java_library() -> None:
    # As Avro 1.12.2 wrote them.
    for number, shown in (
        ("0.001", "0.001"),
        ("0.0001", "1.0E-4"),
        ("-12345678.9", "-1.23456789E7"),
        ("1e21", "1.0E21"),
    ):
        text = '{"type":"record","name":"R","fields":[{"name":"f","type":"double","default":%s,"float 1":"float 1"}]}'
        assert parse_schema("AVRO", text % number, is_new=True).canonical == text % shown
    # Avro's complex types are names like others.
    for name in ("record", "map"):
        text = f'{{"type":"record","name":"{name}","fields":[]}}'
        assert parse_schema("AVRO", text, is_new=True).canonical == text


def test_avro_is_stored_in_one_layout_with_what_references_bring_left_out() -> None:
    address = ResolvedReference("shop.Address", '{"type":"record","name":"Address","namespace":"shop","fields":[]}')
    text = """{"fields": [{"type": "Address", "name": "to"}, {"name": "more", "type": {"type": "array",
               "items": "shop.Address"}}], "namespace": "shop", "name": "Order", "type": "record"}"""
    schema = parse_schema("AVRO", text, (address,))
    assert schema.canonical == (
        '{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"to","type":"Address"},'
        '{"name":"more","type":{"type":"array","items":"Address"}}]}'
    )
    assert '"namespace":"shop","fields":[{"name":"to","type":{"type":"record","name":"Address","fields":[]}}' in (
        schema.formatted("resolved")
    )


def test_normalized_schemas_do_not_depend_on_the_order_of_attributes() -> None:
    one = '{"type":"record","name":"R","namespace":"x","doc":"d","fields":[],"b":1,"a":2}'
    other = '{"a":2,"name":"x.R","b":1,"type":"record","fields":[],"doc":"d"}'
    assert parse_schema("AVRO", one).normalized() == parse_schema("AVRO", other).normalized()
    assert parse_schema("JSON", '{"type":"object","title":"t"}').normalized() == (
        parse_schema("JSON", '{"title":"t","type":"object"}').normalized()
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "no JSON Schema"),
        ('{"type":"strin"}', "no JSON Schema"),
        ('{"$schema":"http://json-schema.org/draft-03/schema#","type":"any"}', "draft 3"),
        ('{"$ref":"other.json"}', "Unresolved"),
        ('{"$ref":"#/definitions/x"}', "Unresolved"),
        ('{"properties":{"a":{"$ref":"#nowhere"}}}', "Unresolved"),
    ],
)
def test_what_is_no_json_schema_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(InvalidSchema, match=said):
        parse_schema("JSON", text)


def test_references_of_json_schemas_are_found_by_name_id_and_anchor() -> None:
    other = ResolvedReference("x/other.json", '{"$id":"http://x/o.json","$defs":{"n":{"$anchor":"n","type":"null"}}}')
    for reference in ("x/other.json", "http://x/o.json", "http://x/o.json#n", "x/other.json#/$defs/n"):
        parse_schema("JSON", json.dumps({"properties": {"a": {"$ref": reference}}}), (other,))
    # What only looks like a reference is none.
    parse_schema("JSON", '{"properties":{"$ref":{"type":"string"}},"default":{"$ref":"nowhere"}}')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('syntax = "proto3"; message M { int32 a = 1; int32 b = 1; }', "1"),
        ('syntax = "proto3"; import "other.proto";', "other.proto"),
        ('syntax = "proto3"; message M { Missing a = 1; }', "Missing"),
        ("message {", "details"),
    ],
)
def test_what_is_no_protobuf_file_is_refused_with_protocs_reason(text: str, said: str) -> None:
    with pytest.raises(InvalidSchema, match=said):
        parse_schema("PROTOBUF", text)


def test_an_import_does_not_leave_the_folder_that_it_is_put_into() -> None:
    for name in ("../../etc/evil.proto", "/tmp/evil.proto", ""):
        with pytest.raises(InvalidSchema, match="no name of a file"):
            parse_schema("PROTOBUF", 'syntax = "proto3";', (ResolvedReference(name, 'syntax = "proto3";'),))


def test_an_import_that_no_file_can_be_called_is_refused() -> None:
    text = 'syntax = "proto3";'
    for names in (("a\0b",), ("n" * 300,), ("a", "a/b"), ("a/b", "a")):
        with pytest.raises(InvalidSchema, match="cannot be a file to import"):
            parse_schema("PROTOBUF", text, tuple(ResolvedReference(each, text) for each in names))


EVERYTHING = """syntax = "proto2";
package p.q;

import public "google/protobuf/any.proto";
option java_package = "says \\"so\\"";
option optimize_for = SPEED;

message M {
  reserved 9, 20 to 30, 1000 to max;
  reserved "old";
  optional string s = 1 [default = "a\\"b", deprecated = true];
  required bytes b = 2 [default = "\\\\001"];
  repeated int32 n = 3 [packed = true];
  oneof choice {
    .p.q.M.Nested nested = 4;
    double d = 5 [json_name = "dee"];
  }
  map<string, .p.q.E> values = 6;
  optional .google.protobuf.Any any = 7;
  message Nested {
    extensions 100 to 199;
  }
  enum Inner {
    option allow_alias = true;
    NEGATIVE = -1;
    ALSO = -1 [deprecated = true];
  }
}
enum E {
  reserved 5 to 7;
  ZERO = 0;
}
extend .p.q.M.Nested {
  optional int32 more = 100;
}
service S {
  rpc Do (stream .p.q.M) returns (stream .p.q.M);
  rpc Ask (.p.q.M) returns (.p.q.M) { option deprecated = true; }
}
"""


def test_a_file_is_written_as_it_was_understood() -> None:
    schema: Any = parse_schema("PROTOBUF", EVERYTHING)
    assert schema.canonical == EVERYTHING
    again: Any = parse_schema("PROTOBUF", schema.normalized())
    for each in (schema, again):
        each.file.ClearField("name")
    assert again.file == schema.file
    assert again.normalized() == schema.normalized()


@pytest.mark.parametrize(
    "module", [any_pb2, api_pb2, struct_pb2, timestamp_pb2, type_pb2, wrappers_pb2], ids=lambda each: each.__name__
)
def test_descriptors_of_files_that_others_wrote_are_the_same_after_a_text(module: Any) -> None:
    data = module.DESCRIPTOR.serialized_pb
    schema: Any = parse_schema("PROTOBUF", base64.b64encode(data).decode())
    assert schema.canonical.startswith("syntax = ")
    given = descriptor_pb2.FileDescriptorProto.FromString(data)
    found = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(schema.formatted("serialized")))
    given.ClearField("name")
    # Names in JSON that follow from the others are left out.
    for message in given.message_type:
        for field in (*message.field, *(each for nested in message.nested_type for each in nested.field)):
            field.ClearField("json_name")
    assert found == given


def test_a_descriptor_with_what_no_text_of_ours_has_stays_a_descriptor() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="x.proto", package="p", syntax="proto3")
    field = file.message_type.add(name="M").field.add(name="a", number=1, type=5, label=1)
    field.options.ParseFromString(b"\xc2\x3e\x02\x08\x01")  # field 1000: an option of somebody's own
    with pytest.raises(NotWritable):
        file_text(file)
    text = base64.b64encode(file.SerializeToString()).decode()
    schema: Any = parse_schema("PROTOBUF", text)
    assert schema.canonical == text
    assert (
        schema.problems_reading(parse_schema("PROTOBUF", 'syntax = "proto3"; package p; message M { int32 a = 1; }'))
        == []
    )


def test_guids_are_those_that_confluents_registry_makes() -> None:
    # Its hash is over the text, then names, subjects and versions (as four bytes) of references.
    for references, data in (((), b'"string"'), ((Reference("n", "s", 1),), b'"string"ns\0\0\0\1')):
        expected = uuid.UUID(bytes=hashlib.md5(data).digest())
        assert Schema("AVRO", '"string"', references).guid == str(expected)


def test_files_that_confluents_registry_knows_are_imported_without_references() -> None:
    text = """syntax = "proto3";
import "confluent/meta.proto";
import "confluent/type/decimal.proto";
import "google/type/date.proto";
message R {
  confluent.type.Decimal price = 1 [(confluent.field_meta) = { params: [{ key: "scale", value: "2" }] }];
  google.type.Date day = 2;
}
"""
    assert parse_schema("PROTOBUF", text).canonical == text

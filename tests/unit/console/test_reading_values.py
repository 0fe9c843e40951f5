"""Keys and values read by rules, by what is certain, and by a registry that answers, hangs or is gone."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path

import pytest
from registry_server import (
    LINE_BYTES,
    LINE_GUID,
    MONEY_PROTO,
    NOTE_BYTES,
    ORDER,
    ORDER_BYTES,
    ORDER_GUID,
    PAYMENT,
    PAYMENT_BYTES,
    PAYMENT_PROTO,
    registry_server,
)

from console.values.options import ValueOptions
from console.values.protobuf import ProtobufFile
from console.values.registry import Registry, RegistryConfig, RegistryError
from console.values.schemas import Schema, SchemaType
from console.values.serde_file import SerdeRule, keep_rule
from console.values.serde_words import SerdeWord
from console.values.serdes import SerdeError
from console.values.values import Values
from console.viewmodel.cells import plain
from console.viewmodel.filters import Filter
from console.viewmodel.records import BytesFormat, RecordView, record_columns, record_data, record_part, record_text
from console.viewmodel.tailing import record_document, record_line
from engine.protobuf.files import compiled


def record(value: bytes | None, key: bytes | None = b"k", topic: str = "orders", **fields) -> RecordView:
    return RecordView(topic, 3, 7, 1000, key, value, **fields)


def values_for(tmp_path: Path, said: str = "", **options) -> Values:
    (tmp_path / "serdes.yaml").write_text(said)
    made = Values(ValueOptions(**options), folder=tmp_path, environment={})
    return made


async def one(values: Values, value: bytes | None, key: bytes | None = b"k", topic: str = "orders") -> RecordView:
    (read,) = await values.begin().read([record(value, key, topic)])
    return read


async def test_what_a_registry_knows_is_read_without_any_rule_and_goes_everywhere_that_json_goes(
    tmp_path: Path,
) -> None:
    with registry_server() as server:
        values = values_for(tmp_path, registry=server.url)
        read = await one(values, ORDER_BYTES)
        assert record_data(read)["value"] == ORDER
        assert read.value == ORDER_BYTES
        assert read.reading is not None and read.reading.value.serde == "avro, schema 8 Order"
        assert read.reading.value.words == "avro, schema 8 Order · orders-value version 3"
        assert Filter.parse("-j .value.customer.vip and .value.amount > 129").matches(
            "", data_of=lambda: record_data(read)
        )
        assert "ada@example.org" in record_text(read) and "PAID" in record_part(read, "value")
        shown = {each.title: plain(each.cell(read)) for each in record_columns(BytesFormat.AUTO, False)}
        assert '"email": "ada@example.org"' in shown["VALUE"]
        document = record_document(read)
        assert document["value_decoded"] == ORDER and document["value_serde"] == "avro, schema 8 Order"
        assert document["value_schema"] == {"id": 8, "subject": "orders-value", "version": 3}
        assert document["key_schema"] is None
        assert document["value_encoding"] == "base64" and base64.b64decode(document["value"]) == ORDER_BYTES
        assert '"order": 80010' in record_line(read)
        # An id never changes its schema: nobody is asked twice.
        asked = len(server.asked)
        assert record_data(await one(values, ORDER_BYTES))["value"] == ORDER
        assert len(server.asked) == asked == 3
        assert await Registry(RegistryConfig(server.url)).places(8) != ()
        for odd in ([1], {}, [{"subject": "x"}], "x", [{"subject": "x", "version": None}]):
            server.answers["/schemas/ids/8/versions"] = odd
            assert await Registry(RegistryConfig(server.url)).places(8) == ()
        copied = await one(values, ORDER_BYTES, topic="orders-copy")
        assert copied.reading is not None and copied.reading.value.version == 9


async def test_messages_of_protobuf_are_found_by_the_path_before_them(tmp_path: Path) -> None:
    with registry_server() as server:
        values = values_for(tmp_path, registry=server.url)
        made = await values.begin().read([record(each) for each in (PAYMENT_BYTES, LINE_BYTES, NOTE_BYTES)])
        assert [record_data(each)["value"] for each in made] == [PAYMENT, {"sku": "b-2", "pieces": 3}, {"text": "hi"}]
        assert [each.reading.value.serde for each in made if each.reading] == [
            f"protobuf, schema 10 {name}" for name in ("Payment", "Line", "Note")
        ]
        # Where it stands is not known there.
        assert made[0].reading is not None and made[0].reading.value.words == "protobuf, schema 10 Payment"
        assert len(server.asked) == 3
        # Some registries have descriptors in base64, as they were registered.
        read = await one(values, b"\0\0\0\0\x0b" + PAYMENT_BYTES[5:])
        assert record_data(read)["value"] == PAYMENT and len(server.asked) == 6


async def test_a_header_may_name_the_schema(tmp_path: Path) -> None:
    with registry_server() as server:
        values = values_for(tmp_path, registry=server.url)
        order = record(ORDER_BYTES[5:], headers=(("__value_schema_id", ORDER_GUID), ("trace", b"4f")))
        line = record(LINE_BYTES[8:], headers=(("__value_schema_id", LINE_GUID),))
        first, second, third, fourth = await values.begin().read(
            [order, line, record(ORDER_BYTES[5:], headers=(("__key_schema_id", b"\1"),)), record(ORDER_BYTES)]
        )
        assert record_data(first)["value"] == record_data(fourth)["value"] == ORDER
        assert record_data(second)["value"] == {"sku": "b-2", "pieces": 3}
        assert first.reading is not None and first.reading.value.serde == "avro, schema 320e2d64 Order"
        assert third.reading is None
        await values.begin().read([order])
        assert len(server.asked) == 7


async def test_only_what_is_certain_is_read_without_a_rule(tmp_path: Path) -> None:
    with registry_server() as server:
        values = values_for(tmp_path, registry=server.url)
        stranger = (1 << 24).to_bytes(8, "big")
        for value in (b'{"a": 1}', b"text", b"\x00\x01", b"\0\0\0\0\0\0\0\x07", stranger, None):
            assert (await one(values, value)).reading is None, value
        # Bytes that begin as if they had an id are no reason to ask for ever.
        many = [record((number << 24).to_bytes(8, "big"), topic="longs") for number in range(100, 200)]
        assert all(each.reading is None for each in await values.begin().read(many))
        assert len(server.asked) == 21
        wrong = await one(values, ORDER_BYTES[:12])
        assert wrong.reading is not None and wrong.reading.value.problem == (
            "the bytes do not fit avro, schema 8 Order"
        )
        assert (await one(values, b"\0\0\0\0\x0d[1]")).reading.value.serde == "json schema, schema 13"
        assert "schema 14: no Avro schema" in (await one(values, b"\0\0\0\0\x0e1")).reading.value.problem
    assert (await one(values_for(tmp_path), ORDER_BYTES)).reading is None


async def test_a_registry_that_is_gone_or_hangs_costs_one_wait_and_says_why(tmp_path: Path) -> None:
    with registry_server() as server:
        server.hangs.set()
        now = 0.0
        registry = Registry(RegistryConfig(server.url, timeout_s=0.05), lambda: now)
        for _ in range(3):
            with pytest.raises(RegistryError, match=r"no answer within 0\.05 s"):
                await registry.schema(8)
        registry.config = registry.config._replace(timeout_s=20.0)
        server.hangs.clear()
        server.go_on.set()
        now = 6.0
        assert json.loads((await registry.schema(8)).text)["name"] == "Order"
        # One request when it hung, and one once it answered.
        assert server.asked.count("/schemas/ids/8") == 2
        now, server.status = 12.0, 503
        assert await registry.schema(8), "what is known is not asked for again"
        with pytest.raises(RegistryError, match="answers 503"):
            await registry.schema(10)
        asked = len(server.asked)
        for now, more in ((16.9, 0), (17.1, 1), (27.0, 1), (27.2, 2)):
            with pytest.raises(RegistryError, match="answers 503"):
                await registry.schema(10)
            assert len(server.asked) == asked + more, now
        url = server.url
    values = values_for(tmp_path, registry=url)
    read = await one(values, ORDER_BYTES)
    assert read.reading is not None and "Connection refused" in read.reading.value.problem
    shown = {each.title: plain(each.cell(read)) for each in record_columns(BytesFormat.AUTO, False)}
    assert shown["VALUE"].startswith(f"! the registry {url}: Connection refused 0x00 00 00 00 08")
    assert record_document(read)["value_decoded"] is None
    assert f"(the registry {url}: Connection refused)" in record_line(read)


async def test_user_and_password_are_sent_and_never_shown(tmp_path: Path) -> None:
    with registry_server() as server:
        config = RegistryConfig.parse(server.url.replace("http://", "http://ada:s%3Acret@"))
        assert config.url == server.url
        await Registry(config).schema(8)
        assert server.authorizations[0] == "Basic " + base64.b64encode(b"ada:s:cret").decode()
        server.status = 401
        with pytest.raises(RegistryError, match="answers 401: user and password are wanted") as caught:
            await Registry(config).schema(10)
        assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "data", "read"),
    [
        # Numbers and UUIDs are what the serializers in Kafka 4.3.1's kafka-clients wrote.
        ("int16", b"\xff\xfe", -2),
        ("int32", b"\0\0\1\0", 256),
        ("long", b"\0\0\0\1\0\0\0\0", 1 << 32),
        ("float", b"\xc0\x20\0\0", -2.5),
        ("double", b"\xc0\x04\0\0\0\0\0\0", -2.5),
        ("double", b"\x7f\xf8\0\0\0\0\0\0", "NaN"),
        ("string", b"123", "123"),
        ("hex", b"\x12\x34", "1234"),
        ("json", b"[1]", [1]),
        ("uuid", b"123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        ("uuid", bytes.fromhex("123e4567e89b12d3a456426614174000"), "123e4567-e89b-12d3-a456-426614174000"),
        ("msgpack", bytes.fromhex("82a161cb3ff8000000000000a162c40201ff"), {"a": 1.5, "b": "01ff"}),
        ("cbor", bytes.fromhex("a2616118186162c11a6a1a4cab"), {"a": 24, "b": "2026-05-30T02:34:19Z"}),
    ],
)
async def test_serdes_without_a_schema(word: str, data: bytes, read: object, tmp_path: Path) -> None:
    values = values_for(tmp_path, value_serde=word, key_serde=word)
    found = await one(values, data, data)
    assert record_data(found)["value"] == record_data(found)["key"] == read
    assert (await one(values, None)).value is None


@pytest.mark.parametrize(
    ("word", "data", "problem"),
    [
        ("int64", b"1234", "int64 has 8 bytes, this has 4"),
        ("string", b"a\xff", "no UTF-8: byte 1 is none of its"),
        ("json", b"{", "no JSON at character 1"),
        ("uuid", b"x", "no UUID: it has 36 characters (or 16 bytes), this has 1 bytes"),
        ("msgpack", b"\x81\xa1", "no MessagePack: it ends too early"),
        ("msgpack", b"\x01\x02", "no MessagePack: bytes are left over"),
        ("cbor", b"\xa1", "no CBOR: it ends too early"),
        ("cbor", b"\x01\x02", "no CBOR: 1 bytes are left over"),
        ("avro", b"{}", "no registry is known: --registry URL, `registry:` in serdes.yaml, or in the cluster file"),
        ("avro:/nowhere.avsc", b"{}", "/nowhere.avsc: No such file or directory"),
    ],
)
async def test_what_a_serde_does_not_fit_stays_bytes_with_the_reason(
    word: str, data: bytes, problem: str, tmp_path: Path
) -> None:
    found = await one(values_for(tmp_path, value_serde=word), data)
    assert found.reading is not None and found.reading.value.problem == problem
    assert found.readable_value == found.value == data


@pytest.mark.parametrize(
    ("library", "word"),
    [
        ("msgpack", "msgpack"),
        ("cbor2", "cbor"),
        ("fastavro", "avro:n.avsc"),
        ("grpc_tools", "protobuf:p.proto:P"),
        ("google.protobuf", "protobuf:p.desc:P"),
    ],
)
async def test_without_a_library_the_extra_is_named_and_bytes_are_shown(
    library: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    for name in ("n.avsc", "p.proto", "p.desc"):
        (tmp_path / name).write_text('"long"')
    found = await one(values_for(tmp_path, f"topics: [{{topic: orders, value: '{word}'}}]"), b"\x02")
    assert found.value == b"\x02" and found.reading is not None
    assert found.reading.value.problem.endswith("is not installed here: pip install 'kconsole[serdes]'")


async def test_local_schemas_read_values_framed_or_not(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "money.proto").write_text(MONEY_PROTO)
    (tmp_path / "payment.proto").write_text(PAYMENT_PROTO)
    fields = '[{"name": "n", "type": ["null", "long"]}]'
    (tmp_path / "n.avsc").write_text(f'{{"type": "record", "name": "N", "fields": {fields}}}')
    said = """
topics:
  - {topic: "pay*", value: "protobuf:payment.proto:shop.Payment"}
  - {topic: n, key: int32, value: "avro:n.avsc"}
"""
    values = values_for(tmp_path, said)
    for data in (PAYMENT_BYTES, PAYMENT_BYTES[7:]):
        assert record_data(await one(values, data, topic="payments"))["value"] == PAYMENT
    for data in (b"\x02\x08", b"\0\0\0\0\x09\x02\x08"):
        read = await one(values, data, b"\0\0\0\1", topic="n")
        assert record_data(read)["value"] == {"n": 4} and record_data(read)["key"] == 1
    assert read.reading is not None and read.reading.value.serde == "avro, n.avsc N"
    values.use("payments", values.word("payments", "key"), values.word("x", "value")._replace(name="hex"))
    assert record_data(await one(values, b"\x01", topic="payments"))["value"] == "01"


async def test_typed_json_is_written_as_the_serde_has_it(tmp_path: Path) -> None:
    with registry_server() as server:
        values = values_for(tmp_path, "topics: [{topic: orders, key: int64, value: avro}]", registry=server.url)
        assert await values.write("orders", "value", json.dumps(ORDER)) == ORDER_BYTES
        assert await values.write("orders", "key", "5") == b"\0\0\0\0\0\0\0\5"
        # What was read keeps its schema and message.
        assert await values.write("other", "value", json.dumps(PAYMENT), PAYMENT_BYTES) == PAYMENT_BYTES
        assert await values.write("other", "value", '{"sku": "b-2", "pieces": 3}', LINE_BYTES) == LINE_BYTES
        assert await values.write("other", "value", '{"text": "hi"}', NOTE_BYTES) == NOTE_BYTES
        for text, problem in (
            ('{"order": 1}', "the field amount is missing and has no default"),
            (json.dumps({**ORDER, "state": "LOST"}), "state"),
            ("{", "Expecting property name"),
        ):
            with pytest.raises(SerdeError, match=problem):
                await values.write("orders", "value", text)
        values.use("none", values.word("orders", "value"), values.word("orders", "value"))
        with pytest.raises(SerdeError, match="has no subject none-value"):
            await values.write("none", "value", "{}")
    for word, text, data in (("msgpack", '{"a": 1}', b"\x81\xa1a\x01"), ("cbor", '{"a": 1}', b"\xa1aa\x01")):
        assert await values_for(tmp_path, value_serde=word).write("x", "value", text) == data
    with pytest.raises(SerdeError, match="int16 is a whole number of 2 bytes"):
        await values_for(tmp_path, value_serde="int16").write("x", "value", "70000")


async def test_a_key_is_looked_for_as_its_serde_writes_it(tmp_path: Path) -> None:
    said = "topics: [{topic: numbers, key: int32}, {topic: orders, key: avro}]"
    values = values_for(tmp_path, said)
    for typed in ("7", "0x00000007"):
        assert await values.sought_key("numbers", typed) == b"\0\0\0\7"
    assert await values.sought_key("plain", "7") == b"7"
    with pytest.raises(SerdeError, match="no registry is known"):
        await values.sought_key("orders", "7")
    with pytest.raises(SerdeError, match="int32 is a whole number of 4 bytes"):
        await values.sought_key("numbers", "seven")


async def test_several_read_at_a_time_each_by_the_rules_it_began_with(tmp_path: Path) -> None:
    values = values_for(tmp_path, "topics: [{topic: orders, value: int16}]")
    first = asyncio.ensure_future(values.begin().read([record(b"\0\1")] * 500))
    await asyncio.sleep(0)
    values.use("orders", SerdeWord("auto"), SerdeWord("hex"))
    second = await values.begin().read([record(b"\0\1")] * 500)
    assert {each.readable_value for each in second} == {b"0001"}
    assert {each.readable_value for each in await first} == {b"1"}


async def test_a_file_of_serdes_that_is_wrong_says_so_and_what_is_certain_is_read(tmp_path: Path) -> None:
    with registry_server() as server:
        values = values_for(tmp_path, "topics:\n  - {topic: orders, value: avor}", registry=server.url)
        assert record_data(await one(values, ORDER_BYTES))["value"] == ORDER
        assert "serdes.yaml:2:28: there is no serde 'avor': did you mean avro?" in values.problem
        for text, problem in (
            ("registry: {url: localhost:8081}", "'url' of the registry is none; write http://HOST:PORT"),
            ('registry: {url: "http://h:1", password: "${NONE}"}', "the environment has no NONE"),
            ("registry: {url: 'http://h:1', timeout: soon}", "'timeout' is 'soon'"),
            ("topics: [{topic: orders}]", "neither key nor value is told"),
            ("topics: [{value: avro}]", "has no 'topic'"),
            ("topic: []", "did you mean 'topics'?"),
        ):
            (tmp_path / "serdes.yaml").write_text(text)
            values.begin()
            assert problem in values.problem, text


def test_a_password_in_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    for said in ("{url: 'http://h:1', user: me, password: s3cret}", "{url: 'http://me:s3cret@h:1'}"):
        values = values_for(tmp_path, f"registry: {said}")
        (tmp_path / "serdes.yaml").chmod(0o640)
        values.begin()
        assert "that others may read" in values.problem and "s3cret" not in values.problem and not values.registry_url
        (tmp_path / "serdes.yaml").chmod(0o600)
        values.begin()
        assert not values.problem and values.registry_url == "http://h:1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "topics:\n  - NEW\n"),
        ("# mine\ntopics: # all\n- {topic: a, key: hex}\n", "# mine\ntopics: # all\n- NEW\n- {topic: a, key: hex}\n"),
        (
            'topics:\n    - {topic: "orders", value: "json"}\nregistry: {url: "${URL}"}\n',
            'topics:\n  - NEW\nregistry: {url: "${URL}"}\n',
        ),
        ("topics: [{topic: a, key: hex}]\n", "put the rule into it by hand: - NEW"),
        ("topics: {\n", "not kept: "),
    ],
)
def test_a_rule_is_put_first_into_the_file_and_the_rest_stays(before: str | None, after: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "serdes.yaml"
    if before is not None:
        path.parent.mkdir()
        path.write_text(before)
        path.chmod(0o640)
    rule = SerdeRule("orders", SerdeWord("int64"), SerdeWord("avro"))
    written = '{topic: "orders", key: "int64", value: "avro"}'
    if "topics:" in after:
        keep_rule(path, rule)
        assert path.read_text() == after.replace("NEW", written)
        assert path.stat().st_mode & 0o777 == (0o600 if before is None else 0o640)
    else:
        with pytest.raises(SerdeError) as caught:
            keep_rule(path, rule)
        assert after.replace("NEW", written) in str(caught.value) and path.read_text() == before
    assert [each.name for each in path.parent.iterdir()] == ["serdes.yaml"]


PRICE_PROTO = """syntax = "proto3";
import "confluent/meta.proto";
import "confluent/type/decimal.proto";
import "google/type/date.proto";
message Price {
  confluent.type.Decimal amount = 1 [(confluent.field_meta) = { params: [{ key: "scale", value: "2" }] }];
  google.type.Date day = 2;
}
"""


@pytest.mark.parametrize("as_text", [True, False])
def test_schemas_that_connects_converter_registers_are_understood_without_references(as_text: bool) -> None:
    descriptor, _ = compiled(PRICE_PROTO, ())
    text = PRICE_PROTO if as_text else base64.b64encode(descriptor.SerializeToString()).decode()
    serde = ProtobufFile.compiled(Schema(SchemaType.PROTOBUF, text), "schema 1").framed_serde()
    shown = json.loads(serde.read(b"\0\x0a\x06\x0a\x02\x00\x96\x18\x02\x12\x03\x08\xe8\x0f"))
    assert shown == {
        "amount": {"value": "AJY=", "precision": 0, "scale": 2},
        "day": {"year": 2024, "month": 0, "day": 0},
    }

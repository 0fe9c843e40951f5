"""What the console reads and writes by a registry: the real one of kconsole, behind HTTP."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from registry_http import registry_http

from console.gateway import NewRecord
from console.gateway.readable import ReadableGateway
from console.serde_acts import written
from console.values.options import ValueOptions
from console.values.serdes import SerdeError
from console.values.value_reader import ValueReader
from console.values.values import Values
from console.viewmodel.records import RecordView

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]}
PAID = {**ORDER, "fields": [*ORDER["fields"], {"name": "paid", "type": "boolean", "default": False}]}
MONEY = 'syntax = "proto3"; message Money { int64 cents = 1; }'


async def read_one(reader: ValueReader, key: bytes, value: bytes, topic: str) -> RecordView:
    (found,) = await reader.read([RecordView(topic, 0, 0, 0, key, value)])
    return found


async def test_what_is_typed_is_written_by_the_newest_schema_of_its_topic_and_read_again_with_its_subject() -> None:
    async with registry_http() as registry:
        await registry.register("orders-key", '"string"')
        for schema in (ORDER, PAID):
            assert (await registry.register("orders-value", schema)).status == 200
        await registry.register("money-value", MONEY, "PROTOBUF")
        await registry.register("clicks-value", {"type": "object"}, "JSON")
        values = Values(ValueOptions(registry=registry.url), environment={})
        key = await values.write("orders", "key", "o-7")
        assert key == await values.write("orders", "key", '"o-7"')
        assert await values.write("orders", "key", "7") == key[:5] + b"\x027"
        assert await values.sought_key("orders", "o-7") == key
        value = await values.write("orders", "value", '{"id": 7, "paid": true}')
        assert values.written_as("orders", "value", value) == "avro, schema 3 Order · orders-value version 2"
        read = await read_one(values.begin(), key, value, "orders")
        assert read.meaning == (b'"o-7"', b'{"id": 7, "paid": true}')
        assert read.reading is not None and read.reading.key.words == "avro, schema 1 · orders-key version 1"
        assert read.reading.value[3:] == (3, "orders-value", 2)
        for topic, said, part in (
            ("money", '{"cents": "5"}', "protobuf, schema 4 Money · money-value"),
            ("clicks", '{"page": 1}', "json schema"),
        ):
            data = await values.write(topic, "value", said)
            assert data[0] == 0 and values.written_as(topic, "value", data).startswith(part)
            back = await read_one(values.begin(), b"", data, topic)
            assert back.reading is not None and back.reading.value.subject == f"{topic}-value"
        with pytest.raises(SerdeError, match="no value of avro, schema 3 Order"):
            await values.write("orders", "value", '{"id": "seven"}')
        # No schema: text, as ever; and what was text stays text where it is changed.
        plain = await values.write("logs", "value", "x")
        assert plain == b"x" and values.written_as("logs", "value", plain) == ""
        app: Any = SimpleNamespace(gateway=ReadableGateway(cast("Any", None), values))
        sent = NewRecord("orders", b"k", b"{}")
        before = RecordView("orders", 0, 0, 0, b"k", b"{}")
        typed = {"value": '{"id": 7}'}
        assert (await written(app, sent, typed, before)).record.value == b'{"id": 7}'
        made = await written(app, sent, typed, before._replace(topic="other"))
        assert made.said == "value as avro, schema 3 Order · orders-value version 2" and made.record.key == b"k"


async def test_nothing_is_sent_as_text_where_a_registry_that_is_gone_may_have_a_schema(tmp_path: Path) -> None:
    async with registry_http() as registry:
        url = registry.url
    values = Values(ValueOptions(registry=url), folder=tmp_path, environment={})
    with pytest.raises(SerdeError, match="Connection refused; so nobody knows whether orders-value has a schema"):
        await values.write("orders", "value", "x")
    (tmp_path / "serdes.yaml").write_text("topics: [{topic: orders, value: string}]")
    assert await values.write("orders", "value", "x") == b"x"

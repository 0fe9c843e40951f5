"""Masks: what rules take out of records, and that nothing gets past them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from registry_server import ORDER, ORDER_BYTES, registry_server

from console.gateway import GatewayError, Tail, TailBatch
from console.gateway.readable import ReadableGateway
from console.values.masking_file import parse_masking_file
from console.values.masks import apply_masks, parse_path
from console.values.options import ValueOptions
from console.values.values import MaskingBroken, Values
from console.viewmodel.cells import plain
from console.viewmodel.records import BytesFormat, RecordView, record_columns, record_data, record_text
from console.viewmodel.tailing import record_document, record_line
from engine.supervisor.yaml_nodes import SpecErrors

SECRET = "ada@example.org"


def record(value: bytes | None, key: bytes | None = b"k", topic: str = "orders", **fields) -> RecordView:
    return RecordView(topic, 3, 7, 1000, key, value, **fields)


def masked(rule: str, value: bytes | None, key: bytes | None = b"k", **fields) -> RecordView:
    masks = parse_masking_file(f"salt: s\nrules: [{rule}]", {}, b"")
    return apply_masks(record(value, key, **fields), masks.of_topic("orders"))


@pytest.mark.parametrize(
    ("rule", "value", "shown"),
    [
        ("{topic: 'ord*', path: $.who.mail}", {"who": {"mail": SECRET, "n": 1}}, {"who": {"mail": "***", "n": 1}}),
        ("{topic: '*', path: '$.items[*].card', do: last}", {"items": [{"card": 4111222233334444}, {}]}, None),
        ("{topic: '*', path: '$..mail'}", {"a": [{"mail": SECRET}], "mail": {"x": SECRET}}, None),
        ("{topic: '*', path: \"$['odd name'][1]\"}", {"odd name": [1, SECRET]}, {"odd name": [1, "***"]}),
        ("{topic: '*', path: $.who}", {"who": {"mail": SECRET}}, {"who": "***"}),
        ("{topic: '*', regex: '[a-z]+@[a-z.]+'}", {"a": [f"to {SECRET}!"], SECRET: 1}, {"a": ["to ***!"], "***": 1}),
        ("{topic: '*', regex: '\\d{16}', do: last, keep: 2}", {"n": 4111222233334444}, {"n": "***44"}),
        ("{topic: '*', in: value}", {"a": 1}, "***"),
    ],
)
def test_a_rule_takes_what_it_finds(rule: str, value: object, shown: object) -> None:
    found = masked(rule, json.dumps(value).encode())
    said = record_data(found)["value"]
    if shown is not None:
        assert said == shown
    assert SECRET not in str(found) and "41112222" not in str(found)
    assert found.reading is not None and found.reading.masked


def test_equal_values_have_equal_hashes_and_short_ones_nothing_left() -> None:
    one, two = (masked("{topic: '*', in: key, do: hash}", b"v", key) for key in (b"ada", b"eve"))
    assert one.key == masked("{topic: '*', in: key, do: hash}", b"w", b"ada").key != two.key
    assert one.key is not None and one.key.startswith(b"#") and len(one.key) == 13 and one.value == b"v"
    assert masked("{topic: '*', path: $.pin, do: last, keep: 4}", b'{"pin": "1234"}').value == b'{"pin": "***"}'
    other = parse_masking_file("salt: ${S}\nrules: [{topic: '*', in: key, do: hash}]", {"S": "t"}, b"")
    assert apply_masks(record(b"v", b"ada"), other).key != one.key


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("{topic: '*', path: $.mail}", b"no JSON: ada@example.org"),
        ("{topic: '*', path: $.mail}", b"\x00\xff ada@example.org"),
        # Only the second member would be looked at.
        ("{topic: '*', path: $.a.mail}", b'{"a": {"mail": "ada@example.org"}, "a": {}}'),
        ("{topic: '*', regex: 'ada'}", b"\xff ada"),
        ("{topic: '*', path: $.mail}", b"[" * 100_000),
    ],
)
def test_where_a_rule_cannot_look_all_is_hidden(rule: str, value: bytes) -> None:
    found = masked(rule, value)
    assert found.value == b"***" and found.readable_value == b"***"
    assert found.reading is not None and "so all is hidden" in found.reading.masked[0]


def test_what_no_rule_finds_stays_as_it_is() -> None:
    for rule in ("{topic: other, in: value}", "{topic: '*', path: $.none}", "{topic: '*', regex: zzz}"):
        same = record(b'{"a":  1.50}')
        assert apply_masks(same, parse_masking_file(f"rules: [{rule}]", {}, b"").of_topic("orders")) is same
    assert masked("{topic: '*', in: [key, value]}", None, None).value is None


def test_headers_are_masked_by_their_names() -> None:
    headers = (("Authorization", b"Bearer x"), ("trace", b"4f1c"), ("empty", None))
    found = masked("{topic: '*', header: 'auth*'}", b"v", headers=headers)
    assert found.headers == (("Authorization", b"***"), ("trace", b"4f1c"), ("empty", None))
    assert found.reading is not None and found.reading.masked == ("header Authorization hidden",)


def test_masked_values_say_so_wherever_they_are() -> None:
    found = masked("{topic: '*', path: $.mail}", json.dumps({"mail": SECRET, "n": 1}).encode())
    shown = {each.title: plain(each.cell(found)) for each in record_columns(BytesFormat.AUTO, False)}
    assert shown["VALUE"] == 'masked {"mail": "***", "n": 1}'
    hexed = {each.title: plain(each.cell(found)) for each in record_columns(BytesFormat.HEX, False)}
    assert hexed["VALUE"].startswith("masked 7b 22") and SECRET.encode().hex(" ") not in hexed["VALUE"]
    assert record_document(found)["masked"] == ["value $.mail hidden"]
    assert record_line(found).endswith('{"mail": "***", "n": 1}  (masked: value $.mail hidden)')
    assert SECRET not in record_text(found)


class _Cluster:
    """A cluster with one batch of records."""

    def __init__(self, *records: RecordView) -> None:
        self._records = list(records)

    async def tail(self, tail: Tail):
        yield TailBatch(self._records, caught_up=True)

    async def batch(self, path: str, position: int) -> str:
        return "all its bytes"


async def test_what_avro_says_is_masked_before_anybody_gets_it(tmp_path: Path) -> None:
    (tmp_path / "masking.yaml").write_text("rules: [{topic: orders, path: $.customer.email}]")
    with registry_server() as server:
        values = Values(ValueOptions(registry=server.url), folder=tmp_path, environment={})
        gateway = ReadableGateway(_Cluster(record(ORDER_BYTES), record(ORDER_BYTES, topic="free")), values)
        (batch,) = [each async for each in gateway.tail(Tail(("orders",)))]
        closed, free = batch.records
        assert record_data(closed)["value"] == {**ORDER, "customer": {"email": "***", "vip": True}}
        assert SECRET.encode() not in closed.value and closed.reading.value.serde == "avro, schema 8 Order"
        assert record_data(free)["value"] == ORDER and free.value == ORDER_BYTES
        # Nor are bytes shown by another way.
        with pytest.raises(GatewayError, match=r"orders is masked: its bytes are not shown \(.*masking\.yaml\)"):
            await gateway.batch("/data/orders-3/00000000000000000000.log", 0)
        assert await gateway.batch("/data/free-3/00000000000000000000.log", 0) == "all its bytes"
        # Without the schema nobody knows where the address is.
        server.status = 503
        values = Values(ValueOptions(registry=server.url), folder=tmp_path, environment={})
        (closed,) = await values.begin().read([record(ORDER_BYTES)])
        assert closed.value == b"***"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1:1: the file is empty; add `rules:`, or take the file away"),
        ("rules: []", "the file has no rules"),
        ("rules: [{topic: orders}]", "nothing says what is masked"),
        ("rules: [{topic: orders, path: mail}]", "a path begins with $ as in $.customer.email"),
        ("rules: [{topic: orders, path: '$.a..'}]", "'..' is no step"),
        ("rules: [{topic: orders, regex: '('}]", "is no regular expression"),
        ("rules: [{topic: orders, regex: 'a*'}]", "matches nothing at all"),
        ("rules: [{topic: orders, in: valeu}]", "there is nothing called 'valeu' in a record"),
        ("rules: [{topic: orders, in: value, do: hid}]", "did you mean 'hide'?"),
        ("rules: [{topic: orders, in: value, keep: 4}]", "'keep' goes with `do: last`"),
        ("rules: [{topic: orders, header: a, in: value}]", "'header' is about headers alone"),
        ("rules: [{topic: orders, in: value, hide: yes}]", "unknown key 'hide'"),
        ("rules: [{in: value}]", "a mask has no 'topic'"),
        ("salt: ${NONE}\nrules: [{topic: orders, in: value}]", "the environment has no NONE"),
        ("rules: [", "this is no YAML"),
    ],
)
async def test_a_file_that_is_wrong_lets_no_record_be_seen(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "masking.yaml").write_text(text)
    with pytest.raises(SpecErrors) as caught:
        parse_masking_file(text, {}, b"")
    assert said in caught.value.in_file("")
    gateway = ReadableGateway(_Cluster(record(b"v")), Values(folder=tmp_path, environment={}))
    with pytest.raises(GatewayError, match="no record is shown while masks are wrong"):
        _ = [each async for each in gateway.tail(Tail(("orders",)))]
    with pytest.raises(GatewayError, match="no record is shown while masks are wrong"):
        await gateway.batch("/data/orders-3/00000000000000000000.log", 0)
    # What is mended holds at once.
    (tmp_path / "masking.yaml").unlink()
    assert len([each async for each in gateway.tail(Tail(("orders",)))]) == 1
    with pytest.raises(MaskingBroken, match="there is no"):
        Values(ValueOptions(masking_file=str(tmp_path / "none.yaml"))).begin()


def test_paths_have_steps() -> None:
    assert [tuple(each) for each in parse_path("$.a[0][*]..b['c.d'].*")] == [
        ("a", False),
        (0, False),
        (None, False),
        ("b", True),
        ("c.d", False),
        (None, False),
    ]

"""What is kept of requests that pass: never contents and secrets, never more than a bounded number of bytes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from engine.record.builder import NewRecord, build_batch
from engine.wire import apis, codec
from engine.wire.message import Message
from engine.wire.messages.fetch_response import FetchableTopicResponse, FetchResponse, PartitionData
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from engine.wire.messages.metadata_request import MetadataRequest
from engine.wire.redaction import batch_heads, heads_lines, holds_secrets, redacted
from engine.wire.tap import Asker, Exchange, Tap, decode_response, errors_of, row_of
from tests.unit.wire.random_messages import random_message

SECRET = b"hunter2-hunter2-hunter2"
# Named here once more, by hand: a name that the code forgets must be missed.
SECRET_FIELDS = frozenset(
    ("records", "unaligned_records", "auth_bytes", "salt", "salted_password", "server_key", "stored_key", "hmac")
) | {"request_data", "response_data"}
ASKER = Asker(7, "127.0.0.1:5000", "PLAINTEXT", "billing")


def plant(message: Message) -> int:
    """Puts the secret wherever one may be; how often."""
    planted = 0
    for field in message.FIELDS:
        value: Any = getattr(message, field.name)
        if field.name in SECRET_FIELDS and field.type in ("bytes", "records"):
            setattr(message, field.name, SECRET)
            planted += 1
        elif isinstance(value, Message):
            planted += plant(value)
        elif isinstance(value, list):
            planted += sum(plant(each) for each in value if isinstance(each, Message))
    return planted


@pytest.mark.parametrize("get_class", [apis.request_class, apis.response_class], ids=["requests", "responses"])
def test_no_secret_of_any_message_is_kept_and_all_else_is(get_class: Any) -> None:
    rng = random.Random(7)
    found: set[str] = set()
    for key in apis.ApiKey:
        cls = get_class(key)
        version = apis.latest_version(key)
        for _ in range(4):
            message = random_message(cls, version, rng)
            if plant(message):
                found.add(cls.__name__)
                assert SECRET in codec.encode(message, version)
                assert holds_secrets(cls)
                assert SECRET not in codec.encode(redacted(message), version)
            elif not holds_secrets(cls):
                assert redacted(message) is message
    expected = {
        apis.request_class: {"ProduceRequest", "SaslAuthenticateRequest", "AlterUserScramCredentialsRequest"},
        apis.response_class: {"FetchResponse", "FetchSnapshotResponse", "SaslAuthenticateResponse"},
    }
    assert found >= expected[get_class]


def test_values_of_configs_that_are_secret_by_name_are_not_kept() -> None:
    configs = [
        AlterableConfig("listener.name.x.plain.sasl.jaas.config", 0, "hunter2"),
        AlterableConfig("ssl.keystore.password", 0, "hunter2"),
        AlterableConfig("retention.ms", 0, "5"),
    ]
    message = IncrementalAlterConfigsRequest([AlterConfigsResource(4, "1", configs)])
    kept: Any = redacted(message)
    assert [each.value for each in kept.resources[0].configs] == ["(not kept)", "(not kept)", "5"]
    assert configs[0].value == "hunter2"


def test_of_records_the_heads_of_their_batches_stay() -> None:
    first = build_batch([NewRecord(b"k", SECRET)] * 3, timestamp=5, base_offset=40)
    second = build_batch([NewRecord(None, SECRET)], timestamp=6, base_offset=43)
    heads = batch_heads(memoryview(first + second))
    assert len(heads) == 2 * 61 and SECRET not in heads
    lines = heads_lines(heads)
    assert lines == [f"batch at 40: 3 records, {len(first)} bytes", f"batch at 43: 1 records, {len(second)} bytes"]
    assert batch_heads(b"garbage" * 20) == b"" and batch_heads(object()) == b"" and heads_lines(None) == []


def exchange(tap: Tap, size: int = 0, *, response: Message | None = None) -> Exchange:
    made = Exchange(ASKER, 3, 12, 1, 1_000)
    made.arrived_ns, made.began_ns = 1_000_000, 1_500_000
    frame = b"head" + codec.encode(MetadataRequest(), 12) + bytes(size)
    tap.asked(made, frame, 4, MetadataRequest())
    if response is not None:
        tap.answered(made, response, codec.encode_parts(response, 12), 100, 4_000_000)
    return made


def test_the_ring_keeps_the_last_ones_within_its_bytes() -> None:
    tap = Tap(kept_bytes=20_000)
    for _ in range(200):
        tap.over(exchange(tap, 1_000))
        assert tap.bytes_kept <= 20_000
    assert tap.last_number == 200
    kept = [each.number for each in tap.since(0, 1_000)]
    assert kept == list(range(200 - len(kept) + 1, 201)) and 10 <= len(kept) <= 20
    assert [each.number for each in tap.since(198, 10)] == [199, 200]
    assert [each.number for each in tap.since(0, 2)] == [199, 200]
    assert tap.find(200) is tap.since(199, 1)[0]
    assert tap.find(1) is None and tap.find(201) is None
    # One that is longer than is kept of any: that it was there is known.
    tap.over(exchange(tap, 300_000))
    assert tap.find(201).request == b"" and "too long to be kept" in tap.find(201).note


def test_an_answer_is_over_when_the_socket_has_it_or_the_connection_is_lost() -> None:
    tap = Tap()
    response = FetchResponse(
        responses=[FetchableTopicResponse(partitions=[PartitionData(error_code=3), PartitionData(error_code=6)])],
        throttle_time_ms=20,
        error_code=0,
    )
    sent, lost = exchange(tap), exchange(tap)
    for each in (sent, lost):
        each.api_key = 1
        tap.answered(each, response, (), 100, 4_000_000)
    tap.queued(sent)
    assert tap.since(0, 10) == []
    tap.drained(ASKER.connection, 4_200_000)
    tap.queued(lost)
    tap.lost(ASKER.connection)
    first, second = tap.since(0, 10)
    assert row_of(first) == [
        1, 1_000, *ASKER, 1, 12, 1, first.request_bytes, 100, 500, 2_500, 200, 20,
        ["UNKNOWN_TOPIC_OR_PARTITION", "NOT_LEADER_OR_FOLLOWER"], "",
    ]  # fmt: skip
    assert "lost before the answer was taken" in row_of(second)[-1] and row_of(second)[-4] is None
    kept = decode_response(first)
    assert kept is not None and errors_of(kept) == errors_of(response)

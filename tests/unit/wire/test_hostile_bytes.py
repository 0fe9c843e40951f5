"""Whatever the bytes, a decoder raises DecodeError or returns a message, and trusts no length."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_messages import random_message
from test_golden_messages import ALL

from engine.wire import codec
from engine.wire.api_table import APIS
from engine.wire.apis import request_class
from engine.wire.codec import DecodeError, EncodeError
from engine.wire.messages.create_topics_request import CreateTopicsRequest
from engine.wire.messages.fetch_request import FetchRequest
from engine.wire.messages.metadata_request import MetadataRequest
from engine.wire.messages.produce_request import ProduceRequest
from engine.wire.record_frames import decode_coordinator_record, decode_metadata_record

GOLDEN_FULL = [each for each in ALL if each.variant == "FULL"]


def decode_or_refuse(cls: Any, version: int, data: bytes) -> None:
    try:
        _, end = codec.decode(cls, version, data)
    except DecodeError:
        return
    assert end <= len(data)


def test_a_message_cut_at_any_byte_is_refused() -> None:
    for golden in GOLDEN_FULL:
        for cut in range(len(golden.data) if len(golden.data) < 300 else 0):
            with pytest.raises(DecodeError):
                codec.decode(golden.cls, golden.version, golden.data[:cut])


def test_a_long_message_cut_at_any_byte_is_refused() -> None:
    rng = random.Random(7)
    for golden in GOLDEN_FULL:
        for _ in range(6 if golden.data else 0):
            with pytest.raises(DecodeError):
                codec.decode(golden.cls, golden.version, golden.data[: rng.randrange(len(golden.data))])


def test_changed_bytes_are_refused_or_read_but_never_anything_else() -> None:
    rng = random.Random(11)
    for golden in GOLDEN_FULL:
        for _ in range(12):
            data = bytearray(golden.data)
            for _ in range(rng.choice((1, 1, 4))):
                if data:
                    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
            decode_or_refuse(golden.cls, golden.version, bytes(data))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(APIS)), st.data())
def test_garbage_is_refused_or_read_but_never_anything_else(key: int, data: st.DataObject) -> None:
    _, low, high, *_ = APIS[key]
    decode_or_refuse(request_class(key), data.draw(st.integers(low, high)), data.draw(st.binary(max_size=200)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(APIS)), st.integers(0, 2**32), st.data())
def test_what_is_written_is_read_back_the_same(key: int, seed: int, data: st.DataObject) -> None:
    _, low, high, *_ = APIS[key]
    version = data.draw(st.integers(low, high))
    message = random_message(request_class(key), version, random.Random(seed), sparse=bool(seed % 2))
    message.unknown_tagged_fields = [(9_999, b"later")] if version >= message.FLEXIBLE_FROM else None
    written = codec.encode(message, version)
    read, end = codec.decode(type(message), version, memoryview(written))
    assert end == len(written)
    assert read == message
    assert b"".join(codec.encode_parts(read, version)) == written


@pytest.mark.parametrize(
    ("cls", "version", "data"),
    [
        (MetadataRequest, 8, b"\x7f\xff\xff\xff" + bytes(20)),
        (MetadataRequest, 8, b"\x00\x00\x00\x01\x7f\xff" + bytes(20)),
        (MetadataRequest, 12, b"\xff\xff\xff\xff\x0f" + bytes(20)),
        (MetadataRequest, 12, b"\xff\xff\xff\xff\xff\xff\xff\xff\x0f" + bytes(20)),
        (CreateTopicsRequest, 5, b"\xfe\xff\xff\xff\x07" + bytes(20)),
        (FetchRequest, 4, bytes(17) + b"\x7f\xff\xff\xff" + bytes(20)),
        (
            ProduceRequest,
            9,
            b"\x00\xff\xff\x00\x00\x00\x00\x02\x02a\x02\x00\x00\x00\x00\xff\xff\xff\xff\x07" + bytes(9),
        ),
    ],
)
def test_huge_counts_and_lengths_take_no_memory(cls: Any, version: int, data: bytes) -> None:
    decode_or_refuse(cls, version, data)
    tracemalloc.start()
    with pytest.raises(DecodeError):
        codec.decode(cls, version, data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000


def test_a_version_that_the_schema_has_not_is_refused_both_ways() -> None:
    with pytest.raises(DecodeError, match="has no version"):
        codec.decode(MetadataRequest, 99, bytes(50))
    with pytest.raises(EncodeError, match="has no version"):
        codec.encode(MetadataRequest(), 99)


def test_tags_out_of_order_or_repeated_are_refused() -> None:
    body = codec.encode(MetadataRequest(topics=None), 12)[:-1]
    assert codec.decode(MetadataRequest, 12, body + b"\x02\x05\x00\x06\x01a")[0].unknown_tagged_fields == [
        (5, b""),
        (6, b"a"),
    ]
    for tags in (b"\x02\x06\x00\x05\x00", b"\x02\x05\x00\x05\x00"):
        with pytest.raises(DecodeError, match="follows"):
            codec.decode(MetadataRequest, 12, body + tags)


def test_a_field_that_the_version_has_not_is_dropped_if_ignorable_and_refused_if_not() -> None:
    from engine.wire.messages.fetch_response import FetchResponse
    from engine.wire.messages.offset_commit_request import OffsetCommitRequest

    assert codec.encode(FetchResponse(session_id=0, error_code=3), 4) == codec.encode(FetchResponse(), 4)
    with pytest.raises(EncodeError, match="session_id"):
        codec.encode(FetchResponse(session_id=1), 4)
    with pytest.raises(EncodeError, match="must not be null"):
        codec.encode(OffsetCommitRequest(group_id=None), 8)  # type: ignore[arg-type]
    with pytest.raises(EncodeError):
        codec.encode(OffsetCommitRequest(group_id="\ud800"), 8)
    with pytest.raises(EncodeError):
        codec.encode(OffsetCommitRequest(generation_id_or_member_epoch=1 << 40), 8)


def test_damaged_metadata_and_coordinator_records_are_refused() -> None:
    rng = random.Random(3)
    for _ in range(3000):
        data = rng.randbytes(rng.randrange(40))
        with contextlib.suppress(DecodeError):
            decode_metadata_record(b"\x01" + data)
        for which in ("group", "transaction", "share"):
            with contextlib.suppress(DecodeError):
                decode_coordinator_record(b"\x00" + data, data[3:], which)

"""Records in and out of batches, with every codec, and what hostile bytes do."""

from __future__ import annotations

import random

import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import HEADER_BYTES, check_crc, read_header
from engine.record.builder import NewRecord, build_batch, finish
from engine.record.compression import Compression, compress, decompress
from engine.record.reader import read_records

TEXT = st.text(max_size=20)
MAYBE_BYTES = st.none() | st.binary(max_size=200)
RECORDS = st.lists(
    st.builds(
        NewRecord,
        MAYBE_BYTES,
        MAYBE_BYTES,
        st.lists(st.tuples(TEXT, MAYBE_BYTES), max_size=3),
        st.integers(0, 1 << 45),
        st.none(),
    ),
    min_size=1,
    max_size=150,
)


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.sampled_from(Compression), st.integers(0, 1 << 60))
def test_what_is_written_is_read(records: list[NewRecord], codec: Compression, base_offset: int) -> None:
    batch = build_batch(records, base_offset=base_offset, compression=codec)
    header = check_crc(batch)
    assert header.max_timestamp == max(each.timestamp or 0 for each in records)
    found = list(read_records(memoryview(batch)))
    assert [each.offset for each in found] == list(range(base_offset, base_offset + len(records)))
    assert [(each.timestamp, each.key, each.value, each.headers) for each in found] == [
        (each.timestamp, each.key, each.value, list(each.headers)) for each in records
    ]


@pytest.mark.parametrize("codec", list(Compression))
def test_another_library_and_this_one_read_each_other(codec: Compression) -> None:
    rows = [(f"key-{n}".encode(), f"value-{n}".encode() * 50, [("h", b"x"), ("n", None)]) for n in range(300)]
    ours = build_batch([NewRecord(key, value, headers, 5) for key, value, headers in rows], compression=codec)
    theirs = [(each.key, each.value, each.headers) for each in DefaultRecordBatch(ours)]
    assert theirs == rows
    builder = DefaultRecordBatchBuilder(2, int(codec), 0, -1, -1, -1, 1 << 20)
    for index, (key, value, headers) in enumerate(rows):
        builder.append(index, 5, key, value, headers)
    back = bytes(builder.build())
    check_crc(back)
    assert [(each.key, each.value, each.headers) for each in read_records(back)] == rows


def test_lz4_blocks_are_independent_and_snappy_has_the_frame_of_its_java_library() -> None:
    packed = compress(Compression.LZ4, b"x" * 200_000)
    assert packed[:4] == b"\x04\x22\x4d\x18" and packed[4] & 0x20, "FLG.B.Indep must be set"
    assert compress(Compression.SNAPPY, b"abc" * 100)[:8] == b"\x82SNAPPY\x00"
    assert decompress(Compression.SNAPPY, bytes(cramjam.snappy.compress_raw(b"raw" * 9))) == b"raw" * 9


@pytest.mark.parametrize("codec", [each for each in Compression if each])
def test_a_bomb_costs_its_bound_and_no_more(codec: Compression) -> None:
    bomb = compress(codec, bytes(4 << 20))
    assert decompress(codec, bomb, 4 << 20) == bytes(4 << 20)
    with pytest.raises(KafkaError) as caught:
        decompress(codec, bomb, (4 << 20) - 1)
    assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("codec", [each for each in Compression if each])
@pytest.mark.parametrize("garbage", [b"", b"\x00", b"not packed at all", b"\xff" * 100])
def test_what_does_not_unpack_is_corrupt(codec: Compression, garbage: bytes) -> None:
    if codec is Compression.SNAPPY and garbage == b"\x00":
        return  # an empty block of raw snappy
    with pytest.raises(KafkaError) as caught:
        decompress(codec, garbage)
    assert caught.value.code in (ErrorCode.CORRUPT_MESSAGE, ErrorCode.MESSAGE_TOO_LARGE)


@pytest.mark.parametrize("codec", [Compression.GZIP, Compression.LZ4, Compression.ZSTD, Compression.SNAPPY])
def test_a_packed_body_that_was_cut_does_not_pass(codec: Compression) -> None:
    packed = compress(codec, random.Random(1).randbytes(10_000))
    for end in (len(packed) // 2, len(packed) - 1):
        with pytest.raises(KafkaError):
            decompress(codec, packed[:end])


def test_mutated_records_raise_only_kafka_errors() -> None:
    rng = random.Random(7)
    batch = build_batch([NewRecord(b"key", b"value", [("h", b"v")], 1) for _ in range(20)])
    header, body = read_header(batch), batch[HEADER_BYTES:]
    refused = 0
    for _ in range(3000):
        broken = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            list(read_records(finish(header, bytes(broken[: rng.randint(0, len(broken))]))))
        except KafkaError as error:
            assert error.code is ErrorCode.INVALID_RECORD
            refused += 1
    assert refused > 2500


def test_a_count_that_does_not_fit_the_records_is_invalid() -> None:
    batch = build_batch([NewRecord(b"k", b"v", timestamp=1)] * 3)
    for count in (2, 4):
        header = read_header(batch)._replace(record_count=count)
        with pytest.raises(KafkaError) as caught:
            list(read_records(finish(header, batch[HEADER_BYTES:])))
        assert caught.value.code is ErrorCode.INVALID_RECORD


def test_a_header_count_that_claims_the_moon_allocates_nothing() -> None:
    body = b"\x00\x00\x00\x01\x01\xfe\xff\xff\xff\x0f"
    record = bytes((len(body) << 1,)) + body
    with pytest.raises(KafkaError) as caught:
        list(read_records(finish(read_header(build_batch([NewRecord(None, None, timestamp=0)])), record)))
    assert caught.value.code is ErrorCode.INVALID_RECORD


def test_log_append_time_is_every_records_time() -> None:
    batch = build_batch([NewRecord(None, b"v", timestamp=n) for n in (5, 9)], is_log_append_time=True)
    assert {each.timestamp for each in read_records(batch)} == {9}

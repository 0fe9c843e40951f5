"""A key is looked for where its producer put it."""

from __future__ import annotations

import pytest

from console.viewmodel.key_search import KeyRule, KeySearch, KeyWish, murmur2, partition_of, typed_key
from console.viewmodel.records import RecordView
from engine.model.topic_partition import TopicPartition


@pytest.mark.parametrize(
    ("key", "expected"),
    # What Kafka's own test of Utils.murmur2 expects.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % 2**32


def test_a_partition_is_that_of_the_producers_rule() -> None:
    assert partition_of(b"foobar", KeyRule.MURMUR2, 1000) == (-790332482 & 0x7FFFFFFF) % 1000
    # CRC-32 as in zlib: of "123456789" it is 0xCBF43926, in every table of checksums.
    assert partition_of(b"123456789", KeyRule.CRC32, 1000) == 0xCBF43926 % 1000
    assert partition_of(b"", KeyRule.CRC32, 6) is None is partition_of(b"x", KeyRule.ALL, 6)
    assert partition_of(b"", KeyRule.MURMUR2, 6) is not None


def test_keys_are_text_or_hex() -> None:
    assert typed_key("order-7") == b"order-7" and typed_key("0x00ff") == b"\x00\xff" and typed_key("0x") == b""
    with pytest.raises(ValueError, match="0xz is no hex"):
        typed_key("0xz")


def test_a_search_tells_how_much_was_read_where_and_what_is_to_go() -> None:
    search = KeySearch(KeyWish(b"foobar"))
    assert search.begin(6) == (0,)
    records = [RecordView("orders", 0, at, 0, key, b"v") for at, key in enumerate((b"foobar", b"foo", None))]
    place = TopicPartition("orders", 0)
    assert search.take(records, {place: 3}, {place: 10}) == records[:1]
    assert search.words == "1 found in 3 read of partition 0 of 6 (murmur2), 7 to go"
    assert search.positions == {place: 3}
    assert search.take([], {place: 10}, {place: 10}) == [] and not search.to_go
    search.restart()
    assert search.nothing == "no record with the key foobar in partition 0 of 6 (murmur2): its producer may choose " + (
        "partitions otherwise (K)"
    )
    everywhere = KeySearch(KeyWish(b"\xff", KeyRule.ALL))
    assert everywhere.begin(6) is None and everywhere.wish.words == "0xff"
    assert everywhere.nothing == "no record with the key 0xff in all 6 partitions"

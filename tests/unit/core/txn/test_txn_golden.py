"""Transitions and records beside Apache Kafka's TransactionMetadata and TransactionLog, byte by byte.

``golden/transactions-4.3.1.txt`` was made by Kafka's own classes (make_golden_transactions.py).
"""

from __future__ import annotations

from pathlib import Path

from engine.core.txn.metadata import TransactionMetadata, new_metadata
from engine.core.txn.records import metadata_from_value, transaction_record
from engine.model.topic_partition import TopicPartition
from engine.wire.record_frames import decode_coordinator_record, encode_coordinator_key, encode_coordinator_value

GOLDEN = Path(__file__).parent / "golden" / "transactions-4.3.1.txt"
STARTED_MS = 1_750_000_000_000
TIMEOUT_MS = 60_000


def step(before: TransactionMetadata, words: list[str], now_ms: int) -> TransactionMetadata:
    match words:
        case ["init", expected]:
            epoch = None if expected == "-1" else int(expected)
            return before.increment_producer_epoch(TIMEOUT_MS, epoch, now_ms)
        case ["rotate", producer_id, records]:
            return before.rotate_producer_id(int(producer_id), TIMEOUT_MS, now_ms, records_last_epoch=records == "1")
        case ["add", topic, partition, version]:
            return before.add_partitions([TopicPartition(topic, int(partition))], int(version), now_ms)
        case ["end", committed, version, next_producer_id]:
            return before.prepare_end(committed == "1", int(version), int(next_producer_id), now_ms)
        case ["fence"]:
            return before.fence_producer_epoch().prepare_end(False, 0, -1, now_ms)
        case ["complete"]:
            return before.complete(now_ms)
    raise AssertionError(words)


def test_records_are_those_of_apache_kafka() -> None:
    now_ms = STARTED_MS
    metadata: TransactionMetadata | None = None
    level = 0
    steps = 0
    for line in GOLDEN.read_text().splitlines():
        operation, _, golden = line.rpartition(" ")
        words = operation.split(" ")
        now_ms += 1000
        if words[0] == "new":
            level, producer_id, epoch = map(int, words[1:])
            metadata = new_metadata("payments", producer_id, TIMEOUT_MS, now_ms)._replace(producer_epoch=epoch)
            assert encode_coordinator_key(transaction_record(metadata, level).key).hex() == golden
            continue
        assert metadata is not None
        metadata = step(metadata, words, now_ms)
        record = transaction_record(metadata, level)
        assert record.value is not None
        value = encode_coordinator_value(record.value, record.value_version)
        assert value.hex() == golden, f"{operation}: {metadata}"
        decoded = decode_coordinator_record(encode_coordinator_key(record.key), value, "transaction")
        assert decoded is not None
        assert transaction_record(metadata_from_value("payments", decoded[1]), level).value is not None
        steps += 1
    assert steps > 50

"""A history of a log that Apache Kafka's own log and ours go through, to compare what they answer and write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from engine.model.errors import KafkaError
from engine.model.ids import uuid_from_str
from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.record.builder import NewRecord, build_batch
from engine.record.compression import Compression
from engine.record.control import build_end_transaction_marker
from engine.storage.log import Log
from engine.storage.log_appends import AppendInfo
from engine.world.real import RealDisk

NOW_MS = 1_700_000_000_000
SEGMENT_BYTES = 1500
INDEX_INTERVAL_BYTES = 200
TOPIC_ID = uuid_from_str("AAECAwQFBgcICQoLDA0ODw")
BROKER_EPOCH = 42
# Base offset of the segment that the truncations cut.
LAST_TRUNCATED_SEGMENT = 60


class Append(NamedTuple):
    """An append as the leader."""

    leader_epoch: int
    origin: str
    transaction_version: int
    batch: bytes


class Act(NamedTuple):
    """``high_watermark`` or ``truncate`` with an offset, or ``roll``."""

    name: str
    offset: int = -1


def data(
    number: int, *, epoch: int = 0, count: int = 2, value_bytes: int = 40, **options: int | bool | Compression
) -> Append:
    """Records of a client; ``number`` tells them apart."""
    records = [
        NewRecord(b"key-%d" % each, bytes((number % 256,)) * value_bytes, timestamp=NOW_MS + 10 * number - each)
        for each in range(count)
    ]
    return Append(epoch, "client", 0, build_batch(records, **options))  # type: ignore[arg-type]


def marker(
    *,
    committed: bool,
    producer_id: int,
    epoch: int,
    version: int = 1,
    coordinator_epoch: int = 3,
    leader_epoch: int = 2,
) -> Append:
    """The end of a transaction."""
    batch = build_end_transaction_marker(
        committed=committed,
        producer_id=producer_id,
        producer_epoch=epoch,
        coordinator_epoch=coordinator_epoch,
        timestamp=NOW_MS,
    )
    return Append(leader_epoch, "coordinator", version, batch)


def operations() -> Iterator[Append | Act]:
    """All of them, in order."""
    for number in range(8):
        yield data(number)
    yield Act("high_watermark", 10)
    # An idempotent producer: in order, repeated, with gaps, of an old and of a new epoch.
    for number in range(7):
        yield data(number, epoch=1, producer_id=7, producer_epoch=1, base_sequence=2 * number)
    for number in (6, 2, 1):
        yield data(number, epoch=1, producer_id=7, producer_epoch=1, base_sequence=2 * number)
    yield data(9, epoch=1, producer_id=7, producer_epoch=1, base_sequence=16)
    yield data(9, epoch=1, producer_id=7, producer_epoch=0, base_sequence=14)
    yield data(9, epoch=1, producer_id=7, producer_epoch=2, base_sequence=14)
    yield data(9, epoch=1, producer_id=7, producer_epoch=2, base_sequence=0)
    # One that is not known (any more) may go on anywhere (KIP-360); sequences wrap.
    yield data(10, epoch=1, producer_id=8, producer_epoch=0, base_sequence=2**31 - 3)
    yield data(11, epoch=1, count=3, producer_id=8, producer_epoch=0, base_sequence=2**31 - 1)
    yield data(12, epoch=1, producer_id=8, producer_epoch=0, base_sequence=2)
    yield data(11, epoch=1, count=3, producer_id=8, producer_epoch=0, base_sequence=2**31 - 1)
    # Two transactions side by side, both aborted, and one that is committed.
    for number in range(3):
        for producer_id in (20, 21):
            yield data(
                20 + number,
                epoch=2,
                producer_id=producer_id,
                producer_epoch=0,
                base_sequence=2 * number,
                is_transactional=True,
            )
    # Small, because Kafka begins a new segment for records that it refuses.
    yield data(24, epoch=2, count=1, value_bytes=1, producer_id=20, producer_epoch=0, base_sequence=6)
    yield marker(committed=False, producer_id=21, epoch=0)
    yield Act("high_watermark", 1000)
    yield marker(committed=False, producer_id=20, epoch=0)
    yield marker(committed=False, producer_id=20, epoch=0, coordinator_epoch=2)
    yield Act("high_watermark", 1000)
    yield data(25, epoch=2, producer_id=20, producer_epoch=0, base_sequence=6, is_transactional=True)
    yield marker(committed=True, producer_id=20, epoch=0, version=2)
    yield marker(committed=True, producer_id=20, epoch=1, version=2)
    yield marker(committed=True, producer_id=20, epoch=1, version=2)
    yield data(26, epoch=2, producer_id=20, producer_epoch=0, base_sequence=8, is_transactional=True)
    yield data(26, epoch=2, producer_id=20, producer_epoch=1, base_sequence=8, is_transactional=True)
    yield data(26, epoch=2, producer_id=20, producer_epoch=1, base_sequence=0, is_transactional=True)
    # A marker of a producer that wrote nothing here.
    yield marker(committed=False, producer_id=30, epoch=5)
    yield Act("roll")
    for number, codec in enumerate((Compression.NONE, Compression.LZ4, Compression.GZIP, Compression.ZSTD)):
        yield data(30 + number, epoch=4, count=5, value_bytes=100, compression=codec)
    yield data(1, epoch=4)
    yield data(50, epoch=5, count=20, value_bytes=100)
    yield Act("truncate", 65)
    for number in range(3):
        yield data(60 + number, epoch=6, producer_id=9, producer_epoch=0, base_sequence=2 * number)
    yield Act("high_watermark", 1000)
    yield Act("truncate", 67)
    for number in range(12):
        yield data(70 + number, epoch=7, count=1, value_bytes=number)


def open_scenario_log(
    directory: Path, partition: TopicPartition, *, clean_shutdown: bool = False, recovery_point: int = 0
) -> Log:
    """The log in ``directory`` that goes through it."""
    config = {"internal.segment.bytes": str(SEGMENT_BYTES), "index.interval.bytes": str(INDEX_INTERVAL_BYTES)}
    return Log.open(
        RealDisk(),
        str(directory / str(partition)),
        partition,
        TOPIC_ID,
        LogConfig.from_(None, config),
        now_ms=NOW_MS,
        clean_shutdown=clean_shutdown,
        recovery_point=recovery_point,
    )


def append(log: Log, operation: Append) -> AppendInfo:
    """Raises: KafkaError: the scenario has appends that are refused."""
    return log.append_as_leader(
        operation.batch,
        operation.leader_epoch,
        now_ms=NOW_MS,
        origin=operation.origin,
        transaction_version=operation.transaction_version,
    )


def perform(log: Log, operation: Append | Act) -> str:
    """What the log answers, in a line."""
    answer = ""
    if isinstance(operation, Append):
        name = "leader"
        try:
            info = append(log, operation)
            answer = f" {info.base_offset} {info.last_offset}"
        except KafkaError as error:
            answer = f" {error.code.name}"
    else:
        name = operation.name
        if name == "high_watermark":
            log.set_high_watermark(operation.offset)
        elif name == "truncate":
            log.truncate_to(operation.offset)
        else:
            log.roll(NOW_MS)
    return f"{name}{answer} end={log.log_end_offset} stable={log.last_stable_offset}"

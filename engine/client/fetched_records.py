"""Records out of a Fetch answer, for people: decoded, aborted transactions left out where asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine.model.errors import KafkaError
from engine.record.batch import BatchHeader, iter_batches
from engine.record.compression import Compression
from engine.record.reader import read_records
from engine.wire.messages.fetch_response import PartitionData

_ABORT_MARKER = 0


class FetchedRecord(NamedTuple):
    """One record and what its batch says. Times are wall-clock milliseconds; ``value`` ``None`` is a tombstone.

    A record whose batch does not unpack stands for the whole batch: ``error`` says why, and there is nothing else.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_type: str
    leader_epoch: int
    compression: str
    producer_id: int | None
    is_transactional: bool
    is_control: bool
    error: str = ""


class Decoded(NamedTuple):
    """Records from an offset on, and the offset to go on from."""

    records: list[FetchedRecord]
    next_offset: int


def decode_fetched(
    topic: str,
    data: PartitionData,
    from_offset: int,
    *,
    read_committed: bool = False,
    include_control: bool = False,
) -> Decoded:
    """Decode what one partition answered. A batch that does not decode becomes one record with its ``error``."""
    found: list[FetchedRecord] = []
    next_offset = from_offset
    aborted = AbortedTransactions(data) if read_committed else None
    try:
        for header, batch in iter_batches(data.records or b""):
            if header.next_offset <= from_offset:
                if aborted is not None:
                    aborted.leaves_out(header, batch)
                continue
            next_offset = header.next_offset
            if aborted is not None and aborted.leaves_out(header, batch):
                continue
            if header.is_control and not include_control:
                continue
            found += _records_of(topic, data.partition_index, header, batch, from_offset)
    except KafkaError as error:
        # The batches' own lengths are wrong: nothing that follows can be found.
        found.append(_unreadable(topic, data.partition_index, next_offset, None, str(error)))
        next_offset += 1
    return Decoded(found, next_offset)


def _records_of(
    topic: str, partition: int, header: BatchHeader, batch: memoryview, from_offset: int
) -> Iterator[FetchedRecord]:
    timestamp_type = "LogAppendTime" if header.is_log_append_time else "CreateTime"
    try:
        compression = Compression(header.compression).name.lower()
        producer_id = header.producer_id if header.has_producer_id else None
        for record in read_records(batch, header):
            if record.offset >= from_offset:
                yield FetchedRecord(
                    topic,
                    partition,
                    record.offset,
                    record.timestamp,
                    record.key,
                    record.value,
                    tuple(record.headers),
                    timestamp_type,
                    header.partition_leader_epoch,
                    compression,
                    producer_id,
                    header.is_transactional,
                    header.is_control,
                )
    except (KafkaError, ValueError) as error:
        yield _unreadable(topic, partition, max(header.base_offset, from_offset), header, str(error))


def _unreadable(topic: str, partition: int, offset: int, header: BatchHeader | None, error: str) -> FetchedRecord:
    return FetchedRecord(
        topic,
        partition,
        offset,
        header.max_timestamp if header else -1,
        None,
        None,
        (),
        "CreateTime",
        header.partition_leader_epoch if header else -1,
        "none",
        None,
        bool(header and header.is_transactional),
        bool(header and header.is_control),
        error,
    )


class AbortedTransactions:
    """Which batches belong to transactions that were aborted (as Kafka's CompletedFetch finds them)."""

    def __init__(self, data: PartitionData) -> None:
        self._coming = sorted((each.first_offset, each.producer_id) for each in data.aborted_transactions or ())
        self._producers: set[int] = set()

    def leaves_out(self, header: BatchHeader, batch: memoryview) -> bool:
        """Whether the next batch is of an aborted transaction; to be asked for each batch of the answer, in order."""
        while self._coming and self._coming[0][0] <= header.last_offset:
            self._producers.add(self._coming.pop(0)[1])
        if header.producer_id not in self._producers:
            return False
        if header.is_control:
            if _is_abort_marker(header, batch):
                self._producers.discard(header.producer_id)
            return False
        return header.is_transactional


def _is_abort_marker(header: BatchHeader, batch: memoryview) -> bool:
    try:
        for record in read_records(batch, header):
            key = record.key or b""
            return len(key) >= 4 and int.from_bytes(key[2:4], "big", signed=True) == _ABORT_MARKER
    except KafkaError:
        pass
    return False

"""Looking things up in a log's segments: records by time, aborted transactions.

Kafka: UnifiedLog.fetchOffsetByTimestamp, LogSegment.findOffsetByTimestamp, LocalLog.collectAbortedTransactions.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.record.batch import NO_TIMESTAMP, check_crc
from engine.record.reader import read_records
from engine.storage.segment import Segment
from engine.storage.txn_index import AbortedTxn


def offset_for_timestamp(
    segments: Sequence[Segment], timestamp: int, start_offset: int, max_offset: int
) -> tuple[int, int, int] | None:
    """Timestamp, offset and leader epoch of the first record from ``start_offset`` on and below ``max_offset`` that is
    of ``timestamp`` or later."""
    for segment in segments:
        if segment.base_offset >= max_offset:
            break
        if segment.max_timestamp()[0] < timestamp:
            continue
        for position, header in segment.headers(segment.position_before_timestamp(timestamp)):
            if header.base_offset >= max_offset:
                return None
            if header.max_timestamp < timestamp or header.last_offset < start_offset:
                continue
            batch = segment.read(position, header.size_in_bytes)
            check_crc(batch, header)
            for record in read_records(batch, header):
                if record.timestamp >= timestamp and record.offset >= start_offset:
                    if record.offset >= max_offset:
                        return None
                    return record.timestamp, record.offset, header.partition_leader_epoch
    return None


def max_timestamp_offset(segments: Sequence[Segment]) -> tuple[int, int, int] | None:
    """The same of the record with the largest timestamp (ListOffsets, timestamp -3)."""
    best: Segment | None = None
    largest, last_offset = NO_TIMESTAMP, -1
    for segment in segments:
        found, offset = segment.max_timestamp()
        if found > largest:
            best, largest, last_offset = segment, found, offset
    if best is None:
        return None
    for position, header in best.headers(best.position_of(last_offset)):
        batch = best.read(position, header.size_in_bytes)
        check_crc(batch, header)
        for record in read_records(batch, header):
            if record.timestamp >= largest:
                return record.timestamp, record.offset, header.partition_leader_epoch
        return largest, header.last_offset, header.partition_leader_epoch
    return None


def aborted_transactions(segments: Sequence[Segment], start_offset: int, upper_offset: int) -> list[AbortedTxn]:
    """Aborted transactions that overlap the offsets; ``segments`` begin with the one that holds ``start_offset``."""
    found: list[AbortedTxn] = []
    for segment in segments:
        for aborted in segment.txn_index.entries():
            if aborted.last_offset >= start_offset and aborted.first_offset < upper_offset:
                found.append(aborted)
            if aborted.last_stable_offset >= upper_offset:
                return found
    return found

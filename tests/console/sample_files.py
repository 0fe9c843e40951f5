"""What stands in the files of the scripted cluster: records, and segments with their batches."""

from __future__ import annotations

import json
from typing import Any

from sample_snapshots import START_MS

from console.viewmodel.records import RecordView
from console.viewmodel.segments import SegmentRow
from engine.record.builder import NewRecord as RecordToBuild
from engine.record.builder import build_batch
from engine.record.compression import Compression
from engine.record.control import build_end_transaction_marker
from tests.unit.storage.memory_disk import MemoryDisk


def segment(broker_id: int, partition: str, base: int, at_ms: int) -> SegmentRow:
    """Of three, the last one active and a little behind on followers."""
    is_active = base == 79_990
    return SegmentRow(
        broker_id,
        f"/data/broker-{broker_id}/data/{partition}/{base:020d}.log",
        base,
        {0: 41_207, 41_207: 79_990}.get(base, 80_004 - broker_id % 2),
        7_411 if is_active else 67_108_000,
        (0, 0, -1) if is_active else (98_304, 147_456, -1),
        12 if is_active else None,
        14 if is_active else None,
        START_MS - 3_600_000 + base * 40,
        START_MS - 3_600_000 + base * 44 if not is_active else at_ms - 900,
        at_ms - 900 if is_active else START_MS - 1_000_000 + base,
        is_active,
    )


def sample_disk(path: str) -> MemoryDisk:
    """A segment with batches of each codec, an aborted transaction, and one batch that lost a bit."""
    disk = MemoryDisk()
    disk.make_dirs(path.rpartition("/")[0])
    file = disk.open(path, append=True, create=True)
    offset, at_ms = 79_990, START_MS + 5_000
    for number in range(12):
        records = [
            RecordToBuild(
                b"key-%d" % (number * 7 + each), b'{"order":%d,"currency":"EUR"}' % (offset + each), timestamp=at_ms
            )
            for each in range(1 + number % 3)
        ]
        batch = bytearray(
            build_batch(
                records,
                base_offset=offset,
                leader_epoch=4,
                compression=Compression(number % 5),
                **({"producer_id": 2001, "producer_epoch": 0, "base_sequence": number} if number % 2 else {}),
                is_transactional=number == 9,
            )
        )
        if number == 6:
            batch[-3] ^= 4
        file.append([bytes(batch)])
        offset, at_ms = offset + len(records), at_ms + 1_700
    marker = build_end_transaction_marker(
        committed=False,
        producer_id=2001,
        producer_epoch=0,
        coordinator_epoch=3,
        timestamp=at_ms,
        base_offset=offset,
        leader_epoch=4,
    )
    file.append([marker, bytes(marker[:20])])
    return disk


def record(topic: str, partition: int, offset: int, at_ms: int, **fields: Any) -> RecordView:
    """A record such as the sample's workload makes."""
    value = {
        "order": offset,
        "customer": f"key-{offset % 500}",
        "amount": 5 + offset % 495,
        "currency": ("EUR", "USD", "GBP")[offset % 3],
    }
    fields.setdefault("key", f"key-{offset % 500}".encode())
    fields.setdefault("value", json.dumps(value).encode())
    fields.setdefault("leader_epoch", 4)
    return RecordView(topic, partition, offset, at_ms, **fields)

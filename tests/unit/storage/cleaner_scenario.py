"""A history of a compacted log that Apache Kafka's cleaner and ours go through, to compare what they write."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from log_scenario import NOW_MS, Act, Append

from engine.record.builder import NewRecord, build_batch
from engine.record.control import build_end_transaction_marker

SEGMENT_BYTES = 1200
INDEX_INTERVAL_BYTES = 200
DELETE_RETENTION_MS = 60_000
_KEYS = 8


class Clean(NamedTuple):
    """Compact what was not, at a time."""

    now_ms: int


def _data(rng: random.Random, number: int, **options: int | bool) -> Append:
    records = [
        NewRecord(
            b"key-%d" % rng.randrange(_KEYS),
            None if rng.random() < 0.2 else b"%d-%d" % (number, each) * rng.randrange(8),
            [("h", b"%d" % number)] if rng.random() < 0.2 else (),
            timestamp=NOW_MS + 10 * number + rng.randrange(-5, 5),
        )
        for each in range(rng.choice((1, 1, 2, 5)))
    ]
    return Append(0, "client", 0, build_batch(records, **options))  # type: ignore[arg-type]


def _marker(producer_id: int, *, committed: bool) -> Append:
    batch = build_end_transaction_marker(
        committed=committed, producer_id=producer_id, producer_epoch=0, coordinator_epoch=3, timestamp=NOW_MS
    )
    return Append(0, "coordinator", 1, batch)


def operations() -> Iterator[Append | Act | Clean]:
    """All of them, in order. ``high_watermark`` means the log's end here."""
    rng = random.Random(7)
    sequences = {7: 0, 8: 0, 9: 0, 10: 0}
    number = 0
    for turn in range(5):
        for _ in range(25):
            number += 1
            kind = rng.random()
            if kind < 0.5:
                yield _data(rng, number)
                continue
            producer_id = rng.choice((7, 8, 9, 10))
            is_transactional = producer_id != 7
            for _ in range(rng.choice((1, 2))):
                batch = _data(
                    rng,
                    number,
                    producer_id=producer_id,
                    producer_epoch=0,
                    base_sequence=sequences[producer_id],
                    is_transactional=is_transactional,
                )
                sequences[producer_id] += int.from_bytes(batch.batch[57:61], "big")
                yield batch
                if rng.random() < 0.5:
                    yield _data(rng, number)
            if is_transactional:
                yield _marker(producer_id, committed=rng.random() < 0.5)
        yield Act("roll")
        yield Act("high_watermark")
        yield Clean(NOW_MS + turn * DELETE_RETENTION_MS * 2 // 3)

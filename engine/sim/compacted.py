"""L7 for compaction: a client that writes over its keys again and again, and what is left of them in every replica."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from engine.record.batch import iter_batches
from engine.record.reader import read_records
from engine.sim.clients import SimClient
from engine.sim.options import CLOCK_FAULTS
from engine.sim.producer import Outcome, SimProducer
from engine.sim.violation import Violation

if TYPE_CHECKING:
    from engine.sim.consumer import Polled
    from engine.sim.workload import Workload
    from engine.storage.log import Log

COMPACTED_TOPIC = "compacted"
COMPACTED_PARTITIONS = 2
# A replica that lags for longer than delete.retention.ms may miss a tombstone and keep what it deleted, in Kafka too:
# faults are shorter.
CONFIGS = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "40000",
    "internal.segment.bytes": "2048",
    "file.delete.delay.ms": "1000",
}
_KEYS = 12
_READ_BYTES = 1 << 20


class Write(NamedTuple):
    """A record that was sent; ``value`` None is a tombstone, ``offset`` -1: nobody knows whether it was written."""

    key: bytes
    value: bytes | None
    offset: int


class Seen(NamedTuple):
    """A record that is there. A tombstone has the value None."""

    offset: int
    key: bytes
    value: bytes | None


def what_is_wrong(writes: Sequence[Write], seen: Sequence[Seen], *, can_revive: bool = False) -> str:
    """What a compacted log must not look like, or nothing. ``seen`` is all of it, in its order.

    ``can_revive``: tombstones may have gone before every replica had them.
    """
    by_offset = {each.offset: each for each in writes if each.offset >= 0}
    before = -1
    offsets: dict[bytes, list[int]] = {}
    for record in seen:
        if record.offset <= before:
            return f"offset {record.offset} follows {before}"
        before = record.offset
        written = by_offset.get(record.offset)
        if written is not None and (written.key, written.value) != (record.key, record.value):
            return f"offset {record.offset} has {record.key!r} and {record.value!r}, written was {written}"
        offsets.setdefault(record.key, []).append(record.offset)
    for key in dict.fromkeys(each.key for each in writes):
        known = [each for each in by_offset.values() if each.key == key]
        if not known:
            continue
        last = max(known, key=lambda each: each.offset)
        found = offsets.get(key, [])
        if any(offset >= last.offset for offset in found):
            continue
        may_be_deleted = any(each.offset < 0 and each.value is None for each in writes if each.key == key)
        if last.value is not None and not may_be_deleted:
            return f"the last record of {key!r}, at offset {last.offset}, is gone; of the key there is {found}"
        if last.value is None and found and not can_revive:
            return f"the tombstone of {key!r} at offset {last.offset} is gone, and what it deleted is there: {found}"
    return ""


class Keeper:
    """Writes values and tombstones with acks=all, and judges what became of them."""

    def __init__(self, workload: Workload, client: SimClient, rng: random.Random) -> None:
        self._workload = workload
        self._client = client
        self._rng = rng
        self._writes: dict[int, list[Write]] = {number: [] for number in range(COMPACTED_PARTITIONS)}
        workload.expect(client.name)

    async def run(self) -> None:
        """Until the workload stops."""
        workload, rng = self._workload, self._rng
        producer = SimProducer(self._client, acks=-1, idempotent=True)
        count = 0
        while not workload.stopping:
            number = rng.randrange(COMPACTED_PARTITIONS)
            records: list[tuple[bytes, bytes | None]] = []
            for _ in range(rng.choice((1, 3, 10))):
                count += 1
                key = f"k{rng.randrange(_KEYS)}".encode()
                is_tombstone = rng.random() < 0.15
                records.append((key, None if is_tombstone else f"{count} {'x' * rng.choice((0, 30, 100))}".encode()))
            sent = await producer.send_keyed(COMPACTED_TOPIC, number, records, for_s=20.0)
            workload.done[f"keep {sent.outcome.value}"] += 1
            base = sent.base_offset if sent.outcome is Outcome.OK else -1
            if sent.outcome is not Outcome.FAIL:
                self._writes[number] += [
                    Write(key, value, base + at if base >= 0 else -1) for at, (key, value) in enumerate(records)
                ]
            if sent.outcome is Outcome.OK:
                workload.progressed(self._client.name)
            await workload.rest(rng.choice((0.01, 0.1, 0.4)))

    def judge(self, number: int, found: Iterable[Polled]) -> None:
        """A consumer read all of a partition: look at that, and at what each replica has. Raises: Violation."""
        read = [Seen(each.offset, each.key, each.value or None) for each in found]
        self._judge(number, "a consumer", read)
        for node_id, machine in self._workload.cluster.machines.items():
            replica = machine.broker.replicas.get(COMPACTED_TOPIC, number) if machine.broker is not None else None
            if replica is not None and not replica.is_offline:
                self._judge(number, f"replica {node_id}", list(_records_of(replica.log)))

    def _judge(self, number: int, who: str, seen: list[Seen]) -> None:
        can_revive = any(each in CLOCK_FAULTS for each in self._workload.options.faults)
        wrong = what_is_wrong(self._writes[number], seen, can_revive=can_revive)
        if wrong:
            raise Violation("L7", f"{COMPACTED_TOPIC}-{number}, as {who} has it: {wrong}")


def _records_of(log: Log) -> Iterable[Seen]:
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        data = bytes(log.read(offset, _READ_BYTES, max_offset=log.log_end_offset))
        if not data:
            return
        for header, batch in iter_batches(data):
            for record in read_records(batch):
                yield Seen(
                    record.offset, bytes(record.key or b""), None if record.value is None else bytes(record.value)
                )
            offset = header.last_offset + 1

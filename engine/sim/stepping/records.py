"""Records of simulated topics, read from their leaders' logs up to the high watermark: a fetch would change the run."""

from __future__ import annotations

import base64
from typing import Any

from engine.broker.replica import Replica
from engine.model.errors import KafkaError
from engine.record.batch import BatchHeader, iter_batches
from engine.record.compression import Compression
from engine.record.reader import Record, read_records
from engine.sim.cluster import SimCluster

_CHUNK_BYTES = 256 * 1024
_MOST_RECORDS = 1_000


def read_topic(
    cluster: SimCluster,
    topic: str,
    partitions: list[int] | None,
    positions: dict[int, int],
    start: tuple[str, int],
) -> dict[str, Any]:
    """What follows ``positions``; partitions without one begin at ``start``: ``start``, ``end``, ``offset`` (negative:
    so many before the end) or ``timestamp``. Gives records, new positions, and what stands in the way."""
    leaders = _leaders(cluster, topic)
    if leaders is None:
        return {
            "records": [],
            "positions": positions,
            "problem": f"there is no topic {topic} at this moment",
            "caught_up": True,
        }
    problems = []
    records: list[list[Any]] = []
    caught_up = True
    positions = dict(positions)
    with cluster.observing():
        for number, replica in sorted(leaders.items()):
            if partitions is not None and number not in partitions:
                continue
            if replica is None:
                problems.append(f"{topic}-{number} has no leader")
                continue
            log = replica.log
            at = positions.get(number)
            if at is None:
                at = _first(replica, *start)
            # Where the run went back the log may be shorter than what was read of it.
            at = max(log.log_start_offset, min(at, log.high_watermark))
            found, positions[number] = _read(replica, at)
            records += [[number, *each] for each in found]
            caught_up = caught_up and positions[number] >= log.high_watermark
    return {"records": records, "positions": positions, "problem": ", ".join(problems), "caught_up": caught_up}


def _leaders(cluster: SimCluster, topic: str) -> dict[int, Replica | None] | None:
    """The leader's replica of each partition, None where there is none; None without such a topic."""
    brokers = [machine.broker for machine in cluster.machines.values() if machine.broker is not None]
    brokers.sort(key=lambda each: each.metadata.image.offset)
    image = brokers[-1].metadata.image.topics_by_name.get(topic) if brokers else None
    if image is None:
        return None
    found: dict[int, Replica | None] = {}
    for number, state in image.partitions.items():
        machine = cluster.machines.get(state.leader)
        replicas = None if machine is None else getattr(machine.broker, "replicas", None)
        replica = None if replicas is None else replicas.get(topic, number)
        is_there = replica is not None and not replica.is_offline and replica.topic_id == image.topic_id
        found[number] = replica if is_there else None
    return found


def _first(replica: Replica, kind: str, value: int) -> int:
    log = replica.log
    if kind == "start":
        return log.log_start_offset
    if kind == "offset":
        return value if value >= 0 else log.high_watermark + value
    if kind == "timestamp":
        try:
            found = log.offset_for_timestamp(value, log.high_watermark)
        except (KafkaError, OSError):
            found = None
        return log.high_watermark if found is None else found[1]
    return log.high_watermark


def _read(replica: Replica, offset: int) -> tuple[list[list[Any]], int]:
    log = replica.log
    end = log.high_watermark
    records: list[list[Any]] = []
    while offset < end and len(records) < _MOST_RECORDS:
        try:
            data = bytes(log.read(offset, _CHUNK_BYTES, max_offset=end))
        except (KafkaError, OSError):
            break
        before = offset
        for header, batch in iter_batches(data):
            records += [_record(each, header) for each in read_records(batch, header) if offset <= each.offset < end]
            offset = header.next_offset
        if offset == before:
            break
    return records, offset


def _record(record: Record, header: BatchHeader) -> list[Any]:
    return [
        record.offset,
        record.timestamp,
        _text(record.key),
        _text(record.value),
        [[name, _text(value)] for name, value in record.headers],
        header.timestamp_type,
        header.partition_leader_epoch,
        Compression(header.compression).name.lower(),
        header.producer_id,
        header.is_transactional,
        header.is_control,
    ]


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()

"""DescribeProducers: what a leader knows of those who write to it."""

from __future__ import annotations

from typing import Any

from engine.model.errors import ErrorCode
from engine.record.builder import NewRecord, build_batch
from engine.record.control import build_end_transaction_marker
from engine.wire.messages.describe_producers_request import DescribeProducersRequest, TopicRequest
from tests.unit.broker.broker_requests import create_topic, replica_of
from tests.unit.broker.in_process_cluster import InProcessCluster

T = 1_700_000_000_000


async def described(cluster: InProcessCluster, node_id: int, topic: str, *partitions: int) -> list[Any]:
    request = DescribeProducersRequest([TopicRequest(topic, list(partitions))])
    response = await cluster.ask(node_id, request, 0)
    (answer,) = response.topics
    assert answer.name == topic
    return list(answer.partitions)


async def test_producers_are_told_with_their_open_transactions(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    replica = replica_of(broker, 1, "t")

    def append(batch: bytes, **arguments: Any) -> None:
        broker[1].replicas.append(replica, batch, 1, **arguments)

    records = [NewRecord(None, b"v", timestamp=T + number) for number in range(3)]
    append(build_batch(records, producer_id=1000, producer_epoch=2, base_sequence=5))
    guard = replica.log.producers.start_verification(1001, 0, 0, supports_epoch_bump=True, now_ms=T)
    batch = build_batch(records, producer_id=1001, producer_epoch=0, base_sequence=0, is_transactional=True)
    append(batch, verification=guard)
    (answer,) = await described(broker, 1, "t", 0)
    assert (answer.partition_index, answer.error_code) == (0, 0)
    idempotent, transactional = answer.active_producers
    assert (idempotent.producer_id, idempotent.producer_epoch, idempotent.last_sequence) == (1000, 2, 7)
    assert (idempotent.last_timestamp, idempotent.coordinator_epoch) == (T + 2, -1)
    assert idempotent.current_txn_start_offset == -1
    assert (transactional.producer_id, transactional.current_txn_start_offset) == (1001, 3)
    marker = build_end_transaction_marker(
        committed=False, producer_id=1001, producer_epoch=1, coordinator_epoch=4, timestamp=T + 9
    )
    append(marker, origin="coordinator", transaction_version=2)
    (answer,) = await described(broker, 1, "t", 0)
    ended = answer.active_producers[1]
    assert (ended.producer_epoch, ended.coordinator_epoch, ended.current_txn_start_offset) == (1, 4, -1)
    assert (ended.last_sequence, ended.last_timestamp) == (-1, T + 9)


async def test_every_replica_tells_what_it_has(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    for node_id in (1, 2):
        known, unknown = await described(cluster, node_id, "t", 0, 9)
        assert ErrorCode(known.error_code) is ErrorCode.NONE
        assert ErrorCode(unknown.error_code) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    (elsewhere,) = await described(cluster, 3, "t", 0)
    assert ErrorCode(elsewhere.error_code) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert elsewhere.error_message

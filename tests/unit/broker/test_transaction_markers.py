"""The sender of markers: until every leader has them, and no longer than the coordinator is one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from engine.broker.transaction_markers import TransactionMarkers
from engine.client.errors import ConnectionLost
from engine.core.txn.records import MarkersToWrite
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.write_txn_markers_request import WriteTxnMarkersRequest
from engine.wire.messages.write_txn_markers_response import (
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
)

SELF, PEER = 1, 2
P0, P1, P2 = (TopicPartition("t", number) for number in range(3))
NONE, MOVED = ErrorCode.NONE, ErrorCode.NOT_LEADER_OR_FOLLOWER


class Cluster:
    """Metadata, peers and leaders as the sender sees them."""

    def __init__(self) -> None:
        self.leaders: dict[TopicPartition, int] = {P0: SELF, P1: PEER, P2: SELF}
        self.known = {PEER}
        # What each broker answers next; then NONE.
        self.script: dict[int, list[ErrorCode | Exception]] = {SELF: [], PEER: []}
        self.asked: list[tuple[int, WriteTxnMarkersRequest]] = []
        self.written: list[tuple[str, TopicPartition]] = []
        self.refuses: list[ErrorCode] = []
        self.epoch: int | None = 7
        self.image = self
        self.markers = TransactionMarkers(
            SELF,
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            lambda request: self.answer(SELF, request),
            self.coordinator_epoch,
            self.on_written,
            request_timeout_ms=1000,
        )

    def partition(self, topic: str, number: int) -> Any:
        leader = self.leaders.get(TopicPartition(topic, number))
        return None if leader is None else type("Partition", (), {"leader": leader})

    def knows(self, broker_id: int) -> bool:
        return broker_id in self.known

    def to(self, broker_id: int) -> Any:
        cluster = self

        class Channel:
            async def send(self, request: Any, *, version: int, timeout_ms: float) -> Any:
                assert version == 2
                return await cluster.answer(broker_id, request)

        return Channel()

    def coordinator_epoch(self, number: int) -> int:
        if self.epoch is None:
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        return self.epoch

    def on_written(self, number: int, markers: MarkersToWrite, partitions: Iterable[TopicPartition]) -> None:
        if self.refuses:
            raise KafkaError(self.refuses.pop(0))
        self.written += [(markers.transactional_id, each) for each in partitions]

    async def answer(self, broker_id: int, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse:
        self.asked.append((broker_id, request))
        await asyncio.sleep(0)
        scripted = self.script[broker_id]
        error = scripted.pop(0) if scripted else NONE
        if isinstance(error, Exception):
            raise error
        return WriteTxnMarkersResponse(
            [
                WritableTxnMarkerResult(
                    marker.producer_id,
                    [
                        WritableTxnMarkerTopicResult(
                            topic.name,
                            [WritableTxnMarkerPartitionResult(each, int(error)) for each in topic.partition_indexes],
                        )
                        for topic in marker.topics
                    ],
                )
                for marker in request.markers
            ]
        )

    async def until_written(self, *expected: tuple[str, TopicPartition]) -> None:
        async with asyncio.timeout(5):
            while True:
                if sorted(self.written) == sorted(expected):
                    break
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert sorted(self.written) == sorted(expected)


def decided(name: str, *partitions: TopicPartition) -> MarkersToWrite:
    return MarkersToWrite(name, 9, 3, True, partitions, 2)


async def test_each_leader_gets_its_partitions_in_one_request() -> None:
    cluster = Cluster()
    cluster.markers.add(0, decided("a", P0, P1, P2))
    cluster.markers.add(0, decided("b", P1))
    await cluster.until_written(("a", P0), ("a", P1), ("a", P2), ("b", P1))
    by_broker = {SELF: 0, PEER: 0}
    for broker_id, request in cluster.asked:
        by_broker[broker_id] += 1
        assert all(each.coordinator_epoch == 7 and each.transaction_version == 2 for each in request.markers)
    assert by_broker == {SELF: 1, PEER: 1}
    await cluster.markers.shutdown()


@pytest.mark.parametrize("error", [MOVED, ErrorCode.NOT_ENOUGH_REPLICAS, ConnectionLost("gone"), ZeroDivisionError()])
async def test_what_a_leader_did_not_write_goes_to_whoever_leads_then(error: ErrorCode | Exception) -> None:
    cluster = Cluster()
    cluster.script[PEER] = [error, error]
    cluster.markers.add(0, decided("a", P0, P1))
    await asyncio.sleep(0.01)
    cluster.leaders[P1] = SELF
    await cluster.until_written(("a", P0), ("a", P1))
    await cluster.markers.shutdown()


async def test_a_partition_without_leader_is_waited_for_and_one_that_is_gone_is_not() -> None:
    cluster = Cluster()
    cluster.leaders[P1] = -1
    del cluster.leaders[P2]
    cluster.markers.add(0, decided("a", P0, P1, P2))
    await cluster.until_written(("a", P0), ("a", P2))
    cluster.leaders[P1] = PEER
    cluster.known.clear()
    await asyncio.sleep(0.1)
    cluster.known.add(PEER)
    await cluster.until_written(("a", P0), ("a", P1), ("a", P2))
    await cluster.markers.shutdown()


async def test_a_log_that_knows_more_is_left_alone() -> None:
    cluster = Cluster()
    cluster.script[SELF] = [ErrorCode.INVALID_PRODUCER_EPOCH]
    cluster.markers.add(0, decided("a", P0))
    await cluster.until_written(("a", P0))
    assert len(cluster.asked) == 1
    await cluster.markers.shutdown()


async def test_a_coordinator_that_is_none_any_more_sends_nothing() -> None:
    cluster = Cluster()
    cluster.script[PEER] = [MOVED]
    cluster.markers.add(0, decided("a", P1))
    await asyncio.sleep(0.005)
    cluster.markers.forget(0)
    await cluster.until_written()
    assert len(cluster.asked) == 1
    cluster.epoch = None
    cluster.markers.add(0, decided("b", P1))
    await cluster.until_written()
    assert len(cluster.asked) == 1
    await cluster.markers.shutdown()


async def test_the_answer_to_a_decision_that_another_replaced_says_nothing_about_it() -> None:
    cluster = Cluster()
    cluster.markers.add(0, decided("a", P0))
    await asyncio.sleep(0)
    cluster.markers.add(0, decided("a", P2))
    await cluster.until_written(("a", P2))
    await cluster.markers.shutdown()


async def test_the_end_waits_while_the_coordinators_log_takes_nothing() -> None:
    cluster = Cluster()
    cluster.refuses = [ErrorCode.COORDINATOR_NOT_AVAILABLE]
    cluster.markers.add(0, decided("a", P0))
    await cluster.until_written(("a", P0))
    await cluster.markers.shutdown()

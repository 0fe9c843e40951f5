"""A transactional producer as the tests of the broker send its requests."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.model.errors import ErrorCode
from engine.model.topic_partition import TopicPartition
from engine.record.batch import iter_batches
from engine.record.control import read_end_transaction_marker
from engine.wire.messages.add_partitions_to_txn_request import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
)
from engine.wire.messages.end_txn_request import EndTxnRequest
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.init_producer_id_request import InitProducerIdRequest
from engine.wire.messages.init_producer_id_response import InitProducerIdResponse
from engine.wire.messages.list_transactions_request import ListTransactionsRequest
from engine.wire.messages.produce_response import PartitionProduceResponse
from tests.unit.broker.broker_requests import batch, fetch_one, produce_request, state_of, values
from tests.unit.broker.in_process_cluster import InProcessCluster

NONE = ErrorCode.NONE
# Versions of Produce and EndTxn: of clients that know transaction.version 2, TRANSACTION_ABORTABLE, neither.
V2, V1, V0 = (12, 5), (11, 4), (10, 3)
CONFIGS = {
    "transaction.state.log.num.partitions": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}
RETRIED = frozenset(
    {
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.CONCURRENT_TRANSACTIONS,
    }
)


async def coordinator_of(cluster: InProcessCluster, transactional_id: str) -> int:
    """The broker that coordinates the transactional id and has loaded it."""
    async with asyncio.timeout(10):
        while True:
            request = FindCoordinatorRequest(key_type=1, coordinator_keys=[transactional_id])
            asked = next(iter(cluster.incarnations))
            (answer,) = (await cluster.ask(asked, request, 6)).coordinators
            if answer.node_id in cluster.incarnations:
                service = cluster[answer.node_id].transactions
                if service.partition_for(transactional_id) in service.runtime.active_partitions():
                    return int(answer.node_id)
            await asyncio.sleep(0.005)


class TransactionalProducer:
    """One producer; ``versions`` are those of its Produce and EndTxn requests."""

    def __init__(self, cluster: InProcessCluster, transactional_id: str, versions: tuple[int, int] = V2) -> None:
        self.cluster = cluster
        self.transactional_id = transactional_id
        self.produce_version, self.end_version = versions
        self.producer_id = self.epoch = -1
        self.sequences: dict[TopicPartition, int] = {}

    async def _ask(self, request: Any, version: int) -> Any:
        """The coordinator's answer; asked again while it moves, or still ends the transaction before."""
        async with asyncio.timeout(10):
            while True:
                node_id = await coordinator_of(self.cluster, self.transactional_id)
                response = await self.cluster.ask(node_id, request, version)
                if getattr(response, "error_code", 0) not in RETRIED:
                    return response
                await asyncio.sleep(0.01)

    async def init(self, timeout_ms: int = 60_000) -> InitProducerIdResponse:
        response = await self._ask(InitProducerIdRequest(self.transactional_id, timeout_ms), 5)
        self.producer_id, self.epoch = response.producer_id, response.producer_epoch
        self.sequences.clear()
        return response  # type: ignore[no-any-return]

    async def add(self, topic: str, partition: int = 0) -> ErrorCode:
        """What clients before transaction.version 2 do first."""
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.transactional_id,
            v3_and_below_producer_id=self.producer_id,
            v3_and_below_producer_epoch=self.epoch,
            v3_and_below_topics=[AddPartitionsToTxnTopic(topic, [partition])],
        )
        async with asyncio.timeout(10):
            while True:
                response = await self._ask(request, 3)
                (answer,) = response.results_by_topic_v3_and_below[0].results_by_partition
                if answer.partition_error_code not in RETRIED:
                    return ErrorCode(answer.partition_error_code)
                await asyncio.sleep(0.01)

    def batch(self, value: bytes, topic: str, partition: int = 0, sequence: int | None = None) -> bytes:
        key = TopicPartition(topic, partition)
        if sequence is None:
            sequence = self.sequences.get(key, 0)
            self.sequences[key] = sequence + 1
        return batch(
            value,
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            base_sequence=sequence,
            is_transactional=True,
        )

    async def produce(
        self, value: bytes, topic: str, partition: int = 0, *, records: bytes | None = None
    ) -> PartitionProduceResponse:
        if records is None:
            records = self.batch(value, topic, partition)
        request = produce_request(topic, records, partition=partition)
        request.transactional_id = self.transactional_id
        leader = state_of(self.cluster, topic, partition).leader
        response = await self.cluster.ask(leader, request, self.produce_version)
        return response.responses[0].partition_responses[0]  # type: ignore[no-any-return]

    async def write(self, value: bytes, topic: str, partition: int = 0) -> None:
        """Append one record, in the way of its version; the answer must be good."""
        if self.produce_version < 12:
            assert await self.add(topic, partition) is NONE
        records = self.batch(value, topic, partition)
        async with asyncio.timeout(10):
            while True:
                answer = await self.produce(value, topic, partition, records=records)
                # The leader waits a moment for the end of the transaction before, then its client does.
                if answer.error_code != ErrorCode.CONCURRENT_TRANSACTIONS:
                    break
                await asyncio.sleep(0.01)
        assert answer.error_code == NONE, (ErrorCode(answer.error_code), answer.error_message)

    async def end(self, committed: bool) -> ErrorCode:
        request = EndTxnRequest(self.transactional_id, self.producer_id, self.epoch, committed)
        response = await self._ask(request, self.end_version)
        if response.error_code == NONE and self.end_version >= 5:
            if (response.producer_id, response.producer_epoch) != (self.producer_id, self.epoch):
                self.sequences.clear()
            self.producer_id, self.epoch = response.producer_id, response.producer_epoch
        return ErrorCode(response.error_code)


async def transaction_state(cluster: InProcessCluster, transactional_id: str) -> str:
    """Its state as ListTransactions tells it."""
    node_id = await coordinator_of(cluster, transactional_id)
    response = await cluster.ask(node_id, ListTransactionsRequest(), 1)
    return {each.transactional_id: each.transaction_state for each in response.transaction_states}[transactional_id]


async def until_state(cluster: InProcessCluster, transactional_id: str, state: str) -> None:
    async with asyncio.timeout(10):
        while True:
            if await transaction_state(cluster, transactional_id) == state:
                return
            await asyncio.sleep(0.01)


async def markers(cluster: InProcessCluster, topic: str, partition: int = 0) -> list[tuple[int, bool]]:
    """Producer epoch and outcome of each marker in the partition's log."""
    leader = state_of(cluster, topic, partition).leader
    answer = await fetch_one(cluster, leader, topic, offset={partition: 0})
    found = []
    for header, each in iter_batches(answer.records or b""):
        if header.is_control:
            marker = read_end_transaction_marker(each)
            assert marker is not None
            found.append((header.producer_epoch, marker.committed))
    return found


async def committed_values(cluster: InProcessCluster, topic: str, partition: int = 0) -> list[bytes]:
    """What a reader of committed records gets, up to the last stable offset."""
    leader = state_of(cluster, topic, partition).leader
    answer = await fetch_one(cluster, leader, topic, offset={partition: 0}, isolation_level=1)
    aborted = {(each.producer_id, each.first_offset) for each in answer.aborted_transactions or ()}
    found: list[bytes] = []
    for header, each in iter_batches(answer.records or b""):
        starts = {producer_id for producer_id, first in aborted if first <= header.base_offset}
        if header.is_control:
            aborted = {pair for pair in aborted if pair[0] != header.producer_id or pair[1] > header.base_offset}
        elif header.producer_id not in starts:
            found += values(each)
    return found

"""Producers that partitions know, transactions that hang, and their end (KIP-664); records deleted (KIP-107)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engine.client.admin.metadata import MetadataAdmin
from engine.client.admin.outcome import Failure, refusal
from engine.client.admin.topics import by_topic
from engine.client.admin.transactions import TransactionDescription
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.delete_records_request import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from engine.wire.messages.delete_records_response import DeleteRecordsResponse
from engine.wire.messages.describe_producers_request import DescribeProducersRequest, TopicRequest
from engine.wire.messages.describe_producers_response import DescribeProducersResponse
from engine.wire.messages.write_txn_markers_request import (
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
)
from engine.wire.messages.write_txn_markers_response import WriteTxnMarkersResponse

# What --max-transaction-timeout of kafka-transactions.sh find-hanging is by default.
MAX_TRANSACTION_TIMEOUT_MS = 15 * 60_000


class ActiveProducer(NamedTuple):
    """A producer that a partition's leader remembers. -1 is "none": of ``last_sequence``, of ``last_timestamp_ms``, of
    ``coordinator_epoch`` (no transaction ended yet), of ``transaction_start_offset`` (none is open)."""

    topic_partition: TopicPartition
    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    coordinator_epoch: int
    transaction_start_offset: int


class ProducerAdmin(MetadataAdmin):
    """Leaders tell of producers, write markers, and move the starts of logs."""

    async def describe_producers(
        self, partitions: Iterable[TopicPartition], *, timeout_ms: float | None = None
    ) -> dict[TopicPartition, list[ActiveProducer] | Failure]:
        """Producers of each partition, as its leader knows them.

        Raises:
            ClientError, KafkaError: nobody tells of leaders.
        """
        by_leader, outcomes = await self._leaders(partitions)
        results: dict[TopicPartition, list[ActiveProducer] | Failure] = {**outcomes}

        async def ask(leader: int) -> DescribeProducersResponse:
            topics = [TopicRequest(name, numbers) for name, numbers in by_topic(by_leader[leader]).items()]
            response: DescribeProducersResponse = await self.brokers.send(
                leader, DescribeProducersRequest(topics=topics), timeout_ms=timeout_ms
            )
            return response

        for leader, answer in (await self._of_each(by_leader, ask)).items():
            if not isinstance(answer, DescribeProducersResponse):
                results.update(dict.fromkeys(by_leader[leader], answer))
                continue
            for topic in answer.topics:
                for each in topic.partitions:
                    place = TopicPartition(topic.name, each.partition_index)
                    results[place] = refusal(each.error_code, each.error_message) or [
                        ActiveProducer(
                            place,
                            producer.producer_id,
                            producer.producer_epoch,
                            producer.last_sequence,
                            producer.last_timestamp,
                            producer.coordinator_epoch,
                            producer.current_txn_start_offset,
                        )
                        for producer in each.active_producers
                    ]
        return results

    async def abort_transaction(self, producer: ActiveProducer, *, timeout_ms: float = 15_000) -> None:
        """End a partition's open transaction as ``kafka-transactions.sh abort`` does: a marker of the producer's own
        epoch, with coordinator epoch 0 if none was ever written (KIP-664).

        Raises:
            ClientError: the leader does not answer.
            KafkaError: refused: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED, …
        """
        place = producer.topic_partition
        by_leader, failures = await self._leaders([place])
        if failures:
            raise failures[place]
        marker = WritableTxnMarker(
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
            transaction_result=False,
            topics=[WritableTxnMarkerTopic(place.topic, [place.partition])],
            coordinator_epoch=max(0, producer.coordinator_epoch),
        )
        (leader,) = by_leader
        response: WriteTxnMarkersResponse = await self.brokers.send(
            leader, WriteTxnMarkersRequest(markers=[marker]), timeout_ms=timeout_ms
        )
        for result in response.markers:
            for topic in result.topics:
                for each in topic.partitions:
                    failure = refusal(each.error_code)
                    if failure is not None:
                        raise failure

    async def delete_records(
        self, offsets: Mapping[TopicPartition, int], *, timeout_ms: int = 15_000
    ) -> dict[TopicPartition, int | Failure]:
        """Let logs start at offsets (-1: their high watermarks). Where they start now, by all living replicas.

        Raises:
            ClientError, KafkaError: nobody tells of leaders.
        """
        by_leader, outcomes = await self._leaders(offsets)
        results: dict[TopicPartition, int | Failure] = {**outcomes}

        async def ask(leader: int) -> DeleteRecordsResponse:
            topics = [
                DeleteRecordsTopic(
                    name, [DeleteRecordsPartition(each, offsets[TopicPartition(name, each)]) for each in numbers]
                )
                for name, numbers in by_topic(by_leader[leader]).items()
            ]
            # The leader waits for its followers that long; its answer is on the way then.
            response: DeleteRecordsResponse = await self.brokers.send(
                leader, DeleteRecordsRequest(topics=topics, timeout_ms=timeout_ms), timeout_ms=timeout_ms + 2_000
            )
            return response

        for leader, answer in (await self._of_each(by_leader, ask)).items():
            if not isinstance(answer, DeleteRecordsResponse):
                results.update(dict.fromkeys(by_leader[leader], answer))
                continue
            for topic in answer.topics:
                for each in topic.partitions:
                    place = TopicPartition(topic.name, each.partition_index)
                    results[place] = refusal(each.error_code) or each.low_watermark
        return results

    async def _leaders(
        self, partitions: Iterable[TopicPartition]
    ) -> tuple[dict[int, list[TopicPartition]], dict[TopicPartition, Failure]]:
        wanted = sorted(set(partitions))
        metadata = await self.metadata(sorted({each.topic for each in wanted}))
        by_leader: dict[int, list[TopicPartition]] = {}
        failures: dict[TopicPartition, Failure] = {}
        for each in wanted:
            known = metadata.partition(each)
            topic = metadata.topics.get(each.topic)
            if known is None:
                error = topic.error if topic is not None else None
                failures[each] = error or KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no {each}")
            elif known.leader < 0:
                failures[each] = KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"{each} has no leader")
            else:
                by_leader.setdefault(known.leader, []).append(each)
        return by_leader, failures


def hanging(
    producers: Iterable[ActiveProducer],
    transactions: Iterable[TransactionDescription],
    now_ms: int,
    max_transaction_timeout_ms: int = MAX_TRANSACTION_TIMEOUT_MS,
) -> list[ActiveProducer]:
    """Open transactions that no coordinator will ever end, as ``kafka-transactions.sh find-hanging`` finds them.

    One hangs that is older than any transaction may become, if no transactional id has its producer id, or if the open
    transaction of that id does not have the partition.
    """
    by_producer: dict[int, TransactionDescription] = {each.producer_id: each for each in transactions}
    found: list[ActiveProducer] = []
    for each in producers:
        if each.transaction_start_offset < 0 or now_ms - each.last_timestamp_ms <= max_transaction_timeout_ms:
            continue
        known = by_producer.get(each.producer_id)
        if known is None or each.topic_partition not in known.partitions:
            found.append(each)
    return found

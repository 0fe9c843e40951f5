"""Where each replica's log stands, followers included, as that replica itself tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.outcome import Failure, refusal
from engine.client.admin.topics import by_topic
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.fetch_request import FetchPartition, FetchRequest, FetchTopic
from engine.wire.messages.fetch_response import FetchResponse

# Later versions name topics by id only.
_FETCH_BY_NAME = 12


class ReplicaWatermarks(NamedTuple):
    """Where a replica's log begins, and up to where the replica knows it to be committed."""

    log_start_offset: int
    high_watermark: int


class ReplicaAdmin(AdminBase):
    """What only a replica itself knows."""

    async def replica_watermarks_of(
        self, broker_id: int, log_ends: Mapping[TopicPartition, int], *, timeout_ms: float | None = None
    ) -> dict[TopicPartition, ReplicaWatermarks | Failure]:
        """Ask one broker for its own replicas, whoever leads them.

        ListOffsets tells a follower's log end and start, and nobody's high watermark but the leader's. A fetch does: of
        a consumer, who may read from followers (KIP-392), at the replica's log end, where there is nothing to send.

        Args:
            log_ends: the log end offset of each of the broker's replicas.

        Raises:
            ClientError: the broker does not answer.
        """
        request = FetchRequest(
            max_wait_ms=0,
            min_bytes=0,
            max_bytes=1,
            session_id=0,
            session_epoch=-1,
            topics=[
                FetchTopic(
                    topic=topic,
                    partitions=[
                        FetchPartition(
                            partition=each,
                            fetch_offset=log_ends[TopicPartition(topic, each)],
                            partition_max_bytes=1,
                        )
                        for each in partitions
                    ],
                )
                for topic, partitions in by_topic(log_ends).items()
            ],
        )
        response: FetchResponse = await self.brokers.send(
            broker_id, request, timeout_ms=timeout_ms, max_version=_FETCH_BY_NAME
        )
        return {
            TopicPartition(topic_response.topic, each.partition_index): refusal(each.error_code)
            or ReplicaWatermarks(each.log_start_offset, each.high_watermark)
            for topic_response in response.responses
            for each in topic_response.partitions
        }

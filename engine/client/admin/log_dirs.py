"""Log directories of brokers: sizes of replicas, room on the disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.outcome import Failure, check, refusal
from engine.client.admin.topics import by_topic
from engine.model.errors import KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.describe_log_dirs_request import DescribableLogDirTopic, DescribeLogDirsRequest
from engine.wire.messages.describe_log_dirs_response import DescribeLogDirsResponse


class ReplicaLog(NamedTuple):
    """One replica on disk. ``offset_lag`` is how far its log end is behind the high watermark."""

    size_bytes: int
    offset_lag: int
    is_future: bool


class LogDirDescription(NamedTuple):
    """One ``log.dirs`` entry; totals are ``None`` where the broker does not tell."""

    path: str
    total_bytes: int | None
    usable_bytes: int | None
    replicas: dict[TopicPartition, ReplicaLog]
    error: KafkaError | None = None


class LogDirAdmin(AdminBase):
    """DescribeLogDirs of several brokers at once."""

    async def describe_log_dirs(
        self,
        broker_ids: Iterable[int],
        *,
        partitions: Iterable[TopicPartition] | None = None,
        timeout_ms: float | None = None,
    ) -> dict[int, tuple[LogDirDescription, ...] | Failure]:
        """The directories of each broker; ``partitions`` limits the replicas that are listed."""
        topics = None
        if partitions is not None:
            topics = [
                DescribableLogDirTopic(topic=topic, partitions=indexes)
                for topic, indexes in by_topic(partitions).items()
            ]

        async def ask(broker_id: int) -> tuple[LogDirDescription, ...]:
            request = DescribeLogDirsRequest(topics=topics)
            response: DescribeLogDirsResponse = await self.brokers.send(broker_id, request, timeout_ms=timeout_ms)
            check(response.error_code)
            return tuple(
                LogDirDescription(
                    result.log_dir,
                    result.total_bytes if result.total_bytes >= 0 else None,
                    result.usable_bytes if result.usable_bytes >= 0 else None,
                    {
                        TopicPartition(topic.name, each.partition_index): ReplicaLog(
                            each.partition_size, each.offset_lag, each.is_future_key
                        )
                        for topic in result.topics
                        for each in topic.partitions
                    },
                    refusal(result.error_code),
                )
                for result in response.results
            )

        return await self._of_each(broker_ids, ask)

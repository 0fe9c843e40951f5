"""Where share groups stand (KIP-932): the first offset of each partition that is not dealt with yet, and the lag."""

from __future__ import annotations

from typing import NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.outcome import Failure, refusal
from engine.client.errors import ClientError
from engine.model.errors import KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.describe_share_group_offsets_request import (
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsRequestGroup,
)
from engine.wire.messages.describe_share_group_offsets_response import DescribeShareGroupOffsetsResponse


class ShareOffset(NamedTuple):
    """A share group's position in a partition.

    ``start_offset``: all records before it are dealt with. ``lag``: records from there to the end that are not dealt
    with, those in flight included (KIP-1226); ``None`` where the broker does not tell (before Kafka 4.2).
    """

    start_offset: int
    leader_epoch: int
    lag: int | None


class ShareOffsetAdmin(AdminBase):
    """Offsets of share groups."""

    async def list_share_group_offsets_of(
        self, broker_id: int, group_ids: list[str], *, timeout_ms: float | None = None
    ) -> dict[str, dict[TopicPartition, ShareOffset | KafkaError] | Failure]:
        """All positions of share groups, by one broker, their coordinator. Partitions that a group has not begun to
        read are left out."""
        request = DescribeShareGroupOffsetsRequest(
            groups=[DescribeShareGroupOffsetsRequestGroup(group_id=each, topics=None) for each in group_ids]
        )
        try:
            response: DescribeShareGroupOffsetsResponse = await self.brokers.send(
                broker_id, request, timeout_ms=timeout_ms
            )
        except ClientError as error:
            return dict.fromkeys(group_ids, error)
        return {
            group.group_id: refusal(group.error_code, group.error_message)
            or {
                TopicPartition(topic.topic_name, each.partition_index): refusal(each.error_code, each.error_message)
                or ShareOffset(each.start_offset, each.leader_epoch, each.lag if each.lag >= 0 else None)
                for topic in group.topics
                for each in topic.partitions
                if each.error_code or each.start_offset >= 0
            }
            for group in response.groups
        }

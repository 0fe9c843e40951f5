"""DescribeTopicPartitions (75), version 0: partitions with eligible leader replicas, page by page (KIP-966).

A page holds at most ``response_partition_limit`` partitions, bounded by max.request.partition.size.limit; the cursor
names the topic and partition that the next page starts with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.apis.metadata import valid_topic_name
from engine.core.controller.topic_names import INTERNAL_TOPICS
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_topic_partitions_request import DescribeTopicPartitionsRequest
from engine.wire.messages.describe_topic_partitions_response import (
    Cursor,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, 0)


def handle(context: RequestContext, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    """One page from the image; all topics when none is named."""
    broker = context.broker
    image = broker.metadata.image
    alive = broker.metadata.alive_brokers(context.listener)
    asked_by_name = bool(request.topics)
    names = sorted({each.name for each in request.topics}) if asked_by_name else sorted(image.topics_by_name)
    first_partition = 0
    if request.cursor is not None:
        if request.cursor.partition_index < 0:
            # There is no error for the whole of an answer: each topic that was named has it.
            code = int(ErrorCode.INVALID_REQUEST)
            return DescribeTopicPartitionsResponse(
                topics=[DescribeTopicPartitionsResponseTopic(error_code=code, name=name) for name in names]
            )
        names = [name for name in names if name >= request.cursor.topic_name]
        if names and names[0] == request.cursor.topic_name:
            first_partition = request.cursor.partition_index
    left = max(1, min(request.response_partition_limit, broker.config.max_request_partition_size_limit))
    response = DescribeTopicPartitionsResponse()
    for name in names:
        topic = image.topics_by_name.get(name)
        if topic is None:
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if valid_topic_name(name) else ErrorCode.INVALID_TOPIC_EXCEPTION
            response.topics.append(DescribeTopicPartitionsResponseTopic(error_code=int(code), name=name))
            continue
        indexes = [index for index in sorted(topic.partitions) if index >= first_partition]
        if left == 0:
            response.next_cursor = Cursor(topic_name=name, partition_index=first_partition)
            break
        result = DescribeTopicPartitionsResponseTopic(
            error_code=0,
            name=name,
            topic_id=topic.topic_id,
            is_internal=name in INTERNAL_TOPICS,
        )
        response.topics.append(result)
        for index in indexes[:left]:
            each = topic.partitions[index]
            available = each.leader >= 0 and each.leader in alive
            result.partitions.append(
                DescribeTopicPartitionsResponsePartition(
                    error_code=int(ErrorCode.NONE if available else ErrorCode.LEADER_NOT_AVAILABLE),
                    partition_index=index,
                    leader_id=each.leader if available else -1,
                    leader_epoch=each.leader_epoch,
                    replica_nodes=list(each.replicas),
                    isr_nodes=list(each.isr),
                    eligible_leader_replicas=list(each.elr),
                    last_known_elr=list(each.last_known_elr),
                    offline_replicas=[replica for replica in each.replicas if replica not in alive],
                )
            )
        if len(indexes) > left:
            response.next_cursor = Cursor(topic_name=name, partition_index=indexes[left])
            break
        left -= len(indexes)
        first_partition = 0
    return response

"""OffsetForLeaderEpoch (23), versions 2-4: where an epoch ends in the leader's log (KIP-101, KIP-279, KIP-320).

Version 3 tells who asks: replica id -1 is a consumer, -2 one that debugs and may ask any replica.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.offset_for_leader_epoch_request import OffsetForLeaderEpochRequest
from engine.wire.messages.offset_for_leader_epoch_response import (
    EpochEndOffset,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.OFFSET_FOR_LEADER_EPOCH, 2, 4)

_DEBUGGING_CONSUMER = -2


def handle(context: RequestContext, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse:
    """The largest epoch not above the one asked for, and the offset where it ends."""
    manager = context.broker.replicas
    response = OffsetForLeaderEpochResponse()
    for topic in request.topics:
        answers = []
        for asked in topic.partitions:
            answer = EpochEndOffset(partition=asked.partition)
            try:
                replica = manager.find(topic.topic, None, asked.partition)
                # Version 2 sends no replica id; the schema's default stands for a consumer there.
                any_replica = context.api_version >= 3 and request.replica_id == _DEBUGGING_CONSUMER
                replica.partition.check_epoch(asked.current_leader_epoch, leader_only=not any_replica)
                answer.leader_epoch, answer.end_offset = replica.log.leader_epochs.end_offset_for(asked.leader_epoch)
            except KafkaError as error:
                answer.error_code = int(error.code)
            answers.append(answer)
        response.topics.append(OffsetForLeaderTopicResult(topic.topic, answers))
    return response

"""ListOffsets (2), versions 1-11: offsets by timestamp, with the special ones.

-1 latest (the high watermark; read_committed: the last stable offset), -2 earliest, -3 the record with the largest
timestamp (v7+, KIP-734), -4 earliest local (v8+, KIP-405), -5 latest tiered (v9+, KIP-1005; there is no tier: -1), -6
earliest pending upload (v11+, KIP-1023; there is none: -1). A follower (replica id >= 0) and a debugging consumer (-2)
are told the log end; the latter by every replica, the rest by the leader only.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.core.replica.roles import Leader
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest
from engine.wire.messages.list_offsets_response import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.broker.replica import Replica

API = ApiSpec(ApiKey.LIST_OFFSETS, 1, 11)

_LATEST, _EARLIEST, _MAX_TIMESTAMP, _EARLIEST_LOCAL, _LATEST_TIERED, _EARLIEST_PENDING_UPLOAD = -1, -2, -3, -4, -5, -6
# The first version that may ask for a special timestamp.
_SPECIAL_SINCE = {_MAX_TIMESTAMP: 7, _EARLIEST_LOCAL: 8, _LATEST_TIERED: 9, _EARLIEST_PENDING_UPLOAD: 11}
_CONSUMER, _DEBUGGING_CONSUMER = -1, -2
_READ_COMMITTED = 1
_FIRST_VERSION_WITH_LEADER_EPOCH = 4
_FIRST_VERSION_WITH_OFFSET_NOT_AVAILABLE = 5


def handle(context: RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse:
    """One answer a partition; a refusal concerns that partition only. A partition asked for twice is refused."""
    manager = context.broker.replicas
    response = ListOffsetsResponse()
    for topic in request.topics:
        answers = []
        times_asked = Counter(each.partition_index for each in topic.partitions)
        for asked in topic.partitions:
            answer = ListOffsetsPartitionResponse(asked.partition_index)
            try:
                if times_asked[asked.partition_index] > 1:
                    raise KafkaError(ErrorCode.INVALID_REQUEST, "a partition was asked for twice")
                replica = manager.find(topic.name, None, asked.partition_index)
                try:
                    answer.timestamp, answer.offset, epoch = _look_up(context, request, replica, asked)
                except OSError as error:
                    raise manager.read_failed(replica, error) from error
                if context.api_version >= _FIRST_VERSION_WITH_LEADER_EPOCH:
                    answer.leader_epoch = epoch
            except KafkaError as error:
                answer.error_code = int(error.code)
            answers.append(answer)
        response.topics.append(ListOffsetsTopicResponse(topic.name, answers))
    return response


def _look_up(
    context: RequestContext, request: ListOffsetsRequest, replica: Replica, asked: ListOffsetsPartition
) -> tuple[int, int, int]:
    timestamp, version = asked.timestamp, context.api_version
    partition, files = replica.partition, replica.log
    if timestamp < 0 and (timestamp < _EARLIEST_PENDING_UPLOAD or version < _SPECIAL_SINCE.get(timestamp, 0)):
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"timestamp {timestamp} means nothing in version {version}")
    partition.check_epoch(asked.current_leader_epoch, leader_only=request.replica_id != _DEBUGGING_CONSUMER)
    is_consumer = request.replica_id == _CONSUMER
    if not is_consumer:
        last_fetchable = files.log_end_offset
    elif request.isolation_level == _READ_COMMITTED:
        last_fetchable = files.last_stable_offset
    else:
        last_fetchable = files.high_watermark
    if timestamp in (_LATEST_TIERED, _EARLIEST_PENDING_UPLOAD):
        return -1, -1, -1
    if timestamp in (_EARLIEST, _EARLIEST_LOCAL):
        start = files.log_start_offset
        # The epoch is told where it is known: of a log that is cut off at its start it may not be.
        return -1, start, files.leader_epochs.epoch_for_offset(start)
    found = None
    if timestamp == _MAX_TIMESTAMP:
        found = files.max_timestamp_offset()
    elif timestamp != _LATEST:
        found = files.offset_for_timestamp(timestamp, files.log_end_offset)
    if found is not None and found[1] < last_fetchable:
        return found
    role = partition.role
    if is_consumer and isinstance(role, Leader) and partition.high_watermark < role.epoch_start_offset:
        # A new leader does not know yet how far the one before had committed: an answer could go back (KIP-207).
        code = ErrorCode.LEADER_NOT_AVAILABLE
        if version >= _FIRST_VERSION_WITH_OFFSET_NOT_AVAILABLE:
            code = ErrorCode.OFFSET_NOT_AVAILABLE
        raise KafkaError(code, f"{replica.topic_partition}: the high watermark of the new leader is not known yet")
    return (-1, last_fetchable, partition.leader_epoch) if timestamp == _LATEST else (-1, -1, -1)

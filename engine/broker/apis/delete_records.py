"""DeleteRecords (21), versions 0-2: let logs start later (KIP-107).

The leader moves the start of its log and answers when every replica on a broker that is alive has moved its own, or
with REQUEST_TIMED_OUT after the request's time (DelayedDeleteRecords); the start stays moved then. Offset -1 means the
high watermark. Segments that end before the start go with the next retention check. Refused for internal topics, and
for those whose cleanup.policy is compact alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.core.controller.topic_names import INTERNAL_TOPICS
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.delete_records_request import DeleteRecordsRequest
from engine.wire.messages.delete_records_response import (
    DeleteRecordsPartitionResult,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.broker.replica import Replica
    from engine.broker.replica_manager import ReplicaManager

API = ApiSpec(ApiKey.DELETE_RECORDS, 0, 2)

_HIGH_WATERMARK = -1
_NO_LOW_WATERMARK = -1


class _Waiting:
    """A partition whose followers are not there yet."""

    __slots__ = ("answer", "offset", "replica")

    def __init__(self, replica: Replica, offset: int, answer: DeleteRecordsPartitionResult) -> None:
        self.replica = replica
        self.offset = offset
        self.answer = answer

    def is_done(self) -> bool:
        """Whether there is nothing to wait for any more; if so, the answer says what came of it."""
        answer, replica = self.answer, self.replica
        if replica.is_offline or not replica.partition.is_leader:
            answer.low_watermark = _NO_LOW_WATERMARK
            code = ErrorCode.KAFKA_STORAGE_ERROR if replica.is_offline else ErrorCode.NOT_LEADER_OR_FOLLOWER
            answer.error_code = int(code)
            return True
        low_watermark = replica.partition.low_watermark(replica.log.log_start_offset)
        if low_watermark < self.offset:
            return False
        answer.low_watermark, answer.error_code = low_watermark, 0
        return True


async def handle(context: RequestContext, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    """Move every start now; the answer waits for the slowest follower."""
    manager = context.broker.replicas
    response = DeleteRecordsResponse()
    waiting: list[_Waiting] = []
    for topic in request.topics:
        answers: list[DeleteRecordsPartitionResult] = []
        response.topics.append(DeleteRecordsTopicResult(topic.name, answers))
        for asked in topic.partitions:
            # Until it is known: what it is if the time runs out.
            answer = DeleteRecordsPartitionResult(
                asked.partition_index, _NO_LOW_WATERMARK, int(ErrorCode.REQUEST_TIMED_OUT)
            )
            answers.append(answer)
            try:
                if topic.name in INTERNAL_TOPICS:
                    raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"{topic.name} is internal")
                replica = manager.find(topic.name, None, asked.partition_index)
                each = _Waiting(replica, _delete(manager, replica, asked.offset), answer)
            except KafkaError as error:
                answer.error_code = int(error.code)
                continue
            if not each.is_done():
                waiting.append(each)
    if waiting:
        await _wait(waiting, max(request.timeout_ms, 0) / 1000)
    return response


def _delete(manager: ReplicaManager, replica: Replica, offset: int) -> int:
    """Move the leader's start; returns what is waited for (Partition.deleteRecordsOnLeader).

    Raises:
        KafkaError: NOT_LEADER_OR_FOLLOWER, POLICY_VIOLATION, OFFSET_OUT_OF_RANGE, KAFKA_STORAGE_ERROR.
    """
    replica.partition.check_epoch(-1, leader_only=True)
    files = replica.log
    if files.config.compact and not files.config.delete:
        raise KafkaError(
            ErrorCode.POLICY_VIOLATION, f"records of {replica.topic_partition} go by cleanup.policy=compact only"
        )
    if offset == _HIGH_WATERMARK:
        offset = files.high_watermark
    if not 0 <= offset <= files.high_watermark:
        raise KafkaError(
            ErrorCode.OFFSET_OUT_OF_RANGE,
            f"{replica.topic_partition} cannot start at {offset}: its high watermark is {files.high_watermark}",
        )
    manager.move_log_start(replica, offset)
    # Followers that wait for records hear of it at once.
    replica.on_log_grew()
    return offset


async def _wait(waiting: list[_Waiting], timeout_s: float) -> None:
    moved = asyncio.Event()
    for each in waiting:
        each.replica.start_watches.append(moved.set)
    left = waiting
    try:
        async with asyncio.timeout(timeout_s):
            while left := [each for each in left if not each.is_done()]:
                await moved.wait()
                moved.clear()
    except TimeoutError:
        pass
    finally:
        for each in waiting:
            each.replica.start_watches.remove(moved.set)

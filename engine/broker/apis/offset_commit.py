"""OffsetCommit (8), versions 2-10: store the positions of a group.

Version 5 drops the retention time, 6 adds the leader epoch, 7 static members (KIP-345), 9 answers GROUP_ID_NOT_FOUND
for a group that does not exist (KIP-848), 10 speaks of topics by id. Unknown partitions get
UNKNOWN_TOPIC_OR_PARTITION (those of an unknown topic UNKNOWN_TOPIC_ID in version 10), the rest is committed.

Where the cluster's coordination is ZooKeeper versions 0 and 1 are served too, as by Kafka 3.9: version 0 writes offsets
to ZooKeeper's ``/consumers``, past any coordinator; version 1 brings generation and member, and each commit's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.group_coordinator_service import client_context
from engine.broker.old_offset_requests import as_answered_before, as_asked_now, commit_to_zookeeper
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.offset_commit_response import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from engine.wire.messages.retired.offset_commit_request import OffsetCommitRequest as RetiredRequest
from engine.wire.messages.retired.offset_commit_response import OffsetCommitResponse as RetiredResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.OFFSET_COMMIT, 2, 10, zookeeper_min_version=0)

_FIRST_VERSION_WITH_TOPIC_IDS = 10


async def handle(
    context: RequestContext, request: OffsetCommitRequest | RetiredRequest
) -> OffsetCommitResponse | RetiredResponse:
    """Commit what can be committed, and answer for each partition."""
    if isinstance(request, RetiredRequest):
        return as_answered_before(await _handle(context, as_asked_now(request)))
    return await _handle(context, request)


async def _handle(context: RequestContext, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """Commit what is known, and answer topic by topic in the order of the request, unknown partitions first."""
    image = context.broker.metadata.image
    by_id = context.api_version >= _FIRST_VERSION_WITH_TOPIC_IDS
    answers: list[OffsetCommitResponseTopic] = []
    known: list[tuple[OffsetCommitRequestTopic, OffsetCommitResponseTopic]] = []
    for topic in request.topics:
        answer = OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id)
        answers.append(answer)
        found = image.topics_by_id.get(topic.topic_id) if by_id else image.topics_by_name.get(topic.name)
        if found is None:
            unknown = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            answer.partitions = [_refused(each, unknown) for each in topic.partitions]
            continue
        answer.name = topic.name = found.name
        answer.topic_id = topic.topic_id = found.topic_id
        answer.partitions = [
            _refused(each, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            for each in topic.partitions
            if each.partition_index not in found.partitions
        ]
        topic.partitions = [each for each in topic.partitions if each.partition_index in found.partitions]
        if topic.partitions:
            known.append((topic, answer))
    if known:
        request.topics = [topic for topic, _ in known]
        if context.api_version == 0:
            response = await commit_to_zookeeper(context.broker, request)
        else:
            response = await context.broker.groups.commit_offsets(client_context(context), request)
        for (_, answer), committed in zip(known, response.topics, strict=True):
            answer.partitions += committed.partitions
    return OffsetCommitResponse(topics=answers)


def _refused(partition: OffsetCommitRequestPartition, error: ErrorCode) -> OffsetCommitResponsePartition:
    return OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=int(error))

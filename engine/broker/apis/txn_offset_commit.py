"""TxnOffsetCommit (28), versions 0-5: positions of a group that count when the producer's transaction is committed.

Version 2 adds the leader epoch, 3 the member (KIP-447), 4 the error TRANSACTION_ABORTABLE, 5 takes the group's
partition into the transaction by itself, where before AddOffsetsToTxn had to (KIP-890). Unknown partitions get
UNKNOWN_TOPIC_OR_PARTITION, the rest is written. Until version 1 a coordinator that is being loaded says
COORDINATOR_NOT_AVAILABLE, for clients of that age know no better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.group_coordinator_service import client_context
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.txn_offset_commit_request import TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic
from engine.wire.messages.txn_offset_commit_response import (
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.TXN_OFFSET_COMMIT, 0, 5)

_FIRST_VERSION_WITH_LOAD_IN_PROGRESS = 2


async def handle(context: RequestContext, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse:
    """Write what is known, and answer topic by topic in the order of the request, unknown partitions first."""
    image = context.broker.metadata.image
    answers: list[TxnOffsetCommitResponseTopic] = []
    known: list[tuple[TxnOffsetCommitRequestTopic, TxnOffsetCommitResponseTopic]] = []
    for topic in request.topics:
        answer = TxnOffsetCommitResponseTopic(topic.name)
        answers.append(answer)
        found = image.topics_by_name.get(topic.name)
        existing = () if found is None else found.partitions
        answer.partitions = [
            TxnOffsetCommitResponsePartition(each.partition_index, int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
            for each in topic.partitions
            if each.partition_index not in existing
        ]
        topic.partitions = [each for each in topic.partitions if each.partition_index in existing]
        if topic.partitions:
            known.append((topic, answer))
    if known:
        request.topics = [topic for topic, _ in known]
        response = await context.broker.groups.commit_offsets_in_transaction(client_context(context), request)
        for (_, answer), committed in zip(known, response.topics, strict=True):
            answer.partitions += committed.partitions
    if context.api_version < _FIRST_VERSION_WITH_LOAD_IN_PROGRESS:
        for answer in answers:
            for each in answer.partitions:
                if each.error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                    each.error_code = int(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    return TxnOffsetCommitResponse(topics=answers)

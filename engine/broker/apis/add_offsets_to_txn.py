"""AddOffsetsToTxn (25), versions 0-4: the partition of a group's offsets takes part in a transaction.

Clients of transaction.version 2 do not ask: TxnOffsetCommit version 5 adds the partition with the offsets (KIP-890).
Version 2 names a fenced producer PRODUCER_FENCED, version 4 knows TRANSACTION_ABORTABLE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.group_coordinator_service import OFFSETS_TOPIC
from engine.model.errors import ErrorCode
from engine.model.topic_partition import TopicPartition
from engine.wire.apis import ApiKey
from engine.wire.messages.add_offsets_to_txn_request import AddOffsetsToTxnRequest
from engine.wire.messages.add_offsets_to_txn_response import AddOffsetsToTxnResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.ADD_OFFSETS_TO_TXN, 0, 4)

_FIRST_VERSION_WITH_PRODUCER_FENCED = 2


async def handle(context: RequestContext, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse:
    """The coordinator's answer."""
    broker = context.broker
    error = await broker.transactions.add_partitions(
        request.transactional_id,
        request.producer_id,
        request.producer_epoch,
        [TopicPartition(OFFSETS_TOPIC, broker.groups.partition_for(request.group_id))],
        0,
    )
    if error is ErrorCode.PRODUCER_FENCED and context.api_version < _FIRST_VERSION_WITH_PRODUCER_FENCED:
        error = ErrorCode.INVALID_PRODUCER_EPOCH
    return AddOffsetsToTxnResponse(error_code=int(error))

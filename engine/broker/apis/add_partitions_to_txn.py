"""AddPartitionsToTxn (24), versions 0-5: partitions take part in a transaction.

Up to version 3 clients ask for one transaction. From version 4 on brokers ask for many at once (KIP-890): with
``verify_only`` whether partitions were added by their producer, without it to add them for a producer that does not ask
itself (transaction.version 2). Version 2 names a fenced producer PRODUCER_FENCED, version 5 knows
TRANSACTION_ABORTABLE. A transaction whose topics or partitions are not all known is not touched. Clients may not
name internal topics: the offsets of groups come by AddOffsetsToTxn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.core.controller.topic_names import INTERNAL_TOPICS
from engine.model.errors import ErrorCode
from engine.model.topic_partition import TopicPartition
from engine.wire.apis import ApiKey
from engine.wire.messages.add_partitions_to_txn_request import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTransaction,
)
from engine.wire.messages.add_partitions_to_txn_response import (
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
)

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.ADD_PARTITIONS_TO_TXN, 0, 5)

_FIRST_VERSION_WITH_PRODUCER_FENCED = 2
_FIRST_VERSION_OF_BROKERS = 4


async def handle(context: RequestContext, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse:
    """Ask the coordinator for each transaction."""
    if context.api_version >= _FIRST_VERSION_OF_BROKERS:
        return AddPartitionsToTxnResponse(results_by_transaction=await add_or_verify(context.broker, request))
    transaction = AddPartitionsToTxnTransaction(
        transactional_id=request.v3_and_below_transactional_id,
        producer_id=request.v3_and_below_producer_id,
        producer_epoch=request.v3_and_below_producer_epoch,
        topics=request.v3_and_below_topics,
    )
    result = await _ask(context.broker, transaction, is_client=True)
    if context.api_version < _FIRST_VERSION_WITH_PRODUCER_FENCED:
        for topic in result.topic_results:
            for each in topic.results_by_partition:
                if each.partition_error_code == ErrorCode.PRODUCER_FENCED:
                    each.partition_error_code = int(ErrorCode.INVALID_PRODUCER_EPOCH)
    return AddPartitionsToTxnResponse(results_by_topic_v3_and_below=result.topic_results)


async def add_or_verify(broker: Broker, request: AddPartitionsToTxnRequest) -> list[AddPartitionsToTxnResult]:
    """What a coordinator in this broker says of the transactions of a request of version 4 or later."""
    return list(await asyncio.gather(*(_ask(broker, each, is_client=False) for each in request.transactions)))


async def _ask(
    broker: Broker, transaction: AddPartitionsToTxnTransaction, *, is_client: bool
) -> AddPartitionsToTxnResult:
    partitions = [TopicPartition(topic.name, number) for topic in transaction.topics for number in topic.partitions]
    image = broker.metadata.image
    errors: Mapping[TopicPartition, ErrorCode]
    refused: dict[TopicPartition, ErrorCode] = {}
    for each in partitions:
        if is_client and each.topic in INTERNAL_TOPICS:
            refused[each] = ErrorCode.TOPIC_AUTHORIZATION_FAILED
        elif image.partition(*each) is None:
            refused[each] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if refused:
        errors = dict.fromkeys(partitions, ErrorCode.OPERATION_NOT_ATTEMPTED) | refused
    elif transaction.verify_only:
        errors = await broker.transactions.verify_partitions(
            transaction.transactional_id, transaction.producer_id, transaction.producer_epoch, partitions
        )
    else:
        error = await broker.transactions.add_partitions(
            transaction.transactional_id,
            transaction.producer_id,
            transaction.producer_epoch,
            partitions,
            0 if is_client else 2,
        )
        errors = dict.fromkeys(partitions, error)
    return AddPartitionsToTxnResult(
        transaction.transactional_id,
        [
            AddPartitionsToTxnTopicResult(
                topic.name,
                [
                    AddPartitionsToTxnPartitionResult(number, int(errors[TopicPartition(topic.name, number)]))
                    for number in topic.partitions
                ],
            )
            for topic in transaction.topics
        ],
    )

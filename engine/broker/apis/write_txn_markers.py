"""WriteTxnMarkers (27), versions 1-2: a coordinator's decision about transactions, for partitions that are led here.

Version 2 brings the transaction.version of the producer (KIP-1228), by which the log knows a marker that is late from
one that is repeated. Each partition gets one control batch for each marker, with acks=all. Markers of offsets'
partitions go through the group coordinator, which keeps its pending offsets in step with its log.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.broker.commit_wait import until_committed
from engine.broker.coordinator_log import TransactionMarker
from engine.broker.group_coordinator_service import OFFSETS_TOPIC
from engine.model.errors import ErrorCode, KafkaError
from engine.record.control import build_end_transaction_marker
from engine.wire.apis import ApiKey
from engine.wire.messages.write_txn_markers_request import WritableTxnMarker, WriteTxnMarkersRequest
from engine.wire.messages.write_txn_markers_response import (
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
)

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.WRITE_TXN_MARKERS, 1, 2)


async def handle(context: RequestContext, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse:
    """Write them and answer each partition."""
    return await write_markers(context.broker, request)


async def write_markers(broker: Broker, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse:
    """The same for a coordinator in this broker itself. Appends of one partition happen in the order of the request."""
    response = WriteTxnMarkersResponse()
    answers: list[WritableTxnMarkerPartitionResult] = []
    appends = []
    for marker in request.markers:
        topics = []
        for topic in marker.topics:
            results = [WritableTxnMarkerPartitionResult(number) for number in topic.partition_indexes]
            topics.append(WritableTxnMarkerTopicResult(topic.name, results))
            for result in results:
                answers.append(result)
                appends.append(_append(broker, marker, topic.name, result.partition_index))
        response.markers.append(WritableTxnMarkerResult(marker.producer_id, topics))
    # The tasks of gather begin in this order, and append before they first wait.
    for result, error in zip(answers, await asyncio.gather(*appends), strict=True):
        result.error_code = int(error)
    return response


async def _append(broker: Broker, marker: WritableTxnMarker, topic: str, number: int) -> ErrorCode:
    replicas = broker.replicas
    try:
        if topic == OFFSETS_TOPIC:
            replicas.find(topic, None, number)
            await broker.groups.complete_transaction(
                number,
                TransactionMarker(
                    marker.producer_id,
                    marker.producer_epoch,
                    marker.coordinator_epoch,
                    marker.transaction_result,
                    marker.transaction_version,
                ),
            )
            return ErrorCode.NONE
        replica = replicas.find(topic, None, number)
        batch = build_end_transaction_marker(
            committed=marker.transaction_result,
            producer_id=marker.producer_id,
            producer_epoch=marker.producer_epoch,
            coordinator_epoch=marker.coordinator_epoch,
            timestamp=broker.world.clock.now_ms(),
        )
        info = replicas.append(replica, batch, -1, origin="coordinator", transaction_version=marker.transaction_version)
    except KafkaError as error:
        return error.code
    return await until_committed(replica, info.last_offset + 1, broker.config.request_timeout_ms)

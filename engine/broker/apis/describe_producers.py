"""DescribeProducers (61), version 0: producers that a partition knows, and their open transactions (KIP-664).

``kafka-transactions.sh find-hanging`` compares them with what the transaction coordinators know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_producers_request import DescribeProducersRequest
from engine.wire.messages.describe_producers_response import (
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.storage.producer_state import ProducerStateEntry

API = ApiSpec(ApiKey.DESCRIBE_PRODUCERS, 0, 0)


def handle(context: RequestContext, request: DescribeProducersRequest) -> DescribeProducersResponse:
    """Answer partition by partition; any replica tells what it has, as in Kafka."""
    manager = context.broker.replicas
    response = DescribeProducersResponse()
    for topic in request.topics:
        answers = []
        for number in topic.partition_indexes:
            answer = PartitionResponse(number)
            try:
                replica = manager.find(topic.name, None, number)
                answer.active_producers = [_described(each) for each in replica.log.producers.entries.values()]
            except KafkaError as error:
                answer.error_code = int(error.code)
                answer.error_message = error.message
            answers.append(answer)
        response.topics.append(TopicResponse(topic.name, answers))
    return response


def _described(entry: ProducerStateEntry) -> ProducerState:
    return ProducerState(
        producer_id=entry.producer_id,
        producer_epoch=entry.producer_epoch,
        last_sequence=entry.last_sequence,
        last_timestamp=entry.last_timestamp,
        coordinator_epoch=entry.coordinator_epoch,
        current_txn_start_offset=entry.current_txn_first_offset,
    )

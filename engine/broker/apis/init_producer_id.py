"""InitProducerId (22), versions 0-5: an id and epoch for an idempotent or transactional producer.

With a transactional id the coordinator answers: it fences the producer before, and aborts what that left open. Version
3 brings the id and epoch of a producer that recovers (KIP-360); without a transactional id Kafka ignores them and gives
a new id, so that old sequence numbers cannot collide. Version 4 names a fenced producer PRODUCER_FENCED. Version 6
(two-phase commit, KIP-939) is unstable in Kafka 4.3 and not offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.apis import ApiKey
from engine.wire.messages.init_producer_id_request import InitProducerIdRequest
from engine.wire.messages.init_producer_id_response import InitProducerIdResponse

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.INIT_PRODUCER_ID, 0, 5)

_FIRST_VERSION_WITH_PRODUCER_FENCED = 4


async def handle(context: RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse:
    """The coordinator's answer, or the next producer id of this broker's block."""
    if request.transactional_id is not None:
        response = await context.broker.transactions.init_producer_id(request)
        if (
            response.error_code == ErrorCode.PRODUCER_FENCED
            and context.api_version < _FIRST_VERSION_WITH_PRODUCER_FENCED
        ):
            response.error_code = int(ErrorCode.INVALID_PRODUCER_EPOCH)
        return response
    try:
        producer_id = await context.broker.producer_ids.next_producer_id()
    except KafkaError as error:
        return InitProducerIdResponse(error_code=int(error.code), producer_id=-1, producer_epoch=-1)
    return InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)

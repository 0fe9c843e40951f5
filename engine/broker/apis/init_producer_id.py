"""InitProducerId (22), versions 0-5: an id and epoch for an idempotent producer.

Version 3 brings the id and epoch of a producer that recovers (KIP-360); without a transactional id Kafka ignores them
and gives a new id, so that old sequence numbers cannot collide. Version 6 (two-phase commit, KIP-939) is unstable in
Kafka 4.3 and not offered.

Not built yet: transactional ids. They are refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED, the code at which all
clients stop at once (see find_coordinator).
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


async def handle(context: RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse:
    """Give out the next producer id of this broker's block."""
    if request.transactional_id is not None:
        error = (
            ErrorCode.INVALID_REQUEST
            if request.transactional_id == ""
            else ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        )
        return InitProducerIdResponse(error_code=int(error), producer_id=-1, producer_epoch=-1)
    try:
        producer_id = await context.broker.producer_ids.next_producer_id()
    except KafkaError as error:
        return InitProducerIdResponse(error_code=int(error.code), producer_id=-1, producer_epoch=-1)
    return InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)

"""Blocks of producer ids (ProducerIdControlManager, KIP-730). No id is ever given out twice: the log remembers."""

from __future__ import annotations

from engine.core.controller.state import ControllerState, Step
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.allocate_producer_ids_request import AllocateProducerIdsRequest
from engine.wire.messages.allocate_producer_ids_response import AllocateProducerIdsResponse
from engine.wire.messages.producer_ids_record import ProducerIdsRecord

# ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE
BLOCK_SIZE = 1_000
_MAX_PRODUCER_ID = (1 << 63) - 1


class ProducerIdControl:
    """Gives out blocks."""

    def __init__(self, state: ControllerState) -> None:
        self._state = state

    def allocate(self, step: Step, request: AllocateProducerIdsRequest) -> AllocateProducerIdsResponse:
        """The next thousand ids for a broker.

        Raises:
            KafkaError: STALE_BROKER_EPOCH; UNKNOWN_SERVER_ERROR when the ids are used up.
        """
        self._state.check_broker_epoch(request.broker_id, request.broker_epoch)
        first = self._state.image.next_producer_id
        if first > _MAX_PRODUCER_ID - BLOCK_SIZE:
            raise KafkaError(
                ErrorCode.UNKNOWN_SERVER_ERROR,
                "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit",
            )
        step.records.append(
            ProducerIdsRecord(
                broker_id=request.broker_id,
                broker_epoch=request.broker_epoch,
                next_producer_id=first + BLOCK_SIZE,
            )
        )
        return AllocateProducerIdsResponse(error_code=0, producer_id_start=first, producer_id_len=BLOCK_SIZE)

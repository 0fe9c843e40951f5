"""A producer of the simulator: one batch at a time a partition, with each acks, idempotent or not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from engine.model.errors import ErrorCode
from engine.record.builder import NewRecord, build_batch
from engine.sim.clients import RETRY_S, SimClient, Unavailable
from engine.wire.messages.init_producer_id_request import InitProducerIdRequest
from engine.wire.messages.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData

_PRODUCE_VERSION = 11
_INIT_VERSION = 4

# The append was refused before it was tried: it is not in any log.
NOT_WRITTEN = frozenset(
    {
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.INVALID_RECORD,
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.INVALID_REQUIRED_ACKS,
    }
)
_RETRIED = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    }
)


class Outcome(Enum):
    """What is known of a send."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class Sent(NamedTuple):
    """The outcome of a send; ``base_offset`` is -1 where it is not told. ``error`` names a code that ended it.

    ``attempts``: how often the batch was sent."""

    outcome: Outcome
    base_offset: int = -1
    error: str = ""
    attempts: int = 1


class SimProducer:
    """Sends to one partition at a time; sequences are kept by partition."""

    def __init__(
        self, client: SimClient, *, acks: int, idempotent: bool, keyed: bool = False, request_timeout_ms: int = 2000
    ) -> None:
        """``keyed``: each record has a key, which no other one has."""
        assert acks == -1 or not idempotent, "an idempotent producer needs acks=all"
        self._client = client
        self.acks = acks
        self.idempotent = idempotent
        self._keyed = keyed
        self._timeout_ms = request_timeout_ms
        self.producer_id = -1
        self._epoch = -1
        self._sequences: dict[tuple[str, int], int] = {}

    async def send(self, topic: str, partition: int, values: Sequence[bytes], *, for_s: float) -> Sent:
        """Send one batch; an idempotent producer tries again for ``for_s`` seconds."""
        return await self.send_keyed(
            topic, partition, [(value if self._keyed else None, value) for value in values], for_s=for_s
        )

    async def send_keyed(
        self, topic: str, partition: int, records: Sequence[tuple[bytes | None, bytes | None]], *, for_s: float
    ) -> Sent:
        """Send one batch of keys and values."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + for_s
        now_ms = self._client.world.clock.now_ms()
        batch: bytes | None = None
        was_tried = False
        attempts = 0
        while True:
            attempts += 1
            try:
                if self.idempotent and self.producer_id < 0:
                    await self._init(max(0.1, deadline - loop.time()))
                if batch is None:
                    batch = build_batch(
                        [NewRecord(key, value, timestamp=now_ms) for key, value in records],
                        producer_id=self.producer_id,
                        producer_epoch=self._epoch,
                        base_sequence=self._sequences.get((topic, partition), 0) if self.idempotent else -1,
                    )
                code, offset, reached = await self._try(topic, partition, batch)
                was_tried = was_tried or reached
            except Unavailable:
                code, offset = ErrorCode.NETWORK_EXCEPTION, -1
                was_tried = True
                self._client.forget_leader(topic, partition)
            if code is ErrorCode.NONE:
                if self.idempotent:
                    self._sequences[topic, partition] = self._sequences.get((topic, partition), 0) + len(records)
                return Sent(Outcome.OK if self.acks else Outcome.INFO, offset, attempts=attempts)
            if code in _RETRIED or code is ErrorCode.NETWORK_EXCEPTION:
                self._client.forget_leader(topic, partition)
            if not self.idempotent:
                return Sent(Outcome.FAIL if code in NOT_WRITTEN else Outcome.INFO, error=code.name, attempts=1)
            may_try_again = code in _RETRIED or code is ErrorCode.NETWORK_EXCEPTION
            if not may_try_again or loop.time() >= deadline:
                # What became of the batch is not known, so the next one must not use its sequence.
                self.forget()
                return Sent(Outcome.INFO if was_tried else Outcome.FAIL, error=code.name, attempts=attempts)
            await asyncio.sleep(RETRY_S)

    def forget(self) -> None:
        """Go on as another producer."""
        self.producer_id = -1
        self._sequences.clear()

    async def _init(self, for_s: float) -> None:
        answer = await self._client.ask_any(
            InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000), _INIT_VERSION, for_s
        )
        if answer.error_code:
            raise Unavailable(ErrorCode(answer.error_code).name)
        self.producer_id, self._epoch = answer.producer_id, answer.producer_epoch
        self._client.told.on_producer_id(self.producer_id, self._client.name)
        self._sequences.clear()

    async def _try(self, topic: str, partition: int, batch: bytes) -> tuple[ErrorCode, int, bool]:
        """Error, offset, and whether the batch may have reached a log."""
        leader_id, _ = await self._client.leader(topic, partition)
        request = ProduceRequest(
            acks=self.acks,
            timeout_ms=self._timeout_ms,
            topic_data=[TopicProduceData(name=topic, partition_data=[PartitionProduceData(partition, batch)])],
        )
        if self.acks == 0:
            await self._client.tell(leader_id, request, _PRODUCE_VERSION)
            return ErrorCode.NONE, -1, True
        answer = await self._client.ask(leader_id, request, _PRODUCE_VERSION, self._timeout_ms / 1000 + 1)
        result = answer.responses[0].partition_responses[0]
        code = ErrorCode(result.error_code)
        return code, result.base_offset, code not in NOT_WRITTEN

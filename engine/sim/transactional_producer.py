"""A transactional producer of the simulator: transaction.version 2, one request at a time.

What a request's outcome means is decided as Java's TransactionManager does: some errors are tried again, some end the
transaction, some the producer's life (another one of its transactional id lives).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.model.errors import ErrorCode
from engine.record.builder import NewRecord, build_batch
from engine.sim.clients import RETRY_S, SimClient, Unavailable
from engine.sim.producer import NOT_WRITTEN
from engine.wire.messages.end_txn_request import EndTxnRequest
from engine.wire.messages.init_producer_id_request import InitProducerIdRequest
from engine.wire.messages.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from engine.wire.messages.txn_offset_commit_request import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)

if TYPE_CHECKING:
    from engine.wire.message import Message

_PRODUCE_VERSION, _INIT_VERSION, _END_VERSION, _OFFSETS_VERSION = 12, 5, 5, 5
_TRANSACTION = 1
_ASK_S = 3.0

_LOST = frozenset({ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_ID_MAPPING})
_COORDINATOR_MOVED = frozenset(
    {ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NETWORK_EXCEPTION}
)
_RETRIED = _COORDINATOR_MOVED | {
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.CONCURRENT_TRANSACTIONS,
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.LEADER_NOT_AVAILABLE,
    ErrorCode.KAFKA_STORAGE_ERROR,
}

Partition = tuple[str, int]


class Fate(Enum):
    """What is known of a request."""

    OK = "ok"
    # It was refused, and so was every copy: nothing came of it.
    REFUSED = "refused"
    # Nobody knows.
    UNKNOWN = "unknown"


class Answered(NamedTuple):
    """``code`` of the last answer; ``response`` only with OK."""

    fate: Fate
    code: ErrorCode
    response: Any = None

    @property
    def is_fenced(self) -> bool:
        """Another producer of the transactional id lives, or the coordinator gave this one up."""
        return self.code in _LOST


class TransactionalProducer:
    """Another life with each :meth:`init`."""

    def __init__(self, client: SimClient, transactional_id: str, *, timeout_ms: int, keyed: bool) -> None:
        """``timeout_ms``: transaction.timeout.ms. ``keyed``: each record has a key, which no other one has."""
        self._client = client
        self.transactional_id = transactional_id
        self._timeout_ms = timeout_ms
        self._keyed = keyed
        self._coordinator: int | None = None
        self.producer_id = -1
        self.producer_epoch = -1
        self._sequences: dict[Partition, int] = {}
        self._lives = 0

    # -- the coordinator ----------------------------------------------------------------------------------------

    async def init(self, for_s: float) -> bool:
        """Become the producer of the id; False if that was not told in time."""
        request = InitProducerIdRequest(transactional_id=self.transactional_id, transaction_timeout_ms=self._timeout_ms)
        answered = await self._ask_coordinator(request, _INIT_VERSION, for_s)
        if answered.fate is not Fate.OK:
            return False
        self._lives += 1
        self._become(answered.response.producer_id, answered.response.producer_epoch, is_new=True)
        return True

    async def end(self, commit: bool, for_s: float) -> Answered:
        """End the transaction; the next one has another epoch. A life in which this is not OK is over."""
        request = EndTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            committed=commit,
        )
        asked = self._client.told.newest_epoch(self.transactional_id)
        answered = await self._ask_coordinator(request, _END_VERSION, for_s)
        if answered.fate is Fate.OK:
            if commit:
                self._on_taken("a commit", asked)
            self._become(answered.response.producer_id, answered.response.producer_epoch, is_new=False)
        return answered

    def _become(self, producer_id: int, producer_epoch: int, *, is_new: bool) -> None:
        if (producer_id, producer_epoch) != (self.producer_id, self.producer_epoch):
            self.producer_id, self.producer_epoch = producer_id, producer_epoch
            self._sequences.clear()
        life = f"life {self._lives} of {self._client.name}"
        self._client.told.on_transactional_id(self.transactional_id, producer_id, producer_epoch, life, is_new=is_new)

    def _on_taken(self, what: str, newest_when_asked: tuple[int, int] | None) -> None:
        self._client.told.on_transactional(
            what, self.transactional_id, self.producer_id, self.producer_epoch, newest_when_asked
        )

    async def _ask_coordinator(self, request: Message, version: int, for_s: float) -> Answered:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + for_s
        fate = Fate.REFUSED
        while True:
            code, response = ErrorCode.NETWORK_EXCEPTION, None
            try:
                if self._coordinator is None:
                    self._coordinator = await self._client.coordinator(self.transactional_id, _TRANSACTION)
                response = await self._client.ask(self._coordinator, request, version, _ASK_S)
                code = ErrorCode(response.error_code)
            except Unavailable:
                fate = Fate.UNKNOWN
            if code is ErrorCode.NONE:
                return Answered(Fate.OK, code, response)
            if code in _COORDINATOR_MOVED:
                # The decision may be in the log of the one that was asked.
                fate = Fate.UNKNOWN
                self._coordinator = None
            elif code in _RETRIED:
                fate = Fate.UNKNOWN
            if code not in _RETRIED or loop.time() >= deadline:
                return Answered(fate, code)
            await asyncio.sleep(RETRY_S)

    # -- what is in the transaction -----------------------------------------------------------------------------

    async def send(self, each: Partition, values: Sequence[bytes], for_s: float) -> tuple[Answered, int]:
        """One batch, again until it is acknowledged; with its first offset. Unless it is, the transaction must be
        aborted."""
        now_ms = self._client.world.clock.now_ms()
        batch = build_batch(
            [NewRecord(value if self._keyed else None, value, timestamp=now_ms) for value in values],
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            base_sequence=self._sequences.get(each, 0),
            is_transactional=True,
        )
        request = ProduceRequest(
            transactional_id=self.transactional_id,
            acks=-1,
            timeout_ms=2000,
            topic_data=[TopicProduceData(name=each[0], partition_data=[PartitionProduceData(each[1], batch)])],
        )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + for_s
        fate = Fate.REFUSED
        while True:
            asked = self._client.told.newest_epoch(self.transactional_id)
            code, offset = ErrorCode.NETWORK_EXCEPTION, -1
            try:
                leader_id, _ = await self._client.leader(*each)
                answer = await self._client.ask(leader_id, request, _PRODUCE_VERSION, _ASK_S)
                result = answer.responses[0].partition_responses[0]
                code, offset = ErrorCode(result.error_code), result.base_offset
            except Unavailable:
                pass
            if code is ErrorCode.NONE:
                self._on_taken("records", asked)
                self._sequences[each] = self._sequences.get(each, 0) + len(values)
                return Answered(Fate.OK, code), offset
            if code not in NOT_WRITTEN and code not in _LOST and code is not ErrorCode.CONCURRENT_TRANSACTIONS:
                fate = Fate.UNKNOWN
            if code not in _RETRIED or loop.time() >= deadline:
                return Answered(fate, code), -1
            self._client.forget_leader(*each)
            await asyncio.sleep(RETRY_S)

    async def send_offsets(self, group_id: str, offsets: Mapping[Partition, int], for_s: float) -> ErrorCode:
        """Positions of a group that has no members. Unless this is NONE, the transaction must be aborted."""
        topics: dict[str, TxnOffsetCommitRequestTopic] = {}
        for (name, number), offset in offsets.items():
            topic = topics.setdefault(name, TxnOffsetCommitRequestTopic(name))
            topic.partitions.append(TxnOffsetCommitRequestPartition(number, offset))
        request = TxnOffsetCommitRequest(
            transactional_id=self.transactional_id,
            group_id=group_id,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            topics=list(topics.values()),
        )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + for_s
        while True:
            asked = self._client.told.newest_epoch(self.transactional_id)
            code = ErrorCode.NETWORK_EXCEPTION
            try:
                coordinator = await self._client.coordinator(group_id)
                answer = await self._client.ask(coordinator, request, _OFFSETS_VERSION, _ASK_S)
                codes = [ErrorCode(each.error_code) for topic in answer.topics for each in topic.partitions]
                code = next((each for each in codes if each is not ErrorCode.NONE), ErrorCode.NONE)
            except Unavailable:
                pass
            if code is ErrorCode.NONE:
                self._on_taken("offsets", asked)
                return code
            if code not in _RETRIED or loop.time() >= deadline:
                return code
            await asyncio.sleep(RETRY_S)

"""One shard, virtual time, a log in memory: what the tests of the transaction coordinator stand on.

After every input the harness checks the law of the machine: replaying the log gives its durable state.
"""

from __future__ import annotations

from typing import Any

from engine.core.effects import Effects
from engine.core.now import Now
from engine.core.txn.context import NEEDS_PRODUCER_ID, EndTxnResult, TransactionLimits
from engine.core.txn.metadata import TransactionMetadata
from engine.core.txn.records import MarkersToWrite, ProducerIdWanted, TransactionEffects, transaction_record
from engine.core.txn.shard import TransactionCoordinatorShard
from engine.core.txn.states import TransactionState
from engine.model.errors import ErrorCode
from engine.model.notes import Note
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.init_producer_id_request import InitProducerIdRequest
from engine.wire.messages.init_producer_id_response import InitProducerIdResponse
from engine.wire.messages.transaction_log_value import TransactionLogValue
from engine.wire.record_frames import decode_coordinator_record, encode_coordinator_key, encode_coordinator_value

EPOCH_WALL_MS = 1_750_000_000_000
ID = "payments"
P0, P1 = TopicPartition("orders", 0), TopicPartition("orders", 1)


class TxnHarness:
    """Feeds a shard, hands producer ids out as its shell does, and keeps what comes out."""

    def __init__(self, *, transaction_version: int = 2, limits: TransactionLimits | None = None) -> None:
        self.limits = limits or TransactionLimits()
        self.transaction_version = transaction_version
        self.now_ms = 0.0
        self.log: list[tuple[bytes, bytes | None]] = []
        self.sent: list[MarkersToWrite | ProducerIdWanted] = []
        self.notes: list[Note] = []
        self._replies: dict[object, Any] = {}
        self._tokens = 0
        self._producer_ids = 100
        self.shard = self._new_shard()
        self.perform(self.shard.on_loaded(self.now))

    @property
    def now(self) -> Now:
        return Now(self.now_ms, EPOCH_WALL_MS + int(self.now_ms))

    def _new_shard(self) -> TransactionCoordinatorShard:
        return TransactionCoordinatorShard(self.limits, lambda: self.transaction_version)

    def replayed(self) -> TransactionCoordinatorShard:
        """A new shard that has only seen the log."""
        shard = self._new_shard()
        for key, value in self.log:
            decoded = decode_coordinator_record(key, value, "transaction")
            assert decoded is not None
            shard.replay(*decoded)
        return shard

    def perform(self, effects: TransactionEffects) -> None:
        for record in effects.append:
            value = None if record.value is None else encode_coordinator_value(record.value, record.value_version)
            self.log.append((encode_coordinator_key(record.key), value))
        self.sent += effects.send
        self.notes += effects.notes
        for token, response in effects.reply:
            assert token not in self._replies, f"two replies to {token}"
            self._replies[token] = response
        assert self.replayed().durable_state() == self.shard.durable_state()

    def put(self, metadata: TransactionMetadata) -> None:
        """The shard and its log have it so, however that came about."""
        self.shard.transactions[metadata.transactional_id] = metadata
        self.perform(Effects(append=[transaction_record(metadata, self.transaction_version)]))

    def fail_over(self) -> None:
        """Another broker takes the shard over: it knows the log only."""
        self.perform(self.shard.on_unloaded())
        self.shard = self.replayed()
        self.perform(self.shard.on_loaded(self.now))

    def advance(self, ms: float) -> None:
        """Let time pass, and every timer fire when it is due."""
        until_ms = self.now_ms + ms
        while (due_ms := self.shard.next_deadline_ms()) is not None and due_ms <= until_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self.perform(self.shard.on_timer(self.now))
        self.now_ms = until_ms

    def next_producer_id(self) -> int:
        self._producer_ids += 1
        return self._producer_ids

    def _ask(self, handle: Any) -> Any:
        producer_id = -1
        while True:
            self._tokens += 1
            token = self._tokens
            self.perform(handle(token, producer_id))
            answer = self._replies.pop(token)
            if answer is not NEEDS_PRODUCER_ID:
                return answer
            assert producer_id < 0, "asked for a producer id twice"
            producer_id = self.next_producer_id()

    # -- requests -----------------------------------------------------------------------------------------------

    def init(
        self, transactional_id: str = ID, *, timeout_ms: int = 60_000, producer_id: int = -1, epoch: int = -1
    ) -> InitProducerIdResponse:
        request = InitProducerIdRequest(transactional_id, timeout_ms, producer_id, epoch)
        answer = self._ask(lambda token, spare: self.shard.handle_init_producer_id(request, self.now, token, spare))
        assert isinstance(answer, InitProducerIdResponse)
        return answer

    def add(
        self, producer_id: int, epoch: int, *partitions: TopicPartition, version: int = 2, transactional_id: str = ID
    ) -> ErrorCode:
        def handle(token: object, _: int) -> TransactionEffects:
            return self.shard.handle_add_partitions(
                transactional_id, producer_id, epoch, partitions, version, self.now, token
            )

        answer = self._ask(handle)
        assert isinstance(answer, ErrorCode)
        return answer

    def verify(self, producer_id: int, epoch: int, *partitions: TopicPartition) -> list[ErrorCode]:
        def handle(token: object, _: int) -> TransactionEffects:
            return self.shard.handle_verify_partitions(ID, producer_id, epoch, partitions, token)

        answers = self._ask(handle)
        return [answers[each] for each in partitions]

    def end(self, producer_id: int, epoch: int, committed: bool, *, version: int = 2) -> EndTxnResult:
        def handle(token: object, spare: int) -> TransactionEffects:
            return self.shard.handle_end_txn(ID, producer_id, epoch, committed, version, self.now, token, spare)

        answer = self._ask(handle)
        assert isinstance(answer, EndTxnResult)
        return answer

    def write_markers(self, *partitions: TopicPartition, of: MarkersToWrite | None = None) -> None:
        """Leaders have written the last markers that were sent, of all partitions or of these."""
        markers = self.markers() if of is None else of
        self.perform(
            self.shard.on_markers_written(
                markers.transactional_id,
                markers.producer_id,
                markers.producer_epoch,
                partitions or markers.partitions,
                self.now,
            )
        )

    def markers(self) -> MarkersToWrite:
        """The last markers that were sent."""
        return [each for each in self.sent if isinstance(each, MarkersToWrite)][-1]

    # -- what it is like now ------------------------------------------------------------------------------------

    @property
    def metadata(self) -> TransactionMetadata:
        return self.shard.transactions[ID]

    @property
    def state(self) -> TransactionState:
        return self.metadata.state

    def last_value(self) -> TransactionLogValue:
        """The value of the last record."""
        key, value = self.log[-1]
        decoded = decode_coordinator_record(key, value, "transaction")
        assert decoded is not None
        assert isinstance(decoded[1], TransactionLogValue)
        return decoded[1]

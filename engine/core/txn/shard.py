"""The transaction coordinator of one partition of ``__transaction_state`` (Kafka: TransactionCoordinator).

Inputs are requests, the time, and the records of the log; every input returns one :class:`TransactionEffects`:

1. ``append``: records for the partition's log. Their effect on the machine's state is immediate.
2. ``send``: what the shell has to do outside of this partition: markers to write, a producer id to bring.
3. ``reply``: answers, each to the ``token`` that came with its request.
4. ``notes``: facts for people.

The shell must hold every send and every reply back until all that the shard has appended so far is committed: a marker
makes a decision visible, and an answer may tell of state that only those records make durable. That is why Kafka's
pending states are not here: what follows a change that is not committed waits for it. Replies go out in order.

If an append fails, the machine's state is ahead of the log: the shell drops the shard (:meth:`on_unloaded`) and loads a
new one from the log. Law: ``replay`` of the log into a new shard gives the same :meth:`durable_state`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from engine.core.effects import Effects, Reply
from engine.core.now import Now
from engine.core.txn import describe
from engine.core.txn.context import NEEDS_PRODUCER_ID, EndTxnResult, TransactionLimits
from engine.core.txn.end_txn import check_end
from engine.core.txn.metadata import (
    EPOCH_BUMP_VERSION,
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    NO_TIMEOUT_MS,
    TransactionMetadata,
    is_epoch_exhausted,
    new_metadata,
)
from engine.core.txn.records import (
    MarkersToWrite,
    ProducerIdWanted,
    TransactionEffects,
    is_writable,
    metadata_from_value,
    transaction_record,
    transaction_tombstone,
)
from engine.core.txn.states import PREPARED, TransactionState
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.describe_transactions_response import TransactionState as DescribedTransaction
from engine.wire.messages.init_producer_id_request import InitProducerIdRequest
from engine.wire.messages.init_producer_id_response import InitProducerIdResponse
from engine.wire.messages.list_transactions_request import ListTransactionsRequest
from engine.wire.messages.list_transactions_response import TransactionState as ListedTransaction
from engine.wire.messages.transaction_log_key import TransactionLogKey

# As many tombstones of expired ids as one batch holds in Kafka, about.
_EXPIRED_AT_ONCE = 256


class TransactionCoordinatorShard:
    """Transactional ids of one partition. Not for concurrent use: one input at a time."""

    __slots__ = (
        "_expiry_due_ms",
        "_limits",
        "_ongoing_since_ms",
        "_time_out_check_due_ms",
        "_transaction_version",
        "_unwritten",
        "transactions",
    )

    def __init__(self, limits: TransactionLimits, transaction_version: Callable[[], int]) -> None:
        """``transaction_version`` gives the finalized level of that feature."""
        self._limits = limits
        self._transaction_version = transaction_version
        # By transactional id. For reading.
        self.transactions: dict[str, TransactionMetadata] = {}
        # Monotonic time at which transactions that are open began.
        self._ongoing_since_ms: dict[str, float] = {}
        # Partitions of decided transactions whose marker is not known to be written.
        self._unwritten: dict[str, set[TopicPartition]] = {}
        self._time_out_check_due_ms: float | None = None
        self._expiry_due_ms: float | None = None

    # -- the log ------------------------------------------------------------------------------------------------

    def replay(self, key: Any, value: Any, *, record_offset: int = -1, producer_id: int = NO_PRODUCER_ID) -> None:
        """Apply one record of the log; records of types that are not known are skipped."""
        if not isinstance(key, TransactionLogKey):
            return
        if value is None:
            self.transactions.pop(key.transactional_id, None)
        else:
            self.transactions[key.transactional_id] = metadata_from_value(key.transactional_id, value)

    def replay_end_transaction_marker(self, producer_id: int, committed: bool) -> None:
        """There are no transactions in this log itself."""

    def durable_state(self) -> dict[str, TransactionMetadata]:
        """What the log says of this shard, in a form that compares."""
        version = self._transaction_version()
        found = {}
        for transactional_id, metadata in sorted(self.transactions.items()):
            if metadata.producer_epoch == NO_PRODUCER_EPOCH:
                continue  # known, but never initialized: in no record
            value = transaction_record(metadata, version).value
            assert value is not None
            found[transactional_id] = metadata_from_value(transactional_id, value)
        return found

    # -- life ---------------------------------------------------------------------------------------------------

    def on_loaded(self, now: Now) -> TransactionEffects:
        """The log has been replayed and this broker leads: what was decided and not completed is told again."""
        out: TransactionEffects = Effects()
        for metadata in self.transactions.values():
            if metadata.state is TransactionState.ONGOING:
                # Since when, by a clock that may have jumped meanwhile.
                age_ms = max(now.wall_ms - metadata.start_timestamp_ms, 0)
                self._ongoing_since_ms[metadata.transactional_id] = now.monotonic_ms - age_ms
            elif metadata.state in PREPARED:
                self._write_markers(metadata, out)
        self._schedule(now)
        return out

    def on_unloaded(self, error: ErrorCode = ErrorCode.NOT_COORDINATOR) -> TransactionEffects:
        """This broker no longer leads: nobody is parked here. The shard must not be used afterwards."""
        return Effects()

    # -- time ---------------------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> float | None:
        """When :meth:`on_timer` is due next (monotonic milliseconds), or None."""
        due = [each for each in (self._time_out_check_due_ms, self._expiry_due_ms) if each is not None]
        return min(due, default=None)

    def on_timer(self, now: Now) -> TransactionEffects:
        """Time has passed: transactions time out, transactional ids expire."""
        out: TransactionEffects = Effects()
        if self._time_out_check_due_ms is not None and now.monotonic_ms >= self._time_out_check_due_ms:
            self._time_out_check_due_ms = None
            for transactional_id, since_ms in list(self._ongoing_since_ms.items()):
                metadata = self.transactions[transactional_id]
                if metadata.timeout_ms != NO_TIMEOUT_MS and since_ms + metadata.timeout_ms < now.monotonic_ms:
                    self._time_out(metadata, NO_PRODUCER_ID, now, out)
        if self._expiry_due_ms is not None and now.monotonic_ms >= self._expiry_due_ms:
            self._expiry_due_ms = None
            self._expire(now, out)
        self._schedule(now)
        return out

    def _schedule(self, now: Now) -> None:
        limits = self._limits
        if self._time_out_check_due_ms is None and self._ongoing_since_ms:
            interval_ms = limits.transaction_abort_timed_out_transaction_cleanup_interval_ms
            self._time_out_check_due_ms = now.monotonic_ms + interval_ms
        if self._expiry_due_ms is None and self.transactions:
            interval_ms = limits.transaction_remove_expired_transaction_cleanup_interval_ms
            self._expiry_due_ms = now.monotonic_ms + interval_ms

    def on_timed_out(
        self, transactional_id: str, producer_id: int, producer_epoch: int, next_producer_id: int, now: Now
    ) -> TransactionEffects:
        """The answer to :class:`ProducerIdWanted`: abort, if the transaction is still the one that timed out."""
        out: TransactionEffects = Effects()
        metadata = self.transactions.get(transactional_id)
        if (
            metadata is not None
            and metadata.state is TransactionState.ONGOING
            and metadata.producer_id == producer_id
            and metadata.producer_epoch == producer_epoch
        ):
            self._time_out(metadata, next_producer_id, now, out)
        return out

    def _time_out(
        self, metadata: TransactionMetadata, next_producer_id: int, now: Now, out: TransactionEffects
    ) -> None:
        if not self._may_fence(metadata, next_producer_id):
            wanted = ProducerIdWanted(metadata.transactional_id, metadata.producer_id, metadata.producer_epoch)
            out.send.append(wanted)
            return
        self._fence(metadata, next_producer_id, f"not ended within {metadata.timeout_ms} ms", now, out)

    def _expire(self, now: Now, out: TransactionEffects) -> None:
        latest_ms = now.wall_ms - self._limits.transactional_id_expiration_ms
        expired = [
            each.transactional_id
            for each in self.transactions.values()
            if each.state.may_expire and each.last_update_timestamp_ms <= latest_ms
        ]
        for transactional_id in expired[:_EXPIRED_AT_ONCE]:
            del self.transactions[transactional_id]
            out.append.append(transaction_tombstone(transactional_id))
        if len(expired) > _EXPIRED_AT_ONCE:
            # The rest in another turn: the loop has other things to do as well.
            self._expiry_due_ms = now.monotonic_ms

    # -- producers ----------------------------------------------------------------------------------------------

    def handle_init_producer_id(
        self, request: InitProducerIdRequest, now: Now, token: object, new_producer_id: int = NO_PRODUCER_ID
    ) -> TransactionEffects:
        """InitProducerId, versions 0-5, with a transactional id; the reply is an InitProducerIdResponse, or
        NEEDS_PRODUCER_ID.

        An open transaction is aborted first: the producer is told CONCURRENT_TRANSACTIONS and comes again.
        """
        out: TransactionEffects = Effects()
        try:
            response: object = self._init_producer_id(request, now, new_producer_id, out)
        except KafkaError as error:
            response = InitProducerIdResponse(error_code=int(error.code), producer_id=-1, producer_epoch=-1)
        out.reply.append(Reply(token, response))
        self._schedule(now)
        return out

    def _init_producer_id(
        self, request: InitProducerIdRequest, now: Now, new_producer_id: int, out: TransactionEffects
    ) -> object:
        transactional_id, timeout_ms = request.transactional_id, request.transaction_timeout_ms
        if not transactional_id or not is_writable(transactional_id):
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the transactional id is empty or too long")
        if not 0 < timeout_ms <= self._limits.transaction_max_timeout_ms:
            raise KafkaError(
                ErrorCode.INVALID_TRANSACTION_TIMEOUT,
                f"a transaction of {timeout_ms} ms is not within transaction.max.timeout.ms",
            )
        if (request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == NO_PRODUCER_EPOCH):
            raise KafkaError(ErrorCode.INVALID_REQUEST, "a producer id and its epoch belong together")
        expected_epoch = None if request.producer_id == NO_PRODUCER_ID else request.producer_epoch
        metadata = self.transactions.get(transactional_id)
        if metadata is None:
            if new_producer_id == NO_PRODUCER_ID:
                return NEEDS_PRODUCER_ID
            metadata = new_metadata(transactional_id, new_producer_id, timeout_ms, now.wall_ms)
        elif expected_epoch is not None and not _is_known_producer(metadata, request.producer_id, expected_epoch):
            raise KafkaError(
                ErrorCode.PRODUCER_FENCED,
                f"{transactional_id!r} has producer id {metadata.producer_id}, not {request.producer_id}",
            )
        if metadata.state in PREPARED:
            raise _concurrent(metadata)
        if metadata.state is TransactionState.ONGOING:
            if not self._may_fence(metadata, new_producer_id):
                return NEEDS_PRODUCER_ID
            self._fence(metadata, new_producer_id, "its producer was initialized anew", now, out)
            raise _concurrent(metadata)
        if metadata.is_epoch_exhausted and expected_epoch in (None, metadata.producer_epoch):
            if new_producer_id == NO_PRODUCER_ID:
                return NEEDS_PRODUCER_ID
            after = metadata.rotate_producer_id(
                new_producer_id, timeout_ms, now.wall_ms, records_last_epoch=expected_epoch is not None
            )
        else:
            after = metadata.increment_producer_epoch(timeout_ms, expected_epoch, now.wall_ms)
        self._become(after, out)
        return InitProducerIdResponse(producer_id=after.producer_id, producer_epoch=after.producer_epoch)

    # -- transactions -------------------------------------------------------------------------------------------

    def handle_add_partitions(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Collection[TopicPartition],
        client_transaction_version: int,
        now: Now,
        token: object,
    ) -> TransactionEffects:
        """AddPartitionsToTxn and AddOffsetsToTxn; the reply is an error code for all of the partitions."""
        out: TransactionEffects = Effects()
        error = ErrorCode.NONE
        try:
            metadata = self._transaction_of(transactional_id, producer_id, producer_epoch)
            if metadata.state is not TransactionState.ONGOING or not metadata.partitions.issuperset(partitions):
                after = metadata.add_partitions(partitions, client_transaction_version, now.wall_ms)
                self._ongoing_since_ms.setdefault(transactional_id, now.monotonic_ms)
                self._become(after, out)
        except KafkaError as refusal:
            error = refusal.code
        out.reply.append(Reply(token, error))
        self._schedule(now)
        return out

    def handle_verify_partitions(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Iterable[TopicPartition],
        token: object,
    ) -> TransactionEffects:
        """AddPartitionsToTxn that only asks whether the partitions take part in the transaction (KIP-890); the reply is
        an error code by partition."""
        try:
            metadata = self._transaction_of(transactional_id, producer_id, producer_epoch)
        except KafkaError as error:
            return Effects(reply=[Reply(token, dict.fromkeys(partitions, error.code))])
        errors = {
            each: ErrorCode.NONE if each in metadata.partitions else ErrorCode.TRANSACTION_ABORTABLE
            for each in partitions
        }
        return Effects(reply=[Reply(token, errors)])

    def _transaction_of(self, transactional_id: str, producer_id: int, producer_epoch: int) -> TransactionMetadata:
        """The state, for a producer that may change it now.

        Raises:
            KafkaError: INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED; CONCURRENT_TRANSACTIONS while the
                markers of the transaction before are being written.
        """
        if not transactional_id:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the transactional id is empty")
        metadata = self.transactions.get(transactional_id)
        if metadata is None or metadata.producer_id != producer_id:
            raise KafkaError(
                ErrorCode.INVALID_PRODUCER_ID_MAPPING, f"{transactional_id!r} is not of producer {producer_id}"
            )
        if metadata.producer_epoch != producer_epoch:
            raise KafkaError(
                ErrorCode.PRODUCER_FENCED,
                f"producer epoch {producer_epoch} of {transactional_id!r} is not {metadata.producer_epoch}",
            )
        if metadata.state in PREPARED:
            raise _concurrent(metadata)
        return metadata

    def handle_end_txn(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        committed: bool,
        client_transaction_version: int,
        now: Now,
        token: object,
        new_producer_id: int = NO_PRODUCER_ID,
    ) -> TransactionEffects:
        """EndTxn; the reply is an EndTxnResult, or NEEDS_PRODUCER_ID. It comes when the decision is in the log; the
        markers follow."""
        out: TransactionEffects = Effects()
        response: object
        try:
            response = self._end_txn(
                transactional_id,
                producer_id,
                producer_epoch,
                committed,
                client_transaction_version,
                now,
                new_producer_id,
                out,
            )
        except KafkaError as error:
            response = EndTxnResult(error.code)
        out.reply.append(Reply(token, response))
        return out

    def _end_txn(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        committed: bool,
        client_transaction_version: int,
        now: Now,
        new_producer_id: int,
        out: TransactionEffects,
    ) -> object:
        if not transactional_id:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the transactional id is empty")
        metadata = self.transactions.get(transactional_id)
        if metadata is None:
            raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING, f"{transactional_id!r} is not known")
        if not check_end(metadata, producer_id, producer_epoch, committed, client_transaction_version):
            return _ended(metadata, client_transaction_version)
        next_producer_id = NO_PRODUCER_ID
        if client_transaction_version >= EPOCH_BUMP_VERSION and metadata.is_epoch_exhausted:
            if new_producer_id == NO_PRODUCER_ID:
                return NEEDS_PRODUCER_ID
            next_producer_id = new_producer_id
        after = metadata.prepare_end(committed, client_transaction_version, next_producer_id, now.wall_ms)
        self._decide(after, out)
        return _ended(after.complete(now.wall_ms), client_transaction_version)

    def on_markers_written(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Iterable[TopicPartition],
        now: Now,
    ) -> TransactionEffects:
        """Leaders have the marker of the transaction in the log (or the partitions are gone); with the last of them it
        is complete."""
        out: TransactionEffects = Effects()
        metadata = self.transactions.get(transactional_id)
        if (
            metadata is None
            or metadata.state not in PREPARED
            or metadata.producer_id != producer_id
            or metadata.producer_epoch != producer_epoch
        ):
            return out  # the answer to a copy of what was done
        unwritten = self._unwritten[transactional_id]
        unwritten.difference_update(partitions)
        if not unwritten:
            del self._unwritten[transactional_id]
            self._become(metadata.complete(now.wall_ms), out)
        return out

    # -- looking ------------------------------------------------------------------------------------------------

    def describe(self, transactional_id: str) -> DescribedTransaction:
        """DescribeTransactions, version 0."""
        metadata = self.transactions.get(transactional_id)
        unwritten = self._unwritten.get(transactional_id)
        if metadata is not None and unwritten is not None:
            # Partitions that have the marker are done with it.
            metadata = metadata._replace(partitions=frozenset(unwritten))
        return describe.described(metadata, transactional_id)

    def list(
        self, request: ListTransactionsRequest, matches: Callable[[str], bool], now_ms: int
    ) -> list[ListedTransaction]:
        """ListTransactions, versions 0-2."""
        return describe.listed(self.transactions.values(), request, matches, now_ms)

    # -- transitions --------------------------------------------------------------------------------------------

    def _may_fence(self, metadata: TransactionMetadata, new_producer_id: int) -> bool:
        """Whether there is a producer id to go on with where the abort takes the last epoch."""
        bumps = self._transaction_version() >= EPOCH_BUMP_VERSION
        return not (bumps and metadata.is_epoch_exhausted) or new_producer_id != NO_PRODUCER_ID

    def _fence(
        self, metadata: TransactionMetadata, new_producer_id: int, reason: str, now: Now, out: TransactionEffects
    ) -> None:
        """Abort an open transaction whose producer did not ask for it: its epoch is over with that."""
        version = self._transaction_version()
        if version >= EPOCH_BUMP_VERSION:
            next_producer_id = new_producer_id if metadata.is_epoch_exhausted else NO_PRODUCER_ID
            after = metadata.prepare_end(False, version, next_producer_id, now.wall_ms)
        else:
            fenced = metadata.fence_producer_epoch()
            after = fenced.prepare_end(False, 0, NO_PRODUCER_ID, now.wall_ms)
        self._decide(after, out)
        out.notes.append(
            Note(
                NoteKind.TRANSACTION_ABORTED,
                metadata.transactional_id,
                reason,
                {"producer_id": metadata.producer_id, "producer_epoch": metadata.producer_epoch},
            )
        )

    def _decide(self, after: TransactionMetadata, out: TransactionEffects) -> None:
        self._become(after, out)
        self._ongoing_since_ms.pop(after.transactional_id, None)
        self._write_markers(after, out)

    def _write_markers(self, metadata: TransactionMetadata, out: TransactionEffects) -> None:
        self._unwritten[metadata.transactional_id] = set(metadata.partitions)
        out.send.append(
            MarkersToWrite(
                metadata.transactional_id,
                metadata.producer_id,
                metadata.producer_epoch,
                metadata.state is TransactionState.PREPARE_COMMIT,
                tuple(sorted(metadata.partitions)),
                metadata.client_transaction_version,
            )
        )

    def _become(self, after: TransactionMetadata, out: TransactionEffects) -> None:
        self.transactions[after.transactional_id] = after
        out.append.append(transaction_record(after, self._transaction_version()))


def _is_known_producer(metadata: TransactionMetadata, producer_id: int, producer_epoch: int) -> bool:
    """Whether a producer that recovers is the present one; or the one before, which did not hear that its epochs were
    used up."""
    return (
        metadata.producer_epoch == NO_PRODUCER_EPOCH
        or producer_id == metadata.producer_id
        or (producer_id == metadata.previous_producer_id and is_epoch_exhausted(producer_epoch))
    )


def _concurrent(metadata: TransactionMetadata) -> KafkaError:
    return KafkaError(
        ErrorCode.CONCURRENT_TRANSACTIONS, f"a transaction of {metadata.transactional_id!r} is being ended"
    )


def _ended(metadata: TransactionMetadata, client_transaction_version: int) -> EndTxnResult:
    if client_transaction_version < EPOCH_BUMP_VERSION:
        return EndTxnResult(ErrorCode.NONE)
    return EndTxnResult(ErrorCode.NONE, metadata.producer_id, metadata.producer_epoch)

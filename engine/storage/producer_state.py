"""What a log knows of the producers that write to it: sequences, epochs, open transactions.

Kafka: ProducerStateManager, ProducerStateEntry, ProducerAppendInfo (KIP-98, KIP-360, KIP-890). The state follows from
the log's batches; snapshots of it spare reading all of them again.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import (
    MAX_SEQUENCE,
    NO_PRODUCER_EPOCH,
    NO_SEQUENCE,
    NO_TIMESTAMP,
    TRANSACTIONAL_MASK,
    BatchHeader,
)
from engine.record.control import EndTransactionMarker
from engine.storage.producer_snapshot import ProducerSnapshots, SnapshotCorrupt, SnapshotEntry

log = logging.getLogger(__name__)

# Duplicates of this many batches are recognised (ProducerStateEntry.NUM_BATCHES_TO_RETAIN).
BATCHES_TO_RETAIN = 5
NO_OFFSET = -1
NO_COORDINATOR_EPOCH = -1
MAX_PRODUCER_EPOCH = 32_767

# Skips the keyword handling of the class's own constructor: this runs once a batch.
_new = tuple.__new__


class BatchMetadata(NamedTuple):
    """A batch that was appended."""

    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int

    @property
    def first_sequence(self) -> int:
        """Sequence of the first record; it may have wrapped since."""
        return (self.last_sequence - self.offset_delta) & MAX_SEQUENCE

    @property
    def first_offset(self) -> int:
        """Offset of the first record."""
        return self.last_offset - self.offset_delta


class CompletedTransaction(NamedTuple):
    """A transaction's end in this partition. ``last_offset`` is its marker's (CompletedTxn)."""

    producer_id: int
    first_offset: int
    last_offset: int
    is_aborted: bool


class ProducerStateEntry:
    """One producer. ``batches`` are its last ones, oldest first, all of ``producer_epoch``."""

    __slots__ = (
        "batches",
        "coordinator_epoch",
        "current_txn_first_offset",
        "last_timestamp",
        "producer_epoch",
        "producer_id",
    )

    def __init__(
        self,
        producer_id: int,
        producer_epoch: int = NO_PRODUCER_EPOCH,
        coordinator_epoch: int = NO_COORDINATOR_EPOCH,
        last_timestamp: int = NO_TIMESTAMP,
        current_txn_first_offset: int = NO_OFFSET,
        batches: list[BatchMetadata] | None = None,
    ) -> None:
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.coordinator_epoch = coordinator_epoch
        self.last_timestamp = last_timestamp
        # -1 while there is no transaction open.
        self.current_txn_first_offset = current_txn_first_offset
        self.batches: list[BatchMetadata] = [] if batches is None else batches

    @property
    def last_sequence(self) -> int:
        """Of the last batch, -1 if there is none."""
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE

    @property
    def last_data_offset(self) -> int:
        """Of the last batch, -1 if there is none."""
        return self.batches[-1].last_offset if self.batches else NO_OFFSET

    def duplicate_of(self, header: BatchHeader) -> BatchMetadata | None:
        """The batch that this one repeats, if it is one of the last."""
        if header.producer_epoch != self.producer_epoch:
            return None
        first = header.base_sequence
        batches = self.batches
        if not batches or batches[-1][0] + 1 == first:
            return None
        last = header.last_sequence
        for batch in batches:
            if batch.last_sequence == last and batch.first_sequence == first:
                return batch
        return None

    def __repr__(self) -> str:
        return (
            f"ProducerStateEntry({self.producer_id}, epoch={self.producer_epoch}, last_sequence={self.last_sequence}, "
            f"last_offset={self.last_data_offset}, txn={self.current_txn_first_offset})"
        )


class VerificationStateEntry:
    """A producer's transaction that the coordinator is asked about before its first batch is appended (KIP-890).

    The entry is the guard of the requests that asked: who comes with another one, or when there is none any more, asked
    about a transaction that has ended meanwhile. ``lowest_sequence`` is the lowest that was seen meanwhile: no batch
    behind it may come first.
    """

    __slots__ = ("lowest_sequence", "producer_epoch", "started_ms", "supports_epoch_bump")

    def __init__(self, lowest_sequence: int, producer_epoch: int, supports_epoch_bump: bool, started_ms: int) -> None:
        self.lowest_sequence = lowest_sequence
        self.producer_epoch = producer_epoch
        self.supports_epoch_bump = supports_epoch_bump
        self.started_ms = started_ms

    def see(self, sequence: int, producer_epoch: int) -> None:
        """Another batch asks."""
        if producer_epoch > self.producer_epoch:
            self.producer_epoch, self.lowest_sequence = producer_epoch, sequence
        elif producer_epoch == self.producer_epoch and sequence < self.lowest_sequence:
            self.lowest_sequence = sequence


class ProducerAppendInfo:
    """What an append does to one producer: checked and gathered before the write, applied after it.

    ``validates`` is ``"client"`` (epochs and sequences), ``"coordinator"`` (epochs) or ``"replication"`` (nothing).
    """

    __slots__ = (
        "batches",
        "coordinator_epoch",
        "current",
        "current_txn_first_offset",
        "last_timestamp",
        "origin",
        "producer_epoch",
        "producer_id",
        "started",
        "verification",
    )

    def __init__(
        self,
        producer_id: int,
        current: ProducerStateEntry | None,
        origin: str,
        verification: VerificationStateEntry | None = None,
    ) -> None:
        self.verification = verification
        self.producer_id = producer_id
        self.origin = origin
        # What was known before the append; None or without an epoch: nothing.
        self.current = current
        self.batches: list[BatchMetadata] = []
        # First offset of a transaction that the append begins.
        self.started = NO_OFFSET
        if current is None:
            self.producer_epoch = NO_PRODUCER_EPOCH
            self.coordinator_epoch = NO_COORDINATOR_EPOCH
            self.last_timestamp = NO_TIMESTAMP
            self.current_txn_first_offset = NO_OFFSET
        else:
            self.producer_epoch = current.producer_epoch
            self.coordinator_epoch = current.coordinator_epoch
            self.last_timestamp = current.last_timestamp
            self.current_txn_first_offset = current.current_txn_first_offset

    def append_data(self, header: BatchHeader, base_offset: int) -> None:
        """A batch of records. ``base_offset`` is the one that it gets.

        Raises:
            KafkaError: INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_TXN_STATE.
        """
        epoch = header.producer_epoch
        if epoch < self.producer_epoch:
            self._old_epoch(epoch, base_offset)
        if self.origin == "client":
            self._check_sequence(epoch, header.base_sequence, base_offset)
        if epoch != self.producer_epoch:
            self.producer_epoch = epoch
            self.batches.clear()
        self.last_timestamp = timestamp = header.max_timestamp
        delta = header.last_offset_delta
        sequence = header.base_sequence
        if sequence != NO_SEQUENCE:
            sequence = (sequence + delta) & MAX_SEQUENCE
        self.batches.append(_new(BatchMetadata, (sequence, base_offset + delta, delta, timestamp)))
        if header.attributes & TRANSACTIONAL_MASK:
            if self.current_txn_first_offset < 0:
                self.current_txn_first_offset = self.started = base_offset
        elif self.current_txn_first_offset >= 0 and self.origin != "replication":
            raise KafkaError(
                ErrorCode.INVALID_TXN_STATE,
                f"producer {self.producer_id} writes outside of the transaction that it began at offset "
                f"{self.current_txn_first_offset}",
            )

    def _old_epoch(self, epoch: int, offset: int, comparison: str = "below") -> None:
        message = (
            f"epoch {epoch} of producer {self.producer_id} at offset {offset} is {comparison} its last one, "
            f"{self.producer_epoch}"
        )
        if self.origin != "replication":
            raise KafkaError(ErrorCode.INVALID_PRODUCER_EPOCH, message)
        log.warning("%s", message)

    def _check_sequence(self, epoch: int, first: int, offset: int) -> None:
        if self.verification is not None:
            self._check_first_sequence(self.verification, first, offset)
        if epoch != self.producer_epoch:
            if first != 0 and self.producer_epoch != NO_PRODUCER_EPOCH:
                raise KafkaError(
                    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                    f"epoch {epoch} of producer {self.producer_id} begins with sequence {first} at offset {offset}; "
                    f"its epoch was {self.producer_epoch}",
                )
            return
        current = self.current
        # Its records may all be gone by retention: any sequence will do (KIP-360).
        if current is None or current.producer_epoch == NO_PRODUCER_EPOCH:
            if not self.batches:
                return
            last = self.batches[-1].last_sequence
        elif self.batches:
            last = self.batches[-1].last_sequence
        elif epoch == current.producer_epoch:
            last = current.last_sequence
        else:
            last = NO_SEQUENCE
        if first != last + 1 and not (first == 0 and last == MAX_SEQUENCE):
            raise KafkaError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"producer {self.producer_id} comes with sequence {first} at offset {offset}; expected {last + 1} "
                f"(its last one was {last})",
            )

    def _check_first_sequence(self, verification: VerificationStateEntry, first: int, offset: int) -> None:
        """The first batch of a transaction here: nothing else tells whether one before it is missing."""
        is_known = self.current is not None and bool(self.current.batches)
        lowest = 0 if verification.supports_epoch_bump and not is_known else verification.lowest_sequence
        if first > lowest:
            raise KafkaError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"producer {self.producer_id} begins its transaction with sequence {first} at offset {offset}; "
                f"{lowest} comes before",
            )

    def append_marker(
        self, header: BatchHeader, marker: EndTransactionMarker, offset: int, transaction_version: int
    ) -> CompletedTransaction | None:
        """The end of a transaction; ``None`` if the producer had none open here.

        Raises:
            KafkaError: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED.
        """
        epoch = header.producer_epoch
        if transaction_version >= 2 and self.origin != "replication":
            # The coordinator ended the transaction in the next epoch (KIP-890), so the same epoch is late, or the
            # repetition of a marker that was written (KAFKA-19999), which does no harm.
            if epoch <= self.producer_epoch and not (
                epoch == self.producer_epoch and (self.current_txn_first_offset < 0 or epoch == MAX_PRODUCER_EPOCH)
            ):
                self._old_epoch(epoch, offset, "not above")
        elif epoch < self.producer_epoch:
            self._old_epoch(epoch, offset)
        if self.coordinator_epoch > marker.coordinator_epoch:
            message = (
                f"a coordinator of epoch {marker.coordinator_epoch} ends a transaction of producer "
                f"{self.producer_id} at offset {offset}; epoch {self.coordinator_epoch} is known"
            )
            if self.origin != "replication":
                raise KafkaError(ErrorCode.TRANSACTION_COORDINATOR_FENCED, message)
            log.info("%s", message)
        completed = None
        if self.current_txn_first_offset >= 0:
            completed = CompletedTransaction(
                self.producer_id, self.current_txn_first_offset, offset, not marker.committed
            )
        if epoch != self.producer_epoch:
            self.producer_epoch = epoch
            self.batches.clear()
        self.coordinator_epoch = marker.coordinator_epoch
        self.last_timestamp = header.max_timestamp
        self.current_txn_first_offset = NO_OFFSET
        return completed


class ProducerStateManager:
    """All producers of one log. Open transactions bound the last stable offset."""

    __slots__ = (
        "_ongoing",
        "_unreplicated",
        "entries",
        "expiration_ms",
        "first_unstable_offset",
        "map_end_offset",
        "snapshots",
        "verifications",
    )

    def __init__(self, snapshots: ProducerSnapshots, expiration_ms: int) -> None:
        """``expiration_ms``: producer.id.expiration.ms."""
        self.snapshots = snapshots
        self.expiration_ms = expiration_ms
        self.entries: dict[int, ProducerStateEntry] = {}
        # By producer id; none of them outlives the process.
        self.verifications: dict[int, VerificationStateEntry] = {}
        # First offset → producer of transactions that are open, ascending.
        self._ongoing: dict[int, int] = {}
        # First offset → marker's offset of those that ended above the high watermark.
        self._unreplicated: dict[int, int] = {}
        # Of the two: where read_committed must stop; None if nowhere.
        self.first_unstable_offset: int | None = None
        # The state is that of the log up to here.
        self.map_end_offset = 0

    def __len__(self) -> int:
        return len(self.entries)

    # -- appending ----------------------------------------------------------------------------------------------

    def duplicate_of(self, header: BatchHeader) -> BatchMetadata | None:
        """The batch that a client's batch repeats."""
        entry = self.entries.get(header.producer_id)
        return None if entry is None else entry.duplicate_of(header)

    def prepare(self, producer_id: int, origin: str) -> ProducerAppendInfo:
        """Begin an append of one producer."""
        verification = self.verifications.get(producer_id) if self.verifications else None
        return ProducerAppendInfo(producer_id, self.entries.get(producer_id), origin, verification)

    def start_verification(
        self, producer_id: int, sequence: int, producer_epoch: int, supports_epoch_bump: bool, now_ms: int
    ) -> VerificationStateEntry | None:
        """The guard of a batch that may be the first of a transaction here; None if its transaction has begun.

        Raises:
            KafkaError: INVALID_PRODUCER_EPOCH.
        """
        self.check_epoch(producer_id, producer_epoch)
        if self.has_ongoing_transaction(producer_id, producer_epoch):
            return None
        entry = self.verifications.get(producer_id)
        if entry is None:
            entry = self.verifications[producer_id] = VerificationStateEntry(
                sequence, producer_epoch, supports_epoch_bump, now_ms
            )
        else:
            entry.see(sequence, producer_epoch)
        return entry

    def check_epoch(self, producer_id: int, producer_epoch: int) -> None:
        """Raises: KafkaError: INVALID_PRODUCER_EPOCH for an epoch below the last one."""
        entry = self.entries.get(producer_id)
        if entry is not None and producer_epoch < entry.producer_epoch:
            raise KafkaError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"epoch {producer_epoch} of producer {producer_id} is below its last one, {entry.producer_epoch}",
            )

    def check_verified(self, header: BatchHeader, guard: VerificationStateEntry | None, required: bool) -> None:
        """Whether a transactional batch may be appended: its transaction has begun here, or the coordinator
        said that the partition takes part.

        Raises:
            KafkaError: INVALID_PRODUCER_EPOCH; INVALID_TXN_STATE if nobody asked, or the answer is of the past.
        """
        producer_id = header.producer_id
        if self.has_ongoing_transaction(producer_id, header.producer_epoch):
            return
        self.check_epoch(producer_id, header.producer_epoch)
        if required and (guard is None or self.verifications.get(producer_id) is not guard):
            raise KafkaError(
                ErrorCode.INVALID_TXN_STATE, f"the record batch of producer {producer_id} is of no open transaction"
            )

    def end_verification(self, header: BatchHeader) -> None:
        """A transactional batch of the producer is in the log."""
        entry = self.verifications.get(header.producer_id)
        # The end of a transaction says nothing about the next one, which may be asked about already.
        if entry is not None and not (
            entry.supports_epoch_bump and header.is_control and header.producer_epoch == entry.producer_epoch
        ):
            del self.verifications[header.producer_id]

    def update(self, info: ProducerAppendInfo) -> None:
        """The append is in the log."""
        entry = info.current
        if entry is None:
            entry = self.entries[info.producer_id] = ProducerStateEntry(info.producer_id)
        if entry.producer_epoch != info.producer_epoch:
            entry.producer_epoch = info.producer_epoch
            entry.batches = info.batches
        else:
            entry.batches += info.batches
        if len(entry.batches) > BATCHES_TO_RETAIN:
            del entry.batches[:-BATCHES_TO_RETAIN]
        entry.coordinator_epoch = info.coordinator_epoch
        entry.last_timestamp = info.last_timestamp
        entry.current_txn_first_offset = info.current_txn_first_offset
        if info.started >= 0:
            self._ongoing[info.started] = info.producer_id
            if self.first_unstable_offset is None:
                self.first_unstable_offset = info.started

    def recall(self, header: BatchHeader) -> None:
        """A batch before the end of what a snapshot covers: the snapshot has only each producer's last."""
        entry = self.entries.get(header.producer_id)
        if entry is None or not entry.batches or entry.producer_epoch != header.producer_epoch:
            return
        if header.last_offset < entry.batches[-1].last_offset:
            delta = header.last_offset_delta
            batch = BatchMetadata(header.last_sequence, header.last_offset, delta, header.max_timestamp)
            entry.batches.insert(len(entry.batches) - 1, batch)
            if len(entry.batches) > BATCHES_TO_RETAIN:
                del entry.batches[0]

    def has_ongoing_transaction(self, producer_id: int, producer_epoch: int) -> bool:
        """Whether the producer has begun a transaction here (UnifiedLog.hasOngoingTransaction)."""
        entry = self.entries.get(producer_id)
        return entry is not None and entry.current_txn_first_offset >= 0 and entry.producer_epoch == producer_epoch

    def last_stable_offset_after(self, completed: CompletedTransaction) -> int:
        """What the last stable offset is once the transaction's end is replicated (.txnindex)."""
        for first_offset, producer_id in self._ongoing.items():
            if producer_id != completed.producer_id:
                return first_offset
        return completed.last_offset + 1

    def complete(self, completed: CompletedTransaction) -> None:
        """A transaction has ended; it stays unstable until the high watermark has passed its marker."""
        self._ongoing.pop(completed.first_offset, None)
        self._unreplicated[completed.first_offset] = completed.last_offset
        self._settle()

    def on_high_watermark(self, high_watermark: int) -> None:
        """The high watermark moved."""
        unreplicated = self._unreplicated
        if not unreplicated:
            return
        done = [first for first, last in unreplicated.items() if last < high_watermark]
        if done:
            for first in done:
                del unreplicated[first]
            self._settle()

    def _settle(self) -> None:
        first = next(iter(self._ongoing), None)
        if self._unreplicated:
            lowest = min(self._unreplicated)
            if first is None or lowest < first:
                first = lowest
        self.first_unstable_offset = first

    @property
    def first_undecided_offset(self) -> int | None:
        """Where the oldest open transaction begins."""
        return next(iter(self._ongoing), None)

    # -- time ---------------------------------------------------------------------------------------------------

    def _is_expired(self, last_timestamp: int, current_txn_first_offset: int, now_ms: int) -> bool:
        return current_txn_first_offset < 0 and now_ms - last_timestamp >= self.expiration_ms

    def remove_expired(self, now_ms: int) -> int:
        """Forget producers that were silent for producer.id.expiration.ms; how many."""
        expired = [
            each.producer_id
            for each in self.entries.values()
            if self._is_expired(each.last_timestamp, each.current_txn_first_offset, now_ms)
        ]
        for producer_id in expired:
            del self.entries[producer_id]
        for producer_id, entry in list(self.verifications.items()):
            if now_ms - entry.started_ms >= self.expiration_ms:
                del self.verifications[producer_id]
        return len(expired)

    # -- snapshots ----------------------------------------------------------------------------------------------

    @property
    def knows_transactions(self) -> bool:
        """Whether a producer has ended a transaction here."""
        return any(each.coordinator_epoch >= 0 for each in self.entries.values())

    def take_snapshot(self) -> None:
        """Write the state at the log's end, if there is no snapshot of that. Raises ``OSError``."""
        latest = self.snapshots.latest()
        if latest is None or self.map_end_offset > latest:
            self.snapshots.write(
                self.map_end_offset,
                [
                    SnapshotEntry(
                        each.producer_id,
                        each.producer_epoch,
                        each.last_sequence,
                        each.last_data_offset,
                        each.batches[-1].offset_delta if each.batches else 0,
                        each.last_timestamp,
                        each.coordinator_epoch,
                        each.current_txn_first_offset,
                    )
                    for each in self.entries.values()
                ],
            )

    def load(self, log_start_offset: int, end_offset: int, now_ms: int) -> int:
        """Begin anew with the latest snapshot within the bounds; others go. Returns the offset to go on from."""
        self._clear()
        self.snapshots.remove_outside(log_start_offset, end_offset)
        self.map_end_offset = log_start_offset
        while (latest := self.snapshots.latest()) is not None:
            try:
                entries = self.snapshots.read(latest)
            except (SnapshotCorrupt, FileNotFoundError) as error:
                log.warning("producer state is made from the log: %s", error)
                self.snapshots.remove(latest)
                continue
            for each in entries:
                if self._is_expired(each.timestamp, each.current_txn_first_offset, now_ms):
                    continue
                entry = ProducerStateEntry(
                    each.producer_id,
                    each.epoch,
                    each.coordinator_epoch,
                    each.timestamp,
                    each.current_txn_first_offset,
                )
                if each.last_offset >= 0:
                    entry.batches.append(
                        BatchMetadata(each.last_sequence, each.last_offset, each.offset_delta, each.timestamp)
                    )
                self.entries[each.producer_id] = entry
            self._ongoing = dict(
                sorted(
                    (each.current_txn_first_offset, each.producer_id)
                    for each in self.entries.values()
                    if each.current_txn_first_offset >= 0
                )
            )
            self._settle()
            self.map_end_offset = latest
            break
        return self.map_end_offset

    def on_log_start_offset(self, log_start_offset: int) -> None:
        """The log starts later."""
        self.on_high_watermark(log_start_offset)
        self.map_end_offset = max(self.map_end_offset, log_start_offset)

    def start_at(self, offset: int) -> None:
        """The log is empty and begins at ``offset``."""
        self._clear()
        self.snapshots.remove_all()
        self.map_end_offset = offset

    def _clear(self) -> None:
        self.entries.clear()
        self._ongoing.clear()
        self._unreplicated.clear()
        self.first_unstable_offset = None

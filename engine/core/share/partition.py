"""A partition as one share group reads it, on the partition's leader (Kafka: SharePartition, KIP-932).

Records between the start offset (SPSO: everything before it is dealt with) and the end (SPEO: nothing from there on was
given to anybody) have a state each. A consumer acquires records for a time, and accepts, releases or rejects them; what
it releases, or holds for too long, is given to somebody else, but not more often than a limit.

Inputs return :class:`SharePartitionEffects`: ``send`` has what the share coordinator must persist, ``reply`` the
outcome of an acknowledgement (None or a KafkaError), which waits until :meth:`SharePartition.on_written` tells that it
is persisted. Until then the records are in transition: nobody gets them, and nobody acknowledges them; if it fails they
are what they were before. That a record was given to somebody is not persisted: who leads next may give it again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from engine.core.effects import Effects, Reply
from engine.core.now import Now
from engine.core.share.shard import WrittenState
from engine.core.share.state_batches import RecordState, StateBatch
from engine.model.errors import ErrorCode, KafkaError

GAP, ACCEPT, RELEASE, REJECT, RENEW = 0, 1, 2, 3, 4
"""Types of acknowledgements (AcknowledgeType); a gap is an offset where the consumer found no record."""

_STATE_OF = {
    GAP: RecordState.ARCHIVED,
    ACCEPT: RecordState.ACKNOWLEDGED,
    RELEASE: RecordState.AVAILABLE,
    REJECT: RecordState.ARCHIVED,
}


class SharePartitionLimits(NamedTuple):
    """Configs of the group, or the broker's group.share.* (ShareGroupConfigProvider)."""

    delivery_count_limit: int = 5
    record_lock_duration_ms: int = 30_000
    partition_max_record_locks: int = 2000


class InFlight(NamedTuple):
    """A record between start and end. ``owner`` is the member that has it until ``deadline_ms`` (monotonic)."""

    state: RecordState
    delivery_count: int
    owner: str = ""
    deadline_ms: float = 0.0


class OffsetRange(NamedTuple):
    """Offsets, both ends included."""

    first: int
    last: int


class AcquiredRange(NamedTuple):
    """Records that a member got, all for the ``delivery_count``-th time."""

    first_offset: int
    last_offset: int
    delivery_count: int


class AcknowledgedRange(NamedTuple):
    """What a member says of records: one type for all, or one for each."""

    first_offset: int
    last_offset: int
    types: Sequence[int]


class StateToWrite(NamedTuple):
    """What to persist; answer with ``on_written(number, error)``."""

    number: int
    written: WrittenState


SharePartitionEffects: TypeAlias = Effects[None, StateToWrite]


class _Transition(NamedTuple):
    """Records on their way into another state: what each of them was."""

    before: dict[int, InFlight]
    token: object | None
    can_roll_back: bool


_NEW = InFlight(RecordState.AVAILABLE, 0)


class SharePartition:
    """One group's view of one partition, in one leader epoch. One input at a time."""

    __slots__ = (
        "_available_from",
        "_deadlines",
        "_in_transition",
        "_number",
        "_records",
        "_transitions",
        "end_offset",
        "leader_epoch",
        "limits",
        "start_offset",
        "state_epoch",
    )

    def __init__(
        self,
        *,
        start_offset: int,
        state_epoch: int,
        leader_epoch: int,
        batches: Iterable[StateBatch] = (),
        limits: SharePartitionLimits = SharePartitionLimits(),  # noqa: B008  a value
    ) -> None:
        """``start_offset`` and ``batches`` as the coordinator has them."""
        self.start_offset = start_offset
        self.state_epoch = state_epoch
        self.leader_epoch = leader_epoch
        self.limits = limits
        # Behind the last offset that has a state.
        self.end_offset = start_offset
        self._records: dict[int, InFlight] = {}
        # No record before it is available.
        self._available_from = start_offset
        self._deadlines: list[float] = []
        self._number = 0
        self._transitions: dict[int, _Transition] = {}
        self._in_transition: dict[int, int] = {}
        for batch in sorted(batches):
            # What has no state in between was given to consumers who had said nothing of it yet.
            self._extend(batch.first_offset - 1, _NEW)
            # A later version, or a damaged record: what is not final can be given again.
            final = batch.state in (RecordState.ACKNOWLEDGED, RecordState.ARCHIVED)
            state = RecordState(batch.state) if final else RecordState.AVAILABLE
            self._extend(batch.last_offset, InFlight(state, batch.delivery_count))
        self._advance()

    def _extend(self, last: int, record: InFlight) -> None:
        for offset in range(self.end_offset, last + 1):
            self._records[offset] = record
        self.end_offset = max(self.end_offset, last + 1)

    # -- questions ----------------------------------------------------------------------------------------------

    def next_fetch_offset(self) -> int:
        """Where to read next: at the first record that is available, else at the end."""
        offset = max(self._available_from, self.start_offset)
        while offset < self.end_offset:
            if self._is_available(offset):
                break
            offset += 1
        self._available_from = offset
        return offset

    def can_acquire(self) -> bool:
        """Whether a consumer could get something, if the log has it."""
        return (
            self.next_fetch_offset() < self.end_offset
            or self.end_offset - self.start_offset < self.limits.partition_max_record_locks
        )

    def record(self, offset: int) -> InFlight | None:
        """The state of a record, None outside of start and end."""
        return self._records.get(offset)

    def _is_available(self, offset: int) -> bool:
        return self._records[offset].state is RecordState.AVAILABLE and offset not in self._in_transition

    def _delivery_complete_count(self) -> int:
        return sum(1 for each in self._records.values() if each.state.is_final)

    # -- acquiring ----------------------------------------------------------------------------------------------

    def acquire(
        self,
        member_id: str,
        asked: int,
        batches: Sequence[OffsetRange],
        now: Now,
        *,
        max_records: int,
        is_strict: bool,
        batch_size: int = 0,
        aborted: Callable[[int], bool] | None = None,
    ) -> list[AcquiredRange]:
        """Give a member what is available of the log's ``batches``, read from offset ``asked`` on.

        Not more than ``max_records`` if ``is_strict``, else up to the end of the batch that reaches that number. What a
        member gets together is cut at the ends of batches once it has ``batch_size`` records. ``aborted(offset)`` tells
        of records whose transaction was aborted: nobody gets them.
        """
        acquired: list[AcquiredRange] = []
        count, at = 0, asked
        deadline_ms = now.monotonic_ms + self.limits.record_lock_duration_ms
        for first, last in batches:
            if count >= max_records or (last >= self.end_offset and self._is_full()):
                break
            # The log has nothing there (any more).
            self._archive(range(max(at, self.start_offset), first))
            starts_run = not acquired or self._size(acquired[-1]) >= batch_size > 0
            for offset in range(max(first, asked, self.start_offset), last + 1):
                if count >= max_records and is_strict:
                    break
                if offset >= self.end_offset:
                    if is_strict and self._is_full():
                        break
                    self._extend(offset, _NEW)
                elif not self._is_available(offset):
                    continue
                if aborted is not None and aborted(offset):
                    self._records[offset] = InFlight(RecordState.ARCHIVED, self._records[offset].delivery_count)
                    continue
                deliveries = self._records[offset].delivery_count + 1
                self._records[offset] = InFlight(RecordState.ACQUIRED, deliveries, member_id, deadline_ms)
                count += 1
                run = acquired[-1] if acquired else None
                if run is not None and not starts_run and run.last_offset + 1 == offset and run[2] == deliveries:
                    acquired[-1] = run._replace(last_offset=offset)
                else:
                    acquired.append(AcquiredRange(offset, offset, deliveries))
                    starts_run = False
            at = last + 1
        if count:
            heapq.heappush(self._deadlines, deadline_ms)
        self._advance()
        return acquired

    @staticmethod
    def _size(run: AcquiredRange) -> int:
        return run.last_offset - run.first_offset + 1

    def _is_full(self) -> bool:
        return self.end_offset - self.start_offset >= self.limits.partition_max_record_locks

    def _archive(self, offsets: range) -> None:
        for offset in offsets:
            if offset >= self.end_offset:
                self._extend(offset, InFlight(RecordState.ARCHIVED, 0))
            elif self._is_available(offset):
                self._records[offset] = InFlight(RecordState.ARCHIVED, self._records[offset].delivery_count)

    def on_log_start(self, log_start_offset: int) -> None:
        """Records before ``log_start_offset`` are gone from the log."""
        if log_start_offset <= self.start_offset:
            return
        for offset in range(self.start_offset, min(log_start_offset, self.end_offset)):
            del self._records[offset]
            self._in_transition.pop(offset, None)
        self.start_offset = log_start_offset
        self.end_offset = max(self.end_offset, log_start_offset)
        self._advance()

    # -- acknowledging ------------------------------------------------------------------------------------------

    def acknowledge(
        self, member_id: str, ranges: Sequence[AcknowledgedRange], now: Now, token: object
    ) -> SharePartitionEffects:
        """What a member says of records that it has; all of it counts, or nothing.

        The reply is None, or KafkaError: INVALID_RECORD_STATE for records that the member has not (any more),
        INVALID_REQUEST for what makes no sense.
        """
        changes: dict[int, InFlight] = {}
        try:
            for each in ranges:
                self._acknowledge_range(member_id, each, now, changes)
        except KafkaError as error:
            return Effects(reply=[Reply(token, error)])
        renewed = [offset for offset, record in changes.items() if record.state is RecordState.ACQUIRED]
        for offset in renewed:
            self._records[offset] = changes.pop(offset)
        if renewed:
            heapq.heappush(self._deadlines, now.monotonic_ms + self.limits.record_lock_duration_ms)
        if not changes:
            return Effects(reply=[Reply(token, None)])
        return self._change(changes, token, can_roll_back=True)

    def _acknowledge_range(
        self, member_id: str, given: AcknowledgedRange, now: Now, changes: dict[int, InFlight]
    ) -> None:
        first, last, types = given
        if first > last or (len(types) != 1 and len(types) != last - first + 1):
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"{len(types)} acknowledgement types do not fit offsets {first} to {last}: give one, or one for each",
            )
        unknown = [each for each in types if each != RENEW and each not in _STATE_OF]
        if unknown:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Invalid acknowledge type: {unknown[0]}")
        if last >= self.end_offset:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"offset {last} was given to nobody: this share partition ends before {self.end_offset}",
            )
        for offset in range(max(first, self.start_offset), last + 1):
            record = self._records[offset]
            if record.state is not RecordState.ACQUIRED or offset in self._in_transition or offset in changes:
                raise KafkaError(ErrorCode.INVALID_RECORD_STATE, f"offset {offset} is not acquired")
            if record.owner != member_id:
                raise KafkaError(ErrorCode.INVALID_RECORD_STATE, f"another member has acquired offset {offset}")
            kind = types[0] if len(types) == 1 else types[offset - first]
            if kind == RENEW:
                renewed_ms = now.monotonic_ms + self.limits.record_lock_duration_ms
                changes[offset] = record._replace(deadline_ms=renewed_ms)
            else:
                changes[offset] = self._left_in(_STATE_OF[kind], record)

    def _left_in(self, state: RecordState, record: InFlight) -> InFlight:
        """The record when its owner lets go of it: what was given as often as the limit allows is not given again."""
        if state is RecordState.AVAILABLE and record.delivery_count >= self.limits.delivery_count_limit:
            state = RecordState.ARCHIVED
        return InFlight(state, record.delivery_count)

    def release(self, member_id: str, token: object) -> SharePartitionEffects:
        """The member is gone: all that it has may be given to others. The reply as in :meth:`acknowledge`."""
        changes = {
            offset: self._left_in(RecordState.AVAILABLE, record)
            for offset, record in self._records.items()
            if record.owner == member_id and offset not in self._in_transition
        }
        if not changes:
            return Effects(reply=[Reply(token, None)])
        return self._change(changes, token, can_roll_back=False)

    # -- time ---------------------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> float | None:
        """When :meth:`on_timer` is due (monotonic milliseconds), or None."""
        return self._deadlines[0] if self._deadlines else None

    def on_timer(self, now: Now) -> SharePartitionEffects:
        """Locks run out: what they held may be given to others."""
        while self._deadlines and self._deadlines[0] <= now.monotonic_ms:
            heapq.heappop(self._deadlines)
        changes = {
            offset: self._left_in(RecordState.AVAILABLE, record)
            for offset, record in self._records.items()
            if record.state is RecordState.ACQUIRED
            and record.deadline_ms <= now.monotonic_ms
            and offset not in self._in_transition
        }
        return self._change(changes, None, can_roll_back=False) if changes else Effects()

    # -- persisting ---------------------------------------------------------------------------------------------

    def _change(
        self, changes: dict[int, InFlight], token: object | None, *, can_roll_back: bool
    ) -> SharePartitionEffects:
        """Records on their way into another state.

        A lock that is over is over even if that cannot be persisted (``can_roll_back`` false): then it counts at once.
        """
        self._number += 1
        before = {offset: self._records[offset] for offset in changes}
        self._records.update(changes)
        self._transitions[self._number] = _Transition(before, token, can_roll_back)
        if can_roll_back:
            self._in_transition.update(dict.fromkeys(changes, self._number))
        else:
            self._available_from = min(self._available_from, min(changes))
        written = WrittenState(
            self.state_epoch,
            self.leader_epoch,
            self.start_offset,
            self._delivery_complete_count(),
            _runs(changes),
        )
        return Effects(send=[StateToWrite(self._number, written)])

    def on_written(self, number: int, error: KafkaError | None) -> SharePartitionEffects:
        """What was sent under ``number`` is persisted, or will not be (``error``)."""
        transition = self._transitions.pop(number, None)
        if transition is None:
            return Effects()
        for offset, before in transition.before.items():
            if self._in_transition.get(offset) == number:
                del self._in_transition[offset]
                if error is not None and transition.can_roll_back:
                    self._records[offset] = before
                    # Its lock may have run out meanwhile.
                    heapq.heappush(self._deadlines, before.deadline_ms)
                self._available_from = min(self._available_from, offset)
        self._advance()
        return Effects() if transition.token is None else Effects(reply=[Reply(transition.token, error)])

    def _advance(self) -> None:
        """Move the start over all that is dealt with."""
        while self.start_offset < self.end_offset:
            offset = self.start_offset
            if not self._records[offset].state.is_final or offset in self._in_transition:
                break
            del self._records[offset]
            self.start_offset += 1

    def __repr__(self) -> str:
        return f"SharePartition({self.start_offset} to {self.end_offset}, leader_epoch={self.leader_epoch})"


def _runs(changes: dict[int, InFlight]) -> tuple[StateBatch, ...]:
    """Records by offset as batches of neighbours."""
    runs: list[StateBatch] = []
    for offset, record in sorted(changes.items()):
        if runs and runs[-1].last_offset + 1 == offset and runs[-1][2:] == record[:2]:
            runs[-1] = runs[-1]._replace(last_offset=offset)
        else:
            runs.append(StateBatch(offset, offset, int(record.state), record.delivery_count))
    return tuple(runs)

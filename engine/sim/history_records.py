"""Compares what was sent with what was read: records lost, unseen, doubled, moved, made up, or shown and aborted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from engine.sim.history import History, Operation, Poll, Send, Txn, Value, precedes
from engine.sim.history_findings import Findings, Kind, Narrator
from engine.sim.history_log import FinalRead, Gap, PartitionLog

_EXAMPLES = 5

NOT_IDEMPOTENT = "a producer without idempotence may append a record again when it retries"
READ_UNCOMMITTED = "read_uncommitted shows records of open and aborted transactions"
Proof = Gap | FinalRead | Poll


def weak_acks(send: Send) -> str | None:
    """Why the send may be lost though it was acknowledged; None: it may not."""
    if send.acks == "all":
        return None
    return f"acks={send.acks} does not wait for the replicas: a failure of the leader may lose the record"


class Outcomes:
    """Which transactions were committed: told so, or seen so by a reader with read_committed."""

    def __init__(self, history: History, logs: Mapping[str, PartitionLog]) -> None:
        self._seen: dict[Txn, Poll] = {}
        for txn in history.txns.values():
            if not txn.is_aborted and not txn.is_committed:
                seen = _first_sight(txn, logs)
                if seen is not None:
                    self._seen[txn] = seen

    def is_committed(self, txn: Txn) -> bool:
        """Whether it must have been."""
        return txn.is_committed or txn in self._seen

    def is_visible(self, send: Send) -> bool:
        """Whether read_committed has to show the record if it is in the log."""
        return send.outcome != "fail" and (send.txn is None or self.is_committed(send.txn))

    def was_settled_before(self, send: Send, poll: Poll) -> bool:
        """Whether the record, which was acknowledged, must have been visible when the poll began."""
        settled: Operation | None = send
        if send.txn is not None:
            settled = send.txn.end if send.txn.is_committed else self._seen.get(send.txn)
        return settled is not None and precedes(settled, poll)


def _first_sight(txn: Txn, logs: Mapping[str, PartitionLog]) -> Poll | None:
    polls: list[Poll] = []
    for send in txn.sends:
        log = logs.get(send.partition)
        if log is not None:
            seen = (log.first_committed_poll.get(offset) for offset in log.offsets(send.value))
            polls.extend(poll for poll in seen if poll is not None)
    return min(polls, key=lambda poll: poll.completed_place, default=None)


class PartitionRecords:
    """The records of one partition, checked once."""

    def __init__(
        self,
        log: PartitionLog,
        writers: Mapping[Value, Send],
        outcomes: Outcomes,
        findings: Findings,
        narrator: Narrator,
    ) -> None:
        self.log = log
        self._writers = writers
        self._outcomes = outcomes
        self._findings = findings
        self._tell = narrator
        self._read_offsets = sorted(log.value_at)
        self._visible_offsets: list[int] | None = None
        # Offsets of records that were read once and then gone.
        self._lost: set[int] = set()

    def check(self) -> None:
        """Find everything that is wrong with the records."""
        for offset, value, poll, committed_poll in self._reads():
            send = self._writers.get(value)
            if send is None:
                self._add_unexpected(offset, value, poll)
            elif send.outcome == "fail":
                self._add_read_of_refused(send, offset, poll)
            elif send.txn is not None:
                self._check_txn(send.txn, send, offset, poll, committed_poll)
        for offset, value, poll in self.log.conflicts:
            self._add_conflict(offset, value, poll)
        for value in self.log.copies:
            self._check_copies(value)
        unread = self._check_acknowledged()
        if unread:
            self._check_unread(unread)
        if self.log.final_reads:
            self._check_vanished()
        self._check_skips()

    def _reads(self) -> Iterator[tuple[int, Value, Poll, Poll | None]]:
        """Offset, value, who read it first, who read it first with read_committed."""
        first_poll, first_committed = self.log.first_poll, self.log.first_committed_poll
        for offset, value in self.log.value_at.items():
            yield offset, value, first_poll[offset], first_committed.get(offset)
        for offset, value, poll in self.log.conflicts:
            yield offset, value, poll, poll if poll.is_committed_only else None

    def _add(
        self,
        kind: Kind,
        allowed: str | None,
        operations: Sequence[Operation],
        gist: str,
        lines: Callable[[], Sequence[str]],
    ) -> None:
        self._findings.add(kind, self.log.partition, allowed, operations, lambda: [gist, *lines()])

    def _record(self, offset: int) -> str:
        return f"{self.log.value_at[offset]!r} at offset {offset}"

    # -- what was read and should not have been -----------------------------------------------------------------

    def _add_unexpected(self, offset: int, value: Value, poll: Poll) -> None:
        gist = f"nobody sent {value!r} to this partition, and it was read"
        self._add(
            Kind.UNEXPECTED_READ, None, [poll], gist, lambda: [self._tell.read(poll, f"{value!r} at offset {offset}")]
        )

    def _add_read_of_refused(self, send: Send, offset: int, poll: Poll) -> None:
        gist = f"{send.value!r} was read though its producer was told that it had failed"
        self._add(Kind.ABORTED_READ, None, [send, poll], gist, lambda: self._read_lines(send, offset, poll))

    def _read_lines(self, send: Send, offset: int, poll: Poll) -> list[str]:
        return [self._tell.sent(send), self._tell.read(poll, f"{send.value!r} at offset {offset}")]

    def _check_txn(self, txn: Txn, send: Send, offset: int, poll: Poll, committed_poll: Poll | None) -> None:
        """Was a record of a transaction shown that was not committed, or not yet?"""
        shown = committed_poll or poll
        if txn.is_aborted:
            kind, gist = Kind.ABORTED_READ, f"{send.value!r} was read though its transaction was not committed"
        else:
            assert txn.end is not None
            if not precedes(shown, txn.end):
                shown = poll
            if not precedes(shown, txn.end):
                return
            kind, gist = Kind.PRECOMMITTED_READ, f"{send.value!r} was read before its transaction was to be committed"
        ended = [] if txn.end is None else [txn.end]
        allowed = None if shown.is_committed_only else READ_UNCOMMITTED
        self._add(kind, allowed, [send, shown, *ended], gist, lambda: self._read_lines(send, offset, shown))

    # -- offsets ------------------------------------------------------------------------------------------------

    def _add_conflict(self, offset: int, value: Value, poll: Poll) -> None:
        first, other = self.log.first_poll[offset], self.log.value_at[offset]
        gist = f"offset {offset} holds {other!r} for one reader and {value!r} for another"
        senders = [send for send in (self._writers.get(other), self._writers.get(value)) if send is not None]

        def lines() -> list[str]:
            reads = [self._tell.read(first, repr(other)), self._tell.read(poll, repr(value))]
            return [*reads, *map(self._tell.sent, senders)]

        self._add(Kind.INCONSISTENT_OFFSETS, None, [first, poll, *senders], gist, lines)

    def _check_copies(self, value: Value) -> None:
        send = self._writers.get(value)
        if send is None:
            return
        first = self.log.offset_of[value]
        copies = [(first, self.log.first_poll[first]), *self.log.copies[value]]
        gist = f"{value!r} was sent once and read at the offsets {_list([offset for offset, _ in copies])}"
        operations = [send, *(poll for _, poll in copies)]

        def lines() -> list[str]:
            return [self._tell.sent(send), *(self._tell.read(poll, f"offset {offset}") for offset, poll in copies)]

        self._add(Kind.DUPLICATE, _may_repeat(send), operations, gist, lines)

    def _check_acknowledged(self) -> list[Send]:
        """Compare offsets that producers and readers were told; returns acknowledged sends that nobody read."""
        log, unread = self.log, []
        offset_of = log.offset_of
        acknowledged: dict[int, Send] = {}
        for send in self._writers.values():
            if send.outcome != "ok":
                continue
            at = offset_of.get(send.value)
            if at is None:
                if self._outcomes.is_visible(send):
                    unread.append(send)
                if send.offset is not None:
                    other = acknowledged.setdefault(send.offset, send)
                    if other is not send:
                        self._add_same_offset(other, send)
                    elif send.offset in log.value_at:
                        self._add_moved(send, send.offset)
            elif send.offset is not None and send.offset != at and send.offset not in log.offsets(send.value):
                self._add_moved(send, send.offset)
        return unread

    def _add_same_offset(self, one: Send, other: Send) -> None:
        gist = f"offset {one.offset} was acknowledged for {one.value!r} and for {other.value!r}"
        allowed = weak_acks(one) or weak_acks(other)
        self._add(
            Kind.INCONSISTENT_OFFSETS,
            allowed,
            [one, other],
            gist,
            lambda: [self._tell.sent(one), self._tell.sent(other)],
        )

    def _add_moved(self, send: Send, told: int) -> None:
        """The record is not where its producer was told."""
        log, read_at = self.log, self.log.offsets(send.value)
        polls = [log.first_poll[offset] for offset in read_at]
        operations: list[Operation] = [send, *polls]
        there = log.first_poll.get(told)

        def lines() -> list[str]:
            found = [self._tell.sent(send), *(self._tell.read(poll, repr(send.value)) for poll in polls)]
            return found if there is None else [*found, self._tell.read(there, self._record(told))]

        if there is not None:
            operations.append(there)
            gist = f"offset {told} was acknowledged for {send.value!r} and holds {log.value_at[told]!r}"
            gist += f"; {send.value!r} was read at {_list(read_at)}" if read_at else ""
            self._add(Kind.INCONSISTENT_OFFSETS, weak_acks(send), operations, gist, lines)
            return
        gist = f"{send.value!r} was acknowledged with offset {told} and read at {_list(read_at)}"
        repeated = _may_repeat(send)
        if repeated is not None and not log.was_passed_over(told):
            self._add(Kind.DUPLICATE, repeated, operations, gist, lines)
        else:
            self._add(Kind.INCONSISTENT_OFFSETS, weak_acks(send), operations, gist, lines)

    # -- what was not read and should have been -----------------------------------------------------------------

    def _check_unread(self, unread: list[Send]) -> None:
        """Acknowledged, and nobody read it: is it known that somebody should have?"""
        log = self.log
        placed = sorted(((send.offset, send) for send in unread if send.offset is not None), key=lambda each: each[0])
        offsets = [offset for offset, _ in placed]
        proofs: dict[Send, Proof] = {}
        for gap in log.gaps:
            for _, send in placed[bisect_left(offsets, gap.start) : bisect_left(offsets, gap.end)]:
                proofs.setdefault(send, gap)
        for offset, send in placed:
            if send not in proofs:
                proof = self._missed_by(send, offset)
                if proof is not None:
                    proofs[send] = proof
        highest_read = self._read_offsets[-1] if self._read_offsets else -1
        for send in unread:
            proof = proofs.get(send) if send.offset is not None else self._missed_by(send, None)
            if proof is None:
                continue
            is_passed = send.offset is not None and (not isinstance(proof, FinalRead) or send.offset < highest_read)
            self._add_unread(Kind.LOST_WRITE if is_passed else Kind.UNSEEN, send, proof)

    def _missed_by(self, send: Send, offset: int | None) -> Proof | None:
        if offset is not None and offset in self.log.value_at:
            return self.log.first_poll[offset]
        for final in self.log.final_reads:
            if self._outcomes.was_settled_before(send, final.poll) and (
                final.run.start == 0 if offset is None else final.misses(offset)
            ):
                return final
        return None

    def _add_unread(self, kind: Kind, send: Send, proof: Proof) -> None:
        where = "" if send.offset is None else f" with offset {send.offset}"
        gist = f"{send.value!r} was acknowledged{where}"
        if kind is Kind.UNSEEN:
            gist += " and a final read came to the end of the log without it"
        else:
            gist += ", later records were read, and nobody ever received it"
        operations = [send, *_operations(proof)]
        self._add(kind, weak_acks(send), operations, gist, lambda: [self._tell.sent(send), *self._proof_lines(proof)])

    def _proof_lines(self, proof: Proof) -> list[str]:
        tell = self._tell
        if isinstance(proof, Poll):
            return [tell.read(proof, "another value at its offset")]
        if isinstance(proof, Gap):
            came = f"{self._record(proof.end)} {tell.at(proof.after.completed_ns)}"
            reader = proof.after.process
            if isinstance(proof.before, Poll):
                if proof.start - 1 not in self.log.value_at:
                    return [f"{reader} received nothing from offset {proof.start} on, and next {came}"]
                last = f"{self._record(proof.start - 1)} {tell.at(proof.before.completed_ns)}"
                return [f"{reader} received {last}, and next {came}"]
            return [
                f"{reader} went to offset {proof.start} {tell.at(proof.before.invoked_ns)}, and received first {came}"
            ]
        reader = proof.poll.process
        text = f"{reader} came to the end of the log, offset {proof.end}, {tell.at(proof.poll.completed_ns)}"
        if isinstance(proof.last, Poll) and proof.position - 1 in self.log.value_at:
            return [f"{text}; the last that it received was {self._record(proof.position - 1)}"]
        return [f"{text}; it received nothing from offset {proof.position} on"]

    def _check_vanished(self) -> None:
        """Records that were read and that no final read received."""
        log, missed = self.log, dict[int, FinalRead]()
        for final in log.final_reads:
            for offset in self._missing_in(final):
                missed.setdefault(offset, final)
        for offset, final in sorted(missed.items()):
            if all(self._is_gone(other, offset) for other in log.final_reads):
                copies = log.offsets(log.value_at[offset])
                if all(copy in missed for copy in copies):
                    self._lost.add(offset)
                    self._add_vanished(offset, final)

    def _missing_in(self, final: FinalRead) -> Iterator[int]:
        offsets = self._offsets(final.poll.is_committed_only)
        for gap in final.run.gaps:
            if gap.start < final.position:
                yield from offsets[bisect_left(offsets, gap.start) : bisect_left(offsets, gap.end)]
        for offset in offsets[bisect_left(offsets, final.position) :]:
            if precedes(self.log.first_poll[offset], final.poll):
                yield offset

    def _is_gone(self, final: FinalRead, offset: int) -> bool:
        """Whether the final read misses the record, or says nothing of it."""
        return final.misses(offset) or offset < final.run.start

    def _add_vanished(self, offset: int, final: FinalRead) -> None:
        value, first = self.log.value_at[offset], self.log.first_poll[offset]
        send = self._writers.get(value)
        sent = [] if send is None else [send]
        proof: Proof = final
        if offset < final.position:
            proof = next(gap for gap in final.run.gaps if gap.start <= offset < gap.end)
        gist = f"{value!r} was read at offset {offset}, and a final read did not find it"
        operations = [*sent, first, *_operations(proof), final.poll]

        def lines() -> list[str]:
            return [*map(self._tell.sent, sent), self._tell.read(first, "it"), *self._proof_lines(proof)]

        self._add(Kind.LOST_WRITE, None, operations, gist, lines)

    # -- what one reader did not receive ------------------------------------------------------------------------

    def _offsets(self, is_committed_only: bool) -> list[int]:
        """Where records are that such a reader has to receive."""
        if not is_committed_only:
            return self._read_offsets
        if self._visible_offsets is None:
            writers, value_at, is_visible = self._writers, self.log.value_at, self._outcomes.is_visible
            self._visible_offsets = [
                offset
                for offset in self._read_offsets
                if (send := writers.get(value_at[offset])) is not None and is_visible(send)
            ]
        return self._visible_offsets

    def skipped(self, start: int, end: int | None, is_committed_only: bool) -> list[int]:
        """Offsets from ``start`` up to ``end`` of records that somebody read and such a reader has to receive."""
        offsets = self._offsets(is_committed_only)
        stop = len(offsets) if end is None else bisect_left(offsets, end)
        found = offsets[bisect_left(offsets, start) : stop]
        return [offset for offset in found if offset not in self._lost] if self._lost else found

    def add_skip(
        self,
        kind: Kind,
        skipped: Sequence[int],
        operations: Sequence[Operation],
        gist: str,
        lines: Callable[[], list[str]],
    ) -> None:
        """A reader left out what others read."""
        polls = [self.log.first_poll[each] for each in skipped[:_EXAMPLES]]

        def all_lines() -> list[str]:
            shown = zip(polls, skipped, strict=False)
            found = [*lines(), *(self._tell.read(poll, self._record(each)) for poll, each in shown)]
            return found if len(skipped) <= _EXAMPLES else [*found, f"and {len(skipped) - _EXAMPLES} more"]

        self._add(kind, None, [*operations, *polls], gist, all_lines)

    def _check_skips(self) -> None:
        for gap in self.log.gaps:
            skipped = self.skipped(gap.start, gap.end, gap.after.is_committed_only)
            if skipped:
                gist = f"{gap.after.process} did not receive {records(len(skipped))} that others did"
                kind = Kind.INT_POLL_SKIP if gap.is_internal else Kind.POLL_SKIP
                self.add_skip(kind, skipped, _operations(gap), gist, partial(self._proof_lines, gap))
        for final in self.log.final_reads:
            tail = self.skipped(final.position, None, final.poll.is_committed_only)
            skipped = [offset for offset in tail if precedes(self.log.first_poll[offset], final.poll)]
            if skipped:
                gist = f"{final.poll.process} came to the end of the log without {records(len(skipped))} in it"
                self.add_skip(Kind.POLL_SKIP, skipped, _operations(final), gist, partial(self._proof_lines, final))


def _may_repeat(send: Send) -> str | None:
    """Why a record may be appended twice; None: it may not."""
    return None if send.idempotent or send.attempts == 1 else NOT_IDEMPOTENT


def records(count: int) -> str:
    """``a record``, ``7 records``."""
    return "a record" if count == 1 else f"{count} records"


def _list(offsets: Sequence[int]) -> str:
    return " and ".join(map(str, offsets))


def _operations(proof: Proof) -> list[Operation]:
    if isinstance(proof, Gap):
        return [proof.after] if proof.is_internal else [proof.before, proof.after]
    if isinstance(proof, FinalRead):
        return [proof.poll] if proof.last in (None, proof.poll) else [proof.last, proof.poll]
    return [proof]

"""Whether logs keep the order of sends: of one producer, of one transaction, and of those that waited for others.

Of two sends of one process to one partition, the later one must come later in the log

* if the earlier one was acknowledged before the later one began, or
* if both are idempotent sends of one session: then also when they were in flight together, and when nobody knows
  whether the earlier one failed.

Otherwise a producer without idempotence may swap them: a batch that is retried comes after its successors. And of two
processes, what is sent after somebody else's acknowledgement comes later in the log than what was acknowledged. Where
the earlier record had acks=1 or 0 and nobody read it, it may be lost and its offset given away.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import partial

from engine.sim.history import Send, Value
from engine.sim.history_findings import Findings, Kind, Narrator
from engine.sim.history_log import PartitionLog
from engine.sim.history_records import weak_acks

SWAPPED = "a producer without idempotence may swap sends that are in flight together or have failed"
INTERLEAVED = "transactions are isolated from readers, not from each other: their records interleave"


class SendOrder:
    """The sends to one partition, checked once."""

    def __init__(
        self, log: PartitionLog, writers: Mapping[Value, Send], findings: Findings, narrator: Narrator
    ) -> None:
        self._log = log
        self._sends = list(writers.values())
        self._findings = findings
        self._tell = narrator
        # Where each send is in the log, as far as anybody knows: its first and its last copy.
        self._span: dict[Send, tuple[int, int]] = {}
        for send in self._sends:
            offset, told = log.offset_of.get(send.value), send.offset
            if offset is not None and (told is None or told == offset) and send.value not in log.copies:
                self._span[send] = offset, offset
            elif offset is not None or (told is not None and told not in log.value_at):
                known = [*log.offsets(send.value), *([] if told is None else [told])]
                self._span[send] = min(known), max(known)

    def check(self) -> None:
        """Find sends whose order in the log is another."""
        by_process: dict[str, list[Send]] = {}
        for send in self._sends:
            by_process.setdefault(send.process, []).append(send)
        for sends in by_process.values():
            self._check_process(sends)
        self._check_across(self._sends)
        self._check_txns(send for send in self._sends if send.txn is not None)

    def _is_sure(self, send: Send) -> bool:
        """Whether the record has its place for good: it was read, or all replicas have it."""
        return send.value in self._log.offset_of or (send.outcome == "ok" and send.acks == "all")

    def _check_process(self, sends: list[Send]) -> None:
        completions = sorted((send for send in sends if send.outcome == "ok"), key=lambda send: send.completed_place)
        done = 0
        acknowledged: Send | None = None
        in_session: Send | None = None
        any_before: Send | None = None
        session = -1
        span = self._span
        for send in sends:
            while done < len(completions) and completions[done].completed_place < send.place:
                if completions[done].acks == "all":
                    acknowledged = self._higher(acknowledged, completions[done])
                done += 1
            if send.session != session:
                session, in_session = send.session, None
            found = span.get(send)
            if found is not None:
                last = found[1]
                if acknowledged is not None and last < span[acknowledged][0]:
                    self._add(acknowledged, send, None)
                elif send.idempotent and in_session is not None and last < span[in_session][0]:
                    self._add(in_session, send, None)
                elif any_before is not None and last < span[any_before][0]:
                    self._add(any_before, send, SWAPPED if self._is_sure(any_before) else weak_acks(any_before))
                any_before = self._higher(any_before, send)
                if send.idempotent and self._is_sure(send):
                    in_session = self._higher(in_session, send)

    def _higher(self, one: Send | None, other: Send) -> Send | None:
        if other not in self._span:
            return one
        return other if one is None or self._span[other][0] > self._span[one][0] else one

    def _add(self, earlier: Send, later: Send, allowed: str | None) -> None:
        is_internal = earlier.txn is not None and earlier.txn is later.txn
        kind = Kind.INT_NONMONOTONIC_SEND if is_internal else Kind.NONMONOTONIC_SEND
        self._findings.add(kind, self._log.partition, allowed, [earlier, later], partial(self._lines, earlier, later))

    def _lines(self, earlier: Send, later: Send) -> list[str]:
        before, after = self._span[later][1], self._span[earlier][0]
        gist = f"{later.value!r} was sent after {earlier.value!r} and stands before it: offsets {before} and {after}"
        lines = [gist, self._tell.sent(earlier), self._tell.sent(later)]
        for send in (earlier, later):
            offset = self._log.offset_of.get(send.value)
            if offset is not None:
                lines.append(self._tell.read(self._log.first_poll[offset], f"{send.value!r} at offset {offset}"))
        return lines

    # -- several processes --------------------------------------------------------------------------------------

    def _check_across(self, sends: list[Send]) -> None:
        """The acknowledged send with the highest offset so far, and the one with the highest of another process."""
        span = self._span
        completions = sorted(
            (send for send in sends if send.outcome == "ok" and send in span), key=lambda send: send.completed_place
        )
        done = 0
        strict, weak = _Highest(), _Highest()
        for send in sends:
            while done < len(completions) and completions[done].completed_place < send.place:
                acknowledged = completions[done]
                (strict if acknowledged.acks == "all" else weak).take(acknowledged, span[acknowledged][0])
                done += 1
            found = span.get(send)
            if found is None:
                continue
            for highest in (strict, weak):
                earlier = highest.of_another(send.process)
                if earlier is not None and found[1] < span[earlier][0]:
                    lines = partial(self._lines, earlier, send)
                    operations = [earlier, send]
                    self._findings.add(Kind.ACKED_REORDER, self._log.partition, weak_acks(earlier), operations, lines)
                    break

    # -- transactions -------------------------------------------------------------------------------------------

    def _check_txns(self, sends: Iterable[Send]) -> None:
        """Gaps between a transaction's records: other records that were read stand between them."""
        last_of: dict[object, Send] = {}
        read_offsets: list[int] | None = None
        for send in sends:
            offset = self._log.offset_of.get(send.value)
            if offset is None:
                continue
            last = last_of.get(send.txn)
            last_of[send.txn] = send
            start = -1 if last is None else self._log.offset_of[last.value]
            if last is None or offset <= start + 1:
                continue
            if read_offsets is None:
                read_offsets = sorted(self._log.value_at)
            index = bisect_right(read_offsets, start)
            if read_offsets[index] < offset:
                lines = partial(self._skip_lines, last, send, read_offsets[index])
                self._findings.add(Kind.INT_SEND_SKIP, self._log.partition, INTERLEAVED, [last, send], lines)

    def _skip_lines(self, last: Send, send: Send, between: int) -> list[str]:
        gist = f"{self._log.value_at[between]!r} stands between {last.value!r} and {send.value!r} of one transaction"
        return [gist, self._tell.sent(last), self._tell.sent(send)]


class _Highest:
    """The send with the highest offset, and the one with the highest of all other processes."""

    __slots__ = ("_first", "_first_offset", "_second", "_second_offset")

    def __init__(self) -> None:
        self._first: Send | None = None
        self._first_offset = -1
        self._second: Send | None = None
        self._second_offset = -1

    def take(self, send: Send, offset: int) -> None:
        """Take an acknowledged send."""
        if offset > self._first_offset:
            if self._first is not None and self._first.process != send.process:
                self._second, self._second_offset = self._first, self._first_offset
            self._first, self._first_offset = send, offset
        elif self._first is not None and send.process != self._first.process and offset > self._second_offset:
            self._second, self._second_offset = send, offset

    def of_another(self, process: str) -> Send | None:
        """The highest that is not of the process."""
        return self._second if self._first is not None and self._first.process == process else self._first

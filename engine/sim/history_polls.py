"""Follows every consumer through its polls: makes the logs of partitions, finds polls that go back.

Within one poll and from one poll to the next a consumer receives records in the order of the log. A seek, an assign, a
rebalance, a restart or a poll of unknown outcome sets or forgets its position in the partitions concerned. Of one that
happens while a poll is open nobody knows which of the poll's records came before it: those count as read, and their
order proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.sim.history import (
    Assign,
    History,
    Operation,
    Poll,
    Rebalance,
    Restart,
    Seek,
    Subscribe,
    Value,
)
from engine.sim.history_findings import Findings, Kind, Narrator
from engine.sim.history_log import FinalRead, Gap, GroupStart, PartitionLog, Positioning, Run


class _Position:
    """Where a consumer is in a partition: ``next`` is the least offset that it may receive.

    ``top`` is more than that if it went back: what lies before is not left out, it came already. Nor does the reading
    prove anything of it any more: what it had passed over may come.
    """

    __slots__ = ("last", "next", "run", "top")

    def __init__(self, next_offset: int, last: Poll | Positioning, run: Run) -> None:
        self.next = next_offset
        self.top = next_offset
        self.last = last
        self.run = run


class _Consumer:
    def __init__(self) -> None:
        self.positions: dict[str, _Position] = {}
        # Partition -> the rebalance that gave it, until something is received.
        self.given: dict[str, Rebalance] = {}
        self.subscription: Subscribe | None = None
        # Places where positions were last set or forgotten: of some partitions, of all.
        self.moved: dict[str, int] = {}
        self.last_move = -1
        self.forgot_all = -1

    def forget(self, place: int) -> None:
        """Nothing is known of any position."""
        self.positions.clear()
        self.given.clear()
        self.last_move = self.forgot_all = place

    def move(self, event: Positioning, positions: Mapping[str, int | None]) -> None:
        """Positions were set."""
        for partition, position in positions.items():
            self.drop(partition, event.place)
            if position is not None:
                self.positions[partition] = _Position(position, event, Run(position))

    def drop(self, partition: str, place: int) -> None:
        """Nothing is known of the position in one partition."""
        self.positions.pop(partition, None)
        self.given.pop(partition, None)
        self.moved[partition] = self.last_move = place

    def unsure_since(self, partition: str) -> int:
        """Place of the last change of the position that was no poll."""
        return max(self.forgot_all, self.moved.get(partition, -1))


class PollScan:
    """One pass over the history; then :attr:`logs` are complete."""

    def __init__(self, history: History, findings: Findings, narrator: Narrator) -> None:
        self.logs: dict[str, PartitionLog] = {}
        self.records = 0
        self._findings = findings
        self._narrator = narrator
        self._consumers: dict[str, _Consumer] = {}
        for operation in history.completed:
            if isinstance(operation, Poll | Assign | Seek | Rebalance | Subscribe | Restart):
                self._take(operation)

    def _take(self, operation: Operation) -> None:
        consumer = self._consumers.get(operation.process)
        if consumer is None:
            consumer = self._consumers[operation.process] = _Consumer()
        if isinstance(operation, Poll):
            if operation.outcome == "ok":
                self._on_poll(consumer, operation)
            elif operation.outcome == "info":
                consumer.forget(operation.completed_place)
        elif isinstance(operation, Seek):
            consumer.move(operation, operation.positions)
        elif isinstance(operation, Assign):
            consumer.forget(operation.place)
            consumer.subscription = None
            consumer.move(operation, operation.positions)
        elif isinstance(operation, Rebalance):
            for partition in (*operation.revoked, *operation.assigned):
                consumer.drop(partition, operation.place)
            for partition in operation.assigned:
                consumer.given[partition] = operation
        else:
            consumer.forget(operation.place)
            consumer.subscription = operation if isinstance(operation, Subscribe) else None

    # -- polls --------------------------------------------------------------------------------------------------

    def _on_poll(self, consumer: _Consumer, poll: Poll) -> None:
        is_unsure = consumer.last_move > poll.place
        partition, log, position = "", PartitionLog(""), None
        value_at, committed = log.value_at, log.first_committed_poll
        is_committed_only = poll.is_committed_only
        self.records += len(poll.records)
        for name, offset, value in poll.records:
            if name is not partition:
                partition, log = name, self._log(name)
                value_at, committed = log.value_at, log.first_committed_poll
                position = consumer.positions.get(name)
            if value_at.get(offset) != value:
                log.on_new_record(offset, value, poll)
            if is_committed_only and offset not in committed and value_at[offset] == value:
                committed[offset] = poll
            if position is not None and offset == position.next and not is_unsure:
                position.next = offset + 1
                position.last = poll
            elif is_unsure and consumer.unsure_since(name) > poll.place:
                consumer.positions.pop(name, None)
                consumer.given.pop(name, None)
            else:
                position = self._jump(consumer, position, log, poll, offset, value)
        for name, end in poll.reached_end.items():
            self._on_end(consumer, self._log(name), poll, end)

    def _log(self, partition: str) -> PartitionLog:
        log = self.logs.get(partition)
        if log is None:
            log = self.logs[partition] = PartitionLog(partition)
        return log

    def _jump(
        self,
        consumer: _Consumer,
        position: _Position | None,
        log: PartitionLog,
        poll: Poll,
        offset: int,
        value: Value,
    ) -> _Position:
        """A record that is not simply the next one."""
        name = log.partition
        if position is None:
            given, subscription = consumer.given.pop(name, None), consumer.subscription
            if given is not None and subscription is not None:
                log.group_starts.append(GroupStart(given, subscription, poll, offset))
            position = consumer.positions[name] = _Position(offset + 1, poll, Run(offset))
            return position
        if offset < position.next:
            self._went_back(position, log, poll, offset, value)
            position.top = max(position.top, position.next)
            position.run = Run(position.top)
        start = max(position.next, position.top)
        if offset > start:
            gap = Gap(start, offset, position.last, poll)
            position.run.gaps.append(gap)
            log.gaps.append(gap)
        position.next = offset + 1
        position.last = poll
        return position

    def _went_back(self, position: _Position, log: PartitionLog, poll: Poll, offset: int, value: Value) -> None:
        last, narrator, expected = position.last, self._narrator, position.next
        kind = Kind.INT_NONMONOTONIC_POLL if last is poll else Kind.NONMONOTONIC_POLL

        def tell() -> list[str]:
            record = f"{value!r} at offset {offset}"
            if isinstance(last, Poll):
                before = f"offset {expected - 1} ({log.value_at[expected - 1]!r})"
                gist = f"{poll.process} received {record} after {before}, without a seek or a rebalance in between"
                return [gist, narrator.read(last, before), narrator.read(poll, record)]
            gist = f"{poll.process} received {record}, before the position {expected} that it had set"
            return [gist, f"the position was set {narrator.at(last.invoked_ns)}", narrator.read(poll, record)]

        self._findings.add(kind, log.partition, None, [last, poll], tell)

    def _on_end(self, consumer: _Consumer, log: PartitionLog, poll: Poll, end: int) -> None:
        position = consumer.positions.get(log.partition)
        if position is None or consumer.unsure_since(log.partition) > poll.place:
            log.final_reads.append(FinalRead(Run(end), end, end, poll, None))
        else:
            came_to = max(position.next, position.top)
            log.final_reads.append(FinalRead(position.run, came_to, end, poll, position.last))

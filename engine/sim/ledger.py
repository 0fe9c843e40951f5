"""What clients did and were told: written down as a history, told to the invariants, and judged at the end.

The judge of records and committed offsets is :mod:`engine.sim.history_checker`; an anomaly breaks the promise that
:data:`_PROMISES` names. What is held against the brokers' insides (how far each partition was acknowledged) goes to
:class:`~engine.sim.invariants.Invariants` at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engine.sim.history import Acks, History, Send
from engine.sim.history_checker import Verdict, check
from engine.sim.history_findings import Anomaly, Kind
from engine.sim.history_recorder import ClientRecorder, HistoryRecorder, PendingSend
from engine.sim.invariants import Violation
from engine.sim.producer import Outcome, Sent

if TYPE_CHECKING:
    from engine.sim.invariants import Invariants

Partition = tuple[str, int]

# Which promise of docs/promises.md an anomaly breaks.
_PROMISES = {
    Kind.LOST_WRITE: "R9",
    Kind.UNSEEN: "R9",
    Kind.UNEXPECTED_READ: "R9",
    Kind.ABORTED_READ: "T5",
    Kind.PRECOMMITTED_READ: "T5",
    Kind.DUPLICATE: "T1",
    Kind.INCONSISTENT_OFFSETS: "R5",
    Kind.NONMONOTONIC_SEND: "T1",
    Kind.INT_NONMONOTONIC_SEND: "T1",
    Kind.ACKED_REORDER: "R5",
    Kind.NONMONOTONIC_POLL: "R5",
    Kind.INT_NONMONOTONIC_POLL: "R5",
    Kind.POLL_SKIP: "G6",
    Kind.INT_POLL_SKIP: "R5",
    Kind.OFFSET_REGRESSION: "G3",
    Kind.G1C: "T5",
}
_ACKS: dict[int, Acks] = {-1: "all", 1: 1, 0: 0}


def partition_name(each: Partition) -> str:
    """As Kafka names its directory."""
    return f"{each[0]}-{each[1]}"


class RecordLedger:
    """One for a run. ``now_ns``: simulated time."""

    def __init__(self, invariants: Invariants, now_ns: Callable[[], int]) -> None:
        self._invariants = invariants
        self._history = History()
        self._recorder = HistoryRecorder(now_ns, self._history.add)
        self.acknowledged = 0
        # Called with a partition when its leader has acknowledged a batch with acks=all.
        self.on_acknowledged: Callable[[Partition], None] | None = None

    def client(self, process: str) -> ClientRecorder:
        """What writes down the operations of one client."""
        return self._recorder.client(process)

    # -- sends --------------------------------------------------------------------------------------------------

    def begin_sends(
        self, client: ClientRecorder, each: Partition, values: Sequence[bytes], *, acks: int, idempotent: bool
    ) -> list[PendingSend]:
        """A batch is about to be sent."""
        name = partition_name(each)
        return [client.send(name, value.decode(), acks=_ACKS[acks], idempotent=idempotent) for value in values]

    def end_sends(self, each: Partition, sends: Sequence[PendingSend], sent: Sent, *, acks: int) -> None:
        """What its producer was told. One that is not idempotent sends a batch once."""
        if sent.outcome is Outcome.FAIL:
            for send in sends:
                send.fail(sent.error)
        elif acks == 0:
            for send in sends:
                send.ok(None, attempts=1)
        elif sent.outcome is Outcome.INFO:
            for send in sends:
                send.info(sent.error)
        else:
            # DUPLICATE_SEQUENCE_NUMBER: it is there, nobody knows where.
            is_placed = sent.base_offset >= 0
            for at, send in enumerate(sends):
                send.ok(sent.base_offset + at if is_placed else None, attempts=sent.attempts)
            if acks == -1:
                self.acknowledged += len(sends)
                if is_placed:
                    ends, end = self._invariants.acknowledged_end, sent.base_offset + len(sends)
                    ends[each] = max(ends.get(each, 0), end)
                if self.on_acknowledged is not None:
                    self.on_acknowledged(each)

    # -- the end ------------------------------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        """The history's. All topics of the workload promise what docs/promises.md does: none is excused."""
        return check(self._history, keep=3)

    def check(self) -> None:
        """Raises: Violation: the promise that the worst anomaly breaks, and what proves it."""
        verdict = self.verdict()
        if verdict.anomalies:
            worst = verdict.anomalies[0]
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(verdict.anomaly_counts.items()))
            raise Violation(_promise(worst), f"{worst}\n  all anomalies: {counts}")


def _promise(anomaly: Anomaly) -> str:
    is_refused = anomaly.kind is Kind.ABORTED_READ and not any(
        isinstance(each, Send) and each.txn is not None for each in anomaly.operations
    )
    # A record that was refused, and is there.
    return "T2" if is_refused else _PROMISES[anomaly.kind]

"""Judges a history as Jepsen's Kafka workload does: which records were lost, doubled, swapped, skipped, shown early.

The log of each partition is inferred from what was read, and from the offsets that producers were told. An anomaly is
an error unless less had been promised; then it counts as ``allowed``, with the reason.

``lost-write``             A record that was acknowledged, or read, is gone: a consumer read past its offset and nobody
                           received it; or somebody received it and no final read that should have did. acks=1 and
                           acks=0 allow it, unless it had been read: what a consumer was shown is committed.
``unseen``                 A record that was acknowledged and that nobody received, while nothing after it was read
                           either. Only if a final read of its partition came to the end of the log after the
                           acknowledgement (``reached_end``). acks=1 and acks=0 allow it.
``unexpected-read``        A value was read that nobody sent to the partition. Never allowed.
``aborted-read``           A record was read whose send had failed, or whose transaction was not committed. The latter
                           is allowed to read_uncommitted. (Jepsen: G1a.)
``precommitted-read``      A record was read before the commit of its transaction was asked for, by the transaction
                           itself or by another. Allowed to read_uncommitted.
``duplicate``              One send was read at several offsets. Allowed without idempotence, unless the producer says
                           that it made one attempt (``attempts``): a send that timed out is sent again.
``inconsistent-offsets``   Two values at one offset, for two readers, two producers or one of each; or an idempotent
                           producer was told another offset than readers. Allowed if it was told so with acks=1 or 0.
``nonmonotonic-send``,     Two sends of one process (one transaction) to one partition, swapped in the log. An error if
``int-nonmonotonic-send``  the first one was acknowledged (acks=all) before the second began, or if both are idempotent
                           and of one session; else allowed.
``int-send-skip``          Other records stand between those of a transaction. Always allowed: it says how much of that
                           was tried.
``acked-reorder``          A record stands before one of another process that had been acknowledged when it was sent.
                           acks=1 and acks=0 of that one allow it.
``nonmonotonic-poll``,     A consumer received a record again, or one that stands before one it had received, in two
``int-nonmonotonic-poll``  polls (in one). Never allowed; a seek, an assign, a rebalance or a restart between the two
                           begins anew, and so does a poll of unknown outcome.
``poll-skip``,             A consumer did not receive a record that others did, and received later ones or the end of
``int-poll-skip``          the log; or a member that was given a partition began after it, though its group had not
                           committed so far. As above. To read_committed no record counts that was not committed.
``offset-regression``      A committed offset went back, or is gone: fetched, or by the first record of a member that
                           was given the partition. Allowed if a commit of unknown outcome may explain it. Groups that
                           commit automatically are not judged.
``G1c``                    Transactions that read from each other in a circle. Allowed to read_uncommitted.

Topics with unclean leader elections are excused from all but made-up values, aborted and early reads, and circles.

Not in the history, so not known: retention and compaction (a record that the cluster deleted counts as lost), other
writers to its topics, and commits by others than its processes.

One pass and some sorting: n·log n in the number of operations and records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.sim.history import Commit, Committed, History, Poll, Send
from engine.sim.history_findings import Anomaly, Findings, Kind, Narrator, Promises
from engine.sim.history_log import PartitionLog
from engine.sim.history_offsets import check_offsets
from engine.sim.history_polls import PollScan
from engine.sim.history_records import Outcomes, PartitionRecords
from engine.sim.history_sends import SendOrder
from engine.sim.history_txns import check_cycles

KEPT_OF_EACH_KIND = 20


@dataclass(frozen=True, slots=True)
class Counts:
    """How much was checked. ``duration_ns``: from the first event of an operation to the last."""

    events: int
    operations: int
    ok: int
    failed: int
    unknown: int
    partitions: int
    sent: int
    acknowledged: int
    polls: int
    records_read: int
    commits: int
    fetches: int
    transactions: int
    committed_transactions: int
    aborted_transactions: int
    finally_read: int
    """Partitions with a final read."""
    duration_ns: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker says. Of each kind the first anomalies are kept, all are counted."""

    counts: Counts
    anomalies: tuple[Anomaly, ...]
    allowed: tuple[Anomaly, ...]
    anomaly_counts: Mapping[Kind, int]
    allowed_counts: Mapping[Kind, int]

    @property
    def is_valid(self) -> bool:
        """Whether every promise was kept."""
        return not self.anomaly_counts

    def report(self, *, with_allowed: bool = False) -> str:
        """The verdict for people: anomalies with what proves them, then what was checked."""
        blocks = [str(anomaly) for anomaly in self.anomalies]
        blocks += _left_out(self.anomaly_counts, self.anomalies)
        if with_allowed:
            blocks += [str(anomaly) for anomaly in self.allowed]
            blocks += _left_out(self.allowed_counts, self.allowed)
        blocks.append("\n".join(self._summary()))
        return "\n\n".join(blocks)

    def _summary(self) -> list[str]:
        counts = self.counts
        lines = [
            f"{counts.operations} operations in {counts.duration_ns / 1e9:.3f} s: {counts.ok} ok, "
            f"{counts.failed} failed, {counts.unknown} of unknown outcome",
            f"{counts.sent} records sent to {counts.partitions} partitions, {counts.acknowledged} acknowledged; "
            f"{counts.records_read} received in {counts.polls} polls",
        ]
        if counts.transactions:
            lines.append(
                f"{counts.transactions} transactions, {counts.committed_transactions} committed, "
                f"{counts.aborted_transactions} aborted"
            )
        if counts.commits or counts.fetches:
            lines.append(f"offsets committed {counts.commits} times and fetched {counts.fetches} times")
        if counts.finally_read < counts.partitions:
            unread = counts.partitions - counts.finally_read
            lines.append(f"{unread} partitions have no final read: unseen was not checked there")
        lines.append(f"allowed: {_listed(self.allowed_counts)}")
        lines.append(f"anomalies: {_listed(self.anomaly_counts)}")
        return lines


def _listed(counts: Mapping[Kind, int]) -> str:
    return ", ".join(f"{kind} {counts[kind]}" for kind in Kind if counts.get(kind)) or "none"


def _left_out(counts: Mapping[Kind, int], kept: Sequence[Anomaly]) -> list[str]:
    shown = Counter(anomaly.kind for anomaly in kept)
    return [f"{kind}: {counts[kind] - shown[kind]} more" for kind in Kind if counts.get(kind, 0) > shown[kind]]


def check(history: History, promises: Promises | None = None, *, keep: int = KEPT_OF_EACH_KIND) -> Verdict:
    """Judge a history. ``keep``: how many anomalies of each kind are kept with their proof."""
    findings = Findings(promises if promises is not None else Promises(), keep)
    narrator = Narrator(history)
    scan = PollScan(history, findings, narrator)
    outcomes = Outcomes(history, scan.logs)
    checked: dict[str, PartitionRecords] = {}
    for partition in sorted({*scan.logs, *history.writers}):
        log = scan.logs.get(partition) or PartitionLog(partition)
        writers = history.writers.get(partition, {})
        records = checked[partition] = PartitionRecords(log, writers, outcomes, findings, narrator)
        records.check()
        SendOrder(log, writers, findings, narrator).check()
    check_offsets(history, scan.logs, checked, findings, narrator)
    check_cycles(history, findings, narrator)
    order = list(Kind)
    return Verdict(
        _count(history, scan, len(checked)),
        tuple(sorted(findings.anomalies, key=lambda anomaly: order.index(anomaly.kind))),
        tuple(sorted(findings.allowed, key=lambda anomaly: order.index(anomaly.kind))),
        findings.anomaly_counts,
        findings.allowed_counts,
    )


def _count(history: History, scan: PollScan, partitions: int) -> Counts:
    operations = history.operations
    outcomes = Counter(operation.outcome for operation in operations)
    types = Counter(map(type, operations))
    last_ns = history.completed[-1].completed_ns if history.completed else 0
    return Counts(
        events=history.events,
        operations=len(operations),
        ok=outcomes["ok"],
        failed=outcomes["fail"],
        unknown=outcomes["info"],
        partitions=partitions,
        sent=types[Send],
        acknowledged=sum(1 for each in operations if isinstance(each, Send) and each.outcome == "ok"),
        polls=types[Poll],
        records_read=scan.records,
        commits=types[Commit],
        fetches=types[Committed],
        transactions=len(history.txns),
        committed_transactions=sum(1 for txn in history.txns.values() if txn.is_committed),
        aborted_transactions=sum(1 for txn in history.txns.values() if txn.is_aborted),
        finally_read=sum(1 for log in scan.logs.values() if log.final_reads),
        duration_ns=max(0, last_ns - operations[0].invoked_ns) if operations else 0,
    )

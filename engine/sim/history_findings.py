"""Anomalies by their names, what is kept of them, and the words in which they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from engine.sim.history import NEVER, Commit, Committed, History, Operation, Poll, Send, Txn, topic_of

OFFSETS_TOPIC = "__consumer_offsets"


class Kind(StrEnum):
    """Names of anomalies: Jepsen's where it has one."""

    LOST_WRITE = "lost-write"
    UNSEEN = "unseen"
    UNEXPECTED_READ = "unexpected-read"
    ABORTED_READ = "aborted-read"
    PRECOMMITTED_READ = "precommitted-read"
    DUPLICATE = "duplicate"
    INCONSISTENT_OFFSETS = "inconsistent-offsets"
    NONMONOTONIC_SEND = "nonmonotonic-send"
    INT_NONMONOTONIC_SEND = "int-nonmonotonic-send"
    INT_SEND_SKIP = "int-send-skip"
    ACKED_REORDER = "acked-reorder"
    NONMONOTONIC_POLL = "nonmonotonic-poll"
    INT_NONMONOTONIC_POLL = "int-nonmonotonic-poll"
    POLL_SKIP = "poll-skip"
    INT_POLL_SKIP = "int-poll-skip"
    OFFSET_REGRESSION = "offset-regression"
    G1C = "G1c"


# What records do to clients when an unclean election cuts a log off. Nothing makes up values or shows aborted ones.
_EXCUSED_BY_UNCLEAN_ELECTIONS = frozenset(Kind) - {
    Kind.UNEXPECTED_READ,
    Kind.ABORTED_READ,
    Kind.PRECOMMITTED_READ,
    Kind.G1C,
}


@dataclass(frozen=True, slots=True)
class Promises:
    """What the cluster was configured to promise.

    ``unclean_topics``: those with unclean.leader.election.enable=true, whose records may be lost however they were
    acknowledged. ``__consumer_offsets`` among them lets committed offsets go back.
    """

    unclean_topics: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One thing that is wrong, or would be if more had been promised (``allowed`` says why not)."""

    kind: Kind
    partition: str | None
    allowed: str | None
    operations: tuple[Operation, ...]
    """Those that prove it."""
    lines: tuple[str, ...]
    """What happened, for people: the first line is the gist."""

    def __str__(self) -> str:
        head = f"{self.kind} {self.partition}" if self.partition else str(self.kind)
        tail = [f"  allowed: {self.allowed}"] if self.allowed else []
        return "\n".join([f"{head}: {self.lines[0]}", *(f"  {line}" for line in self.lines[1:]), *tail])


class Findings:
    """Counts all anomalies and keeps the first ``keep`` of each kind."""

    def __init__(self, promises: Promises, keep: int) -> None:
        self._promises = promises
        self._keep = keep
        self.anomalies: list[Anomaly] = []
        self.allowed: list[Anomaly] = []
        self.anomaly_counts: Counter[Kind] = Counter()
        self.allowed_counts: Counter[Kind] = Counter()

    def add(
        self,
        kind: Kind,
        partition: str | None,
        allowed: str | None,
        operations: Sequence[Operation],
        tell: Callable[[], Sequence[str]],
    ) -> None:
        """Count one; ``tell`` is asked for its lines if it is kept."""
        if allowed is None and partition is not None and kind in _EXCUSED_BY_UNCLEAN_ELECTIONS:
            allowed = self._excuse(kind, topic_of(partition))
        counts, kept = (self.anomaly_counts, self.anomalies) if allowed is None else (self.allowed_counts, self.allowed)
        counts[kind] += 1
        if counts[kind] <= self._keep:
            kept.append(Anomaly(kind, partition, allowed, tuple(operations), tuple(tell())))

    def _excuse(self, kind: Kind, topic: str) -> str | None:
        unclean = self._promises.unclean_topics
        if topic in unclean:
            return f"topic {topic} allows unclean elections"
        if kind is Kind.OFFSET_REGRESSION and OFFSETS_TOPIC in unclean:
            return f"{OFFSETS_TOPIC} allows unclean elections"
        return None


class Narrator:
    """Says what operations did, with times in seconds since the history began."""

    def __init__(self, history: History) -> None:
        self._origin_ns = history.operations[0].invoked_ns if history.operations else 0

    def at(self, time_ns: int) -> str:
        """``at 12.034567 s``."""
        return f"at {(time_ns - self._origin_ns) / 1e9:.6f} s"

    def completion(self, operation: Operation, ok: str) -> str:
        """How it ended; ``ok``: the word for success."""
        if operation.completed_ns == NEVER:
            return "never completed"
        why = f" ({operation.error})" if operation.error else ""
        words = {"ok": ok, "fail": f"refused{why}", "info": f"outcome unknown{why}"}
        return f"{words[operation.outcome]} {self.at(operation.completed_ns)}"

    def sent(self, send: Send) -> str:
        """Who sent it, and who was told what."""
        how = f"acks={send.acks}" + (", idempotent" if send.idempotent else "")
        end = self.completion(send, "acknowledged")
        if send.outcome == "ok":
            end += f" with offset {send.offset}" if send.offset is not None else " without an offset"
        text = f"{send.value!r} was sent by {send.process} ({how}) {self.at(send.invoked_ns)}, {end}"
        return text if send.txn is None else f"{text}; {self.ended(send.txn)}"

    def ended(self, txn: Txn) -> str:
        """How a transaction ended."""
        name = f"transaction {txn.txn} of {txn.process}"
        if txn.end is None:
            return f"{name} was never ended"
        what = "commit" if txn.end.commit else "abort"
        return f"{what} of {name} {self.at(txn.end.invoked_ns)}, {self.completion(txn.end, 'done')}"

    def read(self, poll: Poll, what: str) -> str:
        """Who read it, when."""
        isolation = "read_committed" if poll.is_committed_only else "read_uncommitted"
        within = "" if poll.txn is None else f" in transaction {poll.txn.txn}"
        return f"{what} was read by {poll.process} ({isolation}{within}) {self.at(poll.completed_ns)}"

    def committed(self, commit: Commit, offset: int) -> str:
        """Who committed an offset."""
        text = f"{offset} was committed by {commit.process} {self.at(commit.invoked_ns)}, "
        text += self.completion(commit, "acknowledged")
        return text if commit.txn is None else f"{text}; {self.ended(commit.txn)}"

    def fetched(self, fetch: Committed, offset: int) -> str:
        """Who was told which offset."""
        told = "nothing is committed" if offset < 0 else f"{offset} is committed"
        return f"{fetch.process} asked {self.at(fetch.invoked_ns)} and was told {self.at(fetch.completed_ns)}: {told}"

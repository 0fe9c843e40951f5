"""Histories written by hand: every event is a millisecond after the one before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from engine.sim.history import Acks, History, Isolation, TxnId, Value
from engine.sim.history_checker import Verdict, check
from engine.sim.history_findings import Anomaly, Kind, Promises
from engine.sim.history_recorder import HistoryRecorder, PendingPoll, PendingSend

P = "orders-0"
Q = "orders-1"
COMMITTED: Isolation = "read_committed"


class Written:
    """A recorder with shorthands for operations that begin and end at once."""

    def __init__(self) -> None:
        self._now_ns = 0
        self.recorder = HistoryRecorder(self._tick)

    def _tick(self) -> int:
        self._now_ns += 1_000_000
        return self._now_ns

    def __getitem__(self, process: str) -> Any:
        return self.recorder.client(process)

    # -- producers ----------------------------------------------------------------------------------------------

    def sending(
        self, value: Value, process: str = "p", partition: str = P, acks: Acks = "all", **more: Any
    ) -> PendingSend:
        return self.recorder.client(process).send(partition, value, acks=acks, **more)

    def sent(self, value: Value, offset: int | None, process: str = "p", **more: Any) -> None:
        attempts = more.pop("attempts", None)
        self.sending(value, process, **more).ok(offset, attempts=attempts)

    def log(self, *values: Value, partition: str = P, **more: Any) -> None:
        """Values sent one after the other to an empty partition, acknowledged with their offsets."""
        for offset, value in enumerate(values):
            self.sent(value, offset, partition=partition, **more)

    # -- consumers ----------------------------------------------------------------------------------------------

    def polling(self, process: str = "c", **more: Any) -> PendingPoll:
        return self.recorder.client(process).poll(**more)

    def polled(
        self, records: Mapping[int, Value], process: str = "c", partition: str = P, end: int | None = None, **more: Any
    ) -> None:
        ends = None if end is None else {partition: end}
        self.polling(process, **more).ok([(partition, *each) for each in records.items()], reached_end=ends)

    def final(
        self, records: Mapping[int, Value], end: int, process: str = "final", partition: str = P, **more: Any
    ) -> None:
        """Another consumer reads everything."""
        self.recorder.client(process).assign({partition: "beginning"})
        self.polled(records, process, partition, end, **more)

    # -- transactions -------------------------------------------------------------------------------------------

    def committed(self, txn: TxnId, process: str = "p") -> None:
        self.recorder.client(process).end_txn(txn, commit=True).ok()

    def aborted(self, txn: TxnId, process: str = "p") -> None:
        self.recorder.client(process).end_txn(txn, commit=False).ok()

    # -- verdicts -----------------------------------------------------------------------------------------------

    def verdict(self, *unclean_topics: str) -> Verdict:
        return check(History.of(self.recorder.events), Promises(frozenset(unclean_topics)))

    def judged(self, *unclean_topics: str) -> tuple[dict[Kind, int], dict[Kind, int]]:
        """How many anomalies of each kind, and how many that are allowed."""
        verdict = self.verdict(*unclean_topics)
        for counts, kept in (
            (verdict.anomaly_counts, verdict.anomalies),
            (verdict.allowed_counts, verdict.allowed),
        ):
            assert Counter(each.kind for each in kept) == counts
            assert all(each.operations and each.lines for each in kept)
        return dict(verdict.anomaly_counts), dict(verdict.allowed_counts)

    def anomaly(self, kind: Kind) -> Anomaly:
        """The only anomaly of the kind."""
        (found,) = (each for each in self.verdict().anomalies if each.kind is kind)
        return found


CLEAN: tuple[dict[Kind, int], dict[Kind, int]] = ({}, {})


def error(kind: Kind, count: int = 1) -> tuple[dict[Kind, int], dict[Kind, int]]:
    """The judgement: this and nothing else."""
    return {kind: count}, {}


def allowed(kind: Kind, count: int = 1) -> tuple[dict[Kind, int], dict[Kind, int]]:
    """The judgement: nothing but this, and it is allowed."""
    return {}, {kind: count}

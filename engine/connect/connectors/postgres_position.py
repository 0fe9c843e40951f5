"""How far a change source came in PostgreSQL's log: Debezium's offset, and when PostgreSQL may forget the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.connect.records import SourceRecord


@dataclass(frozen=True, slots=True)
class Position:
    """Of one change. ``lsn_commit``: every transaction whose commit ends there or before is told as a whole.

    ``lsn`` and ``index`` name the last change that was told of the transaction ``txid``, which comes next: a record of
    the log may hold several rows, and ``index`` counts them. Debezium's offsets have no index, so all rows of a record
    count as told there.
    """

    lsn_commit: int
    lsn: int
    txid: int | None = None
    index: int | None = None
    ts_us: int = 0
    kind: str | None = None

    def offset(self) -> dict[str, Any]:
        """As a source offset: Debezium's names, and ``lsn_index``."""
        return {
            "lsn_proc": self.lsn,
            "messageType": self.kind,
            "lsn_commit": self.lsn_commit,
            "lsn": self.lsn,
            "txId": self.txid,
            "ts_usec": self.ts_us,
            "lsn_index": self.index,
        }

    @classmethod
    def of(cls, offset: Mapping[str, Any]) -> Position:
        """Of a source offset, written here or by Debezium."""
        lsn = int(offset.get("lsn_proc") or offset.get("lsn") or 0)
        commit, txid, index = offset.get("lsn_commit"), offset.get("txId"), offset.get("lsn_index")
        if commit is None:
            commit = lsn if offset.get("snapshot") else 0
        return cls(
            int(commit),
            lsn,
            None if txid is None else int(txid),
            None if index is None else int(index),
            int(offset.get("ts_usec") or 0),
        )

    def has(self, txid: int, lsn: int, index: int) -> bool:
        """Whether a change was told already."""
        if txid != self.txid or lsn > self.lsn:
            return False
        return lsn < self.lsn or self.index is None or index <= self.index

    def committed(self, end_lsn: int) -> Position:
        """The same, with its transaction told as a whole."""
        return replace(self, lsn_commit=end_lsn)


@dataclass(slots=True)
class _Sent:
    record: SourceRecord
    lsn: int | None
    arrived: bool = False


class Acknowledged:
    """Records on their way to Kafka, in their order, and the LSN up to which all have arrived.

    Partitions acknowledge in any order: only what has nothing unacknowledged before it is safe.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Sent] = deque()
        self._by_id: dict[int, _Sent] = {}
        self._safe = 0

    def sent(self, record: SourceRecord, lsn: int | None) -> None:
        """A record was given to the worker; with it everything up to ``lsn`` is told (None: nothing more is)."""
        sent = _Sent(record, lsn)
        self._waiting.append(sent)
        self._by_id[id(record)] = sent

    def arrived(self, record: SourceRecord) -> None:
        """Kafka has it, or a transform dropped it."""
        sent = self._by_id.get(id(record))
        if sent is not None and sent.record is record:
            sent.arrived = True

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._waiting

    def safe_lsn(self) -> int:
        """Everything before is in Kafka."""
        while self._waiting and self._waiting[0].arrived:
            sent = self._waiting.popleft()
            del self._by_id[id(sent.record)]
            if sent.lsn is not None:
                self._safe = max(self._safe, sent.lsn)
        return self._safe

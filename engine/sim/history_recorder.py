"""Recording of a history while clients run, from any thread; the form is that of :mod:`engine.sim.history`.

::

    recorder = HistoryRecorder(time.monotonic_ns, lambda event: file.write(to_line(event)))
    producer = recorder.client("producer-1")
    sending = producer.send("orders-0", "a7", acks="all", idempotent=True)
    ...
    sending.ok(offset=17)        # or sending.fail("…"), sending.info("…")
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from engine.sim.history import Acks, Event, Isolation, Record, TxnId, Value

Position = int | Literal["beginning", "end"] | None


class HistoryRecorder:
    """Numbers the operations and hands every event to ``sink``, in the order of their times.

    ``now_ns``: nanoseconds of a clock that never goes back. Without a sink the events stand in :attr:`events`.
    """

    def __init__(self, now_ns: Callable[[], int], sink: Callable[[Event], object] | None = None) -> None:
        self.events: list[Event] = []
        self._now_ns = now_ns
        self._sink = sink if sink is not None else self.events.append
        self._lock = threading.Lock()
        self._ids = 0

    def client(self, process: str) -> ClientRecorder:
        """What records the operations of one process."""
        return ClientRecorder(self, process)

    def record(self, event: Event) -> None:
        """Note the time and hand the event on."""
        with self._lock:
            event["time_ns"] = self._now_ns()
            self._sink(event)

    def invoke(self, event: Event) -> int:
        """The same with a new id, which is returned."""
        with self._lock:
            self._ids += 1
            event["id"] = self._ids
            event["time_ns"] = self._now_ns()
            self._sink(event)
            return self._ids


class Pending:
    """An operation that has begun. It completes once; if never, its outcome is unknown."""

    __slots__ = ("_f", "_id", "_process", "_recorder", "is_complete")

    def __init__(self, recorder: HistoryRecorder, process: str, f: str, fields: Mapping[str, Any]) -> None:
        self._recorder = recorder
        self._process = process
        self._f = f
        self.is_complete = False
        self._id = recorder.invoke({"process": process, "type": "invoke", "f": f, **fields})

    def _complete(self, outcome: str, **fields: Any) -> None:
        assert not self.is_complete, f"{self._f} {self._id} of {self._process} completes twice"
        self.is_complete = True
        event = {"process": self._process, "type": outcome, "f": self._f, "id": self._id, **fields}
        self._recorder.record(event)

    def fail(self, error: str) -> None:
        """It surely had no effect and never will."""
        self._complete("fail", error=error)

    def info(self, error: str) -> None:
        """Nobody knows whether it had an effect or still will."""
        self._complete("info", error=error)


class PendingSend(Pending):
    """A record on its way."""

    __slots__ = ()

    def ok(self, offset: int | None, *, attempts: int | None = None) -> None:
        """It was acknowledged. ``attempts``: how many copies the client sent, if it knows."""
        known = {} if attempts is None else {"attempts": attempts}
        self._complete("ok", offset=offset if offset is not None and offset >= 0 else None, **known)


class PendingPoll(Pending):
    """A poll that waits."""

    __slots__ = ()

    def ok(self, records: Iterable[Record], *, reached_end: Mapping[str, int] | None = None) -> None:
        """What was received, in its order. ``reached_end``: the log's ends if this was a final read."""
        ends = {} if reached_end is None else {"reached_end": dict(reached_end)}
        self._complete("ok", records=[list(record) for record in records], **ends)


class PendingCommit(Pending):
    """A commit of offsets, or the end of a transaction."""

    __slots__ = ()

    def ok(self) -> None:
        """It was acknowledged."""
        self._complete("ok")


class PendingCommitted(Pending):
    """A fetch of committed offsets."""

    __slots__ = ()

    def ok(self, offsets: Mapping[str, int | None]) -> None:
        """None or -1: nothing is committed."""
        self._complete("ok", offsets=dict(offsets))


class ClientRecorder:
    """The operations of one process. What is None or a default is left out of the event."""

    def __init__(self, recorder: HistoryRecorder, process: str) -> None:
        self._recorder = recorder
        self.process = process

    # -- with an outcome ----------------------------------------------------------------------------------------

    def send(
        self, partition: str, value: Value, *, acks: Acks, idempotent: bool = False, txn: TxnId | None = None
    ) -> PendingSend:
        """A record is handed to the producer."""
        fields: dict[str, Any] = {"partition": partition, "value": value, "acks": acks}
        if idempotent:
            fields["idempotent"] = True
        return PendingSend(self._recorder, self.process, "send", _in_txn(fields, txn))

    def poll(self, *, isolation: Isolation = "read_uncommitted", txn: TxnId | None = None) -> PendingPoll:
        """The consumer is asked for records."""
        return PendingPoll(self._recorder, self.process, "poll", _in_txn({"isolation": isolation}, txn))

    def commit(self, group: str, offsets: Mapping[str, int], *, txn: TxnId | None = None) -> PendingCommit:
        """Offsets are committed, or sent to a transaction."""
        fields = {"group": group, "offsets": dict(offsets)}
        return PendingCommit(self._recorder, self.process, "commit", _in_txn(fields, txn))

    def committed(self, group: str, partitions: Iterable[str], *, require_stable: bool = False) -> PendingCommitted:
        """Committed offsets are fetched."""
        fields = {"group": group, "partitions": list(partitions), "require_stable": require_stable}
        return PendingCommitted(self._recorder, self.process, "committed", fields)

    def end_txn(self, txn: TxnId, *, commit: bool) -> PendingCommit:
        """A transaction is committed or aborted."""
        return PendingCommit(self._recorder, self.process, "end_txn", {"txn": txn, "commit": commit})

    # -- what the client does by itself -------------------------------------------------------------------------

    def assign(self, positions: Mapping[str, Position]) -> None:
        """These partitions and no others, from these positions."""
        self._single("assign", positions=dict(positions))

    def seek(self, positions: Mapping[str, Position]) -> None:
        """Reading goes on elsewhere."""
        self._single("seek", positions=dict(positions))

    def subscribe(
        self,
        group: str,
        topics: Iterable[str],
        *,
        auto_offset_reset: Literal["earliest", "latest"],
        enable_auto_commit: bool = False,
    ) -> None:
        """The consumer becomes a member of a group."""
        fields = {"auto_offset_reset": auto_offset_reset, "enable_auto_commit": enable_auto_commit}
        self._single("subscribe", group=group, topics=list(topics), **fields)

    def rebalance(self, *, assigned: Iterable[str] = (), revoked: Iterable[str] = ()) -> None:
        """Partitions were given or taken (or lost)."""
        self._single("rebalance", assigned=list(assigned), revoked=list(revoked))

    def start(self) -> None:
        """The client began a new life."""
        self._single("start")

    def crash(self) -> None:
        """The client ended, however."""
        self._single("crash")

    def _single(self, f: str, **fields: Any) -> None:
        self._recorder.record({"process": self.process, "type": "ok", "f": f, **fields})


def _in_txn(fields: dict[str, Any], txn: TxnId | None) -> dict[str, Any]:
    return fields if txn is None else {**fields, "txn": txn}

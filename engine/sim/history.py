"""What clients did to a cluster and were told, in order: the input of :mod:`engine.sim.history_checker`.

A history is a sequence of events, in a file one JSON object a line. Histories of simulated clients and of real
processes (librdkafka, Java) have the same form. The order of the lines is the order of the events, and so of their
``time_ns``, read from a clock that never goes back; files of several processes of one machine are put together with
:func:`merge`.

Every event has

``process``    name of a client: one thread of calls to one producer, one consumer or one of each
``time_ns``    nanoseconds from any origin
``type``       ``invoke``; then ``ok``, ``fail`` (it surely had no effect and never will) or ``info`` (nobody knows).
               An operation that never completes is ``info``.
``f``          what is done
``id``         an integer that joins a completion to its invocation, unique in the process: sends may be pipelined

A partition is written as Kafka names its directory: ``orders-0``. Operations, with the fields of their events:

``send``       a record. invoke: ``partition``, ``value`` (string or integer, sent once only to a partition), ``acks``
               (``"all"``, 1, 0), ``idempotent`` (default false), ``txn``. ok: ``offset`` (null: not told, as after
               acks=0 or DUPLICATE_SEQUENCE_NUMBER), ``attempts`` (if the client knows how many copies it sent).
               ``fail`` only if every attempt was refused before it was appended: a timeout, a lost connection or
               NOT_ENOUGH_REPLICAS_AFTER_APPEND is ``info``.
``poll``       invoke: ``isolation`` (``read_uncommitted``, the default, or ``read_committed``), ``txn``. ok:
               ``records``, a list of [partition, offset, value] in the order received, and for a final read
               ``reached_end``: {partition: end}. It says that faults were healed, that the log end offset (not the last
               stable offset) was listed after the invocation, and that the consumer's position has reached it.
``commit``     of offsets. invoke: ``group``, ``offsets`` {partition: offset}, ``txn`` (sendOffsetsToTransaction). All
               have one outcome: where partitions differ, record an operation for each. Offset -1: it was deleted.
``committed``  OffsetFetch. invoke: ``group``, ``partitions``, ``require_stable`` (default false). ok: ``offsets``,
               null or -1 where nothing is committed.
``end_txn``    invoke: ``txn``, ``commit`` (true, or false to abort). ok: done. A commit's ``fail``: surely aborted. A
               transaction whose commit was never invoked is aborted.

Single events, of type ``ok`` and without an id, for what a client does by itself:

``assign``     ``positions`` {partition: position}: replaces what was assigned. A position is an offset, ``"beginning"``
               (offset 0), ``"end"`` or null (where the committed offset or auto.offset.reset leads)
``seek``       ``positions`` {partition: position}
``subscribe``  ``group``, ``topics``, ``auto_offset_reset`` (``earliest`` or, the default, ``latest``),
               ``enable_auto_commit`` (default false; true: the group's commits are not all in the history)
``rebalance``  ``assigned`` and ``revoked`` (lost ones too): lists of the partitions that changed hands. Of a subscribed
               consumer every rebalance has to be recorded.
``start``      of a client: its producer is a new session, its consumer has no position
``crash``      however it ended

``txn`` is any string or integer that names a transaction within its process. Its sends, polls and commits carry it.
"""

from __future__ import annotations

import heapq
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

Event = dict[str, Any]
Value = str | int
TxnId = str | int
Outcome = Literal["ok", "fail", "info"]
Acks = Literal["all", 1, 0]
Isolation = Literal["read_uncommitted", "read_committed"]
Record = tuple[str, int, Value]
"""Partition, offset, value."""

NEVER = sys.maxsize
"""Place and time of a completion that is not in the history."""

NOTHING_COMMITTED = -1

# Of an event that is wrong: a poll may have thousands of records.
_SHOWN_CHARACTERS = 300


class HistoryError(ValueError):
    """The events are no history: the text says which and why."""


@dataclass(slots=True, eq=False)
class Operation:
    """Something a client did. Places number the events of the history."""

    process: str
    place: int
    invoked_ns: int
    outcome: Outcome = field(default="info", kw_only=True)
    completed_place: int = field(default=NEVER, kw_only=True)
    completed_ns: int = field(default=NEVER, kw_only=True)
    error: str = field(default="", kw_only=True)


def precedes(earlier: Operation, later: Operation) -> bool:
    """Whether ``earlier`` had completed before ``later`` began; else they may have overlapped."""
    return earlier.completed_place < later.place


@dataclass(slots=True, eq=False)
class Txn:
    """A transaction: what it sent and read, and how it ended."""

    process: str
    txn: TxnId
    sends: list[Send] = field(default_factory=list)
    polls: list[Poll] = field(default_factory=list)
    end: EndTxn | None = None

    @property
    def is_aborted(self) -> bool:
        """Whether nothing of it may ever be seen."""
        return self.end is None or not self.end.commit or self.end.outcome == "fail"

    @property
    def is_committed(self) -> bool:
        """Whether its commit was acknowledged. Neither this nor aborted: nobody knows."""
        return self.end is not None and self.end.commit and self.end.outcome == "ok"


@dataclass(slots=True, eq=False)
class Send(Operation):
    """A record for a partition; ``session`` counts the lives of its producer."""

    partition: str
    value: Value
    acks: Acks
    idempotent: bool
    session: int
    txn: Txn | None
    offset: int | None = None
    attempts: int | None = None


@dataclass(slots=True, eq=False)
class Poll(Operation):
    """Records in the order received; where the consumer came to the end of the log."""

    is_committed_only: bool
    txn: Txn | None
    records: list[Record] = field(default_factory=list)
    reached_end: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Commit(Operation):
    """Offsets that are to be committed."""

    group: str
    offsets: Mapping[str, int]
    txn: Txn | None


@dataclass(slots=True, eq=False)
class Committed(Operation):
    """Offsets that were fetched; :data:`NOTHING_COMMITTED` where there is none."""

    group: str
    partitions: tuple[str, ...]
    require_stable: bool
    offsets: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class EndTxn(Operation):
    """The end of a transaction."""

    txn: Txn
    commit: bool


@dataclass(slots=True, eq=False)
class Assign(Operation):
    """What is assigned from now on, and where reading begins; None: the client finds out."""

    positions: Mapping[str, int | None]


@dataclass(slots=True, eq=False)
class Seek(Operation):
    """Where reading goes on; None: the client finds out."""

    positions: Mapping[str, int | None]


@dataclass(slots=True, eq=False)
class Subscribe(Operation):
    """What a member of a group wants to read."""

    group: str
    topics: tuple[str, ...]
    resets_to_earliest: bool
    enable_auto_commit: bool


@dataclass(slots=True, eq=False)
class Rebalance(Operation):
    """What a member of a group was given, and what was taken from it."""

    assigned: tuple[str, ...]
    revoked: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Restart(Operation):
    """A client started or ended."""

    is_start: bool


class History:
    """Operations made from events, added one by one in their order."""

    def __init__(self) -> None:
        self.events = 0
        self.operations: list[Operation] = []
        """By their beginning."""
        self.completed: list[Operation] = []
        """By their end; without those that have none."""
        self.writers: dict[str, dict[Value, Send]] = {}
        """Partition -> value -> who sent it, by the beginning of the sends."""
        self.txns: dict[tuple[str, TxnId], Txn] = {}
        self.auto_committing_groups: set[str] = set()
        self._open: dict[tuple[str, int], tuple[str, Operation]] = {}
        self._sessions: dict[str, int] = {}
        self._now_ns: int | None = None
        # One object for each name of a partition: a million records share it.
        self._names: dict[str, str] = {}
        self._invoke: dict[str, Callable[[Event, int], Operation]] = {
            "send": self._send,
            "poll": self._poll,
            "commit": self._commit,
            "committed": self._committed,
            "end_txn": self._end_txn,
        }

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """The history of these events; HistoryError."""
        history = cls()
        for event in events:
            history.add(event)
        return history

    def add(self, event: Event) -> None:
        """Take the next event; HistoryError."""
        place = self.events
        self.events += 1
        try:
            self._take(event, place)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{error} is missing or unknown" if isinstance(error, KeyError) else str(error)
            raise HistoryError(f"event {place}: {why}: {str(event)[:_SHOWN_CHARACTERS]}") from None

    def _take(self, event: Event, place: int) -> None:
        kind, f, process, time_ns = event["type"], event["f"], event["process"], event["time_ns"]
        if self._now_ns is not None and time_ns < self._now_ns:
            raise HistoryError("time goes back: files of several recorders have to be merged by their time")
        self._now_ns = time_ns
        if f in _SINGLE:
            if kind != "ok":
                raise HistoryError(f"{f} is recorded when it is done, with type ok")
            self._take_single(_SINGLE[f](event, place), time_ns)
            return
        if kind == "invoke":
            key = (process, event["id"])
            if key in self._open:
                raise HistoryError(f"operation {event['id']} of process {process} was invoked twice")
            operation = self._invoke[f](event, place)
            self._open[key] = f, operation
            self.operations.append(operation)
            return
        if kind not in ("ok", "fail", "info"):
            raise HistoryError(f"type {kind} is unknown")
        began_as, operation = self._open.pop((process, event["id"]))
        if began_as != f:
            raise HistoryError(f"operation {event['id']} of process {process} began as {began_as}")
        operation.outcome = kind
        operation.completed_place, operation.completed_ns = place, time_ns
        operation.error = str(event.get("error", ""))
        if kind == "ok":
            self._complete(operation, event)
        self.completed.append(operation)

    def _take_single(self, operation: Operation, time_ns: int) -> None:
        operation.outcome = "ok"
        operation.completed_place, operation.completed_ns = operation.place, time_ns
        if isinstance(operation, Restart):
            self._sessions[operation.process] = self._sessions.get(operation.process, 0) + 1
        elif isinstance(operation, Subscribe) and operation.enable_auto_commit:
            self.auto_committing_groups.add(operation.group)
        self.operations.append(operation)
        self.completed.append(operation)

    # -- invocations --------------------------------------------------------------------------------------------

    def _send(self, event: Event, place: int) -> Send:
        acks, value, process, txn = event["acks"], event["value"], event["process"], self._txn(event)
        if acks not in ("all", 1, 0):
            raise HistoryError(f"acks {acks!r} is none of 'all', 1, 0")
        if not isinstance(value, str | int):
            raise HistoryError(f"value {value!r} is neither a string nor an integer")
        partition = self._name(event["partition"])
        idempotent = txn is not None or bool(event.get("idempotent", False))
        session = self._sessions.get(process, 0)
        send = Send(process, place, event["time_ns"], partition, value, acks, idempotent, session, txn)
        writers = self.writers.get(partition)
        if writers is None:
            writers = self.writers[partition] = {}
        if writers.setdefault(value, send) is not send:
            raise HistoryError(f"value {value!r} was sent to {partition} twice: nobody could tell one from the other")
        if txn is not None:
            txn.sends.append(send)
        return send

    def _poll(self, event: Event, place: int) -> Poll:
        isolation, txn = event.get("isolation", "read_uncommitted"), self._txn(event)
        if isolation not in ("read_uncommitted", "read_committed"):
            raise HistoryError(f"isolation {isolation!r} is unknown")
        poll = Poll(event["process"], place, event["time_ns"], isolation == "read_committed", txn)
        if txn is not None:
            txn.polls.append(poll)
        return poll

    def _commit(self, event: Event, place: int) -> Commit:
        offsets = self._offsets(event["offsets"])
        return Commit(event["process"], place, event["time_ns"], event["group"], offsets, self._txn(event))

    def _committed(self, event: Event, place: int) -> Committed:
        partitions = tuple(map(self._name, event["partitions"]))
        stable = bool(event.get("require_stable", False))
        return Committed(event["process"], place, event["time_ns"], event["group"], partitions, stable)

    def _end_txn(self, event: Event, place: int) -> EndTxn:
        txn = self._txn(event)
        if txn is None:
            raise HistoryError("end_txn of no transaction")
        txn.end = EndTxn(event["process"], place, event["time_ns"], txn, bool(event["commit"]))
        return txn.end

    def _txn(self, event: Event) -> Txn | None:
        name = event.get("txn")
        if name is None:
            return None
        key = event["process"], name
        txn = self.txns.get(key)
        if txn is None:
            txn = self.txns[key] = Txn(*key)
        elif txn.end is not None:
            raise HistoryError(f"transaction {name} of process {key[0]} has ended")
        return txn

    # -- completions --------------------------------------------------------------------------------------------

    def _complete(self, operation: Operation, event: Event) -> None:
        if isinstance(operation, Send):
            offset = event.get("offset")
            operation.offset = None if offset is None or _offset(offset) < 0 else offset
            operation.attempts = event.get("attempts")
        elif isinstance(operation, Poll):
            name = self._name
            operation.records = [
                (name(partition), offset if type(offset) is int else _offset(offset), value)
                for partition, offset, value in event["records"]
            ]
            reached_end = event.get("reached_end")
            if reached_end:
                operation.reached_end = self._offsets(reached_end)
        elif isinstance(operation, Committed):
            operation.offsets = self._offsets(event["offsets"])

    def _name(self, partition: str) -> str:
        name = self._names.get(partition)
        if name is None:
            name = self._names[partition] = _partition(partition)
        return name

    def _offsets(self, offsets: Mapping[str, int | None]) -> dict[str, int]:
        return {
            self._name(partition): NOTHING_COMMITTED if offset is None else _offset(offset)
            for partition, offset in offsets.items()
        }


def topic_of(partition: str) -> str:
    """``orders`` of ``orders-0``."""
    return partition.rpartition("-")[0]


def _partition(name: str) -> str:
    topic, _, number = name.rpartition("-")
    if not topic or not number.isdecimal():
        raise HistoryError(f"{name!r} is no partition: topic-0 is one")
    return name


def _offset(offset: Any) -> int:
    if not isinstance(offset, int):
        raise HistoryError(f"offset {offset!r} is no integer")
    return offset


# -- what a client does by itself ---------------------------------------------------------------------------------


def _positions(event: Event) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for name, position in event["positions"].items():
        partition = _partition(name)
        if position == "beginning":
            found[partition] = 0
        elif position is None or position == "end":
            found[partition] = None
        elif isinstance(position, int) and position >= 0:
            found[partition] = position
        else:
            raise HistoryError(f"position {position!r} is none")
    return found


def _subscribe(event: Event, place: int) -> Subscribe:
    return Subscribe(
        event["process"],
        place,
        event["time_ns"],
        event["group"],
        tuple(event["topics"]),
        event.get("auto_offset_reset", "latest") == "earliest",
        bool(event.get("enable_auto_commit", False)),
    )


def _rebalance(event: Event, place: int) -> Rebalance:
    changes = (tuple(map(_partition, event.get(change, ()))) for change in ("assigned", "revoked"))
    return Rebalance(event["process"], place, event["time_ns"], *changes)


_SINGLE: dict[str, Callable[[Event, int], Operation]] = {
    "assign": lambda event, place: Assign(event["process"], place, event["time_ns"], _positions(event)),
    "seek": lambda event, place: Seek(event["process"], place, event["time_ns"], _positions(event)),
    "subscribe": _subscribe,
    "rebalance": _rebalance,
    "start": lambda event, place: Restart(event["process"], place, event["time_ns"], True),
    "crash": lambda event, place: Restart(event["process"], place, event["time_ns"], False),
}


# -- lines --------------------------------------------------------------------------------------------------------


def to_line(event: Event) -> str:
    """The event as a line, with its end."""
    return json.dumps(event, separators=(",", ":")) + "\n"


def from_lines(lines: Iterable[str]) -> Iterator[Event]:
    """The events; HistoryError. The rest of a line whose writer was killed is left out: it has no end."""
    decode, rest = json.loads, iter(lines)
    for number, line in enumerate(rest, 1):
        if not line or line.isspace():
            continue
        try:
            event = decode(line)
        except ValueError as error:
            if not line.endswith("\n") and next(rest, None) is None:
                return
            raise HistoryError(f"line {number} is no JSON: {error}") from None
        if not isinstance(event, dict):
            raise HistoryError(f"line {number} is no object")
        yield cast(Event, event)


def merge(histories: Iterable[Iterable[Event]]) -> Iterator[Event]:
    """The events of several recorders whose clock is the same, by their time; HistoryError."""
    return heapq.merge(*histories, key=_time_ns)


def _time_ns(event: Event) -> int:
    time_ns = event.get("time_ns")
    if not isinstance(time_ns, int):
        raise HistoryError(f"time_ns is missing: {event}")
    return time_ns

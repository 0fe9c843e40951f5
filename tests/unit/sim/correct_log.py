"""Clients of a log in memory that keeps every promise, recorded: histories without anomalies, in all their variety.

Producers of all kinds send in pipelines, time out, are refused, crash; transactions commit, abort and hang; consumers
read by assignment and as members of a group, with either isolation, seek, restart and lose polls. What is allowed
happens too: records with acks=1 are lost, those without idempotence are doubled and come late.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.sim.history import Acks, Event, Isolation, Record
from engine.sim.history_recorder import ClientRecorder, HistoryRecorder, PendingSend

PARTITIONS = ("orders-0", "orders-1")
GROUP = "g"


@dataclass(eq=False)
class Transaction:
    """``None``: open."""

    is_committed: bool | None = None


class Entry(NamedTuple):
    """A record, or a marker, which has no value."""

    value: str | None
    txn: Transaction | None


@dataclass(eq=False)
class Flight:
    """A record on its way."""

    pending: PendingSend
    partition: str
    value: str
    offset: int | None = None


@dataclass(eq=False)
class Producer:
    client: ClientRecorder
    acks: Acks
    idempotent: bool
    flights: list[Flight] = field(default_factory=list)


@dataclass(eq=False)
class Transactional:
    client: ClientRecorder
    number: int = 0
    txn: Transaction | None = None
    written: list[str] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class Consumer:
    client: ClientRecorder
    isolation: Isolation
    positions: dict[str, int] = field(default_factory=dict)
    subscribed: bool = False


class CorrectLog:
    """One run. After :meth:`finish` all :attr:`events` are there."""

    def __init__(self, seed: int, steps: int) -> None:
        self.rng = random.Random(seed)
        self._now_ns = 0
        self.recorder = HistoryRecorder(self._tick)
        self.logs: dict[str, list[Entry]] = {partition: [] for partition in PARTITIONS}
        self._values = 0
        client = self.recorder.client
        kinds: tuple[tuple[Acks, bool], ...] = (("all", True), ("all", False), (1, True), (0, False))
        self._producers = [Producer(client(f"p{n}"), *kind) for n, kind in enumerate(kinds)]
        self._transactional = [Transactional(client(f"t{n}")) for n in range(2)]
        self._consumers = [
            Consumer(client("c0"), "read_uncommitted"),
            Consumer(client("c1"), "read_committed"),
        ]
        self._members = [
            Consumer(client("m0"), "read_committed"),
            Consumer(client("m1"), "read_committed"),
        ]
        # Of the group: what is committed, who owns what.
        self._committed: dict[str, int] = {}
        # Sends that were given up, and are still on their way.
        self._late: list[Flight] = []
        for consumer in self._consumers:
            self._assign(consumer)
        for _ in range(steps):
            self._step()
        self._finish()

    @property
    def events(self) -> list[Event]:
        """What was recorded."""
        return self.recorder.events

    def _tick(self) -> int:
        self._now_ns += self.rng.randint(0, 2_000_000)
        return self._now_ns

    def _step(self) -> None:
        rng = self.rng
        acts = (self._produce, self._transact, self._consume, self._take_part, self._fetch_offsets)
        rng.choices(acts, weights=(8, 4, 5, 4, 1))[0]()

    def _value(self) -> str:
        self._values += 1
        return f"v{self._values}"

    def _append(self, partition: str, value: str | None, txn: Transaction | None = None) -> int:
        self.logs[partition].append(Entry(value, txn))
        return len(self.logs[partition]) - 1

    # -- producers ----------------------------------------------------------------------------------------------

    def _produce(self) -> None:
        rng = self.rng
        producer = rng.choice(self._producers)
        act = rng.random()
        if act < 0.45:
            partition, value = rng.choice(PARTITIONS), self._value()
            pending = producer.client.send(partition, value, acks=producer.acks, idempotent=producer.idempotent)
            producer.flights.append(Flight(pending, partition, value))
        elif act < 0.95:
            if producer.flights:
                self._advance(producer)
        else:
            for flight in producer.flights:
                self._give_up(producer, flight, told=rng.random() < 0.5)
            producer.flights.clear()
            producer.client.crash()
            if rng.random() < 0.7:
                producer.client.start()
        if self._late and rng.random() < 0.2:
            flight = self._late.pop(rng.randrange(len(self._late)))
            self._append(flight.partition, flight.value)

    def _advance(self, producer: Producer) -> None:
        """Something happens to a record: an idempotent producer's come in their order."""
        rng = self.rng
        number = 0 if producer.idempotent else rng.randrange(len(producer.flights))
        flight = producer.flights[number]
        if flight.offset is None:
            act = rng.random()
            if act < 0.1:
                producer.flights.pop(number)
                if act < 0.05:
                    flight.pending.fail("refused")
                else:
                    self._give_up(producer, flight, told=True)
                return
            if producer.acks != "all" and act < 0.2:
                # The leader acknowledges it and is gone, with others that came before.
                producer.flights.pop(number)
                end = len(self.logs[flight.partition]) + rng.randint(0, 3)
                flight.pending.ok(end if producer.acks == 1 else None)
                return
            flight.offset = self._append(flight.partition, flight.value)
            if not producer.idempotent and rng.random() < 0.1:
                # The answer was lost, so it is sent again.
                flight.offset = self._append(flight.partition, flight.value)
            return
        producer.flights.pop(number)
        if rng.random() < 0.1:
            flight.pending.info("timed out")
        else:
            flight.pending.ok(flight.offset if producer.acks != 0 else None)

    def _give_up(self, producer: Producer, flight: Flight, *, told: bool) -> None:
        if told:
            flight.pending.info("timed out")
        if flight.offset is None and not producer.idempotent:
            self._late.append(flight)

    # -- transactions -------------------------------------------------------------------------------------------

    def _transact(self) -> None:
        rng = self.rng
        producer = rng.choice(self._transactional)
        client = producer.client
        if producer.txn is None:
            producer.txn = Transaction()
            producer.number += 1
            producer.written.clear()
            producer.offsets.clear()
        act = rng.random()
        if act < 0.6:
            partition, value = rng.choice(PARTITIONS), self._value()
            sending = client.send(partition, value, acks="all", txn=producer.number)
            offset = self._append(partition, value, producer.txn)
            sending.ok(offset)
            producer.written.append(partition)
        elif act < 0.65:
            client.send(rng.choice(PARTITIONS), self._value(), acks="all", txn=producer.number).fail("refused")
        elif act < 0.9:
            self._end(producer, commit=rng.random() < 0.6)
        else:
            # The coordinator aborts what it left open.
            self._complete(producer, is_committed=False)
            client.crash()

    def _end(self, producer: Transactional, *, commit: bool) -> None:
        rng = self.rng
        ending = producer.client.end_txn(producer.number, commit=commit)
        outcome = rng.random()
        if commit and outcome < 0.1:
            self._complete(producer, is_committed=False)
            ending.fail("fenced")
        elif outcome < 0.25:
            self._complete(producer, is_committed=commit and rng.random() < 0.5)
            ending.info("timed out")
        else:
            self._complete(producer, is_committed=commit)
            ending.ok()

    def _complete(self, producer: Transactional, *, is_committed: bool) -> None:
        if producer.txn is not None:
            producer.txn.is_committed = is_committed
            for partition in sorted(set(producer.written)):
                self._append(partition, None)
            producer.txn = None

    # -- consumers ----------------------------------------------------------------------------------------------

    def visible(self, partition: str, position: int, isolation: Isolation) -> Iterator[tuple[int, str]]:
        """What a consumer may receive from its position on."""
        for offset, entry in enumerate(self.logs[partition][position:], position):
            if isolation == "read_committed" and entry.txn is not None:
                if entry.txn.is_committed is None:
                    return
                if not entry.txn.is_committed:
                    continue
            if entry.value is not None:
                yield offset, entry.value

    def take(self, consumer: Consumer, most: int) -> list[Record]:
        """Receive up to so many records of each partition."""
        found: list[Record] = []
        for partition in sorted(consumer.positions, key=lambda _: self.rng.random()):
            position = consumer.positions[partition]
            for offset, value in self.visible(partition, position, consumer.isolation):
                if most <= len([None for each in found if each[0] == partition]):
                    break
                found.append((partition, offset, value))
                position = offset + 1
            consumer.positions[partition] = position
        return found

    def _assign(self, consumer: Consumer) -> None:
        consumer.client.assign(dict.fromkeys(PARTITIONS, "beginning"))
        consumer.positions = dict.fromkeys(PARTITIONS, 0)

    def _consume(self) -> None:
        rng = self.rng
        consumer = rng.choice(self._consumers)
        act = rng.random()
        if act < 0.8:
            self._poll(consumer)
        elif act < 0.9:
            partition = rng.choice(PARTITIONS)
            position = rng.randint(0, len(self.logs[partition]))
            consumer.client.seek({partition: position})
            consumer.positions[partition] = position
        else:
            consumer.client.crash()
            consumer.client.start()
            self._assign(consumer)

    def _poll(self, consumer: Consumer) -> None:
        polling = consumer.client.poll(isolation=consumer.isolation)
        outcome = self.rng.random()
        if outcome < 0.05:
            polling.fail("interrupted")
            return
        records = self.take(consumer, self.rng.randint(0, 4))
        if outcome < 0.1:
            polling.info("interrupted")
        else:
            polling.ok(records)

    # -- the group ----------------------------------------------------------------------------------------------

    def _take_part(self) -> None:
        rng = self.rng
        act = rng.random()
        if act < 0.15:
            self._rebalance()
            return
        member = rng.choice(self._members)
        if not member.subscribed:
            member.client.subscribe(GROUP, ["orders"], auto_offset_reset="earliest")
            member.subscribed = True
            self._rebalance()
        elif act < 0.6:
            self._poll(member)
        elif act < 0.9 and member.positions:
            partition = rng.choice(sorted(member.positions))
            position = member.positions[partition]
            committing = member.client.commit(GROUP, {partition: position})
            outcome = rng.random()
            if outcome < 0.1:
                committing.fail("REBALANCE_IN_PROGRESS")
            else:
                self._committed[partition] = position
                if outcome < 0.2:
                    committing.info("timed out")
                else:
                    committing.ok()
        elif act > 0.95:
            member.client.crash()
            member.subscribed = False
            member.positions = {}
            self._rebalance()

    def _rebalance(self) -> None:
        """Every partition gets another owner, or the same once more."""
        members = [member for member in self._members if member.subscribed]
        for member in members:
            if member.positions:
                member.client.rebalance(revoked=sorted(member.positions))
                member.positions = {}
        for partition in PARTITIONS:
            if members:
                member = self.rng.choice(members)
                member.client.rebalance(assigned=[partition])
                member.positions[partition] = self._committed.get(partition, 0)

    def _fetch_offsets(self) -> None:
        fetching = self.recorder.client("admin").committed(GROUP, PARTITIONS, require_stable=self.rng.random() < 0.5)
        fetching.ok({partition: self._committed.get(partition) for partition in PARTITIONS})

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Everything is healed; one consumer of each isolation reads all there is, in several polls."""
        for producer in self._producers:
            while producer.flights:
                self._advance(producer)
        for transactional in self._transactional:
            if transactional.txn is not None:
                self._end(transactional, commit=False)
        self._late.clear()
        self._fetch_offsets()
        self.finals = len(self.events)
        isolations: tuple[Isolation, Isolation] = "read_uncommitted", "read_committed"
        for isolation in isolations:
            consumer = Consumer(self.recorder.client(f"final-{isolation}"), isolation)
            self._assign(consumer)
            most = self.rng.randint(1, 20)
            while True:
                polling = consumer.client.poll(isolation=isolation)
                records = self.take(consumer, most)
                if not records:
                    polling.ok([], reached_end={partition: len(log) for partition, log in self.logs.items()})
                    break
                polling.ok(records)

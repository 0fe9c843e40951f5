"""Producers (librdkafka) that number their records, and die and come back now and then."""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from engine.chaos.clients import ClientThread, Shared
from engine.sim.history import Acks
from engine.sim.history_recorder import PendingSend

# More are not sent while that many wait: a cluster that is down must not be remembered as a flood afterwards.
_MAX_OPEN = 500
_FLUSH_S = 60.0
# How often a client dies: once in so many records.
_DEATHS = 4000
_BURSTS = (1, 1, 1, 1, 5, 20)
_PADDING = (0, 0, 0, 50, 400)


@dataclass(frozen=True, slots=True)
class ProducerPlan:
    """What a producer is like. ``settings`` are librdkafka's, with underscores for dots."""

    name: str
    topic: str
    partitions: int
    acks: Acks
    idempotent: bool = False
    records_per_s: float = 60.0
    settings: dict[str, Any] = field(default_factory=dict)


class ProducerClient(ClientThread):
    """One producer."""

    def __init__(self, shared: Shared, plan: ProducerPlan, seed: int) -> None:
        super().__init__(shared, plan.name, seed)
        self._plan = plan
        self._number = 0
        self._open = 0
        self.acks: dict[str, list[tuple[int, int]]] = {}
        """Partition -> when sends that were acknowledged began and ended, in nanoseconds."""

    def _producer(self) -> Producer:
        plan = self._plan
        settings = self.shared.settings(
            plan.name,
            acks=str(plan.acks),
            enable_idempotence=plan.idempotent,
            linger_ms=self.rng.choice((0, 2, 10)),
            # A producer that gives a batch up begins with another id, and Kafka promises no order between the two.
            message_timeout_ms=0 if plan.idempotent else 10_000,
            request_timeout_ms=self.rng.choice((2000, 5000)),
            **plan.settings,
        )
        return Producer(settings)

    def work(self) -> None:
        self.record.start()
        producer = self._producer()
        next_at = time.monotonic()
        while not self.is_stopping:
            burst = self.rng.choice(_BURSTS)
            if self._open < _MAX_OPEN:
                partition = self.rng.randrange(self._plan.partitions)
                for _ in range(burst):
                    self._send(producer, partition)
            next_at = max(next_at + burst / self._plan.records_per_s, time.monotonic() - 0.1)
            while (wait_s := next_at - time.monotonic()) > 0:
                producer.poll(wait_s)
            if self.rng.randrange(_DEATHS) < burst:
                producer = self._die(producer)
        if producer.flush(_FLUSH_S) and self._plan.idempotent:
            self.shared.suspicious.append(
                f"{self.name}: {self._open} records were not acknowledged within {_FLUSH_S:.0f} s though all is well"
            )

    def _send(self, producer: Producer, partition: int) -> None:
        plan = self._plan
        self._number += 1
        value = f"{self.name}.{self._number}"
        name = f"{plan.topic}-{partition}"
        began_ns = time.monotonic_ns()
        pending = self.record.send(name, value, acks=plan.acks, idempotent=plan.idempotent)
        self._open += 1

        def delivered(error: KafkaError | None, message: Message) -> None:
            self._delivered(pending, name, value, began_ns, error, message)

        padding = " " * self.rng.choice(_PADDING)
        try:
            producer.produce(plan.topic, (value + padding).encode(), partition=partition, on_delivery=delivered)
        except BufferError:
            self._open -= 1
            pending.fail("the producer's queue is full")
            self.count("send fail")
        except KafkaException as error:
            # Only a fatal error of an idempotent producer comes from here: the cluster broke its sequences.
            self._open -= 1
            pending.info(str(error))
            self.shared.suspicious.append(f"{self.name} cannot go on: {error}")
            self.pause(1)

    def _delivered(
        self,
        pending: PendingSend,
        partition: str,
        value: str,
        began_ns: int,
        error: KafkaError | None,
        message: Message,
    ) -> None:
        self._open -= 1
        if error is None:
            offset = message.offset()
            pending.ok(offset)
            self.count("send ok")
            if self._plan.acks == "all":
                self.shared.ledger.acknowledged(partition, value, -1 if offset is None else offset)
                self.acks.setdefault(partition, []).append((began_ns, time.monotonic_ns()))
        else:
            # A record that was not acknowledged may be there: librdkafka does not tell an attempt from another.
            pending.info(error.name())
            self.count("send info")
            self.count(f"send info: {error.name()}")
            if error.fatal():
                self.shared.suspicious.append(f"{self.name} cannot go on: {error}")

    def _die(self, producer: Producer) -> Producer:
        """Give up all that is under way, and begin anew."""
        producer.purge()
        producer.flush(5)
        self._open = 0
        self.record.crash()
        self.count("producer deaths")
        self.pause(self.rng.uniform(0, 1))
        self.record.start()
        return self._producer()


class FirstAcks:
    """When the first record of each partition that was sent after some moment was acknowledged."""

    def __init__(self, producers: list[ProducerClient]) -> None:
        self._began: dict[str, list[int]] = {}
        self._first_end: dict[str, list[int]] = {}
        merged: dict[str, list[tuple[int, int]]] = {}
        for producer in producers:
            for partition, acks in producer.acks.items():
                merged.setdefault(partition, []).extend(acks)
        for partition, acks in merged.items():
            acks.sort()
            ends, least = [0] * len(acks), 1 << 63
            for index in range(len(acks) - 1, -1, -1):
                least = min(least, acks[index][1])
                ends[index] = least
            self._began[partition] = [began for began, _ in acks]
            self._first_end[partition] = ends

    def after(self, at_ns: int) -> int | None:
        """Nanoseconds from the moment until every partition has acknowledged one; None: one never did."""
        if not self._began:
            return None
        longest = 0
        for partition, began in self._began.items():
            index = bisect_left(began, at_ns)
            if index == len(began):
                return None
            longest = max(longest, self._first_end[partition][index] - at_ns)
        return longest


__all__ = ["FirstAcks", "ProducerClient", "ProducerPlan"]

"""The load of a drill: producers (librdkafka) that number their records, and the reading back of all of them."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from engine.drills.drill import Load
from engine.drills.losses import Loss
from engine.drills.measurements import Sent, together
from engine.supervisor.ledger import Account, Reading, settle
from engine.world import Clock

# A paused broker answers nothing: by itself librdkafka waits a minute before it looks elsewhere.
_ANSWER_MS = 3_000
_GIVE_UP_MS = 60_000
_READ_BACK_S = 60.0
# After a stall of this machine the backlog is not sent in a burst.
_MOST_BEHIND_NS = 50_000_000


def producer_settings(bootstrap: str, load: Load, number: int) -> dict[str, str | int | bool]:
    """librdkafka's, of the client with that number."""
    return {
        "bootstrap.servers": bootstrap,
        "client.id": f"kconsole-drill-{number}",
        "acks": load.acks,
        "enable.idempotence": load.acks == "all",
        "linger.ms": 0,
        "retry.backoff.ms": 20,
        "retry.backoff.max.ms": 50,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 100,
        "topic.metadata.refresh.fast.interval.ms": 20,
        "message.timeout.ms": _GIVE_UP_MS,
        "socket.timeout.ms": _ANSWER_MS,
        "socket.connection.setup.timeout.ms": 1_000,
        "queue.buffering.max.messages": 2_000_000,
        "log_level": 0,
    }


class LoadProducer:
    """One client, in a thread of its own; it writes to the partitions in turn."""

    def __init__(self, clock: Clock, bootstrap: str, load: Load, number: int) -> None:
        self._clock = clock
        self._load = load
        self.number = number
        self._stopping = threading.Event()
        self._producer = Producer(producer_settings(bootstrap, load, number))
        # By the number of the record; written by one thread each, and read by others when both are done.
        self.sent_ns: list[int] = []
        self.resolved: dict[int, tuple[int, bool]] = {}
        self.acknowledged: dict[int, tuple[int, int]] = {}
        self.failed: Counter[str] = Counter()
        self.problem = ""
        self._thread = threading.Thread(target=self._run, name=f"drill-{number}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def partition_of(self, number: int) -> int:
        """Where the record goes."""
        return (number + self.number) % self._load.topic.partitions

    def _run(self) -> None:
        try:
            self._produce()
        except (KafkaException, BufferError) as error:
            self.problem = f"client {self.number} ended: {error}"

    def _produce(self) -> None:
        clock, topic = self._clock, self._load.topic.name
        interval_ns = int(1e9 * self._load.clients / self._load.rate_per_s)
        next_ns = clock.monotonic_ns()
        while not self._stopping.is_set():
            number = len(self.sent_ns)
            partition = self.partition_of(number)
            value = f"{self.number} {number} ".encode().ljust(self._load.size_bytes, b".")
            self.sent_ns.append(clock.monotonic_ns())
            self._producer.produce(topic, value, partition=partition, on_delivery=self._delivered(number, partition))
            next_ns = max(next_ns + interval_ns, clock.monotonic_ns() - _MOST_BEHIND_NS)
            # poll() returns at the first event: without the loop every acknowledgement would bring the next record.
            while (wait_s := (next_ns - clock.monotonic_ns()) / 1e9) > 0 and not self._stopping.is_set():
                self._producer.poll(min(wait_s, 0.1))
            self._producer.poll(0)

    def _delivered(self, number: int, partition: int) -> Any:
        def on_delivery(error: KafkaError | None, message: Message) -> None:
            self.resolved[number] = self._clock.monotonic_ns(), error is None
            if error is None:
                offset = message.offset()
                self.acknowledged[number] = partition, -1 if offset is None else offset
            else:
                self.failed[error.name()] += 1

        return on_delivery

    def stop(self) -> None:
        """Send no more; what is under way is not waited for."""
        self._stopping.set()

    def finish(self, *, is_hopeless: bool) -> None:
        """Wait until every record was acknowledged or given up, which is at once if that is hopeless."""
        self._thread.join()
        if is_hopeless:
            self._producer.purge()
        self._producer.flush(_GIVE_UP_MS / 1000 + 5)

    def records(self) -> list[Sent]:
        """All of them."""
        return [
            Sent(self.partition_of(number), sent_ns, *self.resolved.get(number, (0, False)))
            for number, sent_ns in enumerate(self.sent_ns)
        ]


class DrillLoad:
    """All clients of a drill."""

    def __init__(self, clock: Clock, bootstrap: str, load: Load) -> None:
        self._clock = clock
        self._bootstrap = bootstrap
        self._load = load
        self.producers = [LoadProducer(clock, bootstrap, load, number) for number in range(load.clients)]
        self.ended_ns = 0
        # Filled by reading back: what was acknowledged and is not there, and where each leader's epoch began.
        self.losses: list[Loss] = []
        self.epoch_starts: dict[tuple[int, int], int] = {}

    def start(self) -> None:
        """Begin to send."""
        for producer in self.producers:
            producer.start()

    def silent_since(self, at_ns: int) -> set[int]:
        """Partitions of which nothing was acknowledged since then."""
        heard: set[int] = set()
        for producer in self.producers:
            for number in reversed(list(producer.acknowledged)):
                if producer.resolved[number][0] < at_ns:
                    break
                heard.add(producer.partition_of(number))
        return set(range(self._load.topic.partitions)) - heard

    def finish(self, *, is_hopeless: bool = False) -> None:
        """Stop, and wait for what is under way, unless that is hopeless; blocks."""
        self.ended_ns = self._clock.monotonic_ns()
        for producer in self.producers:
            producer.stop()
        for producer in self.producers:
            producer.finish(is_hopeless=is_hopeless)
        # A record that was under way at the end may have kept a partition waiting longer.
        last = [at for producer in self.producers for at, _ in producer.resolved.values()]
        self.ended_ns = max([self.ended_ns, *last])

    def records(self) -> list[Sent]:
        """All of all clients."""
        return [record for producer in self.producers for record in producer.records()]

    def failed(self) -> dict[str, int]:
        """Records that were given up, by the reason that their producer was told."""
        return dict(sum((producer.failed for producer in self.producers), Counter()))

    def problems(self) -> str:
        """What ended a client before its time."""
        return "; ".join(producer.problem for producer in self.producers if producer.problem)

    def read_back(self, gap: str = "") -> tuple[Account, str]:
        """The account of all records, and why not all could be read (empty: all were); blocks.

        A ``gap`` that is known beforehand keeps it from being tried.
        """
        readings: list[list[Reading]] = [[] for _ in self.producers]
        deadline_ns = self._clock.monotonic_ns() + int(_READ_BACK_S * 1e9)
        for partition in range(self._load.topic.partitions):
            gap = gap or self._read(partition, readings, deadline_ns)
        accounts = [
            settle(range(len(producer.sent_ns)), producer.acknowledged, own)
            for producer, own in zip(self.producers, readings, strict=True)
        ]
        if not gap:
            self.losses = [
                Loss(*producer.acknowledged[number], producer.resolved[number][0])
                for producer, own in zip(self.producers, readings, strict=True)
                for number in producer.acknowledged.keys() - {each.number for each in own}
            ]
        return together(accounts), gap

    def _read(self, partition: int, readings: list[list[Reading]], deadline_ns: int) -> str:
        place = f"{self._load.topic.name}-{partition}"
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "client.id": "kconsole-drill-ledger",
                "group.id": "kconsole-drill",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "socket.timeout.ms": _ANSWER_MS,
                "log_level": 0,
            }
        )
        try:
            consumer.assign([TopicPartition(self._load.topic.name, partition, 0)])
            while self._clock.monotonic_ns() < deadline_ns:
                for message in consumer.consume(1000, 0.2):
                    error = message.error()
                    if error is None:
                        client, number, _ = (message.value() or b"").split(b" ", 2)
                        offset = message.offset() or 0
                        readings[int(client)].append(Reading(partition, offset, int(number)))
                        epoch = message.leader_epoch()
                        if epoch is not None:
                            self.epoch_starts.setdefault((partition, epoch), offset)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return ""
                    elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                        return f"{place} cannot be read from its beginning: {error.str()}"
            return f"{place} could not be read back within {_READ_BACK_S:g} s"
        finally:
            consumer.close()

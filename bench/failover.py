"""SIGKILL under an idempotent acks=all load: how long until the next acknowledged record, and what became of each.

The load numbers its records; the ledger is made by reading everything back: lost (acknowledged, not there), duplicated
(there twice), reordered (there after a later one of its partition).
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from typing import NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import ApacheKafkaCluster, KconsoleCluster, wait_for

RATE_PER_S = 500
PARTITIONS = 3


class Ack(NamedTuple):
    """One acknowledged record."""

    number: int
    partition: int
    at_ns: int


class Load:
    """A steady producer, round-robin over the partitions, in a thread of its own; idempotent with acks=all."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        partitions: int = PARTITIONS,
        rate_per_s: float = RATE_PER_S,
        acks: str = "all",
        padding: int = 0,
    ) -> None:
        """Each record's value is its number, blown up by ``padding`` spaces."""
        self._topic = topic
        self._partitions = partitions
        self._rate_per_s = rate_per_s
        self._padding = b" " * padding
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": acks == "all",
                "acks": acks,
                "linger.ms": 0,
                "retry.backoff.ms": 20,
                "retry.backoff.max.ms": 50,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "topic.metadata.refresh.fast.interval.ms": 20,
                "message.timeout.ms": 120_000,
                # A paused broker answers nothing; by itself librdkafka waits a minute for it.
                "socket.timeout.ms": 5000,
                "socket.connection.setup.timeout.ms": 1000,
                "log_level": 0,
            }
        )
        self.acks: list[Ack] = []
        self.failed: list[str] = []
        self.sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        next_at = time.monotonic()
        while not self._stop.is_set():
            number = self.sent
            self.sent += 1
            partition = number % self._partitions

            def delivered(error: object, _: object, number: int = number, partition: int = partition) -> None:
                if error is None:
                    self.acks.append(Ack(number, partition, time.monotonic_ns()))
                else:
                    self.failed.append(str(error))

            value = str(number).encode() + self._padding
            self._producer.produce(self._topic, value, partition=partition, on_delivery=delivered)
            next_at = max(next_at + 1 / self._rate_per_s, time.monotonic() - 0.05)
            # poll() returns at the first event: without the loop every acknowledgement would bring the next record.
            while (wait_s := next_at - time.monotonic()) > 0:
                self._producer.poll(wait_s)

    def stop(self) -> None:
        """End and wait for every acknowledgement."""
        self._stop.set()
        self._thread.join()
        self._producer.flush(120)

    def first_ack_after(self, at_ns: int, partition: int) -> int | None:
        """Nanoseconds from ``at_ns`` to the partition's first acknowledgement after the longest silence since then."""
        times = [ack.at_ns for ack in self.acks if ack.partition == partition and ack.at_ns >= at_ns - 1_000_000_000]
        gaps = [(later - earlier, later) for earlier, later in itertools.pairwise(times) if later > at_ns]
        return max(gaps)[1] - at_ns if gaps else None


class LedgerCounts(NamedTuple):
    """What reading everything back found."""

    acknowledged: int
    lost: int
    duplicated: int
    reordered: int


def read_back(bootstrap: str, topic: str, acks: list[Ack], partitions: int = PARTITIONS) -> LedgerCounts:
    """Compare every acknowledged record with what the cluster holds."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ledger", "enable.auto.commit": False})
    found: list[int] = []
    duplicated = reordered = 0
    for partition in range(partitions):
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), 30)
        consumer.assign([TopicPartition(topic, partition, 0)])
        position, highest = 0, -1
        seen: set[int] = set()
        while position < end:
            messages = consumer.consume(min(5000, end - position), 10)  # more it would wait for
            if not messages:
                raise SystemExit(f"silence while reading {topic}-{partition} back at {position} of {end}")
            for message in messages:
                if message.error():
                    continue
                number = int(message.value())
                duplicated += number in seen
                reordered += number not in seen and number < highest
                seen.add(number)
                highest = max(highest, number)
                position = message.offset() + 1
        found += seen
    consumer.close()
    there = set(found)
    return LedgerCounts(len(acks), sum(ack.number not in there for ack in acks), duplicated, reordered)


def leaders(admin: AdminClient, topic: str) -> dict[int, int]:
    """Partition to leader."""
    metadata = admin.list_topics(topic, timeout=10).topics[topic]
    return {number: partition.leader for number, partition in metadata.partitions.items()}


def isr_is_whole(admin: AdminClient, topic: str) -> bool:
    """Whether every replica of every partition is in sync and leads where it is preferred or anywhere."""
    metadata = admin.list_topics(topic, timeout=10).topics[topic]
    return all(len(partition.isrs) == 3 and partition.leader >= 0 for partition in metadata.partitions.values())


def controller_of(admin: AdminClient) -> int:
    """The active controller's id. Apache Kafka's brokers hide it; ours name it."""
    controller = admin.describe_cluster().result(10).controller
    return int(controller.id)


def kill_rounds(
    cluster: KconsoleCluster | ApacheKafkaCluster, rounds: int, victim: str
) -> tuple[list[float], LedgerCounts]:
    """``rounds`` kills of the leader of partition 0 (``victim="leader"``) or of the active controller.

    Returns, for each, the milliseconds from SIGKILL to the first acknowledged record on the slowest of the partitions
    that the victim led; and the ledger of the whole.
    """
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    topic = f"failover-{victim}-{time.time_ns()}"
    admin.create_topics([NewTopic(topic, PARTITIONS, 3)])[topic].result(30)
    wait_for("the ISR to be whole", lambda: isr_is_whole(admin, topic), 60)
    load = Load(cluster.bootstrap, topic)
    wait_for("the first acknowledgements", lambda: len(load.acks) > 100, 60)
    after_ms: list[float] = []
    for _ in range(rounds):
        led = leaders(admin, topic)
        broker_id = led[0] if victim == "leader" else controller_of(admin)
        partitions = [number for number, leader in led.items() if leader == broker_id] or [0]
        killed_ns = cluster.kill(broker_id)

        def resumed(killed_ns: int = killed_ns, partitions: list[int] = partitions) -> bool:
            # Acks already under way at the kill arrive within 20 ms; what comes later is the new leader's.
            late = {ack.partition for ack in load.acks[-3000:] if ack.at_ns > killed_ns + 20_000_000}
            return late.issuperset(partitions)

        wait_for("acknowledgements after the kill", resumed, 90)
        time.sleep(0.3)
        times = [load.first_ack_after(killed_ns, partition) for partition in partitions]
        after_ms.append(max(each for each in times if each is not None) / 1e6)
        cluster.start(broker_id)
        wait_for("the ISR to be whole again", lambda: isr_is_whole(admin, topic), 120)
    load.stop()
    if load.failed:
        raise SystemExit(f"the load saw {len(load.failed)} failures, the first: {load.failed[0]}")
    return after_ms, read_back(cluster.bootstrap, topic, load.acks)


def kill_all_three(cluster: KconsoleCluster) -> tuple[float, LedgerCounts]:
    """SIGKILL of all brokers at once under load, then start: milliseconds to the next acknowledgement, the ledger."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    topic = f"failover-all-{time.time_ns()}"
    admin.create_topics([NewTopic(topic, PARTITIONS, 3)])[topic].result(30)
    load = Load(cluster.bootstrap, topic)
    wait_for("the first acknowledgements", lambda: len(load.acks) > 1000, 60)
    killed_ns = cluster.kill_all()
    time.sleep(0.2)
    before = len(load.acks)
    for broker_id in (1, 2, 3):
        cluster.start(broker_id)
    wait_for("acknowledgements after the restart", lambda: len(load.acks) > before + 500, 90)
    resumed_ms = (load.acks[before].at_ns - killed_ns) / 1e6
    load.stop()
    return resumed_ms, read_back(cluster.bootstrap, topic, load.acks)


def report(name: str, after_ms: list[float], ledger: LedgerCounts) -> str:
    """One line for people."""
    return (
        f"{name}: {len(after_ms)} kills, to the next acknowledged record median {statistics.median(after_ms):.0f} ms, "
        f"max {max(after_ms):.0f} ms; {ledger.acknowledged} acknowledged, {ledger.lost} lost, "
        f"{ledger.duplicated} duplicated, {ledger.reordered} out of order"
    )

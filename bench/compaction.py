"""What is left of many updates of few keys, and at what rate they are taken meanwhile: a compacted topic of three
partitions on three brokers, beside Apache Kafka's.

Every record is checked: after the last one is compacted, whatever is read is at the offset at which it was
acknowledged, and the last update of every key is there. While updates are written, records at random offsets are read
as well.
"""

from __future__ import annotations

import contextlib
import random
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import ApacheKafkaCluster, KconsoleCluster, spec_with

KEYS = 10_000
_PARTITIONS = 3
_TOPIC = "compacted"
_VALUE_BYTES = 100
_DIGITS = 9
_SEGMENT_MS = 10_000
_TOPIC_CONFIGS = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 << 20),
    "segment.ms": str(_SEGMENT_MS),
    "file.delete.delay.ms": "1000",
}
_BACKOFF_MS = 500
_PROBE_EVERY = 50_000
_NO_KEY = b"tick"


@dataclass(slots=True)
class Figures:
    """Of one cluster. Bytes are those of the ``.log`` files of one replica of each partition."""

    name: str
    written_bytes: int
    peak_bytes: int
    left_bytes: int
    left_records: int
    rate: float
    settled_s: float
    probes: int

    def line(self) -> str:
        """A sentence."""
        return (
            f"compaction, {self.name}: {self.rate:,.0f} updates/s; {self.written_bytes:,} bytes of keys and values "
            f"became {self.left_bytes:,} bytes on disk, {self.written_bytes / self.left_bytes:,.0f} times "
            f"less (at most {self.peak_bytes:,} meanwhile), {self.left_records:,} records; settled "
            f"{self.settled_s:.1f} s after the last update; every offset right, {self.probes} looked at while writing"
        )


class _Ledger:
    """Where each update was acknowledged: number → partition and offset."""

    def __init__(self, count: int) -> None:
        self.offsets = array("q", [-1]) * count
        self.partitions = array("b", [-1]) * count
        self.acknowledged = 0

    def on_delivery(self, error: KafkaError | None, message: Any) -> None:
        """An answer."""
        if error is not None:
            raise SystemExit(f"an update was refused: {error}")
        value = message.value()
        number = int(value[:_DIGITS])
        self.offsets[number] = message.offset()
        self.partitions[number] = message.partition()
        self.acknowledged += 1

    def check(self, message: Any) -> int:
        """The number of the update that was read, which must be where it was written."""
        number = int(message.value()[:_DIGITS])
        if self.offsets[number] != message.offset() or self.partitions[number] != message.partition():
            raise SystemExit(
                f"update {number} was acknowledged at {self.partitions[number]}/{self.offsets[number]} and is read at "
                f"{message.partition()}/{message.offset()}"
            )
        return number


def measure(cluster: KconsoleCluster | ApacheKafkaCluster, data_dir: Path, updates: int) -> Figures:
    """Write, wait for the cleaner, read everything."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic(_TOPIC, _PARTITIONS, 3, config=_TOPIC_CONFIGS)])[_TOPIC].result(30)
    ledger, rng = _Ledger(updates), random.Random(5)
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 20,
            "queue.buffering.max.messages": 200_000,
        }
    )
    prober = Consumer(
        {"bootstrap.servers": cluster.bootstrap, "group.id": "probe", "max.partition.fetch.bytes": 20_000}
    )
    filler = b"x" * (_VALUE_BYTES - _DIGITS)
    written = peak = probes = 0
    # The last update of each key.
    last: dict[bytes, int] = {}
    began = time.monotonic()
    for number in range(updates):
        key = b"key-%d" % rng.randrange(KEYS)
        value = b"%09d" % number + filler
        last[key] = number
        written += len(key) + len(value)
        while True:
            try:
                producer.produce(_TOPIC, value, key, on_delivery=ledger.on_delivery)
                break
            except BufferError:
                producer.poll(0.05)
        if number % 1000 == 999:
            producer.poll(0)
        if number % _PROBE_EVERY == _PROBE_EVERY - 1:
            peak = max(peak, _bytes_of(data_dir))
            probes += _probe(prober, ledger, rng, number)
    if producer.flush(120):
        raise SystemExit("updates were not acknowledged within 120 s")
    rate = updates / (time.monotonic() - began)
    prober.close()
    ended = time.monotonic()
    # The segment that takes appends is never compacted: one record more begins the next one.
    time.sleep(_SEGMENT_MS / 1000)
    for partition in range(_PARTITIONS):
        producer.produce(_TOPIC, b"", _NO_KEY, partition)
    producer.flush(30)
    size = _settled(data_dir)
    settled_s = time.monotonic() - ended - _SEGMENT_MS / 1000 - _QUIET_S
    left = _read_all(cluster.bootstrap, ledger)
    missing = [key for key, number in last.items() if number not in left]
    if missing:
        raise SystemExit(f"the last updates of {len(missing)} keys are missing")
    return Figures(cluster.name, written, max(peak, size), size, len(left), rate, settled_s, probes)


_QUIET_S = 3.0


def _settled(data_dir: Path) -> int:
    """Bytes once they were the same for some seconds."""
    before, since = -1, time.monotonic()
    deadline = since + 180
    while time.monotonic() < deadline:
        size = _bytes_of(data_dir)
        if size != before:
            before, since = size, time.monotonic()
        elif time.monotonic() - since > _QUIET_S:
            return size
        time.sleep(0.1)
    raise SystemExit("the cleaner does not come to rest")


def _bytes_of(data_dir: Path) -> int:
    total = 0
    for path in data_dir.glob(f"{_TOPIC}-*/*.log"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _probe(consumer: Consumer, ledger: _Ledger, rng: random.Random, number: int) -> int:
    """Read from where some earlier update was written: it, or what follows it."""
    sample = rng.randrange(number)
    if ledger.offsets[sample] < 0:
        return 0
    partition, offset = ledger.partitions[sample], ledger.offsets[sample]
    consumer.assign([TopicPartition(_TOPIC, partition, offset)])
    message = consumer.poll(30)
    if message is None or message.error() is not None or message.offset() < offset:
        raise SystemExit(f"nothing is read from {partition}/{offset} on")
    ledger.check(message)
    return 1


def _read_all(bootstrap: str, ledger: _Ledger) -> set[int]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "all", "enable.partition.eof": True})
    consumer.assign([TopicPartition(_TOPIC, each, 0) for each in range(_PARTITIONS)])
    found: set[int] = set()
    ends = 0
    while ends < _PARTITIONS:
        for message in consumer.consume(10_000, 1):
            if message.error() is not None:
                ends += message.error().code() == KafkaError._PARTITION_EOF
            elif message.key() != _NO_KEY:
                found.add(ledger.check(message))
    consumer.close()
    return found


def compare(directory: Path, updates: int, *, with_kafka: bool) -> list[str]:
    """A line a cluster, one after the other, and the ratios."""
    spec = spec_with() + f"  log.cleaner.backoff.ms: {_BACKOFF_MS}\n"
    with contextlib.closing(KconsoleCluster(directory / "kconsole", spec)) as ours:
        broker_dir = next(path.parent.parent for path in _waited_for(ours.data_dir))
        mine = measure(ours, broker_dir, updates)
    lines = [mine.line()]
    if with_kafka:
        more = f"log.cleaner.backoff.ms={_BACKOFF_MS}\n"
        with contextlib.closing(ApacheKafkaCluster(directory / "apache-kafka", more)) as theirs:
            other = measure(theirs, directory / "apache-kafka" / "data-1", updates)
        lines.append(other.line())
        lines.append(
            f"compaction, kconsole to Apache Kafka: rate {mine.rate / other.rate:.2f}, bytes left "
            f"{mine.left_bytes / other.left_bytes:.2f}, peak {mine.peak_bytes / other.peak_bytes:.2f}"
        )
    return lines


def _waited_for(data_dir: Path) -> list[Path]:
    return sorted(data_dir.rglob("__cluster_metadata-0/*.log"))

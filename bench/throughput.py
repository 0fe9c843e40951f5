"""Produce and consume through librdkafka, ours and Apache Kafka in turn, in records a second.

Each sample is a process of its own (``python -m bench.throughput MODE …``): a client's warm-up is part of neither.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

RECORD = b"x" * 200


def produce(bootstrap: str, topic: str, count: int, acks: str, compression: str) -> float:
    """Records a second, from the first produce() to the last acknowledgement."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": acks,
            "enable.idempotence": acks == "all",
            "linger.ms": 5,
            "compression.type": compression,
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": 1 << 20,
        }
    )
    producer.list_topics(topic, 10)
    began = time.perf_counter()
    for number in range(count):
        while True:
            try:
                producer.produce(topic, RECORD, partition=number % 3)
                break
            except BufferError:
                producer.poll(0.01)
        if number % 2000 == 0:
            producer.poll(0)
    left = producer.flush(120)
    if left:
        raise SystemExit(f"{left} records were not acknowledged")
    return count / (time.perf_counter() - began)


def consume(bootstrap: str, topic: str, count: int) -> float:
    """Records a second, from the first record to the last."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"bench-{time.time_ns()}",
            "enable.auto.commit": False,
            "queued.max.messages.kbytes": 65536,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(3)])
    seen, began = 0, 0.0
    while seen < count:
        messages = consumer.consume(10_000, 10)
        if not messages:
            raise SystemExit(f"silence after {seen} of {count} records")
        if not seen:
            began = time.perf_counter()
            count -= len(messages)
            seen = 1
            continue
        seen += len(messages)
    return count / (time.perf_counter() - began)


def sample(mode: str, bootstrap: str, topic: str, count: int, acks: str, compression: str) -> float:
    """One measurement in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.throughput", mode, bootstrap, topic, str(count), acks, compression],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def compare(ours: str, theirs: str, count: int, pairs: int) -> list[str]:
    """Lines with rates and the ratio ours/theirs, pair by pair, for each acks."""
    lines = []
    for acks, compression in (("all", "none"), ("1", "none"), ("all", "lz4")):
        rates: dict[str, list[float]] = {
            "produce ours": [],
            "produce theirs": [],
            "consume ours": [],
            "consume theirs": [],
        }
        for pair in range(pairs):
            for who, bootstrap in (("ours", ours), ("theirs", theirs)):
                topic = f"throughput-{acks}-{compression}-{pair}-{time.time_ns()}"
                admin = AdminClient({"bootstrap.servers": bootstrap})
                admin.create_topics([NewTopic(topic, 3, 3)])[topic].result(30)
                time.sleep(0.5)
                rates[f"produce {who}"].append(sample("produce", bootstrap, topic, count, acks, compression))
                rates[f"consume {who}"].append(sample("consume", bootstrap, topic, count, acks, compression))
                admin.delete_topics([topic])[topic].result(30)
        for verb in ("produce", "consume"):
            mine, other = rates[f"{verb} ours"], rates[f"{verb} theirs"]
            ratio = statistics.median(a / b for a, b in zip(mine, other, strict=True))
            lines.append(
                f"{verb} acks={acks} compression={compression}: kconsole {statistics.median(mine):,.0f}/s, "
                f"Apache Kafka {statistics.median(other):,.0f}/s, ratio {ratio:.2f}"
            )
    return lines


if __name__ == "__main__":
    _, mode, bootstrap, topic, count, acks, compression = sys.argv
    rate = (
        produce(bootstrap, topic, int(count), acks, compression)
        if mode == "produce"
        else consume(bootstrap, topic, int(count))
    )
    print(rate)

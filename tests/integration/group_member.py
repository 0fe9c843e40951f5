"""One member of a group in a process of its own: tells as JSON lines what it is assigned, processes and commits.

``python group_member.py CLIENT BOOTSTRAP GROUP TOPIC [INSTANCE_ID]`` with CLIENT ``librdkafka`` or ``aiokafka``. Every
record counts as processed when its line is out; after each batch its offsets are committed, synchronously. SIGTERM
closes the consumer (which leaves the group unless it is a static member).
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from typing import Any

SESSION_TIMEOUT_MS = 6000
HEARTBEAT_INTERVAL_MS = 500

stopping = threading.Event()


def tell(kind: str, **fields: Any) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)


def run_librdkafka(bootstrap: str, group: str, topic: str, instance_id: str | None) -> None:
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

    config: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        "heartbeat.interval.ms": HEARTBEAT_INTERVAL_MS,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "log_level": 0,
    }
    if instance_id is not None:
        config["group.instance.id"] = instance_id
    consumer = Consumer(config)
    consumer.subscribe(
        [topic],
        on_assign=lambda _, partitions: tell("assigned", partitions=[each.partition for each in partitions]),
        on_revoke=lambda _, partitions: tell("revoked", partitions=[each.partition for each in partitions]),
        on_lost=lambda _, partitions: tell("lost", partitions=[each.partition for each in partitions]),
    )
    while not stopping.is_set():
        positions: dict[int, int] = {}
        for message in consumer.consume(200, 0.1):
            error = message.error()
            if error is not None:
                tell("error", error=str(error), fatal=error.fatal() or error.code() == KafkaError._FATAL)
                continue
            tell("processed", partition=message.partition(), offset=message.offset(), value=message.value().decode())
            positions[message.partition()] = message.offset() + 1
        if not positions:
            continue
        try:
            committed = consumer.commit(
                offsets=[TopicPartition(topic, partition, offset) for partition, offset in positions.items()],
                asynchronous=False,
            )
        except KafkaException as failure:
            tell("not committed", error=str(failure), fatal=failure.args[0].code() == KafkaError._FATAL)
            continue
        for each in committed:
            if each.error is None:
                tell("committed", partition=each.partition, offset=each.offset)
    consumer.close()


async def run_aiokafka(bootstrap: str, group: str, topic: str, instance_id: str | None) -> None:
    from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
    from aiokafka.errors import KafkaError

    class Listener(ConsumerRebalanceListener):
        async def on_partitions_revoked(self, revoked: Any) -> None:
            tell("revoked", partitions=sorted(each.partition for each in revoked))

        async def on_partitions_assigned(self, assigned: Any) -> None:
            tell("assigned", partitions=sorted(each.partition for each in assigned))

    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=instance_id,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        retry_backoff_ms=50,
        metadata_max_age_ms=5000,
    )
    consumer.subscribe([topic], listener=Listener())
    await consumer.start()
    while not stopping.is_set():
        found = await consumer.getmany(timeout_ms=100, max_records=200)
        positions = {}
        for partition, messages in found.items():
            for message in messages:
                tell("processed", partition=message.partition, offset=message.offset, value=message.value.decode())
            positions[partition] = messages[-1].offset + 1
        if not positions:
            continue
        try:
            await consumer.commit(positions)
        except KafkaError as failure:
            tell("not committed", error=repr(failure))
            continue
        for partition, offset in positions.items():
            tell("committed", partition=partition.partition, offset=offset)
    await consumer.stop()


def main() -> None:
    client, bootstrap, group, topic, *more = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    instance_id = more[0] if more else None
    if client == "librdkafka":
        run_librdkafka(bootstrap, group, topic, instance_id)
    else:
        asyncio.run(run_aiokafka(bootstrap, group, topic, instance_id))
    tell("closed")


if __name__ == "__main__":
    main()

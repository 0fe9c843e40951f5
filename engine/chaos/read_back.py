"""All that was acknowledged, read back while clients go on writing."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from engine.chaos.ack_ledger import Found, compare
from engine.chaos.clients import Shared

_TIMEOUT_S = 60.0


def read_back(shared: Shared, number: int) -> Found:
    """Read every partition that acknowledged something, from its beginning; in a thread of its own.

    Raises:
        TimeoutError: a partition cannot be read to its end.
    """
    acknowledged = shared.ledger.so_far()
    consumer = Consumer(
        shared.settings(
            f"read-back-{number}",
            group_id=f"unused-read-back-{number}",
            enable_auto_commit=False,
            auto_offset_reset="error",
            fetch_wait_max_ms=50,
        )
    )
    try:
        there = {partition: _read(consumer, partition) for partition in acknowledged}
    finally:
        consumer.close()
    return compare(acknowledged, there)


def _read(consumer: Consumer, partition: str) -> dict[int, str]:
    topic, _, number = partition.rpartition("-")
    found: dict[int, str] = {}
    position, deadline = 0, time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        consumer.assign([TopicPartition(topic, int(number), position)])
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, int(number)), 5)
            while position < end and time.monotonic() < deadline:
                for message in consumer.consume(min(10_000, end - position), 1.0):
                    if message.error() is not None:
                        raise KafkaException(message.error())
                    offset, value = message.offset(), message.value()
                    assert offset is not None and value is not None
                    found[offset] = value.rstrip(b" ").decode()
                    position = offset + 1
        except KafkaException:
            continue  # a broker has just come up, or goes; from here on again
        return found
    raise TimeoutError(f"{partition} cannot be read to its end: {position} offsets within {_TIMEOUT_S:g} s")

"""Copies a topic in transactions of librdkafka's, in a process of its own: what ``java/ExactlyOnce.java`` does.

``python exactly_once_copier.py BOOTSTRAP GROUP INPUT OUTPUT TRANSACTIONAL_ID BATCH ABORT_EVERY``
"""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

WAIT_S = 20.0


def tell(kind: str, **fields: Any) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)


def copy(consumer: Consumer, producer: Producer, output: str, batch: int, abort_every: int) -> NoReturn:
    turn = 0
    while True:
        messages = consumer.consume(batch, 0.1)
        for each in messages:
            if each.error() is not None:
                raise KafkaException(each.error())
        if not messages:
            continue
        turn += 1
        producer.begin_transaction()
        positions: dict[tuple[str, int], int] = {}
        for each in messages:
            producer.produce(output, b"copy of " + each.value(), each.key(), partition=each.partition())
            positions[each.topic(), each.partition()] = each.offset() + 1
        producer.send_offsets_to_transaction(
            [TopicPartition(*partition, offset) for partition, offset in positions.items()],
            consumer.consumer_group_metadata(),
            WAIT_S,
        )
        if abort_every and turn % abort_every == 0:
            producer.abort_transaction(WAIT_S)
            for each in consumer.committed(consumer.assignment(), WAIT_S):
                consumer.seek(TopicPartition(each.topic, each.partition, max(0, each.offset)))
            tell("aborted")
        else:
            producer.commit_transaction(WAIT_S)
            tell("committed", records=len(messages))


def main() -> NoReturn:
    bootstrap, group, source, output, transactional_id, batch, abort_every = sys.argv[1:]
    common: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "log_level": 0,
        "reconnect.backoff.max.ms": 200,
        "topic.metadata.refresh.interval.ms": 2000,
    }
    while True:
        producer = Producer(
            {
                **common,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": 10_000,
                "linger.ms": 2,
                "socket.timeout.ms": 3000,
            }
        )
        consumer = Consumer(
            {
                **common,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 500,
            }
        )
        try:
            producer.init_transactions(WAIT_S)
            consumer.subscribe([source])
            copy(consumer, producer, output, int(batch), int(abort_every))
        except KafkaException as failure:
            # Fenced, timed out, not a member any more: whoever goes on begins where the group's positions are.
            tell("begins anew", why=failure.args[0].name())
        finally:
            consumer.close()


if __name__ == "__main__":
    main()

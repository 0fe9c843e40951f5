"""A well-behaved client beside whatever a test does to the cluster: it must not notice."""

from __future__ import annotations

import threading
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.integration.raw_client import wait_until

PARTITIONS = 3
RATE_PER_S = 100


class Bystander:
    """An idempotent acks=all producer and a consumer on a topic of their own, each in a thread."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic(topic, PARTITIONS, 3)])[topic].result(20)
        self._topic = topic
        common = {"bootstrap.servers": bootstrap, "error_cb": self._on_error, "log_level": 0}
        self._producer = Producer({**common, "enable.idempotence": True, "acks": "all", "linger.ms": 2})
        self._consumer = Consumer({**common, "group.id": topic, "enable.auto.commit": False})
        self.errors: list[str] = []
        self.acknowledged = 0
        self.consumed = 0
        self.sent = 0
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._produce, daemon=True),
            threading.Thread(target=self._consume, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        wait_until("the bystander's first records", lambda: self.consumed > 10)

    def _on_error(self, error: KafkaError) -> None:
        self.errors.append(str(error))

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self.errors.append(f"not delivered: {error}")

    def _produce(self) -> None:
        next_at = time.monotonic()
        while not self._stopping.is_set():
            self._producer.produce(
                self._topic, b"%d" % self.sent, partition=self.sent % PARTITIONS, on_delivery=self._delivered
            )
            self.sent += 1
            next_at = max(next_at + 1 / RATE_PER_S, time.monotonic() - 0.05)
            while (wait_s := next_at - time.monotonic()) > 0:
                self._producer.poll(wait_s)
        self._producer.flush(30)

    def _consume(self) -> None:
        self._consumer.assign([TopicPartition(self._topic, number, 0) for number in range(PARTITIONS)])
        while not (self._stopping.is_set() and self.consumed >= self.sent):
            message = self._consumer.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                self.errors.append(f"not consumed: {error}")
            else:
                self.consumed += 1
        self._consumer.close()

    def assert_undisturbed(self) -> None:
        """What is sent from now on is acknowledged and consumed, and nothing failed so far."""
        sent = self.sent
        wait_until("the bystander's records were acknowledged", lambda: self.acknowledged > sent)
        wait_until("the bystander's records were consumed", lambda: self.consumed > sent)
        assert self.errors == []

    def stop(self) -> None:
        """End; every record that was sent must have been acknowledged and consumed, once."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(40)
        assert not any(thread.is_alive() for thread in self._threads)
        assert self.errors == []
        assert self.acknowledged == self.consumed == self.sent

"""Producing single records as real clients do: librdkafka, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from console.gateway.protocol import GatewayError, NewRecord, ProducedRecord
from engine.client.security.librdkafka import librdkafka_security, without_security
from engine.client.security.secret import ClientProperties

_TIMEOUT_S = 15.0


class ProducerPool:
    """One producer for each kind of acks, made when it is first needed."""

    def __init__(self, bootstrap_servers: str, config: Mapping[str, str]) -> None:
        """``config`` are client configs under Kafka's names."""
        self._bootstrap_servers = bootstrap_servers
        self._security = ClientProperties(librdkafka_security(config))
        self._config = without_security(config)
        self._producers: dict[str, Any] = {}
        self._lock = threading.Lock()

    def _producer(self, acks: str) -> Any:
        from confluent_kafka import Producer

        with self._lock:
            if acks not in self._producers:
                self._producers[acks] = make_client(
                    lambda config: Producer(config, logger=silent()),
                    self._config,
                    {**self._security, **self._own(acks)},
                )
            return self._producers[acks]

    def _own(self, acks: str) -> dict[str, Any]:
        return {
            "bootstrap.servers": self._bootstrap_servers,
            "client.id": "kconsole",
            "acks": acks,
            "enable.idempotence": acks == "all",
            "linger.ms": 0,
            "delivery.timeout.ms": int(_TIMEOUT_S * 1000) - 1_000,
            "request.timeout.ms": 5_000,
            "partitioner": "murmur2_random",
            "log.connection.close": False,
            # librdkafka's own log lines would be drawn into the screen.
            "log_level": 0,
        }

    def produce(self, record: NewRecord) -> ProducedRecord:
        """Produce and wait for the acknowledgement. Blocks; call it in a thread. Raises: GatewayError."""
        from confluent_kafka import KafkaException

        producer = self._producer(record.acks)
        done: list[tuple[Any, Any]] = []
        began = time.perf_counter()
        arguments: dict[str, Any] = {} if record.partition is None else {"partition": record.partition}
        try:
            producer.produce(
                record.topic,
                record.value,
                record.key,
                headers=list(record.headers) or None,
                on_delivery=lambda error, message: done.append((error, message)),
                **arguments,
            )
        except (BufferError, KafkaException) as error:
            raise GatewayError(f"not produced: {error}") from error
        deadline = began + _TIMEOUT_S
        while not done and time.perf_counter() < deadline:
            producer.poll(0.05)
        latency_ms = (time.perf_counter() - began) * 1000
        if not done:
            raise GatewayError(f"not acknowledged within {_TIMEOUT_S:.0f} s; it may still be")
        failure, message = done[0]
        if failure is not None:
            raise GatewayError(f"{failure.name().lstrip('_')}: {failure.str()}")
        offset = message.offset()
        known = record.acks != "0" and offset is not None and offset >= 0
        return ProducedRecord(message.partition(), offset if known else None, latency_ms)

    def close(self) -> None:
        """Let go of the producers; what was not acknowledged is dropped."""
        for producer in self._producers.values():
            producer.purge()
        self._producers.clear()


def make_client(make: Callable[[dict[str, Any]], Any], config: Mapping[str, str], own: Mapping[str, Any]) -> Any:
    """A client of librdkafka with the user's ``config`` and what the console wants itself.

    Raises:
        GatewayError: there is no such client.
    """
    from confluent_kafka import KafkaException

    users = dict(config)
    while True:
        try:
            return make({**users, **own})
        except KafkaException as error:
            # A file for Java's clients has properties that librdkafka does not know: it goes without them.
            unknown = [name for name in users if f'property: "{name}"' in error.args[0].str()]
            if not unknown:
                raise GatewayError(f"no producer can be made: {error.args[0].str()}") from error
            del users[unknown[0]]


def silent() -> Any:
    """A logger that says nothing: what librdkafka logs would be drawn into the screen."""
    import logging

    logger = logging.getLogger("kconsole.producer")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger

"""Producing many records as real clients do: librdkafka, called in threads, idempotent or in transactions."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from console.gateway.bulk_protocol import Kept, SenderOptions
from console.gateway.producing import make_client, silent
from console.gateway.protocol import GatewayError
from console.viewmodel.outgoing import Outgoing
from engine.client.security.librdkafka import librdkafka_security, without_security
from engine.client.security.secret import ClientProperties
from engine.model.topic_partition import TopicPartition

T = TypeVar("T")

# A record is given up when it was not acknowledged for so long: a failover of its partition's leader fits in.
_DELIVERY_MS = 60_000
_WAITING_RECORDS = 50_000
_WAITING_KIB = 64 * 1024
_POLL_S = 0.05
_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


class BulkSender:
    """One producer. Raises GatewayError: what it does not deliver ends it, the records before are delivered."""

    def __init__(self, bootstrap_servers: str, config: Mapping[str, str], options: SenderOptions) -> None:
        self._options = options
        self._base = without_security(config)
        self._servers = bootstrap_servers
        self._security = ClientProperties(librdkafka_security(config))
        self._producer: Any = None
        self._group_metadata: Any = None
        self._in_transaction = False
        self._failure = ""
        self._lock = threading.Lock()
        self._serving: threading.Thread | None = None
        self._latencies: list[float] = []
        self._closed = False
        self.acknowledged = 0
        self.sent = 0

    # -- what its user calls ----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Once, before anything else."""
        await asyncio.to_thread(self._open)

    async def send(self, records: Sequence[Outgoing]) -> None:
        await asyncio.to_thread(self._send, records)

    async def flush(self) -> None:
        await asyncio.to_thread(self._flush)

    async def commit(self, offsets: Mapping[TopicPartition, Kept]) -> None:
        await asyncio.to_thread(self._commit, dict(offsets))

    def latencies_ms(self) -> Sequence[float]:
        with self._lock:
            taken, self._latencies = self._latencies, []
        return taken

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._close)

    # -- in threads -------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        from confluent_kafka import Consumer, Producer

        options = self._options
        compression = options.compression if options.compression in _COMPRESSIONS else "none"
        own: dict[str, Any] = {
            **self._security,
            "bootstrap.servers": self._servers,
            "client.id": "kconsole-bulk",
            "acks": options.acks,
            "enable.idempotence": options.acks == "all",
            "linger.ms": options.linger_ms,
            "compression.type": compression,
            "delivery.timeout.ms": _DELIVERY_MS,
            "request.timeout.ms": 10_000,
            "queue.buffering.max.messages": _WAITING_RECORDS,
            "queue.buffering.max.kbytes": _WAITING_KIB,
            # A record that the topic refuses is refused there, in the topic's own words.
            "message.max.bytes": 1_000_000_000,
            "batch.size": 256 * 1024,
            # Kafka's own rule for keys: librdkafka's default is another one.
            "partitioner": "murmur2_random",
            "log_level": 0,
        }
        if options.transactional_id:
            own |= {"transactional.id": options.transactional_id, "transaction.timeout.ms": _DELIVERY_MS}
        self._producer = make_client(lambda config: Producer(config, logger=silent()), self._base, own)
        # Acknowledgements are taken when they come: what waits for the next call would count as latency.
        self._serving = threading.Thread(target=self._serve, args=(self._producer,), daemon=True)
        self._serving.start()
        if not options.transactional_id:
            return
        self._until_done("beginning", lambda: self._producer.init_transactions(10))
        if options.group:
            wanted = {
                **self._security,
                "bootstrap.servers": self._servers,
                "group.id": options.group,
                "log_level": 0,
            }
            consumer = make_client(lambda config: Consumer(config, logger=silent()), self._base, wanted)
            # It joins nothing: the offsets are committed as by a group without members.
            self._group_metadata = consumer.consumer_group_metadata()
            consumer.close()

    def _send(self, records: Sequence[Outgoing]) -> None:
        from confluent_kafka import KafkaException

        producer = self._producer
        if self._options.transactional_id and not self._in_transaction:
            self._until_done("beginning a transaction", producer.begin_transaction)
            self._in_transaction = True
        deadline = time.monotonic() + _DELIVERY_MS / 1000
        for record in records:
            arguments: dict[str, Any] = {}
            if record.partition is not None:
                arguments["partition"] = record.partition
            if record.timestamp_ms is not None:
                arguments["timestamp"] = record.timestamp_ms
            while True:
                self._check()
                try:
                    producer.produce(
                        record.topic,
                        record.value,
                        record.key,
                        headers=list(record.headers) or None,
                        on_delivery=self._delivery(record.topic, time.perf_counter()),
                        **arguments,
                    )
                except BufferError:
                    time.sleep(_POLL_S / 5)
                    if time.monotonic() >= deadline:
                        raise GatewayError(f"nothing was acknowledged for {_DELIVERY_MS // 1000} s") from None
                    continue
                except KafkaException as error:
                    raise GatewayError(f"{record.topic}: not sent: {error.args[0].str()}") from error
                break
            self.sent += 1
        self._check()

    def _serve(self, producer: Any) -> None:
        from confluent_kafka import KafkaException

        while not self._closed:
            try:
                producer.poll(_POLL_S)
            except KafkaException as error:
                # It will never send again: another one with its transactional id began, or the cluster forgot it.
                self._failure = self._failure or _sentence("sending", error.args[0])
                return

    def _delivery(self, topic: str, began: float) -> Callable[[Any, Any], None]:
        def delivered(error: Any, message: Any) -> None:
            if error is None:
                with self._lock:
                    self.acknowledged += 1
                    self._latencies.append((time.perf_counter() - began) * 1000)
            elif not self._failure:
                self._failure = _sentence(topic, error)

        return delivered

    def _flush(self) -> None:
        deadline = time.monotonic() + _DELIVERY_MS / 1000 + 5
        while len(self._producer) and time.monotonic() < deadline and not self._failure and not self._closed:
            time.sleep(_POLL_S / 10)
        self._check()
        if len(self._producer):
            raise GatewayError(f"{len(self._producer):,} records were not acknowledged in time; they may still be")

    def _check(self) -> None:
        if self._closed:
            raise GatewayError("the producer was closed")
        if self._failure:
            raise GatewayError(self._failure)

    # -- transactions -----------------------------------------------------------------------------------------------

    def _commit(self, offsets: Mapping[TopicPartition, Kept]) -> None:
        from confluent_kafka import TopicPartition as Place

        if not self._in_transaction:
            if not offsets:
                return
            self._until_done("beginning a transaction", self._producer.begin_transaction)
            self._in_transaction = True
        self._flush()
        places = [Place(*at, kept.offset, kept.metadata) for at, kept in sorted(offsets.items())]
        if places:
            self._until_done(
                "committing offsets",
                lambda: self._producer.send_offsets_to_transaction(places, self._group_metadata, 10),
            )
        self._until_done("committing", lambda: self._producer.commit_transaction(10))
        self._in_transaction = False

    def _until_done(self, what: str, step: Callable[[], T]) -> T:
        """Again while it may help."""
        from confluent_kafka import KafkaException

        deadline = time.monotonic() + _DELIVERY_MS / 1000
        while True:
            try:
                return step()
            except KafkaException as error:
                failure = error.args[0]
                if failure.retriable() and time.monotonic() < deadline and not self._closed:
                    continue
                raise GatewayError(_sentence(what, failure)) from error

    def _close(self) -> None:
        from confluent_kafka import KafkaException

        producer = self._producer
        if producer is None:
            return
        if self._serving is not None:
            self._serving.join()
        producer.purge()
        if self._in_transaction:
            with contextlib.suppress(KafkaException):
                producer.abort_transaction(5)
        self._producer = None


def _sentence(what: str, failure: Any) -> str:
    name = failure.name().lstrip("_")
    if "FENCED" in name or name == "INVALID_PRODUCER_EPOCH":
        return f"{what}: somebody else began the same meanwhile ({name})"
    return f"{what}: {name}: {failure.str()}"


__all__ = ["BulkSender"]

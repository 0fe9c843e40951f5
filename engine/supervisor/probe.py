"""The probe's process: a real producer and a real consumer (librdkafka) that number records through a failover.

Commands come as JSON lines on standard input, facts leave on ``--facts-fd``:

    begin {act_id, partition, acks, rate}   starts; ``probe_running`` once a record was acknowledged and fetched
    mark {act_id, mono_ns}                  the kill; ``probe_first_produce`` and ``probe_first_fetch`` follow, for
                                            records that were sent after it
    finish {act_id}                         stops, reads all records back; ``probe_ledger``
    abort {act_id}                          stops

The producers are kept from one act to the next, and the one for acks=all is made at once: librdkafka takes a second to
find a coordinator for its producer id, and a kill waits for the probe to run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, Producer, TopicPartition

from engine.supervisor.ledger import Reading, settle, slowest_after
from engine.supervisor.snapshot import PROBE_TOPIC as TOPIC
from engine.world.real import real_world

_FLUSH_S = 30.0
_READ_TIMEOUT_S = 30.0


class Producers:
    """One producer for each kind of acks, as long as it does well."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._made: dict[str, Producer] = {}

    def get(self, acks: str) -> Producer:
        """Made when it is first asked for."""
        if acks not in self._made:
            self._made[acks] = Producer(
                {
                    "bootstrap.servers": self._bootstrap,
                    "client.id": "kconsole-probe",
                    "acks": acks,
                    "enable.idempotence": acks == "all",
                    "linger.ms": 0,
                    "delivery.timeout.ms": 30_000,
                    "request.timeout.ms": 5_000,
                    "retry.backoff.ms": 10,
                    "retry.backoff.max.ms": 50,
                    "reconnect.backoff.ms": 10,
                    "reconnect.backoff.max.ms": 50,
                    "topic.metadata.refresh.fast.interval.ms": 10,
                    "log.connection.close": False,
                }
            )
        return self._made[acks]

    def give_up(self, acks: str) -> None:
        """It has records left, or failed for good: the next act begins with another."""
        producer = self._made.pop(acks, None)
        if producer is not None:
            producer.purge()


class Run:
    """One act's records."""

    def __init__(
        self,
        clock: Any,
        publish: Any,
        bootstrap: str,
        producers: Producers,
        act_id: int,
        partition: int,
        acks: str,
        rate: float,
    ) -> None:
        self._clock = clock
        self._publish = publish
        self._bootstrap = bootstrap
        self._producers = producers
        self.act_id = act_id
        self._partition = partition
        self._acks = acks
        self._interval_s = 1 / rate
        # Records of earlier acts stand in the same partition: the id of the run tells them apart.
        self._run_id = f"{os.getpid()}-{act_id}-{clock.monotonic_ns()}"
        self._lock = threading.Lock()
        self._sent_ns: list[int] = []
        self._acked_ns: dict[int, int] = {}
        self._acknowledged: dict[int, tuple[int, int]] = {}
        self._fetched_ns: dict[int, int] = {}
        self._errors: dict[str, int] = {}
        self._fatal = False
        self._mark_ns: int | None = None
        self._told: set[str] = set()
        self._stopping = threading.Event()
        self._start_offset: int | None = None
        self._consumer_ready = threading.Event()
        self._threads = [
            threading.Thread(target=self._consume, name="consume", daemon=True),
            threading.Thread(target=self._produce, name="produce", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def mark(self, at_ns: int) -> None:
        with self._lock:
            self._mark_ns = at_ns
        self._tell()

    # -- producer -----------------------------------------------------------------------------------------------

    def _produce(self) -> None:
        # The consumer stands at the end of the partition before the first record comes.
        self._consumer_ready.wait(10)
        producer = self._producers.get(self._acks)
        next_at = self._clock.monotonic_ns()
        while not self._stopping.is_set():
            number = len(self._sent_ns)
            with self._lock:
                self._sent_ns.append(self._clock.monotonic_ns())
            producer.produce(
                TOPIC,
                f"{self._run_id} {number}".encode(),
                partition=self._partition,
                on_delivery=self._delivered(number),
            )
            next_at += int(self._interval_s * 1e9)
            while (wait_s := (next_at - self._clock.monotonic_ns()) / 1e9) > 0 and not self._stopping.is_set():
                producer.poll(min(wait_s, 0.1))
        if producer.flush(_FLUSH_S) or self._fatal:
            self._producers.give_up(self._acks)

    def _delivered(self, number: int) -> Any:
        def on_delivery(error: KafkaError | None, message: Message) -> None:
            at = self._clock.monotonic_ns()
            with self._lock:
                if error is None:
                    self._acked_ns[number] = at
                    offset = message.offset()
                    self._acknowledged[number] = (self._partition, -1 if offset is None else offset)
                else:
                    self._errors[error.name()] = self._errors.get(error.name(), 0) + 1
                    self._fatal = self._fatal or error.fatal()
            self._tell()

        return on_delivery

    # -- consumer -----------------------------------------------------------------------------------------------

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "client.id": "kconsole-probe",
                "group.id": "kconsole-probe",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "fetch.error.backoff.ms": 10,
                "retry.backoff.ms": 10,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 50,
                "topic.metadata.refresh.fast.interval.ms": 10,
                "auto.offset.reset": "earliest",
                "log.connection.close": False,
            }
        )

    def _consume(self) -> None:
        consumer = self._consumer()
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, self._partition), timeout=10)
            self._start_offset = end
            # The others only keep connections to their leaders open: a client without any other connection than that
            # to the victim would first have to look for the cluster again.
            numbers = sorted(consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions)
            others = [TopicPartition(TOPIC, each, OFFSET_END) for each in numbers if each != self._partition]
            consumer.assign([TopicPartition(TOPIC, self._partition, end), *others])
        except Exception as error:
            print(f"probe: cannot find the end of {TOPIC}-{self._partition}: {error}", file=sys.stderr)  # noqa: T201
            consumer.assign([TopicPartition(TOPIC, self._partition, OFFSET_END)])
        self._consumer_ready.set()
        while not self._stopping.is_set():
            message = consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            number = self._number(message)
            if number is not None:
                with self._lock:
                    self._fetched_ns.setdefault(number, self._clock.monotonic_ns())
                self._tell()
        consumer.close()

    def _number(self, message: Message) -> int | None:
        run_id, _, number = (message.value() or b"").decode(errors="replace").partition(" ")
        return int(number) if run_id == self._run_id and number.isdigit() else None

    # -- facts --------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        with self._lock:
            if "running" not in self._told and self._acked_ns and self._fetched_ns:
                self._told.add("running")
                self._publish("probe_running", act_id=self.act_id, mono_ns=self._clock.monotonic_ns())
            if self._mark_ns is None:
                return
            for name, times in (("probe_first_produce", self._acked_ns), ("probe_first_fetch", self._fetched_ns)):
                if name in self._told:
                    continue
                after = [at for number, at in times.items() if self._sent_ns[number] > self._mark_ns]
                if after:
                    self._told.add(name)
                    self._publish(name, act_id=self.act_id, mono_ns=min(after))

    def stop(self) -> None:
        """Stop producing and fetching; records under way are waited for."""
        self._stopping.set()
        for thread in reversed(self._threads):
            if thread.is_alive():
                thread.join(_FLUSH_S + 5)

    def read_back(self) -> None:
        """Read the partition from where the run began, and publish the ledger."""
        readings: list[Reading] = []
        consumer = self._consumer()
        complete = False
        partition = TopicPartition(TOPIC, self._partition, self._start_offset or 0)
        consumer.assign([partition])
        deadline = self._clock.monotonic_ns() + int(_READ_TIMEOUT_S * 1e9)
        while self._clock.monotonic_ns() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    complete = True
                    break
                continue
            number = self._number(message)
            if number is not None:
                readings.append(Reading(self._partition, message.offset() or 0, number))
        consumer.close()
        account = settle(range(len(self._sent_ns)), self._acknowledged, readings)
        slowest_ns = slowest_after(self._sent_ns, self._acked_ns, self._mark_ns)
        self._publish(
            "probe_ledger",
            slowest_ms=None if slowest_ns is None else round(slowest_ns / 1e6, 3),
            act_id=self.act_id,
            acks=self._acks,
            complete=complete,
            errors=self._errors,
            **account._asdict(),
        )


def main() -> int:
    """Entry of the process."""
    parser = argparse.ArgumentParser(prog="engine.supervisor.probe", description=__doc__)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--facts-fd", type=int, required=True)
    parser.add_argument("--supervised", action="store_true")
    arguments = parser.parse_args()
    clock = real_world().clock
    facts = os.fdopen(arguments.facts_fd, "wb", buffering=0)
    lock = threading.Lock()

    def publish(fact_type: str, **fields: Any) -> None:
        with lock, contextlib.suppress(BrokenPipeError):
            facts.write(json.dumps({"type": fact_type, "wall_ms": clock.now_ms(), **fields}).encode() + b"\n")

    producers = Producers(arguments.bootstrap_servers)
    producers.get("all")
    run: Run | None = None
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "begin":
            if run is not None:
                run.stop()
            run = Run(
                clock,
                publish,
                arguments.bootstrap_servers,
                producers,
                command["act_id"],
                command["partition"],
                command["acks"],
                command["rate"],
            )
            run.start()
        elif run is None or run.act_id != command["act_id"]:
            continue
        elif command["command"] == "mark":
            run.mark(command["mono_ns"])
        elif command["command"] in ("finish", "abort"):
            run.stop()
            if command["command"] == "finish":
                run.read_back()
            run = None
    # The supervisor is gone: leave without waiting for anything.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())

"""The workload's process: producers and consumer groups of the cluster file, as real clients (librdkafka).

Commands come as JSON lines on standard input: ``start``, ``stop``, ``add_member {group}``, ``remove_member {group}``,
``rate {producer, rate}``. A ``workload`` fact leaves on ``--facts-fd`` once a second and at every change.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import threading
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, Message, Producer

from engine.supervisor.value_template import compile_template
from engine.world import Clock, Random
from engine.world.real import real_world

_REPORT_S = 1.0
# How long the end may take; the supervisor waits a little longer.
_LEAVE_S = 2.0
# One turn of the producer's loop; rates above one record a turn send several.
_TURN_S = 0.02
_QUIET = {
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1_000,
    "log.connection.close": False,
}


class Latencies:
    """Latencies since they were asked for last. Of very many every second, fourth, … is kept."""

    _MOST = 4_096

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._kept: list[float] = []
        self._highest = 0.0
        self._seen = 0
        self._stride = 1

    def add(self, latency_ms: float) -> None:
        """Take one."""
        self._highest = max(self._highest, latency_ms)
        if self._seen % self._stride == 0:
            self._kept.append(latency_ms)
            if len(self._kept) >= self._MOST:
                del self._kept[1::2]
                self._stride *= 2
        self._seen += 1

    def report(self) -> dict[str, float | None]:
        """Fields of snapshot.WorkloadMember; begins anew."""
        kept, highest = self._kept, self._highest
        self._begin()
        if not kept:
            return {"latency_median_ms": None, "latency_highest_ms": None}
        return {"latency_median_ms": round(statistics.median(kept), 2), "latency_highest_ms": round(highest, 2)}


class ProducerPart:
    """One producer's schedule and counts."""

    def __init__(self, clock: Clock, random: Random, spec: dict[str, Any]) -> None:
        self.name: str = spec["name"]
        self.topic: str = spec["topic"]
        self.rate = float(spec["rate"])
        self._keys = int(spec["keys"])
        self._render = compile_template(spec["value"], random.randint)
        self.client_key = (str(spec["acks"]), str(spec["compression"]))
        self._clock = clock
        self._random = random
        self._number = 0
        self._due = 0.0
        self.total = 0
        self.errors = 0
        self._reported = 0
        self._latencies = Latencies()

    def turn(self, producer: Producer, elapsed_s: float) -> None:
        """Send what is due."""
        # After a stall the backlog is dropped: a burst would be no steady rate.
        self._due = min(self._due + self.rate * elapsed_s, max(self.rate, 1.0))
        while self._due >= 1:
            self._due -= 1
            number = self._number
            self._number += 1
            key = f"key-{self._random.randint(1, self._keys)}" if self._keys else ""
            value = self._render(number, key, self._clock.now_ms())
            try:
                producer.produce(self.topic, value.encode(), key=key.encode() or None, on_delivery=self._on_delivery)
            except BufferError:
                self.errors += 1
                return

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.total += 1
            latency_s = message.latency()
            if latency_s is not None:
                self._latencies.add(latency_s * 1000)
        else:
            self.errors += 1

    def report(self, running: bool, elapsed_s: float) -> dict[str, Any]:
        """Fields of snapshot.WorkloadMember."""
        rate = (self.total - self._reported) / elapsed_s if elapsed_s > 0 else None
        self._reported = self.total
        return {
            "name": self.name,
            "kind": "producer",
            "topic": self.topic,
            "running": running,
            "rate_per_s": round(rate, 1) if rate is not None else None,
            "total": self.total,
            "errors": self.errors,
            "members": 0,
            **self._latencies.report(),
        }


class GroupPart:
    """One group: each member is a consumer with a thread of its own."""

    def __init__(self, clock: Clock, bootstrap: str, spec: dict[str, Any]) -> None:
        self._clock = clock
        self.name: str = spec["name"]
        self.topics: list[str] = list(spec["topics"])
        self.wanted = int(spec["members"])
        self._processing_s = float(spec["processing_ms"]) / 1000
        self._bootstrap = bootstrap
        self._members: list[tuple[threading.Thread, threading.Event]] = []
        self._last_member = 0
        self._lock = threading.Lock()
        self.total = 0
        self.errors = 0
        self._reported = 0
        self._latencies = Latencies()

    def resize(self, running: bool) -> None:
        """Start or end members until there are as many as wanted."""
        wanted = self.wanted if running else 0
        while len(self._members) > wanted:
            _, stop = self._members.pop()
            stop.set()
        while len(self._members) < wanted:
            self._last_member += 1
            stop = threading.Event()
            member = threading.Thread(target=self._consume, args=(self._last_member, stop), daemon=True)
            self._members.append((member, stop))
            member.start()

    def _consume(self, number: int, stop: threading.Event) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": self.name,
                "client.id": f"{self.name}-{number}",
                "auto.offset.reset": "earliest",
                "auto.commit.interval.ms": 1_000,
                "session.timeout.ms": 10_000,
                "heartbeat.interval.ms": 1_000,
                **_QUIET,
            }
        )
        consumer.subscribe(self.topics)
        while not stop.is_set():
            message = consumer.poll(0.5)
            if message is None:
                continue
            with self._lock:
                if message.error() is not None:
                    self.errors += 1
                else:
                    self.total += 1
                    kind, written_ms = message.timestamp()
                    if kind != TIMESTAMP_NOT_AVAILABLE:
                        # Clocks of other machines may be ahead.
                        self._latencies.add(max(0, self._clock.now_ms() - written_ms))
            if self._processing_s:
                stop.wait(self._processing_s)
        consumer.close()

    def close(self, timeout_s: float) -> None:
        """End all members, leaving the group."""
        members = list(self._members)
        self.resize(False)
        for thread, _ in members:
            thread.join(timeout_s)

    def report(self, running: bool, elapsed_s: float) -> dict[str, Any]:
        """Fields of snapshot.WorkloadMember."""
        rate = (self.total - self._reported) / elapsed_s if elapsed_s > 0 else None
        self._reported = self.total
        with self._lock:
            latencies = self._latencies.report()
        return {
            "name": self.name,
            "kind": "group",
            "topic": ",".join(self.topics),
            "running": running,
            "rate_per_s": round(rate, 1) if rate is not None else None,
            "total": self.total,
            "errors": self.errors,
            "members": self.wanted if running else 0,
            **latencies,
        }


class Workload:
    """All parts; commands may come from another thread."""

    def __init__(self, clock: Clock, random: Random, publish: Any, bootstrap: str, spec: dict[str, Any]) -> None:
        self._clock = clock
        self._publish = publish
        self._bootstrap = bootstrap
        self._producers = [ProducerPart(clock, random, each) for each in spec["producers"]]
        self._groups = [GroupPart(clock, bootstrap, each) for each in spec["groups"]]
        self._clients: dict[tuple[str, str], Producer] = {}
        self._running = False
        self._wake = threading.Event()
        self._leaving = False
        self._lock = threading.Lock()
        self._reported_ns = clock.monotonic_ns()

    def command(self, message: dict[str, Any]) -> None:
        """Do what a line says; unknown parts are passed over (the supervisor checks names)."""
        command = message["command"]
        with self._lock:
            if command in ("start", "stop"):
                self._running = command == "start"
            for group in self._groups:
                if group.name == message.get("group"):
                    group.wanted = max(0, group.wanted + (1 if command == "add_member" else -1))
            for producer in self._producers:
                if producer.name == message.get("producer"):
                    producer.rate = float(message["rate"])
            for group in self._groups:
                group.resize(self._running)
            self._report()
        self._wake.set()

    def run(self) -> None:
        """Produce until :meth:`leave`."""
        last_ns = 0
        while not self._leaving:
            now_ns = self._clock.monotonic_ns()
            if self._running:
                # The first turn after a start has nothing due.
                elapsed_s = (now_ns - last_ns) / 1e9 if last_ns else 0.0
                for part in self._producers:
                    part.turn(self._client(part.client_key), elapsed_s)
            last_ns = now_ns if self._running else 0
            for client in self._clients.values():
                client.poll(0)
            if (now_ns - self._reported_ns) / 1e9 >= _REPORT_S:
                with self._lock:
                    self._report()
            self._wake.wait(_TURN_S if self._running else _REPORT_S)
            self._wake.clear()
        for client in self._clients.values():
            client.flush(1)
        for group in self._groups:
            group.close(1)

    def leave(self) -> None:
        """End :meth:`run`."""
        self._leaving = True
        self._wake.set()

    def _client(self, key: tuple[str, str]) -> Producer:
        client = self._clients.get(key)
        if client is None:
            acks, compression = key
            client = self._clients[key] = Producer(
                {
                    "bootstrap.servers": self._bootstrap,
                    "client.id": "kconsole-workload",
                    "acks": acks,
                    "enable.idempotence": acks == "all",
                    "compression.type": compression,
                    "linger.ms": 20,
                    "retry.backoff.ms": 50,
                    **_QUIET,
                }
            )
        return client

    def _report(self) -> None:
        now_ns = self._clock.monotonic_ns()
        elapsed_s, self._reported_ns = (now_ns - self._reported_ns) / 1e9, now_ns
        parts = [producer.report(self._running, elapsed_s) for producer in self._producers]
        parts += [group.report(self._running, elapsed_s) for group in self._groups]
        self._publish("workload", running=self._running, parts=parts)


def main() -> int:
    """Entry of the process."""
    parser = argparse.ArgumentParser(prog="engine.supervisor.workload", description=__doc__)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--spec", required=True, help="a JSON file: producers and groups of the cluster file")
    parser.add_argument("--facts-fd", type=int, required=True)
    parser.add_argument("--supervised", action="store_true")
    arguments = parser.parse_args()
    world = real_world()
    facts = os.fdopen(arguments.facts_fd, "wb", buffering=0)

    def publish(fact_type: str, **fields: Any) -> None:
        fact = {"type": fact_type, "wall_ms": world.clock.now_ms(), **fields}
        with contextlib.suppress(BrokenPipeError):
            facts.write(json.dumps(fact).encode() + b"\n")

    spec = json.loads(world.disk.read(arguments.spec))
    workload = Workload(world.clock, world.random, publish, arguments.bootstrap_servers, spec)

    def read_commands() -> None:
        for line in sys.stdin:
            workload.command(json.loads(line))
        # Groups are left and records sent as long as somebody answers; that must not hold up the end.
        ending = threading.Timer(_LEAVE_S, os._exit, (0,))
        ending.daemon = True
        ending.start()
        workload.leave()

    threading.Thread(target=read_commands, daemon=True).start()
    workload.run()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())

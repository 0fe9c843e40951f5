"""``engine.streams`` beside Quix Streams 3.28.1: the same input, the same broker, one process each, taken in turns.

A topic of orders is filled before anybody reads it. Then a worker of each reads it to the end, time after time with
a new application: mapped and filtered, counted by customer, counted by customer in windows. The clock runs from the
first record that is read until the last output is on all replicas (the end of the output topic, asked each 10 ms). All
runs write the same JSON, and what is last for each key must be the same in the output of both. What is told is the
median of the ratios of pairs: one run of each, one right after the other.

    python -m bench streams --pairs 5            # `make bench-streams` makes Quix Streams' environment first
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import ROOT, ApacheKafkaCluster, KconsoleCluster, wait_for
from bench.streams_topologies import order
from engine.streams.runtime.config import DEFAULTS

QUIX = ROOT / ".cache" / "quixstreams-3.28.1"
QUIX_PYTHON = QUIX / "venv" / "bin" / "python"
WANTED = {"map_filter": 1.5, "count": 1.5, "window": 2.0}
TITLES = {
    "map_filter": "map and filter",
    "count": "stateful count, with its changelog",
    "window": "count in tumbling windows, with its changelog",
}
CUSTOMERS = 1_000
PARTITIONS = 2
COMMIT_MS = 5_000
RESTORE_WANTED_S = 10.0
RESTORED_KEYS = 1_000_000
_LIMIT_S = 300.0
# A worker without tasks is RUNNING as well: what counts is the first time after it was given some.
_RESTORED = re.compile(
    r"^(?P<from>\S+ \S+) INFO has active 0_0.*?^(?P<to>\S+ \S+) \S+ state \S+ -> RUNNING", re.M | re.S
)
_SPEC = """
durability: page-cache
brokers:
  - {id: 1, host: 127.0.0.1, port: auto}
configs:
  group.initial.rebalance.delay.ms: 0
  group.streams.initial.rebalance.delay.ms: 0
  offsets.topic.num.partitions: 4
  offsets.topic.replication.factor: 1
  default.replication.factor: 1
  min.insync.replicas: 1
"""
_KAFKA = """
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
group.streams.initial.rebalance.delay.ms=0
"""


class Run(NamedTuple):
    """What one run gave: records per second, and the topic of its output."""

    rate: float
    topic: str


class Bench:
    """One broker, a filled topic, and runs over it."""

    def __init__(self, bootstrap: str, directory: Path, records: int) -> None:
        self.bootstrap = bootstrap
        self.records = records
        self._directory = directory
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        # Asks where topics end; reads nothing.
        self._asker = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "log_level": 0})
        self._runs = 0
        self.create("orders")
        self._fill()

    def create(self, topic: str, **configs: str) -> None:
        """Make a topic, and wait for it."""
        (made,) = self._admin.create_topics([NewTopic(topic, PARTITIONS, config=configs)]).values()
        made.result(30)
        wait_for(topic, lambda: topic in self._admin.list_topics(timeout=10).topics, 30)

    def _producer(self) -> Any:
        return Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "partitioner": "murmur2_random",
                "linger.ms": 50,
                "log_level": 0,
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    def _fill(self) -> None:
        producer = self._producer()
        size = 0
        for number in range(self.records):
            key, value, at = order(number, CUSTOMERS)
            size += len(value)
            producer.produce("orders", value, key, timestamp=at)
            if number % 1000 == 0:
                producer.poll(0)
        if producer.flush(120):
            raise SystemExit("the input could not be written")
        self.mean_bytes = size // self.records

    def end(self, topic: str) -> int:
        """Records in a topic, as replicated."""
        return sum(
            self._asker.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in range(PARTITIONS)
        )

    def last_values(self, topic: str, which: str) -> dict[Any, Any]:
        """What is last for each key (and window) of an output; what is mapped has no last one: all of them, sorted."""
        reader = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "bench", "log_level": 0})
        reader.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        found: dict[Any, Any] = {}
        left = self.end(topic)
        while left:
            for message in reader.consume(10_000, 1.0):
                if message.error() is not None:
                    raise SystemExit(f"{topic}: {message.error()}")
                left -= 1
                value = json.loads(message.value())
                key: Any = message.key()
                if which == "window":
                    key = key, value["start"]
                elif which == "map_filter":
                    key = key, message.timestamp()[1]
                found[key] = value
        reader.close()
        return found

    def expected(self, which: str) -> int:
        """How many records a run writes."""
        if which != "map_filter":
            return self.records
        return sum(round(json.loads(order(number, 1)[1])["amount"] * 100) >= 25_000 for number in range(self.records))

    @contextlib.contextmanager
    def _process(self, command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT, env={**os.environ, **environment})
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def run(self, system: str, which: str, expected: int) -> Run:
        """Read the topic to its end with a new application."""
        self._runs += 1
        name = f"{system}-{which}-{self._runs}".replace("_", "-")
        out = f"{name}-out"
        self.create(out)
        began, log = self._directory / f"{name}.began", self._directory / f"{name}.log"
        state = self._directory / f"{name}.state"
        environment = {
            "KCONSOLE_BENCH_IN": "orders",
            "KCONSOLE_BENCH_OUT": out,
            "KCONSOLE_BENCH_BEGAN": str(began),
            "PYTHONPATH": str(ROOT) if system == "kconsole" else "",
        }
        if system == "kconsole":
            command = worker_command(self.bootstrap, name, state, f"bench.streams_topologies:{which}")
        else:
            command = [str(QUIX_PYTHON), str(ROOT / "bench" / "quix_application.py"), which, self.bootstrap, name]
            command += [str(state), str(COMMIT_MS / 1000)]
        with self._process(command, environment, log) as process:
            until = time.monotonic() + _LIMIT_S
            while self.end(out) < expected:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{name}: {self.end(out)} of {expected} records: {log.read_text()[-3000:]}")
                time.sleep(0.01)
            ended_ns = time.monotonic_ns()
        seconds = (ended_ns - int(began.read_text())) / 1e9
        if self.end(out) != expected:
            raise SystemExit(f"{name} wrote {self.end(out)} records, and {expected} were expected")
        return Run(self.records / seconds, out)

    def restore(self, keys: int) -> float:
        """Seconds from the assignment of the tasks until a worker runs whose state directory is empty."""
        name = f"kconsole-restore-{keys}"
        changelog = f"{name}-counts-changelog"
        self.create("nothing")
        self.create(changelog, **{"cleanup.policy": "compact"})
        producer = self._producer()
        for number in range(keys):
            producer.produce(
                changelog, struct.pack(">q", number), f"customer-{number:08d}", timestamp=1_700_000_000_000
            )
            if number % 1000 == 0:
                producer.poll(0)
        if producer.flush(120):
            raise SystemExit("the changelog could not be written")
        log = self._directory / f"{name}.log"
        environment = {"KCONSOLE_BENCH_IN": "nothing", "KCONSOLE_BENCH_OUT": "nothing-out", "PYTHONPATH": str(ROOT)}
        self.create("nothing-out")
        command = worker_command(
            self.bootstrap, name, self._directory / f"{name}.state", "bench.streams_topologies:count"
        )
        with self._process(command, environment, log) as process:

            def is_running() -> bool:
                if process.poll() is not None:
                    raise SystemExit(log.read_text()[-3000:])
                return _RESTORED.search(log.read_text())

            wait_for("the restored worker", is_running, _LIMIT_S)
        found = _RESTORED.search(log.read_text())
        assert found is not None
        assigned, running = (datetime.strptime(found[name], "%Y-%m-%d %H:%M:%S,%f") for name in ("from", "to"))
        return (running - assigned).total_seconds()


def worker_command(bootstrap: str, name: str, state: Path, topology: str) -> list[str]:
    """One worker of ours, as ``kconsole streams run`` starts it."""
    configs: dict[str, object] = {
        "application.id": name,
        "bootstrap.servers": bootstrap,
        "state.dir": state,
        "commit.interval.ms": COMMIT_MS,
    }
    if "statestore.cache.max.bytes" in DEFAULTS:
        configs["statestore.cache.max.bytes"] = 0  # every update is written, as Quix Streams does
    return [
        *(sys.executable, "-m", "engine.streams.runtime", topology),
        *(part for key, value in configs.items() for part in ("--set", f"{key}={value}")),
    ]


@contextlib.contextmanager
def _broker(directory: Path, *, kafka: bool) -> Iterator[str]:
    cluster = (
        ApacheKafkaCluster(directory / "apache-kafka", _KAFKA, brokers=1)
        if kafka
        else KconsoleCluster(directory / "kconsole", _SPEC)
    )
    with contextlib.closing(cluster):
        yield cluster.bootstrap


def compare(directory: Path, records: int, pairs: int, *, kafka: bool, which: list[str], restore: int) -> Iterator[str]:
    """Lines of figures. ``kafka``: over a broker of Apache Kafka; ``restore``: keys, 0 leaves that measurement out."""
    if not QUIX_PYTHON.exists():
        raise SystemExit(f"{QUIX} is missing: run `make bench-streams`")
    with _broker(directory, kafka=kafka) as bootstrap:
        bench = Bench(bootstrap, directory, records)
        broker = "Apache Kafka" if kafka else "kconsole's broker"
        yield (
            f"streams over {broker}: {records:,} records of {bench.mean_bytes} bytes, {CUSTOMERS:,} keys, "
            f"{PARTITIONS} partitions, one process each"
        )
        for each in which:
            yield _compared(bench, each, pairs)
        if restore:
            seconds = bench.restore(restore)
            verdict = "" if seconds <= RESTORE_WANTED_S else ": TOO SLOW"
            yield f"restore of {restore:,} keys: {seconds:.1f} s (wanted at most {RESTORE_WANTED_S:.0f} s{verdict})"


def _compared(bench: Bench, which: str, pairs: int) -> str:
    expected = bench.expected(which)
    runs: list[dict[str, Run]] = []
    for number in range(pairs):
        systems = ("kconsole", "quix") if number % 2 == 0 else ("quix", "kconsole")
        runs.append({system: bench.run(system, which, expected) for system in systems})
        if number == 0:
            mine, other = (bench.last_values(runs[0][system].topic, which) for system in ("kconsole", "quix"))
            if mine != other:
                raise SystemExit(f"{which}: the outputs differ, {len(mine)} and {len(other)} keys")
    ratios = [each["kconsole"].rate / each["quix"].rate for each in runs]
    ratio = statistics.median(ratios)
    verdict = "" if ratio >= WANTED[which] else ": TOO SLOW"
    each_pair = ", ".join(f"{each:.2f}" for each in ratios)
    rates = {name: statistics.median(each[name].rate for each in runs) for name in ("kconsole", "quix")}
    return (
        f"{TITLES[which]}: {rates['kconsole']:,.0f} records/s, Quix Streams {rates['quix']:,.0f}; "
        f"ratio {ratio:.2f} (wanted at least {WANTED[which]}{verdict}; pairs {each_pair})"
    )

"""Our Connect worker beside Kafka's: a file of a million lines through a topic into another file.

Standalone workers with Kafka's own file connectors and configs, a source and a sink in each, on one broker, in turns; a
new topic and a new worker each time. The clock runs from the first record in the topic (asked each 5 ms) until the last
byte is in the other file, so that what it takes to start a worker does not count; both begin cold. The files must be
equal. What is told is the median of the ratios of pairs: one run of each, one right after the other.

    python -m bench connect --pairs 5            # `make bench-connect` fetches Kafka's connectors first
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import random
import signal
import statistics
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import KAFKA_LIBS, ROOT, ApacheKafkaCluster, KconsoleCluster, wait_for

CONNECT_LIBS = ROOT / ".cache" / "kafka-4.3.1-connect" / "libs"
WANTED = 1.0
LINE_BYTES = 100
_LIMIT_S = 120.0
_SPEC = """
durability: page-cache
brokers:
  - {id: 1, host: 127.0.0.1, port: auto}
configs:
  group.initial.rebalance.delay.ms: 0
  offsets.topic.num.partitions: 4
  offsets.topic.replication.factor: 1
  default.replication.factor: 1
  min.insync.replicas: 1
"""
_KAFKA = """
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
"""
_WORKER = """
bootstrap.servers={bootstrap}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename={offsets}
listeners=http://127.0.0.1:0
rest.auth=none
plugin.discovery=service_load
"""


class Run(NamedTuple):
    """Lines per second from file to file, and seconds of CPU that the worker's processes took in all."""

    rate: float
    cpu_s: float


class Bench:
    """One broker, a file, and runs over them."""

    def __init__(self, bootstrap: str, directory: Path, lines: int) -> None:
        self._bootstrap = bootstrap
        self._directory = directory
        self._lines = lines
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        # Asks where topics end; reads nothing.
        self._asker = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "log_level": 0})
        self._runs = 0
        self._input = directory / "lines.txt"
        write_lines(self._input, lines)

    def run(self, system: str) -> Run:
        """Copy the file with a new worker of ``kconsole`` or ``java``."""
        self._runs += 1
        name = f"{system}-{self._runs}"
        (made,) = self._admin.create_topics([NewTopic(name, 1)]).values()
        made.result(30)
        wait_for(name, lambda: name in self._admin.list_topics(timeout=10).topics, 30)
        output = self._directory / f"{name}.txt"
        texts = {
            "worker": _WORKER.format(bootstrap=self._bootstrap, offsets=self._directory / f"{name}.offsets"),
            "source": f"name={name}-source\nconnector.class=FileStreamSource\nfile={self._input}\ntopic={name}\n",
            "sink": f"name={name}-sink\nconnector.class=FileStreamSink\nfile={output}\ntopics={name}\n",
        }
        files = []
        for kind, text in texts.items():
            files.append(self._directory / f"{name}-{kind}.properties")
            files[-1].write_text(text)
        log = self._directory / f"{name}.log"
        before = os.times()
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*(_java() if system == "java" else _ours()), *map(str, files)], stdout=out, stderr=out, cwd=ROOT
            )
            try:
                began, ended = self._watch(process, name, output, log)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        after = os.times()
        if not filecmp.cmp(self._input, output, shallow=False):
            raise SystemExit(f"{name}: the files differ")
        output.unlink()
        self._admin.delete_topics([name])
        cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
        return Run(self._lines / (ended - began), cpu_s)

    def _watch(self, process: subprocess.Popen[bytes], topic: str, output: Path, log: Path) -> tuple[float, float]:
        began = None
        size = self._input.stat().st_size
        until = time.monotonic() + _LIMIT_S
        while True:
            if process.poll() is not None or time.monotonic() > until:
                copied = output.stat().st_size if output.exists() else 0
                raise SystemExit(f"{topic}: {copied:,} of {size:,} bytes: {log.read_text()[-3000:]}")
            if began is None:
                if self._asker.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1]:
                    began = time.monotonic()
            elif output.exists() and output.stat().st_size >= size:
                return began, time.monotonic()
            time.sleep(0.005)


def write_lines(path: Path, lines: int) -> None:
    """Lines of 100 bytes, words of letters behind a number."""
    chance = random.Random(7)
    words = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(3, 10))) for _ in range(500)]
    text = " ".join(chance.choices(words, k=20_000))
    with path.open("w") as out:
        for number in range(lines):
            at = chance.randrange(len(text) - LINE_BYTES)
            out.write(f"{number:08d} {text[at : at + LINE_BYTES - 10]}\n")


def _java() -> list[str]:
    # What Kafka's connect-standalone.sh gives the worker when nothing else is said.
    heap = ("-Xms256M", "-Xmx2G", "-server", "-XX:+UseG1GC")
    libs = f"{KAFKA_LIBS}/*:{CONNECT_LIBS / 'connect-file-4.3.1.jar'}"
    return ["java", *heap, "-cp", libs, "org.apache.kafka.connect.cli.ConnectStandalone"]


def _ours() -> list[str]:
    return [sys.executable, "-m", "engine.connect.runtime"]


def compare(directory: Path, lines: int, pairs: int, *, kafka: bool) -> Iterator[str]:
    """Lines of figures. ``kafka``: over a broker of Apache Kafka."""
    if not CONNECT_LIBS.is_dir():
        raise SystemExit(f"{CONNECT_LIBS} is missing: run `make bench-connect`")
    directory.mkdir(parents=True, exist_ok=True)
    cluster = (
        ApacheKafkaCluster(directory / "apache-kafka", _KAFKA, brokers=1)
        if kafka
        else KconsoleCluster(directory / "kconsole", _SPEC)
    )
    with contextlib.closing(cluster):
        bench = Bench(cluster.bootstrap, directory, lines)
        broker = "Apache Kafka" if kafka else "kconsole's broker"
        yield f"Connect over {broker}: file to topic to file, {lines:,} lines of {LINE_BYTES} bytes, one worker each"
        runs: list[dict[str, Run]] = []
        for number in range(pairs):
            systems = ("kconsole", "java") if number % 2 == 0 else ("java", "kconsole")
            runs.append({system: bench.run(system) for system in systems})
        ratios = [each["kconsole"].rate / each["java"].rate for each in runs]
        ratio = statistics.median(ratios)
        verdict = "" if ratio >= WANTED else ": TOO SLOW"
        rates = {name: statistics.median(each[name].rate for each in runs) for name in ("kconsole", "java")}
        cpu = {name: statistics.median(each[name].cpu_s for each in runs) for name in ("kconsole", "java")}
        yield (
            f"kconsole {rates['kconsole']:,.0f} lines/s ({cpu['kconsole']:.1f} s of CPU in all), "
            f"Kafka Connect 4.3.1 {rates['java']:,.0f} ({cpu['java']:.1f} s); ratio {ratio:.2f} "
            f"(wanted at least {WANTED}{verdict}; pairs {', '.join(f'{each:.2f}' for each in ratios)})"
        )

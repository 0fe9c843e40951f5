"""Apache Kafka's own brokers: one JVM a server.properties file."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.java_tools import KAFKA_LIBS

_OPTIONS = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
_START_S = 60


class KafkaBroker:
    """A process of ``kafka.Kafka``."""

    def __init__(self, properties_file: Path, log_file: Path, libs: Path = KAFKA_LIBS) -> None:
        self.log_file = log_file
        self.was_killed = False
        with log_file.open("wb") as log:
            self.process = subprocess.Popen(
                ["java", *_OPTIONS, "-cp", f"{libs}/*", "kafka.Kafka", str(properties_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until_it_listens(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"Kafka ended: {self.log_file.read_text()[-2000:]}"
            try:
                socket.create_connection((host, int(port)), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"Kafka did not listen on {address} within {_START_S} s")

    def kill(self) -> None:
        self.was_killed = True
        self.process.kill()
        self.process.wait()


@contextmanager
def apache_kafka(properties_files: Iterable[Path], addresses: Iterable[str], logs: Path) -> Iterator[list[KafkaBroker]]:
    """Start all of them; at the end stop them in order, SIGTERM to all, as an operator of a whole cluster does."""
    brokers: list[KafkaBroker] = []
    try:
        for number, file in enumerate(properties_files):
            brokers.append(KafkaBroker(file, logs / f"kafka-{number}.log"))
        for broker, address in zip(brokers, addresses, strict=True):
            broker.wait_until_it_listens(address)
        yield brokers
        for broker in brokers:
            broker.process.send_signal(signal.SIGTERM)
        for broker in brokers:
            if broker.was_killed:
                continue
            # 143 is Java's own after SIGTERM.
            assert broker.process.wait(60) in (0, 143), broker.log_file.read_text()[-2000:]
    finally:
        for broker in brokers:
            broker.kill()

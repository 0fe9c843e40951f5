"""The two clusters that are compared: `kconsole up`, and Apache Kafka from its jars, three brokers each on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from engine.supervisor.ports import Ports
from engine.world.real import RealRandom

ROOT = Path(__file__).resolve().parents[1]
KCONSOLE = Path(sys.executable).parent / "kconsole"
KAFKA_LIBS = ROOT / ".cache" / "kafka-4.3.1" / "libs"

_PORTS = Ports(RealRandom())

_SPEC = """
durability: {durability}
brokers:
  - {id: 1, host: 127.0.0.1, port: auto, rack: a}
  - {id: 2, host: 127.0.0.1, port: auto, rack: b}
  - {id: 3, host: 127.0.0.1, port: auto, rack: c}
configs:
  group.initial.rebalance.delay.ms: 0
  offsets.topic.num.partitions: 10
  min.insync.replicas: 2
  default.replication.factor: 3
"""


def spec_with(*, durability: str = "page-cache") -> str:
    """A cluster file. Beside Apache Kafka the page cache is what both rely on: it is Kafka's default."""
    return _SPEC.replace("{durability}", durability)


KAFKA_PROPERTIES = """
process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={directory}/data-{id}
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=10
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
group.initial.rebalance.delay.ms=0
"""


class ClusterUnderTest(Protocol):
    """What a measurement needs of a cluster."""

    name: str
    bootstrap: str

    def kill(self, broker_id: int) -> int:
        """SIGKILL one broker; returns CLOCK_MONOTONIC ns taken just before."""

    def start(self, broker_id: int) -> None:
        """Start a killed broker again."""


class KconsoleCluster:
    """``kconsole up`` in its own process."""

    name = "kconsole"

    def __init__(self, directory: Path, spec: str | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "cluster.yaml"
        config.write_text(spec_with() if spec is None else spec)
        self.data_dir = directory / "data"
        began = time.monotonic()
        self._log = (directory / "up.err").open("w")
        self.process = subprocess.Popen(
            [str(KCONSOLE), "up", "--json", "--fresh", "--config", str(config), "--data-dir", str(self.data_dir)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"kconsole up failed: {(directory / 'up.err').read_text()}")
        self.started_in_s = time.monotonic() - began
        self.line: dict[str, Any] = json.loads(line)
        self.bootstrap: str = self.line["bootstrap_servers"]

    def status(self) -> dict[int, dict[str, Any]]:
        """Broker id to its row of ``status --json``."""
        done = subprocess.run(
            [str(KCONSOLE), "status", "--json", "--data-dir", str(self.data_dir)],
            capture_output=True,
            text=True,
            check=True,
        )
        answer = json.loads(done.stdout)
        rows = answer["brokers"] if isinstance(answer, dict) else answer
        return {row["id"]: row for row in rows}

    def _command(self, verb: str, *broker_ids: int) -> None:
        subprocess.run(
            [str(KCONSOLE), verb, *map(str, broker_ids), "--data-dir", str(self.data_dir)],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def kill(self, broker_id: int) -> int:
        pid = self.status()[broker_id]["pid"]
        killed_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        return killed_ns

    def kill_all(self) -> int:
        """SIGKILL of every broker at once."""
        pids = [row["pid"] for row in self.status().values()]
        killed_ns = time.monotonic_ns()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return killed_ns

    def start(self, broker_id: int) -> None:
        self._command("start", broker_id)

    def close(self) -> None:
        """Controlled shutdown."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self._log.close()


class JavaBrokers:
    """Brokers of Apache Kafka, one JVM each, from server.properties files in a directory."""

    name = "Apache Kafka"

    def __init__(self, directory: Path, libs: Path, properties: Mapping[int, str], ports: Mapping[int, int]) -> None:
        """``properties``: the text of each broker's file; ``ports``: where each is to listen."""
        self._directory = directory
        self._libs = libs
        self._ports = ports
        for broker_id, text in properties.items():
            self._properties(broker_id).write_text(text)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports.values())

    def _properties(self, broker_id: int) -> Path:
        return self._directory / f"{broker_id}.properties"

    def _java(self, heap: str, *arguments: str) -> list[str]:
        return ["java", heap, "-XX:+UseG1GC", "-cp", f"{self._libs}/*", *arguments]

    def start_all(self) -> None:
        """Start all and wait until they listen."""
        for broker_id in self._ports:
            self.start(broker_id)
        wait_for("Apache Kafka to answer", lambda: all(is_listening(port) for port in self._ports.values()), 120)

    def start(self, broker_id: int) -> None:
        log = (self._directory / f"{broker_id}.log").open("ab")
        self._processes[broker_id] = subprocess.Popen(
            self._java("-Xmx1G", "kafka.Kafka", str(self._properties(broker_id))),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        log.close()

    def kill(self, broker_id: int) -> int:
        killed_ns = time.monotonic_ns()
        self._processes[broker_id].kill()
        self._processes[broker_id].wait()
        return killed_ns

    def close(self) -> None:
        """End all; their data goes with the directory."""
        for process in self._processes.values():
            process.kill()
            process.wait()


class ApacheKafkaCluster(JavaBrokers):
    """Apache Kafka 4.3.1, KRaft, combined roles, from the jars that ``make jars`` fetched."""

    def __init__(self, directory: Path, more: str = "", *, brokers: int = 3) -> None:
        """``more``: lines for server.properties."""
        if not KAFKA_LIBS.is_dir():
            raise SystemExit(f"{KAFKA_LIBS} is missing: run `make jars`")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        ports = {broker_id: (free_port(), free_port()) for broker_id in range(1, brokers + 1)}
        voters = ",".join(f"{broker_id}@127.0.0.1:{controller}" for broker_id, (_, controller) in ports.items())
        texts = {
            broker_id: KAFKA_PROPERTIES.format(
                id=broker_id, port=port, controller_port=controller_port, voters=voters, directory=directory
            )
            + more
            for broker_id, (port, controller_port) in ports.items()
        }
        super().__init__(directory, KAFKA_LIBS, texts, {broker_id: port for broker_id, (port, _) in ports.items()})
        for broker_id in ports:
            cluster_id = ("-t", "MkU3OEVBNTcwNTJENDM2Qk")
            format_ = ("kafka.tools.StorageTool", "format", *cluster_id, "-c", str(self._properties(broker_id)))
            with (directory / f"format-{broker_id}.log").open("w") as log:
                subprocess.run(self._java("-Xmx256m", *format_), check=True, stdout=log, stderr=log)
        self.start_all()


def free_port() -> int:
    """One on loopback that nobody else gets before this process ends, also while the server that listens there is
    down."""
    return _PORTS.choose("127.0.0.1")


def is_listening(port: int) -> bool:
    """Whether a connect succeeds."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(what: str, holds: Callable[[], object], timeout_s: float) -> None:
    """Poll until ``holds()``; raises ``SystemExit`` naming ``what``."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


@contextlib.contextmanager
def both(directory: Path) -> Iterator[tuple[KconsoleCluster, ApacheKafkaCluster]]:
    """Both clusters, up at the same time (so that noise of the machine hits both)."""
    with contextlib.ExitStack() as stack:
        ours = KconsoleCluster(directory / "kconsole")
        stack.callback(ours.close)
        theirs = ApacheKafkaCluster(directory / "apache-kafka")
        stack.callback(theirs.close)
        yield ours, theirs

"""Apache Kafka 3.9.1, the last one that ZooKeeper coordinates: its brokers, and a ZooKeeper's tree as text."""

from __future__ import annotations

import atexit
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from bench.clusters import free_port
from tests.integration.apache_kafka import KafkaBroker
from tests.integration.java_tools import ROOT, JavaTools, ToolResult
from tests.integration.zookeeper_server import ZOOKEEPER_LIBS

KAFKA_3_LIBS = ZOOKEEPER_LIBS
_PROPERTIES = """
broker.id={id}
zookeeper.connect={connect}
zookeeper.session.timeout.ms={session_timeout_ms}
zookeeper.connection.timeout.ms=18000
listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={log_dirs}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replication_factor}
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor={replication_factor}
transaction.state.log.min.isr=1
default.replication.factor={replication_factor}
group.initial.rebalance.delay.ms=0
controlled.shutdown.retry.backoff.ms=100
authorizer.class.name=kafka.security.authorizer.AclAuthorizer
super.users=User:ANONYMOUS
"""


class ZooKeeperKafka:
    """Brokers of Apache Kafka 3.9.1 under one chroot of a ZooKeeper that is there."""

    def __init__(
        self,
        directory: Path,
        connect: str,
        *,
        brokers: int = 1,
        session_timeout_ms: int = 6000,
        more: str = "",
        ports: Mapping[int, int] | None = None,
        log_dirs: Mapping[int, str] | None = None,
    ) -> None:
        """``connect``: zookeeper.connect, with the chroot. ``ports`` and ``log_dirs``: those of brokers that are to be
        taken over, by id. ``more``: further lines of server.properties."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.ports = dict(ports) if ports else {each: free_port() for each in range(1, brokers + 1)}
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in self.ports.values())
        for broker_id, port in self.ports.items():
            self.properties(broker_id).write_text(
                _PROPERTIES.format(
                    id=broker_id,
                    port=port,
                    connect=connect,
                    session_timeout_ms=session_timeout_ms,
                    log_dirs=log_dirs[broker_id] if log_dirs else directory / f"kafka-{broker_id}",
                    replication_factor=min(3, len(self.ports)),
                )
                + more
            )
        self._brokers: dict[int, KafkaBroker] = {}

    def properties(self, broker_id: int) -> Path:
        return self.directory / f"kafka-{broker_id}.properties"

    def start(self, *broker_ids: int) -> None:
        """Start those brokers, all when none is named, and wait until they listen."""
        started = broker_ids or tuple(self.ports)
        for each in started:
            log = self.directory / f"kafka-{each}.log"
            self._brokers[each] = KafkaBroker(self.properties(each), log, KAFKA_3_LIBS)
        for each in started:
            self._brokers[each].wait_until_it_listens(f"127.0.0.1:{self.ports[each]}")

    def kill(self, broker_id: int) -> None:
        """SIGKILL."""
        self._brokers.pop(broker_id).kill()

    def stop(self) -> None:
        """SIGTERM to all that run, as an operator of a whole cluster does."""
        for broker in self._brokers.values():
            broker.process.send_signal(signal.SIGTERM)
        for broker in self._brokers.values():
            # 143 is Java's own after SIGTERM.
            assert broker.process.wait(60) in (0, 143), broker.log_file.read_text()[-2000:]
        self._brokers.clear()

    def kill_all(self) -> None:
        for each in list(self._brokers):
            self.kill(each)


@contextmanager
def zookeeper_kafka(directory: Path, connect: str, **options: Any) -> Iterator[ZooKeeperKafka]:
    """Brokers that run until the end; options are those of ``ZooKeeperKafka``."""
    kafka = ZooKeeperKafka(directory, connect, **options)
    try:
        kafka.start()
        yield kafka
        kafka.stop()
    finally:
        kafka.kill_all()


def tree_of(connect: str) -> list[dict[str, Any]]:
    """Every znode below the chroot of ``connect``, by path: ``path``, ``data`` (text; ``None`` when it has none),
    ``version``, ``czxid``, ``mzxid``, ``ephemeral`` (whether a session holds it)."""
    client = KazooClient(connect)
    client.start(15)
    try:
        found: list[dict[str, Any]] = []
        paths = ["/"]
        while paths:
            path = paths.pop()
            try:
                data, stat = client.get(path)
                children = client.get_children(path)
            except NoNodeError:  # gone meanwhile
                continue
            paths += [f"{path.rstrip('/')}/{child}" for child in children if not (path == "/" and child == "zookeeper")]
            found.append(
                {
                    "path": path,
                    "data": None if data is None else data.decode(errors="backslashreplace"),
                    "version": stat.version,
                    "czxid": stat.czxid,
                    "mzxid": stat.mzxid,
                    "ephemeral": stat.ephemeralOwner != 0,
                }
            )
        return sorted(found, key=lambda each: each["path"])
    finally:
        client.stop()
        client.close()


_tools: JavaTools | None = None


def run_tool_3(main_class: str, *arguments: str, stdin: str | None = None, timeout_s: float = 90) -> ToolResult:
    """Run a class of Kafka 3.9.1 or of its ZooKeeper, in a warm JVM of its own."""
    global _tools
    assert shutil.which("java"), "java is missing: run `make tools`"
    if _tools is None or not _tools.is_alive:
        _tools = JavaTools(KAFKA_3_LIBS)
        atexit.register(_tools.close)
    return _tools.run(main_class, *arguments, stdin=stdin, timeout_s=timeout_s)


def read_by_kafka(connect: str) -> list[str]:
    """What Kafka's own classes find below the chroot; see ``java/ZooKeeperPicture.java``."""
    done = run_tool_3(str(ROOT / "tests/integration/java/ZooKeeperPicture.java"), connect)
    assert done.exit_code == 0, done.out[-2000:] + done.err[-4000:]
    return done.out.splitlines()

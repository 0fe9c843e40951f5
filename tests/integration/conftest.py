"""Real broker processes started by ``kconsole up``, and the clients that others wrote.

``KCONSOLE_TEST_BOOTSTRAP=h:p,...`` runs the client tests against a cluster that is already there (Apache Kafka, to see
that the tests themselves are right).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.java_tools import KAFKA_LIBS, kafka_tool
from tests.integration.postgres_reader import Reader
from tests.integration.postgres_server import PostgresServer
from tests.integration.terminal import Terminal

__all__ = ["KAFKA_LIBS", "KCONSOLE", "ROOT", "Cluster", "kafka_tool", "start_cluster", "stop_cluster"]

ROOT = Path(__file__).resolve().parents[2]
KCONSOLE = Path(sys.executable).parent / "kconsole"

SPEC = """
brokers:
  - {id: 1, host: 127.0.0.1, port: auto, rack: a}
  - {id: 2, host: 127.0.0.1, port: auto, rack: b}
  - {id: 3, host: 127.0.0.1, port: auto, rack: c}
configs:
  group.initial.rebalance.delay.ms: 0
  offsets.topic.num.partitions: 10
  num.partitions: 3
  default.replication.factor: 3
  min.insync.replicas: 2
"""


class Cluster:
    """A running cluster; ``data_dir`` is ``None`` for one that others own."""

    def __init__(
        self, bootstrap: str, data_dir: Path | None, process: subprocess.Popen[str] | None, line: dict[str, Any]
    ):
        self.bootstrap = bootstrap
        self.data_dir = data_dir
        self.process = process
        self.line = line

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``kconsole ARGUMENTS --data-dir …``; with ``check``, fail with what it said if its exit code is not 0."""
        done = subprocess.run(
            [str(KCONSOLE), *arguments, "--data-dir", str(self.data_dir)], capture_output=True, text=True, timeout=60
        )
        assert not check or done.returncode == 0, f"kconsole {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def status(self) -> list[dict[str, Any]]:
        """The brokers as ``status --json`` lists them."""
        answer = json.loads(self.cli("status", "--json").stdout)
        return answer["brokers"] if isinstance(answer, dict) else answer

    def wait_for(self, what: str, holds: Any, timeout_s: float = 20) -> Any:
        """Poll ``holds()`` until it is true and return it; fail naming ``what``."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            value = holds()
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"{what}: not within {timeout_s} s")


def start_cluster(directory: Path, spec: str = SPEC, *more: str, fresh: bool = True) -> Cluster:
    """``kconsole up`` in its own process; returns when it printed its line."""
    config = directory / "cluster.yaml"
    config.write_text(spec)
    data_dir = directory / "data"
    stderr = (directory / "up.err").open("w")
    process = subprocess.Popen(
        [
            *(str(KCONSOLE), "up", "--json", "--config", str(config), "--data-dir", str(data_dir)),
            *(["--fresh"] if fresh else []),
            *more,
        ],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    assert process.stdout is not None
    text = process.stdout.readline()
    assert text, f"kconsole up ended with {process.wait(5)}: {(directory / 'up.err').read_text()[-4000:]}"
    line = json.loads(text)
    return Cluster(line["bootstrap_servers"], data_dir, process, line)


def stop_cluster(cluster: Cluster) -> None:
    """SIGTERM, and the exit code must be 0."""
    assert cluster.process is not None
    cluster.process.send_signal(signal.SIGTERM)
    assert cluster.process.wait(30) == 0


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server with ``wal_level=logical``: tests take databases of their own."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def reader(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Tasks that read the changes of a new database; their slots are gone afterwards."""
    monkeypatch.setattr("engine.connect.connectors.postgres_cdc_task._WAIT_S", 0.05)
    made = Reader(postgres, postgres.new_database("cdc"))
    yield made
    made.stop()
    slots = postgres.run("SELECT slot_name, active_pid FROM pg_replication_slots")
    for name, pid in slots:
        if pid is not None:
            postgres.run(f"SELECT pg_terminate_backend({pid})")
            time.sleep(0.2)
        postgres.run(f"SELECT pg_drop_replication_slot('{name}')")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests that harm nobody."""
    given = os.environ.get("KCONSOLE_TEST_BOOTSTRAP")
    if given:
        yield Cluster(given, None, None, {})
        return
    running = start_cluster(tmp_path_factory.mktemp("cluster"))
    yield running
    stop_cluster(running)


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of its own for a test that kills brokers."""
    running = start_cluster(tmp_path)
    yield running
    stop_cluster(running)


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals that end with the test."""
    opened: list[Terminal] = []

    def open_terminal(*command: str, **size: int) -> Terminal:
        directory = tmp_path / f"t{len(opened)}"
        directory.mkdir()
        opened.append(Terminal(directory, *command, **size))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()

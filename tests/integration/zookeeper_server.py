"""Apache ZooKeeper's own servers, one JVM each, from the jars that come with Apache Kafka 3.9.1."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.clusters import free_port
from tests.integration.java_tools import ROOT

ZOOKEEPER_LIBS = ROOT / ".cache" / "kafka-3.9.1" / "libs"
_OPTIONS = ["-Xmx96m", "-Xms16m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
_START_S = 30
_CONFIG = """
tickTime={tick_ms}
initLimit=20
syncLimit=10
dataDir={directory}
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=*
maxClientCnxns=0
{more}
"""


class ZooKeeperServer:
    """One server: alone, or of an ensemble."""

    def __init__(self, directory: Path, server_id: int = 1, more: str = "", tick_ms: int = 500) -> None:
        """``more``: further lines of zoo.cfg. ``tick_ms``: sessions last from 2 to 20 of these."""
        assert ZOOKEEPER_LIBS.is_dir(), f"{ZOOKEEPER_LIBS} is missing: run `make zookeeper`"
        directory.mkdir(parents=True, exist_ok=True)
        self.server_id = server_id
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log_file = directory / "zookeeper.log"
        self._config = directory / "zoo.cfg"
        self._config.write_text(
            _CONFIG.format(directory=directory / "data", port=self.port, tick_ms=tick_ms, more=more)
        )
        (directory / "data").mkdir(exist_ok=True)
        (directory / "data" / "myid").write_text(str(server_id))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process; who needs it to serve asks ``wait_until_it_serves``."""
        assert not self.is_running
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("java", *_OPTIONS, "-cp", f"{ZOOKEEPER_LIBS}/*"),
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    str(self._config),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ask(self, word: str) -> str:
        """The answer to a four letter word; empty when nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                connection.sendall(word.encode())
                parts = []
                while part := connection.recv(65536):
                    parts.append(part)
        except OSError:
            return ""
        return b"".join(parts).decode(errors="replace")

    @property
    def mode(self) -> str:
        """``standalone``, ``leader`` or ``follower``; empty while it serves nobody."""
        return next((line[6:] for line in self.ask("srvr").splitlines() if line.startswith("Mode: ")), "")

    def wait_until_it_serves(self) -> None:
        deadline = time.monotonic() + _START_S
        while not self.mode:
            assert self.is_running, f"ZooKeeper ended: {self.log_file.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"ZooKeeper on {self.address} did not serve within {_START_S} s"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)


class ZooKeeperEnsemble:
    """One server, or several that elect a leader among themselves."""

    def __init__(self, servers: Mapping[int, ZooKeeperServer]) -> None:
        self.servers = dict(servers)

    @property
    def connect(self) -> str:
        """What ``zookeeper.connect`` says, without a chroot."""
        return ",".join(server.address for server in self.servers.values())

    @property
    def leader(self) -> ZooKeeperServer | None:
        """The server that leads now (or stands alone)."""
        return next((each for each in self.servers.values() if each.mode in ("leader", "standalone")), None)


@contextmanager
def zookeeper(directory: Path, servers: int = 1, tick_ms: int = 500) -> Iterator[ZooKeeperEnsemble]:
    """Servers that serve; killed at the end, with what they kept left in ``directory``."""
    ids = range(1, servers + 1)
    peers = "" if servers == 1 else "\n".join(f"server.{each}=127.0.0.1:{free_port()}:{free_port()}" for each in ids)
    ensemble = ZooKeeperEnsemble(
        {each: ZooKeeperServer(directory / f"zk-{each}", each, peers, tick_ms) for each in ids}
    )
    try:
        for server in ensemble.servers.values():
            server.start()
        for server in ensemble.servers.values():
            server.wait_until_it_serves()
        yield ensemble
    finally:
        for server in ensemble.servers.values():
            server.kill()

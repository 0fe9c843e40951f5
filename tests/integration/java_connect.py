"""A real worker of Kafka Connect (Java): distributed or standalone, with the connectors of files."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.integration.java_tools import KAFKA_LIBS, ROOT

CONNECT_LIBS = ROOT / ".cache" / "kafka-4.3.1-streams" / "libs"
_OPTIONS = ["-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
_MAIN = "org.apache.kafka.connect.cli."
_START_S = 120


def worker_properties(mode: str, bootstrap: str, port: int, directory: Path, group: str) -> dict[str, str]:
    """What a worker of either kind, Java's or ours, is started with."""
    properties = {
        "bootstrap.servers": bootstrap,
        "listeners": f"http://127.0.0.1:{port}",
        "offset.flush.interval.ms": "200",
        "consumer.auto.offset.reset": "earliest",
        "consumer.metadata.max.age.ms": "1000",
    }
    for name in ("key", "value"):
        properties[f"{name}.converter"] = "org.apache.kafka.connect.storage.StringConverter"
    if mode == "standalone":
        return properties | {"offset.storage.file.filename": str(directory / "offsets")}
    properties |= {
        "group.id": group,
        "offset.storage.partitions": "3",
        "status.storage.partitions": "3",
        "scheduled.rebalance.max.delay.ms": "1000",
        "session.timeout.ms": "6000",
        "heartbeat.interval.ms": "500",
    }
    for name in ("config", "offset", "status"):
        properties[f"{name}.storage.topic"] = f"{group}-{name}s"
        properties[f"{name}.storage.replication.factor"] = "1"
    return properties


@contextmanager
def java_worker(mode: str, properties: Mapping[str, str], directory: Path) -> Iterator[int]:
    """Run one; gives its port."""
    assert CONNECT_LIBS.is_dir(), f"{CONNECT_LIBS} is missing: run `make connect-rest`"
    port = int(properties["listeners"].rpartition(":")[2])
    file, log_file = directory / f"{mode}.properties", directory / f"java-{mode}.log"
    told = dict(properties) | {"plugin.path": str(CONNECT_LIBS), "plugin.discovery": "service_load"}
    file.write_text("".join(f"{name}={value}\n" for name, value in told.items()))
    libs = f"{KAFKA_LIBS}/*:{CONNECT_LIBS}/connect-file-4.3.1.jar"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            ["java", *_OPTIONS, "-cp", libs, f"{_MAIN}Connect{mode.capitalize()}", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until_s = time.monotonic() + _START_S
        while not is_healthy(port):
            assert process.poll() is None, log_file.read_text()[-3000:]
            assert time.monotonic() < until_s, f"no worker within {_START_S} s: {log_file.read_text()[-3000:]}"
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def is_healthy(port: int, token: str | None = None) -> bool:
    """Whether a worker answers there, and is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection.request("GET", "/health", headers=headers)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()

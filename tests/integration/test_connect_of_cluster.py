"""A cluster whose file has workers of Connect: they live as long as it and are started again; the console asks them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from console.gateway.opening import open_gateway
from console.options import ConsoleOptions
from engine.supervisor.control_client import ControlClient
from tests.integration.conftest import Cluster, start_cluster, stop_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

SPEC = """configs: {group.min.session.timeout.ms: 1000}
connect:
  workers: 1
  configs:
    session.timeout.ms: 2000
    heartbeat.interval.ms: 200
    scheduled.rebalance.max.delay.ms: 500
    offset.flush.interval.ms: 200
brokers:
  - {id: 1}
"""


def worker_of(cluster: Cluster) -> Any:
    with ControlClient(cluster.line["control_socket"]) as control:
        (row,) = control.call("status")["connect"]["workers"] or [None]
    return row if row is not None and row["url"] else None


def test_workers_live_as_long_as_the_cluster_and_the_console_asks_them(tmp_path: Path) -> None:
    cluster = start_cluster(tmp_path, SPEC)
    try:
        first = cluster.wait_for("a worker", lambda: worker_of(cluster))
        assert f"connect worker 1 {first['url']}: pid {first['pid']}" in cluster.cli("status").stdout
        source = {"connector.class": "FileStreamSource", "file": str(tmp_path / "in.txt"), "topic": "lines"}
        (tmp_path / "in.txt").write_text("one\ntwo\n")
        (tmp_path / "src.json").write_text(json.dumps({"name": "src", "config": source}))
        cluster.cli("connect", "apply", str(tmp_path / "src.json"), "--wait")

        os.kill(first["pid"], signal.SIGKILL)

        def another() -> Any:
            row = worker_of(cluster)
            return row if row is not None and row["pid"] != first["pid"] else None

        cluster.wait_for("it is started again", another)
        cluster.wait_for("the connector runs again", lambda: "1/1" in cluster.cli("connect", "list").stdout)
        cluster.wait_for("offsets", lambda: "position" in cluster.cli("connect", "offsets", "get", "src").stdout)
        name, state, topics, counts, offsets = asyncio.run(_asked(cluster))
        assert (name, state, topics) == ("src", "RUNNING", ("lines",))
        assert counts and offsets == [({"filename": str(tmp_path / "in.txt")}, {"position": 8})]
        _dead_letter_and_back(cluster, tmp_path)
    finally:
        stop_cluster(cluster)
    with pytest.raises(ProcessLookupError):
        os.kill(first["pid"], 0)


def _dead_letter_and_back(cluster: Cluster, directory: Path) -> None:
    """A poisoned record goes to the sink's dead letters with its reason, and is sent back to where it came from."""
    letters = {
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": "orders-dlq",
        "errors.deadletterqueue.topic.replication.factor": "1",
        "errors.deadletterqueue.context.headers.enable": "true",
    }
    sink = {
        "connector.class": "FileStreamSink",
        "file": str(directory / "out.txt"),
        "topics": "orders",
        "value.converter.schemas.enable": "false",
        "value.converter": "JsonConverter",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        **letters,
    }
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    producer.produce("orders", b'{"item": "tea"}')
    producer.produce("orders", b"poison")
    assert producer.flush(20) == 0
    (directory / "snk.json").write_text(json.dumps({"name": "snk", "config": sink}))
    cluster.cli("connect", "apply", str(directory / "snk.json"), "--wait")

    def dead(count: int) -> Any:
        lines = cluster.cli("tail", "orders-dlq", "--from", "start", "--count", str(count), "--json").stdout
        return [json.loads(line) for line in lines.splitlines()]

    cluster.wait_for("the dead-letter topic", lambda: "orders-dlq" in cluster.cli("get", "topics").stdout)
    (letter,) = dead(1)
    assert letter["value"] == "poison"
    counted = cluster.cli("redrive", "orders-dlq").stdout
    assert "orders" in counted and "DataException" in counted
    assert "1" in cluster.cli("redrive", "orders-dlq", "--execute").stdout
    lines = cluster.cli("tail", "orders", "--from", "start", "--count", "3", "--json").stdout
    assert [json.loads(line)["value"] for line in lines.splitlines()].count("poison") == 2
    # It is as wrong as it was, and comes back, once more.
    assert len(dead(2)) == 2


async def _asked(cluster: Cluster) -> Any:
    """As :connect asks, over the console's own gateway."""
    data_dir = os.path.dirname(cluster.line["control_socket"])
    gateway = open_gateway(ConsoleOptions(control_socket=cluster.line["control_socket"], data_dir=data_dir))
    try:
        (group,) = await gateway.connect.groups()
        (row,) = (await gateway.connect.connectors()).rows[group] or ()
        connector, *_ = (await gateway.connect.tasks(group, "src")).rows[""] or ()
        offsets = [
            (each.partition, each.offset) for each in (await gateway.connect.offsets(group, "src")).rows[""] or ()
        ]
        return row.told.name, connector.told.state, row.topics, row.counts, offsets
    finally:
        await gateway.close()

"""A cluster whose file has a registry: started with it, started again when it dies, read by without being told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from console.gateway.opening import open_gateway
from console.options import ConsoleOptions
from engine.supervisor.control_client import ControlClient
from tests.integration.conftest import KCONSOLE, start_cluster, stop_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

SPEC = "registry: true\nbrokers:\n  - {id: 1}\n"
ORDER = '{"type":"record","name":"Order","fields":[{"name":"item","type":"string"}]}'


def test_it_lives_as_long_as_the_cluster_and_the_console_reads_by_it(tmp_path: Path) -> None:
    cluster = start_cluster(tmp_path, SPEC)
    try:
        url = cluster.line["registry"]["url"]
        serialize = AvroSerializer(SchemaRegistryClient({"url": url}), ORDER)
        value = serialize({"item": "tea"}, SerializationContext("orders", MessageField.VALUE))
        producer = Producer({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
        producer.produce("orders", value)
        assert producer.flush(20) == 0
        lines = cluster.cli("tail", "orders", "--from", "start", "--count", "1", "--json").stdout
        assert json.loads(lines)["value_decoded"] == {"item": "tea"}

        assert asyncio.run(_subjects(cluster.line["control_socket"])) == (url, ["orders-value"])

        os.kill(cluster.line["registry"]["pid"], signal.SIGKILL)

        def restarted() -> Any:
            with ControlClient(cluster.line["control_socket"]) as control:
                row = control.call("status")["registry"]
            return row["state"] == "running" and row["restarts"] == 1 and row

        row = cluster.wait_for("the registry is started again", restarted)
        assert row["url"] == url and row["pid"] != cluster.line["registry"]["pid"]
        assert f"schema registry {url}: running, pid {row['pid']}" in cluster.cli("status").stdout
        assert SchemaRegistryClient({"url": url}).get_subjects() == ["orders-value"]

        own = cluster.cli("registry", "run", check=False)
        assert (own.returncode, own.stderr) == (1, f"kconsole: the cluster has a registry of its own: {url}\n")
        _run_another(cluster.bootstrap)
    finally:
        stop_cluster(cluster)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url)


async def _subjects(control_socket: str) -> tuple[str, list[str]]:
    """What ``:schemas`` asks."""
    gateway = open_gateway(ConsoleOptions(control_socket=control_socket))
    try:
        told = await gateway.schemas.subjects()
        return await gateway.schemas.url(), [row.subject for row in told.rows[""]]
    finally:
        await gateway.close()


def _run_another(bootstrap: str) -> None:
    """``kconsole registry run`` over a topic of its own, with users; a second one over the same ends it."""
    arguments = ["--bootstrap-servers", bootstrap, "--listen", "127.0.0.1:0", "--topic", "theirs", "--json"]
    command = [str(KCONSOLE), "registry", "run", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stderr is not None
        said = json.loads(first.stdout.readline())
        assert SchemaRegistryClient({"url": said["url"]}).register_schema("x", Schema('"int"', "AVRO")) == 1
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            other = json.loads(second.stdout.readline())
            assert first.wait(20) == 3
            assert "another registry writes to theirs" in first.stderr.read()
            assert SchemaRegistryClient({"url": other["url"]}).get_subjects() == ["x"]
            second.send_signal(signal.SIGTERM)
            assert second.wait(20) == 0

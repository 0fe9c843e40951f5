"""Commands for scripts over real brokers: well, with one that hangs, with one that is dead, and with none."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from console.cli import main
from tests.integration.conftest import KCONSOLE, SPEC, Cluster, start_cluster, stop_cluster
from tests.unit.console.registry_server import ORDER, ORDER_BYTES, PAYMENT, PAYMENT_BYTES, registry_server

pytestmark = pytest.mark.integration

WITH_LOAD = (
    SPEC
    + """
topics:
  - {name: orders, partitions: 3}
  - {name: valued, partitions: 1}
workload:
  producers:
    - {name: shop, topic: orders, rate: 50}
  groups:
    - {name: billing, topics: [orders], members: 1}
"""
)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with a topic, a producer and a group."""
    running = start_cluster(tmp_path_factory.mktemp("scripts"), WITH_LOAD)

    def committed() -> bool:
        offsets = _json(running, "get", "offsets", "billing").get("offsets", [])
        return bool(offsets) and all(each["lag"] is not None for each in offsets)

    running.wait_for("a group that commits", committed)
    yield running
    stop_cluster(running)


def run(cluster: Cluster, *words: str, attached: bool = False) -> Result:
    where = ("--bootstrap-servers", cluster.bootstrap) if attached else ("--data-dir", str(cluster.data_dir))
    return CliRunner().invoke(main, [*words, *where])


def _json(cluster: Cluster, *words: str, attached: bool = False) -> dict[str, Any]:
    return json.loads(run(cluster, *words, "--json", attached=attached).stdout)


@pytest.mark.parametrize("attached", [False, True])
def test_a_healthy_cluster_is_told_whole(busy: Cluster, attached: bool) -> None:
    result = run(busy, "health", "--json", "--max-lag", "1000000", attached=attached)
    assert (result.exit_code, json.loads(result.stdout)["reasons"]) == (0, [])
    partitions = _json(busy, "get", "partitions", "orders", attached=attached)["partitions"]
    assert [(each["partition"], sorted(each["isr"])) for each in partitions] == [(at, [1, 2, 3]) for at in range(3)]
    offsets = _json(busy, "get", "offsets", "billing", attached=attached)["offsets"]
    assert offsets and all(each["lag"] is not None for each in offsets)
    assert len(_json(busy, "get", "quorum", attached=attached)["quorum"]) == 3
    configs = _json(busy, "get", "configs", "orders", attached=attached)["configs"]
    assert {each["name"]: each["value"] for each in configs}["min.insync.replicas"] == "2"
    result = run(busy, "get", "topics", "orders", "nosuch", attached=attached)
    assert result.exit_code == 1
    assert "no such topics: nosuch" in result.stderr and "orders" in result.stdout


def test_a_tail_reads_from_one_place_to_another_and_says_why_it_ended(busy: Cluster) -> None:
    place = ("tail", "orders", "--partitions", "1", "--from", "0")
    result = run(busy, *place, "--until", "5", "--json")
    assert [json.loads(line)["offset"] for line in result.stdout.splitlines()] == [0, 1, 2, 3, 4]
    assert result.exit_code == 0 and "ended: 5 records, up to offset 5" in result.stderr
    end = next(each for each in _json(busy, "get", "partitions", "orders-1")["partitions"])["high_watermark"]
    # More comes all the time, and it ends all the same.
    result = run(busy, *place, "--until", "end", attached=True)
    assert result.exit_code == 0 and len(result.stdout.splitlines()) >= end
    result = run(busy, "tail", "nosuch", "--timeout", "0.5")
    assert result.exit_code == 1 and "nosuch: UNKNOWN_TOPIC_OR_PARTITION" in result.stderr


def test_values_of_a_registry_are_read_masked_and_written_into_a_file(busy: Cluster, tmp_path: Any) -> None:
    producer = Producer({"bootstrap.servers": busy.bootstrap, "log_level": 0})
    producer.produce("valued", ORDER_BYTES, b"\0\0\0\7")
    producer.produce("valued", PAYMENT_BYTES, b"\0\0\0\x08")
    assert producer.flush(20) == 0
    masks = tmp_path / "masking.yaml"
    masks.write_text("rules: [{topic: val*, path: $.customer.email, do: last, keep: 4}]")
    with registry_server() as server:
        place = (
            "tail",
            "valued",
            "--from",
            "start",
            "--until",
            "end",
            "--key-serde",
            "int32",
            "--registry",
            server.url,
        )
        result = run(busy, *place, "--json")
        read = [json.loads(line) for line in result.stdout.splitlines()]
        assert [(each["key_decoded"], each["value_decoded"]) for each in read] == [(7, ORDER), (8, PAYMENT)]
        masked = run(busy, *place, "--masking", str(masks), "--filter", "-j .value.customer").stdout
        assert '"email": "***.org"' in masked and "example" not in masked and masked.count("\n") == 1
        result = run(busy, *place, "--masking", str(masks), "--parquet", str(tmp_path / "valued.parquet"))
        assert result.exit_code == 0 and "ended: 2 records, up to the end as it was" in result.stderr
        rows = pyarrow.parquet.read_table(tmp_path / "valued.parquet").to_pylist()
        assert [(each["offset"], each["key"], each["key_bytes"]) for each in rows] == [
            (0, "7", b"\0\0\0\7"),
            (1, "8", b"\0\0\0\x08"),
        ]
        assert json.loads(rows[0]["value"])["customer"]["email"] == "***.org" and rows[0]["value_bytes"] is None
        assert json.loads(rows[1]["value"]) == PAYMENT and rows[1]["value_bytes"] == PAYMENT_BYTES
    masks.write_text("rules: [{topic: val*, path: customer}]")
    result = run(busy, *place, "--masking", str(masks))
    assert (result.exit_code, result.stdout) == (2, "") and "no record is shown while masks are wrong" in result.stderr


def test_one_thing_is_described_with_its_parts_and_a_groups_lag_is_judged(busy: Cluster) -> None:
    topic = _json(busy, "describe", "topic", "orders", attached=True)
    assert (topic["topic"]["partitions"], len(topic["partitions"])) == (3, 3)
    assert "min.insync.replicas" in {each["name"] for each in topic["configs"]}
    replicas = _json(busy, "describe", "partition", "orders-0")["replicas"]
    assert sorted(each["broker_id"] for each in replicas) == [1, 2, 3]
    assert run(busy, "lag", "billing", "--max-lag", "1000000").exit_code == 0
    result = run(busy, "lag", "nosuch")
    assert result.exit_code == 1 and "no such group: nosuch" in result.stderr


def test_access_quotas_disks_and_producers_are_listed(busy: Cluster) -> None:
    disks = _json(busy, "get", "logdirs", "1", "2", attached=True)["logdirs"]
    assert [each["broker"] for each in disks] == [1, 2] and all(each["replicas"] > 3 for each in disks)
    assert _json(busy, "get", "quotas")["quotas"] == _json(busy, "get", "users")["users"] == []
    assert {each["topic"] for each in _json(busy, "get", "producers", "orders")["producers"]} <= {"orders"}
    result = run(busy, "get", "acls")
    assert result.exit_code == 2 and "SECURITY_DISABLED" in result.stderr
    assert "get producers TOPIC" in run(busy, "get", "producers").stderr


def test_metrics_are_served_until_the_process_is_told_to_end(busy: Cluster) -> None:
    words = [str(KCONSOLE), "metrics", "--port", "0", "--json", "--bootstrap-servers", busy.bootstrap]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    assert url.startswith("http://127.0.0.1:")

    def served() -> str:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())

    text = busy.wait_for("a lag", lambda: text if "kafka_group_lag_sum{" in (text := served()) else "")
    assert re.search(r'^kafka_group_lag\{group="billing",partition="0",topic="orders"\} \d', text, re.MULTILINE)
    assert "kafka_brokers_down 0.0" in text
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_nobody_there_is_unreachable(busy: Cluster, tmp_path: Any) -> None:
    nowhere = ["--bootstrap-servers", "127.0.0.1:1", "--timeout", "0.3", "--json"]
    result = CliRunner().invoke(main, ["health", *nowhere])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["status"] == "unreachable"
    result = CliRunner().invoke(main, ["get", "brokers", "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "start it with `kconsole up`" in result.stderr


# Last: it leaves a broker dead.
def test_a_broker_that_hangs_or_is_dead_is_a_reason_and_keeps_nobody_waiting(busy: Cluster) -> None:
    assert run(busy, "pause", "2").exit_code == 0
    # Far less than the time-out of a session: whoever waited for the broker would meet the deadline, and not be whole.
    result = run(busy, "health", "--json", "--timeout", "8", attached=True)
    assert result.exit_code == 1
    found = {each["kind"]: each["subjects"] for each in json.loads(result.stdout)["reasons"]}
    assert found["brokers_down"] == ["2"]
    assert "unknown" not in found, "all others were asked in time"
    assert run(busy, "kill", "2").exit_code == 0
    result = run(busy, "health", "--json")
    assert result.exit_code == 1
    reason = json.loads(result.stdout)["reasons"][0]
    assert (reason["kind"], reason["said"]) == ("brokers_down", "1 broker down: broker 2: its process is killed")

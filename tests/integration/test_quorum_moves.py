"""The quorum of a running embedded cluster moves to a controller of Apache Kafka, by Kafka's own tool."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import free_port
from tests.integration.apache_kafka import apache_kafka
from tests.integration.conftest import Cluster, start_cluster, stop_cluster
from tests.integration.java_tools import KAFKA_LIBS, kafka_tool, run_tool
from tests.integration.observing import controller_address
from tests.integration.raw_client import wait_until
from tests.integration.test_broker_moves import Sending, read_all

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SPEC = """
brokers:
  - {id: 1, host: 127.0.0.1, port: auto}
  - {id: 2, host: 127.0.0.1, port: auto}
  - {id: 3, host: 127.0.0.1, port: auto}
topics:
  - {name: orders, partitions: 6}
"""
TOOLS = "org.apache.kafka.tools."


def quorum_tool(cluster: Cluster, *arguments: str) -> str:
    return kafka_tool(TOOLS + "MetadataQuorumCommand", "--bootstrap-server", cluster.bootstrap, *arguments)


def voters(cluster: Cluster) -> dict[int, str]:
    """Directory id by node id."""
    status = quorum_tool(cluster, "describe", "--status")
    found = re.search(r"^CurrentVoters:\s+(.*)$", status, re.MULTILINE)
    assert found, status
    return {each["id"]: each["directoryId"] for each in json.loads(found[1])}


def remove_controller(cluster: Cluster, node_id: int, directory_id: str) -> None:
    """Asks again where the leader has just changed: it has to commit something of its own first."""
    remove = ("remove-controller", "--controller-id", str(node_id), "--controller-directory-id", directory_id)

    def is_removed() -> bool:
        done = run_tool(TOOLS + "MetadataQuorumCommand", "--bootstrap-server", cluster.bootstrap, *remove)
        if done.exit_code:
            assert "TimeoutException" in done.out + done.err or "NotLeader" in done.out + done.err, done.out + done.err
            return False
        return f"Removed  KRaft controller {node_id}" in done.out

    wait_until(f"voter {node_id} is removed", is_removed, 60)


def new_controller(cluster: Cluster, directory: Path) -> tuple[Path, str]:
    """A controller of Apache Kafka that knows only where to ask for the quorum: its properties, where it listens."""
    address = f"127.0.0.1:{free_port()}"
    servers = ",".join("{}:{}".format(*controller_address(cluster, each)) for each in (1, 2, 3))
    file = directory / "controller.properties"
    file.write_text(
        "process.roles=controller\nnode.id=11\n"
        f"listeners=CONTROLLER://{address}\ncontroller.listener.names=CONTROLLER\n"
        f"listener.security.protocol.map=CONTROLLER:PLAINTEXT\nlog.dirs={directory / 'kafka-11'}\n"
        f"controller.quorum.bootstrap.servers={servers}\n"
    )
    status = quorum_tool(cluster, "describe", "--status")
    cluster_id = re.search(r"^ClusterId:\s+(\S+)", status, re.MULTILINE)
    assert cluster_id
    tool = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{KAFKA_LIBS}/*", "kafka.tools.StorageTool", "format"]
    more = ["--cluster-id", cluster_id[1], "--no-initial-controllers", "--config", str(file)]
    subprocess.run([*tool, *more], check=True, capture_output=True)
    return file, address


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    running = start_cluster(tmp_path, SPEC)
    yield running
    stop_cluster(running)


def test_kafkas_controller_becomes_a_voter_and_the_last_one(cluster: Cluster, tmp_path: Path) -> None:
    file, address = new_controller(cluster, tmp_path)
    features = (TOOLS + "FeatureCommand", "--bootstrap-server", cluster.bootstrap)
    with Sending(cluster.bootstrap) as sending, apache_kafka([file], [address], tmp_path):
        wait_until(
            "every voter told the leader of itself",
            lambda: run_tool(*features, "upgrade", "--feature", "kraft.version=1").exit_code == 0,
            60,
        )
        assert re.search(r"Feature: kraft.version\s.*FinalizedVersionLevel: 1", kafka_tool(*features, "describe"))
        embedded = voters(cluster)
        assert set(embedded) == {1, 2, 3}
        wait_until(
            "the controller has caught up and is added",
            lambda: (
                run_tool(
                    TOOLS + "MetadataQuorumCommand",
                    *("--bootstrap-server", cluster.bootstrap, "--command-config", str(file), "add-controller"),
                ).exit_code
                == 0
            ),
            60,
        )
        wait_until("four voters", lambda: set(voters(cluster)) == {1, 2, 3, 11})
        refused = run_tool(
            TOOLS + "MetadataQuorumCommand",
            *("--bootstrap-server", cluster.bootstrap, "--command-config", str(file), "add-controller"),
        )
        assert refused.exit_code == 1 and "already part of the set of voters" in refused.out + refused.err
        for node_id in (1, 2, 3):
            remove_controller(cluster, node_id, embedded[node_id])
        wait_until("Kafka's controller is the only voter", lambda: set(voters(cluster)) == {11}, 60)
        client = AdminClient({"bootstrap.servers": cluster.bootstrap})
        client.create_topics([NewTopic("made", 3)])["made"].result(30)
        before = len(sending.acknowledged)
        wait_until("the producer goes on", lambda: len(sending.acknowledged) > before + 100)
        sending.stop()
        assert not sending.failed
        assert sending.missing_in(read_all(cluster.bootstrap)) == []
